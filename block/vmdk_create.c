/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmdk_create - new VMware disks (VMware, "Virtual Disk Format 5.0", chapters "The descriptor file"
 * and "Hosted sparse extents")
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/strbuf.h"
#include "block/vmdk_priv.h"

typedef struct VmdkCreate {
    uint64_t size;
    char *adapter_type, *backing_file, *backing_fmt, *hwversion, *subformat, *toolsversion;
    bool compat6, zeroed_grain;
} VmdkCreate;

static const Field create_fields[] = {
    PROP_SIZE(VmdkCreate, size, "size", 0, "Virtual disk size"),
    PROP_STR(VmdkCreate, adapter_type, "adapter_type", NULL,
             "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"),
    PROP_STR(VmdkCreate, backing_file, "backing_file", NULL, "File name of a base image"),
    PROP_STR(VmdkCreate, backing_fmt, "backing_fmt", NULL, "Must be 'vmdk' if present"),
    PROP(VmdkCreate, compat6, "compat6", false, "VMDK version 6 image"),
    PROP_STR(VmdkCreate, hwversion, "hwversion", NULL, "VMDK hardware version"),
    PROP_STR(
        VmdkCreate, subformat, "subformat", NULL,
        "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
        "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} "),
    PROP_STR(VmdkCreate, toolsversion, "toolsversion", NULL, "VMware guest tools version"),
    PROP(VmdkCreate, zeroed_grain, "zeroed_grain", false,
         "Enable efficient zero writes using the zeroed-grain GTE feature"),
};
STRUCT_TYPE(vmdk_create_type, VmdkCreate, create_fields);

enum {
    GRAIN = 128, /* sectors */
    GT_ENTRIES = 512,
    GT_SECTORS = GT_ENTRIES * 4 / 512,
    DESC_AT = 1, /* sectors */
    DESC_SIZE = 20,
};
#define SIZE_MAX_BYTES (64ull << 40)
#define SPLIT_SIZE (2 * GIB)

typedef struct Subformat {
    const char *name;
    bool split, flat, compressed;
} Subformat;

static const Subformat subformats[] = {
    {"monolithicSparse", false, false, false},    {"monolithicFlat", false, true, false},
    {"twoGbMaxExtentSparse", true, false, false}, {"twoGbMaxExtentFlat", true, true, false},
    {"streamOptimized", false, false, true},
};

static const Subformat *subformat_find(const char *name)
{
    for (unsigned i = 0; i < COUNT_OF(subformats); i++)
        if (!name || !strcmp(subformats[i].name, name))
            return &subformats[i];
    return NULL;
}

/* --- the descriptor --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static uint64_t sectors_of(uint64_t size)
{
    return size / 512 + !!(size % 512);
}

static void add_geometry(StrBuf *b, const VmdkCreate *o)
{
    bool ide = !o->adapter_type || !strcmp(o->adapter_type, "ide");
    unsigned heads = ide ? 16 : 255;

    strbuf_addf(b,
                "\n# The Disk Data Base\n#DDB\n\n"
                "ddb.virtualHWVersion = \"%s\"\n"
                "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
                "ddb.geometry.heads = \"%u\"\n"
                "ddb.geometry.sectors = \"63\"\n"
                "ddb.adapterType = \"%s\"\n"
                "ddb.toolsVersion = \"%s\"\n",
                o->hwversion && strcmp(o->hwversion, "undefined") ? o->hwversion
                : o->compat6                                      ? "6"
                                                                  : "4",
                sectors_of(o->size) / 63 / heads, heads, ide ? "ide" : o->adapter_type,
                o->toolsversion ? o->toolsversion : "2147483647");
}

/* @parts: the extent lines. */
static char *make_descriptor(const VmdkCreate *o, const Subformat *sub, const char *parts,
                             uint32_t parent_cid, Error *err)
{
    StrBuf b = {0};
    uint32_t cid;

    if (getrandom(&cid, sizeof cid, 0) != sizeof cid) {
        error_set_errno(err, errno, "cannot get random bytes");
        return NULL;
    }
    strbuf_addf(&b,
                "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n",
                cid == VMDK_NO_PARENT ? 1 : cid, parent_cid, sub->name);
    if (o->backing_file)
        strbuf_addf(&b, "parentFileNameHint=\"%s\"\n", o->backing_file);
    strbuf_addf(&b, "\n# Extent description\n%s", parts);
    add_geometry(&b, o);
    return strbuf_take(&b);
}

static void add_part(StrBuf *b, const Subformat *sub, const char *filename, uint64_t size)
{
    strbuf_addf(b, "RW %" PRIu64 " %s \"%s\"%s\n", sectors_of(size), sub->flat ? "FLAT" : "SPARSE",
                base_name(filename), sub->flat ? " 0" : "");
}

/* --- sparse extents --- */

/* Both directories, each followed by its tables, which all exist from the start. */
static int write_tables(BlockNode *file, uint64_t at, uint64_t dir, uint64_t tables)
{
    AUTO_FREE uint8_t *buf = try_alloc(dir * 512);

    if (!buf)
        return -ENOMEM;
    for (uint64_t i = 0; i < tables; i++)
        put_le32(buf + i * 4, (uint32_t)(at + dir + i * GT_SECTORS));
    return node_write(file, at * 512, buf, dir * 512);
}

/* @desc: NULL if it is in a file of its own. */
static bool write_sparse(BlockNode *file, const VmdkCreate *o, uint64_t size, const char *desc,
                         bool compressed, Error *err)
{
    uint64_t sectors = sectors_of(size), grains = (sectors + GRAIN - 1) / GRAIN;
    uint64_t tables = (grains + GT_ENTRIES - 1) / GT_ENTRIES, dir = (tables * 4 + 511) / 512;
    uint64_t rgd = DESC_AT + DESC_SIZE, gd = rgd + dir + tables * GT_SECTORS;
    uint64_t data = ALIGN_UP(gd + dir + tables * GT_SECTORS, (uint64_t)GRAIN);
    AUTO_FREE uint8_t *head = xalloc((DESC_AT + DESC_SIZE) * 512);
    int rc;

    if (desc && strlen(desc) > DESC_SIZE * 512)
        return error_set(err, "the descriptor does not fit into %d bytes", DESC_SIZE * 512);
    put_le32(head, VMDK_MAGIC);
    put_le32(head + VMDK_AT_VERSION, compressed ? 3 : o->zeroed_grain ? 2 : 1);
    put_le32(head + VMDK_AT_FLAGS, VMDK_HAS_NEWLINES | VMDK_HAS_RGD |
                                       (compressed ? VMDK_COMPRESSED | VMDK_MARKERS : 0) |
                                       (o->zeroed_grain ? VMDK_ZERO_GRAINS : 0));
    put_le64(head + VMDK_AT_CAPACITY, sectors);
    put_le64(head + VMDK_AT_GRAIN, GRAIN);
    put_le64(head + VMDK_AT_DESC, desc ? DESC_AT : 0);
    put_le64(head + VMDK_AT_DESC_SIZE, desc ? DESC_SIZE : 0);
    put_le32(head + VMDK_AT_GT_ENTRIES, GT_ENTRIES);
    put_le64(head + VMDK_AT_RGD, rgd);
    put_le64(head + VMDK_AT_GD, gd);
    put_le64(head + VMDK_AT_DATA, data);
    memcpy(head + VMDK_AT_NEWLINES, "\n \r\n", 4);
    put_le16(head + VMDK_AT_COMPRESS, compressed);
    if (desc)
        memcpy(head + DESC_AT * 512, desc, strlen(desc));
    if (!node_truncate(file, data * 512, PREALLOC_OFF, false, err))
        return false;
    rc = node_write(file, 0, head, (DESC_AT + DESC_SIZE) * 512);
    if (rc == 0 && tables)
        rc = write_tables(file, rgd, dir, tables);
    if (rc == 0 && tables)
        rc = write_tables(file, gd, dir, tables);
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VMDK header");
}

/* --- extents in files of their own --- */

/* "disk-flat.vmdk", "disk-f001.vmdk", "disk-s001.vmdk" beside "disk.vmdk". */
static char *part_name(const char *filename, const Subformat *sub, unsigned number)
{
    const char *dot = strrchr(base_name(filename), '.');
    int stem = dot ? (int)(dot - filename) : (int)strlen(filename);

    if (!sub->split)
        return xasprintf("%.*s-flat%s", stem, filename, dot ? dot : "");
    return xasprintf("%.*s-%c%03u%s", stem, filename, sub->flat ? 'f' : 's', number,
                     dot ? dot : "");
}

static bool make_part(BlockGraph *g, const char *filename, const VmdkCreate *o,
                      const Subformat *sub, uint64_t size, Error *err)
{
    BlockNode *n = block_create_file(g, filename, sub->flat ? size : 0, NULL, err);
    bool ok = n && (sub->flat ? node_truncate(n, size, PREALLOC_OFF, false, err)
                              : write_sparse(n, o, size, NULL, false, err));

    if (n)
        node_unref(n);
    return ok || error_prefix(err, "%s: ", filename);
}

static bool format_parts(BlockGraph *g, BlockNode *file, const char *filename, const VmdkCreate *o,
                         const Subformat *sub, uint32_t parent, Error *err)
{
    uint64_t left = ALIGN_UP(o->size, 512ull);
    AUTO_FREE char *desc = NULL;
    StrBuf parts = {0};
    bool ok = true;
    int rc;

    for (unsigned i = 1; left && ok; i++) {
        uint64_t size = sub->split ? MIN(left, SPLIT_SIZE) : left;
        AUTO_FREE char *name = part_name(filename, sub, i);

        add_part(&parts, sub, name, size);
        ok = make_part(g, name, o, sub, size, err);
        left -= size;
    }
    ok = ok && (desc = make_descriptor(o, sub, strbuf_str(&parts), parent, err));
    strbuf_free(&parts);
    if (!ok)
        return false;
    rc = node_write(file, 0, desc, strlen(desc));
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VMDK descriptor");
}

/* --- all of it --- */

static bool format_single(BlockNode *file, const char *filename, const VmdkCreate *o,
                          const Subformat *sub, uint32_t parent, Error *err)
{
    AUTO_FREE char *desc = NULL;
    StrBuf part = {0};

    add_part(&part, sub, filename, o->size);
    desc = make_descriptor(o, sub, strbuf_str(&part), parent, err);
    strbuf_free(&part);
    return desc && write_sparse(file, o, o->size, desc, sub->compressed, err);
}

/* The content ID of the parent, which says later whether it changed. */
static bool parent_id(BlockGraph *g, const VmdkCreate *o, const char *filename, uint32_t *out,
                      Error *err)
{
    AUTO_FREE char *path = o->backing_file ? block_path_combine(filename, o->backing_file) : NULL;
    BlockNode *n;
    json_t *info;

    *out = VMDK_NO_PARENT;
    if (!path)
        return true;
    if (o->backing_fmt && strcmp(o->backing_fmt, "vmdk"))
        return error_set(err, "backing_file must be a vmdk image");
    n = node_open_image(g, path, "vmdk", NULL, NODE_READ_ONLY | NODE_NO_BACKING | NODE_FORCE_SHARE,
                        err);
    if (!n)
        return error_prefix(err, "Could not open '%s': ", path);
    info = n->drv->info(n);
    *out = (uint32_t)json_integer_value(json_object_get(json_object_get(info, "data"), "cid"));
    json_decref(info);
    node_unref(n);
    return true;
}

static bool check_options(const VmdkCreate *o, const Subformat *sub, Error *err)
{
    static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX"};
    bool known = !o->adapter_type;

    for (unsigned i = 0; i < COUNT_OF(adapters); i++)
        known |= o->adapter_type && !strcmp(o->adapter_type, adapters[i]);
    if (!known)
        return error_set(err,
                         "invalid parameter value: %s (adapter_type: ide, buslogic, lsilogic, "
                         "legacyESX)",
                         o->adapter_type);
    if (!sub)
        return error_set(err,
                         "invalid parameter value: %s (subformat: monolithicSparse, "
                         "monolithicFlat, twoGbMaxExtentSparse, twoGbMaxExtentFlat, "
                         "streamOptimized)",
                         o->subformat);
    if (o->compat6 && o->hwversion && strcmp(o->hwversion, "undefined"))
        return error_set(err, "compat6 cannot be enabled with hwversion set");
    if (sub->flat && o->backing_file)
        return error_set(err, "Flat image can't have backing file");
    if (sub->flat && o->zeroed_grain)
        return error_set(err, "Flat image can't enable zeroed grain");
    if (o->size > SIZE_MAX_BYTES)
        return error_set(err, "VMDK images of more than 64 TiB are not supported");
    return true;
}

bool vmdk_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                 Error *err)
{
    const VmdkCreate *o = options;
    const Subformat *sub = subformat_find(o->subformat);
    uint32_t parent;

    if (!check_options(o, sub, err) || !parent_id(g, o, filename, &parent, err))
        return false;
    if (!file)
        return true;
    return sub->split || sub->flat ? format_parts(g, file, filename, o, sub, parent, err)
                                   : format_single(file, filename, o, sub, parent, err);
}
