/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_throttle - groups of ports that share limits
 */
#include <pthread.h>
#include <time.h>

#include "block/throttle.h"
#include "block_unit.h"

enum { READS = 20 };

static ThrottleLimits iops(uint64_t n)
{
    ThrottleLimits l;

    throttle_limits_none(&l);
    l.avg[THROTTLE_IOPS_TOTAL] = n;
    return l;
}

static void *reader(void *arg)
{
    char buf[512];

    for (unsigned i = 0; i < READS; i++)
        ck_assert_int_eq(block_read(arg, 0, buf, sizeof buf), 0);
    return NULL;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Both at once; how long it takes. */
static double read_both(BlockPort *const p[2])
{
    double then = seconds();
    pthread_t t[2];

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, reader, p[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    return seconds() - then;
}

static BlockPort *drive(Place *p, unsigned i, const char *name)
{
    BlockNode *n = raw(p, i, 4096, 0);
    BlockPort *port = block_port_new(p->g, name, n, PERM_READ, PERM_ALL, &p->err);

    ck_assert_msg(port != NULL, "%s", p->err.msg);
    node_unref(n);
    return port;
}

START_TEST(ports_of_a_group_share_its_limits)
{
    ThrottleLimits l = iops(100);
    BlockPort *d[2];
    Place p;

    place_make(&p);
    for (unsigned i = 0; i < 2; i++) {
        d[i] = drive(&p, i, i ? "b" : "a");
        ck_assert(block_port_throttle(d[i], "g", &l, &p.err));
        ck_assert_str_eq(block_port_limits(d[i], &l), "g");
    }
    /* A tenth of a second's worth passes at once. */
    ck_assert_double_ge(read_both(d), (2 * READS - 10) / 100.0 - 0.02);
    place_clear(&p);
}
END_TEST

START_TEST(a_port_leaves_its_group_without_the_others)
{
    ThrottleLimits l = iops(100000), none;
    BlockPort *d[2];
    Place p;

    throttle_limits_none(&none);
    place_make(&p);
    for (unsigned i = 0; i < 2; i++) {
        d[i] = drive(&p, i, i ? "b" : "a");
        ck_assert(block_port_throttle(d[i], "g", &l, &p.err));
    }
    ck_assert(block_port_throttle(d[0], NULL, &none, &p.err));
    ck_assert_ptr_null(block_port_limits(d[0], &l));
    ck_assert_str_eq(block_port_limits(d[1], &l), "g");
    ck_assert(block_port_throttle(d[0], NULL, &l, &p.err)); /* one of its own now */
    ck_assert_str_eq(block_port_limits(d[0], &l), "a");
    l = iops(7);
    ck_assert(block_port_throttle(d[1], "a", &l, &p.err));
    ck_assert_str_eq(block_port_limits(d[0], &l), "a");
    ck_assert_uint_eq(l.avg[THROTTLE_IOPS_TOTAL], 7);
    l.avg[THROTTLE_IOPS_READ] = 1;
    ck_assert(!block_port_throttle(d[0], "h", &l, &p.err));
    ck_assert_str_eq(block_port_limits(d[0], &l), "a");
    place_clear(&p);
}
END_TEST

START_TEST(requests_that_wait_in_a_group_pass_when_their_port_leaves_it)
{
    ThrottleLimits slow = iops(1), none;
    BlockPort *d[2];
    pthread_t t;
    Place p;

    throttle_limits_none(&none);
    place_make(&p);
    for (unsigned i = 0; i < 2; i++) {
        d[i] = drive(&p, i, i ? "b" : "a");
        ck_assert(block_port_throttle(d[i], "g", &slow, &p.err));
    }
    ck_assert_int_eq(pthread_create(&t, NULL, reader, d[0]), 0);
    usleep(20000);
    ck_assert(block_port_throttle(d[0], NULL, &none, &p.err));
    pthread_join(t, NULL);
    ck_assert(block_port_throttle(d[1], NULL, &none, &p.err));
    place_clear(&p);
}
END_TEST

UNIT_MAIN("throttle", ports_of_a_group_share_its_limits, a_port_leaves_its_group_without_the_others,
          requests_that_wait_in_a_group_pass_when_their_port_leaves_it)
