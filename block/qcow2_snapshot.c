/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_snapshot - internal snapshots: frozen L1 tables that share clusters with the active one
 *
 * Invariants
 *  1. A snapshot is in the table on disk only while the counts on disk include its references.
 *  2. An active entry says COPIED only if its count is 1, also on disk, whenever a snapshot is in
 *     the table.
 *  3. The header changes last when something is gained, and first when something is lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "block/qcow2_priv.h"

enum { ENTRY_FIXED = 40, EXTRA_KNOWN = 24, EXTRA_MIN = 16 };

/* --- the table --- */

bool l1_table_read(Qcow2 *s, uint64_t at, uint32_t entries, uint64_t **out, Error *err)
{
    uint64_t *t, size = entries * 8ull;
    int rc;

    if (entries > QCOW2_L1_MAX / 8 || !is_aligned(s, at) || at > INT64_MAX - size)
        return error_set(err, "table at offset %#" PRIx64 " with %" PRIu32 " entries is invalid",
                         at, entries);
    t = try_alloc(ALIGN_UP(size + 8, 512ull));
    if (!t)
        return error_set(err, "no memory for a table of %" PRIu64 " bytes", size);
    rc = file_read(s->n->file, at, t, size);
    if (rc) {
        xfree(t);
        return error_set_errno(err, -rc, "reading at offset %#" PRIx64, at);
    }
    for (uint32_t i = 0; i < entries; i++)
        t[i] = get_be64(&t[i]);
    *out = t;
    return true;
}

static void snapshot_free(Qcow2Snapshot *sn)
{
    xfree(sn->extra);
    xfree(sn->id);
    xfree(sn->name);
}

void snapshots_free(Qcow2 *s)
{
    for (uint32_t i = 0; s->snapshots && i < s->h.n_snapshots; i++)
        snapshot_free(&s->snapshots[i]);
    xfree(s->snapshots);
    s->snapshots = NULL;
}

static void parse_extra(Qcow2 *s, Qcow2Snapshot *sn, const uint8_t *p, uint32_t size)
{
    sn->disk_size = size >= 16 ? get_be64(p + 8) : s->h.size;
    if (size >= 8)
        sn->vm_state_size = get_be64(p);
    sn->icount = size >= 24 ? get_be64(p + 16) : UINT64_MAX;
    if (size > EXTRA_KNOWN) {
        sn->extra_size = size - EXTRA_KNOWN;
        sn->extra = xalloc(sn->extra_size);
        memcpy(sn->extra, p + EXTRA_KNOWN, sn->extra_size);
    }
}

static char *take_text(const uint8_t *p, unsigned size)
{
    char *t = xalloc(size + 1u);

    memcpy(t, p, size);
    return t;
}

/* One entry at *@at, which moves on. */
static bool read_entry(Qcow2 *s, uint32_t i, uint64_t *at, Error *err)
{
    Qcow2Snapshot *sn = &s->snapshots[i];
    uint8_t h[ENTRY_FIXED], *rest;
    uint32_t extra, id, name;
    int rc = file_read(s->n->file, *at, h, sizeof(h));

    sn->l1_at = get_be64(h);
    sn->l1_size = get_be32(h + 8);
    id = get_be16(h + 12);
    name = get_be16(h + 14);
    sn->date_s = get_be32(h + 16);
    sn->date_ns = get_be32(h + 20);
    sn->vm_clock_ns = get_be64(h + 24);
    sn->vm_state_size = get_be32(h + 32);
    extra = get_be32(h + 36);
    if (!rc && extra > QCOW2_SNAPSHOT_EXTRA_MAX)
        return error_set(err,
                         "Too much extra metadata in snapshot table entry %" PRIu32 " (%" PRIu32
                         " bytes at offset %#" PRIx64 ")",
                         i, extra, *at);
    rest = xalloc(extra + id + name + 1ull);
    if (!rc)
        rc = file_read(s->n->file, *at + ENTRY_FIXED, rest, extra + id + name);
    parse_extra(s, sn, rest, extra);
    sn->id = take_text(rest + extra, id);
    sn->name = take_text(rest + extra + id, name);
    xfree(rest);
    *at += ALIGN_UP(ENTRY_FIXED + extra + id + name, 8u);
    return !rc ||
           error_set_errno(err, -rc, "Could not read the snapshot table at offset %#" PRIx64, *at);
}

bool snapshots_read(Qcow2 *s, Error *err)
{
    uint64_t at = s->h.snapshots_at;

    if (!s->h.n_snapshots)
        return true;
    s->snapshots = try_new_n(Qcow2Snapshot, s->h.n_snapshots);
    if (!s->snapshots)
        return error_set(err, "no memory for %" PRIu32 " snapshots", s->h.n_snapshots);
    for (uint32_t i = 0; i < s->h.n_snapshots; i++) {
        if (!read_entry(s, i, &at, err))
            return false;
        if (at - s->h.snapshots_at > QCOW2_SNAPSHOT_TABLE_MAX)
            return error_set(err, "Snapshot table is too large");
    }
    return true;
}

static uint64_t entry_bytes(const Qcow2Snapshot *sn)
{
    return ALIGN_UP(ENTRY_FIXED + EXTRA_KNOWN + sn->extra_size + strlen(sn->id) + strlen(sn->name),
                    (size_t)8);
}

static void build_entry(const Qcow2Snapshot *sn, uint8_t *p)
{
    size_t id = strlen(sn->id), name = strlen(sn->name);
    uint8_t *q = p + ENTRY_FIXED;

    put_be64(p, sn->l1_at);
    put_be32(p + 8, sn->l1_size);
    put_be16(p + 12, (uint16_t)id);
    put_be16(p + 14, (uint16_t)name);
    put_be32(p + 16, sn->date_s);
    put_be32(p + 20, sn->date_ns);
    put_be64(p + 24, sn->vm_clock_ns);
    put_be32(p + 32, sn->vm_state_size <= UINT32_MAX ? (uint32_t)sn->vm_state_size : 0);
    put_be32(p + 36, EXTRA_KNOWN + sn->extra_size);
    put_be64(q, sn->vm_state_size);
    put_be64(q + 8, sn->disk_size);
    put_be64(q + 16, sn->icount);
    q += EXTRA_KNOWN;
    if (sn->extra_size)
        memcpy(q, sn->extra, sn->extra_size);
    q += sn->extra_size;
    memcpy(q, sn->id, id);
    memcpy(q + id, sn->name, name);
}

/* Everything is stable; the counts of lazy images, too. */
static int make_stable(Qcow2 *s)
{
    bool lazy = s->lazy;
    int rc = qcow2_writeback(s);

    s->lazy = false; /* the dirty bit covers counts, not what a snapshot shares */
    if (!rc)
        rc = qcow2_writeback(s); /* counts that the first one changed */
    s->lazy = lazy;
    s->unstable_file = true;
    return rc ? rc : qcow2_barrier(s);
}

/* The list @list of @n snapshots becomes the image's. */
static int write_list(Qcow2 *s, const Qcow2Snapshot *list, uint32_t n)
{
    Qcow2Header old = s->h;
    uint64_t size = 0, at = 0, old_size = 0;
    uint8_t *buf;
    int rc = 0;

    for (uint32_t i = 0; i < n; i++)
        size += entry_bytes(&list[i]);
    for (uint32_t i = 0; i < old.n_snapshots; i++)
        old_size +=
            entry_bytes(&s->snapshots[i]); /* not longer on disk: unknown extra data is kept */
    if (size > QCOW2_SNAPSHOT_TABLE_MAX)
        return -EFBIG;
    buf = try_alloc(ALIGN_UP(size + 1, (uint64_t)s->cluster_size));
    if (!buf)
        return -ENOMEM;
    if (size) {
        uint8_t *p = buf;

        for (uint32_t i = 0; i < n; p += entry_bytes(&list[i++]))
            build_entry(&list[i], p);
        rc = alloc_clusters(s, clusters_for(s, size), true, true, &at, NULL, NULL);
        if (!rc) {
            rc = node_write(s->n->file, at, buf, ALIGN_UP(size, (uint64_t)s->cluster_size));
            if (!rc)
                rc = make_stable(s);
            if (rc)
                free_at_once(s, at, size);
        }
    }
    xfree(buf);
    if (rc)
        return rc;
    s->h.n_snapshots = n;
    s->h.snapshots_at = at;
    rc = qcow2_header_commit(s, &old);
    if (rc && size)
        free_at_once(s, at, size);
    if (!rc && old.snapshots_at && old_size)
        free_later(s, old.snapshots_at, old_size, FREE_SNAPSHOT);
    return rc;
}

int snapshots_write(Qcow2 *s)
{
    return write_list(s, s->snapshots, s->h.n_snapshots);
}

/* --- references --- */

static uint64_t table_entry(const Qcow2 *s, const uint8_t *l2, unsigned i)
{
    return get_be64(l2 + i * s->entry_size);
}

static bool entry_range(const Qcow2 *s, uint64_t e, uint64_t *cluster, uint64_t *count)
{
    uint64_t size, at = e & ENTRY_OFFSET;

    *count = 1;
    if (e & ENTRY_COMPRESSED) {
        at = entry_compressed_at(s, e, &size);
        *count = cluster_of(s, at + size - 1) - cluster_of(s, at) + 1;
    } else if (!at) {
        return false;
    }
    *cluster = cluster_of(s, at);
    return true;
}

/* Add @delta to the counts of all that the first @n entries of an L2 table refer to. */
static int table_refs(Qcow2 *s, const uint8_t *l2, unsigned n, int64_t delta, unsigned *done)
{
    for (*done = 0; *done < n; ++*done) {
        uint64_t cluster, count;
        int rc;

        if (!entry_range(s, table_entry(s, l2, *done), &cluster, &count))
            continue;
        rc = refcount_add(s, cluster, count, delta);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_l2(Qcow2 *s, uint64_t l1_entry, uint8_t *buf)
{
    uint64_t at = l1_entry & ENTRY_OFFSET;

    if (!is_aligned(s, at))
        return qcow2_corrupt(s, true, "L2 table offset %#" PRIx64 " unaligned", at);
    return file_read(s->n->file, at, buf, s->cluster_size);
}

/* The table of @n entries and all below it: +1 or -1.  All or nothing when counting up. */
static int tree_refs(Qcow2 *s, const uint64_t *l1, uint32_t n, int64_t delta)
{
    uint8_t *buf = try_alloc(s->cluster_size);
    unsigned per = 1u << s->l2_bits, done, undone;
    uint32_t i;
    int rc = buf ? 0 : -ENOMEM;

    for (i = 0; i < n && !rc; i++) {
        if (!(l1[i] & ENTRY_OFFSET))
            continue;
        done = 0;
        rc = read_l2(s, l1[i], buf);
        if (!rc)
            rc = table_refs(s, buf, per, delta, &done);
        if (!rc)
            rc = refcount_add(s, cluster_of(s, l1[i] & ENTRY_OFFSET), 1, delta);
        if (rc && delta > 0)
            table_refs(s, buf, done, -delta, &undone);
        if (rc && delta > 0)
            tree_refs(s, l1, i, -delta);
    }
    xfree(buf);
    return rc;
}

/* The table of @n entries and all below it are no longer referred to, and that is stable. */
static int tree_free(Qcow2 *s, const uint64_t *l1, uint32_t n)
{
    uint8_t *buf = try_alloc(s->cluster_size);
    int rc = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < n && !rc; i++) {
        if (!(l1[i] & ENTRY_OFFSET))
            continue;
        rc = read_l2(s, l1[i], buf);
        for (unsigned k = 0; k < 1u << s->l2_bits && !rc; k++) {
            if (!frees_have_room(s, 2))
                rc = qcow2_writeback(s);
            free_entry(s, table_entry(s, buf, k), FREE_SNAPSHOT);
        }
        if (!rc)
            free_later(s, l1[i] & ENTRY_OFFSET, s->cluster_size, FREE_SNAPSHOT);
    }
    xfree(buf);
    return rc;
}

/* COPIED as the counts say, in the cached part at @at of an active table. */
static int mark_slice(Qcow2 *s, uint64_t at)
{
    uint8_t *p;
    int rc = cache_get(s->l2, at, true, &p);

    for (unsigned i = 0; i < 1u << s->slice_bits && !rc; i++) {
        uint64_t e = table_entry(s, p, i), count;

        if (e & ENTRY_COMPRESSED || !(e & ENTRY_OFFSET))
            continue;
        rc = refcount_get(s, cluster_of(s, e & ENTRY_OFFSET), &count);
        if (rc || (count == 1) == !!(e & ENTRY_COPIED))
            continue;
        put_be64(p + i * s->entry_size, e ^ ENTRY_COPIED);
        cache_dirty(s->l2, at);
        qcow2_changed(s);
    }
    return rc;
}

/* In memory only, where a failure can be taken back; what could not be done is due at the next
 * flush. */
int qcow2_mark_active(Qcow2 *s)
{
    unsigned slices = s->cluster_size / s->slice_bytes;
    int rc = 0;

    for (uint32_t i = 0; i < s->h.l1_size && !rc; i++) {
        uint64_t at = s->l1[i] & ENTRY_OFFSET, count;

        if (!at)
            continue;
        for (unsigned k = 0; k < slices && !rc; k++) {
            uint64_t slice = at + (uint64_t)k * s->slice_bytes;

            if (k % 16 == 0 && slices > 1 && !cache_peek(s->l2, slice))
                cache_prefetch(s->l2, slice, MIN(slices - k, 16u));
            rc = mark_slice(s, slice);
        }
        if (!rc)
            rc = refcount_get(s, cluster_of(s, at), &count);
        if (!rc && (count == 1) != !!(s->l1[i] & ENTRY_COPIED))
            l1_set(s, i, count == 1 ? at | ENTRY_COPIED : at);
    }
    s->marks_due = rc;
    if (rc)
        qcow2_changed(s);
    return rc;
}

/* A table in clusters of its own. */
static int write_l1(Qcow2 *s, const uint64_t *l1, uint64_t n, uint64_t *at)
{
    uint64_t size = ALIGN_UP(n * 8, (uint64_t)s->cluster_size);
    uint8_t *buf = try_alloc(size);
    int rc = buf ? alloc_clusters(s, size >> s->cluster_bits, true, true, at, NULL, NULL) : -ENOMEM;

    for (uint64_t i = 0; i < n && !rc; i++)
        put_be64(buf + i * 8, l1[i]);
    if (!rc) {
        rc = node_write(s->n->file, *at, buf, size);
        s->unstable_file = true;
        if (rc)
            free_at_once(s, *at, size);
    }
    xfree(buf);
    return rc;
}

/* --- operations --- */

static int64_t find_snapshot(Qcow2 *s, const char *id_or_name)
{
    for (uint32_t i = 0; i < s->h.n_snapshots; i++)
        if (!strcmp(s->snapshots[i].id, id_or_name))
            return i;
    for (uint32_t i = 0; i < s->h.n_snapshots; i++)
        if (!strcmp(s->snapshots[i].name, id_or_name))
            return i;
    return -1;
}

static bool need_snapshot(Qcow2 *s, const char *id_or_name, uint32_t *i, Error *err)
{
    int64_t k = find_snapshot(s, id_or_name);

    *i = (uint32_t)k;
    return k >= 0 || error_set(err, "Can't find snapshot '%s'", id_or_name);
}

static bool may_change(Qcow2 *s, Error *err)
{
    int rc = qcow2_may_write(s);

    if (s->has_data_file)
        return error_set(err, "Internal snapshots are not supported with external data files");
    return !rc || error_set_errno(err, -rc, "The image cannot be changed");
}

static uint64_t vmstate_base(const Qcow2 *s)
{
    return l1_entries_for(s, s->h.size) << (s->cluster_bits + s->l2_bits);
}

static char *new_id(Qcow2 *s, const char *wanted)
{
    unsigned long max = 0;

    if (*wanted)
        return xstrdup(wanted);
    for (uint32_t i = 0; i < s->h.n_snapshots; i++)
        max = MAX(max, strtoul(s->snapshots[i].id, NULL, 10));
    return xasprintf("%lu", max + 1);
}

/* The list with one more, or with none at @skip. */
static Qcow2Snapshot *list_copy(Qcow2 *s, int64_t skip)
{
    Qcow2Snapshot *l = xnew_n(Qcow2Snapshot, s->h.n_snapshots + 1ull);
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->h.n_snapshots; i++)
        if (i != skip)
            l[n++] = s->snapshots[i];
    return l;
}

static int create_locked(Qcow2 *s, Qcow2Snapshot *sn)
{
    uint32_t n = s->h.n_snapshots;
    Qcow2Snapshot *list;
    int rc = s->lazy && !s->dirty_marked ? qcow2_mark_dirty(s, true) : 0;

    if (!rc)
        rc = qcow2_writeback(s);
    if (!rc)
        rc = tree_refs(s, s->l1, s->h.l1_size, 1);
    if (rc)
        return rc;
    sn->l1_size = s->h.l1_size;
    rc = qcow2_mark_active(s);
    if (!rc)
        rc = write_l1(s, s->l1, s->h.l1_size, &sn->l1_at);
    if (!rc) {
        list = list_copy(s, -1);
        list[n] = *sn;
        rc = write_list(s, list, n + 1);
        if (rc) {
            xfree(list);
            free_at_once(s, sn->l1_at, sn->l1_size * 8ull);
        } else {
            xfree(s->snapshots);
            s->snapshots = list;
        }
    }
    if (rc) {
        tree_refs(s, s->l1, s->h.l1_size, -1);
        qcow2_mark_active(s);
        return rc;
    }
    if (sn->vm_state_size) /* part of the snapshot now */
        qcow2_drop(s, vmstate_base(s), sn->vm_state_size, true);
    meta_rebuild(s);
    make_stable(s); /* the snapshot is: what is left stays dirty if this fails */
    return 0;
}

static bool snapshot_create(BlockNode *n, const SnapshotInfo *info, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    Qcow2Snapshot sn = {.vm_state_size = info->vm_state_size,
                        .disk_size = s->h.size,
                        .vm_clock_ns = info->vm_clock_ns,
                        .icount = info->icount,
                        .date_s = info->date_s,
                        .date_ns = info->date_ns};
    int rc;

    if (!may_change(s, err))
        return false;
    if (s->h.n_snapshots >= QCOW2_SNAPSHOTS_MAX)
        return error_set_errno(err, EFBIG, "Could not create snapshot '%s'", info->name);
    if (*info->id)
        for (uint32_t i = 0; i < s->h.n_snapshots; i++)
            if (!strcmp(s->snapshots[i].id, info->id))
                return error_set_errno(err, EEXIST, "Could not create snapshot '%s'", info->name);
    sn.id = new_id(s, info->id);
    sn.name = xstrdup(info->name ? info->name : "");
    if (strlen(sn.name) > UINT16_MAX)
        sn.name[UINT16_MAX] = 0;
    WITH_LOCK (&n->meta)
        rc = create_locked(s, &sn);
    if (rc)
        snapshot_free(&sn);
    return !rc || error_set_errno(err, -rc, "Could not create snapshot '%s'", info->name);
}

/* The snapshot's tables are in force from the header's change on; then the old ones are let go. */
static int apply_tables(Qcow2 *s, const Qcow2Snapshot *sn, uint64_t *l1, uint64_t n)
{
    Qcow2Header old = s->h;
    uint64_t at, *old_l1 = s->l1;
    uint8_t *dirty = try_new_n(uint8_t, n / 64 + 1);
    int rc = dirty ? tree_refs(s, l1, (uint32_t)n, 1) : -ENOMEM;

    if (rc)
        goto fail;
    rc = write_l1(s, l1, n, &at);
    if (!rc) {
        rc = make_stable(s);
        s->h.l1_at = at;
        s->h.l1_size = (uint32_t)n;
        s->h.size = sn->disk_size;
        if (!rc)
            rc = qcow2_header_commit(s, &old);
        if (rc) {
            s->h = old;
            free_at_once(s, at, n * 8);
        }
    }
    if (rc) {
        tree_refs(s, l1, (uint32_t)n, -1);
        goto fail;
    }
    xfree(s->l1_dirty);
    s->l1 = l1;
    s->l1_dirty = dirty;
    s->l1_any_dirty = false;
    s->marks_due = true;
    for (uint32_t i = 0; i < old.l1_size; i++)
        cache_forget(s->l2, old_l1[i] & ENTRY_OFFSET, s->cluster_size);
    rc = tree_free(s, old_l1, old.l1_size); /* an error here leaks */
    if (old.l1_size)
        free_later(s, old.l1_at, old.l1_size * 8ull, FREE_SNAPSHOT);
    xfree(old_l1);
    s->n->size = s->h.size;
    meta_rebuild(s);
    return rc;
fail:
    xfree(dirty);
    xfree(l1);
    return rc;
}

static bool apply_locked(Qcow2 *s, const Qcow2Snapshot *sn, Error *err)
{
    uint64_t n = MAX(MAX(l1_entries_for(s, sn->disk_size), (uint64_t)sn->l1_size), 1u), *l1, *grown;
    int rc;

    if (sn->disk_size > INT64_MAX || n > QCOW2_L1_MAX / 8)
        return error_set(err, "Snapshot '%s' has an invalid disk size: %" PRIu64, sn->name,
                         sn->disk_size);
    if (!l1_table_read(s, sn->l1_at, sn->l1_size, &l1, err))
        return error_prefix(err, "Snapshot '%s': L1 table: ", sn->name);
    grown = try_new_n(uint64_t, n);
    rc = grown ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < sn->l1_size && !rc; i++)
        grown[i] = l1[i] & ~ENTRY_COPIED;
    xfree(l1);
    if (!rc && s->lazy && !s->dirty_marked)
        rc = qcow2_mark_dirty(s, true);
    if (!rc)
        rc = qcow2_writeback(s);
    if (rc)
        xfree(grown);
    else
        rc = apply_tables(s, sn, grown, n);
    if (!rc)
        rc = make_stable(s);
    if (!rc)
        rc = qcow2_mark_active(s);
    if (!rc)
        rc = make_stable(s);
    return !rc || error_set_errno(err, -rc, "Could not apply snapshot '%s'", sn->name);
}

static bool snapshot_apply(BlockNode *n, const char *id_or_name, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    uint32_t i;
    bool ok = false;

    if (!may_change(s, err) || !need_snapshot(s, id_or_name, &i, err))
        return false;
    WITH_LOCK (&n->meta)
        ok = apply_locked(s, &s->snapshots[i], err);
    return ok;
}

static int remove_locked(Qcow2 *s, uint32_t i, const uint64_t *l1)
{
    Qcow2Snapshot sn = s->snapshots[i], *list = list_copy(s, i);
    int rc = s->lazy && !s->dirty_marked ? qcow2_mark_dirty(s, true) : 0;

    if (!rc)
        rc = qcow2_writeback(s);
    if (!rc)
        rc = write_list(s, list, s->h.n_snapshots - 1);
    if (rc) {
        xfree(list);
        return rc;
    }
    xfree(s->snapshots);
    s->snapshots = list;
    s->marks_due = true;
    rc = tree_free(s, l1, sn.l1_size); /* an error here leaks */
    if (sn.l1_size)
        free_later(s, sn.l1_at, sn.l1_size * 8ull, FREE_SNAPSHOT);
    snapshot_free(&sn);
    meta_rebuild(s);
    if (!rc)
        rc = make_stable(s);
    if (!rc)
        rc = qcow2_mark_active(s);
    return rc ? rc : make_stable(s);
}

static bool snapshot_remove(BlockNode *n, const char *id_or_name, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    uint64_t *l1;
    uint32_t i;
    int rc;

    if (!may_change(s, err) || !need_snapshot(s, id_or_name, &i, err))
        return false;
    if (!l1_table_read(s, s->snapshots[i].l1_at, s->snapshots[i].l1_size, &l1, err))
        return error_prefix(err, "Snapshot '%s': L1 table: ", id_or_name);
    WITH_LOCK (&n->meta)
        rc = remove_locked(s, i, l1);
    xfree(l1);
    return !rc || error_set_errno(err, -rc, "Could not delete snapshot '%s'", id_or_name);
}

static bool snapshot_load(BlockNode *n, const char *id_or_name, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    Qcow2Snapshot *sn;
    uint64_t *l1;
    uint32_t i;

    if (!node_is_read_only(n))
        return error_set(err, "Snapshots can only be loaded into images that are open read-only");
    if (!need_snapshot(s, id_or_name, &i, err))
        return false;
    sn = &s->snapshots[i];
    if (sn->disk_size > INT64_MAX || sn->l1_size < l1_entries_for(s, sn->disk_size))
        return error_set(err, "Snapshot '%s' has an invalid disk size or L1 table", id_or_name);
    if (!l1_table_read(s, sn->l1_at, sn->l1_size, &l1, err))
        return error_prefix(err, "Snapshot '%s': L1 table: ", id_or_name);
    WITH_LOCK (&n->meta) {
        for (uint32_t k = 0; k < s->h.l1_size; k++)
            cache_forget(s->l2, s->l1[k] & ENTRY_OFFSET, s->cluster_size);
        xfree(s->l1);
        s->l1 = l1;
        s->h.l1_size = sn->l1_size;
        s->h.l1_at = sn->l1_at;
        s->h.size = sn->disk_size;
        n->size = sn->disk_size;
        s->reading_snapshot = true;
    }
    return true;
}

static bool snapshot_list(BlockNode *n, SnapshotInfo **out, unsigned *count, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    SnapshotInfo *l = xnew_n(SnapshotInfo, s->h.n_snapshots + 1ull);

    (void)err;
    for (uint32_t i = 0; i < s->h.n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];

        l[i] = (SnapshotInfo){.name = xstrdup(sn->name),
                              .vm_state_size = sn->vm_state_size,
                              .disk_size = sn->disk_size,
                              .date_s = sn->date_s,
                              .date_ns = sn->date_ns,
                              .vm_clock_ns = sn->vm_clock_ns,
                              .icount = sn->icount};
        snprintf(l[i].id, sizeof(l[i].id), "%s", sn->id);
    }
    *out = l;
    *count = s->h.n_snapshots;
    return true;
}

const SnapshotOps qcow2_snapshot_ops = {
    .list = snapshot_list,
    .create = snapshot_create,
    .apply = snapshot_apply,
    .remove = snapshot_remove,
    .load = snapshot_load,
};

/* --- the state of a machine, behind the disk --- */

int qcow2_save_vmstate(BlockNode *n, uint64_t at, const void *buf, size_t size)
{
    Qcow2 *s = qcow2_of(n);
    uint64_t base = vmstate_base(s);
    int rc;

    if (s->has_data_file)
        return -ENOTSUP;
    if (at > INT64_MAX - base - size)
        return -EFBIG;
    qcow2_event(s, EVENT_VMSTATE_SAVE);
    WITH_LOCK (&n->meta)
        rc = qcow2_pwrite(s, base + at, buf, size);
    return rc;
}

int qcow2_load_vmstate(BlockNode *n, uint64_t at, void *buf, size_t size)
{
    Qcow2 *s = qcow2_of(n);
    uint64_t base = vmstate_base(s);
    int rc;

    if (at > INT64_MAX - base - size)
        return -EFBIG;
    qcow2_event(s, EVENT_VMSTATE_LOAD);
    WITH_LOCK (&n->meta)
        rc = qcow2_pread(s, base + at, buf, size);
    return rc;
}
