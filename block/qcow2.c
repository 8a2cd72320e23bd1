/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 - the image format: opening, closing, resizing and what is told about it
 *
 * docs/qcow2.md names the documents and explains the order of writing.  The other files:
 * qcow2_header (first cluster), qcow2_cluster (mapping), qcow2_refcount (allocation, writing back),
 * qcow2_cache, qcow2_compress, qcow2_snapshot, qcow2_bitmap, qcow2_check, qcow2_create.
 */
#include "base/log.h"
#include "base/opts.h"
#include "base/opts_json.h"
#include "block/bitmap.h"
#include "block/qcow2_priv.h"

enum {
    L2_CACHE_DEFAULT = 32 << 20, /* at most; what covers the disk if that is less */
    RB_CACHE_DEFAULT = 1 << 20,
    CACHE_ENTRIES_MIN = 16,
    SLICE_DEFAULT = 4096,
    CLEAN_INTERVAL_DEFAULT = 600, /* seconds */
};

/* --- options --- */

typedef struct Qcow2Options {
    bool lazy_refcounts, pass_discard_request, pass_discard_snapshot, pass_discard_other;
    bool has_lazy_refcounts, has_pass_discard_request, has_pass_discard_snapshot,
        has_pass_discard_other;
    uint64_t cache_size, l2_cache_size, l2_cache_entry_size, refcount_cache_size,
        cache_clean_interval;
    bool has_cache_size, has_l2_cache_size, has_l2_cache_entry_size, has_refcount_cache_size,
        has_cache_clean_interval;
    json_t *overlap_check, *encrypt;
} Qcow2Options;

#define OPTION(m, nm, ty, dc)                                                                      \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(Qcow2Options, m),                  \
        .has_at = offsetof(Qcow2Options, has_##m), .count = 1, .use = FIELD_PROP,                  \
        .flags = FIELD_OPTIONAL                                                                    \
    }
static const Field option_fields[] = {
    OPTION(lazy_refcounts, "lazy-refcounts", &type_bool, "Postpone refcount updates"),
    OPTION(pass_discard_request, "pass-discard-request", &type_bool,
           "Pass guest discard requests to the layer below"),
    OPTION(pass_discard_snapshot, "pass-discard-snapshot", &type_bool,
           "Generate discard requests when snapshot related space is freed"),
    OPTION(pass_discard_other, "pass-discard-other", &type_bool,
           "Generate discard requests when other clusters are freed"),
    OPTION(cache_size, "cache-size", &type_size,
           "Maximum combined metadata (L2 tables and refcount blocks) cache size"),
    OPTION(l2_cache_size, "l2-cache-size", &type_size, "Maximum L2 table cache size"),
    OPTION(l2_cache_entry_size, "l2-cache-entry-size", &type_size,
           "Size of each entry in the L2 cache"),
    OPTION(refcount_cache_size, "refcount-cache-size", &type_size,
           "Maximum refcount block cache size"),
    OPTION(cache_clean_interval, "cache-clean-interval", &type_u64,
           "Clean unused cache entries after this time (in seconds)"),
    PROP_ENUM(Qcow2Options, overlap_check, "overlap-check", &type_any, 0,
              "Which metadata is protected: none, constant, cached, all, or one switch for each"),
    PROP_ENUM(Qcow2Options, encrypt, "encrypt", &type_any, 0,
              "format and key-secret of an encrypted image"),
};
static STRUCT_TYPE(options_type, Qcow2Options, option_fields);

typedef struct OverlapName {
    const char *name;
    MetaKind kind;
} OverlapName;
static const OverlapName overlap_names[] = {
    {"main-header", META_HEADER},          {"active-l1", META_ACTIVE_L1},
    {"active-l2", META_ACTIVE_L2},         {"refcount-table", META_REFTABLE},
    {"refcount-block", META_REFBLOCK},     {"snapshot-table", META_SNAPSHOTS},
    {"inactive-l1", META_INACTIVE_L1},     {"inactive-l2", META_INACTIVE_L2},
    {"bitmap-directory", META_BITMAP_DIR},
};

enum {
    OVERLAP_NONE = 0,
    OVERLAP_CONSTANT = BIT(META_HEADER) | BIT(META_ACTIVE_L1) | BIT(META_REFTABLE) |
                       BIT(META_SNAPSHOTS) | BIT(META_BITMAP_DIR) | BIT(META_CRYPT),
    OVERLAP_CACHED =
        OVERLAP_CONSTANT | BIT(META_ACTIVE_L2) | BIT(META_REFBLOCK) | BIT(META_INACTIVE_L1),
    OVERLAP_ALL = OVERLAP_CACHED | BIT(META_INACTIVE_L2),
};

static bool overlap_template(const char *name, unsigned *mask, Error *err)
{
    static const struct {
        const char *name;
        unsigned mask;
    } templates[] = {{"none", OVERLAP_NONE},
                     {"constant", OVERLAP_CONSTANT},
                     {"cached", OVERLAP_CACHED},
                     {"all", OVERLAP_ALL}};

    for (unsigned i = 0; i < COUNT_OF(templates); i++)
        if (!strcmp(name, templates[i].name)) {
            *mask = templates[i].mask;
            return true;
        }
    return error_set(err,
                     "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any of "
                     "the following: none, constant, cached, all",
                     name);
}

/* One switch, on top of the template. */
static bool overlap_switch(const char *name, const json_t *value, unsigned *mask, Error *err)
{
    const char *text = json_string_value(value);
    bool on = json_is_true(value);
    unsigned i = 0;

    while (i < COUNT_OF(overlap_names) && strcmp(name, overlap_names[i].name))
        i++;
    if (i == COUNT_OF(overlap_names))
        return error_set(err, "Block format 'qcow2' does not support the option 'overlap-check.%s'",
                         name);
    if (!json_is_boolean(value) && !(text && parse_bool(text, &on)))
        return error_set(err, "Parameter 'overlap-check.%s' expects 'on' or 'off'", name);
    *mask = on ? *mask | 1u << overlap_names[i].kind : *mask & ~(1u << overlap_names[i].kind);
    return true;
}

static bool overlap_parse(const json_t *j, unsigned *mask, Error *err)
{
    const char *template = json_string_value(json_object_get(j, "template")), *key;
    json_t *value;

    *mask = OVERLAP_CACHED;
    if (json_is_string(j))
        return overlap_template(json_string_value(j), mask, err);
    if (template && !overlap_template(template, mask, err))
        return false;
    json_object_foreach ((json_t *)(uintptr_t)j, key, value)
        if (strcmp(key, "template") && !overlap_switch(key, value, mask, err))
            return false;
    return true;
}

typedef struct CacheSizes {
    uint64_t l2, rb;
} CacheSizes;

static bool cache_sizes(Qcow2 *s, const Qcow2Options *o, CacheSizes *out, Error *err)
{
    uint64_t l2_all = (s->h.l1_size + 1ull) << s->cluster_bits;
    uint64_t min = (uint64_t)CACHE_ENTRIES_MIN * s->slice_bytes;

    *out = (CacheSizes){MIN(l2_all, (uint64_t)L2_CACHE_DEFAULT), RB_CACHE_DEFAULT};
    if (o->has_cache_size && o->has_l2_cache_size && o->has_refcount_cache_size)
        return error_set(err, "cache-size, l2-cache-size and refcount-cache-size may not be set at "
                              "the same time");
    if (o->has_cache_size && o->has_l2_cache_size && o->l2_cache_size > o->cache_size)
        return error_set(err, "l2-cache-size may not exceed cache-size");
    if (o->has_cache_size && o->has_refcount_cache_size && o->refcount_cache_size > o->cache_size)
        return error_set(err, "refcount-cache-size may not exceed cache-size");
    if (o->has_cache_size) {
        out->l2 = MIN(l2_all, o->cache_size - MIN(o->cache_size, (uint64_t)4 * s->rb_slice_bytes));
        if (o->has_refcount_cache_size)
            out->l2 = o->cache_size - o->refcount_cache_size;
        if (o->has_l2_cache_size)
            out->l2 = o->l2_cache_size;
        out->rb = o->cache_size - MIN(o->cache_size, out->l2);
    } else if (o->has_l2_cache_size) {
        out->l2 = MIN(l2_all, o->l2_cache_size);
    }
    if (o->has_refcount_cache_size)
        out->rb = o->refcount_cache_size;
    if (out->l2 / s->slice_bytes > INT32_MAX)
        return error_set(err, "L2 cache size too big");
    if (out->rb / s->rb_slice_bytes > INT32_MAX)
        return error_set(err, "Refcount cache size too big");
    out->l2 = MAX(out->l2, min);
    out->rb = MAX(out->rb, (uint64_t)CACHE_ENTRIES_MIN * s->rb_slice_bytes);
    return true;
}

static int clean_l2(void *arg)
{
    return qcow2_writeback(arg);
}

static void clean_caches(BlockNode *n)
{
    Qcow2 *s = qcow2_of(n);

    if (!lock_try(&n->meta)) /* in use, so the next time will do */
        return;
    cache_trim(s->l2);
    cache_trim(s->rb);
    lock_drop(&n->meta);
}

static bool make_caches(Qcow2 *s, const Qcow2Options *o, Error *err)
{
    uint64_t slice = o->has_l2_cache_entry_size ? o->l2_cache_entry_size
                                                : MIN((uint64_t)SLICE_DEFAULT, s->cluster_size);
    CacheSizes sizes;

    if (slice < 512 || slice > s->cluster_size || slice & (slice - 1))
        return error_set(err,
                         "L2 cache entry size must be a power of two between 512 and the cluster "
                         "size (%u)",
                         s->cluster_size);
    if (o->cache_clean_interval > UINT32_MAX)
        return error_set(err, "Cache clean interval too big");
    s->slice_bytes = (unsigned)slice;
    s->slice_bits = (unsigned)__builtin_ctzll(slice / s->entry_size);
    s->rb_slice_bytes = MIN((unsigned)SLICE_DEFAULT, s->cluster_size);
    s->rb_slice_bits = (unsigned)__builtin_ctz(s->rb_slice_bytes) + 3 - s->h.refcount_order;
    if (!cache_sizes(s, o, &sizes, err))
        return false;
    s->l2 =
        cache_new(s->n->file, s->slice_bytes, (unsigned)(sizes.l2 / s->slice_bytes), clean_l2, s);
    s->rb = cache_new(s->n->file, s->rb_slice_bytes, (unsigned)(sizes.rb / s->rb_slice_bytes),
                      clean_refcounts, s);
    cache_name_events(s->l2, EVENT_L2_LOAD, EVENT_L2_UPDATE);
    cache_name_events(s->rb, EVENT_NONE, EVENT_REFBLOCK_UPDATE_PART);
    periodic_start(&s->clean, s->n,
                   o->has_cache_clean_interval ? (unsigned)o->cache_clean_interval
                                               : CLEAN_INTERVAL_DEFAULT,
                   clean_caches);
    return true;
}

/* --- opening --- */

static int qcow2_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && get_be32(head) == QCOW2_MAGIC && get_be32(head + 4) >= 2 ? 100 : 0;
}

static void set_geometry(Qcow2 *s)
{
    const Qcow2Header *h = &s->h;

    s->cluster_bits = h->cluster_bits;
    s->cluster_size = 1u << h->cluster_bits;
    s->extended = h->incompatible & INCOMPAT_EXTENDED_L2;
    s->entry_size = s->extended ? 16 : 8;
    s->l2_bits = s->cluster_bits - (s->extended ? 4 : 3);
    s->sub_bits = s->cluster_bits - (s->extended ? 5 : 0);
    s->rb_bits = s->cluster_bits + 3 - h->refcount_order;
    s->has_data_file = h->incompatible & INCOMPAT_DATA_FILE;
    s->data_raw = h->autoclear & AUTOCLEAR_DATA_RAW;
    s->last_slice = UINT64_MAX;
}

static bool read_tables(Qcow2 *s, Error *err)
{
    uint64_t size = (uint64_t)s->h.rt_clusters << s->cluster_bits;

    s->rt_entries = (uint32_t)(size / 8);
    qcow2_event(s, EVENT_REFTABLE_LOAD);
    if (!l1_table_read(s, s->h.rt_at, s->rt_entries, &s->rt, err))
        return error_prefix(err, "Could not read the reference count table: ");
    for (uint32_t i = 0; i < s->rt_entries; i++)
        s->rt[i] &= ~511ull;
    if (!l1_table_read(s, s->h.l1_at, s->h.l1_size, &s->l1, err))
        return error_prefix(err, "Could not read L1 table: ");
    s->rt_dirty = try_new_n(uint8_t, s->rt_entries / 64 + 1);
    s->l1_dirty = try_new_n(uint8_t, s->h.l1_size / 64 + 1);
    return (s->rt_dirty && s->l1_dirty) || error_set(err, "no memory for the tables of the image");
}

/* The data file that the image names, unless the user named one. */
static bool open_data_file(Qcow2 *s, Error *err)
{
    BlockNode *n = s->n, *data;
    char *path;
    bool ok;

    if (!s->has_data_file) {
        if (n->data != n->file)
            return error_set(err,
                             "'data-file' can only be set for images with an external data file");
        return true;
    }
    if (n->data != n->file || n->flags & NODE_NO_IO)
        return true;
    if (!s->h.data_file)
        return error_set(err, "'data-file' is required for this image");
    path = block_path_combine(n->file->filename, s->h.data_file);
    data = node_open_image(
        n->graph, path, "raw", NULL,
        n->flags & (NODE_READ_ONLY | NODE_FORCE_SHARE | NODE_NO_CACHE | NODE_NO_FLUSH | NODE_UNMAP),
        err);
    ok = data && node_set_child(n, "data-file", data, err);
    node_unref(data);
    xfree(path);
    return ok || error_prefix(err, "Could not open the data file '%s': ", s->h.data_file);
}

static int crypt_io_read(void *arg, uint64_t at, void *buf, size_t size)
{
    Qcow2 *s = arg;

    if (at > s->h.crypt_size || size > s->h.crypt_size - at)
        return -EINVAL;
    return file_read(s->n->file, s->h.crypt_at + at, buf, size);
}

static int crypt_io_write(void *arg, uint64_t at, const void *buf, size_t size)
{
    Qcow2 *s = arg;

    if (at > s->h.crypt_size || size > s->h.crypt_size - at)
        return -EINVAL;
    return node_write(s->n->file, s->h.crypt_at + at, buf, size);
}

CryptoIo qcow2_crypt_io(Qcow2 *s)
{
    return (CryptoIo){crypt_io_read, node_is_read_only(s->n) ? NULL : crypt_io_write, s};
}

static bool open_crypto(Qcow2 *s, const Qcow2Options *o, Error *err)
{
    static const char *const names[] = {"none", "aes", "luks"};
    json_t *e =
        o->encrypt && json_is_object(o->encrypt) ? json_deep_copy(o->encrypt) : json_object();
    AUTO_FREE char *format = json_take_str(e, "format");
    AUTO_FREE char *secret = json_take_str(e, "key-secret");
    struct Objects *objects = graph_objects(s->n->graph);
    bool need = !(s->n->flags & NODE_NO_IO), ok = json_all_taken(e, err);
    CryptoIo io = qcow2_crypt_io(s);

    json_decref(e);
    if (!ok)
        return false;
    if (!s->h.crypt_method)
        return !format ||
               error_set(err, "No encryption in image header, but options specified format '%s'",
                         format);
    if (format && strcmp(format, names[s->h.crypt_method]))
        return error_set(err, "Header reported '%s' encryption format but options specify '%s'",
                         names[s->h.crypt_method], format);
    s->n->encrypted = true;
    s->n->request_align = CRYPTO_SECTOR;
    if (s->h.crypt_method == CRYPT_LUKS)
        s->crypto = crypto_luks_open(&io, objects, secret, need, err);
    else
        s->crypto = crypto_aes_open(objects, secret, need, err);
    return s->crypto || error_prefix(err, "Could not open the encrypted image: ");
}

/* Refcounts of an image that was not closed are rebuilt from what refers to clusters. */
static bool repair_dirty(Qcow2 *s, Error *err)
{
    CheckReport rep = {.quiet = true};

    if (!(s->h.incompatible & INCOMPAT_DIRTY) ||
        s->n->flags & (NODE_READ_ONLY | NODE_CHECK | NODE_NO_IO))
        return true;
    if (!qcow2_check_locked(s, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &rep, err))
        return error_prefix(err, "Could not repair dirty image: ");
    return !(rep.corruptions + rep.check_errors) ||
           error_set(err, "Could not repair dirty image: %" PRIu64 " errors remain",
                     rep.corruptions + rep.check_errors);
}

static bool clear_autoclear(Qcow2 *s, Error *err)
{
    Qcow2Header old = s->h;
    int rc;

    if (!(s->h.autoclear & ~(uint64_t)AUTOCLEAR_KNOWN) ||
        s->n->flags & (NODE_READ_ONLY | NODE_NO_IO))
        return true;
    s->h.autoclear &= AUTOCLEAR_KNOWN;
    rc = qcow2_header_commit(s, &old);
    return !rc || error_set_errno(err, -rc, "Could not update qcow2 header");
}

static void set_options(Qcow2 *s, const Qcow2Options *o)
{
    s->lazy = o->has_lazy_refcounts ? o->lazy_refcounts : s->h.compatible & COMPAT_LAZY;
    s->lazy = s->lazy && s->h.version >= 3;
    s->pass_discard[FREE_REQUEST] =
        o->has_pass_discard_request ? o->pass_discard_request : s->n->flags & NODE_UNMAP;
    s->pass_discard[FREE_SNAPSHOT] = o->has_pass_discard_snapshot ? o->pass_discard_snapshot : true;
    s->pass_discard[FREE_OTHER] = o->has_pass_discard_other && o->pass_discard_other;
}

static void set_node(Qcow2 *s)
{
    BlockNode *n = s->n;

    n->size = s->h.size;
    n->cluster_size = n->zero_align = s->cluster_size;
    n->zero_init = !s->h.crypt_method;
    if (s->h.backing_file && !n->backing_file)
        n->backing_file = xstrdup(s->h.backing_file);
    if (s->h.backing_format && !n->backing_format)
        n->backing_format = xstrdup(s->h.backing_format);
}

static bool check_open_flags(const Qcow2 *s, const Qcow2Options *o, Error *err)
{
    if (s->h.incompatible & INCOMPAT_CORRUPT && !(s->n->flags & (NODE_READ_ONLY | NODE_CHECK)))
        return error_set(err, "qcow2: Image is corrupt; cannot be opened read/write");
    if (o->has_lazy_refcounts && o->lazy_refcounts && s->h.version < 3)
        return error_set(err, "Lazy refcounts require a qcow2 image with at least qemu 1.1 "
                              "compatibility level");
    return true;
}

static bool qcow2_open(BlockNode *n, const void *options, Error *err)
{
    static const Qcow2Options none;
    const Qcow2Options *o = options ? options : &none;
    Qcow2 *s = qcow2_of(n);

    s->n = n;
    if (n->file->events)
        n->file->events->announced = true;
    if (!qcow2_header_read(n->file, &s->h, err) || !check_open_flags(s, o, err))
        return false;
    set_geometry(s);
    set_options(s, o);
    set_node(s);
    if (!overlap_parse(o->overlap_check, &s->overlap_mask, err) || !read_tables(s, err) ||
        !snapshots_read(s, err) || !open_data_file(s, err) || !open_crypto(s, o, err) ||
        !make_caches(s, o, err))
        return false;
    s->fresh_from = clusters_for(s, n->file->size);
    if (!node_is_read_only(n) && !(n->flags & NODE_NO_IO))
        meta_rebuild(s);
    return clear_autoclear(s, err) && repair_dirty(s, err) && qcow2_bitmaps_load(s, err);
}

/* --- closing --- */

/* Flags that a failed snapshot operation left are mended, if that is possible. */
static int writeback_with_marks(Qcow2 *s)
{
    int rc = qcow2_writeback(s);

    if (!rc && s->marks_due && !qcow2_may_write(s) && !qcow2_mark_active(s))
        rc = qcow2_writeback(s);
    return rc;
}

/* Everything to disk, and the image is said to be consistent. */
static int settle(Qcow2 *s)
{
    Qcow2Header old = s->h;
    bool lazy = s->lazy;
    int rc = 0;

    if (!s->rb || qcow2_may_write(s))
        return 0;
    s->lazy = false; /* this time the counts, too */
    rc = writeback_with_marks(s);
    for (int i = 0; i < 3 && !rc && atomic_load(&s->n->meta_dirty); i++)
        rc = qcow2_writeback(s); /* what is freed makes the counts dirty again */
    s->lazy = lazy;
    if (rc || !s->dirty_marked)
        return rc;
    rc = node_flush(s->n->file);
    __atomic_and_fetch(&s->h.incompatible, ~(uint64_t)INCOMPAT_DIRTY, __ATOMIC_RELAXED);
    if (!rc)
        rc = qcow2_header_commit(s, &old);
    else
        s->h = old;
    s->dirty_marked = rc;
    return rc;
}

static int settle_with_bitmaps(Qcow2 *s)
{
    Error err = {0};
    int rc;

    if (!s->rb || qcow2_may_write(s) || s->n->flags & NODE_NO_IO)
        return 0;
    if (!qcow2_bitmaps_store(s, &err))
        log_error("qcow2 image '%s': lost persistent bitmaps during inactivation: %s",
                  s->n->filename ? s->n->filename : "", err.msg);
    rc = settle(s);
    if (rc)
        log_error("qcow2 image '%s': could not write back metadata: %s",
                  s->n->filename ? s->n->filename : "", strerror(-rc));
    return rc;
}

static void qcow2_close(BlockNode *n)
{
    Qcow2 *s = qcow2_of(n);

    if (!s->n)
        return;
    periodic_stop(&s->clean);
    WITH_LOCK (&n->meta)
        settle_with_bitmaps(s);
    if (n->file->events)
        n->file->events->announced = false;
    snapshots_free(s);
    cache_free(s->l2);
    cache_free(s->rb);
    crypto_free(s->crypto);
    xfree(s->l1);
    xfree(s->l1_dirty);
    xfree(s->rt);
    xfree(s->rt_dirty);
    xfree(s->frees);
    xfree(s->meta.slot);
    qcow2_header_free(&s->h);
    *s = (Qcow2){0};
}

static void freeze_bitmaps(BlockNode *n)
{
    for (DirtyBitmap *b = bitmap_next(n, NULL); b; b = bitmap_next(n, b))
        if (bitmap_is_persistent(b) && !bitmap_is_inconsistent(b))
            bitmap_set_read_only(b, true);
}

static bool qcow2_reopen(BlockNode *n, const void *options, uint32_t flags, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    bool writes = !(flags & NODE_READ_ONLY);
    int rc = 0;

    (void)options;
    if (writes && s->h.incompatible & INCOMPAT_CORRUPT)
        return error_set(err, "qcow2: Image is corrupt; cannot be opened read/write");
    WITH_LOCK (&n->meta) {
        if (!writes && !node_is_read_only(n))
            rc = settle_with_bitmaps(s);
        if (!writes && !rc)
            freeze_bitmaps(n);
        if (writes && !s->meta.n_slots)
            meta_rebuild(s);
    }
    if (rc)
        return error_set_errno(err, -rc, "Could not write back the metadata of '%s'",
                               n->filename ? n->filename : n->name);
    return !writes ||
           (clear_autoclear(s, err) && repair_dirty(s, err) && qcow2_bitmaps_load(s, err));
}

static int qcow2_flush(BlockNode *n)
{
    return writeback_with_marks(qcow2_of(n));
}

/* --- resizing --- */

/* Zeroes over what is not zero in [at, end), which lies in one cluster. */
static int zero_in_cluster(Qcow2 *s, uint64_t at, uint64_t end)
{
    AUTO_FREE uint8_t *zeroes = try_alloc(end - at + 1);
    int rc = zeroes ? 0 : -ENOMEM;

    while (at < end && !rc) { /* subclusters differ */
        Extent e;
        uint64_t next;

        rc = qcow2_map(s->n, at, end - at, true, &e);
        if (rc)
            break;
        next = MIN(end, e.at + e.size);
        if (e.kind != EXTENT_ZERO &&
            (e.kind != EXTENT_UNALLOCATED || (s->n->backing && s->n->backing->size > at)))
            rc = qcow2_pwrite(s, at, zeroes, next - at);
        at = next;
    }
    return rc;
}

/* What was in the last cluster behind the old end, and a longer backing file, must not show. */
static int zero_new_part(Qcow2 *s, uint64_t old, uint64_t size)
{
    uint64_t tail = MIN(ALIGN_UP(old, (uint64_t)s->cluster_size), size);
    int rc = zero_in_cluster(s, old, tail);

    if (!rc && s->n->backing && s->n->backing->size > tail && size > tail)
        rc = qcow2_zero(s->n, tail, size - tail, BLOCK_MAY_UNMAP);
    return rc;
}

static bool grow(Qcow2 *s, uint64_t size, Preallocation p, Error *err)
{
    BlockNode *n = s->n;
    uint64_t old = s->h.size;
    int rc = l1_grow(s, l1_entries_for(s, size), true);

    if (rc == -EFBIG)
        return error_set(err, "Failed to grow the L1 table: image too big for its cluster size");
    if (rc)
        return error_set_errno(err, -rc, "Failed to grow the L1 table");
    rc = zero_new_part(s, old, size);
    if (rc)
        return error_set_errno(err, -rc, "Failed to zero the new area");
    if (s->data_raw && n->data->size > old) /* what the file has behind the old end */
        rc = node_zero(n->data, old, MIN(size, (uint64_t)n->data->size) - old, BLOCK_MAY_UNMAP);
    if (rc)
        return error_set_errno(err, -rc, "Failed to zero the new area of the data file");
    if (s->has_data_file && n->data->size < size && p == PREALLOC_OFF &&
        !node_truncate(n->data, size, p, false, err))
        return false;
    return p == PREALLOC_OFF || qcow2_preallocate(s, old, size - old, p, err);
}

/* L2 tables behind the new end are empty now. */
static void drop_tables(Qcow2 *s, uint64_t size)
{
    qcow2_event(s, EVENT_L1_SHRINK_WRITE_TABLE);
    qcow2_event(s, EVENT_L1_SHRINK_FREE_L2_CLUSTERS);
    for (uint64_t i = l1_entries_for(s, size); i < l1_entries_for(s, s->h.size); i++)
        if (s->l1[i] & ENTRY_OFFSET) {
            free_later(s, s->l1[i] & ENTRY_OFFSET, s->cluster_size, FREE_OTHER);
            l1_set(s, i, 0);
        }
}

static void cut_file(Qcow2 *s)
{
    uint64_t end = clusters_for(s, s->n->file->size), count = 0;

    while (end && !refcount_get(s, end - 1, &count) && !count)
        end--;
    if (end << s->cluster_bits < s->n->file->size && count)
        node_truncate(s->n->file, end << s->cluster_bits, PREALLOC_OFF, false, NULL);
}

static bool shrink(Qcow2 *s, uint64_t size, bool exact, Error *err)
{
    uint64_t from = ALIGN_UP(size, (uint64_t)s->cluster_size);
    int rc = from < s->h.size ? qcow2_drop(s, from, s->h.size - from, true) : 0;

    if (rc)
        return error_set_errno(err, -rc, "Failed to discard cropped clusters");
    drop_tables(s, size);
    rc = qcow2_writeback(s);
    if (rc)
        return error_set_errno(err, -rc, "Failed to shrink the tables");
    cut_file(s);
    return !s->has_data_file || !exact || !s->data_raw ||
           node_truncate(s->n->data, size, PREALLOC_OFF, false, err);
}

bool qcow2_truncate_locked(Qcow2 *s, uint64_t size, Preallocation p, bool exact, Error *err)
{
    Qcow2Header old;
    int rc = qcow2_may_write(s);

    if (rc)
        return error_set_errno(err, -rc, "The image cannot be resized");
    if (size % 512)
        return error_set(err, "The new size must be a multiple of 512");
    if (s->h.n_snapshots && s->h.version < 3)
        return error_set(err, "Can't resize a version 2 image which has snapshots");
    if (!qcow2_bitmaps_may_resize(s, err))
        return false;
    if (size < s->h.size && p != PREALLOC_OFF)
        return error_set(err, "Preallocation can't be used for shrinking an image");
    if (size > s->h.size && s->h.backing_file && p != PREALLOC_OFF && !s->extended)
        return error_set(err, "Backing file and preallocation can only be used at the same time if "
                              "extended_l2 is enabled");
    if (size > s->h.size ? !grow(s, size, p, err)
                         : size < s->h.size && !shrink(s, size, exact, err))
        return false;
    rc = qcow2_writeback(s);
    old = s->h;
    s->h.size = size;
    if (!rc)
        rc = qcow2_header_commit(s, &old);
    else
        s->h = old;
    if (rc)
        return error_set_errno(err, -rc, "Failed to update the image size");
    s->n->size = size;
    return true;
}

bool qcow2_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    bool ok = false;

    WITH_LOCK (&n->meta)
        ok = qcow2_truncate_locked(qcow2_of(n), size, p, exact, err);
    return ok;
}

/* --- telling --- */

static json_t *encrypt_info(Qcow2 *s)
{
    json_t *j =
        s->h.crypt_method == CRYPT_LUKS && s->crypto ? crypto_info(s->crypto) : json_object();

    json_object_set_new(j, "format", json_string(s->h.crypt_method == CRYPT_LUKS ? "luks" : "aes"));
    return j;
}

/* Workers change it meanwhile, under n->meta. */
static uint64_t incompatible_now(const Qcow2 *s)
{
    return __atomic_load_n(&s->h.incompatible, __ATOMIC_RELAXED);
}

static json_t *info_data(Qcow2 *s)
{
    json_t *j = json_object(), *bitmaps;

    json_object_set_new(j, "compat", json_string(s->h.version < 3 ? "0.10" : "1.1"));
    if (s->h.version >= 3)
        json_object_set_new(j, "compression-type", json_string(s->h.compression ? "zstd" : "zlib"));
    else
        json_object_set_new(j, "compression-type", json_string("zlib"));
    if (s->h.version >= 3) {
        json_object_set_new(j, "lazy-refcounts", json_boolean(s->h.compatible & COMPAT_LAZY));
        bitmaps = qcow2_bitmaps_info(s);
        if (bitmaps)
            json_object_set_new(j, "bitmaps", bitmaps);
    }
    json_object_set_new(j, "refcount-bits", json_integer(1 << s->h.refcount_order));
    if (s->h.crypt_method)
        json_object_set_new(j, "encrypt", encrypt_info(s));
    if (s->h.version >= 3) {
        if (s->has_data_file && s->h.data_file)
            json_object_set_new(j, "data-file", json_string(s->h.data_file));
        if (s->has_data_file)
            json_object_set_new(j, "data-file-raw", json_boolean(s->data_raw));
        json_object_set_new(j, "corrupt", json_boolean(incompatible_now(s) & INCOMPAT_CORRUPT));
        json_object_set_new(j, "extended-l2", json_boolean(s->extended));
    }
    return j;
}

static json_t *qcow2_info(BlockNode *n)
{
    Qcow2 *s = qcow2_of(n);

    return json_pack("{s:s, s:o, s:b}", "type", "qcow2", "data", info_data(s), "dirty-flag",
                     !!(incompatible_now(s) & INCOMPAT_DIRTY));
}

/* --- whole images --- */

static bool qcow2_set_backing(BlockNode *n, const char *file, const char *format, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    Qcow2Header old = s->h;
    char *name, *fmt;
    int rc = qcow2_may_write(s);

    if (rc)
        return error_set_errno(err, -rc, "Could not change the backing file of '%s'",
                               n->filename ? n->filename : n->name);
    if (file && s->data_raw)
        return error_set(err, "A backing file cannot be used with data-file-raw");
    if (file && strlen(file) > QCOW2_BACKING_MAX)
        return error_set(err, "Backing file name too long");
    s->h.backing_file = name = xstrdup(file);
    s->h.backing_format = fmt = xstrdup(file ? format : NULL);
    WITH_LOCK (&n->meta)
        rc = qcow2_header_commit(s, &old);
    xfree(rc ? name : old.backing_file);
    xfree(rc ? fmt : old.backing_format);
    if (rc)
        return error_set_errno(err, -rc, "Could not write the backing file's name");
    xfree(n->backing_file);
    xfree(n->backing_format);
    n->backing_file = xstrdup(name);
    n->backing_format = xstrdup(fmt);
    return true;
}

static int qcow2_make_empty(BlockNode *n)
{
    Qcow2 *s = qcow2_of(n);
    int rc = qcow2_may_write(s);

    qcow2_event(s, EVENT_EMPTY_IMAGE_PREPARE);
    WITH_LOCK (&n->meta) {
        if (!rc)
            rc = qcow2_drop(s, 0, s->h.size, true);
        if (!rc)
            rc = qcow2_writeback(s);
    }
    return rc;
}

static const ChildSlot qcow2_children[] = {
    {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true},
    {"backing", ROLE_BACKING, false},
    {"data-file", ROLE_DATA, false},
    {NULL, 0, false},
};

static BlockDriver qcow2_driver = {
    .name = "qcow2",
    .doc = "QEMU copy-on-write version 2 and 3",
    .kind = DRIVER_FORMAT,
    .options = &options_type,
    .children = qcow2_children,
    .state_size = sizeof(Qcow2),
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .reopen = qcow2_reopen,
    .map = qcow2_map,
    .allocate = qcow2_allocate,
    .link = qcow2_link,
    .cancel = qcow2_cancel,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .flush = qcow2_flush,
    .read = qcow2_read,
    .encode = qcow2_encode,
    .write_compressed = qcow2_write_compressed,
    .truncate = qcow2_truncate,
    .info = qcow2_info,
    .create = qcow2_create,
    .create_file = qcow2_create_file,
    .create_options = &qcow2_create_type,
    .amend = qcow2_amend,
    .amend_options = &qcow2_amend_type,
    .check = qcow2_check,
    .set_backing = qcow2_set_backing,
    .measure = qcow2_measure,
    .make_empty = qcow2_make_empty,
    .snapshots = &qcow2_snapshot_ops,
    .bitmap_ops = &qcow2_bitmap_ops,
    .save_vmstate = qcow2_save_vmstate,
    .load_vmstate = qcow2_load_vmstate,
};
BLOCK_DRIVER_REGISTER(qcow2_driver)
