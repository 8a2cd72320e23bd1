/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock. */
#include "hw/timer/mc146818.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

#define SECOND 1000000000ll

typedef struct Rtcs {
    Bench *b;
    Device *d;
    BenchWire *irq;
} Rtcs;

static Rtcs rtcs_new(int64_t offset_s)
{
    Rtcs r = {.b = bench_new()};

    r.b->m->cfg.rtc_offset_s = offset_s;
    r.b->m->cfg.rtc_utc = true;
    r.d = bench_device(r.b, "mc146818rtc", NULL);
    r.irq = bench_irq(r.d);
    bench_map_io(r.b, rtc_io(r.d), 0x70);
    return r;
}

static uint8_t get(Rtcs *r, uint8_t index)
{
    bench_out(r->b, 0x70, 1, index);
    return (uint8_t)bench_in(r->b, 0x71, 1);
}

static void set(Rtcs *r, uint8_t index, uint8_t v)
{
    bench_out(r->b, 0x70, 1, index);
    bench_out(r->b, 0x71, 1, v);
}

/* The host's clock first: the virtual one's timers look at it. */
static void step(Rtcs *r, int64_t ns)
{
    clock_step(r->b->m->host_clock, ns);
    clock_step(r->b->m->vclock, ns);
}

static void assert_time(Rtcs *r, unsigned century, unsigned y, unsigned mo, unsigned d, unsigned h,
                        unsigned mi, unsigned s)
{
    const unsigned expected[] = {s, mi, h, d, mo, y, century};
    const uint8_t index[] = {0, 2, 4, 7, 8, 9, 0x32};

    for (unsigned i = 0; i < COUNT_OF(index); i++)
        ck_assert_msg(get(r, index[i]) == expected[i], "register %#x: %#x, not %#x", index[i],
                      get(r, index[i]), expected[i]);
}

START_TEST(it_shows_the_time_of_the_host_plus_the_offset)
{
    Rtcs r = rtcs_new(1709210096); /* 2024-02-29 12:34:56, a Thursday */

    assert_time(&r, 0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x56);
    ck_assert_uint_eq(get(&r, 6), 5);
    ck_assert_uint_eq(get(&r, 0x0d), 0x80);
    step(&r, 12 * 3600 * SECOND);
    assert_time(&r, 0x20, 0x24, 0x03, 0x01, 0x00, 0x34, 0x56);
    bench_free(r.b);
}
END_TEST

START_TEST(it_shows_binary_and_twelve_hours)
{
    Rtcs r = rtcs_new(1709210096);

    set(&r, 0x0b, 0x06);
    assert_time(&r, 20, 24, 2, 29, 12, 34, 56);
    set(&r, 0x0b, 0x00);
    ck_assert_uint_eq(get(&r, 4), 0x92);
    step(&r, 12 * 3600 * SECOND);
    ck_assert_uint_eq(get(&r, 4), 0x12);
    step(&r, 13 * 3600 * SECOND);
    ck_assert_uint_eq(get(&r, 4), 0x81);
    bench_free(r.b);
}
END_TEST

START_TEST(it_can_be_set_while_stopped)
{
    Rtcs r = rtcs_new(0);
    static const uint8_t values[][2] = {{0, 0x58}, {2, 0x59}, {4, 0x23}, {6, 0x02},
                                        {7, 0x31}, {8, 0x12}, {9, 0x99}, {0x32, 0x19}};

    set(&r, 0x0b, 0x82);
    for (unsigned i = 0; i < COUNT_OF(values); i++)
        set(&r, values[i][0], values[i][1]);
    step(&r, 10 * SECOND);
    assert_time(&r, 0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58);
    set(&r, 0x0b, 0x02);
    step(&r, 2 * SECOND);
    assert_time(&r, 0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00);
    ck_assert_uint_eq(get(&r, 6), 3); /* a weekday of the guest's own reckoning goes on */
    bench_free(r.b);
}
END_TEST

START_TEST(after_a_divider_reset_the_first_second_is_half)
{
    Rtcs r = rtcs_new(0);

    step(&r, SECOND / 4);
    set(&r, 0x0b, 0x82);
    set(&r, 0x0a, 0x76);
    set(&r, 0, 0x10);
    set(&r, 0x0b, 0x02);
    set(&r, 0x0a, 0x26);
    step(&r, SECOND / 2 - 1);
    ck_assert_uint_eq(get(&r, 0), 0x10);
    step(&r, 1);
    ck_assert_uint_eq(get(&r, 0), 0x11);
    bench_free(r.b);
}
END_TEST

START_TEST(update_in_progress_warns_before_the_second_ends)
{
    Rtcs r = rtcs_new(0);

    ck_assert_uint_eq(get(&r, 0x0a), 0x26);
    step(&r, SECOND - 244001);
    ck_assert_uint_eq(get(&r, 0x0a), 0x26);
    step(&r, 1);
    ck_assert_uint_eq(get(&r, 0x0a), 0xa6);
    step(&r, 244000);
    ck_assert_uint_eq(get(&r, 0x0a), 0x26);
    bench_free(r.b);
}
END_TEST

START_TEST(updates_interrupt_every_second)
{
    Rtcs r = rtcs_new(0);

    get(&r, 0x0c);
    set(&r, 0x0b, 0x12);
    step(&r, SECOND - 1);
    ck_assert(!r.irq->level);
    step(&r, 1);
    ck_assert(r.irq->level);
    ck_assert_uint_eq(get(&r, 0x0c) & 0xb0, 0x90);
    ck_assert(!r.irq->level);
    ck_assert_uint_eq(get(&r, 0x0c), 0);
    step(&r, SECOND);
    ck_assert(r.irq->level);
    bench_free(r.b);
}
END_TEST

START_TEST(the_alarm_matches_its_bytes_or_any)
{
    Rtcs r = rtcs_new(0);

    set(&r, 1, 0x05);
    set(&r, 3, 0xff);
    set(&r, 5, 0xc0);
    set(&r, 0x0b, 0x22);
    for (int i = 0; i < 4; i++)
        step(&r, SECOND);
    ck_assert(!r.irq->level);
    step(&r, SECOND);
    ck_assert(r.irq->level);
    ck_assert_uint_eq(get(&r, 0x0c) & 0xa0, 0xa0);
    for (int i = 0; i < 59; i++)
        step(&r, SECOND);
    ck_assert(!r.irq->level);
    step(&r, SECOND);
    ck_assert(r.irq->level);
    bench_free(r.b);
}
END_TEST

START_TEST(the_periodic_interrupt_waits_to_be_read)
{
    Rtcs r = rtcs_new(0);

    set(&r, 0x0b, 0x42); /* 1024 Hz */
    step(&r, 976562);
    ck_assert(!r.irq->level);
    step(&r, 1);
    ck_assert(r.irq->level);
    step(&r, SECOND / 2);
    ck_assert_uint_eq(r.irq->rises, 1);
    ck_assert_uint_eq(get(&r, 0x0c) & 0xc0, 0xc0);
    ck_assert(!r.irq->level);
    step(&r, 976563);
    ck_assert_uint_eq(r.irq->rises, 2);
    set(&r, 0x0b, 0x02);
    ck_assert(!r.irq->level);
    bench_free(r.b);
}
END_TEST

START_TEST(with_slew_periodic_interrupts_that_were_missed_follow)
{
    Rtcs r = rtcs_new(0);
    unsigned n = 0;

    r.b->m->cfg.rtc_slew = true;
    set(&r, 0x0b, 0x42); /* 1024 Hz */
    step(&r, SECOND / 8);
    ck_assert_uint_eq(r.irq->rises, 1);
    for (; r.irq->level && n < 1000; n++) {
        ck_assert_uint_eq(get(&r, 0x0c) & 0xc0, 0xc0);
        ck_assert(!r.irq->level);
        step(&r, 10); /* the last one may have been here for long */
        if (!r.irq->level)
            step(&r, 976563 / 2);
    }
    ck_assert_msg(n > 128 && n < 400, "%u", n);
    step(&r, 3600 * SECOND);
    for (n = 0; r.irq->level && n < 10000; n++) {
        get(&r, 0x0c);
        step(&r, 976563 / 2);
    }
    ck_assert_msg(n >= 1024 && n < 3000, "%u", n);
    step(&r, SECOND);
    set(&r, 0x0b, 0x02);
    get(&r, 0x0c);
    set(&r, 0x0b, 0x42);
    step(&r, 900000 / 2);
    ck_assert(!r.irq->level);
    bench_free(r.b);
}
END_TEST

START_TEST(flags_can_be_polled_without_interrupts)
{
    Rtcs r = rtcs_new(0);

    get(&r, 0x0c);
    ck_assert_uint_eq(get(&r, 0x0c), 0);
    step(&r, SECOND);
    ck_assert_uint_eq(get(&r, 0x0c) & 0x50, 0x50);
    ck_assert_uint_eq(r.irq->rises, 0);
    bench_free(r.b);
}
END_TEST

START_TEST(memory_survives_reset_and_interrupts_do_not)
{
    Rtcs r = rtcs_new(0);

    rtc_set_cmos(r.d, 0x5b, 0x77);
    set(&r, 0x10, 0x40);
    set(&r, 0x0b, 0x12);
    set(&r, 0x0d, 0); /* read-only */
    bench_out(r.b, 0x70, 1, 0x80);
    ck_assert(rtc_nmi_masked(r.d));
    ck_assert_uint_eq(bench_in(r.b, 0x70, 1), 0xff);
    bench_reset(r.d);
    ck_assert(!rtc_nmi_masked(r.d));
    ck_assert_uint_eq(get(&r, 0x0b), 0x02);
    ck_assert_uint_eq(get(&r, 0x0d), 0x80);
    ck_assert_uint_eq(get(&r, 0x10), 0x40);
    ck_assert_uint_eq(rtc_cmos(r.d, 0x5b), 0x77);
    bench_free(r.b);
}
END_TEST

START_TEST(state_moves_with_the_time)
{
    Rtcs r = rtcs_new(1709210096), s = rtcs_new(0);

    set(&r, 0x0b, 0x12);
    bench_copy_state(r.d, s.d);
    assert_time(&s, 0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x56);
    step(&s, SECOND);
    ck_assert(s.irq->level);
    bench_free(r.b);
    bench_free(s.b);
}
END_TEST

UNIT_MAIN("mc146818", it_shows_the_time_of_the_host_plus_the_offset,
          it_shows_binary_and_twelve_hours, it_can_be_set_while_stopped,
          after_a_divider_reset_the_first_second_is_half,
          update_in_progress_warns_before_the_second_ends, updates_interrupt_every_second,
          the_alarm_matches_its_bytes_or_any, the_periodic_interrupt_waits_to_be_read,
          with_slew_periodic_interrupts_that_were_missed_follow,
          flags_can_be_polled_without_interrupts, memory_survives_reset_and_interrupts_do_not,
          state_moves_with_the_time)
