/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu - what every virtual processor has, and the contracts of architectures and accelerators
 *
 * Layout is part of the translator's contract: rbp points CPU_BIAS bytes into struct Cpu while
 * translated code runs, so that the hot part is reached by 8-bit displacements.
 */
#ifndef CORE_CPU_H
#define CORE_CPU_H

#include <setjmp.h>

#include "base/base.h"
#include "base/reflect.h"
#include "core/memory.h"

typedef struct Cpu Cpu;
typedef struct Machine Machine;
struct IrBlock;
struct TlbContext;

#define CPU_BIAS 128
#define CPU_TEMPS 8
#define CPU_REGS 40 /* general 0..31; 32 is the pc (V_PC); 33..39 the architecture's own */
#define CPU_VREGS 32

/* Cpu.request: set by any thread with cpu_request(), tested by translated code at every block
 * entry. */
enum {
    REQ_IRQ = 1 << 0, /* the interrupt controller has something (arch->irq_pending decides) */
    REQ_NMI = 1 << 1,
    REQ_SMI = 1 << 2,
    REQ_INIT = 1 << 3,
    REQ_SIPI = 1 << 4,
    REQ_STOP = 1 << 5,      /* park (pause, reset, shutdown) */
    REQ_TLB = 1 << 6,       /* flush all soft TLBs (another thread changed the memory map) */
    REQ_EXIT = 1 << 7,      /* leave translated code once, no other meaning */
    REQ_EXCLUSIVE = 1 << 8, /* somebody wants to be alone: leave translated code and wait */
    REQ_CODE = 1 << 9,      /* code cache was flushed or a block of ours was dropped */
    REQ_CALL = 1 << 10,     /* work is queued for this vCPU */
    REQ_DEBUG = 1 << 11,    /* stand still until the debugger goes on (core/debug.h) */
};

/* Bit of Cpu.mode: code addresses are linear addresses (no segment base), so that a pc and a
 * mode name a place. */
#define CPU_MODE_LINEAR (1u << 10)

typedef enum Access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC } Access;

/* Result of a page-table walk (arch->walk). */
typedef struct Walk {
    Gpa pa;                 /* of the byte asked for */
    uint64_t size;          /* bytes the translation covers (4 KiB, 2 MiB, 1 GiB ...) */
    bool read, write, exec; /* allowed for this mmu mode; write only once the dirty bit is set */
    bool global;
    uint64_t error; /* on failure: fault information of the architecture (x86: #PF error code) */
} Walk;

typedef struct Exception {
    uint16_t vector; /* the architecture's number */
    bool has_error;
    uint64_t error;
    Gva addr;        /* CR2, stval, FAR */
    uint32_t detail; /* the architecture's own (x86: DR6 bits, is_software and length) */
} Exception;

/* Why accel run loops are entered again; what cpu_unwind() reports. */
typedef enum CpuUnwind {
    UNWIND_NONE,
    UNWIND_EXCEPTION, /* cpu->exc is to be delivered; the pc is that of the faulting instruction */
    UNWIND_RETRY, /* state was changed so that the instruction must be looked at again from pc */
    UNWIND_HALT,  /* pc is past the halt instruction */
    UNWIND_STEP,  /* run exactly one instruction from pc without linking, then go on */
} CpuUnwind;

/* What a debugger is told of a vCPU (core/debug.h). */
typedef enum StopKind { STOP_NONE, STOP_STEP, STOP_BREAK, STOP_WATCH } StopKind;
typedef struct CpuStop {
    uint8_t kind, point; /* StopKind; DebugKind of the point that was hit */
    Gva at;              /* its address */
} CpuStop;

typedef struct CpuModel {
    const char *name, *doc;
    const void *data; /* the architecture's */
} CpuModel;

/* An architecture's processor models, for management.  JSON is the caller's. */
typedef struct CpuModels {
    const char *(*name)(unsigned i); /* NULL behind the last */
    /* of -cpu text: {"feature": bool, "family": 6, ...} */
    json_t *(*features)(const char *text, Error *err);
    json_t *(*missing)(const char *name); /* features of the model that cannot be had here: ["x"] */
} CpuModels;

/* One page of the page tables; @flags: its entry without the address. */
typedef void CpuMappingFn(void *arg, Gva va, Gpa pa, uint64_t size, uint64_t flags);

typedef struct CpuArch {
    const char *name;  /* "x86_64" ... */
    const Type *state; /* STATE fields of the whole cpu struct: save/load, info registers, gdb */
    size_t cpu_size;
    /* Parse "model,+feat,-feat,feat=on" and create one vCPU (index n of m->cpus). */
    Cpu *(*new)(Machine *m, unsigned n, const char *model, Error *err);
    void (*free)(Cpu *c);
    void (*reset)(Cpu *c);       /* power-on state */
    bool (*irq_pending)(Cpu *c); /* would it leave halt / be interrupted now? */
    /* Serve what is due of cpu->request between two blocks (interrupt, NMI, INIT, SIPI): changes
     * state, may unwind. */
    void (*serve)(Cpu *c);
    void (*take_exception)(Cpu *c, const Exception *e); /* may unwind (nested faults) */
    bool (*walk)(Cpu *c, Gva va, Access kind, unsigned mmu_mode,
                 Walk *out); /* sets A/D bits; general registers only */
    void (*page_fault)(Cpu *c, Gva va, Access kind, unsigned mmu_mode, uint64_t error,
                       Exception *out);
    void (*align_fault)(Cpu *c, Gva va, Exception *out); /* an IRF_ALIGN operand is misaligned */
    void (*translate)(Cpu *c, struct IrBlock *b);        /* decode + emit IR until the block ends */
    Gva (*pc_to_linear)(const Cpu *c); /* address to fetch from now (x86: CS.base + RIP) */
    size_t (*disasm)(const uint8_t *code, size_t n, Gva pc, uint32_t mode, StrBuf *out);
    void (*dump)(Cpu *c, StrBuf *out); /* registers as -d cpu shows them */
    void (*pre_save)(Cpu *c);
    bool (*loaded)(Cpu *c, Error *err);
    /* Flags (FL_* of cpu/ir/ir.h) that the code at @pc certainly overwrites before it reads
     * them; 0 is always right.  May be NULL. */
    uint16_t (*flags_dead)(Cpu *c, const uint8_t *code, size_t n, Gva pc, uint32_t mode);
    const struct DebugArch *debug; /* core/debug.h; NULL: debuggers see no registers */
    const CpuModels *models;       /* NULL: there is only one */
    /* Call @fn for each present page of the tables in use, by rising address; false: there is no
     * paging now.  May be NULL.  The processor stands still. */
    bool (*mappings)(Cpu *c, CpuMappingFn *fn, void *arg);
    uint16_t elf_machine;                    /* of core dumps, 64-bit ELF; 0: there are none */
    void (*core_note)(Cpu *c, ByteBuf *out); /* its ELF notes, each filled up to 4 bytes */
} CpuArch;
const CpuArch *cpu_arch_find(const char *name);
void cpu_arch_register(const CpuArch **slot, const CpuArch *a);

/* What an accelerator gives to code that runs under it (soft MMU, vectors, host pc). */
typedef struct CpuHost {
    void (*vec_save)(Cpu *c); /* live host vector registers -> cpu->v, mxcsr; clears vec_live */
    void (*sync_pc)(
        Cpu *c);          /* make the guest pc in state that of the instruction whose helper runs */
    void (*kick)(Cpu *c); /* make it leave halt or KVM_RUN soon; any thread */
    void (*code_written)(Cpu *c, uint32_t ram_page, unsigned at,
                         unsigned size); /* a store hits a page that holds translations */
    /* Let the rest of the present instruction run while all other vCPUs stand still: unwinds
     * unless that is so already. NULL: there are none. */
    void (*alone)(Cpu *c);
    /* An access is about to hit a watchpoint: unwinds (UNWIND_STEP) unless its instruction is
     * alone in its block. */
    void (*watch_hit)(Cpu *c);
} CpuHost;

struct Cpu {
    /* --- hot: offsets are known to accel/jit (static asserts there) --- */
    _Atomic uint32_t request; /* 0   REQ_* */
    /* 4   arithmetic flags: low byte OF (0/1), high byte as LAHF: SF ZF 0 AF 0 PF 1 CF */
    uint16_t cc;
    uint8_t vec_live; /* 6   host vector registers hold the guest's; cpu->v is stale */
    uint8_t pad0;
    uint64_t ret;           /* 8   result of the last helper */
    struct TlbContext *tlb; /* 16  the current soft TLB */
    void *host_sp;          /* 24  stack pointer of translated code while C runs */
    uint64_t t[CPU_TEMPS];  /* 32  IR temporaries: live within one guest instruction */
    uint64_t r[CPU_REGS];   /* 96  IR registers: cpu/ir/ir.h */
    /* --- warm --- */
    alignas(64) uint8_t v[CPU_VREGS][32]; /* vector registers: 256 bits each */
    uint32_t vcsr;                        /* MXCSR or the like: live in the host's while vec_live */
    /* block key: everything translation depends on besides the code bytes; with CPU_MODE_LINEAR */
    uint32_t mode;
    /* index of the soft TLB's rights: x86 0 kernel, 1 user, 2 kernel under SMAP */
    uint8_t mmu_mode;
    bool halted;
    bool one_insn; /* blocks of one instruction (TF, pending shadows, debugging) */
    /* --- cold --- */
    const CpuArch *arch;
    const CpuHost *host;
    Machine *machine;
    unsigned index;
    AddressSpace *as, *io;
    void *accel;     /* the accelerator's per-vCPU struct */
    void *mmu;       /* cpu/tlb.c */
    jmp_buf *unwind; /* where cpu_unwind() goes; set by the run loop */
    Exception exc;
    uint64_t group[32]; /* back end: host addresses of shared memory checks within a block */
    void *stack_top, *stack_limit;  /* back end: bounds of translated code's stack */
    void *c_sp;                     /* stack pointer for C called from translated code */
    alignas(64) uint8_t bounce[64]; /* memory operand of an access that cannot be done in place */
    const struct Debug *debug;      /* who debugs, or NULL */
    CpuStop stop;
    uint32_t late_requests; /* those that wait for a step's end */
    _Atomic int host_tid;   /* the kernel's number of the thread that runs it; 0: none yet */
    uint32_t code_limit;    /* part of a block's key, beside `mode` (x86: last offset in CS) */
};

/* Leave whatever runs on this vCPU's thread and go back to its run loop.  Vector registers are
 * kept. */
noreturn void cpu_unwind(Cpu *c, CpuUnwind why);
/* Fill c->exc and unwind. */
noreturn void cpu_raise(Cpu *c, const Exception *e);
/* Any thread: set bits and make the vCPU notice. */
void cpu_request(Cpu *c, uint32_t bits);
static inline void cpu_request_clear(Cpu *c, uint32_t bits)
{
    atomic_fetch_and(&c->request, ~bits);
}

/* The vCPU whose instructions this thread carries out, or NULL.  Accelerators set it when they
 * start (or, with one thread for all, switch to) a vCPU; devices with one face for each
 * processor ask. */
extern _Thread_local Cpu *cpu_current_;
static inline Cpu *cpu_current(void)
{
    return cpu_current_;
}
static inline void cpu_set_current(Cpu *c)
{
    cpu_current_ = c;
}

/* Accelerators. */
typedef struct Accel {
    const char *name, *alias, *doc;
    bool (*probe)(const char *arch, Error *err);
    bool (*start)(struct Machine *m, Error *err); /* machine-wide state */
    void (*stop)(struct Machine *m);
    bool (*vcpu_create)(Cpu *c, Error *err); /* may start its (parked) thread */
    void (*vcpu_destroy)(Cpu *c);
    /* all vCPUs are there: make their (parked) threads.  May be NULL */
    bool (*ready)(struct Machine *m, Error *err);
    void (*run)(struct Machine *m); /* let vCPUs go */
    void (*park)(
        struct Machine *m); /* returns when every vCPU stands still with its state in cpu structs */
    void (*stats)(struct Machine *m, StrBuf *out);
    /* a breakpoint there came or went; paused.  May be NULL */
    void (*break_changed)(struct Machine *m, Gva linear);
} Accel;
void accel_register(const Accel **slot, const Accel *a);
#define ACCEL_REGISTER(a)                                                                          \
    __attribute__((constructor)) static void a##_register(void)                                    \
    {                                                                                              \
        static const Accel *slot;                                                                  \
        accel_register(&slot, &a);                                                                 \
    }
const Accel *accel_find(const char *name);

#endif
