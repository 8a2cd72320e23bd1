/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_server - disks for NBD clients
 *
 * One thread accepts, one serves each client: a slow or hostile one holds up nobody else.
 * Everything here is called on the main thread; exports hold a port on their node.
 */
#ifndef BLOCK_NBD_SERVER_H
#define BLOCK_NBD_SERVER_H

#include "base/socket_addr.h"
#include "base/tls.h"
#include "block/block.h"

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

typedef struct NbdServerOptions {
    TlsCreds *creds;          /* NULL: no TLS; a reference of the server's own is taken */
    bool tls_optional;        /* clients may also come without */
    const char *tls_authz;    /* access list of client names; NULL: everybody; needs `main` */
    unsigned max_connections; /* 0: any number */
    unsigned handshake_ms;    /* patience with clients that do not choose an export; 0: 10 s */
    Loop *main;               /* of the main thread; NULL: `changed` is not called */
    void (*changed)(void *arg,
                    unsigned connections); /* on it, after clients came or went; may be NULL */
    void *arg;
} NbdServerOptions;

NbdServer *nbd_server_new(BlockGraph *g, const NbdServerOptions *o, Error *err);
/* @listener: a listening socket, taken over. */
bool nbd_server_listen(NbdServer *s, int listener, Error *err);
void nbd_server_free(NbdServer *s); /* hangs up, ends the exports; NULL is fine */
unsigned nbd_server_connections(const NbdServer *s);

typedef struct NbdExportOptions {
    const char *id;          /* NULL: none; for the management's own use */
    const char *name;        /* unique, up to 4096 bytes; "": the default export */
    const char *description; /* NULL: none */
    bool writable;           /* if the node is */
    bool allocation_depth;
    const char *const *bitmaps; /* qemu:dirty-bitmap contexts, of the node or its backing chain */
    unsigned n_bitmaps;
    bool writethrough;     /* every write is on disk when it is done */
    uint64_t offset, size; /* a part of the node, from @offset; size 0: up to its end */
} NbdExportOptions;

NbdExport *nbd_export_new(NbdServer *s, BlockNode *n, const NbdExportOptions *o, Error *err);
NbdExport *nbd_export_find(NbdServer *s, const char *name);
NbdExport *nbd_export_next(NbdServer *s, const NbdExport *e); /* NULL starts */
const char *nbd_export_id(const NbdExport *e);
const char *nbd_export_name(const NbdExport *e);
BlockNode *nbd_export_node(const NbdExport *e);
unsigned nbd_export_connections(const NbdExport *e);
/* @hard: hang up on its clients; else refused while there are any. */
bool nbd_export_free(NbdExport *e, bool hard, Error *err);

#endif
