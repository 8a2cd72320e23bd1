/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock - time as the guest and the devices see it
 *
 * A Clock is an object: virtual (stops with the machine), host (wall, ns since 1970), realtime
 * (monotonic, never stops) and test (moves only by clock_step).  All in nanoseconds. Thread:
 * clock_now() any; timers: any thread, callbacks on the clock's loop with the timer's lock held
 * (test clocks: inside clock_step()).
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "base/base.h"
#include "base/lock.h"
#include "base/loop.h"

typedef enum ClockKind { CLOCK_VIRTUAL, CLOCK_HOST, CLOCK_REALTIME_NS, CLOCK_TEST } ClockKind;
typedef struct Clock Clock;
typedef void TimerFn(void *arg);

typedef struct Timer {
    Clock *clock;
    Lock *lock; /* taken around fn; may be NULL */
    TimerFn *fn;
    void *arg;
    int64_t due;        /* ns, -1: not armed */
    struct Timer *next; /* in the clock's list, soonest first; private */
} Timer;

Clock *clock_new(ClockKind kind, Loop *loop); /* loop may be NULL for test clocks */
void clock_free(Clock *c);
int64_t clock_now(
    const Clock *c);        /* lock-free; general registers only, callable from translated code */
void clock_start(Clock *c); /* virtual clocks: begin or go on counting */
void clock_stop(Clock *c);
void clock_set(Clock *c, int64_t now); /* stopped virtual clocks (load) and test clocks */
void clock_step(Clock *c,
                int64_t ns); /* test clocks: fires what falls due, in order, each at its own time */
uint64_t clock_tsc_hz(
    const Clock
        *c); /* rate of clock_tsc(): the host's TSC rate where it is invariant, else 1 GHz */
uint64_t clock_tsc(const Clock *c); /* guest time-stamp counter derived from the same clock */

void timer_init(Timer *t, Clock *c, Lock *lock, TimerFn *fn, void *arg);
void timer_at(Timer *t,
              int64_t due); /* (re-)arm; a past due fires at once, from the loop, never inline */
void timer_stop(
    Timer *t); /* after it returns (with the timer's lock held by the caller) fn will not run */
static inline bool timer_armed(const Timer *t)
{
    return t->due >= 0;
}

#endif
