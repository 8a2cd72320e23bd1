/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * secret - passwords, TLS credentials and access lists that users made as objects
 *
 * Implemented by core/object_secret.c, object_tls.c, object_authz.c.  Main thread.
 */
#ifndef IO_SECRET_H
#define IO_SECRET_H

#include "base/base.h"
#include "base/error.h"
#include "base/tls.h"

struct Objects;

/* The secret's bytes; NULL: no such object.  Release with secret_free (which wipes). */
uint8_t *secret_get(struct Objects *set, const char *id, size_t *size, Error *err);
/* The same as text without NUL bytes. */
char *secret_get_text(struct Objects *set, const char *id, Error *err);
void secret_free(void *p, size_t size);

/* The credentials object @id for a server (or client) end: a reference of your own
 * (tls_creds_unref). */
TlsCreds *tls_creds_find(struct Objects *set, const char *id, bool server, Error *err);

/* Does the access list @id admit @identity (a certificate's distinguished name, a user)? NULL id:
 * everybody.  False without error text: refused. */
bool authz_admits(struct Objects *set, const char *id, const char *identity, Error *err);

#endif
