/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_qcow2 - random operations against a plain array, over a disk in memory that can fail and be
 * cut off
 *
 * Every sector of a write holds the write's number, so that what is read says which write it was.
 * After a cut any part of what was not flushed may be missing: the image must have leaks at most,
 * and each sector what was flushed last or something written since.
 */
#include <malloc.h>

#include "base/bytes.h"
#include "block/bitmap.h"
#include "block_disk.h"

enum { SECTOR = DISK_SECTOR, SNAPSHOTS = 3, ACCEPTED = 6 };

/* --- an image and its model --- */

typedef struct Setup {
    const char *name, *create; /* options of blockdev-create, JSON members */
    uint64_t size, cluster;
    bool v2, no_snapshots;
} Setup;

typedef struct Model {
    uint64_t sectors;
    uint64_t *now;             /* number of the write; 0: zeroes */
    uint64_t (*may)[ACCEPTED]; /* what a cut may leave: of those, the first n_may */
    uint8_t *n_may;            /* ACCEPTED + 1: anything */
    uint64_t *snapshot[SNAPSHOTS], snapshot_sectors[SNAPSHOTS];
} Model;

typedef struct Run {
    const Setup *setup;
    BlockGraph *g;
    BlockCtx *ctx;
    BlockNode *n;
    BlockPort *port;
    Model m;
    uint64_t serial;
    bool may_fail; /* an error may come of any operation */
} Run;

static void must(bool ok, const char *what, const Error *err)
{
    ck_assert_msg(ok, "%s: %s", what, err->msg);
}

static BlockNode *open_image(BlockGraph *g, unsigned disk, uint32_t flags, Error *err)
{
    json_t *o = json_pack("{s:s, s:{s:s, s:i}}", "driver", "qcow2", "file", "driver", "test-ram",
                          "disk", (int)disk);

    return node_open(g, o, flags, err);
}

static void run_open(Run *r)
{
    Error err = {0};

    r->n = open_image(r->g, 0, NODE_UNMAP, &err);
    must(r->n, "open", &err);
    r->port = block_port_new(r->g, "test", r->n, PERM_ALL, PERM_ALL, &err);
    must(r->port, "port", &err);
}

static void run_close(Run *r)
{
    block_port_free(r->port);
    node_unref(r->n);
}

static void create_image(BlockGraph *g, unsigned disk, const Setup *s)
{
    Error err = {0};
    json_t *file = json_pack("{s:s, s:i, s:s}", "driver", "test-ram", "disk", (int)disk,
                             "node-name", "new-file");
    BlockNode *n = node_open(g, file, 0, &err);
    json_t *o = json_loads(s->create, 0, NULL);

    must(n, "file", &err);
    json_object_set_new(o, "file", json_string("new-file"));
    json_object_set_new(o, "size", json_integer((json_int_t)s->size));
    must(block_driver_find("qcow2")->create(g, o, &err), "create", &err);
    json_decref(o);
    node_unref(n);
}

static void model_resize(Model *m, uint64_t sectors)
{
    m->now = xrealloc(m->now, (sectors + 1) * 8);
    m->may = xrealloc(m->may, (sectors + 1) * sizeof(*m->may));
    m->n_may = xrealloc(m->n_may, sectors + 1);
    for (uint64_t i = m->sectors; i < sectors; i++) {
        m->now[i] = m->may[i][0] = 0;
        m->n_may[i] = 1;
    }
    m->sectors = sectors;
}

static void run_start(Run *r, const Setup *s, unsigned seed)
{
    Error err = {0};

    srand(seed);
    *r = (Run){.setup = s};
    disk_reset(&disks[0]);
    r->ctx = blockctx_new(NULL, &err);
    r->g = graph_new(r->ctx, &err);
    create_image(r->g, 0, s);
    disk_flush(&disks[0]);
    model_resize(&r->m, s->size / SECTOR);
    run_open(r);
}

static void run_free(Run *r)
{
    graph_free(r->g);
    blockctx_free(r->ctx);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        xfree(r->m.snapshot[i]);
    xfree(r->m.now);
    xfree(r->m.may);
    xfree(r->m.n_may);
}

static void run_end(Run *r)
{
    run_close(r);
    run_free(r);
}

/* A sector now holds (or may hold, after a failure) @v. */
static void model_allow(Model *m, uint64_t i, uint64_t v)
{
    if (m->n_may[i] >= ACCEPTED)
        m->n_may[i] = ACCEPTED + 1;
    else
        m->may[i][m->n_may[i]++] = v;
}

static void model_set(Model *m, uint64_t at, uint64_t size, uint64_t v)
{
    for (uint64_t i = at / SECTOR; i < (at + size) / SECTOR; i++) {
        m->now[i] = v;
        model_allow(m, i, v);
    }
}

static void model_flushed(Model *m)
{
    for (uint64_t i = 0; i < m->sectors; i++) {
        m->may[i][0] = m->now[i];
        m->n_may[i] = 1;
    }
}

static uint64_t sector_value(const uint8_t *p)
{
    uint64_t v = get_le64(p);

    for (unsigned k = 8; k < SECTOR; k += 8)
        if (get_le64(p + k) != v)
            return UINT64_MAX;
    return v;
}

/* --- checks --- */

static void check_image(unsigned disk, const char *when, bool leaks_allowed)
{
    Error err = {0};
    BlockGraph *g = graph_new(NULL, &err);
    BlockNode *n = open_image(g, disk, NODE_READ_ONLY | NODE_CHECK, &err);
    CheckReport rep = {.quiet = true};

    must(n, when, &err);
    must(n->drv->check(n, 0, &rep, &err), when, &err);
    ck_assert_msg(!rep.corruptions && !rep.check_errors, "%s: %d errors, %d leaks", when,
                  (int)rep.corruptions, (int)rep.leaks);
    ck_assert_msg(leaks_allowed || !rep.leaks, "%s: %d leaks", when, (int)rep.leaks);
    node_unref(n);
    graph_free(g);
}

/* The cut-off disk: opened for writing, as it would be, then checked. */
static void check_cut(Run *r, bool lazy)
{
    Error err = {0};
    BlockGraph *g;
    BlockNode *n;
    uint8_t *buf = xalloc(64 * KIB);

    if (!lazy)
        check_image(1, "after a cut", true);
    g = graph_new(NULL, &err);
    n = open_image(g, 1, 0, &err);
    must(n, "open after a cut", &err);
    for (uint64_t at = 0; at < MIN((uint64_t)n->size, r->m.sectors * SECTOR); at += 64 * KIB) {
        uint64_t len = MIN(64 * KIB, MIN((uint64_t)n->size, r->m.sectors * SECTOR) - at);

        ck_assert_int_eq(node_read(n, at, buf, len), 0);
        for (uint64_t k = 0; k < len; k += SECTOR) {
            uint64_t i = (at + k) / SECTOR, v = sector_value(buf + k);
            bool good = r->m.n_may[i] > ACCEPTED;

            for (unsigned a = 0; a < r->m.n_may[i] && !good; a++)
                good = r->m.may[i][a] == v;
            ck_assert_msg(good, "%s: sector %d is %d after a cut, but was %d when flushed",
                          r->setup->name, (int)i, (int)v, (int)r->m.may[i][0]);
        }
    }
    node_unref(n);
    graph_free(g);
    check_image(1, "after a cut, opened and closed", true);
    xfree(buf);
}

/* --- operations --- */

static int op_result(Run *r, int rc, const char *what)
{
    ck_assert_msg(!rc || r->may_fail, "%s: %s: %s", r->setup->name, what, strerror(-rc));
    return rc;
}

static uint64_t random_range(Run *r, uint64_t unit, uint64_t max, uint64_t *size)
{
    uint64_t end = r->m.sectors * SECTOR / unit, at = (uint64_t)rand() % end;

    *size =
        MIN(end - at, 1 + (uint64_t)rand() % (rand() % 4 ? max / unit / 8 + 1 : max / unit)) * unit;
    return at * unit;
}

static void fill(uint8_t *buf, uint64_t size, uint64_t v)
{
    for (uint64_t i = 0; i < size; i += 8)
        put_le64(buf + i, v);
}

static void on_done(BlockReq *q)
{
    *(int *)q->owner = 1;
}

/* Through the path that does not wait. */
static int submit_and_poll(Run *r, BlockReq *q)
{
    int done = 0;

    q->ctx = r->ctx;
    q->owner = &done;
    q->done = on_done;
    block_submit(r->port, q);
    while (!done)
        blockctx_poll(r->ctx, true);
    return q->result;
}

static int transfer(Run *r, BlockOp op, uint64_t at, void *buf, uint64_t size, uint32_t flags)
{
    struct iovec iov = {buf, size};
    BlockReq q = {.op = op, .at = at, .size = size, .iov = &iov, .n_iov = 1, .flags = flags};

    return rand() % 2 ? block_wait(r->port, &q) : submit_and_poll(r, &q);
}

static void after_write(Run *r, int rc, uint64_t at, uint64_t size, uint64_t v)
{
    if (!rc)
        model_set(&r->m, at, size, v);
    for (uint64_t i = at / SECTOR; rc && i < (at + size) / SECTOR; i++) {
        model_allow(&r->m, i, v);
        r->m.now[i] = UINT64_MAX; /* old, new: must be read to know */
    }
}

static void op_write(Run *r)
{
    uint64_t size, at = random_range(r, SECTOR, 256 * KIB, &size);
    uint8_t *buf = xalloc(size);

    fill(buf, size, ++r->serial);
    after_write(
        r,
        op_result(r, transfer(r, BLOCK_WRITE, at, buf, size, rand() % 16 ? 0 : BLOCK_FUA), "write"),
        at, size, r->serial);
    xfree(buf);
}

static void op_compressed(Run *r)
{
    uint64_t size, at = random_range(r, r->setup->cluster, 4 * r->setup->cluster, &size);
    uint8_t *buf = xalloc(size);

    fill(buf, size, ++r->serial);
    after_write(r,
                op_result(r, transfer(r, BLOCK_WRITE, at, buf, size, BLOCK_COMPRESS), "compressed"),
                at, size, r->serial);
    xfree(buf);
}

static void op_zero(Run *r, BlockOp op)
{
    uint64_t size, at = random_range(r, SECTOR, 512 * KIB, &size);
    int rc = op_result(
        r, transfer(r, op, at, NULL, size, op == BLOCK_ZERO && rand() % 2 ? BLOCK_MAY_UNMAP : 0),
        "zero");

    if (op == BLOCK_ZERO) {
        after_write(r, rc, at, size, 0);
        return;
    }
    for (uint64_t i = at / SECTOR; i < (at + size) / SECTOR; i++) {
        model_allow(&r->m, i, 0);
        r->m.now[i] = UINT64_MAX; /* a hint */
    }
}

/* Reading settles what was uncertain. */
static void op_read(Run *r, uint64_t at, uint64_t size)
{
    uint8_t *buf = xalloc(size);

    if (!op_result(r, transfer(r, BLOCK_READ, at, buf, size, 0), "read"))
        for (uint64_t i = 0; i < size / SECTOR; i++) {
            uint64_t *now = &r->m.now[at / SECTOR + i], v = sector_value(buf + i * SECTOR);

            if (*now == UINT64_MAX)
                *now = v;
            ck_assert_msg(*now == v, "%s: sector %d holds %d, not %d", r->setup->name,
                          (int)(at / SECTOR + i), (int)v, (int)*now);
        }
    xfree(buf);
}

static void read_all(Run *r)
{
    for (uint64_t at = 0; at < r->m.sectors * SECTOR; at += 64 * KIB)
        op_read(r, at, MIN(64 * KIB, r->m.sectors * SECTOR - at));
}

static void op_flush(Run *r, bool lazy)
{
    unsigned cut_after = disks[0].cut_at ? disks[0].cut_at - disks[0].ops : 0;
    int rc;

    disks[0].cut_at = 0;
    read_all(r); /* what is uncertain is settled before it is stable */
    disks[0].cut_at = cut_after ? disks[0].ops + cut_after : 0;
    rc = op_result(r, block_flush(r->port), "flush");
    if (disks[0].cut)
        check_cut(r, lazy); /* the power went within the flush */
    disks[0].cut = false;
    if (!rc)
        model_flushed(&r->m);
}

static void op_snapshot(Run *r)
{
    const SnapshotOps *ops = r->n->drv->snapshots;
    unsigned k = (unsigned)rand() % SNAPSHOTS;
    char name[8] = {'s', (char)('0' + k)};
    SnapshotInfo info = {.name = name, .icount = UINT64_MAX};
    Model *m = &r->m;
    Error err = {0};
    bool ok;

    read_all(r);
    if (!m->snapshot[k]) {
        ok = ops->create(r->n, &info, &err);
        if (ok) {
            m->snapshot[k] = memcpy(xalloc(m->sectors * 8), m->now, m->sectors * 8);
            m->snapshot_sectors[k] = m->sectors;
        }
    } else if (rand() % 2 && m->snapshot_sectors[k] == m->sectors) {
        ok = ops->apply(r->n, name, &err);
        for (uint64_t i = 0; i < m->sectors; i++) {
            model_allow(m, i, m->snapshot[k][i]);
            m->now[i] = ok ? m->snapshot[k][i] : UINT64_MAX;
        }
    } else {
        ok = ops->remove(r->n, name, &err);
        if (ok) {
            xfree(m->snapshot[k]);
            m->snapshot[k] = NULL;
        }
    }
    if (!r->may_fail)
        must(ok, "snapshot", &err);
}

static void op_resize(Run *r)
{
    uint64_t size = r->setup->size / 2 + (uint64_t)rand() % (r->setup->size / SECTOR) * SECTOR;
    Error err = {0};
    bool ok;

    for (unsigned k = 0; k < SNAPSHOTS; k++)
        if (r->m.snapshot[k])
            return;
    ok = node_truncate(r->n, size,
                       rand() % 4                     ? PREALLOC_OFF
                       : size > r->m.sectors * SECTOR ? PREALLOC_METADATA
                                                      : PREALLOC_OFF,
                       true, &err);
    if (!r->may_fail)
        must(ok, "resize", &err);
    if (ok)
        model_resize(&r->m, size / SECTOR);
}

static void op_reopen(Run *r)
{
    run_close(r);
    check_image(0, "after closing", r->may_fail);
    disk_flush(&disks[0]);
    run_open(r);
    read_all(r);
    model_flushed(&r->m);
}

static void random_op(Run *r, bool lazy)
{
    int k = rand() % 100;
    uint64_t size, at;

    if (k < 88 && rand() % 4 == 0)
        disks[0].cut_at = disks[0].ops + 1 + (unsigned)(rand() % 8);

    if (k < 45) {
        op_write(r);
    } else if (k < 60) {
        at = random_range(r, SECTOR, 256 * KIB, &size);
        op_read(r, at, size);
    } else if (k < 68) {
        op_zero(r, BLOCK_ZERO);
    } else if (k < 76) {
        op_zero(r, BLOCK_DISCARD);
    } else if (k < 82) {
        op_compressed(r);
    } else if (k < 88) {
        op_flush(r, lazy);
    } else if (k < 92 && !r->setup->no_snapshots) {
        op_snapshot(r);
    } else if (k < 94) {
        op_resize(r);
    } else if (k < 96) {
        op_reopen(r);
    } else {
        disk_cut(&disks[0], &disks[1], roll_rand, NULL);
        check_cut(r, lazy);
    }
    if (disks[0].cut)
        check_cut(r, lazy);
    disks[0].cut_at = 0;
    disks[0].cut = false;
}

static const Setup setups[] = {
    {"plain", "{}", 8 * MIB, 65536, false, false},
    {"version 2", "{\"version\":\"v2\",\"cluster-size\":4096}", 4 * MIB, 4096, true, false},
    {"512", "{\"cluster-size\":512}", 2 * MIB, 512, false, false},
    {"512, 64 bits", "{\"cluster-size\":512,\"refcount-bits\":64}", 1 * MIB, 512, false, false},
    {"4k, 4 bits", "{\"cluster-size\":4096,\"refcount-bits\":4}", 4 * MIB, 4096, false, true},
    {"1 bit", "{\"cluster-size\":2048,\"refcount-bits\":1}", 2 * MIB, 2048, false, true},
    {"extended", "{\"cluster-size\":16384,\"extended-l2\":true}", 8 * MIB, 16384, false, false},
    {"extended 64k", "{\"extended-l2\":true,\"compression-type\":\"zstd\"}", 8 * MIB, 65536, false,
     false},
    {"2M", "{\"cluster-size\":2097152}", 16 * MIB, 2 * MIB, false, false},
    {"lazy", "{\"lazy-refcounts\":true,\"cluster-size\":4096}", 4 * MIB, 4096, false, false},
};

static void run_model(const Setup *s, unsigned seed, unsigned ops)
{
    Run r;

    run_start(&r, s, seed);
    while (ops--)
        random_op(&r, strstr(s->create, "lazy"));
    read_all(&r);
    run_end(&r);
    check_image(0, "at the end", false);
}

START_TEST(agrees_with_a_plain_array_and_survives_cuts)
{
    const Setup *s = &setups[_i];
    const char *n = getenv("QCOW2_OPS");

    run_model(s, 1, n ? (unsigned)atoi(n) : 150);
    run_model(s, 2, n ? (unsigned)atoi(n) : 150);
}
END_TEST

/* --- failures --- */

/* The same operations each time; the n-th access of the file fails. */
static bool run_failing(const Setup *s, unsigned seed, unsigned ops, unsigned fail_at)
{
    Run r;
    bool reached;

    run_start(&r, s, seed);
    r.may_fail = true;
    disks[0].ops = 0;
    disks[0].fail_at = fail_at;
    while (ops--) {
        int k = rand() % 20;

        if (k < 10)
            op_write(&r);
        else if (k < 12)
            op_zero(&r, BLOCK_ZERO);
        else if (k < 13)
            op_zero(&r, BLOCK_DISCARD);
        else if (k < 15)
            op_compressed(&r);
        else if (k < 17)
            op_flush(&r, false);
        else if (!s->no_snapshots)
            op_snapshot(&r);
    }
    reached = disks[0].ops >= fail_at;
    disks[0].fail_at = 0;
    if (reached) {
        read_all(&r);
        ck_assert_int_eq(block_flush(r.port), 0);
        read_all(&r);
    }
    op_reopen(&r);
    read_all(&r);
    run_end(&r);
    check_image(0, "after a failure", true);
    return reached;
}

static const Setup failing[] = {
    {"4k", "{\"cluster-size\":4096}", 1 * MIB, 4096, false, false},
    {"512", "{\"cluster-size\":512}", 256 * KIB, 512, false, false},
    {"extended", "{\"cluster-size\":16384,\"extended-l2\":true}", 1 * MIB, 16384, false, false},
};

START_TEST(one_failing_access_anywhere_leaves_image_and_memory_right)
{
    for (unsigned n = 1; run_failing(&failing[_i], 7, 30, n); n += n < 100 ? 1 : 5)
        ck_assert_uint_lt(n, 20000);
}
END_TEST

/* --- bitmaps in the image --- */

START_TEST(persistent_bitmaps_are_stored_at_close_and_in_use_while_open)
{
    Run r;
    DirtyBitmap *b;
    Error err = {0};
    uint8_t buf[SECTOR] = {1};

    run_start(&r, &setups[0], 1);
    ck_assert(r.n->drv->bitmap_ops->can_store(r.n, "b", 65536, &err));
    b = bitmap_new(r.n, "b", 65536, &err);
    bitmap_set_persistent(b, true);
    ck_assert_int_eq(block_write(r.port, 3 * 65536, buf, sizeof buf, 0), 0);
    ck_assert_uint_eq(bitmap_count(b), 65536);
    run_close(&r);
    check_image(0, "with a bitmap", false);
    run_open(&r);
    b = bitmap_find(r.n, "b");
    ck_assert(b && bitmap_is_enabled(b) && bitmap_is_persistent(b) && !bitmap_is_inconsistent(b));
    ck_assert(bitmap_get(b, 3 * 65536) && bitmap_count(b) == 65536);
    ck_assert_int_eq(block_write(r.port, 5 * 65536, buf, sizeof buf, 0), 0);
    block_flush(r.port);
    disk_cut(&disks[0], &disks[1], roll_rand, NULL);
    {
        BlockGraph *g = graph_new(NULL, &err);
        BlockNode *n = open_image(g, 1, 0, &err);

        must(n, "open", &err);
        ck_assert(bitmap_find(n, "b") && bitmap_is_inconsistent(bitmap_find(n, "b")));
        node_unref(n);
        graph_free(g);
        check_image(1, "bitmap after a cut", true);
    }
    run_close(&r);
    run_open(&r);
    b = bitmap_find(r.n, "b");
    ck_assert_uint_eq(bitmap_count(b), 2 * 65536);
    must(r.n->drv->bitmap_ops->remove(r.n, "b", &err), "remove", &err);
    bitmap_free(b);
    run_end(&r);
    check_image(0, "without the bitmap", false);
}
END_TEST

/* --- repair --- */

START_TEST(repair_mends_wrong_counts_and_rebuilds_lost_blocks)
{
    Error err = {0};
    CheckReport rep = {.quiet = true};
    BlockGraph *g;
    BlockNode *n;
    Run r;

    run_start(&r, &setups[0], 3);
    for (int i = 0; i < 20; i++)
        op_write(&r);
    run_close(&r);
    if (_i == 0) { /* the table of blocks is empty */
        memset(disks[0].data + 65536, 0, 65536);
    } else { /* all counts are gone, or too high */
        memset(disks[0].data + 131072, _i == 1 ? 0 : 1, 65536);
    }
    g = graph_new(NULL, &err);
    n = open_image(g, 0, NODE_CHECK, &err);
    must(n, "open", &err);
    must(n->drv->check(n, CHECK_FIX_LEAKS | CHECK_FIX_ERRORS, &rep, &err), "repair", &err);
    ck_assert(rep.corruptions_fixed + rep.leaks_fixed > 0);
    ck_assert(!rep.corruptions && !rep.leaks);
    node_unref(n);
    graph_free(g);
    check_image(0, "after repair", false);
    run_open(&r);
    read_all(&r);
    run_end(&r);
}
END_TEST

/* --- corrupt images --- */

START_TEST(a_write_over_metadata_is_refused_and_marks_the_image)
{
    Error err = {0};
    uint8_t buf[SECTOR] = {1};
    uint64_t l1, l2;
    Run r;

    run_start(&r, &setups[0], 3);
    ck_assert_int_eq(block_write(r.port, 0, buf, sizeof buf, 0), 0);
    run_close(&r);
    l1 = get_be64(disks[0].data + 40);
    l2 = get_be64(disks[0].data + l1) & 0x00fffffffffffe00ull;
    put_be64(disks[0].data + l2, BIT(63) | l1); /* the first cluster is where the L1 table is */
    run_open(&r);
    ck_assert_int_eq(block_write(r.port, 0, buf, sizeof buf, 0), -EIO);
    ck_assert_int_eq(block_write(r.port, MIB, buf, sizeof buf, 0), -EIO);
    ck_assert_uint_eq(get_be64(disks[0].data + l1) & ~BIT(63), l2);
    run_close(&r);
    ck_assert_uint_eq(get_be64(disks[0].data + 72) & 2, 2);
    ck_assert(!open_image(r.g, 0, 0, &err));
    ck_assert(strstr(err.msg, "corrupt"));
    run_free(&r);
}
END_TEST

/* The image on disk 0, with further options: @members begin with a comma and have ' for ". */
static BlockNode *open_with(BlockGraph *g, const char *members, Error *err)
{
    AUTO_FREE char *text =
        xasprintf("{'driver': 'qcow2', 'file': {'driver': 'test-ram'}%s}", members);

    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return node_open(g, json_loads(text, 0, NULL), 0, err);
}

START_TEST(overlap_check_takes_a_template_and_switches)
{
    static const struct {
        const char *options, *error; /* NULL: the write is done */
    } cases[] = {
        {"", NULL}, /* the table is a snapshot's only: not known without reading */
        {", 'overlap-check': 'cached'", NULL},
        {", 'overlap-check': 'all'", "x"},
        {", 'overlap-check': {'inactive-l2': true}", "x"},
        {", 'overlap-check.inactive-l2': 'on'", "x"},
        {", 'overlap-check': {'template': 'all', 'inactive-l2': false}", NULL},
        {", 'overlap-check.template': 'none'", NULL},
    };
    char name[] = "s";
    SnapshotInfo info = {.name = name, .icount = UINT64_MAX};
    uint8_t buf[SECTOR] = {1};
    uint64_t l1, l2, old;
    Error err = {0};
    Run r;

    run_start(&r, &setups[0], 1);
    ck_assert_int_eq(block_write(r.port, 0, buf, sizeof buf, 0), 0);
    ck_assert_int_eq(block_write(r.port, 65536, buf, sizeof buf, 0), 0);
    must(r.n->drv->snapshots->create(r.n, &info, &err), "snapshot", &err);
    l1 = get_be64(disks[0].data + 40);
    old = get_be64(disks[0].data + l1) & 0x00fffffffffffe00ull;
    ck_assert_int_eq(block_write(r.port, 0, buf, sizeof buf, 0), 0); /* a table of its own */
    run_close(&r);
    l2 = get_be64(disks[0].data + l1) & 0x00fffffffffffe00ull;
    ck_assert_uint_ne(l2, old);
    put_be64(disks[0].data + l2, BIT(63) | old); /* guest offset 0 is in the snapshot's table */
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        uint64_t was = get_be64(disks[0].data + 72);
        BlockNode *n = open_with(r.g, cases[i].options, &err);

        must(n, cases[i].options, &err);
        ck_assert_msg(node_write(n, 4096, buf, sizeof buf) == (cases[i].error ? -EIO : 0), "%s",
                      cases[i].options);
        node_unref(n);
        put_be64(disks[0].data + 72, was);
    }
    ck_assert_ptr_null(open_with(r.g, ", 'overlap-check': 'some'", &err));
    ck_assert_msg(strstr(err.msg, "none, constant, cached, all"), "%s", err.msg);
    err = (Error){0};
    ck_assert_ptr_null(open_with(r.g, ", 'overlap-check.some': true", &err));
    ck_assert_msg(strstr(err.msg, "'overlap-check.some'"), "%s", err.msg);
    run_free(&r);
}
END_TEST

START_TEST(unused_parts_of_tables_leave_memory_by_time)
{
    Setup big = {"big", "{\"cluster-size\":4096}", 1ull << 30, 4096, false, false};
    Loop *loop = loop_new(NULL);
    Error err = {0};
    BlockCtx *ctx = blockctx_new(loop, &err);
    BlockGraph *g = graph_new(ctx, &err);
    uint8_t buf[SECTOR] = {1};
    struct timespec begin, now;
    BlockNode *n;
    size_t full;

    disk_reset(&disks[0]);
    create_image(g, 0, &big);
    n = open_with(g, ", 'cache-clean-interval': 1", &err);
    must(n, "open", &err);
    for (uint64_t at = 0; at < big.size; at += 2 * MIB)
        ck_assert_int_eq(node_write(n, at, buf, sizeof buf), 0);
    ck_assert_int_eq(node_flush(n), 0);
    full = mallinfo2().uordblks;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        loop_step(loop, 100000000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (mallinfo2().uordblks + MIB > full && now.tv_sec < begin.tv_sec + 30);
    ck_assert_uint_lt(mallinfo2().uordblks + MIB, full);
    ck_assert_int_eq(node_read(n, 2 * MIB, buf, sizeof buf), 0);
    ck_assert_int_eq(buf[0], 1);
    node_unref(n);
    graph_free(g);
    blockctx_free(ctx);
    loop_free(loop);
    check_image(0, "after cleaning", false);
}
END_TEST

/* --- sizes --- */

static void resize_to(BlockNode *n, uint64_t size, Preallocation p)
{
    Error err = {0};

    must(node_truncate(n, size, p, true, &err), "resize", &err);
}

/* All of [from, size) reads as zeroes. */
static void expect_zero(BlockNode *n, uint64_t from)
{
    uint8_t *buf = xalloc(n->size - from);

    ck_assert_int_eq(node_read(n, from, buf, n->size - from), 0);
    for (uint64_t i = 0; i < n->size - from; i++)
        if (buf[i])
            ck_abort_msg("byte %d of %d is %#x", (int)(from + i), (int)n->size, buf[i]);
    xfree(buf);
}

START_TEST(what_was_cut_off_does_not_come_back)
{
    static const struct {
        const char *create;
        Preallocation p;
    } cases[] = {
        {"{\"cluster-size\":4096}", PREALLOC_METADATA},
        {"{\"cluster-size\":4096}", PREALLOC_FALLOC},
        {"{\"extended-l2\":true}", PREALLOC_OFF}, /* zero subclusters behind the end, then data */
        {"{\"cluster-size\":4096,\"data-file\":\"new-data\"}", PREALLOC_OFF},
        {"{\"cluster-size\":4096,\"data-file\":\"new-data\"}", PREALLOC_METADATA},
        {"{\"extended-l2\":true,\"data-file\":\"new-data\"}", PREALLOC_METADATA},
        {"{\"data-file\":\"new-data\",\"data-file-raw\":true}", PREALLOC_OFF},
    };
    const Setup s = {"cut", cases[_i].create, MIB, 4096, false, false};
    bool has_data = strstr(s.create, "data-file");
    Error err = {0};
    BlockGraph *g = graph_new(NULL, &err);
    BlockNode *data = node_open(
        g, json_pack("{sssiss}", "driver", "test-ram", "disk", 2, "node-name", "new-data"), 0,
        &err);
    uint8_t *buf = xalloc(MIB);
    BlockNode *n;

    disk_reset(&disks[0]);
    disk_reset(&disks[2]);
    must(data, "data file", &err);
    create_image(g, 0, &s);
    n = open_with(g, has_data ? ", 'data-file': 'new-data'" : "", &err);
    must(n, "open", &err);
    memset(buf, 0xe7, MIB);
    ck_assert_int_eq(node_write(n, 0, buf, MIB), 0);
    ck_assert_int_eq(node_zero(n, 262144, 65536, BLOCK_MAY_UNMAP), 0);
    ck_assert_int_eq(node_write(n, 303104, buf, 24576), 0);
    resize_to(n, 300032, PREALLOC_OFF);
    resize_to(n, MIB + 12800, cases[_i].p);
    expect_zero(n, 300032);
    resize_to(n, MIB / 2, PREALLOC_OFF);
    if (!has_data)
        resize_to(n->file, 16 * MIB, PREALLOC_OFF); /* nothing to be preallocated there */
    resize_to(n, 3 * MIB, cases[_i].p);
    expect_zero(n, 300032);
    node_unref(n);
    node_unref(data);
    graph_free(g);
    xfree(buf);
    if (!has_data)
        check_image(0, "after resizing", false);
}
END_TEST

START_TEST(small_clusters_have_room_for_names)
{
    const Setup s = {"names",
                     "{\"cluster-size\":512,\"backing-file\":\"some/other/image.qcow2\","
                     "\"backing-fmt\":\"qcow2\"}",
                     MIB,
                     512,
                     false,
                     false};
    Error err = {0};
    BlockGraph *g = graph_new(NULL, &err);
    BlockNode *n;

    disk_reset(&disks[0]);
    create_image(g, 0, &s);
    n = open_with(g, ", 'backing': null", &err);
    must(n, "open", &err);
    ck_assert_str_eq(n->backing_file, "some/other/image.qcow2");
    node_unref(n);
    graph_free(g);
}
END_TEST

/* Streaming makes clusters whose contents are zeroes: they must not lie behind the end of the
 * file. */
START_TEST(what_is_copied_up_lies_in_the_file)
{
    Error err = {0};
    BlockGraph *g = graph_new(NULL, &err);
    const Setup s = {"low", "{\"cluster-size\":4096}", MIB, 4096, false, false};
    BlockReq q = {
        .op = BLOCK_WRITE, .flags = BLOCK_UNCHANGED, .at = 65536, .size = MIB - 1024 - 65536};
    BlockNode *n, *low;
    BlockPort *p;

    disk_reset(&disks[0]);
    create_image(g, 0, &s);
    low = node_open(
        g, json_pack("{sssis{ss}}", "driver", "raw", "size", 65536, "file", "driver", "null-co"), 0,
        &err);
    must(low, "backing", &err);
    n = open_with(g, ", 'backing': null", &err);
    must(n, "open", &err);
    must(node_set_child(n, "backing", low, &err), "backing", &err);
    resize_to(n, MIB - 1024, PREALLOC_OFF);
    p = block_port_new(g, NULL, n, PERM_ALL, PERM_ALL, &err);
    must(p, "port", &err);
    ck_assert_int_eq(block_wait(p, &q), 0);
    block_port_free(p);
    node_unref(n);
    node_unref(low);
    graph_free(g);
    check_image(0, "copied up", false);
}
END_TEST

static TCase *group(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 300);
    suite_add_tcase(s, t);
    return t;
}

int main(void)
{
    Suite *s = suite_create("qcow2");
    SRunner *r = srunner_create(s);
    TCase *t = group(s, "others");
    int failed;

    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    tcase_add_test(t, persistent_bitmaps_are_stored_at_close_and_in_use_while_open);
    tcase_add_loop_test(t, repair_mends_wrong_counts_and_rebuilds_lost_blocks, 0, 3);
    tcase_add_test(t, a_write_over_metadata_is_refused_and_marks_the_image);
    tcase_add_test(t, overlap_check_takes_a_template_and_switches);
    tcase_add_test(t, unused_parts_of_tables_leave_memory_by_time);
    tcase_add_loop_test(t, what_was_cut_off_does_not_come_back, 0, 7);
    tcase_add_test(t, small_clusters_have_room_for_names);
    tcase_add_test(t, what_is_copied_up_lies_in_the_file);
    tcase_add_loop_test(group(s, "model"), agrees_with_a_plain_array_and_survives_cuts, 0,
                        COUNT_OF(setups));
    tcase_add_loop_test(group(s, "failures"),
                        one_failing_access_anywhere_leaves_image_and_memory_right, 0, 3);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
