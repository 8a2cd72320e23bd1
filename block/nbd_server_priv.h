/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_server_priv - what the files of the NBD server share
 *
 * `lock` of the server guards lists, counts and `closing`; exports do not change otherwise and live
 * until `users` is 0.
 */
#ifndef BLOCK_NBD_SERVER_PRIV_H
#define BLOCK_NBD_SERVER_PRIV_H

#include "base/lock.h"
#include "block/bitmap.h"
#include "block/block_priv.h"
#include "block/nbd_proto.h"
#include "block/nbd_server.h"

enum { NBD_BITMAPS_MAX = 32 };

typedef struct Session Session;

struct NbdExport {
    NbdServer *server;
    char *id, *name, *description;
    BlockPort *port;
    uint64_t offset, size;
    uint32_t flags; /* transmission flags */
    bool allocation_depth;
    DirtyBitmap *bitmaps[NBD_BITMAPS_MAX];
    unsigned n_bitmaps;
    unsigned users; /* sessions */
    bool closing;
    NbdExport *next;
};

struct NbdServer {
    BlockGraph *graph;
    NbdServerOptions o;
    char *tls_authz;
    Lock lock;
    pthread_cond_t left; /* an export has one user less */
    _Atomic bool closing;
    NbdExport *exports;
    Session *sessions;
    unsigned n_sessions;
    Loop *loop; /* of the accepting thread */
    pthread_t thread;
    bool running, full; /* full: listeners are not watched */
    int listeners[8];
    unsigned n_listeners;
};

/* Contexts of a session, one bit each. */
enum { CONTEXT_BASE = 0, CONTEXT_DEPTH = 1, CONTEXT_BITMAP = 2 /* and those after it */ };

/* --- nbd_server.c --- */

/* Counts one more user of the export; NULL: there is none. */
NbdExport *export_use(NbdServer *s, const char *name);
void export_unuse(NbdExport *e);
/* Call on the main thread and wait for the answer; false if the server is closing. */
bool server_admits(NbdServer *s, const char *who);
void server_collect_post(NbdServer *s); /* a session ended */

/* --- nbd_session.c --- */

Session *session_new(NbdServer *s, int fd); /* on the accepting thread; NULL: no resources */
void session_join(Session *s);              /* after it ended */
bool session_has_ended(const Session *s);
void session_hang_up(Session *s);   /* any thread, with the server's lock */
Session **session_link(Session *s); /* next in the server's list */
NbdExport *session_export(const Session *s);

/* --- nbd_handshake.c --- */

typedef struct Chosen { /* what the client settled for */
    NbdExport *export;  /* used */
    bool structured;
    uint64_t contexts;
} Chosen;
bool handshake(NbdServer *s, NbdStream *stream, Chosen *out);

/* --- nbd_context.c --- */

/* Chunks of a block status reply for the contexts of @c; freshly allocated. 0 or -errno; may
 * block. */
int context_chunks(const Chosen *c, uint64_t handle, uint64_t at, uint32_t size, bool one,
                   uint8_t **out, size_t *out_size);
uint64_t context_match(const NbdExport *e, const char *query, size_t size, bool list);
char *context_name(const NbdExport *e, unsigned context); /* caller frees */
unsigned context_count(const NbdExport *e);

#endif
