/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap - dirty bitmaps in memory: block/bitmap.h
 *
 * BlockNode.bitmaps points to a head without name that is made with the first bitmap, holds the
 * lock and stays until the node goes.  Bits beyond the last granule are always 0.
 */
#include "block/bitmap.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"

enum { GRANULARITY_MIN_BITS = 9, GRANULARITY_MAX_BITS = 31 };

struct DirtyBitmap {
    BlockNode *node;
    DirtyBitmap *head, *next;
    char *name;
    unsigned shift; /* log2 of the granularity */
    uint64_t size;  /* bytes of the node */
    uint64_t n_bits, n_dirty;
    uint64_t *word;
    DirtyBitmap *successor;
    bool enabled, busy, persistent, inconsistent, read_only, changed;
    /* the head's */
    Lock lock;
    _Atomic unsigned n_enabled;
};

struct BitmapBackup {
    uint64_t *word, n_bits, n_dirty;
};

static DirtyBitmap *head_of(BlockNode *n)
{
    return __atomic_load_n(&n->bitmaps, __ATOMIC_ACQUIRE);
}

static Lock *lock_of(const DirtyBitmap *b)
{
    return &b->head->lock;
}

static uint64_t words_of(uint64_t n_bits)
{
    return (n_bits + 63) / 64;
}

static uint64_t bits_of(uint64_t size, unsigned shift)
{
    return (size >> shift) + !!(size & (BIT(shift) - 1));
}

/* --- words --- */

/* Bits [first, last] become @on; keeps n_dirty. */
static void set_bits(DirtyBitmap *b, uint64_t first, uint64_t last, bool on)
{
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t mask = ~0ull, old = b->word[w], now;

        if (w == first / 64)
            mask &= ~0ull << first % 64;
        if (w == last / 64)
            mask &= ~0ull >> (63 - last % 64);
        now = on ? old | mask : old & ~mask;
        b->word[w] = now;
        b->n_dirty += (uint64_t)__builtin_popcountll(now);
        b->n_dirty -= (uint64_t)__builtin_popcountll(old);
    }
}

/* The first bit that is @on in [first, end), or end. */
static uint64_t find_bit(const DirtyBitmap *b, uint64_t first, uint64_t end, bool on)
{
    uint64_t flip = on ? 0 : ~0ull, n_words = words_of(end), w = first / 64, v;

    if (first >= end)
        return end;
    v = (b->word[w] ^ flip) & ~0ull << first % 64;
    while (!v && ++w < n_words)
        v = b->word[w] ^ flip;
    return v ? MIN(end, w * 64 + (uint64_t)__builtin_ctzll(v)) : end;
}

static void recount(DirtyBitmap *b)
{
    if (b->n_bits % 64)
        b->word[b->n_bits / 64] &= ~0ull >> (64 - b->n_bits % 64);
    b->n_dirty = 0;
    for (uint64_t i = 0; i < words_of(b->n_bits); i++)
        b->n_dirty += (uint64_t)__builtin_popcountll(b->word[i]);
}

static void set_locked(DirtyBitmap *b, uint64_t at, uint64_t size, bool on)
{
    uint64_t end = size > b->size - MIN(at, b->size) ? b->size : at + size;

    if (at < end)
        set_bits(b, at >> b->shift, (end - 1) >> b->shift, on);
}

/* --- making and finding --- */

uint32_t bitmap_default_granularity(const BlockNode *n)
{
    uint32_t g = n->cluster_size ? n->cluster_size : 65536;

    return MIN(MAX(g, 4096u), 65536u);
}

static DirtyBitmap *make(BlockNode *n, const char *name, uint64_t size, unsigned shift, Error *err)
{
    DirtyBitmap *b = xnew(DirtyBitmap);

    *b = (DirtyBitmap){
        .node = n, .shift = shift, .size = size, .n_bits = bits_of(size, shift), .enabled = true};
    b->word = try_new_n(uint64_t, words_of(b->n_bits) + 1);
    if (!b->word) {
        xfree(b);
        error_set(err, "no memory for a bitmap of %" PRIu64 " bytes with granularity %" PRIu64,
                  size, (uint64_t)BIT(shift));
        return NULL;
    }
    b->name = xstrdup(name);
    return b;
}

static DirtyBitmap *get_head(BlockNode *n)
{
    DirtyBitmap *h = head_of(n);

    if (!h) {
        h = xnew(DirtyBitmap);
        h->node = n;
        h->head = h;
        lock_init(&h->lock, "dirty bitmaps", RANK_QUEUE);
        __atomic_store_n(&n->bitmaps, h, __ATOMIC_RELEASE);
    }
    return h;
}

DirtyBitmap *bitmap_new(BlockNode *n, const char *name, uint32_t granularity, Error *err)
{
    DirtyBitmap *b, *h, **p;

    if (!granularity)
        granularity = bitmap_default_granularity(n);
    if (granularity & (granularity - 1)) {
        error_set(err, "Granularity must be power of 2");
        return NULL;
    }
    if (granularity < 1u << GRANULARITY_MIN_BITS) {
        error_set(err, "Granularity must be at least 512");
        return NULL;
    }
    if (name && strlen(name) > BITMAP_NAME_MAX) {
        error_set(err, "Bitmap name too long: %zu bytes, at most %d", strlen(name),
                  BITMAP_NAME_MAX);
        return NULL;
    }
    if (name && bitmap_find(n, name)) {
        error_set(err, "Bitmap already exists: %s", name);
        return NULL;
    }
    b = make(n, name, n->size, (unsigned)__builtin_ctz(granularity), err);
    if (!b)
        return NULL;
    h = b->head = get_head(n);
    WITH_LOCK (&h->lock) {
        for (p = &h->next; *p; p = &(*p)->next)
            ;
        *p = b;
        h->n_enabled++;
    }
    return b;
}

static void destroy(DirtyBitmap *b)
{
    if (b->successor)
        destroy(b->successor);
    xfree(b->name);
    xfree(b->word);
    xfree(b);
}

/* How many of @b and its successor record. */
static unsigned recorders(const DirtyBitmap *b)
{
    return b->enabled + (b->successor ? b->successor->enabled : 0u);
}

void bitmap_free(DirtyBitmap *b)
{
    if (!b)
        return;
    WITH_LOCK (lock_of(b)) {
        for (DirtyBitmap **p = &b->head->next; *p; p = &(*p)->next)
            if (*p == b) {
                *p = b->next;
                break;
            }
        b->head->n_enabled -= recorders(b);
    }
    destroy(b);
}

void bitmaps_free(BlockNode *n)
{
    DirtyBitmap *h = head_of(n);

    if (!h)
        return;
    while (h->next)
        bitmap_free(h->next);
    n->bitmaps = NULL;
    lock_fini(&h->lock);
    xfree(h);
}

DirtyBitmap *bitmap_next(BlockNode *n, const DirtyBitmap *b)
{
    DirtyBitmap *h = head_of(n);

    return b ? b->next : h ? h->next : NULL;
}

DirtyBitmap *bitmap_find(BlockNode *n, const char *name)
{
    for (DirtyBitmap *b = bitmap_next(n, NULL); b; b = b->next)
        if (b->name && !strcmp(b->name, name))
            return b;
    return NULL;
}

/* --- the request engine --- */

static void mark_one(DirtyBitmap *b, uint64_t at, uint64_t size)
{
    if (!b->enabled)
        return;
    set_locked(b, at, size, true);
    b->changed = true;
}

void bitmaps_mark(BlockNode *n, uint64_t at, uint64_t size)
{
    DirtyBitmap *h = head_of(n);

    if (!h || !h->n_enabled || !size)
        return;
    WITH_LOCK (&h->lock) {
        for (DirtyBitmap *b = h->next; b; b = b->next) {
            mark_one(b, at, size);
            if (b->successor)
                mark_one(b->successor, at, size);
        }
    }
}

static void resize_one(DirtyBitmap *b, uint64_t size)
{
    uint64_t n_bits = bits_of(size, b->shift), old = words_of(b->n_bits), now = words_of(n_bits);

    b->word = xrealloc(b->word, (now + 1) * 8);
    if (now > old)
        memset(b->word + old, 0, (now - old) * 8);
    b->size = size;
    b->n_bits = n_bits;
    b->changed = true;
    recount(b);
}

void bitmaps_resize(BlockNode *n, uint64_t size)
{
    DirtyBitmap *h = head_of(n);

    if (!h)
        return;
    WITH_LOCK (&h->lock) {
        for (DirtyBitmap *b = h->next; b; b = b->next) {
            resize_one(b, size);
            if (b->successor)
                resize_one(b->successor, size);
        }
    }
}

/* --- state --- */

BlockNode *bitmap_node(const DirtyBitmap *b)
{
    return b->node;
}

const char *bitmap_name(const DirtyBitmap *b)
{
    return b->name;
}

uint32_t bitmap_granularity(const DirtyBitmap *b)
{
    return 1u << b->shift;
}

uint64_t bitmap_size(const DirtyBitmap *b)
{
    return b->size;
}

uint64_t bitmap_count(const DirtyBitmap *b)
{
    uint64_t n = 0;

    WITH_LOCK (lock_of(b)) {
        n = b->n_dirty << b->shift;
    }
    return n;
}

#define STATE_GETTER(name, what)                                                                   \
    bool bitmap_is_##name(const DirtyBitmap *b)                                                    \
    {                                                                                              \
        bool on = false;                                                                           \
                                                                                                   \
        WITH_LOCK (lock_of(b)) {                                                                   \
            on = (what);                                                                           \
        }                                                                                          \
        return on;                                                                                 \
    }
STATE_GETTER(enabled, recorders(b))
STATE_GETTER(busy, b->busy || b->successor)
STATE_GETTER(persistent, b->persistent)
STATE_GETTER(inconsistent, b->inconsistent)
STATE_GETTER(read_only, b->read_only)
STATE_GETTER(changed, b->changed)

#define STATE_SETTER(name)                                                                         \
    void bitmap_set_##name(DirtyBitmap *b, bool on)                                                \
    {                                                                                              \
        WITH_LOCK (lock_of(b)) {                                                                   \
            b->name = on;                                                                          \
        }                                                                                          \
    }
STATE_SETTER(busy)
STATE_SETTER(persistent)
STATE_SETTER(read_only)
STATE_SETTER(changed)

static void enable_locked(DirtyBitmap *b, bool on)
{
    if (b->enabled != on) {
        b->enabled = on;
        b->changed = true;
        b->head->n_enabled += on ? 1u : -1u;
    }
}

void bitmap_enable(DirtyBitmap *b, bool on)
{
    WITH_LOCK (lock_of(b)) {
        enable_locked(b->successor ? b->successor : b, on);
    }
}

void bitmap_set_inconsistent(DirtyBitmap *b)
{
    WITH_LOCK (lock_of(b)) {
        enable_locked(b, false);
        b->inconsistent = true;
    }
}

bool bitmap_check(const DirtyBitmap *b, unsigned flags, Error *err)
{
    if (flags & BITMAP_BUSY && bitmap_is_busy(b))
        return error_set(err,
                         "Bitmap '%s' is currently in use by another operation and cannot be used",
                         b->name);
    if (flags & BITMAP_READ_ONLY && bitmap_is_read_only(b))
        return error_set(err, "Bitmap '%s' is readonly and cannot be modified", b->name);
    if (flags & BITMAP_INCONSISTENT && bitmap_is_inconsistent(b))
        return error_set(err,
                         "Bitmap '%s' is inconsistent and cannot be used; "
                         "try block-dirty-bitmap-remove to delete it",
                         b->name);
    return true;
}

json_t *bitmap_info(const DirtyBitmap *b)
{
    json_t *j = json_object();

    if (b->name)
        json_object_set_new(j, "name", json_string(b->name));
    json_object_set_new(j, "recording", json_boolean(bitmap_is_enabled(b)));
    json_object_set_new(j, "persistent", json_boolean(bitmap_is_persistent(b)));
    if (bitmap_is_inconsistent(b))
        json_object_set_new(j, "inconsistent", json_true());
    json_object_set_new(j, "busy", json_boolean(bitmap_is_busy(b)));
    json_object_set_new(j, "granularity", json_integer(bitmap_granularity(b)));
    json_object_set_new(j, "count", json_integer((json_int_t)bitmap_count(b)));
    return j;
}

json_t *bitmaps_info(BlockNode *n)
{
    json_t *list = NULL;

    for (DirtyBitmap *b = bitmap_next(n, NULL); b; b = b->next)
        if (b->name) {
            if (!list)
                list = json_array();
            json_array_append_new(list, bitmap_info(b));
        }
    return list;
}

/* --- bits --- */

bool bitmap_get(const DirtyBitmap *b, uint64_t at)
{
    uint64_t i = at >> b->shift;
    bool on = false;

    WITH_LOCK (lock_of(b)) {
        on = i < b->n_bits && b->word[i / 64] >> i % 64 & 1;
    }
    return on;
}

void bitmap_set(DirtyBitmap *b, uint64_t at, uint64_t size)
{
    WITH_LOCK (lock_of(b)) {
        set_locked(b, at, size, true);
        b->changed = true;
    }
}

void bitmap_reset(DirtyBitmap *b, uint64_t at, uint64_t size)
{
    assert(!(at & (BIT(b->shift) - 1)));
    WITH_LOCK (lock_of(b)) {
        assert(!(size & (BIT(b->shift) - 1)) || at + size >= b->size);
        set_locked(b, at, size, false);
        b->changed = true;
    }
}

static bool next_locked(const DirtyBitmap *b, uint64_t at, uint64_t end, bool on, uint64_t *out)
{
    uint64_t last, i;

    end = MIN(end, b->size);
    if (at >= end)
        return false;
    last = bits_of(end, b->shift);
    i = find_bit(b, at >> b->shift, last, on);
    if (i >= last)
        return false;
    *out = MAX(at, i << b->shift);
    return true;
}

bool bitmap_next_dirty(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t *out)
{
    bool found = false;

    WITH_LOCK (lock_of(b)) {
        found = next_locked(b, at, end, true, out);
    }
    return found;
}

bool bitmap_next_clean(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t *out)
{
    bool found = false;

    WITH_LOCK (lock_of(b)) {
        found = next_locked(b, at, end, false, out);
    }
    return found;
}

static bool area_locked(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t max,
                        uint64_t *out_at, uint64_t *out_size)
{
    uint64_t stop;

    end = MIN(end, b->size);
    if (!next_locked(b, at, end, true, out_at))
        return false;
    if (max < end - *out_at)
        end = *out_at + max;
    if (!next_locked(b, *out_at, end, false, &stop))
        stop = end;
    *out_size = stop - *out_at;
    return true;
}

bool bitmap_next_area(const DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t max,
                      uint64_t *out_at, uint64_t *out_size)
{
    bool found = false;

    WITH_LOCK (lock_of(b)) {
        found = area_locked(b, at, end, max, out_at, out_size);
    }
    return found;
}

bool bitmap_take_area(DirtyBitmap *b, uint64_t at, uint64_t end, uint64_t max, uint64_t *out_at,
                      uint64_t *out_size)
{
    bool found = false;

    WITH_LOCK (lock_of(b)) {
        found = area_locked(b, at, end, max, out_at, out_size);
        if (found)
            set_locked(b, *out_at, *out_size, false);
    }
    return found;
}

static BitmapBackup *backup_take(DirtyBitmap *b)
{
    BitmapBackup *k = xnew(BitmapBackup);

    *k = (BitmapBackup){b->word, b->n_bits, b->n_dirty};
    b->word = xnew_n(uint64_t, words_of(b->n_bits) + 1);
    b->n_dirty = 0;
    return k;
}

void bitmap_clear(DirtyBitmap *b, BitmapBackup **backup)
{
    WITH_LOCK (lock_of(b)) {
        if (backup)
            *backup = backup_take(b);
        else if (b->n_bits)
            memset(b->word, 0, words_of(b->n_bits) * 8);
        b->n_dirty = 0;
        b->changed = true;
    }
}

void bitmap_restore(DirtyBitmap *b, BitmapBackup *backup)
{
    WITH_LOCK (lock_of(b)) {
        assert(backup->n_bits == b->n_bits);
        xfree(b->word);
        b->word = backup->word;
        b->n_dirty = backup->n_dirty;
        b->changed = true;
    }
    xfree(backup);
}

void bitmap_backup_free(BitmapBackup *backup)
{
    if (backup)
        xfree(backup->word);
    xfree(backup);
}

/* The caller holds both locks, or one that is both.  Sizes agree. */
static void merge_bits(DirtyBitmap *to, const DirtyBitmap *from)
{
    uint64_t at = 0, size;

    to->changed = true;
    if (to->shift == from->shift) {
        for (uint64_t i = 0; i < words_of(to->n_bits); i++)
            to->word[i] |= from->word[i];
        recount(to);
        return;
    }
    for (; area_locked(from, at, UINT64_MAX, UINT64_MAX, &at, &size); at += size)
        set_locked(to, at, size, true);
}

/* A private copy, so that two nodes' locks are never held together. */
static DirtyBitmap *copy_of(const DirtyBitmap *b)
{
    DirtyBitmap *c = xnew(DirtyBitmap);

    WITH_LOCK (lock_of(b)) {
        uint64_t size = (words_of(b->n_bits) + 1) * 8;

        *c = (DirtyBitmap){.shift = b->shift, .size = b->size, .n_bits = b->n_bits};
        c->word = memcpy(xalloc(size), b->word, size);
    }
    return c;
}

bool bitmap_merge(DirtyBitmap *to, const DirtyBitmap *from, BitmapBackup **backup, Error *err)
{
    DirtyBitmap *c;

    if (!bitmap_check(to, BITMAP_DEFAULT, err) || !bitmap_check(from, BITMAP_ALLOW_RO, err))
        return false;
    if (to->size != from->size)
        return error_set(err,
                         "Bitmaps are of different sizes (destination size is %" PRIu64
                         " and source size is %" PRIu64 ") and can't be merged",
                         to->size, from->size);
    c = copy_of(from);
    WITH_LOCK (lock_of(to)) {
        if (backup) {
            *backup = backup_take(to);
            memcpy(to->word, (*backup)->word, words_of(to->n_bits) * 8);
            to->n_dirty = (*backup)->n_dirty;
        }
        merge_bits(to, c);
    }
    destroy(c);
    return true;
}

/* --- successors --- */

bool bitmap_create_successor(DirtyBitmap *b, Error *err)
{
    DirtyBitmap *s;

    if (!bitmap_check(b, BITMAP_BUSY, err))
        return false;
    s = make(b->node, NULL, b->size, b->shift, err);
    if (!s)
        return false;
    s->head = b->head;
    WITH_LOCK (lock_of(b)) {
        s->enabled = b->enabled; /* the number of recorders stays */
        b->enabled = false;
        b->successor = s;
    }
    return true;
}

/* @keep: what @b holds stays as well. */
static void end_successor(DirtyBitmap *b, bool keep)
{
    DirtyBitmap *s;

    WITH_LOCK (lock_of(b)) {
        s = b->successor;
        b->successor = NULL;
        b->enabled = s->enabled;
        s->enabled = false;
        if (!keep)
            memset(b->word, 0, words_of(b->n_bits) * 8);
        merge_bits(b, s);
    }
    destroy(s);
}

void bitmap_abdicate(DirtyBitmap *b)
{
    end_successor(b, false);
}

void bitmap_reclaim(DirtyBitmap *b)
{
    end_successor(b, true);
}

bool bitmap_has_successor(const DirtyBitmap *b)
{
    return b->successor;
}

/* --- bytes --- */

uint64_t bitmap_bytes(const DirtyBitmap *b)
{
    return (b->n_bits + 7) / 8;
}

void bitmap_save(const DirtyBitmap *b, uint64_t at, void *buf, size_t size)
{
    uint8_t *p = buf;

    assert(at % 8 == 0);
    WITH_LOCK (lock_of(b)) {
        for (size_t i = 0; i < size; i += 8) {
            uint64_t w = (at + i) / 8, v = w < words_of(b->n_bits) ? b->word[w] : 0;
            uint8_t le[8];

            put_le64(le, v);
            memcpy(p + i, le, MIN(size - i, (size_t)8));
        }
    }
}

static void load_word(DirtyBitmap *b, uint64_t w, uint64_t v)
{
    if (w == b->n_bits / 64)
        v &= BIT(b->n_bits % 64) - 1;
    b->n_dirty += (uint64_t)__builtin_popcountll(v);
    b->n_dirty -= (uint64_t)__builtin_popcountll(b->word[w]);
    b->word[w] = v;
}

void bitmap_load(DirtyBitmap *b, uint64_t at, const void *buf, size_t size)
{
    const uint8_t *p = buf;

    assert(at % 8 == 0);
    WITH_LOCK (lock_of(b)) {
        for (size_t i = 0; i < size && (at + i) / 8 < words_of(b->n_bits); i += 8) {
            uint8_t le[8] = {0};

            memcpy(le, p + i, MIN(size - i, (size_t)8));
            load_word(b, (at + i) / 8, get_le64(le));
        }
    }
}
