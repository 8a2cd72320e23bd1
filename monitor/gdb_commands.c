/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_commands - what packets of one letter ask for: threads, points, running (GDB manual E.2,
 * E.3) */
#include "base/alloc.h"
#include "base/log.h"
#include "monitor/gdb_priv.h"

/* --- threads --- */

bool gdb_thread(const GdbStub *s, GdbText *t, int64_t *thread)
{
    uint64_t v = 1;

    if (gdb_eat(t, "p")) {
        if (!gdb_eat(t, "-1") && (!gdb_hex(t, &v) || (v != GDB_PID && v != 0)))
            return false;
        *thread = GDB_THREAD_ALL;
        if (!gdb_eat(t, "."))
            return true;
    }
    *thread = GDB_THREAD_ALL;
    if (gdb_eat(t, "-1"))
        return true;
    if (!gdb_hex(t, &v) || v > s->m->n_cpus)
        return false;
    *thread = (int64_t)v;
    return true;
}

void gdb_add_thread(const GdbStub *s, StrBuf *out, unsigned cpu)
{
    if (s->multiprocess)
        strbuf_addf(out, "p%02x.%02x", GDB_PID, cpu + 1);
    else
        strbuf_addf(out, "%02x", cpu + 1);
}

static void set_thread(GdbStub *s, GdbText t)
{
    bool run = gdb_eat(&t, "c"), access = !run && gdb_eat(&t, "g");
    int64_t thread;

    if ((!run && !access) || !gdb_thread(s, &t, &thread) || t.p != t.end) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    if (thread > 0 && run)
        s->cpu_run = (unsigned)thread - 1;
    else if (thread > 0)
        s->cpu = (unsigned)thread - 1;
    gdb_reply(s, "OK");
}

static void is_alive(GdbStub *s, GdbText t)
{
    int64_t thread;

    gdb_reply_ok(s, gdb_thread(s, &t, &thread) && thread > 0);
}

/* --- points --- */

static void change_point(GdbStub *s, GdbText t, bool insert)
{
    DebugPoint p = {0};
    uint64_t kind;

    if (!gdb_hex(&t, &kind) || !gdb_eat(&t, ",") || !gdb_hex(&t, &p.at) || !gdb_eat(&t, ",") ||
        !gdb_hex(&t, &p.size)) {
        gdb_reply(s, GDB_EINVAL);
    } else if (kind >= DEBUG_KINDS) {
        gdb_reply(s, "");
    } else if (t.p != t.end &&
               *t.p == ';') { /* conditions and commands: not told to be supported */
        gdb_reply(s, GDB_EINVAL);
    } else {
        p.kind = (DebugKind)kind;
        if (kind < DEBUG_WATCH_WRITE)
            p.size = 1;
        if (insert && (!p.size || p.at + (p.size - 1) < p.at))
            gdb_reply(s, GDB_EINVAL);
        else if (insert)
            gdb_reply(s, debug_insert(s->m, p) ? "OK" : GDB_E2BIG);
        else
            gdb_reply_ok(s, debug_remove(s->m, p));
    }
}

/* --- running --- */

static bool set_pc(GdbStub *s, unsigned cpu, uint64_t pc)
{
    const DebugReg *regs[GDB_REGS];
    Cpu *c = s->m->cpus[cpu];
    unsigned n = gdb_regs(c, regs);

    for (unsigned i = 0; i < n; i++) {
        if (regs[i]->type && !strcmp(regs[i]->type, "code_ptr"))
            return c->arch->debug->set(c, regs[i], (const uint8_t *)&pc);
    }
    return false;
}

/* c, C, s, S: [signal;][address]: signals mean nothing to a machine. */
static void go(GdbStub *s, GdbText t, bool step, bool has_signal)
{
    unsigned n = s->m->n_cpus;
    AUTO_FREE DebugRun *how = xnew_n(DebugRun, n);
    uint64_t v;

    if (has_signal && !gdb_hex(&t, &v)) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    gdb_eat(&t, ";");
    if (t.p < t.end && (!gdb_hex(&t, &v) || t.p != t.end || !set_pc(s, s->cpu_run, v))) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        how[i] = step && i == s->cpu_run ? DEBUG_STEP : DEBUG_RUN;
    gdb_resume(s, how);
}

static void detach(GdbStub *s, GdbText t)
{
    uint64_t pid;

    if (gdb_eat(&t, ";") && (!gdb_hex(&t, &pid) || pid != GDB_PID)) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    debug_remove_all(s->m);
    gdb_reply(s, "OK");
    if (s->m->state != RUN_SHUTDOWN && s->m->state != RUN_INTERNAL_ERROR)
        machine_start(s->m);
}

static void kill_machine(GdbStub *s)
{
    log_error("Terminated via GDBstub");
    machine_request_shutdown(s->m, SHUTDOWN_HOST_QUIT, 0);
}

/* --- vCont --- */

static bool parse_action(GdbText *t, DebugRun *how)
{
    uint64_t signal;
    bool has_signal = t->p < t->end && (*t->p == 'C' || *t->p == 'S');

    if (gdb_eat(t, "c") || gdb_eat(t, "C"))
        *how = DEBUG_RUN;
    else if (gdb_eat(t, "s") || gdb_eat(t, "S"))
        *how = DEBUG_STEP;
    else if (gdb_eat(t, "t"))
        *how = DEBUG_STAY;
    else
        return false;
    return !has_signal || gdb_hex(t, &signal);
}

/* ";action[:thread]" ...: for each thread the leftmost one that fits.  False: not understood. */
static bool parse_actions(const GdbStub *s, GdbText t, DebugRun *how, bool *given)
{
    while (t.p < t.end) {
        int64_t thread = GDB_THREAD_ALL;
        DebugRun action;

        if (!gdb_eat(&t, ";") || !parse_action(&t, &action) ||
            (gdb_eat(&t, ":") && !gdb_thread(s, &t, &thread)))
            return false;
        if (thread == GDB_THREAD_ANY)
            thread = (int64_t)s->cpu_run + 1;
        for (unsigned i = 0; i < s->m->n_cpus; i++) {
            if (!given[i] && (thread == GDB_THREAD_ALL || thread == (int64_t)i + 1)) {
                given[i] = true;
                how[i] = action;
            }
        }
    }
    return true;
}

static void resume_some(GdbStub *s, GdbText t)
{
    AUTO_FREE DebugRun *how = xnew_n(DebugRun, s->m->n_cpus); /* all DEBUG_STAY */
    AUTO_FREE bool *given = xnew_n(bool, s->m->n_cpus);
    bool any = false;

    if (!parse_actions(s, t, how, given)) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    for (unsigned i = 0; i < s->m->n_cpus; i++)
        any |= how[i] != DEBUG_STAY;
    if (any)
        gdb_resume(s, how);
    else
        gdb_reply(s, "OK");
}

static bool v_packet(GdbStub *s, GdbText t)
{
    uint64_t pid;

    if (gdb_eat(&t, "Cont?")) {
        gdb_reply(s, "vCont;c;C;s;S;t");
    } else if (gdb_eat(&t, "Cont")) {
        resume_some(s, t);
    } else if (gdb_eat(&t, "Attach;")) {
        if (gdb_hex(&t, &pid) && pid == GDB_PID)
            gdb_reply_stopped(s);
        else
            gdb_reply(s, GDB_EINVAL);
    } else if (gdb_eat(&t, "Kill;")) {
        gdb_reply(s, "OK");
        kill_machine(s);
    } else {
        return false;
    }
    return true;
}

/* --- all --- */

static bool one_letter(GdbStub *s, uint8_t what, GdbText t)
{
    switch (what) {
    case '?': gdb_reply_stopped(s); return true;
    case '!': gdb_reply(s, "OK"); return true;
    case 'H': set_thread(s, t); return true;
    case 'T': is_alive(s, t); return true;
    case 'Z':
    case 'z': change_point(s, t, what == 'Z'); return true;
    case 'c':
    case 's': go(s, t, what == 's', false); return true;
    case 'C':
    case 'S': go(s, t, what == 'S', true); return true;
    case 'D': detach(s, t); return true;
    case 'k': kill_machine(s); return true;
    case 'R': machine_reset(s->m); return true;
    case 'g':
    case 'G':
    case 'p':
    case 'P': return gdb_regs_packet(s, what, t);
    case 'm':
    case 'M':
    case 'X': return gdb_mem_packet(s, what, t);
    case 'v': return v_packet(s, t);
    case 'q':
    case 'Q': t.p--; return gdb_query(s, t);
    default: return false;
    }
}

void gdb_packet(GdbStub *s, GdbText t)
{
    bool known = t.p < t.end;

    if (known) {
        t.p++;
        known = one_letter(s, t.p[-1], t);
    }
    if (!known)
        gdb_reply(s, "");
}
