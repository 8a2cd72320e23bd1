/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818 - real-time clock and CMOS memory: class "mc146818rtc"
 *
 * d->irq is IRQ (ISA line 8).  The time is that of the machine's host clock plus cfg.rtc_offset_s.
 */
#ifndef HW_TIMER_MC146818_H
#define HW_TIMER_MC146818_H

#include "core/device.h"

Region *rtc_io(Device *d); /* 2 bytes, the board maps it at port 0x70 */
/* Bytes firmware looks at (memory sizes ...): 0x0e..0x7f but the century.  They survive reset. */
void rtc_set_cmos(Device *d, unsigned index, uint8_t v);
uint8_t rtc_cmos(const Device *d, unsigned index);
bool rtc_nmi_masked(const Device *d); /* bit 7 of port 0x70 */

#endif
