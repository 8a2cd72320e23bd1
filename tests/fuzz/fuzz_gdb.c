/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_gdb - a hostile client of the GDB stub: monitor/gdb.h
 *
 * Input: chunks, each after a byte that says its length, 0xf0 and up: what happens instead.  0xf1
 * frames the next chunk with the right checksum.  One machine serves all inputs; its processors
 * never run.  What must hold: no crash, and little to send.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/debug.h"
#include "monitor/gdb.h"
#include "monitor/gdb_packet.h"
#include "tests/unit/gdb_board.h"

enum { EVENT_FRAME = 0xf1, EVENT_CLOSE, EVENT_OPEN, EVENT_DEAF, EVENT_HEAR, EVENT_STOP };

static Machine *machine;
static Chardev chr;
static bool deaf;

static size_t sink_write(Chardev *c, const uint8_t *p, size_t n)
{
    (void)c;
    (void)p;
    return deaf ? 0 : n;
}

static const ChardevOps sink_ops = {.name = "sink", .write = sink_write};

static void monitor(Machine *m, const char *line, unsigned cpu, StrBuf *out)
{
    (void)m;
    strbuf_addf(out, "%u: %s\n", cpu, line);
}

static void nothing(Machine *m)
{
    (void)m;
}

static void machine_make(void)
{
    static Accel accel;
    MachineConfig cfg = {.cpus = 2, .ram_size = GDB_RAM, .tb_size = MIB, .backend_interp = true};
    Error err = {0};
    GdbStub *stub;

    log_open("/dev/null", 0, &err); /* "k" says that it ends the machine */
    accel = *accel_find("jit");
    accel.run = accel.park = nothing;
    machine = machine_new(&gdb_board, &accel, &cfg, &err);
    if (!machine || !machine_build(machine, &err))
        abort();
    chr = (Chardev){.ops = &sink_ops, .loop = machine->loop};
    stub = gdbstub_new(machine, &chr, &err);
    if (!stub)
        abort();
    gdbstub_set_monitor(stub, monitor);
}

static void give(const uint8_t *p, size_t n)
{
    const CharFront *f = chr.front;

    while (n) {
        size_t step = MIN(n, f->can_accept(f->arg));

        if (!step)
            return;
        f->accept(f->arg, p, step);
        p += step;
        n -= step;
    }
}

static void give_framed(const uint8_t *p, size_t n)
{
    StrBuf out = {0};

    gdb_frame(&out, p, n);
    give((const uint8_t *)out.s, out.len);
    strbuf_free(&out);
}

static void happen(uint8_t what)
{
    const CharFront *f = chr.front;
    Cpu *c = machine->cpus[what & 1];

    switch (what) {
    case EVENT_CLOSE: f->event(f->arg, CHAR_CLOSED); break;
    case EVENT_OPEN: f->event(f->arg, CHAR_OPENED); break;
    case EVENT_DEAF: deaf = true; break;
    case EVENT_HEAR:
        deaf = false;
        f->event(f->arg, CHAR_WRITABLE);
        break;
    default: /* a processor stops of itself */
        if (machine->state == RUN_RUNNING) {
            debug_stop(c, STOP_BREAK, DEBUG_SW_BREAK, AT_LOOP);
            machine_pause(machine);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool framed = false;

    if (!machine)
        machine_make();
    happen(EVENT_OPEN);
    while (size) {
        uint8_t what = *data++;
        size_t n = MIN((size_t)what, --size);

        if (what > 0xf0) {
            framed = what == EVENT_FRAME;
            if (!framed)
                happen(what);
            continue;
        }
        (framed ? give_framed : give)(data, n);
        framed = false;
        data += n;
        size -= n;
    }
    happen(EVENT_HEAR);
    happen(EVENT_CLOSE);
    machine_pause(machine);
    atomic_store(&machine->shutdown, 0);
    atomic_store(&machine->requests, 0);
    return 0;
}
