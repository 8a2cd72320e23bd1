/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug_exit - a port that ends the emulator: writing v makes the exit code (v << 1) | 1
 *
 * Maps itself at its "iobase" property when realized.
 */
#include "core/machine.h"

typedef struct DebugExit {
    Device dev;
    Region io;
    uint32_t iobase, iosize; /* properties */
} DebugExit;

static uint64_t debug_exit_read(void *arg, uint64_t at, unsigned size)
{
    (void)arg;
    (void)at;
    (void)size;
    return 0;
}

static void debug_exit_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    (void)at;
    (void)size;
    machine_request_shutdown(((DebugExit *)arg)->dev.machine, SHUTDOWN_DEBUG_EXIT,
                             (int)((uint32_t)v << 1 | 1));
}

static const RegionOps debug_exit_ops = {debug_exit_read, debug_exit_write, 1, 4};

static bool debug_exit_realize(Device *d, Error *err)
{
    AS(DebugExit, s, d);

    if (!s->iosize || s->iosize > 4 || s->iobase > 0x10000 - s->iosize)
        return error_set(
            err, "isa-debug-exit: iosize must be 1 to 4, and fit into the I/O space at iobase");
    region_io(&s->io, "debug-exit", s->iosize, &debug_exit_ops, s, d->lock);
    region_map(&d->machine->mem->io_root, &s->io, s->iobase, 0);
    return true;
}

static void debug_exit_unrealize(Device *d)
{
    AS(DebugExit, s, d);

    region_fini(&s->io);
}

static const Field debug_exit_fields[] = {
    PROP(DebugExit, iobase, "iobase", 0x501, "its first I/O port"),
    PROP(DebugExit, iosize, "iosize", 2, "how many ports, 1 to 4"),
};
static STRUCT_TYPE(debug_exit_type, DebugExit, debug_exit_fields);

static DeviceClass isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .parent = "isa-device",
    .doc = "port that ends the emulator with an exit code",
    .type = &debug_exit_type,
    .migrate = MIGRATE_NONE_NEEDED,
    .user = true,
    .realize = debug_exit_realize,
    .unrealize = debug_exit_unrealize,
};
DEVICE_REGISTER(isa_debug_exit_class)
