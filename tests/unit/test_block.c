/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_block - the block core: nodes, requests, the gate and the format engine, on a toy format
 */
#include <pthread.h>

#include "block_unit.h"

START_TEST(what_was_written_is_read_again)
{
    Place p;
    BlockPort *port;
    char buf[5000], back[5000];

    place_make(&p);
    port = port_of(&p, raw(&p, 0, 1 << 20, 0), PERM_READ | PERM_WRITE);
    memset(buf, 0x5a, sizeof buf);
    ck_assert_int_eq(block_write(port, 777, buf, sizeof buf, 0), 0);
    ck_assert_int_eq(block_read(port, 777, back, sizeof back), 0);
    ck_assert_mem_eq(buf, back, sizeof buf);
    ck_assert_int_eq(block_zero(port, 778, 100, BLOCK_MAY_UNMAP), 0);
    ck_assert_int_eq(block_read(port, 777, back, 102), 0);
    ck_assert_int_eq(back[0], 0x5a);
    ck_assert_int_eq(back[1], 0);
    ck_assert_int_eq(back[100], 0);
    ck_assert_int_eq(back[101], 0x5a);
    ck_assert_int_eq(block_flush(port), 0);
    ck_assert_int_eq(block_read(port, (1 << 20) - 10, back, 20), -EIO);
    ck_assert_uint_eq(block_port_stats(port)->bytes[BLOCK_WRITE], sizeof buf);
    block_port_free(port);
    place_clear(&p);
}
END_TEST

START_TEST(a_read_only_node_refuses_writes)
{
    Place p;
    BlockPort *port;

    place_make(&p);
    port = port_of(&p, raw(&p, 0, 4096, NODE_READ_ONLY), PERM_READ);
    ck_assert_int_eq(block_write(port, 0, "x", 1, 0), -EPERM);
    ck_assert(!block_port_set_perm(port, PERM_WRITE, PERM_ALL, &p.err));
    block_port_free(port);
    place_clear(&p);
}
END_TEST

START_TEST(an_image_in_use_is_refused_and_its_holder_may_be_read)
{
    Place p, q;
    BlockNode *n;

    place_make(&p);
    place_make(&q);
    n = raw(&p, 0, 4096, 0);
    BlockPort *port = port_of(&p, n, PERM_READ | PERM_WRITE);
    n = node_open_image(q.g, p.path[0], "raw", NULL, 0, &q.err);
    ck_assert(!n || !block_port_new(q.g, NULL, n, PERM_WRITE, PERM_ALL, &q.err));
    ck_assert_msg(strstr(q.err.msg, "\"write\" lock"), "%s", q.err.msg);
    ck_assert_msg(strstr(q.err.msg, p.path[0]), "%s", q.err.msg);
    node_unref(n);
    block_port_free(port);
    place_clear(&q);
    place_clear(&p);
}
END_TEST

START_TEST(unaligned_requests_pass_files_without_page_cache)
{
    Place p;
    BlockPort *port;
    BlockNode *n;
    char buf[9000], back[9000];

    place_make(&p);
    n = raw(&p, 0, 1 << 16, NODE_NO_CACHE);
    if (!n) { /* tmpfs of old kernels */
        place_clear(&p);
        return;
    }
    port = port_of(&p, n, PERM_READ | PERM_WRITE);
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (char)(i * 7);
    ck_assert_int_eq(block_write(port, 4095, buf, sizeof buf, 0), 0);
    ck_assert_int_eq(block_write(port, 1, buf, 1, 0), 0);
    ck_assert_int_eq(block_read(port, 4095, back, sizeof back), 0);
    ck_assert_mem_eq(buf, back, sizeof buf);
    block_port_free(port);
    place_clear(&p);
}
END_TEST

/* --- random requests on chains, against an array --- */

enum { DEPTH = 16, MOST = 3 * CLUSTER };

typedef struct Flight {
    BlockReq r;
    struct iovec iov[3];
    uint8_t *buf, expect[MOST];
    bool busy;
    struct Model *m;
} Flight;

typedef struct Model {
    BlockPort *port;
    uint8_t *mem;
    bool used[SIZE / 512]; /* by requests in flight: the model is right only without overlap */
    Flight f[DEPTH];
    unsigned seed, flying;
} Model;

static unsigned roll(Model *m)
{
    m->seed = m->seed * 1664525 + 1013904223;
    return m->seed >> 8;
}

static void landed(BlockReq *r)
{
    Flight *f = r->owner;

    ck_assert_int_eq(r->result, 0);
    if (r->op == BLOCK_READ)
        ck_assert_mem_eq(f->buf, f->expect, r->size);
    for (uint64_t s = r->at / 512; s < (r->at + r->size) / 512; s++)
        f->m->used[s] = false;
    f->busy = false;
    f->m->flying--;
}

static bool is_free(Model *m, uint64_t at, uint64_t size)
{
    for (uint64_t s = at / 512; s < (at + size) / 512; s++)
        if (m->used[s])
            return false;
    return true;
}

static void take_off(Model *m, Flight *f, BlockCtx *ctx)
{
    static const BlockOp ops[] = {BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE, BLOCK_ZERO};
    BlockOp op = ops[roll(m) % 4];
    uint64_t at = roll(m) % (SIZE / 512) * 512;
    uint64_t size = MIN((roll(m) % (MOST / 512) + 1) * 512, SIZE - at);
    size_t cut = roll(m) % size;

    if (!is_free(m, at, size))
        return;
    memset(&m->used[at / 512], true, size / 512);
    f->iov[0] = (struct iovec){f->buf, cut};
    f->iov[1] = (struct iovec){f->buf + cut, 0};
    f->iov[2] = (struct iovec){f->buf + cut, size - cut};
    f->r = (BlockReq){.op = op,
                      .at = at,
                      .size = size,
                      .iov = f->iov,
                      .n_iov = 3,
                      .ctx = ctx,
                      .done = landed,
                      .owner = f};
    f->m = m;
    if (op == BLOCK_READ) {
        memset(f->buf, 0xee, size);
        memcpy(f->expect, m->mem + at, size);
    } else if (op == BLOCK_ZERO) {
        memset(m->mem + at, 0, size);
    } else {
        for (uint64_t i = 0; i < size; i++)
            m->mem[at + i] = f->buf[i] = (uint8_t)roll(m);
    }
    f->busy = true;
    m->flying++;
    block_submit(m->port, &f->r);
}

static void fly(Model *m, BlockCtx *ctx, unsigned steps)
{
    for (unsigned i = 0; i < DEPTH; i++)
        m->f[i].buf = xalloc(MOST);
    for (unsigned i = 0; i < steps; i++) {
        Flight *f = &m->f[roll(m) % DEPTH];

        if (f->busy)
            blockctx_poll(ctx, m->flying == DEPTH);
        else
            take_off(m, f, ctx);
        if (roll(m) % 32 == 0)
            blockctx_poll(ctx, false);
    }
    while (m->flying)
        blockctx_poll(ctx, true);
    for (unsigned i = 0; i < DEPTH; i++)
        xfree(m->f[i].buf);
}

static void compare(Model *m)
{
    uint8_t *all = xalloc(SIZE);

    ck_assert_int_eq(block_read(m->port, 0, all, SIZE), 0);
    ck_assert_mem_eq(all, m->mem, SIZE);
    xfree(all);
}

START_TEST(random_requests_agree_with_an_array)
{
    Place p;
    Model *m = xnew(Model);
    BlockNode *base, *mid, *top;

    place_make(&p);
    m->seed = 1 + (unsigned)_i;
    m->mem = xalloc(SIZE);
    base = toy(&p, 0, NULL);
    m->port = port_of(&p, node_ref(base), PERM_READ | PERM_WRITE);
    fly(m, p.ctx, 1500);
    compare(m);
    block_port_free(m->port);
    mid = toy(&p, 1, base);
    node_unref(base);
    m->port = port_of(&p, node_ref(mid), PERM_READ | PERM_WRITE);
    fly(m, p.ctx, 300);
    compare(m);
    block_port_free(m->port);
    top = toy(&p, 2, mid);
    node_unref(mid);
    m->port = port_of(&p, top, PERM_READ | PERM_WRITE);
    fly(m, p.ctx, 1500);
    compare(m);
    block_port_free(m->port);
    xfree(m->mem);
    xfree(m);
    place_clear(&p);
}
END_TEST

/* --- several threads, each with a stretch of its own --- */

typedef struct Worker {
    BlockPort *port;
    unsigned number;
    bool waits;
} Worker;

static void *write_and_read(void *arg)
{
    Worker *w = arg;
    uint64_t from = w->number * (SIZE / 4), size = SIZE / 4;
    unsigned seed = w->number + 1;
    uint8_t *mem = xalloc(size), buf[6000];

    for (unsigned i = 0; i < 2000; i++) {
        uint64_t at, len;

        seed = seed * 1664525 + 1013904223;
        at = (seed >> 8) % size;
        len = MIN((seed >> 4) % sizeof buf, size - at);
        if (seed >> 30) {
            memset(mem + at, (int)i, len);
            ck_assert_int_eq(block_write(w->port, from + at, mem + at, len, 0), 0);
        } else {
            ck_assert_int_eq(block_read(w->port, from + at, buf, len), 0);
            ck_assert_mem_eq(buf, mem + at, len);
        }
    }
    xfree(mem);
    return NULL;
}

START_TEST(threads_that_wait_do_not_disturb_each_other)
{
    Place p;
    BlockPort *port;
    Worker w[4];
    pthread_t t[4];

    place_make(&p);
    port = port_of(&p, toy(&p, 0, NULL), PERM_READ | PERM_WRITE);
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (Worker){port, i, true};
        pthread_create(&t[i], NULL, write_and_read, &w[i]);
    }
    for (unsigned i = 0; i < 50; i++) {
        graph_drain_begin(p.g, NULL);
        graph_drain_end(p.g, NULL);
        usleep(500);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    block_port_free(port);
    place_clear(&p);
}
END_TEST

START_TEST(a_cycle_or_a_missing_file_is_named)
{
    Place p;

    place_make(&p);
    ck_assert_ptr_null(node_open_image(p.g, "/nowhere/disk", "raw", NULL, 0, &p.err));
    ck_assert_msg(strstr(p.err.msg, "Could not open '/nowhere/disk': No such file"), "%s",
                  p.err.msg);
    ck_assert_ptr_null(node_open_image(p.g, p.path[0], "rwa", NULL, 0, &p.err));
    ck_assert_msg(strstr(p.err.msg, "Unknown driver 'rwa'") && strstr(p.err.msg, "'raw'"), "%s",
                  p.err.msg);
    ck_assert_ptr_null(node_open_image(p.g, "foo:bar", NULL, NULL, 0, &p.err));
    ck_assert_msg(strstr(p.err.msg, "Unknown protocol 'foo'"), "%s", p.err.msg);
    place_clear(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block");
    TCase *t = tcase_create("block");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_test(t, what_was_written_is_read_again);
    tcase_add_test(t, a_read_only_node_refuses_writes);
    tcase_add_test(t, an_image_in_use_is_refused_and_its_holder_may_be_read);
    tcase_add_test(t, unaligned_requests_pass_files_without_page_cache);
    tcase_add_loop_test(t, random_requests_agree_with_an_array, 0, 20);
    tcase_add_test(t, threads_that_wait_do_not_disturb_each_other);
    tcase_add_test(t, a_cycle_or_a_missing_file_is_named);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
