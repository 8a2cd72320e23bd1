/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls - sessions and credentials by gnutls; tls.h has the contract */
#include "base/tls.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/strbuf.h"

struct TlsCreds {
    atomic_uint refs;
    TlsKind kind;
    bool server, verify_peer;
    char *priority; /* complete, with what the kind needs; NULL: gnutls's default */
    union {
        gnutls_anon_server_credentials_t anon_server;
        gnutls_anon_client_credentials_t anon_client;
        gnutls_psk_server_credentials_t psk_server;
        gnutls_psk_client_credentials_t psk_client;
        gnutls_certificate_credentials_t x509;
        void *any; /* NULL: not made yet */
    } u;
};

struct TlsSession {
    gnutls_session_t s;
    TlsCreds *creds;
    TlsIo io;
    char *hostname, *peer;
};

bool tls_is_built(void)
{
    return true;
}

/* --- credentials --- */

static bool gnutls_ok(int rc, Error *err, const char *what, const char *file)
{
    return rc >= 0 || error_set(err, "%s%s%s: %s", what, file ? " " : "", file ? file : "",
                                gnutls_strerror(rc));
}

/* The path of @name in the credentials' folder, NULL if it is not there. */
static char *creds_file(const TlsParams *p, const char *name)
{
    char *path = p->dir ? xasprintf("%s/%s", p->dir, name) : NULL;

    if (path && access(path, R_OK) == 0)
        return path;
    xfree(path);
    return NULL;
}

static char *creds_file_needed(const TlsParams *p, const char *name, Error *err)
{
    char *path = creds_file(p, name);

    if (!path && !p->dir)
        error_set(err, "Missing 'dir' property value");
    else if (!path)
        error_set_errno(err, errno, "Unable to access credentials %s/%s", p->dir, name);
    return path;
}

static bool load_x509_pair(TlsCreds *c, const TlsParams *p, Error *err)
{
    const char *who = p->server ? "server" : "client";
    AUTO_FREE char *cert_name = xasprintf("%s-cert.pem", who);
    AUTO_FREE char *key_name = xasprintf("%s-key.pem", who);
    AUTO_FREE char *cert = creds_file(p, cert_name);
    AUTO_FREE char *key = NULL;

    if (!cert && !p->server)
        return true; /* clients may be anonymous */
    if (!cert && !(cert = creds_file_needed(p, cert_name, err)))
        return false;
    if (!(key = creds_file_needed(p, key_name, err)))
        return false;
    return gnutls_ok(gnutls_certificate_set_x509_key_file2(c->u.x509, cert, key,
                                                           GNUTLS_X509_FMT_PEM, p->password, 0),
                     err, "Cannot load certificate", cert);
}

static bool load_x509(TlsCreds *c, const TlsParams *p, Error *err)
{
    AUTO_FREE char *ca = creds_file_needed(p, "ca-cert.pem", err);
    AUTO_FREE char *crl = creds_file(p, "ca-crl.pem");

    if (!ca || !gnutls_ok(gnutls_certificate_allocate_credentials(&c->u.x509), err,
                          "Cannot allocate credentials", NULL))
        return false;
    if (!gnutls_ok(gnutls_certificate_set_x509_trust_file(c->u.x509, ca, GNUTLS_X509_FMT_PEM), err,
                   "Cannot load CA certificate", ca))
        return false;
    if (crl && !gnutls_ok(gnutls_certificate_set_x509_crl_file(c->u.x509, crl, GNUTLS_X509_FMT_PEM),
                          err, "Cannot load CRL", crl))
        return false;
    if (p->server)
        gnutls_certificate_set_known_dh_params(c->u.x509, GNUTLS_SEC_PARAM_MEDIUM);
    return load_x509_pair(c, p, err);
}

static bool load_anon(TlsCreds *c, const TlsParams *p, Error *err)
{
    int rc;

    if (!p->server)
        return gnutls_ok(gnutls_anon_allocate_client_credentials(&c->u.anon_client), err,
                         "Cannot allocate credentials", NULL);
    rc = gnutls_anon_allocate_server_credentials(&c->u.anon_server);
    if (rc >= 0)
        gnutls_anon_set_server_known_dh_params(c->u.anon_server, GNUTLS_SEC_PARAM_MEDIUM);
    return gnutls_ok(rc, err, "Cannot allocate credentials", NULL);
}

/* The key of @user in a file of lines "user:hexadecimal key"; caller frees. */
static char *psk_key(const char *path, const char *user)
{
    FILE *f = fopen(path, "re");
    char line[1024], *key = NULL;
    size_t n = strlen(user);

    while (f && !key && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!strncmp(line, user, n) && line[n] == ':')
            key = xstrdup(line + n + 1);
    }
    if (f)
        fclose(f);
    return key;
}

static bool load_psk(TlsCreds *c, const TlsParams *p, Error *err)
{
    AUTO_FREE char *path = creds_file_needed(p, "keys.psk", err);
    const char *user = p->username ? p->username : "qemu";
    AUTO_FREE char *key = NULL;
    gnutls_datum_t datum;

    if (!path)
        return false;
    if (p->server) {
        if (!gnutls_ok(gnutls_psk_allocate_server_credentials(&c->u.psk_server), err,
                       "Cannot allocate credentials", NULL))
            return false;
        gnutls_psk_set_server_known_dh_params(c->u.psk_server, GNUTLS_SEC_PARAM_MEDIUM);
        return gnutls_ok(gnutls_psk_set_server_credentials_file(c->u.psk_server, path), err,
                         "Cannot load", path);
    }
    key = psk_key(path, user);
    if (!key)
        return error_set(err, "Username %s not found in %s", user, path);
    datum = (gnutls_datum_t){(unsigned char *)key, (unsigned)strlen(key)};
    return gnutls_ok(gnutls_psk_allocate_client_credentials(&c->u.psk_client), err,
                     "Cannot allocate credentials", NULL) &&
           gnutls_ok(
               gnutls_psk_set_client_credentials(c->u.psk_client, user, &datum, GNUTLS_PSK_KEY_HEX),
               err, "Cannot set the key of", user);
}

/* What the kinds need besides the usual. */
static char *priority_of(const TlsParams *p)
{
    static const char *const more[] = {
        [TLS_ANON] = ":-VERS-TLS1.3:+ANON-ECDH:+ANON-DH", /* 1.3 has no anonymous exchange */
        [TLS_PSK] = ":+ECDHE-PSK:+DHE-PSK:+PSK",
        [TLS_X509] = "",
    };

    if (!p->priority && p->kind == TLS_X509)
        return NULL;
    return xasprintf("%s%s", p->priority ? p->priority : "NORMAL", more[p->kind]);
}

TlsCreds *tls_creds_new(const TlsParams *p, Error *err)
{
    static bool (*const load[])(TlsCreds *, const TlsParams *, Error *) = {
        [TLS_ANON] = load_anon, [TLS_PSK] = load_psk, [TLS_X509] = load_x509};
    TlsCreds *c = xnew(TlsCreds);
    gnutls_priority_t test;
    const char *at;

    atomic_init(&c->refs, 1);
    c->kind = p->kind;
    c->server = p->server;
    c->verify_peer = p->verify_peer;
    c->priority = priority_of(p);
    if (c->priority) {
        if (gnutls_priority_init(&test, c->priority, &at) < 0) {
            error_set(err, "Unable to set TLS session priority '%s': wrong from '%s'", c->priority,
                      at);
            tls_creds_unref(c);
            return NULL;
        }
        gnutls_priority_deinit(test);
    }
    if (load[p->kind](c, p, err))
        return c;
    tls_creds_unref(c);
    return NULL;
}

TlsCreds *tls_creds_ref(TlsCreds *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

static void creds_release(TlsCreds *c)
{
    if (c->kind == TLS_X509)
        gnutls_certificate_free_credentials(c->u.x509);
    else if (c->kind == TLS_ANON && c->server)
        gnutls_anon_free_server_credentials(c->u.anon_server);
    else if (c->kind == TLS_ANON)
        gnutls_anon_free_client_credentials(c->u.anon_client);
    else if (c->server)
        gnutls_psk_free_server_credentials(c->u.psk_server);
    else
        gnutls_psk_free_client_credentials(c->u.psk_client);
}

void tls_creds_unref(TlsCreds *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->u.any)
        creds_release(c);
    xfree(c->priority);
    xfree(c);
}

bool tls_creds_is_server(const TlsCreds *c)
{
    return c->server;
}

/* --- the stream below --- */

static ssize_t result_of(TlsSession *s, ssize_t n)
{
    if (n >= 0)
        return n;
    gnutls_transport_set_errno(s->s, (int)-n);
    return -1;
}

static ssize_t session_pull(gnutls_transport_ptr_t arg, void *p, size_t n)
{
    TlsSession *s = arg;

    return result_of(s, s->io.read(s->io.arg, p, n));
}

static ssize_t session_push(gnutls_transport_ptr_t arg, const void *p, size_t n)
{
    TlsSession *s = arg;

    return result_of(s, s->io.write(s->io.arg, p, n));
}

static ssize_t fd_read(void *arg, void *p, size_t n)
{
    ssize_t r = recv((int)(intptr_t)arg, p, n, 0);

    return r < 0 ? -errno : r;
}

static ssize_t fd_write(void *arg, const void *p, size_t n)
{
    ssize_t r = send((int)(intptr_t)arg, p, n, MSG_NOSIGNAL);

    return r < 0 ? -errno : r;
}

const TlsIo tls_io_fd = {fd_read, fd_write, NULL};

/* --- sessions --- */

static gnutls_credentials_type_t creds_type(const TlsCreds *c)
{
    return c->kind == TLS_X509  ? GNUTLS_CRD_CERTIFICATE
           : c->kind == TLS_PSK ? GNUTLS_CRD_PSK
                                : GNUTLS_CRD_ANON;
}

static int session_set_up(TlsSession *s)
{
    TlsCreds *c = s->creds;
    int rc = gnutls_init(&s->s, c->server ? GNUTLS_SERVER : GNUTLS_CLIENT);

    if (rc < 0)
        return rc;
    rc = c->priority ? gnutls_priority_set_direct(s->s, c->priority, NULL)
                     : gnutls_set_default_priority(s->s);
    if (rc >= 0)
        rc = gnutls_credentials_set(s->s, creds_type(c), c->u.any);
    if (rc >= 0 && c->server && c->kind == TLS_X509)
        gnutls_certificate_server_set_request(s->s, c->verify_peer ? GNUTLS_CERT_REQUIRE
                                                                   : GNUTLS_CERT_IGNORE);
    if (rc >= 0 && s->hostname && !c->server)
        rc = gnutls_server_name_set(s->s, GNUTLS_NAME_DNS, s->hostname, strlen(s->hostname));
    return rc;
}

TlsSession *tls_session_new(TlsCreds *creds, const char *hostname, const TlsIo *io, Error *err)
{
    TlsSession *s = xnew(TlsSession);
    int rc;

    s->creds = tls_creds_ref(creds);
    s->io = *io;
    s->hostname = xstrdup(hostname);
    rc = session_set_up(s);
    if (rc < 0) {
        error_set(err, "cannot make a TLS session: %s", gnutls_strerror(rc));
        tls_session_free(s);
        return NULL;
    }
    gnutls_transport_set_ptr(s->s, s);
    gnutls_transport_set_pull_function(s->s, session_pull);
    gnutls_transport_set_push_function(s->s, session_push);
    return s;
}

void tls_session_free(TlsSession *s)
{
    if (!s)
        return;
    if (s->s)
        gnutls_deinit(s->s);
    tls_creds_unref(s->creds);
    xfree(s->hostname);
    xfree(s->peer);
    xfree(s);
}

/* The name of the peer's own certificate. */
static char *certificate_name(TlsSession *s)
{
    unsigned n = 0;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(s->s, &n);
    gnutls_x509_crt_t crt;
    gnutls_datum_t dn;
    char *name = NULL;

    if (!list || n == 0 || gnutls_x509_crt_init(&crt) < 0)
        return NULL;
    if (gnutls_x509_crt_import(crt, &list[0], GNUTLS_X509_FMT_DER) >= 0 &&
        gnutls_x509_crt_get_dn3(crt, &dn, GNUTLS_X509_DN_FLAG_COMPAT) >= 0) {
        name = xstrdup((const char *)dn.data);
        gnutls_free(dn.data);
    }
    gnutls_x509_crt_deinit(crt);
    return name;
}

static bool session_verify(TlsSession *s, Error *err)
{
    gnutls_datum_t why = {0};
    unsigned status = 0;
    int rc;

    if (s->creds->kind == TLS_PSK && s->creds->server)
        s->peer = xstrdup(gnutls_psk_server_get_username(s->s));
    if (s->creds->kind != TLS_X509)
        return true;
    s->peer = certificate_name(s);
    if (!s->creds->verify_peer)
        return true;
    rc = gnutls_certificate_verify_peers3(s->s, s->creds->server ? NULL : s->hostname, &status);
    if (rc < 0)
        return error_set(err, "Verification of the peer's certificate failed: %s",
                         gnutls_strerror(rc));
    if (status == 0)
        return true;
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &why, 0);
    error_set(err, "Verification of the peer's certificate failed: %s",
              why.data ? (const char *)why.data : "");
    gnutls_free(why.data);
    return false;
}

TlsStep tls_handshake(TlsSession *s, Error *err)
{
    int rc;

    do
        rc = gnutls_handshake(s->s);
    while (rc == GNUTLS_E_INTERRUPTED || rc == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (rc == GNUTLS_E_AGAIN)
        return gnutls_record_get_direction(s->s) ? TLS_WANT_WRITE : TLS_WANT_READ;
    if (rc < 0) {
        error_set(err, "TLS handshake failed: %s", gnutls_strerror(rc));
        return TLS_FAILED;
    }
    return session_verify(s, err) ? TLS_DONE : TLS_FAILED;
}

bool tls_handshake_wait(TlsSession *s, int fd, Error *err)
{
    for (;;) {
        TlsStep step = tls_handshake(s, err);
        struct pollfd p = {.fd = fd, .events = step == TLS_WANT_WRITE ? POLLOUT : POLLIN};

        if (step == TLS_DONE || step == TLS_FAILED)
            return step == TLS_DONE;
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return error_set_errno(err, errno, "TLS handshake");
    }
}

const char *tls_peer_name(const TlsSession *s)
{
    return s->peer;
}

static ssize_t moved(ssize_t n)
{
    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
        return -EAGAIN;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return -ECONNABORTED;
    return n < 0 ? -EIO : n;
}

ssize_t tls_read(TlsSession *s, void *p, size_t n)
{
    return moved(gnutls_record_recv(s->s, p, n));
}

ssize_t tls_write(TlsSession *s, const void *p, size_t n)
{
    return moved(gnutls_record_send(s->s, p, n));
}

bool tls_has_data(const TlsSession *s)
{
    return gnutls_record_check_pending(s->s) > 0;
}

int tls_bye(TlsSession *s)
{
    ssize_t rc = moved(gnutls_bye(s->s, GNUTLS_SHUT_WR));

    return (int)rc;
}

/* --- ciphers --- */

bool tls_aes_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], void *p, size_t n, Error *err)
{
    gnutls_datum_t k = {(unsigned char *)(uintptr_t)key, 32},
                   v = {(unsigned char *)(uintptr_t)iv, 16};
    gnutls_cipher_hd_t h;
    int rc = gnutls_cipher_init(&h, GNUTLS_CIPHER_AES_256_CBC, &k, &v);

    if (rc >= 0) {
        rc = gnutls_cipher_decrypt(h, p, n);
        gnutls_cipher_deinit(h);
    }
    return gnutls_ok(rc, err, "Cannot decrypt", NULL);
}
