/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sys - what the files of the system architecture (SDM vol 3) share
 *
 * Everything here is compiled for general registers only.
 */
#ifndef CPU_X86_SYS_PRIV_H
#define CPU_X86_SYS_PRIV_H

#include "base/log.h"
#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/x86.h"

enum { SEL_RPL = 3, SEL_TI = 4 };
enum { /* X86Seg.attr */
       ATTR_A = 1,
       ATTR_RW = 2 /* data: writable, code: readable */,
       ATTR_DC = 4 /* expand down, conforming */,
       ATTR_CODE = 8,
       ATTR_S = 0x10,
       ATTR_DPL = 0x60,
       ATTR_P = 0x80,
       ATTR_L = 1 << 13,
       ATTR_DB = 1 << 14,
       ATTR_G = 1 << 15,
       ATTR_MASK = 0xf0ff,
};
enum { /* types of system descriptors */
       SYS_TSS16 = 1,
       SYS_LDT = 2,
       SYS_TSS16_BUSY = 3,
       SYS_CALL16 = 4,
       SYS_TASK = 5,
       SYS_INT16 = 6,
       SYS_TRAP16 = 7,
       SYS_TSS32 = 9,
       SYS_TSS32_BUSY = 11,
       SYS_CALL32 = 12,
       SYS_INT32 = 14,
       SYS_TRAP32 = 15,
};
enum { WALK_NONCANONICAL = 1 << 16 /* Walk.error: becomes #GP(0) */ };
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };
enum {
    EXC_SOFTWARE = 1 << 16,
    EXC_TRAP = 1 << 17
}; /* Exception.detail beside DR6 bits: INT n; RF is not set */
enum {
    DELIVER_EXTERNAL = 0x100
}; /* X86Cpu.delivering of interrupts: no exception class, EXT set */

static inline bool x86_is64(const X86Cpu *x)
{
    return (x->cpu.mode & MODE_SIZE) == MODE_64;
}
static inline bool x86_is_prot(const X86Cpu *x)
{
    return (x->cpu.mode & (MODE_PE | MODE_VM86)) == MODE_PE;
}

/* Rights mode of explicit accesses at @cpl. */
static inline unsigned x86_mmu_mode(const X86Cpu *x, unsigned cpl)
{
    return cpl == 3 ? 1 : (x->cr4 & CR4_SMAP) && !(x->rflags & EFL_AC) ? 2 : 0;
}

/* Rights mode of implicit supervisor accesses (descriptor tables, TSS): SDM 3 4.6.1. */
static inline unsigned x86_sys_mode(const X86Cpu *x)
{
    return x->cr4 & CR4_SMAP ? 2 : 0;
}

static inline bool x86_canonical(const X86Cpu *x, uint64_t va)
{
    unsigned shift = x->cr4 & CR4_LA57 ? 7 : 16;

    return (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

/* Before anything that may use vector registers (logs, devices, libc). */
static inline void x86_enter_c(Cpu *c)
{
    if (c->vec_live)
        c->host->vec_save(c);
}

/* An interrupt that had to wait for IF is to be looked at again. */
static inline void x86_irq_unmask(X86Cpu *x)
{
    if (UNLIKELY(x->irq_masked) && x->rflags & EFL_IF) {
        x->irq_masked = 0;
        atomic_fetch_or(&x->cpu.request, REQ_IRQ);
    }
}

/* Host address of [va, va+size) if the current context has it. */
static inline uint8_t *x86_probe(const TlbEntry *table, Gva va, unsigned size)
{
    const TlbEntry *e = &table[va >> TLB_PAGE_BITS & (TLB_SIZE - 1)];
    uint64_t off = va ^ e->tag;

    return off <= 4096 - size ? (uint8_t *)(uintptr_t)(e->host + off) : NULL;
}

#define LOAD_(T)                                                                                   \
    static inline T load_##T(const void *p)                                                        \
    {                                                                                              \
        T v;                                                                                       \
        __builtin_memcpy(&v, p, sizeof(v));                                                        \
        return v;                                                                                  \
    }
LOAD_(uint16_t)
LOAD_(uint32_t)
LOAD_(uint64_t)
#undef LOAD_
static inline void store_uint64_t(void *p, uint64_t v)
{
    __builtin_memcpy(p, &v, 8);
}

static inline uint64_t size_mask(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
}
static inline uint64_t reg_merge(uint64_t old, uint64_t v,
                                 unsigned size) /* as x86 writes a register */
{
    return size == 8   ? v
           : size == 4 ? (uint32_t)v
                       : (old & ~size_mask(size)) | (v & size_mask(size));
}

/* Descriptors. */
static inline X86Seg desc_to_seg(uint16_t sel, uint64_t raw)
{
    X86Seg s = {.sel = sel, .attr = raw >> 40 & ATTR_MASK};

    s.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    s.limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
    if (s.attr & ATTR_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}
static inline unsigned desc_type(uint64_t raw)
{
    return raw >> 40 & 15;
}
static inline unsigned desc_dpl(uint64_t raw)
{
    return raw >> 45 & 3;
}
static inline bool desc_is_s(uint64_t raw)
{
    return raw >> 44 & 1;
}
static inline bool desc_is_p(uint64_t raw)
{
    return raw >> 47 & 1;
}
static inline bool desc_is_code(uint64_t raw)
{
    return (raw >> 43 & 3) == 3;
}
static inline bool desc_is_conforming(uint64_t raw)
{
    return raw >> 42 & 1;
}

typedef struct Desc {
    uint64_t raw, high;
    Gva va;
} Desc; /* high: second half of 16-byte descriptors */

/* segment.c */
bool desc_find(X86Cpu *x, uint16_t sel, unsigned size,
               Gva *va);                               /* false: outside its table (or null) */
bool desc_load(X86Cpu *x, uint16_t sel, Desc *d);      /* the first 8 bytes */
void desc_load_high(X86Cpu *x, uint16_t sel, Desc *d); /* the others; #GP(sel) if outside */
void desc_set_accessed(X86Cpu *x, Desc *d);
noreturn void raise_sel(X86Cpu *x, unsigned vector,
                        uint16_t sel); /* error code: selector without RPL */
void seg_load_checked(X86Cpu *x, unsigned seg,
                      uint16_t sel); /* MOV to ES, SS, DS, FS, GS in protected mode */
void seg_load_real(X86Cpu *x, unsigned seg, uint16_t sel); /* real and VM86 mode */
void seg_leave_outer(X86Cpu *x); /* null data segments that CPL may not use any more */
void cs_check_offset(X86Cpu *x, const X86Seg *cs, uint64_t offset); /* #GP(0) */
bool desc_is_code64(const X86Cpu *x, uint64_t raw);
X86Seg stack_seg(X86Cpu *x, uint16_t sel, unsigned cpl,
                 unsigned vector); /* checked as SS of @cpl; @vector if it is none */
X86Seg data_seg(X86Cpu *x, uint16_t sel, unsigned vector); /* checked as ES, DS, FS, GS; not null */
X86Seg system_seg(X86Cpu *x, uint16_t sel, uint32_t types, unsigned vector,
                  Desc *d); /* a system descriptor of one of @types */
void ldt_load(X86Cpu *x, uint16_t sel, unsigned vector);
static inline X86Seg cs_seg(uint16_t sel, uint64_t raw, unsigned cpl)
{
    return desc_to_seg((sel & ~SEL_RPL) | cpl, raw);
}

/* A stack being pushed to or popped from; nothing is committed but memory. */
typedef struct Stack {
    X86Cpu *x;
    X86Seg ss;
    uint64_t sp, mask;
    uint8_t mmu_mode;
    uint16_t error; /* of #SS */
} Stack;
Stack stack_current(X86Cpu *x);
Stack stack_of(X86Cpu *x, X86Seg ss, uint64_t sp, unsigned cpl); /* a new SS that was checked */
void stack_push(Stack *s, unsigned size, uint64_t v);
uint64_t stack_pop(Stack *s, unsigned size);
void stack_commit(Stack *s); /* RSP only */
X86Seg tss_stack(X86Cpu *x, unsigned cpl,
                 uint64_t *sp); /* 16- and 32-bit TSS: checked SS:SP of an inner level */
uint64_t tss_stack64(X86Cpu *x, unsigned at); /* RSPn or ISTn at this offset of a 64-bit TSS */
uint64_t far_return(X86Cpu *x, unsigned os, unsigned extra, bool iret, uint64_t *flags);

/* task.c */
typedef enum TaskCause { TASK_JUMP, TASK_CALL, TASK_INT, TASK_RETURN } TaskCause;
/* To the task of TSS @sel: SDM vol 3 7.3; @next_pc is saved as the old one's EIP; @vector if
 * @sel is no TSS. */
void task_switch(X86Cpu *x, uint16_t sel, TaskCause cause, uint64_t next_pc, unsigned vector);

/* exception.c */
uint64_t flags_writable(const X86Cpu *x,
                        unsigned os); /* flags.c: bits POPF and IRET may change now */

/* msr.c */
bool msr_read(X86Cpu *x, uint32_t n, uint64_t *v);
bool msr_write(X86Cpu *x, uint32_t n, uint64_t v);
uint64_t tsc_read(X86Cpu *x);
bool efer_write(X86Cpu *x, uint64_t v);

/* system.c */
bool cr0_write(X86Cpu *x, uint64_t v); /* false: #GP */
void cr3_enter(X86Cpu *x);             /* make cpu->tlb that of CR3 */
void pkru_set(X86Cpu *x, uint32_t v);

/* walk.c */
bool x86_walk(Cpu *c, Gva va, Access kind, unsigned mmu_mode, Walk *out);
bool x86_mappings(Cpu *c, CpuMappingFn *fn, void *arg); /* page_list.c */
void x86_core_note(Cpu *c, ByteBuf *out);
bool x86_debug_translate(Cpu *c, Gva va, Gpa *pa); /* DebugArch.translate */
extern const struct DebugArch x86_debug_64, x86_debug_32;
void x86_page_fault(Cpu *c, Gva va, Access kind, unsigned mmu_mode, uint64_t error, Exception *out);
void x86_align_fault(Cpu *c, Gva va, Exception *out);

/* fault.c */
bool x86_fault_is_stack(Cpu *c,
                        Gva va); /* an access of the instruction at the pc, in 64-bit mode */

/* exception.c */
void x86_take_exception(Cpu *c, const Exception *e);
void x86_serve(Cpu *c);
bool x86_irq_pending(Cpu *c);
/* arch.c: -d int, -d cpu_reset */
void x86_log_event(X86Cpu *x, unsigned vector, bool soft, uint64_t error);
void x86_log_state(X86Cpu *x, const char *why);
/* debug.c */
bool debug_code_hit(const X86Cpu *x, uint64_t linear, unsigned *hits);
void debug_io(X86Cpu *x, uint16_t port, unsigned size);
/* state.c */
void x86_init_state(X86Cpu *x, bool init); /* registers after reset, or after INIT */

#endif
