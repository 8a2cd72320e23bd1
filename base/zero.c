/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zero - is there anything but zeroes in this memory?
 *
 * Most data differs from zero in its first bytes, and most zeroes come in whole pages: one look at
 * both ends and the middle, then 128 bytes a step.
 */
#include "base/zero.h"

typedef uint64_t Vec __attribute__((vector_size(16), aligned(1), may_alias));

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline bool steps_are_zero(const uint8_t *p, size_t steps)
{
    for (; steps; steps--, p += 128) {
        const Vec *v = (const Vec *)p;
        Vec all = (v[0] | v[1]) | (v[2] | v[3]) | ((v[4] | v[5]) | (v[6] | v[7]));

        if (all[0] | all[1])
            return false;
    }
    return true;
}

bool is_zero(const void *mem, size_t size)
{
    const uint8_t *p = mem;

    if (size < 8) {
        for (; size; size--)
            if (*p++)
                return false;
        return true;
    }
    if (load64(p) | load64(p + size - 8) | load64(p + (size - 8) / 2))
        return false;
    if (!steps_are_zero(p, size / 128))
        return false;
    for (size_t at = ALIGN_DOWN(size, 128); at + 8 <= size; at += 8)
        if (load64(p + at))
            return false;
    return true; /* the last 8 bytes have been looked at */
}

size_t zero_run(const void *mem, size_t size, size_t grain, bool *zero)
{
    const uint8_t *p = mem;
    size_t at = MIN(grain, size);

    *zero = is_zero(p, at);
    while (at < size) {
        size_t n = MIN(grain, size - at);

        if (is_zero(p + at, n) != *zero)
            break;
        at += n;
    }
    return at;
}
