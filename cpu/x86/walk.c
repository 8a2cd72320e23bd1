/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * walk - page tables: SDM vol 3 chapter 4
 *
 * Invariants:
 *  1. Accessed and dirty bits are set by compare-and-exchange; a lost race walks again.
 *  2. The result allows writing only if the leaf is dirty, so that the first write comes here.
 *  3. General registers only.
 */
#include "cpu/x86/sys_priv.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
enum { WALK_RETRIES = 16 }; /* page tables in ROM can never be marked: go on without */

typedef struct Leaf {
    uint64_t pte, at, rights; /* rights: W and U of all levels anded; NX ored */
    unsigned shift, width;    /* page size; bytes of the entry */
    uint64_t pa;              /* of the page */
} Leaf;

static bool mark(Cpu *c, uint64_t at, unsigned width, uint64_t *pte, uint64_t set)
{
    bool ok;

    if ((*pte & set) == set)
        return true;
    ok = width == 8 ? mem_phys_cas64(c, at, *pte, *pte | set)
                    : mem_phys_cas32(c, at, (uint32_t)*pte, (uint32_t)(*pte | set));
    *pte |= set;
    return ok;
}

/* Bits that must be 0 in any present entry of the 8-byte formats. */
static inline uint64_t reserved_bits(const X86Cpu *x)
{
    uint64_t r = PTE_ADDR & ~x->phys_mask;

    if (!(x->efer & EFER_LMA))
        r |= 0x7ff0000000000000ull;
    return x->efer & EFER_NXE ? r : r | PTE_NX;
}

/* How a descent ended: AGAIN: an entry changed meanwhile. */
enum { STEP_OK, STEP_AGAIN, STEP_ABSENT, STEP_RESERVED };

static int descend8(X86Cpu *x, Gva va, Leaf *l, unsigned level, uint64_t table, bool mark_bits)
{
    Cpu *c = &x->cpu;
    uint64_t reserved = reserved_bits(x);

    for (;; level--) {
        unsigned shift = 3 + 9 * level;
        uint64_t at = (table + (va >> shift & 511) * 8) & x->a20_mask;
        uint64_t pte = mem_phys_load(c, at, 8);

        if (!(pte & PTE_P))
            return STEP_ABSENT;
        if (UNLIKELY(pte & reserved))
            return STEP_RESERVED;
        l->rights &= pte | PTE_NX;
        l->rights |= pte & PTE_NX;
        if (level == 1 || pte & PTE_PS) {
            uint64_t low = BIT(shift) - 1;

            if (UNLIKELY(level > 3 || (level == 3 && !(x->efer & EFER_LMA)) ||
                         (level > 1 && pte & low & PTE_ADDR & ~0x1000ull)))
                return STEP_RESERVED;
            *l = (Leaf){pte, at, l->rights, shift, 8, pte & PTE_ADDR & ~low};
            return STEP_OK;
        }
        if (mark_bits && UNLIKELY(!mark(c, at, 8, &pte, PTE_A)))
            return STEP_AGAIN;
        table = pte & PTE_ADDR;
    }
}

static int descend_pae(X86Cpu *x, Gva va, Leaf *l, bool mark_bits)
{
    uint64_t at = ((x->cr3 & 0xffffffe0) + (va >> 30 & 3) * 8) & x->a20_mask;
    uint64_t pdpte = mem_phys_load(&x->cpu, at, 8);

    if (!(pdpte & PTE_P))
        return STEP_ABSENT;
    return descend8(x, va, l, 2, pdpte & PTE_ADDR & x->phys_mask, mark_bits);
}

static int descend4(X86Cpu *x, Gva va, Leaf *l, bool mark_bits)
{
    Cpu *c = &x->cpu;
    uint64_t at = ((x->cr3 & 0xfffff000) + (va >> 22 & 1023) * 4) & x->a20_mask;
    uint64_t pte = mem_phys_load(c, at, 4);

    if (!(pte & PTE_P))
        return STEP_ABSENT;
    l->rights &= pte;
    if (pte & PTE_PS && x->cr4 & CR4_PSE) {
        if (pte & 0x200000)
            return STEP_RESERVED;
        *l = (Leaf){pte, at, l->rights, 22, 4, (pte & 0xffc00000) | (pte & 0x1fe000) << 19};
        return STEP_OK;
    }
    if (mark_bits && UNLIKELY(!mark(c, at, 4, &pte, PTE_A)))
        return STEP_AGAIN;
    at = ((pte & 0xfffff000) + (va >> 12 & 1023) * 4) & x->a20_mask;
    pte = mem_phys_load(c, at, 4);
    if (!(pte & PTE_P))
        return STEP_ABSENT;
    l->rights &= pte;
    *l = (Leaf){pte, at, l->rights, 12, 4, pte & 0xfffff000};
    return STEP_OK;
}

/* Rights of the page in @mode; returns PF_PK if its protection key denies @kind. */
static unsigned page_rights(const X86Cpu *x, const Leaf *l, Access kind, unsigned mode, Walk *w)
{
    bool user_page = l->rights & PTE_U, writable = l->rights & PTE_W;
    unsigned denied = 0;

    w->exec = !(l->rights & PTE_NX);
    if (mode == 1) {
        w->read = user_page;
        w->write = user_page && writable;
        w->exec = w->exec && user_page;
    } else {
        w->read = !(user_page && mode == 2);
        w->write = w->read && (writable || !(x->cr0 & CR0_WP));
        w->exec = w->exec && !(user_page && x->cr4 & CR4_SMEP);
    }
    if (UNLIKELY(x->cr4 & CR4_PKE) && user_page && x->efer & EFER_LMA) {
        unsigned key = x->pkru >> (l->pte >> 59 & 15) * 2 & 3;
        bool deny_all = key & 1,
             deny_write = deny_all || (key & 2 && (mode == 1 || x->cr0 & CR0_WP));

        if ((kind == ACCESS_READ && deny_all) || (kind == ACCESS_WRITE && deny_write))
            denied = PF_PK;
        w->read = w->read && !deny_all;
        w->write = w->write && !deny_write;
    }
    return denied;
}

static bool walk_fail(X86Cpu *x, Access kind, unsigned mode, unsigned error, Walk *w)
{
    if (kind == ACCESS_WRITE)
        error |= PF_W;
    if (mode == 1)
        error |= PF_U;
    if (kind == ACCESS_EXEC && (x->cr4 & CR4_SMEP || (x->cr4 & CR4_PAE && x->efer & EFER_NXE)))
        error |= PF_I;
    w->error = error;
    return false;
}

static bool walk_flat(const X86Cpu *x, Gva va, Walk *w)
{
    uint64_t size = x->a20_mask == ~0ull ? 2 * MIB : 4 * KIB;

    *w = (Walk){
        .pa = (uint32_t)va & x->a20_mask, .size = size, .read = true, .write = true, .exec = true};
    return true;
}

/* From CR3 to the leaf. */
static int descend(X86Cpu *x, Gva va, Leaf *l, bool mark_bits)
{
    l->rights = PTE_W | PTE_U;
    if (x->efer & EFER_LMA)
        return descend8(x, va, l, x->cr4 & CR4_LA57 ? 5 : 4, x->cr3 & PTE_ADDR & x->phys_mask,
                        mark_bits);
    return x->cr4 & CR4_PAE ? descend_pae(x, va, l, mark_bits) : descend4(x, va, l, mark_bits);
}

bool x86_debug_translate(Cpu *c, Gva va, Gpa *pa)
{
    X86Cpu *x = X86(c);
    Leaf l;

    if (!(x->efer & EFER_LMA))
        va = (uint32_t)va;
    if (!(x->cr0 & CR0_PG)) {
        *pa = va & x->a20_mask;
        return true;
    }
    if (!c->mmu || (x->efer & EFER_LMA && !x86_canonical(x, va)) ||
        descend(x, va, &l, false) != STEP_OK)
        return false;
    *pa = (l.pa | (va & (BIT(l.shift) - 1))) & x->a20_mask;
    return true;
}

bool x86_walk(Cpu *c, Gva va, Access kind, unsigned mode, Walk *w)
{
    X86Cpu *x = X86(c);
    int step;
    unsigned tries = 0, denied;
    Leaf l;
    uint64_t set;

    if (!(x->cr0 & CR0_PG))
        return walk_flat(x, va, w);
    if (x->efer & EFER_LMA) {
        if (UNLIKELY(!x86_canonical(x, va))) {
            w->error = WALK_NONCANONICAL;
            return false;
        }
    } else {
        va = (uint32_t)va;
    }
again:
    step = descend(x, va, &l, tries < WALK_RETRIES);
    if (UNLIKELY(step == STEP_AGAIN)) {
        tries++;
        goto again;
    }
    if (step != STEP_OK)
        return walk_fail(x, kind, mode, step == STEP_RESERVED ? PF_P | PF_RSVD : 0, w);
    denied = page_rights(x, &l, kind, mode, w);
    if (!(kind == ACCESS_READ ? w->read : kind == ACCESS_WRITE ? w->write : w->exec))
        return walk_fail(x, kind, mode, PF_P | denied, w);
    set = kind == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
    if (UNLIKELY(!mark(c, l.at, l.width, &l.pte, set)) && tries++ < WALK_RETRIES)
        goto again;
    w->write = w->write && l.pte & PTE_D;
    w->global = l.pte & PTE_G && x->cr4 & CR4_PGE;
    w->pa = (l.pa | (va & (BIT(l.shift) - 1))) & x->a20_mask;
    w->size = x->a20_mask == ~0ull ? BIT(l.shift) : 4 * KIB;
    return true;
}

void x86_page_fault(Cpu *c, Gva va, Access kind, unsigned mmu_mode UNUSED, uint64_t error,
                    Exception *out)
{
    if (error & WALK_NONCANONICAL)
        *out =
            (Exception){.vector = kind != ACCESS_EXEC && x86_fault_is_stack(c, va) ? EX_SS : EX_GP,
                        .has_error = true};
    else
        *out = (Exception){.vector = EX_PF, .has_error = true, .error = error, .addr = va};
}

/* Vector operands that must be aligned give #GP; MODE_AC accesses give #AC. */
void x86_align_fault(Cpu *c, Gva va UNUSED, Exception *out)
{
    *out = (Exception){.vector = c->mode & MODE_AC ? EX_AC : EX_GP, .has_error = true};
}
