/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qom - walking the tree that qom.h shows */
#include "monitor/qom.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/hotplug.h"

/* --- names --- */

char *qom_cpu_path(unsigned index)
{
    return xasprintf("/machine/unattached/cpu[%u]", index);
}

char *qom_cpu_type(const Machine *m)
{
    const char *model = m->cfg.cpu_model ? m->cfg.cpu_model : "none";

    return xasprintf("%.*s-%s-cpu", (int)strcspn(model, ","), model,
                     m->arch ? m->arch->name : "no");
}

char *qom_type(const Machine *m, QomNode n)
{
    switch (n.kind) {
    case QOM_MACHINE: return xasprintf("%s-machine", m->board->name);
    case QOM_DEVICE: return xstrdup(n.device->cls->name);
    case QOM_CPU: return qom_cpu_type(m);
    case QOM_OBJECT: return xstrdup(n.object->cls->name);
    default: return xstrdup("container");
    }
}

/* --- children --- */

typedef struct QomName {
    const char *name;
    QomKind parent, kind;
} QomName;
static const QomName containers[] = {
    {"machine", QOM_ROOT, QOM_MACHINE},          {"objects", QOM_ROOT, QOM_OBJECTS},
    {"peripheral", QOM_MACHINE, QOM_PERIPHERAL}, {"peripheral-anon", QOM_MACHINE, QOM_ANON},
    {"unattached", QOM_MACHINE, QOM_UNATTACHED},
};

/* Devices below @d, with or without an id. */
static void device_children(const Device *d, bool ids, QomChildFn *fn, void *arg)
{
    unsigned index = 0;

    for (Device *c = d->children; c; c = c->next) {
        char name[24];

        if (!c->id)
            snprintf(name, sizeof name, "device[%u]", index++);
        if (!c->id == !ids)
            fn(arg, c->id ? c->id : name, (QomNode){.kind = QOM_DEVICE, .device = c});
    }
}

typedef struct IdWalk {
    QomChildFn *fn;
    void *arg;
} IdWalk;

static void device_with_id(Device *d, void *arg)
{
    const IdWalk *w = arg;

    if (d->id)
        w->fn(w->arg, d->id, (QomNode){.kind = QOM_DEVICE, .device = d});
}

void qom_children(Machine *m, QomNode n, QomChildFn *fn, void *arg)
{
    for (unsigned i = 0; i < COUNT_OF(containers); i++)
        if (containers[i].parent == n.kind)
            fn(arg, containers[i].name, (QomNode){.kind = containers[i].kind});
    if (n.kind == QOM_PERIPHERAL)
        device_walk(m->root, device_with_id, &(IdWalk){fn, arg});
    if (n.kind == QOM_DEVICE)
        device_children(n.device, false, fn, arg);
    if (n.kind == QOM_UNATTACHED) {
        device_children(m->root, false, fn, arg);
        for (unsigned i = 0; i < m->n_cpus; i++) {
            char name[24];

            snprintf(name, sizeof name, "cpu[%u]", i);
            fn(arg, name, (QomNode){.kind = QOM_CPU, .cpu = m->cpus[i]});
        }
    }
    if (n.kind == QOM_OBJECTS && m->objects)
        for (Object *o = object_next(m->objects, NULL); o; o = object_next(m->objects, o))
            fn(arg, o->id, (QomNode){.kind = QOM_OBJECT, .object = o});
}

/* --- paths --- */

typedef struct Search {
    const char *name;
    size_t len;
    QomNode found;
    unsigned n;
} Search;

static void search_child(void *arg, const char *name, QomNode child)
{
    Search *s = arg;

    if (strlen(name) == s->len && !memcmp(name, s->name, s->len)) {
        s->found = child;
        s->n++;
    }
}

bool qom_find(Machine *m, const char *path, QomNode *out, Error *err)
{
    QomNode n = {.kind = QOM_ROOT};

    if (*path != '/') { /* an id by itself */
        static const QomKind places[] = {QOM_PERIPHERAL, QOM_OBJECTS};
        Search s = {.name = path, .len = strlen(path)};

        for (unsigned i = 0; i < COUNT_OF(places); i++)
            qom_children(m, (QomNode){.kind = places[i]}, search_child, &s);
        *out = s.found;
        if (s.n > 1)
            return error_set(err, "Path '%s' does not uniquely identify an object", path);
        return s.n == 1 ||
               error_set_class(err, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    for (const char *p = path; *p;) {
        Search s = {0};

        p += strspn(p, "/");
        s.name = p;
        s.len = strcspn(p, "/");
        if (!s.len)
            break;
        qom_children(m, n, search_child, &s);
        if (!s.n)
            return error_set_class(err, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
        n = s.found;
        p += s.len;
    }
    *out = n;
    return true;
}
