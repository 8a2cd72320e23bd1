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
 * Arithmetic flags are in the host's EFLAGS (fl_host), in cpu->cc (fl_mem), in both, or, when nobody will read them, in neither.
 * They are saved to cpu->cc only when something destroys the host's while they are alive.
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
    const uint8_t *enter, *exit, *exit_link, *dispatch,
        *mem_slow[4] /* by ACCESS_READ, ACCESS_WRITE, MEM_UPDATE */, *commit, *align_fault, *fault,
        *vec_save, *vec_load, *call_c, *ret_bottom;
    Thunk thunks[X64_MAX_THUNKS];
    unsigned n_thunks;
    Block **blocks; /* live and dead blocks by ascending host address */
    size_t n_blocks, max_blocks;
    FILE *perf_map;
} X64;

/* A memory access's way out of line. */
typedef struct Slow {
    uint8_t *jump; /* displacement to patch to the stub */
    uint8_t *op,
        *end; /* the operation behind the check: what the stub repeats on the bounce buffer */
    uint8_t size, access, align;
    uint32_t insn; /* index into pcs */
} Slow;

typedef struct PcEntry {
    uint32_t at;
    uint32_t pc;
} PcEntry; /* host offset in the block, guest pc - block pc */

/* Accesses that share one check (plan.c).  Offsets are from the base register as it was at `first`. */
typedef struct Group {
    uint16_t first, last, n; /* ops; how many accesses */
    uint16_t end;            /* last op of its copy: no group that began inside is still open */
    uint16_t insn;           /* index of the instruction of `first` in pcs */
    int64_t lo, hi;
    bool write, spill; /* spill: r13 is needed in between, keep the address in cpu->group */
    uint8_t *fail;     /* displacement of the jump to the copy without groups */
    uint8_t *rejoin;
    bool fl_mem_in, fl_host_out, fl_mem_out; /* where flags are at the check and at the rejoin */
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
/* Emit a conditional jump on IR condition @cc (flags wherever they are); returns the displacement to patch. */
uint8_t *x64_branch(Emit *e, unsigned cc, unsigned align);

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
void x64_lower_term(Emit *e, const IrOp *o);

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
