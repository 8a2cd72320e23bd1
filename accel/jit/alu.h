/* SPDX-License-Identifier: GPL-2.0-or-later */
/* alu - integer ops of the IR as pure functions: result and flags */
#ifndef ACCEL_JIT_ALU_H
#define ACCEL_JIT_ALU_H

#include "cpu/ir/ir.h"

static inline unsigned alu_bits(unsigned type)
{
    return 8u << type;
}
static inline uint64_t alu_mask(unsigned type)
{
    return ~0ull >> (64 - alu_bits(type));
}
static inline uint64_t alu_sext(unsigned type, uint64_t v)
{
    return (uint64_t)sext(v, alu_bits(type));
}

/*
 * Result of @op on @a and @b (both cut to the type); @count is that of SHLD and SHRD.  *fl holds
 * all flags before and after: those a manual calls undefined are set to something definite; the
 * caller keeps the ones not in fl_out. All of ADD .. XOR, CMP, TEST, NEG, NOT, INC, DEC, shifts,
 * rotates, IMUL, BT*, BSWAP.
 */
uint64_t alu_eval(unsigned op, unsigned type, uint64_t a, uint64_t b, uint64_t count, uint16_t *fl);
/* High half in *high; I8: the 16-bit product is the result. */
uint64_t alu_mul(bool is_signed, unsigned type, uint64_t a, uint64_t b, uint64_t *high,
                 uint16_t *fl);
/* False: divide error.  I8: @low holds 16 bits, @high is not looked at. */
bool alu_div(bool is_signed, unsigned type, uint64_t high, uint64_t low, uint64_t by,
             uint64_t *quotient, uint64_t *remainder);
bool alu_cond(unsigned cc, uint16_t fl);

static inline uint16_t alu_fl_of_cc(uint16_t cc)
{
    return (uint16_t)((cc >> 8 & 0xd5) | (cc & 1) << 11);
}
static inline uint16_t alu_cc_of_fl(uint16_t fl)
{
    return (uint16_t)(((fl & 0xd5) | 2) << 8 | (fl >> 11 & 1));
}

#endif
