/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of the PC against a guest that does anything: random accesses and wires while time
 * passes.  Nothing may crash, and at any moment the state must move to a fresh machine unchanged.
 */
#include "base/alloc.h"
#include "cpu/x86/x86.h"
#include "hw/char/serial16550.h"
#include "hw/irq/apic_bus.h"
#include "hw/irq/i8259.h"
#include "hw/irq/ioapic.h"
#include "hw/irq/lapic.h"
#include "hw/misc/reset_port.h"
#include "hw/timer/acpi_pm.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum { CPUS = 2, ISA_LINES = 16, ROUNDS = 60, STEPS = 1500 };

typedef struct Pc {
    Bench *b;
    BenchChar *chr;
    X86Cpu *cpu[CPUS];
    Device *bus, *pic, *ioapic, *hpet;
    IrqSplit isa[ISA_LINES];
} Pc;

static const struct {
    uint16_t at, size;
} ports[] = {
    {0x20, 2}, {0xa0, 2},  {0x4d0, 2}, {0x40, 4},  {0x61, 1}, {0x70, 2},  {0x600, 0x40},
    {0xb2, 2}, {0xcf9, 1}, {0x92, 1},  {0x3f8, 8}, {0xe9, 1}, {0x501, 2},
};
static const struct {
    uint32_t at, size;
} windows[] = {
    {HPET_BASE, 0x400},     {IOAPIC_BASE, 0x20},  {IOAPIC_BASE + 0x40, 4},
    {APIC_BUS_BASE, 0x400}, {APIC_BUS_BASE, MIB},
};

static uint64_t seed = 88172645463325252u;
static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}
static uint64_t below(uint64_t n)
{
    return random64() % n;
}

/* Small numbers, single bits and anything. */
static uint64_t random_value(void)
{
    switch (below(4)) {
    case 0: return below(4);
    case 1: return BIT(below(64));
    case 2: return below(256);
    default: return random64();
    }
}

static void build_apics(Pc *pc)
{
    Error err;

    pc->bus = bench_device(pc->b, "apic-bus", NULL);
    bench_map(pc->b, apic_bus_mmio(pc->bus), APIC_BUS_BASE);
    for (unsigned i = 0; i < CPUS; i++) {
        Device *d = device_new(pc->b->m, "apic", NULL, pc->bus, &err);
        char id[2] = {(char)('0' + i)};

        pc->cpu[i] = xalloc_aligned(64, sizeof(X86Cpu));
        pc->cpu[i]->cpu.index = i;
        ck_assert(device_set(d, "id", id, &err));
        lapic_connect(d, pc->bus, &pc->cpu[i]->cpu);
        bench_device_up(pc->b, d);
    }
    pc->ioapic = device_new(pc->b->m, "ioapic", NULL, pc->bus, &err);
    ioapic_connect(pc->ioapic, pc->bus);
    bench_device_up(pc->b, pc->ioapic);
    bench_map(pc->b, ioapic_mmio(pc->ioapic), IOAPIC_BASE);
}

static void build_pic(Pc *pc)
{
    pc->pic = bench_device(pc->b, "isa-pic", NULL);
    bench_map_io(pc->b, i8259_io(pc->pic, I8259_MASTER), 0x20);
    bench_map_io(pc->b, i8259_io(pc->pic, I8259_SLAVE), 0xa0);
    bench_map_io(pc->b, i8259_io(pc->pic, I8259_ELCR), 0x4d0);
    irq_connect(&pc->pic->irq, apic_bus_lint_input, pc->bus, 0);
    apic_bus_set_extint(pc->bus, pic_acknowledge_fn, pc->pic);
    for (unsigned n = 0; n < ISA_LINES; n++) {
        if (n != 2)
            irq_connect(&pc->isa[n].out[0], i8259_input, pc->pic, n);
        irq_connect(&pc->isa[n].out[1], ioapic_input, pc->ioapic, n);
    }
}

static void build_rest(Pc *pc)
{
    Bench *b = pc->b;
    Device *pit = bench_device(b, "isa-pit", NULL), *rtc = bench_device(b, "mc146818rtc", NULL);
    Device *pm = bench_device(b, "acpi-pm", NULL), *reset = bench_device(b, "reset-port", NULL);
    Device *com = bench_device_new(b, "isa-serial");

    pc->hpet = bench_device(b, "hpet", "intcap", "0xff0004", NULL);
    bench_map(b, hpet_mmio(pc->hpet), HPET_BASE);
    for (unsigned n = 16; n < IOAPIC_PINS; n++)
        irq_connect(hpet_line(pc->hpet, n), ioapic_input, pc->ioapic, n);
    irq_connect(hpet_line(pc->hpet, HPET_IRQ0), irq_split_input, &pc->isa[0], 0);
    irq_connect(hpet_line(pc->hpet, HPET_IRQ8), irq_split_input, &pc->isa[8], 0);
    irq_connect(&pit->irq, hpet_legacy_input, pc->hpet, 0);
    irq_connect(&rtc->irq, hpet_legacy_input, pc->hpet, 1);
    irq_connect(&pm->irq, irq_split_input, &pc->isa[9], 0);
    bench_map_io(b, pit_io(pit), 0x40);
    bench_map_io(b, pit_port61(pit), 0x61);
    bench_map_io(b, rtc_io(rtc), 0x70);
    region_unmap(acpi_pm_io(pm));
    bench_map_io(b, acpi_pm_io(pm), ACPI_PM_BASE);
    bench_map_io(b, acpi_pm_smi(pm), ACPI_SMI_CMD);
    bench_map_io(b, reset_port_cf9(reset), 0xcf9);
    bench_map_io(b, reset_port_92(reset), 0x92);
    serial_set_chardev(com, &pc->chr->chr);
    bench_device_up(b, com);
    irq_connect(&com->irq, irq_split_input, &pc->isa[4], 0);
    bench_device(b, "isa-debugcon", NULL);
    bench_device(b, "isa-debug-exit", NULL);
}

static Pc *pc_new(void)
{
    Pc *pc = xnew(Pc);

    pc->b = bench_new();
    pc->chr = bench_chardev(pc->b);
    build_apics(pc);
    build_pic(pc);
    build_rest(pc);
    return pc;
}

static void pc_free(Pc *pc)
{
    cpu_set_current(NULL);
    bench_free(pc->b);
    for (unsigned i = 0; i < CPUS; i++)
        xfree(pc->cpu[i]);
    xfree(pc);
}

static void poke_processor(X86Cpu *x)
{
    static const uint32_t msrs[] = {0x6e0, 0x7ff, 0x840};
    uint32_t msr = below(4) ? 0x800 + (uint32_t)below(0x40) : msrs[below(COUNT_OF(msrs))];
    uint64_t v = 0;

    switch (below(7)) {
    case 0: x->apic_ops->msr_read(x->apic, msr, &v); break;
    case 1: x->apic_ops->msr_write(x->apic, msr, random_value()); break;
    case 2:
        x->apic_ops->set_base(x->apic, below(3) ? 0xfee00000 | below(4) << 10 : random_value());
        break;
    case 3: x->apic_ops->set_tpr(x->apic, (uint8_t)random64()); break;
    case 4: x->apic_ops->reset(x->apic, true); break;
    default:
        if (x->apic_ops->pending(x->apic) >= 0)
            x->apic_ops->acknowledge(x->apic);
        break;
    }
}

static void poke(Pc *pc)
{
    unsigned size = 1u << below(4), i = (unsigned)below(COUNT_OF(ports)),
             k = (unsigned)below(COUNT_OF(windows));
    unsigned cpu = (unsigned)below(CPUS);

    cpu_set_current(&pc->cpu[cpu]->cpu);
    switch (below(10)) {
    case 0:
    case 1: bench_in(pc->b, ports[i].at + (unsigned)below(ports[i].size), MIN(size, 4u)); break;
    case 2:
    case 3:
    case 4:
        bench_out(pc->b, ports[i].at + (unsigned)below(ports[i].size), MIN(size, 4u),
                  random_value());
        break;
    case 5: bench_mem_read(pc->b, windows[k].at + below(windows[k].size), size); break;
    case 6:
    case 7:
        bench_mem_write(pc->b, windows[k].at + below(windows[k].size), size, random_value());
        break;
    case 8: poke_processor(pc->cpu[cpu]); break;
    default:
        pc->chr->room = below(3);
        bench_char_event(pc->chr, (CharEvent)below(4));
        if (pc->chr->in_len < 100)
            bench_char_send(pc->chr, "abcdefgh", 1 + below(8));
        irq_split_input(&pc->isa[11], 0, below(2));
        bench_run(pc->b);
        break;
    }
    if (!below(4))
        bench_step(pc->b, (int64_t)below(below(20) ? 100000 : 3000000000));
}

/* Siblings from @d on and what they own; @e: their twins. */
static void check_state_moves(Device *d, Device *e)
{
    for (; d; d = d->next, e = e->next) {
        ByteBuf first = {0}, second = {0};
        Error err;

        device_save(d, &first);
        ck_assert_msg(device_load(e, &first, &err), "%s: %s", d->cls->name, err.msg);
        device_save(e, &second);
        ck_assert_msg(first.len == second.len &&
                          (!first.len || !memcmp(first.p, second.p, first.len)),
                      "%s changed", d->cls->name);
        bytebuf_free(&first);
        bytebuf_free(&second);
        check_state_moves(d->children, e->children);
    }
}

START_TEST(nothing_a_guest_does_breaks_devices_or_their_state)
{
    Pc *pc = pc_new();

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned n = 0; n < STEPS; n++)
            poke(pc);
        Pc *other = pc_new();
        clock_set(other->b->m->vclock, clock_now(pc->b->m->vclock));
        clock_set(other->b->m->host_clock, clock_now(pc->b->m->host_clock));
        other->chr->room = 0;
        check_state_moves(pc->b->m->root->children, other->b->m->root->children);
        pc_free(other);
        if (round % 8 == 7)
            bench_reset(pc->b->m->root);
    }
    pc_free(pc);
}
END_TEST

UNIT_MAIN("hostile pc", nothing_a_guest_does_breaks_devices_or_their_state)
