/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugcon - a port whose bytes go to a character back end: class "isa-debugcon"
 *
 * Maps itself at its "iobase" property (0xe9) when realized.  Reading gives "readback" (0xe9).
 */
#ifndef HW_CHAR_DEBUGCON_H
#define HW_CHAR_DEBUGCON_H

#include "core/device.h"
#include "io/chardev.h"

void debugcon_set_chardev(Device *d, Chardev *c); /* NULL: none */

#endif
