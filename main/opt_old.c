/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt_old - spellings that QEMU had once and what they mean today; options of QEMU that are not built
 *
 * All of them give way to other tables that have the name.
 */
#include <stdio.h>

#include "main/options.h"

#define OLD(nm, means)                                                                             \
    {                                                                                              \
        .name = nm, .now = means, .flags = OPTION_FALLBACK                                         \
    }
#define OLD_ARG(nm, means)                                                                         \
    {                                                                                              \
        .name = nm, .arg = "arg", .now = means, .flags = OPTION_FALLBACK                           \
    }
#define MISSING(nm, why)                                                                           \
    {                                                                                              \
        .name = nm, .missing = why, .flags = OPTION_FALLBACK                                       \
    }
#define MISSING_ARG(nm, why)                                                                       \
    {                                                                                              \
        .name = nm, .arg = "arg", .missing = why, .flags = OPTION_FALLBACK                         \
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
    OLD_ARG("realtime", "overcommit mem-lock=on"),
    OLD_ARG("kvm-shadow-memory", "accel kvm,kvm-shadow-mem=%s"),
    OLD_ARG("machine-type", "machine %s"),
    OLD("show-cursor", ""),
    OLD("old-param", ""),
    OLD("no-user-config", ""),
    OLD("async-teardown", ""),
    OLD("only-migratable", ""),
    OLD("enable-sync-profile", ""),
    OLD_ARG("compat", ""),
    {0},
};
OPTIONS_REGISTER(old, 900, NULL, old_rows)

/* --- balloon: "none" was the default, "virtio" a device --- */

OPT(opt_balloon)
{
    const char *rest = strchr(arg, ',');
    char text[256];

    if (!strcmp(arg, "none"))
        return true;
    if (strncmp(arg, "virtio", 6))
        return value_refused("balloon", arg, err);
    snprintf(text, sizeof text, "virtio-balloon%s", rest ? rest : "");
    return option_apply(c, "device", text, err);
}

/* Of these only `none` is there: nothing else to switch off. */
static bool only_none(const char *arg, const char *what, Error *err)
{
    return !strcmp(arg, "none") || error_set(err, "no %s is built yet (only 'none')", what);
}

OPT(opt_vga)
{
    (void)c;
    return only_none(arg, "display adapter", err);
}

OPT(opt_net)
{
    (void)c;
    return only_none(arg, "network", err);
}

OPT(opt_display)
{
    c->display_given = true;
    if (is_help(arg)) {
        printf("Available display backend types:\nnone\n");
        c->done = true;
        return true;
    }
    return only_none(arg, "display", err);
}

OPT_FLAG(opt_nographic, nographic)

OPT(opt_keyboard)
{
    (void)c;
    return *arg || error_set(err, "names no keyboard layout");
}

static const Option display_rows[] = {
    {.name = "nographic",
     .doc = "no display; serial port and monitor on the terminal, with commands after Ctrl-a",
     .apply = opt_nographic},
    {.name = "display",
     .arg = "none",
     .doc = "no display is built yet",
     .apply = opt_display,
     .flags = OPTION_FALLBACK},
    {.name = "vga",
     .arg = "none",
     .doc = "no display adapter is built yet",
     .apply = opt_vga,
     .flags = OPTION_FALLBACK},
    {.name = "k",
     .arg = "language",
     .doc = "keyboard layout of displays",
     .apply = opt_keyboard,
     .flags = OPTION_FALLBACK},
    {.name = "net",
     .arg = "none",
     .doc = "no network is built yet",
     .apply = opt_net,
     .flags = OPTION_FALLBACK},
    {.name = "nic",
     .arg = "none",
     .doc = "no network is built yet",
     .apply = opt_net,
     .flags = OPTION_FALLBACK},
    {.name = "balloon",
     .arg = "none|virtio[,...]",
     .doc = "the same as -device virtio-balloon",
     .apply = opt_balloon,
     .flags = OPTION_FALLBACK},
    {0},
};
OPTIONS_REGISTER(display, 40, "Display and network options", display_rows)

#define NO_BLOCK "disk images are not built yet"
#define NO_DISPLAY "no display is built yet (-display none, -nographic)"
#define NO_NET "no network is built yet"
#define NO_AUDIO "no sound is built yet"
#define NO_USB "no USB controller is built yet"
static const Option missing_rows[] = {
    MISSING_ARG("drive", NO_BLOCK " (this option is not built yet)"),
    MISSING_ARG("blockdev", NO_BLOCK),
    MISSING_ARG("hda", NO_BLOCK),
    MISSING_ARG("hdb", NO_BLOCK),
    MISSING_ARG("hdc", NO_BLOCK),
    MISSING_ARG("hdd", NO_BLOCK),
    MISSING_ARG("cdrom", NO_BLOCK),
    MISSING_ARG("fda", NO_BLOCK),
    MISSING_ARG("fdb", NO_BLOCK),
    MISSING_ARG("sd", NO_BLOCK),
    MISSING_ARG("mtdblock", NO_BLOCK),
    MISSING_ARG("pflash", NO_BLOCK),
    MISSING("snapshot", NO_BLOCK),
    MISSING_ARG("iscsi", "iSCSI is not built"),
    MISSING_ARG("fsdev", "9p file sharing is not built yet"),
    MISSING_ARG("virtfs", "9p file sharing is not built yet"),
    MISSING_ARG("netdev", NO_NET),
    MISSING_ARG("vnc", NO_DISPLAY),
    MISSING_ARG("spice", "SPICE is not supported; use -vnc"),
    MISSING("full-screen", NO_DISPLAY),
    MISSING_ARG("g", NO_DISPLAY),
    MISSING("portrait", NO_DISPLAY),
    MISSING_ARG("rotate", NO_DISPLAY),
    MISSING_ARG("audio", NO_AUDIO),
    MISSING("audio-help", NO_AUDIO),
    MISSING_ARG("soundhw", NO_AUDIO),
    MISSING("usb", NO_USB),
    MISSING_ARG("usbdevice", NO_USB),
    MISSING_ARG("tpmdev", "TPM back ends are not built"),
    MISSING_ARG("incoming", "migration is not built yet"),
    MISSING_ARG("loadvm", "snapshots are not built yet"),
    MISSING_ARG("icount", "instruction counting is not built"),
    MISSING_ARG("dfilter", "filters of -d by address are not built"),
    MISSING_ARG("dump-vmstate", "the state description is not built as JSON"),
    MISSING_ARG("plugin", "TCG plugins are not supported"),
    MISSING_ARG("qtest", "the qtest protocol is not supported"),
    MISSING_ARG("qtest-log", "the qtest protocol is not supported"),
    MISSING_ARG("run-with", "not built"),
    MISSING_ARG("seed", "a fixed random seed is not built"),
    MISSING("semihosting", "x86 machines have no semihosting"),
    MISSING_ARG("semihosting-config", "x86 machines have no semihosting"),
    MISSING_ARG("shim", "-shim is not built (-kernel with a PVH or bzImage kernel is)"),
    MISSING_ARG("writeconfig", "QEMU removed it too; see --explain"),
    MISSING("preconfig", "the preconfig state is not built"),
    MISSING_ARG("prom-env", "x86 machines have no Open Firmware"),
    MISSING_ARG("xen-domid", "Xen is not supported"),
    MISSING("xen-attach", "Xen is not supported"),
    MISSING("xen-domid-restrict", "Xen is not supported"),
    {0},
};
OPTIONS_REGISTER(missing, 910, NULL, missing_rows)
