/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machine_cmds - query-machines and query-command-line-options (QEMU 7.2, qapi/machine.json,
 * misc.json) */
#include "base/alloc.h"
#include "core/command.h"
#include "core/machine.h"

typedef struct MachineInfo {
    char *name, *alias, *cpu, *ram;
    bool is_default, has_is_default, hotplug, numa, deprecated;
    int64_t cpu_max;
} MachineInfo;
static const Field machine_fields[] = {
    ARG(MachineInfo, name, "name", "for -machine"),
    ARG_STR_OPT(MachineInfo, alias, "alias", "another name"),
    ARG_OPT(MachineInfo, is_default, "is-default", "the one without -machine"),
    ARG(MachineInfo, cpu_max, "cpu-max", "processors at most"),
    ARG(MachineInfo, hotplug, "hotpluggable-cpus", "processors can be plugged in later"),
    ARG(MachineInfo, numa, "numa-mem-supported", "nodes can be given memory by size"),
    ARG(MachineInfo, deprecated, "deprecated", "will go away"),
    ARG_STR_OPT(MachineInfo, cpu, "default-cpu-type", "the processor without -cpu"),
    ARG_STR_OPT(MachineInfo, ram, "default-ram-id", "id of the memory backend to give it"),
};
static STRUCT_TYPE(machine_type, MachineInfo, machine_fields);
static LIST_TYPE(machines_type, &machine_type);

COMMAND_FN(query_machines)
{
    const char *arch = m->arch ? m->arch->name : m->cfg.arch ? m->cfg.arch : "x86_64";

    for (const Board *b = board_next(NULL); b; b = board_next(b)) {
        MachineInfo *i;

        if (b->arch && !board_has_arch(b, arch))
            continue;
        i = list_add(ret, &machine_type);
        i->name = xstrdup(b->name);
        i->alias = xstrdup(b->alias);
        i->is_default = i->has_is_default = b == board_find(NULL, arch);
        i->cpu_max = MAX(b->max_cpus, 1u);
        if (b->features & BOARD_MEMORY_BACKEND)
            i->ram = xstrdup("pc.ram");
        if (b->default_cpu)
            i->cpu = xasprintf("%s-%s-cpu", b->default_cpu, arch);
    }
    return true;
}
COMMAND(query_machines, .name = "query-machines", .ret = &machines_type, .run = query_machines,
        .flags = COMMAND_PRECONFIG, .doc = "The machines of -machine.")

/* --- options --- */

static const char *const parameter_names[] = {"string", "boolean", "number", "size", NULL};
static ENUM_TYPE(parameter_kind, CommandLineParameterType, parameter_names);
typedef struct ParameterInfo {
    char *name, *help, *def;
    uint32_t type;
} ParameterInfo;
static const Field parameter_fields[] = {
    ARG(ParameterInfo, name, "name", "of the parameter"),
    ARG_TYPE(ParameterInfo, type, "type", &parameter_kind, "what it takes"),
    ARG_STR_OPT(ParameterInfo, help, "help", "what it is for"),
    ARG_STR_OPT(ParameterInfo, def, "default", "if it is not given"),
};
static STRUCT_TYPE(parameter_type, ParameterInfo, parameter_fields);
static LIST_TYPE(parameters_type, &parameter_type);
typedef struct OptionInfo {
    char *option;
    List parameters;
} OptionInfo;
static const Field option_fields[] = {
    ARG(OptionInfo, option, "option", "without its dash"),
    ARG_TYPE(OptionInfo, parameters, "parameters", &parameters_type, "what it takes"),
};
static STRUCT_TYPE(option_type, OptionInfo, option_fields);
static LIST_TYPE(options_type, &option_type);

typedef struct OptionName {
    char *option;
} OptionName;
static const Field option_name_fields[] = {
    ARG_STR_OPT(OptionName, option, "option", "only this one")};
static STRUCT_TYPE(option_name_type, OptionName, option_name_fields);

static void keep_only(List *l, const char *option)
{
    OptionInfo *all = l->p;
    unsigned n = 0;

    for (unsigned i = 0; i < l->n; i++) {
        if (strcmp(all[i].option, option))
            reflect_free(&option_type, &all[i]);
        else
            all[n++] = all[i];
    }
    l->n = n;
}

COMMAND_FN(query_command_line_options)
{
    CommandLineFn *describe = command_line_describer();
    const char *only = ((OptionName *)args)->option;
    json_t *j = describe ? describe() : json_array();
    bool ok = reflect_value_from_json(&options_type, "options", ret, j, FIELD_ARG, err);

    json_decref(j);
    if (ok && only) {
        keep_only(ret, only);
        ok = ((List *)ret)->n || error_set(err, "invalid option name: %s", only);
    }
    return ok;
}
COMMAND(query_command_line_options, .name = "query-command-line-options", .args = &option_name_type,
        .ret = &options_type, .run = query_command_line_options, .flags = COMMAND_PRECONFIG,
        .doc = "What the command line takes.")
