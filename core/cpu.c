/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu - leaving the code that runs on a vCPU, and asking a vCPU for something from outside */
#include "core/cpu.h"

_Thread_local Cpu *cpu_current_;

/*
 * The host's vector registers may hold the guest's (vec_live) and are to be kept.  _longjmp neither
 * restores them nor makes a system call; no cleanup handlers are pushed on vCPU threads.
 */
void cpu_unwind(Cpu *c, CpuUnwind why)
{
    assert(c->unwind && why != UNWIND_NONE);
    _longjmp(*c->unwind, why);
}

void cpu_raise(Cpu *c, const Exception *e)
{
    c->exc = *e;
    cpu_unwind(c, UNWIND_EXCEPTION);
}

void cpu_request(Cpu *c, uint32_t bits)
{
    atomic_fetch_or(&c->request, bits);
    if (c->host)
        c->host->kick(c);
}
