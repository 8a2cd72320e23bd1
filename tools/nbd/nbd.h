/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd - what the files of rhea-nbd share */
#ifndef TOOLS_NBD_NBD_H
#define TOOLS_NBD_NBD_H

#include "base/socket_addr.h"
#include "block/nbd_server.h"

enum { NBD_ARGS_BITMAPS = 32 };

typedef struct NbdArgs {
    const char *program;
    const char *file; /* NULL with list */
    const char *format, *export, *description, *snapshot_name, *detect_zeroes;
    const char *tls_creds, *tls_authz, *tls_hostname, *pid_file;
    SocketAddr addr; /* to listen on; for list: to connect to */
    const char *bitmaps[NBD_ARGS_BITMAPS];
    unsigned n_bitmaps;
    const char *objects[64];
    unsigned n_objects;
    uint64_t offset;
    unsigned shared;
    uint32_t flags; /* NODE_* */
    bool image_opts, temporary, persistent, allocation_depth, fork, list, verbose;
} NbdArgs;

/* False: *status is to be the exit status, everything has been said. */
bool nbd_args_parse(NbdArgs *a, int argc, char **argv, int *status);
/* The exports of the server at @a->addr; the exit status. */
int nbd_list(const NbdArgs *a, TlsCreds *creds);

#endif
