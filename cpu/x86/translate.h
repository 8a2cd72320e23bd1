/* SPDX-License-Identifier: GPL-2.0-or-later */
/* translate - x86 code to IR (CpuArch.translate, CpuArch.flags_dead) */
#ifndef CPU_X86_TRANSLATE_H
#define CPU_X86_TRANSLATE_H

#include "cpu/ir/ir.h"

struct X86Shapes;

/* Fill @b from the code at b->linear until the block ends.  Reads c's features only. */
void x86_translate(Cpu *c, IrBlock *b);
/* FL_* that the straight-line code certainly overwrites (or leaves undefined) before it reads
 * them. */
uint16_t x86_flags_dead(struct X86Shapes *shapes, const uint8_t *code, size_t n, uint32_t mode,
                        const uint64_t *features);
uint16_t x86_flags_dead_hook(Cpu *c, const uint8_t *code, size_t n, Gva pc,
                             uint32_t mode); /* CpuArch.flags_dead */

#endif
