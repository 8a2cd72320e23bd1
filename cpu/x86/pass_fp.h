/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_fp - scalar floating point as SSE does it (SDM vol. 1, 4.8, 11.5 and appendix E)
 *
 * Values are bit patterns, so that NaNs and denormals are seen before the host's arithmetic changes
 * them.  Between fp_begin() and fp_end() the host's rounding mode is the guest's and the host's
 * exception flags belong to this code.
 */
#ifndef CPU_X86_PASS_FP_H
#define CPU_X86_PASS_FP_H

#include <fenv.h>

#include "cpu/x86/pass_priv.h"

enum { /* MXCSR */
       FP_IE = 1,
       FP_DE = 2,
       FP_ZE = 4,
       FP_OE = 8,
       FP_UE = 16,
       FP_PE = 32,
       FP_BEFORE = FP_IE | FP_DE | FP_ZE,
       FP_AFTER = FP_OE | FP_UE | FP_PE,
       FP_DAZ = 0x40,
       FP_MASKS = 7 /* shift */,
       FP_RC = 13 /* shift */,
       FP_FTZ = 0x8000,
};

typedef enum FpType { F32, F64 } FpType;

typedef struct FpFormat {
    uint64_t sign, infinity, quiet, mantissa, nan; /* nan: the default one */
} FpFormat;
extern const FpFormat fp_formats[];

typedef struct Fp {
    Cpu *cpu;
    uint32_t csr;   /* MXCSR when the instruction began, and the flags of stages that ended */
    uint32_t flags; /* of this stage */
    fenv_t host;
} Fp;

typedef enum FpOp { FP_ADD, FP_SUB, FP_MUL, FP_DIV, FP_SQRT, FP_FMA, FP_NARROW } FpOp;

void fp_begin(Fp *f, const PassArgs *p);
/*
 * End of a step of several: an unmasked exception of the step is raised and ends the instruction.
 */
void fp_stage(Fp *f);
void fp_end(Fp *f);

static inline bool fp_is_masked(const Fp *f, unsigned flag)
{
    return f->csr & flag << FP_MASKS;
}

static inline uint64_t fp_get(const PassVal *v, FpType t, unsigned i)
{
    return t == F32 ? v->l[i] : v->q[i];
}

static inline void fp_put(PassVal *v, FpType t, unsigned i, uint64_t to)
{
    if (t == F32)
        v->l[i] = (uint32_t)to;
    else
        v->q[i] = to;
}

static inline unsigned fp_lanes(const PassArgs *p, FpType t)
{
    return p->vl / (t == F32 ? 4u : 8u);
}

static inline bool fp_is_nan(FpType t, uint64_t v)
{
    return (v & ~fp_formats[t].sign) > fp_formats[t].infinity;
}

static inline bool fp_is_signaling(FpType t, uint64_t v)
{
    return fp_is_nan(t, v) && !(v & fp_formats[t].quiet);
}

static inline bool fp_is_denormal(FpType t, uint64_t v)
{
    return !(v & fp_formats[t].infinity) && v & fp_formats[t].mantissa;
}

/* An operand: denormals are zeros if MXCSR says so. */
static inline uint64_t fp_in(const Fp *f, FpType t, uint64_t v)
{
    return f->csr & FP_DAZ && fp_is_denormal(t, v) ? v & fp_formats[t].sign : v;
}

double fp_value(FpType t, uint64_t v);       /* of anything but a NaN; exact */
uint64_t fp_from_double(FpType t, double v); /* of a value that @t has */

/*
 * Exceptions of the operands @v (after fp_in()).  If one is a NaN: true, and *@out is the result,
 * the first NaN made quiet.
 */
bool fp_nan(Fp *f, FpType t, const uint64_t *v, unsigned n, uint64_t *out);

/* @op of v[0], v[1] ...; FP_SQRT has one operand, FP_FMA is v[0] * v[1] + v[2].  Not FP_NARROW. */
uint64_t fp_do(Fp *f, FpType t, FpOp op, const uint64_t *v);

/* The same for operands as they are in a register. */
static inline uint64_t fp_op(Fp *f, FpType t, FpOp op, uint64_t x, uint64_t y)
{
    return fp_do(f, t, op, (const uint64_t[]){fp_in(f, t, x), fp_in(f, t, y)});
}

uint64_t fp_narrow(Fp *f, uint64_t v); /* F64 to F32 */
uint64_t fp_widen(Fp *f, uint64_t v);  /* F32 to F64 */
uint64_t fp_from_int(Fp *f, FpType t, int64_t v);

/* @v rounded to an integer in rounding mode @mode (of MXCSR.RC); no flags. */
double fp_rint(Fp *f, double v, unsigned mode);
static inline unsigned fp_mode(const Fp *f)
{
    return f->csr >> FP_RC & 3;
}

#endif
