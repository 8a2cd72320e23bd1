/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port as its drivers see it. */
#include "hw/char/serial16550.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum {
    COM1 = 0x3f8,
    DATA = COM1,
    IER = COM1 + 1,
    IIR = COM1 + 2,
    LCR = COM1 + 3,
    MCR = COM1 + 4,
    LSR = COM1 + 5,
    MSR = COM1 + 6,
    SCR = COM1 + 7
};

typedef struct Port {
    Bench *b;
    Device *d;
    BenchChar *chr;
} Port;

static Port port_new(void)
{
    Port p = {.b = bench_new()};

    p.chr = bench_chardev(p.b);
    p.d = bench_device_new(p.b, "isa-serial");
    serial_set_chardev(p.d, &p.chr->chr);
    bench_device_up(p.b, p.d);
    return p;
}

static uint8_t in(Port *p, unsigned port)
{
    return (uint8_t)bench_in(p->b, port, 1);
}
static void out(Port *p, unsigned port, uint8_t v)
{
    bench_out(p->b, port, 1, v);
}

static void receive(Port *p, const char *text)
{
    bench_char_send(p->chr, text, strlen(text));
    bench_run(p->b);
}

START_TEST(what_is_written_reaches_the_back_end_at_once)
{
    Port p = port_new();

    ck_assert_uint_eq(in(&p, LSR), 0x60);
    out(&p, DATA, 'h');
    out(&p, DATA, 'i');
    ck_assert_str_eq(strbuf_str(&p.chr->out), "hi");
    ck_assert_uint_eq(in(&p, LSR), 0x60);
    bench_free(p.b);
}
END_TEST

START_TEST(a_full_back_end_holds_the_fifo_until_it_is_writable)
{
    Port p = port_new();

    p.chr->room = 1;
    out(&p, IIR, 0x01); /* FCR: FIFOs on */
    out(&p, IER, 0x02);
    ck_assert_uint_eq(in(&p, IIR), 0xc2);
    out(&p, DATA, 'a');
    ck_assert_uint_eq(in(&p, IIR), 0xc2);
    out(&p, DATA, 'b');
    out(&p, DATA, 'c');
    ck_assert_uint_eq(in(&p, LSR) & 0x60, 0);
    ck_assert_uint_eq(in(&p, IIR), 0xc1);
    ck_assert(!bench_irq(p.d)->level);
    p.chr->room = SIZE_MAX;
    bench_char_event(p.chr, CHAR_WRITABLE);
    ck_assert_str_eq(strbuf_str(&p.chr->out), "abc");
    ck_assert_uint_eq(in(&p, LSR) & 0x60, 0x60);
    ck_assert(bench_irq(p.d)->level);
    ck_assert_uint_eq(in(&p, IIR), 0xc2);
    bench_free(p.b);
}
END_TEST

START_TEST(enabling_the_transmitter_interrupt_while_empty_interrupts_each_time)
{
    Port p = port_new();

    for (int i = 0; i < 2; i++) { /* drivers test for chips that do not */
        out(&p, IER, 0x02);
        ck_assert(bench_irq(p.d)->level);
        ck_assert_uint_eq(in(&p, IIR), 0x02);
        ck_assert(!bench_irq(p.d)->level);
        ck_assert_uint_eq(in(&p, IIR), 0x01);
        out(&p, IER, 0);
    }
    bench_free(p.b);
}
END_TEST

START_TEST(characters_interrupt_at_the_trigger_or_after_four_character_times)
{
    Port p = port_new();

    out(&p, LCR, 0x83);
    out(&p, DATA, 1); /* 115200 */
    out(&p, IER, 0);
    out(&p, LCR, 0x03);
    out(&p, IIR, 0x41); /* trigger at 4 */
    out(&p, IER, 0x01);
    receive(&p, "abc");
    ck_assert_uint_eq(in(&p, IIR), 0xc1);
    bench_step(p.b, 347000);
    ck_assert(!bench_irq(p.d)->level);
    bench_step(p.b, 1000);
    ck_assert_uint_eq(in(&p, IIR), 0xcc);
    ck_assert_uint_eq(in(&p, DATA), 'a');
    ck_assert_uint_eq(in(&p, IIR), 0xc1);
    receive(&p, "de");
    ck_assert_uint_eq(in(&p, IIR), 0xc4);
    for (const char *s = "bcde"; *s; s++)
        ck_assert_uint_eq(in(&p, DATA), *s);
    ck_assert_uint_eq(in(&p, LSR), 0x60);
    bench_step(p.b, 10000000);
    ck_assert(!bench_irq(p.d)->level);
    bench_free(p.b);
}
END_TEST

START_TEST(more_than_fits_waits_at_the_sender)
{
    Port p = port_new();
    const char *text = "0123456789abcdefghijklmnopqrstuvwxyz";

    out(&p, IIR, 0x01);
    receive(&p, text);
    for (const char *s = text; *s; s++) {
        bench_run(p.b);
        ck_assert_uint_eq(in(&p, LSR) & 1, 1);
        ck_assert_uint_eq(in(&p, DATA), *s);
    }
    ck_assert_uint_eq(in(&p, LSR), 0x60);
    bench_free(p.b);
}
END_TEST

START_TEST(a_break_is_a_zero_with_an_error_that_reading_clears)
{
    Port p = port_new();

    out(&p, IIR, 0x01);
    out(&p, IER, 0x04);
    bench_char_event(p.chr, CHAR_BREAK);
    ck_assert_uint_eq(in(&p, IIR), 0xc6);
    ck_assert_uint_eq(in(&p, LSR), 0xf9);
    ck_assert_uint_eq(in(&p, LSR), 0x61);
    ck_assert_uint_eq(in(&p, DATA), 0);
    bench_free(p.b);
}
END_TEST

START_TEST(loopback_connects_data_and_modem_lines)
{
    Port p = port_new();

    ck_assert_uint_eq(in(&p, MSR), 0xb0);
    out(&p, MCR, 0x1a);
    ck_assert_uint_eq(in(&p, MSR) & 0xf0, 0x90);
    ck_assert_uint_eq(in(&p, MSR) & 0x0f, 0);
    out(&p, DATA, 'x');
    ck_assert_uint_eq(in(&p, DATA), 'x');
    ck_assert_uint_eq(p.chr->out.len, 0);
    out(&p, DATA, 'y');
    out(&p, DATA, 'z'); /* no FIFO: an overrun */
    ck_assert_uint_eq(in(&p, LSR) & 0x03, 0x03);
    out(&p, MCR, 0);
    ck_assert_uint_eq(in(&p, MSR) & 0xf0, 0xb0);
    bench_free(p.b);
}
END_TEST

START_TEST(divisor_and_scratch_keep_what_is_written)
{
    Port p = port_new();

    out(&p, LCR, 0x80);
    out(&p, DATA, 0x34);
    out(&p, IER, 0x12);
    ck_assert_uint_eq(in(&p, DATA), 0x34);
    ck_assert_uint_eq(in(&p, IER), 0x12);
    out(&p, LCR, 0);
    ck_assert_uint_eq(in(&p, IER), 0);
    out(&p, IER, 0xff);
    ck_assert_uint_eq(in(&p, IER), 0x0f);
    out(&p, SCR, 0x5a);
    ck_assert_uint_eq(in(&p, SCR), 0x5a);
    bench_free(p.b);
}
END_TEST

START_TEST(state_moves_to_another_port)
{
    Port p = port_new(), q = port_new();

    out(&p, IIR, 0x81);
    out(&p, IER, 0x01);
    out(&p, SCR, 7);
    receive(&p, "abc");
    bench_copy_state(p.d, q.d);
    ck_assert_uint_eq(in(&q, SCR), 7);
    bench_step(q.b, 1000000000);
    ck_assert(bench_irq(q.d)->level);
    ck_assert_uint_eq(in(&q, IIR), 0xcc);
    ck_assert_uint_eq(in(&q, DATA), 'a');
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

UNIT_MAIN("serial16550", what_is_written_reaches_the_back_end_at_once,
          a_full_back_end_holds_the_fifo_until_it_is_writable,
          enabling_the_transmitter_interrupt_while_empty_interrupts_each_time,
          characters_interrupt_at_the_trigger_or_after_four_character_times,
          more_than_fits_waits_at_the_sender, a_break_is_a_zero_with_an_error_that_reading_clears,
          loopback_connects_data_and_modem_lines, divisor_and_scratch_keep_what_is_written,
          state_moves_to_another_port)
