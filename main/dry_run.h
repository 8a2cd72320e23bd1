/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dry_run - --dry-run: what a start would make or change is only tried */
#ifndef MAIN_DRY_RUN_H
#define MAIN_DRY_RUN_H

#include <jansson.h>

#include "main/options.h"

/* As open(); a file is neither made nor cut short: /dev/null stands for one that is not there, but
 * could be made.  -errno if not. */
int dry_open(const char *path, int flags);

/* What main/daemon.c would do: PID file, log, user, folder. */
bool dry_process(const Config *c, Error *err);

/* A file that backs RAM is mapped privately, or is a nameless one beside it. */
bool dry_memory(json_t *object, Error *err);
/* -mem-path: the file if there is something in it (it is mapped privately), else its folder. */
bool dry_mem_path(const char **path, Error *err);

#endif
