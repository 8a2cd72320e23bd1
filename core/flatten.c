/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flatten - from the tree of regions to a sorted list without overlaps
 *
 * Children are visited from the highest priority down, before their parent; each fills what is
 * still free of its range.  128-bit numbers: a region may be 2^64 long, and an alias may put the
 * start of what it shows below zero.
 */
#include "base/alloc.h"
#include "core/memory_priv.h"

typedef __int128 Wide;

enum { MAX_DEPTH = 64 };

typedef struct Flattener {
    Memory *mem;
    MemSection *s;
    unsigned n, cap;
    unsigned depth;
} Flattener;

static Wide region_length(const Region *r)
{
    return r->size == UINT64_MAX ? (Wide)1 << 64 : (Wide)r->size;
}

static Wide section_end(const MemSection *s)
{
    return (Wide)s->at + s->size;
}

static void section_insert(Flattener *f, unsigned i, MemSection s)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 32;
        f->s = xrealloc(f->s, f->cap * sizeof *f->s);
    }
    memmove(&f->s[i + 1], &f->s[i], (f->n - i) * sizeof *f->s);
    f->s[i] = s;
    f->n++;
}

/* Show @r, whose first byte is at @base, wherever [lo, hi) is still free. */
static void fill_gaps(Flattener *f, Region *r, Wide base, Wide lo, Wide hi)
{
    for (unsigned i = 0; lo < hi; i++) {
        Wide next = i < f->n ? (Wide)f->s[i].at : hi;
        if (lo < next) {
            Wide size = MIN(next, hi) - lo;
            section_insert(f, i,
                           (MemSection){
                               .region = r,
                               .at = (Gpa)lo,
                               .size = size > UINT64_MAX ? UINT64_MAX : (uint64_t)size,
                               .region_at = (uint64_t)(lo - base),
                           });
            i++;
        }
        if (i >= f->n)
            break;
        lo = MAX(lo, section_end(&f->s[i]));
    }
}

static void render(Flattener *f, Region *r, Wide base, Wide lo, Wide hi)
{
    r->mem = f->mem;
    if (!r->enabled)
        return;
    lo = MAX(lo, base);
    hi = MIN(hi, base + region_length(r));
    if (lo >= hi)
        return;
    assert(f->depth < MAX_DEPTH); /* an alias must not show itself */
    f->depth++;
    if (r->kind == REGION_ALIAS)
        render(f, r->alias, base - r->alias_at, lo, hi);
    for (Region *c = r->children; c; c = c->next)
        render(f, c, base + c->at, lo, hi);
    if (r->kind == REGION_RAM || r->kind == REGION_ROM || r->kind == REGION_IO)
        fill_gaps(f, r, base, lo, hi);
    f->depth--;
}

static bool sections_join(const MemSection *a, const MemSection *b)
{
    return a->region == b->region && section_end(a) == b->at &&
           a->region_at + a->size == b->region_at;
}

FlatMap *flatten(AddressSpace *as)
{
    Flattener f = {.mem = as->mem};

    render(&f, as->root, 0, 0, (Wide)1 << 64);

    FlatMap *map = xalloc(sizeof *map + f.n * sizeof map->s[0]);
    for (unsigned i = 0; i < f.n; i++) {
        if (map->n && sections_join(&map->s[map->n - 1], &f.s[i]))
            map->s[map->n - 1].size += f.s[i].size;
        else
            map->s[map->n++] = f.s[i];
    }
    xfree(f.s);
    return map;
}
