/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_commit - data of overlays moves down into a backing file
 *
 * Below the active image nobody writes, so one pass is enough.  The active image itself is a mirror
 * onto its own backing file: job_mirror.c.
 */
#include <errno.h>

#include "base/alloc.h"
#include "block/jobs.h"

typedef struct Commit {
    Job job;
    BlockPort *from, *to;
    BlockNode *overlay, *top, *base; /* @overlay: whose backing file is @top */
    char *backing_name;
    bool reopened;
} Commit;

static int commit_run(Job *j, Error *err)
{
    Commit *c = (Commit *)j;
    uint64_t size = block_size(c->from);
    void *buf = xalloc_aligned(4096, JOB_CHUNK);
    int rc = 0;

    (void)err;
    job_set_total(j, size);
    for (uint64_t at = 0; at < size && !rc;) {
        uint64_t len = MIN(size - at, (uint64_t)JOB_CHUNK);
        BlockNode *in;
        Extent e;
        bool reading = true;

        rc = job_status_above(c->from, c->top, c->base, at, len, &e, &in);
        if (!rc) {
            len = MIN(len, e.size);
            if (e.kind != EXTENT_UNALLOCATED)
                rc = job_copy(c->from, c->to, at, len, buf, 0, &reading);
        }
        if (rc) {
            rc = job_failed(j, rc, reading);
            continue;
        }
        at += len;
        if (!job_moved(j, len))
            rc = -ECANCELED;
    }
    xfree(buf);
    return rc ? rc : block_flush(c->to);
}

static void commit_finish(Job *j, bool ok)
{
    Commit *c = (Commit *)j;

    block_port_free(c->from);
    block_port_free(c->to);
    c->overlay->op_blocker = c->top->op_blocker = c->base->op_blocker = NULL;
    if (ok)
        job_change_backing(j, c->overlay, c->base, c->backing_name);
    if (c->reopened)
        node_reopen(c->base, NULL, c->base->flags | NODE_READ_ONLY, NULL);
    node_unref(c->top);
    node_unref(c->base);
    node_unref(c->overlay);
}

static void commit_free(Job *j)
{
    xfree(((Commit *)j)->backing_name);
}

static const JobClass commit_class = {
    .type = "commit",
    .size = sizeof(Commit),
    .is_block = true,
    .run = commit_run,
    .finish = commit_finish,
    .free = commit_free,
};

static BlockNode *overlay_of(BlockNode *active, const BlockNode *n)
{
    while (active && node_skip_filters(active->backing) != n && active->backing != n)
        active = node_skip_filters(active->backing);
    return active;
}

static bool commit_open(Commit *c, Error *err)
{
    if (node_is_read_only(c->base)) {
        if (!node_reopen(c->base, NULL, c->base->flags & ~(uint32_t)NODE_READ_ONLY, err))
            return false;
        c->reopened = true;
    }
    if (c->base->size < c->top->size &&
        !node_truncate(c->base, c->top->size, PREALLOC_OFF, true, err))
        return false;
    /* Those above the base see no change by what is written to it. */
    c->from = job_port(c->top, PERM_READ, PERM_ALL, err);
    c->to = c->from ? job_port(c->base, PERM_READ | PERM_WRITE_UNCHANGED, PERM_ALL, err) : NULL;
    return c->to;
}

Job *commit_start(Jobs *set, const BlockJobArgs *a, BlockNode *active, BlockNode *top,
                  BlockNode *base, const char *backing_name, Error *err)
{
    Commit *c;

    if (block_op_blocked(active, err) || block_op_blocked(top, err) || block_op_blocked(base, err))
        return NULL;
    if (top == base || !node_in_chain(top, base)) {
        error_set(err,
                  top == base ? "cannot commit an image into itself"
                              : "'%s' is not in the backing file chain of '%s'",
                  base->filename, top->filename);
        return NULL;
    }
    if (node_skip_filters(active) == top)
        return mirror_active_commit(set, a, active, base, err);
    c = (Commit *)block_job_new(set, &commit_class, a, err);
    if (!c)
        return NULL;
    c->overlay = overlay_of(node_skip_filters(active), top);
    c->top = node_ref(top);
    c->base = node_ref(base);
    node_ref(c->overlay);
    c->backing_name = xstrdup(backing_name);
    if (!commit_open(c, err)) {
        c->job.auto_dismiss = true;
        job_cancel(&c->job, true, NULL);
        return NULL;
    }
    c->overlay->op_blocker = top->op_blocker = base->op_blocker =
        "block device is in use by block job: commit";
    job_start(&c->job);
    return &c->job;
}
