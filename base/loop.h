/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop - an event loop: file descriptors, posted calls, deadlines
 *
 * Always passed, never "current".  Only loop_post() and loop_stop() may be called from other
 * threads; all else belongs to the thread that runs the loop (or before it runs).
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/base.h"
#include "base/error.h"

typedef struct Loop Loop;
typedef void LoopFn(void *arg);
typedef void LoopFdFn(void *arg, int fd, uint32_t events);

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };

Loop *loop_new(Error *err);
void loop_free(Loop *l); /* not while it runs; calls still posted are dropped */
/* Call @fn when @fd has one of @events; mask 0 stops watching.  One watch for each fd; unwatch
 * before close. A plain file is ready in every round.  False: @fd is not open. */
bool loop_watch(Loop *l, int fd, uint32_t events, LoopFdFn *fn, void *arg);
/* Call @fn(@arg) soon, on the loop's thread, in order.  Any thread, async-signal-safe: no. */
void loop_post(Loop *l, LoopFn *fn, void *arg);
/* Who supplies deadlines (core/clock.c): next() returns ns until the next one (-1: none), fire()
 * runs what is due. Up to 8 suppliers, told apart by @arg; @next NULL takes one away. */
void loop_timers(Loop *l, int64_t (*next)(void *arg), void (*fire)(void *arg), void *arg);
void loop_wake(Loop *l); /* re-evaluate deadlines; any thread, async-signal-safe */
void loop_run(Loop *l);  /* until loop_stop(), also one from before; may be run again after it */
bool loop_step(Loop *l, int64_t max_wait_ns); /* one round; false once stopped */
void loop_stop(Loop *l);                      /* any thread, async-signal-safe */
bool loop_is_mine(const Loop *l); /* is this the thread that runs it (or does none yet)? */

#endif
