/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query_cmds - small questions about the program and the machine (QEMU 7.2, qapi/misc.json,
 * machine.json) */
#include "base/alloc.h"
#include "core/machine.h"
#include "core/command.h"
#include "monitor/hmp_priv.h"
#include "monitor/version.h"

/* --- who we are --- */

typedef struct VersionTriple {
    int64_t major, minor, micro;
} VersionTriple;
static const Field triple_fields[] = {
    ARG(VersionTriple, major, "major", "7"),
    ARG(VersionTriple, minor, "minor", "2"),
    ARG(VersionTriple, micro, "micro", "0"),
};
static STRUCT_TYPE(triple_type, VersionTriple, triple_fields);
typedef struct Version {
    VersionTriple qemu;
    char *package;
} Version;
static const Field version_fields[] = {
    ARG_TYPE(Version, qemu, "qemu", &triple_type, "whose interfaces these are"),
    ARG(Version, package, "package", "our own name and version"),
};
static STRUCT_TYPE(version_type, Version, version_fields);

COMMAND_FN(query_version)
{
    json_t *j = version_json();
    bool ok = reflect_from_json(&version_type, ret, j, FIELD_ARG, err);

    json_decref(j);
    return ok;
}
COMMAND(query_version, .name = "query-version", .ret = &version_type, .run = query_version,
        .flags = COMMAND_PRECONFIG, .doc = "The version whose interfaces this program has.")

typedef struct OneText {
    char *text;
} OneText;
static const Field name_fields[] = {ARG_STR_OPT(OneText, text, "name", "of -name")};
static STRUCT_TYPE(name_type, OneText, name_fields);
static const Field uuid_fields[] = {ARG(OneText, text, "UUID", "of -uuid, or all zeroes")};
static STRUCT_TYPE(uuid_type, OneText, uuid_fields);
static const Field target_fields[] = {ARG(OneText, text, "arch", "of the guest")};
static STRUCT_TYPE(target_type, OneText, target_fields);

COMMAND_FN(query_name)
{
    ((OneText *)ret)->text = xstrdup(m->name);
    return true;
}
COMMAND(query_name, .name = "query-name", .ret = &name_type, .run = query_name,
        .flags = COMMAND_PRECONFIG, .doc = "The guest's name.")

COMMAND_FN(query_uuid)
{
    ((OneText *)ret)->text = xstrdup(m->uuid ? m->uuid : "00000000-0000-0000-0000-000000000000");
    return true;
}
COMMAND(query_uuid, .name = "query-uuid", .ret = &uuid_type, .run = query_uuid,
        .flags = COMMAND_PRECONFIG, .doc = "The guest's UUID.")

COMMAND_FN(query_target)
{
    const char *arch = m->arch ? m->arch->name : m->cfg.arch;

    ((OneText *)ret)->text = xstrdup(arch ? arch : "x86_64");
    return true;
}
COMMAND(query_target, .name = "query-target", .ret = &target_type, .run = query_target,
        .flags = COMMAND_PRECONFIG, .doc = "The architecture that is emulated.")

/* --- the machine --- */

typedef struct Kvm {
    bool enabled, present;
} Kvm;
static const Field kvm_fields[] = {
    ARG(Kvm, enabled, "enabled", "this machine uses KVM"),
    ARG(Kvm, present, "present", "KVM is built in"),
};
static STRUCT_TYPE(kvm_type, Kvm, kvm_fields);

COMMAND_FN(query_kvm)
{
    *(Kvm *)ret =
        (Kvm){.enabled = !strcmp(m->accel->name, "kvm"), .present = accel_find("kvm") != NULL};
    return true;
}
COMMAND(query_kvm, .name = "query-kvm", .ret = &kvm_type, .run = query_kvm,
        .doc = "Whether the host's virtualization is used.")

typedef struct CurrentMachine {
    bool wakeup;
} CurrentMachine;
static const Field current_fields[] = {
    ARG(CurrentMachine, wakeup, "wakeup-suspend-support", "it can be woken from suspension"),
};
static STRUCT_TYPE(current_type, CurrentMachine, current_fields);

COMMAND_FN(query_current_machine)
{
    return true;
}
COMMAND(query_current_machine, .name = "query-current-machine", .ret = &current_type,
        .run = query_current_machine, .doc = "What this very machine can do.")

typedef struct MemorySummary {
    uint64_t base, plugged;
} MemorySummary;
static const Field summary_fields[] = {
    ARG_TYPE(MemorySummary, base, "base-memory", &type_size, "bytes of -m"),
    ARG_TYPE(MemorySummary, plugged, "plugged-memory", &type_size, "bytes plugged in later"),
};
static STRUCT_TYPE(summary_type, MemorySummary, summary_fields);

COMMAND_FN(query_memory_size_summary)
{
    ((MemorySummary *)ret)->base = m->cfg.ram_size;
    return true;
}
COMMAND(query_memory_size_summary, .name = "query-memory-size-summary", .ret = &summary_type,
        .run = query_memory_size_summary, .doc = "How much memory the guest has.")

/* --- the translator --- */

static const Field human_fields[] = {ARG(OneText, text, "human-readable-text", "for people")};
static STRUCT_TYPE(human_type, OneText, human_fields);

COMMAND_FN(query_jit)
{
    StrBuf text = {0};

    if (!m->accel->stats)
        return error_set(err, "JIT information is only available with accel=tcg");
    hmp_hold(m); /* who counts stands still */
    m->accel->stats(m, &text);
    hmp_go(m);
    ((OneText *)ret)->text = text.s ? strbuf_take(&text) : xstrdup("");
    return true;
}
COMMAND(query_jit, .name = "x-query-jit", .ret = &human_type, .run = query_jit,
        .doc = "Counters of the translator.")
