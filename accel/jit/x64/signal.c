/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal - host faults that are the guest's: SIGFPE in translated code
 *
 * Guest divisions and unmasked SIMD exceptions run on the host's hardware and fault there.  The
 * handler rewrites the interrupted context so that it looks like a call of the fault stub from the
 * faulting instruction. Signal handlers are process-wide by nature; the handler finds its machine
 * through the thread that runs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "accel/jit/x64/x64_priv.h"

enum { VECTOR_DE = 0, VECTOR_XM = 19 };

/* The vCPU whose thread this is, while translated code may run. */
static _Thread_local Vcpu *running;

void x64_signals_thread(Vcpu *v)
{
    running = v;
}

static void on_fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *r = u->uc_mcontext.gregs;
    const X64 *x = running ? running->jit->be_state : NULL;
    uint64_t rip = (uint64_t)r[REG_RIP];

    if (!x || rip - (uint64_t)(uintptr_t)x->x >= x->size) {
        signal(sig, SIG_DFL); /* ours: let it kill us at the same place */
        return;
    }
    running->signal_cc =
        (uint16_t)(((r[REG_EFL] & FL_ALL & 0xff) | 2) << 8 | (r[REG_EFL] >> 11 & 1));
    r[REG_RSP] -= 8;
    *(uint64_t *)r[REG_RSP] = rip + 1;
    r[REG_R13] = info->si_code == FPE_INTDIV || info->si_code == FPE_INTOVF ? VECTOR_DE : VECTOR_XM;
    r[REG_RIP] = (greg_t)(uintptr_t)x->fault;
}

bool x64_signals_init(Error *err)
{
    struct sigaction sa = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigemptyset(&sa.sa_mask);
    return sigaction(SIGFPE, &sa, NULL) == 0 || error_set(err, "cannot catch SIGFPE");
}

void x64_fault(Cpu *c, uint64_t vector)
{
    Exception e = {.vector = (uint16_t)vector};

    c->host->sync_pc(c);
    cpu_raise(c, &e);
}
