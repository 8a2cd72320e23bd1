/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818 - real-time clock and CMOS memory
 *
 * Motorola MC146818A data sheet (ADI1037R1); 128 bytes and the century as the PC has them.  While
 * the clock runs the time is another clock (-rtc clock=) plus an offset, and the time registers are
 * computed from it; while it is set they are plain memory.  Flags are worked out when somebody
 * looks; a timer runs only for interrupts that are enabled.  Periodic interrupts that come true
 * while the last one waits to be read are lost, as in silicon, or with -rtc driftfix=slew follow
 * (debt.h).
 */
#include "hw/timer/mc146818.h"

#include <time.h>

#include "core/command.h"
#include "core/hotplug.h"
#include "core/machine.h"
#include "hw/timer/debt.h"

enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32,
    CMOS_SIZE = 0x80
};
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_DIVIDER_OFF = 0x60, A_RATE = 0x0f };
enum {
    B_24H = 0x02,
    B_BINARY = 0x04,
    B_SQWE = 0x08,
    B_UIE = 0x10,
    B_AIE = 0x20,
    B_PIE = 0x40,
    B_SET = 0x80
};
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VRT = 0x80, HOURS_PM = 0x80, ALARM_ANY = 0xc0, NMI_MASK = 0x80 };

#define NS_PER_S 1000000000ll
#define UIP_NS 244000 /* "update in progress" warns this long before */
#define OSCILLATOR_HZ 32768
#define DAY_S 86400
#define MAX_S 1000000000000ll /* bound on offset_s: the registers reach to the year 25755 */

typedef struct Rtc {
    Device dev;
    Region io;
    Timer timer;
    uint8_t index; /* as written to port 0x70, NMI mask included */
    uint8_t cmos[CMOS_SIZE];
    int64_t offset_s;     /* guest's time = source clock + offset_ns, + offset_s seconds */
    int64_t offset_ns;    /* 0 .. NS_PER_S - 1 */
    uint8_t weekday_skew; /* of the guest's day of week to the calendar's */
    bool reset_divider;   /* the divider chain was held since the time was set */
    int64_t seen_s;       /* second of the guest's time that UF and AF know of */
    int64_t seen_ticks;   /* oscillator ticks of the virtual clock that PF knows of */
    TickDebt debt;        /* periodic interrupts to come, under driftfix=slew */
    int64_t base_s;       /* offset_s as -rtc gave it: what management compares with */
} Rtc;

typedef struct RtcChange {
    int64_t offset;
    char *path;
} RtcChange;
static const Field rtc_change_fields[] = {
    ARG(RtcChange, offset, "offset", "seconds from the time of -rtc base to the guest's"),
    ARG(RtcChange, path, "qom-path", "of the clock"),
};
static STRUCT_TYPE(rtc_change_type, RtcChange, rtc_change_fields);
EVENT(rtc_change, .name = "RTC_CHANGE", .data = &rtc_change_type, .rate_ms = 1000,
      .doc = "The guest set its real-time clock.")

Region *rtc_io(Device *d)
{
    return &((Rtc *)d)->io;
}
bool rtc_nmi_masked(const Device *d)
{
    return ((const Rtc *)d)->index & NMI_MASK;
}

void rtc_set_cmos(Device *d, unsigned index, uint8_t v)
{
    assert(index > REG_D && index < CMOS_SIZE && index != CENTURY);
    ((Rtc *)d)->cmos[index] = v;
}

uint8_t rtc_cmos(const Device *d, unsigned index)
{
    assert(index < CMOS_SIZE);
    return ((const Rtc *)d)->cmos[index];
}

/* ---- time ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}
static int64_t floor_mod(int64_t a, int64_t b)
{
    return a - floor_div(a, b) * b;
}

static bool rtc_runs(const Rtc *s)
{
    return !(s->cmos[REG_B] & B_SET) && (s->cmos[REG_A] & A_DIVIDER) < A_DIVIDER_OFF;
}

/* Of the clock that -rtc clock= names. */
static int64_t rtc_source_ns(const Rtc *s)
{
    const Machine *m = s->dev.machine;

    return clock_now(m->cfg.rtc_clock == RTC_VM   ? m->vclock
                     : m->cfg.rtc_clock == RTC_RT ? m->rt_clock
                                                  : m->host_clock);
}
static int64_t rtc_now_s(const Rtc *s)
{
    return floor_div(rtc_source_ns(s) + s->offset_ns, NS_PER_S) + s->offset_s;
}
static int64_t rtc_phase(const Rtc *s)
{
    return floor_mod(rtc_source_ns(s) + s->offset_ns, NS_PER_S);
}

static void rtc_set_time(Rtc *s, int64_t second, int64_t phase)
{
    int64_t source = rtc_source_ns(s);

    s->offset_ns = floor_mod(phase - source, NS_PER_S);
    s->offset_s = second - floor_div(source + s->offset_ns, NS_PER_S);
    s->seen_s = second;
}

static uint8_t rtc_encode(const Rtc *s, unsigned v)
{
    return (uint8_t)(s->cmos[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned rtc_decode(const Rtc *s, uint8_t v)
{
    return s->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t rtc_encode_hour(const Rtc *s, unsigned hour)
{
    if (s->cmos[REG_B] & B_24H)
        return rtc_encode(s, hour);
    return rtc_encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned rtc_decode_hour(const Rtc *s, uint8_t v)
{
    if (s->cmos[REG_B] & B_24H)
        return rtc_decode(s, v);
    return rtc_decode(s, v & ~HOURS_PM) % 12 + (v & HOURS_PM ? 12 : 0);
}

/* The time registers as they read now. */
static void rtc_time_to_registers(Rtc *s)
{
    time_t t = (time_t)rtc_now_s(s);
    struct tm tm;

    if (!gmtime_r(&t, &tm))
        return;
    s->cmos[SECONDS] = rtc_encode(s, (unsigned)tm.tm_sec);
    s->cmos[MINUTES] = rtc_encode(s, (unsigned)tm.tm_min);
    s->cmos[HOURS] = rtc_encode_hour(s, (unsigned)tm.tm_hour);
    s->cmos[WEEKDAY] = rtc_encode(s, ((unsigned)tm.tm_wday + s->weekday_skew) % 7 + 1);
    s->cmos[DAY] = rtc_encode(s, (unsigned)tm.tm_mday);
    s->cmos[MONTH] = rtc_encode(s, (unsigned)tm.tm_mon + 1);
    s->cmos[YEAR] = rtc_encode(s, (unsigned)(tm.tm_year + 1900) % 100);
    s->cmos[CENTURY] = rtc_encode(s, (unsigned)(tm.tm_year + 1900) / 100 % 100);
}

static void rtc_tell(Rtc *s)
{
    RtcChange change = {.offset = s->offset_s - s->base_s, .path = device_path(&s->dev)};

    event_post(s->dev.machine, &event_rtc_change, &change);
    reflect_free(&rtc_change_type, &change);
}

/* The other way round; @phase: ns since the second began. */
static void rtc_time_from_registers(Rtc *s, int64_t phase)
{
    struct tm tm = {
        .tm_sec = (int)rtc_decode(s, s->cmos[SECONDS]),
        .tm_min = (int)rtc_decode(s, s->cmos[MINUTES]),
        .tm_hour = (int)rtc_decode_hour(s, s->cmos[HOURS]),
        .tm_mday = (int)rtc_decode(s, s->cmos[DAY]),
        .tm_mon = (int)rtc_decode(s, s->cmos[MONTH]) - 1,
        .tm_year =
            (int)(rtc_decode(s, s->cmos[CENTURY]) * 100 + rtc_decode(s, s->cmos[YEAR])) - 1900,
    };
    unsigned weekday = rtc_decode(s, s->cmos[WEEKDAY]);

    rtc_set_time(s, timegm(&tm), phase); /* fills tm_wday */
    s->weekday_skew = (uint8_t)((weekday + 6 + 7 - (unsigned)tm.tm_wday) % 7);
    rtc_tell(s);
}

/* ---- flags ---- */

static bool alarm_byte_matches(uint8_t alarm, uint8_t now)
{
    return alarm >= ALARM_ANY || alarm == now;
}

static bool rtc_alarm_matches(const Rtc *s, int64_t second)
{
    unsigned t = (unsigned)floor_mod(second, DAY_S);

    return alarm_byte_matches(s->cmos[SECONDS_ALARM], rtc_encode(s, t % 60)) &&
           alarm_byte_matches(s->cmos[MINUTES_ALARM], rtc_encode(s, t / 60 % 60)) &&
           alarm_byte_matches(s->cmos[HOURS_ALARM], rtc_encode_hour(s, t / 3600));
}

static int64_t rtc_ticks(const Rtc *s)
{
    return (int64_t)((unsigned __int128)(uint64_t)clock_now(s->dev.clock) * OSCILLATOR_HZ /
                     (uint64_t)NS_PER_S);
}

/* Of the periodic interrupt, in oscillator ticks; 0: off.  Table 5. */
static int64_t rtc_period(const Rtc *s)
{
    unsigned rate = s->cmos[REG_A] & A_RATE;

    if (!rate || (s->cmos[REG_A] & A_DIVIDER) >= A_DIVIDER_OFF)
        return 0;
    return 1 << (rate <= 2 ? rate + 6 : rate - 1);
}

static int64_t rtc_tick_ns(int64_t tick) /* when that tick begins */
{
    return (int64_t)(((unsigned __int128)(uint64_t)tick * NS_PER_S + OSCILLATOR_HZ - 1) /
                     OSCILLATOR_HZ);
}

static bool rtc_slews(const Rtc *s)
{
    return s->dev.machine->cfg.rtc_slew && (s->cmos[REG_B] & B_PIE) && rtc_period(s);
}

/* @passed periods have ended; PF is the first one's, or with none due one that is owed. */
static void rtc_sync_periodic(Rtc *s, int64_t passed)
{
    int64_t period = rtc_tick_ns(rtc_period(s));

    if (!rtc_slews(s)) {
        s->cmos[REG_C] |= passed ? C_PF : 0;
        s->debt.owed = 0;
        return;
    }
    debt_add(&s->debt, (uint64_t)passed, period);
    if (!(s->cmos[REG_C] & C_PF) && debt_pay(&s->debt, clock_now(s->dev.clock), period, EDGE_TAKEN))
        s->cmos[REG_C] |= C_PF;
}

/* Bring the flags of register C up to now. */
static void rtc_sync(Rtc *s)
{
    int64_t ticks = rtc_ticks(s), period = rtc_period(s), now_s = rtc_now_s(s);

    rtc_sync_periodic(s, period ? MAX(ticks / period - s->seen_ticks / period, 0) : 0);
    s->seen_ticks = ticks;
    if (rtc_runs(s) && now_s > s->seen_s) {
        s->cmos[REG_C] |= C_UF;
        for (int64_t t = MAX(s->seen_s, now_s - DAY_S) + 1; t <= now_s; t++) {
            if (rtc_alarm_matches(s, t)) {
                s->cmos[REG_C] |= C_AF;
                break;
            }
        }
    }
    s->seen_s = now_s;
}

static void rtc_update(Rtc *s)
{
    uint8_t b = s->cmos[REG_B];
    int64_t now = clock_now(s->dev.clock), due = INT64_MAX, period = rtc_period(s);
    bool irq = s->cmos[REG_C] & b & (C_PF | C_AF | C_UF);

    s->cmos[REG_C] = (s->cmos[REG_C] & ~C_IRQF) | (irq ? C_IRQF : 0);
    irq_set(&s->dev.irq, irq);
    if ((b & B_PIE) && period && !(s->cmos[REG_C] & C_PF)) {
        due = debt_due(&s->debt, rtc_tick_ns((s->seen_ticks / period + 1) * period));
    }
    if ((b & (B_UIE | B_AIE)) && rtc_runs(s))
        due = MIN(due, now + NS_PER_S - rtc_phase(s));
    if (due != INT64_MAX)
        timer_at(&s->timer, due);
    else
        timer_stop(&s->timer);
}

static void rtc_fire(void *arg)
{
    Rtc *s = arg;

    rtc_sync(s);
    rtc_update(s);
}

/* ---- registers ---- */

static bool is_time_register(unsigned i)
{
    return i == SECONDS || i == MINUTES || i == HOURS || (i >= WEEKDAY && i <= YEAR) ||
           i == CENTURY;
}

/* A or B change: the clock may stop, or go on from what the registers say. */
static void rtc_write_control(Rtc *s, unsigned i, uint8_t v)
{
    bool ran = rtc_runs(s);
    int64_t phase = rtc_phase(s);

    if (ran)
        rtc_time_to_registers(s);
    s->cmos[i] = v;
    if ((s->cmos[REG_A] & A_DIVIDER) >= A_DIVIDER_OFF)
        s->reset_divider = true;
    if (ran || !rtc_runs(s))
        return;
    rtc_time_from_registers(s, s->reset_divider ? NS_PER_S / 2
                                                : phase); /* "the first update is 500 ms later" */
    s->reset_divider = false;
}

static void rtc_write_register(Rtc *s, unsigned i, uint8_t v)
{
    if (i == REG_C || i == REG_D)
        return; /* read-only */
    rtc_sync(s);
    if (i == REG_A) {
        rtc_write_control(s, i, v & ~A_UIP);
    } else if (i == REG_B) {
        rtc_write_control(s, i, v & B_SET ? v & ~B_UIE : v);
    } else if (is_time_register(i) && rtc_runs(s)) {
        int64_t phase = rtc_phase(s);

        rtc_time_to_registers(s);
        s->cmos[i] = v;
        rtc_time_from_registers(s, phase);
    } else {
        s->cmos[i] = v;
    }
    rtc_update(s);
}

static uint8_t rtc_read_register(Rtc *s, unsigned i)
{
    uint8_t v = 0;

    if (is_time_register(i) && rtc_runs(s))
        rtc_time_to_registers(s);
    if (i == REG_A && rtc_runs(s) && rtc_phase(s) >= NS_PER_S - UIP_NS)
        return s->cmos[REG_A] | A_UIP;
    if (i != REG_C)
        return s->cmos[i];
    rtc_sync(s);
    rtc_update(s);
    v = s->cmos[REG_C];
    s->cmos[REG_C] = 0;
    rtc_update(s);
    return v;
}

static uint64_t rtc_read(void *arg, uint64_t at, unsigned size)
{
    Rtc *s = arg;

    (void)size;
    return at ? rtc_read_register(s, s->index % CMOS_SIZE) : 0xff; /* the index is write-only */
}

static void rtc_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Rtc *s = arg;

    (void)size;
    if (at)
        rtc_write_register(s, s->index % CMOS_SIZE, (uint8_t)v);
    else
        s->index = (uint8_t)v;
}

static const RegionOps rtc_ops = {rtc_read, rtc_write, 1, 1};

/* ---- device ---- */

static int64_t local_offset_s(int64_t utc)
{
    time_t t = (time_t)utc;
    struct tm tm;

    return localtime_r(&t, &tm) ? tm.tm_gmtoff : 0;
}

static bool rtc_realize(Device *d, Error *err)
{
    AS(Rtc, s, d);
    const MachineConfig *cfg = &d->machine->cfg;
    int64_t offset_s = cfg->rtc_offset_s, host;

    if (offset_s > MAX_S || offset_s < -MAX_S)
        return error_set(err, "the clock's offset of %" PRId64 " s is out of range", offset_s);
    s->offset_s = offset_s;
    host = clock_now(d->machine->host_clock);
    if (cfg->rtc_clock != RTC_HOST)
        rtc_set_time(s, floor_div(host, NS_PER_S) + offset_s, floor_mod(host, NS_PER_S));
    if (!cfg->rtc_utc)
        s->offset_s += local_offset_s(rtc_now_s(s));
    s->base_s = s->offset_s;
    s->cmos[REG_A] = 0x26; /* 32768 Hz crystal, 1024 Hz periodic rate */
    s->cmos[REG_B] = B_24H;
    s->cmos[REG_D] = D_VRT;
    s->seen_s = rtc_now_s(s);
    s->seen_ticks = rtc_ticks(s);
    timer_init(&s->timer, d->clock, d->lock, rtc_fire, s);
    region_io(&s->io, "rtc", 2, &rtc_ops, s, d->lock);
    return true;
}

static void rtc_unrealize(Device *d)
{
    AS(Rtc, s, d);

    region_fini(&s->io);
    timer_stop(&s->timer);
}

/* RESET leaves the time and the memory alone. */
static void rtc_reset(Device *d, ResetPhase phase)
{
    AS(Rtc, s, d);

    if (phase == RESET_ENTER) {
        s->index = 0;
        s->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
        s->cmos[REG_C] = 0;
        s->debt = (TickDebt){0};
    } else {
        rtc_sync(s);
        s->cmos[REG_C] = 0;
        rtc_update(s);
    }
}

static bool rtc_loaded(Device *d, Error *err)
{
    AS(Rtc, s, d);

    if (s->offset_s > MAX_S || s->offset_s < -MAX_S || s->offset_ns < 0 ||
        s->offset_ns >= NS_PER_S || s->weekday_skew > 6 || s->seen_ticks < 0 ||
        s->seen_ticks > INT64_MAX / NS_PER_S * OSCILLATOR_HZ || !debt_is_sane(&s->debt))
        return error_set(err, "mc146818rtc: impossible time");
    rtc_update(s);
    return true;
}

static const Field rtc_fields[] = {
    STATE(Rtc, index),     STATE_ARRAY(Rtc, cmos),   STATE(Rtc, offset_s),
    STATE(Rtc, offset_ns), STATE(Rtc, weekday_skew), STATE(Rtc, reset_divider),
    STATE(Rtc, seen_s),    STATE(Rtc, seen_ticks),   STATE_STRUCT(Rtc, debt, &debt_type),
};
static STRUCT_TYPE(rtc_type, Rtc, rtc_fields);

static DeviceClass mc146818rtc_class = {
    .name = "mc146818rtc",
    .parent = "isa-device",
    .doc = "real-time clock and CMOS memory",
    .type = &rtc_type,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
    .loaded = rtc_loaded,
};
DEVICE_REGISTER(mc146818rtc_class)
