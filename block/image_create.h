/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_create - create_file() and create() of formats that write their metadata into one file */
#ifndef BLOCK_IMAGE_CREATE_H
#define BLOCK_IMAGE_CREATE_H

#include "block/block.h"

/* The children of such a format that has no backing files. */
extern const ChildSlot image_children[];

/* Write an empty image into @file, which is empty; @options: the driver's create_options'
 * struct.  Called with @file NULL first: are the options sound?  So what was there stays if they
 * are not. */
typedef bool ImageFormatFn(BlockGraph *g, BlockNode *file, const char *filename,
                           const void *options, Error *err);

/* @options stay the caller's. */
bool image_create_file(BlockGraph *g, const BlockDriver *d, const char *filename,
                       const json_t *options, ImageFormatFn *fn, Error *err);
/* blockdev-create: {"file": node name, ...}. */
bool image_create(BlockGraph *g, const BlockDriver *d, json_t *options, ImageFormatFn *fn,
                  Error *err);
/* create_file() and create() of the driver @x##_driver, whose images @x##_format() writes. */
#define IMAGE_CREATE_FILE(x)                                                                       \
    static BlockDriver x##_driver;                                                                 \
    static bool x##_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)  \
    {                                                                                              \
        return image_create_file(g, &x##_driver, filename, options, x##_format, err);              \
    }
#define IMAGE_CREATE(x)                                                                            \
    IMAGE_CREATE_FILE(x)                                                                           \
    static bool x##_create(BlockGraph *g, json_t *options, Error *err)                             \
    {                                                                                              \
        return image_create(g, &x##_driver, options, x##_format, err);                             \
    }

/* A random one (RFC 4122, version 4), 16 bytes. */
bool uuid_make(uint8_t *out, Error *err);

#endif
