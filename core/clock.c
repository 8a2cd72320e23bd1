/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock - clocks as an offset to a host counter, and their timers
 *
 *   ticks = (host counter & mask) - offset        now = ticks * 1e9 / hz
 *
 * A clock that stands still has mask 0 and the negated reading as its offset, so readers do not
 * tell the two apart; a sequence count makes the pair consistent.  clock_now() and clock_tsc() run
 * under translated code: general registers only, no calls into libc.
 */
#include "base/alloc.h"
#include "core/clock.h"
#include "core/host_time_priv.h"

enum { NS_SHIFT = 60, FIRE_BUDGET = 64 };
#define NS_PER_S 1000000000ull

typedef enum Source { SOURCE_TSC, SOURCE_MONOTONIC, SOURCE_WALL, SOURCE_NONE } Source;

struct Clock {
    _Atomic uint32_t seq; /* odd while mask and offset change */
    Source source;
    _Atomic uint64_t mask, offset;
    uint64_t to_ns; /* ns per tick << NS_SHIFT, rounded up */
    uint64_t hz;
    ClockKind kind;
    Loop *loop;
    Lock lock; /* leaf: the list, and changes of mask and offset */
    Timer *head;
    int64_t waits_for; /* what the loop was last told */
};

/* --- reading --- */

static inline uint64_t source_read(Source s)
{
    switch (s) {
    case SOURCE_TSC: return host_tsc_read();
    case SOURCE_MONOTONIC: return (uint64_t)host_clock_ns(CLOCK_MONOTONIC);
    case SOURCE_WALL: return (uint64_t)host_clock_ns(CLOCK_REALTIME);
    default: return 0;
    }
}

uint64_t clock_tsc(const Clock *c)
{
    for (;;) {
        uint32_t seq = atomic_load_explicit(&c->seq, memory_order_acquire);
        uint64_t mask = atomic_load_explicit(&c->mask, memory_order_relaxed);
        uint64_t offset = atomic_load_explicit(&c->offset, memory_order_relaxed);
        uint64_t ticks = (mask ? source_read(c->source) : 0) - offset;

        atomic_thread_fence(memory_order_acquire);
        if (LIKELY(!(seq & 1) && atomic_load_explicit(&c->seq, memory_order_relaxed) == seq))
            return ticks;
    }
}

int64_t clock_now(const Clock *c)
{
    return (int64_t)((unsigned __int128)clock_tsc(c) * c->to_ns >> NS_SHIFT);
}

uint64_t clock_tsc_hz(const Clock *c)
{
    return c->hz;
}

/* --- setting --- */

static uint64_t clock_ticks_of(const Clock *c, int64_t ns)
{
    return (uint64_t)(((unsigned __int128)(uint64_t)ns * c->hz + NS_PER_S - 1) / NS_PER_S);
}

/* Let the clock read @ticks now, and run or stand still from there. */
static void clock_set_locked(Clock *c, uint64_t ticks, bool runs)
{
    uint32_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);

    atomic_store_explicit(&c->seq, seq + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&c->mask, runs ? UINT64_MAX : 0, memory_order_relaxed);
    atomic_store_explicit(&c->offset, (runs ? source_read(c->source) : 0) - ticks,
                          memory_order_relaxed);
    atomic_store_explicit(&c->seq, seq + 2, memory_order_release);
}

static bool clock_runs(const Clock *c)
{
    return atomic_load_explicit(&c->mask, memory_order_relaxed) != 0;
}

void clock_start(Clock *c)
{
    if (c->kind != CLOCK_VIRTUAL)
        return;
    WITH_LOCK (&c->lock) {
        if (!clock_runs(c))
            clock_set_locked(c, clock_tsc(c), true);
        c->waits_for = INT64_MAX;
    }
    if (c->loop)
        loop_wake(c->loop);
}

void clock_stop(Clock *c)
{
    if (c->kind != CLOCK_VIRTUAL)
        return;
    WITH_LOCK (&c->lock)
        if (clock_runs(c))
            clock_set_locked(c, clock_tsc(c), false);
}

void clock_set(Clock *c, int64_t now)
{
    assert(now >= 0 && (c->kind == CLOCK_TEST || (c->kind == CLOCK_VIRTUAL && !clock_runs(c))));
    WITH_LOCK (&c->lock)
        clock_set_locked(c, clock_ticks_of(c, now), false);
}

/* --- timers --- */

static void timer_unlink_locked(Timer *t)
{
    for (Timer **p = &t->clock->head; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->due = -1;
    t->next = NULL;
}

void timer_init(Timer *t, Clock *c, Lock *lock, TimerFn *fn, void *arg)
{
    *t = (Timer){.clock = c, .lock = lock, .fn = fn, .arg = arg, .due = -1};
}

void timer_at(Timer *t, int64_t due)
{
    Clock *c = t->clock;
    bool sooner = false;

    WITH_LOCK (&c->lock) {
        if (t->due >= 0)
            timer_unlink_locked(t);
        t->due = MAX(due, 0);
        Timer **p = &c->head;
        while (*p && (*p)->due <= t->due)
            p = &(*p)->next;
        t->next = *p;
        *p = t;
        sooner = t->due < c->waits_for && clock_runs(c);
    }
    if (sooner && c->loop)
        loop_wake(c->loop);
}

void timer_stop(Timer *t)
{
    Clock *c = t->clock;

    if (!c)
        return; /* never set up: devices stop all they have, also after a failed realize */
    WITH_LOCK (&c->lock)
        if (t->due >= 0)
            timer_unlink_locked(t);
}

/*
 * Fire the first timer if it is due at @until.  The timer's lock ranks below the clock's, so it is
 * taken in between, and the timer looked at again: by then it may be stopped or freed.  Only its
 * lock must live on (it belongs to the machine or to the bus).
 */
static bool clock_fire_one(Clock *c, int64_t until)
{
    Timer *t = NULL;
    Lock *lock = NULL;
    TimerFn *fn = NULL;
    void *arg = NULL;

    WITH_LOCK (&c->lock)
        if (c->head && c->head->due <= until) {
            t = c->head;
            lock = t->lock;
        }
    if (!t)
        return false;
    if (lock)
        lock_take(lock);
    WITH_LOCK (&c->lock)
        if (c->head == t && t->lock == lock && t->due <= until) {
            timer_unlink_locked(t);
            fn = t->fn;
            arg = t->arg;
        }
    if (fn)
        fn(arg);
    if (lock)
        lock_drop(lock);
    return true;
}

/* For the loop: ns until the next timer, -1 if there is none. */
static int64_t clock_next(void *arg)
{
    Clock *c = arg;
    int64_t in = -1;

    WITH_LOCK (&c->lock) {
        bool waits = c->head && clock_runs(c);
        c->waits_for = waits ? c->head->due : INT64_MAX;
        if (waits)
            in = MAX(c->head->due - clock_now(c), 0);
    }
    return in;
}

/* For the loop.  Bounded, so that timers that are always due leave room for file descriptors. */
static void clock_fire(void *arg)
{
    Clock *c = arg;
    int64_t now = clock_now(c);

    if (!clock_runs(c))
        return;
    for (int i = 0; i < FIRE_BUDGET && clock_fire_one(c, now); i++)
        continue;
}

void clock_step(Clock *c, int64_t ns)
{
    int64_t end = clock_now(c) + ns;

    assert(c->kind == CLOCK_TEST && ns >= 0);
    for (;;) {
        int64_t due = INT64_MAX;
        WITH_LOCK (&c->lock)
            if (c->head)
                due = c->head->due;
        if (due > end)
            break;
        clock_set(c, MAX(due, clock_now(c)));
        clock_fire_one(c, clock_now(c));
    }
    clock_set(c, end);
}

/* --- life --- */

static Source source_of(ClockKind kind)
{
    switch (kind) {
    case CLOCK_TEST: return SOURCE_NONE;
    case CLOCK_HOST: return SOURCE_WALL;
    default: return host_tsc()->invariant ? SOURCE_TSC : SOURCE_MONOTONIC;
    }
}

Clock *clock_new(ClockKind kind, Loop *loop)
{
    Clock *c = xnew(Clock);

    c->kind = kind;
    c->source = source_of(kind);
    c->hz = c->source == SOURCE_TSC ? host_tsc()->hz : NS_PER_S;
    c->to_ns = (uint64_t)((((unsigned __int128)NS_PER_S << NS_SHIFT) + c->hz - 1) / c->hz);
    c->loop = kind == CLOCK_TEST ? NULL : loop;
    c->waits_for = INT64_MAX;
    lock_init(&c->lock, "clock", RANK_QUEUE);
    if (kind == CLOCK_HOST) /* offset 0: it is its source */
        atomic_store(&c->mask, UINT64_MAX);
    else if (kind == CLOCK_REALTIME_NS)
        clock_set_locked(c, clock_ticks_of(c, host_clock_ns(CLOCK_MONOTONIC)), true);
    if (c->loop)
        loop_timers(c->loop, clock_next, clock_fire, c);
    return c;
}

void clock_free(Clock *c)
{
    if (!c)
        return;
    if (c->loop)
        loop_timers(c->loop, NULL, NULL, c);
    lock_fini(&c->lock);
    xfree(c);
}
