/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sequence - random programs of 2 to 24 units (docs/testing.md, "Instructions")
 *
 * A few registers point into the data pages, mostly not far from an edge of a page; most memory
 * operands are at constant distances from one of them, and the generator follows what it adds to
 * them.  Other instructions write them rarely. Backward branches have counters of their own, all
 * other branches lead forward.
 */
#include "base/alloc.h"
#include "cpu/x86/model.h"
#include "cpu/x86/opcodes.h"
#include "tests/cpu/cpu_test.h"

enum { MOST_ROWS = 2048, MOST_LOOPS = 2, UNIT_BYTES = 40, UNIT_FIXES = 2, NO_REG = 255 };
enum { COUNTER = DATA + 0x7c0 }; /* of loops without a register */

/* Rows by what they are good for. */
enum { CLASS_MOVE, CLASS_ALU, CLASS_SHIFT, CLASS_OTHER_INTEGER, CLASS_VECTOR, CLASS_COUNT };

struct Sequences {
    const uint64_t *features;
    uint16_t rows[CLASS_COUNT][MOST_ROWS];
    unsigned n[CLASS_COUNT];
};

/* A field that depends on where units are: of @size 1 or 4, behind it the instruction ends after
 * @tail bytes more. */
typedef enum FixKind {
    FIX_REL, /* distance to unit @to */
    FIX_ABS, /* its address */
    FIX_IMM, /* distance to the last byte of unit @to */
    FIX_RIP, /* distance to the address that the field holds */
} FixKind;

typedef struct Fix {
    uint8_t kind, at, size, tail, to;
} Fix;

typedef struct Unit {
    uint8_t code[UNIT_BYTES], n, n_fixes;
    bool has_imm; /* its last byte may be any */
    Fix fix[UNIT_FIXES];
} Unit;

/* Its first unit sets the counter, its last one counts and jumps to the second. */
typedef struct Loop {
    uint8_t first, last, counter;
} Loop;

typedef struct Seq {
    uint64_t state; /* of the random numbers */
    const Sequences *rows;
    Unit unit[SEQUENCE_MOST];
    unsigned n, most;
    Unit *u;           /* the one being made */
    uint16_t pointers; /* registers that point into the data pages */
    uint16_t counters; /* of open loops */
    uint64_t at[16];   /* where pointers point, as far as known */
    uint8_t last_base, index;
    Loop loop[SEQUENCE_MOST]; /* all; open[]: those that have no end yet */
    uint8_t open[MOST_LOOPS];
    unsigned n_loops, n_open;
    int function, body_left; /* the last function's unit; how long until it returns */
    bool portable;
} Seq;

/* --- random numbers, bytes --- */

static uint64_t next(Seq *s)
{
    return mix64(s->state++);
}

static unsigned below(Seq *s, unsigned n)
{
    return (unsigned)(next(s) >> 33) % n;
}

static bool chance(Seq *s, unsigned percent)
{
    return below(s, 100) < percent;
}

static void put(Seq *s, unsigned byte)
{
    assert(s->u->n < UNIT_BYTES);
    s->u->code[s->u->n++] = (uint8_t)byte;
}

static void put32(Seq *s, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        put(s, v >> 8 * i & 0xff);
    }
}

static void put_fix(Seq *s, FixKind kind, unsigned size, unsigned tail, unsigned to, uint32_t v)
{
    Unit *u = s->u;

    assert(u->n_fixes < UNIT_FIXES);
    u->fix[u->n_fixes++] = (Fix){(uint8_t)kind, u->n, (uint8_t)size, (uint8_t)tail, (uint8_t)to};
    if (size == 1) {
        put(s, v);
    } else {
        put32(s, v);
    }
}

/* REX.W opcode /@reg with register @rm; or with memory [@base + @disp32]. */
static void put_reg(Seq *s, unsigned opcode, unsigned reg, unsigned rm)
{
    put(s, 0x48 | (reg & 8) >> 1 | rm >> 3);
    put(s, opcode);
    put(s, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void put_mem(Seq *s, unsigned opcode, unsigned reg, unsigned base, int64_t disp)
{
    bool small = disp == (int8_t)disp;

    put(s, 0x48 | (reg & 8) >> 1 | base >> 3);
    put(s, opcode);
    put(s, (small ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == 4) {
        put(s, 0x24);
    }
    if (small) {
        put(s, disp & 0xff);
    } else {
        put32(s, (uint32_t)disp);
    }
}

/* --- registers --- */

static unsigned pick_bit(Seq *s, uint16_t mask)
{
    unsigned r;

    do {
        r = below(s, 16);
    } while (!(mask >> r & 1));
    return r;
}

static unsigned pick_pointer(Seq *s)
{
    if (!(s->pointers >> s->last_base & 1) || chance(s, 35)) {
        s->last_base = (uint8_t)pick_bit(s, s->pointers);
    }
    return s->last_base;
}

/* A register that may be destroyed. */
static unsigned pick_free(Seq *s)
{
    uint16_t kept = s->pointers | s->counters;

    return pick_bit(s, (uint16_t) ~(kept | 1 << R_SP));
}

static uint64_t pick_place(Seq *s)
{
    unsigned how = below(s, 100);

    if (how < 60) {
        return DATA + 0x200 + 64 * below(s, 48);
    }
    if (how < 78) { /* pages of the same kind on both sides */
        return DATA + 0x1000 - 128 + 8 * below(s, 32);
    }
    if (how < 90) { /* read-only behind */
        return DATA + DATA_WRITABLE - 128 + 8 * below(s, 32);
    }
    return how < 95 ? DATA + DATA_SIZE - 64 + 8 * below(s, 16) : DATA - 32 + 8 * below(s, 32);
}

/* --- a row's instruction --- */

static unsigned class_of(const X86Row *r)
{
    switch (r->op) {
    case X86_MOV:
    case X86_MOVZX:
    case X86_MOVSX:
    case X86_MOVSXD:
    case X86_LEA:
    case X86_PUSH:
    case X86_POP: return CLASS_MOVE;
    case X86_ADD:
    case X86_ADC:
    case X86_SUB:
    case X86_SBB:
    case X86_AND:
    case X86_OR:
    case X86_XOR:
    case X86_CMP:
    case X86_TEST:
    case X86_INC:
    case X86_DEC:
    case X86_NEG:
    case X86_NOT: return CLASS_ALU;
    case X86_SHL:
    case X86_SHR:
    case X86_SAR:
    case X86_ROL:
    case X86_ROR:
    case X86_RCL:
    case X86_RCR:
    case X86_SHLD:
    case X86_SHRD:
    case X86_SETCC:
    case X86_CMOV:
    case X86_BT:
    case X86_BTS:
    case X86_BTR:
    case X86_BTC:
    case X86_XADD:
    case X86_XCHG:
    case X86_CMPXCHG:
    case X86_CMPXCHG2:
    case X86_LAHF:
    case X86_SAHF: return CLASS_SHIFT;
    default: return r->attr & (XA_SSE | XA_AVX | XA_MMX) ? CLASS_VECTOR : CLASS_OTHER_INTEGER;
    }
}

/* Rows whose result or order of faults depends on the processor, or that need a state of their
 * own. */
static bool is_unfit(const X86Row *r)
{
    switch (r->op) {
    case X86_MOVS:
    case X86_CMPS:
    case X86_STOS:
    case X86_LODS:
    case X86_SCAS:
    case X86_VGATHER:
    case X86_VMASKMOV:
    case X86_MASKMOVDQU:
    case X86_MASKMOVQ:
    case X86_XLAT:
    case X86_ENTER:
    case X86_LDMXCSR: return true;
    default:
        return !(r->attr & XA_TEST) ||
               r->attr & (XA_NO64 | XA_X87 | XA_RELAXED | XA_VSIB | XA_END | XA_CPL0);
    }
}

static bool is_memory(const X86Insn *i)
{
    for (unsigned k = 0; k < i->n; k++) {
        if (i->o[k].kind == X86_MEM) {
            return true;
        }
    }
    return false;
}

/* A case that case_generate() would not make either, or that may leave upper halves alone. */
static bool is_unclear(const X86Insn *i)
{
    bool memory = i->o[0].kind == X86_MEM;

    switch (i->row->op) {
    case X86_BT:
    case X86_BTS:
    case X86_BTR:
    case X86_BTC: return memory && i->o[1].kind == X86_GPR; /* a bit anywhere */
    case X86_BSWAP:
    case X86_SHLD:
    case X86_SHRD: return i->opsize == 2;
    case X86_BSF:
    case X86_BSR: return i->opsize == 4;
    case X86_CMPXCHG: return i->opsize == 4 && !memory;
    default: return i->mem.seg != SEG_DS && i->mem.seg != SEG_SS && is_memory(i);
    }
}

/* Does it write one of @kept?  Explicit operands only. */
static bool writes_any(const X86Insn *i, uint16_t kept)
{
    bool two = i->row->op == X86_XCHG || i->row->op == X86_XADD || i->row->op == X86_MOV ||
               i->row->kind == X86K_PASS;

    for (unsigned k = 0; k < (two ? 2u : 1u) && k < i->n; k++) {
        unsigned kind = i->o[k].kind, reg = kind == X86_GPR_HI ? i->o[k].reg & 3 : i->o[k].reg;

        if ((kind == X86_GPR || kind == X86_GPR_HI) && kept >> reg & 1 &&
            !(i->row->op == X86_MOV && k)) {
            return true;
        }
    }
    return false;
}

/* Operands that must be aligned, or should be: split locks are slow. */
static unsigned alignment_of(Seq *s, const X86Row *r)
{
    static const uint8_t some[] = {8, 8, 8, 8, 4, 4, 16, 2, 1, 1};

    if (r->attr & XA_ALIGN) {
        return chance(s, 95) ? 32 : 1;
    }
    return r->op == X86_CMPXCHG2                    ? 16
           : r->attr & XA_LOCK || r->op == X86_XCHG ? 8
                                                    : some[below(s, COUNT_OF(some))];
}

static int64_t pick_distance(Seq *s)
{
    unsigned how = below(s, 100);

    if (how < 75) {
        return (int64_t)below(s, 128) - 48;
    }
    return how < 95 ? (int64_t)below(s, 1280) - 512 : (int64_t)below(s, 6000) - 3000;
}

static MemoryAim pick_aim(Seq *s, const X86Row *r)
{
    MemoryAim m = {.base = (uint8_t)pick_pointer(s), .index = NO_REG};
    uint64_t align = alignment_of(s, r), target;

    if (chance(s, 3)) {
        m.base = NO_REG;
        m.disp = (int32_t)((pick_place(s) + (uint64_t)pick_distance(s)) & ~(align - 1));
        return m;
    }
    target = (s->at[m.base] + (uint64_t)pick_distance(s)) & ~(align - 1);
    m.disp = (int32_t)(target - s->at[m.base]);
    if (chance(s, 4) && s->index != NO_REG) {
        m.index = s->index;
        m.scale = (uint8_t)below(s, 4);
    }
    return m;
}

static bool is_aimed(const X86Insn *i, const MemoryAim *m)
{
    const X86Mem *e = &i->mem;

    return e->base == m->base && e->index == m->index && !e->rip && e->disp == m->disp;
}

/* Follow what the instruction does to pointers by constants. */
static void follow(Seq *s, const X86Insn *i)
{
    if (i->row->op == X86_PUSH) {
        s->at[R_SP] -= i->opsize;
    } else if (i->row->op == X86_POP) {
        s->at[R_SP] += i->opsize;
    }
}

/* A patched count may change whether flags are written; rhea has dropped by then what nobody
 * would have read. */
static bool is_shift(const X86Insn *i)
{
    switch (i->row->op) {
    case X86_SHL:
    case X86_SHR:
    case X86_SAR:
    case X86_ROL:
    case X86_ROR:
    case X86_RCL:
    case X86_RCR:
    case X86_SHLD:
    case X86_SHRD: return true;
    default: return false;
    }
}

static bool take_insn(Seq *s, const CpuCase *t)
{
    const X86Insn *i = &t->insn;
    unsigned last = i->n ? OPD_AT(i->row->opd[i->n - 1]) : AT_NONE;

    memcpy(s->u->code, t->code, t->len);
    s->u->n = (uint8_t)t->len;
    s->u->has_imm = (last == AT_IMM || last == AT_SIMM || last == AT_IMM64) && !is_shift(i);
    s->portable &= i->row->kind != X86K_PASS || ir_pass_rows[i->row->pass].fn;
    follow(s, i);
    return true;
}

static bool make_row(Seq *s)
{
    static const uint8_t classes[] = {
        CLASS_MOVE,  CLASS_MOVE,  CLASS_MOVE,          CLASS_MOVE,   CLASS_MOVE,   CLASS_ALU,
        CLASS_ALU,   CLASS_ALU,   CLASS_ALU,           CLASS_ALU,    CLASS_SHIFT,  CLASS_SHIFT,
        CLASS_SHIFT, CLASS_SHIFT, CLASS_OTHER_INTEGER, CLASS_VECTOR, CLASS_VECTOR, CLASS_VECTOR};

    for (unsigned tries = 0; tries < 12; tries++) {
        unsigned class = classes[below(s, COUNT_OF(classes))];
        const X86Row *r = x86_row(s->rows->rows[class][below(s, s->rows->n[class])]);
        MemoryAim m = pick_aim(s, r);
        CpuCase t;

        if (!insn_generate(&t, r, next(s), &m, s->rows->features) || is_unfit(t.insn.row) ||
            is_unclear(&t.insn)) {
            continue;
        }
        if (is_memory(&t.insn) && !is_aimed(&t.insn, &m)) {
            continue;
        }
        if (t.insn.row->op == X86_LEAVE && !(s->pointers >> R_BP & 1)) {
            continue;
        }
        uint16_t kept = chance(s, 98) ? s->pointers | 1 << R_SP : 0;

        if (!writes_any(&t.insn, kept | s->counters)) {
            return take_insn(s, &t);
        }
    }
    put(s, 0x90);
    return true;
}

/* A move from or to memory at rip + constant. */
static bool make_rip_relative(Seq *s)
{
    static const uint8_t opcodes[] = {0x8b, 0x89, 0x03, 0x01, 0x3b, 0x39, 0x13, 0x11};
    unsigned reg = pick_free(s);

    put(s, 0x40 | below(s, 2) << 3 | (reg & 8) >> 1);
    put(s, opcodes[below(s, COUNT_OF(opcodes))]);
    put(s, 0x05 | (reg & 7) << 3);
    put_fix(s, FIX_RIP, 4, 0, 0, (uint32_t)(pick_place(s) + (uint64_t)pick_distance(s)));
    return true;
}

/* --- pointers --- */

static bool make_move_pointer(Seq *s)
{
    unsigned r = pick_pointer(s);
    int64_t by = chance(s, 70)   ? 8 * ((int64_t)below(s, 16) - 8)
                 : chance(s, 80) ? pick_distance(s)
                                 : (int64_t)below(s, 8192) - 4096;
    bool small = by == (int8_t)by;

    switch (below(s, 6)) {
    case 0:
        by = 1;
        put_reg(s, 0xff, 0, r);
        break;
    case 1:
        by = -1;
        put_reg(s, 0xff, 1, r);
        break;
    case 2:
    case 3: put_mem(s, 0x8d, r, r, by); break;
    default: {
        bool sub = chance(s, 50);

        put_reg(s, small ? 0x83 : 0x81, sub ? 5 : 0, r);
        if (small) {
            put(s, (sub ? -by : by) & 0xff);
            if (sub && by == -128) {
                by = 128; /* its negative does not fit */
            }
        } else {
            put32(s, (uint32_t)(sub ? -by : by));
        }
    }
    }
    s->at[r] += (uint64_t)by;
    return true;
}

/* Another name of a pointer, or a place near it. */
static bool make_copy_pointer(Seq *s)
{
    unsigned from = pick_pointer(s), to = pick_free(s);

    if (chance(s, 50)) {
        put_reg(s, 0x8b, to, from);
        s->at[to] = s->at[from];
    } else {
        int64_t by = pick_distance(s);

        put_mem(s, 0x8d, to, from, by);
        s->at[to] = s->at[from] + (uint64_t)by;
    }
    if (__builtin_popcount(s->pointers) < 6) {
        s->pointers |= (uint16_t)(1 << to);
    }
    return true;
}

/* --- branches --- */

static unsigned ahead(Seq *s)
{
    return s->n + 1 + below(s, chance(s, 80) ? 4 : 10);
}

static void put_jump(Seq *s, unsigned cc, unsigned to) /* cc 16: always */
{
    bool wide = chance(s, 40);

    if (cc == 16) {
        put(s, wide ? 0xe9 : 0xeb);
    } else if (wide) {
        put(s, 0x0f);
        put(s, 0x80 | cc);
    } else {
        put(s, 0x70 | cc);
    }
    put_fix(s, FIX_REL, wide ? 4 : 1, 0, to, 0);
}

static bool make_branch(Seq *s)
{
    unsigned how = below(s, 20);

    if (how < 2) { /* loopne, loope, loop, jrcxz: forward */
        if (s->counters & 1 << R_CX) {
            return false;
        }
        put(s, 0xe0 + below(s, 4));
        put_fix(s, FIX_REL, 1, 0, ahead(s), 0);
        return true;
    }
    put_jump(s, how < 4 ? 16 : below(s, 16), ahead(s));
    return true;
}

static void begin_loop(Seq *s)
{
    Loop *l = &s->loop[s->n_loops];
    uint16_t no_implicit =
        (uint16_t) ~(1 << R_AX | 1 << R_DX | 1 << R_SP | s->pointers | s->counters);
    uint32_t rounds = 1 + below(s, 4);

    if (chance(s, 25) && !s->n_open) {
        l->counter = NO_REG;
        put(s, 0xc7), put(s, 0x04), put(s, 0x25); /* mov dword [COUNTER], rounds */
        put32(s, COUNTER);
        put32(s, rounds);
    } else {
        l->counter = (uint8_t)pick_bit(s, no_implicit);
        s->counters |= (uint16_t)(1 << l->counter);
        if (l->counter & 8) {
            put(s, 0x41);
        }
        put(s, 0xb8 | (l->counter & 7));
        put32(s, rounds);
    }
    l->first = (uint8_t)s->n;
    s->open[s->n_open++] = (uint8_t)s->n_loops++;
}

static void end_loop(Seq *s)
{
    Loop *l = &s->loop[s->open[--s->n_open]];

    l->last = (uint8_t)s->n;
    if (l->counter == NO_REG) {
        put(s, 0xff), put(s, 0x0c), put(s, 0x25); /* dec dword [COUNTER] */
        put32(s, COUNTER);
    } else {
        s->counters &= (uint16_t) ~(1 << l->counter);
        if (l->counter == R_CX && chance(s, 60)) {
            put(s, 0xe2);
            put_fix(s, FIX_REL, 1, 0, l->first + 1u, 0);
            return;
        }
        if (chance(s, 50)) {
            put_reg(s, 0xff, 1, l->counter);
        } else {
            put_reg(s, 0x83, 5, l->counter);
            put(s, 1);
        }
    }
    put_jump(s, 5, l->first + 1u);
}

static bool make_loop(Seq *s)
{
    if (s->n_open && chance(s, 60)) {
        end_loop(s);
    } else if (s->n_open < MOST_LOOPS && s->body_left < 0) {
        begin_loop(s);
    } else {
        return false;
    }
    return true;
}

/* --- calls, indirect jumps --- */

/* mov r, address of unit @to */
static void put_address(Seq *s, unsigned r, unsigned to)
{
    if (r & 8) {
        put(s, 0x41);
    }
    put(s, 0xb8 | (r & 7));
    put_fix(s, FIX_ABS, 4, 0, to, 0);
}

static void put_indirect(Seq *s, unsigned ext, unsigned r) /* call r, jmp r */
{
    if (r & 8) {
        put(s, 0x41);
    }
    put(s, 0xff);
    put(s, 0xc0 | ext << 3 | (r & 7));
}

static bool make_function(Seq *s)
{
    if (s->n_open || s->n + 5 > s->most) {
        return false;
    }
    s->body_left = 1 + (int)below(s, 3);
    s->function = (int)s->n + 1;
    put_jump(s, 16, s->n + 2 + (unsigned)s->body_left); /* around it */
    return true;
}

static bool make_return(Seq *s)
{
    unsigned r = pick_free(s);

    switch (below(s, 6)) {
    case 0: put(s, 0xc2), put(s, 8 * below(s, 3)), put(s, 0); break;
    case 1: /* pop r; jmp r */
        if (r & 8) {
            put(s, 0x41);
        }
        put(s, 0x58 | (r & 7));
        put_indirect(s, 4, r);
        break;
    case 2: /* lea rsp, [rsp + 8]; jmp [rsp - 8] */
        put_mem(s, 0x8d, R_SP, R_SP, 8);
        put(s, 0xff), put(s, 0x64), put(s, 0x24), put(s, 0xf8);
        break;
    default: put(s, 0xc3);
    }
    return true;
}

static bool make_call(Seq *s)
{
    unsigned r = pick_free(s), how = below(s, 4);

    if (s->function < 0 || s->body_left >= 0) {
        return false;
    }
    if (how < 2) {
        put(s, 0xe8);
        put_fix(s, FIX_REL, 4, 0, (unsigned)s->function, 0);
    } else if (how == 2) {
        put_address(s, r, (unsigned)s->function);
        put_indirect(s, 2, r);
    } else { /* push address; call [rsp]; lea rsp, [rsp + 8] */
        put(s, 0x68);
        put_fix(s, FIX_ABS, 4, 0, (unsigned)s->function, 0);
        put(s, 0xff), put(s, 0x14), put(s, 0x24);
        put_mem(s, 0x8d, R_SP, R_SP, 8);
    }
    return true;
}

/* Calls and returns that do not match. */
static bool make_odd_call(Seq *s)
{
    unsigned r = pick_free(s);

    switch (below(s, 4)) {
    case 0: /* call next; pop r */
        put(s, 0xe8);
        put32(s, 0);
        if (r & 8) {
            put(s, 0x41);
        }
        put(s, 0x58 | (r & 7));
        break;
    case 1: /* push address; ret */
        put(s, 0x68);
        put_fix(s, FIX_ABS, 4, 0, ahead(s), 0);
        put(s, 0xc3);
        break;
    case 2: /* call next; mov qword [rsp], address; ret */
        put(s, 0xe8);
        put32(s, 0);
        put(s, 0x48), put(s, 0xc7), put(s, 0x04), put(s, 0x24);
        put_fix(s, FIX_ABS, 4, 0, ahead(s), 0);
        put(s, 0xc3);
        break;
    default: /* call ahead, which nobody returns from */
        put(s, 0xe8);
        put_fix(s, FIX_REL, 4, 0, ahead(s), 0);
        s->at[R_SP] -= 8;
    }
    return true;
}

static bool make_indirect(Seq *s)
{
    unsigned r = pick_free(s);

    if (chance(s, 60)) {
        put_address(s, r, ahead(s));
        put_indirect(s, 4, r);
        return true;
    }
    unsigned base = pick_pointer(s);
    uint64_t target = (s->at[base] + (uint64_t)pick_distance(s)) & ~7ull;

    put_mem(
        s, 0xc7, 0, base,
        (int64_t)(target - s->at[base])); /* mov qword [base + disp], address; jmp [base + disp] */
    put_fix(s, FIX_ABS, 4, 0, ahead(s), 0);
    put_mem(s, 0xff, 4, base, (int64_t)(target - s->at[base]));
    return true;
}

/* --- other units --- */

static bool make_string(Seq *s)
{
    static const uint8_t opcodes[] = {0xa4, 0xa5, 0xa5, 0xaa, 0xab, 0xac,
                                      0xad, 0xae, 0xaf, 0xa6, 0xa7};
    static const uint8_t regs[] = {R_SI, R_DI};

    if (s->counters & (1 << R_CX | 1 << R_SI | 1 << R_DI)) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned from = pick_pointer(s);
        int64_t by = pick_distance(s);

        put_mem(s, 0x8d, regs[i], from, by);
        s->at[regs[i]] = s->at[from] + (uint64_t)by;
    }
    put(s, 0xb9); /* mov ecx */
    put32(s, below(s, chance(s, 90) ? 24 : 600));
    if (chance(s, 60)) {
        put(s, chance(s, 50) ? 0xf3 : 0xf2);
    }
    if (chance(s, 40)) {
        put(s, 0x48);
    }
    put(s, opcodes[below(s, COUNT_OF(opcodes))]);
    return true;
}

/* mov eax, x; cdq or xor edx, edx; div or idiv */
static bool make_division(Seq *s)
{
    unsigned r = below(s, 16);
    bool idiv = chance(s, 50);

    if (s->counters & (1 << R_AX | 1 << R_DX) || s->pointers & (1 << R_AX | 1 << R_DX)) {
        return false;
    }
    put(s, 0xb8);
    put32(s, (uint32_t)next(s));
    if (idiv) {
        put(s, 0x99);
    } else {
        put(s, 0x31), put(s, 0xd2);
    }
    if (chance(s, 50)) {
        unsigned base = pick_pointer(s);

        put_mem(s, 0xf7, idiv ? 7 : 6, base, pick_distance(s));
    } else {
        put_reg(s, 0xf7, idiv ? 7 : 6, r);
    }
    if (chance(s, 80)) { /* its flags are undefined */
        put_reg(s, 0x3b, R_AX, r);
    }
    return true;
}

/* A store into the immediate operand of some unit; finish_patches() says which. */
static bool make_patch(Seq *s)
{
    unsigned how = below(s, 4), r = below(s, 16);

    switch (how) {
    case 0: put(s, 0xc6), put(s, 0x05); break; /* mov byte [rip + x], imm8 */
    case 1: put(s, 0x80), put(s, 0x35); break; /* xor */
    case 2: put(s, 0xfe), put(s, 0x05); break; /* inc */
    default:
        put(s, 0x40 | (r & 8) >> 1), put(s, 0x88),
            put(s, 0x05 | (r & 7) << 3); /* mov byte [rip + x], r */
    }
    put_fix(s, FIX_IMM, 4, how < 2, 0, 0);
    if (how < 2) {
        put(s, below(s, 256));
    }
    if (chance(s, 60)) { /* processors see it without, too */
        put(s, 0xeb), put(s, 0);
    }
    return true;
}

static bool make_flags(Seq *s)
{
    static const uint8_t plain[] = {0xf5, 0xf8, 0xf9, 0xfc, 0x9f};
    unsigned how = below(s, 10), r = pick_free(s);

    if (how < 6) {
        put(s, plain[below(s, COUNT_OF(plain))]);
    } else if (how == 6) {
        put(s, 0xfd);      /* std */
    } else if (how == 7) { /* push image; popf */
        put(s, 0x68);
        put32(s, (uint32_t)(next(s) & 0xcd5) | 0x202);
        put(s, 0x9d);
    } else { /* pushf; and qword [rsp], arithmetic and DF; pop r */
        put(s, 0x9c), put(s, 0x48), put(s, 0x81), put(s, 0x24), put(s, 0x24);
        put32(s, 0xcd5);
        if (r & 8) {
            put(s, 0x41);
        }
        put(s, 0x58 | (r & 7));
    }
    return true;
}

static bool make_trap(Seq *s)
{
    if (chance(s, 85)) {
        return false;
    }
    if (chance(s, 50)) {
        put(s, 0x0f), put(s, 0x0b); /* ud2 */
    } else {
        put(s, 0xf4); /* hlt */
    }
    return true;
}

/* --- a whole program --- */

static const struct {
    uint8_t weight;
    bool (*make)(Seq *s); /* false: not here */
} makers[] = {
    {120, make_row},    {16, make_move_pointer}, {4, make_copy_pointer}, {3, make_rip_relative},
    {16, make_branch},  {9, make_loop},          {3, make_function},     {7, make_call},
    {3, make_odd_call}, {4, make_indirect},      {4, make_string},       {2, make_division},
    {5, make_patch},    {4, make_flags},         {1, make_trap},
};

static void make_unit(Seq *s)
{
    s->u = &s->unit[s->n];
    if (s->body_left >= 0 && s->body_left-- == 0) {
        make_return(s);
        s->n++;
        return;
    }
    if (s->n_open && s->n + s->n_open >= s->most) {
        end_loop(s);
        s->n++;
        return;
    }
    do {
        unsigned total = 0, at, i = 0;

        for (unsigned k = 0; k < COUNT_OF(makers); k++) {
            total += makers[k].weight;
        }
        at = below(s, total);
        while (at >= makers[i].weight) {
            at -= makers[i++].weight;
        }
        memset(s->u, 0, sizeof(*s->u));
        if (makers[i].make(s)) {
            s->n++;
            return;
        }
    } while (true);
}

/* Stores into code get a target, if there is one. */
static void finish_patches(Seq *s)
{
    uint8_t targets[SEQUENCE_MOST];
    unsigned n = 0;

    for (unsigned i = 0; i < s->n; i++) {
        if (s->unit[i].has_imm) {
            targets[n++] = (uint8_t)i;
        }
    }
    for (unsigned i = 0; i < s->n; i++) {
        Unit *u = &s->unit[i];

        if (u->n_fixes && u->fix[0].kind == FIX_IMM) {
            if (n) {
                u->fix[0].to = targets[below(s, n)];
            } else {
                *u = (Unit){.code = {0x90}, .n = 1};
            }
        }
    }
}

/* Nothing jumps into a loop but to its first unit. */
static void finish_jumps(Seq *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        for (unsigned k = 0; k < s->unit[i].n_fixes; k++) {
            Fix *f = &s->unit[i].fix[k];

            for (unsigned l = s->n_loops; l-- > 0;) { /* inner ones first */
                const Loop *p = &s->loop[l];

                if (f->kind <= FIX_ABS && f->to > p->first && f->to <= p->last &&
                    (i <= p->first || i > p->last)) {
                    f->to = p->first;
                }
            }
        }
    }
}

static void pick_registers(Seq *s, CpuState *in)
{
    static const uint8_t likely[] = {R_BX, R_BP, R_SI, R_DI, 8,  9,    10,
                                     11,   12,   13,   14,   15, R_AX, R_DX};
    unsigned n = 1 + below(s, 4);

    s->pointers = chance(s, 40) ? 1 << R_SP : 0;
    while (n--) {
        s->pointers |= (uint16_t)(1 << likely[below(s, COUNT_OF(likely))]);
    }
    s->at[R_SP] = in->r[R_SP];
    for (unsigned r = 0; r < 16; r++) {
        if (s->pointers >> r & 1 && (r != R_SP || chance(s, 20))) {
            s->at[r] = in->r[r] = pick_place(s);
        }
    }
    s->last_base = (uint8_t)pick_bit(s, s->pointers);
    s->index = (uint8_t)pick_free(s);
    in->r[s->index] = (uint64_t)((int64_t)below(s, 32) - 16);
}

/* Offsets of units without the @dropped; returns the length. */
static unsigned lay_out(const Seq *s, uint32_t dropped, uint16_t *start)
{
    unsigned at = 0;

    for (unsigned i = 0; i < s->n; i++) {
        start[i] = (uint16_t)at;
        at += dropped >> i & 1 ? 0 : s->unit[i].n;
    }
    start[s->n] = (uint16_t)at;
    start[s->n + 1] = (uint16_t)(at + 2);
    return at + 2;
}

/* Where the program shall be (@len bytes at most): in the middle of a page, across the boundary,
 * or cut off by the end of the pages. */
static uint64_t pick_code(Seq *s, unsigned len)
{
    unsigned how = below(s, 100), cut = below(s, len);

    return how < 65   ? CODE + below(s, 64)
           : how < 97 ? CODE_PAGE + 0x1000 - cut
                      : CODE_PAGE + CODE_SIZE - 1 - cut;
}

/* Write the field of @f into unit @i, which is at @p; false: it does not fit. */
static bool fix(const Seq *s, const Sequence *q, unsigned i, const Fix *f, uint8_t *p)
{
    unsigned to = MIN((unsigned)f->to, s->n);
    uint64_t end = q->program.at + q->start[i] + f->at + f->size + f->tail;
    uint64_t target = q->program.at + q->start[to];
    uint32_t v;

    memcpy(&v, p + f->at, sizeof(v));
    switch (f->kind) {
    case FIX_ABS: v = (uint32_t)target; break;
    case FIX_IMM: v = (uint32_t)(target + s->unit[to].n - 1 - end); break;
    case FIX_RIP: v -= (uint32_t)end; break;
    default: v = (uint32_t)(target - end);
    }
    memcpy(p + f->at, &v, f->size);
    return f->size == 4 || (int32_t)v == (int8_t)v;
}

/* Nothing that could call the host's kernel, whatever is jumped to: SYSCALL, SYSENTER, INT. */
static bool is_harmless(const CpuProgram *p)
{
    for (unsigned i = 0; i + 1 < p->len; i++) {
        unsigned two = p->code[i] << 8 | p->code[i + 1];

        if (two == 0x0f05 || two == 0x0f34 || two == 0xcd80) {
            return false;
        }
    }
    return true;
}

static bool assemble(Seq *s, Sequence *out, uint32_t dropped)
{
    CpuProgram *p = &out->program;
    unsigned whole = lay_out(s, 0, out->start);

    p->at = pick_code(s, whole);
    p->len = lay_out(s, dropped, out->start);
    if (whole > PROGRAM_MAX) {
        return false;
    }
    for (unsigned i = 0; i < s->n; i++) {
        const Unit *u = &s->unit[i];

        if (dropped >> i & 1) {
            continue;
        }
        memcpy(p->code + out->start[i], u->code, u->n);
        for (unsigned k = 0; k < u->n_fixes; k++) {
            const Fix *f = &u->fix[k];

            out->patched |= f->kind == FIX_IMM ? 1u << f->to : 0;
            if ((f->kind == FIX_IMM && dropped >> f->to & 1) ||
                !fix(s, out, i, f, p->code + out->start[i])) {
                return false;
            }
        }
    }
    p->code[p->len - 2] = 0xeb;
    p->code[p->len - 1] = 0;
    out->n = s->n;
    out->portable = s->portable;
    return is_harmless(p);
}

bool sequence_generate(Sequences *rows, Sequence *out, CpuState *in, uint64_t seed,
                       uint32_t dropped)
{
    Seq s = {.state = mix64(seed), .rows = rows, .function = -1, .body_left = -1, .portable = true};

    memset(out, 0, sizeof(*out));
    state_generate(in, mix64(~seed), NULL);
    pick_registers(&s, in);
    s.most = 2 + below(&s, SEQUENCE_MOST - 1);
    while (s.n < s.most) {
        make_unit(&s);
    }
    finish_patches(&s);
    finish_jumps(&s);
    if (!assemble(&s, out, dropped)) {
        return false;
    }
    in->rip = out->program.at;
    return true;
}

Sequences *sequences_new(const uint64_t *features)
{
    Sequences *s = xnew(Sequences);

    s->features = features;
    for (unsigned i = 0; i < x86_row_count(); i++) {
        const X86Row *r = x86_row(i);

        if (!is_unfit(r) && x86_has(features, r->feature)) {
            unsigned class = class_of(r);

            if (s->n[class] < MOST_ROWS) {
                s->rows[class][s->n[class]++] = (uint16_t)i;
            }
        }
    }
    return s;
}

void sequences_free(Sequences *s)
{
    xfree(s);
}
