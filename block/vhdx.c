/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx - Hyper-V's disks, dynamic and fixed, read-only ([MS-VHDX], "Virtual Hard Disk v2 File Format")
 *
 * Two headers and two region tables, of which the valid and newest count, lead to the metadata and the
 * block allocation table.  A log that was not replayed and differencing disks are refused.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/block.h"

enum {
    HEADER_AT = 64 << 10,
    HEADER_STEP = 64 << 10,
    HEADER_SIZE = 4096,
    REGION_AT = 192 << 10,
    REGION_STEP = 64 << 10,
    REGION_SIZE = 64 << 10,
    REGION_ENTRIES = 2047,
    METADATA_SIZE = 64 << 10,
    METADATA_ENTRIES = 2047,
    ENTRY_SIZE = 32, /* of both tables */
    BLOCK_PRESENT = 6,
    BLOCK_PARTIAL = 7,
};
#define SIZE_MAX_BYTES (64ull << 40)

typedef struct Guid {
    uint8_t b[16];
} Guid;
static const Guid guid_bat = {{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11,
                               0x5e, 0x9b, 0xfd, 0x4a, 0x08}};
static const Guid guid_metadata = {{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe,
                                    0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}};
static const Guid guid_parameters = {{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6,
                                      0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}};
static const Guid guid_size = {{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d,
                                0xbe, 0xd8, 0x3b, 0xf4, 0xb8}};
static const Guid guid_sector = {{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2,
                                  0x33, 0xa8, 0xfa, 0xab, 0x5f}};
static const Guid guid_physical = {{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9,
                                    0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}};
static const Guid guid_page83 = {{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3,
                                  0x09, 0xe0, 0x00, 0xc7, 0x46}};

typedef struct Vhdx {
    uint64_t *bat;
    uint64_t blocks, chunk; /* chunk: payload entries before each sector bitmap's */
    uint32_t block_size, sector_size;
    uint64_t bat_at, bat_size, metadata_at, metadata_size;
    bool has_parent;
} Vhdx;

static int vhdx_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && !memcmp(head, "vhdxfile", 8) ? 100 : 0;
}

/* --- headers and regions --- */

/* CRC-32C over @size bytes, in which the four at 4 count as zeroes. */
static uint32_t checksum(const uint8_t *p, size_t size)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < size; i++) {
        crc ^= i >= 4 && i < 8 ? 0 : p[i];
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static bool is_sound(const uint8_t *p, const char *signature, size_t size)
{
    return !memcmp(p, signature, 4) && get_le32(p + 4) == checksum(p, size);
}

static bool check_header(BlockNode *n, Error *err)
{
    static const uint8_t none[16];
    uint8_t h[2][HEADER_SIZE];
    const uint8_t *best = NULL;

    for (unsigned i = 0; i < 2; i++) {
        int rc = node_read(n->file, HEADER_AT + i * HEADER_STEP, h[i], HEADER_SIZE);

        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX header");
        if (is_sound(h[i], "head", HEADER_SIZE) && get_le16(h[i] + 66) == 1 &&
            (!best || get_le64(h[i] + 8) > get_le64(best + 8)))
            best = h[i];
    }
    if (!best)
        return error_set(err, "No valid VHDX header found");
    if (memcmp(best + 48, none, 16))
        return error_set(err,
                         "VHDX image file '%s' contains a log that needs to be replayed (qemu-img "
                         "check -r all does it)",
                         n->file->filename ? n->file->filename : n->file->name);
    return true;
}

static bool take_region(BlockNode *n, Vhdx *v, const uint8_t *e, Error *err)
{
    uint64_t at = get_le64(e + 16), size = get_le32(e + 24);
    bool required = get_le32(e + 28) & 1;

    if (at > n->file->size || size > n->file->size - at)
        return error_set(err, "a VHDX region lies outside of the file");
    if (!memcmp(e, &guid_bat, 16)) {
        v->bat_at = at;
        v->bat_size = size;
    } else if (!memcmp(e, &guid_metadata, 16)) {
        v->metadata_at = at;
        v->metadata_size = size;
    } else if (required) {
        return error_set(err, "the VHDX image needs a region that is not known");
    }
    return true;
}

static bool read_regions(BlockNode *n, Vhdx *v, Error *err)
{
    AUTO_FREE uint8_t *t = xalloc(REGION_SIZE);
    uint32_t count;
    bool sound = false;

    for (unsigned i = 0; i < 2 && !sound; i++) {
        int rc = node_read(n->file, REGION_AT + i * REGION_STEP, t, REGION_SIZE);

        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX region table");
        sound = is_sound(t, "regi", REGION_SIZE) && get_le32(t + 8) <= REGION_ENTRIES;
    }
    if (!sound)
        return error_set(err, "No valid VHDX region table found");
    count = get_le32(t + 8);
    for (uint32_t i = 0; i < count; i++)
        if (!take_region(n, v, t + 16 + i * ENTRY_SIZE, err))
            return false;
    return (v->bat_at && v->metadata_at) ||
           error_set(err, "the VHDX region table lacks the block table or the metadata");
}

/* --- metadata --- */

static bool take_item(BlockNode *n, Vhdx *v, const uint8_t *e, Error *err)
{
    uint32_t at = get_le32(e + 16), size = get_le32(e + 20);
    bool required = get_le32(e + 24) & 4;
    uint8_t item[8] = {0};
    int rc = 0;

    if (size && (at < METADATA_SIZE || at > v->metadata_size || size > v->metadata_size - at))
        return error_set(err, "a VHDX metadata item lies outside of its region");
    if (size)
        rc = node_read(n->file, v->metadata_at + at, item, MIN(size, 8u));
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read VHDX metadata");
    if (!memcmp(e, &guid_parameters, 16)) {
        v->block_size = get_le32(item);
        v->has_parent = get_le32(item + 4) & 2;
    } else if (!memcmp(e, &guid_size, 16)) {
        n->size = get_le64(item);
    } else if (!memcmp(e, &guid_sector, 16)) {
        v->sector_size = get_le32(item);
    } else if (required && memcmp(e, &guid_physical, 16) && memcmp(e, &guid_page83, 16) &&
               !v->has_parent) {
        return error_set(err, "the VHDX image needs a metadata item that is not known");
    }
    return true;
}

static bool read_metadata(BlockNode *n, Vhdx *v, Error *err)
{
    AUTO_FREE uint8_t *t = xalloc(METADATA_SIZE);
    int rc = v->metadata_size >= METADATA_SIZE
                 ? node_read(n->file, v->metadata_at, t, METADATA_SIZE)
                 : -EINVAL;
    uint32_t count;

    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read VHDX metadata");
    count = get_le16(t + 10);
    if (memcmp(t, "metadata", 8) || count > METADATA_ENTRIES)
        return error_set(err, "invalid VHDX metadata table");
    for (uint32_t i = 0; i < count; i++)
        if (!take_item(n, v, t + 32 + i * ENTRY_SIZE, err))
            return false;
    if (v->has_parent)
        return error_set(err, "differencing VHDX images are not supported");
    if (v->block_size < 1 << 20 || v->block_size > 256 << 20 || v->block_size & (v->block_size - 1))
        return error_set(err, "Invalid VHDX block size %u", v->block_size);
    if (v->sector_size != 512 && v->sector_size != 4096)
        return error_set(err, "Invalid VHDX sector size %u", v->sector_size);
    if (n->size > SIZE_MAX_BYTES || n->size % v->sector_size)
        return error_set(err, "Invalid VHDX disk size %" PRIu64, (uint64_t)n->size);
    return true;
}

static bool read_bat(BlockNode *n, Vhdx *v, Error *err)
{
    uint64_t entries;
    int rc;

    v->blocks = (n->size + v->block_size - 1) / v->block_size;
    v->chunk = (BIT(23) * v->sector_size) / v->block_size;
    entries = v->blocks ? v->blocks + (v->blocks - 1) / v->chunk : 0;
    if (entries * 8 > v->bat_size)
        return error_set(err, "the VHDX block table is too small for the disk");
    if (!(v->bat = try_new_n(uint64_t, entries + 1)))
        return error_set(err, "no memory for a VHDX block table of %" PRIu64 " entries", entries);
    rc = node_read(n->file, v->bat_at, v->bat, entries * 8);
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VHDX block table");
    for (uint64_t i = 0; i < entries; i++)
        v->bat[i] = get_le64(&v->bat[i]);
    return true;
}

static bool vhdx_open(BlockNode *n, const void *options, Error *err)
{
    Vhdx *v = n->state;
    uint8_t head[8];
    int rc = node_read(n->file, 0, head, sizeof head);

    (void)options;
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VHDX signature");
    if (!vhdx_probe(head, sizeof head, NULL))
        return error_set(err, "Image not in VHDX format");
    if (!check_header(n, err) || !read_regions(n, v, err) || !read_metadata(n, v, err) ||
        !read_bat(n, v, err))
        return false;
    if (!node_is_read_only(n)) {
        if (!(n->flags & NODE_AUTO_READ_ONLY))
            return error_set(err, "vhdx images can only be read: open the image read-only");
        n->flags |= NODE_READ_ONLY;
    }
    n->cluster_size = v->block_size;
    return true;
}

static void vhdx_close(BlockNode *n)
{
    Vhdx *v = n->state;

    xfree(v->bat);
    v->bat = NULL;
}

/* --- mapping --- */

static int vhdx_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    const Vhdx *v = n->state;
    uint64_t i = at / v->block_size, entry = v->bat[i + i / v->chunk];

    (void)size;
    (void)may_block;
    *out = (Extent){.kind = EXTENT_ZERO,
                    .at = i * v->block_size,
                    .size = MIN((uint64_t)v->block_size, n->size - i * v->block_size)};
    if ((entry & 7) == BLOCK_PARTIAL)
        return -EIO;
    if ((entry & 7) == BLOCK_PRESENT) {
        out->kind = EXTENT_DATA;
        out->child = n->file;
        out->child_at = ALIGN_DOWN(entry, (uint64_t)MIB);
        if (out->child_at > n->file->size || out->child_at < MIB)
            return -EIO;
    }
    return 0;
}

static const ChildSlot vhdx_children[] = {
    {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true},
    {0},
};

static BlockDriver vhdx_driver = {
    .name = "vhdx",
    .doc = "Hyper-V disk, read-only",
    .kind = DRIVER_FORMAT,
    .children = vhdx_children,
    .state_size = sizeof(Vhdx),
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .map = vhdx_map,
};
BLOCK_DRIVER_REGISTER(vhdx_driver)
