/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_priv - what the files of the GDB stub share */
#ifndef MONITOR_GDB_PRIV_H
#define MONITOR_GDB_PRIV_H

#include "core/debug.h"
#include "monitor/gdb.h"
#include "monitor/gdb_packet.h"

enum { GDB_IN = 4096, GDB_OUT_HIGH = 4 * GDB_PACKET_MAX, GDB_PID = 1, GDB_REGS = 256 };
enum { GDB_STEP = 1, GDB_STEP_NOIRQ = 2, GDB_STEP_NOTIMER = 4 }; /* qqemu.sstep */

struct GdbStub {
    Machine *m;
    Chardev *chr;
    CharFront front;
    GdbMonitorFn *monitor;
    bool open;    /* there is a client */
    bool resumed; /* it waits for a stop to be told */
    bool busy;    /* a packet is being handled: not again from within */
    bool no_ack, multiprocess, swbreak, hwbreak;
    bool physical; /* qqemu.PhyMemMode */
    unsigned sstep;
    unsigned cpu, cpu_run; /* of Hg and Hc */
    uint8_t in[GDB_IN];    /* received, not parsed yet */
    size_t in_at, in_n;
    StrBuf out; /* to be sent */
    size_t out_at;
    StrBuf last; /* the last packet, framed: sent again after '-' */
    GdbParser parser;
};

/* Replies.  Each packet gets exactly one, but for those that let the machine run. */
void gdb_reply(GdbStub *s, const char *text);
void gdb_replyf(GdbStub *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void gdb_reply_bytes(GdbStub *s, const void *p, size_t n);
#define GDB_EINVAL "E22"
#define GDB_EFAULT "E14"
#define GDB_E2BIG "E28" /* no room for one more */
static inline void gdb_reply_ok(GdbStub *s, bool ok)
{
    gdb_reply(s, ok ? "OK" : GDB_EINVAL);
}

static inline Cpu *gdb_cpu(const GdbStub *s)
{
    return s->m->cpus[s->cpu];
}

/* Threads: processor n is thread n + 1 of process 1. */
enum { GDB_THREAD_ALL = -1, GDB_THREAD_ANY = 0 };
bool gdb_thread(const GdbStub *s, GdbText *t,
                int64_t *thread); /* number, ALL or ANY; false: there is none */
void gdb_add_thread(const GdbStub *s, StrBuf *out, unsigned cpu);

/* gdb.c: running and stopping */
void gdb_resume(GdbStub *s,
                const DebugRun *how); /* how: n_cpus; told to the client when it stops */
void gdb_reply_stopped(GdbStub *s);   /* why it stands still */
/* gdb_commands.c: one packet from the client */
void gdb_packet(GdbStub *s, GdbText t);
/* gdb_query.c: q, Q and v packets.  False: unknown */
bool gdb_query(GdbStub *s, GdbText t);
/* gdb_regs.c */
unsigned gdb_regs(const Cpu *c, const DebugReg *out[GDB_REGS]);
void gdb_regs_xml(const Cpu *c, StrBuf *out);
bool gdb_regs_packet(GdbStub *s, uint8_t what, GdbText t); /* g G p P */
/* gdb_mem.c */
bool gdb_mem_packet(GdbStub *s, uint8_t what, GdbText t); /* m M X */

#endif
