/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx_priv - what the files of the vhdx driver share ([MS-VHDX], chapters 2.2 to 2.5)
 *
 * All integers are little-endian; places and sizes are bytes of the file.
 */
#ifndef BLOCK_VHDX_PRIV_H
#define BLOCK_VHDX_PRIV_H

#include "block/block.h"

enum {
    VHDX_HEADER_AT = 64 << 10, /* of two, each with room for 64 KiB */
    VHDX_HEADER_SIZE = 4096,
    VHDX_REGION_AT = 192 << 10, /* of two */
    VHDX_REGION_SIZE = 64 << 10,
    VHDX_METADATA_SIZE = 64 << 10, /* its table; the items follow */
    VHDX_TABLE_ENTRY = 32,         /* of regions and of metadata */
    VHDX_SECTOR = 4096,            /* of the log, and what it changes at once */
    VHDX_UNIT = 1 << 20,           /* regions and blocks begin and end at multiples of it */
    VHDX_BLOCK_MAX = 256 << 20,
    VHDX_LOG_SECTORS = 126, /* what one entry can change: the descriptors in its first sector */

    VHDX_ZERO = 2, /* states of a block, in the low 3 bits of its table entry */
    VHDX_PRESENT = 6,
    VHDX_PARTIAL = 7, /* differencing disks only */

    VHDX_LEAVE_ALLOCATED = 1, /* file parameters: a fixed disk */
    VHDX_HAS_PARENT = 2,
    VHDX_IS_DISK = 2, /* metadata flags */
    VHDX_IS_REQUIRED = 4,
};
#define VHDX_SIZE_MAX (64ull << 40)

typedef struct Guid {
    uint8_t b[16];
} Guid;

extern const Guid vhdx_guid_bat, vhdx_guid_metadata;
extern const Guid vhdx_guid_parameters, vhdx_guid_size, vhdx_guid_sector, vhdx_guid_physical,
    vhdx_guid_page83;

typedef struct VhdxHeader {
    uint64_t sequence;
    Guid file_id, data_id, log_id; /* new when anything is written, when contents are, for a log */
    unsigned slot;                 /* which of the two is in force */
    uint64_t log_at;
    uint32_t log_size;
} VhdxHeader;

/* One sector to be written by way of the log. */
typedef struct VhdxChange {
    uint64_t at;
    const uint8_t *data;
} VhdxChange;

/* CRC-32C over @size bytes, in which the four at 4 count as zeroes. */
uint32_t vhdx_checksum(const uint8_t *p, size_t size);
void vhdx_sign(uint8_t *p, size_t size); /* put the checksum where it belongs */
bool vhdx_is_sound(const uint8_t *p, const char *signature, size_t size);

bool vhdx_header_read(BlockNode *file, VhdxHeader *h, Error *err);
/* The other one of the two comes into force, on stable storage.  0 or -errno. */
int vhdx_header_write(BlockNode *file, VhdxHeader *h);

/* Do what the log says, if it says anything; with @write false that is an error.  *replayed: it
 * did. */
bool vhdx_log_replay(BlockNode *file, VhdxHeader *h, bool write, bool *replayed, Error *err);
/* Change up to VHDX_LOG_SECTORS sectors, all or none of them, on stable storage.  0 or -errno. */
int vhdx_log_change(BlockNode *file, VhdxHeader *h, const VhdxChange *changes, unsigned n);

extern const Type vhdx_create_type;
bool vhdx_format(BlockGraph *g, BlockNode *file, const char *filename, const void *options,
                 Error *err);

#endif
