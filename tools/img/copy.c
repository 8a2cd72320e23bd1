/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy - all that one or several images hold into another one: the engine of convert
 *
 * Several threads take pieces in order from the map of the sources; each reads, looks for zeroes,
 * and writes its piece with waiting calls.
 *
 * Invariants
 *  1. Pieces are handed out in ascending order and do not overlap; one that writes has a ticket.
 *  2. Unless any order will do, writes begin in the order of tickets.  The turn passes on as soon
 *     as a piece is about to be written, so that transfers overlap while the target gives out room
 *     in order.
 *  3. Compressed pieces are one cluster of the target and wait for no turn: no more than one for
 *     each thread is under way, so they come out nearly in order.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/zero.h"
#include "tools/img/copy.h"

static bool copy_fail(Copy *c, const char *doing, uint64_t at, int rc)
{
    WITH_LOCK (&c->lock) {
        if (!c->failed)
            log_error("error while %s at byte %" PRIu64 ": %s; '%s' is incomplete%s", doing, at,
                      strerror(-rc), c->to.node->filename,
                      rc == -ENOSPC ? ": make room and try again" : "");
        c->failed = true;
        pthread_cond_broadcast(&c->turned);
    }
    return false;
}

/* --- what is to be done --- */

static CopySource *source_at(Copy *c, uint64_t at)
{
    unsigned i = 0;

    while (i + 1 < c->n_src && at >= c->src[i].at + c->src[i].size)
        i++;
    return &c->src[i];
}

/* One cluster of compressed data, or whole clusters of zeroes. */
static void fit_clusters(const Copy *c, Piece *p)
{
    uint64_t cluster = c->to.node->cluster_size ? c->to.node->cluster_size : 65536;
    bool last = p->at + p->size >= c->size;

    if (p->kind != PIECE_DATA && (p->size >= cluster || last)) {
        p->size = last ? p->size : ALIGN_DOWN(p->size, cluster);
    } else {
        p->kind = PIECE_DATA;
        p->size = MIN(cluster, c->size - p->at);
    }
}

void piece_set(Piece *p, BlockPort *from, const Extent *e, uint64_t at, uint64_t size)
{
    static const PieceKind kinds[] = {[EXTENT_UNALLOCATED] = PIECE_NOTHING,
                                      [EXTENT_ZERO] = PIECE_ZERO,
                                      [EXTENT_DATA] = PIECE_DATA,
                                      [EXTENT_SPECIAL] = PIECE_DATA};

    *p = (Piece){.kind = kinds[e->kind], .at = at, .size = size, .from = from};
    if (e->kind == EXTENT_DATA) {
        p->child = e->child;
        p->child_at = e->child_at;
    }
}

static int find_in_sources(Copy *c, uint64_t at, Piece *p)
{
    CopySource *s = source_at(c, at);
    uint64_t in = at - s->at;
    BlockNode *owner;
    Extent e;
    int rc;

    if (c->has_backing)
        rc = node_status(node_skip_filters(s->file.node), in, s->size - in, &e);
    else
        rc = node_status_above(s->file.node, NULL, in, s->size - in, &e, &owner);
    if (rc)
        return rc;
    if (e.kind == EXTENT_UNALLOCATED && !c->has_backing)
        e.kind = EXTENT_ZERO;
    if (e.kind == EXTENT_ZERO && c->has_backing && at >= c->backing_size)
        e.kind = EXTENT_UNALLOCATED; /* the target's backing file has nothing there either */
    piece_set(p, s->file.port, &e, at, MIN(e.size, s->size - in));
    return 0;
}

/* The piece at @at, as large as it is alike; 0 or -errno. */
static int piece_at(Copy *c, uint64_t at, Piece *p)
{
    int rc = c->find ? c->find(c, at, p) : find_in_sources(c, at, p);

    if (rc)
        return rc;
    if (p->kind == PIECE_ZERO && c->allocate_all)
        p->kind = PIECE_DATA;
    else if (p->kind == PIECE_ZERO && c->reads_zero)
        p->kind = PIECE_NOTHING;
    if (c->has_backing && at < c->backing_size) /* zeroes are not the same on both sides */
        p->size = MIN(p->size, c->backing_size - at);
    if (c->compress)
        fit_clusters(c, p);
    else if (p->kind == PIECE_DATA) /* end at a multiple, so that clusters stay whole */
        p->size = MIN(p->size, COPY_PIECE - at % COPY_PIECE);
    return 0;
}

/* How many ns to wait until the rate allows @size more bytes; the lock is held. */
static int64_t keep_rate(Copy *c, uint64_t size)
{
    int64_t now = now_ns();
    int64_t wait = c->rate_due - now;

    c->rate_due = MAX(c->rate_due, now) + (int64_t)((double)size * 1e9 / (double)c->rate);
    return MAX(wait, (int64_t)0);
}

static void count(Copy *c, const Piece *p)
{
    if (c->count_data && p->kind == PIECE_NOTHING)
        return;
    c->done += p->size;
    progress_to(c->progress, c->done);
}

/* The next piece with something to do; false: none is left, or somebody failed. */
static bool piece_take(Copy *c, Piece *p)
{
    int64_t wait = 0;
    int rc = 0;

    WITH_LOCK (&c->lock) {
        do {
            p->kind = PIECE_NOTHING;
            if (c->failed || c->at >= c->size)
                break;
            rc = piece_at(c, c->at, p);
            if (rc)
                break;
            c->at += p->size;
            if (p->kind == PIECE_NOTHING)
                count(c, p);
        } while (p->kind == PIECE_NOTHING);
        if (p->kind != PIECE_NOTHING) {
            p->ticket = c->tickets++;
            if (c->rate && p->kind == PIECE_DATA)
                wait = keep_rate(c, p->size);
        }
    }
    if (rc)
        copy_fail(c, "reading the block status", c->at, rc);
    if (wait) {
        struct timespec t = {wait / 1000000000, wait % 1000000000};

        nanosleep(&t, NULL);
    }
    return p->kind != PIECE_NOTHING;
}

/* False: somebody failed. */
static bool wait_turn(Copy *c, const Piece *p)
{
    bool ok = true;

    if (c->any_order || c->compress)
        return true;
    WITH_LOCK (&c->lock) {
        while (c->turn != p->ticket && !c->failed)
            pthread_cond_wait(&c->turned, &c->lock.m);
        ok = !c->failed;
        c->turn++;
        pthread_cond_broadcast(&c->turned);
    }
    return ok;
}

/* --- reading --- */

/* Sector by sector; what cannot be read is zeroes. */
static void salvage(Copy *c, BlockPort *from, uint64_t in, uint64_t at, uint8_t *buf, size_t size)
{
    const size_t sector = 512;

    for (size_t n = 0; n < size; n += sector) {
        int rc = block_read(from, in + n, buf + n, MIN(sector, size - n));

        if (!rc)
            continue;
        if (!c->quiet)
            log_warn("error while reading at byte %" PRIu64 ": %s", at + n, strerror(-rc));
        memset(buf + n, 0, MIN(sector, size - n));
    }
}

/* A compressed cluster may lie in several sources. */
static bool piece_read(Copy *c, const Piece *p, uint8_t *buf)
{
    for (uint64_t n = 0, size; n < p->size; n += size) {
        const CopySource *s = c->n_src > 1 ? source_at(c, p->at + n) : NULL;
        uint64_t in = p->at + n - (s ? s->at : 0);
        BlockPort *from = s ? s->file.port : p->from;
        int rc;

        size = MIN(p->size - n, block_size(from) - in);
        rc = block_read(from, in, buf + n, size);
        if (rc && c->salvage)
            salvage(c, from, in, p->at + n, buf + n, size);
        else if (rc)
            return copy_fail(c, "reading", p->at + n, rc);
    }
    return true;
}

/* --- writing --- */

static int write_zeroes(Copy *c, uint64_t at, uint64_t size)
{
    return c->reads_zero ? 0 : block_zero(c->to.port, at, size, BLOCK_MAY_UNMAP);
}

/* A run of data goes on over fewer zeroes than are worth a hole. */
static size_t next_run(const uint8_t *p, size_t size, size_t sparse, bool *zero)
{
    size_t grain = MIN(sparse, (size_t)4096), n = zero_run(p, size, grain, zero);

    if (*zero && (n >= sparse || n == size))
        return n;
    *zero = false;
    while (n < size) {
        bool hole;
        size_t more = zero_run(p + n, size - n, grain, &hole);

        if (hole && more >= sparse)
            break;
        n += more;
    }
    return n;
}

static bool write_data(Copy *c, const Piece *p, const uint8_t *buf)
{
    for (size_t at = 0, n; at < p->size; at += n) {
        bool zero = false;
        int rc;

        n = p->size - at;
        if (c->compress) {
            zero = c->sparse && is_zero(buf, n);
        } else if (c->sparse) {
            n = next_run(buf + at, n, c->sparse, &zero);
        }
        if (zero)
            rc = write_zeroes(c, p->at + at, n);
        else
            rc = block_write(c->to.port, p->at + at, buf + at, n, c->compress ? BLOCK_COMPRESS : 0);
        if (rc)
            return copy_fail(c, "writing", p->at + at, rc);
    }
    return true;
}

/* The host copies, if both ends are files that can; a refusal ends the attempts. */
static bool host_copies(Copy *c, const Piece *p)
{
    BlockNode *to = c->to.node, *file = to->file;
    int rc;

    if (!c->offload || !p->child || p->kind != PIECE_DATA || to->drv->map || !file ||
        file->drv != p->child->drv || !file->drv->copy_range || file->size < p->at + p->size)
        return false;
    rc = file->drv->copy_range(p->child, p->child_at, file, p->at, p->size);
    c->offload = !rc;
    return !rc;
}

static bool piece_copy(Copy *c, const Piece *p, uint8_t *buf)
{
    int rc;

    if (p->kind == PIECE_DATA && !c->offload && !piece_read(c, p, buf))
        return false;
    if (!wait_turn(c, p))
        return false;
    if (p->kind == PIECE_ZERO) {
        rc = write_zeroes(c, p->at, p->size);
        return rc ? copy_fail(c, "writing zeroes", p->at, rc) : true;
    }
    if (c->offload) {
        if (host_copies(c, p))
            return true;
        if (!piece_read(c, p, buf))
            return false;
    }
    return write_data(c, p, buf);
}

/* --- the threads --- */

static void *copy_thread(void *arg)
{
    Copy *c = arg;
    uint8_t *buf = xalloc_aligned(4096, MAX((size_t)COPY_PIECE, c->to.node->cluster_size));
    Piece p;

    while (piece_take(c, &p) && piece_copy(c, &p, buf))
        WITH_LOCK (&c->lock)
            count(c, &p);
    xfree(buf);
    return NULL;
}

/* How much there is to copy, for -p. */
static uint64_t measure_data(Copy *c)
{
    uint64_t all = 0;
    Piece p;

    for (uint64_t at = 0; at < c->size; at += p.size) {
        if (piece_at(c, at, &p))
            return c->size;
        all += p.kind == PIECE_NOTHING ? 0 : p.size;
    }
    return all;
}

bool copy_run(Copy *c)
{
    pthread_t ids[COPY_MAX_THREADS];
    unsigned n;

    lock_init(&c->lock, "copy", RANK_DEVICE);
    pthread_cond_init(&c->turned, NULL);
    c->count_data = c->progress_mode != PROGRESS_OFF;
    progress_begin(c->progress, c->progress_mode, c->count_data ? measure_data(c) : c->size);
    for (n = 0; n + 1 < c->threads; n++)
        if (pthread_create(&ids[n], NULL, copy_thread, c))
            break;
    copy_thread(c);
    while (n--)
        pthread_join(ids[n], NULL);
    if (!c->failed) {
        int rc = block_flush(c->to.port);

        if (rc)
            copy_fail(c, "flushing the target", c->size, rc);
    }
    progress_end(c->progress, !c->failed);
    pthread_cond_destroy(&c->turned);
    lock_fini(&c->lock);
    return !c->failed;
}
