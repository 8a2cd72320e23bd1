/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_refcount - who uses which host cluster; room for new ones; the order of writing back
 *
 * Invariants (docs/qcow2.md gives the reasons)
 *  1. On disk a count is never below the number of references on disk.  Counts go up in memory
 *     before a reference is made and reach the disk before it; they go down after the loss of a
 *     reference is stable.
 *  2. A cluster is free to be used again only when its count in memory is 0, thus never while an
 *     old reference to it may still be on disk.
 *  3. A new block of counts lies in the range that it counts, or together with others at the start
 *     of an unused area; it is on disk before the reference count table refers to it.
 *  4. What the driver calls fresh was beyond the end of the file when that was opened, and was
 *     never handed out since: it reads as zeroes.
 */
#include <stdlib.h>

#include "base/log.h"
#include "block/qcow2_priv.h"

enum { FREES_MAX = 65536, META_KIND_BITS = 4 };

/* --- numbers of any width --- */

uint64_t refcount_get_raw(const uint8_t *p, unsigned order, uint64_t i)
{
    switch (order) {
    case 0: return p[i / 8] >> i % 8 & 1;
    case 1: return p[i / 4] >> i % 4 * 2 & 3;
    case 2: return p[i / 2] >> i % 2 * 4 & 15;
    case 3: return p[i];
    case 4: return get_be16(p + 2 * i);
    case 5: return get_be32(p + 4 * i);
    default: return get_be64(p + 8 * i);
    }
}

void refcount_set_raw(uint8_t *p, unsigned order, uint64_t i, uint64_t v)
{
    unsigned width = 1u << order, per_byte, shift;

    switch (order) {
    case 3: p[i] = (uint8_t)v; return;
    case 4: put_be16(p + 2 * i, (uint16_t)v); return;
    case 5: put_be32(p + 4 * i, (uint32_t)v); return;
    case 6: put_be64(p + 8 * i, v); return;
    default:
        per_byte = 8 / width;
        shift = (unsigned)(i % per_byte) * width;
        p[i / per_byte] = (uint8_t)bits_set(p[i / per_byte], shift, width, v);
    }
}

/* --- which clusters hold metadata --- */

static uint64_t meta_slot(const MetaSet *m, uint64_t cluster)
{
    uint64_t i = (cluster * 0x9e3779b97f4a7c15ull >> 20) & (m->n_slots - 1);

    while (m->slot[i] && m->slot[i] >> META_KIND_BITS != cluster)
        i = (i + 1) & (m->n_slots - 1);
    return i;
}

static void meta_resize(MetaSet *m)
{
    MetaSet old = *m;

    m->n_slots = old.n_slots ? old.n_slots * 2 : 64;
    m->slot = xnew_n(uint64_t, m->n_slots);
    for (uint64_t i = 0; i < old.n_slots; i++)
        if (old.slot[i])
            m->slot[meta_slot(m, old.slot[i] >> META_KIND_BITS)] = old.slot[i];
    xfree(old.slot);
}

void meta_add(Qcow2 *s, uint64_t at, uint64_t size, MetaKind k)
{
    MetaSet *m = &s->meta;

    for (uint64_t c = cluster_of(s, at), end = c + clusters_for(s, size); c < end; c++) {
        uint64_t i;

        if (m->used >= QCOW2_META_MAX)
            return;
        if (m->used * 2 >= m->n_slots)
            meta_resize(m);
        i = meta_slot(m, c);
        m->used += !m->slot[i];
        m->slot[i] = c << META_KIND_BITS | k;
    }
}

/* Takes one out and moves up those that probed past it. */
static void meta_remove_one(MetaSet *m, uint64_t cluster)
{
    uint64_t i = meta_slot(m, cluster), v;

    if (!m->slot[i])
        return;
    m->slot[i] = 0;
    m->used--;
    while ((v = m->slot[i = (i + 1) & (m->n_slots - 1)])) {
        m->slot[i] = 0;
        m->slot[meta_slot(m, v >> META_KIND_BITS)] = v;
    }
}

void meta_remove(Qcow2 *s, uint64_t at, uint64_t size)
{
    if (s->meta.n_slots)
        for (uint64_t c = cluster_of(s, at), end = c + clusters_for(s, size); c < end; c++)
            meta_remove_one(&s->meta, c);
}

MetaKind meta_find(const Qcow2 *s, uint64_t at, uint64_t size)
{
    const MetaSet *m = &s->meta;

    if (!m->n_slots)
        return META_NONE_;
    for (uint64_t c = cluster_of(s, at), end = cluster_of(s, at + size - 1); c <= end; c++) {
        uint64_t v = m->slot[meta_slot(m, c)];

        if (v)
            return (MetaKind)(v & ((1 << META_KIND_BITS) - 1));
    }
    return META_NONE_;
}

MetaKind meta_overlap(const Qcow2 *s, uint64_t at, uint64_t size)
{
    MetaKind k = s->overlap_mask ? meta_find(s, at, size) : META_NONE_;

    return s->overlap_mask & BIT(k) ? k : META_NONE_;
}

const char *meta_name(MetaKind k)
{
    static const char *const names[] = {[META_NONE_] = "nothing",
                                        [META_HEADER] = "qcow2_header",
                                        [META_ACTIVE_L1] = "active L1 table",
                                        [META_ACTIVE_L2] = "active L2 table",
                                        [META_REFBLOCK] = "refcount block",
                                        [META_REFTABLE] = "refcount table",
                                        [META_SNAPSHOTS] = "snapshot table",
                                        [META_INACTIVE_L1] = "inactive L1 table",
                                        [META_BITMAP_DIR] = "bitmap directory",
                                        [META_CRYPT] = "encryption header",
                                        [META_INACTIVE_L2] = "inactive L2 table"};

    return names[k];
}

/* L2 tables of snapshots: to be read, so only if overlap-check asks for it.  They change with
 * the list only. */
static void meta_add_inactive_l2(Qcow2 *s)
{
    uint64_t left = QCOW2_INACTIVE_L1_MAX;

    for (uint32_t i = 0; s->snapshots && i < s->h.n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        uint64_t *l1;

        if (sn->l1_size > left / 8 || !l1_table_read(s, sn->l1_at, sn->l1_size, &l1, NULL))
            continue;
        left -= sn->l1_size * 8ull;
        for (uint32_t k = 0; k < sn->l1_size; k++)
            if (l1[k] & ENTRY_OFFSET)
                meta_add(s, l1[k] & ENTRY_OFFSET, s->cluster_size, META_INACTIVE_L2);
        xfree(l1);
    }
}

void meta_rebuild(Qcow2 *s)
{
    xfree(s->meta.slot);
    s->meta = (MetaSet){0};
    if (s->overlap_mask & BIT(META_INACTIVE_L2))
        meta_add_inactive_l2(s);
    for (uint32_t i = 0; i < s->rt_entries; i++)
        if (s->rt[i])
            meta_add(s, s->rt[i], s->cluster_size, META_REFBLOCK);
    for (uint32_t i = 0; i < s->h.l1_size; i++)
        if (s->l1[i] & ENTRY_OFFSET)
            meta_add(s, s->l1[i] & ENTRY_OFFSET, s->cluster_size, META_ACTIVE_L2);
    for (uint32_t i = 0; s->snapshots && i < s->h.n_snapshots; i++)
        if (s->snapshots[i].l1_size <= QCOW2_L1_MAX / 8)
            meta_add(s, s->snapshots[i].l1_at, s->snapshots[i].l1_size * 8ull, META_INACTIVE_L1);
    if (s->h.n_snapshots)
        meta_add(s, s->h.snapshots_at, 1, META_SNAPSHOTS);
    if (s->h.autoclear & AUTOCLEAR_BITMAPS)
        meta_add(s, s->h.bitmap_dir_at, s->h.bitmap_dir_size, META_BITMAP_DIR);
    if (s->h.crypt_at)
        meta_add(s, s->h.crypt_at, s->h.crypt_size, META_CRYPT);
    meta_add(s, s->h.l1_at, s->h.l1_size * 8ull, META_ACTIVE_L1);
    meta_add(s, s->h.rt_at, (uint64_t)s->h.rt_clusters << s->cluster_bits, META_REFTABLE);
    meta_add(s, 0, s->cluster_size, META_HEADER);
}

/* --- finding counts --- */

/* The cached part of a block that counts @cluster.  *p NULL: there is no block. */
static int slice_of(Qcow2 *s, uint64_t cluster, bool may_block, uint8_t **p, uint64_t *slice_at)
{
    uint64_t i = cluster >> s->rb_bits, rb, within = cluster & (BIT(s->rb_bits) - 1);
    unsigned slice = (unsigned)(within >> s->rb_slice_bits);
    unsigned left = s->cluster_size / s->rb_slice_bytes - slice;

    *p = NULL;
    if (i >= s->rt_entries || !s->rt[i])
        return 0;
    rb = s->rt[i];
    if (!is_aligned(s, rb) || rb > (uint64_t)INT64_MAX - s->cluster_size)
        return qcow2_corrupt(
            s, may_block, "Refblock offset %#" PRIx64 " unaligned (reftable index: %#" PRIx64 ")",
            rb, i);
    *slice_at = rb + (uint64_t)slice * s->rb_slice_bytes;
    if (may_block)
        qcow2_event(s, EVENT_REFBLOCK_LOAD);
    if (may_block && left > 1 && !cache_peek(s->rb, *slice_at))
        cache_prefetch(s->rb, *slice_at, MIN(left, 16u));
    return cache_get(s->rb, *slice_at, may_block, p);
}

static uint64_t index_in_slice(const Qcow2 *s, uint64_t cluster)
{
    return cluster & (BIT(s->rb_slice_bits) - 1);
}

int refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *out)
{
    uint8_t *p;
    uint64_t slice_at;
    int rc = slice_of(s, cluster, true, &p, &slice_at);

    *out = rc || !p ? 0 : refcount_get_raw(p, s->h.refcount_order, index_in_slice(s, cluster));
    return rc;
}

/* What else changes when nobody uses a cluster any more. */
static void cluster_is_free(Qcow2 *s, uint64_t cluster)
{
    uint64_t at = cluster << s->cluster_bits;

    s->free_hint = MIN(s->free_hint, cluster);
    if (meta_find(s, at, 1) == META_ACTIVE_L2)
        cache_forget(s->l2, at, s->cluster_size);
    meta_remove(s, at, s->cluster_size);
    if (s->compressed_at && cluster_of(s, s->compressed_at) == cluster)
        s->compressed_at = 0;
}

static int refcount_add_one(Qcow2 *s, uint64_t cluster, int64_t delta, bool may_block)
{
    unsigned order = s->h.refcount_order;
    uint64_t slice_at, i = index_in_slice(s, cluster), v;
    uint8_t *p;
    int rc;

    if (may_block)
        qcow2_event(s, EVENT_REFBLOCK_ALLOC);
    rc = slice_of(s, cluster, may_block, &p, &slice_at);
    if (rc)
        return rc;
    v = p ? refcount_get_raw(p, order, i) : 0;
    if (!p || (delta < 0 && v < (uint64_t)-delta) ||
        (delta > 0 && v > refcount_max(s) - (uint64_t)delta))
        return -EINVAL;
    v += (uint64_t)delta;
    refcount_set_raw(p, order, i, v);
    cache_dirty(s->rb, slice_at);
    if (!v)
        cluster_is_free(s, cluster);
    qcow2_changed(s);
    return 0;
}

int refcount_add(Qcow2 *s, uint64_t cluster, uint64_t count, int64_t delta)
{
    for (uint64_t i = 0; i < count; i++) {
        int rc = refcount_add_one(s, cluster + i, delta, true);

        if (!rc)
            continue;
        while (i--) /* what was just reached is at worst a leak if it cannot be read again */
            refcount_add_one(s, cluster + i, -delta, true);
        return rc;
    }
    return 0;
}

/* --- new blocks --- */

static void rt_set(Qcow2 *s, uint64_t i, uint64_t at)
{
    s->rt[i] = at;
    s->rt_dirty[i / 64] = 1;
    s->rt_any_dirty = true;
    meta_add(s, at, s->cluster_size, META_REFBLOCK);
    qcow2_changed(s);
}

int check_overlap(Qcow2 *s, uint64_t at, uint64_t size, bool may_block)
{
    MetaKind k = meta_overlap(s, at, size);

    if (k == META_NONE_)
        return 0;
    return qcow2_overlaps(s, at, size, meta_name(k), may_block);
}

static bool take_fresh(Qcow2 *s, uint64_t cluster, uint64_t count)
{
    bool fresh = cluster >= s->fresh_from;

    s->fresh_from = MAX(s->fresh_from, cluster + count);
    return fresh;
}

static int write_zero_clusters(Qcow2 *s, uint64_t at, uint64_t size)
{
    void *buf = try_alloc(size);
    int rc = buf ? node_write(s->n->file, at, buf, size) : -ENOMEM;

    xfree(buf);
    return rc;
}

/* Count the clusters of a range in a block at @rb, which read as zeroes before: once each. */
static int count_in_new_block(Qcow2 *s, uint64_t rb, uint64_t cluster, bool may_block)
{
    uint64_t within = cluster & (BIT(s->rb_bits) - 1);
    uint64_t slice_at = rb + (within >> s->rb_slice_bits) * s->rb_slice_bytes;
    uint8_t *p;
    int rc = cache_get_zero(s->rb, slice_at, may_block, &p);

    if (rc)
        return rc;
    refcount_set_raw(p, s->h.refcount_order, index_in_slice(s, cluster), 1);
    cache_dirty(s->rb, slice_at);
    return 0;
}

/* The range of @cluster has no block yet, so all of it is free: one at @cluster itself. */
static int block_new(Qcow2 *s, uint64_t cluster, bool may_block)
{
    uint64_t at = cluster << s->cluster_bits;
    int rc = check_overlap(s, at, s->cluster_size, may_block);

    qcow2_event(s, EVENT_REFBLOCK_ALLOC);
    qcow2_event(s, EVENT_REFBLOCK_ALLOC_WRITE);
    if (!rc && cluster < s->fresh_from)
        rc = may_block ? write_zero_clusters(s, at, s->cluster_size) : -EAGAIN;
    if (rc)
        return rc;
    cache_forget(s->rb, at, s->cluster_size);
    rc = count_in_new_block(s, at, cluster, may_block);
    if (rc)
        return rc;
    take_fresh(s, cluster, 1);
    rt_set(s, cluster >> s->rb_bits, at);
    return 0;
}

/* --- a longer table --- */

static int write_table(Qcow2 *s, uint64_t at, const uint64_t *table, uint64_t entries)
{
    uint64_t size = ALIGN_UP(entries * 8, (uint64_t)s->cluster_size);
    uint8_t *buf = try_alloc(size);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t i = 0; i < entries && !rc; i++)
        put_be64(buf + i * 8, table[i]);
    if (!rc)
        rc = node_write(s->n->file, at, buf, size);
    xfree(buf);
    return rc;
}

/* An area behind everything that has blocks: its own blocks first, then @want clusters; counted. */
typedef struct Area {
    uint64_t first, n_blocks, want;
} Area;

static Area area_layout(const Qcow2 *s, uint64_t first, uint64_t want)
{
    Area a = {first, 1, want};
    uint64_t need;

    while ((need = (a.n_blocks + want + BIT(s->rb_bits) - 1) >> s->rb_bits) > a.n_blocks)
        a.n_blocks = need;
    return a;
}

static int area_write_blocks(Qcow2 *s, const Area *a)
{
    uint64_t size = a->n_blocks << s->cluster_bits;
    uint8_t *buf = try_alloc(size);
    int rc;

    if (!buf)
        return -ENOMEM;
    for (uint64_t i = 0; i < a->n_blocks + a->want; i++)
        refcount_set_raw(buf, s->h.refcount_order, i, 1);
    cache_forget(s->rb, a->first << s->cluster_bits, size);
    qcow2_event(s, EVENT_REFBLOCK_ALLOC_WRITE_BLOCKS);
    rc = node_write(s->n->file, a->first << s->cluster_bits, buf, size);
    if (!rc)
        s->unstable_file = true;
    xfree(buf);
    return rc;
}

/* Make the reference count table have at least @entries; it moves. */
static int rt_grow(Qcow2 *s, uint64_t entries)
{
    uint64_t per = s->cluster_size / 8;
    Qcow2Header old = s->h;
    uint32_t clusters;
    uint64_t n = MAX(entries, s->rt_entries + s->rt_entries / 2 + 1);
    uint64_t *table;
    uint8_t *dirty;
    Area a;
    int rc = qcow2_writeback(s);

    qcow2_event(s, EVENT_REFTABLE_GROW);
    for (;;) { /* its own blocks need entries as well */
        n = (n + per - 1) / per * per;
        if (n * 8 > QCOW2_REFTABLE_MAX)
            return -EFBIG;
        a = area_layout(s, (uint64_t)s->rt_entries << s->rb_bits, n / per);
        if (s->rt_entries + a.n_blocks <= n)
            break;
        n = s->rt_entries + a.n_blocks;
    }
    clusters = (uint32_t)(n / per);
    if ((a.first + a.n_blocks + clusters) >> (55 - s->cluster_bits))
        return -EFBIG;
    table = try_new_n(uint64_t, n);
    dirty = try_new_n(uint8_t, n / 64 + 1);
    if (!rc && (!table || !dirty))
        rc = -ENOMEM;
    if (!rc) {
        memcpy(table, s->rt, s->rt_entries * 8ull);
        for (uint64_t i = 0; i < a.n_blocks; i++)
            table[s->rt_entries + i] = (a.first + i) << s->cluster_bits;
        rc = area_write_blocks(s, &a);
    }
    qcow2_event(s, EVENT_REFBLOCK_ALLOC_WRITE_TABLE);
    if (!rc)
        rc = write_table(s, (a.first + a.n_blocks) << s->cluster_bits, table, n);
    if (!rc)
        rc = node_flush(s->n->file);
    qcow2_event(s, EVENT_REFBLOCK_ALLOC_SWITCH_TABLE);
    if (!rc) {
        s->h.rt_at = (a.first + a.n_blocks) << s->cluster_bits;
        s->h.rt_clusters = clusters;
        rc = qcow2_header_commit(s, &old);
    }
    if (rc) {
        xfree(table);
        xfree(dirty);
        return rc;
    }
    take_fresh(s, a.first, a.n_blocks + clusters);
    xfree(s->rt);
    xfree(s->rt_dirty);
    s->rt = table;
    s->rt_dirty = dirty;
    s->rt_entries = (uint32_t)n;
    free_later(s, old.rt_at, (uint64_t)old.rt_clusters << s->cluster_bits, FREE_OTHER);
    meta_rebuild(s);
    return 0;
}

/* --- allocation --- */

static uint64_t find_zero(const uint8_t *p, unsigned order, uint64_t from, uint64_t end)
{
    if (order == 4) {
        for (; from < end; from++)
            if (!(p[2 * from] | p[2 * from + 1]))
                return from;
        return end;
    }
    while (from < end && refcount_get_raw(p, order, from))
        from++;
    return from;
}

static uint64_t count_zero(const uint8_t *p, unsigned order, uint64_t from, uint64_t end)
{
    uint64_t i = from;

    while (i < end && !refcount_get_raw(p, order, i))
        i++;
    return i - from;
}

/* The next free clusters from *@c on that lie in one cached part: *@c, *@len.  Makes blocks as
 * needed. */
static int next_free(Qcow2 *s, uint64_t *c, uint64_t max, bool may_block, uint64_t *len)
{
    uint64_t per = BIT(s->rb_slice_bits), slice_at, i;
    uint8_t *p;
    int rc;

    for (;;) {
        if (*c >> s->rb_bits >= s->rt_entries) {
            rc = may_block ? rt_grow(s, (*c >> s->rb_bits) + 1) : -EAGAIN;
            if (rc)
                return rc;
            continue;
        }
        if (!s->rt[*c >> s->rb_bits]) {
            rc = block_new(s, *c, may_block);
            if (rc)
                return rc;
            ++*c;
            continue;
        }
        rc = slice_of(s, *c, may_block, &p, &slice_at);
        if (rc)
            return rc;
        i = find_zero(p, s->h.refcount_order, index_in_slice(s, *c), per);
        *c = ALIGN_DOWN(*c, per) + i;
        if (i == per)
            continue;
        *len = count_zero(p, s->h.refcount_order, i, MIN(per, i + max));
        return 0;
    }
}

/* @want clusters in a row where there are no blocks yet. */
static int alloc_area(Qcow2 *s, uint64_t want, uint64_t *cluster)
{
    uint64_t used = s->rt_entries;
    Area a;
    int rc;

    while (used && !s->rt[used - 1])
        used--;
    a = area_layout(s, used << s->rb_bits, want);
    if (used + a.n_blocks > s->rt_entries) {
        rc = rt_grow(s, used + a.n_blocks + 1);
        return rc ? rc : alloc_area(s, want, cluster); /* the table itself went there */
    }
    rc = check_overlap(s, a.first << s->cluster_bits, (a.n_blocks + want) << s->cluster_bits, true);
    if (!rc)
        rc = area_write_blocks(s, &a);
    if (rc)
        return rc;
    for (uint64_t i = 0; i < a.n_blocks; i++)
        rt_set(s, used + i, (a.first + i) << s->cluster_bits);
    *cluster = a.first + a.n_blocks;
    return 0;
}

/* All of @want in a row; the clusters before that are left. */
static int find_exact(Qcow2 *s, uint64_t want, uint64_t *out)
{
    uint64_t start = s->free_hint, have = 0;

    while (have < want) {
        uint64_t c = start + have, len;
        int rc;

        if (want >= BIT(s->rb_bits) &&
            (c >> s->rb_bits >= s->rt_entries || !s->rt[c >> s->rb_bits]))
            return -ENOSPC; /* blocks in between: alloc_area() */
        rc = next_free(s, &c, want - have, true, &len);
        if (rc)
            return rc;
        if (c != start + have) {
            start = c;
            have = 0;
        }
        have += len;
    }
    *out = start;
    return 0;
}

static int claim(Qcow2 *s, uint64_t cluster, uint64_t count, bool may_block)
{
    for (uint64_t i = 0; i < count; i++) {
        int rc = refcount_add_one(s, cluster + i, 1, may_block);

        if (rc) {
            while (i--)
                refcount_add_one(s, cluster + i, -1, may_block);
            return rc;
        }
    }
    return 0;
}

int alloc_clusters(Qcow2 *s, uint64_t want, bool exact, bool may_block, uint64_t *at, uint64_t *got,
                   bool *fresh)
{
    uint64_t hint, c, len = want;
    bool counted = false, is_fresh;
    int rc;

    if (exact && !may_block && want > 1)
        return -EAGAIN;
    qcow2_event(s, EVENT_CLUSTER_ALLOC);
    c = s->free_hint;
    if (!exact || want == 1) {
        rc = next_free(s, &c, want, may_block, &len);
        hint = c;
    } else {
        rc = find_exact(s, want, &c);
        hint = UINT64_MAX;
        if (rc == -ENOSPC) {
            rc = alloc_area(s, want, &c);
            counted = !rc;
        }
    }
    if (rc)
        return rc;
    if ((c + len) >> (56 - s->cluster_bits))
        return -EFBIG;
    rc = check_overlap(s, c << s->cluster_bits, len << s->cluster_bits, may_block);
    if (!rc && !counted)
        rc = claim(s, c, len, may_block);
    if (rc)
        return rc;
    if (hint == c)
        s->free_hint = c + len;
    is_fresh = take_fresh(s, c, len);
    if (fresh)
        *fresh = is_fresh;
    if (got)
        *got = len;
    *at = c << s->cluster_bits;
    return 0;
}

int alloc_bytes(Qcow2 *s, uint64_t size, uint64_t *at)
{
    uint64_t from = s->compressed_at,
             left = from ? s->cluster_size - (from & (s->cluster_size - 1)) : 0;
    uint64_t fresh_cluster = 0, count = 0;
    unsigned offset_bits = 62 - (s->cluster_bits - 8);
    int rc;

    assert(size && size <= s->cluster_size);
    qcow2_event(s, EVENT_CLUSTER_ALLOC_BYTES);
    if (from) {
        rc = refcount_get(s, cluster_of(s, from), &count);
        if (rc)
            return rc;
        if (!count || count >= refcount_max(s))
            from = left = 0;
    }
    if (left < size) {
        rc = alloc_clusters(s, 1, true, true, &fresh_cluster, NULL, NULL);
        if (rc)
            return rc;
        if (!from || ALIGN_UP(from, (uint64_t)s->cluster_size) != fresh_cluster)
            from = fresh_cluster;
    }
    if (offset_bits < 56 && from + size > BIT(offset_bits)) {
        rc = -EFBIG;
    } else {
        rc = from != fresh_cluster ? refcount_add(s, cluster_of(s, from), 1, 1) : 0;
    }
    if (rc) {
        if (fresh_cluster)
            free_at_once(s, fresh_cluster, s->cluster_size);
        return rc;
    }
    *at = from;
    from += size;
    s->compressed_at = is_aligned(s, from) ? 0 : from;
    return 0;
}

/* --- freeing --- */

bool frees_have_room(const Qcow2 *s, unsigned n)
{
    return s->n_frees + n <= FREES_MAX;
}

void free_later(Qcow2 *s, uint64_t at, uint64_t size, unsigned why)
{
    uint64_t c = cluster_of(s, at), count = cluster_of(s, at + size - 1) - c + 1;
    Qcow2Free *last = s->n_frees ? &s->frees[s->n_frees - 1] : NULL;

    qcow2_changed(s);
    qcow2_event(s, EVENT_CLUSTER_FREE);
    if (last && last->cluster + last->count == c && last->why == why &&
        count <= UINT32_MAX - last->count) {
        last->count += (uint32_t)count;
        return;
    }
    if (s->n_frees == s->cap_frees) {
        s->cap_frees = s->cap_frees ? s->cap_frees * 2 : 64;
        s->frees = xrealloc(s->frees, s->cap_frees * sizeof(*s->frees));
    }
    s->frees[s->n_frees++] =
        (Qcow2Free){.cluster = c, .count = (uint32_t)count, .why = (uint8_t)why};
}

void free_at_once(Qcow2 *s, uint64_t at, uint64_t size)
{
    uint64_t c = cluster_of(s, at);

    qcow2_event(s, EVENT_CLUSTER_FREE);
    for (uint64_t i = 0; i < clusters_for(s, size); i++)
        if (refcount_add_one(s, c + i, -1, false))
            free_later(s, (c + i) << s->cluster_bits, s->cluster_size, FREE_NEVER_USED);
}

void free_entry(Qcow2 *s, uint64_t entry, unsigned why)
{
    uint64_t at, size = s->cluster_size;

    if (entry & ENTRY_COMPRESSED) {
        at = entry_compressed_at(s, entry, &size);
        free_later(s, ALIGN_DOWN(at, 512ull), size + (at & 511), why);
    } else if (entry & ENTRY_OFFSET && !s->has_data_file) {
        free_later(s, entry & ENTRY_OFFSET, size, why);
    }
}

/* The clusters of [first, end) that are unused now go back to the host in as few pieces as
 * possible. */
static void pass_discards(Qcow2 *s, const Qcow2Free *f, uint64_t first, uint64_t end)
{
    uint64_t run = first;

    if (!s->pass_discard[f->why])
        return;
    for (uint64_t c = first; c <= end; c++) {
        uint64_t count = 1;

        if (c < end && !refcount_get(s, c, &count) && !count)
            continue;
        if (c > run)
            node_discard(s->n->file, run << s->cluster_bits, (c - run) << s->cluster_bits);
        run = c + 1;
    }
}

static int apply_free(Qcow2 *s, Qcow2Free *f)
{
    uint64_t first = f->cluster;
    int rc = 0;

    while (f->count && !rc) {
        rc = refcount_add_one(s, f->cluster, -1, true);
        if (rc == -EINVAL) {
            log_warn("qcow2 image '%s': cluster %#" PRIx64
                     " is freed, but its reference count is 0; check the image",
                     s->n->filename ? s->n->filename : "", f->cluster << s->cluster_bits);
            rc = 0;
        }
        if (!rc) {
            f->cluster++;
            f->count--;
        }
    }
    pass_discards(s, f, first, f->cluster);
    return rc;
}

static int apply_frees(Qcow2 *s)
{
    unsigned done = 0;
    int rc = 0;

    while (done < s->n_frees && !rc) {
        rc = apply_free(s, &s->frees[done]);
        done += !rc;
    }
    s->n_frees -= done;
    memmove(s->frees, s->frees + done, s->n_frees * sizeof(*s->frees));
    return rc;
}

/* --- writing back --- */

int clean_refcounts(void *arg)
{
    Qcow2 *s = arg;

    s->unstable_file = true;
    return cache_write(s->rb);
}

int qcow2_barrier(Qcow2 *s)
{
    BlockNode *n = s->n;
    int rc = 0;

    if (s->unstable_data && n->data != n->file)
        rc = node_flush(n->data);
    if (!rc && (s->unstable_file || (s->unstable_data && n->data == n->file)))
        rc = node_flush(n->file);
    if (!rc)
        s->unstable_data = s->unstable_file = false;
    return rc;
}

/* The changed parts (64 entries each) of a table. */
static int write_dirty_entries(Qcow2 *s, uint64_t at, const uint64_t *table, uint64_t entries,
                               uint8_t *dirty, BlockEvent e)
{
    uint64_t parts = (entries + 63) / 64;

    for (uint64_t i = 0; i < parts; i++) {
        uint8_t buf[512] = {0};
        int rc;

        if (!dirty[i])
            continue;
        for (uint64_t k = 0; k < MIN((uint64_t)64, entries - i * 64); k++)
            put_be64(buf + k * 8, table[i * 64 + k]);
        qcow2_event(s, e);
        rc = node_write(s->n->file, at + i * 512, buf, sizeof(buf));
        if (rc)
            return rc;
        s->unstable_file = true;
        dirty[i] = 0;
    }
    return 0;
}

static int write_refcounts(Qcow2 *s)
{
    int rc;

    rc = cache_is_dirty(s->rb) ? clean_refcounts(s) : 0;
    if (rc || !s->rt_any_dirty)
        return rc;
    rc = qcow2_barrier(s); /* blocks before the table, inv 3 */
    if (!rc)
        rc = write_dirty_entries(s, s->h.rt_at, s->rt, s->rt_entries, s->rt_dirty,
                                 EVENT_REFBLOCK_ALLOC_HOOKUP);
    if (!rc)
        s->rt_any_dirty = false;
    return rc;
}

static int write_mapping(Qcow2 *s)
{
    int rc = 0;

    if (!cache_is_dirty(s->l2) && !s->l1_any_dirty)
        return 0;
    rc = qcow2_barrier(s); /* counts and data before references, inv 1 */
    if (!rc && cache_is_dirty(s->l2)) {
        s->unstable_file = true;
        rc = cache_write(s->l2);
    }
    if (rc || !s->l1_any_dirty)
        return rc;
    rc = qcow2_barrier(s); /* tables before what refers to them */
    if (!rc)
        rc = write_dirty_entries(s, s->h.l1_at, s->l1, s->h.l1_size, s->l1_dirty, EVENT_L1_UPDATE);
    if (!rc)
        s->l1_any_dirty = false;
    return rc;
}

int qcow2_writeback(Qcow2 *s)
{
    int rc = qcow2_may_write(s);

    if (rc)
        return rc == -EPERM ? 0 : rc;
    atomic_store_explicit(&s->n->meta_dirty, false, memory_order_relaxed);
    if (!s->lazy)
        rc = write_refcounts(s);
    if (!rc)
        rc = write_mapping(s);
    if (!rc && s->n_frees) {
        rc = qcow2_barrier(s); /* the loss of references before the counts, inv 1 and 2 */
        if (!rc)
            rc = apply_frees(s);
    }
    if (rc || (s->lazy && (cache_is_dirty(s->rb) || s->rt_any_dirty)))
        qcow2_changed(s);
    return rc;
}
