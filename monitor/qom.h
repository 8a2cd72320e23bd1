/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom - the tree and the types that QEMU's object model would show: a view of the machine,
 * devices, objects and
 * processors.  There is no object system behind it.
 *
 *   /                              /objects/ID      -object
 *   /machine                       the board, with its options
 *   /machine/peripheral/ID         devices with an id
 *   /machine/unattached/device[N]  the board's own;  cpu[N] processors
 */
#ifndef MONITOR_QOM_H
#define MONITOR_QOM_H

#include "core/machine.h"
#include "core/object.h"

typedef enum QomKind {
    QOM_ROOT,
    QOM_OBJECTS,
    QOM_MACHINE,
    QOM_PERIPHERAL,
    QOM_ANON,
    QOM_UNATTACHED,
    QOM_DEVICE,
    QOM_CPU,
    QOM_OBJECT
} QomKind;
typedef struct QomNode {
    QomKind kind;
    union {
        Device *device;
        Cpu *cpu;
        Object *object;
    };
} QomNode;

/* A path, or an id that only one device or object has.  The error is DeviceNotFound. */
bool qom_find(Machine *m, const char *path, QomNode *out, Error *err);
/* Each child in turn; false behind the last. */
typedef void QomChildFn(void *arg, const char *name, QomNode child);
void qom_children(Machine *m, QomNode n, QomChildFn *fn, void *arg);
char *qom_type(const Machine *m, QomNode n); /* caller frees */

char *qom_cpu_path(unsigned index);   /* "/machine/unattached/cpu[0]"; caller frees */
char *qom_cpu_type(const Machine *m); /* "qemu64-x86_64-cpu"; caller frees */

#endif
