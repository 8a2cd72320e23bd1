/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor - QMP and human sessions on character devices
 *
 * Any number of monitors per machine.  A monitor lives as long as its back end is open; clients
 * come
 * (CHAR_OPENED: a new session, greeting, negotiation) and go (CHAR_CLOSED).  Thread: main.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "core/command.h"
#include "core/machine.h"
#include "io/chardev.h"

typedef enum MonitorMode { MONITOR_READLINE, MONITOR_CONTROL } MonitorMode;

/* Attaches itself to @c; a session starts with CHAR_OPENED.  Never fails; @pretty: QMP answers
 * over several lines. */
Monitor *monitor_new(Machine *m, Chardev *c, MonitorMode mode, bool pretty);
/* Detaches; the back end is the caller's.  Before machine_free(). */
void monitor_free(Monitor *mon);

/* One line as typed at a human monitor; what it prints is added to @out.  @cpu: the processor it
 * is about. */
void hmp_run(Machine *m, const char *line, unsigned cpu, StrBuf *out);
/* What the last word of @start could be: "candidate\n" for each. */
void hmp_complete(Machine *m, const char *start, StrBuf *out);

#endif
