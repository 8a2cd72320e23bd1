/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_convert - portable meaning of floating-point conversion and rounding: CVT..., ROUND...,
 * F16C (SDM vol. 2)
 */
#include <float.h>
#include <math.h>

#include "cpu/x86/pass_fp.h"

enum { NEAREST, DOWN, UP, TRUNCATE };

/* --- between floating-point formats --- */

void pass_cvtps2pd(PassArgs *p)
{
    PassVal r;
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, F64); i++)
        r.q[i] = fp_widen(&f, p->b->l[i]);
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

void pass_cvtpd2ps(PassArgs *p)
{
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, F64); i++)
        r.l[i] = (uint32_t)fp_narrow(&f, p->b->q[i]);
    fp_end(&f);
    pass_put(p, p->d, &r, 16);
}

void pass_cvtss2sd(PassArgs *p)
{
    PassVal r = *p->a;
    Fp f;

    fp_begin(&f, p);
    r.q[0] = fp_widen(&f, p->b->l[0]);
    fp_end(&f);
    pass_put(p, p->d, &r, 16);
}

void pass_cvtsd2ss(PassArgs *p)
{
    PassVal r = *p->a;
    Fp f;

    fp_begin(&f, p);
    r.l[0] = (uint32_t)fp_narrow(&f, p->b->q[0]);
    fp_end(&f);
    pass_put(p, p->d, &r, 16);
}

/* --- from integers --- */

void pass_cvtdq2ps(PassArgs *p)
{
    PassVal r;
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, F32); i++)
        r.l[i] = (uint32_t)fp_from_int(&f, F32, p->b->sl[i]);
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

SHUFFLE(cvtdq2pd, q, fp_from_double(F64, y.sl[i]))

static void from_gpr(PassArgs *p, FpType t)
{
    PassVal r = *p->a;
    Fp f;

    fp_begin(&f, p);
    fp_put(&r, t, 0, fp_from_int(&f, t, sext(p->b->q[0], p->opsize * 8u)));
    fp_end(&f);
    pass_put(p, p->d, &r, 16);
}

void pass_cvtsi2ss(PassArgs *p)
{
    from_gpr(p, F32);
}

void pass_cvtsi2sd(PassArgs *p)
{
    from_gpr(p, F64);
}

/* --- to integers --- */

/* Signed, of @width bits; what does not fit becomes the least integer. */
static uint64_t to_int(Fp *f, FpType t, uint64_t v, unsigned width, unsigned mode)
{
    const double limit = width == 32 ? 0x1p31 : 0x1p63;
    double x, r;

    v = fp_in(f, t, v);
    if (!fp_is_nan(t, v)) {
        x = fp_value(t, v);
        r = fp_rint(f, x, mode);
        if (r >= -limit && r < limit) {
            f->flags |= r != x ? FP_PE : 0;
            return bits((uint64_t)(int64_t)r, 0, width);
        }
    }
    f->flags |= FP_IE;
    return 1ull << (width - 1);
}

/* To double words; of doubles they fill half a register. */
static void to_dwords(PassArgs *p, FpType t, bool truncate)
{
    const unsigned n = fp_lanes(p, t);
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < n; i++)
        r.l[i] = (uint32_t)to_int(&f, t, fp_get(p->b, t, i), 32, truncate ? TRUNCATE : fp_mode(&f));
    fp_end(&f);
    pass_put(p, p->d, &r, t == F32 ? p->vl : 16);
}

void pass_cvtps2dq(PassArgs *p)
{
    to_dwords(p, F32, false);
}

void pass_cvttps2dq(PassArgs *p)
{
    to_dwords(p, F32, true);
}

void pass_cvtpd2dq(PassArgs *p)
{
    to_dwords(p, F64, false);
}

void pass_cvttpd2dq(PassArgs *p)
{
    to_dwords(p, F64, true);
}

static void to_gpr(PassArgs *p, FpType t, bool truncate)
{
    uint64_t r;
    Fp f;

    fp_begin(&f, p);
    r = to_int(&f, t, fp_get(p->b, t, 0), p->opsize * 8u, truncate ? TRUNCATE : fp_mode(&f));
    fp_end(&f);
    p->d->q[0] = r;
}

void pass_cvtss2si(PassArgs *p)
{
    to_gpr(p, F32, false);
}

void pass_cvttss2si(PassArgs *p)
{
    to_gpr(p, F32, true);
}

void pass_cvtsd2si(PassArgs *p)
{
    to_gpr(p, F64, false);
}

void pass_cvttsd2si(PassArgs *p)
{
    to_gpr(p, F64, true);
}

/* --- to an integer in the same format --- */

/* imm has the mode, or bit 2: that of MXCSR; bit 3: no precision exception. */
static uint64_t round_lane(Fp *f, FpType t, uint64_t v, unsigned imm)
{
    double x, r;

    v = fp_in(f, t, v);
    if (fp_is_nan(t, v)) {
        f->flags |= fp_is_signaling(t, v) ? FP_IE : 0;
        return v | fp_formats[t].quiet;
    }
    x = fp_value(t, v);
    r = fp_rint(f, x, imm & 4 ? fp_mode(f) : imm & 3);
    f->flags |= r != x && !(imm & 8) ? FP_PE : 0;
    return fp_from_double(t, r);
}

static void round_lanes(PassArgs *p, FpType t, bool is_scalar)
{
    PassVal r = {.q = {0}};
    Fp f;

    if (is_scalar)
        r = *p->a;
    fp_begin(&f, p);
    for (unsigned i = 0; i < (is_scalar ? 1 : fp_lanes(p, t)); i++)
        fp_put(&r, t, i, round_lane(&f, t, fp_get(p->b, t, i), p->imm));
    fp_end(&f);
    pass_put(p, p->d, &r, is_scalar ? 16 : p->vl);
}

void pass_roundps(PassArgs *p)
{
    round_lanes(p, F32, false);
}

void pass_roundpd(PassArgs *p)
{
    round_lanes(p, F64, false);
}

void pass_roundss(PassArgs *p)
{
    round_lanes(p, F32, true);
}

void pass_roundsd(PassArgs *p)
{
    round_lanes(p, F64, true);
}

/* --- half precision: 5 bits of exponent, 10 of mantissa --- */

enum { HALF_SIGN = 0x8000, HALF_INFINITY = 0x7c00, HALF_QUIET = 0x200, HALF_MANTISSA = 0x3ff };
#define HALF_MAX 65504.0 /* the greatest */
#define HALF_MIN_EXPONENT (-14)

/* Exact; denormal halves are neither exceptions nor zeros. */
static uint64_t from_half(Fp *f, unsigned h)
{
    const FpFormat *k = &fp_formats[F32];
    uint64_t sign = h & HALF_SIGN ? k->sign : 0;
    int exponent = h >> 10 & 31, mantissa = h & HALF_MANTISSA;

    if (exponent == 31 && mantissa) {
        f->flags |= h & HALF_QUIET ? 0 : FP_IE;
        return sign | k->infinity | k->quiet | (uint64_t)mantissa << 13;
    }
    if (exponent == 31)
        return sign | k->infinity;
    return sign | fp_from_double(F32, exponent ? ldexp(mantissa | 0x400, exponent - 25)
                                               : ldexp(mantissa, -24));
}

/* @v rounded to a multiple of 2^(exponent - 10). */
static double half_round(Fp *f, double v, int exponent, unsigned mode)
{
    return ldexp(fp_rint(f, ldexp(v, 10 - exponent), mode), exponent - 10);
}

/*
 * Of a finite value that is not zero; FTZ does not count.  If overflow or underflow traps, PE
 * tells whether the result would be inexact if exponents had no limits, but of denormals it
 * always is.
 */
static unsigned half_from_finite(Fp *f, double v, unsigned mode)
{
    int exponent = ilogb(v), least = exponent < HALF_MIN_EXPONENT ? HALF_MIN_EXPONENT : exponent;
    double r = fabs(half_round(f, v, least, mode)),
           unbounded = fabs(half_round(f, v, exponent, mode));
    bool tiny = unbounded<ldexp(1, HALF_MIN_EXPONENT), huge = r> HALF_MAX;
    bool traps = (tiny && !fp_is_masked(f, FP_UE)) || (huge && !fp_is_masked(f, FP_OE));
    bool inexact = traps && fabs(v) >= FLT_MIN ? unbounded != fabs(v) : huge || r != fabs(v);

    f->flags |=
        (inexact ? FP_PE : 0) | (huge ? FP_OE : 0) | (tiny && (inexact || traps) ? FP_UE : 0);
    if (huge)
        return mode == NEAREST || mode == (v < 0 ? DOWN : UP) ? HALF_INFINITY : HALF_INFINITY - 1;
    return ((unsigned)(least - HALF_MIN_EXPONENT) << 10) + (unsigned)ldexp(r, 10 - least);
}

static unsigned to_half(Fp *f, uint64_t v, unsigned mode)
{
    const FpFormat *k = &fp_formats[F32];
    unsigned sign = v & k->sign ? HALF_SIGN : 0;
    uint64_t nan;

    v = fp_in(f, F32, v);
    if (fp_nan(f, F32, &v, 1, &nan))
        return sign | HALF_INFINITY | (nan >> 13 & HALF_MANTISSA);
    if ((v & ~k->sign) == k->infinity)
        return sign | HALF_INFINITY;
    return v & ~k->sign ? sign | half_from_finite(f, fp_value(F32, v), mode) : sign;
}

void pass_vcvtph2ps(PassArgs *p)
{
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, F32); i++)
        r.l[i] = (uint32_t)from_half(&f, p->b->w[i]);
    fp_end(&f);
    pass_put(p, p->d, &r, p->vl);
}

void pass_vcvtps2ph(PassArgs *p)
{
    PassVal r = {.q = {0}};
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < fp_lanes(p, F32); i++)
        r.w[i] = (uint16_t)to_half(&f, p->d->l[i], p->imm & 4 ? fp_mode(&f) : p->imm & 3);
    fp_end(&f);
    pass_put(p, p->b, &r, p->vl / 2);
}
