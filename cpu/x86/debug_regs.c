/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug_regs - the registers as debuggers see them (GDB manual G.5.6 i386 features), and the rest
 * of DebugArch
 *
 * Order and numbers are those that clients of QEMU know by heart: general registers, segments, the
 * system's, x87, SSE; then AVX and protection keys where the model has them.
 */
#include "core/debug.h"
#include "core/machine.h"
#include "cpu/x86/model.h"
#include "cpu/x86/sys_priv.h"

/* Registers that are not simply members: DebugReg.at is one of these and an index. */
enum { GPR, PC, FLAGS, SELECTOR, BASE, CONTROL, EFER, ST, TAGS, MXCSR };
#define SPECIAL(kind, index) .size = 0, .at = (kind) << 8 | (index)
#define MEMBER(m) .size = sizeof(MEMBER_(X86Cpu, m)), .at = offsetof(X86Cpu, m)

/* --- tables --- */

#define FLAG_FIELD(name, from, to) "<field name=\"" name "\" start=\"" #from "\" end=\"" #to "\"/>"
#define FLAG(name, bit) FLAG_FIELD(name, bit, bit)
#define FLAGS_TYPE(id, size, fields) "<flags id=\"" id "\" size=\"" #size "\">" fields "</flags>"

/* @size: bytes of control registers; @top: their highest bit. */
#define FLAG_TYPES(size, top)                                                                      \
    FLAGS_TYPE("x86_eflags", 4,                                                                    \
               FLAG("CF", 0) FLAG("", 1) FLAG("PF", 2) FLAG("AF", 4) FLAG("ZF", 6) FLAG("SF", 7)   \
                   FLAG("TF", 8) FLAG("IF", 9) FLAG("DF", 10) FLAG("OF", 11)                       \
                       FLAG_FIELD("IOPL", 12, 13) FLAG("NT", 14) FLAG("RF", 16) FLAG("VM", 17)     \
                           FLAG("AC", 18) FLAG("VIF", 19) FLAG("VIP", 20) FLAG("ID", 21))          \
    FLAGS_TYPE("x86_cr0", size,                                                                    \
               FLAG("PE", 0) FLAG("MP", 1) FLAG("EM", 2) FLAG("TS", 3) FLAG("ET", 4) FLAG("NE", 5) \
                   FLAG("WP", 16) FLAG("AM", 18) FLAG("NW", 29) FLAG("CD", 30) FLAG("PG", 31))     \
    FLAGS_TYPE("x86_cr3", size, FLAG_FIELD("PCID", 0, 11) FLAG_FIELD("PDBR", 12, top))             \
    FLAGS_TYPE("x86_cr4", size,                                                                    \
               FLAG("VME", 0) FLAG("PVI", 1) FLAG("TSD", 2) FLAG("DE", 3) FLAG("PSE", 4)           \
                   FLAG("PAE", 5) FLAG("MCE", 6) FLAG("PGE", 7) FLAG("PCE", 8) FLAG("OSFXSR", 9)   \
                       FLAG("OSXMMEXCPT", 10) FLAG("UMIP", 11) FLAG("LA57", 12)                    \
                           FLAG("FSGSBASE", 16) FLAG("PCIDE", 17) FLAG("OSXSAVE", 18)              \
                               FLAG("SMEP", 20) FLAG("SMAP", 21) FLAG("PKE", 22))                  \
    FLAGS_TYPE("x86_efer", size,                                                                   \
               FLAG("SCE", 0) FLAG("LME", 8) FLAG("LMA", 10) FLAG("NXE", 11) FLAG("FFXSR", 14))

static const char flags64[] = FLAG_TYPES(8, 63), flags32[] = FLAG_TYPES(4, 31);

#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" #count "\"/>"
#define MEMBER_OF_UNION(name, type) "<field name=\"" name "\" type=\"" type "\"/>"

static const char vector_types[] = VECTOR("v4f", "ieee_single", 4) VECTOR("v2d", "ieee_double", 2)
    VECTOR("v16i8", "int8", 16) VECTOR("v8i16", "int16", 8) VECTOR("v4i32", "int32", 4)
        VECTOR("v2i64", "int64", 2) "<union id=\"vec128\">" MEMBER_OF_UNION("v4_float", "v4f")
            MEMBER_OF_UNION("v2_double", "v2d") MEMBER_OF_UNION("v16_int8", "v16i8")
                MEMBER_OF_UNION("v8_int16", "v8i16") MEMBER_OF_UNION("v4_int32", "v4i32")
                    MEMBER_OF_UNION("v2_int64", "v2i64")
                        MEMBER_OF_UNION("uint128", "uint128") "</union>" FLAGS_TYPE(
                            "x86_mxcsr", 4,
                            FLAG("IE", 0) FLAG("DE", 1) FLAG("ZE", 2) FLAG("OE", 3) FLAG("UE", 4)
                                FLAG("PE", 5) FLAG("DAZ", 6) FLAG("IM", 7) FLAG("DM", 8)
                                    FLAG("ZM", 9) FLAG("OM", 10) FLAG("UM", 11) FLAG("PM", 12)
                                        FLAG("FZ", 15));

#define GPR_REG(nm, w, n)                                                                          \
    {                                                                                              \
        .name = nm, .bits = w, .type = (n) == R_SP || (n) == R_BP ? "data_ptr" : NULL,             \
        SPECIAL(GPR, n)                                                                            \
    }
#define SEGMENTS_AND_SYSTEM(w)                                                                     \
    {.name = "eflags", .bits = 32, .type = "x86_eflags", SPECIAL(FLAGS, 0)},                       \
        {.name = "cs", .bits = 32, SPECIAL(SELECTOR, SEG_CS)},                                     \
        {.name = "ss", .bits = 32, SPECIAL(SELECTOR, SEG_SS)},                                     \
        {.name = "ds", .bits = 32, SPECIAL(SELECTOR, SEG_DS)},                                     \
        {.name = "es", .bits = 32, SPECIAL(SELECTOR, SEG_ES)},                                     \
        {.name = "fs", .bits = 32, SPECIAL(SELECTOR, SEG_FS)},                                     \
        {.name = "gs", .bits = 32, SPECIAL(SELECTOR, SEG_GS)},                                     \
        {.name = "fs_base", .bits = w, SPECIAL(BASE, SEG_FS)},                                     \
        {.name = "gs_base", .bits = w, SPECIAL(BASE, SEG_GS)},                                     \
        {.name = "k_gs_base", .bits = w, SPECIAL(BASE, SEG_COUNT)},                                \
        {.name = "cr0", .bits = w, .type = "x86_cr0", SPECIAL(CONTROL, 0)},                        \
        {.name = "cr2", .bits = w, SPECIAL(CONTROL, 2)},                                           \
        {.name = "cr3", .bits = w, .type = "x86_cr3", SPECIAL(CONTROL, 3)},                        \
        {.name = "cr4", .bits = w, .type = "x86_cr4", SPECIAL(CONTROL, 4)},                        \
        {.name = "cr8", .bits = w, SPECIAL(CONTROL, 8)},                                           \
    {                                                                                              \
        .name = "efer", .bits = w, .type = "x86_efer", SPECIAL(EFER, 0)                            \
    }
#define ST_REG(n)                                                                                  \
    {                                                                                              \
        .name = "st" #n, .bits = 80, .type = "i387_ext", SPECIAL(ST, n)                            \
    }
#define X87_REG(nm, m)                                                                             \
    {                                                                                              \
        .name = nm, .bits = 32, .type = "int", .group = "float", MEMBER(fpu.m)                     \
    }
#define X87                                                                                        \
    ST_REG(0), ST_REG(1), ST_REG(2), ST_REG(3), ST_REG(4), ST_REG(5), ST_REG(6), ST_REG(7),        \
        X87_REG("fctrl", fcw), X87_REG("fstat", fsw),                                              \
        {.name = "ftag", .bits = 32, .type = "int", .group = "float", SPECIAL(TAGS, 0)},           \
        X87_REG("fiseg", fcs), X87_REG("fioff", fip), X87_REG("foseg", fds),                       \
        X87_REG("fooff", fdp), X87_REG("fop", fop)

static const DebugReg core64[] = {
    GPR_REG("rax", 64, R_AX),
    GPR_REG("rbx", 64, R_BX),
    GPR_REG("rcx", 64, R_CX),
    GPR_REG("rdx", 64, R_DX),
    GPR_REG("rsi", 64, R_SI),
    GPR_REG("rdi", 64, R_DI),
    GPR_REG("rbp", 64, R_BP),
    GPR_REG("rsp", 64, R_SP),
    GPR_REG("r8", 64, 8),
    GPR_REG("r9", 64, 9),
    GPR_REG("r10", 64, 10),
    GPR_REG("r11", 64, 11),
    GPR_REG("r12", 64, 12),
    GPR_REG("r13", 64, 13),
    GPR_REG("r14", 64, 14),
    GPR_REG("r15", 64, 15),
    {.name = "rip", .bits = 64, .type = "code_ptr", SPECIAL(PC, 0)},
    SEGMENTS_AND_SYSTEM(64),
    X87,
};
static const DebugReg core32[] = {
    GPR_REG("eax", 32, R_AX),
    GPR_REG("ecx", 32, R_CX),
    GPR_REG("edx", 32, R_DX),
    GPR_REG("ebx", 32, R_BX),
    GPR_REG("esp", 32, R_SP),
    GPR_REG("ebp", 32, R_BP),
    GPR_REG("esi", 32, R_SI),
    GPR_REG("edi", 32, R_DI),
    {.name = "eip", .bits = 32, .type = "code_ptr", SPECIAL(PC, 0)},
    SEGMENTS_AND_SYSTEM(32),
    X87,
};

#define XMM_REG(n)                                                                                 \
    {                                                                                              \
        .name = "xmm" #n, .bits = 128, .type = "vec128", .size = 16,                               \
        .at = offsetof(X86Cpu, cpu.v[n])                                                           \
    }
#define YMM_REG(n)                                                                                 \
    {                                                                                              \
        .name = "ymm" #n "h", .bits = 128, .type = "uint128", .size = 16,                          \
        .at = offsetof(X86Cpu, cpu.v[n][16])                                                       \
    }
#define EIGHT(R) R(0), R(1), R(2), R(3), R(4), R(5), R(6), R(7)
#define SIXTEEN(R) EIGHT(R), R(8), R(9), R(10), R(11), R(12), R(13), R(14), R(15)
#define MXCSR_REG                                                                                  \
    {                                                                                              \
        .name = "mxcsr", .bits = 32, .type = "x86_mxcsr", .group = "vector", SPECIAL(MXCSR, 0)     \
    }

static const DebugReg sse64[] = {SIXTEEN(XMM_REG), MXCSR_REG};
static const DebugReg sse32[] = {EIGHT(XMM_REG), MXCSR_REG};
static const DebugReg avx64[] = {SIXTEEN(YMM_REG)};
static const DebugReg avx32[] = {EIGHT(YMM_REG)};
static const DebugReg pkeys[] = {{.name = "pkru", .bits = 32, MEMBER(pkru)}};

#define FEATURE(nm, ty, table)                                                                     \
    {                                                                                              \
        .name = "org.gnu.gdb.i386." nm, .types = ty, .regs = table, .n = COUNT_OF(table)           \
    }

/* Those a CPUID bit stands for; ~0u: all models have it. */
typedef struct FeatureRow {
    DebugFeature wide, narrow;
    unsigned needs;
} FeatureRow;

static const FeatureRow rows[] = {
    {FEATURE("core", flags64, core64), FEATURE("core", flags32, core32), ~0u},
    {FEATURE("sse", vector_types, sse64), FEATURE("sse", vector_types, sse32), ~0u},
    {FEATURE("avx", NULL, avx64), FEATURE("avx", NULL, avx32), X86F_AVX},
    {FEATURE("pkeys", NULL, pkeys), FEATURE("pkeys", NULL, pkeys), X86F_PKU},
};
static_assert(COUNT_OF(rows) <= DEBUG_FEATURES, "room of DebugArch.features");

static unsigned debug_features(const Cpu *c, const DebugFeature *out[DEBUG_FEATURES])
{
    const X86Cpu *x = (const X86Cpu *)c;
    unsigned n = 0;

    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].needs == ~0u || x86_has(x->features, rows[i].needs))
            out[n++] = c->arch == &x86_arch_64 ? &rows[i].wide : &rows[i].narrow;
    }
    return n;
}

/* --- reading --- */

static unsigned physical_st(const X86Cpu *x, unsigned n)
{
    return ((x->fpu.fsw >> 11) + n) & 7;
}

/* The full tag word: 0 valid, 1 zero, 2 special, 3 empty, two bits for each physical register. */
static uint16_t tags_get(const X86Cpu *x)
{
    uint16_t tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint64_t mantissa = load_uint64_t(x->fpu.st[i]);
        unsigned exponent = load_uint16_t(x->fpu.st[i] + 8) & 0x7fff;
        unsigned tag = !exponent && !mantissa                                 ? 1
                       : !exponent || exponent == 0x7fff || !(mantissa >> 63) ? 2
                                                                              : 0;

        tags |= (uint16_t)((x->fpu.ftw >> i & 1 ? tag : 3) << (2 * i));
    }
    return tags;
}

static uint64_t gpr_get(const X86Cpu *x, unsigned n)
{
    if (x86_is64(x))
        return x->cpu.r[n];
    return n < 8 ? (uint32_t)x->cpu.r[n] : 0;
}

static uint64_t special_get(X86Cpu *x, unsigned kind, unsigned index)
{
    switch (kind) {
    case GPR: return gpr_get(x, index);
    case PC: return X86_PC(&x->cpu);
    case FLAGS: return x86_flags(x);
    case SELECTOR: return x->seg[index].sel;
    case BASE: return index == SEG_COUNT ? x->kernel_gs_base : x86_seg_base(x, index);
    case CONTROL: return hlp_read_cr(&x->cpu, 0, 0, index);
    case EFER: return x->efer;
    case TAGS: return tags_get(x);
    default: return x->cpu.vcsr;
    }
}

static void debug_get(Cpu *c, const DebugReg *r, uint8_t *buf)
{
    X86Cpu *x = X86(c);
    unsigned n = r->bits / 8, kind = r->at >> 8, index = r->at & 0xff;

    memset(buf, 0, n);
    if (r->size) {
        memcpy(buf, (const uint8_t *)x + r->at, MIN(n, (unsigned)r->size));
    } else if (kind == ST) {
        memcpy(buf, x->fpu.st[physical_st(x, index)], 10);
    } else {
        uint64_t v = special_get(x, kind, index);

        memcpy(buf, &v, n);
    }
}

/* --- writing --- */

static bool gpr_set(X86Cpu *x, unsigned n, uint64_t v)
{
    if (x86_is64(x))
        x->cpu.r[n] = v;
    else if (n < 8)
        x->cpu.r[n] = (uint32_t)v;
    return x86_is64(x) || n < 8 || !v;
}

/* Descriptors are not loaded: only where a selector alone says what the segment is. */
static bool selector_set(X86Cpu *x, unsigned seg, uint64_t v)
{
    if (v == x->seg[seg].sel)
        return true;
    if (x86_is_prot(x) || v > 0xffff)
        return false;
    seg_load_real(x, seg, (uint16_t)v);
    x86_update_mode(x);
    return true;
}

static bool base_set(X86Cpu *x, unsigned seg, uint64_t v)
{
    if (v == special_get(x, BASE, seg))
        return true;
    if (!x86_canonical(x, v) || (!(x->efer & EFER_LMA) && v >> 32))
        return false;
    if (seg == SEG_COUNT)
        x->kernel_gs_base = v;
    else
        x->cpu.r[16 + seg] = v;
    return true;
}

/* As MOV CR does, checks and all. */
static bool control_set(X86Cpu *x, unsigned n, uint64_t v)
{
    Cpu *c = &x->cpu;
    jmp_buf *outer = c->unwind, here;
    Exception saved = c->exc;
    volatile bool ok = false;

    if (v == special_get(x, CONTROL, n))
        return true;
    if (!c->mmu || (!x86_is64(x) && v >> 32))
        return false;
    c->unwind = &here;
    if (!_setjmp(here)) {
        hlp_write_cr(c, v, 0, n);
        ok = true;
    }
    c->unwind = outer;
    c->exc = saved;
    return ok;
}

static bool tags_set(X86Cpu *x, uint64_t v)
{
    x->fpu.ftw = 0;
    for (unsigned i = 0; i < 8; i++)
        x->fpu.ftw |= (uint8_t)((v >> (2 * i) & 3) != 3) << i;
    return true;
}

static bool special_set(X86Cpu *x, unsigned kind, unsigned index, uint64_t v)
{
    switch (kind) {
    case GPR: return gpr_set(x, index, v);
    case PC: X86_PC(&x->cpu) = x86_is64(x) ? v : (uint32_t)v; return true;
    case FLAGS: x86_set_flags(x, v, 0x3d7fd5); return true; /* VM stays */
    case SELECTOR: return selector_set(x, index, v);
    case BASE: return base_set(x, index, v);
    case CONTROL: return control_set(x, index, v);
    case EFER: return v == x->efer || efer_write(x, v);
    case TAGS: return tags_set(x, v);
    default: x->cpu.vcsr = v & 0xffff; return true;
    }
}

static bool debug_set(Cpu *c, const DebugReg *r, const uint8_t *buf)
{
    X86Cpu *x = X86(c);
    unsigned n = r->bits / 8, kind = r->at >> 8, index = r->at & 0xff;
    uint64_t v = 0;

    if (r->size) {
        memcpy((uint8_t *)x + r->at, buf, MIN(n, (unsigned)r->size));
        return true;
    }
    if (kind == ST) {
        memcpy(x->fpu.st[physical_st(x, index)], buf, 10);
        return true;
    }
    memcpy(&v, buf, n);
    return special_set(x, kind, index, v);
}

/* --- the rest --- */

static bool debug_translate(Cpu *c, Gva va, Gpa *pa)
{
    if (atomic_load(&c->request) &
        REQ_TLB) { /* what the walk remembers of the memory map is void */
        cpu_request_clear(c, REQ_TLB);
        tlb_flush_all(c);
    }
    return x86_debug_translate(c, va, pa);
}

/* While it steps, MODE_STEP makes blocks of one instruction that keep shadows; else no block
 * begins in one. */
static void debug_step(Cpu *c)
{
    X86Cpu *x = X86(c);

    if (!c->one_insn)
        x->shadow = 0;
    x86_update_mode(x);
}

#define DEBUG_ARCH(nm)                                                                             \
    {                                                                                              \
        .name = nm, .features = debug_features, .get = debug_get, .set = debug_set,                \
        .translate = debug_translate, .step = debug_step                                           \
    }
const DebugArch x86_debug_64 = DEBUG_ARCH("i386:x86-64");
const DebugArch x86_debug_32 = DEBUG_ARCH("i386");
