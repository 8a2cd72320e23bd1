/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job - long work beside the guest: a thread, progress, pause, cancel, one life as QMP shows it
 *
 *   created -> running <-> paused      running -> ready <-> standby    (mirrors: ready is in step)
 *   running, ready -> waiting (for the rest of its transaction) -> pending (job-finalize) ->
 *   concluded -> null
 *   any -> aborting -> concluded       on error or cancel
 *
 * run() is on the job's own thread and may wait; everything else is on the main thread.  A job
 * edits the machine in finish() only.  The jobs of one machine or tool are a Jobs set.
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include <pthread.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/reflect.h"

typedef struct Job Job;
typedef struct Jobs Jobs;
typedef struct JobTxn JobTxn;
typedef struct Machine Machine;

typedef enum JobStatus {
    JOB_UNDEFINED,
    JOB_CREATED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,
    JOB_STANDBY,
    JOB_WAITING,
    JOB_PENDING,
    JOB_ABORTING,
    JOB_CONCLUDED,
    JOB_NULL
} JobStatus;
extern const Type job_status_type;

typedef enum JobOnError {
    ON_ERROR_REPORT,
    ON_ERROR_IGNORE,
    ON_ERROR_ENOSPC,
    ON_ERROR_STOP,
    ON_ERROR_AUTO
} JobOnError;
extern const Type job_on_error_type; /* BlockdevOnError's names */

typedef struct JobClass {
    const char *type; /* of JobType: "mirror", "commit", ... */
    size_t size;      /* of its struct, which begins with Job */
    bool is_block;    /* shown by query-block-jobs, with QEMU's older events */
    bool can_complete;
    int (*run)(Job *j, Error *err); /* 0, -errno, -ECANCELED */
    /* Everybody in the transaction has succeeded: last step that may fail. */
    bool (*prepare)(Job *j, Error *err);
    void (*finish)(Job *j, bool ok); /* put the machine in order: switch to the result, or undo */
    void (*free)(Job *j);
} JobClass;

/* Work for the main thread where there is no loop. */
typedef struct JobCall {
    void (*fn)(void *arg);
    void *arg;
    struct JobCall *next;
} JobCall;

struct Job {
    const JobClass *cls;
    Jobs *set;
    char *id;
    JobStatus status;
    bool auto_finalize, auto_dismiss;
    int result;
    Error err;
    JobTxn *txn;
    JobCall end;
    Job *next;

    _Atomic uint64_t done, total; /* progress, in the job's own unit */
    _Atomic uint64_t speed;       /* bytes a second, 0: no limit */
    _Atomic bool cancelled, forced, complete_asked, busy, ready, stopped_by_error;
    pthread_t thread;
    bool has_thread, ended, paused_by_user;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    unsigned pauses;
    _Atomic bool at_rest;                 /* paused, and the thread knows it */
    int64_t slice_ns;                     /* rate limit: the current slice ... */
    uint64_t slice_bytes;                 /* ... and what was done in it */
    const char *_Atomic io_status;        /* "ok", "failed", "nospace" */
    JobOnError on_error, on_target_error; /* of reading, of writing */
};

/* @m may be NULL (tools): no events then.  @loop: of the main thread; NULL: jobs_poll() does it. */
Jobs *jobs_new(Machine *m, Loop *loop);
void jobs_free(Jobs *s); /* cancels all, waits */
void jobs_poll(Jobs *s); /* a set without a loop: serve the jobs, for at most a tenth of a second */

/* A new one in state created; @id NULL: internal, not shown.  @txn NULL: alone. */
Job *job_new(Jobs *s, const JobClass *cls, const char *id, JobTxn *txn, bool auto_finalize,
             bool auto_dismiss, Error *err);
void job_start(Job *j);
JobTxn *job_txn_new(void); /* freed with its last job */
void job_txn_unref(JobTxn *t);

Job *job_find(Jobs *s, const char *id);
Job *job_next(Jobs *s, const Job *j);
void job_pause(Job *j); /* nests with job_resume */
void job_resume(Job *j);
bool job_user_pause(Job *j, bool on, Error *err);
bool job_cancel(Job *j, bool force, Error *err);
bool job_complete(Job *j, Error *err);
bool job_finalize(Job *j, Error *err);
bool job_dismiss(Job *j, Error *err);
bool job_set_speed(Job *j, uint64_t speed, Error *err);
/* Tools: wait for its end and dismiss it; its result.  @tick is called about ten times a second. */
int job_wait(Job *j, void (*tick)(void *arg, uint64_t done, uint64_t total), void *arg, Error *err);

/* --- on the job's thread --- */

bool job_is_cancelled(const Job *j);
/* Rest here while paused; false: cancelled, return -ECANCELED soon. */
bool job_pause_point(Job *j);
/* @bytes were moved: counts them, and sleeps if they were too many for the speed.  False:
 * cancelled. */
bool job_moved(Job *j, uint64_t bytes);
void job_set_total(Job *j, uint64_t total);
void job_sleep(Job *j, int64_t ns); /* or until something changes */
void job_set_ready(Job *j);         /* mirrors: both sides are the same from now on */
/* What @rc of a transfer means under the job's policy; 0: try again or go on (it was told and
 * perhaps waited for); else what run() returns. */
int job_failed(Job *j, int rc, bool is_read);
/* Run @fn on the main thread and wait for it. */
void job_on_main(Job *j, void (*fn)(void *arg), void *arg);

#endif
