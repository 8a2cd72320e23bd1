/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of the NBD client and server (block/nbd*.h), one talking to the other in one
 * process */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "block/bitmap.h"
#include "block/block.h"
#include "block/nbd_negotiate.h"
#include "block/nbd_server.h"
#include "tests/unit/unit.h"

enum { DISK = 8 << 20, DEPTH = 100 };

static char path[32], socket_path[64];
static BlockGraph *g;
static NbdServer *server;
static BlockNode *disk;

static SocketAddr address(void)
{
    SocketAddr a;

    socket_addr_init(&a);
    a.kind = SOCKET_UNIX;
    a.path = socket_path;
    return a;
}

static void setup(void)
{
    SocketAddr a = address();
    NbdServerOptions o = {.max_connections = 0};
    Error err = {0};
    int fd;

    snprintf(path, sizeof path, "/tmp/test_nbd.XXXXXX");
    close(mkstemp(path));
    snprintf(socket_path, sizeof socket_path, "%s.sock", path);
    ck_assert_int_eq(truncate(path, DISK), 0);
    g = graph_new(NULL, NULL);
    disk = node_open_image(g, path, "raw", NULL, NODE_UNMAP, &err);
    ck_assert_msg(disk, "%s", err.msg);
    server = nbd_server_new(g, &o, &err);
    ck_assert_msg(server, "%s", err.msg);
    fd = socket_listen(&a, 16, &err);
    ck_assert_msg(fd >= 0 && nbd_server_listen(server, fd, &err), "%s", err.msg);
}

static void teardown(void)
{
    nbd_server_free(server);
    node_unref(disk);
    graph_free(g);
    unlink(path);
    unlink(socket_path);
}

static NbdExport *export_disk(const NbdExportOptions *o)
{
    Error err = {0};
    NbdExport *e = nbd_export_new(server, disk, o, &err);

    ck_assert_msg(e, "%s", err.msg);
    return e;
}

static BlockNode *open_client(const char *export, const char *context, uint32_t flags, Error *err)
{
    json_t *o = json_pack("{s:s, s:s, s:{s:s, s:s}}", "driver", "nbd", "export", export, "server",
                          "type", "unix", "path", socket_path);

    if (context)
        json_object_set_new(o, "x-dirty-bitmap", json_string(context));
    return node_open(g, o, flags, err);
}

typedef struct Try {
    BlockReq r;
    struct iovec iov;
    unsigned *left;
} Try;

static void try_done(BlockReq *r)
{
    Try *t = r->owner;

    ck_assert_int_eq(r->result, 0);
    --*t->left;
}

START_TEST(many_requests_in_flight_keep_their_data)
{
    AUTO_FREE uint8_t *all = xalloc(DISK);
    BlockCtx *ctx = blockctx_new(NULL, NULL);
    static Try tries[DEPTH];
    unsigned left = DEPTH;
    BlockPort *port;
    BlockNode *n;

    export_disk(&(NbdExportOptions){.name = "", .writable = true});
    n = open_client("", NULL, 0, NULL);
    ck_assert_uint_eq(n->size, DISK);
    port = block_port_new(g, NULL, n, PERM_READ | PERM_WRITE, PERM_ALL, NULL);
    for (unsigned i = 0; i < DISK; i++)
        all[i] = (uint8_t)(i * 7 + i / 4096);
    for (int write = 1; write >= 0; write--) {
        left = DEPTH;
        for (unsigned i = 0; i < DEPTH; i++) {
            uint64_t at = i * (uint64_t)(DISK / DEPTH);
            void *buf = write ? all + at : xalloc(DISK / DEPTH);

            tries[i] = (Try){.iov = {buf, DISK / DEPTH}, .left = &left};
            tries[i].r = (BlockReq){.op = write ? BLOCK_WRITE : BLOCK_READ,
                                    .at = at,
                                    .size = DISK / DEPTH,
                                    .iov = &tries[i].iov,
                                    .n_iov = 1,
                                    .ctx = ctx,
                                    .done = try_done,
                                    .owner = &tries[i]};
            block_submit(port, &tries[i].r);
        }
        while (left)
            blockctx_poll(ctx, true);
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        ck_assert_mem_eq(tries[i].iov.iov_base, all + tries[i].r.at, DISK / DEPTH);
        xfree(tries[i].iov.iov_base);
    }
    block_port_free(port);
    blockctx_free(ctx);
    node_unref(n);
}
END_TEST

START_TEST(one_request_may_be_larger_than_the_protocol_takes)
{
    size_t size = 70 << 20;
    AUTO_FREE uint8_t *buf = try_alloc(size);
    BlockNode *n;

    ck_assert(node_truncate(disk, size, PREALLOC_OFF, false, NULL));
    export_disk(&(NbdExportOptions){.name = "", .writable = true});
    n = open_client("", NULL, 0, NULL);
    for (size_t i = 0; i < size; i += 4096)
        buf[i] = (uint8_t)(i >> 12) | 1;
    ck_assert_int_eq(node_write(n, 0, buf, size), 0);
    memset(buf, 0, size);
    ck_assert_int_eq(node_read(n, 0, buf, size), 0);
    for (size_t i = 0; i < size; i += 4096)
        ck_assert_uint_eq(buf[i], (uint8_t)(i >> 12) | 1);
    node_unref(n);
}
END_TEST

START_TEST(zeroes_and_holes_are_told_apart_from_data)
{
    char buf[8192];
    BlockNode *n;
    Extent e;

    export_disk(&(NbdExportOptions){.name = "x", .writable = true});
    n = open_client("x", NULL, NODE_UNMAP, NULL);
    memset(buf, 1, sizeof buf);
    ck_assert_int_eq(node_write(n, 65536, buf, sizeof buf), 0);
    ck_assert_int_eq(node_flush(n), 0);
    ck_assert_int_eq(node_status(n, 0, DISK, &e), 0);
    ck_assert_int_eq(e.kind, EXTENT_ZERO);
    ck_assert_uint_eq(e.size, 65536);
    ck_assert_int_eq(node_status(n, 65536, DISK - 65536, &e), 0);
    ck_assert_int_eq(e.kind, EXTENT_DATA);
    ck_assert_uint_eq(e.size, sizeof buf);
    ck_assert_int_eq(node_zero(n, 65536, 4096, BLOCK_MAY_UNMAP), 0);
    ck_assert_int_eq(node_discard(n, 65536 + 4096, 4096), 0);
    ck_assert_int_eq(node_read(n, 65536, buf, 4096), 0);
    for (unsigned i = 0; i < 4096; i++)
        ck_assert_int_eq(buf[i], 0);
    node_unref(n);
}
END_TEST

START_TEST(a_dirty_bitmap_is_a_context)
{
    static const char *const names[] = {"b"};
    DirtyBitmap *b = bitmap_new(disk, "b", 65536, NULL);
    BlockNode *n;
    Extent e;

    bitmap_enable(b, false);
    bitmap_set(b, 2 * 65536, 65536);
    export_disk(&(NbdExportOptions){.name = "", .bitmaps = names, .n_bitmaps = 1});
    ck_assert(bitmap_is_busy(b));
    n = open_client("", "qemu:dirty-bitmap:b", NODE_READ_ONLY, NULL);
    ck_assert_ptr_nonnull(n);
    ck_assert_int_eq(node_status(n, 0, DISK, &e), 0);
    ck_assert_int_eq(e.kind, EXTENT_DATA);
    ck_assert_uint_eq(e.size, 2 * 65536);
    ck_assert_int_eq(node_status(n, 2 * 65536, 65536 * 4, &e), 0);
    ck_assert_int_eq(e.kind, EXTENT_UNALLOCATED); /* dirty, in the way QEMU's client says it */
    ck_assert_uint_eq(e.size, 65536);
    ck_assert_ptr_null(open_client("", "qemu:dirty-bitmap:c", NODE_READ_ONLY, NULL));
    node_unref(n);
}
END_TEST

START_TEST(an_export_in_use_goes_only_by_force)
{
    NbdExport *e = export_disk(&(NbdExportOptions){.name = "a", .writable = true});
    Error err = {0};
    BlockNode *n;
    char byte;

    ck_assert_ptr_null(nbd_export_new(server, disk, &(NbdExportOptions){.name = "a"}, &err));
    ck_assert_ptr_null(open_client("b", NULL, 0, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "export not available"));
    n = open_client("a", NULL, 0, NULL);
    ck_assert_ptr_nonnull(n);
    ck_assert_uint_eq(nbd_export_connections(e), 1);
    ck_assert(!nbd_export_free(e, false, &err));
    ck_assert_ptr_nonnull(nbd_export_find(server, "a"));
    ck_assert(nbd_export_free(e, true, &err));
    ck_assert_ptr_null(nbd_export_find(server, "a"));
    ck_assert_int_eq(node_read(n, 0, &byte, 1), -EIO);
    node_unref(n);
}
END_TEST

START_TEST(a_read_only_export_refuses_writers)
{
    BlockNode *n;

    export_disk(&(NbdExportOptions){.name = "", .description = "text"});
    ck_assert_ptr_null(open_client("", NULL, 0, NULL));
    n = open_client("", NULL, NODE_AUTO_READ_ONLY, NULL);
    ck_assert(node_is_read_only(n));
    node_unref(n);
}
END_TEST

START_TEST(the_list_names_exports_and_contexts)
{
    SocketAddr a = address();
    NbdWant want = {.export = ""};
    NbdStream s = {.fd = socket_connect_wait(&a, NULL), .cancel_fd = -1};
    NbdListed *l;
    unsigned n;

    export_disk(&(NbdExportOptions){.name = "a", .description = "first", .allocation_depth = true});
    export_disk(&(NbdExportOptions){.name = "b", .writable = true, .offset = 4096, .size = 8192});
    ck_assert(nbd_negotiate_list(&s, &want, &l, &n, NULL));
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(l[0].name, "a");
    ck_assert_str_eq(l[0].description, "first");
    ck_assert_uint_eq(l[0].n_contexts, 2);
    ck_assert_str_eq(l[0].contexts[1], "qemu:allocation-depth");
    ck_assert(l[0].info.flags & NBD_READ_ONLY);
    ck_assert_uint_eq(l[1].info.size, 8192);
    ck_assert_uint_eq(l[1].n_contexts, 1);
    nbd_listed_free(l, n);
    nbd_stream_close(&s);
}
END_TEST

START_TEST(names_of_servers_are_understood)
{
    static const struct {
        const char *name, *type, *where, *export;
    } good[] = {
        {"nbd:localhost:10809", "inet", "10809", NULL},
        {"nbd:[::1]:99:exportname=a b", "inet", "99", "a b"},
        {"nbd:unix:/tmp/x:exportname=e", "unix", "/tmp/x", "e"},
        {"nbd://host", "inet", "10809", NULL},
        {"nbd://[::1]:7/name", "inet", "7", "name"},
        {"nbd+tcp://host:8/%61%2Fb", "inet", "8", "a/b"},
        {"nbd+unix:///e?socket=/tmp/%78", "unix", "/tmp/x", "e"},
    };
    static const char *const bad[] = {"nbd:",
                                      "nbd:host",
                                      "nbd:[::1",
                                      "nbd+unix:///e",
                                      "nbd+unix:///e?s=/x",
                                      "nbd://h/%zz",
                                      "nbd+tls://h/",
                                      "nbd://h/%00",
                                      "nbd://h/e?socket=/x",
                                      "nbd+unix://host/e?socket=/x"};
    const BlockDriver *d = block_driver_find("nbd");

    for (unsigned i = 0; i < COUNT_OF(good); i++) {
        json_t *o = json_object(), *server_json;
        const char *where;

        ck_assert_msg(d->parse_filename(good[i].name, o, NULL), "%s", good[i].name);
        server_json = json_object_get(o, "server");
        where = json_string_value(
            json_object_get(server_json, strcmp(good[i].type, "unix") ? "port" : "path"));
        ck_assert_str_eq(json_string_value(json_object_get(server_json, "type")), good[i].type);
        ck_assert_str_eq(where, good[i].where);
        ck_assert_pstr_eq(json_string_value(json_object_get(o, "export")), good[i].export);
        json_decref(o);
    }
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        json_t *o = json_object();

        ck_assert_msg(!d->parse_filename(bad[i], o, NULL), "%s", bad[i]);
        json_decref(o);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {many_requests_in_flight_keep_their_data,
                                  one_request_may_be_larger_than_the_protocol_takes,
                                  zeroes_and_holes_are_told_apart_from_data,
                                  a_dirty_bitmap_is_a_context,
                                  an_export_in_use_goes_only_by_force,
                                  a_read_only_export_refuses_writers,
                                  the_list_names_exports_and_contexts,
                                  names_of_servers_are_understood};
    TCase *t = tcase_create("nbd");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    for (unsigned i = 0; i < COUNT_OF(tests); i++)
        tcase_add_test(t, tests[i]);
    return unit_run_case("nbd", t);
}
