/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lower_pass - instructions that the host executes as they are
 *
 * Vector registers keep their numbers; general registers are mapped, memory operands become [r13].
 * A general register that lives in its home is read as a memory operand where it is ModRM.rm,
 * through r14 elsewhere.
 */
#include "accel/jit/x64/x64_priv.h"

typedef struct Enc {
    unsigned reg, vvvv;
    Rm rm;
    unsigned w, size; /* size: 2 asks for a 66 prefix on legacy forms */
} Enc;

/* CRC32 writes 32 bits whatever its source; the byte form may name SIL and DIL. */
static bool row_is_crc32(const IrPassRow *row)
{
    return row->map == 2 && row->pp == 3 && (row->opcode & 0xfe) == 0xf0;
}
static bool row_is_crc32_byte(const IrPassRow *row)
{
    return row_is_crc32(row) && row->opcode == 0xf0;
}

static void encode(Asm *a, const IrPassRow *row, const Enc *n, bool l256)
{
    static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};
    unsigned opcode = row->map == 1 ? 0x0f00u | row->opcode
                                    : (row->map == 2 ? 0x0f3800u : 0x0f3a00u) | row->opcode;

    if (row->implicit & PI_ALL_V) { /* VZEROUPPER, VZEROALL: no ModRM */
        emit8(a, 0xc5);
        emit8(a, 0xf8 | (unsigned)l256 << 2);
        emit8(a, row->opcode);
        return;
    }
    if (row->vex) {
        emit_vex(a, row->pp, row->map, n->w, l256, row->opcode, n->reg, n->vvvv, n->rm);
        return;
    }
    /* 66 as operand size comes before a mandatory F2/F3 */
    if (n->size == 2 && row->pp != 1)
        emit8(a, 0x66);
    emit_op(a, prefix[row->pp], n->w ? 8 : row_is_crc32_byte(row) ? 1 : 4, opcode, n->reg, n->rm);
}

void x64_lower_pass(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    const IrPassRow *row = &ir_pass_rows[o->pass];
    unsigned size = o->type <= I64 ? ir_size(o->type) : 8, d_home = NOREG, d_reg = 0,
             b_home = NOREG;
    Enc n = {.w = row->w == 2 ? size == 8 : row->w, .size = size};

    if (row->d == PC_GPR) {
        Rm m = x64_loc(e, o->d);

        if (m.is_reg) {
            d_reg = m.reg;
        } else {
            d_home = o->d;
            d_reg = R14;
            if (row->d_reads)
                emit_load(a, 8, R14, m);
        }
    } else if (row->d == PC_XMM) {
        d_reg = o->d - V_XMM;
    }
    if (row->implicit & PI_A_WRITTEN)
        n.vvvv = x64_loc(e, o->a).is_reg ? x64_loc(e, o->a).reg : R13;
    else if (row->a == PC_GPR)
        n.vvvv = x64_src(e, o->a, 8,
                         row->d_reads || o->flags & (IRF_MEM_B | IRF_MEM_D)
                             ? (d_home == NOREG || !row->d_reads ? R14 : R13)
                             : R14);
    else if (row->a == PC_XMM)
        n.vvvv = o->a - V_XMM;
    if (row->ext != 255) {
        n.reg = row->ext;
        if (row->d != PC_NONE)
            n.vvvv = d_reg;
    } else {
        n.reg = d_reg;
    }
    if (o->flags & (IRF_MEM_B | IRF_MEM_D)) {
        n.rm = e->operand;
    } else if (row->b == PC_GPR) {
        n.rm = x64_loc(e, o->b);
        if (!n.rm.is_reg && row->b_writes) {
            b_home = o->b;
            n.rm = rm_reg(R14);
        }
    } else if (row->b == PC_XMM) {
        n.rm = rm_reg(o->b - V_XMM);
    } else {
        n.rm = rm_reg(0);
    }
    encode(a, row, &n, o->type == V256);
    if (row->has_imm) /* the fourth register of IS4 forms too */
        emit8(a, (unsigned)o->imm);
    if (row->implicit & PI_A_WRITTEN && !x64_loc(e, o->a).is_reg)
        emit_store(a, 8, x64_loc(e, o->a), R13);
    if (d_home != NOREG && row->d_writes)
        emit_store(a, size == 2 && !row_is_crc32(row) ? 2 : 8, x64_loc(e, d_home), R14);
    if (b_home != NOREG)
        emit_store(a, 8, x64_loc(e, b_home), R14);
}
