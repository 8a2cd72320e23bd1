/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_lock - advisory locks on images: what a process does to one, and lets others do
 *
 * Byte 100 + i of the file is locked, shared, by who uses permission i; byte 200 + i by who does
 * not share it.  (These bytes are QEMU's, so both respect each other.)
 */
#ifndef BLOCK_FILE_LOCK_H
#define BLOCK_FILE_LOCK_H

#include "base/base.h"
#include "base/error.h"

typedef struct FileLock {
    unsigned perm, unshared; /* held */
} FileLock;

/* From what is held to @perm and @shared; on failure as before.  The message names the holder. */
bool file_lock_set(FileLock *l, int fd, unsigned perm, unsigned shared, const char *filename,
                   Error *err);
/* The same locks on another descriptor of the same file; the old one is to be closed. */
bool file_lock_move(const FileLock *l, int from, int to, const char *filename, Error *err);

#endif
