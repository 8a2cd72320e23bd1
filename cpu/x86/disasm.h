/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disasm - x86 code as text, for logs (CpuArch.disasm) */
#ifndef CPU_X86_DISASM_H
#define CPU_X86_DISASM_H

#include "base/strbuf.h"

/* One line for the instruction at @code; returns its length, 0 if the bytes do not hold a whole
 * one. */
size_t x86_disasm(const uint8_t *code, size_t n, uint64_t pc, uint32_t mode, StrBuf *out);

#endif
