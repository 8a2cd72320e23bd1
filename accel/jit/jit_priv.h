/* SPDX-License-Identifier: GPL-2.0-or-later */
/* jit_priv - what the files of accel/jit share besides the contract with the back ends (jit.h) */
#ifndef ACCEL_JIT_JIT_PRIV_H
#define ACCEL_JIT_JIT_PRIV_H

#include "accel/jit/jit.h"

enum { JIT_PEEK = 32 }; /* bytes of a successor that are looked at for dead flags */

/* --- block.c: table, page lists, links, invalidation --- */

bool blocks_init(Jit *j, Error *err);
void blocks_fini(Jit *j);
void blocks_flush(Jit *j);           /* every vCPU stands still; lock held */
void block_insert(Jit *j, Block *b); /* lock held */
Block *block_alloc(
    Jit *j); /* contents are undefined; NULL: no room until the next flush; lock held */
void block_take_back(Jit *j, Block *b); /* the last one made; lock held */
/* For @c as it is; no lock. */
Block *block_lookup(Jit *j, const Cpu *c, Gva linear, uint32_t ram_page);
void block_remember_new(Vcpu *v, Block *b);          /* for the next look-ups; lock held */
uint64_t block_lines(const Block *b, unsigned page); /* of ram_page[page] */
/* A store of this vCPU is about to hit lines with code.  Unwinds with UNWIND_STEP if it hits the
 * running block. */
void block_written(Vcpu *v, uint32_t ram_page, unsigned at, unsigned size);
void block_recheck_later(Vcpu *v, uint32_t ram_page, unsigned at,
                         unsigned size); /* lock held, any thread */
void block_rechecks(Vcpu *v);            /* REQ_CODE */
void blocks_drop_at(Jit *j, Gva linear); /* those that hold or looked at the byte there */

static inline bool block_has_two_pages(const Block *b)
{
    return (b->linear & 0xfff) + b->size > 4096;
}

static inline uint64_t lines_of(unsigned at, unsigned size) /* within one page, size > 0 */
{
    return (~0ull >> (63 - (at + size - 1) / 64)) & ~0ull << (at / 64);
}

/* --- compile.c --- */

/* Translate at (V_PC, @linear): from host page @code of @ram_page.  NULL: the code cache is
 * full.  Takes the lock; may raise. */
Block *jit_compile(Vcpu *v, Gva linear, const uint8_t *code, uint32_t ram_page);

/* --- smc.c: general registers only --- */

void jit_code_written(Cpu *c, uint32_t ram_page, unsigned at,
                      unsigned size); /* CpuHost.code_written */

/* --- vcpu.c: threads --- */

bool sync_init(Jit *j, Error *err);
void sync_fini(Jit *j); /* ends the threads; sync_run() makes new ones */
void sync_free(Jit *j);
bool sync_start(Jit *j); /* makes the threads, parked, if there are none */
bool sync_run(Jit *j);
void sync_park(Jit *j);
void sync_exclusive_begin(
    Jit *j); /* all other vCPUs stand still until _end; no lock held by the caller */
void sync_exclusive_end(Jit *j);
/* CpuHost.alone: the instruction is run once more, as a block of its own, in an exclusive
 * section. */
void vcpu_alone(Cpu *c);
void vcpu_not_alone(Vcpu *v); /* ends the section, if it is in one */
void vcpu_kick(Cpu *c);       /* CpuHost.kick */
void vcpu_watch_hit(Cpu *c);  /* CpuHost.watch_hit */
void vcpu_sync_pc(Cpu *c);    /* CpuHost.sync_pc: does nothing outside of translated code */

#endif
