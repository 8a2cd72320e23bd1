/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode - bytes to X86Insn, driven by opcodes.def (SDM vol. 2 chapter 2, appendix A)
 *
 * Where vendors differ, Intel's way is taken whatever the model's vendor: near branches ignore 66
 * in 64-bit mode, a 66 before F2/F3 opcodes selects nothing, far pointers take REX.W.  Of several
 * F2 and F3 the last counts.
 */
#include "cpu/x86/opcodes.h"

/* PASS rows count themselves: the same order as in cpu/x86/pass.c. */
enum { PASS_BASE = __COUNTER__ + 1 };

static const X86Row rows[] __attribute__((aligned(64))) = {
#define ROW(op, name, kind, map, opc, sel, a, b, c, d, attr, feat, in, out, un, pass)              \
    {#name,       op,                                                                              \
     kind,        attr,                                                                            \
     X86F_##feat, FLS_##in,                                                                        \
     FLS_##out,   FLS_##un,                                                                        \
     pass,        #a "," #b "," #c "," #d,                                                         \
     map,         opc,                                                                             \
     sel,         {OPD_##a, OPD_##b, OPD_##c, OPD_##d}},
#define TR(id, name, map, opc, sel, a, b, c, d, attr, feat, in, out, un)                           \
    ROW(X86_##id, name, X86K_TR, map, opc, sel, a, b, c, d, attr, feat, in, out, un, 0)
#define PASS(name, fn, map, opc, sel, rw, a, b, c, d, attr, feat, in, out, un, impl)               \
    ROW(X86_OP_NONE, name, X86K_PASS, map, opc, sel, a, b, c, d, attr, feat, in, out, un,          \
        __COUNTER__ - PASS_BASE)
#include "cpu/x86/opcodes.def"
#undef PASS
#undef TR
};

/* Rows of each opcode, in the order of the file: built once before main(). */
static struct OpcodeRows {
    uint16_t first;
    uint8_t count;
    bool modrm;
} opcode_rows[MAP_COUNT][256];

/* What selects a row, packed: few cache lines are read for each instruction. */
static struct OrderedRow {
    uint32_t select, attr;
    uint16_t row, feature;
} row_order[COUNT_OF(rows) * 2 + 8 * 32];

static bool row_has(const X86Row *r, unsigned at)
{
    for (unsigned i = 0; i < 4; i++) {
        if (OPD_AT(r->opd[i]) == at) {
            return true;
        }
    }
    return false;
}

static bool row_covers(const X86Row *r, unsigned map, unsigned opcode)
{
    unsigned span = row_has(r, AT_OPCODE) ? 8 : 1;

    return r->map == map && opcode >= r->opcode && opcode < r->opcode + span;
}

__attribute__((constructor)) static void decode_index(void)
{
    uint16_t by_map[MAP_COUNT][COUNT_OF(rows)];
    unsigned n_map[MAP_COUNT] = {0}, n = 0;

    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        by_map[rows[i].map][n_map[rows[i].map]++] = (uint16_t)i;
    }
    for (unsigned map = 0; map < MAP_COUNT; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            struct OpcodeRows *e = &opcode_rows[map][opcode];

            e->first = (uint16_t)n;
            for (unsigned i = 0; i < n_map[map]; i++) {
                const X86Row *r = &rows[by_map[map][i]];

                if (row_covers(r, map, opcode)) {
                    assert(n < COUNT_OF(row_order));
                    row_order[n++] =
                        (struct OrderedRow){r->select, r->attr, by_map[map][i], r->feature};
                    e->count++;
                    e->modrm |= row_has(r, AT_REG) || row_has(r, AT_RM) ||
                                (r->select >> 16 & (0x3f << KEY_REG));
                }
            }
        }
    }
}

unsigned x86_row_count(void)
{
    return COUNT_OF(rows);
}

const X86Row *x86_row(unsigned i)
{
    return &rows[i];
}

/* Bytes of S_x by operand size (2, 4, 8) and VEX.L. */
#define SIZES(o, l)                                                                                \
    {                                                                                              \
        [S_b] = 1, [S_w] = 2, [S_d] = 4, [S_q] = 8, [S_t] = 10, [S_dq] = 16, [S_qq] = 32,          \
        [S_v] = (o), [S_z] = (o) == 2 ? 2 : 4, [S_y] = (o) == 8 ? 8 : 4, [S_x] = 16 << (l),        \
        [S_h] = 8 << (l), [S_f] = 4 << (l), [S_e] = 2 << (l), [S_p] = (o) + 2,                     \
        [S_s] = (o) == 8 ? 10 : 6, [S_a] = 2 * (o), [S_env] = (o) == 2 ? 14 : 28,                  \
        [S_save] = (o) == 2 ? 94 : 108, [S_dw] = 16                                                \
    }
static const uint8_t sizes[3][2][S_COUNT] = {
    {SIZES(2, 0), SIZES(2, 1)}, {SIZES(4, 0), SIZES(4, 1)}, {SIZES(8, 0), SIZES(8, 1)}};

enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1, REX = 0x40 };
enum { NO_REG = 255 };

typedef struct Decoder {
    X86Insn *i;
    const uint8_t *p;     /* next byte; the buffer is long enough for any instruction */
    const uint8_t *sizes; /* of the row's operand size */
    uint8_t mode;         /* bytes of default code size: 2 4 8 */
    uint8_t rex;          /* REX bits, of VEX too */
    uint8_t seg;          /* override or NO_REG */
    uint8_t rep;
    bool p66, p67, protected;
    uint8_t map, vvvv;
    uint32_t key;
} Decoder;

static uint64_t bytes_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return v;
}

static uint64_t take(Decoder *d, unsigned n)
{
    uint64_t v = bytes_at(d->p);

    d->p += n;
    return n < 8 ? v & ((1ull << 8 * n) - 1) : v;
}

static int64_t take_signed(Decoder *d, unsigned n)
{
    return sext(take(d, n), 8 * n);
}

static bool is_prefix(uint8_t c)
{
    static const uint64_t legacy[4] = {
        BIT(0x26) | BIT(0x2e) | BIT(0x36) | BIT(0x3e),
        BIT(0x64 - 0x40) | BIT(0x65 - 0x40) | BIT(0x66 - 0x40) | BIT(0x67 - 0x40),
        0,
        BIT(0xf0 - 0xc0) | BIT(0xf2 - 0xc0) | BIT(0xf3 - 0xc0),
    };

    return legacy[c >> 6] >> (c & 63) & 1;
}

/* Legacy prefixes and REX; stops at the first other byte. */
static void decode_prefixes(Decoder *d)
{
    const uint8_t *end = d->p + 15;

    for (; d->p < end; d->p++) {
        uint8_t c = *d->p;

        if (!is_prefix(c)) {
            if (d->mode != 8 || (c & 0xf0) != REX) {
                return;
            }
            d->rex = c;
            continue;
        }
        switch (c) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (d->mode != 8) {
                d->seg = (c >> 3) & 3;
            }
            break;
        case 0x64:
        case 0x65: d->seg = SEG_FS + (c & 1); break;
        case 0x66: d->p66 = true; break;
        case 0x67: d->p67 = true; break;
        case 0xf0: d->i->lock = true; break;
        default: d->rep = c; break;
        }
        d->rex = 0; /* REX counts only right before the opcode */
    }
}

/* C4 or C5 at d->p that is no LES or LDS.  False: #UD. */
static bool decode_vex(Decoder *d)
{
    bool three = *d->p++ == 0xc4;
    uint8_t b1 = *d->p++, b2 = three ? *d->p++ : b1;

    if (d->rex || d->p66 || d->rep || d->i->lock || !d->protected) {
        return false;
    }
    d->i->vex = true;
    d->map = three ? b1 & 0x1f : 1;
    if (d->map < 1 || d->map > 3) {
        return false;
    }
    d->map += V0F - 1;
    d->vvvv = ~b2 >> 3 & 15;
    if (d->mode == 8) {
        d->rex = (uint8_t)((~b1 >> 5 & (three ? 7 : 4)) | (three ? b2 >> 4 & REX_W : 0));
    } else {
        d->vvvv &= 7;
    }
    d->i->vex_w = three && b2 & 0x80;
    d->i->vex_l = b2 & 4;
    static const uint8_t pp[4] = {0, KEY_66, KEY_F3, KEY_F2};
    d->key = pp[b2 & 3] | (d->i->vex_l ? KEY_L : 0) | (d->i->vex_w ? KEY_W : 0);
    return true;
}

static bool decode_opcode(Decoder *d)
{
    if ((*d->p & 0xfe) == 0xc4 && (d->mode == 8 || d->p[1] >= 0xc0)) {
        if (!decode_vex(d)) {
            return false;
        }
    } else {
        d->map = M1;
        if (*d->p == 0x0f) {
            uint8_t c = *++d->p;

            d->map = c == 0x38 ? M38 : c == 0x3a ? M3A : M0F;
            d->p += d->map != M0F;
        }
        d->key = (d->p66 ? KEY_66 : 0) |
                 (d->rep == 0xf3 ? KEY_F3
                  : d->rep       ? KEY_F2
                                 : 0) |
                 (d->rex & REX_W ? KEY_W : 0);
    }
    d->key |= (d->mode == 8 ? KEY_64 : 0) | (d->rex & REX_B ? KEY_B : 0);
    d->i->opcode = *d->p++;
    return true;
}

static const X86Row *decode_row(Decoder *d, const uint64_t *features)
{
    const struct OpcodeRows *e = &opcode_rows[d->map][d->i->opcode];
    uint32_t forbidden = (d->mode == 8 ? XA_NO64 : XA_ONLY64) |
                         (d->protected ? 0 : XA_PROT | XA_AVX) |
                         (d->i->vex_l ? XA_VEX_L0 : XA_VEX_L1);

    if (e->modrm) {
        d->i->modrm = *d->p++;
        d->key |= (d->i->modrm & 0x38u) | (d->i->modrm & 7u) << KEY_RM |
                  (d->i->modrm >= 0xc0 ? KEY_MOD3 : 0);
        forbidden |= d->i->modrm >= 0xc0 ? XA_MEM_ONLY : XA_REG_ONLY;
    }
    for (unsigned i = 0; i < e->count; i++) {
        const struct OrderedRow *r = &row_order[e->first + i];

        if (((d->key ^ r->select) & r->select >> 16) || r->attr & forbidden) {
            continue;
        }
        if (!features ||
            (x86_has(features, r->feature) &&
             (!(r->attr & XA_AVX) || x86_has(features, X86F_AVX)) &&
             (!(r->attr & XA_L1_AVX2 && d->i->vex_l) || x86_has(features, X86F_AVX2)))) {
            return &rows[r->row];
        }
    }
    return NULL;
}

static void decode_sizes(Decoder *d)
{
    uint32_t attr = d->i->row->attr;
    unsigned size = d->mode == 2 ? (d->p66 ? 4 : 2) : (d->p66 ? 2 : 4);

    if (d->mode == 8) {
        if (d->rex & REX_W || attr & XA_F64 || (attr & XA_DEF64 && !d->p66)) {
            size = 8;
        }
    }
    d->i->opsize = (uint8_t)size;
    d->i->adsize = d->mode == 8 ? (d->p67 ? 4 : 8) : (d->mode == 2) == d->p67 ? 4 : 2;
    d->sizes = sizes[size >> 2][d->i->vex_l];
}

static void decode_mem16(Decoder *d)
{
    static const uint8_t base[8] = {R_BX, R_BX, R_BP, R_BP, R_SI, R_DI, R_BP, R_BX};
    static const uint8_t index[8] = {R_SI, R_DI, R_SI, R_DI, NO_REG, NO_REG, NO_REG, NO_REG};
    unsigned mod = d->i->modrm >> 6, rm = d->i->modrm & 7;
    X86Mem *m = &d->i->mem;

    m->base = base[rm];
    m->index = index[rm];
    if (mod == 0 && rm == 6) {
        m->base = NO_REG;
        m->disp = take_signed(d, 2);
    } else if (mod) {
        m->disp = take_signed(d, mod);
    }
    if (m->base == R_BP && d->seg == NO_REG) {
        m->seg = SEG_SS;
    }
}

/* 32- and 64-bit addressing. */
static void decode_mem32(Decoder *d, bool vsib)
{
    unsigned mod = d->i->modrm >> 6, rm = d->i->modrm & 7;
    X86Mem *m = &d->i->mem;

    if (rm == 4) {
        uint8_t sib = *d->p++;

        rm = sib & 7;
        m->scale = sib >> 6;
        m->index = (uint8_t)((sib >> 3 & 7) | (d->rex & REX_X ? 8 : 0));
        if (m->index == R_SP && !vsib) {
            m->index = NO_REG;
        }
        m->base = (uint8_t)(rm | (d->rex & REX_B ? 8 : 0));
        if (rm == 5 && mod == 0) {
            m->base = NO_REG;
        }
    } else if (rm == 5 && mod == 0) {
        m->rip = d->mode == 8;
    } else {
        m->base = (uint8_t)(rm | (d->rex & REX_B ? 8 : 0));
    }
    if (mod == 1) {
        m->disp = take_signed(d, 1);
    } else if (mod == 2 || (mod == 0 && rm == 5)) {
        m->disp = take_signed(d, 4);
    }
    if ((m->base == R_SP || m->base == R_BP) && d->seg == NO_REG) {
        m->seg = SEG_SS;
    }
}

static bool decode_mem(Decoder *d)
{
    bool vsib = d->i->row->attr & XA_VSIB;

    if (vsib && (d->i->adsize == 2 || (d->i->modrm & 7) != 4)) {
        return false;
    }
    if (d->i->adsize == 2) {
        decode_mem16(d);
    } else {
        decode_mem32(d, vsib);
    }
    return true;
}

/* Register number @n (3 bits, with @ext as its fourth) of a kind; false: there is none. */
static bool set_reg(Decoder *d, X86Operand *o, unsigned kind, unsigned n, bool ext)
{
    o->kind = (uint8_t)kind;
    o->reg = (uint8_t)(n | (ext ? 8 : 0));
    switch (kind) {
    case X86_GPR:
        if (o->size == 1 && o->reg >= 4 && o->reg < 8 && !d->rex) {
            o->kind = X86_GPR_HI;
            o->reg -= 4;
        }
        return true;
    case X86_XMM: return true;
    case X86_MMX: o->reg = (uint8_t)n; return true;
    case X86_SREG: o->reg = (uint8_t)n; return n <= SEG_GS;
    case X86_CR: return BIT(o->reg) & (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(8));
    default: return o->reg < 8; /* X86_DR */
    }
}

/* ModRM.rm: a register, or the memory operand. */
static bool decode_rm(Decoder *d, X86Operand *o, uint32_t code)
{
    if (d->i->modrm >= 0xc0 || d->i->row->attr & XA_MOD3) {
        o->size = d->sizes[OPD_RSIZE(code)];
        return set_reg(d, o, OPD_KIND(code), d->i->modrm & 7, d->rex & REX_B);
    }
    o->kind = X86_MEM;
    o->size = d->sizes[OPD_MSIZE(code)];
    return decode_mem(d);
}

static bool decode_operand(Decoder *d, X86Operand *o, uint32_t code)
{
    o->kind = OPD_KIND(code);
    o->size = d->sizes[OPD_RSIZE(code)];
    o->reg = 0;
    o->imm = 0;
    switch (OPD_AT(code)) {
    case AT_REG: return set_reg(d, o, o->kind, d->i->modrm >> 3 & 7, d->rex & REX_R);
    case AT_VVVV: return set_reg(d, o, o->kind, d->vvvv & 7, d->vvvv & 8);
    case AT_RM: return decode_rm(d, o, code);
    case AT_OPCODE: return set_reg(d, o, X86_GPR, d->i->opcode & 7, d->rex & REX_B);
    case AT_FIXED: o->reg = OPD_FIXED_REG(code); break;
    case AT_IMM: o->imm = (int64_t)take(d, o->size); break;
    case AT_SIMM:
    case AT_REL: o->imm = take_signed(d, o->size); break;
    case AT_IMM64: o->imm = take_signed(d, o->size); break;
    case AT_ONE: o->imm = 1; break;
    case AT_IS4:
        o->imm = (int64_t)take(d, 1);
        o->reg = (uint8_t)(o->imm >> 4 & (d->mode == 8 ? 15 : 7));
        break;
    case AT_FAR:
        o->imm = (int64_t)take(d, o->size);
        o->imm |= (int64_t)take(d, 2) << 32;
        break;
    case AT_MOFFS: d->i->mem.disp = (int64_t)take(d, d->i->adsize); break;
    case AT_SI:
        o->reg = R_SI;
        d->i->mem.base = R_SI;
        break;
    case AT_DI:
        o->reg = R_DI;
        if (d->i->mem.base == NO_REG) {
            d->i->mem.base = R_DI;
        }
        break;
    }
    return true;
}

/* Rules that look at several operands at once. */
static bool is_valid(const Decoder *d)
{
    const X86Insn *i = d->i;
    const X86Row *r = i->row;

    if (i->lock && (!(r->attr & XA_LOCK) || i->o[0].kind != X86_MEM)) {
        return false;
    }
    if (i->vex && d->vvvv && !row_has(r, AT_VVVV)) {
        return false;
    }
    if (r->op == X86_MOV_TO_SREG && i->o[0].reg == SEG_CS) {
        return false;
    }
    if (r->attr & XA_VSIB) { /* destination, index and mask must differ */
        return i->o[0].reg != i->mem.index && i->o[0].reg != i->o[2].reg &&
               i->o[2].reg != i->mem.index;
    }
    return true;
}

static int decode(Decoder *d, const uint64_t *features)
{
    X86Insn *i = d->i;

    decode_prefixes(d);
    if (!decode_opcode(d) || !(i->row = decode_row(d, features))) {
        return X86_DECODE_UD;
    }
    decode_sizes(d);
    i->rex = d->rex & REX;
    i->opsize_prefix = d->p66;
    i->rep = i->row->select >> 16 & i->row->select & (KEY_F2 | KEY_F3) ? 0 : d->rep;
    i->mem.seg = d->seg == NO_REG ? SEG_DS : d->seg;
    for (; i->n < 4 && i->row->opd[i->n]; i->n++) {
        if (!decode_operand(d, &i->o[i->n], i->row->opd[i->n])) {
            return X86_DECODE_UD;
        }
    }
    if (!i->n && opcode_rows[d->map][i->opcode].modrm && i->modrm < 0xc0) {
        decode_mem(d);
    }
    return is_valid(d) ? X86_DECODE_OK : X86_DECODE_UD;
}

/* In two steps: each is short enough to become plain stores, where the whole would be a slow
 * string instruction. */
static void clear(X86Insn *i)
{
    memset(i, 0, offsetof(X86Insn, o[2]));
    memset((uint8_t *)i + offsetof(X86Insn, o[2]), 0, sizeof *i - offsetof(X86Insn, o[2]));
    i->mem.base = i->mem.index = NO_REG;
}

int x86_decode(X86Insn *out, const uint8_t *p, size_t n, uint32_t mode, const uint64_t *features)
{
    uint8_t copy[48];
    Decoder d = {.i = out, .p = p, .seg = NO_REG};

    if (n < sizeof(copy)) { /* an instruction never takes more than this from its first byte on */
        memset(copy, 0, sizeof(copy));
        memcpy(copy, p, n);
        d.p = copy;
    }
    const uint8_t *start = d.p;
    d.mode = (mode & MODE_SIZE) == MODE_64 ? 8 : (mode & MODE_SIZE) == MODE_32 ? 4 : 2;
    d.protected = d.mode == 8 || (mode & (MODE_PE | MODE_VM86)) == MODE_PE;
    clear(out);
    int r = decode(&d, features);
    size_t len = (size_t)(d.p - start);

    if (len > 15) {
        return n < 15 ? X86_DECODE_SHORT : X86_DECODE_LONG;
    }
    if (len > n) {
        return X86_DECODE_SHORT;
    }
    out->len = (uint8_t)len;
    return r;
}

/* --- by shape --- */

enum { HEAD_MOST = 6, QUICK_READS = 24 /* bytes that may be looked at */ };

/* How many bytes of @p are its shape: prefixes, opcode, ModRM, SIB.  0: such are not remembered. */
static unsigned head_size(const uint8_t *p, bool is64)
{
    unsigned n = 0, map = M1;

    while (is_prefix(p[n]))
        if (p[n] == 0x67 || ++n == 3) /* 67: ModRM means something else */
            return 0;
    if (is64 && (p[n] & 0xf0) == REX && (is_prefix(p[++n]) || (p[n] & 0xf0) == REX))
        return 0; /* a REX without effect */
    if (p[n] == 0x0f) {
        map = p[n + 1] == 0x38 ? M38 : p[n + 1] == 0x3a ? M3A : M0F;
        n += map == M0F ? 1 : 2;
    } else if ((p[n] & 0xfe) == 0xc4) {
        return 0;
    }
    if (opcode_rows[map][p[n++]].modrm) {
        uint8_t modrm = p[n++];

        n += modrm < 0xc0 && (modrm & 7) == 4;
    }
    return n <= HEAD_MOST ? n : 0;
}

/* Keep @i, whose shape has @head bytes, in @s if only one displacement and one immediate follow. */
static void shape_set(X86Shape *s, uint64_t key, unsigned head, const X86Insn *i)
{
    X86Shape to = {.key = key, .head = (uint8_t)head, .insn = *i};
    unsigned disp;

    for (unsigned n = 0; n < i->n; n++) {
        switch (OPD_AT(i->row->opd[n])) {
        case AT_IMM:
        case AT_SIMM:
        case AT_IMM64:
        case AT_REL:
            if (to.imm)
                return;
            to.imm = i->o[n].size;
            to.imm_at = (uint8_t)n;
            to.imm_signed = OPD_AT(i->row->opd[n]) != AT_IMM;
            break;
        case AT_FAR:
        case AT_MOFFS:
        case AT_IS4: return;
        }
    }
    disp = i->len - head - to.imm;
    if (i->vex || (disp != 0 && disp != 1 && disp != 4))
        return;
    to.disp = (uint8_t)disp;
    *s = to;
}

static void shape_fill(const X86Shape *s, X86Insn *out, const uint8_t *p)
{
    *out = s->insn;
    p += s->head;
    if (s->disp == 1)
        out->mem.disp = (int8_t)*p;
    else if (s->disp)
        out->mem.disp = (int32_t)bytes_at(p);
    if (s->imm) {
        unsigned unused = 64 - 8u * s->imm;
        uint64_t v = bytes_at(p + s->disp) << unused;

        out->o[s->imm_at].imm = s->imm_signed ? (int64_t)v >> unused : (int64_t)(v >> unused);
    }
}

int x86_decode_quick(X86Shapes *shapes, X86Insn *out, const uint8_t *p, size_t n, uint32_t mode,
                     const uint64_t *features)
{
    uint32_t kind = mode & (MODE_SIZE | MODE_PE | MODE_VM86), size = mode & MODE_SIZE;
    unsigned head = shapes && n >= QUICK_READS && size ? head_size(p, size == MODE_64) : 0;
    int result;

    if (!head)
        return x86_decode(out, p, n, mode, features);
    uint64_t key = (bytes_at(p) & ~0ull >> (64 - 8 * head)) | (uint64_t)kind << 56;
    X86Shape *s = &shapes->at[key * 0x9e3779b97f4a7c15ull >> (64 - X86_SHAPE_BITS)];

    if (s->key == key) {
        shape_fill(s, out, p);
        return X86_DECODE_OK;
    }
    result = x86_decode(out, p, n, mode, features);
    if (result == X86_DECODE_OK)
        shape_set(s, key, head, out);
    return result;
}
