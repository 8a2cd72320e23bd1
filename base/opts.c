/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opts - option text as users write it: "first,key=value,key,a=b,,c" or a JSON object */
#include "base/opts.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/strbuf.h"

/* --- parsing --- */

static void opts_add(Opts *out, const char *key, const char *value)
{
    out->o = xrealloc(out->o, (out->n + 1) * sizeof(Opt));
    out->o[out->n++] = (Opt){.key = xstrdup(key), .value = xstrdup(value)};
}

/* The text up to a single comma, doubled ones being one of its characters. */
static char *item_take(const char **text)
{
    StrBuf b = {0};
    const char *s = *text;

    for (; *s && !(*s == ',' && s[1] != ','); s++) {
        if (*s == ',')
            s++;
        strbuf_addn(&b, s, 1);
    }
    *text = *s ? s + 1 : s;
    return strbuf_take(&b);
}

static bool opts_parse_text(Opts *out, const char *text, const char *first, Error *err)
{
    bool leading = true;

    while (*text) {
        AUTO_FREE char *item = item_take(&text);
        char *equals = strchr(item, '=');

        if (equals)
            *equals = 0;
        if (!*item)
            return error_set(err, "an option without a name before '%s'",
                             equals ? equals + 1 : text);
        if (equals)
            opts_add(out, item, equals + 1);
        else if (leading && first)
            opts_add(out, first, item);
        else
            opts_add(out, item, "on");
        leading = false;
    }
    return true;
}

/* Members of objects and lists become "outer.inner" and "outer.0"; jansson caps the depth. */
static bool opts_add_json(Opts *out, const char *key, const json_t *j, Error *err)
{
    const char *name;
    json_t *value;
    size_t i;
    bool ok = true;

    switch (json_typeof(j)) {
    case JSON_OBJECT:
        json_object_foreach ((json_t *)j, name, value) {
            AUTO_FREE char *inner = xasprintf("%s%s%s", key, *key ? "." : "", name);

            ok = ok && opts_add_json(out, inner, value, err);
        }
        return ok;
    case JSON_ARRAY:
        json_array_foreach (j, i, value) {
            AUTO_FREE char *inner = xasprintf("%s.%zu", key, i);

            ok = ok && opts_add_json(out, inner, value, err);
        }
        return ok;
    case JSON_STRING: opts_add(out, key, json_string_value(j)); return true;
    case JSON_TRUE: opts_add(out, key, "on"); return true;
    case JSON_FALSE: opts_add(out, key, "off"); return true;
    case JSON_INTEGER:
    case JSON_REAL: {
        AUTO_FREE char *text = json_dumps(j, JSON_ENCODE_ANY);

        opts_add(out, key, text);
        return true;
    }
    default: return error_set(err, "'%s' must not be null", key);
    }
}

static bool opts_parse_json(Opts *out, const char *text, Error *err)
{
    json_error_t where;
    json_t *j = json_loads_lax(text, JSON_REJECT_DUPLICATES, &where);
    bool ok;

    if (!j)
        return error_set(err, "invalid JSON at column %d: %s", where.column, where.text);
    ok = json_is_object(j) ? opts_add_json(out, "", j, err) : error_set(err, "not a JSON object");
    json_decref(j);
    return ok;
}

bool opts_parse(Opts *out, const char *text, const char *first, Error *err)
{
    bool ok;

    *out = (Opts){0};
    ok = *text == '{' ? opts_parse_json(out, text, err) : opts_parse_text(out, text, first, err);
    if (!ok)
        opts_free(out);
    return ok;
}

bool name_is(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    }
    return *a == *b;
}

const char *opts_get(Opts *o, const char *key)
{
    const char *value = NULL;

    if (o->n_asked < OPTS_ASKED_MAX)
        o->asked[o->n_asked++] = key;
    for (unsigned i = 0; i < o->n; i++) {
        if (name_is(o->o[i].key, key)) {
            o->o[i].used = true;
            value = o->o[i].value;
        }
    }
    return value;
}

bool opts_all_used(const Opts *o, Error *err)
{
    for (unsigned i = 0; i < o->n; i++) {
        const char *near;

        if (o->o[i].used)
            continue;
        near = nearest_name(o->o[i].key, o->asked, o->n_asked);
        return error_set(
            err, near ? "Invalid parameter '%s'; did you mean '%s'?" : "Invalid parameter '%s'",
            o->o[i].key, near);
    }
    return true;
}

void opts_free(Opts *o)
{
    for (unsigned i = 0; i < o->n; i++) {
        xfree(o->o[i].key);
        xfree(o->o[i].value);
    }
    xfree(o->o);
    *o = (Opts){0};
}

/* --- values --- */

/* 'it\\'s' becomes "it's", and a double quote in it is escaped. */
json_t *json_loads_lax(const char *text, size_t flags, json_error_t *error)
{
    StrBuf b = {0};
    char in = 0; /* the quote of the string we are in */
    json_t *j;

    for (const char *p = text; *p; p++) {
        if (in && *p == '\\' && p[1]) {
            p++;
            strbuf_addf(&b, in == '\'' && *p == '\'' ? "%c" : "\\%c", *p);
        } else if (!in && (*p == '"' || *p == '\'')) {
            in = *p;
            strbuf_addf(&b, "\"");
        } else if (in && *p == in) {
            in = 0;
            strbuf_addf(&b, "\"");
        } else {
            strbuf_addf(&b, in == '\'' && *p == '"' ? "\\%c" : "%c", *p);
        }
    }
    j = json_loads(strbuf_str(&b), flags, error);
    strbuf_free(&b);
    return j;
}

bool parse_u64(const char *s, uint64_t *out)
{
    char *end;
    unsigned long long v;

    if (!isdigit((unsigned char)*s))
        return false;
    errno = 0;
    v = strtoull(s, &end, 0);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

/* The factor of a unit letter, 0 if it is none. */
static uint64_t unit_factor(char unit)
{
    static const char units[] = "BKMGTPE";
    const char *u = unit ? strchr(units, toupper((unsigned char)unit)) : NULL;

    return u ? 1ull << (10 * (u - units)) : 0;
}

bool parse_size(const char *s, char unit, uint64_t *out)
{
    unsigned __int128 v = 0, part = 0, scale = 1;
    uint64_t factor;

    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) /* bytes, whatever the unit */
        return parse_u64(s, out);
    if (!isdigit((unsigned char)*s))
        return false;
    for (; isdigit((unsigned char)*s); s++) {
        v = v * 10 + (unsigned)(*s - '0');
        if (v > UINT64_MAX)
            return false;
    }
    if (*s == '.') {
        if (!isdigit((unsigned char)*++s))
            return false;
        for (; isdigit((unsigned char)*s); s++) {
            if (scale >
                1000000000000000ull) /* further digits are below one byte of any unit in use */
                continue;
            part = part * 10 + (unsigned)(*s - '0');
            scale *= 10;
        }
    }
    if (*s)
        unit = *s++;
    factor = unit_factor(unit);
    if (*s || !factor)
        return false;
    v = v * factor + part * factor / scale;
    if (v > UINT64_MAX)
        return false;
    *out = (uint64_t)v;
    return true;
}

bool parse_bool(const char *s, bool *out)
{
    static const char *const words[2][4] = {{"off", "no", "false", "n"},
                                            {"on", "yes", "true", "y"}};

    for (int v = 0; v < 2; v++) {
        for (unsigned i = 0; i < COUNT_OF(words[v]); i++) {
            if (strcmp(s, words[v][i]) == 0) {
                *out = v;
                return true;
            }
        }
    }
    return false;
}

/* --- "did you mean" --- */

enum { NAME_MAX_LEN = 63 };

/* How many letters to add, remove or change to come from @a to @b (Levenshtein). */
static unsigned name_distance(const char *a, const char *b)
{
    unsigned row[NAME_MAX_LEN + 1];
    size_t n = strlen(b);

    if (n > NAME_MAX_LEN || strlen(a) > NAME_MAX_LEN)
        return UINT32_MAX;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            unsigned change = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], diagonal) + 1);
        }
    }
    return row[n];
}

const char *nearest_name(const char *s, const char *const *names, unsigned n)
{
    unsigned best = (unsigned)strlen(s) / 3 + 2; /* must be below */
    const char *found = NULL;

    for (unsigned i = 0; i < n; i++) {
        unsigned d = name_distance(s, names[i]);

        if (d < best) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
