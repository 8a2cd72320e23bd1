/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cipher - sectors under block ciphers, digests, key derivation, random bytes, by nettle; cipher.h
 * has the contract
 *
 * XTS: IEEE 1619, whole sectors, done here since nettle's own takes one block at a time.  IV
 * generators: cryptsetup's "LUKS1 On-Disk Format", appendix.  Contexts are only read once the keys
 * are set.
 */
#include "block/cipher.h"

#include <errno.h>
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/hmac.h>
#include <nettle/md5.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <nettle/ripemd160.h>
#include <nettle/sha.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/bytes.h"

enum { SECTOR = 512, BLOCK_MAX = 16, STATE_MAX = sizeof(struct sha512_ctx) };

struct Cipher {
    CipherSpec spec;
    const struct nettle_cipher *algo, *iv_algo; /* iv_algo: ESSIV */
    void *encrypt, *decrypt, *tweak, *iv;       /* keys; tweak: XTS, iv: ESSIV */
};

/* --- digests --- */

static const struct nettle_hash *const digests[DIGEST_COUNT] = {
    [DIGEST_SHA1] = &nettle_sha1,           [DIGEST_SHA224] = &nettle_sha224,
    [DIGEST_SHA256] = &nettle_sha256,       [DIGEST_SHA384] = &nettle_sha384,
    [DIGEST_SHA512] = &nettle_sha512,       [DIGEST_MD5] = &nettle_md5,
    [DIGEST_RIPEMD160] = &nettle_ripemd160,
};

size_t digest_size(Digest d)
{
    return digests[d]->digest_size;
}

bool digest_of(Digest d, const void *p, size_t size, uint8_t *out, Error *err)
{
    alignas(16) uint8_t state[STATE_MAX];

    (void)err;
    assert(digests[d]->context_size <= sizeof state);
    digests[d]->init(state);
    digests[d]->update(state, size, p);
    digests[d]->digest(state, digests[d]->digest_size, out);
    return true;
}

typedef struct Mac {
    const struct nettle_hash *hash;
    alignas(16) uint8_t outer[STATE_MAX];
    alignas(16) uint8_t inner[STATE_MAX];
    alignas(16) uint8_t state[STATE_MAX];
} Mac;

static void mac_update(void *ctx, size_t size, const uint8_t *p)
{
    Mac *m = ctx;

    m->hash->update(m->state, size, p);
}

static void mac_digest(void *ctx, size_t size, uint8_t *out)
{
    Mac *m = ctx;

    hmac_digest(m->outer, m->inner, m->state, m->hash, size, out);
}

bool digest_pbkdf2(Digest d, const void *pass, size_t pass_size, const uint8_t *salt,
                   size_t salt_size, uint64_t iterations, uint8_t *out, size_t out_size, Error *err)
{
    Mac m = {.hash = digests[d]};

    if (iterations == 0 || iterations > UINT32_MAX)
        return error_set(err, "an iteration count of %" PRIu64 " is not possible", iterations);
    hmac_set_key(m.outer, m.inner, m.state, m.hash, pass_size, pass);
    pbkdf2(&m, mac_update, mac_digest, m.hash->digest_size, (unsigned)iterations, salt_size, salt,
           out_size, out);
    explicit_bzero(&m, sizeof m);
    return true;
}

bool random_fill(void *p, size_t size, Error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = getrandom((char *)p + done, size - done, 0);

        if (n < 0 && errno != EINTR)
            return error_set_errno(err, errno, "cannot get random bytes");
        done += n < 0 ? 0 : (size_t)n;
    }
    return true;
}

/* --- keys --- */

static const struct {
    CipherAlgo algo;
    unsigned bits;
    const char *family;
    const struct nettle_cipher *cipher;
} ciphers[] = {
    {CIPHER_AES, 128, "AES", &nettle_aes128},
    {CIPHER_AES, 192, "AES", &nettle_aes192},
    {CIPHER_AES, 256, "AES", &nettle_aes256},
    {CIPHER_SERPENT, 128, "Serpent", &nettle_serpent128},
    {CIPHER_SERPENT, 192, "Serpent", &nettle_serpent192},
    {CIPHER_SERPENT, 256, "Serpent", &nettle_serpent256},
    {CIPHER_TWOFISH, 128, "Twofish", &nettle_twofish128},
    {CIPHER_TWOFISH, 192, "Twofish", &nettle_twofish192},
    {CIPHER_TWOFISH, 256, "Twofish", &nettle_twofish256},
    {CIPHER_CAST5, 128, "CAST5", &nettle_cast128},
};

static const struct nettle_cipher *cipher_find(CipherAlgo algo, size_t key_size, Error *err)
{
    const char *family = "";

    for (unsigned i = 0; i < COUNT_OF(ciphers); i++) {
        if (ciphers[i].algo == algo && ciphers[i].bits == key_size * 8)
            return ciphers[i].cipher;
        family = ciphers[i].algo == algo ? ciphers[i].family : family;
    }
    error_set(err, "No %s cipher with key size %zu available", family, key_size);
    return NULL;
}

static void *key_new(const struct nettle_cipher *c, const uint8_t *key, bool encrypt)
{
    void *ctx = xalloc(c->context_size);

    (encrypt ? c->set_encrypt_key : c->set_decrypt_key)(ctx, key);
    return ctx;
}

static void key_free(void *ctx, const struct nettle_cipher *c)
{
    if (ctx)
        explicit_bzero(ctx, c->context_size);
    xfree(ctx);
}

/* ESSIV encrypts sector numbers with a digest of the key. */
static bool essiv_set(Cipher *c, const uint8_t *key, Error *err)
{
    uint8_t digest[DIGEST_MAX];

    c->iv_algo = cipher_find(c->spec.algo, digest_size(c->spec.iv_digest), err);
    if (!c->iv_algo || !digest_of(c->spec.iv_digest, key, cipher_key_size(&c->spec), digest, err))
        return false;
    c->iv = key_new(c->iv_algo, digest, true);
    explicit_bzero(digest, sizeof digest);
    return true;
}

Cipher *cipher_new(const CipherSpec *spec, const uint8_t *key, Error *err)
{
    Cipher *c = xnew(Cipher);

    c->spec = *spec;
    c->algo = cipher_find(spec->algo, spec->bits / 8, err);
    if (!c->algo ||
        (spec->mode == CIPHER_XTS && c->algo->block_size != BLOCK_MAX &&
         !error_set(err, "Unsupported cipher mode xts")) ||
        (spec->iv == CIPHER_ESSIV && !essiv_set(c, key, err))) {
        cipher_free(c);
        return NULL;
    }
    c->encrypt = key_new(c->algo, key, true);
    c->decrypt = key_new(c->algo, key, false);
    if (spec->mode == CIPHER_XTS)
        c->tweak = key_new(c->algo, key + spec->bits / 8, true);
    return c;
}

void cipher_free(Cipher *c)
{
    if (!c)
        return;
    key_free(c->encrypt, c->algo);
    key_free(c->decrypt, c->algo);
    key_free(c->tweak, c->algo);
    key_free(c->iv, c->iv_algo);
    xfree(c);
}

/* --- sectors --- */

static void make_iv(const Cipher *c, uint64_t sector, uint8_t *iv)
{
    put_le64(iv, c->spec.iv == CIPHER_PLAIN ? (uint32_t)sector : sector);
    memset(iv + 8, 0, BLOCK_MAX - 8);
    if (c->iv)
        c->iv_algo->encrypt(c->iv, c->iv_algo->block_size, iv, iv);
}

static void xor_sector(uint8_t *to, const uint8_t *with)
{
    for (unsigned i = 0; i < SECTOR; i += 8)
        put_le64(to + i, get_le64(to + i) ^ get_le64(with + i));
}

static void xts_sector(const Cipher *c, uint8_t *iv, uint8_t *buf, bool encrypt)
{
    uint8_t tweaks[SECTOR];

    c->algo->encrypt(c->tweak, BLOCK_MAX, tweaks, iv);
    for (unsigned at = BLOCK_MAX; at < SECTOR; at += BLOCK_MAX) { /* times x in GF(2^128) */
        uint64_t low = get_le64(tweaks + at - 16), high = get_le64(tweaks + at - 8);

        put_le64(tweaks + at, low << 1 ^ (high >> 63 ? 0x87 : 0));
        put_le64(tweaks + at + 8, high << 1 | low >> 63);
    }
    xor_sector(buf, tweaks);
    if (encrypt)
        c->algo->encrypt(c->encrypt, SECTOR, buf, buf);
    else
        c->algo->decrypt(c->decrypt, SECTOR, buf, buf);
    xor_sector(buf, tweaks);
}

static void cipher_sector(const Cipher *c, uint64_t sector, uint8_t *buf, bool encrypt)
{
    const struct nettle_cipher *a = c->algo;
    uint8_t iv[BLOCK_MAX];

    make_iv(c, sector, iv);
    switch (c->spec.mode) {
    case CIPHER_XTS: xts_sector(c, iv, buf, encrypt); break;
    case CIPHER_CTR: ctr_crypt(c->encrypt, a->encrypt, a->block_size, iv, SECTOR, buf, buf); break;
    case CIPHER_CBC:
        if (encrypt)
            cbc_encrypt(c->encrypt, a->encrypt, a->block_size, iv, SECTOR, buf, buf);
        else
            cbc_decrypt(c->decrypt, a->decrypt, a->block_size, iv, SECTOR, buf, buf);
        break;
    case CIPHER_ECB:
        if (encrypt)
            a->encrypt(c->encrypt, SECTOR, buf, buf);
        else
            a->decrypt(c->decrypt, SECTOR, buf, buf);
        break;
    case CIPHER_MODES: break;
    }
}

static int cipher_run(const Cipher *c, uint64_t sector, uint8_t *buf, size_t size, bool encrypt)
{
    assert(size % SECTOR == 0);
    for (size_t at = 0; at < size; at += SECTOR)
        cipher_sector(c, sector++, buf + at, encrypt);
    return 0;
}

int cipher_encrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    return cipher_run(c, sector, buf, size, true);
}

int cipher_decrypt(Cipher *c, uint64_t sector, uint8_t *buf, size_t size)
{
    return cipher_run(c, sector, buf, size, false);
}
