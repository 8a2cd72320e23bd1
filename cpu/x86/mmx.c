/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmx - 64-bit integer vectors in the x87 registers (SDM vol 1 chapter 9), on the host's own MMX
 * unit
 *
 * Register MMn is the mantissa of physical register Rn.  Every instruction but EMMS marks all
 * registers used, sets TOP to 0 and the exponent of what it writes to all ones.
 */
#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/opcodes.h"
#include "cpu/x86/x86.h"

/* Tables of "op mm0, mm1; ret", eight bytes each, for 0F 60..FF and 0F 38 00..1F. */
extern const uint8_t mmx_ops[], mmx_ops_38[];
__asm__(".pushsection .text\n"
        ".globl mmx_ops, mmx_ops_38\n"
        ".hidden mmx_ops, mmx_ops_38\n"
        ".balign 8\n"
        "mmx_ops:\n"
        ".set op, 0x60\n"
        ".rept 0xa0\n"
        ".byte 0x0f, op, 0xc1\n ret\n .skip 4, 0x90\n"
        ".set op, op + 1\n"
        ".endr\n"
        "mmx_ops_38:\n"
        ".set op, 0\n"
        ".rept 0x20\n"
        ".byte 0x0f, 0x38, op, 0xc1\n ret\n .skip 3, 0x90\n"
        ".set op, op + 1\n"
        ".endr\n"
        ".popsection\n");

static uint64_t run(const uint8_t *fn, uint64_t d, uint64_t s)
{
    __asm__ volatile("sub $128, %%rsp\n\tmovq %0, %%mm0\n\tmovq %1, %%mm1\n\tcall *%2\n\tmovq "
                     "%%mm0, %0\n\temms\n\tadd $128, %%rsp"
                     : "+r"(d)
                     : "r"(s), "a"(fn)
                     : "memory", "cc");
    return d;
}

static uint64_t mm_get(const X86Cpu *x, unsigned n)
{
    uint64_t v;

    __builtin_memcpy(&v, x->fpu.st[n & 7], 8);
    return v;
}

static void mm_set(X86Cpu *x, unsigned n, uint64_t v)
{
    __builtin_memcpy(x->fpu.st[n & 7], &v, 8);
    x->fpu.st[n & 7][8] = x->fpu.st[n & 7][9] = 0xff;
}

static uint64_t shift_imm(unsigned opcode, unsigned reg, uint64_t v, unsigned count)
{
    /* 71 72 73: words, double words, the quad word; /2 logical right, /4 arithmetic right, /6
     * left: 0F Dx, Ex, Fx by register */
    static const uint8_t base[4] = {0, 0xd0, 0xe0, 0xf0};

    return run(mmx_ops + (base[reg >> 1] + opcode - 0x70u - 0x60u) * 8, v, count);
}

static uint64_t shuffle(uint64_t v, unsigned imm)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < 4; i++)
        r |= bits(v, (imm >> i * 2 & 3) * 16, 16) << i * 16;
    return r;
}

static uint64_t align(uint64_t d, uint64_t s, unsigned imm)
{
    if (imm >= 16)
        return 0;
    if (imm >= 8)
        return imm == 8 ? d : d >> (imm - 8) * 8;
    return imm ? s >> imm * 8 | d << (8 - imm) * 8 : s;
}

static uint64_t byte_mask(uint64_t v)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < 8; i++)
        r |= (v >> (i * 8 + 7) & 1) << i;
    return r;
}

uint64_t hlp_mmx(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    X86Cpu *x = X86(c);
    const X86Row *row = x86_row((unsigned)k);
    unsigned reg = b & 7, rm = b >> 8 & 7, imm = b >> 24 & 0xff, size = b >> 32 & 0xff;
    bool mem = b >> 16 & 1, store = OPD_AT(row->opd[0]) == AT_RM;
    uint64_t s = a, d;

    if (x->fpu.fsw & 0x80)
        x86_raise_noerr(c, EX_MF);
    if (row->map == M0F && row->opcode == 0x77) { /* EMMS */
        x->fpu.ftw = 0;
        x->fpu.fsw &= (uint16_t)~0x3800;
        return 0;
    }
    if (mem && !store)
        s = mem_load(c, a, size, c->mmu_mode);
    else if (!mem && OPD_KIND(row->opd[1]) == X86_MMX)
        s = mm_get(x, store ? reg : rm);
    if (mem && store)
        mem_store(c, a, size, mm_get(x, reg), c->mmu_mode);
    x->fpu.ftw = 0xff;
    x->fpu.fsw &= (uint16_t)~0x3800;
    d = mm_get(x, reg);
    if (row->map == M38) {
        mm_set(x, reg, run(mmx_ops_38 + row->opcode * 8, d, s));
        return 0;
    }
    if (row->map == M3A) {
        mm_set(x, reg, align(d, s, imm));
        return 0;
    }
    switch (row->opcode) {
    case 0x6e:
    case 0x6f: /* MOVD, MOVQ */ mm_set(x, reg, s); return 0;
    case 0x7e: return d; /* to a general register: the front end takes what it needs */
    case 0x7f:
        if (!mem)
            mm_set(x, rm, d);
        return 0;
    case 0xe7: return 0; /* MOVNTQ: stored above */
    case 0x70: mm_set(x, reg, shuffle(s, imm)); return 0;
    case 0x71:
    case 0x72:
    case 0x73:
        mm_set(x, rm, shift_imm(row->opcode, SEL_EXT(row->select), mm_get(x, rm), imm));
        return 0;
    case 0xc4: mm_set(x, reg, bits_set(d, (imm & 3) * 16, 16, s)); return 0;
    case 0xc5: return bits(mm_get(x, rm), (imm & 3) * 16, 16);
    case 0xd7: return byte_mask(mm_get(x, rm));
    default: mm_set(x, reg, run(mmx_ops + (row->opcode - 0x60u) * 8, d, s)); return 0;
    }
}
