/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/reflect.h */
#include "base/reflect.h"
#include "tests/unit/unit.h"

static const char *const colour_names[] = {"red", "light-green", "blue", NULL};
static ENUM_TYPE(colour_type, Colour, colour_names);
static const Type disk_link = {.name = "disk", .meta = META_LINK, .size = sizeof(char *)};

typedef struct Lamp {
    bool lit;
    uint8_t level;
    int16_t offset;
    uint64_t serial;
    uint64_t memory;
    uint32_t colour;
    char *label, *disk;
} Lamp;

static const Field lamp_fields[] = {
    PROP(Lamp, lit, "lit", true, "whether it shines"),
    PROP(Lamp, level, "level", 200, "how strong"),
    PROP(Lamp, offset, "off-set", -5, "from the middle"),
    PROP(Lamp, serial, "serial", 0, "number"),
    PROP_SIZE(Lamp, memory, "memory", 4096, "how much it remembers"),
    PROP_ENUM(Lamp, colour, "colour", &colour_type, 2, "of the light"),
    PROP_STR(Lamp, label, "label", "none", "what is written on it"),
    PROP_LINK(Lamp, disk, "disk", &disk_link, "where it is kept"),
};
static STRUCT_TYPE(lamp_type, Lamp, lamp_fields);

static Lamp lamp(void)
{
    Lamp l;

    memset(&l, 0xee, sizeof l); /* defaults need no zeroed memory */
    reflect_defaults(&lamp_type, &l, FIELD_PROP);
    return l;
}

static bool lamp_set(Lamp *l, const char *name, const char *text, Error *err)
{
    const Field *f = reflect_find(&lamp_type, name, FIELD_PROP);

    ck_assert_ptr_nonnull(f);
    return reflect_set(f, l, text, err);
}

START_TEST(defaults_fill_everything)
{
    Lamp l = lamp();

    ck_assert(l.lit);
    ck_assert_uint_eq(l.level, 200);
    ck_assert_int_eq(l.offset, -5);
    ck_assert_uint_eq(l.memory, 4096);
    ck_assert_uint_eq(l.colour, 2);
    ck_assert_str_eq(l.label, "none");
    ck_assert_ptr_null(l.disk);
    reflect_free(&lamp_type, &l);
    ck_assert_ptr_null(l.label);
}
END_TEST

START_TEST(fields_are_found_by_name_and_use)
{
    ck_assert_ptr_eq(reflect_find(&lamp_type, "off_set", FIELD_PROP), &lamp_fields[2]);
    ck_assert_ptr_null(reflect_find(&lamp_type, "off", FIELD_PROP));
    ck_assert_ptr_null(reflect_find(&lamp_type, "level", FIELD_STATE));
}
END_TEST

START_TEST(text_sets_and_get_shows_it)
{
    static const char *const good[][3] = {
        {"lit", "no", "off"},
        {"lit", "true", "on"},
        {"level", "0xff", "255"},
        {"level", "010", "8"},
        {"off-set", "-32768", "-32768"},
        {"off-set", "32767", "32767"},
        {"serial", "18446744073709551615", "18446744073709551615"},
        {"memory", "1.5K", "1536"},
        {"colour", "light_green", "light-green"},
        {"label", "a,b", "a,b"},
        {"disk", "d0", "d0"},
    };
    Lamp l = lamp();
    Error err;

    for (unsigned i = 0; i < COUNT_OF(good); i++) {
        const Field *f = reflect_find(&lamp_type, good[i][0], FIELD_PROP);

        ck_assert_msg(reflect_set(f, &l, good[i][1], &err), "%s", err.msg);
        AUTO_FREE char *got = reflect_get(f, &l);
        ck_assert_str_eq(got, good[i][2]);
    }
    reflect_free(&lamp_type, &l);
}
END_TEST

START_TEST(what_does_not_fit_is_refused_and_changes_nothing)
{
    static const char *const bad[][3] = {
        {"lit", "maybe", "on or off"},
        {"level", "256", "0 to 255"},
        {"level", "-1", "0 to 255"},
        {"level", "", "0 to 255"},
        {"level", "12x", "0 to 255"},
        {"off-set", "32768", "-32768 to 32767"},
        {"off-set", "-32769", "to 32767"},
        {"serial", "18446744073709551616", "a number"},
        {"memory", "4Q", "a size"},
        {"memory", "-1", "a size"},
        {"colour", "pink", "red, light-green, blue"},
    };
    Lamp l = lamp();
    Error err;

    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!lamp_set(&l, bad[i][0], bad[i][1], &err), "%s=%s", bad[i][0], bad[i][1]);
        ck_assert_msg(strstr(err.msg, bad[i][0]) && strstr(err.msg, bad[i][2]), "%s", err.msg);
    }
    ck_assert(l.lit && l.level == 200 && l.offset == -5 && l.memory == 4096 && l.colour == 2);
    reflect_free(&lamp_type, &l);
}
END_TEST

START_TEST(a_dump_has_a_line_for_each_field)
{
    StrBuf b = {0};
    Lamp l = lamp();

    reflect_dump(&lamp_type, &l, FIELD_PROP, &b);
    ck_assert_str_eq(strbuf_str(&b), "lit=on\nlevel=200\noff-set=-5\nserial=0\nmemory=4096\n"
                                     "colour=blue\nlabel=none\ndisk=\n");
    strbuf_free(&b);
    reflect_free(&lamp_type, &l);
}
END_TEST

/* --- JSON --- */

typedef struct Order {
    char *driver, *id;
    bool has_port;
    uint32_t port;
    bool has_speed;
    int64_t speed;
} Order;

static const Field order_fields[] = {
    ARG(Order, driver, "driver", "class to make"),
    ARG_STR_OPT(Order, id, "id", "its name"),
    ARG_OPT(Order, port, "port", "where"),
    ARG_OPT(Order, speed, "speed", "how fast"),
};
static STRUCT_TYPE(order_type, Order, order_fields);

static bool order_read(Order *o, const char *text, Error *err)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    bool ok;

    ck_assert_ptr_nonnull(j);
    *o = (Order){0};
    ok = reflect_from_json(&order_type, o, j, FIELD_ARG, err);
    json_decref(j);
    return ok;
}

static char *json_text(json_t *j)
{
    char *s = json_dumps(j, JSON_COMPACT);

    json_decref(j);
    return s;
}

START_TEST(json_fills_arguments_and_their_presence)
{
    Error err;
    Order o;

    ck_assert_msg(order_read(&o, "{\"driver\": \"e1000\", \"port\": 0}", &err), "%s", err.msg);
    ck_assert_str_eq(o.driver, "e1000");
    ck_assert_ptr_null(o.id);
    ck_assert(o.has_port && !o.has_speed);
    AUTO_FREE char *text = json_text(reflect_to_json(&order_type, &o, FIELD_ARG));
    ck_assert_str_eq(text, "{\"driver\":\"e1000\",\"port\":0}");
    reflect_free(&order_type, &o);
}
END_TEST

START_TEST(json_of_the_wrong_shape_is_refused_by_name)
{
    static const char *const bad[][2] = {
        {"[]", "object"},
        {"{}", "'driver' is missing"},
        {"{\"driver\": 5}", "'driver'"},
        {"{\"driver\": \"x\", \"colour\": 1}", "'colour' is unexpected"},
        {"{\"driver\": \"x\", \"port\": -1}", "'port'"},
        {"{\"driver\": \"x\", \"port\": 4294967296}", "'port'"},
        {"{\"driver\": \"x\", \"port\": 1.5}", "'port'"},
        {"{\"driver\": \"x\", \"port\": \"1\"}", "'port'"},
        {"{\"driver\": \"x\", \"port\": true}", "'port'"},
        {"{\"driver\": \"x\", \"speed\": null}", "'speed'"},
    };
    Error err;
    Order o;

    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!order_read(&o, bad[i][0], &err), "%s", bad[i][0]);
        ck_assert_msg(strstr(err.msg, bad[i][1]) != NULL, "%s", err.msg);
        reflect_free(&order_type, &o);
    }
}
END_TEST

START_TEST(properties_survive_json)
{
    Lamp l = lamp(), copy = lamp();
    Error err;
    json_t *j;

    ck_assert(lamp_set(&l, "serial", "18446744073709551615", &err));
    ck_assert(lamp_set(&l, "memory", "16M", &err));
    ck_assert(lamp_set(&l, "off-set", "-300", &err));
    ck_assert(lamp_set(&l, "colour", "red", &err));
    ck_assert(lamp_set(&l, "disk", "d1", &err));
    j = reflect_to_json(&lamp_type, &l, FIELD_PROP);
    ck_assert_msg(reflect_from_json(&lamp_type, &copy, j, FIELD_PROP, &err), "%s", err.msg);
    json_decref(j);
    ck_assert_uint_eq(copy.serial, UINT64_MAX);
    ck_assert_uint_eq(copy.memory, 16 * MIB);
    ck_assert_int_eq(copy.offset, -300);
    ck_assert_uint_eq(copy.colour, 0);
    ck_assert_str_eq(copy.disk, "d1");
    reflect_free(&lamp_type, &l);
    reflect_free(&lamp_type, &copy);
}
END_TEST

START_TEST(the_schema_tells_type_default_and_choices)
{
    json_t *j = reflect_schema(&lamp_type, FIELD_PROP);
    AUTO_FREE char *level = json_dumps(json_array_get(j, 1), JSON_COMPACT);
    AUTO_FREE char *colour = json_dumps(json_array_get(j, 5), JSON_COMPACT);

    ck_assert_uint_eq(json_array_size(j), COUNT_OF(lamp_fields));
    ck_assert_str_eq(level, "{\"name\":\"level\",\"type\":\"uint8\",\"description\":\"how strong\","
                            "\"default-value\":200}");
    ck_assert_str_eq(colour,
                     "{\"name\":\"colour\",\"type\":\"Colour\",\"description\":\"of the "
                     "light\",\"default-value\":\"blue\",\"values\":[\"red\",\"light-green\","
                     "\"blue\"]}");
    json_decref(j);
}
END_TEST

/* --- state --- */

typedef struct Slot {
    uint8_t kind;
    int32_t value;
} Slot;

static const Field slot_fields[] = {STATE(Slot, kind), STATE(Slot, value)};
static STRUCT_TYPE(slot_type, Slot, slot_fields);

typedef struct Chip {
    uint64_t wake;
    bool on;
    uint32_t mode;
    uint16_t fifo[5];
    Slot slot[3], spare;
    char *name;
    uint32_t added;
} Chip;

static const Field chip_fields[] = {
    STATE(Chip, wake),
    STATE(Chip, on),
    STATE_ENUM(Chip, mode, &colour_type),
    STATE_ARRAY(Chip, fifo),
    STATE_STRUCT_ARRAY(Chip, slot, &slot_type),
    STATE_STRUCT(Chip, spare, &slot_type),
    STATE(Chip, name),
    STATE_OPT(Chip, added, 77),
};
static STRUCT_TYPE(chip_type, Chip, chip_fields);

/* The same chip as an older version knew it: other order, `added` unknown. */
static const Field old_fields[] = {
    STATE(Chip, name),
    STATE_STRUCT(Chip, spare, &slot_type),
    STATE_STRUCT_ARRAY(Chip, slot, &slot_type),
    STATE_ARRAY(Chip, fifo),
    STATE_ENUM(Chip, mode, &colour_type),
    STATE(Chip, on),
    STATE(Chip, wake),
};
static const Type old_type = {.name = "Chip",
                              .meta = META_STRUCT,
                              .size = sizeof(Chip),
                              .fields = old_fields,
                              .n_fields = COUNT_OF(old_fields)};

static Chip chip(void)
{
    return (Chip){.wake = 0x1122334455667788,
                  .on = true,
                  .mode = 1,
                  .fifo = {1, 2, 3, 4, 65535},
                  .slot = {{1, -1}, {2, -2}, {3, INT32_MIN}},
                  .spare = {9, 9},
                  .name = xstrdup("left"),
                  .added = 5};
}

static ByteBuf saved(const Type *t)
{
    ByteBuf b = {0};
    Chip c = chip();

    reflect_save(t, &c, &b);
    reflect_free(&chip_type, &c);
    return b;
}

START_TEST(loading_gives_back_what_was_saved)
{
    ByteBuf b = saved(&chip_type), again = {0};
    Chip c = {0};
    Error err;

    ck_assert_msg(reflect_load(&chip_type, &c, &b, &err), "%s", err.msg);
    ck_assert_uint_eq(b.at, b.len);
    ck_assert(c.wake == 0x1122334455667788 && c.on && c.mode == 1 && c.fifo[4] == 65535);
    ck_assert(c.slot[2].kind == 3 && c.slot[2].value == INT32_MIN && c.spare.value == 9);
    ck_assert_str_eq(c.name, "left");
    ck_assert_uint_eq(c.added, 5);
    reflect_save(&chip_type, &c, &again);
    ck_assert_uint_eq(again.len, b.len);
    ck_assert_int_eq(memcmp(again.p, b.p, b.len), 0);
    reflect_free(&chip_type, &c);
    bytebuf_free(&b);
    bytebuf_free(&again);
}
END_TEST

START_TEST(order_may_change_and_optional_members_be_added)
{
    ByteBuf b = saved(&old_type);
    Chip c = {0};
    Error err;

    ck_assert_msg(reflect_load(&chip_type, &c, &b, &err), "%s", err.msg);
    ck_assert(c.wake == 0x1122334455667788 && c.slot[1].value == -2);
    ck_assert_uint_eq(c.added, 77);
    reflect_free(&chip_type, &c);
    bytebuf_free(&b);
}
END_TEST

START_TEST(unknown_members_are_refused_by_name)
{
    ByteBuf b = saved(&chip_type);
    Chip c = {0};
    Error err;

    ck_assert(!reflect_load(&old_type, &c, &b, &err));
    ck_assert_str_eq(err.msg, "unknown field 'added'");
    reflect_free(&chip_type, &c);
    bytebuf_free(&b);
}
END_TEST

START_TEST(missing_members_are_refused_by_name)
{
    static const Field few_fields[] = {STATE(Chip, wake), STATE(Chip, on)};
    static STRUCT_TYPE(few_type, Chip, few_fields);
    ByteBuf b = saved(&few_type);
    Chip c = {0};
    Error err;

    ck_assert(!reflect_load(&chip_type, &c, &b, &err));
    ck_assert_str_eq(err.msg, "field 'mode' is missing");
    bytebuf_free(&b);
}
END_TEST

START_TEST(every_proper_prefix_is_refused)
{
    ByteBuf b = saved(&chip_type);

    for (size_t n = 0; n < b.len; n++) {
        uint8_t *exact = try_alloc(n); /* so that a read past it is seen */
        ByteBuf part = {.p = memcpy(exact, b.p, n), .len = n};
        Chip c = {0};
        Error err = {.msg = ""};

        ck_assert_msg(!reflect_load(&chip_type, &c, &part, &err), "%zu bytes were taken", n);
        ck_assert_uint_gt(strlen(err.msg), 0);
        reflect_free(&chip_type, &c);
        xfree(exact);
    }
    bytebuf_free(&b);
}
END_TEST

START_TEST(damaged_streams_never_hurt)
{
    ByteBuf b = saved(&chip_type);
    uint32_t random = 1;

    for (unsigned round = 0; round < 20000; round++) {
        ByteBuf bad = {0};
        Chip c = {0};
        Error err;

        bytebuf_add(&bad, b.p, b.len);
        for (unsigned i = 0; i < 1 + round % 3; i++) {
            random = random * 1664525 + 1013904223;
            bad.p[(random >> 8) % bad.len] = (uint8_t)(random >> 24);
        }
        if (reflect_load(&chip_type, &c, &bad, &err))
            ck_assert_uint_lt(c.mode, 3);
        reflect_free(&chip_type, &c);
        bytebuf_free(&bad);
    }
    bytebuf_free(&b);
}
END_TEST

/* A stream of one field of Slot. */
static bool slot_load(const char *name, const void *value, uint32_t size, unsigned times,
                      Error *err)
{
    ByteBuf b = {0};
    uint8_t len = (uint8_t)strlen(name);
    Slot s = {0};
    bool ok;

    for (unsigned i = 0; i < times; i++) {
        bytebuf_add(&b, &len, 1);
        bytebuf_add(&b, name, len);
        bytebuf_add(&b, &size, sizeof size); /* hosts are little-endian */
        bytebuf_add(&b, value, size);
    }
    bytebuf_add(&b, "", 1);
    ok = reflect_load(&slot_type, &s, &b, err);
    bytebuf_free(&b);
    return ok;
}

START_TEST(sizes_must_match_and_names_come_once)
{
    Error err;

    ck_assert(!slot_load("value", "1234", 3, 1, &err));
    ck_assert_str_eq(err.msg, "field 'value': too short");
    ck_assert(!slot_load("value", "12345", 5, 1, &err));
    ck_assert_str_eq(err.msg, "field 'value': 1 bytes too many");
    ck_assert(!slot_load("kind", "1", 1, 2, &err));
    ck_assert_str_eq(err.msg, "field 'kind' comes twice");
}
END_TEST

START_TEST(state_is_dumped_with_nested_names)
{
    StrBuf b = {0};
    Chip c = chip();

    reflect_dump(&chip_type, &c, FIELD_STATE, &b);
    ck_assert_ptr_nonnull(strstr(b.s, "\nfifo=1 2 3 4 65535\n"));
    ck_assert_ptr_nonnull(strstr(b.s, "\nslot[1].value=-2\n"));
    ck_assert_ptr_nonnull(strstr(b.s, "\nspare.kind=9\n"));
    strbuf_free(&b);
    reflect_free(&chip_type, &c);
}
END_TEST

/* --- lists, boxes, alternates, unions --- */

typedef struct Leaf Leaf;
struct Leaf {
    char *name;
    double weight;
    bool has_colour;
    uint32_t colour;
    List words;
    Leaf *child;    /* a box: leaves may have leaves */
    json_t *extra;  /* anything */
    json_t *either; /* text or number */
    json_t *shape;  /* a union */
};

typedef struct Shape {
    char *kind, *id;
} Shape;
static const Field shape_fields[] = {ARG(Shape, kind, "kind", "which"),
                                     ARG(Shape, id, "id", "name")};
static STRUCT_TYPE(shape_base, Shape, shape_fields);
static bool shape_variant(unsigned i, Variant *out)
{
    static const char *const kinds[] = {"round", "square"};

    if (i >= COUNT_OF(kinds))
        return false;
    *out = (Variant){kinds[i], i ? &slot_type : NULL};
    return true;
}
static UNION_TYPE(shape_type, Shape, &shape_base, "kind", shape_variant);
static const Type *const either_choices[] = {&type_str, &type_i64, NULL};
static ALTERNATE_TYPE(either_type, TextOrNumber, either_choices);
static const Type leaf_type;
static BOX_TYPE(leaf_box, &leaf_type);
static const Field leaf_fields[] = {
    ARG(Leaf, name, "name", "n"),
    ARG(Leaf, weight, "weight", "w"),
    ARG_TYPE_OPT(Leaf, colour, "colour", &colour_type, "c"),
    ARG_TYPE(Leaf, words, "words", &type_str_list, "w"),
    ARG_NULL_OPT(Leaf, child, "child", &leaf_box, "c"),
    ARG_ANY_OPT(Leaf, extra, "extra", "e"),
    ARG_NULL_OPT(Leaf, either, "either", &either_type, "e"),
    ARG_NULL_OPT(Leaf, shape, "shape", &shape_type, "s"),
};
static STRUCT_TYPE(leaf_type, Leaf, leaf_fields);

static bool leaf_read(Leaf *l, const char *text, Error *err)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    bool ok;

    ck_assert_msg(j != NULL, "%s", text);
    reflect_defaults(&leaf_type, l, FIELD_ARG);
    ok = reflect_from_json(&leaf_type, l, j, FIELD_ARG, err);
    json_decref(j);
    return ok;
}

START_TEST(nested_values_survive_json)
{
    static const char text[] = "{\"name\":\"a\",\"weight\":1.5,\"colour\":\"blue\",\"words\":["
                               "\"x\",\"y\",\"z\"],\"child\":{\"name\":"
                               "\"b\",\"weight\":2.0,\"words\":[]},\"extra\":[null,{\"k\":1}],"
                               "\"either\":7,\"shape\":{\"kind\":"
                               "\"square\",\"id\":\"s\",\"value\":3}}";
    Error err;
    Leaf l;

    ck_assert_msg(leaf_read(&l, text, &err), "%s", err.msg);
    ck_assert_uint_eq(l.words.n, 3);
    ck_assert_str_eq(*LIST_AT(char *, &l.words, 2), "z");
    ck_assert(l.has_colour && l.colour == 2 && l.weight == 1.5);
    ck_assert_str_eq(l.child->name, "b");
    ck_assert_ptr_null(l.child->child);
    AUTO_FREE char *back = json_text(reflect_to_json(&leaf_type, &l, FIELD_ARG));
    ck_assert_str_eq(back, text);
    reflect_free(&leaf_type, &l);
    ck_assert_ptr_null(l.child);
    ck_assert_uint_eq(l.words.n, 0);
}
END_TEST

START_TEST(nested_mistakes_are_named_by_their_path)
{
#define LEAF "\"name\":\"a\",\"weight\":1,\"words\":[]"
    static const char *const bad[][2] = {
        {"{" LEAF ",\"words\":[\"a\",5]}",
         "Invalid parameter type for 'words[1]', expected: string"},
        {"{" LEAF ",\"words\":{}}", "Invalid parameter type for 'words', expected: array"},
        {"{" LEAF ",\"weight\":\"1\"}", "Invalid parameter type for 'weight', expected: number"},
        {"{" LEAF ",\"colour\":\"pink\"}", "Parameter 'colour' does not accept value 'pink'"},
        {"{" LEAF ",\"colour\":1}", "Invalid parameter type for 'colour', expected: string"},
        {"{" LEAF ",\"child\":5}", "Invalid parameter type for 'child', expected: object"},
        {"{" LEAF ",\"child\":{" LEAF ",\"child\":{\"name\":null}}}",
         "Invalid parameter type for 'child.child.name', expected: string"},
        {"{" LEAF ",\"child\":{\"name\":\"b\"}}", "Parameter 'child.weight' is missing"},
        {"{" LEAF ",\"child\":{\"nome\":\"b\"}}", "Parameter 'child.nome' is unexpected"},
        {"{" LEAF ",\"either\":true}",
         "Invalid parameter type for 'either', expected: TextOrNumber"},
        {"{" LEAF ",\"shape\":{\"id\":\"s\"}}", "Parameter 'kind' is missing"},
        {"{" LEAF ",\"shape\":{\"kind\":3}}",
         "Invalid parameter type for 'kind', expected: string"},
        {"{" LEAF ",\"shape\":{\"kind\":\"flat\",\"id\":\"s\"}}",
         "Parameter 'kind' does not accept value 'flat'"},
        {"{" LEAF ",\"shape\":{\"kind\":\"round\"}}", "Parameter 'id' is missing"},
    };

    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        Error err;
        Leaf l;

        ck_assert_msg(!leaf_read(&l, bad[i][0], &err), "%s", bad[i][0]);
        ck_assert_str_eq(err.msg, bad[i][1]);
        reflect_free(&leaf_type, &l);
    }
}
END_TEST

START_TEST(lists_grow_and_keep_what_they_hold)
{
    List l = {0};

    for (int64_t i = 0; i < 1000; i++)
        *(int64_t *)list_add(&l, &type_i64) = i;
    for (int64_t i = 0; i < 1000; i++)
        ck_assert_int_eq(*LIST_AT(int64_t, &l, i), i);
    xfree(l.p);
}
END_TEST

UNIT_MAIN("reflect", defaults_fill_everything, fields_are_found_by_name_and_use,
          text_sets_and_get_shows_it, what_does_not_fit_is_refused_and_changes_nothing,
          a_dump_has_a_line_for_each_field, json_fills_arguments_and_their_presence,
          json_of_the_wrong_shape_is_refused_by_name, properties_survive_json,
          the_schema_tells_type_default_and_choices, loading_gives_back_what_was_saved,
          order_may_change_and_optional_members_be_added, unknown_members_are_refused_by_name,
          missing_members_are_refused_by_name, every_proper_prefix_is_refused,
          damaged_streams_never_hurt, sizes_must_match_and_names_come_once,
          state_is_dumped_with_nested_names, nested_values_survive_json,
          nested_mistakes_are_named_by_their_path, lists_grow_and_keep_what_they_hold)
