/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options - the table of options, its parser, its help; options.h has the contract */
#define _GNU_SOURCE
#include "main/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"

void set_text(char **member, const char *to)
{
    xfree(*member);
    *member = xstrdup(to);
}

void text_add(TextList *l, const char *s)
{
    l->s = xrealloc(l->s, (l->n + 1) * sizeof *l->s);
    l->s[l->n++] = xstrdup(s);
}

static void text_free(TextList *l)
{
    for (unsigned i = 0; i < l->n; i++)
        xfree(l->s[i]);
    xfree(l->s);
}

bool is_help(const char *arg)
{
    return !strcmp(arg, "help") || !strcmp(arg, "?");
}

/* --- small handlers --- */

#define OPT(name) static bool name(Config *c, UNUSED const char *arg, UNUSED Error *err)
#define OPT_TEXT(name, member)                                                                     \
    OPT(name)                                                                                      \
    {                                                                                              \
        set_text(&c->member, arg);                                                                 \
        return true;                                                                               \
    }
#define OPT_FLAG(name, member)                                                                     \
    OPT(name)                                                                                      \
    {                                                                                              \
        c->member = true;                                                                          \
        return true;                                                                               \
    }

OPT_TEXT(opt_kernel, mc.kernel)
OPT_TEXT(opt_initrd, mc.initrd)
OPT_TEXT(opt_append, mc.append)
OPT_TEXT(opt_bios, mc.bios)
OPT_TEXT(opt_debugcon, debugcon)
OPT_TEXT(opt_log_file, log_file)
OPT_FLAG(opt_no_reboot, mc.no_reboot)
OPT_FLAG(opt_no_shutdown, mc.no_shutdown)
OPT_FLAG(opt_nographic, nographic)
OPT_FLAG(opt_nodefaults, nodefaults)
OPT(opt_nothing)
{
    (void)c;
    return true;
}

/* Options of which only `none` is there: nothing else to switch off. */
OPT(opt_only_none)
{
    (void)c;
    return !strcmp(arg, "none") || error_set(err, "not built yet (only 'none')");
}

OPT(opt_display)
{
    c->display_given = true;
    if (is_help(arg)) {
        printf("Available display backend types:\nnone\n");
        c->done = true;
        return true;
    }
    return opt_only_none(c, arg, err);
}

OPT(opt_serial)
{
    if (c->serials.n == 4)
        return error_set(err, "a fifth serial port: the board has four");
    text_add(&c->serials, arg);
    return true;
}

OPT(opt_device)
{
    bool ok = true;
    const char *driver;
    Opts o;

    if (!opts_parse(&o, arg, "driver", err))
        return false;
    driver = opts_get(&o, "driver");
    c->done |= (driver && is_help(driver)) || opts_get(&o, "help");
    if (!driver)
        ok = error_set(err, "names no device");
    else if (is_help(driver))
        list_devices();
    else if (c->done)
        ok = list_properties(driver, err);
    else
        text_add(&c->devices, arg);
    opts_free(&o);
    return ok;
}

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

OPT(opt_name)
{
    const char *value;
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, "guest", err))
        return false;
    if ((value = opts_get(&o, "guest")))
        set_text(&c->name, value);
    if ((value = opts_get(&o, "process")))
        set_text(&c->process_name, value);
    if ((value = opts_get(&o, "debug-threads")) && !parse_bool(value, &c->debug_threads))
        ok = error_set(err, "debug-threads=%s is neither on nor off", value);
    ok = ok && opts_all_used(&o, err);
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
    return ok || error_set(err, "not a UUID (%s)", form);
}

OPT(opt_version)
{
    printf("rhea emulator version 0.1\n");
    c->done = true;
    return true;
}

OPT(opt_help)
{
    options_help(c);
    c->done = true;
    return true;
}

/* --- the table --- */

const Option option_table[] = {
    {"Standard options", NULL, NULL, NULL, NULL},
    {"h", NULL, NULL, "display this help and exit", opt_help},
    {"help", NULL, NULL, "the same", opt_help},
    {"version", NULL, NULL, "display version information and exit", opt_version},
    {"machine", "M", "[type=]name[,prop[=value][,...]]",
     "selects emulated machine ('-machine help' for list)\n"
     "property accel=accel1[:accel2[:...]] selects accelerator (default: jit)\n"
     "acpi=on|off describe the board by ACPI tables (default: on)\n"
     "hpet=on|off high precision event timers (default: on)",
     opt_machine},
    {"cpu", NULL, "cpu[,+feature][,-feature][,feature=on|off]", "select CPU ('-cpu help' for list)",
     opt_cpu},
    {"accel", NULL, "[accel=]accelerator[,prop[=value][,...]]",
     "select accelerator (jit, also called tcg; use 'help' for a list)\n"
     "thread=single|multi one host thread for all processors or for each (default: multi)\n"
     "tb-size=n size of the code cache in MiB\n"
     "backend=x64|interp make host code, or interpret (default: x64)",
     opt_accel},
    {"smp", NULL,
     "[[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,dies=dies][,cores=cores][,threads=threads]",
     "set the number of initial CPUs to 'n' (default: 1)", opt_smp},
    {"m", NULL, "[size=]megs", "configure guest RAM", opt_memory},
    {"name", NULL, "string1[,process=string2][,debug-threads=on|off]",
     "set the name of the guest\nstring1 sets the window title and string2 the process name",
     opt_name},
    {"uuid", NULL, "%08x-%04x-%04x-%04x-%012x", "specify machine UUID (not shown to guests yet)",
     opt_uuid},
    {"rtc", NULL, "[base=utc|localtime|<datetime>][,clock=host][,driftfix=none|slew]",
     "set the RTC base and clock", opt_rtc},
    {"enable-kvm", NULL, NULL, "the same as -accel kvm", opt_enable_kvm},

    {"Device options", NULL, NULL, NULL, NULL},
    {"device", NULL, "driver[,prop[=value][,...]]",
     "add device (based on driver)\nprop=value,... sets driver properties\n"
     "use '-device help' to print all possible drivers\nuse '-device driver,help' to print all "
     "possible properties",
     opt_device},
    {"nodefaults", NULL, NULL, "don't create default devices", opt_nodefaults},
    {"no-user-config", NULL, NULL,
     "do not load default user-provided config files (there are none)", opt_nothing},

    {"Display and network options", NULL, NULL, NULL, NULL},
    {"display", NULL, "none", "no display is built yet", opt_display},
    {"nographic", NULL, NULL, "no display; serial port on the terminal, with commands after Ctrl-a",
     opt_nographic},
    {"vga", NULL, "none", "no display adapter is built yet", opt_only_none},
    {"net", NULL, "none", "no network is built yet", opt_only_none},
    {"nic", NULL, "none", "no network is built yet", opt_only_none},

    {"Linux/Multiboot boot specific", NULL, NULL, NULL, NULL},
    {"kernel", NULL, "bzImage",
     "use 'bzImage' as kernel image (or an ELF file with a PVH note, or a multiboot kernel)",
     opt_kernel},
    {"append", NULL, "cmdline", "use 'cmdline' as kernel command line", opt_append},
    {"initrd", NULL, "file",
     "use 'file' as initial ram disk; multiboot, PVH: \"file args,file args\" are modules",
     opt_initrd},
    {"bios", NULL, "file", "firmware that starts at the reset vector", opt_bios},

    {"Debug/Expert options", NULL, NULL, NULL, NULL},
    {"serial", NULL, "dev",
     "redirect the serial port to char device 'dev' (stdio, mon:stdio, file:PATH, pty, null, none)",
     opt_serial},
    {"parallel", NULL, "none", "no parallel port is built yet", opt_only_none},
    {"monitor", NULL, "none", "the monitor is not built yet", opt_only_none},
    {"debugcon", NULL, "dev", "redirect port 0xe9 to char device 'dev'", opt_debugcon},
    {"no-reboot", NULL, NULL, "exit instead of rebooting", opt_no_reboot},
    {"no-shutdown", NULL, NULL, "stop before shutdown", opt_no_shutdown},
    {"d", NULL, "item1,...",
     "enable logging of specified items (use '-d help' for a list of log items)", opt_log},
    {"D", NULL, "logfile", "output log to logfile (default stderr)", opt_log_file},
    {NULL, NULL, NULL, NULL, NULL},
};

const char options_missing[] =
    "L S acpitable action add-fd async-teardown audio audio-help audiodev balloon "
    "blockdev boot cdrom chardev chroot compat curses daemonize dfilter drive dtb "
    "dump-vmstate echr enable-sync-profile fda fdb fsdev full-screen fw_cfg gdb global "
    "hda hdb hdc hdd icount incoming iscsi k loadvm mem-path mem-prealloc mon msg "
    "mtdblock netdev no-acpi no-fd-bootchk no-hpet no-quit numa object only-migratable "
    "option-rom overcommit pflash pidfile plugin portrait preconfig qmp qmp-pretty qtest "
    "readconfig rotate run-with runas s sandbox sd sdl seed semihosting set shim "
    "singlestep smbios snapshot soundhw spice tpmdev trace usb usbdevice virtfs vnc "
    "watchdog watchdog-action win2k-hack writeconfig xen-attach xen-domid "
    "xen-domid-restrict";

/* --- help --- */

enum { HELP_COLUMN = 16 };

static void help_line(const Option *o)
{
    int n;

    if (!o->doc) {
        printf("\n%s:\n", o->name);
        return;
    }
    n = printf("-%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    if (o->alias)
        n += printf(" (or -%s)", o->alias);
    if (n >= HELP_COLUMN)
        n = printf("\n") * 0;
    for (const char *s = o->doc; s;) {
        const char *end = strchrnul(s, '\n');

        printf("%*s%.*s\n", HELP_COLUMN - n, "", (int)(end - s), s);
        n = 0;
        s = *end ? end + 1 : NULL;
    }
}

void options_help(const Config *c)
{
    printf("rhea emulator version 0.1\nusage: %s [options]\n", c->program);
    for (const Option *o = option_table; o->name; o++)
        help_line(o);
    printf("\nNot built yet: %s\n", options_missing);
    printf("\nDuring emulation with -nographic or -serial mon:stdio, Ctrl-a h lists the keys' "
           "commands.\n");
}

/* --- parser --- */

static const Option *option_find(const char *name)
{
    for (const Option *o = option_table; o->name; o++)
        if (o->doc && (!strcmp(o->name, name) || (o->alias && !strcmp(o->alias, name))))
            return o;
    return NULL;
}

bool option_is_missing(const char *name)
{
    size_t n = strlen(name);

    for (const char *s = options_missing; *s; s += strcspn(s, " "), s += *s == ' ')
        if (strcspn(s, " ") == n && !memcmp(s, name, n))
            return true;
    return false;
}

static bool unknown_option(const char *name, Error *err)
{
    const char *names[COUNT_OF(option_table) * 2], *near;
    unsigned n = 0;

    if (option_is_missing(name))
        return error_set(err, "-%s: this option is not built yet", name);
    for (const Option *o = option_table; o->name; o++)
        if (o->doc)
            names[n++] = o->name;
    near = nearest_name(name, names, n);
    if (near)
        return error_set(err, "-%s: invalid option; did you mean -%s?", name, near);
    return error_set(err, "-%s: invalid option", name);
}

bool options_parse(Config *c, int argc, char **argv, Error *err)
{
    for (int i = 1; i < argc && !c->done; i++) {
        const char *name = argv[i], *arg = NULL;
        const Option *o;

        if (*name != '-' || !name[1])
            return error_set(err, "'%s': disk images are not built yet", name);
        name += name[1] == '-' ? 2 : 1;
        o = option_find(name);
        if (!o)
            return unknown_option(name, err);
        if (o->arg && i + 1 == argc)
            return error_set(err, "-%s: requires an argument", name);
        if (o->arg)
            arg = argv[++i];
        if (!o->apply(c, arg, err))
            return arg ? error_prefix(err, "-%s %s: ", name, arg)
                       : error_prefix(err, "-%s: ", name);
    }
    return true;
}

/* --- config --- */

void config_init(Config *c, const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *dash;

    *c = (Config){.program = xstrdup(slash ? slash + 1 : argv0 ? argv0 : "rhea"), .arch = "x86_64"};
    c->mc.rtc_utc = true;
    c->mc.cpus = c->mc.max_cpus = c->mc.sockets = c->mc.dies = c->mc.cores = c->mc.threads = 1;
    dash = strstr(c->program, "-system-");
    if (dash)
        c->arch = strcmp(dash + 8, "i386") ? dash + 8 : "i386";
}

void config_free(Config *c)
{
    char *texts[] = {c->program,      c->board,     c->accels,   c->debugcon,     c->name,
                     c->process_name, c->uuid,      c->log_file, c->mc.cpu_model, c->mc.kernel,
                     c->mc.initrd,    c->mc.append, c->mc.bios,  c->mc.dtb};

    for (unsigned i = 0; i < COUNT_OF(texts); i++)
        xfree(texts[i]);
    text_free(&c->serials);
    text_free(&c->devices);
    opts_free(&c->board_opts);
    *c = (Config){0};
}
