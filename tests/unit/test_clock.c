/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of core/clock.c: test clocks step by step, real clocks against the host's. */
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "tests/unit/unit.h"

typedef struct Seen {
    Clock *clock;
    Timer t;
    int64_t at[8];
    unsigned n;
    int64_t again_in; /* re-arm by this much; 0: no */
    Timer *stops;     /* stop this one */
} Seen;

static void seen_fire(void *arg)
{
    Seen *s = arg;

    s->at[s->n++ % COUNT_OF(s->at)] = clock_now(s->clock);
    if (s->again_in)
        timer_at(&s->t, clock_now(s->clock) + s->again_in);
    if (s->stops)
        timer_stop(s->stops);
}

static void seen_init(Seen *s, Clock *c, Lock *lock)
{
    memset(s, 0, sizeof *s);
    s->clock = c;
    timer_init(&s->t, c, lock, seen_fire, s);
}

static int64_t host_now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

START_TEST(timers_fire_in_order_each_at_its_own_time)
{
    Clock *c = clock_new(CLOCK_TEST, NULL);
    Seen a, b;

    seen_init(&a, c, NULL);
    seen_init(&b, c, NULL);
    timer_at(&a.t, 200);
    timer_at(&b.t, 100);
    clock_step(c, 99);
    ck_assert_uint_eq(a.n + b.n, 0);
    clock_step(c, 301);
    ck_assert_int_eq(b.at[0], 100);
    ck_assert_int_eq(a.at[0], 200);
    ck_assert_int_eq(clock_now(c), 400);
    ck_assert(!timer_armed(&a.t));
    clock_free(c);
}
END_TEST

START_TEST(a_timer_may_rearm_itself)
{
    Clock *c = clock_new(CLOCK_TEST, NULL);
    Seen s;

    seen_init(&s, c, NULL);
    s.again_in = 10;
    timer_at(&s.t, 10);
    clock_step(c, 45);
    ck_assert_uint_eq(s.n, 4);
    ck_assert_int_eq(s.at[3], 40);
    timer_stop(&s.t);
    clock_step(c, 100);
    ck_assert_uint_eq(s.n, 4);
    clock_free(c);
}
END_TEST

START_TEST(a_stopped_timer_does_not_fire_even_if_due)
{
    Clock *c = clock_new(CLOCK_TEST, NULL);
    Seen a, b;

    seen_init(&a, c, NULL);
    seen_init(&b, c, NULL);
    a.stops = &b.t;
    timer_at(&a.t, 5);
    timer_at(&b.t, 5);
    clock_step(c, 10);
    ck_assert_uint_eq(a.n, 1);
    ck_assert_uint_eq(b.n, 0);
    clock_free(c);
}
END_TEST

START_TEST(a_past_due_fires_at_the_next_step_not_inline)
{
    Clock *c = clock_new(CLOCK_TEST, NULL);
    Seen s;

    clock_set(c, 1000);
    seen_init(&s, c, NULL);
    timer_at(&s.t, 5);
    ck_assert_uint_eq(s.n, 0);
    clock_step(c, 0);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_int_eq(s.at[0], 1000);
    clock_free(c);
}
END_TEST

START_TEST(stopping_a_timer_that_was_never_set_up_is_fine)
{
    Timer t = {0};

    timer_stop(&t);
}
END_TEST

START_TEST(the_virtual_clock_stands_still_until_started_and_when_stopped)
{
    Clock *c = clock_new(CLOCK_VIRTUAL, NULL);

    ck_assert_int_eq(clock_now(c), 0);
    clock_set(c, 123456789);
    ck_assert_int_eq(clock_now(c), 123456789);
    clock_start(c);
    int64_t from = host_now(CLOCK_MONOTONIC);
    while (host_now(CLOCK_MONOTONIC) - from < 2000000)
        continue;
    clock_stop(c);
    int64_t then = clock_now(c);
    ck_assert_int_ge(then, 123456789 + 1900000);
    ck_assert_int_eq(clock_now(c), then);
    clock_free(c);
}
END_TEST

START_TEST(the_tsc_is_now_at_the_stated_rate)
{
    Clock *c = clock_new(CLOCK_VIRTUAL, NULL);
    static const int64_t times[] = {
        0, 1, 999999999, 1000000000, 86400ll * 1000000000, INT64_C(1) << 58};

    for (unsigned i = 0; i < COUNT_OF(times); i++) {
        clock_set(c, times[i]);
        ck_assert_int_eq(clock_now(c), times[i]);
        unsigned __int128 want = (unsigned __int128)times[i] * clock_tsc_hz(c) / 1000000000;
        uint64_t off = clock_tsc(c) - (uint64_t)want;
        ck_assert_uint_le(off, 1); /* rounded up */
    }
    clock_free(c);
}
END_TEST

/* A clock's reading between two of the host's: we may be interrupted for long anywhere. */
typedef struct Reading {
    int64_t before, now, after;
} Reading;

static Reading reading_of(const Clock *c, clockid_t id)
{
    Reading r;

    r.before = host_now(id);
    r.now = clock_now(c);
    r.after = host_now(id);
    return r;
}

START_TEST(real_clocks_follow_the_host)
{
    Clock *host = clock_new(CLOCK_HOST, NULL);
    int64_t made = host_now(CLOCK_MONOTONIC);
    Clock *rt = clock_new(CLOCK_REALTIME_NS, NULL);
    int64_t slack = host_now(CLOCK_MONOTONIC) - made + 1000000;
    Reading wall = reading_of(host, CLOCK_REALTIME), from = reading_of(rt, CLOCK_MONOTONIC);

    ck_assert_int_ge(wall.now, wall.before);
    ck_assert_int_le(wall.now, wall.after);
    ck_assert_int_ge(from.now, from.before - slack);
    ck_assert_int_le(from.now, from.after + slack);
    while (host_now(CLOCK_MONOTONIC) - from.after < 50000000)
        continue;
    Reading to = reading_of(rt, CLOCK_MONOTONIC);
    slack = (to.after - from.before) / 100;
    ck_assert_int_ge(to.now - from.now, to.before - from.after - slack);
    ck_assert_int_le(to.now - from.now, to.after - from.before + slack);
    clock_free(host);
    clock_free(rt);
}
END_TEST

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

START_TEST(one_loop_serves_several_clocks)
{
    Error err;
    Loop *l = loop_new(&err);
    Lock lock;
    Clock *v = clock_new(CLOCK_VIRTUAL, l), *r = clock_new(CLOCK_REALTIME_NS, l);
    Seen a, b, c;
    Timer end;

    lock_init(&lock, "device", RANK_DEVICE);
    seen_init(&a, v, &lock);
    seen_init(&b, r, &lock);
    seen_init(&c, v, &lock);
    timer_at(&a.t, 1000000);
    timer_at(&b.t, clock_now(r) + 2000000);
    timer_at(&c.t, INT64_MAX); /* as good as never */
    timer_init(&end, r, NULL, stop_loop, l);
    timer_at(&end, clock_now(r) + 5000000);
    clock_start(v);
    loop_run(l);
    ck_assert_uint_eq(a.n, 1);
    ck_assert_uint_eq(b.n, 1);
    ck_assert_uint_eq(c.n, 0);
    ck_assert_int_ge(a.at[0], 1000000);
    clock_free(v);
    clock_free(r);
    loop_free(l);
    lock_fini(&lock);
}
END_TEST

START_TEST(timers_of_a_stopped_clock_wait)
{
    Error err;
    Loop *l = loop_new(&err);
    Clock *v = clock_new(CLOCK_VIRTUAL, l);
    Seen s;

    seen_init(&s, v, NULL);
    timer_at(&s.t, 0);
    loop_step(l, 1000000);
    ck_assert_uint_eq(s.n, 0);
    clock_start(v);
    loop_step(l, 1000000);
    ck_assert_uint_eq(s.n, 1);
    clock_free(v);
    loop_free(l);
}
END_TEST

typedef struct Armer {
    Clock *c;
    Loop *l;
    Timer t[4];
    Lock lock;
    unsigned fired;
    _Atomic bool done;
} Armer;

static void armer_fire(void *arg)
{
    Armer *a = arg;

    if (++a->fired >= 200) /* under its lock */
        loop_stop(a->l);
}

static void *armer_thread(void *arg)
{
    Armer *a = arg;
    unsigned r = 1;

    while (!a->done) {
        r = r * 1103515245 + 12345;
        WITH_LOCK (&a->lock) {
            Timer *t = &a->t[r >> 8 & 3];
            if (r >> 16 & 3)
                timer_at(t, clock_now(a->c) + (r >> 20));
            else
                timer_stop(t);
        }
        if (!(r >> 24 & 15))
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL); /* mutexes are not fair */
    }
    return NULL;
}

START_TEST(timers_may_be_armed_by_other_threads)
{
    Error err;
    Armer a = {.l = loop_new(&err)};
    pthread_t th;

    a.c = clock_new(CLOCK_VIRTUAL, a.l);
    lock_init(&a.lock, "device", RANK_DEVICE);
    for (unsigned i = 0; i < 4; i++)
        timer_init(&a.t[i], a.c, &a.lock, armer_fire, &a);
    clock_start(a.c);
    ck_assert_int_eq(pthread_create(&th, NULL, armer_thread, &a), 0);
    loop_run(a.l);
    a.done = true;
    pthread_join(th, NULL);
    ck_assert_uint_ge(a.fired, 200);
    clock_free(a.c);
    loop_free(a.l);
    lock_fini(&a.lock);
}
END_TEST

UNIT_MAIN("clock", timers_fire_in_order_each_at_its_own_time, a_timer_may_rearm_itself,
          a_stopped_timer_does_not_fire_even_if_due, a_past_due_fires_at_the_next_step_not_inline,
          stopping_a_timer_that_was_never_set_up_is_fine,
          the_virtual_clock_stands_still_until_started_and_when_stopped,
          the_tsc_is_now_at_the_stated_rate, real_clocks_follow_the_host,
          one_loop_serves_several_clocks, timers_of_a_stopped_clock_wait,
          timers_may_be_armed_by_other_threads)
