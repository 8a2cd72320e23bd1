/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reflect_state - described structs to and from a stream of named fields
 *
 *   struct: field... u8 0 field:  u8 length of the name, name, u32 size of the value, value value:
 *   scalars little-endian at their own size, enums as u32; texts u8 present, bytes; structs nested;
 *           arrays as their elements in a row
 *
 * Since names are in the stream, the order of a table may change and members may be added
 * (STATE_OPT).
 */
#include "base/bytes.h"
#include "base/reflect.h"
#include "base/reflect_priv.h"

/* --- byte buffers --- */

void bytebuf_add(ByteBuf *b, const void *p, size_t n)
{
    if (b->cap - b->len < n) {
        b->cap = MAX(b->len + n, MAX(b->cap * 2, (size_t)256));
        b->p = xrealloc(b->p, b->cap);
    }
    if (n)
        memcpy(b->p + b->len, p, n);
    b->len += n;
}

bool bytebuf_take(ByteBuf *b, void *p, size_t n)
{
    if (b->len - b->at < n)
        return false;
    if (n)
        memcpy(p, b->p + b->at, n);
    b->at += n;
    return true;
}

void bytebuf_free(ByteBuf *b)
{
    xfree(b->p);
    *b = (ByteBuf){0};
}

/* --- saving --- */

static void value_save(const Type *t, const void *p, ByteBuf *out)
{
    uint8_t bytes[8];
    const char *s;

    if (t->meta == META_STRUCT) {
        reflect_save(t, p, out);
        return;
    }
    if (type_is_text(t)) {
        s = *(char *const *)p;
        bytebuf_add(out, &(uint8_t){s != NULL}, 1);
        bytebuf_add(out, s, s ? strlen(s) : 0);
        return;
    }
    put_le(bytes, t->size, scalar_get(t, p));
    bytebuf_add(out, bytes, t->size);
}

void reflect_save(const Type *t, const void *obj, ByteBuf *out)
{
    FOR_EACH_FIELD(f, t, FIELD_STATE)
    {
        size_t len = strlen(f->name), size_at;
        uint8_t size[4] = {0};

        assert(len > 0 && len <= UINT8_MAX && !(type_is_text(f->type) && f->count > 1));
        bytebuf_add(out, &(uint8_t){(uint8_t)len}, 1);
        bytebuf_add(out, f->name, len);
        size_at = out->len;
        bytebuf_add(out, size, sizeof size);
        for (unsigned i = 0; i < f->count; i++)
            value_save(f->type, field_at(f, obj, i), out);
        put_le32(out->p + size_at, (uint32_t)(out->len - size_at - sizeof size));
    }
    bytebuf_add(out, &(uint8_t){0}, 1);
}

/* --- loading --- */

static bool text_load(void *p, ByteBuf *in, Error *err)
{
    uint8_t present;
    size_t size;
    char *s = NULL;

    if (!bytebuf_take(in, &present, 1) || present > 1)
        return error_set(err, "broken text");
    size = in->len - in->at;
    if (!present && size)
        return error_set(err, "%zu bytes too many", size);
    if (present) {
        s = try_alloc(size + 1);
        if (!s)
            return error_set(err, "no memory for %zu bytes", size);
        bytebuf_take(in, s, size);
        if (strlen(s) != size) {
            xfree(s);
            return error_set(err, "a text holds a zero byte");
        }
    }
    xfree(*(char **)p);
    *(char **)p = s;
    return true;
}

static bool value_load(const Type *t, void *p, ByteBuf *in, Error *err)
{
    uint8_t bytes[8];
    uint64_t v;

    if (t->meta == META_STRUCT)
        return reflect_load(t, p, in, err);
    if (type_is_text(t))
        return text_load(p, in, err);
    if (!bytebuf_take(in, bytes, t->size))
        return error_set(err, "too short");
    v = get_le(bytes, t->size);
    if ((t->meta == META_BOOL || t->meta == META_ENUM) && !scalar_fits(t, v, false))
        return error_set(err, "impossible value %" PRIu64, v);
    scalar_put(t, p, v);
    return true;
}

/* @in is the value alone. */
static bool field_load(const Field *f, void *obj, ByteBuf *in, Error *err)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (!value_load(f->type, field_at(f, obj, i), in, err))
            return error_prefix(err, "field '%s': ", f->name);
    }
    if (in->at != in->len)
        return error_set(err, "field '%s': %zu bytes too many", f->name, in->len - in->at);
    return true;
}

/* The fields that were in the stream are marked in @seen, up to the end mark. */
static bool fields_load(const Type *t, void *obj, ByteBuf *in, bool *seen, Error *err)
{
    for (;;) {
        char name[UINT8_MAX + 1] = "";
        uint8_t len, size[4];
        const Field *f;
        ByteBuf value;

        if (!bytebuf_take(in, &len, 1))
            return error_set(err, "the end mark is missing");
        if (!len)
            return true;
        if (!bytebuf_take(in, name, len) || !bytebuf_take(in, size, sizeof size) ||
            in->len - in->at < get_le32(size))
            return error_set(err, "cut off in field '%s'", name);
        f = strlen(name) == len ? reflect_find(t, name, FIELD_STATE) : NULL;
        if (!f)
            return error_set(err, "unknown field '%s'", name);
        if (seen[f - t->fields])
            return error_set(err, "field '%s' comes twice", name);
        seen[f - t->fields] = true;
        value = (ByteBuf){.p = in->p + in->at, .len = get_le32(size)};
        if (!field_load(f, obj, &value, err))
            return false;
        in->at += value.len;
    }
}

bool reflect_load(const Type *t, void *obj, ByteBuf *in, Error *err)
{
    AUTO_FREE bool *seen = xnew_n(bool, t->n_fields);

    if (!fields_load(t, obj, in, seen, err))
        return false;
    FOR_EACH_FIELD(f, t, FIELD_STATE)
    {
        if (seen[f - t->fields])
            continue;
        if (!(f->flags & FIELD_OPTIONAL))
            return error_set(err, "field '%s' is missing", f->name);
        for (unsigned i = 0; i < f->count; i++) {
            if (type_is_text(f->type))
                xfree(*(char **)field_at(f, obj, i));
            value_default(f, field_at(f, obj, i), FIELD_STATE);
        }
    }
    return true;
}
