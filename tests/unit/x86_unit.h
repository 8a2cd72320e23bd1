/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_unit - a processor with RAM and no accelerator, for tests of cpu/x86 */
#ifndef TESTS_UNIT_X86_UNIT_H
#define TESTS_UNIT_X86_UNIT_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "core/machine.h"
#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/x86.h"
#include "tests/unit/unit.h"

enum {
    UNIT_RAM = 16 << 20,
    PG_P = 1,
    PG_W = 2,
    PG_U = 4,
    PG_A = 0x20,
    PG_D = 0x40,
    PG_PS = 0x80,
    PG_G = 0x100
};
#define PG_NX (1ull << 63)
#define SEG_CODE64 0x00af9b000000ffffull
#define SEG_CODE32 0x00cf9b000000ffffull
#define SEG_DATA32 0x00cf93000000ffffull
#define SEG_DPL3 (3ull << 45)

typedef struct Unit {
    Machine m;
    Region ram;
    X86Cpu *x;
    Cpu *c;
    jmp_buf jb;
    uint64_t k;
} Unit;

static inline void unit_nothing(Cpu *c)
{
    (void)c;
}
static inline void unit_written(Cpu *c, uint32_t page, unsigned at, unsigned size)
{
    (void)c, (void)page, (void)at, (void)size;
}
static const CpuHost unit_host = {.vec_save = unit_nothing,
                                  .sync_pc = unit_nothing,
                                  .kick = unit_nothing,
                                  .code_written = unit_written};

static inline Unit *unit_new(const char *model)
{
    Unit *u = xalloc_aligned(64, sizeof(Unit));
    Error err = {0};

    u->m.mem = memory_new();
    u->m.loop = loop_new(&err);
    u->m.vclock = clock_new(CLOCK_TEST, NULL);
    ck_assert_msg(region_ram(&u->ram, u->m.mem, "ram", UNIT_RAM, false, &err), "%s", err.msg);
    region_map(&u->m.mem->system_root, &u->ram, 0, 0);
    u->c = x86_arch_64.new(&u->m, 0, model, &err);
    ck_assert_msg(u->c != NULL, "%s", err.msg);
    u->x = X86(u->c);
    u->m.cpus = &u->c;
    u->m.n_cpus = 1;
    u->c->host = &unit_host;
    u->c->unwind = &u->jb;
    ck_assert(tlb_init(u->c, &err));
    x86_arch_64.reset(u->c);
    return u;
}

static inline void unit_free(Unit *u)
{
    tlb_fini(u->c);
    x86_arch_64.free(u->c);
    region_fini(&u->ram);
    clock_free(u->m.vclock);
    loop_free(u->m.loop);
    memory_free(u->m.mem);
    xfree(u);
}

static inline uint64_t unit_get(Unit *u, Gpa at, unsigned size)
{
    return get_le(u->ram.hva + at, size);
}
static inline void unit_put(Unit *u, Gpa at, unsigned size, uint64_t v)
{
    memcpy(u->ram.hva + at, &v, size);
}

/* Run @expr: the vector it raised, -1 none, -2 another way out. */
#define RAISES(u, expr)                                                                            \
    ({                                                                                             \
        int why_ = setjmp((u)->jb);                                                                \
        if (!why_)                                                                                 \
            (void)(expr);                                                                          \
        !why_ ? -1 : why_ == UNWIND_EXCEPTION ? (int)(u)->c->exc.vector : -2;                      \
    })

/* Tables from 0x1000; the 4 KiB page of 4 levels that maps @va, made as needed with all rights
 * above. */
static inline Gpa unit_pte(Unit *u, Gva va, unsigned level)
{
    Gpa table = 0x1000;

    for (unsigned l = 4; l > level; l--) {
        Gpa at = table + (va >> (3 + 9 * l) & 511) * 8;

        if (!(unit_get(u, at, 8) & 1)) {
            u->k += 0x1000;
            unit_put(u, at, 8, (0x1000 + u->k) | PG_P | PG_W | PG_U);
        }
        table = unit_get(u, at, 8) & 0xffffffffff000ull;
    }
    return table + (va >> (3 + 9 * level) & 511) * 8;
}

static inline void unit_map(Unit *u, Gva va, Gpa pa, uint64_t bits)
{
    unit_put(u, unit_pte(u, va, 1), 8, pa | bits);
}

enum { UNIT_GDT = 0x80000, UNIT_IDT = 0x81000, UNIT_TSS = 0x82000 };
enum {
    UNIT_CS = 0x08,
    UNIT_DS = 0x10,
    UNIT_USER32 = 0x1b,
    UNIT_USER_DS = 0x23,
    UNIT_USER_CS = 0x2b,
    UNIT_TR = 0x30
};

/* 64-bit mode at level 0: low 2 MiB mapped one to one for all levels in 4 KiB pages, GDT and TSS
 * as above, IDT empty. */
static inline void unit_long_mode(Unit *u)
{
    X86Cpu *x = u->x;
    const uint64_t gdt[] = {0,
                            SEG_CODE64,
                            SEG_DATA32,
                            SEG_CODE32 | SEG_DPL3,
                            SEG_DATA32 | SEG_DPL3,
                            SEG_CODE64 | SEG_DPL3,
                            0x0000890000000067ull | (uint64_t)UNIT_TSS << 16,
                            0};

    for (Gva va = 0; va < 2 * MIB; va += 4096)
        unit_map(u, va, va, PG_P | PG_W | PG_U | PG_A | PG_D);
    memcpy(u->ram.hva + UNIT_GDT, gdt, sizeof(gdt));
    x->gdt.base = UNIT_GDT;
    x->gdt.limit = 0xfff;
    x->idt.base = UNIT_IDT;
    x->idt.limit = 0xfff;
    x->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
    x->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    x->cr3 = 0x1000;
    x->cr0 = CR0_PE | CR0_ET | CR0_WP | CR0_PG;
    x86_seg_set(x, SEG_CS, (X86Seg){.sel = UNIT_CS, .attr = 0xa09b, .limit = UINT32_MAX});
    x86_seg_set(x, SEG_SS, (X86Seg){.sel = UNIT_DS, .attr = 0xc093, .limit = UINT32_MAX});
    tlb_flush_all(u->c);
    x86_update_all(x);
    ck_assert_int_eq(RAISES(u, hlp_ltr(u->c, UNIT_TR, 0, 0)), -1);
}

static inline void unit_user(Unit *u)
{
    X86Cpu *x = u->x;

    x86_seg_set(x, SEG_CS, (X86Seg){.sel = UNIT_USER_CS, .attr = 0xa0fb, .limit = UINT32_MAX});
    x86_seg_set(x, SEG_SS, (X86Seg){.sel = UNIT_USER_DS, .attr = 0xc0f3, .limit = UINT32_MAX});
    x->cpl = 3;
    x86_update_mode(x);
}

static inline void unit_gate64(Unit *u, unsigned vector, Gva to, unsigned type, unsigned dpl,
                               unsigned ist)
{
    uint64_t low = (to & 0xffff) | (uint64_t)UNIT_CS << 16 | (uint64_t)ist << 32 |
                   (uint64_t)(0x80 | dpl << 5 | type) << 40 | (to >> 16 & 0xffff) << 48;

    unit_put(u, UNIT_IDT + vector * 16, 8, low);
    unit_put(u, UNIT_IDT + vector * 16 + 8, 8, to >> 32);
}

#endif
