/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model - x86 processor models and their features (SDM vol. 2 CPUID; APM vol. 3 appendix E)
 *
 * A feature is a number X86F_x = word << 5 | bit; words are the CPUID registers that list features.
 * X86Cpu.features[word] is what CPUID tells and what decoding allows.
 */
#ifndef CPU_X86_MODEL_H
#define CPU_X86_MODEL_H

#include "base/error.h"
#include "base/strbuf.h"
#include "cpu/x86/x86.h"

enum { /* index of X86Cpu.features; 0 is unused, so that X86F_ALWAYS can be 0 */
       F_1_EDX = 1,
       F_1_ECX,
       F_7_EBX,
       F_7_ECX,
       F_7_EDX,
       F_8_1_EDX,
       F_8_1_ECX,
       F_D_1_EAX,
       F_8_8_EBX,
       F_8_7_EDX,
       F_7_1_EAX,
       F_6_EAX,
       F_WORDS
};
enum {
    X86F_ALWAYS = 0,
#define FEATURE(id, word, bit, name) X86F_##id = (word) << 5 | (bit),
#include "cpu/x86/features.def"
#undef FEATURE
    X86F_END = F_WORDS << 5
};

static inline bool x86_has(const uint64_t *features, unsigned f)
{
    return f == X86F_ALWAYS || (features[f >> 5] >> (f & 31) & 1);
}

typedef enum X86Vendor { VENDOR_INTEL, VENDOR_AMD } X86Vendor;

struct X86Model {             /* of the table, or a vCPU's own copy with its options */
    const char *name, *brand; /* brand: CPUID 0x80000002..., 48 bytes at most */
    uint8_t vendor;
    uint16_t family, model, stepping; /* display values (extended parts added) */
    uint32_t level, xlevel;           /* largest basic and extended leaf */
    /* names added to base's, separated by spaces, "-x": taken away; "*": all rhea has */
    const char *features;
    const char *base; /* model whose features it has too */
    const char *doc;
};

const X86Model *x86_model_find(
    const char *name); /* '_' equals '-'; "-v1", "-IBRS" and the like are the plain model */
const char *x86_feature_name(unsigned feature); /* NULL: no such bit */

/*
 * Parse "model[,+feature][,-feature][,feature=on|off][,vendor=..][,family=..]..." and set x->model,
 * x->features and x->phys_mask.  @long_mode: the architecture has 64-bit mode.  Features that
 * cannot be had are dropped with a warning; "enforce" makes it an error.
 */
bool x86_model_apply(X86Cpu *x, const char *text, bool long_mode, Error *err);
void x86_model_free(X86Cpu *x);
/* All that rhea can do on this host. */
void x86_features_available(uint64_t features[F_WORDS]);
void x86_model_help(StrBuf *out);       /* `-cpu help` */
const char *x86_model_name(unsigned i); /* NULL behind the last */
/* What the model has, whether it can be had or not; false: no such model. */
bool x86_model_wants(const char *name, uint64_t features[F_WORDS]);
extern const CpuModels x86_query_64, x86_query_32;

/* The APIC ID of processor @index: thread, core, die and socket as bit fields. */
struct MachineConfig;
uint32_t x86_apic_id(const struct MachineConfig *c, unsigned index);
/* CPUID: out = EAX EBX ECX EDX.  General registers only. */
void x86_cpuid(const X86Cpu *x, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* What XCR0 may hold: x87, SSE, AVX, PKRU. */
static inline uint64_t x86_xcr0_mask(const uint64_t *features)
{
    return 3 | (x86_has(features, X86F_AVX) ? 4 : 0) | (x86_has(features, X86F_PKU) ? 1 << 9 : 0);
}

#endif
