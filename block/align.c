/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * align - requests below what a host file takes (O_DIRECT, 4k disks): by a bounce buffer, on a
 * worker
 *
 * Unaligned writes also write what they read around them; the gate of the node keeps them apart
 * from one another.  Aligned ones next to them come from the same user, who orders what overlaps in
 * a block.
 */
#include <errno.h>

#include "block/block_priv.h"

enum { BOUNCE_MAX = 1 << 20 };

typedef struct Aligned {
    BlockNode *n;
    BlockReq *r;
    GateHold hold;
} Aligned;

bool align_needed(const BlockNode *n, const BlockReq *r)
{
    uint64_t bits = r->at | r->size;

    if (r->op == BLOCK_FLUSH || r->op == BLOCK_DISCARD)
        return false;
    /* Where buffers are in memory matters to host files only. */
    if (n->drv->kind == DRIVER_PROTOCOL && (r->op == BLOCK_WRITE || r->op == BLOCK_READ))
        for (int i = 0; i < r->n_iov; i++)
            bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
    return bits & (n->request_align - 1);
}

/* One aligned transfer; this thread may block, so it is complete on return or soon after. */
static int aligned_io(BlockNode *n, BlockOp op, uint64_t at, void *buf, size_t size)
{
    struct iovec iov = {buf, size};

    return node_io(n, op, at, &iov, 1, size, 0);
}

static int bounce_piece(Aligned *a, uint64_t at, uint64_t size, uint64_t skip, void *buf)
{
    BlockReq *r = a->r;
    uint64_t align = a->n->request_align, from = ALIGN_DOWN(at, align);
    uint64_t len = ALIGN_UP(at + size, align) - from;
    int rc;

    if (r->op == BLOCK_READ) {
        rc = aligned_io(a->n, BLOCK_READ, from, buf, len);
        if (!rc)
            iov_scatter(r->iov, r->n_iov, skip, (char *)buf + (at - from), size);
        return rc;
    }
    if (from != at || len != size) {
        rc = aligned_io(a->n, BLOCK_READ, from, buf, len);
        if (rc)
            return rc;
    }
    if (r->op == BLOCK_WRITE)
        iov_gather(r->iov, r->n_iov, skip, (char *)buf + (at - from), size);
    else
        memset((char *)buf + (at - from), 0, size);
    return aligned_io(a->n, BLOCK_WRITE, from, buf, len);
}

static void bounce_run(void *arg)
{
    Aligned *a = arg;
    BlockReq *r = a->r;
    uint64_t align = a->n->request_align;
    void *buf = xalloc_aligned(MAX(align, 4096u), BOUNCE_MAX + 2 * align);
    int rc = 0;

    a->hold.at = ALIGN_DOWN(r->at, align);
    a->hold.end = ALIGN_UP(r->at + r->size, align);
    a->hold.exclusive = op_modifies(r->op);
    gate_take_wait(a->n->align_gate, &a->hold);
    for (uint64_t done = 0; done < r->size && !rc;) {
        uint64_t len = MIN(r->size - done, (uint64_t)BOUNCE_MAX - (r->at + done) % align);

        rc = bounce_piece(a, r->at + done, len, done, buf);
        done += len;
    }
    gate_drop(a->n->align_gate, &a->hold);
    xfree(buf);
    if (!rc && r->flags & BLOCK_FUA)
        rc = node_flush(a->n);
    blockreq_complete(r, rc);
    xfree(a);
}

void align_submit(BlockNode *n, BlockReq *r)
{
    Aligned *a = xnew(Aligned);

    a->n = n;
    a->r = r;
    if (r->ctx)
        block_work(n->graph, bounce_run, a);
    else
        bounce_run(a);
}
