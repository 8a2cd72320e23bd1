/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon - the process itself: background, PID file, user, root folder, memory lock, system call
 * filter */
#ifndef MAIN_DAEMON_H
#define MAIN_DAEMON_H

#include "main/options.h"

/* Before anything has threads: with -daemonize only the child returns; what called us waits until
 * daemon_ready() or the end.  Then the PID file. */
bool daemon_begin(const Config *c, Error *err);
bool daemon_drop(const Config *c,
                 Error *err); /* set up: lock memory, chroot, another user, filter */
bool daemon_ready(const Config *c, Error *err);       /* all is well: let go of the terminal */
void daemon_end(void);                                /* remove the PID file */
bool daemon_check_user(const char *text, Error *err); /* -runas: is there such a user? */

/* "on,spawn=deny,...": the filter, for all threads. */
bool sandbox_enter(const char *text, Error *err);
bool sandbox_check(const char *text, Error *err); /* the words only */

#endif
