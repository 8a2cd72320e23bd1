/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ir - the flat, typed block language between instruction sets and back ends
 *
 * A block is one run of guest instructions: a list of ops that ends in exactly one terminator.
 *
 * Values live in virtual registers: guest registers V_R(0..39) and temporaries V_T(0..7), both 64
 * bits wide in struct Cpu, and vector registers V_X(0..31).  A temporary lives within one guest
 * instruction.
 *
 * Invariants (ir_verify checks them):
 *  1. Integer types merge as x86 does: writing I64 replaces, I32 zero-extends to 64 bits, I8 and
 *     I16 leave the upper bits as they are.  Reading takes the low bits.
 *  2. Arithmetic flags are one implicit register: OF SF ZF AF PF CF (FL_*).  `fl_out` says which
 *     flags an op writes, `fl_in` which it reads; both are complete and set by the front end's
 *     builder calls.  Flags that the manual calls undefined count as written.  The image in memory
 *     (cpu->cc) is current only where an op asks for it.
 *  3. At most one operand of an op is memory (IRF_MEM_B: source b; IRF_MEM_D: destination, and
 *     first source for ops that read d, i.e. read-modify-write).  All checks for it are made before
 *     the op has any effect, and an op that faults has no effect. Ops of one guest instruction
 *     before a faulting one must therefore not change guest registers or memory.
 *  4. An address is trunc(base + (index << scale) + disp, asize) + seg, wrapped to 32 bits if
 *     IRF_LIN32.
 *  5. After IR_INSN guest registers, memory and flags are exactly those before that instruction
 *     (flags that no later op reads may be stale: the planner drops them).
 */
#ifndef CPU_IR_IR_H
#define CPU_IR_IR_H

#include "base/base.h"
#include "base/strbuf.h"
#include "core/cpu.h"

enum {
    V_PC =
        32, /* cpu->r[32]: guest pc; current only at block ends and in helpers called with IRC_PC */
    V_TEMP = 40,
    V_XMM = 64,
    V_NONE = 255,
};
#define V_R(n) ((uint8_t)(n))
#define V_T(n) ((uint8_t)(V_TEMP + (n)))
#define V_X(n) ((uint8_t)(V_XMM + (n)))

typedef enum IrType { I8, I16, I32, I64, V128, V256 } IrType;
static inline unsigned ir_size(unsigned type)
{
    return 1u << type;
} /* bytes: 1 2 4 8 16 32 */

/* Flags, at their places in EFLAGS. */
enum {
    FL_CF = 0x001,
    FL_PF = 0x004,
    FL_AF = 0x010,
    FL_ZF = 0x040,
    FL_SF = 0x080,
    FL_OF = 0x800,
    FL_ALL = 0x8d5
};

/* Conditions, in x86 order: odd is the negation of even. */
typedef enum IrCond {
    CC_O,
    CC_NO,
    CC_B,
    CC_AE,
    CC_E,
    CC_NE,
    CC_BE,
    CC_A,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_GE,
    CC_LE,
    CC_G
} IrCond;
uint16_t ir_cond_flags(unsigned cc); /* the FL_* it reads */

enum {                   /* IrOp.flags */
       IRF_IMM = 1 << 0, /* b is `imm` (sign-extended to the type) */
       IRF_MEM_B = 1 << 1,
       IRF_MEM_D = 1 << 2,
       IRF_LOCK = 1 << 3, /* with MEM_D: atomic */
       /* memory operand must be aligned to its size (else the architecture's alignment fault) */
       IRF_ALIGN = 1 << 4,
       IRF_LIN32 = 1 << 5, /* linear addresses wrap at 4 GiB */
       IRF_USER = 1 << 6,  /* (reserved) */
};
enum { /* IrOp.cc of IR_CALL */
       /* helper and all it calls use general registers only: vectors stay live in the host */
       IRC_FAST = 1,
       IRC_PC = 2,        /* store the instruction's pc in V_PC before */
       IRC_FLAGS_IN = 4,  /* cpu->cc must be current (fl_in = FL_ALL) */
       IRC_FLAGS_OUT = 8, /* helper writes cpu->cc (fl_out = FL_ALL) */
};
enum {
    IRJ_JUMP,
    IRJ_CALL,
    IRJ_RET
}; /* IrOp.cc of IR_JMP, IR_JMPI: hints for return prediction; never change meaning */

typedef struct IrOp {
    uint16_t op; /* IrOpcode */
    uint8_t type, flags;
    uint8_t d, a, b, c;
    uint8_t base, index, scale, seg; /* memory operand; V_NONE: absent */
    uint8_t msize;                   /* bytes of the memory operand (1 2 4 8 16 32) */
    uint8_t asize;                   /* 2, 4, 8 */
    uint8_t cc;                      /* condition, IRC_*, IRJ_* */
    uint8_t stype;                   /* source type of MOVZX, MOVSX */
    uint16_t fl_in, fl_out;
    uint16_t fl_live; /* planner: flags written here or before that somebody reads after this op */
    uint16_t pass;    /* IR_PASS: row number in the architecture's pass table */
    int64_t disp;     /* memory operand; also second constant of some ops */
    int64_t imm;
} IrOp;

typedef uint64_t IrHelper(Cpu *c, uint64_t a, uint64_t b, uint64_t k);

/* ops.def: OP(NAME, "text", form) - see there for the meaning of each. */
/* GUARD, JMPI: an address is sign-extended from its low `scale` bits; scale 0: anything is. */
static inline bool ir_is_address(uint64_t v, unsigned bits)
{
    return !bits || (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits)) == v;
}

typedef enum IrOpcode {
#define OP(name, form) IR_##name,
#include "cpu/ir/ops.def"
#undef OP
    IR_COUNT
} IrOpcode;

typedef enum IrForm {
    FORM_NONE,
    FORM_INSN,
    FORM_DB,
    FORM_DAB,
    FORM_AB,
    FORM_DA,
    FORM_SHIFT3,
    FORM_WIDE,
    FORM_CALL,
    FORM_PASS,
    FORM_TERM,
    FORM_STATE
} IrForm;
typedef struct IrOpInfo {
    const char *name;
    uint8_t form;
} IrOpInfo;
extern const IrOpInfo ir_ops[IR_COUNT];

/*
 * Rows of instructions that exist on x86 hosts one to one (SSE, AVX, BMI, ...).  An IR_PASS op has
 * d = ModRM.reg operand, a = VEX.vvvv operand, b = ModRM.rm operand (or the memory operand, MEM_B
 * if the instruction reads it, MEM_D if it writes it), imm = its immediate byte.  Operand classes
 * say which are GPRs (V_R), which are vectors (V_X).  `fn` is the portable meaning, used by the
 * interpreter and by hosts without it.
 */
typedef struct PassArgs { /* for fn */
    Cpu *cpu;
    /* d: in/out (32 bytes, vectors) or .q[0] for GPRs; b may point to a copy of memory; MEM_D: b
     * is written */
    union PassVal *d, *a, *b;
    uint8_t imm, vl, opsize; /* vl: 16 or 32 bytes; opsize 2, 4, 8 for GPR operands */
    uint8_t vex;             /* VEX forms zero d above vl (the caller does it) */
} PassArgs;
typedef union PassVal {
    uint8_t b[32];
    uint16_t w[16];
    uint32_t l[8];
    uint64_t q[4];
    int8_t sb[32];
    int16_t sw[16];
    int32_t sl[8];
    int64_t sq[4];
    float f[8];
    double df[4];
} PassVal;
typedef void PassFn(PassArgs *p);

enum { PC_NONE, PC_GPR, PC_XMM, PC_IS4 }; /* operand classes */
typedef struct IrPassRow {
    const char *name;
    uint8_t pp;  /* 0 none, 1 66, 2 F3, 3 F2 */
    uint8_t map; /* 1 0F, 2 0F38, 3 0F3A */
    uint8_t opcode;
    uint8_t vex;     /* 1: VEX encoded, 0: legacy */
    uint8_t w;       /* 0, 1, 2 = follows operand size */
    uint8_t d, a, b; /* operand classes */
    uint8_t has_imm;
    /* ModRM.reg is this opcode extension (0..7) and the d operand is in vvvv or absent; 255: no */
    uint8_t ext;
    uint8_t d_reads; /* d is also a source (legacy two-operand forms, FMA, ...) */
    uint8_t d_writes, b_writes;
    PassFn *fn;
    uint8_t implicit; /* PI_x */
} IrPassRow;
enum { /* registers beside the operands; as x86 fixes them */
       PI_XMM0 = 1,
       PI_XMM0_OUT = 2,
       PI_AX = 4,
       PI_DX = 8,
       PI_CX_OUT = 16,
       PI_A_WRITTEN = 32, /* the VEX.vvvv operand is a second destination (MULX) */
       PI_ALL_V = 64,     /* VZEROUPPER, VZEROALL: all 16 vector registers */
};
extern const IrPassRow *const ir_pass_rows; /* set by cpu/x86/pass.c */

typedef struct IrBlock {
    Cpu *cpu;
    Gva pc;        /* guest pc of the first instruction (x86: RIP) */
    Gva linear;    /* address it is fetched from */
    uint32_t mode; /* cpu->mode */
    const uint8_t
        *code[2];  /* host pages of `linear` and of the next page; [1] NULL until ir_next_page() */
    unsigned size; /* guest bytes covered, set by the front end */
    unsigned n_insns, max_insns;
    IrOp *ops; /* n of cap, grown by the builder */
    unsigned n, cap;
    /* fetch code[1]; NULL: not executable (end the block before, or, for the first instruction,
     * it unwinds) */
    const uint8_t *(*next_page)(struct IrBlock *b);
    unsigned n_temps; /* next free temporary; IR_INSN resets it */
    unsigned stop;    /* no instruction may begin at or behind this offset; 0: anywhere */
    uint16_t live_taken, live_behind; /* of a direct terminator: flags that its targets may read */
} IrBlock;

/* Builder.  Each appends one op and returns it for further fields. */
IrOp *ir_add(IrBlock *b, IrOpcode op, IrType type);
uint8_t ir_temp(IrBlock *b);      /* a fresh temporary of this guest instruction */
void ir_insn(IrBlock *b, Gva pc); /* IR_INSN */

bool ir_verify(const IrBlock *b, StrBuf *why);
void ir_print(const IrBlock *b, StrBuf *out);
void ir_print_op(const IrOp *o, StrBuf *out);

/* Backward liveness of flags: fills fl_live.  @live_out: flags alive at the block's end. */
void ir_flags_live(IrBlock *b, uint16_t live_out);

#endif
