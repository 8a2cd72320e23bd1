/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_state - names of run states and causes, and the events that tell of their changes (QEMU
 * 7.2's) */
#include "core/run_state.h"

static const char *const run_state_names[] = {
    [RUN_PRELAUNCH] = "prelaunch",
    [RUN_RUNNING] = "running",
    [RUN_PAUSED] = "paused",
    [RUN_SHUTDOWN] = "shutdown",
    [RUN_INTERNAL_ERROR] = "internal-error",
    [RUN_DEBUG] = "debug",
    NULL,
};
ENUM_TYPE(run_state_type, RunState, run_state_names);

/* What it is called, and whether the guest did it. */
typedef struct CauseName {
    uint8_t reason;
    bool guest;
} CauseName;
enum { R_NONE, R_ERROR, R_QUIT, R_SYSTEM_RESET, R_SIGNAL, R_SHUTDOWN, R_RESET, R_PANIC };
static const char *const reason_names[] = {
    [R_NONE] = "none",
    [R_ERROR] = "host-error",
    [R_QUIT] = "host-qmp-quit",
    [R_SYSTEM_RESET] = "host-qmp-system-reset",
    [R_SIGNAL] = "host-signal",
    [R_SHUTDOWN] = "guest-shutdown",
    [R_RESET] = "guest-reset",
    [R_PANIC] = "guest-panic",
    NULL,
};
static ENUM_TYPE(reason_type, ShutdownCause, reason_names);
static const CauseName causes[] = {
    [SHUTDOWN_NONE] = {R_NONE, false},
    [SHUTDOWN_GUEST_OFF] = {R_SHUTDOWN, true},
    [SHUTDOWN_GUEST_RESET] = {R_RESET, true},
    [SHUTDOWN_GUEST_PANIC] = {R_PANIC, true},
    [SHUTDOWN_HOST_SIGNAL] = {R_SIGNAL, false},
    [SHUTDOWN_HOST_QUIT] = {R_QUIT, false},
    [SHUTDOWN_DEBUG_EXIT] = {R_SHUTDOWN, true},
    [SHUTDOWN_ERROR] = {R_ERROR, false},
    [SHUTDOWN_HOST_RESET] = {R_SYSTEM_RESET, false},
};

typedef struct CauseData {
    bool guest;
    uint32_t reason;
} CauseData;
static const Field cause_fields[] = {
    ARG(CauseData, guest, "guest", "the guest asked for it"),
    ARG_TYPE(CauseData, reason, "reason", &reason_type, "why"),
};
static STRUCT_TYPE(cause_type, CauseData, cause_fields);

EVENT(stop, .name = "STOP", .doc = "The machine stands still.")
EVENT(resume, .name = "RESUME", .doc = "The machine runs on.")
EVENT(powerdown, .name = "POWERDOWN", .doc = "The guest was asked to power off.")
EVENT(reset, .name = "RESET", .data = &cause_type, .doc = "The machine was reset.")
EVENT(shutdown, .name = "SHUTDOWN", .data = &cause_type,
      .doc = "The machine is off; the process ends unless -no-shutdown was given.")

static CauseData cause_data(ShutdownCause why)
{
    return (CauseData){.guest = causes[why].guest, .reason = causes[why].reason};
}

void run_state_tell_stop(Machine *m)
{
    event_post(m, &event_stop, NULL);
}

void run_state_tell_resume(Machine *m)
{
    event_post(m, &event_resume, NULL);
}

void run_state_tell_reset(Machine *m, ShutdownCause why)
{
    event_post(m, &event_reset, &(CauseData[]){cause_data(why)});
}

void run_state_tell_shutdown(Machine *m, ShutdownCause why)
{
    event_post(m, &event_shutdown, &(CauseData[]){cause_data(why)});
}

void run_state_tell_powerdown(Machine *m)
{
    event_post(m, &event_powerdown, NULL);
}
