/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_time - is the host's time-stamp counter fit to be a clock, and how fast is it
 *
 * Intel SDM vol. 3 18.17 (invariant TSC), vol. 2 CPUID leaf 15H; AMD APM vol. 3 CPUID Fn8000_0007.
 * What CPUID says of the rate is checked against CLOCK_MONOTONIC, since a hypervisor may pass on
 * the numbers of another machine; where it says nothing the rate is measured.
 */
#include <pthread.h>
#include <stdio.h>

#include "core/host_time_priv.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum { CHECK_NS = 2000000, MEASURE_NS = 5000000 };

typedef struct Sample {
    uint64_t tsc;
    int64_t ns;
} Sample;

/* Both counters at one moment: of several tries the one that took least time. */
static Sample sample_take(void)
{
    Sample best = {0, 0};
    uint64_t best_took = UINT64_MAX;

    for (int i = 0; i < 16; i++) {
        struct timespec ts;
        uint64_t before = host_tsc_read();
        clock_gettime(CLOCK_MONOTONIC, &ts);
        uint64_t took = host_tsc_read() - before;
        if (took < best_took) {
            best_took = took;
            best.tsc = before + took / 2;
            best.ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
        }
    }
    return best;
}

static uint64_t rate_measure(const Sample *from, int64_t ns)
{
    Sample to;

    do
        to = sample_take();
    while (to.ns - from->ns < ns);
    return (uint64_t)((unsigned __int128)(to.tsc - from->tsc) * 1000000000u /
                      (uint64_t)(to.ns - from->ns));
}

static uint64_t rate_by_cpuid(void)
{
    uint32_t a, b, c, d;

    if (!__get_cpuid(0x15, &a, &b, &c, &d) || a == 0 || b == 0 || c == 0)
        return 0;
    return (uint64_t)c * b / a;
}

static bool cpuinfo_has(const char *flag)
{
    char line[4096];
    bool found = false;
    FILE *f = fopen("/proc/cpuinfo", "re");

    if (!f)
        return false;
    while (!found && fgets(line, sizeof line, f))
        found = strncmp(line, "flags", 5) == 0 && strstr(line, flag) != NULL;
    fclose(f);
    return found;
}

static bool tsc_is_invariant(void)
{
    uint32_t a, b, c, d;

    if (__get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8))
        return true;
    return cpuinfo_has(" constant_tsc");
}

static void host_tsc_find(HostTsc *t)
{
    Sample from = sample_take();
    uint64_t said = rate_by_cpuid();

    if (!tsc_is_invariant())
        return;
    if (said) {
        uint64_t seen = rate_measure(&from, CHECK_NS);
        uint64_t off = seen > said ? seen - said : said - seen;
        if (off < said / 2000)
            t->hz = said;
    }
    if (!t->hz)
        t->hz = rate_measure(&from, MEASURE_NS);
    /* Below this the conversion to nanoseconds would not fit 64 bits: core/clock.c. */
    t->invariant = t->hz >= 100000000;
}

#else

static void host_tsc_find(HostTsc *t)
{
    t->invariant = false;
}

#endif

static HostTsc host_tsc_found;

static void host_tsc_once(void)
{
    host_tsc_find(&host_tsc_found);
}

const HostTsc *host_tsc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, host_tsc_once);
    return &host_tsc_found;
}
