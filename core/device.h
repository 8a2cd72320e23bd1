/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device - devices, their classes and buses, and the life they lead
 *
 *   realize   machine stopped   check properties, claim resources; on failure leave nothing behind
 *   reset     machine stopped   ENTER: own state only.  HOLD: may drive wires
 *   start     about to run      arm what runs
 *   pause     vCPUs stopped     stop producing, finish what is in flight
 *   save/load paused            tables, plus saving()/loaded(); touch no other device
 *   resume    vCPUs not yet on  undo pause, re-drive wires from state
 *   unrealize stopped/detached  undo realize; no callback of this device runs after it returns
 *
 * A class is a table; it registers itself.  Register handlers, timers and completions of a device
 * run under dev->lock, and so do reset, saving and loaded when the machine calls them: device code
 * contains no locking.  realize, unrealize, start, pause and resume run on the main thread without
 * it.
 */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include "base/reflect.h"
#include "core/clock.h"
#include "core/irq.h"
#include "core/memory.h"

typedef struct DeviceClass DeviceClass;
typedef struct Machine Machine;

typedef enum ResetPhase { RESET_ENTER, RESET_HOLD } ResetPhase;

struct Device {
    const DeviceClass *cls;
    Machine *machine;
    char *id;                         /* -device id=, or NULL */
    Device *parent, *children, *next; /* owned tree: a parent frees its children */
    Lock *lock;                       /* the domain's; release 1: the machine's one lock */
    Clock *clock;                     /* the machine's virtual clock, or a test clock */
    IrqLine irq;                      /* first output line; devices with more declare their own */
    Region mmio; /* set up from cls->regs if mmio_size is not 0; the board maps it */
    bool realized;
};

/* A register of a device: the core does width and alignment splits, reset value, write masks,
 * write-one-to-clear, tracing and the automatic tests.  Hooks see values after the masks. */
typedef struct Reg {
    const char *name;
    uint32_t at;
    uint8_t size;    /* 1, 2, 4, 8 */
    uint32_t member; /* offset of the struct member that holds it, or REG_NO_MEMBER */
    uint64_t reset, writable, w1c;
    uint64_t (*read)(Device *d); /* instead of the member */
    /* after the member was updated; v is what it is now (no member: what was written) */
    void (*write)(Device *d, uint64_t v);
} Reg;
#define REG_NO_MEMBER UINT32_MAX
#define REG_RW(S, nm, off, m, mask, ...)                                                           \
    {                                                                                              \
        .name = nm, .at = off, .size = sizeof(MEMBER_(S, m)), .member = offsetof(S, m),            \
        .writable = mask, __VA_ARGS__                                                              \
    }
#define REG_RO(S, nm, off, m, ...)                                                                 \
    {                                                                                              \
        .name = nm, .at = off, .size = sizeof(MEMBER_(S, m)), .member = offsetof(S, m),            \
        __VA_ARGS__                                                                                \
    }
#define REG_FN(nm, off, sz, ...)                                                                   \
    {                                                                                              \
        .name = nm, .at = off, .size = sz, .member = REG_NO_MEMBER, __VA_ARGS__                    \
    }

typedef enum MigrateKind { MIGRATE_STATE, MIGRATE_NONE_NEEDED, MIGRATE_NO } MigrateKind;

/* A property that is computed, and may be written while the device lives: qom-get, qom-set.
 * Called on the main thread with the device's lock held. */
typedef struct DeviceProp {
    const char *name, *type, *doc;                       /* type: as QEMU calls it */
    json_t *(*get)(Device *d, Error *err);               /* NULL: cannot be read */
    bool (*set)(Device *d, const json_t *v, Error *err); /* NULL: cannot be written */
} DeviceProp;

struct DeviceClass {
    const char *name;
    const char
        *parent; /* name of the abstract kind: "isa-device", "sys-device", ... for qom-list-types */
    const char *doc;
    /* its struct: size, PROP and STATE fields; first member is the base struct (Device or one
     * that embeds it) */
    const Type *type;
    const Reg *regs; /* optional register table ... */
    unsigned n_regs;
    uint32_t mmio_size; /* ... and the size of its window */
    MigrateKind migrate;
    bool user; /* may be created by -device */
    bool (*realize)(Device *d, Error *err);
    void (*unrealize)(Device *d);
    void (*reset)(Device *d, ResetPhase phase);
    void (*start)(Device *d);
    void (*pause)(Device *d);
    void (*resume)(Device *d);
    void (*saving)(Device *d);
    bool (*loaded)(
        Device *d,
        Error *err);       /* re-derive wires and timers from state; refuse impossible values */
    DeviceClass *reg_next; /* private link of the registry */
    const char *alias;     /* other name for -device, or NULL */
    const uint16_t
        *_Atomic reg_index;  /* private: byte of the window -> number of its register + 1 */
    const DeviceProp *props; /* ends with name NULL; may be NULL */
    /* device_add and device_del work while the machine lives: core/hotplug.h */
    bool hotplug;
    /* How often each of *@n inputs rose, of interrupt controllers; NULL: it is none. */
    const _Atomic uint64_t *(*interrupts)(Device *d, unsigned *n);
    /* the guest is asked; it ends with device_detach_post().  NULL: no need to ask */
    void (*unplug_ask)(Device *d);
};

/* A constructor that links the class; no allocation, no order dependence. */
void device_class_register(DeviceClass *c);
#define DEVICE_REGISTER(c)                                                                         \
    __attribute__((constructor)) static void c##_register(void)                                    \
    {                                                                                              \
        device_class_register(&c);                                                                 \
    }
const DeviceClass *device_class_find(
    const char *name); /* NULL if there is none; aliases resolved */
const DeviceClass *device_class_next(const DeviceClass *c); /* sorted by name; NULL starts */

/* new -> (device_set)* -> realize.  Owned by @parent (or the machine's root if NULL). */
Device *device_new(Machine *m, const char *cls, const char *id, Device *parent, Error *err);
bool device_set(Device *d, const char *prop, const char *text, Error *err);
bool device_realize(Device *d, Error *err);
void device_free(Device *d);                    /* unrealizes first; children before parents */
void device_reset(Device *d, ResetPhase phase); /* and its children */
void device_walk(Device *root, void (*fn)(Device *d, void *arg), void *arg);
void device_save(Device *d, ByteBuf *out);
bool device_load(Device *d, ByteBuf *in, Error *err);
Device *device_by_id(Device *root, const char *id);
/* The register table, for windows that a class maps by itself (I/O ports: region_io(...,
 * &device_reg_ops, d, d->lock)). */
uint64_t device_reg_read(Device *d, uint64_t at, unsigned size);
void device_reg_write(Device *d, uint64_t at, unsigned size, uint64_t v);
extern const RegionOps device_reg_ops;

/* Checked down-cast: AS(Serial, s, d); the struct's first member must be the base. */
#define AS(T, var, d) T *var = (T *)(void *)(d)

#endif
