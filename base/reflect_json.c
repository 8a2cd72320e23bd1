/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reflect_json - described structs from and to JSON, and their schema
 *
 * JSON integers are signed 64 bits (jansson): larger unsigned values are written as "0x..." text, which is
 * taken for any number.
 */
#include "base/bytes.h"
#include "base/opts.h"
#include "base/reflect.h"
#include "base/reflect_priv.h"

/* --- from --- */

static bool wrong_type(const char *name, const Type *t, Error *err)
{
    StrBuf want = {0};

    type_explain(t, &want);
    error_set(err, "Invalid parameter type for '%s', expected: %s", name, strbuf_str(&want));
    strbuf_free(&want);
    return false;
}

/* Text stands for sizes with a suffix, enums, and numbers above 2^63. */
static bool text_from_json(const Type *t, void *p, const char *text)
{
    if (t->meta == META_SIZE || t->meta == META_ENUM || type_is_text(t))
        return value_parse(t, p, text);
    return t->meta == META_UINT && strncmp(text, "0x", 2) == 0 && value_parse(t, p, text);
}

static bool value_from_json(const char *name, const Type *t, void *p, const json_t *j, uint8_t use,
                            Error *err)
{
    json_int_t v;

    if (t->meta == META_STRUCT)
        return reflect_from_json(t, p, j, use, err);
    if (type_is_text(t)) {
        xfree(*(char **)p);
        *(char **)p = NULL;
        if (json_is_null(j))
            return true;
    }
    if (json_is_string(j))
        return text_from_json(t, p, json_string_value(j)) || wrong_type(name, t, err);
    if (t->meta == META_BOOL && json_is_boolean(j)) {
        scalar_put(t, p, json_is_true(j));
        return true;
    }
    if (!json_is_integer(j) ||
        (t->meta != META_UINT && t->meta != META_INT && t->meta != META_SIZE))
        return wrong_type(name, t, err);
    v = json_integer_value(j);
    if (!scalar_fits(t, (uint64_t)v, v < 0))
        return wrong_type(name, t, err);
    scalar_put(t, p, (uint64_t)v);
    return true;
}

static bool field_from_json(const Field *f, void *obj, const json_t *j, uint8_t use, Error *err)
{
    if (f->count <= 1) {
        if (!value_from_json(f->name, f->type, field_at(f, obj, 0), j, use, err))
            return false;
    } else {
        if (!json_is_array(j) || json_array_size(j) != f->count)
            return error_set(err, "'%s' must be a list of %" PRIu32, f->name, f->count);
        for (unsigned i = 0; i < f->count; i++) {
            if (!value_from_json(f->name, f->type, field_at(f, obj, i), json_array_get(j, i), use,
                                 err))
                return false;
        }
    }
    field_mark_present(f, obj);
    return true;
}

/* Whether @j has a member for @f, under either spelling of its name. */
static bool json_has(const json_t *j, const Field *f)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)j, key, value)
    {
        if (name_is(key, f->name))
            return true;
    }
    return false;
}

bool reflect_from_json(const Type *t, void *obj, const json_t *j, uint8_t use, Error *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(j))
        return error_set(err, "expected an object");
    json_object_foreach((json_t *)j, key, value)
    {
        const Field *f = reflect_find(t, key, use);

        if (!f)
            return error_set(err, "Parameter '%s' is unexpected", key);
        if (!field_from_json(f, obj, value, use, err))
            return false;
    }
    FOR_EACH_FIELD(f, t, use)
    {
        if (f->flags & FIELD_REQUIRED && !json_has(j, f))
            return error_set(err, "Parameter '%s' is missing", f->name);
    }
    return true;
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

static json_t *value_to_json(const Type *t, const void *p, uint8_t use)
{
    const char *s;

    if (t->meta == META_STRUCT)
        return reflect_to_json(t, p, use);
    if (!type_is_text(t))
        return scalar_to_json(t, scalar_get(t, p));
    s = *(char *const *)p;
    return s ? json_string(s) : json_null();
}

static json_t *field_to_json(const Field *f, const void *obj, uint8_t use)
{
    json_t *list;

    if (f->count <= 1)
        return value_to_json(f->type, field_at(f, obj, 0), use);
    list = json_array();
    for (unsigned i = 0; i < f->count; i++)
        json_array_append_new(list, value_to_json(f->type, field_at(f, obj, i), use));
    return list;
}

json_t *reflect_to_json(const Type *t, const void *obj, uint8_t use)
{
    json_t *j = json_object();

    FOR_EACH_FIELD(f, t, use)
    {
        json_t *value = field_is_present(f, obj) ? field_to_json(f, obj, use) : NULL;

        if (value && !json_is_null(value)) /* texts that are not there are left out */
            json_object_set(j, f->name, value);
        json_decref(value);
    }
    return j;
}

/* --- schema --- */

static json_t *field_default(const Field *f)
{
    if (type_is_text(f->type))
        return f->def_str ? json_string(f->def_str) : NULL;
    if (f->type->meta == META_STRUCT || f->flags & FIELD_REQUIRED || f->has_at)
        return NULL;
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
