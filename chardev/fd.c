/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fd - character back end over file descriptors
 *
 * Output is written at once where the descriptor takes it, else kept (up to OUT_MAX bytes) and
 * written from the loop; beyond that writes are cut short and CHAR_WRITABLE follows.  Nothing is
 * lost as long as the other end exists.  Input is read only while the front end has room.
 *
 * Invariants: 1. out_* members are used under `lock`, in_* on the loop.  2. The loop and the front
 * end are never called with `lock` held.  3. Bytes leave in the order of write calls.
 */
#include "chardev/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

enum { OUT_MAX = 65536, IN_STEP = 4096, PIPE_STEP = 4096, FLUSH_MS = 1000 };

struct FdChar {
    Chardev c;
    const char *name;
    char *shown; /* fd_describe_as() */
    FdStoppedFn *stopped;
    void *stopped_arg;
    Lock lock;
    int out;
    bool out_blocks; /* a blocking descriptor: ask before each write */
    bool out_gone;   /* the reader is gone: drop */
    bool out_short;  /* a write was cut: tell when there is room */
    bool out_posted; /* fd_pump is on its way, or the loop watches */
    uint32_t out_at, out_size;
    uint8_t *out_buf; /* ring of OUT_MAX bytes */
    int in;
    bool in_plain, in_ended;
    uint32_t in_mask, out_mask; /* what the loop watches */
};

static bool is_plain(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 &&
           (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)));
}

int fd_open_path(const ChardevHost *host, const char *path, int flags)
{
    int fd;

    if (host->open)
        return host->open(host->arg, path, flags | O_NOCTTY | O_CLOEXEC, 0666);
    fd = open(path, flags | O_NOCTTY | O_CLOEXEC, 0666);
    return fd < 0 ? -errno : fd;
}

int fd_reopen_for_write(int fd)
{
    char path[32];
    int own;

    if (is_plain(fd))
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Write what goes without blocking.  Bytes written; a vanished reader takes everything. */
static size_t write_some(FdChar *f, const uint8_t *p, size_t n)
{
    size_t done = 0;

    while (done < n && !f->out_gone) {
        struct pollfd pfd = {.fd = f->out, .events = POLLOUT};
        size_t step = f->out_blocks ? MIN(n - done, (size_t)PIPE_STEP) : n - done;
        ssize_t w;

        if (f->out_blocks && (poll(&pfd, 1, 0) != 1 || !(pfd.revents & (POLLOUT | POLLERR))))
            break;
        w = write(f->out, p + done, step);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (w < 0)
            f->out_gone = true;
        else
            done += (size_t)w;
    }
    return f->out_gone ? n : done;
}

static void write_pending(FdChar *f)
{
    while (f->out_size > 0) {
        uint32_t step = MIN(f->out_size, OUT_MAX - f->out_at);
        uint32_t n = (uint32_t)write_some(f, f->out_buf + f->out_at, step);

        f->out_at = (f->out_at + n) % OUT_MAX;
        f->out_size -= n;
        if (n < step)
            break;
    }
}

static size_t keep(FdChar *f, const uint8_t *p, size_t n)
{
    size_t room = OUT_MAX - f->out_size, taken = MIN(n, room);

    if (!f->out_buf)
        f->out_buf = xalloc(OUT_MAX);
    for (size_t i = 0; i < taken; i++)
        f->out_buf[(f->out_at + f->out_size + i) % OUT_MAX] = p[i];
    f->out_size += (uint32_t)taken;
    return taken;
}

static void fd_event(void *arg, int fd, uint32_t events);
static void fd_read(FdChar *f);

/* Watch what is wanted now.  One watch for each descriptor: in and out may be the same. */
static void fd_watch(FdChar *f)
{
    uint32_t in_mask =
        f->in >= 0 && !f->in_ended && !f->in_plain && chardev_room(&f->c) ? LOOP_READ : 0;
    uint32_t out_mask = 0;

    if (!f->c.loop) /* stopped; this was posted before */
        return;
    WITH_LOCK (&f->lock)
        out_mask = f->out_size ? LOOP_WRITE : 0;
    if (f->in == f->out)
        in_mask = out_mask = in_mask | out_mask;
    if (in_mask != f->in_mask && f->in >= 0)
        loop_watch(f->c.loop, f->in, in_mask, fd_event, f);
    f->in_mask = in_mask;
    if (out_mask != f->out_mask && f->out >= 0 && f->out != f->in)
        loop_watch(f->c.loop, f->out, out_mask, fd_event, f);
    f->out_mask = out_mask;
}

/* On the loop: write what is kept, and say so if somebody waits for room. */
static void fd_pump(void *arg)
{
    FdChar *f = arg;
    bool tell = false;

    WITH_LOCK (&f->lock) {
        write_pending(f);
        if (f->out_short && f->out_size <= OUT_MAX / 2) {
            f->out_short = false;
            tell = true;
        }
        f->out_posted = f->out_size > 0;
    }
    if (tell)
        chardev_tell(&f->c, CHAR_WRITABLE);
    fd_watch(f);
}

static size_t fd_write(Chardev *c, const uint8_t *p, size_t n)
{
    FdChar *f = (FdChar *)c;
    size_t taken = n;
    bool post = false;

    WITH_LOCK (&f->lock) {
        if (f->out >= 0 && !f->out_gone) {
            taken = f->out_size ? 0 : write_some(f, p, n);
            taken += keep(f, p + taken, n - taken);
            f->out_short |= taken < n;
            post = f->out_size && !f->out_posted;
            f->out_posted |= post;
        }
    }
    if (post && f->c.loop)
        loop_post(f->c.loop, fd_pump, f);
    return taken;
}

static void fd_read_plain(void *arg)
{
    FdChar *f = arg;

    fd_read(f);
    if (!f->in_ended && chardev_room(&f->c))
        loop_post(f->c.loop, fd_read_plain, f);
}

static void fd_look(void *arg)
{
    FdChar *f = arg;

    if (f->in_plain && !f->in_ended)
        fd_read_plain(f);
    else
        fd_watch(f);
}

static void fd_accept_ready(Chardev *c)
{
    FdChar *f = (FdChar *)c;

    if (f->in >= 0 && c->loop)
        loop_post(c->loop, fd_look, f);
}

static void fd_opened(void *arg)
{
    FdChar *f = arg;

    if (f->c.loop && f->c.open)
        chardev_tell(&f->c, CHAR_OPENED);
}

/* All but those that come and go are open from the beginning. */
static void fd_attached(Chardev *c)
{
    if (c->loop && c->open)
        loop_post(c->loop, fd_opened, c);
}

static char *fd_describe(Chardev *c)
{
    FdChar *f = (FdChar *)c;

    return xstrdup(f->shown ? f->shown : f->name);
}

void fd_describe_as(Chardev *c, const char *text)
{
    FdChar *f = (FdChar *)c;

    xfree(f->shown);
    f->shown = xstrdup(text);
}

/* The end of input is not the end of anything else. */
static void fd_read(FdChar *f)
{
    uint8_t buf[IN_STEP];
    size_t room = MIN(chardev_room(&f->c), sizeof buf);
    ssize_t n;

    if (!room || f->in_ended || f->in < 0)
        return;
    n = read(f->in, buf, room);
    if (n > 0)
        chardev_give(&f->c, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        f->in_ended = true;
}

static void fd_event(void *arg, int fd, uint32_t events)
{
    FdChar *f = arg;

    if (fd == f->in && events & (LOOP_READ | LOOP_HUP))
        fd_read(f);
    if (fd == f->out)
        fd_pump(f);
    else
        fd_watch(f);
}

void fd_set_connected(Chardev *c, bool on)
{
    FdChar *f = (FdChar *)c;
    bool tell = false;

    WITH_LOCK (&f->lock) {
        f->out_gone = !on;
        if (!on) {
            f->out_size = 0;
            tell = f->out_short;
            f->out_short = false;
        }
    }
    f->in_ended = !on;
    if (c->open != on)
        chardev_tell(c, on ? CHAR_OPENED : CHAR_CLOSED);
    if (tell)
        chardev_tell(c, CHAR_WRITABLE);
    fd_watch(f);
}

/* Give a slow reader time, but not a dead one. */
static void flush(FdChar *f)
{
    struct pollfd pfd = {.fd = f->out, .events = POLLOUT};

    while (f->out_size && !f->out_gone && poll(&pfd, 1, FLUSH_MS) == 1)
        write_pending(f);
}

static void fd_stop(Chardev *c)
{
    FdChar *f = (FdChar *)c;

    if (!c->loop)
        return;
    f->in_ended = true;
    if (f->in_mask)
        loop_watch(c->loop, f->in, 0, NULL, NULL);
    if (f->out_mask && f->out != f->in)
        loop_watch(c->loop, f->out, 0, NULL, NULL);
    if (f->stopped)
        f->stopped(f->stopped_arg);
    c->loop = NULL;
}

static void fd_close(Chardev *c)
{
    FdChar *f = (FdChar *)c;

    fd_stop(c);
    flush(f);
    if (f->in >= 0)
        close(f->in);
    if (f->out >= 0 && f->out != f->in)
        close(f->out);
    lock_fini(&f->lock);
    chardev_fini(c);
    xfree(f->shown);
    xfree(f->out_buf);
    xfree(f);
}

static const ChardevOps fd_ops = {
    .name = "fd",
    .write = fd_write,
    .accept_ready = fd_accept_ready,
    .close = fd_close,
    .stop = fd_stop,
    .attached = fd_attached,
    .describe = fd_describe,
};

Chardev *fd_open(const char *name, int in, int out, const ChardevHost *host, const char *id,
                 FdStoppedFn *stopped, void *arg)
{
    FdChar *f = xnew(FdChar);

    chardev_init(&f->c, &fd_ops, id, host->loop);
    f->c.open = true;
    f->name = name;
    lock_init(&f->lock, name, RANK_QUEUE);
    f->stopped = stopped;
    f->stopped_arg = arg;
    f->in = in;
    f->in_plain = is_plain(in);
    f->out = out;
    f->out_blocks = out >= 0 && !is_plain(out) && !(fcntl(out, F_GETFL) & O_NONBLOCK);
    return &f->c;
}
