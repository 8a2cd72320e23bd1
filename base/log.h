/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log - what we tell: -d items, guest mistakes, warnings, tracepoints
 *
 * The one place with process-wide state: where the log goes and what is switched on is set once by
 * the command line before threads start, or changed by the monitor.  One call writes one whole
 * piece, under the stream's own lock.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"
#include "base/error.h"

enum {                       /* -d items; log_items names and explains them for `-d help` */
       LOG_IN_ASM = 1 << 0,  /* guest code of each new block */
       LOG_OP = 1 << 1,      /* its IR */
       LOG_OUT_ASM = 1 << 2, /* the host code */
       LOG_INT = 1 << 3,     /* exceptions and interrupts */
       LOG_EXEC = 1 << 4,    /* each block as it is entered (no links are made) */
       LOG_CPU = 1 << 5,     /* registers before each block */
       LOG_MMU = 1 << 6,
       LOG_PCALL = 1 << 7, /* x86: mode switches, far transfers */
       LOG_CPU_RESET = 1 << 8,
       LOG_UNIMP = 1 << 9,
       LOG_GUEST_ERROR = 1 << 10,
       LOG_NOCHAIN = 1 << 11, /* no direct links between blocks */
       LOG_OP_OPT = 1 << 12,  /* IR after liveness and planning */
       LOG_PAGE = 1 << 13,
       LOG_STATS = 1 << 14,   /* exit-reason counters at the end */
       LOG_PERFMAP = 1 << 15, /* /tmp/perf-PID.map */
};

typedef struct LogItem {
    uint32_t mask;
    const char *name, *doc;
} LogItem;
extern const LogItem log_items[]; /* ends with name == NULL */

bool log_parse(const char *items, uint32_t *mask, Error *err); /* "in_asm,int,trace:alarm_*,..." */
bool log_open(const char *path, uint32_t mask, Error *err);    /* path NULL: stderr */
/* while it runs: the translators' items count for new blocks only */
void log_set_mask(uint32_t mask);
void log_set_program(const char *name); /* the prefix of log_warn/log_error */
/* -msg: the time, and the guest's name, before it */
void log_set_stamp(bool on, const char *guest);

extern uint32_t log_mask_; /* read through log_on() only */
static inline bool log_on(uint32_t mask)
{
    return UNLIKELY(__atomic_load_n(&log_mask_, __ATOMIC_RELAXED) & mask);
}

void log_write(const char *fmt, ...) PRINTF_LIKE(1, 2); /* as is, to the log */
void log_text(const char *s);
#define log_at(mask, ...)                                                                          \
    do {                                                                                           \
        if (log_on(mask))                                                                          \
            log_write(__VA_ARGS__);                                                                \
    } while (0)

/* "rhea: warning: ..." and "rhea: ..." on stderr. */
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* A guest did what it should not / asked for what is not modelled.  Shown with -d guest_errors /
 * unimp; at most 10 lines a second for each call site. */
typedef struct LogSite {
    _Atomic int64_t window;
    _Atomic uint32_t count;
} LogSite;
void log_site(LogSite *s, uint32_t mask, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define log_guest(...)                                                                             \
    do {                                                                                           \
        static LogSite site_;                                                                      \
        if (log_on(LOG_GUEST_ERROR))                                                               \
            log_site(&site_, LOG_GUEST_ERROR, __VA_ARGS__);                                        \
    } while (0)
#define log_unimp(...)                                                                             \
    do {                                                                                           \
        static LogSite site_;                                                                      \
        if (log_on(LOG_UNIMP))                                                                     \
            log_site(&site_, LOG_UNIMP, __VA_ARGS__);                                              \
    } while (0)

/* TRACE(alarm_fire, "due %" PRId64, due): a tracepoint, off until enabled by glob (-trace
 * alarm_*). */
typedef struct TracePoint {
    const char *name;
    bool on;
    struct TracePoint *next;
} TracePoint;
void trace_register(TracePoint *t);
const TracePoint *trace_next(const TracePoint *t); /* those of TRACE(); NULL starts */
unsigned trace_set(const char *glob, bool on); /* how many matched; also those registered later */
unsigned trace_enable(const char *glob);       /* trace_set(glob, true) */
void trace_write(const TracePoint *t, const char *fmt, ...) PRINTF_LIKE(2, 3); /* one line */
#define TRACE(id, ...)                                                                             \
    do {                                                                                           \
        static TracePoint tp_ = {#id, false, NULL};                                                \
        static TracePoint *const at_ __attribute__((section("rhea_trace"), used)) = &tp_;          \
        if (UNLIKELY(__atomic_load_n(&tp_.on, __ATOMIC_RELAXED)))                                  \
            trace_write(&tp_, __VA_ARGS__);                                                        \
    } while (0)

#endif
