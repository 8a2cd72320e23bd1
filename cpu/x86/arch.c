/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arch - the CpuArchs "x86_64" and "i386": making, resetting, saving and showing a processor
 */
#include <sys/random.h>

#include "base/alloc.h"
#include "core/machine.h"
#include "cpu/x86/disasm.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/model.h"
#include "cpu/x86/sys_priv.h"
#include "cpu/x86/translate.h"

/* --- saved state --- */

static const Field seg_fields[] = {STATE(X86Seg, sel), STATE(X86Seg, attr), STATE(X86Seg, limit),
                                   STATE(X86Seg, base)};
static STRUCT_TYPE(seg_type, X86Seg, seg_fields);

#define STATE_BYTES(S, m)                                                                          \
    {                                                                                              \
        .name = #m, .type = &type_u8, .at = offsetof(S, m), .count = sizeof(MEMBER_(S, m)),        \
        .use = FIELD_STATE                                                                         \
    }

static const Field cpu_fields[] = {
    STATE_ARRAY(X86Cpu, cpu.r),
    STATE(X86Cpu, cpu.cc),
    STATE_BYTES(X86Cpu, cpu.v),
    STATE(X86Cpu, cpu.vcsr),
    STATE(X86Cpu, cpu.halted),
    STATE(X86Cpu, rflags),
    STATE_STRUCT_ARRAY(X86Cpu, seg, &seg_type),
    STATE(X86Cpu, gdt.base),
    STATE(X86Cpu, gdt.limit),
    STATE(X86Cpu, idt.base),
    STATE(X86Cpu, idt.limit),
    STATE(X86Cpu, cr0),
    STATE(X86Cpu, cr2),
    STATE(X86Cpu, cr3),
    STATE(X86Cpu, cr4),
    STATE(X86Cpu, xcr0),
    STATE_ARRAY(X86Cpu, dr),
    STATE(X86Cpu, efer),
    STATE(X86Cpu, star),
    STATE(X86Cpu, lstar),
    STATE(X86Cpu, cstar),
    STATE(X86Cpu, sfmask),
    STATE(X86Cpu, kernel_gs_base),
    STATE(X86Cpu, tsc_aux),
    STATE(X86Cpu, pat),
    STATE(X86Cpu, tsc_offset),
    STATE(X86Cpu, tsc_adjust),
    STATE(X86Cpu, sysenter_cs),
    STATE(X86Cpu, sysenter_esp),
    STATE(X86Cpu, sysenter_eip),
    STATE(X86Cpu, misc_enable),
    STATE(X86Cpu, mtrr_def),
    STATE_ARRAY(X86Cpu, mtrr_fixed),
    STATE_ARRAY(X86Cpu, mtrr_var),
    STATE(X86Cpu, smbase),
    STATE(X86Cpu, mcg_status),
    STATE(X86Cpu, mcg_cap),
    STATE(X86Cpu, mcg_ctl),
    STATE_ARRAY(X86Cpu, mci),
    STATE(X86Cpu, pkru),
    STATE(X86Cpu, cpl),
    STATE(X86Cpu, shadow),
    STATE(X86Cpu, nmi_blocked),
    STATE(X86Cpu, nmi_pending),
    STATE(X86Cpu, wait_sipi),
    STATE(X86Cpu, sipi_vector),
    STATE(X86Cpu, delivering),
    STATE_BYTES(X86Cpu, fpu.st),
    STATE(X86Cpu, fpu.fcw),
    STATE(X86Cpu, fpu.fsw),
    STATE(X86Cpu, fpu.fop),
    STATE(X86Cpu, fpu.ftw),
    STATE(X86Cpu, fpu.fip),
    STATE(X86Cpu, fpu.fdp),
    STATE(X86Cpu, fpu.fcs),
    STATE(X86Cpu, fpu.fds),
    STATE(X86Cpu, a20_mask),
    STATE(X86Cpu, spec_ctrl),
    STATE(X86Cpu, step_armed),
    STATE(X86Cpu, step_rf),
    STATE(X86Cpu, irq_masked),
};
static STRUCT_TYPE(cpu_type, X86Cpu, cpu_fields);

static void arch_pre_save(Cpu *c)
{
    X86Cpu *x = X86(c);

    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        x->seg[i].base = x86_seg_base(x, i);
}

static bool arch_loaded(Cpu *c, Error *err)
{
    X86Cpu *x = X86(c);

    if (x->cpl > 3 || x->delivering < -1 || x->delivering > 0x1ff)
        return error_set(err, "cpu %u: impossible privilege level or exception", c->index);
    if (x->efer & EFER_LMA && !(x->cr0 & CR0_PG))
        return error_set(err, "cpu %u: long mode without paging", c->index);
    tlb_flush_all(c);
    x86_update_all(x);
    if (x->irq_masked || x->nmi_pending)
        cpu_request(c, REQ_IRQ);
    return true;
}

/* --- life --- */

static Cpu *arch_new(Machine *m, unsigned n, const char *model, bool long_mode, Error *err)
{
    X86Cpu *x = xalloc_aligned(alignof(X86Cpu), sizeof(X86Cpu));

    x->cpu.arch = long_mode ? &x86_arch_64 : &x86_arch_32;
    x->cpu.machine = m;
    x->cpu.index = n;
    x->cpu.as = m ? &m->mem->system : NULL;
    x->cpu.io = m ? &m->mem->io : NULL;
    x->a20_mask = ~0ull;
    x->delivering = -1;
    x->shapes = xnew(X86Shapes);
    if (!x86_model_apply(x, model, long_mode, err)) {
        xfree(x->shapes);
        xfree(x);
        return NULL;
    }
    return &x->cpu;
}

static Cpu *arch_new_64(Machine *m, unsigned n, const char *model, Error *err)
{
    return arch_new(m, n, model, true, err);
}
static Cpu *arch_new_32(Machine *m, unsigned n, const char *model, Error *err)
{
    return arch_new(m, n, model, false, err);
}

static void arch_free(Cpu *c)
{
    x86_model_free(X86(c));
    xfree(X86(c)->shapes);
    xfree(c);
}

static void arch_reset(Cpu *c)
{
    X86Cpu *x = X86(c);

    x86_init_state(x, false);
    cpu_request_clear(c, REQ_IRQ | REQ_NMI | REQ_SMI | REQ_INIT | REQ_SIPI);
    x->wait_sipi = c->index != 0;
    c->halted = c->index != 0;
}

static Gva arch_pc_to_linear(const Cpu *c)
{
    const X86Cpu *x = (const X86Cpu *)c;

    return (c->mode & MODE_SIZE) == MODE_64 ? X86_PC(c)
                                            : (uint32_t)(x86_seg_base(x, SEG_CS) + X86_PC(c));
}

/* --- showing --- */

static const char *seg_kind(const X86Cpu *x, const X86Seg *s, bool system)
{
    static const char *const systems[2][16] = {
        {"Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16",
         "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved",
         "IntGate32", "TrapGate32"},
        {"<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
         "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64",
         "TrapGate64"},
    };

    if (system || !(s->attr & ATTR_S))
        return systems[x->efer & EFER_LMA ? 1 : 0][s->attr & 15];
    if (s->attr & ATTR_CODE)
        return s->attr & ATTR_L && x->efer & EFER_LMA ? "CS64"
               : s->attr & ATTR_DB                    ? "CS32"
                                                      : "CS16";
    return s->attr & ATTR_DB || x->efer & EFER_LMA ? "DS  " : "DS16";
}

static void dump_seg(X86Cpu *x, const char *name, unsigned i, StrBuf *out)
{
    const X86Seg *s = &x->seg[i];
    bool wide = x->efer & EFER_LMA;
    uint32_t flags = (uint32_t)s->attr << 8 | (s->limit >> (s->attr & ATTR_G ? 12 : 0) & 0xf0000);

    strbuf_addf(out, "%-3s=%04x %0*" PRIx64 " %08x %08x", name, s->sel, wide ? 16 : 8,
                x86_seg_base(x, i), s->limit, flags);
    if (x->cr0 & CR0_PE && s->attr & ATTR_P) {
        strbuf_addf(out, " DPL=%u %s", s->attr >> 5 & 3, seg_kind(x, s, i >= SEG_LDT));
        if (s->attr & ATTR_S && i < SEG_LDT)
            strbuf_addf(out, " [%c%c%c]",
                        s->attr & ATTR_CODE ? s->attr & ATTR_DC ? 'C' : '-'
                        : s->attr & ATTR_DC ? 'E'
                                            : '-',
                        s->attr & ATTR_RW ? s->attr & ATTR_CODE ? 'R' : 'W' : '-',
                        s->attr & ATTR_A ? 'A' : '-');
    }
    strbuf_add(out, "\n");
}

static void dump_general(X86Cpu *x, StrBuf *out)
{
    static const char *const names[] = {"AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP"};
    static const uint8_t regs[] = {R_AX, R_BX, R_CX, R_DX, R_SI, R_DI, R_BP, R_SP};
    bool wide = x->cpu.arch == &x86_arch_64;
    uint64_t f = x86_flags(x);

    for (unsigned i = 0; i < (wide ? 16 : 8); i++) {
        if (i >= 8)
            strbuf_addf(out, "R%-2u=%016" PRIx64, i, x->cpu.r[i]);
        else if (wide)
            strbuf_addf(out, "R%s=%016" PRIx64, names[i], x->cpu.r[regs[i]]);
        else
            strbuf_addf(out, "E%s=%08" PRIx32, names[i], (uint32_t)x->cpu.r[regs[i]]);
        strbuf_add(out, i % 4 == 3 ? "\n" : " ");
    }
    strbuf_addf(out,
                wide ? "RIP=%016" PRIx64 " RFL=%08" PRIx64 : "EIP=%08" PRIx64 " EFL=%08" PRIx64,
                X86_PC(&x->cpu), f);
    strbuf_addf(out, " [%c%c%c%c%c%c%c] CPL=%u II=%u A20=%u SMM=0 HLT=%u\n", f & EFL_DF ? 'D' : '-',
                f & 0x800 ? 'O' : '-', f & 0x80 ? 'S' : '-', f & 0x40 ? 'Z' : '-',
                f & 0x10 ? 'A' : '-', f & 4 ? 'P' : '-', f & 1 ? 'C' : '-', x->cpl, x->shadow != 0,
                (unsigned)(x->a20_mask >> 20 & 1), x->cpu.halted);
}

static void dump_system(X86Cpu *x, StrBuf *out)
{
    static const char *const names[] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"};
    int w = x->efer & EFER_LMA ? 16 : 8;

    for (unsigned i = 0; i < SEG_COUNT; i++)
        dump_seg(x, names[i], i, out);
    strbuf_addf(out, "GDT=     %0*" PRIx64 " %08x\nIDT=     %0*" PRIx64 " %08x\n", w, x->gdt.base,
                x->gdt.limit, w, x->idt.base, x->idt.limit);
    strbuf_addf(out, "CR0=%08" PRIx64 " CR2=%0*" PRIx64 " CR3=%0*" PRIx64 " CR4=%08" PRIx64 "\n",
                x->cr0, w, x->cr2, w, x->cr3, x->cr4);
    for (unsigned i = 0; i < 4; i++)
        strbuf_addf(out, "DR%u=%016" PRIx64 "%s", i, x->dr[i], i == 3 ? "\n" : " ");
    strbuf_addf(out, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\n", x->dr[6], x->dr[7]);
    strbuf_addf(out, "EFER=%016" PRIx64 "\n", x->efer);
}

static void dump_vectors(X86Cpu *x, StrBuf *out)
{
    const X86Fpu *f = &x->fpu;
    unsigned n = x->cpu.arch == &x86_arch_64 ? 16 : 8;
    uint64_t q[4];

    strbuf_addf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", f->fcw, f->fsw,
                f->fsw >> 11 & 7, f->ftw, x->cpu.vcsr);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(q, f->st[i], 10);
        strbuf_addf(out, "FPR%u=%016" PRIx64 " %04x%s", i, q[0], (unsigned)(q[1] & 0xffff),
                    i % 2 ? "\n" : " ");
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(q, x->cpu.v[i], 32);
        if (x->xcr0 & 4)
            strbuf_addf(out,
                        "YMM%02u=%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n", i,
                        q[3], q[2], q[1], q[0]);
        else
            strbuf_addf(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%s", i, q[1], q[0],
                        i % 2 ? "\n" : " ");
    }
}

static void arch_dump(Cpu *c, StrBuf *out)
{
    X86Cpu *x = X86(c);

    dump_general(x, out);
    dump_system(x, out);
    dump_vectors(x, out);
}

void x86_log_state(X86Cpu *x, const char *why)
{
    StrBuf b = {0};

    strbuf_addf(&b, "%s\n", why);
    arch_dump(&x->cpu, &b);
    log_text(strbuf_str(&b));
    strbuf_free(&b);
}

void x86_log_event(X86Cpu *x, unsigned vector, bool soft, uint64_t error)
{
    Cpu *c = &x->cpu;

    log_write("cpu %u: v=%02x e=%04" PRIx64 " i=%d cpl=%u IP=%04x:%016" PRIx64 " pc=%016" PRIx64
              " SP=%04x:%016" PRIx64 " %s=%016" PRIx64 "\n",
              c->index, vector, error, soft, x->cpl, x->seg[SEG_CS].sel, X86_PC(c),
              arch_pc_to_linear(c), x->seg[SEG_SS].sel, c->r[R_SP],
              vector == EX_PF ? "CR2" : "env->regs[R_EAX]", vector == EX_PF ? x->cr2 : c->r[R_AX]);
}

#define X86_ARCH(nm, new_fn, dbg, mdls)                                                            \
    {                                                                                              \
        .name = nm, .state = &cpu_type, .cpu_size = sizeof(X86Cpu), .new = new_fn,                 \
        .free = arch_free, .reset = arch_reset, .irq_pending = x86_irq_pending,                    \
        .serve = x86_serve, .take_exception = x86_take_exception, .walk = x86_walk,                \
        .page_fault = x86_page_fault, .align_fault = x86_align_fault, .translate = x86_translate,  \
        .pc_to_linear = arch_pc_to_linear, .disasm = x86_disasm, .dump = arch_dump,                \
        .pre_save = arch_pre_save, .loaded = arch_loaded, .flags_dead = x86_flags_dead_hook,       \
        .debug = &dbg, .models = &mdls, .mappings = x86_mappings, .elf_machine = 62,               \
        .core_note = x86_core_note                                                                 \
    }

const CpuArch x86_arch_64 = X86_ARCH("x86_64", arch_new_64, x86_debug_64, x86_query_64);
const CpuArch x86_arch_32 = X86_ARCH("i386", arch_new_32, x86_debug_32, x86_query_32);

__attribute__((constructor)) static void arch_register(void)
{
    static const CpuArch *slots[2];

    cpu_arch_register(&slots[0], &x86_arch_64);
    cpu_arch_register(&slots[1], &x86_arch_32);
}
