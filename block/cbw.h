/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cbw - copy before write: a filter that saves what is about to be overwritten
 */
#ifndef BLOCK_CBW_H
#define BLOCK_CBW_H

#include "block/bitmap.h"
#include "block/block.h"

/* What is still to be saved: bits of the filter's own bitmap, on the filter node. */
DirtyBitmap *cbw_bitmap(BlockNode *cbw);
/* Save all of [at, at+size) that is not saved yet; waits.  0 or -errno (the first failure of a
 * guest's write, too). */
/* @reading: `file` failed, not `target` */
int cbw_save(BlockNode *cbw, uint64_t at, uint64_t size, bool *reading);
int cbw_error(const BlockNode *cbw);
/* Read the state of the moment when the filter came; waits. */
int cbw_read_old(BlockNode *cbw, uint64_t at, const struct iovec *iov, int n_iov, uint64_t size);
void cbw_set_compress(BlockNode *cbw, bool on);

#endif
