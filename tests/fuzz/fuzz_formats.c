/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_formats - image files of any content: vdi, vmdk, vpc, vhdx, luks
 *
 * The first byte picks the format and whether it is opened for writing, the second what is done;
 * the rest is the file.  Whatever opens is mapped, read, written, flushed and checked.  Files of
 * vhdx are said in pieces, since they are large and full of checksums: place in units of 4 KiB,
 * size, bytes.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/block.h"

enum { PIECE = 4096, EXTENTS_MAX = 64 };

static void look_around(BlockNode *n, unsigned what)
{
    static uint8_t buf[PIECE];
    uint64_t at = 0;

    for (unsigned i = 0; i < EXTENTS_MAX && at < n->size; i++) {
        Extent e = {0};

        if (node_status(n, at, n->size - at, &e) < 0 || e.size == 0)
            break;
        node_read(n, at, buf, MIN(e.size, (uint64_t)PIECE));
        at += e.size;
    }
    if (n->size > PIECE)
        node_read(n, n->size - PIECE, buf, PIECE);
    if (!node_is_read_only(n)) {
        at = n->size ? what * UINT64_C(40503) * 512 % n->size : 0;
        node_write(n, at, buf, MIN(n->size - at, (uint64_t)PIECE));
        node_zero(n, at / 2, MIN(n->size - at / 2, (uint64_t)PIECE), 0);
        node_flush(n);
    }
    if (n->drv->info)
        json_decref(n->drv->info(n));
    if (n->drv->check)
        n->drv->check(n, 0, &(CheckReport){.quiet = true}, NULL);
}

/* --- vhdx --- */

enum { SECTOR = 4096, VHDX_FILE = 5 << 20 };

/* CRC-32C at 4. */
static void sign(uint8_t *p, size_t size)
{
    uint32_t crc = ~0u;

    put_le32(p + 4, 0);
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    put_le32(p + 4, ~crc);
}

/* An image with one block, for pieces to be put into. */
static void vhdx_start(uint8_t *p)
{
    static const uint8_t ids[4][16] = {
        "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a",
        "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88",
        "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7",
        "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4"};
    static const uint8_t sector_id[16] =
        "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab";
    static const uint8_t last[4] = {0x08, 0x6e, 0x6b, 0xb8};
    uint8_t *head = p + 65536, *regions = p + 196608, *meta = p + (3 << 20);

    memset(p, 0, VHDX_FILE);
    memcpy(p, "vhdxfile", 8);
    memcpy(head, "head\0\0\0\0\1", 9);
    head[48] = 1; /* there is a log */
    put_le16(head + 66, 1);
    put_le32(head + 68, 1 << 20);
    put_le64(head + 72, 1 << 20);
    memcpy(regions, "regi\0\0\0\0\2", 9);
    memcpy(meta, "metadata\0\0\3", 11);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *e = i < 2 ? regions + 16 + 32 * i : meta + 32 * (i - 1);

        memcpy(e, ids[i], 15);
        e[15] = last[i];
        put_le64(e + 16, i < 2 ? (2 + i) << 20 : 65536 + 8 * (i - 2) + (8ull << 32));
        put_le32(e + 24, i < 2 ? 1 << 20 : 4);
    }
    memcpy(meta + 96, sector_id, 15);
    meta[96 + 15] = 0x5f;
    put_le64(meta + 96 + 16, 65552 + (4ull << 32));
    put_le32(meta + 65536, 1 << 20);
    put_le64(meta + 65544, 1 << 20);
    put_le32(meta + 65552, 512);
    put_le64(p + (2 << 20), (4 << 20) + 6);
}

/* Whatever looks as if it had a checksum gets a true one. */
static void vhdx_sign_all(uint8_t *p)
{
    sign(p + 65536, SECTOR);
    sign(p + 131072, SECTOR);
    sign(p + 196608, 65536);
    for (size_t at = 1 << 20; at < 2 << 20; at += SECTOR) {
        uint32_t size = get_le32(p + at + 8);

        if (!memcmp(p + at, "loge", 4) && size <= 16 * SECTOR)
            sign(p + at, size < 12 ? 12 : size);
    }
}

static size_t vhdx_make(uint8_t *p, const uint8_t *data, size_t size)
{
    vhdx_start(p);
    while (size >= 4) {
        size_t at = get_le16(data) * (size_t)SECTOR, n = get_le16(data + 2);

        data += 4;
        size -= 4;
        n = MIN(n, size);
        if (at + n > VHDX_FILE)
            break;
        memcpy(p + at, data, n);
        data += n;
        size -= n;
    }
    vhdx_sign_all(p);
    return VHDX_FILE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"vdi", "vmdk", "vpc", "vhdx", "luks"};
    static uint8_t vhdx[VHDX_FILE];
    char path[64];
    uint32_t flags = NODE_NO_BACKING;
    BlockGraph *g;
    BlockNode *n;
    unsigned first, what;
    int fd;

    if (size < 2 || (fd = memfd_create("image", 0)) < 0)
        return 0;
    first = data[0];
    what = data[1];
    data += 2;
    size -= 2;
    if (!strcmp(formats[first % 5], "vhdx")) {
        size = vhdx_make(vhdx, data, size);
        data = vhdx;
    }
    if (write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    flags |= first & 128 ? 0 : NODE_READ_ONLY;
    flags |= !strcmp(formats[first % 5], "luks") ? NODE_NO_IO : 0;
    g = graph_new(NULL, NULL);
    n = node_open_image(g, path, formats[first % 5], NULL, flags, NULL);
    if (n) {
        if (!(flags & NODE_NO_IO))
            look_around(n, what);
        node_unref(n);
    }
    graph_free(g);
    close(fd);
    return 0;
}
