/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic - a processor's local APIC: class "apic"
 *
 * The board makes one for each vCPU, as a child of the bus, calls lapic_connect() and then realizes
 * it; that sets the X86Cpu's apic and apic_ops.  Property "id": the APIC id.
 */
#ifndef HW_IRQ_LAPIC_H
#define HW_IRQ_LAPIC_H

#include "core/cpu.h"
#include "core/device.h"

#define LAPIC_HZ 1000000000u /* the timer's input clock, before its divider */

void lapic_connect(Device *apic, Device *bus,
                   Cpu *cpu); /* before realize; vCPU 0 is the boot processor */
uint32_t lapic_id(const Device *apic);

#endif
