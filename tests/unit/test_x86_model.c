/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_x86_model - -cpu text, feature filter, CPUID leaves */
#include "core/machine.h"
#include "cpu/x86/model.h"
#include "tests/unit/unit.h"

static Machine machine;
static X86Cpu vcpu = {.cpu = {.machine = &machine, .index = 1}}; /* warnings are for vCPU 0 */
static X86Cpu *const cpu = &vcpu;
static Error err;

static void leaf(uint32_t n, uint32_t sub, uint32_t *out)
{
    x86_cpuid(cpu, n, sub, out);
}

START_TEST(every_model_can_be_had)
{
    static const char *const names[] = {
        "qemu64",
        "qemu32",
        "max",
        "host",
        "kvm64",
        "kvm32",
        "486",
        "pentium",
        "pentium2",
        "pentium3",
        "coreduo",
        "core2duo",
        "n270",
        "athlon",
        "phenom",
        "Conroe",
        "Penryn",
        "Nehalem",
        "Westmere",
        "SandyBridge",
        "IvyBridge",
        "Haswell",
        "Broadwell",
        "Skylake-Client",
        "Skylake-Server",
        "Cascadelake-Server",
        "Icelake-Server",
        "Opteron_G1",
        "Opteron-G5",
        "EPYC",
        "EPYC-Rome",
        "EPYC-Milan",
        "Haswell-noTSX-IBRS",
        "EPYC-v2",
        "Skylake-Client-v3",
    };

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        ck_assert_msg(x86_model_apply(cpu, names[i], true, &err), "%s: %s", names[i], err.msg);
        ck_assert(x86_has(cpu->features, X86F_FPU));
        ck_assert(!x86_has(cpu->features, X86F_AVX512F));
    }
}
END_TEST

START_TEST(features_can_be_added_and_taken)
{
    ck_assert(
        x86_model_apply(cpu, "qemu64,+pcid,-cx16,smep=on,lahf_lm=off,sse4_1,x2apic", true, &err));
    ck_assert(x86_has(cpu->features, X86F_PCID));
    ck_assert(!x86_has(cpu->features, X86F_CX16));
    ck_assert(x86_has(cpu->features, X86F_SMEP));
    ck_assert(!x86_has(cpu->features, X86F_LAHF_LM));
    ck_assert(x86_has(cpu->features, X86F_X2APIC));
}
END_TEST

START_TEST(identification_can_be_set)
{
    uint32_t out[4];

    ck_assert(x86_model_apply(
        cpu, "qemu64,vendor=GenuineIntel,family=6,model=94,stepping=3,level=0xb,model-id=Test",
        true, &err));
    leaf(0, 0, out);
    ck_assert_uint_eq(out[0], 0xb);
    ck_assert_int_eq(memcmp(&out[1], "Genu", 4), 0);
    leaf(1, 0, out);
    ck_assert_uint_eq(out[0], 0x506e3);
    leaf(0x80000002, 0, out);
    ck_assert_int_eq(memcmp(out, "Test\0\0\0\0", 8), 0);
}
END_TEST

START_TEST(unknown_names_are_told_with_the_nearest)
{
    ck_assert(!x86_model_apply(cpu, "Haswel", true, &err));
    ck_assert(strstr(err.msg, "'Haswel'") && strstr(err.msg, "Haswell"));
    ck_assert(!x86_model_apply(cpu, "max,+smapp", true, &err));
    ck_assert(strstr(err.msg, "smapp") && strstr(err.msg, "smap"));
    ck_assert(!x86_model_apply(cpu, "max,nonsense=3", true, &err));
    ck_assert(!x86_model_apply(cpu, "max,avx=maybe", true, &err));
    ck_assert(!x86_model_apply(cpu, "max,family=many", true, &err));
}
END_TEST

START_TEST(enforce_refuses_what_is_missing)
{
    ck_assert(x86_model_apply(cpu, "qemu64,+avx512f", true, &err));
    ck_assert(!x86_has(cpu->features, X86F_AVX512F));
    ck_assert(!x86_model_apply(cpu, "qemu64,+avx512f,enforce", true, &err));
    ck_assert(strstr(err.msg, "avx512f"));
    ck_assert(x86_model_apply(cpu, "qemu64,enforce", true, &err));
    ck_assert(x86_model_apply(cpu, "max,enforce", true, &err));
}
END_TEST

START_TEST(max_has_what_the_runtime_likes)
{
    uint32_t out[4];

    ck_assert(x86_model_apply(cpu, "max", true, &err));
    ck_assert(x86_has(cpu->features, X86F_PCID) && x86_has(cpu->features, X86F_INVPCID) &&
              x86_has(cpu->features, X86F_X2APIC));
    ck_assert(x86_has(cpu->features, X86F_FSRM) && x86_has(cpu->features, X86F_HYPERVISOR) &&
              x86_has(cpu->features, X86F_INVTSC));
    ck_assert(!x86_has(cpu->features, X86F_LA57));
    leaf(0x80000008, 0, out);
    ck_assert_uint_eq(out[0], 48 << 8 | 40);
    ck_assert(x86_model_apply(cpu, "max,+la57", true, &err));
    ck_assert(x86_has(cpu->features, X86F_LA57));
}
END_TEST

START_TEST(i386_has_no_long_mode)
{
    ck_assert(x86_model_apply(cpu, "max", false, &err));
    ck_assert(!x86_has(cpu->features, X86F_LM));
    ck_assert(!x86_has(cpu->features, X86F_SYSCALL));
}
END_TEST

START_TEST(topology_follows_the_machine)
{
    uint32_t out[4];

    machine.cfg.sockets = 1;
    machine.cfg.cores = 4;
    machine.cfg.threads = 2;
    ck_assert(x86_model_apply(cpu, "Skylake-Client", true, &err));
    leaf(1, 0, out);
    ck_assert_uint_eq(out[1] >> 16 & 0xff, 8);
    ck_assert_uint_eq(out[1] >> 24, 1);
    ck_assert(out[3] & 1u << 28);
    leaf(0xb, 0, out);
    ck_assert_uint_eq(out[0], 1);
    ck_assert_uint_eq(out[1], 2);
    ck_assert_uint_eq(out[2], 0x100);
    leaf(0xb, 1, out);
    ck_assert_uint_eq(out[0], 3);
    ck_assert_uint_eq(out[1], 8);
    leaf(0xb, 2, out);
    ck_assert_uint_eq(out[2], 2);
    leaf(4, 0, out);
    ck_assert_uint_eq(out[0] >> 26, 3);
}
END_TEST

START_TEST(extended_state_sizes_add_up)
{
    uint32_t out[4];

    ck_assert(x86_model_apply(cpu, "max", true, &err));
    cpu->xcr0 = 1;
    leaf(0xd, 0, out);
    ck_assert_uint_eq(out[1], 576);
    ck_assert_uint_eq(out[0] & 3, 3);
    ck_assert_uint_ge(out[2], out[1]);
    leaf(0xd, 62, out);
    ck_assert_uint_eq(out[0] | out[1] | out[2] | out[3], 0);
}
END_TEST

START_TEST(leaves_out_of_range_are_zero)
{
    uint32_t out[4];

    ck_assert(x86_model_apply(cpu, "qemu64", true, &err));
    leaf(0x40000000, 0, out);
    ck_assert_uint_eq(out[0] | out[1] | out[2] | out[3], 0);
    leaf(0x90000000, 0, out);
    ck_assert_uint_eq(out[0], 0);
}
END_TEST

START_TEST(os_bits_follow_the_control_registers)
{
    uint32_t out[4];

    ck_assert(x86_model_apply(cpu, "max", true, &err));
    leaf(1, 0, out);
    ck_assert(!(out[2] & 1u << 27));
    cpu->cr4 = CR4_OSXSAVE | CR4_PKE;
    leaf(1, 0, out);
    ck_assert(out[2] & 1u << 27);
    leaf(7, 0, out);
    ck_assert(out[2] & 1 << 4);
}
END_TEST

START_TEST(help_names_models_and_features)
{
    StrBuf b = {0};

    x86_model_help(&b);
    ck_assert(strstr(b.s, "x86 qemu64") && strstr(b.s, "invpcid"));
    strbuf_free(&b);
}
END_TEST

UNIT_MAIN("x86 model", every_model_can_be_had, features_can_be_added_and_taken,
          identification_can_be_set, unknown_names_are_told_with_the_nearest,
          enforce_refuses_what_is_missing, max_has_what_the_runtime_likes, i386_has_no_long_mode,
          topology_follows_the_machine, extended_state_sizes_add_up, leaves_out_of_range_are_zero,
          os_bits_follow_the_control_registers, help_names_models_and_features)
