/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_client - requests over a connection to an NBD server (proto.md, "Transmission phase")
 *
 * A thread of the connection reads replies, sends what could not be sent at once, and connects
 * again after a loss.  Submitters send by themselves if the socket takes it (not under TLS).
 *
 * Invariants
 *  1. An Op is in exactly one place: the queue (not sent, or to be sent again), or a slot.
 *  2. `lock` guards the queue, the slots, `sending` and the stream's sending side; only the thread
 *     receives, connects and closes.
 *  3. Nothing the server says is used before it was checked against the request it claims to
 *     answer.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "block/block_priv.h"
#include "block/nbd_client.h"
#include "block/nbd_negotiate.h"

enum {
    SLOTS = 128,
    IN_SIZE = 32 << 10,
    IOV_PARTS = 64,
    ZEROES_SIZE = 1 << 20,
    SKIP_MAX = 1 << 20, /* of what is not understood in a reply */
    HANDSHAKE_MS = 60000,
    BACKOFF_MAX_MS = 16000,
};

typedef struct Op {
    struct Op *next;
    BlockReq *r; /* NULL: somebody waits for `finished` */
    uint16_t cmd, flags;
    uint64_t at, left; /* of the request: what this piece begins with, and all that is to do */
    uint32_t size;     /* of the piece; bytes done before it: r->size - left */
    bool flush_after;  /* FUA that the server does not have */
    uint64_t handle;
    uint8_t head[NBD_REQUEST_SIZE];
    size_t sent; /* of the head and the payload */
    uint64_t received;
    int error;
    bool finished;
    uint32_t extent_size, extent_flags;
} Op;

typedef enum Link {
    LINK_UP,
    LINK_PAUSED, /* down, requests wait */
    LINK_DOWN,   /* down, requests fail */
} Link;

struct NbdClient {
    NbdClientOptions o;
    NbdInfo info;        /* does not change; later connections must offer as much */
    bool structured;     /* of this connection */
    uint32_t context_id; /* the same */
    Lock lock;
    pthread_cond_t op_finished;
    pthread_t thread;
    bool running;
    _Atomic bool quit;
    int wake_fd, quit_fd;
    Loop *connect_loop; /* of the thread, for connecting again */

    NbdStream stream;
    Link link;
    Op *slots[SLOTS];
    unsigned in_flight;
    uint64_t serial;
    Op *queue, **queue_tail;
    Op *sending; /* in a slot, its head or payload partly sent */
    uint8_t *zeroes;

    uint8_t in[IN_SIZE]; /* received, [in_at, in_end) not yet looked at */
    size_t in_at, in_end;
};

/* --- queue and slots; under the lock --- */

static void queue_add(NbdClient *c, Op *op)
{
    op->next = NULL;
    *c->queue_tail = op;
    c->queue_tail = &op->next;
}

static Op *queue_take(NbdClient *c)
{
    Op *op = c->queue;

    if (op && !(c->queue = op->next))
        c->queue_tail = &c->queue;
    return op;
}

static void slot_put(NbdClient *c, Op *op)
{
    unsigned i = 0;

    while (c->slots[i])
        i++;
    c->slots[i] = op;
    c->in_flight++;
    op->handle = ++c->serial * SLOTS + i;
    op->sent = 0;
    op->received = 0;
    op->error = 0;
    op->extent_size = 0;
    put_be32(op->head, NBD_REQUEST_MAGIC);
    put_be16(op->head + 4, op->flags);
    put_be16(op->head + 6, op->cmd);
    put_be64(op->head + 8, op->handle);
    put_be64(op->head + 16, op->at);
    put_be32(op->head + 24, op->size);
}

static void slot_clear(NbdClient *c, const Op *op)
{
    c->slots[op->handle % SLOTS] = NULL;
    c->in_flight--;
}

/* --- sending; under the lock --- */

static bool has_payload(const Op *op)
{
    return op->cmd == NBD_CMD_WRITE;
}

/* What is still to send of @op, head first; how many parts. */
static int op_parts(const NbdClient *c, const Op *op, struct iovec *out)
{
    size_t head = MIN(op->sent, sizeof op->head), sent = op->sent - head;
    uint64_t done;
    int n = 0;

    if (head < sizeof op->head)
        out[n++] = (struct iovec){(void *)(uintptr_t)(op->head + head), sizeof op->head - head};
    if (!has_payload(op))
        return n;
    if (op->r->op == BLOCK_ZERO) {
        out[n++] = (struct iovec){c->zeroes + sent, op->size - sent};
        return n;
    }
    done = op->r->size - op->left + sent;
    for (int i = 0; i < op->r->n_iov && n < IOV_PARTS; i++) {
        const struct iovec *v = &op->r->iov[i];
        size_t len;

        if (done >= v->iov_len) {
            done -= v->iov_len;
            continue;
        }
        len = MIN(v->iov_len - done, op->size - sent);
        out[n++] = (struct iovec){(char *)v->iov_base + done, len};
        sent += len;
        done = 0;
        if (sent == op->size)
            break;
    }
    return n;
}

static ssize_t send_parts(NbdClient *c, const struct iovec *parts, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)n};
    ssize_t put;

    if (c->stream.tls)
        return nbd_stream_send(&c->stream, parts[0].iov_base, parts[0].iov_len);
    do
        put = sendmsg(c->stream.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put >= 0 ? put : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* Send what there is.  0: nothing left that may be sent now, -EAGAIN: the socket is full. */
static int pump_locked(NbdClient *c)
{
    while (c->link == LINK_UP) {
        struct iovec parts[IOV_PARTS];
        Op *op = c->sending;
        ssize_t put;

        if (!op) {
            if (c->in_flight == SLOTS || !(op = queue_take(c)))
                return 0;
            slot_put(c, op);
            c->sending = op;
        }
        put = send_parts(c, parts, op_parts(c, op, parts));
        if (put < 0)
            return (int)put;
        op->sent += (size_t)put;
        if (op->sent == sizeof op->head + (has_payload(op) ? op->size : 0))
            c->sending = NULL;
    }
    return 0;
}

static void wake(NbdClient *c)
{
    uint64_t one = 1;

    if (write(c->wake_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN);
}

/* --- an operation's life --- */

/* The largest piece that may begin at @at. */
static uint32_t piece_size(const NbdClient *c, const Op *op)
{
    uint32_t max_payload =
        MIN(c->info.max_block ? c->info.max_block : NBD_MAX_PAYLOAD, (uint32_t)NBD_MAX_PAYLOAD);
    uint64_t max = 1u << 30;

    if (op->cmd == NBD_CMD_READ || op->cmd == NBD_CMD_WRITE)
        max = ALIGN_DOWN(max_payload, MAX(c->info.min_block, 1u));
    if (op->cmd == NBD_CMD_WRITE && op->r->op == BLOCK_ZERO)
        max = MIN(max, (uint64_t)ZEROES_SIZE);
    return (uint32_t)MIN(op->left, max);
}

/* Free the operation and complete its request. */
static void op_end(NbdClient *c, Op *op, int rc)
{
    if (op->r) {
        blockreq_complete(op->r, rc);
        xfree(op);
        return;
    }
    WITH_LOCK (&c->lock) {
        op->error = rc;
        op->finished = true;
        pthread_cond_broadcast(&c->op_finished);
    }
}

static void op_submit(NbdClient *c, Op *op)
{
    int rc = 0;
    bool failed = false, tell = false;

    WITH_LOCK (&c->lock) {
        failed = c->link == LINK_DOWN;
        if (!failed) {
            queue_add(c, op);
            if (!c->stream.tls)
                rc = pump_locked(c);
            tell = c->stream.tls || rc < 0; /* an error shows on the thread, too */
        }
    }
    if (failed)
        op_end(c, op, -EIO);
    else if (tell)
        wake(c);
}

/* A piece was answered: on with the next one, or the end. */
static void op_answered(NbdClient *c, Op *op)
{
    uint64_t offset = op->size;

    WITH_LOCK (&c->lock)
        slot_clear(c, op);
    if (op->error || !op->r) {
        op_end(c, op, op->error);
        return;
    }
    op->left -= offset;
    op->at += offset;
    if (!op->left && !op->flush_after) {
        op_end(c, op, 0);
        return;
    }
    if (!op->left) {
        op->flush_after = false;
        op->cmd = NBD_CMD_FLUSH;
        op->flags = 0;
        op->at = 0;
    }
    op->size = piece_size(c, op);
    WITH_LOCK (&c->lock)
        queue_add(c, op); /* the thread sends it before it waits again */
}

static int plan_zero(NbdClient *c, Op *op)
{
    const BlockReq *r = op->r;
    bool fast = r->flags & BLOCK_NO_FALLBACK;

    if (!(c->info.flags & NBD_SEND_WRITE_ZEROES) ||
        (fast && !(c->info.flags & NBD_SEND_FAST_ZERO))) {
        if (fast)
            return -ENOTSUP;
        op->cmd = NBD_CMD_WRITE;
        WITH_LOCK (&c->lock) {
            if (!c->zeroes)
                c->zeroes = xalloc(ZEROES_SIZE);
        }
        return 1;
    }
    op->cmd = NBD_CMD_WRITE_ZEROES;
    op->flags = (r->flags & BLOCK_MAY_UNMAP ? 0 : NBD_CMD_NO_HOLE) | (fast ? NBD_CMD_FAST_ZERO : 0);
    return 1;
}

/* 1: to be sent; 0 or -errno: the answer is known. */
static int op_plan(NbdClient *c, Op *op)
{
    uint32_t has = c->info.flags;
    int rc = 1;

    switch (op->r->op) {
    case BLOCK_READ: op->cmd = NBD_CMD_READ; return 1;
    case BLOCK_FLUSH: op->cmd = NBD_CMD_FLUSH; return has & NBD_SEND_FLUSH ? 1 : 0;
    case BLOCK_DISCARD: op->cmd = NBD_CMD_TRIM; return has & NBD_SEND_TRIM ? 1 : 0;
    case BLOCK_WRITE: op->cmd = NBD_CMD_WRITE; break;
    default: rc = plan_zero(c, op); break;
    }
    if (op->r->flags & BLOCK_FUA) {
        if (has & NBD_SEND_FUA)
            op->flags |= NBD_CMD_FUA;
        else
            op->flush_after = has & NBD_SEND_FLUSH;
    }
    return rc;
}

void nbd_client_submit(NbdClient *c, BlockReq *r)
{
    Op *op = xnew(Op);
    int rc;

    op->r = r;
    op->at = r->at;
    op->left = r->size;
    rc = op_plan(c, op);
    if (rc <= 0) {
        op_end(c, op, rc);
        return;
    }
    op->size = piece_size(c, op);
    op_submit(c, op);
}

int nbd_client_status(NbdClient *c, uint64_t at, uint64_t size, Extent *out)
{
    uint32_t align = MAX(c->info.min_block, 1u);
    Op op = {.cmd = NBD_CMD_BLOCK_STATUS, .flags = NBD_CMD_REQ_ONE};
    uint64_t skipped = at % align;

    *out = (Extent){.kind = EXTENT_DATA, .at = at, .size = size, .child_at = at};
    if (!c->info.has_context)
        return 0;
    op.at = at - skipped;
    op.left = op.size = (uint32_t)MIN(ALIGN_UP(size + skipped, (uint64_t)align), 1u << 30);
    op_submit(c, &op);
    worker_waits(true);
    WITH_LOCK (&c->lock) {
        while (!op.finished)
            pthread_cond_wait(&c->op_finished, &c->lock.m);
    }
    worker_waits(false);
    if (op.error)
        return op.error;
    if (op.extent_size <= skipped)
        return -EIO;
    out->size = MIN(op.extent_size - skipped, size);
    if (op.extent_flags & NBD_STATE_ZERO) {
        out->kind = EXTENT_ZERO;
        out->flags = op.extent_flags & NBD_STATE_HOLE ? 0 : EXTENT_PREALLOCATED;
    } else if (op.extent_flags & NBD_STATE_HOLE) {
        out->kind = EXTENT_UNALLOCATED;
    }
    return 0;
}

/* --- receiving; the thread --- */

/* Wait until something can be read, and send meanwhile.  0 or -errno. */
static int receive_wait(NbdClient *c)
{
    struct pollfd fds[] = {{.fd = c->stream.fd, .events = POLLIN},
                           {.fd = c->wake_fd, .events = POLLIN},
                           {.fd = c->quit_fd, .events = POLLIN}};
    uint64_t count;
    int rc = 0;

    WITH_LOCK (&c->lock)
        rc = pump_locked(c);
    if (rc == -EAGAIN)
        fds[0].events |= POLLOUT;
    else if (rc < 0)
        return rc;
    if (poll(fds, 3, -1) < 0 && errno != EINTR)
        return -errno;
    if (fds[1].revents && read(c->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return -errno;
    return fds[2].revents ? -ECANCELED : 0;
}

static int receive(NbdClient *c, void *p, size_t n)
{
    for (char *to = p; n;) {
        size_t have = MIN(c->in_end - c->in_at, n);
        bool direct = n - have >= IN_SIZE;
        ssize_t got;

        memcpy(to, c->in + c->in_at, have);
        c->in_at += have;
        to += have;
        n -= have;
        if (!n)
            break;
        got = nbd_stream_recv(&c->stream, direct ? to : (char *)c->in, direct ? n : IN_SIZE);
        if (got == -EAGAIN) {
            int rc = receive_wait(c);

            if (rc < 0)
                return rc;
        } else if (got < 0) {
            return (int)got;
        } else if (direct) {
            to += got;
            n -= (size_t)got;
        } else {
            c->in_at = 0;
            c->in_end = (size_t)got;
        }
    }
    return 0;
}

static int receive_skip(NbdClient *c, uint32_t n)
{
    char buf[1024];
    int rc = 0;

    if (n > SKIP_MAX)
        return -EPROTO;
    for (; n && rc == 0; n -= MIN(n, (uint32_t)sizeof buf))
        rc = receive(c, buf, MIN(n, sizeof buf));
    return rc;
}

/* @size bytes of data for the part of the request's vector that begins @offset into the piece. */
static int receive_data(NbdClient *c, const Op *op, uint64_t offset, size_t size)
{
    uint64_t skip = op->r->size - op->left + offset;
    int rc = 0;

    for (int i = 0; i < op->r->n_iov && size && rc == 0; i++) {
        const struct iovec *v = &op->r->iov[i];
        size_t len;

        if (skip >= v->iov_len) {
            skip -= v->iov_len;
            continue;
        }
        len = MIN(v->iov_len - skip, size);
        rc = receive(c, (char *)v->iov_base + skip, len);
        size -= len;
        skip = 0;
    }
    return rc;
}

/* The operation that @handle stands for; NULL: none that was sent completely. */
static Op *op_find(NbdClient *c, uint64_t handle)
{
    Op *op = NULL;

    WITH_LOCK (&c->lock) {
        op = c->slots[handle % SLOTS];
        if (op && (op->handle != handle || op == c->sending))
            op = NULL;
    }
    return op;
}

static int simple_reply(NbdClient *c)
{
    uint8_t p[NBD_SIMPLE_SIZE - 4];
    uint32_t error;
    int rc = receive(c, p, sizeof p);
    Op *op = rc < 0 ? NULL : op_find(c, get_be64(p + 4));

    if (rc < 0)
        return rc;
    if (!op || op->cmd == NBD_CMD_BLOCK_STATUS || (op->cmd == NBD_CMD_READ && c->structured))
        return -EPROTO;
    error = get_be32(p);
    op->error = error ? -nbd_error_host(error) : 0;
    if (!error && op->cmd == NBD_CMD_READ)
        rc = receive_data(c, op, 0, op->size);
    if (rc == 0)
        op_answered(c, op);
    return rc;
}

static bool piece_has(const Op *op, uint64_t at, uint64_t size)
{
    return op->cmd == NBD_CMD_READ && at >= op->at && size <= op->size &&
           at - op->at <= op->size - size;
}

static int chunk_data(NbdClient *c, Op *op, uint32_t size)
{
    uint8_t p[8];
    uint64_t at;
    int rc = size > 8 ? receive(c, p, 8) : -EPROTO;

    if (rc < 0)
        return rc;
    at = get_be64(p);
    size -= 8;
    if (!piece_has(op, at, size))
        return -EPROTO;
    op->received += size;
    return receive_data(c, op, at - op->at, size);
}

static int chunk_hole(NbdClient *c, Op *op, uint32_t size)
{
    uint8_t p[12];
    uint64_t at;
    int rc = size == 12 ? receive(c, p, 12) : -EPROTO;

    if (rc < 0)
        return rc;
    at = get_be64(p);
    size = get_be32(p + 8);
    if (!size || !piece_has(op, at, size))
        return -EPROTO;
    op->received += size;
    iov_zero(op->r->iov, op->r->n_iov, op->r->size - op->left + (at - op->at), size);
    return 0;
}

/* The first extent of the context that was asked for. */
static int chunk_status(NbdClient *c, Op *op, uint32_t size)
{
    uint8_t p[12];
    int rc = op->cmd == NBD_CMD_BLOCK_STATUS && size >= 12 && size % 8 == 4 ? receive(c, p, 12)
                                                                            : -EPROTO;

    if (rc < 0)
        return rc;
    if (get_be32(p) == c->context_id && !op->extent_size) {
        op->extent_size = get_be32(p + 4);
        op->extent_flags = get_be32(p + 8);
        if (!op->extent_size)
            return -EPROTO;
    }
    return receive_skip(c, size - 12);
}

static int chunk_error(NbdClient *c, Op *op, uint32_t size)
{
    uint8_t p[6];
    int rc = size >= 6 ? receive(c, p, 6) : -EPROTO;

    if (rc < 0)
        return rc;
    if (!op->error)
        op->error = -nbd_error_host(get_be32(p));
    return receive_skip(c, size - 6);
}

static int structured_reply(NbdClient *c)
{
    uint8_t p[NBD_CHUNK_SIZE - 4];
    uint16_t flags, type;
    uint32_t size;
    int rc = receive(c, p, sizeof p);
    Op *op = rc < 0 ? NULL : op_find(c, get_be64(p + 4));

    if (rc < 0)
        return rc;
    flags = get_be16(p);
    type = get_be16(p + 2);
    size = get_be32(p + 12);
    if (!op || !c->structured)
        return -EPROTO;
    switch (type) {
    case NBD_CHUNK_NONE: rc = size == 0 && flags & NBD_CHUNK_DONE ? 0 : -EPROTO; break;
    case NBD_CHUNK_DATA: rc = chunk_data(c, op, size); break;
    case NBD_CHUNK_HOLE: rc = chunk_hole(c, op, size); break;
    case NBD_CHUNK_STATUS: rc = chunk_status(c, op, size); break;
    default: rc = type & NBD_CHUNK_ERROR ? chunk_error(c, op, size) : -EPROTO; break;
    }
    if (rc < 0 || !(flags & NBD_CHUNK_DONE))
        return rc;
    if (!op->error && ((op->cmd == NBD_CMD_READ && op->received != op->size) ||
                       (op->cmd == NBD_CMD_BLOCK_STATUS && !op->extent_size)))
        op->error = -EIO;
    op_answered(c, op);
    return 0;
}

static int serve_replies(NbdClient *c)
{
    uint8_t magic[4];
    int rc;

    do {
        rc = receive(c, magic, sizeof magic);
        if (rc == 0)
            rc = get_be32(magic) == NBD_SIMPLE_MAGIC  ? simple_reply(c)
                 : get_be32(magic) == NBD_CHUNK_MAGIC ? structured_reply(c)
                                                      : -EPROTO;
    } while (rc == 0);
    return rc;
}

/* --- connections --- */

static void set_no_delay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* not of unix sockets */
}

/* The handshake over @fd, which is taken over, within @ms. */
static bool stream_open(const NbdClient *c, int fd, int64_t ms, NbdStream *s, NbdInfo *info,
                        Error *err)
{
    NbdWant want = {c->o.export, c->o.context, c->o.creds, c->o.hostname};

    *s = (NbdStream){.fd = fd, .cancel_fd = c->quit_fd, .due = nbd_now_ms() + ms};
    set_no_delay(fd);
    if (nbd_negotiate(s, &want, info, err)) {
        s->due = 0;
        return true;
    }
    nbd_stream_close(s);
    return false;
}

typedef struct Connecting {
    int fd;
    bool finished;
} Connecting;

static void connecting_done(void *arg, int fd, const Error *err)
{
    Connecting *k = arg;

    (void)err;
    k->fd = fd;
    k->finished = true;
}

static void fail_queue(NbdClient *c);

/* On the thread; nbd_client_free() ends it by stopping the loop.  Requests wait until @due. */
static int connect_again(NbdClient *c, int64_t due)
{
    Connecting k = {.fd = -1};
    SocketConnect *s = socket_connect(c->o.addr, c->connect_loop, connecting_done, &k);

    while (!k.finished && !c->quit) {
        int64_t left = due - nbd_now_ms();

        if (left <= 0)
            fail_queue(c);
        loop_step(c->connect_loop, left > 0 ? left * INT64_C(1000000) : -1);
    }
    if (!k.finished)
        socket_connect_cancel(s);
    return k.fd;
}

static bool is_same_disk(const NbdClient *c, const NbdInfo *now)
{
    uint32_t needed = c->info.flags & ~(uint32_t)NBD_READ_ONLY;

    return now->size >= c->info.size && now->min_block <= MAX(c->info.min_block, 1u) &&
           (now->flags & needed) == needed && now->has_context >= c->info.has_context &&
           (!now->max_block || now->max_block >= c->info.max_block) &&
           (!(now->flags & NBD_READ_ONLY) || c->info.flags & NBD_READ_ONLY);
}

static void fail_queue(NbdClient *c)
{
    Op *list = NULL;

    WITH_LOCK (&c->lock) {
        c->link = LINK_DOWN;
        list = c->queue;
        c->queue = NULL;
        c->queue_tail = &c->queue;
    }
    while (list) {
        Op *op = list;

        list = op->next;
        op_end(c, op, -EIO);
    }
}

/* What was in flight goes back to the queue, to be sent again or to fail. */
static void connection_lost(NbdClient *c, int rc)
{
    WITH_LOCK (&c->lock) {
        c->link = LINK_PAUSED;
        for (unsigned i = 0; i < SLOTS; i++) {
            Op *op = c->slots[i];

            if (!op)
                continue;
            slot_clear(c, op);
            op->next = c->queue;
            if (!c->queue)
                c->queue_tail = &op->next;
            c->queue = op;
        }
        c->sending = NULL;
        c->in_at = c->in_end = 0;
        nbd_stream_close(&c->stream);
    }
    if (!c->quit)
        log_warn("nbd: connection to %s lost: %s", c->o.name,
                 rc == -EPROTO ? "the server broke the protocol" : strerror(-rc));
}

/* Sleep on the thread.  False: it is to end. */
static bool nap(NbdClient *c, int64_t ms)
{
    struct pollfd fd = {.fd = c->quit_fd, .events = POLLIN};

    poll(&fd, 1, (int)MAX(ms, 0));
    return !c->quit;
}

/* Until connected again; false: the thread is to end. */
static bool reconnect(NbdClient *c)
{
    int64_t due = nbd_now_ms() + (int64_t)c->o.reconnect_delay * 1000, backoff = 1000;
    NbdStream s;
    NbdInfo info;

    for (;;) {
        int fd = connect_again(c, due);
        int64_t left = due - nbd_now_ms();

        left = left > 0 ? MIN(left, (int64_t)HANDSHAKE_MS) : (int64_t)HANDSHAKE_MS;
        if (fd >= 0 && stream_open(c, fd, left, &s, &info, NULL)) {
            if (is_same_disk(c, &info))
                break;
            log_warn("nbd: %s is another disk now", c->o.name);
            nbd_stream_close(&s);
        }
        left = due - nbd_now_ms();
        if (!nap(c, left > 0 ? MIN(left, backoff) : backoff))
            return false;
        backoff = MIN(backoff * 2, (int64_t)BACKOFF_MAX_MS);
    }
    c->structured = info.structured;
    c->context_id = info.context_id;
    WITH_LOCK (&c->lock) {
        c->stream = s;
        c->link = LINK_UP;
    }
    return true;
}

/* Best effort: a server that does not read learns it from the closed connection. */
static void say_goodbye(NbdClient *c)
{
    uint8_t head[NBD_REQUEST_SIZE] = {0};

    put_be32(head, NBD_REQUEST_MAGIC);
    put_be16(head + 6, NBD_CMD_DISC);
    WITH_LOCK (&c->lock) {
        if (!c->sending && nbd_stream_send(&c->stream, head, sizeof head) > 0 && c->stream.tls)
            tls_bye(c->stream.tls);
    }
}

static void *client_thread(void *arg)
{
    NbdClient *c = arg;

    do {
        int rc = serve_replies(c);

        if (c->quit)
            say_goodbye(c);
        connection_lost(c, rc);
    } while (!c->quit && c->o.addr->kind != SOCKET_FD && reconnect(c));
    fail_queue(c);
    return NULL;
}

/* --- open and close --- */

static bool first_connect(NbdClient *c, Error *err)
{
    int64_t due = nbd_now_ms() + (int64_t)c->o.open_timeout * 1000;

    for (;;) {
        int fd = socket_connect_wait(c->o.addr, err);

        if (fd >= 0 && stream_open(c, fd, HANDSHAKE_MS, &c->stream, &c->info, err)) {
            c->structured = c->info.structured;
            c->context_id = c->info.context_id;
            return true;
        }
        if (nbd_now_ms() + 1000 > due)
            return false;
        nap(c, 1000);
    }
}

NbdClient *nbd_client_new(const NbdClientOptions *o, Error *err)
{
    NbdClient *c = xnew(NbdClient);

    c->o = *o;
    lock_init(&c->lock, "nbd client", RANK_QUEUE);
    pthread_cond_init(&c->op_finished, NULL);
    c->queue_tail = &c->queue;
    c->stream.fd = -1;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0 || c->quit_fd < 0)
        error_set_errno(err, errno, "cannot create an event descriptor");
    else if ((c->connect_loop = loop_new(err)) && first_connect(c, err)) {
        if (pthread_create(&c->thread, NULL, client_thread, c) == 0) {
            c->running = true;
            return c;
        }
        error_set(err, "cannot start a thread for the connection");
    }
    nbd_client_free(c);
    return NULL;
}

void nbd_client_free(NbdClient *c)
{
    uint64_t one = 1;

    if (!c)
        return;
    if (c->running) {
        c->quit = true;
        if (write(c->quit_fd, &one, sizeof one) < 0)
            assert(errno == EAGAIN);
        loop_stop(c->connect_loop);
        pthread_join(c->thread, NULL);
    }
    nbd_stream_close(&c->stream);
    if (c->connect_loop)
        loop_free(c->connect_loop);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    if (c->quit_fd >= 0)
        close(c->quit_fd);
    xfree(c->zeroes);
    pthread_cond_destroy(&c->op_finished);
    lock_fini(&c->lock);
    xfree(c);
}

const NbdInfo *nbd_client_info(const NbdClient *c)
{
    return &c->info;
}
