/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control_priv - what commands, events and handed-over descriptors keep for one machine */
#ifndef CORE_CONTROL_PRIV_H
#define CORE_CONTROL_PRIV_H

#include "core/command.h"
#include "core/fds.h"
#include "core/machine.h"

typedef struct PendingEvent PendingEvent;
typedef struct HeldEvent HeldEvent;
typedef struct NamedFd NamedFd;
typedef struct ControlState ControlState;

typedef struct MachineControl {
    Machine *machine;
    pthread_t main; /* the thread that made us */
    /* the command that runs */
    const json_t *extra;
    Monitor *monitor;
    /* events on their way: under lock */
    Lock lock;
    PendingEvent *first, **last;
    unsigned n_pending;
    /* main thread */
    EventListener *listeners;
    HeldEvent *held; /* those told less than their rate_ms ago */
    NamedFd *fds;
    FdSet *sets;
    ControlState *states;
} MachineControl;

void control_free_events(MachineControl *c);
void control_free_fds(MachineControl *c);

#endif
