/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8254 - interval timer and the speaker port 0x61
 *
 * Intel 8254 data sheet (231164), "Mode definitions".  Counts follow from when they were loaded;
 * only channel 0 has a timer, which makes the edges of OUT.  Where OUT is low for one clock (modes
 * 2, 4, 5), or low half of the time (3), the wire shows a short pulse that ends when OUT rises: the
 * interrupt controllers want that edge.  Edges that the host missed follow (debt.h).
 */
#include "hw/timer/i8254.h"

#include "hw/timer/debt.h"

enum { CHANNELS = 3, CONTROL = 3, READ_BACK = 3 };
enum { RW_LATCH, RW_LSB, RW_MSB, RW_BOTH };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
enum { P61_GATE2 = 1, P61_SPEAKER = 2, P61_WRITABLE = 0x0f, P61_REFRESH = 0x10, P61_OUT2 = 0x20 };

#define REFRESH_NS 15085
#define MIN_PERIOD 24 /* ticks: a guest may not make the host tick faster than this */

typedef struct Channel {
    uint16_t reload; /* last count written, as written (BCD if bcd) */
    uint16_t count;  /* the one being counted */
    uint16_t latch;
    uint8_t status; /* latched by read-back */
    uint8_t rw, mode;
    uint8_t low_byte; /* first of two bytes of a count */
    uint8_t latched;  /* bytes of latch still to be read */
    bool bcd, gate;
    bool status_latched;
    bool write_high, read_high; /* the next byte is the second of two */
    bool running;               /* counts since start; else it stands at elapsed */
    bool loaded;                /* has a count since the control word */
    bool switching;             /* reload takes over at tick switch_at */
    int64_t start;              /* ticks */
    int64_t elapsed;
    int64_t switch_at;
} Channel;

typedef struct Pit {
    Device dev;
    Region io, port61;
    Timer timer;
    uint8_t p61;
    int64_t edge;  /* tick of channel 0's next rise that was not counted yet; -1: none comes */
    TickDebt debt; /* its rises that were not shown yet */
    Channel ch[CHANNELS];
} Pit;

Region *pit_io(Device *d)
{
    return &((Pit *)d)->io;
}
Region *pit_port61(Device *d)
{
    return &((Pit *)d)->port61;
}

/* ---- time and numbers ---- */

static int64_t ticks_at(int64_t ns)
{
    return (int64_t)((unsigned __int128)(uint64_t)ns * PIT_HZ / 1000000000u);
}

static int64_t pit_ticks(const Pit *s)
{
    return ticks_at(clock_now(s->dev.clock));
}

static int64_t pit_tick_ns(int64_t tick) /* when that tick begins */
{
    return (int64_t)(((unsigned __int128)(uint64_t)tick * 1000000000u + PIT_HZ - 1) / PIT_HZ);
}

static unsigned from_bcd(unsigned v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

static unsigned to_bcd(unsigned v)
{
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static int64_t channel_modulus(const Channel *c)
{
    return c->bcd ? 10000 : 65536;
}

static int64_t channel_period(const Channel *c)
{
    int64_t n = c->bcd ? from_bcd(c->count) : c->count;

    return n ? n : channel_modulus(c);
}

static bool mode_is_periodic(unsigned mode)
{
    return mode == 2 || mode == 3;
}
static bool mode_is_triggered(unsigned mode)
{
    return mode == 1 || mode == 5;
}

/* ---- counting ---- */

static int64_t channel_elapsed(const Channel *c, int64_t now)
{
    int64_t t = c->running ? now - c->start : c->elapsed;

    return MAX(t, 0);
}

/* A count written while a periodic mode runs takes over at the end of the period. */
static void channel_sync(Channel *c, int64_t now)
{
    if (c->switching && now >= c->switch_at) {
        c->switching = false;
        c->count = c->reload;
        c->start = c->switch_at;
    }
}

static bool channel_out(const Channel *c, int64_t now)
{
    int64_t t = channel_elapsed(c, now), n = channel_period(c);

    if (!c->loaded)
        return c->mode != 0;
    switch (c->mode) {
    case 0: return t >= n;
    case 1: return !c->running || t >= n;
    case 2: return !c->gate || t % n != n - 1;
    case 3: return !c->gate || t % n < (n + 1) / 2;
    default: return !c->running || t != n;
    }
}

static unsigned channel_count(const Channel *c, int64_t now)
{
    int64_t t = channel_elapsed(c, now), n = channel_period(c), v = 0;

    if (!c->loaded)
        return c->count;
    switch (c->mode) {
    case 2: v = n - t % n; break;
    case 3: /* by two, twice a period */
        v = t % n < (n + 1) / 2 ? t % n : t % n - (n + 1) / 2;
        v = (n - 2 * v) & ~1;
        break;
    default: /* goes on through zero */ v = n - t; break;
    }
    v %= channel_modulus(c);
    if (v < 0)
        v += channel_modulus(c);
    return c->bcd ? to_bcd((unsigned)v) : (unsigned)v;
}

/* Begin with the count last written. */
static void channel_start(Channel *c, int64_t now)
{
    c->count = c->reload;
    c->switching = false;
    c->running = c->gate || mode_is_triggered(c->mode);
    c->start = now;
    c->elapsed = 0;
}

static void channel_load(Channel *c, uint16_t v, int64_t now)
{
    bool first = !c->loaded;

    c->reload = v;
    c->loaded = true;
    if (mode_is_triggered(c->mode)) {
        if (first) {
            c->count = v;
            c->running = false; /* until the gate rises */
            c->elapsed = 0;
        }
    } else if (first || !mode_is_periodic(c->mode)) {
        channel_start(c, now);
    } else if (c->running) {
        int64_t n = channel_period(c);

        c->switching = true;
        c->switch_at = c->start + (channel_elapsed(c, now) / n + 1) * n;
    }
}

static void channel_set_gate(Channel *c, bool gate, int64_t now)
{
    bool rises = gate && !c->gate;

    if (gate == c->gate)
        return;
    c->gate = gate;
    if (!c->loaded)
        return;
    if (rises && c->mode != 0 && c->mode != 4) {
        channel_start(c, now);
    } else if (rises) {
        c->running = true;
        c->start = now - c->elapsed;
    } else if (!mode_is_triggered(c->mode)) {
        c->elapsed = channel_elapsed(c, now);
        c->running = false;
    }
}

/* ---- the wire of channel 0 ---- */

/* The tick at which OUT rises next, after @now; -1: never. */
static int64_t channel_next_rise(const Channel *c, int64_t now)
{
    int64_t t = channel_elapsed(c, now), n = channel_period(c), at = 0;

    if (!c->loaded || !c->running)
        return -1;
    if (c->switching)
        return c->switch_at;
    if (mode_is_periodic(c->mode))
        return c->start + ((t + (n < MIN_PERIOD ? MIN_PERIOD : 0)) / n + 1) * n;
    at = c->mode >= 4 ? n + 1 : n; /* a strobe is low for one clock more */
    return t < at ? c->start + at : -1;
}

/* @tick: as read when the access began.  What comes true meanwhile is due at once, not
 * forgotten. */
static void pit_update(Pit *s, int64_t tick)
{
    Channel *c = &s->ch[0];
    bool holds_low = c->mode <= 1;
    int64_t due;

    s->edge = channel_next_rise(c, tick);
    due = debt_due(&s->debt, s->edge < 0 ? -1 : pit_tick_ns(s->edge));
    irq_set(&s->dev.irq, !holds_low || channel_out(c, tick));
    if (due < 0)
        timer_stop(&s->timer);
    else
        timer_at(&s->timer, due);
}

static void pit_pulse(Pit *s)
{
    irq_set(&s->dev.irq, false);
    irq_set(&s->dev.irq, true);
}

/* Bring channel 0 and the count of its edges up to @tick.  Returns the period, ns. */
static int64_t pit_count_edges(Pit *s, int64_t tick)
{
    Channel *c = &s->ch[0];
    int64_t n, behind = s->edge < 0 ? -1 : tick - s->edge;

    channel_sync(c, tick);
    n = channel_period(c);
    if (behind >= 0) {
        bool all = mode_is_periodic(c->mode) && n >= MIN_PERIOD;

        debt_add(&s->debt, all ? (uint64_t)(behind / n) + 1 : 1, pit_tick_ns(n));
        s->edge = -1;
    }
    return pit_tick_ns(n);
}

/* Show an edge if it is time for one.  Returns the tick of @now, ns. */
static int64_t pit_serve(Pit *s, int64_t now)
{
    int64_t tick = ticks_at(now), period = pit_count_edges(s, tick);
    IrqEdge last = mode_is_periodic(s->ch[0].mode) ? irq_edge(&s->dev.irq) : EDGE_TAKEN;

    if (debt_pay(&s->debt, now, period, last))
        pit_pulse(s);
    return tick;
}

static void pit_fire(void *arg)
{
    Pit *s = arg;

    pit_update(s, pit_serve(s, clock_now(s->dev.clock)));
}

/* Before a write to channel 0: an edge that is due comes before what would make it forgotten. */
static void pit_settle(Pit *s)
{
    if (s->debt.owed)
        pit_pulse(s);
    s->debt.owed = 0;
}

/* ---- registers ---- */

static void channel_latch_count(Channel *c, int64_t now)
{
    if (c->latched)
        return; /* the first one stays until it is read */
    c->latch = (uint16_t)channel_count(c, now);
    c->latched = c->rw == RW_BOTH ? 2 : 1;
}

static void channel_latch_status(Channel *c, int64_t now)
{
    if (c->status_latched)
        return;
    c->status = (channel_out(c, now) ? STATUS_OUT : 0) |
                (!c->loaded || c->switching ? STATUS_NULL : 0) | c->rw << 4 | c->mode << 1 | c->bcd;
    c->status_latched = true;
}

static void pit_read_back(Pit *s, uint8_t v, int64_t now)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (!(v >> (i + 1) & 1))
            continue;
        if (!(v & 0x20))
            channel_latch_count(&s->ch[i], now);
        if (!(v & 0x10))
            channel_latch_status(&s->ch[i], now);
    }
}

static void pit_control(Pit *s, uint8_t v, int64_t now)
{
    Channel *c = &s->ch[(v >> 6) % CHANNELS];
    unsigned rw = v >> 4 & 3, mode = v >> 1 & 7;

    if (v >> 6 == READ_BACK) {
        pit_read_back(s, v, now);
    } else if (rw == RW_LATCH) {
        channel_latch_count(c, now);
    } else {
        c->count = (uint16_t)channel_count(c, now);
        c->rw = (uint8_t)rw;
        c->mode =
            (uint8_t)(mode >= 6 ? mode - 4 : mode); /* bit 2 does not count in modes 2 and 3 */
        c->bcd = v & 1;
        c->loaded = c->running = c->switching = c->status_latched = c->write_high = c->read_high =
            false;
        c->latched = 0;
        c->elapsed = 0;
    }
}

static void channel_write(Channel *c, uint8_t v, int64_t now)
{
    switch (c->rw) {
    case RW_LSB: channel_load(c, v, now); break;
    case RW_MSB: channel_load(c, (uint16_t)(v << 8), now); break;
    case RW_BOTH:
        c->write_high = !c->write_high;
        if (!c->write_high) {
            channel_load(c, (uint16_t)(v << 8 | c->low_byte), now);
            break;
        }
        c->low_byte = v;
        if (c->mode == 0) { /* the first byte stops it, OUT is low */
            c->loaded = c->running = false;
            c->elapsed = 0;
        }
        break;
    default: break; /* no control word yet */
    }
}

static uint8_t channel_read(Channel *c, int64_t now)
{
    uint16_t v = 0;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched) {
        bool high = c->rw == RW_MSB || (c->rw == RW_BOTH && c->latched == 1);

        c->latched--;
        return (uint8_t)(high ? c->latch >> 8 : c->latch);
    }
    v = (uint16_t)channel_count(c, now);
    if (c->rw == RW_MSB)
        return v >> 8;
    if (c->rw != RW_BOTH)
        return (uint8_t)v;
    c->read_high = !c->read_high;
    return (uint8_t)(c->read_high ? v : v >> 8);
}

static uint64_t pit_read(void *arg, uint64_t at, unsigned size)
{
    Pit *s = arg;
    int64_t now = pit_ticks(s);

    (void)size;
    if (at == CONTROL)
        return 0xff; /* write-only: the bus floats */
    channel_sync(&s->ch[at], now);
    return channel_read(&s->ch[at], now);
}

static void pit_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Pit *s = arg;
    int64_t now = pit_serve(s, clock_now(s->dev.clock));

    (void)size;
    if (at == 0 || (at == CONTROL && v >> 6 == 0 && (v >> 4 & 3) != RW_LATCH))
        pit_settle(s);
    for (unsigned i = 1; i < CHANNELS; i++)
        channel_sync(&s->ch[i], now);
    if (at == CONTROL)
        pit_control(s, (uint8_t)v, now);
    else
        channel_write(&s->ch[at], (uint8_t)v, now);
    pit_update(s, now);
}

static uint64_t port61_read(void *arg, uint64_t at, unsigned size)
{
    Pit *s = arg;
    int64_t now = pit_ticks(s);
    bool refresh = clock_now(s->dev.clock) / REFRESH_NS & 1;

    (void)at;
    (void)size;
    channel_sync(&s->ch[2], now);
    return s->p61 | (refresh ? P61_REFRESH : 0) | (channel_out(&s->ch[2], now) ? P61_OUT2 : 0);
}

static void port61_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Pit *s = arg;
    int64_t now = pit_ticks(s);

    (void)at;
    (void)size;
    s->p61 = v & P61_WRITABLE;
    channel_sync(&s->ch[2], now);
    channel_set_gate(&s->ch[2], v & P61_GATE2, now);
}

static const RegionOps pit_ops = {pit_read, pit_write, 1, 1};
static const RegionOps port61_ops = {port61_read, port61_write, 1, 1};

/* ---- device ---- */

static bool pit_realize(Device *d, Error *err)
{
    AS(Pit, s, d);

    (void)err;
    timer_init(&s->timer, d->clock, d->lock, pit_fire, s);
    region_io(&s->io, "pit", 4, &pit_ops, s, d->lock);
    region_io(&s->port61, "port61", 1, &port61_ops, s, d->lock);
    return true;
}

static void pit_unrealize(Device *d)
{
    AS(Pit, s, d);

    region_fini(&s->io);
    region_fini(&s->port61);
    timer_stop(&s->timer);
}

/* The data sheet leaves it undefined; as firmware sets it: channel 0 makes 18.2 Hz. */
static void pit_reset(Device *d, ResetPhase phase)
{
    AS(Pit, s, d);
    int64_t now = pit_ticks(s);

    if (phase == RESET_ENTER) {
        s->p61 = 0;
        s->edge = -1;
        s->debt = (TickDebt){0};
        for (unsigned i = 0; i < CHANNELS; i++) {
            s->ch[i] = (Channel){.rw = RW_BOTH, .mode = 3, .gate = i != 2};
            channel_load(&s->ch[i], 0, now);
        }
    } else {
        pit_update(s, now);
    }
}

static bool channel_is_sane(const Channel *c)
{
    const int64_t max = INT64_MAX / 4;

    return c->mode <= 5 && c->rw <= RW_BOTH && c->latched <= 2 && c->start > -max &&
           c->start < max && c->elapsed >= 0 && c->elapsed < max && c->switch_at >= 0 &&
           c->switch_at < max;
}

static bool pit_loaded(Device *d, Error *err)
{
    AS(Pit, s, d);

    for (unsigned i = 0; i < CHANNELS; i++)
        if (!channel_is_sane(&s->ch[i]))
            return error_set(err, "isa-pit: impossible state of channel %u", i);
    if (s->edge < -1 || s->edge > INT64_MAX / 4 || !debt_is_sane(&s->debt))
        return error_set(err, "isa-pit: impossible next edge");
    pit_count_edges(s, pit_ticks(s));
    pit_update(s, pit_ticks(s));
    return true;
}

static const Field channel_fields[] = {
    STATE(Channel, reload),
    STATE(Channel, count),
    STATE(Channel, latch),
    STATE(Channel, status),
    STATE(Channel, rw),
    STATE(Channel, mode),
    STATE(Channel, low_byte),
    STATE(Channel, latched),
    STATE(Channel, bcd),
    STATE(Channel, gate),
    STATE(Channel, status_latched),
    STATE(Channel, write_high),
    STATE(Channel, read_high),
    STATE(Channel, running),
    STATE(Channel, loaded),
    STATE(Channel, switching),
    STATE(Channel, start),
    STATE(Channel, elapsed),
    STATE(Channel, switch_at),
};
static STRUCT_TYPE(channel_type, Channel, channel_fields);

static const Field pit_fields[] = {
    STATE(Pit, p61),
    STATE(Pit, edge),
    STATE_STRUCT(Pit, debt, &debt_type),
    STATE_STRUCT_ARRAY(Pit, ch, &channel_type),
};
static STRUCT_TYPE(pit_type, Pit, pit_fields);

static DeviceClass isa_pit_class = {
    .name = "isa-pit",
    .parent = "isa-device",
    .doc = "8254 interval timer and speaker port",
    .type = &pit_type,
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset = pit_reset,
    .loaded = pit_loaded,
};
DEVICE_REGISTER(isa_pit_class)
