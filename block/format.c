/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * format - moves data for format drivers, which only say where it is
 *
 * A request is tried at once, without waiting: its ranges are mapped from cached metadata and the
 * transfers submitted.  What that cannot do (metadata to be read, old contents to be copied,
 * zeroing, compression, encryption) runs on a worker, or on the submitter's thread if that may
 * block.
 *
 * Invariants
 *  1. Reads and writes in place hold their bytes shared; everything that changes the mapping holds
 *     whole clusters exclusively (block.h inv 3), from before it maps until it is linked.
 *  2. n->meta is held around driver calls only, never while data moves.
 *  3. Old contents around a first write are read through the old mapping, which stays until link().
 */
#include <errno.h>

#include "block/block_priv.h"

enum { PARTS_MAX = 16, BOUNCE_MAX = 2 << 20 };

/* A request in progress. */
typedef struct Doing {
    GateHold hold;
    BlockNode *n;
    BlockReq *r;
    Extent e; /* allocated, to be linked */
    bool allocated;
    _Atomic int pending, error;
    unsigned n_parts;
    BlockReq *parts[PARTS_MAX];
} Doing;

/* Where data is read and written in a request's vector. */
typedef struct Span {
    const struct iovec *iov;
    int n;
    uint64_t skip;
} Span;

static void doing_start(Doing *d);
static void doing_slow(void *arg);

/* --- small things --- */

static int io_span(BlockNode *n, BlockOp op, uint64_t at, const Span *s, uint64_t size,
                   uint32_t flags)
{
    AUTO_FREE struct iovec *iov = xnew_n(struct iovec, (size_t)s->n);

    return node_io(n, op, at, iov, iov_slice(s->iov, s->n, s->skip, size, iov), size, flags);
}

/* Like the driver's, with an extent that is sane and starts at @at. */
static int map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *e)
{
    int rc;

    *e = (Extent){0};
    rc = n->drv->map(n, at, size, may_block, e);
    if (rc)
        return rc;
    assert(e->at <= at && e->at + e->size > at);
    if (e->kind == EXTENT_DATA && !e->child)
        e->child = n->data;
    if (e->kind == EXTENT_DATA)
        e->child_at += at - e->at;
    e->size = MIN(e->at + e->size - at, size);
    e->at = at;
    return 0;
}

/* Bytes of the backing file in [at, at+size); the rest is zeroes. */
static uint64_t backed(const BlockNode *n, uint64_t at, uint64_t size)
{
    uint64_t end = n->backing ? n->backing->size : 0;

    return at >= end ? 0 : MIN(size, end - at);
}

static bool is_old_zero(BlockNode *n, const Extent *e, uint64_t at, uint64_t size)
{
    return e->kind == EXTENT_ZERO || (e->kind == EXTENT_UNALLOCATED && !backed(n, at, size));
}

/* The format announces its events, and so do we what we do for it. */
static void event(BlockNode *n, BlockEvent e)
{
    if (n->file && n->file->events && n->file->events->announced)
        node_event(n->file, e);
}

/* --- waiting: on workers and on threads that may block --- */

static int read_special(BlockNode *n, const Extent *e, uint64_t at, uint64_t size, const Span *s)
{
    void *buf;
    int rc;

    if (s->n == 1)
        return n->drv->read(n, e, at, (char *)s->iov->iov_base + s->skip, size);
    buf = try_alloc(size);
    rc = buf ? n->drv->read(n, e, at, buf, size) : -ENOMEM;
    if (!rc)
        iov_scatter(s->iov, s->n, s->skip, buf, size);
    xfree(buf);
    return rc;
}

static int read_part(BlockNode *n, const Extent *e, Span *s)
{
    uint64_t has;
    int rc = 0;

    switch (e->kind) {
    case EXTENT_DATA:
        event(n, EVENT_READ_AIO);
        return io_span(e->child, BLOCK_READ, e->child_at, s, e->size, 0);
    case EXTENT_SPECIAL: return read_special(n, e, e->at, e->size, s);
    case EXTENT_UNALLOCATED:
        has = backed(n, e->at, e->size);
        if (has)
            event(n, EVENT_READ_BACKING_AIO);
        if (has)
            rc = io_span(n->backing, BLOCK_READ, e->at, s, has, 0);
        iov_zero(s->iov, s->n, s->skip + has, e->size - has);
        return rc;
    default: iov_zero(s->iov, s->n, s->skip, e->size); return 0;
    }
}

/* The map of a SPECIAL extent must stay whole for the driver: mapped anew without clipping. */
static int map_whole(BlockNode *n, uint64_t at, uint64_t size, Extent *e)
{
    Extent whole = {0};
    int rc = 0;

    WITH_LOCK (&n->meta) {
        rc = map(n, at, MIN(size, (uint64_t)BOUNCE_MAX * 4), true, e);
        if (!rc && e->kind == EXTENT_SPECIAL) {
            uint64_t len = MIN(e->size, (uint64_t)BOUNCE_MAX);

            rc = n->drv->map(n, at, len, true, &whole);
            *e = whole;
        }
    }
    return rc;
}

static int read_wait(BlockNode *n, uint64_t at, uint64_t size, Span s)
{
    while (size) {
        Extent e;
        uint64_t len;
        int rc = map_whole(n, at, size, &e);

        if (rc)
            return rc;
        len = MIN(e.at + e.size - at, size);
        if (e.kind == EXTENT_SPECIAL) {
            len = MIN(len, (uint64_t)BOUNCE_MAX);
            event(n, e.flags & EXTENT_COMPRESSED ? EVENT_READ_COMPRESSED : EVENT_READ_AIO);
            rc = read_special(n, &e, at, len, &s);
        } else {
            rc = read_part(n, &e, &s);
        }
        if (rc)
            return rc;
        at += len;
        size -= len;
        s.skip += len;
    }
    return 0;
}

/* As the guest sees it now; what is beyond the end is zeroes. */
static int read_old(BlockNode *n, uint64_t at, void *buf, uint64_t size)
{
    uint64_t has = at >= n->size ? 0 : MIN(size, n->size - at);
    struct iovec iov = {buf, size};

    memset((char *)buf + has, 0, size - has);
    return read_wait(n, at, has, (Span){&iov, 1, 0});
}

static int range_is_zero(BlockNode *n, uint64_t at, uint64_t size, bool may_block, bool *zero)
{
    uint64_t end = MIN(at + size, (uint64_t)n->size);

    *zero = true;
    while (at < end) {
        Extent e;
        int rc = map(n, at, end - at, may_block, &e);

        if (rc)
            return rc;
        if (!is_old_zero(n, &e, at, e.size)) {
            *zero = false;
            return 0;
        }
        at += e.size;
    }
    return 0;
}

/* Write @size bytes at @at into the room of @e, with old contents around them up to its edges. */
static int fill_extent(BlockNode *n, const Extent *e, uint64_t at, uint64_t size, const Span *s)
{
    uint64_t head = at - e->at, tail = e->at + e->size - (at + size), all = head + size + tail;
    bool head_zero = !head, tail_zero = !tail, fresh = e->flags & EXTENT_FRESH && !n->encrypted;
    char *buf;
    int rc = 0;

    if (!size) /* something must be written, or the child would end before the extent */
        fresh = false;
    if (fresh && (head || tail)) {
        WITH_LOCK (&n->meta) {
            if (head)
                rc = range_is_zero(n, e->at, head, true, &head_zero);
            if (tail && !rc)
                rc = range_is_zero(n, at + size, tail, true, &tail_zero);
        }
        if (rc)
            return rc;
    }
    head = head_zero && fresh ? 0 : head;
    tail = tail_zero && fresh ? 0 : tail;
    if (!head && !tail)
        event(n, EVENT_WRITE_AIO);
    if (!head && !tail && !n->encrypted)
        return io_span(e->child, BLOCK_WRITE, e->child_at + (at - e->at), s, size, 0);
    all = head + size + tail;
    buf = try_alloc(all);
    if (!buf)
        return -ENOMEM;
    if (head)
        event(n, EVENT_COW_READ);
    rc = head ? read_old(n, at - head, buf, head) : 0;
    if (!rc && tail)
        event(n, EVENT_COW_READ);
    if (!rc && tail)
        rc = read_old(n, at + size, buf + head + size, tail);
    if (s->iov)
        iov_gather(s->iov, s->n, s->skip, buf + head, size);
    if (!rc && n->encrypted)
        rc = n->drv->encode(n, e, at - head, buf, all);
    if (!rc && (head || tail))
        event(n, size ? EVENT_WRITE_AIO : EVENT_COW_WRITE);
    if (!rc)
        rc = node_write(e->child, e->child_at + (at - head - e->at), buf, all);
    xfree(buf);
    return rc;
}

static int write_special(BlockNode *n, const Extent *e, uint64_t at, uint64_t size, const Span *s)
{
    char *buf = try_alloc(size);
    int rc = buf ? 0 : -ENOMEM;

    if (!rc) {
        iov_gather(s->iov, s->n, s->skip, buf, size);
        rc = n->drv->encode(n, e, at, buf, size);
    }
    if (!rc)
        rc = node_write(e->child ? e->child : n->data, e->child_at + (at - e->at), buf, size);
    xfree(buf);
    return rc;
}

/* A first part of [at, at+size); returns its length or -errno. */
static int64_t write_some(BlockNode *n, uint64_t at, uint64_t size, const Span *s)
{
    Extent e, room = {0};
    uint64_t len = size;
    int rc = map_whole(n, at, size, &e);

    if (rc)
        return rc;
    len = MIN(e.at + e.size - at, size);
    if (e.flags & EXTENT_WRITABLE)
        event(n, EVENT_WRITE_AIO);
    if (e.flags & EXTENT_WRITABLE && e.kind == EXTENT_DATA) {
        rc = io_span(e.child, BLOCK_WRITE, e.child_at, s, len, 0);
        return rc ? rc : (int64_t)len;
    }
    len = MIN(len, (uint64_t)BOUNCE_MAX);
    if (e.flags & EXTENT_WRITABLE && e.kind == EXTENT_SPECIAL && n->drv->encode) {
        rc = write_special(n, &e, at, len, s);
        return rc ? rc : (int64_t)len;
    }
    WITH_LOCK (&n->meta)
        rc = n->drv->allocate(n, at, len, true, &room);
    if (rc)
        return rc;
    assert(room.at <= at && room.at + room.size > at);
    if (!room.child)
        room.child = n->data;
    len = MIN(len, room.at + room.size - at);
    rc = fill_extent(n, &room, at, len, s);
    WITH_LOCK (&n->meta) {
        if (!rc)
            rc = n->drv->link(n, &room, true);
        else
            n->drv->cancel(n, &room);
    }
    return rc ? rc : (int64_t)len;
}

static int write_wait(BlockNode *n, uint64_t at, uint64_t size, Span s)
{
    while (size) {
        int64_t len = write_some(n, at, size, &s);

        if (len < 0)
            return (int)len;
        at += (uint64_t)len;
        size -= (uint64_t)len;
        s.skip += (uint64_t)len;
    }
    return 0;
}

/* Whole clusters that read as zeroes from below need no room: *@size of them. */
static bool populate_zero(BlockNode *n, uint64_t at, uint64_t *size_at, int *rc)
{
    uint64_t size = *size_at;
    BlockNode *in;
    Extent b;

    if (!n->backing || !n->drv->zero || at % n->cluster_size)
        return false;
    if (at + size < n->size)
        size = ALIGN_DOWN(size, (uint64_t)n->cluster_size);
    if (!size)
        return false;
    if (at < n->backing->size) {
        *rc = node_status_above(n->backing, NULL, at, size, &b, &in);
        if (*rc || b.kind != EXTENT_ZERO || b.size < MIN(size, n->backing->size - at))
            return false;
    }
    WITH_LOCK (&n->meta)
        *rc = n->drv->zero(n, at, size, BLOCK_MAY_UNMAP);
    *size_at = size;
    return !*rc;
}

/* Make [at, at+size) this node's own, contents unchanged: for copy on read and streaming. */
static int populate(BlockNode *n, uint64_t at, uint64_t size)
{
    uint64_t end = at + size;

    while (at < end) {
        Extent e, room = {0};
        uint64_t len;
        int rc;

        WITH_LOCK (&n->meta)
            rc = map(n, at, end - at, true, &e);
        if (rc)
            return rc;
        len = MIN(e.size, (uint64_t)BOUNCE_MAX);
        if (e.kind != EXTENT_UNALLOCATED || populate_zero(n, at, &len, &rc)) {
            at += e.kind != EXTENT_UNALLOCATED ? e.size : len;
            continue;
        }
        WITH_LOCK (&n->meta)
            rc = n->drv->allocate(n, at, len, true, &room);
        if (rc)
            return rc;
        if (!room.child)
            room.child = n->data;
        len = MIN(len, room.at + room.size - at);
        rc = fill_extent(n, &room, room.at, 0, &(Span){NULL, 0, 0});
        WITH_LOCK (&n->meta) {
            if (!rc)
                rc = n->drv->link(n, &room, true);
            else
                n->drv->cancel(n, &room);
        }
        if (rc)
            return rc;
        at += len;
    }
    return 0;
}

/* Zeroes by writing them. */
static int write_zeroes(BlockNode *n, uint64_t at, uint64_t size)
{
    size_t len = MIN(size, (uint64_t)BOUNCE_MAX);
    void *buf = size ? try_alloc(len) : NULL;
    int rc = size && !buf ? -ENOMEM : 0;

    while (size && !rc) {
        struct iovec iov = {buf, MIN(size, len)};
        bool zero = false;

        WITH_LOCK (&n->meta)
            rc = range_is_zero(n, at, iov.iov_len, true, &zero);
        if (!rc && !zero)
            rc = write_wait(n, at, iov.iov_len, (Span){&iov, 1, 0});
        at += iov.iov_len;
        size -= iov.iov_len;
    }
    xfree(buf);
    return rc;
}

static int zero_wait(BlockNode *n, const BlockReq *r)
{
    uint64_t cs = n->cluster_size ? n->cluster_size : 512, end = r->at + r->size;
    uint64_t from = MIN(ALIGN_UP(r->at, cs), end);
    uint64_t to = end == n->size ? end : MAX(ALIGN_DOWN(end, cs), from);
    int rc = to > from && n->drv->zero ? 0 : -ENOTSUP;

    if (!rc)
        WITH_LOCK (&n->meta)
            rc = n->drv->zero(n, from, to - from, r->flags & BLOCK_MAY_UNMAP);
    if (rc == -ENOTSUP) {
        if (r->flags & BLOCK_NO_FALLBACK && to > from)
            return rc;
        return write_zeroes(n, r->at, r->size);
    }
    if (!rc)
        rc = write_zeroes(n, r->at, from - r->at);
    return rc ? rc : write_zeroes(n, to, end - to);
}

static int discard_wait(BlockNode *n, const BlockReq *r)
{
    uint64_t cs = n->cluster_size ? n->cluster_size : 512, end = r->at + r->size;
    uint64_t from = ALIGN_UP(r->at, cs), to = end == n->size ? end : ALIGN_DOWN(end, cs);
    int rc = 0;

    if (n->drv->discard && to > from)
        WITH_LOCK (&n->meta)
            rc = n->drv->discard(n, from, to - from);
    return rc == -ENOTSUP ? 0 : rc;
}

static int compress_wait(BlockNode *n, const BlockReq *r)
{
    uint64_t cs = n->cluster_size;
    void *buf = n->drv->write_compressed && cs ? try_alloc(cs) : NULL;
    int rc = 0;

    if (!n->drv->write_compressed || !cs)
        return -ENOTSUP;
    if (r->at % cs)
        rc = -EINVAL;
    for (uint64_t done = 0; done < r->size && !rc;) {
        uint64_t len = MIN(cs, r->size - done);

        if (len < cs && r->at + done + len != n->size) {
            rc = -EINVAL; /* whole clusters, but for the last of the image */
            break;
        }
        if (!buf) {
            rc = -ENOMEM;
            break;
        }
        iov_gather(r->iov, r->n_iov, done, buf, len);
        event(n, EVENT_WRITE_COMPRESSED);
        rc = n->drv->write_compressed(n, r->at + done, buf, len);
        done += len;
    }
    xfree(buf);
    return rc;
}

int format_flush(BlockNode *n)
{
    int rc = 0;

    event(n, EVENT_FLUSH_TO_OS);
    if (n->drv->flush && atomic_load(&n->meta_dirty))
        WITH_LOCK (&n->meta)
            rc = n->drv->flush(n);
    if (!rc)
        event(n, EVENT_FLUSH_TO_DISK);
    for (BlockChild *c = n->children; c && !rc; c = c->next)
        if (!(c->role & ROLE_BACKING) && !node_is_read_only(c->node))
            rc = node_flush(c->node);
    return rc;
}

static int wait_op(BlockNode *n, const BlockReq *r)
{
    Span s = {r->iov, r->n_iov, 0};
    int rc;

    switch (r->op) {
    case BLOCK_READ: return read_wait(n, r->at, r->size, s);
    case BLOCK_WRITE:
        if (r->flags & BLOCK_UNCHANGED)
            return populate(n, r->at, r->size);
        rc = r->flags & BLOCK_COMPRESS ? compress_wait(n, r) : write_wait(n, r->at, r->size, s);
        break;
    case BLOCK_ZERO: rc = zero_wait(n, r); break;
    case BLOCK_DISCARD: return discard_wait(n, r);
    default: return format_flush(n);
    }
    return !rc && r->flags & BLOCK_FUA ? format_flush(n) : rc;
}

/* --- without waiting --- */

static void doing_end(Doing *d, int rc)
{
    BlockReq *r = d->r;

    for (unsigned i = 0; i < d->n_parts; i++) {
        xfree((void *)(uintptr_t)(d->parts[i]->iov != r->iov ? d->parts[i]->iov : NULL));
        blockreq_free(d->parts[i]);
    }
    if (r->op != BLOCK_FLUSH)
        gate_drop(d->n->gate, &d->hold);
    xfree(d);
    blockreq_complete(r, rc);
}

/* On a worker, with the gate held. */
static void doing_slow(void *arg)
{
    Doing *d = arg;

    doing_end(d, wait_op(d->n, d->r));
}

static void doing_link_slow(void *arg)
{
    Doing *d = arg;
    int rc;

    WITH_LOCK (&d->n->meta)
        rc = d->n->drv->link(d->n, &d->e, true);
    if (!rc && d->r->flags & BLOCK_FUA)
        rc = format_flush(d->n);
    doing_end(d, rc);
}

static void doing_cancel_slow(void *arg)
{
    Doing *d = arg;

    WITH_LOCK (&d->n->meta)
        d->n->drv->cancel(d->n, &d->e);
    doing_end(d, d->error);
}

static void doing_flush_slow(void *arg)
{
    Doing *d = arg;

    doing_end(d, format_flush(d->n));
}

/* All transfers are done. */
static void doing_moved(Doing *d)
{
    BlockGraph *g = d->n->graph;
    int rc = -EAGAIN;

    if (d->error) {
        if (d->allocated)
            block_work(g, doing_cancel_slow, d);
        else
            doing_end(d, d->error);
    } else if (d->allocated) {
        if (!(d->r->flags & BLOCK_FUA) && lock_try(&d->n->meta)) {
            rc = d->n->drv->link(d->n, &d->e, false);
            lock_drop(&d->n->meta);
        }
        if (rc == -EAGAIN)
            block_work(g, doing_link_slow, d);
        else
            doing_end(d, rc);
    } else if (d->r->op == BLOCK_WRITE && d->r->flags & BLOCK_FUA) {
        block_work(g, doing_flush_slow, d);
    } else {
        doing_end(d, 0);
    }
}

static void part_done(BlockReq *p)
{
    Doing *d = p->owner;

    if (p->result)
        atomic_store(&d->error, p->result);
    if (atomic_fetch_sub(&d->pending, 1) == 1)
        doing_moved(d);
}

static void add_part(Doing *d, BlockNode *n, uint64_t at, uint64_t size, uint64_t skip)
{
    BlockReq *r = d->r, *p = blockreq_child(r, r->op, at, size, part_done);

    p->owner = d;
    p->node = n;
    if (!skip && size == r->size) {
        p->iov = r->iov;
        p->n_iov = r->n_iov;
    } else {
        struct iovec *iov = xnew_n(struct iovec, (size_t)r->n_iov);

        p->n_iov = iov_slice(r->iov, r->n_iov, skip, size, iov);
        p->iov = iov;
    }
    d->parts[d->n_parts++] = p;
}

static void drop_parts(Doing *d)
{
    while (d->n_parts) {
        BlockReq *p = d->parts[--d->n_parts];

        xfree((void *)(uintptr_t)(p->iov != d->r->iov ? p->iov : NULL));
        blockreq_free(p);
    }
}

static void submit_parts(Doing *d)
{
    unsigned n = d->n_parts;

    atomic_store(&d->pending, (int)n + 1);
    for (unsigned i = 0; i < n; i++)
        node_submit(d->parts[i]->node, d->parts[i]);
    if (atomic_fetch_sub(&d->pending, 1) == 1)
        doing_moved(d);
}

/* Plan all of a read; 0 or -EAGAIN, or an error of the map. */
static int plan_read(Doing *d)
{
    BlockReq *r = d->r;

    for (uint64_t done = 0; done < r->size;) {
        Extent e;
        int rc = map(d->n, r->at + done, r->size - done, false, &e);

        if (rc)
            return rc;
        if (e.kind == EXTENT_SPECIAL || d->n_parts == PARTS_MAX)
            return -EAGAIN;
        if (e.kind == EXTENT_DATA) {
            add_part(d, e.child, e.child_at, e.size, done);
        } else {
            uint64_t has = e.kind == EXTENT_UNALLOCATED ? backed(d->n, e.at, e.size) : 0;

            if (has)
                add_part(d, d->n->backing, e.at, has, done);
            iov_zero(r->iov, r->n_iov, done + has, e.size - has);
        }
        done += e.size;
    }
    return 0;
}

/* Plan a write in place; -ENOSPC: something is to be allocated. */
static int plan_overwrite(Doing *d)
{
    BlockReq *r = d->r;

    for (uint64_t done = 0; done < r->size;) {
        Extent e;
        int rc = map(d->n, r->at + done, r->size - done, false, &e);

        if (rc)
            return rc;
        if (e.kind != EXTENT_DATA || !(e.flags & EXTENT_WRITABLE))
            return -ENOSPC;
        if (d->n_parts == PARTS_MAX)
            return -EAGAIN;
        add_part(d, e.child, e.child_at, e.size, done);
        done += e.size;
    }
    return 0;
}

/* With the clusters held: one allocation for all of it, if nothing old needs to be copied. */
static int plan_first_write(Doing *d)
{
    BlockNode *n = d->n;
    BlockReq *r = d->r;
    uint64_t cs = MAX(n->cluster_size, 512u), from = ALIGN_DOWN(r->at, cs);
    uint64_t to = ALIGN_UP(r->at + r->size, cs);
    bool zero = true;
    Extent e;
    int rc = map(n, r->at, r->size, false, &e);

    if (rc)
        return rc;
    if (e.size < r->size || e.kind == EXTENT_SPECIAL || n->encrypted || r->flags & BLOCK_COMPRESS)
        return -EAGAIN;
    if (e.kind == EXTENT_DATA && e.flags & EXTENT_WRITABLE) {
        add_part(d, e.child, e.child_at, e.size, 0); /* somebody else's first write came before */
        return 0;
    }
    if (from < r->at)
        rc = range_is_zero(n, from, r->at - from, false, &zero);
    if (!rc && zero && r->at + r->size < to)
        rc = range_is_zero(n, r->at + r->size, to - (r->at + r->size), false, &zero);
    if (rc || !zero)
        return rc ? rc : -EAGAIN;
    d->e = (Extent){0};
    rc = n->drv->allocate(n, r->at, r->size, false, &d->e);
    if (rc)
        return rc;
    if (!d->e.child)
        d->e.child = n->data;
    if (d->e.at + d->e.size < r->at + r->size ||
        (!(d->e.flags & EXTENT_FRESH) &&
         (d->e.at < r->at || d->e.at + d->e.size > r->at + r->size))) {
        n->drv->cancel(n, &d->e);
        return -EAGAIN;
    }
    d->allocated = true;
    add_part(d, d->e.child, d->e.child_at + (r->at - d->e.at), r->size, 0);
    return 0;
}

static int try_now(Doing *d, int (*plan)(Doing *))
{
    int rc = -EAGAIN;

    if (lock_try(&d->n->meta)) {
        rc = plan(d);
        lock_drop(&d->n->meta);
    }
    if (rc)
        drop_parts(d);
    else
        submit_parts(d);
    return rc;
}

/* --- the gate --- */

static void doing_granted_step(BlockReq *r)
{
    doing_start(r->doing);
}

static void doing_granted(GateHold *h)
{
    Doing *d = h->owner;

    d->r->step = doing_granted_step;
    d->r->doing = d;
    ctx_push(d->r->ctx, d->r);
}

static void hold_shared(Doing *d)
{
    d->hold = (GateHold){
        .at = d->r->at, .end = d->r->at + d->r->size, .on_grant = doing_granted, .owner = d};
}

static void hold_clusters(Doing *d)
{
    uint64_t cs = MAX(d->n->cluster_size, 512u);

    hold_shared(d);
    d->hold.at = ALIGN_DOWN(d->hold.at, cs);
    d->hold.end = ALIGN_UP(d->hold.end, cs);
    d->hold.exclusive = true;
}

/* On the thread of ctx, with the gate held. */
static void doing_start(Doing *d)
{
    BlockReq *r = d->r;
    int rc = -EAGAIN;

    if (r->flags & (BLOCK_COMPRESS | BLOCK_UNCHANGED)) {
        rc = -EAGAIN;
    } else if (r->op == BLOCK_READ) {
        rc = try_now(d, plan_read);
    } else if (r->op == BLOCK_WRITE && !d->hold.exclusive) {
        rc = try_now(d, plan_overwrite);
        if (rc == -ENOSPC || rc == -EAGAIN) {
            gate_drop(d->n->gate, &d->hold);
            hold_clusters(d);
            if (!gate_take(d->n->gate, &d->hold))
                return;
            rc = rc == -ENOSPC ? try_now(d, plan_first_write) : rc;
        }
    } else if (r->op == BLOCK_WRITE) {
        rc = try_now(d, plan_first_write);
    }
    if (rc == -EAGAIN)
        block_work(d->n->graph, doing_slow, d);
    else if (rc)
        doing_end(d, rc);
}

/* The submitter's thread may block: all of it here. */
static void submit_wait(BlockNode *n, BlockReq *r)
{
    Doing d = {.n = n, .r = r};
    int rc;

    if (r->op == BLOCK_FLUSH) {
        blockreq_complete(r, format_flush(n));
        return;
    }
    if (op_modifies(r->op))
        hold_clusters(&d);
    else
        hold_shared(&d);
    gate_take_wait(n->gate, &d.hold);
    rc = wait_op(n, r);
    gate_drop(n->gate, &d.hold);
    blockreq_complete(r, rc);
}

void format_submit(BlockNode *n, BlockReq *r)
{
    Doing *d;

    if (!r->ctx) {
        submit_wait(n, r);
        return;
    }
    d = xnew(Doing);
    d->n = n;
    d->r = r;
    if (r->op == BLOCK_FLUSH) {
        block_work(n->graph, doing_slow, d);
        return;
    }
    if (r->op == BLOCK_READ ||
        (r->op == BLOCK_WRITE && !(r->flags & (BLOCK_COMPRESS | BLOCK_UNCHANGED))))
        hold_shared(d);
    else
        hold_clusters(d);
    if (gate_take(n->gate, &d->hold))
        doing_start(d);
}
