/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_check - findings, and pieces of a file that are used twice */
#include "block/image_check.h"

#include <stdio.h>
#include <stdlib.h>

void check_found(CheckReport *rep, const char *fmt, ...)
{
    char line[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    rep->corruptions++;
    if (rep->say && !rep->quiet)
        rep->say(rep->arg, line);
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

void check_overlaps(CheckReport *rep, uint64_t *places, size_t count, uint64_t size)
{
    qsort(places, count, sizeof *places, by_place);
    for (size_t i = 1; i < count; i++)
        if (places[i] - places[i - 1] < size)
            check_found(rep, "ERROR: what is at %" PRIu64 " and at %" PRIu64 " overlaps",
                        places[i - 1], places[i]);
}
