/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev_type - BlockdevOptions and BlockdevRef of the schema, from the drivers that are
 * linked in */
#ifndef BLOCK_BLOCKDEV_TYPE_H
#define BLOCK_BLOCKDEV_TYPE_H

#include "block/block.h"

extern const Type blockdev_options_type;        /* a union by "driver": json_t * */
extern const Type blockdev_ref_type;            /* a name or options: json_t * */
extern const Type blockdev_ref_null_type;       /* or null */
extern const Type blockdev_create_type;         /* BlockdevCreateOptions */
const BlockDriver *blockdev_driver(unsigned i); /* by number; NULL: no more */
/* Which driver makes an image of @options, which lose their "driver"; NULL: none, or it takes
 * others. */
const BlockDriver *blockdev_create_driver(json_t *options, Error *err);
extern const Type detect_zeroes_type; /* BlockdevDetectZeroesOptions */

#endif
