/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/opts.h */
#include <stdio.h>

#include "base/opts.h"
#include "tests/unit/unit.h"

/* "key=value;key=value;" of what @text parses to, or the error. */
static char *parsed(const char *text, const char *first)
{
    static char out[512];
    size_t len = 0;
    Error err;
    Opts o;

    if (!opts_parse(&o, text, first, &err)) {
        ck_assert_ptr_null(o.o);
        snprintf(out, sizeof out, "! %s", err.msg);
        return out;
    }
    out[0] = 0;
    for (unsigned i = 0; i < o.n; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, "%s=%s;", o.o[i].key, o.o[i].value);
    opts_free(&o);
    return out;
}

START_TEST(keys_values_and_a_leading_word)
{
    ck_assert_str_eq(parsed("", "driver"), "");
    ck_assert_str_eq(parsed("e1000", "driver"), "driver=e1000;");
    ck_assert_str_eq(parsed("e1000,id=n0,x", "driver"), "driver=e1000;id=n0;x=on;");
    ck_assert_str_eq(parsed("id=n0,e1000", "driver"), "id=n0;e1000=on;");
    ck_assert_str_eq(parsed("wait,noserver", NULL), "wait=on;noserver=on;");
    ck_assert_str_eq(parsed("a=b=c,d=", NULL), "a=b=c;d=;");
    ck_assert_str_eq(parsed("a=1,", NULL), "a=1;");
}
END_TEST

START_TEST(two_commas_are_one)
{
    ck_assert_str_eq(parsed("path=/a,,b,x=1", NULL), "path=/a,b;x=1;");
    ck_assert_str_eq(parsed("path=a,,,x=1", NULL), "path=a,;x=1;");
    ck_assert_str_eq(parsed("path=,,", NULL), "path=,;");
    ck_assert_str_eq(parsed("a,,b,c", "file"), "file=a,b;c=on;");
}
END_TEST

START_TEST(options_need_names)
{
    ck_assert_int_eq(parsed("=x", NULL)[0], '!');
    ck_assert_int_eq(parsed(",a=1", NULL)[0], '!');
}
END_TEST

START_TEST(json_is_taken_too)
{
    ck_assert_str_eq(
        parsed("{\"driver\": \"e1000\", \"n\": 5, \"on\": true, \"off\": false}", NULL),
        "driver=e1000;n=5;on=on;off=off;");
    ck_assert_str_eq(parsed("{\"a\": {\"b\": [1, \"x,y\"]}}", NULL), "a.b.0=1;a.b.1=x,y;");
    ck_assert_int_eq(parsed("{\"a\": 1", NULL)[0], '!');
    ck_assert_int_eq(parsed("{\"a\": null}", NULL)[0], '!');
    ck_assert_int_eq(parsed("{\"a\": 1, \"a\": 2}", NULL)[0], '!');
}
END_TEST

START_TEST(the_last_one_wins_and_unused_ones_are_named)
{
    Error err;
    Opts o;

    ck_assert(opts_parse(&o, "mem-size=1,mem_size=2,colour=red", NULL, &err));
    ck_assert_str_eq(opts_get(&o, "mem-size"), "2");
    ck_assert_ptr_null(opts_get(&o, "mem"));
    ck_assert(!opts_all_used(&o, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "'colour'"));
    ck_assert_str_eq(opts_get(&o, "colour"), "red");
    ck_assert(opts_all_used(&o, &err));
    opts_free(&o);
}
END_TEST

START_TEST(an_unknown_key_gets_a_known_one_suggested)
{
    Opts o;
    Error e = {0};

    ck_assert(opts_parse(&o, "scokets=1", NULL, &e));
    opts_get(&o, "cores");
    opts_get(&o, "sockets");
    ck_assert(!opts_all_used(&o, &e));
    ck_assert_str_eq(e.msg, "Invalid parameter 'scokets'; did you mean 'sockets'?");
    opts_free(&o);
    ck_assert(opts_parse(&o, "zzz=1", NULL, &e));
    opts_get(&o, "cores");
    ck_assert(!opts_all_used(&o, &e));
    ck_assert_str_eq(e.msg, "Invalid parameter 'zzz'");
    opts_free(&o);
}
END_TEST

START_TEST(numbers_are_whole_strings)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "-1", "+1", "0x", "08", "1k", "18446744073709551616"};
    uint64_t v = 0;

    ck_assert(parse_u64("0", &v) && v == 0);
    ck_assert(parse_u64("0x1F", &v) && v == 31);
    ck_assert(parse_u64("010", &v) && v == 8);
    ck_assert(parse_u64("18446744073709551615", &v) && v == UINT64_MAX);
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(!parse_u64(bad[i], &v), "'%s' was taken", bad[i]);
    ck_assert_uint_eq(v, UINT64_MAX);
}
END_TEST

START_TEST(sizes_have_units_and_fractions)
{
    static const char *const bad[] = {"",    "G",   ".5G", "1.G",   "1.5x", "1GG",
                                      "-1G", "1 G", "16E", "0x10G", "1e3",  "99999999999999999999"};
    uint64_t v = 0;

    ck_assert(parse_size("128", 'M', &v) && v == 128 * MIB);
    ck_assert(parse_size("128", 'B', &v) && v == 128);
    ck_assert(parse_size("4G", 'M', &v) && v == 4 * GIB);
    ck_assert(parse_size("219136k", 'M', &v) && v == 219136 * KIB);
    ck_assert(parse_size("1.5G", 'M', &v) && v == 3 * GIB / 2);
    ck_assert(parse_size("0.25", 'K', &v) && v == 256);
    ck_assert(parse_size("0x1000", 'M', &v) && v == 4096);
    ck_assert(parse_size("010M", 'B', &v) && v == 10 * MIB);
    ck_assert(parse_size("512b", 'M', &v) && v == 512);
    ck_assert(parse_size("15.9999999999999999999999999E", 'B', &v));
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        ck_assert_msg(!parse_size(bad[i], 'M', &v), "'%s' was taken", bad[i]);
}
END_TEST

START_TEST(booleans_have_eight_spellings)
{
    static const char *const on[] = {"on", "yes", "true", "y"};
    static const char *const off[] = {"off", "no", "false", "n"};
    bool v;

    for (unsigned i = 0; i < 4; i++) {
        ck_assert(parse_bool(on[i], &v) && v);
        ck_assert(parse_bool(off[i], &v) && !v);
    }
    ck_assert(!parse_bool("1", &v));
    ck_assert(!parse_bool("On", &v));
    ck_assert(!parse_bool("", &v));
}
END_TEST

START_TEST(near_names_are_suggested)
{
    static const char *const names[] = {"guest_errors", "in_asm", "out_asm", "int"};

    ck_assert_str_eq(nearest_name("guest_error", names, 4), "guest_errors");
    ck_assert_str_eq(nearest_name("inasm", names, 4), "in_asm");
    ck_assert_ptr_null(nearest_name("zzzzzzzz", names, 4));
    ck_assert_ptr_null(nearest_name("x", names, 0));
}
END_TEST

UNIT_MAIN("opts", keys_values_and_a_leading_word, two_commas_are_one, options_need_names,
          json_is_taken_too, the_last_one_wins_and_unused_ones_are_named, numbers_are_whole_strings,
          sizes_have_units_and_fractions, booleans_have_eight_spellings, near_names_are_suggested,
          an_unknown_key_gets_a_known_one_suggested)
