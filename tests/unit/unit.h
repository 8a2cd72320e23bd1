/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit - main() of a unit test program: UNIT_MAIN("clock", test_a, test_b) after the
 * START_TEST()s */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <check.h>

#include "base/base.h"

/* For main() of what needs more than UNIT_MAIN(): fixtures, loops. */
static inline int unit_run_case(const char *name, TCase *t)
{
    Suite *s = suite_create(name);
    SRunner *r = srunner_create(s);
    int failed;

    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

/* Each test must end by signal @sig (0: must pass). */
static inline int unit_run_signal(const char *name, const TTest *const *tests, size_t n, int sig)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 60);
    for (size_t i = 0; i < n; i++)
        tcase_add_test_raise_signal(t, tests[i], sig);
    return unit_run_case(name, t);
}

static inline int unit_run(const char *name, const TTest *const *tests, size_t n)
{
    return unit_run_signal(name, tests, n, 0);
}

#define UNIT_MAIN(name, ...)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
                                                                                                   \
        return unit_run(name, tests, COUNT_OF(tests));                                             \
    }

#endif
