/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qom_cmds - qom-list, qom-get, qom-set and what types and properties there are (QEMU 7.2,
 * qapi/qom.json, qdev.json) */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "core/command.h"
#include "core/hotplug.h"
#include "monitor/qom.h"

/* --- properties of classes --- */

typedef struct QomProperty {
    char *name, *type, *doc;
    json_t *def;
} QomProperty;
static const Field property_fields[] = {
    ARG(QomProperty, name, "name", "of the property"),
    ARG(QomProperty, type, "type", "bool, uint32, str ..., child<type>, link<type>"),
    ARG_STR_OPT(QomProperty, doc, "description", "what it is for"),
    ARG_ANY_OPT(QomProperty, def, "default-value", "if it is not given"),
};
static STRUCT_TYPE(property_type, QomProperty, property_fields);
static LIST_TYPE(properties_type, &property_type);

static void property_add(List *l, const char *name, const char *type, const char *doc, json_t *def)
{
    QomProperty *p = list_add(l, &property_type);

    *p = (QomProperty){
        .name = xstrdup(name), .type = xstrdup(type), .doc = xstrdup(doc), .def = def};
}

static const char *field_type_name(const Field *f)
{
    return f->type->meta == META_LINK ? "str" : f->type->name;
}

static void fields_add(List *l, const Type *t)
{
    json_t *schema = t ? reflect_schema(t, FIELD_PROP) : json_array(), *j;
    size_t i;

    json_array_foreach (schema, i, j) {
        const char *name = json_string_value(json_object_get(j, "name"));
        const Field *f = reflect_find(t, name, FIELD_PROP);

        property_add(l, name, field_type_name(f), f->doc,
                     json_incref(json_object_get(j, "default-value")));
    }
    json_decref(schema);
}

static void computed_add(List *l, const DeviceProp *p)
{
    for (; p && p->name; p++)
        property_add(l, p->name, p->type, p->doc, NULL);
}

static void features_add(List *l, const CpuArch *a, const char *text)
{
    json_t *features = a && a->models ? a->models->features(text, NULL) : NULL, *value;
    const char *key;

    property_add(l, "unavailable-features", "strList", NULL, NULL);
    json_object_foreach (features, key, value)
        property_add(l, key,
                     json_is_boolean(value)   ? "bool"
                     : json_is_integer(value) ? "int"
                                              : "string",
                     NULL, NULL);
    json_decref(features);
}

/* --- types --- */

typedef struct QomClass { /* one of these is not NULL, or it is a kind only */
    const DeviceClass *device;
    const ObjectClass *object;
    const Board *board;
    const CpuArch *arch; /* with model */
    const char *model;
} QomClass;

/* Kinds whose parent is not plainly "object". */
static const char *const kinds[][2] = {
    {"device", "object"},      {"cpu", "device"},           {"x86_64-cpu", "cpu"},
    {"i386-cpu", "cpu"},       {"isa-device", "device"},    {"sys-device", "device"},
    {"pci-device", "device"},  {"virtio-device", "device"}, {"usb-device", "device"},
    {"scsi-device", "device"}, {"ide-device", "device"},    {"machine", "object"},
    {"accel", "object"},       {"container", "object"},
};

/* Whether each arch and its models are there is asked of the registry; these are QEMU's names of
 * them. */
static const char *const arch_names[] = {"x86_64", "i386"};

typedef void TypeFn(void *arg, const char *name, const char *parent, const QomClass *c);

static void each_cpu_type(TypeFn *fn, void *arg)
{
    for (unsigned i = 0; i < COUNT_OF(arch_names); i++) {
        const CpuArch *a = cpu_arch_find(arch_names[i]);
        AUTO_FREE char *parent = xasprintf("%s-cpu", arch_names[i]);
        const char *model;

        for (unsigned k = 0; a && a->models && (model = a->models->name(k)); k++) {
            AUTO_FREE char *name = xasprintf("%s-%s-cpu", model, a->name);

            fn(arg, name, parent, &(QomClass){.arch = a, .model = model});
        }
    }
}

static void each_accel_type(TypeFn *fn, void *arg)
{
    static const char *const names[] = {"tcg", "kvm"};

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        AUTO_FREE char *name = xasprintf("%s-accel", names[i]);

        if (accel_find(names[i]))
            fn(arg, name, "accel", &(QomClass){0});
    }
}

/* Every type that can be made. */
static void each_type(TypeFn *fn, void *arg)
{
    for (const DeviceClass *d = device_class_next(NULL); d; d = device_class_next(d))
        fn(arg, d->name, d->parent ? d->parent : "device", &(QomClass){.device = d});
    for (const ObjectClass *o = object_class_next(NULL); o; o = object_class_next(o))
        fn(arg, o->name, o->parent ? o->parent : "object", &(QomClass){.object = o});
    for (const Board *b = board_next(NULL); b; b = board_next(b)) {
        AUTO_FREE char *name = xasprintf("%s-machine", b->name);

        fn(arg, name, "machine", &(QomClass){.board = b});
    }
    each_cpu_type(fn, arg);
    each_accel_type(fn, arg);
}

static const char *kind_parent(const char *kind)
{
    for (unsigned i = 0; i < COUNT_OF(kinds); i++)
        if (!strcmp(kinds[i][0], kind))
            return kinds[i][1];
    return strcmp(kind, "object") ? "object" : NULL;
}

static bool kind_is(const char *kind, const char *wanted)
{
    while (kind && strcmp(kind, wanted))
        kind = kind_parent(kind);
    return kind != NULL;
}

typedef struct TypeInfo {
    char *name, *parent;
    bool abstract, has_abstract;
} TypeInfo;
static const Field type_fields[] = {
    ARG(TypeInfo, name, "name", "of the type"),
    ARG_OPT(TypeInfo, abstract, "abstract", "it is only a kind of types"),
    ARG_STR_OPT(TypeInfo, parent, "parent", "what it is a kind of"),
};
static STRUCT_TYPE(type_type, TypeInfo, type_fields);
static LIST_TYPE(types_type, &type_type);

typedef struct ListTypes {
    char *implements;
    bool abstract, has_abstract;
} ListTypes;
static const Field list_types_fields[] = {
    ARG_STR_OPT(ListTypes, implements, "implements", "only types that are of this kind"),
    ARG_OPT(ListTypes, abstract, "abstract", "also kinds of types"),
};
static STRUCT_TYPE(list_types_type, ListTypes, list_types_fields);

typedef struct TypeWalk {
    const ListTypes *asked;
    List *list;
} TypeWalk;

static void type_add(void *arg, const char *name, const char *parent, const QomClass *c)
{
    const TypeWalk *w = arg;
    const char *wanted = w->asked->implements;

    (void)c;
    if (!wanted || !strcmp(name, wanted) || kind_is(parent, wanted))
        *(TypeInfo *)list_add(w->list, &type_type) =
            (TypeInfo){.name = xstrdup(name), .parent = xstrdup(parent)};
}

COMMAND_FN(qom_list_types)
{
    TypeWalk w = {args, ret};

    each_type(type_add, &w);
    for (unsigned i = 0; w.asked->abstract && i < COUNT_OF(kinds); i++)
        if (!w.asked->implements || kind_is(kinds[i][0], w.asked->implements))
            *(TypeInfo *)list_add(ret, &type_type) = (TypeInfo){.name = xstrdup(kinds[i][0]),
                                                                .parent = xstrdup(kinds[i][1]),
                                                                .abstract = true,
                                                                .has_abstract = true};
    return true;
}
COMMAND(qom_list_types, .name = "qom-list-types", .args = &list_types_type, .ret = &types_type,
        .run = qom_list_types, .flags = COMMAND_PRECONFIG,
        .doc = "All types: devices, objects, machines, processors, accelerators.")

/* --- properties of types --- */

typedef struct TypeSearch {
    const char *name;
    bool found;
    QomClass c;
} TypeSearch;

static void type_compare(void *arg, const char *name, const char *parent, const QomClass *c)
{
    TypeSearch *s = arg;

    (void)parent;
    if (!strcmp(name, s->name) ||
        (c->device && c->device->alias && !strcmp(c->device->alias, s->name))) {
        s->found = true;
        s->c = *c;
    }
}

static bool class_find(const char *name, QomClass *c, Error *err)
{
    TypeSearch s = {.name = name};

    each_type(type_compare, &s);
    *c = s.c;
    return s.found || error_set_class(err, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
}

static void class_properties(const QomClass *c, List *l)
{
    if (c->device) {
        fields_add(l, c->device->type);
        computed_add(l, c->device->props);
    } else if (c->object) {
        fields_add(l, c->object->type);
    } else if (c->board) {
        fields_add(l, c->board->options);
    } else if (c->arch) {
        features_add(l, c->arch, c->model);
    }
}

typedef struct TypeName {
    char *name;
} TypeName;
static const Field type_name_fields[] = {ARG(TypeName, name, "typename", "of the type")};
static STRUCT_TYPE(type_name_type, TypeName, type_name_fields);

COMMAND_FN(device_list_properties)
{
    const char *name = ((TypeName *)args)->name;
    QomClass c;

    if (!class_find(name, &c, err))
        return false;
    if (!c.device && !c.arch)
        return error_set(err, "Parameter 'typename' expects a device type");
    class_properties(&c, ret);
    return true;
}
COMMAND(device_list_properties, .name = "device-list-properties", .args = &type_name_type,
        .ret = &properties_type, .run = device_list_properties, .flags = COMMAND_PRECONFIG,
        .doc = "The properties of a kind of device.")

COMMAND_FN(qom_list_properties)
{
    QomClass c;

    if (!class_find(((TypeName *)args)->name, &c, err))
        return false;
    property_add(ret, "type", "string", NULL, NULL);
    class_properties(&c, ret);
    return true;
}
COMMAND(qom_list_properties, .name = "qom-list-properties", .args = &type_name_type,
        .ret = &properties_type, .run = qom_list_properties, .flags = COMMAND_PRECONFIG,
        .doc = "The properties of a type.")

/* --- properties of what is there --- */

/* What the node's own fields are of: its struct and where that is. */
static const Type *node_fields(const Machine *m, QomNode n, const void **obj)
{
    switch (n.kind) {
    case QOM_MACHINE: *obj = m->board_state; return m->board->options;
    case QOM_DEVICE: *obj = n.device; return n.device->cls->type;
    case QOM_OBJECT: *obj = n.object; return n.object->cls->type;
    default: return NULL;
    }
}

typedef struct ChildWalk {
    Machine *m;
    List *list;         /* qom-list */
    const char *wanted; /* qom-get */
    bool found;
} ChildWalk;

static void child_visit(void *arg, const char *name, QomNode child)
{
    ChildWalk *w = arg;
    AUTO_FREE char *type = qom_type(w->m, child), *shown = xasprintf("child<%s>", type);

    if (w->list)
        property_add(w->list, name, shown, NULL, NULL);
    else
        w->found |= !strcmp(name, w->wanted);
}

typedef struct Path {
    char *path, *property;
    json_t *value;
} Path;
static const Field list_fields[] = {ARG(Path, path, "path", "from the root, or an id")};
static STRUCT_TYPE(list_type, Path, list_fields);
static const Field get_fields[] = {
    ARG(Path, path, "path", "from the root, or an id"),
    ARG(Path, property, "property", "its name"),
};
static STRUCT_TYPE(get_type, Path, get_fields);
static const Field set_fields[] = {
    ARG(Path, path, "path", "from the root, or an id"),
    ARG(Path, property, "property", "its name"),
    ARG_ANY(Path, value, "value", "what it is to be"),
};
static STRUCT_TYPE(set_type, Path, set_fields);

COMMAND_FN(qom_list)
{
    const void *obj;
    QomNode n;

    if (!qom_find(m, ((Path *)args)->path, &n, err))
        return false;
    property_add(ret, "type", "string", NULL, NULL);
    fields_add(ret, node_fields(m, n, &obj));
    if (n.kind == QOM_DEVICE) {
        computed_add(ret, n.device->cls->props);
        property_add(ret, "realized", "bool", NULL, NULL);
    }
    if (n.kind == QOM_CPU)
        features_add(ret, m->arch, m->cfg.cpu_model);
    qom_children(m, n, child_visit, &(ChildWalk){.m = m, .list = ret});
    return true;
}
COMMAND(qom_list, .name = "qom-list", .args = &list_type, .ret = &properties_type, .run = qom_list,
        .flags = COMMAND_PRECONFIG, .doc = "The properties and children of something.")

static json_t *field_value(const Field *f, const void *obj)
{
    json_t *j;

    if (f->count > 1) {
        AUTO_FREE char *text = reflect_get(f, obj);

        return json_string(text);
    }
    j = reflect_value_to_json(f->type, (const char *)obj + f->at, FIELD_PROP);
    if (!json_is_null(j))
        return j;
    json_decref(j);
    return json_string("");
}

static const DeviceProp *computed_find(const Device *d, const char *name)
{
    for (const DeviceProp *p = d->cls->props; p && p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

static json_t *computed_get(Device *d, const DeviceProp *p, Error *err)
{
    json_t *j = NULL;

    if (!p->get) {
        error_set(err, "Property '%s.%s' is not readable", d->cls->name, p->name);
        return NULL;
    }
    WITH_LOCK (d->lock)
        j = p->get(d, err);
    return j;
}

static json_t *cpu_value(const Machine *m, const char *property, Error *err)
{
    const CpuModels *models = m->arch->models;
    json_t *features, *j;

    if (!models)
        return NULL;
    if (!strcmp(property, "unavailable-features")) {
        const char *text = m->cfg.cpu_model;
        AUTO_FREE char *name = xasprintf("%.*s", (int)strcspn(text, ","), text);

        return models->missing(name);
    }
    features = models->features(m->cfg.cpu_model, err);
    j = json_incref(json_object_get(features, property));
    json_decref(features);
    return j;
}

/* NULL: there is none, or @err says why not. */
static json_t *node_value(Machine *m, QomNode n, const Path *p, Error *err)
{
    const void *obj = NULL;
    const Type *t = node_fields(m, n, &obj);
    const Field *f = t ? reflect_find(t, p->property, FIELD_PROP) : NULL;
    ChildWalk w = {.m = m, .wanted = p->property};

    if (!strcmp(p->property, "type")) {
        AUTO_FREE char *type = qom_type(m, n);

        return json_string(type);
    }
    if (f)
        return field_value(f, obj);
    if (n.kind == QOM_DEVICE && computed_find(n.device, p->property))
        return computed_get(n.device, computed_find(n.device, p->property), err);
    if (n.kind == QOM_DEVICE && !strcmp(p->property, "realized"))
        return json_boolean(n.device->realized);
    if (n.kind == QOM_CPU)
        return cpu_value(m, p->property, err);
    qom_children(m, n, child_visit, &w);
    if (w.found) {
        AUTO_FREE char *path =
            xasprintf("%s%s%s", p->path, strcmp(p->path, "/") ? "/" : "", p->property);

        return json_string(path);
    }
    return NULL;
}

static bool no_property(const Machine *m, QomNode n, const char *name, const char *what, Error *err)
{
    AUTO_FREE char *type = qom_type(m, n);

    return error_set(err, "Property '%s.%s' %s", type, name, what);
}

COMMAND_FN(qom_get)
{
    const Path *p = args;
    Error why = {0};
    QomNode n;

    if (!qom_find(m, p->path, &n, err))
        return false;
    *(json_t **)ret = node_value(m, n, p, &why);
    if (*(json_t **)ret)
        return true;
    if (!why.msg[0])
        return no_property(m, n, p->property, "not found", err);
    return error_set_class(err, why.cls, "%s", why.msg);
}
COMMAND(qom_get, .name = "qom-get", .args = &get_type, .ret = &type_any, .run = qom_get,
        .flags = COMMAND_PRECONFIG, .doc = "The value of a property.")

COMMAND_FN(qom_set)
{
    const Path *p = args;
    const DeviceProp *computed;
    json_t *now;
    bool ok = false;
    QomNode n;

    if (!qom_find(m, p->path, &n, err))
        return false;
    computed = n.kind == QOM_DEVICE ? computed_find(n.device, p->property) : NULL;
    if (computed && computed->set) {
        WITH_LOCK (n.device->lock)
            ok = computed->set(n.device, p->value, err);
        return ok;
    }
    if (n.kind == QOM_DEVICE && n.device->cls->type &&
        reflect_find(n.device->cls->type, p->property, FIELD_PROP))
        return device_set_json(n.device, p->property, p->value, err);
    now = node_value(m, n, p, NULL);
    json_decref(now);
    return no_property(m, n, p->property, now || computed ? "is not writable" : "not found", err);
}
COMMAND(qom_set, .name = "qom-set", .args = &set_type, .run = qom_set, .flags = COMMAND_PRECONFIG,
        .doc = "Set a property that can be set now.")
