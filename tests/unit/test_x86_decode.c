/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_x86_decode - the decoder: fields of chosen encodings, rules of prefixes, lengths and
 * names against capstone */
#include "cpu/ir/ir.h"
#include "cpu/x86/disasm.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/model.h"
#include "tests/unit/unit.h"
#ifdef CONFIG_CAPSTONE
#include <capstone/capstone.h>
#endif

#define M64 (MODE_64 | MODE_PE)
#define M32 (MODE_32 | MODE_PE)
#define M16 (MODE_16 | MODE_PE)
#define REAL MODE_16

static X86Insn i;

#define DECODE(mode, ...)                                                                          \
    x86_decode(&i, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), mode,   \
               NULL)
#define OK(mode, ...) ck_assert_int_eq(DECODE(mode, __VA_ARGS__), X86_DECODE_OK)
#define UD(mode, ...) ck_assert_int_eq(DECODE(mode, __VA_ARGS__), X86_DECODE_UD)

static void mem_is(uint8_t base, uint8_t index, unsigned scale, int64_t disp, unsigned seg)
{
    ck_assert_uint_eq(i.mem.base, base);
    ck_assert_uint_eq(i.mem.index, index);
    ck_assert_uint_eq(i.mem.scale, scale);
    ck_assert_int_eq(i.mem.disp, disp);
    ck_assert_uint_eq(i.mem.seg, seg);
}

START_TEST(addresses_are_decoded_in_all_three_sizes)
{
    OK(M64, 0x48, 0x8b, 0x44, 0x8d, 0xf0); /* mov rax, [rbp + rcx*4 - 16] */
    mem_is(R_BP, R_CX, 2, -16, SEG_SS);
    ck_assert_uint_eq(i.o[0].size, 8);
    ck_assert_uint_eq(i.len, 5);
    OK(M64, 0x8b, 0x05, 1, 0, 0, 0x80); /* mov eax, [rip - 0x7fffffff] */
    ck_assert(i.mem.rip);
    mem_is(255, 255, 0, -0x7fffffff, SEG_DS);
    OK(M64, 0x8b, 0x04, 0x25, 1, 0, 0, 0x80); /* absolute */
    ck_assert(!i.mem.rip);
    mem_is(255, 255, 0, -0x7fffffff, SEG_DS);
    OK(M64, 0x64, 0x43, 0x8a, 0x44, 0x25, 0); /* mov al, fs:[r13 + r12 + 0] */
    mem_is(13, 12, 0, 0, SEG_FS);
    OK(M32, 0x8b, 0x0d, 4, 3, 2, 1);
    mem_is(255, 255, 0, 0x01020304, SEG_DS);
    OK(M32, 0x67, 0x8b, 0x42, 0x80); /* mov eax, [bp + si - 128] */
    mem_is(R_BP, R_SI, 0, -128, SEG_SS);
    ck_assert_uint_eq(i.adsize, 2);
    OK(M16, 0x8b, 0x1e, 0x34, 0x12); /* mov bx, [0x1234] */
    mem_is(255, 255, 0, 0x1234, SEG_DS);
    ck_assert_uint_eq(i.opsize, 2);
    OK(M16, 0x67, 0x66, 0x8b, 0x04, 0x24); /* mov eax, [esp] */
    mem_is(R_SP, 255, 0, 0, SEG_SS);
    OK(M64, 0xa1, 8, 7, 6, 5, 4, 3, 2, 1);
    ck_assert_int_eq(i.mem.disp, 0x0102030405060708);
    OK(M64, 0x2e, 0x65, 0x3e, 0x8b, 0x00); /* CS and DS are ignored, GS stays */
    ck_assert_uint_eq(i.mem.seg, SEG_GS);
}
END_TEST

START_TEST(byte_registers_depend_on_rex)
{
    OK(M64, 0x88, 0xe0); /* mov al, ah */
    ck_assert_uint_eq(i.o[1].kind, X86_GPR_HI);
    ck_assert_uint_eq(i.o[1].reg, R_AX);
    OK(M64, 0x40, 0x88, 0xe0); /* mov al, spl */
    ck_assert_uint_eq(i.o[1].kind, X86_GPR);
    ck_assert_uint_eq(i.o[1].reg, R_SP);
    OK(M64, 0x40, 0x66, 0x88, 0xe0); /* REX before 66 does not count */
    ck_assert_uint_eq(i.o[1].kind, X86_GPR_HI);
    OK(M64, 0x41, 0xb4, 1); /* mov r12b, 1 */
    ck_assert_uint_eq(i.o[0].reg, 12);
}
END_TEST

START_TEST(operand_sizes_follow_prefixes_and_defaults)
{
    OK(M64, 0x50);
    ck_assert_uint_eq(i.o[0].size, 8);
    OK(M64, 0x66, 0x50);
    ck_assert_uint_eq(i.o[0].size, 2);
    OK(M64, 0x66, 0xe9, 1, 0, 0, 0); /* near branches ignore 66 */
    ck_assert_uint_eq(i.len, 6);
    OK(M32, 0x66, 0xe9, 1, 0);
    ck_assert_uint_eq(i.len, 4);
    OK(M64, 0x66, 0x48, 0x05, 1, 0, 0, 0x80); /* REX.W wins over 66 */
    ck_assert_uint_eq(i.opsize, 8);
    ck_assert_int_eq(i.o[1].imm, -0x7fffffff);
    OK(M64, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 0x88);
    ck_assert_uint_eq((uint64_t)i.o[1].imm, 0x8807060504030201);
    OK(M32, 0x9a, 1, 2, 3, 4, 5, 6);
    ck_assert_uint_eq((uint64_t)i.o[0].imm, 0x060504030201);
    OK(M64, 0x0f, 0x20, 0x00); /* mov rax, cr0: mod is ignored */
    ck_assert_uint_eq(i.len, 3);
    ck_assert_uint_eq(i.o[0].size, 8);
    OK(M64, 0xc8, 0x10, 0x00, 0x02);
    ck_assert_int_eq(i.o[0].imm, 16);
    ck_assert_int_eq(i.o[1].imm, 2);
}
END_TEST

START_TEST(mandatory_prefixes_select)
{
    OK(M64, 0xf3, 0x0f, 0xb8, 0xc1);
    ck_assert_str_eq(i.row->name, "popcnt");
    ck_assert_uint_eq(i.rep, 0);
    OK(M64, 0x66, 0xf2, 0x0f, 0x58, 0xc1);
    ck_assert_str_eq(i.row->name, "addsd");
    OK(M64, 0x66, 0x0f, 0x58, 0xc1);
    ck_assert_str_eq(i.row->name, "addpd");
    OK(M64, 0xf3, 0x90);
    ck_assert_str_eq(i.row->name, "pause");
    OK(M64, 0x90);
    ck_assert_str_eq(i.row->name, "nop");
    OK(M64, 0x41, 0x90);
    ck_assert_str_eq(i.row->name, "xchg");
    OK(M64, 0xf2, 0xf3, 0xa4);
    ck_assert_uint_eq(i.rep, 0xf3);
    OK(M64, 0xf3, 0x0f, 0x1e, 0xfa); /* ENDBR64 is a hint */
    ck_assert_str_eq(i.row->name, "nop");
}
END_TEST

START_TEST(lock_needs_a_memory_destination)
{
    OK(M64, 0xf0, 0x01, 0x00);
    ck_assert(i.lock);
    UD(M64, 0xf0, 0x01, 0xc0);
    UD(M64, 0xf0, 0x03, 0x00);
    UD(M64, 0xf0, 0x89, 0x00);
    OK(M64, 0xf0, 0x0f, 0xc7, 0x08);
}
END_TEST

START_TEST(vex_rules)
{
    OK(M64, 0xc5, 0xf4, 0x58, 0xc2); /* vaddps ymm0, ymm1, ymm2 */
    ck_assert_str_eq(i.row->name, "vaddps");
    ck_assert_uint_eq(i.o[1].reg, 1);
    ck_assert_uint_eq(i.o[2].size, 32);
    UD(M64, 0x66, 0xc5, 0xf4, 0x58, 0xc2);
    UD(M64, 0x48, 0xc5, 0xf4, 0x58, 0xc2);
    UD(M64, 0xf0, 0xc5, 0xf4, 0x58, 0x00);
    UD(REAL, 0xc5, 0xf4, 0x58, 0xc2);
    OK(M32, 0xc5, 0x00); /* lds eax, [eax] */
    ck_assert_str_eq(i.row->name, "lds");
    UD(M64, 0xc5, 0x70, 0x28, 0xc2);             /* vmovaps with vvvv */
    OK(M64, 0xc4, 0xe3, 0x75, 0x4a, 0xc2, 0x30); /* vblendvps ymm0, ymm1, ymm2, ymm3 */
    ck_assert_uint_eq(i.o[3].reg, 3);
    UD(M64, 0xc4, 0xe3, 0xf5, 0x4a, 0xc2, 0x30); /* W1 */
    OK(M64, 0xc4, 0xe2, 0x75, 0x90, 0x04, 0xa5, 0, 0, 0, 0) /* vpgatherdd: VSIB */;
    ck_assert_uint_eq(i.mem.index, 4);
    UD(M64, 0xc4, 0xe2, 0x75, 0x90, 0x04, 0x85, 0, 0, 0, 0); /* index equals destination */
    OK(M64, 0xc4, 0xe2, 0xf0, 0xf2, 0xc2);                   /* andn rax, rcx, rdx */
    ck_assert_uint_eq(i.o[0].size, 8);
    OK(M32, 0xc4, 0xe2, 0xf0, 0xf2, 0xc2);
    ck_assert_uint_eq(i.o[0].size, 4);
}
END_TEST

START_TEST(modes_have_their_own_opcodes)
{
    UD(M64, 0x06);
    OK(M32, 0x06);
    OK(M64, 0x63, 0xc1);
    ck_assert_str_eq(i.row->name, "movsxd");
    OK(M32, 0x63, 0xc1);
    ck_assert_str_eq(i.row->name, "arpl");
    UD(REAL, 0x63, 0xc1);
    OK(M32, 0x62, 0x00);
    UD(M32, 0x62, 0xc0);
    UD(M64, 0x0f, 0x0b);
    UD(M64, 0x8e, 0xc8); /* mov cs, ax */
    OK(M32, 0x48);
    ck_assert_str_eq(i.row->name, "dec");
}
END_TEST

START_TEST(features_gate_rows)
{
    uint64_t none[F_WORDS] = {0};
    const uint8_t tzcnt[] = {0xf3, 0x0f, 0xbc, 0xc1}, addps[] = {0x0f, 0x58, 0xc1};

    ck_assert_int_eq(x86_decode(&i, tzcnt, 4, M64, none), X86_DECODE_OK);
    ck_assert_str_eq(i.row->name, "bsf"); /* as processors without BMI1 do */
    ck_assert_int_eq(x86_decode(&i, addps, 3, M64, none), X86_DECODE_UD);
}
END_TEST

START_TEST(length_limits)
{
    uint8_t b[16];

    memset(b, 0x66, sizeof(b));
    b[14] = 0x90;
    ck_assert_int_eq(x86_decode(&i, b, 16, M64, NULL), X86_DECODE_OK);
    ck_assert_uint_eq(i.len, 15);
    b[14] = 0x66;
    b[15] = 0x90;
    ck_assert_int_eq(x86_decode(&i, b, 16, M64, NULL), X86_DECODE_LONG);
    ck_assert_int_eq(x86_decode(&i, b, 15, M64, NULL), X86_DECODE_LONG);
    ck_assert_int_eq(x86_decode(&i, b, 14, M64, NULL), X86_DECODE_SHORT);
    ck_assert_int_eq(DECODE(M64, 0x48, 0xb8, 1, 2, 3), X86_DECODE_SHORT);
    ck_assert_int_eq(DECODE(M64, 0x0f), X86_DECODE_SHORT);
}
END_TEST

START_TEST(pass_rows_belong_to_their_instructions)
{
    for (unsigned n = 0; n < x86_row_count(); n++) {
        const X86Row *r = x86_row(n);

        if (r->kind == X86K_PASS) {
            ck_assert_str_eq(r->name, ir_pass_rows[r->pass].name);
            ck_assert_uint_eq(r->opcode, ir_pass_rows[r->pass].opcode);
        } else {
            ck_assert_uint_gt(r->op, X86_OP_NONE);
            ck_assert_uint_lt(r->op, X86_OP_COUNT);
        }
    }
}
END_TEST

START_TEST(disassembly_gives_lengths)
{
    StrBuf s = {0};

    ck_assert_uint_eq(x86_disasm((const uint8_t[]){0x55, 0x90}, 2, 0x1000, M64, &s), 1);
    ck_assert(strstr(s.s, "0x00001000:") && strstr(s.s, "push"));
    ck_assert_uint_eq(x86_disasm((const uint8_t[]){0x48, 0xb8}, 2, 0x1000, M64, &s), 0);
    strbuf_free(&s);
}
END_TEST

#ifdef CONFIG_CAPSTONE
static uint64_t seed = 88172645463325252ull;

static uint32_t any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed * 0x2545f4914f6cdd1dull >> 33) % below;
}

/* Random bytes: at most one legacy prefix (capstone orders several by its own rules), one of the
 * opcode maps.  Returns prefixes. */
static unsigned random_code(uint8_t *b, bool long_mode)
{
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3,
                                       0x2e, 0x64, 0x67}; /* capstone errs with 67 and REX */
    unsigned n = 0, legacy = any(2);

    for (unsigned k = 0; k < 16; k++) {
        b[k] = (uint8_t)any(256);
    }
    if (legacy) {
        b[n++] = prefixes[any(COUNT_OF(prefixes) - long_mode)];
    }
    if (long_mode && any(2)) {
        b[n++] = (uint8_t)(0x40 + any(16));
    }
    if (memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", b[n], 11) || (b[n] & 0xf0) == 0x40) {
        b[n] = 0x0f;
    }
    switch (any(6)) {
    case 0: b[n] = 0x0f; break;
    case 1: b[n] = 0x0f, b[n + 1] = any(2) ? 0x38 : 0x3a; break;
    case 2: b[n] = 0xc5; break;
    case 3: b[n] = 0xc4, b[n + 1] = (uint8_t)((b[n + 1] & 0xe0) | (1 + any(3))); break;
    }
    return legacy;
}

static bool starts_with(const char *s, const char *start)
{
    return !strncmp(s, start, strlen(start));
}

/* Capstone's name @theirs is another spelling of ours. */
static bool same_name(const char *ours, const char *theirs)
{
    static const char *const pairs[][2] = {
        {"lret", "retf"},      {"cwd", "cdq"},         {"cwd", "cqo"},
        {"cbw", "cdqe"},       {"cbw", "cwde"},        {"jcxz", "j"},
        {"shl", "sal"},        {"fwait", "wait"},      {"fucompi", "fucomip"},
        {"fcompi", "fcomip"},  {"fneni", "feni"},      {"fndisi", "fdisi"},
        {"fnsetpm", "fsetpm"}, {"movd", "movq"},       {"movq", "movd"},
        {"vmovd", "vmovq"},    {"pinsrd", "pinsrq"},   {"vpinsrd", "vpinsrq"},
        {"pextrd", "pextrq"},  {"vpextrd", "vpextrq"}, {"cmp", "cmp"},
        {"vcmp", "vcmp"},      {"vpclmul", "vpclmul"}, {"pclmul", "pclmul"},
        {"prefetch", "nop"},   {"nop", "endbr"},       {"nop", "rdssp"},
        {"rdpid", "rdseed"},   {"pause", "xchg"},      {"movlps", "movlpd"},
    };
    const char *space = strrchr(theirs, ' '); /* "rep movsb" */

    theirs = space ? space + 1 : theirs;
    if (starts_with(theirs, ours) || starts_with(ours, theirs)) {
        return true;
    }
    for (unsigned k = 0; k < COUNT_OF(pairs); k++) {
        if (starts_with(ours, pairs[k][0]) && starts_with(theirs, pairs[k][1])) {
            return true;
        }
    }
    return false;
}

static void compare_mode(uint32_t mode, cs_mode cmode, unsigned cases)
{
    csh cs;
    unsigned both = 0;

    ck_assert_int_eq(cs_open(CS_ARCH_X86, cmode, &cs), CS_ERR_OK);
    cs_insn *insn = cs_malloc(cs);

    for (unsigned k = 0; k < cases; k++) {
        uint8_t b[16];
        unsigned legacy = random_code(b, mode == M64);
        const uint8_t *p = b;
        size_t n = 16;
        uint64_t pc = 0;

        if (x86_decode(&i, b, 16, mode, NULL) != X86_DECODE_OK ||
            !cs_disasm_iter(cs, &p, &n, &pc, insn)) {
            continue; /* who knows which encodings is for the native fuzzer to say */
        }
        if (mode == M16 ? legacy : i.opsize_prefix && i.row->attr & XA_F64) {
            /* capstone: 66 shortens near branches as AMD does, is no mandatory prefix in 16-bit
             * code */
            continue;
        }
        both++;
        ck_assert_msg(i.len == insn->size && same_name(i.row->name, insn->mnemonic),
                      "%02x %02x %02x %02x %02x %02x: %s %u, %s %u", b[0], b[1], b[2], b[3], b[4],
                      b[5], i.row->name, i.len, insn->mnemonic, insn->size);
    }
    ck_assert_uint_gt(both, cases / 8);
    cs_free(insn, 1);
    cs_close(&cs);
}

START_TEST(lengths_and_names_agree_with_capstone)
{
    compare_mode(M64, CS_MODE_64, 300000);
    compare_mode(M32, CS_MODE_32, 300000);
    compare_mode(M16, CS_MODE_16, 300000);
}
END_TEST
#else
START_TEST(lengths_and_names_agree_with_capstone)
{
    ck_assert(true); /* built without capstone: nothing to compare with */
}
END_TEST
#endif

static bool same_insn(const X86Insn *a, const X86Insn *b)
{
    const X86Mem *m = &a->mem, *n = &b->mem;
    bool same = a->row == b->row && a->len == b->len && a->opsize == b->opsize &&
                a->adsize == b->adsize && a->rep == b->rep && a->lock == b->lock &&
                a->rex == b->rex && a->vex == b->vex && a->vex_w == b->vex_w &&
                a->vex_l == b->vex_l && a->opsize_prefix == b->opsize_prefix && a->n == b->n &&
                a->modrm == b->modrm && a->opcode == b->opcode && m->base == n->base &&
                m->index == n->index && m->scale == n->scale && m->seg == n->seg &&
                m->rip == n->rip && m->disp == n->disp;

    for (unsigned k = 0; k < a->n; k++) {
        const X86Operand *x = &a->o[k], *y = &b->o[k];

        same &= x->kind == y->kind && x->size == y->size && x->reg == y->reg && x->imm == y->imm;
    }
    return same;
}

/* Any bytes, and the same with another tail: what was remembered must not be taken for something
 * else. */
START_TEST(quick_decoding_gives_the_same)
{
    static const uint32_t modes[] = {M64, M32, M16};
    X86Shapes *shapes = calloc(1, sizeof(*shapes));
    uint64_t x = 1;

    for (unsigned k = 0; k < 2000000; k++) {
        uint32_t mode = modes[k / 8 % 3];
        uint8_t b[48] = {0};
        X86Insn slow, quick;
        int want;

        x = k % 8 ? x : x * 6364136223846793005u + 1442695040888963407u;
        for (unsigned n = 0; n < 16; n++) {
            uint64_t y = (x + n / 3) * 0x9e3779b97f4a7c15u;

            b[n] = (uint8_t)(n < 1 + k % 8 ? y >> (8 * (n % 3) + 20) : k * 37 + n * 101 + (k >> 8));
        }
        if (k % 3 == 0) { /* prefixes more often than by chance */
            static const uint8_t often[] = {0x48, 0x66, 0x0f, 0xf3, 0x67, 0x41, 0x65, 0x83};

            b[0] = often[x >> 40 & 7];
            b[1] = k % 2 ? often[x >> 43 & 7] : b[1];
        }
        want = x86_decode(&slow, b, 48, mode, NULL);
        ck_assert_int_eq(x86_decode_quick(shapes, &quick, b, 48, mode, NULL), want);
        ck_assert_msg(want != X86_DECODE_OK || same_insn(&slow, &quick),
                      "mode %x: %02x %02x %02x %02x %02x %02x %02x", mode, b[0], b[1], b[2], b[3],
                      b[4], b[5], b[6]);
    }
    free(shapes);
}
END_TEST

UNIT_MAIN("x86 decode", addresses_are_decoded_in_all_three_sizes, byte_registers_depend_on_rex,
          operand_sizes_follow_prefixes_and_defaults, mandatory_prefixes_select,
          lock_needs_a_memory_destination, vex_rules, modes_have_their_own_opcodes,
          features_gate_rows, length_limits, pass_rows_belong_to_their_instructions,
          disassembly_gives_lengths, lengths_and_names_agree_with_capstone,
          quick_decoding_gives_the_same)
