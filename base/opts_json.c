/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opts_json - option text to JSON objects; opts_json.h has the rules */
#include "base/opts_json.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "base/reflect_priv.h"
#include "base/strbuf.h"

enum { KEY_MAX = 128, DEPTH_MAX = 32, LIST_MAX = 4096 };

/* --- nesting --- */

static bool is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

/* Put @value (taken over) at the dotted @key of @j. */
static bool nest(json_t *j, const char *key, json_t *value, Error *err)
{
    const char *at = key;

    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        size_t n = strcspn(at, ".");
        char part[KEY_MAX];
        json_t *inner;

        if (n == 0 || n >= sizeof part)
            break;
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        inner = json_object_get(j, part);
        if (!at[n]) {
            if (json_is_object(inner) && !json_is_object(value)) {
                json_decref(value);
                return error_set(err, "Parameters '%s.*' used inconsistently", key);
            }
            json_object_set_new(j, part, value);
            return true;
        }
        if (inner && !json_is_object(inner)) {
            json_decref(value);
            return error_set(err, "Parameters '%.*s.*' used inconsistently", (int)(at + n - key),
                             key);
        }
        if (!inner) {
            inner = json_object();
            json_object_set_new(j, part, inner);
        }
        j = inner;
        at += n + 1;
    }
    json_decref(value);
    return error_set(err, "Invalid parameter '%s'", key);
}

static bool listify_members(json_t *j, const char *path, Error *err);

/* @j's keys are numbers: the list they make, or NULL. */
static json_t *list_of(json_t *j, const char *path, Error *err)
{
    size_t n = json_object_size(j);
    json_t *list = json_array();

    for (size_t i = 0; i < n && i < LIST_MAX; i++) {
        char key[24];
        json_t *v;

        snprintf(key, sizeof key, "%zu", i);
        v = json_object_get(j, key);
        if (!v) {
            error_set(err, "Parameter '%s.%zu' missing", path, i);
            json_decref(list);
            return NULL;
        }
        json_array_append(list, v);
    }
    return list;
}

/* Objects whose keys are numbers become lists.  @j itself stays an object. */
static bool listify_members(json_t *j, const char *path, Error *err)
{
    const char *key, *inner_key;
    json_t *value, *inner;
    void *next;

    json_object_foreach_safe (j, next, key, value) {
        AUTO_FREE char *at = xasprintf("%s%s%s", path, *path ? "." : "", key);
        unsigned numbers = 0, names = 0;

        if (!json_is_object(value))
            continue;
        if (!listify_members(value, at, err))
            return false;
        json_object_foreach (value, inner_key, inner) {
            numbers += is_number(inner_key);
            names += !is_number(inner_key);
        }
        if (numbers && names)
            return error_set(err, "Parameters '%s.*' used inconsistently", at);
        if (numbers) {
            json_t *list = list_of(value, at, err);

            if (!list)
                return false;
            json_object_set_new(j, key, list);
        }
    }
    return true;
}

json_t *json_crumple(const json_t *flat, Error *err)
{
    json_t *out = json_object(), *value;
    const char *key;
    bool ok = true;

    json_object_foreach ((json_t *)flat, key, value) {
        ok = ok && nest(out, key, json_deep_copy(value), err);
    }
    if (ok && listify_members(out, "", err))
        return out;
    json_decref(out);
    return NULL;
}

static void flatten(json_t *out, const char *path, const json_t *j, unsigned depth)
{
    const char *key;
    json_t *value;
    size_t i;

    if (depth > DEPTH_MAX)
        return;
    if (json_is_object(j)) {
        json_object_foreach ((json_t *)j, key, value) {
            AUTO_FREE char *inner = xasprintf("%s%s%s", path, *path ? "." : "", key);

            flatten(out, inner, value, depth + 1);
        }
    } else if (json_is_array(j)) {
        json_array_foreach (j, i, value) {
            AUTO_FREE char *inner = xasprintf("%s.%zu", path, i);

            flatten(out, inner, value, depth + 1);
        }
    } else {
        json_object_set(out, path, (json_t *)j);
    }
}

json_t *json_flatten(const json_t *j)
{
    json_t *out = json_object();

    flatten(out, "", j, 0);
    return out;
}

/* --- text --- */

/* The next item, up to a single comma; doubled commas are one. */
static char *item_take(const char **text)
{
    StrBuf b = {0};
    const char *s = *text;

    for (; *s && !(*s == ',' && s[1] != ','); s++) {
        s += *s == ',';
        strbuf_addn(&b, s, 1);
    }
    *text = *s ? s + 1 : s;
    return b.s ? strbuf_take(&b) : xstrdup("");
}

static bool key_is_good(const char *key)
{
    for (const char *s = key; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
            return false;
    return true;
}

/* One item: "key=value", a bare word, or the implied key's value. */
static bool item_add(json_t *out, char *item, const char *implied, unsigned flags, bool *help,
                     Error *err)
{
    char *equals = strchr(item, '=');
    const char *key = item, *value;
    json_t *text;

    if (equals) {
        *equals = 0;
        value = equals + 1;
    } else if (help && (!strcmp(item, "help") || !strcmp(item, "?"))) {
        *help = true;
        return true;
    } else if (implied) {
        key = implied;
        value = item;
        if (!*item)
            return error_set(err, "No implicit parameter name for value ''");
    } else if (!(flags & KEYVAL_FLAGS)) {
        return error_set(err, "Expected '=' after parameter '%s'", item);
    } else {
        bool no = !strncmp(item, "no", 2) && item[2];

        key = item + (no ? 2 : 0);
        value = no ? "off" : "on";
    }
    if (!*key || !key_is_good(key))
        return error_set(err, "Invalid parameter '%s'", key);
    text = json_string(value);
    return text ? nest(out, key, text, err) : error_set(err, "Parameter '%s' is not UTF-8", key);
}

static json_t *parse_text(const char *text, const char *implied, unsigned flags, bool *help,
                          Error *err)
{
    json_t *out = json_object();
    bool ok = true;

    while (*text && ok) {
        AUTO_FREE char *item = item_take(&text);

        ok = item_add(out, item, implied, flags, help, err);
        implied = NULL;
    }
    if (ok && listify_members(out, "", err))
        return out;
    json_decref(out);
    return NULL;
}

json_t *opts_json_parse(const char *text, const char *implied, unsigned flags, bool *help,
                        Error *err)
{
    json_error_t where;
    json_t *j;

    if (help)
        *help = false;
    if (*text != '{')
        return parse_text(text, implied, flags, help, err);
    j = json_loads_lax(text, JSON_REJECT_DUPLICATES, &where);
    if (!j)
        error_set(err, "JSON parse error, column %d: %s", where.column, where.text);
    return j;
}

/* --- into structs --- */

static bool apply_value(const Field *f, void *obj, const json_t *v, uint8_t use, Error *err)
{
    json_t *one;
    bool ok;

    if (f->type->meta == META_STRUCT && json_is_object(v))
        return opts_json_apply(f->type, field_at(f, obj, 0), v, use, err);
    if (json_is_string(v) && !type_is_text(f->type) && f->type->meta != META_ANY && f->count <= 1)
        return reflect_set(f, obj, json_string_value(v), err);
    one = json_object();
    json_object_set(one, f->name, (json_t *)v);
    /* a required field of its own must not fail for the others that are missing here */
    const Type just = {.name = "", .meta = META_STRUCT, .fields = f, .n_fields = 1};

    ok = reflect_from_json(&just, obj, one, use, err);
    json_decref(one);
    return ok;
}

bool opts_json_apply(const Type *t, void *obj, const json_t *j, uint8_t use, Error *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(j))
        return error_set(err, "expected an object");
    json_object_foreach ((json_t *)j, key, value) {
        const Field *f = reflect_find(t, key, use);

        if (!f)
            return error_set(err, "Invalid parameter '%s'", key);
        if (!apply_value(f, obj, value, use, err))
            return false;
    }
    return true;
}

/* --- taking members out --- */

json_t *json_take(json_t *j, const char *key)
{
    json_t *v = json_object_get(j, key);

    if (v) {
        json_incref(v);
        json_object_del(j, key);
    }
    return v;
}

static char *scalar_text(const json_t *v)
{
    char *dumped, *out;

    if (json_is_string(v))
        return xstrdup(json_string_value(v));
    if (json_is_boolean(v))
        return xstrdup(json_is_true(v) ? "on" : "off");
    dumped = json_dumps(v, JSON_ENCODE_ANY);
    out = xstrdup(dumped ? dumped : "");
    free(dumped);
    return out;
}

char *json_take_str(json_t *j, const char *key)
{
    json_t *v = json_take(j, key);
    char *out = v && !json_is_null(v) ? scalar_text(v) : NULL;

    json_decref(v);
    return out;
}

bool json_take_bool(json_t *j, const char *key, bool *out, Error *err)
{
    AUTO_FREE char *text = json_take_str(j, key);

    return !text || parse_bool(text, out) ||
           error_set(err, "Parameter '%s' expects 'on' or 'off'", key);
}

bool json_take_u64(json_t *j, const char *key, uint64_t *out, Error *err)
{
    AUTO_FREE char *text = json_take_str(j, key);

    return !text || parse_u64(text, out) || error_set(err, "Parameter '%s' expects a number", key);
}

bool json_take_size(json_t *j, const char *key, uint64_t *out, Error *err)
{
    AUTO_FREE char *text = json_take_str(j, key);

    return !text || parse_size(text, 'B', out) ||
           error_set(err, "Parameter '%s' expects a size", key);
}

bool json_all_taken(const json_t *j, Error *err)
{
    void *first = json_object_iter((json_t *)j);

    return !first || error_set(err, "Invalid parameter '%s'", json_object_iter_key(first));
}
