/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault - what only a look at the faulting instruction tells (SDM vol. 3, 6.15)
 */
#include "cpu/tlb.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/sys_priv.h"

enum { INSN_MOST = 15 };

static unsigned fetch_at(Cpu *c, Gva pc, uint8_t *to)
{
    unsigned n = 0;

    while (n < INSN_MOST) {
        unsigned off = (pc + n) & 0xfff, size = MIN(INSN_MOST - n, 4096 - off);
        uint32_t ram_page;
        const uint8_t *page = tlb_code_page(c, pc + n, &ram_page, true);

        if (!page)
            break;
        memcpy(to + n, page + off, size);
        n += size;
    }
    return n;
}

static bool uses_stack(const X86Insn *i)
{
    switch (i->row->op) {
    case X86_PUSH:
    case X86_POP:
    case X86_PUSHF:
    case X86_POPF:
    case X86_PUSH_SREG:
    case X86_POP_SREG:
    case X86_CALL:
    case X86_CALL_IND:
    case X86_CALL_FAR:
    case X86_RET:
    case X86_RET_FAR:
    case X86_IRET:
    case X86_ENTER:
    case X86_LEAVE: return true;
    default: return false;
    }
}

static Gva operand_address(const X86Cpu *x, const X86Insn *i)
{
    const X86Mem *m = &i->mem;
    const uint64_t *r = x->cpu.r;
    Gva a = (uint64_t)m->disp;

    if (m->base != 255)
        a += r[m->base];
    if (m->index != 255)
        a += r[m->index] << m->scale;
    if (m->rip)
        a += X86_PC(&x->cpu) + i->len;
    if (i->adsize == 4)
        a = (uint32_t)a;
    return m->seg >= SEG_FS ? a + r[V_SEG(m->seg)] : a;
}

/* 64-bit mode has no stack limit, but a stack access that is not canonical is #SS. */
bool x86_fault_is_stack(Cpu *c, Gva va)
{
    X86Cpu *x = X86(c);
    uint8_t code[INSN_MOST];
    bool memory = false, in_stack;
    X86Insn i;

    if (c->vec_live)
        c->host->vec_save(c);
    if (c->host && c->host->sync_pc)
        c->host->sync_pc(c);
    if (!x86_is64(x) ||
        x86_decode(&i, code, fetch_at(c, X86_PC(c), code), c->mode, x->features) != X86_DECODE_OK)
        return false;
    for (unsigned k = 0; k < i.n; k++)
        memory |= i.o[k].kind == X86_MEM;
    in_stack = memory && (i.mem.base == R_SP || i.mem.base == R_BP) && i.mem.seg < SEG_FS;
    if (!uses_stack(&i) || (memory && va - operand_address(x, &i) < 16))
        return in_stack;
    return true;
}
