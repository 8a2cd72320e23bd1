/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_check - what check() of simple formats has in common */
#ifndef BLOCK_IMAGE_CHECK_H
#define BLOCK_IMAGE_CHECK_H

#include "block/block.h"

/* One corruption more. */
void check_found(CheckReport *rep, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* @places, which are sorted: where in the file pieces of @size bytes are.  Those that overlap
 * are corrupt. */
void check_overlaps(CheckReport *rep, uint64_t *places, size_t count, uint64_t size);

#endif
