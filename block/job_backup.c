/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_backup - an image as it is now is copied to a target while it is written on
 *
 * A copy-before-write filter above the source saves what is about to change; the job saves the
 * rest.
 */
#include <errno.h>

#include "base/alloc.h"
#include "block/cbw.h"
#include "block/jobs.h"

typedef struct Backup {
    Job job;
    BlockNode *source, *target, *cbw;
    BlockPort *port; /* on cbw */
    BackupArgs args;
    bool inserted;
} Backup;

/* What is to be saved at all. */
static int mark_first(Backup *b)
{
    DirtyBitmap *todo = cbw_bitmap(b->cbw);
    uint64_t size = b->source->size;

    if (b->args.sync != SYNC_TOP)
        return 0;
    for (uint64_t at = 0; at < size;) {
        uint64_t g = bitmap_granularity(todo), from, to;
        BlockNode *in;
        Extent e;
        int rc = node_status_above(b->source, node_skip_filters(b->source)->backing, at, size - at,
                                   &e, &in);

        if (rc)
            return rc;
        from = ALIGN_UP(at, g);
        to = at + e.size == size ? size : ALIGN_DOWN(at + e.size, g);
        if (e.kind == EXTENT_UNALLOCATED && to > from)
            bitmap_reset(todo, from, to - from);
        at += e.size;
    }
    return 0;
}

static int backup_run(Job *j, Error *err)
{
    Backup *b = (Backup *)j;
    DirtyBitmap *todo = cbw_bitmap(b->cbw);
    uint64_t at = 0, len;
    bool reading;
    int rc = 0;

    (void)err;
    job_set_total(j, b->args.sync == SYNC_NONE ? b->source->size : bitmap_count(todo));
    if (b->args.sync == SYNC_NONE) { /* only what the guest overwrites, until cancelled */
        while (!j->cancelled && !cbw_error(b->cbw)) {
            job_sleep(j, 100000000);
            job_pause_point(j);
        }
        return cbw_error(b->cbw) ? cbw_error(b->cbw) : -ECANCELED;
    }
    while (!rc && bitmap_next_area(todo, at, b->source->size, JOB_CHUNK, &at, &len)) {
        block_port_hold(b->port, NULL);
        rc = cbw_save(b->cbw, at, len, &reading);
        block_port_release(b->port, NULL);
        if (rc) {
            rc = job_failed(j, rc, reading);
            continue;
        }
        if (!job_moved(j, len))
            rc = -ECANCELED;
        at += len;
    }
    if (!rc)
        rc = cbw_error(b->cbw);
    if (rc)
        return rc;
    block_port_hold(b->port, NULL);
    rc = node_flush(b->target);
    block_port_release(b->port, NULL);
    return rc;
}

static void settle_bitmap(Backup *b, bool ok)
{
    DirtyBitmap *bm = b->args.bitmap;

    if (!bm)
        return;
    if (b->args.bitmap_mode == BITMAP_SYNC_ALWAYS ||
        (ok && b->args.bitmap_mode == BITMAP_SYNC_ON_SUCCESS)) {
        bitmap_abdicate(bm);
        if (!ok) /* what was not saved is still to be */
            bitmap_merge(bm, cbw_bitmap(b->cbw), NULL, NULL);
    } else {
        bitmap_reclaim(bm);
    }
}

static void backup_finish(Job *j, bool ok)
{
    Backup *b = (Backup *)j;

    b->source->op_blocker = b->target->op_blocker = NULL;
    block_port_free(b->port);
    if (b->cbw) {
        settle_bitmap(b, ok);
        if (b->inserted && !node_replace(b->cbw, b->source, &j->err))
            j->result = -EPERM;
        node_unref(b->cbw);
    }
    node_unref(b->source);
    node_unref(b->target);
}

static const JobClass backup_class = {
    .type = "backup",
    .size = sizeof(Backup),
    .is_block = true,
    .run = backup_run,
    .finish = backup_finish,
};

/* Nobody writes meanwhile: filter, bitmap and the state that is saved are of one moment. */
static bool backup_begin_drained(Backup *b, Error *err)
{
    DirtyBitmap *todo = cbw_bitmap(b->cbw), *changes = b->args.bitmap;
    int rc;

    if (changes) {
        bitmap_clear(todo, NULL);
        if (!bitmap_merge(todo, changes, NULL, err) || !bitmap_create_successor(changes, err)) {
            b->args.bitmap = NULL;
            return false;
        }
    }
    rc = mark_first(b);
    if (rc)
        return error_set_errno(err, -rc, "'%s' could not be mapped", b->source->filename);
    b->inserted = node_replace(b->source, b->cbw, err);
    b->port = b->inserted ? job_port(b->cbw, PERM_READ, PERM_ALL, err) : NULL;
    return b->port;
}

static bool backup_begin(Backup *b, Error *err)
{
    BlockGraph *g = b->source->graph;
    json_t *o = json_pack("{ssssssss*}", "driver", "copy-before-write", "file", b->source->name,
                          "target", b->target->name, "node-name", b->args.filter_name);
    bool ok;

    b->cbw = node_open(g, o, 0, err);
    if (!b->cbw)
        return false;
    cbw_set_compress(b->cbw, b->args.compress);
    graph_drain_begin(g, NULL);
    ok = backup_begin_drained(b, err);
    graph_drain_end(g, NULL);
    return ok;
}

Job *backup_start(Jobs *set, const BlockJobArgs *a, BlockNode *source, BlockNode *target,
                  const BackupArgs *args, Error *err)
{
    Backup *b;

    if (block_op_blocked(source, err) || block_op_blocked(target, err))
        return NULL;
    if (source == target) {
        error_set(err, "Source and target cannot be the same");
        return NULL;
    }
    if (target->size < source->size) {
        error_set(err, "The target '%s' is smaller than '%s'", target->name, source->name);
        return NULL;
    }
    if (args->compress && !target->drv->write_compressed) {
        error_set(err, "Compression is not supported for this drive %s", target->name);
        return NULL;
    }
    b = (Backup *)block_job_new(set, &backup_class, a, err);
    if (!b)
        return NULL;
    b->source = node_ref(source);
    b->target = node_ref(target);
    b->args = *args;
    if (!backup_begin(b, err)) {
        if (!b->cbw)
            b->args.bitmap = NULL; /* has no successor to be taken back */
        b->job.auto_dismiss = true;
        job_cancel(&b->job, true, NULL);
        return NULL;
    }
    source->op_blocker = target->op_blocker = "block device is in use by block job: backup";
    if (!a->later)
        job_start(&b->job);
    return &b->job;
}
