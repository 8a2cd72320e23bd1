/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto - encrypted sectors of images: LUKS version 1 headers, and qcow2's old AES
 *
 * Used by the luks driver and by qcow2 (encrypt.format).  Secrets are objects, named by id.  Once
 * opened, crypto_encrypt() and crypto_decrypt() may be called by any thread; the rest belongs to
 * whoever owns the Crypto.  Without CONFIG_NETTLE opening fails with a message that says so.
 */
#ifndef BLOCK_CRYPTO_H
#define BLOCK_CRYPTO_H

#include <jansson.h>

#include "base/error.h"
#include "base/reflect.h"

struct Objects;
typedef struct Crypto Crypto;

enum { CRYPTO_SECTOR = 512 };

/* Where the header is: offsets from its start.  0 or -errno; may block. */
typedef struct CryptoIo {
    int (*read)(void *arg, uint64_t at, void *buf, size_t size);
    int (*write)(void *arg, uint64_t at, const void *buf, size_t size); /* NULL: read-only */
    void *arg;
} CryptoIo;

/* -o of create ("encrypt." before each for qcow2).  NULL and 0: the default. */
typedef struct CryptoCreate {
    char *key_secret;
    char *cipher_alg, *cipher_mode, *ivgen_alg, *ivgen_hash_alg, *hash_alg;
    uint64_t iter_time; /* ms */
} CryptoCreate;
extern const Type crypto_create_type; /* PROP fields "key-secret", "cipher-alg", ... */
#define CRYPTO_KEY_DOC "ID of the secret that provides the keyslot passphrase"
/* The same fields within another struct @S, whose member @m is a CryptoCreate. */
#define CRYPTO_CREATE_FIELDS(S, m, prefix, key_doc)                                                \
    PROP_STR(S, m.key_secret, prefix "key-secret", NULL, key_doc),                                 \
        PROP_STR(S, m.cipher_alg, prefix "cipher-alg", NULL,                                       \
                 "Name of encryption cipher algorithm"),                                           \
        PROP_STR(S, m.cipher_mode, prefix "cipher-mode", NULL, "Name of encryption cipher mode"),  \
        PROP_STR(S, m.ivgen_alg, prefix "ivgen-alg", NULL, "Name of IV generator algorithm"),      \
        PROP_STR(S, m.ivgen_hash_alg, prefix "ivgen-hash-alg", NULL,                               \
                 "Name of IV generator hash algorithm"),                                           \
        PROP_STR(S, m.hash_alg, prefix "hash-alg", NULL, "Name of encryption hash algorithm"),     \
        PROP(S, m.iter_time, prefix "iter-time", 0, "Time to spend in PBKDF in milliseconds")

#define CRYPTO_ANY_SLOT INT64_MIN
/* -o of amend. */
typedef struct CryptoAmend {
    char *state; /* "active", "inactive" */
    char *new_secret, *old_secret;
    int64_t keyslot; /* CRYPTO_ANY_SLOT: not said */
    uint64_t iter_time;
    bool force; /* not an option: overwrite slots, erase the last one */
} CryptoAmend;
extern const Type crypto_amend_type;

/* Is there a secret @id?  @option: how users say it, for the message. */
bool crypto_secret_check(struct Objects *set, const char *option, const char *id, Error *err);

bool crypto_luks_probe(const void *head, size_t size);

/* How many bytes a new header with its key material takes (the offset of the payload); 0:
 * refused. */
uint64_t crypto_luks_size(const CryptoCreate *p, Error *err);
/* Write a new header with a new random key, which the secret @p->key_secret opens. */
Crypto *crypto_luks_create(const CryptoCreate *p, struct Objects *set, const CryptoIo *io,
                           Error *err);
/* @key_secret NULL with @need_key is an error; without @need_key the Crypto can only tell about
 * itself. */
Crypto *crypto_luks_open(const CryptoIo *io, struct Objects *set, const char *key_secret,
                         bool need_key, Error *err);
/* qcow2's encrypt.format=aes: the first 16 bytes of the secret are the key of AES-128-CBC. */
Crypto *crypto_aes_open(struct Objects *set, const char *key_secret, bool need_key, Error *err);
void crypto_free(Crypto *c); /* NULL is fine */

uint64_t crypto_payload_offset(const Crypto *c); /* of the header's start; 0 without a header */
bool crypto_has_key(const Crypto *c);
/* In place.  @at numbers the sectors (offset in the payload of luks; in the file for qcow2's
 * luks; in the disk for qcow2's aes); @at and @size are multiples of CRYPTO_SECTOR.  0 or
 * -errno. */
int crypto_encrypt(Crypto *c, uint64_t at, void *buf, size_t size);
int crypto_decrypt(Crypto *c, uint64_t at, void *buf, size_t size);
/* Members of "format-specific" data ("encrypt" of qcow2): ivgen-alg ... slots.  A new object. */
json_t *crypto_info(const Crypto *c);
/* Add, change or erase passphrases.  Needs the key. */
bool crypto_amend(Crypto *c, const CryptoAmend *p, struct Objects *set, const CryptoIo *io,
                  Error *err);

#endif
