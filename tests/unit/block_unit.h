/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_unit - a toy format and a place for images, for tests of the block layer
 *
 * The toy keeps its table in memory and says "not now" at random, so each way through the engine is
 * taken.
 */
#ifndef TESTS_UNIT_BLOCK_UNIT_H
#define TESTS_UNIT_BLOCK_UNIT_H

#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "block/block.h"
#include "unit.h"

/* --- a toy format: clusters of 4 KiB, the table in memory --- */

enum { CLUSTER = 4096, CLUSTERS = 64, SIZE = CLUSTERS * CLUSTER, GONE = -1, ZERO = -2 };

typedef struct Toy {
    int64_t at[CLUSTERS]; /* offset in the file, GONE or ZERO */
    uint64_t end;
    unsigned dice, in_driver;
} Toy;

static Toy *toy_of(BlockNode *n)
{
    return n->state;
}

static bool toy_open(BlockNode *n, const void *options, Error *err)
{
    Toy *t = toy_of(n);

    (void)options, (void)err;
    for (unsigned i = 0; i < CLUSTERS; i++)
        t->at[i] = GONE;
    n->size = SIZE;
    n->cluster_size = CLUSTER;
    return true;
}

static bool not_now(BlockNode *n, bool may_block)
{
    Toy *t = toy_of(n);

    assert(lock_held(&n->meta)); /* on any thread: Check's own are for the test's */
    t->dice = t->dice * 1103515245 + 12345;
    return !may_block && (t->dice >> 16) % 4 == 0;
}

static int toy_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    uint64_t c = at / CLUSTER;
    int64_t where = toy_of(n)->at[c];

    (void)size;
    if (not_now(n, may_block))
        return -EAGAIN;
    out->kind = where == GONE ? EXTENT_UNALLOCATED : where == ZERO ? EXTENT_ZERO : EXTENT_DATA;
    out->flags = where >= 0 ? EXTENT_WRITABLE : 0;
    out->at = c * CLUSTER;
    out->size = CLUSTER;
    out->child_at = where >= 0 ? (uint64_t)where : 0;
    return 0;
}

static int toy_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    Toy *t = toy_of(n);

    (void)size;
    if (not_now(n, may_block))
        return -EAGAIN;
    *out = (Extent){.at = at / CLUSTER * CLUSTER, .size = CLUSTER, .child_at = t->end};
    out->flags = t->dice & 0x10000 ? EXTENT_FRESH : 0;
    t->end += CLUSTER;
    return 0;
}

static int toy_link(BlockNode *n, Extent *e, bool may_block)
{
    if (not_now(n, may_block))
        return -EAGAIN;
    toy_of(n)->at[e->at / CLUSTER] = (int64_t)e->child_at;
    return 0;
}

static void toy_cancel(BlockNode *n, Extent *e)
{
    (void)n, (void)e;
}

static int toy_zero(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags)
{
    (void)flags;
    assert(at % CLUSTER == 0 && size % CLUSTER == 0);
    for (uint64_t c = at / CLUSTER; c < (at + size) / CLUSTER; c++)
        toy_of(n)->at[c] = ZERO;
    return 0;
}

static bool toy_set_backing(BlockNode *n, const char *file, const char *format, Error *err)
{
    (void)format, (void)err;
    xfree(n->backing_file);
    n->backing_file = xstrdup(file);
    return true;
}

static const ChildSlot toy_children[] = {
    {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true},
    {"backing", ROLE_BACKING, false},
    {NULL, 0, false},
};

static BlockDriver toy_driver = {
    .name = "toy",
    .doc = "a format for tests",
    .kind = DRIVER_FORMAT,
    .children = toy_children,
    .state_size = sizeof(Toy),
    .open = toy_open,
    .map = toy_map,
    .allocate = toy_allocate,
    .link = toy_link,
    .cancel = toy_cancel,
    .zero = toy_zero,
    .set_backing = toy_set_backing,
};
BLOCK_DRIVER_REGISTER(toy_driver)

/* --- a place for images --- */

typedef struct Place {
    char dir[64], path[8][96];
    BlockCtx *ctx;
    BlockGraph *g;
    Error err;
} Place;

static void place_make(Place *p)
{
    memset(p, 0, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/test_block.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(p->dir));
    for (unsigned i = 0; i < COUNT_OF(p->path); i++) {
        snprintf(p->path[i], sizeof p->path[i], "%s/%u", p->dir, i);
        close(open(p->path[i], O_CREAT | O_RDWR, 0600));
    }
    p->ctx = blockctx_new(NULL, NULL);
    p->g = graph_new(p->ctx, NULL);
}

static void place_clear(Place *p)
{
    graph_free(p->g);
    blockctx_free(p->ctx);
    for (unsigned i = 0; i < COUNT_OF(p->path); i++)
        unlink(p->path[i]);
    rmdir(p->dir);
}

UNUSED static BlockPort *port_of(Place *p, BlockNode *n, unsigned perm)
{
    BlockPort *port;

    ck_assert_msg(n != NULL, "%s", p->err.msg);
    port = block_port_new(p->g, NULL, n, perm, PERM_READ | PERM_WRITE_UNCHANGED, &p->err);
    ck_assert_msg(port != NULL, "%s", p->err.msg);
    node_unref(n);
    return port;
}

UNUSED static BlockNode *toy(Place *p, unsigned file, BlockNode *backing)
{
    json_t *o = json_pack("{ss s{ssss}}", "driver", "toy", "file", "driver", "file", "filename",
                          p->path[file]);
    BlockNode *n;

    if (backing)
        json_object_set_new(o, "backing", json_string(backing->name));
    n = node_open(p->g, o, 0, &p->err);
    ck_assert_msg(n != NULL, "%s", p->err.msg);
    return n;
}

UNUSED static BlockNode *raw(Place *p, unsigned file, uint64_t size, uint32_t flags)
{
    ck_assert_int_eq(truncate(p->path[file], (off_t)size), 0);
    return node_open_image(p->g, p->path[file], "raw", NULL, flags, &p->err);
}

#endif
