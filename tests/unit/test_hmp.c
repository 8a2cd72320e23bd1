/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of monitor/hmp*.c, line_edit.c and expr.c */
#include "base/alloc.h"
#include "monitor/expr.h"
#include "monitor/line_edit.h"
#include "monitor/monitor.h"
#include "tests/bench/bench.h"
#include "tests/unit/unit.h"

/* --- expressions --- */

START_TEST(expressions_have_values)
{
    static const struct {
        const char *text;
        int64_t value;
        const char *rest;
    } cases[] = {
        {"0x10+3*2", 22, ""},
        {"010", 8, ""},
        {"-1", -1, ""},
        {"~0 & 0xff", 255, ""},
        {"(1+2)*(3-4)", -3, ""},
        {"7 % 4 | 8 ^ 1", 10, ""},
        {"100/7 x", 14, "x"},
        {"1 , 2", 1, ", 2"},
        {"0xffffffffffffffff", -1, ""},
        {"'A'+1", 66, ""},
        {"10 /tmp/x", 10, "/tmp/x"},
        {"8 \"f\"", 8, "\"f\""},
    };

    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        const char *end;
        int64_t v;
        Error err;

        ck_assert_msg(expr_parse(cases[i].text, &end, NULL, &v, &err), "%s", err.msg);
        ck_assert_msg(v == cases[i].value, "%s is %" PRId64, cases[i].text, v);
        ck_assert_str_eq(end, cases[i].rest);
    }
}
END_TEST

START_TEST(wrong_expressions_are_refused)
{
    static const char *const cases[][2] = {
        {"", "unexpected end of expression"},
        {"1+", "unexpected end of expression"},
        {"1/0", "division by zero"},
        {"5 % (2-2)", "division by zero"},
        {"(1", "')' expected"},
        {"$rip", "unknown register"},
        {"x", "invalid char 'x' in expression"},
    };
    char deep[400];
    const char *end;
    int64_t v;
    Error err;

    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        ck_assert_msg(!expr_parse(cases[i][0], &end, NULL, &v, &err), "%s", cases[i][0]);
        ck_assert_str_eq(err.msg, cases[i][1]);
    }
    memset(deep, '(', sizeof deep);
    deep[sizeof deep - 1] = 0;
    ck_assert(!expr_parse(deep, &end, NULL, &v, &err));
}
END_TEST

/* --- lines --- */

static void complete_fruit(void *arg, const char *start, StrBuf *out)
{
    static const char *const fruit[] = {"apple", "apricot", "banana"};
    const char *blank = strrchr(start, ' '), *word = blank ? blank + 1 : start;

    (void)arg;
    for (unsigned i = 0; i < COUNT_OF(fruit); i++)
        if (!strncmp(fruit[i], word, strlen(word)))
            strbuf_addf(out, "%s\n", fruit[i]);
}

/* The lines that @keys make, each with a bar behind it. */
static char *lines(LineEdit *e, const char *keys, StrBuf *echo)
{
    StrBuf all = {0};

    for (; *keys; keys++) {
        const char *line = line_edit_take(e, *keys, echo);

        if (line) {
            strbuf_addf(&all, "%s|", line);
            line_edit_start(e, echo);
        }
    }
    return all.s ? strbuf_take(&all) : xstrdup("");
}

START_TEST(keys_edit_the_line)
{
    static const char *const cases[][2] = {
        {"abc\r\ndef\n", "abc|def|"},
        {"abcd\x02\x02X\r", "abXcd|"},           /* left, left */
        {"abc\x01X\x05Y\r", "XabcY|"},           /* home, end */
        {"abc\x7f\bZ\r", "aZ|"},                 /* backspace */
        {"one two  \x17three\r", "one three|"},  /* word */
        {"abc\x15z\r", "z|"},                    /* all */
        {"abcd\x1b[D\x1b[D\x0b\r", "ab|"},       /* arrow, kill */
        {"abcd\x1b[H\x1b[3~\x1b[F!\r", "bcd!|"}, /* home, delete, end */
        {"\x1b[A\x1b[9;9~x\r", "bcd!x|"},        /* up; an unknown key */
        {"p\x1b[A\x1b[A\x1b[B\x1b[B\r", "|"},    /* below the newest is nothing */
        {"b\t\r", "banana |"},
        {"x ap\tr\t\r", "x apricot |"},
        {"junk\x03ok\r", "ok|"},
    };
    StrBuf echo = {0};
    LineEdit e;

    line_edit_init(&e, "> ", complete_fruit, NULL);
    line_edit_start(&e, &echo);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        AUTO_FREE char *got = lines(&e, cases[i][0], &echo);

        ck_assert_str_eq(got, cases[i][1]);
    }
    strbuf_free(&echo);
    AUTO_FREE char *none = lines(&e, "a\t", &echo);
    ck_assert_str_eq(none, "");
    ck_assert(strstr(strbuf_str(&echo), "ap") != NULL); /* as far as they are the same */
    AUTO_FREE char *list = lines(&e, "\t", &echo);
    ck_assert(strstr(strbuf_str(&echo), "\napple\napricot\n") != NULL);
    strbuf_free(&echo);
    line_edit_fini(&e);
}
END_TEST

START_TEST(long_lines_and_histories_are_capped)
{
    StrBuf echo = {0}, text = {0};
    LineEdit e;

    line_edit_init(&e, "> ", complete_fruit, NULL);
    for (unsigned i = 0; i < 2 * LINE_MAX_; i++)
        strbuf_add(&text, "x");
    strbuf_add(&text, "\r");
    AUTO_FREE char *got = lines(&e, text.s, &echo);
    ck_assert_uint_eq(strlen(got), LINE_MAX_);
    for (unsigned i = 0; i < 3 * LINE_HISTORY; i++) {
        AUTO_FREE char *line = xasprintf("%u\r", i);
        AUTO_FREE char *back = lines(&e, line, &echo);
    }
    ck_assert_uint_eq(e.n_history, LINE_HISTORY);
    strbuf_free(&echo);
    strbuf_free(&text);
    line_edit_fini(&e);
}
END_TEST

/* --- commands --- */

static void hmp_is(Bench *b, const char *line, const char *expected)
{
    StrBuf out = {0};

    hmp_run(b->m, line, 0, &out);
    ck_assert_msg(!strcmp(strbuf_str(&out), expected), "%s: %s", line, strbuf_str(&out));
    strbuf_free(&out);
}

START_TEST(lines_run_commands)
{
    Bench *b = bench_new();

    hmp_is(b, "", "");
    hmp_is(b, "  # remark", "");
    hmp_is(b, "info  status", "VM status: paused (prelaunch)\r\n");
    hmp_is(b, "c", "");
    hmp_is(b, "info status ", "VM status: running\r\n");
    hmp_is(b, "s", "");
    hmp_is(b, "info status", "VM status: paused\r\n");
    hmp_is(b, "info status x",
           "info status: extraneous characters at the end of line\r\nTry \"help info status\" for "
           "more "
           "information\r\n");
    hmp_is(b, "frobnicate 1", "unknown command: 'frobnicate'\r\n");
    hmp_is(b, "info nothing", "unknown command: 'info nothing'\r\n");
    hmp_is(b, "sendkey a", "sendkey: this command is not built yet\r\n");
    hmp_is(b, "info  vnc ", "info vnc: this command is not built yet\r\n");
    hmp_is(b, "info numa", "0 nodes\r\n");
    hmp_is(b, "balloon 1", "Error: No balloon device has been activated\r\n");
    hmp_is(b, "balloon 0x7fffffffffffffff",
           "integer is for 63-bit values\r\nTry \"help balloon\" for more information\r\n");
    hmp_is(b, "block_resize d0 x",
           "invalid size\r\nTry \"help block_resize\" for more information\r\n");
    hmp_is(b, "block_job_cancel -f d0", "Error: Block job 'd0' not found\r\n");
    hmp_is(b, "watchdog_action pause", "");
    ck_assert_int_eq(b->m->cfg.watchdog_action, WATCHDOG_PAUSE);
    hmp_is(b, "trace-event zork on", "unknown event \"zork\"\r\n");
    hmp_is(b, "trace-event zork maybe",
           "Expected 'on' or 'off'\r\nTry \"help trace-event\" for more information\r\n");
    hmp_is(b, "device_del nope", "Error: Device 'nope' not found\r\n");
    hmp_is(b, "device_add nope,id=x", "Error: 'nope' is not a valid device model name\r\n");
    hmp_is(b, "memsave 0 10",
           "memsave: string expected\r\nTry \"help memsave\" for more information\r\n");
    hmp_is(b, "cpu 1", "invalid CPU index\r\n");
    hmp_is(b, "help cpu", "cpu index -- set the default CPU\r\n");
    hmp_is(b, "p/c 65", "'A'\r\n");
    hmp_is(b, "p /x 255", "0xff\r\n");
    bench_mem_write(b, 0x1000, 8, 0x8877665544332211);
    hmp_is(b, "xp/2xg 0x1000", "0000000000001000: 0x8877665544332211 0x0000000000000000\r\n");
    hmp_is(b, "xp/3db 0x1007", "0000000000001007: -120   0   0\r\n");
    hmp_is(b, "xp/2c 0x1000", "0000000000001000: '\\x11' '\"'\r\n");
    hmp_is(b, "xp/q 0", "invalid char in format: 'q'\r\nTry \"help xp\" for more information\r\n");
    hmp_is(b, "sum 0x1000 2", "32810\r\n");
    bench_free(b);
}
END_TEST

static void completes(Bench *b, const char *start, const char *expected)
{
    StrBuf out = {0};

    hmp_complete(b->m, start, &out);
    ck_assert_msg(!strcmp(strbuf_str(&out), expected), "%s: %s", start, strbuf_str(&out));
    strbuf_free(&out);
}

START_TEST(words_are_completed_from_the_tables)
{
    Bench *b = bench_new();
    Error err;

    ck_assert_ptr_nonnull(device_new(b->m, "isa-debug-exit", "exit0", NULL, &err));
    completes(b, "system_r", "system_reset\n");
    completes(b, "info vers", "version\n");
    completes(b, "device_del ex", "exit0\n");
    completes(b, "device_add isa-debug-e", "isa-debug-exit\n");
    completes(b, "device_del exit0 ", "");
    completes(b, "nothing at all", "");
    bench_free(b);
}
END_TEST

UNIT_MAIN("hmp", expressions_have_values, wrong_expressions_are_refused, keys_edit_the_line,
          long_lines_and_histories_are_capped, lines_run_commands,
          words_are_completed_from_the_tables)
