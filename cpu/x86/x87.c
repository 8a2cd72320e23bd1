/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 - floating point on the 80-bit stack (SDM vol 1 chapter 8), on the host's own FPU
 *
 * The guest's state lives in X86Fpu, the host's stack is empty between calls.  Frequent operations
 * load their operands, run and store the result under the guest's control word.  Whatever is
 * unusual about one (empty or full stack, an unmasked exception, rare instructions) is replayed
 * whole: FRSTOR, the same instruction, FNSAVE.
 *
 * Exceptions: where the guest has masked all, as mostly, they are masked on the host.  Else an
 * instruction is replayed with the guest's masks: the host leaves operands and stack as they must
 * be, sets ES, and FNSAVE does not wait.  The next waiting instruction of the guest raises #MF.
 */
#include "base/bytes.h"
#include "cpu/tlb.h"
#include "cpu/x86/helpers.h"
#include "cpu/x86/x86.h"

enum {
    FSW_EXC = 0x3f,
    FSW_PRE = 0x07 /* IE DE ZE: raised before the operation */,
    FSW_NO_STORE = 0x1f /* and OE, UE: unmasked, they leave memory alone */,
    FSW_SF = 0x40,
    FSW_ES = 0x80,
    FSW_C0 = 0x100,
    FSW_C1 = 0x200,
    FSW_C2 = 0x400,
    FSW_C3 = 0x4000,
    FSW_B = 0x8000,
    FSW_CC = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3
};
enum { FL_ZF_PF_CF = 0x45 };
enum { IMAGE = 108, ENV = 28 };

typedef struct Ext {
    uint8_t b[10];
} Ext; /* an 80-bit number */

typedef struct Op {
    X86Cpu *x;
    X86Fpu *f;
    uint64_t k;
    Gva at; /* memory operand */
    unsigned esc, reg, rm;
    bool mem;
} Op;

static unsigned top(const X86Fpu *f)
{
    return f->fsw >> 11 & 7;
}
static void set_top(X86Fpu *f, unsigned t)
{
    f->fsw = (uint16_t)((f->fsw & ~0x3800) | (t & 7) << 11);
}
static Ext *st(X86Fpu *f, unsigned i)
{
    return (Ext *)(void *)f->st[(top(f) + i) & 7];
}
static bool is_used(const X86Fpu *f, unsigned i)
{
    return f->ftw >> ((top(f) + i) & 7) & 1;
}
static void set_used(X86Fpu *f, unsigned i, bool on)
{
    unsigned bit = 1u << ((top(f) + i) & 7);

    f->ftw = (uint8_t)(on ? f->ftw | bit : f->ftw & ~bit);
}
static void pop(X86Fpu *f)
{
    set_used(f, 0, false);
    set_top(f, top(f) + 1);
}

static void update_es(X86Fpu *f)
{
    if (f->fsw & ~f->fcw & FSW_EXC)
        f->fsw |= FSW_ES | FSW_B;
    else
        f->fsw &= (uint16_t) ~(FSW_ES | FSW_B);
}

/* The host under the guest's precision and rounding, all exceptions masked. */
static void host_begin(const X86Fpu *f)
{
    uint16_t cw = (f->fcw & 0xf3f) | 0x3f;

    if (cw != 0x37f)
        __asm__ volatile("fldcw %0" : : "m"(cw));
}

/* Back to an empty, default FPU; returns the status word of what ran. */
static uint16_t host_end(const X86Fpu *f)
{
    uint16_t sw, cw = 0x37f;

    __asm__ volatile("fnstsw %0" : "=m"(sw));
    if (sw & FSW_EXC)
        __asm__ volatile("fnclex");
    if (((f->fcw & 0xf3f) | 0x3f) != 0x37f)
        __asm__ volatile("fldcw %0" : : "m"(cw));
    return sw;
}

/* Merge flags and condition bits @cc of host status @sw.  False: an unmasked exception forbids
 * the result. */
static bool merge(X86Fpu *f, uint16_t sw, uint16_t cc)
{
    f->fsw = (uint16_t)((f->fsw & ~cc) | (sw & (cc | FSW_EXC)));
    update_es(f);
    return !(sw & FSW_PRE & ~f->fcw);
}

static void pending_check(X86Cpu *x)
{
    if (x->fpu.fsw & FSW_ES)
        x86_raise_noerr(&x->cpu, EX_MF);
}

/* --- replay: any instruction with the whole state on the host --- */

/* Tables of "instruction; ret", four bytes each: D8..DF C0..FF, and D8..DF /0../7 with the
 * operand at [rdi]. */
extern const uint8_t x87_register_ops[], x87_memory_ops[];
__asm__(".pushsection .text\n"
        ".hidden x87_register_ops, x87_memory_ops\n"
        ".balign 4\n"
        ".globl x87_register_ops, x87_memory_ops\n"
        "x87_register_ops:\n"
        ".set esc, 0xd8\n"
        ".rept 8\n"
        ".set modrm, 0xc0\n"
        ".rept 64\n"
        ".byte esc, modrm\n ret\n nop\n"
        ".set modrm, modrm + 1\n"
        ".endr\n"
        ".set esc, esc + 1\n"
        ".endr\n"
        "x87_memory_ops:\n"
        ".set esc, 0xd8\n"
        ".rept 8\n"
        ".set modrm, 0x07\n"
        ".rept 8\n"
        ".byte esc, modrm\n ret\n nop\n"
        ".set modrm, modrm + 8\n"
        ".endr\n"
        ".set esc, esc + 1\n"
        ".endr\n"
        ".popsection\n");

static unsigned tag_of(const X86Fpu *f, unsigned phys)
{
    uint64_t m = get_le64(f->st[phys]);
    unsigned e = get_le16(f->st[phys] + 8) & 0x7fff;

    if (!(f->ftw >> phys & 1))
        return 3;
    if (e == 0 && m == 0)
        return 1;
    return e == 0 || e == 0x7fff || !(m >> 63) ? 2 : 0;
}

static uint16_t full_tags(const X86Fpu *f)
{
    uint16_t tw = 0;

    for (unsigned i = 0; i < 8; i++)
        tw |= (uint16_t)(tag_of(f, i) << i * 2);
    return tw;
}

static void image_store(const X86Fpu *f, uint8_t *p, uint16_t cw)
{
    for (unsigned i = 0; i < ENV; i++)
        p[i] = 0;
    put_le16(p, cw);
    put_le16(p + 4, f->fsw & (uint16_t) ~(FSW_ES | FSW_B));
    put_le16(p + 8, full_tags(f));
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 10; k++)
            p[ENV + i * 10 + k] = f->st[(top(f) + i) & 7][k];
}

static void load_tags(X86Fpu *f, uint16_t tw)
{
    f->ftw = 0;
    for (unsigned i = 0; i < 8; i++)
        f->ftw |= (uint8_t)(((tw >> i * 2 & 3) != 3) << i);
}

static void image_registers(X86Fpu *f, const uint8_t *p)
{
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 10; k++)
            f->st[(top(f) + i) & 7][k] = p[i * 10 + k];
}

static unsigned memory_size(const Op *o)
{
    static const uint8_t size[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},   {4, 0, 4, 4, 0, 0, 0, 0},   {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 4, 4, 4, 0, 10, 0, 10}, {8, 8, 8, 8, 8, 8, 8, 8},   {8, 8, 8, 8, 0, 0, 0, 0},
        {2, 2, 2, 2, 2, 2, 2, 2},   {2, 2, 2, 2, 10, 8, 10, 8},
    };
    return size[o->esc][o->reg];
}

/* Does the memory form write its operand? FIST, FST and their kin, FBSTP. */
static bool memory_writes(const Op *o)
{
    static const uint8_t writes[8] = {0, 0x0c, 0, 0x8e, 0, 0x0e, 0, 0xce};

    return writes[o->esc] >> o->reg & 1;
}

static void operand_read(const Op *o, uint8_t *p, unsigned n)
{
    Cpu *c = &o->x->cpu;

    if (n == 10) {
        put_le64(p, mem_load(c, o->at, 8, c->mmu_mode));
        put_le16(p + 8, (uint16_t)mem_load(c, o->at + 8, 2, c->mmu_mode));
    } else {
        put_le(p, n, mem_load(c, o->at, n, c->mmu_mode));
    }
}

static void operand_write(const Op *o, const uint8_t *p, unsigned n)
{
    Cpu *c = &o->x->cpu;

    if (n == 10) {
        mem_probe(c, o->at, 10, ACCESS_WRITE, c->mmu_mode);
        mem_store(c, o->at, 8, get_le64(p), c->mmu_mode);
        mem_store(c, o->at + 8, 2, get_le16(p + 8), c->mmu_mode);
    } else {
        mem_store(c, o->at, n, get_le(p, n), c->mmu_mode);
    }
}

static void replay(Op *o)
{
    X86Fpu *f = o->f;
    uint8_t image[IMAGE], operand[16] = {0};
    unsigned size = o->mem ? memory_size(o) : 0;
    bool writes = o->mem && memory_writes(o);
    const uint8_t *fn = o->mem ? x87_memory_ops + (o->esc * 8 + o->reg) * 4
                               : x87_register_ops + (o->esc * 64 + o->reg * 8 + o->rm) * 4;
    uint16_t old = f->fsw & FSW_EXC, sw;

    if (size && !writes)
        operand_read(o, operand, size);
    image_store(f, image,
                f->fcw &
                    0xf3f); /* unmasked exceptions wait for an instruction that FNSAVE is not */
    put_le16(image + 4, get_le16(image + 4) & (uint16_t)~FSW_EXC);
    __asm__ volatile("sub $128, %%rsp\n\tfrstor (%1)\n\tcall *%2\n\tfnsave (%1)\n\tadd $128, %%rsp"
                     :
                     : "D"(operand), "S"(image), "a"(fn)
                     : "memory", "cc");
    sw = get_le16(image + 4);
    if (size && writes && !(sw & ~f->fcw & FSW_NO_STORE))
        operand_write(o, operand, size);
    f->fsw = sw | old;
    load_tags(f, get_le16(image + 8));
    image_registers(f, image + ENV);
    update_es(f);
}

/* --- frequent operations --- */

static void push_operand(const Op *o, const uint8_t *p)
{
    switch (memory_size(o) << 1 | (o->esc == 2 || o->esc == 3 || o->esc == 6 || o->esc == 7)) {
    case 4 << 1: __asm__ volatile("flds %0" : : "m"(*(const uint32_t(*)[1])p)); break;
    case 8 << 1: __asm__ volatile("fldl %0" : : "m"(*(const uint64_t(*)[1])p)); break;
    case 2 << 1 | 1: __asm__ volatile("filds %0" : : "m"(*(const uint16_t(*)[1])p)); break;
    case 4 << 1 | 1: __asm__ volatile("fildl %0" : : "m"(*(const uint32_t(*)[1])p)); break;
    default: __asm__ volatile("fildll %0" : : "m"(*(const uint64_t(*)[1])p)); break;
    }
}

static void push_ext(const Ext *e)
{
    __asm__ volatile("fldt %0" : : "m"(*e));
}

/* st(0) op= st(1): the eight operations of D8; FCOM and FCOMP do not come here. */
static void arith(unsigned op)
{
    switch (op) {
    case 0: __asm__ volatile("fadd %st(1), %st"); break;
    case 1: __asm__ volatile("fmul %st(1), %st"); break;
    case 4: __asm__ volatile(".byte 0xd8, 0xe1"); break;  /* fsub st, st(1) */
    case 5: __asm__ volatile(".byte 0xd8, 0xe9"); break;  /* fsubr */
    case 6: __asm__ volatile(".byte 0xd8, 0xf1"); break;  /* fdiv */
    default: __asm__ volatile(".byte 0xd8, 0xf9"); break; /* fdivr */
    }
}

/* Zero, denormal, infinite or NaN float in memory: only within the operation are its flags and
 * the choice of NaN right. */
static bool is_special(const Op *o, const uint8_t *p)
{
    unsigned e = o->esc == 0 ? get_le32(p) >> 23 & 0xff : (unsigned)(get_le64(p) >> 52) & 0x7ff;

    return (o->esc == 0 && (e == 0 || e == 0xff)) || (o->esc == 4 && (e == 0 || e == 0x7ff));
}

/* D8, DA, DC, DE: arithmetic with ST(i) or memory. */
static void do_arith(Op *o)
{
    X86Fpu *f = o->f;
    unsigned op = o->reg, dst = !o->mem && o->esc >= 4 ? o->rm : 0,
             src = o->mem        ? 0
                   : o->esc >= 4 ? 0
                                 : o->rm;
    uint8_t operand[16];
    bool compare = op == 2 || op == 3, pops = op == 3 || (!o->mem && o->esc == 6);
    Ext result;
    uint16_t rounded;

    if (!is_used(f, dst) || !is_used(f, src) || (compare && !o->mem && o->esc >= 4)) {
        replay(o);
        return;
    }
    if (!o->mem && o->esc >= 4 && op >= 4)
        op ^= 1; /* DC and DE name them the other way round */
    if (o->mem) {
        operand_read(o, operand, memory_size(o));
        if (is_special(o, operand)) {
            replay(o);
            return;
        }
    }
    host_begin(f);
    if (o->mem)
        push_operand(o, operand);
    else
        push_ext(st(f, src));
    push_ext(st(f, dst));
    if (compare) {
        __asm__ volatile("fcompp");
        merge(f, host_end(f), FSW_CC);
        if (pops)
            pop(f);
        return;
    }
    arith(op);
    __asm__ volatile("fnstsw %1\n\tfstpt %0\n\tfstp %%st(0)"
                     : "=m"(result), "=m"(rounded)); /* the stores clear C1 */
    merge(f, host_end(f) | (rounded & FSW_C1), FSW_C1);
    *st(f, dst) = result;
    if (pops)
        pop(f);
}

/* FLD m32, m64, m80, ST(i); FILD. */
static void do_load(Op *o)
{
    X86Fpu *f = o->f;
    uint8_t operand[16];
    Ext v;
    unsigned size = o->mem ? memory_size(o) : 10;

    if (is_used(f, 7) || (!o->mem && !is_used(f, o->rm))) {
        replay(o);
        return;
    }
    if (!o->mem) {
        v = *st(f, o->rm);
        f->fsw &= (uint16_t)~FSW_C1;
    } else if (size == 10) {
        operand_read(o, operand, 10);
        __builtin_memcpy(v.b, operand, 10);
        f->fsw &= (uint16_t)~FSW_C1;
    } else {
        operand_read(o, operand, size);
        host_begin(f);
        push_operand(o, operand);
        __asm__ volatile("fstpt %0" : "=m"(v));
        merge(f, host_end(f), FSW_C1);
    }
    set_top(f, top(f) - 1);
    *st(f, 0) = v;
    set_used(f, 0, true);
}

/* FST, FSTP, FIST, FISTP, FISTTP to memory. */
static void do_store(Op *o)
{
    X86Fpu *f = o->f;
    unsigned size = memory_size(o);
    bool is_int = o->esc == 3 || o->esc == 7, pops = o->reg == 3 || o->reg == 7 || o->reg == 1;
    uint8_t operand[16];
    uint16_t sw;

    if (!is_used(f, 0)) {
        replay(o);
        return;
    }
    if (size == 10) {
        operand_write(o, st(f, 0)->b, 10);
        f->fsw &= (uint16_t)~FSW_C1;
        pop(f);
        return;
    }
    host_begin(f);
    push_ext(st(f, 0));
    if (o->reg == 1) {
        if (size == 2)
            __asm__ volatile("fisttps %0" : "=m"(*(uint16_t(*)[1])operand));
        else if (size == 4)
            __asm__ volatile("fisttpl %0" : "=m"(*(uint32_t(*)[1])operand));
        else
            __asm__ volatile("fisttpll %0" : "=m"(*(uint64_t(*)[1])operand));
    } else if (is_int && !(o->esc == 3 && o->reg >= 5)) {
        if (size == 2)
            __asm__ volatile("fistps %0" : "=m"(*(uint16_t(*)[1])operand));
        else if (size == 4)
            __asm__ volatile("fistpl %0" : "=m"(*(uint32_t(*)[1])operand));
        else
            __asm__ volatile("fistpll %0" : "=m"(*(uint64_t(*)[1])operand));
    } else if (size == 4) {
        __asm__ volatile("fstps %0" : "=m"(*(uint32_t(*)[1])operand));
    } else {
        __asm__ volatile("fstpl %0" : "=m"(*(uint64_t(*)[1])operand));
    }
    sw = host_end(f);
    operand_write(o, operand, size);
    merge(f, sw, FSW_C1);
    if (pops)
        pop(f);
}

static const Ext one = {{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f}}, zero;

static void push_constant(Op *o, const Ext *v)
{
    if (is_used(o->f, 7)) {
        replay(o);
        return;
    }
    set_top(o->f, top(o->f) - 1);
    *st(o->f, 0) = *v;
    set_used(o->f, 0, true);
    o->f->fsw &= (uint16_t)~FSW_C1;
}

/* D9 and DD register forms that need no arithmetic. */
static bool do_move(Op *o)
{
    X86Fpu *f = o->f;
    unsigned op = o->esc << 3 | o->reg;

    switch (op) {
    case 1 << 3 | 1: /* FXCH */
        if (is_used(f, 0) && is_used(f, o->rm)) {
            Ext t = *st(f, 0);

            *st(f, 0) = *st(f, o->rm);
            *st(f, o->rm) = t;
            f->fsw &= (uint16_t)~FSW_C1;
            return true;
        }
        return false;
    case 5 << 3 | 2:
    case 5 << 3 | 3: /* FST, FSTP ST(i) */
        if (!is_used(f, 0))
            return false;
        *st(f, o->rm) = *st(f, 0);
        set_used(f, o->rm, true);
        f->fsw &= (uint16_t)~FSW_C1;
        if (o->reg == 3)
            pop(f);
        return true;
    case 1 << 3 | 4: /* FCHS, FABS */
        if (o->rm > 1 || !is_used(f, 0))
            return false;
        st(f, 0)->b[9] = o->rm ? st(f, 0)->b[9] & 0x7f : st(f, 0)->b[9] ^ 0x80;
        f->fsw &= (uint16_t)~FSW_C1;
        return true;
    case 1 << 3 | 5: /* FLD1, FLDZ */
        if (o->rm != 0 && o->rm != 6)
            return false;
        push_constant(o, o->rm ? &zero : &one);
        return true;
    case 5 << 3 | 0: /* FFREE */ set_used(f, o->rm, false); return true;
    }
    return false;
}

/* --- control --- */

static void env_store(const Op *o, uint8_t *p, bool wide)
{
    const X86Fpu *f = o->f;

    if (wide) {
        put_le32(p, 0xffff0000 | f->fcw);
        put_le32(p + 4, 0xffff0000 | f->fsw);
        put_le32(p + 8, 0xffff0000 | full_tags(f));
        put_le32(p + 12, (uint32_t)f->fip);
        put_le32(p + 16, f->fcs | (uint32_t)f->fop << 16);
        put_le32(p + 20, (uint32_t)f->fdp);
        put_le32(p + 24, 0xffff0000 | f->fds);
    } else {
        put_le16(p, f->fcw);
        put_le16(p + 2, f->fsw);
        put_le16(p + 4, full_tags(f));
        put_le16(p + 6, (uint16_t)f->fip);
        put_le16(p + 8, f->fcs);
        put_le16(p + 10, (uint16_t)f->fdp);
        put_le16(p + 12, f->fds);
    }
}

static void env_load(X86Fpu *f, const uint8_t *p, bool wide)
{
    unsigned step = wide ? 4 : 2;

    f->fcw = (get_le16(p) & 0x1f3f) | 0x40;
    f->fsw = get_le16(p + step);
    load_tags(f, get_le16(p + 2 * step));
    f->fip = wide ? get_le32(p + 12) : get_le16(p + 6);
    f->fcs = get_le16(p + 4 * step);
    f->fop = wide ? get_le16(p + 18) & 0x7ff : 0;
    f->fdp = wide ? get_le32(p + 20) : get_le16(p + 10);
    f->fds = get_le16(p + 6 * step);
    update_es(f);
}

static void fninit(X86Fpu *f)
{
    f->fcw = 0x37f;
    f->fsw = f->fop = f->fcs = f->fds = 0;
    f->ftw = 0;
    f->fip = f->fdp = 0;
}

static void do_save(Op *o, bool image)
{
    Cpu *c = &o->x->cpu;
    bool wide = (o->k >> 16 & 0xff) != 2;
    uint8_t p[IMAGE];
    unsigned env = wide ? 28 : 14;

    env_store(o, p, wide);
    for (unsigned i = 0; image && i < 8; i++)
        for (unsigned k = 0; k < 10; k++)
            p[env + i * 10 + k] = st(o->f, i)->b[k];
    mem_write(c, o->at, p, env + (image ? 80 : 0), c->mmu_mode);
    if (image)
        fninit(o->f);
    else
        o->f->fcw |= 0x3f; /* FNSTENV masks all exceptions */
}

static void do_restore(Op *o, bool image)
{
    Cpu *c = &o->x->cpu;
    bool wide = (o->k >> 16 & 0xff) != 2;
    uint8_t p[IMAGE];
    unsigned env = wide ? 28 : 14;

    mem_read(c, o->at, p, env + (image ? 80 : 0), c->mmu_mode);
    env_load(o->f, p, wide);
    if (image)
        image_registers(o->f, p + env);
}

/* FLDENV FLDCW FNSTENV FNSTCW FRSTOR FNSAVE FNSTSW FNCLEX FNINIT: no pending check for the FN
 * forms. */
static bool do_control(Op *o)
{
    X86Fpu *f = o->f;
    Cpu *c = &o->x->cpu;

    switch (o->esc << 4 | (unsigned)o->mem << 3 | o->reg) {
    case 0x1c:
        pending_check(o->x);
        do_restore(o, false);
        return true;
    case 0x1d:
        pending_check(o->x);
        f->fcw = (uint16_t)((mem_load(c, o->at, 2, c->mmu_mode) & 0x1f3f) | 0x40);
        update_es(f);
        return true;
    case 0x1e:
        do_save(o, false);
        update_es(f);
        return true;
    case 0x1f: mem_store(c, o->at, 2, f->fcw, c->mmu_mode); return true;
    case 0x5c:
        pending_check(o->x);
        do_restore(o, true);
        return true;
    case 0x5e: do_save(o, true); return true;
    case 0x5f: mem_store(c, o->at, 2, f->fsw, c->mmu_mode); return true;
    case 0x34:
        if (o->rm == 2)
            f->fsw &= (uint16_t) ~(FSW_EXC | FSW_SF | FSW_ES | FSW_B);
        else if (o->rm == 3)
            fninit(f);
        return true; /* FNENI, FNDISI, FNSETPM do nothing */
    }
    return false;
}

static void execute(Op *o)
{
    if ((o->f->fcw & FSW_EXC) !=
        FSW_EXC) { /* the host knows what unmasked exceptions leave behind */
        replay(o);
        return;
    }
    switch (o->esc) {
    case 0:
    case 2:
    case 4:
    case 6:
        if (o->mem || o->esc == 0 || o->esc == 4 || (o->esc == 6 && o->reg != 2 && o->reg != 3))
            do_arith(o);
        else
            replay(o);
        return;
    case 1:
    case 3:
    case 5:
    case 7:
        if (o->mem ? o->reg == 0 || (o->esc == 3 && o->reg == 5) || (o->esc == 7 && o->reg == 5)
                   : o->esc == 1 && o->reg == 0)
            do_load(o);
        else if (o->mem && memory_writes(o) && !(o->esc == 7 && o->reg == 6))
            do_store(o);
        else if (o->mem || !do_move(o))
            replay(o);
        return;
    }
}

uint64_t hlp_x87(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    X86Cpu *x = X86(c);
    Op o = {.x = x,
            .f = &x->fpu,
            .k = k,
            .at = a,
            .esc = k >> 8 & 7,
            .reg = k >> 3 & 7,
            .rm = k & 7,
            .mem = k >> 31 & 1};

    if (do_control(&o))
        return 0;
    pending_check(x);
    execute(&o);
    x->fpu.fip = b;
    x->fpu.fcs = x->seg[SEG_CS].sel;
    x->fpu.fop = k & 0x7ff;
    if (o.mem) {
        x->fpu.fdp = a;
        x->fpu.fds = x->seg[SEG_DS].sel;
    }
    return 0;
}

uint64_t hlp_x87_flags(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    X86Cpu *x = X86(c);
    X86Fpu *f = &x->fpu;
    bool quiet = (k >> 3 & 7) == 5, pops = (k >> 8 & 7) == 7;
    uint64_t flags;
    uint16_t sw;

    (void)a;
    pending_check(x);
    f->fip = b;
    f->fop = k & 0x7ff;
    if (!is_used(f, 0) || !is_used(f, k & 7)) { /* stack underflow: unordered */
        f->fsw = (uint16_t)((f->fsw & ~FSW_C1) | 1 | FSW_SF);
        update_es(f);
        flags = FL_ZF_PF_CF;
        pops &= f->fcw & 1;
    } else {
        push_ext(st(f, k & 7));
        push_ext(st(f, 0));
        if (quiet)
            __asm__ volatile("fucomip %%st(1), %%st\n\tpushfq\n\tpopq %0" : "=r"(flags) : : "cc");
        else
            __asm__ volatile("fcomip %%st(1), %%st\n\tpushfq\n\tpopq %0" : "=r"(flags) : : "cc");
        __asm__ volatile("fstp %st(0)");
        __asm__ volatile("fnstsw %0" : "=m"(sw));
        if (sw & FSW_EXC)
            __asm__ volatile("fnclex");
        pops &= merge(f, sw & FSW_EXC, FSW_C1);
    }
    if (pops)
        pop(f);
    c->cc = x86_cc_from_flags(flags & FL_ZF_PF_CF);
    return 0;
}

uint64_t hlp_x87_cmov(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    static const uint16_t mask[4] = {0x001, 0x040, 0x041, 0x004}; /* B E BE U */
    X86Cpu *x = X86(c);
    X86Fpu *f = &x->fpu;
    bool is = x86_flags_from_cc(c->cc) & mask[k >> 3 & 3];

    (void)a;
    pending_check(x);
    f->fip = b;
    f->fop = k & 0x7ff;
    if (!is_used(f, 0) || !is_used(f, k & 7)) {
        Op o = {.x = x, .f = f, .k = k, .esc = k >> 8 & 7, .reg = k >> 3 & 7, .rm = k & 7};

        replay(&o);
    } else if (is == ((k >> 8 & 7) == 2)) {
        *st(f, 0) = *st(f, k & 7);
        f->fsw &= (uint16_t)~FSW_C1;
    }
    return 0;
}

uint64_t hlp_fnstsw_ax(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    (void)a, (void)b, (void)k;
    return X86(c)->fpu.fsw;
}

uint64_t hlp_fwait(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    X86Cpu *x = X86(c);

    (void)a, (void)b, (void)k;
    if ((x->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        x86_raise_noerr(c, EX_NM);
    pending_check(x);
    return 0;
}
