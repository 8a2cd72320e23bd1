/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_create - create_file() and create() of formats that write their metadata into one file */
#ifndef BLOCK_IMAGE_CREATE_H
#define BLOCK_IMAGE_CREATE_H

#include "block/block.h"

/* Write an empty image into @file, which is empty; @options: the driver's create_options' struct. */
typedef bool ImageFormatFn(BlockGraph *g, BlockNode *file, const char *filename,
                           const void *options, Error *err);

/* @options stay the caller's. */
bool image_create_file(BlockGraph *g, const BlockDriver *d, const char *filename,
                       const json_t *options, ImageFormatFn *fn, Error *err);
/* blockdev-create: {"file": node name, ...}. */
bool image_create(BlockGraph *g, const BlockDriver *d, json_t *options, ImageFormatFn *fn,
                  Error *err);
/* A random one (RFC 4122, version 4), 16 bytes. */
bool uuid_make(uint8_t *out, Error *err);

#endif
