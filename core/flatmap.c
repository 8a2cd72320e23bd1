/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flatmap - what translated code and the soft MMU need of the memory map
 *
 * General registers only, no locks, no calls.
 */
#include "core/memory_priv.h"

Epoch epoch_;
_Thread_local EpochThread epoch_thread_;

void epoch_enter(void)
{
    epoch_enter_();
}

void epoch_exit(void)
{
    epoch_exit_();
}

const MemSection *as_find(AddressSpace *as, Gpa at)
{
    uint64_t hole;

    return flatmap_find_(atomic_load(&as->map), at, &hole);
}

uint8_t *as_ram(AddressSpace *as, Gpa at, uint64_t size, bool write)
{
    const MemSection *s = as_find(as, at);

    if (!s || !s->region->hva || (write && s->region->kind != REGION_RAM))
        return NULL;
    if (size > s->size - (at - s->at))
        return NULL;
    return s->region->hva + s->region_at + (at - s->at);
}
