/* SPDX-License-Identifier: GPL-2.0-or-later */
/* debug - break- and watchpoints, steps and stops: core/debug.h */
#include "core/debug.h"

#include "base/alloc.h"
#include "core/machine.h"

/* --- points --- */

/* Index of the first breakpoint not below @at. */
static unsigned break_index(const Debug *d, Gva at)
{
    unsigned low = 0, high = d->n_breaks;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (d->breaks[mid].at < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

Gva debug_next_break(const Debug *d, Gva at)
{
    unsigned i = break_index(d, at);

    return i < d->n_breaks ? d->breaks[i].at : ~0ull;
}

const DebugPoint *debug_break_at(const Debug *d, Gva at)
{
    unsigned i = break_index(d, at);

    return i < d->n_breaks && d->breaks[i].at == at ? &d->breaks[i] : NULL;
}

static bool is_watch(DebugPoint p)
{
    return p.kind >= DEBUG_WATCH_WRITE;
}

/* Where @p is, or, *found false, belongs in its list. */
static DebugPoint *point_find(Debug *d, DebugPoint p, bool *found)
{
    DebugPoint *list = is_watch(p) ? d->watches : d->breaks;
    DebugPoint *end = list + (is_watch(p) ? d->n_watches : d->n_breaks);
    DebugPoint *i = is_watch(p) ? list : list + break_index(d, p.at);

    for (; i < end && (is_watch(p) || i->at == p.at); i++) {
        if (i->at == p.at && i->kind == p.kind && (!is_watch(p) || i->size == p.size)) {
            *found = true;
            return i;
        }
    }
    *found = false;
    return i;
}

/* What was translated or mapped without knowing of @p, or with it, is void. */
static void point_changed(Machine *m, DebugPoint p)
{
    if (!is_watch(p)) {
        if (m->accel->break_changed)
            m->accel->break_changed(m, p.at);
        return;
    }
    for (unsigned i = 0; i < m->n_cpus; i++)
        atomic_fetch_or(&m->cpus[i]->request, REQ_TLB);
}

bool debug_insert(Machine *m, DebugPoint p)
{
    Debug *d = m->debug;
    unsigned *n = is_watch(p) ? &d->n_watches : &d->n_breaks;
    bool found;
    DebugPoint *at = point_find(d, p, &found);

    if (is_watch(p) && (!p.size || p.at + (p.size - 1) < p.at))
        return false;
    if (found)
        return true;
    if (*n == (is_watch(p) ? DEBUG_WATCHES : DEBUG_BREAKS))
        return false;
    DebugPoint *end = (is_watch(p) ? d->watches : d->breaks) + (*n)++;

    memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
    *at = p;
    point_changed(m, p);
    return true;
}

bool debug_remove(Machine *m, DebugPoint p)
{
    Debug *d = m->debug;
    unsigned *n = is_watch(p) ? &d->n_watches : &d->n_breaks;
    bool found;
    DebugPoint *at = point_find(d, p, &found);

    if (!found)
        return false;
    DebugPoint *end = (is_watch(p) ? d->watches : d->breaks) + --*n;

    memmove(at, at + 1, (size_t)(end - at) * sizeof *at);
    point_changed(m, p);
    return true;
}

void debug_remove_all(Machine *m)
{
    Debug *d = m->debug;

    while (d->n_breaks)
        debug_remove(m, d->breaks[d->n_breaks - 1]);
    while (d->n_watches)
        debug_remove(m, d->watches[d->n_watches - 1]);
}

/* --- attaching --- */

bool debug_attach(Machine *m, void (*changed)(void *arg), void *arg, Error *err)
{
    assert(m->state != RUN_RUNNING);
    if (m->debug)
        return error_set(err, "the machine has a debugger already");
    m->debug = xnew(Debug);
    m->debug->changed = changed;
    m->debug->arg = arg;
    for (unsigned i = 0; i < m->n_cpus; i++)
        m->cpus[i]->debug = m->debug;
    return true;
}

void debug_detach(Machine *m)
{
    if (!m->debug)
        return;
    assert(m->state != RUN_RUNNING);
    debug_remove_all(m);
    debug_settle(m);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        m->cpus[i]->stop.kind = STOP_NONE;
        m->cpus[i]->debug = NULL;
    }
    xfree(m->debug);
    m->debug = NULL;
}

/* --- running --- */

static void set_step(Cpu *c, bool on)
{
    if (c->one_insn == on)
        return;
    c->one_insn = on;
    if (c->arch->debug && c->arch->debug->step)
        c->arch->debug->step(c);
}

void debug_settle(Machine *m)
{
    m->debug->clock_held = false;
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Cpu *c = m->cpus[i];

        set_step(c, false);
        cpu_request_clear(c, REQ_DEBUG);
        atomic_fetch_or(&c->request, c->late_requests);
        c->late_requests = 0;
    }
}

void debug_resume(Machine *m, const DebugRun *how)
{
    Debug *d = m->debug;

    d->clock_held = false;
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Cpu *c = m->cpus[i];

        c->debug = d; /* it may have come after the debugger */
        if (how[i] == DEBUG_STAY) {
            atomic_fetch_or(&c->request, REQ_DEBUG);
            continue;
        }
        c->stop.kind = STOP_NONE;
        set_step(c, how[i] == DEBUG_STEP);
        d->clock_held |= how[i] == DEBUG_STEP && !d->step_clock;
    }
    machine_start(m);
}

/* --- on the vCPU's thread --- */

void debug_report(Cpu *c)
{
    if (c->stop.kind != STOP_NONE)
        machine_request_debug(c->machine);
}

uint32_t debug_hold(Cpu *c, uint32_t request)
{
    uint32_t late = c->debug ? request & c->debug->step_mask : 0;

    c->late_requests |= late;
    cpu_request_clear(c, late);
    return request & ~late;
}

static bool overlaps(const DebugPoint *p, Gva va, uint64_t size)
{
    return va - p->at < p->size || p->at - va < size;
}

bool debug_watches_page(const Debug *d, Gva va)
{
    for (unsigned i = 0; i < d->n_watches; i++) {
        if (overlaps(&d->watches[i], va & ~0xfffull, 4096))
            return true;
    }
    return false;
}

void debug_access(Cpu *c, Gva va, uint64_t size, Access access)
{
    const Debug *d = c->debug;
    DebugKind not = access == ACCESS_WRITE ? DEBUG_WATCH_READ : DEBUG_WATCH_WRITE;

    for (unsigned i = 0; i < d->n_watches; i++) {
        const DebugPoint *p = &d->watches[i];

        if (p->kind == not || !overlaps(p, va, size))
            continue;
        c->host->watch_hit(c);
        debug_stop(c, STOP_WATCH, p->kind, p->at);
        return;
    }
}
