/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug - breakpoints of the filter of that name, for rhea-io
 *
 * @n: a node above or the filter itself.  Each returns 0 or -errno; -ENOTSUP: there is no such
 * filter.
 */
#ifndef BLOCK_BLKDEBUG_H
#define BLOCK_BLKDEBUG_H

#include "block/block.h"

int blkdebug_break(BlockNode *n, const char *event,
                   const char *tag);                      /* the next request at @event waits */
int blkdebug_remove_break(BlockNode *n, const char *tag); /* and what waits at it goes on */
int blkdebug_resume(BlockNode *n, const char *tag);
bool blkdebug_is_suspended(BlockNode *n, const char *tag);

#endif
