/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cipher - sectors under AES, digests, key derivation, random bytes by gnutls; cipher.h has the contract
 *
 * XTS: IEEE 1619; IV generators: cryptsetup's "On-disk format", LUKS1 specification, appendix.  A gnutls
 * handle carries the IV, so each call takes one from a list of idle ones.  gnutls has no XTS over AES-192:
 * that is made of CBC with a zero IV (XTS of one block is E(P ^ T) ^ T).
 */
#include "block/cipher.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/lock.h"

enum { SECTOR = 512, BLOCK = 16 };

typedef struct Engine {
    gnutls_cipher_hd_t data;
    gnutls_cipher_hd_t tweak; /* of ESSIV, or the second key of XTS over AES-192; NULL: none */
    struct Engine *next;
} Engine;

struct Cipher {
    CipherSpec spec;
    gnutls_cipher_algorithm_t data_algo, tweak_algo; /* tweak_algo 0: none */
    uint8_t data_key[CIPHER_KEY_MAX], tweak_key[DIGEST_MAX];
    size_t data_key_size, tweak_key_size;
    Lock lock;
    Engine *idle;
};

static const uint8_t zero_iv[BLOCK];

/* --- digests --- */

static const struct {
    gnutls_digest_algorithm_t digest;
    gnutls_mac_algorithm_t mac;
    size_t size;
} digests[DIGEST_COUNT] = {
    [DIGEST_SHA1] = {GNUTLS_DIG_SHA1, GNUTLS_MAC_SHA1, 20},
    [DIGEST_SHA224] = {GNUTLS_DIG_SHA224, GNUTLS_MAC_SHA224, 28},
    [DIGEST_SHA256] = {GNUTLS_DIG_SHA256, GNUTLS_MAC_SHA256, 32},
    [DIGEST_SHA384] = {GNUTLS_DIG_SHA384, GNUTLS_MAC_SHA384, 48},
    [DIGEST_SHA512] = {GNUTLS_DIG_SHA512, GNUTLS_MAC_SHA512, 64},
};

size_t digest_size(Digest d)
{
    return digests[d].size;
}

bool digest_of(Digest d, const void *p, size_t size, uint8_t *out, Error *err)
{
    int rc = gnutls_hash_fast(digests[d].digest, p, size, out);

    return rc == 0 || error_set(err, "cannot compute a digest: %s", gnutls_strerror(rc));
}

bool digest_pbkdf2(Digest d, const void *pass, size_t pass_size, const uint8_t *salt,
                   size_t salt_size, uint64_t iterations, uint8_t *out, size_t out_size, Error *err)
{
    gnutls_datum_t key = {(unsigned char *)pass, (unsigned)pass_size};
    gnutls_datum_t salt_datum = {(unsigned char *)salt, (unsigned)salt_size};
    int rc;

    if (iterations == 0 || iterations > UINT32_MAX)
        return error_set(err, "an iteration count of %" PRIu64 " is not possible", iterations);
    rc = gnutls_pbkdf2(digests[d].mac, &key, &salt_datum, (unsigned)iterations, out, out_size);
    return rc == 0 || error_set(err, "cannot derive a key: %s", gnutls_strerror(rc));
}

bool random_fill(void *p, size_t size, Error *err)
{
    int rc = gnutls_rnd(GNUTLS_RND_KEY, p, size);

    return rc == 0 || error_set(err, "cannot get random bytes: %s", gnutls_strerror(rc));
}

/* --- engines --- */

static void engine_free(Engine *e)
{
    if (e->data)
        gnutls_cipher_deinit(e->data);
    if (e->tweak)
        gnutls_cipher_deinit(e->tweak);
    xfree(e);
}

static int engine_init(gnutls_cipher_hd_t *h, gnutls_cipher_algorithm_t algo, const uint8_t *key,
                       size_t size)
{
    gnutls_datum_t k = {(unsigned char *)key, (unsigned)size};
    gnutls_datum_t iv = {(unsigned char *)zero_iv, BLOCK};

    return algo ? gnutls_cipher_init(h, algo, &k, &iv) : 0;
}

static Engine *engine_new(const Cipher *c, int *rc)
{
    Engine *e = xnew(Engine);

    *rc = engine_init(&e->data, c->data_algo, c->data_key, c->data_key_size);
    if (*rc == 0)
        *rc = engine_init(&e->tweak, c->tweak_algo, c->tweak_key, c->tweak_key_size);
    if (*rc == 0)
        return e;
    engine_free(e);
    return NULL;
}

static Engine *engine_take(Cipher *c)
{
    Engine *e = NULL;
    int rc;

    WITH_LOCK (&c->lock) {
        if ((e = c->idle))
            c->idle = e->next;
    }
    return e ? e : engine_new(c, &rc);
}

static void engine_give(Cipher *c, Engine *e)
{
    WITH_LOCK (&c->lock) {
        e->next = c->idle;
        c->idle = e;
    }
}

/* --- keys --- */

static gnutls_cipher_algorithm_t cbc_of(size_t bits)
{
    return bits == 128   ? GNUTLS_CIPHER_AES_128_CBC
           : bits == 192 ? GNUTLS_CIPHER_AES_192_CBC
                         : GNUTLS_CIPHER_AES_256_CBC;
}

static bool is_xts_of_cbc(const CipherSpec *s)
{
    return s->mode == CIPHER_XTS && s->bits == 192;
}

static bool essiv_key(Cipher *c, const uint8_t *key, Error *err)
{
    size_t n = digest_size(c->spec.iv_digest);

    if (is_xts_of_cbc(&c->spec))
        return error_set(err, "essiv is not available for aes-192 in xts mode");
    if (n != 16 && n != 24 && n != 32)
        return error_set(err, "No AES cipher with key size %zu available for essiv", n);
    c->tweak_algo = cbc_of(n * 8);
    c->tweak_key_size = n;
    return digest_of(c->spec.iv_digest, key, cipher_key_size(&c->spec), c->tweak_key, err);
}

Cipher *cipher_new(const CipherSpec *spec, const uint8_t *key, Error *err)
{
    Cipher *c = xnew(Cipher);
    Engine *e;
    int rc = 0;

    lock_init(&c->lock, "cipher", RANK_QUEUE);
    c->spec = *spec;
    c->data_key_size = cipher_key_size(spec);
    memcpy(c->data_key, key, c->data_key_size);
    c->data_algo = spec->mode == CIPHER_CBC ? cbc_of(spec->bits)
                   : spec->bits == 128      ? GNUTLS_CIPHER_AES_128_XTS
                                            : GNUTLS_CIPHER_AES_256_XTS;
    if (spec->iv == CIPHER_ESSIV && !essiv_key(c, key, err))
        goto fail;
    if (is_xts_of_cbc(spec)) {
        c->data_algo = c->tweak_algo = cbc_of(192);
        c->data_key_size = c->tweak_key_size = 24;
        memcpy(c->tweak_key, key + 24, 24);
    }
    e = engine_new(c, &rc);
    if (e) {
        engine_give(c, e);
        return c;
    }
    error_set(err, "cannot set up the cipher: %s", gnutls_strerror(rc));
fail:
    cipher_free(c);
    return NULL;
}

void cipher_free(Cipher *c)
{
    if (!c)
        return;
    while (c->idle) {
        Engine *e = c->idle;

        c->idle = e->next;
        engine_free(e);
    }
    explicit_bzero(c->data_key, sizeof c->data_key);
    explicit_bzero(c->tweak_key, sizeof c->tweak_key);
    lock_fini(&c->lock);
    xfree(c);
}

/* --- sectors --- */

/* One block without chaining. */
static int one_block(gnutls_cipher_hd_t h, uint8_t *block, bool encrypt)
{
    gnutls_cipher_set_iv(h, (void *)(uintptr_t)zero_iv, BLOCK);
    return encrypt ? gnutls_cipher_encrypt2(h, block, BLOCK, block, BLOCK)
                   : gnutls_cipher_decrypt2(h, block, BLOCK, block, BLOCK);
}

static int make_iv(const Cipher *c, Engine *e, uint64_t sector, uint8_t *iv)
{
    put_le64(iv, c->spec.iv == CIPHER_PLAIN ? (uint32_t)sector : sector);
    memset(iv + 8, 0, 8);
    return c->spec.iv == CIPHER_ESSIV ? one_block(e->tweak, iv, true) : 0;
}

static void xor_block(uint8_t *to, const uint8_t *with)
{
    put_le64(to, get_le64(to) ^ get_le64(with));
    put_le64(to + 8, get_le64(to + 8) ^ get_le64(with + 8));
}

/* Times x in GF(2^128). */
static void next_tweak(uint8_t *t)
{
    uint64_t low = get_le64(t), high = get_le64(t + 8);

    put_le64(t, low << 1 ^ (high >> 63 ? 0x87 : 0));
    put_le64(t + 8, high << 1 | low >> 63);
}

static int xts_of_cbc(Engine *e, const uint8_t *iv, uint8_t *buf, bool encrypt)
{
    uint8_t tweaks[SECTOR];
    int rc;

    memcpy(tweaks, iv, BLOCK);
    if ((rc = one_block(e->tweak, tweaks, true)) < 0)
        return rc;
    for (unsigned at = BLOCK; at < SECTOR; at += BLOCK) {
        memcpy(tweaks + at, tweaks + at - BLOCK, BLOCK);
        next_tweak(tweaks + at);
    }
    for (unsigned at = 0; at < SECTOR && rc >= 0; at += BLOCK) {
        xor_block(buf + at, tweaks + at);
        rc = one_block(e->data, buf + at, encrypt);
        xor_block(buf + at, tweaks + at);
    }
    return rc;
}

static int cipher_sector(const Cipher *c, Engine *e, uint64_t sector, uint8_t *buf, bool encrypt)
{
    uint8_t iv[BLOCK];
    int rc = make_iv(c, e, sector, iv);

    if (rc < 0)
        return rc;
    if (is_xts_of_cbc(&c->spec))
        return xts_of_cbc(e, iv, buf, encrypt);
    gnutls_cipher_set_iv(e->data, iv, BLOCK);
    return encrypt ? gnutls_cipher_encrypt2(e->data, buf, SECTOR, buf, SECTOR)
                   : gnutls_cipher_decrypt2(e->data, buf, SECTOR, buf, SECTOR);
}

static int cipher_run(Cipher *c, uint64_t sector, uint8_t *buf, size_t size, bool encrypt)
{
    Engine *e = engine_take(c);
    int rc = 0;

    assert(size % SECTOR == 0);
    if (!e)
        return -ENOMEM;
    for (size_t at = 0; at < size && rc >= 0; at += SECTOR)
        rc = cipher_sector(c, e, sector++, buf + at, encrypt);
    engine_give(c, e);
    return rc < 0 ? -EIO : 0;
}

int cipher_encrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    return cipher_run(c, sector, buf, size, true);
}

int cipher_decrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    return cipher_run(c, sector, buf, size, false);
}
