/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msr - model-specific registers (SDM vol 4; APM vol 2 appendix A)
 */
#include "cpu/x86/model.h"
#include "core/machine.h"
#include "cpu/x86/sys_priv.h"

typedef bool MsrRead(X86Cpu *x, uint32_t n, uint64_t *v);
typedef bool MsrWrite(X86Cpu *x, uint32_t n, uint64_t v);

typedef struct Msr {
    uint32_t first, last;
    uint16_t at; /* member of X86Cpu; 0: none, reads as `fixed` and ignores writes within `valid` */
    uint8_t size;   /* of the member, 4 or 8: also the distance to that of the next number */
    bool canonical; /* writes must be canonical addresses */
    uint64_t valid; /* bits that may be set; others are #GP */
    uint64_t fixed;
    MsrRead *read; /* instead of all that */
    MsrWrite *write;
    uint16_t feature; /* #GP without it */
} Msr;

/* --- time --- */

uint64_t tsc_read(X86Cpu *x)
{
    return clock_tsc(x->cpu.machine->vclock) + x->tsc_offset;
}

static bool tsc_msr_read(X86Cpu *x, uint32_t n UNUSED, uint64_t *v)
{
    *v = tsc_read(x);
    return true;
}

static bool tsc_msr_write(X86Cpu *x, uint32_t n UNUSED, uint64_t v)
{
    uint64_t by = v - tsc_read(x);

    x->tsc_offset += by;
    x->tsc_adjust += by;
    return true;
}

static bool tsc_adjust_write(X86Cpu *x, uint32_t n UNUSED, uint64_t v)
{
    x->tsc_offset += v - x->tsc_adjust;
    x->tsc_adjust = v;
    return true;
}

/* --- EFER --- */

bool efer_write(X86Cpu *x, uint64_t v)
{
    uint64_t old = x->efer, valid = 0;

    valid |= x86_has(x->features, X86F_SYSCALL) || x86_has(x->features, X86F_LM) ? EFER_SCE : 0;
    valid |= x86_has(x->features, X86F_LM) ? EFER_LME | EFER_LMA : 0;
    valid |= x86_has(x->features, X86F_NX) ? EFER_NXE : 0;
    valid |= x86_has(x->features, X86F_FXSR_OPT) ? EFER_FFXSR : 0;
    if (v & ~valid || ((v ^ old) & EFER_LME && x->cr0 & CR0_PG))
        return false;
    x->efer = (v & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
    if ((v ^ old) & EFER_NXE)
        tlb_flush_all(&x->cpu);
    x86_update_sys(x);
    return true;
}

static bool efer_msr_write(X86Cpu *x, uint32_t n UNUSED, uint64_t v)
{
    return efer_write(x, v);
}

/* --- bases --- */

static bool base_read(X86Cpu *x, uint32_t n, uint64_t *v)
{
    *v = x->cpu.r[V_SEG(n & 1 ? SEG_GS : SEG_FS)];
    return true;
}

static bool base_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    unsigned seg = n & 1 ? SEG_GS : SEG_FS;

    if (!x86_canonical(x, v))
        return false;
    x->seg[seg].base = v;
    x->cpu.r[V_SEG(seg)] = v;
    return true;
}

/* --- local APIC --- */

static bool apic_read(X86Cpu *x, uint32_t n, uint64_t *v)
{
    x86_enter_c(&x->cpu);
    return x->apic && x->apic_ops->msr_read(x->apic, n, v);
}

static bool apic_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    x86_enter_c(&x->cpu);
    return x->apic && x->apic_ops->msr_write(x->apic, n, v);
}

static bool apic_base_read(X86Cpu *x, uint32_t n UNUSED, uint64_t *v)
{
    x86_enter_c(&x->cpu);
    *v = x->apic ? x->apic_ops->base(x->apic) : 0;
    return x->apic != NULL;
}

static bool apic_base_write(X86Cpu *x, uint32_t n UNUSED, uint64_t v)
{
    x86_enter_c(&x->cpu);
    return x->apic && x->apic_ops->set_base(x->apic, v);
}

/* --- memory types --- */

/* Each byte of @v is a memory type of the set @types. */
static bool types_ok(uint64_t v, unsigned types)
{
    for (unsigned at = 0; at < 64; at += 8)
        if ((v >> at & 0xff) > 7 || !(types >> (v >> at & 7) & 1))
            return false;
    return true;
}

static bool pat_write(X86Cpu *x, uint32_t n UNUSED, uint64_t v)
{
    if (!types_ok(v, 0xf3))
        return false;
    x->pat = v;
    return true;
}

static unsigned mtrr_fixed_index(uint32_t n)
{
    return n == 0x250 ? 0 : n < 0x268 ? n - 0x258 + 1 : n - 0x268 + 3;
}

static bool mtrr_fixed_read(X86Cpu *x, uint32_t n, uint64_t *v)
{
    *v = x->mtrr_fixed[mtrr_fixed_index(n)];
    return true;
}

static bool mtrr_fixed_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    if (!types_ok(v, 0x73))
        return false;
    x->mtrr_fixed[mtrr_fixed_index(n)] = v;
    return true;
}

static bool mtrr_var_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    if (v & ~(x->phys_mask | 0xfff))
        return false;
    x->mtrr_var[n - 0x200] = v;
    return true;
}

/* --- machine check banks --- */

static bool mc_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    unsigned i = n - 0x400;

    if (i % 4 == 1 && v != 0) /* MCi_STATUS can only be cleared */
        return false;
    x->mci[i] = v;
    return true;
}

static bool spec_read(X86Cpu *x, uint32_t n UNUSED, uint64_t *v)
{
    *v = x->spec_ctrl;
    return x86_has(x->features, X86F_SPEC_CTRL) || x86_has(x->features, X86F_IBRS) ||
           x86_has(x->features, X86F_AMD_SSBD);
}

static bool spec_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    uint64_t old;

    if (!spec_read(x, n, &old) || v & ~7ull)
        return false;
    x->spec_ctrl = v;
    return true;
}

#define MEMBER(f, l, m, mask)                                                                      \
    {                                                                                              \
        .first = f, .last = l, .at = offsetof(X86Cpu, m), .size = sizeof(((X86Cpu *)0)->m),        \
        .valid = mask                                                                              \
    }
#define ADDRESS(f, m)                                                                              \
    {                                                                                              \
        .first = f, .last = f, .at = offsetof(X86Cpu, m), .size = 8, .canonical = true,            \
        .valid = ~0ull                                                                             \
    }
#define READS(f, l, v)                                                                             \
    {                                                                                              \
        .first = f, .last = l, .fixed = v, .valid = ~0ull                                          \
    } /* writes are ignored */
#define BY(f, l, r, w)                                                                             \
    {                                                                                              \
        .first = f, .last = l, .read = r, .write = w                                               \
    }

/* The busiest first. */
static const Msr msrs[] = {
    BY(0xc0000100, 0xc0000101, base_read, base_write), /* FS_BASE, GS_BASE */
    ADDRESS(0xc0000102, kernel_gs_base),
    BY(0x6e0, 0x6e0, apic_read, apic_write),                              /* TSC_DEADLINE */
    BY(0x800, 0x8ff, apic_read, apic_write),                              /* x2APIC */
    BY(0x48, 0x48, spec_read, spec_write),                                /* SPEC_CTRL */
    {.first = 0x49, .last = 0x49, .valid = 1, .feature = X86F_SPEC_CTRL}, /* PRED_CMD */
    BY(0x10, 0x10, tsc_msr_read, tsc_msr_write),
    {.first = 0x3b,
     .last = 0x3b,
     .at = offsetof(X86Cpu, tsc_adjust),
     .size = 8,
     .write = tsc_adjust_write,
     .feature = X86F_TSC_ADJUST},
    MEMBER(0xc0000103, 0xc0000103, tsc_aux, UINT32_MAX),
    BY(0x1b, 0x1b, apic_base_read, apic_base_write),
    {.first = 0xc0000080,
     .last = 0xc0000080,
     .at = offsetof(X86Cpu, efer),
     .size = 8,
     .write = efer_msr_write},
    MEMBER(0xc0000081, 0xc0000081, star, ~0ull),
    ADDRESS(0xc0000082, lstar),
    ADDRESS(0xc0000083, cstar),
    MEMBER(0xc0000084, 0xc0000084, sfmask, UINT32_MAX),
    MEMBER(0x174, 0x174, sysenter_cs, UINT32_MAX),
    ADDRESS(0x175, sysenter_esp),
    ADDRESS(0x176, sysenter_eip),
    {.first = 0x277, .last = 0x277, .at = offsetof(X86Cpu, pat), .size = 8, .write = pat_write},
    MEMBER(0x1a0, 0x1a0, misc_enable, ~0ull),
    READS(0xfe, 0xfe, 0x508), /* MTRRCAP: 8 variable, fixed, write combining */
    {.first = 0x200,
     .last = 0x20f,
     .at = offsetof(X86Cpu, mtrr_var),
     .size = 8,
     .write = mtrr_var_write},
    BY(0x250, 0x250, mtrr_fixed_read, mtrr_fixed_write),
    BY(0x258, 0x259, mtrr_fixed_read, mtrr_fixed_write),
    BY(0x268, 0x26f, mtrr_fixed_read, mtrr_fixed_write),
    MEMBER(0x2ff, 0x2ff, mtrr_def, 0xcff),
    MEMBER(0x179, 0x179, mcg_cap, 0),
    MEMBER(0x17a, 0x17a, mcg_status, 7),
    MEMBER(0x17b, 0x17b, mcg_ctl, ~0ull),
    {.first = 0x400, .last = 0x427, .at = offsetof(X86Cpu, mci), .size = 8, .write = mc_write},
    READS(0x00, 0x01, 0),              /* P5_MC_ADDR, P5_MC_TYPE */
    READS(0x17, 0x17, 0),              /* PLATFORM_ID */
    READS(0x2a, 0x2a, 0),              /* EBL_CR_POWERON */
    READS(0x2c, 0x2c, 0),              /* EBC_FREQUENCY_ID */
    READS(0x34, 0x34, 0),              /* SMI_COUNT */
    READS(0x3a, 0x3a, 1),              /* FEATURE_CONTROL: locked */
    READS(0x79, 0x79, 0),              /* BIOS_UPDT_TRIG */
    READS(0x8b, 0x8b, 0x100000000ull), /* BIOS_SIGN_ID */
    READS(0xcd, 0xcd, 3),              /* FSB_FREQ */
    READS(0xce, 0xce, 0x80000000ull),  /* PLATFORM_INFO: CPUID faulting absent */
    READS(0xe7, 0xe8, 0),              /* MPERF, APERF */
    READS(0x119, 0x119, 0),
    READS(0x11e, 0x11e, 0xbe702111),           /* BBL_CR_CTL3 */
    READS(0x140, 0x140, 0),                    /* MISC_FEATURE_ENABLES */
    READS(0x198, 0x198, 1000ull | 4ull << 40), /* PERF_STATUS */
    READS(0x199, 0x19c, 0),                    /* PERF_CTL, CLOCK_MODULATION, THERM_* */
    READS(0x1b0, 0x1b0, 0),                    /* ENERGY_PERF_BIAS */
    READS(0x1d9, 0x1d9, 0),                    /* DEBUGCTL */
    READS(0x1db, 0x1de, 0),                    /* LASTBRANCH*, LASTINT* */
    {.first = 0xda0, .last = 0xda0, .feature = X86F_XSAVES}, /* XSS: no supervisor components */
    READS(0xc0000104, 0xc0000104, 0x100000000ull),           /* TSC_RATIO */
    READS(0xc0010000, 0xc0010007, 0),                        /* K7 performance counters */
    READS(0xc0010010, 0xc001001a, 0),                        /* SYSCFG, HWCR, IORRs, TOP_MEM */
    READS(0xc001001d, 0xc001001f, 0),                        /* TOP_MEM2, NB_CFG */
    READS(0xc0010020, 0xc0010020, 0),                        /* PATCH_LOADER */
    READS(0xc0010055, 0xc0010055, 0),                        /* INTPEND */
    READS(0xc0010058, 0xc0010058, 0),                        /* MMIO_CONF_BASE */
    READS(0xc0010061, 0xc001006b, 0),                        /* P-states */
    READS(0xc0010111, 0xc0010113, 0),                        /* SMM_BASE, SMM_ADDR, SMM_MASK */
    READS(0xc0010114, 0xc0010114, 0x10),                     /* VM_CR: SVM disabled */
    READS(0xc0010117, 0xc0010117, 0),                        /* VM_HSAVE_PA */
    READS(0xc0010140, 0xc0010141, 0),                        /* OSVW */
    READS(0xc0011020, 0xc0011023, 0),                        /* LS_CFG, IC_CFG, DC_CFG, BU_CFG */
    READS(0xc0011029, 0xc001102a, 0),                        /* DE_CFG, BU_CFG2 */
};

static const Msr *msr_find(const X86Cpu *x, uint32_t n)
{
    for (unsigned i = 0; i < COUNT_OF(msrs); i++)
        if (n - msrs[i].first <= msrs[i].last - msrs[i].first)
            return x86_has(x->features, msrs[i].feature) ? &msrs[i] : NULL;
    return NULL;
}

static void *msr_member(X86Cpu *x, const Msr *m, uint32_t n)
{
    return (uint8_t *)x + m->at + (n - m->first) * m->size;
}

bool msr_read(X86Cpu *x, uint32_t n, uint64_t *v)
{
    const Msr *m = msr_find(x, n);

    if (!m)
        return false;
    if (m->read)
        return m->read(x, n, v);
    *v = !m->at         ? m->fixed
         : m->size == 8 ? load_uint64_t(msr_member(x, m, n))
                        : load_uint32_t(msr_member(x, m, n));
    return true;
}

bool msr_write(X86Cpu *x, uint32_t n, uint64_t v)
{
    const Msr *m = msr_find(x, n);

    if (!m)
        return false;
    if (m->write)
        return m->write(x, n, v);
    if (v & ~m->valid || (m->canonical && !x86_canonical(x, v)))
        return false;
    if (m->at && m->size == 8)
        __builtin_memcpy(msr_member(x, m, n), &v, 8);
    else if (m->at)
        __builtin_memcpy(msr_member(x, m, n), &v, 4);
    return true;
}

static noreturn void refuse(Cpu *c, const char *what, uint32_t n, uint64_t v)
{
    if (log_on(LOG_UNIMP)) {
        x86_enter_c(c);
        log_unimp("x86: %s of MSR %#x refused (value %#" PRIx64 ")\n", what, n, v);
    }
    x86_raise(c, EX_GP, 0);
}

uint64_t hlp_rdmsr(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    uint32_t n = (uint32_t)c->r[R_CX];
    uint64_t v = 0;

    if (!msr_read(X86(c), n, &v))
        refuse(c, "read", n, 0);
    c->r[R_AX] = (uint32_t)v;
    c->r[R_DX] = v >> 32;
    return 0;
}

uint64_t hlp_wrmsr(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    uint32_t n = (uint32_t)c->r[R_CX];
    uint64_t v = (uint32_t)c->r[R_AX] | c->r[R_DX] << 32;

    if (!msr_write(X86(c), n, v))
        refuse(c, "write", n, v);
    return 0;
}
