/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mirror_top - the filter above the source of a mirror that copies each write before it is
 * reported */
#ifndef BLOCK_MIRROR_TOP_H
#define BLOCK_MIRROR_TOP_H

#include "block/block_priv.h"

typedef struct MirrorTop {
    /* A write has ended with @rc; on its worker, before it is reported.  Nobody else writes the
     * range, and no holder of mirror_top_range() is in it. */
    void (*wrote)(void *arg, BlockOp op, uint64_t at, uint64_t size, int rc);
    void *arg;
    uint64_t align; /* what wrote() needs around the range */
} MirrorTop;

/* Main thread.  The users of @source go through the filter from now on; nobody else may write to
 * either node. */
BlockNode *mirror_top_insert(BlockNode *source, BlockNode *target, const char *name,
                             const MirrorTop *how, Error *err);
bool mirror_top_remove(BlockNode *top, BlockNode *source, Error *err); /* and no wrote() any more */
/* Of a range that writes must stay out of, to be taken from and dropped to top->gate. */
GateHold mirror_top_range(const BlockNode *top, uint64_t at, uint64_t size);

#endif
