/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_sequence - random sequences must end in the same state on the host and on each engine
 *
 * What processors may do as they like is found out only where states differ: a trace of the host,
 * step by step, tells which flags are undefined at the end, and whether an instruction read one.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "cpu/ir/ir.h"
#include "cpu/x86/disasm.h"
#include "tests/cpu/cpu_test.h"

enum { MOST_REPORTS = 12 };

struct SequenceCheck {
    const OpenEngine *engines;
    unsigned n_engines, reported;
    const uint64_t *features;
    Sequences *rows;
    SequenceTotals totals;
    Sequence seq;
    CpuState in, want, got, scratch;
};

/* --- flags --- */

typedef struct Flags {
    uint64_t undefined;
    uint64_t written; /* since the last branch: docs/translator.md, "Flags" */
} Flags;

typedef struct Trace {
    const SequenceCheck *k;
    Flags now, before; /* before: the last instruction that was begun, at rip */
    uint64_t rip;
    bool read; /* a flag that was undefined */
} Trace;

static bool decode(const SequenceCheck *k, X86Insn *i, const uint8_t *p, unsigned n)
{
    return x86_decode(i, p, n, MODE_64 | MODE_PE | 3, k->features) == X86_DECODE_OK;
}

/* Shifts and repeated comparisons write nothing if the count is 0. */
static bool is_count_zero(const X86Insn *i, uint64_t cx)
{
    const X86Operand *count = &i->o[i->n ? i->n - 1 : 0];

    switch (i->row->op) {
    case X86_SHL:
    case X86_SHR:
    case X86_SAR:
    case X86_ROL:
    case X86_ROR:
    case X86_RCL:
    case X86_RCR:
    case X86_SHLD:
    case X86_SHRD:
        return !((count->kind == X86_IMM ? (uint64_t)count->imm : cx) &
                 (i->o[0].size == 8 ? 63 : 31));
    case X86_CMPS:
    case X86_SCAS: return i->rep && !cx;
    default: return false;
    }
}

static void trace_step(void *opaque, uint64_t rip, uint64_t flags, uint64_t rcx)
{
    Trace *t = opaque;
    X86Insn i;

    (void)flags;
    if (!decode(t->k, &i, (const uint8_t *)(uintptr_t)rip, code_room(rip, 15))) {
        return;
    }
    t->read |= (i.row->fl_in & t->now.undefined) != 0;
    if (!i.rep || rip != t->rip) { /* (each round of a repeated one is a step) */
        t->before = t->now;
    }
    t->rip = rip;
    if (!is_count_zero(&i, rcx)) {
        t->now.written |= i.row->fl_out | i.row->fl_undef;
    }
    if (i.row->attr & XA_END) {
        t->now.written = 0;
    }
    if (!is_count_zero(&i, rcx)) {
        t->now.undefined =
            (t->now.undefined & ~(uint64_t)i.row->fl_out) | insn_undefined_flags(&i, rcx);
    }
}

/* Flags that the program reads, from the instruction at @rip on, before it writes them; as far
 * as the next branch. */
static uint64_t flags_needed(const SequenceCheck *k, uint64_t rip)
{
    const CpuProgram *p = &k->seq.program;
    uint64_t needed = 0, written = 0, end = p->at + code_room(p->at, p->len);
    X86Insn i;

    while (rip >= p->at && rip < end &&
           decode(k, &i, k->want.code + (rip - p->at), (unsigned)(end - rip))) {
        needed |= i.row->fl_in & ~written;
        written |= i.row->fl_out | i.row->fl_undef;
        if (i.row->attr & XA_END) {
            break;
        }
        rip += i.len;
    }
    return needed;
}

/* --- running --- */

/* The instruction at which the host faulted. */
static bool faulting(const SequenceCheck *k, X86Insn *i)
{
    const CpuProgram *p = &k->seq.program;
    uint64_t at = k->want.rip - p->at;

    return k->want.vector >= 0 && at < p->len &&
           decode(k, i, k->want.code + at, (unsigned)(p->len - at));
}

/* Did it write over its code where this was not intended?  Then it may be in the middle of a
 * string instruction. */
static bool is_code_lost(const SequenceCheck *k)
{
    const Sequence *q = &k->seq;
    uint8_t expected[PROGRAM_MAX];
    unsigned n = code_room(q->program.at, q->program.len);

    memcpy(expected, q->program.code, n);
    for (unsigned i = 0; i < q->n; i++) {
        unsigned last = q->start[i + 1] - 1u;

        if (q->patched >> i & 1 && last < n) {
            expected[last] = k->want.code[last];
        }
    }
    return memcmp(expected, k->want.code, n) != 0;
}

/* Beyond what can be compared: which operand of CMPS is read first; what must not happen to the
 * code; what the way back does, entered in its middle. */
static bool is_wild(const SequenceCheck *k)
{
    uint64_t behind = k->want.rip - program_end(&k->seq.program);
    X86Insn i;

    if (k->want.vector >= 0 && behind < EXIT_JUMP) {
        return true;
    }

    if (k->want.vector == VECTOR_LOST || is_code_lost(k)) {
        return true;
    }
    return faulting(k, &i) && i.row->op == X86_CMPS;
}

static Compare comparison(const SequenceCheck *k)
{
    const CpuProgram *p = &k->seq.program;
    Compare c = {.what = CMP_ALL, .flags = FL_ALL | EFL_DF, .code = code_room(p->at, p->len)};

    if (k->want.vector >= 0) {
        if (k->want.vector == EX_DE)
            c.flags = EFL_DF;
        c.what &= ~(unsigned)CMP_MXCSR; /* a store that faults may have set flags before */
    }
    return c;
}

/* Does @e differ from the host?  Then lines in @diff.  A difference in undefined flags does not
 * count; @undefined: it would. */
static bool run_engine(SequenceCheck *k, const OpenEngine *e, StrBuf *diff, bool *undefined)
{
    Compare c;
    Trace t = {.k = k};
    Flags end;

    if (e->e == &engine_interp && !k->seq.portable) {
        return false;
    }
    engine_run(e, &k->seq.program, &k->in, &k->want, &k->got);
    c = comparison(k);
    state_compare(diff, &k->want, &k->got, &c);
    if (!diff->len) {
        return false;
    }
    native_trace(&k->seq.program, &k->in, &k->scratch, trace_step, &t);
    if (t.read ||
        k->scratch.vector == VECTOR_ENDLESS) { /* (too long to tell; an engine may have given up) */
        *undefined = true;
        strbuf_free(diff);
        return false;
    }
    end = k->want.vector >= 0 && k->want.rip == t.rip ? t.before : t.now;
    if (k->want.vector >= 0) {
        c.flags &= EFL_DF | end.written | flags_needed(k, k->want.rip);
    }
    c.flags &= ~end.undefined;
    strbuf_free(diff);
    state_compare(diff, &k->want, &k->got, &c);
    return diff->len != 0;
}

static bool prepare(SequenceCheck *k, uint64_t seed, uint32_t dropped)
{
    if (!sequence_generate(k->rows, &k->seq, &k->in, seed, dropped)) {
        return false;
    }
    native_run(&k->seq.program, &k->in, &k->want);
    return true;
}

static bool still_differs(SequenceCheck *k, const OpenEngine *e, uint64_t seed, uint32_t dropped)
{
    StrBuf diff = {0};
    bool undefined, differs = prepare(k, seed, dropped) && k->want.vector != VECTOR_ENDLESS &&
                              !is_wild(k) && run_engine(k, e, &diff, &undefined);

    strbuf_free(&diff);
    return differs;
}

/* Drop units as long as the rest still differs. */
static uint32_t shrink(SequenceCheck *k, const OpenEngine *e, uint64_t seed, uint32_t dropped)
{
    bool any = true;
    unsigned n = k->seq.n;

    while (any) {
        any = false;
        for (unsigned i = n; i-- > 0;) {
            if (!(dropped >> i & 1) && still_differs(k, e, seed, dropped | 1u << i)) {
                dropped |= 1u << i;
                any = true;
            }
        }
    }
    return dropped;
}

static void print_program(const SequenceCheck *k)
{
    const CpuProgram *p = &k->seq.program;
    unsigned at = 0;

    while (at < p->len) {
        StrBuf s = {0};
        size_t n = x86_disasm(p->code + at, p->len - at, p->at + at, MODE_64 | MODE_PE, &s);
        const char *text = strbuf_str(&s), *end = strchr(text, '\n');

        printf("      %" PRIx64 "  %.*s\n", p->at + at, end ? (int)(end - text) : (int)s.len, text);
        strbuf_free(&s);
        at += n ? (unsigned)n : 1;
    }
}

static void print_registers(const CpuState *in)
{
    for (unsigned i = 0; i < 16; i++) {
        printf("%s r%-2u %016" PRIx64 "%s", i % 4 ? "" : "     ", i, in->r[i],
               i % 4 == 3 ? "\n" : "");
    }
}

static void report(SequenceCheck *k, const OpenEngine *e, uint64_t seed, uint32_t dropped,
                   bool smaller)
{
    StrBuf diff = {0};
    bool undefined;

    if (smaller) {
        dropped = shrink(k, e, seed, dropped);
    }
    prepare(k, seed, dropped);
    run_engine(k, e, &diff, &undefined);
    printf("FAIL %s: check-cpu --engine %s --sequence 0x%" PRIx64 ":0x%x\n", e->e->name, e->e->name,
           seed, dropped);
    print_registers(&k->in);
    print_program(k);
    printf("    exception %d at %" PRIx64 "\n%s", k->want.vector, k->want.rip, strbuf_str(&diff));
    strbuf_free(&diff);
}

bool sequence_check(SequenceCheck *k, uint64_t seed, uint32_t dropped, bool smaller)
{
    bool ok = true, undefined = false;

    if (!prepare(k, seed, dropped)) {
        return true;
    }
    k->totals.ran++;
    if (k->want.vector == VECTOR_ENDLESS) {
        k->totals.endless++;
        return true;
    }
    if (is_wild(k)) {
        k->totals.wild++;
        return true;
    }
    k->totals.faults += k->want.vector >= 0;
    for (unsigned i = 0; i < k->n_engines && ok; i++) {
        StrBuf diff = {0};

        ok = !run_engine(k, &k->engines[i], &diff, &undefined);
        strbuf_free(&diff);
        if (!ok && (k->reported++ < MOST_REPORTS || !smaller)) {
            report(k, &k->engines[i], seed, dropped, smaller);
        }
    }
    k->totals.failed += !ok;
    k->totals.undefined += undefined;
    return ok;
}

const SequenceTotals *sequence_totals(const SequenceCheck *k)
{
    return &k->totals;
}

SequenceCheck *sequence_check_new(const OpenEngine *engines, unsigned n, const uint64_t *features)
{
    SequenceCheck *k = xnew(SequenceCheck);

    k->engines = engines;
    k->n_engines = n;
    k->features = features;
    k->rows = sequences_new(features);
    return k;
}

void sequence_check_free(SequenceCheck *k)
{
    sequences_free(k->rows);
    xfree(k);
}
