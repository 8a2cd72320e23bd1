/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_session - one client of the NBD server: its thread, requests and replies (proto.md,
 * "Transmission phase")
 *
 * Invariants
 *  1. All but session_hang_up() and the worker's part of block status runs on the session's thread.
 *  2. At most REQUESTS_MAX requests and BYTES_MAX of their buffers exist; while there are as many,
 *     nothing is read from the socket.  A request exists until its reply is sent.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "block/nbd_server_priv.h"

enum {
    REQUESTS_MAX = 64,
    BYTES_MAX = 64 << 20,
    IN_SIZE = 32 << 10,
    PARTS_MAX = 32,
    HANDSHAKE_MS = 10000,
    CACHED_MAX = 16,         /* buffers that are kept ... */
    CACHED_BYTES = 16 << 20, /* ... and what they amount to */
};

typedef struct Buffer {
    uint8_t *p;
    size_t room;
} Buffer;

typedef struct Request {
    BlockReq r;
    struct iovec iov;
    Session *session;
    uint16_t cmd, flags;
    uint64_t handle, at;
    uint32_t size;
    int error;        /* known before anything was done: -errno */
    uint8_t *buf;     /* payload of either direction */
    size_t room;      /* of buf */
    uint32_t charged; /* of BYTES_MAX */
    size_t received;
    uint8_t head[NBD_CHUNK_SIZE + 12];
    size_t head_size, payload_size, sent; /* of the reply */
    struct Request *next;
} Request;

struct Session {
    NbdServer *server;
    Session *next;
    pthread_t thread;
    _Atomic bool ended;
    NbdStream stream;
    Chosen chosen;
    Loop *loop;
    BlockCtx *ctx;
    uint32_t watched;
    bool hung_up; /* no more requests: DISC, an error, or the end of the stream */
    bool broken;  /* nothing can be sent either */
    bool flush_due;

    unsigned requests;
    uint64_t bytes;
    Request *receiving; /* its payload comes in */
    Request *out, **out_tail;
    uint8_t in[IN_SIZE];
    size_t in_at, in_end;
    Buffer cached[CACHED_MAX];
    unsigned n_cached;
    size_t cached_bytes;
};

static void session_ready(void *arg, int fd, uint32_t events);
static void take_requests(Session *s);

/* --- buffers --- */

/* The smallest kept one that has room, or a new one; not cleared: it is filled or not sent. */
static bool buffer_take(Session *s, Request *q, size_t size)
{
    unsigned best = s->n_cached;

    if (!size)
        return true;
    for (unsigned i = 0; i < s->n_cached; i++)
        if (s->cached[i].room >= size &&
            (best == s->n_cached || s->cached[i].room < s->cached[best].room))
            best = i;
    if (best < s->n_cached) {
        q->buf = s->cached[best].p;
        q->room = s->cached[best].room;
        s->cached_bytes -= q->room;
        s->cached[best] = s->cached[--s->n_cached];
    } else {
        q->room = ALIGN_UP(size, (size_t)4096);
        q->buf = aligned_alloc(4096, q->room);
    }
    return q->buf;
}

static void buffer_drop(Session *s, Request *q)
{
    if (q->buf && s->n_cached < CACHED_MAX && s->cached_bytes + q->room <= CACHED_BYTES) {
        s->cached[s->n_cached++] = (Buffer){q->buf, q->room};
        s->cached_bytes += q->room;
    } else {
        free(q->buf);
    }
    q->buf = NULL;
    q->room = 0;
}

static void request_free(Session *s, Request *q)
{
    s->requests--;
    s->bytes -= q->charged;
    buffer_drop(s, q);
    xfree(q);
}

/* --- replies --- */

static void flush_replies(Session *s)
{
    while (s->out && !s->broken) {
        struct iovec parts[PARTS_MAX];
        struct msghdr m = {.msg_iov = parts};
        ssize_t put;

        for (Request *q = s->out; q && m.msg_iovlen + 2 <= PARTS_MAX; q = q->next) {
            size_t head = MIN(q->sent, q->head_size), body = q->sent - head;

            if (head < q->head_size)
                parts[m.msg_iovlen++] = (struct iovec){q->head + head, q->head_size - head};
            if (body < q->payload_size)
                parts[m.msg_iovlen++] = (struct iovec){q->buf + body, q->payload_size - body};
        }
        if (s->stream.tls) {
            put = nbd_stream_send(&s->stream, parts[0].iov_base, parts[0].iov_len);
        } else {
            put = sendmsg(s->stream.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
            put = put >= 0 ? put : errno == EINTR ? 0 : errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
        if (put == -EAGAIN)
            return;
        if (put < 0)
            s->broken = s->hung_up = true;
        while (put > 0) {
            Request *q = s->out;
            size_t left = q->head_size + q->payload_size - q->sent;
            size_t part = MIN(left, (size_t)put);

            q->sent += part;
            put -= (ssize_t)part;
            if (part < left)
                break;
            if (!(s->out = q->next))
                s->out_tail = &s->out;
            request_free(s, q);
        }
    }
}

static void drop_replies(Session *s)
{
    while (s->out) {
        Request *q = s->out;

        s->out = q->next;
        request_free(s, q);
    }
    s->out_tail = &s->out;
}

static bool is_full(const Session *s)
{
    return s->requests >= REQUESTS_MAX || s->bytes >= BYTES_MAX;
}

/* Watch what can happen next; end the loop when nothing can. */
static void session_settle(Session *s)
{
    uint32_t want = (s->out ? LOOP_WRITE : 0) | (s->hung_up || is_full(s) ? 0 : LOOP_READ);

    if (s->broken)
        drop_replies(s);
    if (s->broken || (s->hung_up && !s->requests))
        want = 0;
    if (want != s->watched)
        loop_watch(s->loop, s->stream.fd, want, session_ready, s);
    s->watched = want;
    if (s->hung_up && !s->requests)
        loop_stop(s->loop);
}

static void session_turn(void *arg)
{
    Session *s = arg;

    bool was_full;

    /* What completes at once (cached data) is answered without another round of the loop. */
    s->flush_due = true;
    do {
        flush_replies(s);
        take_requests(s);
        was_full = is_full(s);
        blockctx_poll(s->ctx, false);
        flush_replies(s);
    } while (was_full && !is_full(s) && !s->hung_up);
    s->flush_due = false;
    session_settle(s);
}

static void session_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    session_turn(arg);
}

static void reply_simple(Request *q, int rc)
{
    put_be32(q->head, NBD_SIMPLE_MAGIC);
    put_be32(q->head + 4, rc ? nbd_error(-rc) : 0);
    put_be64(q->head + 8, q->handle);
    q->head_size = NBD_SIMPLE_SIZE;
    q->payload_size = q->cmd == NBD_CMD_READ && !rc ? q->size : 0;
}

static void chunk_head(Request *q, uint16_t type, uint32_t size)
{
    put_be32(q->head, NBD_CHUNK_MAGIC);
    put_be16(q->head + 4, NBD_CHUNK_DONE);
    put_be16(q->head + 6, type);
    put_be64(q->head + 8, q->handle);
    put_be32(q->head + 16, size);
    q->head_size = NBD_CHUNK_SIZE;
}

static bool is_zero(const uint8_t *p, size_t size)
{
    return size >= 512 && !p[0] && !memcmp(p, p + 1, size - 1);
}

static void reply_chunk(Request *q, int rc)
{
    if (rc) {
        chunk_head(q, NBD_CHUNK_ERROR_ONE, 6);
        put_be32(q->head + NBD_CHUNK_SIZE, nbd_error(-rc));
        put_be16(q->head + NBD_CHUNK_SIZE + 4, 0);
        q->head_size += 6;
    } else if (q->cmd != NBD_CMD_READ || !q->size) {
        chunk_head(q, NBD_CHUNK_NONE, 0);
    } else if (!(q->flags & NBD_CMD_DF) && is_zero(q->buf, q->size)) {
        chunk_head(q, NBD_CHUNK_HOLE, 12);
        put_be64(q->head + NBD_CHUNK_SIZE, q->at);
        put_be32(q->head + NBD_CHUNK_SIZE + 8, q->size);
        q->head_size += 12;
    } else {
        chunk_head(q, NBD_CHUNK_DATA, 8 + q->size);
        put_be64(q->head + NBD_CHUNK_SIZE, q->at);
        q->head_size += 8;
        q->payload_size = q->size;
    }
}

/* The reply is complete.  With others to come it waits for them until this round of the loop is
 * over. */
static void reply_queue(Session *s, Request *q)
{
    q->next = NULL;
    *s->out_tail = q;
    s->out_tail = &q->next;
    if (s->requests == 1 && !s->flush_due) {
        flush_replies(s);
        session_settle(s);
        return;
    }
    if (!s->flush_due)
        loop_post(s->loop, session_turn, s);
    s->flush_due = true;
}

static void request_end(Request *q, int rc)
{
    bool chunk =
        q->session->chosen.structured && (q->cmd == NBD_CMD_READ || q->cmd == NBD_CMD_BLOCK_STATUS);

    if (chunk)
        reply_chunk(q, rc);
    else
        reply_simple(q, rc);
    reply_queue(q->session, q);
}

/* --- doing what was asked --- */

static void submit(Request *q, BlockOp op, uint32_t flags);

static void request_done(BlockReq *r)
{
    Request *q = r->owner;

    /* There is no discard with FUA. */
    if (q->cmd == NBD_CMD_TRIM && q->flags & NBD_CMD_FUA && r->op == BLOCK_DISCARD && !r->result)
        submit(q, BLOCK_FLUSH, 0);
    else
        request_end(q, r->result);
}

static void submit(Request *q, BlockOp op, uint32_t flags)
{
    const NbdExport *e = q->session->chosen.export;

    q->iov = (struct iovec){q->buf, q->size};
    q->r = (BlockReq){.op = op,
                      .flags = flags,
                      .at = op == BLOCK_FLUSH ? 0 : e->offset + q->at,
                      .size = op == BLOCK_FLUSH ? 0 : q->size,
                      .iov = &q->iov,
                      .n_iov = 1,
                      .ctx = q->session->ctx,
                      .done = request_done,
                      .owner = q};
    block_submit(e->port, &q->r);
}

static void status_done(void *arg)
{
    Request *q = arg;

    if (q->error) {
        request_end(q, q->error);
        return;
    }
    q->head_size = 0; /* the chunks are all in the buffer */
    reply_queue(q->session, q);
}

/* On a worker, inside of the port so that the graph stays as it is. */
static void status_work(void *arg)
{
    Request *q = arg;
    Session *s = q->session;
    BlockPort *p = s->chosen.export->port;
    const struct timespec nap = {0, 1000000};

    atomic_fetch_add(&p->in_flight, 1);
    while (atomic_load(&p->quiet)) {
        port_finished(p);
        nanosleep(&nap, NULL);
        atomic_fetch_add(&p->in_flight, 1);
    }
    q->error = context_chunks(&s->chosen, q->handle, q->at, q->size, q->flags & NBD_CMD_REQ_ONE,
                              &q->buf, &q->payload_size);
    q->room = q->payload_size;
    port_finished(p);
    loop_post(s->loop, status_done, q);
}

static void request_start(Session *s, Request *q)
{
    uint32_t fua = q->flags & NBD_CMD_FUA ? BLOCK_FUA : 0;

    if (q->error || (!q->size && q->cmd != NBD_CMD_FLUSH)) {
        request_end(q, q->error);
        return;
    }
    switch (q->cmd) {
    case NBD_CMD_READ:
    case NBD_CMD_CACHE: submit(q, BLOCK_READ, 0); break;
    case NBD_CMD_WRITE: submit(q, BLOCK_WRITE, fua); break;
    case NBD_CMD_FLUSH: submit(q, BLOCK_FLUSH, 0); break;
    case NBD_CMD_TRIM: submit(q, BLOCK_DISCARD, 0); break;
    case NBD_CMD_WRITE_ZEROES:
        submit(q, BLOCK_ZERO,
               fua | (q->flags & NBD_CMD_NO_HOLE ? 0 : BLOCK_MAY_UNMAP) |
                   (q->flags & NBD_CMD_FAST_ZERO ? BLOCK_NO_FALLBACK : 0));
        break;
    default: block_work(s->server->graph, status_work, q); break;
    }
}

/* --- what is asked --- */

static const struct {
    uint16_t flags; /* allowed */
    bool writes, buffer, ranged;
} commands[] = {
    [NBD_CMD_READ] = {NBD_CMD_DF | NBD_CMD_FUA, false, true, true},
    [NBD_CMD_WRITE] = {NBD_CMD_FUA, true, true, true},
    [NBD_CMD_FLUSH] = {NBD_CMD_FUA, false, false, false},
    [NBD_CMD_TRIM] = {NBD_CMD_FUA, true, false, true},
    [NBD_CMD_CACHE] = {NBD_CMD_FUA, false, true, true},
    [NBD_CMD_WRITE_ZEROES] = {NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO, true, false, true},
    [NBD_CMD_BLOCK_STATUS] = {NBD_CMD_REQ_ONE, false, false, true},
};

static int request_check(const Session *s, const Request *q)
{
    const NbdExport *e = s->chosen.export;

    if (q->cmd >= COUNT_OF(commands) || q->flags & ~commands[q->cmd].flags)
        return -EINVAL;
    if (commands[q->cmd].writes && e->flags & NBD_READ_ONLY)
        return -EPERM;
    if (commands[q->cmd].buffer && q->size > NBD_MAX_PAYLOAD)
        return -EINVAL;
    if (q->cmd == NBD_CMD_FLUSH)
        return 0;
    if (q->at > e->size || q->size > e->size - q->at)
        return q->cmd == NBD_CMD_WRITE || q->cmd == NBD_CMD_WRITE_ZEROES ? -ENOSPC : -EINVAL;
    if (q->cmd == NBD_CMD_BLOCK_STATUS && (!s->chosen.contexts || !q->size))
        return -EINVAL;
    if (q->flags & NBD_CMD_DF && !s->chosen.structured)
        return -EINVAL;
    return 0;
}

/* Begin the request of a header; NULL: hang up. */
static Request *request_new(Session *s, const uint8_t *h)
{
    Request *q = xnew(Request);

    q->session = s;
    q->flags = get_be16(h + 4);
    q->cmd = get_be16(h + 6);
    q->handle = get_be64(h + 8);
    q->at = get_be64(h + 16);
    q->size = get_be32(h + 24);
    s->requests++;
    q->error = request_check(s, q);
    if (get_be32(h) != NBD_REQUEST_MAGIC || q->cmd == NBD_CMD_DISC ||
        (q->cmd == NBD_CMD_WRITE && q->size > NBD_MAX_PAYLOAD)) {
        request_free(s, q);
        return NULL;
    }
    if (q->cmd == NBD_CMD_WRITE || (!q->error && commands[q->cmd].buffer)) {
        bool have = buffer_take(s, q, q->size);

        s->bytes += q->charged = q->size;
        if (!have && q->cmd == NBD_CMD_WRITE) { /* its payload could not be put anywhere */
            request_free(s, q);
            return NULL;
        }
        q->error = have ? q->error : -ENOMEM;
    }
    return q;
}

/* More bytes into the buffer, or @size of them to @to; how many went to @to, or -errno. */
static ssize_t receive_some(Session *s, uint8_t *to, size_t size)
{
    size_t have = MIN(s->in_end - s->in_at, size);
    ssize_t got;

    if (have) {
        memcpy(to, s->in + s->in_at, have);
        s->in_at += have;
        return (ssize_t)have;
    }
    if (size >= IN_SIZE)
        return nbd_stream_recv(&s->stream, to, size);
    got = nbd_stream_recv(&s->stream, s->in, IN_SIZE);
    if (got < 0)
        return got;
    s->in_at = 0;
    s->in_end = (size_t)got;
    return 0;
}

/* A header that is all there; NULL: wait or hang up. */
static const uint8_t *receive_header(Session *s)
{
    while (s->in_end - s->in_at < NBD_REQUEST_SIZE) {
        size_t have = s->in_end - s->in_at;
        ssize_t got;

        memmove(s->in, s->in + s->in_at, have);
        s->in_at = 0;
        s->in_end = have;
        got = nbd_stream_recv(&s->stream, s->in + have, IN_SIZE - have);
        if (got < 0) {
            s->hung_up |= got != -EAGAIN;
            return NULL;
        }
        s->in_end += (size_t)got;
    }
    s->in_at += NBD_REQUEST_SIZE;
    return s->in + s->in_at - NBD_REQUEST_SIZE;
}

static bool receive_payload(Session *s)
{
    Request *q = s->receiving;

    while (q->received < q->size) {
        ssize_t got = receive_some(s, q->buf + q->received, q->size - q->received);

        if (got < 0) {
            if (got != -EAGAIN) {
                s->hung_up = true;
                s->receiving = NULL;
                request_free(s, q);
            }
            return false;
        }
        q->received += (size_t)got;
    }
    s->receiving = NULL;
    request_start(s, q);
    return true;
}

static void take_requests(Session *s)
{
    while (!s->hung_up) {
        const uint8_t *h;

        if (s->receiving) {
            if (!receive_payload(s))
                return;
            continue;
        }
        if (is_full(s) || !(h = receive_header(s)))
            return;
        s->receiving = request_new(s, h);
        if (!s->receiving) {
            s->hung_up = true;
        } else if (s->receiving->cmd != NBD_CMD_WRITE) {
            Request *q = s->receiving;

            s->receiving = NULL;
            request_start(s, q);
        }
    }
}

/* --- the thread --- */

static void session_serve(Session *s)
{
    s->stream.due = 0;
    session_turn(s);
    loop_run(s->loop);
    if (s->watched)
        loop_watch(s->loop, s->stream.fd, 0, NULL, NULL);
    if (s->stream.tls)
        tls_bye(s->stream.tls);
}

static void *session_thread(void *arg)
{
    Session *s = arg;
    NbdServer *server = s->server;
    Chosen chosen = {0};

    s->stream.due = nbd_now_ms() + (server->o.handshake_ms ? server->o.handshake_ms : HANDSHAKE_MS);
    if ((s->loop = loop_new(NULL)) && (s->ctx = blockctx_new(s->loop, NULL)) &&
        handshake(server, &s->stream, &chosen)) {
        WITH_LOCK (&server->lock)
            s->chosen = chosen;
        session_serve(s);
        export_unuse(chosen.export);
    }
    if (s->ctx)
        blockctx_free(s->ctx);
    if (s->loop)
        loop_free(s->loop);
    WITH_LOCK (&server->lock) {
        nbd_stream_close(&s->stream);
        s->chosen.export = NULL;
    }
    s->ended = true;
    server_collect_post(server);
    return NULL;
}

Session *session_new(NbdServer *server, int fd)
{
    Session *s = xnew(Session);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* not of unix sockets */
    s->server = server;
    s->stream = (NbdStream){.fd = fd, .cancel_fd = -1};
    s->out_tail = &s->out;
    if (pthread_create(&s->thread, NULL, session_thread, s) == 0)
        return s;
    close(fd);
    xfree(s);
    return NULL;
}

void session_join(Session *s)
{
    pthread_join(s->thread, NULL);
    while (s->n_cached)
        free(s->cached[--s->n_cached].p);
    xfree(s);
}

bool session_has_ended(const Session *s)
{
    return s->ended;
}

void session_hang_up(Session *s)
{
    if (s->stream.fd >= 0)
        shutdown(s->stream.fd, SHUT_RDWR);
}

Session **session_link(Session *s)
{
    return &s->next;
}

NbdExport *session_export(const Session *s)
{
    return s->chosen.export;
}
