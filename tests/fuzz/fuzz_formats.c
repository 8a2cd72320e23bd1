/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_formats - image files of any content: vdi, vmdk, vpc, vhdx, luks
 *
 * The first byte picks the format and whether it is opened for writing, the second what is done; the
 * rest is the file.  Whatever opens is mapped, read, written and flushed.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"vdi", "vmdk", "vpc", "vhdx", "luks"};
    char path[64];
    uint32_t flags = NODE_NO_BACKING;
    BlockGraph *g;
    BlockNode *n;
    int fd;

    if (size < 2 || (fd = memfd_create("image", 0)) < 0)
        return 0;
    if (write(fd, data + 2, size - 2) != (ssize_t)(size - 2))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    flags |= data[0] & 128 ? 0 : NODE_READ_ONLY;
    flags |= !strcmp(formats[data[0] % 5], "luks") ? NODE_NO_IO : 0;
    g = graph_new(NULL, NULL);
    n = node_open_image(g, path, formats[data[0] % 5], NULL, flags, NULL);
    if (n) {
        if (!(flags & NODE_NO_IO))
            look_around(n, data[1]);
        node_unref(n);
    }
    graph_free(g);
    close(fd);
    return 0;
}
