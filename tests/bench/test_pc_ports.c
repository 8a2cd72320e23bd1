/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small port devices: reset-port, isa-debug-exit, isa-debugcon. */
#include "hw/char/debugcon.h"
#include "hw/misc/reset_port.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

static Device *reset_port(Bench *b)
{
    Device *d = bench_device(b, "reset-port", NULL);

    bench_map_io(b, reset_port_cf9(d), 0xcf9);
    bench_map_io(b, reset_port_92(d), 0x92);
    return d;
}

START_TEST(a_rising_reset_bit_resets)
{
    Bench *b = bench_new();

    reset_port(b);
    bench_out(b, 0xcf9, 1, 0x02);
    ck_assert_uint_eq(b->m->requests, 0);
    bench_out(b, 0xcf9, 1, 0x06);
    ck_assert_uint_ne(b->m->requests, 0);
    ck_assert_uint_eq(bench_in(b, 0xcf9, 1), 0x06);
    bench_free(b);
}
END_TEST

START_TEST(port_92_gates_address_line_20_and_resets)
{
    Bench *b = bench_new();
    Device *d = reset_port(b);

    ck_assert(bench_irq(d)->level);
    bench_out(b, 0x92, 1, 0);
    ck_assert(!bench_irq(d)->level);
    bench_out(b, 0x92, 1, 2);
    ck_assert(bench_irq(d)->level);
    ck_assert_uint_eq(bench_in(b, 0x92, 1), 2);
    ck_assert_uint_eq(b->m->requests, 0);
    bench_out(b, 0x92, 1, 3);
    ck_assert_uint_ne(b->m->requests, 0);
    bench_free(b);
}
END_TEST

START_TEST(the_a20_gate_moves_with_the_state)
{
    Bench *b = bench_new(), *c = bench_new();
    Device *d = reset_port(b), *e = reset_port(c);

    bench_out(b, 0x92, 1, 0);
    bench_copy_state(d, e);
    ck_assert(!bench_irq(e)->level);
    bench_free(b);
    bench_free(c);
}
END_TEST

START_TEST(debug_exit_makes_odd_exit_codes)
{
    Bench *b = bench_new();

    bench_device(b, "isa-debug-exit", "iobase", "0xf4", "iosize", "4", NULL);
    ck_assert_uint_eq(bench_in(b, 0xf4, 4), 0);
    bench_out(b, 0xf4, 4, 0x10);
    ck_assert_int_eq(machine_main_loop(b->m), 33);
    ck_assert_int_eq(b->m->cause, SHUTDOWN_DEBUG_EXIT);
    bench_free(b);
}
END_TEST

START_TEST(debug_exit_refuses_ports_out_of_range)
{
    Bench *b = bench_new();
    Device *d = bench_device_new(b, "isa-debug-exit");
    Error err;

    ck_assert(device_set(d, "iobase", "0xffff", &err));
    ck_assert(!device_realize(d, &err));
    bench_free(b);
}
END_TEST

START_TEST(the_debug_console_passes_bytes_on)
{
    Bench *b = bench_new();
    BenchChar *c = bench_chardev(b);
    Device *d = bench_device(b, "isa-debugcon", NULL);

    ck_assert_uint_eq(bench_in(b, 0xe9, 1), 0xe9);
    bench_out(b, 0xe9, 1, 'x'); /* nobody listens */
    debugcon_set_chardev(d, &c->chr);
    bench_out(b, 0xe9, 1, 'o');
    bench_out(b, 0xe9, 1, 'k');
    ck_assert_str_eq(strbuf_str(&c->out), "ok");
    bench_free(b);
}
END_TEST

UNIT_MAIN("pc ports", a_rising_reset_bit_resets, port_92_gates_address_line_20_and_resets,
          the_a20_gate_moves_with_the_state, debug_exit_makes_odd_exit_codes,
          debug_exit_refuses_ports_out_of_range, the_debug_console_passes_bytes_on)
