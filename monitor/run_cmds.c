/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_cmds - commands that start, stop, reset and end the machine (QEMU 7.2, qapi/run-state.json,
 * misc.json) */
#include "core/run_state.h"
#include "monitor/dump_priv.h"

/* --- state --- */

typedef struct Status {
    uint32_t status;
    bool running, singlestep;
} Status;
static const Field status_fields[] = {
    ARG_TYPE(Status, status, "status", &run_state_type, "the state"),
    ARG(Status, singlestep, "singlestep", "one instruction at a time: never"),
    ARG(Status, running, "running", "processors run"),
};
static STRUCT_TYPE(status_type, Status, status_fields);

COMMAND_FN(query_status)
{
    RunState state = m->state;

    *(Status *)ret = (Status){.status = state, .running = state == RUN_RUNNING};
    return true;
}
COMMAND(query_status, .name = "query-status", .ret = &status_type, .run = query_status,
        .flags = COMMAND_PRECONFIG, .doc = "Whether the machine runs, and why not.")

COMMAND_FN(stop)
{
    machine_pause(m);
    return true;
}
COMMAND(stop, .name = "stop", .run = stop, .doc = "Stop the processors and the machine's time.")

COMMAND_FN(cont)
{
    RunState state = m->state;

    if (dump_active(m))
        return error_set(err, "There is a dump in process, please wait.");
    if (state == RUN_SHUTDOWN || state == RUN_INTERNAL_ERROR)
        return error_set(err, "Resetting the Virtual Machine is required");
    machine_start(m);
    return true;
}
COMMAND(cont, .name = "cont", .run = cont, .doc = "Start, or go on.")

COMMAND_FN(system_reset)
{
    machine_request_reset_for(m, SHUTDOWN_HOST_RESET);
    return true;
}
COMMAND(system_reset, .name = "system_reset", .run = system_reset, .doc = "Reset all hardware.")

COMMAND_FN(system_powerdown)
{
    if (m->power_button)
        m->power_button(m->power_button_arg);
    run_state_tell_powerdown(m);
    return true;
}
COMMAND(system_powerdown, .name = "system_powerdown", .run = system_powerdown,
        .doc = "Press the power button; the guest may react to it.")

COMMAND_FN(system_wakeup)
{
    return error_set(err, "Unable to wake up: guest is not in suspended state");
}
COMMAND(system_wakeup, .name = "system_wakeup", .run = system_wakeup,
        .doc = "Wake the guest from suspension, in which it never is.")

COMMAND_FN(inject_nmi)
{
    if (!m->nmi_button)
        return error_set(err, "this feature or command is not currently supported");
    m->nmi_button(m->nmi_button_arg);
    return true;
}
COMMAND(inject_nmi, .name = "inject-nmi", .run = inject_nmi,
        .doc = "Press the NMI button: LINT1 of every local APIC.")

COMMAND_FN(quit)
{
    machine_request_shutdown(m, SHUTDOWN_HOST_QUIT, 0);
    return true;
}
COMMAND(quit, .name = "quit", .run = quit, .flags = COMMAND_PRECONFIG, .doc = "End the process.")

/* --- what happens on guest events --- */

static const char *const reboot_names[] = {"reset", "shutdown", NULL};
static ENUM_TYPE(reboot_type, RebootAction, reboot_names);
static const char *const shutdown_names[] = {"poweroff", "pause", NULL};
static ENUM_TYPE(shutdown_type, ShutdownAction, shutdown_names);

/* By PanicAction and WatchdogAction. */
static const char *const panic_names[] = {"shutdown", "pause", "exit-failure", "none", NULL};
static ENUM_TYPE(panic_type, PanicAction, panic_names);
static const char *const watchdog_names[] = {"reset", "shutdown", "poweroff",   "pause",
                                             "debug", "none",     "inject-nmi", NULL};
static ENUM_TYPE(watchdog_type, WatchdogAction, watchdog_names);

typedef struct SetAction {
    uint32_t reboot, shutdown, panic, watchdog;
    bool has_reboot, has_shutdown, has_panic, has_watchdog;
} SetAction;
static const Field set_action_fields[] = {
    ARG_TYPE_OPT(SetAction, reboot, "reboot", &reboot_type, "when the guest resets the machine"),
    ARG_TYPE_OPT(SetAction, shutdown, "shutdown", &shutdown_type, "when the guest powers off"),
    ARG_TYPE_OPT(SetAction, panic, "panic", &panic_type,
                 "when a panic device tells; none is built"),
    ARG_TYPE_OPT(SetAction, watchdog, "watchdog", &watchdog_type,
                 "when a watchdog's time is over; none is built"),
};
static STRUCT_TYPE(set_action_type, SetAction, set_action_fields);

COMMAND_FN(set_action)
{
    const SetAction *a = args;

    if (a->has_reboot)
        m->cfg.no_reboot = a->reboot == 1;
    if (a->has_shutdown)
        m->cfg.no_shutdown = a->shutdown == 1;
    if (a->has_panic)
        m->cfg.panic_action = (PanicAction)a->panic;
    if (a->has_watchdog)
        m->cfg.watchdog_action = (WatchdogAction)a->watchdog;
    return true;
}
COMMAND(set_action, .name = "set-action", .args = &set_action_type, .run = set_action,
        .flags = COMMAND_PRECONFIG,
        .doc = "Choose what happens when the guest resets, powers off, panics or hangs.")
