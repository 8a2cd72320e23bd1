/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass_fma - portable meaning of FMA: d, a, b are operands 1, 2, 3 (SDM vol. 2, VFM...) */
#include "cpu/x86/pass_fp.h"

/* Signs: of the product, of the addend in even and in odd lanes. */
enum { NEG_PRODUCT = 1, NEG_EVEN = 2, NEG_ODD = 4, NEG_ADDEND = NEG_EVEN | NEG_ODD };

static uint64_t negate(FpType t, uint64_t v, bool yes)
{
    return yes && !fp_is_nan(t, v) ? v ^ fp_formats[t].sign : v;
}

static uint64_t lane(Fp *f, FpType t, const uint64_t *v, unsigned neg, unsigned i)
{
    uint64_t in[3];

    for (unsigned n = 0; n < 3; n++)
        in[n] = fp_in(f, t, v[n]);
    in[0] = negate(t, in[0], neg & NEG_PRODUCT);
    in[2] = negate(t, in[2], neg & (i & 1 ? NEG_ODD : NEG_EVEN));
    return fp_do(f, t, FP_FMA, in);
}

/* @order: 132, 213, 231: which operands are x, y, z of x * y + z. */
static void fma_lanes(PassArgs *p, FpType t, unsigned order, unsigned neg, bool is_scalar)
{
    const PassVal *o[] = {p->d, p->a, p->b};
    const PassVal *x = o[order / 100 - 1], *y = o[order / 10 % 10 - 1], *z = o[order % 10 - 1];
    const unsigned n = is_scalar ? 1 : fp_lanes(p, t);
    PassVal r = *p->d;
    Fp f;

    fp_begin(&f, p);
    for (unsigned i = 0; i < n; i++)
        fp_put(&r, t, i,
               lane(&f, t, (const uint64_t[]){fp_get(x, t, i), fp_get(y, t, i), fp_get(z, t, i)},
                    neg, i));
    fp_end(&f);
    pass_put(p, p->d, &r, is_scalar ? 16 : p->vl);
}

#define FMA(fn, order, neg, suffix, t, is_scalar)                                                  \
    void pass_vf##fn##order##suffix(PassArgs *p)                                                   \
    {                                                                                              \
        fma_lanes(p, t, order, neg, is_scalar);                                                    \
    }
#define FMA_ORDERS(fn, neg, suffix, t, is_scalar)                                                  \
    FMA(fn, 132, neg, suffix, t, is_scalar)                                                        \
    FMA(fn, 213, neg, suffix, t, is_scalar)                                                        \
    FMA(fn, 231, neg, suffix, t, is_scalar)
#define FMA_PACKED(fn, neg) FMA_ORDERS(fn, neg, ps, F32, false) FMA_ORDERS(fn, neg, pd, F64, false)
#define FMA_SCALAR(fn, neg) FMA_ORDERS(fn, neg, ss, F32, true) FMA_ORDERS(fn, neg, sd, F64, true)
FMA_PACKED(madd, 0)
FMA_SCALAR(madd, 0)
FMA_PACKED(msub, NEG_ADDEND)
FMA_SCALAR(msub, NEG_ADDEND)
FMA_PACKED(nmadd, NEG_PRODUCT)
FMA_SCALAR(nmadd, NEG_PRODUCT)
FMA_PACKED(nmsub, NEG_PRODUCT | NEG_ADDEND)
FMA_SCALAR(nmsub, NEG_PRODUCT | NEG_ADDEND)
FMA_PACKED(maddsub, NEG_EVEN)
FMA_PACKED(msubadd, NEG_ODD)
