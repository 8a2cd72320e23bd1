/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/opts_json.h */
#include "base/opts.h"
#include "base/opts_json.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "tests/unit/unit.h"

static void gives(const char *text, const char *implied, unsigned flags, const char *want)
{
    Error err = {0};
    json_t *j = opts_json_parse(text, implied, flags, NULL, &err), *w = json_loads(want, 0, NULL);

    ck_assert_msg(j != NULL, "%s: %s", text, err.msg);
    ck_assert_ptr_nonnull(w);
    if (!json_equal(j, w)) {
        char *shown = json_dumps(j, 0);

        ck_abort_msg("%s: %s", text, shown);
    }
    json_decref(j);
    json_decref(w);
}

static void fails(const char *text, const char *implied, unsigned flags, const char *why)
{
    Error err = {0};
    json_t *j = opts_json_parse(text, implied, flags, NULL, &err);

    ck_assert_msg(!j, "%s was taken", text);
    ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", text, err.msg);
}

START_TEST(keys_are_nested_by_dots_and_lists_by_numbers)
{
    gives("", NULL, 0, "{}");
    gives("a=1,b=x=y", NULL, 0, "{\"a\":\"1\",\"b\":\"x=y\"}");
    gives("file,id=f,node.name=n", "driver", 0,
          "{\"driver\":\"file\",\"id\":\"f\",\"node\":{\"name\":\"n\"}}");
    gives("a.b.c=1,a.d=2", NULL, 0, "{\"a\":{\"b\":{\"c\":\"1\"},\"d\":\"2\"}}");
    gives("l.0=x,l.1.k=y", NULL, 0, "{\"l\":[\"x\",{\"k\":\"y\"}]}");
    gives("path=a,,b,x=1", NULL, 0, "{\"path\":\"a,b\",\"x\":\"1\"}");
    gives("a=1,a=2", NULL, 0, "{\"a\":\"2\"}");
    gives("a=", NULL, 0, "{\"a\":\"\"}");
    gives("{\"a\": {\"b\": [1, true]}}", "x", 0, "{\"a\":{\"b\":[1,true]}}");
}
END_TEST

START_TEST(bare_words_are_flags_where_they_are_allowed)
{
    gives("socket,server,nowait", "backend", KEYVAL_FLAGS,
          "{\"backend\":\"socket\",\"server\":\"on\",\"wait\":\"off\"}");
    fails("socket,server", "backend", 0, "Expected '=' after parameter 'server'");
}
END_TEST

START_TEST(contradictions_are_refused_by_name)
{
    fails("a=1,a.b=2", NULL, 0, "Parameters 'a.*' used inconsistently");
    fails("a.b=2,a=1", NULL, 0, "used inconsistently");
    fails("l.0=a,l.x=b", NULL, 0, "Parameters 'l.*' used inconsistently");
    fails("l.1=a", NULL, 0, "Parameter 'l.0' missing");
    fails("=x", NULL, 0, "Invalid parameter ''");
    fails("a..b=x", NULL, 0, "Invalid parameter 'a..b'");
    fails("a b=x", NULL, 0, "Invalid parameter 'a b'");
    fails("{\"a\": }", NULL, 0, "JSON parse error");
    fails("{\"a\": 1, \"a\": 2}", NULL, 0, "JSON parse error");
    fails("a=\xff\xfe", NULL, 0, "not UTF-8");
}
END_TEST

START_TEST(depth_and_length_are_capped)
{
    char deep[400] = "a", longest[400] = "";

    for (int i = 0; i < 60; i++)
        strncat(deep, ".a", sizeof deep - strlen(deep) - 1);
    strncat(deep, "=1", sizeof deep - strlen(deep) - 1);
    fails(deep, NULL, 0, "Invalid parameter");
    memset(longest, 'k', 200);
    memcpy(longest + 200, "=1", 3);
    fails(longest, NULL, 0, "Invalid parameter");
}
END_TEST

START_TEST(help_is_told_apart)
{
    bool help = false;
    json_t *j = opts_json_parse("socket,help", "backend", 0, &help, NULL);

    ck_assert(help && j);
    json_decref(j);
    j = opts_json_parse("?", "backend", 0, &help, NULL);
    ck_assert(help && j);
    json_decref(j);
    j = opts_json_parse("socket", "backend", 0, &help, NULL);
    ck_assert(!help && j);
    json_decref(j);
}
END_TEST

START_TEST(flat_and_nested_are_inverse)
{
    json_t *nested = json_loads("{\"a\":{\"b\":1,\"c\":[true,{\"d\":\"x\"}]}}", 0, NULL);
    json_t *flat = json_flatten(nested), *back = json_crumple(flat, NULL);

    ck_assert_ptr_nonnull(json_object_get(flat, "a.c.1.d"));
    ck_assert(json_equal(nested, back));
    json_decref(nested);
    json_decref(flat);
    json_decref(back);
}
END_TEST

typedef struct Thing {
    bool on;
    uint32_t n;
    uint64_t size;
    char *name;
} Thing;
static const Field thing_fields[] = {
    PROP(Thing, on, "on", false, "a flag"),
    PROP(Thing, n, "n", 1, "a number"),
    PROP_SIZE(Thing, size, "size", 0, "a size"),
    PROP_STR(Thing, name, "name", NULL, "a name"),
};
static STRUCT_TYPE(thing_type, Thing, thing_fields);

START_TEST(text_stands_for_any_scalar)
{
    json_t *j = opts_json_parse("on=yes,n=0x10,size=2K,name=5", NULL, 0, NULL, NULL);
    Thing t = {0};
    Error err;

    ck_assert(opts_json_apply(&thing_type, &t, j, FIELD_PROP, &err));
    ck_assert(t.on && t.n == 16 && t.size == 2048);
    ck_assert_str_eq(t.name, "5");
    json_decref(j);
    j = json_loads("{\"on\": false, \"n\": 7}", 0, NULL);
    ck_assert(opts_json_apply(&thing_type, &t, j, FIELD_PROP, &err));
    ck_assert(!t.on && t.n == 7);
    json_decref(j);
    j = json_loads("{\"m\": 7}", 0, NULL);
    ck_assert(!opts_json_apply(&thing_type, &t, j, FIELD_PROP, &err));
    ck_assert_str_eq(err.msg, "Invalid parameter 'm'");
    json_decref(j);
    reflect_free(&thing_type, &t);
}
END_TEST

START_TEST(members_are_taken_out_one_by_one)
{
    json_t *j = opts_json_parse("a=on,b=12,c=1M,d=x,e=maybe", NULL, 0, NULL, NULL);
    AUTO_FREE char *d = NULL;
    bool a = false;
    uint64_t b = 0, c = 0;
    Error err;

    ck_assert(json_take_bool(j, "a", &a, &err) && a);
    ck_assert(json_take_u64(j, "b", &b, &err) && b == 12);
    ck_assert(json_take_size(j, "c", &c, &err) && c == 1 << 20);
    ck_assert(json_take_u64(j, "absent", &b, &err) && b == 12);
    d = json_take_str(j, "d");
    ck_assert_str_eq(d, "x");
    ck_assert(!json_all_taken(j, &err));
    ck_assert_str_eq(err.msg, "Invalid parameter 'e'");
    ck_assert(!json_take_bool(j, "e", &a, &err));
    ck_assert_str_eq(err.msg, "Parameter 'e' expects 'on' or 'off'");
    ck_assert(json_all_taken(j, &err));
    json_decref(j);
}
END_TEST

START_TEST(strings_may_stand_in_single_quotes)
{
    json_t *j = json_loads_lax("{'a': 'it\\'s \"x\"', \"b\": \"'\\\\\"}", 0, NULL);

    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(json_string_value(json_object_get(j, "a")), "it's \"x\"");
    ck_assert_str_eq(json_string_value(json_object_get(j, "b")), "'\\");
    json_decref(j);
    ck_assert_ptr_null(json_loads_lax("{'a': 'b}", 0, NULL));
}
END_TEST

UNIT_MAIN("opts_json", strings_may_stand_in_single_quotes,
          keys_are_nested_by_dots_and_lists_by_numbers, bare_words_are_flags_where_they_are_allowed,
          contradictions_are_refused_by_name, depth_and_length_are_capped, help_is_told_apart,
          flat_and_nested_are_inverse, text_stands_for_any_scalar, members_are_taken_out_one_by_one)
