/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object_tls - -object tls-creds-x509, tls-creds-psk, tls-creds-anon */
#include "base/alloc.h"
#include "core/object.h"
#include "io/secret.h"

enum { ENDPOINT_CLIENT, ENDPOINT_SERVER };
static const char *const endpoint_names[] = {"client", "server", NULL};
static ENUM_TYPE(endpoint_type, QCryptoTLSCredsEndpoint, endpoint_names);

typedef struct TlsObject {
    Object obj;
    char *dir, *priority, *passwordid, *username;
    uint32_t endpoint;
    bool verify_peer, sanity_check;
    TlsCreds *creds;
} TlsObject;

static bool tls_complete(TlsObject *t, TlsKind kind, Error *err)
{
    char *password = NULL;
    TlsParams p = {.kind = kind,
                   .server = t->endpoint == ENDPOINT_SERVER,
                   .verify_peer = t->verify_peer,
                   .dir = t->dir,
                   .priority = t->priority,
                   .username = t->username};

    if (t->passwordid && !(password = secret_get_text(t->obj.owner, t->passwordid, err)))
        return false;
    p.password = password;
    t->creds = tls_creds_new(&p, err);
    secret_free(password, password ? strlen(password) : 0);
    return t->creds != NULL;
}

static bool x509_complete(Object *o, Error *err)
{
    return tls_complete((TlsObject *)o, TLS_X509, err);
}

static bool psk_complete(Object *o, Error *err)
{
    return tls_complete((TlsObject *)o, TLS_PSK, err);
}

static bool anon_complete(Object *o, Error *err)
{
    return tls_complete((TlsObject *)o, TLS_ANON, err);
}

static void tls_free(Object *o)
{
    tls_creds_unref(((TlsObject *)o)->creds);
}

#define COMMON_FIELDS                                                                              \
    PROP_STR(TlsObject, dir, "dir", NULL, "folder of the credential files"),                       \
        PROP_ENUM(TlsObject, endpoint, "endpoint", &endpoint_type, ENDPOINT_CLIENT,                \
                  "client or server"),                                                             \
        PROP(TlsObject, verify_peer, "verify-peer", true, "refuse peers that cannot be verified"), \
        PROP_STR(TlsObject, priority, "priority", NULL, "gnutls priority string")

static const Field x509_fields[] = {
    COMMON_FIELDS,
    PROP(TlsObject, sanity_check, "sanity-check", true,
         "accepted; certificates are checked when they are used"),
    PROP_STR(TlsObject, passwordid, "passwordid", NULL, "secret that opens the private key"),
};
static const Field psk_fields[] = {
    COMMON_FIELDS,
    PROP_STR(TlsObject, username, "username", "qemu", "whose key a client uses"),
};
static const Field anon_fields[] = {COMMON_FIELDS};

static STRUCT_TYPE(x509_type, TlsObject, x509_fields);
static STRUCT_TYPE(psk_type, TlsObject, psk_fields);
static STRUCT_TYPE(anon_type, TlsObject, anon_fields);

#define TLS_CLASS(var, nm, what, dc)                                                               \
    static ObjectClass var = {                                                                     \
        .name = nm,                                                                                \
        .parent = "tls-creds",                                                                     \
        .doc = dc,                                                                                 \
        .type = &what##_type,                                                                      \
        .complete = what##_complete,                                                               \
        .free = tls_free,                                                                          \
    };                                                                                             \
    OBJECT_REGISTER(var)
TLS_CLASS(x509_class, "tls-creds-x509", x509, "TLS credentials: certificates")
TLS_CLASS(psk_class, "tls-creds-psk", psk, "TLS credentials: keys shared beforehand")
TLS_CLASS(anon_class, "tls-creds-anon", anon, "TLS without authentication")

TlsCreds *tls_creds_find(Objects *set, const char *id, bool server, Error *err)
{
    TlsObject *t = (TlsObject *)object_find(set, id, "tls-creds", err);

    if (!t)
        return NULL;
    if ((t->endpoint == ENDPOINT_SERVER) != server) {
        error_set(err, "Expected TLS credentials for a %s endpoint", server ? "server" : "client");
        return NULL;
    }
    return tls_creds_ref(t->creds);
}
