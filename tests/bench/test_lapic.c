/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs, the I/O APIC and the bus between them. */
#include "base/alloc.h"
#include "cpu/x86/x86.h"
#include "hw/irq/apic_bus.h"
#include "hw/irq/ioapic.h"
#include "hw/irq/lapic.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

enum {
    CPUS = 3,
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR2 = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    TMICT = 0x380,
    TMCCT = 0x390,
    DCR = 0x3e0
};
enum { X2APIC = 0xd00, BASE = 0xfee00000 };

typedef struct Apics {
    Bench *b;
    X86Cpu *cpu[CPUS];
    Device *bus, *apic[CPUS], *ioapic;
} Apics;

static Apics *apics_new(void)
{
    Apics *a = xnew(Apics);
    Error err;

    a->b = bench_new();
    a->bus = bench_device(a->b, "apic-bus", NULL);
    bench_map(a->b, apic_bus_mmio(a->bus), APIC_BUS_BASE);
    for (unsigned i = 0; i < CPUS; i++) {
        char id[2] = {(char)('0' + i)};

        a->cpu[i] = xalloc_aligned(64, sizeof(X86Cpu));
        a->cpu[i]->cpu.index = i;
        a->apic[i] = device_new(a->b->m, "apic", NULL, a->bus, &err);
        ck_assert(device_set(a->apic[i], "id", id, &err));
        lapic_connect(a->apic[i], a->bus, &a->cpu[i]->cpu);
        bench_device_up(a->b, a->apic[i]);
    }
    a->ioapic = device_new(a->b->m, "ioapic", NULL, a->bus, &err);
    ioapic_connect(a->ioapic, a->bus);
    bench_device_up(a->b, a->ioapic);
    bench_map(a->b, ioapic_mmio(a->ioapic), IOAPIC_BASE);
    return a;
}

static void apics_free(Apics *a)
{
    cpu_set_current(NULL);
    bench_free(a->b);
    for (unsigned i = 0; i < CPUS; i++)
        xfree(a->cpu[i]);
    xfree(a);
}

static uint32_t get(Apics *a, unsigned i, unsigned at)
{
    cpu_set_current(&a->cpu[i]->cpu);
    return (uint32_t)bench_mem_read(a->b, BASE + at, 4);
}

static void set(Apics *a, unsigned i, unsigned at, uint32_t v)
{
    cpu_set_current(&a->cpu[i]->cpu);
    bench_mem_write(a->b, BASE + at, 4, v);
}

static int pending(Apics *a, unsigned i)
{
    return a->cpu[i]->apic_ops->pending(a->cpu[i]->apic);
}
static int acknowledge(Apics *a, unsigned i)
{
    return a->cpu[i]->apic_ops->acknowledge(a->cpu[i]->apic);
}

static uint32_t requests(Apics *a, unsigned i)
{
    uint32_t r = a->cpu[i]->cpu.request;

    a->cpu[i]->cpu.request = 0;
    return r;
}

static bool rdmsr(Apics *a, unsigned i, uint32_t msr, uint64_t *v)
{
    return a->cpu[i]->apic_ops->msr_read(a->cpu[i]->apic, msr, v);
}

static bool wrmsr(Apics *a, unsigned i, uint32_t msr, uint64_t v)
{
    return a->cpu[i]->apic_ops->msr_write(a->cpu[i]->apic, msr, v);
}

static bool set_base(Apics *a, unsigned i, uint64_t v)
{
    return a->cpu[i]->apic_ops->set_base(a->cpu[i]->apic, v);
}

static void enable_all(Apics *a)
{
    for (unsigned i = 0; i < CPUS; i++) {
        set(a, i, SVR, 0x1ff);
        set(a, i, LDR, 1u << (24 + i));
        requests(a, i);
    }
}

static void redirect(Apics *a, unsigned pin, uint64_t entry)
{
    bench_mem_write(a->b, IOAPIC_BASE, 4, 0x11 + pin * 2);
    bench_mem_write(a->b, IOAPIC_BASE + 0x10, 4, entry >> 32);
    bench_mem_write(a->b, IOAPIC_BASE, 4, 0x10 + pin * 2);
    bench_mem_write(a->b, IOAPIC_BASE + 0x10, 4, (uint32_t)entry);
}

static uint32_t redirection(Apics *a, unsigned pin)
{
    bench_mem_write(a->b, IOAPIC_BASE, 4, 0x10 + pin * 2);
    return (uint32_t)bench_mem_read(a->b, IOAPIC_BASE + 0x10, 4);
}

START_TEST(every_processor_sees_its_own_registers)
{
    Apics *a = apics_new();

    for (unsigned i = 0; i < CPUS; i++)
        ck_assert_uint_eq(get(a, i, ID), i << 24);
    ck_assert_uint_eq(get(a, 0, VERSION) & 0xff, 0x14);
    ck_assert_uint_eq(get(a, 0, SVR), 0xff);
    ck_assert_uint_eq(get(a, 0, LVT_TIMER), 0x10000);
    set(a, 1, TPR, 0x40);
    ck_assert_uint_eq(get(a, 1, TPR), 0x40);
    ck_assert_uint_eq(get(a, 0, TPR), 0);
    apics_free(a);
}
END_TEST

START_TEST(vectors_are_served_by_priority_and_ended_in_order)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 0, ICR, 0x40000 | 0x41); /* self */
    ck_assert_uint_eq(requests(a, 0), REQ_IRQ);
    set(a, 0, ICR, 0x40000 | 0x72);
    ck_assert_int_eq(pending(a, 0), 0x72);
    ck_assert_int_eq(acknowledge(a, 0), 0x72);
    ck_assert_uint_eq(get(a, 0, PPR), 0x70);
    ck_assert_int_eq(pending(a, 0), -1);
    ck_assert_int_eq(acknowledge(a, 0), -1);
    set(a, 0, ICR, 0x40000 | 0x91);
    ck_assert_int_eq(acknowledge(a, 0), 0x91);
    set(a, 0, EOI, 0);
    ck_assert_uint_eq(get(a, 0, ISR + 0x30), 1 << 0x12);
    ck_assert_int_eq(pending(a, 0), -1);
    set(a, 0, EOI, 0);
    ck_assert_int_eq(pending(a, 0), 0x41);
    set(a, 0, TPR, 0x40);
    ck_assert_int_eq(pending(a, 0), -1);
    a->cpu[0]->apic_ops->set_tpr(a->cpu[0]->apic, 3);
    ck_assert_int_eq(pending(a, 0), 0x41);
    ck_assert_uint_eq(get(a, 0, IRR + 0x20), 2);
    apics_free(a);
}
END_TEST

START_TEST(a_disabled_apic_takes_nothing_but_nmi_init_and_sipi)
{
    Apics *a = apics_new();

    set(a, 0, ICR2, 1 << 24);
    set(a, 0, ICR, 0x55);
    ck_assert_uint_eq(requests(a, 1), 0);
    set(a, 0, ICR, 0x400);
    ck_assert_uint_eq(requests(a, 1), REQ_NMI);
    set(a, 0, ICR, 0x4500);
    ck_assert_uint_eq(requests(a, 1), REQ_INIT);
    set(a, 0, ICR, 0x8500); /* de-assert */
    ck_assert_uint_eq(requests(a, 1), 0);
    set(a, 0, ICR, 0x4600 | 0x9a);
    ck_assert_uint_eq(requests(a, 1), REQ_SIPI);
    ck_assert_uint_eq(a->cpu[1]->sipi_vector, 0x9a);
    apics_free(a);
}
END_TEST

START_TEST(messages_reach_whom_they_name)
{
    Apics *a = apics_new();
    static const struct {
        uint32_t icr2, icr;
        unsigned reached;
    } cases[] = {
        {2u << 24, 0x60, 4},                                      /* physical */
        {0xffu << 24, 0x60, 7},                                   /* everyone */
        {6u << 24, 0x860, 6},                                     /* logical, flat */
        {0, 0x40060, 1},        {0, 0x80060, 7}, {0, 0xc0060, 6}, /* shorthands */
        {9u << 24, 0x60, 0},                                      /* nobody */
    };

    enable_all(a);
    for (unsigned n = 0; n < COUNT_OF(cases); n++) {
        set(a, 0, ICR2, cases[n].icr2);
        set(a, 0, ICR, cases[n].icr);
        for (unsigned i = 0; i < CPUS; i++) {
            bool reached = cases[n].reached >> i & 1;

            ck_assert_int_eq(pending(a, i), reached ? 0x60 : -1);
            if (reached) {
                acknowledge(a, i);
                set(a, i, EOI, 0);
            }
        }
    }
    apics_free(a);
}
END_TEST

START_TEST(cluster_destinations_match_cluster_and_member)
{
    Apics *a = apics_new();

    enable_all(a);
    for (unsigned i = 0; i < CPUS; i++) {
        set(a, i, DFR, 0x0fffffff);
        set(a, i, LDR, (i == 2 ? 0x21u : 0x11u << i) << 24); /* 0x11, 0x22, 0x21 */
    }
    set(a, 0, ICR2, 0x23u << 24);
    set(a, 0, ICR, 0x861);
    ck_assert_int_eq(pending(a, 0), -1);
    ck_assert_int_eq(pending(a, 1), 0x61);
    ck_assert_int_eq(pending(a, 2), 0x61);
    apics_free(a);
}
END_TEST

START_TEST(lowest_priority_goes_to_the_idlest_and_round_among_equals)
{
    Apics *a = apics_new();
    unsigned hits[CPUS] = {0};

    enable_all(a);
    set(a, 1, TPR, 0x50);
    for (unsigned n = 0; n < 4; n++) {
        apic_bus_msi(a->bus, 0xfee07004 | 1 << 3, 0x100 | 0x70);
        for (unsigned i = 0; i < CPUS; i++) {
            if (pending(a, i) >= 0) {
                hits[i]++;
                acknowledge(a, i);
                set(a, i, EOI, 0);
            }
        }
    }
    ck_assert_uint_eq(hits[0], 2);
    ck_assert_uint_eq(hits[1], 0);
    ck_assert_uint_eq(hits[2], 2);
    apics_free(a);
}
END_TEST

START_TEST(a_write_to_the_message_window_is_an_msi)
{
    Apics *a = apics_new();

    enable_all(a);
    cpu_set_current(&a->cpu[0]->cpu);
    bench_mem_write(a->b, 0xfee02000, 4, 0x4077);
    ck_assert_int_eq(pending(a, 2), 0x77);
    ck_assert_int_eq(pending(a, 0), -1);
    apics_free(a);
}
END_TEST

START_TEST(wrong_vectors_and_registers_show_in_the_error_status)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 0, LVT_ERROR, 0xfe);
    set(a, 0, ICR, 0x40005);
    ck_assert_int_eq(pending(a, 0), 0xfe);
    ck_assert_uint_eq(get(a, 0, ESR), 0);
    set(a, 0, ESR, 0);
    ck_assert_uint_eq(get(a, 0, ESR), 0x20);
    get(a, 0, 0x40);
    set(a, 0, ESR, 0);
    ck_assert_uint_eq(get(a, 0, ESR), 0x80);
    set(a, 0, ESR, 0);
    ck_assert_uint_eq(get(a, 0, ESR), 0);
    set(a, 1, LVT_ERROR, 3); /* an error that would be one itself */
    apic_bus_msi(a->bus, 0xfee01000, 2);
    set(a, 1, ESR, 0);
    ck_assert_uint_eq(get(a, 1, ESR), 0x40);
    apics_free(a);
}
END_TEST

START_TEST(the_timer_counts_down_once)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 0, DCR, 0x3); /* by 16 */
    set(a, 0, LVT_TIMER, 0xec);
    set(a, 0, TMICT, 1000);
    bench_step(a->b, 8000);
    ck_assert_uint_eq(get(a, 0, TMCCT), 500);
    bench_step(a->b, 7999);
    ck_assert_int_eq(pending(a, 0), -1);
    bench_step(a->b, 1);
    ck_assert_int_eq(pending(a, 0), 0xec);
    ck_assert_uint_eq(get(a, 0, TMCCT), 0);
    acknowledge(a, 0);
    set(a, 0, EOI, 0);
    bench_step(a->b, 1000000);
    ck_assert_int_eq(pending(a, 0), -1);
    apics_free(a);
}
END_TEST

typedef struct Flow {
    Clock *clock;
    _Atomic bool done;
} Flow;

static void *let_time_flow(void *arg)
{
    Flow *f = arg;

    while (!f->done)
        clock_step(f->clock, 7);
    return NULL;
}

START_TEST(a_count_that_runs_out_while_it_is_written_is_not_lost)
{
    Apics *a = apics_new();
    Flow f = {.clock = a->b->m->vclock};
    pthread_t t;

    enable_all(a);
    set(a, 0, DCR, 0xb); /* by 1 */
    set(a, 0, LVT_TIMER, 0xec);
    ck_assert_int_eq(pthread_create(&t, NULL, let_time_flow, &f), 0);
    for (unsigned n = 0; n < 2000; n++) {
        int64_t start = clock_now(f.clock);

        set(a, 0, TMICT, 1 + n % 10);
        while (pending(a, 0) != 0xec)
            ck_assert_int_lt(clock_now(f.clock) - start, 2000000000);
        acknowledge(a, 0);
        set(a, 0, EOI, 0);
    }
    f.done = true;
    pthread_join(t, NULL);
    apics_free(a);
}
END_TEST

START_TEST(the_timer_is_periodic_and_goes_on_at_a_new_divider)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 0, DCR, 0xb); /* by 1 */
    set(a, 0, LVT_TIMER, 0x200ec);
    set(a, 0, TMICT, 100000);
    for (unsigned n = 0; n < 3; n++) {
        bench_step(a->b, 100000);
        ck_assert_int_eq(acknowledge(a, 0), 0xec);
        set(a, 0, EOI, 0);
    }
    bench_step(a->b, 40000);
    set(a, 0, DCR, 0x0); /* by 2 */
    ck_assert_uint_eq(get(a, 0, TMCCT), 60000);
    bench_step(a->b, 119999);
    ck_assert_int_eq(pending(a, 0), -1);
    bench_step(a->b, 1);
    ck_assert_int_eq(pending(a, 0), 0xec);
    set(a, 0, TMICT, 0);
    acknowledge(a, 0);
    set(a, 0, EOI, 0);
    bench_step(a->b, 1000000);
    ck_assert_int_eq(pending(a, 0), -1);
    apics_free(a);
}
END_TEST

START_TEST(the_deadline_fires_when_the_tsc_reaches_it)
{
    Apics *a = apics_new();
    uint64_t v = 1, hz = clock_tsc_hz(a->b->m->vclock);

    enable_all(a);
    a->cpu[0]->tsc_offset = 500;
    ck_assert(wrmsr(a, 0, 0x6e0, 12345)); /* another mode: ignored */
    ck_assert(rdmsr(a, 0, 0x6e0, &v));
    ck_assert_uint_eq(v, 0);
    set(a, 0, LVT_TIMER, 0x400ed);
    wrmsr(a, 0, 0x6e0, 500 + hz / 1000);
    bench_step(a->b, 999999);
    ck_assert_int_eq(pending(a, 0), -1);
    bench_step(a->b, 2);
    ck_assert_int_eq(acknowledge(a, 0), 0xed);
    set(a, 0, EOI, 0);
    rdmsr(a, 0, 0x6e0, &v);
    ck_assert_uint_eq(v, 0);
    wrmsr(a, 0, 0x6e0, 1); /* long ago */
    ck_assert_int_eq(pending(a, 0), 0xed);
    apics_free(a);
}
END_TEST

START_TEST(x2apic_has_wide_ids_and_refuses_what_is_not_there)
{
    Apics *a = apics_new();
    uint64_t v = 0;

    ck_assert(!rdmsr(a, 0, 0x802, &v));
    ck_assert(!set_base(a, 0, BASE | 0x400));
    for (unsigned i = 0; i < CPUS; i++)
        ck_assert(set_base(a, i, BASE | X2APIC));
    ck_assert(!set_base(a, 0, BASE | 0x900));
    for (unsigned i = 0; i < CPUS; i++)
        ck_assert(wrmsr(a, i, 0x80f, 0x1ff));
    ck_assert(rdmsr(a, 2, 0x802, &v) && v == 2);
    ck_assert(rdmsr(a, 2, 0x80d, &v) && v == 4);
    ck_assert(!wrmsr(a, 2, 0x80d, 4) && !wrmsr(a, 2, 0x80b, 1) && !rdmsr(a, 2, 0x80e, &v) &&
              !rdmsr(a, 2, 0x831, &v));
    ck_assert_uint_eq(get(a, 0, ID), 0xffffffff); /* no MMIO */
    wrmsr(a, 0, 0x830, 2ull << 32 | 0x62);
    ck_assert_int_eq(pending(a, 2), 0x62);
    wrmsr(a, 0, 0x830, 6ull << 32 | 0x863); /* logical: cluster 0, members 1 and 2 */
    ck_assert_int_eq(acknowledge(a, 1), 0x63);
    ck_assert_int_eq(acknowledge(a, 2), 0x63);
    wrmsr(a, 0, 0x830, 0xffffffffull << 32 | 0x84);
    ck_assert_int_eq(pending(a, 0), 0x84);
    wrmsr(a, 0, 0x83f, 0x95);
    ck_assert_int_eq(pending(a, 0), 0x95);
    ck_assert(set_base(a, 0, BASE | 0x100)); /* off: back to the start */
    ck_assert(set_base(a, 0, BASE | 0x900));
    ck_assert_uint_eq(get(a, 0, SVR), 0xff);
    apics_free(a);
}
END_TEST

static int ack_calls;
static int fake_ack(void *pic)
{
    apic_bus_lint_input(pic, 0, false);
    return 0x30 + ack_calls++;
}

START_TEST(external_interrupts_come_through_lint0)
{
    Apics *a = apics_new();

    ack_calls = 0;
    apic_bus_set_extint(a->bus, fake_ack, a->bus);
    apic_bus_lint_input(a->bus, 0, true); /* as after reset */
    ck_assert_int_ge(pending(a, 0), 0);
    ck_assert_int_eq(pending(a, 1), -1);
    ck_assert_int_eq(acknowledge(a, 0), 0x30);
    ck_assert_int_eq(pending(a, 0), -1);
    enable_all(a);
    set(a, 0, LVT_LINT0, 0x10700);
    apic_bus_lint_input(a->bus, 0, true);
    ck_assert_int_eq(pending(a, 0), -1);
    set(a, 0, LVT_LINT0, 0x700);
    ck_assert_int_eq(acknowledge(a, 0), 0x31);
    set(a, 0, LVT_LINT1, 0x400);
    requests(a, 0);
    apic_bus_lint_input(a->bus, 1, true);
    ck_assert_uint_eq(requests(a, 0), REQ_NMI);
    apics_free(a);
}
END_TEST

START_TEST(ioapic_edges_count_once_and_are_lost_while_masked)
{
    Apics *a = apics_new();

    enable_all(a);
    redirect(a, 4, 1ull << 56 | 0x54);
    ioapic_input(a->ioapic, 4, true);
    ck_assert_int_eq(acknowledge(a, 1), 0x54);
    set(a, 1, EOI, 0);
    ck_assert_int_eq(pending(a, 1), -1);
    ioapic_input(a->ioapic, 4, false);
    redirect(a, 4, 1ull << 56 | 0x10054);
    ioapic_input(a->ioapic, 4, true);
    redirect(a, 4, 1ull << 56 | 0x54);
    ck_assert_int_eq(pending(a, 1), -1);
    apics_free(a);
}
END_TEST

START_TEST(what_became_of_an_edge_is_told)
{
    Apics *a = apics_new();

    enable_all(a);
    redirect(a, 4, 1ull << 56 | 0x54);
    ioapic_input(a->ioapic, 4, true);
    ck_assert_int_eq(ioapic_edge(a->ioapic, 4), EDGE_WAITS);
    ck_assert_int_eq(acknowledge(a, 1), 0x54);
    ck_assert_int_eq(ioapic_edge(a->ioapic, 4), EDGE_TAKEN);
    redirect(a, 4, 1ull << 56 | 0x754);
    ck_assert_int_eq(ioapic_edge(a->ioapic, 4), EDGE_NOWHERE); /* ExtINT: the PIC's */
    redirect(a, 4, 200ull << 56 | 0x54);
    ck_assert_int_eq(ioapic_edge(a->ioapic, 4), EDGE_NOWHERE);
    redirect(a, 4, 1ull << 56 | 0x10054);
    ck_assert_int_eq(ioapic_edge(a->ioapic, 4), EDGE_NOWHERE);
    apics_free(a);
}
END_TEST

START_TEST(ioapic_levels_come_again_after_eoi_while_high)
{
    Apics *a = apics_new();

    enable_all(a);
    redirect(a, 17, 0x8065);
    ioapic_input(a->ioapic, 17, true);
    ck_assert_uint_eq(redirection(a, 17), 0xc065);
    ck_assert_int_eq(acknowledge(a, 0), 0x65);
    ck_assert_int_eq(pending(a, 0), -1);
    set(a, 0, EOI, 0);
    ck_assert_int_eq(acknowledge(a, 0), 0x65);
    ioapic_input(a->ioapic, 17, false);
    set(a, 0, EOI, 0);
    ck_assert_int_eq(pending(a, 0), -1);
    ck_assert_uint_eq(redirection(a, 17), 0x8065);
    apics_free(a);
}
END_TEST

START_TEST(eoi_broadcasts_can_be_suppressed_and_replaced_by_the_eoi_register)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 0, SVR, 0x11ff);
    redirect(a, 9, 0x8059);
    ioapic_input(a->ioapic, 9, true);
    acknowledge(a, 0);
    set(a, 0, EOI, 0);
    ck_assert_uint_eq(redirection(a, 9), 0xc059);
    ck_assert_int_eq(pending(a, 0), -1);
    bench_mem_write(a->b, IOAPIC_BASE + 0x40, 4, 0x59);
    ck_assert_int_eq(pending(a, 0), 0x59);
    apics_free(a);
}
END_TEST

START_TEST(ioapic_describes_itself)
{
    Apics *a = apics_new();

    bench_mem_write(a->b, IOAPIC_BASE, 4, 1);
    ck_assert_uint_eq(bench_mem_read(a->b, IOAPIC_BASE + 0x10, 4), 0x170020);
    ck_assert_uint_eq(redirection(a, 0), 0x10000);
    redirect(a, 0, ~0ull & ~(1ull << 16));
    ck_assert_uint_eq(redirection(a, 0) & 0xfffeffff, 0xafff);
    apics_free(a);
}
END_TEST

START_TEST(init_keeps_id_and_base)
{
    Apics *a = apics_new();

    enable_all(a);
    set(a, 1, LVT_LINT0, 0x123);
    set_base(a, 1, BASE | X2APIC);
    a->cpu[1]->apic_ops->reset(a->cpu[1]->apic, true);
    uint64_t v = 0;
    ck_assert_uint_eq(a->cpu[1]->apic_ops->base(a->cpu[1]->apic), BASE | X2APIC);
    ck_assert(rdmsr(a, 1, 0x835, &v) && v == 0x10000);
    a->cpu[1]->apic_ops->reset(a->cpu[1]->apic, false);
    ck_assert_uint_eq(a->cpu[1]->apic_ops->base(a->cpu[1]->apic), BASE | 0x800);
    ck_assert_uint_eq(a->cpu[0]->apic_ops->base(a->cpu[0]->apic), BASE | 0x900);
    apics_free(a);
}
END_TEST

typedef struct Racer {
    Apics *a;
    unsigned i, served;
} Racer;

/* A processor that sends to the others, and serves some of what it gets. */
static void *race(void *arg)
{
    Racer *r = arg;

    for (unsigned n = 0; n < 2000; n++) {
        set(r->a, r->i, ICR, 0xc0000 | (0x40 + r->i));
        ioapic_input(r->a->ioapic, 16 + r->i, n & 1);
        for (unsigned k = 0; k < 3 && acknowledge(r->a, r->i) >= 0; k++) {
            set(r->a, r->i, EOI, 0);
            r->served++;
        }
    }
    return NULL;
}

START_TEST(processors_may_send_to_each_other_at_once)
{
    Apics *a = apics_new();
    Racer r[CPUS];
    pthread_t t[CPUS];

    enable_all(a);
    for (unsigned i = 0; i < CPUS; i++) {
        redirect(a, 16 + i, (uint64_t)((i + 1) % CPUS) << 56 | 0x8080 | i);
        r[i] = (Racer){.a = a, .i = i};
    }
    for (unsigned i = 0; i < CPUS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, race, &r[i]), 0);
    for (unsigned i = 0; i < CPUS; i++)
        pthread_join(t[i], NULL);
    for (unsigned i = 0; i < CPUS;
         i++) { /* one that was through before the others began has it all pending */
        r[i].served += acknowledge(a, i) >= 0;
        ck_assert_uint_gt(r[i].served, 0);
    }
    apics_free(a);
}
END_TEST

START_TEST(state_moves_with_what_is_pending_and_the_timer)
{
    Apics *a = apics_new(), *z = apics_new();

    enable_all(a);
    set(a, 0, DCR, 0xb);
    set(a, 0, LVT_TIMER, 0xec);
    set(a, 0, TMICT, 100000);
    bench_step(a->b, 40000);
    bench_step(z->b, 40000);
    set(a, 0, ICR, 0x40041);
    redirect(a, 17, 0x8065);
    ioapic_input(a->ioapic, 17, true);
    bench_copy_state(a->apic[0], z->apic[0]);
    bench_copy_state(a->ioapic, z->ioapic);
    ck_assert_int_eq(acknowledge(z, 0), 0x65);
    set(z, 0, EOI, 0);
    ck_assert_int_eq(acknowledge(z, 0), 0x65);
    bench_step(z->b, 60000);
    ck_assert_int_eq(acknowledge(z, 0), 0xec);
    set(z, 0, EOI, 0);
    set(z, 0, EOI, 0);
    ck_assert_int_eq(acknowledge(z, 0), 0x65);
    apics_free(a);
    apics_free(z);
}
END_TEST

UNIT_MAIN("lapic", every_processor_sees_its_own_registers,
          vectors_are_served_by_priority_and_ended_in_order,
          a_disabled_apic_takes_nothing_but_nmi_init_and_sipi, messages_reach_whom_they_name,
          cluster_destinations_match_cluster_and_member,
          lowest_priority_goes_to_the_idlest_and_round_among_equals,
          a_write_to_the_message_window_is_an_msi,
          wrong_vectors_and_registers_show_in_the_error_status, the_timer_counts_down_once,
          a_count_that_runs_out_while_it_is_written_is_not_lost,
          the_timer_is_periodic_and_goes_on_at_a_new_divider,
          the_deadline_fires_when_the_tsc_reaches_it,
          x2apic_has_wide_ids_and_refuses_what_is_not_there, external_interrupts_come_through_lint0,
          ioapic_edges_count_once_and_are_lost_while_masked, what_became_of_an_edge_is_told,
          ioapic_levels_come_again_after_eoi_while_high,
          eoi_broadcasts_can_be_suppressed_and_replaced_by_the_eoi_register,
          ioapic_describes_itself, init_keeps_id_and_base,
          processors_may_send_to_each_other_at_once, state_moves_with_what_is_pending_and_the_timer)
