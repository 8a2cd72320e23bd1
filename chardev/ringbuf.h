/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ringbuf - a character device whose output stays in memory, for ringbuf-read and ringbuf-write */
#ifndef CHARDEV_RINGBUF_H
#define CHARDEV_RINGBUF_H

#include "io/chardev.h"

bool chardev_is_ringbuf(const Chardev *c);
size_t ringbuf_read(Chardev *c, uint8_t *p, size_t n); /* takes the oldest out */

#endif
