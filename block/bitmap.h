/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap - which parts of a node have been modified: dirty bitmaps in memory
 *
 * Names are unique per node; anonymous ones (NULL) belong to jobs.  One lock per node, taken
 * inside, guards all bits and states, so every function here may be called on any thread; creating,
 * freeing, renaming and everything with an Error is the main thread's.  A DirtyBitmap pointer is
 * valid until bitmap_free() or bitmaps_free().  Ranges are bytes; each bit stands for granularity
 * bytes.
 */
#ifndef BLOCK_BITMAP_H
#define BLOCK_BITMAP_H

#include "block/block.h"

enum {                          /* bitmap_check(): what the caller cannot live with */
       BITMAP_BUSY = 1,         /* in use by a job, an export or a migration */
       BITMAP_READ_ONLY = 2,    /* its image is */
       BITMAP_INCONSISTENT = 4, /* was not closed properly: can only be removed */
       BITMAP_DEFAULT = BITMAP_BUSY | BITMAP_READ_ONLY | BITMAP_INCONSISTENT,
       BITMAP_ALLOW_RO = BITMAP_BUSY | BITMAP_INCONSISTENT
};
enum { BITMAP_NAME_MAX = 1023 };

/* A copy of all bits, to undo a clear or a merge. */
typedef struct BitmapBackup BitmapBackup;

/* @granularity: a power of two from 512 to 2 GiB; 0: the node's cluster size, within 4..64 KiB.
 * Enabled, all clean. */
DirtyBitmap *bitmap_new(BlockNode *n, const char *name, uint32_t granularity, Error *err);
void bitmap_free(
    DirtyBitmap *b); /* with its successor; not from the image: BlockDriver.bitmap_ops */
void bitmaps_free(BlockNode *n); /* all, and the lock: the node is going away */
DirtyBitmap *bitmap_find(BlockNode *n, const char *name);
DirtyBitmap *bitmap_next(
    BlockNode *n, const DirtyBitmap *b); /* oldest first; NULL starts; successors are left out */
uint32_t bitmap_default_granularity(const BlockNode *n);

/* --- for the request engine --- */

void bitmaps_mark(BlockNode *n, uint64_t at, uint64_t size); /* in all enabled bitmaps */
void bitmaps_resize(BlockNode *n, uint64_t size); /* after n->size changed: new parts are clean */

/* --- state --- */

BlockNode *bitmap_node(const DirtyBitmap *b);
const char *bitmap_name(const DirtyBitmap *b);
uint32_t bitmap_granularity(const DirtyBitmap *b);
uint64_t bitmap_size(const DirtyBitmap *b);   /* bytes of the node */
uint64_t bitmap_count(const DirtyBitmap *b);  /* dirty bytes, in whole granules */
bool bitmap_is_enabled(const DirtyBitmap *b); /* recording: it or its successor */
bool bitmap_is_busy(const DirtyBitmap *b);    /* also while it has a successor */
bool bitmap_is_persistent(const DirtyBitmap *b);
bool bitmap_is_inconsistent(const DirtyBitmap *b);
bool bitmap_is_read_only(const DirtyBitmap *b);
void bitmap_enable(DirtyBitmap *b, bool on);
void bitmap_set_busy(DirtyBitmap *b, bool on);
void bitmap_set_persistent(DirtyBitmap *b, bool on);
void bitmap_set_inconsistent(DirtyBitmap *b); /* also disables it */
void bitmap_set_read_only(DirtyBitmap *b, bool on);
void bitmap_set_changed(DirtyBitmap *b, bool on); /* differs from what the image has stored */
bool bitmap_is_changed(const DirtyBitmap *b);
/* May it be used?  The message says why not. @flags: BITMAP_DEFAULT or a subset. */
bool bitmap_check(const DirtyBitmap *b, unsigned flags, Error *err);
/* An element of query-block's "dirty-bitmaps": name, count, granularity, recording, busy,
 * persistent[, inconsistent]. */
json_t *bitmap_info(const DirtyBitmap *b);
json_t *bitmaps_info(BlockNode *n); /* the array; NULL: no named bitmap */

/* --- bits --- */

bool bitmap_get(const DirtyBitmap *b, uint64_t at);
void bitmap_set(DirtyBitmap *b, uint64_t at, uint64_t size); /* every granule touched */
void bitmap_reset(DirtyBitmap *b, uint64_t at,
                  uint64_t size); /* must begin at a granule and end at one or the end */
/* First dirty (clean) byte of [at, end); false: none. */
bool bitmap_next_dirty(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t *out);
bool bitmap_next_clean(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t *out);
/* First dirty area of [at, end), cut to @max bytes and to [at, end). */
bool bitmap_next_area(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t max,
                      uint64_t *out_at, uint64_t *out_size);
/* The same, and the granules are clean when it returns: for jobs that copy while others write. */
bool bitmap_take_area(DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t max, uint64_t *out_at,
                      uint64_t *out_size);
void bitmap_clear(DirtyBitmap *b, BitmapBackup **backup);  /* all clean; @backup may be NULL */
void bitmap_restore(DirtyBitmap *b, BitmapBackup *backup); /* consumed */
void bitmap_backup_free(BitmapBackup *backup);             /* NULL is fine */
/* Everything dirty in @from is so in @to; sizes must agree, granularities need not; different
 * nodes are fine. */
bool bitmap_merge(DirtyBitmap *to, const DirtyBitmap *from, BitmapBackup **backup, Error *err);

/* --- successors: a job works on @b, which is busy and frozen, while writes go to an anonymous
 * child --- */

bool bitmap_create_successor(DirtyBitmap *b, Error *err);
void bitmap_abdicate(DirtyBitmap *b); /* success: @b holds only what came since */
void bitmap_reclaim(DirtyBitmap *b);  /* failure: old and new together */
bool bitmap_has_successor(const DirtyBitmap *b);

/* --- bytes as images store them: bit 0 of byte 0 is the first granule --- */

uint64_t bitmap_bytes(const DirtyBitmap *b); /* of the whole */
/* @at in bytes of the stored form, a multiple of 8; beyond the end reads as zeroes and is
 * ignored. */
void bitmap_save(const DirtyBitmap *b, uint64_t at, void *buf, size_t size);
void bitmap_load(DirtyBitmap *b, uint64_t at, const void *buf, size_t size);

#endif
