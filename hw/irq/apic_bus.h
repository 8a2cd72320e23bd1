/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apic_bus - interrupt messages between I/O APICs, MSI sources and local APICs: class "apic-bus"
 *
 * The device owns the one interrupt lock (RANK_IRQ) that guards every APIC on it, and the MMIO
 * window at 0xfee00000: page 0 is the local APIC of the vCPU that accesses it (cpu_current()),
 * writes to the rest are MSIs.  SDM vol. 3 ch. 11; 82093AA data sheet.
 *
 * For a board: realize an apic-bus; make one "apic" for each vCPU and the "ioapic"s as its
 * children, give each the bus (lapic_connect, ioapic_connect) and realize it.
 */
#ifndef HW_IRQ_APIC_BUS_H
#define HW_IRQ_APIC_BUS_H

#include "core/cpu.h"
#include "core/device.h"

#define APIC_BUS_BASE 0xfee00000u /* where the board maps apic_bus_mmio(), 1 MiB */
#define APIC_ALL                                                                                   \
    UINT32_MAX /* ApicMessage.dest: everyone; senders with 8-bit ids turn 0xff into it */

enum {
    APIC_FIXED,
    APIC_LOWEST,
    APIC_SMI,
    APIC_REMOTE_READ,
    APIC_NMI,
    APIC_INIT,
    APIC_SIPI,
    APIC_EXTINT
};
enum { APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS }; /* ICR bits 18-19 */

typedef struct ApicMessage {
    uint32_t dest;
    uint8_t vector;
    uint8_t mode;      /* APIC_FIXED... */
    uint8_t shorthand; /* APIC_TO_... */
    bool logical;      /* dest is a logical one */
    bool level;        /* sets TMR: its EOI is broadcast */
} ApicMessage;

/* How a local APIC is seen from the bus; all under the bus lock. */
typedef struct ApicPort {
    bool enabled;      /* globally */
    bool soft_enabled; /* accepts fixed and lowest-priority interrupts */
    bool x2apic, cluster;
    uint32_t id, ldr;
    uint8_t priority; /* for lowest-priority arbitration */
    void *apic;
    void (*accept)(void *apic, const ApicMessage *msg);
    void (*lint)(void *apic, unsigned n, bool level);
    bool (*requests)(void *apic, uint8_t vector); /* it is in IRR */
    const RegionOps *ops;                         /* its registers */
    Cpu *cpu;
} ApicPort;

typedef struct ApicBus ApicBus; /* a Device of class "apic-bus" */

/* For boards and other devices. */
Region *apic_bus_mmio(Device *bus);
void apic_bus_lint_input(void *bus, unsigned n,
                         bool level); /* an IrqFn: LINT0 or LINT1 of every local APIC */
void apic_bus_set_extint(Device *bus, int (*ack)(void *pic),
                         void *pic);                             /* who answers INTA for ExtINT */
void apic_bus_msi(Device *bus, uint64_t address, uint32_t data); /* takes the lock: any thread */

/* For APICs. */
Lock *apic_bus_lock(Device *bus);
bool apic_bus_attach(Device *bus, ApicPort *port, Error *err);
void apic_bus_detach(Device *bus, ApicPort *port);
void apic_bus_on_eoi(Device *bus, void (*fn)(void *arg, uint8_t vector),
                     void *arg); /* NULL fn removes arg's */
/* Route it; false: nobody took it.  @from: the sender's port, or NULL (I/O APIC, MSI). */
bool apic_bus_send_locked(Device *bus, const ApicPort *from, const ApicMessage *msg);
/* What became of a message like @msg that was sent before.  An ExtINT's fate is known to the
 * PIC. */
IrqEdge apic_bus_edge_locked(Device *bus, const ApicMessage *msg);
void apic_bus_eoi_locked(Device *bus, uint8_t vector);
int apic_bus_extint(Device *bus); /* INTA; lock not held */
/* The compatibility format of an MSI, whose data I/O APIC entries share: SDM vol. 3, 11.11. */
ApicMessage apic_message_from_msi(uint64_t address, uint32_t data);

#endif
