/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctx - where requests complete: one context for each thread that submits without waiting
 *
 * Invariants
 *  1. `ready` belongs to the owner's thread; other threads push to `remote` and write the event
 *     once until it was read.
 *  2. Ring entries are prepared by the owner only, and submitted before it sleeps.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/block_priv.h"

struct BlockCtx {
    Loop *loop;
    int event;
    Ring *ring;
    _Atomic uintptr_t owner; /* pthread_self(); 0: nobody yet */
    BlockReq *ready, **ready_tail;
    BlockReq *_Atomic remote;
    _Atomic bool woken;
    _Atomic unsigned in_flight;
};

static void ctx_event(void *arg, int fd, uint32_t events);

/* --- from other threads --- */

bool ctx_is_mine(const BlockCtx *c)
{
    return atomic_load_explicit(&c->owner, memory_order_relaxed) == (uintptr_t)pthread_self();
}

Loop *ctx_loop(const BlockCtx *c)
{
    return c ? c->loop : NULL;
}

bool ctx_is_dedicated(const BlockCtx *c)
{
    return !c->loop;
}

Ring *ctx_ring(BlockCtx *c)
{
    return ctx_is_mine(c) ? c->ring : NULL;
}

void ctx_wake(BlockCtx *c)
{
    uint64_t one = 1;

    if (!atomic_exchange(&c->woken, true)) {
        ssize_t n = write(c->event, &one, sizeof one);

        (void)n;
    }
}

void ctx_push(BlockCtx *c, BlockReq *r)
{
    r->next = NULL;
    if (ctx_is_mine(c)) {
        *c->ready_tail = r;
        c->ready_tail = &r->next;
        return;
    }
    r->next = atomic_load(&c->remote);
    while (!atomic_compare_exchange_weak(&c->remote, &r->next, r))
        continue;
    ctx_wake(c);
}

void ctx_enter(BlockCtx *c)
{
    atomic_fetch_add_explicit(&c->in_flight, 1, memory_order_relaxed);
}

void ctx_leave(BlockCtx *c)
{
    atomic_fetch_sub_explicit(&c->in_flight, 1, memory_order_relaxed);
}

/* --- on the owner's thread --- */

static void ctx_take_remote(BlockCtx *c)
{
    BlockReq *r = atomic_exchange(&c->remote, NULL), *list = NULL;

    while (r) { /* a stack: the oldest is last */
        BlockReq *next = r->next;

        r->next = list;
        list = r;
        r = next;
    }
    for (; list; list = r) {
        r = list->next;
        list->next = NULL;
        *c->ready_tail = list;
        c->ready_tail = &list->next;
    }
}

static bool ctx_run(BlockCtx *c)
{
    bool any = false;

    if (c->ring)
        any = ring_reap(c->ring) > 0;
    if (atomic_load_explicit(&c->remote, memory_order_relaxed))
        ctx_take_remote(c);
    while (c->ready) {
        BlockReq *r = c->ready;

        c->ready = r->next;
        if (!c->ready)
            c->ready_tail = &c->ready;
        any = true;
        r->step(r);
    }
    return any;
}

static void ctx_take_event(BlockCtx *c)
{
    uint64_t count;

    if (atomic_load(&c->woken)) {
        ssize_t n = read(c->event, &count, sizeof count);

        (void)n;
        atomic_store(&c->woken, false);
    }
}

static void ctx_sleep(BlockCtx *c)
{
    struct pollfd p[2] = {{.fd = c->event, .events = POLLIN}};
    nfds_t n = 1;

    if (c->ring && !c->loop) {
        ring_wait(c->ring);
        return;
    }
    if (c->ring) {
        ring_submit(c->ring);
        p[n++] = (struct pollfd){.fd = ring_fd(c->ring), .events = POLLIN};
    }
    poll(p, n, -1);
}

void ctx_wait(BlockCtx *c)
{
    atomic_store(&c->owner, (uintptr_t)pthread_self());
    if (c->ring)
        ring_submit(c->ring);
    if (ctx_run(c))
        return;
    if (!atomic_load(&c->remote))
        ctx_sleep(c);
    ctx_take_event(c);
    ctx_run(c);
}

bool blockctx_poll(BlockCtx *c, bool wait)
{
    bool any;

    atomic_store(&c->owner, (uintptr_t)pthread_self());
    if (c->ring)
        ring_submit(c->ring);
    ctx_take_event(c);
    any = ctx_run(c);
    while (!any && wait && atomic_load(&c->in_flight)) {
        if (!atomic_load(&c->remote))
            ctx_sleep(c);
        ctx_take_event(c);
        any = ctx_run(c);
    }
    return any;
}

/* Before the loop sleeps. */
static int64_t ctx_next(void *arg)
{
    BlockCtx *c = arg;

    atomic_store_explicit(&c->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
    if (c->ring)
        ring_submit(c->ring);
    return c->ready || (c->ring && ring_has_completed(c->ring)) ? 0 : -1;
}

static void ctx_fire(void *arg)
{
    ctx_run(arg);
}

static void ctx_event(void *arg, int fd, uint32_t events)
{
    BlockCtx *c = arg;

    (void)events;
    if (fd == c->event)
        ctx_take_event(c);
}

/* --- life --- */

BlockCtx *blockctx_new(Loop *loop, Error *err)
{
    BlockCtx *c = xnew(BlockCtx);

    c->loop = loop;
    c->ready_tail = &c->ready;
    c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->event < 0) {
        error_set_errno(err, errno, "cannot make an eventfd");
        xfree(c);
        return NULL;
    }
    if (!loop)
        atomic_store(&c->owner, (uintptr_t)pthread_self());
    c->ring = ring_new(loop ? -1 : c->event);
    if (loop) {
        loop_watch(loop, c->event, LOOP_READ, ctx_event, c);
        if (c->ring)
            loop_watch(loop, ring_fd(c->ring), LOOP_READ, ctx_event, c);
        loop_timers(loop, ctx_next, ctx_fire, c);
    }
    return c;
}

void blockctx_free(BlockCtx *c)
{
    if (!c)
        return;
    while (atomic_load(&c->in_flight))
        blockctx_poll(c, true);
    if (c->loop) {
        loop_timers(c->loop, NULL, NULL, c);
        loop_watch(c->loop, c->event, 0, NULL, NULL);
        if (c->ring)
            loop_watch(c->loop, ring_fd(c->ring), 0, NULL, NULL);
    }
    if (c->ring)
        ring_free(c->ring);
    close(c->event);
    xfree(c);
}
