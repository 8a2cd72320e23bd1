/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_negotiate - a client's way through the NBD handshake, until transmission begins or a list is
 * had
 *
 * Threads that may block; a stream's `due` and `cancel_fd` bound the waiting.
 */
#ifndef BLOCK_NBD_NEGOTIATE_H
#define BLOCK_NBD_NEGOTIATE_H

#include "block/nbd_proto.h"

typedef struct NbdWant {
    const char *export;   /* "": the default one */
    const char *context;  /* metadata context to ask for; NULL: none */
    TlsCreds *creds;      /* NULL: plain */
    const char *hostname; /* what the server's certificate must be for; NULL: not checked */
} NbdWant;

typedef struct NbdInfo {
    uint64_t size;
    uint32_t flags;                                 /* transmission flags */
    uint32_t min_block, preferred_block, max_block; /* 0: not said */
    bool structured;
    bool has_context;
    uint32_t context_id;
} NbdInfo;

/* On success requests may be sent. */
bool nbd_negotiate(NbdStream *s, const NbdWant *want, NbdInfo *out, Error *err);

typedef struct NbdListed {
    char *name, *description; /* description NULL: none */
    bool has_info;
    NbdInfo info;
    char **contexts;
    unsigned n_contexts;
} NbdListed;

/* What the server offers; ends the session. */
bool nbd_negotiate_list(NbdStream *s, const NbdWant *want, NbdListed **out, unsigned *n,
                        Error *err);
void nbd_listed_free(NbdListed *l, unsigned n);

#endif
