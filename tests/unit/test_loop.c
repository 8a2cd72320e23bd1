/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/loop.h */
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/loop.h"
#include "tests/unit/unit.h"

static Loop *loop(void)
{
    Error err;
    Loop *l = loop_new(&err);

    ck_assert_msg(l != NULL, "%s", err.msg);
    return l;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* --- posts --- */

enum { POSTERS = 4, POSTS = 5000 };

typedef struct Poster {
    Loop *loop;
    unsigned sent, got, *left;
    pthread_t thread;
} Poster;

typedef struct Letter {
    Poster *from;
    unsigned n;
} Letter;

static void letter_arrives(void *arg)
{
    Letter *l = arg;

    ck_assert(loop_is_mine(l->from->loop));
    ck_assert_uint_eq(l->n, l->from->got++); /* in the order they were sent */
    if (--*l->from->left == 0)
        loop_stop(l->from->loop);
    xfree(l);
}

static void *poster_main(void *arg)
{
    Poster *p = arg;

    ck_assert(!loop_is_mine(p->loop));
    for (; p->sent < POSTS; p->sent++) {
        Letter *l = xnew(Letter);

        *l = (Letter){p, p->sent};
        loop_post(p->loop, letter_arrives, l);
    }
    return NULL;
}

START_TEST(posts_of_four_threads_arrive_each_in_order)
{
    Poster p[POSTERS];
    unsigned left = POSTERS * POSTS;
    Loop *l = loop();

    ck_assert(loop_is_mine(l));
    loop_step(l, 0); /* now it is this thread's */
    for (int i = 0; i < POSTERS; i++) {
        p[i] = (Poster){.loop = l, .left = &left};
        pthread_create(&p[i].thread, NULL, poster_main, &p[i]);
    }
    loop_run(l);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(p[i].thread, NULL);
        ck_assert_uint_eq(p[i].got, POSTS);
    }
    loop_free(l);
}
END_TEST

typedef struct Chain {
    Loop *loop;
    int left;
} Chain;

static void chain_next(void *arg)
{
    Chain *c = arg;

    if (--c->left)
        loop_post(c->loop, chain_next, c);
}

START_TEST(a_post_from_a_post_comes_in_the_next_round)
{
    Chain c = {loop(), 3};

    loop_post(c.loop, chain_next, &c);
    for (int left = 2; left >= 0; left--) {
        ck_assert(loop_step(c.loop, 1000000000));
        ck_assert_int_eq(c.left, left);
    }
    ck_assert(loop_step(c.loop, 0));
    loop_free(c.loop);
}
END_TEST

START_TEST(posts_left_behind_are_dropped)
{
    Chain c = {loop(), 3};

    loop_post(c.loop, chain_next, &c);
    loop_free(c.loop);
    ck_assert_int_eq(c.left, 3);
}
END_TEST

/* --- stopping --- */

START_TEST(a_stop_from_before_counts_and_then_it_runs_again)
{
    Loop *l = loop();

    loop_stop(l);
    ck_assert(!loop_step(l, -1));
    loop_run(l);
    ck_assert(loop_step(l, 0));
    loop_stop(l);
    loop_run(l);
    loop_free(l);
}
END_TEST

START_TEST(a_step_waits_no_longer_than_told)
{
    Loop *l = loop();
    int64_t start = now_ns();

    ck_assert(loop_step(l, 20000000));
    ck_assert_int_ge(now_ns() - start, 19000000);
    ck_assert(loop_step(l, 0));
    loop_wake(l);
    ck_assert(loop_step(l, -1)); /* the wake-up ends it */
    start = now_ns();
    ck_assert(loop_step(l, 20000000)); /* and was used up */
    ck_assert_int_ge(now_ns() - start, 19000000);
    loop_free(l);
}
END_TEST

/* --- descriptors --- */

typedef struct Reader {
    Loop *loop;
    int fd[2], calls, drop; /* drop: stop watching this descriptor when called, -1: none */
    uint32_t events;
} Reader;

static void reader_ready(void *arg, int fd, uint32_t events)
{
    Reader *r = arg;
    char c;

    ck_assert_int_eq(fd, r->fd[0]);
    r->calls++;
    r->events = events;
    if (events & LOOP_READ)
        ck_assert_int_ge(read(fd, &c, 1), 0);
    if (r->drop >= 0)
        ck_assert(loop_watch(r->loop, r->drop, 0, NULL, NULL));
}

static Reader reader(Loop *l)
{
    Reader r = {.loop = l, .drop = -1};

    ck_assert_int_eq(pipe(r.fd), 0);
    return r;
}

START_TEST(readable_descriptors_are_told)
{
    Loop *l = loop();
    Reader r = reader(l);

    ck_assert(loop_watch(l, r.fd[0], LOOP_READ, reader_ready, &r));
    loop_step(l, 0);
    ck_assert_int_eq(r.calls, 0);
    ck_assert_int_eq(write(r.fd[1], "ab", 2), 2);
    loop_step(l, -1);
    loop_step(l, -1);
    ck_assert_int_eq(r.calls, 2);
    ck_assert_uint_eq(r.events, LOOP_READ);
    close(r.fd[1]);
    loop_step(l, -1);
    ck_assert_uint_eq(r.events, LOOP_HUP);
    loop_watch(l, r.fd[0], 0, NULL, NULL);
    loop_step(l, 0);
    ck_assert_int_eq(r.calls, 3);
    close(r.fd[0]);
    loop_free(l);
}
END_TEST

START_TEST(a_watch_removed_in_the_same_round_is_not_called)
{
    Loop *l = loop();
    Reader a = reader(l), b = reader(l);

    loop_watch(l, a.fd[0], LOOP_READ, reader_ready, &a);
    loop_watch(l, b.fd[0], LOOP_READ, reader_ready, &b);
    a.drop = b.fd[0];
    b.drop = a.fd[0];
    ck_assert_int_eq(write(a.fd[1], "x", 1) + write(b.fd[1], "x", 1), 2);
    loop_step(l, -1);
    ck_assert_int_eq(a.calls + b.calls, 1);
    for (int i = 0; i < 2; i++) {
        close(a.fd[i]);
        close(b.fd[i]);
    }
    loop_free(l);
}
END_TEST

START_TEST(plain_files_are_always_ready)
{
    Loop *l = loop();
    Reader r = {.loop = l, .fd = {open("/dev/null", O_RDONLY), -1}, .drop = -1};

    ck_assert(loop_watch(l, r.fd[0], LOOP_READ, reader_ready, &r));
    loop_step(l, -1);
    loop_step(l, -1);
    ck_assert_int_eq(r.calls, 2);
    loop_watch(l, r.fd[0], 0, NULL, NULL);
    loop_step(l, 0);
    ck_assert_int_eq(r.calls, 2);
    close(r.fd[0]);
    ck_assert(!loop_watch(l, r.fd[0], LOOP_READ, reader_ready, &r));
    loop_free(l);
}
END_TEST

/* --- deadlines --- */

typedef struct Deadline {
    int64_t due;
    int fired;
} Deadline;

static int64_t deadline_next(void *arg)
{
    Deadline *d = arg;

    return d->due < 0 ? -1 : MAX(d->due - now_ns(), 0);
}

static void deadline_fire(void *arg)
{
    Deadline *d = arg;

    if (d->due >= 0 && now_ns() >= d->due) {
        d->fired++;
        d->due = -1;
    }
}

START_TEST(deadlines_end_a_wait)
{
    Loop *l = loop();
    Deadline d = {-1, 0};

    loop_timers(l, deadline_next, deadline_fire, &d);
    loop_step(l, 1000000);
    ck_assert_int_eq(d.fired, 0);
    d.due = now_ns() + 5000000;
    while (!d.fired)
        ck_assert(loop_step(l, -1));
    d.due = 0; /* long past */
    loop_step(l, -1);
    ck_assert_int_eq(d.fired, 2);
    loop_free(l);
}
END_TEST

UNIT_MAIN("loop", posts_of_four_threads_arrive_each_in_order,
          a_post_from_a_post_comes_in_the_next_round, posts_left_behind_are_dropped,
          a_stop_from_before_counts_and_then_it_runs_again, a_step_waits_no_longer_than_told,
          readable_descriptors_are_told, a_watch_removed_in_the_same_round_is_not_called,
          plain_files_are_always_ready, deadlines_end_a_wait)
