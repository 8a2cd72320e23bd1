/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main - rhea-nbd: serve one image to NBD clients (docs/nbd.md)
 *
 * Answers to the name qemu-nbd too.  Ends by SIGTERM, SIGINT, SIGHUP, or when the last client left
 * (not with -t).  A socket may be handed over as systemd does (LISTEN_PID, LISTEN_FDS).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/opts_json.h"
#include "core/object.h"
#include "io/secret.h"
#include "tools/nbd/nbd.h"

typedef struct Serving {
    const NbdArgs *a;
    Loop *loop;
    BlockCtx *ctx;
    BlockGraph *graph;
    Objects *objects;
    TlsCreds *creds;
    BlockNode *node;
    NbdServer *server;
    bool seen_client;
} Serving;

/* --- the image --- */

static BlockNode *open_image(Serving *s, Error *err)
{
    const NbdArgs *a = s->a;
    uint32_t flags = a->temporary ? a->flags | NODE_READ_ONLY : a->flags;
    json_t *o = a->image_opts ? opts_json_parse(a->file, NULL, 0, NULL, err) : json_object();
    BlockNode *n, *top;

    if (!o)
        return NULL;
    if (a->detect_zeroes && !a->temporary)
        json_object_set_new(o, "detect-zeroes", json_string(a->detect_zeroes));
    n = a->image_opts ? node_open(s->graph, o, flags, err)
                      : node_open_image(s->graph, a->file, a->format, o, flags, err);
    if (!n || !a->temporary)
        return n;
    top = node_open_temporary(n, err);
    node_unref(n);
    return top;
}

/* "snapshot.id=1,snapshot.name=x", or an ID or name. */
static bool load_snapshot(Serving *s, Error *err)
{
    const char *text = s->a->snapshot_name, *what = text;
    const SnapshotOps *ops = s->node->drv->snapshots;
    Opts o = {0};
    bool ok;

    if (!text)
        return true;
    if (!strncmp(text, "snapshot.", 9)) {
        const char *id, *name;

        if (!opts_parse(&o, text, NULL, err))
            return false;
        id = opts_get(&o, "snapshot.id");
        name = opts_get(&o, "snapshot.name");
        what = id ? id : name;
        if (!what || !opts_all_used(&o, err)) {
            opts_free(&o);
            return error_prefix(err, "snapshot.id=ID,snapshot.name=NAME expected: ");
        }
    }
    ok = ops && ops->load
             ? ops->load(s->node, what, err)
             : error_set(err, "format '%s' has no internal snapshots", s->node->drv->name);
    opts_free(&o);
    return ok || error_prefix(err, "Failed to load snapshot: ");
}

/* --- serving --- */

static void clients_changed(void *arg, unsigned connections)
{
    Serving *s = arg;

    s->seen_client |= connections > 0;
    if (s->seen_client && !connections && !s->a->persistent)
        loop_stop(s->loop);
}

static void on_signal(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    loop_stop(arg);
}

/* Before any thread: signals come by a descriptor. */
static int catch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A listening socket from whoever started us, or one of our own. */
static int open_listener(const NbdArgs *a, Error *err)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

    if (pid && fds && atoi(pid) == getpid()) {
        if (atoi(fds) != 1) {
            error_set(err, "exactly one socket can be handed over, not %s", fds);
            return -1;
        }
        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
        fcntl(3, F_SETFD, FD_CLOEXEC);
        fcntl(3, F_SETFL, fcntl(3, F_GETFL) | O_NONBLOCK);
        return 3;
    }
    return socket_listen(&a->addr, a->shared ? (int)MAX(a->shared, 16u) : 128, err);
}

static bool start_server(Serving *s, Error *err)
{
    const NbdArgs *a = s->a;
    NbdServerOptions so = {.creds = s->creds,
                           .tls_authz = a->tls_authz,
                           .max_connections = a->shared,
                           .main = s->loop,
                           .changed = clients_changed,
                           .arg = s};
    NbdExportOptions eo = {.name = a->export,
                           .description = a->description,
                           .writable = !(a->flags & NODE_READ_ONLY),
                           .allocation_depth = a->allocation_depth,
                           .bitmaps = a->bitmaps,
                           .n_bitmaps = a->n_bitmaps,
                           .offset = a->offset};
    int fd;

    return (s->server = nbd_server_new(s->graph, &so, err)) &&
           nbd_export_new(s->server, s->node, &eo, err) && (fd = open_listener(a, err)) >= 0 &&
           nbd_server_listen(s->server, fd, err);
}

static bool write_pid(const char *path, Error *err)
{
    int fd = path ? open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644) : -1;
    char text[24];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    bool ok;

    if (!path)
        return true;
    if (fd < 0)
        return error_set_errno(err, errno, "Cannot open pid file '%s'", path);
    ok = write(fd, text, (size_t)n) == n;
    close(fd);
    return ok || error_set(err, "Cannot write pid file '%s'", path);
}

static bool make_objects(Serving *s, Error *err)
{
    const NbdArgs *a = s->a;

    for (unsigned i = 0; i < a->n_objects; i++)
        if (!object_new_text(s->objects, a->objects[i], err))
            return false;
    return !a->tls_creds || (s->creds = tls_creds_find(s->objects, a->tls_creds, !a->list, err));
}

/* --- --fork --- */

/* In the child: a descriptor through which it says that it is ready.  The parent ends in here. */
static int fork_server(void)
{
    int fds[2], status = 0;
    char ready;
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
        log_error("Failed to fork: %s", strerror(errno));
        exit(1);
    }
    if (child == 0) {
        close(fds[0]);
        setsid();
        return fds[1];
    }
    close(fds[1]);
    if (read(fds[0], &ready, 1) == 1)
        exit(0);
    waitpid(child, &status, 0);
    exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

static void tell_ready(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; i <= 2 && null >= 0; i++)
        dup2(null, i);
    close(null);
    if (write(fd, "R", 1) != 1)
        exit(1);
    close(fd);
}

/* --- main --- */

static bool serve(Serving *s, int signals, int ready, Error *err)
{
    if (!(s->loop = loop_new(err)) || !(s->ctx = blockctx_new(s->loop, err)) ||
        !(s->graph = graph_new(s->ctx, err)))
        return false;
    graph_set_objects(s->graph, s->objects);
    if (!(s->node = open_image(s, err)))
        return error_prefix(err, "Failed to blk_new_open '%s': ", s->a->file);
    if (!load_snapshot(s, err) || !start_server(s, err) || !write_pid(s->a->pid_file, err))
        return false;
    loop_watch(s->loop, signals, LOOP_READ, on_signal, s->loop);
    if (ready >= 0)
        tell_ready(ready);
    loop_run(s->loop);
    return true;
}

static void clean_up(Serving *s)
{
    nbd_server_free(s->server);
    if (s->node)
        node_unref(s->node);
    if (s->graph)
        graph_free(s->graph);
    if (s->ctx)
        blockctx_free(s->ctx);
    if (s->loop)
        loop_free(s->loop);
    tls_creds_unref(s->creds);
    objects_free(s->objects);
    if (s->server && s->a->addr.kind == SOCKET_UNIX)
        unlink(s->a->addr.path);
    if (s->a->pid_file && s->server)
        unlink(s->a->pid_file);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    Serving s = {0};
    Error err = {0};
    int status, ready = -1;
    NbdArgs a;
    bool ok;

    argv[0] = slash ? (char *)(uintptr_t)slash + 1 : argv[0];
    log_set_program(argv[0]);
    if (!nbd_args_parse(&a, argc, argv, &status))
        return status;
    s.a = &a;
    if (a.fork && !a.list)
        ready = fork_server();
    s.objects = objects_new();
    ok = make_objects(&s, &err);
    if (ok && a.list) {
        status = nbd_list(&a, s.creds);
    } else {
        ok = ok && serve(&s, catch_signals(), ready, &err);
        status = !ok;
        if (!ok)
            log_error("%s", err.msg);
    }
    clean_up(&s);
    socket_addr_free(&a.addr);
    return status;
}
