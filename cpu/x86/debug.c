/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug - debug registers and breakpoints (SDM vol 3 chapter 17.2)
 *
 * MODE_STEP blocks call hlp_step() behind each instruction, MODE_IOBP ones hlp_watch() for each
 * memory operand.
 */
#include "cpu/x86/sys_priv.h"

enum { BP_CODE, BP_WRITE, BP_IO, BP_ACCESS }; /* DR7.R/W */
#define DR6_FIXED 0xffff0ff0ull
#define DR7_GD (1ull << 13)

static bool bp_enabled(const X86Cpu *x, unsigned i)
{
    return x->dr[7] >> (2 * i) & 3;
}
static unsigned bp_kind(const X86Cpu *x, unsigned i)
{
    return x->dr[7] >> (16 + 4 * i) & 3;
}
static unsigned bp_size(const X86Cpu *x, unsigned i)
{
    static const uint8_t sizes[] = {1, 2, 8, 4};

    return sizes[x->dr[7] >> (18 + 4 * i) & 3];
}

static unsigned hits(const X86Cpu *x, uint64_t at, unsigned size, unsigned kinds)
{
    unsigned found = 0;

    for (unsigned i = 0; i < 4; i++) {
        unsigned n = bp_size(x, i);
        uint64_t first = x->dr[i] & ~(uint64_t)(n - 1);

        if (bp_enabled(x, i) && kinds >> bp_kind(x, i) & 1 && at < first + n && first < at + size)
            found |= 1u << i;
    }
    return found;
}

bool debug_code_hit(const X86Cpu *x, uint64_t linear, unsigned *found)
{
    *found = 0;
    for (unsigned i = 0; i < 4; i++)
        if (bp_enabled(x, i) && bp_kind(x, i) == BP_CODE && x->dr[i] == linear)
            *found |= 1u << i;
    return *found != 0;
}

void debug_io(X86Cpu *x, uint16_t port, unsigned size)
{
    if (x->cr4 & CR4_DE)
        x->watch_hits |= (uint8_t)hits(x, port, size, 1 << BP_IO);
}

uint64_t hlp_watch(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    bool write = k >> 16 & 1;

    X86(c)->watch_hits |=
        (uint8_t)hits(X86(c), va, k & 0xff, 1 << BP_ACCESS | (unsigned)write << BP_WRITE);
    return 0;
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR7.GD makes any access a #DB. */
static unsigned dr_number(X86Cpu *x, unsigned n)
{
    Cpu *c = &x->cpu;

    if (n == 4 || n == 5) {
        if (x->cr4 & CR4_DE)
            x86_raise_noerr(c, EX_UD);
        n += 2;
    }
    if (x->dr[7] & DR7_GD) {
        c->host->sync_pc(c);
        c->exc = (Exception){.vector = EX_DB, .detail = 1 << 13};
        cpu_raise(c, &c->exc);
    }
    return n;
}

uint64_t hlp_read_dr(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t n)
{
    return X86(c)->dr[dr_number(X86(c), (unsigned)n)];
}

uint64_t hlp_write_dr(Cpu *c, uint64_t v, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned n = dr_number(x, (unsigned)k);

    if (n >= 6 && v >> 32)
        x86_raise(c, EX_GP, 0);
    if (n < 4 && x86_is64(x) && !x86_canonical(x, v))
        x86_raise(c, EX_GP, 0);
    if (n == 6)
        v = (v & 0xe00f) | DR6_FIXED;
    else if (n == 7)
        v = (v & 0xffff2bff) | 0x400;
    x->dr[n] = v;
    x86_update_sys(x);
    return 0;
}
