/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid - what the CPUID instruction tells (SDM vol. 2 CPUID; APM vol. 3 appendix E)
 *
 * Topology follows the machine's sockets, dies, cores and threads, each a bit field of the APIC ID.
 * There are no hypervisor leaves (0x40000000): they read as zero.  General registers only, no libc.
 */
#include "core/machine.h"
#include "cpu/x86/model.h"

enum { EAX, EBX, ECX, EDX };

typedef struct Topology {
    unsigned threads, cores, dies;             /* of a core, die, package */
    unsigned thread_bits, core_bits, die_bits; /* of the APIC ID */
} Topology;

static unsigned width(unsigned n)
{
    unsigned bits = 0;

    while (1u << bits < n) {
        bits++;
    }
    return bits;
}

static Topology topology_of(const MachineConfig *c)
{
    Topology t = {MAX(c->threads, 1u), MAX(c->cores, 1u), MAX(c->dies, 1u), 0, 0, 0};

    t.thread_bits = width(t.threads);
    t.core_bits = width(t.cores);
    t.die_bits = width(t.dies);
    return t;
}

static Topology topology(const X86Cpu *x)
{
    return x->cpu.machine ? topology_of(&x->cpu.machine->cfg) : (Topology){1, 1, 1, 0, 0, 0};
}

uint32_t x86_apic_id(const MachineConfig *c, unsigned index)
{
    Topology t = topology_of(c);
    unsigned thread = index % t.threads, core = index / t.threads % t.cores,
             die = index / t.threads / t.cores % t.dies,
             socket = index / t.threads / t.cores / t.dies;

    return ((socket << t.die_bits | die) << t.core_bits | core) << t.thread_bits | thread;
}

static uint32_t own_apic_id(const X86Cpu *x)
{
    return x->cpu.machine ? x86_apic_id(&x->cpu.machine->cfg, x->cpu.index) : x->cpu.index;
}

/* As QEMU counts where it tells of a package: without the dies. */
static unsigned die_threads(const Topology *t)
{
    return t->threads * t->cores;
}

static bool is_amd(const X86Cpu *x)
{
    return x->model && x->model->vendor == VENDOR_AMD;
}

static uint32_t word(const X86Cpu *x, unsigned w)
{
    return (uint32_t)x->features[w];
}

static uint32_t signature(const X86Model *m)
{
    if (!m) {
        return 0x600;
    }
    uint32_t family = m->family > 15 ? 0xf00 | (m->family - 15u) << 20 : (uint32_t)m->family << 8;

    return family | (m->model & 0xf0u) << 12 | (m->model & 15u) << 4 | (m->stepping & 15u);
}

static void leaf_vendor(const X86Cpu *x, uint32_t max, uint32_t *out)
{
    bool amd = is_amd(x);

    out[EAX] = max;
    out[EBX] = amd ? 0x68747541 : 0x756e6547; /* "AuthenticAMD", "GenuineIntel" */
    out[EDX] = amd ? 0x69746e65 : 0x49656e69;
    out[ECX] = amd ? 0x444d4163 : 0x6c65746e;
}

static void leaf_features(const X86Cpu *x, const Topology *t, uint32_t *out)
{
    unsigned n = die_threads(t);

    out[EAX] = signature(x->model);
    out[EBX] = (own_apic_id(x) & 0xff) << 24 | (n > 1 ? MIN(n, 255u) << 16 : 0) |
               8 << 8; /* CLFLUSH: 64 bytes */
    out[ECX] = word(x, F_1_ECX) | (x->cr4 & CR4_OSXSAVE ? 1u << 27 : 0);
    out[EDX] = word(x, F_1_EDX) | (n > 1 ? 1u << 28 : 0); /* HTT */
}

/* The caches told of: 64-byte lines. */
static const struct Cache {
    uint8_t type, level; /* type: 1 data, 2 instructions, 3 unified */
    uint8_t ways;
    uint16_t sets;
    uint8_t amd_ways; /* APM's code */
} caches[] = {{1, 1, 8, 64, 8}, {2, 1, 8, 64, 8}, {3, 2, 16, 512, 8}, {3, 3, 16, 16384, 8}};

static uint32_t cache_kib(const struct Cache *c)
{
    return c->ways * c->sets * 64u / 1024;
}

static void leaf_caches(const Topology *t, uint32_t subleaf, uint32_t *out)
{
    if (subleaf >= COUNT_OF(caches)) {
        return;
    }
    const struct Cache *c = &caches[subleaf];
    unsigned sharing = c->level == 1   ? 1
                       : c->level == 2 ? t->threads
                                       : 1u << (t->thread_bits + t->core_bits);

    out[EAX] =
        c->type | c->level << 5 | 1 << 8 | (sharing - 1) << 14 | MIN(t->cores - 1, 63u) << 26;
    out[EBX] = 63 | (c->ways - 1u) << 22;
    out[ECX] = c->sets - 1u;
    out[EDX] = c->level == 3 ? 6 : 1; /* inclusive, complex indexing; not told of by WBINVD */
}

static void leaf_7(const X86Cpu *x, uint32_t subleaf, uint32_t *out)
{
    if (subleaf == 0) {
        out[EAX] = word(x, F_7_1_EAX) ? 1 : 0;
        out[EBX] = word(x, F_7_EBX);
        out[ECX] = word(x, F_7_ECX) | (x->cr4 & CR4_PKE ? 1 << 4 : 0);
        out[EDX] = word(x, F_7_EDX);
    } else if (subleaf == 1) {
        out[EAX] = word(x, F_7_1_EAX);
    }
}

/* 0xb: threads and cores; 0x1f: dies too. */
static void leaf_topology(const X86Cpu *x, const Topology *t, bool with_dies, uint32_t subleaf,
                          uint32_t *out)
{
    out[ECX] = subleaf & 0xff;
    out[EDX] = own_apic_id(x);
    if (subleaf == 0) {
        out[EAX] = t->thread_bits;
        out[EBX] = t->threads;
        out[ECX] |= 1 << 8;
    } else if (subleaf == 1) {
        out[EAX] = t->thread_bits + t->core_bits + (with_dies ? 0 : t->die_bits);
        out[EBX] = die_threads(t);
        out[ECX] |= 2 << 8;
    } else if (subleaf == 2 && with_dies) {
        out[EAX] = t->thread_bits + t->core_bits + t->die_bits;
        out[EBX] = die_threads(t) * t->dies;
        out[ECX] |= 5 << 8;
    }
}

static uint32_t xsave_size(uint64_t components)
{
    return components & BIT(9)   ? XSAVE_PKRU_AT + 8
           : components & BIT(2) ? XSAVE_AVX_AT + 256
                                 : 512 + 64;
}

static void leaf_xsave(const X86Cpu *x, uint32_t subleaf, uint32_t *out)
{
    uint64_t mask = x86_xcr0_mask(x->features);

    if (!x86_has(x->features, X86F_XSAVE)) {
        return;
    }
    if (subleaf == 0) {
        out[EAX] = (uint32_t)mask;
        out[EBX] = xsave_size(x->xcr0);
        out[ECX] = xsave_size(mask);
    } else if (subleaf == 1) {
        out[EAX] = word(x, F_D_1_EAX);
        if (out[EAX] & 2) { /* the compacted area of what is enabled */
            out[EBX] = 512 + 64 + (x->xcr0 & BIT(2) ? 256 : 0) + (x->xcr0 & BIT(9) ? 8 : 0);
        }
    } else if (subleaf == 2 && mask & BIT(2)) {
        out[EAX] = 256;
        out[EBX] = XSAVE_AVX_AT;
    } else if (subleaf == 9 && mask & BIT(9)) {
        out[EAX] = 8;
        out[EBX] = XSAVE_PKRU_AT;
    }
}

static void basic_leaf(const X86Cpu *x, const Topology *t, uint32_t leaf, uint32_t subleaf,
                       uint32_t *out)
{
    switch (leaf) {
    case 0: leaf_vendor(x, x->model ? x->model->level : 13, out); break;
    case 1: leaf_features(x, t, out); break;
    case 2:
        if (!is_amd(x)) { /* L1D 32 KiB, L1I 32 KiB, L2 2 MiB; L3 16 MiB */
            out[EAX] = 1;
            out[ECX] = 0x4d;
            out[EDX] = 0x2c307d;
        }
        break;
    case 4:
        if (!is_amd(x)) {
            leaf_caches(t, subleaf, out);
        }
        break;
    case 5:
        if (x86_has(x->features, X86F_MONITOR)) {
            out[EAX] = out[EBX] = 64;
            out[ECX] = 3;
        }
        break;
    case 6: out[EAX] = word(x, F_6_EAX); break;
    case 7: leaf_7(x, subleaf, out); break;
    case 0xb: leaf_topology(x, t, false, subleaf, out); break;
    case 0xd: leaf_xsave(x, subleaf, out); break;
    case 0x1f: leaf_topology(x, t, true, subleaf, out); break;
    }
}

/* 16 bytes of the brand string from @at on. */
static void leaf_brand(const X86Cpu *x, unsigned at, uint32_t *out)
{
    const char *s = x->model ? x->model->brand : "";
    bool ended = false;

    for (unsigned i = 0; i < at + 16; i++) {
        ended = ended || !s[i];
        if (i >= at) {
            out[(i - at) / 4] |= ended ? 0 : (uint32_t)(uint8_t)s[i] << i % 4 * 8;
        }
    }
}

/* AMD repeats most of leaf 1's EDX. */
static uint32_t extended_edx(const X86Cpu *x)
{
    return word(x, F_8_1_EDX) | (is_amd(x) ? word(x, F_1_EDX) & 0x0183f3ff : 0);
}

static void extended_leaf(const X86Cpu *x, const Topology *t, uint32_t leaf, uint32_t *out)
{
    unsigned n = die_threads(t),
             phys = x->phys_mask ? 64 - (unsigned)__builtin_clzll(x->phys_mask) : 40;

    switch (leaf & 0x7fffffff) {
    case 0: leaf_vendor(x, x->model ? x->model->xlevel : 0x80000008, out); break;
    case 1:
        out[EAX] = signature(x->model);
        out[ECX] = word(x, F_8_1_ECX) |
                   (is_amd(x) && n > 1 ? 1 << 1 : 0); /* CmpLegacy: HTT counts cores */
        out[EDX] = extended_edx(x);
        break;
    case 2:
    case 3:
    case 4: leaf_brand(x, (leaf - 0x80000002) * 16, out); break;
    case 5: /* L1 TLBs, caches */
        out[EAX] = 0x01ff01ff;
        out[EBX] = 0x01ff01ff;
        out[ECX] = cache_kib(&caches[0]) << 24 | caches[0].ways << 16 | 1 << 8 | 64;
        out[EDX] = cache_kib(&caches[1]) << 24 | caches[1].ways << 16 | 1 << 8 | 64;
        break;
    case 6:
        out[EBX] = 0x42004200;
        out[ECX] = cache_kib(&caches[2]) << 16 | (uint32_t)caches[2].amd_ways << 12 | 1 << 8 | 64;
        out[EDX] =
            cache_kib(&caches[3]) / 512 << 18 | (uint32_t)caches[3].amd_ways << 12 | 1 << 8 | 64;
        break;
    case 7: out[EDX] = word(x, F_8_7_EDX); break;
    case 8:
        out[EAX] =
            phys |
            (x86_has(x->features, X86F_LM) ? (x86_has(x->features, X86F_LA57) ? 57 : 48) : 32) << 8;
        out[EBX] = word(x, F_8_8_EBX);
        out[ECX] = n > 1 ? (t->thread_bits + t->core_bits + t->die_bits) << 12 | (n - 1) : 0;
        break;
    }
}

void x86_cpuid(const X86Cpu *x, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    Topology t = topology(x);
    uint32_t level = x->model ? x->model->level : 13,
             xlevel = x->model ? x->model->xlevel : 0x80000008;

    out[EAX] = out[EBX] = out[ECX] = out[EDX] = 0;
    if (t.dies > 1 && level >= 0xb && !is_amd(x)) {
        level = MAX(level, 0x1fu);
    }
    if (leaf <= level) {
        basic_leaf(x, &t, leaf, subleaf, out);
    } else if (leaf >= 0x80000000 && leaf <= xlevel) {
        extended_leaf(x, &t, leaf, out);
    }
    if (leaf == 0) {
        out[EAX] = level;
    }
}
