/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench - a machine without a guest, for device tests: see bench.h */
#include "tests/bench/bench.h"

#include "base/alloc.h"
#include "base/bytes.h"

/* --- the machine --- */

static bool bench_build(Machine *m, Error *err)
{
    (void)m;
    (void)err;
    return true;
}

static const Board bench_board = {
    .name = "bench",
    .doc = "RAM, and what a test puts there",
    .default_ram = BENCH_RAM_SIZE,
    .build = bench_build,
};

static Clock *test_clock(Clock *instead_of)
{
    clock_free(instead_of);
    return clock_new(CLOCK_TEST, NULL);
}

Bench *bench_new(void)
{
    Bench *b = xnew(Bench);
    MachineConfig cfg = {0};
    Error err;
    Machine *m = machine_new(&bench_board, accel_find("null"), &cfg, &err);

    ck_assert_msg(m != NULL, "%s", err.msg);
    b->m = m;
    m->vclock = test_clock(m->vclock);
    m->host_clock = test_clock(m->host_clock);
    m->rt_clock = test_clock(m->rt_clock);
    m->root->clock = m->vclock;
    ck_assert_msg(machine_build(m, &err), "%s", err.msg);
    b->ram = xnew(Region);
    ck_assert_msg(region_ram(b->ram, m->mem, "ram", BENCH_RAM_SIZE, false, &err), "%s", err.msg);
    region_map(&m->mem->system_root, b->ram, 0, 0);
    return b;
}

static void bench_chardev_free(BenchChar *c)
{
    strbuf_free(&c->out);
    xfree(c->chr.id);
    xfree(c);
}

void bench_free(Bench *b)
{
    machine_free(b->m);
    xfree(b->ram);
    for (BenchWire *w = b->wires, *next; w; w = next) {
        next = w->next;
        xfree(w);
    }
    for (BenchChar *c = b->chars, *next; c; c = next) {
        next = c->next;
        bench_chardev_free(c);
    }
    xfree(b);
}

void bench_step(Bench *b, int64_t ns)
{
    clock_step(b->m->vclock, ns);
    clock_step(b->m->host_clock, ns);
    clock_step(b->m->rt_clock, ns);
}

void bench_run(Bench *b)
{
    for (int i = 0; i < 8; i++)
        loop_step(b->m->loop, 0);
}

/* --- devices --- */

Device *bench_device_new(Bench *b, const char *cls)
{
    Error err;
    Device *d = device_new(b->m, cls, NULL, NULL, &err);

    ck_assert_msg(d != NULL, "%s", err.msg);
    return d;
}

void bench_device_up(Bench *b, Device *d)
{
    Error err;

    bench_wire(b, &d->irq);
    ck_assert_msg(device_realize(d, &err), "%s: %s", d->cls->name, err.msg);
    if (d->mmio.size && !d->mmio.parent)
        bench_map(b, &d->mmio, BENCH_MMIO + BENCH_MMIO_STEP * b->n_windows++);
    bench_reset(d);
}

Device *bench_device(Bench *b, const char *cls, ...)
{
    Device *d = bench_device_new(b, cls);
    const char *prop;
    va_list args;

    va_start(args, cls);
    while ((prop = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        Error err;
        ck_assert_msg(device_set(d, prop, value, &err), "%s", err.msg);
    }
    va_end(args);
    bench_device_up(b, d);
    return d;
}

void bench_reset(Device *d)
{
    WITH_LOCK (d->lock) {
        device_reset(d, RESET_ENTER);
        device_reset(d, RESET_HOLD);
    }
}

void bench_copy_state(Device *from, Device *to)
{
    ByteBuf buf = {0};
    Error err;

    device_save(from, &buf);
    ck_assert_msg(device_load(to, &buf, &err), "%s", err.msg);
    bytebuf_free(&buf);
}

/* --- accesses --- */

static uint64_t space_read(AddressSpace *as, Gpa at, unsigned size)
{
    uint8_t bytes[8] = {0};

    as_read(as, at, bytes, size);
    return get_le(bytes, size);
}

static void space_write(AddressSpace *as, Gpa at, unsigned size, uint64_t v)
{
    uint8_t bytes[8];

    put_le64(bytes, v);
    as_write(as, at, bytes, size);
}

uint64_t bench_read(Device *d, uint64_t at, unsigned size)
{
    return space_read(&d->machine->mem->system, d->mmio.at + at, size);
}

void bench_write(Device *d, uint64_t at, unsigned size, uint64_t v)
{
    space_write(&d->machine->mem->system, d->mmio.at + at, size, v);
}

void bench_map(Bench *b, Region *r, Gpa at)
{
    region_map(&b->m->mem->system_root, r, at, 1);
}

void bench_map_io(Bench *b, Region *r, unsigned port)
{
    region_map(&b->m->mem->io_root, r, port, 1);
}

uint64_t bench_mem_read(Bench *b, Gpa at, unsigned size)
{
    return space_read(&b->m->mem->system, at, size);
}

void bench_mem_write(Bench *b, Gpa at, unsigned size, uint64_t v)
{
    space_write(&b->m->mem->system, at, size, v);
}

uint64_t bench_in(Bench *b, unsigned port, unsigned size)
{
    return space_read(&b->m->mem->io, port, size);
}

void bench_out(Bench *b, unsigned port, unsigned size, uint64_t v)
{
    space_write(&b->m->mem->io, port, size, v);
}

/* --- wires --- */

static void wire_input(void *sink, unsigned n, bool level)
{
    BenchWire *w = sink;

    (void)n;
    w->level = level;
    w->rises += level;
    w->falls += !level;
}

BenchWire *bench_wire(Bench *b, IrqLine *l)
{
    if (l->fn == wire_input)
        return l->sink;

    BenchWire *w = xnew(BenchWire);
    w->line = l;
    w->level = l->level;
    w->next = b->wires;
    b->wires = w;
    irq_connect(l, wire_input, w, 0);
    return w;
}

BenchWire *bench_irq(Device *d)
{
    ck_assert(d->irq.fn == wire_input);
    return d->irq.sink;
}

/* --- the character back end --- */

static size_t char_write(Chardev *chr, const uint8_t *p, size_t n)
{
    BenchChar *c = (BenchChar *)chr;
    size_t taken = MIN(n, c->room);

    strbuf_addn(&c->out, (const char *)p, taken);
    if (c->room != SIZE_MAX)
        c->room -= taken;
    return taken;
}

static void char_pump(void *arg)
{
    BenchChar *c = arg;
    const CharFront *f = c->chr.front;

    if (!f || !f->accept)
        return;
    if (f->lock)
        lock_take(f->lock);
    size_t n = MIN(f->can_accept(f->arg), c->in_len);
    if (n) {
        f->accept(f->arg, c->in, n);
        c->in_len -= n;
        memmove(c->in, c->in + n, c->in_len);
    }
    if (f->lock)
        lock_drop(f->lock);
}

static void char_accept_ready(Chardev *chr)
{
    loop_post(chr->loop, char_pump, chr);
}

static void char_close(Chardev *chr)
{
    chr->front = NULL;
}

static const ChardevOps bench_char_ops = {
    .name = "bench",
    .write = char_write,
    .accept_ready = char_accept_ready,
    .close = char_close,
};

BenchChar *bench_chardev(Bench *b)
{
    BenchChar *c = xnew(BenchChar);

    c->chr.ops = &bench_char_ops;
    c->chr.loop = b->m->loop;
    c->room = SIZE_MAX;
    c->next = b->chars;
    b->chars = c;
    return c;
}

void bench_char_send(BenchChar *c, const char *bytes, size_t n)
{
    ck_assert(c->in_len + n <= sizeof c->in);
    memcpy(c->in + c->in_len, bytes, n);
    c->in_len += n;
    char_accept_ready(&c->chr);
}

void bench_char_event(BenchChar *c, CharEvent e)
{
    const CharFront *f = c->chr.front;

    if (!f || !f->event)
        return;
    if (f->lock)
        lock_take(f->lock);
    f->event(f->arg, e);
    if (f->lock)
        lock_drop(f->lock);
}
