/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iothread - a thread that runs a Loop for devices: -object iothread,id=ID */
#ifndef CORE_IOTHREAD_H
#define CORE_IOTHREAD_H

#include "base/loop.h"
#include "core/object.h"

typedef struct IoThread IoThread;

/* The object @id, which counts one more user until iothread_unuse; NULL: no such. */
IoThread *iothread_use(Objects *set, const char *id, Error *err);
void iothread_unuse(IoThread *t);
Loop *iothread_loop(IoThread *t);
int iothread_tid(const IoThread *t); /* the kernel's thread number, for query-iothreads */
const char *iothread_id(const IoThread *t);
/* Call fn(arg) on its thread and wait until it returned.  Main thread. */
void iothread_call_wait(IoThread *t, LoopFn *fn, void *arg);

#endif
