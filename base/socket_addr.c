/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socket_addr - texts of addresses, listening and connecting; socket_addr.h has the contract */
#define _GNU_SOURCE
#include "base/socket_addr.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "base/opts_json.h"

/* --- addresses --- */

void socket_addr_init(SocketAddr *a)
{
    *a = (SocketAddr){.ipv4 = -1, .ipv6 = -1, .tight = true};
}

void socket_addr_free(SocketAddr *a)
{
    xfree(a->host);
    xfree(a->port);
    xfree(a->path);
    xfree(a->fd);
    socket_addr_init(a);
}

static bool take_tristate(json_t *j, const char *key, int8_t *out, Error *err)
{
    bool given = json_object_get(j, key) != NULL, on = false;

    if (given && !json_take_bool(j, key, &on, err))
        return false;
    if (given)
        *out = on;
    return true;
}

static bool take_inet(SocketAddr *a, json_t *j, Error *err)
{
    uint64_t to = 0;

    a->host = json_take_str(j, "host");
    a->port = json_take_str(j, "port");
    if (!json_take_u64(j, "to", &to, err) || !take_tristate(j, "ipv4", &a->ipv4, err) ||
        !take_tristate(j, "ipv6", &a->ipv6, err) ||
        !json_take_bool(j, "keep-alive", &a->keep_alive, err) ||
        !json_take_bool(j, "numeric", &a->numeric, err))
        return false;
    if (to > 65535)
        return error_set(err, "Parameter 'to' expects a port number");
    a->to = (uint16_t)to;
    return a->port || error_set(err, "Parameter 'port' is missing");
}

static bool take_unix(SocketAddr *a, json_t *j, Error *err)
{
    a->path = json_take_str(j, "path");
    return (a->path || error_set(err, "Parameter 'path' is missing")) &&
           json_take_bool(j, "abstract", &a->abstract, err) &&
           json_take_bool(j, "tight", &a->tight, err);
}

static bool take_fd(SocketAddr *a, json_t *j, Error *err)
{
    a->fd = json_take_str(j, "str");
    if (!a->fd)
        a->fd = json_take_str(j, "fd");
    return a->fd || error_set(err, "Parameter 'str' is missing");
}

bool socket_addr_take_json(SocketAddr *a, json_t *j, Error *err)
{
    AUTO_FREE char *type = json_take_str(j, "type");
    json_t *data = json_object_get(j, "data");

    socket_addr_init(a);
    if (json_is_object(data)) { /* the older form: {"type": ..., "data": {...}} */
        json_incref(data);
        json_object_del(j, "data");
        json_object_update_missing(j, data);
        json_decref(data);
    }
    if (!type)
        return error_set(err, "Parameter 'type' is missing");
    if (!strcmp(type, "inet"))
        a->kind = SOCKET_INET;
    else if (!strcmp(type, "unix"))
        a->kind = SOCKET_UNIX;
    else if (!strcmp(type, "fd"))
        a->kind = SOCKET_FD;
    else if (!strcmp(type, "vsock"))
        return error_set(err, "vsock sockets are not built");
    else
        return error_set(err, "Parameter 'type' does not accept value '%s'", type);
    return a->kind == SOCKET_INET   ? take_inet(a, j, err)
           : a->kind == SOCKET_UNIX ? take_unix(a, j, err)
                                    : take_fd(a, j, err);
}

bool socket_addr_from_json(SocketAddr *a, const json_t *j, Error *err)
{
    json_t *copy = json_deep_copy(j);
    bool ok = socket_addr_take_json(a, copy, err) && json_all_taken(copy, err);

    json_decref(copy);
    if (!ok)
        socket_addr_free(a);
    return ok;
}

static void put_tristate(json_t *j, const char *key, int8_t v)
{
    if (v >= 0)
        json_object_set_new(j, key, json_boolean(v));
}

json_t *socket_addr_to_json(const SocketAddr *a)
{
    json_t *j = json_object();

    if (a->kind == SOCKET_UNIX) {
        json_object_set_new(j, "type", json_string("unix"));
        json_object_set_new(j, "path", json_string(a->path));
        if (a->abstract) {
            json_object_set_new(j, "abstract", json_true());
            json_object_set_new(j, "tight", json_boolean(a->tight));
        }
    } else if (a->kind == SOCKET_FD) {
        json_object_set_new(j, "type", json_string("fd"));
        json_object_set_new(j, "str", json_string(a->fd));
    } else {
        json_object_set_new(j, "type", json_string("inet"));
        json_object_set_new(j, "host", json_string(a->host ? a->host : ""));
        json_object_set_new(j, "port", json_string(a->port));
        if (a->to)
            json_object_set_new(j, "to", json_integer(a->to));
        put_tristate(j, "ipv4", a->ipv4);
        put_tristate(j, "ipv6", a->ipv6);
        if (a->keep_alive)
            json_object_set_new(j, "keep-alive", json_true());
    }
    return j;
}

char *socket_addr_text(const SocketAddr *a)
{
    const char *host = a->host ? a->host : "";

    if (a->kind == SOCKET_UNIX)
        return xasprintf("unix:%s%s", a->abstract ? "@" : "", a->path ? a->path : "");
    if (a->kind == SOCKET_FD)
        return xasprintf("fd:%s", a->fd);
    return xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, a->port);
}

bool socket_addr_parse_inet(SocketAddr *a, const char *text, Error *err)
{
    const char *end, *host = text;
    size_t n_host;
    json_t *opts;
    bool ok;

    socket_addr_init(a);
    if (*text == '[') {
        host++;
        end = strchr(text, ']');
        n_host = end ? (size_t)(end - host) : 0;
        end = end ? end + 1 : text;
        if (*end != ':')
            return error_set(err, "error parsing IPv6 address '%s'", text);
    } else {
        end = text + strcspn(text, ":,");
        n_host = (size_t)(end - text);
        if (*end != ':')
            return error_set(err, "error parsing address '%s': it is host:port", text);
    }
    end++;
    a->kind = SOCKET_INET;
    a->host = xasprintf("%.*s", (int)n_host, host);
    a->port = xasprintf("%.*s", (int)strcspn(end, ","), end);
    if (!*a->port || strchr(a->port, ':')) {
        socket_addr_free(a);
        return error_set(err, "error parsing port in address '%s'", text);
    }
    end += strcspn(end, ",");
    opts = opts_json_parse(*end ? end + 1 : "", NULL, KEYVAL_FLAGS, NULL, err);
    ok = opts != NULL;
    if (ok) {
        json_object_set_new(opts, "type", json_string("inet"));
        json_object_set_new(opts, "host", json_string(a->host));
        json_object_set_new(opts, "port", json_string(a->port));
    }
    socket_addr_free(a);
    ok = ok && socket_addr_from_json(a, opts, err);
    json_decref(opts);
    return ok;
}

bool socket_addr_parse(SocketAddr *a, const char *text, Error *err)
{
    socket_addr_init(a);
    if (!strncmp(text, "unix:", 5)) {
        a->kind = SOCKET_UNIX;
        a->path = xstrdup(text + 5);
        return *a->path || error_set(err, "invalid Unix socket address");
    }
    if (!strncmp(text, "fd:", 3)) {
        a->kind = SOCKET_FD;
        a->fd = xstrdup(text + 3);
        return *a->fd || error_set(err, "invalid file descriptor address");
    }
    if (!strncmp(text, "vsock:", 6))
        return error_set(err, "vsock sockets are not built");
    if (!strncmp(text, "tcp:", 4))
        text += 4;
    return socket_addr_parse_inet(a, text, err);
}

bool socket_addr_of(SocketAddr *a, int fd, bool peer, Error *err)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    const struct sockaddr_un *un = (const struct sockaddr_un *)&ss;

    socket_addr_init(a);
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &n) < 0)
        return error_set_errno(err, errno, "Unable to query %s socket address",
                               peer ? "remote" : "local");
    if (ss.ss_family == AF_UNIX) {
        size_t len = n - offsetof(struct sockaddr_un, sun_path);

        a->kind = SOCKET_UNIX;
        a->abstract = len > 0 && !un->sun_path[0];
        a->path = xasprintf("%.*s", (int)(len - a->abstract), un->sun_path + a->abstract);
        return true;
    }
    if (getnameinfo((struct sockaddr *)&ss, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return error_set(err, "the socket has no address that can be shown");
    a->kind = SOCKET_INET;
    a->host = xstrdup(host);
    a->port = xstrdup(port);
    return true;
}

/* --- resolving --- */

static int family_of(const SocketAddr *a)
{
    if (a->ipv6 == 1 && a->ipv4 == 1)
        return AF_UNSPEC;
    if (a->ipv6 == 1 || (a->ipv4 == 0 && a->ipv6 != 1))
        return AF_INET6;
    if (a->ipv4 == 1 || a->ipv6 == 0)
        return AF_INET;
    return AF_UNSPEC;
}

/* May block, unless @flags has AI_NUMERICHOST. */
static struct addrinfo *resolve(const SocketAddr *a, int type, int flags, Error *err)
{
    struct addrinfo hints = {.ai_family = family_of(a), .ai_socktype = type, .ai_flags = flags};
    struct addrinfo *list = NULL;
    const char *host = a->host && *a->host ? a->host : NULL;
    int rc;

    if (a->ipv4 == 0 && a->ipv6 == 0) {
        error_set(err, "Cannot disable IPv4 and IPv6 at same time");
        return NULL;
    }
    if (a->numeric)
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    rc = getaddrinfo(host, a->port, &hints, &list);
    if (rc) {
        error_set(err, "address resolution failed for %s:%s: %s", host ? host : "", a->port,
                  gai_strerror(rc));
        return NULL;
    }
    return list;
}

static bool unix_address(const SocketAddr *a, struct sockaddr_un *un, socklen_t *size, Error *err)
{
    size_t n = strlen(a->path), room = sizeof un->sun_path - a->abstract;

    if (n > room - !a->abstract)
        return error_set(err, "UNIX socket path '%s' is too long (at most %zu bytes)", a->path,
                         room - !a->abstract);
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(un->sun_path + a->abstract, a->path, n);
    *size = sizeof *un;
    if (a->abstract && a->tight)
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    return true;
}

/* A descriptor that was inherited. */
static int inherited(const SocketAddr *a, Error *err)
{
    uint64_t fd;
    struct stat st;

    if (!parse_u64(a->fd, &fd)) {
        error_set(err, "File descriptor named '%s' has not been found", a->fd);
        return -1;
    }
    if (fd > INT32_MAX || fstat((int)fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        error_set(err, "File descriptor '%s' is not a socket", a->fd);
        return -1;
    }
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    return (int)fd;
}

bool socket_addr_take_fd(SocketAddr *a, int (*take)(void *arg, const char *name, Error *err),
                         void *arg, Error *err)
{
    uint64_t number;
    struct stat st;
    int fd;

    if (a->kind != SOCKET_FD || parse_u64(a->fd, &number))
        return true;
    fd = take(arg, a->fd, err);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        close(fd);
        return error_set(err, "File descriptor '%s' is not a socket", a->fd);
    }
    xfree(a->fd);
    a->fd = xasprintf("%d", fd);
    return true;
}

static int new_socket(int family, int type)
{
    return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void switch_on(int fd, int level, int option)
{
    int on = 1;

    setsockopt(fd, level, option, &on, sizeof on);
}

/* --- listening --- */

static void set_port(struct sockaddr *sa, unsigned port)
{
    if (sa->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
}

static unsigned get_port(const struct sockaddr *sa)
{
    return ntohs(sa->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)sa)->sin6_port
                                           : ((const struct sockaddr_in *)sa)->sin_port);
}

/* Bind and listen on the first free port of the range: a descriptor or -errno. */
static int listen_on(const SocketAddr *a, const struct addrinfo *ai, int backlog)
{
    unsigned first = get_port(ai->ai_addr), last = MAX(first, (unsigned)a->to);
    int rc = EADDRINUSE;

    for (unsigned port = first; port <= last; port++) {
        int fd = new_socket(ai->ai_family, ai->ai_socktype);
        int off = family_of(a) == AF_INET6;

        if (fd < 0)
            return -errno;
        switch_on(fd, SOL_SOCKET, SO_REUSEADDR);
        if (ai->ai_family == AF_INET6) /* both, unless only IPv6 is wanted */
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        set_port(ai->ai_addr, port);
        if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0)
            return fd;
        rc = errno;
        close(fd);
        if (rc != EADDRINUSE)
            break;
    }
    return -rc;
}

static int listen_inet(const SocketAddr *a, int backlog, Error *err)
{
    struct addrinfo *list = resolve(a, SOCK_STREAM, AI_PASSIVE, err);
    int fd = -EADDRNOTAVAIL;

    if (!list)
        return -1;
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
        fd = listen_on(a, ai, backlog);
    freeaddrinfo(list);
    if (fd >= 0)
        return fd;
    error_set_errno(err, -fd, "Failed to find an available port");
    return -1;
}

static int listen_unix(const SocketAddr *a, int backlog, Error *err)
{
    struct sockaddr_un un;
    socklen_t size;
    int fd;

    if (!unix_address(a, &un, &size, err))
        return -1;
    fd = new_socket(AF_UNIX, SOCK_STREAM);
    if (!a->abstract) {
        struct stat st; /* what was left behind; nothing but sockets */

        if (stat(a->path, &st) == 0 && S_ISSOCK(st.st_mode))
            unlink(a->path);
    }
    if (fd >= 0 && bind(fd, (struct sockaddr *)&un, size) == 0 && listen(fd, backlog) == 0)
        return fd;
    error_set_errno(err, errno, "Failed to bind socket to %s", a->path);
    if (fd >= 0)
        close(fd);
    return -1;
}

int socket_listen(const SocketAddr *a, int backlog, Error *err)
{
    int fd;

    switch (a->kind) {
    case SOCKET_INET: return listen_inet(a, backlog, err);
    case SOCKET_UNIX: return listen_unix(a, backlog, err);
    default:
        fd = inherited(a, err);
        if (fd >= 0 && listen(fd, backlog) < 0) {
            error_set_errno(err, errno, "Failed to listen on fd socket");
            return -1;
        }
        return fd;
    }
}

int socket_accept(int listener, Error *err)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        error_set_errno(err, errno, "Unable to accept connection");
    return fd;
}

/* --- connecting --- */

static bool refused(Error *err, const SocketAddr *a, int errnum)
{
    AUTO_FREE char *text = a->kind == SOCKET_UNIX ? xstrdup(a->path) : socket_addr_text(a);

    return error_set_errno(err, errnum, "Failed to connect to '%s'", text);
}

/* Begin a connection: a descriptor, or -errno.  *pending: poll for writing. */
static int connect_begin(const struct sockaddr *sa, socklen_t size, const SocketAddr *a,
                         bool *pending)
{
    int fd = new_socket(sa->sa_family, SOCK_STREAM), rc;

    if (fd < 0)
        return -errno;
    if (a->keep_alive)
        switch_on(fd, SOL_SOCKET, SO_KEEPALIVE);
    do
        rc = connect(fd, sa, size);
    while (rc < 0 && errno == EINTR);
    *pending = rc < 0 && errno == EINPROGRESS;
    if (rc == 0 || *pending)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static int connect_result(int fd)
{
    int rc = 0;
    socklen_t n = sizeof rc;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &n) < 0 ? errno : rc;
}

static int connect_one_wait(const struct sockaddr *sa, socklen_t size, const SocketAddr *a)
{
    bool pending;
    int fd = connect_begin(sa, size, a, &pending), rc;

    if (fd < 0 || !pending)
        return fd;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    do
        rc = poll(&p, 1, -1);
    while (rc < 0 && errno == EINTR);
    rc = connect_result(fd);
    if (!rc)
        return fd;
    close(fd);
    return -rc;
}

int socket_connect_wait(const SocketAddr *a, Error *err)
{
    struct sockaddr_un un;
    socklen_t size;
    int fd = -EADDRNOTAVAIL;

    if (a->kind == SOCKET_FD)
        return inherited(a, err);
    if (a->kind == SOCKET_UNIX) {
        if (!unix_address(a, &un, &size, err))
            return -1;
        fd = connect_one_wait((struct sockaddr *)&un, size, a);
    } else {
        struct addrinfo *list = resolve(a, SOCK_STREAM, 0, err);

        if (!list)
            return -1;
        for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
            fd = connect_one_wait(ai->ai_addr, ai->ai_addrlen, a);
        freeaddrinfo(list);
    }
    if (fd >= 0)
        return fd;
    refused(err, a, -fd);
    return -1;
}

/*
 * Connecting from a loop.  Names are resolved by a thread of their own; what follows happens on the
 * loop.  References: the owner's until fn was called or cancelled, one for a post under way, one
 * for the resolving thread.
 */
struct SocketConnect {
    atomic_uint refs;
    pthread_mutex_t lock; /* of `loop`: the resolver posts only if it is still wanted */
    Loop *loop;           /* NULL: cancelled */
    SocketAddr addr;
    SocketConnectFn *fn;
    void *arg;
    struct addrinfo *list, *next;
    struct sockaddr_un un;
    int fd, errnum;
    Error err;
};

static void connect_unref(SocketConnect *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->list)
        freeaddrinfo(c->list);
    if (c->fd >= 0)
        close(c->fd);
    socket_addr_free(&c->addr);
    pthread_mutex_destroy(&c->lock);
    xfree(c);
}

/* Tell the owner, whose reference ends here. */
static void connect_finish(SocketConnect *c)
{
    int fd = c->fd;

    c->fd = -1;
    c->loop = NULL;
    if (fd < 0 && !c->err.msg[0])
        refused(&c->err, &c->addr, c->errnum ? c->errnum : EADDRNOTAVAIL);
    c->fn(c->arg, fd, &c->err);
    connect_unref(c);
}

static void connect_next(SocketConnect *c);

static void connect_ready(void *arg, int fd, uint32_t events)
{
    SocketConnect *c = arg;

    (void)events;
    loop_watch(c->loop, fd, 0, NULL, NULL);
    c->errnum = connect_result(fd);
    if (c->errnum) {
        close(fd);
        c->fd = -1;
        connect_next(c);
    } else {
        connect_finish(c);
    }
}

/* Try the remaining addresses.  On the loop. */
static void connect_next(SocketConnect *c)
{
    while (c->next) {
        const struct addrinfo *ai = c->next;
        bool pending = false;

        c->next = ai->ai_next;
        c->fd = connect_begin(ai->ai_addr, ai->ai_addrlen, &c->addr, &pending);
        if (c->fd < 0) {
            c->errnum = -c->fd;
            c->fd = -1;
        } else if (pending) {
            loop_watch(c->loop, c->fd, LOOP_WRITE, connect_ready, c);
            return;
        } else {
            break;
        }
    }
    connect_finish(c);
}

/* On the loop: addresses are known (or the descriptor is there, or all is lost). */
static void connect_go(void *arg)
{
    SocketConnect *c = arg;

    if (c->loop && c->fd < 0 && !c->err.msg[0])
        connect_next(c);
    else if (c->loop)
        connect_finish(c);
    connect_unref(c);
}

static void *connect_resolve(void *arg)
{
    SocketConnect *c = arg;

    c->list = c->next = resolve(&c->addr, SOCK_STREAM, 0, &c->err);
    pthread_mutex_lock(&c->lock);
    if (c->loop) {
        atomic_fetch_add(&c->refs, 1);
        loop_post(c->loop, connect_go, c);
    }
    pthread_mutex_unlock(&c->lock);
    connect_unref(c);
    return NULL;
}

static void addr_copy(SocketAddr *to, const SocketAddr *from)
{
    *to = *from;
    to->host = xstrdup(from->host);
    to->port = xstrdup(from->port);
    to->path = xstrdup(from->path);
    to->fd = xstrdup(from->fd);
}

static bool connect_in_thread(SocketConnect *c)
{
    pthread_t t;

    atomic_fetch_add(&c->refs, 1);
    if (pthread_create(&t, NULL, connect_resolve, c) == 0) {
        pthread_detach(t);
        return true;
    }
    atomic_fetch_sub(&c->refs, 1);
    return error_set(&c->err, "cannot start a thread that resolves '%s'", c->addr.host);
}

static void connect_unix(SocketConnect *c)
{
    socklen_t size;
    bool pending;

    if (!unix_address(&c->addr, &c->un, &size, &c->err))
        return;
    c->fd = connect_begin((struct sockaddr *)&c->un, size, &c->addr, &pending);
    if (c->fd < 0) {
        refused(&c->err, &c->addr, -c->fd);
        c->fd = -1;
    }
}

SocketConnect *socket_connect(const SocketAddr *a, Loop *loop, SocketConnectFn *fn, void *arg)
{
    SocketConnect *c = xnew(SocketConnect);

    atomic_init(&c->refs, 2); /* the owner's and connect_go's */
    pthread_mutex_init(&c->lock, NULL);
    addr_copy(&c->addr, a);
    c->loop = loop;
    c->fn = fn;
    c->arg = arg;
    c->fd = -1;
    if (a->kind == SOCKET_FD) {
        c->fd = inherited(a, &c->err);
    } else if (a->kind == SOCKET_UNIX) {
        connect_unix(c);
    } else {
        c->list = c->next = resolve(a, SOCK_STREAM, AI_NUMERICHOST, NULL);
        if (!c->list && connect_in_thread(c)) {
            connect_unref(c); /* the thread posts */
            return c;
        }
    }
    loop_post(loop, connect_go, c);
    return c;
}

void socket_connect_cancel(SocketConnect *c)
{
    if (!c)
        return;
    if (c->fd >= 0 && c->loop)
        loop_watch(c->loop, c->fd, 0, NULL, NULL);
    pthread_mutex_lock(&c->lock);
    c->loop = NULL;
    pthread_mutex_unlock(&c->lock);
    connect_unref(c);
}

/* --- datagrams --- */

int socket_datagram(const SocketAddr *local, const SocketAddr *remote, Error *err)
{
    struct addrinfo *to = resolve(remote, SOCK_DGRAM, 0, err), *from = NULL;
    SocketAddr any = {.ipv4 = -1, .ipv6 = -1, .host = NULL, .port = (char[]){"0"}};
    int fd = -1;

    if (!to)
        return -1;
    if (!local)
        local = &any;
    SocketAddr same = *local;
    same.ipv4 = to->ai_family == AF_INET;
    same.ipv6 = to->ai_family == AF_INET6;
    from = resolve(&same, SOCK_DGRAM, AI_PASSIVE, err);
    if (from) {
        fd = new_socket(to->ai_family, SOCK_DGRAM);
        if (fd >= 0)
            switch_on(fd, SOL_SOCKET, SO_REUSEADDR);
        if (fd < 0 || bind(fd, from->ai_addr, from->ai_addrlen) < 0 ||
            connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
            error_set_errno(err, errno, "Failed to make a datagram socket to '%s:%s'",
                            remote->host ? remote->host : "", remote->port);
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
        freeaddrinfo(from);
    }
    freeaddrinfo(to);
    return fd;
}
