/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vdi - VirtualBox disk images, dynamic and static (layout: VirtualBox SDK, VDICore.h's header 1.1)
 *
 * A header of 512 bytes, a table with one number for each block of 1 MiB, then the blocks in the
 * order in which they were first written.  New entries reach the disk with the next flush.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/opts_json.h"
#include "block/dirty_range.h"
#include "block/image_check.h"
#include "block/image_create.h"

enum {
    HEADER_SIZE = 512,
    BLOCK_SIZE = 1 << 20,
    MAP_MAX = 256 << 20, /* bytes of the table: 64 TiB */
    AT_SIGNATURE = 0x40,
    AT_VERSION = 0x44,
    AT_HEADER_SIZE = 0x48,
    AT_TYPE = 0x4c,
    AT_MAP = 0x154,
    AT_DATA = 0x158,
    AT_SECTOR_SIZE = 0x168,
    AT_DISK_SIZE = 0x170,
    AT_BLOCK_SIZE = 0x178,
    AT_BLOCKS = 0x180,
    AT_ALLOCATED = 0x184,
    AT_UUID = 0x188,
    AT_UUID_SNAPSHOT = 0x198,
    AT_UUID_LINK = 0x1a8,
    AT_UUID_PARENT = 0x1b8,
    TYPE_DYNAMIC = 1,
    TYPE_STATIC = 2,
};
#define SIGNATURE 0xbeda107fu
#define VERSION 0x00010001u
#define UNALLOCATED 0xffffffffu
#define DISCARDED 0xfffffffeu

static const char magic[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";

typedef struct Vdi {
    uint32_t *map;              /* numbers of blocks in the file, UNALLOCATED, DISCARDED */
    uint32_t blocks, allocated; /* allocated: the number of the next new block */
    uint64_t map_at, data_at;
    DirtyRange dirty;
} Vdi;

/* --- open --- */

static int vdi_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= AT_VERSION && get_le32(head + AT_SIGNATURE) == SIGNATURE ? 100 : 0;
}

static bool is_null_uuid(const uint8_t *p)
{
    return !get_le64(p) && !get_le64(p + 8);
}

static bool check_header(const uint8_t *h, Error *err)
{
    uint64_t size = get_le64(h + AT_DISK_SIZE);

    if (get_le32(h + AT_SIGNATURE) != SIGNATURE)
        return error_set(err, "Image not in VDI format (bad signature %08x)",
                         get_le32(h + AT_SIGNATURE));
    if (get_le32(h + AT_VERSION) != VERSION)
        return error_set(err, "unsupported VDI image (version %u.%u)",
                         get_le32(h + AT_VERSION) >> 16, get_le32(h + AT_VERSION) & 0xffff);
    if (get_le32(h + AT_TYPE) != TYPE_DYNAMIC && get_le32(h + AT_TYPE) != TYPE_STATIC)
        return error_set(err, "unsupported VDI image (type %u: only dynamic and static ones)",
                         get_le32(h + AT_TYPE));
    if (get_le32(h + AT_MAP) % 512 || get_le32(h + AT_DATA) % 512)
        return error_set(err, "unsupported VDI image (unaligned block map or data offset)");
    if (get_le32(h + AT_SECTOR_SIZE) != 512)
        return error_set(err, "unsupported VDI image (sector size %u is not 512)",
                         get_le32(h + AT_SECTOR_SIZE));
    if (get_le32(h + AT_BLOCK_SIZE) != BLOCK_SIZE)
        return error_set(err, "unsupported VDI image (block size %u is not %u)",
                         get_le32(h + AT_BLOCK_SIZE), BLOCK_SIZE);
    if (get_le32(h + AT_BLOCKS) > MAP_MAX / 4 ||
        size > (uint64_t)get_le32(h + AT_BLOCKS) * BLOCK_SIZE)
        return error_set(err,
                         "unsupported VDI image (disk size %" PRIu64 ", image bitmap has room "
                         "for %" PRIu64 ")",
                         size, (uint64_t)get_le32(h + AT_BLOCKS) * BLOCK_SIZE);
    if (!is_null_uuid(h + AT_UUID_LINK) || !is_null_uuid(h + AT_UUID_PARENT))
        return error_set(err, "unsupported VDI image (it needs a parent image)");
    return true;
}

static bool read_map(BlockNode *n, Vdi *v, Error *err)
{
    int rc;

    if (v->map_at < HEADER_SIZE || v->map_at + v->blocks * 4ull > n->file->size)
        return error_set(err, "VDI block map lies outside of the file");
    if (v->data_at < v->map_at + v->blocks * 4ull)
        return error_set(err, "VDI block map overlaps the data");
    if (!(v->map = try_new_n(uint32_t, v->blocks + 1u)))
        return error_set(err, "no memory for a VDI block map of %u entries", v->blocks);
    rc = node_read(n->file, v->map_at, v->map, v->blocks * 4ull);
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VDI block map");
    for (uint32_t i = 0; i < v->blocks; i++) {
        uint32_t at = v->map[i] = get_le32(&v->map[i]);

        if (at >= DISCARDED)
            continue;
        /* Each block has a place of its own, so there cannot be more places than blocks. */
        if (at >= v->blocks && !(n->flags & NODE_CHECK))
            return error_set(err, "VDI block map entry %u is %u, but there are %u blocks", i, at,
                             v->blocks);
        v->allocated = MAX(v->allocated, at < v->blocks ? at + 1 : 0);
    }
    return true;
}

static bool vdi_open(BlockNode *n, const void *options, Error *err)
{
    Vdi *v = n->state;
    uint8_t h[HEADER_SIZE];
    int rc = node_read(n->file, 0, h, sizeof h);

    (void)options;
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VDI header");
    if (!check_header(h, err))
        return false;
    v->blocks = get_le32(h + AT_BLOCKS);
    v->map_at = get_le32(h + AT_MAP);
    v->data_at = get_le32(h + AT_DATA);
    n->size = ALIGN_UP(get_le64(h + AT_DISK_SIZE), (uint64_t)512);
    if (n->size > (uint64_t)v->blocks * BLOCK_SIZE)
        n->size = (uint64_t)v->blocks * BLOCK_SIZE;
    n->cluster_size = BLOCK_SIZE;
    n->zero_init = get_le32(h + AT_TYPE) == TYPE_DYNAMIC;
    return read_map(n, v, err);
}

/* --- mapping --- */

static bool is_allocated(uint32_t entry)
{
    return entry < DISCARDED;
}

static int vdi_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    const Vdi *v = n->state;
    uint64_t i = at / BLOCK_SIZE, last = (at + size - 1) / BLOCK_SIZE, end = i + 1;
    uint32_t first = v->map[i];

    (void)may_block;
    while (end <= last && end < v->blocks &&
           (is_allocated(first) ? v->map[end] == first + (end - i) : !is_allocated(v->map[end])))
        end++;
    *out = (Extent){.at = i * BLOCK_SIZE,
                    .size = MIN(end * BLOCK_SIZE, (uint64_t)n->size) - i * BLOCK_SIZE,
                    .kind = is_allocated(first) ? EXTENT_DATA : EXTENT_ZERO,
                    .flags = EXTENT_WRITABLE};
    if (is_allocated(first)) {
        out->child = n->file;
        out->child_at = v->data_at + (uint64_t)first * BLOCK_SIZE;
    }
    return 0;
}

static int vdi_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Vdi *v = n->state;
    uint64_t i = at / BLOCK_SIZE, room = v->data_at + (uint64_t)v->allocated * BLOCK_SIZE;
    bool fresh = room >= n->file->size; /* not what a canceled one left behind */

    (void)size;
    if (is_allocated(v->map[i]))
        return -EEXIST;
    if (v->allocated >= v->blocks)
        return -ENOSPC;
    if (!may_block)
        return -EAGAIN;
    /* The file always has all of a block; what was not written reads as zeroes. */
    if (room + BLOCK_SIZE > n->file->size &&
        !node_truncate(n->file, room + BLOCK_SIZE, PREALLOC_OFF, false, NULL))
        return -EIO;
    *out = (Extent){.kind = EXTENT_DATA,
                    .flags = fresh ? EXTENT_FRESH : 0,
                    .at = i * BLOCK_SIZE,
                    .size = BLOCK_SIZE,
                    .child = n->file,
                    .child_at = room,
                    .priv = {v->allocated++}};
    return 0;
}

static int vdi_link(BlockNode *n, Extent *e, bool may_block)
{
    Vdi *v = n->state;
    uint32_t i = (uint32_t)(e->at / BLOCK_SIZE);

    (void)may_block;
    v->map[i] = (uint32_t)e->priv[0];
    dirty_range_add(&v->dirty, i);
    n->meta_dirty = true;
    return 0;
}

/* A block between others stays unused. */
static void vdi_cancel(BlockNode *n, Extent *e)
{
    Vdi *v = n->state;

    v->allocated -= v->allocated == e->priv[0] + 1;
}

static int write_entries(BlockNode *n, const Vdi *v, uint64_t from, uint64_t count)
{
    AUTO_FREE uint8_t *buf = try_alloc(count * 4);

    if (!buf)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        put_le32(buf + i * 4, v->map[from + i]);
    return node_write(n->file, v->map_at + from * 4, buf, count * 4);
}

static int vdi_flush(BlockNode *n)
{
    Vdi *v = n->state;
    uint8_t allocated[4];
    uint64_t count;
    int rc = 0;

    put_le32(allocated, v->allocated);
    if (dirty_range_count(&v->dirty))
        rc = node_write(n->file, AT_ALLOCATED, allocated, sizeof allocated);
    while (rc == 0 && (count = MIN(dirty_range_count(&v->dirty), 1ull << 16))) {
        rc = write_entries(n, v, v->dirty.from, count);
        if (rc == 0)
            dirty_range_done(&v->dirty, count);
    }
    n->meta_dirty = rc < 0;
    return rc;
}

static void vdi_close(BlockNode *n)
{
    Vdi *v = n->state;

    if (v->map && !node_is_read_only(n))
        vdi_flush(n);
    xfree(v->map);
    v->map = NULL;
}

/* --- check --- */

static bool vdi_check(BlockNode *n, unsigned fix, CheckReport *rep, Error *err)
{
    const Vdi *v = n->state;
    AUTO_FREE uint8_t *seen = try_alloc(v->blocks + 1ull);

    if ((rep->unsupported = fix))
        return error_set(err, "vdi images can be checked, but not repaired (leave out -r)");
    if (!seen)
        return error_set(err, "no memory for a check of %u blocks", v->blocks);
    for (uint32_t i = 0; i < v->blocks; i++) {
        uint32_t at = v->map[i];

        if (!is_allocated(at))
            continue;
        if (at >= v->blocks)
            check_found(rep, "ERROR: block index %u out of range, is %u", i, at);
        else if (seen[at]++)
            check_found(rep, "ERROR: block index %u also used by another one", at);
    }
    return true;
}

/* --- create --- */

typedef struct VdiCreate {
    uint64_t size;
    bool is_static;
} VdiCreate;

static const Field create_fields[] = {
    PROP_SIZE(VdiCreate, size, "size", 0, "Virtual disk size"),
    PROP(VdiCreate, is_static, "static", false, "VDI static (pre-allocated) image"),
};
static STRUCT_TYPE(create_type, VdiCreate, create_fields);

static int write_new_map(BlockNode *file, uint32_t blocks, bool is_static)
{
    size_t size = ALIGN_UP(blocks * 4ull, 512ull);
    AUTO_FREE uint8_t *map = try_alloc(size + 1);

    if (!map)
        return -ENOMEM;
    for (uint32_t i = 0; i < blocks; i++)
        put_le32(map + i * 4ull, is_static ? i : UNALLOCATED);
    return node_write(file, HEADER_SIZE, map, size);
}

static bool vdi_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                       Error *err)
{
    const VdiCreate *o = options;
    uint64_t blocks = o->size / BLOCK_SIZE + !!(o->size % BLOCK_SIZE);
    uint64_t data = HEADER_SIZE + ALIGN_UP(blocks * 4, 512ull);
    uint8_t h[HEADER_SIZE] = {0};
    int rc;

    (void)g;
    (void)filename;
    if (blocks > MAP_MAX / 4)
        return error_set(err,
                         "Unsupported VDI image size (size is 0x%" PRIx64
                         ", max supported is 0x%" PRIx64 ")",
                         o->size, (uint64_t)MAP_MAX / 4 * BLOCK_SIZE);
    if (!file)
        return true;
    memcpy(h, magic, sizeof magic - 1);
    put_le32(h + AT_SIGNATURE, SIGNATURE);
    put_le32(h + AT_VERSION, VERSION);
    put_le32(h + AT_HEADER_SIZE, 0x180);
    put_le32(h + AT_TYPE, o->is_static ? TYPE_STATIC : TYPE_DYNAMIC);
    put_le32(h + AT_MAP, HEADER_SIZE);
    put_le32(h + AT_DATA, (uint32_t)data);
    put_le32(h + AT_SECTOR_SIZE, 512);
    put_le64(h + AT_DISK_SIZE, ALIGN_UP(o->size, 512ull));
    put_le32(h + AT_BLOCK_SIZE, BLOCK_SIZE);
    put_le32(h + AT_BLOCKS, (uint32_t)blocks);
    put_le32(h + AT_ALLOCATED, o->is_static ? (uint32_t)blocks : 0);
    if (!uuid_make(h + AT_UUID, err) || !uuid_make(h + AT_UUID_SNAPSHOT, err))
        return false;
    if (!node_truncate(file, data + (o->is_static ? blocks * BLOCK_SIZE : 0), PREALLOC_OFF, false,
                       err))
        return false;
    rc = node_write(file, 0, h, sizeof h);
    if (rc == 0 && blocks)
        rc = write_new_map(file, (uint32_t)blocks, o->is_static);
    return rc == 0 || error_set_errno(err, -rc, "Could not write the VDI header");
}

IMAGE_CREATE_FILE(vdi)

/* preallocation=metadata is what -o static=on is for rhea-img. */
static bool vdi_create(BlockGraph *g, json_t *options, Error *err)
{
    AUTO_FREE char *reserve = json_take_str(options, "preallocation");

    if (reserve && strcmp(reserve, "off") && strcmp(reserve, "metadata"))
        return error_set(err, "Preallocation mode not supported for vdi");
    if (reserve && *reserve == 'm')
        json_object_set_new(options, "static", json_true());
    return image_create(g, &vdi_driver, options, vdi_format, err);
}

static BlockDriver vdi_driver = {
    .name = "vdi",
    .doc = "VirtualBox disk image",
    .kind = DRIVER_FORMAT,
    .children = image_children,
    .state_size = sizeof(Vdi),
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .map = vdi_map,
    .allocate = vdi_allocate,
    .link = vdi_link,
    .cancel = vdi_cancel,
    .flush = vdi_flush,
    .check = vdi_check,
    .create = vdi_create,
    .create_file = vdi_create_file,
    .create_options = &create_type,
};
BLOCK_DRIVER_REGISTER(vdi_driver)
