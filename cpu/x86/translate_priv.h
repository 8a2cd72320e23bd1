/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate - what the chapters of the x86 translator share (translate*.c only)
 *
 * A chapter function emits the IR of one decoded instruction.  It emits everything that may fault
 * before the first change of a guest register (IR invariant 3); the stack pointer moves last, by
 * LEA.
 */
#ifndef CPU_X86_TRANSLATE_PRIV_H
#define CPU_X86_TRANSLATE_PRIV_H

#include "cpu/ir/ir.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/x86.h"

enum { SHADOW_NONE, SHADOW_STI, SHADOW_SS };

typedef struct Tr {
    Cpu *c;
    IrBlock *b;
    uint32_t mode;
    Gva pc, next;        /* of this instruction, and behind it */
    bool ended;          /* the block has its terminator */
    bool shadow;         /* this instruction runs in the shadow of STI or MOV SS */
    uint8_t shadow_next; /* it casts one: SHADOW_STI, SHADOW_SS */
    uint64_t limit;      /* last address that code may have: of CS, or any */
} Tr;

/* @arg is the dispatch table's: usually the IR op. */
typedef void TrFn(Tr *t, const X86Insn *i, unsigned arg);

enum { TR_READ, TR_WRITE, TR_RMW }; /* for segment rights: RMW is a write */
#define TR_STEP                                                                                    \
    ((uint32_t)MODE_STEP | MODE_IOBP) /* blocks of one instruction with hlp_step behind */

/* A memory operand, ready for IrOp. */
typedef struct MemRef {
    uint8_t base, index, scale, seg, asize, flags; /* flags: IRF_LIN32 */
    int64_t disp;
} MemRef;

/* An operand: guest register or temporary, constant, or memory. */
typedef struct Val {
    enum { VAL_REG, VAL_IMM, VAL_MEM } kind;
    uint8_t reg;
    int64_t imm;
    MemRef mem;
} Val;

static inline bool tr_is64(const Tr *t)
{
    return (t->mode & MODE_SIZE) == MODE_64;
}
static inline unsigned tr_cpl(const Tr *t)
{
    return t->mode & MODE_CPL;
}
static inline bool tr_is_protected(const Tr *t)
{
    return (t->mode & (MODE_PE | MODE_VM86)) == MODE_PE;
}
static inline IrType tr_type(unsigned size)
{
    return size == 1 ? I8 : size == 2 ? I16 : size == 4 ? I32 : I64;
}

/* --- translate_operand.c --- */

/* The instruction's memory operand, @add bytes further on, for an access of @size bytes. */
MemRef tr_mem_at(Tr *t, const X86Insn *i, int64_t add, unsigned size, unsigned access);
static inline MemRef tr_mem(Tr *t, const X86Insn *i, unsigned size, unsigned access)
{
    return tr_mem_at(t, i, 0, size, access);
}
/* [seg: base + disp] with checks, for implicit operands. */
MemRef tr_mem_implicit(Tr *t, unsigned seg, uint8_t base, int64_t disp, unsigned asize,
                       unsigned size, unsigned access);
/* Apply the checks and the segment to the offset @m (whose seg is SEG_x). */
MemRef tr_mem_check(Tr *t, MemRef m, unsigned size, unsigned access);
/* Offset of the memory operand: no segment, no checks. */
MemRef tr_ea(Tr *t, const X86Insn *i);
uint8_t tr_lea(Tr *t, const MemRef *m); /* its address in a temporary */
/* Linear address of the memory operand, checked, in a register that must not be written. */
uint8_t tr_linear(Tr *t, const X86Insn *i, unsigned size, unsigned access);
uint8_t tr_linear_of(Tr *t, const MemRef *m);           /* the same of a checked operand */
void tr_use_b(IrOp *o, const MemRef *m, unsigned size); /* make it source b ... */
void tr_use_d(IrOp *o, const MemRef *m, unsigned size); /* ... or destination */

Val tr_val(Tr *t, const X86Insn *i, const X86Operand *x,
           unsigned access); /* AH..BH come as a temporary */
void tr_set_b(IrOp *o, const Val *v, unsigned size);
void tr_set_a(IrOp *o, const Val *v, unsigned size);          /* compare forms: memory by MEM_D */
void tr_set_d(IrOp *o, const Val *v, unsigned size);          /* d, and a */
void tr_store_high(Tr *t, const X86Operand *x, const Val *v); /* AH..BH: put the temporary back */
void tr_flags(IrOp *o, const X86Insn *i);
uint8_t tr_load(Tr *t, const MemRef *m, unsigned size); /* into a temporary, zero-extended */
void tr_store(Tr *t, const MemRef *m, uint8_t v, unsigned size);
void tr_mov(Tr *t, IrType type, uint8_t d, uint8_t b);
void tr_mov_imm(Tr *t, uint8_t d, uint64_t imm);
uint8_t tr_const(Tr *t, uint64_t imm); /* in a temporary */
uint8_t tr_read(
    Tr *t, const X86Insn *i,
    const X86Operand
        *x); /* operand, zero-extended to 64 bits, in a register that must not be written */
void tr_write(Tr *t, const X86Insn *i, const X86Operand *x,
              uint8_t v); /* may fault if it is memory */
void tr_add_reg(Tr *t, uint8_t reg, int64_t n,
                unsigned size); /* reg += n at @size bytes; no flags */

unsigned tr_stack_size(const Tr *t); /* bytes of the stack pointer in use: 2 4 8 */
MemRef tr_stack(Tr *t, int64_t disp, unsigned size, unsigned access);
void tr_sp_add(Tr *t, int64_t n);
void tr_push(Tr *t, uint8_t v, unsigned size);
void tr_push_imm(Tr *t, int64_t v, unsigned size);

/* --- calls and ends: translate_end.c --- */

/* d = fn(cpu, a, b, k).  Any of d, a, b may be V_NONE. */
IrOp *tr_call(Tr *t, IrHelper *fn, unsigned irc, uint8_t d, uint8_t a, uint8_t b, uint64_t k);
void tr_raise(Tr *t, unsigned vector); /* fault here; ends the block */
void tr_raise_code(Tr *t, unsigned vector, unsigned error);
void tr_end_jmp(Tr *t, Gva target, unsigned hint);
void tr_end_br(Tr *t, unsigned cc, Gva target);
void tr_end_brz(Tr *t, bool nonzero, IrType type, uint8_t v, Gva target);
/* @popped: bytes that the branch has taken off the stack; calls guard their target themselves. */
void tr_end_jmpi(Tr *t, uint8_t v, unsigned hint, unsigned popped);
bool tr_is_slow_end(const Tr *t);
/* #GP(0) unless @v may be branched to; before any change of state.  JMPI looks itself whether it
 * is canonical. */
void tr_guard(Tr *t, uint8_t v, unsigned opsize);
void tr_guard_limit(Tr *t, uint8_t v, unsigned opsize);
void tr_guard_most(Tr *t, uint8_t v, uint64_t most); /* #GP(0) if @v > @most */
bool tr_is_target(const Tr *t, Gva pc); /* of a direct branch: canonical, within the segment */
void tr_end_exit(Tr *t);                /* go on behind, looking at everything anew */
void tr_end_leave(Tr *t);               /* a helper has set V_PC */
void tr_end_raised(Tr *t);              /* the last helper does not return */
void tr_end_next(Tr *t);                /* nothing special: go on behind */
Gva tr_mask_pc(const Tr *t, Gva pc, unsigned opsize);

/* --- chapters; translate_table.c says which instruction is which --- */
typedef struct TrRow {
    TrFn *fn;
    unsigned arg;
} TrRow;
extern const TrRow tr_rows[]; /* by X86_OP */

TrFn tr_alu, tr_cmp, tr_unary, tr_shift, tr_shift_double, tr_mul, tr_imul, tr_bt, tr_bsf, tr_bswap,
    tr_setcc, tr_setc, tr_lahf, tr_sahf, tr_salc, tr_xadd, tr_cmpxchg, tr_cmpxchg_wide, tr_bcd,
    tr_rdrand;
TrFn tr_move, tr_move_to_segment, tr_move_from_segment, tr_extend, tr_movbe, tr_lea_insn, tr_xchg,
    tr_cmov, tr_push_insn, tr_pop_insn, tr_pop_segment, tr_pusha, tr_pushf, tr_popf, tr_enter,
    tr_leave, tr_convert, tr_convert_sign, tr_xlat, tr_load_far, tr_nop, tr_bound;
TrFn tr_jcc, tr_jmp, tr_call_insn, tr_ret, tr_loop, tr_jcxz, tr_jmp_far, tr_call_far, tr_ret_far,
    tr_int, tr_iret;
TrFn tr_string, tr_port_string;
enum {
    TRP_CLI,
    TRP_CLTS,
    TRP_SWAPGS,
    TRP_CPUID,
    TRP_RDPMC,
    TRP_RDMSR,
    TRP_WRMSR,
    TRP_CLAC,
    TRP_STAC,
    TRP_RDPKRU,
    TRP_WRPKRU,
    TRP_XGETBV,
    TRP_XSETBV,
    TRP_RSM
}; /* tr_call_plain's arg */
TrFn tr_call_plain, tr_sti, tr_cld, tr_in, tr_out, tr_hlt, tr_mov_cr, tr_mov_dr, tr_table,
    tr_invlpg, tr_invpcid, tr_lmsw, tr_sldt, tr_lldt, tr_lar, tr_verr, tr_arpl, tr_syscall,
    tr_sysret, tr_sysenter, tr_sysexit, tr_rdtsc, tr_monitor, tr_mwait, tr_fsgsbase, tr_rdpid,
    tr_fence, tr_pause, tr_clflush;
TrFn tr_mxcsr, tr_fxsave, tr_xsave, tr_gather, tr_maskmov, tr_mmx, tr_mmx_xmm;
TrFn tr_x87, tr_fwait;
void tr_pass(Tr *t, const X86Insn *i);

#endif
