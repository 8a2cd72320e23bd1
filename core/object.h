/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object - what users create by -object and object-add: secrets, credentials, memory, iothreads
 *
 * A class is a table that registers itself.  The objects of one machine or tool live in an Objects
 * set, by id.  Main thread only.
 */
#ifndef CORE_OBJECT_H
#define CORE_OBJECT_H

#include "base/reflect.h"

typedef struct Object Object;
typedef struct ObjectClass ObjectClass;
typedef struct Objects Objects;

/* The first member of every object. */
struct Object {
    const ObjectClass *cls;
    Objects *owner;
    char *id;
    Object *next;
    unsigned users; /* object_use(): it cannot be deleted while there are any */
};

struct ObjectClass {
    const char *name;
    const char *parent; /* abstract kind, for qom-list-types and object_find: "secret_common",
                           "tls-creds", "memory-backend", "rng-backend"; NULL: "object" */
    const char *doc;
    const Type *type; /* its struct and PROP fields; the first member is Object */
    /* A property that is not a scalar (lists, objects); false without an error: not one of ours. */
    bool (*set)(Object *o, const char *name, const json_t *value, Error *err);
    bool (*complete)(Object *o, Error *err); /* all properties are set: claim what it needs */
    void (*free)(Object *o); /* release what set() and complete() made, also if complete() failed */
    bool (*can_be_deleted)(const Object *o); /* besides `users`; NULL: yes */
    ObjectClass *reg_next;
};

void object_class_register(ObjectClass *c);
#define OBJECT_REGISTER(c)                                                                         \
    __attribute__((constructor)) static void c##_register(void)                                    \
    {                                                                                              \
        object_class_register(&c);                                                                 \
    }
const ObjectClass *object_class_find(const char *name);
const ObjectClass *object_class_next(const ObjectClass *c);   /* sorted by name; NULL starts */
bool object_class_is(const ObjectClass *c, const char *name); /* it or its abstract kind */

Objects *objects_new(void);
void objects_free(Objects *set); /* the newest first, in use or not; NULL is fine */

/* {"qom-type": class, "id": ..., property: value...}; text may stand for numbers and bools.  The
 * new object belongs to @set; NULL: the message names what is wrong. */
Object *object_new_json(Objects *set, const json_t *props, Error *err);
/* -object text: "class,id=...,property=value" (keyval rules) or JSON. */
Object *object_new_text(Objects *set, const char *text, Error *err);
bool object_delete(Objects *set, const char *id, Error *err); /* refused while in use */

/* By id; @kind: a class or an abstract kind, NULL: any.  The messages are QEMU's. */
Object *object_find(Objects *set, const char *id, const char *kind, Error *err);
Object *object_next(Objects *set, const Object *o); /* oldest first; NULL starts */
void object_use(Object *o);
void object_unuse(Object *o);

/* `-object help` and `-object CLASS,help`. */
void object_help(StrBuf *out);
bool object_class_help(const char *name, StrBuf *out, Error *err);

#endif
