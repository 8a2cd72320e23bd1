/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * registry - what is linked in: device classes, boards, architectures, accelerators
 *
 * Filled by constructors before main(), read-only after: each only links what it is given.
 */
#include "core/machine.h"

enum { NAMES_MAX = 16 };

static DeviceClass *device_classes; /* sorted by name */
static Board *boards;               /* sorted by name */
static const CpuArch **archs[NAMES_MAX];
static const Accel **accels[NAMES_MAX];

static bool is_named(const char *name, const char *a, const char *alias)
{
    return strcmp(name, a) == 0 || (alias && strcmp(name, alias) == 0);
}

/* --- device classes --- */

void device_class_register(DeviceClass *c)
{
    DeviceClass **p = &device_classes;

    while (*p && strcmp((*p)->name, c->name) < 0)
        p = &(*p)->reg_next;
    assert(!*p || strcmp((*p)->name, c->name) != 0);
    c->reg_next = *p;
    *p = c;
}

const DeviceClass *device_class_find(const char *name)
{
    for (DeviceClass *c = device_classes; c; c = c->reg_next)
        if (is_named(name, c->name, c->alias))
            return c;
    return NULL;
}

const DeviceClass *device_class_next(const DeviceClass *c)
{
    return c ? c->reg_next : device_classes;
}

/* --- boards --- */

void board_register(Board *b)
{
    Board **p = &boards;

    while (*p && strcmp((*p)->name, b->name) < 0)
        p = &(*p)->reg_next;
    b->reg_next = *p;
    *p = b;
}

bool board_has_arch(const Board *b, const char *arch)
{
    size_t n = strlen(arch);
    const char *p = b->arch;

    while (p && *p) {
        size_t len = strcspn(p, ",");
        if (len == n && memcmp(p, arch, n) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}

const Board *board_find(const char *name, const char *arch)
{
    const Board *first = NULL;

    for (const Board *b = boards; b; b = b->reg_next) {
        if (b->arch ? !board_has_arch(b, arch) : !name) /* without processors: only by name */
            continue;
        if (name ? is_named(name, b->name, b->alias) : b->is_default)
            return b;
        if (!first)
            first = b;
    }
    return name ? NULL : first;
}

const Board *board_next(const Board *b)
{
    return b ? b->reg_next : boards;
}

/* --- architectures and accelerators --- */

static void slot_add(const void **slots[NAMES_MAX], const void **slot)
{
    unsigned i = 0;

    while (slots[i])
        i++;
    assert(i < NAMES_MAX - 1);
    slots[i] = slot;
}

void cpu_arch_register(const CpuArch **slot, const CpuArch *a)
{
    *slot = a;
    slot_add((const void ***)archs, (const void **)slot);
}

const CpuArch *cpu_arch_find(const char *name)
{
    for (unsigned i = 0; archs[i]; i++)
        if (strcmp((*archs[i])->name, name) == 0)
            return *archs[i];
    return NULL;
}

void accel_register(const Accel **slot, const Accel *a)
{
    *slot = a;
    slot_add((const void ***)accels, (const void **)slot);
}

const Accel *accel_find(const char *name)
{
    for (unsigned i = 0; accels[i]; i++)
        if (is_named(name, (*accels[i])->name, (*accels[i])->alias))
            return *accels[i];
    return NULL;
}
