/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * port - a user's hold on the top node of a chain, and draining
 */
#include <errno.h>
#include <time.h>

#include "block/block_priv.h"
#include "block/throttle.h"

static void port_quiet(BlockPort *p);
static void port_loud(BlockPort *p);

BlockPort *block_port_new(BlockGraph *g, const char *name, BlockNode *n, unsigned perm,
                          unsigned shared, Error *err)
{
    BlockPort *p = xnew(BlockPort), **at = &g->ports;

    p->graph = g;
    p->name = xstrdup(name);
    p->perm = perm;
    p->shared = shared;
    p->held_tail = &p->held;
    lock_init(&p->lock, "block port", RANK_QUEUE);
    while (*at)
        at = &(*at)->next;
    *at = p;
    for (unsigned i = 0; i < g->drains; i++)
        port_quiet(p);
    if (n && !block_port_set_node(p, n, err)) {
        block_port_free(p);
        return NULL;
    }
    return p;
}

void block_port_free(BlockPort *p)
{
    BlockPort **at;

    if (!p)
        return;
    block_port_set_node(p, NULL, NULL);
    at = &p->graph->ports;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    throttle_group_unref(p->throttle);
    lock_fini(&p->lock);
    xfree(p->name);
    xfree(p);
}

bool block_port_set_node(BlockPort *p, BlockNode *n, Error *err)
{
    BlockChild *new = NULL;

    if (n && !child_attach(n, NULL, p, "root", ROLE_DATA, p->perm, p->shared, &new, err))
        return false;
    port_quiet(p);
    if (p->link)
        child_detach(p->link);
    p->link = new;
    p->node = n;
    port_loud(p);
    return true;
}

bool block_port_set_perm(BlockPort *p, unsigned perm, unsigned shared, Error *err)
{
    if (p->link && !child_set_perm(p->link, perm, shared, err))
        return false;
    p->perm = perm;
    p->shared = shared;
    return true;
}

BlockNode *block_port_node(const BlockPort *p)
{
    return p->node;
}
const char *block_port_name(const BlockPort *p)
{
    return p->name;
}
void *block_port_owner(const BlockPort *p)
{
    return p->owner;
}
void block_port_set_writethrough(BlockPort *p, bool on)
{
    p->writethrough = on;
}
bool block_port_throttle(BlockPort *p, const char *group, const ThrottleLimits *l, Error *err)
{
    ThrottleGroup *old = p->throttle, *new = NULL;

    if (!throttle_check(l, err))
        return false;
    if (throttle_is_limited(l))
        new = group || !old ? throttle_group_named(p->graph, group ? group : p->name)
                            : throttle_group_ref(old);
    port_quiet(p);
    p->throttle = new;
    if (new)
        throttle_group_set(new, l);
    throttle_group_unref(old);
    port_loud(p);
    return true;
}
const char *block_port_limits(BlockPort *p, ThrottleLimits *out)
{
    if (!p->throttle)
        return NULL;
    *out = throttle_group_get(p->throttle);
    return throttle_group_name(p->throttle);
}
void block_port_set_exempt(BlockPort *p)
{
    p->exempt = true;
    if (p->drains) { /* by another job of a transaction */
        p->drains = 1;
        port_loud(p);
    }
}
const BlockStats *block_port_stats(const BlockPort *p)
{
    return &p->stats;
}
uint64_t block_size(const BlockPort *p)
{
    const BlockNode *n = p->node;

    return n ? n->size : 0;
}
bool block_is_read_only(const BlockPort *p)
{
    const BlockNode *n = p->node;

    return n && node_is_read_only(n);
}
void block_port_set_owner(BlockPort *p, void *owner, void (*resized)(void *owner))
{
    p->owner = owner;
    p->resized = resized;
}

BlockPort *port_next(BlockGraph *g, BlockPort *p)
{
    return p ? p->next : g->ports;
}

BlockPort *port_find(BlockGraph *g, const char *name)
{
    for (BlockPort *p = g->ports; p; p = p->next)
        if (p->name && !strcmp(p->name, name))
            return p;
    return NULL;
}

/* --- draining --- */

void port_finished(BlockPort *p)
{
    BlockGraph *g = p->graph;

    /* From here on the port may be gone. */
    if (atomic_fetch_sub(&p->in_flight, 1) == 1 && atomic_load(&g->waiters) && g->ctx)
        ctx_wake(g->ctx);
}

static void port_quiet(BlockPort *p)
{
    struct timespec nap = {0, 100000};

    if (p->drains++ == 0)
        atomic_store(&p->quiet, true);
    if (p->throttle)
        throttle_group_lift(p->throttle, true);
    atomic_fetch_add(&p->graph->waiters, 1);
    while (atomic_load(&p->in_flight)) {
        if (p->graph->ctx)
            ctx_wait(p->graph->ctx);
        else
            nanosleep(&nap, NULL); /* a tool without a loop: its own threads finish them */
    }
    atomic_fetch_sub(&p->graph->waiters, 1);
    if (p->throttle)
        throttle_group_lift(p->throttle, false);
}

static void port_loud(BlockPort *p)
{
    BlockReq *r;

    if (--p->drains)
        return;
    lock_take(&p->lock);
    atomic_store(&p->quiet, false);
    r = p->held;
    p->held = NULL;
    p->held_tail = &p->held;
    lock_drop(&p->lock);
    while (r) {
        BlockReq *next = r->next;

        port_go(p, r);
        r = next;
    }
}

static bool port_try_hold(BlockPort *p)
{
    atomic_fetch_add(&p->in_flight, 1);
    if (!atomic_load(&p->quiet))
        return true;
    port_finished(p);
    return false;
}

/* Both or none: whoever drains takes the ports one after the other. */
void block_port_hold(BlockPort *p, BlockPort *q)
{
    const struct timespec nap = {0, 1000000};

    for (;;) {
        if (port_try_hold(p)) {
            if (!q || port_try_hold(q))
                return;
            port_finished(p);
        }
        nanosleep(&nap, NULL);
    }
}

void block_port_release(BlockPort *p, BlockPort *q)
{
    port_finished(p);
    if (q)
        port_finished(q);
}

static bool port_is_above(const BlockNode *top, const BlockNode *n)
{
    if (top == n)
        return true;
    for (const BlockChild *c = top ? top->children : NULL; c; c = c->next)
        if (port_is_above(c->node, n))
            return true;
    return false;
}

void graph_drain_begin(BlockGraph *g, BlockNode *n)
{
    g->drains += !n;
    for (BlockPort *p = g->ports; p; p = p->next)
        if (!p->exempt && (!n || port_is_above(p->node, n)))
            port_quiet(p);
}

void graph_drain_end(BlockGraph *g, BlockNode *n)
{
    g->drains -= !n;
    for (BlockPort *p = g->ports; p; p = p->next)
        if (p->drains && (!n || port_is_above(p->node, n)))
            port_loud(p);
}

bool graph_flush_all(BlockGraph *g, Error *err)
{
    bool ok = true;

    for (BlockNode *n = g->nodes; n; n = n->next) {
        int rc = node_is_read_only(n) ? 0 : node_flush(n);

        if (rc && ok)
            ok = error_set_errno(err, -rc, "could not flush '%s'", n->filename);
    }
    return ok;
}
