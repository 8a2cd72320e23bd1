/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine_state - saving and loading all of a machine but its RAM; docs/migration.md
 *
 * Magic, then sections (core/device_state.c): "machine" with board and clock, "cpu" for each, the
 * devices in tree order, "end".
 */
#include "core/device_priv.h"
#include "core/machine.h"

static const char MAGIC[8] = "RHEA-S1";

typedef struct MachineHead {
    char *board, *arch;
    uint32_t n_cpus;
    int64_t now;
} MachineHead;

static const Field head_fields[] = {
    STATE(MachineHead, board),
    STATE(MachineHead, arch),
    STATE(MachineHead, n_cpus),
    STATE(MachineHead, now),
};
static STRUCT_TYPE(head_type, MachineHead, head_fields);

static MachineHead machine_head(const Machine *m)
{
    return (MachineHead){
        .board = (char *)m->board->name,
        .arch = (char *)(m->arch ? m->arch->name : "none"),
        .n_cpus = m->n_cpus,
        .now = clock_now(m->vclock),
    };
}

static void save_device(Device *d, void *arg)
{
    device_save(d, arg);
}

void machine_save(Machine *m, ByteBuf *out)
{
    MachineHead head = machine_head(m);

    assert(m->state != RUN_RUNNING);
    bytebuf_add(out, MAGIC, sizeof MAGIC);
    size_t began = section_begin(out, "machine", 0);
    reflect_save(&head_type, &head, out);
    section_end(out, began);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Cpu *c = m->cpus[i];
        began = section_begin(out, "cpu", i);
        if (m->arch->pre_save)
            m->arch->pre_save(c);
        reflect_save(m->arch->state, c, out);
        section_end(out, began);
    }
    WITH_LOCK (&m->lock)
        device_walk(m->root, save_device, out);
    section_end(out, section_begin(out, "end", 0));
}

static bool head_matches(const MachineHead *is, const MachineHead *want, Error *err)
{
    if (!is->board || !is->arch || strcmp(is->board, want->board) || strcmp(is->arch, want->arch))
        return error_set(err, "the state is of machine '%s' (%s), this is '%s' (%s)",
                         is->board ? is->board : "", is->arch ? is->arch : "", want->board,
                         want->arch);
    if (is->n_cpus != want->n_cpus)
        return error_set(err, "the state has %" PRIu32 " processors, this machine %" PRIu32,
                         is->n_cpus, want->n_cpus);
    if (is->now < 0)
        return error_set(err, "the state's time is negative");
    return true;
}

static bool load_head(Machine *m, ByteBuf *in, Error *err)
{
    MachineHead head = {0}, want = machine_head(m);
    char magic[sizeof MAGIC];
    ByteBuf body;

    if (!bytebuf_take(in, magic, sizeof magic) || memcmp(magic, MAGIC, sizeof magic) != 0)
        return error_set(err, "this is not a saved state");
    if (!section_take(in, "machine", 0, &body, err))
        return false;
    bool ok = reflect_load(&head_type, &head, &body, err) &&
              section_finish(&body, "machine", err) && head_matches(&head, &want, err);
    if (ok)
        clock_set(m->vclock, head.now);
    reflect_free(&head_type, &head);
    return ok;
}

static bool load_cpu(Cpu *c, ByteBuf *in, Error *err)
{
    ByteBuf body;

    if (!section_take(in, "cpu", c->index, &body, err))
        return false;
    if (!reflect_load(c->arch->state, c, &body, err) || !section_finish(&body, "cpu", err))
        return error_prefix(err, "vCPU %u: ", c->index);
    return !c->arch->loaded || c->arch->loaded(c, err);
}

typedef struct Loading {
    ByteBuf *in;
    Error *err;
    bool ok;
} Loading;

static void load_device(Device *d, void *arg)
{
    Loading *l = arg;

    l->ok = l->ok && device_load(d, l->in, l->err);
}

bool machine_load(Machine *m, ByteBuf *in, Error *err)
{
    Loading l = {in, err, true};
    ByteBuf end;

    assert(m->state != RUN_RUNNING);
    if (!load_head(m, in, err))
        return false;
    for (unsigned i = 0; i < m->n_cpus; i++)
        if (!load_cpu(m->cpus[i], in, err))
            return false;
    WITH_LOCK (&m->lock)
        device_walk(m->root, load_device, &l);
    return l.ok && section_take(in, "end", 0, &end, err) && section_finish(&end, "end", err);
}
