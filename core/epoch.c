/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * epoch - the writers' side: give back what no reader can see any more
 *
 * Process-wide, as threads are (core/memory_priv.h has the readers' side and the argument).
 */
#include <pthread.h>
#include <sched.h>

#include "base/alloc.h"
#include "core/memory_priv.h"

typedef struct Retired {
    struct Retired *next;
    void (*fn)(void *arg);
    void *arg;
    uint64_t since;
} Retired;

static pthread_mutex_t epoch_mutex =
    PTHREAD_MUTEX_INITIALIZER; /* leaf; the list, and who moves epoch_.now */
static Retired *epoch_retired; /* youngest first */

static bool phase_is_empty(unsigned phase)
{
    for (unsigned i = 0; i < EPOCH_SLOTS; i++)
        if (atomic_load(&epoch_.slots[i].readers[phase]))
            return false;
    return true;
}

/* Move on as far as readers let us; the list of what may be given back is taken off. */
static Retired *epoch_advance_locked(void)
{
    uint64_t now = atomic_load(&epoch_.now);

    for (int i = 0; i < 2 && phase_is_empty((now + 1) & 1); i++)
        atomic_store(&epoch_.now, ++now);

    Retired **p = &epoch_retired;
    while (*p && (*p)->since + 2 > now)
        p = &(*p)->next;
    Retired *done = *p;
    *p = NULL;
    return done;
}

static uint64_t epoch_poll(Retired *more)
{
    pthread_mutex_lock(&epoch_mutex);
    if (more) {
        more->since = atomic_load(&epoch_.now);
        more->next = epoch_retired;
        epoch_retired = more;
    }
    Retired *done = epoch_advance_locked();
    uint64_t now = atomic_load(&epoch_.now);
    pthread_mutex_unlock(&epoch_mutex);

    while (done) {
        Retired *r = done;
        done = r->next;
        r->fn(r->arg);
        xfree(r);
    }
    return now;
}

void epoch_retire(void (*fn)(void *arg), void *arg)
{
    Retired *r = xnew(Retired);

    r->fn = fn;
    r->arg = arg;
    epoch_poll(r);
}

void epoch_wait(void)
{
    uint64_t since = atomic_load(&epoch_.now);

    assert(epoch_thread_.depth == 0);
    while (epoch_poll(NULL) < since + 2)
        sched_yield();
}
