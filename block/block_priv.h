/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_priv - what the files of the block core share
 */
#ifndef BLOCK_BLOCK_PRIV_H
#define BLOCK_BLOCK_PRIV_H

#include "base/alloc.h"
#include "block/block.h"

enum {                 /* BlockReq.how */
       HOW_INLINE = 1, /* the core's own: done() is called by whoever completes it, at once */
       HOW_WAIT = 2,   /* a thread waits for state */
};

/* --- ctx.c --- */

/* r->step(r) will run on the thread of @c, from its loop or poll.  Any thread. */
void ctx_push(BlockCtx *c, BlockReq *r);
void ctx_wake(BlockCtx *c);
bool ctx_is_mine(const BlockCtx *c);
Loop *ctx_loop(const BlockCtx *c);        /* NULL: none */
bool ctx_is_dedicated(const BlockCtx *c); /* its thread serves nothing else and may block */
struct Ring *ctx_ring(BlockCtx *c);       /* NULL: no io_uring here, or not this thread's */
void ctx_enter(BlockCtx *c);              /* a request came ... */
void ctx_leave(BlockCtx *c);              /* ... and went */
/* Sleep until something was pushed or completed, then run it. */
void ctx_wait(BlockCtx *c);

/* --- ring.c: io_uring --- */

typedef struct Ring Ring;
/* NULL: not available; @event >= 0: its becoming readable ends ring_wait() */
Ring *ring_new(int event);
void ring_free(Ring *r);
int ring_fd(const Ring *r);
/* Queue a transfer or flush of @fd; @done gets bytes or -errno.  False: full, do it otherwise. */
bool ring_queue(Ring *r, BlockReq *req, int fd, uint64_t at,
                void (*done)(BlockReq *req, int result));
void ring_submit(Ring *r);   /* what is queued goes to the kernel */
unsigned ring_reap(Ring *r); /* calls done() of what is completed */
bool ring_has_completed(Ring *r);
void ring_wait(Ring *r); /* submit, and sleep until something completes or @event is readable */

/* --- work.c --- */

typedef struct Workers Workers;
Workers *workers_new(void);
void workers_free(Workers *w); /* waits for all */
void workers_run(Workers *w, void (*fn)(void *arg), void *arg);
/* Around a wait for another request: the pool may grow meanwhile.  Nothing on other threads. */
void worker_waits(bool begin);

/* --- gate.c --- */

typedef struct Gate Gate;
typedef struct GateHold {
    struct GateHold *next, *prev, *told_next;
    uint64_t at, end;
    bool exclusive;
    bool chosen; /* granted, or about to be told so */
    _Atomic int granted;
    void (*on_grant)(struct GateHold *h); /* on the thread that drops; NULL: gate_take_wait */
    void *owner;
} GateHold;

Gate *gate_new(void);
void gate_free(Gate *g);
bool gate_take(Gate *g, GateHold *h); /* false: on_grant() follows */
void gate_take_wait(Gate *g, GateHold *h);
void gate_drop(Gate *g, GateHold *h);

/* --- request.c --- */

void futex_wait(_Atomic int *at, int while_value);
void futex_wake(_Atomic int *at);
/* The part [skip, skip + size) of a vector; @out has room for @n.  How many were used. */
int iov_slice(const struct iovec *iov, int n, uint64_t skip, uint64_t size, struct iovec *out);
void iov_zero(const struct iovec *iov, int n, uint64_t skip, uint64_t size);
void iov_gather(const struct iovec *iov, int n, uint64_t skip, void *to, size_t size);
void iov_scatter(const struct iovec *iov, int n, uint64_t skip, const void *from, size_t size);
void node_grow(BlockNode *n, const BlockReq *r); /* by what is passed on; node_forward() does it */
static inline bool op_modifies(BlockOp op)
{
    return op == BLOCK_WRITE || op == BLOCK_ZERO || op == BLOCK_DISCARD;
}

/* --- format.c --- */

void format_submit(BlockNode *n, BlockReq *r);
int format_flush(BlockNode *n); /* metadata, then the children; waits */

/* --- align.c --- */

bool align_needed(const BlockNode *n, const BlockReq *r);
void align_submit(BlockNode *n, BlockReq *r);

/* --- graph.c, port.c --- */

struct BlockGraph {
    BlockCtx *ctx;
    Objects *objects;
    int (*opener)(void *arg, const char *path, int flags, unsigned mode); /* NULL: open(2) */
    void *opener_arg;
    void (*watcher)(void *arg, BlockNode *n, const BlockCorruption *c); /* NULL: nobody */
    void *watcher_arg;
    Periodic *periodics;
    Workers *workers;
    BlockNode *nodes;
    BlockPort *ports;
    struct ThrottleGroup *throttles; /* those with names */
    unsigned serial;                 /* of generated names */
    Loop *service;
    pthread_t service_thread;
    unsigned drains;
    _Atomic unsigned waiters; /* for ports to become quiet */
};

struct BlockPort {
    BlockGraph *graph;
    char *name;
    BlockChild *link; /* NULL: no medium */
    BlockNode *_Atomic node;
    unsigned perm, shared;
    bool writethrough, exempt;
    struct ThrottleGroup *throttle; /* NULL: no limits */
    void *owner;
    void (*resized)(void *owner);
    _Atomic unsigned in_flight;
    _Atomic bool quiet; /* being drained */
    unsigned drains;
    Lock lock; /* of the statistics and of what waits */
    BlockReq *held, **held_tail;
    BlockStats stats;
    BlockPort *next;
};

void port_go(BlockPort *p, BlockReq *r); /* in, or held while the port is drained */
void port_finished(BlockPort *p);        /* one request less; any thread */
bool child_attach(BlockNode *node, BlockNode *parent, BlockPort *port, const char *name,
                  unsigned role, unsigned perm, unsigned shared, BlockChild **out, Error *err);
void child_detach(BlockChild *c);
bool child_set_perm(BlockChild *c, unsigned perm, unsigned shared, Error *err);
bool node_update_perm(BlockNode *n, Error *err);
void node_resized(BlockNode *n); /* tell parents and ports */
const char *perm_names(unsigned perm, char *buf, size_t size);

#endif
