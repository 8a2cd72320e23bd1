/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interval timer and port 0x61. */
#include "hw/timer/i8254.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum { CH0 = 0x40, CH2 = 0x42, CONTROL = 0x43, P61 = 0x61 };

typedef struct Pits {
    Bench *b;
    Device *d;
    BenchWire *irq;
    int64_t tick; /* where the clock stands, in ticks */
} Pits;

static Pits pits_new(void)
{
    Pits p = {.b = bench_new()};

    p.d = bench_device(p.b, "isa-pit", NULL);
    p.irq = bench_irq(p.d);
    bench_map_io(p.b, pit_io(p.d), CH0);
    bench_map_io(p.b, pit_port61(p.d), P61);
    return p;
}

static void out(Pits *p, unsigned port, uint8_t v)
{
    bench_out(p->b, port, 1, v);
}
static uint8_t in(Pits *p, unsigned port)
{
    return (uint8_t)bench_in(p->b, port, 1);
}

static void ticks(Pits *p, int64_t n)
{
    p->tick += n;
    int64_t ns = (int64_t)(((__int128)p->tick * 1000000000 + PIT_HZ - 1) / PIT_HZ);
    bench_step(p->b, ns - clock_now(p->b->m->vclock));
}

static void load(Pits *p, unsigned channel, unsigned control, unsigned count)
{
    out(p, CONTROL, (uint8_t)(channel << 6 | 0x30 | control));
    out(p, CH0 + channel, (uint8_t)count);
    out(p, CH0 + channel, (uint8_t)(count >> 8));
}

static unsigned latched(Pits *p, unsigned channel)
{
    out(p, CONTROL, (uint8_t)(channel << 6));
    unsigned low = in(p, CH0 + channel);
    return low | (unsigned)in(p, CH0 + channel) << 8;
}

START_TEST(the_rate_generator_makes_an_edge_each_period)
{
    Pits p = pits_new();

    load(&p, 0, 4, 1193);
    unsigned rises = p.irq->rises;
    ticks(&p, 1192);
    ck_assert_uint_eq(p.irq->rises, rises);
    ck_assert_uint_eq(latched(&p, 0), 1);
    ticks(&p, 1);
    ck_assert_uint_eq(p.irq->rises, rises + 1);
    ck_assert_uint_eq(latched(&p, 0), 1193);
    for (int i = 0; i < 10; i++)
        ticks(&p, 1193);
    ck_assert_uint_eq(p.irq->rises, rises + 11);
    bench_free(p.b);
}
END_TEST

START_TEST(a_new_rate_counts_from_the_end_of_the_period)
{
    Pits p = pits_new();

    load(&p, 0, 4, 1000);
    unsigned rises = p.irq->rises;
    ticks(&p, 400);
    out(&p, CH0, 200);
    out(&p, CH0, 0);
    ticks(&p, 599);
    ck_assert_uint_eq(p.irq->rises, rises);
    ticks(&p, 1);
    ck_assert_uint_eq(p.irq->rises, rises + 1);
    ticks(&p, 200);
    ck_assert_uint_eq(p.irq->rises, rises + 2);
    bench_free(p.b);
}
END_TEST

START_TEST(terminal_count_rises_once_and_counts_on)
{
    Pits p = pits_new();

    load(&p, 0, 0, 500);
    ck_assert(!p.irq->level);
    ticks(&p, 499);
    ck_assert(!p.irq->level);
    ticks(&p, 1);
    ck_assert(p.irq->level);
    unsigned rises = p.irq->rises;
    ticks(&p, 10);
    ck_assert_uint_eq(latched(&p, 0), 65526);
    ticks(&p, 200000);
    ck_assert_uint_eq(p.irq->rises, rises);
    out(&p, CH0, 5); /* the first byte of a new count stops it */
    ck_assert(!p.irq->level);
    ticks(&p, 100);
    out(&p, CH0, 0);
    ticks(&p, 5);
    ck_assert(p.irq->level);
    bench_free(p.b);
}
END_TEST

START_TEST(the_software_strobe_pulses_once)
{
    Pits p = pits_new();

    load(&p, 0, 8, 300);
    unsigned rises = p.irq->rises;
    ck_assert(p.irq->level);
    ticks(&p, 300);
    ck_assert_uint_eq(p.irq->rises, rises);
    ticks(&p, 1);
    ck_assert_uint_eq(p.irq->rises, rises + 1);
    ticks(&p, 100000);
    ck_assert_uint_eq(p.irq->rises, rises + 1);
    bench_free(p.b);
}
END_TEST

START_TEST(edges_that_the_host_missed_come_as_one)
{
    Pits p = pits_new();

    load(&p, 0, 4, 1000);
    unsigned rises = p.irq->rises;
    clock_set(p.b->m->vclock, 1000000000); /* a second without timers */
    bench_step(p.b, 0);
    ck_assert_uint_eq(p.irq->rises, rises + 1);
    bench_free(p.b);
}
END_TEST

START_TEST(gate_and_out_of_channel_2_are_at_port_61)
{
    Pits p = pits_new();

    load(&p, 2, 0, 1000);
    ticks(&p, 100);
    ck_assert_uint_eq(latched(&p, 2), 1000); /* the gate is low */
    out(&p, P61, 1);
    ticks(&p, 600);
    ck_assert_uint_eq(latched(&p, 2), 400);
    ck_assert_uint_eq(in(&p, P61) & 0x2f, 0x01);
    out(&p, P61, 0);
    ticks(&p, 5000);
    out(&p, P61, 1);
    ck_assert_uint_eq(latched(&p, 2), 400);
    ticks(&p, 400);
    ck_assert_uint_eq(in(&p, P61) & 0x2f, 0x21);
    bench_free(p.b);
}
END_TEST

START_TEST(a_triggered_one_shot_starts_with_the_gate)
{
    Pits p = pits_new();

    load(&p, 2, 2, 100);
    ticks(&p, 1000);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0x20);
    out(&p, P61, 1);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0);
    ticks(&p, 60);
    out(&p, P61, 0);
    out(&p, P61, 1); /* again from the start */
    ticks(&p, 60);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0);
    ticks(&p, 40);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0x20);
    bench_free(p.b);
}
END_TEST

START_TEST(the_square_wave_is_high_half_of_the_time)
{
    Pits p = pits_new();

    out(&p, P61, 1);
    load(&p, 2, 6, 100);
    ticks(&p, 49);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0x20);
    ck_assert_uint_eq(latched(&p, 2), 2);
    ticks(&p, 1);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0);
    ticks(&p, 50);
    ck_assert_uint_eq(in(&p, P61) & 0x20, 0x20);
    bench_free(p.b);
}
END_TEST

START_TEST(binary_coded_counts_are_decimal)
{
    Pits p = pits_new();

    load(&p, 0, 0x01, 0x1000);
    ticks(&p, 1);
    ck_assert_uint_eq(latched(&p, 0), 0x0999);
    ticks(&p, 999);
    ck_assert(p.irq->level);
    ticks(&p, 1);
    ck_assert_uint_eq(latched(&p, 0), 0x9999);
    bench_free(p.b);
}
END_TEST

START_TEST(read_back_latches_status_and_count)
{
    Pits p = pits_new();

    load(&p, 0, 4, 0x1234);
    out(&p, CONTROL, 0xc2);
    ticks(&p, 50);
    ck_assert_uint_eq(in(&p, CH0), 0xb4);
    ck_assert_uint_eq(in(&p, CH0), 0x34);
    ck_assert_uint_eq(in(&p, CH0), 0x12);
    out(&p, CONTROL, 0x34); /* no count yet */
    out(&p, CONTROL, 0xe2);
    ck_assert_uint_eq(in(&p, CH0), 0xf4);
    out(&p, CONTROL, 0x14); /* low byte only */
    out(&p, CH0, 77);
    ck_assert_uint_eq(in(&p, CH0), 77);
    ck_assert_uint_eq(in(&p, CH0), 77);
    bench_free(p.b);
}
END_TEST

START_TEST(the_refresh_bit_toggles)
{
    Pits p = pits_new();
    unsigned changes = 0, last = in(&p, P61) & 0x10;

    for (int i = 0; i < 100; i++) {
        bench_step(p.b, 15085);
        changes += (in(&p, P61) & 0x10) != last;
        last = in(&p, P61) & 0x10;
    }
    ck_assert_uint_eq(changes, 100);
    bench_free(p.b);
}
END_TEST

START_TEST(state_moves_within_a_period)
{
    Pits p = pits_new(), q = pits_new();

    load(&p, 0, 4, 1000);
    ticks(&p, 700);
    ticks(&q, 700);
    bench_copy_state(p.d, q.d);
    unsigned rises = q.irq->rises;
    ticks(&q, 299);
    ck_assert_uint_eq(q.irq->rises, rises);
    ticks(&q, 1);
    ck_assert_uint_eq(q.irq->rises, rises + 1);
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

UNIT_MAIN("i8254", the_rate_generator_makes_an_edge_each_period,
          a_new_rate_counts_from_the_end_of_the_period, terminal_count_rises_once_and_counts_on,
          the_software_strobe_pulses_once, edges_that_the_host_missed_come_as_one,
          gate_and_out_of_channel_2_are_at_port_61, a_triggered_one_shot_starts_with_the_gate,
          the_square_wave_is_high_half_of_the_time, binary_coded_counts_are_decimal,
          read_back_latches_status_and_count, the_refresh_bit_toggles, state_moves_within_a_period)
