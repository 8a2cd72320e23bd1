/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_fp - scalar floating point as SSE does it, on the host's arithmetic
 *
 * Operands and results of the host's operations are volatile: the compiler must not move them
 * across changes of the rounding mode and readings of the flags.
 */
#include <math.h>

#include "cpu/x86/pass_fp.h"

#define FORMAT(mantissa_bits, sign_at)                                                             \
    {                                                                                              \
        .sign = 1ull << (sign_at), .infinity = (1ull << (sign_at)) - (1ull << (mantissa_bits)),    \
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

/* --- operations --- */

static uint64_t do32(FpOp op, const uint64_t *v)
{
    volatile float x = float_of(v[0]), r;
    volatile double wide = double_of(v[0]);

    switch (op) {
    case FP_ADD: r = x + float_of(v[1]); break;
    case FP_SUB: r = x - float_of(v[1]); break;
    case FP_MUL: r = x * float_of(v[1]); break;
    case FP_DIV: r = x / float_of(v[1]); break;
    case FP_SQRT: r = sqrtf(x); break;
    case FP_NARROW: r = (float)wide; break;
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

/* @op of @v; *@raised: the host's exceptions. */
static uint64_t operate(FpType t, FpOp op, const uint64_t *v, int *raised)
{
    uint64_t r = t == F32 ? do32(op, v) : do64(op, v);

    *raised = fetestexcept(FE_ALL_EXCEPT);
    if (*raised)
        feclearexcept(FE_ALL_EXCEPT);
    return r;
}

/* @v times 2^by; as it is, if it loses bits thereby. */
static uint64_t scaled(FpType t, double v, int by)
{
    uint64_t r = fp_from_double(t, ldexp(v, by));

    return ldexp(fp_value(t, r), -by) == v ? r : fp_from_double(t, v);
}

/*
 * The result was too small (@tiny) or too great: would it be inexact if exponents had no limits?
 * That is what PE tells with an unmasked underflow or overflow.  Found by the same operation on
 * operands of harmless size.
 */
static bool is_inexact_unbounded(FpType t, FpOp op, const uint64_t *v, bool tiny)
{
    int by = t == F32 ? (tiny ? 200 : -140) : (tiny ? 1200 : -1100), ex, ey, raised;
    double x = frexp(fp_value(op == FP_NARROW ? F64 : t, v[0]), &ex);
    double y = op == FP_NARROW ? 0 : frexp(fp_value(t, v[1]), &ey);
    uint64_t in[3] = {fp_from_double(op == FP_NARROW ? F64 : t, x), fp_from_double(t, y)};

    if (op == FP_ADD || op == FP_SUB) {
        in[0] = scaled(t, fp_value(t, v[0]), tiny ? 100 : -2);
        in[1] = scaled(t, fp_value(t, v[1]), tiny ? 100 : -2);
    } else if (op == FP_FMA) {
        in[1] = fp_from_double(t, ldexp(y, MAX(ex + ey + by, t == F32 ? -100 : -1000)));
        in[2] = scaled(t, fp_value(t, v[2]), by);
    }
    feclearexcept(FE_ALL_EXCEPT);
    operate(t, op, in, &raised);
    return raised & FE_INEXACT;
}

/* Operation on operands that are no NaNs; @before: flags before its operands were looked at. */
static uint64_t arithmetic(Fp *f, FpType t, FpOp op, const uint64_t *v, uint32_t before)
{
    int raised;
    uint64_t r = operate(t, op, v, &raised);
    bool tiny = fp_is_denormal(t, r) || raised & FE_UNDERFLOW, huge = raised & FE_OVERFLOW;
    bool inexact = raised & FE_INEXACT, flush = tiny && f->csr & FP_FTZ && fp_is_masked(f, FP_UE);

    if (raised & (FE_INVALID | FE_DIVBYZERO)) { /* come before a denormal operand */
        f->flags = before | (raised & FE_INVALID ? FP_IE : FP_ZE);
        return raised & FE_INVALID ? fp_formats[t].nan : r;
    }
    if ((tiny && !fp_is_masked(f, FP_UE)) || (huge && !fp_is_masked(f, FP_OE)))
        inexact = is_inexact_unbounded(t, op, v, tiny);
    f->flags |= (huge ? FP_OE : 0) | (inexact || flush ? FP_PE : 0) |
                (tiny && (inexact || flush || !fp_is_masked(f, FP_UE)) ? FP_UE : 0);
    return flush ? r & fp_formats[t].sign : r;
}

uint64_t fp_do(Fp *f, FpType t, FpOp op, const uint64_t *v)
{
    static const uint8_t operands[] = {[FP_SQRT] = 1, [FP_NARROW] = 1, [FP_FMA] = 3};
    uint32_t before = f->flags;
    uint64_t nan;

    if (fp_nan(f, t, v, operands[op] ? operands[op] : 2, &nan))
        return nan;
    return arithmetic(f, t, op, v, before);
}

uint64_t fp_narrow(Fp *f, uint64_t v)
{
    const FpFormat *to = &fp_formats[F32];
    uint32_t before = f->flags;
    uint64_t nan;

    v = fp_in(f, F64, v);
    if (fp_nan(f, F64, &v, 1, &nan))
        return (nan >> 32 & to->sign) | to->infinity | (nan >> 29 & to->mantissa);
    return arithmetic(f, F32, FP_NARROW, &v, before);
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
    uint64_t r;

    if (t == F32) {
        r32 = (float)x;
        r = bits_of_float(r32);
    } else {
        r64 = (double)x;
        r = bits_of_double(r64);
    }
    if (fetestexcept(FE_INEXACT)) {
        feclearexcept(FE_ALL_EXCEPT);
        f->flags |= FP_PE;
    }
    return r;
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
