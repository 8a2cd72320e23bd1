/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket_addr - addresses of stream and datagram sockets, as QEMU writes them; listening,
 * connecting
 *
 * Text: "host:port[,to=N][,ipv4][,ipv6][,keep-alive]", "[v6]:port", "unix:path", "fd:name-or-
 * number". JSON: {"type":"inet","host","port",...}, also with the members in "data".
 */
#ifndef BASE_SOCKET_ADDR_H
#define BASE_SOCKET_ADDR_H

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"
#include "base/loop.h"

typedef enum SocketKind { SOCKET_INET, SOCKET_UNIX, SOCKET_FD } SocketKind;
typedef struct SocketAddr {
    SocketKind kind;
    char *host, *port; /* inet; host "" or NULL: any */
    uint16_t to;       /* listen: try ports up to this one; 0: only `port` */
    int8_t ipv4, ipv6; /* 1 on, 0 off, -1 not said */
    bool keep_alive, numeric;
    char *path; /* unix */
    bool abstract, tight;
    char *fd; /* fd: a number (inherited), or a name (getfd) */
} SocketAddr;

void socket_addr_init(SocketAddr *a); /* nothing said */
void socket_addr_free(SocketAddr *a); /* its strings */
bool socket_addr_parse(SocketAddr *a, const char *text, Error *err);
bool socket_addr_parse_inet(SocketAddr *a, const char *text, Error *err); /* host:port,... */
/* Takes the members it knows out of @j (a caller's other members stay); {"type", ...}. */
bool socket_addr_take_json(SocketAddr *a, json_t *j, Error *err);
bool socket_addr_from_json(SocketAddr *a, const json_t *j, Error *err); /* nothing else in it */
json_t *socket_addr_to_json(const SocketAddr *a);
char *socket_addr_text(const SocketAddr *a); /* "127.0.0.1:4444", "unix:path"; caller frees */
bool socket_addr_of(SocketAddr *a, int fd, bool peer, Error *err); /* of a socket's end */

/* If it is a descriptor by name: @take it (-1: its message) and be its number.  False also if it
 * is no socket. */
bool socket_addr_take_fd(SocketAddr *a, int (*take)(void *arg, const char *name, Error *err),
                         void *arg, Error *err);

/* All descriptors are close-on-exec and non-blocking.  -1: failed.  A file descriptor of kind fd is
 * taken over. */
int socket_listen(const SocketAddr *a, int backlog, Error *err);
int socket_accept(int listener, Error *err);              /* -1 without text: nobody waits */
int socket_connect_wait(const SocketAddr *a, Error *err); /* blocks; also resolves names */
int socket_datagram(const SocketAddr *local, const SocketAddr *remote, Error *err); /* UDP */

/* Connect without blocking the loop: @fn is called later on it, once, with a descriptor or -1. */
typedef struct SocketConnect SocketConnect;
typedef void SocketConnectFn(void *arg, int fd, const Error *err);
SocketConnect *socket_connect(const SocketAddr *a, Loop *loop, SocketConnectFn *fn, void *arg);
void socket_connect_cancel(SocketConnect *c); /* loop thread, before fn: it will not be called */

#endif
