/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_disk - disks in memory for tests of image formats: they fail, and lose what was not flushed
 *
 * Driver "test-ram" with option "disk", an index into disks[].  What was written since the last
 * flush is kept apart, so that disk_cut() can leave any part of it out.
 */
#ifndef TESTS_UNIT_BLOCK_DISK_H
#define TESTS_UNIT_BLOCK_DISK_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "block/block.h"
#include "unit.h"

enum { DISK_SECTOR = 512, DISKS = 16 };

typedef struct Piece {
    uint64_t at, size;
    uint8_t *data;
} Piece;

typedef struct Disk {
    uint8_t *data, *stable; /* stable: what a cut cannot take away */
    uint64_t size, stable_size, cap;
    Piece *piece; /* written since the last flush */
    unsigned n_pieces, cap_pieces;
    unsigned ops, fail_at, cut_at; /* this one fails; before this one the power goes; 0: none */
    bool cut;
    bool forgets_nothing; /* no cut will come: nothing is kept apart */
    unsigned late_dice;   /* not 0: some requests complete later and on another thread */
} Disk;
static Disk disks[DISKS];
static pthread_mutex_t disk_mutex = PTHREAD_MUTEX_INITIALIZER;

static void disk_reserve(Disk *d, uint64_t size)
{
    uint64_t cap = d->cap ? d->cap : 1 << 18;

    while (cap < size)
        cap *= 2;
    if (cap == d->cap)
        return;
    d->data = xrealloc(d->data, cap);
    memset(d->data + d->cap, 0, cap - d->cap);
    if (!d->forgets_nothing) {
        d->stable = xrealloc(d->stable, cap);
        memset(d->stable + d->cap, 0, cap - d->cap);
    }
    d->cap = cap;
}

static void disk_drop_pieces(Disk *d)
{
    while (d->n_pieces)
        xfree(d->piece[--d->n_pieces].data);
}

static void disk_reset(Disk *d)
{
    disk_drop_pieces(d);
    xfree(d->data);
    xfree(d->stable);
    xfree(d->piece);
    *d = (Disk){0};
}

static void disk_put(Disk *d, uint64_t at, const void *p, uint64_t size)
{
    disk_reserve(d, at + size);
    memcpy(d->data + at, p, size);
    d->size = MAX(d->size, at + size);
    if (d->forgets_nothing)
        return;
    if (d->n_pieces == d->cap_pieces) {
        d->cap_pieces = d->cap_pieces ? d->cap_pieces * 2 : 64;
        d->piece = xrealloc(d->piece, d->cap_pieces * sizeof(Piece));
    }
    d->piece[d->n_pieces++] = (Piece){at, size, memcpy(xalloc(size), p, size)};
}

static void disk_write(Disk *d, const BlockReq *r)
{
    uint8_t *buf = xalloc(r->size), *p = buf;

    for (int i = 0; i < r->n_iov; i++) {
        memcpy(p, r->iov[i].iov_base, r->iov[i].iov_len);
        p += r->iov[i].iov_len;
    }
    disk_put(d, r->at, buf, r->size);
    xfree(buf);
}

static void disk_zero(Disk *d, uint64_t at, uint64_t size)
{
    uint8_t *zeroes = xalloc(size);

    disk_put(d, at, zeroes, size);
    xfree(zeroes);
}

static void disk_read(const Disk *d, const BlockReq *r)
{
    uint64_t at = r->at;

    for (int i = 0; i < r->n_iov; i++) {
        uint64_t len = r->iov[i].iov_len, has = at >= d->size ? 0 : MIN(len, d->size - at);

        if (has)
            memcpy(r->iov[i].iov_base, d->data + at, has);
        memset((char *)r->iov[i].iov_base + has, 0, len - has);
        at += len;
    }
}

static void disk_flush(Disk *d)
{
    if (d->forgets_nothing)
        return;
    disk_reserve(d, d->size);
    for (unsigned i = 0; i < d->n_pieces; i++)
        memcpy(d->stable + d->piece[i].at, d->piece[i].data, d->piece[i].size);
    if (d->size < d->stable_size)
        memset(d->stable + d->size, 0, d->stable_size - d->size);
    d->stable_size = d->size;
    disk_drop_pieces(d);
}

/* What is left of @from after a cut, in @to; @roll: dice. */
static void disk_cut(const Disk *from, Disk *to, unsigned (*roll)(void *arg), void *arg)
{
    disk_reset(to);
    disk_reserve(to, MAX(from->size, from->stable_size));
    if (from->stable_size)
        memcpy(to->data, from->stable, from->stable_size);
    to->size = from->stable_size;
    for (unsigned i = 0; i < from->n_pieces; i++) {
        const Piece *p = &from->piece[i];
        unsigned how = roll(arg) % 4; /* none, all, some of its sectors, all */
        uint64_t len;

        for (uint64_t k = 0; k < p->size && how; k += len) {
            len = MIN(p->size - k, DISK_SECTOR - (p->at + k) % DISK_SECTOR);
            if (how == 2 && roll(arg) % 2)
                continue;
            disk_reserve(to, p->at + k + len);
            memcpy(to->data + p->at + k, p->data + k, len);
            to->size = MAX(to->size, p->at + k + len);
        }
    }
    memcpy(to->stable, to->data, to->cap);
    to->stable_size = to->size;
}

/* --- the driver --- */

typedef struct RamOptions {
    uint32_t disk;
} RamOptions;
static const Field ram_fields[] = {PROP(RamOptions, disk, "disk", 0, "which")};
static STRUCT_TYPE(ram_type, RamOptions, ram_fields);

static unsigned roll_rand(void *arg)
{
    (void)arg;
    return (unsigned)rand();
}

static int disk_do(Disk *d, const BlockReq *r)
{
    d->ops++;
    if (d->ops == d->cut_at) {
        disk_cut(d, d + 1, roll_rand, NULL);
        d->cut = true;
    }
    if (d->ops == d->fail_at)
        return -EIO;
    switch (r->op) {
    case BLOCK_READ: disk_read(d, r); break;
    case BLOCK_WRITE: disk_write(d, r); break;
    case BLOCK_ZERO: disk_zero(d, r->at, r->size); break;
    case BLOCK_FLUSH: disk_flush(d); break;
    default: break;
    }
    if (r->flags & BLOCK_FUA)
        disk_flush(d);
    return 0;
}

static void ram_do(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;
    Disk *d = *(Disk **)n->state;
    int rc;

    pthread_mutex_lock(&disk_mutex);
    rc = disk_do(d, r);
    n->size = d->size;
    pthread_mutex_unlock(&disk_mutex);
    blockreq_complete(r, rc);
}

static void ram_submit(BlockNode *n, BlockReq *r)
{
    Disk *d = *(Disk **)n->state;
    bool late = false;

    pthread_mutex_lock(&disk_mutex);
    if (d->late_dice && r->ctx) {
        d->late_dice = (d->late_dice * 1664525 + 1013904223) | 1;
        late = d->late_dice >> 8 & 1;
    }
    pthread_mutex_unlock(&disk_mutex);
    if (late)
        block_work(n->graph, ram_do, r);
    else
        ram_do(r);
}

static bool ram_open(BlockNode *n, const void *options, Error *err)
{
    const RamOptions *o = options;

    (void)err;
    *(Disk **)n->state = &disks[o->disk];
    n->size = disks[o->disk].size;
    n->zero_init = true;
    n->filename = xasprintf("ram:%u", o->disk);
    return true;
}

static bool ram_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    Disk *d = *(Disk **)n->state;

    (void)exact;
    if (p != PREALLOC_OFF && size < d->size)
        return error_set(err, "Preallocation can't be used for shrinking");
    pthread_mutex_lock(&disk_mutex);
    disk_reserve(d, size);
    if (size < d->size)
        disk_zero(d, size, d->size - size);
    n->size = d->size = size;
    pthread_mutex_unlock(&disk_mutex);
    return true;
}

static BlockDriver ram_driver = {
    .name = "test-ram",
    .doc = "disk in memory",
    .kind = DRIVER_PROTOCOL,
    .options = &ram_type,
    .state_size = sizeof(Disk *),
    .open = ram_open,
    .submit = ram_submit,
    .truncate = ram_truncate,
};
BLOCK_DRIVER_REGISTER(ram_driver)

#endif
