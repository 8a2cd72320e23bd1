/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_context - metadata contexts of an export: base:allocation, qemu:allocation-depth,
 * qemu:dirty-bitmap:NAME (proto.md, "Metadata querying"; docs/interop/nbd.txt of QEMU)
 */
#include <errno.h>

#include "base/bytes.h"
#include "block/nbd_server_priv.h"

enum { EXTENTS_MAX = 4096 };

typedef struct Extents {
    uint8_t *p; /* pairs of be32: size, flags */
    unsigned n;
    uint64_t size;
} Extents;

/* False: there is no room for another one. */
static bool extents_add(Extents *x, uint64_t size, uint32_t flags)
{
    uint8_t *end = x->p + (size_t)x->n * 8;

    if (x->n && get_be32(end - 4) == flags) {
        put_be32(end - 8, get_be32(end - 8) + (uint32_t)size);
    } else {
        if (x->n == EXTENTS_MAX)
            return false;
        put_be32(end, (uint32_t)size);
        put_be32(end + 4, flags);
        x->n++;
    }
    x->size += size;
    return true;
}

/* One extent at @at, at most @size bytes, of a context. */
static int base_extent(BlockNode *n, uint64_t at, uint64_t size, uint64_t *out, uint32_t *flags)
{
    BlockNode *in;
    Extent e;
    int rc = node_status_above(n, NULL, at, size, &e, &in);

    if (rc < 0)
        return rc;
    *out = MIN(e.size, size);
    *flags = 0;
    if (e.kind == EXTENT_ZERO || e.kind == EXTENT_UNALLOCATED)
        *flags = NBD_STATE_ZERO | (e.flags & EXTENT_PREALLOCATED ? 0 : NBD_STATE_HOLE);
    return *out ? 0 : -EIO;
}

static int depth_extent(BlockNode *n, uint64_t at, uint64_t size, uint64_t *out, uint32_t *flags)
{
    Extent e = {0};

    *flags = 1;
    for (n = node_skip_filters(n); n; n = n->backing ? node_skip_filters(n->backing) : NULL) {
        int rc = at < n->size ? node_status(n, at, size, &e) : 0;

        if (rc < 0)
            return rc;
        if (at >= n->size)
            break;
        size = MIN(size, e.size);
        *out = size;
        if (e.kind != EXTENT_UNALLOCATED)
            return size ? 0 : -EIO;
        ++*flags;
    }
    *out = size;
    *flags = 0; /* nobody has it */
    return 0;
}

static int bitmap_extent(const DirtyBitmap *b, uint64_t at, uint64_t size, uint64_t *out,
                         uint32_t *flags)
{
    uint64_t change;

    *flags = bitmap_get(b, at) ? NBD_STATE_DIRTY : 0;
    if (!(*flags ? bitmap_next_clean(b, at, at + size, &change)
                 : bitmap_next_dirty(b, at, at + size, &change)))
        change = at + size;
    *out = change - at;
    return *out ? 0 : -EIO;
}

static int context_fill(const NbdExport *e, unsigned context, uint64_t at, uint64_t size, bool one,
                        Extents *x)
{
    BlockNode *n = block_port_node(e->port);

    if (!n)
        return -ENOMEDIUM;
    at += e->offset;
    while (size) {
        uint64_t len = 0;
        uint32_t flags = 0;
        int rc = context == CONTEXT_BASE ? base_extent(n, at, size, &len, &flags)
                 : context == CONTEXT_DEPTH
                     ? depth_extent(n, at, size, &len, &flags)
                     : bitmap_extent(e->bitmaps[context - CONTEXT_BITMAP], at, size, &len, &flags);

        if (rc < 0)
            return x->n ? 0 : rc;
        if ((one && x->n && get_be32(x->p + 4) != flags) || !extents_add(x, len, flags))
            return 0;
        at += len;
        size -= len;
    }
    return 0;
}

int context_chunks(const Chosen *c, uint64_t handle, uint64_t at, uint32_t size, bool one,
                   uint8_t **out, size_t *out_size)
{
    unsigned count = (unsigned)__builtin_popcountll(c->contexts);
    size_t head = NBD_CHUNK_SIZE + 4;
    uint8_t *p = try_alloc(count * (head + EXTENTS_MAX * 8));

    *out_size = 0;
    if (!(*out = p))
        return -ENOMEM;
    for (uint64_t left = c->contexts; left; left &= left - 1) {
        unsigned context = (unsigned)__builtin_ctzll(left);
        uint8_t *chunk = p + *out_size;
        Extents x = {.p = chunk + head};
        int rc = context_fill(c->export, context, at, size, one, &x);

        if (rc < 0)
            return rc;
        put_be32(chunk, NBD_CHUNK_MAGIC);
        put_be16(chunk + 4, left & (left - 1) ? 0 : NBD_CHUNK_DONE);
        put_be16(chunk + 6, NBD_CHUNK_STATUS);
        put_be64(chunk + 8, handle);
        put_be32(chunk + 16, 4 + x.n * 8);
        put_be32(chunk + 20, context);
        *out_size += head + x.n * 8;
    }
    return 0;
}

/* --- names --- */

unsigned context_count(const NbdExport *e)
{
    return CONTEXT_BITMAP + e->n_bitmaps;
}

char *context_name(const NbdExport *e, unsigned context)
{
    if (context == CONTEXT_BASE)
        return xstrdup("base:allocation");
    if (context == CONTEXT_DEPTH)
        return e->allocation_depth ? xstrdup("qemu:allocation-depth") : NULL;
    return xasprintf("qemu:dirty-bitmap:%s", bitmap_name(e->bitmaps[context - CONTEXT_BITMAP]));
}

/* "base:allocation" is itself; in a list, "base:" and "qemu:dirty-bitmap:" stand for all that
 * begin so. */
uint64_t context_match(const NbdExport *e, const char *query, size_t size, bool list)
{
    bool prefix = list && size && query[size - 1] == ':';
    uint64_t found = 0;

    for (unsigned i = 0; i < context_count(e); i++) {
        AUTO_FREE char *name = context_name(e, i);

        if (name && strlen(name) >= size && !memcmp(name, query, size) &&
            (prefix || strlen(name) == size))
            found |= BIT(i);
    }
    return found;
}
