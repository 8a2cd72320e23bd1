/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fds - descriptors that were handed to us: by name (getfd) and as sets ("/dev/fdset/N": -add-fd,
 * add-fd)
 *
 * One table for each machine, reached through Machine.control.  Thread: main; fds_open() also
 * before there is
 * anything to open.
 */
#ifndef CORE_FDS_H
#define CORE_FDS_H

#include "base/base.h"
#include "base/error.h"

typedef struct Machine Machine;

/* Keep @fd under @name; one that had the name is closed. */
void fds_put(Machine *m, const char *name, int fd);
/* The caller's from then on: the descriptor called @name, or the one whose number @name is
 * (inherited); -1: @err. */
int fds_take(Machine *m, const char *name, Error *err);
bool fds_close(Machine *m, const char *name, Error *err);

typedef struct FdSetMember {
    int fd;
    char *opaque; /* NULL: none */
} FdSetMember;
typedef struct FdSet {
    int64_t id;
    FdSetMember *members;
    unsigned n;
    struct FdSet *next;
} FdSet;
const FdSet *fdset_first(Machine *m); /* by rising id */
/* @fd is the table's from then on.  @id -1: a new set.  The id of the set; -1: @err, and @fd is
 * still the caller's. */
int64_t fdset_add(Machine *m, int64_t id, int fd, const char *opaque, Error *err);
/* @fd -1: the whole set. */
bool fdset_remove(Machine *m, int64_t id, int fd, Error *err);

/* open(), which also takes "/dev/fdset/N": a duplicate of a member with the access that @flags
 * asks for.
 * Close-on-exec.  -errno. */
int fds_open(Machine *m, const char *path, int flags, unsigned mode);

#endif
