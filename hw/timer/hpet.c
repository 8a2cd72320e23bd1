/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet - high precision event timers: a 64-bit counter at 100 MHz and three comparators
 *
 * IA-PC HPET specification 1.0a, 2.3 "Timer registers".  No FSB delivery.  Edges of periods that
 * the host missed follow (debt.h).
 */
#include "hw/timer/hpet.h"

#include "hw/timer/debt.h"

enum {
    GCAP_ID = 0x000,
    GEN_CONF = 0x010,
    GINTR_STA = 0x020,
    MAIN_CNT = 0x0f0,
    TIMERS_AT = 0x100,
    TIMER_STEP = 0x20
};
enum { TN_CONF = 0x00, TN_CMP = 0x08, WINDOW_SIZE = 0x400 };
enum { CONF_ENABLE = 1, CONF_LEGACY = 2 };
enum {
    TN_LEVEL = 1 << 1,
    TN_ENABLE = 1 << 2,
    TN_PERIODIC = 1 << 3,
    TN_PERIODIC_CAP = 1 << 4,
    TN_SIZE_CAP = 1 << 5,
    TN_VAL_SET = 1 << 6,
    TN_32MODE = 1 << 8,
    TN_ROUTE_AT = 9,
    TN_WRITABLE = 0x3f4e
};

#define TIMER_COUNT 3
#define TICK_NS 10
/* Period in femtoseconds, vendor, legacy routing, 64 bits, last timer, revision. */
#define CAPABILITIES                                                                               \
    (TICK_NS * 1000000ull << 32 | 0x8086ull << 16 | 1 << 15 | 1 << 13 | (TIMER_COUNT - 1) << 8 | 1)
#define FOREVER (INT64_MAX / 4)
#define MIN_PERIOD_TICKS 2000 /* a guest may not make the host tick faster than this */

typedef struct HpetTimer {
    struct Hpet *hpet;
    Timer timer;
    uint64_t conf; /* writable bits of Tn_CONF */
    uint64_t cmp;
    uint64_t period;    /* what a periodic timer adds */
    int64_t due;        /* of the next match, ns; -1: none */
    TickDebt debt;      /* matches whose edge was not shown yet */
    bool upper_follows; /* the lower half of cmp was set: so may the upper be */
} HpetTimer;

typedef struct Hpet {
    Device dev;
    Region window;
    IrqLine lines[HPET_LINES];
    uint32_t intcap; /* property */
    uint64_t gen_conf, gintr_sta;
    uint64_t counter;  /* what it was when it was set, started or stopped */
    int64_t start;     /* when that was, ns */
    uint8_t legacy_in; /* levels from PIT and RTC */
    HpetTimer timers[TIMER_COUNT];
} Hpet;

Region *hpet_mmio(Device *d)
{
    return &((Hpet *)d)->window;
}

IrqLine *hpet_line(Device *d, unsigned n)
{
    assert(n < HPET_LINES);
    return &((Hpet *)d)->lines[n];
}

/* ---- counter ---- */

static int64_t hpet_now(const Hpet *s)
{
    return clock_now(s->dev.clock);
}

/*
 * @now, here and below: one reading for each access or firing.  With several of them a match that
 * falls in between would be taken for one that lies behind.
 */
static uint64_t hpet_counter(const Hpet *s, int64_t now)
{
    if (!(s->gen_conf & CONF_ENABLE))
        return s->counter;
    return s->counter + (uint64_t)MAX(now - s->start, 0) / TICK_NS;
}

static void hpet_set_counter(Hpet *s, uint64_t v, int64_t now)
{
    s->counter = v;
    s->start = now;
}

/* ---- wires ---- */

static uint32_t timer_route(const HpetTimer *t)
{
    return (uint32_t)bits(t->conf, TN_ROUTE_AT, 5);
}

/* The line a timer drives, or HPET_LINES. */
static unsigned timer_line(const Hpet *s, unsigned n)
{
    if ((s->gen_conf & CONF_LEGACY) && n < 2)
        return n ? HPET_IRQ8 : HPET_IRQ0;
    if (!(s->intcap >> timer_route(&s->timers[n]) & 1))
        return HPET_LINES;
    return timer_route(&s->timers[n]);
}

static bool hpet_line_level(const Hpet *s, unsigned line)
{
    if (line >= HPET_IRQ0 && !(s->gen_conf & CONF_LEGACY))
        return s->legacy_in >> (line - HPET_IRQ0) & 1;
    for (unsigned n = 0; n < TIMER_COUNT; n++)
        if (timer_line(s, n) == line && (s->timers[n].conf & TN_ENABLE) &&
            (s->timers[n].conf & TN_LEVEL) && (s->gintr_sta >> n & 1))
            return true;
    return false;
}

static void hpet_update_lines(Hpet *s)
{
    for (unsigned line = 0; line < HPET_LINES; line++)
        if (line >= HPET_IRQ0 || (s->intcap >> line & 1))
            irq_set(&s->lines[line], hpet_line_level(s, line));
}

IrqEdge hpet_legacy_edge(void *hpet, unsigned n)
{
    const Hpet *s = hpet;

    assert(n < 2);
    return s->gen_conf & CONF_LEGACY ? EDGE_NOWHERE : irq_edge(&s->lines[HPET_IRQ0 + n]);
}

void hpet_legacy_input(void *hpet, unsigned n, bool level)
{
    Hpet *s = hpet;

    assert(n < 2);
    s->legacy_in = (uint8_t)bits_set(s->legacy_in, n, 1, level);
    irq_set(&s->lines[HPET_IRQ0 + n], hpet_line_level(s, HPET_IRQ0 + n));
}

static void timer_interrupt(Hpet *s, unsigned n)
{
    HpetTimer *t = &s->timers[n];
    unsigned line = timer_line(s, n);

    if (t->conf & TN_LEVEL)
        s->gintr_sta |= BIT(n);
    else if ((t->conf & TN_ENABLE) && line < HPET_LINES)
        irq_pulse(&s->lines[line]);
    hpet_update_lines(s);
}

/* ---- comparators ---- */

static uint64_t timer_width_mask(const HpetTimer *t)
{
    return t->conf & TN_32MODE ? UINT32_MAX : UINT64_MAX;
}

/* Ticks until the next match; a comparator that equals the counter has just matched. */
static uint64_t timer_distance(const Hpet *s, const HpetTimer *t, int64_t now)
{
    uint64_t ticks = (t->cmp - hpet_counter(s, now)) & timer_width_mask(t);

    if (ticks)
        return ticks;
    return t->conf & TN_32MODE ? BIT(32) : UINT64_MAX;
}

/* A periodic comparator that was reached goes to the first match still to come.  Returns how
 * many it passes. */
static uint64_t timer_advance(HpetTimer *t, int64_t now)
{
    uint64_t behind = (uint64_t)(now - t->due) / TICK_NS, steps;
    bool slow = t->period >= MIN_PERIOD_TICKS;

    steps = (behind + (slow ? 0 : MIN_PERIOD_TICKS)) / t->period + 1;
    t->cmp = (t->cmp + steps * t->period) & timer_width_mask(t);
    return slow ? steps : 1;
}

static bool timer_is_periodic(const HpetTimer *t)
{
    return (t->conf & TN_PERIODIC) && (t->period & timer_width_mask(t));
}

static void timer_arm(Hpet *s, unsigned n, int64_t now)
{
    HpetTimer *t = &s->timers[n];
    uint64_t ticks = timer_distance(s, t, now);
    int64_t due;

    t->due = -1;
    if ((s->gen_conf & CONF_ENABLE) && ticks < FOREVER / TICK_NS)
        t->due = now + (int64_t)(ticks * TICK_NS) - (now - s->start) % TICK_NS;
    due = debt_due(&t->debt, t->due);
    if (due >= 0)
        timer_at(&t->timer, due);
    else
        timer_stop(&t->timer);
}

static int64_t timer_period_ns(const HpetTimer *t)
{
    return (int64_t)(MIN(t->period, (uint64_t)FOREVER / TICK_NS) * TICK_NS);
}

/* Count the matches up to @now; a level is there as soon as one is. */
static void timer_count(Hpet *s, unsigned n, int64_t now)
{
    HpetTimer *t = &s->timers[n];
    uint64_t matches;

    if (t->due < 0 || t->due > now)
        return;
    matches = timer_is_periodic(t) ? timer_advance(t, now) : 1;
    t->due = -1;
    if (t->conf & TN_LEVEL)
        timer_interrupt(s, n);
    else
        debt_add(&t->debt, matches, timer_period_ns(t));
}

/* What became of the last edge of a periodic timer; others owe nothing. */
static IrqEdge timer_edge(const Hpet *s, unsigned n)
{
    unsigned line = timer_line(s, n);

    if (line == HPET_LINES || !timer_is_periodic(&s->timers[n]))
        return EDGE_TAKEN;
    return irq_edge(&s->lines[line]);
}

static void timer_serve(Hpet *s, unsigned n, int64_t now)
{
    bool shows;

    timer_count(s, n, now);
    shows = debt_pay(&s->timers[n].debt, now, timer_period_ns(&s->timers[n]), timer_edge(s, n));
    timer_arm(s, n, now);
    if (shows)
        timer_interrupt(s, n);
}

static void timer_fire(void *arg)
{
    HpetTimer *t = arg;

    timer_serve(t->hpet, (unsigned)(t - t->hpet->timers), hpet_now(t->hpet));
}

/* Before the registers @at of one timer (or those of all) are written: an edge that is due comes
 * before what would make it forgotten. */
static void hpet_settle(Hpet *s, uint64_t at)
{
    for (unsigned n = 0; n < TIMER_COUNT; n++) {
        HpetTimer *t = &s->timers[n];
        bool meant =
            at < TIMERS_AT ? at == GEN_CONF || at == MAIN_CNT : (at - TIMERS_AT) / TIMER_STEP == n;

        if (meant && t->debt.owed) {
            t->debt.owed = 0;
            timer_interrupt(s, n);
        }
    }
}

static void hpet_serve(Hpet *s, int64_t now)
{
    for (unsigned n = 0; n < TIMER_COUNT; n++)
        timer_serve(s, n, now);
}

static void hpet_update(Hpet *s, int64_t now)
{
    for (unsigned n = 0; n < TIMER_COUNT; n++)
        timer_arm(s, n, now);
    hpet_update_lines(s);
}

/* ---- registers ---- */

static uint64_t timer_read(const Hpet *s, unsigned n, uint64_t at)
{
    const HpetTimer *t = &s->timers[n];

    switch (at) {
    case TN_CONF: return t->conf | TN_PERIODIC_CAP | TN_SIZE_CAP | (uint64_t)s->intcap << 32;
    case TN_CMP: return t->cmp;
    default: return 0;
    }
}

static uint64_t hpet_read64(const Hpet *s, uint64_t at, int64_t now)
{
    unsigned n = (unsigned)(at - TIMERS_AT) / TIMER_STEP;

    switch (at) {
    case GCAP_ID: return CAPABILITIES;
    case GEN_CONF: return s->gen_conf;
    case GINTR_STA: return s->gintr_sta;
    case MAIN_CNT: return hpet_counter(s, now);
    default: return at >= TIMERS_AT && n < TIMER_COUNT ? timer_read(s, n, at % TIMER_STEP) : 0;
    }
}

static void hpet_write_conf(Hpet *s, uint64_t v, int64_t now)
{
    bool toggled = (s->gen_conf ^ v) & CONF_ENABLE;

    if (toggled) /* goes on from, or stops at, what it shows */
        hpet_set_counter(s, hpet_counter(s, now), now);
    s->gen_conf = v & (CONF_ENABLE | CONF_LEGACY);
}

static void timer_write_conf(Hpet *s, unsigned n, uint64_t v)
{
    HpetTimer *t = &s->timers[n];

    t->conf = v & TN_WRITABLE;
    if (!(t->conf & TN_LEVEL))
        s->gintr_sta &= ~BIT(n);
    t->cmp &= timer_width_mask(t);
    t->period &= timer_width_mask(t);
}

/* Tn_VAL_SET (2.3.9.2.2) lasts for one write, or for two that carry the lower and then the upper
 * half. */
static void timer_write_cmp(HpetTimer *t, uint64_t v, uint64_t written)
{
    bool is_upper = !(written & 1);
    bool sets = (t->conf & TN_VAL_SET) || (is_upper && t->upper_follows);

    if (t->conf & TN_PERIODIC)
        t->period = ((t->period & ~written) | (v & written)) & timer_width_mask(t);
    if (!(t->conf & TN_PERIODIC) || sets)
        t->cmp = v & timer_width_mask(t);
    t->upper_follows = sets && !is_upper && !(written >> 63);
    t->conf &= ~(uint64_t)TN_VAL_SET;
}

/* @v: the whole register; @written: the bits this access has. */
static void hpet_write64(Hpet *s, uint64_t at, uint64_t v, uint64_t written, int64_t now)
{
    unsigned n = (unsigned)(at - TIMERS_AT) / TIMER_STEP;

    switch (at) {
    case GEN_CONF: hpet_write_conf(s, v, now); break;
    case GINTR_STA: s->gintr_sta &= ~(v & written); break;
    case MAIN_CNT: hpet_set_counter(s, v, now); break;
    default:
        if (at >= TIMERS_AT && n < TIMER_COUNT && at % TIMER_STEP == TN_CONF)
            timer_write_conf(s, n, v);
        else if (at >= TIMERS_AT && n < TIMER_COUNT && at % TIMER_STEP == TN_CMP)
            timer_write_cmp(&s->timers[n], v, written);
        break;
    }
}

static uint64_t hpet_read(void *arg, uint64_t at, unsigned size)
{
    Hpet *s = arg;
    int64_t now = hpet_now(s);

    hpet_serve(s, now);
    return bits(hpet_read64(s, at & ~7ull, now), (at & 7) * 8, size * 8);
}

static void hpet_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Hpet *s = arg;
    unsigned shift = (at & 7) * 8;
    uint64_t written = bits_set(0, shift, size * 8, UINT64_MAX), old;
    int64_t now = hpet_now(s);

    hpet_serve(s, now);
    hpet_settle(s, at & ~7ull);
    old = hpet_read64(s, at & ~7ull, now);
    hpet_write64(s, at & ~7ull, (old & ~written) | (v << shift & written), written, now);
    hpet_update(s, now);
}

static const RegionOps hpet_ops = {hpet_read, hpet_write, 4, 8};

/* ---- device ---- */

static bool hpet_realize(Device *d, Error *err)
{
    AS(Hpet, s, d);

    (void)err;
    for (unsigned n = 0; n < TIMER_COUNT; n++) {
        s->timers[n].hpet = s;
        s->timers[n].due = -1;
        timer_init(&s->timers[n].timer, d->clock, d->lock, timer_fire, &s->timers[n]);
    }
    region_io(&s->window, "hpet", WINDOW_SIZE, &hpet_ops, s, d->lock);
    return true;
}

static void hpet_unrealize(Device *d)
{
    AS(Hpet, s, d);

    region_fini(&s->window);
    for (unsigned n = 0; n < TIMER_COUNT; n++)
        timer_stop(&s->timers[n].timer);
}

static void hpet_reset(Device *d, ResetPhase phase)
{
    AS(Hpet, s, d);

    if (phase == RESET_ENTER) {
        s->gen_conf = s->gintr_sta = s->counter = 0;
        s->start = 0;
        for (unsigned n = 0; n < TIMER_COUNT; n++) {
            HpetTimer *t = &s->timers[n];

            t->conf = t->period = 0;
            t->due = -1;
            t->debt = (TickDebt){0};
            t->cmp = UINT64_MAX;
            t->upper_follows = false;
        }
    } else {
        hpet_update(s, hpet_now(s));
    }
}

static bool hpet_loaded(Device *d, Error *err)
{
    AS(Hpet, s, d);

    if (s->start < 0 || s->start > FOREVER)
        return error_set(err, "hpet: impossible start time");
    for (unsigned n = 0; n < TIMER_COUNT; n++) {
        HpetTimer *t = &s->timers[n];

        int64_t due = debt_due(&t->debt, t->due);

        if (t->due > 2 * FOREVER || !debt_is_sane(&t->debt))
            return error_set(err, "hpet: impossible due time of timer %u", n);
        if (due >= 0)
            timer_at(&t->timer, due);
        else
            timer_stop(&t->timer);
    }
    hpet_update_lines(s);
    return true;
}

static const Field timer_fields[] = {
    STATE(HpetTimer, conf),          STATE(HpetTimer, cmp),
    STATE(HpetTimer, period),        STATE(HpetTimer, due),
    STATE(HpetTimer, upper_follows), STATE_STRUCT(HpetTimer, debt, &debt_type),
};
static STRUCT_TYPE(hpet_timer_type, HpetTimer, timer_fields);

static const Field hpet_fields[] = {
    PROP(Hpet, intcap, "intcap", 0x4, "I/O APIC inputs that timers may be routed to, one bit each"),
    STATE(Hpet, gen_conf),
    STATE(Hpet, gintr_sta),
    STATE(Hpet, counter),
    STATE(Hpet, start),
    STATE(Hpet, legacy_in),
    STATE_STRUCT_ARRAY(Hpet, timers, &hpet_timer_type),
};
static STRUCT_TYPE(hpet_type, Hpet, hpet_fields);

static DeviceClass hpet_class = {
    .name = "hpet",
    .parent = "sys-device",
    .doc = "high precision event timers",
    .type = &hpet_type,
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
    .loaded = hpet_loaded,
};
DEVICE_REGISTER(hpet_class)
