/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object - classes and sets of user-created objects; object.h has the contract */
#include "core/object.h"

#include <ctype.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "base/opts_json.h"

struct Objects {
    Object *first;
};

static ObjectClass *object_classes; /* sorted by name; filled by constructors only */

/* --- classes --- */

void object_class_register(ObjectClass *c)
{
    ObjectClass **p = &object_classes;

    while (*p && strcmp((*p)->name, c->name) < 0)
        p = &(*p)->reg_next;
    assert(!*p || strcmp((*p)->name, c->name) != 0);
    c->reg_next = *p;
    *p = c;
}

const ObjectClass *object_class_find(const char *name)
{
    for (ObjectClass *c = object_classes; c; c = c->reg_next)
        if (name_is(name, c->name))
            return c;
    return NULL;
}

const ObjectClass *object_class_next(const ObjectClass *c)
{
    return c ? c->reg_next : object_classes;
}

bool object_class_is(const ObjectClass *c, const char *name)
{
    return !strcmp(c->name, name) || (c->parent && !strcmp(c->parent, name));
}

/* --- sets --- */

Objects *objects_new(void)
{
    return xnew(Objects);
}

static void object_free(Object *o)
{
    if (o->cls->free)
        o->cls->free(o);
    reflect_free(o->cls->type, o);
    xfree(o->id);
    xfree(o);
}

void objects_free(Objects *set)
{
    if (!set)
        return;
    while (set->first) {
        Object **p = &set->first, *last;

        while ((*p)->next)
            p = &(*p)->next;
        last = *p;
        *p = NULL;
        object_free(last);
    }
    xfree(set);
}

Object *object_next(Objects *set, const Object *o)
{
    return o ? o->next : set ? set->first : NULL;
}

static Object *object_lookup(Objects *set, const char *id)
{
    for (Object *o = object_next(set, NULL); o; o = o->next)
        if (!strcmp(o->id, id))
            return o;
    return NULL;
}

Object *object_find(Objects *set, const char *id, const char *kind, Error *err)
{
    Object *o = object_lookup(set, id);

    if (!o) {
        error_set(err, "No %s with id '%s'", kind ? kind : "object", id);
    } else if (kind && !object_class_is(o->cls, kind)) {
        error_set(err, "Object with id '%s' is not a %s object (it is of type '%s')", id, kind,
                  o->cls->name);
        o = NULL;
    }
    return o;
}

void object_use(Object *o)
{
    o->users++;
}

void object_unuse(Object *o)
{
    assert(o->users > 0);
    o->users--;
}

/* --- making and deleting --- */

static bool id_is_good(const char *id)
{
    if (!isalpha((unsigned char)*id))
        return false;
    for (; *id; id++)
        if (!isalnum((unsigned char)*id) && !strchr("-._", *id))
            return false;
    return true;
}

static bool set_member(Object *o, const char *key, const json_t *value, Error *err)
{
    Error mine = {0};
    json_t *one;
    bool ok;

    if (!reflect_find(o->cls->type, key, FIELD_PROP)) {
        if (o->cls->set && o->cls->set(o, key, value, &mine))
            return true;
        if (mine.msg[0])
            return error_set(err, "%s", mine.msg);
        return error_set(err, "Invalid parameter '%s'", key);
    }
    one = json_object();
    json_object_set(one, key, (json_t *)value);
    ok = opts_json_apply(o->cls->type, o, one, FIELD_PROP, err);
    json_decref(one);
    return ok;
}

static bool set_members(Object *o, const json_t *props, Error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)props, key, value) {
        if (strcmp(key, "qom-type") && strcmp(key, "id") && !set_member(o, key, value, err))
            return false;
    }
    return true;
}

static const ObjectClass *class_of(const char *name, Error *err)
{
    const ObjectClass *c = object_class_find(name);
    const char *names[64], *near;
    unsigned n = 0;

    if (c)
        return c;
    for (const ObjectClass *k = object_classes; k && n < COUNT_OF(names); k = k->reg_next)
        names[n++] = k->name;
    near = nearest_name(name, names, n);
    error_set(err, "invalid object type: %s%s%s%s", name, near ? " (did you mean " : "",
              near ? near : "", near ? "?)" : "");
    return NULL;
}

Object *object_new_json(Objects *set, const json_t *props, Error *err)
{
    const char *type = json_string_value(json_object_get(props, "qom-type"));
    const char *id = json_string_value(json_object_get(props, "id"));
    const ObjectClass *c;
    Object *o, **p = &set->first;

    if (!type || !id) {
        error_set(err, "Parameter '%s' is missing", type ? "id" : "qom-type");
        return NULL;
    }
    if (!(c = class_of(type, err)))
        return NULL;
    if (!id_is_good(id)) {
        error_set(err,
                  "Parameter 'id' expects an identifier, not '%s' (letters, digits, '-', '.', "
                  "'_', starting with a letter)",
                  id);
        return NULL;
    }
    if (object_lookup(set, id)) {
        error_set(err, "Duplicate ID '%s' for object", id);
        return NULL;
    }
    o = xalloc_aligned(alignof(max_align_t), c->type->size);
    o->cls = c;
    o->owner = set;
    o->id = xstrdup(id);
    reflect_defaults(c->type, o, FIELD_PROP);
    if (!set_members(o, props, err) || (c->complete && !c->complete(o, err))) {
        object_free(o);
        return NULL;
    }
    while (*p)
        p = &(*p)->next;
    return *p = o;
}

Object *object_new_text(Objects *set, const char *text, Error *err)
{
    json_t *props = opts_json_parse(text, "qom-type", 0, NULL, err);
    Object *o = props ? object_new_json(set, props, err) : NULL;

    json_decref(props);
    return o;
}

bool object_delete(Objects *set, const char *id, Error *err)
{
    Object **p = &set->first, *o;

    while (*p && strcmp((*p)->id, id))
        p = &(*p)->next;
    o = *p;
    if (!o)
        return error_set(err, "object '%s' not found", id);
    if (o->users || (o->cls->can_be_deleted && !o->cls->can_be_deleted(o)))
        return error_set(err, "object '%s' is in use, can not be deleted", id);
    *p = o->next;
    object_free(o);
    return true;
}

/* --- help --- */

void object_help(StrBuf *out)
{
    strbuf_add(out, "List of user creatable objects:\n");
    for (const ObjectClass *c = object_classes; c; c = c->reg_next)
        strbuf_addf(out, "  %s\n", c->name);
}

bool object_class_help(const char *name, StrBuf *out, Error *err)
{
    const ObjectClass *c = class_of(name, err);

    if (!c)
        return false;
    strbuf_addf(out, "%s options:\n", c->name);
    for (unsigned i = 0; i < c->type->n_fields; i++) {
        const Field *f = &c->type->fields[i];
        int pad = 22 - (int)(strlen(f->name) + strlen(f->type->name));

        if (f->use & FIELD_PROP)
            strbuf_addf(out, "  %s=<%s>%*s - %s\n", f->name, f->type->name, MAX(pad, 0), "",
                        f->doc ? f->doc : "");
    }
    return true;
}
