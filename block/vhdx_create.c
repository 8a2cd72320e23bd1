/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx_create - new images of Hyper-V's format ([MS-VHDX] 2.2 "Header Section", 2.5 "BAT", 2.6
 * "Metadata")
 *
 * In this order: identifier, headers, region tables; the log; the block table; the metadata; the
 * blocks, all of them in a fixed image.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/image_create.h"
#include "block/vhdx_priv.h"

enum { SECTOR_SIZE = 512 }; /* of the disk */

typedef struct VhdxCreate {
    uint64_t size, log_size, block_size;
    char *subformat;
    bool block_state_zero;
} VhdxCreate;

static const Field create_fields[] = {
    PROP_SIZE(VhdxCreate, size, "size", 0, "Virtual disk size; max of 64TB."),
    PROP_SIZE(VhdxCreate, log_size, "log_size", VHDX_UNIT, "Log size; min 1MB."),
    PROP_SIZE(VhdxCreate, block_size, "block_size", 0,
              "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size."),
    PROP_STR(VhdxCreate, subformat, "subformat", NULL,
             "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."),
    PROP(VhdxCreate, block_state_zero, "block_state_zero", true,
         "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to "
         "'off' when using 'qemu-img convert' with subformat=dynamic."),
};
STRUCT_TYPE(vhdx_create_type, VhdxCreate, create_fields);

typedef struct Layout {
    bool fixed, zero;
    uint64_t size, blocks, entries, chunk;
    uint32_t block_size, log_size;
    uint64_t bat_at, bat_size, metadata_at, data_at;
} Layout;

/* As large as keeps the table of a large disk small. */
static uint64_t default_block_size(uint64_t size)
{
    return size > 32ull << 40 ? 64 * MIB
           : size > 100 * GIB ? 32 * MIB
           : size > GIB       ? 16 * MIB
                              : 8 * MIB;
}

static bool lay_out(Layout *l, const VhdxCreate *o, Error *err)
{
    uint64_t block = o->block_size ? o->block_size : default_block_size(o->size);

    if (o->size > VHDX_SIZE_MAX)
        return error_set(err, "Image size too large; max of 64TB");
    if (o->log_size >= 4 * GIB)
        return error_set(err, "Log size must be smaller than 4 GB");
    if (o->subformat && strcmp(o->subformat, "fixed") && strcmp(o->subformat, "dynamic"))
        return error_set(err,
                         "Parameter 'subformat' does not accept value '%s' (known: dynamic, fixed)",
                         o->subformat);
    block = MIN(MAX(block, (uint64_t)VHDX_UNIT), (uint64_t)VHDX_BLOCK_MAX);
    if (block & (block - 1))
        return error_set(err, "Block size must be a power of two");
    l->fixed = o->subformat && !strcmp(o->subformat, "fixed");
    l->zero = o->block_state_zero;
    l->size = ALIGN_UP(o->size, (uint64_t)SECTOR_SIZE);
    l->block_size = (uint32_t)block;
    l->log_size =
        (uint32_t)MIN(MAX(ALIGN_UP(o->log_size, (uint64_t)VHDX_UNIT), MIB), 4 * GIB - MIB);
    l->blocks = (l->size + block - 1) / block;
    l->chunk = BIT(23) * SECTOR_SIZE / block;
    l->entries = l->blocks ? l->blocks + (l->blocks - 1) / l->chunk : 0;
    l->bat_at = VHDX_UNIT + (uint64_t)l->log_size;
    l->bat_size = MAX(ALIGN_UP(l->entries * 8, (uint64_t)VHDX_UNIT), MIB);
    l->metadata_at = l->bat_at + l->bat_size;
    l->data_at = l->metadata_at + VHDX_UNIT;
    return true;
}

static int write_identifier(BlockNode *file)
{
    static const char creator[] = "rhea";
    uint8_t p[8 + 512] = "vhdxfile";

    for (unsigned i = 0; creator[i]; i++)
        put_le16(p + 8 + 2ul * i, (uint16_t)creator[i]);
    return node_write(file, 0, p, sizeof p);
}

/* Both, with the one of the higher number in force. */
static int write_headers(BlockNode *file, const Layout *l, Error *err)
{
    VhdxHeader h = {.log_at = VHDX_UNIT, .log_size = l->log_size, .slot = 1};
    int rc;

    if (!uuid_make(h.file_id.b, err) || !uuid_make(h.data_id.b, err))
        return -EIO;
    rc = vhdx_header_write(file, &h);
    return rc < 0 ? rc : vhdx_header_write(file, &h);
}

static void put_region(uint8_t *p, const Guid *id, uint64_t at, uint64_t size)
{
    memcpy(p, id, sizeof *id);
    put_le64(p + 16, at);
    put_le32(p + 24, (uint32_t)size);
    put_le32(p + 28, 1); /* required */
}

static int write_regions(BlockNode *file, const Layout *l)
{
    AUTO_FREE uint8_t *p = xalloc(VHDX_REGION_SIZE);
    int rc;

    memcpy(p, "regi", 4);
    put_le32(p + 8, 2);
    put_region(p + 16, &vhdx_guid_bat, l->bat_at, l->bat_size);
    put_region(p + 16 + VHDX_TABLE_ENTRY, &vhdx_guid_metadata, l->metadata_at, VHDX_UNIT);
    vhdx_sign(p, VHDX_REGION_SIZE);
    rc = node_write(file, VHDX_REGION_AT, p, VHDX_REGION_SIZE);
    return rc < 0 ? rc : node_write(file, VHDX_REGION_AT + VHDX_REGION_SIZE, p, VHDX_REGION_SIZE);
}

/* The table and behind it the items. */
static int write_metadata(BlockNode *file, const Layout *l, Error *err)
{
    const struct {
        const Guid *id;
        uint32_t size, flags;
    } items[] = {
        {&vhdx_guid_parameters, 8, VHDX_IS_REQUIRED},
        {&vhdx_guid_size, 8, VHDX_IS_REQUIRED | VHDX_IS_DISK},
        {&vhdx_guid_page83, 16, VHDX_IS_REQUIRED | VHDX_IS_DISK},
        {&vhdx_guid_sector, 4, VHDX_IS_REQUIRED | VHDX_IS_DISK},
        {&vhdx_guid_physical, 4, VHDX_IS_REQUIRED | VHDX_IS_DISK},
    };
    AUTO_FREE uint8_t *p = xalloc(VHDX_METADATA_SIZE + VHDX_SECTOR);
    uint8_t values[COUNT_OF(items)][16] = {{0}};
    uint32_t at = VHDX_METADATA_SIZE;

    put_le32(values[0], l->block_size);
    put_le32(values[0] + 4, l->fixed ? VHDX_LEAVE_ALLOCATED : 0);
    put_le64(values[1], l->size);
    if (!uuid_make(values[2], err))
        return -EIO;
    put_le32(values[3], SECTOR_SIZE);
    put_le32(values[4], SECTOR_SIZE);
    memcpy(p, "metadata", 8);
    put_le16(p + 10, COUNT_OF(items));
    for (unsigned i = 0; i < COUNT_OF(items); i++) {
        uint8_t *e = p + (i + 1) * VHDX_TABLE_ENTRY;

        memcpy(e, items[i].id, sizeof(Guid));
        put_le32(e + 16, at);
        put_le32(e + 20, items[i].size);
        put_le32(e + 24, items[i].flags);
        memcpy(p + at, values[i], items[i].size);
        at += items[i].size;
    }
    return node_write(file, l->metadata_at, p, VHDX_METADATA_SIZE + VHDX_SECTOR);
}

/* Entries of sector bitmaps, one behind each chunk, stay 0: not present. */
static uint64_t new_entry(const Layout *l, uint64_t i)
{
    uint64_t block = i - i / (l->chunk + 1);

    if (i % (l->chunk + 1) == l->chunk)
        return 0;
    if (l->fixed)
        return (l->data_at + block * l->block_size) | VHDX_PRESENT;
    return l->zero ? VHDX_ZERO : 0;
}

static int write_bat(BlockNode *file, const Layout *l)
{
    AUTO_FREE uint8_t *p = NULL;
    int rc = 0;

    if (!l->fixed && !l->zero)
        return 0; /* the file is new, so this is zeroes already */
    p = xalloc(VHDX_UNIT);
    for (uint64_t i = 0; i < l->entries && rc == 0;) {
        uint64_t first = i;

        for (; i < l->entries && i - first < VHDX_UNIT / 8; i++)
            put_le64(p + (i - first) * 8, new_entry(l, i));
        rc = node_write(file, l->bat_at + first * 8, p, (i - first) * 8);
    }
    return rc;
}

bool vhdx_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                 Error *err)
{
    Layout l = {0};
    Error why = {0};
    int rc;

    (void)g;
    (void)filename;
    if (!lay_out(&l, options, err))
        return false;
    if (!file)
        return true;
    if (!node_truncate(file, l.data_at + (l.fixed ? l.blocks * l.block_size : 0), PREALLOC_OFF,
                       false, err))
        return false;
    rc = write_regions(file, &l);
    if (rc == 0)
        rc = write_metadata(file, &l, &why);
    if (rc == 0)
        rc = write_bat(file, &l);
    if (rc == 0)
        rc = write_headers(file, &l, &why);
    if (rc == 0)
        rc = write_identifier(file); /* from now on it is an image */
    if (rc < 0 && why.msg[0])
        return error_set(err, "%s", why.msg);
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VHDX headers");
}
