/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_nbd - the other side says anything: NBD client (first byte even) and server (odd)
 *
 * The client opens a node over a socket whose other end has sent the input and reads what comes.
 * The server gets the input as what a client sends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "block/block.h"
#include "block/nbd_server.h"

enum { IMAGE_SIZE = 1 << 20 };

static void send_all(int fd, const uint8_t *p, size_t size)
{
    while (size) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n <= 0)
            break;
        p += n;
        size -= (size_t)n;
    }
    shutdown(fd, SHUT_WR);
}

static void be_server(const uint8_t *data, size_t size)
{
    static uint8_t buf[65536];
    BlockGraph *g = graph_new(NULL, NULL);
    char number[16];
    BlockNode *n;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        abort();
    send_all(fds[1], data, size);
    snprintf(number, sizeof number, "%d", fds[0]);
    n = node_open(
        g, json_pack("{s:s, s:{s:s, s:s}}", "driver", "nbd", "server", "type", "fd", "str", number),
        NODE_READ_ONLY, NULL);
    if (n) {
        Extent e;

        node_status(n, 0, n->size, &e);
        node_read(n, 0, buf, MIN((uint64_t)n->size, (uint64_t)sizeof buf));
        node_unref(n);
    }
    graph_free(g);
    close(fds[1]);
}

/* The listener is what accept() needs; the client connects to it by its abstract name. */
static void be_client(const uint8_t *data, size_t size)
{
    BlockGraph *g = graph_new(NULL, NULL);
    BlockNode *n = node_open(
        g, json_pack("{s:s, s:i, s:b}", "driver", "null-co", "size", IMAGE_SIZE, "read-zeroes", 1),
        0, NULL);
    NbdServerOptions so = {.handshake_ms = 1000};
    NbdExportOptions eo = {.name = "", .writable = true, .allocation_depth = true};
    NbdServer *s = nbd_server_new(g, &so, NULL);
    AUTO_FREE char *name = xasprintf("fuzz_nbd.%d", (int)getpid());
    SocketAddr a;
    char drain[4096];
    int listener, fd;

    socket_addr_init(&a);
    a.kind = SOCKET_UNIX;
    a.path = xstrdup(name);
    a.abstract = true;
    a.tight = true;
    listener = socket_listen(&a, 1, NULL);
    if (!n || !s || listener < 0 || !nbd_export_new(s, n, &eo, NULL) ||
        !nbd_server_listen(s, listener, NULL) || (fd = socket_connect_wait(&a, NULL)) < 0)
        abort();
    send_all(fd, data, size);
    while (recv(fd, drain, sizeof drain, 0) > 0 || errno == EAGAIN) {
        if (nbd_server_connections(s) == 0)
            break;
        usleep(50);
    }
    close(fd);
    nbd_server_free(s);
    node_unref(n);
    graph_free(g);
    socket_addr_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        be_client(data + 1, size - 1);
    else
        be_server(data + 1, size - 1);
    return 0;
}
