/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * work - threads for what may block
 *
 * A worker that waits for another request (a gate, a child) does not count: the pool may start one
 * more, so that what it waits for can run.
 */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "block/block_priv.h"

enum { WORKERS_MAX = 64, THREADS_MAX = 1024, IDLE_S = 10 };

typedef struct Job {
    void (*fn)(void *arg);
    void *arg;
    struct Job *next;
} Job;

struct Workers {
    pthread_mutex_t lock;
    pthread_cond_t come, gone;
    Job *first, **last;
    unsigned threads, idle, waiting, queued;
    bool ending;
};

static _Thread_local Workers *mine;

static void *worker_main(void *arg)
{
    Workers *w = arg;

    mine = w;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        Job *j = w->first;

        if (j) {
            w->first = j->next;
            if (!w->first)
                w->last = &w->first;
            w->queued--;
            pthread_mutex_unlock(&w->lock);
            j->fn(j->arg);
            xfree(j);
            pthread_mutex_lock(&w->lock);
        } else if (w->ending) {
            break;
        } else {
            struct timespec until;
            int rc;

            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += IDLE_S;
            w->idle++;
            rc = pthread_cond_timedwait(&w->come, &w->lock, &until);
            w->idle--;
            if (rc == ETIMEDOUT && !w->first)
                break;
        }
    }
    w->threads--;
    pthread_cond_broadcast(&w->gone);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* With the lock: one more thread, if there is work that nobody is free for. */
static void workers_grow_locked(Workers *w)
{
    pthread_t t;
    pthread_attr_t a;

    if (!w->queued || w->idle >= w->queued || w->threads >= THREADS_MAX ||
        w->threads - w->waiting >= WORKERS_MAX)
        return;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    if (!pthread_create(&t, &a, worker_main, w))
        w->threads++;
    pthread_attr_destroy(&a);
}

Workers *workers_new(void)
{
    Workers *w = xnew(Workers);

    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->come, NULL);
    pthread_cond_init(&w->gone, NULL);
    w->last = &w->first;
    return w;
}

void workers_free(Workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->come);
    while (w->threads)
        pthread_cond_wait(&w->gone, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->come);
    pthread_cond_destroy(&w->gone);
    xfree(w);
}

void workers_run(Workers *w, void (*fn)(void *arg), void *arg)
{
    Job *j = xnew(Job);

    *j = (Job){fn, arg, NULL};
    pthread_mutex_lock(&w->lock);
    *w->last = j;
    w->last = &j->next;
    w->queued++;
    workers_grow_locked(w);
    pthread_cond_signal(&w->come);
    if (!w->threads) { /* no thread could be started: in place, late rather than never */
        w->first = NULL;
        w->last = &w->first;
        w->queued = 0;
        pthread_mutex_unlock(&w->lock);
        j->fn(j->arg);
        xfree(j);
        return;
    }
    pthread_mutex_unlock(&w->lock);
}

void worker_waits(bool begin)
{
    Workers *w = mine;

    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    if (begin) {
        w->waiting++;
        workers_grow_locked(w);
    } else {
        w->waiting--;
    }
    pthread_mutex_unlock(&w->lock);
}
