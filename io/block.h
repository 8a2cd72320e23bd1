/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block - the contract between disk images and those who use them
 *
 * A user (device, job, export, tool) holds a BlockPort on the top node of a chain.  It owns each
 * BlockReq and its buffers from block_submit() until done(), which runs on the thread of req->ctx
 * and never inside block_submit().  All offsets and sizes are bytes.
 */
#ifndef IO_BLOCK_H
#define IO_BLOCK_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/error.h"
#include "base/loop.h"

typedef struct BlockNode BlockNode;
typedef struct BlockCtx BlockCtx;
typedef struct BlockPort BlockPort;
typedef struct BlockGraph BlockGraph;
typedef struct BlockReq BlockReq;

typedef enum BlockOp {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_ZERO,    /* reads as zeroes afterwards */
    BLOCK_DISCARD, /* contents no longer matter; a hint */
    BLOCK_FLUSH,   /* what was done() before is on stable storage; at and size are 0 */
    BLOCK_OPS
} BlockOp;

enum {                        /* BlockReq.flags */
       BLOCK_FUA = 1,         /* write, zero: on stable storage when done */
       BLOCK_MAY_UNMAP = 2,   /* zero: may deallocate */
       BLOCK_NO_FALLBACK = 4, /* zero: -ENOTSUP instead of writing zeroes the slow way */
       BLOCK_COMPRESS = 8,    /* write: compressed; whole clusters */
       /* write, without a vector: what comes from a backing file is copied here */
       BLOCK_UNCHANGED = 16,
};

struct BlockReq {
    BlockOp op;
    uint32_t flags;
    uint64_t at, size;
    const struct iovec *iov; /* read, write: exactly size bytes */
    int n_iov;
    int result;    /* when done: 0 or -errno */
    BlockCtx *ctx; /* whose thread runs done(); NULL: the caller waits (block_wait) */
    void (*done)(BlockReq *r);
    void *owner; /* the submitter's */

    /* The block layer's own until done(). */
    BlockPort *port;
    BlockNode *node;
    BlockReq *next;
    BlockReq *parent;
    void (*step)(BlockReq *r); /* what ctx calls next */
    void *doing;               /* of the node that works on it */
    _Atomic int state, pending;
    uint32_t how;
    int64_t since; /* ns, for statistics */
    struct iovec one;
    uint64_t word[4];
};

/* --- completion contexts: one per thread that submits and does not wait --- */

/* With a loop: completions run from it, on its thread.  Without: from blockctx_poll() of the thread
 * that calls it; such a thread serves nobody else, so buffered I/O may happen in place. */
BlockCtx *blockctx_new(Loop *loop, Error *err);
void blockctx_free(BlockCtx *c);
/* Run what is completed, without other events of the loop; @wait: at least one, if any is in
 * flight. Also for draining on a loop's own thread. */
bool blockctx_poll(BlockCtx *c, bool wait);

/* --- ports --- */

enum {                /* permissions of a user, and what it lets others have */
       PERM_READ = 1, /* consistent read */
       PERM_WRITE = 2,
       PERM_WRITE_UNCHANGED = 4,
       PERM_RESIZE = 8,
       PERM_ALL = 15
};

typedef struct BlockStats {
    uint64_t ops[BLOCK_OPS], bytes[BLOCK_OPS], failed[BLOCK_OPS], ns[BLOCK_OPS];
    uint64_t highest_write; /* end of the last byte ever written */
    int64_t idle_since;
} BlockStats;

/* Main thread.  @name: the drive's or device's, for messages and QMP; may be NULL.  @n may be
 * NULL: no medium. */
BlockPort *block_port_new(BlockGraph *g, const char *name, BlockNode *n, unsigned perm,
                          unsigned shared, Error *err);
void block_port_free(BlockPort *p);                               /* drains */
bool block_port_set_node(BlockPort *p, BlockNode *n, Error *err); /* another medium; NULL ejects */
BlockNode *block_port_node(const BlockPort *p);
const char *block_port_name(const BlockPort *p);
void *block_port_owner(const BlockPort *p); /* the device */
void block_port_set_owner(BlockPort *p, void *owner, void (*resized)(void *owner));
void block_port_set_writethrough(BlockPort *p, bool on); /* every write is BLOCK_FUA */
typedef struct ThrottleLimits ThrottleLimits;
/* block/throttle.h; none: no limits any more.  @group: they are those of all ports in it; NULL:
 * its group or, if it is in none, the one that has the port's name. */
bool block_port_throttle(BlockPort *p, const char *group, const ThrottleLimits *l, Error *err);
/* the group's name; NULL: no limits */
const char *block_port_limits(BlockPort *p, ThrottleLimits *out);
/* not drained any more: its user edits the graph, and nothing of it is in flight */
void block_port_set_exempt(BlockPort *p);
const BlockStats *block_port_stats(const BlockPort *p);
bool block_port_set_perm(BlockPort *p, unsigned perm, unsigned shared, Error *err);

/* Any thread (of req->ctx).  Out of bounds: -EIO; read-only: -EPERM; no medium: -ENOMEDIUM. */
void block_submit(BlockPort *p, BlockReq *r);
int block_wait(BlockPort *p, BlockReq *r); /* with r->ctx NULL: submit, wait, return the result */
uint64_t block_size(const BlockPort *p);   /* bytes; 0 without a medium */
bool block_is_read_only(const BlockPort *p);

/* For threads that work on the nodes below @p (and @q, if not NULL) without requests: the graph
 * stays as it is from hold to release.  Waits while a port is drained.  Meanwhile no requests
 * through the ports. */
void block_port_hold(BlockPort *p, BlockPort *q);
void block_port_release(BlockPort *p, BlockPort *q);

/* The same, waiting; a thread that may block.  0 or -errno. */
int block_read(BlockPort *p, uint64_t at, void *buf, size_t size);
int block_write(BlockPort *p, uint64_t at, const void *buf, size_t size, unsigned flags);
int block_zero(BlockPort *p, uint64_t at, uint64_t size, unsigned flags);
int block_discard(BlockPort *p, uint64_t at, uint64_t size);
int block_flush(BlockPort *p);

#endif
