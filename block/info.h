/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info - nodes and images as QMP and rhea-img describe them
 */
#ifndef BLOCK_INFO_H
#define BLOCK_INFO_H

#include "block/block.h"

/* QAPI's ImageInfo. */
typedef struct ImageInfo {
    char *filename, *format;
    bool has_dirty, dirty, has_encrypted, encrypted, has_compressed, compressed;
    bool has_actual_size, has_cluster_size;
    int64_t actual_size, virtual_size, cluster_size;
    char *backing, *full_backing, *backing_format;
    List snapshots; /* of snapshot_info_type */
    bool has_snapshots;
    struct ImageInfo *backing_image;
    json_t *specific;
} ImageInfo;
extern const Type image_info_type, snapshot_info_type;

/* @chain: with all backing images.  The caller frees by reflect_value_free(&image_info_type, i). */
bool image_info_fill(BlockNode *n, bool chain, ImageInfo *i, Error *err);

#endif
