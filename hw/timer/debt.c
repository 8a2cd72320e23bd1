/* SPDX-License-Identifier: GPL-2.0-or-later */
/* debt - periodic interrupts that the host was too late for */
#include "hw/timer/debt.h"

/* To the next tick, by what became of the last one; a handler takes some ten microseconds. */
static const int64_t distance[] = {
    [EDGE_NOWHERE] = 1000000, /* or nobody can tell */
    [EDGE_WAITS] = 500000,    /* until it is looked at again */
    [EDGE_TAKEN] = 200000,
};
#define LEAST_DISTANCE 20000
#define MOST_NS 1000000000ll
#define MOST_TICKS 1000000

void debt_add(TickDebt *d, uint64_t ticks, int64_t period)
{
    uint64_t most = (uint64_t)MAX(MOST_NS / MAX(period, MOST_NS / MOST_TICKS), 1);

    d->owed = (uint32_t)MIN(d->owed + MIN(ticks, most), most);
}

bool debt_pay(TickDebt *d, int64_t now, int64_t period, IrqEdge last)
{
    if (!d->owed || now < d->earliest)
        return false;
    d->owed -= last != EDGE_WAITS;
    d->earliest = now + MAX(last == EDGE_WAITS ? distance[last] : MIN(period / 2, distance[last]),
                            LEAST_DISTANCE);
    return true;
}

int64_t debt_due(const TickDebt *d, int64_t due)
{
    if (d->owed)
        return d->earliest;
    return due < 0 ? due : MAX(due, d->earliest);
}

bool debt_is_sane(const TickDebt *d)
{
    return d->owed <= MOST_TICKS && d->earliest >= 0 && d->earliest < INT64_MAX / 2;
}

static const Field debt_fields[] = {
    STATE(TickDebt, owed),
    STATE(TickDebt, earliest),
};
STRUCT_TYPE(debt_type, TickDebt, debt_fields);
