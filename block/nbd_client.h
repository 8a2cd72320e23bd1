/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_client - a connection to an NBD server that is kept up
 */
#ifndef BLOCK_NBD_CLIENT_H
#define BLOCK_NBD_CLIENT_H

#include "base/socket_addr.h"
#include "block/block.h"
#include "block/nbd_negotiate.h"

typedef struct NbdClient NbdClient;

typedef struct
    NbdClientOptions { /* what pointers point to stays the caller's, until nbd_client_free() */
    const SocketAddr *addr;
    const char *name; /* for messages */
    const char *export;
    const char *context; /* "base:allocation" or a dirty bitmap's */
    TlsCreds *creds;
    const char *hostname;
    uint32_t reconnect_delay, open_timeout; /* s */
} NbdClientOptions;

/* Connects, waiting, and goes on for open_timeout. */
NbdClient *nbd_client_new(const NbdClientOptions *o, Error *err);
void nbd_client_free(NbdClient *c); /* nothing is in flight; NULL is fine */
const NbdInfo *nbd_client_info(
    const NbdClient *c); /* of the first connection; the size never changes */
void nbd_client_submit(NbdClient *c, BlockReq *r);                            /* any thread */
int nbd_client_status(NbdClient *c, uint64_t at, uint64_t size, Extent *out); /* waits */

#endif
