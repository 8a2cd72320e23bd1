/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_check - do the reference counts say what is referred to?  Repair, and other count widths
 *
 * All references are counted anew: first how often each L2 table is referred to (by the active L1
 * table and by those of snapshots), then each table is read once and what is in it counted that
 * often, so that neither many snapshots nor tables that overlap take more than one pass.  Repair in
 * place where blocks exist; else the whole structure is written anew behind everything else, and
 * the header switched.
 */
#include <stdio.h>

#include "block/qcow2_priv.h"

enum { CHUNK_BITS = 16, RUN_CLUSTERS = 64 };
#define SNAPSHOT_L1_BYTES_MAX (16 * GIB) /* read in one check */

typedef struct TableRef {
    uint64_t at;
    uint32_t count;
    bool active, all_copied; /* all_copied: every standard entry says so */
} TableRef;

typedef struct Check {
    Qcow2 *s;
    CheckReport *rep;
    unsigned fix;
    uint32_t **chunk; /* counts of 1 << CHUNK_BITS clusters each; NULL: zeroes */
    uint64_t n_chunks, highest, highest_counted; /* clusters: referred to; with a count on disk */
    uint64_t file_size;
    TableRef *table;
    uint32_t n_tables, cap_tables;
    uint32_t *slot; /* of a hash: index + 1 */
    uint64_t n_slots;
    uint64_t next_at; /* where a contiguous guest cluster would be */
    uint64_t l1_bytes;
    bool rebuild, shared; /* shared: some cluster is referred to more than once */
    bool uncounted;       /* something in use counts as free: to repair less than all is not safe */
    bool differs;         /* some count in the image is not what it should be */
} Check;

static void say(Check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(Check *c, const char *fmt, ...)
{
    char line[256];
    va_list ap;

    if (c->rep->quiet || !c->rep->say)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    c->rep->say(c->rep->arg, line);
}

#define corrupt(c, ...)                                                                            \
    do {                                                                                           \
        say(c, "ERROR " __VA_ARGS__);                                                              \
        (c)->rep->corruptions++;                                                                   \
    } while (0)

/* --- counts --- */

static uint32_t count_get(const Check *c, uint64_t cluster)
{
    uint64_t k = cluster >> CHUNK_BITS;

    return k < c->n_chunks && c->chunk[k] ? c->chunk[k][cluster & ((1 << CHUNK_BITS) - 1)] : 0;
}

static void count_add(Check *c, uint64_t cluster, uint32_t n)
{
    uint64_t k = cluster >> CHUNK_BITS;
    uint32_t *p;

    if (!c->chunk[k] && !(c->chunk[k] = try_new_n(uint32_t, 1 << CHUNK_BITS))) {
        c->rep->check_errors++;
        return;
    }
    p = &c->chunk[k][cluster & ((1 << CHUNK_BITS) - 1)];
    *p = *p > UINT32_MAX - n ? UINT32_MAX : *p + n;
    c->shared |= *p > 1;
    c->highest = MAX(c->highest, cluster);
}

/* The clusters of [at, at+size) are referred to @n times more. */
static void count_range(Check *c, uint64_t at, uint64_t size, uint32_t n, const char *what)
{
    Qcow2 *s = c->s;
    uint64_t first = cluster_of(s, at), last;

    if (!size)
        return;
    if (at > INT64_MAX - size || at + size > c->file_size + s->cluster_size - 1) {
        corrupt(c,
                "%s: counting reference for region exceeding the end of the file by one cluster or "
                "more: offset %#" PRIx64 " size %#" PRIx64,
                what, at, size);
        return;
    }
    last = cluster_of(s, at + size - 1);
    for (uint64_t i = first; i <= last; i++)
        count_add(c, i, n);
}

/* --- tables that are referred to --- */

static uint64_t table_slot(const Check *c, uint64_t at)
{
    uint64_t i = (at * 0x9e3779b97f4a7c15ull >> 24) & (c->n_slots - 1);

    while (c->slot[i] && c->table[c->slot[i] - 1].at != at)
        i = (i + 1) & (c->n_slots - 1);
    return i;
}

static bool grow_slots(Check *c)
{
    uint64_t n = c->n_slots ? c->n_slots * 2 : 1024;
    uint32_t *slot = try_new_n(uint32_t, n);
    TableRef *table = try_new_n(TableRef, n / 2);

    if (!slot || !table) {
        xfree(slot);
        xfree(table);
        return false;
    }
    if (c->n_tables)
        memcpy(table, c->table, c->n_tables * sizeof(*table));
    xfree(c->table);
    xfree(c->slot);
    c->table = table;
    c->slot = slot;
    c->n_slots = n;
    c->cap_tables = (uint32_t)(n / 2);
    for (uint32_t i = 0; i < c->n_tables; i++)
        c->slot[table_slot(c, table[i].at)] = i + 1;
    return true;
}

static void add_table(Check *c, uint64_t at, bool active)
{
    uint64_t i;

    if (c->n_tables == c->cap_tables && !grow_slots(c)) {
        c->rep->check_errors++;
        return;
    }
    i = table_slot(c, at);
    if (!c->slot[i]) {
        c->table[c->n_tables] = (TableRef){.at = at};
        c->slot[i] = ++c->n_tables;
    }
    c->table[c->slot[i] - 1].count++;
    c->table[c->slot[i] - 1].active |= active;
}

static void count_l1(Check *c, const uint64_t *l1, uint64_t at, uint32_t n, bool active)
{
    const char *what = active ? "active L1 table" : "snapshot's L1 table";

    count_range(c, at, n * 8ull, 1, what);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t l2 = l1[i] & ENTRY_OFFSET;

        if (l1[i] & L1_RESERVED & ~ENTRY_COPIED)
            corrupt(c, "found l1 entry with reserved bits set: %" PRIx64, l1[i]);
        if (!l2)
            continue;
        if (!is_aligned(c->s, l2))
            corrupt(c, "l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted",
                    l2);
        else
            add_table(c, l2, active);
    }
}

/* --- what tables refer to --- */

static void tally(Check *c, uint64_t entry, uint64_t at)
{
    c->rep->allocated_clusters++;
    if (entry & ENTRY_COMPRESSED) {
        c->rep->compressed_clusters++;
        c->rep->fragmented_clusters++; /* always */
        return;
    }
    if (c->next_at && at != c->next_at)
        c->rep->fragmented_clusters++;
    c->next_at = at + c->s->cluster_size;
}

static void count_compressed(Check *c, const TableRef *t, unsigned i, uint64_t e)
{
    uint64_t size, at = entry_compressed_at(c->s, e, &size);

    if (e & ENTRY_COPIED)
        corrupt(c, "coffset=%" PRIx64 ": copied flag must never be set for compressed clusters",
                at);
    if (c->s->has_data_file) {
        corrupt(c, "compressed cluster %u of L2 table %#" PRIx64 ", but the image has a data file",
                i, t->at);
        return;
    }
    count_range(c, ALIGN_DOWN(at, 512ull), size + (at & 511), t->count, "compressed cluster");
    if (t->active)
        tally(c, e, at);
}

static void count_standard(Check *c, const TableRef *t, unsigned i, uint64_t e, uint64_t bitmap)
{
    Qcow2 *s = c->s;
    uint64_t at = e & ENTRY_OFFSET;
    bool allocated = at || (s->has_data_file && e & ENTRY_COPIED);

    if (s->extended &&
        (bitmap & bitmap >> 32 & SUB_ALL_DATA || (!allocated && bitmap & SUB_ALL_DATA)))
        corrupt(c, "L2 table %#" PRIx64 ", entry %u: the subcluster bitmap %#" PRIx64 " is invalid",
                t->at, i, bitmap);
    if (!allocated)
        return;
    if (!is_aligned(s, at)) {
        corrupt(c, "offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry corrupted.", at);
        return;
    }
    if (!s->has_data_file)
        count_range(c, at, s->cluster_size, t->count, "data cluster");
    if (t->active)
        tally(c, e, at);
}

static bool count_table(Check *c, TableRef *t, uint8_t *buf)
{
    Qcow2 *s = c->s;
    int rc = file_read(s->n->file, t->at, buf, s->cluster_size);

    c->next_at = 0;
    t->all_copied = !rc;
    count_range(c, t->at, s->cluster_size, t->count, "L2 table");
    if (rc) {
        say(c, "ERROR: I/O error in check_refcounts_l2 at offset %#" PRIx64, t->at);
        c->rep->check_errors++;
        return false;
    }
    for (unsigned i = 0; i < 1u << s->l2_bits; i++) {
        const uint8_t *p = buf + i * s->entry_size;
        uint64_t e = get_be64(p);

        if (e & ENTRY_COMPRESSED) {
            count_compressed(c, t, i, e);
            continue;
        }
        t->all_copied &= !(e & ENTRY_OFFSET) || e & ENTRY_COPIED;
        if (e || s->extended)
            count_standard(c, t, i, e, s->extended ? get_be64(p + 8) : 0);
    }
    return true;
}

static void count_snapshots(Check *c)
{
    Qcow2 *s = c->s;
    uint64_t size = 0;

    for (uint32_t i = 0; i < s->h.n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        Error err = {0};
        uint64_t *l1;

        size += ALIGN_UP(40ull + 24 + sn->extra_size + strlen(sn->id) + strlen(sn->name), 8ull);
        c->l1_bytes += sn->l1_size * 8ull;
        if (c->l1_bytes > SNAPSHOT_L1_BYTES_MAX ||
            !l1_table_read(s, sn->l1_at, sn->l1_size, &l1, &err)) {
            corrupt(c,
                    "snapshot %s (%s) l1_offset=%#" PRIx64 " l1_size=%#" PRIx32
                    ": L1 table is not usable: %s",
                    sn->id, sn->name, sn->l1_at, sn->l1_size, err.msg);
            continue;
        }
        count_l1(c, l1, sn->l1_at, sn->l1_size, false);
        xfree(l1);
    }
    count_range(c, s->h.snapshots_at, size, 1, "snapshot table");
}

static void count_bitmaps(Check *c)
{
    Qcow2 *s = c->s;
    StoredBitmap *list;
    Error err = {0};
    uint32_t n;

    if (!s->h.n_bitmaps)
        return;
    count_range(c, s->h.bitmap_dir_at, s->h.bitmap_dir_size, 1, "bitmap directory");
    if (!bitmap_dir_read(s, &list, &n, &err)) {
        corrupt(c, "%s", err.msg);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t *t;

        count_range(c, list[i].table_at, list[i].table_size * 8ull, 1, "bitmap table");
        if (!bitmap_table_read(s, &list[i], &t, &err)) {
            corrupt(c, "%s", err.msg);
            continue;
        }
        for (uint32_t k = 0; k < list[i].table_size; k++)
            if (t[k] & ENTRY_OFFSET)
                count_range(c, t[k] & ENTRY_OFFSET, s->cluster_size, 1, "bitmap data");
        xfree(t);
    }
    bitmap_dir_free(list, n);
}

/* Everything but the counts themselves. */
static bool count_all(Check *c, Error *err)
{
    Qcow2 *s = c->s;
    uint8_t *buf = try_alloc(s->cluster_size);

    c->file_size = s->n->file->size;
    c->n_chunks = (clusters_for(s, c->file_size) >> CHUNK_BITS) + 2;
    c->chunk = try_new_n(uint32_t *, c->n_chunks);
    if (!buf || !c->chunk) {
        xfree(buf);
        return error_set(err, "no memory to check an image of %" PRIu64 " bytes", c->file_size);
    }
    c->rep->total_clusters = clusters_for(s, s->h.size);
    count_range(c, 0, s->cluster_size, 1, "header");
    count_l1(c, s->l1, s->h.l1_at, s->h.l1_size, true);
    count_snapshots(c);
    for (uint32_t i = 0; i < c->n_tables; i++)
        count_table(c, &c->table[i], buf);
    if (s->h.crypt_at)
        count_range(c, s->h.crypt_at, s->h.crypt_size, 1, "encryption header");
    count_bitmaps(c);
    xfree(buf);
    return true;
}

static void count_refcount_structure(Check *c)
{
    Qcow2 *s = c->s;

    count_range(c, s->h.rt_at, (uint64_t)s->h.rt_clusters << s->cluster_bits, 1, "refcount table");
    for (uint32_t i = 0; i < s->rt_entries; i++) {
        if (!s->rt[i])
            continue;
        if (!is_aligned(s, s->rt[i])) {
            corrupt(c,
                    "refcount block %" PRIu32
                    " is not cluster aligned; refcount table entry corrupted",
                    i);
            c->rebuild = true;
        } else if (s->rt[i] > c->file_size - MIN(c->file_size, 1u)) {
            corrupt(c, "refcount block %" PRIu32 " is outside image", i);
            c->rebuild = true;
        } else {
            count_range(c, s->rt[i], s->cluster_size, 1, "refcount block");
            if (count_get(c, cluster_of(s, s->rt[i])) != 1) {
                corrupt(c, "refcount block %" PRIu32 " refcount=%" PRIu32, i,
                        count_get(c, cluster_of(s, s->rt[i])));
                c->rebuild = true;
            }
        }
    }
}

/* --- a new structure --- */

typedef struct Rebuild {
    Check *c;
    unsigned order, rb_bits;
    uint64_t blocks_at, n_ranges, rt_at, rt_clusters; /* clusters */
    uint64_t end;                                     /* behind it */
    uint64_t *rt;
} Rebuild;

static bool range_is_used(const Check *c, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count && i <= c->highest; i++) {
        if (i >> CHUNK_BITS >= c->n_chunks)
            return false;
        if (!c->chunk[i >> CHUNK_BITS]) {
            i |= (1 << CHUNK_BITS) - 1;
            continue;
        }
        if (count_get(c, i))
            return true;
    }
    return false;
}

/* Where blocks and table go: behind everything, which they count too. */
static bool rebuild_layout(Rebuild *r, Error *err)
{
    const Qcow2 *s = r->c->s;
    uint64_t per = BIT(r->rb_bits), start = r->c->highest + 1, used = 0;

    r->blocks_at = start;
    r->end = start;
    for (uint64_t k = 0; k * per < start; k++)
        used += range_is_used(r->c, k * per, per) || (k + 1) * per > start;
    for (;;) { /* the last partial range is counted above */
        uint64_t ranges = (r->end + per - 1) / per, old = (start + per - 1) / per;
        uint64_t blocks = used + (ranges > old ? ranges - old : 0);
        uint64_t table = (ranges * 8 + s->cluster_size - 1) >> s->cluster_bits;

        if (start + blocks + table == r->end) {
            r->n_ranges = ranges;
            r->rt_clusters = table;
            r->rt_at = start + blocks;
            break;
        }
        r->end = start + blocks + table;
    }
    if (r->rt_clusters << s->cluster_bits >
        MAX((uint64_t)QCOW2_REFTABLE_MAX, (uint64_t)s->cluster_size))
        return error_set(err, "The new reference count table would be too large");
    r->rt = try_new_n(uint64_t, r->rt_clusters << (s->cluster_bits - 3));
    return r->rt || error_set(err, "no memory for a new reference count table");
}

static uint64_t rebuilt_count(const Rebuild *r, uint64_t cluster)
{
    return cluster >= r->blocks_at && cluster < r->end ? 1 : count_get(r->c, cluster);
}

static int rebuild_blocks(Rebuild *r)
{
    Qcow2 *s = r->c->s;
    uint64_t per = BIT(r->rb_bits), next = r->blocks_at;
    uint8_t *buf = try_alloc(s->cluster_size);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t k = 0; k < r->n_ranges && !rc; k++) {
        if (!range_is_used(r->c, k * per, per) && (k + 1) * per <= r->blocks_at)
            continue;
        memset(buf, 0, s->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < r->end; i++)
            refcount_set_raw(buf, r->order, i, rebuilt_count(r, k * per + i));
        r->rt[k] = next << s->cluster_bits;
        rc = node_write(s->n->file, next++ << s->cluster_bits, buf, s->cluster_size);
    }
    xfree(buf);
    return rc;
}

static int rebuild_table(Rebuild *r)
{
    Qcow2 *s = r->c->s;
    uint64_t size = r->rt_clusters << s->cluster_bits;
    uint8_t *buf = try_alloc(size);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t i = 0; i < size / 8 && !rc; i++)
        put_be64(buf + i * 8, r->rt[i]);
    if (!rc)
        rc = node_write(s->n->file, r->rt_at << s->cluster_bits, buf, size);
    if (!rc)
        rc = node_flush(s->n->file);
    xfree(buf);
    return rc;
}

/* The structure is in force: nothing of the old one is remembered. */
static int rebuild_switch(Rebuild *r)
{
    Qcow2 *s = r->c->s;
    Qcow2Header old = s->h;
    uint32_t entries = (uint32_t)(r->rt_clusters << (s->cluster_bits - 3));
    uint8_t *dirty = try_new_n(uint8_t, entries / 64 + 1);
    int rc;

    if (!dirty)
        return -ENOMEM;
    s->h.rt_at = r->rt_at << s->cluster_bits;
    s->h.rt_clusters = (uint32_t)r->rt_clusters;
    s->h.refcount_order = r->order;
    rc = qcow2_header_commit(s, &old);
    if (rc) {
        xfree(dirty);
        return rc;
    }
    cache_forget(s->rb, 0, UINT64_MAX);
    xfree(s->rt);
    xfree(s->rt_dirty);
    s->rt = r->rt;
    s->rt_dirty = dirty;
    r->rt = NULL;
    s->rt_entries = entries;
    s->rt_any_dirty = false;
    s->rb_bits = r->rb_bits;
    s->rb_slice_bits = (unsigned)__builtin_ctz(s->rb_slice_bytes) + 3 - r->order;
    s->n_frees = 0; /* what waited to be freed is not counted */
    s->free_hint = 0;
    s->compressed_at = 0;
    s->fresh_from = MAX(s->fresh_from, r->end);
    meta_rebuild(s);
    return 0;
}

static bool rebuild(Check *c, unsigned order, Error *err)
{
    Rebuild r = {.c = c, .order = order, .rb_bits = c->s->cluster_bits + 3 - order};
    bool ok = rebuild_layout(&r, err);
    int rc = ok ? rebuild_blocks(&r) : 0;

    if (ok && !rc)
        rc = rebuild_table(&r);
    if (ok && !rc)
        rc = rebuild_switch(&r);
    xfree(r.rt);
    if (ok && !rc)
        c->highest = r.end - 1;
    return ok &&
           (!rc || error_set_errno(err, -rc, "Could not rebuild the reference count structure"));
}

static void check_free(Check *c)
{
    for (uint64_t i = 0; i < c->n_chunks && c->chunk; i++)
        xfree(c->chunk[i]);
    xfree(c->chunk);
    xfree(c->table);
    xfree(c->slot);
    c->chunk = NULL;
    c->table = NULL;
    c->slot = NULL;
    c->n_tables = c->cap_tables = 0;
    c->n_slots = 0;
}

/* Without the old structure, which will be nobody's; what was found to be wrong was told before. */
static bool recount_without_structure(Check *c, Error *err)
{
    CheckReport *told = c->rep, quiet = {.quiet = true};
    bool ok;

    check_free(c);
    c->rep = &quiet;
    ok = count_all(c, err);
    c->rep = told;
    /* the new one goes behind the old one */
    c->highest = MAX(c->highest, clusters_for(c->s, c->file_size));
    c->highest_counted = 0;
    return ok;
}

bool refcounts_rewrite(Qcow2 *s, unsigned order, Error *err)
{
    CheckReport rep = {.quiet = true};
    Check c = {.s = s, .rep = &rep};
    uint64_t max = order == 6 ? INT64_MAX : BIT(1u << order) - 1;
    int rc = qcow2_writeback(s);
    bool ok = !rc ? count_all(&c, err) : error_set_errno(err, -rc, "Could not write back metadata");

    if (ok && rep.corruptions + rep.check_errors)
        ok = error_set(err, "The image has errors; check and repair it first");
    for (uint64_t i = 0; ok && i <= c.highest; i++)
        if (count_get(&c, i) > max)
            ok = error_set(
                err,
                "Cannot decrease refcount entry width to %u bits: Cluster at offset %#" PRIx64
                " has a refcount of %" PRIu32,
                1u << order, i << s->cluster_bits, count_get(&c, i));
    c.highest = MAX(c.highest, clusters_for(s, s->n->file->size));
    ok = ok && rebuild(&c, order, err);
    check_free(&c);
    return ok;
}

/* --- comparing --- */

/* One difference; true: *@now is to be written. */
static bool compare_one(Check *c, uint64_t cluster, uint64_t stored, uint32_t now, bool has_block)
{
    bool leak = stored > now;
    unsigned need = leak ? CHECK_FIX_LEAKS : CHECK_FIX_ERRORS;
    bool fix = c->fix & need && has_block && now <= refcount_max(c->s);

    c->differs |= !fix;
    say(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu32,
        fix    ? "Repairing"
        : leak ? "Leaked"
               : "ERROR",
        cluster, stored, now);
    if (leak)
        fix ? c->rep->leaks_fixed++ : c->rep->leaks++;
    else
        fix ? c->rep->corruptions_fixed++ : c->rep->corruptions++;
    if (!leak && !has_block)
        c->rebuild = true;
    c->uncounted |= !stored;
    return fix;
}

static int compare_block(Check *c, uint64_t k, uint8_t *buf)
{
    Qcow2 *s = c->s;
    uint64_t per = BIT(s->rb_bits), at = k < s->rt_entries ? s->rt[k] : 0;
    bool usable =
        at && is_aligned(s, at) && at < c->file_size && count_get(c, cluster_of(s, at)) == 1;
    bool dirty = false;
    int rc = 0;

    if (usable)
        rc = file_read(s->n->file, at, buf, s->cluster_size);
    else if (range_is_used(c, k * per, per))
        memset(buf, 0, s->cluster_size);
    else
        return 0;
    for (uint64_t i = 0; i < per && !rc; i++) {
        uint64_t stored = refcount_get_raw(buf, s->h.refcount_order, i);
        uint32_t now = count_get(c, k * per + i);

        if (stored)
            c->highest_counted = MAX(c->highest_counted, k * per + i);
        if (stored == now || !compare_one(c, k * per + i, stored, now, usable))
            continue;
        refcount_set_raw(buf, s->h.refcount_order, i, now);
        dirty = true;
    }
    if (!rc && dirty)
        rc = node_write(s->n->file, at, buf, s->cluster_size);
    return rc;
}

static int compare_ranges(Check *c, uint64_t ranges, uint8_t *buf)
{
    int rc = 0;

    for (uint64_t k = 0; k < ranges && !rc; k++)
        rc = compare_block(c, k, buf);
    return rc;
}

static void compare(Check *c)
{
    Qcow2 *s = c->s;
    uint64_t ranges = MAX((uint64_t)s->rt_entries, (c->highest >> s->rb_bits) + 1);
    uint8_t *buf = try_alloc(s->cluster_size);
    CheckReport before = *c->rep;
    unsigned fix = c->fix;
    int rc = buf ? 0 : -ENOMEM;

    c->fix = 0;
    rc = rc ? rc : compare_ranges(c, ranges, buf);
    if (!rc && c->differs && fix) { /* all is named before anything is changed */
        *c->rep = before;
        c->fix = fix;
        c->differs = false;
        rc = compare_ranges(c, ranges, buf);
    }
    c->fix = fix;
    if (rc) {
        say(c, "ERROR: could not read or repair reference counts: %s", strerror(-rc));
        c->rep->check_errors++;
    }
    xfree(buf);
    if (c->rep->leaks_fixed + c->rep->corruptions_fixed)
        cache_forget(s->rb, 0, UINT64_MAX);
}

/* --- COPIED flags of the active tables: by the counts that the image has now --- */

static uint32_t count_stored(Check *c, uint64_t cluster)
{
    uint64_t count = 0;

    if (!c->differs)
        return count_get(c, cluster);
    return refcount_get(c->s, cluster, &count) ? 0 : (uint32_t)count;
}

static void check_copied_table(Check *c, uint64_t at, uint8_t *buf)
{
    Qcow2 *s = c->s;
    bool dirty = false;
    int rc = file_read(s->n->file, at, buf, s->cluster_size);

    for (unsigned i = 0; i < 1u << s->l2_bits && !rc; i++) {
        uint8_t *p = buf + i * s->entry_size;
        uint64_t e = get_be64(p), host = e & ENTRY_OFFSET;
        bool fix = c->fix & CHECK_FIX_ERRORS;
        uint32_t count;

        if (e & ENTRY_COMPRESSED || !host || !is_aligned(s, host))
            continue;
        count = count_stored(c, cluster_of(s, host));
        if ((count == 1) == !!(e & ENTRY_COPIED))
            continue;
        say(c, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu32,
            fix ? "Repairing" : "ERROR", e, count);
        fix ? c->rep->corruptions_fixed++ : c->rep->corruptions++;
        put_be64(p, e ^ ENTRY_COPIED);
        dirty |= fix;
    }
    if (!rc && dirty) {
        rc = node_write(s->n->file, at, buf, s->cluster_size);
        cache_forget(s->l2, at, s->cluster_size);
    }
    if (rc)
        c->rep->check_errors++;
}

/* From the first pass: spares a second one where nothing is shared. */
static bool table_is_copied(const Check *c, uint64_t at)
{
    uint64_t i = table_slot(c, at);

    return c->slot[i] && c->table[c->slot[i] - 1].all_copied;
}

static void check_copied(Check *c)
{
    Qcow2 *s = c->s;
    bool fix = c->fix & CHECK_FIX_ERRORS;
    uint8_t *buf = try_alloc(s->cluster_size);

    for (uint32_t i = 0; i < s->h.l1_size && buf && !s->has_data_file; i++) {
        uint64_t l2 = s->l1[i] & ENTRY_OFFSET;
        uint32_t count;

        if (!l2 || !is_aligned(s, l2))
            continue;
        count = count_stored(c, cluster_of(s, l2));
        if ((count == 1) != !!(s->l1[i] & ENTRY_COPIED)) {
            say(c,
                "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu32 " l1_entry=%" PRIx64
                " refcount=%" PRIu32,
                fix ? "Repairing" : "ERROR", i, s->l1[i], count);
            fix ? c->rep->corruptions_fixed++ : c->rep->corruptions++;
            if (fix)
                l1_set(s, i, s->l1[i] ^ ENTRY_COPIED);
        }
        if (c->shared || c->differs || !table_is_copied(c, l2))
            check_copied_table(c, l2, buf);
    }
    if (!buf)
        c->rep->check_errors++;
    xfree(buf);
}

/* --- all of it --- */

static bool all_is_well(Qcow2 *s, const CheckReport *rep)
{
    return !rep->corruptions && !rep->check_errors &&
           s->h.incompatible & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
}

static bool repair_and_finish(Check *c, Error *err)
{
    Qcow2 *s = c->s;
    Qcow2Header old;
    int rc;

    if (c->uncounted && c->fix && !(c->fix & CHECK_FIX_ERRORS))
        return error_set(err, "need to rebuild refcount structures (-r all does)");
    if (c->rebuild && c->fix & CHECK_FIX_ERRORS) {
        say(c, "Rebuilding refcount structure");
        if (!recount_without_structure(c, err) || !rebuild(c, s->h.refcount_order, err))
            return false;
        c->rep->corruptions_fixed += c->rep->corruptions;
        c->rep->leaks_fixed += c->rep->leaks;
        c->rep->corruptions = c->rep->leaks = 0;
    }
    check_copied(c);
    rc = c->fix ? qcow2_writeback(s) : 0;
    if (!rc && c->fix)
        rc = node_flush(s->n->file);
    old = s->h;
    if (!rc && c->fix && all_is_well(s, c->rep)) {
        s->h.incompatible &= ~(uint64_t)(INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
        rc = qcow2_header_commit(s, &old);
        s->dirty_marked = false;
    }
    return !rc || error_set_errno(err, -rc, "Could not write the repaired metadata");
}

bool qcow2_check_locked(Qcow2 *s, unsigned fix, CheckReport *rep, Error *err)
{
    Check c = {.s = s, .rep = rep, .fix = fix};
    bool ok, lazy = s->lazy;
    int rc = fix && qcow2_may_write(s) ? -EPERM : 0;

    s->lazy = false; /* the counts are compared on disk */
    if (!rc)
        rc = qcow2_writeback(s);
    if (!rc && atomic_load(&s->n->meta_dirty))
        rc = qcow2_writeback(s);
    s->lazy = lazy;
    if (rc)
        return error_set_errno(err, -rc, "Could not check the image");
    ok = count_all(&c, err);
    if (ok) {
        uint64_t broken = rep->corruptions;

        count_refcount_structure(&c);
        compare(&c);
        ok = repair_and_finish(&c, err);
        rep->image_end_offset = (MAX(c.highest, c.highest_counted) + 1) << s->cluster_bits;
        if (ok && broken && fix & CHECK_FIX_ERRORS && !rep->corruptions)
            rep->corruptions = broken; /* entries that are wrong in themselves stay */
        rep->corruptions_fixed -= MIN(
            rep->corruptions_fixed, broken && rep->corruptions == broken && c.rebuild ? broken : 0);
    }
    check_free(&c);
    return ok;
}

bool qcow2_check(BlockNode *n, unsigned fix, CheckReport *rep, Error *err)
{
    bool ok = false;

    WITH_LOCK (&n->meta)
        ok = qcow2_check_locked(qcow2_of(n), fix, rep, err);
    return ok;
}
