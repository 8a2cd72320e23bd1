/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86 - processor state
 *
 * Chapter numbers are those of Intel's Software Developer's Manual (SDM) unless APM (AMD) is named.
 */
#ifndef CPU_X86_X86_H
#define CPU_X86_X86_H

#include "core/cpu.h"

enum { R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI, R_8 }; /* cpu->r[0..15] */
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEG_COUNT };
#define V_SEG(s)                                                                                   \
    ((uint8_t)(16 + (s)))      /* cpu->r[16..21]: segment bases as IR registers (16 + SEG_x) */
#define X86_PC(c) ((c)->r[32]) /* RIP */

enum {
    CR0_PE = 1,
    CR0_MP = 2,
    CR0_EM = 4,
    CR0_TS = 8,
    CR0_ET = 16,
    CR0_NE = 32,
    CR0_WP = 1 << 16,
    CR0_AM = 1 << 18,
    CR0_NW = 1 << 29,
    CR0_CD = 1 << 30,
    CR4_VME = 1,
    CR4_PVI = 2,
    CR4_TSD = 4,
    CR4_DE = 8,
    CR4_PSE = 16,
    CR4_PAE = 32,
    CR4_MCE = 64,
    CR4_PGE = 128,
    CR4_PCE = 256,
    CR4_OSFXSR = 512,
    CR4_OSXMMEXCPT = 1024,
    CR4_UMIP = 1 << 11,
    CR4_LA57 = 1 << 12,
    CR4_FSGSBASE = 1 << 16,
    CR4_PCIDE = 1 << 17,
    CR4_OSXSAVE = 1 << 18,
    CR4_SMEP = 1 << 20,
    CR4_SMAP = 1 << 21,
    CR4_PKE = 1 << 22,
    EFER_SCE = 1,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    EFER_NXE = 1 << 11,
    EFER_FFXSR = 1 << 14,
};
#define CR0_PG (1u << 31)
enum {
    EFL_TF = 1 << 8,
    EFL_IF = 1 << 9,
    EFL_DF = 1 << 10,
    EFL_IOPL = 3 << 12,
    EFL_NT = 1 << 14,
    EFL_RF = 1 << 16,
    EFL_VM = 1 << 17,
    EFL_AC = 1 << 18,
    EFL_VIF = 1 << 19,
    EFL_VIP = 1 << 20,
    EFL_ID = 1 << 21
};
enum {
    EX_DE,
    EX_DB,
    EX_NMI,
    EX_BP,
    EX_OF,
    EX_BR,
    EX_UD,
    EX_NM,
    EX_DF,
    EX_TS = 10,
    EX_NP,
    EX_SS,
    EX_GP,
    EX_PF,
    EX_MF = 16,
    EX_AC,
    EX_MC,
    EX_XM
};

/* cpu->mode: all that translation depends on (block key). */
enum {
    MODE_CPL = 3, /* bits 0-1 */
    MODE_16 = 0,
    MODE_32 = 1 << 2,
    MODE_64 = 2 << 2,
    MODE_SIZE = 3 << 2, /* code size */
    MODE_SS32 = 1 << 4, /* stack pointer is ESP (clear: SP); not looked at in MODE_64 */
    MODE_PE = 1 << 5,
    MODE_VM86 = 1 << 6,
    MODE_LMA = 1 << 7,
    MODE_FLAT =
        1 << 8, /* ES, SS, DS: base 0, limit 4 GiB, readable and writable: no checks, no base */
    MODE_FLAT_FS =
        1 << 9, /* FS: limit 4 GiB, readable and writable: base is added, nothing checked */
    MODE_LA57 = 1 << 26,    /* linear addresses have 57 bits */
    MODE_FLAT_GS = 1 << 25, /* the same of GS */
    MODE_FLAT_FSGS = MODE_FLAT_FS | MODE_FLAT_GS,
    MODE_FLAT_CS = CPU_MODE_LINEAR, /* CS: base 0, limit 4 GiB, readable */
    MODE_DF = 1 << 11,              /* EFLAGS.DF */
    MODE_STEP =
        1 << 12, /* TF, or instruction breakpoints are on: one instruction a block, then hlp_step */
    MODE_EM = 1 << 13,
    MODE_TS = 1 << 14,
    MODE_MP = 1 << 15, /* CR0 */
    MODE_OSFXSR = 1 << 16,
    MODE_AVX = 1 << 17,  /* CR4.OSXSAVE and XCR0 has SSE and AVX */
    MODE_AC = 1 << 18,   /* alignment checks are on (CR0.AM, EFLAGS.AC, CPL 3) */
    MODE_IOPL = 1 << 19, /* CPL <= IOPL (real mode: always; VM86: IOPL == 3) */
    MODE_UMIP = 1 << 20,
    MODE_TSD = 1 << 21,
    MODE_FSGSBASE = 1 << 22,
    MODE_OSXSAVE = 1 << 23,
    MODE_IOBP =
        1 << 24, /* I/O or data breakpoints are on: memory and I/O go through checking helpers */
};

typedef struct X86Seg {
    uint16_t sel;
    /* descriptor bits 40..55 with the limit's left out: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L
     * 13, D/B 14, G 15 */
    uint16_t attr;
    uint32_t limit; /* in bytes, inclusive, scaled */
    uint64_t base;  /* of SEG_ES..SEG_GS the live copy is cpu->r[16 + seg]: use x86_seg_base() */
} X86Seg;

typedef struct X86Fpu {     /* x87; MMX registers alias the mantissas */
    uint8_t st[8][16];      /* physical registers R0..R7, 80 bits each, little-endian */
    uint16_t fcw, fsw, fop; /* fsw holds TOP */
    uint8_t ftw;            /* abridged: bit n = R(n) is in use */
    uint64_t fip, fdp;
    uint16_t fcs, fds;
} X86Fpu;

struct X86Apic; /* hw/irq/lapic.c */

/* How the processor talks to its local APIC without knowing the device. */
typedef struct X86ApicOps {
    /* vector that would be delivered now (priority above PPR), ExtINT included, or -1 */
    int (*pending)(void *apic);
    int (*acknowledge)(
        void *apic); /* take it: returns the vector (ExtINT: asks the PIC), or -1: spurious gone */
    uint64_t (*base)(void *apic); /* IA32_APIC_BASE */
    bool (*set_base)(void *apic, uint64_t v);
    uint8_t (*tpr)(void *apic); /* CR8 */
    void (*set_tpr)(void *apic, uint8_t v);
    bool (*msr_read)(void *apic, uint32_t msr,
                     uint64_t *v); /* x2APIC 0x800.., TSC deadline 0x6e0; false: #GP */
    bool (*msr_write)(void *apic, uint32_t msr, uint64_t v);
    void (*reset)(void *apic, bool init);
} X86ApicOps;

enum { XSAVE_AVX_AT = 576, XSAVE_PKRU_AT = 2688 }; /* in a standard XSAVE area */

typedef struct X86Model X86Model;
struct X86Shapes;

typedef struct X86Cpu {
    /* r[0..15] GPRs, r[16..21] segment bases, r[32] RIP; v[0..15] YMM; vcsr MXCSR; cc flags */
    Cpu cpu;
    uint64_t rflags; /* all but the arithmetic flags, which are cpu.cc; bit 1 is set */
    X86Seg seg[SEG_COUNT];
    struct {
        uint64_t base;
        uint16_t limit;
    } gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, xcr0;
    uint64_t dr[8];
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux, pat, tsc_offset, tsc_adjust;
    uint32_t sysenter_cs;
    uint64_t sysenter_esp, sysenter_eip, misc_enable, mtrr_def, mtrr_fixed[11], mtrr_var[16],
        smbase, mcg_status, mcg_cap, mcg_ctl, mci[4 * 10];
    uint32_t pkru;
    uint8_t cpl;
    uint8_t shadow; /* interrupts are blocked for one more instruction: 1 STI, 2 MOV SS (and #DB) */
    uint8_t nmi_blocked, nmi_pending;
    uint8_t wait_sipi; /* after INIT: only SIPI starts it */
    uint8_t sipi_vector;
    int16_t delivering; /* vector being delivered (for double faults), -1: none */
    X86Fpu fpu;
    /* not guest state */
    const X86Model *model; /* CPUID and features: cpu/x86/model.h */
    void *apic;            /* with apic_ops; NULL: none */
    const X86ApicOps *apic_ops;
    uint64_t a20_mask;     /* ~0, or bit 20 clear */
    uint64_t phys_mask;    /* reserved bits of page tables derive from it */
    uint64_t features[16]; /* words: cpu/x86/model.h; what CPUID tells and decoding allows */
    uint64_t spec_ctrl;    /* kept, without effect */
    /* derived from the above */
    uint32_t mode_sys;  /* mode bits of the control registers: x86_update_sys() */
    uint8_t flat;       /* bit SEG_x: the segment qualifies for its MODE_FLAT*: x86_seg_set() */
    uint8_t step_armed; /* TF was set when the present instruction began */
    uint8_t step_rf;    /* RF was set then: no instruction breakpoint for it */
    uint8_t watch_hits; /* data and I/O breakpoints the present instruction hit: DR6 bits */
    struct X86Shapes *shapes; /* of decoded instructions: insn.h */
    uint8_t pc_final;         /* a task switch is past its commit point: V_PC is the new task's */
    /* an interrupt was seen while IF was clear: REQ_IRQ is raised again with IF */
    uint8_t irq_masked;
    uint8_t random_left; /* words of it */
    uint64_t random[32]; /* of the host's, for RDRAND and RDSEED */
} X86Cpu;

#define X86(c) ((X86Cpu *)(c))

static inline uint64_t x86_seg_base(const X86Cpu *x, unsigned s)
{
    return s < 6 ? x->cpu.r[16 + s] : x->seg[s].base;
}

uint64_t x86_flags(const X86Cpu *x);                      /* whole RFLAGS (cc must be current) */
void x86_set_flags(X86Cpu *x, uint64_t v, uint64_t mask); /* any bits; recomputes mode if needed */
void x86_update_mode(X86Cpu *x); /* derive cpu.mode, cpu.mmu_mode, tlb context from state; cheap */
void x86_update_sys(
    X86Cpu *x); /* after changes of CR0, CR4, EFER, XCR0, DR7; calls x86_update_mode() */
void x86_update_all(
    X86Cpu *x); /* after the state was replaced as a whole (load, debugger): all that is derived */
void x86_seg_set(X86Cpu *x, unsigned seg,
                 X86Seg to);       /* no checks; x86_update_mode() is the caller's */
uint64_t x86_random(X86Cpu *x);    /* the one source of RDRAND and RDSEED */
void x86_set_a20(Cpu *c, bool on); /* any thread that holds the device lock */
noreturn void x86_raise(
    Cpu *c, unsigned vector,
    uint64_t error); /* fault at the current instruction (pc synced through host->sync_pc) */
noreturn void x86_raise_noerr(Cpu *c, unsigned vector);
extern const CpuArch x86_arch_64, x86_arch_32; /* "x86_64", "i386": differ in default models */

static inline uint16_t x86_cc_from_flags(uint64_t f)
{
    return (uint16_t)(((f & 0xd5) | 2) << 8 | (f >> 11 & 1));
}
static inline uint64_t x86_flags_from_cc(uint16_t cc)
{
    return (cc >> 8 & 0xd5) | (uint64_t)(cc & 1) << 11;
}

#endif
