/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device_state - saving and loading devices; docs/migration.md
 *
 * A section is { u8 name length, name, u32 instance, u32 length, payload }, little-endian.  The
 * payload is the named-field stream of base/reflect.h.  The instance counts devices of one class in
 * tree order.  A device that cannot be saved leaves a section of length ~0, so that it is loading
 * which fails, by name.
 */
#include "base/bytes.h"
#include "core/device_priv.h"
#include "core/machine.h"

static const uint32_t NOT_SAVED = UINT32_MAX;

size_t section_begin(ByteBuf *out, const char *name, uint32_t instance)
{
    uint8_t n = (uint8_t)strlen(name), word[4];

    bytebuf_add(out, &n, 1);
    bytebuf_add(out, name, n);
    put_le32(word, instance);
    bytebuf_add(out, word, 4);
    put_le32(word, NOT_SAVED);
    bytebuf_add(out, word, 4);
    return out->len;
}

void section_end(ByteBuf *out, size_t began)
{
    assert(out->len - began < NOT_SAVED);
    put_le32(out->p + began - 4, (uint32_t)(out->len - began));
}

bool section_take(ByteBuf *in, const char *name, uint32_t instance, ByteBuf *body, Error *err)
{
    uint8_t n, word[8];
    char found[256];

    if (!bytebuf_take(in, &n, 1) || !bytebuf_take(in, found, n) || !bytebuf_take(in, word, 8))
        return error_set(err, "the state ends before '%s'", name);
    found[n] = 0;
    if (strcmp(found, name) != 0 || get_le32(word) != instance)
        return error_set(err,
                         "the state has '%s' #%" PRIu32 " where this machine has '%s' #%" PRIu32,
                         found, get_le32(word), name, instance);
    uint32_t len = get_le32(word + 4);
    if (len == NOT_SAVED)
        return error_set(err, "'%s' cannot be saved and loaded", name);
    if (len > in->len - in->at)
        return error_set(err, "the state ends within '%s'", name);
    *body = (ByteBuf){.p = in->p + in->at, .len = len};
    in->at += len;
    return true;
}

bool section_finish(const ByteBuf *body, const char *name, Error *err)
{
    if (body->at != body->len)
        return error_set(err, "'%s': %zu bytes left over", name, body->len - body->at);
    return true;
}

typedef struct InstanceCount {
    const Device *of;
    uint32_t n;
    bool found;
} InstanceCount;

static void instance_count(Device *d, void *arg)
{
    InstanceCount *c = arg;

    c->found |= d == c->of;
    if (!c->found && d->cls == c->of->cls)
        c->n++;
}

static uint32_t device_instance(const Device *d)
{
    InstanceCount c = {.of = d};

    device_walk(d->machine->root, instance_count, &c);
    return c.n;
}

void device_save(Device *d, ByteBuf *out)
{
    const DeviceClass *cls = d->cls;

    if (cls->migrate == MIGRATE_NONE_NEEDED)
        return;
    size_t began = section_begin(out, cls->name, device_instance(d));
    if (cls->migrate == MIGRATE_NO)
        return;
    if (cls->saving)
        cls->saving(d);
    if (cls->type)
        reflect_save(cls->type, d, out);
    section_end(out, began);
}

bool device_load(Device *d, ByteBuf *in, Error *err)
{
    const DeviceClass *cls = d->cls;
    ByteBuf body;

    if (cls->migrate == MIGRATE_NONE_NEEDED)
        return true;
    if (!section_take(in, cls->name, device_instance(d), &body, err))
        return false;
    if (cls->type && !reflect_load(cls->type, d, &body, err))
        return error_prefix(err, "device '%s': ", cls->name);
    if (!section_finish(&body, cls->name, err))
        return false;
    if (cls->loaded && !cls->loaded(d, err))
        return error_prefix(err, "device '%s': ", cls->name);
    return true;
}
