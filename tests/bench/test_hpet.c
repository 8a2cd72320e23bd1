/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The high precision event timers. */
#include "hw/timer/hpet.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum {
    ID = 0,
    CONF = 0x10,
    STATUS = 0x20,
    COUNTER = 0xf0,
    T0 = 0x100,
    T1 = 0x120,
    T2 = 0x140,
    CMP = 8
};
enum { LEVEL = 2, ENABLE = 4, PERIODIC = 8, SET = 0x40, MODE32 = 0x100 };

typedef struct Hpets {
    Bench *b;
    Device *d;
    BenchWire *gsi2, *gsi20, *irq0, *irq8;
} Hpets;

static Hpets hpets_new(void)
{
    Hpets h = {.b = bench_new()};

    h.d = bench_device(h.b, "hpet", "intcap", "0x100004", NULL);
    bench_map(h.b, hpet_mmio(h.d), HPET_BASE);
    h.gsi2 = bench_wire(h.b, hpet_line(h.d, 2));
    h.gsi20 = bench_wire(h.b, hpet_line(h.d, 20));
    h.irq0 = bench_wire(h.b, hpet_line(h.d, HPET_IRQ0));
    h.irq8 = bench_wire(h.b, hpet_line(h.d, HPET_IRQ8));
    return h;
}

static uint64_t get(Hpets *h, unsigned at)
{
    return bench_mem_read(h->b, HPET_BASE + at, 8);
}
static void set(Hpets *h, unsigned at, uint64_t v)
{
    bench_mem_write(h->b, HPET_BASE + at, 8, v);
}
static void set32(Hpets *h, unsigned at, uint64_t v)
{
    bench_mem_write(h->b, HPET_BASE + at, 4, v);
}
static void ticks(Hpets *h, int64_t n)
{
    bench_step(h->b, n * 10);
}

START_TEST(it_describes_itself)
{
    Hpets h = hpets_new();

    ck_assert_uint_eq(get(&h, ID), 10000000ull << 32 | 0x8086a201);
    ck_assert_uint_eq(bench_mem_read(h.b, HPET_BASE + 4, 4), 10000000);
    ck_assert_uint_eq(get(&h, T2), 0x100004ull << 32 | 0x30);
    bench_free(h.b);
}
END_TEST

START_TEST(the_counter_runs_while_enabled)
{
    Hpets h = hpets_new();

    ticks(&h, 100);
    ck_assert_uint_eq(get(&h, COUNTER), 0);
    set(&h, COUNTER, 0xfffffffe);
    set(&h, CONF, 1);
    ticks(&h, 5);
    ck_assert_uint_eq(get(&h, COUNTER), 0x100000003);
    ck_assert_uint_eq(bench_mem_read(h.b, HPET_BASE + COUNTER + 4, 4), 1);
    set(&h, CONF, 0);
    ticks(&h, 5);
    ck_assert_uint_eq(get(&h, COUNTER), 0x100000003);
    bench_free(h.b);
}
END_TEST

START_TEST(a_one_shot_edge_pulses_its_route)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set(&h, T1, ENABLE | 2 << 9);
    set(&h, T1 + CMP, 1000);
    ticks(&h, 999);
    ck_assert_uint_eq(h.gsi2->rises, 0);
    ticks(&h, 1);
    ck_assert_uint_eq(h.gsi2->rises, 1);
    ck_assert(!h.gsi2->level);
    ck_assert_uint_eq(get(&h, STATUS), 0);
    ticks(&h, 100000);
    ck_assert_uint_eq(h.gsi2->rises, 1);
    bench_free(h.b);
}
END_TEST

START_TEST(a_level_stays_until_its_status_is_cleared)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set(&h, T2, ENABLE | LEVEL | 20 << 9);
    set(&h, T2 + CMP, 50);
    ticks(&h, 60);
    ck_assert(h.gsi20->level);
    ck_assert_uint_eq(get(&h, STATUS), 4);
    set(&h, STATUS, 3);
    ck_assert(h.gsi20->level);
    set(&h, STATUS, 4);
    ck_assert(!h.gsi20->level);
    bench_free(h.b);
}
END_TEST

START_TEST(periodic_timers_add_their_period)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set32(&h, T0, ENABLE | PERIODIC | SET | MODE32 | 20 << 9);
    set32(&h, T0 + CMP, 5000); /* first match, then the period */
    set32(&h, T0 + CMP, 10000);
    ticks(&h, 5000);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    ck_assert_uint_eq(get(&h, T0 + CMP), 15000);
    ticks(&h, 40000);
    ck_assert_uint_eq(h.gsi20->rises, 5);
    ticks(&h, 9999);
    ck_assert_uint_eq(h.gsi20->rises, 5);
    bench_free(h.b);
}
END_TEST

START_TEST(edges_that_the_host_missed_follow_at_a_distance)
{
    Hpets h = hpets_new();
    unsigned rises;

    set(&h, CONF, 1);
    set32(&h, T0, ENABLE | PERIODIC | SET | MODE32 | 20 << 9);
    set32(&h, T0 + CMP, 1000000); /* 10 ms */
    set32(&h, T0 + CMP, 1000000);
    clock_set(h.b->m->vclock, 55000000); /* the host slept */
    ticks(&h, 0);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    set(&h, STATUS, 1); /* what handlers of other timers do */
    ck_assert_uint_eq(get(&h, T0 + CMP), 6000000);
    ticks(&h, 99999);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    ticks(&h, 1);
    ck_assert_uint_eq(h.gsi20->rises, 2);
    ticks(&h, 400000);
    ck_assert_uint_eq(h.gsi20->rises, 6); /* five and, at 60 ms, the next */
    ticks(&h, 1000000);
    ck_assert_uint_eq(h.gsi20->rises, 7);
    clock_set(h.b->m->vclock, 3600000000000);
    ticks(&h, 100000000);
    ck_assert_uint_eq(h.gsi20->rises, 207); /* no more than a second's */
    clock_set(h.b->m->vclock, clock_now(h.b->m->vclock) + 500000000);
    set32(&h, T0, 0); /* what is due comes, the rest is forgotten */
    rises = h.gsi20->rises;
    ck_assert_uint_gt(rises, 207);
    set32(&h, T0, ENABLE | 20 << 9);
    ticks(&h, 900000);
    ck_assert_uint_eq(h.gsi20->rises, rises);
    bench_free(h.b);
}
END_TEST

START_TEST(a_level_of_missed_periods_is_one)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set32(&h, T0, ENABLE | LEVEL | PERIODIC | SET | MODE32 | 20 << 9);
    set32(&h, T0 + CMP, 1000000);
    set32(&h, T0 + CMP, 1000000);
    clock_set(h.b->m->vclock, 55000000);
    ticks(&h, 0);
    set(&h, STATUS, 1);
    ticks(&h, 490000);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    ck_assert(!h.gsi20->level);
    bench_free(h.b);
}
END_TEST

START_TEST(a_64_bit_first_match_may_come_in_two_halves)
{
    Hpets h = hpets_new();

    set32(&h, T0, ENABLE | PERIODIC | SET | 20 << 9);
    set32(&h, T0 + CMP, 70000);
    set32(&h, T0 + CMP + 4, 0);
    set32(&h, T0 + CMP, 9000);
    set32(&h, T0 + CMP + 4, 0);
    ck_assert_uint_eq(get(&h, T0 + CMP), 70000);
    set(&h, CONF, 1);
    ticks(&h, 79000);
    ck_assert_uint_eq(h.gsi20->rises, 2);
    bench_free(h.b);
}
END_TEST

START_TEST(legacy_replacement_takes_over_the_isa_lines)
{
    Hpets h = hpets_new();

    hpet_legacy_input(h.d, 0, true);
    hpet_legacy_input(h.d, 1, true);
    ck_assert(h.irq0->level && h.irq8->level);
    set(&h, CONF, 3);
    ck_assert(!h.irq0->level && !h.irq8->level);
    hpet_legacy_input(h.d, 0, false);
    hpet_legacy_input(h.d, 0, true);
    ck_assert_uint_eq(h.irq0->rises, 1);
    set(&h, T0, ENABLE | 20 << 9);
    set(&h, T0 + CMP, 3000);
    ticks(&h, 3000);
    ck_assert_uint_eq(h.irq0->rises, 2);
    ck_assert_uint_eq(h.gsi20->rises, 0);
    set(&h, CONF, 0);
    ck_assert(h.irq0->level && h.irq8->level);
    bench_free(h.b);
}
END_TEST

START_TEST(a_32_bit_comparator_matches_again_when_the_counter_wraps)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set(&h, T0, ENABLE | MODE32 | 20 << 9);
    set(&h, T0 + CMP, 100);
    ticks(&h, 100);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    ticks(&h, 0xffffffff);
    ck_assert_uint_eq(h.gsi20->rises, 1);
    ticks(&h, 1);
    ck_assert_uint_eq(h.gsi20->rises, 2);
    bench_free(h.b);
}
END_TEST

START_TEST(routes_that_are_not_offered_lead_nowhere)
{
    Hpets h = hpets_new();

    set(&h, CONF, 1);
    set(&h, T0, ENABLE | 31 << 9);
    set(&h, T0 + CMP, 100);
    ticks(&h, 100);
    ck_assert_uint_eq(h.gsi2->rises + h.gsi20->rises + h.irq0->rises, 0);
    bench_free(h.b);
}
END_TEST

START_TEST(state_moves_within_a_period)
{
    Hpets h = hpets_new(), k = hpets_new();

    set(&h, CONF, 1);
    set(&h, T2, ENABLE | PERIODIC | SET | 20 << 9);
    set(&h, T2 + CMP, 10000);
    ticks(&h, 14000);
    ticks(&k, 14000);
    bench_copy_state(h.d, k.d);
    ck_assert_uint_eq(get(&k, COUNTER), 14000);
    ticks(&k, 5999);
    ck_assert_uint_eq(k.gsi20->rises, 0);
    ticks(&k, 1);
    ck_assert_uint_eq(k.gsi20->rises, 1);
    bench_free(h.b);
    bench_free(k.b);
}
END_TEST

UNIT_MAIN("hpet", it_describes_itself, the_counter_runs_while_enabled,
          a_one_shot_edge_pulses_its_route, a_level_stays_until_its_status_is_cleared,
          periodic_timers_add_their_period, edges_that_the_host_missed_follow_at_a_distance,
          a_level_of_missed_periods_is_one, a_64_bit_first_match_may_come_in_two_halves,
          legacy_replacement_takes_over_the_isa_lines,
          a_32_bit_comparator_matches_again_when_the_counter_wraps,
          routes_that_are_not_offered_lead_nowhere, state_moves_within_a_period)
