/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cipher_none - cipher.h in a build without nettle: there are no ciphers, digests and random
 * keys */
#include <errno.h>

#include "block/cipher.h"

static bool not_built(Error *err)
{
    return error_set(err, "encrypted images are not built in (./configure --enable-nettle)");
}

Cipher *cipher_new(const CipherSpec *spec, const uint8_t *key, Error *err)
{
    (void)spec;
    (void)key;
    not_built(err);
    return NULL;
}

void cipher_free(Cipher *c)
{
    (void)c;
}

int cipher_encrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    (void)c;
    (void)sector;
    (void)buf;
    (void)size;
    return -ENOTSUP;
}

int cipher_decrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    return cipher_encrypt(c, sector, buf, size);
}

size_t digest_size(Digest d)
{
    static const uint8_t sizes[DIGEST_COUNT] = {20, 28, 32, 48, 64, 16, 20};

    return sizes[d];
}

bool digest_of(Digest d, const void *p, size_t size, uint8_t *out, Error *err)
{
    (void)d;
    (void)p;
    (void)size;
    (void)out;
    return not_built(err);
}

bool digest_pbkdf2(Digest d, const void *pass, size_t pass_size, const uint8_t *salt,
                   size_t salt_size, uint64_t iterations, uint8_t *out, size_t out_size, Error *err)
{
    (void)d;
    (void)pass;
    (void)pass_size;
    (void)salt;
    (void)salt_size;
    (void)iterations;
    (void)out;
    (void)out_size;
    return not_built(err);
}

bool random_fill(void *p, size_t size, Error *err)
{
    (void)p;
    (void)size;
    return not_built(err);
}
