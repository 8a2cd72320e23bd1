/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model - the text of -cpu to what a vCPU has (names and meaning as QEMU's)
 *
 * What can be had: `emulated` below, and of the instructions that pass through to the host those
 * that the host has or that have a portable function for each row of opcodes.def.
 */
#include <ctype.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/alloc.h"
#include "base/log.h"
#include "base/opts.h"
#include "cpu/ir/ir.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/model_priv.h"

static const struct Feature {
    const char *name;
    uint16_t id;
} feature_names[] = {
#define FEATURE(id, word, bit, name) {name, X86F_##id},
#include "cpu/x86/features.def"
#undef FEATURE
    /* other names of the same */
    {"sse3", X86F_SSE3},    {"sse4-1", X86F_SSE41},
    {"sse4-2", X86F_SSE42}, {"pclmuldq", X86F_PCLMULQDQ},
    {"xd", X86F_NX},        {"ffxsr", X86F_FXSR_OPT},
    {"i64", X86F_LM},       {"sha", X86F_SHA},
};

/* Done by rhea itself: decoding, system registers, the processor's own state. */
static const uint16_t emulated[] = {
    X86F_FPU,          X86F_DE,         X86F_PSE,    X86F_TSC,        X86F_MSR,
    X86F_PAE,          X86F_MCE,        X86F_CX8,    X86F_APIC,       X86F_SEP,
    X86F_MTRR,         X86F_PGE,        X86F_MCA,    X86F_CMOV,       X86F_PAT,
    X86F_PSE36,        X86F_CLFLUSH,    X86F_ACPI,   X86F_MMX,        X86F_FXSR,
    X86F_SS,           X86F_CX16,       X86F_PCID,   X86F_X2APIC,     X86F_MOVBE,
    X86F_TSC_DEADLINE, X86F_XSAVE,      X86F_RDRAND, X86F_HYPERVISOR, X86F_FSGSBASE,
    X86F_TSC_ADJUST,   X86F_SMEP,       X86F_ERMS,   X86F_INVPCID,    X86F_RDSEED,
    X86F_SMAP,         X86F_CLFLUSHOPT, X86F_CLWB,   X86F_UMIP,       X86F_PKU,
    X86F_LA57,         X86F_RDPID,      X86F_FSRM,   X86F_SYSCALL,    X86F_NX,
    X86F_MMXEXT,       X86F_PDPE1GB,    X86F_RDTSCP, X86F_LM,         X86F_LAHF_LM,
    X86F_PREFETCHW,    X86F_XSAVEOPT,   X86F_XSAVEC, X86F_XGETBV1,    X86F_XSAVES,
    X86F_WBNOINVD,     X86F_INVTSC,     X86F_ARAT,   X86F_MONITOR,    X86F_VME,
};

/* Offered on request only: LA57 makes kernels walk five levels; MONITOR makes them idle in
 * MWAIT; VME is not in QEMU's. */
static const uint16_t not_in_max[] = {X86F_LA57, X86F_MONITOR, X86F_VME};

/* A feature is of no use without another. */
static const struct {
    uint16_t feature, needs;
} dependencies[] = {
    {X86F_SSE2, X86F_SSE},     {X86F_AVX, X86F_XSAVE},     {X86F_AVX2, X86F_AVX},
    {X86F_FMA, X86F_AVX},      {X86F_F16C, X86F_AVX},      {X86F_XSAVEOPT, X86F_XSAVE},
    {X86F_XSAVEC, X86F_XSAVE}, {X86F_XGETBV1, X86F_XSAVE}, {X86F_XSAVES, X86F_XSAVEC},
    {X86F_PKU, X86F_XSAVE},    {X86F_FSRM, X86F_ERMS},
};
static const uint16_t long_mode_only[] = {X86F_LM,       X86F_LAHF_LM, X86F_SYSCALL, X86F_PCID,
                                          X86F_FSGSBASE, X86F_LA57,    X86F_CX16,    X86F_PDPE1GB};

static void feature_set(uint64_t *features, unsigned f, bool on)
{
    features[f >> 5] = on ? features[f >> 5] | BIT(f & 31) : features[f >> 5] & ~BIT(f & 31);
}

const char *x86_feature_name(unsigned feature)
{
    for (unsigned i = 0; i < COUNT_OF(feature_names); i++) {
        if (feature_names[i].id == feature) {
            return feature_names[i].name;
        }
    }
    return NULL;
}

/* Equal, '_' being '-'; @n characters of @s. */
static bool name_equal(const char *s, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if ((s[i] == '_' ? '-' : s[i]) != (name[i] == '_' ? '-' : name[i])) {
            return false;
        }
    }
    return !name[n];
}

static int feature_find(const char *s, size_t n)
{
    for (unsigned i = 0; i < COUNT_OF(feature_names); i++) {
        if (name_equal(s, n, feature_names[i].name)) {
            return feature_names[i].id;
        }
    }
    return -1;
}

static const X86Model *model_exact(const char *s, size_t n)
{
    for (unsigned i = 0; i < x86_n_models; i++) {
        if (name_equal(s, n, x86_models[i].name)) {
            return &x86_models[i];
        }
    }
    return NULL;
}

const X86Model *x86_model_find(const char *name)
{
    static const char *const suffixes[] = {"-IBRS", "-IBPB", "-noTSX"};
    size_t n = strlen(name), digits = n;

    while (digits > 2 && isdigit((unsigned char)name[digits - 1])) {
        digits--;
    }
    if (digits < n && digits > 2 && !strncmp(name + digits - 2, "-v", 2)) {
        n = digits - 2;
    }
    const X86Model *m = model_exact(name, n);

    for (unsigned i = 0; !m && i < COUNT_OF(suffixes); i++) {
        size_t k = strlen(suffixes[i]);

        if (n > k && name_equal(name + n - k, k, suffixes[i])) {
            n -= k;
            m = model_exact(name, n);
        }
    }
    return m;
}

/* --- what can be had --- */

#if defined(__x86_64__)
static uint32_t host_xcr0(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void host_features(uint64_t *f)
{
    uint32_t a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d)) {
        f[F_1_EDX] = d;
        f[F_1_ECX] = c;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        f[F_7_EBX] = b;
        f[F_7_ECX] = c;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
        f[F_8_1_ECX] = c;
    }
    if (!(f[F_1_ECX] & BIT(27)) || (host_xcr0() & 6) != 6) { /* the OS does not keep YMM */
        static const uint16_t ymm[] = {X86F_AVX, X86F_AVX2, X86F_FMA, X86F_F16C};

        for (unsigned i = 0; i < COUNT_OF(ymm); i++) {
            feature_set(f, ymm[i], false);
        }
    }
}
#else
static void host_features(uint64_t *f)
{
    (void)f;
}
#endif

/* Features that rows of @row need besides its own. */
static unsigned row_extra_feature(const X86Row *row)
{
    return row->attr & XA_L1_AVX2 ? X86F_AVX2 : row->attr & XA_AVX ? X86F_AVX : row->feature;
}

void x86_features_available(uint64_t features[F_WORDS])
{
    uint64_t host[F_WORDS] = {0}, absent[F_WORDS] = {0};

    memset(features, 0, F_WORDS * sizeof(features[0]));
    host_features(host);
    for (unsigned i = 0; i < x86_row_count(); i++) {
        const X86Row *row = x86_row(i);

        feature_set(features, row->feature, true);
        if (row->kind == X86K_PASS && !ir_pass_rows[row->pass].fn) {
            feature_set(absent, row->feature, true);
            feature_set(absent, row_extra_feature(row), true);
        }
    }
    for (unsigned w = 0; w < F_WORDS; w++) {
        features[w] &= ~absent[w] | host[w];
    }
    for (unsigned i = 0; i < COUNT_OF(emulated); i++) {
        feature_set(features, emulated[i], true);
    }
    features[0] = 0;
}

/* --- the text --- */

typedef struct Request {
    X86Cpu *x;
    X86Model *m;
    uint64_t f[F_WORDS];
    unsigned phys_bits;
    bool check, enforce;
} Request;

static bool unknown(const char *what, const char *s, const char *const *names, unsigned n,
                    Error *err)
{
    const char *near = nearest_name(s, names, n);

    return error_set(err, near ? "%s '%s' not found; did you mean '%s'?" : "%s '%s' not found",
                     what, s, near);
}

static bool unknown_model(const char *s, Error *err)
{
    const char **names = xnew_n(const char *, x86_n_models);

    for (unsigned i = 0; i < x86_n_models; i++) {
        names[i] = x86_models[i].name;
    }
    unknown("CPU model", s, names, x86_n_models, err);
    xfree(names);
    return false;
}

static bool unknown_feature(const char *s, Error *err)
{
    const char *names[COUNT_OF(feature_names)];

    for (unsigned i = 0; i < COUNT_OF(feature_names); i++) {
        names[i] = feature_names[i].name;
    }
    return unknown("CPU property", s, names, COUNT_OF(feature_names), err);
}

/* The model's features, its bases' first. */
static void add_model_features(uint64_t *f, const X86Model *m)
{
    if (m->base) {
        add_model_features(f, x86_model_find(m->base));
    }
    if (!strcmp(m->features, "*")) {
        x86_features_available(f);
        for (unsigned i = 0; i < COUNT_OF(not_in_max); i++) {
            feature_set(f, not_in_max[i], false);
        }
        return;
    }
    for (const char *s = m->features; *s;) {
        size_t n = strcspn(s, " ");
        bool off = *s == '-';

        feature_set(f, (unsigned)feature_find(s + off, n - off), !off);
        s += n + (s[n] == ' ');
    }
}

static bool set_vendor(Request *r, const char *value, Error *err)
{
    if (!strcmp(value, "GenuineIntel") || !strcmp(value, "AuthenticAMD")) {
        r->m->vendor = value[0] == 'A' ? VENDOR_AMD : VENDOR_INTEL;
        return true;
    }
    return error_set(err, "CPU vendor '%s' is not modelled: GenuineIntel or AuthenticAMD", value);
}

static bool set_number(uint64_t v, uint64_t max, void *to, unsigned size, const char *key,
                       Error *err)
{
    if (v > max) {
        return error_set(err, "CPU property '%s': %" PRIu64 " is over %" PRIu64, key, v, max);
    }
    memcpy(to, &v, size);
    return true;
}

/* What KVM tells its guests of; here, as under QEMU's TCG, it changes nothing. */
static bool is_paravirtual(const char *name)
{
    return !strncmp(name, "kvm", 3) || !strncmp(name, "hv-", 3) || !strncmp(name, "hv_", 3);
}

/* key=value that is no feature.  *known tells whether it is anything. */
static bool set_property(Request *r, const char *key, const char *value, bool *known, Error *err)
{
    const struct {
        const char *key;
        void *to;
        unsigned size;
        uint64_t max;
    } numbers[] = {
        {"family", &r->m->family, 2, 0xff + 0xf}, {"model", &r->m->model, 2, 0xff},
        {"stepping", &r->m->stepping, 2, 0xf},    {"level", &r->m->level, 4, 0x1f},
        {"xlevel", &r->m->xlevel, 4, 0x8000001f}, {"phys-bits", &r->phys_bits, 4, 52},
    };
    const struct {
        const char *key;
        bool *to;
    } switches[] = {{"check", &r->check}, {"enforce", &r->enforce}};
    static const char *const ignored[] = {
        /* of other accelerators, or about migration */
        "kvm",
        "migratable",
        "pmu",
        "l3-cache",
        "host-cache-info",
        "host-phys-bits",
        "tcg-cpuid",
        "lmce",
        "full-cpuid-auto-level",
        "legacy-cache",
        "min-level",
        "min-xlevel",
        "fill-mtrr-mask",
        "vmware-cpuid-freq",
    };
    uint64_t v;

    *known = true;
    for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
        if (name_equal(key, strlen(key), numbers[i].key)) {
            return parse_u64(value, &v)
                       ? set_number(v, numbers[i].max, numbers[i].to, numbers[i].size, key, err)
                       : error_set(err, "CPU property '%s': '%s' is no number", key, value);
        }
    }
    for (unsigned i = 0; i < COUNT_OF(switches); i++) {
        if (!strcmp(key, switches[i].key)) {
            return parse_bool(value, switches[i].to) ||
                   error_set(err, "CPU property '%s': '%s' is neither on nor off", key, value);
        }
    }
    for (unsigned i = 0; i < COUNT_OF(ignored); i++) {
        if (name_equal(key, strlen(key), ignored[i])) {
            return true;
        }
    }
    if (!strncmp(key, "x-", 2) || is_paravirtual(key)) {
        return true;
    }
    *known = false;
    return true;
}

/* One item after the model: +f, -f, f, f=on, key=value.  @item is writable. */
static bool apply_item(Request *r, char *item, Error *err)
{
    char *value = strchr(item, '=');
    bool on = *item != '-', known;

    if (*item == '+' || *item == '-') {
        int f = feature_find(item + 1, strlen(item + 1));

        if (f < 0) {
            return is_paravirtual(item + 1) || unknown_feature(item + 1, err);
        }
        feature_set(r->f, (unsigned)f, on);
        return true;
    }
    if (value) {
        *value++ = 0;
    }
    if (!strcmp(item, "vendor")) {
        return set_vendor(r, value ? value : "", err);
    }
    if (name_equal(item, strlen(item), "model-id")) {
        xfree((void *)(uintptr_t)r->m->brand);
        r->m->brand = xstrdup(value ? value : "");
        return true;
    }
    int f = feature_find(item, strlen(item));

    if (f >= 0) {
        if (value && !parse_bool(value, &on)) {
            return error_set(err, "CPU property '%s': '%s' is neither on nor off", item, value);
        }
        feature_set(r->f, (unsigned)f, on);
        return true;
    }
    if (!set_property(r, item, value ? value : "on", &known, err)) {
        return false;
    }
    return known || unknown_feature(item, err);
}

/* Drop what cannot be had; tell of it. */
static bool filter(Request *r, bool long_mode, Error *err)
{
    uint64_t can[F_WORDS];
    StrBuf missing = {0};
    bool ok = true;

    x86_features_available(can);
    for (unsigned i = 0; !long_mode && i < COUNT_OF(long_mode_only); i++) {
        feature_set(can, long_mode_only[i], false);
        if (!strcmp(r->m->features, "*")) {
            feature_set(r->f, long_mode_only[i], false);
        }
    }
    for (unsigned i = 0; i < F_WORDS << 5; i++) {
        if (i >= 32 && x86_has(r->f, i) && !x86_has(can, i)) {
            strbuf_addf(&missing, " %s", x86_feature_name(i));
            feature_set(r->f, i, false);
        }
    }
    for (unsigned i = 0; i < COUNT_OF(dependencies); i++) {
        if (!x86_has(r->f, dependencies[i].needs)) {
            feature_set(r->f, dependencies[i].feature, false);
        }
    }
    if (missing.len && r->enforce) {
        ok = error_set(err, "CPU model '%s': features not available:%s", r->m->name, missing.s);
    } else if (missing.len && r->check && r->x->cpu.index == 0) {
        log_warn("CPU model '%s': features not available, left out:%s", r->m->name, missing.s);
    }
    strbuf_free(&missing);
    return ok;
}

static bool apply_items(Request *r, char *items, Error *err)
{
    while (items && *items) {
        char *comma = strchr(items, ',');

        if (comma) {
            *comma++ = 0;
        }
        if (*items && !apply_item(r, items, err)) {
            return false;
        }
        items = comma;
    }
    return true;
}

static void own_model_free(X86Model *m)
{
    xfree((void *)(uintptr_t)m->brand);
    xfree(m);
}

bool x86_model_apply(X86Cpu *x, const char *text, bool long_mode, Error *err)
{
    char *copy AUTO_FREE = xstrdup(text);
    char *items = strchr(copy, ',');
    Request r = {.x = x, .phys_bits = 40, .check = true};

    if (items) {
        *items++ = 0;
    }
    const X86Model *found = x86_model_find(copy);

    if (!found) {
        return unknown_model(copy, err);
    }
    r.m = xnew(X86Model);
    *r.m = *found;
    r.m->brand = xstrdup(found->brand);
    feature_set(r.f, X86F_HYPERVISOR, true);
    add_model_features(r.f, found);
    if (!apply_items(&r, items, err) || !filter(&r, long_mode, err)) {
        own_model_free(r.m);
        return false;
    }
    x86_model_free(x);
    memcpy(x->features, r.f, sizeof(r.f));
    x->model = r.m;
    x->phys_mask = (r.phys_bits >= 32 ? BIT(r.phys_bits) : BIT(32)) - 1;
    return true;
}

void x86_model_free(X86Cpu *x)
{
    if (x->model) {
        own_model_free((X86Model *)(uintptr_t)x->model);
    }
    x->model = NULL;
}

const char *x86_model_name(unsigned i)
{
    return i < x86_n_models ? x86_models[i].name : NULL;
}

bool x86_model_wants(const char *name, uint64_t features[F_WORDS])
{
    const X86Model *m = x86_model_find(name);

    memset(features, 0, F_WORDS * sizeof *features);
    if (m)
        add_model_features(features, m);
    return m != NULL;
}

void x86_model_help(StrBuf *out)
{
    unsigned column = 0;

    strbuf_add(out, "Available CPUs:\n");
    for (unsigned i = 0; i < x86_n_models; i++) {
        const X86Model *m = &x86_models[i];

        strbuf_addf(out, "x86 %-20s  %s\n", m->name, m->doc ? m->doc : m->brand);
    }
    strbuf_add(out, "\nRecognized CPUID flags:\n");
    for (unsigned i = 0; i < COUNT_OF(feature_names); i++) {
        const char *name = feature_names[i].name;

        if (column + strlen(name) > 75) {
            strbuf_add(out, "\n");
            column = 0;
        }
        strbuf_addf(out, "%s%s", column ? " " : "  ", name);
        column += (unsigned)strlen(name) + 1;
    }
    strbuf_add(out, "\n");
}
