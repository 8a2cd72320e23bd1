/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interval timer and port 0x61. */
#include "hw/timer/i8254.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum { CH0 = 0x40, CH2 = 0x42, CONTROL = 0x43, P61 = 0x61 };
#define MS 1000000ll
#define ck_assert_uint_in(x, low, high)                                                            \
    do {                                                                                           \
        unsigned x_ = (x);                                                                         \
        ck_assert_msg(x_ >= (low) && x_ <= (high), #x " is %u", x_);                               \
    } while (0)

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

/* The clock goes on without timers, as when the host does not run us. */
static void sleeps(Pits *p, int64_t ns)
{
    clock_set(p->b->m->vclock, clock_now(p->b->m->vclock) + ns);
}

/* Rises of the next @ns. */
static unsigned rises_in(Pits *p, int64_t ns)
{
    unsigned before = p->irq->rises;

    bench_step(p->b, ns);
    return p->irq->rises - before;
}

START_TEST(edges_that_the_host_missed_follow_at_a_distance)
{
    Pits p = pits_new();

    load(&p, 0, 4, 11932); /* 100 Hz, 10 ms */
    sleeps(&p, 55 * MS);
    ck_assert_uint_eq(rises_in(&p, 0), 1);
    ck_assert_uint_eq(rises_in(&p, MS - 1), 0);
    ck_assert_uint_eq(rises_in(&p, 1), 1);
    ck_assert_uint_eq(rises_in(&p, MS), 1);
    ck_assert_uint_eq(rises_in(&p, MS), 1);
    ck_assert_uint_eq(rises_in(&p, MS), 1); /* 59 ms: all five are there */
    ck_assert_uint_eq(rises_in(&p, MS - 10000), 0);
    ck_assert_uint_eq(rises_in(&p, 20000), 1);
    ck_assert_uint_eq(rises_in(&p, 945 * MS), 94);
    bench_free(p.b);
}
END_TEST

START_TEST(fast_edges_that_were_missed_keep_half_a_period)
{
    Pits p = pits_new();

    load(&p, 0, 4, 1193); /* 1 ms */
    sleeps(&p, 10 * MS + MS / 4);
    ck_assert_uint_eq(rises_in(&p, 0), 1);
    ck_assert_uint_eq(rises_in(&p, MS / 2 - 1000), 0);
    ck_assert_uint_eq(rises_in(&p, 2000), 1);
    ck_assert_uint_in(rises_in(&p, 100 * MS), 107, 109);
    bench_free(p.b);
}
END_TEST

START_TEST(no_more_than_a_second_of_edges_is_owed)
{
    Pits p = pits_new();

    load(&p, 0, 4, 11932);
    sleeps(&p, 3600 * 1000 * MS);
    ck_assert_uint_in(rises_in(&p, 1000 * MS), 199, 201);
    bench_free(p.b);
}
END_TEST

START_TEST(a_new_mode_or_a_reset_forgets_what_is_owed)
{
    Pits p = pits_new();

    load(&p, 0, 4, 11932);
    sleeps(&p, 500 * MS);
    load(&p, 0, 4, 11932);
    bench_step(p.b, 0);
    ck_assert_uint_eq(rises_in(&p, 9 * MS), 0);
    sleeps(&p, 500 * MS);
    ck_assert_uint_eq(rises_in(&p, 0), 1);
    bench_reset(p.d);
    ck_assert_uint_eq(rises_in(&p, 50 * MS), 0);
    bench_free(p.b);
}
END_TEST

static IrqEdge edge_waits(void *sink, unsigned n)
{
    (void)sink;
    (void)n;
    return EDGE_WAITS;
}

START_TEST(edges_that_are_not_taken_stay_owed)
{
    Pits p = pits_new();

    load(&p, 0, 4, 11932);
    p.d->irq.edge = edge_waits;
    bench_step(p.b, 105 * MS); /* ten that come as one */
    p.d->irq.edge = NULL;
    ck_assert_uint_in(rises_in(&p, 20 * MS), 11, 13);
    ck_assert_uint_in(rises_in(&p, 100 * MS), 9, 11);
    p.d->irq.edge = edge_waits;
    load(&p, 0, 8, 11932); /* one-shots owe nothing */
    ck_assert_uint_eq(rises_in(&p, 100 * MS), 1);
    p.d->irq.edge = NULL;
    ck_assert_uint_eq(rises_in(&p, 100 * MS), 0);
    bench_free(p.b);
}
END_TEST

START_TEST(a_one_shot_that_was_missed_comes_once)
{
    Pits p = pits_new();

    load(&p, 0, 8, 11932);
    sleeps(&p, 500 * MS);
    ck_assert_uint_eq(rises_in(&p, 500 * MS), 1);
    bench_free(p.b);
}
END_TEST

START_TEST(owed_edges_move_with_the_state)
{
    Pits p = pits_new(), q = pits_new();

    load(&p, 0, 4, 11932);
    sleeps(&p, 55 * MS);
    ck_assert_uint_eq(rises_in(&p, 0), 1);
    sleeps(&q, 55 * MS);
    bench_copy_state(p.d, q.d);
    ck_assert_uint_eq(rises_in(&q, 4 * MS), 4);
    ck_assert_uint_eq(rises_in(&q, 2 * MS), 1);
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

START_TEST(an_edge_that_is_due_when_the_state_is_saved_is_not_lost)
{
    Pits p = pits_new(), q = pits_new();

    load(&p, 0, 4, 11932);
    sleeps(&p, 11 * MS);
    sleeps(&q, 11 * MS);
    bench_copy_state(p.d, q.d);
    ck_assert_uint_eq(rises_in(&q, 0), 1);
    bench_free(p.b);
    bench_free(q.b);
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
          the_software_strobe_pulses_once, edges_that_the_host_missed_follow_at_a_distance,
          fast_edges_that_were_missed_keep_half_a_period, no_more_than_a_second_of_edges_is_owed,
          a_new_mode_or_a_reset_forgets_what_is_owed, edges_that_are_not_taken_stay_owed,
          a_one_shot_that_was_missed_comes_once, owed_edges_move_with_the_state,
          an_edge_that_is_due_when_the_state_is_saved_is_not_lost,
          gate_and_out_of_channel_2_are_at_port_61, a_triggered_one_shot_starts_with_the_gate,
          the_square_wave_is_high_half_of_the_time, binary_coded_counts_are_decimal,
          read_back_latches_status_and_count, the_refresh_bit_toggles, state_moves_within_a_period)
