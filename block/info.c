/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info - nodes and images as QMP and rhea-img describe them (QEMU 7.2, qapi/block-core.json)
 */
#include "block/info.h"

#include "base/alloc.h"

typedef struct SnapInfo {
    char *id, *name;
    int64_t vm_state_size, date_s, date_ns, clock_s, clock_ns, icount;
    bool has_icount;
} SnapInfo;
static const Field snapshot_fields[] = {
    ARG(SnapInfo, id, "id", "unique snapshot id"),
    ARG(SnapInfo, name, "name", "name of the user's choice"),
    ARG(SnapInfo, vm_state_size, "vm-state-size", "bytes of machine state"),
    ARG(SnapInfo, date_s, "date-sec", "when it was made: seconds since 1970"),
    ARG(SnapInfo, date_ns, "date-nsec", "and nanoseconds"),
    ARG(SnapInfo, clock_s, "vm-clock-sec", "the guest's clock then: seconds"),
    ARG(SnapInfo, clock_ns, "vm-clock-nsec", "and nanoseconds"),
    ARG_OPT(SnapInfo, icount, "icount", "instructions executed by then"),
};
const Type snapshot_info_type = {.name = "SnapshotInfo",
                                 .meta = META_STRUCT,
                                 .size = sizeof(SnapInfo),
                                 .fields = snapshot_fields,
                                 .n_fields = COUNT_OF(snapshot_fields)};
static LIST_TYPE(snapshot_list_type, &snapshot_info_type);
static BOX_TYPE(image_box_type, &image_info_type);

static const Field image_fields[] = {
    ARG(ImageInfo, filename, "filename", "name of the image"),
    ARG(ImageInfo, format, "format", "its format"),
    ARG_OPT(ImageInfo, dirty, "dirty-flag", "it was not closed properly"),
    ARG_OPT(ImageInfo, actual_size, "actual-size", "bytes on the host"),
    ARG(ImageInfo, virtual_size, "virtual-size", "bytes the guest sees"),
    ARG_OPT(ImageInfo, cluster_size, "cluster-size", "bytes of a cluster"),
    ARG_OPT(ImageInfo, encrypted, "encrypted", "it is encrypted"),
    ARG_OPT(ImageInfo, compressed, "compressed", "it is compressed"),
    ARG_STR_OPT(ImageInfo, backing, "backing-filename", "backing file as recorded"),
    ARG_STR_OPT(ImageInfo, full_backing, "full-backing-filename", "as found from here"),
    ARG_STR_OPT(ImageInfo, backing_format, "backing-filename-format", "its recorded format"),
    ARG_TYPE_OPT(ImageInfo, snapshots, "snapshots", &snapshot_list_type, "internal snapshots"),
    ARG_NULL_OPT(ImageInfo, backing_image, "backing-image", &image_box_type,
                 "the backing file's own"),
    ARG_ANY_OPT(ImageInfo, specific, "format-specific", "what only this format has: {type, data}"),
};
const Type image_info_type = {.name = "ImageInfo",
                              .meta = META_STRUCT,
                              .size = sizeof(ImageInfo),
                              .fields = image_fields,
                              .n_fields = COUNT_OF(image_fields)};

static bool fill_snapshots(BlockNode *n, ImageInfo *i, Error *err)
{
    SnapshotInfo *list = NULL;
    unsigned count = 0;

    if (!n->drv->snapshots || !n->drv->snapshots->list)
        return true;
    if (!n->drv->snapshots->list(n, &list, &count, err))
        return false;
    i->has_snapshots = count;
    for (unsigned k = 0; k < count; k++) {
        SnapInfo *s = list_add(&i->snapshots, &snapshot_info_type);

        *s = (SnapInfo){.id = xstrdup(list[k].id),
                        .name = xstrdup(list[k].name),
                        .vm_state_size = (int64_t)list[k].vm_state_size,
                        .date_s = list[k].date_s,
                        .date_ns = list[k].date_ns,
                        .clock_s = (int64_t)(list[k].vm_clock_ns / 1000000000),
                        .clock_ns = (int64_t)(list[k].vm_clock_ns % 1000000000),
                        .icount = (int64_t)list[k].icount,
                        .has_icount = list[k].icount != UINT64_MAX};
        xfree(list[k].name);
    }
    xfree(list);
    return true;
}

bool image_info_fill(BlockNode *n, bool chain, ImageInfo *i, Error *err)
{
    int64_t actual = node_allocated_size(n);
    json_t *data = n->drv->info ? n->drv->info(n) : NULL;

    *i = (ImageInfo){.filename = xstrdup(n->filename ? n->filename : ""),
                     .format = xstrdup(n->drv->name),
                     .virtual_size = (int64_t)n->size,
                     .has_actual_size = actual >= 0,
                     .actual_size = actual,
                     .has_cluster_size = n->cluster_size > 0 && n->drv->kind == DRIVER_FORMAT,
                     .cluster_size = n->cluster_size,
                     .has_encrypted = n->encrypted,
                     .encrypted = n->encrypted,
                     .has_dirty = n->drv->kind == DRIVER_FORMAT && n->drv->map,
                     .backing = xstrdup(n->backing_file),
                     .backing_format = xstrdup(n->backing_format)};
    i->dirty = json_is_true(json_object_get(data, "dirty-flag"));
    if (data)
        json_object_del(data, "dirty-flag");
    i->specific = data;
    if (n->backing_file)
        i->full_backing = n->backing ? xstrdup(n->backing->filename)
                                     : block_path_combine(n->filename, n->backing_file);
    if (!fill_snapshots(n, i, err))
        return false;
    if (chain && n->backing) {
        i->backing_image = xnew(ImageInfo);
        return image_info_fill(n->backing, true, i->backing_image, err);
    }
    return true;
}
