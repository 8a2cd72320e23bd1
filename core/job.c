/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job - long work beside the guest: a thread, progress, pause, cancel, one life as QMP shows it
 */
#include "core/job.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/now.h"
#include "core/command.h"
#include "core/job_events.h"

struct JobTxn {
    unsigned refs;
    bool aborting;
};

struct Jobs {
    Machine *m;
    Loop *loop;
    Job *first;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    JobCall *calls, **last; /* only without a loop */
};

enum { SLICE_NS = 100000000 };

static const char *const status_names[] = {"undefined", "created",   "running", "paused",
                                           "ready",     "standby",   "waiting", "pending",
                                           "aborting",  "concluded", "null",    NULL};
ENUM_TYPE(job_status_type, JobStatus, status_names);
static const char *const on_error_names[] = {"report", "ignore", "enospc", "stop", "auto", NULL};
ENUM_TYPE(job_on_error_type, BlockdevOnError, on_error_names);

static void job_ended(void *arg);
static void job_free(Job *j);

static bool is_done(const Job *j)
{
    return j->status == JOB_CONCLUDED || j->status == JOB_NULL;
}

static struct timespec in_ns(int64_t ns)
{
    int64_t then = monotonic_ns() + ns;

    return (struct timespec){then / 1000000000, then % 1000000000};
}

/* For waits until in_ns(). */
static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

static void set_status(Job *j, JobStatus to)
{
    if (j->status == to)
        return;
    j->status = to;
    if (j->id && j->set->m)
        job_tell_status(j->set->m, j);
}

/* --- calls to the main thread --- */

static void call_main(Jobs *s, JobCall *c)
{
    if (s->loop) {
        loop_post(s->loop, c->fn, c->arg);
        return;
    }
    pthread_mutex_lock(&s->lock);
    c->next = NULL;
    *s->last = c;
    s->last = &c->next;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

typedef struct Waited {
    JobCall call;
    void (*fn)(void *arg);
    void *arg;
    Job *j;
    bool done;
} Waited;

static void waited_run(void *arg)
{
    Waited *w = arg;

    w->fn(w->arg);
    pthread_mutex_lock(&w->j->lock);
    w->done = true;
    pthread_cond_broadcast(&w->j->changed);
    pthread_mutex_unlock(&w->j->lock);
}

void job_on_main(Job *j, void (*fn)(void *arg), void *arg)
{
    Waited w = {.fn = fn, .arg = arg, .j = j};

    w.call = (JobCall){.fn = waited_run, .arg = &w};
    call_main(j->set, &w.call);
    pthread_mutex_lock(&j->lock);
    while (!w.done)
        pthread_cond_wait(&j->changed, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

/* --- the set --- */

Jobs *jobs_new(Machine *m, Loop *loop)
{
    Jobs *s = xnew(Jobs);

    s->m = m;
    s->loop = loop;
    s->last = &s->calls;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->changed);
    return s;
}

static void run_calls(Jobs *s, int64_t wait_ns)
{
    struct timespec t = in_ns(wait_ns);
    JobCall *c;

    pthread_mutex_lock(&s->lock);
    if (!s->calls && wait_ns)
        pthread_cond_timedwait(&s->changed, &s->lock, &t);
    c = s->calls;
    s->calls = NULL;
    s->last = &s->calls;
    pthread_mutex_unlock(&s->lock);
    while (c) {
        JobCall *next = c->next;

        c->fn(c->arg);
        c = next;
    }
}

/* The main thread's share, whichever way it is served. */
static void jobs_step(Jobs *s)
{
    if (s->loop)
        loop_step(s->loop, SLICE_NS);
    else
        run_calls(s, SLICE_NS);
}

void jobs_poll(Jobs *s)
{
    jobs_step(s);
}

/* One that has not been told yet; it, and others of its transaction, may be gone now. */
static bool cancel_next(Jobs *s)
{
    for (Job *j = s->first; j; j = j->next)
        if (!is_done(j) && (j->ended || !j->has_thread || !j->forced)) {
            job_cancel(j, true, NULL);
            return true;
        }
    return false;
}

void jobs_free(Jobs *s)
{
    if (!s)
        return;
    while (cancel_next(s))
        ;
    for (bool any = true; any;) {
        any = false;
        for (Job *j = s->first; j; j = j->next)
            any |= j->has_thread && !j->ended;
        if (any)
            jobs_step(s);
    }
    while (s->first)
        job_free(s->first);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    xfree(s);
}

Job *job_find(Jobs *s, const char *id)
{
    for (Job *j = s ? s->first : NULL; j; j = j->next)
        if (j->id && !strcmp(j->id, id))
            return j;
    return NULL;
}

Job *job_next(Jobs *s, const Job *j)
{
    return j ? j->next : s ? s->first : NULL;
}

JobTxn *job_txn_new(void)
{
    JobTxn *t = xnew(JobTxn);

    t->refs = 1;
    return t;
}

void job_txn_unref(JobTxn *t)
{
    if (t && !--t->refs)
        xfree(t);
}

/* --- life --- */

static bool id_is_good(Jobs *s, const char *id, Error *err)
{
    if (!((id[0] >= 'a' && id[0] <= 'z') || (id[0] >= 'A' && id[0] <= 'Z')) ||
        strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
            strlen(id))
        return error_set(err, "Invalid job ID '%s'", id);
    return !job_find(s, id) || error_set(err, "Job ID '%s' already in use", id);
}

Job *job_new(Jobs *s, const JobClass *cls, const char *id, JobTxn *txn, bool auto_finalize,
             bool auto_dismiss, Error *err)
{
    Job *j, **at = &s->first;

    if (id && !id_is_good(s, id, err))
        return NULL;
    j = xalloc(cls->size);
    j->cls = cls;
    j->set = s;
    j->id = xstrdup(id);
    j->auto_finalize = auto_finalize;
    j->auto_dismiss = auto_dismiss;
    j->io_status = "ok";
    j->txn = txn ? txn : job_txn_new();
    j->txn->refs += txn != NULL;
    pthread_mutex_init(&j->lock, NULL);
    cond_init(&j->changed);
    while (*at)
        at = &(*at)->next;
    *at = j;
    set_status(j, JOB_CREATED);
    return j;
}

static void job_free(Job *j)
{
    Job **at = &j->set->first;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    if (j->cls->free)
        j->cls->free(j);
    set_status(j, JOB_NULL);
    job_txn_unref(j->txn);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->changed);
    xfree(j->id);
    xfree(j);
}

static void *job_main(void *arg)
{
    Job *j = arg;

    job_pause_point(j);
    j->result = job_is_cancelled(j) && j->forced ? -ECANCELED : j->cls->run(j, &j->err);
    j->end = (JobCall){.fn = job_ended, .arg = j};
    call_main(j->set, &j->end);
    return NULL;
}

void job_start(Job *j)
{
    int rc;

    set_status(j, JOB_RUNNING);
    j->busy = true;
    rc = pthread_create(&j->thread, NULL, job_main, j);
    j->has_thread = !rc;
    if (rc) {
        j->result = -rc;
        job_ended(j);
    }
}

static void conclude(Job *j, bool ok)
{
    if (!ok)
        set_status(j, JOB_ABORTING);
    j->cls->finish(j, ok);
    if (j->result && !j->err.msg[0])
        error_set(&j->err, "%s", strerror(-j->result));
    if (j->id && j->set->m && j->cls->is_block)
        job_tell_end(j->set->m, j);
    set_status(j, JOB_CONCLUDED);
    if (j->auto_dismiss)
        job_free(j);
}

static void txn_abort(Jobs *s, JobTxn *t)
{
    if (t->aborting)
        return;
    t->aborting = true;
    t->refs++;
    for (Job *j = s->first, *next; j; j = next) {
        next = j->next;
        if (j->txn != t || is_done(j))
            continue;
        if (j->ended) {
            if (!j->result && !j->err.msg[0])
                j->result = -ECANCELED;
            conclude(j, false);
        } else {
            job_cancel(j, true, NULL);
        }
    }
    job_txn_unref(t);
}

static void txn_finalize(Jobs *s, JobTxn *t)
{
    t->refs++;
    for (Job *j = s->first; j; j = j->next)
        if (j->txn == t && !is_done(j) && j->cls->prepare && !j->cls->prepare(j, &j->err)) {
            j->result = j->result ? j->result : -EIO;
            txn_abort(s, t);
            job_txn_unref(t);
            return;
        }
    for (Job *j = s->first, *next; j; j = next) {
        next = j->next;
        if (j->txn == t && !is_done(j))
            conclude(j, true);
    }
    job_txn_unref(t);
}

/* Main thread: run() has returned. */
static void job_ended(void *arg)
{
    Job *j = arg;
    Jobs *s = j->set;
    JobTxn *t = j->txn;
    bool waits = false, by_hand = false;

    if (j->has_thread)
        pthread_join(j->thread, NULL);
    j->ended = true;
    j->busy = false;
    if (!j->result && j->cancelled && j->forced)
        j->result = -ECANCELED;
    if (j->result || t->aborting) {
        if (t->aborting) {
            j->result = j->result ? j->result : -ECANCELED;
            conclude(j, false);
        } else {
            txn_abort(s, t);
        }
        return;
    }
    set_status(j, JOB_WAITING);
    for (const Job *o = s->first; o; o = o->next) {
        waits |= o->txn == t && !o->ended;
        by_hand |= o->txn == t && !o->auto_finalize;
    }
    if (waits)
        return;
    for (Job *o = s->first; o; o = o->next)
        if (o->txn == t && !is_done(o)) {
            set_status(o, JOB_PENDING);
            if (!o->auto_finalize && o->id && s->m && o->cls->is_block)
                job_tell_pending(s->m, o);
        }
    if (!by_hand)
        txn_finalize(s, t);
}

/* --- verbs --- */

static void job_poke(Job *j)
{
    pthread_mutex_lock(&j->lock);
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

static bool refuse(const Job *j, const char *verb, Error *err)
{
    return error_set(err, "Job '%s' in state '%s' cannot accept command verb '%s'",
                     j->id ? j->id : "", status_names[j->status], verb);
}

/* From the flags to what is shown: running or paused, ready or standby. */
static void show_rest(Job *j)
{
    bool paused = j->pauses > 0, ready = j->ready;

    if (j->ended)
        return;
    if (j->status >= JOB_RUNNING && j->status <= JOB_STANDBY)
        set_status(j, paused ? ready ? JOB_STANDBY : JOB_PAUSED : ready ? JOB_READY : JOB_RUNNING);
}

void job_pause(Job *j)
{
    pthread_mutex_lock(&j->lock);
    j->pauses++;
    pthread_mutex_unlock(&j->lock);
    show_rest(j);
}

void job_resume(Job *j)
{
    pthread_mutex_lock(&j->lock);
    assert(j->pauses);
    j->pauses--;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    show_rest(j);
}

bool job_user_pause(Job *j, bool on, Error *err)
{
    if (on == j->paused_by_user)
        return on ? error_set(err, "Job is already paused")
                  : error_set(err, "Can't resume a job that was not paused");
    if (j->status < JOB_CREATED || j->status > JOB_STANDBY)
        return refuse(j, on ? "pause" : "resume", err);
    j->paused_by_user = on;
    if (!on) {
        j->io_status = "ok";
        j->stopped_by_error = false;
    }
    if (on)
        job_pause(j);
    else
        job_resume(j);
    return true;
}

bool job_cancel(Job *j, bool force, Error *err)
{
    if (j->status == JOB_PENDING || j->status == JOB_WAITING) {
        j->result = -ECANCELED;
        txn_abort(j->set, j->txn);
        return true;
    }
    if (j->status < JOB_CREATED || j->status > JOB_STANDBY)
        return refuse(j, "cancel", err);
    if (j->status == JOB_CREATED && !j->has_thread) { /* could not be set up: it never was */
        j->cls->finish(j, false);
        job_free(j);
        return true;
    }
    if (force || !j->ready)
        j->forced = true;
    j->cancelled = true;
    if (j->paused_by_user)
        job_user_pause(j, false, NULL);
    job_poke(j);
    return true;
}

bool job_complete(Job *j, Error *err)
{
    if (j->status != JOB_READY && j->status != JOB_STANDBY)
        return refuse(j, "complete", err);
    if (!j->cls->can_complete || j->cancelled)
        return error_set(err, "The active block job '%s' cannot be completed", j->id);
    j->complete_asked = true;
    job_poke(j);
    return true;
}

bool job_finalize(Job *j, Error *err)
{
    if (j->status != JOB_PENDING)
        return refuse(j, "finalize", err);
    txn_finalize(j->set, j->txn);
    return true;
}

bool job_dismiss(Job *j, Error *err)
{
    if (j->status != JOB_CONCLUDED)
        return refuse(j, "dismiss", err);
    job_free(j);
    return true;
}

bool job_set_speed(Job *j, uint64_t speed, Error *err)
{
    if (j->status < JOB_CREATED || j->status > JOB_STANDBY)
        return refuse(j, "set-speed", err);
    j->speed = speed;
    job_poke(j);
    return true;
}

int job_wait(Job *j, void (*tick)(void *arg, uint64_t done, uint64_t total), void *arg, Error *err)
{
    int rc;

    assert(!j->auto_dismiss);
    while (!is_done(j)) {
        jobs_step(j->set);
        if (j->ready && !j->complete_asked && !j->ended)
            job_complete(j, NULL);
        if (tick)
            tick(arg, j->done, j->total);
    }
    rc = j->result;
    if (rc && err)
        *err = j->err;
    job_free(j);
    return rc;
}

/* --- on the job's thread --- */

bool job_is_cancelled(const Job *j)
{
    return j->cancelled;
}

bool job_pause_point(Job *j)
{
    pthread_mutex_lock(&j->lock);
    if (j->pauses && !j->cancelled) {
        j->at_rest = true;
        j->busy = false;
        pthread_cond_broadcast(&j->changed);
        while (j->pauses && !j->cancelled)
            pthread_cond_wait(&j->changed, &j->lock);
        j->at_rest = false;
        j->busy = true;
    }
    pthread_mutex_unlock(&j->lock);
    return !j->cancelled;
}

void job_sleep(Job *j, int64_t ns)
{
    struct timespec t = in_ns(ns);

    pthread_mutex_lock(&j->lock);
    if (!j->cancelled && !j->complete_asked && !j->pauses)
        pthread_cond_timedwait(&j->changed, &j->lock, &t);
    pthread_mutex_unlock(&j->lock);
}

bool job_moved(Job *j, uint64_t bytes)
{
    uint64_t speed = j->speed;
    int64_t now = monotonic_ns();

    j->done += bytes;
    if (speed) {
        if (now - j->slice_ns >= SLICE_NS) {
            j->slice_ns = now;
            j->slice_bytes = 0;
        }
        j->slice_bytes += bytes;
        while ((speed = j->speed) && !j->cancelled && !j->complete_asked) {
            int64_t needs = (int64_t)((unsigned __int128)j->slice_bytes * 1000000000u / speed);
            int64_t left = j->slice_ns + needs - monotonic_ns();

            if (left <= 0)
                break;
            job_sleep(j, MIN(left, (int64_t)SLICE_NS));
            if (!job_pause_point(j))
                break;
        }
    }
    return job_pause_point(j);
}

void job_set_total(Job *j, uint64_t total)
{
    j->total = total;
}

static void ready_on_main(void *arg)
{
    Job *j = arg;

    j->ready = true;
    show_rest(j);
    if (j->id && j->set->m && j->cls->is_block)
        job_tell_ready(j->set->m, j);
}

void job_set_ready(Job *j)
{
    if (!j->ready)
        job_on_main(j, ready_on_main, j);
}

static void stop_on_main(void *arg)
{
    Job *j = arg;

    j->stopped_by_error = true;
    if (!j->paused_by_user && !j->cancelled)
        job_user_pause(j, true, NULL);
}

typedef struct Failure {
    Job *j;
    bool is_read;
    const char *action;
} Failure;

static void error_on_main(void *arg)
{
    Failure *f = arg;

    if (f->j->id && f->j->set->m && f->j->cls->is_block)
        job_tell_error(f->j->set->m, f->j, f->is_read, f->action);
}

int job_failed(Job *j, int rc, bool is_read)
{
    JobOnError policy = is_read ? j->on_error : j->on_target_error;
    bool full = rc == -ENOSPC;
    bool stop =
        policy == ON_ERROR_STOP || (full && (policy == ON_ERROR_ENOSPC || policy == ON_ERROR_AUTO));
    Failure f = {j, is_read, policy == ON_ERROR_IGNORE ? "ignore" : stop ? "stop" : "report"};

    job_on_main(j, error_on_main, &f);
    if (!stop && policy != ON_ERROR_IGNORE)
        return rc;
    if (stop) {
        j->io_status = full ? "nospace" : "failed";
        job_on_main(j, stop_on_main, j);
    }
    job_pause_point(j);
    return j->forced ? -ECANCELED : 0;
}
