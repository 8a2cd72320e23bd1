/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_qmp - the monitors against any bytes: QMP (first byte even) or human, in pieces
 *
 * A machine without a guest; commands that touch files or end the process get nothing to do it
 * with: the byte 0xfe
 * closes the connection, 0xfd stops reading for a while.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "base/alloc.h"
#include "core/command.h"
#include "core/object.h"
#include "monitor/monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool empty_build(Machine *m, Error *err)
{
    (void)m;
    (void)err;
    return true;
}

static const Board empty_board = {.name = "empty", .doc = "nothing", .build = empty_build};
static bool deaf;

static size_t client_write(Chardev *c, const uint8_t *p, size_t n)
{
    (void)c;
    (void)p;
    return deaf ? 0 : n;
}

static const ChardevOps client_ops = {.name = "fuzz", .write = client_write};

static void serve(Machine *m)
{
    for (unsigned i = 0; i < 4; i++)
        loop_step(m->loop, 0);
}

/* Commands that write where they are told, and objects that open files. */
static bool is_harmful(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"memsave", "logfile",  "\\u",     "file", "object",
                                        "dump",    "blockdev", "chardev", "quit"};

    for (unsigned i = 0; i < COUNT_OF(words); i++)
        if (memmem(data, size, words[i], strlen(words[i])))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MachineConfig cfg = {.arch = "x86_64"};
    Error err;
    Machine *m;
    Chardev chr = {.ops = &client_ops};
    Monitor *mon;
    const CharFront *f;

    if (!size || is_harmful(data, size))
        return 0;
    m = machine_new(&empty_board, accel_find("null"), &cfg, &err);
    if (!m || !machine_build(m, &err))
        abort();
    deaf = false;
    chr.loop = m->loop;
    mon = monitor_new(m, &chr, data[0] & 1 ? MONITOR_READLINE : MONITOR_CONTROL, false);
    f = chr.front;
    f->event(f->arg, CHAR_OPENED);
    for (size_t i = 1; i < size; i++) {
        if (data[i] == 0xfd) {
            deaf = !deaf;
            f->event(f->arg, CHAR_WRITABLE);
        } else if (data[i] == 0xfe) {
            f->event(f->arg, CHAR_CLOSED);
            f->event(f->arg, CHAR_OPENED);
        } else if (f->can_accept(f->arg)) {
            f->accept(f->arg, data + i, 1);
        }
        if (data[i] == '}' || data[i] == '\n')
            serve(m);
    }
    monitor_free(mon);
    machine_free(m);
    return 0;
}
