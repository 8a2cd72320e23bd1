/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * insn - a decoded x86 instruction
 *
 * x86_decode() turns bytes into this; one opcode table (opcodes.def) drives decoder, disassembly
 * names, translator dispatch, flag liveness and the fuzzer's generator.
 */
#ifndef CPU_X86_INSN_H
#define CPU_X86_INSN_H

#include "base/base.h"

typedef enum X86OperandKind {
    X86_NONE,
    X86_GPR,
    X86_GPR_HI /* AH CH DH BH */,
    X86_MEM,
    X86_IMM,
    X86_REL,
    X86_SREG,
    X86_CR,
    X86_DR,
    X86_XMM,
    X86_MMX,
    X86_ST,
    X86_FAR /* ptr16:16/32 */
} X86OperandKind;

typedef struct X86Operand {
    uint8_t kind;
    uint8_t size; /* bytes: 1 2 4 6 8 10 16 32 ...; 0: no size (lea, invlpg) */
    uint8_t reg;  /* number, with REX/VEX bits */
    /* IMM: sign- or zero-extended as the manual says; REL: displacement; FAR: offset | selector
     * << 32 */
    int64_t imm;
} X86Operand;

typedef struct X86Mem {
    uint8_t base, index; /* GPR number, 255: none; gathers: index is an XMM register */
    uint8_t scale;       /* shift 0..3 */
    uint8_t seg;  /* SEG_x: default or override; set for string instructions too (the source's) */
    bool rip;     /* RIP-relative: disp is from the next instruction */
    int64_t disp; /* moffs: 64 bits, zero-extended */
} X86Mem;

/* Rows of the table. */
enum {            /* X86Row.kind */
       X86K_TR,   /* translated by tr_<name>() */
       X86K_PASS, /* same instruction on the host: IR_PASS */
};
enum {                   /* X86Row.attr */
       XA_LOCK = 1 << 0, /* LOCK prefix allowed (with a memory destination) */
       XA_CPL0 = 1 << 1, /* #GP(0) unless CPL 0 */
       XA_NO64 = 1 << 2, /* #UD in 64-bit mode */
       XA_ONLY64 = 1 << 3,
       XA_PROT = 1 << 4,    /* #UD in real and VM86 mode */
       XA_ALIGN = 1 << 5,   /* vector memory operand must be aligned (#GP) */
       XA_SSE = 1 << 6,     /* needs OSFXSR, !EM, !TS */
       XA_AVX = 1 << 7,     /* needs MODE_AVX, !TS; VEX */
       XA_X87 = 1 << 8,     /* #NM if EM or TS */
       XA_MMX = 1 << 9,     /* #UD if EM, #NM if TS */
       XA_DEF64 = 1 << 10,  /* operand size is 64 in 64-bit mode (push, pop, near branches ...) */
       XA_END = 1 << 11,    /* ends the block */
       XA_FPEXC = 1 << 12,  /* SIMD floating point: may raise #XM */
       XA_TEST = 1 << 13,   /* user-mode, deterministic: the fuzzer generates it */
       XA_VEX_L0 = 1 << 14, /* VEX.L must be 0 */
       XA_VEX_L1 = 1 << 15,
       XA_MEM_ONLY = 1 << 16,
       XA_REG_ONLY = 1 << 17,
       XA_RELAXED =
           1 << 18, /* result may differ in the last bits between processors (rcpps, rsqrtps) */
       /* operand size is 64 in 64-bit mode whatever the prefixes say (near branches as Intel
        * does, MOV CR, LGDT) */
       XA_F64 = 1 << 19,
       XA_L1_AVX2 = 1 << 20, /* VEX.L = 1 needs AVX2 */
       XA_VSIB = 1 << 22,    /* the index is a vector register */
       XA_MOD3 = 1 << 21,    /* ModRM.mod is taken as 3 (MOV CR, MOV DR) */
};

typedef struct X86Row {
    const char *name; /* mnemonic, lower case */
    uint16_t op;      /* X86_<NAME> */
    uint8_t kind;
    uint32_t attr;
    /* X86F_x (cpu/x86/model.h), 0: always there.  XA_AVX rows need X86F_AVX too */
    uint16_t feature;
    uint16_t fl_in, fl_out,
        fl_undef;         /* FL_*: read, written with meaning, left undefined by the manual */
    uint16_t pass;        /* row in ir_pass_rows */
    const char *operands; /* the SDM's letters: "Eb,Gb,_,_" */
    /* opcode placement: words of cpu/x86/opcodes.h */
    uint8_t map, opcode; /* M1, M0F ...; first opcode byte of a Z operand's eight */
    uint32_t select;
    uint32_t opd[4];
} X86Row;

typedef struct X86Insn {
    const X86Row *row;
    uint8_t len;
    uint8_t opsize, adsize; /* 2 4 8; opsize with REX.W, 66 and defaults applied */
    uint8_t rep;            /* 0, 0xf2, 0xf3: the last of them; 0 if it selects the opcode */
    bool lock, rex, vex, vex_w, vex_l, opsize_prefix;
    uint8_t n;       /* operands */
    X86Operand o[5]; /* in Intel order: destination first */
    X86Mem mem;      /* of the operand of kind MEM */
    uint8_t modrm;   /* raw */
    uint8_t opcode;  /* last opcode byte */
} X86Insn;

enum {
    X86_DECODE_OK,
    X86_DECODE_SHORT /* more bytes are needed */,
    X86_DECODE_UD,
    X86_DECODE_LONG /* over 15 bytes: #GP */
};

/* Decode at @p (@n bytes there, 15 at most are looked at) for mode bits MODE_SIZE etc. of @mode
 * (cpu/x86/x86.h) and the features of a CPU (NULL: all).  A row whose feature is off, a bad
 * LOCK, a reserved encoding give UD. */
int x86_decode(X86Insn *out, const uint8_t *p, size_t n, uint32_t mode, const uint64_t *features);

/*
 * The same with a memory of instructions' shapes: what is in front of displacement and immediate.
 * Nearly all of a program's instructions have one of a few hundred.  One for each CPU; all zero to
 * begin with; NULL: none.
 */
typedef struct X86Shape {
    uint64_t key;            /* the shape's bytes and the mode; 0: free */
    uint8_t head, disp, imm; /* bytes of it, of the displacement, of the immediate */
    uint8_t imm_at;          /* its operand */
    bool imm_signed;
    X86Insn insn; /* with neither */
} X86Shape;
enum { X86_SHAPE_BITS = 10 };
typedef struct X86Shapes {
    X86Shape at[1 << X86_SHAPE_BITS];
} X86Shapes;
int x86_decode_quick(X86Shapes *shapes, X86Insn *out, const uint8_t *p, size_t n, uint32_t mode,
                     const uint64_t *features);

unsigned x86_row_count(void);
const X86Row *x86_row(unsigned i);

enum { /* X86_ADD ...: one for each mnemonic of kind X86K_TR */
       X86_OP_NONE,
#define MNEMONIC(id) X86_##id,
#include "cpu/x86/mnemonics.def"
#undef MNEMONIC
       X86_OP_COUNT
};

#endif
