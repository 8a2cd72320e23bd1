/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file - output to a file (or FIFO, or device node), maybe input from another; pipe - a pair of
 * FIFOs */
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "chardev/fd.h"

typedef struct FileOptions {
    char *path, *input_path;
    bool append;
} FileOptions;

static int open_in(const ChardevHost *host, const char *path, int flags, Error *err)
{
    int fd = fd_open_path(host, path, flags);

    if (fd < 0)
        error_set_errno(err, -fd, "could not open '%s'", path);
    return fd;
}

static Chardev *file_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const FileOptions *o = options;
    int in = -1, out;

    if (!o->path) {
        error_set(err, "chardev: file: no filename given");
        return NULL;
    }
    out = open_in(host, o->path, O_WRONLY | O_CREAT | (o->append ? O_APPEND : O_TRUNC), err);
    if (out < 0)
        return NULL;
    if (o->input_path && (in = open_in(host, o->input_path, O_RDONLY | O_NONBLOCK, err)) < 0) {
        close(out);
        return NULL;
    }
    return fd_open("file", in, out, host, id, NULL, NULL);
}

static const Field file_fields[] = {
    PROP_STR(FileOptions, path, "path", NULL, "file that gets the output"),
    PROP_STR(FileOptions, input_path, "input-path", NULL, "file to read input from"),
    PROP(FileOptions, append, "append", false, "do not empty the file first"),
};
static STRUCT_TYPE(file_type, FileOptions, file_fields);

static ChardevClass file_class = {
    .name = "file", .doc = "output to a file", .options = &file_type, .open = file_open};
CHARDEV_REGISTER(file_class)

/* PATH.in and PATH.out; or PATH alone for both. */
static Chardev *pipe_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const FileOptions *o = options;
    AUTO_FREE char *in_path = xasprintf("%s.in", o->path ? o->path : "");
    AUTO_FREE char *out_path = xasprintf("%s.out", o->path ? o->path : "");
    int in, out;

    if (!o->path) {
        error_set(err, "chardev: pipe: no device path given");
        return NULL;
    }
    in = open_in(host, in_path, O_RDWR | O_NONBLOCK, NULL);
    out = open_in(host, out_path, O_RDWR | O_NONBLOCK, NULL);
    if (in >= 0 && out >= 0)
        return fd_open("pipe", in, out, host, id, NULL, NULL);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    in = open_in(host, o->path, O_RDWR | O_NONBLOCK, err);
    return in < 0 ? NULL : fd_open("pipe", in, in, host, id, NULL, NULL);
}

static const Field pipe_fields[] = {
    PROP_STR(FileOptions, path, "path", NULL, "FIFOs PATH.in and PATH.out, or one for both"),
};
static STRUCT_TYPE(pipe_type, FileOptions, pipe_fields);

static ChardevClass pipe_class = {
    .name = "pipe", .doc = "two FIFOs", .options = &pipe_type, .open = pipe_open};
CHARDEV_REGISTER(pipe_class)
