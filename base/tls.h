/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls - sessions over any byte stream, and their credentials (gnutls; RFC 8446, 5246, 4279)
 *
 * Without CONFIG_GNUTLS every constructor fails with a message that says so.  Credentials may be
 * shared between threads; a session belongs to one thread at a time.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

typedef struct TlsCreds TlsCreds;
typedef struct TlsSession TlsSession;

typedef enum TlsKind { TLS_ANON, TLS_PSK, TLS_X509 } TlsKind;
typedef struct TlsParams { /* files of @dir as QEMU names them: ca-cert.pem, server-key.pem ... */
    TlsKind kind;
    bool server, verify_peer;
    const char *dir;
    const char *priority; /* gnutls priority string, NULL: the system's */
    const char *password; /* of the private key, NULL: none */
    const char *username; /* PSK clients; NULL: "qemu" */
} TlsParams;

bool tls_is_built(void);
TlsCreds *tls_creds_new(const TlsParams *p, Error *err);
TlsCreds *tls_creds_ref(TlsCreds *c);
void tls_creds_unref(TlsCreds *c); /* NULL is fine */
bool tls_creds_is_server(const TlsCreds *c);

/* The stream below: bytes moved, 0: its end (read), -EAGAIN or another -errno. */
typedef struct TlsIo {
    ssize_t (*read)(void *arg, void *p, size_t n);
    ssize_t (*write)(void *arg, const void *p, size_t n);
    void *arg;
} TlsIo;
extern const TlsIo tls_io_fd; /* arg: (void *)(intptr_t)fd of a socket */

/* @hostname: what a client expects of the server's certificate, NULL: not checked. */
TlsSession *tls_session_new(TlsCreds *creds, const char *hostname, const TlsIo *io, Error *err);
void tls_session_free(TlsSession *s); /* says nothing to the peer; NULL is fine */

typedef enum TlsStep { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_FAILED } TlsStep;
/* Go on with the handshake; the peer's certificate is verified at its end. */
TlsStep tls_handshake(TlsSession *s, Error *err);
/* The same over a blocking or non-blocking socket @fd until done. */
bool tls_handshake_wait(TlsSession *s, int fd, Error *err);
/* The distinguished name of the peer's certificate or a PSK user's name; NULL: none.  Valid as long
 * as the session. */
const char *tls_peer_name(const TlsSession *s);

ssize_t tls_read(TlsSession *s, void *p, size_t n);        /* 0: end; -EAGAIN; -errno */
ssize_t tls_write(TlsSession *s, const void *p, size_t n); /* -EAGAIN: call again with the same */
bool tls_has_data(const TlsSession *s); /* decrypted bytes wait: the descriptor will not say so */
int tls_bye(TlsSession *s);             /* close our direction: 0, -EAGAIN, -errno */

/* AES-256-CBC in place, @n a multiple of 16; what secrets are wrapped in. */
bool tls_aes_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], void *p, size_t n,
                         Error *err);

#endif
