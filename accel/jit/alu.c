/* SPDX-License-Identifier: GPL-2.0-or-later */
/* alu - integer operations and their flags: SDM vol 1 3.4.3.1 and the instructions' pages in vol
 * 2 */
#include "accel/jit/alu.h"

static uint16_t fl_if(bool on, uint16_t fl)
{
    return on ? fl : 0;
}

/* SF, ZF, PF of a result. */
static uint16_t fl_result(unsigned type, uint64_t r)
{
    r &= alu_mask(type);
    return (uint16_t)(fl_if(r >> (alu_bits(type) - 1), FL_SF) | fl_if(r == 0, FL_ZF) |
                      fl_if(!__builtin_parity((unsigned)(r & 0xff)), FL_PF));
}

static bool top(unsigned type, uint64_t v)
{
    return v >> (alu_bits(type) - 1) & 1;
}

static uint64_t add(unsigned type, uint64_t a, uint64_t b, unsigned carry, uint16_t *fl)
{
    uint64_t r = (a + b + carry) & alu_mask(type);

    *fl = (uint16_t)(fl_result(type, r) | fl_if(top(type, (a & b) | ((a | b) & ~r)), FL_CF) |
                     fl_if((a ^ b ^ r) & 0x10, FL_AF) | fl_if(top(type, (a ^ r) & (b ^ r)), FL_OF));
    return r;
}

static uint64_t sub(unsigned type, uint64_t a, uint64_t b, unsigned borrow, uint16_t *fl)
{
    uint64_t r = (a - b - borrow) & alu_mask(type);

    *fl = (uint16_t)(fl_result(type, r) | fl_if(top(type, (~a & b) | ((~a | b) & r)), FL_CF) |
                     fl_if((a ^ b ^ r) & 0x10, FL_AF) | fl_if(top(type, (a ^ b) & (a ^ r)), FL_OF));
    return r;
}

static uint64_t logic(unsigned type, uint64_t r, uint16_t *fl)
{
    *fl = fl_result(type, r);
    return r;
}

static uint64_t shift(unsigned op, unsigned type, uint64_t a, unsigned n, uint16_t *fl)
{
    unsigned bits = alu_bits(type);
    uint64_t r, s = alu_sext(type, a);
    bool cf, of;

    switch (op) {
    case IR_SHL:
        r = a << n;
        cf = n <= bits && a >> (bits - n) & 1;
        of = top(type, r) ^ cf;
        break;
    case IR_SHR:
        r = a >> n;
        cf = a >> (n - 1) & 1;
        of = top(type, a);
        break;
    default:
        r = (uint64_t)((int64_t)s >> n);
        cf = (int64_t)s >> (n - 1) & 1;
        of = false;
    }
    *fl = (uint16_t)(fl_result(type, r) | fl_if(cf, FL_CF) | fl_if(of, FL_OF));
    return r;
}

static uint64_t rotate(unsigned op, unsigned type, uint64_t a, unsigned n, uint16_t *fl)
{
    unsigned bits = alu_bits(type), k = n & (bits - 1);
    uint64_t r = a;
    bool cf, of;

    if (op == IR_ROR)
        k = (bits - k) & (bits - 1);
    if (k)
        r = (a << k | a >> (bits - k)) & alu_mask(type);
    cf = op == IR_ROL ? r & 1 : top(type, r);
    of = op == IR_ROL ? top(type, r) ^ cf : top(type, r) ^ top(type, r << 1);
    *fl = (uint16_t)((*fl & ~(FL_CF | FL_OF)) | fl_if(cf, FL_CF) | fl_if(of, FL_OF));
    return r;
}

static uint64_t rotate_carry(unsigned op, unsigned type, uint64_t a, unsigned n, uint16_t *fl)
{
    unsigned bits = alu_bits(type);
    bool cf = *fl & FL_CF, of;

    for (n %= bits + 1; n; n--) {
        bool out = op == IR_RCL ? top(type, a) : a & 1;

        a = op == IR_RCL ? a << 1 | cf : a >> 1 | (uint64_t)cf << (bits - 1);
        a &= alu_mask(type);
        cf = out;
    }
    of = op == IR_RCL ? top(type, a) ^ cf : top(type, a) ^ top(type, a << 1);
    *fl = (uint16_t)((*fl & ~(FL_CF | FL_OF)) | fl_if(cf, FL_CF) | fl_if(of, FL_OF));
    return a;
}

/* 16-bit counts above 16 go on with the destination's bits, as processors do. */
static uint64_t shift_double(unsigned op, unsigned type, uint64_t a, uint64_t b, unsigned n,
                             uint16_t *fl)
{
    unsigned bits = alu_bits(type);
    uint64_t r;
    bool cf;

    if (type == I16) {
        uint64_t v = a << 32 | b << 16 | a;

        r = op == IR_SHLD ? v << n >> 32 : v >> n;
        cf = op == IR_SHLD ? v >> (48 - n) & 1 : v >> (n - 1) & 1;
    } else if (op == IR_SHLD) {
        r = a << n | b >> (bits - n);
        cf = a >> (bits - n) & 1;
    } else {
        r = a >> n | b << (bits - n);
        cf = a >> (n - 1) & 1;
    }
    *fl = (uint16_t)(fl_result(type, r) | fl_if(cf, FL_CF) | fl_if(top(type, r ^ a), FL_OF));
    return r;
}

static uint64_t bit_op(unsigned op, unsigned type, uint64_t a, uint64_t b, uint16_t *fl)
{
    uint64_t bit = BIT(b & (alu_bits(type) - 1));

    *fl = (uint16_t)((*fl & ~FL_CF) | fl_if(a & bit, FL_CF));
    switch (op) {
    case IR_BTS: return a | bit;
    case IR_BTR: return a & ~bit;
    case IR_BTC: return a ^ bit;
    default: return a;
    }
}

static uint64_t imul(unsigned type, uint64_t a, uint64_t b, uint16_t *fl)
{
    __int128 p = (__int128)(int64_t)alu_sext(type, a) * (int64_t)alu_sext(type, b);
    bool over = p != (__int128)(int64_t)alu_sext(type, (uint64_t)p);

    *fl = (uint16_t)(fl_result(type, (uint64_t)p) | fl_if(over, FL_CF | FL_OF));
    return (uint64_t)p;
}

static uint64_t by_count(unsigned op, unsigned type, uint64_t a, uint64_t b, uint64_t count,
                         uint16_t *fl)
{
    bool is_double = op == IR_SHLD || op == IR_SHRD;
    unsigned n = (unsigned)(is_double ? count : b) & (type == I64 ? 63 : 31);

    if (!n)
        return a;
    switch (op) {
    case IR_SHL:
    case IR_SHR:
    case IR_SAR: return shift(op, type, a, n, fl);
    case IR_ROL:
    case IR_ROR: return rotate(op, type, a, n, fl);
    case IR_RCL:
    case IR_RCR: return rotate_carry(op, type, a, n, fl);
    default: return shift_double(op, type, a, b, n, fl);
    }
}

static uint64_t eval(unsigned op, unsigned type, uint64_t a, uint64_t b, uint64_t count,
                     uint16_t *fl)
{
    unsigned carry = *fl & FL_CF;
    uint16_t keep = *fl & FL_CF;

    switch (op) {
    case IR_ADD:
    case IR_XADD: return add(type, a, b, 0, fl);
    case IR_ADC: return add(type, a, b, carry, fl);
    case IR_SUB:
    case IR_CMP: return sub(type, a, b, 0, fl);
    case IR_SBB: return sub(type, a, b, carry, fl);
    case IR_AND:
    case IR_TEST: return logic(type, a & b, fl);
    case IR_OR: return logic(type, a | b, fl);
    case IR_XOR: return logic(type, a ^ b, fl);
    case IR_NEG: return sub(type, 0, a, 0, fl);
    case IR_NOT: return ~a;
    case IR_INC:
    case IR_DEC:
        a = op == IR_INC ? add(type, a, 1, 0, fl) : sub(type, a, 1, 0, fl);
        *fl = (uint16_t)((*fl & ~FL_CF) | keep);
        return a;
    case IR_IMUL: return imul(type, a, b, fl);
    case IR_BT:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC: return bit_op(op, type, a, b, fl);
    case IR_BSWAP:
        return type == I64   ? __builtin_bswap64(a)
               : type == I32 ? __builtin_bswap32((uint32_t)a)
                             : 0;
    default: return by_count(op, type, a, b, count, fl);
    }
}

uint64_t alu_eval(unsigned op, unsigned type, uint64_t a, uint64_t b, uint64_t count, uint16_t *fl)
{
    return eval(op, type, a & alu_mask(type), b & alu_mask(type), count, fl) & alu_mask(type);
}

uint64_t alu_mul(bool is_signed, unsigned type, uint64_t a, uint64_t b, uint64_t *high,
                 uint16_t *fl)
{
    unsigned bits = alu_bits(type);
    unsigned __int128 p;
    bool over;

    if (is_signed) {
        p = (unsigned __int128)((__int128)(int64_t)alu_sext(type, a) * (int64_t)alu_sext(type, b));
        over = (__int128)p != (__int128)(int64_t)alu_sext(type, (uint64_t)p);
    } else {
        p = (unsigned __int128)(a & alu_mask(type)) * (b & alu_mask(type));
        over = p >> bits;
    }
    *fl = (uint16_t)(fl_result(type, (uint64_t)p) | fl_if(over, FL_CF | FL_OF));
    *high = (uint64_t)(p >> bits) & alu_mask(type);
    return (uint64_t)p & (type == I8 ? 0xffff : alu_mask(type));
}

bool alu_div(bool is_signed, unsigned type, uint64_t high, uint64_t low, uint64_t by,
             uint64_t *quotient, uint64_t *remainder)
{
    unsigned bits = alu_bits(type);
    unsigned __int128 n, d = by & alu_mask(type), q;
    bool neg_n = false, neg_d = false;

    n = type == I8 ? low & 0xffff
                   : (unsigned __int128)(high & alu_mask(type)) << bits | (low & alu_mask(type));
    if (!d)
        return false;
    if (is_signed) {
        neg_n = n >> (2 * bits - 1) & 1;
        neg_d = top(type, by);
        if (neg_n)
            n = 2 * bits == 128 ? -n : (((unsigned __int128)1 << 2 * bits) - n);
        if (neg_d)
            d = ((unsigned __int128)1 << bits) - d;
    }
    q = n / d;
    if (q > (is_signed ? (alu_mask(type) >> 1) + (neg_n != neg_d) : alu_mask(type)))
        return false;
    *quotient = (uint64_t)(neg_n != neg_d ? -q : q) & alu_mask(type);
    *remainder = (uint64_t)(neg_n ? -(n % d) : n % d) & alu_mask(type);
    return true;
}

bool alu_cond(unsigned cc, uint16_t fl)
{
    bool lt = !(fl & FL_SF) != !(fl & FL_OF), on;

    switch (cc >> 1) {
    case 0: on = fl & FL_OF; break;
    case 1: on = fl & FL_CF; break;
    case 2: on = fl & FL_ZF; break;
    case 3: on = fl & (FL_CF | FL_ZF); break;
    case 4: on = fl & FL_SF; break;
    case 5: on = fl & FL_PF; break;
    case 6: on = lt; break;
    default: on = lt || fl & FL_ZF; break;
    }
    return on != (cc & 1);
}
