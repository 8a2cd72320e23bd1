/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_string - string instructions (SDM volume 1 chapter 7.3.9)
 *
 * Single ones are inline; repeated ones are helpers that work a page at a time and ask to be called
 * again (the block branches back to the instruction) when an interrupt may be due.
 */
#include "cpu/x86/translate_priv.h"

static unsigned element_size(const X86Insn *i)
{
    return i->opcode & 1 ? i->opsize : 1;
}

static MemRef source(Tr *t, const X86Insn *i)
{
    return tr_mem_implicit(t, i->mem.seg, V_R(R_SI), 0, i->adsize, element_size(i), TR_READ);
}

static MemRef destination(Tr *t, const X86Insn *i, unsigned access)
{
    return tr_mem_implicit(t, SEG_ES, V_R(R_DI), 0, i->adsize, element_size(i), access);
}

static void advance(Tr *t, const X86Insn *i, uint8_t reg)
{
    int64_t n = element_size(i);

    tr_add_reg(t, V_R(reg), t->mode & MODE_DF ? -n : n, i->adsize);
}

static IrOp *compare(Tr *t, const X86Insn *i, uint8_t a)
{
    MemRef m = destination(t, i, TR_READ);
    IrOp *o = ir_add(t->b, IR_CMP, tr_type(element_size(i)));

    o->a = a;
    tr_use_b(o, &m, element_size(i));
    tr_flags(o, i);
    return o;
}

static void movs(Tr *t, const X86Insn *i)
{
    MemRef from = source(t, i), to;
    uint8_t v = tr_load(t, &from, element_size(i));

    to = destination(t, i, TR_WRITE);
    tr_store(t, &to, v, element_size(i));
    advance(t, i, R_SI);
    advance(t, i, R_DI);
}

static void stos(Tr *t, const X86Insn *i)
{
    MemRef to = destination(t, i, TR_WRITE);

    tr_store(t, &to, V_R(R_AX), element_size(i));
    advance(t, i, R_DI);
}

static void lods(Tr *t, const X86Insn *i)
{
    MemRef from = source(t, i);
    IrOp *o = ir_add(t->b, IR_MOV, tr_type(element_size(i)));

    o->d = V_R(R_AX);
    tr_use_b(o, &from, element_size(i));
    advance(t, i, R_SI);
}

static void cmps(Tr *t, const X86Insn *i)
{
    MemRef from = source(t, i);

    compare(t, i, tr_load(t, &from, element_size(i)));
    advance(t, i, R_SI);
    advance(t, i, R_DI);
}

static void scas(Tr *t, const X86Insn *i)
{
    compare(t, i, V_R(R_AX));
    advance(t, i, R_DI);
}

static uint64_t pack(const X86Insn *i, unsigned size)
{
    return size | (uint64_t)i->adsize << 8 | (uint64_t)i->rep << 16 | (uint64_t)i->mem.seg << 24 |
           (uint64_t)i->len << 32;
}

/* @arg: opcode of the byte form: A4 MOVS, A6 CMPS, AA STOS, AC LODS, AE SCAS. */
void tr_string(Tr *t, const X86Insn *i, unsigned arg)
{
    static const struct {
        uint8_t opcode;
        bool flags;
        void (*one)(Tr *, const X86Insn *);
        IrHelper *rep;
    } kinds[] = {
        {0xa4, false, movs, hlp_movs}, {0xa6, true, cmps, hlp_cmps}, {0xaa, false, stos, hlp_stos},
        {0xac, false, lods, hlp_lods}, {0xae, true, scas, hlp_scas},
    };
    unsigned n = 0;
    uint8_t again;

    while (kinds[n].opcode != arg)
        n++;
    if (!i->rep) {
        kinds[n].one(t, i);
        return;
    }
    again = ir_temp(t->b);
    tr_call(t, kinds[n].rep,
            IRC_FAST | IRC_PC | (kinds[n].flags ? IRC_FLAGS_IN | IRC_FLAGS_OUT : 0), again, V_NONE,
            V_NONE, pack(i, element_size(i)));
    tr_end_brz(t, true, I64, again, t->pc);
}

/* INS (@arg 0), OUTS (1): always helpers. */
void tr_port_string(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t again = ir_temp(t->b);

    tr_call(t, arg ? hlp_outs : hlp_ins, IRC_PC, again, V_NONE, V_NONE,
            pack(i, MIN(element_size(i), 4u)));
    if (i->rep)
        tr_end_brz(t, true, I64, again, t->pc);
    else
        tr_end_exit(t);
}
