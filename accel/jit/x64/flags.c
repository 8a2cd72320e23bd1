/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flags - moving arithmetic flags between the host's EFLAGS and cpu->cc
 *
 * cpu->cc: low byte OF (0 or 1), high byte as LAHF leaves it.  Neither direction touches
 * anything but r14 and, going to memory, not even EFLAGS.
 */
#include "accel/jit/x64/x64_priv.h"

void x64_flags_to_mem(Emit *e)
{
    Asm *a = &e->a;

    if (e->fl_mem)
        return;
    emit_mov(a, 8, R14, RAX);
    emit8(a, 0x9f);                           /* lahf */
    emit_op(a, 0, 1, 0x0f90, 0, rm_reg(RAX)); /* seto al */
    emit_store(a, 2, rm_mem(RBP, CPU_AT(cc)), RAX);
    emit_mov(a, 8, RAX, R14);
    e->fl_mem = true;
    e->mem_ok = e->host_ok;
}

void x64_flags_merge(Emit *e)
{
    Asm *a = &e->a;
    Rm cc = rm_mem(RBP, CPU_AT(cc));
    unsigned mask = (e->host_ok & 0xd5u) << 8 | (e->host_ok & FL_OF ? 1 : 0);

    emit_mov(a, 8, R14, RAX);
    emit8(a, 0x9f);                           /* lahf */
    emit_op(a, 0, 1, 0x0f90, 0, rm_reg(RAX)); /* seto al */
    emit8(a, 0x25), emit32(a, mask);          /* and eax */
    emit_op(a, 0, 2, 0x81, 4, cc);            /* and */
    emit16(a, (uint16_t)~mask);
    emit_op(a, 0, 2, 0x09, RAX, cc); /* or */
    emit_mov(a, 8, RAX, R14);
    e->fl_mem = true;
    e->fl_host = false;
    e->mem_ok |= e->host_ok;
    e->host_ok = 0;
}

void x64_flags_spill(Emit *e, uint16_t live)
{
    if (e->fl_host && live)
        x64_flags_to_mem(e);
    e->fl_host = false;
    e->host_ok = 0;
}

void x64_flags_need(Emit *e)
{
    Asm *a = &e->a;

    if (e->fl_host)
        return;
    emit_mov(a, 8, R14, RAX);
    emit_loadz(a, 2, RAX, rm_mem(RBP, CPU_AT(cc)));
    emit8(a, 0x04); /* add al, 0x7f: OF = bit 0 of al */
    emit8(a, 0x7f);
    emit8(a, 0x9e); /* sahf */
    emit_mov(a, 8, RAX, R14);
    e->fl_host = true;
    e->host_ok = e->mem_ok;
}

/* Conditions that one bit of cpu->cc decides: byte of cc and mask; 0 mask: more than one bit. */
static const struct {
    uint8_t byte, mask;
} one_bit[8] = {
    {0, 0x01}, {1, 0x01}, {1, 0x40}, {0, 0}, {1, 0x80}, {1, 0x04}, {0, 0}, {0, 0},
};

uint8_t *x64_branch(Emit *e, unsigned cc, unsigned align)
{
    Asm *a = &e->a;

    if (!e->fl_host && one_bit[cc >> 1].mask) {
        emit_op(a, 0, 1, 0xf6, 0, rm_mem(RBP, CPU_AT(cc) + one_bit[cc >> 1].byte));
        emit8(a, one_bit[cc >> 1].mask);
        cc = CC_NE ^ (cc & 1);
    } else {
        x64_flags_need(e);
    }
    if (align)
        emit_align_patch(a, 2);
    return emit_jcc(a, cc);
}
