/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_time - the host's counters, read with general registers only
 *
 * Translated code may be on the stack with the guest's vector registers live, so nothing here calls
 * into libc: the TSC is an instruction, the clocks are the bare system call.
 */
#ifndef CORE_HOST_TIME_PRIV_H
#define CORE_HOST_TIME_PRIV_H

#include <time.h>

#include "base/base.h"

typedef struct HostTsc {
    bool invariant; /* same rate always, and in step on all processors */
    uint64_t hz;
} HostTsc;

/* Looked up, or measured, once per process. */
const HostTsc *host_tsc(void);

#if defined(__x86_64__)

static inline uint64_t host_tsc_read(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

static inline int64_t host_clock_ns(clockid_t id)
{
    struct timespec ts = {0, 0};
    long rc;

    __asm__ volatile("syscall"
                     : "=a"(rc)
                     : "0"(228L /* clock_gettime */), "D"((long)id), "S"(&ts)
                     : "rcx", "r11", "memory");
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#else

static inline uint64_t host_tsc_read(void)
{
    return 0;
}

static inline int64_t host_clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#endif
#endif
