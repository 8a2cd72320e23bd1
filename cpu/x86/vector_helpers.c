/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vector_helpers - vector instructions whose memory accesses depend on data, and those between MMX
 * and XMM registers (SDM volume 2; volume 1 chapter 14.15 for gathers)
 *
 * The guest's vectors and MXCSR are in struct Cpu while these run.
 */
#include <emmintrin.h>

#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/x86.h"

static uint64_t lane(const uint8_t *v, unsigned n, unsigned size)
{
    uint64_t x = 0;

    memcpy(&x, v + n * size, size);
    return x;
}

static void set_lane(uint8_t *v, unsigned n, unsigned size, uint64_t x)
{
    memcpy(v + n * size, &x, size);
}

uint64_t hlp_vzero(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t from)
{
    for (unsigned i = 0; i < 8; i++)
        memset(c->v[i] + from, 0, sizeof c->v[i] - from);
    return 0;
}

/*
 * Elements are done in order; one that is done has its mask bit cleared, so that after a fault the
 * rest can be resumed.  Upper parts are cleared at the end.
 */
uint64_t hlp_gather(Cpu *c, uint64_t base, uint64_t seg_base, uint64_t k)
{
    uint8_t *to = c->v[k & 15], *mask = c->v[k >> 4 & 15];
    const uint8_t *index = c->v[k >> 8 & 15];
    unsigned index_size = k >> 16 & 1 ? 8 : 4, size = k >> 17 & 1 ? 8 : 4,
             bytes = k >> 18 & 1 ? 32 : 16, asize = k >> 20 & 15;
    unsigned count = bytes / MAX(index_size, size), written = count * size;

    for (unsigned n = 0; n < count; n++) {
        Gva at =
            base + ((uint64_t)sext(lane(index, n, index_size), 8 * index_size) << (k >> 12 & 3));

        if (!(lane(mask, n, size) >> (8 * size - 1)))
            continue;
        if (asize == 4)
            at = (uint32_t)at;
        at = k >> 19 & 1 ? hlp_seg_check(c, at, 0, (k >> 24 & 7) | size << 8 | asize << 20)
                         : at + seg_base;
        set_lane(to, n, size, mem_load(c, at, size, c->mmu_mode));
        set_lane(mask, n, size, 0);
    }
    memset(mask, 0, 32);
    memset(to + written, 0, 32 - written);
    return 0;
}

/* MMX register @n; using one makes all of them valid and TOP 0. */
static uint8_t *mm(Cpu *c, unsigned n)
{
    X86Fpu *f = &X86(c)->fpu;

    f->fsw &= (uint16_t)~0x3800;
    f->ftw = 0xff;
    return f->st[n & 7];
}

static void set_mm(Cpu *c, unsigned n, uint64_t v)
{
    uint8_t *to = mm(c, n);

    memcpy(to, &v, 8);
    memset(to + 8, 0xff, 2);
}

/* All elements that will be accessed are probed before the first is stored. */
uint64_t hlp_maskmov(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    bool is_mmx = k >> 25 & 1, is_store = k >> 24 & 1;
    uint8_t *data = is_mmx ? mm(c, k & 7) : c->v[k & 15],
            *mask = is_mmx ? mm(c, k >> 8 & 7) : c->v[k >> 8 & 15];
    unsigned size = k >> 16 & 0xff, bytes = (unsigned)(k >> 32), count = bytes / size;
    uint8_t out[32] = {0};

    for (unsigned n = 0; n < count; n++) {
        bool on = lane(mask, n, size) >> (8 * size - 1);

        if (on && is_store)
            mem_probe(c, va + n * size, size, ACCESS_WRITE, c->mmu_mode);
        else if (on)
            set_lane(out, n, size, mem_load(c, va + n * size, size, c->mmu_mode));
    }
    for (unsigned n = 0; is_store && n < count; n++)
        if (lane(mask, n, size) >> (8 * size - 1))
            mem_store(c, va + n * size, size, lane(data, n, size), c->mmu_mode);
    if (!is_store)
        memcpy(data, out, 32);
    return 0;
}

/* CVTPI2PS and the like on @in under the guest's MXCSR.  Raises #XM if an unmasked exception
 * comes up. */
static __m128i convert(Cpu *c, unsigned kind, __m128i to, __m128i in)
{
    unsigned host = _mm_getcsr(), after;

    _mm_setcsr((c->vcsr & ~0x3fu) | 0x1f80);
    switch (kind) {
    case 0x02a:
        to = _mm_castps_si128(
            _mm_movelh_ps(_mm_cvtepi32_ps(in), _mm_castsi128_ps(_mm_srli_si128(to, 8))));
        break;
    case 0x12a: to = _mm_castpd_si128(_mm_cvtepi32_pd(in)); break;
    case 0x02c: to = _mm_cvttps_epi32(_mm_castsi128_ps(in)); break;
    case 0x12c: to = _mm_cvttpd_epi32(_mm_castsi128_pd(in)); break;
    case 0x02d: to = _mm_cvtps_epi32(_mm_castsi128_ps(in)); break;
    default: to = _mm_cvtpd_epi32(_mm_castsi128_pd(in)); break;
    }
    after = _mm_getcsr() & 0x3f;
    _mm_setcsr(host);
    c->vcsr |= after;
    if (after & ~(c->vcsr >> 7) & 0x3f)
        x86_raise_noerr(c, X86(c)->cr4 & CR4_OSXMMEXCPT ? EX_XM : EX_UD);
    return to;
}

/* The source as 16 bytes, of which the upper 8 are zero if there are only 8. */
static __m128i mmx_xmm_source(Cpu *c, uint64_t va, uint64_t k, bool from_mm)
{
    bool is_pd = !from_mm && (k >> 8 & 1);
    uint64_t low, high = 0;

    if (k >> 32 & 1) {
        if (is_pd && va & 15)
            x86_raise(c, EX_GP, 0);
        low = mem_load(c, va, 8, c->mmu_mode);
        if (is_pd)
            high = mem_load(c, va + 8, 8, c->mmu_mode);
    } else if (from_mm) {
        low = lane(mm(c, k >> 24 & 7), 0, 8);
    } else {
        low = lane(c->v[k >> 24 & 15], 0, 8);
        high = is_pd ? lane(c->v[k >> 24 & 15], 1, 8) : 0;
    }
    return _mm_set_epi64x((int64_t)high, (int64_t)low);
}

uint64_t hlp_mmx_xmm(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    unsigned kind = k & 0x1ff, reg = k >> 16 & 15;
    bool is_move = (k & 0xff) == 0xd6, to_xmm = is_move ? k >> 9 & 1 : (k & 0xff) == 0x2a;
    __m128i in = mmx_xmm_source(c, va, k, to_xmm), to = _mm_loadu_si128((const __m128i *)c->v[reg]);

    if (!to_xmm)
        mm(c, reg); /* even if #XM comes */
    to = is_move ? in : convert(c, kind, to, in);
    if (to_xmm)
        _mm_storeu_si128((__m128i *)c->v[reg], to);
    else
        set_mm(c, reg, (uint64_t)_mm_cvtsi128_si64(to));
    return 0;
}
