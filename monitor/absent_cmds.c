/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * absent_cmds - questions about kinds of things that are not built yet: the true answer is "none"
 *
 * Who builds one takes its command away from here and declares it beside the thing.
 */
#include "core/command.h"

static LIST_TYPE(any_list, &type_any);

COMMAND_FN(answer_none)
{
    return true;
}
#define NONE(var, nm, type, dc) COMMAND(var, .name = nm, .ret = type, .run = answer_none, .doc = dc)

NONE(memory_devices, "query-memory-devices", &any_list, "Memory that was plugged in.")
NONE(tpm, "query-tpm", &any_list, "TPM devices.")
NONE(tpm_models, "query-tpm-models", &type_str_list, "Kinds of TPM devices.")
NONE(tpm_types, "query-tpm-types", &type_str_list, "Kinds of TPM back ends.")
NONE(mice, "query-mice", &any_list, "Pointing devices.")
NONE(pci, "query-pci", &any_list, "PCI buses and the devices on them.")
NONE(rx_filter, "query-rx-filter", &any_list, "Receive filters of network devices.")

/* --- migration: no command begins one, so that `events` is kept for nobody yet --- */

static const char *const capability_names[] = {"events", NULL};
static ENUM_TYPE(capability_kind, MigrationCapability, capability_names);
typedef struct Capability {
    uint32_t which;
    bool state;
} Capability;
static const Field capability_fields[] = {
    ARG_TYPE(Capability, which, "capability", &capability_kind, "which"),
    ARG(Capability, state, "state", "it is enabled"),
};
static STRUCT_TYPE(capability_type, Capability, capability_fields);
static LIST_TYPE(capabilities_type, &capability_type);
typedef struct Capabilities {
    List list;
} Capabilities;
static const Field set_fields[] = {
    ARG_TYPE(Capabilities, list, "capabilities", &capabilities_type, "those to change"),
};
static STRUCT_TYPE(set_type, Capabilities, set_fields);

/* Indexed by capability. */
static bool *capability_states(Machine *m)
{
    static const char key;

    return control_state(m, &key, sizeof(bool) * (COUNT_OF(capability_names) - 1), NULL);
}

COMMAND_FN(query_capabilities)
{
    for (uint32_t i = 0; capability_names[i]; i++)
        *(Capability *)list_add(ret, &capability_type) = (Capability){i, capability_states(m)[i]};
    return true;
}
COMMAND(query_capabilities, .name = "query-migrate-capabilities", .ret = &capabilities_type,
        .run = query_capabilities, .doc = "What migration can do, and is to do.")

COMMAND_FN(set_capabilities)
{
    const List *l = &((Capabilities *)args)->list;

    for (unsigned i = 0; i < l->n; i++)
        capability_states(m)[((Capability *)l->p)[i].which] = ((Capability *)l->p)[i].state;
    return true;
}
COMMAND(set_capabilities, .name = "migrate-set-capabilities", .args = &set_type,
        .run = set_capabilities, .doc = "What migration is to do.")

/* --- balloon --- */

typedef struct Balloon {
    int64_t size;
} Balloon;
static const Field balloon_fields[] = {ARG(Balloon, size, "value", "bytes the guest is to have")};
static STRUCT_TYPE(balloon_type, Balloon, balloon_fields);
static const Field actual_fields[] = {ARG(Balloon, size, "actual", "bytes the guest has")};
static STRUCT_TYPE(actual_type, Balloon, actual_fields);

COMMAND_FN(no_balloon)
{
    return error_set_class(err, ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
}
COMMAND(balloon, .name = "balloon", .args = &balloon_type, .run = no_balloon,
        .doc = "Ask the guest to give back or take memory.")
COMMAND(query_balloon, .name = "query-balloon", .ret = &actual_type, .run = no_balloon,
        .doc = "How much memory the balloon leaves.")
