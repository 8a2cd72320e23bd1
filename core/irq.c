/* SPDX-License-Identifier: GPL-2.0-or-later */
/* irq - wired-or and split of interrupt lines */
#include "core/irq.h"

/* The sources of one IrqOr share a device lock: the output's level is not atomic. */
void irq_or_input(void *irq_or, unsigned n, bool level)
{
    IrqOr *o = irq_or;

    assert(n < 32);
    if (level)
        atomic_fetch_or(&o->levels, 1u << n);
    else
        atomic_fetch_and(&o->levels, ~(1u << n));
    irq_set(&o->out, atomic_load(&o->levels) != 0);
}

void irq_split_input(void *irq_split, unsigned n, bool level)
{
    IrqSplit *s = irq_split;

    (void)n;
    irq_set(&s->out[0], level);
    irq_set(&s->out[1], level);
}

IrqEdge irq_split_edge(void *irq_split, unsigned n)
{
    IrqSplit *s = irq_split;

    (void)n;
    return MAX(irq_edge(&s->out[0]), irq_edge(&s->out[1]));
}
