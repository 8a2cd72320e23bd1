/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals - SIGINT, SIGTERM and SIGHUP end the machine in an orderly way */
#ifndef MAIN_SIGNALS_H
#define MAIN_SIGNALS_H

#include "core/machine.h"

bool signals_watch(Machine *m, Error *err);
void signals_unwatch(Machine *m); /* before the machine's loop is freed */

#endif
