/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-cpu - random instructions on the host processor and on rhea's engines must end in the same state
 *
 *   check-cpu [--cases N] [--seed S] [--engine interp|x64|all] [--only NAME]... [--repro ROW:SEED] [--stop]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/opts.h"
#include "cpu/ir/ir.h"
#include "cpu/x86/disasm.h"
#include "cpu/x86/model.h"
#include "tests/cpu/cpu_test.h"

enum { MAX_ROWS = 2048, MAX_ONLY = 16, MAX_SHOWN = 40 };

typedef struct Check {
    uint64_t cases, seed;
    const char *engine, *only[MAX_ONLY], *repro;
    unsigned n_only;
    bool stop;
    uint64_t features[F_WORDS];
    struct { const Engine *e; void *state; } engines[2];
    unsigned n_engines;
    unsigned rows[MAX_ROWS], n_rows;
    uint32_t failed[MAX_ROWS], faults, ran, shown;
    CpuState in, want, got;
} Check;

/* --- comparison: a line for each difference --- */

static void differ(StrBuf *out, const char *what, uint64_t want, uint64_t got)
{
    if (want != got) {
        strbuf_addf(out, "    %-6s host %016" PRIx64 "  rhea %016" PRIx64 "\n", what, want, got);
    }
}

static void differ_bytes(StrBuf *out, const char *what, unsigned n, const uint8_t *want, const uint8_t *got, unsigned size)
{
    if (!memcmp(want, got, size)) {
        return;
    }
    strbuf_addf(out, "    %s%u host ", what, n);
    for (unsigned i = size; i-- > 0;) {
        strbuf_addf(out, "%02x", want[i]);
    }
    strbuf_addf(out, "  rhea ");
    for (unsigned i = size; i-- > 0;) {
        strbuf_addf(out, "%02x", got[i]);
    }
    strbuf_add(out, "\n");
}

static void compare_vectors(StrBuf *out, const CpuState *want, const CpuState *got)
{
    for (unsigned i = 0; i < 16; i++) {
        differ_bytes(out, "xmm", i, want->x + X_XMM + 16 * i, got->x + X_XMM + 16 * i, 16);
        differ_bytes(out, "ymmh", i, want->x + X_YMMH + 16 * i, got->x + X_YMMH + 16 * i, 16);
    }
}

static void compare_x87(StrBuf *out, const CpuState *want, const CpuState *got)
{
    static const uint16_t c1 = 0x0200; /* rounded up, or anything */
    uint16_t fcw[2], fsw[2];

    memcpy(&fcw[0], want->x, 2);
    memcpy(&fcw[1], got->x, 2);
    memcpy(&fsw[0], want->x + 2, 2);
    memcpy(&fsw[1], got->x + 2, 2);
    differ(out, "fcw", fcw[0], fcw[1]);
    differ(out, "fsw", fsw[0] & ~c1, fsw[1] & ~c1);
    differ(out, "ftw", want->x[4], got->x[4]);
    for (unsigned i = 0; i < 8; i++) {
        differ_bytes(out, "st", i, want->x + X_ST + 16 * i, got->x + X_ST + 16 * i, 10);
    }
}

static void compare_data(StrBuf *out, const CpuState *want, const CpuState *got)
{
    unsigned shown = 0;

    for (unsigned i = 0; i < DATA_SIZE && shown < 4; i += 16) {
        if (memcmp(want->data + i, got->data + i, 16)) {
            differ_bytes(out, "memory +", i, want->data + i, got->data + i, 16);
            shown++;
        }
    }
}

/* Which of several addresses faults first, and what is done by then, is the processor's choice. */
static bool is_unordered(const CpuCase *t)
{
    unsigned op = t->valid ? t->insn.row->op : X86_OP_NONE;

    if (op == X86_X87 && t->insn.o[0].size >= 10) {
        return true;
    }
    return op == X86_CMPS || op == X86_VGATHER || op == X86_VMASKMOV || op == X86_MASKMOVDQU;
}

/* Processors differ in whether a register's upper half is cleared when nothing is written to it. */
static bool may_keep_upper_half(const CpuCase *t, unsigned reg)
{
    unsigned op = t->valid ? t->insn.row->op : X86_OP_NONE;

    if (t->valid && t->insn.adsize == 4 && t->insn.rep && (reg == R_CX || reg == R_SI || reg == R_DI)) { /* no element done */
        return true;
    }
    return (op == X86_CMPXCHG || op == X86_BSF || op == X86_BSR) && t->insn.opsize == 4 && t->insn.o[0].kind == X86_GPR && t->insn.o[0].reg == reg;
}

static void compare(Check *k, const CpuCase *t, const Engine *e, StrBuf *out)
{
    bool faults = k->want.vector >= 0, partial = faults && is_unordered(t);
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
    const CpuState *want = &k->want, *got = &k->got;
    uint64_t flags = FL_ALL | EFL_DF;
    uint32_t mxcsr[2];

    if (faults && t->valid && t->insn.row->op == X86_MASKMOVDQU) {
        return; /* with a mask of zeroes it may fault or not */
    }
    if (want->vector != got->vector) {
        strbuf_addf(out, "    exception: host %d, rhea %d\n", want->vector, got->vector);
        return;
    }
    if (want->vector == EX_PF && !partial) {
        differ(out, "cr2", want->addr, got->addr);
        differ(out, "error", want->error & 7, got->error & 7);
    }
    if (t->valid && !faults) {
        flags &= ~case_undefined_flags(t, &k->in);
    } else if (want->vector == EX_DE) {
        flags = 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        uint64_t mask = may_keep_upper_half(t, i) ? 0xffffffff : ~0ull;

        differ(out, names[i], want->r[i] & mask, got->r[i] & mask);
    }
    differ(out, "rip", want->rip, got->rip);
    differ(out, "flags", want->flags & flags, got->flags & flags);
    memcpy(&mxcsr[0], want->x + X_MXCSR, 4);
    memcpy(&mxcsr[1], got->x + X_MXCSR, 4);
    if (!faults) { /* a store that faults may have set flags before */
        differ(out, "mxcsr", mxcsr[0], mxcsr[1]);
    }
    if (!partial && !(t->valid && t->insn.row->attr & XA_RELAXED && e == &engine_interp)) {
        compare_vectors(out, want, got);
    }
    compare_x87(out, want, got);
    if (!partial) {
        compare_data(out, want, got);
    }
}

static void report(Check *k, const CpuCase *t, unsigned row, const char *engine, const StrBuf *diff)
{
    StrBuf s = { 0 };

    if (k->shown++ >= MAX_SHOWN && !k->repro) {
        return;
    }
    x86_disasm(t->code, t->valid ? t->len : 15, CODE, MODE_64 | MODE_PE, &s);
    printf("FAIL %s %s: ", engine, t->row->name);
    for (unsigned i = 0; i < (t->valid ? t->len : 15); i++) {
        printf("%02x", t->code[i]);
    }
    printf("  check-cpu --engine %s --repro %u:0x%" PRIx64 "\n    %s%s", engine, row, t->seed, strbuf_str(&s), strbuf_str(diff));
    strbuf_free(&s);
}

/* --- cases --- */

/* The interpreter has no way to run a pass-through row without its portable function. */
static bool can_run(const Engine *e, const CpuCase *t)
{
    return e != &engine_interp || !t->valid || t->insn.row->kind != X86K_PASS || ir_pass_rows[t->insn.row->pass].fn;
}

static bool run_case(Check *k, unsigned row, uint64_t seed)
{
    CpuCase t;
    bool ok = true;

    if (!case_generate(&t, &k->in, x86_row(row), seed, k->features)) {
        return true;
    }
    native_run(&t, &k->in, &k->want);
    k->ran++;
    k->faults += k->want.vector >= 0;
    for (unsigned i = 0; i < k->n_engines; i++) {
        StrBuf diff = { 0 };

        if (!can_run(k->engines[i].e, &t)) {
            continue;
        }
        k->engines[i].e->run(k->engines[i].state, &t, &k->in, &k->got);
        compare(k, &t, k->engines[i].e, &diff);
        if (diff.len) {
            ok = false;
            k->failed[row]++;
            if (k->failed[row] == 1 || k->repro) {
                report(k, &t, row, k->engines[i].e->name, &diff);
            }
        }
        strbuf_free(&diff);
    }
    return ok;
}

static bool wanted(const Check *k, const char *name)
{
    bool any = !k->n_only;

    for (unsigned i = 0; i < k->n_only; i++) {
        any |= !strncmp(name, k->only[i], strlen(k->only[i]));
    }
    return any;
}

static void pick_rows(Check *k)
{
    for (unsigned i = 0; i < x86_row_count() && k->n_rows < MAX_ROWS; i++) {
        const X86Row *r = x86_row(i);

        if (r->attr & XA_TEST && !(r->attr & XA_NO64) && wanted(k, r->name) && x86_has(k->features, r->feature)) {
            k->rows[k->n_rows++] = i;
        }
    }
}

static int summary(const Check *k)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < x86_row_count(); i++) {
        if (k->failed[i]) {
            const X86Row *r = x86_row(i);

            printf("%s%s %s (map %u opcode %02x): %u", bad ? "\n" : "failing rows:\n", r->name, r->operands, r->map, r->opcode, k->failed[i]);
            bad++;
        }
    }
    printf("%s%u cases of %u rows, %u faults; %u passed, %u failed\n", bad ? "\n" : "", k->ran, k->n_rows, k->faults, k->n_rows - bad, bad);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool open_engines(Check *k, Error *err)
{
    static const Engine *const all[] = { &engine_interp, &engine_x64 };

    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        if (strcmp(k->engine, "all") && strcmp(k->engine, all[i]->name)) {
            continue;
        }
        k->engines[k->n_engines].e = all[i];
        if (!all[i]->open(&k->engines[k->n_engines].state, err)) {
            return error_prefix(err, "engine %s: ", all[i]->name);
        }
        k->n_engines++;
    }
    return k->n_engines || error_set(err, "there is no engine '%s'", k->engine);
}

static bool parse(Check *k, int argc, char **argv)
{
    static const struct option options[] = { { "cases", 1, NULL, 'n' }, { "seed", 1, NULL, 's' },  { "engine", 1, NULL, 'e' }, { "only", 1, NULL, 'o' },
                                             { "repro", 1, NULL, 'r' }, { "stop", 0, NULL, 'x' }, { 0 } };
    const char *cases = getenv("CASES");
    int c;

    k->cases = 100000;
    k->seed = 1;
    k->engine = getenv("ENGINE") ? getenv("ENGINE") : "all";
    if (cases && !parse_u64(cases, &k->cases)) {
        return false;
    }
    while ((c = getopt_long(argc, argv, "n:s:e:o:r:x", options, NULL)) >= 0) {
        switch (c) {
        case 'n': if (!parse_u64(optarg, &k->cases)) return false; break;
        case 's': if (!parse_u64(optarg, &k->seed)) return false; break;
        case 'e': k->engine = optarg; break;
        case 'o': if (k->n_only < MAX_ONLY) k->only[k->n_only++] = optarg; break;
        case 'r': k->repro = optarg; break;
        case 'x': k->stop = true; break;
        default: return false;
        }
    }
    return optind == argc;
}

static bool repro(Check *k)
{
    char *colon;
    unsigned long row = strtoul(k->repro, &colon, 0);

    if (*colon != ':' || row >= x86_row_count()) {
        fprintf(stderr, "--repro wants ROW:SEED\n");
        return false;
    }
    return run_case(k, (unsigned)row, strtoull(colon + 1, NULL, 0));
}

int main(int argc, char **argv)
{
    static Check k;
    Error err = { 0 };

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(&k, argc, argv)) {
        fprintf(stderr, "usage: check-cpu [--cases N] [--seed S] [--engine interp|x64|all] [--only NAME]... [--repro ROW:SEED] [--stop]\n");
        return 2;
    }
    x86_features_available(k.features);
    if (!open_engines(&k, &err) || !native_open(&err)) {
        fprintf(stderr, "check-cpu: %s\n", err.msg);
        return 2;
    }
    if (k.repro) {
        return repro(&k) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    pick_rows(&k);
    for (uint64_t n = 0; k.n_rows && n < k.cases; n++) {
        if (!run_case(&k, k.rows[n % k.n_rows], mix64(k.seed + mix64(n))) && k.stop) {
            break;
        }
    }
    for (unsigned i = 0; i < k.n_engines; i++) {
        k.engines[i].e->close(k.engines[i].state);
    }
    return summary(&k);
}
