/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_float - portable meaning of floating-point arithmetic and comparison: SSE, SSE2, SSE3,
 * SSE4.1, AVX (SDM vol. 2)
 */
#include <math.h>

#include "cpu/x86/pass_fp.h"

/* One lane: of a and b. */
typedef uint64_t LaneFn(Fp *f, FpType t, uint64_t x, uint64_t y, unsigned imm);

/* @fn on every lane, or on the lowest, the rest being a's. */
static void packed(PassArgs *p, FpType t, LaneFn *fn)
{
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, t); i++)
        fp_put(&r, t, i, fn(&f, t, fp_get(p->a, t, i), fp_get(p->b, t, i), p->imm));
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

static void scalar(PassArgs *p, FpType t, LaneFn *fn)
{
    PassVal r = *p->a;
    Fp f;

    fp_begin(&f, p);
    fp_put(&r, t, 0, fn(&f, t, fp_get(p->a, t, 0), fp_get(p->b, t, 0), p->imm));
    fp_end(&f);
    pass_put(p, p->d, &r, 16);
}

#define PS_SS(fn, lane)                                                                            \
    void pass_##fn##ps(PassArgs *p)                                                                \
    {                                                                                              \
        packed(p, F32, lane);                                                                      \
    }                                                                                              \
    void pass_##fn##ss(PassArgs *p)                                                                \
    {                                                                                              \
        scalar(p, F32, lane);                                                                      \
    }
#define PD_SD(fn, lane)                                                                            \
    void pass_##fn##pd(PassArgs *p)                                                                \
    {                                                                                              \
        packed(p, F64, lane);                                                                      \
    }                                                                                              \
    void pass_##fn##sd(PassArgs *p)                                                                \
    {                                                                                              \
        scalar(p, F64, lane);                                                                      \
    }

/* --- arithmetic --- */

#define ARITH(fn, op)                                                                              \
    static uint64_t lane_##fn(Fp *f, FpType t, uint64_t x, uint64_t y, unsigned imm UNUSED)        \
    {                                                                                              \
        return fp_op(f, t, op, x, y);                                                              \
    }                                                                                              \
    PS_SS(fn, lane_##fn)                                                                           \
    PD_SD(fn, lane_##fn)
ARITH(add, FP_ADD)
ARITH(sub, FP_SUB)
ARITH(mul, FP_MUL)
ARITH(div, FP_DIV)

static uint64_t lane_sqrt(Fp *f, FpType t, uint64_t x UNUSED, uint64_t y, unsigned imm UNUSED)
{
    y = fp_in(f, t, y);
    return fp_do(f, t, FP_SQRT, &y);
}
PS_SS(sqrt, lane_sqrt)
PD_SD(sqrt, lane_sqrt)

/* With a NaN, or of equal values: the second operand as it is; every NaN is invalid. */
static uint64_t extreme(Fp *f, FpType t, uint64_t x, uint64_t y, bool max)
{
    const uint64_t v[] = {fp_in(f, t, x), fp_in(f, t, y)};
    uint64_t nan;

    if (fp_nan(f, t, v, 2, &nan)) {
        f->flags |= FP_IE;
        return v[1];
    }
    return (max ? fp_value(t, v[0]) > fp_value(t, v[1]) : fp_value(t, v[0]) < fp_value(t, v[1]))
               ? v[0]
               : v[1];
}

static uint64_t lane_min(Fp *f, FpType t, uint64_t x, uint64_t y, unsigned imm UNUSED)
{
    return extreme(f, t, x, y, false);
}
PS_SS(min, lane_min)
PD_SD(min, lane_min)

static uint64_t lane_max(Fp *f, FpType t, uint64_t x, uint64_t y, unsigned imm UNUSED)
{
    return extreme(f, t, x, y, true);
}
PS_SS(max, lane_max)
PD_SD(max, lane_max)

/* --- approximations: 12 good bits at least, no exceptions, denormals are zeros --- */

static uint64_t approximate(uint64_t y, bool root)
{
    const FpFormat *k = &fp_formats[F32];
    uint64_t r;
    double v;

    if (fp_is_nan(F32, y))
        return y | k->quiet;
    if (!(y & k->infinity))
        return (y & k->sign) | k->infinity;
    v = fp_value(F32, y);
    if (root && v < 0)
        return k->nan;
    r = fp_from_double(F32, root ? 1 / sqrt(v) : 1 / v);
    return fp_is_denormal(F32, r) ? r & k->sign : r;
}

#define APPROXIMATION(fn, root)                                                                    \
    UNARY(fn##ps, l, approximate(y, root))                                                         \
    void pass_##fn##ss(PassArgs *p)                                                                \
    {                                                                                              \
        PassVal r = *p->a;                                                                         \
                                                                                                   \
        r.l[0] = (uint32_t)approximate(p->b->l[0], root);                                          \
        pass_put(p, p->d, &r, 16);                                                                 \
    }
APPROXIMATION(rcp, false)
APPROXIMATION(rsqrt, true)

/* --- neighbours --- */

/* Pairs of a, then pairs of b, within each 128 bits. */
static void horizontal(PassArgs *p, FpType t, FpOp op)
{
    const unsigned per = t == F32 ? 4 : 2;
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, t); i++) {
        const PassVal *from = i % per < per / 2 ? p->a : p->b;
        unsigned at = i - i % per + i % per * 2 % per;

        fp_put(&r, t, i, fp_op(&f, t, op, fp_get(from, t, at), fp_get(from, t, at + 1)));
    }
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

void pass_haddps(PassArgs *p)
{
    horizontal(p, F32, FP_ADD);
}

void pass_haddpd(PassArgs *p)
{
    horizontal(p, F64, FP_ADD);
}

void pass_hsubps(PassArgs *p)
{
    horizontal(p, F32, FP_SUB);
}

void pass_hsubpd(PassArgs *p)
{
    horizontal(p, F64, FP_SUB);
}

/* Even lanes are subtracted, odd ones added. */
static void addsub(PassArgs *p, FpType t)
{
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, t); i++)
        fp_put(&r, t, i,
               fp_op(&f, t, i & 1 ? FP_ADD : FP_SUB, fp_get(p->a, t, i), fp_get(p->b, t, i)));
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

void pass_addsubps(PassArgs *p)
{
    addsub(p, F32);
}

void pass_addsubpd(PassArgs *p)
{
    addsub(p, F64);
}

/* Each lane of @v plus the lane whose number differs in @bit, as a step. */
static void add_partners(Fp *f, FpType t, PassVal *v, unsigned n, unsigned bit, bool partner_first)
{
    PassVal r = *v;

    for (unsigned i = 0; i < n; i++) {
        uint64_t own = fp_get(v, t, i), partner = fp_get(v, t, i ^ bit);

        fp_put(&r, t, i,
               fp_op(f, t, FP_ADD, partner_first ? partner : own, partner_first ? own : partner));
    }
    *v = r;
    fp_stage(f);
}

/*
 * Dot product of each 128 bits: products, sums of neighbours, sum of these are a step each.
 * Which of two NaNs a lane gets is what Intel's processors do.
 */
static void dot(PassArgs *p, FpType t)
{
    const unsigned n = fp_lanes(p, t), per = t == F32 ? 4 : 2;
    PassVal v = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < n; i++)
        if (p->imm >> (4 + i % per) & 1)
            fp_put(&v, t, i, fp_op(&f, t, FP_MUL, fp_get(p->a, t, i), fp_get(p->b, t, i)));
    fp_stage(&f);
    add_partners(&f, t, &v, n, 1, t == F32);
    if (t == F32)
        add_partners(&f, t, &v, n, 2, false);
    fp_end(&f);
    for (unsigned i = 0; i < n; i++)
        fp_put(p->d, t, i, p->imm >> i % per & 1 ? fp_get(&v, t, i) : 0);
}

void pass_dpps(PassArgs *p)
{
    dot(p, F32);
}

void pass_dppd(PassArgs *p)
{
    dot(p, F64);
}

/* --- comparison --- */

enum { LESS = 1, EQUAL = 2, GREATER = 4, UNORDERED = 8 };

/* A quiet NaN is invalid only for a @signaling comparison. */
static unsigned relation(Fp *f, FpType t, uint64_t x, uint64_t y, bool signaling)
{
    const uint64_t v[] = {fp_in(f, t, x), fp_in(f, t, y)};
    uint64_t nan;
    double a, b;

    if (fp_nan(f, t, v, 2, &nan)) {
        f->flags |= signaling ? FP_IE : 0;
        return UNORDERED;
    }
    a = fp_value(t, v[0]);
    b = fp_value(t, v[1]);
    return a < b ? LESS : a > b ? GREATER : EQUAL;
}

/* Predicates 16..31 differ from 0..15 in what a quiet NaN does; legacy forms have 0..7. */
static uint64_t lane_cmp(Fp *f, FpType t, uint64_t x, uint64_t y, unsigned imm)
{
    static const uint8_t holds[16] = {
        EQUAL,
        LESS,
        LESS | EQUAL,
        UNORDERED,
        LESS | GREATER | UNORDERED,
        EQUAL | GREATER | UNORDERED,
        GREATER | UNORDERED,
        LESS | EQUAL | GREATER,
        EQUAL | UNORDERED,
        LESS | UNORDERED,
        LESS | EQUAL | UNORDERED,
        0,
        LESS | GREATER,
        EQUAL | GREATER,
        GREATER,
        LESS | EQUAL | GREATER | UNORDERED,
    };
    const unsigned signaling = 0x99996666; /* a bit for each predicate */

    return relation(f, t, x, y, signaling >> imm & 1) & holds[imm & 15] ? UINT64_MAX : 0;
}

#define CMP(suffix, how, t)                                                                        \
    void pass_cmp##suffix(PassArgs *p)                                                             \
    {                                                                                              \
        p->imm &= p->vex ? 31 : 7;                                                                 \
        how(p, t, lane_cmp);                                                                       \
    }
CMP(ps, packed, F32)
CMP(pd, packed, F64)
CMP(ss, scalar, F32)
CMP(sd, scalar, F64)

static void comi(PassArgs *p, FpType t, bool signaling)
{
    unsigned r;
    Fp f;

    fp_begin(&f, p);
    r = relation(&f, t, fp_get(p->d, t, 0), fp_get(p->b, t, 0), signaling);
    fp_end(&f);
    pass_flags(p, FL_ALL,
               (r & (EQUAL | UNORDERED) ? FL_ZF : 0) | (r & (LESS | UNORDERED) ? FL_CF : 0) |
                   (r & UNORDERED ? FL_PF : 0));
}

void pass_comiss(PassArgs *p)
{
    comi(p, F32, true);
}

void pass_comisd(PassArgs *p)
{
    comi(p, F64, true);
}

void pass_ucomiss(PassArgs *p)
{
    comi(p, F32, false);
}

void pass_ucomisd(PassArgs *p)
{
    comi(p, F64, false);
}
