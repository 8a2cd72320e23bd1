/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args - the command line of rhea-nbd, which takes qemu-nbd's options */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/opts.h"
#include "config.h"
#include "tools/nbd/nbd.h"

enum {
    OPT_CACHE = 256,
    OPT_AIO,
    OPT_DISCARD,
    OPT_DETECT_ZEROES,
    OPT_OBJECT,
    OPT_TLS_CREDS,
    OPT_TLS_AUTHZ,
    OPT_TLS_HOSTNAME,
    OPT_IMAGE_OPTS,
    OPT_FORK,
    OPT_PID_FILE,
    OPT_SELINUX_LABEL,
};

static const struct option longs[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"port", required_argument, NULL, 'p'},
    {"bind", required_argument, NULL, 'b'},
    {"socket", required_argument, NULL, 'k'},
    {"shared", required_argument, NULL, 'e'},
    {"persistent", no_argument, NULL, 't'},
    {"verbose", no_argument, NULL, 'v'},
    {"export-name", required_argument, NULL, 'x'},
    {"description", required_argument, NULL, 'D'},
    {"offset", required_argument, NULL, 'o'},
    {"allocation-depth", no_argument, NULL, 'A'},
    {"bitmap", required_argument, NULL, 'B'},
    {"list", no_argument, NULL, 'L'},
    {"object", required_argument, NULL, OPT_OBJECT},
    {"tls-creds", required_argument, NULL, OPT_TLS_CREDS},
    {"tls-authz", required_argument, NULL, OPT_TLS_AUTHZ},
    {"tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME},
    {"trace", required_argument, NULL, 'T'},
    {"fork", no_argument, NULL, OPT_FORK},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"selinux-label", required_argument, NULL, OPT_SELINUX_LABEL},
    {"connect", required_argument, NULL, 'c'},
    {"disconnect", no_argument, NULL, 'd'},
    {"format", required_argument, NULL, 'f'},
    {"read-only", no_argument, NULL, 'r'},
    {"snapshot", no_argument, NULL, 's'},
    {"load-snapshot", required_argument, NULL, 'l'},
    {"nocache", no_argument, NULL, 'n'},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"aio", required_argument, NULL, OPT_AIO},
    {"discard", required_argument, NULL, OPT_DISCARD},
    {"detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES},
    {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},
    {0},
};

static void usage(const char *program)
{
    printf("Usage: %s [OPTIONS] FILE\n  or:  %s -L [OPTIONS]\n"
           "Serve a disk image to Network Block Device clients\n\n"
           "  -h, --help                this text\n"
           "  -V, --version             the version\n\n"
           "Connection\n"
           "  -p, --port=PORT           TCP port to listen on [10809]\n"
           "  -b, --bind=IFACE          address to listen on [0.0.0.0]\n"
           "  -k, --socket=PATH         Unix socket instead of TCP\n"
           "  -e, --shared=NUM          at most NUM clients at a time, 0: any number [1]\n"
           "  -t, --persistent          go on after the last client left\n"
           "  -v, --verbose             say more\n"
           "  -x, --export-name=NAME    name of the export [empty]\n"
           "  -D, --description=TEXT    its description\n\n"
           "Part of the image\n"
           "  -o, --offset=OFFSET       where in the image the export begins\n"
           "  -A, --allocation-depth    offer the context qemu:allocation-depth\n"
           "  -B, --bitmap=NAME         offer a dirty bitmap of the image (may be repeated)\n\n"
           "General\n"
           "  -L, --list                show the exports of another server\n"
           "  --object TYPE,id=ID,...   define a secret or TLS credentials\n"
           "  --tls-creds=ID            only clients with TLS, by these credentials\n"
           "  --tls-authz=ID            only clients that this access list admits\n"
           "  --tls-hostname=NAME       with -L: whom the server's certificate must name\n"
           "  --fork                    return when the server runs\n"
           "  --pid-file=PATH           write the server's process number\n"
           "  -T, --trace [[enable=]PATTERN]\n\n"
           "Image\n"
           "  -f, --format=FORMAT       format of FILE [guessed]\n"
           "  -r, --read-only           export read-only\n"
           "  -s, --snapshot            writes go to a temporary file\n"
           "  -l, --load-snapshot=SNAP  an internal snapshot, read-only: ID, name, or\n"
           "                            snapshot.id=ID,snapshot.name=NAME\n"
           "  -n, --nocache             the same as --cache=none\n"
           "  --cache=MODE              none, writeback, writethrough, directsync, unsafe\n"
           "  --aio=MODE                native, io_uring, threads: accepted\n"
           "  --discard=MODE            ignore, unmap [ignore]\n"
           "  --detect-zeroes=MODE      off, on, unmap [off]\n"
           "  --image-opts              FILE is a set of image options\n",
           program, program);
}

static bool is_one_of(const char *s, const char *const *names)
{
    while (*names && strcmp(s, *names))
        names++;
    return *names;
}

static bool set_cache(NbdArgs *a, const char *mode)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } modes[] = {
        {"none", NODE_NO_CACHE},
        {"off", NODE_NO_CACHE},
        {"writeback", 0},
        {"writethrough", NODE_WRITETHROUGH},
        {"directsync", NODE_NO_CACHE | NODE_WRITETHROUGH},
        {"unsafe", NODE_NO_FLUSH},
    };

    for (unsigned i = 0; i < COUNT_OF(modes); i++)
        if (!strcmp(mode, modes[i].name)) {
            a->flags &= ~(uint32_t)(NODE_NO_CACHE | NODE_WRITETHROUGH | NODE_NO_FLUSH);
            a->flags |= modes[i].flags;
            return true;
        }
    log_error("Invalid cache mode `%s'", mode);
    return false;
}

static bool set_discard(NbdArgs *a, const char *mode)
{
    bool on = !strcmp(mode, "unmap") || !strcmp(mode, "on");

    if (!on && strcmp(mode, "ignore") && strcmp(mode, "off")) {
        log_error("Invalid discard mode `%s'", mode);
        return false;
    }
    a->flags = on ? a->flags | NODE_UNMAP : a->flags & ~(uint32_t)NODE_UNMAP;
    return true;
}

static bool add_text(const char **list, unsigned *n, unsigned room, const char *value)
{
    if (*n == room) {
        log_error("too many options like '%s'", value);
        return false;
    }
    list[(*n)++] = value;
    return true;
}

static bool set_number(const char *what, const char *value, uint64_t max, uint64_t *out)
{
    if (parse_u64(value, out) && *out <= max)
        return true;
    log_error("Invalid %s '%s'", what, value);
    return false;
}

typedef struct Parsing {
    NbdArgs *a;
    const char *port, *bind, *socket;
    const char *only_export; /* an option that means nothing to -L */
} Parsing;

static bool take_image_option(NbdArgs *a, int c, const char *value)
{
    static const char *const aios[] = {"native", "io_uring", "threads", NULL};
    static const char *const zeroes[] = {"off", "on", "unmap", NULL};

    switch (c) {
    case 'f': a->format = value; return true;
    case 'r': a->flags |= NODE_READ_ONLY; return true;
    case 's': a->temporary = true; return true;
    case 'l':
        a->snapshot_name = value;
        a->flags |= NODE_READ_ONLY;
        return true;
    case 'n': return set_cache(a, "none");
    case OPT_CACHE: return set_cache(a, value);
    case OPT_DISCARD: return set_discard(a, value);
    case OPT_IMAGE_OPTS: a->image_opts = true; return true;
    case OPT_AIO:
        if (!is_one_of(value, aios)) {
            log_error("invalid aio mode `%s'", value);
            return false;
        }
        return true;
    default:
        if (!is_one_of(value, zeroes)) {
            log_error("Failed to parse detect_zeroes mode: invalid parameter value: %s", value);
            return false;
        }
        a->detect_zeroes = value;
        return true;
    }
}

static bool refuse_kernel_client(void)
{
    log_error("the kernel's NBD client (-c, -d) is not supported; use nbd-client with a server");
    return false;
}

static bool take_option(Parsing *p, int c, const char *value)
{
    NbdArgs *a = p->a;
    uint64_t n;

    switch (c) {
    case 'p': p->port = value; return set_number("port", value, 65535, &n);
    case 'b': p->bind = value; return true;
    case 'k': p->socket = value; return true;
    case 't': a->persistent = true; return true;
    case 'v': a->verbose = true; return true;
    case 'A': a->allocation_depth = true; return true;
    case 'D': a->description = value; return true;
    case 'L': a->list = true; return true;
    case 'B': return add_text(a->bitmaps, &a->n_bitmaps, NBD_ARGS_BITMAPS, value);
    case OPT_OBJECT: return add_text(a->objects, &a->n_objects, COUNT_OF(a->objects), value);
    case OPT_TLS_CREDS: a->tls_creds = value; return true;
    case OPT_TLS_AUTHZ: a->tls_authz = value; return true;
    case OPT_TLS_HOSTNAME: a->tls_hostname = value; return true;
    case OPT_FORK: a->fork = true; return true;
    case OPT_PID_FILE: a->pid_file = value; return true;
    case 'T': trace_enable(strncmp(value, "enable=", 7) ? value : value + 7); return true;
    case 'o': return set_number("offset", value, INT64_MAX, &a->offset);
    case 'e':
        if (!set_number("shared device number", value, 1000000, &n))
            return false;
        a->shared = (unsigned)n;
        return true;
    case 'x':
        if (strlen(value) > 4096) {
            log_error("export name '%.40s...' is too long", value);
            return false;
        }
        a->export = value;
        return true;
    case 'c':
    case 'd': return refuse_kernel_client();
    case OPT_SELINUX_LABEL: log_error("--selinux-label is not supported"); return false;
    default: return take_image_option(a, c, value);
    }
}

static bool set_address(Parsing *p)
{
    NbdArgs *a = p->a;

    socket_addr_init(&a->addr);
    if (p->socket && (p->port || p->bind)) {
        log_error("Unix socket can't be used with TCP/IP: -k with -p or -b");
        return false;
    }
    a->addr.kind = p->socket ? SOCKET_UNIX : SOCKET_INET;
    a->addr.path = xstrdup(p->socket);
    if (!p->socket) {
        a->addr.host = xstrdup(p->bind ? p->bind : a->list ? "localhost" : "0.0.0.0");
        a->addr.port = xstrdup(p->port ? p->port : "10809");
    }
    return true;
}

static bool check(const Parsing *p, int operands)
{
    const NbdArgs *a = p->a;

    if (operands != !a->list) {
        log_error("Invalid number of arguments\nTry `%s --help' for more information.", a->program);
        return false;
    }
    if (a->list && p->only_export) {
        log_error("List mode is incompatible with per-device settings (%s)", p->only_export);
        return false;
    }
    if (a->tls_authz && a->list) {
        log_error("TLS authorization is incompatible with export list");
        return false;
    }
    if (a->tls_authz && !a->tls_creds) {
        log_error("--tls-authz needs --tls-creds");
        return false;
    }
    if (a->tls_hostname && !a->list) {
        log_error("TLS hostname is only used by --list");
        return false;
    }
    if (a->image_opts && a->format) {
        log_error("--image-opts and -f are mutually exclusive");
        return false;
    }
    if (a->temporary && a->flags & NODE_READ_ONLY) {
        log_error("--snapshot cannot be used with a read-only export");
        return false;
    }
    return true;
}

bool nbd_args_parse(NbdArgs *a, int argc, char **argv, int *status)
{
    Parsing p = {.a = a};
    int c;

    *a = (NbdArgs){.program = argv[0], .export = "", .shared = 1};
    *status = 1;
    while ((c = getopt_long(argc, argv, "hVb:o:p:rsnc:dvk:e:f:tl:x:T:D:AB:L", longs, NULL)) != -1) {
        switch (c) {
        case 'h':
            usage(argv[0]);
            *status = 0;
            return false;
        case 'V':
            printf("%s %s\n", argv[0], RHEA_VERSION);
            *status = 0;
            return false;
        case '?': fprintf(stderr, "Try `%s --help' for more information.\n", argv[0]); return false;
        default:
            if (!take_option(&p, c, optarg))
                return false;
        }
        if (strchr("xDoABfrsln", c) || c == OPT_CACHE || c == OPT_DISCARD || c == OPT_IMAGE_OPTS)
            p.only_export = optarg ? optarg : argv[optind - 1];
    }
    if (!check(&p, argc - optind) || !set_address(&p))
        return false;
    a->file = argv[optind];
    return true;
}
