/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smc - stores to pages that hold translations, on their way from the soft MMU
 *
 * Called before the store, by translated code's slow paths: general registers only up to the point
 * where a line with code is hit.  Most stores to such pages hit data and end here.
 *
 * With several vCPUs a store may be on its way while another vCPU translates the old bytes.  The
 * store is noted first (Vcpu.wrote), then the lines are looked at; the translator marks the lines,
 * then looks at the notes, and asks the writer to invalidate once more behind its block.
 */
#include "accel/jit/jit_priv.h"

void jit_code_written(Cpu *c, uint32_t ram_page, unsigned at, unsigned size)
{
    Vcpu *v = c->accel;
    Jit *j = v->jit;

    v->stats.smc_writes++;
    if (ram_page >= j->n_pages)
        return;
    if (j->n_vcpus > 1) {
        uint64_t note = (uint64_t)ram_page << 32 | at << 16 | size;

        if (atomic_load_explicit(&v->wrote[v->next_wrote], memory_order_relaxed) != note) {
            v->next_wrote ^= 1;
            atomic_store(&v->wrote[v->next_wrote], note);
        } else {
            atomic_fetch_add(&v->wrote[v->next_wrote], 0); /* the barrier all the same */
        }
    }
    if (!(atomic_load_explicit(&j->page_lines[ram_page], memory_order_relaxed) &
          lines_of(at, size)))
        return;
    if (c->vec_live)
        c->host->vec_save(c);
    block_written(v, ram_page, at, size);
}
