/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmdk_priv - what the files of the vmdk driver share: the descriptor and the sparse header's
 * layout */
#ifndef BLOCK_VMDK_PRIV_H
#define BLOCK_VMDK_PRIV_H

#include "block/block.h"

enum { /* of the sparse header, little-endian */
       VMDK_HEADER_SIZE = 512,
       VMDK_AT_VERSION = 4,
       VMDK_AT_FLAGS = 8,
       VMDK_AT_CAPACITY = 12,
       VMDK_AT_GRAIN = 20,
       VMDK_AT_DESC = 28,
       VMDK_AT_DESC_SIZE = 36,
       VMDK_AT_GT_ENTRIES = 44,
       VMDK_AT_RGD = 48,
       VMDK_AT_GD = 56,
       VMDK_AT_DATA = 64,
       VMDK_AT_NEWLINES = 73,
       VMDK_AT_COMPRESS = 77,
       VMDK_HAS_NEWLINES = 1,
       VMDK_HAS_RGD = 2,
       VMDK_ZERO_GRAINS = 4,
       VMDK_COMPRESSED = 1 << 16,
       VMDK_MARKERS = 1 << 17,
       VMDK_DESC_MAX = 1 << 20,
};
#define VMDK_MAGIC 0x564d444bu /* "KDMV" */
#define VMDK_NO_PARENT 0xffffffffu

typedef enum VmdkKind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO } VmdkKind;

typedef struct VmdkPart { /* an extent line of the descriptor */
    VmdkKind kind;
    bool writable;
    uint64_t sectors, at; /* at: FLAT, in sectors of the file */
    char *file;           /* NULL: ZERO */
    char *type;           /* as written */
} VmdkPart;

typedef struct VmdkDesc {
    char *create_type, *parent; /* parent NULL: none */
    uint32_t cid, parent_cid;
    VmdkPart *parts;
    unsigned n_parts;
} VmdkDesc;

bool vmdk_is_descriptor(const uint8_t *head, size_t size);
bool vmdk_desc_parse(VmdkDesc *d, const char *text, Error *err);
void vmdk_desc_free(VmdkDesc *d);
char *vmdk_desc_with_cid(const char *text, uint32_t cid);

extern const Type vmdk_create_type;
bool vmdk_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                 Error *err);

#endif
