/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * periodic - what nodes do every so often, on the main thread
 */
#include "base/now.h"
#include "block/block_priv.h"

#define SECOND_NS 1000000000ll

static int64_t periodic_next(void *arg)
{
    const BlockGraph *g = arg;
    int64_t due = INT64_MAX, now = monotonic_ns();

    for (const Periodic *p = g->periodics; p; p = p->next)
        due = MIN(due, p->due);
    return due <= now ? 0 : due - now;
}

static void periodic_fire(void *arg)
{
    BlockGraph *g = arg;
    int64_t now = monotonic_ns();

    for (Periodic *p = g->periodics, *next; p; p = next) {
        next = p->next;
        if (p->due > now)
            continue;
        p->due = now + p->every;
        p->fn(p->n);
    }
}

void periodic_start(Periodic *p, BlockNode *n, unsigned seconds, void (*fn)(BlockNode *n))
{
    BlockGraph *g = n->graph;
    Loop *l = ctx_loop(g->ctx);

    if (!seconds || !l)
        return;
    *p = (Periodic){.n = n, .fn = fn, .every = seconds * SECOND_NS, .next = g->periodics};
    p->due = monotonic_ns() + p->every;
    if (!g->periodics)
        loop_timers(l, periodic_next, periodic_fire, g);
    g->periodics = p;
}

void periodic_stop(Periodic *p)
{
    BlockGraph *g = p->n ? p->n->graph : NULL;
    Periodic **at = g ? &g->periodics : NULL;

    if (!g)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->n = NULL;
    if (!g->periodics)
        loop_timers(ctx_loop(g->ctx), NULL, NULL, g);
}
