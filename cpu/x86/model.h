/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model - x86 processor models and their features (SDM vol. 2 CPUID; APM vol. 3 appendix E)
 *
 * A feature is a number X86F_x = word << 5 | bit; words are the CPUID registers that list features.  X86Cpu.features[word]
 * is what CPUID tells and what decoding allows.
 */
#ifndef CPU_X86_MODEL_H
#define CPU_X86_MODEL_H

#include "base/error.h"
#include "base/strbuf.h"
#include "cpu/x86/x86.h"

enum {                 /* index of X86Cpu.features; 0 is unused, so that X86F_ALWAYS can be 0 */
    F_1_EDX = 1, F_1_ECX, F_7_EBX, F_7_ECX, F_7_EDX, F_8_1_EDX, F_8_1_ECX, F_D_1_EAX, F_8_8_EBX, F_8_7_EDX, F_7_1_EAX,
    F_6_EAX, F_WORDS
};
enum {
    X86F_ALWAYS = 0,
#define FEATURE(id, word, bit, name) X86F_##id = (word) << 5 | (bit),
#include "cpu/x86/features.def"
#undef FEATURE
    X86F_END = F_WORDS << 5
};

static inline bool x86_has(const uint64_t *features, unsigned f) { return f == X86F_ALWAYS || (features[f >> 5] >> (f & 31) & 1); }

typedef enum X86Vendor { VENDOR_INTEL, VENDOR_AMD, VENDOR_COUNT } X86Vendor;

struct X86Model {
    const char *name, *brand;      /* brand: CPUID 0x80000002.., 48 bytes at most */
    uint8_t vendor;
    uint16_t family, model, stepping; /* display values (extended parts added) */
    uint32_t level, xlevel;        /* largest basic and extended leaf */
    const char *features;          /* names, separated by spaces; "*": all rhea has */
    const char *doc;
};

/* What a vCPU answers to CPUID: model, features and topology, resolved.  X86Cpu.model points to one. */
typedef struct X86CpuId X86CpuId;

const X86Model *x86_model_find(const char *name);
unsigned x86_model_count(void);
const X86Model *x86_model(unsigned i);
const char *x86_feature_name(unsigned feature); /* NULL: no such bit */

/*
 * Parse "model[,+feature][,-feature][,feature=on|off][,vendor=..][,family=..]..." for machine word width of @x's arch and set
 * x->model and x->features.  Features that cannot be had are dropped with a warning, or an error under "enforce".
 */
bool x86_model_apply(X86Cpu *x, const char *text, bool long_mode, Error *err);
void x86_model_free(X86Cpu *x);
/* All that rhea can do on this host. */
void x86_features_available(uint64_t features[F_WORDS]);
/* Text of `-cpu help`. */
void x86_model_help(StrBuf *out);

void x86_cpuid(X86Cpu *x, uint32_t leaf, uint32_t subleaf, uint32_t out[4]); /* EAX EBX ECX EDX; general registers only */

#endif
