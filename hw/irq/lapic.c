/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic - a processor's local APIC: xAPIC, x2APIC, timer, TSC deadline
 *
 * SDM vol. 3 ch. 11 "Advanced programmable interrupt controller".
 *
 * 1. All state is guarded by the bus lock; `deliverable` alone is read without it.
 * 2. `deliverable` follows from the rest: every change ends in lapic_update().
 * 3. The vCPU is told by cpu_request(); it asks pending() and acknowledge() when it is ready.
 */
#include "hw/irq/lapic.h"

#include "base/log.h"
#include "cpu/x86/x86.h"
#include "hw/irq/apic_bus.h"

/* Register numbers: MMIO offset / 16, MSR - 0x800. */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_TMICT = 0x38,
    REG_TMCCT = 0x39,
    REG_DCR = 0x3e,
    REG_SELF_IPI = 0x3f,
};
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
enum { LVT_REMOTE_IRR = 1 << 14, LVT_LEVEL = 1 << 15, LVT_MASKED = 1 << 16 };
enum { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_DEADLINE }; /* LVT_TIMER bits 17-18 */
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECEIVE_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
enum { SVR_ENABLE = 1 << 8, SVR_NO_EOI_BROADCAST = 1 << 12 };
enum { BASE_BSP = 1 << 8, BASE_X2APIC = 1 << 10, BASE_ENABLE = 1 << 11 };
enum { MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, MSR_X2APIC_END = 0x840 };

#define VERSION                                                                                    \
    (0x14u | (LVT_COUNT - 1) << 16 | 1u << 24) /* integrated; may suppress EOI broadcasts */
#define BASE_ADDRESS(base) ((base) & ~(uint64_t)0xfff)
#define DELIVER_EXTINT 256        /* pending(): the vector is not known before the INTA cycle */
#define MAX_START (INT64_MAX / 4) /* of Lapic.timer_start, so that sums do not overflow */
#define MIN_PERIOD_NS 20000       /* a guest may not make the host tick faster than this */

static const uint32_t lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

typedef struct Lapic {
    Device dev;
    Device *bus;
    Lock *lock; /* the bus's */
    Cpu *cpu;
    ApicPort port; /* derived */
    Timer timer;
    _Atomic int deliverable; /* vector, DELIVER_EXTINT, or -1 */
    uint32_t id;             /* property */
    uint64_t base;           /* IA32_APIC_BASE */
    uint32_t tpr, svr, ldr, dfr, esr, errors, tmict, dcr;
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t lvt[LVT_COUNT];
    uint64_t icr, tsc_deadline;
    int64_t timer_start; /* when the count was tmict */
    int64_t timer_due;   /* next expiry, -1: none */
    bool lint[2];        /* levels of the pins */
    bool extint;         /* an ExtINT message waits for its INTA */
} Lapic;

/* ---- vector bit maps ---- */

static bool map_test(const uint32_t *map, unsigned v)
{
    return map[v / 32] >> (v % 32) & 1;
}

static void map_assign(uint32_t *map, unsigned v, bool on)
{
    map[v / 32] = (map[v / 32] & ~(1u << v % 32)) | (uint32_t)on << v % 32;
}

static int map_highest(const uint32_t *map)
{
    for (int i = 7; i >= 0; i--)
        if (map[i])
            return i * 32 + 31 - __builtin_clz(map[i]);
    return -1;
}

/* ---- state to wires ---- */

static bool lapic_is_enabled(const Lapic *l)
{
    return l->base & BASE_ENABLE;
}
static bool lapic_is_x2apic(const Lapic *l)
{
    return l->base & BASE_X2APIC;
}
static unsigned lvt_mode(uint32_t lvt)
{
    return lvt >> 8 & 7;
}
static unsigned lapic_timer_mode(const Lapic *l)
{
    return l->lvt[LVT_TIMER] >> 17 & 3;
}

/* Task and in-service priority, 11.8.3.1. */
static uint32_t lapic_ppr(const Lapic *l)
{
    int isrv = map_highest(l->isr);
    uint32_t service = isrv < 0 ? 0 : (uint32_t)isrv & 0xf0;

    return (l->tpr & 0xf0) >= service ? l->tpr : service;
}

/* In x2APIC mode the logical id follows from the id: 11.12.10.2. */
static uint32_t lapic_ldr(const Lapic *l)
{
    return lapic_is_x2apic(l) ? l->id >> 4 << 16 | 1u << (l->id & 15) : l->ldr;
}

/* A pin that asks for an INTA cycle.  With the APIC off LINT0 is the processor's INTR pin. */
static bool lapic_extint(const Lapic *l)
{
    if (!lapic_is_enabled(l))
        return l->lint[0];
    for (unsigned n = 0; n < 2; n++) {
        uint32_t lvt = l->lvt[LVT_LINT0 + n];

        if (l->lint[n] && !(lvt & LVT_MASKED) && lvt_mode(lvt) == APIC_EXTINT)
            return true;
    }
    return l->extint;
}

static int lapic_deliverable(const Lapic *l)
{
    int v = map_highest(l->irr);

    if (lapic_extint(l))
        return DELIVER_EXTINT;
    if (!lapic_is_enabled(l) || v < 0 || ((uint32_t)v & 0xf0) <= (lapic_ppr(l) & 0xf0))
        return -1;
    return v;
}

static void lapic_update(Lapic *l)
{
    ApicPort *p = &l->port;
    int v = lapic_deliverable(l);

    p->enabled = lapic_is_enabled(l);
    p->soft_enabled = l->svr & SVR_ENABLE;
    p->x2apic = lapic_is_x2apic(l);
    p->cluster = l->dfr >> 28 == 0;
    p->id = l->id;
    p->ldr = p->x2apic ? lapic_ldr(l) : l->ldr >> 24;
    p->priority = lapic_ppr(l) & 0xff;
    atomic_store(&l->deliverable, v);
    if (v >= 0)
        cpu_request(l->cpu, REQ_IRQ);
}

/* ---- accepting interrupts ---- */

static void lapic_error(Lapic *l, uint32_t bit);

static void lapic_accept_fixed(Lapic *l, uint8_t vector, bool level)
{
    if (vector < 16) {
        lapic_error(l, ESR_RECEIVE_VECTOR);
        return;
    }
    map_assign(l->irr, vector, true);
    map_assign(l->tmr, vector, level);
}

static void lapic_error(Lapic *l, uint32_t bit)
{
    uint32_t lvt = l->lvt[LVT_ERROR];

    l->errors |= bit;
    if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
        lapic_accept_fixed(l, lvt & 0xff, false);
}

static void lapic_accept_locked(Lapic *l, const ApicMessage *msg)
{
    switch (msg->mode) {
    case APIC_FIXED:
    case APIC_LOWEST: lapic_accept_fixed(l, msg->vector, msg->level); break;
    case APIC_SMI: cpu_request(l->cpu, REQ_SMI); break;
    case APIC_NMI: cpu_request(l->cpu, REQ_NMI); break;
    case APIC_INIT: /* a SIPI from before it is void */
        cpu_request_clear(l->cpu, REQ_SIPI);
        cpu_request(l->cpu, REQ_INIT);
        break;
    case APIC_SIPI:
        X86(l->cpu)->sipi_vector = msg->vector;
        cpu_request(l->cpu, REQ_SIPI);
        break;
    case APIC_EXTINT: l->extint = true; break;
    default: log_guest("apic: message with reserved delivery mode %u\n", msg->mode); return;
    }
    lapic_update(l);
}

static void lapic_port_accept(void *apic, const ApicMessage *msg)
{
    lapic_accept_locked(apic, msg);
}

/* A local source fires. */
static void lapic_local(Lapic *l, unsigned entry)
{
    uint32_t lvt = l->lvt[entry];
    bool has_mode = entry != LVT_TIMER && entry != LVT_ERROR;
    ApicMessage msg = {.vector = lvt & 0xff, .mode = has_mode ? lvt_mode(lvt) : APIC_FIXED};

    if (lvt & LVT_MASKED)
        return;
    if (msg.mode == APIC_SIPI || msg.mode == APIC_LOWEST || msg.mode == APIC_EXTINT)
        return; /* reserved here; ExtINT on LINT pins is a level: lapic_extint() */
    lapic_accept_locked(l, &msg);
}

/* A level-triggered fixed LINT pin asks again until its EOI finds it low. */
static void lapic_lint_level(Lapic *l, unsigned n)
{
    uint32_t *lvt = &l->lvt[LVT_LINT0 + n];

    if (!l->lint[n] || (*lvt & (LVT_MASKED | LVT_REMOTE_IRR)))
        return;
    *lvt |= LVT_REMOTE_IRR;
    lapic_accept_fixed(l, *lvt & 0xff, true);
}

static bool lvt_is_level(uint32_t lvt)
{
    return (lvt & LVT_LEVEL) && lvt_mode(lvt) == APIC_FIXED;
}

static bool lapic_port_requests(void *apic, uint8_t vector)
{
    const Lapic *l = apic;

    return l->irr[vector / 32] >> vector % 32 & 1;
}

static void lapic_port_lint(void *apic, unsigned n, bool level)
{
    Lapic *l = apic;
    bool rises = level && !l->lint[n];

    l->lint[n] = level;
    if (!lapic_is_enabled(l)) {
        if (rises && n == 1)
            cpu_request(l->cpu, REQ_NMI);
    } else if (lvt_is_level(l->lvt[LVT_LINT0 + n])) {
        lapic_lint_level(l, n);
    } else if (rises) {
        lapic_local(l, LVT_LINT0 + n);
    }
    lapic_update(l);
}

static void lapic_eoi(Lapic *l)
{
    int v = map_highest(l->isr);

    if (v < 0)
        return;
    map_assign(l->isr, (unsigned)v, false);
    if (map_test(l->tmr, (unsigned)v)) {
        for (unsigned n = 0; n < 2; n++) {
            uint32_t *lvt = &l->lvt[LVT_LINT0 + n];

            if ((*lvt & LVT_REMOTE_IRR) && (*lvt & 0xff) == (uint32_t)v) {
                *lvt &= ~LVT_REMOTE_IRR;
                lapic_lint_level(l, n);
            }
        }
        if (!(l->svr & SVR_NO_EOI_BROADCAST))
            apic_bus_eoi_locked(l->bus, (uint8_t)v);
    }
    lapic_update(l);
}

/* ---- timer ---- */

static int64_t lapic_now(const Lapic *l)
{
    return clock_now(l->dev.clock);
}

static uint64_t lapic_divider(const Lapic *l)
{
    unsigned code = (l->dcr & 3) | (l->dcr >> 1 & 4);

    return 1u << ((code + 1) & 7);
}

static uint64_t lapic_period_ns(const Lapic *l) /* at most 2^39 */
{
    return l->tmict * lapic_divider(l) * (1000000000u / LAPIC_HZ);
}

/*
 * What follows takes the time as an argument: one reading for each access to a register.  With two
 * of them a count that has just been written may have run out between its start and its arming, and
 * never fire.
 */
static uint64_t lapic_timer_elapsed(const Lapic *l, int64_t now)
{
    return now > l->timer_start ? (uint64_t)(now - l->timer_start) : 0;
}

static uint32_t lapic_timer_count(const Lapic *l, int64_t now)
{
    uint64_t elapsed = lapic_timer_elapsed(l, now) * (LAPIC_HZ / 1000000000u) / lapic_divider(l);

    if (!l->tmict || lapic_timer_mode(l) == TIMER_DEADLINE)
        return 0;
    if (lapic_timer_mode(l) == TIMER_PERIODIC)
        return l->tmict - (uint32_t)(elapsed % l->tmict);
    return elapsed >= l->tmict ? 0 : l->tmict - (uint32_t)elapsed;
}

static void lapic_timer_fire(void *arg);

static void lapic_timer_set(Lapic *l, int64_t due)
{
    l->timer_due = due;
    if (due < 0)
        timer_stop(&l->timer);
    else if (due <= lapic_now(l) && lapic_timer_mode(l) != TIMER_PERIODIC)
        lapic_timer_fire(l);
    else
        timer_at(&l->timer, due);
}

static uint64_t lapic_tsc(const Lapic *l)
{
    return clock_tsc(l->dev.clock) + X86(l->cpu)->tsc_offset;
}

static int64_t lapic_deadline_due(const Lapic *l)
{
    uint64_t hz = clock_tsc_hz(l->dev.clock);
    uint64_t tsc = lapic_tsc(l);
    int64_t now = lapic_now(l);

    if (!l->tsc_deadline)
        return -1;
    if (l->tsc_deadline <= tsc)
        return now;
    unsigned __int128 ns = ((unsigned __int128)(l->tsc_deadline - tsc) * 1000000000u + hz - 1) / hz;
    return ns > INT64_MAX / 2 ? INT64_MAX / 2 : now + (int64_t)ns;
}

static int64_t lapic_next_period(const Lapic *l, int64_t now)
{
    uint64_t period = lapic_period_ns(l);
    int64_t due = l->timer_start + (int64_t)((lapic_timer_elapsed(l, now) / period + 1) * period);

    return MAX(due, now + MIN_PERIOD_NS);
}

/* Find the next expiry after a write to the timer's registers. */
static void lapic_timer_arm(Lapic *l, int64_t now)
{
    int64_t due = -1;

    switch (lapic_timer_mode(l)) {
    case TIMER_DEADLINE: due = lapic_deadline_due(l); break;
    case TIMER_PERIODIC:
        if (l->tmict)
            due = lapic_next_period(l, now);
        break;
    default:
        if (lapic_timer_count(l, now))
            due = l->timer_start + (int64_t)lapic_period_ns(l);
        break;
    }
    lapic_timer_set(l, due);
}

static void lapic_timer_fire(void *arg)
{
    Lapic *l = arg;

    l->timer_due = -1;
    l->tsc_deadline = 0;
    if (lapic_timer_mode(l) == TIMER_PERIODIC && l->tmict)
        lapic_timer_set(l,
                        lapic_next_period(l, lapic_now(l))); /* ticks missed meanwhile are lost */
    lapic_local(l, LVT_TIMER);
}

static void lapic_timer_start(Lapic *l, uint32_t count)
{
    l->tmict = count;
    l->timer_start = lapic_now(l);
    lapic_timer_arm(l, l->timer_start);
}

/* The count goes on from where it is, at another pace. */
static void lapic_timer_divide(Lapic *l, uint32_t dcr)
{
    int64_t now = lapic_now(l);
    uint32_t count = lapic_timer_count(l, now);

    l->dcr = dcr & 0xb;
    if (!count)
        return;
    l->timer_start =
        now - (int64_t)((l->tmict - count) * lapic_divider(l) * (1000000000u / LAPIC_HZ));
    lapic_timer_arm(l, now);
}

/* ---- registers ---- */

static bool lvt_is_masked_by_svr(const Lapic *l)
{
    return !(l->svr & SVR_ENABLE);
}

static void lapic_write_lvt(Lapic *l, unsigned entry, uint32_t v)
{
    uint32_t old = l->lvt[entry];

    v &= lvt_writable[entry];
    if (lvt_is_masked_by_svr(l))
        v |= LVT_MASKED;
    if (lvt_is_level(v))
        v |= old & LVT_REMOTE_IRR;
    l->lvt[entry] = v;
    if (entry == LVT_TIMER && (old ^ v) >> 17 & 3) {
        if ((old >> 17 & 3) == TIMER_DEADLINE || (v >> 17 & 3) == TIMER_DEADLINE) {
            l->tmict = 0; /* 11.5.4.1: changing to or from it disarms */
            l->tsc_deadline = 0;
        }
        lapic_timer_arm(l, lapic_now(l));
    }
    if ((entry == LVT_LINT0 || entry == LVT_LINT1) && lvt_is_level(v))
        lapic_lint_level(l, entry - LVT_LINT0);
}

static void lapic_write_svr(Lapic *l, uint32_t v)
{
    l->svr = v & (0xff | SVR_ENABLE | SVR_NO_EOI_BROADCAST);
    if (lvt_is_masked_by_svr(l))
        for (unsigned i = 0; i < LVT_COUNT; i++)
            l->lvt[i] |= LVT_MASKED;
}

static void lapic_write_icr(Lapic *l, uint64_t v)
{
    uint32_t dest = (uint32_t)(v >> 32);
    ApicMessage msg = {
        .dest = dest,
        .vector = v & 0xff,
        .mode = bits(v, 8, 3),
        .shorthand = bits(v, 18, 2),
        .logical = bits(v, 11, 1),
    };

    l->icr = v & ~(uint64_t)(1 << 12); /* delivery status: always idle */
    if (!lapic_is_x2apic(l))
        msg.dest = dest >> 24 == 0xff ? APIC_ALL : dest >> 24;
    if (msg.mode == APIC_INIT && bits(v, 14, 2) == 2)
        return; /* INIT level de-assert: nothing since the Pentium 4 */
    if (msg.mode == APIC_REMOTE_READ || msg.mode == APIC_EXTINT) {
        log_guest("apic: IPI with reserved delivery mode %u\n", msg.mode);
        return;
    }
    if ((msg.mode == APIC_FIXED || msg.mode == APIC_LOWEST) && msg.vector < 16) {
        lapic_error(l, ESR_SEND_VECTOR);
        return;
    }
    apic_bus_send_locked(l->bus, &l->port, &msg);
}

static bool reg_is_lvt(unsigned reg)
{
    return reg >= REG_LVT && reg < REG_LVT + LVT_COUNT;
}

/* False: there is no such register to read.  Differences of the two modes: table 11-6. */
static bool lapic_read_reg(Lapic *l, unsigned reg, uint64_t *v)
{
    bool x2 = lapic_is_x2apic(l);

    switch (reg) {
    case REG_ID: *v = x2 ? l->id : l->id << 24; return true;
    case REG_VERSION: *v = VERSION; return true;
    case REG_TPR: *v = l->tpr; return true;
    case REG_APR: *v = lapic_ppr(l); return !x2;
    case REG_PPR: *v = lapic_ppr(l); return true;
    case REG_EOI: *v = 0; return !x2;
    case REG_RRD: *v = 0; return !x2;
    case REG_LDR: *v = lapic_ldr(l); return true;
    case REG_DFR: *v = l->dfr; return !x2;
    case REG_SVR: *v = l->svr; return true;
    case REG_ISR ... REG_ISR + 7: *v = l->isr[reg - REG_ISR]; return true;
    case REG_TMR ... REG_TMR + 7: *v = l->tmr[reg - REG_TMR]; return true;
    case REG_IRR ... REG_IRR + 7: *v = l->irr[reg - REG_IRR]; return true;
    case REG_ESR: *v = l->esr; return true;
    case REG_ICR: *v = x2 ? l->icr : (uint32_t)l->icr; return true;
    case REG_ICR_HIGH: *v = l->icr >> 32; return !x2;
    case REG_TMICT: *v = l->tmict; return true;
    case REG_TMCCT: *v = lapic_timer_count(l, lapic_now(l)); return true;
    case REG_DCR: *v = l->dcr; return true;
    default: *v = reg_is_lvt(reg) ? l->lvt[reg - REG_LVT] : 0; return reg_is_lvt(reg);
    }
}

static bool lapic_write_reg(Lapic *l, unsigned reg, uint64_t v)
{
    bool x2 = lapic_is_x2apic(l);

    if (x2 && (reg == REG_EOI || reg == REG_ESR) && v)
        return false;
    if (x2 && reg != REG_ICR && v >> 32)
        return false;
    switch (reg) {
    case REG_TPR:
        if (x2 && v > 0xff)
            return false;
        l->tpr = v & 0xff;
        break;
    case REG_EOI: lapic_eoi(l); return true;
    case REG_LDR:
        if (x2)
            return false;
        l->ldr = (uint32_t)v & 0xff000000;
        break;
    case REG_DFR:
        if (x2)
            return false;
        l->dfr = (uint32_t)v | 0x0fffffff;
        break;
    case REG_SVR: lapic_write_svr(l, (uint32_t)v); break;
    case REG_ESR:
        l->esr = l->errors;
        l->errors = 0;
        break;
    case REG_ICR: lapic_write_icr(l, x2 ? v : (l->icr & ~0xffffffffull) | (uint32_t)v); break;
    case REG_ICR_HIGH:
        if (x2)
            return false;
        l->icr = (uint32_t)l->icr | (v & 0xff000000) << 32;
        return true;
    case REG_TMICT:
        if (lapic_timer_mode(l) != TIMER_DEADLINE)
            lapic_timer_start(l, (uint32_t)v);
        break;
    case REG_DCR: lapic_timer_divide(l, (uint32_t)v); break;
    case REG_SELF_IPI:
        if (!x2 || v > 0xff)
            return false;
        lapic_write_icr(l, v | APIC_TO_SELF << 18);
        break;
    default:
        if (!reg_is_lvt(reg))
            return false;
        lapic_write_lvt(l, reg - REG_LVT, (uint32_t)v);
        break;
    }
    lapic_update(l);
    return true;
}

/* MMIO: the bus calls with its lock held, only in xAPIC mode. */
static uint64_t lapic_mmio_read(void *arg, uint64_t at, unsigned size)
{
    Lapic *l = arg;
    uint64_t v = 0;

    (void)size;
    if (at & 15 || !lapic_read_reg(l, (unsigned)at >> 4, &v)) {
        lapic_error(l, ESR_REGISTER);
        lapic_update(l);
    }
    return (uint32_t)v;
}

static void lapic_mmio_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Lapic *l = arg;

    (void)size;
    if (at & 15 || !lapic_write_reg(l, (unsigned)at >> 4, (uint32_t)v)) {
        lapic_error(l, ESR_REGISTER);
        lapic_update(l);
    }
}

static const RegionOps lapic_mmio_ops = {lapic_mmio_read, lapic_mmio_write, 4, 4};

/* ---- what the processor calls; its own thread ---- */

static int lapic_pending(void *apic)
{
    return atomic_load(&((Lapic *)apic)->deliverable);
}

static int lapic_acknowledge(void *apic)
{
    Lapic *l = apic;
    int v = -1;

    WITH_LOCK (l->lock) {
        v = lapic_deliverable(l);
        if (v == DELIVER_EXTINT) {
            l->extint = false;
        } else if (v >= 0) {
            map_assign(l->irr, (unsigned)v, false);
            map_assign(l->isr, (unsigned)v, true);
        }
        lapic_update(l);
    }
    return v == DELIVER_EXTINT ? apic_bus_extint(l->bus) : v;
}

static uint64_t lapic_base(void *apic)
{
    return ((Lapic *)apic)->base;
}

static void lapic_reset_locked(Lapic *l)
{
    l->tpr = l->ldr = l->esr = l->errors = l->tmict = l->dcr = 0;
    l->svr = 0xff;
    l->dfr = UINT32_MAX;
    l->icr = l->tsc_deadline = 0;
    l->timer_start = 0;
    l->extint = false;
    memset(l->isr, 0, sizeof l->isr);
    memset(l->tmr, 0, sizeof l->tmr);
    memset(l->irr, 0, sizeof l->irr);
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = LVT_MASKED;
    if (l->cpu->index == 0) { /* as firmware leaves it: the PIC's interrupts, and NMIs */
        l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
        l->lvt[LVT_LINT1] = APIC_NMI << 8;
    }
    lapic_timer_set(l, -1);
    lapic_update(l);
}

/* Figure 11-27: the ways between disabled, xAPIC and x2APIC. */
static bool base_may_change(uint64_t from, uint64_t to)
{
    uint64_t mode = to & (BASE_ENABLE | BASE_X2APIC);

    if (to & 0x2ff || to >> 52 || mode == BASE_X2APIC)
        return false;
    if (from & BASE_X2APIC)
        return mode != BASE_ENABLE;
    return mode != (BASE_ENABLE | BASE_X2APIC) || (from & BASE_ENABLE);
}

static bool lapic_set_base(void *apic, uint64_t v)
{
    Lapic *l = apic;

    if (!base_may_change(l->base, v))
        return false;
    if (BASE_ADDRESS(v) != APIC_BUS_BASE)
        log_unimp("apic: register page moved to %#" PRIx64 ": it stays where it is\n",
                  BASE_ADDRESS(v));
    WITH_LOCK (l->lock) {
        bool was_on = lapic_is_enabled(l);

        l->base = v;
        if (was_on && !lapic_is_enabled(l))
            lapic_reset_locked(l);
        lapic_update(l);
    }
    return true;
}

static uint8_t lapic_cr8(void *apic)
{
    return (uint8_t)(((Lapic *)apic)->tpr >> 4);
}

static void lapic_set_cr8(void *apic, uint8_t v)
{
    Lapic *l = apic;

    WITH_LOCK (l->lock) {
        l->tpr = (v & 15u) << 4;
        lapic_update(l);
    }
}

static bool lapic_msr_read(void *apic, uint32_t msr, uint64_t *v)
{
    Lapic *l = apic;
    bool ok = false;

    WITH_LOCK (l->lock) {
        if (msr == MSR_TSC_DEADLINE) {
            *v = l->tsc_deadline;
            ok = true;
        } else if (msr >= MSR_X2APIC && msr < MSR_X2APIC_END && lapic_is_x2apic(l)) {
            ok = lapic_read_reg(l, msr - MSR_X2APIC, v);
        }
    }
    return ok;
}

static bool lapic_msr_write(void *apic, uint32_t msr, uint64_t v)
{
    Lapic *l = apic;
    bool ok = false;

    WITH_LOCK (l->lock) {
        if (msr == MSR_TSC_DEADLINE) {
            ok = true;
            if (lapic_timer_mode(l) == TIMER_DEADLINE) {
                l->tsc_deadline = v;
                lapic_timer_arm(l, lapic_now(l));
            }
        } else if (msr >= MSR_X2APIC && msr < MSR_X2APIC_END && lapic_is_x2apic(l)) {
            ok = lapic_write_reg(l, msr - MSR_X2APIC, v);
        }
    }
    return ok;
}

static void lapic_reset(void *apic, bool init)
{
    Lapic *l = apic;

    WITH_LOCK (l->lock) {
        if (!init)
            l->base = APIC_BUS_BASE | BASE_ENABLE | (l->cpu->index == 0 ? BASE_BSP : 0);
        lapic_reset_locked(l);
    }
}

static const X86ApicOps lapic_ops = {
    .pending = lapic_pending,
    .acknowledge = lapic_acknowledge,
    .base = lapic_base,
    .set_base = lapic_set_base,
    .tpr = lapic_cr8,
    .set_tpr = lapic_set_cr8,
    .msr_read = lapic_msr_read,
    .msr_write = lapic_msr_write,
    .reset = lapic_reset,
};

/* ---- device ---- */

void lapic_connect(Device *apic, Device *bus, Cpu *cpu)
{
    AS(Lapic, l, apic);

    assert(apic->parent == bus && !apic->realized);
    l->bus = bus;
    l->cpu = cpu;
}

uint32_t lapic_id(const Device *apic)
{
    return ((const Lapic *)apic)->id;
}

static bool lapic_realize(Device *d, Error *err)
{
    AS(Lapic, l, d);

    if (!l->bus)
        return error_set(err, "apic: not connected to a bus");
    l->lock = apic_bus_lock(l->bus);
    l->timer_due = -1;
    l->port = (ApicPort){
        .apic = l,
        .accept = lapic_port_accept,
        .lint = lapic_port_lint,
        .requests = lapic_port_requests,
        .ops = &lapic_mmio_ops,
        .cpu = l->cpu,
    };
    timer_init(&l->timer, d->clock, l->lock, lapic_timer_fire, l);
    atomic_init(&l->deliverable, -1);
    if (!apic_bus_attach(l->bus, &l->port, err))
        return false;
    X86(l->cpu)->apic = l;
    X86(l->cpu)->apic_ops = &lapic_ops;
    return true;
}

static void lapic_unrealize(Device *d)
{
    AS(Lapic, l, d);

    apic_bus_detach(l->bus, &l->port);
    WITH_LOCK (l->lock)
        timer_stop(&l->timer);
    X86(l->cpu)->apic = NULL;
    X86(l->cpu)->apic_ops = NULL;
}

static void lapic_device_reset(Device *d, ResetPhase phase)
{
    if (phase == RESET_ENTER)
        lapic_reset(d, false);
}

static bool lapic_loaded(Device *d, Error *err)
{
    AS(Lapic, l, d);
    bool ok = true;

    WITH_LOCK (l->lock) {
        if ((l->base & (BASE_ENABLE | BASE_X2APIC)) == BASE_X2APIC || l->timer_start > MAX_START ||
            l->timer_start < -MAX_START)
            ok = error_set(err, "apic %u: impossible state", l->id);
        else if (l->timer_due >= 0)
            timer_at(&l->timer, l->timer_due);
        else
            timer_stop(&l->timer);
        lapic_update(l);
    }
    return ok;
}

static const Field lapic_fields[] = {
    PROP(Lapic, id, "id", 0, "APIC id of the processor"),
    STATE(Lapic, base),
    STATE(Lapic, tpr),
    STATE(Lapic, svr),
    STATE(Lapic, ldr),
    STATE(Lapic, dfr),
    STATE(Lapic, esr),
    STATE(Lapic, errors),
    STATE(Lapic, tmict),
    STATE(Lapic, dcr),
    STATE_ARRAY(Lapic, isr),
    STATE_ARRAY(Lapic, tmr),
    STATE_ARRAY(Lapic, irr),
    STATE_ARRAY(Lapic, lvt),
    STATE(Lapic, icr),
    STATE(Lapic, tsc_deadline),
    STATE(Lapic, timer_start),
    STATE(Lapic, timer_due),
    STATE_ARRAY(Lapic, lint),
    STATE(Lapic, extint),
};
static STRUCT_TYPE(lapic_type, Lapic, lapic_fields);

static DeviceClass lapic_class = {
    .name = "apic",
    .parent = "sys-device",
    .doc = "local APIC of one processor",
    .type = &lapic_type,
    .realize = lapic_realize,
    .unrealize = lapic_unrealize,
    .reset = lapic_device_reset,
    .loaded = lapic_loaded,
};
DEVICE_REGISTER(lapic_class)
