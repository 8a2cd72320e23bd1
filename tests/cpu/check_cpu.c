/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-cpu - random instructions on the host processor and on rhea's engines must end in the same
 * state
 *
 *   check-cpu [--cases N] [--sequences N] [--seed S] [--engine interp|x64|all] [--only NAME]...
 *   [--stop]
 *             [--repro ROW:SEED] [--sequence SEED[:DROPPED]]
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

enum {
    MAX_ROWS = 2048,
    MAX_ONLY = 16,
    MAX_SHOWN = 40,
    DEFAULT_CASES = 2100000,
    CASES_PER_SEQUENCE = 8
};

#ifdef __SANITIZE_ADDRESS__
#define IS_ASAN 1
#else
#define IS_ASAN 0
#endif

typedef struct Check {
    uint64_t cases, sequences, seed;
    const char *engine, *only[MAX_ONLY], *repro, *repro_sequence;
    unsigned n_only;
    bool stop, has_16; /* 16-bit code runs on the host */
    uint64_t features[F_WORDS];
    OpenEngine engines[2];
    unsigned n_engines;
    unsigned rows[MAX_ROWS], n_rows;
    uint32_t failed[MAX_ROWS], faults, ran, shown;
    CpuState in, want, got;
} Check;

/* --- comparison --- */

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

    if (t->valid && t->insn.adsize == 4 && t->insn.rep &&
        (reg == R_CX || reg == R_SI || reg == R_DI)) { /* no element done */
        return true;
    }
    return (op == X86_CMPXCHG || op == X86_BSF || op == X86_BSR) && t->insn.opsize == 4 &&
           t->insn.o[0].kind == X86_GPR && t->insn.o[0].reg == reg;
}

static bool is_memory_fault(int vector)
{
    return vector == EX_GP || vector == EX_SS || vector == EX_PF;
}

/* At the end of a segment: of two faults the processor takes one; masked moves check the limit
 * of their first element. */
static bool is_at_limit(const Check *k, const CpuCase *t)
{
    bool want = is_memory_fault(k->want.vector), got = is_memory_fault(k->got.vector);

    if (!t->valid || t->kind < KIND_16 || !(want || got)) {
        return false;
    }
    if (t->insn.row->op == X86_VMASKMOV) {
        return true;
    }
    return want && got &&
           (is_unordered(t) ||
            (k->want.vector == EX_GP && k->got.vector == EX_SS && t->insn.mem.seg == SEG_SS));
}

static void compare(Check *k, const CpuCase *t, const Engine *e, StrBuf *out)
{
    bool faults = k->want.vector >= 0, partial = faults && is_unordered(t);
    Compare c = {.what = CMP_ALL, .flags = FL_ALL | EFL_DF};

    if (faults && t->valid && t->insn.row->op == X86_MASKMOVDQU) {
        return; /* with a mask of zeroes it may fault or not */
    }
    if (is_at_limit(k, t)) {
        return;
    }
    if (k->want.vector == EX_XM && (k->got.vector == EX_PF || k->got.vector == EX_GP)) {
        return; /* the operand of a store may be looked at first */
    }
    if (t->valid && !faults) {
        c.flags &= ~insn_undefined_flags(&t->insn, k->in.r[R_CX]);
    } else if (k->want.vector == EX_DE) {
        c.flags = 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        c.low_halves |= (uint16_t)((t->kind != KIND_64 || may_keep_upper_half(t, i)) << i);
    }
    if (partial) {
        c.what = 0;
    }
    if (faults) { /* a store that faults may have set flags before */
        c.what &= ~(unsigned)CMP_MXCSR;
    }
    if (t->valid && t->insn.row->attr & XA_RELAXED && e == &engine_interp) {
        c.what &= ~(unsigned)CMP_VECTORS;
    }
    state_compare(out, &k->want, &k->got, &c);
}

static void report(Check *k, const CpuCase *t, unsigned row, const char *engine, const StrBuf *diff)
{
    StrBuf s = {0};

    if (k->shown++ >= MAX_SHOWN && !k->repro) {
        return;
    }
    x86_disasm(t->code, t->valid ? t->len : 15, CODE, program_mode(t->kind), &s);
    printf("FAIL %s %s: ", engine, t->row->name);
    for (unsigned i = 0; i < (t->valid ? t->len : 15); i++) {
        printf("%02x", t->code[i]);
    }
    printf("  check-cpu --engine %s --repro %u:0x%" PRIx64 "\n    %s%s", engine, row, t->seed,
           strbuf_str(&s), strbuf_str(diff));
    strbuf_free(&s);
}

/* --- cases --- */

/* The interpreter has no way to run a pass-through row without its portable function. */
static bool can_run(const Engine *e, const CpuCase *t)
{
    return e != &engine_interp || !t->valid || t->insn.row->kind != X86K_PASS ||
           ir_pass_rows[t->insn.row->pass].fn;
}

/* The jump ends its block. */
static CpuProgram program_of(const CpuCase *t)
{
    CpuProgram p = {.at = CODE,
                    .kind = t->kind,
                    .len = t->valid ? t->len : 15}; /* who knows how much the processor takes */

    memcpy(p.code, t->code, p.len);
    p.code[p.len++] = 0xeb; /* jmp .+2 */
    p.code[p.len++] = 0;
    return p;
}

/* Three of eight are not 64-bit code, one of them 16-bit. */
static CodeKind kind_of(const Check *k, unsigned row, uint64_t seed)
{
    if (seed % 8 >= 3 && !(x86_row(row)->attr & XA_NO64)) {
        return KIND_64;
    }
    return seed % 8 % 3 || !k->has_16 ? KIND_32 : KIND_16 + (seed >> 3) % (KIND_COUNT - KIND_16);
}

static bool run_case(Check *k, unsigned row, uint64_t seed)
{
    CpuCase t;
    bool ok = true;

    if (!case_generate(&t, &k->in, x86_row(row), seed, k->features, kind_of(k, row, seed))) {
        return true;
    }
    const CpuProgram p = program_of(&t);

    native_run(&p, &k->in, &k->want);
    k->ran++;
    k->faults += k->want.vector >= 0;
    for (unsigned i = 0; i < k->n_engines; i++) {
        StrBuf diff = {0};

        if (!can_run(k->engines[i].e, &t)) {
            continue;
        }
        engine_run(&k->engines[i], &p, &k->in, &k->want, &k->got);
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

        if (r->attr & XA_TEST && wanted(k, r->name) && x86_has(k->features, r->feature)) {
            k->rows[k->n_rows++] = i;
        }
    }
}

static bool summary(const Check *k)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < x86_row_count(); i++) {
        if (k->failed[i]) {
            const X86Row *r = x86_row(i);

            printf("%s%s %s (map %u opcode %02x): %u", bad ? "\n" : "failing rows:\n", r->name,
                   r->operands, r->map, r->opcode, k->failed[i]);
            bad++;
        }
    }
    printf("%s%u cases of %u rows, %u faults; %u passed, %u failed\n", bad ? "\n" : "", k->ran,
           k->n_rows, k->faults, k->n_rows - bad, bad);
    return !bad;
}

static bool open_engines(Check *k, Error *err)
{
    static const Engine *const all[] = {&engine_interp, &engine_x64};

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
    static const struct option options[] = {
        {"cases", 1, NULL, 'n'},    {"sequences", 1, NULL, 'q'}, {"seed", 1, NULL, 's'},
        {"engine", 1, NULL, 'e'},   {"only", 1, NULL, 'o'},      {"repro", 1, NULL, 'r'},
        {"sequence", 1, NULL, 'S'}, {"stop", 0, NULL, 'x'},      {0}};
    const char *cases = getenv("CASES"), *sequences = getenv("SEQUENCES");
    bool given = false;
    int c;

    k->cases = DEFAULT_CASES;
    k->seed = 1;
    k->engine = getenv("ENGINE") ? getenv("ENGINE") : "all";
    if ((cases && !parse_u64(cases, &k->cases)) ||
        (sequences && !parse_u64(sequences, &k->sequences))) {
        return false;
    }
    given = sequences != NULL;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 'n':
            if (!parse_u64(optarg, &k->cases))
                return false;
            break;
        case 'q':
            if (!parse_u64(optarg, &k->sequences))
                return false;
            given = true;
            break;
        case 's':
            if (!parse_u64(optarg, &k->seed))
                return false;
            break;
        case 'e': k->engine = optarg; break;
        case 'o':
            if (k->n_only < MAX_ONLY)
                k->only[k->n_only++] = optarg;
            break;
        case 'r': k->repro = optarg; break;
        case 'S': k->repro_sequence = optarg; break;
        case 'x': k->stop = true; break;
        default: return false;
        }
    }
    if (!given) {
        k->sequences = k->n_only ? 0 : k->cases / CASES_PER_SEQUENCE;
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

static bool repro_sequence(const Check *k, SequenceCheck *q)
{
    char *colon;
    uint64_t seed = strtoull(k->repro_sequence, &colon, 0);

    return sequence_check(q, seed, *colon == ':' ? (uint32_t)strtoul(colon + 1, NULL, 0) : 0,
                          false);
}

static bool run_cases(Check *k)
{
    pick_rows(k);
    for (uint64_t n = 0; k->n_rows && n < k->cases; n++) {
        if (!run_case(k, k->rows[n % k->n_rows], mix64(k->seed + mix64(n))) && k->stop) {
            break;
        }
    }
    return summary(k);
}

static bool run_sequences(const Check *k, SequenceCheck *q)
{
    const SequenceTotals *t = sequence_totals(q);

    if (IS_ASAN && k->sequences) {
        printf("SKIPPED: sequences: where the sanitizer has its shadow memory, the host lets them "
               "write\n");
        return true;
    }
    for (uint64_t n = 0; n < k->sequences; n++) {
        if (!sequence_check(q, mix64(k->seed ^ mix64(~n)), 0, true) && k->stop) {
            break;
        }
    }
    printf("%" PRIu64 " sequences, %" PRIu64 " faults; not compared: %" PRIu64
           " read undefined flags, %" PRIu64 " endless, %" PRIu64 " wild; %" PRIu64
           " passed, %" PRIu64 " failed\n",
           t->ran, t->faults, t->undefined, t->endless, t->wild, t->ran - t->failed, t->failed);
    return !t->failed;
}

int main(int argc, char **argv)
{
    static Check k;
    Error err = {0};
    bool ok = true;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(&k, argc, argv)) {
        fprintf(stderr, "usage: check-cpu [--cases N] [--sequences N] [--seed S] [--engine "
                        "interp|x64|all] [--only NAME]... [--stop]\n"
                        "                 [--repro ROW:SEED] [--sequence SEED[:DROPPED]]\n");
        return 2;
    }
    x86_features_available(k.features);
    if (!open_engines(&k, &err) || !native_open(&err)) {
        fprintf(stderr, "check-cpu: %s\n", err.msg);
        return 2;
    }
    k.has_16 = segments_open();
    if (!k.has_16) {
        printf("SKIPPED: 16-bit code: the host gives no segments for it (modify_ldt)\n");
    }
    SequenceCheck *q = sequence_check_new(k.engines, k.n_engines, k.features);

    if (k.repro) {
        ok = repro(&k);
    } else if (k.repro_sequence) {
        ok = repro_sequence(&k, q);
    } else {
        ok = run_cases(&k);
        ok &= run_sequences(&k, q);
    }
    sequence_check_free(q);
    for (unsigned i = 0; i < k.n_engines; i++) {
        k.engines[i].e->close(k.engines[i].state);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
