/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass_int - portable meaning of integer vector arithmetic, logic and shifts (SDM vol. 2, P...) */
#include "cpu/x86/pass_priv.h"

#define CLAMP_S8(v) pass_clamp(v, INT8_MIN, INT8_MAX)
#define CLAMP_S16(v) pass_clamp(v, INT16_MIN, INT16_MAX)
#define CLAMP_U8(v) pass_clamp(v, 0, UINT8_MAX)
#define CLAMP_U16(v) pass_clamp(v, 0, UINT16_MAX)

/* --- lane by lane --- */

BINARY(paddb, b, x + y)
BINARY(paddw, w, x + y)
BINARY(paddd, l, x + y)
BINARY(paddq, q, x + y)
BINARY(psubb, b, x - y)
BINARY(psubw, w, x - y)
BINARY(psubd, l, x - y)
BINARY(psubq, q, x - y)
BINARY(paddsb, sb, CLAMP_S8(x + y))
BINARY(paddsw, sw, CLAMP_S16(x + y))
BINARY(paddusb, b, CLAMP_U8(x + y))
BINARY(paddusw, w, CLAMP_U16(x + y))
BINARY(psubsb, sb, CLAMP_S8(x - y))
BINARY(psubsw, sw, CLAMP_S16(x - y))
BINARY(psubusb, b, CLAMP_U8(x - y))
BINARY(psubusw, w, CLAMP_U16(x - y))
BINARY(pavgb, b, (x + y + 1) >> 1)
BINARY(pavgw, w, (x + y + 1) >> 1)

BINARY(pmullw, w, (uint32_t)x *y)
BINARY(pmulhw, sw, x *y >> 16)
BINARY(pmulhuw, w, (uint32_t)x *y >> 16)
BINARY(pmulhrsw, sw, ((x * y >> 14) + 1) >> 1)
BINARY(pmulld, l, x *y)
BINARY(pmuludq, q, (x & UINT32_MAX) * (y & UINT32_MAX))
BINARY(pmuldq, sq, (int64_t)(int32_t)x *(int32_t)y)

BINARY(pcmpeqb, b, -(x == y))
BINARY(pcmpeqw, w, -(x == y))
BINARY(pcmpeqd, l, -(x == y))
BINARY(pcmpeqq, q, -(int64_t)(x == y))
BINARY(pcmpgtb, sb, -(x > y))
BINARY(pcmpgtw, sw, -(x > y))
BINARY(pcmpgtd, sl, -(x > y))
BINARY(pcmpgtq, sq, -(int64_t)(x > y))

#define MINMAX(suffix, l) BINARY(pmin##suffix, l, MIN(x, y)) BINARY(pmax##suffix, l, MAX(x, y))
MINMAX(ub, b)
MINMAX(uw, w)
MINMAX(ud, l)
MINMAX(sb, sb)
MINMAX(sw, sw)
MINMAX(sd, sl)

#define LOGIC(and, andn, or, xor)                                                                  \
    BINARY(and, q, x &y) BINARY(andn, q, ~x &y) BINARY(or, q, x | y) BINARY(xor, q, x ^ y)
LOGIC(pand, pandn, por, pxor)
LOGIC(andps, andnps, orps, xorps)
LOGIC(andpd, andnpd, orpd, xorpd)

BINARY(psignb, sb, y < 0 ? -x : y ? x : 0)
BINARY(psignw, sw, y < 0 ? -x : y ? x : 0)
BINARY(psignd, sl, y < 0 ? 0 - (uint32_t)x : y ? (uint32_t)x : 0)
UNARY(pabsb, sb, y < 0 ? -y : y)
UNARY(pabsw, sw, y < 0 ? -y : y)
UNARY(pabsd, sl, y < 0 ? 0 - (uint32_t)y : (uint32_t)y)

/* --- shifts: counts beyond the lane give zeros or copies of the sign --- */

#define SHIFT_LEFT(v, n, width) ((n) < (width) ? (uint64_t)(v) << (n) : 0)
#define SHIFT_RIGHT(v, n, width) ((n) < (width) ? (v) >> (n) : 0)
#define SHIFT_SIGN(v, n, width) ((v) >> ((n) < (width) ? (n) : (width)-1))

/* By a register: the count is 64 bits of b.  By an immediate: of b by imm. */
#define SHIFT(fn, l, width, how)                                                                   \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        const uint64_t n = p->b->q[0];                                                             \
                                                                                                   \
        for (unsigned i = 0; i < LANES_OF(p, l); i++)                                              \
            p->d->l[i] = (LANE(l))how(p->a->l[i], n, width);                                       \
    }                                                                                              \
    UNARY(fn##_i, l, how(y, imm, width))
SHIFT(psllw, w, 16, SHIFT_LEFT)
SHIFT(pslld, l, 32, SHIFT_LEFT)
SHIFT(psllq, q, 64, SHIFT_LEFT)
SHIFT(psrlw, w, 16, SHIFT_RIGHT)
SHIFT(psrld, l, 32, SHIFT_RIGHT)
SHIFT(psrlq, q, 64, SHIFT_RIGHT)
SHIFT(psraw, sw, 16, SHIFT_SIGN)
SHIFT(psrad, sl, 32, SHIFT_SIGN)

BINARY(vpsllvd, l, SHIFT_LEFT(x, y, 32))
BINARY(vpsllvq, q, SHIFT_LEFT(x, y, 64))
BINARY(vpsrlvd, l, SHIFT_RIGHT(x, y, 32))
BINARY(vpsrlvq, q, SHIFT_RIGHT(x, y, 64))
BINARY(vpsravd, sl, SHIFT_SIGN(x, (uint32_t)y, 32))

SHUFFLE(pslldq_i, b, k >= imm ? y.b[i - imm] : 0)
SHUFFLE(psrldq_i, b, k + imm < per ? y.b[i + imm] : 0)

/* --- neighbours --- */

/* Pairs of a, then pairs of b, within each 128 bits: v is the first, w the second of a pair. */
#define HORIZONTAL(fn, l, expr)                                                                    \
    static inline LANE(l) pair_##fn(const LANE(l) * pair)                                          \
    {                                                                                              \
        const LANE(l) v = pair[0], w = pair[1];                                                    \
                                                                                                   \
        return (LANE(l))(expr);                                                                    \
    }                                                                                              \
    SHUFFLE2(fn, l, pair_##fn((k < per / 2 ? x.l : y.l) + o + k * 2 % per))
HORIZONTAL(phaddw, w, v + w)
HORIZONTAL(phaddd, l, v + w)
HORIZONTAL(phaddsw, sw, CLAMP_S16(v + w))
HORIZONTAL(phsubw, w, v - w)
HORIZONTAL(phsubd, l, v - w)
HORIZONTAL(phsubsw, sw, CLAMP_S16(v - w))

SHUFFLE2(pmaddwd, l,
         (uint32_t)(x.sw[2 * i] * y.sw[2 * i]) + (uint32_t)(x.sw[2 * i + 1] * y.sw[2 * i + 1]))
SHUFFLE2(pmaddubsw, sw, CLAMP_S16(x.b[2 * i] * y.sb[2 * i] + x.b[2 * i + 1] * y.sb[2 * i + 1]))

/* Sum of absolute differences of @n bytes. */
static unsigned sad(const uint8_t *a, const uint8_t *b, unsigned n)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += (unsigned)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
    return sum;
}

SHUFFLE2(psadbw, q, sad(x.b + i * 8, y.b + i * 8, 8))
/* Three bits of imm for each 128 bits: block of b, offset in a. */
#define MPSAD_SELECT (imm >> (i >= per ? 3 : 0))
SHUFFLE2(mpsadbw, w,
         sad(x.b + o * 2 + (MPSAD_SELECT >> 2 & 1) * 4 + k, y.b + o * 2 + (MPSAD_SELECT & 3) * 4,
             4))

void pass_phminposuw(PassArgs *p)
{
    PassVal r = {.q = {0}};
    unsigned at = 0;

    for (unsigned i = 1; i < 8; i++)
        if (p->b->w[i] < p->b->w[at])
            at = i;
    r.w[0] = p->b->w[at];
    r.w[1] = (uint16_t)at;
    pass_put(p, p->d, &r, 16);
}

/* --- tests and masks --- */

/* ZF: no bit of @sign is in both; CF: none is in b alone. */
static void test(PassArgs *p, uint64_t sign)
{
    uint64_t both = 0, only_b = 0;

    for (unsigned i = 0; i < p->vl / 8u; i++) {
        both |= p->b->q[i] & p->d->q[i] & sign;
        only_b |= p->b->q[i] & ~p->d->q[i] & sign;
    }
    pass_flags(p, FL_ALL, (both ? 0 : FL_ZF) | (only_b ? 0 : FL_CF));
}

void pass_ptest(PassArgs *p)
{
    test(p, UINT64_MAX);
}

void pass_vtestps(PassArgs *p)
{
    test(p, 0x8000000080000000);
}

void pass_vtestpd(PassArgs *p)
{
    test(p, 0x8000000000000000);
}

#define MOVMSK(fn, l)                                                                              \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        uint64_t r = 0;                                                                            \
                                                                                                   \
        for (unsigned i = 0; i < LANES_OF(p, l); i++)                                              \
            r |= (uint64_t)(p->b->l[i] < 0) << i;                                                  \
        p->d->q[0] = r;                                                                            \
    }
MOVMSK(movmskps, sl)
MOVMSK(movmskpd, sq)
MOVMSK(pmovmskb, sb)
