/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb - the stub of the GDB remote serial protocol (GDB manual, appendix E) on a character back end
 *
 * One client at a time; it may come and go.  Everything runs on the machine's main loop with no
 * lock held. docs/debugging.md says what works.
 */
#ifndef MONITOR_GDB_H
#define MONITOR_GDB_H

#include "core/machine.h"
#include "io/chardev.h"

typedef struct GdbStub GdbStub;
/* Carry out one line of "monitor ..." (hmp_run() of monitor/monitor.h); its output goes to @out. */
typedef void GdbMonitorFn(Machine *m, const char *line, unsigned cpu, StrBuf *out);

/* Serve @c, which stays the caller's and must outlive the stub.  Main thread; the machine is
 * built and does not run. One stub for each machine. */
GdbStub *gdbstub_new(Machine *m, Chardev *c, Error *err);
void gdbstub_set_monitor(GdbStub *s, GdbMonitorFn *fn); /* NULL, as at first: there is none */
/* Pauses the machine, removes all breakpoints, tells the client of the machine's end.  Before
 * machine_free(). NULL is fine. */
void gdbstub_free(GdbStub *s);

#endif
