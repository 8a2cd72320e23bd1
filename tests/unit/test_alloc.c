/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/alloc.h */
#include "base/alloc.h"
#include "tests/unit/unit.h"

START_TEST(memory_is_zeroed)
{
    AUTO_FREE uint8_t *p = xalloc(1000);
    AUTO_FREE uint8_t *q = try_alloc(1000);

    for (unsigned i = 0; i < 1000; i++)
        ck_assert_uint_eq(p[i] | q[i], 0);
}
END_TEST

START_TEST(zero_bytes_are_something)
{
    AUTO_FREE void *p = xalloc(0);
    AUTO_FREE void *q = try_alloc(0);

    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_nonnull(q);
}
END_TEST

START_TEST(aligned_memory_is_aligned_and_zeroed)
{
    for (size_t align = 1; align <= 4096; align *= 2) {
        AUTO_FREE uint8_t *p = xalloc_aligned(align, 100);

        ck_assert_uint_eq((uintptr_t)p % align, 0);
        ck_assert_uint_eq(p[0] | p[99], 0);
    }
}
END_TEST

START_TEST(growing_keeps_the_contents)
{
    char *p = xstrdup("hello");

    p = xrealloc(p, 5000);
    ck_assert_str_eq(p, "hello");
    xfree(p);
    p = xrealloc(NULL, 3);
    ck_assert_ptr_nonnull(p);
    xfree(p);
}
END_TEST

START_TEST(texts_are_copied_and_printed)
{
    AUTO_FREE char *s = xasprintf("%d-%s-%0500d", 7, "x", 1);

    ck_assert_uint_eq(strlen(s), 504);
    ck_assert_int_eq(strncmp(s, "7-x-000", 7), 0);
    ck_assert_ptr_null(xstrdup(NULL));
    xfree(NULL);
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
    ck_assert_ptr_null(try_alloc(SIZE_MAX));
    ck_assert_ptr_null(try_new_n(uint64_t, SIZE_MAX / 4));
}
END_TEST

/* Three buffers, all or none. */
static bool three_buffers(void *out[3])
{
    for (unsigned i = 0; i < 3; i++) {
        out[i] = try_alloc(16);
        if (!out[i]) {
            while (i-- > 0)
                xfree(out[i]);
            return false;
        }
    }
    return true;
}

START_TEST(faults_come_at_the_nth_call_and_stay)
{
    void *out[3];
    unsigned n = 1;

    for (; fault_alloc(n), !three_buffers(out); n++)
        ck_assert_ptr_null(try_alloc(1));
    ck_assert_uint_eq(n, 4);
    fault_alloc(0);
    for (unsigned i = 0; i < 3; i++)
        xfree(out[i]);
}
END_TEST

UNIT_MAIN("alloc", memory_is_zeroed, zero_bytes_are_something, aligned_memory_is_aligned_and_zeroed,
          growing_keeps_the_contents, texts_are_copied_and_printed, impossible_sizes_are_refused,
          faults_come_at_the_nth_call_and_stay)
