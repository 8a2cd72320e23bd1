/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_query - general queries: packets q and Q (GDB manual E.4), and those that QEMU added
 * (qqemu.*) */
#include "base/alloc.h"
#include "monitor/gdb_priv.h"

/* --- what both sides can --- */

static void supported(GdbStub *s, GdbText t)
{
    s->multiprocess = s->swbreak = s->hwbreak = false;
    while (t.p < t.end) {
        if (!gdb_eat(&t, ":") && !gdb_eat(&t, ";")) {
            t.p++;
            continue;
        }
        s->multiprocess |= gdb_eat(&t, "multiprocess+");
        s->swbreak |= gdb_eat(&t, "swbreak+");
        s->hwbreak |= gdb_eat(&t, "hwbreak+");
    }
    gdb_replyf(s,
               "PacketSize=%x;qXfer:features:read+;vContSupported+;multiprocess+;QStartNoAckMode+;"
               "swbreak+;hwbreak+",
               GDB_PACKET_MAX);
}

static void no_ack(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_reply(s, "OK");
    s->no_ack = s->parser.unchecked = true;
}

/* qXfer:features:read:target.xml:OFFSET,LENGTH */
static void features(GdbStub *s, GdbText t)
{
    StrBuf xml = {0}, out = {0};
    uint64_t at, n;

    if (!gdb_eat(&t, "target.xml:")) {
        gdb_reply(s, "E00");
        return;
    }
    if (!gdb_hex(&t, &at) || !gdb_eat(&t, ",") || !gdb_hex(&t, &n) || t.p != t.end) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    gdb_regs_xml(gdb_cpu(s), &xml);
    if (at > xml.len) {
        gdb_reply(s, "E00");
    } else {
        n = MIN(MIN(n, (uint64_t)GDB_PACKET_MAX / 2), (uint64_t)xml.len - at);
        strbuf_add(&out, at + n < xml.len ? "m" : "l");
        strbuf_addn(&out, strbuf_str(&xml) + at, n);
        gdb_reply_bytes(s, strbuf_str(&out), out.len);
    }
    strbuf_free(&xml);
    strbuf_free(&out);
}

/* --- threads --- */

static void current(GdbStub *s, GdbText t)
{
    StrBuf out = {0};

    (void)t;
    strbuf_add(&out, "QC");
    gdb_add_thread(s, &out, s->cpu);
    gdb_reply(s, strbuf_str(&out));
    strbuf_free(&out);
}

static void threads(GdbStub *s, GdbText t)
{
    StrBuf out = {0};

    (void)t;
    for (unsigned i = 0; i < s->m->n_cpus; i++) {
        strbuf_add(&out, i ? "," : "m");
        gdb_add_thread(s, &out, i);
    }
    gdb_reply(s, strbuf_str(&out));
    strbuf_free(&out);
}
static_assert(GDB_PACKET_MAX / 16 >= 1024, "all threads in one packet");

static void no_more_threads(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_reply(s, "l");
}

static void thread_info(GdbStub *s, GdbText t)
{
    StrBuf text = {0}, out = {0};
    int64_t thread;

    if (!gdb_thread(s, &t, &thread) || thread <= 0) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    strbuf_addf(&text, "CPU#%d [%s]", (int)thread - 1,
                s->m->cpus[thread - 1]->halted ? "halted " : "running");
    gdb_add_hex(&out, strbuf_str(&text), text.len);
    gdb_reply(s, strbuf_str(&out));
    strbuf_free(&text);
    strbuf_free(&out);
}

static void attached(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_reply(s, "1");
}

/* --- monitor commands --- */

/* Console output goes as packets of its own before the answer. */
static void send_console(GdbStub *s, const StrBuf *text)
{
    enum { STEP = GDB_PACKET_MAX / 2 - 1 };
    StrBuf out = {0};

    for (size_t at = 0; at < text->len; at += STEP) {
        strbuf_add(&out, "O");
        gdb_add_hex(&out, strbuf_str(text) + at, MIN(text->len - at, (size_t)STEP));
        gdb_reply(s, strbuf_str(&out));
        strbuf_free(&out);
    }
}

static void monitor(GdbStub *s, GdbText t)
{
    StrBuf line = {0}, text = {0};
    uint8_t c;

    if (!s->monitor) {
        gdb_reply(s, "");
        return;
    }
    while (gdb_hex_byte(&t, &c))
        strbuf_addn(&line, (const char *)&c, 1);
    if (t.p != t.end || !line.len || strlen(strbuf_str(&line)) != line.len) {
        gdb_reply(s, GDB_EINVAL);
    } else {
        s->monitor(s->m, strbuf_str(&line), s->cpu, &text);
        send_console(s, &text);
        gdb_reply(s, "OK");
    }
    strbuf_free(&line);
    strbuf_free(&text);
}

/* --- QEMU's --- */

static void step_bits(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_replyf(s, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", GDB_STEP, GDB_STEP_NOIRQ, GDB_STEP_NOTIMER);
}

static void step_get(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_replyf(s, "0x%x", s->sstep);
}

static void step_set(GdbStub *s, GdbText t)
{
    uint64_t v;
    bool ok = gdb_hex(&t, &v) && t.p == t.end &&
              !(v & ~(uint64_t)(GDB_STEP | GDB_STEP_NOIRQ | GDB_STEP_NOTIMER));

    if (ok)
        s->sstep = (unsigned)v;
    gdb_reply_ok(s, ok);
}

static void physical_get(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_reply(s, s->physical ? "1" : "0");
}

static void physical_set(GdbStub *s, GdbText t)
{
    uint64_t v;
    bool ok = gdb_hex(&t, &v) && t.p == t.end;

    if (ok)
        s->physical = v != 0;
    gdb_reply_ok(s, ok);
}

static void qemu_supported(GdbStub *s, GdbText t)
{
    (void)t;
    gdb_reply(s, "sstepbits;sstep;PhyMemMode");
}

/* --- all --- */

static const struct {
    const char *name;
    bool whole; /* nothing may follow */
    void (*fn)(GdbStub *s, GdbText t);
} queries[] = {
    {"qSupported", false, supported},
    {"QStartNoAckMode", true, no_ack},
    {"qXfer:features:read:", false, features},
    {"qC", true, current},
    {"qfThreadInfo", true, threads},
    {"qsThreadInfo", true, no_more_threads},
    {"qThreadExtraInfo,", false, thread_info},
    {"qAttached", true, attached},
    {"qAttached:", false, attached},
    {"qRcmd,", false, monitor},
    {"qqemu.sstepbits", true, step_bits},
    {"qqemu.sstep", true, step_get},
    {"Qqemu.sstep=", false, step_set},
    {"qqemu.PhyMemMode", true, physical_get},
    {"Qqemu.PhyMemMode:", false, physical_set},
    {"qqemu.Supported", true, qemu_supported},
    {"qemu.Supported", true, qemu_supported},
};

bool gdb_query(GdbStub *s, GdbText t)
{
    for (unsigned i = 0; i < COUNT_OF(queries); i++) {
        GdbText rest = t;

        if (gdb_eat(&rest, queries[i].name) && (!queries[i].whole || rest.p == rest.end)) {
            queries[i].fn(s, rest);
            return true;
        }
    }
    return false;
}
