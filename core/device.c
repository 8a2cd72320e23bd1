/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device - creation, properties, the owned tree, reset */
#include "core/device.h"

#include <stdio.h>

#include "base/alloc.h"
#include "core/device_priv.h"
#include "core/machine.h"

/* What the machine's root is: owns, and does nothing. */
static DeviceClass container_class = {
    .name = "container",
    .parent = "device",
    .doc = "holds other devices",
    .migrate = MIGRATE_NONE_NEEDED,
};
DEVICE_REGISTER(container_class)

static void device_adopt(Device *parent, Device *d)
{
    Device **p = &parent->children;

    while (*p)
        p = &(*p)->next;
    *p = d;
    d->parent = parent;
}

static void device_orphan(Device *d)
{
    Device **p;

    if (!d->parent)
        return;
    for (p = &d->parent->children; *p != d; p = &(*p)->next)
        continue;
    *p = d->next;
    d->parent = d->next = NULL;
}

/* Is "driver." at the beginning of @global this class, by its name, alias or kind? */
static const char *global_for(const char *global, const DeviceClass *c)
{
    const char *names[] = {c->name, c->alias, c->parent};
    const char *dot = strchr(global, '.');
    size_t n = dot ? (size_t)(dot - global) : 0;

    for (unsigned i = 0; dot && i < COUNT_OF(names); i++)
        if (names[i] && strlen(names[i]) == n && !strncmp(names[i], global, n))
            return dot + 1;
    return NULL;
}

/* -global: what users want instead of the defaults; the last one counts. */
static bool apply_globals(Device *d, Error *err)
{
    const ConfigTexts *globals = &d->machine->cfg.globals;

    for (unsigned i = 0; i < globals->n; i++) {
        const char *rest = global_for(globals->s[i], d->cls), *value = rest;
        char property[64];

        if (!rest)
            continue;
        value += strcspn(rest, "=");
        snprintf(property, sizeof property, "%.*s", (int)(value - rest), rest);
        if (!device_set(d, property, *value ? value + 1 : "on", err))
            return error_prefix(err, "can't apply global %s: ", globals->s[i]);
    }
    return true;
}

Device *device_new(Machine *m, const char *name, const char *id, Device *parent, Error *err)
{
    const DeviceClass *cls = device_class_find(name);

    if (!cls) {
        error_set(err, "'%s' is not a valid device model name", name);
        return NULL;
    }
    if (id && m->root && device_by_id(m->root, id)) {
        error_set(err, "duplicate device id '%s'", id);
        return NULL;
    }

    Device *d = xalloc_aligned(64, cls->type ? cls->type->size : sizeof(Device));
    d->cls = cls;
    d->machine = m;
    d->id = xstrdup(id);
    d->lock = &m->lock;
    d->clock = m->vclock;
    if (cls->type)
        reflect_defaults(cls->type, d, FIELD_PROP);
    if (!parent)
        parent = m->root;
    if (parent)
        device_adopt(parent, d);
    if (!m || apply_globals(d, err))
        return d;
    device_free(d);
    return NULL;
}

bool device_set(Device *d, const char *prop, const char *text, Error *err)
{
    const Field *f = d->cls->type ? reflect_find(d->cls->type, prop, FIELD_PROP) : NULL;

    if (!f)
        return error_set(err, "Property '%s.%s' not found", d->cls->name, prop);
    if (d->realized)
        return error_set(err, "property '%s' of device '%s' cannot be set any more: it is realized",
                         prop, d->id ? d->id : d->cls->name);
    return reflect_set(f, d, text, err);
}

bool device_realize(Device *d, Error *err)
{
    const DeviceClass *cls = d->cls;

    assert(!d->realized);
    if (cls->regs && cls->mmio_size)
        region_io(&d->mmio, cls->name, cls->mmio_size, &device_reg_ops, d, d->lock);
    if (cls->realize && !cls->realize(d, err)) {
        region_fini(&d->mmio);
        return false;
    }
    d->realized = true;
    return true;
}

void device_free(Device *d)
{
    if (!d)
        return;
    while (d->children)
        device_free(d->children);
    if (d->realized && d->cls->unrealize)
        d->cls->unrealize(d);
    region_fini(&d->mmio);
    device_orphan(d);
    if (d->cls->type)
        reflect_free(d->cls->type, d);
    xfree(d->id);
    xfree(d);
}

void device_reset(Device *d, ResetPhase phase)
{
    if (phase == RESET_ENTER)
        device_regs_reset(d);
    if (d->cls->reset)
        d->cls->reset(d, phase);
    for (Device *c = d->children; c; c = c->next)
        device_reset(c, phase);
}

void device_walk(Device *root, void (*fn)(Device *d, void *arg), void *arg)
{
    fn(root, arg);
    for (Device *c = root->children; c; c = c->next)
        device_walk(c, fn, arg);
}

Device *device_by_id(Device *root, const char *id)
{
    if (root->id && strcmp(root->id, id) == 0)
        return root;
    for (Device *c = root->children; c; c = c->next) {
        Device *found = device_by_id(c, id);
        if (found)
            return found;
    }
    return NULL;
}
