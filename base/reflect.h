/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reflect - describe a struct once, walk the description many ways
 *
 * A Type lists a C struct's members as Fields.  PROP: set from option text or JSON.  STATE: saved
 * and loaded.  ARG: command arguments and results.  Scalars find their Type by _Generic, so an
 * unsupported member is a compile error; enums, links, lists and nested structs are spelled.
 */
#ifndef BASE_REFLECT_H
#define BASE_REFLECT_H

#include <jansson.h>

#include "base/alloc.h"
#include "base/base.h"
#include "base/error.h"
#include "base/strbuf.h"

typedef struct Type Type;
typedef enum Meta {
    META_BOOL,
    META_UINT,
    META_INT,
    META_SIZE,
    META_STR,
    META_ENUM,
    META_STRUCT,
    META_LINK,
    META_REAL,      /* double */
    META_NULL,      /* only null, within alternates */
    META_LIST,      /* List of any number of elements of Type.elem */
    META_BOX,       /* owned pointer to a Type.elem; NULL: not there */
    META_ANY,       /* json_t *, owned; NULL: not there */
    META_ALTERNATE, /* json_t *: one of Type.choices, told apart by their kind */
    META_UNION      /* json_t *: members of Type.elem and of the variant that its tag names */
} Meta;
enum { FIELD_PROP = 1, FIELD_STATE = 2, FIELD_ARG = 4 }; /* Field.use */
enum { FIELD_OPTIONAL = 1, FIELD_REQUIRED = 2 };         /* Field.flags */

typedef struct Field {
    const char *name;
    const Type *type;
    const char *doc;
    int64_t def;         /* scalars: the default */
    const char *def_str; /* strings: the default, or NULL */
    uint32_t at, has_at; /* offsets; has_at 0: no presence flag */
    uint32_t count;      /* >1: array */
    uint8_t use, flags;
} Field;

/* Variant @i of a union: the tag's value and its own members (type NULL: none); false behind the
 * last. */
typedef struct Variant {
    const char *tag;
    const Type *type;
} Variant;
typedef bool VariantFn(unsigned i, Variant *out);

struct Type {
    const char *name;
    Meta meta;
    uint32_t size;
    const Field *fields; /* META_STRUCT */
    unsigned n_fields;
    const char *const *names;   /* META_ENUM: NULL-terminated; the value is the index */
    const Type *elem;           /* META_LIST, META_BOX: of what; META_UNION: the common members */
    const Type *const *choices; /* META_ALTERNATE: NULL-terminated */
    const char *tag;            /* META_UNION: the member of elem (a str or enum) that chooses */
    VariantFn *variant;         /* META_UNION: what is linked in */
};

/* The C side of a list.  Elements follow each other; list_add() gives a new one, zeroed, valid
 * until the next. */
typedef struct List {
    void *p;
    unsigned n;
} List;
void *list_add(List *l, const Type *elem);
#define LIST_AT(T, l, i) (&((T *)(l)->p)[i])

extern const Type type_bool, type_u8, type_u16, type_u32, type_u64, type_i8, type_i16, type_i32,
    type_i64, type_str, /* char *, owned */
    type_size,          /* uint64_t that takes k/M/G/T suffixes; spelled by PROP_SIZE */
    type_real, type_null, type_any, type_str_list; /* List of char * */

#define TYPE_OF(x)                                                                                 \
    _Generic((x), bool: &type_bool, uint8_t: &type_u8, uint16_t: &type_u16, uint32_t: &type_u32, \
    uint64_t: &type_u64, int8_t: &type_i8, int16_t: &type_i16, int32_t: &type_i32, int64_t: &type_i64, double: &type_real, char *: &type_str)
#define MEMBER_(S, m) (((S *)0)->m)

#define PROP(S, m, nm, dflt, dc)                                                                   \
    {                                                                                              \
        .name = (nm), .type = TYPE_OF(MEMBER_(S, m)), .doc = (dc), .def = (dflt),                  \
        .at = offsetof(S, m), .count = 1, .use = FIELD_PROP                                        \
    }
#define PROP_STR(S, m, nm, dflt, dc)                                                               \
    {                                                                                              \
        .name = (nm), .type = &type_str, .doc = (dc), .def_str = (dflt), .at = offsetof(S, m),     \
        .count = 1, .use = FIELD_PROP                                                              \
    }
#define PROP_SIZE(S, m, nm, dflt, dc)                                                              \
    {                                                                                              \
        .name = (nm), .type = &type_size, .doc = (dc), .def = (dflt), .at = offsetof(S, m),        \
        .count = 1, .use = FIELD_PROP                                                              \
    }
#define PROP_ENUM(S, m, nm, ty, dflt, dc)                                                          \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .def = (dflt), .at = offsetof(S, m), .count = 1,  \
        .use = FIELD_PROP                                                                          \
    }
#define PROP_LINK(S, m, nm, ty, dc)                                                                \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(S, m), .count = 1,                 \
        .use = FIELD_PROP                                                                          \
    }
#define STATE(S, m)                                                                                \
    {                                                                                              \
        .name = #m, .type = TYPE_OF(MEMBER_(S, m)), .at = offsetof(S, m), .count = 1,              \
        .use = FIELD_STATE                                                                         \
    }
#define STATE_OPT(S, m, dflt)                                                                      \
    {                                                                                              \
        .name = #m, .type = TYPE_OF(MEMBER_(S, m)), .def = (dflt), .at = offsetof(S, m),           \
        .count = 1, .use = FIELD_STATE, .flags = FIELD_OPTIONAL                                    \
    }
#define STATE_ARRAY(S, m)                                                                          \
    {                                                                                              \
        .name = #m, .type = TYPE_OF(MEMBER_(S, m)[0]), .at = offsetof(S, m),                       \
        .count = COUNT_OF(MEMBER_(S, m)), .use = FIELD_STATE                                       \
    }
#define STATE_ENUM(S, m, ty)                                                                       \
    {                                                                                              \
        .name = #m, .type = (ty), .at = offsetof(S, m), .count = 1, .use = FIELD_STATE             \
    }
#define STATE_STRUCT(S, m, ty)                                                                     \
    {                                                                                              \
        .name = #m, .type = (ty), .at = offsetof(S, m), .count = 1, .use = FIELD_STATE             \
    }
#define STATE_STRUCT_ARRAY(S, m, ty)                                                               \
    {                                                                                              \
        .name = #m, .type = (ty), .at = offsetof(S, m), .count = COUNT_OF(MEMBER_(S, m)),          \
        .use = FIELD_STATE                                                                         \
    }
/* Arguments and results: @nm is the name in JSON, spelled as QMP spells it.  Required ones;
 * optional ones with a flag `bool has_m` (not the first member); optional ones that are NULL
 * when they are not there. */
#define ARG_TYPE(S, m, nm, ty, dc)                                                                 \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(S, m), .count = 1,                 \
        .use = FIELD_ARG, .flags = FIELD_REQUIRED                                                  \
    }
#define ARG_TYPE_OPT(S, m, nm, ty, dc)                                                             \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(S, m), .has_at = HAS_AT_(S, m),    \
        .count = 1, .use = FIELD_ARG, .flags = FIELD_OPTIONAL                                      \
    }
#define ARG_NULL_OPT(S, m, nm, ty, dc)                                                             \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(S, m), .count = 1,                 \
        .use = FIELD_ARG, .flags = FIELD_OPTIONAL                                                  \
    }
#define ARG(S, m, nm, dc) ARG_TYPE(S, m, nm, TYPE_OF(MEMBER_(S, m)), dc)
#define ARG_OPT(S, m, nm, dc) ARG_TYPE_OPT(S, m, nm, TYPE_OF(MEMBER_(S, m)), dc)
#define ARG_STR_OPT(S, m, nm, dc) ARG_NULL_OPT(S, m, nm, &type_str, dc)
#define ARG_ANY(S, m, nm, dc) ARG_TYPE(S, m, nm, &type_any, dc)
#define ARG_ANY_OPT(S, m, nm, dc) ARG_NULL_OPT(S, m, nm, &type_any, dc)
/* A compile error where the flag is the first member, since 0 says that there is none. */
#define HAS_AT_(S, m) (offsetof(S, has_##m) + 0 * sizeof(char[offsetof(S, has_##m) ? 1 : -1]))

/* A member of JSON that is described but never converted: a variant of a union. */
#define SHAPE(nm, ty, need, dc)                                                                    \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .count = 1, .use = FIELD_ARG, .flags = (need)     \
    }
#define SHAPE_TYPE(var, nm, flds)                                                                  \
    const Type var = {.name = nm, .meta = META_STRUCT, .fields = (flds), .n_fields = COUNT_OF(flds)}

#define STRUCT_TYPE(var, S, flds)                                                                  \
    const Type var = {.name = #S,                                                                  \
                      .meta = META_STRUCT,                                                         \
                      .size = sizeof(S),                                                           \
                      .fields = (flds),                                                            \
                      .n_fields = COUNT_OF(flds)}
#define ENUM_TYPE(var, E, nms)                                                                     \
    const Type var = {.name = #E, .meta = META_ENUM, .size = 4, .names = (nms)}
#define LIST_TYPE(var, ty)                                                                         \
    const Type var = {.name = "list", .meta = META_LIST, .size = sizeof(List), .elem = (ty)}
#define BOX_TYPE(var, ty)                                                                          \
    const Type var = {.name = "box", .meta = META_BOX, .size = sizeof(void *), .elem = (ty)}
#define ALTERNATE_TYPE(var, A, chs)                                                                \
    const Type var = {                                                                             \
        .name = #A, .meta = META_ALTERNATE, .size = sizeof(json_t *), .choices = (chs)}
#define UNION_TYPE(var, U, base, tg, fn)                                                           \
    const Type var = {.name = #U,                                                                  \
                      .meta = META_UNION,                                                          \
                      .size = sizeof(json_t *),                                                    \
                      .elem = (base),                                                              \
                      .tag = (tg),                                                                 \
                      .variant = (fn)}

/* Enum members are 4 bytes wide.  Links are `char *` ids resolved by whoever realizes the
 * object. */

void reflect_defaults(const Type *t, void *obj, uint8_t use); /* strings are copied */
const Field *reflect_find(const Type *t, const char *name,
                          uint8_t use); /* '-' and '_' are the same */
/* Set one field from text: on/off/yes/no/true/false, decimal/0x/octal, sizes with suffix, enum
 * names.
 * The message names field, value and what is allowed. */
bool reflect_set(const Field *f, void *obj, const char *text, Error *err);
char *reflect_get(const Field *f, const void *obj); /* as text; caller frees */
/* Unknown and missing members are refused by name ("keys[0].data"), in QMP's words.  What was
 * set before a failure stays for reflect_free(). */
bool reflect_from_json(const Type *t, void *obj, const json_t *j, uint8_t use, Error *err);
json_t *reflect_to_json(const Type *t, const void *obj, uint8_t use);
/* The same for one value of any Type at @p (a list, an enum ...); *@p must be initialized. */
bool reflect_value_from_json(const Type *t, const char *name, void *p, const json_t *j, uint8_t use,
                             Error *err);
json_t *reflect_value_to_json(const Type *t, const void *p, uint8_t use);
void reflect_value_free(const Type *t, void *p);
/* The variant of union @t that @j's tag names; NULL with a message. */
bool reflect_variant(const Type *t, const json_t *j, Variant *out, Error *err);
json_t *reflect_schema(const Type *t,
                       uint8_t use); /* [{name,type,description,default-value,...}] */
void reflect_dump(const Type *t, const void *obj, uint8_t use, StrBuf *out); /* name=value lines */
void reflect_free(const Type *t, void *obj);                                 /* owned strings */

/* Named-field state stream: fields with FIELD_STATE, in table order, `end` marked.  Loading: a
 * missing name is an error unless STATE_OPT; unknown names, wrong sizes, leftovers are errors
 * that name the field. */
typedef struct ByteBuf {
    uint8_t *p;
    size_t len, cap, at;
} ByteBuf;
void bytebuf_add(ByteBuf *b, const void *p, size_t n);
bool bytebuf_take(ByteBuf *b, void *p, size_t n); /* false: too short */
void bytebuf_free(ByteBuf *b);
void reflect_save(const Type *t, const void *obj, ByteBuf *out);
bool reflect_load(const Type *t, void *obj, ByteBuf *in, Error *err);

#endif
