/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_lock - advisory locks on images: what a process does to one, and lets others do
 */
#define _GNU_SOURCE
#include "block/file_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USES = 100, DENIES = 200, PERMS = 4 };
static const char *const names[PERMS] = {"consistent read", "write", "write unchanged", "resize"};

static int lock_byte(int fd, int type, int at)
{
    struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &l) ? -errno : 0;
}

/* Has anybody else a lock on that byte? */
static bool byte_is_locked(int fd, int at)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

/* --- who has it --- */

static bool process_has(const char *pid, const struct stat *file)
{
    char path[300];
    struct dirent *e;
    struct stat st;
    bool found = false;
    DIR *d;

    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        snprintf(path, sizeof path, "/proc/%.20s/fd/%.200s", pid, e->d_name);
        found = !stat(path, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino &&
                S_ISREG(st.st_mode);
    }
    if (d)
        closedir(d);
    return found;
}

/* " (process 123, qemu-img)", or nothing if it cannot be seen. */
static void holder(int fd, char *out, size_t size)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    struct stat st;

    out[0] = 0;
    while (d && !fstat(fd, &st) && (e = readdir(d))) {
        char path[64], name[64] = "?";
        FILE *f;

        if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == getpid() ||
            !process_has(e->d_name, &st))
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/comm", e->d_name);
        f = fopen(path, "re");
        if (f && fgets(name, sizeof name, f))
            name[strcspn(name, "\n")] = 0;
        if (f)
            fclose(f);
        snprintf(out, size, " (process %.20s, %s)", e->d_name, name);
        break;
    }
    if (d)
        closedir(d);
}

static bool refuse(int fd, bool shared, unsigned i, const char *filename, Error *err)
{
    char who[128];

    holder(fd, who, sizeof who);
    return error_set(err, "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?%s",
                     shared ? "shared " : "", names[i], filename, who);
}

/* --- taking --- */

static void lock_mask(int fd, unsigned perm, unsigned unshared, bool take)
{
    for (int i = 0; i < PERMS; i++) {
        if (perm >> i & 1)
            lock_byte(fd, take ? F_RDLCK : F_UNLCK, USES + i);
        if (unshared >> i & 1)
            lock_byte(fd, take ? F_RDLCK : F_UNLCK, DENIES + i);
    }
}

static bool lock_add(int fd, unsigned perm, unsigned unshared, const char *filename, Error *err)
{
    lock_mask(fd, perm, unshared, true);
    for (unsigned i = 0; i < PERMS; i++) {
        if (perm >> i & 1 && byte_is_locked(fd, DENIES + (int)i))
            return refuse(fd, false, i, filename, err);
        if (unshared >> i & 1 && byte_is_locked(fd, USES + (int)i))
            return refuse(fd, true, i, filename, err);
    }
    return true;
}

bool file_lock_set(FileLock *l, int fd, unsigned perm, unsigned shared, const char *filename,
                   Error *err)
{
    unsigned unshared = ~shared & ((1u << PERMS) - 1);

    if (!lock_add(fd, perm & ~l->perm, unshared & ~l->unshared, filename, err)) {
        lock_mask(fd, perm & ~l->perm, unshared & ~l->unshared, false);
        return false;
    }
    lock_mask(fd, l->perm & ~perm, l->unshared & ~unshared, false);
    l->perm = perm;
    l->unshared = unshared;
    return true;
}

/* The two descriptors would see each other's locks as somebody else's: in between there are
 * none. */
bool file_lock_move(const FileLock *l, int from, int to, const char *filename, Error *err)
{
    lock_mask(from, l->perm, l->unshared, false);
    if (lock_add(to, l->perm, l->unshared, filename, err))
        return true;
    lock_mask(to, l->perm, l->unshared, false);
    lock_mask(from, l->perm, l->unshared, true);
    return false;
}
