/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_helpers - small helpers of the translator: checks and instructions too long for IR (SDM
 * volume 2)
 */
#include "cpu/x86/sys_priv.h"

uint64_t hlp_bad_target(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t popped)
{
    c->r[R_SP] -= popped;
    x86_raise(c, EX_GP, 0);
}

uint64_t hlp_guard_most(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t k)
{
    if (a > k)
        x86_raise(c, EX_GP, 0);
    return 0;
}

uint64_t hlp_into(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    if (c->cc & 1)
        return hlp_int(c, a, b, k);
    X86_PC(c) = (uint32_t)(X86_PC(c) + (k >> 8 & 0xff));
    return 0;
}

uint64_t hlp_arpl_value(Cpu *c UNUSED, uint64_t to, uint64_t from, uint64_t k UNUSED)
{
    return (to & SEL_RPL) < (from & SEL_RPL) ? (to & ~(uint64_t)SEL_RPL) | (from & SEL_RPL) : to;
}

uint64_t hlp_write_base(Cpu *c, uint64_t value, uint64_t b UNUSED, uint64_t seg)
{
    if (!x86_canonical(X86(c), value))
        x86_raise(c, EX_GP, 0);
    c->r[16 + seg] = value;
    return 0;
}

/* Linear addresses of the eight elements of @os bytes that PUSHA or POPA access, in stack order;
 * all are probed. */
static void stack_elements(Cpu *c, uint64_t sp, unsigned os, Access access, Gva at[8])
{
    uint64_t mask = c->mode & MODE_SS32 ? 0xffffffff : 0xffff;
    uint64_t k = SEG_SS | (uint64_t)os << 8 | (uint64_t)(access == ACCESS_WRITE) << 16 | 1 << 17;

    for (unsigned n = 0; n < 8; n++) {
        at[n] = hlp_seg_check(c, (sp + n * os) & mask, 0, k);
        mem_probe(c, at[n], os, access, c->mmu_mode);
    }
}

static void set_sp(Cpu *c, uint64_t sp)
{
    c->r[R_SP] = reg_merge(c->r[R_SP], sp, c->mode & MODE_SS32 ? 4 : 2);
}

uint64_t hlp_pusha(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    uint64_t sp = c->r[R_SP] - 8 * os;
    Gva at[8];

    stack_elements(c, sp, (unsigned)os, ACCESS_WRITE, at);
    for (unsigned n = 0; n < 8; n++)
        mem_store(c, at[n], (unsigned)os, c->r[7 - n] & size_mask((unsigned)os), c->mmu_mode);
    set_sp(c, sp);
    return 0;
}

uint64_t hlp_popa(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    uint64_t sp = c->r[R_SP];
    Gva at[8];

    stack_elements(c, sp, (unsigned)os, ACCESS_READ, at);
    for (unsigned n = 0; n < 8; n++)
        if (n != 7 - R_SP)
            c->r[7 - n] =
                reg_merge(c->r[7 - n], mem_load(c, at[n], (unsigned)os, c->mmu_mode), (unsigned)os);
    set_sp(c, sp + 8 * os);
    return 0;
}
