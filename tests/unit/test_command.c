/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of core/command.h, core/fds.h, core/hotplug.h and the commands of monitor/ on a
 * machine without a guest */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/command.h"
#include "core/fds.h"
#include "core/hotplug.h"
#include "core/object.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

/* --- devices to plug --- */

typedef struct Plug {
    Device dev;
    uint32_t amps;
    int32_t heat;
} Plug;
static const Field plug_fields[] = {PROP(Plug, amps, "amps", 16, "current")};
static STRUCT_TYPE(plug_type, Plug, plug_fields);

static json_t *plug_heat(Device *d, Error *err)
{
    (void)err;
    return json_integer(((Plug *)d)->heat);
}

static bool plug_set_heat(Device *d, const json_t *v, Error *err)
{
    if (!json_is_integer(v))
        return error_set(err, "not a number");
    ((Plug *)d)->heat = (int32_t)json_integer_value(v);
    return true;
}

static const DeviceProp plug_props[] = {{"heat", "int", "how hot", plug_heat, plug_set_heat},
                                        {"colour", "str", "none", NULL, NULL},
                                        {0}};
static bool plug_realize(Device *d, Error *err)
{
    return ((Plug *)d)->amps < 100 || error_set(err, "too much");
}
static DeviceClass plug_class = {
    .name = "test-plug",
    .parent = "sys-device",
    .doc = "comes and goes",
    .type = &plug_type,
    .migrate = MIGRATE_NONE_NEEDED,
    .user = true,
    .hotplug = true,
    .props = plug_props,
    .realize = plug_realize,
};
DEVICE_REGISTER(plug_class)

/* --- helpers --- */

/* What @name returns for @args, as text; or "class index: message". */
static char *run(Bench *b, const char *name, const char *args)
{
    json_t *j = json_loads(args, 0, NULL), *r;
    const Command *c = command_find(name);
    Error err = {0};
    char *text;

    ck_assert_msg(j && c, "%s %s", name, args);
    r = command_run(b->m, NULL, c, j, &err);
    text = r ? json_dumps(r, JSON_ENCODE_ANY) : xasprintf("%d: %s", err.cls, err.msg);
    json_decref(j);
    json_decref(r);
    return text;
}

#define RUN_IS(b, name, args, expected)                                                            \
    do {                                                                                           \
        AUTO_FREE char *got_ = run(b, name, args);                                                 \
        ck_assert_str_eq(got_, expected);                                                          \
    } while (0)
#define RUN_HAS(b, name, args, part)                                                               \
    do {                                                                                           \
        AUTO_FREE char *got_ = run(b, name, args);                                                 \
        ck_assert_msg(strstr(got_, part) != NULL, "%s", got_);                                     \
    } while (0)

static void note_event(void *arg, const json_t *j)
{
    char *text = json_dumps(j, 0);

    strbuf_add(arg, strstr(text, "\"event\""));
    free(text);
}

/* --- tests --- */

START_TEST(the_tables_are_sorted_and_documented)
{
    const char *last = "";

    for (const Command *c = command_next(NULL); c; c = command_next(c)) {
        ck_assert_int_lt(strcmp(last, c->name), 0);
        ck_assert_msg(c->doc && *c->doc && c->run, "%s", c->name);
        ck_assert_ptr_eq(command_find(c->name), c);
        last = c->name;
    }
    last = "";
    for (const Event *e = event_next(NULL); e; e = event_next(e)) {
        ck_assert_int_lt(strcmp(last, e->name), 0);
        ck_assert_msg(e->doc && *e->doc, "%s", e->name);
        last = e->name;
    }
    ck_assert_ptr_null(command_find("stop "));
}
END_TEST

START_TEST(every_command_survives_wrong_arguments)
{
    static const char *const args[] = {"{}", "{\"x-unknown\": 1}"};
    Bench *b = bench_new();

    for (const Command *c = command_next(NULL); c; c = command_next(c)) {
        if (!strcmp(c->name, "quit"))
            continue;
        for (unsigned i = 0; i < COUNT_OF(args); i++) {
            AUTO_FREE char *got = run(b, c->name, args[i]);

            if (i == 1 && !(c->flags & COMMAND_EXTRA_PROPS) &&
                (!c->args || c->args->meta == META_STRUCT))
                ck_assert_msg(strstr(got, "Parameter 'x-unknown' is unexpected") != NULL, "%s: %s",
                              c->name, got);
        }
        for (unsigned i = 0; c->args && c->args->meta == META_STRUCT && i < c->args->n_fields;
             i++) {
            const Field *f = &c->args->fields[i];
            AUTO_FREE char *bad = xasprintf("{\"%s\": null}", f->name);
            AUTO_FREE char *got = run(b, c->name, bad);

            if (f->type->meta != META_ANY && f->type->meta != META_ALTERNATE)
                ck_assert_msg(strstr(got, "Invalid parameter type for '") != NULL, "%s %s: %s",
                              c->name, bad, got);
        }
    }
    bench_free(b);
}
END_TEST

START_TEST(devices_come_and_go)
{
    Bench *b = bench_new();
    StrBuf events = {0};
    EventListener l = {.fn = note_event, .arg = &events};

    event_listen(b->m, &l);
    RUN_IS(b, "device_add", "{\"driver\":\"nope\"}", "0: 'nope' is not a valid device model name");
    RUN_IS(b, "device_add", "{\"driver\":\"container\"}",
           "0: Parameter 'driver' expects a pluggable device type");
    RUN_IS(b, "device_add", "{\"driver\":\"isa-debug-exit\"}",
           "0: Device 'isa-debug-exit' does not support hotplugging");
    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"volts\":1}",
           "0: Property 'test-plug.volts' not found");
    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"amps\":[]}",
           "0: Invalid parameter type for 'amps', expected: integer");
    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"amps\":\"100\"}", "0: too much");
    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"amps\":\"10\",\"id\":\"p\"}", "{}");
    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"id\":\"p\"}",
           "0: Duplicate device ID 'p'");
    RUN_IS(b, "qom-get", "{\"path\":\"p\",\"property\":\"amps\"}", "10");
    RUN_IS(b, "device_del", "{\"id\":\"q\"}", "3: Device 'q' not found");
    RUN_IS(b, "device_del", "{\"id\":\"/machine/peripheral/p\"}", "{}");
    ck_assert_uint_eq(events.len, 0);
    bench_run(b);
    ck_assert_str_eq(strbuf_str(&events),
                     "\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"p\", \"path\": "
                     "\"/machine/peripheral/p\"}}");
    RUN_IS(b, "device_del", "{\"id\":\"p\"}", "3: Device 'p' not found");
    event_unlisten(b->m, &l);
    strbuf_free(&events);
    bench_free(b);
}
END_TEST

START_TEST(properties_are_read_and_written_by_path)
{
    Bench *b = bench_new();

    RUN_IS(b, "device_add", "{\"driver\":\"test-plug\",\"id\":\"p\"}", "{}");
    RUN_IS(b, "qom-get", "{\"path\":\"/machine/peripheral/p\",\"property\":\"type\"}",
           "\"test-plug\"");
    RUN_IS(b, "qom-get", "{\"path\":\"/machine/peripheral/p\",\"property\":\"heat\"}", "0");
    RUN_IS(b, "qom-set", "{\"path\":\"p\",\"property\":\"heat\",\"value\":-7}", "{}");
    RUN_IS(b, "qom-get", "{\"path\":\"//machine/peripheral//p/\",\"property\":\"heat\"}", "-7");
    RUN_IS(b, "qom-set", "{\"path\":\"p\",\"property\":\"heat\",\"value\":\"x\"}",
           "0: not a number");
    RUN_IS(b, "qom-set", "{\"path\":\"p\",\"property\":\"colour\",\"value\":1}",
           "0: Property 'test-plug.colour' is not writable");
    RUN_IS(b, "qom-get", "{\"path\":\"p\",\"property\":\"colour\"}",
           "0: Property 'test-plug.colour' is not readable");
    RUN_IS(
        b, "qom-set", "{\"path\":\"p\",\"property\":\"amps\",\"value\":1}",
        "0: Attempt to set property 'amps' on device 'p' (type 'test-plug') after it was realized");
    RUN_IS(b, "qom-get", "{\"path\":\"p\",\"property\":\"none\"}",
           "0: Property 'test-plug.none' not found");
    RUN_IS(b, "qom-get", "{\"path\":\"/machine\",\"property\":\"peripheral\"}",
           "\"/machine/peripheral\"");
    RUN_IS(b, "qom-list", "{\"path\":\"/machine/peripheral\"}",
           "[{\"name\": \"type\", \"type\": \"string\"}, {\"name\": \"p\", \"type\": "
           "\"child<test-plug>\"}]");
    RUN_IS(b, "qom-list", "{\"path\":\"/machine/nowhere\"}",
           "3: Device '/machine/nowhere' not found");
    RUN_HAS(b, "device-list-properties", "{\"typename\":\"test-plug\"}",
            "{\"name\": \"amps\", \"type\": \"uint32\", \"description\": \"current\", "
            "\"default-value\": 16}");
    RUN_IS(b, "device-list-properties", "{\"typename\":\"nope\"}", "3: Device 'nope' not found");
    RUN_HAS(b, "qom-list-types", "{\"implements\":\"device\"}", "\"test-plug\"");
    RUN_IS(b, "qom-list-types", "{\"implements\":\"nothing\"}", "[]");
    bench_free(b);
}
END_TEST

START_TEST(objects_are_made_by_their_kind)
{
    Bench *b = bench_new();

    RUN_IS(b, "object-add", "{\"qom-type\":\"secret\",\"id\":\"s\"}",
           "0: there is no place for objects here");
    b->m->objects = objects_new();
    RUN_IS(b, "object-add", "{\"id\":\"s\"}", "0: Parameter 'qom-type' is missing");
    RUN_IS(b, "object-add", "{\"qom-type\":\"secret\"}", "0: Parameter 'id' is missing");
    RUN_IS(b, "object-add", "{\"qom-type\":\"nope\",\"id\":\"s\"}",
           "0: Parameter 'qom-type' does not accept value 'nope'");
    RUN_IS(b, "object-add", "{\"qom-type\":\"secret\",\"id\":\"s\",\"data\":\"x\"}", "{}");
    RUN_IS(b, "qom-get", "{\"path\":\"/objects/s\",\"property\":\"type\"}", "\"secret\"");
    RUN_IS(b, "object-del", "{\"id\":\"s\"}", "{}");
    RUN_IS(b, "object-del", "{\"id\":\"s\"}", "0: object 's' not found");
    objects_free(b->m->objects);
    b->m->objects = NULL;
    bench_free(b);
}
END_TEST

START_TEST(descriptors_are_kept_by_name_and_in_sets)
{
    Bench *b = bench_new();
    int p[2], fd;
    Error err;

    ck_assert_int_eq(pipe(p), 0);
    RUN_IS(b, "getfd", "{\"fdname\":\"a\"}", "0: No file descriptor supplied via SCM_RIGHTS");
    fds_put(b->m, "in", dup(p[0]));
    fds_put(b->m, "in", dup(p[0])); /* closes the first */
    fd = fds_take(b->m, "in", &err);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(fds_take(b->m, "in", &err), -1);
    ck_assert_str_eq(err.msg, "File descriptor named 'in' has not been found");
    ck_assert_int_eq(fds_take(b->m, "9999", &err), -1);

    ck_assert_int_eq(fdset_add(b->m, -1, p[1], "writer", &err), 0);
    ck_assert_int_eq(fdset_add(b->m, 7, dup(p[1]), NULL, &err), 7);
    ck_assert_int_eq(fdset_add(b->m, -1, dup(p[1]), NULL, &err), 1);
    RUN_HAS(b, "query-fdsets", "{}", "\"opaque\": \"writer\"");
    ck_assert_int_lt(fds_open(b->m, "/dev/fdset/0", O_RDONLY, 0), 0);
    ck_assert_int_lt(fds_open(b->m, "/dev/fdset/3", O_WRONLY, 0), 0);
    fd = fds_open(b->m, "/dev/fdset/0", O_WRONLY, 0);
    ck_assert_int_ge(fd, 0);
    close(fd);
    RUN_IS(b, "remove-fd", "{\"fdset-id\":7}", "{}");
    RUN_IS(b, "remove-fd", "{\"fdset-id\":7}", "0: File descriptor named 'fdset-id:7' not found");
    close(p[0]);
    bench_free(b); /* closes the rest */
}
END_TEST

START_TEST(run_states_change_and_are_told)
{
    Bench *b = bench_new();
    StrBuf events = {0};
    EventListener l = {.fn = note_event, .arg = &events};

    event_listen(b->m, &l);
    RUN_IS(b, "query-status", "{}",
           "{\"status\": \"prelaunch\", \"singlestep\": false, \"running\": false}");
    RUN_IS(b, "stop", "{}", "{}");
    ck_assert_uint_eq(events.len, 0);
    RUN_IS(b, "cont", "{}", "{}");
    RUN_IS(b, "query-status", "{}",
           "{\"status\": \"running\", \"singlestep\": false, \"running\": true}");
    machine_reset(b->m);
    RUN_IS(b, "stop", "{}", "{}");
    RUN_IS(b, "query-status", "{}",
           "{\"status\": \"paused\", \"singlestep\": false, \"running\": false}");
    RUN_IS(b, "system_powerdown", "{}", "{}");
    ck_assert_str_eq(strbuf_str(&events),
                     "\"event\": \"RESUME\"}\"event\": \"RESET\", \"data\": {\"guest\": true, "
                     "\"reason\": \"guest-reset\"}}\"event\": \"STOP\"}\"event\": \"POWERDOWN\"}");
    b->m->state = RUN_INTERNAL_ERROR;
    RUN_IS(b, "cont", "{}", "0: Resetting the Virtual Machine is required");
    event_unlisten(b->m, &l);
    strbuf_free(&events);
    bench_free(b);
}
END_TEST

START_TEST(the_schema_is_closed)
{
    Bench *b = bench_new();
    AUTO_FREE char *text = run(b, "query-qmp-schema", "{}");
    json_t *schema = json_loads(text, 0, NULL), *e, *member, *names = json_object();
    static const char *const references[] = {"arg-type", "ret-type", "element-type"};
    size_t i, k;

    json_array_foreach (schema, i, e) {
        const char *name = json_string_value(json_object_get(e, "name"));

        ck_assert_msg(!json_object_get(names, name), "%s twice", name);
        json_object_set(names, name, e);
    }
    json_array_foreach (schema, i, e) {
        for (unsigned r = 0; r < COUNT_OF(references); r++) {
            const char *to = json_string_value(json_object_get(e, references[r]));

            ck_assert_msg(!to || json_object_get(names, to), "%s", to);
        }
        json_array_foreach (json_object_get(e, "members"), k, member) {
            const char *to = json_string_value(json_object_get(member, "type"));

            ck_assert_msg(!to || json_object_get(names, to), "%s", to);
        }
        json_array_foreach (json_object_get(e, "variants"), k, member)
            ck_assert_ptr_nonnull(
                json_object_get(names, json_string_value(json_object_get(member, "type"))));
    }
    e = json_object_get(names, "device_add");
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(e, "features"), 1)),
                     "json-cli-hotplug");
    json_decref(names);
    json_decref(schema);
    bench_free(b);
}
END_TEST

UNIT_MAIN("command", the_tables_are_sorted_and_documented, every_command_survives_wrong_arguments,
          devices_come_and_go, properties_are_read_and_written_by_path,
          objects_are_made_by_their_kind, descriptors_are_kept_by_name_and_in_sets,
          run_states_change_and_are_told, the_schema_is_closed)
