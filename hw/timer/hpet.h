/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet - high precision event timers, IA-PC HPET specification 1.0a: class "hpet"
 *
 * In legacy replacement mode timers 0 and 1 take over ISA lines 0 and 8 from the PIT and the RTC.
 * The multiplexer is here: PIT and RTC drive hpet_legacy_input 0 and 1, hpet_line(HPET_IRQ0) and
 * (HPET_IRQ8) drive the ISA lines.  Property "intcap": I/O APIC inputs its timers may be routed to.
 */
#ifndef HW_TIMER_HPET_H
#define HW_TIMER_HPET_H

#include "core/device.h"

#define HPET_BASE 0xfed00000u
enum { HPET_IRQ0 = 32, HPET_IRQ8 = 33, HPET_LINES = 34 };

Region *hpet_mmio(Device *d);              /* 1 KiB, the board maps it at HPET_BASE */
IrqLine *hpet_line(Device *d, unsigned n); /* n < 32: I/O APIC input n; HPET_IRQ0, HPET_IRQ8 */
IrqEdge hpet_legacy_edge(void *hpet, unsigned n); /* an IrqEdgeFn: of those inputs */
void hpet_legacy_input(void *hpet, unsigned n,
                       bool level); /* an IrqFn: 0 from the PIT, 1 from the RTC */

#endif
