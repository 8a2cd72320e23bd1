/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dry_run - --dry-run: trying files without making them; dry_run.h has the contract */
#define _GNU_SOURCE
#include "main/dry_run.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "main/daemon.h"

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return !slash          ? xstrdup(".")
           : slash == path ? xstrdup("/")
                           : xasprintf("%.*s", (int)(slash - path), path);
}

int dry_open(const char *path, int flags)
{
    int fd = open(path, (flags & ~(O_CREAT | O_TRUNC | O_EXCL)) | O_CLOEXEC);
    AUTO_FREE char *folder = folder_of(path);

    if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT))
        return fd >= 0 ? fd : -errno;
    if (access(folder, W_OK | X_OK) < 0)
        return -errno;
    fd = open("/dev/null", (flags & O_ACCMODE) | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

static bool try_pidfile(const char *path, Error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = dry_open(path, O_RDWR | O_CREAT);
    bool ok;

    if (fd < 0)
        return error_set_errno(err, -fd, "cannot create PID file: Could not create '%s'", path);
    ok = fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK;
    close(fd);
    return ok || error_set(err, "cannot create PID file: Cannot lock pid file '%s'", path);
}

static bool try_log(const char *path, Error *err)
{
    int fd = dry_open(path, O_WRONLY | O_CREAT);

    if (fd < 0)
        return error_set_errno(err, -fd, "-D %s: could not open", path);
    close(fd);
    return true;
}

bool dry_process(const Config *c, Error *err)
{
    if (c->log_file && !try_log(c->log_file, err))
        return false;
    if (c->sandbox && !sandbox_check(c->sandbox, err))
        return error_prefix(err, "-sandbox %s: ", c->sandbox);
    if (c->pidfile && !try_pidfile(c->pidfile, err))
        return false;
    if (c->chroot && access(c->chroot, X_OK) < 0)
        return error_set_errno(err, errno, "-chroot %s: chroot failed", c->chroot);
    return !c->runas || daemon_check_user(c->runas, err);
}

/* A file with something in it, which a private mapping leaves alone. */
static bool is_filled(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > 0);
}

/* What stands for @path; NULL: it can be neither opened nor made. */
static char *backing(const char *path, Error *err)
{
    int fd = dry_open(path, O_RDWR | O_CREAT);

    if (fd < 0 && fd != -EISDIR) {
        error_set_errno(err, -fd, "can't open backing store %s for guest RAM", path);
        return NULL;
    }
    if (fd >= 0)
        close(fd);
    return is_filled(path) ? xstrdup(path) : folder_of(path);
}

bool dry_mem_path(const char **path, Error *err)
{
    char *instead = backing(*path, err);

    if (!instead)
        return error_prefix(err, "-mem-path %s: ", *path);
    xfree((void *)(uintptr_t)*path);
    *path = instead;
    return true;
}

bool dry_memory(json_t *object, Error *err)
{
    const char *kind = json_string_value(json_object_get(object, "qom-type"));
    const char *path = json_string_value(json_object_get(object, "mem-path"));
    AUTO_FREE char *instead = NULL;

    if (!kind || strcmp(kind, "memory-backend-file") || !path)
        return true;
    if (!(instead = backing(path, err)))
        return false;
    json_object_set_new(object, "mem-path", json_string(instead));
    json_object_set_new(object, "share", json_string("off"));
    return true;
}
