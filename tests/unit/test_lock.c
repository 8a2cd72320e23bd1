/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/lock.h; the violations need a build with --check-locks */
#include <signal.h>

#include "base/lock.h"
#include "tests/unit/unit.h"

static Lock device, other, topology, queue;

static void locks_init(void)
{
    lock_init(&device, "device", RANK_DEVICE);
    lock_init(&other, "other device", RANK_DEVICE);
    lock_init(&topology, "topology", RANK_TOPOLOGY);
    lock_init(&queue, "queue", RANK_QUEUE);
}

static void locks_fini(void)
{
    lock_fini(&device);
    lock_fini(&other);
    lock_fini(&topology);
    lock_fini(&queue);
}

START_TEST(upward_is_fine_in_any_order_of_dropping)
{
    locks_init();
    for (int i = 0; i < 3; i++) {
        lock_take(&device);
        lock_take(&topology);
        lock_take(&queue);
        ck_assert(lock_held(&device) && lock_held(&topology) && lock_held(&queue));
        lock_drop(&device);
        lock_drop(&queue);
        lock_drop(&topology);
    }
    locks_fini();
}
END_TEST

enum { ROUNDS = 20000 };

static void *count_up(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        WITH_LOCK (&device)
            ++*(int *)arg;
    }
    return NULL;
}

START_TEST(one_thread_at_a_time)
{
    pthread_t t[4];
    int n = 0;

    locks_init();
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, count_up, &n);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    ck_assert_int_eq(n, 4 * ROUNDS);
    locks_fini();
}
END_TEST

static int leave_early(bool early)
{
    WITH_LOCK (&device) {
        if (early)
            return 1;
    }
    return 2;
}

START_TEST(with_lock_drops_on_every_way_out)
{
    locks_init();
    ck_assert_int_eq(leave_early(true), 1);
    ck_assert_int_eq(leave_early(false), 2);
    for (int i = 0; i < 2; i++) {
        WITH_LOCK (&device) {
            if (i == 0)
                break;
        }
    }
    ck_assert_int_eq(pthread_mutex_trylock(&device.m), 0);
    pthread_mutex_unlock(&device.m);
    locks_fini();
}
END_TEST

#ifdef CONFIG_CHECK_LOCKS

static void *is_held(void *arg)
{
    return lock_held(arg) ? arg : NULL;
}

START_TEST(held_means_by_this_thread)
{
    pthread_t t;
    void *answer;

    locks_init();
    ck_assert(!lock_held(&device));
    lock_take(&device);
    ck_assert(lock_held(&device));
    pthread_create(&t, NULL, is_held, &device);
    pthread_join(t, &answer);
    ck_assert_ptr_null(answer);
    lock_drop(&device);
    ck_assert(!lock_held(&device));
    locks_fini();
}
END_TEST

START_TEST(downward_aborts)
{
    locks_init();
    lock_take(&queue);
    lock_take(&device);
}
END_TEST

START_TEST(sideways_aborts)
{
    locks_init();
    lock_take(&device);
    lock_take(&other);
}
END_TEST

START_TEST(twice_aborts)
{
    locks_init();
    lock_take(&device);
    lock_take(&device);
}
END_TEST

START_TEST(dropping_what_is_not_held_aborts)
{
    locks_init();
    lock_drop(&device);
}
END_TEST

int main(void)
{
    const TTest *const fine[] = {upward_is_fine_in_any_order_of_dropping, one_thread_at_a_time,
                                 with_lock_drops_on_every_way_out, held_means_by_this_thread};
    const TTest *const deadly[] = {downward_aborts, sideways_aborts, twice_aborts,
                                   dropping_what_is_not_held_aborts};

    return unit_run("lock", fine, COUNT_OF(fine)) |
           unit_run_signal("lock ranks", deadly, COUNT_OF(deadly), SIGABRT);
}

#else

UNIT_MAIN("lock", upward_is_fine_in_any_order_of_dropping, one_thread_at_a_time,
          with_lock_drops_on_every_way_out)

#endif
