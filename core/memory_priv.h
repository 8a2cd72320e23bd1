/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory, between its files - epochs and the search in a flat map, inline
 *
 * Epochs: a reader counts itself in under the phase of now, in one of a few slots.  The phase moves
 * on only when nobody of the other phase is left; what was taken out of sight at epoch e is
 * unreferenced at e + 2.  Entering and leaving touch general registers and thread-local words only.
 */
#ifndef CORE_MEMORY_PRIV_H
#define CORE_MEMORY_PRIV_H

#include "core/memory.h"

enum { EPOCH_SLOTS = 64 };

typedef struct EpochSlot {
    alignas(64) _Atomic uint32_t readers[2]; /* by phase */
} EpochSlot;

typedef struct EpochThread {
    uint32_t depth;
    uint32_t phase;
} EpochThread;

typedef struct Epoch {
    _Atomic uint64_t now;
    EpochSlot slots[EPOCH_SLOTS];
} Epoch;

extern Epoch epoch_; /* of the process: threads do not belong to a machine */
extern _Thread_local EpochThread epoch_thread_;

static inline EpochSlot *epoch_slot_(void)
{
    uint64_t h = (uintptr_t)&epoch_thread_ * 0x9e3779b97f4a7c15ull;

    return &epoch_.slots[h >> 58];
}

static inline void epoch_enter_(void)
{
    EpochThread *t = &epoch_thread_;

    if (t->depth++ == 0) {
        t->phase = atomic_load_explicit(&epoch_.now, memory_order_relaxed) & 1;
        atomic_fetch_add(&epoch_slot_()->readers[t->phase], 1);
    }
}

static inline void epoch_exit_(void)
{
    EpochThread *t = &epoch_thread_;

    if (--t->depth == 0)
        atomic_fetch_sub_explicit(&epoch_slot_()->readers[t->phase], 1, memory_order_release);
}

/* The section that holds @at, or else (NULL) how many bytes from there on are unassigned. */
static inline const MemSection *flatmap_find_(const FlatMap *map, Gpa at, uint64_t *hole)
{
    unsigned lo = 0, hi = map->n;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const MemSection *s = &map->s[mid];
        if (at < s->at)
            hi = mid;
        else if (at - s->at < s->size)
            return s;
        else
            lo = mid + 1;
    }
    *hole = (lo < map->n ? map->s[lo].at : 0) - at; /* 0: the end of the address space ... */
    if (*hole == 0)
        *hole = UINT64_MAX; /* ... seen from its start */
    return NULL;
}

/* What @as looks like now, in a block of its own.  Sets Region.mem of all that is reachable. */
FlatMap *flatten(AddressSpace *as);

/* Host memory of @r->size bytes, owned by @m and numbered in its pages. */
bool ram_attach(Region *r, Memory *m, bool share, Error *err);
bool ram_borrow(Region *r, Memory *m, uint8_t *host, int fd, Error *err);
void ram_detach(Region *r);      /* released after an epoch */
void ram_release_all(Memory *m); /* at once */

#endif
