/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pass_gpr - portable meaning of BMI1, BMI2, ADX, bit counts and CRC32 (SDM vol. 2) */
#include "cpu/x86/pass_priv.h"

/* Operand @v at the operand size. */
static uint64_t operand(const PassArgs *p, const PassVal *v)
{
    return bits(v->q[0], 0, p->opsize * 8u);
}

static void result(PassArgs *p, uint64_t v)
{
    pass_put_gpr(p->d, p->opsize, v);
}

/* Flags of result @r: SF, ZF, CF as told, OF clear. */
static void flags_of(PassArgs *p, uint64_t r, bool carry)
{
    pass_flags(p, FL_OF | FL_SF | FL_ZF | FL_CF,
               (r >> (p->opsize * 8u - 1) & 1 ? FL_SF : 0) | (r ? 0 : FL_ZF) | (carry ? FL_CF : 0));
}

/* --- counting --- */

void pass_popcnt(PassArgs *p)
{
    uint64_t v = operand(p, p->b);

    result(p, (unsigned)__builtin_popcountll(v));
    pass_flags(p, FL_ALL, v ? 0 : FL_ZF);
}

static void count_zeros(PassArgs *p, uint64_t v, unsigned n)
{
    result(p, n);
    pass_flags(p, FL_ZF | FL_CF, (v ? 0 : FL_CF) | (n ? 0 : FL_ZF));
}

void pass_tzcnt(PassArgs *p)
{
    uint64_t v = operand(p, p->b);

    count_zeros(p, v, v ? (unsigned)__builtin_ctzll(v) : p->opsize * 8u);
}

void pass_lzcnt(PassArgs *p)
{
    uint64_t v = operand(p, p->b);

    count_zeros(p, v, v ? (unsigned)__builtin_clzll(v) - (64 - p->opsize * 8u) : p->opsize * 8u);
}

/* --- lowest bits --- */

void pass_andn(PassArgs *p)
{
    uint64_t r = ~operand(p, p->a) & operand(p, p->b);

    result(p, r);
    flags_of(p, r, false);
}

void pass_blsr(PassArgs *p)
{
    uint64_t v = operand(p, p->b), r = v & (v - 1);

    result(p, r);
    flags_of(p, r, !v);
}

void pass_blsmsk(PassArgs *p)
{
    uint64_t v = operand(p, p->b), r = bits(v ^ (v - 1), 0, p->opsize * 8u);

    result(p, r);
    flags_of(p, r, !v);
}

void pass_blsi(PassArgs *p)
{
    uint64_t v = operand(p, p->b), r = v & -v;

    result(p, r);
    flags_of(p, r, v != 0);
}

/* --- fields --- */

/* The low @n bits of @v, n of any size. */
static uint64_t low_bits(uint64_t v, unsigned n)
{
    return n >= 64 ? v : v & ((1ull << n) - 1);
}

void pass_bzhi(PassArgs *p)
{
    unsigned n = p->a->q[0] & 0xff;
    uint64_t r = low_bits(operand(p, p->b), n);

    result(p, r);
    flags_of(p, r, n >= p->opsize * 8u);
}

void pass_bextr(PassArgs *p)
{
    unsigned at = p->a->q[0] & 0xff, n = p->a->q[0] >> 8 & 0xff;
    uint64_t r = at < 64 ? low_bits(operand(p, p->b) >> at, n) : 0;

    result(p, r);
    pass_flags(p, FL_OF | FL_ZF | FL_CF, r ? 0 : FL_ZF);
}

void pass_pext(PassArgs *p)
{
    uint64_t v = operand(p, p->a), mask = operand(p, p->b), r = 0;

    for (unsigned n = 0; mask; mask &= mask - 1, n++)
        r |= (v >> __builtin_ctzll(mask) & 1) << n;
    result(p, r);
}

void pass_pdep(PassArgs *p)
{
    uint64_t v = operand(p, p->a), mask = operand(p, p->b), r = 0;

    for (; mask; mask &= mask - 1, v >>= 1)
        r |= (v & 1) << __builtin_ctzll(mask);
    result(p, r);
}

/* --- arithmetic --- */

/* d + b + the flag @carry, whose carry replaces it. */
static void add_with(PassArgs *p, unsigned carry)
{
    uint64_t x = operand(p, p->d), y = operand(p, p->b),
             c = x86_flags_from_cc(p->cpu->cc) & carry ? 1 : 0;
    uint64_t r = bits(x + y + c, 0, p->opsize * 8u);

    result(p, r);
    pass_flags(p, carry, r < x || (c && r == x) ? carry : 0);
}

void pass_adcx(PassArgs *p)
{
    add_with(p, FL_CF);
}

void pass_adox(PassArgs *p)
{
    add_with(p, FL_OF);
}

/* Low half first: if both halves go to one register, it gets the high one. */
void pass_mulx(PassArgs *p)
{
    uint64_t x = bits(p->cpu->r[R_DX], 0, p->opsize * 8u), y = operand(p, p->b);
    unsigned __int128 r = (unsigned __int128)x * y;

    pass_put_gpr(p->a, p->opsize, (uint64_t)r);
    result(p, (uint64_t)(r >> p->opsize * 8));
}

/* --- shifts without flags --- */

static unsigned count(const PassArgs *p, uint64_t n)
{
    return n & (p->opsize * 8u - 1);
}

void pass_shlx(PassArgs *p)
{
    result(p, operand(p, p->b) << count(p, p->a->q[0]));
}

void pass_shrx(PassArgs *p)
{
    result(p, operand(p, p->b) >> count(p, p->a->q[0]));
}

void pass_sarx(PassArgs *p)
{
    result(p, (uint64_t)(sext(p->b->q[0], p->opsize * 8u) >> count(p, p->a->q[0])));
}

void pass_rorx(PassArgs *p)
{
    uint64_t v = operand(p, p->b);
    unsigned n = count(p, p->imm);

    result(p, n ? v >> n | v << (p->opsize * 8u - n) : v);
}

/* --- CRC32 (Castagnoli, bits reflected) --- */

static void crc32(PassArgs *p, unsigned bytes)
{
    uint32_t crc = (uint32_t)p->d->q[0];

    for (unsigned i = 0; i < bytes; i++) {
        crc ^= p->b->q[0] >> i * 8 & 0xff;
        for (unsigned n = 0; n < 8; n++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    p->d->q[0] = crc;
}

void pass_crc32b(PassArgs *p)
{
    crc32(p, 1);
}

void pass_crc32(PassArgs *p)
{
    crc32(p, p->opsize);
}
