/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report - numbers and lines in the layout of qemu-io
 */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "tools/io/io.h"

int64_t io_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void io_size_text(char *out, size_t cap, double bytes)
{
    static const char *const units[] = {" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    unsigned unit = 0;
    char number[48];
    char *dot;

    for (; bytes >= 1024 && unit + 1 < COUNT_OF(units); unit++)
        bytes /= 1024;
    snprintf(number, sizeof number, unit ? "%.3f" : "%f", bytes);
    dot = strchr(number, '.');
    if (dot && strspn(dot + 1, "0") == strlen(dot + 1))
        *dot = 0;
    snprintf(out, cap, "%s%s", number, units[unit]);
}

void io_dump(const uint8_t *p, uint64_t at, size_t size)
{
    for (size_t i = 0; i < size; i += 16) {
        size_t n = MIN((size_t)16, size - i);

        printf("%08" PRIx64 ":  ", at + i);
        for (size_t k = 0; k < n; k++)
            printf("%02x ", p[i + k]);
        putchar(' ');
        for (size_t k = 0; k < n; k++)
            putchar(isalnum(p[i + k]) ? p[i + k] : '.');
        putchar('\n');
    }
}

static void time_text(char *out, size_t cap, int64_t ns, bool fixed)
{
    uint64_t s = (uint64_t)ns / 1000000000;
    double frac = (double)(ns % 1000000000) / 1e9;

    if (fixed || s)
        snprintf(out, cap, "%u:%02u:%02u.%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60), (unsigned)(frac * 100));
    else
        snprintf(out, cap, "%05.2f sec", frac);
}

void io_report(const char *what, uint64_t at, uint64_t size, unsigned ops, int64_t ns, bool machine)
{
    double sec = (double)MAX(ns, (int64_t)1) / 1e9;
    char amount[64], speed[64], time[64];

    time_text(time, sizeof time, ns, machine);
    if (machine) {
        printf("%" PRIu64 ",%u,%s,%.3f,%.3f\n", size, ops, time, (double)size / sec, ops / sec);
        return;
    }
    io_size_text(amount, sizeof amount, (double)size);
    io_size_text(speed, sizeof speed, (double)size / sec);
    printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", what, size, size, at);
    printf("%s, %u ops; %s (%s/sec and %.4f ops/sec)\n", amount, ops, time, speed, ops / sec);
}
