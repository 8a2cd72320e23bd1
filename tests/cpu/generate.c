/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate - random instructions of a row of opcodes.def, and a state in which they make sense
 *
 * The encoding is made from the row's placement and decoded again.  For a case of its own, the
 * registers of its address are solved so that it lies in the sandbox (now and then across its
 * edges); in a sequence the address is given.
 */
#include "cpu/x86/model.h"
#include "cpu/x86/opcodes.h"
#include "tests/cpu/cpu_test.h"

typedef struct Gen {
    uint64_t state;
    CpuCase *t;
    CpuState *in;
    CodeKind kind;        /* but 64: no REX, registers 0 to 7 */
    bool address16;       /* addresses have 16 bits */
    unsigned n;           /* bytes so far */
    int disp_at;          /* of a disp32 that must be patched: no base register; -1: none */
    const MemoryAim *aim; /* or NULL: any address */
} Gen;

static uint64_t next(Gen *g)
{
    return mix64(g->state++);
}

static unsigned below(Gen *g, unsigned n)
{
    return (unsigned)(next(g) >> 33) % n;
}

static bool chance(Gen *g, unsigned percent)
{
    return below(g, 100) < percent;
}

static void put(Gen *g, unsigned byte)
{
    g->t->code[g->n++] = (uint8_t)byte;
}

static bool has_operand(const X86Row *r, unsigned at)
{
    for (unsigned i = 0; i < 4; i++) {
        if (OPD_AT(r->opd[i]) == at) {
            return true;
        }
    }
    return false;
}

static bool is_string(const X86Row *r)
{
    return has_operand(r, AT_SI) || has_operand(r, AT_DI);
}

static void put_prefixes(Gen *g, const X86Row *r)
{
    bool vex = MAP_IS_VEX(r->map); /* has them inside; in front they are an error */
    unsigned mask = r->select >> 16 & (KEY_66 | KEY_F2 | KEY_F3),
             value = vex ? 0 : r->select & mask;
    bool opsize = value & KEY_66 ||
                  (!vex && !(mask & KEY_66) && chance(g, g->kind >= KIND_16 ? 45 : 15)) ||
                  chance(g, 1);

    if (opsize) {
        put(g, 0x66);
    }
    g->address16 = g->kind >= KIND_16;
    if (chance(g, g->kind >= KIND_16 ? 40 : 5)) {
        put(g, 0x67);
        g->address16 ^= g->kind != KIND_64;
    }
    if (chance(g, g->kind >= KIND_16 ? 20 : 3)) {
        static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e};

        put(g, g->kind >= KIND_16 ? segments[below(g, 4)] : 0x2e);
    }
    if (value & (KEY_F2 | KEY_F3)) {
        put(g, value & KEY_F3 ? 0xf3 : 0xf2);
    } else if (!(mask & KEY_F3) && chance(g, is_string(r) ? 50 : 1)) {
        put(g, chance(g, 50) ? 0xf3 : 0xf2);
    }
    if (r->attr & XA_LOCK && chance(g, 20)) {
        put(g, 0xf0);
    }
}

static unsigned pick_w(Gen *g, const X86Row *r)
{
    return r->select >> 16 & KEY_W ? (r->select & KEY_W) != 0 : below(g, 2);
}

/* REX.X and B of the memory operand that is aimed at. */
static unsigned aimed_xb(const Gen *g, unsigned bits)
{
    const MemoryAim *m = g->aim;

    return m ? (bits & ~3u) | (m->index != 255 && m->index & 8 ? 2 : 0) |
                   (m->base != 255 && m->base & 8 ? 1 : 0)
             : bits;
}

/* REX bits of a ModRM memory form are drawn here, in the order W R X B. */
static void put_vex(Gen *g, const X86Row *r)
{
    static const uint8_t pp[8] = {[KEY_66] = 1, [KEY_F3] = 2, [KEY_F2] = 3};
    unsigned map = r->map - V0F + 1u, w = pick_w(g, r),
             bits = g->kind ? 0 : aimed_xb(g, below(g, 8)); /* R X B */
    unsigned l = r->attr & XA_VEX_L0 ? 0 : r->attr & XA_VEX_L1 ? 1 : below(g, 2);
    unsigned vvvv = has_operand(r, AT_VVVV) ? below(g, g->kind ? 8 : 16) : 0;
    unsigned low = (~vvvv & 15) << 3 | l << 2 | pp[r->select & (KEY_66 | KEY_F3 | KEY_F2)];

    if (map == 1 && !w && !(bits & 3) && chance(g, 60)) {
        put(g, 0xc5);
        put(g, (bits & 4 ? 0 : 0x80) | low);
        return;
    }
    put(g, 0xc4);
    put(g, (~bits & 7) << 5 | map);
    put(g, w << 7 | low);
}

static void put_opcode(Gen *g, const X86Row *r)
{
    if (MAP_IS_VEX(r->map)) {
        put_vex(g, r);
    } else {
        if (!g->kind && ((r->select >> 16 & KEY_W ? (r->select & KEY_W) != 0 : chance(g, 60)) ||
                         aimed_xb(g, 0))) {
            unsigned rex = 0x40 | aimed_xb(g, below(g, 16));

            if (r->select >> 16 & KEY_W) {
                rex |= 8;
            } else if (r->select >> 16 & KEY_B) {
                rex &= ~1u;
            }
            put(g, rex);
        }
        if (r->map != M1) {
            put(g, 0x0f);
        }
        if (r->map >= M38) {
            put(g, r->map == M38 ? 0x38 : 0x3a);
        }
    }
    put(g, r->opcode + (has_operand(r, AT_OPCODE) ? below(g, 8) : 0));
}

static void put_memory16(Gen *g, unsigned reg)
{
    unsigned mod = below(g, 3), rm = below(g, 8), n = mod == 0 && rm == 6 ? 2 : mod;

    put(g, mod << 6 | reg << 3 | rm);
    if (mod == 0 && n) {
        g->disp_at = (int)g->n;
    }
    while (n--) {
        put(g, below(g, 256));
    }
}

static void put_memory(Gen *g, const X86Row *r, unsigned reg)
{
    unsigned mod = below(g, 3), rm = r->attr & XA_VSIB ? 4 : below(g, 8);
    bool no_base = mod == 0 && rm == 5;

    put(g, mod << 6 | reg << 3 | rm);
    if (rm == 4) {
        unsigned base = below(g, 8), index = below(g, 8);

        if (index == base && index != 4) {
            index = (index + 1) & 7;
        }
        put(g, below(g, 4) << 6 | index << 3 | base);
        no_base = mod == 0 && base == 5;
    }
    if (no_base) {
        g->disp_at = (int)g->n;
    }
    if (mod == 1) {
        put(g, below(g, 256));
    } else if (mod == 2 || no_base) {
        int32_t disp = (int32_t)below(g, 8192) - 4096;

        memcpy(&g->t->code[g->n], &disp, 4);
        g->n += 4;
    }
}

static void put_aimed_memory(Gen *g, unsigned reg)
{
    const MemoryAim *m = g->aim;
    bool none = m->base == 255, sib = none || m->index != 255 || (m->base & 7) == 4,
         small = m->disp == (int8_t)m->disp;
    unsigned mod = none || (!m->disp && (m->base & 7) != 5 && chance(g, 70)) ? 0
                   : small && chance(g, 80)                                  ? 1
                                                                             : 2;

    put(g, mod << 6 | reg << 3 | (sib ? 4 : m->base & 7));
    if (sib) {
        put(g,
            m->scale << 6 | (m->index == 255 ? 4 : m->index & 7) << 3 | (none ? 5 : m->base & 7));
    }
    if (mod == 1) {
        put(g, m->disp & 0xff);
    } else if (mod == 2 || none) {
        memcpy(&g->t->code[g->n], &m->disp, 4);
        g->n += 4;
    }
}

static void put_modrm(Gen *g, const X86Row *r)
{
    unsigned mask = r->select >> 16,
             reg = mask & 7 << KEY_REG ? r->select >> KEY_REG & 7 : below(g, 8);
    unsigned rm = mask & 7 << KEY_RM ? r->select >> KEY_RM & 7 : below(g, 8);
    bool is_reg =
        r->attr & XA_REG_ONLY || mask & KEY_MOD3 || (!(r->attr & XA_MEM_ONLY) && chance(g, 40));

    if (!has_operand(r, AT_RM) && !has_operand(r, AT_REG) && !(mask & (0x3f << KEY_REG))) {
        return;
    }
    if (is_reg) {
        put(g, 0xc0 | reg << 3 | rm);
    } else if (g->aim) {
        put_aimed_memory(g, reg);
    } else if (g->address16) {
        put_memory16(g, reg);
    } else {
        put_memory(g, r, reg);
    }
}

/* --- values --- */

static uint64_t random_value(Gen *g)
{
    static const uint64_t special[] = {0,
                                       1,
                                       2,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0x7fff,
                                       0x8000,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       ~0ull,
                                       ~1ull,
                                       0x0123456789abcdef};
    switch (below(g, 4)) {
    case 0: return special[below(g, COUNT_OF(special))];
    case 1: return next(g) >> below(g, 64);
    case 2: return ~(next(g) >> below(g, 64));
    default: return next(g);
    }
}

static uint32_t random_float(Gen *g)
{
    static const uint32_t special[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                       0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 1,
                                       0x007fffff, 0x00800000, 0x7f7fffff, 0x4b000000, 0x4f000000,
                                       0x5f000000, 0x40490fdb, 0x3f000000};
    return chance(g, 40)   ? special[below(g, COUNT_OF(special))]
           : chance(g, 60) ? (uint32_t)(0x3e000000 + (next(g) & 0x83ffffff))
                           : (uint32_t)next(g);
}

static uint64_t random_double(Gen *g)
{
    static const uint64_t special[] = {0,
                                       1ull << 63,
                                       0x3ff0000000000000,
                                       0xbff0000000000000,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0xfff8000000000000,
                                       0x7ff0000000000001,
                                       1,
                                       0x000fffffffffffff,
                                       0x0010000000000000,
                                       0x7fefffffffffffff,
                                       0x4330000000000000,
                                       0x41dfffffffc00000,
                                       0xc1e0000000000000,
                                       0x43e0000000000000};
    return chance(g, 40)   ? special[below(g, COUNT_OF(special))]
           : chance(g, 60) ? 0x3fc0000000000000 + (next(g) & 0x807fffffffffffff)
                           : next(g);
}

/* @n bytes in the taste of a vector operand. */
static void random_bytes(Gen *g, uint8_t *p, unsigned n)
{
    unsigned kind = below(g, 4);

    for (unsigned i = 0; i + 8 <= n; i += 8) {
        uint64_t v = kind == 0   ? random_double(g)
                     : kind == 1 ? random_float(g) | (uint64_t)random_float(g) << 32
                     : kind == 2 ? random_value(g)
                                 : next(g);

        memcpy(p + i, &v, 8);
    }
}

/* x87 registers: numbers of all kinds; the top of the stack anywhere, some registers empty; any
 * rounding and precision. */
static void random_x87(Gen *g)
{
    static const uint16_t exponents[] = {0,      1,      0x3fff, 0x4000, 0x403e,
                                         0x7ffe, 0x7fff, 0x3f80, 0x3c00};
    static const uint64_t mantissas[] = {0, 1ull << 63, 3ull << 62,        ~0ull,
                                         1, 5ull << 61, 0xc90fdaa22168c235};
    static const uint8_t precisions[] = {0, 2, 3, 3};
    uint8_t *x = g->in->x;
    uint16_t masks = chance(g, 10) ? 0x40 | (uint16_t)(next(g) & 0x3f) : 0x7f,
             fcw = (uint16_t)(masks | precisions[below(g, 4)] << 8 | below(g, 4) << 10),
             fsw = (uint16_t)(below(g, 8) << 11 | (next(g) & 0x4700));

    memcpy(x, &fcw, 2);
    memcpy(x + 2, &fsw, 2);
    x[4] = chance(g, 70) ? 0xff : (uint8_t)next(g);
    for (unsigned i = 0; i < 8; i++) {
        uint16_t exponent = chance(g, 40) ? exponents[below(g, COUNT_OF(exponents))]
                                          : (uint16_t)(0x3fff - 70 + below(g, 140));
        uint64_t mantissa =
            chance(g, 40) ? mantissas[below(g, COUNT_OF(mantissas))] : next(g) | 1ull << 63;

        exponent |= (uint16_t)(next(g) & 0x8000);
        memcpy(x + X_ST + 16 * i, &mantissa, 8);
        memcpy(x + X_ST + 16 * i + 8, &exponent, 2);
    }
}

static void random_state(Gen *g, const X86Row *row)
{
    static const uint32_t arithmetic = 0x8d5;
    CpuState *s = g->in;
    uint32_t mxcsr = 0x1f80;
    uint64_t bv = 7;

    for (unsigned i = 0; i < 16; i++) {
        s->r[i] = random_value(g);
    }
    s->r[R_SP] = DATA + 0x800 + below(g, 64) * 8;
    s->flags =
        (next(g) & arithmetic) | 0x202 | (row && is_string(row) && chance(g, 25) ? EFL_DF : 0);
    s->rip = CODE;
    s->vector = VECTOR_NONE;
    memset(s->x, 0, sizeof(s->x));
    s->x[0] = 0x7f; /* FCW as FNINIT leaves it */
    s->x[1] = 0x03;
    if (chance(g, 30)) {
        mxcsr |= (uint32_t)next(g) & (0xe07f); /* rounding, FTZ, DAZ, sticky flags */
    }
    if (row && chance(g, 5)) { /* some exceptions are unmasked */
        mxcsr &= ~((uint32_t)next(g) & 0x1f80);
    }
    memcpy(s->x + X_MXCSR, &mxcsr, 4);
    for (unsigned i = 0; i < 16; i++) {
        random_bytes(g, s->x + X_XMM + 16 * i, 16);
        random_bytes(g, s->x + X_YMMH + 16 * i, 16);
    }
    for (unsigned i = 0; i < 8; i++) {
        random_bytes(g, s->x + X_ST + 16 * i, 8);
        memset(s->x + X_ST + 16 * i + 8, 0xff, 2);
    }
    s->x[4] = chance(g, 50) ? 0xff : 0; /* FTW: MMX code may find either */
    if (row && row->attr & XA_X87) {
        random_x87(g);
    }
    memcpy(s->x + X_HEADER, &bv, 8);
    for (unsigned i = 0; i < DATA_SIZE; i += 8) {
        uint64_t v = mix64(i);

        memcpy(s->data + i, &v, 8);
    }
}

/* --- addresses --- */

/* Where the operand of @size bytes shall lie. */
static uint64_t pick_target(Gen *g, unsigned size, bool lock)
{
    unsigned at = below(g, DATA_WRITABLE - 64) & ~63u;
    unsigned how = below(g, 100);

    if (how < 4) { /* across an edge of the sandbox or of its writable part */
        static const uint16_t edges[] = {0, DATA_WRITABLE, DATA_SIZE};

        return DATA + edges[below(g, 3)] + below(g, 33) - 16;
    }
    if (how < 12 && !lock) { /* across the page boundary inside */
        return DATA + 0x1000 - below(g, size + 1);
    }
    if (how < 85 || lock) {
        return DATA + at;
    }
    return DATA + at + below(g, 64);
}

static void set_reg(Gen *g, unsigned n, uint64_t v, unsigned size)
{
    uint64_t other = n == R_SP ? 0 : random_value(g); /* (RSP is used whole by PUSH) */

    g->in->r[n] = size == 8 ? v : size == 4 ? (uint32_t)v | other << 32 : (uint16_t)v | other << 16;
}

/* The offset of linear address @v in the segment that the memory operand, or @seg, is in. */
static uint64_t offset_in(const Gen *g, unsigned seg, uint64_t v)
{
    return v - program_segment(g->kind, seg)->base;
}

/* At the end of the segment: where an operand of @size bytes is inside or not, or partly. */
static uint64_t pick_end(Gen *g, unsigned seg, unsigned size)
{
    const TestSegment *s = program_segment(g->kind, seg);

    return s->base + s->limit + 1 - below(g, 2 * size + 1) + (s->down ? size : 0);
}

static int64_t vector_index(Gen *g, unsigned n)
{
    for (unsigned i = 0; i < 32;
         i += 4) { /* dwords that are good as halves of quad-words too: small and not negative */
        uint8_t *p = g->in->x + (i < 16 ? X_XMM + 16 * n + i : X_YMMH + 16 * n + i - 16);

        memset(p, 0, 4);
        if (i % 8 == 0 || g->t->row->opcode % 2 == 0) {
            p[0] = (uint8_t)below(g, 64);
        }
    }
    return 0;
}

/* Registers or the displacement such that the memory operand is in the sandbox. */
static void solve_address(Gen *g)
{
    X86Mem *m = &g->t->insn.mem;
    unsigned adsize = g->t->insn.adsize, size = 8;
    int64_t index = 0;

    if (adsize == 2 && (g->kind == KIND_32 || g->kind == KIND_16_FLAT)) { /* cannot reach it */
        return;
    }
    for (unsigned i = 0; i < g->t->insn.n; i++) {
        size =
            g->t->insn.o[i].kind == X86_MEM && g->t->insn.o[i].size ? g->t->insn.o[i].size : size;
    }
    bool end = g->kind >= KIND_16 && g->kind != KIND_16_FLAT && m->seg < SEG_FS && chance(g, 5);
    uint64_t at = end ? pick_end(g, m->seg, size) : pick_target(g, size, g->t->insn.lock),
             target = offset_in(g, m->seg, at);

    if (m->index != 255 && g->t->row->attr & XA_VSIB) {
        index = vector_index(g, m->index);
    } else if (m->index != 255) {
        index = (int64_t)below(g, 32) - 16;
        set_reg(g, m->index, (uint64_t)index, adsize);
        index = (int64_t)((uint64_t)index << m->scale);
    }
    if (m->base != 255) {
        set_reg(g, m->base, target - (uint64_t)index - (uint64_t)m->disp, adsize);
    } else {
        int32_t disp = (int32_t)(target - (uint64_t)index - (m->rip ? CODE + g->t->len : 0));

        memcpy(&g->t->code[g->disp_at], &disp, MIN(adsize, 4u));
        m->disp = disp;
    }
    random_bytes(g, g->in->data + (at - DATA) % (DATA_WRITABLE - 64), 64);
}

static bool uses_reg_in_address(const X86Insn *i, unsigned reg)
{
    return i->mem.base == reg || i->mem.index == reg;
}

/* Registers that the instruction uses besides its operands.  False: the case is of no use. */
static bool set_implicit(Gen *g)
{
    const X86Insn *i = &g->t->insn;
    unsigned adsize = i->adsize, seg = i->mem.seg;
    bool memory = i->o[0].kind == X86_MEM;

    switch (i->row->op) {
    case X86_BT:
    case X86_BTS:
    case X86_BTR:
    case X86_BTC: /* a bit string */
        if (memory && i->o[1].kind == X86_GPR) {
            if (uses_reg_in_address(i, i->o[1].reg)) {
                return false;
            }
            g->in->r[i->o[1].reg] = (uint64_t)((int64_t)below(g, 2048) - 1024);
        }
        return true;
    case X86_DIV:
    case X86_IDIV:
        if (!uses_reg_in_address(i, R_DX) && chance(g, 70)) {
            g->in->r[R_DX] = i->row->op == X86_DIV                                 ? below(g, 3)
                             : (uint64_t)sext(g->in->r[R_AX], i->opsize * 8) >> 63 ? ~0ull
                                                                                   : 0;
        }
        return true;
    case X86_BSWAP: return i->opsize != 2;
    case X86_SHLD:
    case X86_SHRD: /* counts over the operand's size are undefined */
        return i->opsize != 2 ||
               ((i->o[2].kind == X86_IMM ? (uint64_t)i->o[2].imm : g->in->r[R_CX]) & 31) <= 16;
    case X86_XLAT:
        set_reg(g, R_BX, offset_in(g, seg, pick_target(g, 1, false)), adsize);
        return true;
    case X86_ENTER:
    case X86_LEAVE: g->in->r[R_BP] = offset_in(g, SEG_SS, pick_target(g, 8, false)); return true;
    case X86_MASKMOVDQU:
        set_reg(g, R_DI, offset_in(g, seg, pick_target(g, 16, false)), adsize);
        return true;
    default: return true;
    }
}

static void set_string(Gen *g)
{
    unsigned adsize = g->t->insn.adsize, seg = g->t->insn.mem.seg;
    uint64_t from = pick_target(g, 8, false), to = pick_target(g, 8, false);

    if (chance(g, 20)) { /* overlapping */
        to = from + below(g, 32) - 16;
    }
    set_reg(g, R_SI, offset_in(g, seg, from), adsize);
    set_reg(g, R_DI, offset_in(g, SEG_ES, to), adsize);
    set_reg(g, R_CX, chance(g, 10) ? 0 : below(g, chance(g, 80) ? 40 : 3000), adsize);
    if (chance(g, 50)) { /* something that compares equal for a while */
        memset(g->in->data, (int)below(g, 256), DATA_SIZE / 2);
        g->in->r[R_AX] = g->in->data[0] * 0x0101010101010101ull;
    }
}

static void encode(Gen *g, const X86Row *row, const uint64_t *features)
{
    CpuCase *t = g->t;

    memset(t, 0, sizeof(*t));
    t->row = row;
    t->seed = g->state;
    put_prefixes(g, row);
    put_opcode(g, row);
    put_modrm(g, row);
    for (unsigned i = 0; i < 9; i++) {
        t->code[g->n + i] = (uint8_t)next(g);
    }
    t->kind = g->kind;
    t->valid = x86_decode(&t->insn, t->code, 15, program_mode(g->kind), features) == X86_DECODE_OK;
    t->len = t->valid ? t->insn.len : 1;
}

bool insn_generate(CpuCase *t, const X86Row *row, uint64_t seed, const MemoryAim *aim,
                   const uint64_t *features)
{
    Gen g = {.state = seed, .t = t, .disp_at = -1, .aim = aim};

    encode(&g, row, features);
    return t->valid;
}

void state_generate(CpuState *in, uint64_t seed, const X86Row *row)
{
    Gen g = {.state = seed, .in = in};

    random_state(&g, row);
}

/* The instruction is there; what it works on.  False: the case is of no use. */
static bool solve(Gen *g)
{
    CpuCase *t = g->t;
    bool memory = false;

    if (!t->valid) {
        return true;
    }
    if (!(t->insn.row->attr & XA_TEST) || t->insn.row->op == X86_PUSH_SREG ||
        t->insn.row->op == X86_POP_SREG) { /* selectors are the host's */
        return false;
    }
    if ((t->insn.row->op == X86_VMASKMOV || t->insn.row->attr & XA_X87) && t->kind != KIND_64 &&
        t->insn.mem.seg == SEG_CS) {
        return false; /* if nothing is stored, it may count or not that CS is read-only */
    }

    for (unsigned i = 0; i < t->insn.n; i++) {
        memory |= t->insn.o[i].kind == X86_MEM;
    }
    if (is_string(t->insn.row)) {
        set_string(g);
    } else if (memory) {
        solve_address(g);
    }
    return set_implicit(g);
}

bool case_generate(CpuCase *t, CpuState *in, const X86Row *row, uint64_t seed,
                   const uint64_t *features, CodeKind kind)
{
    Gen g = {.state = seed, .t = t, .in = in, .disp_at = -1, .kind = kind};

    encode(&g, row, features);
    random_state(&g, row);
    in->r[R_SP] = offset_in(&g, SEG_SS, in->r[R_SP]);
    if (kind == KIND_16) { /* above SP */
        in->r[R_SP] |= random_value(&g) << 16;
    }
    if (!solve(&g)) {
        return false;
    }
    for (unsigned i = 0; kind != KIND_64 && i < 8; i++) {
        in->r[i] = (uint32_t)in->r[i];
    }
    return true;
}

static bool is_rotate(unsigned op)
{
    return op == X86_ROL || op == X86_ROR || op == X86_RCL || op == X86_RCR;
}

/* Shifts: nothing changes by a count of 0; OF means something for 1 only; CF not beyond the
 * operand's size. */
static uint64_t shift_undefined(const X86Insn *i, uint64_t cx, const X86Operand *count)
{
    unsigned size = i->o[0].size * 8u;
    uint64_t n = (count->kind == X86_IMM ? (uint64_t)count->imm : cx) & (size == 64 ? 63 : 31),
             undefined = 0;

    if (n == 0) {
        return 0;
    }
    if (n != 1) {
        undefined |= FL_OF;
    }
    if (!is_rotate(i->row->op)) {
        undefined |= FL_AF | (n >= size ? FL_CF : 0);
    }
    return undefined;
}

uint64_t insn_undefined_flags(const X86Insn *i, uint64_t cx)
{
    switch (i->row->op) {
    case X86_SHL:
    case X86_SHR:
    case X86_SAR:
    case X86_ROL:
    case X86_ROR:
    case X86_RCL:
    case X86_RCR: return shift_undefined(i, cx, &i->o[1]);
    case X86_SHLD:
    case X86_SHRD: return shift_undefined(i, cx, &i->o[2]);
    default: return i->row->fl_undef;
    }
}
