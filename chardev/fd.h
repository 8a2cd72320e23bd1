/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd - the part that back ends over file descriptors share */
#ifndef CHARDEV_FD_H
#define CHARDEV_FD_H

#include "chardev/chardev.h"

typedef struct FdChar FdChar;
typedef void FdStoppedFn(void *arg);

/* Owns both descriptors from then on (they may be the same; -1: none).  @stopped is called once,
 * when the loop ends or the back end is closed. */
Chardev *fd_open(const char *name, int in, int out, const ChardevHost *host, const char *id,
                 FdStoppedFn *stopped, void *arg);
/* A descriptor for writing to the same file as @fd that does not block, of its own where
 * possible, so that others who share @fd are not disturbed. */
int fd_reopen_for_write(int fd);
/* open(), as the host does it; close-on-exec.  -errno. */
int fd_open_path(const ChardevHost *host, const char *path, int flags);
/* Nobody is (or somebody is again) at the other end: output is dropped, input not looked at.  Loop
 * thread. */
void fd_set_connected(Chardev *c, bool on);
void fd_describe_as(Chardev *c, const char *text); /* for query-chardev; else it is the name */

#endif
