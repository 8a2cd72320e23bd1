/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu_test - differential tests of x86 user-mode instructions: one case, who makes it, who runs it
 *
 * A case is one instruction with the whole state before it.  The host processor is the oracle; each engine gets the same
 * state and must end in the same.  All addresses are the same everywhere: a sandbox of data pages with unmapped
 * neighbours, and the code.
 */
#ifndef TESTS_CPU_CPU_TEST_H
#define TESTS_CPU_CPU_TEST_H

#include "base/error.h"
#include "base/strbuf.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/x86.h"

enum { SANDBOX = 0x10000000, SANDBOX_PAGES = 16 };               /* the region that must be free on the host */
enum { DATA = SANDBOX + 0x1000, DATA_SIZE = 0x3000, DATA_WRITABLE = 0x2000 }; /* the third page is read-only */
enum { CODE_PAGE = SANDBOX + 0x8000, CODE = CODE_PAGE + 0x400 };
enum { XSAVE_BYTES = 832, X_MXCSR = 24, X_ST = 32, X_XMM = 160, X_HEADER = 512, X_YMMH = 576 };

typedef struct CpuState {
    uint64_t r[16];
    uint64_t flags;             /* arithmetic flags and DF */
    uint64_t rip;
    alignas(64) uint8_t x[XSAVE_BYTES]; /* XSAVE area, standard format: x87, SSE, AVX */
    alignas(64) uint8_t data[DATA_SIZE];
    int vector;                 /* exception, or -1 */
    uint64_t error, addr;       /* of #PF */
} CpuState;

typedef struct CpuCase {
    const X86Row *row;          /* what was asked for */
    uint64_t seed;
    uint8_t code[32];
    unsigned len;               /* of the instruction; 1 if it is #UD */
    bool valid;                 /* decoded */
    X86Insn insn;               /* if valid */
} CpuCase;

typedef struct Engine {
    const char *name;
    bool (*open)(void **engine, Error *err);
    void (*close)(void *engine);
    void (*run)(void *engine, const CpuCase *t, const CpuState *in, CpuState *out);
} Engine;
extern const Engine engine_interp, engine_x64;

/* generate.c: a case of @row from @seed; false: this seed gives none (its result would depend on the processor). */
bool case_generate(CpuCase *t, CpuState *in, const X86Row *row, uint64_t seed, const uint64_t *features);
/* What may differ: flags that are undefined after this case. */
uint64_t case_undefined_flags(const CpuCase *t, const CpuState *in);

/* native.c */
bool native_open(Error *err);
void native_run(const CpuCase *t, const CpuState *in, CpuState *out);

static inline uint64_t mix64(uint64_t v) /* splitmix64 */
{
    v += 0x9e3779b97f4a7c15ull;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

#endif
