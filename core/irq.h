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

typedef struct IrqLine {
    IrqFn *fn; /* NULL: not connected */
    void *sink;
    unsigned n; /* the sink's input number */
    bool level;
} IrqLine;

static inline void irq_connect(IrqLine *l, IrqFn *fn, void *sink, unsigned n)
{
    l->fn = fn;
    l->sink = sink;
    l->n = n;
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

#endif
