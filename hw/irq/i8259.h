/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8259 - the PC's pair of interrupt controllers: class "isa-pic"
 *
 * Inputs 0..15 (2 is the cascade: not connectable).  d->irq is the master's INTR: connect it to
 * apic_bus_lint_input(bus, 0) or whatever interrupts the processor.
 * Lock: its own (RANK_PIC), below the APICs'.
 */
#ifndef HW_IRQ_I8259_H
#define HW_IRQ_I8259_H

#include "core/device.h"

enum { I8259_MASTER, I8259_SLAVE, I8259_ELCR };
/* Regions the board maps: MASTER at port 0x20, SLAVE at 0xa0, ELCR at 0x4d0; two bytes each. */
Region *i8259_io(Device *d, unsigned which);
void i8259_input(void *dev, unsigned n, bool level); /* an IrqFn: sink is the Device */
IrqEdge i8259_edge(void *dev, unsigned n);           /* an IrqEdgeFn */
/* INTA cycle: the vector; if nothing is asserted any more that of the spurious IRQ 7 or 15. */
int pic_acknowledge(Device *d);
int pic_acknowledge_fn(void *dev); /* the same, as apic_bus_set_extint() wants it */

#endif
