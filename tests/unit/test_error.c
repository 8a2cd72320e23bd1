/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/error.h */
#include <errno.h>

#include "base/error.h"
#include "tests/unit/unit.h"

START_TEST(setting_returns_false_and_fills_class_and_text)
{
    Error e = {.cls = ERROR_KVM_MISSING_CAP};

    ck_assert(!error_set(&e, "no %s", "luck"));
    ck_assert_str_eq(e.msg, "no luck");
    ck_assert_int_eq(e.cls, ERROR_GENERIC);
    ck_assert(!error_set_class(&e, ERROR_DEVICE_NOT_FOUND, "no %d", 7));
    ck_assert_str_eq(e.msg, "no 7");
    ck_assert_int_eq(e.cls, ERROR_DEVICE_NOT_FOUND);
}
END_TEST

START_TEST(nobody_has_to_listen)
{
    ck_assert(!error_set(NULL, "x"));
    ck_assert(!error_set_class(NULL, ERROR_GENERIC, "x"));
    ck_assert(!error_set_errno(NULL, ENOENT, "x"));
    ck_assert(!error_prefix(NULL, "x"));
}
END_TEST

START_TEST(prefixes_pile_up_in_front)
{
    Error e;

    error_set_class(&e, ERROR_DEVICE_NOT_ACTIVE, "too small");
    ck_assert(!error_prefix(&e, "size: "));
    error_prefix(&e, "drive '%s': ", "d0");
    ck_assert_str_eq(e.msg, "drive 'd0': size: too small");
    ck_assert_int_eq(e.cls, ERROR_DEVICE_NOT_ACTIVE);
}
END_TEST

START_TEST(errno_is_spelled_out)
{
    Error e;

    error_set_errno(&e, ENOENT, "cannot open '%s'", "f");
    ck_assert_str_eq(e.msg, "cannot open 'f': No such file or directory");
}
END_TEST

START_TEST(long_texts_are_cut)
{
    Error e;

    error_set(&e, "%0600d", 1);
    ck_assert_uint_eq(strlen(e.msg), sizeof e.msg - 1);
    error_prefix(&e, "a: ");
    ck_assert_uint_eq(strlen(e.msg), sizeof e.msg - 1);
    ck_assert_int_eq(strncmp(e.msg, "a: 000", 6), 0);
    error_prefix(&e, "%0600d", 2);
    ck_assert_uint_eq(strlen(e.msg), sizeof e.msg - 1);
    error_set_errno(&e, ENOENT, "%0600d", 1);
    ck_assert_uint_eq(strlen(e.msg), sizeof e.msg - 1);
}
END_TEST

START_TEST(the_old_text_may_be_an_argument)
{
    Error e;

    error_set(&e, "inner");
    error_set(&e, "outer (%s)", e.msg);
    ck_assert_str_eq(e.msg, "outer (inner)");
}
END_TEST

UNIT_MAIN("error", setting_returns_false_and_fills_class_and_text, nobody_has_to_listen,
          prefixes_pile_up_in_front, errno_is_spelled_out, long_texts_are_cut,
          the_old_text_may_be_an_argument)
