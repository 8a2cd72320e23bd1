/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apic_bus - interrupt messages between I/O APICs, MSI sources and local APICs
 *
 * SDM vol. 3, 11.6 "Issuing interprocessor interrupts" (destinations), 11.11 "Message signalled
 * interrupts", 11.12 "Extended xAPIC".  Who may accept is decided here, what it does in lapic.c.
 */
#include "hw/irq/apic_bus.h"

#include "base/log.h"
#include "core/machine.h"
#include "core/cpu.h"

#define WINDOW_SIZE MIB
#define PAGE_SIZE 0x1000
#define MAX_CPUS 4096 /* bound on Cpu.index */
#define MAX_LISTENERS 8

typedef struct EoiListener {
    void (*fn)(void *arg, uint8_t vector);
    void *arg;
} EoiListener;

struct ApicBus {
    Device dev;
    Lock lock;
    Region window;
    ApicPort **ports; /* by Cpu.index; holes are NULL */
    uint32_t n_ports;
    uint32_t last; /* who won the last lowest-priority arbitration: ties go round */
    EoiListener eoi[MAX_LISTENERS];
    int (*extint)(void *pic);
    void *pic;
};

Region *apic_bus_mmio(Device *bus)
{
    return &((ApicBus *)bus)->window;
}
Lock *apic_bus_lock(Device *bus)
{
    return &((ApicBus *)bus)->lock;
}

bool apic_bus_attach(Device *bus, ApicPort *port, Error *err)
{
    AS(ApicBus, b, bus);
    unsigned i = port->cpu->index;

    if (i >= MAX_CPUS)
        return error_set(err, "an APIC bus takes at most %d processors", MAX_CPUS);
    WITH_LOCK (&b->lock) {
        if (i >= b->n_ports) {
            b->ports = xrealloc(b->ports, (i + 1) * sizeof *b->ports);
            memset(b->ports + b->n_ports, 0, (i + 1 - b->n_ports) * sizeof *b->ports);
            b->n_ports = i + 1;
        }
        assert(!b->ports[i]);
        b->ports[i] = port;
    }
    return true;
}

void apic_bus_detach(Device *bus, ApicPort *port)
{
    AS(ApicBus, b, bus);

    WITH_LOCK (&b->lock) {
        for (unsigned i = 0; i < b->n_ports; i++)
            if (b->ports[i] == port)
                b->ports[i] = NULL;
    }
}

void apic_bus_on_eoi(Device *bus, void (*fn)(void *arg, uint8_t vector), void *arg)
{
    AS(ApicBus, b, bus);

    WITH_LOCK (&b->lock) {
        unsigned i = 0;

        while (i < MAX_LISTENERS && b->eoi[i].arg != (fn ? NULL : arg))
            i++;
        assert(i < MAX_LISTENERS);
        b->eoi[i] = fn ? (EoiListener){fn, arg} : (EoiListener){NULL, NULL};
    }
}

void apic_bus_eoi_locked(Device *bus, uint8_t vector)
{
    AS(ApicBus, b, bus);

    for (unsigned i = 0; i < MAX_LISTENERS; i++)
        if (b->eoi[i].fn)
            b->eoi[i].fn(b->eoi[i].arg, vector);
}

void apic_bus_set_extint(Device *bus, int (*ack)(void *pic), void *pic)
{
    AS(ApicBus, b, bus);

    b->extint = ack;
    b->pic = pic;
}

int apic_bus_extint(Device *bus)
{
    AS(ApicBus, b, bus);

    return b->extint ? b->extint(b->pic) : -1;
}

void apic_bus_lint_input(void *bus, unsigned n, bool level)
{
    ApicBus *b = bus;

    assert(n < 2);
    WITH_LOCK (&b->lock) {
        for (unsigned i = 0; i < b->n_ports; i++)
            if (b->ports[i])
                b->ports[i]->lint(b->ports[i]->apic, n, level);
    }
}

static bool port_matches_logical(const ApicPort *p, uint32_t dest)
{
    if (p->x2apic)
        return dest >> 16 == p->ldr >> 16 && (dest & p->ldr & 0xffff);
    if (p->cluster)
        return dest >> 4 == p->ldr >> 4 && (dest & p->ldr & 0xf);
    return dest & p->ldr & 0xff;
}

static bool port_takes(const ApicPort *p, const ApicPort *from, const ApicMessage *msg)
{
    bool fixed = msg->mode == APIC_FIXED || msg->mode == APIC_LOWEST;

    if (!p || !p->enabled || (fixed && !p->soft_enabled))
        return false;
    switch (msg->shorthand) {
    case APIC_TO_SELF: return p == from;
    case APIC_TO_ALL: return true;
    case APIC_TO_OTHERS: return p != from;
    default: break;
    }
    if (msg->dest == APIC_ALL)
        return true;
    return msg->logical ? port_matches_logical(p, msg->dest) : p->id == msg->dest;
}

/* Among those addressed the one that does the least important work; ties go round. */
static ApicPort *bus_arbitrate(ApicBus *b, const ApicPort *from, const ApicMessage *msg)
{
    ApicPort *best = NULL;

    for (unsigned k = 1; k <= b->n_ports; k++) {
        ApicPort *p = b->ports[(b->last + k) % b->n_ports];

        if (port_takes(p, from, msg) && (!best || p->priority < best->priority))
            best = p;
    }
    if (best)
        b->last = best->cpu->index;
    return best;
}

bool apic_bus_send_locked(Device *bus, const ApicPort *from, const ApicMessage *msg)
{
    AS(ApicBus, b, bus);
    bool taken = false;

    if (msg->mode == APIC_LOWEST) {
        ApicPort *p = bus_arbitrate(b, from, msg);

        if (p)
            p->accept(p->apic, msg);
        return p;
    }
    for (unsigned i = 0; i < b->n_ports; i++) {
        ApicPort *p = b->ports[i];

        if (port_takes(p, from, msg)) {
            p->accept(p->apic, msg);
            taken = true;
        }
    }
    return taken;
}

IrqEdge apic_bus_edge_locked(Device *bus, const ApicMessage *msg)
{
    AS(ApicBus, b, bus);
    IrqEdge e = EDGE_NOWHERE;

    if (msg->mode == APIC_EXTINT)
        return EDGE_NOWHERE;
    for (unsigned i = 0; i < b->n_ports; i++) {
        ApicPort *p = b->ports[i];

        if (!port_takes(p, NULL, msg))
            continue;
        if (p->requests(p->apic, msg->vector))
            return EDGE_WAITS;
        e = EDGE_TAKEN;
    }
    return e;
}

ApicMessage apic_message_from_msi(uint64_t address, uint32_t data)
{
    uint32_t dest = bits(address, 12, 8);

    return (ApicMessage){
        .dest = dest == 0xff ? APIC_ALL : dest,
        .vector = data & 0xff,
        .mode = bits(data, 8, 3),
        .logical = bits(address, 2, 1),
        .level = bits(data, 15, 1),
    };
}

static void bus_msi_locked(ApicBus *b, uint64_t address, uint32_t data)
{
    ApicMessage msg = apic_message_from_msi(address, data);

    if (msg.level && !bits(data, 14, 1))
        return; /* deassertion: means nothing to an APIC */
    if (msg.mode == APIC_REMOTE_READ || msg.mode == APIC_SIPI) {
        log_guest("apic-bus: MSI with reserved delivery mode %u\n", msg.mode);
        return;
    }
    apic_bus_send_locked(&b->dev, NULL, &msg);
}

void apic_bus_msi(Device *bus, uint64_t address, uint32_t data)
{
    AS(ApicBus, b, bus);

    WITH_LOCK (&b->lock)
        bus_msi_locked(b, address, data);
}

/* The local APIC of the accessing vCPU; accesses from elsewhere (a debugger) see the first's. */
static ApicPort *bus_current(const ApicBus *b)
{
    const Cpu *c = cpu_current();
    unsigned i = c ? c->index : 0;

    return i < b->n_ports ? b->ports[i] : NULL;
}

static uint64_t bus_read(void *arg, uint64_t at, unsigned size)
{
    ApicBus *b = arg;
    ApicPort *p = bus_current(b);

    if (at >= PAGE_SIZE || !p || !p->enabled || p->x2apic)
        return UINT32_MAX;
    return p->ops->read(p->apic, at, size);
}

static void bus_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    ApicBus *b = arg;
    ApicPort *p = bus_current(b);

    if (at >= PAGE_SIZE)
        bus_msi_locked(b, APIC_BUS_BASE + at, (uint32_t)v);
    else if (p && p->enabled && !p->x2apic)
        p->ops->write(p->apic, at, v, size);
}

static const RegionOps bus_ops = {bus_read, bus_write, 4, 4};

/* Boards wire it to LINT1, whose entry decides what becomes of it. */
static void bus_nmi_pressed(void *bus)
{
    apic_bus_lint_input(bus, 1, true);
    apic_bus_lint_input(bus, 1, false);
}

static bool bus_realize(Device *d, Error *err)
{
    AS(ApicBus, b, d);

    (void)err;
    lock_init(&b->lock, "apic-bus", RANK_IRQ);
    region_io(&b->window, "apic-msi", WINDOW_SIZE, &bus_ops, b, &b->lock);
    d->machine->nmi_button = bus_nmi_pressed;
    d->machine->nmi_button_arg = d;
    return true;
}

static void bus_unrealize(Device *d)
{
    AS(ApicBus, b, d);

    d->machine->nmi_button = NULL;
    region_fini(&b->window);
    lock_fini(&b->lock);
    xfree(b->ports);
    b->ports = NULL;
    b->n_ports = 0;
}

static void bus_reset(Device *d, ResetPhase phase)
{
    AS(ApicBus, b, d);

    if (phase == RESET_ENTER)
        b->last = 0;
}

static const Field bus_fields[] = {
    STATE(ApicBus, last),
};
static STRUCT_TYPE(bus_type, ApicBus, bus_fields);

static DeviceClass apic_bus_class = {
    .name = "apic-bus",
    .parent = "sys-device",
    .doc = "interrupt message bus of the APICs",
    .type = &bus_type,
    .realize = bus_realize,
    .unrealize = bus_unrealize,
    .reset = bus_reset,
};
DEVICE_REGISTER(apic_bus_class)
