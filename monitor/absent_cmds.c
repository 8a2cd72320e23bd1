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
NONE(migrate_capabilities, "query-migrate-capabilities", &any_list, "What migration can do.")

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
