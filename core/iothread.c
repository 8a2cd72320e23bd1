/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iothread - -object iothread: a thread that does nothing but run its loop */
#define _GNU_SOURCE
#include "core/iothread.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/alloc.h"

struct IoThread {
    Object obj;
    int64_t poll_max_ns, poll_grow, poll_shrink, aio_max_batch, pool_min, pool_max;
    Loop *loop;
    pthread_t thread;
    bool running;
    atomic_int tid;
    sem_t started;
};

static void *iothread_run(void *arg)
{
    IoThread *t = arg;

    atomic_store(&t->tid, gettid());
    sem_post(&t->started);
    loop_run(t->loop);
    return NULL;
}

static bool iothread_complete(Object *o, Error *err)
{
    IoThread *t = (IoThread *)o;
    char name[16];
    int rc;

    if (t->poll_max_ns < 0 || t->poll_grow < 0 || t->poll_shrink < 0)
        return error_set(err, "poll-max-ns, poll-grow and poll-shrink must not be negative");
    t->loop = loop_new(err);
    if (!t->loop)
        return false;
    sem_init(&t->started, 0, 0);
    rc = pthread_create(&t->thread, NULL, iothread_run, t);
    if (rc)
        return error_set_errno(err, rc, "cannot start a thread");
    t->running = true;
    snprintf(name, sizeof name, "IO %.12s", o->id);
    pthread_setname_np(t->thread, name);
    while (sem_wait(&t->started)) /* from here on the loop is its thread's */
        ;
    return true;
}

static void iothread_free(Object *o)
{
    IoThread *t = (IoThread *)o;

    if (t->running) {
        loop_stop(t->loop);
        pthread_join(t->thread, NULL);
    }
    if (t->loop)
        sem_destroy(&t->started);
    loop_free(t->loop);
}

static const Field iothread_fields[] = {
    PROP(IoThread, poll_max_ns, "poll-max-ns", 32768, "accepted; the loop does not poll"),
    PROP(IoThread, poll_grow, "poll-grow", 0, "accepted; the loop does not poll"),
    PROP(IoThread, poll_shrink, "poll-shrink", 0, "accepted; the loop does not poll"),
    PROP(IoThread, aio_max_batch, "aio-max-batch", 0, "accepted; batches have the queue's size"),
    PROP(IoThread, pool_min, "thread-pool-min", 0, "accepted"),
    PROP(IoThread, pool_max, "thread-pool-max", 64, "accepted"),
};
static STRUCT_TYPE(iothread_type, IoThread, iothread_fields);

static ObjectClass iothread_class = {
    .name = "iothread",
    .doc = "a thread that serves devices",
    .type = &iothread_type,
    .complete = iothread_complete,
    .free = iothread_free,
};
OBJECT_REGISTER(iothread_class)

IoThread *iothread_use(Objects *set, const char *id, Error *err)
{
    Object *o = object_find(set, id, "iothread", err);

    if (o)
        object_use(o);
    return (IoThread *)o;
}

void iothread_unuse(IoThread *t)
{
    object_unuse(&t->obj);
}

Loop *iothread_loop(IoThread *t)
{
    return t->loop;
}

int iothread_tid(const IoThread *t)
{
    return atomic_load(&t->tid);
}

const char *iothread_id(const IoThread *t)
{
    return t->obj.id;
}

typedef struct Call {
    LoopFn *fn;
    void *arg;
    sem_t done;
} Call;

static void call_run(void *arg)
{
    Call *c = arg;

    c->fn(c->arg);
    sem_post(&c->done);
}

void iothread_call_wait(IoThread *t, LoopFn *fn, void *arg)
{
    Call c = {.fn = fn, .arg = arg};

    sem_init(&c.done, 0, 0);
    loop_post(t->loop, call_run, &c);
    while (sem_wait(&c.done))
        ;
    sem_destroy(&c.done);
}
