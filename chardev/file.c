/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file - output to a file (or FIFO, or device node); no input */
#include <errno.h>
#include <fcntl.h>

#include "chardev/fd.h"

Chardev *file_open(const char *path, const ChardevHost *host, const char *id, Error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0666);

    if (fd < 0) {
        error_set_errno(err, errno, "could not open '%s'", path);
        return NULL;
    }
    return fd_open("file", -1, fd, host, id, NULL, NULL);
}
