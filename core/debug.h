/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug - what a debugger asks of processors: break- and watchpoints, steps, stops, registers by
 * name
 *
 * Everything is set on the main thread while the machine is paused, so vCPUs read it without a
 * lock.  A vCPU that has something to tell sets its own stop and REQ_DEBUG (debug_stop); its run
 * loop passes that on (debug_report) and stands still; the machine pauses in RUN_DEBUG and the
 * debugger is told.
 *
 * Breakpoints are looked at by the translator: blocks end before one, and a block at one is just a
 * stop.  So the guest's memory is not altered.  Pages with watchpoints get no entry in the soft
 * TLB's first level.
 */
#ifndef CORE_DEBUG_H
#define CORE_DEBUG_H

#include "core/cpu.h"

enum { DEBUG_BREAKS = 1024, DEBUG_WATCHES = 64, DEBUG_REG_BYTES = 64, DEBUG_FEATURES = 16 };

/* Kinds of points, as the GDB protocol numbers them. */
typedef enum DebugKind {
    DEBUG_SW_BREAK,
    DEBUG_HW_BREAK,
    DEBUG_WATCH_WRITE,
    DEBUG_WATCH_READ,
    DEBUG_WATCH_ACCESS,
    DEBUG_KINDS
} DebugKind;

typedef struct DebugPoint {
    Gva at;        /* linear address */
    uint64_t size; /* watchpoints: bytes, at least 1 */
    DebugKind kind;
} DebugPoint;

/* Someone who debugs @m.  @changed: the machine started, stopped or is about to end (main
 * thread). */
typedef struct Debug {
    DebugPoint breaks[DEBUG_BREAKS]; /* sorted by address */
    DebugPoint watches[DEBUG_WATCHES];
    unsigned n_breaks, n_watches;
    uint32_t step_mask; /* REQ_* that wait while a processor steps */
    bool step_clock;    /* virtual time passes while one steps */
    bool clock_held;    /* it does not now */
    void (*changed)(void *arg);
    void *arg;
} Debug;

typedef enum DebugRun { DEBUG_STAY, DEBUG_RUN, DEBUG_STEP } DebugRun;

/* --- for the debugger: main thread, machine paused --- */

bool debug_attach(Machine *m, void (*changed)(void *arg), void *arg,
                  Error *err); /* one at a time */
void debug_detach(Machine *m); /* all points go; no effect if nobody is attached */
bool debug_insert(
    Machine *m, DebugPoint p); /* again: no effect.  False: too many, or size 0 or across the end */
bool debug_remove(Machine *m, DebugPoint p); /* false: there is none */
void debug_remove_all(Machine *m);
/* Let the machine run; @how: for each processor.  Those that stay keep their stop, which is not
 * reported again. */
void debug_resume(Machine *m, const DebugRun *how);

/* --- for machine.c --- */

void debug_settle(Machine *m); /* after a pause: no processor steps or is held any more */

/* --- for accelerators, translators and the soft MMU: the vCPU's thread --- */

/* This vCPU is to stop before the next instruction; the first reason counts.  General registers
 * only. */
static inline void debug_stop(Cpu *c, StopKind why, DebugKind kind, Gva at)
{
    if (c->stop.kind == STOP_NONE)
        c->stop = (CpuStop){(uint8_t)why, (uint8_t)kind, at};
    atomic_fetch_or(&c->request, REQ_DEBUG);
}
void debug_report(Cpu *c); /* REQ_DEBUG was found: tell, if there is something to tell */
uint32_t debug_hold(
    Cpu *c,
    uint32_t request); /* what of it is to be served now; the rest waits for the step's end */
Gva debug_next_break(const Debug *d, Gva at); /* the lowest breakpoint not below @at, or ~0 */
const DebugPoint *debug_break_at(const Debug *d, Gva at);
/* [va, va+size) is about to be accessed (ACCESS_WRITE; ACCESS_READ).  May unwind.  General
 * registers only. */
void debug_access(Cpu *c, Gva va, uint64_t size, Access access);
bool debug_watches_page(const Debug *d, Gva va); /* general registers only */

/* --- of an architecture: CpuArch.debug --- */

typedef struct DebugReg {
    const char *name, *type; /* gdb's names; type NULL: int of that width */
    uint16_t bits;           /* as gdb sees it */
    uint8_t size;            /* bytes at @at in the cpu struct; 0: special(@at) */
    uint32_t at;
    const char *group; /* NULL: by type */
} DebugReg;

typedef struct DebugFeature {
    const char *name, *types; /* types: XML that defines those used below, or NULL */
    const DebugReg *regs;
    unsigned n;
} DebugFeature;

typedef struct DebugArch {
    const char *name; /* gdb's, for <architecture> */
    unsigned (*features)(const Cpu *c, const DebugFeature *out[DEBUG_FEATURES]);
    void (*get)(Cpu *c, const DebugReg *r, uint8_t *buf);       /* bits / 8 bytes, little-endian */
    bool (*set)(Cpu *c, const DebugReg *r, const uint8_t *buf); /* false: refused */
    bool (*translate)(Cpu *c, Gva va,
                      Gpa *pa); /* without marking pages as used, whatever the rights */
    void (*step)(Cpu *c);       /* cpu->one_insn has changed */
} DebugArch;

#endif
