/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt_old - spellings that QEMU had once, and what they mean today
 *
 * All of them give way to other tables that have the name.
 */
#include "base/alloc.h"
#include "main/options.h"

#define OLD(nm, means)                                                                             \
    {                                                                                              \
        .name = nm, .now = means, .flags = OPTION_FALLBACK                                         \
    }
#define OLD_ARG(nm, means)                                                                         \
    {                                                                                              \
        .name = nm, .arg = "arg", .now = means, .flags = OPTION_FALLBACK                           \
    }
static const Option old_rows[] = {
    OLD("enable-kvm", "accel kvm"),
    OLD("no-kvm", "accel tcg"),
    OLD("no-kvm-irqchip", "machine kernel_irqchip=off"),
    OLD("no-kvm-pit", ""),
    OLD("no-kvm-pit-reinjection", "global kvm-pit.lost_tick_policy=discard"),
    OLD("enable-hax", "accel hax"),
    OLD("no-acpi", "machine acpi=off"),
    OLD("no-hpet", "machine hpet=off"),
    OLD("no-fd-bootchk", "machine fd-bootchk=off"),
    OLD("localtime", "rtc base=localtime"),
    OLD_ARG("startdate", "rtc base=%s"),
    OLD("rtc-td-hack", "rtc driftfix=slew"),
    OLD("tdf", "rtc driftfix=slew"),
    OLD("win2k-hack", ""),
    OLD("nodefconfig", "no-user-config"),
    OLD("curses", "display curses"),
    OLD("sdl", "display sdl"),
    OLD("std-vga", "vga std"),
    OLD("no-frame", ""),
    OLD("alt-grab", ""),
    OLD("ctrl-grab", ""),
    OLD("no-quit", ""),
    OLD_ARG("clock", ""),
    OLD_ARG("bt", ""),
    OLD_ARG("tb-size", "accel tcg,tb-size=%s"),
    OLD("singlestep", "accel tcg,one-insn-per-tb=on"),
    OLD_ARG("watchdog", "device %s"),
    OLD_ARG("kvm-shadow-memory", "accel kvm,kvm-shadow-mem=%s"),
    OLD_ARG("machine-type", "machine %s"),
    OLD("show-cursor", ""),
    OLD("old-param", ""),
    OLD("async-teardown", ""),
    OLD("only-migratable", ""),
    OLD("enable-sync-profile", ""),
    OLD_ARG("compat", ""),
    OLD("enable-fips", ""),
    OLD_ARG("hdachs", ""),
    {0},
};
OPTIONS_REGISTER(old, 900, NULL, old_rows)

/* --- where the argument decides --- */

/* "none" was the default, "virtio" a device. */
static char *balloon(const char *arg)
{
    return !strcmp(arg, "none")         ? xstrdup("")
           : !strncmp(arg, "virtio", 6) ? xasprintf("device virtio-balloon%s", arg + 6)
                                        : xasprintf("device %s", arg);
}

static char *realtime(const char *arg)
{
    const char *value = strchr(arg, '=');

    return xasprintf("overcommit mem-lock=%s", value ? value + 1 : "on");
}

#define OLD_FN(nm, fn)                                                                             \
    {                                                                                              \
        .name = nm, .arg = "arg", .translate = fn, .flags = OPTION_FALLBACK                        \
    }
static const Option translated_rows[] = {
    OLD_FN("balloon", balloon),
    OLD_FN("realtime", realtime),
    {0},
};
OPTIONS_REGISTER(translated, 900, NULL, translated_rows)
