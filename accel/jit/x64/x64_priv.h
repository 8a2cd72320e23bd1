/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x64 - the x86-64 back end, tier 1: one pass over a block's IR, no register allocation
 *
 * Host registers while translated code runs:
 *     rbp   struct Cpu + CPU_BIAS          r15   cpu->tlb (struct TlbContext)
 *     r13   scratch: address of the memory operand        r14   scratch: values
 *     rsp   translated code's own stack (one per vCPU): pairs of guest and host return address
 *     rax rcx rdx rbx rsi rdi r8-r12       pinned guest registers, the same at every block boundary and at every op
 *     xmm/ymm0-15, MXCSR                   the guest's, while cpu->vec_live
 * Guest registers that are not pinned and temporaries stay in struct Cpu (their "homes").
 *
 * Arithmetic flags are in the host's EFLAGS (fl_host), in cpu->cc (fl_mem), in both, or, when
 * nobody will read them, in neither. They are saved to cpu->cc only when something destroys the
 * host's while they are alive.
 */
#ifndef ACCEL_JIT_X64_X64_PRIV_H
#define ACCEL_JIT_X64_X64_PRIV_H

#include <stdio.h>

#include "accel/jit/jit.h"
#include "accel/jit/x64/asm.h"

/* Offset of a member of struct Cpu (or TlbContext) from the register that points to it. */
#define CPU_AT(member) ((int32_t)offsetof(Cpu, member) - CPU_BIAS)
#define TLB_AT(member) ((int32_t)offsetof(TlbContext, member))

enum {
    X64_MAX_SLOW = 2048,
    X64_MAX_OPS = 1024,
    X64_MAX_GROUPS = 32,
    X64_MAX_PCS = 4096,
    X64_MAX_THUNKS = 512,
    X64_MAX_RECIPES = 1024,
    X64_STACK = 256 * 1024,
    X64_MIN_CACHE = 1 << 20
};

typedef struct Thunk {
    IrHelper *fn;
    bool fast;
    const uint8_t *code;
} Thunk;

/* What the back end keeps for one machine. */
typedef struct X64 {
    uint8_t *w;              /* code memory, writable view */
    const uint8_t *x;        /* executable view */
    size_t size, used, base; /* base: where blocks begin, behind the stubs */
    size_t ready;            /* bytes whose pages are there */
    intptr_t delta;
    const int8_t *pin;  /* guest register -> host register or -1 */
    uint8_t pinned[16]; /* guest registers that are pinned */
    unsigned n_pinned;
    uint64_t homes; /* registers and temporaries (below V_XMM) that are not pinned */
    bool avx, bmi2, xgetbv1;
    /* stubs, executable addresses */
    const uint8_t *enter, *exit, *exit_link, *exit_lookup, *head_lookup, *head_request, *dispatch,
        *rebuild, *mem_slow[MEM_ACCESSES][6] /* ACCESS_READ, ACCESS_WRITE, MEM_x; log2 of size */,
        *commit, *align_fault, *fault, *vec_save, *vec_load, *call_c, *ret_bottom;
    Thunk thunks[X64_MAX_THUNKS];
    unsigned n_thunks;
    Block **blocks; /* live and dead blocks by ascending host address */
    size_t n_blocks, max_blocks;
    FILE *perf_map;
} X64;

enum { SLOW_ACCESS, SLOW_ALIGN, SLOW_GUARD };

/* A way out of line: of a memory access, of its alignment check, of a GUARD. */
typedef struct Slow {
    uint8_t *jump; /* displacement to patch to the stub */
    uint8_t *op,
        *end; /* the operation behind the check: what the stub repeats on the bounce buffer */
    uint8_t size, access, kind;
    uint16_t recipe;
    uint32_t insn;     /* index into pcs */
    const IrOp *guard; /* SLOW_GUARD; end is where it goes on */
} Slow;

/* How to compute flags that were not saved (exact.c): those of @op on the registers d and b, or
 * d and imm. */
typedef struct Recipe {
    uint16_t op, mask; /* mask: FL_* it gives */
    uint16_t before;   /* number of the recipe to be followed first, 0: none */
    uint8_t type, d, b;
    int32_t imm, d_moved, b_moved; /* what was added to the registers meanwhile */
} Recipe;

enum {
    RECIPE_HOST = 0xffff
}; /* the flags are in the host's EFLAGS, which a signal handler has kept */

/* Behind a block's code: number of entries, of recipes; entries; recipes. */
typedef struct PcEntry {
    uint32_t at;     /* host offset in the block */
    uint16_t pc;     /* guest pc - block pc */
    uint16_t recipe; /* for flags that a fault's frame shows; number, 0: cpu->cc has them */
} PcEntry;

/* Accesses that share one check (plan.c).  Offsets are from the base register as it was at
 * `first`. */
typedef struct Group {
    uint16_t first, last, n; /* ops; how many accesses */
    uint16_t end;            /* last op of its copy: no group that began inside is still open */
    uint16_t insn;           /* index of the instruction of `first` in pcs */
    int64_t lo, hi;
    bool write, spill; /* spill: r13 is needed in between, keep the address in cpu->group */
    uint8_t *fail;     /* displacement of the jump to the copy without groups */
    uint8_t *rejoin;
    bool fl_mem_in, fl_host_out, fl_mem_out;    /* where flags are at the check and at the rejoin */
    uint16_t mem_ok_in, recipe_in, host_ok_out; /* exact.c */
} Group;

/* A direct exit that still needs its stub. */
typedef struct PendingLink {
    uint8_t *disp;
    unsigned n; /* index into Block.link */
} PendingLink;

typedef struct Emit {
    Asm a;
    X64 *x;
    Jit *j;
    Block *b;
    IrBlock *ir;
    uint8_t *start;
    bool fl_host, fl_mem;
    Rm operand;                    /* the memory operand of the op at hand, checked: [r13 + n] */
    bool mem;                      /* it has one of its own check: x64_mem_end() is due */
    bool ungrouped;                /* in a group's copy */
    uint8_t in_r13;                /* group + 1 whose address r13 holds, 0: none */
    uint8_t group_of[X64_MAX_OPS]; /* group + 1 of each op, 0: none */
    bool group_ends[X64_MAX_OPS];  /* a group's copy ends with this op */
    int32_t group_at[X64_MAX_OPS];
    Group groups[X64_MAX_GROUPS];
    unsigned n_groups;
    Slow slow[X64_MAX_SLOW];
    unsigned n_slow;
    uint16_t host_ok, mem_ok; /* exact.c: flags that are exact in the host, in cpu->cc */
    uint16_t recipe;          /* number of the one for the last op that wrote flags, 0: none */
    Recipe recipes[X64_MAX_RECIPES];
    unsigned n_recipes;
    PcEntry pcs[X64_MAX_PCS];
    unsigned n_pcs;
    PendingLink links[JIT_EXITS];
    unsigned n_links;
    unsigned insn; /* index of the current instruction in pcs */
} Emit;

/* Is the memory operand written? */
static inline bool x64_stores(const IrOp *o)
{
    return o->flags & IRF_MEM_D && o->op != IR_CMP && o->op != IR_TEST && o->op != IR_BT;
}

/* Where a guest register or temporary is. */
static inline int32_t x64_home(unsigned v)
{
    return v >= V_TEMP ? CPU_AT(t) + (int32_t)(v - V_TEMP) * 8 : CPU_AT(r) + (int32_t)v * 8;
}
static inline Rm x64_loc(const Emit *e, unsigned v)
{
    int pin = v < V_PC ? e->x->pin[v] : -1;

    return pin >= 0 ? rm_reg((unsigned)pin) : rm_mem(RBP, x64_home(v));
}
/* The register that holds @v, or @scratch after loading it (zero-extended from @size). */
unsigned x64_src(Emit *e, unsigned v, unsigned size, unsigned scratch);
/* Write @reg (upper bits zero for size 4) to @v as IR type of @size bytes. */
void x64_dst(Emit *e, unsigned v, unsigned size, unsigned reg);

/* flags.c */
void x64_flags_spill(Emit *e, uint16_t live); /* before the host's flags are destroyed */
void x64_flags_need(Emit *e);                 /* bring them into the host's EFLAGS; uses r14 */
void x64_flags_to_mem(Emit *e);
void x64_flags_merge(
    Emit *e); /* those that are exact in the host, beside the others; the host's end */
/* Emit a conditional jump on IR condition @cc (flags wherever they are); returns the
 * displacement to patch. */
uint8_t *x64_branch(Emit *e, unsigned cc, unsigned align);

/* exact.c */
void x64_exact_begin(Emit *e);
void x64_exact_host(Emit *e, uint16_t want);  /* bring what can be had of these into the host */
void x64_exact_shift(Emit *e, unsigned i);    /* before op @i */
void x64_exact_after(Emit *e, const IrOp *o); /* @o was emitted */
/* Before a place of op @i that may fault and where the host's flags end: recipe, or they are
 * saved. */
unsigned x64_exact_point(Emit *e, unsigned i);
/* The same where a signal tells of the fault, with an entry for it. */
void x64_exact_signal(Emit *e);
void x64_exact_place(Emit *e, unsigned recipe); /* C that is called from here may fault */
void x64_exact_copy(Emit *e, const Group *g);   /* a group's copy begins */
void x64_exact_table(Emit *e);                  /* the block's table */
void x64_recipe_follow(Cpu *c, const Recipe *all, unsigned n);
void x64_rebuild(Cpu *c); /* stub: flags by the recipe of the present place */
void x64_pc_entry(Emit *e, uint16_t pc, unsigned recipe); /* from here on */

/* plan.c */
uint32_t x64_written_by(const IrOp *o);     /* guest registers */
bool x64_moves(const IrOp *o, int64_t *by); /* only moves register d, by a constant */

/* mem.c */
void x64_mem_begin(Emit *e, const IrOp *o); /* r13 = host address of the operand, checked */
void x64_mem_end(Emit *e);
void x64_address(Emit *e, const IrOp *o,
                 bool with_seg); /* r13 = effective address; r14 is destroyed */
void x64_slow_paths(Emit *e);
void x64_group_end(Emit *e, unsigned op); /* after op @op in the main path */
void x64_group_copies(Emit *e);
void x64_plan(Emit *e);
bool x64_uses_r13(const Emit *e, const IrOp *o);

/* lower_*.c: one op each */
void x64_emit_op(Emit *e, unsigned i); /* backend.c: op @i, markers included */
void x64_lower(Emit *e, const IrOp *o);
void x64_lower_pass(Emit *e, const IrOp *o);
void x64_lower_call(Emit *e, const IrOp *o);
void x64_lower_guard(Emit *e, const IrOp *o);
void x64_lower_term(Emit *e, const IrOp *o);

/* Out of line: r13 = what @o guards; its helper is called unless that is an address. */
void x64_guard_r13(Emit *e, const IrOp *o);
void x64_store_pc(Emit *e, Gva pc);
void x64_link_stubs(Emit *e);
/* Index into TlbContext.branch of the pc in r13, as a byte offset in r14. */
void x64_branch_hash(Asm *a);
static inline unsigned x64_branch_slot(Gva pc)
{
    return ((uint32_t)pc * 0x9e3779b1u) >> (32 - TLB_BRANCH_BITS);
}

/* stubs.c */
bool x64_make_stubs(X64 *x, Asm *a);
const uint8_t *x64_thunk(Emit *e, IrHelper *fn, bool fast);

/* signal.c: host faults in translated code (divide, SIMD exceptions) */
bool x64_signals_init(Error *err);
void x64_signals_thread(Vcpu *v);
void x64_fault(Cpu *c, uint64_t vector);

/* dump.c */
void x64_dump(const Block *b);

Block *x64_block_at(const X64 *x, const uint8_t *host);

#endif
