/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page_list - all pages of the page tables in use, for the monitor: SDM vol 3 chapter 4 */
#include "core/memory.h"
#include "base/bytes.h"
#include "cpu/x86/sys_priv.h"

enum { ENTRY_P = 1, ENTRY_PS = 0x80, ENTRY_FLAGS = 0xfff };
#define ENTRY_ADDR 0x000ffffffffff000ull
#define ENTRY_NX (1ull << 63)

typedef struct PageList {
    Cpu *cpu;
    CpuMappingFn *fn;
    void *arg;
    unsigned entry_size;   /* 4 or 8 */
    unsigned canonical_at; /* the address bit that is extended upwards; 0: none */
    bool ps_allowed;       /* 4-byte entries: CR4.PSE */
} PageList;

static void page_tell(const PageList *l, uint64_t va, uint64_t entry, unsigned shift)
{
    uint64_t size = BIT(shift), pa = entry & ENTRY_ADDR & ~(size - 1);

    if (l->entry_size == 4 && shift == 22)
        pa |= bits(entry, 13, 8) << 32; /* PSE-36 */
    if (l->canonical_at)
        va = (uint64_t)sext(va, l->canonical_at + 1);
    l->fn(l->arg, va, pa, size, entry & (ENTRY_FLAGS | ENTRY_NX));
}

/* @shift: of what one entry of this table covers. */
static void table_list(const PageList *l, uint64_t table, uint64_t va, unsigned shift, unsigned n)
{
    uint8_t raw[4096];
    unsigned step = l->entry_size == 4 ? 10 : 9;

    if (as_read(l->cpu->as, table, raw, (size_t)n * l->entry_size) != MEM_OK)
        return;
    for (unsigned i = 0; i < n; i++) {
        uint64_t entry = get_le(raw + i * l->entry_size, l->entry_size);
        uint64_t at = va | (uint64_t)i << shift;
        bool can_be_page = l->ps_allowed && shift <= 30;

        if (!(entry & ENTRY_P))
            continue;
        if (shift == 12 || (can_be_page && (entry & ENTRY_PS)))
            page_tell(l, at, entry, shift);
        else
            table_list(l, entry & ENTRY_ADDR, at, shift - step, 1u << step);
    }
}

bool x86_mappings(Cpu *c, CpuMappingFn *fn, void *arg)
{
    const X86Cpu *x = (const X86Cpu *)c;
    PageList l = {.cpu = c, .fn = fn, .arg = arg, .entry_size = 8, .ps_allowed = true};

    if (!(x->cr0 & CR0_PG))
        return false;
    if (x->efer & EFER_LMA) {
        bool five = x->cr4 & CR4_LA57;

        l.canonical_at = five ? 56 : 47;
        table_list(&l, x->cr3 & ENTRY_ADDR, 0, five ? 48 : 39, 512);
    } else if (x->cr4 & CR4_PAE) {
        table_list(&l, x->cr3 & 0xffffffe0, 0, 30, 4);
    } else {
        l.entry_size = 4;
        l.ps_allowed = x->cr4 & CR4_PSE;
        table_list(&l, x->cr3 & 0xfffff000, 0, 22, 1024);
    }
    return true;
}
