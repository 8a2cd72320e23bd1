/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb_board - what the tests of the GDB stub debug
 *
 * RAM and up to two x86-64 processors in long mode with the first 2 MiB mapped one to one and, at
 * GDB_ALIAS, once more.  Guest code lies where gdb_code[] says.
 */
#ifndef TESTS_UNIT_GDB_BOARD_H
#define TESTS_UNIT_GDB_BOARD_H

#include "core/machine.h"
#include "cpu/x86/x86.h"

#define GDB_ALIAS 0x40000000ull
enum {
    AT_LOOP = 0x1000,   /* rax++, rbx++, store [VAR], load [VAR + 8], rdx++, again */
    AT_OTHER = 0x2000,  /* rsi++, again: processor 1 */
    AT_STRING = 0x2100, /* rep movsb; hlt, again */
    AT_STI = 0x2200,
    AT_UD = 0x2300,
    AT_UD_HANDLER = 0x2400,
    AT_NMI_HANDLER = 0x2500,
    AT_CALL = 0x2600,
    AT_INDIRECT = 0x2700,
    AT_MOV_SS = 0x2800,
    VAR = 0x3000,
    GDT = 0x5000,
    IDT = 0x6000,
    STACK = 0x9000,
    PAGES = 0x100000,
    GDB_RAM = 4 << 20
};

static const struct {
    Gpa at;
    uint8_t n, bytes[32];
} gdb_code[] = {
    {AT_LOOP, 25, {0x48, 0xff, 0xc0, 0x48, 0xff, 0xc3, 0x89, 0x04, 0x25, 0x00, 0x30, 0,   0,
                   0x8b, 0x0c, 0x25, 0x08, 0x30, 0,    0,    0x48, 0xff, 0xc2, 0xeb, 0xe7}},
    {AT_OTHER, 5, {0x48, 0xff, 0xc6, 0xeb, 0xfb}},
    {AT_STRING, 5, {0xf3, 0xa4, 0xf4, 0xeb, 0xfd}},
    {AT_STI, 5, {0xfb, 0x90, 0x90, 0xeb, 0xfe}},
    {AT_UD, 2, {0x0f, 0x0b}},
    {AT_UD_HANDLER, 2, {0x48, 0xcf}},
    {AT_NMI_HANDLER, 3, {0x90, 0x48, 0xcf}},
    {AT_CALL, 11, {0xe8, 5, 0, 0, 0, 0x90, 0xeb, 0xfe, 0x90, 0x90, 0xc3}},
    {AT_INDIRECT, 7, {0xb8, 0x00, 0x10, 0, 0, 0xff, 0xe0}}, /* to AT_LOOP */
    {AT_MOV_SS, 6, {0x8e, 0xd0, 0x90, 0x90, 0xeb, 0xfe}},   /* mov ss, eax */
};
enum { LOOP_STORE = AT_LOOP + 6, LOOP_LOAD = AT_LOOP + 13, LOOP_INC = AT_LOOP + 20 };

typedef struct GdbBoard {
    Region ram;
} GdbBoard;

static const Field gdb_board_fields[] = {
    {.name = "unused", .type = &type_u32, .at = offsetof(GdbBoard, ram.ram_at), .count = 1}};
static STRUCT_TYPE(gdb_board_type, GdbBoard, gdb_board_fields);

static void gdb_put(GdbBoard *b, Gpa at, uint64_t v)
{
    memcpy(b->ram.hva + at, &v, 8);
}

static void gdb_gate(GdbBoard *b, unsigned vector, Gpa to)
{
    gdb_put(b, IDT + vector * 16,
            (to & 0xffff) | 8 << 16 | 0x8eull << 40 | (to >> 16 & 0xffff) << 48);
}

static bool gdb_board_build(Machine *m, Error *err)
{
    GdbBoard *b = m->board_state;

    if (!region_ram(&b->ram, m->mem, "ram", GDB_RAM, false, err))
        return false;
    region_map(&m->mem->system_root, &b->ram, 0, 0);
    for (unsigned i = 0; i < COUNT_OF(gdb_code); i++)
        memcpy(b->ram.hva + gdb_code[i].at, gdb_code[i].bytes, gdb_code[i].n);
    gdb_put(b, PAGES, (PAGES + 0x1000) | 3);
    gdb_put(b, PAGES + 0x1000, (PAGES + 0x2000) | 3);
    gdb_put(b, PAGES + 0x1008, (PAGES + 0x2000) | 3); /* GDB_ALIAS */
    gdb_put(b, PAGES + 0x2000, 0x83);
    gdb_put(b, GDT + 8, 0x00af9b000000ffffull);
    gdb_put(b, GDT + 16, 0x00cf93000000ffffull);
    gdb_gate(b, 2, AT_NMI_HANDLER);
    gdb_gate(b, 6, AT_UD_HANDLER);
    return true;
}

static void gdb_board_reset(Machine *m)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        X86Cpu *x = X86(m->cpus[i]);

        x->wait_sipi = x->cpu.halted = 0;
        memset(x->cpu.r, 0, 16 * sizeof x->cpu.r[0]);
        x->cr0 = CR0_PE | CR0_ET | CR0_PG;
        x->cr3 = PAGES;
        x->cr4 = CR4_PAE;
        x->efer = EFER_LME | EFER_LMA;
        for (unsigned s = SEG_ES; s <= SEG_GS; s++)
            x86_seg_set(x, s, (X86Seg){16, 0xc093, UINT32_MAX, 0});
        x86_seg_set(x, SEG_CS, (X86Seg){8, 0xa09b, UINT32_MAX, 0});
        x->gdt.base = GDT;
        x->gdt.limit = 23;
        x->idt.base = IDT;
        x->idt.limit = 4095;
        x->cpu.r[R_SP] = STACK + i * 0x1000;
        X86_PC(&x->cpu) = i ? AT_OTHER : AT_LOOP;
        x86_update_all(x);
    }
}

static void gdb_board_fini(Machine *m)
{
    region_fini(&((GdbBoard *)m->board_state)->ram);
}

static Board gdb_board = {.name = "gdb-unit",
                          .arch = "x86_64,i386",
                          .default_cpu = "max",
                          .max_cpus = 4,
                          .default_ram = GDB_RAM,
                          .options = &gdb_board_type,
                          .build = gdb_board_build,
                          .reset = gdb_board_reset,
                          .fini = gdb_board_fini};

#endif
