/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reflect_priv - what the walkers share */
#ifndef BASE_REFLECT_PRIV_H
#define BASE_REFLECT_PRIV_H

#include "base/reflect.h"

/* How a value is kept. */
static inline bool type_is_text(const Type *t)
{
    return t->meta == META_STR || t->meta == META_LINK;
}
/* At most 8 bytes that scalar_get/put move. */
static inline bool type_is_scalar(const Type *t)
{
    return t->meta <= META_SIZE || t->meta == META_ENUM || t->meta == META_REAL;
}
static inline bool type_is_signed(const Type *t)
{
    return t->meta == META_INT;
}

static inline void *field_at(const Field *f, const void *obj, unsigned i)
{
    return (char *)(uintptr_t)obj + f->at + (size_t)i * f->type->size;
}

/* For each member of @t with one of the uses @use. */
#define FOR_EACH_FIELD(f, t, uses)                                                                 \
    for (const Field *f = (t)->fields; f < (t)->fields + (t)->n_fields; f++)                       \
        if (f->use & (uses))

/* Scalars (bool, uint, int, size, enum) as 64 bits; signed ones sign-extended. */
uint64_t scalar_get(const Type *t, const void *p);
void scalar_put(const Type *t, void *p, uint64_t v);
/* Does @v fit?  @negative: v is a negative number in two's complement. */
bool scalar_fits(const Type *t, uint64_t v, bool negative);
/* "a number from 0 to 255", "one of a, b": what a field of this type takes. */
void type_explain(const Type *t, StrBuf *out);
/* One value from text; does not free a string that is there. */
bool value_parse(const Type *t, void *p, const char *text);
void value_print(const Type *t, const void *p, StrBuf *out);
void value_default(const Field *f, void *p, uint8_t use);
void field_mark_present(const Field *f, void *obj);
bool field_is_present(const Field *f, const void *obj);

#endif
