/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/log.h */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "tests/unit/unit.h"

static char path[] = "/tmp/test_log.XXXXXX";

static void to_file(uint32_t mask)
{
    int fd = mkstemp(path);
    Error err;

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_msg(log_open(path, mask, &err), "%s", err.msg);
}

/* What was logged since to_file(). */
static const char *logged(void)
{
    static char text[8192];
    FILE *f;
    size_t n;

    ck_assert(log_open(NULL, 0, NULL)); /* closes the file */
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    unlink(path);
    return text;
}

START_TEST(items_are_named)
{
    uint32_t mask = 0;
    Error err;

    ck_assert(log_parse("in_asm,int", &mask, &err));
    ck_assert_uint_eq(mask, LOG_IN_ASM | LOG_INT);
    ck_assert(log_parse("", &mask, &err));
    ck_assert_uint_eq(mask, 0);
    for (const LogItem *i = log_items; i->name; i++) {
        ck_assert(log_parse(i->name, &mask, &err) && mask == i->mask);
        ck_assert_uint_gt(strlen(i->doc), 0);
    }
}
END_TEST

START_TEST(unknown_items_are_refused_with_a_hint)
{
    uint32_t mask;
    Error err;

    ck_assert(!log_parse("int,guest_error", &mask, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "'guest_error'"));
    ck_assert_ptr_nonnull(strstr(err.msg, "'guest_errors'"));
    ck_assert(!log_parse("trace:no_such_*", &mask, &err));
}
END_TEST

START_TEST(only_what_is_on_is_written)
{
    to_file(LOG_INT);
    log_at(LOG_INT, "a %d\n", 1);
    log_at(LOG_EXEC, "b %d\n", 2);
    log_text("100% text\n");
    log_write("%0700d\n", 3);
    const char *text = logged();
    ck_assert_int_eq(strncmp(text, "a 1\n100% text\n000", 17), 0);
    ck_assert_uint_eq(strlen(text), 4 + 10 + 701);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_an_error)
{
    Error err;

    ck_assert(!log_open("/nonexistent/log", LOG_INT, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/log"));
}
END_TEST

START_TEST(a_site_writes_ten_lines_a_second)
{
    unsigned lines = 0;
    const char *text;

    to_file(LOG_GUEST_ERROR);
    for (int i = 0; i < 1000; i++)
        log_guest("mistake %d", i);
    log_unimp("not on");
    text = logged();
    ck_assert_ptr_nonnull(strstr(text, "mistake 9\n"));
    ck_assert_ptr_null(strstr(text, "not on"));
    for (; *text; text++)
        lines += *text == '\n';
    ck_assert_uint_ge(lines, 10);
    ck_assert_uint_le(lines, 21); /* a second may end within the loop */
}
END_TEST

static void traced(int due)
{
    TRACE(testlamp_fire, "due %d", due);
    TRACE(timer_fire, "due %d", due);
}

START_TEST(tracepoints_are_off_until_their_glob_comes)
{
    static TracePoint late = {"testlamp_late", false, NULL}, never = {"x", false, NULL};

    to_file(0);
    traced(1);
    ck_assert_uint_eq(trace_enable("testlamp_*"), 1);
    ck_assert_uint_eq(trace_enable("nothing*"), 0);
    traced(2);
    trace_register(&late);
    trace_register(&never);
    ck_assert(late.on && !never.on);
    ck_assert_uint_ge(trace_enable("*"), 4); /* and those of all that is linked in */
    ck_assert_str_eq(logged(), "testlamp_fire due 2\n");
}
END_TEST

START_TEST(messages_name_the_program)
{
    char text[256] = "";
    FILE *f = tmpfile();
    int saved = dup(2);

    ck_assert_ptr_nonnull(f);
    dup2(fileno(f), 2);
    log_set_program("rhea-system-x86_64");
    log_warn("%s is old", "pc");
    log_error("no %s\n", "way");
    dup2(saved, 2);
    close(saved);
    rewind(f);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
    fclose(f);
    ck_assert_str_eq(text, "rhea-system-x86_64: warning: pc is old\nrhea-system-x86_64: no way\n");
}
END_TEST

UNIT_MAIN("log", items_are_named, unknown_items_are_refused_with_a_hint, only_what_is_on_is_written,
          a_file_that_cannot_be_opened_is_an_error, a_site_writes_ten_lines_a_second,
          tracepoints_are_off_until_their_glob_comes, messages_name_the_program)
