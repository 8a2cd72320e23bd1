/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_cmds - device_add, device_del, object-add, object-del, query-iothreads (QEMU 7.2,
 * qapi/qdev.json, qom.json) */
#include "base/alloc.h"
#include "core/command.h"
#include "core/hotplug.h"
#include "core/iothread.h"
#include "core/machine.h"
#include "core/memory_backend.h"
#include "monitor/qom.h"

/* --- devices --- */

typedef struct DeviceAdd {
    char *driver, *bus, *id;
} DeviceAdd;
static const Field device_add_fields[] = {
    ARG(DeviceAdd, driver, "driver", "kind of device"),
    ARG_STR_OPT(DeviceAdd, bus, "bus", "where to plug it in"),
    ARG_STR_OPT(DeviceAdd, id, "id", "its name"),
};
static STRUCT_TYPE(device_add_type, DeviceAdd, device_add_fields);

COMMAND_FN(device_add)
{
    const DeviceAdd *a = args;
    json_t *props = json_copy((json_t *)command_extra(m));
    Device *d;

    json_object_set_new(props, "driver", json_string(a->driver));
    if (a->bus)
        json_object_set_new(props, "bus", json_string(a->bus));
    if (a->id)
        json_object_set_new(props, "id", json_string(a->id));
    d = device_add_json(m, props, true, err);
    json_decref(props);
    return d != NULL;
}
COMMAND(device_add, .name = "device_add", .args = &device_add_type, .run = device_add,
        .flags = COMMAND_EXTRA_PROPS, .features = "json-cli json-cli-hotplug",
        .doc = "Make a device and plug it in; its properties are further members.")

typedef struct Id {
    char *id;
} Id;
static const Field id_fields[] = {ARG(Id, id, "id", "the name it was given, or its path")};
static STRUCT_TYPE(id_type, Id, id_fields);

COMMAND_FN(do_device_del)
{
    QomNode n;

    if (!qom_find(m, ((Id *)args)->id, &n, err))
        return false;
    if (n.kind != QOM_DEVICE)
        return error_set(err, "%s is not a hotpluggable device", ((Id *)args)->id);
    return device_del(n.device, err);
}
COMMAND(device_del, .name = "device_del", .args = &id_type, .run = do_device_del,
        .doc = "Ask for the removal of a device; DEVICE_DELETED follows.")

/* --- objects --- */

typedef struct ObjectBase {
    char *type, *id;
} ObjectBase;
static const Field object_fields[] = {
    ARG(ObjectBase, type, "qom-type", "kind of object"),
    ARG(ObjectBase, id, "id", "its name"),
};
static STRUCT_TYPE(object_base, ObjectBase, object_fields);

static bool object_variant(unsigned i, Variant *out)
{
    const ObjectClass *c = object_class_next(NULL);

    while (c && i--)
        c = object_class_next(c);
    if (c)
        *out = (Variant){c->name, c->type};
    return c != NULL;
}
static UNION_TYPE(object_type, ObjectOptions, &object_base, "qom-type", object_variant);

COMMAND_FN(object_add)
{
    if (!m->objects)
        return error_set(err, "there is no place for objects here");
    return object_new_json(m->objects, *(json_t **)args, err) != NULL;
}
COMMAND(object_add, .name = "object-add", .args = &object_type, .run = object_add,
        .flags = COMMAND_PRECONFIG, .doc = "Make an object as -object does.")

COMMAND_FN(object_del)
{
    const char *id = ((Id *)args)->id;

    return m->objects ? object_delete(m->objects, id, err)
                      : error_set(err, "object '%s' not found", id);
}
COMMAND(object_del, .name = "object-del", .args = &id_type, .run = object_del,
        .flags = COMMAND_PRECONFIG, .doc = "Remove an object that nothing uses.")

/* --- memory backends --- */

static const char *const policy_names[] = {"default", "preferred", "bind", "interleave", NULL};
static ENUM_TYPE(policy_type, HostMemPolicy, policy_names);
static LIST_TYPE(nodes_type, &type_u16);

typedef struct Memdev {
    char *id;
    uint64_t size;
    bool merge, dump, prealloc, share, reserve;
    List nodes;
    uint32_t policy;
} Memdev;
static const Field memdev_fields[] = {
    ARG_STR_OPT(Memdev, id, "id", "of the object"),
    ARG(Memdev, size, "size", "bytes"),
    ARG(Memdev, merge, "merge", "equal pages may become one"),
    ARG(Memdev, dump, "dump", "part of a core dump"),
    ARG(Memdev, prealloc, "prealloc", "allocated from the start"),
    ARG(Memdev, share, "share", "a shared mapping"),
    ARG(Memdev, reserve, "reserve", "swap space is reserved"),
    ARG_TYPE(Memdev, nodes, "host-nodes", &nodes_type, "of the policy"),
    ARG_TYPE(Memdev, policy, "policy", &policy_type, "where on the host it is"),
};
static STRUCT_TYPE(memdev_type, Memdev, memdev_fields);
static LIST_TYPE(memdevs_type, &memdev_type);

/* The members that are properties of the object, by their names. */
static bool memdev_fill(Memdev *d, const Object *o, Error *err)
{
    json_t *all = json_object();
    bool ok;

    for (unsigned i = 0; i < COUNT_OF(memdev_fields); i++) {
        const Field *f = reflect_find(o->cls->type, memdev_fields[i].name, FIELD_PROP);

        if (f)
            json_object_set_new(
                all, f->name, reflect_value_to_json(f->type, (const char *)o + f->at, FIELD_PROP));
    }
    json_object_set_new(all, "id", json_string(o->id));
    json_object_set_new(all, "host-nodes", json_array());
    ok = reflect_from_json(&memdev_type, d, all, FIELD_ARG, err);
    json_decref(all);
    for (unsigned i = 0; ok && i <= UINT16_MAX; i++)
        if (memory_backend_has_node(o, i))
            *(uint16_t *)list_add(&d->nodes, &type_u16) = (uint16_t)i;
    return ok;
}

/* What the board makes when no object was named for it. */
static void memdev_of_machine(Machine *m, List *ret)
{
    const MachineConfig *c = &m->cfg;

    if (!(m->board->features & BOARD_MEMORY_BACKEND) || c->memory_backend || c->mem_path ||
        !c->ram_size)
        return;
    *(Memdev *)list_add(ret, &memdev_type) = (Memdev){.id = xstrdup("pc.ram"),
                                                      .size = c->ram_size,
                                                      .merge = true,
                                                      .dump = true,
                                                      .reserve = true,
                                                      .prealloc = c->mem_prealloc,
                                                      .share = c->mem_share};
}

COMMAND_FN(query_memdev)
{
    memdev_of_machine(m, ret);
    for (Object *o = m->objects ? object_next(m->objects, NULL) : NULL; o;
         o = object_next(m->objects, o))
        if (object_class_is(o->cls, "memory-backend") &&
            !memdev_fill(list_add(ret, &memdev_type), o, err))
            return false;
    return true;
}
COMMAND(query_memdev, .name = "query-memdev", .ret = &memdevs_type, .run = query_memdev,
        .doc = "The guest's memory: objects, and what the board made of itself.")

/* --- iothreads --- */

typedef struct IoThreadInfo {
    char *id;
    int64_t tid, poll_max, poll_grow, poll_shrink, batch;
} IoThreadInfo;
static const Field iothread_fields[] = {
    ARG(IoThreadInfo, id, "id", "of the object"),
    ARG(IoThreadInfo, tid, "thread-id", "of the host"),
    ARG(IoThreadInfo, poll_max, "poll-max-ns", "it does not poll"),
    ARG(IoThreadInfo, poll_grow, "poll-grow", "nor grow that"),
    ARG(IoThreadInfo, poll_shrink, "poll-shrink", "nor shrink it"),
    ARG(IoThreadInfo, batch, "aio-max-batch", "no limit"),
};
static STRUCT_TYPE(iothread_type, IoThreadInfo, iothread_fields);
static LIST_TYPE(iothreads_type, &iothread_type);

COMMAND_FN(query_iothreads)
{
    for (Object *o = m->objects ? object_next(m->objects, NULL) : NULL; o;
         o = object_next(m->objects, o)) {
        IoThread *t =
            strcmp(o->cls->name, "iothread") ? NULL : iothread_use(m->objects, o->id, err);

        if (!t)
            continue;
        *(IoThreadInfo *)list_add(ret, &iothread_type) =
            (IoThreadInfo){.id = xstrdup(o->id), .tid = iothread_tid(t)};
        iothread_unuse(t);
    }
    return true;
}
COMMAND(query_iothreads, .name = "query-iothreads", .ret = &iothreads_type, .run = query_iothreads,
        .flags = COMMAND_PRECONFIG, .doc = "The threads made by -object iothread.")
