/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dirty_range - which entries of a table in memory are not on disk yet, roughly: those between
 * the outermost ones */
#ifndef BLOCK_DIRTY_RANGE_H
#define BLOCK_DIRTY_RANGE_H

#include "base/base.h"

typedef struct DirtyRange {
    uint64_t from, to; /* to 0: none */
} DirtyRange;

static inline void dirty_range_add(DirtyRange *r, uint64_t i)
{
    r->from = r->to ? MIN(r->from, i) : i;
    r->to = MAX(r->to, i + 1);
}

static inline uint64_t dirty_range_count(const DirtyRange *r)
{
    return r->to - r->from;
}

/* The first @n of them have been written. */
static inline void dirty_range_done(DirtyRange *r, uint64_t n)
{
    r->from += n;
    if (r->from == r->to)
        *r = (DirtyRange){0, 0};
}

#endif
