/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mmx_xmm - moves and conversions between MMX and XMM registers (SDM vol 1 chapters 10, 11), on the host's units */
#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/x86.h"

enum { TO_XMM_PS, TO_XMM_PD, PS_TRUNC, PD_TRUNC, PS_ROUND, PD_ROUND };

/* One conversion under the guest's MXCSR, all exceptions masked; returns the MXCSR after it. */
static uint32_t convert(unsigned op, uint8_t *xmm, uint64_t *mm, uint32_t csr)
{
    uint32_t host = 0x1f80, run = csr | 0x1f80;

#define CONVERT(insn, out) \
    __asm__ volatile("ldmxcsr %2\n\tmovups %1, %%xmm0\n\tmovq %0, %%mm0\n\t" insn "\n\t" out "\n\tstmxcsr %2\n\tldmxcsr %3\n\temms" \
                     : "+m"(*mm), "+m"(*(uint8_t(*)[16])xmm), "+m"(run) : "m"(host) : "xmm0")
    switch (op) {
    case TO_XMM_PS: CONVERT("cvtpi2ps %%mm0, %%xmm0", "movups %%xmm0, %1"); break;
    case TO_XMM_PD: CONVERT("cvtpi2pd %%mm0, %%xmm0", "movups %%xmm0, %1"); break;
    case PS_TRUNC: CONVERT("cvttps2pi %%xmm0, %%mm0", "movq %%mm0, %0"); break;
    case PD_TRUNC: CONVERT("cvttpd2pi %%xmm0, %%mm0", "movq %%mm0, %0"); break;
    case PS_ROUND: CONVERT("cvtps2pi %%xmm0, %%mm0", "movq %%mm0, %0"); break;
    default: CONVERT("cvtpd2pi %%xmm0, %%mm0", "movq %%mm0, %0"); break;
    }
#undef CONVERT
    return (csr & ~0x3fu) | (run & 0x3f);
}

/* cvtpi2pd with a memory operand does not touch the x87 state (SDM vol 2); all others switch to MMX mode. */
static void enter_mmx(X86Cpu *x)
{
    if (x->fpu.fsw & 0x80)
        x86_raise_noerr(&x->cpu, EX_MF);
    x->fpu.ftw = 0xff;
    x->fpu.fsw &= (uint16_t)~0x3800;
}

static void mm_set(X86Cpu *x, unsigned n, uint64_t v)
{
    memcpy(x->fpu.st[n & 7], &v, 8);
    x->fpu.st[n & 7][8] = x->fpu.st[n & 7][9] = 0xff;
}

uint64_t hlp_mmx_xmm(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned opcode = k & 0xff, pp = k >> 8 & 0xff, reg = k >> 16 & 15, rm = k >> 24 & 15;
    bool mem = k >> 32 & 1, to_xmm = opcode == 0x2a || (opcode == 0xd6 && pp == 2);
    unsigned op = opcode == 0x2a ? TO_XMM_PS + pp : opcode == 0x2c ? PS_TRUNC + pp : PS_ROUND + pp;
    uint8_t v[16];
    uint64_t mm = 0;
    uint32_t csr;

    (void)b;
    if (mem && to_xmm)
        mm = mem_load(c, a, 8, c->mmu_mode);
    else if (mem)
        mem_read(c, a, v, pp == 1 ? 16 : 8, c->mmu_mode);
    if (!(opcode == 0x2a && pp == 1 && mem))
        enter_mmx(x);
    if (!mem && to_xmm)
        memcpy(&mm, x->fpu.st[rm & 7], 8);
    else if (!mem)
        memcpy(v, c->v[rm], 16);
    if (opcode == 0xd6) { /* MOVQ2DQ, MOVDQ2Q */
        if (to_xmm) {
            memset(c->v[reg], 0, 16);
            memcpy(c->v[reg], &mm, 8);
        } else {
            memcpy(&mm, v, 8);
            mm_set(x, reg, mm);
        }
        return 0;
    }
    if (to_xmm)
        memcpy(v, c->v[reg], 16);
    csr = convert(op, v, &mm, c->vcsr);
    if (csr & ~(c->vcsr >> 7) & 0x3f & ~c->vcsr) { /* newly raised and not masked */
        c->vcsr = csr;
        x86_raise_noerr(c, EX_XM);
    }
    c->vcsr = csr;
    if (to_xmm)
        memcpy(c->v[reg], v, 16);
    else
        mm_set(x, reg, mm);
    return 0;
}
