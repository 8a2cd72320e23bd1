/* SPDX-License-Identifier: GPL-2.0-or-later */
/* udp - each write is a datagram to one peer; datagrams from it are input */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/socket_addr.h"
#include "chardev/chardev.h"

enum { DATAGRAM_MAX = 65536 };

typedef struct UdpOptions {
    char *host, *port, *localaddr, *localport;
    bool ipv4, ipv6;
} UdpOptions;

typedef struct Udp {
    Chardev c;
    int fd;
    bool watched;
    uint8_t *held; /* the datagram that is being delivered */
    size_t at, size;
    char *shown;
} Udp;

/* A datagram that does not go is lost, as datagrams are. */
static size_t udp_write(Chardev *c, const uint8_t *p, size_t n)
{
    ssize_t w = send(((Udp *)c)->fd, p, MIN(n, (size_t)DATAGRAM_MAX - 64), MSG_NOSIGNAL);

    return w > 0 ? (size_t)w : n;
}

static bool udp_deliver(Udp *u)
{
    while (u->at < u->size) {
        size_t n = MIN(chardev_room(&u->c), u->size - u->at);

        if (!n)
            return false;
        u->at += n;
        chardev_give(&u->c, u->held + u->at - n, n);
    }
    return true;
}

static void udp_event(void *arg, int fd, uint32_t events);

static void udp_look(void *arg)
{
    Udp *u = arg;
    bool want;

    if (!u->c.loop)
        return;
    want = udp_deliver(u) && chardev_room(&u->c) > 0;
    if (want != u->watched)
        loop_watch(u->c.loop, u->fd, want ? LOOP_READ : 0, udp_event, u);
    u->watched = want;
}

static void udp_event(void *arg, int fd, uint32_t events)
{
    Udp *u = arg;
    ssize_t n = recv(fd, u->held, DATAGRAM_MAX, 0);

    (void)events;
    u->at = 0;
    u->size = n > 0 ? (size_t)n : 0;
    udp_look(u);
}

static void udp_accept_ready(Chardev *c)
{
    if (c->loop)
        loop_post(c->loop, udp_look, c);
}

static void udp_opened(void *arg)
{
    Chardev *c = arg;

    if (c->loop)
        chardev_tell(c, CHAR_OPENED);
}

static void udp_attached(Chardev *c)
{
    if (c->loop)
        loop_post(c->loop, udp_opened, c);
}

static void udp_stop(Chardev *c)
{
    Udp *u = (Udp *)c;

    if (c->loop && u->watched)
        loop_watch(c->loop, u->fd, 0, NULL, NULL);
    c->loop = NULL;
}

static void udp_close(Chardev *c)
{
    Udp *u = (Udp *)c;

    udp_stop(c);
    close(u->fd);
    chardev_fini(c);
    xfree(u->shown);
    xfree(u->held);
    xfree(u);
}

static char *udp_describe(Chardev *c)
{
    return xstrdup(((Udp *)c)->shown);
}

static const ChardevOps udp_ops = {
    .name = "udp",
    .write = udp_write,
    .accept_ready = udp_accept_ready,
    .close = udp_close,
    .stop = udp_stop,
    .attached = udp_attached,
    .describe = udp_describe,
};

static Chardev *udp_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const UdpOptions *o = options;
    char localhost[] = "localhost", any[] = "", zero[] = "0";
    SocketAddr to = {.host = o->host && *o->host ? o->host : localhost,
                     .port = o->port,
                     .ipv4 = o->ipv4 ? 1 : -1,
                     .ipv6 = o->ipv6 ? 1 : -1};
    SocketAddr from = {.host = o->localaddr ? o->localaddr : any,
                       .port = o->localport ? o->localport : zero,
                       .ipv4 = -1,
                       .ipv6 = -1};
    Udp *u;
    int fd;

    if (!o->port || !*o->port) {
        error_set(err, "chardev: udp: remote port not specified");
        return NULL;
    }
    fd = socket_datagram(o->localaddr || o->localport ? &from : NULL, &to, err);
    if (fd < 0)
        return NULL;
    u = xnew(Udp);
    chardev_init(&u->c, &udp_ops, id, host->loop);
    u->c.open = true;
    u->fd = fd;
    u->held = xalloc(DATAGRAM_MAX);
    u->shown = xasprintf("udp:%s:%s", to.host, to.port);
    return &u->c;
}

static const Field udp_fields[] = {
    PROP_STR(UdpOptions, host, "host", NULL, "the peer (default: localhost)"),
    PROP_STR(UdpOptions, port, "port", NULL, "its port"),
    PROP_STR(UdpOptions, localaddr, "localaddr", NULL, "own address"),
    PROP_STR(UdpOptions, localport, "localport", NULL, "own port"),
    PROP(UdpOptions, ipv4, "ipv4", false, "use IPv4"),
    PROP(UdpOptions, ipv6, "ipv6", false, "use IPv6"),
};
static STRUCT_TYPE(udp_type, UdpOptions, udp_fields);

static ChardevClass udp_class = {
    .name = "udp", .doc = "UDP datagrams", .options = &udp_type, .open = udp_open};
CHARDEV_REGISTER(udp_class)
