/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file - protocol drivers "file" and "host_device": regular files and block devices of the host
 *
 * Transfers go through io_uring where it is there; from a thread that may block, and from a tool's
 * own thread when the page cache has the data, by plain system calls; else on a worker.  Reads
 * beyond the end are zeroes, writes beyond it grow the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/opts_json.h"
#include "block/block_priv.h"
#include "block/file_lock.h"

enum { PIECE = 1 << 20, IOV_MOST = 1024 };

typedef enum Aio { AIO_DEFAULT, AIO_THREADS, AIO_NATIVE, AIO_IO_URING } Aio;

typedef struct File {
    int fd;
    bool device, direct, locking;
    Aio aio;
    FileLock lock;
    bool no_punch, no_zero; /* the file system said so */
    /* Data, as the file system said last: some walk all of it for each SEEK_HOLE. Only where nobody
     * writes by this node; a wrong answer, as between the two stores, is a hole that is read. */
    _Atomic uint64_t data_at, data_end;
} File;

typedef struct FileOptions {
    char *filename;
    uint32_t aio, locking;
    bool drop_cache, check_cache;
} FileOptions;

static const char *const aio_names[] = {"default", "threads", "native", "io_uring", NULL};
static const char *const on_off_auto_names[] = {"auto", "on", "off", NULL};
static ENUM_TYPE(aio_type, Aio, aio_names);
static ENUM_TYPE(locking_type, OnOffAuto, on_off_auto_names);
static const Field file_fields[] = {
    PROP_STR(FileOptions, filename, "filename", NULL, "path of the image"),
    PROP_ENUM(FileOptions, aio, "aio", &aio_type, AIO_DEFAULT, "how requests reach the kernel"),
    PROP_ENUM(FileOptions, locking, "locking", &locking_type, 0, "lock the file against others"),
    PROP(FileOptions, drop_cache, "drop-cache", true, "drop the page cache for migration"),
    PROP(FileOptions, check_cache, "x-check-cache-dropped", false, "check that it was dropped"),
};
static STRUCT_TYPE(file_options_type, FileOptions, file_fields);

/* --- transfers --- */

static File *file_of(BlockNode *n)
{
    return n->state;
}

static void grow_size(BlockNode *n, uint64_t end)
{
    uint64_t size = atomic_load(&n->size);

    while (end > size && !atomic_compare_exchange_weak(&n->size, &size, end))
        continue;
}

/* The rest of a transfer from @done on, by system calls. */
static int transfer(File *f, const BlockReq *r, uint64_t done)
{
    AUTO_FREE struct iovec *iov = xnew_n(struct iovec, (size_t)r->n_iov + 1);

    while (done < r->size) {
        int n = MIN(iov_slice(r->iov, r->n_iov, done, r->size - done, iov), (int)IOV_MOST);
        ssize_t len = r->op == BLOCK_READ ? preadv(f->fd, iov, n, (off_t)(r->at + done))
                                          : pwritev(f->fd, iov, n, (off_t)(r->at + done));

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return -errno;
        if (!len && r->op == BLOCK_WRITE)
            return -ENOSPC;
        if (!len) { /* beyond the end */
            iov_zero(r->iov, r->n_iov, done, r->size - done);
            return 0;
        }
        done += (uint64_t)len;
    }
    return 0;
}

static int write_zeroes(File *f, uint64_t at, uint64_t size)
{
    void *zeroes = xalloc_aligned(4096, PIECE);
    int rc = 0;

    while (size && !rc) {
        struct iovec iov = {zeroes, MIN(size, (uint64_t)PIECE)};
        BlockReq r = {.op = BLOCK_WRITE, .at = at, .size = iov.iov_len, .iov = &iov, .n_iov = 1};

        rc = transfer(f, &r, 0);
        at += iov.iov_len;
        size -= iov.iov_len;
    }
    xfree(zeroes);
    return rc;
}

static int allocate_range(int fd, int mode, uint64_t at, uint64_t size)
{
    int rc;

    do
        rc = fallocate(fd, mode, (off_t)at, (off_t)size);
    while (rc && errno == EINTR);
    if (!rc)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == ENODEV ||
                   errno == ENOTTY
               ? -ENOTSUP
               : -errno;
}

static int device_range(int fd, unsigned long request, uint64_t at, uint64_t size)
{
    uint64_t range[2] = {at, size};

    if (ioctl(fd, request, range) == 0)
        return 0;
    return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL ? -ENOTSUP : -errno;
}

static int punch(File *f, uint64_t at, uint64_t size)
{
    int rc = -ENOTSUP;

    if (f->no_punch)
        return rc;
    if (f->device)
        rc = device_range(f->fd, BLKDISCARD, at, size);
    else
        rc = allocate_range(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size);
    f->no_punch = rc == -ENOTSUP;
    return rc;
}

static int zero_range(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags)
{
    File *f = file_of(n);
    int rc = -ENOTSUP;

    if (f->device)
        return device_range(f->fd, BLKZEROOUT, at, size);
    if (flags & BLOCK_MAY_UNMAP && n->flags & NODE_UNMAP) {
        rc = punch(f, at, size);
        if (!rc && at + size > n->size && ftruncate(f->fd, (off_t)(at + size)))
            rc = -errno;
    }
    if (rc == -ENOTSUP && !f->no_zero) {
        rc = allocate_range(f->fd, FALLOC_FL_ZERO_RANGE, at, size);
        f->no_zero = rc == -ENOTSUP;
    }
    if (rc == -ENOTSUP && at >= n->size) /* new room reads as zeroes anyway */
        rc = allocate_range(f->fd, 0, at, size);
    return rc;
}

/* All of a request, here and now. */
static int file_run(BlockNode *n, const BlockReq *r)
{
    File *f = file_of(n);
    int rc = 0;

    switch (r->op) {
    case BLOCK_READ: return transfer(f, r, 0);
    case BLOCK_WRITE: rc = transfer(f, r, 0); break;
    case BLOCK_ZERO:
        rc = zero_range(n, r->at, r->size, r->flags);
        if (rc == -ENOTSUP && !(r->flags & BLOCK_NO_FALLBACK))
            rc = write_zeroes(f, r->at, r->size);
        break;
    case BLOCK_DISCARD:
        rc = n->flags & NODE_UNMAP ? punch(f, r->at, r->size) : 0;
        return rc == -ENOTSUP ? 0 : rc;
    default: return fdatasync(f->fd) ? -errno : 0;
    }
    if (!rc)
        grow_size(n, r->at + r->size);
    return !rc && r->flags & BLOCK_FUA && fdatasync(f->fd) ? -errno : rc;
}

static void file_work(void *arg)
{
    BlockReq *r = arg;

    blockreq_complete(r, file_run(r->node, r));
}

static void file_rest(void *arg)
{
    BlockReq *r = arg;
    int rc = transfer(file_of(r->node), r, r->word[1]);

    if (!rc && r->op == BLOCK_WRITE)
        grow_size(r->node, r->at + r->size);
    blockreq_complete(r, rc);
}

static void ring_done(BlockReq *r, int result)
{
    if (result == -EINTR || result == -EAGAIN)
        result = 0;
    if (r->op == BLOCK_FLUSH || result < 0) {
        blockreq_complete(r, MIN(result, 0));
    } else if ((uint64_t)result == r->size) {
        if (r->op == BLOCK_WRITE)
            grow_size(r->node, r->at + r->size);
        blockreq_complete(r, 0);
    } else { /* cut short: the end of the file, a signal, or a real error that shows now */
        r->word[1] = (uint64_t)result;
        block_work(r->node->graph, file_rest, r);
    }
}

/* The page cache may have all of it. */
static bool read_cached(File *f, BlockReq *r)
{
    ssize_t len =
        r->n_iov <= IOV_MOST ? preadv2(f->fd, r->iov, r->n_iov, (off_t)r->at, RWF_NOWAIT) : -1;

    return len >= 0 && (uint64_t)len == r->size;
}

static void file_submit(BlockNode *n, BlockReq *r)
{
    File *f = file_of(n);
    bool moves = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    Ring *ring;

    if (!r->ctx) {
        blockreq_complete(r, file_run(n, r));
        return;
    }
    if (moves && ctx_is_dedicated(r->ctx) && !f->direct && ctx_is_mine(r->ctx)) {
        if (r->op == BLOCK_READ ? read_cached(f, r) : !(r->flags & BLOCK_FUA)) {
            blockreq_complete(r, r->op == BLOCK_READ ? 0 : file_run(n, r));
            return;
        }
    }
    ring = f->aio != AIO_THREADS ? ctx_ring(r->ctx) : NULL;
    if (ring && (moves || r->op == BLOCK_FLUSH) && !(r->flags & BLOCK_FUA) &&
        r->n_iov <= IOV_MOST && r->size <= INT32_MAX &&
        ring_queue(ring, r, f->fd, r->at, ring_done))
        return;
    block_work(n->graph, file_work, r);
}

/* --- opening --- */

static int open_flags(const BlockNode *n, const File *f)
{
    return (node_is_read_only(n) ? O_RDONLY : O_RDWR) | (f->direct ? O_DIRECT : 0) | O_CLOEXEC;
}

/* "/dev/fdset/N" is a descriptor that was passed in by add-fd; the kernel's own names serve for
 * the rest. */
static int open_path(BlockNode *n, const char *path, Error *err)
{
    File *f = file_of(n);
    int fd = graph_open_path(n->graph, path, open_flags(n, f));

    if (n->flags & NODE_AUTO_READ_ONLY && !node_is_read_only(n) &&
        (fd == -EACCES || fd == -EROFS || fd == -EPERM)) {
        n->flags |= NODE_READ_ONLY;
        fd = graph_open_path(n->graph, path, open_flags(n, f));
    }
    if (fd == -EINVAL && f->direct)
        error_set(err,
                  "Could not open '%s': the file system does not support O_DIRECT (cache=none)",
                  path);
    else if (fd < 0)
        error_set_errno(err, -fd, "Could not open '%s'", path);
    return fd;
}

/* Bytes, or -errno. */
static int64_t file_size(int fd, bool device)
{
    uint64_t size;
    off_t end;

    if (device && !ioctl(fd, BLKGETSIZE64, &size))
        return (int64_t)size;
    end = lseek(fd, 0, SEEK_END);
    return end < 0 ? -errno : end;
}

static bool learn_size(BlockNode *n, const File *f, Error *err)
{
    int64_t size = file_size(f->fd, f->device);

    if (size < 0)
        return error_set_errno(err, (int)-size, "Could not get the size of '%s'", n->filename);
    n->size = (uint64_t)size;
    return true;
}

static uint32_t direct_alignment(int fd, bool device)
{
    struct statx x;
    int block = 0;

    if (device && !ioctl(fd, BLKSSZGET, &block) && block >= 512 && !(block & (block - 1)))
        return (uint32_t)block;
#ifdef STATX_DIOALIGN
    if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) && x.stx_mask & STATX_DIOALIGN &&
        x.stx_dio_offset_align)
        return MAX(x.stx_dio_offset_align, x.stx_dio_mem_align);
#else
    (void)x;
#endif
    return 4096;
}

static bool check_kind(const char *path, const struct stat *st, bool device, Error *err)
{
    if (S_ISDIR(st->st_mode))
        return error_set(err, "Could not open '%s': Is a directory", path);
    if (device && !S_ISBLK(st->st_mode) && !S_ISCHR(st->st_mode))
        return error_set(err,
                         "'host_device' driver requires '%s' to be either a character or block "
                         "device (use 'file' for it)",
                         path);
    if (!device && !S_ISREG(st->st_mode))
        return error_set(err, "'file' driver requires '%s' to be a regular file", path);
    return true;
}

static bool file_open_as(BlockNode *n, const FileOptions *o, bool device, Error *err)
{
    File *f = file_of(n);
    struct stat st;

    f->fd = -1;
    f->device = device;
    f->direct = n->flags & NODE_NO_CACHE;
    f->aio = (Aio)o->aio;
    f->locking = o->locking != 2 && !device;
    if (!o->filename || !*o->filename)
        return error_set(err, "The 'file' block driver requires a file name");
    if (f->aio == AIO_NATIVE && !f->direct)
        return error_set(err,
                         "aio=native was specified, but it requires cache.direct=on, which was "
                         "not specified.");
    n->filename = xstrdup(strncmp(o->filename, "file:", 5) ? o->filename : o->filename + 5);
    f->fd = open_path(n, n->filename, err);
    if (f->fd < 0)
        return false;
    if (fstat(f->fd, &st))
        return error_set_errno(err, errno, "Could not stat '%s'", n->filename);
    if (!check_kind(n->filename, &st, device, err))
        return false;
    device = f->device = !S_ISREG(st.st_mode);
    if (!learn_size(n, f, err))
        return false;
    n->zero_init = !device;
    if (f->direct)
        n->request_align = direct_alignment(f->fd, device);
    return true;
}

static bool file_open(BlockNode *n, const void *options, Error *err)
{
    return file_open_as(n, options, false, err);
}

static bool device_open(BlockNode *n, const void *options, Error *err)
{
    return file_open_as(n, options, true, err);
}

static void file_close(BlockNode *n)
{
    File *f = file_of(n);

    if (f->fd >= 0)
        close(f->fd); /* drops its locks */
    f->fd = -1;
}

static bool file_set_perm(BlockNode *n, unsigned perm, unsigned shared, Error *err)
{
    File *f = file_of(n);

    if (!f->locking || f->fd < 0 || n->flags & NODE_NO_IO)
        return true;
    return file_lock_set(&f->lock, f->fd, perm, shared, n->filename, err);
}

static bool file_reopen(BlockNode *n, const void *options, uint32_t flags, Error *err)
{
    File *f = file_of(n);
    uint32_t was = n->flags;
    int fd;

    (void)options;
    n->flags = flags & ~(uint32_t)NODE_AUTO_READ_ONLY;
    fd = open_path(n, n->filename, err);
    if (fd < 0) {
        n->flags = was;
        return false;
    }
    n->flags = flags;
    if (!file_lock_move(&f->lock, f->fd, fd, n->filename, err)) {
        close(fd);
        n->flags = was;
        return false;
    }
    close(f->fd);
    f->fd = fd;
    f->data_end = 0;
    return true;
}

/* --- everything else --- */

static int file_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    File *f = file_of(n);
    off_t data, hole;

    *out = (Extent){.kind = EXTENT_DATA, .at = at, .size = size, .child = n, .child_at = at};
    if (at >= n->size) {
        out->kind = EXTENT_ZERO;
        out->flags = EXTENT_EOF;
        return 0;
    }
    out->size = size = MIN(size, n->size - at);
    if (f->device)
        return 0;
    if (n->flags & NODE_READ_ONLY && at >= f->data_at && at < f->data_end) {
        out->size = MIN(size, f->data_end - at);
        return 0;
    }
    data = lseek(f->fd, (off_t)at, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return 0; /* cannot tell: data */
    if (data < 0 || (uint64_t)data > at) {
        out->kind = EXTENT_ZERO;
        out->size = data < 0 ? size : MIN(size, (uint64_t)data - at);
        return 0;
    }
    hole = lseek(f->fd, (off_t)at, SEEK_HOLE);
    if (hole > (off_t)at) {
        out->size = MIN(size, (uint64_t)hole - at);
        f->data_at = at;
        f->data_end = (uint64_t)hole;
    }
    return 0;
}

static bool grow_full(File *f, uint64_t from, uint64_t to, const char *name, Error *err)
{
    int rc = write_zeroes(f, from, to - from);

    if (!rc && fsync(f->fd))
        rc = -errno;
    return !rc ||
           error_set_errno(err, -rc, "Could not write zeros for preallocation of '%s'", name);
}

static bool file_resize(File *f, const char *name, uint64_t was, uint64_t size, Preallocation p,
                        Error *err)
{
    int rc;

    if (p != PREALLOC_OFF && size < was)
        return error_set(err, "Preallocation can't be used for shrinking files");
    if (p == PREALLOC_METADATA)
        return error_set(err,
                         "Unsupported preallocation mode 'metadata' (off, falloc and full are)");
    if (p == PREALLOC_FALLOC && size > was) {
        rc = posix_fallocate(f->fd, (off_t)was, (off_t)(size - was));
        return !rc || error_set_errno(err, rc, "Could not preallocate data for '%s'", name);
    }
    if (p == PREALLOC_FULL && size > was)
        return grow_full(f, was, size, name, err);
    return !ftruncate(f->fd, (off_t)size) ||
           error_set_errno(err, errno, "Failed to resize the file '%s'", name);
}

static bool file_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    File *f = file_of(n);
    uint64_t was = n->size;

    if (f->device) {
        if (!learn_size(n, f, err))
            return false;
        if ((exact && size != n->size) || size > n->size)
            return error_set(err, "Cannot resize device files ('%s' has %" PRIu64 " bytes)",
                             n->filename, (uint64_t)n->size);
        return true;
    }
    if (!file_resize(f, n->filename, was, size, p, err)) {
        if (size > was && ftruncate(f->fd, (off_t)was))
            log_warn("'%s': could not take back a failed resize", n->filename);
        return false;
    }
    n->size = size;
    return true;
}

static int64_t file_allocated_size(BlockNode *n)
{
    struct stat st;

    return fstat(file_of(n)->fd, &st) ? -errno : (int64_t)st.st_blocks * 512;
}

static int file_copy_range(BlockNode *from, uint64_t from_at, BlockNode *to, uint64_t to_at,
                           uint64_t size)
{
    off_t in = (off_t)from_at, out = (off_t)to_at;

    while (size) {
        ssize_t len = copy_file_range(file_of(from)->fd, &in, file_of(to)->fd, &out, size, 0);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return errno == EXDEV || errno == ENOSYS || errno == EINVAL || errno == EOPNOTSUPP
                       ? -ENOTSUP
                       : -errno;
        if (!len)
            return -ENOTSUP; /* the end of the source: reads as zeroes, the caller's way */
        size -= (uint64_t)len;
    }
    grow_size(to, (uint64_t)out);
    return 0;
}

typedef struct FileCreate {
    uint64_t size, extent_size_hint;
    uint32_t preallocation;
    bool nocow;
} FileCreate;

static const Field create_fields[] = {
    PROP_SIZE(FileCreate, extent_size_hint, "extent_size_hint", 1 << 20,
              "Extent size hint for the image file, 0 to disable"),
    PROP(FileCreate, nocow, "nocow", false, "Turn off copy-on-write (valid only on btrfs)"),
    PROP_ENUM(FileCreate, preallocation, "preallocation", &preallocation_type, 0,
              "Preallocation mode (allowed values: off, falloc, full)"),
    PROP_SIZE(FileCreate, size, "size", 0, "Virtual disk size"),
};
static STRUCT_TYPE(file_create_type, FileCreate, create_fields);

/* Locked before it is emptied: it might be somebody's disk. */
static bool file_make(const char *path, const FileCreate *c, Error *err)
{
    FileLock lock = {0};
    File f = {.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    bool made = f.fd >= 0, ok;

    if (!made)
        return error_set_errno(err, errno, "Could not create '%s'", path);
#ifdef FS_NOCOW_FL
    if (c->nocow) {
        int attr = 0;

        if (!ioctl(f.fd, FS_IOC_GETFLAGS, &attr)) {
            attr |= FS_NOCOW_FL;
            ioctl(f.fd, FS_IOC_SETFLAGS, &attr);
        }
    }
#endif
    ok = file_lock_set(&lock, f.fd, PERM_WRITE | PERM_RESIZE,
                       PERM_ALL & ~(unsigned)(PERM_WRITE | PERM_RESIZE), path, err) &&
         (!ftruncate(f.fd, 0) || error_set_errno(err, errno, "Could not empty '%s'", path)) &&
         file_resize(&f, path, 0, c->size, (Preallocation)c->preallocation, err);
    close(f.fd);
    return ok;
}

static bool file_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)
{
    FileCreate c;
    bool ok;

    (void)g;
    reflect_defaults(&file_create_type, &c, FIELD_PROP);
    ok = opts_json_apply(&file_create_type, &c, options, FIELD_PROP, err) &&
         file_make(strncmp(filename, "file:", 5) ? filename : filename + 5, &c, err);
    return ok;
}

static bool file_create(BlockGraph *g, json_t *options, Error *err)
{
    AUTO_FREE char *path = json_take_str(options, "filename");

    if (!path)
        return error_set(err, "Parameter 'filename' is missing");
    return file_create_file(g, path, options, err);
}

static BlockDriver file_driver = {
    .name = "file",
    .doc = "regular file",
    .kind = DRIVER_PROTOCOL,
    .prefix = "file",
    .options = &file_options_type,
    .state_size = sizeof(File),
    .open = file_open,
    .close = file_close,
    .reopen = file_reopen,
    .set_perm = file_set_perm,
    .submit = file_submit,
    .status = file_status,
    .truncate = file_truncate,
    .allocated_size = file_allocated_size,
    .create = file_create,
    .create_file = file_create_file,
    .create_options = &file_create_type,
    .copy_range = file_copy_range,
};
BLOCK_DRIVER_REGISTER(file_driver)

static BlockDriver host_device_driver = {
    .name = "host_device",
    .doc = "block device of the host",
    .kind = DRIVER_PROTOCOL,
    .options = &file_options_type,
    .state_size = sizeof(File),
    .open = device_open,
    .close = file_close,
    .reopen = file_reopen,
    .submit = file_submit,
    .status = file_status,
    .truncate = file_truncate,
    .copy_range = file_copy_range,
};
BLOCK_DRIVER_REGISTER(host_device_driver)
