/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pair of 8259As. */
#include "hw/irq/i8259.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum { M0 = 0x20, M1 = 0x21, S0 = 0xa0, S1 = 0xa1, ELCR = 0x4d0 };

typedef struct Pics {
    Bench *b;
    Device *d;
    BenchWire *intr;
} Pics;

static void out(Pics *p, unsigned port, uint8_t v)
{
    bench_out(p->b, port, 1, v);
}
static uint8_t in(Pics *p, unsigned port)
{
    return (uint8_t)bench_in(p->b, port, 1);
}

/* As an operating system does: vectors 0x30 and 0x38, all unmasked. */
static void init(Pics *p, uint8_t icw4)
{
    out(p, M0, 0x11);
    out(p, M1, 0x30);
    out(p, M1, 0x04);
    out(p, M1, icw4);
    out(p, S0, 0x11);
    out(p, S1, 0x38);
    out(p, S1, 0x02);
    out(p, S1, icw4);
}

static Pics pics_new(uint8_t icw4)
{
    Pics p = {.b = bench_new()};

    p.d = bench_device(p.b, "isa-pic", NULL);
    p.intr = bench_irq(p.d);
    bench_map_io(p.b, i8259_io(p.d, I8259_MASTER), M0);
    bench_map_io(p.b, i8259_io(p.d, I8259_SLAVE), S0);
    bench_map_io(p.b, i8259_io(p.d, I8259_ELCR), ELCR);
    init(&p, icw4);
    return p;
}

START_TEST(an_edge_is_served_once)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 1, true);
    ck_assert(p.intr->level);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x31);
    ck_assert(!p.intr->level);
    out(&p, M0, 0x0b);
    ck_assert_uint_eq(in(&p, M0), 0x02);
    out(&p, M0, 0x20);
    ck_assert(!p.intr->level);
    ck_assert_uint_eq(in(&p, M0), 0);
    i8259_input(p.d, 1, false);
    i8259_input(p.d, 1, true);
    ck_assert(p.intr->level);
    bench_free(p.b);
}
END_TEST

START_TEST(a_level_asks_again_until_it_falls)
{
    Pics p = pics_new(1);

    out(&p, ELCR + 1, 0x0e);
    ck_assert_uint_eq(in(&p, ELCR + 1), 0x0e);
    i8259_input(p.d, 10, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x3a);
    out(&p, S0, 0x20);
    out(&p, M0, 0x20);
    ck_assert(p.intr->level);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x3a);
    i8259_input(p.d, 10, false);
    out(&p, S0, 0x20);
    out(&p, M0, 0x20);
    ck_assert(!p.intr->level);
    bench_free(p.b);
}
END_TEST

START_TEST(system_interrupts_cannot_be_made_levels)
{
    Pics p = pics_new(1);

    out(&p, ELCR, 0xff);
    out(&p, ELCR + 1, 0xff);
    ck_assert_uint_eq(in(&p, ELCR), 0xf8);
    ck_assert_uint_eq(in(&p, ELCR + 1), 0xde);
    bench_free(p.b);
}
END_TEST

START_TEST(more_important_pins_interrupt_less_important_ones)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 4, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x34);
    i8259_input(p.d, 5, true);
    ck_assert(!p.intr->level);
    i8259_input(p.d, 8, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x38);
    i8259_input(p.d, 0, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x30);
    out(&p, M0, 0x20);
    out(&p, S0, 0x20);
    out(&p, M0, 0x20);
    ck_assert(!p.intr->level);
    out(&p, M0, 0x64); /* specific */
    ck_assert_int_eq(pic_acknowledge(p.d), 0x35);
    bench_free(p.b);
}
END_TEST

START_TEST(masked_pins_wait)
{
    Pics p = pics_new(1);

    out(&p, M1, 0xff);
    i8259_input(p.d, 3, true);
    ck_assert(!p.intr->level);
    out(&p, M0, 0x0a);
    ck_assert_uint_eq(in(&p, M0), 0x08);
    out(&p, M1, 0xf7);
    ck_assert(p.intr->level);
    ck_assert_uint_eq(in(&p, M1), 0xf7);
    bench_free(p.b);
}
END_TEST

START_TEST(a_request_that_vanished_is_spurious)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 3, true);
    out(&p, M1, 0xff);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x37);
    out(&p, M0, 0x0b);
    ck_assert_uint_eq(in(&p, M0), 0);
    out(&p, M1, 0);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x33);
    out(&p, M0, 0x20);
    i8259_input(p.d, 9, true);
    out(&p, S1, 0xff); /* after INT went to the master */
    ck_assert_int_eq(pic_acknowledge(p.d), 0x3f);
    ck_assert_uint_eq(in(&p, M0), 0x04);
    bench_free(p.b);
}
END_TEST

START_TEST(automatic_end_of_interrupt_lets_the_slave_ask_again_at_once)
{
    Pics p = pics_new(3);

    i8259_input(p.d, 8, true);
    i8259_input(p.d, 14, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x38);
    ck_assert(p.intr->level);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x3e);
    ck_assert(!p.intr->level);
    bench_free(p.b);
}
END_TEST

START_TEST(rotation_makes_the_served_pin_the_last)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 0, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x30);
    out(&p, M0, 0xa0);
    i8259_input(p.d, 0, false);
    i8259_input(p.d, 0, true);
    i8259_input(p.d, 7, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x37);
    out(&p, M0, 0xc6); /* lowest is 6: 7 is the first */
    i8259_input(p.d, 3, true);
    ck_assert(!p.intr->level);
    bench_free(p.b);
}
END_TEST

START_TEST(special_mask_mode_lets_less_important_pins_through)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 1, true);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x31);
    i8259_input(p.d, 6, true);
    ck_assert(!p.intr->level);
    out(&p, M1, 0x02);
    out(&p, M0, 0x68);
    ck_assert(p.intr->level);
    ck_assert_int_eq(pic_acknowledge(p.d), 0x36);
    bench_free(p.b);
}
END_TEST

START_TEST(polling_is_an_acknowledge)
{
    Pics p = pics_new(1);

    out(&p, M0, 0x0c);
    ck_assert_uint_eq(in(&p, M0), 0);
    i8259_input(p.d, 5, true);
    out(&p, M0, 0x0c);
    ck_assert_uint_eq(in(&p, M0), 0x85);
    ck_assert(!p.intr->level);
    out(&p, M0, 0x0b);
    ck_assert_uint_eq(in(&p, M0), 0x20);
    bench_free(p.b);
}
END_TEST

START_TEST(what_became_of_an_edge_is_told)
{
    Pics p = pics_new(1);

    i8259_input(p.d, 0, true);
    i8259_input(p.d, 8, true);
    ck_assert_int_eq(i8259_edge(p.d, 0), EDGE_WAITS);
    ck_assert_int_eq(i8259_edge(p.d, 8), EDGE_WAITS);
    pic_acknowledge(p.d);
    ck_assert_int_eq(i8259_edge(p.d, 0), EDGE_TAKEN);
    ck_assert_int_eq(i8259_edge(p.d, 8), EDGE_WAITS);
    out(&p, M1, 0x05); /* lines 0 and 2 */
    ck_assert_int_eq(i8259_edge(p.d, 0), EDGE_NOWHERE);
    ck_assert_int_eq(i8259_edge(p.d, 8), EDGE_NOWHERE);
    bench_free(p.b);
}
END_TEST

START_TEST(state_moves_with_what_is_in_service)
{
    Pics p = pics_new(1), q = pics_new(1);

    i8259_input(p.d, 4, true);
    pic_acknowledge(p.d);
    i8259_input(p.d, 6, true);
    bench_copy_state(p.d, q.d);
    ck_assert(!q.intr->level);
    out(&q, M0, 0x20);
    ck_assert_int_eq(pic_acknowledge(q.d), 0x36);
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

UNIT_MAIN("i8259", an_edge_is_served_once, a_level_asks_again_until_it_falls,
          system_interrupts_cannot_be_made_levels,
          more_important_pins_interrupt_less_important_ones, masked_pins_wait,
          a_request_that_vanished_is_spurious,
          automatic_end_of_interrupt_lets_the_slave_ask_again_at_once,
          rotation_makes_the_served_pin_the_last,
          special_mask_mode_lets_less_important_pins_through, polling_is_an_acknowledge,
          what_became_of_an_edge_is_told, state_moves_with_what_is_in_service)
