/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_block_model - random operations on chains of one to five qcow2 images, against an array of
 * bytes
 *
 * Each chain has its own seed: layouts, caches that are too small, requests in flight together,
 * snapshots, resizing, overlays, jobs, bitmaps.  All contents are compared after each reopen, and
 * `check` must find neither corruption nor leaks.  MODEL_OPS=n operations (4000) in all;
 * MODEL_SEED=n is the first seed, and a failure names the one that repeats it; MODEL_CHAIN_OPS=n
 * operations for each chain (500).
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "block/bitmap.h"
#include "block/jobs.h"
#include "block_disk.h"

enum {
    LAYERS = 5,
    SNAPSHOTS = 3,
    BATCH = 8,
    PIECES = 5,
    LOG_LINES = 60,
    LOG_WIDTH = 160,
    PERMS = PERM_READ | PERM_WRITE,
    SHARED = PERM_READ | PERM_WRITE_UNCHANGED,
    HANG_SECONDS = 300,
};

typedef struct Layout {
    const char *create; /* further options of blockdev-create, as JSON members */
    uint64_t cluster, size;
    bool v2, data_file, data_raw, prealloc, extended,
        narrow; /* narrow: counts may be too small to share */
} Layout;

static const Layout layouts[] = {
    {"", 65536, 4 * MIB, .extended = false},
    {"'cluster-size':512", 512, 1 * MIB, .extended = false},
    {"'cluster-size':512,'refcount-bits':64", 512, 1 * MIB, .extended = false},
    {"'cluster-size':1024,'refcount-bits':32", 1024, 2 * MIB, .extended = false},
    {"'cluster-size':2048,'refcount-bits':1", 2048, 2 * MIB, .narrow = true},
    {"'cluster-size':4096,'refcount-bits':2", 4096, 2 * MIB, .narrow = true},
    {"'cluster-size':4096,'refcount-bits':4", 4096, 3 * MIB, .narrow = true},
    {"'cluster-size':8192,'refcount-bits':8", 8192, 3 * MIB, .narrow = true},
    {"'cluster-size':4096,'version':'v2'", 4096, 2 * MIB, .v2 = true},
    {"'version':'v2'", 65536, 3 * MIB, .v2 = true},
    {"'cluster-size':512,'version':'v2'", 512, 512 * KIB, .v2 = true},
    {"'cluster-size':4096,'lazy-refcounts':true", 4096, 2 * MIB, .extended = false},
    {"'cluster-size':512,'lazy-refcounts':true", 512, 1 * MIB, .extended = false},
    {"'cluster-size':16384,'extended-l2':true", 16384, 4 * MIB, .extended = true},
    {"'extended-l2':true,'compression-type':'zstd'", 65536, 6 * MIB, .extended = true},
    {"'cluster-size':32768,'compression-type':'zstd'", 32768, 4 * MIB, .extended = false},
    {"'cluster-size':131072", 131072, 6 * MIB, .extended = false},
    {"'cluster-size':262144,'extended-l2':true", 262144, 8 * MIB, .extended = true},
    {"'cluster-size':524288,'refcount-bits':64", 524288, 8 * MIB, .extended = false},
    {"'cluster-size':1048576,'refcount-bits':1", 1048576, 8 * MIB, .narrow = true},
    {"'cluster-size':2097152", 2097152, 8 * MIB, .extended = false},
    {"'cluster-size':4096,'preallocation':'metadata'", 4096, 2 * MIB, .prealloc = true},
    {"'extended-l2':true,'preallocation':'metadata'", 65536, 4 * MIB, .extended = true,
     .prealloc = true},
    {"'cluster-size':4096", 4096, 2 * MIB, .data_file = true},
    {"'extended-l2':true", 65536, 4 * MIB, .data_file = true, .extended = true},
    {"'cluster-size':8192,'data-file-raw':true", 8192, 2 * MIB, .data_file = true,
     .data_raw = true},
};

typedef struct Snapshot {
    uint8_t *data; /* NULL: there is none */
    uint64_t size;
} Snapshot;

typedef struct Layer {
    const Layout *l;
    unsigned disk; /* its file; the next one is its data file */
    uint64_t size;
    Snapshot snap[SNAPSHOTS];
} Layer;

typedef struct Model {
    uint64_t seed, dice;
    unsigned long op;
    BlockCtx *ctx;
    BlockGraph *g;
    Jobs *jobs;
    BlockPort *port;
    Layer layer[LAYERS];
    unsigned n;   /* layers; the last one is what the guest sees */
    char dir[64]; /* where half of the chains are files; "": in memory */
    uint8_t *data;
    uint64_t size;
    uint64_t serial;
    uint8_t *dirty; /* NULL: no bitmap; a byte for each granule */
    uint32_t granule;
    bool bitmap_stored, bitmap_loose; /* loose: more may be dirty than was written */
    unsigned late;
    bool filters; /* between images and their files */
} Model;

/* --- what was done, for failures --- */

static struct {
    char line[LOG_LINES][LOG_WIDTH];
    unsigned n;
    uint64_t seed;
    unsigned long op;
} history;

static void history_show(void)
{
    fprintf(stderr, "MODEL_SEED=%" PRIu64 " MODEL_OPS=%lu repeats this; the last operations were\n",
            history.seed, history.op);
    for (unsigned i = history.n > LOG_LINES ? history.n - LOG_LINES : 0; i < history.n; i++)
        fprintf(stderr, "  %s\n", history.line[i % LOG_LINES]);
}

static void PRINTF_LIKE(1, 2) note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(history.line[history.n++ % LOG_LINES], LOG_WIDTH, fmt, ap);
    va_end(ap);
}

static void on_signal(int sig)
{
    history_show();
    signal(sig, SIG_DFL);
    raise(sig);
}

#define REQUIRE(ok, ...)                                                                           \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            history_show();                                                                        \
            ck_abort_msg(__VA_ARGS__);                                                             \
        }                                                                                          \
    } while (0)

/* --- dice --- */

static uint64_t roll(Model *m, uint64_t below)
{
    m->dice ^= m->dice << 13;
    m->dice ^= m->dice >> 7;
    m->dice ^= m->dice << 17;
    return (m->dice >> 11) % below;
}

static bool chance(Model *m, unsigned percent)
{
    return roll(m, 100) < percent;
}

/* --- images --- */

static const Layer *top_layer(const Model *m)
{
    return &m->layer[m->n - 1];
}

static BlockNode *top_node(const Model *m)
{
    return block_port_node(m->port);
}

static char *file_name(const Model *m, unsigned disk)
{
    return *m->dir ? xasprintf("%s/%u", m->dir, disk) : xasprintf("ram:%u", disk);
}

/* The file, perhaps under something that passes requests on. */
static json_t *file_options(const Model *m, unsigned disk)
{
    static const char *const above[][2] = {
        {"raw", "file"}, {"blkdebug", "image"}, {"copy-on-read", "file"}};
    AUTO_FREE char *name = file_name(m, disk);
    uint64_t k = m->filters ? (disk ^ m->seed ^ m->op) % 6 : COUNT_OF(above);
    json_t *o = *m->dir ? json_pack("{ssss}", "driver", "file", "filename", name)
                        : json_pack("{sssi}", "driver", "test-ram", "disk", (int)disk);

    return k < COUNT_OF(above) ? json_pack("{ssso}", "driver", above[k][0], above[k][1], o) : o;
}

static void disk_empty(Model *m, unsigned disk)
{
    AUTO_FREE char *name = file_name(m, disk);

    disk_reset(&disks[disk]);
    disks[disk].forgets_nothing = true;
    disks[disk].late_dice = m->late;
    if (*m->dir)
        close(open(name, O_CREAT | O_TRUNC | O_RDWR, 0600));
}

static unsigned unused_disk(const Model *m)
{
    for (unsigned d = 0; d < DISKS; d += 2) {
        bool used = false;

        for (unsigned i = 0; i < m->n; i++)
            used |= m->layer[i].disk == d;
        if (!used)
            return d;
    }
    ck_abort_msg("no disk left");
    return 0;
}

static json_t *json_of(const char *members)
{
    AUTO_FREE char *text = xasprintf("{%s}", members);

    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return json_loads(text, 0, NULL);
}

/* Another layer on top; nothing is open. */
static void layer_create(Model *m, const Layout *l, uint64_t size)
{
    Layer *y = &m->layer[m->n];
    json_t *o = json_of(l->create), *file;
    BlockNode *n, *data = NULL;
    Error err = {0};

    *y = (Layer){.l = l, .disk = unused_disk(m), .size = size};
    for (unsigned i = 0; i < 2; i++)
        disk_empty(m, y->disk + i);
    note("layer %u: %s, %" PRIu64 " bytes, disk %u", m->n, l->create, size, y->disk);
    file = file_options(m, y->disk);
    json_object_set_new(file, "node-name", json_string("new-file"));
    n = node_open(m->g, file, 0, &err);
    REQUIRE(n, "%s", err.msg);
    json_object_set_new(o, "file", json_string("new-file"));
    json_object_set_new(o, "size", json_integer((json_int_t)size));
    if (l->data_file) {
        file = file_options(m, y->disk + 1);
        json_object_set_new(file, "node-name", json_string("new-data"));
        data = node_open(m->g, file, 0, &err);
        REQUIRE(data, "%s", err.msg);
        json_object_set_new(o, "data-file", json_string("new-data"));
    }
    if (m->n) {
        AUTO_FREE char *name = file_name(m, m->layer[m->n - 1].disk);

        json_object_set_new(o, "backing-file", json_string(name));
        json_object_set_new(o, "backing-fmt", json_string("qcow2"));
    }
    REQUIRE(block_driver_find("qcow2")->create(m->g, o, &err), "create: %s", err.msg);
    json_decref(o);
    node_unref(data);
    node_unref(n);
    m->n++;
}

/* Options that differ at each opening. */
static void open_options(Model *m, const Layer *y, json_t *o, bool top)
{
    static const char *const overlap[] = {"none", "constant", "cached", "all"};
    static const char *const detect[] = {"off", "on", "unmap"};

    if (chance(m, 60)) {
        json_object_set_new(o, "l2-cache-entry-size", json_integer(512));
        json_object_set_new(o, "l2-cache-size", json_integer(4096));
        json_object_set_new(o, "refcount-cache-size", json_integer(4096));
    }
    if (chance(m, 30))
        json_object_set_new(o, "overlap-check", json_string(overlap[roll(m, 4)]));
    if (chance(m, 20))
        json_object_set_new(o, "cache-clean-interval", json_integer((json_int_t)roll(m, 3)));
    if (!top)
        return;
    if (!y->l->v2 && chance(m, 20))
        json_object_set_new(o, "lazy-refcounts", json_boolean(chance(m, 50)));
    if (chance(m, 50)) {
        json_object_set_new(o, "discard", json_string("unmap"));
        if (chance(m, 30))
            json_object_set_new(o, "detect-zeroes", json_string(detect[roll(m, 3)]));
    }
    if (chance(m, 20))
        json_object_set_new(o, "pass-discard-other", json_true());
    if (chance(m, 20))
        json_object_set_new(o, "pass-discard-snapshot", json_boolean(chance(m, 50)));
}

static json_t *chain_options(Model *m, unsigned i)
{
    const Layer *y = &m->layer[i];
    json_t *o = json_pack("{ssso}", "driver", "qcow2", "file", file_options(m, y->disk));

    if (y->l->data_file)
        json_object_set_new(o, "data-file", file_options(m, y->disk + 1));
    open_options(m, y, o, i == m->n - 1);
    json_object_set_new(o, "backing", i ? chain_options(m, i - 1) : json_null());
    return o;
}

static void chain_open(Model *m)
{
    json_t *o = chain_options(m, m->n - 1);
    uint32_t flags = chance(m, 10) ? NODE_WRITETHROUGH : 0;
    Error err = {0};
    AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
    BlockNode *n, *k;

    note("open %.150s", text);
    n = node_open(m->g, o, flags, &err);
    REQUIRE(n, "open: %s", err.msg);
    m->port = block_port_new(m->g, NULL, n, PERMS, SHARED, &err);
    REQUIRE(m->port, "port: %s", err.msg);
    block_port_set_writethrough(m->port, flags);
    node_unref(n);
    REQUIRE(block_size(m->port) == m->size, "size %" PRIu64 ", not %" PRIu64, block_size(m->port),
            m->size);
    k = n;
    for (unsigned i = m->n; i-- > 1; k = k->backing) {
        AUTO_FREE char *name = file_name(m, m->layer[i - 1].disk);

        REQUIRE(k->backing_file && !strcmp(k->backing_file, name),
                "layer %u: its backing file is '%s', not '%s'", i,
                k->backing_file ? k->backing_file : "", name);
    }
    REQUIRE(!k->backing_file || !*k->backing_file, "the last layer has the backing file '%s'",
            k->backing_file);
}

typedef struct Findings {
    char text[1000];
} Findings;

static void say(void *arg, const char *line)
{
    Findings *f = arg;
    size_t n = strlen(f->text);

    snprintf(f->text + n, sizeof f->text - n, "%s\n", line);
}

static void layer_check(Model *m, unsigned i)
{
    const Layer *y = &m->layer[i];
    json_t *o = json_pack("{ssso}", "driver", "qcow2", "file", file_options(m, y->disk));
    Findings f = {{0}};
    CheckReport rep = {.say = say, .arg = &f};
    Error err = {0};
    BlockNode *n;

    if (y->l->data_file)
        json_object_set_new(o, "data-file", file_options(m, y->disk + 1));
    n = node_open(m->g, o, NODE_READ_ONLY | NODE_CHECK | NODE_NO_BACKING, &err);
    REQUIRE(n, "check of layer %u: %s", i, err.msg);
    REQUIRE(n->drv->check(n, 0, &rep, &err), "check of layer %u: %s", i, err.msg);
    REQUIRE(!rep.corruptions && !rep.check_errors && !rep.leaks,
            "layer %u: %d corruptions, %d leaks, %d errors\n%s", i, (int)rep.corruptions,
            (int)rep.leaks, (int)rep.check_errors, f.text);
    node_unref(n);
}

/* --- contents --- */

static void compare(Model *m, const uint8_t *got, uint64_t at, uint64_t size, const char *what)
{
    if (!memcmp(got, m->data + at, size))
        return;
    for (uint64_t i = 0; i < size; i++)
        REQUIRE(got[i] == m->data[at + i], "%s: byte %" PRIu64 " of %" PRIu64 " is %#x, not %#x",
                what, at + i, m->size, got[i], m->data[at + i]);
}

static void compare_all(Model *m)
{
    uint8_t *buf = xalloc(MIB);

    for (uint64_t at = 0; at < m->size; at += MIB) {
        uint64_t len = MIN((uint64_t)MIB, m->size - at);

        REQUIRE(!block_read(m->port, at, buf, len), "reading all fails");
        compare(m, buf, at, len, "reopened");
    }
    xfree(buf);
}

/* The data file of a raw one is the disk itself. */
static void compare_raw(Model *m)
{
    const Layer *y = top_layer(m);
    const Disk *d = &disks[y->disk + 1];

    if (y->l->data_raw && !*m->dir) {
        REQUIRE(d->size >= m->size, "the data file has %" PRIu64 " bytes", d->size);
        compare(m, d->data, 0, m->size, "data file");
    }
}

/* What the next write writes: noise, or something that can be compressed, or zeroes. */
static void fill(Model *m, uint8_t *buf, uint64_t size)
{
    uint64_t kind = roll(m, 8), x = ++m->serial * 0x9e3779b97f4a7c15ull;

    if (kind == 0 && chance(m, 50)) {
        memset(buf, 0, size);
    } else if (kind < 3) {
        memset(buf, (int)(x >> 56) | 1, size);
    } else {
        for (uint64_t i = 0; i < size; i += 8) {
            if (kind < 6 || !(i & 0x700))
                x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull + i;
            memcpy(buf + i, &x, MIN(size - i, (uint64_t)8));
        }
    }
}

/* --- requests --- */

typedef struct Op {
    BlockReq r;
    struct iovec iov[PIECES];
    uint8_t *buf;
    uint64_t at, size;
    bool done;
} Op;

static bool op_changes(const Op *o)
{
    return o->r.op == BLOCK_WRITE || o->r.op == BLOCK_ZERO || o->r.op == BLOCK_DISCARD;
}

static bool covers(const Op *o, uint64_t at)
{
    return at >= o->at && at - o->at < o->size;
}

static void on_done(BlockReq *r)
{
    ((Op *)r->owner)->done = true;
}

static void choose_range(Model *m, Op *o)
{
    static const uint64_t most[] = {1, 512, 4096, 5000, 70000, 300 * KIB};
    uint64_t cs = top_layer(m)->l->cluster;

    if (chance(m, 20)) { /* whole clusters */
        o->at = roll(m, m->size) / cs * cs;
        o->size = cs * (1 + roll(m, 4));
    } else {
        o->at = roll(m, m->size);
        o->size = 1 + roll(m, most[roll(m, COUNT_OF(most))]);
        if (chance(m, 50)) {
            o->at &= ~511ull;
            o->size = ALIGN_UP(o->size, 512ull);
        }
    }
    o->size = MIN(o->size, m->size - o->at);
}

static void choose_compressed(Model *m, Op *o)
{
    uint64_t cs = top_layer(m)->l->cluster;

    o->r.flags = BLOCK_COMPRESS;
    o->at = roll(m, m->size) / cs * cs;
    o->size = MIN(cs * (1 + roll(m, MIN(3u, 1 + 131072 / cs))), m->size - o->at);
}

static void split(Model *m, Op *o)
{
    uint64_t left = o->size;
    uint8_t *p = o->buf;
    int n = 0;

    while (left && n < PIECES - 1 && chance(m, 30)) {
        uint64_t len = 1 + roll(m, left);

        o->iov[n++] = (struct iovec){p, len};
        p += len;
        left -= len;
    }
    if (left)
        o->iov[n++] = (struct iovec){p, left};
    o->r.iov = o->iov;
    o->r.n_iov = n;
}

/* @near: not 0: about there, so that requests meet. */
static void op_make(Model *m, Op *o, uint64_t near)
{
    static const char *const names[] = {"read", "write", "zero", "discard", "flush"};
    uint64_t kind = roll(m, 20);

    *o = (Op){.r = {.op = kind < 9    ? BLOCK_WRITE
                          : kind < 13 ? BLOCK_READ
                          : kind < 16 ? BLOCK_ZERO
                          : kind < 18 ? BLOCK_DISCARD
                          : kind < 19 ? BLOCK_FLUSH
                                      : BLOCK_WRITE}};
    if (o->r.op != BLOCK_FLUSH)
        choose_range(m, o);
    if (near && o->r.op != BLOCK_FLUSH) {
        o->size = MIN(o->size, 40 * KIB);
        o->at = MIN(near - 1 + roll(m, 2 * MIN(top_layer(m)->l->cluster, 65536u)), m->size - 1);
        o->size = MIN(o->size, m->size - o->at);
    }
    if (kind == 19 && !top_layer(m)->l->data_file &&
        (top_layer(m)->l->cluster <= 65536 || chance(m, 25)))
        choose_compressed(m, o);
    else if (op_changes(o) && o->r.op != BLOCK_DISCARD && chance(m, 6))
        o->r.flags |= BLOCK_FUA;
    if (o->r.op == BLOCK_ZERO && chance(m, 50))
        o->r.flags |= BLOCK_MAY_UNMAP;
    o->r.at = o->at;
    o->r.size = o->size;
    o->buf = xalloc(o->size + 1);
    if (o->r.op == BLOCK_WRITE)
        fill(m, o->buf, o->size);
    if (o->r.op == BLOCK_READ || o->r.op == BLOCK_WRITE)
        split(m, o);
    note("%s%s %" PRIu64 " %" PRIu64 " flags %u", near ? "+ " : "", names[o->r.op], o->at, o->size,
         o->r.flags);
}

/* A job may want the main thread before the request can go on. */
static void wait_for(Model *m, const Op *o)
{
    for (unsigned tries = 0; !o->done; tries++) {
        bool job = job_next(m->jobs, NULL);

        blockctx_poll(m->ctx, !job);
        if (job && !o->done && tries % 32 == 31)
            jobs_poll(m->jobs);
        else if (job && !o->done)
            usleep(50);
    }
}

static void submit_all(Model *m, Op *o, unsigned n)
{
    if (n == 1 && chance(m, 40)) {
        block_wait(m->port, &o->r);
    } else {
        for (unsigned i = 0; i < n; i++) {
            o[i].r.ctx = m->ctx;
            o[i].r.owner = &o[i];
            o[i].r.done = on_done;
            block_submit(m->port, &o[i].r);
        }
        for (unsigned i = 0; i < n; i++)
            wait_for(m, &o[i]);
    }
    for (unsigned i = 0; i < n; i++)
        REQUIRE(!o[i].r.result, "request %u of %u at %" PRIu64 " fails: %s", i, n, o[i].at,
                strerror(-o[i].r.result));
}

static uint8_t op_byte(const Op *o, uint64_t at)
{
    return o->r.op == BLOCK_WRITE ? o->buf[at - o->at] : 0;
}

/* May the byte at @at be @v, when all of @o ran together?  @settled: all are done.  @hint: who
 * wrote the last one. */
static bool may_be(const Model *m, const Op *o, unsigned n, uint64_t at, uint8_t v, bool settled,
                   unsigned *hint)
{
    bool old = true;

    if (covers(&o[*hint], at) && op_changes(&o[*hint]) && op_byte(&o[*hint], at) == v)
        return true;
    for (unsigned i = 0; i < n; i++) {
        if (!op_changes(&o[i]) || !covers(&o[i], at))
            continue;
        if (v == op_byte(&o[i], at)) {
            *hint = i;
            return true;
        }
        old &= !settled || o[i].r.op == BLOCK_DISCARD;
    }
    return old && v == m->data[at];
}

/* Where the set of requests that meet changes next. */
static uint64_t segment_end(const Op *o, unsigned n, uint64_t at, uint64_t end)
{
    for (unsigned i = 0; i < n; i++) {
        if (o[i].at > at)
            end = MIN(end, o[i].at);
        else if (o[i].at + o[i].size > at)
            end = MIN(end, o[i].at + o[i].size);
    }
    return end;
}

/* All of a segment is of one of them: the usual case, found quickly. */
static bool is_of_one(const Op *o, unsigned n, uint64_t at, const uint8_t *got, uint64_t size)
{
    for (unsigned i = 0; i < n; i++) {
        if (!op_changes(&o[i]) || !covers(&o[i], at))
            continue;
        if (o[i].r.op == BLOCK_WRITE ? !memcmp(got, o[i].buf + (at - o[i].at), size)
                                     : !*got && !memcmp(got, got + 1, size - 1))
            return true;
    }
    return false;
}

static void explain(const Model *m, const Op *o, unsigned n, uint64_t at)
{
    note("byte %" PRIu64 " was %#x", at, m->data[at]);
    for (unsigned k = 0; k < n; k++)
        if (op_changes(&o[k]) && covers(&o[k], at))
            note("  request %u makes it %#x%s", k, op_byte(&o[k], at),
                 o[k].r.op == BLOCK_DISCARD ? ", perhaps" : "");
}

static void compare_together(const Model *m, const Op *o, unsigned n, uint64_t at,
                             const uint8_t *got, uint64_t size, bool settled)
{
    uint64_t end = at + size, len;
    unsigned hint = 0;

    for (; at < end; at += len, got += len) {
        len = segment_end(o, n, at, end) - at;
        if (is_of_one(o, n, at, got, len))
            continue;
        for (uint64_t i = 0; i < len; i++) {
            if (may_be(m, o, n, at + i, got[i], settled, &hint))
                continue;
            explain(m, o, n, at + i);
            REQUIRE(false, "%s requests together: byte %" PRIu64 " is %#x",
                    settled ? "after" : "beside", at + i, got[i]);
        }
    }
}

/* What one of several wrote, as it is now. */
static uint8_t *settle(Model *m, const Op *o, unsigned n, const Op *one)
{
    uint8_t *buf = xalloc(one->size + 1);

    REQUIRE(!block_read(m->port, one->at, buf, one->size), "reading back fails");
    compare_together(m, o, n, one->at, buf, one->size, true);
    return buf;
}

static void mark_dirty(Model *m, uint64_t at, uint64_t size)
{
    if (m->dirty && size)
        memset(m->dirty + at / m->granule, 1, (at + size - 1) / m->granule - at / m->granule + 1);
}

static void run_batch(Model *m, unsigned n)
{
    Op o[BATCH];
    uint64_t near = n > 1 && chance(m, 70) ? 1 + roll(m, m->size) : 0;
    uint8_t *seen[BATCH] = {0};

    for (unsigned i = 0; i < n; i++)
        op_make(m, &o[i], near);
    submit_all(m, o, n);
    for (unsigned i = 0; i < n; i++)
        if (o[i].r.op == BLOCK_READ && n == 1)
            compare(m, o[i].buf, o[i].at, o[i].size, "read");
        else if (o[i].r.op == BLOCK_READ)
            compare_together(m, o, n, o[i].at, o[i].buf, o[i].size, false);
    for (unsigned i = 0; i < n; i++) {
        if (!op_changes(&o[i]))
            continue;
        mark_dirty(m, o[i].at, o[i].size);
        if (n > 1 || o[i].r.op == BLOCK_DISCARD)
            seen[i] = settle(m, o, n, &o[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        if (op_changes(&o[i]) && seen[i])
            memcpy(m->data + o[i].at, seen[i], o[i].size);
        else if (o[i].r.op == BLOCK_WRITE)
            memcpy(m->data + o[i].at, o[i].buf, o[i].size);
        else if (o[i].r.op == BLOCK_ZERO)
            memset(m->data + o[i].at, 0, o[i].size);
        xfree(seen[i]);
        xfree(o[i].buf);
    }
}

static void do_one(Model *m)
{
    run_batch(m, 1);
}

static void do_together(Model *m)
{
    run_batch(m, 2 + (unsigned)roll(m, BATCH - 1));
}

/* --- bitmaps --- */

static void bitmap_compare(Model *m)
{
    DirtyBitmap *b;
    uint64_t granules;

    if (!m->dirty)
        return;
    b = bitmap_find(top_node(m), "model");
    REQUIRE(b && bitmap_is_enabled(b) && !bitmap_is_inconsistent(b),
            "the bitmap is gone or not usable");
    granules = (m->size + m->granule - 1) / m->granule;
    for (uint64_t i = 0; i < granules; i++) {
        bool is = bitmap_get(b, i * m->granule);

        REQUIRE(is == m->dirty[i] || (is && m->bitmap_loose), "granule %" PRIu64 " of %u is %s", i,
                m->granule, is ? "dirty" : "clean");
    }
}

static void bitmap_drop(Model *m)
{
    BlockNode *n = top_node(m);
    Error err = {0};

    if (!m->dirty)
        return;
    note("bitmap removed");
    bitmap_compare(m);
    if (m->bitmap_stored)
        REQUIRE(n->drv->bitmap_ops->remove(n, "model", &err), "bitmap: %s", err.msg);
    bitmap_free(bitmap_find(n, "model"));
    xfree(m->dirty);
    m->dirty = NULL;
}

static void do_bitmap(Model *m)
{
    Error err = {0};
    BlockNode *n = top_node(m);
    DirtyBitmap *b;

    if (m->dirty) {
        bitmap_drop(m);
        return;
    }
    m->granule = 512u << roll(m, 9);
    m->bitmap_stored = !top_layer(m)->l->v2;
    m->bitmap_loose = false;
    note("bitmap of %u", m->granule);
    if (m->bitmap_stored)
        REQUIRE(n->drv->bitmap_ops->can_store(n, "model", m->granule, &err), "bitmap: %s", err.msg);
    b = bitmap_new(n, "model", m->granule, &err);
    REQUIRE(b, "bitmap: %s", err.msg);
    if (m->bitmap_stored)
        bitmap_set_persistent(b, true);
    m->dirty = xalloc(m->size / m->granule + 2);
}

/* --- opening and closing --- */

static void chain_close(Model *m)
{
    bitmap_compare(m);
    if (m->dirty && !m->bitmap_stored)
        bitmap_drop(m);
    block_port_free(m->port);
    m->port = NULL;
    compare_raw(m);
}

static void do_reopen(Model *m)
{
    chain_close(m);
    for (unsigned i = chance(m, 80) ? m->n - 1 : 0; i < m->n; i++)
        layer_check(m, i);
    chain_open(m);
    compare_all(m);
    bitmap_compare(m);
}

/* Without closing it: no write goes in between. */
static void do_read_only(Model *m)
{
    BlockNode *n = top_node(m);
    Error err = {0};
    uint8_t one = 1;

    note("read-only and back");
    REQUIRE(block_port_set_perm(m->port, PERM_READ, SHARED, &err), "permissions: %s", err.msg);
    REQUIRE(node_reopen(n, NULL, n->flags | NODE_READ_ONLY, &err), "read-only: %s", err.msg);
    REQUIRE(block_write(m->port, 0, &one, 1, 0), "a read-only image can be written");
    layer_check(m, m->n - 1);
    compare_all(m);
    REQUIRE(node_reopen(n, NULL, n->flags & ~(uint32_t)NODE_READ_ONLY, &err), "read-write: %s",
            err.msg);
    REQUIRE(block_port_set_perm(m->port, PERMS, SHARED, &err), "permissions: %s", err.msg);
}

/* --- sizes and snapshots --- */

static void model_resize(Model *m, uint64_t size)
{
    m->data = xrealloc(m->data, size + 1);
    if (size > m->size)
        memset(m->data + m->size, 0, size - m->size);
    if (m->dirty) {
        uint64_t old = (m->size + m->granule - 1) / m->granule,
                 new = (size + m->granule - 1) / m->granule;

        m->dirty = xrealloc(m->dirty, new + 2);
        if (new > old)
            memset(m->dirty + old, 0, new + 2 - old);
    }
    m->size = m->layer[m->n - 1].size = size;
}

static bool has_snapshots(const Layer *y)
{
    bool any = false;

    for (unsigned k = 0; k < SNAPSHOTS; k++)
        any |= y->snap[k].data != NULL;
    return any;
}

static void do_resize(Model *m)
{
    const Layer *y = top_layer(m);
    uint64_t size = y->l->size / 2 + roll(m, y->l->size / 512) * 512;
    bool backed = m->n > 1, grows = size > m->size;
    Preallocation p = PREALLOC_OFF;
    Error err = {0};

    if (y->l->v2 && (has_snapshots(y) || (grows && backed)))
        return; /* the one is refused, the other would need zero clusters */
    if (grows && (!backed || y->l->extended) && chance(m, 30))
        p = chance(m, 50) ? PREALLOC_METADATA : PREALLOC_FALLOC;
    if (backed && y->l->v2 && p)
        return;
    note("resize to %" PRIu64 ", preallocation %d", size, p);
    graph_drain_begin(m->g, NULL);
    REQUIRE(node_truncate(top_node(m), size, p, true, &err), "resize: %s", err.msg);
    graph_drain_end(m->g, NULL);
    model_resize(m, size);
}

static void snapshot_make(Model *m, unsigned k, char *name)
{
    Snapshot *s = &m->layer[m->n - 1].snap[k];
    SnapshotInfo info = {.name = name, .icount = UINT64_MAX};
    BlockNode *n = top_node(m);
    Error err = {0};
    bool ok = n->drv->snapshots->create(n, &info, &err);

    note("snapshot %s made: %s", name, ok ? "yes" : err.msg);
    REQUIRE(ok || top_layer(m)->l->narrow, "snapshot: %s", err.msg);
    if (ok)
        *s = (Snapshot){memcpy(xalloc(m->size + 1), m->data, m->size), m->size};
}

static void snapshot_back(Model *m, unsigned k, const char *name)
{
    const Snapshot *s = &top_layer(m)->snap[k];
    BlockNode *n = top_node(m);
    Error err = {0};
    bool ok;

    graph_drain_begin(m->g, NULL);
    ok = n->drv->snapshots->apply(n, name, &err);
    graph_drain_end(m->g, NULL);
    note("back to snapshot %s: %s", name, ok ? "yes" : err.msg);
    REQUIRE(ok || top_layer(m)->l->narrow, "snapshot: %s", err.msg);
    if (!ok)
        return;
    model_resize(m, s->size);
    memcpy(m->data, s->data, s->size);
}

static void do_snapshot(Model *m)
{
    Layer *y = &m->layer[m->n - 1];
    unsigned k = (unsigned)roll(m, SNAPSHOTS);
    char name[8] = {'s', (char)('0' + k)};
    BlockNode *n = top_node(m);
    Error err = {0};

    if (y->l->data_file)
        return;
    if (!y->snap[k].data) {
        snapshot_make(m, k, name);
    } else if (!m->dirty && chance(m, 50)) {
        snapshot_back(m, k, name);
    } else {
        note("snapshot %s removed", name);
        REQUIRE(n->drv->snapshots->remove(n, name, &err), "snapshot: %s", err.msg);
        xfree(y->snap[k].data);
        y->snap[k].data = NULL;
    }
}

/* --- chains --- */

static void layer_forget(Model *m, unsigned i)
{
    for (unsigned k = 0; k < SNAPSHOTS; k++)
        xfree(m->layer[i].snap[k].data);
    for (unsigned d = 0; d < 2; d++) {
        AUTO_FREE char *name = file_name(m, m->layer[i].disk + d);

        disk_reset(&disks[m->layer[i].disk + d]);
        unlink(name);
    }
    memmove(&m->layer[i], &m->layer[i + 1], (m->n - i - 1) * sizeof(Layer));
    m->n--;
}

static const Layout *choose_layout(Model *m)
{
    for (;;) {
        const Layout *l = &layouts[roll(m, COUNT_OF(layouts))];

        if (!m->n || (!l->data_raw && (!l->prealloc || l->extended)))
            return l;
    }
}

static void do_overlay(Model *m)
{
    const Layout *l;
    uint64_t size;

    if (m->n == LAYERS)
        return;
    bitmap_drop(m);
    chain_close(m);
    layer_check(m, m->n - 1);
    l = choose_layout(m);
    size = chance(m, 60) || l->v2 ? m->size : 65536 + roll(m, 2 * m->size / 512) * 512;
    layer_create(m, l, size);
    model_resize(m, size);
    chain_open(m);
    compare_all(m);
}

/* Requests go on while a job runs. */
static void job_run(Model *m, Job *j, Error *err)
{
    REQUIRE(j, "job: %s", err->msg);
    for (unsigned i = (unsigned)roll(m, 6); i; i--)
        run_batch(m, 1 + (unsigned)roll(m, 3));
    REQUIRE(!job_wait(j, NULL, NULL, err), "job: %s", err->msg);
}

static BlockNode *node_of(Model *m, unsigned i)
{
    BlockNode *n = top_node(m);

    while (++i < m->n)
        n = n->backing;
    return n;
}

static const BlockJobArgs job_args = {.id = "job", .auto_finalize = true};

static void do_stream(Model *m)
{
    unsigned base = m->n > 1 ? (unsigned)roll(m, m->n) : 0; /* layers that stay below; 0: none */
    AUTO_FREE char *name = base ? file_name(m, m->layer[base - 1].disk) : NULL;
    Error err = {0};

    if (m->n < 2 || base == m->n - 1 || has_snapshots(top_layer(m)))
        return;
    note("stream of layers %u to %u", base, m->n - 2);
    m->bitmap_loose = true;
    job_run(m,
            stream_start(m->jobs, &job_args, top_node(m), base ? node_of(m, base - 1) : NULL, name,
                         &err),
            &err);
    while (m->n > base + 1)
        layer_forget(m, m->n - 2);
    do_reopen(m);
}

static void do_commit(Model *m)
{
    unsigned base, top;
    Error err = {0};

    if (m->n < 2)
        return;
    top = 1 + (unsigned)roll(m, m->n - 1);
    base = (unsigned)roll(m, top);
    for (unsigned i = base; i <= top; i++) /* what a shorter image hides would show */
        if (m->layer[i].size < m->layer[base].size)
            return;
    if (m->layer[base].l->v2 ||
        (m->layer[base].size < m->layer[top].size && m->layer[base].l->data_raw))
        return;
    bitmap_drop(m);
    note("commit of layers %u to %u into %u", base + 1, top, base);
    {
        AUTO_FREE char *name = file_name(m, m->layer[base].disk);

        job_run(m,
                commit_start(m->jobs, &job_args, top_node(m), node_of(m, top), node_of(m, base),
                             name, &err),
                &err);
    }
    m->layer[base].size = MAX(m->layer[base].size, m->layer[top].size);
    for (unsigned i = top; i > base; i--)
        layer_forget(m, i);
    do_reopen(m);
}

/* --- all of it --- */

static const struct {
    unsigned weight;
    void (*run)(Model *m);
} operations[] = {
    {620, do_one},     {250, do_together}, {24, do_snapshot}, {16, do_resize}, {20, do_reopen},
    {4, do_read_only}, {8, do_bitmap},     {12, do_overlay},  {5, do_stream},  {5, do_commit},
};

static void random_operation(Model *m)
{
    unsigned all = 0, k = 0;
    uint64_t which;

    for (unsigned i = 0; i < COUNT_OF(operations); i++)
        all += operations[i].weight;
    for (which = roll(m, all); which >= operations[k].weight; k++)
        which -= operations[k].weight;
    operations[k].run(m);
}

static void run_chain(uint64_t seed, unsigned long ops)
{
    Model *m = xnew(Model);
    uint64_t size;

    *m = (Model){.seed = seed, .dice = (seed + 1) * 0x9e3779b97f4a7c15ull | 1};
    history.seed = seed;
    history.n = 0;
    roll(m, 2);
    m->filters = chance(m, 30);
    m->late = chance(m, 70) ? (unsigned)seed | 1 : 0;
    if (chance(m, 25)) {
        snprintf(m->dir, sizeof m->dir, "%s/test_model.XXXXXX",
                 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        REQUIRE(mkdtemp(m->dir), "no temporary directory");
    }
    m->ctx = blockctx_new(NULL, NULL);
    m->g = graph_new(m->ctx, NULL);
    m->jobs = jobs_new(NULL, NULL);
    size = layouts[seed % COUNT_OF(layouts)].size / 2;
    size += roll(m, size / 512) * 512;
    layer_create(m, &layouts[seed % COUNT_OF(layouts)], size);
    model_resize(m, size);
    chain_open(m);
    for (unsigned long i = 0; i < ops; i++) {
        history.op = m->op = i + 1;
        alarm(HANG_SECONDS);
        random_operation(m);
    }
    do_reopen(m);
    bitmap_drop(m);
    chain_close(m);
    while (m->n) {
        layer_check(m, m->n - 1);
        layer_forget(m, m->n - 1);
    }
    alarm(0);
    jobs_free(m->jobs);
    graph_free(m->g);
    blockctx_free(m->ctx);
    if (*m->dir)
        rmdir(m->dir);
    xfree(m->data);
    xfree(m);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *v = getenv(name);

    return v && *v ? strtoull(v, NULL, 0) : otherwise;
}

START_TEST(chains_of_images_agree_with_an_array_of_bytes)
{
    unsigned long left = setting("MODEL_OPS", 4000), each = setting("MODEL_CHAIN_OPS", 500);

    for (uint64_t seed = setting("MODEL_SEED", 1); left; seed++) {
        unsigned long n = MIN(left, each);

        run_chain(seed, n);
        left -= n;
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block_model");
    TCase *t = tcase_create("block_model");
    SRunner *r = srunner_create(s);
    int failed;

    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* or most of the time goes into mapping pages */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGALRM, on_signal);
    tcase_set_timeout(t, 0);
    tcase_add_test(t, chains_of_images_agree_with_an_array_of_bytes);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
