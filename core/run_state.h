/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_state - what state a machine is in and why it changed, as management sees it */
#ifndef CORE_RUN_STATE_H
#define CORE_RUN_STATE_H

#include "core/command.h"
#include "core/machine.h"

extern const Type run_state_type; /* the names that QMP uses; values are RunState */

/* Tell management.  Main thread. */
void run_state_tell_stop(Machine *m);
void run_state_tell_resume(Machine *m);
void run_state_tell_reset(Machine *m, ShutdownCause why);
void run_state_tell_shutdown(Machine *m, ShutdownCause why);
void run_state_tell_powerdown(Machine *m);

#endif
