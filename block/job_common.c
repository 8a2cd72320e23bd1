/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_common - what block jobs share
 */
#include "block/jobs.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/zero.h"

BlockPort *job_port(BlockNode *n, unsigned perm, unsigned shared, Error *err)
{
    return block_port_new(n->graph, NULL, n, perm, shared, err);
}

Job *block_job_new(Jobs *s, const JobClass *cls, const BlockJobArgs *a, Error *err)
{
    Job *j = job_new(s, cls, a->id, a->txn, a->auto_finalize, a->auto_dismiss, err);

    if (j) {
        j->speed = a->speed;
        j->on_error = a->on_error;
        j->on_target_error = a->on_target_error;
    }
    return j;
}

/* The first part that is alike. */
static int copy_part(BlockNode *from, BlockNode *to, uint64_t at, uint64_t *size, void *buf,
                     uint32_t flags, bool *reading)
{
    struct iovec iov = {buf, 0};
    BlockNode *in;
    Extent e;
    int rc = node_status_above(from, NULL, at, *size, &e, &in);

    *reading = rc;
    if (rc)
        return rc;
    *size = MIN(*size, e.size);
    if (e.kind == EXTENT_ZERO)
        return node_zero(to, at, *size, flags & BLOCK_MAY_UNMAP);
    *size = iov.iov_len = MIN(*size, (uint64_t)JOB_CHUNK);
    rc = node_read(from, at, buf, *size);
    *reading = rc;
    if (rc)
        return rc;
    if (is_zero(buf, *size))
        return node_zero(to, at, *size, flags & BLOCK_MAY_UNMAP);
    return node_io(to, BLOCK_WRITE, at, &iov, 1, *size, flags & BLOCK_COMPRESS);
}

int job_copy_held(BlockNode *from, BlockNode *to, uint64_t at, uint64_t size, void *buf,
                  uint32_t flags, bool *reading)
{
    int rc = 0;

    for (uint64_t len = size; size && !rc; at += len, size -= len, len = size)
        rc = copy_part(from, to, at, &len, buf, flags, reading);
    return rc;
}

int job_copy(BlockPort *from, BlockPort *to, uint64_t at, uint64_t size, void *buf, uint32_t flags,
             bool *reading)
{
    int rc = 0;

    while (size && !rc) {
        uint64_t len = MIN(size, (uint64_t)JOB_CHUNK);

        block_port_hold(from, to);
        rc = copy_part(block_port_node(from), block_port_node(to), at, &len, buf, flags, reading);
        block_port_release(from, to);
        at += len;
        size -= len;
    }
    return rc;
}

int job_status_above(BlockPort *p, BlockNode *top, BlockNode *base, uint64_t at, uint64_t size,
                     Extent *out, BlockNode **in)
{
    int rc;

    block_port_hold(p, NULL);
    rc = node_status_above(top, base, at, size, out, in);
    block_port_release(p, NULL);
    return rc;
}

/* An overlay in the middle of the chain is open for reading only. */
static bool record_backing(BlockNode *n, const char *name, const char *format, Error *err)
{
    bool was_ro = node_is_read_only(n), ok;

    if (!n->drv->set_backing)
        return true;
    if (was_ro && !node_reopen(n, NULL, n->flags & ~(uint32_t)NODE_READ_ONLY, err))
        return false;
    ok = n->drv->set_backing(n, name, format, err);
    if (was_ro)
        node_reopen(n, NULL, n->flags | NODE_READ_ONLY, NULL);
    return ok;
}

void job_change_backing(Job *j, BlockNode *overlay, BlockNode *base, const char *name)
{
    if (!name && base)
        name = base->filename;
    graph_drain_begin(overlay->graph, NULL);
    if (!record_backing(overlay, name, base ? base->drv->name : NULL, &j->err))
        j->result = -EIO;
    else if (!node_set_child(overlay, "backing", base, &j->err))
        j->result = -EPERM;
    graph_drain_end(overlay->graph, NULL);
}

bool block_op_blocked(const BlockNode *n, Error *err)
{
    return n->op_blocker && !error_set(err, "Node '%s' is busy: %s", n->name, n->op_blocker);
}
