/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_mirror - an image is copied while it is written, until both are the same; then one stands for
 * the other
 *
 * A dirty bitmap on the source says what is still to be copied: it is marked after a write is done,
 * and cleared before a range is read, so nothing is missed.  At the end the source stands still for
 * what is left.
 *
 * COPY_WRITE_BLOCKING: a filter above the source copies what was written before the write is
 * reported.  The bitmap records no writes then: one that was copied clears what it covers, one that
 * was not marks it.
 */
#include <errno.h>

#include "base/alloc.h"
#include "block/jobs.h"
#include "block/mirror_top.h"

typedef struct Mirror {
    Job job;
    BlockNode *source, *target, *replaces, *base; /* @base: active commit, down to it */
    BlockNode *top;                               /* COPY_WRITE_BLOCKING; NULL: none */
    /* of what is copied: whole clusters if the target has yet to get its backing file */
    uint64_t align;
    _Atomic bool ended;    /* writes are not copied any more */
    _Atomic int failed[2]; /* of copied writes, to be told to the policy: writing, reading */
    BlockPort *from, *to;
    DirtyBitmap *dirty;
    MirrorArgs args;
    bool reopened, drained;
} Mirror;

/* Whole granules: what is taken from the bitmap is clean then. */
static uint64_t chunk_of(const Mirror *m)
{
    uint64_t g = bitmap_granularity(m->dirty);
    uint64_t most = m->args.buf_size ? MIN(m->args.buf_size, (uint64_t)JOB_CHUNK) : JOB_CHUNK;

    return MAX(ALIGN_DOWN(most, g), g);
}

static uint32_t write_flags(const Mirror *m)
{
    return m->args.unmap ? BLOCK_MAY_UNMAP : 0;
}

/* What the target does not have yet. */
static int mark_first(Mirror *m)
{
    uint64_t size = m->source->size;
    BlockNode *base = m->base                    ? m->base
                      : m->args.sync == SYNC_TOP ? node_skip_filters(m->source)->backing
                                                 : NULL;

    if (m->args.sync == SYNC_NONE)
        return 0;
    for (uint64_t at = 0; at < size;) {
        BlockNode *in;
        Extent e;
        int rc = job_status_above(m->from, m->source, base, at, size - at, &e, &in);
        bool needed = e.kind != EXTENT_UNALLOCATED &&
                      !(m->args.target_is_zero && e.kind == EXTENT_ZERO && !base);

        if (rc)
            return rc;
        if (needed)
            bitmap_set(m->dirty, at, e.size);
        at += e.size;
        if (!job_pause_point(&m->job))
            return -ECANCELED;
    }
    return 0;
}

/* With nothing else in the range: the source or its filter's gate is held. */
static int copy_aligned(Mirror *m, uint64_t at, uint64_t size, void *buf, bool *reading)
{
    uint64_t from = ALIGN_DOWN(at, m->align);
    uint64_t to = MIN(ALIGN_UP(at + size, m->align), (uint64_t)m->source->size);

    return job_copy_held(m->source, m->target, from, to - from, buf, write_flags(m), reading);
}

/* One area; 0: nothing is dirty.  Errors put it back. */
static int64_t copy_some(Mirror *m, void *buf, bool *reading)
{
    uint64_t at, size;
    GateHold hold;
    int rc;

    if (!bitmap_take_area(m->dirty, 0, m->source->size, chunk_of(m), &at, &size))
        return 0;
    block_port_hold(m->from, m->to);
    if (m->top) {
        hold = mirror_top_range(m->top, at, size);
        gate_take_wait(m->top->gate, &hold);
    }
    rc = copy_aligned(m, at, size, buf, reading);
    if (rc)
        bitmap_set(m->dirty, at, size);
    if (m->top)
        gate_drop(m->top->gate, &hold);
    block_port_release(m->from, m->to);
    return rc ? rc : (int64_t)size;
}

/* --- writes that are copied at once --- */

/* The granules that [at, at+size) covers are the same on both sides. */
static void clear_covered(Mirror *m, uint64_t at, uint64_t size)
{
    uint64_t g = bitmap_granularity(m->dirty), end = at + size, from = ALIGN_UP(at, g);
    uint64_t to = end == m->source->size ? end : ALIGN_DOWN(end, g);

    if (to > from)
        bitmap_reset(m->dirty, from, to - from);
}

/* A worker's: what fails is told to the policy by the job, which may wait for the main thread. */
static void mirror_wrote(void *arg, BlockOp op, uint64_t at, uint64_t size, int rc)
{
    Mirror *m = arg;
    bool reading = false, later = rc || m->ended || (op == BLOCK_DISCARD && size > JOB_CHUNK);
    void *buf = later ? NULL : xalloc_aligned(4096, JOB_CHUNK);

    if (!later)
        rc = copy_aligned(m, at, size, buf, &reading);
    xfree(buf);
    if (later || rc) {
        bitmap_set(m->dirty, at, size);
        if (!later)
            m->failed[reading] = rc;
        return;
    }
    clear_covered(m, at, size);
    m->job.total += size;
    m->job.done += size;
}

/* 0, or what ends the job. */
static int heed_failures(Mirror *m)
{
    for (unsigned reading = 0; reading < COUNT_OF(m->failed); reading++) {
        int rc = m->failed[reading];

        rc = rc ? job_failed(&m->job, rc, reading) : 0;
        if (rc)
            return rc;
        m->failed[reading] = 0; /* also what failed while it was stopped: all of it is dirty */
    }
    return 0;
}

static bool goes_on(const Mirror *m)
{
    const Job *j = &m->job;

    return !j->forced && !(j->ready && (j->complete_asked || j->cancelled));
}

static int mirror_run(Job *j, Error *err)
{
    Mirror *m = (Mirror *)j;
    void *buf = xalloc_aligned(4096, JOB_CHUNK);
    int rc = mark_first(m);

    (void)err;
    while (!rc && goes_on(m)) {
        int64_t len;
        bool reading;

        rc = heed_failures(m);
        if (rc)
            break;
        job_set_total(j, j->done + bitmap_count(m->dirty));
        len = copy_some(m, buf, &reading);
        if (len < 0) {
            rc = job_failed(j, (int)len, reading);
        } else if (len > 0) {
            if (!job_moved(j, (uint64_t)len) && (!j->ready || j->forced))
                rc = -ECANCELED;
        } else if (!j->ready) {
            rc = block_flush(m->to);
            if (!rc)
                job_set_ready(j);
        } else {
            job_sleep(j, 20000000);
            job_pause_point(j);
        }
    }
    xfree(buf);
    rc = rc ? rc : j->forced ? -ECANCELED : 0;
    m->ended = rc;
    return rc;
}

/* Nobody writes any more: the rest, and to disk. */
static bool mirror_prepare(Job *j, Error *err)
{
    Mirror *m = (Mirror *)j;
    void *buf = xalloc_aligned(4096, JOB_CHUNK);
    int64_t len;
    bool reading;
    int rc;

    block_port_set_exempt(m->from); /* run() is over: nothing of ours is in flight */
    block_port_set_exempt(m->to);
    graph_drain_begin(m->source->graph, NULL);
    m->drained = true;
    do
        len = copy_some(m, buf, &reading);
    while (len > 0);
    rc = len < 0 ? (int)len : block_flush(m->to);
    job_set_total(j, j->done);
    xfree(buf);
    return !rc || error_set_errno(err, -rc, "the last part could not be copied");
}

static void commit_switch(Mirror *m, Job *j)
{
    /* The active image was copied down: its users get the base. */
    if (!node_replace(m->source, m->base, &j->err))
        j->result = -EPERM;
    else if (m->source->drv->make_empty && !node_is_read_only(m->source))
        m->source->drv->make_empty(m->source);
}

/* Where the target has what is not copied. */
static BlockNode *rest_of(const Mirror *m)
{
    return m->args.sync == SYNC_NONE  ? m->source
           : m->args.sync == SYNC_TOP ? node_skip_filters(m->source)->backing
                                      : NULL;
}

static void mirror_switch(Mirror *m, Job *j)
{
    BlockNode *rest = rest_of(m), *target = node_skip_filters(m->target);

    if (m->args.set_backing && rest != target->backing &&
        !node_set_child(target, "backing", rest, &j->err))
        j->result = -EPERM;
    else if (!node_replace(m->replaces ? m->replaces : m->source, m->target, &j->err))
        j->result = -EPERM;
}

static void mirror_finish(Job *j, bool ok)
{
    Mirror *m = (Mirror *)j;
    bool pivot = ok && j->complete_asked && !j->cancelled;

    if (ok && !pivot && !j->result)
        j->result = 0; /* cancelled when ready: a copy of that moment, and a success */
    m->source->op_blocker = m->target->op_blocker = NULL;
    if (m->top && !mirror_top_remove(m->top, m->source, &j->err))
        j->result = -EPERM;
    bitmap_free(m->dirty);
    block_port_free(m->from);
    block_port_free(m->to);
    if (pivot && m->base)
        commit_switch(m, j);
    else if (pivot)
        mirror_switch(m, j);
    if (m->drained)
        graph_drain_end(m->source->graph, NULL);
    if (m->reopened && !pivot)
        node_reopen(m->base, NULL, m->base->flags | NODE_READ_ONLY, NULL);
    node_unref(m->source);
    node_unref(m->target);
    node_unref(m->replaces);
    node_unref(m->base);
}

#define MIRROR_CLASS(ty)                                                                           \
    {                                                                                              \
        .type = ty, .size = sizeof(Mirror), .is_block = true, .can_complete = true,                \
        .run = mirror_run, .prepare = mirror_prepare, .finish = mirror_finish                      \
    }
static const JobClass mirror_class = MIRROR_CLASS("mirror");
static const JobClass active_commit_class = MIRROR_CLASS("commit");

/* Nobody writes meanwhile. */
static bool mirror_open(Mirror *m, Error *err)
{
    unsigned perm = PERM_WRITE | PERM_RESIZE, shared = PERM_ALL & ~perm;

    if (!m->base && rest_of(m) && !node_skip_filters(m->target)->backing)
        m->align = MAX(m->align, m->target->cluster_size);
    if (m->args.copy == COPY_WRITE_BLOCKING && !node_is_read_only(m->source)) {
        MirrorTop how = {.wrote = mirror_wrote, .arg = m, .align = m->align};

        m->top = mirror_top_insert(m->source, m->target, m->args.filter_name, &how, err);
        if (!m->top)
            return false;
    }
    if (m->base ||
        m->top) { /* those above the base see no change; the filter has the permissions */
        perm = m->top ? 0 : PERM_WRITE_UNCHANGED;
        shared = PERM_ALL;
    }
    m->from = job_port(m->source, PERM_READ, PERM_ALL, err);
    m->to = m->from ? job_port(m->target, perm, shared, err) : NULL;
    if (m->to)
        m->dirty = bitmap_new(m->source, NULL, m->args.granularity, err);
    if (m->dirty && m->top)
        bitmap_enable(m->dirty, false);
    return m->dirty;
}

/* On failure the job is cancelled, and gone. */
static Job *mirror_begin(Mirror *m, const char *why, Error *err)
{
    BlockGraph *g = m->source->graph;
    bool ok;

    m->align = 1;
    graph_drain_begin(g, NULL);
    ok = mirror_open(m, err);
    graph_drain_end(g, NULL);
    if (!ok) {
        m->job.auto_dismiss = true;
        job_cancel(&m->job, true, NULL);
        return NULL;
    }
    m->source->op_blocker = m->target->op_blocker = why;
    job_start(&m->job);
    return &m->job;
}

Job *mirror_start(Jobs *set, const BlockJobArgs *a, BlockNode *source, BlockNode *target,
                  const MirrorArgs *args, Error *err)
{
    Mirror *m;

    if (block_op_blocked(source, err) || block_op_blocked(target, err))
        return NULL;
    if (source == target) {
        error_set(err, "Can't mirror node into itself");
        return NULL;
    }
    if (target->size < source->size &&
        !node_truncate(target, source->size, PREALLOC_OFF, false, err))
        return NULL;
    m = (Mirror *)block_job_new(set, &mirror_class, a, err);
    if (!m)
        return NULL;
    m->source = node_ref(source);
    m->target = node_ref(target);
    m->replaces = args->replaces ? node_ref(args->replaces) : NULL;
    m->args = *args;
    return mirror_begin(m, "block device is in use by block job: mirror", err);
}

Job *mirror_active_commit(Jobs *set, const BlockJobArgs *a, BlockNode *active, BlockNode *base,
                          Error *err)
{
    Mirror *m = (Mirror *)block_job_new(set, &active_commit_class, a, err);
    bool ok = true;

    if (!m)
        return NULL;
    m->source = node_ref(active);
    m->target = node_ref(base);
    m->base = node_ref(base);
    if (node_is_read_only(base)) {
        ok = node_reopen(base, NULL, base->flags & ~(uint32_t)NODE_READ_ONLY, err);
        m->reopened = ok;
    }
    if (ok && base->size < active->size)
        ok = node_truncate(base, active->size, PREALLOC_OFF, true, err);
    if (!ok) {
        m->job.auto_dismiss = true;
        job_cancel(&m->job, true, NULL);
        return NULL;
    }
    return mirror_begin(m, "block device is in use by block job: commit", err);
}
