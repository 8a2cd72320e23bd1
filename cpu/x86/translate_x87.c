/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_x87 - x87 floating point (SDM volume 1 chapter 8): calls of hlp_x87*
 */
#include "cpu/x86/translate_priv.h"

/* Memory forms that write, one bit for each ModRM.reg, by opcode D8..DF. */
static const uint8_t x87_writes[8] = {[1] = 0xcc, [3] = 0x8e, [5] = 0xce, [7] = 0xce};

/* Bytes of the memory operand, by opcode and ModRM.reg; environments are cut to 28, images to
 * 108. */
static unsigned x87_size(const X86Insn *i, unsigned op, unsigned reg)
{
    static const uint8_t sizes[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},   {4, 4, 4, 4, 28, 2, 28, 2}, {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 4, 4, 4, 4, 10, 4, 10}, {8, 8, 8, 8, 8, 8, 8, 8},   {8, 8, 8, 8, 108, 8, 108, 2},
        {2, 2, 2, 2, 2, 2, 2, 2},   {2, 2, 2, 2, 10, 8, 10, 8},
    };
    unsigned size = sizes[op][reg];

    if (size >= 28 && i->opsize == 2)
        size -= 14;
    return size;
}

static void x87_memory(Tr *t, const X86Insn *i, unsigned op, unsigned reg, uint8_t pc)
{
    bool is_write = x87_writes[op] >> reg & 1;
    uint8_t a = tr_linear(t, i, x87_size(i, op, reg), is_write ? TR_WRITE : TR_READ);

    tr_call(t, hlp_x87, IRC_FAST | IRC_PC, V_NONE, a, pc,
            op << 8 | i->modrm | (uint64_t)i->opsize << 16 | 1ull << 31);
}

/* All of D8..DF. */
void tr_x87(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned op = i->opcode & 7, reg = i->modrm >> 3 & 7;
    uint64_t k = op << 8 | i->modrm;
    uint8_t pc;

    (void)arg;
    if (i->modrm >= 0xc0 && op == 7 && i->modrm == 0xe0) { /* FNSTSW AX */
        uint8_t v = ir_temp(t->b);

        tr_call(t, hlp_fnstsw_ax, IRC_FAST, v, V_NONE, V_NONE, 0);
        tr_mov(t, I16, V_R(R_AX), v);
        return;
    }
    pc = tr_const(t, t->pc);
    if (i->modrm < 0xc0)
        x87_memory(t, i, op, reg, pc);
    else if ((op == 3 || op == 7) && (reg == 5 || reg == 6)) /* FUCOMI, FCOMI */
        tr_call(t, hlp_x87_flags, IRC_FAST | IRC_PC | IRC_FLAGS_OUT, V_NONE, V_NONE, pc, k);
    else if ((op == 2 || op == 3) && reg < 4) /* FCMOV */
        tr_call(t, hlp_x87_cmov, IRC_FAST | IRC_PC | IRC_FLAGS_IN, V_NONE, V_NONE, pc, k);
    else
        tr_call(t, hlp_x87, IRC_FAST | IRC_PC, V_NONE, V_NONE, pc, k);
}

/* Not by the row's attributes: #NM depends on MP. */
void tr_fwait(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)i, (void)arg;
    tr_call(t, hlp_fwait, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE, 0);
}
