/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_header - the first cluster: header, extensions, names; the corrupt and the dirty bit
 *
 * Every number is checked here before anybody uses it; messages name the field.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "block/qcow2_priv.h"

enum { /* extensions */
       EXT_END = 0,
       EXT_BACKING_FORMAT = 0xe2792aca,
       EXT_FEATURES = 0x6803f857,
       EXT_BITMAPS = 0x23852875,
       EXT_CRYPT = 0x0537be77,
       EXT_DATA_FILE = 0x44415441,
       FEATURE_SIZE = 48,
       FEATURE_NAME = 46,
       FEATURES_CLUSTER = 4096, /* not in clusters up to this size */
};

typedef struct Feature {
    uint8_t type, bit;
    const char *name;
} Feature;
static const Feature features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

/* --- reading --- */

static void parse_fixed(Qcow2Header *h, const uint8_t *p)
{
    h->version = get_be32(p + 4);
    h->backing_at = get_be64(p + 8);
    h->backing_size = get_be32(p + 16);
    h->cluster_bits = get_be32(p + 20);
    h->size = get_be64(p + 24);
    h->crypt_method = get_be32(p + 32);
    h->l1_size = get_be32(p + 36);
    h->l1_at = get_be64(p + 40);
    h->rt_at = get_be64(p + 48);
    h->rt_clusters = get_be32(p + 56);
    h->n_snapshots = get_be32(p + 60);
    h->snapshots_at = get_be64(p + 64);
    h->refcount_order = 4;
    h->header_length = QCOW2_HEADER_V2;
    if (h->version < 3)
        return;
    h->incompatible = get_be64(p + 72);
    h->compatible = get_be64(p + 80);
    h->autoclear = get_be64(p + 88);
    h->refcount_order = get_be32(p + 96);
    h->header_length = get_be32(p + 100);
    h->compression = h->header_length > 104 ? p[104] : 0;
}

static bool check_version(const Qcow2Header *h, Error *err)
{
    unsigned bits = h->cluster_bits;

    if (h->version < 2 || h->version > 3)
        return error_set(err, "Unsupported qcow2 version %" PRIu32, h->version);
    if (bits < QCOW2_CLUSTER_BITS_MIN || bits > QCOW2_CLUSTER_BITS_MAX)
        return error_set(err, "Unsupported cluster size: 2^%u", bits);
    if (h->version >= 3 && h->header_length < QCOW2_HEADER_V3)
        return error_set(err, "qcow2 header too short");
    if (h->header_length > 1u << bits)
        return error_set(err, "qcow2 header exceeds cluster size");
    if (h->header_length % 8)
        return error_set(err, "qcow2 header length %" PRIu32 " is not a multiple of 8",
                         h->header_length);
    if (h->backing_at > 1u << bits)
        return error_set(err, "Invalid backing file offset");
    if (h->backing_at && h->backing_at < h->header_length)
        return error_set(err, "Invalid backing file offset: %" PRIu64 " lies in the header",
                         h->backing_at);
    return true;
}

/* A table must be aligned, non-empty room before 2^63. */
static bool check_table(const Qcow2Header *h, uint64_t at, uint64_t size, const char *what,
                        Error *err)
{
    if (at & ((1u << h->cluster_bits) - 1) || at > (uint64_t)INT64_MAX - size)
        return error_set(err, "%s offset invalid (%#" PRIx64 ")", what, at);
    return true;
}

static bool check_tables(const Qcow2Header *h, Error *err)
{
    unsigned bits = h->cluster_bits, entry_bits = h->incompatible & INCOMPAT_EXTENDED_L2 ? 4 : 3;
    unsigned shift = 2 * bits - entry_bits;
    uint64_t entries = (h->size >> shift) + !!(h->size & (BIT(shift) - 1));

    if (!h->rt_clusters && !h->rt_at)
        return error_set(err, "Image does not contain a reference count table");
    if ((uint64_t)h->rt_clusters << bits > MAX((uint64_t)QCOW2_REFTABLE_MAX, BIT(bits)))
        return error_set(err, "Reference count table too large (%" PRIu32 " clusters)",
                         h->rt_clusters);
    if (!check_table(h, h->rt_at, (uint64_t)h->rt_clusters << bits, "Reference count table", err))
        return false;
    if (h->l1_size > QCOW2_L1_MAX / 8)
        return error_set(err, "Active L1 table too large (%" PRIu32 " entries)", h->l1_size);
    if (!check_table(h, h->l1_at, h->l1_size * 8ull, "Active L1 table", err))
        return false;
    if (h->size > INT64_MAX)
        return error_set(err, "Image is too big for qcow2: %" PRIu64 " bytes", h->size);
    if (entries > QCOW2_L1_MAX / 8)
        return error_set(err, "Image is too big");
    if (h->l1_size < entries)
        return error_set(err, "L1 table is too small (%" PRIu32 " entries, %" PRIu64 " needed)",
                         h->l1_size, entries);
    if (h->n_snapshots > QCOW2_SNAPSHOTS_MAX)
        return error_set(err, "Snapshot table too large (%" PRIu32 " snapshots)", h->n_snapshots);
    return check_table(h, h->snapshots_at, h->n_snapshots * 40ull, "Snapshot table", err);
}

static bool check_features(const Qcow2Header *h, Error *err)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)INCOMPAT_KNOWN;
    bool type_bit = h->incompatible & INCOMPAT_COMPRESSION;

    if (unknown)
        return error_set(err, "Unsupported qcow2 feature(s): %s", h->feature_names);
    if (h->compression > COMPRESSION_ZSTD)
        return error_set(err, "qcow2: unknown compression type: %u", h->compression);
    if (type_bit != (h->compression != COMPRESSION_ZLIB))
        return error_set(
            err, type_bit ? "qcow2: Compression type incompatible feature bit must not be set"
                          : "qcow2: Compression type incompatible feature bit must be set");
    if (h->incompatible & INCOMPAT_EXTENDED_L2 && h->cluster_bits < 14)
        return error_set(err, "qcow2: Extended L2 entries need clusters of at least 16384 bytes");
    if (h->refcount_order > 6)
        return error_set(err, "Reference count entry width too large; may not exceed 64 bits");
    if (h->crypt_method > CRYPT_LUKS)
        return error_set(err, "Unsupported encryption method %" PRIu32, h->crypt_method);
    if (h->autoclear & AUTOCLEAR_DATA_RAW && !(h->incompatible & INCOMPAT_DATA_FILE))
        return error_set(err, "data-file-raw requires an external data file");
    return true;
}

/* What the image's own table calls the unknown features. */
static char *name_features(const uint8_t *table, uint32_t size, uint64_t unknown)
{
    StrBuf b = {0};

    for (uint32_t i = 0; table && i + FEATURE_SIZE <= size; i += FEATURE_SIZE) {
        const uint8_t *f = table + i;

        if (f[0] || f[1] > 63 || !(unknown >> f[1] & 1))
            continue;
        strbuf_addf(&b, "%s%.*s", b.len ? ", " : "", FEATURE_NAME, (const char *)f + 2);
        unknown &= ~BIT(f[1]);
    }
    if (unknown)
        strbuf_addf(&b, "%sUnknown incompatible feature: %" PRIx64, b.len ? ", " : "", unknown);
    return strbuf_take(&b);
}

static char *take_string(const uint8_t *p, uint32_t size)
{
    char *s = xalloc(size + 1ull);

    memcpy(s, p, size);
    return s;
}

static bool parse_bitmaps_ext(Qcow2Header *h, const uint8_t *p, uint32_t len, Error *err)
{
    if (len != 24)
        return error_set(err, "bitmaps_ext: Invalid extension length (%" PRIu32 ")", len);
    if (!(h->autoclear & AUTOCLEAR_BITMAPS))
        return true; /* whoever wrote last did not know of bitmaps */
    h->n_bitmaps = get_be32(p);
    h->bitmap_dir_size = get_be64(p + 8);
    h->bitmap_dir_at = get_be64(p + 16);
    if (get_be32(p + 4))
        return error_set(err, "bitmaps_ext: Reserved field is not zero");
    if (!h->n_bitmaps)
        return error_set(err, "bitmaps_ext: found bitmaps extension with zero bitmaps");
    if (h->n_bitmaps > QCOW2_BITMAPS_MAX)
        return error_set(err,
                         "bitmaps_ext: image has %" PRIu32 " bitmaps, exceeding the maximum of %d",
                         h->n_bitmaps, QCOW2_BITMAPS_MAX);
    if (h->bitmap_dir_size > QCOW2_BITMAP_DIR_MAX)
        return error_set(err,
                         "bitmaps_ext: bitmap directory size (%" PRIu64 ") exceeds the maximum",
                         h->bitmap_dir_size);
    if (!h->bitmap_dir_at)
        return error_set(err, "bitmaps_ext: invalid bitmap directory offset 0");
    return check_table(h, h->bitmap_dir_at, h->bitmap_dir_size, "bitmaps_ext: bitmap directory",
                       err);
}

static bool parse_crypt_ext(Qcow2Header *h, const uint8_t *p, uint32_t len, Error *err)
{
    if (h->crypt_method != CRYPT_LUKS)
        return error_set(err, "CRYPTO header extension only expected with LUKS encryption method");
    if (len != 16)
        return error_set(err, "CRYPTO header extension size %" PRIu32 ", but expected size 16",
                         len);
    h->crypt_at = get_be64(p);
    h->crypt_size = get_be64(p + 8);
    if (!h->crypt_at || h->crypt_size > INT64_MAX)
        return error_set(err, "Encryption header offset or size invalid");
    return check_table(h, h->crypt_at, h->crypt_size, "Encryption header", err);
}

static bool keep_unknown(Qcow2Header *h, const uint8_t *ext, uint32_t len)
{
    uint32_t size = 8 + ALIGN_UP(len, 8u);

    h->unknown_ext = xrealloc(h->unknown_ext, h->unknown_ext_size + size);
    memset(h->unknown_ext + h->unknown_ext_size, 0, size);
    memcpy(h->unknown_ext + h->unknown_ext_size, ext, 8 + len);
    h->unknown_ext_size += size;
    return true;
}

static bool parse_ext(Qcow2Header *h, const uint8_t *ext, uint32_t len, Error *err)
{
    const uint8_t *p = ext + 8;

    switch (get_be32(ext)) {
    case EXT_BACKING_FORMAT:
        xfree(h->backing_format);
        h->backing_format = take_string(p, len);
        return true;
    case EXT_FEATURES:
        if (h->incompatible & ~(uint64_t)INCOMPAT_KNOWN) {
            xfree(h->feature_names);
            h->feature_names = name_features(p, len, h->incompatible & ~(uint64_t)INCOMPAT_KNOWN);
        }
        return true;
    case EXT_DATA_FILE:
        xfree(h->data_file);
        h->data_file = take_string(p, len);
        return true;
    case EXT_BITMAPS: return parse_bitmaps_ext(h, p, len, err);
    case EXT_CRYPT: return parse_crypt_ext(h, p, len, err);
    default: return keep_unknown(h, ext, len);
    }
}

static bool parse_extensions(Qcow2Header *h, const uint8_t *buf, Error *err)
{
    uint32_t at = h->header_length,
             end = h->backing_at ? (uint32_t)h->backing_at : 1u << h->cluster_bits;

    while (at + 8 <= end && get_be32(buf + at) != EXT_END) {
        uint32_t len = get_be32(buf + at + 4);

        if (len > end - at - 8)
            return error_set(err,
                             "Header extension too large (%" PRIu32 " bytes at offset %" PRIu32 ")",
                             len, at);
        if (!parse_ext(h, buf + at, len, err))
            return false;
        at += 8 + ALIGN_UP(len, 8u);
    }
    return true;
}

static bool parse_backing(Qcow2Header *h, const uint8_t *buf, Error *err)
{
    uint64_t room = (1u << h->cluster_bits) - h->backing_at;

    if (!h->backing_at)
        return true;
    if (h->backing_size > MIN(room, (uint64_t)QCOW2_BACKING_MAX))
        return error_set(err, "Backing file name too long");
    h->backing_file = take_string(buf + h->backing_at, h->backing_size);
    return true;
}

bool qcow2_header_read(BlockNode *file, Qcow2Header *h, Error *err)
{
    uint8_t head[QCOW2_HEADER_OURS];
    uint8_t *buf = NULL;
    bool ok;
    int rc = file_read(file, 0, head, sizeof(head));

    *h = (Qcow2Header){0};
    if (rc)
        return error_set_errno(err, -rc, "Could not read qcow2 header");
    if (get_be32(head) != QCOW2_MAGIC)
        return error_set(err, "Image is not in qcow2 format");
    parse_fixed(h, head);
    if (!check_version(h, err))
        return false;
    buf = try_alloc(1u << h->cluster_bits);
    if (!buf)
        return error_set(err, "Could not allocate memory for the qcow2 header");
    rc = file_read(file, 0, buf, 1u << h->cluster_bits);
    if (rc) {
        xfree(buf);
        return error_set_errno(err, -rc, "Could not read qcow2 header");
    }
    if (h->header_length > QCOW2_HEADER_OURS) {
        h->unknown_fields_size = h->header_length - QCOW2_HEADER_OURS;
        h->unknown_fields = xalloc(h->unknown_fields_size);
        memcpy(h->unknown_fields, buf + QCOW2_HEADER_OURS, h->unknown_fields_size);
    }
    if (h->incompatible & ~(uint64_t)INCOMPAT_KNOWN)
        h->feature_names = name_features(NULL, 0, h->incompatible & ~(uint64_t)INCOMPAT_KNOWN);
    ok = parse_extensions(h, buf, err) && check_features(h, err) && check_tables(h, err) &&
         parse_backing(h, buf, err);
    if (ok && h->autoclear & AUTOCLEAR_BITMAPS && !h->n_bitmaps)
        h->autoclear &= ~(uint64_t)AUTOCLEAR_BITMAPS;
    if (ok && h->crypt_method == CRYPT_LUKS && !h->crypt_at)
        ok = error_set(err, "LUKS encryption header extension is missing");
    xfree(buf);
    return ok;
}

void qcow2_header_free(Qcow2Header *h)
{
    xfree(h->unknown_fields);
    xfree(h->unknown_ext);
    xfree(h->data_file);
    xfree(h->backing_file);
    xfree(h->backing_format);
    xfree(h->feature_names);
    *h = (Qcow2Header){0};
}

/* --- writing --- */

typedef struct Builder {
    uint8_t *p;
    unsigned at, size;
    bool full;
} Builder;

static void add_bytes(Builder *b, const void *p, size_t n)
{
    if (b->full || n > b->size - b->at) {
        b->full = true;
        return;
    }
    if (n)
        memcpy(b->p + b->at, p, n);
    b->at += (unsigned)n;
}

static void add_ext(Builder *b, uint32_t type, const void *p, size_t n)
{
    static const uint8_t zero[8];
    uint8_t head[8];

    put_be32(head, type);
    put_be32(head + 4, (uint32_t)n);
    add_bytes(b, head, 8);
    add_bytes(b, p, n);
    add_bytes(b, zero, ALIGN_UP(n, (size_t)8) - n);
}

static void build_fixed(const Qcow2Header *h, uint8_t *p)
{
    put_be32(p, QCOW2_MAGIC);
    put_be32(p + 4, h->version);
    put_be32(p + 20, h->cluster_bits);
    put_be64(p + 24, h->size);
    put_be32(p + 32, h->crypt_method);
    put_be32(p + 36, h->l1_size);
    put_be64(p + 40, h->l1_at);
    put_be64(p + 48, h->rt_at);
    put_be32(p + 56, h->rt_clusters);
    put_be32(p + 60, h->n_snapshots);
    put_be64(p + 64, h->snapshots_at);
    if (h->version < 3)
        return;
    put_be64(p + 72, h->incompatible);
    put_be64(p + 80, h->compatible);
    put_be64(p + 88, h->autoclear);
    put_be32(p + 96, h->refcount_order);
    put_be32(p + 100, QCOW2_HEADER_OURS + h->unknown_fields_size);
    p[104] = h->compression;
}

static void add_features(Builder *b)
{
    uint8_t table[COUNT_OF(features) * FEATURE_SIZE] = {0};

    for (unsigned i = 0; i < COUNT_OF(features); i++) {
        uint8_t *f = table + i * FEATURE_SIZE;

        f[0] = features[i].type;
        f[1] = features[i].bit;
        memcpy(f + 2, features[i].name, strlen(features[i].name));
    }
    add_ext(b, EXT_FEATURES, table, sizeof(table));
}

static void add_extensions(Builder *b, const Qcow2Header *h)
{
    uint8_t ext[24] = {0};

    if (h->backing_format)
        add_ext(b, EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
    if (h->data_file)
        add_ext(b, EXT_DATA_FILE, h->data_file, strlen(h->data_file));
    if (h->crypt_at) {
        put_be64(ext, h->crypt_at);
        put_be64(ext + 8, h->crypt_size);
        add_ext(b, EXT_CRYPT, ext, 16);
    }
    if (h->version >= 3 && b->size > FEATURES_CLUSTER)
        add_features(b); /* they are for messages only: in small clusters names need the room */
    if (h->n_bitmaps && h->version >= 3) {
        put_be32(ext, h->n_bitmaps);
        put_be32(ext + 4, 0);
        put_be64(ext + 8, h->bitmap_dir_size);
        put_be64(ext + 16, h->bitmap_dir_at);
        add_ext(b, EXT_BITMAPS, ext, 24);
    }
    add_bytes(b, h->unknown_ext, h->unknown_ext_size);
    add_ext(b, EXT_END, NULL, 0);
}

bool qcow2_header_build(const Qcow2Header *h, uint8_t *buf, unsigned cluster_size, unsigned *size,
                        Error *err)
{
    Builder b = {.p = buf, .size = cluster_size};

    memset(buf, 0, cluster_size);
    build_fixed(h, buf);
    b.at = h->version < 3 ? QCOW2_HEADER_V2 : QCOW2_HEADER_OURS;
    if (h->version >= 3)
        add_bytes(&b, h->unknown_fields, h->unknown_fields_size);
    add_extensions(&b, h);
    if (h->backing_file) {
        put_be64(buf + 8, b.at);
        put_be32(buf + 16, (uint32_t)strlen(h->backing_file));
        add_bytes(&b, h->backing_file, strlen(h->backing_file));
    }
    *size = b.at;
    return !b.full || error_set(err,
                                "The qcow2 header, its extensions and names do not fit into a "
                                "cluster of %u bytes; use larger clusters",
                                cluster_size);
}

/* @begun: the header on disk may be another one now, also after a failure. */
static int header_write(Qcow2 *s, bool *begun)
{
    uint8_t *buf = try_alloc(s->cluster_size);
    unsigned size;
    int rc = buf ? 0 : -ENOMEM;

    if (!rc && !qcow2_header_build(&s->h, buf, s->cluster_size, &size, NULL))
        rc = -ENOSPC;
    *begun = !rc;
    if (!rc)
        rc = node_write(s->n->file, 0, buf, ALIGN_UP(size, 512u));
    if (!rc)
        rc = node_flush(s->n->file);
    xfree(buf);
    return rc;
}

int qcow2_header_write(Qcow2 *s)
{
    bool begun;

    return header_write(s, &begun);
}

int qcow2_header_commit(Qcow2 *s, const Qcow2Header *old)
{
    bool begun;
    int rc = header_write(s, &begun);

    if (!rc)
        return 0;
    s->h = *old;
    if (begun && qcow2_header_write(s)) {
        log_error("qcow2 image '%s': the header could not be written; the image stays read-only",
                  s->n->filename ? s->n->filename : "");
        s->broken = true;
    }
    return rc;
}

static int corrupt_at(Qcow2 *s, const BlockCorruption *c)
{
    bool writable = !node_is_read_only(s->n);

    s->broken = true;
    log_error("qcow2: %s: %s; further %scorruption events will be suppressed (image '%s')",
              writable ? "Marking image as corrupt" : "Image is corrupt", c->msg,
              writable ? "" : "non-fatal ", s->n->filename ? s->n->filename : "");
    node_corrupted(s->n, c);
    if (writable && s->h.version >= 3) { /* others have no place for it */
        __atomic_or_fetch(&s->h.incompatible, INCOMPAT_CORRUPT, __ATOMIC_RELAXED);
        qcow2_header_write(s);
    }
    return -EIO;
}

int qcow2_corrupt(Qcow2 *s, bool may_block, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    if (s->broken)
        return -EIO;
    if (!may_block)
        return -EAGAIN;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return corrupt_at(s, &(BlockCorruption){.msg = text, .fatal = !node_is_read_only(s->n)});
}

int qcow2_overlaps(Qcow2 *s, uint64_t at, uint64_t size, const char *with, bool may_block)
{
    char text[128];

    if (s->broken)
        return -EIO;
    if (!may_block)
        return -EAGAIN;
    snprintf(text, sizeof(text), "Preventing invalid write on metadata (overlaps with %s)", with);
    return corrupt_at(s, &(BlockCorruption){.msg = text,
                                            .fatal = !node_is_read_only(s->n),
                                            .has_place = true,
                                            .offset = at,
                                            .size = size});
}

int qcow2_mark_dirty(Qcow2 *s, bool may_block)
{
    Qcow2Header old = s->h;
    int rc;

    if (!may_block)
        return -EAGAIN;
    __atomic_or_fetch(&s->h.incompatible, INCOMPAT_DIRTY, __ATOMIC_RELAXED);
    rc = qcow2_header_commit(s, &old);
    s->dirty_marked = !rc;
    return rc;
}
