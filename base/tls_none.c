/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_none - tls.h in a build without gnutls: there are no credentials, so there is nothing else */
#include <errno.h>

#include "base/tls.h"

bool tls_is_built(void)
{
    return false;
}

TlsCreds *tls_creds_new(const TlsParams *p, Error *err)
{
    (void)p;
    error_set(err, "TLS is not built in (./configure --enable-gnutls)");
    return NULL;
}

TlsCreds *tls_creds_ref(TlsCreds *c)
{
    return c;
}

void tls_creds_unref(TlsCreds *c)
{
    (void)c;
}

bool tls_creds_is_server(const TlsCreds *c)
{
    (void)c;
    return false;
}

const TlsIo tls_io_fd;

TlsSession *tls_session_new(TlsCreds *creds, const char *hostname, const TlsIo *io, Error *err)
{
    (void)creds;
    (void)hostname;
    (void)io;
    error_set(err, "TLS is not built in (./configure --enable-gnutls)");
    return NULL;
}

void tls_session_free(TlsSession *s)
{
    (void)s;
}

TlsStep tls_handshake(TlsSession *s, Error *err)
{
    (void)s;
    error_set(err, "TLS is not built in");
    return TLS_FAILED;
}

bool tls_handshake_wait(TlsSession *s, int fd, Error *err)
{
    (void)fd;
    return tls_handshake(s, err) == TLS_DONE;
}

const char *tls_peer_name(const TlsSession *s)
{
    (void)s;
    return NULL;
}

ssize_t tls_read(TlsSession *s, void *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
    return -ENOSYS;
}

ssize_t tls_write(TlsSession *s, const void *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
    return -ENOSYS;
}

bool tls_has_data(const TlsSession *s)
{
    (void)s;
    return false;
}

int tls_bye(TlsSession *s)
{
    (void)s;
    return -ENOSYS;
}

bool tls_aes_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], void *p, size_t n, Error *err)
{
    (void)key;
    (void)iv;
    (void)p;
    (void)n;
    return error_set(err, "encrypted secrets need gnutls (./configure --enable-gnutls)");
}
