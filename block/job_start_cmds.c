/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_start_cmds - commands that start block jobs (QEMU 7.2, qapi/block-core.json)
 */
#include <errno.h>

#include "base/alloc.h"
#include "block/cmds.h"
#include "block/jobs.h"

static const char *const sync_names[] = {"top", "full", "none", "incremental", "bitmap", NULL};
static ENUM_TYPE(sync_type, MirrorSyncMode, sync_names);
static const char *const bitmap_sync_names[] = {"on-success", "never", "always", NULL};
static ENUM_TYPE(bitmap_sync_type, BitmapSyncMode, bitmap_sync_names);
static const char *const copy_names[] = {"background", "write-blocking", NULL};
static ENUM_TYPE(copy_type, MirrorCopyMode, copy_names);

/* One struct for all of them; each command lists the members it has. */
typedef struct Args {
    char *job_id, *device, *node_name, *base, *base_node, *top, *top_node, *bottom, *backing_file,
        *filter, *target, *format, *replaces, *bitmap;
    bool has_speed, has_on_error, has_on_source, has_on_target, has_finalize, finalize, has_dismiss,
        dismiss, has_sync, has_granularity, has_buf_size, has_unmap, unmap, has_copy, has_mode,
        has_bitmap_sync, has_compress, compress;
    int64_t speed, buf_size;
    uint32_t on_error, on_source, on_target, sync, granularity, copy, mode, bitmap_sync;
} Args;

#define JOB_ID ARG_STR_OPT(Args, job_id, "job-id", "the job; the drive's name if not given")
#define SPEED ARG_OPT(Args, speed, "speed", "limit in bytes a second")
#define ON_ERROR ARG_TYPE_OPT(Args, on_error, "on-error", &job_on_error_type, "what an error does")
#define ENDING                                                                                     \
    ARG_OPT(Args, finalize, "auto-finalize", "ends without job-finalize (on)"),                    \
        ARG_OPT(Args, dismiss, "auto-dismiss", "is forgotten without job-dismiss (on)")
#define FILTER_NAME ARG_STR_OPT(Args, filter, "filter-node-name", "name for the job's filter node")
#define BOTH_ERRORS                                                                                \
    ARG_TYPE_OPT(Args, on_source, "on-source-error", &job_on_error_type, "of reading"),            \
        ARG_TYPE_OPT(Args, on_target, "on-target-error", &job_on_error_type, "of writing")

static BlockJobArgs common(const Args *a, JobTxn *txn, const char *id)
{
    return (BlockJobArgs){.id = a->job_id ? a->job_id : id,
                          .txn = txn,
                          .auto_finalize = !a->has_finalize || a->finalize,
                          .auto_dismiss = !a->has_dismiss || a->dismiss,
                          .speed = a->has_speed ? (uint64_t)a->speed : 0,
                          .on_error = a->has_on_error    ? a->on_error
                                      : a->has_on_source ? a->on_source
                                                         : ON_ERROR_REPORT,
                          .on_target_error = a->has_on_target  ? a->on_target
                                             : a->has_on_error ? a->on_error
                                                               : ON_ERROR_REPORT};
}

/* The node, and a name for the job if the caller gave none: only drives have one. */
static BlockNode *job_node(Machine *m, const Args *a, const char **id, Error *err)
{
    BlockNode *n;

    if (!m->graph || !m->jobs) {
        error_set(err, "this machine has no block layer");
        return NULL;
    }
    if (a->has_speed && a->speed < 0) {
        error_set(err, "Parameter 'speed' expects a non-negative value");
        return NULL;
    }
    n = block_cmd_node(m, a->device, err);
    *id = port_find(m->graph, a->device) ? a->device : NULL;
    if (n && !a->job_id && !*id) {
        error_set(err, "Invalid job ID ''");
        return NULL;
    }
    return n;
}

/* In the chain of @top: by node name, or by file name as it was given. */
static BlockNode *chain_find(BlockNode *top, const char *node, const char *file, Error *err)
{
    for (BlockNode *n = top; n; n = n->drv->kind == DRIVER_FILTER ? n->children->node : n->backing)
        if ((node && !strcmp(n->name, node)) ||
            (file && ((n->filename && !strcmp(n->filename, file)))))
            return n;
    error_set(err,
              node ? "Cannot find node '%s' in the chain of '%s'"
                   : "Can't find '%s' in the backing chain of '%s'",
              node ? node : file, top->name);
    return NULL;
}

/* --- block-stream --- */

static const Field stream_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or its top node"),
    ARG_STR_OPT(Args, base, "base", "file name of the image to stop above"),
    ARG_STR_OPT(Args, base_node, "base-node", "node of the image to stop above"),
    ARG_STR_OPT(Args, bottom, "bottom", "last node that is copied"),
    ARG_STR_OPT(Args, backing_file, "backing-file", "name recorded for the base"),
    SPEED,
    ON_ERROR,
    FILTER_NAME,
    ENDING,
};
static const Type stream_type = {.name = "BlockStream",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Args),
                                 .fields = stream_fields,
                                 .n_fields = COUNT_OF(stream_fields)};

COMMAND_FN(block_stream)
{
    const Args *a = args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *base = NULL;
    BlockJobArgs j = common(a, NULL, id);

    if (!n)
        return false;
    if (!!a->base + !!a->base_node + !!a->bottom > 1)
        return error_set(err,
                         "'base', 'base-node' and 'bottom' cannot be specified at the same time");
    n = node_skip_filters(n);
    if (a->bottom) {
        base = chain_find(n, a->bottom, NULL, err);
        if (!base)
            return false;
        base = node_skip_filters(base)->backing;
    } else if (a->base || a->base_node) {
        base = chain_find(n, a->base_node, a->base, err);
        if (!base)
            return false;
    }
    if (a->backing_file && !base)
        return error_set(err, "backing file specified, but streaming the entire chain");
    return stream_start(m->jobs, &j, n, base, a->backing_file, err);
}
COMMAND(block_stream, .name = "block-stream", .args = &stream_type, .run = block_stream,
        .doc = "Copy data of backing files up, and be rid of these files.")

/* --- block-commit --- */

static const Field commit_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or its top node"),
    ARG_STR_OPT(Args, base_node, "base-node", "node that takes the data"),
    ARG_STR_OPT(Args, base, "base", "its file name"),
    ARG_STR_OPT(Args, top_node, "top-node", "node that gives it"),
    ARG_STR_OPT(Args, top, "top", "its file name"),
    ARG_STR_OPT(Args, backing_file, "backing-file", "name recorded in the overlay of top"),
    SPEED,
    ON_ERROR,
    FILTER_NAME,
    ENDING,
};
static const Type commit_type = {.name = "BlockCommit",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Args),
                                 .fields = commit_fields,
                                 .n_fields = COUNT_OF(commit_fields)};

static BlockNode *chain_end(BlockNode *n)
{
    while (node_skip_filters(n)->backing)
        n = node_skip_filters(n)->backing;
    return n;
}

COMMAND_FN(block_commit)
{
    const Args *a = args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *top, *base;
    BlockJobArgs j = common(a, NULL, id);

    if (!n)
        return false;
    if (a->top && a->top_node)
        return error_set(err, "'top-node' and 'top' are mutually exclusive");
    if (a->base && a->base_node)
        return error_set(err, "'base-node' and 'base' are mutually exclusive");
    n = node_skip_filters(n);
    top = a->top || a->top_node ? chain_find(n, a->top_node, a->top, err) : n;
    if (!top)
        return false;
    base = a->base || a->base_node ? chain_find(top, a->base_node, a->base, err) : chain_end(top);
    if (!base)
        return false;
    return commit_start(m->jobs, &j, n, top, base, a->backing_file, err);
}
COMMAND(block_commit, .name = "block-commit", .args = &commit_type, .run = block_commit,
        .doc = "Copy data of overlays down into a backing file.")

/* --- blockdev-mirror, drive-mirror --- */

#define MIRROR_FIELDS                                                                              \
    ARG_STR_OPT(Args, replaces, "replaces", "node whose place the target takes"), SPEED,           \
        ARG_OPT(Args, granularity, "granularity", "bytes that are copied together"),               \
        ARG_OPT(Args, buf_size, "buf-size", "most that is in flight"), BOTH_ERRORS,                \
        ARG_TYPE_OPT(Args, copy, "copy-mode", &copy_type,                                          \
                     "in the background, or with each write"),                                     \
        ENDING
static const Field mirror_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or node to copy"),
    ARG(Args, target, "target", "node to copy to"),
    ARG_TYPE(Args, sync, "sync", &sync_type, "what to copy"),
    MIRROR_FIELDS,
    FILTER_NAME,
};
static const Type mirror_type = {.name = "BlockdevMirror",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Args),
                                 .fields = mirror_fields,
                                 .n_fields = COUNT_OF(mirror_fields)};

/* @made: the target is a new image. */
static bool mirror(Machine *m, const Args *a, const char *id, BlockNode *n, BlockNode *target,
                   bool made, Error *err)
{
    BlockJobArgs j = common(a, NULL, id);
    MirrorArgs x = {.sync = a->sync,
                    .copy = a->has_copy ? a->copy : COPY_BACKGROUND,
                    .filter_name = a->filter,
                    .granularity = a->has_granularity ? a->granularity : 0,
                    .buf_size = a->has_buf_size ? (uint64_t)a->buf_size : 0,
                    .unmap = !a->has_unmap || a->unmap,
                    .target_is_zero = made && target->zero_init,
                    .set_backing = made};

    if (a->sync > SYNC_NONE)
        return error_set(err, "Sync mode '%s' not supported", sync_names[a->sync]);
    if (a->has_granularity && (a->granularity < 512 || a->granularity > 64 << 20))
        return error_set(err, "Parameter 'granularity' expects a value in range [512B, 64MB]");
    if (a->has_granularity && a->granularity & (a->granularity - 1))
        return error_set(err, "Parameter 'granularity' expects a power of 2");
    if (a->has_buf_size && a->buf_size < 0)
        return error_set(err, "Invalid parameter 'buf-size'");
    if (a->replaces && !(x.replaces = block_cmd_node(m, a->replaces, err)))
        return false;
    return mirror_start(m->jobs, &j, n, target, &x, err);
}

COMMAND_FN(blockdev_mirror)
{
    const Args *a = args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *t = n ? block_cmd_node(m, a->target, err) : NULL;

    return t && mirror(m, a, id, n, t, false, err);
}
COMMAND(blockdev_mirror, .name = "blockdev-mirror", .args = &mirror_type, .run = blockdev_mirror,
        .doc = "Copy an image while it is written, and switch to the copy when it is complete.")

#define DRIVE_FIELDS                                                                               \
    ARG_STR_OPT(Args, format, "format", "format of the target"),                                   \
        ARG_TYPE_OPT(Args, mode, "mode", &new_image_mode_type,                                     \
                     "make the target, or use what is there")
static const Field drive_mirror_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or node to copy"),
    ARG(Args, target, "target", "file to copy to"),
    DRIVE_FIELDS,
    ARG_STR_OPT(Args, node_name, "node-name", "node name of the target"),
    ARG_TYPE(Args, sync, "sync", &sync_type, "what to copy"),
    ARG_OPT(Args, unmap, "unmap", "zeroes may be holes in the target"),
    MIRROR_FIELDS,
};
static const Type drive_mirror_type = {.name = "DriveMirror",
                                       .meta = META_STRUCT,
                                       .size = sizeof(Args),
                                       .fields = drive_mirror_fields,
                                       .n_fields = COUNT_OF(drive_mirror_fields)};

static bool target_make(Machine *m, const Args *a, const BlockDriver *d, const BlockNode *source,
                        const BlockNode *backing, Error *err)
{
    json_t *o = json_object();
    bool ok;

    json_object_set_new(o, "size", json_sprintf("%" PRIu64, (uint64_t)source->size));
    if (backing) {
        json_object_set_new(o, "backing_file", json_string(backing->filename));
        json_object_set_new(o, "backing_fmt", json_string(backing->drv->name));
    }
    ok = d->create_file ? d->create_file(m->graph, a->target, o, err)
                        : error_set(err, "Driver '%s' cannot make images", d->name);
    json_decref(o);
    return ok;
}

/* The file of drive-mirror and drive-backup, made if asked for. */
static BlockNode *drive_target(Machine *m, const Args *a, BlockNode *source, Error *err)
{
    BlockNode *top = node_skip_filters(source), *below = a->sync == SYNC_TOP ? top->backing : NULL;
    const BlockDriver *d = block_driver_find(a->format ? a->format : top->drv->name);
    bool make = !a->has_mode || a->mode, has_backing = false;
    json_t *o;

    if (!d) {
        error_set(err, "Unknown driver '%s'", a->format);
        return NULL;
    }
    if (make && !target_make(m, a, d, source, a->sync == SYNC_NONE ? top : below, err))
        return NULL;
    for (const ChildSlot *s = d->children; s && s->name; s++)
        has_backing |= s->role & ROLE_BACKING;
    o = json_object();
    if (below && has_backing)
        json_object_set_new(o, "backing", json_string(below->name));
    else if (make && has_backing) /* as a mirror of nothing, only at the end */
        json_object_set_new(o, "backing", json_null());
    if (a->node_name)
        json_object_set_new(o, "node-name", json_string(a->node_name));
    return node_open_image(m->graph, a->target, d->name, o, NODE_UNMAP, err);
}

COMMAND_FN(drive_mirror)
{
    const Args *a = args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *t = n ? drive_target(m, a, n, err) : NULL;
    bool ok = t && mirror(m, a, id, n, t, !a->has_mode || a->mode, err);

    node_unref(t);
    return ok;
}
COMMAND(drive_mirror, .name = "drive-mirror", .args = &drive_mirror_type, .run = drive_mirror,
        .doc = "As blockdev-mirror, to a file.")

/* --- blockdev-backup, drive-backup --- */

#define BACKUP_FIELDS                                                                              \
    ARG_TYPE(Args, sync, "sync", &sync_type, "what to copy"), SPEED,                               \
        ARG_STR_OPT(Args, bitmap, "bitmap", "what changed since the last time"),                   \
        ARG_TYPE_OPT(Args, bitmap_sync, "bitmap-mode", &bitmap_sync_type, "when it is cleared"),   \
        ARG_OPT(Args, compress, "compress", "compress the target's data"), BOTH_ERRORS, ENDING,    \
        FILTER_NAME
static const Field backup_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or node to back up"),
    ARG(Args, target, "target", "node to copy to"),
    BACKUP_FIELDS,
};
static const Type backup_type = {.name = "BlockdevBackup",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Args),
                                 .fields = backup_fields,
                                 .n_fields = COUNT_OF(backup_fields)};
static const Field drive_backup_fields[] = {
    JOB_ID,
    ARG(Args, device, "device", "the drive or node to back up"),
    ARG(Args, target, "target", "file to copy to"),
    DRIVE_FIELDS,
    BACKUP_FIELDS,
};
static const Type drive_backup_type = {.name = "DriveBackup",
                                       .meta = META_STRUCT,
                                       .size = sizeof(Args),
                                       .fields = drive_backup_fields,
                                       .n_fields = COUNT_OF(drive_backup_fields)};

static bool backup_bitmap(BlockNode *n, const Args *a, BackupArgs *b, Error *err)
{
    bool needs = a->sync == SYNC_INCREMENTAL || a->sync == SYNC_BITMAP;

    if (needs && !a->bitmap)
        return error_set(err, "must provide a valid bitmap name for '%s' sync mode",
                         sync_names[a->sync]);
    if (a->sync == SYNC_BITMAP && !a->has_bitmap_sync)
        return error_set(err, "Bitmap sync mode must be given when providing a bitmap");
    if (!a->bitmap)
        return !a->has_bitmap_sync ||
               error_set(err, "Cannot specify bitmap sync mode without a bitmap");
    if (a->sync == SYNC_NONE)
        return error_set(err, "sync mode 'none' does not produce meaningful bitmap outputs");
    b->bitmap = bitmap_find(n, a->bitmap);
    if (!b->bitmap)
        return error_set(err, "Bitmap '%s' could not be found", a->bitmap);
    b->bitmap_mode = a->has_bitmap_sync ? a->bitmap_sync : BITMAP_SYNC_ON_SUCCESS;
    return bitmap_check(b->bitmap, BITMAP_DEFAULT, err);
}

static Job *backup(Machine *m, const Args *a, const char *id, JobTxn *txn, BlockNode *n,
                   BlockNode *target, Error *err)
{
    BlockJobArgs j = common(a, txn, id);
    BackupArgs b = {
        .sync = a->sync, .compress = a->has_compress && a->compress, .filter_name = a->filter};

    j.later = true;
    n = node_skip_filters(n);
    return backup_bitmap(n, a, &b, err) ? backup_start(m->jobs, &j, n, target, &b, err) : NULL;
}

static bool blockdev_backup_prepare(Machine *m, Action *act, Error *err)
{
    const Args *a = act->args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *t = n ? block_cmd_node(m, a->target, err) : NULL;

    act->job = t ? backup(m, a, id, act->txn, n, t, err) : NULL;
    return act->job;
}

static bool drive_backup_prepare(Machine *m, Action *act, Error *err)
{
    const Args *a = act->args;
    const char *id;
    BlockNode *n = job_node(m, a, &id, err), *t = n ? drive_target(m, a, n, err) : NULL;

    act->job = t ? backup(m, a, id, act->txn, n, t, err) : NULL;
    node_unref(t);
    return act->job;
}

static void job_commit(Action *act)
{
    job_start(act->job);
}

static void job_abort(Action *act)
{
    if (act->job)
        job_cancel(act->job, true, NULL);
}

ACTION(blockdev_backup, .type = "blockdev-backup", .args = &backup_type,
       .prepare = blockdev_backup_prepare, .commit = job_commit, .abort = job_abort)
ACTION(drive_backup, .type = "drive-backup", .args = &drive_backup_type,
       .prepare = drive_backup_prepare, .commit = job_commit, .abort = job_abort)

COMMAND_FN(blockdev_backup)
{
    return action_run(m, &action_blockdev_backup, args, err);
}
COMMAND(blockdev_backup, .name = "blockdev-backup", .args = &backup_type, .run = blockdev_backup,
        .doc = "Copy an image as it is now to a node.")

COMMAND_FN(drive_backup)
{
    return action_run(m, &action_drive_backup, args, err);
}
COMMAND(drive_backup, .name = "drive-backup", .args = &drive_backup_type, .run = drive_backup,
        .doc = "Copy an image as it is now to a file.")
