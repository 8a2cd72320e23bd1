/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_start - the state in which a PC's boot processor begins when no firmware runs */
#ifndef HW_BOARD_PC_START_H
#define HW_BOARD_PC_START_H

#include "core/cpu.h"
#include "hw/firmware/boot.h"

/* After the processor's reset, machine paused: at the kernel's entry.  The others wait for a
 * start-up IPI. */
void pc_start_kernel(Cpu *c, const BootImage *img);

#endif
