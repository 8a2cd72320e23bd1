/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * create_type - BlockdevCreateOptions: what blockdev-create takes for each driver (QEMU 7.2,
 * qapi/block-core.json)
 *
 * The values stay JSON: the structs here exist for the check only.
 */
#include "base/alloc.h"
#include "base/opts_json.h"
#include "block/blockdev_type.h"

static const char *const version_names[] = {"v2", "v3", NULL};
static ENUM_TYPE(version_type, BlockdevQcow2Version, version_names);
static const char *const compression_names[] = {"zlib", "zstd", NULL};
static ENUM_TYPE(compression_type, Qcow2CompressionType, compression_names);
static const char *const encryption_names[] = {"qcow", "luks", NULL};
static ENUM_TYPE(encryption_type, QCryptoBlockFormat, encryption_names);
static const char *const disk_names[] = {"dynamic", "fixed", NULL};
static ENUM_TYPE(disk_type, DynamicOrFixed, disk_names);
static const char *const vmdk_names[] = {"monolithicSparse",     "monolithicFlat",
                                         "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                         "streamOptimized",      NULL};
static ENUM_TYPE(vmdk_type, BlockdevVmdkSubformat, vmdk_names);
static const char *const adapter_names[] = {"ide", "buslogic", "lsilogic", "legacyESX", NULL};
static ENUM_TYPE(adapter_type, BlockdevVmdkAdapterType, adapter_names);

#define MEMBER(S, m, nm, ty, dc, fl)                                                               \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(S, m), .count = 1,                 \
        .use = FIELD_ARG, .flags = (fl)                                                            \
    }

/* --- encryption --- */

typedef struct Encrypt {
    char *key_secret, *cipher_alg, *cipher_mode, *ivgen_alg, *ivgen_hash, *hash;
    uint64_t iter_time;
    uint32_t format;
} Encrypt;
#define ENCRYPTION(S, at)                                                                          \
    MEMBER(S, at key_secret, "key-secret", &type_str, "secret with the passphrase",                \
           FIELD_OPTIONAL),                                                                        \
        MEMBER(S, at cipher_alg, "cipher-alg", &type_str, "cipher", FIELD_OPTIONAL),               \
        MEMBER(S, at cipher_mode, "cipher-mode", &type_str, "its mode", FIELD_OPTIONAL),           \
        MEMBER(S, at ivgen_alg, "ivgen-alg", &type_str, "initialization vectors", FIELD_OPTIONAL), \
        MEMBER(S, at ivgen_hash, "ivgen-hash-alg", &type_str, "their hash", FIELD_OPTIONAL),       \
        MEMBER(S, at hash, "hash-alg", &type_str, "hash of the passphrase", FIELD_OPTIONAL),       \
        MEMBER(S, at iter_time, "iter-time", &type_u64, "milliseconds to open it", FIELD_OPTIONAL)
static const Field encrypt_fields[] = {
    MEMBER(Encrypt, format, "format", &encryption_type, "kind of encryption", FIELD_REQUIRED),
    ENCRYPTION(Encrypt, ),
};
static STRUCT_TYPE(encrypt_type, Encrypt, encrypt_fields);

/* --- members --- */

typedef struct Create {
    char *driver, *filename, *backing_file, *backing_fmt, *hwversion, *toolsversion;
    json_t *file, *data_file;
    List extents;
    Encrypt encrypt;
    uint64_t size, extent_size_hint, cluster_size, refcount_bits, log_size, block_size;
    uint32_t preallocation, version, compression, subformat, adapter;
    bool nocow, data_file_raw, extended_l2, lazy_refcounts, zero_state, force_size, zeroed_grain;
} Create;
static LIST_TYPE(extents_type, &blockdev_ref_type);

#define REQUIRED(m, nm, ty, dc) MEMBER(Create, m, nm, ty, dc, FIELD_REQUIRED)
#define OPTIONAL(m, nm, ty, dc) MEMBER(Create, m, nm, ty, dc, FIELD_OPTIONAL)
#define SIZE REQUIRED(size, "size", &type_u64, "of the disk in bytes")
#define FILE_AND_SIZE REQUIRED(file, "file", &blockdev_ref_type, "node to be formatted"), SIZE
#define PREALLOCATION                                                                              \
    OPTIONAL(preallocation, "preallocation", &preallocation_type, "what is reserved at once")
#define BACKING_FILE OPTIONAL(backing_file, "backing-file", &type_str, "name of the backing file")

static const Field file_fields[] = {
    REQUIRED(filename, "filename", &type_str, "path of the new file"),
    SIZE,
    PREALLOCATION,
    OPTIONAL(nocow, "nocow", &type_bool, "no copy on write (btrfs)"),
    OPTIONAL(extent_size_hint, "extent-size-hint", &type_u64, "bytes to reserve together (XFS)"),
};
static const Field luks_fields[] = {
    FILE_AND_SIZE,
    PREALLOCATION,
    ENCRYPTION(Create, encrypt.),
};
static const Field qcow2_fields[] = {
    FILE_AND_SIZE,
    PREALLOCATION,
    BACKING_FILE,
    OPTIONAL(backing_fmt, "backing-fmt", &type_str, "its format"),
    OPTIONAL(data_file, "data-file", &blockdev_ref_type, "node that takes the guest's data"),
    OPTIONAL(data_file_raw, "data-file-raw", &type_bool, "it is a raw image"),
    OPTIONAL(extended_l2, "extended-l2", &type_bool, "subclusters"),
    OPTIONAL(version, "version", &version_type, "of the format"),
    OPTIONAL(encrypt, "encrypt", &encrypt_type, "encryption"),
    OPTIONAL(cluster_size, "cluster-size", &type_u64, "bytes"),
    OPTIONAL(lazy_refcounts, "lazy-refcounts", &type_bool, "reference counts may be late"),
    OPTIONAL(refcount_bits, "refcount-bits", &type_u64, "width of reference counts"),
    OPTIONAL(compression, "compression-type", &compression_type, "of compressed clusters"),
};
static const Field vdi_fields[] = {
    FILE_AND_SIZE,
    PREALLOCATION,
};
static const Field vhdx_fields[] = {
    FILE_AND_SIZE,
    OPTIONAL(log_size, "log-size", &type_u64, "bytes of the log"),
    OPTIONAL(block_size, "block-size", &type_u64, "bytes of a block"),
    OPTIONAL(subformat, "subformat", &disk_type, "blocks come as needed, or at once"),
    OPTIONAL(zero_state, "block-state-zero", &type_bool, "new blocks are known to be zeroes"),
};
static const Field vmdk_fields[] = {
    FILE_AND_SIZE,
    BACKING_FILE,
    OPTIONAL(extents, "extents", &extents_type, "nodes of the extents"),
    OPTIONAL(subformat, "subformat", &vmdk_type, "kind of image"),
    OPTIONAL(adapter, "adapter-type", &adapter_type, "controller it is for"),
    OPTIONAL(hwversion, "hwversion", &type_str, "version of the virtual hardware"),
    OPTIONAL(toolsversion, "toolsversion", &type_str, "version of the guest's tools"),
    OPTIONAL(zeroed_grain, "zeroed-grain", &type_bool, "zeroes take no room"),
};
static const Field vpc_fields[] = {
    FILE_AND_SIZE,
    OPTIONAL(subformat, "subformat", &disk_type, "blocks come as needed, or at once"),
    OPTIONAL(force_size, "force-size", &type_bool, "as large as asked for, whatever its geometry"),
};

/* --- the union --- */

static const Field base_fields[] = {
    REQUIRED(driver, "driver", &type_str, "format or protocol"),
};
static STRUCT_TYPE(base_type, Create, base_fields);
static STRUCT_TYPE(file_type, Create, file_fields);
static STRUCT_TYPE(luks_type, Create, luks_fields);
static STRUCT_TYPE(qcow2_type, Create, qcow2_fields);
static STRUCT_TYPE(vdi_type, Create, vdi_fields);
static STRUCT_TYPE(vhdx_type, Create, vhdx_fields);
static STRUCT_TYPE(vmdk_type_, Create, vmdk_fields);
static STRUCT_TYPE(vpc_type, Create, vpc_fields);
/* Of drivers that make nothing. */
static const Type none_type = {
    .name = "BlockdevCreateOptionsNotSupported", .meta = META_STRUCT, .size = sizeof(Create)};

static const struct {
    const char *driver;
    const Type *type;
} creators[] = {
    {"file", &file_type}, {"luks", &luks_type},  {"qcow2", &qcow2_type}, {"vdi", &vdi_type},
    {"vhdx", &vhdx_type}, {"vmdk", &vmdk_type_}, {"vpc", &vpc_type},
};

static const Type *type_of(const BlockDriver *d)
{
    for (unsigned i = 0; d->create && i < COUNT_OF(creators); i++)
        if (!strcmp(creators[i].driver, d->name))
            return creators[i].type;
    return &none_type;
}

static bool create_variant(unsigned i, Variant *out)
{
    const BlockDriver *d = blockdev_driver(i);

    if (d)
        *out = (Variant){d->name, type_of(d)};
    return d;
}
UNION_TYPE(blockdev_create_type, BlockdevCreateOptions, &base_type, "driver", create_variant);

const BlockDriver *blockdev_create_driver(json_t *options, Error *err)
{
    AUTO_FREE char *name = json_take_str(options, "driver");
    const BlockDriver *d = block_driver_find(name);
    const Type *t = type_of(d);
    Create c;

    memset(&c, 0, sizeof c);
    if (!reflect_value_from_json(t, "options", &c, options, FIELD_ARG, err))
        d = NULL;
    reflect_free(t, &c);
    if (d && t == &none_type) {
        error_set(err, "Driver does not support blockdev-create");
        return NULL;
    }
    return d;
}
