/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/zero.h */
#include "base/alloc.h"
#include "base/zero.h"
#include "tests/unit/unit.h"

START_TEST(every_single_byte_counts)
{
    uint8_t *p = xalloc(2048);

    for (size_t at = 0; at < 9; at++)
        for (size_t size = 0; size < 700; size++) {
            ck_assert(is_zero(p + at, size));
            for (size_t i = 0; i < size; i += size < 40 ? 1 : 7) {
                p[at + i] = 0x80;
                ck_assert(!is_zero(p + at, size));
                p[at + i] = 0;
            }
        }
    xfree(p);
}
END_TEST

START_TEST(what_is_outside_does_not_count)
{
    uint8_t *p = xalloc(4096);

    p[99] = p[99 + 3000] = 1;
    for (size_t size = 1; size <= 2999; size++)
        ck_assert(is_zero(p + 100, size));
    ck_assert(!is_zero(p + 100, 3000));
    xfree(p);
}
END_TEST

START_TEST(runs_end_at_blocks_that_differ)
{
    uint8_t p[5 * 512 + 100] = {0};
    bool zero;

    ck_assert_uint_eq(zero_run(p, sizeof p, 512, &zero), sizeof p);
    ck_assert(zero);
    p[1024] = 1;
    ck_assert_uint_eq(zero_run(p, sizeof p, 512, &zero), 1024);
    ck_assert(zero);
    ck_assert_uint_eq(zero_run(p + 1024, sizeof p - 1024, 512, &zero), 512);
    ck_assert(!zero);
    p[sizeof p - 1] = 1; /* in the short last block */
    ck_assert_uint_eq(zero_run(p + 1536, sizeof p - 1536, 512, &zero), 1024);
    ck_assert(zero);
    ck_assert_uint_eq(zero_run(p + 2560, 100, 512, &zero), 100);
    ck_assert(!zero);
}
END_TEST

UNIT_MAIN("zero", every_single_byte_counts, what_is_outside_does_not_count,
          runs_end_at_blocks_that_differ)
