/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioapic - Intel 82093AA I/O APIC; version 0x20 adds the EOI register of later chipsets
 *
 * 82093AA data sheet (290566), ch. 3 "Register description".  All under the APIC bus's lock.
 */
#include "hw/irq/ioapic.h"

#include "base/log.h"
#include "hw/irq/apic_bus.h"

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40, WINDOW_SIZE = 0x1000 };
enum { IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10 };
enum { VERSION_ORIGINAL = 0x11, VERSION_EOI = 0x20 };

/* Redirection table entry. */
#define RED_REMOTE_IRR BIT(14)
#define RED_LEVEL BIT(15)
#define RED_MASK BIT(16)
#define RED_WRITABLE                                                                               \
    0xff0000000001afffull /* all but delivery status, remote IRR and reserved bits */

typedef struct IoApic {
    Device dev;
    Device *bus;
    Lock *lock; /* the bus's */
    Region window;
    uint32_t version; /* property */
    uint32_t id;      /* property: what IOAPICID is after reset */
    uint32_t ioregsel, ioapicid;
    uint32_t levels; /* of the inputs */
    uint64_t ioredtbl[IOAPIC_PINS];
    _Atomic uint64_t rises[IOAPIC_PINS]; /* how often each did: info irq */
} IoApic;

Region *ioapic_mmio(Device *ioapic)
{
    return &((IoApic *)ioapic)->window;
}

/* The entry has the layout of an MSI: 3.2.4 against SDM vol. 3, 11.11. */
static ApicMessage ioapic_message(uint64_t entry)
{
    uint64_t address = bits(entry, 56, 8) << 12 | bits(entry, 11, 1) << 2;

    return apic_message_from_msi(address, (uint32_t)entry);
}

static bool ioapic_send(IoApic *s, uint64_t entry)
{
    ApicMessage msg = ioapic_message(entry);

    if (msg.mode == APIC_REMOTE_READ || msg.mode == APIC_SIPI) {
        log_guest("ioapic: reserved delivery mode %u\n", msg.mode);
        return false;
    }
    return apic_bus_send_locked(s->bus, NULL, &msg);
}

/* A level-triggered input asks as long as it is high and nobody serves it. */
static void ioapic_update_pin(IoApic *s, unsigned n)
{
    uint64_t *e = &s->ioredtbl[n];

    if (!(*e & RED_LEVEL))
        *e &= ~RED_REMOTE_IRR;
    else if ((s->levels >> n & 1) && !(*e & (RED_MASK | RED_REMOTE_IRR)) && ioapic_send(s, *e))
        *e |= RED_REMOTE_IRR;
}

static void ioapic_update(IoApic *s)
{
    for (unsigned n = 0; n < IOAPIC_PINS; n++)
        ioapic_update_pin(s, n);
}

void ioapic_input(void *ioapic, unsigned n, bool level)
{
    IoApic *s = ioapic;

    assert(n < IOAPIC_PINS);
    WITH_LOCK (s->lock) {
        bool rises = level && !(s->levels >> n & 1);

        s->rises[n] += rises;
        s->levels = (uint32_t)bits_set(s->levels, n, 1, level);
        if (s->ioredtbl[n] & RED_LEVEL)
            ioapic_update_pin(s, n);
        else if (rises && !(s->ioredtbl[n] & RED_MASK)) /* 3.2.4: an edge on a masked pin is lost */
            ioapic_send(s, s->ioredtbl[n]);
    }
}

IrqEdge ioapic_edge(void *ioapic, unsigned n)
{
    IoApic *s = ioapic;
    IrqEdge e = EDGE_NOWHERE;

    assert(n < IOAPIC_PINS);
    WITH_LOCK (s->lock)
        if (!(s->ioredtbl[n] & RED_MASK)) {
            ApicMessage msg = ioapic_message(s->ioredtbl[n]);

            e = apic_bus_edge_locked(s->bus, &msg);
        }
    return e;
}

static void ioapic_eoi(void *arg, uint8_t vector)
{
    IoApic *s = arg;

    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        if ((s->ioredtbl[n] & RED_REMOTE_IRR) && (s->ioredtbl[n] & 0xff) == vector) {
            s->ioredtbl[n] &= ~RED_REMOTE_IRR;
            ioapic_update_pin(s, n);
        }
    }
}

static uint32_t ioapic_read_reg(const IoApic *s)
{
    unsigned i = s->ioregsel - IOREDTBL;

    switch (s->ioregsel) {
    case IOAPICID:
    case IOAPICARB: return s->ioapicid;
    case IOAPICVER: return s->version | (IOAPIC_PINS - 1) << 16;
    default: return i / 2 < IOAPIC_PINS ? (uint32_t)(s->ioredtbl[i / 2] >> (i % 2 * 32)) : 0;
    }
}

static void ioapic_write_reg(IoApic *s, uint32_t v)
{
    unsigned i = s->ioregsel - IOREDTBL;

    if (s->ioregsel == IOAPICID) {
        s->ioapicid = v & 0x0f000000;
    } else if (s->ioregsel >= IOREDTBL && i / 2 < IOAPIC_PINS) {
        uint64_t *e = &s->ioredtbl[i / 2];
        uint64_t asked = bits_set(*e, i % 2 * 32, 32, v);

        *e = (asked & RED_WRITABLE) | (*e & RED_REMOTE_IRR);
        ioapic_update_pin(s, i / 2);
    }
}

static uint64_t ioapic_read(void *arg, uint64_t at, unsigned size)
{
    IoApic *s = arg;

    (void)size;
    switch (at) {
    case IOREGSEL: return s->ioregsel;
    case IOWIN: return ioapic_read_reg(s);
    default: return 0;
    }
}

static void ioapic_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    IoApic *s = arg;

    (void)size;
    switch (at) {
    case IOREGSEL: s->ioregsel = v & 0xff; break;
    case IOWIN: ioapic_write_reg(s, (uint32_t)v); break;
    case IOEOI:
        if (s->version >= VERSION_EOI)
            ioapic_eoi(s, (uint8_t)v);
        break;
    default: break;
    }
}

static const RegionOps ioapic_ops = {ioapic_read, ioapic_write, 4, 4};

void ioapic_connect(Device *ioapic, Device *bus)
{
    assert(ioapic->parent == bus && !ioapic->realized);
    ((IoApic *)ioapic)->bus = bus;
}

static bool ioapic_realize(Device *d, Error *err)
{
    AS(IoApic, s, d);

    if (!s->bus)
        return error_set(err, "ioapic: not connected to a bus");
    if (s->version != VERSION_ORIGINAL && s->version != VERSION_EOI)
        return error_set(err, "ioapic: version must be 0x11 or 0x20");
    if (s->id > 15)
        return error_set(err, "ioapic: id must be below 16");
    s->lock = apic_bus_lock(s->bus);
    region_io(&s->window, "ioapic", WINDOW_SIZE, &ioapic_ops, s, s->lock);
    apic_bus_on_eoi(s->bus, ioapic_eoi, s);
    return true;
}

static void ioapic_unrealize(Device *d)
{
    AS(IoApic, s, d);

    apic_bus_on_eoi(s->bus, NULL, s);
    region_fini(&s->window);
}

static void ioapic_reset(Device *d, ResetPhase phase)
{
    AS(IoApic, s, d);

    if (phase != RESET_ENTER)
        return;
    WITH_LOCK (s->lock) {
        s->ioregsel = 0;
        s->ioapicid = s->id << 24;
        for (unsigned n = 0; n < IOAPIC_PINS; n++)
            s->ioredtbl[n] = RED_MASK;
    }
}

static bool ioapic_loaded(Device *d, Error *err)
{
    AS(IoApic, s, d);

    for (unsigned n = 0; n < IOAPIC_PINS; n++)
        if (s->ioredtbl[n] & ~(RED_WRITABLE | RED_REMOTE_IRR))
            return error_set(err, "ioapic: impossible redirection entry %u", n);
    WITH_LOCK (s->lock)
        ioapic_update(s);
    return true;
}

static const Field ioapic_fields[] = {
    PROP(IoApic, version, "version", VERSION_EOI, "0x11: the 82093AA; 0x20: with EOI register"),
    PROP(IoApic, id, "id", 0, "APIC id after reset, 0 to 15"),
    STATE(IoApic, ioregsel),
    STATE(IoApic, ioapicid),
    STATE(IoApic, levels),
    STATE_ARRAY(IoApic, ioredtbl),
};
static STRUCT_TYPE(ioapic_type, IoApic, ioapic_fields);

static const _Atomic uint64_t *ioapic_interrupts(Device *d, unsigned *n)
{
    *n = IOAPIC_PINS;
    return ((IoApic *)d)->rises;
}

static DeviceClass ioapic_class = {
    .name = "ioapic",
    .parent = "sys-device",
    .doc = "I/O APIC with 24 inputs",
    .type = &ioapic_type,
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset = ioapic_reset,
    .loaded = ioapic_loaded,
    .interrupts = ioapic_interrupts,
};
DEVICE_REGISTER(ioapic_class)
