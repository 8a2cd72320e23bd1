/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of core/device.h with a device of its own: the alarm, a one-shot wake-up timer. */
#include "base/alloc.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum { NOW = 0x00, WAKE = 0x08, CTRL = 0x10, STATUS = 0x14, BYTES = 0x18, COMMAND = 0x1a };
enum { CTRL_ON = 1, CTRL_IRQ = 2, STATUS_FIRED = 1 };

typedef struct Alarm {
    Device dev;
    Timer timer;
    uint32_t tick_ns;
    uint64_t wake; /* in ticks */
    uint32_t ctrl;
    uint32_t status;
    uint8_t byte;
    uint64_t command;
    unsigned resets[2], starts, pauses, resumes;
    unsigned *unrealized; /* counts for the test */
} Alarm;

static uint64_t alarm_now(Device *d)
{
    return (uint64_t)clock_now(d->clock) / ((Alarm *)d)->tick_ns;
}

static void alarm_update(Device *d)
{
    AS(Alarm, a, d);

    irq_set(&d->irq, (a->ctrl & CTRL_IRQ) && (a->status & STATUS_FIRED));
    if ((a->ctrl & CTRL_ON) && a->wake > alarm_now(d))
        timer_at(&a->timer, (int64_t)(a->wake * a->tick_ns));
    else
        timer_stop(&a->timer);
}

static void alarm_written(Device *d, uint64_t v)
{
    (void)v;
    alarm_update(d);
}

static void alarm_command(Device *d, uint64_t v)
{
    ((Alarm *)d)->command = v;
}

static void alarm_fire(void *arg)
{
    Alarm *a = arg;

    a->status |= STATUS_FIRED;
    alarm_update(&a->dev);
}

static bool alarm_realize(Device *d, Error *err)
{
    AS(Alarm, a, d);

    if (a->tick_ns == 0)
        return error_set(err, "tick-ns must not be zero");
    timer_init(&a->timer, d->clock, d->lock, alarm_fire, a);
    return true;
}

static void alarm_unrealize(Device *d)
{
    AS(Alarm, a, d);

    timer_stop(&a->timer);
    if (a->unrealized)
        ++*a->unrealized;
}

static void alarm_reset(Device *d, ResetPhase phase)
{
    ((Alarm *)d)->resets[phase]++;
    if (phase == RESET_HOLD)
        alarm_update(d);
}

static bool alarm_loaded(Device *d, Error *err)
{
    if (((Alarm *)d)->ctrl & ~(uint32_t)(CTRL_ON | CTRL_IRQ))
        return error_set(err, "impossible CTRL");
    alarm_update(d);
    return true;
}

static void alarm_start(Device *d)
{
    ((Alarm *)d)->starts++;
}
static void alarm_pause(Device *d)
{
    ((Alarm *)d)->pauses++;
}
static void alarm_resume(Device *d)
{
    ((Alarm *)d)->resumes++;
}

static const Field alarm_fields[] = {
    PROP(Alarm, tick_ns, "tick-ns", 1000, "length of one tick in nanoseconds"),
    STATE(Alarm, wake),
    STATE(Alarm, ctrl),
    STATE(Alarm, status),
    STATE(Alarm, byte),
};
static STRUCT_TYPE(alarm_type, Alarm, alarm_fields);

static const Reg alarm_regs[] = {
    REG_FN("NOW", NOW, 8, .read = alarm_now),
    REG_RW(Alarm, "WAKE", WAKE, wake, UINT64_MAX, .write = alarm_written),
    REG_RW(Alarm, "CTRL", CTRL, ctrl, CTRL_ON | CTRL_IRQ, .write = alarm_written),
    REG_RO(Alarm, "STATUS", STATUS, status, .w1c = STATUS_FIRED, .write = alarm_written),
    REG_RW(Alarm, "BYTE", BYTES, byte, 0xf0, .reset = 0x25),
    REG_FN("COMMAND", COMMAND, 2, .write = alarm_command, .writable = 0x0fff),
};

static DeviceClass test_alarm_class = {
    .name = "test-alarm",
    .alias = "wecker",
    .parent = "sys-device",
    .doc = "one-shot wake-up timer",
    .type = &alarm_type,
    .mmio_size = 0x20,
    .regs = alarm_regs,
    .n_regs = COUNT_OF(alarm_regs),
    .realize = alarm_realize,
    .unrealize = alarm_unrealize,
    .reset = alarm_reset,
    .start = alarm_start,
    .pause = alarm_pause,
    .resume = alarm_resume,
    .loaded = alarm_loaded,
};
DEVICE_REGISTER(test_alarm_class)

START_TEST(classes_are_found_by_name_and_alias_in_order)
{
    const char *last = "";

    ck_assert_ptr_eq(device_class_find("test-alarm"), &test_alarm_class);
    ck_assert_ptr_eq(device_class_find("wecker"), &test_alarm_class);
    ck_assert_ptr_null(device_class_find("no-such-thing"));
    for (const DeviceClass *c = NULL; (c = device_class_next(c)); last = c->name)
        ck_assert_str_gt(c->name, last);
}
END_TEST

START_TEST(properties_have_defaults_and_are_checked)
{
    Bench *b = bench_new();
    Device *d = bench_device_new(b, "test-alarm");
    Error err;

    ck_assert_uint_eq(((Alarm *)d)->tick_ns, 1000);
    ck_assert(!device_set(d, "colour", "red", &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "colour"));
    ck_assert(!device_set(d, "tick-ns", "soon", &err));
    ck_assert(device_set(d, "tick_ns", "0", &err));
    ck_assert(!device_realize(d, &err));
    ck_assert_str_eq(err.msg, "tick-ns must not be zero");
    ck_assert(device_set(d, "tick-ns", "5", &err));
    bench_device_up(b, d);
    ck_assert(!device_set(d, "tick-ns", "6", &err));
    ck_assert_ptr_null(device_new(b->m, "no-such-thing", NULL, NULL, &err));
    bench_free(b);
}
END_TEST

START_TEST(it_fires_once_at_wake)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, "test-alarm", "tick-ns", "1000", NULL);

    bench_write(d, WAKE, 8, 5);
    bench_write(d, CTRL, 4, CTRL_ON | CTRL_IRQ);
    bench_step(b, 4999);
    ck_assert(!bench_irq(d)->level);
    bench_step(b, 1);
    ck_assert(bench_irq(d)->level);
    ck_assert_uint_eq(bench_read(d, NOW, 8), 5);
    bench_write(d, STATUS, 4, STATUS_FIRED);
    ck_assert(!bench_irq(d)->level);
    bench_step(b, 100000);
    ck_assert_uint_eq(bench_irq(d)->rises, 1);
    bench_free(b);
}
END_TEST

START_TEST(registers_are_cut_masked_and_cleared_by_ones)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, "test-alarm", NULL);
    AS(Alarm, a, d);

    bench_write(d, WAKE, 8, 0x1122334455667788ull);
    bench_write(d, WAKE + 2, 2, 0xaabb);
    ck_assert_uint_eq(a->wake, 0x11223344aabb7788ull);
    ck_assert_uint_eq(bench_read(d, WAKE + 3, 1), 0xaa);
    ck_assert_uint_eq(bench_read(d, WAKE + 4, 4), 0x11223344);
    bench_write(d, WAKE, 8, 0);

    bench_write(d, CTRL, 4, UINT32_MAX);
    ck_assert_uint_eq(a->ctrl, CTRL_ON | CTRL_IRQ);
    a->status = STATUS_FIRED | 8;
    ck_assert_uint_eq(bench_read(d, CTRL, 8),
                      (uint64_t)(STATUS_FIRED | 8) << 32 | CTRL_ON | CTRL_IRQ);
    bench_write(d, STATUS + 1, 1, 0xff); /* not the byte with the bit */
    ck_assert_uint_eq(a->status, STATUS_FIRED | 8);
    bench_write(d, STATUS, 1, 0xff);
    ck_assert_uint_eq(a->status, 8);

    ck_assert_uint_eq(bench_read(d, BYTES, 1), 0x25);
    bench_write(d, BYTES, 1, 0x9a);
    ck_assert_uint_eq(bench_read(d, BYTES, 1), 0x95);
    ck_assert_uint_eq(bench_read(d, BYTES + 1, 1), 0); /* no register */
    bench_write(d, COMMAND, 2, 0xffff);
    ck_assert_uint_eq(a->command, 0x0fff);
    bench_write(d, COMMAND + 1, 1, 0xff);
    ck_assert_uint_eq(a->command, 0x0f00);
    bench_reset(d);
    ck_assert_uint_eq(bench_read(d, BYTES, 1), 0x25);
    ck_assert_uint_eq(a->ctrl, 0);
    ck_assert_uint_eq(a->resets[RESET_ENTER], 2);
    ck_assert_uint_eq(a->resets[RESET_HOLD], 2);
    bench_free(b);
}
END_TEST

START_TEST(state_goes_into_another_instance)
{
    Bench *b = bench_new(), *b2 = bench_new();
    Device *d = bench_device(b, "test-alarm", NULL), *to = bench_device(b2, "test-alarm", NULL);

    bench_write(d, WAKE, 8, 5);
    bench_write(d, CTRL, 4, CTRL_ON | CTRL_IRQ);
    bench_copy_state(d, to);
    bench_step(b2, 5000);
    ck_assert(bench_irq(to)->level);
    ck_assert(!bench_irq(d)->level);
    bench_free(b);
    bench_free(b2);
}
END_TEST

START_TEST(bad_state_is_refused_at_every_length)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, "test-alarm", NULL);
    ByteBuf buf = {0};
    Error err;

    device_save(d, &buf);
    for (size_t n = 0; n < buf.len; n++) {
        ByteBuf part = {.p = buf.p, .len = n};
        ck_assert(!device_load(d, &part, &err));
    }
    ByteBuf whole = {.p = buf.p, .len = buf.len};
    ck_assert_msg(device_load(d, &whole, &err), "%s", err.msg);

    ((Alarm *)d)->ctrl = 0x80;
    ByteBuf bad = {0};
    device_save(d, &bad);
    ck_assert(!device_load(d, &bad, &err));
    ck_assert_str_eq(err.msg, "device 'test-alarm': impossible CTRL");
    bytebuf_free(&buf);
    bytebuf_free(&bad);
    bench_free(b);
}
END_TEST

static void count_device(Device *d, void *arg)
{
    (void)d;
    ++*(unsigned *)arg;
}

START_TEST(parents_own_their_children)
{
    Bench *b = bench_new();
    unsigned gone = 0, n = 0;
    Error err;
    Device *top = device_new(b->m, "test-alarm", "top", NULL, &err);
    Device *kid = device_new(b->m, "test-alarm", "kid", top, &err);
    Device *grandkid = device_new(b->m, "test-alarm", "grandkid", kid, &err);

    ck_assert_ptr_null(device_new(b->m, "test-alarm", "kid", NULL, &err));
    ck_assert_str_eq(err.msg, "duplicate device id 'kid'");
    ck_assert_ptr_eq(device_by_id(b->m->root, "grandkid"), grandkid);
    ((Alarm *)top)->unrealized = ((Alarm *)kid)->unrealized = ((Alarm *)grandkid)->unrealized =
        &gone;
    ck_assert(device_realize(top, &err) && device_realize(grandkid, &err));
    device_walk(b->m->root, count_device, &n);
    ck_assert_uint_eq(n, 4);
    device_free(kid);
    ck_assert_uint_eq(gone, 1); /* kid itself was not realized */
    ck_assert_ptr_null(device_by_id(b->m->root, "grandkid"));
    bench_free(b);
    ck_assert_uint_eq(gone, 2);
}
END_TEST

START_TEST(start_comes_once_then_pause_and_resume)
{
    Bench *b = bench_new();
    AS(Alarm, a, bench_device(b, "test-alarm", NULL));

    machine_start(b->m);
    machine_pause(b->m);
    machine_pause(b->m);
    machine_start(b->m);
    ck_assert_uint_eq(a->starts, 1);
    ck_assert_uint_eq(a->pauses, 1);
    ck_assert_uint_eq(a->resumes, 1);
    machine_reset(b->m);
    ck_assert_int_eq(b->m->state, RUN_RUNNING);
    ck_assert_uint_eq(a->resumes, 2);
    ck_assert_uint_eq(a->resets[RESET_HOLD], 2);
    bench_free(b);
}
END_TEST

UNIT_MAIN("device", classes_are_found_by_name_and_alias_in_order,
          properties_have_defaults_and_are_checked, it_fires_once_at_wake,
          registers_are_cut_masked_and_cleared_by_ones, state_goes_into_another_instance,
          bad_state_is_refused_at_every_length, parents_own_their_children,
          start_comes_once_then_pause_and_resume)
