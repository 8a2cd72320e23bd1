/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jit - the translating accelerator: blocks, their table, links, and the two back ends
 *
 * One host thread per vCPU (or one for all).  A vCPU's thread runs vcpu_run(): look up the block
 * for (pc, mode), compile it if there is none, enter it; the back end comes back with a reason.
 *
 * Invariants:
 *  1. A Block is keyed by (pc, linear, mode, code limit, RAM page of its first byte, RAM page of
 *     its last).  It is reachable through the hash table, the page lists and links until it is
 *     dead; memory of blocks, dead or not, is given back by jit_flush_all() alone, with every vCPU
 *     at a stop.  So look-ups need no lock.
 *  2. A RAM page with live blocks is write-protected in all soft TLBs (tlb_protect_page).
 *  3. A block runs only under translations va page -> RAM page that were checked: block_is_mapped()
 *     on entry from elsewhere (other page, indirect, blocks on two pages), or because the jump came
 *     from the same page of a block so checked. ids are interned per (va page, RAM page, mode, x86
 *     CS base): jit_code_id().
 *  4. Only code under jit->lock (RANK_CODE) changes the table, page lists, links and code memory.
 */
#ifndef ACCEL_JIT_JIT_H
#define ACCEL_JIT_JIT_H

#include <pthread.h>

#include "base/lock.h"
#include "core/machine.h"
#include "cpu/ir/ir.h"
#include "cpu/tlb.h"

typedef struct Jit Jit;
typedef struct Vcpu Vcpu;
typedef struct Block Block;
typedef struct Link Link;

enum { JIT_MAX_INSNS = 64, JIT_EXITS = 2, JIT_RECENT = 4096, JIT_RECHECKS = 32 };

/* A direct way out of a block: patched to jump to `to` while linked. */
struct Link {
    Block *from, *to;     /* to: NULL while not linked */
    struct Link *next_in; /* in to->links_in */
    /* host address (writable view offset is the back end's matter) of the jump's 32-bit
     * displacement */
    uint8_t *patch;
    uint8_t *stub; /* where the jump goes while not linked */
    Gva pc;        /* guest pc it leads to */
    /* target's first byte lies on a page that `from` itself starts on: no check needed */
    bool same_page;
};

/* What look-ups and walks of page lists read comes first: one cache line. */
struct Block {
    Gva pc, linear;
    uint32_t mode, code_limit; /* as in struct Cpu */
    uint16_t size;             /* guest bytes */
    bool dead;
    bool one_shot; /* not in the table: MODE_STEP, self-modifying, not in RAM */
    /* offsets in the first page where successors were looked at for dead flags; 0xffff: none */
    uint16_t peek[2];
    /* of first and last byte; equal if one page; ~0u: not in RAM (never kept) */
    uint32_t ram_page[2];
    uint32_t page_id[2]; /* invariant 3: ids of its pages; [1] is 0 on one page */
    uint16_t n_insns;
    Block *hash_next;
    /* lists of page_blocks[]: of ram_page[0] and, on two pages, of ram_page[1] */
    Block *page_next[2];
    uint64_t cs_base;
    const uint8_t *entry;         /* host code, link target on the same page */
    const uint8_t *entry_checked; /* compares code_id first */
    const uint8_t *pc_map;        /* back end's host pc -> guest pc table */
    uint32_t host_size;
    uint32_t n_ops;
    IrOp *ops; /* interpreter: kept; x64: NULL */
    Link link[JIT_EXITS];
    Link *links_in;
    void *be; /* back end's machine-wide state */
} __attribute__((aligned(64)));

static inline unsigned code_slot(Gva linear)
{
    return (unsigned)(linear >> TLB_PAGE_BITS) & ((1u << TLB_CODE_BITS) - 1);
}

/* Are the pages of @b at its addresses in context @x? */
static inline bool block_is_mapped(const TlbContext *x, const Block *b)
{
    return x->code_id[code_slot(b->linear)] == b->page_id[0] &&
           (!b->page_id[1] || x->code_id[code_slot(b->linear + 4096)] == b->page_id[1]);
}

/* Why a back end came back. */
typedef enum JitExit {
    JIT_EXIT_LOOKUP,  /* V_PC holds the pc; find the next block */
    JIT_EXIT_LINK,    /* the same, and vcpu->link wants to be linked to it */
    JIT_EXIT_SYNC,    /* V_PC holds the pc; mode or requests may have changed (EXIT, LEAVE) */
    JIT_EXIT_REQUEST, /* cpu->request was nonzero at the head of a block; V_PC is that block's pc */
    JIT_EXIT_COUNT
} JitExit;

typedef struct JitStats {
    uint64_t exits[JIT_EXIT_COUNT], unwinds[8], blocks, insns, host_bytes, lookups, hash_hits,
        links, invalidated, smc_writes, smc_same_block, flushes, steps, interrupts, halts,
        translate_ns;
} JitStats;

struct Vcpu {
    Cpu *cpu;
    Jit *jit;
    struct Runner *runner; /* the thread that runs it */
    Link *link;            /* of JIT_EXIT_LINK */
    Block *current;        /* last block entered by C (interp: running) */
    uint32_t current_op;   /* interp: index of the op being run, for sync_pc */
    bool executing;        /* between Backend.enter() and its return or unwinding */
    bool step;             /* UNWIND_STEP: the next block is one instruction, one-shot */
    bool step_alone;       /* and runs in an exclusive section */
    bool alone;            /* which this vCPU has */
    jmp_buf unwind;
    _Atomic uint64_t wrote[2]; /* its last stores to watched pages (smc.c) */
    unsigned next_wrote;
    unsigned n_rechecks; /* invalidations to repeat at the next block boundary; jit->lock */
    struct {
        uint32_t ram_page;
        uint16_t at, size;
    } recheck[JIT_RECHECKS];
    const uint8_t *next_code; /* second page of the block under translation, or NULL */
    uint32_t next_ram;
    JitStats stats;
    uint8_t *stack; /* back end: translated code's own stack */
    uint8_t *stack_top;
    uint16_t signal_cc; /* x64: arithmetic flags, as cpu->cc, at a host fault */
    bool unwound;       /* x64: a call into C from translated code has not come back */
    Block *_Atomic recent[JIT_RECENT]; /* direct-mapped by pc: fast lookups */
    IrBlock ir;                        /* scratch for translation, ops reused */
};

typedef struct Backend {
    const char *name;
    bool (*init)(Jit *j, Error *err);
    void (*fini)(Jit *j);
    bool (*vcpu_init)(Vcpu *v, Error *err);
    void (*vcpu_fini)(Vcpu *v);
    /* Make @b runnable from @ir (liveness is done).  jit->lock held.  False: the code cache is
     * full (caller flushes all and retries). */
    bool (*compile)(Vcpu *v, Block *b, IrBlock *ir);
    /* Run from @b on until something comes up.  Vectors are loaded on entry and may be live
     * (vec_live) after return or unwinding. */
    JitExit (*enter)(Vcpu *v, Block *b);
    void (*link)(Link *l, Block *to); /* lock held */
    void (*unlink)(Link *l);          /* back to the stub; lock held */
    void (*drop)(Block *b);  /* is dead: make its entries lead to the dispatcher; lock held */
    void (*flush)(Jit *j);   /* all blocks are gone and no vCPU is inside */
    void (*sync_pc)(Cpu *c); /* CpuHost.sync_pc: from host_sp or the like */
    void (*vec_save)(Cpu *c);
} Backend;
extern const Backend backend_x64, backend_interp;

struct Jit {
    Machine *m;
    const Backend *be;
    void *be_state;
    Lock lock;
    Block *_Atomic *hash;
    unsigned hash_bits;
    Block **page_blocks; /* by RAM page: blocks with a byte on it */
    /* by RAM page: bitmap of 64-byte lines that hold translated code (or are being translated) */
    _Atomic uint64_t *page_lines;
    uint16_t *page_smc; /* by RAM page: how often its code was invalidated */
    uint32_t n_pages;
    struct CodeId *ids; /* interned pages; open addressing */
    uint32_t ids_cap, n_ids, next_id;
    Block *blocks; /* all that were made since the last flush, in that order; room for max_blocks */
    size_t n_blocks, max_blocks;
    struct Sync *sync; /* vcpu.c: threads, parking, exclusive sections */
    MemListener listener;
    bool single; /* thread=single */
    bool nochain;
    bool check_ir; /* verify each block */
    Vcpu **vcpus;
    unsigned n_vcpus;
    JitStats total;
};

uint32_t jit_code_id(Jit *j, Gva linear_page, uint32_t ram_page, uint32_t mode,
                     uint64_t cs_base); /* lock held */
/* The block to run next at (V_PC, mode); compiles; may raise fetch faults.  Also sets
 * cpu->tlb->code_id for its page. */
Block *jit_find(Vcpu *v);
void block_link(Vcpu *v, Link *l, Block *to); /* if they may be linked; takes the lock */
/* every vCPU is brought to a stop first; a vCPU that calls it must look at its state anew */
void jit_flush_all(Jit *j);
void jit_invalidate(Jit *j, uint32_t ram_page, unsigned at,
                    unsigned size); /* drop the blocks with code in these bytes */

#endif
