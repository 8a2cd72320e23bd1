/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transfer - commands that move data and wait for it
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/io/io.h"

enum { SECTOR = 512, FILL_WRITE = 0xcd, FILL_READ = 0xab, NO_PATTERN = -1 };

/* --- buffers and patterns --- */

bool io_pattern(const IoArgs *a, int fallback, int *out)
{
    const char *text = a->value['P'];
    char *end;
    long v;

    *out = fallback;
    if (!text)
        return true;
    errno = 0;
    v = strtol(text, &end, 0);
    if (errno || *end || end == text || v < 0 || v > UCHAR_MAX) {
        printf("%s is not a valid pattern byte\n", text);
        return false;
    }
    *out = (int)v;
    return true;
}

bool io_verify(const uint8_t *p, size_t size, int pattern, uint64_t at)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != pattern) {
            printf("Pattern verification failed at offset %" PRIu64 ", %zu bytes\n", at, size);
            return false;
        }
    return true;
}

static bool buf_new(Io *io, size_t size, int fill, IoBuf *out)
{
    *out = (IoBuf){.size = size};
    out->mem = try_alloc(size + 4096 + 16);
    if (!out->mem) {
        printf("there is not so much memory\n");
        return false;
    }
    out->p = (uint8_t *)ALIGN_UP((uintptr_t)out->mem, 4096) + (io->misalign ? 16 : 0);
    memset(out->p, fill, size);
    return true;
}

void io_buf_free(IoBuf *b)
{
    xfree(b->mem);
    xfree(b->iov);
    *b = (IoBuf){0};
}

static bool length_fits(int64_t size, const char *text)
{
    if (size <= INT_MAX - SECTOR + 1)
        return true;
    printf("length cannot exceed %d, given %s\n", INT_MAX - SECTOR + 1, text);
    return false;
}

bool io_buf_vector(Io *io, IoArgs *a, int from, int fill, IoBuf *out)
{
    int n = a->n_rest - from;
    struct iovec *iov = xnew_n(struct iovec, (size_t)MAX(n, 1));
    int64_t all = 0, size;
    uint8_t *p;

    for (int i = 0; i < n; i++) {
        if (!io_number(a->rest[from + i], &size))
            goto bad;
        all += size;
        if (size > INT_MAX || all > INT_MAX) {
            printf("Argument '%s' exceeds maximum size %d\n", a->rest[from + i], INT_MAX);
            goto bad;
        }
        iov[i].iov_len = (size_t)size;
    }
    if (!buf_new(io, (size_t)all, fill, out))
        goto bad;
    p = out->p;
    for (int i = 0; i < n; i++, p += iov[i - 1].iov_len)
        iov[i].iov_base = p;
    out->iov = iov;
    out->n_iov = n;
    return true;
bad:
    xfree(iov);
    return false;
}

static bool sector_aligned(int64_t v, const char *what)
{
    if (v % SECTOR == 0)
        return true;
    printf("%" PRId64 " is not a sector-aligned value for '%s'\n", v, what);
    return false;
}

/* Offset and length of a command. */
static bool parse_range(IoArgs *a, int64_t *at, int64_t *size)
{
    if (a->n_rest != 2) {
        io_usage(a->cmd);
        return false;
    }
    return io_number(a->rest[0], at) && io_number(a->rest[1], size);
}

static int failed(const char *what, int rc)
{
    printf("%s failed: %s\n", what, strerror(-rc));
    return -1;
}

/* --- reading --- */

typedef struct Verify {
    int pattern;
    int64_t skip, size;
} Verify;

static bool parse_verify(IoArgs *a, int64_t size, Verify *v)
{
    v->skip = 0;
    v->size = size;
    if (!io_pattern(a, NO_PATTERN, &v->pattern))
        return false;
    if ((a->has['l'] || a->has['s']) && !a->has['P']) {
        io_usage(a->cmd);
        return false;
    }
    if (a->has['s'] && !io_number(a->value['s'], &v->skip))
        return false;
    if (a->has['l'] ? !io_number(a->value['l'], &v->size) : (v->size = size - v->skip, false))
        return false;
    if (v->skip < 0 || v->size < 0 || v->skip > size || v->size > size - v->skip) {
        printf("pattern verification range exceeds end of read data\n");
        return false;
    }
    return true;
}

static int load_vmstate(BlockNode *n, uint64_t at, void *buf, size_t size)
{
    return n->drv->load_vmstate ? n->drv->load_vmstate(n, at, buf, size) : -ENOTSUP;
}

static int finish_read(IoArgs *a, const IoBuf *b, int64_t at, const Verify *v, int64_t ns)
{
    int rc = 0;

    if (v->pattern != NO_PATTERN &&
        !io_verify(b->p + v->skip, (size_t)v->size, v->pattern, (uint64_t)(at + v->skip)))
        rc = -1;
    if (a->has['q'])
        return rc;
    if (a->has['v'])
        io_dump(b->p, (uint64_t)at, b->size);
    io_report("read", (uint64_t)at, b->size, 1, ns, a->has['C']);
    return rc;
}

int io_cmd_read(Io *io, IoArgs *a)
{
    int64_t at, size, start;
    Verify v;
    IoBuf b;
    int rc;

    if (!parse_range(a, &at, &size) || !length_fits(size, a->rest[1]) || !parse_verify(a, size, &v))
        return -1;
    if (a->has['b'] && (!sector_aligned(at, "offset") || !sector_aligned(size, "count")))
        return -1;
    if (!buf_new(io, (size_t)size, FILL_READ, &b))
        return -1;
    start = io_now();
    rc = a->has['b'] ? load_vmstate(io->node, (uint64_t)at, b.p, b.size)
                     : block_read(io->port, (uint64_t)at, b.p, b.size);
    rc = rc < 0 ? failed("read", rc) : finish_read(a, &b, at, &v, io_now() - start);
    io_buf_free(&b);
    return rc;
}

static int vector(Io *io, BlockOp op, int64_t at, const IoBuf *b, uint32_t flags)
{
    BlockReq r = {.op = op,
                  .flags = flags,
                  .at = (uint64_t)at,
                  .size = b->size,
                  .iov = b->iov,
                  .n_iov = b->n_iov};

    return block_wait(io->port, &r);
}

int io_cmd_readv(Io *io, IoArgs *a)
{
    int64_t at, start;
    Verify v;
    IoBuf b;
    int rc;

    if (!a->n_rest)
        return io_usage(a->cmd);
    if (!io_number(a->rest[0], &at) || !io_pattern(a, NO_PATTERN, &v.pattern) ||
        !io_buf_vector(io, a, 1, FILL_READ, &b))
        return -1;
    v.skip = 0;
    v.size = (int64_t)b.size;
    start = io_now();
    rc = vector(io, BLOCK_READ, at, &b, 0);
    rc = rc ? failed("readv", rc) : finish_read(a, &b, at, &v, io_now() - start);
    io_buf_free(&b);
    return rc;
}

/* --- writing --- */

/* What combinations make no sense; false: printed. */
static bool write_flags_fit(IoArgs *a)
{
    const char *why = NULL;

    if (a->has['b'] && a->has['z'])
        why = "-b and -z cannot be specified at the same time";
    else if (a->has['b'] && a->has['c'])
        why = "-b and -c cannot be specified at the same time";
    else if (a->has['f'] && (a->has['b'] || a->has['c']))
        why = "-f and -b or -c cannot be specified at the same time";
    else if (a->has['n'] && !a->has['z'])
        why = "-n requires -z to be specified";
    else if (a->has['u'] && !a->has['z'])
        why = "-u requires -z to be specified";
    else if (a->has['z'] + a->has['P'] + a->has['s'] > 1)
        why = "Only one of -z, -P, and -s can be specified at the same time";
    if (why)
        puts(why);
    return !why;
}

/* Fill @b with a file, over and over. */
static bool fill_from_file(IoBuf *b, const char *name)
{
    FILE *f = fopen(name, "rb");
    size_t n = f ? fread(b->p, 1, b->size, f) : 0;

    if (!f || !n) {
        printf("%s: %s\n", name, f ? "the file is empty" : strerror(errno));
        if (f)
            fclose(f);
        return false;
    }
    fclose(f);
    for (; n < b->size; n += MIN(n, b->size - n))
        memcpy(b->p + n, b->p, MIN(n, b->size - n));
    return true;
}

static int save_vmstate(BlockNode *n, uint64_t at, const void *buf, size_t size)
{
    return n->drv->save_vmstate ? n->drv->save_vmstate(n, at, buf, size) : -ENOTSUP;
}

static uint32_t write_flags(const IoArgs *a)
{
    return (a->has['f'] ? BLOCK_FUA : 0u) | (a->has['c'] ? BLOCK_COMPRESS : 0u) |
           (a->has['u'] ? BLOCK_MAY_UNMAP : 0u) | (a->has['n'] ? BLOCK_NO_FALLBACK : 0u);
}

static int write_buffer(Io *io, IoArgs *a, int64_t at, int64_t size, int pattern, int64_t *ns)
{
    IoBuf b;
    int rc;

    if (!buf_new(io, (size_t)size, pattern, &b))
        return -ENOMEM;
    if (a->has['s'] && !fill_from_file(&b, a->value['s'])) {
        io_buf_free(&b);
        return INT_MIN; /* said already */
    }
    *ns = io_now();
    rc = a->has['b'] ? save_vmstate(io->node, (uint64_t)at, b.p, b.size)
                     : block_write(io->port, (uint64_t)at, b.p, b.size, write_flags(a));
    io_buf_free(&b);
    return rc;
}

int io_cmd_write(Io *io, IoArgs *a)
{
    int64_t at, size, start;
    int pattern, rc;

    if (a->n_rest != 2)
        return io_usage(a->cmd);
    if (!write_flags_fit(a) || !io_pattern(a, FILL_WRITE, &pattern) || !parse_range(a, &at, &size))
        return -1;
    if (!a->has['z'] && !length_fits(size, a->rest[1]))
        return -1;
    if ((a->has['b'] || a->has['c']) &&
        (!sector_aligned(at, "offset") || !sector_aligned(size, "count")))
        return -1;
    start = io_now();
    if (a->has['z'])
        rc = block_zero(io->port, (uint64_t)at, (uint64_t)size, write_flags(a));
    else
        rc = write_buffer(io, a, at, size, pattern, &start);
    if (rc < 0)
        return rc == INT_MIN ? -1 : failed("write", rc);
    if (!a->has['q'])
        io_report("wrote", (uint64_t)at, (uint64_t)size, 1, io_now() - start, a->has['C']);
    return 0;
}

int io_cmd_writev(Io *io, IoArgs *a)
{
    int64_t at, start;
    int pattern, rc;
    IoBuf b;

    if (!a->n_rest)
        return io_usage(a->cmd);
    if (!io_number(a->rest[0], &at) || !io_pattern(a, FILL_WRITE, &pattern) ||
        !io_buf_vector(io, a, 1, pattern, &b))
        return -1;
    start = io_now();
    rc = vector(io, BLOCK_WRITE, at, &b, write_flags(a));
    if (rc)
        rc = failed("writev", rc);
    else if (!a->has['q'])
        io_report("wrote", (uint64_t)at, b.size, 1, io_now() - start, a->has['C']);
    io_buf_free(&b);
    return rc;
}

/* --- the rest --- */

int io_cmd_discard(Io *io, IoArgs *a)
{
    int64_t at, size, start = io_now();
    int rc;

    if (!parse_range(a, &at, &size))
        return -1;
    rc = block_discard(io->port, (uint64_t)at, (uint64_t)size);
    if (rc)
        return failed("discard", rc);
    if (!a->has['q'])
        io_report("discard", (uint64_t)at, (uint64_t)size, 1, io_now() - start, a->has['C']);
    return 0;
}

int io_cmd_flush(Io *io, IoArgs *a)
{
    int rc = block_flush(io->port);

    (void)a;
    return rc ? failed("flush", rc) : 0;
}
