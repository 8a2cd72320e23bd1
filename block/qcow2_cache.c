/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_cache - equal parts of metadata tables in memory, written back later
 *
 * Entries are found by position through a hash, and kept in order of use.  Memory for an entry is
 * taken when it is first needed.  What may be written when is the owner's affair: clean() of
 * qcow2_priv.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_priv.h"

enum { NOBODY = UINT32_MAX, SCAN_MAX = 16, RUN_MAX = 64 };

typedef struct CacheEntry {
    uint64_t at;
    uint8_t *data; /* NULL: holds nothing */
    uint32_t hash_next, older, newer;
    bool dirty, used; /* used: since the last trim */
} CacheEntry;

struct Qcow2Cache {
    BlockNode *file;
    unsigned size, max, n; /* entries 0..n-1 are in the list of use */
    unsigned n_dirty, n_full;
    int (*clean)(void *arg);
    void *arg;
    BlockEvent load, update; /* what its accesses are called */
    CacheEntry *e;
    uint32_t *bucket;
    unsigned bucket_mask, size_bits;
    uint32_t oldest, newest;
};

void cache_name_events(Qcow2Cache *c, BlockEvent load, BlockEvent update)
{
    c->load = load;
    c->update = update;
}

Qcow2Cache *cache_new(BlockNode *file, unsigned size, unsigned max, int (*clean)(void *arg),
                      void *arg)
{
    Qcow2Cache *c = xnew(Qcow2Cache);
    unsigned n = 16;

    while (n < max)
        n *= 2;
    *c = (Qcow2Cache){.file = file,
                      .size = size,
                      .max = max,
                      .clean = clean,
                      .arg = arg,
                      .bucket_mask = n - 1,
                      .size_bits = (unsigned)__builtin_ctz(size),
                      .load = EVENT_NONE,
                      .update = EVENT_NONE,
                      .oldest = NOBODY,
                      .newest = NOBODY};
    c->e = xnew_n(CacheEntry, max);
    c->bucket = xnew_n(uint32_t, n);
    memset(c->bucket, 0xff, n * sizeof(*c->bucket));
    return c;
}

void cache_free(Qcow2Cache *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++)
        xfree(c->e[i].data);
    xfree(c->e);
    xfree(c->bucket);
    xfree(c);
}

/* --- lists --- */

static uint32_t *bucket_of(const Qcow2Cache *c, uint64_t at)
{
    uint64_t h = (at >> c->size_bits) * 0x9e3779b97f4a7c15ull;

    return &c->bucket[(h >> 32) & c->bucket_mask];
}

static uint32_t find(const Qcow2Cache *c, uint64_t at)
{
    uint32_t i = *bucket_of(c, at);

    while (i != NOBODY && c->e[i].at != at)
        i = c->e[i].hash_next;
    return i;
}

static void unlink_use(Qcow2Cache *c, uint32_t i)
{
    CacheEntry *e = &c->e[i];

    if (e->older != NOBODY)
        c->e[e->older].newer = e->newer;
    else
        c->oldest = e->newer;
    if (e->newer != NOBODY)
        c->e[e->newer].older = e->older;
    else
        c->newest = e->older;
}

static void link_newest(Qcow2Cache *c, uint32_t i)
{
    CacheEntry *e = &c->e[i];

    e->older = c->newest;
    e->newer = NOBODY;
    if (c->newest != NOBODY)
        c->e[c->newest].newer = i;
    else
        c->oldest = i;
    c->newest = i;
}

static void link_oldest(Qcow2Cache *c, uint32_t i)
{
    CacheEntry *e = &c->e[i];

    e->newer = c->oldest;
    e->older = NOBODY;
    if (c->oldest != NOBODY)
        c->e[c->oldest].older = i;
    else
        c->newest = i;
    c->oldest = i;
}

static void touch(Qcow2Cache *c, uint32_t i)
{
    c->e[i].used = true;
    if (c->newest != i) {
        unlink_use(c, i);
        link_newest(c, i);
    }
}

/* Out of the hash: the entry holds nothing, but keeps its memory. */
static void empty_entry(Qcow2Cache *c, uint32_t i)
{
    CacheEntry *e = &c->e[i];

    for (uint32_t *p = bucket_of(c, e->at); *p != NOBODY; p = &c->e[*p].hash_next)
        if (*p == i) {
            *p = e->hash_next;
            break;
        }
    c->n_dirty -= e->dirty;
    c->n_full--;
    e->dirty = false;
    e->at = UINT64_MAX;
}

static void fill_entry(Qcow2Cache *c, uint32_t i, uint64_t at)
{
    uint32_t *b = bucket_of(c, at);

    c->e[i].at = at;
    c->e[i].hash_next = *b;
    *b = i;
    c->n_full++;
    touch(c, i);
}

/* --- room --- */

static uint32_t find_clean(const Qcow2Cache *c, unsigned tries)
{
    uint32_t i = c->oldest;

    while (i != NOBODY && c->e[i].dirty && --tries)
        i = c->e[i].newer;
    return i != NOBODY && !c->e[i].dirty ? i : NOBODY;
}

/* An empty entry with memory; in the list of use. */
static int make_room(Qcow2Cache *c, bool may_block, uint32_t *out)
{
    uint32_t i;
    int rc;

    if (c->n < c->max && (c->oldest == NOBODY || c->e[c->oldest].at != UINT64_MAX)) {
        i = c->n;
        c->e[i].data = try_alloc(c->size);
        if (!c->e[i].data)
            return -ENOMEM;
        c->e[i].at = UINT64_MAX;
        c->n++;
        link_newest(c, i);
        *out = i;
        return 0;
    }
    i = find_clean(c, SCAN_MAX);
    if (i == NOBODY && !may_block)
        return -EAGAIN;
    if (i == NOBODY) {
        rc = c->clean(c->arg);
        if (rc)
            return rc;
        i = find_clean(c, UINT32_MAX);
        if (i == NOBODY)
            return -EIO;
    }
    if (c->e[i].at != UINT64_MAX)
        empty_entry(c, i);
    if (!c->e[i].data && !(c->e[i].data = try_alloc(c->size)))
        return -ENOMEM;
    *out = i;
    return 0;
}

/* --- use --- */

uint8_t *cache_peek(Qcow2Cache *c, uint64_t at)
{
    uint32_t i = find(c, at);

    if (i == NOBODY)
        return NULL;
    touch(c, i);
    return c->e[i].data;
}

int cache_get(Qcow2Cache *c, uint64_t at, bool may_block, uint8_t **out)
{
    uint32_t i;
    int rc;

    *out = cache_peek(c, at);
    if (*out)
        return 0;
    if (!may_block)
        return -EAGAIN;
    rc = make_room(c, true, &i);
    if (!rc)
        node_event(c->file, c->load);
    if (!rc)
        rc = file_read(c->file, at, c->e[i].data, c->size);
    if (rc)
        return rc;
    fill_entry(c, i, at);
    *out = c->e[i].data;
    return 0;
}

int cache_get_zero(Qcow2Cache *c, uint64_t at, bool may_block, uint8_t **out)
{
    uint32_t i;
    int rc;

    *out = cache_peek(c, at);
    if (*out)
        return 0;
    rc = make_room(c, may_block, &i);
    if (rc)
        return rc;
    memset(c->e[i].data, 0, c->size);
    fill_entry(c, i, at);
    *out = c->e[i].data;
    return 0;
}

void cache_prefetch(Qcow2Cache *c, uint64_t at, unsigned count)
{
    uint8_t *buf;

    if (count > c->max / 4 || c->file->events) /* events are those of entries that are needed */
        return;
    buf = try_alloc((size_t)count * c->size);
    if (buf && !file_read(c->file, at, buf, (uint64_t)count * c->size))
        for (unsigned k = 0; k < count; k++) {
            uint64_t where = at + (uint64_t)k * c->size;
            uint32_t i;

            if (find(c, where) != NOBODY)
                continue;
            if (make_room(c, false, &i))
                break;
            memcpy(c->e[i].data, buf + (size_t)k * c->size, c->size);
            fill_entry(c, i, where);
        }
    xfree(buf);
}

void cache_dirty(Qcow2Cache *c, uint64_t at)
{
    uint32_t i = find(c, at);

    assert(i != NOBODY);
    c->n_dirty += !c->e[i].dirty;
    c->e[i].dirty = true;
}

bool cache_is_dirty(const Qcow2Cache *c)
{
    return c->n_dirty;
}

bool cache_has_spare(const Qcow2Cache *c, unsigned n)
{
    return c->max - c->n_full >= n + c->max / 4;
}

/* --- writing back --- */

typedef struct Dirty {
    uint64_t at;
    uint32_t i;
} Dirty;

static int by_position(const void *a, const void *b)
{
    uint64_t x = ((const Dirty *)a)->at, y = ((const Dirty *)b)->at;

    return x < y ? -1 : x > y;
}

/* The run of adjacent entries at @d[0]; how many. */
static unsigned write_run(Qcow2Cache *c, const Dirty *d, unsigned n, int *rc)
{
    struct iovec iov[RUN_MAX];
    unsigned len = 0;

    while (len < n && len < RUN_MAX && d[len].at == d[0].at + (uint64_t)len * c->size) {
        iov[len] = (struct iovec){c->e[d[len].i].data, c->size};
        len++;
    }
    node_event(c->file, c->update);
    *rc = node_io(c->file, BLOCK_WRITE, d[0].at, iov, (int)len, (uint64_t)len * c->size, 0);
    for (unsigned k = 0; k < len && !*rc; k++) {
        c->e[d[k].i].dirty = false;
        c->n_dirty--;
    }
    return len;
}

int cache_write(Qcow2Cache *c)
{
    unsigned n = 0;
    Dirty *d;
    int rc = 0;

    if (!c->n_dirty)
        return 0;
    d = xnew_n(Dirty, c->n_dirty);
    for (uint32_t i = 0; i < c->n; i++)
        if (c->e[i].dirty)
            d[n++] = (Dirty){c->e[i].at, i};
    qsort(d, n, sizeof(*d), by_position);
    for (unsigned k = 0; k < n && !rc;)
        k += write_run(c, d + k, n - k, &rc);
    xfree(d);
    return rc;
}

static void forget_entry(Qcow2Cache *c, uint32_t i)
{
    empty_entry(c, i);
    unlink_use(c, i);
    link_oldest(c, i);
}

void cache_forget(Qcow2Cache *c, uint64_t at, uint64_t size)
{
    if (size / c->size <= c->n) {
        for (uint64_t p = at; p < at + size; p += c->size) {
            uint32_t i = find(c, p);

            if (i != NOBODY)
                forget_entry(c, i);
        }
        return;
    }
    for (uint32_t i = 0; i < c->n; i++)
        if (c->e[i].at != UINT64_MAX && c->e[i].at >= at && c->e[i].at - at < size)
            forget_entry(c, i);
}

void cache_trim(Qcow2Cache *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        CacheEntry *e = &c->e[i];

        if (!e->used && !e->dirty && e->data) {
            if (e->at != UINT64_MAX)
                forget_entry(c, i);
            xfree(e->data);
            e->data = NULL;
        }
        e->used = false;
    }
}
