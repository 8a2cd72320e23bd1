/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/strbuf.h */
#include "base/alloc.h"
#include "base/strbuf.h"
#include "tests/unit/unit.h"

START_TEST(an_empty_one_is_an_empty_text)
{
    StrBuf b = {0};
    AUTO_FREE char *s = strbuf_take(&b);

    ck_assert_str_eq(strbuf_str(&b), "");
    ck_assert_str_eq(s, "");
    strbuf_free(&b);
}
END_TEST

START_TEST(pieces_are_joined)
{
    StrBuf b = {0};

    strbuf_add(&b, "a");
    strbuf_addn(&b, "bcd", 2);
    strbuf_addf(&b, "%d", 42);
    strbuf_add(&b, "");
    ck_assert_str_eq(strbuf_str(&b), "abc42");
    ck_assert_uint_eq(b.len, 5);
    strbuf_free(&b);
    ck_assert_ptr_null(b.s);
}
END_TEST

START_TEST(it_grows_at_every_size)
{
    for (int n = 0; n < 300; n++) {
        StrBuf b = {0};

        strbuf_addf(&b, "%.*s", n % 40, "0123456789012345678901234567890123456789");
        strbuf_addf(&b, "%0*d", n + 1, 7);
        ck_assert_uint_eq(b.len, (size_t)(n % 40 + n + 1));
        ck_assert_uint_eq(strlen(b.s), b.len);
        ck_assert_int_eq(b.s[b.len - 1], '7');
        strbuf_free(&b);
    }
}
END_TEST

START_TEST(taking_empties_it)
{
    StrBuf b = {0};
    char *s;

    strbuf_add(&b, "mine");
    s = strbuf_take(&b);
    ck_assert_str_eq(s, "mine");
    ck_assert_uint_eq(b.len, 0);
    strbuf_add(&b, "next");
    ck_assert_str_eq(strbuf_str(&b), "next");
    xfree(s);
    strbuf_free(&b);
}
END_TEST

UNIT_MAIN("strbuf", an_empty_one_is_an_empty_text, pieces_are_joined, it_grows_at_every_size,
          taking_empties_it)
