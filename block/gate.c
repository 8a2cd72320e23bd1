/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gate - ranges of a node in use, shared or exclusively
 *
 * One list in order of arrival holds what is granted and what waits.  An entry is granted when no
 * earlier one overlaps it with either being exclusive: nobody starves, and the first entry never
 * waits.
 */
#include "block/block_priv.h"

struct Gate {
    Lock lock;
    GateHold *first, *last;
    unsigned exclusives; /* entries, waiting or not: without any nobody waits */
};

Gate *gate_new(void)
{
    Gate *g = xnew(Gate);

    lock_init(&g->lock, "block gate", RANK_QUEUE);
    return g;
}

void gate_free(Gate *g)
{
    if (!g)
        return;
    assert(!g->first);
    lock_fini(&g->lock);
    xfree(g);
}

static bool conflicts(const GateHold *a, const GateHold *b)
{
    return (a->exclusive || b->exclusive) && a->at < b->end && b->at < a->end;
}

static bool may_go_locked(const GateHold *h)
{
    for (const GateHold *e = h->prev; e; e = e->prev)
        if (conflicts(e, h))
            return false;
    return true;
}

bool gate_take(Gate *g, GateHold *h)
{
    bool granted;

    lock_take(&g->lock);
    h->next = NULL;
    h->prev = g->last;
    if (g->last)
        g->last->next = h;
    else
        g->first = h;
    g->last = h;
    granted = (!h->exclusive && !g->exclusives) || may_go_locked(h);
    g->exclusives += h->exclusive;
    h->chosen = granted;
    atomic_store(&h->granted, granted);
    lock_drop(&g->lock);
    return granted;
}

void gate_take_wait(Gate *g, GateHold *h)
{
    h->on_grant = NULL;
    if (gate_take(g, h))
        return;
    worker_waits(true);
    while (!atomic_load(&h->granted))
        futex_wait(&h->granted, 0);
    worker_waits(false);
}

/* A waiting thread's entry may be gone once `granted` is set: it is told last, and not looked at
 * again. */
void gate_drop(Gate *g, GateHold *h)
{
    GateHold *told = NULL, **tail = &told;

    lock_take(&g->lock);
    if (h->prev)
        h->prev->next = h->next;
    else
        g->first = h->next;
    if (h->next)
        h->next->prev = h->prev;
    else
        g->last = h->prev;
    g->exclusives -= h->exclusive;
    for (GateHold *e = h->next; e; e = e->next)
        if (!e->chosen && conflicts(h, e) && may_go_locked(e)) {
            e->chosen = true;
            e->told_next = NULL;
            *tail = e;
            tail = &e->told_next;
        }
    lock_drop(&g->lock);
    while (told) {
        GateHold *e = told;

        told = e->told_next;
        void (*on_grant)(GateHold *) = e->on_grant;

        atomic_store(&e->granted, 1);
        if (on_grant)
            on_grant(e);
        else
            futex_wake(&e->granted);
    }
}
