/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_fp - scalar floating point as SSE does it, on the host's arithmetic
 *
 * Operands and results of the host's operations are volatile: the compiler must not move them across changes of the
 * rounding mode and readings of the flags.
 */
#include <math.h>

#include "cpu/x86/pass_fp.h"

#define FORMAT(mantissa_bits, sign_at)                                                             \
    {                                                                                              \
        .sign = 1ull << (sign_at),                                                                 \
        .infinity = (1ull << (sign_at)) - (1ull << (mantissa_bits)),                               \
        .quiet = 1ull << ((mantissa_bits)-1), .mantissa = (1ull << (mantissa_bits)) - 1,           \
        .nan = (1ull << (sign_at)) * 2 - (1ull << ((mantissa_bits)-1)),                            \
    }
const FpFormat fp_formats[] = {[F32] = FORMAT(23, 31), [F64] = FORMAT(52, 63)};

/* --- the instruction as a whole --- */

static void round_as(unsigned mode)
{
    static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

    fesetround(modes[mode]);
}

void fp_begin(Fp *f, const PassArgs *p)
{
    *f = (Fp){.cpu = p->cpu, .csr = p->cpu->vcsr};
    fegetenv(&f->host);
    fesetenv(FE_DFL_ENV);
    round_as(fp_mode(f));
}

static bool is_unmasked(const Fp *f, uint32_t flags)
{
    return flags & ~(f->csr >> FP_MASKS) & 0x3f;
}

/* Exceptions found before the operation hide those found after it, if one of them is unmasked. */
void fp_stage(Fp *f)
{
    uint32_t before = f->flags & FP_BEFORE, now = is_unmasked(f, before) ? before : f->flags;

    f->csr |= now;
    f->flags = 0;
    if (!is_unmasked(f, now))
        return;
    f->cpu->vcsr = f->csr;
    fesetenv(&f->host);
    x86_raise_noerr(f->cpu, X86(f->cpu)->cr4 & CR4_OSXMMEXCPT ? EX_XM : EX_UD);
}

void fp_end(Fp *f)
{
    fp_stage(f);
    f->cpu->vcsr = f->csr;
    fesetenv(&f->host);
}

/* --- operands --- */

static float float_of(uint64_t v)
{
    uint32_t low = (uint32_t)v;
    float r;

    memcpy(&r, &low, sizeof(r));
    return r;
}

static double double_of(uint64_t v)
{
    double r;

    memcpy(&r, &v, sizeof(r));
    return r;
}

static uint64_t bits_of_float(float v)
{
    uint32_t r;

    memcpy(&r, &v, sizeof(r));
    return r;
}

static uint64_t bits_of_double(double v)
{
    uint64_t r;

    memcpy(&r, &v, sizeof(r));
    return r;
}

double fp_value(FpType t, uint64_t v)
{
    return t == F32 ? (double)float_of(v) : double_of(v);
}

uint64_t fp_from_double(FpType t, double v)
{
    return t == F32 ? bits_of_float((float)v) : bits_of_double(v);
}

bool fp_nan(Fp *f, FpType t, const uint64_t *v, unsigned n, uint64_t *out)
{
    bool found = false, denormal = false;

    for (unsigned i = 0; i < n; i++) {
        if (fp_is_signaling(t, v[i]))
            f->flags |= FP_IE;
        if (fp_is_nan(t, v[i]) && !found) {
            *out = v[i] | fp_formats[t].quiet;
            found = true;
        }
        denormal |= fp_is_denormal(t, v[i]);
    }
    if (denormal && !found)
        f->flags |= FP_DE;
    return found;
}

/* --- results --- */

/* Flags of the host's last operation, whose result is @r. */
static uint64_t outcome(Fp *f, FpType t, uint64_t r)
{
    int raised = fetestexcept(FE_ALL_EXCEPT);
    bool tiny = fp_is_denormal(t, r) || raised & FE_UNDERFLOW;

    if (raised)
        feclearexcept(FE_ALL_EXCEPT);
    if (raised & FE_INVALID) {
        f->flags = (f->flags & ~(uint32_t)FP_DE) | FP_IE;
        return fp_formats[t].nan;
    }
    f->flags |= (raised & FE_DIVBYZERO ? FP_ZE : 0) | (raised & FE_OVERFLOW ? FP_OE : 0) |
                (raised & FE_INEXACT ? FP_PE : 0);
    if (!tiny)
        return r;
    if (!fp_is_masked(f, FP_UE)) {
        f->flags |= FP_UE;
    } else if (f->csr & FP_FTZ) {
        f->flags |= FP_UE | FP_PE;
        return r & fp_formats[t].sign;
    } else if (raised & FE_UNDERFLOW) {
        f->flags |= FP_UE;
    }
    return r;
}

static uint64_t do32(FpOp op, const uint64_t *v)
{
    volatile float x = float_of(v[0]), r;

    switch (op) {
    case FP_ADD: r = x + float_of(v[1]); break;
    case FP_SUB: r = x - float_of(v[1]); break;
    case FP_MUL: r = x * float_of(v[1]); break;
    case FP_DIV: r = x / float_of(v[1]); break;
    case FP_SQRT: r = sqrtf(x); break;
    default: r = fmaf(x, float_of(v[1]), float_of(v[2])); break;
    }
    return bits_of_float(r);
}

static uint64_t do64(FpOp op, const uint64_t *v)
{
    volatile double x = double_of(v[0]), r;

    switch (op) {
    case FP_ADD: r = x + double_of(v[1]); break;
    case FP_SUB: r = x - double_of(v[1]); break;
    case FP_MUL: r = x * double_of(v[1]); break;
    case FP_DIV: r = x / double_of(v[1]); break;
    case FP_SQRT: r = sqrt(x); break;
    default: r = fma(x, double_of(v[1]), double_of(v[2])); break;
    }
    return bits_of_double(r);
}

uint64_t fp_do(Fp *f, FpType t, FpOp op, const uint64_t *v)
{
    uint64_t nan;

    if (fp_nan(f, t, v, op == FP_SQRT ? 1 : op == FP_FMA ? 3 : 2, &nan))
        return nan;
    return outcome(f, t, t == F32 ? do32(op, v) : do64(op, v));
}

uint64_t fp_narrow(Fp *f, uint64_t v)
{
    const FpFormat *to = &fp_formats[F32];
    volatile double x;
    volatile float r;
    uint64_t nan;

    v = fp_in(f, F64, v);
    if (fp_nan(f, F64, &v, 1, &nan))
        return (nan >> 32 & to->sign) | to->infinity | (nan >> 29 & to->mantissa);
    x = double_of(v);
    r = (float)x;
    return outcome(f, F32, bits_of_float(r));
}

uint64_t fp_widen(Fp *f, uint64_t v)
{
    const FpFormat *from = &fp_formats[F32];
    uint64_t nan;

    v = fp_in(f, F32, v);
    if (fp_nan(f, F32, &v, 1, &nan))
        return (nan & from->sign) << 32 | fp_formats[F64].infinity | (nan & from->mantissa) << 29;
    return bits_of_double(fp_value(F32, v));
}

uint64_t fp_from_int(Fp *f, FpType t, int64_t v)
{
    volatile int64_t x = v;
    volatile float r32;
    volatile double r64;

    if (t == F32) {
        r32 = (float)x;
        return outcome(f, t, bits_of_float(r32));
    }
    r64 = (double)x;
    return outcome(f, t, bits_of_double(r64));
}

double fp_rint(Fp *f, double v, unsigned mode)
{
    volatile double x = v, r;

    if (mode != fp_mode(f))
        round_as(mode);
    r = nearbyint(x);
    if (mode != fp_mode(f))
        round_as(fp_mode(f));
    return r;
}
