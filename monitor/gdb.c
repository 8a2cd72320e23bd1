/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb - the stub's connection: bytes in and out, clients that come and go, stops that they are told
 * of
 *
 * Invariants:
 *  1. While a packet is handled, the machine stands still; whoever talks to a running one stops it
 *     first.
 *  2. Input is parsed only while less than GDB_OUT_HIGH bytes wait to be sent, and kept in a fixed
 *     buffer: a client cannot make the stub grow.
 */
#include "monitor/gdb_priv.h"

#include "base/alloc.h"

enum { SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_TRAP = 5, SIGNAL_ABORT = 6 };

/* --- output --- */

static void flush(GdbStub *s)
{
    while (s->out_at < s->out.len) {
        size_t n =
            chardev_write(s->chr, (const uint8_t *)s->out.s + s->out_at, s->out.len - s->out_at);

        if (!n)
            return;
        s->out_at += n;
    }
    strbuf_free(&s->out);
    s->out_at = 0;
}

static size_t unsent(const GdbStub *s)
{
    return s->out.len - s->out_at;
}

void gdb_reply_bytes(GdbStub *s, const void *p, size_t n)
{
    if (!s->open)
        return;
    strbuf_free(&s->last);
    gdb_frame(&s->last, p, n);
    strbuf_addn(&s->out, s->last.s, s->last.len);
}

void gdb_reply(GdbStub *s, const char *text)
{
    gdb_reply_bytes(s, text, strlen(text));
}

void gdb_replyf(GdbStub *s, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    gdb_reply(s, text);
}

/* --- stops --- */

/* The processor to tell of, with what it has to say.  A step's end first, as no other thing
 * repeats itself less. */
static Cpu *who_stopped(const GdbStub *s)
{
    static const uint8_t order[] = {STOP_STEP, STOP_WATCH, STOP_BREAK};

    for (unsigned k = 0; s->m->state == RUN_DEBUG && k < COUNT_OF(order); k++) {
        for (unsigned i = 0; i < s->m->n_cpus; i++) {
            if (s->m->cpus[i]->stop.kind == order[k])
                return s->m->cpus[i];
        }
    }
    return NULL;
}

static void add_reason(const GdbStub *s, StrBuf *out, CpuStop stop)
{
    static const char *const watch[] = {[DEBUG_WATCH_WRITE] = "watch",
                                        [DEBUG_WATCH_READ] = "rwatch",
                                        [DEBUG_WATCH_ACCESS] = "awatch"};

    if (stop.kind == STOP_WATCH)
        strbuf_addf(out, "%s:%" PRIx64 ";", watch[stop.point], stop.at);
    else if (stop.kind == STOP_BREAK && stop.point == DEBUG_SW_BREAK && s->swbreak)
        strbuf_add(out, "swbreak:;");
    else if (stop.kind == STOP_BREAK && stop.point == DEBUG_HW_BREAK && s->hwbreak)
        strbuf_add(out, "hwbreak:;");
}

static void send_stop(GdbStub *s, unsigned signal, CpuStop stop)
{
    StrBuf out = {0};

    strbuf_addf(&out, "T%02xthread:", signal);
    gdb_add_thread(s, &out, s->cpu);
    strbuf_add(&out, ";");
    add_reason(s, &out, stop);
    gdb_reply(s, strbuf_str(&out));
    strbuf_free(&out);
}

void gdb_reply_stopped(GdbStub *s)
{
    send_stop(s, SIGNAL_TRAP, (CpuStop){0});
}

static unsigned signal_of(RunState state)
{
    return state == RUN_DEBUG            ? SIGNAL_TRAP
           : state == RUN_SHUTDOWN       ? SIGNAL_QUIT
           : state == RUN_INTERNAL_ERROR ? SIGNAL_ABORT
                                         : SIGNAL_INT;
}

/* The client hears that the machine stands still, because of @c (NULL: because somebody stopped
 * it). */
static void tell(GdbStub *s, Cpu *c, unsigned signal)
{
    CpuStop stop = {0};

    s->resumed = false;
    if (c) {
        stop = c->stop;
        c->stop.kind = STOP_NONE;
        s->cpu = s->cpu_run = c->index;
    }
    send_stop(s, signal, stop);
}

static void tell_stop(GdbStub *s)
{
    tell(s, who_stopped(s), signal_of(s->m->state));
}

/* Debug.changed */
static void machine_changed(void *arg)
{
    GdbStub *s = arg;
    bool ends =
        atomic_load(&s->m->shutdown) && !s->m->cfg.no_shutdown; /* W follows: gdbstub_free() */

    if (s->m->state == RUN_RUNNING || !s->resumed || ends)
        return;
    tell_stop(s);
    flush(s);
}

/* Several processors may hit watchpoints at once: those not told yet come up when their
 * processor is to go on. */
static Cpu *untold(const GdbStub *s, const DebugRun *how)
{
    for (unsigned i = 0; i < s->m->n_cpus; i++)
        if (how[i] != DEBUG_STAY && s->m->cpus[i]->stop.kind == STOP_WATCH)
            return s->m->cpus[i];
    return NULL;
}

void gdb_resume(GdbStub *s, const DebugRun *how)
{
    Debug *d = s->m->debug;
    bool step = s->sstep & GDB_STEP;
    unsigned n = s->m->n_cpus;
    AUTO_FREE DebugRun *run = xnew_n(DebugRun, n);
    Cpu *c = untold(s, how);

    if (c || s->m->state == RUN_SHUTDOWN || s->m->state == RUN_INTERNAL_ERROR) {
        tell(s, c, c ? SIGNAL_TRAP : signal_of(s->m->state)); /* it stands still until a reset */
        return;
    }
    s->resumed = true;
    d->step_mask = s->sstep & GDB_STEP_NOIRQ ? REQ_IRQ | REQ_NMI | REQ_SMI : 0;
    d->step_clock = !(s->sstep & GDB_STEP_NOTIMER);
    for (unsigned i = 0; i < n; i++)
        run[i] = how[i] == DEBUG_STEP && !step ? DEBUG_RUN : how[i];
    debug_resume(s->m, run);
}

/* --- input --- */

static void interrupt(GdbStub *s)
{
    if (s->m->state == RUN_RUNNING)
        machine_pause(s->m); /* tells the client */
    else if (s->resumed)
        tell_stop(s);
}

static void take_packet(GdbStub *s)
{
    GdbParser *p = &s->parser;

    if (!s->no_ack)
        strbuf_add(&s->out, "+");
    machine_pause(s->m);
    s->busy = true;
    gdb_packet(s, (GdbText){p->data, p->data + p->n});
    s->busy = false;
}

static void take_input(GdbStub *s, GdbInput what)
{
    switch (what) {
    case GDB_PACKET: take_packet(s); break;
    case GDB_BAD:
        if (!s->no_ack)
            strbuf_add(&s->out, "+");
        gdb_reply(s, GDB_EINVAL);
        break;
    case GDB_CORRUPT: strbuf_add(&s->out, "-"); break;
    case GDB_NAK:
        if (!s->no_ack && s->last.len)
            strbuf_addn(&s->out, s->last.s, s->last.len);
        break;
    case GDB_INTERRUPT: interrupt(s); break;
    case GDB_ACK:
    case GDB_MORE: break;
    }
}

static void work(GdbStub *s)
{
    if (s->busy)
        return;
    flush(s);
    while (s->in_at < s->in_n && unsent(s) < GDB_OUT_HIGH) {
        take_input(s, gdb_parse(&s->parser, s->in[s->in_at++]));
        if (s->in_at == s->in_n || unsent(s) >= GDB_OUT_HIGH)
            flush(s);
    }
    if (s->in_at == s->in_n)
        s->in_at = s->in_n = 0;
}

/* --- clients --- */

static void client_came(GdbStub *s)
{
    s->resumed = s->no_ack = s->multiprocess = s->swbreak = s->hwbreak = s->physical = false;
    s->cpu = s->cpu_run = 0;
    s->in_at = s->in_n = 0;
    strbuf_free(&s->out);
    strbuf_free(&s->last);
    s->out_at = 0;
    s->parser.state = 0;
    s->parser.unchecked = false;
    machine_pause(s->m);
    for (unsigned i = 0; i < s->m->n_cpus; i++)
        s->m->cpus[i]->stop.kind = STOP_NONE;
    s->open = true;
}

/* A machine that runs goes on without points; one that stands still waits for the next client. */
static void client_went(GdbStub *s)
{
    const Debug *d = s->m->debug;
    bool runs = s->m->state == RUN_RUNNING;

    s->open = s->resumed = false;
    s->in_at = s->in_n = 0;
    if (runs)
        machine_pause(s->m);
    if (d->n_breaks || d->n_watches)
        debug_remove_all(s->m);
    if (runs)
        machine_start(s->m);
}

static size_t can_accept(void *arg)
{
    const GdbStub *s = arg;

    return sizeof s->in - s->in_n;
}

static void accept_bytes(void *arg, const uint8_t *p, size_t n)
{
    GdbStub *s = arg;

    assert(n <= sizeof s->in - s->in_n);
    if (!s->open) /* a back end that cannot tell */
        client_came(s);
    memcpy(s->in + s->in_n, p, n);
    s->in_n += n;
    work(s);
}

static void event(void *arg, CharEvent e)
{
    GdbStub *s = arg;

    if (e == CHAR_OPENED) {
        client_came(s);
    } else if (e == CHAR_CLOSED && s->open) {
        client_went(s);
    } else if (e == CHAR_WRITABLE) {
        work(s);
        chardev_accept_ready(s->chr);
    }
}

/* --- life --- */

GdbStub *gdbstub_new(Machine *m, Chardev *c, Error *err)
{
    GdbStub *s;

    if (!m->n_cpus) {
        error_set(err, "gdb: machine '%s' has no processors", m->board->name);
        return NULL;
    }
    s = xnew(GdbStub);
    s->m = m;
    s->chr = c;
    s->sstep = GDB_STEP | GDB_STEP_NOIRQ | GDB_STEP_NOTIMER;
    s->front =
        (CharFront){.arg = s, .can_accept = can_accept, .accept = accept_bytes, .event = event};
    if (!debug_attach(m, machine_changed, s, err)) {
        error_prefix(err, "gdb: ");
        xfree(s);
        return NULL;
    }
    chardev_attach(c, &s->front);
    return s;
}

void gdbstub_set_monitor(GdbStub *s, GdbMonitorFn *fn)
{
    s->monitor = fn;
}

void gdbstub_free(GdbStub *s)
{
    if (!s)
        return;
    if (s->open && s->m->cause != SHUTDOWN_NONE) {
        gdb_replyf(s, s->multiprocess ? "W%02x;process:1" : "W%02x", s->m->exit_code & 0xff);
        flush(s);
    }
    s->open = s->resumed = false;
    chardev_attach(s->chr, NULL);
    machine_pause(s->m);
    debug_detach(s->m);
    strbuf_free(&s->out);
    strbuf_free(&s->last);
    xfree(s);
}
