/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serial16550 - the PC's serial port: class "isa-serial"
 *
 * Maps its eight ports at its "iobase" property in the machine's I/O space when realized; the board
 * does not.  d->irq is INTRPT: the board connects it to ISA line serial_irq().
 */
#ifndef HW_CHAR_SERIAL16550_H
#define HW_CHAR_SERIAL16550_H

#include "core/device.h"
#include "io/chardev.h"

/* Properties: index (0..3: COM1..COM4), iobase and irq (0: those of the index). */
unsigned serial_iobase(const Device *d); /* after realize */
unsigned serial_irq(const Device *d);
/* Connect a back end (or NULL); before or after realize.  The device borrows it. */
void serial_set_chardev(Device *d, Chardev *c);

#endif
