/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hotplug - making devices from JSON, removing them, and the events that tell of it */
#include "core/hotplug.h"

#include "base/alloc.h"
#include "core/command.h"
#include "core/machine.h"

/* --- names --- */

char *device_path(const Device *d)
{
    unsigned index = 0;

    if (d->id)
        return xasprintf("/machine/peripheral/%s", d->id);
    if (!d->parent)
        return xstrdup("/machine/unattached");
    for (const Device *c = d->parent->children; c != d; c = c->next)
        index += !c->id;
    AUTO_FREE char *parent = device_path(d->parent);
    return xasprintf("%s/device[%u]", parent, index);
}

/* --- coming --- */

bool device_set_json(Device *d, const char *prop, const json_t *value, Error *err)
{
    const Field *f = d->cls->type ? reflect_find(d->cls->type, prop, FIELD_PROP) : NULL;

    if (!f)
        return error_set(err, "Property '%s.%s' not found", d->cls->name, prop);
    if (d->realized)
        return error_set(err,
                         "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                         "realized",
                         prop, d->id ? d->id : "(none)", d->cls->name);
    if (f->count > 1)
        return error_set(err, "Property '%s.%s' cannot be set", d->cls->name, prop);
    return reflect_value_from_json(f->type, f->name, (char *)d + f->at, value, FIELD_PROP, err);
}

static bool set_all(Device *d, const json_t *props, Error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)props, key, value) {
        if (strcmp(key, "driver") && strcmp(key, "id") && !device_set_json(d, key, value, err))
            return false;
    }
    return true;
}

static const DeviceClass *class_to_add(const char *driver, bool late, Error *err)
{
    const DeviceClass *cls = device_class_find(driver);

    if (!cls)
        error_set(err, "'%s' is not a valid device model name", driver);
    else if (!cls->user)
        error_set(err, "Parameter 'driver' expects a pluggable device type");
    else if (late && !cls->hotplug)
        error_set(err, "Device '%s' does not support hotplugging", cls->name);
    else
        return cls;
    return NULL;
}

Device *device_add_json(Machine *m, const json_t *props, bool late, Error *err)
{
    const char *driver = json_string_value(json_object_get(props, "driver"));
    const json_t *id = json_object_get(props, "id");
    const DeviceClass *cls;
    Device *d;

    if (!driver || (id && !json_is_string(id))) {
        error_set(err, "Invalid parameter type for '%s', expected: string",
                  driver ? "id" : "driver");
        return NULL;
    }
    cls = class_to_add(driver, late, err);
    if (!cls)
        return NULL;
    if (id && device_by_id(m->root, json_string_value(id))) {
        error_set(err, "Duplicate device ID '%s'", json_string_value(id));
        return NULL;
    }
    d = device_new(m, cls->name, json_string_value(id), NULL, err);
    if (!d || !set_all(d, props, err) || !device_realize(d, err)) {
        device_free(d);
        return NULL;
    }
    WITH_LOCK (d->lock) {
        device_reset(d, RESET_ENTER);
        device_reset(d, RESET_HOLD);
    }
    if (m->state == RUN_RUNNING && cls->start)
        cls->start(d);
    return d;
}

/* --- going --- */

typedef struct Gone {
    char *device, *path;
} Gone;
static const Field gone_fields[] = {
    ARG_STR_OPT(Gone, device, "device", "its id, if it had one"),
    ARG(Gone, path, "path", "where it was"),
};
static STRUCT_TYPE(gone_type, Gone, gone_fields);
EVENT(device_deleted, .name = "DEVICE_DELETED", .data = &gone_type,
      .doc = "A device is gone; its id and its back ends are free.")
EVENT(device_unplug_guest_error, .name = "DEVICE_UNPLUG_GUEST_ERROR", .data = &gone_type,
      .doc = "The guest refused to let go of a device.")

static void device_detach(void *arg)
{
    Device *d = arg;
    Machine *m = d->machine;
    Gone gone = {.device = xstrdup(d->id), .path = device_path(d)};

    device_free(d);
    event_post(m, &event_device_deleted, &gone);
    reflect_free(&gone_type, &gone);
}

void device_detach_post(Device *d)
{
    loop_post(d->machine->loop, device_detach, d);
}

void device_unplug_refused(Device *d)
{
    Gone gone = {.device = xstrdup(d->id), .path = device_path(d)};

    event_post(d->machine, &event_device_unplug_guest_error, &gone);
    reflect_free(&gone_type, &gone);
}

bool device_del(Device *d, Error *err)
{
    if (!d->cls->hotplug)
        return error_set(err, "Device '%s' does not support hotunplugging",
                         d->id ? d->id : d->cls->name);
    if (d->cls->unplug_ask)
        d->cls->unplug_ask(d);
    else
        device_detach_post(d);
    return true;
}
