/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_powercut - what a qcow2 image is like after the power went at any moment
 *
 * A protocol driver in memory keeps apart what was flushed from what was only written.  A crash keeps the
 * former and any subset of the latter, also parts of a write.  Then: the image opens, `check` finds no
 * corruption (leaks at most), and each sector holds what was flushed or something written after it.
 * POWERCUTS=n: how many crashes (3000).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "block/block.h"
#include "unit.h"

enum { DISK = 4 << 20, SIZE = 1 << 20, SECTOR = 512, SECTORS = SIZE / SECTOR, PENDING_MAX = 4096 };

/* --- a disk with a write cache --- */

typedef struct Pending {
    uint64_t at;
    uint32_t size;
    uint8_t *data; /* NULL: zeroes */
} Pending;

typedef struct Disk {
    uint8_t now[DISK], safe[DISK];
    uint64_t size, safe_size;
    Pending p[PENDING_MAX];
    unsigned n;
} Disk;

static Disk *disks[2];

static void disk_flush(Disk *d)
{
    for (unsigned i = 0; i < d->n; i++) {
        memcpy(d->safe + d->p[i].at, d->now + d->p[i].at, d->p[i].size);
        xfree(d->p[i].data);
    }
    if (d->size < d->safe_size)
        memset(d->safe + d->size, 0, d->safe_size - d->size);
    d->safe_size = d->size;
    d->n = 0;
}

static void disk_write(Disk *d, const BlockReq *r)
{
    uint64_t skip = 0;
    Pending *p = &d->p[d->n];

    ck_assert_uint_le(r->at + r->size, DISK);
    if (d->n == PENDING_MAX)
        return disk_flush(d); /* a disk may write back when it likes */
    *p = (Pending){r->at, (uint32_t)r->size, NULL};
    if (r->op == BLOCK_WRITE) {
        p->data = xalloc(r->size);
        for (int i = 0; i < r->n_iov; i++) {
            memcpy(p->data + skip, r->iov[i].iov_base, r->iov[i].iov_len);
            skip += r->iov[i].iov_len;
        }
        memcpy(d->now + r->at, p->data, r->size);
    } else {
        memset(d->now + r->at, 0, r->size);
    }
    d->n++;
    d->size = MAX(d->size, r->at + r->size);
}

static void disk_submit(BlockNode *n, BlockReq *r)
{
    Disk *d = disks[*(unsigned *)n->state];
    uint64_t at = r->at;

    switch (r->op) {
    case BLOCK_READ:
        for (int i = 0; i < r->n_iov; i++) {
            uint64_t has = at >= DISK ? 0 : MIN((uint64_t)r->iov[i].iov_len, DISK - at);

            memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
            memcpy(r->iov[i].iov_base, d->now + at, has);
            at += r->iov[i].iov_len;
        }
        break;
    case BLOCK_FLUSH: disk_flush(d); break;
    default:
        disk_write(d, r);
        n->size = d->size;
        if (r->flags & BLOCK_FUA)
            disk_flush(d);
    }
    blockreq_complete(r, 0);
}

typedef struct DiskOptions {
    uint32_t index;
} DiskOptions;
static const Field disk_fields[] = {PROP(DiskOptions, index, "index", 0, "which")};
static STRUCT_TYPE(disk_options_type, DiskOptions, disk_fields);

static bool disk_open(BlockNode *n, const void *options, Error *err)
{
    (void)err;
    *(unsigned *)n->state = ((const DiskOptions *)options)->index;
    n->size = disks[*(unsigned *)n->state]->size;
    n->filename = xstrdup("disk");
    n->zero_init = true;
    return true;
}

static bool disk_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    Disk *d = disks[*(unsigned *)n->state];

    (void)p, (void)exact, (void)err;
    ck_assert_uint_le(size, DISK);
    if (size < d->size)
        memset(d->now + size, 0, d->size - size);
    n->size = d->size = size;
    return true;
}

static BlockDriver disk_driver = {
    .name = "test-disk",
    .doc = "a disk with a write cache",
    .kind = DRIVER_PROTOCOL,
    .options = &disk_options_type,
    .state_size = sizeof(unsigned),
    .open = disk_open,
    .submit = disk_submit,
    .truncate = disk_truncate,
};
BLOCK_DRIVER_REGISTER(disk_driver)

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

static void copy_with_crash(Run *r)
{
    Disk *from = disks[0], *to = disks[1];

    for (unsigned i = 0; i < to->n; i++)
        xfree(to->p[i].data);
    to->n = 0;
    memset(to->now, 0, to->size);
    memcpy(to->now, from->safe, from->safe_size);
    to->size = from->safe_size;
    for (unsigned i = 0; i < from->n; i++) {
        const Pending *p = &from->p[i];
        unsigned fate = roll(r) % 4; /* none, all, some sectors, all */

        for (uint64_t at = 0; at < p->size && fate; at += SECTOR) {
            uint64_t len = MIN(SECTOR - (p->at + at) % SECTOR, p->size - at);

            if (fate == 2 && roll(r) & 1)
                continue;
            if (p->data)
                memcpy(to->now + p->at + at, p->data + at, len);
            else
                memset(to->now + p->at + at, 0, len);
            to->size = MAX(to->size, p->at + at + len);
        }
    }
    memset(to->safe, 0, to->safe_size);
    memcpy(to->safe, to->now, to->size);
    to->safe_size = to->size;
}

static BlockNode *image_open(Run *r, unsigned disk, Error *err)
{
    return node_open(
        r->g,
        json_pack("{ss s{sssi}}", "driver", "qcow2", "file", "driver", "test-disk", "index", disk),
        0, err);
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

    copy_with_crash(r);
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
    for (unsigned i = 0; i < 2; i++)
        disks[i] = xnew(Disk);
    file = node_open(r->g,
                     json_pack("{sssssi}", "driver", "test-disk", "node-name", "file0", "index", 0),
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
    for (unsigned i = 0; i < 2; i++) {
        disk_flush(disks[i]);
        xfree(disks[i]);
    }
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
