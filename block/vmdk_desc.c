/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmdk_desc - descriptors of VMware disks, and new disks (VMware, "Virtual Disk Format 5.0", chapters
 * "The descriptor file" and "Hosted sparse extents")
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/strbuf.h"
#include "block/vmdk_priv.h"

enum { PARTS_MAX = 8192 };

/* --- reading --- */

bool vmdk_is_descriptor(const uint8_t *head, size_t size)
{
    static const char first[] = "# Disk DescriptorFile";

    return size >= sizeof first && !memcmp(head, first, sizeof first - 1);
}

/* The text between the quotes after "key="; NULL: not this key. */
static char *quoted_value(const char *line, const char *key)
{
    size_t n = strlen(key);
    const char *from, *to;
    char *value;

    if (strncmp(line, key, n))
        return NULL;
    from = line + n + strspn(line + n, " \t");
    if (*from++ != '=')
        return NULL;
    from += strspn(from, " \t");
    if (*from++ != '"' || !(to = strchr(from, '"')))
        return NULL;
    value = xalloc((size_t)(to - from) + 1);
    memcpy(value, from, (size_t)(to - from));
    return value;
}

/* 'RW 20480 SPARSE "name" 0'; false with a message: malformed. */
static bool parse_part(VmdkPart *p, const char *line, Error *err)
{
    char access[16], type[16], *end;
    long long sectors = 0;
    int used = 0;
    const char *rest;

    if (sscanf(line, "%15s %lld %15s%n", access, &sectors, type, &used) != 3 || sectors <= 0 ||
        sectors > INT64_MAX / 512)
        return error_set(err, "Invalid extent line: %.100s", line);
    p->writable = !strcmp(access, "RW");
    p->sectors = (uint64_t)sectors;
    p->type = xstrdup(type);
    if (!strcmp(access, "NOACCESS"))
        return error_set(err, "Extent without access: %.100s", line);
    if (!strcmp(type, "ZERO")) {
        p->kind = VMDK_ZERO;
        return true;
    }
    if (!strcmp(type, "FLAT") || !strcmp(type, "VMFS"))
        p->kind = VMDK_FLAT;
    else if (!strcmp(type, "SPARSE"))
        p->kind = VMDK_SPARSE;
    else
        return error_set(err, "Unsupported extent type '%s'", type);
    rest = line + used + strspn(line + used, " \t");
    if (*rest != '"' || !(end = strchr(rest + 1, '"')) || end == rest + 1)
        return error_set(err, "Invalid extent line: %.100s", line);
    p->file = xalloc((size_t)(end - rest));
    memcpy(p->file, rest + 1, (size_t)(end - rest - 1));
    p->at = p->kind == VMDK_FLAT ? strtoull(end + 1, NULL, 10) : 0;
    if (p->at > INT64_MAX / 512 - p->sectors)
        return error_set(err, "Invalid offset in extent line: %.100s", line);
    return true;
}

static bool is_part(const char *line)
{
    return !strncmp(line, "RW ", 3) || !strncmp(line, "RDONLY ", 7) ||
           !strncmp(line, "NOACCESS ", 9);
}

static bool parse_line(VmdkDesc *d, const char *line, Error *err)
{
    char *v;

    if (is_part(line)) {
        if (d->n_parts == PARTS_MAX)
            return error_set(err, "more than %d extents", PARTS_MAX);
        d->parts = xrealloc(d->parts, (d->n_parts + 1) * sizeof *d->parts);
        d->parts[d->n_parts] = (VmdkPart){0};
        return parse_part(&d->parts[d->n_parts++], line, err);
    }
    if (!strncmp(line, "CID=", 4))
        d->cid = (uint32_t)strtoul(line + 4, NULL, 16);
    else if (!strncmp(line, "parentCID=", 10))
        d->parent_cid = (uint32_t)strtoul(line + 10, NULL, 16);
    else if ((v = quoted_value(line, "createType"))) {
        xfree(d->create_type);
        d->create_type = v;
    } else if ((v = quoted_value(line, "parentFileNameHint"))) {
        xfree(d->parent);
        d->parent = v;
    }
    return true;
}

bool vmdk_desc_parse(VmdkDesc *d, const char *text, Error *err)
{
    bool ok = true;

    d->parent_cid = VMDK_NO_PARENT;
    while (*text && ok) {
        size_t n = strcspn(text, "\r\n");
        AUTO_FREE char *line = xalloc(n + 1);

        memcpy(line, text, n);
        ok = parse_line(d, line, err);
        text += n + strspn(text + n, "\r\n");
    }
    if (ok && !d->create_type)
        ok = error_set(err, "invalid VMDK image descriptor (no createType)");
    return ok;
}

void vmdk_desc_free(VmdkDesc *d)
{
    for (unsigned i = 0; i < d->n_parts; i++) {
        xfree(d->parts[i].file);
        xfree(d->parts[i].type);
    }
    xfree(d->parts);
    xfree(d->create_type);
    xfree(d->parent);
    *d = (VmdkDesc){0};
}

/* --- creating --- */

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
        "streamOptimized} "),
    PROP_STR(VmdkCreate, toolsversion, "toolsversion", NULL, "VMware guest tools version"),
    PROP(VmdkCreate, zeroed_grain, "zeroed_grain", false,
         "Enable efficient zero writes using the zeroed-grain GTE feature"),
};
STRUCT_TYPE(vmdk_create_type, VmdkCreate, create_fields);

enum {
    GRAIN = 128, /* sectors */
    GT_ENTRIES = 512,
    DESC_AT = 1, /* sectors */
    DESC_SIZE = 20,
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void add_geometry(StrBuf *b, const VmdkCreate *o, uint64_t sectors)
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
                o->hwversion ? o->hwversion
                : o->compat6 ? "6"
                             : "4",
                sectors / 63 / heads, heads, ide ? "ide" : o->adapter_type,
                o->toolsversion ? o->toolsversion : "2147483647");
}

static char *make_descriptor(const VmdkCreate *o, const char *create_type, const char *part_type,
                             const char *part_file, uint32_t parent_cid, Error *err)
{
    uint64_t sectors = o->size / 512 + !!(o->size % 512);
    StrBuf b = {0};
    uint32_t cid;

    if (getrandom(&cid, sizeof cid, 0) != sizeof cid) {
        error_set_errno(err, errno, "cannot get random bytes");
        return NULL;
    }
    strbuf_addf(&b,
                "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n",
                cid == VMDK_NO_PARENT ? 1 : cid, parent_cid, create_type);
    if (o->backing_file)
        strbuf_addf(&b, "parentFileNameHint=\"%s\"\n", o->backing_file);
    strbuf_addf(&b, "\n# Extent description\nRW %" PRIu64 " %s \"%s\"%s\n", sectors, part_type,
                part_file, strcmp(part_type, "FLAT") ? "" : " 0");
    add_geometry(&b, o, sectors);
    return strbuf_take(&b);
}

/* Both directories, each followed by its tables, which all exist from the start. */
static int write_tables(BlockNode *file, uint64_t at, uint64_t dir, uint64_t tables)
{
    AUTO_FREE uint8_t *buf = try_alloc(dir * 512);

    if (!buf)
        return -ENOMEM;
    for (uint64_t i = 0; i < tables; i++)
        put_le32(buf + i * 4, (uint32_t)(at + dir + i * (GT_ENTRIES * 4 / 512)));
    return node_write(file, at * 512, buf, dir * 512);
}

static bool write_sparse(BlockNode *file, const VmdkCreate *o, const char *desc, bool compressed,
                         Error *err)
{
    uint64_t sectors = o->size / 512 + !!(o->size % 512), grains = (sectors + GRAIN - 1) / GRAIN;
    uint64_t tables = (grains + GT_ENTRIES - 1) / GT_ENTRIES, dir = (tables * 4 + 511) / 512;
    uint64_t rgd = DESC_AT + DESC_SIZE, gd = rgd + dir + tables * (GT_ENTRIES * 4 / 512);
    uint64_t data = ALIGN_UP(gd + dir + tables * (GT_ENTRIES * 4 / 512), (uint64_t)GRAIN);
    AUTO_FREE uint8_t *head = xalloc((DESC_AT + DESC_SIZE) * 512);
    int rc;

    if (strlen(desc) > DESC_SIZE * 512)
        return error_set(err, "the descriptor does not fit into %d bytes", DESC_SIZE * 512);
    put_le32(head, VMDK_MAGIC);
    put_le32(head + VMDK_AT_VERSION, compressed ? 3 : o->zeroed_grain ? 2 : 1);
    put_le32(head + VMDK_AT_FLAGS, VMDK_HAS_NEWLINES | VMDK_HAS_RGD |
                                       (compressed ? VMDK_COMPRESSED | VMDK_MARKERS : 0) |
                                       (o->zeroed_grain ? VMDK_ZERO_GRAINS : 0));
    put_le64(head + VMDK_AT_CAPACITY, sectors);
    put_le64(head + VMDK_AT_GRAIN, GRAIN);
    put_le64(head + VMDK_AT_DESC, DESC_AT);
    put_le64(head + VMDK_AT_DESC_SIZE, DESC_SIZE);
    put_le32(head + VMDK_AT_GT_ENTRIES, GT_ENTRIES);
    put_le64(head + VMDK_AT_RGD, rgd);
    put_le64(head + VMDK_AT_GD, gd);
    put_le64(head + VMDK_AT_DATA, data);
    memcpy(head + VMDK_AT_NEWLINES, "\n \r\n", 4);
    put_le16(head + VMDK_AT_COMPRESS, compressed);
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

static char *flat_name(const char *filename)
{
    const char *dot = strrchr(base_name(filename), '.');
    int stem = dot ? (int)(dot - filename) : (int)strlen(filename);

    return xasprintf("%.*s-flat%s", stem, filename, dot ? dot : "");
}

static bool format_flat(BlockGraph *g, BlockNode *file, const char *filename, const VmdkCreate *o,
                        Error *err)
{
    AUTO_FREE char *flat = flat_name(filename), *desc = NULL;
    uint64_t size = ALIGN_UP(o->size, 512ull);
    BlockNode *n;
    bool ok;
    int rc;

    if (o->backing_file)
        return error_set(err, "Flat image can't have backing file");
    desc = make_descriptor(o, "monolithicFlat", "FLAT", base_name(flat), VMDK_NO_PARENT, err);
    if (!desc || !(n = block_create_file(g, flat, size, NULL, err)))
        return false;
    ok = node_truncate(n, size, PREALLOC_OFF, false, err);
    node_unref(n);
    if (!ok)
        return false;
    rc = node_write(file, 0, desc, strlen(desc));
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VMDK descriptor");
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

bool vmdk_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                 Error *err)
{
    const VmdkCreate *o = options;
    const char *sub = o->subformat ? o->subformat : "monolithicSparse";
    bool stream = !strcmp(sub, "streamOptimized");
    AUTO_FREE char *desc = NULL;
    uint32_t parent;

    if (o->size / 512 / GRAIN > UINT32_MAX / GRAIN)
        return error_set(err, "VMDK images of more than 2 TiB are not supported");
    if (!strcmp(sub, "monolithicFlat"))
        return format_flat(g, file, filename, o, err);
    if (!stream && strcmp(sub, "monolithicSparse"))
        return error_set(err,
                         "Invalid subformat '%s' (monolithicSparse, monolithicFlat, "
                         "streamOptimized)",
                         sub);
    if (!parent_id(g, o, filename, &parent, err) ||
        !(desc = make_descriptor(o, sub, "SPARSE", base_name(filename), parent, err)))
        return false;
    return write_sparse(file, o, desc, stream, err);
}
