/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of cpu/x86/translate.h: the IR of representative encodings, block ends, robustness,
 * flags that are dead */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/translate.h"
#include "cpu/x86/x86.h"
#include "tests/unit/unit.h"

enum {
    FLAT = MODE_PE | MODE_SS32 | MODE_FLAT | MODE_FLAT_FSGS | MODE_FLAT_CS | MODE_OSFXSR |
           MODE_AVX | MODE_IOPL | MODE_OSXSAVE | MODE_FSGSBASE,
    M64 = FLAT | MODE_64 | MODE_LMA,
    U64 = (M64 | 3) & ~MODE_IOPL,
    M32 = FLAT | MODE_32,
    R16 = MODE_16 | MODE_IOPL,                 /* real mode */
    P32 = M32 & ~(MODE_FLAT | MODE_FLAT_FSGS), /* protected, not flat */
    F16 = FLAT & ~MODE_SS32,                   /* 16-bit code on flat segments */
};
enum { PC = 0x401100, PAGE = 4096 };

static X86Cpu cpu;
static uint8_t code[2 * PAGE];
static bool second_page;            /* is it there? */
static uint32_t limit = UINT32_MAX; /* of CS */

static const uint8_t *next_page(IrBlock *b)
{
    (void)b;
    return second_page ? code + PAGE : NULL;
}

static IrBlock *translate(IrBlock *b, uint32_t mode, Gva pc, unsigned max)
{
    for (unsigned i = 0; i < COUNT_OF(cpu.features); i++)
        cpu.features[i] = ~0ull;
    cpu.cpu.code_limit = limit;
    b->cpu = &cpu.cpu;
    b->pc = b->linear = pc;
    b->mode = mode;
    b->code[0] = code;
    b->code[1] = NULL;
    b->next_page = next_page;
    b->max_insns = max;
    b->n = 0;
    x86_translate(&cpu.cpu, b);
    return b;
}

static unsigned put(const char *hex, unsigned at)
{
    unsigned n = 0;

    for (; *hex; hex += *hex == ' ' ? 1 : 2)
        if (*hex != ' ') {
            char two[3] = {hex[0], hex[1], 0};

            code[at + n++] = (uint8_t)strtoul(two, NULL, 16);
        }
    return n;
}

#define H(n)                                                                                       \
    {                                                                                              \
        n, #n                                                                                      \
    }
static const struct {
    IrHelper *fn;
    const char *name;
} helpers[] = {
    H(hlp_align_check), H(hlp_seg_check),  H(hlp_watch),     H(hlp_raise),    H(hlp_mov_seg),
    H(hlp_sel),         H(hlp_far_jmp),    H(hlp_far_call),  H(hlp_far_ret),  H(hlp_int),
    H(hlp_into),        H(hlp_iret),       H(hlp_step),      H(hlp_hlt),      H(hlp_sti),
    H(hlp_cli),         H(hlp_unshadow),   H(hlp_cld),       H(hlp_pushf),    H(hlp_popf),
    H(hlp_read_cr),     H(hlp_write_cr),   H(hlp_cpuid),     H(hlp_rdtsc),    H(hlp_wrmsr),
    H(hlp_in),          H(hlp_out),        H(hlp_fpu_check), H(hlp_movs),     H(hlp_stos),
    H(hlp_scas),        H(hlp_x87),        H(hlp_x87_flags), H(hlp_x87_cmov), H(hlp_fnstsw_ax),
    H(hlp_mmx),         H(hlp_gather),     H(hlp_maskmov),   H(hlp_mmx_xmm),  H(hlp_syscall),
    H(hlp_sysret),      H(hlp_lgdt),       H(hlp_sgdt),      H(hlp_invlpg),   H(hlp_lar),
    H(hlp_arpl),        H(hlp_arpl_value), H(hlp_ldmxcsr),   H(hlp_stmxcsr),  H(hlp_fxsave),
    H(hlp_xsave),       H(hlp_enter),      H(hlp_pusha),     H(hlp_ins),      H(hlp_write_base),
    H(hlp_clac),        H(hlp_bcd),        H(hlp_rdrand),    H(hlp_swapgs),   H(hlp_bound),
    H(hlp_clflush),
};

static void print_helper(const IrOp *o, StrBuf *out)
{
    const char *name = "?";

    for (unsigned i = 0; i < COUNT_OF(helpers); i++)
        if ((int64_t)(uintptr_t)helpers[i].fn == o->imm)
            name = helpers[i].name;
    strbuf_addf(out, "%s", name);
}

/* Ops separated by "; ", without INSN and without a jump to the next instruction at the end. */
static char *text(const IrBlock *b)
{
    StrBuf out = {0};

    for (unsigned i = 0; i < b->n; i++) {
        const IrOp *o = &b->ops[i];
        StrBuf line = {0};
        const char *s, *helper;

        if (o->op == IR_INSN ||
            (o->op == IR_JMP && o->cc == IRJ_JUMP && (Gva)o->imm == b->pc + b->size))
            continue;
        ir_print_op(o, &line);
        s = strbuf_str(&line) + strspn(strbuf_str(&line), " ");
        helper = strstr(s, "helper 0x");
        if (out.len)
            strbuf_add(&out, "; ");
        if (helper) {
            strbuf_addn(&out, s, (size_t)(helper - s));
            print_helper(o, &out);
            s = strchr(helper + 7, ' ');
        }
        strbuf_add(&out, s);
        if (o->flags & IRF_LIN32)
            strbuf_add(&out, " lin32");
        strbuf_free(&line);
    }
    return out.len ? strbuf_take(&out) : xstrdup("");
}

static char *text_of(uint32_t mode, const char *hex)
{
    static IrBlock b;
    StrBuf why = {0};

    memset(code, 0x90, sizeof code);
    put(hex, PC % PAGE);
    second_page = true;
    translate(&b, mode, PC, 1);
    ck_assert_msg(ir_verify(&b, &why), "%s: %s", hex, strbuf_str(&why));
    strbuf_free(&why);
    return text(&b);
}

static const struct {
    uint32_t mode;
    const char *hex, *ir;
} cases[] = {
#include "tests/unit/test_x86_translate.def"
};

/* hlp_mmx is told a row number of the opcode table, which moves with every row that is added. */
static void hide_row(char *text)
{
    char *row = strstr(text, "hlp_mmx k=0x");

    if (row) {
        row += strlen("hlp_mmx k=");
        memcpy(row, "ROW", 3);
        memmove(row + 3, row + strcspn(row, " "), strlen(row + strcspn(row, " ")) + 1);
    }
}

START_TEST(each_encoding_becomes_the_most_direct_ir)
{
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        char *got = text_of(cases[i].mode, cases[i].hex);

        hide_row(got);
        ck_assert_msg(strcmp(got, cases[i].ir) == 0, "%x: %s\n  got  %s\n  want %s", cases[i].mode,
                      cases[i].hex, got, cases[i].ir);
        xfree(got);
    }
}
END_TEST

static IrBlock block;

static const IrOp *last(void)
{
    return &block.ops[block.n - 1];
}

START_TEST(a_block_ends_at_the_page_border)
{
    memset(code, 0x90, sizeof code);
    second_page = true;
    translate(&block, M64, 0x401ff8, 64);
    ck_assert_uint_eq(block.size, 8);
    ck_assert_uint_eq(last()->op, IR_JMP);
    ck_assert_uint_eq((Gva)last()->imm, 0x402000);
    ck_assert_ptr_null(block.code[1]);
}
END_TEST

START_TEST(a_crossing_instruction_begins_a_block_of_its_own)
{
    memset(code, 0x90, sizeof code);
    put("48b8 1122334455667788 90 c3", PAGE - 4);
    second_page = true;
    translate(&block, M64, 0x401ff0, 64);
    ck_assert_uint_eq(block.size, 12);
    translate(&block, M64, 0x401ffc, 64);
    ck_assert_uint_eq(block.size, 12); /* it, and on to the RET */
    ck_assert_uint_eq(last()->op, IR_JMPI);
    ck_assert_uint_eq((uint64_t)block.ops[1].imm, 0x8877665544332211);
}
END_TEST

START_TEST(sti_and_the_next_instruction_are_one_block)
{
    memset(code, 0x90, sizeof code);
    put("fb f4", 0x100);
    translate(&block, M64, PC, 1); /* even if one is asked for */
    char *s = text(&block);

    ck_assert_str_eq(s, "call.i64 hlp_sti k=0x0 fast pc; call.i64 hlp_unshadow k=0x0 fast; "
                        "call.i64 hlp_hlt k=0x401102 fast pc; leave.i64");
    xfree(s);
    put("fb 75 10", 0x100);
    translate(&block, M64, PC, 64);
    ck_assert_uint_eq(last()->op, IR_LEAVE);
    put("fb 90", PAGE - 1); /* over the border */
    second_page = true;
    translate(&block, M64, 0x401fff, 64);
    ck_assert_uint_eq(block.size, 2);
    second_page = false; /* nothing there: no shadow */
    translate(&block, M64, 0x401fff, 64);
    ck_assert_uint_eq(block.size, 1);
    ck_assert_uint_eq(last()->op, IR_EXIT);
}
END_TEST

START_TEST(mov_ss_shadows_only_a_move)
{
    memset(code, 0x90, sizeof code);
    put("8ed0 89c4 90", 0x100); /* mov ss, ax; mov sp, ax */
    translate(&block, R16, PC & 0xffff, 64);
    ck_assert_uint_eq(block.n_insns, 2);
    ck_assert_uint_eq(last()->op, IR_LEAVE);
    put("8ed0 50", 0x100); /* mov ss, ax; push ax */
    translate(&block, R16, PC & 0xffff, 64);
    ck_assert_uint_eq(block.n_insns, 1);
    ck_assert_uint_eq(last()->op, IR_EXIT);
}
END_TEST

START_TEST(code_ends_with_its_segment)
{
    memset(code, 0x90, sizeof code);
    put("90 b8 11 22", 0x100); /* nop; mov ax, 0x2211 */
    limit = 0x1102;
    translate(&block, R16, PC & 0xffff, 64);
    char *s = text(&block);

    ck_assert_str_eq(s, "call.i64 hlp_raise k=0x10d pc; leave.i64");
    xfree(s);
    ck_assert_uint_eq(block.size, 3);
    put("eb 10", 0x100); /* a branch behind the limit, and one to its last byte */
    translate(&block, R16, PC & 0xffff, 64);
    ck_assert_uint_eq(last()->op, IR_LEAVE);
    limit = 0x1112;
    translate(&block, R16, PC & 0xffff, 64);
    ck_assert_uint_eq(last()->op, IR_JMP);
    translate(&block, M32, PC, 64); /* flat */
    ck_assert_uint_eq(last()->op, IR_JMP);
    limit = UINT32_MAX;
}
END_TEST

START_TEST(step_mode_makes_blocks_of_one_instruction)
{
    static const char *const insns[] = {"90",   "7510", "e810000000",    "c3",
                                        "ffe0", "e2fe", "f3a4",          "0f05",
                                        "fb",   "cd80", "c7400801000000"};

    for (unsigned i = 0; i < COUNT_OF(insns); i++) {
        memset(code, 0x90, sizeof code);
        put(insns[i], 0x100);
        translate(&block, M64 | MODE_STEP, PC, 64);
        ck_assert_uint_eq(block.n_insns, 1);
        ck_assert_uint_eq(last()->op, IR_LEAVE);
        ck_assert(ir_verify(&block, NULL));
    }
}
END_TEST

static const uint32_t modes[] = {M64,
                                 U64,
                                 M32,
                                 P32,
                                 R16,
                                 F16,
                                 M64 | MODE_STEP,
                                 P32 | MODE_STEP,
                                 M32 | MODE_AC | 3,
                                 P32 | MODE_AC | 3,
                                 M32 | MODE_IOBP,
                                 M64 | MODE_IOBP | MODE_AC | 3,
                                 P32 | MODE_IOBP | MODE_AC,
                                 R16 | MODE_DF,
                                 MODE_16 | MODE_PE | MODE_VM86 | 3,
                                 M64 | MODE_TS,
                                 M32 | MODE_EM | MODE_UMIP | 3,
                                 M64 & ~MODE_AVX};

START_TEST(random_bytes_give_valid_ir)
{
    uint64_t seed = 1;

    for (unsigned round = 0; round < 300000; round++) {
        unsigned at = PC % PAGE;
        StrBuf why = {0};

        for (unsigned i = 0; i < 24; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            code[at + i] = (uint8_t)(seed >> 33);
        }
        if (round & 1)
            code[at] = 0x0f;
        else if (round % 16 == 2)
            code[at] = 0xc4;
        second_page = round & 8;
        at = round % 64 == 5 ? PAGE - 7 : at;
        limit = round % 4 ? UINT32_MAX : (uint32_t)(PC - PC % PAGE + at) + round / 4 % 12;
        if (at == PAGE - 7)
            memcpy(code + at, code + PC % PAGE, 24);
        if (round & 8 || at != PAGE - 7)
            translate(&block, modes[round % COUNT_OF(modes)], 0x401000 + at, 1 + round % 5);
        ck_assert_msg(ir_verify(&block, &why), "mode %x, bytes %02x %02x %02x %02x %02x %02x: %s",
                      block.mode, code[at], code[at + 1], code[at + 2], code[at + 3], code[at + 4],
                      code[at + 5], strbuf_str(&why));
        strbuf_free(&why);
    }
    limit = UINT32_MAX;
}
END_TEST

static bool row_seen[8192];

/* Translate what is at PC and note its row. */
static void visit(uint32_t mode)
{
    X86Insn i;
    StrBuf why = {0};

    if (x86_decode(&i, code + PC % PAGE, 15, mode, NULL) == X86_DECODE_OK)
        row_seen[i.row - x86_row(0)] = true;
    translate(&block, mode, PC, 1);
    ck_assert_msg(ir_verify(&block, &why), "mode %x: %s", mode, strbuf_str(&why));
    strbuf_free(&why);
}

/* All opcodes of one map behind @at bytes of prefixes, with memory and register forms. */
static void visit_opcodes(unsigned at)
{
    for (unsigned n = 0; n < 256 * 72; n++) {
        unsigned modrm = n % 72 < 8 ? (n % 72) << 3 : 0xc0 + n % 72 - 8;

        code[PC % PAGE + at] = (uint8_t)(n / 72);
        code[PC % PAGE + at + 1] =
            (uint8_t)(modrm | (modrm < 0xc0 ? 4 : 0)); /* with a SIB byte: gathers want one */
        code[PC % PAGE + at + 2] = 0x0b;
        visit(M64);
        visit(P32);
    }
}

START_TEST(every_row_of_the_table_is_translated)
{
    static const char *const prefixes[] = {"", "66", "f3", "f2", "48", "6648", "f348", "f248"},
                             *const maps[] = {"", "0f", "0f38", "0f3a"};

    memset(code, 0, sizeof code);
    for (unsigned p = 0; p < COUNT_OF(prefixes); p++)
        for (unsigned m = 0; m < COUNT_OF(maps); m++) {
            unsigned n = put(prefixes[p], PC % PAGE);

            visit_opcodes(n + put(maps[m], PC % PAGE + n));
        }
    for (unsigned v = 0; v < 3 * 16; v++) { /* VEX: pp, L, W; vvvv is 2 or 0 (none) */
        for (unsigned vvvv = 0; vvvv <= 2; vvvv += 2) {
            put("c4", PC % PAGE);
            code[PC % PAGE + 1] = (uint8_t)(0xe1 + v / 16);
            code[PC % PAGE + 2] = (uint8_t)((v & 7) | (v & 8) << 4 | (15 - vvvv) << 3);
            visit_opcodes(3);
        }
    }
    for (unsigned r = 0; r < x86_row_count(); r++)
        ck_assert_msg(row_seen[r], "%s (row %u) was not met", x86_row(r)->name, r);
}
END_TEST

static uint16_t dead(const char *hex)
{
    unsigned n = put(hex, 0);

    return x86_flags_dead(NULL, code, n, M64, NULL);
}

START_TEST(flags_are_dead_where_they_are_overwritten_first)
{
    ck_assert_uint_eq(dead("4801d8"), FL_ALL);                 /* add */
    ck_assert_uint_eq(dead("4821d8"), FL_ALL);                 /* and: AF is undefined */
    ck_assert_uint_eq(dead("4889d8 4839d8"), FL_ALL);          /* mov; cmp */
    ck_assert_uint_eq(dead("48ffc0"), FL_ALL & ~FL_CF);        /* inc */
    ck_assert_uint_eq(dead("4811d8"), FL_ALL & ~FL_CF);        /* adc */
    ck_assert_uint_eq(dead("0f94c0 4801d8"), FL_ALL & ~FL_ZF); /* sete; add */
    ck_assert_uint_eq(dead("7510 4801d8"), 0);                 /* jne */
    ck_assert_uint_eq(dead("48d3e0"), 0);                      /* shl by CL */
    ck_assert_uint_eq(dead("48c1e003"), FL_ALL);               /* shl by 3 */
    ck_assert_uint_eq(dead("f3a6 4801d8"), 0);                 /* rep cmpsb */
    ck_assert_uint_eq(dead("9c 4801d8"), 0);                   /* pushf */
    ck_assert_uint_eq(dead("48"), 0);
}
END_TEST

UNIT_MAIN("x86_translate", each_encoding_becomes_the_most_direct_ir,
          a_block_ends_at_the_page_border, a_crossing_instruction_begins_a_block_of_its_own,
          sti_and_the_next_instruction_are_one_block, mov_ss_shadows_only_a_move,
          code_ends_with_its_segment, step_mode_makes_blocks_of_one_instruction,
          random_bytes_give_valid_ir, every_row_of_the_table_is_translated,
          flags_are_dead_where_they_are_overwritten_first)
