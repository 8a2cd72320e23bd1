/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress - how far a long command is: -p, --progress=json, SIGUSR1 (docs/rhea-img.md)
 *
 * The line begins as qemu-img's does, "    (12.34/100%)", since scripts read that.
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "tools/img/img.h"

static volatile sig_atomic_t asked; /* a signal has no argument */

static void on_signal(int sig)
{
    (void)sig;
    asked = 1;
}

void progress_catch_signal(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigaction(SIGUSR1, &sa, NULL);
}

int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double percent(const Progress *p)
{
    return p->total ? MIN(100.0, 100.0 * (double)p->done / (double)p->total) : 100.0;
}

/* Bytes a second so far; 0: cannot say yet. */
static double rate(const Progress *p, int64_t now)
{
    return now > p->start ? (double)p->done * 1e9 / (double)(now - p->start) : 0;
}

static double seconds_left(const Progress *p, double bps)
{
    return bps > 0 ? (double)(p->total - MIN(p->done, p->total)) / bps : 0;
}

static void show_line(const Progress *p, int64_t now)
{
    double bps = rate(p, now), left = seconds_left(p, bps);
    char tail[64] = "";

    if (p->done && bps > 0) {
        char speed[32];

        size_text(speed, sizeof speed, (uint64_t)bps);
        snprintf(tail, sizeof tail, " %s/s, %02u:%02u left", speed, (unsigned)left / 60,
                 (unsigned)left % 60);
    }
    printf("    (%3.2f/100%%)%-32s\r", percent(p), tail);
    fflush(stdout);
}

static void show_json(const Progress *p, int64_t now)
{
    double bps = rate(p, now);

    printf("{\"done\": %" PRIu64 ", \"total\": %" PRIu64
           ", \"percent\": %.2f, \"bytes-per-second\": %.0f, \"seconds-left\": %.1f}\n",
           p->done, p->total, percent(p), bps, seconds_left(p, bps));
    fflush(stdout);
}

static void show(Progress *p, int64_t now)
{
    p->last = now;
    p->shown = percent(p);
    if (p->mode == PROGRESS_LINE)
        show_line(p, now);
    else if (p->mode == PROGRESS_JSON)
        show_json(p, now);
}

void progress_begin(Progress *p, ProgressMode mode, uint64_t total)
{
    *p = (Progress){.mode = mode, .total = total, .start = now_ns()};
    show(p, p->start);
}

void progress_to(Progress *p, uint64_t done)
{
    int64_t now;

    p->done = MIN(done, p->total);
    if (asked) {
        asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", percent(p));
    }
    if (p->mode == PROGRESS_OFF)
        return;
    now = now_ns();
    if ((p->mode == PROGRESS_LINE && percent(p) >= p->shown + 1) || now - p->last >= 1000000000)
        show(p, now);
}

void progress_end(Progress *p, bool complete)
{
    if (complete) {
        p->done = p->total;
        show(p, now_ns());
    }
    if (p->mode == PROGRESS_LINE)
        putchar('\n');
    fflush(stdout);
}
