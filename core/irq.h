/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * irq - interrupt lines
 *
 * A line has one source and one sink and carries a level.  Fan-in is an explicit IrqOr.
 * Sinks are interrupt controllers, which lock for themselves (rank 4): irq_set() may be called with
 * a device lock held, from any thread.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "base/base.h"

typedef void IrqFn(void *sink, unsigned n, bool level);

/* What became of the last edge: nobody wants it, it is still to be taken (another one would be
 * lost), it was taken. */
typedef enum IrqEdge { EDGE_NOWHERE, EDGE_WAITS, EDGE_TAKEN } IrqEdge;
typedef IrqEdge IrqEdgeFn(void *sink, unsigned n);

typedef struct IrqLine {
    IrqFn *fn; /* NULL: not connected */
    void *sink;
    unsigned n; /* the sink's input number */
    bool level;
    IrqEdgeFn *edge; /* NULL: the sink cannot tell */
} IrqLine;

static inline void irq_connect(IrqLine *l, IrqFn *fn, void *sink, unsigned n)
{
    l->fn = fn;
    l->sink = sink;
    l->n = n;
}

/* The same, to a sink that can tell what became of edges; only timers ask. */
static inline void irq_connect_edge(IrqLine *l, IrqFn *fn, IrqEdgeFn *edge, void *sink, unsigned n)
{
    irq_connect(l, fn, sink, n);
    l->edge = edge;
}

static inline IrqEdge irq_edge(const IrqLine *l)
{
    return l->edge ? l->edge(l->sink, l->n) : EDGE_NOWHERE;
}

static inline void irq_set(IrqLine *l, bool level)
{
    if (l->level != level) {
        l->level = level;
        if (l->fn)
            l->fn(l->sink, l->n, level);
    }
}

static inline void irq_pulse(IrqLine *l)
{
    irq_set(l, true);
    irq_set(l, false);
}

/* Up to 32 sources onto one line: connect each with irq_connect(&src, irq_or_input, or, i). */
typedef struct IrqOr {
    _Atomic uint32_t levels;
    IrqLine out;
} IrqOr;
void irq_or_input(void *irq_or, unsigned n, bool level);

/* One source onto two lines (ISA interrupts reach the PIC and the IO-APIC). */
typedef struct IrqSplit {
    IrqLine out[2];
} IrqSplit;
void irq_split_input(void *irq_split, unsigned n, bool level);
IrqEdge irq_split_edge(void *irq_split, unsigned n); /* where one has taken it, it does not wait */

#endif
