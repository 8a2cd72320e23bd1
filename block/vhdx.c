/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx - Hyper-V's disks, dynamic and fixed ([MS-VHDX], "Virtual Hard Disk v2 File Format")
 *
 * Two headers and two region tables, of which the valid and newest count, lead to the metadata and
 * the block table.  The table is in memory; what changed of it goes through the log (vhdx_log.c)
 * with the next flush, when the data it points to is on disk.  Differencing disks are refused.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/dirty_range.h"
#include "block/image_check.h"
#include "block/image_create.h"
#include "block/vhdx_priv.h"

enum {
    REGION_ENTRIES = 2047,
    METADATA_ENTRIES = 2047,
    SECTOR_ENTRIES = VHDX_SECTOR / 8, /* of the block table */
};

const Guid vhdx_guid_bat = {{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e,
                             0x9b, 0xfd, 0x4a, 0x08}};
const Guid vhdx_guid_metadata = {{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57,
                                  0x5f, 0x05, 0x0f, 0x88, 0x6e}};
const Guid vhdx_guid_parameters = {{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6,
                                    0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}};
const Guid vhdx_guid_size = {{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d,
                              0xbe, 0xd8, 0x3b, 0xf4, 0xb8}};
const Guid vhdx_guid_sector = {{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2,
                                0x33, 0xa8, 0xfa, 0xab, 0x5f}};
const Guid vhdx_guid_physical = {{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9,
                                  0x88, 0x52, 0x51, 0xc5, 0x56}};
const Guid vhdx_guid_page83 = {{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3,
                                0x09, 0xe0, 0x00, 0xc7, 0x46}};

typedef struct Vhdx {
    VhdxHeader header;
    uint64_t *bat;                   /* as on disk, in whole sectors */
    uint64_t blocks, entries, chunk; /* chunk: payload entries before each sector bitmap's */
    uint32_t block_size, sector_size;
    uint64_t bat_at, bat_size, metadata_at, metadata_size;
    uint64_t end;     /* where the next block goes */
    DirtyRange dirty; /* sectors of the table */
    bool has_parent, is_fixed, replayed;
    bool marked; /* the header says that this is not the file it was */
} Vhdx;

static int vhdx_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && !memcmp(head, "vhdxfile", 8) ? 100 : 0;
}

/* --- regions --- */

static bool overlaps(uint64_t at, uint64_t size, uint64_t at2, uint64_t size2)
{
    return at < at2 + size2 && at2 < at + size;
}

static bool take_region(BlockNode *n, Vhdx *v, const uint8_t *e, Error *err)
{
    uint64_t at = get_le64(e + 16), size = get_le32(e + 24);
    bool required = get_le32(e + 28) & 1;

    if (at > n->file->size || size > n->file->size - at || at < VHDX_UNIT)
        return error_set(err, "a VHDX region lies outside of the file");
    if (!memcmp(e, &vhdx_guid_bat, 16)) {
        v->bat_at = at;
        v->bat_size = size;
    } else if (!memcmp(e, &vhdx_guid_metadata, 16)) {
        v->metadata_at = at;
        v->metadata_size = size;
    } else if (required) {
        return error_set(err, "the VHDX image needs a region that is not known");
    }
    v->end = MAX(v->end, at + size);
    return true;
}

static bool read_regions(BlockNode *n, Vhdx *v, Error *err)
{
    AUTO_FREE uint8_t *t = xalloc(VHDX_REGION_SIZE);
    const VhdxHeader *h = &v->header;
    uint32_t count;
    bool sound = false;

    for (unsigned i = 0; i < 2 && !sound; i++) {
        int rc = node_read(n->file, VHDX_REGION_AT + i * (uint64_t)VHDX_REGION_SIZE, t,
                           VHDX_REGION_SIZE);

        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX region table");
        sound = vhdx_is_sound(t, "regi", VHDX_REGION_SIZE) && get_le32(t + 8) <= REGION_ENTRIES;
    }
    if (!sound)
        return error_set(err, "No valid VHDX region table found");
    count = get_le32(t + 8);
    for (uint32_t i = 0; i < count; i++)
        if (!take_region(n, v, t + 16 + i * VHDX_TABLE_ENTRY, err))
            return false;
    if (!v->bat_at || !v->metadata_at)
        return error_set(err, "the VHDX region table lacks the block table or the metadata");
    if (overlaps(v->bat_at, v->bat_size, v->metadata_at, v->metadata_size) ||
        overlaps(v->bat_at, v->bat_size, h->log_at, h->log_size) ||
        overlaps(v->metadata_at, v->metadata_size, h->log_at, h->log_size))
        return error_set(err, "VHDX regions overlap");
    v->end = MAX(v->end, h->log_at + h->log_size);
    return true;
}

/* --- metadata --- */

static bool take_item(BlockNode *n, Vhdx *v, const uint8_t *e, Error *err)
{
    uint32_t at = get_le32(e + 16), size = get_le32(e + 20);
    bool required = get_le32(e + 24) & VHDX_IS_REQUIRED;
    uint8_t item[8] = {0};
    int rc = 0;

    if (size && (at < VHDX_METADATA_SIZE || at > v->metadata_size || size > v->metadata_size - at))
        return error_set(err, "a VHDX metadata item lies outside of its region");
    if (size)
        rc = node_read(n->file, v->metadata_at + at, item, MIN(size, 8u));
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read VHDX metadata");
    if (!memcmp(e, &vhdx_guid_parameters, 16)) {
        v->block_size = get_le32(item);
        v->is_fixed = get_le32(item + 4) & VHDX_LEAVE_ALLOCATED;
        v->has_parent = get_le32(item + 4) & VHDX_HAS_PARENT;
    } else if (!memcmp(e, &vhdx_guid_size, 16)) {
        n->size = get_le64(item);
    } else if (!memcmp(e, &vhdx_guid_sector, 16)) {
        v->sector_size = get_le32(item);
    } else if (required && memcmp(e, &vhdx_guid_physical, 16) && memcmp(e, &vhdx_guid_page83, 16) &&
               !v->has_parent) {
        return error_set(err, "the VHDX image needs a metadata item that is not known");
    }
    return true;
}

static bool read_metadata(BlockNode *n, Vhdx *v, Error *err)
{
    AUTO_FREE uint8_t *t = xalloc(VHDX_METADATA_SIZE);
    int rc = v->metadata_size >= VHDX_METADATA_SIZE
                 ? node_read(n->file, v->metadata_at, t, VHDX_METADATA_SIZE)
                 : -EINVAL;
    uint32_t count;

    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read VHDX metadata");
    count = get_le16(t + 10);
    if (memcmp(t, "metadata", 8) || count > METADATA_ENTRIES)
        return error_set(err, "invalid VHDX metadata table");
    for (uint32_t i = 0; i < count; i++)
        if (!take_item(n, v, t + 32 + i * VHDX_TABLE_ENTRY, err))
            return false;
    if (v->has_parent)
        return error_set(err, "differencing VHDX images are not supported");
    if (v->block_size < VHDX_UNIT || v->block_size > VHDX_BLOCK_MAX ||
        v->block_size & (v->block_size - 1))
        return error_set(err, "Invalid VHDX block size %u", v->block_size);
    if (v->sector_size != 512 && v->sector_size != 4096)
        return error_set(err, "Invalid VHDX sector size %u", v->sector_size);
    if (n->size > VHDX_SIZE_MAX || n->size % v->sector_size)
        return error_set(err, "Invalid VHDX disk size %" PRIu64, (uint64_t)n->size);
    return true;
}

/* --- the block table --- */

static uint64_t entry_number(const Vhdx *v, uint64_t block)
{
    return block + block / v->chunk;
}

static unsigned entry_state(uint64_t entry)
{
    return entry & 7;
}

static uint64_t entry_place(uint64_t entry)
{
    return ALIGN_DOWN(entry, (uint64_t)VHDX_UNIT);
}

/* Bytes of @block that are in the disk; the last one may be cut off in the file where the disk
 * ends. */
static uint64_t block_bytes(const BlockNode *n, const Vhdx *v, uint64_t block)
{
    return MIN((uint64_t)v->block_size, n->size - block * v->block_size);
}

/* What is wrong with the place of @block; NULL: nothing. */
static const char *block_fault(const BlockNode *n, const Vhdx *v, uint64_t block)
{
    uint64_t entry = v->bat[entry_number(v, block)], at = entry_place(entry);
    uint64_t size = block_bytes(n, v, block);
    const VhdxHeader *h = &v->header;

    if (entry_state(entry) == VHDX_PARTIAL)
        return "needs a parent";
    if (entry_state(entry) != VHDX_PRESENT)
        return NULL;
    if (at > n->file->size || size > n->file->size - at)
        return "points after the end of the file";
    if (at < VHDX_UNIT || overlaps(at, size, v->bat_at, v->bat_size) ||
        overlaps(at, size, v->metadata_at, v->metadata_size) ||
        overlaps(at, size, h->log_at, h->log_size))
        return "points into the metadata";
    return NULL;
}

static bool read_bat(BlockNode *n, Vhdx *v, Error *err)
{
    uint64_t size;
    int rc;

    v->blocks = (n->size + v->block_size - 1) / v->block_size;
    v->chunk = (BIT(23) * v->sector_size) / v->block_size;
    v->entries = v->blocks ? v->blocks + (v->blocks - 1) / v->chunk : 0;
    size = ALIGN_UP(v->entries * 8, (uint64_t)VHDX_SECTOR);
    if (size > v->bat_size)
        return error_set(err, "the VHDX block table is too small for the disk");
    if (!(v->bat = try_alloc(size + 8)))
        return error_set(err, "no memory for a VHDX block table of %" PRIu64 " entries",
                         v->entries);
    rc = node_read(n->file, v->bat_at, v->bat, size);
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VHDX block table");
    for (uint64_t i = 0; i < v->entries; i++)
        v->bat[i] = get_le64(&v->bat[i]);
    for (uint64_t i = 0; i < v->blocks; i++) {
        const char *fault = block_fault(n, v, i);
        uint64_t entry = v->bat[entry_number(v, i)];

        if (fault && !(n->flags & NODE_CHECK))
            return error_set(err, "block %" PRIu64 " of the VHDX image %s", i, fault);
        if (!fault && entry_state(entry) == VHDX_PRESENT)
            v->end = MAX(v->end, entry_place(entry) + v->block_size);
    }
    v->end = ALIGN_UP(MAX(v->end, n->file->size), (uint64_t)VHDX_UNIT);
    return true;
}

static bool vhdx_open(BlockNode *n, const void *options, Error *err)
{
    Vhdx *v = n->state;
    bool write = !node_is_read_only(n) && !(n->flags & NODE_NO_IO);
    uint8_t head[8];
    int rc = node_read(n->file, 0, head, sizeof head);

    (void)options;
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VHDX signature");
    if (!vhdx_probe(head, sizeof head, NULL))
        return error_set(err, "Image not in VHDX format");
    if (!vhdx_header_read(n->file, &v->header, err) ||
        !vhdx_log_replay(n->file, &v->header, write, &v->replayed, err) ||
        !read_regions(n, v, err) || !read_metadata(n, v, err) || !read_bat(n, v, err))
        return false;
    if (write && !v->header.log_size)
        return error_set(err, "the VHDX image has no log: it can only be opened read-only");
    n->cluster_size = v->block_size;
    n->zero_init = !v->is_fixed || n->file->zero_init;
    return true;
}

/* --- mapping --- */

/* Would @block continue an extent of kind @kind, whose data would be at @at? */
static bool is_next(const BlockNode *n, const Vhdx *v, uint64_t block, ExtentKind kind, uint64_t at)
{
    uint64_t entry = v->bat[entry_number(v, block)];

    if (entry_state(entry) != VHDX_PRESENT)
        return kind == EXTENT_ZERO && entry_state(entry) != VHDX_PARTIAL;
    return kind == EXTENT_DATA && entry_place(entry) == at && !block_fault(n, v, block);
}

static int vhdx_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    const Vhdx *v = n->state;
    uint64_t i = at / v->block_size, last = (at + size - 1) / v->block_size;
    uint64_t entry = v->bat[entry_number(v, i)];

    (void)may_block;
    if (block_fault(n, v, i))
        return -EIO;
    *out = (Extent){.kind = EXTENT_ZERO, .at = i * v->block_size, .size = block_bytes(n, v, i)};
    if (entry_state(entry) == VHDX_PRESENT) {
        out->kind = EXTENT_DATA;
        out->child = n->file;
        out->child_at = entry_place(entry);
        out->flags = v->marked ? EXTENT_WRITABLE : 0;
    }
    while (++i <= last && is_next(n, v, i, out->kind, out->child_at + out->size))
        out->size += block_bytes(n, v, i);
    return 0;
}

/* From the first write on, the file is another one than it was: whoever keeps track of it sees
 * the ids. */
static int mark(BlockNode *n, Vhdx *v)
{
    int rc;

    if (v->marked)
        return 0;
    if (!uuid_make(v->header.file_id.b, NULL) || !uuid_make(v->header.data_id.b, NULL))
        return -EIO;
    rc = vhdx_header_write(n->file, &v->header);
    v->marked = rc == 0;
    return rc;
}

/* A block that is there is allocated only in name, for its first write: exactly what is written,
 * as it is. */
static int vhdx_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Vhdx *v = n->state;
    uint64_t i = at / v->block_size, in = at % v->block_size;
    uint64_t entry = v->bat[entry_number(v, i)];
    bool fresh = v->end >= n->file->size;
    int rc;

    if (!may_block)
        return -EAGAIN;
    if ((rc = mark(n, v)) < 0)
        return rc;
    if (entry_state(entry) == VHDX_PRESENT) {
        *out = (Extent){.kind = EXTENT_DATA,
                        .at = at,
                        .size = MIN(size, block_bytes(n, v, i) - in),
                        .child = n->file,
                        .child_at = entry_place(entry) + in};
        return 0;
    }
    if (v->end + v->block_size > n->file->size &&
        !node_truncate(n->file, v->end + v->block_size, PREALLOC_OFF, false, NULL))
        return -EIO;
    *out = (Extent){.kind = EXTENT_DATA,
                    .flags = fresh ? EXTENT_FRESH : 0,
                    .at = i * v->block_size,
                    .size = v->block_size,
                    .child = n->file,
                    .child_at = v->end,
                    .priv = {true}};
    v->end += v->block_size;
    return 0;
}

static int vhdx_link(BlockNode *n, Extent *e, bool may_block)
{
    Vhdx *v = n->state;
    uint64_t i;

    (void)may_block;
    if (!e->priv[0])
        return 0;
    i = entry_number(v, e->at / v->block_size);
    v->bat[i] = e->child_at | VHDX_PRESENT;
    dirty_range_add(&v->dirty, i / SECTOR_ENTRIES);
    n->meta_dirty = true;
    return 0;
}

/* A block between others stays unused. */
static void vhdx_cancel(BlockNode *n, Extent *e)
{
    Vhdx *v = n->state;

    if (e->priv[0] && v->end == e->child_at + v->block_size)
        v->end = e->child_at;
}

static int write_sectors(BlockNode *n, Vhdx *v, uint64_t from, unsigned count)
{
    AUTO_FREE uint8_t *buf = try_alloc((size_t)count * VHDX_SECTOR);
    VhdxChange changes[VHDX_LOG_SECTORS];

    if (!buf)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        changes[i] = (VhdxChange){v->bat_at + (from + i) * VHDX_SECTOR, buf + i * VHDX_SECTOR};
    for (size_t i = 0; i < (size_t)count * SECTOR_ENTRIES; i++)
        put_le64(buf + i * 8, v->bat[from * SECTOR_ENTRIES + i]);
    return vhdx_log_change(n->file, &v->header, changes, count);
}

static int vhdx_flush(BlockNode *n)
{
    Vhdx *v = n->state;
    unsigned count;
    int rc = 0;

    if (dirty_range_count(&v->dirty))
        rc = node_flush(n->file); /* the data, before what says where it is */
    while (rc == 0 && (count = MIN(dirty_range_count(&v->dirty), (unsigned)VHDX_LOG_SECTORS))) {
        rc = write_sectors(n, v, v->dirty.from, count);
        if (rc == 0)
            dirty_range_done(&v->dirty, count);
    }
    n->meta_dirty = rc < 0;
    return rc;
}

static void vhdx_close(BlockNode *n)
{
    Vhdx *v = n->state;

    if (v->bat && !node_is_read_only(n))
        vhdx_flush(n);
    xfree(v->bat);
    v->bat = NULL;
}

/* --- check --- */

/* Opening replays the log, which is all there is to repair. */
static bool vhdx_check(BlockNode *n, unsigned fix, CheckReport *rep, Error *err)
{
    const Vhdx *v = n->state;
    uint64_t count = 0;
    AUTO_FREE uint64_t *places = try_new_n(uint64_t, v->blocks + 1);

    if (!places)
        return error_set(err, "no memory for a check of %" PRIu64 " blocks", v->blocks);
    for (uint64_t i = 0; i < v->blocks; i++) {
        uint64_t entry = v->bat[entry_number(v, i)];
        const char *fault = block_fault(n, v, i);

        if (fault)
            check_found(rep, "ERROR: block %" PRIu64 " %s", i, fault);
        else if (entry_state(entry) == VHDX_PRESENT)
            places[count++] = entry_place(entry);
    }
    check_overlaps(rep, places, count, v->block_size);
    rep->corruptions_fixed += fix && v->replayed;
    return true;
}

/* --- create --- */

IMAGE_CREATE(vhdx)

static BlockDriver vhdx_driver = {
    .name = "vhdx",
    .doc = "Hyper-V disk",
    .kind = DRIVER_FORMAT,
    .children = image_children,
    .state_size = sizeof(Vhdx),
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .map = vhdx_map,
    .allocate = vhdx_allocate,
    .link = vhdx_link,
    .cancel = vhdx_cancel,
    .flush = vhdx_flush,
    .check = vhdx_check,
    .create = vhdx_create,
    .create_file = vhdx_create_file,
    .create_options = &vhdx_create_type,
};
BLOCK_DRIVER_REGISTER(vhdx_driver)
