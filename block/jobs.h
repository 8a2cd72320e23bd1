/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jobs - block jobs: stream, commit, mirror, backup
 *
 * Each starts on the main thread and returns its job, or NULL with a message; docs/block-jobs.md.
 */
#ifndef BLOCK_JOBS_H
#define BLOCK_JOBS_H

#include "block/bitmap.h"
#include "block/block.h"
#include "core/job.h"

/* What all of them are told. */
typedef struct BlockJobArgs {
    const char *id; /* NULL: internal */
    JobTxn *txn;
    bool auto_finalize, auto_dismiss;
    uint64_t speed;
    JobOnError on_error, on_target_error;
    bool later; /* backup: the caller calls job_start() */
} BlockJobArgs;

typedef enum MirrorSync {
    SYNC_TOP,
    SYNC_FULL,
    SYNC_NONE,
    SYNC_INCREMENTAL,
    SYNC_BITMAP
} MirrorSync;
typedef enum BitmapSync {
    BITMAP_SYNC_ON_SUCCESS,
    BITMAP_SYNC_NEVER,
    BITMAP_SYNC_ALWAYS
} BitmapSync;

/* Data above @base (NULL: all of the chain) moves up into @top, whose backing file becomes @base.
 * @backing_name: recorded instead of base's own name; may be NULL. */
Job *stream_start(Jobs *s, const BlockJobArgs *a, BlockNode *top, BlockNode *base,
                  const char *backing_name, Error *err);

/* Data above @base up to @top moves down into @base.  @active: the node guests write to; if @top is
 * that node the job becomes ready, and completion makes @base the active one. */
Job *commit_start(Jobs *s, const BlockJobArgs *a, BlockNode *active, BlockNode *top,
                  BlockNode *base, const char *backing_name, Error *err);

/* Of commit_start: the top is the active image itself. */
Job *mirror_active_commit(Jobs *s, const BlockJobArgs *a, BlockNode *active, BlockNode *base,
                          Error *err);

typedef enum MirrorCopy { COPY_BACKGROUND, COPY_WRITE_BLOCKING } MirrorCopy;
typedef struct MirrorArgs {
    MirrorSync sync;
    MirrorCopy copy;
    uint32_t granularity; /* 0: default */
    uint64_t buf_size;    /* 0: default */
    bool unmap, target_is_zero;
    BlockNode *replaces; /* NULL: the source */
    /* at the end the target gets the backing file that @sync makes it need; else it keeps its
     * own */
    bool set_backing;
    const char *filter_name; /* of the filter node of COPY_WRITE_BLOCKING; NULL: made up */
} MirrorArgs;
Job *mirror_start(Jobs *s, const BlockJobArgs *a, BlockNode *source, BlockNode *target,
                  const MirrorArgs *m, Error *err);

typedef struct BackupArgs {
    MirrorSync sync;
    DirtyBitmap *bitmap; /* incremental, bitmap */
    BitmapSync bitmap_mode;
    bool compress;
    const char *filter_name; /* of the filter node; NULL: made up */
} BackupArgs;
Job *backup_start(Jobs *s, const BlockJobArgs *a, BlockNode *source, BlockNode *target,
                  const BackupArgs *b, Error *err);

/* --- shared by the jobs --- */

/* A port on @n of the job's own. */
BlockPort *job_port(BlockNode *n, unsigned perm, unsigned shared, Error *err);
/* Take over the arguments all have in common. */
Job *block_job_new(Jobs *s, const JobClass *cls, const BlockJobArgs *a, Error *err);
/* Copy [at, at+size) of @from to @to, holes as holes (BLOCK_MAY_UNMAP: deallocated there).
 * @reading: it was @from that failed. */
int job_copy(BlockPort *from, BlockPort *to, uint64_t at, uint64_t size, void *buf, uint32_t flags,
             bool *reading);
/* The same for a caller that keeps the graph as it is. */
int job_copy_held(BlockNode *from, BlockNode *to, uint64_t at, uint64_t size, void *buf,
                  uint32_t flags, bool *reading);
/* node_status_above on a job's thread; @p: a port of its own above @top. */
int job_status_above(BlockPort *p, BlockNode *top, BlockNode *base, uint64_t at, uint64_t size,
                     Extent *out, BlockNode **in);
/* At the end: the backing file of @overlay is @base (NULL: none), which the image calls @name
 * (NULL: as it is called). */
void job_change_backing(Job *j, BlockNode *overlay, BlockNode *base, const char *name);
enum { JOB_CHUNK = 1 << 20 };
/* Nobody else may touch @n while the job is on. */
bool block_op_blocked(const BlockNode *n, Error *err);

#endif
