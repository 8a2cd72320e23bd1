/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_events - what management is told of jobs
 */
#ifndef CORE_JOB_EVENTS_H
#define CORE_JOB_EVENTS_H

#include "core/job.h"

void job_tell_status(Machine *m, const Job *j); /* JOB_STATUS_CHANGE */
void job_tell_ready(Machine *m, const Job *j);  /* BLOCK_JOB_READY */
void job_tell_pending(Machine *m, const Job *j);
void job_tell_end(Machine *m, const Job *j); /* BLOCK_JOB_COMPLETED or _CANCELLED */
void job_tell_error(Machine *m, const Job *j, bool is_read, const char *action);

#endif
