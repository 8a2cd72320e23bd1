/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xsave - FXSAVE, FXRSTOR, the XSAVE family, MXCSR and RDRAND: helpers that are not FAST (SDM vol 1
 * chapters 10.5 and 13)
 *
 * The host's vectors were saved before any of these is called; they are loaded again when it
 * returns.
 */
#include <sys/random.h>

#include "base/bytes.h"
#include "cpu/x86/model.h"
#include "cpu/x86/sys_priv.h"

enum {
    XC_X87 = 1,
    XC_SSE = 2,
    XC_AVX = 4,
    XC_PKRU = 1 << 9,
    XC_ALL = XC_X87 | XC_SSE | XC_AVX | XC_PKRU
};
enum { LEGACY_SIZE = 512, HEADER_AT = 512, EXTENDED_AT = 576, MXCSR_RESET = 0x1f80 };
#define XCOMP_COMPACT (1ull << 63)
#define MXCSR_MASK 0xffffu

/* The components behind the header, by number. */
static const struct {
    uint16_t number, at, size;
} extended[] = {{2, XSAVE_AVX_AT, 256}, {9, XSAVE_PKRU_AT, 8}};

static unsigned n_xmm(const X86Cpu *x)
{
    return x86_is64(x) ? 16 : 8;
}

/* --- the legacy area --- */

static void put_x87(const X86Cpu *x, uint8_t *p, bool wide)
{
    const X86Fpu *f = &x->fpu;
    unsigned top = f->fsw >> 11 & 7;

    put_le16(p, f->fcw);
    put_le16(p + 2, f->fsw);
    put_le16(p + 4, f->ftw);
    put_le16(p + 6, f->fop);
    if (wide) {
        put_le64(p + 8, f->fip);
        put_le64(p + 16, f->fdp);
    } else {
        put_le32(p + 8, (uint32_t)f->fip);
        put_le32(p + 12, f->fcs);
        put_le32(p + 16, (uint32_t)f->fdp);
        put_le32(p + 20, f->fds);
    }
    for (unsigned i = 0; i < 8; i++) {
        memcpy(p + 32 + 16 * i, f->st[(top + i) & 7], 10);
        memset(p + 42 + 16 * i, 0, 6);
    }
}

static void get_x87(X86Cpu *x, const uint8_t *p, bool wide)
{
    X86Fpu *f = &x->fpu;
    unsigned top;

    f->fcw = get_le16(p) | 0x40;
    f->fsw = get_le16(p + 2);
    f->ftw = p[4];
    f->fop = get_le16(p + 6) & 0x7ff;
    f->fip = wide ? get_le64(p + 8) : get_le32(p + 8);
    f->fcs = wide ? 0 : get_le16(p + 12);
    f->fdp = wide ? get_le64(p + 16) : get_le32(p + 16);
    f->fds = wide ? 0 : get_le16(p + 20);
    top = f->fsw >> 11 & 7;
    for (unsigned i = 0; i < 8; i++)
        memcpy(f->st[(top + i) & 7], p + 32 + 16 * i, 10);
}

static void put_xmm(const X86Cpu *x, uint8_t *p)
{
    for (unsigned i = 0; i < n_xmm(x); i++)
        memcpy(p + 160 + 16 * i, x->cpu.v[i], 16);
}

static void get_xmm(X86Cpu *x, const uint8_t *p)
{
    for (unsigned i = 0; i < n_xmm(x); i++)
        memcpy(x->cpu.v[i], p + 160 + 16 * i, 16);
}

static void put_mxcsr(const X86Cpu *x, uint8_t *p)
{
    put_le32(p + 24, x->cpu.vcsr);
    put_le32(p + 28, MXCSR_MASK);
}

static void check_mxcsr(X86Cpu *x, uint32_t v)
{
    if (v & ~MXCSR_MASK)
        x86_raise(&x->cpu, EX_GP, 0);
}

static void check_aligned(Cpu *c, uint64_t va, unsigned to)
{
    if (va & (to - 1))
        x86_raise(c, EX_GP, 0);
}

uint64_t hlp_fxsave(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint8_t area[416];
    bool sse =
        !(x->efer & EFER_FFXSR && x->cpl == 0 && x86_is64(x)); /* AMD: fast form without XMM */

    check_aligned(c, va, 16);
    memset(area, 0, sizeof(area));
    put_x87(x, area, os == 8);
    if (x->cr4 & CR4_OSFXSR)
        put_mxcsr(x, area);
    put_xmm(x, area);
    mem_write(c, va, area, sse ? 160 + 16 * n_xmm(x) : 160, c->mmu_mode);
    return 0;
}

uint64_t hlp_fxrstor(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint8_t area[LEGACY_SIZE];
    bool sse = !(x->efer & EFER_FFXSR && x->cpl == 0 && x86_is64(x));

    check_aligned(c, va, 16);
    mem_read(c, va, area, sizeof(area), c->mmu_mode);
    if (x->cr4 & CR4_OSFXSR) {
        check_mxcsr(x, get_le32(area + 24));
        c->vcsr = get_le32(area + 24);
        if (sse)
            get_xmm(x, area);
    }
    get_x87(x, area, os == 8);
    return 0;
}

uint64_t hlp_ldmxcsr(Cpu *c, uint64_t v, uint64_t b UNUSED, uint64_t k UNUSED)
{
    check_mxcsr(X86(c), (uint32_t)v);
    c->vcsr = (uint32_t)v;
    return 0;
}

uint64_t hlp_stmxcsr(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    return c->vcsr;
}

/* --- XSAVE --- */

static bool is_zero(const uint8_t *p, size_t n)
{
    while (n-- > 0)
        if (*p++)
            return false;
    return true;
}

/* Components that are not in their initial state. */
static uint64_t in_use(const X86Cpu *x)
{
    const X86Fpu *f = &x->fpu;
    uint64_t used = 0;

    if (f->fcw != 0x37f || f->fsw || f->ftw || f->fop || f->fip || f->fdp ||
        !is_zero(f->st[0], sizeof(f->st)))
        used |= XC_X87;
    for (unsigned i = 0; i < n_xmm(x); i++) {
        uint64_t q[4];

        memcpy(q, x->cpu.v[i], sizeof(q));
        used |= q[0] | q[1] ? XC_SSE : 0;
        used |= q[2] | q[3] ? XC_AVX : 0;
    }
    if (x->pkru)
        used |= XC_PKRU;
    return used;
}

static void put_extended(const X86Cpu *x, unsigned number, uint8_t *p)
{
    if (number == 9) {
        put_le64(p, x->pkru);
        return;
    }
    memset(p, 0, 256);
    for (unsigned i = 0; i < n_xmm(x); i++)
        memcpy(p + 16 * i, x->cpu.v[i] + 16, 16);
}

/* @p NULL: the initial state. */
static void get_extended(X86Cpu *x, unsigned number, const uint8_t *p)
{
    if (number == 9) {
        pkru_set(x, p ? get_le32(p) : 0);
        return;
    }
    for (unsigned i = 0; i < n_xmm(x); i++) {
        if (p)
            memcpy(x->cpu.v[i] + 16, p + 16 * i, 16);
        else
            memset(x->cpu.v[i] + 16, 0, 16);
    }
}

/* Where component @i of extended[] lies in an area whose format is @compact (0: standard, else
 * XCOMP_BV). */
static unsigned extended_at(unsigned i, uint64_t compact)
{
    unsigned at = EXTENDED_AT;

    if (!compact)
        return extended[i].at;
    for (unsigned j = 0; j < i; j++)
        if (compact >> extended[j].number & 1)
            at += extended[j].size;
    return at;
}

enum { XSAVE_PLAIN, XSAVE_OPT, XSAVE_COMPACT, XSAVE_SUPERVISOR };

static void xsave_check(X86Cpu *x, uint64_t va, bool supervisor)
{
    if (!(x->cr4 & CR4_OSXSAVE))
        x86_raise_noerr(&x->cpu, EX_UD);
    if (supervisor && x->cpl != 0)
        x86_raise(&x->cpu, EX_GP, 0);
    if (x->cr0 & CR0_TS)
        x86_raise_noerr(&x->cpu, EX_NM);
    check_aligned(&x->cpu, va, 64);
}

static uint64_t requested(const X86Cpu *x)
{
    return ((uint32_t)x->cpu.r[R_AX] | x->cpu.r[R_DX] << 32) & x->xcr0;
}

uint64_t hlp_xsave(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned kind = k & 0xff, mode = c->mmu_mode;
    uint8_t area[256];
    uint64_t mask, used, write, compact, bv;

    xsave_check(x, va, kind == XSAVE_SUPERVISOR);
    mask = requested(x);
    used = in_use(x);
    compact = kind >= XSAVE_COMPACT ? mask | XCOMP_COMPACT : 0;
    if (compact && c->vcsr != MXCSR_RESET)
        used |= XC_SSE; /* MXCSR belongs to SSE there */
    write = kind == XSAVE_PLAIN ? mask : mask & used;
    mem_probe(c, va, EXTENDED_AT, ACCESS_WRITE, mode);
    if (write & XC_X87) {
        put_x87(x, area, (k >> 8 & 0xff) == 8);
        mem_write(c, va, area, 24, mode);
        mem_write(c, va + 32, area + 32, 128, mode);
    }
    if (compact ? write & XC_SSE : mask & (XC_SSE | XC_AVX)) {
        put_mxcsr(x, area);
        mem_write(c, va + 24, area + 24, 8, mode);
    }
    if (write & XC_SSE)
        for (unsigned i = 0; i < n_xmm(x); i++)
            mem_write(c, va + 160 + 16 * i, c->v[i], 16, mode);
    for (unsigned i = 0; i < COUNT_OF(extended); i++)
        if (write >> extended[i].number & 1) {
            put_extended(x, extended[i].number, area);
            mem_write(c, va + extended_at(i, compact), area, extended[i].size, mode);
        }
    bv = compact ? 0 : mem_load(c, va + HEADER_AT, 8, mode) & ~mask;
    mem_store(c, va + HEADER_AT, 8, bv | (mask & used), mode);
    if (compact)
        mem_store(c, va + HEADER_AT + 8, 8, compact, mode);
    return 0;
}

/* XSTATE_BV and XCOMP_BV of a header that is well-formed, else #GP: SDM vol 1 13.8.1. */
static void header_check(X86Cpu *x, const uint8_t *h, bool must_be_compact)
{
    uint64_t bv = get_le64(h), comp = get_le64(h + 8);
    bool compact = comp & XCOMP_COMPACT, bad;

    if (compact)
        bad = comp & ~XCOMP_COMPACT & ~x->xcr0 || bv & ~comp || !is_zero(h + 16, 48) ||
              !x86_has(x->features, X86F_XSAVEC);
    else
        bad = bv & ~x->xcr0 || comp || get_le64(h + 16) || must_be_compact;
    if (bad)
        x86_raise(&x->cpu, EX_GP, 0);
}

static void restore_legacy(X86Cpu *x, uint64_t mask, uint64_t bv, bool compact, const uint8_t *area,
                           bool wide)
{
    static const uint8_t zero[LEGACY_SIZE];

    if (mask & XC_X87) {
        get_x87(x, bv & XC_X87 ? area : zero, wide);
        if (!(bv & XC_X87))
            x->fpu.fcw = 0x37f;
    }
    if (mask & XC_SSE)
        get_xmm(x, bv & XC_SSE ? area : zero);
    if (compact && mask & XC_SSE && !(bv & XC_SSE))
        x->cpu.vcsr = MXCSR_RESET;
    else if (compact ? mask & XC_SSE : mask & (XC_SSE | XC_AVX))
        x->cpu.vcsr = get_le32(area + 24);
}

uint64_t hlp_xrstor(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    uint8_t area[EXTENDED_AT], more[COUNT_OF(extended)][256];
    uint64_t mask, bv, comp;

    xsave_check(x, va, k & 0xff);
    mask = requested(x);
    mem_read(c, va, area, sizeof(area), c->mmu_mode);
    header_check(x, area + HEADER_AT, k & 0xff);
    bv = get_le64(area + HEADER_AT);
    comp = get_le64(area + HEADER_AT + 8);
    if (comp ? mask & bv & XC_SSE : mask & (XC_SSE | XC_AVX))
        check_mxcsr(x, get_le32(area + 24));
    for (unsigned i = 0; i < COUNT_OF(extended); i++)
        if ((mask & bv) >> extended[i].number & 1)
            mem_read(c, va + extended_at(i, comp), more[i], extended[i].size, c->mmu_mode);
    restore_legacy(x, mask, bv, comp, area, (k >> 8 & 0xff) == 8);
    for (unsigned i = 0; i < COUNT_OF(extended); i++)
        if (mask >> extended[i].number & 1)
            get_extended(x, extended[i].number, bv >> extended[i].number & 1 ? more[i] : NULL);
    return 0;
}

/* --- RDRAND, RDSEED --- */

uint64_t x86_random(X86Cpu *x)
{
    if (x->random_left == 0) {
        if (getrandom(x->random, sizeof(x->random), 0) != (ssize_t)sizeof(x->random))
            return 0;
        x->random_left = COUNT_OF(x->random);
    }
    return x->random[--x->random_left];
}

uint64_t hlp_rdrand(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    c->cc = x86_cc_from_flags(1); /* CF: a number was there */
    return x86_random(X86(c)) & size_mask(k & 0xff);
}
