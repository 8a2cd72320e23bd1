/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_char - -chardev, and what connects character devices: -serial, -monitor, -qmp, -mon, -gdb
 * ... */
#include <stdio.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "main/setup.h"

enum { SERIALS_MAX = 4 };

/* --- -chardev --- */

static bool make_chardev(Setup *s, const char *arg, Error *err)
{
    return chardev_add_text(s->chardevs, arg, err);
}

OPT(opt_chardev)
{
    static const OptionMaker maker = {"chardev",          "backend",     KEYVAL_FLAGS, chardev_help,
                                      chardev_class_help, STAGE_CHARDEV, make_chardev};

    return option_make(c, &maker, arg, err);
}

/* --- front ends of the board --- */

/* The back end that @arg describes, claimed; "mon:" gets a monitor too. */
static Chardev *claim(Setup *s, const char *arg, const char *id, Error *err)
{
    bool monitor = false;
    AUTO_FREE char *name = chardev_add_compat(s->chardevs, arg, id, &monitor, err);
    Chardev *c = name ? chardev_claim(s->chardevs, name, err) : NULL;

    if (c && monitor && !setup_monitor(s, name, MONITOR_READLINE, false, err)) {
        chardev_release(c);
        return NULL;
    }
    return c;
}

static bool make_serial(Setup *s, const char *arg, Error *err)
{
    unsigned n = s->n_serials++;
    char id[16];

    if (n >= SERIALS_MAX)
        return error_set(err, "a fifth serial port: the board has four");
    snprintf(id, sizeof id, "serial%u", n);
    if (!strcmp(arg, "none"))
        return true;
    s->m->serial[n] = claim(s, arg, id, err);
    return s->m->serial[n] != NULL;
}

OPT(opt_serial)
{
    c->has_serial = true;
    if (!strncmp(arg, "mon:", 4))
        c->has_monitor = true;
    config_later(c, STAGE_PORT, make_serial, "serial", arg);
    return true;
}

static bool make_debugcon(Setup *s, const char *arg, Error *err)
{
    if (s->m->debugcon)
        return error_set(err, "only one debug console");
    s->m->debugcon = claim(s, arg, "debugcon", err);
    return s->m->debugcon != NULL;
}

OPT(opt_debugcon)
{
    config_later(c, STAGE_PORT, make_debugcon, "debugcon", arg);
    return true;
}

/* No board has a parallel port: what is connected to it never says anything. */
static bool make_parallel(Setup *s, const char *arg, Error *err)
{
    return !strcmp(arg, "none") || !strcmp(arg, "null") ||
           error_set(err, "machine '%s' has no parallel port (-parallel none)", s->m->board->name);
}

OPT(opt_parallel)
{
    c->has_parallel = true;
    config_later(c, STAGE_PORT, make_parallel, "parallel", arg);
    return true;
}

/* --- monitors --- */

static bool make_compat_monitor(Setup *s, const char *arg, MonitorMode mode, bool pretty,
                                Error *err)
{
    AUTO_FREE char *name = NULL;
    bool monitor;
    char id[32];

    if (!strcmp(arg, "none"))
        return true;
    snprintf(id, sizeof id, "compat_monitor%u", s->n_compat++);
    name = chardev_add_compat(s->chardevs, arg, id, &monitor, err);
    return name && setup_monitor(s, name, mode, pretty, err);
}

static bool make_monitor(Setup *s, const char *arg, Error *err)
{
    return make_compat_monitor(s, arg, MONITOR_READLINE, false, err);
}

static bool make_qmp(Setup *s, const char *arg, Error *err)
{
    return make_compat_monitor(s, arg, MONITOR_CONTROL, false, err);
}

static bool make_qmp_pretty(Setup *s, const char *arg, Error *err)
{
    return make_compat_monitor(s, arg, MONITOR_CONTROL, true, err);
}

OPT(opt_monitor)
{
    c->has_monitor = true;
    config_later(c, STAGE_MONITOR, make_monitor, "monitor", arg);
    return true;
}

OPT(opt_qmp)
{
    c->has_monitor = true;
    config_later(c, STAGE_MONITOR, make_qmp, "qmp", arg);
    return true;
}

OPT(opt_qmp_pretty)
{
    c->has_monitor = true;
    config_later(c, STAGE_MONITOR, make_qmp_pretty, "qmp-pretty", arg);
    return true;
}

/* -mon [chardev=]id[,mode=readline|control][,pretty=on|off] */
static bool make_mon(Setup *s, const char *arg, Error *err)
{
    const char *id, *mode;
    bool pretty = false, ok = false;
    Opts o;

    if (!opts_parse(&o, arg, "chardev", err))
        return false;
    id = opts_get(&o, "chardev");
    mode = opts_get(&o, "mode");
    opts_get(&o, "id");
    if (!opts_get_bool(&o, "pretty", &pretty, err) || !opts_all_used(&o, err))
        ok = false;
    else if (!id)
        error_set(err, "Parameter 'chardev' is missing");
    else if (mode && strcmp(mode, "readline") && strcmp(mode, "control"))
        value_refused("mode", mode, err);
    else if (pretty && (!mode || !strcmp(mode, "readline")))
        error_set(err, "'pretty' is not compatible with HMP monitors");
    else
        ok = setup_monitor(s, id,
                           mode && !strcmp(mode, "control") ? MONITOR_CONTROL : MONITOR_READLINE,
                           pretty, err);
    opts_free(&o);
    return ok;
}

OPT(opt_mon)
{
    c->has_monitor = true;
    config_later(c, STAGE_MONITOR, make_mon, "mon", arg);
    return true;
}

/* --- gdb --- */

static void gdb_monitor(Machine *m, const char *line, unsigned cpu, StrBuf *out)
{
    hmp_run(m, line, cpu, out);
}

static bool make_gdb(Setup *s, const char *arg, Error *err)
{
    AUTO_FREE char *text = !strncmp(arg, "tcp:", 4) || !strncmp(arg, "unix:", 5)
                               ? xasprintf("%s,server=on,wait=off,nodelay=on", arg)
                               : xstrdup(arg);
    Chardev *c;

    if (!strcmp(arg, "none"))
        return true;
    if (s->gdb)
        return error_set(err, "there is one gdb stub for each machine");
    c = claim(s, text, "gdb", err);
    if (!c || !(s->gdb = gdbstub_new(s->m, c, err)))
        return false;
    gdbstub_set_monitor(s->gdb, gdb_monitor);
    return true;
}

OPT(opt_gdb)
{
    config_later(c, STAGE_LATE, make_gdb, "gdb", arg);
    return true;
}

/* A number, or one character. */
OPT(opt_echr)
{
    uint64_t v;

    if (!parse_u64(arg, &v) || v > 255)
        return error_set(err, "the escape character is a number from 1 to 255, such as 0x14");
    c->escape = (uint8_t)v;
    return true;
}

static const Option char_rows[] = {
    {.name = "chardev",
     .arg = "backend,id=id[,mux=on|off][,logfile=PATH][,logappend=on|off][,...]",
     .doc = "make a character device\nuse '-chardev help' to list the kinds, '-chardev kind,help' "
            "for the options of one",
     .apply = opt_chardev},
    {0},
};
OPTIONS_REGISTER(chardevs, 50, "Character device options", char_rows)

static const Option rows[] = {
    {.name = "serial",
     .arg = "dev",
     .doc = "redirect the serial port to char device 'dev'\nstdio, mon:stdio, pty, null, none, "
            "chardev:ID, file:PATH, pipe:PATH,\nunix:PATH[,server=on,wait=off], "
            "tcp:[host]:port[,server=on,wait=off], telnet:..., websocket:..., udp:host:port",
     .apply = opt_serial},
    {.name = "parallel",
     .arg = "dev",
     .doc = "redirect the parallel port to char device 'dev'",
     .apply = opt_parallel},
    {.name = "debugcon",
     .arg = "dev",
     .doc = "redirect port 0xe9 to char device 'dev'",
     .apply = opt_debugcon},
    {.name = "monitor",
     .arg = "dev",
     .doc = "redirect the monitor to char device 'dev'",
     .apply = opt_monitor},
    {.name = "qmp",
     .arg = "dev",
     .doc = "like -monitor but opens in 'control' mode",
     .apply = opt_qmp},
    {.name = "qmp-pretty",
     .arg = "dev",
     .doc = "like -qmp but uses pretty JSON formatting",
     .apply = opt_qmp_pretty},
    {.name = "mon",
     .arg = "[chardev=]name[,mode=readline|control][,pretty[=on|off]]",
     .doc = "make a monitor on character device 'name'",
     .apply = opt_mon},
    {.name = "gdb", .arg = "dev", .doc = "accept gdb connection on 'dev'", .apply = opt_gdb},
    {.name = "s", .doc = "shorthand for -gdb tcp::1234", .now = "gdb tcp::1234"},
    {.name = "echr",
     .arg = "chr",
     .doc = "set terminal escape character instead of ctrl-a",
     .apply = opt_echr},
    {0},
};
OPTIONS_REGISTER(chars, 70, "Debug/Expert options", rows)
