/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware. */
#include "hw/timer/acpi_pm.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum {
    PM = ACPI_PM_BASE,
    STS = PM,
    EN = PM + 2,
    CNT = PM + 4,
    TMR = PM + 8,
    GPE_STS = PM + 0x20,
    GPE_EN = PM + 0x24
};

typedef struct Pms {
    Bench *b;
    Device *d;
    BenchWire *sci;
} Pms;

static Pms pms_new(const char *timer_32bit)
{
    Pms p = {.b = bench_new()};

    p.d = bench_device(p.b, "acpi-pm", "timer-32bit", timer_32bit, NULL);
    region_unmap(acpi_pm_io(p.d)); /* from memory, where the bench puts it */
    bench_map_io(p.b, acpi_pm_io(p.d), PM);
    bench_map_io(p.b, acpi_pm_smi(p.d), ACPI_SMI_CMD);
    p.sci = bench_irq(p.d);
    return p;
}

static unsigned in(Pms *p, unsigned port, unsigned size)
{
    return (unsigned)bench_in(p->b, port, size);
}
static void out(Pms *p, unsigned port, unsigned size, unsigned v)
{
    bench_out(p->b, port, size, v);
}

START_TEST(the_smi_command_switches_acpi_mode)
{
    Pms p = pms_new("on");

    ck_assert_uint_eq(in(&p, CNT, 2) & 1, 0);
    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_ENABLE);
    ck_assert_uint_eq(in(&p, CNT, 2) & 1, 1);
    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_DISABLE);
    ck_assert_uint_eq(in(&p, CNT, 2) & 1, 0);
    bench_free(p.b);
}
END_TEST

START_TEST(the_power_button_interrupts_when_enabled)
{
    Pms p = pms_new("on");

    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_ENABLE);
    acpi_pm_power_button(p.d);
    ck_assert_uint_eq(in(&p, STS, 2), 0x100);
    ck_assert(!p.sci->level);
    out(&p, EN, 2, 0xffff);
    ck_assert_uint_eq(in(&p, EN, 2), 0x721);
    ck_assert(p.sci->level);
    out(&p, STS, 1, 0xff); /* the other byte */
    ck_assert(p.sci->level);
    out(&p, STS, 2, 0x100);
    ck_assert(!p.sci->level);
    bench_free(p.b);
}
END_TEST

START_TEST(the_timer_runs_at_its_frequency)
{
    Pms p = pms_new("on"), q = pms_new("off");

    bench_step(p.b, 1000000000);
    ck_assert_uint_eq(in(&p, TMR, 4), ACPI_PM_HZ);
    bench_step(p.b, 599000000000);
    ck_assert_uint_eq(in(&p, TMR, 4), 600u * ACPI_PM_HZ);
    bench_step(q.b, 600000000000);
    ck_assert_uint_eq(in(&q, TMR, 4), 600u * ACPI_PM_HZ & 0xffffff);
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

START_TEST(the_top_bit_of_the_timer_interrupts)
{
    Pms p = pms_new("off");

    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_ENABLE);
    out(&p, EN, 2, 1);
    int64_t half = ((1ll << 23) * 1000000000 + ACPI_PM_HZ - 1) / ACPI_PM_HZ;
    bench_step(p.b, half - 1);
    ck_assert(!p.sci->level);
    bench_step(p.b, 1);
    ck_assert(p.sci->level);
    ck_assert_uint_eq(in(&p, TMR, 4), 1 << 23);
    out(&p, STS, 2, 1);
    ck_assert(!p.sci->level);
    bench_step(p.b, half);
    ck_assert(p.sci->level);
    bench_free(p.b);
}
END_TEST

START_TEST(general_events_stay_while_their_input_is_high)
{
    Pms p = pms_new("on");

    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_ENABLE);
    out(&p, GPE_EN, 4, 1 << 9);
    acpi_pm_gpe_input(p.d, 9, true);
    ck_assert(p.sci->level);
    out(&p, GPE_STS, 4, 1 << 9);
    ck_assert(p.sci->level);
    acpi_pm_gpe_input(p.d, 9, false);
    ck_assert_uint_eq(in(&p, GPE_STS, 4), 1 << 9);
    out(&p, GPE_STS + 1, 1, 2);
    ck_assert(!p.sci->level);
    bench_free(p.b);
}
END_TEST

START_TEST(soft_off_ends_the_machine_and_other_sleeps_do_not)
{
    Pms p = pms_new("on");

    out(&p, CNT, 2, 1 << 13 | 3 << 10);
    ck_assert_uint_eq(p.b->m->requests, 0);
    out(&p, CNT, 2, 1 << 13);
    ck_assert_uint_eq(in(&p, CNT, 2), 0);
    ck_assert_int_eq(machine_main_loop(p.b->m), 0);
    ck_assert_int_eq(p.b->m->cause, SHUTDOWN_GUEST_OFF);
    bench_free(p.b);
}
END_TEST

START_TEST(state_moves_with_pending_events)
{
    Pms p = pms_new("on"), q = pms_new("on");

    out(&p, ACPI_SMI_CMD, 1, ACPI_CMD_ENABLE);
    out(&p, EN, 2, 0x100);
    acpi_pm_power_button(p.d);
    bench_copy_state(p.d, q.d);
    ck_assert(q.sci->level);
    ck_assert_uint_eq(in(&q, STS, 2), 0x100);
    bench_free(p.b);
    bench_free(q.b);
}
END_TEST

UNIT_MAIN("acpi_pm", the_smi_command_switches_acpi_mode, the_power_button_interrupts_when_enabled,
          the_timer_runs_at_its_frequency, the_top_bit_of_the_timer_interrupts,
          general_events_stay_while_their_input_is_high,
          soft_off_ends_the_machine_and_other_sleeps_do_not, state_moves_with_pending_events)
