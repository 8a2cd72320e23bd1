/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioapic - Intel 82093AA and its successors: class "ioapic"
 *
 * A child of the bus.  24 inputs.  Properties: id, version (0x20: with EOI register; 0x11: the
 * original).
 */
#ifndef HW_IRQ_IOAPIC_H
#define HW_IRQ_IOAPIC_H

#include "core/device.h"

#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_PINS 24

void ioapic_connect(Device *ioapic, Device *bus); /* before realize */
Region *ioapic_mmio(Device *ioapic);              /* 4 KiB, the board maps it at IOAPIC_BASE */
void ioapic_input(void *ioapic, unsigned n,
                  bool level);                 /* an IrqFn: sink is the Device; n < IOAPIC_PINS */
IrqEdge ioapic_edge(void *ioapic, unsigned n); /* an IrqEdgeFn */

#endif
