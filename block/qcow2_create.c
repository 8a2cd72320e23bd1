/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_create - new images, how large they would be, and changing what they are
 *
 * A new image is header, reference count table, its blocks, L1 table and encryption header, in that
 * order and written once; preallocation goes through the opened image.
 */
#include "base/opts_json.h"
#include "block/bitmap.h"
#include "block/crypto.h"
#include "block/qcow2_priv.h"

enum { CLUSTER_DEFAULT = 65536 };

/* --- options --- */

typedef struct Qcow2Create {
    uint64_t size, cluster_size, refcount_bits;
    char *compat, *backing_file, *backing_fmt, *encrypt_format, *data_file, *compression_type;
    uint32_t preallocation;
    bool lazy_refcounts, data_file_raw, extended_l2, encryption, has_encryption, has_size;
    CryptoCreate crypto;
    uint32_t crypt_method; /* what the options come to */
} Qcow2Create;

static const Field create_fields[] = {
    PROP_STR(Qcow2Create, backing_file, "backing_file", NULL, "File name of a base image"),
    PROP_STR(Qcow2Create, backing_fmt, "backing_fmt", NULL, "Image format of the base image"),
    PROP_SIZE(Qcow2Create, cluster_size, "cluster_size", CLUSTER_DEFAULT, "qcow2 cluster size"),
    PROP_STR(Qcow2Create, compat, "compat", "1.1", "Compatibility level (v2 [0.10] or v3 [1.1])"),
    PROP_STR(Qcow2Create, compression_type, "compression_type", "zlib",
             "Compression method used for image cluster compression"),
    PROP_STR(Qcow2Create, data_file, "data_file", NULL, "File name of an external data file"),
    PROP(Qcow2Create, data_file_raw, "data_file_raw", false,
         "The external data file must stay valid as a raw image"),
    PROP_STR(Qcow2Create, encrypt_format, "encrypt.format", NULL,
             "Encrypt the image, format choices: 'aes', 'luks'"),
    CRYPTO_CREATE_FIELDS(Qcow2Create, crypto, "encrypt.",
                         "ID of secret providing qcow AES key or LUKS passphrase"),
    {.name = "encryption",
     .type = &type_bool,
     .doc = "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
     .at = offsetof(Qcow2Create, encryption),
     .has_at = offsetof(Qcow2Create, has_encryption),
     .count = 1,
     .use = FIELD_PROP,
     .flags = FIELD_OPTIONAL},
    PROP(Qcow2Create, extended_l2, "extended_l2", false, "Extended L2 tables"),
    PROP(Qcow2Create, lazy_refcounts, "lazy_refcounts", false, "Postpone refcount updates"),
    PROP_ENUM(Qcow2Create, preallocation, "preallocation", &preallocation_type, PREALLOC_OFF,
              "Preallocation mode (allowed values: off, metadata, falloc, full)"),
    PROP(Qcow2Create, refcount_bits, "refcount_bits", 16,
         "Width of a reference count entry in bits"),
    {.name = "size",
     .type = &type_size,
     .doc = "Virtual disk size",
     .at = offsetof(Qcow2Create, size),
     .has_at = offsetof(Qcow2Create, has_size),
     .count = 1,
     .use = FIELD_PROP,
     .flags = FIELD_OPTIONAL},
};
STRUCT_TYPE(qcow2_create_type, Qcow2Create, create_fields);

static bool parse_compat(const char *compat, uint32_t *version, Error *err)
{
    if (!strcmp(compat, "0.10") || !strcmp(compat, "v2"))
        *version = 2;
    else if (!strcmp(compat, "1.1") || !strcmp(compat, "v3"))
        *version = 3;
    else
        return error_set(err, "Unknown compatibility level %s (0.10 and 1.1 are known)", compat);
    return true;
}

static bool check_widths(const Qcow2Create *o, uint32_t version, Error *err)
{
    uint64_t cs = o->cluster_size, bits = o->refcount_bits;

    if (cs < 512 || cs > 2 * MIB || cs & (cs - 1))
        return error_set(err, "Cluster size must be a power of two between 512 and 2048k");
    if (!bits || bits > 64 || bits & (bits - 1))
        return error_set(err, "Refcount width must be a power of two and may not exceed 64 bits");
    if (version < 3 && bits != 16)
        return error_set(err, "Different refcount widths than 16 bits require compatibility level "
                              "1.1 or above (use version=v3 or greater)");
    if (o->extended_l2 && cs < 16384)
        return error_set(err, "Extended L2 entries are only supported with cluster sizes of at "
                              "least 16384 bytes");
    return true;
}

static bool check_version_3(const Qcow2Create *o, Error *err)
{
    const char *what = o->lazy_refcounts                     ? "Lazy refcounts only"
                       : o->data_file                        ? "External data files are only"
                       : o->extended_l2                      ? "Extended L2 entries are only"
                       : strcmp(o->compression_type, "zlib") ? "Non-zlib compression type is only"
                                                             : NULL;

    return !what || error_set(err,
                              "%s supported with compatibility level 1.1 and above (use "
                              "version=v3 or greater)",
                              what);
}

/* Before anything is made: the old way has no header that would need the key. */
static bool check_secret(BlockGraph *g, const Qcow2Create *o, Error *err)
{
    return !o->crypt_method ||
           crypto_secret_check(graph_objects(g), "encrypt.key-secret", o->crypto.key_secret, err);
}

/* The first option that only makes sense for a LUKS header; NULL: none was given. */
static const char *luks_option(const CryptoCreate *c)
{
    const struct {
        bool given;
        const char *name;
    } all[] = {
        {c->cipher_alg, "cipher-alg"}, {c->cipher_mode, "cipher-mode"},
        {c->hash_alg, "hash-alg"},     {c->iter_time, "iter-time"},
        {c->ivgen_alg, "ivgen-alg"},   {c->ivgen_hash_alg, "ivgen-hash-alg"},
    };

    for (unsigned i = 0; i < COUNT_OF(all); i++)
        if (all[i].given)
            return all[i].name;
    return NULL;
}

static bool check_encryption(Qcow2Create *o, Error *err)
{
    const char *format = o->encrypt_format, *luks = luks_option(&o->crypto);

    if (format && o->has_encryption)
        return error_set(
            err, "'encrypt.format' and its alias 'encryption' can't be used at the same time");
    if (o->encryption)
        format = "aes";
    if (!format && (luks || o->crypto.key_secret))
        return error_set(err, "Parameter 'encrypt.format' is missing");
    if (!format)
        return true;
    if (strcmp(format, "aes") && strcmp(format, "luks"))
        return error_set(err, "Parameter 'format' does not accept value '%s' (known: aes, luks)",
                         format);
    o->crypt_method = strcmp(format, "aes") ? CRYPT_LUKS : CRYPT_AES;
    return o->crypt_method == CRYPT_LUKS || !luks ||
           error_set(err, "Parameter 'encrypt.%s' is unexpected", luks);
}

static bool check_create(Qcow2Create *o, uint32_t *version, Error *err)
{
    if (!parse_compat(o->compat, version, err) || !check_widths(o, *version, err))
        return false;
    if (*version < 3 && !check_version_3(o, err))
        return false;
    if (!o->has_size)
        return error_set(err, "Image creation needs a size parameter");
    if (strcmp(o->compression_type, "zlib") && strcmp(o->compression_type, "zstd"))
        return error_set(err, "Unknown compression type '%s' (zlib and zstd are known)",
                         o->compression_type);
    if (o->backing_fmt && !o->backing_file)
        return error_set(err, "Backing format cannot be used without backing file");
    if (o->backing_file && strlen(o->backing_file) > QCOW2_BACKING_MAX)
        return error_set(err, "Backing file name too long");
    if (o->data_file_raw && !o->data_file)
        return error_set(err, "data-file-raw requires data-file");
    if (o->data_file_raw && o->backing_file)
        return error_set(err, "Backing file and data-file-raw cannot be used at the same time");
    if (o->backing_file && o->preallocation != PREALLOC_OFF && !o->extended_l2)
        return error_set(err, "Backing file and preallocation can only be used at the same time if "
                              "extended_l2 is enabled");
    if (!check_encryption(o, err))
        return false;
    if (o->data_file_raw && o->preallocation == PREALLOC_OFF)
        o->preallocation =
            PREALLOC_METADATA; /* unallocated parts would not be in the raw file's words */
    o->size = ALIGN_UP(o->size, 512ull);
    return o->size <= INT64_MAX || error_set(err, "Image is too big");
}

/* --- the layout of a new image --- */

typedef struct Layout {
    uint64_t rt, rb, l1, crypt; /* clusters of each */
} Layout;

static bool layout_of(const Qcow2Header *h, Layout *l, Error *err)
{
    unsigned bits = h->cluster_bits;
    unsigned shift = 2 * bits - (h->incompatible & INCOMPAT_EXTENDED_L2 ? 4 : 3);
    uint64_t entries = (h->size >> shift) + !!(h->size & (BIT(shift) - 1)), cs = BIT(bits);
    uint64_t per_block = BIT(bits + 3 - h->refcount_order), all;

    if (entries > QCOW2_L1_MAX / 8)
        return error_set(err, "The image size is too large (try using a larger cluster size)");
    *l = (Layout){.rt = 1, .rb = 1, .l1 = MAX((entries * 8 + cs - 1) >> bits, 1u)};
    l->crypt = (h->crypt_size + cs - 1) >> bits;
    for (;;) {
        uint64_t rb, rt;

        all = 1 + l->rt + l->rb + l->l1 + l->crypt;
        rb = (all + per_block - 1) / per_block;
        rt = (rb * 8 + cs - 1) >> bits;
        if (rb <= l->rb && rt <= l->rt)
            return true;
        l->rb = MAX(l->rb, rb);
        l->rt = MAX(l->rt, rt);
    }
}

static int write_blocks(BlockNode *file, const Qcow2Header *h, const Layout *l, uint64_t all)
{
    uint64_t cs = BIT(h->cluster_bits), per = BIT(h->cluster_bits + 3 - h->refcount_order);
    uint64_t rb_at = (1 + l->rt) << h->cluster_bits;
    uint8_t *rt = try_alloc(l->rt << h->cluster_bits), *rb = try_alloc(cs);
    int rc = rt && rb ? 0 : -ENOMEM;

    for (uint64_t b = 0; b < l->rb && !rc; b++) {
        put_be64(rt + b * 8, rb_at + b * cs);
        memset(rb, 0, cs);
        for (uint64_t i = 0; i < per && b * per + i < all; i++)
            refcount_set_raw(rb, h->refcount_order, i, 1);
        rc = node_write(file, rb_at + b * cs, rb, cs);
    }
    if (!rc)
        rc = node_write(file, h->rt_at, rt, l->rt << h->cluster_bits);
    xfree(rt);
    xfree(rb);
    return rc;
}

static int write_zeroes(BlockNode *file, uint64_t at, uint64_t size)
{
    size_t piece = MIN(size, (uint64_t)MIB);
    void *buf = try_alloc(piece);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t done = 0; done < size && !rc; done += piece)
        rc = node_write(file, at + done, buf, MIN(size - done, piece));
    xfree(buf);
    return rc;
}

typedef struct CryptFile {
    BlockNode *file;
    uint64_t at, size;
} CryptFile;

static int crypt_file_read(void *arg, uint64_t at, void *buf, size_t size)
{
    CryptFile *c = arg;

    return at > c->size || size > c->size - at ? -EINVAL
                                               : file_read(c->file, c->at + at, buf, size);
}

static int crypt_file_write(void *arg, uint64_t at, const void *buf, size_t size)
{
    CryptFile *c = arg;

    return at > c->size || size > c->size - at ? -EINVAL
                                               : node_write(c->file, c->at + at, buf, size);
}

static bool write_crypt_header(BlockNode *file, const Qcow2Header *h, const Qcow2Create *o,
                               Error *err)
{
    CryptFile f = {file, h->crypt_at, h->crypt_size};
    CryptoIo io = {crypt_file_read, crypt_file_write, &f};
    Crypto *c = crypto_luks_create(&o->crypto, graph_objects(file->graph), &io, err);

    crypto_free(c);
    return c;
}

static bool fill_header(Qcow2Header *h, const Qcow2Create *o, uint32_t version, Error *err)
{
    *h = (Qcow2Header){.version = version,
                       .cluster_bits = (uint32_t)__builtin_ctzll(o->cluster_size),
                       .size = o->size,
                       .refcount_order = (uint32_t)__builtin_ctzll(o->refcount_bits),
                       .compatible = o->lazy_refcounts ? COMPAT_LAZY : 0,
                       .autoclear = o->data_file_raw ? AUTOCLEAR_DATA_RAW : 0,
                       .data_file = o->data_file,
                       .backing_file = o->backing_file,
                       .backing_format = o->backing_fmt};
    if (o->data_file)
        h->incompatible |= INCOMPAT_DATA_FILE;
    if (o->extended_l2)
        h->incompatible |= INCOMPAT_EXTENDED_L2;
    if (!strcmp(o->compression_type, "zstd")) {
        h->incompatible |= INCOMPAT_COMPRESSION;
        h->compression = COMPRESSION_ZSTD;
    }
    h->crypt_method = o->crypt_method;
    if (o->crypt_method == CRYPT_LUKS) {
        h->crypt_size = crypto_luks_size(&o->crypto, err);
        return h->crypt_size;
    }
    return true;
}

/* Everything but the header first, so that a half-written image is none. */
static bool format_file(BlockNode *file, const Qcow2Create *o, uint32_t version, Error *err)
{
    Qcow2Header h;
    Layout l = {0};
    unsigned used, bits;
    uint8_t *buf;
    uint64_t all;
    int rc;

    if (!fill_header(&h, o, version, err) || !layout_of(&h, &l, err))
        return false;
    bits = h.cluster_bits;
    h.rt_at = BIT(bits);
    h.rt_clusters = (uint32_t)l.rt;
    h.l1_at = (1 + l.rt + l.rb) << bits;
    h.l1_size = (uint32_t)MAX(
        l1_entries_for(&(Qcow2){.cluster_bits = bits, .l2_bits = bits - (o->extended_l2 ? 4 : 3)},
                       h.size),
        1u);
    h.crypt_at = l.crypt ? h.l1_at + (l.l1 << bits) : 0;
    all = 1 + l.rt + l.rb + l.l1 + l.crypt;
    buf = try_alloc(BIT(bits));
    if (!buf)
        return error_set(err, "no memory for the qcow2 header");
    if (!qcow2_header_build(&h, buf, 1u << bits, &used, err) ||
        !node_truncate(file, 0, PREALLOC_OFF, false,
                       err) || /* a formatted node may hold old contents */
        (h.crypt_at && (!node_truncate(file, all << bits, PREALLOC_OFF, false, err) ||
                        !write_crypt_header(file, &h, o, err)))) {
        xfree(buf);
        return false;
    }
    rc = write_blocks(file, &h, &l, all);
    if (!rc)
        rc = write_zeroes(file, h.l1_at, l.l1 << bits);
    if (!rc)
        rc = node_write(file, 0, buf, BIT(bits));
    if (!rc)
        rc = node_flush(file);
    xfree(buf);
    return !rc || error_set_errno(err, -rc, "Could not write the qcow2 image");
}

/* --- create --- */

static bool preallocate_new(BlockNode *file, BlockNode *data, const Qcow2Create *o, Error *err)
{
    json_t *j = json_pack("{s:s, s:s, s:n}", "driver", "qcow2", "file", file->name, "backing");
    BlockNode *n;
    bool ok = false;

    if (data)
        json_object_set_new(j, "data-file", json_string(data->name));
    if (o->crypt_method)
        json_object_set_new(j, "encrypt",
                            json_pack("{s:s, s:s?}", "format",
                                      o->crypt_method == CRYPT_LUKS ? "luks" : "aes", "key-secret",
                                      o->crypto.key_secret));
    n = node_open(file->graph, j, NODE_NO_BACKING, err);
    if (!n)
        return false;
    WITH_LOCK (&n->meta)
        ok = qcow2_preallocate(qcow2_of(n), 0, o->size, (Preallocation)o->preallocation, err);
    node_unref(n);
    return ok;
}

static bool create_on(BlockNode *file, BlockNode *data, Qcow2Create *o, uint32_t version,
                      Error *err)
{
    if (!format_file(file, o, version, err))
        return false;
    if (data && !node_truncate(data, o->size, PREALLOC_OFF, false, err))
        return false;
    return o->preallocation == PREALLOC_OFF || !o->size || preallocate_new(file, data, o, err);
}

static bool parse_create(Qcow2Create *o, json_t *options, uint32_t *version, Error *err)
{
    reflect_defaults(&qcow2_create_type, o, FIELD_PROP);
    return opts_json_apply(&qcow2_create_type, o, options, FIELD_PROP, err) &&
           check_create(o, version, err);
}

bool qcow2_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)
{
    Qcow2Create o = {0};
    BlockNode *file = NULL, *data = NULL;
    uint32_t version = 3;
    json_t *flat = json_flatten(options);
    bool ok = parse_create(&o, flat, &version, err) && check_secret(g, &o, err);

    if (ok)
        ok = (file = block_create_file(g, filename, 0, NULL, err));
    if (ok && o.data_file)
        ok = (data = block_create_file(g, o.data_file, o.size, NULL, err));
    ok = ok && create_on(file, data, &o, version, err);
    node_unref(data);
    node_unref(file);
    json_decref(flat);
    reflect_free(&qcow2_create_type, &o);
    return ok;
}

/* blockdev-create: files are nodes, names have dashes. */
bool qcow2_create(BlockGraph *g, json_t *options, Error *err)
{
    json_t *flat = json_flatten(options), *v;
    AUTO_FREE char *file_name = json_take_str(flat, "file");
    AUTO_FREE char *data_name = json_take_str(flat, "data-file");
    BlockNode *file = file_name ? node_find(g, file_name) : NULL;
    BlockNode *data = data_name ? node_find(g, data_name) : NULL;
    Qcow2Create o = {0};
    uint32_t version = 3;
    bool ok;

    v = json_take(flat, "version");
    if (v)
        json_object_set_new(flat, "compat", v);
    if (data)
        json_object_set_new(flat, "data_file",
                            json_string(data->filename ? data->filename : data_name));
    if (!file)
        ok = error_set(err, "Cannot find device='%s' nor node-name='%s'",
                       file_name ? file_name : "", file_name ? file_name : "");
    else if (data_name && !data)
        ok = error_set(err, "Cannot find device='%s' nor node-name='%s'", data_name, data_name);
    else
        ok = parse_create(&o, flat, &version, err) && check_secret(g, &o, err) &&
             create_on(file, data, &o, version, err);
    json_decref(flat);
    reflect_free(&qcow2_create_type, &o);
    return ok;
}

/* --- measure --- */

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return a / b + !!(a % b);
}

static uint64_t refcount_bytes(uint64_t clusters, uint64_t cs, uint64_t bits)
{
    uint64_t table = 0, blocks = 0, all = 0, last;

    do {
        last = all;
        blocks = div_up(clusters + table + blocks, cs * 8 / bits);
        table = div_up(blocks, cs / 8);
        all = clusters + blocks + table;
    } while (all != last);
    return (blocks + table) * cs;
}

/* With all of @size in use. */
static uint64_t full_bytes(uint64_t size, uint64_t cs, uint64_t bits, bool extended)
{
    uint64_t entry = extended ? 16 : 8, entries = ALIGN_UP(size / cs, cs / entry), meta = cs;

    meta += entries * entry;
    meta += ALIGN_UP(entries * entry / cs, cs / 8) * 8;
    return meta + refcount_bytes((meta + size) / cs, cs, bits) + size;
}

/* Whole clusters with data that must be stored. */
static bool needed_bytes(BlockNode *source, uint64_t cs, uint64_t *out, Error *err)
{
    uint64_t at = 0, size = source->size;

    while (at < size) {
        Extent e;
        BlockNode *in;
        uint64_t end;
        int rc = node_status_above(source, NULL, at, size - at, &e, &in);

        if (rc)
            return error_set_errno(err, -rc, "Unable to get block status");
        if (!e.size)
            return error_set(err, "Unable to get block status at offset %" PRIu64, at);
        end = MIN(at + e.size, size);
        if (e.kind == EXTENT_DATA || e.kind == EXTENT_SPECIAL) {
            end = MIN(ALIGN_UP(end, cs), ALIGN_UP(size, cs));
            *out += at % cs + (end - at);
        }
        at = end;
    }
    return true;
}

/* Room that the persistent bitmaps of @source would take in an image with clusters of @cs bytes. */
static uint64_t measure_bitmaps(BlockNode *source, uint64_t cs)
{
    uint64_t sum = 0, dir = 0;

    for (DirtyBitmap *b = bitmap_next(source, NULL); b; b = bitmap_next(source, b)) {
        uint64_t clusters = div_up(bitmap_bytes(b), cs);

        if (!bitmap_name(b) || !bitmap_is_persistent(b) || bitmap_is_inconsistent(b))
            continue;
        sum += clusters * cs + ALIGN_UP(clusters * 8, cs);
        dir += ALIGN_UP(24 + strlen(bitmap_name(b)), (size_t)8);
    }
    return sum + ALIGN_UP(dir, cs);
}

static json_t *measure(Qcow2Create *o, uint32_t version, BlockNode *source, Error *err)
{
    uint64_t cs = o->cluster_size, size, crypt = 0, needed = 0, full;
    json_t *j;

    if (source)
        o->size = source->size;
    size = ALIGN_UP(o->size, cs);
    if (o->crypt_method == CRYPT_LUKS) {
        crypt = crypto_luks_size(&o->crypto, err);
        if (!crypt)
            return NULL;
        crypt = ALIGN_UP(crypt, cs);
    }
    if (source && o->preallocation < PREALLOC_FALLOC && !needed_bytes(source, cs, &needed, err))
        return NULL;
    if (o->preallocation >= PREALLOC_FALLOC)
        needed = size;
    full = full_bytes(size, cs, o->refcount_bits, o->extended_l2) + crypt;
    j = json_object();
    json_object_set_new(j, "required", json_integer((json_int_t)(full - size + needed)));
    json_object_set_new(j, "fully-allocated", json_integer((json_int_t)full));
    if (source && source->drv->bitmap_ops && qcow2_of(source)->h.version >= 3 && version >= 3)
        json_object_set_new(j, "bitmaps",
                            json_integer((json_int_t)measure_bitmaps(source, o->cluster_size)));
    return j;
}

json_t *qcow2_measure(json_t *options, BlockNode *source, Error *err)
{
    json_t *flat = json_flatten(options), *out = NULL;
    Qcow2Create o = {0};
    uint32_t version;

    if (source && !json_object_get(flat, "size"))
        json_object_set_new(flat, "size", json_integer((json_int_t)source->size));
    if (parse_create(&o, flat, &version, err))
        out = measure(&o, version, source, err);
    json_decref(flat);
    reflect_free(&qcow2_create_type, &o);
    return out;
}

/* --- amend --- */

typedef struct Amend {
    char *compat, *backing_file, *backing_fmt, *data_file;
    uint64_t size, refcount_bits;
    bool lazy_refcounts, data_file_raw;
    bool has_size, has_refcount_bits, has_lazy_refcounts, has_data_file_raw, has_iter_time,
        has_keyslot;
    CryptoAmend crypto;
} Amend;

#define AMEND(m, nm, ty, dc)                                                                       \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(Amend, m),                         \
        .has_at = offsetof(Amend, has_##m), .count = 1, .use = FIELD_PROP, .flags = FIELD_OPTIONAL \
    }
static const Field amend_fields[] = {
    PROP_STR(Amend, backing_file, "backing_file", NULL, "File name of a base image"),
    PROP_STR(Amend, backing_fmt, "backing_fmt", NULL, "Image format of the base image"),
    PROP_STR(Amend, compat, "compat", NULL, "Compatibility level (v2 [0.10] or v3 [1.1])"),
    PROP_STR(Amend, data_file, "data_file", NULL, "File name of an external data file"),
    AMEND(data_file_raw, "data_file_raw", &type_bool,
          "The external data file must stay valid as a raw image"),
    PROP(Amend, crypto.iter_time, "encrypt.iter-time", 0, "Time to spend in PBKDF in milliseconds"),
    PROP(Amend, crypto.keyslot, "encrypt.keyslot", CRYPTO_ANY_SLOT,
         "Select a single keyslot to modify explicitly"),
    PROP_STR(Amend, crypto.new_secret, "encrypt.new-secret", NULL,
             "New secret to set in the matching keyslots. Empty string to erase"),
    PROP_STR(Amend, crypto.old_secret, "encrypt.old-secret", NULL,
             "Select all keyslots that match this password"),
    PROP_STR(Amend, crypto.state, "encrypt.state", NULL,
             "Select new state of affected keyslots (active/inactive)"),
    AMEND(lazy_refcounts, "lazy_refcounts", &type_bool, "Postpone refcount updates"),
    AMEND(refcount_bits, "refcount_bits", &type_u64, "Width of a reference count entry in bits"),
    AMEND(size, "size", &type_size, "Virtual disk size"),
};
STRUCT_TYPE(qcow2_amend_type, Amend, amend_fields);

static bool commit_header(Qcow2 *s, const Qcow2Header *old, Error *err)
{
    int rc = qcow2_writeback(s);

    if (!rc)
        rc = qcow2_header_commit(s, old);
    else
        s->h = *old;
    return !rc || error_set_errno(err, -rc, "Failed to update the image header");
}

static bool upgrade(Qcow2 *s, Error *err)
{
    Qcow2Header old = s->h;

    s->h.version = 3;
    s->h.header_length = QCOW2_HEADER_OURS;
    if (s->h.n_snapshots) { /* version 3 wants the disk size in each entry, which is written now */
        int rc = snapshots_write(s);

        if (rc) {
            s->h.version = old.version;
            return error_set_errno(err, -rc, "Failed to rewrite the snapshot table");
        }
        old.snapshots_at = s->h.snapshots_at;
    }
    return commit_header(s, &old, err);
}

/* Version 2 has no zero flag. */
static int expand_zeroes(Qcow2 *s)
{
    uint8_t *zeroes = try_alloc(s->cluster_size);
    uint64_t at = 0, cs = s->cluster_size;
    int rc = zeroes ? 0 : -ENOMEM;

    while (at < s->h.size && !rc) {
        Extent e;

        rc = qcow2_map(s->n, at, s->h.size - at, true, &e);
        if (rc)
            break;
        if (e.kind != EXTENT_ZERO) {
            at = e.at + e.size;
            continue;
        }
        if (!s->h.backing_file)
            rc = qcow2_drop(s, at, MIN(cs, s->h.size - at), true);
        else
            rc = qcow2_pwrite(s, at, zeroes, MIN(cs, s->h.size - at));
        at += cs;
    }
    xfree(zeroes);
    return rc;
}

static bool downgrade(Qcow2 *s, Error *err)
{
    Qcow2Header old;
    int rc;

    if (s->h.refcount_order != 4)
        return error_set(err, "compat=0.10 requires refcount_bits=16");
    if (s->has_data_file)
        return error_set(err, "Cannot downgrade an image with a data file");
    if (s->h.incompatible & ~(uint64_t)(INCOMPAT_DIRTY | INCOMPAT_CORRUPT))
        return error_set(err, "Cannot downgrade an image with incompatible features set");
    if (s->h.n_bitmaps)
        return error_set(err, "Cannot downgrade an image with bitmaps; remove them first");
    if (s->h.n_snapshots)
        return error_set(err,
                         "Cannot downgrade an image with internal snapshots; delete them first");
    rc = expand_zeroes(s);
    if (!rc)
        rc = qcow2_writeback(s);
    if (!rc)
        rc = qcow2_writeback(s);
    if (rc)
        return error_set_errno(err, -rc, "Failed to turn zero into data clusters");
    old = s->h;
    s->h.version = 2;
    s->h.incompatible = s->h.compatible = s->h.autoclear = 0;
    s->lazy = s->dirty_marked = false;
    return commit_header(s, &old, err);
}

static bool amend_lazy(Qcow2 *s, const Amend *a, Error *err)
{
    Qcow2Header old = s->h;

    if (a->lazy_refcounts && s->h.version < 3)
        return error_set(err,
                         "Lazy refcounts only supported with compatibility level 1.1 and above "
                         "(use compat=1.1 or greater)");
    s->h.compatible =
        a->lazy_refcounts ? old.compatible | COMPAT_LAZY : old.compatible & ~(uint64_t)COMPAT_LAZY;
    s->lazy = s->lazy && a->lazy_refcounts;
    return commit_header(s, &old, err);
}

static bool amend_data_file(Qcow2 *s, const Amend *a, Error *err)
{
    Qcow2Header old = s->h;
    char *name = NULL;

    if (!s->has_data_file)
        return error_set(err,
                         "data-file can only be set for images that use an external data file");
    if (a->has_data_file_raw && a->data_file_raw && !s->data_raw)
        return error_set(err, "data-file-raw cannot be set on existing images");
    if (a->data_file)
        s->h.data_file = name = *a->data_file ? xstrdup(a->data_file) : NULL;
    if (a->has_data_file_raw && !a->data_file_raw)
        s->h.autoclear &= ~(uint64_t)AUTOCLEAR_DATA_RAW;
    if (!commit_header(s, &old, err)) {
        xfree(name);
        return false;
    }
    if (a->data_file)
        xfree(old.data_file);
    s->data_raw = s->h.autoclear & AUTOCLEAR_DATA_RAW;
    return true;
}

static bool amends_crypto(const Amend *a)
{
    return a->crypto.state || a->crypto.new_secret || a->crypto.old_secret ||
           a->crypto.keyslot != CRYPTO_ANY_SLOT || a->crypto.iter_time;
}

static bool amend_crypto(Qcow2 *s, const Amend *a, Error *err)
{
    CryptoIo io = qcow2_crypt_io(s);

    if (s->h.crypt_method == CRYPT_NONE)
        return error_set(err, "Can't amend encryption options - encryption not present");
    if (s->h.crypt_method != CRYPT_LUKS)
        return error_set(
            err, "Only LUKS encryption options can be amended for qcow2 with LUKS encryption");
    return crypto_amend(s->crypto, &a->crypto, graph_objects(s->n->graph), &io, err);
}

static bool amend_refcount_bits(Qcow2 *s, uint64_t bits, Error *err)
{
    if (!bits || bits > 64 || bits & (bits - 1))
        return error_set(err, "Refcount width must be a power of two and may not exceed 64 bits");
    if (bits == 1u << s->h.refcount_order)
        return true;
    if (s->h.version < 3)
        return error_set(err, "Different refcount widths than 16 bits require compatibility level "
                              "1.1 or above (use compat=1.1 or greater)");
    return refcounts_rewrite(s, (unsigned)__builtin_ctzll(bits), err);
}

static bool amend_locked(Qcow2 *s, const Amend *a, uint32_t version, Error *err)
{
    if (version > s->h.version && !upgrade(s, err))
        return false;
    if (a->has_refcount_bits && !amend_refcount_bits(s, a->refcount_bits, err))
        return false;
    if (a->has_lazy_refcounts && !amend_lazy(s, a, err))
        return false;
    if ((a->data_file || a->has_data_file_raw) && !amend_data_file(s, a, err))
        return false;
    if (amends_crypto(a) && !amend_crypto(s, a, err))
        return false;
    if (a->has_size && a->size != s->h.size &&
        !qcow2_truncate_locked(s, a->size, PREALLOC_OFF, false, err))
        return false;
    return version >= s->h.version || downgrade(s, err);
}

static bool check_amend_backing(const BlockNode *n, const Amend *a, Error *err)
{
    bool same_file =
        !a->backing_file || (n->backing_file && !strcmp(a->backing_file, n->backing_file));
    bool same_format =
        !a->backing_fmt || (n->backing_format && !strcmp(a->backing_fmt, n->backing_format));

    return (same_file && same_format) ||
           error_set(err, "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.");
}

bool qcow2_amend(BlockNode *n, json_t *options,
                 void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg, Error *err)
{
    Qcow2 *s = qcow2_of(n);
    Amend a = {0};
    uint32_t version = s->h.version;
    json_t *flat = json_flatten(options);
    int may = qcow2_may_write(s);
    bool ok;

    reflect_defaults(&qcow2_amend_type, &a, FIELD_PROP);
    a.crypto.force = json_is_true(json_object_get(flat, "force"));
    json_object_del(flat, "force");
    ok = opts_json_apply(&qcow2_amend_type, &a, flat, FIELD_PROP, err) &&
         (!a.compat || parse_compat(a.compat, &version, err)) && check_amend_backing(n, &a, err) &&
         (!may || error_set_errno(err, -may, "The image cannot be amended"));
    if (ok) {
        WITH_LOCK (&n->meta)
            ok = amend_locked(s, &a, version, err);
    }
    if (ok && progress)
        progress(arg, 1, 1);
    json_decref(flat);
    reflect_free(&qcow2_amend_type, &a);
    return ok;
}
