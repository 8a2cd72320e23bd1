/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugcon - a port whose bytes go to a character back end, as Bochs' port 0xe9
 *
 * No flow control: what a full back end does not take is lost.
 */
#include "hw/char/debugcon.h"

#include "core/machine.h"

typedef struct DebugCon {
    Device dev;
    Region io;
    Chardev *chr;
    uint32_t iobase, readback; /* properties */
    char *chardev_id;
    bool claimed; /* chr is ours to release */
} DebugCon;

void debugcon_set_chardev(Device *d, Chardev *c)
{
    AS(DebugCon, s, d);

    s->chr = c;
}

static uint64_t debugcon_read(void *arg, uint64_t at, unsigned size)
{
    (void)at;
    (void)size;
    return ((DebugCon *)arg)->readback;
}

static void debugcon_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    DebugCon *s = arg;
    uint8_t byte = (uint8_t)v;

    (void)at;
    (void)size;
    chardev_write(s->chr, &byte, 1);
}

static const RegionOps debugcon_ops = {debugcon_read, debugcon_write, 1, 1};

static bool debugcon_realize(Device *d, Error *err)
{
    AS(DebugCon, s, d);

    if (s->iobase > 0xffff)
        return error_set(err, "isa-debugcon: iobase must be at most 0xffff");
    if (s->chardev_id) {
        s->chr = chardev_claim(d->machine->chardevs, s->chardev_id, err);
        s->claimed = s->chr != NULL;
        if (!s->chr)
            return error_prefix(err, "Property 'isa-debugcon.chardev': ");
    }
    if (!s->chr)
        s->chr = d->machine->debugcon;
    region_io(&s->io, "debugcon", 1, &debugcon_ops, s, d->lock);
    region_map(&d->machine->mem->io_root, &s->io, s->iobase, 0);
    return true;
}

static void debugcon_unrealize(Device *d)
{
    AS(DebugCon, s, d);

    region_fini(&s->io);
    if (s->claimed)
        chardev_release(s->chr);
    s->claimed = false;
    s->chr = NULL;
}

static const Field debugcon_fields[] = {
    PROP(DebugCon, iobase, "iobase", 0xe9, "its I/O port"),
    PROP(DebugCon, readback, "readback", 0xe9, "what reading the port gives"),
    PROP_STR(DebugCon, chardev_id, "chardev", NULL, "id of the character device it writes to"),
};
static STRUCT_TYPE(debugcon_type, DebugCon, debugcon_fields);

static DeviceClass isa_debugcon_class = {
    .name = "isa-debugcon",
    .parent = "isa-device",
    .doc = "debug console port",
    .type = &debugcon_type,
    .migrate = MIGRATE_NONE_NEEDED,
    .user = true,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};
DEVICE_REGISTER(isa_debugcon_class)
