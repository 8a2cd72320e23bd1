/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tlb - the software MMU: tagged translation contexts over arch->walk()
 *
 * A context holds the translations of one (address-space tag, rights mode) pair; x86 tags are CR3
 * with its PCID.  Contexts are kept LRU, so that a switch of address space flushes nothing.  Behind
 * them a second level, tagged too, refills without a walk; it also knows global pages.
 *
 * A first-level entry matches iff (va ^ tag) <= 4096 - size, which covers page crossing:
 *     off = va ^ e->tag;  if (off > 4096 - size) slow;  host = e->host + off
 * Entries that must take the slow path (MMIO, code pages for writes, ...) are simply invalid.
 * Invalid: tag ~0, in the last slot 0 (no address that indexes the slot can match).
 *
 * Everything here is compiled for general registers only and runs on the vCPU's thread, except
 * tlb_protect_page().  Faults unwind (cpu_raise).
 */
#ifndef CPU_TLB_H
#define CPU_TLB_H

#include "core/cpu.h"

#define TLB_BITS 10
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_CODE_BITS 10
#define TLB_BRANCH_BITS 10
#define TLB_PAGE_BITS 12
#define TLB_MODES 3 /* rights modes of cpu->mmu_mode */

typedef struct TlbEntry {
    uint64_t tag;  /* va of the page, or invalid */
    uint64_t host; /* host address of the page's first byte */
} TlbEntry;

typedef struct TlbMap {
    uint64_t used[TLB_SIZE / 64], global[TLB_SIZE / 64];
} TlbMap; /* of slots */

typedef struct TlbContext {
    TlbEntry rd[TLB_SIZE];
    TlbEntry wr[TLB_SIZE];
    /* Indirect-branch cache of the back end: by a hash of the pc; cleared with jit_flush_all(). */
    struct {
        uint64_t pc;
        const uint8_t *host;
        uint64_t mode, unused;
    } branch[1u << TLB_BRANCH_BITS];
    /* by virtual page: id of the (va page, ram page, mode) whose blocks may run; 0 none */
    uint32_t code_id[1u << TLB_CODE_BITS];
    /* private: */
    /* RAM page of the write entry in the same slot: what tlb_protect_page() looks for */
    uint32_t wr_page[TLB_SIZE];
    TlbMap rd_map, wr_map, code_map;
    uint64_t space;
    uint8_t mode;
    bool live;      /* holds translations of (space, mode) */
    bool used;      /* not all entries are invalid */
    bool nonglobal; /* has entries that are not global */
    uint64_t stamp;
} TlbContext;

/* First-level hit in rd or wr: host address of [va, va+size), or NULL. */
static inline void *tlb_fast(const TlbEntry *table, Gva va, unsigned size)
{
    const TlbEntry *e = &table[va >> TLB_PAGE_BITS & (TLB_SIZE - 1)];
    uint64_t off = va ^ __atomic_load_n(&e->tag, __ATOMIC_RELAXED); /* others may invalidate */

    return off <= 4096 - size ? (void *)(uintptr_t)(e->host + off) : NULL;
}

bool tlb_init(Cpu *c, Error *err);
void tlb_fini(Cpu *c);

/* Make cpu->tlb the context of address space @space (any 64-bit tag) and cpu->mmu_mode. */
void tlb_enter(Cpu *c, uint64_t space);
void tlb_set_mode(Cpu *c, unsigned mmu_mode); /* same space, other rights */
void tlb_clear_branches(Cpu *c);              /* every context's branch cache */
void tlb_flush_all(Cpu *c);                   /* everything, global pages too */
void tlb_flush_nonglobal(Cpu *c);             /* all spaces, but not global pages */
void tlb_flush_space(Cpu *c, uint64_t space); /* one space's non-global entries */
void tlb_flush_page(Cpu *c, uint64_t space,
                    Gva va); /* in that space, and global pages at va in all */

/* Loads and stores by helpers (1, 2, 4, 8 bytes, any alignment, RAM or device). */
uint64_t mem_load(Cpu *c, Gva va, unsigned size, unsigned mmu_mode);
void mem_store(Cpu *c, Gva va, unsigned size, uint64_t v, unsigned mmu_mode);
void mem_read(Cpu *c, Gva va, void *buf, size_t n, unsigned mmu_mode);
void mem_write(Cpu *c, Gva va, const void *buf, size_t n,
               unsigned mmu_mode); /* all pages are probed before the first byte is written */
/* Host address of @va if its page is plain RAM for this access; *left = bytes to the page's end.
 * NULL: use mem_load/store. Raises the fault if the access is not allowed. */
uint8_t *mem_host(Cpu *c, Gva va, Access access, unsigned mmu_mode, unsigned *left);
/* Raise the fault, if any, that accessing [va, va+n) would. */
void mem_probe(Cpu *c, Gva va, size_t n, Access access, unsigned mmu_mode);
/* Physical accesses of the processor itself (page tables, descriptor of SMM...): RAM only; reads
 * elsewhere give ~0. */
uint64_t mem_phys_load(Cpu *c, Gpa pa, unsigned size);
void mem_phys_store(Cpu *c, Gpa pa, unsigned size, uint64_t v);
bool mem_phys_cas64(Cpu *c, Gpa pa, uint64_t old,
                    uint64_t new_v); /* A/D bits; false: changed meanwhile */
bool mem_phys_cas32(Cpu *c, Gpa pa, uint32_t old, uint32_t new_v);

/* Slow path of translated code: the memory operand [va, va+size), size <= 64, with
 * cpu->mmu_mode.  Returns where the operation may be done: the RAM itself, or cpu->bounce,
 * filled with the operand's present bytes; then mem_commit() must follow a write (it does
 * nothing where there is nothing to do).
 * @access: ACCESS_READ; ACCESS_WRITE for plain stores (devices are not read before); MEM_UPDATE
 * for read-modify-write and for operations that may store less than the whole operand;
 * MEM_LOCKED for atomic ones: where the host cannot do them in place, no other vCPU runs until
 * mem_commit(). */
enum { MEM_UPDATE = 3, MEM_LOCKED, MEM_ACCESSES };
void *mem_slow(Cpu *c, Gva va, unsigned size, unsigned access);
void mem_commit(Cpu *c);
noreturn void mem_align_fault(Cpu *c, Gva va); /* an IRF_ALIGN operand is misaligned */

/* Code: host address of the page that holds @linear and its RAM page number (~0u: not RAM, do
 * not cache).  Raises exec faults; if @quiet, returns NULL instead. */
const uint8_t *tlb_code_page(Cpu *c, Gva linear, uint32_t *ram_page, bool quiet);

/* A RAM page got its first translation (or is to be watched again): make all vCPUs' writes to it
 * take the slow path, where host->code_written() hears of them (before the store).  Any vCPU
 * thread. */
bool tlb_protect_page(struct Machine *m,
                      uint32_t ram_page); /* true: some vCPU could write to it fast until now */
void tlb_unprotect_page(struct Machine *m, uint32_t ram_page);
bool tlb_page_is_protected(struct Machine *m, uint32_t ram_page);

typedef struct TlbStats {
    uint64_t fills, l2_hits, walks, slow, mmio, flushes, flush_pages, switches, evictions;
} TlbStats;
const TlbStats *tlb_stats(const Cpu *c);

#endif
