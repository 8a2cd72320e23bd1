/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket - a stream socket, listening or connecting: TCP, Unix; plain, telnet (RFC 854), WebSocket,
 * TLS
 *
 * Invariants: 1. out_* members are used under `lock`, everything else on the loop.  2. The front
 * end is never told anything with `lock` held.  3. Bytes go ring -> telnet/WebSocket -> wire -> TLS
 * -> socket; `wire` holds what is encoded and not sent.  4. Input is read only while `held` is
 * empty and the front end has room (or the connection is not up yet).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/socket_addr.h"
#include "base/strbuf.h"
#include "chardev/chardev.h"
#include "chardev/websocket.h"
#include "io/secret.h"

enum { OUT_MAX = 65536, STEP = 4096, FDS_MAX = 16, FLUSH_MS = 1000 };
enum { IAC = 255, DONT = 254, DO = 253, WONT = 252, WILL = 251, SB = 250, BREAK = 243, SE = 240 };

typedef struct SocketOptions {
    char *path, *host, *port, *fd, *tls_creds, *tls_authz, *addr_type;
    bool abstract, tight, ipv4, has_ipv4, ipv6, has_ipv6, keep_alive;
    bool delay, has_delay, nodelay, server, wait, has_wait, telnet, tn3270, websocket;
    uint32_t to, reconnect;
} SocketOptions;

typedef enum SockState { SOCK_OFF, SOCK_TLS, SOCK_GREETING, SOCK_UP } SockState;

typedef struct Sock {
    Chardev c;
    SocketAddr addr;
    bool server, telnet, websocket, nodelay;
    unsigned reconnect; /* s, 0: never */
    TlsCreds *creds;
    char *authz;
    struct Objects *objects;

    SockState state;
    int listener, fd, timer; /* -1: none */
    uint32_t mask;           /* what the loop watches fd for */
    bool hup_seen;           /* the peer sends no more, but there is something left to read */
    SocketConnect *connecting;
    TlsSession *tls;
    TlsStep tls_wants;
    WebSocket ws;
    uint8_t telnet_state[2];
    StrBuf held, wire; /* inv 3, 4 */
    size_t held_at, wire_at;
    int fds[FDS_MAX]; /* that the peer sent */
    unsigned n_fds;

    Lock lock; /* inv 1 */
    bool out_up, out_cut, out_posted;
    uint32_t out_at, out_size;
    uint8_t *out_buf; /* ring of OUT_MAX bytes */
} Sock;

static void sock_down(Sock *s);
static void sock_watch(Sock *s);
static void sock_accept(void *arg, int fd, uint32_t events);

/* --- output: from the ring to the wire --- */

static void encode(Sock *s, const uint8_t *p, size_t n)
{
    if (s->websocket) {
        websocket_wrap(p, n, &s->wire);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (s->telnet && p[i] == IAC)
            strbuf_addn(&s->wire, "\377", 1);
        strbuf_addn(&s->wire, (const char *)&p[i], 1);
    }
}

/* Some bytes of the ring; false: it is empty. */
static bool refill(Sock *s)
{
    uint8_t buf[STEP];
    size_t n = 0;

    WITH_LOCK (&s->lock)
        while (n < sizeof buf && s->out_size) {
            buf[n++] = s->out_buf[s->out_at];
            s->out_at = (s->out_at + 1) % OUT_MAX;
            s->out_size--;
        }
    if (n)
        encode(s, buf, n);
    return n > 0;
}

/* Send what the wire holds: 0 all gone, -EAGAIN, or an error. */
static int send_wire(Sock *s)
{
    while (s->wire_at < s->wire.len) {
        const char *p = s->wire.s + s->wire_at;
        size_t n = s->wire.len - s->wire_at;
        ssize_t w = s->tls ? tls_write(s->tls, p, n) : send(s->fd, p, n, MSG_NOSIGNAL);

        if (w < 0 && !s->tls)
            w = -errno;
        if (w == -EINTR)
            continue;
        if (w < 0)
            return (int)w;
        s->wire_at += (size_t)w;
    }
    s->wire.len = s->wire_at = 0;
    return 0;
}

static void sock_pump(void *arg)
{
    Sock *s = arg;
    bool tell = false;
    int rc = 0;

    WITH_LOCK (&s->lock)
        s->out_posted = false;
    if (s->fd < 0 || s->state < SOCK_GREETING)
        return;
    while (!(rc = send_wire(s)) && s->state == SOCK_UP && refill(s))
        ;
    if (rc && rc != -EAGAIN) {
        sock_down(s);
        return;
    }
    WITH_LOCK (&s->lock)
        if (s->out_cut && s->out_size <= OUT_MAX / 2) {
            s->out_cut = false;
            tell = true;
        }
    if (tell)
        chardev_tell(&s->c, CHAR_WRITABLE);
    sock_watch(s);
}

static size_t sock_write(Chardev *c, const uint8_t *p, size_t n)
{
    Sock *s = (Sock *)c;
    size_t taken = n;
    bool post = false;

    WITH_LOCK (&s->lock)
        if (s->out_up) {
            taken = MIN(n, (size_t)(OUT_MAX - s->out_size));
            for (size_t i = 0; i < taken; i++)
                s->out_buf[(s->out_at + s->out_size + i) % OUT_MAX] = p[i];
            s->out_size += (uint32_t)taken;
            s->out_cut |= taken < n;
            post = !s->out_posted && s->c.loop;
            s->out_posted |= post;
        }
    if (post)
        loop_post(s->c.loop, sock_pump, s);
    return taken;
}

/* --- input --- */

/* Take commands out of @n bytes at @p: what is left.  RFC 854, "telnet command structure". */
static size_t telnet_filter(Sock *s, uint8_t *p, size_t n)
{
    uint8_t *state = &s->telnet_state[0], *command = &s->telnet_state[1];
    size_t out = 0;

    for (size_t i = 0; i < n; i++) {
        if (*state == 0 && p[i] == IAC) {
            *state = 1;
        } else if (*state == 0) {
            p[out++] = p[i];
        } else if (*state == 1) {
            *state = p[i] >= SB && p[i] != IAC ? 2 : 0;
            *command = p[i];
            if (p[i] == IAC)
                p[out++] = IAC;
            if (p[i] == BREAK)
                chardev_tell(&s->c, CHAR_BREAK);
        } else if (*command != SB || p[i] == SE) {
            *state = 0; /* the option of WILL, WONT, DO, DONT; the end of SB */
        }
    }
    return out;
}

/* Deliver what is held.  True: nothing is left. */
static bool deliver(Sock *s)
{
    while (s->held_at < s->held.len) {
        size_t n = MIN(chardev_room(&s->c), s->held.len - s->held_at);

        if (!n)
            return false;
        s->held_at += n;
        chardev_give(&s->c, (const uint8_t *)s->held.s + s->held_at - n, n);
    }
    s->held.len = s->held_at = 0;
    return true;
}

static void keep_fds(Sock *s, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (s->n_fds < FDS_MAX)
                s->fds[s->n_fds++] = fd;
            else
                close(fd);
        }
    }
}

static ssize_t receive(Sock *s, uint8_t *p, size_t n)
{
    char control[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    struct iovec iov = {p, n};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t r;

    if (s->tls)
        return tls_read(s->tls, p, n);
    r = recvmsg(s->fd, &m, MSG_CMSG_CLOEXEC);
    if (r >= 0)
        keep_fds(s, &m);
    return r < 0 ? -errno : r;
}

static void sock_up(Sock *s)
{
    s->state = SOCK_UP;
    WITH_LOCK (&s->lock)
        s->out_up = true;
    chardev_tell(&s->c, CHAR_OPENED);
}

/* Decode raw bytes into `held`.  False: the connection is over. */
static bool take_bytes(Sock *s, uint8_t *p, size_t n)
{
    uint8_t out[STEP];
    ssize_t payload;
    bool was_open = s->ws.open;

    if (s->telnet)
        n = telnet_filter(s, p, n);
    if (!s->websocket) {
        strbuf_addn(&s->held, (const char *)p, n);
        return true;
    }
    payload = websocket_take(&s->ws, p, n, out, &s->wire);
    send_wire(s);
    if (payload < 0)
        return false;
    strbuf_addn(&s->held, (const char *)out, (size_t)payload);
    if (!was_open && s->ws.open)
        sock_up(s);
    return true;
}

static bool may_read(Sock *s)
{
    return s->state == SOCK_GREETING ||
           (s->state == SOCK_UP && !s->held.len && chardev_room(&s->c) > 0);
}

/* Read as long as the front end takes it. */
static void sock_read(Sock *s)
{
    uint8_t buf[STEP];

    if (s->state == SOCK_UP && !deliver(s))
        return;
    while (s->fd >= 0 && may_read(s)) {
        ssize_t n = receive(s, buf, sizeof buf);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN)
            return;
        if (n <= 0 || !take_bytes(s, buf, (size_t)n)) {
            sock_down(s);
            return;
        }
        if (s->state == SOCK_UP && !deliver(s))
            return;
    }
}

/* --- a connection's life --- */

static void sock_event(void *arg, int fd, uint32_t events);

static uint32_t wanted_mask(Sock *s)
{
    bool pending;

    if (s->state == SOCK_TLS)
        return s->tls_wants == TLS_WANT_WRITE ? LOOP_WRITE : LOOP_READ;
    pending = s->wire_at < s->wire.len;
    if (may_read(s))
        return (pending ? LOOP_WRITE : 0u) | LOOP_READ;
    return (pending ? LOOP_WRITE : 0u) | (s->hup_seen ? 0u : LOOP_HUP);
}

static void sock_watch(Sock *s)
{
    uint32_t mask;

    if (s->fd < 0 || !s->c.loop)
        return;
    mask = wanted_mask(s);
    if (mask != s->mask)
        loop_watch(s->c.loop, s->fd, mask, sock_event, s);
    s->mask = mask;
}

static void negotiate_telnet(Sock *s)
{
    static const uint8_t offer[] = {IAC, WILL, 1 /* echo */,   IAC, WILL, 3 /* suppress go-ahead */,
                                    IAC, WILL, 0 /* binary */, IAC, DO,   0};

    strbuf_addn(&s->wire, (const char *)offer, sizeof offer);
}

/* The stream below is ready: greet. */
static void sock_greet(Sock *s)
{
    s->state = SOCK_GREETING;
    if (s->telnet)
        negotiate_telnet(s);
    if (!s->websocket)
        sock_up(s);
    sock_pump(s);
}

static void sock_handshake(Sock *s)
{
    Error err = {0};

    s->tls_wants = tls_handshake(s->tls, &err);
    if (s->tls_wants == TLS_DONE &&
        !authz_admits(s->objects, s->authz, tls_peer_name(s->tls), &err)) {
        s->tls_wants = TLS_FAILED;
        if (!err.msg[0])
            error_set(&err, "TLS client '%s' is not authorized", tls_peer_name(s->tls));
    }
    if (s->tls_wants == TLS_FAILED) {
        log_warn("chardev %s: %s", s->c.id, err.msg);
        sock_down(s);
    } else if (s->tls_wants == TLS_DONE) {
        sock_greet(s);
    } else {
        sock_watch(s);
    }
}

static void sock_event(void *arg, int fd, uint32_t events)
{
    Sock *s = arg;

    if (s->state == SOCK_TLS) {
        sock_handshake(s);
        return;
    }
    if (events & LOOP_HUP && !may_read(s)) { /* nobody reads; see all the same that it leaves */
        char byte;

        s->hup_seen = recv(fd, &byte, 1, MSG_PEEK) > 0;
        if (!s->hup_seen) {
            sock_down(s);
            return;
        }
    }
    if (events & (LOOP_READ | LOOP_HUP))
        sock_read(s);
    if (s->fd == fd)
        sock_pump(s);
}

/* A connection is there: ours from now on. */
static void sock_begin(Sock *s, int fd)
{
    TlsIo io = tls_io_fd;
    Error err = {0};
    int on = 1;

    s->fd = fd;
    s->mask = 0;
    s->hup_seen = false;
    io.arg = (void *)(intptr_t)fd;
    if (s->nodelay && s->addr.kind == SOCKET_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!s->creds) {
        sock_greet(s);
        return;
    }
    s->tls = tls_session_new(s->creds, s->addr.host, &io, &err);
    if (!s->tls) {
        log_warn("chardev %s: %s", s->c.id, err.msg);
        sock_down(s);
        return;
    }
    s->state = SOCK_TLS;
    sock_handshake(s);
}

/* Listen again, or try again later. */
static void sock_expect(Sock *s)
{
    struct itimerspec in = {.it_value.tv_sec = s->reconnect};

    if (!s->c.loop)
        return;
    if (s->server)
        loop_watch(s->c.loop, s->listener, LOOP_READ, sock_accept, s);
    else if (s->timer >= 0)
        timerfd_settime(s->timer, 0, &in, NULL);
}

static void sock_reset(Sock *s)
{
    if (s->mask && s->c.loop)
        loop_watch(s->c.loop, s->fd, 0, NULL, NULL);
    tls_session_free(s->tls);
    s->tls = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->mask = 0;
    s->state = SOCK_OFF;
    websocket_free(&s->ws);
    memset(s->telnet_state, 0, sizeof s->telnet_state);
    s->held.len = s->held_at = s->wire.len = s->wire_at = 0;
    while (s->n_fds)
        close(s->fds[--s->n_fds]);
}

static void sock_down(Sock *s)
{
    bool was_up = s->state == SOCK_UP, tell = false;

    sock_reset(s);
    WITH_LOCK (&s->lock) {
        s->out_up = false;
        s->out_size = 0;
        tell = s->out_cut;
        s->out_cut = false;
    }
    if (was_up)
        chardev_tell(&s->c, CHAR_CLOSED);
    if (tell)
        chardev_tell(&s->c, CHAR_WRITABLE);
    sock_expect(s);
}

static void sock_accept(void *arg, int listener, uint32_t events)
{
    Sock *s = arg;
    Error err = {0};
    int fd = socket_accept(listener, &err);

    (void)events;
    if (err.msg[0])
        log_warn("chardev %s: %s", s->c.id, err.msg);
    if (fd < 0)
        return;
    loop_watch(s->c.loop, listener, 0, NULL, NULL); /* one client at a time */
    sock_begin(s, fd);
}

static void sock_connected(void *arg, int fd, const Error *err)
{
    Sock *s = arg;

    s->connecting = NULL;
    if (fd >= 0) {
        sock_begin(s, fd);
        return;
    }
    TRACE(chardev_connect, "%s: %s", s->c.id, err->msg);
    sock_expect(s);
}

static void sock_retry(void *arg, int timer, uint32_t events)
{
    Sock *s = arg;
    uint64_t ticks;

    (void)events;
    if (read(timer, &ticks, sizeof ticks) > 0 && s->fd < 0 && !s->connecting)
        s->connecting = socket_connect(&s->addr, s->c.loop, sock_connected, s);
}

/* --- as a back end --- */

static void sock_look(void *arg)
{
    Sock *s = arg;

    if (!s->c.loop || s->fd < 0 || s->state < SOCK_GREETING)
        return;
    sock_read(s);
    if (s->fd >= 0)
        sock_watch(s);
}

static void sock_accept_ready(Chardev *c)
{
    if (c->loop)
        loop_post(c->loop, sock_look, c);
}

static void sock_opened(void *arg)
{
    Chardev *c = arg;

    if (c->loop && c->open)
        chardev_tell(c, CHAR_OPENED);
}

static void sock_attached(Chardev *c)
{
    if (c->loop && c->open)
        loop_post(c->loop, sock_opened, c);
}

static int sock_take_fd(Chardev *c)
{
    Sock *s = (Sock *)c;
    int fd = s->n_fds ? s->fds[0] : -1;

    if (s->n_fds)
        memmove(s->fds, s->fds + 1, --s->n_fds * sizeof *s->fds);
    return fd;
}

static char *sock_describe(Chardev *c)
{
    Sock *s = (Sock *)c;
    AUTO_FREE char *text = socket_addr_text(&s->addr);
    AUTO_FREE char *peer = NULL;
    SocketAddr to;

    if (s->fd >= 0 && s->addr.kind == SOCKET_INET && socket_addr_of(&to, s->fd, s->server, NULL)) {
        peer = socket_addr_text(&to);
        socket_addr_free(&to);
    }
    return xasprintf("%s%s%s%s%s%s", s->state == SOCK_UP ? "" : "disconnected:",
                     s->addr.kind != SOCKET_INET ? ""
                     : s->telnet                 ? "telnet:"
                     : s->websocket              ? "websocket:"
                                                 : "tcp:",
                     text, s->server ? ",server=on" : "", peer ? " <-> " : "", peer ? peer : "");
}

/* What is written goes out, as long as somebody reads it. */
static void sock_flush(Sock *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};

    while (s->fd >= 0 && s->state == SOCK_UP) {
        int rc = send_wire(s);

        if (rc == 0 && !refill(s))
            break;
        if (rc && (rc != -EAGAIN || poll(&p, 1, FLUSH_MS) != 1))
            break;
    }
}

static void sock_stop(Chardev *c)
{
    Sock *s = (Sock *)c;

    if (!c->loop)
        return;
    socket_connect_cancel(s->connecting);
    s->connecting = NULL;
    if (s->mask)
        loop_watch(c->loop, s->fd, 0, NULL, NULL);
    s->mask = 0;
    if (s->listener >= 0)
        loop_watch(c->loop, s->listener, 0, NULL, NULL);
    if (s->timer >= 0)
        loop_watch(c->loop, s->timer, 0, NULL, NULL);
    c->loop = NULL;
}

static void sock_close(Chardev *c)
{
    Sock *s = (Sock *)c;

    sock_stop(c);
    sock_flush(s);
    sock_reset(s);
    if (s->listener >= 0) {
        close(s->listener);
        if (s->addr.kind == SOCKET_UNIX && !s->addr.abstract)
            unlink(s->addr.path);
    }
    if (s->timer >= 0)
        close(s->timer);
    tls_creds_unref(s->creds);
    socket_addr_free(&s->addr);
    strbuf_free(&s->held);
    strbuf_free(&s->wire);
    lock_fini(&s->lock);
    chardev_fini(c);
    xfree(s->authz);
    xfree(s->out_buf);
    xfree(s);
}

static const ChardevOps sock_ops = {
    .name = "socket",
    .write = sock_write,
    .accept_ready = sock_accept_ready,
    .close = sock_close,
    .stop = sock_stop,
    .attached = sock_attached,
    .take_fd = sock_take_fd,
    .describe = sock_describe,
};

/* --- opening --- */

static bool check_options(const SocketOptions *o, Error *err)
{
    if (o->addr_type)
        return error_set(err, "socket addresses of type '%s' are not built", o->addr_type);
    if (!!o->path + !!(o->host || o->port) + !!o->fd != 1)
        return error_set(err,
                         "chardev: socket: one of 'path', 'host' with 'port', or 'fd' is needed");
    if (o->host && !o->port)
        return error_set(err, "chardev: socket: no port given");
    if (o->has_delay && o->delay && o->nodelay)
        return error_set(err, "'delay' and 'nodelay' are mutually exclusive");
    if (o->tn3270)
        return error_set(err, "tn3270 is not built (telnet is)");
    if (o->telnet && o->websocket)
        return error_set(err, "telnet and websocket exclude each other");
    if (o->websocket && !o->server)
        return error_set(err, "'websocket' client is not implemented");
    if (o->server && o->reconnect)
        return error_set(err,
                         "'reconnect' option is incompatible with socket in server listen mode");
    if (!o->server && o->has_wait && o->wait)
        return error_set(err, "'wait' option is incompatible with socket in client connect mode");
    if (o->tls_authz && !o->tls_creds)
        return error_set(err, "'tls_authz' option requires 'tls_creds' option");
    return true;
}

static void set_address(SocketAddr *a, const SocketOptions *o)
{
    socket_addr_init(a);
    a->kind = o->path ? SOCKET_UNIX : o->fd ? SOCKET_FD : SOCKET_INET;
    a->path = xstrdup(o->path);
    a->host = xstrdup(o->host ? o->host : o->port ? "" : NULL);
    a->port = xstrdup(o->port);
    a->fd = xstrdup(o->fd);
    a->to = (uint16_t)MIN(o->to, 65535u);
    a->ipv4 = o->has_ipv4 ? o->ipv4 : -1;
    a->ipv6 = o->has_ipv6 ? o->ipv6 : -1;
    a->keep_alive = o->keep_alive;
    a->abstract = o->abstract;
    a->tight = o->tight;
}

/* A port 0, or a range, has become a certain one. */
static void learn_port(Sock *s)
{
    SocketAddr real;

    if (s->addr.kind != SOCKET_INET || !socket_addr_of(&real, s->listener, false, NULL))
        return;
    xfree(s->addr.port);
    s->addr.port = xstrdup(real.port);
    if (!*s->addr.host) {
        xfree(s->addr.host);
        s->addr.host = xstrdup(real.host);
    }
    socket_addr_free(&real);
}

/* Before the loop runs: greetings and handshakes are done, or have failed. */
static void settle(Sock *s)
{
    while (s->fd >= 0 && s->state != SOCK_UP) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};

        if (s->state == SOCK_TLS && s->tls_wants == TLS_WANT_WRITE)
            p.events = POLLOUT;
        if (poll(&p, 1, -1) == 1)
            sock_event(s, s->fd, LOOP_READ);
    }
}

static void wait_for_client(Sock *s)
{
    AUTO_FREE char *text = sock_describe(&s->c);

    log_error("info: QEMU waiting for connection on: %s", text);
    while (s->state != SOCK_UP) {
        struct pollfd p = {.fd = s->listener, .events = POLLIN};
        int fd = poll(&p, 1, -1) == 1 ? socket_accept(s->listener, NULL) : -1;

        if (fd >= 0)
            sock_begin(s, fd);
        settle(s);
    }
    loop_watch(s->c.loop, s->listener, 0, NULL, NULL); /* who failed made us expect the next */
}

/* A dry run leaves the name of a socket alone, and tries its neighbour. */
static bool avoid_name(SocketAddr *a, Error *err)
{
    struct stat st;
    size_t n = a->kind == SOCKET_UNIX && !a->abstract ? strlen(a->path) : 0;

    if (!n)
        return true;
    if (stat(a->path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return error_set_errno(err, EADDRINUSE, "Failed to bind socket to %s", a->path);
    a->path[n - 1] = a->path[n - 1] == '~' ? '^' : '~';
    return true;
}

static bool start_server(Sock *s, bool wait, bool dry, Error *err)
{
    AUTO_FREE char *name = xstrdup(s->addr.path);

    if (dry && !avoid_name(&s->addr, err))
        return false;
    s->listener = socket_listen(&s->addr, 1, err);
    if (s->listener < 0 && dry && name && err) /* as it was given */
        error_set(err, "Failed to bind socket to %s: %s", name, strrchr(err->msg, ':') + 2);
    if (s->listener < 0)
        return false;
    learn_port(s);
    if (wait)
        wait_for_client(s);
    else
        sock_expect(s);
    return true;
}

static bool start_client(Sock *s, Error *err)
{
    int fd;

    if (s->reconnect) {
        s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (s->timer < 0)
            return error_set_errno(err, errno, "no timer");
        loop_watch(s->c.loop, s->timer, LOOP_READ, sock_retry, s);
        s->connecting = socket_connect(&s->addr, s->c.loop, sock_connected, s);
        return true;
    }
    fd = socket_connect_wait(&s->addr, err);
    if (fd < 0)
        return false;
    sock_begin(s, fd);
    settle(s);
    return s->state == SOCK_UP || error_set(err, "the connection was closed in its handshake");
}

static Chardev *sock_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const SocketOptions *o = options;
    Sock *s;

    if (!check_options(o, err))
        return NULL;
    s = xnew(Sock);
    chardev_init(&s->c, &sock_ops, id, host->loop);
    lock_init(&s->lock, "socket", RANK_QUEUE);
    set_address(&s->addr, o);
    s->server = o->server;
    s->telnet = o->telnet;
    s->websocket = o->websocket;
    s->nodelay = o->nodelay || (o->has_delay && !o->delay);
    s->reconnect = o->reconnect;
    s->authz = xstrdup(o->tls_authz);
    s->objects = host->objects;
    s->listener = s->fd = s->timer = -1;
    s->out_buf = xalloc(OUT_MAX);
    if (o->tls_creds && !(s->creds = tls_creds_find(host->objects, o->tls_creds, o->server, err)))
        goto fail;
    if (host->take_fd && !socket_addr_take_fd(&s->addr, host->take_fd, host->arg, err))
        goto fail;
    if (o->server ? start_server(s, (!o->has_wait || o->wait) && !host->running && !host->dry,
                                 host->dry, err)
                  : start_client(s, err))
        return &s->c;
fail:
    sock_close(&s->c);
    return NULL;
}

#define OPTIONAL(m, nm, dc)                                                                        \
    {                                                                                              \
        .name = nm, .type = &type_bool, .doc = dc, .at = offsetof(SocketOptions, m),               \
        .has_at = offsetof(SocketOptions, has_##m), .count = 1, .use = FIELD_PROP                  \
    }
static const Field sock_fields[] = {
    PROP_STR(SocketOptions, path, "path", NULL, "Unix socket"),
    PROP(SocketOptions, abstract, "abstract", false, "in the abstract name space"),
    PROP(SocketOptions, tight, "tight", true, "the abstract name is not padded"),
    PROP_STR(SocketOptions, host, "host", NULL, "TCP: host, empty for any"),
    PROP_STR(SocketOptions, port, "port", NULL, "TCP: port"),
    PROP(SocketOptions, to, "to", 0, "server: last port to try"),
    OPTIONAL(ipv4, "ipv4", "use IPv4"),
    OPTIONAL(ipv6, "ipv6", "use IPv6"),
    PROP(SocketOptions, keep_alive, "keep-alive", false, "TCP keep-alive"),
    PROP_STR(SocketOptions, fd, "fd", NULL, "an inherited descriptor"),
    OPTIONAL(delay, "delay", "off: TCP_NODELAY"),
    PROP(SocketOptions, nodelay, "nodelay", false, "TCP_NODELAY"),
    PROP(SocketOptions, server, "server", false, "listen"),
    OPTIONAL(wait, "wait", "server: start only when a client is there (default on)"),
    PROP(SocketOptions, telnet, "telnet", false, "the peer speaks telnet"),
    PROP(SocketOptions, tn3270, "tn3270", false, "not built"),
    PROP(SocketOptions, websocket, "websocket", false, "clients speak WebSocket"),
    PROP(SocketOptions, reconnect, "reconnect", 0, "client: seconds between attempts"),
    PROP_STR(SocketOptions, tls_creds, "tls-creds", NULL, "object with TLS credentials"),
    PROP_STR(SocketOptions, tls_authz, "tls-authz", NULL, "object that admits TLS clients"),
    PROP_STR(SocketOptions, addr_type, "addr-type", NULL, "unknown kinds of QMP addresses"),
};
static STRUCT_TYPE(sock_type, SocketOptions, sock_fields);

static ChardevClass sock_class = {
    .name = "socket", .doc = "a TCP or Unix socket", .options = &sock_type, .open = sock_open};
CHARDEV_REGISTER(sock_class)
