/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock - mutexes with ranks
 *
 * A thread may take a lock only if its rank is above all it holds (docs/threads.md lists them).
 * Checked when built with CONFIG_CHECK_LOCKS; asserts name both locks.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#include "base/base.h"

enum {
    RANK_DEVICE = 1,
    RANK_TOPOLOGY = 2,
    RANK_BLOCK = 2 /* metadata of image nodes: of a node before those of its children */,
    RANK_IOMMU = 3,
    RANK_PIC = 3 /* its output is an input of the APICs */,
    RANK_IRQ = 4,
    RANK_CODE = 4,
    RANK_CHARDEV = 4, /* a named character device; its back end's queue is taken under it */
    RANK_QUEUE = 5
};

typedef struct Lock {
    pthread_mutex_t m;
    uint8_t rank;
    const char *name;
} Lock;

void lock_init(Lock *l, const char *name, unsigned rank);
void lock_fini(Lock *l);
void lock_take(Lock *l);
void lock_drop(Lock *l);
bool lock_try(Lock *l); /* false: somebody has it */
bool lock_held(
    const Lock *l); /* by this thread; always true without CONFIG_CHECK_LOCKS: for asserts only */

static inline Lock *lock_scope_(Lock *l)
{
    lock_take(l);
    return l;
}
static inline void lock_unscope_(Lock **l)
{
    if (*l)
        lock_drop(*l);
}
#define WITH_LOCK(l)                                                                               \
    for (Lock * l_ __attribute__((cleanup(lock_unscope_))) = lock_scope_(l), *once_ = l_; once_;   \
         once_ = NULL)

#endif
