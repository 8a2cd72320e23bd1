/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * schema - query-qmp-schema and query-commands: the tables of commands and events as
 * introspection (QEMU 7.2,
 * docs/devel/qapi-code-gen, "Client JSON Protocol introspection"; qapi/introspect.json)
 *
 * Types are numbered in the order in which the walk meets them; builtin types keep their names,
 * and a list of
 * type X is "[X]".
 */
#include <stdio.h>

#include "base/alloc.h"
#include "core/command.h"

typedef struct Schema {
    json_t *out;        /* entries */
    const Type **types; /* those that are numbered; the number is the index */
    unsigned n;
} Schema;

enum { NAME_MAX_ = 64 };

static void type_name(Schema *s, const Type *t, char *name);

/* --- entries --- */

static json_t *entry(const char *name, const char *meta)
{
    return json_pack("{s:s, s:s}", "name", name, "meta-type", meta);
}

static bool entry_exists(const Schema *s, const char *name)
{
    size_t i;
    json_t *e;

    json_array_foreach (s->out, i, e) {
        if (!strcmp(json_string_value(json_object_get(e, "name")), name))
            return true;
    }
    return false;
}

static json_t *features_json(const char *features)
{
    json_t *list = json_array();

    while (*features) {
        size_t n = strcspn(features, " ");

        json_array_append_new(list, json_stringn(features, n));
        features += n + strspn(features + n, " ");
    }
    return list;
}

/* --- members --- */

static void members_add(Schema *s, json_t *list, const Type *t)
{
    for (unsigned i = 0; t && i < t->n_fields; i++) {
        const Field *f = &t->fields[i];
        char name[NAME_MAX_];
        json_t *m;

        if (!(f->use & (FIELD_ARG | FIELD_PROP)))
            continue;
        type_name(s, f->type, name);
        m = json_pack("{s:s, s:s}", "name", f->name, "type", name);
        if (!(f->flags & FIELD_REQUIRED))
            json_object_set_new(m, "default", json_null());
        json_array_append_new(list, m);
    }
}

static void describe_struct(Schema *s, json_t *e, const Type *t)
{
    json_t *members = json_array();

    json_object_set_new(e, "members", members);
    members_add(s, members, t);
}

static void describe_enum(json_t *e, const Type *t)
{
    json_t *values = json_array(), *members = json_array();

    for (unsigned i = 0; t->names[i]; i++) {
        json_array_append_new(values, json_string(t->names[i]));
        json_array_append_new(members, json_pack("{s:s}", "name", t->names[i]));
    }
    json_object_set_new(e, "values", values);
    json_object_set_new(e, "members", members);
}

static void describe_alternate(Schema *s, json_t *e, const Type *t)
{
    json_t *members = json_array();

    json_object_set_new(e, "members", members);
    for (const Type *const *c = t->choices; *c; c++) {
        char name[NAME_MAX_];

        type_name(s, *c, name);
        json_array_append_new(members, json_pack("{s:s}", "type", name));
    }
}

/* The tag as an enum of what the variants are called. */
static void tag_describe(Schema *s, const Type *t, const char *name)
{
    json_t *e = entry(name, "enum"), *values = json_array(), *members = json_array();
    Variant v;

    for (unsigned i = 0; t->variant(i, &v); i++) {
        json_array_append_new(values, json_string(v.tag));
        json_array_append_new(members, json_pack("{s:s}", "name", v.tag));
    }
    json_object_set_new(e, "values", values);
    json_object_set_new(e, "members", members);
    json_array_append_new(s->out, e);
}

/* An object with no members of its own. */
static const Type no_members = {.name = "empty", .meta = META_STRUCT};

static void describe_union(Schema *s, json_t *e, const Type *t, const char *own)
{
    json_t *members = json_array(), *variants = json_array(), *m;
    char name[NAME_MAX_];
    size_t i;
    Variant v;

    json_object_set_new(e, "members", members);
    members_add(s, members, t->elem);
    snprintf(name, sizeof name, "%s-tag", own);
    tag_describe(s, t, name);
    json_array_foreach (members, i, m) {
        if (!strcmp(json_string_value(json_object_get(m, "name")), t->tag))
            json_object_set_new(m, "type", json_string(name));
    }
    json_object_set_new(e, "tag", json_string(t->tag));
    json_object_set_new(e, "variants", variants);
    for (unsigned k = 0; t->variant(k, &v); k++) {
        type_name(s, v.type ? v.type : &no_members, name);
        json_array_append_new(variants, json_pack("{s:s, s:s}", "case", v.tag, "type", name));
    }
}

/* --- types --- */

static const char *builtin_kind(const Type *t, const char **json_type)
{
    switch (t->meta) {
    case META_BOOL: return *json_type = "boolean", "bool";
    case META_UINT:
    case META_INT:
    case META_SIZE: return *json_type = "int", "int";
    case META_REAL: return *json_type = "number", "number";
    case META_STR:
    case META_LINK: return *json_type = "string", "str";
    case META_NULL: return *json_type = "null", "null";
    case META_ANY: return *json_type = "value", "any";
    default: return NULL;
    }
}

static void list_name(Schema *s, const Type *t, char *name)
{
    char elem[NAME_MAX_];
    json_t *e;

    type_name(s, t->elem, elem);
    snprintf(name, NAME_MAX_, "[%.*s]", NAME_MAX_ - 3, elem);
    if (entry_exists(s, name))
        return;
    e = entry(name, "array");
    json_object_set_new(e, "element-type", json_string(elem));
    json_array_append_new(s->out, e);
}

static void type_describe(Schema *s, const Type *t, const char *name)
{
    static const char *const metas[] = {
        [META_ENUM] = "enum",
        [META_STRUCT] = "object",
        [META_UNION] = "object",
        [META_ALTERNATE] = "alternate",
    };
    json_t *e = entry(name, metas[t->meta]);

    json_array_append_new(s->out, e);
    if (t->meta == META_ENUM)
        describe_enum(e, t);
    else if (t->meta == META_ALTERNATE)
        describe_alternate(s, e, t);
    else if (t->meta == META_UNION)
        describe_union(s, e, t, name);
    else
        describe_struct(s, e, t);
}

/* What the schema calls @t, which it describes if it did not yet. */
static void type_name(Schema *s, const Type *t, char *name)
{
    const char *json_type, *builtin = builtin_kind(t, &json_type);
    unsigned i = 0;

    if (builtin) {
        snprintf(name, NAME_MAX_, "%s", builtin);
        if (!entry_exists(s, name)) {
            json_t *e = entry(name, "builtin");

            json_object_set_new(e, "json-type", json_string(json_type));
            json_array_append_new(s->out, e);
        }
        return;
    }
    if (t->meta == META_BOX) {
        type_name(s, t->elem, name);
        return;
    }
    if (t->meta == META_LIST) {
        list_name(s, t, name);
        return;
    }
    while (i < s->n && s->types[i] != t)
        i++;
    snprintf(name, NAME_MAX_, "%u", i);
    if (i == s->n) {
        s->types = xrealloc(s->types, (s->n + 1) * sizeof(Type *));
        s->types[s->n++] = t;
        type_describe(s, t, name);
    }
}

/* --- commands --- */

static void command_describe(Schema *s, const Command *c)
{
    json_t *e = entry(c->name, "command");
    char name[NAME_MAX_];

    type_name(s, c->args ? c->args : &no_members, name);
    json_object_set_new(e, "arg-type", json_string(name));
    type_name(s, c->ret ? c->ret : &no_members, name);
    json_object_set_new(e, "ret-type", json_string(name));
    if (c->flags & COMMAND_OOB)
        json_object_set_new(e, "allow-oob", json_true());
    if (c->features)
        json_object_set_new(e, "features", features_json(c->features));
    json_array_append_new(s->out, e);
}

static void event_describe(Schema *s, const Event *ev)
{
    json_t *e = entry(ev->name, "event");
    char name[NAME_MAX_];

    type_name(s, ev->data ? ev->data : &no_members, name);
    json_object_set_new(e, "arg-type", json_string(name));
    json_array_append_new(s->out, e);
}

static LIST_TYPE(entries_type, &type_any);

COMMAND_FN(query_qmp_schema)
{
    json_t *e;
    size_t i;

    Schema s = {.out = json_array()};

    for (const Command *c = command_next(NULL); c; c = command_next(c))
        command_describe(&s, c);
    for (const Event *e = event_next(NULL); e; e = event_next(e))
        event_describe(&s, e);
    json_array_foreach (s.out, i, e)
        *(json_t **)list_add(ret, &type_any) = json_incref(e);
    json_decref(s.out);
    xfree(s.types);
    return true;
}

COMMAND(query_qmp_schema, .name = "query-qmp-schema", .ret = &entries_type, .run = query_qmp_schema,
        .flags = COMMAND_PRECONFIG,
        .doc = "Every command, event and type, for clients to look into.")

/* --- query-commands --- */

typedef struct CommandName {
    char *name;
} CommandName;
static const Field command_name_fields[] = {ARG(CommandName, name, "name", "of the command")};
static STRUCT_TYPE(command_name_type, CommandName, command_name_fields);
static LIST_TYPE(command_names_type, &command_name_type);

COMMAND_FN(query_commands)
{
    for (const Command *c = command_next(NULL); c; c = command_next(c))
        ((CommandName *)list_add(ret, &command_name_type))->name = xstrdup(c->name);
    return true;
}
COMMAND(query_commands, .name = "query-commands", .ret = &command_names_type, .run = query_commands,
        .flags = COMMAND_PRECONFIG, .doc = "The names of all commands.")
