/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object_secret - -object secret: a password or key from text or a file, maybe wrapped
 *
 * data= or file=, as it is or in base64.  With keyid= the bytes are AES-256-CBC ciphertext under
 * that other secret (32 bytes) with initialization vector iv= (base64) and PKCS#7 padding.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "core/object.h"
#include "io/secret.h"

enum { SECRET_MAX = 1 << 20, KEY_SIZE = 32, BLOCK = 16 };

typedef enum SecretFormat { FORMAT_RAW, FORMAT_BASE64 } SecretFormat;
static const char *const format_names[] = {"raw", "base64", NULL};
static ENUM_TYPE(format_type, QCryptoSecretFormat, format_names);

typedef struct Secret {
    Object obj;
    char *data, *file, *keyid, *iv;
    uint32_t format;
    uint8_t *bytes;
    size_t size;
} Secret;

void secret_free(void *p, size_t size)
{
    if (p)
        explicit_bzero(p, size);
    xfree(p);
}

/* --- loading --- */

static bool read_file(Secret *s, Error *err)
{
    int fd = open(s->file, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd < 0)
        return error_set_errno(err, errno, "Unable to read %s: Failed to open file", s->file);
    s->bytes = xalloc(SECRET_MAX + 1);
    while (s->size <= SECRET_MAX &&
           (n = read(fd, s->bytes + s->size, SECRET_MAX + 1 - s->size)) > 0)
        s->size += (size_t)n;
    close(fd);
    if (n < 0)
        return error_set_errno(err, errno, "Unable to read %s", s->file);
    return s->size <= SECRET_MAX || error_set(err, "%s is larger than 1 MiB", s->file);
}

static bool take_data(Secret *s)
{
    s->size = strlen(s->data);
    s->bytes = xalloc(s->size + 1);
    memcpy(s->bytes, s->data, s->size);
    return true;
}

static bool decode(Secret *s, Error *err)
{
    ssize_t n = base64_decode(s->bytes, s->size);

    if (n < 0)
        return error_set(err, "Base64 data is not valid");
    s->size = (size_t)n;
    return true;
}

static bool unwrap(Secret *s, Error *err)
{
    uint8_t iv[256];
    size_t n_iv = s->iv ? strlen(s->iv) : 0, n_key = 0;
    ssize_t n;
    uint8_t *key, pad;
    bool ok;

    if (!s->iv)
        return error_set(err, "IV is required to decrypt secret");
    n = n_iv < sizeof iv ? (memcpy(iv, s->iv, n_iv), base64_decode(iv, n_iv)) : -1;
    if (n != BLOCK)
        return error_set(err, "IV should be %d bytes in length, in base64", BLOCK);
    if (!(key = secret_get(s->obj.owner, s->keyid, &n_key, err)))
        return false;
    if (n_key != KEY_SIZE)
        ok = error_set(err, "Key should be %d bytes in length", KEY_SIZE);
    else if (!s->size || s->size % BLOCK)
        ok = error_set(err, "encrypted data is not a multiple of %d bytes", BLOCK);
    else
        ok = tls_aes_cbc_decrypt(key, iv, s->bytes, s->size, err);
    secret_free(key, n_key);
    if (!ok)
        return false;
    pad = s->bytes[s->size - 1];
    if (pad == 0 || pad > BLOCK)
        return error_set(err, "Incorrect number of padding bytes (%d) found on decrypted data",
                         pad);
    s->size -= pad;
    return true;
}

static bool secret_complete(Object *o, Error *err)
{
    Secret *s = (Secret *)o;

    if (s->data && s->file)
        return error_set(err, "'file' and 'data' are mutually exclusive");
    if (!s->data && !s->file)
        return error_set(err, "Either 'file' or 'data' must be provided");
    if (!(s->file ? read_file(s, err) : take_data(s)))
        return false;
    if (s->format == FORMAT_BASE64 && !decode(s, err))
        return false;
    return !s->keyid || unwrap(s, err);
}

static void secret_object_free(Object *o)
{
    Secret *s = (Secret *)o;

    if (s->data)
        explicit_bzero(s->data, strlen(s->data));
    secret_free(s->bytes, s->file ? SECRET_MAX + 1 : s->size);
}

static const Field secret_fields[] = {
    PROP_STR(Secret, data, "data", NULL, "the secret itself"),
    PROP_STR(Secret, file, "file", NULL, "the file that holds it"),
    PROP_ENUM(Secret, format, "format", &format_type, FORMAT_RAW, "raw or base64"),
    PROP_STR(Secret, keyid, "keyid", NULL, "the secret whose key decrypts it"),
    PROP_STR(Secret, iv, "iv", NULL, "initialization vector of the decryption, in base64"),
};
static STRUCT_TYPE(secret_type, Secret, secret_fields);

static ObjectClass secret_class = {
    .name = "secret",
    .parent = "secret_common",
    .doc = "a password or key",
    .type = &secret_type,
    .complete = secret_complete,
    .free = secret_object_free,
};
OBJECT_REGISTER(secret_class)

/* --- for those who need one --- */

uint8_t *secret_get(Objects *set, const char *id, size_t *size, Error *err)
{
    Secret *s = (Secret *)object_find(set, id, "secret", err);
    uint8_t *copy;

    if (!s)
        return NULL;
    copy = xalloc(s->size + 1);
    memcpy(copy, s->bytes, s->size);
    *size = s->size;
    return copy;
}

char *secret_get_text(Objects *set, const char *id, Error *err)
{
    size_t n;
    uint8_t *p = secret_get(set, id, &n, err);

    if (p && memchr(p, 0, n)) {
        error_set(err, "Data from secret %s is not valid UTF-8", id);
        secret_free(p, n);
        p = NULL;
    }
    return (char *)p;
}
