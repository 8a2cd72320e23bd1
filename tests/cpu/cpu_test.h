/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu_test - differential tests of x86 user-mode code: what a program is, who makes it, who runs it
 *
 * A program is one instruction (CpuCase) or a sequence, with the whole state before it.  The host
 * processor is the oracle; each engine gets the same state and must end in the same.  All addresses
 * are the same everywhere: a sandbox of data pages and two code pages, with unmapped neighbours.
 * Addresses here are linear; 16-bit code sees offsets.
 */
#ifndef TESTS_CPU_CPU_TEST_H
#define TESTS_CPU_CPU_TEST_H

#include "base/error.h"
#include "base/strbuf.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/x86.h"

enum { SANDBOX = 0x10000000, SANDBOX_PAGES = 16 }; /* the region that must be free on the host */
enum {
    DATA = SANDBOX + 0x1000,
    DATA_SIZE = 0x3000,
    DATA_WRITABLE = 0x2000
}; /* the third page is read-only */
enum {
    CODE_PAGE = SANDBOX + 0x8000,
    CODE_SIZE = 0x2000,
    CODE = CODE_PAGE + 0x400
};                               /* writable, executable */
enum { EXIT_PAGE = 0x5a5a5000 }; /* the host's alone, far from what programs touch */
enum { PROGRAM_MAX = 640, EXIT_JUMP = 8 /* bytes behind it */ };
enum { XSAVE_BYTES = 832, X_MXCSR = 24, X_ST = 32, X_XMM = 160, X_HEADER = 512, X_YMMH = 576 };
enum {
    VECTOR_NONE = -1,
    VECTOR_ENDLESS = -2,
    VECTOR_LOST = -3 /* overwrote the way back */
};                   /* CpuState.vector besides exceptions */

typedef struct CpuState {
    uint64_t r[16];
    uint64_t flags; /* arithmetic flags and DF */
    uint64_t rip;
    uint8_t x[XSAVE_BYTES]; /* XSAVE area, standard format: x87, SSE, AVX */
    uint8_t data[DATA_SIZE];
    uint8_t code[PROGRAM_MAX]; /* the program, as it is after it ran */
    int vector;                /* exception, or VECTOR_x */
    uint64_t error, addr;      /* of #PF */
} CpuState;

/* Modes of code: compatibility mode but for the first; 16-bit code with segments that are not
 * flat, or flat data. */
typedef enum CodeKind {
    KIND_64,
    KIND_32,
    KIND_16,
    KIND_16_SS32,
    KIND_16_FLAT,
    KIND_COUNT
} CodeKind;

/* Runs from its first byte until the pc is behind its last, or it faults.  What would lie beyond
 * the code pages is cut off. */
typedef struct CpuProgram {
    uint64_t at;
    unsigned len;
    CodeKind kind;
    uint8_t code[PROGRAM_MAX];
} CpuProgram;

/* cpu->mode as far as decoding goes. */
static inline uint32_t program_mode(CodeKind kind)
{
    static const uint32_t size[KIND_COUNT] = {MODE_64, MODE_32 | MODE_SS32, MODE_16,
                                              MODE_16 | MODE_SS32, MODE_16 | MODE_SS32};

    return size[kind] | MODE_PE | 3;
}

/* --- segments.c --- */

enum { SELECTOR_32 = 0x23, SELECTOR_64 = 0x33, SELECTOR_DATA = 0x2b }; /* Linux's */

typedef struct TestSegment {
    uint32_t base, limit;
    uint16_t sel; /* on the host */
    bool code, big, down, is64;
} TestSegment;

bool segments_open(void); /* those of 16-bit code on the host; false: it has none */
const TestSegment *program_segment(CodeKind kind, unsigned seg);

static inline uint64_t program_end(const CpuProgram *p)
{
    return p->at + p->len;
}

/* The bytes of [@at, @at + @n) that are in the code pages. */
static inline unsigned code_room(uint64_t at, unsigned n)
{
    uint64_t end = CODE_PAGE + CODE_SIZE;

    return at >= end ? 0 : (unsigned)MIN((uint64_t)n, end - at);
}

typedef struct CpuCase {
    const X86Row *row; /* what was asked for */
    uint64_t seed;
    CodeKind kind;
    uint8_t code[32];
    unsigned len; /* of the instruction; 1 if it is #UD */
    bool valid;   /* decoded */
    X86Insn insn; /* if valid */
} CpuCase;

typedef struct Engine {
    const char *name;
    bool (*open)(void **engine, Error *err);
    void (*close)(void *engine);
    void (*run)(void *engine, const CpuProgram *p, const CpuState *in, CpuState *out);
} Engine;
extern const Engine engine_interp, engine_x64;

typedef struct OpenEngine {
    const Engine *e;
    void *state;
} OpenEngine;

/*
 * Run on @e.  If only one of @want, which is the host's result, and @got seems endless, both are
 * run again with much patience: a machine that is busy elsewhere looks like that.
 */
void engine_run(const OpenEngine *e, const CpuProgram *p, const CpuState *in, CpuState *want,
                CpuState *got);

/* --- generate.c --- */

/* The memory operand of a generated instruction, if it has one. */
typedef struct MemoryAim {
    uint8_t base;  /* 255: none */
    uint8_t index; /* 255: none; not SP */
    uint8_t scale;
    int32_t disp;
} MemoryAim;

/* A case of @row from @seed; false: this seed gives none (its result would depend on the
 * processor). */
bool case_generate(CpuCase *t, CpuState *in, const X86Row *row, uint64_t seed,
                   const uint64_t *features, CodeKind kind);
/* An instruction of @row alone, with @aim for its memory operand; false: it is not valid. */
bool insn_generate(CpuCase *t, const X86Row *row, uint64_t seed, const MemoryAim *aim,
                   const uint64_t *features);
/* Random registers, flags and vectors; the data pages.  @row: that state is for one instruction
 * of this row, or NULL. */
void state_generate(CpuState *in, uint64_t seed, const X86Row *row);
/* What may differ: flags that are undefined after @i, where rcx is @cx. */
uint64_t insn_undefined_flags(const X86Insn *i, uint64_t cx);

/* --- compare.c --- */

enum { CMP_VECTORS = 1, CMP_DATA = 2, CMP_PAGE_FAULT = 4, CMP_MXCSR = 8, CMP_ALL = 15 };

typedef struct Compare {
    unsigned what;       /* CMP_x */
    uint64_t flags;      /* that must agree */
    uint16_t low_halves; /* registers of which the upper half may differ */
    unsigned code;       /* bytes of the program that must agree */
} Compare;

/* A line for each difference. */
void state_compare(StrBuf *out, const CpuState *want, const CpuState *got, const Compare *c);

/* --- sequence.c --- */

enum { SEQUENCE_MOST = 24 }; /* units: an instruction, or several that belong together */

typedef struct Sequences Sequences; /* rows to choose from */

typedef struct Sequence {
    CpuProgram program;
    unsigned n;                        /* units */
    uint16_t start[SEQUENCE_MOST + 2]; /* of each; then the jump at the end, then the end */
    uint32_t patched;                  /* units whose last byte is written by others */
    bool portable;                     /* the interpreter has all of its instructions */
} Sequence;

Sequences *sequences_new(const uint64_t *features);
void sequences_free(Sequences *s);
/* The sequence of @seed without the units whose bits are set in @dropped.  False: this seed
 * gives none. */
bool sequence_generate(Sequences *s, Sequence *out, CpuState *in, uint64_t seed, uint32_t dropped);

/* --- check_sequence.c --- */

typedef struct SequenceTotals {
    uint64_t ran, faults, failed;
    uint64_t undefined, endless, wild; /* not compared */
} SequenceTotals;

typedef struct SequenceCheck SequenceCheck;
SequenceCheck *sequence_check_new(const OpenEngine *engines, unsigned n, const uint64_t *features);
void sequence_check_free(SequenceCheck *k);
/* Run the sequence of @seed everywhere, report what differs (@shrink: without what is not needed
 * for that). */
bool sequence_check(SequenceCheck *k, uint64_t seed, uint32_t dropped, bool shrink);
const SequenceTotals *sequence_totals(const SequenceCheck *k);

/* --- native.c --- */

bool native_open(Error *err);
/* The bytes of the code pages: the program and the jump behind it, which engines never get to. */
void program_image(const CpuProgram *p, uint8_t *image);
void native_run(const CpuProgram *p, const CpuState *in, CpuState *out);
/* The same, with a call before each instruction of the program (in a signal handler). */
void native_trace(const CpuProgram *p, const CpuState *in, CpuState *out,
                  void (*step)(void *opaque, uint64_t rip, uint64_t flags, uint64_t rcx),
                  void *opaque);
/* @late is called, in a signal handler, when what follows takes long; NULL: no more. */
void native_watch(void (*late)(void *opaque), void *opaque);
void native_be_patient(bool yes); /* what "long" is: seconds, or tens of milliseconds */

static inline uint64_t mix64(uint64_t v) /* splitmix64 */
{
    v += 0x9e3779b97f4a7c15ull;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

#endif
