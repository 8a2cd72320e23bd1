/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass_move - portable meaning of vector loads, stores and moves (SDM vol. 2, MOV...) */
#include "cpu/x86/pass_priv.h"

UNARY(mov, q, y)

void pass_movst(PassArgs *p)
{
    const PassVal r = *p->d;

    pass_put(p, p->b, &r, p->vl);
}

/* --- one element --- */

/* 128 bits: @low and @high. */
static void put2(PassArgs *p, PassVal *to, uint64_t low, uint64_t high)
{
    const PassVal r = {.q = {low, high}};

    pass_put(p, to, &r, 16);
}

static uint64_t low32(uint64_t rest, uint64_t v)
{
    return bits_set(rest, 0, 32, v);
}

void pass_movss(PassArgs *p)
{
    put2(p, p->d, low32(p->a->q[0], p->b->l[0]), p->a->q[1]);
}

void pass_movss_rev(PassArgs *p)
{
    put2(p, p->b, low32(p->a->q[0], p->d->l[0]), p->a->q[1]);
}

void pass_movss_load(PassArgs *p)
{
    put2(p, p->d, p->b->l[0], 0);
}

void pass_movss_store(PassArgs *p)
{
    p->b->l[0] = p->d->l[0];
}

void pass_movsd(PassArgs *p)
{
    put2(p, p->d, p->b->q[0], p->a->q[1]);
}

void pass_movsd_rev(PassArgs *p)
{
    put2(p, p->b, p->d->q[0], p->a->q[1]);
}

void pass_movsd_load(PassArgs *p)
{
    put2(p, p->d, p->b->q[0], 0);
}

void pass_movsd_store(PassArgs *p)
{
    p->b->q[0] = p->d->q[0];
}

void pass_movq(PassArgs *p)
{
    put2(p, p->d, p->b->q[0], 0);
}

void pass_movq_rev(PassArgs *p)
{
    put2(p, p->b, p->d->q[0], 0);
}

void pass_movd_load(PassArgs *p)
{
    put2(p, p->d, p->opsize == 8 ? p->b->q[0] : (uint32_t)p->b->q[0], 0);
}

void pass_movd_store(PassArgs *p)
{
    p->b->q[0] = p->opsize == 8 ? p->d->q[0] : p->d->l[0];
}

void pass_movnti(PassArgs *p)
{
    p->b->q[0] = p->d->q[0];
}

/* --- halves --- */

void pass_movhlps(PassArgs *p)
{
    put2(p, p->d, p->b->q[1], p->a->q[1]);
}

void pass_movlpd(PassArgs *p)
{
    put2(p, p->d, p->b->q[0], p->a->q[1]);
}

void pass_movhpd(PassArgs *p)
{
    put2(p, p->d, p->a->q[0], p->b->q[0]);
}

void pass_movhpd_store(PassArgs *p)
{
    p->b->q[0] = p->d->q[1];
}

/* --- all registers --- */

/* Bytes from @from on become zero in the registers that the processor's mode reaches. */
static void zero_all(PassArgs *p, unsigned from)
{
    unsigned n = (p->cpu->mode & MODE_SIZE) == MODE_64 ? 16 : 8;

    for (unsigned i = 0; i < n; i++)
        memset(p->cpu->v[i] + from, 0, sizeof(p->cpu->v[i]) - from);
}

void pass_vzeroupper(PassArgs *p)
{
    zero_all(p, 16);
}

void pass_vzeroall(PassArgs *p)
{
    zero_all(p, 0);
}
