/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status - what is where: data, zeroes, or not here at all
 */
#include "block/block_priv.h"

static int format_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    int rc;

    WITH_LOCK (&n->meta)
        rc = n->drv->map(n, at, size, true, out);
    if (rc)
        return rc;
    if (out->kind == EXTENT_DATA && !out->child)
        out->child = n->data;
    if (out->child || out->kind == EXTENT_DATA)
        out->child_at += out->kind == EXTENT_SPECIAL ? 0 : at - out->at;
    out->size = MIN(out->at + out->size - at, size);
    out->at = at;
    return 0;
}

int node_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    *out = (Extent){.kind = EXTENT_DATA, .at = at, .size = size};
    if (at >= n->size) {
        out->kind = EXTENT_ZERO;
        out->flags = EXTENT_EOF;
        return 0;
    }
    size = MIN(size, n->size - at);
    out->size = size;
    if (n->drv->status)
        return n->drv->status(n, at, size, out);
    if (n->drv->map)
        return format_status(n, at, size, out);
    if (n->children && n->drv->kind != DRIVER_PROTOCOL)
        return node_status(n->children->node, at, size, out);
    return 0;
}

/* One step down a chain; NULL at its end. */
static BlockNode *below(BlockNode *n)
{
    return n->drv->kind == DRIVER_FILTER && n->children ? n->children->node : n->backing;
}

int node_status_above(BlockNode *n, BlockNode *base, uint64_t at, uint64_t size, Extent *out,
                      BlockNode **in)
{
    *in = n;
    *out = (Extent){.kind = EXTENT_UNALLOCATED, .at = at, .size = size};
    for (BlockNode *next; n && n != base; n = next) {
        int rc;

        next = below(n);
        if (n->drv->kind == DRIVER_FILTER)
            continue;
        *in = n;
        if (at >= n->size) { /* a short backing file */
            *out = (Extent){.kind = EXTENT_ZERO, .flags = EXTENT_EOF, .at = at, .size = size};
            return 0;
        }
        rc = node_status(n, at, size, out);
        if (rc || out->kind != EXTENT_UNALLOCATED)
            return rc;
        size = out->size;
        if (!next) {
            out->kind = EXTENT_ZERO;
            return 0;
        }
    }
    return 0;
}
