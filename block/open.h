/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open - how names and options become nodes
 */
#ifndef BLOCK_OPEN_H
#define BLOCK_OPEN_H

#include "block/block.h"

BlockNode *node_new(BlockGraph *g, const BlockDriver *drv, const char *name, uint32_t flags);
/* The format that @file looks like; raw if like none.  NULL: it cannot be read. */
const BlockDriver *block_probe(BlockNode *file, const char *filename, Error *err);
/* Of a protocol node for the file name @filename, with "driver"; NULL: no such protocol. */
json_t *block_protocol_options(const char *filename, Error *err);

#endif
