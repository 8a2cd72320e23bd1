/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dump_priv - one dump of guest memory, between the commands and the formats */
#ifndef MONITOR_DUMP_PRIV_H
#define MONITOR_DUMP_PRIV_H

#include <pthread.h>

#include "core/machine.h"

typedef struct DumpRange { /* of physical memory */
    Gpa at;
    uint64_t size, file_at;
} DumpRange;

typedef struct DumpMap { /* ELF: a stretch of virtual addresses, within one range */
    Gva va;
    Gpa pa;
    uint64_t size;
} DumpMap;

enum { DUMP_MAPS_MAX = 60000, DUMP_STEP = 1 << 20, DUMP_PAGE = 4096 };
typedef enum DumpStatus { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED } DumpStatus;

typedef struct Dump {
    Machine *machine;
    _Atomic uint32_t status; /* DumpStatus */
    _Atomic uint64_t done, total;
    _Atomic bool cancelled;
    bool threaded, resume, kdump, plain; /* plain: a file */
    pthread_t thread;
    int fd;
    DumpRange *ranges; /* by rising address */
    unsigned n_ranges;
    DumpMap *maps;
    unsigned n_maps;
    ByteBuf notes;
    Error error;
} Dump;

/* Is memory being written?  It must not change then.  Main thread. */
bool dump_active(Machine *m);

/* Everything goes to d->fd; false: d->error.  Any thread, the machine stands still. */
bool dump_write_elf(Dump *d);
bool dump_write_kdump(Dump *d);

/* What formats share. */
bool dump_put(Dump *d, const void *p, size_t n);
bool dump_read(Dump *d, Gpa at, void *buf, size_t n); /* false: cancelled */

#endif
