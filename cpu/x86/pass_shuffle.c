/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass_shuffle - portable meaning of instructions that rearrange lanes: unpack, pack, shuffle,
 * permute, blend, insert, extract, broadcast, extend (SDM vol. 2)
 */
#include "cpu/x86/pass_priv.h"

/* --- unpack, pack --- */

#define UNPACK(low, high, l)                                                                       \
    SHUFFLE2(low, l, (k & 1 ? y : x).l[o + k / 2])                                                 \
    SHUFFLE2(high, l, (k & 1 ? y : x).l[o + (per + k) / 2])
UNPACK(punpcklbw, punpckhbw, b)
UNPACK(punpcklwd, punpckhwd, w)
UNPACK(punpckldq, punpckhdq, l)
UNPACK(punpcklqdq, punpckhqdq, q)
UNPACK(unpcklps, unpckhps, l)
UNPACK(unpcklpd, unpckhpd, q)

/* Lanes of @from, twice as wide, saturated. */
#define PACK(fn, to, from, low, high)                                                              \
    SHUFFLE2(fn, to, pass_clamp((k < per / 2 ? x : y).from[o / 2 + k % (per / 2)], low, high))
PACK(packsswb, sb, sw, INT8_MIN, INT8_MAX)
PACK(packuswb, b, sw, 0, UINT8_MAX)
PACK(packssdw, sw, sl, INT16_MIN, INT16_MAX)
PACK(packusdw, w, sl, 0, UINT16_MAX)

/* --- shuffle, permute --- */

#define PICK(n) (imm >> (n)*2 & 3) /* two bits of imm */
SHUFFLE2(pshufb, b, y.b[i] & 0x80 ? 0 : x.b[o + (y.b[i] & 15)])
SHUFFLE(pshufd, l, y.l[o + PICK(k)])
SHUFFLE(pshuflw, w, k < 4 ? y.w[o + PICK(k)] : y.w[i])
SHUFFLE(pshufhw, w, k < 4 ? y.w[i] : y.w[o + 4 + PICK(k - 4)])
SHUFFLE2(shufps, l, (k < 2 ? x : y).l[o + PICK(k)])
SHUFFLE2(shufpd, q, (k < 1 ? x : y).q[o + (imm >> i & 1)])
SHUFFLE2(palignr, b, k + imm < 16 ? y.b[i + imm] : k + imm < 32 ? x.b[i + imm - 16] : 0)
SHUFFLE2(vpermilps, l, x.l[o + (y.l[i] & 3)])
SHUFFLE2(vpermilpd, q, x.q[o + (y.q[i] >> 1 & 1)])
SHUFFLE(vpermilps_i, l, y.l[o + PICK(k)])
SHUFFLE(vpermilpd_i, q, y.q[o + (imm >> i & 1)])
SHUFFLE2(vpermd, l, y.l[x.l[i] & 7])
SHUFFLE(vpermq, q, y.q[PICK(i)])
/* Four bits of imm for each 128 bits: bit 1 takes b, bit 0 its upper half, bit 3 zeros. */
#define HALF (imm >> o * 2)
SHUFFLE2(vperm2f128, q, HALF & 8 ? 0 : (HALF & 2 ? y : x).q[(HALF & 1) * 2 + k])
SHUFFLE(movsldup, l, y.l[i & ~1u])
SHUFFLE(movshdup, l, y.l[i | 1])
SHUFFLE(movddup, q, y.q[o])

/* --- blend --- */

SHUFFLE2(pblendw, w, (imm >> k & 1 ? y : x).w[i])
SHUFFLE2(blendps, l, (imm >> i & 1 ? y : x).l[i])
SHUFFLE2(blendpd, q, (imm >> i & 1 ? y : x).q[i])

#define BLENDV(fn, l)                                                                              \
    void pass_##fn(PassArgs *p)                                                                    \
    {                                                                                              \
        const PassVal mask = *pass_vreg(p, p->imm >> 4);                                           \
                                                                                                   \
        for (unsigned i = 0; i < LANES_OF(p, l); i++)                                              \
            p->d->l[i] = mask.l[i] < 0 ? p->b->l[i] : p->a->l[i];                                  \
    }
BLENDV(pblendvb, sb)
BLENDV(blendvps, sl)
BLENDV(blendvpd, sq)

/* --- broadcast, extend --- */

SHUFFLE(vpbroadcastb, b, y.b[0])
SHUFFLE(vpbroadcastw, w, y.w[0])
SHUFFLE(vpbroadcastd, l, y.l[0])
SHUFFLE(vpbroadcastq, q, y.q[0])
SHUFFLE(vbroadcastf128, q, y.q[k])

SHUFFLE(pmovsxbw, sw, y.sb[i])
SHUFFLE(pmovsxbd, sl, y.sb[i])
SHUFFLE(pmovsxbq, sq, y.sb[i])
SHUFFLE(pmovsxwd, sl, y.sw[i])
SHUFFLE(pmovsxwq, sq, y.sw[i])
SHUFFLE(pmovsxdq, sq, y.sl[i])
SHUFFLE(pmovzxbw, w, y.b[i])
SHUFFLE(pmovzxbd, l, y.b[i])
SHUFFLE(pmovzxbq, q, y.b[i])
SHUFFLE(pmovzxwd, l, y.w[i])
SHUFFLE(pmovzxwq, q, y.w[i])
SHUFFLE(pmovzxdq, q, y.l[i])

/* --- insert, extract --- */

/* Lane @at of a becomes @v. */
#define INSERT(p, l, at, v)                                                                        \
    do {                                                                                           \
        PassVal r_ = *(p)->a;                                                                      \
                                                                                                   \
        r_.l[at] = (LANE(l))(v);                                                                   \
        pass_put(p, (p)->d, &r_, 16);                                                              \
    } while (0)

void pass_pinsrb(PassArgs *p)
{
    INSERT(p, b, p->imm & 15, p->b->q[0]);
}

void pass_pinsrw(PassArgs *p)
{
    INSERT(p, w, p->imm & 7, p->b->q[0]);
}

void pass_pinsrd(PassArgs *p)
{
    if (p->opsize == 8)
        INSERT(p, q, p->imm & 1, p->b->q[0]);
    else
        INSERT(p, l, p->imm & 3, p->b->q[0]);
}

void pass_pextrb(PassArgs *p)
{
    p->b->q[0] = p->d->b[p->imm & 15];
}

void pass_pextrw(PassArgs *p)
{
    p->d->q[0] = p->b->w[p->imm & 7];
}

void pass_pextrw_store(PassArgs *p)
{
    p->b->q[0] = p->d->w[p->imm & 7];
}

void pass_pextrd(PassArgs *p)
{
    p->b->q[0] = p->d->l[p->imm & 3];
}

void pass_pextrdq(PassArgs *p)
{
    p->b->q[0] = p->opsize == 8 ? p->d->q[p->imm & 1] : p->d->l[p->imm & 3];
}

static void insertps(PassArgs *p, uint32_t v)
{
    PassVal r = *p->a;

    r.l[p->imm >> 4 & 3] = v;
    for (unsigned i = 0; i < 4; i++)
        if (p->imm >> i & 1)
            r.l[i] = 0;
    pass_put(p, p->d, &r, 16);
}

void pass_insertps(PassArgs *p)
{
    insertps(p, p->b->l[p->imm >> 6]);
}

void pass_insertps_mem(PassArgs *p)
{
    insertps(p, p->b->l[0]);
}

void pass_vinsertf128(PassArgs *p)
{
    PassVal r = *p->a;

    for (unsigned i = 0; i < 2; i++)
        r.q[(p->imm & 1) * 2 + i] = p->b->q[i];
    pass_put(p, p->d, &r, 32);
}

void pass_vextractf128(PassArgs *p)
{
    const PassVal r = {.q = {p->d->q[(p->imm & 1) * 2], p->d->q[(p->imm & 1) * 2 + 1]}};

    pass_put(p, p->b, &r, 16);
}
