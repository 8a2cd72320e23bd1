/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass - what the portable meanings pass_<fn>() share; cpu/x86/pass.c has their contract */
#ifndef CPU_X86_PASS_PRIV_H
#define CPU_X86_PASS_PRIV_H

#include "cpu/ir/ir.h"
#include "cpu/x86/x86.h"

#define TR(...)
#define PASS(name, fn, ...) PassFn pass_##fn;
#include "cpu/x86/opcodes.def"
#undef PASS
#undef TR

#define LANE(l) __typeof__(((PassVal *)0)->l[0])
#define LANES_OF(p, l) ((p)->vl / sizeof(LANE(l)))

/* d.l[i] = @expr of x = a.l[i] and y = b.l[i]; @l: the member of PassVal that gives the lanes. */
#define BINARY(fn, l, expr)                                                                        \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        for (unsigned i = 0; i < LANES_OF(p, l); i++) {                                            \
            LANE(l) x = p->a->l[i], y = p->b->l[i];                                                \
                                                                                                   \
            p->d->l[i] = (LANE(l))(expr);                                                          \
        }                                                                                          \
    }

/* d.l[i] = @expr of y = b.l[i] and imm. */
#define UNARY(fn, l, expr)                                                                         \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        const unsigned imm UNUSED = p->imm;                                                        \
                                                                                                   \
        for (unsigned i = 0; i < LANES_OF(p, l); i++) {                                            \
            LANE(l) y = p->b->l[i];                                                                \
                                                                                                   \
            p->d->l[i] = (LANE(l))(expr);                                                          \
        }                                                                                          \
    }

/*
 * d.l[i] = @expr of the whole b (y) and imm.  Lane i is the k-th of the @per lanes of its 128 bits,
 * which begin at lane o.
 */
#define SHUFFLE_LOOP(l, expr)                                                                      \
    const unsigned imm UNUSED = p->imm, per = 16 / sizeof(LANE(l));                                \
                                                                                                   \
    for (unsigned i = 0; i < LANES_OF(p, l); i++) {                                                \
        const unsigned k UNUSED = i % per, o UNUSED = i - i % per;                                 \
                                                                                                   \
        p->d->l[i] = (LANE(l))(expr);                                                              \
    }
#define SHUFFLE(fn, l, expr)                                                                       \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        const PassVal y = *p->b;                                                                   \
        SHUFFLE_LOOP(l, expr)                                                                      \
    }

/* The same of a (x) and b (y). */
#define SHUFFLE2(fn, l, expr)                                                                      \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        const PassVal x = *p->a, y = *p->b;                                                        \
        SHUFFLE_LOOP(l, expr)                                                                      \
    }

static inline int64_t pass_clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* The first @n bytes of @r to @to, zeros up to vl. */
static inline void pass_put(const PassArgs *p, PassVal *to, const PassVal *r, unsigned n)
{
    for (unsigned i = 0; i < p->vl; i++)
        to->b[i] = i < n ? r->b[i] : 0;
}

/* A general register of the operand size @size becomes @v. */
static inline void pass_put_gpr(PassVal *to, unsigned size, uint64_t v)
{
    to->q[0] = size == 8 ? v : size == 4 ? (uint32_t)v : (to->q[0] & ~0xffffull) | (uint16_t)v;
}

/* Of the flags @mask those in @v become set, the others clear. */
static inline void pass_flags(const PassArgs *p, unsigned mask, unsigned v)
{
    p->cpu->cc = x86_cc_from_flags((x86_flags_from_cc(p->cpu->cc) & ~(uint64_t)mask) | v);
}

static inline const PassVal *pass_vreg(const PassArgs *p, unsigned n)
{
    return (const PassVal *)p->cpu->v[n];
}

#endif
