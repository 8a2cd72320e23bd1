/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reset_port - reset control register (0xcf9) and system control port A (0x92)
 *
 * ICH9 data sheet (316972), 13.7.5 "RST_CNT" and 13.7.2 "PORT92".  Either way the whole machine is
 * reset.
 */
#include "hw/misc/reset_port.h"

#include "core/machine.h"

enum { RST_CNT_SYS_RST = 2, RST_CNT_RST_CPU = 4, RST_CNT_WRITABLE = 0x0e };
enum { PORT92_INIT_NOW = 1, PORT92_A20 = 2, PORT92_WRITABLE = 3 };

typedef struct ResetPort {
    Device dev;
    Region cf9, p92;
    uint8_t rst_cnt, port92;
} ResetPort;

Region *reset_port_cf9(Device *d)
{
    return &((ResetPort *)d)->cf9;
}
Region *reset_port_92(Device *d)
{
    return &((ResetPort *)d)->p92;
}

static void reset_port_update(ResetPort *s)
{
    irq_set(&s->dev.irq, s->port92 & PORT92_A20);
}

static uint64_t cf9_read(void *arg, uint64_t at, unsigned size)
{
    (void)at;
    (void)size;
    return ((ResetPort *)arg)->rst_cnt;
}

static void cf9_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    ResetPort *s = arg;
    bool go = v & ~s->rst_cnt & RST_CNT_RST_CPU;

    (void)at;
    (void)size;
    s->rst_cnt = v & RST_CNT_WRITABLE;
    if (go)
        machine_request_reset(s->dev.machine);
}

static uint64_t port92_read(void *arg, uint64_t at, unsigned size)
{
    (void)at;
    (void)size;
    return ((ResetPort *)arg)->port92;
}

static void port92_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    ResetPort *s = arg;
    bool go = v & ~s->port92 & PORT92_INIT_NOW;

    (void)at;
    (void)size;
    s->port92 = v & PORT92_WRITABLE;
    reset_port_update(s);
    if (go)
        machine_request_reset(s->dev.machine);
}

static const RegionOps cf9_ops = {cf9_read, cf9_write, 1, 1};
static const RegionOps port92_ops = {port92_read, port92_write, 1, 1};

static bool reset_port_realize(Device *d, Error *err)
{
    AS(ResetPort, s, d);

    (void)err;
    region_io(&s->cf9, "reset-control", 1, &cf9_ops, s, d->lock);
    region_io(&s->p92, "port92", 1, &port92_ops, s, d->lock);
    return true;
}

static void reset_port_unrealize(Device *d)
{
    AS(ResetPort, s, d);

    region_fini(&s->cf9);
    region_fini(&s->p92);
}

static void reset_port_reset(Device *d, ResetPhase phase)
{
    AS(ResetPort, s, d);

    if (phase == RESET_ENTER) {
        s->rst_cnt = 0;
        s->port92 = PORT92_A20;
    } else {
        reset_port_update(s);
    }
}

static bool reset_port_loaded(Device *d, Error *err)
{
    (void)err;
    reset_port_update((ResetPort *)d);
    return true;
}

static const Field reset_port_fields[] = {
    STATE(ResetPort, rst_cnt),
    STATE(ResetPort, port92),
};
static STRUCT_TYPE(reset_port_type, ResetPort, reset_port_fields);

static DeviceClass reset_port_class = {
    .name = "reset-port",
    .parent = "isa-device",
    .doc = "reset control register and port 0x92",
    .type = &reset_port_type,
    .realize = reset_port_realize,
    .unrealize = reset_port_unrealize,
    .reset = reset_port_reset,
    .loaded = reset_port_loaded,
};
DEVICE_REGISTER(reset_port_class)
