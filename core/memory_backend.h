/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_backend - guest RAM made by -object memory-backend-{ram,file,memfd} */
#ifndef CORE_MEMORY_BACKEND_H
#define CORE_MEMORY_BACKEND_H

#include "core/machine.h"
#include "core/object.h"

typedef struct HostMemory {
    uint8_t *host; /* page aligned; stays where it is until the object is freed */
    uint64_t size;
    int fd;          /* what it is a mapping of, -1: anonymous */
    uint64_t offset; /* in fd */
    bool share, prealloc, readonly;
} HostMemory;

/* The memory of object @id, which counts one more user (memory_backend_unuse).  Each may back one
 * region only.  NULL: no such object, or in use. */
const HostMemory *memory_backend_use(Objects *set, const char *id, Error *err);
void memory_backend_unuse(Objects *set, const char *id);
/* of host-nodes; @o: a memory backend */
bool memory_backend_has_node(const Object *o, unsigned node);
uint64_t memory_backend_size(Objects *set, const char *id); /* 0: no such object */

/* The region of all of a machine's RAM, as -m, -mem-path, -machine memory-backend= and mem_share
 * say.  For boards with BOARD_MEMORY_BACKEND. */
bool machine_ram(Machine *m, Region *r, const char *name, Error *err);

#endif
