/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_block_faults - what a qcow2 image is like after an allocation or a transfer failed,
 * whichever it was
 *
 * A protocol driver in memory fails the n-th read, write, flush or truncation, once or from then
 * on; alloc.h fails the n-th allocation.  A script of requests runs with each fault in turn until
 * none is met any more.  Then the image opens, `check` finds no corruption, and each sector holds
 * what was flushed or something written after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "block/blkdebug.h"
#include "block/block.h"
#include "unit.h"

enum {
    DISK = 4 << 20,
    SIZE = 1 << 20,
    GROWN = SIZE + (1 << 19),
    SECTOR = 512,
    SECTORS = GROWN / SECTOR
};

/* --- a disk that fails --- */

typedef enum Fault {
    FAULT_NONE,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FLUSH,
    FAULT_TRUNCATE,
    FAULT_ALLOC,
    FAULTS
} Fault;
static const char *const fault_names[] = {"none",  "read",     "write",
                                          "flush", "truncate", "allocation"};

static struct {
    uint8_t mem[DISK];
    uint64_t size;
    Fault fault;
    unsigned left; /* until it fails */
    bool for_good, met;
    int error;
} disk;

static int disk_fault(Fault f)
{
    if (disk.fault != f || disk.left > 1) {
        disk.left -= disk.fault == f;
        return 0;
    }
    disk.met = true;
    if (!disk.for_good)
        disk.fault = FAULT_NONE;
    return -disk.error;
}

static int disk_move(const BlockReq *r)
{
    uint64_t at = r->at;

    for (int i = 0; i < r->n_iov; i++) {
        uint8_t *p = r->iov[i].iov_base;
        size_t size = r->iov[i].iov_len, has = at >= DISK ? 0 : MIN(size, DISK - at);

        if (r->op == BLOCK_WRITE) {
            memcpy(disk.mem + at, p, has);
        } else {
            memset(p, 0, size);
            memcpy(p, disk.mem + at, has);
        }
        at += size;
    }
    return 0;
}

static void disk_submit(BlockNode *n, BlockReq *r)
{
    int rc = disk_fault(r->op == BLOCK_READ    ? FAULT_READ
                        : r->op == BLOCK_FLUSH ? FAULT_FLUSH
                                               : FAULT_WRITE);

    if (r->op != BLOCK_READ && r->op != BLOCK_FLUSH)
        ck_assert_uint_le(r->at + r->size, DISK);
    if (!rc && (r->op == BLOCK_READ || r->op == BLOCK_WRITE))
        rc = disk_move(r);
    else if (!rc && r->op == BLOCK_ZERO)
        memset(disk.mem + r->at, 0, r->size);
    if (!rc && (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO))
        n->size = disk.size = MAX(disk.size, r->at + r->size);
    blockreq_complete(r, rc);
}

static bool disk_open(BlockNode *n, const void *options, Error *err)
{
    (void)options, (void)err;
    n->size = disk.size;
    n->filename = xstrdup("disk");
    n->zero_init = true;
    return true;
}

static bool disk_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    int rc = disk_fault(FAULT_TRUNCATE);

    (void)p, (void)exact;
    if (rc)
        return error_set_errno(err, -rc, "the disk");
    ck_assert_uint_le(size, DISK);
    if (size < disk.size)
        memset(disk.mem + size, 0, disk.size - size);
    n->size = disk.size = size;
    return true;
}

static BlockDriver disk_driver = {
    .name = "fault-disk",
    .doc = "a disk that fails when told to",
    .kind = DRIVER_PROTOCOL,
    .open = disk_open,
    .submit = disk_submit,
    .truncate = disk_truncate,
};
BLOCK_DRIVER_REGISTER(disk_driver)

static void fault_set(Fault f, unsigned n, bool for_good, int error)
{
    disk.fault = f;
    disk.left = n;
    disk.for_good = for_good;
    disk.error = error;
    disk.met = false;
    fault_alloc(f == FAULT_ALLOC ? n : 0);
}

static void fault_off(void)
{
    fault_set(FAULT_NONE, 0, false, 0);
}

/* --- the script --- */

typedef struct Run {
    BlockGraph *g;
    BlockNode *node;
    uint32_t stamp;
    uint32_t flushed[SECTORS], written[SECTORS];
    bool touched[SECTORS]; /* since the last flush */
    bool unsure[SECTORS];  /* by something that failed, or a discard: nobody knows what is there */
} Run;

static BlockNode *image_open(BlockGraph *g, Error *err)
{
    return node_open(g, json_pack("{ss s{ss}}", "driver", "qcow2", "file", "driver", "fault-disk"),
                     NODE_UNMAP, err);
}

static void wrote(Run *r, unsigned s, unsigned n, uint32_t stamp, bool sure)
{
    for (unsigned i = s; i < s + n; i++) {
        r->touched[i] = true;
        r->unsure[i] = !sure;
        r->written[i] = sure ? stamp : r->written[i];
    }
}

static void put(Run *r, unsigned s, unsigned n)
{
    AUTO_FREE uint8_t *buf = xalloc(n * SECTOR);

    r->stamp++;
    for (unsigned i = 0; i < n * SECTOR; i += 4)
        memcpy(buf + i, &r->stamp, 4);
    wrote(r, s, n, r->stamp, !node_write(r->node, s * SECTOR, buf, n * SECTOR));
}

static void drop(Run *r, unsigned s, unsigned n, bool zero)
{
    int rc = zero ? node_zero(r->node, s * SECTOR, n * SECTOR, BLOCK_MAY_UNMAP)
                  : node_discard(r->node, s * SECTOR, n * SECTOR);

    wrote(r, s, n, 0, zero && !rc);
}

static void flush(Run *r)
{
    if (node_flush(r->node))
        return;
    memcpy(r->flushed, r->written, sizeof r->flushed);
    memcpy(r->touched, r->unsure, sizeof r->touched);
}

static bool snapshot(Run *r, bool make)
{
    char name[] = "s";
    SnapshotInfo s = {.name = name, .icount = UINT64_MAX};
    Error err = {0};
    bool ok = make ? r->node->drv->snapshots->create(r->node, &s, &err)
                   : r->node->drv->snapshots->remove(r->node, "s", &err);

    ck_assert(ok || err.msg[0]);
    return ok;
}

static void script(Run *r)
{
    Error err = {0};

    r->node = image_open(r->g, &err);
    ck_assert(r->node || err.msg[0]);
    if (!r->node)
        return;
    put(r, 0, 300);
    put(r, 700, 9);
    flush(r);
    snapshot(r, true);
    put(r, 100, 50);
    put(r, 1000, 200);
    drop(r, 0, 64, false);
    drop(r, 256, 32, true);
    flush(r);
    err = (Error){0};
    ck_assert(node_truncate(r->node, GROWN, PREALLOC_OFF, false, &err) || err.msg[0]);
    if (r->node->size == GROWN)
        put(r, SIZE / SECTOR + 3, 100);
    put(r, 2, 5);
    snapshot(r, false);
    flush(r);
    put(r, 128, 3);
    node_unref(r->node);
    r->node = NULL;
}

/* --- what must hold afterwards --- */

typedef struct Findings {
    StrBuf text;
    uint32_t cluster_size;
    unsigned harmless;
} Findings;

/* A disk that fails for good is like a cut of power: between the counts and the flags of a
 * snapshot `check` (and QEMU's) finds two states that cost no data.  A cluster that looks shared
 * and is not will be copied for nothing; one that is counted twice but referred to once, which
 * was told before as a leak, is not shared. */
static bool is_harmless(const Findings *f, const char *line)
{
    const char *entry = strstr(line, "_entry="), *refcount = strstr(line, " refcount=");
    uint64_t value = entry ? strtoull(entry + 7, NULL, 16) : 0;
    char leak[96];

    if (strncmp(line, "ERROR OFLAG_COPIED", 18) || !entry || !refcount)
        return false;
    if (!(value >> 63))
        return !strcmp(refcount, " refcount=1");
    snprintf(leak, sizeof leak, "Leaked cluster %" PRIu64 "%s reference=1\n",
             (value & 0xfffffffffffe00) / f->cluster_size, refcount);
    return strstr(strbuf_str(&f->text), leak);
}

static void say(void *arg, const char *line)
{
    Findings *f = arg;

    f->harmless += is_harmless(f, line);
    strbuf_addf(&f->text, "%s\n", line);
}

static void look(Run *r, const char *which, bool for_good)
{
    Findings f = {0};
    CheckReport rep = {.say = say, .arg = &f};
    AUTO_FREE uint8_t *all = xalloc(GROWN);
    Error err = {0};
    BlockNode *n = image_open(r->g, &err);
    uint64_t size;

    ck_assert_msg(n != NULL, "%s: %s", which, err.msg);
    size = n->size;
    f.cluster_size = n->cluster_size;
    ck_assert_msg(size == SIZE || size == GROWN, "%s: size %" PRIu64, which, size);
    ck_assert_msg(n->drv->check(n, 0, &rep, &err), "%s: %s", which, err.msg);
    ck_assert_msg(rep.corruptions == (for_good ? f.harmless : 0) && !rep.check_errors,
                  "%s: %.1500s", which, strbuf_str(&f.text));
    ck_assert_msg(!node_read(n, 0, all, size), "%s: cannot be read", which);
    for (unsigned s = 0; s < size / SECTOR; s++) {
        uint32_t is;

        memcpy(&is, all + s * SECTOR, 4);
        ck_assert_msg(is == r->flushed[s] || r->touched[s], "%s: sector %u is %u, %u was flushed",
                      which, s, is, r->flushed[s]);
    }
    node_unref(n);
    strbuf_free(&f.text);
}

typedef struct Empty {
    uint8_t mem[DISK];
    uint64_t size;
} Empty;

static Empty *empty_image(const char *key, int value)
{
    BlockGraph *g = graph_new(NULL, NULL);
    Empty *e = xnew(Empty);
    Error err = {0};
    BlockNode *file;
    json_t *j = json_pack("{sssiss}", "file", "file0", "size", SIZE, "version", "v3");

    memset(&disk, 0, sizeof disk);
    json_object_set_new(j, key,
                        strcmp(key, "extended-l2") ? json_integer(value) : json_boolean(value));
    file = node_open(g, json_pack("{ssss}", "driver", "fault-disk", "node-name", "file0"), 0, &err);
    ck_assert_msg(file != NULL, "%s", err.msg);
    ck_assert_msg(block_driver_find("qcow2")->create(g, j, &err), "%s", err.msg);
    json_decref(j);
    node_unref(file);
    graph_free(g);
    memcpy(e->mem, disk.mem, DISK);
    e->size = disk.size;
    return e;
}

/* Allocations fail still: the n-th was reached. */
static bool allocations_fail(void)
{
    void *p = try_alloc(1);

    xfree(p);
    return !p;
}

/* The script with one fault; false: it was not met. */
static bool run_once(const Empty *e, Fault f, unsigned n, bool for_good, int error)
{
    Run *r = xnew(Run);
    char which[80];
    bool met;

    snprintf(which, sizeof which, "%s %u fails (%d%s)", fault_names[f], n, error,
             for_good ? ", for good" : "");
    memcpy(disk.mem, e->mem, DISK);
    disk.size = e->size;
    r->g = graph_new(NULL, NULL);
    fault_set(f, n, for_good, error);
    script(r);
    met = f == FAULT_ALLOC ? allocations_fail() : disk.met;
    fault_off();
    look(r, which, for_good);
    graph_free(r->g);
    xfree(r);
    return met;
}

static const struct {
    const char *key;
    int value;
} formats[] = {
    {"cluster-size", 65536}, {"cluster-size", 4096}, {"cluster-size", 512}, {"extended-l2", 1}};

START_TEST(without_a_fault_everything_is_there)
{
    Empty *e = empty_image(formats[_i].key, formats[_i].value);

    ck_assert(!run_once(e, FAULT_NONE, 0, false, 0));
    xfree(e);
}
END_TEST

START_TEST(no_transfer_that_fails_corrupts_an_image)
{
    Empty *e = empty_image(formats[_i].key, formats[_i].value);

    for (Fault f = FAULT_READ; f <= FAULT_TRUNCATE; f++)
        for (unsigned how = 0; how < 4; how++) {
            unsigned n = 1;

            while (run_once(e, f, n, how & 1, how & 2 ? ENOSPC : EIO))
                n += n < 40 ? 1 : 7;
            ck_assert_msg(n > 1 || f == FAULT_TRUNCATE, "no %s was made", fault_names[f]);
        }
    xfree(e);
}
END_TEST

START_TEST(no_allocation_that_fails_corrupts_an_image)
{
    Empty *e = empty_image(formats[_i].key, formats[_i].value);
    unsigned n = 1;

    while (run_once(e, FAULT_ALLOC, n, true, ENOMEM))
        n++;
    ck_assert_uint_gt(n, 3);
    xfree(e);
}
END_TEST

/* --- the filter for tests of the tools --- */

typedef struct Done {
    BlockReq r;
    bool done;
} Done;

static void on_done(BlockReq *r)
{
    ((Done *)r)->done = true;
}

START_TEST(blkdebug_holds_a_request_until_it_is_resumed)
{
    BlockCtx *ctx = blockctx_new(NULL, NULL);
    BlockGraph *g = graph_new(ctx, NULL);
    Error err = {0};
    BlockNode *n = node_open(g,
                             json_pack("{ss s{ss s{ss}}}", "driver", "raw", "file", "driver",
                                       "blkdebug", "image", "driver", "fault-disk"),
                             0, &err);
    BlockPort *p;
    uint8_t buf[512] = {1};
    struct iovec iov = {buf, sizeof buf};
    Done d = {.r = {.op = BLOCK_WRITE,
                    .size = sizeof buf,
                    .iov = &iov,
                    .n_iov = 1,
                    .ctx = ctx,
                    .done = on_done}};

    memset(&disk, 0, sizeof disk);
    ck_assert_msg(n != NULL, "%s", err.msg);
    disk.size = 4096;
    n->size = n->file->size = n->file->file->size = 4096;
    p = block_port_new(g, NULL, n, PERM_READ | PERM_WRITE, PERM_ALL, &err);
    ck_assert_msg(p != NULL, "%s", err.msg);
    ck_assert_int_eq(blkdebug_break(n, "no_such_event", "A"), -ENOENT);
    ck_assert_int_eq(blkdebug_break(n, "pwritev", "A"), 0);
    ck_assert_int_eq(blkdebug_resume(n, "A"), -ENOENT);
    block_submit(p, &d.r);
    while (!blkdebug_is_suspended(n, "A"))
        blockctx_poll(ctx, false);
    ck_assert(!d.done && !disk.mem[0]);
    ck_assert_int_eq(blkdebug_resume(n, "A"), 0);
    while (!d.done)
        blockctx_poll(ctx, true);
    ck_assert_int_eq(d.r.result, 0);
    ck_assert_int_eq(disk.mem[0], 1);
    ck_assert_int_eq(blkdebug_remove_break(n, "A"), -ENOENT);
    ck_assert_int_eq(blkdebug_break(n->file->file, "pwritev", "A"), -ENOTSUP);
    block_port_free(p);
    node_unref(n);
    graph_free(g);
    blockctx_free(ctx);
}
END_TEST

START_TEST(blkdebug_fails_requests_by_rules)
{
    static const char config[] =
        "{\"driver\": \"blkdebug\", \"image\": {\"driver\": \"fault-disk\"}, \"max-transfer\": 512,"
        " \"inject-error\": [{\"event\": \"write_aio\", \"state\": 2, \"errno\": \"28\", \"once\": "
        "true},"
        " {\"event\": \"none\", \"iotype\": \"read\", \"sector\": 3}],"
        " \"set-state\": [{\"event\": \"flush_to_disk\", \"state\": 1, \"new_state\": 2}]}";
    BlockGraph *g = graph_new(NULL, NULL);
    Error err = {0};
    uint8_t buf[1024] = {0};
    BlockNode *n;

    memset(&disk, 0, sizeof disk);
    disk.size = 4096;
    n = node_open(g, json_loads(config, 0, NULL), 0, &err);
    ck_assert_msg(n != NULL, "%s", err.msg);
    ck_assert_int_eq(node_read(n, 0, buf, 1024), 0);
    ck_assert_int_eq(node_read(n, 1024, buf, 1024), -EIO);
    ck_assert_int_eq(node_write(n, 0, buf, 1024), 0);
    ck_assert_int_eq(node_flush(n), 0);
    ck_assert_int_eq(node_write(n, 0, buf, 1024), -ENOSPC);
    ck_assert_int_eq(node_write(n, 0, buf, 1024), 0);
    node_unref(n);
    ck_assert_ptr_null(
        node_open(g,
                  json_pack("{ss s{ss} s[{ss}]}", "driver", "blkdebug", "image", "driver",
                            "fault-disk", "inject-error", "event", "nothing"),
                  0, &err));
    graph_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block_faults");
    TCase *t = tcase_create("block_faults");
    SRunner *r = srunner_create(s);
    int failed;

    if (!freopen("/dev/null", "w",
                 stderr)) /* images that cannot be closed say so, hundreds of times */
        return 1;
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, without_a_fault_everything_is_there, 0, COUNT_OF(formats));
    tcase_add_loop_test(t, no_transfer_that_fails_corrupts_an_image, 0, COUNT_OF(formats));
    tcase_add_loop_test(t, no_allocation_that_fails_corrupts_an_image, 0, COUNT_OF(formats));
    tcase_add_test(t, blkdebug_holds_a_request_until_it_is_resumed);
    tcase_add_test(t, blkdebug_fails_requests_by_rules);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
