/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor_priv - one monitor: a back end, its output, and the protocol spoken over it
 *
 * Invariants: 1. Output waits here, in order, until the back end takes it.  2. While more than
 * OUT_SOFT bytes
 * wait, no command runs and nothing is read, so a client that never reads costs at most OUT_SOFT,
 * the answer
 * that passed it, and events up to OUT_HARD; later events are lost to it.  3. All on the main
 * thread.
 */
#ifndef MONITOR_MONITOR_PRIV_H
#define MONITOR_MONITOR_PRIV_H

#include "monitor/monitor.h"

enum { OUT_SOFT = 256 << 10, OUT_HARD = 1 << 20, IN_STEP = 1024 };

/* What is spoken. */
typedef struct MonitorOps {
    void (*opened)(Monitor *mon); /* a client came */
    void (*closed)(Monitor *mon); /* it went: forget the session */
    bool (*wants)(Monitor *mon);  /* more input? */
    void (*input)(Monitor *mon, const char *p, size_t n);
    void (*event)(Monitor *mon, const json_t *event); /* NULL: not told of events */
    void (*drained)(Monitor *mon); /* output is below OUT_SOFT again; NULL: nothing to do */
    void (*focus)(Monitor *mon);   /* the multiplexer shows us; NULL: nothing to do */
    void (*free)(Monitor *mon);
} MonitorOps;

struct Monitor {
    Machine *machine;
    Chardev *chr;
    CharFront front;
    EventListener listener;
    const MonitorOps *ops;
    void *session; /* the ops' own */
    bool pretty, open;
    char *out;
    size_t out_at, out_len, out_cap; /* bytes [at, len) wait */
    unsigned cpu;                    /* the processor that human commands are about */
};

void monitor_write(Monitor *mon, const char *p, size_t n);
static inline size_t monitor_waiting(const Monitor *mon)
{
    return mon->out_len - mon->out_at;
}
static inline bool monitor_is_full(const Monitor *mon)
{
    return monitor_waiting(mon) > OUT_SOFT;
}
void monitor_input_ready(Monitor *mon); /* ops->wants() may say something else now */

void qmp_session_new(Monitor *mon);
void hmp_session_new(Monitor *mon);

#endif
