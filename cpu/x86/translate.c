/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate - x86 blocks: fetch, decode, checks common to all instructions, where blocks end
 *
 * Invariants:
 *  1. A block covers bytes of one page, or of two if its first instruction (or one in a shadow)
 *     crosses the border.
 *  2. A block whose mode has TR_STEP holds one instruction, followed by hlp_step.
 *  3. Except under TR_STEP the instruction behind STI and MOV SS is in the same block and followed
 *     by hlp_unshadow; where that cannot be, there is no shadow.  So no block begins in a shadow.
 */
#include "cpu/x86/translate.h"

#include "cpu/x86/translate_priv.h"

enum { PAGE = 4096, INSN_MAX = 15 };
enum { FETCH_BEYOND = -1 }; /* beside X86_DECODE_x: the segment ends in or before the instruction */

/* Bytes at the present end of the block; *n of them are there.  @want_next: look at the next
 * page too. */
static const uint8_t *block_bytes(IrBlock *b, bool want_next, uint8_t buf[INSN_MAX], size_t *n)
{
    unsigned at = (unsigned)(b->linear % PAGE) + b->size, page = at / PAGE, left = PAGE - at % PAGE;
    const uint8_t *p = b->code[page] + at % PAGE;

    *n = left;
    if (left >= INSN_MAX || !want_next || page > 0)
        return p;
    if (!b->code[1])
        b->code[1] = b->next_page(b);
    if (!b->code[1])
        return p;
    memcpy(buf, p, left);
    memcpy(buf + left, b->code[1], INSN_MAX - left);
    *n = INSN_MAX;
    return buf;
}

/* Block offset behind which no instruction may begin. */
static unsigned block_limit(const IrBlock *b)
{
    unsigned at = (unsigned)(b->linear % PAGE);

    return (at + b->size > PAGE ? 2 * PAGE : PAGE) - at;
}

/* Bytes that the segment has from the next instruction on, or enough. */
static size_t segment_room(const Tr *t)
{
    return t->next > t->limit ? 0 : (size_t)MIN(t->limit - t->next, (uint64_t)PAGE) + 1;
}

/* x86_decode() of the @n bytes at @p, as far as the segment goes. */
static int decode(const Tr *t, X86Insn *i, const uint8_t *p, size_t n)
{
    size_t room = segment_room(t);
    X86Cpu *x = X86(t->c);
    int result = x86_decode_quick(x->shapes, i, p, MIN(n, room), t->mode, x->features);

    return result == X86_DECODE_SHORT && room <= n ? FETCH_BEYOND : result;
}

/*
 * Decode the next instruction.  Returns false if the block must end before it: it crosses the page
 * and is not the first one (unless @cross), or its second page is not there.
 */
static bool fetch(Tr *t, X86Insn *i, int *result, bool cross)
{
    IrBlock *b = t->b;
    uint8_t buf[INSN_MAX];
    size_t n;
    const uint8_t *p;

    if (b->size && (b->linear + b->size) % PAGE == 0) { /* exactly at a border: only in a shadow */
        if (!cross || !segment_room(t) || b->linear % PAGE + b->size > PAGE)
            return false;
        if (!b->code[1])
            b->code[1] = b->next_page(b);
        if (!b->code[1])
            return false;
    }
    p = block_bytes(b, false, buf, &n);
    *result = decode(t, i, p, n);
    if (*result != X86_DECODE_SHORT)
        return true;
    if (b->size && !cross)
        return false;
    p = block_bytes(b, true, buf, &n);
    *result = decode(t, i, p, n);
    return *result != X86_DECODE_SHORT;
}

/* #UD and #NM as control registers demand. */
static bool unit_is_off(const Tr *t, uint32_t attr)
{
    uint32_t off = 0;

    if (attr & XA_SSE)
        off |= (~t->mode & MODE_OSFXSR) | (t->mode & (MODE_EM | MODE_TS));
    if (attr & XA_AVX)
        off |= (~t->mode & MODE_AVX) | (t->mode & MODE_TS);
    if (attr & (XA_X87 | XA_MMX))
        off |= t->mode & (MODE_EM | MODE_TS);
    return off;
}

/* Faults that the mode alone decides.  Returns true if there was one. */
static bool check_rights(Tr *t, const X86Insn *i)
{
    uint32_t attr = i->row->attr;

    if ((attr & XA_PROT) && !tr_is_protected(t)) {
        tr_raise(t, EX_UD);
    } else if (unit_is_off(t, attr)) {
        tr_call(t, hlp_fpu_check, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE,
                attr & (XA_SSE | XA_AVX | XA_X87 | XA_MMX));
        tr_end_raised(t);
    } else if ((attr & XA_CPL0) && tr_cpl(t)) {
        tr_raise(t, EX_GP);
    } else {
        return false;
    }
    return true;
}

static void translate_insn(Tr *t, const X86Insn *i, int result)
{
    const TrRow *row;

    if (result == X86_DECODE_LONG || result == FETCH_BEYOND) {
        tr_raise(t, EX_GP);
        return;
    }
    if (result != X86_DECODE_OK) {
        tr_raise(t, EX_UD);
        return;
    }
    if (check_rights(t, i))
        return;
    if (i->row->kind == X86K_PASS) {
        tr_pass(t, i);
        return;
    }
    row = &tr_rows[i->row->op];
    assert(row->fn); /* the unit test looks at every row */
    row->fn(t, i, row->arg);
}

/*
 * What may be translated in the shadow of MOV SS, under a mode that the segment load may have
 * changed: moves, with nothing taken for flat.
 */
static bool is_shadow_move(const X86Insn *i, int result)
{
    return result == X86_DECODE_OK && i->row->op == X86_MOV && i->o[0].kind == X86_GPR &&
           (i->o[1].kind == X86_GPR || i->o[1].kind == X86_IMM || i->o[1].kind == X86_MEM);
}

static void end_shadow(Tr *t)
{
    tr_call(t, hlp_unshadow, IRC_FAST, V_NONE, V_NONE, V_NONE, 0);
    t->shadow_next = SHADOW_NONE;
    tr_end_exit(t);
}

static void step(Tr *t)
{
    X86Insn i;
    int result;
    IrBlock *b = t->b;
    bool shadow = t->shadow_next, mov_ss = t->shadow_next == SHADOW_SS;
    uint32_t mode = t->mode;

    if ((UNLIKELY(b->stop) && b->size >= b->stop) || !fetch(t, &i, &result, shadow) ||
        (mov_ss && !tr_is64(t) && !is_shadow_move(&i, result))) {
        if (shadow)
            end_shadow(t);
        else
            tr_end_next(t);
        return;
    }
    t->pc = t->next;
    t->shadow = shadow;
    t->shadow_next = SHADOW_NONE;
    if (mov_ss)
        t->mode &= ~(uint32_t)(MODE_FLAT | MODE_FLAT_FSGS | MODE_FLAT_CS);
    ir_insn(b, t->pc);
    if (result == X86_DECODE_OK) {
        b->size += i.len;
        t->next = tr_is64(t) ? t->pc + i.len : (t->pc + i.len) & 0xffffffff;
    } else { /* all that was looked at */
        b->size += result == X86_DECODE_LONG ? INSN_MAX
                   : result == FETCH_BEYOND  ? (unsigned)segment_room(t)
                                             : i.len;
        b->size = MAX(b->size, 1u);
    }
    translate_insn(t, &i, result);
    t->mode = mode;
    if (t->ended)
        return;
    if (t->shadow || (mode & TR_STEP))
        tr_end_exit(t);
    else if (!t->shadow_next && (b->n_insns >= b->max_insns || b->size >= block_limit(b)))
        tr_end_next(t);
}

void x86_translate(Cpu *c, IrBlock *b)
{
    Tr t = {.c = c,
            .b = b,
            .mode = b->mode,
            .pc = b->pc,
            .next = b->pc,
            .limit = b->mode & MODE_FLAT_CS ? UINT64_MAX : c->code_limit};

    b->size = 0;
    b->n_insns = 0;
    while (!t.ended)
        step(&t);
}

/* Flags that @i certainly writes. */
static uint16_t flags_written(const X86Insn *i)
{
    const X86Operand *last = &i->o[i->n ? i->n - 1 : 0];
    bool is_count = tr_rows[i->row->op].fn == tr_shift || tr_rows[i->row->op].fn == tr_shift_double;

    if (i->row->kind == X86K_TR && is_count && i->n > 1 &&
        (last->kind != X86_IMM || !(last->imm & (i->o[0].size == 8 ? 63 : 31))))
        return 0;
    return i->row->fl_out | i->row->fl_undef;
}

uint16_t x86_flags_dead(X86Shapes *shapes, const uint8_t *code, size_t n, uint32_t mode,
                        const uint64_t *features)
{
    enum { LOOK_AHEAD = 6, MOST = 32, DECODER_READS = 48 };
    uint8_t buf[MOST + DECODER_READS];
    const uint8_t *p = buf, *end = buf + MIN(n, (size_t)MOST);
    uint16_t dead = 0, read = 0;

    if (n >= MOST)
        memcpy(buf, code, MOST);
    else
        memcpy(buf, code, n);
    memset(buf + (end - buf), 0, DECODER_READS);
    for (unsigned count = 0; count < LOOK_AHEAD; count++) {
        X86Insn i;

        if (x86_decode_quick(shapes, &i, p, DECODER_READS, mode, features) != X86_DECODE_OK ||
            i.len > end - p)
            break;
        read |= i.row->fl_in;
        if (i.rep || (i.row->attr & (XA_END | XA_CPL0)))
            break;
        dead |= flags_written(&i) & ~read;
        if ((dead | read) == FL_ALL)
            break;
        p += i.len;
    }
    return dead;
}

uint16_t x86_flags_dead_hook(Cpu *c, const uint8_t *code, size_t n, Gva pc, uint32_t mode)
{
    if (!(mode & MODE_FLAT_CS)) /* a fault at the end of the segment shows flags */
        n = pc > c->code_limit ? 0 : MIN(n, (size_t)(c->code_limit - pc) + 1);
    return x86_flags_dead(X86(c)->shapes, code, n, mode, X86(c)->features);
}
