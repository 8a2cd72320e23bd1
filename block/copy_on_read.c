/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy_on_read - a filter: what is read from a backing file stays in the image on top
 */
#include "block/block_priv.h"

static bool cor_open(BlockNode *n, const void *options, Error *err)
{
    (void)options, (void)err;
    n->size = n->file->size;
    n->cluster_size = n->file->cluster_size;
    return true;
}

static int populate(BlockNode *top, uint64_t at, uint64_t size)
{
    uint64_t end = at + size;

    while (at < end) {
        Extent e;
        int rc = node_status(top, at, end - at, &e);

        if (!rc && e.kind == EXTENT_UNALLOCATED)
            rc = node_io(top, BLOCK_WRITE, at, NULL, 0, e.size, BLOCK_UNCHANGED);
        if (rc)
            return rc;
        at += e.size;
    }
    return 0;
}

static void cor_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node, *top = node_skip_filters(n);

    if (!node_is_read_only(top))
        populate(top, r->at, r->size); /* a full disk does not make the read fail */
    blockreq_complete(r, node_io(n->file, BLOCK_READ, r->at, r->iov, r->n_iov, r->size, 0));
}

static void cor_submit(BlockNode *n, BlockReq *r)
{
    if (r->op == BLOCK_READ)
        blockreq_work(r, cor_run);
    else
        node_forward(n->file, r, 0);
}

static const ChildSlot cor_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};

static BlockDriver cor_driver = {
    .name = "copy-on-read",
    .doc = "keeps what is read from backing files",
    .kind = DRIVER_FILTER,
    .children = cor_children,
    .open = cor_open,
    .submit = cor_submit,
};
BLOCK_DRIVER_REGISTER(cor_driver)
