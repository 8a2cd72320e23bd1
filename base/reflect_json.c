/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reflect_json - described structs from and to JSON, and their schema
 *
 * JSON integers are signed 64 bits (jansson): larger unsigned values are written as "0x..." text,
 * which is
 * taken for any number.
 */
#include <stdio.h>

#include "base/bytes.h"
#include "base/opts.h"
#include "base/reflect.h"
#include "base/reflect_priv.h"

/* --- from --- */

enum { PATH_MAX_ = 160 }; /* names in messages, cut to fit */

static const char *json_kind(const Type *t)
{
    switch (t->meta) {
    case META_BOOL: return "boolean";
    case META_UINT:
    case META_INT:
    case META_SIZE: return "integer";
    case META_REAL: return "number";
    case META_STR:
    case META_LINK:
    case META_ENUM: return "string";
    case META_LIST: return "array";
    case META_NULL: return "null";
    case META_ANY: return "any value";
    case META_ALTERNATE: return t->name;
    default: return "object";
    }
}

static bool wrong_type(const char *name, const Type *t, Error *err)
{
    return error_set(err, "Invalid parameter type for '%s', expected: %s", name, json_kind(t));
}

static bool json_is_kind(const Type *t, const json_t *j)
{
    switch (t->meta) {
    case META_BOOL: return json_is_boolean(j);
    case META_UINT:
    case META_INT:
    case META_SIZE: return json_is_integer(j);
    case META_REAL: return json_is_number(j);
    case META_STR:
    case META_LINK:
    case META_ENUM: return json_is_string(j);
    case META_LIST: return json_is_array(j);
    case META_NULL: return json_is_null(j);
    case META_ANY: return true;
    case META_ALTERNATE:
        for (const Type *const *c = t->choices; *c; c++)
            if (json_is_kind(*c, j))
                return true;
        return false;
    default: return json_is_object(j);
    }
}

/* Text stands for every scalar in properties; else for enums, and for numbers above 2^63. */
static bool text_from_json(const char *name, const Type *t, void *p, const char *text, uint8_t use,
                           Error *err)
{
    bool is_big = t->meta == META_UINT && strncmp(text, "0x", 2) == 0;
    StrBuf want = {0};

    if (t->meta == META_ENUM || type_is_text(t) || t->meta == META_SIZE || use & FIELD_PROP ||
        is_big) {
        if (value_parse(t, p, text))
            return true;
        if (t->meta == META_ENUM)
            return error_set(err, "Parameter '%s' does not accept value '%s'", name, text);
        if (use & FIELD_PROP && type_is_scalar(t)) {
            type_explain(t, &want);
            error_set(err, "'%s' cannot be '%s': it takes %s", name, text, strbuf_str(&want));
            strbuf_free(&want);
            return false;
        }
    }
    return wrong_type(name, t, err);
}

static bool scalar_from_json(const char *name, const Type *t, void *p, const json_t *j, Error *err)
{
    json_int_t v;

    if (!json_is_kind(t, j))
        return wrong_type(name, t, err);
    if (t->meta == META_REAL) {
        *(double *)p = json_number_value(j);
        return true;
    }
    v = t->meta == META_BOOL ? json_is_true(j) : json_integer_value(j);
    if (!scalar_fits(t, (uint64_t)v, v < 0))
        return error_set(err, "Parameter '%s' expects %s%s", name, t->name,
                         t->meta == META_SIZE ? "" : "_t");
    scalar_put(t, p, (uint64_t)v);
    return true;
}

static bool struct_from_json(const Type *t, const char *path, void *obj, const json_t *j,
                             uint8_t use, Error *err);

static bool list_from_json(const Type *t, const char *name, List *l, const json_t *j, uint8_t use,
                           Error *err)
{
    reflect_value_free(t, l);
    for (size_t i = 0; i < json_array_size(j); i++) {
        char path[PATH_MAX_];
        void *p = list_add(l, t->elem);

        snprintf(path, sizeof path, "%s[%zu]", name, i);
        if (t->elem->meta == META_STRUCT)
            reflect_defaults(t->elem, p, use);
        if (!reflect_value_from_json(t->elem, path, p, json_array_get(j, i), use, err))
            return false;
    }
    return true;
}

bool reflect_variant(const Type *t, const json_t *j, Variant *out, Error *err)
{
    const json_t *tag = json_object_get(j, t->tag);

    if (!tag)
        return error_set(err, "Parameter '%s' is missing", t->tag);
    if (!json_is_string(tag))
        return wrong_type(t->tag, &type_str, err);
    for (unsigned i = 0; t->variant(i, out); i++)
        if (!strcmp(out->tag, json_string_value(tag)))
            return true;
    return error_set(err, "Parameter '%s' does not accept value '%s'", t->tag,
                     json_string_value(tag));
}

/* The tag must be known and the common members there; the rest is for those who know the
 * variant. */
static bool union_from_json(const Type *t, json_t **p, const json_t *j, uint8_t use, Error *err)
{
    Variant v;

    if (!reflect_variant(t, j, &v, err))
        return false;
    FOR_EACH_FIELD(f, t->elem, use)
    {
        if (f->flags & FIELD_REQUIRED && !json_object_get(j, f->name))
            return error_set(err, "Parameter '%s' is missing", f->name);
    }
    json_decref(*p);
    *p = json_incref((json_t *)j);
    return true;
}

static bool box_from_json(const Type *t, const char *name, void **p, const json_t *j, uint8_t use,
                          Error *err)
{
    reflect_value_free(t, p);
    *p = xalloc_aligned(64, t->elem->size);
    if (t->elem->meta == META_STRUCT)
        reflect_defaults(t->elem, *p, use);
    return reflect_value_from_json(t->elem, name, *p, j, use, err);
}

bool reflect_value_from_json(const Type *t, const char *name, void *p, const json_t *j, uint8_t use,
                             Error *err)
{
    if (type_is_text(t)) {
        reflect_value_free(t, p);
        if (json_is_null(j) && use & FIELD_PROP)
            return true;
    }
    if (json_is_string(j) && (type_is_text(t) || type_is_scalar(t)))
        return text_from_json(name, t, p, json_string_value(j), use, err);
    if (type_is_scalar(t))
        return scalar_from_json(name, t, p, j, err);
    if (!json_is_kind(t, j))
        return wrong_type(name, t, err);
    switch (t->meta) {
    case META_STRUCT: return struct_from_json(t, name, p, j, use, err);
    case META_LIST: return list_from_json(t, name, p, j, use, err);
    case META_BOX: return box_from_json(t, name, p, j, use, err);
    case META_UNION: return union_from_json(t, p, j, use, err);
    default:
        json_decref(*(json_t **)p);
        *(json_t **)p = json_incref((json_t *)j);
        return true;
    }
}

static bool field_from_json(const Field *f, const char *name, void *obj, const json_t *j,
                            uint8_t use, Error *err)
{
    bool is_array = f->count > 1;

    if (is_array && (!json_is_array(j) || json_array_size(j) != f->count))
        return error_set(err, "'%s' must be a list of %" PRIu32, name, f->count);
    for (unsigned i = 0; i < f->count; i++) {
        const json_t *value = is_array ? json_array_get(j, i) : j;

        if (!reflect_value_from_json(f->type, name, field_at(f, obj, i), value, use, err))
            return false;
    }
    field_mark_present(f, obj);
    return true;
}

/* Whether @j has a member for @f, under either spelling of its name. */
static bool json_has(const json_t *j, const Field *f)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)j, key, value) {
        if (name_is(key, f->name))
            return true;
    }
    return false;
}

/* @path: the object's own name, "" for the outermost. */
static bool struct_from_json(const Type *t, const char *path, void *obj, const json_t *j,
                             uint8_t use, Error *err)
{
    const char *dot = *path ? "." : "", *key;
    json_t *value;

    json_object_foreach ((json_t *)j, key, value) {
        const Field *f = reflect_find(t, key, use);
        char name[PATH_MAX_];

        snprintf(name, sizeof name, "%s%s%s", path, dot, key);
        if (!f)
            return error_set(err, "Parameter '%s' is unexpected", name);
        if (!field_from_json(f, name, obj, value, use, err))
            return false;
    }
    FOR_EACH_FIELD(f, t, use)
    {
        if (f->flags & FIELD_REQUIRED && !json_has(j, f))
            return error_set(err, "Parameter '%s%s%s' is missing", path, dot, f->name);
    }
    return true;
}

bool reflect_from_json(const Type *t, void *obj, const json_t *j, uint8_t use, Error *err)
{
    if (!json_is_object(j))
        return error_set(err, "expected an object");
    return struct_from_json(t, "", obj, j, use, err);
}

/* --- to --- */

static json_t *scalar_to_json(const Type *t, uint64_t v)
{
    if (t->meta == META_BOOL)
        return json_boolean(v);
    if (t->meta == META_ENUM)
        return json_string(scalar_fits(t, v, false) ? t->names[v] : "?");
    if (t->meta != META_INT && v > INT64_MAX) {
        AUTO_FREE char *big = xasprintf("0x%" PRIx64, v);

        return json_string(big);
    }
    return json_integer((json_int_t)v);
}

/* Texts need not be UTF-8 (file names): what is not is shown by '?'. */
static json_t *text_to_json(const char *s)
{
    json_t *j = json_string(s);
    char *plain;

    if (j)
        return j;
    plain = xstrdup(s);
    for (char *p = plain; *p; p++)
        if (*p & 0x80)
            *p = '?';
    j = json_string(plain);
    xfree(plain);
    return j;
}

static json_t *list_to_json(const Type *t, const List *l, uint8_t use)
{
    json_t *j = json_array();

    for (unsigned i = 0; i < l->n; i++)
        json_array_append_new(
            j, reflect_value_to_json(t->elem, (char *)l->p + (size_t)i * t->elem->size, use));
    return j;
}

json_t *reflect_value_to_json(const Type *t, const void *p, uint8_t use)
{
    void *owned;

    if (t->meta == META_REAL)
        return json_real(*(const double *)p);
    if (type_is_scalar(t))
        return scalar_to_json(t, scalar_get(t, p));
    if (t->meta == META_STRUCT)
        return reflect_to_json(t, p, use);
    if (t->meta == META_LIST)
        return list_to_json(t, p, use);
    owned = *(void *const *)p;
    if (!owned)
        return json_null();
    if (type_is_text(t))
        return text_to_json(owned);
    return t->meta == META_BOX ? reflect_value_to_json(t->elem, owned, use) : json_incref(owned);
}

static json_t *field_to_json(const Field *f, const void *obj, uint8_t use)
{
    json_t *list;

    if (f->count <= 1)
        return reflect_value_to_json(f->type, field_at(f, obj, 0), use);
    list = json_array();
    for (unsigned i = 0; i < f->count; i++)
        json_array_append_new(list, reflect_value_to_json(f->type, field_at(f, obj, i), use));
    return list;
}

/* Something that is owned by pointer and not there. */
static bool field_is_null(const Field *f, const void *obj)
{
    return !type_is_scalar(f->type) && f->type->meta != META_STRUCT && f->type->meta != META_LIST &&
           f->count <= 1 && !*(void *const *)field_at(f, obj, 0);
}

json_t *reflect_to_json(const Type *t, const void *obj, uint8_t use)
{
    json_t *j = json_object();

    FOR_EACH_FIELD(f, t, use)
    {
        if (field_is_present(f, obj) && !field_is_null(f, obj))
            json_object_set_new(j, f->name, field_to_json(f, obj, use));
    }
    return j;
}

/* --- schema --- */

static json_t *field_default(const Field *f)
{
    if (type_is_text(f->type))
        return f->def_str ? json_string(f->def_str) : NULL;
    if (!type_is_scalar(f->type) || f->flags & FIELD_REQUIRED || f->has_at)
        return NULL;
    if (f->type->meta == META_REAL)
        return json_real((double)f->def);
    return scalar_to_json(f->type, (uint64_t)f->def);
}

static json_t *field_schema(const Field *f, uint8_t use)
{
    json_t *j = json_pack("{s:s, s:s}", "name", f->name, "type", f->type->name);
    json_t *def = f->use & FIELD_PROP || f->flags & FIELD_OPTIONAL ? field_default(f) : NULL;

    if (f->doc && *f->doc)
        json_object_set_new(j, "description", json_string(f->doc));
    if (def)
        json_object_set_new(j, "default-value", def);
    if (f->flags & FIELD_OPTIONAL)
        json_object_set_new(j, "optional", json_true());
    if (f->count > 1)
        json_object_set_new(j, "count", json_integer(f->count));
    if (f->use & FIELD_STATE)
        json_object_set_new(j, "size", json_integer(f->type->size));
    if (f->type->meta == META_ENUM) {
        json_t *values = json_array();

        for (unsigned i = 0; f->type->names[i]; i++)
            json_array_append_new(values, json_string(f->type->names[i]));
        json_object_set_new(j, "values", values);
    }
    if (f->type->meta == META_STRUCT)
        json_object_set_new(j, "members", reflect_schema(f->type, use));
    return j;
}

json_t *reflect_schema(const Type *t, uint8_t use)
{
    json_t *list = json_array();

    FOR_EACH_FIELD(f, t, use)
    json_array_append_new(list, field_schema(f, use));
    return list;
}
