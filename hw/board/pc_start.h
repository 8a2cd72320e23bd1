/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_start - the states in which a PC's processors begin when no firmware runs */
#ifndef HW_BOARD_PC_START_H
#define HW_BOARD_PC_START_H

#include "core/cpu.h"
#include "hw/firmware/boot.h"

/* After the processor's reset; machine paused. */
void pc_start_wait(Cpu *c);                            /* halted until a start-up IPI */
void pc_start_kernel(Cpu *c, const BootImage *img);    /* at the kernel's entry */

#endif
