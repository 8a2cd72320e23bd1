/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_system - system instructions, ports, fences (SDM volume 3 chapter 2.8; volume 1
 * chapters 7.3.10, 7.3.14 to 7.3.17)
 *
 * Nearly all of them are calls of helpers.
 */
#include "cpu/x86/translate_priv.h"

/* Calls without operands. */
void tr_call_plain(Tr *t, const X86Insn *i, unsigned arg)
{
    static const struct {
        IrHelper *fn;
        uint8_t irc, k, end;
    } calls[] = {
        [TRP_CLI] = {hlp_cli, IRC_FAST | IRC_PC, 0, 'n'},
        [TRP_CLTS] = {hlp_clts, IRC_FAST, 0, 'x'},
        [TRP_SWAPGS] = {hlp_swapgs, IRC_FAST, 0, 'n'},
        [TRP_CPUID] = {hlp_cpuid, IRC_FAST, 0, 'n'},
        [TRP_RDPMC] = {hlp_rdpmc, IRC_PC, 0, 'n'},
        [TRP_RDMSR] = {hlp_rdmsr, IRC_FAST | IRC_PC, 0, 'n'},
        [TRP_WRMSR] = {hlp_wrmsr, IRC_FAST | IRC_PC, 0, 'x'},
        [TRP_CLAC] = {hlp_clac, IRC_FAST, 0, 'n'},
        [TRP_STAC] = {hlp_clac, IRC_FAST, 1, 'n'},
        [TRP_RDPKRU] = {hlp_rdpkru, IRC_PC, 0, 'n'},
        [TRP_WRPKRU] = {hlp_wrpkru, IRC_PC, 0, 'x'},
        [TRP_XGETBV] = {hlp_xgetbv, IRC_FAST | IRC_PC, 0, 'n'},
        [TRP_XSETBV] = {hlp_xsetbv, IRC_PC, 0, 'x'},
        [TRP_RSM] = {hlp_rsm, IRC_PC, 0, 'l'},
    };

    (void)i;
    if ((arg == TRP_XGETBV || arg == TRP_XSETBV) && !(t->mode & MODE_OSXSAVE)) {
        tr_raise(t, EX_UD);
        return;
    }
    tr_call(t, calls[arg].fn, calls[arg].irc, V_NONE, V_NONE, V_NONE, calls[arg].k);
    if (calls[arg].end == 'x')
        tr_end_exit(t);
    else if (calls[arg].end == 'l')
        tr_end_leave(t);
}

void tr_sti(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    tr_call(t, hlp_sti, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE, 0);
    t->shadow_next = SHADOW_STI;
}

/* CLD (@arg 0), STD (1): DF is part of the mode. */
void tr_cld(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i;
    if (!(t->mode & MODE_DF) == !arg)
        return;
    tr_call(t, hlp_cld, IRC_FAST, V_NONE, V_NONE, V_NONE, arg);
    tr_end_exit(t);
}

void tr_in(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t port = tr_read(t, i, &i->o[1]), v = ir_temp(t->b);

    (void)arg;
    tr_call(t, hlp_in, IRC_PC, v, port, V_NONE, i->o[0].size);
    tr_mov(t, tr_type(i->o[0].size), V_R(R_AX), v);
}

/* A write to a port may change anything: A20, reset, interrupts. */
void tr_out(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t port = tr_read(t, i, &i->o[0]);

    (void)arg;
    tr_call(t, hlp_out, IRC_PC, V_NONE, port, V_R(R_AX), i->o[1].size);
    tr_end_exit(t);
}

/* No interrupt is looked at between STI and HLT in one block, so the shadow may end here. */
void tr_hlt(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    if (t->shadow)
        tr_call(t, hlp_unshadow, IRC_FAST, V_NONE, V_NONE, V_NONE, 0);
    tr_call(t, hlp_hlt, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE, t->next);
    tr_end_raised(t);
}

void tr_mov_cr(Tr *t, const X86Insn *i, unsigned arg)
{
    bool is_write = i->o[0].kind == X86_CR;
    unsigned cr = i->o[is_write ? 0 : 1].reg;
    X86Operand gpr = i->o[is_write ? 1 : 0];
    uint8_t v;

    (void)arg;
    gpr.size = tr_is64(t) ? 8 : 4;
    if (is_write) {
        v = tr_read(t, i, &gpr);
        tr_call(t, hlp_write_cr, IRC_FAST | IRC_PC, V_NONE, v, V_NONE, cr);
        if (cr != 8)
            tr_end_exit(t);
    } else {
        v = ir_temp(t->b);
        tr_call(t, hlp_read_cr, IRC_FAST, v, V_NONE, V_NONE, cr);
        tr_write(t, i, &gpr, v);
    }
}

void tr_mov_dr(Tr *t, const X86Insn *i, unsigned arg)
{
    bool is_write = i->o[0].kind == X86_DR;
    unsigned dr = i->o[is_write ? 0 : 1].reg;
    X86Operand gpr = i->o[is_write ? 1 : 0];
    uint8_t v;

    (void)arg;
    gpr.size = tr_is64(t) ? 8 : 4;
    if (is_write) {
        v = tr_read(t, i, &gpr);
        tr_call(t, hlp_write_dr, IRC_PC, V_NONE, v, V_NONE, dr);
        tr_end_exit(t);
    } else {
        v = ir_temp(t->b);
        tr_call(t, hlp_read_dr, IRC_PC, v, V_NONE, V_NONE, dr);
        tr_write(t, i, &gpr, v);
    }
}

static bool is_umip_fault(Tr *t)
{
    if (!(t->mode & MODE_UMIP) || tr_cpl(t) == 0)
        return false;
    tr_raise(t, EX_GP);
    return true;
}

/* LGDT, LIDT (@arg 0, 1), SGDT, SIDT (2, 3). */
void tr_table(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = tr_is64(t) ? 8 : i->opsize;
    uint8_t a;

    if (arg >= 2 && is_umip_fault(t))
        return;
    a = tr_linear(t, i, tr_is64(t) ? 10 : 6, arg >= 2 ? TR_WRITE : TR_READ);
    tr_call(t, arg >= 2 ? hlp_sgdt : hlp_lgdt, IRC_PC, V_NONE, a, V_NONE,
            (arg & 1) | os << 8 | (unsigned)i->adsize << 16);
}

/* Linear address of an operand that is not accessed. */
static uint8_t linear_unchecked(Tr *t, const X86Insn *i)
{
    MemRef m = tr_ea(t, i), sum = {.asize = tr_is64(t) ? 8 : 4};

    if (tr_is64(t) && m.seg < SEG_FS)
        return tr_lea(t, &m);
    sum.base = tr_lea(t, &m);
    sum.index = V_SEG(m.seg);
    return tr_lea(t, &sum);
}

void tr_invlpg(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_invlpg, IRC_FAST, V_NONE, linear_unchecked(t, i), V_NONE, 0);
    tr_end_exit(t);
}

void tr_invpcid(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand type = i->o[0];
    uint8_t desc = tr_linear(t, i, 16, TR_READ), v;

    (void)arg;
    type.size = tr_is64(t) ? 8 : 4;
    v = tr_read(t, i, &type);
    tr_call(t, hlp_invpcid, IRC_FAST | IRC_PC, V_NONE, v, desc, 0);
    tr_end_exit(t);
}

void tr_lmsw(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand x = i->o[0];
    uint8_t v;

    (void)arg;
    x.size = 2;
    v = tr_read(t, i, &x);
    tr_call(t, hlp_lmsw, IRC_PC, V_NONE, v, V_NONE, 0);
    tr_end_exit(t);
}

/* SLDT, STR (@arg: the segment), SMSW (@arg 0): memory takes 16 bits. */
void tr_sldt(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand x = i->o[0];
    uint8_t v;

    if (is_umip_fault(t))
        return;
    if (x.kind == X86_MEM)
        x.size = 2;
    v = ir_temp(t->b);
    tr_call(t, arg ? hlp_sel : hlp_read_cr, IRC_FAST, v, V_NONE, V_NONE, arg);
    tr_write(t, i, &x, v);
}

/* LLDT (@arg SEG_LDT), LTR (SEG_TR). */
void tr_lldt(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand x = i->o[0];
    uint8_t v;

    x.size = 2;
    v = tr_read(t, i, &x);
    tr_call(t, arg == SEG_LDT ? hlp_lldt : hlp_ltr, IRC_PC, V_NONE, v, V_NONE, 0);
}

/* LAR (@arg 0), LSL (1). */
void tr_lar(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand x = i->o[1];
    uint8_t sel, v = ir_temp(t->b);

    x.size = 2;
    sel = tr_read(t, i, &x);
    tr_call(t, arg ? hlp_lsl : hlp_lar, IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, v, sel,
            V_R(i->o[0].reg), i->opsize);
    tr_mov(t, tr_type(i->opsize), V_R(i->o[0].reg), v);
}

/* VERR (@arg 0), VERW (1). */
void tr_verr(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand x = i->o[0];
    uint8_t v;

    x.size = 2;
    v = tr_read(t, i, &x);
    tr_call(t, hlp_verr, IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, V_NONE, v, V_NONE, arg);
}

/* The value is stored first, since the store may fault, then come the flags. */
void tr_arpl(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW);
    uint8_t old = d.kind == VAL_MEM ? tr_load(t, &d.mem, 2) : d.reg, v = ir_temp(t->b),
            src = V_R(i->o[1].reg);

    (void)arg;
    if (d.kind == VAL_MEM) {
        tr_call(t, hlp_arpl_value, IRC_FAST, v, old, src, 0);
        tr_store(t, &d.mem, v, 2);
    }
    tr_call(t, hlp_arpl, IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, v, old, src, 0);
    if (d.kind != VAL_MEM)
        tr_mov(t, I16, d.reg, v);
}

void tr_syscall(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_syscall, IRC_FAST | IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, V_NONE, V_NONE,
            V_NONE, i->len);
    tr_end_leave(t);
}

void tr_sysret(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_sysret, IRC_FAST | IRC_PC | IRC_FLAGS_OUT, V_NONE, V_NONE, V_NONE, i->opsize);
    tr_end_leave(t);
}

void tr_sysenter(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_sysenter, IRC_FAST | IRC_PC | IRC_FLAGS_IN, V_NONE, V_NONE, V_NONE, i->len);
    tr_end_leave(t);
}

void tr_sysexit(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_sysexit, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE, i->opsize);
    tr_end_leave(t);
}

/* RDTSC (@arg 0), RDTSCP (1). */
void tr_rdtsc(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i;
    if ((t->mode & MODE_TSD) && tr_cpl(t))
        tr_raise(t, EX_GP);
    else
        tr_call(t, hlp_rdtsc, IRC_FAST, V_NONE, V_NONE, V_NONE, arg);
}

void tr_monitor(Tr *t, const X86Insn *i, unsigned arg)
{
    MemRef m = tr_mem_implicit(t, i->mem.seg, V_R(R_AX), 0, i->adsize, 1, TR_READ);

    (void)arg;
    tr_call(t, hlp_monitor, IRC_PC, V_NONE, tr_linear_of(t, &m), V_NONE, 0);
}

void tr_mwait(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    if (t->shadow)
        tr_call(t, hlp_unshadow, IRC_FAST, V_NONE, V_NONE, V_NONE, 0);
    tr_call(t, hlp_mwait, IRC_PC, V_NONE, V_NONE, V_NONE, t->next);
    tr_end_exit(t);
}

/* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE: @arg is the segment, + 8 for writes. */
void tr_fsgsbase(Tr *t, const X86Insn *i, unsigned arg)
{
    IrType type = tr_type(i->opsize);
    uint8_t base = V_SEG(arg & 7), gpr = V_R(i->o[0].reg);

    if (!(t->mode & MODE_FSGSBASE))
        tr_raise(t, EX_UD);
    else if (arg < 8)
        tr_mov(t, type, gpr, base);
    else if (type == I64)
        tr_call(t, hlp_write_base, IRC_FAST | IRC_PC, V_NONE, gpr, V_NONE, arg & 7);
    else
        tr_mov(t, type, base, gpr);
}

void tr_rdpid(Tr *t, const X86Insn *i, unsigned arg)
{
    IrOp *o = ir_add(t->b, IR_LDS, I64);

    (void)arg;
    o->d = V_R(i->o[0].reg);
    o->disp = offsetof(X86Cpu, tsc_aux);
}

/* Loads are in order as they are; SFENCE orders the non-temporal stores that reach the host. */
void tr_fence(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    ir_add(t->b, IR_FENCE, I64);
}

void tr_pause(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    ir_add(t->b, IR_PAUSE, I64);
}

void tr_clflush(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_clflush, IRC_PC, V_NONE, tr_linear(t, i, 1, TR_READ), V_NONE, 0);
}
