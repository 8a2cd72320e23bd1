/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_cmds - jobs as management sees them: job-*, the older block-job-*, and their events
 *
 * QEMU 7.2, qapi/job.json and block-core.json.
 */
#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "core/command.h"
#include "core/job_events.h"
#include "core/machine.h"

static const char *const type_names[] = {
    "commit", "stream",        "mirror",        "backup",          "create",
    "amend",  "snapshot-load", "snapshot-save", "snapshot-delete", NULL};
static ENUM_TYPE(job_type_type, JobType, type_names);

static uint32_t type_number(const Job *j)
{
    uint32_t i = 0;

    while (type_names[i] && strcmp(type_names[i], j->cls->type))
        i++;
    return i;
}

/* --- events --- */

typedef struct StatusChange {
    char *id;
    uint32_t status;
} StatusChange;
static const Field status_change_fields[] = {
    ARG(StatusChange, id, "id", "the job"),
    ARG_TYPE(StatusChange, status, "status", &job_status_type, "its new state"),
};
static STRUCT_TYPE(status_change_type, StatusChange, status_change_fields);
EVENT(job_status_change, .name = "JOB_STATUS_CHANGE", .data = &status_change_type,
      .doc = "A job entered another state.")

typedef struct BlockJobEvent {
    uint32_t type;
    char *device;
    uint64_t len, offset, speed;
    char *error;
} BlockJobEvent;
static const Field end_fields[] = {
    ARG_TYPE(BlockJobEvent, type, "type", &job_type_type, "what it does"),
    ARG(BlockJobEvent, device, "device", "the job"),
    ARG(BlockJobEvent, len, "len", "size of the work"),
    ARG(BlockJobEvent, offset, "offset", "how much is done"),
    ARG(BlockJobEvent, speed, "speed", "limit in bytes a second, 0: none"),
    ARG_STR_OPT(BlockJobEvent, error, "error", "why it failed"),
};
static STRUCT_TYPE(end_type, BlockJobEvent, end_fields);
static const Type progress_type = {.name = "BlockJobProgress",
                                   .meta = META_STRUCT,
                                   .size = sizeof(BlockJobEvent),
                                   .fields = end_fields,
                                   .n_fields = COUNT_OF(end_fields) - 1};
EVENT(block_job_completed, .name = "BLOCK_JOB_COMPLETED", .data = &end_type,
      .doc = "A block job is over.")
EVENT(block_job_cancelled, .name = "BLOCK_JOB_CANCELLED", .data = &progress_type,
      .doc = "A block job was cancelled.")
EVENT(block_job_ready, .name = "BLOCK_JOB_READY", .data = &progress_type,
      .doc = "A block job can be completed now.")

typedef struct PendingEvent {
    uint32_t type;
    char *id;
} PendingEvent;
static const Field pending_fields[] = {
    ARG_TYPE(PendingEvent, type, "type", &job_type_type, "what it does"),
    ARG(PendingEvent, id, "id", "the job"),
};
static STRUCT_TYPE(pending_type, PendingEvent, pending_fields);
EVENT(block_job_pending, .name = "BLOCK_JOB_PENDING", .data = &pending_type,
      .doc = "A block job waits for job-finalize.")

static const char *const operation_names[] = {"read", "write", NULL};
static ENUM_TYPE(operation_type, IoOperationType, operation_names);
static const char *const action_names[] = {"ignore", "report", "stop", NULL};
static ENUM_TYPE(action_type, BlockErrorAction, action_names);
typedef struct ErrorEvent {
    char *device;
    uint32_t operation, action;
} ErrorEvent;
static const Field error_fields[] = {
    ARG(ErrorEvent, device, "device", "the job"),
    ARG_TYPE(ErrorEvent, operation, "operation", &operation_type, "what failed"),
    ARG_TYPE(ErrorEvent, action, "action", &action_type, "what is done about it"),
};
static STRUCT_TYPE(error_type, ErrorEvent, error_fields);
EVENT(block_job_error, .name = "BLOCK_JOB_ERROR", .data = &error_type,
      .doc = "A transfer of a block job failed.")

void job_tell_status(Machine *m, const Job *j)
{
    event_post(m, &event_job_status_change, &(StatusChange){j->id, j->status});
}

static BlockJobEvent event_of(const Job *j)
{
    return (BlockJobEvent){.type = type_number(j),
                           .device = j->id,
                           .len = j->total,
                           .offset = j->done,
                           .speed = j->speed};
}

void job_tell_ready(Machine *m, const Job *j)
{
    BlockJobEvent e = event_of(j);

    event_post(m, &event_block_job_ready, &e);
}

void job_tell_pending(Machine *m, const Job *j)
{
    event_post(m, &event_block_job_pending, &(PendingEvent){type_number(j), j->id});
}

void job_tell_end(Machine *m, const Job *j)
{
    BlockJobEvent e = event_of(j);

    if (j->result == -ECANCELED) {
        event_post(m, &event_block_job_cancelled, &e);
        return;
    }
    e.error = j->result ? (char *)(uintptr_t)j->err.msg : NULL;
    event_post(m, &event_block_job_completed, &e);
}

void job_tell_error(Machine *m, const Job *j, bool is_read, const char *action)
{
    uint32_t a = !strcmp(action, "ignore") ? 0 : !strcmp(action, "report") ? 1 : 2;

    event_post(m, &event_block_job_error, &(ErrorEvent){j->id, is_read ? 0 : 1, a});
}

/* --- verbs --- */

typedef struct JobArgs {
    char *id;
} JobArgs;
static const Field id_fields[] = {ARG(JobArgs, id, "id", "the job")};
static STRUCT_TYPE(id_type, JobArgs, id_fields);

static Job *find(Machine *m, const char *id, Error *err)
{
    Job *j = job_find(m->jobs, id);

    if (!j)
        error_set(err, "Job not found");
    return j;
}

COMMAND_FN(job_pause_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_user_pause(j, true, err);
}
COMMAND(job_pause, .name = "job-pause", .args = &id_type, .run = job_pause_cmd,
        .doc = "Pause a job; it finishes the transfers in flight.")

COMMAND_FN(job_resume_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_user_pause(j, false, err);
}
COMMAND(job_resume, .name = "job-resume", .args = &id_type, .run = job_resume_cmd,
        .doc = "Let a paused job go on.")

COMMAND_FN(job_cancel_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_cancel(j, true, err);
}
COMMAND(job_cancel, .name = "job-cancel", .args = &id_type, .run = job_cancel_cmd,
        .doc = "End a job without its result.")

COMMAND_FN(job_complete_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_complete(j, err);
}
COMMAND(job_complete, .name = "job-complete", .args = &id_type, .run = job_complete_cmd,
        .doc = "Let a ready job switch over.")

COMMAND_FN(job_finalize_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_finalize(j, err);
}
COMMAND(job_finalize, .name = "job-finalize", .args = &id_type, .run = job_finalize_cmd,
        .doc = "Make the changes of a pending job and its transaction.")

COMMAND_FN(job_dismiss_cmd)
{
    Job *j = find(m, ((JobArgs *)args)->id, err);

    return j && job_dismiss(j, err);
}
COMMAND(job_dismiss, .name = "job-dismiss", .args = &id_type, .run = job_dismiss_cmd,
        .doc = "Forget a concluded job.")

typedef struct JobInfo {
    char *id, *error;
    uint32_t type, status;
    int64_t current, total;
} JobInfo;
static const Field info_fields[] = {
    ARG(JobInfo, id, "id", "the job"),
    ARG_TYPE(JobInfo, type, "type", &job_type_type, "what it does"),
    ARG_TYPE(JobInfo, status, "status", &job_status_type, "its state"),
    ARG(JobInfo, current, "current-progress", "how much is done"),
    ARG(JobInfo, total, "total-progress", "of how much"),
    ARG_STR_OPT(JobInfo, error, "error", "why it failed"),
};
static STRUCT_TYPE(info_type, JobInfo, info_fields);
static LIST_TYPE(info_list, &info_type);

/* Its thread, whose result this is, has ended. */
static bool has_failed(const Job *j)
{
    return j->status >= JOB_WAITING && j->result && j->err.msg[0];
}

COMMAND_FN(query_jobs)
{
    for (const Job *j = NULL; (j = job_next(m->jobs, j));) {
        JobInfo *i;

        if (!j->id)
            continue;
        i = list_add(ret, &info_type);
        *i = (JobInfo){.id = xstrdup(j->id),
                       .error = has_failed(j) ? xstrdup(j->err.msg) : NULL,
                       .type = type_number(j),
                       .status = j->status,
                       .current = (int64_t)j->done,
                       .total = (int64_t)j->total};
    }
    return true;
}
COMMAND(query_jobs, .name = "query-jobs", .ret = &info_list, .run = query_jobs, .doc = "All jobs.")

/* --- the older commands, by the name of the device --- */

typedef struct DeviceArgs {
    char *device;
    bool has_force, force;
    int64_t speed;
} DeviceArgs;
static const Field device_fields[] = {ARG(DeviceArgs, device, "device", "the job")};
static STRUCT_TYPE(device_type, DeviceArgs, device_fields);
static const Field cancel_fields[] = {
    ARG(DeviceArgs, device, "device", "the job"),
    ARG_OPT(DeviceArgs, force, "force", "also a ready one gives up its result"),
};
static STRUCT_TYPE(cancel_type, DeviceArgs, cancel_fields);
static const Field speed_fields[] = {
    ARG(DeviceArgs, device, "device", "the job"),
    ARG(DeviceArgs, speed, "speed", "bytes a second, 0: no limit"),
};
static STRUCT_TYPE(speed_type, DeviceArgs, speed_fields);

static Job *find_block(Machine *m, const char *device, Error *err)
{
    Job *j = job_find(m->jobs, device);

    if (j && j->cls->is_block)
        return j;
    error_set_class(err, ERROR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", device);
    return NULL;
}

COMMAND_FN(block_job_cancel)
{
    const DeviceArgs *a = args;
    Job *j = find_block(m, a->device, err);

    if (j && j->paused_by_user && !a->force)
        return error_set(err, "The block job for device '%s' is currently paused", a->device);
    return j && job_cancel(j, a->force, err);
}
COMMAND(block_job_cancel, .name = "block-job-cancel", .args = &cancel_type, .run = block_job_cancel,
        .doc = "End a block job; a ready mirror ends with its copy complete.")

COMMAND_FN(block_job_pause)
{
    Job *j = find_block(m, ((DeviceArgs *)args)->device, err);

    return j && job_user_pause(j, true, err);
}
COMMAND(block_job_pause, .name = "block-job-pause", .args = &device_type, .run = block_job_pause,
        .doc = "Pause a block job.")

COMMAND_FN(block_job_resume)
{
    Job *j = find_block(m, ((DeviceArgs *)args)->device, err);

    return j && job_user_pause(j, false, err);
}
COMMAND(block_job_resume, .name = "block-job-resume", .args = &device_type, .run = block_job_resume,
        .doc = "Let a paused block job go on.")

COMMAND_FN(block_job_complete)
{
    Job *j = find_block(m, ((DeviceArgs *)args)->device, err);

    return j && job_complete(j, err);
}
COMMAND(block_job_complete, .name = "block-job-complete", .args = &device_type,
        .run = block_job_complete, .doc = "Let a ready block job switch over.")

COMMAND_FN(block_job_set_speed)
{
    const DeviceArgs *a = args;
    Job *j = find_block(m, a->device, err);

    if (j && a->speed < 0)
        return error_set(err, "Speed '%" PRId64 "' must not be negative", a->speed);
    return j && job_set_speed(j, (uint64_t)a->speed, err);
}
COMMAND(block_job_set_speed, .name = "block-job-set-speed", .args = &speed_type,
        .run = block_job_set_speed, .doc = "Limit the speed of a block job.")

COMMAND_FN(block_job_finalize)
{
    return job_finalize_cmd(m, args, ret, err);
}
COMMAND(block_job_finalize, .name = "block-job-finalize", .args = &id_type,
        .run = block_job_finalize, .doc = "As job-finalize.")

COMMAND_FN(block_job_dismiss)
{
    return job_dismiss_cmd(m, args, ret, err);
}
COMMAND(block_job_dismiss, .name = "block-job-dismiss", .args = &id_type, .run = block_job_dismiss,
        .doc = "As job-dismiss.")

static const char *const io_names[] = {"ok", "failed", "nospace", NULL};
static ENUM_TYPE(io_status_type, BlockDeviceIoStatus, io_names);
typedef struct BlockJobInfo {
    char *device, *error;
    uint32_t type, io_status, status;
    int64_t len, offset, speed;
    bool busy, paused, ready, auto_finalize, auto_dismiss;
} BlockJobInfo;
static const Field block_info_fields[] = {
    ARG_TYPE(BlockJobInfo, type, "type", &job_type_type, "what it does"),
    ARG(BlockJobInfo, device, "device", "the job"),
    ARG(BlockJobInfo, len, "len", "size of the work"),
    ARG(BlockJobInfo, offset, "offset", "how much is done"),
    ARG(BlockJobInfo, busy, "busy", "it is at work"),
    ARG(BlockJobInfo, paused, "paused", "it was paused"),
    ARG(BlockJobInfo, speed, "speed", "limit in bytes a second, 0: none"),
    ARG_TYPE(BlockJobInfo, io_status, "io-status", &io_status_type, "how its transfers fare"),
    ARG(BlockJobInfo, ready, "ready", "it can be completed"),
    ARG_TYPE(BlockJobInfo, status, "status", &job_status_type, "its state"),
    ARG(BlockJobInfo, auto_finalize, "auto-finalize", "ends without job-finalize"),
    ARG(BlockJobInfo, auto_dismiss, "auto-dismiss", "is forgotten without job-dismiss"),
    ARG_STR_OPT(BlockJobInfo, error, "error", "why it failed"),
};
static STRUCT_TYPE(block_info_type, BlockJobInfo, block_info_fields);
static LIST_TYPE(block_info_list, &block_info_type);

COMMAND_FN(query_block_jobs)
{
    for (const Job *j = NULL; (j = job_next(m->jobs, j));) {
        BlockJobInfo *i;

        if (!j->id || !j->cls->is_block)
            continue;
        i = list_add(ret, &block_info_type);
        *i = (BlockJobInfo){.device = xstrdup(j->id),
                            .error = has_failed(j) ? xstrdup(j->err.msg) : NULL,
                            .type = type_number(j),
                            .io_status = !strcmp(j->io_status, "ok")       ? 0
                                         : !strcmp(j->io_status, "failed") ? 1
                                                                           : 2,
                            .status = j->status,
                            .len = (int64_t)j->total,
                            .offset = (int64_t)j->done,
                            .speed = (int64_t)j->speed,
                            .busy = j->busy,
                            .paused = j->pauses > 0,
                            .ready = j->ready,
                            .auto_finalize = j->auto_finalize,
                            .auto_dismiss = j->auto_dismiss};
    }
    return true;
}
COMMAND(query_block_jobs, .name = "query-block-jobs", .ret = &block_info_list,
        .run = query_block_jobs, .doc = "All block jobs.")
