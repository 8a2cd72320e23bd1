/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_bitmap - dirty bitmaps in the image: loaded at open, stored at close
 *
 * Invariants
 *  1. While the image is open for writing its bitmaps are marked in_use on disk, so that what a
 *     crash leaves is known to be out of date.
 *  2. Storing writes new tables and a new directory; the header changes last, the old ones go after
 *     that.
 *  3. Entries that we cannot use (inconsistent, with extra data of others) stay as they are.
 */
#include "base/log.h"
#include "block/bitmap.h"
#include "block/qcow2_priv.h"

enum { DIR_FIXED = 24, TYPE_DIRTY = 1, GRANULARITY_MIN = 9, GRANULARITY_MAX = 31 };
#define TABLE_RESERVED 0xff000000000001feull
#define TABLE_ALL_ONES 1ull

/* --- the directory --- */

void bitmap_dir_free(StoredBitmap *b, uint32_t count)
{
    for (uint32_t i = 0; b && i < count; i++) {
        xfree(b[i].name);
        xfree(b[i].extra);
    }
    xfree(b);
}

static uint64_t dir_entry_bytes(const StoredBitmap *b)
{
    return ALIGN_UP(DIR_FIXED + (uint64_t)b->extra_size + b->name_size, 8ull);
}

static uint64_t bits_bytes(const Qcow2 *s, unsigned granularity_bits)
{
    uint64_t n = (s->h.size >> granularity_bits) + !!(s->h.size & (BIT(granularity_bits) - 1));

    return (n + 7) / 8;
}

static bool check_entry(Qcow2 *s, const StoredBitmap *b, Error *err)
{
    uint64_t bytes;

    if (!b->table_at || !is_aligned(s, b->table_at) || b->table_at > INT64_MAX / 2)
        return error_set(err, "bitmap '%s': table offset %#" PRIx64 " is invalid", b->name,
                         b->table_at);
    if (!b->table_size || b->table_size > QCOW2_BITMAP_TABLE_MAX)
        return error_set(err, "bitmap '%s': table size %" PRIu32 " is invalid", b->name,
                         b->table_size);
    if (b->type != TYPE_DIRTY || b->flags & ~(uint32_t)BME_KNOWN)
        return error_set(err, "bitmap '%s': type %u or flags %#" PRIx32 " unknown", b->name,
                         b->type, b->flags);
    if (b->granularity_bits < GRANULARITY_MIN || b->granularity_bits > GRANULARITY_MAX)
        return error_set(err, "bitmap '%s': granularity 2^%u is out of range", b->name,
                         b->granularity_bits);
    bytes = (uint64_t)b->table_size << s->cluster_bits;
    if (bytes > QCOW2_BITMAP_BYTES_MAX + (uint64_t)s->cluster_size ||
        bits_bytes(s, b->granularity_bits) > QCOW2_BITMAP_BYTES_MAX)
        return error_set(err, "bitmap '%s': %" PRIu64 " bytes are too many", b->name, bytes);
    if (!(b->flags & BME_IN_USE) &&
        clusters_for(s, bits_bytes(s, b->granularity_bits)) != b->table_size)
        return error_set(err, "bitmap '%s': table size %" PRIu32 " does not match the disk",
                         b->name, b->table_size);
    return true;
}

static bool parse_entry(Qcow2 *s, const uint8_t *p, uint64_t left, StoredBitmap *b, Error *err)
{
    if (left < DIR_FIXED)
        return error_set(err, "the bitmap directory ends within an entry");
    *b = (StoredBitmap){.table_at = get_be64(p),
                        .table_size = get_be32(p + 8),
                        .flags = get_be32(p + 12),
                        .type = p[16],
                        .granularity_bits = p[17],
                        .name_size = get_be16(p + 18),
                        .extra_size = get_be32(p + 20)};
    if (!b->name_size || b->name_size > BITMAP_NAME_MAX || dir_entry_bytes(b) > left)
        return error_set(
            err,
            "the bitmap directory has an entry with a name of %u and extra data of %" PRIu32
            " bytes",
            b->name_size, b->extra_size);
    b->name = xalloc(b->name_size + 1u);
    memcpy(b->name, p + DIR_FIXED + b->extra_size, b->name_size);
    b->extra = xalloc(b->extra_size + 1ull);
    memcpy(b->extra, p + DIR_FIXED, b->extra_size);
    return check_entry(s, b, err);
}

static bool parse_dir(Qcow2 *s, const uint8_t *p, uint64_t size, StoredBitmap *list, Error *err)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < s->h.n_bitmaps; i++) {
        if (!parse_entry(s, p + at, size - at, &list[i], err))
            return false;
        for (uint32_t k = 0; k < i && s->h.n_bitmaps <= 4096; k++)
            if (!strcmp(list[k].name, list[i].name))
                return error_set(err, "two bitmaps are called '%s'", list[i].name);
        at += dir_entry_bytes(&list[i]);
    }
    return at == size || error_set(err, "the bitmap directory is longer than its entries");
}

bool bitmap_dir_read(Qcow2 *s, StoredBitmap **out, uint32_t *count, Error *err)
{
    uint64_t size = s->h.bitmap_dir_size;
    uint8_t *buf = try_alloc(size + 1);
    StoredBitmap *list = try_new_n(StoredBitmap, s->h.n_bitmaps + 1ull);
    int rc = buf && list ? file_read(s->n->file, s->h.bitmap_dir_at, buf, size) : -ENOMEM;
    bool ok = rc ? error_set_errno(err, -rc, "reading the directory")
                 : parse_dir(s, buf, size, list, err);

    xfree(buf);
    if (!ok) {
        if (list)
            bitmap_dir_free(list, s->h.n_bitmaps);
        return error_prefix(err, "Bitmaps of the image: ");
    }
    *out = list;
    *count = s->h.n_bitmaps;
    return true;
}

bool bitmap_table_read(Qcow2 *s, const StoredBitmap *b, uint64_t **out, Error *err)
{
    uint64_t *t = try_new_n(uint64_t, b->table_size + 1ull);
    int rc = t ? file_read(s->n->file, b->table_at, t, b->table_size * 8ull) : -ENOMEM;

    for (uint32_t i = 0; i < b->table_size && !rc; i++) {
        t[i] = get_be64(&t[i]);
        if (t[i] & TABLE_RESERVED || (t[i] & ENTRY_OFFSET && t[i] & 1) ||
            !is_aligned(s, t[i] & ENTRY_OFFSET)) {
            error_set(err, "bitmap '%s': table entry %" PRIu32 " is invalid (%#" PRIx64 ")",
                      b->name, i, t[i]);
            xfree(t);
            return false;
        }
    }
    if (rc) {
        xfree(t);
        return error_set_errno(err, -rc, "bitmap '%s': reading its table", b->name);
    }
    *out = t;
    return true;
}

static void build_dir(const StoredBitmap *list, uint32_t n, uint8_t *p)
{
    for (uint32_t i = 0; i < n; i++) {
        const StoredBitmap *b = &list[i];

        put_be64(p, b->table_at);
        put_be32(p + 8, b->table_size);
        put_be32(p + 12, b->flags);
        p[16] = b->type;
        p[17] = b->granularity_bits;
        put_be16(p + 18, b->name_size);
        put_be32(p + 20, b->extra_size);
        if (b->extra_size)
            memcpy(p + DIR_FIXED, b->extra, b->extra_size);
        memcpy(p + DIR_FIXED + b->extra_size, b->name, b->name_size);
        p += dir_entry_bytes(b);
    }
}

static uint64_t dir_bytes(const StoredBitmap *list, uint32_t n)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < n; i++)
        size += dir_entry_bytes(&list[i]);
    return size;
}

/* A directory in new clusters; then the header names it, and the old one is let go. */
static int switch_dir(Qcow2 *s, const StoredBitmap *list, uint32_t n)
{
    Qcow2Header old = s->h;
    uint64_t size = dir_bytes(list, n), at = 0;
    uint8_t *buf = try_alloc(ALIGN_UP(size + 1, (uint64_t)s->cluster_size));
    int rc = buf ? 0 : -ENOMEM;

    if (n && !rc) {
        build_dir(list, n, buf);
        rc = alloc_clusters(s, clusters_for(s, size), true, true, &at, NULL, NULL);
        if (!rc)
            rc = node_write(s->n->file, at, buf, ALIGN_UP(size, (uint64_t)s->cluster_size));
    }
    xfree(buf);
    if (!rc)
        rc = qcow2_writeback(s);
    if (!rc)
        rc = node_flush(s->n->file);
    s->h.n_bitmaps = n;
    s->h.bitmap_dir_at = at;
    s->h.bitmap_dir_size = size;
    s->h.autoclear =
        n ? s->h.autoclear | AUTOCLEAR_BITMAPS : s->h.autoclear & ~(uint64_t)AUTOCLEAR_BITMAPS;
    if (!rc)
        rc = qcow2_header_commit(s, &old);
    if (rc) {
        s->h = old;
        if (at)
            free_at_once(s, at, size);
        return rc;
    }
    if (old.bitmap_dir_at)
        free_later(s, old.bitmap_dir_at, old.bitmap_dir_size, FREE_OTHER);
    meta_rebuild(s);
    return 0;
}

/* Clusters of the bits and of their table. */
static void free_stored(Qcow2 *s, const StoredBitmap *b)
{
    uint64_t *t;

    if (!bitmap_table_read(s, b, &t, NULL))
        return; /* a leak */
    for (uint32_t i = 0; i < b->table_size; i++) {
        if (!frees_have_room(s, 2) && qcow2_writeback(s))
            break;
        if (t[i] & ENTRY_OFFSET)
            free_later(s, t[i] & ENTRY_OFFSET, s->cluster_size, FREE_OTHER);
    }
    free_later(s, b->table_at, b->table_size * 8ull, FREE_OTHER);
    xfree(t);
}

/* --- loading --- */

static bool load_bits(Qcow2 *s, const StoredBitmap *b, DirtyBitmap *to, Error *err)
{
    uint8_t *buf = try_alloc(s->cluster_size);
    uint64_t *t = NULL;
    bool ok = buf && bitmap_table_read(s, b, &t, err);
    int rc = 0;

    for (uint32_t i = 0; ok && i < b->table_size && !rc; i++) {
        uint64_t at = (uint64_t)i << s->cluster_bits;

        if (t[i] & ENTRY_OFFSET)
            rc = file_read(s->n->file, t[i] & ENTRY_OFFSET, buf, s->cluster_size);
        else if (t[i] & TABLE_ALL_ONES)
            memset(buf, 0xff, s->cluster_size);
        else
            continue;
        if (!rc)
            bitmap_load(to, at, buf, s->cluster_size);
    }
    xfree(t);
    xfree(buf);
    return ok && (!rc || error_set_errno(err, -rc, "Could not read bitmap '%s'", b->name));
}

static bool load_one(Qcow2 *s, const StoredBitmap *b, bool writes, Error *err)
{
    DirtyBitmap *d;

    if (b->extra_size && !(b->flags & BME_EXTRA_COMPATIBLE))
        return true;
    d = bitmap_find(s->n, b->name);
    if (d) { /* after a reopen */
        bitmap_set_read_only(d, !writes && !bitmap_is_inconsistent(d));
        return true;
    }
    d = bitmap_new(s->n, b->name, 1u << b->granularity_bits, err);
    if (!d)
        return false;
    bitmap_set_persistent(d, true);
    if (b->flags & BME_IN_USE) {
        bitmap_set_inconsistent(d);
    } else {
        if (!load_bits(s, b, d, err)) {
            bitmap_free(d);
            return false;
        }
        if (!(b->flags & BME_AUTO))
            bitmap_enable(d, false);
    }
    bitmap_set_read_only(d, !writes && !(b->flags & BME_IN_USE));
    bitmap_set_changed(d, false);
    return true;
}

/* inv 1 */
static int mark_in_use(Qcow2 *s, StoredBitmap *list, uint32_t n)
{
    bool changed = false;

    for (uint32_t i = 0; i < n; i++) {
        bool ours = !list[i].extra_size || list[i].flags & BME_EXTRA_COMPATIBLE;

        changed |= ours && !(list[i].flags & BME_IN_USE);
        list[i].flags |= ours ? BME_IN_USE : 0;
    }
    return changed ? switch_dir(s, list, n) : 0;
}

bool qcow2_bitmaps_load(Qcow2 *s, Error *err)
{
    bool writes = !qcow2_may_write(s), ok = true;
    StoredBitmap *list;
    uint32_t n;
    int rc = 0;

    if (!s->h.n_bitmaps || s->n->flags & (NODE_CHECK | NODE_NO_IO))
        return true;
    if (!bitmap_dir_read(s, &list, &n, err))
        return false;
    for (uint32_t i = 0; i < n && ok; i++)
        ok = load_one(s, &list[i], writes, err);
    if (ok && writes)
        rc = mark_in_use(s, list, n);
    bitmap_dir_free(list, n);
    return ok && (!rc || error_set_errno(err, -rc, "Could not mark the image's bitmaps as in use"));
}

/* --- storing --- */

static int store_cluster(Qcow2 *s, DirtyBitmap *d, uint64_t at, uint8_t *buf, uint64_t *entry)
{
    bool zero = true, ones = true;
    int rc;

    bitmap_save(d, at, buf, s->cluster_size);
    for (unsigned i = 0; i < s->cluster_size; i += 8) {
        uint64_t w = get_le64(buf + i);

        zero &= !w;
        ones &= !~w;
    }
    *entry = ones ? TABLE_ALL_ONES : 0;
    if (zero || ones)
        return 0;
    rc = alloc_clusters(s, 1, true, true, entry, NULL, NULL);
    if (!rc)
        rc = node_write(s->n->file, *entry, buf, s->cluster_size);
    return rc;
}

static bool store_bits(Qcow2 *s, DirtyBitmap *d, StoredBitmap *b, Error *err)
{
    uint64_t n = clusters_for(s, bitmap_bytes(d)),
             size = ALIGN_UP(n * 8, (uint64_t)s->cluster_size);
    uint8_t *buf = try_alloc(s->cluster_size), *table = try_alloc(size + 1);
    int rc = buf && table ? 0 : -ENOMEM;

    for (uint64_t i = 0; i < n && !rc; i++) {
        uint64_t entry;

        rc = store_cluster(s, d, i << s->cluster_bits, buf, &entry);
        put_be64(table + i * 8, entry);
    }
    b->table_size = (uint32_t)n;
    if (!rc)
        rc = alloc_clusters(s, MAX(size >> s->cluster_bits, 1u), true, true, &b->table_at, NULL,
                            NULL);
    if (!rc)
        rc = node_write(s->n->file, b->table_at, table, size);
    for (uint64_t i = 0; table && rc && i < n; i++)
        if (get_be64(table + i * 8) & ENTRY_OFFSET)
            free_at_once(s, get_be64(table + i * 8), s->cluster_size);
    xfree(buf);
    xfree(table);
    return !rc || error_set_errno(err, -rc, "Can't store bitmap '%s'", b->name);
}

static bool is_ours(const DirtyBitmap *d)
{
    return d && bitmap_is_persistent(d) && !bitmap_is_inconsistent(d);
}

static StoredBitmap entry_for(const DirtyBitmap *d)
{
    const char *name = bitmap_name(d);

    return (StoredBitmap){.flags = bitmap_is_enabled(d) ? BME_AUTO : 0,
                          .type = TYPE_DIRTY,
                          .granularity_bits = (uint8_t)__builtin_ctz(bitmap_granularity(d)),
                          .name_size = (uint16_t)strlen(name),
                          .name = xstrdup(name),
                          .extra = xalloc(1)};
}

/* What stays of @old moves to @list, what is replaced is left there. */
static uint32_t keep_others(Qcow2 *s, StoredBitmap *old, uint32_t n_old, StoredBitmap *list)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_old; i++)
        if (!is_ours(bitmap_find(s->n, old[i].name))) {
            list[n++] = old[i];
            old[i].name = NULL;
            old[i].extra = NULL;
            old[i].table_size = 0;
        }
    return n;
}

static bool store_all(Qcow2 *s, StoredBitmap *list, uint32_t *n, Error *err)
{
    for (DirtyBitmap *d = bitmap_next(s->n, NULL); d; d = bitmap_next(s->n, d)) {
        StoredBitmap *b = &list[*n];

        if (!bitmap_name(d) || !is_ours(d))
            continue;
        *b = entry_for(d);
        if (!store_bits(s, d, b, err)) {
            xfree(b->name);
            xfree(b->extra);
            return false;
        }
        ++*n;
    }
    return true;
}

static uint32_t count_ours(const Qcow2 *s)
{
    uint32_t n = 0;

    for (DirtyBitmap *d = bitmap_next(s->n, NULL); d; d = bitmap_next(s->n, d))
        n += bitmap_name(d) && is_ours(d);
    return n;
}

bool qcow2_bitmaps_store(Qcow2 *s, Error *err)
{
    StoredBitmap *old = NULL, *list;
    uint32_t n_old = 0, n, kept, ours = count_ours(s);
    bool ok;
    int rc;

    if (!ours || s->h.version < 3)
        return true;
    if (s->h.n_bitmaps && !bitmap_dir_read(s, &old, &n_old, err))
        return false;
    list = xnew_n(StoredBitmap, n_old + (uint64_t)ours + 1);
    n = kept = keep_others(s, old, n_old, list);
    ok = store_all(s, list, &n, err);
    if (ok && (rc = switch_dir(s, list, n)))
        ok = error_set_errno(err, -rc, "Can't write the bitmap directory");
    for (uint32_t i = 0; i < n_old && ok; i++)
        if (old[i].table_size)
            free_stored(s, &old[i]);
    for (uint32_t i = kept; i < n && !ok; i++)
        free_stored(s, &list[i]);
    bitmap_dir_free(old, n_old);
    bitmap_dir_free(list, n);
    return ok;
}

/* --- asking --- */

bool qcow2_bitmaps_may_resize(Qcow2 *s, Error *err)
{
    for (DirtyBitmap *d = bitmap_next(s->n, NULL); d; d = bitmap_next(s->n, d))
        if (bitmap_is_persistent(d) && !bitmap_check(d, BITMAP_DEFAULT, err))
            return error_prefix(err, "Cannot resize the image: ");
    return true;
}

json_t *qcow2_bitmaps_info(Qcow2 *s)
{
    StoredBitmap *list;
    json_t *j;
    uint32_t n;

    if (!s->h.n_bitmaps || !bitmap_dir_read(s, &list, &n, NULL))
        return NULL;
    j = json_array();
    for (uint32_t i = 0; i < n; i++) {
        json_t *flags = json_array();

        if (list[i].flags & BME_IN_USE)
            json_array_append_new(flags, json_string("in-use"));
        if (list[i].flags & BME_AUTO)
            json_array_append_new(flags, json_string("auto"));
        json_array_append_new(j,
                              json_pack("{s:o, s:s, s:I}", "flags", flags, "name", list[i].name,
                                        "granularity", (json_int_t)BIT(list[i].granularity_bits)));
    }
    bitmap_dir_free(list, n);
    return j;
}

static bool can_store(BlockNode *n, const char *name, uint32_t granularity, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    unsigned bits = (unsigned)__builtin_ctz(granularity | BIT(31));
    const char *why = NULL;

    if (s->h.version < 3)
        why = "Cannot store dirty bitmaps in qcow2 v2 files";
    else if (qcow2_may_write(s))
        why = "the image is read-only";
    else if (strlen(name) > BITMAP_NAME_MAX || !*name)
        why = "Name length is invalid";
    else if (bits < GRANULARITY_MIN || bits > GRANULARITY_MAX)
        why = "Granularity is out of range";
    else if (bits_bytes(s, bits) > QCOW2_BITMAP_BYTES_MAX)
        why = "Too much space will be occupied by the bitmap; use larger granularity";
    else if (s->h.n_bitmaps + count_ours(s) >= QCOW2_BITMAPS_MAX)
        why = "Maximum number of persistent bitmaps is already reached";
    else if (bitmap_find(n, name) && bitmap_is_persistent(bitmap_find(n, name)))
        why = "Bitmap with the same name is already stored";
    return !why ||
           error_set(err, "Can't make bitmap '%s' persistent in '%s': %s", name, n->name, why);
}

static bool remove_stored(BlockNode *n, const char *name, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    StoredBitmap *list, gone = {0};
    uint32_t count, k = 0;
    int rc = qcow2_may_write(s);

    if (!s->h.n_bitmaps)
        return true;
    if (rc)
        return error_set_errno(err, -rc, "Could not remove bitmap '%s'", name);
    if (!bitmap_dir_read(s, &list, &count, err))
        return false;
    while (k < count && strcmp(list[k].name, name))
        k++;
    if (k < count) {
        gone = list[k];
        memmove(&list[k], &list[k + 1], (count - k - 1) * sizeof(*list));
        count--;
        WITH_LOCK (&n->meta) {
            rc = switch_dir(s, list, count);
            if (!rc)
                free_stored(s, &gone);
        }
        xfree(gone.name);
        xfree(gone.extra);
    }
    bitmap_dir_free(list, count);
    return !rc || error_set_errno(err, -rc, "Could not remove bitmap '%s' from the image", name);
}

const BitmapOps qcow2_bitmap_ops = {.can_store = can_store, .remove = remove_stored};
