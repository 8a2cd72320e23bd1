/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log - where log lines go and which are made
 *
 * Set by the command line before other threads start, and by the monitor on the main thread; any
 * thread reads. One call is one fwrite: the stream's own lock keeps lines whole, and nothing is
 * called under it.
 */
#define _GNU_SOURCE
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts.h"

const LogItem log_items[] = {
    {LOG_IN_ASM, "in_asm", "show guest code of each block when it is translated"},
    {LOG_OP, "op", "show the intermediate code of each block"},
    {LOG_OP_OPT, "op_opt", "show the intermediate code after liveness and planning"},
    {LOG_OUT_ASM, "out_asm", "show the host code made of each block"},
    {LOG_INT, "int", "show interrupts and exceptions"},
    {LOG_EXEC, "exec", "show each block as it is entered (blocks are not linked)"},
    {LOG_CPU, "cpu", "show registers before each block"},
    {LOG_MMU, "mmu", "show memory management events"},
    {LOG_PCALL, "pcall", "x86: show mode switches and far transfers"},
    {LOG_CPU_RESET, "cpu_reset", "show registers before a reset of a processor"},
    {LOG_UNIMP, "unimp", "show what the guest asked for and is not modelled"},
    {LOG_GUEST_ERROR, "guest_errors", "show what the guest should not have done"},
    {LOG_PAGE, "page", "show the memory map when it changes"},
    {LOG_NOCHAIN, "nochain", "do not link blocks to each other"},
    {LOG_STATS, "stats", "show counters of the accelerator at the end"},
    {LOG_PERFMAP, "perfmap", "write /tmp/perf-PID.map for perf"},
    {0, NULL, NULL},
};

typedef struct TracePattern {
    char *glob;
    bool on;
    struct TracePattern *next;
} TracePattern;

uint32_t log_mask_;
static FILE *log_file; /* NULL: stderr */
static char log_program[64] = "rhea";
static bool log_stamp; /* -msg */
static char log_guest_name[64];
static TracePoint *trace_registered;
static TracePattern *trace_patterns;

/* --- items and destination --- */

static const LogItem *log_item_find(const char *name)
{
    for (const LogItem *i = log_items; i->name; i++) {
        if (strcmp(i->name, name) == 0)
            return i;
    }
    return NULL;
}

static bool log_item_unknown(const char *name, Error *err)
{
    const char *names[COUNT_OF(log_items)];
    unsigned n = 0;
    const char *near;

    for (const LogItem *i = log_items; i->name; i++)
        names[n++] = i->name;
    near = nearest_name(name, names, n);
    if (near)
        return error_set(err, "unknown log item '%s'; did you mean '%s'?", name, near);
    return error_set(err, "unknown log item '%s' (-d help lists them)", name);
}

bool log_parse(const char *items, uint32_t *mask, Error *err)
{
    AUTO_FREE char *copy = xstrdup(items);
    char *save = NULL;

    *mask = 0;
    for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        const LogItem *i = log_item_find(name);

        if (i) {
            *mask |= i->mask;
        } else if (strncmp(name, "trace:", 6) == 0) {
            if (!trace_enable(name + 6))
                return error_set(err, "no tracepoint matches '%s'", name + 6);
        } else {
            return log_item_unknown(name, err);
        }
    }
    return true;
}

/* From one file to another the stream stays, since other threads may be writing to it. */
static void stream_set(FILE *f)
{
    FILE *old = log_file;

    if (f && old) {
        fflush(old);
        dup3(fileno(f), fileno(old), O_CLOEXEC);
        fclose(f);
        return;
    }
    __atomic_store_n(&log_file, f, __ATOMIC_RELEASE);
    if (old)
        fclose(old);
}

bool log_open(const char *path, uint32_t mask, Error *err)
{
    FILE *f = NULL;

    if (path) {
        f = fopen(path, "we");
        if (!f)
            return error_set_errno(err, errno, "cannot open log file '%s'", path);
        setvbuf(f, NULL, _IOLBF, 64 * KIB);
    }
    stream_set(f);
    log_set_mask(mask);
    return true;
}

void log_set_mask(uint32_t mask)
{
    __atomic_store_n(&log_mask_, mask, __ATOMIC_RELAXED);
}

void log_set_program(const char *name)
{
    snprintf(log_program, sizeof log_program, "%s", name);
}

/* --- lines --- */

/* @prefix, the formatted text and @suffix in one write; texts of any length. */
static void log_vwrite(FILE *f, const char *prefix, const char *fmt, va_list ap, const char *suffix)
{
    char small[512];
    char *text = small;
    size_t before = strlen(prefix), size;
    va_list again;
    int len;

    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    assert(len >= 0);
    size = before + (size_t)len + strlen(suffix) + 1;
    if (size > sizeof small)
        text = xalloc(size);
    memcpy(text, prefix, before);
    vsnprintf(text + before, size - before, fmt, ap);
    memcpy(text + before + len, suffix, strlen(suffix) + 1);
    fwrite(text, 1, size - 1, f);
    if (text != small)
        xfree(text);
}

static FILE *log_stream(void)
{
    FILE *f = __atomic_load_n(&log_file, __ATOMIC_ACQUIRE);

    return f ? f : stderr;
}

/* Messages are lines whether or not their writer ended them. */
static const char *line_end(const char *fmt)
{
    size_t len = strlen(fmt);

    return len && fmt[len - 1] == '\n' ? "" : "\n";
}

void log_write(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vwrite(log_stream(), "", fmt, ap, "");
    va_end(ap);
}

void log_text(const char *s)
{
    fwrite(s, 1, strlen(s), log_stream());
}

void log_set_stamp(bool on, const char *guest)
{
    log_stamp = on;
    snprintf(log_guest_name, sizeof log_guest_name, "%s", guest ? guest : "");
}

/* "2022-11-21T15:00:00.123456Z " */
static void stamp_now(char *out, size_t size)
{
    struct timespec t;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, size - n, ".%06ldZ ", t.tv_nsec / 1000);
}

static void log_message(const char *kind, const char *fmt, va_list ap)
{
    char stamp[40] = "", prefix[sizeof stamp + sizeof log_guest_name + sizeof log_program + 20];

    if (log_stamp)
        stamp_now(stamp, sizeof stamp);
    snprintf(prefix, sizeof prefix, "%s%s%s%s: %s", stamp, log_guest_name,
             *log_guest_name ? " " : "", log_program, kind);
    log_vwrite(stderr, prefix, fmt, ap, line_end(fmt));
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_message("warning: ", fmt, ap);
    va_end(ap);
}

void log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_message("", fmt, ap);
    va_end(ap);
}

/* --- guest mistakes, at most SITE_LINES a second for each call site --- */

enum { SITE_LINES = 10 };

/* Seconds since boot, never 0: LogSite.window 0 is "nothing yet". */
static int64_t log_second(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec + 1;
}

void log_site(LogSite *s, uint32_t mask, const char *fmt, ...)
{
    int64_t now = log_second(), window = atomic_load(&s->window);
    va_list ap;

    if (!log_on(mask))
        return;
    if (now != window && atomic_compare_exchange_strong(&s->window, &window, now)) {
        uint32_t before = atomic_exchange(&s->count, 0);

        if (before > SITE_LINES)
            log_write("(%" PRIu32 " lines like the next were left out)\n", before - SITE_LINES);
    }
    if (atomic_fetch_add(&s->count, 1) >= SITE_LINES)
        return;
    va_start(ap, fmt);
    log_vwrite(log_stream(), "", fmt, ap, line_end(fmt));
    va_end(ap);
}

/* --- tracepoints: the linker collects pointers to those of TRACE() between these two --- */

extern TracePoint *const trace_first[] __asm__("__start_rhea_trace") __attribute__((weak));
extern TracePoint *const trace_last[] __asm__("__stop_rhea_trace") __attribute__((weak));

void trace_register(TracePoint *t)
{
    t->next = trace_registered;
    trace_registered = t;
    for (const TracePattern *p = trace_patterns; p; p = p->next) {
        if (!fnmatch(p->glob, t->name, 0)) {
            t->on = p->on;
            break; /* the newest decides */
        }
    }
}

static bool trace_match(TracePoint *t, const TracePattern *p)
{
    bool match = fnmatch(p->glob, t->name, 0) == 0;

    if (match)
        __atomic_store_n(&t->on, p->on, __ATOMIC_RELAXED);
    return match;
}

const TracePoint *trace_next(const TracePoint *t)
{
    TracePoint *const *at = trace_first;

    if (!t)
        return at != trace_last ? *at : NULL;
    while (at != trace_last && *at != t)
        at++;
    return at != trace_last && at + 1 != trace_last ? at[1] : NULL;
}

/* The pattern with that text, now the newest. */
static TracePattern *pattern_put(const char *glob)
{
    TracePattern **at = &trace_patterns, *p;

    while (*at && strcmp((*at)->glob, glob))
        at = &(*at)->next;
    p = *at;
    if (p) {
        *at = p->next;
    } else {
        p = xnew(TracePattern);
        p->glob = xstrdup(glob);
    }
    p->next = trace_patterns;
    return trace_patterns = p;
}

unsigned trace_set(const char *glob, bool on)
{
    TracePattern *p = pattern_put(glob);
    unsigned n = 0;

    p->on = on;
    for (TracePoint *const *t = trace_first; t != trace_last; t++)
        n += trace_match(*t, p);
    for (TracePoint *t = trace_registered; t; t = t->next)
        n += trace_match(t, p);
    return n;
}

unsigned trace_enable(const char *glob)
{
    return trace_set(glob, true);
}

void trace_write(const TracePoint *t, const char *fmt, ...)
{
    char prefix[80];
    va_list ap;

    snprintf(prefix, sizeof prefix, "%s ", t->name);
    va_start(ap, fmt);
    log_vwrite(log_stream(), prefix, fmt, ap, line_end(fmt));
    va_end(ap);
}
