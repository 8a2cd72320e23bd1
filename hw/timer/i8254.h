/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8254 - interval timer and speaker port: class "isa-pit"
 *
 * d->irq is OUT of channel 0 (ISA line 0, through the HPET's multiplexer where there is one).
 */
#ifndef HW_TIMER_I8254_H
#define HW_TIMER_I8254_H

#include "core/device.h"

#define PIT_HZ 1193182u

Region *pit_io(Device *d); /* 4 bytes, the board maps it at port 0x40 */
Region *pit_port61(
    Device *d); /* 1 byte, at port 0x61: gate and speaker bits, refresh toggle, OUT2 */

#endif
