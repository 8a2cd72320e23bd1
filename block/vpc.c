/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vpc - Virtual Hard Disks of Virtual PC and Hyper-V 1, dynamic and fixed (Microsoft, "Virtual Hard
 * Disk Image Format Specification", 1.0)
 *
 * A footer of 512 bytes is the file's last sector; dynamic disks have a copy of it at the start, a
 * second header, and a table of blocks, each a sector bitmap followed by data.  All integers are
 * big-endian. New table entries reach the disk with the next flush.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/dirty_range.h"
#include "block/image_create.h"

enum {
    FOOTER_SIZE = 512,
    HEADER_SIZE = 1024,
    /* of the footer */
    AT_FEATURES = 8,
    AT_VERSION = 12,
    AT_HEADER = 16,
    AT_TIME = 24,
    AT_CREATOR = 28,
    AT_CREATOR_VERSION = 32,
    AT_CREATOR_OS = 36,
    AT_ORIGINAL_SIZE = 40,
    AT_SIZE = 48,
    AT_CYLINDERS = 56,
    AT_HEADS = 58,
    AT_SECTORS = 59,
    AT_TYPE = 60,
    AT_CHECKSUM = 64,
    AT_UUID = 68,
    TYPE_FIXED = 2,
    TYPE_DYNAMIC = 3,
    TYPE_DIFFERENCING = 4,
    /* of the dynamic disk header */
    AT_TABLE = 16,
    AT_HEADER_VERSION = 24,
    AT_ENTRIES = 28,
    AT_BLOCK_SIZE = 32,
    AT_HEADER_CHECKSUM = 36,

    BLOCK_SIZE = 2 << 20,   /* of new images */
    EPOCH = 946684800,      /* 2000-01-01, from which times count */
    ENTRIES_MAX = 64 << 20, /* of the table */
};
#define UNALLOCATED 0xffffffffu
#define CYLINDERS_MAX 65535ull
#define GEOMETRY_MAX (CYLINDERS_MAX * 16 * 255)
#define SECTORS_MAX (2040 * GIB / 512)

typedef struct Vpc {
    bool fixed;
    uint8_t footer[FOOTER_SIZE];
    uint32_t *table; /* sectors where blocks begin */
    uint32_t entries, block_size, bitmap_size;
    uint64_t table_at;
    uint64_t end; /* where the next block goes and the footer is now */
    DirtyRange dirty;
} Vpc;

/* --- open --- */

static int vpc_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && !memcmp(head, "conectix", 8) ? 100 : 0;
}

static uint32_t checksum(const uint8_t *p, size_t size, size_t at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += i >= at && i < at + 4 ? 0 : p[i];
    return ~sum;
}

/* The footer says the size twice: in bytes, and as a geometry that may be smaller.  Who wrote it
 * tells which one guests see. */
static uint64_t footer_size(const uint8_t *f)
{
    static const char creators[][5] = {"win ", "qem2", "d2v ", "tap\0", "vs  ", "CTXS", "wa\0\0"};
    uint64_t sectors = (uint64_t)get_be16(f + AT_CYLINDERS) * f[AT_HEADS] * f[AT_SECTORS];
    bool exact = sectors == GEOMETRY_MAX;

    for (unsigned i = 0; i < COUNT_OF(creators); i++)
        exact |= !memcmp(f + AT_CREATOR, creators[i], 4);
    return exact ? ALIGN_DOWN(get_be64(f + AT_SIZE), 512ull) : sectors * 512;
}

static bool is_footer(const uint8_t *f)
{
    return !memcmp(f, "conectix", 8);
}

static bool read_footer(BlockNode *n, Vpc *v, Error *err)
{
    uint64_t size = n->file->size;
    int rc = node_read(n->file, 0, v->footer, FOOTER_SIZE);

    if (rc == 0 && !is_footer(v->footer) && size >= FOOTER_SIZE)
        rc = node_read(n->file, ALIGN_DOWN(size, 512ull) - FOOTER_SIZE, v->footer, FOOTER_SIZE);
    if (rc < 0)
        return error_set_errno(err, -rc, "Unable to read VHD header");
    if (!is_footer(v->footer))
        return error_set(err, "invalid VPC image");
    if (get_be32(v->footer + AT_CHECKSUM) != checksum(v->footer, FOOTER_SIZE, AT_CHECKSUM))
        return error_set(err, "Incorrect header checksum");
    return true;
}

static bool read_header(BlockNode *n, Vpc *v, Error *err)
{
    uint64_t at = get_be64(v->footer + AT_HEADER);
    uint8_t h[HEADER_SIZE];
    int rc = at <= INT64_MAX - HEADER_SIZE ? node_read(n->file, at, h, sizeof h) : -EINVAL;

    if (rc < 0)
        return error_set_errno(err, -rc, "Error reading dynamic VHD header");
    if (memcmp(h, "cxsparse", 8))
        return error_set(err, "Invalid header magic");
    v->block_size = get_be32(h + AT_BLOCK_SIZE);
    if (v->block_size < 512 || v->block_size > 1 << 30 || v->block_size & (v->block_size - 1))
        return error_set(err, "Invalid block size %u", v->block_size);
    v->bitmap_size = ALIGN_UP(v->block_size / 512 / 8, 512u);
    v->entries = get_be32(h + AT_ENTRIES);
    v->table_at = get_be64(h + AT_TABLE);
    if ((uint64_t)v->entries * v->block_size < n->size)
        return error_set(err, "Page table too small");
    if (v->entries > ENTRIES_MAX)
        return error_set(err, "Page table too large (%u entries)", v->entries);
    if (v->table_at > n->file->size || v->entries * 4ull > n->file->size - v->table_at)
        return error_set(err, "Page table lies outside of the file");
    return true;
}

static bool read_table(BlockNode *n, Vpc *v, Error *err)
{
    uint64_t size = v->bitmap_size + (uint64_t)v->block_size;
    int rc;

    if (!(v->table = try_new_n(uint32_t, v->entries + 1u)))
        return error_set(err, "no memory for a page table of %u entries", v->entries);
    rc = node_read(n->file, v->table_at, v->table, v->entries * 4ull);
    if (rc < 0)
        return error_set_errno(err, -rc, "Error reading pagetable");
    v->end = ALIGN_UP(v->table_at + v->entries * 4ull, 512ull);
    for (uint32_t i = 0; i < v->entries; i++) {
        uint32_t at = v->table[i] = get_be32(&v->table[i]);

        if (at == UNALLOCATED)
            continue;
        if ((uint64_t)at * 512 >= n->file->size)
            return error_set(err, "Page table entry %u points behind the end of the file", i);
        v->end = MAX(v->end, at * 512ull + size);
    }
    n->cluster_size = v->block_size;
    n->zero_init = true;
    return true;
}

static bool vpc_open(BlockNode *n, const void *options, Error *err)
{
    Vpc *v = n->state;
    uint32_t type;

    (void)options;
    if (!read_footer(n, v, err))
        return false;
    type = get_be32(v->footer + AT_TYPE);
    n->size = footer_size(v->footer);
    if (n->size > SECTORS_MAX * 512)
        return error_set(err, "the disk has %" PRIu64 " bytes, which is more than VHD allows",
                         (uint64_t)n->size);
    v->fixed = type == TYPE_FIXED;
    if (v->fixed) {
        if (n->file->size < n->size)
            return error_set(err, "the file is shorter than its fixed disk");
        return true;
    }
    if (type == TYPE_DIFFERENCING)
        return error_set(err, "differencing VHD images are not supported");
    if (type != TYPE_DYNAMIC)
        return error_set(err, "unknown VHD disk type %u", type);
    return read_header(n, v, err) && read_table(n, v, err);
}

/* --- mapping --- */

static int vpc_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    const Vpc *v = n->state;
    uint64_t i;

    (void)may_block;
    *out = (Extent){
        .at = 0, .size = n->size, .kind = EXTENT_DATA, .flags = EXTENT_WRITABLE, .child = n->file};
    if (v->fixed)
        return 0;
    i = at / v->block_size;
    out->at = i * v->block_size;
    out->size = v->block_size;
    out->child_at = (uint64_t)v->table[i] * 512 + v->bitmap_size;
    if (v->table[i] == UNALLOCATED) {
        uint64_t last = MIN((at + size - 1) / v->block_size, v->entries - 1ull);

        out->kind = EXTENT_ZERO;
        out->child = NULL;
        for (; i < last && v->table[i + 1] == UNALLOCATED; i++)
            out->size += v->block_size;
    }
    out->size = MIN(out->size, n->size - out->at);
    return 0;
}

/* The footer moves behind the new block, whose sectors all count as present. */
static int vpc_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Vpc *v = n->state;
    uint64_t i = at / v->block_size, room = v->end, next;
    AUTO_FREE uint8_t *bitmap = NULL;
    bool fresh = room + FOOTER_SIZE >= n->file->size;
    int rc;

    (void)size;
    if (!may_block)
        return -EAGAIN;
    next = room + v->bitmap_size + v->block_size;
    if (next / 512 >= UNALLOCATED)
        return -ENOSPC;
    if (!(bitmap = try_alloc(v->bitmap_size)))
        return -ENOMEM;
    memset(bitmap, 0xff, v->bitmap_size);
    rc = node_write(n->file, next, v->footer, FOOTER_SIZE);
    if (rc == 0)
        rc = node_write(n->file, room, bitmap, v->bitmap_size);
    if (rc < 0)
        return rc;
    v->end = next;
    *out = (Extent){.kind = EXTENT_DATA,
                    .flags = fresh ? EXTENT_FRESH : 0,
                    .at = i * v->block_size,
                    .size = v->block_size,
                    .child = n->file,
                    .child_at = room + v->bitmap_size,
                    .priv = {room / 512}};
    return 0;
}

static int vpc_link(BlockNode *n, Extent *e, bool may_block)
{
    Vpc *v = n->state;
    uint32_t i = (uint32_t)(e->at / v->block_size);

    (void)may_block;
    v->table[i] = (uint32_t)e->priv[0];
    dirty_range_add(&v->dirty, i);
    n->meta_dirty = true;
    return 0;
}

/* The room stays unused. */
static void vpc_cancel(BlockNode *n, Extent *e)
{
    (void)n;
    (void)e;
}

static int vpc_flush(BlockNode *n)
{
    Vpc *v = n->state;
    uint8_t buf[4096];
    uint64_t count;
    int rc = 0;

    while (rc == 0 && (count = MIN(dirty_range_count(&v->dirty), sizeof buf / 4))) {
        for (uint64_t i = 0; i < count; i++)
            put_be32(buf + i * 4, v->table[v->dirty.from + i]);
        rc = node_write(n->file, v->table_at + v->dirty.from * 4, buf, count * 4);
        if (rc == 0)
            dirty_range_done(&v->dirty, count);
    }
    n->meta_dirty = rc < 0;
    return rc;
}

static void vpc_close(BlockNode *n)
{
    Vpc *v = n->state;

    if (v->table && !node_is_read_only(n))
        vpc_flush(n);
    xfree(v->table);
    v->table = NULL;
}

/* --- create --- */

typedef struct VpcCreate {
    uint64_t size;
    char *subformat;
    bool force_size;
} VpcCreate;

static const Field create_fields[] = {
    PROP_SIZE(VpcCreate, size, "size", 0, "Virtual disk size"),
    PROP_STR(
        VpcCreate, subformat, "subformat", NULL,
        "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} "),
    PROP(VpcCreate, force_size, "force_size", false,
         "Force disk size calculation to use the actual size specified, rather than using the "
         "nearest "
         "CHS-based calculation"),
};
static STRUCT_TYPE(create_type, VpcCreate, create_fields);

typedef struct Geometry {
    uint16_t cylinders;
    uint8_t heads, sectors;
} Geometry;

/* The specification's appendix "CHS Calculation". */
static Geometry geometry_of(uint64_t total)
{
    Geometry g = {0, 16, 255};
    uint64_t tracks;

    total = MIN(total, GEOMETRY_MAX);
    if (total >= CYLINDERS_MAX * 16 * 63) {
        tracks = total / 255;
    } else {
        g.sectors = 17;
        tracks = total / 17;
        g.heads = (uint8_t)MIN(MAX((tracks + 1023) / 1024, 4u), 255u);
        if (tracks >= g.heads * 1024ull || g.heads > 16) {
            g.sectors = 31;
            g.heads = 16;
            tracks = total / 31;
        }
        if (tracks >= g.heads * 1024ull) {
            g.sectors = 63;
            g.heads = 16;
            tracks = total / 63;
        }
    }
    g.cylinders = (uint16_t)(tracks / g.heads);
    return g;
}

static uint64_t geometry_sectors(const Geometry *g)
{
    return (uint64_t)g->cylinders * g->heads * g->sectors;
}

/* The smallest geometry that has room for @size bytes; the size that it gives. */
static uint64_t choose_size(uint64_t size, bool exact, Geometry *g)
{
    uint64_t wanted = size / 512 + !!(size % 512);

    *g = (Geometry){CYLINDERS_MAX, 16, 255};
    if (exact || wanted >= GEOMETRY_MAX)
        return wanted;
    for (uint64_t i = wanted;; i++) {
        *g = geometry_of(i);
        if (geometry_sectors(g) >= wanted)
            return geometry_sectors(g) == GEOMETRY_MAX ? wanted : geometry_sectors(g);
    }
}

static bool make_footer(uint8_t *f, uint64_t sectors, const Geometry *g, bool fixed, bool exact,
                        Error *err)
{
    memcpy(f, "conectix", 8);
    put_be32(f + AT_FEATURES, 2);
    put_be32(f + AT_VERSION, 0x00010000);
    put_be64(f + AT_HEADER, fixed ? UINT64_MAX : FOOTER_SIZE);
    put_be32(f + AT_TIME, (uint32_t)(time(NULL) - EPOCH));
    memcpy(f + AT_CREATOR, exact ? "qem2" : "qemu", 4); /* decides how the size is read back */
    put_be32(f + AT_CREATOR_VERSION, 0x00050003);
    memcpy(f + AT_CREATOR_OS, "Wi2k", 4);
    put_be64(f + AT_ORIGINAL_SIZE, sectors * 512);
    put_be64(f + AT_SIZE, sectors * 512);
    put_be16(f + AT_CYLINDERS, g->cylinders);
    f[AT_HEADS] = g->heads;
    f[AT_SECTORS] = g->sectors;
    put_be32(f + AT_TYPE, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    if (!uuid_make(f + AT_UUID, err))
        return false;
    put_be32(f + AT_CHECKSUM, checksum(f, FOOTER_SIZE, AT_CHECKSUM));
    return true;
}

static int write_dynamic(BlockNode *file, const uint8_t *footer, uint64_t sectors)
{
    uint64_t entries = (sectors * 512 + BLOCK_SIZE - 1) / BLOCK_SIZE;
    size_t table = ALIGN_UP(entries * 4, 512ull), at = FOOTER_SIZE + HEADER_SIZE;
    AUTO_FREE uint8_t *all = try_alloc(at + table + FOOTER_SIZE);
    uint8_t *h;

    if (!all)
        return -ENOMEM;
    memcpy(all, footer, FOOTER_SIZE);
    h = all + FOOTER_SIZE;
    memcpy(h, "cxsparse", 8);
    put_be64(h + 8, UINT64_MAX);
    put_be64(h + AT_TABLE, at);
    put_be32(h + AT_HEADER_VERSION, 0x00010000);
    put_be32(h + AT_ENTRIES, (uint32_t)entries);
    put_be32(h + AT_BLOCK_SIZE, BLOCK_SIZE);
    put_be32(h + AT_HEADER_CHECKSUM, checksum(h, HEADER_SIZE, AT_HEADER_CHECKSUM));
    memset(all + at, 0xff, table);
    memcpy(all + at + table, footer, FOOTER_SIZE);
    return node_write(file, 0, all, at + table + FOOTER_SIZE);
}

static bool vpc_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                       Error *err)
{
    const VpcCreate *o = options;
    bool fixed = o->subformat && !strcmp(o->subformat, "fixed");
    uint8_t footer[FOOTER_SIZE] = {0};
    uint64_t sectors = 0;
    Geometry geometry;
    int rc;

    (void)g;
    (void)filename;
    if (o->subformat && !fixed && strcmp(o->subformat, "dynamic"))
        return error_set(err,
                         "Parameter 'subformat' does not accept value '%s' (known: dynamic, fixed)",
                         o->subformat);
    if (o->size <= SECTORS_MAX * 512)
        sectors = choose_size(o->size, o->force_size, &geometry);
    if (o->size > SECTORS_MAX * 512 || sectors > SECTORS_MAX)
        return error_set(err,
                         "The image size is too large for file format 'vpc' (at most 2040 GiB)");
    if (!file)
        return true;
    if (!make_footer(footer, sectors, &geometry, fixed, o->force_size, err))
        return false;
    if (fixed && !node_truncate(file, sectors * 512, PREALLOC_OFF, false, err))
        return false;
    rc = fixed ? node_write(file, sectors * 512, footer, FOOTER_SIZE)
               : write_dynamic(file, footer, sectors);
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VHD headers");
}

IMAGE_CREATE(vpc)

static BlockDriver vpc_driver = {
    .name = "vpc",
    .doc = "Virtual Hard Disk of Virtual PC",
    .kind = DRIVER_FORMAT,
    .children = image_children,
    .state_size = sizeof(Vpc),
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .map = vpc_map,
    .allocate = vpc_allocate,
    .link = vpc_link,
    .cancel = vpc_cancel,
    .flush = vpc_flush,
    .create = vpc_create,
    .create_file = vpc_create_file,
    .create_options = &create_type,
};
BLOCK_DRIVER_REGISTER(vpc_driver)
