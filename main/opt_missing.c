/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt_missing - options of QEMU 7.2 that are not built, or of which only `none` is
 *
 * All of them give way to other tables that have the name.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "main/not_built.h"

/* --- displays and networks: nothing but none --- */

static const char *const vga_types[] = {"none",   "std", "cirrus", "vmware", "qxl",
                                        "virtio", "cg3", "tcx",    "xenfb",  NULL};
static const char *const display_types[] = {"none",         "gtk",       "sdl",  "curses", "vnc",
                                            "egl-headless", "spice-app", "dbus", "cocoa",  NULL};
static const char *const net_types[] = {
    "none",   "user",   "tap", "bridge",  "socket", "stream",     "dgram",      "vde",
    "l2tpv3", "netmap", "nic", "hubport", "passt",  "vhost-user", "vhost-vdpa", NULL};
static const NotBuilt vga_kinds = {"vga", vga_types, "there is no display adapter yet (-vga none)"};
static const NotBuilt display_kinds = {"type", display_types,
                                       "there is no display yet (-display none, -nographic)"};
static const NotBuilt net_kinds = {"type", net_types, "there is no network yet (-nic none)"};

/* `help`, or a kind with options behind it: text or JSON. */
static bool take_kind(Config *c, const NotBuilt *kinds, const char *arg, const char *heading,
                      Error *err)
{
    const char *kind;
    bool ok;
    Opts o;

    if (is_help(arg)) {
        printf("%s:\nnone\n", heading);
        c->done = true;
        return true;
    }
    if (!opts_parse(&o, arg, kinds->key, err))
        return false;
    kind = opts_get(&o, kinds->key);
    ok = kind ? only_none(kinds, kind, err)
              : error_set(err, "Parameter '%s' is missing", kinds->key);
    opts_free(&o);
    return ok;
}

OPT(opt_vga)
{
    return take_kind(c, &vga_kinds, arg, "Available display adapters", err);
}

OPT(opt_net)
{
    return take_kind(c, &net_kinds, arg, "Available netdev backend types", err);
}

OPT(opt_display)
{
    c->display_given = true;
    return take_kind(c, &display_kinds, arg, "Available display backend types", err);
}

OPT(opt_vnc)
{
    (void)c;
    return !strcmp(arg, "none") ||
           error_set(err, "VNC is not built yet (-display none, -nographic, or -vnc none)");
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
    {.name = "vnc",
     .arg = "none",
     .doc = "no VNC server is built yet",
     .apply = opt_vnc,
     .flags = OPTION_FALLBACK},
    {.name = "k",
     .arg = "language",
     .doc = "keyboard layout of displays: changes nothing yet",
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
    {.name = "netdev",
     .arg = "none",
     .doc = "no network is built yet",
     .apply = opt_net,
     .flags = OPTION_FALLBACK},
    {0},
};
OPTIONS_REGISTER(display, 40, "Display and network options", display_rows)

/* --- nothing of it is there --- */

#define MISSING(nm, why)                                                                           \
    {                                                                                              \
        .name = nm, .missing = why, .flags = OPTION_FALLBACK                                       \
    }
#define MISSING_ARG(nm, why)                                                                       \
    {                                                                                              \
        .name = nm, .arg = "arg", .missing = why, .flags = OPTION_FALLBACK                         \
    }
#define NO_DISPLAY "there is no display yet (-display none, -nographic); leave it out"
#define NO_SOUND "there is no sound device yet (-audiodev none,id=ID is taken); leave it out"
#define NO_NET "there is no network yet (-nic none); leave it out"
#define NO_USB "there is no USB controller yet; leave it out"
#define NO_SHARE "9p file sharing is not built yet; an -initrd can carry files"
#define NO_QTEST "the qtest protocol is not supported (-S and QMP control a machine)"
#define NO_SEMIHOSTING "x86 machines have no semihosting (-debugcon takes a guest's output)"
#define NO_XEN "Xen is not supported; leave it out"
static const Option missing_rows[] = {
    MISSING_ARG("iscsi", "iSCSI is not built (-blockdev nbd and http are)"),
    MISSING_ARG("fsdev", NO_SHARE),
    MISSING_ARG("virtfs", NO_SHARE),
    MISSING_ARG("spice", "SPICE is not supported (-display none, -nographic)"),
    MISSING("full-screen", NO_DISPLAY),
    MISSING_ARG("g", NO_DISPLAY),
    MISSING("portrait", NO_DISPLAY),
    MISSING_ARG("rotate", NO_DISPLAY),
    MISSING_ARG("audio", NO_SOUND),
    MISSING("audio-help", NO_SOUND),
    MISSING_ARG("soundhw", NO_SOUND),
    MISSING_ARG("redir", NO_NET),
    MISSING_ARG("tftp", NO_NET),
    MISSING_ARG("bootp", NO_NET),
    MISSING_ARG("smb", NO_NET),
    MISSING("usb", NO_USB),
    MISSING_ARG("usbdevice", NO_USB),
    MISSING_ARG("tpmdev", "there is no TPM yet; leave it out"),
    MISSING_ARG("incoming", "migration is not built yet; start the machine anew"),
    MISSING_ARG("loadvm",
                "saved states are not built yet; start the machine anew (rhea-img snapshot -a "
                "restores the disks)"),
    MISSING_ARG("icount", "instruction counting is not built; -rtc clock=vm follows the machine"),
    MISSING_ARG("dfilter", "-d cannot be limited to addresses yet; leave it out"),
    MISSING_ARG("dump-vmstate", "the saved state is not described as JSON; leave it out"),
    MISSING_ARG("plugin", "TCG plugins are not supported (-d, -trace and -gdb show what runs)"),
    MISSING_ARG("qtest", NO_QTEST),
    MISSING_ARG("qtest-log", NO_QTEST),
    MISSING_ARG("run-with", "it is newer than QEMU 7.2; leave it out"),
    MISSING_ARG("seed", "random numbers cannot be repeated yet; leave it out"),
    MISSING("semihosting", NO_SEMIHOSTING),
    MISSING_ARG("semihosting-config", NO_SEMIHOSTING),
    MISSING_ARG("shim", "-shim is not built (-kernel with a PVH or bzImage kernel is)"),
    MISSING_ARG("writeconfig", "QEMU removed it; --explain prints a command line"),
    MISSING("preconfig",
            "the preconfig state is not built (-S stops before the first instruction)"),
    MISSING_ARG("prom-env", "x86 machines have no Open Firmware; leave it out"),
    MISSING_ARG("xen-domid", NO_XEN),
    MISSING("xen-attach", NO_XEN),
    MISSING("xen-domid-restrict", NO_XEN),
    {0},
};
OPTIONS_REGISTER(missing, 910, NULL, missing_rows)
