/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of monitor/qmp.c, json_frame.c and core/event.c, over a character device of our own */
#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "monitor/json_frame.h"
#include "monitor/monitor.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

/* --- a client --- */

typedef struct Client {
    Bench *b;
    Chardev chr;
    Monitor *mon;
    StrBuf out;
    size_t room; /* what it still takes */
} Client;

static size_t client_write(Chardev *c, const uint8_t *p, size_t n)
{
    Client *q = CONTAINER_OF(c, Client, chr);

    n = MIN(n, q->room);
    strbuf_addn(&q->out, (const char *)p, n);
    q->room -= n;
    return n;
}

static const ChardevOps client_ops = {.name = "client", .write = client_write};

static void client_event(Client *q, CharEvent e)
{
    q->chr.front->event(q->chr.front->arg, e);
}

static void client_join(Client *q, Bench *b, bool pretty)
{
    *q = (Client){.b = b, .chr = {.ops = &client_ops}, .room = SIZE_MAX};
    q->mon = monitor_new(b->m, &q->chr, MONITOR_CONTROL, pretty);
    client_event(q, CHAR_OPENED);
}

static void client_leave(Client *q)
{
    monitor_free(q->mon);
    strbuf_free(&q->out);
}

/* Bytes that were taken at once. */
static size_t client_send(Client *q, const char *text, size_t n)
{
    const CharFront *f = q->chr.front;
    size_t sent = 0;

    while (sent < n) {
        size_t step = MIN(f->can_accept(f->arg), n - sent);

        if (!step)
            break;
        f->accept(f->arg, (const uint8_t *)text + sent, step);
        sent += step;
    }
    return sent;
}

static void client_work(Client *q)
{
    for (unsigned i = 0; i < 64; i++)
        bench_step(q->b, 1000);
}

/* What comes back for @text; the caller frees. */
static char *client_ask(Client *q, const char *text)
{
    size_t n = strlen(text);

    strbuf_free(&q->out);
    while (n) {
        size_t sent = client_send(q, text, n);

        text += sent;
        n -= sent;
        client_work(q);
    }
    return q->out.s ? strbuf_take(&q->out) : xstrdup("");
}

#define ASK_IS(q, text, expected)                                                                  \
    do {                                                                                           \
        AUTO_FREE char *got_ = client_ask(q, text);                                                \
        ck_assert_str_eq(got_, expected);                                                          \
    } while (0)

static void client_start(Client *q, Bench *b)
{
    client_join(q, b, false);
    ASK_IS(q, "{\"execute\": \"qmp_capabilities\"}\n", "{\"return\": {}}\r\n");
}

static void client_restart(Client *q, const char *negotiate)
{
    client_event(q, CHAR_CLOSED);
    client_event(q, CHAR_OPENED);
    strbuf_free(&q->out);
    ASK_IS(q, negotiate, "{\"return\": {}}\r\n");
}

/* --- commands of our own --- */

typedef struct Box {
    char *name;
    List sizes;
    bool has_depth;
    uint32_t depth;
} Box;
static LIST_TYPE(sizes_type, &type_i64);
static const Field box_fields[] = {
    ARG(Box, name, "name", "n"),
    ARG_TYPE(Box, sizes, "sizes", &sizes_type, "s"),
    ARG_OPT(Box, depth, "depth", "d"),
};
static STRUCT_TYPE(box_type, Box, box_fields);
static LIST_TYPE(boxes_type, &box_type);
typedef struct Pack {
    List boxes;
} Pack;
static const Field pack_fields[] = {ARG_TYPE(Pack, boxes, "boxes", &boxes_type, "b")};
static STRUCT_TYPE(pack_type, Pack, pack_fields);

COMMAND_FN(test_pack)
{
    Pack *p = args;

    for (unsigned i = 0; i < p->boxes.n; i++) {
        Box *from = LIST_AT(Box, &p->boxes, i), *to = list_add(ret, &box_type);

        *to = *from;
        to->name = xstrdup(from->name);
        to->sizes = (List){0};
        *(int64_t *)list_add(&to->sizes, &type_i64) = from->sizes.n;
    }
    return true;
}
COMMAND(test_pack, .name = "x-test-pack", .args = &pack_type, .ret = &boxes_type, .run = test_pack,
        .doc = "Counts sizes.")

COMMAND_FN(test_now)
{
    return true;
}
COMMAND(test_now, .name = "x-test-now", .run = test_now, .flags = COMMAND_OOB, .doc = "At once.")

typedef struct TestEvent {
    char *id;
    int64_t n;
} TestEvent;
static const Field test_event_fields[] = {ARG(TestEvent, id, "id", "i"),
                                          ARG(TestEvent, n, "n", "n")};
static STRUCT_TYPE(test_event_type, TestEvent, test_event_fields);
EVENT(test_plain, .name = "X_TEST_PLAIN", .data = &test_event_type, .doc = "x")
EVENT(test_slow, .name = "X_TEST_SLOW", .data = &test_event_type, .rate_ms = 1000, .rate_key = "id",
      .doc = "x")

COMMAND_FN(test_tell)
{
    event_post(m, &event_test_plain, &(TestEvent){(char[]){"cmd"}, 1});
    return true;
}
COMMAND(test_tell, .name = "x-test-tell", .run = test_tell, .doc = "Posts an event.")

/* --- tests --- */

START_TEST(a_session_begins_with_greeting_and_negotiation)
{
    Bench *b = bench_new();
    Client q;

    client_join(&q, b, false);
    ck_assert(!strncmp(q.out.s, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\":", 37));
    ck_assert(strstr(q.out.s, "\"capabilities\": [\"oob\"]}}\r\n") != NULL);
    ASK_IS(&q, "{\"execute\":\"query-name\"}",
           "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities "
           "negotiation with 'qmp_capabilities'\"}}\r\n");
    ASK_IS(&q, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"none\"]}}",
           "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Parameter 'enable[0]' does not "
           "accept value 'none'\"}}\r\n");
    ASK_IS(&q, "{\"execute\":\"qmp_capabilities\"}", "{\"return\": {}}\r\n");
    ASK_IS(&q, "{\"execute\":\"qmp_capabilities\"}",
           "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Capabilities negotiation is "
           "already complete, command ignored\"}}\r\n");
    ASK_IS(&q, "{\"execute\":\"query-name\",\"id\":[1,{\"a\":null}]}",
           "{\"return\": {}, \"id\": [1, {\"a\": null}]}\r\n");
    client_restart(&q, "{\"execute\":\"qmp_capabilities\"}");
    client_leave(&q);
    bench_free(b);
}
END_TEST

#define GENERIC(text) "{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}}\r\n"

START_TEST(mistakes_are_told_in_the_words_of_qemu)
{
    static const char *const cases[][2] = {
        {"foo\n", GENERIC("JSON parse error, invalid keyword 'foo'")},
        {"42\n", GENERIC("QMP input must be a JSON object")},
        {"\"abc\"", GENERIC("QMP input must be a JSON object")},
        {"[1,2]", GENERIC("QMP input must be a JSON object")},
        {"{}", GENERIC("QMP input lacks member 'execute'")},
        {"{\"execute\":3}", GENERIC("QMP input member 'execute' must be a string")},
        {"{\"execute\":\"stop\",\"x\":1}", GENERIC("QMP input member 'x' is unexpected")},
        {"{\"execute\":\"stop\",\"exec-oob\":\"stop\"}",
         GENERIC("QMP input member 'exec-oob' is unexpected")},
        {"{\"execute\":\"stop\",\"arguments\":3}",
         GENERIC("QMP input member 'arguments' must be an object")},
        {"{\"execute\":\"stop\",\"arguments\":{\"a\":1}}", GENERIC("Parameter 'a' is unexpected")},
        {"{\"execute\":\"nope\",\"id\":7}",
         "{\"id\": 7, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command nope has "
         "not been found\"}}\r\n"},
        {"{\"execute\":\"closefd\"}", GENERIC("Parameter 'fdname' is missing")},
        {"{\"execute\":\"closefd\",\"arguments\":{\"fdname\":3}}",
         GENERIC("Invalid parameter type for 'fdname', expected: string")},
        {"{\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"foo\"}}",
         GENERIC("Parameter 'reboot' does not accept value 'foo'")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":3}}",
         GENERIC("Invalid parameter type for 'boxes', expected: array")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[3]}}",
         GENERIC("Invalid parameter type for 'boxes[0]', expected: object")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"name\":\"a\"}]}}",
         GENERIC("Parameter 'boxes[0].sizes' is missing")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"name\":\"a\",\"sizes\":[1,true]"
         "}]}}",
         GENERIC("Invalid parameter type for 'boxes[0].sizes[1]', expected: integer")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"x\":1}]}}",
         GENERIC("Parameter 'boxes[0].x' is unexpected")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"depth\":-1}]}}",
         GENERIC("Parameter 'boxes[0].depth' expects uint32_t")},
        {"{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"depth\":123456789012345678901}]"
         "}}",
         GENERIC("Invalid parameter type for 'boxes[0].depth', expected: integer")},
    };
    Bench *b = bench_new();
    Client q;

    client_start(&q, b);
    for (unsigned i = 0; i < COUNT_OF(cases); i++)
        ASK_IS(&q, cases[i][0], cases[i][1]);
    client_leave(&q);
    bench_free(b);
}
END_TEST

START_TEST(nested_arguments_and_results_travel)
{
    Bench *b = bench_new();
    Client q;

    client_start(&q, b);
    ASK_IS(
        &q,
        "{\"execute\":\"x-test-pack\",\"arguments\":{\"boxes\":[{\"name\":\"a\",\"sizes\":[5,6,7]},"
        "{\"sizes\":[],\"name\":\"\\u00e4\",\"depth\":0}]}}",
        "{\"return\": [{\"name\": \"a\", \"sizes\": [3]}, {\"name\": \"\\u00E4\", \"sizes\": [0], "
        "\"depth\": 0}]}\r\n");
    client_leave(&q);
    bench_free(b);
}
END_TEST

START_TEST(the_stream_is_found_again_after_junk)
{
    static const char ok[] = "{\"return\": {}}\r\n";
    Bench *b = bench_new();
    Client q;

    client_start(&q, b);
    ASK_IS(&q, "$$ {\"execute\":\"x-test-now\"}",
           "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray '$'\"}}"
           "\r\n{\"return\": {}}\r\n");
    ASK_IS(&q, "{'execute':'x-test-now','id':'it\\'s \"x\"'}",
           "{\"return\": {}, \"id\": \"it's \\\"x\\\"\"}\r\n");
    ASK_IS(&q, "{\"execute\"", "");
    ASK_IS(&q, ":\n\"x-test", "");
    ASK_IS(&q, "-now\" \r\n }", ok);
    for (const char *const *bad =
             (const char *const[]){"}}", "{\"execute\":\"stop\",}", "{\"a\" 3}",
                                   "{\"execute\":\"stop\"]", "\"abc\n", NULL};
         *bad; bad++) {
        AUTO_FREE char *got = client_ask(&q, *bad);

        ck_assert_msg(strstr(got, "JSON parse error") != NULL, "%s: %s", *bad, got);
        ASK_IS(&q, "\n{\"execute\":\"x-test-now\"}", ok);
    }
    client_leave(&q);
    bench_free(b);
}
END_TEST

/* Results of feeding @text once, and again byte by byte. */
static void frame_all(const char *text, size_t n, size_t step, unsigned *values, unsigned *errors)
{
    JsonFrame f = {0};
    Error err;

    *values = *errors = 0;
    for (size_t at = 0; at < n;) {
        FrameResult r;

        at += json_frame_take(&f, text + at, MIN(step, n - at), &r, &err);
        *values += r == FRAME_VALUE;
        *errors += r == FRAME_ERROR;
    }
    json_frame_reset(&f);
}

START_TEST(what_is_too_big_is_dropped)
{
    size_t n = FRAME_BYTES + 100;
    char *text = malloc(n);
    unsigned values, errors;

    memset(text, ' ', n);
    memset(text, '[', FRAME_DEPTH + 1);
    frame_all(text, FRAME_DEPTH + 1, 4096, &values, &errors);
    ck_assert_uint_eq(values, 0);
    ck_assert_uint_eq(errors, 1);
    memset(text, 'a', n);
    text[0] = '"';
    text[n - 4] = '\n';
    text[n - 3] = '[';
    text[n - 2] = ']';
    frame_all(text, n - 1, 4096, &values, &errors);
    ck_assert_uint_eq(values, 1);
    ck_assert_uint_eq(errors, 1);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 2 ? ',' : '1';
    text[0] = '[';
    frame_all(text, n, 4096, &values, &errors);
    ck_assert_uint_ge(errors, 1);
    free(text);
}
END_TEST

START_TEST(cutting_does_not_depend_on_the_pieces)
{
    static const char *const texts[] = {"{} [] 1 true \"a\" 'b' {\"a\":[1,{}]}",
                                        "{{{}}} ]]",
                                        "nul null 12345678901234567890 -1e5 x",
                                        "{\"a\":\"\\\"}\"}{'\\'':1}",
                                        "\x01\xff{\"a\":1}",
                                        "\"a\nb\" {}",
                                        "1,2:3"};

    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        unsigned values[2], errors[2];

        frame_all(texts[i], strlen(texts[i]), 1, &values[0], &errors[0]);
        frame_all(texts[i], strlen(texts[i]), 1000, &values[1], &errors[1]);
        ck_assert_uint_eq(values[0], values[1]);
        ck_assert_uint_eq(errors[0], errors[1]);
        ck_assert_uint_gt(values[0] + errors[0], 0);
    }
}
END_TEST

START_TEST(out_of_band_overtakes_what_waits)
{
    Bench *b = bench_new();
    Client q;

    client_join(&q, b, false);
    client_restart(&q, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
    ASK_IS(
        &q,
        "{\"execute\":\"x-test-now\",\"id\":1}{\"exec-oob\":\"x-test-now\",\"id\":2}"
        "{\"exec-oob\":\"stop\",\"id\":3}",
        "{\"return\": {}, \"id\": 2}\r\n{\"id\": 3, \"error\": {\"class\": \"GenericError\", "
        "\"desc\": \"The command stop does not support OOB\"}}\r\n{\"return\": {}, \"id\": 1}\r\n");
    client_leave(&q);
    bench_free(b);
}
END_TEST

/* --- events --- */

static void *post_from_a_thread(void *arg)
{
    event_post(arg, &event_test_plain, &(TestEvent){(char[]){"thread"}, 2});
    return NULL;
}

/* How often @what is in what came; forgets it. */
static unsigned heard(Client *q, const char *what)
{
    unsigned n = 0;

    client_work(q);
    for (const char *s = strbuf_str(&q->out); (s = strstr(s, what)); s++)
        n++;
    strbuf_free(&q->out);
    return n;
}

START_TEST(events_come_in_order_and_before_the_answer)
{
    Bench *b = bench_new();
    Client q, stranger;
    pthread_t th;

    client_start(&q, b);
    client_join(&stranger, b, false);
    strbuf_free(&stranger.out);
    char *got AUTO_FREE = client_ask(&q, "{\"execute\":\"x-test-tell\"}");
    ck_assert(!strncmp(got, "{\"timestamp\": {\"seconds\": ", 25));
    ck_assert(strstr(got, "\"event\": \"X_TEST_PLAIN\", \"data\": {\"id\": \"cmd\", \"n\": 1}}\r\n"
                          "{\"return\": {}}\r\n") != NULL);
    ck_assert_int_eq(pthread_create(&th, NULL, post_from_a_thread, b->m), 0);
    pthread_join(th, NULL);
    ck_assert_uint_eq(heard(&q, "X_TEST_PLAIN"), 0);
    bench_run(b);
    ck_assert_uint_eq(heard(&q, "\"thread\""), 1);
    ck_assert_uint_eq(heard(&stranger, "X_TEST"), 0); /* it has not negotiated */
    client_leave(&stranger);
    client_leave(&q);
    bench_free(b);
}
END_TEST

START_TEST(limited_events_tell_the_first_and_the_last)
{
    Bench *b = bench_new();
    Client q;

    client_start(&q, b);
    strbuf_free(&q.out);
    for (int64_t i = 0; i < 100; i++)
        event_post(b->m, &event_test_slow, &(TestEvent){(char[]){"a"}, i});
    event_post(b->m, &event_test_slow, &(TestEvent){(char[]){"b"}, 7});
    ck_assert(strstr(strbuf_str(&q.out), "\"n\": 0}") != NULL);
    ck_assert_uint_eq(heard(&q, "X_TEST_SLOW"), 2);
    bench_step(b, 1000000000);
    ck_assert(strstr(strbuf_str(&q.out), "\"n\": 99}") != NULL);
    ck_assert_uint_eq(heard(&q, "X_TEST_SLOW"), 1);
    bench_step(b, 2000000000);
    ck_assert_uint_eq(heard(&q, "X_TEST_SLOW"), 0);
    event_post(b->m, &event_test_slow, &(TestEvent){(char[]){"a"}, 5});
    ck_assert_uint_eq(heard(&q, "X_TEST_SLOW"), 1);
    event_post(b->m, &event_test_slow, &(TestEvent){(char[]){"a"}, 6}); /* held back at the end */
    client_leave(&q);
    bench_free(b);
}
END_TEST

/* --- clients that misbehave --- */

START_TEST(who_never_reads_costs_little)
{
    static const char ask[] = "{\"execute\":\"query-qmp-schema\"}\n";
    Bench *b = bench_new();
    size_t total = 0;
    Client q;

    client_start(&q, b);
    strbuf_free(&q.out);
    q.room = 0;
    for (unsigned i = 0; i < 10000; i++) {
        total += client_send(&q, ask, sizeof ask - 1);
        event_post(b->m, &event_test_plain, &(TestEvent){(char[]){"x"}, i});
        bench_step(b, 1000);
    }
    ck_assert_uint_lt(total, 32768);
    q.room = SIZE_MAX; /* it reads after all */
    client_event(&q, CHAR_WRITABLE);
    client_work(&q);
    ck_assert_uint_lt(q.out.len, 8 << 20);
    ck_assert_uint_lt(heard(&q, "X_TEST_PLAIN"), 10000);
    ASK_IS(&q, "\n{\"execute\":\"x-test-now\",\"id\":1}", "{\"return\": {}, \"id\": 1}\r\n");
    client_leave(&q);
    bench_free(b);
}
END_TEST

START_TEST(sessions_may_end_at_any_moment)
{
    static const char text[] =
        "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-commands\"}{\"execute\":\"sto";
    Bench *b = bench_new();
    Client q;

    for (size_t n = 0; n < sizeof text; n++) {
        client_join(&q, b, n % 2);
        client_send(&q, text, n);
        if (n % 3 == 0)
            client_event(&q, CHAR_CLOSED);
        if (n % 5 == 0)
            bench_step(b, 1000);
        if (n % 7 == 0)
            client_event(&q, CHAR_OPENED);
        client_leave(&q);
    }
    bench_free(b);
}
END_TEST

START_TEST(pretty_answers_take_several_lines)
{
    Bench *b = bench_new();
    Client q;

    client_join(&q, b, true);
    ASK_IS(&q, "{\"execute\":\"qmp_capabilities\",\"id\":1}",
           "{\n    \"return\": {},\n    \"id\": 1\n}\r\n");
    client_leave(&q);
    bench_free(b);
}
END_TEST

UNIT_MAIN("qmp", a_session_begins_with_greeting_and_negotiation,
          mistakes_are_told_in_the_words_of_qemu, nested_arguments_and_results_travel,
          the_stream_is_found_again_after_junk, what_is_too_big_is_dropped,
          cutting_does_not_depend_on_the_pieces, out_of_band_overtakes_what_waits,
          events_come_in_order_and_before_the_answer, limited_events_tell_the_first_and_the_last,
          who_never_reads_costs_little, sessions_may_end_at_any_moment,
          pretty_answers_take_several_lines)
