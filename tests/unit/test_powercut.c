/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_powercut - what a qcow2 image is like after the power went at any moment
 *
 * The disk in memory (block_disk.h) keeps apart what was flushed from what was only written.  A
 * crash keeps the former and any subset of the latter, also parts of a write.  Then: the image
 * opens, `check` finds no corruption (leaks at most), and each sector holds what was flushed or
 * something written after it. POWERCUTS=n: how many crashes (3000).
 */
#include <stdio.h>

#include "block_disk.h"

enum { SIZE = 1 << 20, SECTOR = DISK_SECTOR, SECTORS = SIZE / SECTOR };

/* --- crashes --- */

typedef struct Run {
    BlockGraph *g;
    BlockPort *port;
    BlockNode *node;
    unsigned seed;
    uint32_t stamp;            /* of the last write */
    uint32_t flushed[SECTORS]; /* stamp each sector had at the last flush */
    uint32_t written[SECTORS]; /* and has now */
    bool touched[SECTORS];     /* in between */
} Run;

static unsigned roll(Run *r)
{
    r->seed = r->seed * 1664525 + 1013904223;
    return r->seed >> 8;
}

static unsigned roll_for(void *r)
{
    return roll(r);
}

static BlockNode *image_open(Run *r, unsigned disk, Error *err)
{
    return node_open(
        r->g,
        json_pack("{ss s{sssi}}", "driver", "qcow2", "file", "driver", "test-ram", "disk", disk), 0,
        err);
}

static void say(void *arg, const char *line)
{
    strbuf_addf(arg, "%s\n", line);
}

/* A sector holds the stamp of its writer, everywhere the same. */
static uint32_t stamp_of(const uint8_t *s)
{
    uint32_t first;

    memcpy(&first, s, 4);
    if (memcmp(s, s + 4, SECTOR - 4))
        ck_abort_msg("a sector is mixed of two writes");
    return first;
}

static void crash(Run *r, unsigned long number)
{
    StrBuf text = {0};
    CheckReport rep = {.say = say, .arg = &text};
    uint8_t *all = xalloc(SIZE);
    Error err = {0};
    BlockNode *n;

    disk_cut(&disks[0], &disks[1], roll_for, r);
    n = image_open(r, 1, &err);
    ck_assert_msg(n != NULL, "crash %lu: %s", number, err.msg);
    ck_assert_msg(n->drv->check(n, 0, &rep, &err), "crash %lu: %s", number, err.msg);
    ck_assert_msg(!rep.corruptions && !rep.check_errors, "crash %lu: %s", number,
                  strbuf_str(&text));
    ck_assert_int_eq(node_read(n, 0, all, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        uint32_t is = stamp_of(all + s * SECTOR);

        /* The flushed one, or one that came later; zeroes may be a later discard or zeroing. */
        if (is != r->flushed[s] && !r->touched[s])
            ck_abort_msg("crash %lu: sector %u is %u, %u was flushed", number, s, is,
                         r->flushed[s]);
    }
    node_unref(n);
    xfree(all);
    strbuf_free(&text);
}

static void guest_step(Run *r)
{
    unsigned what = roll(r) % 16, s = roll(r) % SECTORS, n = MIN(roll(r) % 200 + 1, SECTORS - s);
    uint8_t *buf;

    if (what == 0) {
        ck_assert_int_eq(block_flush(r->port), 0);
        memcpy(r->flushed, r->written, sizeof r->flushed);
        memset(r->touched, 0, sizeof r->touched);
        return;
    }
    memset(&r->touched[s], true, n);
    if (what == 1 || what == 2) {
        ck_assert_int_eq(
            block_zero(r->port, s * SECTOR, n * SECTOR, what == 1 ? BLOCK_MAY_UNMAP : 0), 0);
        for (unsigned i = 0; i < n; i++)
            r->written[s + i] = 0;
        return;
    }
    buf = xalloc(n * SECTOR);
    r->stamp++;
    for (unsigned i = 0; i < n * SECTOR; i += 4)
        memcpy(buf + i, &r->stamp, 4);
    ck_assert_int_eq(block_write(r->port, s * SECTOR, buf, n * SECTOR, 0), 0);
    for (unsigned i = 0; i < n; i++)
        r->written[s + i] = r->stamp;
    xfree(buf);
}

static void run_start(Run *r, unsigned seed)
{
    static const char *const options[][2] = {{"cluster-size", "4096"}, {"cluster-size", "65536"},
                                             {"cluster-size", "512"},  {"refcount-bits", "1"},
                                             {"extended-l2", "true"},  {"cluster-size", "16384"}};
    const char *const *o = options[seed % COUNT_OF(options)];
    Error err = {0};
    BlockNode *file;
    json_t *j;

    *r = (Run){.seed = seed, .g = graph_new(NULL, NULL)};
    file = node_open(r->g,
                     json_pack("{sssssi}", "driver", "test-ram", "node-name", "file0", "disk", 0),
                     0, &err);
    ck_assert_msg(file != NULL, "%s", err.msg);
    j = json_pack("{sssisssb}", "file", "file0", "size", SIZE, "version", "v3", "lazy-refcounts",
                  0);
    json_object_set_new(j, o[0], !strcmp(o[1], "true") ? json_true() : json_integer(atoi(o[1])));
    ck_assert_msg(block_driver_find("qcow2")->create(r->g, j, &err), "%s", err.msg);
    json_decref(j);
    node_flush(file);
    node_unref(file);
    r->node = image_open(r, 0, &err);
    ck_assert_msg(r->node != NULL, "%s", err.msg);
    r->port = block_port_new(r->g, NULL, r->node, PERM_READ | PERM_WRITE, PERM_ALL, &err);
    node_flush(r->node);
}

static void run_end(Run *r)
{
    block_port_free(r->port);
    node_unref(r->node);
    graph_free(r->g);
    for (unsigned i = 0; i < 2; i++)
        disk_reset(&disks[i]);
}

START_TEST(no_crash_corrupts_an_image_or_loses_what_was_flushed)
{
    const char *env = getenv("POWERCUTS");
    unsigned long crashes = env ? strtoul(env, NULL, 0) : 3000;
    Run *r = xnew(Run);

    for (unsigned long i = 0, seed = 1; i < crashes; seed++) {
        run_start(r, (unsigned)seed);
        for (unsigned k = 0; k < 20 && i < crashes; k++, i++) {
            for (unsigned steps = roll(r) % 12; steps; steps--)
                guest_step(r);
            crash(r, i);
        }
        run_end(r);
    }
    xfree(r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("powercut");
    TCase *t = tcase_create("powercut");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_set_timeout(t, 0);
    tcase_add_test(t, no_crash_corrupts_an_image_or_loses_what_was_flushed);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
