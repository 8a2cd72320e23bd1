/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock - mutexes with ranks; docs/threads.md
 *
 * With CONFIG_CHECK_LOCKS each thread keeps the list of what it holds.  Invariants then:
 *  1. a lock is taken only if its rank is above that of every lock held (RANK_BLOCK: or the same);
 *  2. a lock is dropped only by the thread that holds it.
 */
#include "base/lock.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef CONFIG_CHECK_LOCKS

enum { HELD_MAX = 16 };

static _Thread_local struct {
    const Lock *l[HELD_MAX];
    unsigned n;
} held;

static noreturn void lock_complain(const char *what, const Lock *l, const Lock *other)
{
    fprintf(stderr, "rhea: lock '%s' (rank %u) %s", l->name, l->rank, what);
    if (other)
        fprintf(stderr, " '%s' (rank %u)", other->name, other->rank);
    fputc('\n', stderr);
    abort();
}

static void held_add(const Lock *l)
{
    for (unsigned i = 0; i < held.n; i++) {
        bool nests = l->rank == RANK_BLOCK && held.l[i]->rank == l->rank && held.l[i] != l;

        if (held.l[i]->rank >= l->rank && !nests)
            lock_complain("taken while holding", l, held.l[i]); /* inv 1 */
    }
    if (held.n == HELD_MAX)
        lock_complain("is one too many", l, NULL);
    held.l[held.n++] = l;
}

static void held_remove(const Lock *l)
{
    for (unsigned i = held.n; i-- > 0;) {
        if (held.l[i] == l) {
            memmove(&held.l[i], &held.l[i + 1], (--held.n - i) * sizeof held.l[0]);
            return;
        }
    }
    lock_complain("dropped by a thread that does not hold it", l, NULL); /* inv 2 */
}

bool lock_held(const Lock *l)
{
    for (unsigned i = 0; i < held.n; i++) {
        if (held.l[i] == l)
            return true;
    }
    return false;
}

#else

static void held_add(const Lock *l UNUSED) {}
static void held_remove(const Lock *l UNUSED) {}

bool lock_held(const Lock *l UNUSED)
{
    return true;
}

#endif

void lock_init(Lock *l, const char *name, unsigned rank)
{
    int rc = pthread_mutex_init(&l->m, NULL);

    assert(rc == 0);
    (void)rc;
    l->rank = (uint8_t)rank;
    l->name = name;
}

void lock_fini(Lock *l)
{
    pthread_mutex_destroy(&l->m);
}

void lock_take(Lock *l)
{
    int rc;

    held_add(l); /* before waiting: an inversion is told, not waited for */
    rc = pthread_mutex_lock(&l->m);
    assert(rc == 0);
    (void)rc;
}

bool lock_try(Lock *l)
{
    if (pthread_mutex_trylock(&l->m))
        return false;
    held_add(l);
    return true;
}

void lock_drop(Lock *l)
{
    int rc;

    held_remove(l);
    rc = pthread_mutex_unlock(&l->m);
    assert(rc == 0);
    (void)rc;
}
