/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_unit - a machine with the GDB stub on a fake character back end, and a client on a thread
 * of its own */
#ifndef TESTS_UNIT_GDB_UNIT_H
#define TESTS_UNIT_GDB_UNIT_H

#include <pthread.h>
#include <time.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "core/debug.h"
#include "monitor/gdb.h"
#include "monitor/gdb_packet.h"
#include "tests/unit/gdb_board.h"

/* --- the wire --- */

typedef struct Bench Bench;
typedef void ClientFn(Bench *b);

struct Bench {
    Chardev chr; /* first: ops get it */
    Machine *m;
    GdbStub *stub;
    ClientFn *fn;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    uint8_t got[1 << 16]; /* from the stub, not read by the client yet */
    size_t got_n, budget; /* budget: how much it may write; ~0: no limit */
    bool blocked;
};

static size_t wire_write(Chardev *c, const uint8_t *p, size_t n)
{
    Bench *b = (Bench *)c;

    pthread_mutex_lock(&b->mutex);
    n = MIN(MIN(n, sizeof b->got - b->got_n), b->budget);
    memcpy(b->got + b->got_n, p, n);
    b->got_n += n;
    if (b->budget != SIZE_MAX)
        b->budget -= n;
    b->blocked |= !n;
    pthread_cond_broadcast(&b->more);
    pthread_mutex_unlock(&b->mutex);
    return n;
}

static const ChardevOps wire_ops = {.name = "wire", .write = wire_write};

typedef struct Delivery {
    Bench *b;
    const uint8_t *p;
    size_t n;
    int event; /* CharEvent, -1: bytes */
    bool done;
} Delivery;

static void deliver(void *arg)
{
    Delivery *d = arg;
    const CharFront *f = d->b->chr.front;

    if (d->event >= 0)
        f->event(f->arg, (CharEvent)d->event);
    for (size_t n; d->event < 0 && d->n; d->p += n, d->n -= n) {
        n = MIN(d->n, f->can_accept(f->arg));
        if (!n)
            break;
        f->accept(f->arg, d->p, n);
    }
    pthread_mutex_lock(&d->b->mutex);
    d->done = true;
    pthread_cond_broadcast(&d->b->more);
    pthread_mutex_unlock(&d->b->mutex);
}

/* On the client's thread: carried out on the loop.  Returns how many bytes were not accepted. */
static inline size_t bench_send(Bench *b, const void *p, size_t n)
{
    Delivery d = {b, p, n, -1, false};

    loop_post(b->m->loop, deliver, &d);
    pthread_mutex_lock(&b->mutex);
    while (!d.done)
        pthread_cond_wait(&b->more, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
    return d.n;
}

static inline void bench_event(Bench *b, CharEvent e)
{
    Delivery d = {b, NULL, 0, (int)e, false};

    loop_post(b->m->loop, deliver, &d);
    pthread_mutex_lock(&b->mutex);
    while (!d.done)
        pthread_cond_wait(&b->more, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
}

/* One byte from the stub within 10 s, or -1. */
static inline int bench_byte(Bench *b)
{
    struct timespec until;
    int c = -1;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&b->mutex);
    while (!b->got_n && pthread_cond_timedwait(&b->more, &b->mutex, &until) == 0)
        ;
    if (b->got_n) {
        c = b->got[0];
        memmove(b->got, b->got + 1, --b->got_n);
    }
    pthread_mutex_unlock(&b->mutex);
    return c;
}

static inline void *bench_client(void *arg)
{
    Bench *b = arg;

    bench_event(b, CHAR_OPENED);
    b->fn(b);
    machine_request_shutdown(b->m, SHUTDOWN_HOST_QUIT, 7);
    return NULL;
}

/* Let @fn talk to the stub of a machine with @cpus processors until it returns. */
static inline Bench *bench_run(ClientFn *fn, unsigned cpus, bool interp, const char *arch)
{
    MachineConfig cfg = {
        .cpus = cpus, .ram_size = GDB_RAM, .backend_interp = interp, .tb_size = MIB, .arch = arch};
    Error err = {0};
    Bench *b = xnew(Bench);
    pthread_t thread;

    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->more, NULL);
    b->budget = SIZE_MAX;
    b->fn = fn;
    b->m = machine_new(&gdb_board, accel_find("jit"), &cfg, &err);
    ck_assert_msg(b->m && machine_build(b->m, &err), "%s", err.msg);
    b->chr = (Chardev){.ops = &wire_ops, .loop = b->m->loop};
    b->stub = gdbstub_new(b->m, &b->chr, &err);
    ck_assert_msg(b->stub != NULL, "%s", err.msg);
    pthread_create(&thread, NULL, bench_client, b);
    machine_main_loop(b->m);
    pthread_join(thread, NULL);
    return b;
}

static inline void bench_free(Bench *b)
{
    gdbstub_free(b->stub);
    machine_free(b->m);
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->more);
    xfree(b);
}

#endif
