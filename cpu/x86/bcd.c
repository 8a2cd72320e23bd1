/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bcd - decimal adjustment, ENTER and BOUND (SDM vol 2)
 */
#include "cpu/ir/ir.h"
#include "cpu/x86/sys_priv.h"

static uint16_t flags_szp(uint8_t v)
{
    unsigned parity = !__builtin_parity(v);

    return (uint16_t)((v & FL_SF) | (v == 0) << 6 | parity << 2);
}

static uint64_t set_al(uint64_t rax, uint64_t al)
{
    return (rax & ~0xffull) | (al & 0xff);
}
static uint64_t set_ax(uint64_t rax, unsigned ah, unsigned al)
{
    return (rax & ~0xffffull) | (ah & 0xff) << 8 | (al & 0xff);
}

/* DAA and DAS. */
static uint64_t adjust_packed(uint64_t rax, uint64_t *f, bool sub)
{
    uint8_t al = (uint8_t)rax, old = al;
    bool cf = *f & FL_CF, af = *f & FL_AF, low = (al & 15) > 9 || af, high = old > 0x99 || cf;
    bool carry = cf;

    if (low) {
        carry = cf || (sub ? al < 6 : al > 0xf9);
        al = (uint8_t)(sub ? al - 6 : al + 6);
    }
    if (high)
        al = (uint8_t)(sub ? al - 0x60 : al + 0x60);
    carry = sub ? carry || high : high;
    *f = flags_szp(al) | (low ? FL_AF : 0) | (carry ? FL_CF : 0);
    return set_al(rax, al);
}

/* AAA and AAS. */
static uint64_t adjust_unpacked(uint64_t rax, uint64_t *f, bool sub)
{
    unsigned ax = rax & 0xffff;
    bool adjust = (ax & 15) > 9 || *f & FL_AF;

    if (adjust)
        ax = (sub ? ax - 0x106 : ax + 0x106) & 0xffff;
    ax &= 0xff0f;
    *f = flags_szp((uint8_t)ax) | (adjust ? FL_AF | FL_CF : 0);
    return (rax & ~0xffffull) | ax;
}

enum { BCD_DAA, BCD_DAS, BCD_AAA, BCD_AAS, BCD_AAM, BCD_AAD };

uint64_t hlp_bcd(Cpu *c, uint64_t base, uint64_t b UNUSED, uint64_t kind)
{
    uint64_t rax = c->r[R_AX], f = x86_flags_from_cc(c->cc);
    unsigned al = rax & 0xff, ah = rax >> 8 & 0xff, n = base & 0xff;

    switch (kind) {
    case BCD_DAA:
    case BCD_DAS: rax = adjust_packed(rax, &f, kind == BCD_DAS); break;
    case BCD_AAA:
    case BCD_AAS: rax = adjust_unpacked(rax, &f, kind == BCD_AAS); break;
    case BCD_AAM:
        if (n == 0)
            x86_raise_noerr(c, EX_DE);
        rax = set_ax(rax, al / n, al % n);
        f = flags_szp((uint8_t)rax);
        break;
    default:
        rax = set_ax(rax, 0, al + ah * n);
        f = flags_szp((uint8_t)rax);
        break;
    }
    c->r[R_AX] = rax;
    c->cc = x86_cc_from_flags(f);
    return 0;
}

/* Old frame pointers of the outer levels, by the stack segment. */
static void enter_display(X86Cpu *x, Stack *s, unsigned os, unsigned level)
{
    Stack frames = *s;

    frames.sp = x->cpu.r[R_BP];
    for (unsigned i = 1; i < level; i++) {
        frames.sp -= os;
        Stack one = frames;
        stack_push(s, os, stack_pop(&one, os));
    }
}

uint64_t hlp_enter(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned os = k & 0xff, level = k >> 8 & 31, size = k >> 16 & 0xffff;
    Stack s = stack_current(x);
    uint64_t frame;

    stack_push(&s, os, c->r[R_BP]);
    frame = s.sp;
    if (level) {
        enter_display(x, &s, os, level);
        stack_push(&s, os, frame);
    }
    s.sp = (s.sp & ~s.mask) | ((s.sp - size) & s.mask);
    mem_probe(c, s.mask == ~0ull ? s.sp : (uint32_t)(s.ss.base + (s.sp & s.mask)), 1, ACCESS_WRITE,
              s.mmu_mode);
    c->r[R_BP] = reg_merge(c->r[R_BP], frame, os);
    stack_commit(&s);
    return 0;
}

uint64_t hlp_bound(Cpu *c, uint64_t index, uint64_t va, uint64_t os)
{
    int64_t low = sext(mem_load(c, va, (unsigned)os, c->mmu_mode), 8 * (unsigned)os);
    int64_t high =
        sext(mem_load(c, (uint32_t)(va + os), (unsigned)os, c->mmu_mode), 8 * (unsigned)os);

    if ((int64_t)index < low || (int64_t)index > high)
        x86_raise_noerr(c, EX_BR);
    return 0;
}
