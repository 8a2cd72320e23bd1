/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_start - the state in which a PC's boot processor begins when no firmware runs
 *
 * Linux boot.rst "32-bit boot protocol" and "64-bit boot protocol", Multiboot 3.2, PVH boot ABI:
 * flat segments, interrupts off, and the GDT that boot.c placed.
 */
#include "hw/board/pc_start.h"

#include "cpu/x86/x86.h"

/* X86Seg.attr of the descriptors in that GDT. */
enum { ATTR_CODE32 = 0xc09b, ATTR_CODE64 = 0xa09b, ATTR_DATA = 0xc093, ATTR_TSS = 0x008b };

static void set_segment(X86Cpu *x, unsigned s, uint16_t sel, uint16_t attr, uint64_t base,
                        uint32_t limit)
{
    x86_seg_set(x, s, (X86Seg){.sel = sel, .attr = attr, .limit = limit, .base = base});
}

static void set_segments(X86Cpu *x, bool long_mode)
{
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        set_segment(x, s, BOOT_DS, ATTR_DATA, 0, UINT32_MAX);
    if (long_mode)
        set_segment(x, SEG_CS, BOOT_CS64, ATTR_CODE64, 0, UINT32_MAX);
    else
        set_segment(x, SEG_CS, BOOT_CS32, ATTR_CODE32, 0, UINT32_MAX);
    set_segment(x, SEG_TR, BOOT_TR, ATTR_TSS, BOOT_TSS, 0x67);
    x->gdt.base = BOOT_GDT;
    x->gdt.limit = BOOT_GDT_LIMIT;
    x->idt.base = 0;
    x->idt.limit = 0;
}

void pc_start_kernel(Cpu *c, const BootImage *img)
{
    X86Cpu *x = X86(c);

    memset(c->r, 0, 16 * sizeof c->r[0]);
    x->cr0 = CR0_PE | CR0_ET;
    x->cr4 = 0;
    x->efer = 0;
    if (img->long_mode) {
        x->cr0 |= CR0_PG;
        x->cr3 = BOOT_PAGES;
        x->cr4 = CR4_PAE;
        x->efer = EFER_LME | EFER_LMA;
    }
    c->r[R_AX] = img->eax;
    c->r[R_BX] = img->ebx;
    c->r[R_SI] = img->esi;
    X86_PC(c) = img->entry;
    set_segments(x, img->long_mode);
    x86_set_flags(x, 2, UINT64_MAX);
    x86_update_sys(x);
}
