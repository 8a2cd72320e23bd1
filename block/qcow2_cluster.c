/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_cluster - where guest clusters are: L1 and L2 tables, subclusters
 *
 * Invariants
 *  1. An L2 table is changed only if its L1 entry says COPIED: snapshots never share what changes.
 *  2. Tables in the cache are those of the active L1 table.
 *  3. What link() replaced is freed later (free_later), since it may still be referred to on disk.
 *  4. Between allocate() and link() or cancel() the new clusters are counted, and referred to by
 *     nobody.
 */
#include "block/qcow2_priv.h"

enum { MODE_NEW = 1, MODE_REUSE = 2 };
enum { PRIV_MODE, PRIV_HOST, PRIV_COUNT, PRIV_FIRST, PRIV_WHOLE }; /* Extent.priv */

typedef enum LookKind { LOOK_UNALLOCATED, LOOK_ZERO, LOOK_DATA, LOOK_COMPRESSED } LookKind;

/* One subcluster (or cluster, without them). */
typedef struct Look {
    LookKind kind;
    bool has_host, copied;
    uint64_t host;
    uint64_t entry;
} Look;

typedef struct Slice {
    uint8_t *p;
    uint64_t at;    /* in the file */
    uint64_t first; /* guest offset of its first entry */
} Slice;

/* --- small things --- */

int file_read(BlockNode *file, uint64_t at, void *buf, uint64_t size)
{
    uint64_t end = file->size, has = at >= end ? 0 : MIN(size, end - at);

    memset((uint8_t *)buf + has, 0, size - has);
    return has ? node_read(file, at, buf, has) : 0;
}

uint64_t entry_compressed_at(const Qcow2 *s, uint64_t entry, uint64_t *size)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    uint64_t at = entry & (BIT(x) - 1) & (BIT(56) - 1);

    *size = (bits(entry, x, 62 - x) + 1) * 512 - (at & 511);
    return at;
}

static uint64_t slice_covers(const Qcow2 *s)
{
    return (uint64_t)s->cluster_size << s->slice_bits;
}

static unsigned slice_index(const Qcow2 *s, const Slice *sl, uint64_t at)
{
    return (unsigned)((at - sl->first) >> s->cluster_bits);
}

static uint64_t entry_get(const Qcow2 *s, const Slice *sl, unsigned i)
{
    return get_be64(sl->p + i * s->entry_size);
}

static uint64_t entry_bitmap(const Qcow2 *s, const Slice *sl, unsigned i)
{
    return s->extended ? get_be64(sl->p + i * s->entry_size + 8) : 0;
}

static void entry_set(Qcow2 *s, Slice *sl, unsigned i, uint64_t entry, uint64_t bitmap)
{
    put_be64(sl->p + i * s->entry_size, entry);
    if (s->extended)
        put_be64(sl->p + i * s->entry_size + 8, bitmap);
    cache_dirty(s->l2, sl->at);
    qcow2_changed(s);
}

static uint64_t l1_index(const Qcow2 *s, uint64_t at)
{
    return at >> (s->cluster_bits + s->l2_bits);
}

void l1_set(Qcow2 *s, uint64_t i, uint64_t entry)
{
    s->l1[i] = entry;
    s->l1_dirty[i / 64] = 1;
    s->l1_any_dirty = true;
    qcow2_changed(s);
}

static bool has_backing(const Qcow2 *s)
{
    return s->n->backing || s->n->backing_file;
}

/* --- tables --- */

static int l2_offset(Qcow2 *s, uint64_t i, bool may_block, uint64_t *l2)
{
    *l2 = i < s->h.l1_size ? s->l1[i] & ENTRY_OFFSET : 0;
    if (is_aligned(s, *l2))
        return 0;
    return qcow2_corrupt(s, may_block,
                         "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")", *l2, i);
}

/* The slice for guest offset @at of the table at @l2. */
static int slice_get(Qcow2 *s, uint64_t l2, uint64_t at, bool may_block, Slice *out)
{
    unsigned k = (unsigned)((at & (l2_covers(s) - 1)) / slice_covers(s));
    unsigned left = s->cluster_size / s->slice_bytes - k;

    out->first = ALIGN_DOWN(at, slice_covers(s));
    out->at = l2 + (uint64_t)k * s->slice_bytes;
    if (may_block && left > 1 && (!k || s->last_slice + s->slice_bytes == out->at) &&
        !cache_peek(s->l2, out->at) && s->last_slice != UINT64_MAX)
        cache_prefetch(s->l2, out->at, MIN(left, 16u));
    s->last_slice = out->at;
    return cache_get(s->l2, out->at, may_block, &out->p);
}

/* A table of zeroes.  Its parts go to the cache as far as nobody else needs the room. */
static int l2_new(Qcow2 *s, uint64_t i, bool may_block)
{
    unsigned parts = s->cluster_size / s->slice_bytes;
    uint64_t at;
    uint8_t *p;
    bool fresh;
    int rc = alloc_clusters(s, 1, true, may_block, &at, NULL, &fresh);

    if (rc)
        return rc;
    cache_forget(s->l2, at, s->cluster_size);
    qcow2_event(s, EVENT_L2_ALLOC_WRITE);
    if (!fresh) {
        rc = may_block ? node_zero(s->n->file, at, s->cluster_size, 0) : -EAGAIN;
        s->unstable_file = true;
    }
    if (!rc)
        rc = cache_get_zero(s->l2, at, may_block, &p);
    if (rc) {
        free_at_once(s, at, s->cluster_size);
        return rc;
    }
    cache_dirty(s->l2, at); /* so that the file reaches into the cluster */
    if (cache_has_spare(s->l2, parts))
        for (unsigned k = 1; k < parts; k++)
            if (cache_get_zero(s->l2, at + (uint64_t)k * s->slice_bytes, false, &p))
                break;
    meta_add(s, at, s->cluster_size, META_ACTIVE_L2);
    l1_set(s, i, at | ENTRY_COPIED);
    return 0;
}

/* A copy of a table that a snapshot has too. */
static int l2_copy(Qcow2 *s, uint64_t i, uint64_t old)
{
    uint8_t *buf = try_alloc(s->cluster_size);
    uint64_t at;
    int rc;

    qcow2_event(s, EVENT_L2_ALLOC_COW_READ);
    rc = buf ? file_read(s->n->file, old, buf, s->cluster_size) : -ENOMEM;
    if (!rc)
        rc = alloc_clusters(s, 1, true, true, &at, NULL, NULL);
    if (!rc) {
        cache_forget(s->l2, at, s->cluster_size);
        qcow2_event(s, EVENT_L2_ALLOC_WRITE);
        rc = node_write(s->n->file, at, buf, s->cluster_size);
        s->unstable_file = true;
        if (rc)
            free_at_once(s, at, s->cluster_size);
    }
    xfree(buf);
    if (rc)
        return rc;
    free_later(s, old, s->cluster_size, FREE_OTHER);
    meta_add(s, at, s->cluster_size, META_ACTIVE_L2);
    l1_set(s, i, at | ENTRY_COPIED);
    return 0;
}

static int l2_for_write(Qcow2 *s, uint64_t at, bool may_block, uint64_t *l2)
{
    uint64_t i = l1_index(s, at);
    int rc;

    if (i >= s->h.l1_size) {
        rc = may_block ? l1_grow(s, i + 1, false) : -EAGAIN;
        if (rc)
            return rc;
    }
    rc = l2_offset(s, i, may_block, l2);
    if (rc || (*l2 && s->l1[i] & ENTRY_COPIED))
        return rc;
    if (!*l2)
        rc = l2_new(s, i, may_block);
    else
        rc = may_block ? l2_copy(s, i, *l2) : -EAGAIN;
    *l2 = s->l1[i] & ENTRY_OFFSET;
    return rc;
}

/* What a request that changes the mapping needs first. */
static int change_begin(Qcow2 *s, bool may_block)
{
    int rc = !may_block && qcow2_is_watched(s) ? -EAGAIN : qcow2_may_write(s);

    if (!rc && s->lazy && !s->dirty_marked)
        rc = qcow2_mark_dirty(s, may_block);
    if (!rc && !frees_have_room(s, 1u << s->slice_bits))
        rc = may_block ? qcow2_writeback(s) : -EAGAIN;
    return rc;
}

static int slice_for_write(Qcow2 *s, uint64_t at, bool may_block, Slice *sl)
{
    uint64_t l2;
    int rc = change_begin(s, may_block);

    if (!rc)
        rc = l2_for_write(s, at, may_block, &l2);
    return rc ? rc : slice_get(s, l2, at, may_block, sl);
}

int l1_grow(Qcow2 *s, uint64_t entries, bool exact)
{
    uint64_t old_n = s->h.l1_size, n = exact ? entries : MAX(entries, old_n + old_n / 2 + 1), at;
    Qcow2Header old = s->h;
    uint64_t *l1;
    uint8_t *dirty, *buf;
    int rc;

    if (entries <= old_n)
        return 0;
    if (n > QCOW2_L1_MAX / 8)
        n = entries;
    if (n > QCOW2_L1_MAX / 8)
        return -EFBIG;
    rc = qcow2_writeback(s);
    qcow2_event(s, EVENT_L1_GROW_ALLOC_TABLE);
    if (!rc)
        rc = alloc_clusters(s, clusters_for(s, n * 8), true, true, &at, NULL, NULL);
    if (rc)
        return rc;
    l1 = try_new_n(uint64_t, n);
    dirty = try_new_n(uint8_t, n / 64 + 1);
    buf = try_alloc(ALIGN_UP(n * 8, (uint64_t)s->cluster_size));
    rc = l1 && dirty && buf ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < old_n && !rc; i++)
        put_be64(buf + i * 8, l1[i] = s->l1[i]);
    qcow2_event(s, EVENT_L1_GROW_WRITE_TABLE);
    if (!rc)
        rc = node_write(s->n->file, at, buf, ALIGN_UP(n * 8, (uint64_t)s->cluster_size));
    s->unstable_file = true;
    if (!rc)
        rc = qcow2_writeback(s); /* the counts of the new table */
    if (!rc)
        rc = qcow2_barrier(s);
    qcow2_event(s, EVENT_L1_GROW_ACTIVATE_TABLE);
    if (!rc) {
        s->h.l1_at = at;
        s->h.l1_size = (uint32_t)n;
        rc = qcow2_header_commit(s, &old);
    }
    xfree(buf);
    if (rc) {
        xfree(l1);
        xfree(dirty);
        free_at_once(s, at, n * 8);
        return rc;
    }
    xfree(s->l1);
    xfree(s->l1_dirty);
    s->l1 = l1;
    s->l1_dirty = dirty;
    s->l1_any_dirty = false;
    if (old_n)
        free_later(s, old.l1_at, old_n * 8, FREE_OTHER);
    meta_rebuild(s);
    return 0;
}

/* --- looking --- */

static int look_invalid(Qcow2 *s, const Slice *sl, unsigned i, bool may_block, const char *what)
{
    return qcow2_corrupt(s, may_block,
                         "%s %#" PRIx64 " (L2 offset: %#" PRIx64 ", guest offset: %#" PRIx64 ")",
                         what, entry_get(s, sl, i), sl->at + (uint64_t)i * s->entry_size,
                         sl->first + ((uint64_t)i << s->cluster_bits));
}

static LookKind kind_of(const Qcow2 *s, uint64_t entry, uint64_t bitmap, unsigned sub)
{
    if (entry & ENTRY_COMPRESSED)
        return LOOK_COMPRESSED;
    if (s->extended)
        return bitmap >> sub & 1         ? LOOK_DATA
               : bitmap >> sub >> 32 & 1 ? LOOK_ZERO
                                         : LOOK_UNALLOCATED;
    if (entry & ENTRY_ZERO && s->h.version >= 3)
        return LOOK_ZERO;
    return entry & ENTRY_OFFSET || (s->has_data_file && entry & ENTRY_COPIED) ? LOOK_DATA
                                                                              : LOOK_UNALLOCATED;
}

/* The subcluster at guest offset @at, a multiple of its size. */
static int look(Qcow2 *s, const Slice *sl, uint64_t at, bool may_block, Look *l)
{
    unsigned i = slice_index(s, sl, at), sub;
    uint64_t e = entry_get(s, sl, i), bitmap = entry_bitmap(s, sl, i), host = e & ENTRY_OFFSET;

    sub = s->extended ? (unsigned)(at >> s->sub_bits) % QCOW2_SUBCLUSTERS : 0;
    l->entry = e;
    l->kind = kind_of(s, e, bitmap, sub);
    l->copied = e & ENTRY_COPIED;
    l->has_host = l->kind != LOOK_COMPRESSED && (host || (s->has_data_file && l->copied));
    l->host = host + (at & (s->cluster_size - 1));
    if (l->kind == LOOK_COMPRESSED) {
        l->copied = false;
        return s->has_data_file
                   ? look_invalid(s, sl, i, may_block, "Compressed cluster entry with a data file")
                   : 0;
    }
    if (!l->has_host && l->kind != LOOK_DATA)
        return 0;
    if (s->extended && (bitmap & bitmap >> 32 & SUB_ALL_DATA || !l->has_host))
        return look_invalid(s, sl, i, may_block, "Invalid subcluster bitmap of entry");
    if (!is_aligned(s, host))
        return look_invalid(s, sl, i, may_block, "Cluster allocation offset unaligned in entry");
    if (s->has_data_file && host != ALIGN_DOWN(at, (uint64_t)s->cluster_size))
        return look_invalid(s, sl, i, may_block,
                            "External data file host cluster offset does not match guest cluster "
                            "offset in entry");
    return 0;
}

static bool follows(const Look *a, const Look *b, uint64_t distance)
{
    return a->kind == b->kind && a->has_host == b->has_host && a->copied == b->copied &&
           (!a->has_host || b->host == a->host + distance);
}

/* Guest offset of the first entry from index @i on that is not all zero. */
static uint64_t skip_empty(const Qcow2 *s, const Slice *sl, uint64_t at, uint64_t end)
{
    unsigned i = slice_index(s, sl, at), step = s->entry_size / 8;
    const uint8_t *p = sl->p + i * s->entry_size;
    unsigned n = 1u << s->slice_bits;
    uint64_t w, w2 = 0;

    for (; i < n; i++, p += s->entry_size) {
        __builtin_memcpy(&w, p, 8);
        if (step == 2)
            __builtin_memcpy(&w2, p + 8, 8);
        if (w | w2)
            break;
    }
    return MIN(end, sl->first + ((uint64_t)i << s->cluster_bits));
}

static void describe(Qcow2 *s, const Look *l, uint64_t at, uint64_t end, Extent *out)
{
    uint64_t skip = at & (BIT(s->sub_bits) - 1);

    *out = (Extent){.kind = EXTENT_UNALLOCATED, .at = at, .size = end - at};
    if (l->kind == LOOK_COMPRESSED) {
        uint64_t size;

        out->kind = EXTENT_SPECIAL;
        out->flags = EXTENT_COMPRESSED;
        out->at = ALIGN_DOWN(at, (uint64_t)s->cluster_size);
        out->size = s->cluster_size;
        out->child = s->n->file;
        out->child_at = entry_compressed_at(s, l->entry, &size);
        out->priv[0] = l->entry;
        return;
    }
    if (l->has_host) {
        out->child = s->n->data;
        out->child_at = l->host + skip;
    }
    if (l->kind == LOOK_DATA) {
        out->kind = s->h.crypt_method ? EXTENT_SPECIAL : EXTENT_DATA;
        if (l->copied && !qcow2_may_write(s) &&
            (s->has_data_file || !meta_overlap(s, out->child_at, out->size)))
            out->flags = EXTENT_WRITABLE;
        return;
    }
    out->kind = l->kind == LOOK_ZERO ? EXTENT_ZERO : EXTENT_UNALLOCATED;
    out->flags = l->has_host ? EXTENT_PREALLOCATED : 0;
}

/* Where several L1 entries are empty. */
static uint64_t skip_empty_tables(const Qcow2 *s, uint64_t at, uint64_t end)
{
    uint64_t i = l1_index(s, at) + 1, last = MIN(l1_index(s, end - 1) + 1, (uint64_t)s->h.l1_size);

    if (i > s->h.l1_size)
        return end;
    while (i < last && !(s->l1[i] & ENTRY_OFFSET))
        i++;
    return i >= s->h.l1_size ? end : MIN(end, i * l2_covers(s));
}

int qcow2_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Qcow2 *s = qcow2_of(n);
    uint64_t l2, end = at + size, sub = BIT(s->sub_bits), first = ALIGN_DOWN(at, sub), next;
    Slice sl;
    Look a, b;
    int rc =
        !may_block && qcow2_is_watched(s) ? -EAGAIN : l2_offset(s, l1_index(s, at), may_block, &l2);

    if (rc)
        return rc;
    if (!l2) {
        *out = (Extent){.at = at, .size = skip_empty_tables(s, at, end) - at};
        return 0;
    }
    rc = slice_get(s, l2, at, may_block, &sl);
    if (!rc)
        rc = look(s, &sl, first, may_block, &a);
    if (rc)
        return rc;
    end = MIN(end, sl.first + slice_covers(s));
    next = first + sub;
    if (a.kind == LOOK_UNALLOCATED && !a.entry)
        next = MAX(next, skip_empty(s, &sl, at, end));
    for (; next < end && a.kind != LOOK_COMPRESSED; next += sub) {
        if (look(s, &sl, next, may_block, &b) || !follows(&a, &b, next - first))
            break;
    }
    describe(s, &a, at, MIN(next, end), out);
    return 0;
}

/* --- room for first writes --- */

/* Room is there already: of a preallocated, zeroed or partly used cluster. */
static int reuse_room(Qcow2 *s, const Slice *sl, uint64_t at, uint64_t end, const Look *a,
                      bool may_block, Extent *out)
{
    uint64_t sub = BIT(s->sub_bits), first = ALIGN_DOWN(at, sub), next = first + sub;
    Look b;
    int rc;

    while (next < end && !look(s, sl, next, may_block, &b) && b.has_host && b.copied &&
           b.host == a->host + (next - first))
        next += sub;
    rc = s->has_data_file ? 0 : check_overlap(s, a->host, next - first, may_block);
    if (rc)
        return rc;
    *out = (Extent){.kind = EXTENT_DATA,
                    .at = first,
                    .size = next - first,
                    .child = s->n->data,
                    .child_at = a->host};
    out->priv[PRIV_MODE] = MODE_REUSE;
    return 0;
}

/* With a data file the place is given. */
static void data_file_room(Qcow2 *s, uint64_t at, uint64_t end, Extent *out)
{
    uint64_t sub = BIT(s->sub_bits), first = ALIGN_DOWN(at, sub);

    *out = (Extent){.kind = EXTENT_DATA,
                    .at = first,
                    .size = ALIGN_UP(end, sub) - first,
                    .child = s->n->data,
                    .child_at = first};
    out->priv[PRIV_MODE] = MODE_REUSE;
}

/* Must all of the cluster be copied when one part of it is written elsewhere? */
static bool needs_whole(const Qcow2 *s, const Look *l)
{
    return !s->extended || l->kind == LOOK_COMPRESSED || l->entry & ENTRY_OFFSET;
}

static int new_room(Qcow2 *s, const Slice *sl, uint64_t at, uint64_t end, const Look *a,
                    bool may_block, Extent *out)
{
    uint64_t cs = s->cluster_size, sub = BIT(s->sub_bits), first = ALIGN_DOWN(at, cs), next, host;
    uint64_t count;
    bool whole = needs_whole(s, a), fresh;
    Look b;
    int rc;

    for (next = first + cs; next < end; next += cs)
        if (look(s, sl, next, may_block, &b) || (b.has_host && b.copied) ||
            needs_whole(s, &b) != whole)
            break;
    rc = alloc_clusters(s, (next - first) >> s->cluster_bits, false, may_block, &host, &count,
                        &fresh);
    if (rc)
        return rc;
    next = first + (count << s->cluster_bits);
    *out = (Extent){.kind = EXTENT_DATA, .at = first, .child = s->n->data, .child_at = host};
    if (!whole) {
        out->at = ALIGN_DOWN(at, sub);
        out->child_at = host + (out->at - first);
        next = MIN(next, ALIGN_UP(end, sub));
    }
    out->size = next - out->at;
    out->flags = fresh ? EXTENT_FRESH : 0;
    out->priv[PRIV_MODE] = MODE_NEW;
    out->priv[PRIV_HOST] = host;
    out->priv[PRIV_COUNT] = count;
    out->priv[PRIV_FIRST] = first;
    out->priv[PRIV_WHOLE] = whole;
    return 0;
}

int qcow2_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Qcow2 *s = qcow2_of(n);
    uint64_t end;
    Slice sl;
    Look a;
    int rc = slice_for_write(s, at, may_block, &sl);

    if (!rc)
        rc = look(s, &sl, ALIGN_DOWN(at, BIT(s->sub_bits)), may_block, &a);
    if (rc)
        return rc;
    end = MIN(at + size, sl.first + slice_covers(s));
    if (s->has_data_file)
        data_file_room(s, at, end, out);
    else if (a.has_host && a.copied)
        rc = reuse_room(s, &sl, at, end, &a, may_block, out);
    else
        rc = new_room(s, &sl, at, end, &a, may_block, out);
    if (!rc && s->h.crypt_method) {
        out->kind = EXTENT_SPECIAL;
        out->flags &= ~(uint32_t)EXTENT_FRESH;
    }
    return rc;
}

/* Subclusters of the cluster at @cluster that lie in [at, end). */
static uint64_t sub_mask(const Qcow2 *s, uint64_t cluster, uint64_t at, uint64_t end)
{
    uint64_t from = MAX(at, cluster) - cluster, to = MIN(end, cluster + s->cluster_size) - cluster;
    unsigned first = (unsigned)(from >> s->sub_bits), last = (unsigned)((to - 1) >> s->sub_bits);

    return s->extended ? (BIT(last + 1) - 1) & ~(BIT(first) - 1) : 0;
}

static void link_one(Qcow2 *s, Slice *sl, const Extent *e, uint64_t cluster, bool data)
{
    unsigned i = slice_index(s, sl, cluster);
    uint64_t old = entry_get(s, sl, i), bitmap = entry_bitmap(s, sl, i);
    uint64_t mask = sub_mask(s, cluster, e->at, e->at + e->size), host;

    if (e->priv[PRIV_MODE] == MODE_NEW) {
        host = e->priv[PRIV_HOST] + (cluster - e->priv[PRIV_FIRST]);
        free_entry(s, old, FREE_OTHER);
        if (e->priv[PRIV_WHOLE])
            mask = SUB_ALL_DATA;
    } else {
        host = s->has_data_file ? cluster : old & ENTRY_OFFSET;
    }
    if (data)
        bitmap = (bitmap | mask) & ~(mask << 32);
    entry_set(s, sl, i, host | ENTRY_COPIED, bitmap);
}

static int link_extent(Qcow2 *s, Extent *e, bool may_block, bool data)
{
    uint64_t cs = s->cluster_size, c = ALIGN_DOWN(e->at, cs);
    Slice sl;
    int rc = slice_for_write(s, e->at, may_block, &sl);

    if (rc)
        return rc;
    for (; c < e->at + e->size; c += cs)
        link_one(s, &sl, e, c, data);
    s->unstable_data = true;
    return 0;
}

int qcow2_link(BlockNode *n, Extent *e, bool may_block)
{
    int rc = link_extent(qcow2_of(n), e, may_block, true);

    if (rc && rc != -EAGAIN)
        qcow2_cancel(n, e);
    return rc;
}

void qcow2_cancel(BlockNode *n, Extent *e)
{
    Qcow2 *s = qcow2_of(n);

    if (e->priv[PRIV_MODE] == MODE_NEW)
        free_at_once(s, e->priv[PRIV_HOST], e->priv[PRIV_COUNT] << s->cluster_bits);
    e->priv[PRIV_MODE] = 0;
}

int qcow2_link_compressed(Qcow2 *s, uint64_t at, uint64_t host, uint64_t size)
{
    unsigned x = 62 - (s->cluster_bits - 8), i;
    uint64_t sectors = (host + size - 1) / 512 - host / 512;
    Slice sl;
    int rc = slice_for_write(s, at, true, &sl);

    qcow2_event(s, EVENT_L2_UPDATE_COMPRESSED);
    if (rc)
        return rc;
    i = slice_index(s, &sl, at);
    free_entry(s, entry_get(s, &sl, i), FREE_OTHER);
    entry_set(s, &sl, i, host | sectors << x | ENTRY_COMPRESSED, 0);
    s->unstable_file = true;
    return 0;
}

/* --- zeroes and discards --- */

typedef enum Loss { LOSS_ZERO, LOSS_ZERO_UNMAP, LOSS_DISCARD, LOSS_FULL } Loss;

/* What becomes of an entry; false: nothing. */
static bool loss_of(const Qcow2 *s, uint64_t *entry, uint64_t *bitmap, Loss loss)
{
    uint64_t e = *entry, b = *bitmap;
    bool allocated = e & (ENTRY_OFFSET | ENTRY_COMPRESSED | ENTRY_COPIED);
    bool keep = loss == LOSS_ZERO && !(e & ENTRY_COMPRESSED);
    uint64_t zero = s->extended || s->h.version < 3 ? 0 : ENTRY_ZERO;

    if (loss == LOSS_FULL) {
        *entry = *bitmap = 0;
    } else if (loss == LOSS_DISCARD && !allocated && !has_backing(s)) {
        return false;
    } else {
        *entry = keep ? e | zero : zero;
        *bitmap = s->extended ? SUB_ALL_ZERO : 0;
    }
    return *entry != e || *bitmap != b;
}

static int lose_in_slice(Qcow2 *s, uint64_t at, uint64_t end, Loss loss)
{
    uint64_t cs = s->cluster_size;
    Slice sl;
    int rc = slice_for_write(s, at, true, &sl);

    for (; at < end && !rc; at += cs) {
        unsigned i = slice_index(s, &sl, at);
        uint64_t old = entry_get(s, &sl, i), e = old, bitmap = entry_bitmap(s, &sl, i);

        if (!loss_of(s, &e, &bitmap, loss))
            continue;
        entry_set(s, &sl, i, e, bitmap);
        if ((old ^ e) & (ENTRY_OFFSET | ENTRY_COMPRESSED))
            free_entry(s, old, FREE_REQUEST);
        if (s->has_data_file && old & ENTRY_COPIED && !(e & ENTRY_COPIED) && !s->data_raw &&
            s->pass_discard[FREE_REQUEST])
            node_discard(s->n->data, at,
                         MIN(cs, s->n->data->size - MIN(at, (uint64_t)s->n->data->size)));
    }
    return rc;
}

static int lose(Qcow2 *s, uint64_t at, uint64_t size, Loss loss)
{
    uint64_t end = ALIGN_UP(at + size, (uint64_t)s->cluster_size);
    bool empty_is_fine = loss == LOSS_FULL || !has_backing(s);

    while (at < end) {
        uint64_t next = MIN(end, ALIGN_DOWN(at, slice_covers(s)) + slice_covers(s)), l2;
        int rc = l2_offset(s, l1_index(s, at), true, &l2);

        if (rc)
            return rc;
        if (!l2 && empty_is_fine)
            next = skip_empty_tables(s, at, end);
        else
            rc = lose_in_slice(s, at, next, loss);
        if (rc)
            return rc;
        at = next;
    }
    return 0;
}

int qcow2_drop(Qcow2 *s, uint64_t at, uint64_t size, bool full)
{
    return lose(s, at, size, full ? LOSS_FULL : LOSS_DISCARD);
}

int qcow2_zero(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags)
{
    Qcow2 *s = qcow2_of(n);
    int rc = qcow2_may_write(s);

    if (rc)
        return rc;
    if (s->h.version < 3)
        return has_backing(s) ? -ENOTSUP : lose(s, at, size, LOSS_DISCARD);
    if (s->data_raw)
        rc = node_zero(n->data, at, size, flags & BLOCK_MAY_UNMAP);
    return rc ? rc : lose(s, at, size, flags & BLOCK_MAY_UNMAP ? LOSS_ZERO_UNMAP : LOSS_ZERO);
}

int qcow2_discard(BlockNode *n, uint64_t at, uint64_t size)
{
    Qcow2 *s = qcow2_of(n);
    int rc = qcow2_may_write(s);

    if (rc)
        return rc;
    if (s->h.version < 3 && has_backing(s))
        return -ENOTSUP; /* the backing file would show */
    if (s->data_raw)
        return qcow2_zero(n, at, size, BLOCK_MAY_UNMAP);
    return lose(s, at, size, LOSS_DISCARD);
}

/* --- the driver's own reading and writing --- */

int qcow2_pread(Qcow2 *s, uint64_t at, void *buf, uint64_t size)
{
    uint8_t *p = buf;

    while (size) {
        Extent e;
        int rc = qcow2_map(s->n, at, size, true, &e);
        uint64_t len;

        if (rc)
            return rc;
        len = MIN(e.at + e.size - at, size);
        if (e.kind == EXTENT_DATA)
            qcow2_event(s, EVENT_READ_AIO);
        if (e.kind == EXTENT_SPECIAL)
            rc = qcow2_read(s->n, &e, at, p, len);
        else if (e.kind == EXTENT_DATA)
            rc = file_read(e.child, e.child_at + (at - e.at), p, len);
        else if (e.kind == EXTENT_UNALLOCATED && s->n->backing && at < s->n->backing->size)
            rc = node_read(s->n->backing, at, p, len = MIN(len, s->n->backing->size - at));
        else
            memset(p, 0, len);
        if (rc)
            return rc;
        p += len;
        at += len;
        size -= len;
    }
    return 0;
}

/* One extent: old contents around what is written. */
static int write_room(Qcow2 *s, Extent *e, uint64_t at, const void *data, uint64_t size)
{
    uint64_t first = MIN(e->at, at), end = MAX(e->at + e->size, at + size);
    uint8_t *buf = try_alloc(end - first);
    int rc = buf ? 0 : -ENOMEM;

    if (e->size > size)
        qcow2_event(s, EVENT_COW_READ);
    if (!rc)
        rc = qcow2_pread(s, first, buf, at - first);
    if (!rc)
        rc = qcow2_pread(s, at + size, buf + (at + size - first), end - (at + size));
    if (!rc) {
        memcpy(buf + (at - first), data, size);
        rc = s->h.crypt_method ? qcow2_encode(s->n, e, first, buf, end - first) : 0;
    }
    qcow2_event(s, EVENT_WRITE_AIO);
    if (!rc)
        rc = node_write(e->child, e->child_at + (first - e->at), buf, end - first);
    xfree(buf);
    return rc;
}

int qcow2_pwrite(Qcow2 *s, uint64_t at, const void *buf, uint64_t size)
{
    const uint8_t *p = buf;

    while (size) {
        Extent e;
        uint64_t len = MIN(size, (uint64_t)MIB);
        int rc = qcow2_allocate(s->n, at, len, true, &e);

        if (rc)
            return rc;
        len = MIN(len, e.at + e.size - at);
        rc = write_room(s, &e, at, p, len);
        if (!rc)
            rc = qcow2_link(s->n, &e, true);
        else
            qcow2_cancel(s->n, &e);
        if (rc)
            return rc;
        p += len;
        at += len;
        size -= len;
    }
    return 0;
}

/* --- preallocation --- */

/* How far the file reaches if all of @size gets clusters now. */
static uint64_t preallocated_end(const Qcow2 *s, uint64_t size)
{
    uint64_t data = s->has_data_file ? 0 : clusters_for(s, size);
    uint64_t all = data + l1_entries_for(s, size);

    all += (all >> s->rb_bits) + 2;
    return (s->fresh_from + all) << s->cluster_bits;
}

/* New clusters must read as zeroes.  Beyond @used a data file does; a raw one is as it is. */
static int preallocate_zero(Qcow2 *s, const Extent *e, uint64_t used, uint32_t flags)
{
    uint64_t end = e->child_at + e->size;

    if (s->extended || s->h.crypt_method || s->data_raw || e->flags & EXTENT_FRESH)
        return 0;
    if (s->has_data_file)
        end = MIN(end, used);
    return end > e->child_at ? node_zero(e->child, e->child_at, end - e->child_at, flags) : 0;
}

static int preallocate_extent(Qcow2 *s, uint64_t at, uint64_t size, uint64_t used, uint32_t flags,
                              uint64_t *done)
{
    Extent e;
    int rc = qcow2_map(s->n, at, size, true, &e);

    if (rc)
        return rc;
    *done = e.at + e.size - at;
    if (e.kind != EXTENT_UNALLOCATED || e.flags & EXTENT_PREALLOCATED)
        return 0;
    rc = qcow2_allocate(s->n, at, *done, true, &e);
    if (rc)
        return rc;
    *done = MIN(*done, e.at + e.size - at);
    rc = preallocate_zero(s, &e, used, flags);
    if (!rc)
        rc = link_extent(s, &e, true, !s->extended);
    if (rc)
        qcow2_cancel(s->n, &e);
    return rc;
}

bool qcow2_preallocate(Qcow2 *s, uint64_t at, uint64_t size, Preallocation p, Error *err)
{
    Preallocation host = p == PREALLOC_METADATA ? PREALLOC_OFF : p;
    uint64_t end = at + size, used = s->n->data->size, done;
    uint32_t flags = p == PREALLOC_METADATA && s->has_data_file ? BLOCK_MAY_UNMAP : 0;
    int rc = 0;

    at = ALIGN_DOWN(at, (uint64_t)s->cluster_size);
    if (s->has_data_file && end > s->n->data->size &&
        !node_truncate(s->n->data, end, host, false, err))
        return error_prefix(err, "Could not preallocate the data file: ");
    if (!s->has_data_file && preallocated_end(s, end - at) > s->n->file->size &&
        !node_truncate(s->n->file, preallocated_end(s, end - at), host, false, err))
        return error_prefix(err, "Could not preallocate: ");
    for (; at < end && !rc; at += done)
        rc = preallocate_extent(s, at, end - at, used, flags, &done);
    return !rc || error_set_errno(err, -rc, "Could not preallocate metadata");
}
