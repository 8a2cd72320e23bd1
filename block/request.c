/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request - the way of a request: through nodes, to its end, and the calls that wait for it
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/now.h"
#include "base/zero.h"
#include "block/bitmap.h"
#include "block/block_priv.h"
#include "block/throttle.h"

enum { WAITING = 0, DONE = 1, SLEEPING = 2 }; /* BlockReq.state of one that is waited for */

void futex_wait(_Atomic int *at, int while_value)
{
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

void futex_wake(_Atomic int *at)
{
    syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* --- vectors --- */

int iov_slice(const struct iovec *iov, int n, uint64_t skip, uint64_t size, struct iovec *out)
{
    int used = 0;

    for (int i = 0; i < n && size; i++) {
        size_t len;

        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        len = MIN(iov[i].iov_len - skip, size);
        out[used++] = (struct iovec){(char *)iov[i].iov_base + skip, len};
        size -= len;
        skip = 0;
    }
    return used;
}

typedef struct IovAt {
    const struct iovec *iov;
    int n;
    uint64_t skip, left;
} IovAt;

/* The next piece; 0: no more. */
static size_t iov_next(IovAt *c, char **p)
{
    size_t len;

    while (c->n && c->skip >= c->iov->iov_len) {
        c->skip -= c->iov->iov_len;
        c->iov++;
        c->n--;
    }
    if (!c->n || !c->left)
        return 0;
    *p = (char *)c->iov->iov_base + c->skip;
    len = MIN(c->iov->iov_len - c->skip, c->left);
    c->skip += len;
    c->left -= len;
    return len;
}

void iov_zero(const struct iovec *iov, int n, uint64_t skip, uint64_t size)
{
    IovAt c = {iov, n, skip, size};
    char *p;

    for (size_t len; (len = iov_next(&c, &p));)
        memset(p, 0, len);
}

void iov_gather(const struct iovec *iov, int n, uint64_t skip, void *to, size_t size)
{
    IovAt c = {iov, n, skip, size};
    char *p, *at = to;

    for (size_t len; (len = iov_next(&c, &p)); at += len)
        memcpy(at, p, len);
}

void iov_scatter(const struct iovec *iov, int n, uint64_t skip, const void *from, size_t size)
{
    IovAt c = {iov, n, skip, size};
    const char *at = from;
    char *p;

    for (size_t len; (len = iov_next(&c, &p)); at += len)
        memcpy(p, at, len);
}

/* --- the end --- */

static void account(BlockPort *p, const BlockReq *r)
{
    lock_take(&p->lock);
    p->stats.ops[r->op] += !r->result;
    p->stats.bytes[r->op] += r->result ? 0 : r->size;
    p->stats.failed[r->op] += !!r->result;
    p->stats.ns[r->op] += (uint64_t)(monotonic_ns() - r->since);
    if (op_modifies(r->op))
        p->stats.highest_write = MAX(p->stats.highest_write, r->at + r->size);
    lock_drop(&p->lock);
}

static void root_done(BlockReq *r)
{
    BlockPort *p = r->port;
    BlockCtx *c = r->ctx;

    if (p)
        account(p, r);
    r->done(r);
    ctx_leave(c);
    if (p)
        port_finished(p);
}

void blockreq_complete(BlockReq *r, int result)
{
    assert(result <= 0);
    r->result = result;
    if (r->how & HOW_INLINE) {
        r->done(r);
    } else if (r->how & HOW_WAIT) {
        if (atomic_exchange(&r->state, DONE) == SLEEPING)
            futex_wake(&r->state);
    } else {
        r->step = root_done;
        ctx_push(r->ctx, r);
    }
}

static void wait_done(BlockReq *r)
{
    int state = WAITING;

    if (atomic_load(&r->state) == DONE)
        return;
    worker_waits(true);
    if (atomic_compare_exchange_strong(&r->state, &state, SLEEPING))
        while (atomic_load(&r->state) != DONE)
            futex_wait(&r->state, SLEEPING);
    worker_waits(false);
}

/* --- on the way --- */

static void tracked_done(BlockReq *c)
{
    BlockReq *r = c->parent;
    int rc = c->result;

    bitmaps_mark(c->node, r->at, r->size);
    blockreq_free(c);
    blockreq_complete(r, rc);
}

/* Dirty bitmaps change when the data has: a job that clears a bit first and copies then misses
 * nothing. */
static BlockReq *track(BlockNode *n, BlockReq *r)
{
    BlockReq *c = blockreq_child(r, r->op, r->at, r->size, tracked_done);

    c->flags = r->flags;
    c->iov = r->iov;
    c->n_iov = r->n_iov;
    c->node = n;
    c->owner = n;
    return c;
}

static bool iov_is_zero(const struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++)
        if (!is_zero(iov[i].iov_base, iov[i].iov_len))
            return false;
    return true;
}

static void instead_done(BlockReq *c)
{
    BlockReq *r = c->parent;
    int rc = c->result;

    blockreq_free(c);
    blockreq_complete(r, rc);
}

/* detect-zeroes: the submitter's request stays what it was. */
static BlockReq *zero_instead(BlockNode *n, BlockReq *r)
{
    BlockReq *c = blockreq_child(r, BLOCK_ZERO, r->at, r->size, instead_done);

    c->flags = (r->flags & BLOCK_FUA) | (n->detect_zeroes == 2 ? BLOCK_MAY_UNMAP : 0u);
    c->node = n;
    return c;
}

void node_submit(BlockNode *n, BlockReq *r)
{
    r->node = n;
    if (UNLIKELY(n->detect_zeroes && r->op == BLOCK_WRITE &&
                 !(r->flags & (BLOCK_COMPRESS | BLOCK_UNCHANGED)) && iov_is_zero(r->iov, r->n_iov)))
        r = zero_instead(n, r);
    if (UNLIKELY(__atomic_load_n(&n->bitmaps, __ATOMIC_ACQUIRE) && op_modifies(r->op) &&
                 !(r->flags & BLOCK_UNCHANGED)))
        r = track(n, r);
    /* no-flush is about the storage: a format writes its metadata back all the same. */
    if ((r->op == BLOCK_FLUSH && n->flags & NODE_NO_FLUSH && n->drv->kind == DRIVER_PROTOCOL) ||
        (r->flags & BLOCK_UNCHANGED && n->drv->submit && n->drv->kind != DRIVER_FILTER)) {
        blockreq_complete(r, 0); /* dropped; nothing is below to be copied */
    } else if (UNLIKELY(n->request_align > 1 && align_needed(n, r))) {
        align_submit(n, r);
    } else if (n->drv->submit) {
        n->drv->submit(n, r);
    } else {
        format_submit(n, r);
    }
}

/* A format writes beyond the end of its file: the nodes in between grow with it. */
void node_grow(BlockNode *n, const BlockReq *r)
{
    uint64_t end = r->at + r->size, size = atomic_load(&n->size);

    if (r->op != BLOCK_WRITE && r->op != BLOCK_ZERO)
        return;
    while (end > size && !atomic_compare_exchange_weak(&n->size, &size, end))
        continue;
}

void node_forward(BlockNode *child, BlockReq *r, uint64_t offset)
{
    node_grow(r->node, r);
    r->at += r->op == BLOCK_FLUSH ? 0 : offset;
    node_submit(child, r);
}

BlockReq *blockreq_child(BlockReq *r, BlockOp op, uint64_t at, uint64_t size,
                         void (*done)(BlockReq *))
{
    BlockReq *c = xnew(BlockReq);

    c->op = op;
    c->at = at;
    c->size = size;
    c->ctx = r->ctx;
    c->parent = r;
    c->done = done;
    c->how = HOW_INLINE;
    return c;
}

void blockreq_free(BlockReq *r)
{
    xfree(r);
}

void block_work(BlockGraph *g, void (*fn)(void *arg), void *arg)
{
    workers_run(g->workers, fn, arg);
}

void blockreq_work(BlockReq *r, void (*fn)(void *r))
{
    if (r->ctx)
        block_work(r->node->graph, fn, r);
    else
        fn(r);
}

/* --- users --- */

static int port_check(const BlockPort *p, const BlockReq *r)
{
    const BlockNode *n = p->node;

    if (!n)
        return -ENOMEDIUM;
    if (op_modifies(r->op) && node_is_read_only(n))
        return -EPERM;
    if (r->op != BLOCK_FLUSH && (r->at > n->size || r->size > n->size - r->at))
        return -EIO;
    return 0;
}

/* False: the port is being drained, the request waits there. */
static bool port_enter(BlockPort *p, BlockReq *r)
{
    bool in = true;

    atomic_fetch_add(&p->in_flight, 1);
    if (!atomic_load(&p->quiet))
        return true;
    lock_take(&p->lock);
    if (atomic_load(&p->quiet)) {
        r->next = NULL;
        *p->held_tail = r;
        p->held_tail = &r->next;
        in = false;
    }
    lock_drop(&p->lock);
    if (!in)
        port_finished(p);
    return in;
}

void block_submit(BlockPort *p, BlockReq *r)
{
    r->port = p;
    r->how = r->ctx ? 0 : HOW_WAIT;
    r->since = monotonic_ns();
    if (p->writethrough && (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO))
        r->flags |= BLOCK_FUA;
    atomic_store_explicit(&r->state, WAITING, memory_order_relaxed);
    if (r->ctx)
        ctx_enter(r->ctx);
    port_go(p, r);
}

static void to_node(BlockReq *r)
{
    node_submit(r->port->node, r);
}

void port_go(BlockPort *p, BlockReq *r)
{
    int rc;

    if (!port_enter(p, r))
        return;
    rc = port_check(p, r);
    if (rc)
        blockreq_complete(r, rc);
    else if (!r->size && r->op != BLOCK_FLUSH)
        blockreq_complete(r, 0);
    else if (UNLIKELY(p->throttle))
        throttle_pass(p->throttle, p->graph, r, to_node);
    else
        node_submit(p->node, r);
}

int block_wait(BlockPort *p, BlockReq *r)
{
    assert(!r->ctx);
    block_submit(p, r);
    wait_done(r);
    account(p, r);
    port_finished(p);
    return r->result;
}

static int wait_one(BlockPort *p, BlockOp op, uint64_t at, void *buf, uint64_t size, unsigned flags)
{
    struct iovec iov = {buf, size};
    BlockReq r = {.op = op, .at = at, .size = size, .iov = &iov, .n_iov = 1, .flags = flags};

    return block_wait(p, &r);
}

int block_read(BlockPort *p, uint64_t at, void *buf, size_t size)
{
    return wait_one(p, BLOCK_READ, at, buf, size, 0);
}

int block_write(BlockPort *p, uint64_t at, const void *buf, size_t size, unsigned flags)
{
    return wait_one(p, BLOCK_WRITE, at, (void *)(uintptr_t)buf, size, flags);
}

int block_zero(BlockPort *p, uint64_t at, uint64_t size, unsigned flags)
{
    return wait_one(p, BLOCK_ZERO, at, NULL, size, flags);
}

int block_discard(BlockPort *p, uint64_t at, uint64_t size)
{
    return wait_one(p, BLOCK_DISCARD, at, NULL, size, 0);
}

int block_flush(BlockPort *p)
{
    return wait_one(p, BLOCK_FLUSH, 0, NULL, 0, 0);
}

/* --- nodes, waiting --- */

int node_io(BlockNode *n, BlockOp op, uint64_t at, const struct iovec *iov, int n_iov,
            uint64_t size, uint32_t flags)
{
    BlockReq r = {.op = op,
                  .flags = flags,
                  .at = at,
                  .size = size,
                  .iov = iov,
                  .n_iov = n_iov,
                  .how = HOW_WAIT};

    node_submit(n, &r);
    wait_done(&r);
    return r.result;
}

int node_read(BlockNode *n, uint64_t at, void *buf, size_t size)
{
    struct iovec iov = {buf, size};

    return size ? node_io(n, BLOCK_READ, at, &iov, 1, size, 0) : 0;
}

int node_write(BlockNode *n, uint64_t at, const void *buf, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)buf, size};

    return size ? node_io(n, BLOCK_WRITE, at, &iov, 1, size, 0) : 0;
}

int node_zero(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags)
{
    return size ? node_io(n, BLOCK_ZERO, at, NULL, 0, size, flags) : 0;
}

int node_discard(BlockNode *n, uint64_t at, uint64_t size)
{
    return size ? node_io(n, BLOCK_DISCARD, at, NULL, 0, size, 0) : 0;
}

int node_flush(BlockNode *n)
{
    return node_io(n, BLOCK_FLUSH, 0, NULL, 0, 0, 0);
}
