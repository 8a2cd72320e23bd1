/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debt - periodic interrupts that the guest did not get in time, and is to get yet
 *
 * The guest counts ticks.  Those that fell due while the host did not run the device or the
 * processor (where the one before was not taken) follow one by one, far enough from each other to
 * be taken, and not more of them than fall into one second.  Times are ns of the device's clock.
 * Under the device's lock.
 */
#ifndef HW_TIMER_DEBT_H
#define HW_TIMER_DEBT_H

#include "base/reflect.h"
#include "core/irq.h"

typedef struct TickDebt {
    uint32_t owed;    /* ticks that have come true and were not taken */
    int64_t earliest; /* none before this time */
} TickDebt;
extern const Type debt_type;

void debt_add(TickDebt *d, uint64_t ticks, int64_t period); /* capped */
/*
 * Show a tick now?  If there is one, and it keeps its distance from the one before.  It is taken
 * off the debt unless the one before still waits (@last), which makes one of the two.
 */
bool debt_pay(TickDebt *d, int64_t now, int64_t period, IrqEdge last);
/* When the device's timer must fire, if the next tick comes true at @due (-1: never). */
int64_t debt_due(const TickDebt *d, int64_t due);
bool debt_is_sane(const TickDebt *d);

#endif
