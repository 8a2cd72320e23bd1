/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aio - commands that send a request and do not wait: aio_read, aio_write, aio_flush
 */
#include <stdio.h>

#include "tools/io/io.h"

typedef struct Aio {
    BlockReq req;
    Io *io;
    IoBuf buf;
    int64_t start;
    int pattern; /* -1: none */
    bool quiet, machine, dump;
} Aio;

static void aio_show(const Aio *a)
{
    const BlockReq *r = &a->req;
    bool read = r->op == BLOCK_READ;

    if (r->result) {
        printf("aio_%s failed: %s\n", read ? "read" : "write", strerror(-r->result));
        return;
    }
    if (read && a->pattern >= 0)
        io_verify(a->buf.p, a->buf.size, a->pattern, r->at);
    if (a->quiet)
        return;
    if (read && a->dump)
        io_dump(a->buf.p, r->at, a->buf.size);
    io_report(read ? "read" : "wrote", r->at, r->size, 1, io_now() - a->start, a->machine);
}

static void aio_done(BlockReq *r)
{
    Aio *a = r->owner;

    aio_show(a);
    a->io->in_flight--;
    io_buf_free(&a->buf);
    xfree(a);
}

static int aio_send(Aio *a, BlockOp op, int64_t at, uint64_t size, uint32_t flags)
{
    a->req = (BlockReq){.op = op,
                        .flags = flags,
                        .at = (uint64_t)at,
                        .size = size,
                        .ctx = a->io->ctx,
                        .done = aio_done,
                        .owner = a};
    if (op != BLOCK_ZERO) {
        a->req.iov = a->buf.iov;
        a->req.n_iov = a->buf.n_iov;
    }
    a->io->in_flight++;
    a->start = io_now();
    block_submit(a->io->port, &a->req);
    return 0;
}

static Aio *aio_new(Io *io, const IoArgs *args)
{
    Aio *a = xnew(Aio);

    a->io = io;
    a->quiet = args->has['q'];
    a->machine = args->has['C'];
    a->dump = args->has['v'];
    return a;
}

static int refuse_invalid(const char *what)
{
    printf("injecting invalid %s request\n", what);
    return 0;
}

int io_cmd_aio_read(Io *io, IoArgs *args)
{
    Aio *a = aio_new(io, args);
    int64_t at;

    if (args->has['i']) {
        xfree(a);
        return refuse_invalid("read");
    }
    if (args->n_rest < 2 ? io_usage(args->cmd)
                         : (!io_pattern(args, -1, &a->pattern) || !io_number(args->rest[0], &at) ||
                            !io_buf_vector(io, args, 1, 0xab, &a->buf))) {
        xfree(a);
        return -1;
    }
    return aio_send(a, BLOCK_READ, at, a->buf.size, 0);
}

/* -z: a range; else buffers.  False: said already. */
static bool write_args(Io *io, IoArgs *args, Aio *a, int64_t *at, int64_t *size)
{
    int pattern;

    if (args->n_rest < 2 || (args->has['z'] && args->n_rest != 2))
        return io_usage(args->cmd) == 0;
    if (args->has['u'] && !args->has['z'])
        return puts("-u requires -z to be specified") < 0;
    if (args->has['z'] && args->has['P'])
        return puts("-z and -P cannot be specified at the same time") < 0;
    if (!io_number(args->rest[0], at) || !io_pattern(args, 0xcd, &pattern))
        return false;
    if (args->has['z'])
        return io_number(args->rest[1], size);
    if (!io_buf_vector(io, args, 1, pattern, &a->buf))
        return false;
    *size = (int64_t)a->buf.size;
    return true;
}

int io_cmd_aio_write(Io *io, IoArgs *args)
{
    Aio *a = aio_new(io, args);
    uint32_t flags = (args->has['f'] ? BLOCK_FUA : 0u) | (args->has['u'] ? BLOCK_MAY_UNMAP : 0u);
    int64_t at, size;

    if (args->has['i']) {
        xfree(a);
        return refuse_invalid("write");
    }
    if (!write_args(io, args, a, &at, &size)) {
        xfree(a);
        return -1;
    }
    return aio_send(a, args->has['z'] ? BLOCK_ZERO : BLOCK_WRITE, at, (uint64_t)size, flags);
}

void aio_wait(Io *io)
{
    while (io->in_flight)
        blockctx_poll(io->ctx, true);
}

int io_cmd_aio_flush(Io *io, IoArgs *a)
{
    (void)a;
    aio_wait(io);
    return 0;
}
