/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu_cmds - processors and their models (QEMU 7.2, qapi/machine.json, machine-target.json) */
#include "base/alloc.h"
#include "core/command.h"
#include "core/machine.h"
#include "monitor/qom.h"

/* --- processors --- */

typedef struct CpuPlace {
    int64_t node, socket, die, core, thread;
    bool has_node, has_die;
} CpuPlace;
static const Field place_fields[] = {
    ARG_OPT(CpuPlace, node, "node-id", "NUMA node it belongs to"),
    ARG(CpuPlace, socket, "socket-id", "socket"),
    ARG_OPT(CpuPlace, die, "die-id", "die in its socket"),
    ARG(CpuPlace, core, "core-id", "core in its die"),
    ARG(CpuPlace, thread, "thread-id", "thread in its core"),
};
static STRUCT_TYPE(place_type, CpuPlace, place_fields);

/* Threads are next to each other, then cores, dies, sockets. */
static CpuPlace cpu_place(const Machine *m, unsigned index)
{
    unsigned threads = MAX(m->cfg.threads, 1u), cores = MAX(m->cfg.cores, 1u),
             dies = MAX(m->cfg.dies, 1u);

    unsigned node = 0;

    while (node < m->cfg.n_numa && !(m->cfg.numa[node].cpus[index / 64 & 3] >> (index % 64) & 1))
        node++;
    return (CpuPlace){
        .node = node,
        .has_node = node<m->cfg.n_numa, .thread = index % threads, .core = index / threads % cores,
                         .die = index / threads / cores % dies, .has_die = dies> 1,
        .socket = index / threads / cores / dies};
}

typedef struct CpuInfo {
    int64_t index, tid;
    char *path, *target;
    CpuPlace place;
} CpuInfo;
static const Field cpu_fields[] = {
    ARG(CpuInfo, index, "cpu-index", "its number"),
    ARG(CpuInfo, path, "qom-path", "for qom-list"),
    ARG(CpuInfo, tid, "thread-id", "the host's thread that runs it"),
    ARG_TYPE(CpuInfo, place, "props", &place_type, "where it is"),
    ARG(CpuInfo, target, "target", "its architecture"),
};
static STRUCT_TYPE(cpu_type, CpuInfo, cpu_fields);
static LIST_TYPE(cpus_type, &cpu_type);

COMMAND_FN(query_cpus_fast)
{
    for (unsigned i = 0; i < m->n_cpus; i++)
        *(CpuInfo *)list_add(ret, &cpu_type) = (CpuInfo){
            .index = i,
            .tid = m->cpus[i]->host_tid,
            .path = qom_cpu_path(i),
            .target = xstrdup(m->arch->name),
            .place = cpu_place(m, i),
        };
    return true;
}
COMMAND(query_cpus_fast, .name = "query-cpus-fast", .ret = &cpus_type, .run = query_cpus_fast,
        .doc = "The processors, without disturbing them.")

typedef struct Slot {
    char *type, *path;
    int64_t count;
    CpuPlace place;
} Slot;
static const Field slot_fields[] = {
    ARG(Slot, type, "type", "what can be there"),
    ARG(Slot, count, "vcpus-count", "processors of the slot"),
    ARG_TYPE(Slot, place, "props", &place_type, "where it is"),
    ARG_STR_OPT(Slot, path, "qom-path", "of what is there"),
};
static STRUCT_TYPE(slot_type, Slot, slot_fields);
static LIST_TYPE(slots_type, &slot_type);

COMMAND_FN(query_hotpluggable_cpus)
{
    if (!m->arch || !m->cfg.cpu_model)
        return error_set(err, "machine does not support hot-plugging CPUs");
    for (unsigned i = m->cfg.max_cpus; i-- > 0;) /* as QEMU does: the last first */
        *(Slot *)list_add(ret, &slot_type) = (Slot){
            .type = qom_cpu_type(m),
            .count = 1,
            .path = i < m->n_cpus ? qom_cpu_path(i) : NULL,
            .place = cpu_place(m, i),
        };
    return true;
}
COMMAND(query_hotpluggable_cpus, .name = "query-hotpluggable-cpus", .ret = &slots_type,
        .run = query_hotpluggable_cpus, .doc = "Places for processors, and who is there.")

/* --- models --- */

typedef struct Definition {
    char *name, *typename;
    List unavailable;
    bool is_static, migration_safe, deprecated;
} Definition;
static const Field definition_fields[] = {
    ARG(Definition, name, "name", "for -cpu"),
    ARG(Definition, migration_safe, "migration-safe", "means the same everywhere"),
    ARG(Definition, is_static, "static", "and in every version"),
    ARG_TYPE(Definition, unavailable, "unavailable-features", &type_str_list,
             "what it has that cannot be had here"),
    ARG(Definition, typename, "typename", "for device_add"),
    ARG(Definition, deprecated, "deprecated", "will go away"),
};
static STRUCT_TYPE(definition_type, Definition, definition_fields);
static LIST_TYPE(definitions_type, &definition_type);

static void definition_fill(Definition *d, const CpuArch *a, const char *name)
{
    json_t *missing = a->models->missing(name), *s;
    size_t i;

    d->name = xstrdup(name);
    d->typename = xasprintf("%s-%s-cpu", name, a->name);
    d->migration_safe = strcmp(name, "max") && strcmp(name, "host");
    json_array_foreach (missing, i, s)
        *(char **)list_add(&d->unavailable, &type_str) = xstrdup(json_string_value(s));
    json_decref(missing);
}

/* Of the machine, or where it has no processors of what it was asked to be. */
static const CpuArch *machine_arch(const Machine *m)
{
    return m->arch ? m->arch : cpu_arch_find(m->cfg.arch ? m->cfg.arch : "x86_64");
}

COMMAND_FN(query_cpu_definitions)
{
    const CpuArch *a = machine_arch(m);
    const char *name;

    for (unsigned i = 0; a && a->models && (name = a->models->name(i)); i++)
        definition_fill(list_add(ret, &definition_type), a, name);
    return true;
}
COMMAND(query_cpu_definitions, .name = "query-cpu-definitions", .ret = &definitions_type,
        .run = query_cpu_definitions, .doc = "The models of -cpu.")

typedef struct ModelInfo {
    char *name;
    json_t *props;
} ModelInfo;
static const Field model_fields[] = {
    ARG(ModelInfo, name, "name", "of the model"),
    ARG_ANY_OPT(ModelInfo, props, "props", "features and more by name"),
};
static STRUCT_TYPE(model_type, ModelInfo, model_fields);
static const char *const expansion_names[] = {"static", "full", NULL};
static ENUM_TYPE(expansion_type, CpuModelExpansionType, expansion_names);
typedef struct Expand {
    uint32_t type;
    ModelInfo model;
} Expand;
static const Field expand_fields[] = {
    ARG_TYPE(Expand, type, "type", &expansion_type, "how much to tell: all, either way"),
    ARG_TYPE(Expand, model, "model", &model_type, "a model, with changes"),
};
static STRUCT_TYPE(expand_type, Expand, expand_fields);
typedef struct Expanded {
    ModelInfo model;
} Expanded;
static const Field expanded_fields[] = {
    ARG_TYPE(Expanded, model, "model", &model_type, "the same with everything spelled out")};
static STRUCT_TYPE(expanded_type, Expanded, expanded_fields);

/* -cpu text; false: a property is neither bool, number nor text. */
static bool model_text(const ModelInfo *i, StrBuf *out, Error *err)
{
    const char *key;
    json_t *value;

    strbuf_add(out, i->name);
    json_object_foreach (i->props, key, value) {
        if (strchr(key, ',') || (json_is_string(value) && strchr(json_string_value(value), ',')))
            return error_set(err, "Property '%s' holds a comma", key);
        if (json_is_boolean(value))
            strbuf_addf(out, ",%s=%s", key, json_is_true(value) ? "on" : "off");
        else if (json_is_integer(value))
            strbuf_addf(out, ",%s=%" JSON_INTEGER_FORMAT, key, json_integer_value(value));
        else if (json_is_string(value))
            strbuf_addf(out, ",%s=%s", key, json_string_value(value));
        else
            return error_set(err, "Invalid parameter type for '%s', expected: boolean", key);
    }
    return true;
}

static bool model_is_known(const CpuArch *a, const char *name)
{
    const char *known;

    for (unsigned i = 0; a && a->models && (known = a->models->name(i)); i++)
        if (!strcmp(known, name))
            return true;
    return false;
}

COMMAND_FN(query_cpu_model_expansion)
{
    const CpuArch *a = machine_arch(m);
    const ModelInfo *asked = &((Expand *)args)->model;
    ModelInfo *answer = &((Expanded *)ret)->model;
    StrBuf text = {0};

    if (!model_is_known(a, asked->name))
        return error_set(err, "CPU model '%s' not found", asked->name);
    if (asked->props && !json_is_object(asked->props))
        return error_set(err, "Invalid parameter type for 'model.props', expected: object");
    if (model_text(asked, &text, err))
        answer->props = a->models->features(strbuf_str(&text), err);
    strbuf_free(&text);
    if (!answer->props)
        return false;
    answer->name = xstrdup(asked->name);
    return true;
}
COMMAND(query_cpu_model_expansion, .name = "query-cpu-model-expansion", .args = &expand_type,
        .ret = &expanded_type, .run = query_cpu_model_expansion,
        .doc = "All that a model means here, property by property.")
