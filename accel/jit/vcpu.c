/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpu - threads that run vCPUs: the run loop, halting, parking, exclusive sections
 *
 * A Runner is a host thread with the vCPUs it runs: one, or all of them in turn (thread=single).
 *
 * Invariants:
 *  1. A runner is `busy` except at its safe point, where its vCPUs' state is in their structs.
 *     Parking and exclusive sections wait until runners are not busy; a runner becomes busy only if
 *     nobody wants that.
 *  2. A runner sleeps only after it set `sleeping` and then found nothing to do; whoever gives it
 *     something to do (request, then kick) clears `sleeping` and wakes it.
 *  3. sync->mutex is a leaf, but for waiting.  Nobody who waits here holds a Lock, except that
 *     machine_pause()'s caller may.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/jit/jit_priv.h"
#include "base/alloc.h"
#include "base/log.h"
#include "core/debug.h"

enum { SLICE_NS = 2000000 };

typedef struct Runner {
    Jit *jit;
    pthread_t thread;
    bool made, busy;
    _Atomic uint32_t sleeping; /* futex */
    Vcpu **v;
    unsigned n;
    Vcpu *_Atomic now; /* thread=single: whose turn it is */
} Runner;

typedef struct Sync {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopped, exclusive, quit;
    Runner *runners;
    unsigned n_runners;
    pthread_t ticker;
    bool ticker_made;
} Sync;

#define REQ_ARCH (REQ_IRQ | REQ_NMI | REQ_SMI | REQ_INIT | REQ_SIPI)
#define REQ_YIELD (REQ_STOP | REQ_EXIT | REQ_EXCLUSIVE)

/* --- run loop --- */

void vcpu_sync_pc(Cpu *c)
{
    Vcpu *v = c->accel;

    if (v->executing)
        v->jit->be->sync_pc(c);
}

void vcpu_alone(Cpu *c)
{
    Vcpu *v = c->accel;

    if (v->jit->single || v->jit->n_vcpus < 2 || v->alone)
        return;
    c->host->sync_pc(c);
    v->step_alone = true;
    cpu_unwind(c, UNWIND_STEP);
}

void vcpu_not_alone(Vcpu *v)
{
    if (!v->alone)
        return;
    v->alone = false;
    sync_exclusive_end(v->jit);
}

void vcpu_watch_hit(Cpu *c)
{
    Vcpu *v = c->accel;

    if (!v->executing || v->current->one_shot)
        return;
    vcpu_sync_pc(c);
    cpu_unwind(c, UNWIND_STEP);
}

static void log_block(const Vcpu *v, const Block *b)
{
    Cpu *c = v->cpu;

    log_at(LOG_EXEC, "Trace %u: %p [%" PRIx64 "/%" PRIx64 "/%x]\n", c->index,
           (const void *)b->entry, b->cs_base, b->pc, b->mode);
    if (log_on(LOG_CPU)) {
        StrBuf s = {0};

        c->arch->dump(c, &s);
        log_text(strbuf_str(&s));
        strbuf_free(&s);
    }
}

/* Do what is asked.  False: the runner has something to do first. */
static bool serve(Vcpu *v, uint32_t r)
{
    Cpu *c = v->cpu;

    v->link = NULL;
    if (UNLIKELY(r & REQ_DEBUG)) {
        debug_report(c);
        return false;
    }
    if (UNLIKELY(c->one_insn))
        r = debug_hold(c, r);
    if (r & REQ_TLB) {
        cpu_request_clear(c, REQ_TLB);
        tlb_flush_all(c);
    }
    if (r & REQ_CODE) {
        cpu_request_clear(c, REQ_CODE);
        block_rechecks(v);
    }
    if (r & REQ_CALL)
        cpu_request_clear(c, REQ_CALL);
    if (r & REQ_YIELD) {
        cpu_request_clear(c, REQ_YIELD);
        return false;
    }
    if (r & REQ_ARCH && !c->halted) {
        v->stats.interrupts++;
        c->arch->serve(c);
    }
    return true;
}

/* Out of halt if the architecture has a reason to. */
static bool wake(Cpu *c)
{
    if (!c->arch->irq_pending(c))
        return false;
    c->halted = false;
    if (!(atomic_load(&c->request) & REQ_ARCH))
        atomic_fetch_or(&c->request, REQ_IRQ);
    return true;
}

/* Until it halts or the runner is wanted. */
static void vcpu_loop(Vcpu *v)
{
    Cpu *c = v->cpu;
    const Backend *be = v->jit->be;

    for (;;) {
        uint32_t r = atomic_load_explicit(&c->request, memory_order_acquire);

        if (UNLIKELY(r) && !serve(v, r))
            return;
        if (UNLIKELY(c->halted)) {
            if (!wake(c)) {
                if (!c->one_insn)
                    return;
                debug_stop(c, STOP_STEP, 0, 0); /* a step that leads nowhere */
            }
            continue;
        }
        if (UNLIKELY(v->step_alone && !v->alone)) { /* all may be different after that */
            sync_exclusive_begin(v->jit);
            v->alone = true;
            continue;
        }
        Block *b = jit_find(v);
        Link *link = v->link; /* a flush meanwhile has cleared it */

        v->link = NULL;
        if (link && !v->jit->nochain)
            block_link(v, link, b);
        if (log_on(LOG_EXEC | LOG_CPU))
            log_block(v, b);
        v->current = b;
        v->executing = true;
        JitExit why = be->enter(v, b);
        v->executing = false;
        v->stats.exits[why]++;
        if (b->one_shot && why != JIT_EXIT_REQUEST) {
            v->step = v->step_alone = false;
            if (UNLIKELY(c->one_insn))
                debug_stop(c, STOP_STEP, 0, 0);
        }
        vcpu_not_alone(v);
    }
}

static void unwound(Vcpu *v, CpuUnwind why)
{
    Cpu *c = v->cpu;

    v->stats.unwinds[why & 7]++;
    v->link = NULL;
    v->step = why == UNWIND_STEP || (why == UNWIND_RETRY && v->step);
    v->step_alone &= v->step;
    switch (why) {
    case UNWIND_EXCEPTION: {
        Exception e = c->exc;

        c->arch->take_exception(c, &e);
        break;
    }
    case UNWIND_HALT:
        c->halted = true;
        v->stats.halts++;
        break;
    case UNWIND_STEP: v->stats.steps++; break;
    case UNWIND_RETRY:
    case UNWIND_NONE: break;
    }
    if (UNLIKELY(c->one_insn) && (why == UNWIND_EXCEPTION || why == UNWIND_HALT))
        debug_stop(c, STOP_STEP, 0, 0);
}

static void vcpu_run(Vcpu *v)
{
    Cpu *c = v->cpu;
    int why;

    cpu_set_current(c);
    c->unwind = &v->unwind;
    why = _setjmp(v->unwind); /* translated code and helpers come back here */
    v->executing = false;
    if (c->vec_live)
        v->jit->be->vec_save(c);
    vcpu_not_alone(v);
    if (why)
        unwound(v, (CpuUnwind)why);
    vcpu_loop(v);
    vcpu_not_alone(v);
    cpu_set_current(NULL);
}

/* --- sleep and kick --- */

static bool has_work(Cpu *c)
{
    uint32_t r = atomic_load(&c->request);

    if (UNLIKELY(r & REQ_DEBUG))
        return false;
    return !c->halted || c->one_insn || r & ~(uint32_t)REQ_ARCH || c->arch->irq_pending(c);
}

static void runner_sleep(Runner *r)
{
    atomic_store(&r->sleeping, 1);
    for (unsigned i = 0; i < r->n; i++) {
        Cpu *c = r->v[i]->cpu;

        if (has_work(c) || atomic_load(&c->request) & REQ_YIELD) {
            cpu_request_clear(c, REQ_YIELD); /* a debugger may hold it; the safe point comes next */
            atomic_store(&r->sleeping, 0);
            return;
        }
    }
    while (atomic_load(&r->sleeping))
        syscall(SYS_futex, &r->sleeping, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
}

static void runner_wake(Runner *r)
{
    if (atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, 0))
        syscall(SYS_futex, &r->sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_kick(Cpu *c)
{
    Vcpu *v = c->accel;

    if (v && v->runner)
        runner_wake(v->runner);
}

/* --- runners --- */

/* Stand still as long as somebody wants it.  False: the thread shall end. */
static bool safe_point(Runner *r)
{
    Sync *s = r->jit->sync;
    bool go;

    pthread_mutex_lock(&s->mutex);
    while ((s->stopped || s->exclusive) && !s->quit) {
        if (r->busy) {
            r->busy = false;
            pthread_cond_broadcast(&s->changed);
        }
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    go = !s->quit;
    r->busy = go;
    if (!go)
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    return go;
}

static void *runner_main(void *arg)
{
    Runner *r = arg;

    for (unsigned i = r->n; i-- > 0;)
        r->v[i]->cpu->host_tid = gettid();
    while (safe_point(r)) {
        bool ran = false;

        for (unsigned i = 0; i < r->n; i++) {
            if (!has_work(r->v[i]->cpu))
                continue;
            atomic_store_explicit(&r->now, r->v[i], memory_order_relaxed);
            vcpu_run(r->v[i]);
            ran = true;
        }
        atomic_store_explicit(&r->now, NULL, memory_order_relaxed);
        if (!ran)
            runner_sleep(r);
    }
    return NULL;
}

/* thread=single: nobody runs longer than a slice while others could. */
static void *ticker_main(void *arg)
{
    Sync *s = arg;
    struct timespec until;

    pthread_mutex_lock(&s->mutex);
    while (!s->quit) {
        Vcpu *v = atomic_load_explicit(&s->runners[0].now, memory_order_relaxed);

        if (v)
            cpu_request(v->cpu, REQ_EXIT);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SLICE_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->changed, &s->mutex, &until);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* --- parking and exclusive sections --- */

static Runner *runner_self(const Jit *j)
{
    Cpu *c = cpu_current();

    return c && c->machine == j->m ? ((Vcpu *)c->accel)->runner : NULL;
}

static void ask_all(Sync *s, const Runner *but, uint32_t bit)
{
    for (unsigned i = 0; i < s->n_runners; i++) {
        Runner *r = &s->runners[i];

        for (unsigned k = 0; r != but && k < r->n; k++)
            cpu_request(r->v[k]->cpu, bit);
    }
}

static void wait_all(Sync *s, const Runner *but)
{
    for (unsigned i = 0; i < s->n_runners;) {
        if (&s->runners[i] != but && s->runners[i].busy) {
            pthread_cond_wait(&s->changed, &s->mutex);
            i = 0;
        } else {
            i++;
        }
    }
}

void sync_exclusive_begin(Jit *j)
{
    Sync *s = j->sync;
    Runner *self = runner_self(j);

    pthread_mutex_lock(&s->mutex);
    while (s->exclusive || (self && s->stopped && !s->quit)) { /* inv 1 */
        if (self && self->busy) {
            self->busy = false;
            pthread_cond_broadcast(&s->changed);
        }
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    if (self)
        self->busy = true;
    s->exclusive = true;
    ask_all(s, self, REQ_EXCLUSIVE);
    wait_all(s, self);
    pthread_mutex_unlock(&s->mutex);
}

void sync_exclusive_end(Jit *j)
{
    Sync *s = j->sync;

    pthread_mutex_lock(&s->mutex);
    s->exclusive = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

void sync_park(Jit *j)
{
    Sync *s = j->sync;

    pthread_mutex_lock(&s->mutex);
    s->stopped = true;
    ask_all(s, NULL, REQ_STOP);
    wait_all(s, NULL);
    pthread_mutex_unlock(&s->mutex);
}

static bool start_threads(Jit *j)
{
    Sync *s = j->sync;

    s->n_runners = j->single ? 1 : j->n_vcpus;
    s->runners = xnew_n(Runner, s->n_runners);
    for (unsigned i = 0; i < s->n_runners; i++) {
        Runner *r = &s->runners[i];

        r->jit = j;
        r->v = &j->vcpus[i];
        r->n = j->single ? j->n_vcpus : 1;
        for (unsigned k = 0; k < r->n; k++)
            r->v[k]->runner = r;
    }
    for (unsigned i = 0; i < s->n_runners; i++) {
        Runner *r = &s->runners[i];
        char name[16];

        if (pthread_create(&r->thread, NULL, runner_main, r) != 0)
            return false;
        r->made = true;
        snprintf(name, sizeof name, "vcpu %u", i);
        pthread_setname_np(r->thread, name);
        while (!r->v[0]->cpu->host_tid) /* management may ask at once */
            sched_yield();
    }
    if (j->single && j->n_vcpus > 1)
        s->ticker_made = pthread_create(&s->ticker, NULL, ticker_main, s) == 0;
    return true;
}

bool sync_start(Jit *j)
{
    return j->sync->runners || start_threads(j);
}

bool sync_run(Jit *j)
{
    Sync *s = j->sync;
    bool ok = sync_start(j);

    pthread_mutex_lock(&s->mutex);
    s->stopped = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

bool sync_init(Jit *j, Error *err)
{
    Sync *s = xnew(Sync);

    if (pthread_mutex_init(&s->mutex, NULL) || pthread_cond_init(&s->changed, NULL)) {
        xfree(s);
        return error_set(err, "cannot create a mutex");
    }
    s->stopped = true;
    j->sync = s;
    return true;
}

static void end_threads(Sync *s)
{
    pthread_mutex_lock(&s->mutex);
    s->quit = true;
    ask_all(s, NULL, REQ_STOP);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    for (unsigned i = 0; i < s->n_runners; i++) {
        if (s->runners[i].made)
            pthread_join(s->runners[i].thread, NULL);
        for (unsigned k = 0; k < s->runners[i].n; k++)
            s->runners[i].v[k]->runner = NULL;
    }
    if (s->ticker_made)
        pthread_join(s->ticker, NULL);
    xfree(s->runners);
    s->runners = NULL;
    s->n_runners = 0;
    s->quit = s->ticker_made = false;
}

void sync_fini(Jit *j)
{
    Sync *s = j->sync;

    if (s->runners)
        end_threads(s);
    s->stopped = true;
}

void sync_free(Jit *j)
{
    pthread_cond_destroy(&j->sync->changed);
    pthread_mutex_destroy(&j->sync->mutex);
    xfree(j->sync);
    j->sync = NULL;
}
