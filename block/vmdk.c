/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmdk - VMware disks: one sparse file, a stream-optimized one, or a descriptor with several files
 * (VMware, "Virtual Disk Format 5.0")
 *
 * A sparse extent has a directory of tables, which are read when first needed and then kept; their
 * entries are sectors of grains.  New entries reach the disk with the next flush, in both copies.
 * The descriptor's content id is another one from the first write on, so that overlays know.
 */
#include <errno.h>
#include <sys/random.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "block/block_priv.h"
#include "block/image_check.h"
#include "block/image_create.h"
#include "block/vmdk_priv.h"

enum {
    GRAIN_MAX = 16 << 20, /* bytes */
    GT_MAX = 4096,        /* entries */
    DIR_MAX = 64 << 20,   /* entries: more memory than anyone needs */
    MARKER_SIZE = 12,     /* before a compressed grain: sector and size */
    ZERO_GRAIN = 1,       /* a table entry */
    IN_PLACE = 1,         /* Extent.priv[0]: there is nothing to link */
};
#define AT_END UINT64_MAX /* the directory's place is said at the end of the file */

typedef struct Table {
    uint32_t *entries; /* NULL: not read yet */
    bool dirty;
} Table;

typedef struct Part {
    VmdkKind kind;
    BlockNode *file;
    char *name, *type;    /* as recorded */
    uint64_t start, size; /* of the disk, bytes */
    uint64_t at;          /* FLAT: in the file */
    /* SPARSE */
    uint64_t grain; /* bytes */
    uint32_t gt_entries, dir_size;
    bool zero_grains, compressed, writable;
    uint32_t *dir, *dir2; /* sectors of tables; dir2 of their copies, NULL: none */
    Table *tables;
    uint64_t end; /* where the next grain goes */
    bool dirty;
} Part;

typedef struct Vmdk {
    VmdkDesc desc;
    uint64_t desc_at, desc_size; /* in the file; size 0: there is none */
    bool marked;                 /* the descriptor says that this is not the disk it was */
    bool parent_checked;
    Part *parts;
    unsigned n_parts;
} Vmdk;

static Part *part_at(BlockNode *n, uint64_t at)
{
    Vmdk *v = n->state;
    unsigned low = 0, high = v->n_parts;

    while (high - low > 1) {
        unsigned mid = (low + high) / 2;

        if (v->parts[mid].start <= at)
            low = mid;
        else
            high = mid;
    }
    return &v->parts[low];
}

/* --- opening a sparse file --- */

static int vmdk_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    if (size >= VMDK_HEADER_SIZE && get_le32(head) == VMDK_MAGIC)
        return 100;
    return vmdk_is_descriptor(head, size) ? 100 : 0;
}

static bool read_header(BlockNode *file, uint8_t *h, Error *err)
{
    uint64_t size = ALIGN_DOWN((uint64_t)file->size, 512ull);
    int rc = node_read(file, 0, h, VMDK_HEADER_SIZE);

    /* A stream says where its directory is in a second header, the last sector but one. */
    if (rc == 0 && get_le32(h) == VMDK_MAGIC && get_le64(h + VMDK_AT_GD) == AT_END) {
        if (size < 3 * 512)
            return error_set(err, "the file is too short for a footer");
        rc = node_read(file, size - 1024, h, VMDK_HEADER_SIZE);
    }
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read header from file '%s'", file->filename);
    if (get_le32(h) != VMDK_MAGIC)
        return error_set(err,
                         "'%s' is not a hosted sparse VMDK file (ESX sparse ones are not "
                         "supported)",
                         file->filename);
    return true;
}

static bool check_header(Part *p, const uint8_t *h, Error *err)
{
    uint32_t version = get_le32(h + VMDK_AT_VERSION), flags = get_le32(h + VMDK_AT_FLAGS);
    uint64_t grain = get_le64(h + VMDK_AT_GRAIN), capacity = get_le64(h + VMDK_AT_CAPACITY);
    uint64_t tables;

    if (version == 0 || version > 3)
        return error_set(err, "Unsupported VMDK version %u", version);
    p->compressed = flags & VMDK_COMPRESSED;
    p->zero_grains = flags & VMDK_ZERO_GRAINS;
    if (p->compressed && get_le16(h + VMDK_AT_COMPRESS) != 1)
        return error_set(err, "Unsupported compression algorithm %u",
                         get_le16(h + VMDK_AT_COMPRESS));
    if (grain == 0 || grain > GRAIN_MAX / 512 || grain & (grain - 1))
        return error_set(err, "Invalid granularity of %" PRIu64 " sectors, image may be corrupt",
                         grain);
    p->grain = grain * 512;
    p->gt_entries = get_le32(h + VMDK_AT_GT_ENTRIES);
    if (p->gt_entries == 0 || p->gt_entries > GT_MAX)
        return error_set(err, "L2 table size too big: %u entries", p->gt_entries);
    if (capacity == 0 || capacity > INT64_MAX / 512)
        return error_set(err, "Invalid capacity of %" PRIu64 " sectors", capacity);
    tables = (capacity - 1) / (grain * p->gt_entries) + 1;
    if (tables > DIR_MAX)
        return error_set(err, "L1 size too big: %" PRIu64 " tables", tables);
    p->dir_size = (uint32_t)tables;
    if (!p->size)
        p->size = capacity * 512;
    if (p->size > capacity * 512)
        return error_set(err, "an extent has fewer sectors than its descriptor says");
    return true;
}

static bool read_dir(Part *p, uint64_t sector, uint32_t **out, Error *err)
{
    uint64_t size = (uint64_t)p->dir_size * 4;
    int rc;

    if (sector == 0 || sector > p->file->size / 512 || size > p->file->size - sector * 512)
        return error_set(err, "the grain directory lies outside of '%s'", p->file->filename);
    if (!(*out = try_new_n(uint32_t, p->dir_size)))
        return error_set(err, "no memory for a grain directory of %u entries", p->dir_size);
    rc = node_read(p->file, sector * 512, *out, size);
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the grain directory of '%s'",
                               p->file->filename);
    for (uint32_t i = 0; i < p->dir_size; i++)
        (*out)[i] = get_le32(&(*out)[i]);
    return true;
}

static bool open_sparse(Part *p, Error *err)
{
    uint8_t h[VMDK_HEADER_SIZE];

    if (!read_header(p->file, h, err) || !check_header(p, h, err) ||
        !read_dir(p, get_le64(h + VMDK_AT_GD), &p->dir, err))
        return false;
    if (get_le32(h + VMDK_AT_FLAGS) & VMDK_HAS_RGD && !p->compressed &&
        !read_dir(p, get_le64(h + VMDK_AT_RGD), &p->dir2, err))
        return false;
    if (!(p->tables = try_new_n(Table, p->dir_size)))
        return error_set(err, "no memory for %u grain tables", p->dir_size);
    p->end = ALIGN_UP(MAX(p->file->size, get_le64(h + VMDK_AT_DATA) << 9), 512ull);
    p->kind = VMDK_SPARSE;
    return true;
}

/* --- opening --- */

static Part *part_add(Vmdk *v)
{
    v->parts = xrealloc(v->parts, (v->n_parts + 1) * sizeof *v->parts);
    v->parts[v->n_parts] = (Part){0};
    return &v->parts[v->n_parts++];
}

/* The text, ended by a zero; NULL: *rc. */
static char *desc_text(BlockNode *n, const Vmdk *v, int *rc)
{
    char *text = xalloc(v->desc_size + 1);

    *rc = node_read(n->file, v->desc_at, text, v->desc_size);
    if (*rc == 0)
        return text;
    xfree(text);
    return NULL;
}

static bool read_desc(BlockNode *n, Vmdk *v, uint64_t at, uint64_t size, Error *err)
{
    AUTO_FREE char *text = NULL;
    int rc = 0;

    if (size > VMDK_DESC_MAX || at > n->file->size || size > n->file->size - at)
        return error_set(err, "the descriptor of %" PRIu64 " bytes is too large", size);
    v->desc_at = at;
    v->desc_size = size;
    if (!(text = desc_text(n, v, &rc)))
        return error_set_errno(err, -rc, "Could not read the VMDK descriptor");
    return vmdk_desc_parse(&v->desc, text, err);
}

/* The extent @d of a descriptor in a file of its own. */
static bool open_part(BlockNode *n, Part *p, const VmdkPart *d, unsigned i, Error *err)
{
    AUTO_FREE char *path = NULL, *slot = xasprintf("extents.%u", i);
    BlockChild *link = NULL, **at = &n->children;
    BlockNode *file;
    bool ok;

    p->kind = d->kind;
    p->size = d->sectors * 512;
    p->at = d->at * 512;
    p->writable = d->writable;
    p->name = xstrdup(d->file);
    p->type = xstrdup(d->type);
    if (d->kind == VMDK_ZERO)
        return true;
    if (!filename_has_protocol(d->file) && d->file[0] != '/' && !n->file->filename)
        return error_set(err, "Cannot use relative extent paths with VMDK descriptor file '%s'",
                         n->file->name);
    path = block_path_combine(n->file->filename, d->file);
    file = node_open_image(n->graph, path, "raw", NULL,
                           n->flags & (NODE_READ_ONLY | NODE_FORCE_SHARE | NODE_NO_CACHE |
                                       NODE_NO_FLUSH | NODE_NO_IO | NODE_UNMAP),
                           err);
    ok = file && child_attach(file, n, NULL, slot, ROLE_DATA, 0, PERM_ALL, &link, err);
    if (link) {
        while (*at)
            at = &(*at)->next;
        *at = link;
        p->file = file;
    }
    if (file)
        node_unref(file);
    if (!ok)
        return false;
    if (p->kind == VMDK_SPARSE)
        return open_sparse(p, err);
    return p->at + p->size <= p->file->size ||
           error_set(err, "the extent '%s' is shorter than the descriptor says", d->file);
}

static bool open_parts(BlockNode *n, Vmdk *v, Error *err)
{
    for (unsigned i = 0; i < v->desc.n_parts; i++) {
        Part *p = part_add(v);

        p->start = n->size;
        if (!open_part(n, p, &v->desc.parts[i], i, err))
            return false;
        if (p->size > INT64_MAX - n->size)
            return error_set(err, "the extents add up to too much");
        n->size += p->size;
    }
    return v->n_parts > 0 || error_set(err, "the VMDK descriptor has no extents");
}

static bool open_single(BlockNode *n, Vmdk *v, const uint8_t *h, Error *err)
{
    Part *p = part_add(v);

    p->file = n->file;
    p->writable = true;
    if (!open_sparse(p, err))
        return false;
    n->size = p->size;
    if (get_le64(h + VMDK_AT_DESC) == 0 || get_le64(h + VMDK_AT_DESC_SIZE) == 0) {
        v->desc.parent_cid = VMDK_NO_PARENT; /* one of several files, looked at by itself */
        return true;
    }
    if (get_le64(h + VMDK_AT_DESC) > UINT32_MAX || get_le64(h + VMDK_AT_DESC_SIZE) > UINT32_MAX ||
        !read_desc(n, v, get_le64(h + VMDK_AT_DESC) * 512, get_le64(h + VMDK_AT_DESC_SIZE) * 512,
                   err))
        return error_prefix(err, "bad embedded descriptor: ");
    if (v->desc.n_parts > 1)
        return error_set(err, "an embedded descriptor must not have several extents");
    if (v->desc.n_parts)
        p->name = xstrdup(v->desc.parts[0].file);
    return true;
}

static bool check_writable(BlockNode *n, const Vmdk *v, Error *err)
{
    for (unsigned i = 0; i < v->n_parts; i++) {
        const Part *p = &v->parts[i];

        if (p->kind == VMDK_SPARSE)
            n->cluster_size = MAX(n->cluster_size, (uint32_t)p->grain);
        n->zero_init |= p->kind == VMDK_SPARSE;
        n->compressed_only |= p->compressed;
    }
    for (unsigned i = 0; i < v->n_parts && !node_is_read_only(n); i++) {
        const Part *p = &v->parts[i];
        bool odd = p->kind == VMDK_SPARSE && (p->start % p->grain || p->grain != n->cluster_size);

        if (!p->writable || p->kind == VMDK_ZERO || odd)
            return error_set(err,
                             "extent %u of the VMDK image cannot be written: open it read-only", i);
    }
    return true;
}

static bool vmdk_open(BlockNode *n, const void *options, Error *err)
{
    Vmdk *v = n->state;
    uint8_t h[VMDK_HEADER_SIZE] = {0};
    uint64_t size = n->file->size;
    int rc = node_read(n->file, 0, h, MIN(size, (uint64_t)sizeof h));
    bool ok;

    (void)options;
    if (rc < 0)
        return error_set_errno(err, -rc, "Could not read the VMDK header");
    if (get_le32(h) == VMDK_MAGIC)
        ok = open_single(n, v, h, err);
    else if (vmdk_is_descriptor(h, sizeof h))
        ok = read_desc(n, v, 0, size, err) && open_parts(n, v, err);
    else
        return error_set(err, "Image not in VMDK format");
    if (!ok || !check_writable(n, v, err))
        return false;
    if (v->desc.parent && v->desc.parent_cid != VMDK_NO_PARENT) {
        n->backing_file = xstrdup(v->desc.parent);
        n->backing_format = xstrdup("vmdk");
    }
    return true;
}

static int flush_part(Part *p);

static void vmdk_close(BlockNode *n)
{
    Vmdk *v = n->state;

    for (unsigned i = 0; i < v->n_parts; i++) {
        Part *p = &v->parts[i];

        if (p->dirty)
            flush_part(p);
        for (uint32_t t = 0; p->tables && t < p->dir_size; t++)
            xfree(p->tables[t].entries);
        xfree(p->tables);
        xfree(p->dir);
        xfree(p->dir2);
        xfree(p->name);
        xfree(p->type);
    }
    xfree(v->parts);
    v->parts = NULL;
    v->n_parts = 0;
    vmdk_desc_free(&v->desc);
}

/* --- content ids --- */

/* A backing file that was written since has not got what this disk leaves out. */
static int check_parent(BlockNode *n, Vmdk *v)
{
    const Vmdk *parent = n->backing && n->backing->drv == n->drv ? n->backing->state : NULL;

    if (v->parent_checked)
        return 0;
    if (parent && parent->desc.cid != v->desc.parent_cid) {
        log_error("'%s' was changed after '%s' was made on top of it: make the overlay anew",
                  n->backing->filename ? n->backing->filename : n->backing->name,
                  n->filename ? n->filename : n->name);
        return -EINVAL;
    }
    v->parent_checked = true;
    return 0;
}

static int mark(BlockNode *n, Vmdk *v)
{
    AUTO_FREE char *text = NULL, *changed = NULL;
    bool embedded = v->desc_at;
    size_t size;
    int rc = 0;

    if (v->marked || !v->desc_size) {
        v->marked = true;
        return 0;
    }
    do {
        if (getrandom(&v->desc.cid, sizeof v->desc.cid, 0) != sizeof v->desc.cid)
            return -errno;
    } while (v->desc.cid == VMDK_NO_PARENT);
    if (!(text = desc_text(n, v, &rc)))
        return rc;
    changed = vmdk_desc_with_cid(text, v->desc.cid);
    size = changed ? strlen(changed) : 0;
    if (!changed || (embedded && size > v->desc_size))
        return -EINVAL;
    rc = node_write(n->file, v->desc_at, changed, size);
    if (rc == 0 && !embedded)
        v->desc_size = size;
    v->marked = rc == 0;
    return rc;
}

/* --- tables --- */

static int table_read(Part *p, uint32_t i)
{
    size_t size = (size_t)p->gt_entries * 4;
    uint32_t *entries = try_new_n(uint32_t, p->gt_entries);
    uint64_t at = (uint64_t)p->dir[i] * 512;
    int rc = 0;

    if (!entries)
        return -ENOMEM;
    if (p->dir[i]) /* 0: there is no table, nothing is allocated */
        rc = at + size <= p->file->size ? node_read(p->file, at, entries, size) : -EIO;
    if (rc < 0) {
        xfree(entries);
        return rc;
    }
    for (uint32_t k = 0; k < p->gt_entries; k++)
        entries[k] = get_le32(&entries[k]);
    p->tables[i].entries = entries;
    return 0;
}

/* The table entry of the grain at @at of the part. */
static int entry_of(Part *p, uint64_t at, bool may_block, uint32_t **out)
{
    uint64_t grain = at / p->grain;
    uint32_t table = (uint32_t)(grain / p->gt_entries);

    if (!p->tables[table].entries) {
        int rc = may_block ? table_read(p, table) : -EAGAIN;

        if (rc < 0)
            return rc;
    }
    *out = &p->tables[table].entries[grain % p->gt_entries];
    return 0;
}

static int table_write(Part *p, uint32_t i)
{
    size_t size = (size_t)p->gt_entries * 4;
    AUTO_FREE uint8_t *buf = xalloc(size);
    int rc;

    for (uint32_t k = 0; k < p->gt_entries; k++)
        put_le32(buf + k * 4, p->tables[i].entries[k]);
    rc = node_write(p->file, (uint64_t)p->dir[i] * 512, buf, size);
    if (rc == 0 && p->dir2 && p->dir2[i])
        rc = node_write(p->file, (uint64_t)p->dir2[i] * 512, buf, size);
    p->tables[i].dirty = rc < 0;
    return rc;
}

static int flush_part(Part *p)
{
    int rc = 0;

    for (uint32_t i = 0; i < p->dir_size && rc == 0; i++)
        if (p->tables[i].dirty)
            rc = table_write(p, i);
    p->dirty = rc < 0;
    return rc;
}

static int vmdk_flush(BlockNode *n)
{
    Vmdk *v = n->state;
    int rc = 0;

    for (unsigned i = 0; i < v->n_parts && rc == 0; i++)
        if (v->parts[i].dirty)
            rc = flush_part(&v->parts[i]);
    if (rc == 0)
        n->meta_dirty = false;
    return rc;
}

static void entry_set(BlockNode *n, Part *p, uint64_t at, uint32_t sector)
{
    uint64_t grain = at / p->grain;
    Table *t = &p->tables[grain / p->gt_entries];

    t->entries[grain % p->gt_entries] = sector;
    t->dirty = p->dirty = true;
    n->meta_dirty = true;
}

/* --- mapping --- */

static ExtentKind entry_kind(const Part *p, uint32_t entry)
{
    if (entry == 0)
        return EXTENT_UNALLOCATED;
    if (entry == ZERO_GRAIN && p->zero_grains)
        return EXTENT_ZERO;
    return p->compressed ? EXTENT_SPECIAL : EXTENT_DATA;
}

/* Add to @out what follows it and is alike, up to @end of the part, as far as it is in memory. */
static void extend(Part *p, Extent *out, uint64_t end)
{
    uint64_t step = out->kind == EXTENT_DATA ? p->grain / 512 : 0;
    uint64_t expect = out->child_at / 512 + step;

    while (out->at + out->size < end) {
        uint32_t *entry;

        if (entry_of(p, out->at + out->size - p->start, false, &entry) < 0 ||
            entry_kind(p, *entry) != out->kind || (step && *entry != expect))
            return;
        out->size += p->grain;
        expect += step;
    }
}

static int map_sparse(Part *p, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    uint32_t *entry;
    int rc = entry_of(p, at - p->start, may_block, &entry);

    if (rc < 0)
        return rc;
    *out = (Extent){.kind = entry_kind(p, *entry),
                    .at = p->start + ALIGN_DOWN(at - p->start, p->grain),
                    .size = p->grain,
                    .child = p->file,
                    .child_at = (uint64_t)*entry * 512,
                    .flags = p->compressed ? EXTENT_COMPRESSED : EXTENT_WRITABLE};
    if (out->kind == EXTENT_UNALLOCATED || out->kind == EXTENT_ZERO)
        out->child = NULL;
    if (out->kind != EXTENT_SPECIAL)
        extend(p, out, at + size);
    out->size = MIN(out->size, p->start + p->size - out->at);
    return 0;
}

static int vmdk_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Vmdk *v = n->state;
    Part *p = part_at(n, at);
    int rc = 0;

    if (p->kind == VMDK_SPARSE)
        rc = map_sparse(p, at, size, may_block, out);
    else
        *out = (Extent){.kind = p->kind == VMDK_ZERO ? EXTENT_ZERO : EXTENT_DATA,
                        .flags = EXTENT_WRITABLE,
                        .at = p->start,
                        .size = p->size,
                        .child = p->file,
                        .child_at = p->at};
    if (!v->marked)
        out->flags &= ~(uint32_t)EXTENT_WRITABLE;
    if (rc == 0 && out->kind == EXTENT_UNALLOCATED)
        rc = check_parent(n, v);
    return rc;
}

/* What is there already is allocated only in name, for the first write to the disk: as much of
 * it as that. */
static int allocate_first(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Vmdk *v = n->state;
    int rc = may_block ? mark(n, v) : -EAGAIN;

    if (rc == 0)
        rc = vmdk_map(n, at, size, true, out);
    if (rc < 0 || out->kind != EXTENT_DATA)
        return rc;
    out->child_at += at - out->at;
    out->size = MIN(size, out->at + out->size - at);
    out->at = at;
    out->flags = 0;
    out->priv[0] = IN_PLACE;
    return 0;
}

static int vmdk_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    const Vmdk *v = n->state;
    Part *p = part_at(n, at);
    uint32_t *entry;
    uint64_t room;
    bool fresh;
    int rc;

    if (p->compressed)
        return -ENOTSUP; /* those are written by write_compressed() only */
    if (!v->marked) {
        rc = allocate_first(n, at, size, may_block, out);
        if (rc < 0 || out->kind == EXTENT_DATA)
            return rc;
    }
    room = ALIGN_UP(p->end, p->grain);
    fresh = room >= p->file->size;
    if ((rc = entry_of(p, at - p->start, may_block, &entry)) < 0)
        return rc;
    if (!p->dir[(at - p->start) / p->grain / p->gt_entries])
        return -ENOTSUP; /* VMware makes all tables of a disk when it makes the disk */
    if (room / 512 > UINT32_MAX)
        return -ENOSPC;
    if (room + p->grain > p->file->size && !may_block)
        return -EAGAIN;
    if (room + p->grain > p->file->size &&
        !node_truncate(p->file, room + p->grain, PREALLOC_OFF, false, NULL))
        return -EIO;
    p->end = room + p->grain;
    *out = (Extent){.kind = EXTENT_DATA,
                    .flags = fresh ? EXTENT_FRESH : 0,
                    .at = p->start + ALIGN_DOWN(at - p->start, p->grain),
                    .size = p->grain,
                    .child = p->file,
                    .child_at = room};
    return 0;
}

static int vmdk_link(BlockNode *n, Extent *e, bool may_block)
{
    Part *p = part_at(n, e->at);

    (void)may_block;
    if (e->priv[0] == IN_PLACE)
        return 0;
    entry_set(n, p, e->at - p->start, (uint32_t)(e->child_at / 512));
    return 0;
}

static void vmdk_cancel(BlockNode *n, Extent *e)
{
    Part *p = part_at(n, e->at);

    if (e->priv[0] != IN_PLACE && p->end == e->child_at + p->grain)
        p->end = e->child_at;
}

/* --- compressed grains --- */

static int vmdk_read(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size)
{
    const Part *p = part_at(n, e->at);
    uint8_t marker[MARKER_SIZE];
    AUTO_FREE uint8_t *in = NULL, *out = NULL;
    uLongf out_size = p->grain;
    uint32_t in_size;
    int rc = node_read(p->file, e->child_at, marker, sizeof marker);

    if (rc < 0)
        return rc;
    in_size = get_le32(marker + 8);
    if (in_size == 0 || in_size > compressBound(p->grain) + 512)
        return -EIO;
    if (!(in = try_alloc(in_size)) || !(out = try_alloc(p->grain)))
        return -ENOMEM;
    if ((rc = node_read(p->file, e->child_at + MARKER_SIZE, in, in_size)) < 0)
        return rc;
    /* A last grain may be shorter than the others. */
    if (uncompress(out, &out_size, in, in_size) != Z_OK || at - e->at > out_size ||
        size > out_size - (at - e->at))
        return -EIO;
    memcpy(buf, out + (at - e->at), size);
    return 0;
}

static int vmdk_write_compressed(BlockNode *n, uint64_t at, const void *buf, size_t size)
{
    Part *p = part_at(n, at);
    uLongf packed = compressBound(p->grain);
    size_t room = ALIGN_UP(MARKER_SIZE + packed, 512ul);
    AUTO_FREE uint8_t *out = NULL, *in = NULL;
    uint32_t *entry;
    int rc;

    if (p->kind != VMDK_SPARSE || !p->compressed || (at - p->start) % p->grain || size > p->grain)
        return -ENOTSUP;
    if (!(out = try_alloc(room)) || !(in = try_alloc(p->grain)))
        return -ENOMEM;
    memcpy(in, buf, size);
    if (compress(out + MARKER_SIZE, &packed, in, p->grain) != Z_OK)
        return -EIO;
    put_le64(out, (at - p->start) / 512);
    put_le32(out + 8, (uint32_t)packed);
    room = ALIGN_UP(MARKER_SIZE + packed, 512ul);
    lock_take(&n->meta);
    rc = mark(n, n->state);
    if (rc == 0)
        rc = entry_of(p, at - p->start, true, &entry);
    if (rc == 0 && *entry)
        rc = -EIO; /* a stream cannot be overwritten */
    if (rc == 0 && p->end / 512 > UINT32_MAX)
        rc = -ENOSPC;
    if (rc == 0)
        rc = node_write(p->file, p->end, out, room);
    if (rc == 0) {
        entry_set(n, p, at - p->start, (uint32_t)(p->end / 512));
        p->end += room;
    }
    lock_drop(&n->meta);
    return rc;
}

/* --- check --- */

typedef struct Places {
    uint64_t *at;
    size_t count, room, most; /* most: how many there can be if none overlap */
} Places;

/* False: more than the file has room for. */
static bool places_add(Places *l, uint64_t at)
{
    if (l->count == l->most)
        return false;
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 1024;
        l->at = xrealloc(l->at, l->room * sizeof *l->at);
    }
    l->at[l->count++] = at;
    return true;
}

static bool check_table(Part *p, uint32_t i, Places *l, CheckReport *rep)
{
    const uint32_t *entries = p->tables[i].entries;

    for (uint32_t k = 0; k < p->gt_entries; k++) {
        uint64_t at = entries[k] * 512ull;
        ExtentKind kind = entry_kind(p, entries[k]);

        if (kind == EXTENT_UNALLOCATED || kind == EXTENT_ZERO)
            continue;
        if (at >= p->file->size)
            check_found(rep, "ERROR: grain %" PRIu64 " of '%s' is behind its end",
                        (uint64_t)i * p->gt_entries + k, p->file->filename);
        else if (!places_add(l, at))
            return false;
    }
    return true;
}

static bool check_part(Part *p, CheckReport *rep, Error *err)
{
    uint32_t least = p->compressed ? 512 : (uint32_t)p->grain;
    Places l = {.most = p->file->size / least + 1};
    bool ok = true;
    int rc = 0;

    for (uint32_t i = 0; i < p->dir_size && ok && rc == 0; i++) {
        bool mine = !p->tables[i].entries;

        rc = mine ? table_read(p, i) : 0;
        ok = rc == 0 && check_table(p, i, &l, rep);
        if (mine && rc == 0) {
            xfree(p->tables[i].entries);
            p->tables[i].entries = NULL;
        }
    }
    if (rc == 0 && !ok)
        check_found(rep, "ERROR: '%s' has more grains than room for them", p->file->filename);
    check_overlaps(rep, l.at, l.count, least);
    xfree(l.at);
    return rc == 0 ||
           error_set_errno(err, -rc, "Could not read a grain table of '%s'", p->file->filename);
}

static bool vmdk_check(BlockNode *n, unsigned fix, CheckReport *rep, Error *err)
{
    Vmdk *v = n->state;
    bool ok = true;

    if ((rep->unsupported = fix))
        return error_set(err, "vmdk images can be checked, but not repaired (leave out -r)");
    for (unsigned i = 0; i < v->n_parts && ok; i++)
        if (v->parts[i].kind == VMDK_SPARSE)
            ok = check_part(&v->parts[i], rep, err);
    return ok;
}

/* --- the rest --- */

static json_t *vmdk_info(BlockNode *n)
{
    const Vmdk *v = n->state;
    json_t *parts = json_array();

    for (unsigned i = 0; i < v->n_parts; i++) {
        const Part *p = &v->parts[i];
        json_t *j = json_object();

        if (p->compressed)
            json_object_set_new(j, "compressed", json_true());
        json_object_set_new(j, "virtual-size", json_integer((json_int_t)p->size));
        json_object_set_new(j, "filename",
                            json_string(p->file && p->file->filename ? p->file->filename : ""));
        if (p->kind == VMDK_SPARSE)
            json_object_set_new(j, "cluster-size", json_integer((json_int_t)p->grain));
        json_object_set_new(j, "format", json_string(p->type ? p->type : ""));
        json_array_append_new(parts, j);
    }
    return json_pack("{s:s, s:{s:I, s:I, s:s, s:o}}", "type", "vmdk", "data", "cid",
                     (json_int_t)v->desc.cid, "parent-cid", (json_int_t)v->desc.parent_cid,
                     "create-type", v->desc.create_type ? v->desc.create_type : "", "extents",
                     parts);
}

IMAGE_CREATE(vmdk)

static const ChildSlot vmdk_children[] = {
    {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true},
    {"backing", ROLE_BACKING, false},
    {0},
};

static BlockDriver vmdk_driver = {
    .name = "vmdk",
    .doc = "VMware disk",
    .kind = DRIVER_FORMAT,
    .children = vmdk_children,
    .state_size = sizeof(Vmdk),
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .map = vmdk_map,
    .allocate = vmdk_allocate,
    .link = vmdk_link,
    .cancel = vmdk_cancel,
    .flush = vmdk_flush,
    .read = vmdk_read,
    .write_compressed = vmdk_write_compressed,
    .check = vmdk_check,
    .info = vmdk_info,
    .create = vmdk_create,
    .create_file = vmdk_create_file,
    .create_options = &vmdk_create_type,
};
BLOCK_DRIVER_REGISTER(vmdk_driver)
