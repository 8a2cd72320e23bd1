/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_run - how the program runs: names, logs, what ends it, daemon, sandbox; --help and its kin */
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "main/options.h"

/* --- names --- */

OPT(opt_name)
{
    const char *guest, *process;
    bool ok, debug = true; /* threads have names in any case */
    Opts o;

    if (!opts_parse(&o, arg, "guest", err))
        return false;
    guest = opts_get(&o, "guest");
    process = opts_get(&o, "process");
    ok = opts_get_bool(&o, "debug-threads", &debug, err) && opts_all_used(&o, err);
    if (ok && guest)
        set_text(&c->name, guest);
    if (ok && process)
        set_text(&c->process_name, process);
    opts_free(&o);
    return ok;
}

OPT(opt_uuid)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    bool ok = strlen(arg) == strlen(form);

    for (unsigned i = 0; ok && form[i]; i++)
        ok = form[i] == '-' ? arg[i] == '-' : strchr("0123456789abcdefABCDEF", arg[i]) != NULL;
    set_text(&c->uuid, arg);
    return ok || error_set(err, "failed to parse UUID string: wrong format (%s)", form);
}

/* --- what happens when --- */

OPT_FLAG(opt_stopped, stopped)
OPT_FLAG(opt_no_reboot, mc.no_reboot)
OPT_FLAG(opt_no_shutdown, mc.no_shutdown)

static bool set_action(Config *c, const char *key, const char *value, Error *err)
{
    static const char *const reboots[] = {"reset", "shutdown", NULL};
    static const char *const shutdowns[] = {"poweroff", "pause", NULL};
    static const char *const panics[] = {"shutdown", "pause", "exit-failure", "none", NULL};
    static const char *const watchdogs[] = {"reset", "shutdown", "poweroff",   "pause",
                                            "debug", "none",     "inject-nmi", NULL};
    unsigned i = 0;
    bool ok;

    if (!strcmp(key, "reboot")) {
        if ((ok = choose(key, value, reboots, &i, err)))
            c->mc.no_reboot = i == 1;
    } else if (!strcmp(key, "shutdown")) {
        if ((ok = choose(key, value, shutdowns, &i, err)))
            c->mc.no_shutdown = i == 1;
    } else if (!strcmp(key, "panic")) {
        if ((ok = choose(key, value, panics, &i, err)))
            c->mc.panic_action = (PanicAction)i;
    } else if (!strcmp(key, "watchdog")) {
        if ((ok = choose(key, value, watchdogs, &i, err)))
            c->mc.watchdog_action = (WatchdogAction)i;
    } else {
        ok = error_set(err, "Invalid parameter '%s'", key);
    }
    return ok;
}

OPT(opt_action)
{
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    for (unsigned i = 0; i < o.n && ok; i++)
        ok = set_action(c, o.o[i].key, o.o[i].value, err);
    opts_free(&o);
    return ok;
}

OPT(opt_watchdog_action)
{
    return set_action(c, "watchdog", arg, err);
}

/* --- logs --- */

OPT(opt_log)
{
    uint32_t mask;

    if (is_help(arg)) {
        list_log_items();
        c->done = true;
        return true;
    }
    if (!log_parse(arg, &mask, err))
        return false;
    c->log_mask |= mask;
    return true;
}

OPT_TEXT(opt_log_file, log_file)

static void list_traces(void)
{
    for (const TracePoint *t = trace_next(NULL); t; t = trace_next(t))
        printf("%s\n", t->name);
}

/* One pattern or '-pattern' for each line. */
static bool trace_file(const char *path, Error *err)
{
    FILE *f = fopen(path, "re");
    char line[256];

    if (!f)
        return error_set(err, "could not open '%s'", path);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line && *line != '#' && *line != '-')
            trace_enable(line);
    }
    fclose(f);
    return true;
}

OPT(opt_trace)
{
    const char *pattern, *events, *file;
    bool ok;
    Opts o;

    if (is_help(arg)) {
        list_traces();
        c->done = true;
        return true;
    }
    if (!opts_parse(&o, arg, "enable", err))
        return false;
    pattern = opts_get(&o, "enable");
    events = opts_get(&o, "events");
    file = opts_get(&o, "file");
    ok = opts_all_used(&o, err) && (!events || trace_file(events, err));
    if (ok && pattern && !trace_enable(pattern))
        log_warn("trace event '%s' does not exist", pattern);
    if (ok && file)
        set_text(&c->log_file, file);
    opts_free(&o);
    return ok;
}

OPT(opt_msg)
{
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    ok = opts_get_bool(&o, "timestamp", &c->msg_stamp, err) &&
         opts_get_bool(&o, "guest-name", &c->msg_guest, err) && opts_all_used(&o, err);
    opts_free(&o);
    return ok;
}

/* --- the process --- */

OPT_FLAG(opt_daemonize, daemonize)
OPT_TEXT(opt_pidfile, pidfile)
OPT_TEXT(opt_runas, runas)
OPT_TEXT(opt_chroot, chroot)
OPT_TEXT(opt_sandbox, sandbox)
OPT_FLAG(opt_dry_run, dry_run)
OPT_FLAG(opt_explain, explain)

/* -readconfig and -set are done while the command line is taken down. */
OPT(opt_taken)
{
    (void)c;
    return true;
}

/* --- help --- */

OPT(opt_version)
{
    static const char qemu[] = "qemu-";

    if (!strncmp(c->program, qemu, strlen(qemu)))
        printf("QEMU emulator version 7.2.0 (rhea %s)\n", RHEA_VERSION);
    else
        printf("rhea emulator version %s (compatible with QEMU 7.2.0)\n", RHEA_VERSION);
    c->done = true;
    return true;
}

OPT(opt_help)
{
    options_help(c);
    c->done = true;
    return true;
}

OPT(opt_help_man)
{
    options_man();
    c->done = true;
    return true;
}

OPT(opt_help_completion)
{
    options_completion();
    c->done = true;
    return true;
}

static const Option standard_rows[] = {
    {.name = "h", .doc = "display this help and exit", .apply = opt_help},
    {.name = "help", .doc = "the same", .apply = opt_help},
    {.name = "version", .doc = "display version information and exit", .apply = opt_version},
    {.name = "help-man", .doc = "print the manual page (troff)", .apply = opt_help_man},
    {.name = "help-completion", .doc = "print completions for bash", .apply = opt_help_completion},
    {.name = "explain",
     .doc = "print what the command line means, in its modern form, and exit",
     .apply = opt_explain},
    {.name = "dry-run",
     .doc = "set everything up (files, locks, ports, memory) but start nothing, and exit",
     .apply = opt_dry_run},
    {.name = "name",
     .arg = "string1[,process=string2][,debug-threads=on|off]",
     .doc = "set the name of the guest\nstring1 sets the window title and string2 the process name",
     .apply = opt_name},
    {.name = "uuid",
     .arg = "%08x-%04x-%04x-%04x-%012x",
     .doc = "specify machine UUID",
     .apply = opt_uuid},
    {0},
};
OPTIONS_REGISTER(standard, 0, "Standard options", standard_rows)

static const Option rows[] = {
    {.name = "S",
     .doc = "freeze CPU at startup (use 'c' to start execution)",
     .apply = opt_stopped},
    {.name = "no-reboot", .doc = "exit instead of rebooting", .apply = opt_no_reboot},
    {.name = "no-shutdown", .doc = "stop before shutdown", .apply = opt_no_shutdown},
    {.name = "action",
     .arg = "[reboot=reset|shutdown][,shutdown=poweroff|pause]"
            "[,panic=pause|shutdown|exit-failure|none][,watchdog=action]",
     .doc = "what to do on these events of the guest",
     .apply = opt_action},
    {.name = "watchdog-action",
     .arg = "reset|shutdown|poweroff|inject-nmi|pause|debug|none",
     .doc = "action when watchdog fires [default=reset]",
     .apply = opt_watchdog_action},
    {.name = "pidfile", .arg = "file", .doc = "write PID to 'file'", .apply = opt_pidfile},
    {.name = "daemonize", .doc = "daemonize after initializing", .apply = opt_daemonize},
    {.name = "runas",
     .arg = "user",
     .doc = "change to user id user just before starting the VM\nuser can be numeric uid:gid "
            "instead",
     .apply = opt_runas},
    {.name = "chroot",
     .arg = "dir",
     .doc = "chroot to dir just before starting the VM",
     .apply = opt_chroot},
    {.name = "sandbox",
     .arg = "on[,obsolete=allow|deny][,elevateprivileges=allow|deny|children][,spawn=allow|deny]"
            "[,resourcecontrol=allow|deny]",
     .doc = "filter system calls (seccomp)\nobsolete=allow permits obsolete ones (default: deny)\n"
            "elevateprivileges=deny refuses setuid and its like, children: only for them\n"
            "spawn=deny refuses new processes\nresourcecontrol=deny refuses process priorities",
     .apply = opt_sandbox},
    {.name = "d",
     .arg = "item1,...",
     .doc = "enable logging of specified items (use '-d help' for a list of log items)",
     .apply = opt_log},
    {.name = "D",
     .arg = "logfile",
     .doc = "output log to logfile (default stderr)",
     .apply = opt_log_file},
    {.name = "trace",
     .arg = "[[enable=]<pattern>][,events=<file>][,file=<file>]",
     .doc = "enable trace events ('-trace help' lists them)",
     .apply = opt_trace},
    {.name = "msg",
     .arg = "[timestamp=on|off][,guest-name=on|off]",
     .doc = "control error message format",
     .apply = opt_msg},
    {.name = "readconfig",
     .arg = "<file>",
     .doc = "read options from file: [option \"id\"] key = \"value\"",
     .apply = opt_taken},
    {.name = "set",
     .arg = "group.id.arg=value",
     .doc = "set <arg> parameter for item <id> of type <group>",
     .apply = opt_taken},
    {0},
};
OPTIONS_REGISTER(run, 70, "Debug/Expert options", rows)
