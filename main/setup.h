/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setup - from a Config to a machine that can be started, and back
 *
 * Order: board and accelerator, empty machine, the stages up to STAGE_BOARD, the board, -device,
 * STAGE_LATE.  Tearing down is the reverse.
 */
#ifndef MAIN_SETUP_H
#define MAIN_SETUP_H

#include "block/block.h"
#include "chardev/chardev.h"
#include "core/job.h"
#include "core/object.h"
#include "main/options.h"
#include "monitor/gdb.h"
#include "monitor/monitor.h"

enum { MONITORS_MAX = 128 };

struct Setup {
    Config *cfg;
    Machine *m;
    Objects *objects;
    Chardevs *chardevs;
    BlockCtx *block_ctx; /* of the main loop */
    BlockGraph *graph;
    Jobs *jobs;
    unsigned n_drives, drives;
    unsigned n_serials, n_compat; /* made so far, for their names */
    Monitor *monitors[MONITORS_MAX];
    unsigned n_monitors;
    GdbStub *gdb;
};

bool setup_make(Setup *s, Config *c, Error *err);
void setup_free(Setup *s);

/* -numa: processors and distances, once all options are known; then memory, once there are
 * objects. */
bool numa_complete(Config *c, Error *err);
bool numa_memory(Machine *m, Error *err);

/* A monitor on the character device @id. */
bool setup_monitor(Setup *s, const char *id, MonitorMode mode, bool pretty, Error *err);

#endif
