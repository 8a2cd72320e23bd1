/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of core/irq.h. */
#include "core/irq.h"
#include "tests/unit/unit.h"

typedef struct Sink {
    unsigned calls, n;
    bool level;
} Sink;

static void sink_input(void *sink, unsigned n, bool level)
{
    Sink *s = sink;

    s->calls++;
    s->n = n;
    s->level = level;
}

START_TEST(a_line_tells_changes_only)
{
    Sink s = {0};
    IrqLine l = {0};

    irq_set(&l, true); /* not connected: keeps the level */
    irq_connect(&l, sink_input, &s, 7);
    irq_set(&l, true);
    ck_assert_uint_eq(s.calls, 0);
    irq_set(&l, false);
    ck_assert_uint_eq(s.calls, 1);
    ck_assert_uint_eq(s.n, 7);
    irq_pulse(&l);
    ck_assert_uint_eq(s.calls, 3);
    ck_assert(!s.level);
}
END_TEST

START_TEST(an_or_is_high_while_one_input_is)
{
    Sink s = {0};
    IrqOr o = {0};
    IrqLine a = {0}, b = {0};

    irq_connect(&o.out, sink_input, &s, 0);
    irq_connect(&a, irq_or_input, &o, 0);
    irq_connect(&b, irq_or_input, &o, 31);
    irq_set(&a, true);
    irq_set(&b, true);
    irq_set(&a, false);
    ck_assert(s.level);
    ck_assert_uint_eq(s.calls, 1);
    irq_set(&b, false);
    ck_assert(!s.level);
}
END_TEST

START_TEST(a_split_reaches_both)
{
    Sink s = {0}, t = {0};
    IrqSplit split = {0};

    irq_connect(&split.out[0], sink_input, &s, 1);
    irq_connect(&split.out[1], sink_input, &t, 2);
    irq_split_input(&split, 0, true);
    ck_assert(s.level && t.level);
    ck_assert_uint_eq(t.n, 2);
}
END_TEST

UNIT_MAIN("irq", a_line_tells_changes_only, an_or_is_high_while_one_input_is, a_split_reaches_both)
