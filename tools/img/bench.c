/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench - a number of equal requests, some at a time, and how long they took
 *
 * Writes with a flush interval: so many writes, then (drained, unless --no-drain) one flush.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/img/img.h"

typedef struct Bench {
    Img *im;
    BlockPort *port;
    BlockCtx *ctx;
    bool write, no_drain;
    uint64_t image_size, count, depth, size, step, offset, flush_interval, pattern;
    uint64_t left, in_flight, until_flush;
    bool flushing;
    int rc;
    struct Slot *free;
} Bench;

typedef struct Slot {
    BlockReq req;
    struct iovec iov;
    Bench *bench;
    struct Slot *next;
} Slot;

static void submit(Bench *b);

static void done(BlockReq *r)
{
    Slot *s = r->owner;
    Bench *b = s->bench;

    b->in_flight--;
    if (r->result && !b->rc)
        b->rc = r->result;
    if (r->op == BLOCK_FLUSH)
        b->flushing = false;
    s->next = b->free;
    b->free = s;
    submit(b);
}

static void send(Bench *b, BlockOp op)
{
    Slot *s = b->free;

    b->free = s->next;
    b->in_flight++;
    s->req = (BlockReq){.op = op, .ctx = b->ctx, .done = done, .owner = s};
    if (op != BLOCK_FLUSH) {
        s->req.at = b->offset;
        s->req.size = b->size;
        s->req.iov = &s->iov;
        s->req.n_iov = 1;
        b->offset = (b->offset + b->step) % b->image_size;
        if (b->offset + b->size > b->image_size)
            b->offset = 0;
    }
    block_submit(b->port, &s->req);
}

static void submit(Bench *b)
{
    while (b->left && b->free && !b->rc) {
        if (b->flush_interval && !b->until_flush) {
            if (b->flushing || (!b->no_drain && b->in_flight))
                return;
            b->flushing = !b->no_drain;
            b->until_flush = b->flush_interval;
            send(b, BLOCK_FLUSH);
            continue;
        }
        if (b->flushing)
            return;
        b->left--;
        b->until_flush -= b->flush_interval != 0;
        send(b, b->write ? BLOCK_WRITE : BLOCK_READ);
    }
}

static bool run(Bench *b)
{
    size_t n = b->depth + (b->flush_interval != 0);
    Slot *slots = try_new_n(Slot, n);
    uint8_t *buf = NULL;
    Error err = {0};
    int64_t start;

    if (slots && b->size <= SIZE_MAX / n && posix_memalign((void **)&buf, 4096, b->size * n))
        buf = NULL;
    b->ctx = buf ? blockctx_new(NULL, &err) : NULL;
    if (!b->ctx) {
        log_error("%s", buf ? err.msg : "there is not so much memory; take a smaller -s or -d");
        xfree(slots);
        free(buf);
        return false;
    }
    memset(buf, b->write ? (int)b->pattern : 0, b->size * n);
    for (size_t i = n; i--;) {
        slots[i] = (Slot){.bench = b, .next = b->free};
        slots[i].iov = (struct iovec){buf + b->size * i, b->size};
        b->free = &slots[i];
    }
    b->left = b->count;
    b->until_flush = b->flush_interval;
    start = now_ns();
    submit(b);
    while (b->in_flight)
        blockctx_poll(b->ctx, true);
    if (b->rc)
        log_error("Failed request: %s", strerror(-b->rc));
    else
        printf("Run completed in %3.3f seconds.\n", (double)(now_ns() - start) / 1e9);
    blockctx_free(b->ctx);
    xfree(slots);
    free(buf);
    return !b->rc;
}

static bool parse(Bench *b, uint32_t *flags)
{
    Img *im = b->im;
    const char *aio = arg_get(im, 'i');

    b->count = 75000;
    b->depth = 64;
    b->size = 4096;
    b->write = arg_has(im, 'w');
    b->no_drain = arg_has(im, OPT_NO_DRAIN);
    if (!arg_number(im, 'c', "request count", 0, INT_MAX, &b->count) ||
        !arg_number(im, 'd', "queue depth", 1, INT_MAX / 2, &b->depth) ||
        !arg_number(im, OPT_FLUSH_INTERVAL, "flush interval", 0, INT_MAX, &b->flush_interval) ||
        !arg_number(im, OPT_PATTERN, "pattern byte", 0, 255, &b->pattern) ||
        !arg_size(im, 'o', "offset", &b->offset) || !arg_size(im, 's', "buffer size", &b->size) ||
        !arg_size(im, 'S', "step size", &b->step) ||
        !arg_cache(im, 't', "writeback", "cache", flags))
        return false;
    if (!b->size || b->size > INT_MAX) {
        log_error("Invalid buffer size specified: it must be from 1 to %d", INT_MAX);
        return false;
    }
    b->step = b->step ? b->step : b->size;
    if (aio && strcmp(aio, "native") != 0 && strcmp(aio, "threads") != 0 &&
        strcmp(aio, "io_uring") != 0) {
        log_error("Invalid aio option: %s; there are threads, native and io_uring", aio);
        return false;
    }
    if (!b->write && b->flush_interval) {
        log_error("--flush-interval is only available in write tests");
        return false;
    }
    if (b->flush_interval && b->flush_interval < b->depth) {
        log_error("Flush interval can't be smaller than depth");
        return false;
    }
    return true;
}

static bool check_size(const Bench *b)
{
    if (b->image_size >= b->size && b->offset <= b->image_size - b->size)
        return true;
    log_error("'%s' ends before the first request does; take a smaller -s or -o",
              b->im->operands[0]);
    return false;
}

int img_cmd_bench(Img *im)
{
    Bench b = {.im = im};
    uint32_t flags = 0;
    ImgFile f;
    bool ok;

    if (!parse(&b, &flags) || !img_open_operand(im, &f, flags | (b.write ? 0 : NODE_READ_ONLY)))
        return 1;
    b.port = f.port;
    b.image_size = block_size(f.port);
    ok = check_size(&b);
    if (ok) {
        say(im,
            "Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
            " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
            b.count, b.write ? "write" : "read", b.size, b.depth, b.offset, b.step);
        if (b.flush_interval)
            say(im, "Sending flush every %" PRIu64 " requests\n", b.flush_interval);
        fflush(stdout);
        ok = run(&b);
    }
    img_close(&f);
    return ok ? 0 : 1;
}
