/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reflect - types, and the walkers for defaults, option text, listings and clean-up */
#include "base/reflect.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/opts.h"
#include "base/reflect_priv.h"

#define SCALAR_TYPE(var, nm, mt, C) const Type var = {.name = nm, .meta = mt, .size = sizeof(C)}
SCALAR_TYPE(type_bool, "bool", META_BOOL, bool);
SCALAR_TYPE(type_u8, "uint8", META_UINT, uint8_t);
SCALAR_TYPE(type_u16, "uint16", META_UINT, uint16_t);
SCALAR_TYPE(type_u32, "uint32", META_UINT, uint32_t);
SCALAR_TYPE(type_u64, "uint64", META_UINT, uint64_t);
SCALAR_TYPE(type_i8, "int8", META_INT, int8_t);
SCALAR_TYPE(type_i16, "int16", META_INT, int16_t);
SCALAR_TYPE(type_i32, "int32", META_INT, int32_t);
SCALAR_TYPE(type_i64, "int64", META_INT, int64_t);
SCALAR_TYPE(type_str, "str", META_STR, char *);
SCALAR_TYPE(type_size, "size", META_SIZE, uint64_t);
SCALAR_TYPE(type_real, "number", META_REAL, double);
SCALAR_TYPE(type_null, "null", META_NULL, json_t *);
SCALAR_TYPE(type_any, "any", META_ANY, json_t *);
LIST_TYPE(type_str_list, &type_str);

static_assert(sizeof(bool) == 1, "bools are stored as one byte");

/* --- scalars --- */

uint64_t scalar_get(const Type *t, const void *p)
{
    uint64_t v;

    switch (t->size) {
    case 1: v = *(const uint8_t *)p; break;
    case 2: v = *(const uint16_t *)p; break;
    case 4: v = *(const uint32_t *)p; break;
    default: v = *(const uint64_t *)p; break;
    }
    return type_is_signed(t) ? (uint64_t)sext(v, t->size * 8) : v;
}

void scalar_put(const Type *t, void *p, uint64_t v)
{
    switch (t->size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: *(uint16_t *)p = (uint16_t)v; break;
    case 4: *(uint32_t *)p = (uint32_t)v; break;
    default: *(uint64_t *)p = v; break;
    }
}

static unsigned enum_count(const Type *t)
{
    unsigned n = 0;

    while (t->names[n])
        n++;
    return n;
}

bool scalar_fits(const Type *t, uint64_t v, bool negative)
{
    switch (t->meta) {
    case META_BOOL: return !negative && v <= 1;
    case META_ENUM: return !negative && v < enum_count(t);
    case META_INT: return (negative ? ~v : v) <= (uint64_t)INT64_MAX >> (64 - t->size * 8);
    default: return !negative && v <= UINT64_MAX >> (64 - t->size * 8);
    }
}

void type_explain(const Type *t, StrBuf *out)
{
    unsigned width = t->size * 8;

    switch (t->meta) {
    case META_BOOL: strbuf_add(out, "on or off"); break;
    case META_UINT:
        strbuf_addf(out, "a number from 0 to %" PRIu64, UINT64_MAX >> (64 - width));
        break;
    case META_INT:
        strbuf_addf(out, "a number from %" PRId64 " to %" PRId64, INT64_MIN >> (64 - width),
                    INT64_MAX >> (64 - width));
        break;
    case META_SIZE: strbuf_add(out, "a size such as 512, 64K or 1.5G"); break;
    case META_ENUM:
        strbuf_add(out, "one of ");
        for (unsigned i = 0; t->names[i]; i++)
            strbuf_addf(out, "%s%s", i ? ", " : "", t->names[i]);
        break;
    case META_STR: strbuf_add(out, "text"); break;
    case META_LINK: strbuf_addf(out, "the id of a %s", t->name); break;
    case META_REAL: strbuf_add(out, "a number"); break;
    case META_LIST: strbuf_add(out, "a list"); break;
    case META_NULL:
    case META_ANY:
    case META_ALTERNATE: strbuf_add(out, "a JSON value"); break;
    case META_STRUCT:
    case META_BOX:
    case META_UNION: strbuf_add(out, "an object"); break;
    }
}

/* --- one value --- */

static bool int_parse(const Type *t, const char *text, uint64_t *out)
{
    bool negative = *text == '-';
    uint64_t v;

    if (!parse_u64(text + negative, &v) || (negative && v > BIT(63)))
        return false;
    *out = negative ? -v : v;
    return scalar_fits(t, *out, negative && v != 0);
}

static bool real_parse(const char *text, uint64_t *out)
{
    char *end;
    double v = strtod(text, &end);

    memcpy(out, &v, sizeof v);
    return end != text && !*end;
}

static bool enum_parse(const Type *t, const char *text, uint64_t *out)
{
    for (unsigned i = 0; t->names[i]; i++) {
        if (name_is(t->names[i], text)) {
            *out = i;
            return true;
        }
    }
    return false;
}

bool value_parse(const Type *t, void *p, const char *text)
{
    uint64_t v = 0;
    bool on, ok;

    switch (t->meta) {
    case META_BOOL:
        ok = parse_bool(text, &on);
        v = ok && on;
        break;
    case META_UINT:
    case META_INT: ok = int_parse(t, text, &v); break;
    case META_SIZE: ok = parse_size(text, 'B', &v); break;
    case META_ENUM: ok = enum_parse(t, text, &v); break;
    case META_REAL: ok = real_parse(text, &v); break;
    case META_STR:
    case META_LINK: *(char **)p = xstrdup(text); return true;
    default: return false;
    }
    if (ok)
        scalar_put(t, p, v);
    return ok;
}

void value_print(const Type *t, const void *p, StrBuf *out)
{
    uint64_t v;

    if (type_is_text(t)) {
        strbuf_add(out, *(char *const *)p ? *(char *const *)p : "");
        return;
    }
    if (!type_is_scalar(t)) {
        json_t *j = reflect_value_to_json(t, p, FIELD_PROP | FIELD_ARG);
        char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);

        strbuf_add(out, text ? text : "");
        free(text);
        json_decref(j);
        return;
    }
    v = scalar_get(t, p);
    switch (t->meta) {
    case META_BOOL: strbuf_add(out, v ? "on" : "off"); break;
    case META_ENUM: strbuf_add(out, scalar_fits(t, v, false) ? t->names[v] : "?"); break;
    case META_INT: strbuf_addf(out, "%" PRId64, (int64_t)v); break;
    case META_REAL: strbuf_addf(out, "%g", *(const double *)p); break;
    default: strbuf_addf(out, "%" PRIu64, v); break;
    }
}

void value_default(const Field *f, void *p, uint8_t use)
{
    if (f->type->meta == META_STRUCT)
        reflect_defaults(f->type, p, use);
    else if (type_is_text(f->type))
        *(char **)p = xstrdup(f->def_str);
    else if (!type_is_scalar(f->type))
        memset(p, 0, f->type->size);
    else if (f->type->meta == META_REAL)
        *(double *)p = (double)f->def;
    else
        scalar_put(f->type, p, (uint64_t)f->def);
}

void field_mark_present(const Field *f, void *obj)
{
    if (f->has_at)
        *((bool *)obj + f->has_at) = true;
}

bool field_is_present(const Field *f, const void *obj)
{
    return !f->has_at || *((const bool *)obj + f->has_at);
}

/* --- walkers --- */

void reflect_defaults(const Type *t, void *obj, uint8_t use)
{
    FOR_EACH_FIELD(f, t, use)
    {
        for (unsigned i = 0; i < f->count; i++)
            value_default(f, field_at(f, obj, i), use);
        if (f->has_at)
            *((bool *)obj + f->has_at) = false;
    }
}

const Field *reflect_find(const Type *t, const char *name, uint8_t use)
{
    FOR_EACH_FIELD(f, t, use)
    {
        if (name_is(f->name, name))
            return f;
    }
    return NULL;
}

bool reflect_set(const Field *f, void *obj, const char *text, Error *err)
{
    StrBuf want = {0};
    char *old;

    if (f->count > 1 || !(type_is_text(f->type) || type_is_scalar(f->type)))
        return error_set(err, "'%s' cannot be given as text", f->name);
    old = type_is_text(f->type) ? *(char **)field_at(f, obj, 0) : NULL;
    if (value_parse(f->type, field_at(f, obj, 0), text)) {
        xfree(old);
        field_mark_present(f, obj);
        return true;
    }
    type_explain(f->type, &want);
    error_set(err, "'%s' cannot be '%s': it takes %s", f->name, text, strbuf_str(&want));
    strbuf_free(&want);
    return false;
}

static void dump_values(const Type *t, const void *obj, uint8_t use, const char *prefix,
                        StrBuf *out);

/* Arrays of plain values take one line, structs one for each member. */
static void dump_field(const Field *f, const void *obj, uint8_t use, const char *prefix,
                       StrBuf *out)
{
    if (f->type->meta != META_STRUCT)
        strbuf_addf(out, "%s%s=", prefix, f->name);
    for (unsigned i = 0; i < f->count; i++) {
        if (f->type->meta == META_STRUCT) {
            AUTO_FREE char *inner = f->count > 1 ? xasprintf("%s%s[%u].", prefix, f->name, i)
                                                 : xasprintf("%s%s.", prefix, f->name);

            dump_values(f->type, field_at(f, obj, i), use, inner, out);
        } else {
            strbuf_add(out, i ? " " : "");
            value_print(f->type, field_at(f, obj, i), out);
        }
    }
    if (f->type->meta != META_STRUCT)
        strbuf_add(out, "\n");
}

static void dump_values(const Type *t, const void *obj, uint8_t use, const char *prefix,
                        StrBuf *out)
{
    FOR_EACH_FIELD(f, t, use)
    {
        if (field_is_present(f, obj))
            dump_field(f, obj, use, prefix, out);
    }
}

void reflect_dump(const Type *t, const void *obj, uint8_t use, StrBuf *out)
{
    dump_values(t, obj, use, "", out);
}

char *reflect_get(const Field *f, const void *obj)
{
    StrBuf out = {0};

    if (f->type->meta == META_STRUCT) {
        dump_field(f, obj, f->use, "", &out);
        return strbuf_take(&out);
    }
    for (unsigned i = 0; i < f->count; i++) {
        strbuf_add(&out, i ? " " : "");
        value_print(f->type, field_at(f, obj, i), &out);
    }
    return strbuf_take(&out);
}

/* --- owned values --- */

void *list_add(List *l, const Type *elem)
{
    if (!(l->n & (l->n - 1))) /* full: room doubles at powers of two */
        l->p = xrealloc(l->p, MAX(l->n * 2, 1u) * (size_t)elem->size);
    return memset((char *)l->p + (size_t)l->n++ * elem->size, 0, elem->size);
}

static void list_free(const Type *elem, List *l)
{
    for (unsigned i = 0; i < l->n; i++)
        reflect_value_free(elem, (char *)l->p + (size_t)i * elem->size);
    xfree(l->p);
    *l = (List){0};
}

void reflect_value_free(const Type *t, void *p)
{
    void **box = p;

    switch (t->meta) {
    case META_STRUCT: reflect_free(t, p); return;
    case META_LIST: list_free(t->elem, p); return;
    case META_BOX:
        if (*box)
            reflect_value_free(t->elem, *box);
        xfree(*box);
        break;
    case META_STR:
    case META_LINK: xfree(*box); break;
    case META_NULL:
    case META_ANY:
    case META_ALTERNATE:
    case META_UNION: json_decref(*box); break;
    default: return;
    }
    *box = NULL;
}

void reflect_free(const Type *t, void *obj)
{
    FOR_EACH_FIELD(f, t, FIELD_PROP | FIELD_STATE | FIELD_ARG)
    {
        for (unsigned i = 0; i < f->count; i++)
            reflect_value_free(f->type, field_at(f, obj, i));
    }
}
