/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zero - is there anything but zeroes in this memory? */
#ifndef BASE_ZERO_H
#define BASE_ZERO_H

#include "base/base.h"

bool is_zero(const void *p, size_t size); /* any alignment and size; nothing at all is zero */

/* Cut a buffer into runs that are alike in blocks of @grain bytes (the last may be short): the
 * length of the first run, and in *zero whether it has only zeroes. @size > 0. */
size_t zero_run(const void *p, size_t size, size_t grain, bool *zero);

#endif
