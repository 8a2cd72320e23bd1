/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jit - the translating accelerator, "jit" alias "tcg": life cycle, flushes, statistics
 *
 * Options come through MachineConfig: thread_single, tb_size, backend_interp.
 */
#include "accel/jit/jit_priv.h"

#include "base/alloc.h"
#include "base/log.h"

extern const Backend backend_x64 __attribute__((weak)); /* not on every host */

static inline Jit *jit_of(const Machine *m)
{
    return m->accel_state;
}

static void vec_save(Cpu *c)
{
    ((Vcpu *)c->accel)->jit->be->vec_save(c);
}

static const CpuHost jit_host = {.vec_save = vec_save,
                                 .sync_pc = vcpu_sync_pc,
                                 .kick = vcpu_kick,
                                 .code_written = jit_code_written,
                                 .watch_hit = vcpu_watch_hit,
                                 .alone = vcpu_alone};

/* --- what others tell --- */

static void memory_changed(MemListener *l, const FlatMap *now UNUSED)
{
    Jit *j = CONTAINER_OF(l, Jit, listener);

    for (unsigned i = 0; i < j->n_vcpus; i++) {
        if (j->vcpus[i])
            cpu_request(j->vcpus[i]->cpu, REQ_TLB);
    }
}

static void ram_written(void *arg, uint32_t ram_page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++)
        jit_invalidate(arg, ram_page + i, 0, 4096);
}

void jit_flush_all(Jit *j)
{
    uint64_t before = 0;

    WITH_LOCK (&j->lock)
        before = j->total.flushes;
    sync_exclusive_begin(j);
    WITH_LOCK (&j->lock) {
        if (j->total.flushes == before) { /* else another vCPU has just done it */
            blocks_flush(j);
            j->be->flush(j);
            j->total.flushes++;
        }
    }
    sync_exclusive_end(j);
}

/* --- machine --- */

static bool jit_probe(const char *arch, Error *err)
{
    if (!arch || !cpu_arch_find(arch))
        return error_set(err, "-accel jit cannot run '%s' processors", arch ? arch : "unknown");
    return true;
}

static const Backend *pick_backend(const Machine *m)
{
    if (m->cfg.backend_interp || !&backend_x64)
        return &backend_interp;
    return &backend_x64;
}

static bool jit_start(Machine *m, Error *err)
{
    Jit *j = xnew(Jit);

    j->m = m;
    j->be = pick_backend(m);
    j->check_ir = j->be == &backend_interp;
    j->single = m->cfg.thread_single > 0;
    j->nochain = log_on(LOG_NOCHAIN | LOG_EXEC | LOG_CPU);
    j->n_vcpus = m->n_cpus;
    j->vcpus = xnew_n(Vcpu *, m->n_cpus);
    lock_init(&j->lock, "code", RANK_CODE);
    m->accel_state = j;
    if (!blocks_init(j, err) || !sync_init(j, err))
        goto no_blocks;
    if (!j->be->init(j, err))
        goto no_backend;
    j->listener.changed = memory_changed;
    as_listen(&m->mem->system, &j->listener);
    memory_on_written(m->mem, ram_written, j);
    return true;

no_backend:
    sync_free(j);
no_blocks:
    blocks_fini(j);
    lock_fini(&j->lock);
    xfree(j->vcpus);
    xfree(j);
    m->accel_state = NULL;
    return false;
}

static void stats_sum(const Jit *j, JitStats *sum)
{
    *sum = j->total;
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        const uint64_t *from =
            j->vcpus[i] ? (const uint64_t *)(const void *)&j->vcpus[i]->stats : NULL;

        for (size_t k = 0; from && k < sizeof *sum / sizeof *from; k++)
            ((uint64_t *)(void *)sum)[k] += from[k];
    }
}

static void tlb_sum(const Jit *j, TlbStats *sum)
{
    *sum = (TlbStats){0};
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        const uint64_t *from =
            j->vcpus[i] ? (const uint64_t *)(const void *)tlb_stats(j->vcpus[i]->cpu) : NULL;

        for (size_t k = 0; from && k < sizeof *sum / sizeof *from; k++)
            ((uint64_t *)(void *)sum)[k] += from[k];
    }
}

static void jit_stats(Machine *m, StrBuf *out)
{
    static const char *const exits[JIT_EXIT_COUNT] = {"lookup", "link", "sync", "request"};
    static const char *const unwinds[] = {NULL, "exception", "retry", "halt", "step"};
    const Jit *j = jit_of(m);
    JitStats s;
    TlbStats t;

    if (!j)
        return;
    stats_sum(j, &s);
    tlb_sum(j, &t);
    strbuf_addf(out, "back end: %s, %s\n", j->be->name,
                j->single ? "one thread" : "a thread for each processor");
    strbuf_addf(
        out,
        "blocks: %" PRIu64
        ", %.1f instructions and %.0f host bytes each, %.0f ns an instruction to translate\n",
        s.blocks, s.blocks ? (double)s.insns / (double)s.blocks : 0,
        s.blocks ? (double)s.host_bytes / (double)s.blocks : 0,
        s.insns ? (double)s.translate_ns / (double)s.insns : 0);
    strbuf_add(out, "exits:");
    for (unsigned i = 0; i < JIT_EXIT_COUNT; i++)
        strbuf_addf(out, " %s %" PRIu64, exits[i], s.exits[i]);
    strbuf_add(out, "\nunwinds:");
    for (unsigned i = 1; i < COUNT_OF(unwinds); i++)
        strbuf_addf(out, " %s %" PRIu64, unwinds[i], s.unwinds[i]);
    strbuf_addf(out,
                "\nslow look-ups: %" PRIu64 ", found %" PRIu64 "; links %" PRIu64
                "; requests %" PRIu64 "\n",
                s.lookups, s.hash_hits, s.links, s.interrupts);
    strbuf_addf(out,
                "stores to pages with code: %" PRIu64 ", into the running block %" PRIu64
                "; blocks dropped %" PRIu64 "; flushes %" PRIu64 "\n",
                s.smc_writes, s.smc_same_block, s.invalidated, s.flushes);
    strbuf_addf(out,
                "soft TLB: slow %" PRIu64 " fills %" PRIu64 " second level %" PRIu64
                " walks %" PRIu64 " devices %" PRIu64 "\n",
                t.slow, t.fills, t.l2_hits, t.walks, t.mmio);
    strbuf_addf(out,
                "soft TLB: switches %" PRIu64 " flushes %" PRIu64 " page flushes %" PRIu64
                " evicted contexts %" PRIu64 "\n",
                t.switches, t.flushes, t.flush_pages, t.evictions);
}

static void jit_vcpu_destroy(Cpu *c)
{
    Jit *j = jit_of(c->machine);
    Vcpu *v = c->accel;

    if (!v)
        return;
    sync_fini(j); /* the first one ends all threads */
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        if (j->vcpus[i] == v)
            j->vcpus[i] = NULL;
    }
    j->be->vcpu_fini(v);
    tlb_fini(c);
    xfree(v->ir.ops);
    xfree(v);
    c->accel = NULL;
    c->host = NULL;
    c->unwind = NULL;
}

static bool jit_vcpu_create(Cpu *c, Error *err)
{
    Jit *j = jit_of(c->machine);
    Vcpu *v = xnew(Vcpu);

    v->cpu = c;
    v->jit = j;
    if (!tlb_init(c, err)) {
        xfree(v);
        return false;
    }
    c->accel = v;
    if (!j->be->vcpu_init(v, err)) {
        c->accel = NULL;
        tlb_fini(c);
        xfree(v);
        return false;
    }
    c->host = &jit_host;
    j->vcpus[c->index] = v;
    return true;
}

static void jit_stop(Machine *m)
{
    Jit *j = jit_of(m);

    if (!j)
        return;
    sync_fini(j);
    memory_on_written(m->mem, NULL, NULL);
    as_unlisten(&m->mem->system, &j->listener);
    blocks_flush(j);
    j->be->fini(j);
    blocks_fini(j);
    sync_free(j);
    lock_fini(&j->lock);
    xfree(j->vcpus);
    xfree(j);
    m->accel_state = NULL;
}

static bool jit_ready(Machine *m, Error *err)
{
    return sync_start(jit_of(m)) || error_set(err, "cannot create vCPU threads");
}

static void jit_run(Machine *m)
{
    if (!sync_run(jit_of(m))) {
        log_error("cannot create vCPU threads");
        machine_request_shutdown(m, SHUTDOWN_ERROR, 1);
    }
}

static void jit_park(Machine *m)
{
    sync_park(jit_of(m));
}

static void jit_break_changed(Machine *m, Gva linear)
{
    blocks_drop_at(jit_of(m), linear);
}

static const Accel accel_jit = {
    .name = "jit",
    .alias = "tcg",
    .doc = "dynamic translation to host code",
    .probe = jit_probe,
    .start = jit_start,
    .stop = jit_stop,
    .vcpu_create = jit_vcpu_create,
    .vcpu_destroy = jit_vcpu_destroy,
    .ready = jit_ready,
    .run = jit_run,
    .park = jit_park,
    .stats = jit_stats,
    .break_changed = jit_break_changed,
};
ACCEL_REGISTER(accel_jit)
