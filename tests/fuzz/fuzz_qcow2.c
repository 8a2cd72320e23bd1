/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_qcow2 - hostile images: a good one with words changed at will, opened, read, checked,
 * changed
 *
 * Input: a byte of options, a byte of what to do, then records of an offset (2 bytes, in words of
 * 8) and the word.  Nothing may crash, hang, or take memory that the file's size does not explain.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "block/bitmap.h"
#include "block/block.h"

enum { DISK_MAX = 8 << 20, IMAGE_SIZE = 1 << 20, RECORD = 10 };

static uint8_t *disk;
static uint64_t disk_size;

static int ram_read(const BlockReq *r)
{
    uint64_t at = r->at;

    for (int i = 0; i < r->n_iov; i++) {
        uint64_t len = r->iov[i].iov_len, has = at >= disk_size ? 0 : MIN(len, disk_size - at);

        if (has)
            memcpy(r->iov[i].iov_base, disk + at, has);
        memset((char *)r->iov[i].iov_base + has, 0, len - has);
        at += len;
    }
    return 0;
}

static int ram_write(const BlockReq *r)
{
    uint64_t at = r->at;

    if (at > DISK_MAX || r->size > DISK_MAX - at)
        return -ENOSPC;
    for (int i = 0; i < r->n_iov; at += r->iov[i++].iov_len)
        memcpy(disk + at, r->iov[i].iov_base, r->iov[i].iov_len);
    if (r->op == BLOCK_ZERO)
        memset(disk + at, 0, r->size);
    disk_size = MAX(disk_size, r->at + r->size);
    return 0;
}

static void ram_submit(BlockNode *n, BlockReq *r)
{
    int rc = r->op == BLOCK_READ                           ? ram_read(r)
             : r->op == BLOCK_WRITE || r->op == BLOCK_ZERO ? ram_write(r)
                                                           : 0;

    n->size = disk_size;
    blockreq_complete(r, rc);
}

static bool ram_open(BlockNode *n, const void *options, Error *err)
{
    (void)options, (void)err;
    n->size = disk_size;
    n->filename = xstrdup("ram");
    return true;
}

static bool ram_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    (void)p, (void)exact;
    if (size > DISK_MAX)
        return error_set(err, "too large");
    if (size < disk_size)
        memset(disk + size, 0, disk_size - size);
    n->size = size;
    disk_size = size;
    return true;
}

static BlockDriver ram_driver = {.name = "fuzz-ram",
                                 .doc = "disk in memory",
                                 .kind = DRIVER_PROTOCOL,
                                 .open = ram_open,
                                 .submit = ram_submit,
                                 .truncate = ram_truncate};
BLOCK_DRIVER_REGISTER(ram_driver)

static BlockNode *open_image(BlockGraph *g, uint32_t flags)
{
    return node_open(g,
                     json_pack("{s:s, s:{s:s}}", "driver", "qcow2", "file", "driver", "fuzz-ram"),
                     flags, NULL);
}

static void create(BlockGraph *g, uint8_t how)
{
    BlockNode *n =
        node_open(g, json_pack("{s:s, s:s}", "driver", "fuzz-ram", "node-name", "f"), 0, NULL);
    bool extended = how & 1;
    json_t *o =
        json_pack("{s:s, s:i, s:i, s:b, s:b}", "file", "f", "size", IMAGE_SIZE, "cluster-size",
                  extended  ? 16384
                  : how & 2 ? 512
                            : 4096,
                  "extended-l2", extended, "lazy-refcounts", how & 4);

    if (how & 8)
        json_object_set_new(o, "refcount-bits", json_integer(1 << (how >> 4 & 3) << 1));
    block_driver_find("qcow2")->create(g, o, NULL);
    json_decref(o);
    node_unref(n);
}

static void furnish(BlockGraph *g, uint8_t how)
{
    BlockNode *n = open_image(g, 0);
    SnapshotInfo s = {.name = (char *)(uintptr_t) "s"};
    uint8_t buf[4096] = {1, 2, 3};
    struct iovec iov = {buf, sizeof buf};
    DirtyBitmap *b;

    if (!n)
        return;
    node_write(n, 0, buf, sizeof buf);
    node_write(n, IMAGE_SIZE / 2, buf, sizeof buf);
    node_io(n, BLOCK_WRITE, 65536, &iov, 1, n->cluster_size == 4096 ? 4096 : 0, BLOCK_COMPRESS);
    if (how & 64)
        n->drv->snapshots->create(n, &s, NULL);
    node_write(n, 0, buf, sizeof buf);
    if (how & 128) {
        b = bitmap_new(n, "b", 4096, NULL);
        bitmap_set_persistent(b, true);
        bitmap_set(b, 0, 5000);
    }
    node_unref(n);
}

static void use(BlockGraph *g, uint8_t what)
{
    uint32_t flags = what & 1 ? NODE_READ_ONLY : 0;
    BlockNode *n = open_image(g, flags | (what & 2 ? NODE_CHECK : 0));
    CheckReport rep = {.quiet = true};
    uint8_t buf[8192] = {9};
    json_t *info;

    if (!n)
        return;
    info = n->drv->info(n);
    json_decref(info);
    for (uint64_t at = 0; at < MIN((uint64_t)n->size, (uint64_t)IMAGE_SIZE); at += 65536)
        node_read(n, at, buf, MIN(sizeof buf, n->size - at));
    if (what & 4)
        n->drv->check(n, what & 1 ? 0 : what >> 6, &rep, NULL);
    if (!(what & 1) && n->size >= 3 * 65536) {
        node_write(n, 1000, buf, sizeof buf);
        node_zero(n, 65536, 65536, what & 8 ? BLOCK_MAY_UNMAP : 0);
        node_discard(n, 0, 65536);
    }
    if (what & 16)
        n->drv->snapshots->apply(n, "s", NULL);
    if (what & 32)
        n->drv->snapshots->remove(n, "s", NULL);
    if (what & 8)
        node_truncate(n, IMAGE_SIZE * 2, PREALLOC_OFF, true, NULL);
    node_flush(n);
    node_unref(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BlockGraph *g;

    if (size < 2)
        return 0;
    if (!disk) {
        disk = xalloc(DISK_MAX);
        log_open("/dev/null", 0, NULL);
    }
    memset(disk, 0, disk_size);
    disk_size = 0;
    g = graph_new(NULL, NULL);
    create(g, data[0]);
    furnish(g, data[0]);
    for (size_t i = 2; i + RECORD <= size; i += RECORD) {
        uint64_t at = (uint64_t)get_le16(data + i) * 8;

        if (at + 8 <= DISK_MAX)
            memcpy(disk + at, data + i + 2, 8);
    }
    use(g, data[1]);
    use(g, data[1] >> 1);
    graph_free(g);
    return 0;
}
