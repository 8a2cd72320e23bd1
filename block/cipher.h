/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cipher - sectors under a block cipher, digests, key derivation, random bytes (nettle)
 *
 * A Cipher may be used by several threads at once.
 */
#ifndef BLOCK_CIPHER_H
#define BLOCK_CIPHER_H

#include "base/base.h"
#include "base/error.h"

typedef enum CipherAlgo { CIPHER_AES, CIPHER_SERPENT, CIPHER_TWOFISH, CIPHER_CAST5 } CipherAlgo;
typedef enum CipherMode { CIPHER_XTS, CIPHER_CBC, CIPHER_CTR, CIPHER_ECB, CIPHER_MODES } CipherMode;
typedef enum CipherIv { CIPHER_PLAIN, CIPHER_PLAIN64, CIPHER_ESSIV, CIPHER_IVS } CipherIv;
typedef enum Digest {
    DIGEST_SHA1,
    DIGEST_SHA224,
    DIGEST_SHA256,
    DIGEST_SHA384,
    DIGEST_SHA512,
    DIGEST_MD5,
    DIGEST_RIPEMD160,
    DIGEST_COUNT
} Digest;
enum { DIGEST_MAX = 64, CIPHER_KEY_MAX = 64 };

typedef struct CipherSpec {
    CipherAlgo algo;
    unsigned bits; /* 128, 192 or 256, CAST5: 128; XTS keys are twice as long */
    CipherMode mode;
    CipherIv iv;
    Digest iv_digest; /* ESSIV */
} CipherSpec;

typedef struct Cipher Cipher;
Cipher *cipher_new(const CipherSpec *spec, const uint8_t *key, Error *err);
void cipher_free(Cipher *c); /* NULL is fine */
/* In place, 512-byte sectors, the first one has number @sector.  0 or -errno. */
int cipher_encrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size);
int cipher_decrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size);

static inline size_t cipher_key_size(const CipherSpec *s)
{
    return s->bits / 8 * (s->mode == CIPHER_XTS ? 2 : 1);
}

size_t digest_size(Digest d);
bool digest_of(Digest d, const void *p, size_t size, uint8_t *out, Error *err);
/* PBKDF2 (RFC 2898) with HMAC. */
bool digest_pbkdf2(Digest d, const void *pass, size_t pass_size, const uint8_t *salt,
                   size_t salt_size, uint64_t iterations, uint8_t *out, size_t out_size,
                   Error *err);
bool random_fill(void *p, size_t size, Error *err);

#endif
