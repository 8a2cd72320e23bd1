/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reset_port - reset control register (0xcf9) and system control port A (0x92): class "reset-port"
 *
 * d->irq is the A20 gate: high lets address bit 20 through, as it does after reset.
 */
#ifndef HW_MISC_RESET_PORT_H
#define HW_MISC_RESET_PORT_H

#include "core/device.h"

Region *reset_port_cf9(Device *d); /* 1 byte, the board maps it at port 0xcf9 */
Region *reset_port_92(Device *d);  /* 1 byte, at port 0x92 */

#endif
