/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * asm - emitting x86-64 machine code (SDM vol 2, chapter 2)
 *
 * Bytes go to a writable view of code memory; addresses of code are those of its executable view,
 * `delta` away.
 */
#ifndef ACCEL_JIT_X64_ASM_H
#define ACCEL_JIT_X64_ASM_H

#include "base/base.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = 255 };

typedef struct Asm {
    uint8_t *p;     /* next byte, writable view */
    intptr_t delta; /* executable - writable */
} Asm;

/* The r/m operand: a register, or memory [base + index << scale + disp]. */
typedef struct Rm {
    uint8_t is_reg, reg, index, scale;
    int32_t disp;
} Rm;

static inline Rm rm_reg(unsigned r)
{
    return (Rm){1, (uint8_t)r, NOREG, 0, 0};
}
static inline Rm rm_mem(unsigned base, int32_t disp)
{
    return (Rm){0, (uint8_t)base, NOREG, 0, disp};
}
static inline Rm rm_sib(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (Rm){0, (uint8_t)base, (uint8_t)index, (uint8_t)scale, disp};
}

static inline const uint8_t *asm_here(const Asm *a)
{
    return a->p + a->delta;
}
static inline void emit8(Asm *a, unsigned v)
{
    *a->p++ = (uint8_t)v;
}
static inline void emit16(Asm *a, unsigned v)
{
    uint16_t x = (uint16_t)v;
    __builtin_memcpy(a->p, &x, 2);
    a->p += 2;
}
static inline void emit32(Asm *a, uint32_t v)
{
    __builtin_memcpy(a->p, &v, 4);
    a->p += 4;
}
static inline void emit64(Asm *a, uint64_t v)
{
    __builtin_memcpy(a->p, &v, 8);
    a->p += 8;
}
static inline bool fits32(int64_t v)
{
    return v == (int32_t)v;
}

/*
 * ModRM, SIB and displacement for @reg and @rm at @p; returns what is behind.  The place is in a
 * local here and below: bytes may alias Asm.p, so that it would be stored and loaded again for
 * each.  Up to 4 bytes behind may be written.
 */
static inline uint8_t *put_modrm(uint8_t *p, unsigned reg, Rm rm)
{
    unsigned r = (reg & 7) << 3, base = rm.reg & 7, mod;

    if (rm.is_reg) {
        *p++ = (uint8_t)(0xc0 | r | base);
        return p;
    }
    if (rm.reg == NOREG) { /* [index << scale + disp32] or absolute disp32 */
        mod = 2;
        *p++ = (uint8_t)(r | 4);
        *p++ = (uint8_t)(rm.scale << 6 | (rm.index == NOREG ? 4 : rm.index & 7) << 3 | 5);
    } else {
        mod = rm.disp == 0 && base != RBP ? 0 : rm.disp == (int8_t)rm.disp ? 1 : 2;
        if (rm.index != NOREG || base == RSP) {
            *p++ = (uint8_t)(mod << 6 | r | 4);
            *p++ = (uint8_t)(rm.scale << 6 | (rm.index == NOREG ? 4 : rm.index & 7) << 3 | base);
        } else {
            *p++ = (uint8_t)(mod << 6 | r | base);
        }
    }
    __builtin_memcpy(p, &rm.disp, 4);
    return p + (mod == 2 ? 4 : mod);
}

static inline void emit_modrm(Asm *a, unsigned reg, Rm rm)
{
    a->p = put_modrm(a->p, reg, rm);
}

/* One instruction with a ModRM byte: operand @size 1, 2, 4, 8; @opcode 0xNN, 0x0fNN, 0x0f38NN; a
 * mandatory @prefix (0: none) goes before REX.  Immediates follow by the caller. */
static inline void emit_op(Asm *a, unsigned prefix, unsigned size, unsigned opcode, unsigned reg,
                           Rm rm)
{
    uint8_t *p = a->p;
    unsigned rex = (size == 8) << 3 | (reg >> 3 & 1) << 2;

    if (rm.reg != NOREG)
        rex |= rm.reg >> 3 & 1;
    if (rm.index != NOREG)
        rex |= (rm.index >> 3 & 1) << 1;
    if (size == 2)
        *p++ = 0x66;
    if (prefix)
        *p++ = (uint8_t)prefix;
    /* SPL..DIL need a REX prefix; harmless where the field is an opcode extension. */
    if (rex || (size == 1 && ((reg >= 4 && reg < 8) || (rm.is_reg && rm.reg >= 4 && rm.reg < 8))))
        *p++ = (uint8_t)(0x40 | rex);
    if (opcode > 0xffff)
        *p++ = (uint8_t)(opcode >> 16);
    if (opcode > 0xff)
        *p++ = (uint8_t)(opcode >> 8);
    *p++ = (uint8_t)opcode;
    a->p = put_modrm(p, reg, rm);
}

/* VEX-encoded: @pp 0 none, 1 66, 2 F3, 3 F2; @map 1..3; @vvvv the register (not inverted), 0 if
 * unused. */
static inline void emit_vex(Asm *a, unsigned pp, unsigned map, unsigned w, unsigned l,
                            unsigned opcode, unsigned reg, unsigned vvvv, Rm rm)
{
    unsigned x = rm.index != NOREG ? rm.index >> 3 & 1 : 0,
             b = rm.reg != NOREG ? rm.reg >> 3 & 1 : 0;

    emit32(a, 0xc4 | ((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | map) << 8 |
                  (w << 7 | (~vvvv & 15) << 3 | l << 2 | pp) << 16 | opcode << 24);
    emit_modrm(a, reg, rm);
}

static inline void emit_mov(Asm *a, unsigned size, unsigned dst, unsigned src)
{
    if (dst != src || size == 4)
        emit_op(a, 0, size, size == 1 ? 0x8a : 0x8b, dst, rm_reg(src));
}
static inline void emit_load(Asm *a, unsigned size, unsigned dst, Rm m)
{
    emit_op(a, 0, size, size == 1 ? 0x8a : 0x8b, dst, m);
}
static inline void emit_store(Asm *a, unsigned size, Rm m, unsigned src)
{
    emit_op(a, 0, size, size == 1 ? 0x88 : 0x89, src, m);
}
/* Zero-extending load of 1, 2, 4 or 8 bytes. */
static inline void emit_loadz(Asm *a, unsigned size, unsigned dst, Rm m)
{
    emit_op(a, 0, size < 4 ? 4 : size, size == 1 ? 0x0fb6 : size == 2 ? 0x0fb7 : 0x8b, dst, m);
}

static inline void emit_imm(Asm *a, unsigned size, int64_t v)
{
    if (size == 1)
        emit8(a, (uint8_t)v);
    else if (size == 2)
        emit16(a, (uint16_t)v);
    else
        emit32(a, (uint32_t)v);
}

/* Register = 64-bit constant, shortest form; flags are kept. */
static inline void emit_const(Asm *a, unsigned dst, uint64_t v)
{
    if (v == (uint32_t)v) {
        if (dst >= 8)
            emit8(a, 0x41);
        emit8(a, 0xb8 | (dst & 7));
        emit32(a, (uint32_t)v);
    } else if (fits32((int64_t)v)) {
        emit_op(a, 0, 8, 0xc7, 0, rm_reg(dst));
        emit32(a, (uint32_t)v);
    } else {
        emit16(a, 0x48 | (dst >= 8) | (0xb8 | (dst & 7)) << 8);
        emit64(a, v);
    }
}

static inline void emit_jmp(Asm *a, const uint8_t *to)
{
    emit8(a, 0xe9);
    emit32(a, (uint32_t)(to - (asm_here(a) + 4)));
}
static inline void emit_call(Asm *a, const uint8_t *to)
{
    emit8(a, 0xe8);
    emit32(a, (uint32_t)(to - (asm_here(a) + 4)));
}
/* Forward jump; returns the place of its displacement for asm_patch(). */
static inline uint8_t *emit_jcc(Asm *a, unsigned cc)
{
    emit16(a, 0x0f | (0x80 | cc) << 8);
    emit32(a, 0);
    return a->p - 4;
}
static inline uint8_t *emit_jmp_fwd(Asm *a)
{
    emit8(a, 0xe9);
    emit32(a, 0);
    return a->p - 4;
}
static inline void asm_patch(uint8_t *disp, const uint8_t *to_writable)
{
    int32_t d = (int32_t)(to_writable - (disp + 4));

    __builtin_memcpy(disp, &d, 4);
}
/* @n (0..8) bytes of no-operation in at most one instruction (SDM vol 2, NOP). */
static inline void emit_nops(Asm *a, unsigned n)
{
    static const uint8_t nops[9][8] = {
        {0},
        {0x90},
        {0x66, 0x90},
        {0x0f, 0x1f, 0},
        {0x0f, 0x1f, 0x40, 0},
        {0x0f, 0x1f, 0x44, 0, 0},
        {0x66, 0x0f, 0x1f, 0x44, 0, 0},
        {0x0f, 0x1f, 0x80, 0, 0, 0, 0},
        {0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0},
    };

    __builtin_memcpy(a->p, nops[n], 8);
    a->p += n;
}

/* Room so that the 4 bytes at @ahead from here are 4-byte aligned: they can then be patched
 * while others run them. */
static inline void emit_align_patch(Asm *a, unsigned ahead)
{
    emit_nops(a, (unsigned)-((uintptr_t)a->p + ahead) & 3);
}

#endif
