/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass_string - portable meaning of PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1) */
#include "cpu/x86/pass_priv.h"

enum { EQUAL_ANY, RANGES, EQUAL_EACH, EQUAL_ORDERED };

typedef struct Strings {
    const PassVal *v[2];
    unsigned len[2]; /* valid elements */
    unsigned n;      /* elements of a register: 8 or 16 */
    unsigned imm;
} Strings;

static int element(const Strings *s, unsigned which, unsigned i)
{
    const PassVal *v = s->v[which];

    switch (s->imm & 3) {
    case 0: return v->b[i];
    case 1: return v->w[i];
    case 2: return v->sb[i];
    default: return v->sw[i];
    }
}

static bool is_valid(const Strings *s, unsigned which, unsigned i)
{
    return i < s->len[which];
}

static bool equal_any(const Strings *s, unsigned j)
{
    for (unsigned i = 0; is_valid(s, 1, j) && i < s->len[0]; i++)
        if (element(s, 0, i) == element(s, 1, j))
            return true;
    return false;
}

static bool in_range(const Strings *s, unsigned j)
{
    for (unsigned i = 0; is_valid(s, 1, j) && i + 1 < s->len[0]; i += 2)
        if (element(s, 0, i) <= element(s, 1, j) && element(s, 1, j) <= element(s, 0, i + 1))
            return true;
    return false;
}

static bool equal_each(const Strings *s, unsigned j)
{
    if (is_valid(s, 0, j) && is_valid(s, 1, j))
        return element(s, 0, j) == element(s, 1, j);
    return !is_valid(s, 0, j) && !is_valid(s, 1, j);
}

static bool equal_ordered(const Strings *s, unsigned j)
{
    for (unsigned i = 0; i < s->len[0] && i + j < s->n; i++)
        if (!is_valid(s, 1, i + j) || element(s, 0, i) != element(s, 1, i + j))
            return false;
    return true;
}

/* IntRes2: a bit for each element of the second string. */
static unsigned compare(const Strings *s)
{
    static bool (*const aggregate[])(const Strings *, unsigned) = {
        [EQUAL_ANY] = equal_any,
        [RANGES] = in_range,
        [EQUAL_EACH] = equal_each,
        [EQUAL_ORDERED] = equal_ordered,
    };
    unsigned r = 0;

    for (unsigned j = 0; j < s->n; j++) {
        bool hit = aggregate[s->imm >> 2 & 3](s, j), negate = s->imm >> 4 & 1,
             only_valid = s->imm >> 5 & 1;

        if (negate && (!only_valid || is_valid(s, 1, j)))
            hit = !hit;
        r |= (unsigned)hit << j;
    }
    return r;
}

/* An explicit length: its magnitude, no more than there are elements. */
static unsigned explicit_length(const PassArgs *p, unsigned reg, unsigned n)
{
    int64_t v = sext(p->cpu->r[reg], p->opsize * 8u);
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    return magnitude < n ? (unsigned)magnitude : n;
}

static unsigned implicit_length(const Strings *s, unsigned which)
{
    unsigned i = 0;

    while (i < s->n && element(s, which, i))
        i++;
    return i;
}

static unsigned run(PassArgs *p, Strings *s, bool is_explicit)
{
    unsigned r;

    *s = (Strings){.v = {p->d, p->b}, .imm = p->imm, .n = p->imm & 1 ? 8 : 16};
    for (unsigned i = 0; i < 2; i++)
        s->len[i] = is_explicit ? explicit_length(p, i ? R_DX : R_AX, s->n) : implicit_length(s, i);
    r = compare(s);
    pass_flags(p, FL_ALL,
               (r ? FL_CF : 0) | (s->len[1] < s->n ? FL_ZF : 0) | (s->len[0] < s->n ? FL_SF : 0) |
                   (r & 1 ? FL_OF : 0));
    return r;
}

static void to_index(PassArgs *p, bool is_explicit)
{
    Strings s;
    unsigned r = run(p, &s, is_explicit), last = p->imm >> 6 & 1;

    p->cpu->r[R_CX] = !r ? s.n : (unsigned)(last ? 31 - __builtin_clz(r) : __builtin_ctz(r));
}

static void to_mask(PassArgs *p, bool is_explicit)
{
    Strings s;
    unsigned r = run(p, &s, is_explicit), size = 16 / s.n;
    PassVal *out = (PassVal *)p->cpu->v[0];

    for (unsigned i = 0; i < 16; i++)
        out->b[i] = p->imm & 0x40 ? (uint8_t) - (r >> i / size & 1)
                    : i < 2       ? (uint8_t)(r >> i * 8)
                                  : 0;
    for (unsigned i = 16; i < 32 && p->vex; i++)
        out->b[i] = 0;
}

void pass_pcmpestri(PassArgs *p)
{
    to_index(p, true);
}

void pass_pcmpistri(PassArgs *p)
{
    to_index(p, false);
}

void pass_pcmpestrm(PassArgs *p)
{
    to_mask(p, true);
}

void pass_pcmpistrm(PassArgs *p)
{
    to_mask(p, false);
}
