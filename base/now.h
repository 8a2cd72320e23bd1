/* SPDX-License-Identifier: GPL-2.0-or-later */
/* now - the host's clock that only goes forward, for limits and statistics (guests have
 * core/clock.h) */
#ifndef BASE_NOW_H
#define BASE_NOW_H

#include <stdint.h>
#include <time.h>

static inline int64_t monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

#endif
