/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto - LUKS version 1 headers and key slots (LUKS On-Disk Format Specification 1.2.3), and
 * qcow2's old AES; crypto.h has the contract
 *
 * Layout of new headers: 4 KiB for the header, then eight places for key material and the payload,
 * each aligned to 4 KiB.
 */
#include "block/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/cipher.h"
#include "io/secret.h"

enum {
    HEADER_SIZE = 592,
    HEADER_SECTORS = 8,
    SLOTS = 8,
    SLOT_AT = 208, /* of the first slot in the header */
    SLOT_SIZE = 48,
    SALT_SIZE = 32,
    DIGEST_SIZE = 20, /* of the master key's digest */
    STRIPES = 4000,
    SLOT_ACTIVE = 0x00AC71F3,
    SLOT_FREE = 0x0000DEAD,
    ITER_TIME = 2000, /* ms */
    ITER_MIN = 1000,
};

typedef struct Slot {
    bool active;
    uint32_t iterations, at, stripes; /* at: in sectors */
    uint8_t salt[SALT_SIZE];
} Slot;

struct Crypto {
    bool luks;
    CipherSpec spec;
    Digest hash;
    uint32_t payload; /* in sectors */
    uint8_t digest[DIGEST_SIZE], digest_salt[SALT_SIZE];
    uint32_t digest_iterations;
    char uuid[41];
    Slot slots[SLOTS];
    Cipher *cipher; /* NULL: opened without the key */
    uint8_t key[CIPHER_KEY_MAX];
};

/* --- options --- */

typedef struct CreateOnly {
    CryptoCreate c;
} CreateOnly;

static const Field create_fields[] = {CRYPTO_CREATE_FIELDS(CreateOnly, c, "", CRYPTO_KEY_DOC)};
STRUCT_TYPE(crypto_create_type, CryptoCreate, create_fields);

static const Field amend_fields[] = {
    PROP_STR(CryptoAmend, state, "state", NULL,
             "Select new state of affected keyslots (active/inactive)"),
    PROP_STR(CryptoAmend, new_secret, "new-secret", NULL,
             "New secret to set in the matching keyslots. Empty string to erase"),
    PROP_STR(CryptoAmend, old_secret, "old-secret", NULL,
             "Select all keyslots that match this password"),
    PROP(CryptoAmend, keyslot, "keyslot", CRYPTO_ANY_SLOT,
         "Select a single keyslot to modify explicitly"),
    PROP(CryptoAmend, iter_time, "iter-time", 0, "Time to spend in PBKDF in milliseconds"),
};
STRUCT_TYPE(crypto_amend_type, CryptoAmend, amend_fields);

/* Each ends with NULL. */
static const char *const hash_names[DIGEST_COUNT + 1] = {[DIGEST_MD5] = "md5",
                                                         [DIGEST_SHA1] = "sha1",
                                                         [DIGEST_SHA224] = "sha224",
                                                         [DIGEST_SHA256] = "sha256",
                                                         [DIGEST_SHA384] = "sha384",
                                                         [DIGEST_SHA512] = "sha512",
                                                         [DIGEST_RIPEMD160] = "ripemd160"};
static const char *const mode_names[CIPHER_MODES + 1] = {
    [CIPHER_ECB] = "ecb", [CIPHER_CBC] = "cbc", [CIPHER_XTS] = "xts", [CIPHER_CTR] = "ctr"};
static const char *const iv_names[CIPHER_IVS + 1] = {
    [CIPHER_PLAIN] = "plain", [CIPHER_PLAIN64] = "plain64", [CIPHER_ESSIV] = "essiv"};

static const struct {
    const char *name; /* as an option */
    CipherAlgo algo;
    unsigned bits;
    const char *header; /* as in the header, which has the size of the key beside it */
} ciphers[] = {
    {"aes-128", CIPHER_AES, 128, "aes"},
    {"aes-192", CIPHER_AES, 192, "aes"},
    {"aes-256", CIPHER_AES, 256, "aes"},
    {"cast5-128", CIPHER_CAST5, 128, "cast5"},
    {"serpent-128", CIPHER_SERPENT, 128, "serpent"},
    {"serpent-192", CIPHER_SERPENT, 192, "serpent"},
    {"serpent-256", CIPHER_SERPENT, 256, "serpent"},
    {"twofish-128", CIPHER_TWOFISH, 128, "twofish"},
    {"twofish-192", CIPHER_TWOFISH, 192, "twofish"},
    {"twofish-256", CIPHER_TWOFISH, 256, "twofish"},
};

/* In ciphers[]. */
static unsigned cipher_index(const CipherSpec *s)
{
    unsigned i = 0;

    while (ciphers[i].algo != s->algo || ciphers[i].bits != s->bits)
        i++;
    return i;
}

/* The index of @value, or of @otherwise if it is NULL; -1: unknown. */
static int name_index(const char *const *names, const char *option, const char *value,
                      int otherwise, Error *err)
{
    char known[128] = "";

    if (!value)
        return otherwise;
    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(names[i], value))
            return (int)i;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 names[i]);
    }
    error_set(err, "Parameter '%s' does not accept value '%s' (known: %s)", option, value, known);
    return -1;
}

static bool parse_cipher(CipherSpec *s, const char *name, Error *err)
{
    const char *names[COUNT_OF(ciphers) + 1];
    int found;

    for (unsigned i = 0; i < COUNT_OF(ciphers); i++)
        names[i] = ciphers[i].name;
    names[COUNT_OF(ciphers)] = NULL;
    if ((found = name_index(names, "cipher-alg", name ? name : "aes-256", 0, err)) < 0)
        return false;
    s->algo = ciphers[found].algo;
    s->bits = ciphers[found].bits;
    return true;
}

/* Combinations that there are only one by one. */
static bool check_spec(const CipherSpec *s, Error *err)
{
    if (s->algo != CIPHER_CAST5)
        return true;
    if (s->mode == CIPHER_XTS)
        return error_set(err, "Unsupported cipher mode xts (cast5-128: cbc, ctr, ecb)");
    if (s->iv == CIPHER_ESSIV)
        return error_set(err, "Cipher cast5-128 not supported with essiv");
    return true;
}

static bool parse_create(Crypto *c, const CryptoCreate *p, Error *err)
{
    int mode = name_index(mode_names, "cipher-mode", p->cipher_mode, CIPHER_XTS, err);
    int iv = name_index(iv_names, "ivgen-alg", p->ivgen_alg, CIPHER_PLAIN64, err);
    int iv_hash = name_index(hash_names, "ivgen-hash-alg", p->ivgen_hash_alg, DIGEST_SHA256, err);
    int hash = name_index(hash_names, "hash-alg", p->hash_alg, DIGEST_SHA256, err);

    if (mode < 0 || iv < 0 || iv_hash < 0 || hash < 0 ||
        !parse_cipher(&c->spec, p->cipher_alg, err))
        return false;
    c->luks = true;
    c->spec.mode = (CipherMode)mode;
    c->spec.iv = (CipherIv)iv;
    c->spec.iv_digest = (Digest)iv_hash;
    c->hash = (Digest)hash;
    return check_spec(&c->spec, err);
}

static uint32_t material_size(const Crypto *c)
{
    return (uint32_t)cipher_key_size(&c->spec) * STRIPES;
}

/* Key material takes whole sectors. */
static uint32_t material_sectors(const Crypto *c)
{
    return (material_size(c) + CRYPTO_SECTOR - 1) / CRYPTO_SECTOR;
}

static void lay_out(Crypto *c)
{
    uint32_t each = ALIGN_UP(material_sectors(c), HEADER_SECTORS);

    for (unsigned i = 0; i < SLOTS; i++) {
        c->slots[i].at = HEADER_SECTORS + i * each;
        c->slots[i].stripes = STRIPES;
    }
    c->payload = HEADER_SECTORS + SLOTS * each;
}

uint64_t crypto_luks_size(const CryptoCreate *p, Error *err)
{
    Crypto c = {0};

    if (!parse_create(&c, p, err))
        return 0;
    lay_out(&c);
    return (uint64_t)c.payload * CRYPTO_SECTOR;
}

/* --- the header --- */

bool crypto_luks_probe(const void *head, size_t size)
{
    return size >= HEADER_SIZE && !memcmp(head, "LUKS\xba\xbe\0\1", 8);
}

/* By its name in the header and the size of the key. */
static bool find_cipher(CipherSpec *s, const char *name, uint32_t key_size, Error *err)
{
    for (unsigned i = 0; i < COUNT_OF(ciphers); i++) {
        s->algo = ciphers[i].algo;
        s->bits = ciphers[i].bits;
        if (!strcmp(ciphers[i].header, name) && cipher_key_size(s) == key_size)
            return true;
    }
    return error_set(err, "Algorithm '%s' with key size %u bytes not supported", name, key_size);
}

static bool parse_names(Crypto *c, const uint8_t *h, Error *err)
{
    char cipher[33] = {0}, mode[33] = {0}, hash[33] = {0};
    char *iv, *iv_hash;
    int i;

    memcpy(cipher, h + 8, 32);
    memcpy(mode, h + 40, 32);
    memcpy(hash, h + 72, 32);
    if (!(iv = strchr(mode, '-')))
        return error_set(err, "Unexpected cipher mode string format '%s'", mode);
    *iv++ = 0;
    if ((iv_hash = strchr(iv, ':')))
        *iv_hash++ = 0;
    if ((i = name_index(hash_names, "hash-alg", hash, 0, err)) < 0)
        return false;
    c->hash = (Digest)i;
    if ((i = name_index(mode_names, "cipher-mode", mode, 0, err)) < 0)
        return false;
    c->spec.mode = (CipherMode)i;
    if ((i = name_index(iv_names, "ivgen-alg", iv, 0, err)) < 0)
        return false;
    c->spec.iv = (CipherIv)i;
    if (!find_cipher(&c->spec, cipher, get_be32(h + 108), err))
        return false;
    if (c->spec.iv != CIPHER_ESSIV)
        return check_spec(&c->spec, err);
    if (!iv_hash)
        return error_set(err, "Missing IV generator hash specification");
    if ((i = name_index(hash_names, "ivgen-hash-alg", iv_hash, 0, err)) < 0)
        return false;
    c->spec.iv_digest = (Digest)i;
    return check_spec(&c->spec, err);
}

static bool check_slots(const Crypto *c, Error *err)
{
    uint32_t size = material_sectors(c);

    for (unsigned i = 0; i < SLOTS; i++) {
        const Slot *s = &c->slots[i];

        if (s->stripes != STRIPES)
            return error_set(err, "Keyslot %u is corrupted (stripes %u != %d)", i, s->stripes,
                             STRIPES);
        if (s->at < 2)
            return error_set(err, "Keyslot %u is overlapping with the LUKS header", i);
        if (s->active && s->iterations == 0)
            return error_set(err, "Keyslot %u iteration count is zero", i);
        if ((uint64_t)s->at + size > c->payload)
            return error_set(err, "Keyslot %u is overlapping with the encrypted payload", i);
        for (unsigned j = 0; j < i; j++)
            if (s->at < c->slots[j].at + size && c->slots[j].at < s->at + size)
                return error_set(err, "Keyslots %u and %u are overlapping in the header", j, i);
    }
    return true;
}

static bool parse_header(Crypto *c, const uint8_t *h, Error *err)
{
    if (memcmp(h, "LUKS\xba\xbe", 6))
        return error_set(err, "Volume is not in LUKS format");
    if (get_be16(h + 6) != 1)
        return error_set(err, "LUKS version %u is not supported", get_be16(h + 6));
    if (!parse_names(c, h, err))
        return false;
    c->luks = true;
    c->payload = get_be32(h + 104);
    memcpy(c->digest, h + 112, DIGEST_SIZE);
    memcpy(c->digest_salt, h + 132, SALT_SIZE);
    if ((c->digest_iterations = get_be32(h + 164)) == 0)
        return error_set(err, "LUKS key iteration count is zero");
    memcpy(c->uuid, h + 168, 40);
    for (unsigned i = 0; i < SLOTS; i++) {
        const uint8_t *p = h + SLOT_AT + i * SLOT_SIZE;
        uint32_t state = get_be32(p);

        if (state != SLOT_ACTIVE && state != SLOT_FREE)
            return error_set(err, "Keyslot %u state is not recognized (0x%x)", i, state);
        c->slots[i].active = state == SLOT_ACTIVE;
        c->slots[i].iterations = get_be32(p + 4);
        memcpy(c->slots[i].salt, p + 8, SALT_SIZE);
        c->slots[i].at = get_be32(p + 40);
        c->slots[i].stripes = get_be32(p + 44);
    }
    return check_slots(c, err);
}

static void text_put(uint8_t *at, const char *text)
{
    memcpy(at, text, strlen(text));
}

static bool write_header(const Crypto *c, const CryptoIo *io, Error *err)
{
    uint8_t h[HEADER_SIZE] = "LUKS\xba\xbe\0\1";
    AUTO_FREE char *mode =
        xasprintf("%s-%s%s%s", mode_names[c->spec.mode], iv_names[c->spec.iv],
                  c->spec.iv == CIPHER_ESSIV ? ":" : "",
                  c->spec.iv == CIPHER_ESSIV ? hash_names[c->spec.iv_digest] : "");
    int rc;

    text_put(h + 8, ciphers[cipher_index(&c->spec)].header);
    text_put(h + 40, mode);
    text_put(h + 72, hash_names[c->hash]);
    put_be32(h + 104, c->payload);
    put_be32(h + 108, (uint32_t)cipher_key_size(&c->spec));
    memcpy(h + 112, c->digest, DIGEST_SIZE);
    memcpy(h + 132, c->digest_salt, SALT_SIZE);
    put_be32(h + 164, c->digest_iterations);
    memcpy(h + 168, c->uuid, 40);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint8_t *p = h + SLOT_AT + i * SLOT_SIZE;

        put_be32(p, c->slots[i].active ? SLOT_ACTIVE : SLOT_FREE);
        put_be32(p + 4, c->slots[i].iterations);
        memcpy(p + 8, c->slots[i].salt, SALT_SIZE);
        put_be32(p + 40, c->slots[i].at);
        put_be32(p + 44, c->slots[i].stripes);
    }
    if (!io->write)
        return error_set(err, "Unable to write encryption header: the image is read-only");
    rc = io->write(io->arg, 0, h, sizeof h);
    return rc == 0 || error_set_errno(err, -rc, "Unable to write encryption header");
}

/* --- anti-forensic stripes: chapter 2.4 --- */

static bool diffuse(Digest hash, uint8_t *block, size_t size, Error *err)
{
    uint8_t in[4 + DIGEST_MAX], out[DIGEST_MAX];
    size_t step = digest_size(hash);

    for (size_t at = 0, i = 0; at < size; at += step, i++) {
        size_t n = MIN(step, size - at);

        put_be32(in, (uint32_t)i);
        memcpy(in + 4, block + at, n);
        if (!digest_of(hash, in, 4 + n, out, err))
            return false;
        memcpy(block + at, out, n);
    }
    return true;
}

/* @block becomes what the first STRIPES - 1 stripes of @material add up to. */
static bool sum_stripes(Digest hash, const uint8_t *material, uint8_t *block, size_t size,
                        Error *err)
{
    memset(block, 0, size);
    for (unsigned s = 0; s < STRIPES - 1; s++) {
        for (size_t i = 0; i < size; i++)
            block[i] ^= material[s * size + i];
        if (!diffuse(hash, block, size, err))
            return false;
    }
    return true;
}

static bool af_split(Digest hash, const uint8_t *key, size_t size, uint8_t *material, Error *err)
{
    uint8_t block[CIPHER_KEY_MAX];
    bool ok = random_fill(material, size * (STRIPES - 1), err) &&
              sum_stripes(hash, material, block, size, err);

    for (size_t i = 0; ok && i < size; i++)
        material[(STRIPES - 1) * size + i] = block[i] ^ key[i];
    explicit_bzero(block, sizeof block);
    return ok;
}

static bool af_merge(Digest hash, const uint8_t *material, size_t size, uint8_t *key, Error *err)
{
    if (!sum_stripes(hash, material, key, size, err))
        return false;
    for (size_t i = 0; i < size; i++)
        key[i] ^= material[(STRIPES - 1) * size + i];
    return true;
}

/* --- keys and slots --- */

typedef struct Secret {
    uint8_t *p;
    size_t size;
} Secret;

static bool secret_take(Secret *s, struct Objects *set, const char *id, Error *err)
{
    if (!id)
        return error_set(err, "Parameter 'key-secret' is required for cipher");
    s->p = secret_get(set, id, &s->size, err);
    return s->p;
}

static void secret_drop(Secret *s)
{
    if (s->p)
        secret_free(s->p, s->size);
    s->p = NULL;
}

bool crypto_secret_check(struct Objects *set, const char *option, const char *id, Error *err)
{
    Secret s = {0};

    if (!id)
        return error_set(err, "Parameter '%s' is required for cipher", option);
    if (!secret_take(&s, set, id, err))
        return false;
    secret_drop(&s);
    return true;
}

static bool key_digest(const Crypto *c, const uint8_t *key, uint8_t *out, Error *err)
{
    return digest_pbkdf2(c->hash, key, cipher_key_size(&c->spec), c->digest_salt, SALT_SIZE,
                         c->digest_iterations, out, DIGEST_SIZE, err);
}

static Cipher *slot_cipher(const Crypto *c, const Slot *s, const Secret *pass, Error *err)
{
    uint8_t key[CIPHER_KEY_MAX];
    Cipher *cipher = NULL;

    if (digest_pbkdf2(c->hash, pass->p, pass->size, s->salt, SALT_SIZE, s->iterations, key,
                      cipher_key_size(&c->spec), err))
        cipher = cipher_new(&c->spec, key, err);
    explicit_bzero(key, sizeof key);
    return cipher;
}

/* 1: @key is the master key, 0: the slot has another passphrase, -1: failed. */
static int slot_try(const Crypto *c, unsigned i, const Secret *pass, const CryptoIo *io,
                    uint8_t *key, Error *err)
{
    const Slot *s = &c->slots[i];
    size_t size = (size_t)material_sectors(c) * CRYPTO_SECTOR;
    uint8_t digest[DIGEST_SIZE];
    AUTO_FREE uint8_t *material = xalloc(size);
    Cipher *cipher;
    int rc = io->read(io->arg, (uint64_t)s->at * CRYPTO_SECTOR, material, material_size(c));

    if (rc < 0) {
        error_set_errno(err, -rc, "Failed to read key material");
        return -1;
    }
    if (!(cipher = slot_cipher(c, s, pass, err)))
        return -1;
    rc = cipher_decrypt(cipher, 0, material, size);
    cipher_free(cipher);
    if (rc < 0) {
        error_set_errno(err, -rc, "Failed to decrypt key material");
        return -1;
    }
    if (!af_merge(c->hash, material, cipher_key_size(&c->spec), key, err) ||
        !key_digest(c, key, digest, err))
        return -1;
    return !memcmp(digest, c->digest, DIGEST_SIZE);
}

/* The first slot from @from on that the passphrase opens; SLOTS: none, -1: failed. */
static int slot_search(const Crypto *c, unsigned from, const Secret *pass, const CryptoIo *io,
                       uint8_t *key, Error *err)
{
    for (unsigned i = from; i < SLOTS; i++) {
        int rc = c->slots[i].active ? slot_try(c, i, pass, io, key, err) : 0;

        if (rc)
            return rc < 0 ? -1 : (int)i;
    }
    return SLOTS;
}

static int64_t thread_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* How many iterations fill @ms of this processor's time when deriving @size bytes. */
static bool count_iterations(Digest hash, size_t size, uint64_t ms, uint32_t *out, Error *err)
{
    uint8_t salt[SALT_SIZE] = {0}, key[CIPHER_KEY_MAX];
    uint64_t tried = 1 << 14;
    int64_t ns;

    for (;; tried *= 2) {
        int64_t start = thread_ns();

        if (!digest_pbkdf2(hash, "passphrase", 10, salt, sizeof salt, tried, key, size, err))
            return false;
        ns = thread_ns() - start;
        if (ns > 50000000 || tried >= 1 << 26)
            break;
    }
    double n = (double)tried * (double)ms * 1e6 / (double)MAX(ns, 1);

    if (n > UINT32_MAX)
        return error_set(err, "PBKDF iterations %.0f larger than %u: choose a smaller iter-time", n,
                         UINT32_MAX);
    *out = MAX((uint32_t)n, (uint32_t)ITER_MIN);
    return true;
}

/* The master key into slot @i under a new passphrase; the header is written after the material. */
static bool slot_store(Crypto *c, unsigned i, const Secret *pass, uint64_t iter_time,
                       const CryptoIo *io, Error *err)
{
    Slot *s = &c->slots[i], old = *s;
    size_t size = (size_t)material_sectors(c) * CRYPTO_SECTOR;
    AUTO_FREE uint8_t *material = xalloc(size);
    Cipher *cipher = NULL;
    bool ok = io->write || error_set(err, "the image is read-only");
    int rc;

    ok = ok && random_fill(s->salt, SALT_SIZE, err) &&
         count_iterations(c->hash, cipher_key_size(&c->spec), iter_time ? iter_time : ITER_TIME,
                          &s->iterations, err) &&
         af_split(c->hash, c->key, cipher_key_size(&c->spec), material, err) &&
         (cipher = slot_cipher(c, s, pass, err));
    if (ok) {
        rc = cipher_encrypt(cipher, 0, material, size);
        if (rc == 0)
            rc = io->write(io->arg, (uint64_t)s->at * CRYPTO_SECTOR, material, size);
        ok = rc == 0 || error_set_errno(err, -rc, "Failed to write key material");
    }
    cipher_free(cipher);
    s->active = ok;
    ok = ok && write_header(c, io, err);
    if (!ok)
        *s = old;
    return ok;
}

/* The header forgets the slot before its material is overwritten. */
static bool slot_erase(Crypto *c, unsigned i, const CryptoIo *io, Error *err)
{
    Slot *s = &c->slots[i], old = *s;
    size_t size = (size_t)material_sectors(c) * CRYPTO_SECTOR;
    AUTO_FREE uint8_t *garbage = xalloc(size);
    int rc;

    s->active = false;
    s->iterations = 0;
    memset(s->salt, 0, SALT_SIZE);
    if (!write_header(c, io, err)) {
        *s = old;
        return false;
    }
    if (!random_fill(garbage, size, err))
        return false;
    rc = io->write(io->arg, (uint64_t)s->at * CRYPTO_SECTOR, garbage, size);
    return rc == 0 || error_set_errno(err, -rc, "Failed to overwrite key material of slot %u", i);
}

/* --- open, create --- */

void crypto_free(Crypto *c)
{
    if (!c)
        return;
    cipher_free(c->cipher);
    explicit_bzero(c->key, sizeof c->key);
    xfree(c);
}

static bool open_key(Crypto *c, const CryptoIo *io, struct Objects *set, const char *key_secret,
                     Error *err)
{
    Secret pass = {0};
    int slot;

    if (!secret_take(&pass, set, key_secret, err))
        return false;
    slot = slot_search(c, 0, &pass, io, c->key, err);
    secret_drop(&pass);
    if (slot == SLOTS)
        return error_set(err, "Invalid password, cannot unlock any keyslot");
    return slot >= 0 && (c->cipher = cipher_new(&c->spec, c->key, err));
}

Crypto *crypto_luks_open(const CryptoIo *io, struct Objects *set, const char *key_secret,
                         bool need_key, Error *err)
{
    Crypto *c = xnew(Crypto);
    uint8_t h[HEADER_SIZE];
    int rc = io->read(io->arg, 0, h, sizeof h);

    if (rc < 0)
        error_set_errno(err, -rc, "Unable to read LUKS header");
    if (rc == 0 && parse_header(c, h, err) && (!need_key || open_key(c, io, set, key_secret, err)))
        return c;
    crypto_free(c);
    return NULL;
}

static bool make_uuid(Crypto *c, Error *err)
{
    uint8_t r[16];

    if (!random_fill(r, sizeof r, err))
        return false;
    r[6] = (r[6] & 0x0f) | 0x40;
    r[8] = (r[8] & 0x3f) | 0x80;
    snprintf(c->uuid, sizeof c->uuid,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
             r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
             r[15]);
    return true;
}

/* An eighth of the time goes into the digest, as each wrong passphrase pays for both. */
static bool make_key(Crypto *c, uint64_t iter_time, Error *err)
{
    size_t size = cipher_key_size(&c->spec);
    uint64_t ms = (iter_time ? iter_time : ITER_TIME) / 8;

    return random_fill(c->key, size, err) && random_fill(c->digest_salt, SALT_SIZE, err) &&
           count_iterations(c->hash, DIGEST_SIZE, MAX(ms, 1u), &c->digest_iterations, err) &&
           key_digest(c, c->key, c->digest, err) &&
           (c->cipher = cipher_new(&c->spec, c->key, err)) && make_uuid(c, err);
}

Crypto *crypto_luks_create(const CryptoCreate *p, struct Objects *set, const CryptoIo *io,
                           Error *err)
{
    Crypto *c = xnew(Crypto);
    Secret pass = {0};
    bool ok = parse_create(c, p, err) && secret_take(&pass, set, p->key_secret, err) &&
              make_key(c, p->iter_time, err);

    if (ok) {
        lay_out(c);
        ok = slot_store(c, 0, &pass, p->iter_time, io, err);
    }
    secret_drop(&pass);
    if (ok)
        return c;
    crypto_free(c);
    return NULL;
}

Crypto *crypto_aes_open(struct Objects *set, const char *key_secret, bool need_key, Error *err)
{
    Crypto *c = xnew(Crypto);
    Secret pass = {0};

    c->spec = (CipherSpec){CIPHER_AES, 128, CIPHER_CBC, CIPHER_PLAIN64, DIGEST_SHA1};
    if (!need_key)
        return c;
    if (secret_take(&pass, set, key_secret, err)) {
        memcpy(c->key, pass.p, MIN(pass.size, 16u)); /* zeroes behind a shorter one */
        secret_drop(&pass);
        if ((c->cipher = cipher_new(&c->spec, c->key, err)))
            return c;
    }
    crypto_free(c);
    return NULL;
}

/* --- use --- */

uint64_t crypto_payload_offset(const Crypto *c)
{
    return (uint64_t)c->payload * CRYPTO_SECTOR;
}

bool crypto_has_key(const Crypto *c)
{
    return c->cipher;
}

int crypto_encrypt(Crypto *c, uint64_t at, void *buf, size_t size)
{
    return c->cipher ? cipher_encrypt(c->cipher, at / CRYPTO_SECTOR, buf, size) : -EACCES;
}

int crypto_decrypt(Crypto *c, uint64_t at, void *buf, size_t size)
{
    return c->cipher ? cipher_decrypt(c->cipher, at / CRYPTO_SECTOR, buf, size) : -EACCES;
}

static json_t *slots_info(const Crypto *c)
{
    json_t *slots = json_array();

    for (unsigned i = 0; i < SLOTS; i++) {
        const Slot *s = &c->slots[i];
        json_t *j = json_pack("{s:b}", "active", s->active);

        if (s->active)
            json_object_set_new(j, "iters", json_integer(s->iterations));
        json_object_set_new(j, "key-offset", json_integer((json_int_t)s->at * CRYPTO_SECTOR));
        if (s->active)
            json_object_set_new(j, "stripes", json_integer(s->stripes));
        json_array_append_new(slots, j);
    }
    return slots;
}

json_t *crypto_info(const Crypto *c)
{
    json_t *j = json_object();

    if (!c->luks)
        return j;
    json_object_set_new(j, "ivgen-alg", json_string(iv_names[c->spec.iv]));
    if (c->spec.iv == CIPHER_ESSIV)
        json_object_set_new(j, "ivgen-hash-alg", json_string(hash_names[c->spec.iv_digest]));
    json_object_set_new(j, "hash-alg", json_string(hash_names[c->hash]));
    json_object_set_new(j, "cipher-alg", json_string(ciphers[cipher_index(&c->spec)].name));
    json_object_set_new(j, "uuid", json_string(c->uuid));
    json_object_set_new(j, "cipher-mode", json_string(mode_names[c->spec.mode]));
    json_object_set_new(j, "slots", slots_info(c));
    json_object_set_new(j, "payload-offset", json_integer((json_int_t)crypto_payload_offset(c)));
    json_object_set_new(j, "master-key-iters", json_integer(c->digest_iterations));
    return j;
}

/* --- amend --- */

/* Bit i: slot i. */
static unsigned slots_active(const Crypto *c)
{
    unsigned active = 0;

    for (unsigned i = 0; i < SLOTS; i++)
        active |= c->slots[i].active ? 1u << i : 0;
    return active;
}

static bool amend_add(Crypto *c, const CryptoAmend *p, struct Objects *set, const CryptoIo *io,
                      Error *err)
{
    int slot = p->keyslot == CRYPTO_ANY_SLOT ? -1 : (int)p->keyslot;
    Secret pass = {0};
    bool ok;

    if (!p->new_secret)
        return error_set(err, "'new-secret' is required to activate a keyslot");
    if (p->old_secret)
        return error_set(err, "'old-secret' must not be given when activating keyslots");
    for (int i = 0; slot < 0 && i < SLOTS; i++)
        if (!c->slots[i].active)
            slot = i;
    if (slot < 0)
        return error_set(err, "Can't add a keyslot - all keyslots are in use");
    if (c->slots[slot].active && !p->force)
        return error_set(err, "Refusing to overwrite active keyslot %i - please erase it first",
                         slot);
    ok = secret_take(&pass, set, p->new_secret, err) &&
         slot_store(c, (unsigned)slot, &pass, p->iter_time, io, err);
    secret_drop(&pass);
    return ok;
}

/* Bit i: slot i is to be erased. */
static bool amend_which(const Crypto *c, const CryptoAmend *p, struct Objects *set,
                        const CryptoIo *io, unsigned *which, Error *err)
{
    uint8_t key[CIPHER_KEY_MAX];
    Secret pass = {0};
    int slot = -1;

    *which = p->keyslot >= 0 ? 1u << p->keyslot : 0;
    if (!p->old_secret)
        return true;
    if (!secret_take(&pass, set, p->old_secret, err))
        return false;
    unsigned matching = 0;

    while ((slot = slot_search(c, (unsigned)(slot + 1), &pass, io, key, err)) >= 0 && slot < SLOTS)
        matching |= 1u << slot;
    explicit_bzero(key, sizeof key);
    secret_drop(&pass);
    if (slot < 0)
        return false;
    if (!matching)
        return error_set(err, "No keyslots match given (old) password for erase operation");
    if (*which && !(*which & matching))
        return error_set(err,
                         "Given keyslot %d doesn't contain the given old password for erase "
                         "operation",
                         (int)p->keyslot);
    *which = *which ? *which : matching;
    return true;
}

static bool amend_erase(Crypto *c, const CryptoAmend *p, struct Objects *set, const CryptoIo *io,
                        Error *err)
{
    unsigned which;

    if (p->new_secret)
        return error_set(err, "'new-secret' must not be given when erasing keyslots");
    if (p->iter_time)
        return error_set(err, "'iter-time' must not be given when erasing keyslots");
    if (p->keyslot < 0 && !p->old_secret)
        return error_set(err, "To erase keyslot(s), either explicit keyslot index or the password "
                              "currently contained in them must be given");
    if (p->keyslot >= 0 && !c->slots[p->keyslot].active && !p->force)
        return error_set(err, "Given keyslot %d is already erased (inactive)", (int)p->keyslot);
    if (!amend_which(c, p, set, io, &which, err))
        return false;
    if (!p->force && !(slots_active(c) & ~which))
        return p->old_secret && p->keyslot < 0
                   ? error_set(err, "All the active keyslots match the (old) password that was "
                                    "given and erasing them will erase all the data in the image "
                                    "irreversibly - refusing operation")
                   : error_set(err,
                               "Attempt to erase the only active keyslot %d which will erase all "
                               "the data in the image irreversibly - refusing operation",
                               (int)p->keyslot);
    for (unsigned i = 0; i < SLOTS; i++)
        if ((which & 1u << i) && !slot_erase(c, i, io, err))
            return false;
    return true;
}

bool crypto_amend(Crypto *c, const CryptoAmend *p, struct Objects *set, const CryptoIo *io,
                  Error *err)
{
    if (!c->luks || !c->cipher)
        return error_set(err, "Key slots can be changed only in a LUKS image that is unlocked");
    if (!p->state)
        return error_set(err, "Parameter 'state' is missing (active, inactive)");
    if (strcmp(p->state, "active") && strcmp(p->state, "inactive"))
        return error_set(err,
                         "Parameter 'state' does not accept value '%s' (known: active, inactive)",
                         p->state);
    if (p->keyslot != CRYPTO_ANY_SLOT && (p->keyslot < 0 || p->keyslot >= SLOTS))
        return error_set(err, "Invalid keyslot %" PRId64 " specified, must be between 0 and %d",
                         p->keyslot, SLOTS - 1);
    return !strcmp(p->state, "active") ? amend_add(c, p, set, io, err)
                                       : amend_erase(c, p, set, io, err);
}
