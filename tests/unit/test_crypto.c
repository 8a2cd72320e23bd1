/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of block/crypto.h and block/cipher.h */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/opts_json.h"
#include "block/cipher.h"
#include "block/crypto.h"
#include "core/object.h"
#include "tests/unit/unit.h"

enum { ROOM = 4 << 20 };

static uint8_t *disk;
static Objects *set;
static unsigned writes_left;

static int disk_read(void *arg, uint64_t at, void *buf, size_t size)
{
    (void)arg;
    ck_assert(at + size <= ROOM);
    memcpy(buf, disk + at, size);
    return 0;
}

static int disk_write(void *arg, uint64_t at, const void *buf, size_t size)
{
    (void)arg;
    ck_assert(at + size <= ROOM);
    if (!writes_left)
        return -EIO;
    writes_left--;
    memcpy(disk + at, buf, size);
    return 0;
}

static const CryptoIo io = {disk_read, disk_write, NULL};

static void setup(void)
{
    Error err = {0};

    disk = xalloc(ROOM);
    writes_left = ~0u;
    set = objects_new();
    ck_assert_msg(object_new_text(set, "secret,id=one,data=first", &err), "%s", err.msg);
    ck_assert_msg(object_new_text(set, "secret,id=two,data=second", &err), "%s", err.msg);
}

static void teardown(void)
{
    objects_free(set);
    xfree(disk);
}

static void parse(const Type *t, void *p, const char *text)
{
    Error err = {0};
    json_t *j = opts_json_parse(text, NULL, 0, NULL, &err);

    reflect_defaults(t, p, FIELD_PROP);
    ck_assert_msg(j && opts_json_apply(t, p, j, FIELD_PROP, &err), "%s", err.msg);
    json_decref(j);
}

static Crypto *create(const char *options)
{
    CryptoCreate p = {0};
    Error err = {0};
    Crypto *c;

    parse(&crypto_create_type, &p, options);
    if (!p.key_secret)
        p.key_secret = xstrdup("one");
    p.iter_time = 1;
    c = crypto_luks_create(&p, set, &io, &err);
    ck_assert_msg(c, "%s", err.msg);
    ck_assert_uint_eq(crypto_payload_offset(c), crypto_luks_size(&p, &err));
    reflect_free(&crypto_create_type, &p);
    return c;
}

static Crypto *reopen(const char *secret)
{
    return crypto_luks_open(&io, set, secret, true, NULL);
}

static bool amend(Crypto *c, const char *options)
{
    CryptoAmend p = {0};
    bool ok;

    parse(&crypto_amend_type, &p, options);
    if (strcmp(p.state, "inactive"))
        p.iter_time = 1;
    ok = crypto_amend(c, &p, set, &io, NULL);
    reflect_free(&crypto_amend_type, &p);
    return ok;
}

START_TEST(xts_agrees_with_the_standard)
{
    /* IEEE 1619, vector 2, the first block: keys 11.. and 22.., data unit 3333333333, plaintext
     * 44.. */
    static const uint8_t expect[16] = {0xc4, 0x54, 0x18, 0x5e, 0x6a, 0x16, 0x93, 0x6e,
                                       0x39, 0x33, 0x40, 0x38, 0xac, 0xef, 0x83, 0x8b};
    CipherSpec spec = {CIPHER_AES, 128, CIPHER_XTS, CIPHER_PLAIN64, DIGEST_SHA1};
    uint8_t key[32], sector[512];
    Cipher *c;

    memset(key, 0x11, 16);
    memset(key + 16, 0x22, 16);
    memset(sector, 0x44, sizeof sector);
    ck_assert_ptr_nonnull(c = cipher_new(&spec, key, NULL));
    ck_assert_int_eq(cipher_encrypt(c, 0x3333333333, sector, sizeof sector), 0);
    ck_assert_mem_eq(sector, expect, sizeof expect);
    cipher_free(c);
}
END_TEST

static const char *const algos[] = {"aes-128",     "aes-192",     "aes-256",     "cast5-128",
                                    "serpent-128", "serpent-192", "serpent-256", "twofish-128",
                                    "twofish-192", "twofish-256"};
static const char *const modes[] = {"xts", "cbc", "ctr", "ecb"};
static const char *const hashes[] = {"md5",    "sha1",   "sha224",   "sha256",
                                     "sha384", "sha512", "ripemd160"};

static void there_and_back(const char *options, bool same_sectors)
{
    uint8_t plain[4096], buf[4096];
    Crypto *c = create(options);

    for (unsigned i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i % 512 * 7);
    memcpy(buf, plain, sizeof buf);
    ck_assert_int_eq(crypto_encrypt(c, 5 << 9, buf, sizeof buf), 0);
    ck_assert_mem_ne(buf, plain, 16);
    ck_assert_msg(!memcmp(buf, buf + 512, 512) == same_sectors, "%s", options);
    crypto_free(c);
    ck_assert_ptr_nonnull(c = reopen("one"));
    ck_assert_int_eq(crypto_decrypt(c, 7 << 9, buf + 1024, 3072), 0);
    ck_assert_mem_eq(buf + 1024, plain + 1024, 3072);
    crypto_free(c);
}

START_TEST(every_cipher_decrypts_what_it_encrypted)
{
    for (unsigned m = 0; m < COUNT_OF(modes); m++) {
        AUTO_FREE char *options = xasprintf("cipher-alg=%s,cipher-mode=%s", algos[_i], modes[m]);

        if (strcmp(algos[_i], "cast5-128") || strcmp(modes[m], "xts"))
            there_and_back(options, !strcmp(modes[m], "ecb"));
    }
}
END_TEST

START_TEST(every_digest_serves_for_passphrases)
{
    for (unsigned h = 0; h < COUNT_OF(hashes); h++) {
        AUTO_FREE char *options = xasprintf("hash-alg=%s", hashes[h]);

        there_and_back(options, false);
    }
    there_and_back("cipher-mode=cbc,ivgen-alg=plain", false);
    there_and_back("cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256", false);
    there_and_back("cipher-alg=serpent-192,ivgen-alg=essiv,ivgen-hash-alg=md5", false);
}
END_TEST

START_TEST(digests_are_those_of_their_standards)
{
    static const struct {
        Digest digest;
        uint8_t first[4]; /* of the digest of "abc" */
    } known[] = {
        {DIGEST_MD5, {0x90, 0x01, 0x50, 0x98}},       {DIGEST_SHA1, {0xa9, 0x99, 0x3e, 0x36}},
        {DIGEST_SHA224, {0x23, 0x09, 0x7d, 0x22}},    {DIGEST_SHA256, {0xba, 0x78, 0x16, 0xbf}},
        {DIGEST_SHA384, {0xcb, 0x00, 0x75, 0x3f}},    {DIGEST_SHA512, {0xdd, 0xaf, 0x35, 0xa1}},
        {DIGEST_RIPEMD160, {0x8e, 0xb2, 0x08, 0xf7}},
    };
    /* RFC 6070, the second vector */
    static const uint8_t derived[4] = {0xea, 0x6c, 0x01, 0x4d};
    uint8_t out[DIGEST_MAX];

    for (unsigned i = 0; i < COUNT_OF(known); i++) {
        ck_assert(digest_of(known[i].digest, "abc", 3, out, NULL));
        ck_assert_mem_eq(out, known[i].first, 4);
    }
    ck_assert(
        digest_pbkdf2(DIGEST_SHA1, "password", 8, (const uint8_t *)"salt", 4, 2, out, 20, NULL));
    ck_assert_mem_eq(out, derived, 4);
}
END_TEST

START_TEST(what_does_not_go_together_is_refused)
{
    static const char *const bad[] = {
        "cipher-alg=des",
        "cipher-alg=aes-512",
        "cipher-mode=cfb",
        "ivgen-alg=plain65",
        "hash-alg=crc32",
        "cipher-alg=cast5-128",
        "cipher-alg=cast5-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=md5",
    };

    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        CryptoCreate p = {0};
        Error err = {0};

        parse(&crypto_create_type, &p, bad[i]);
        ck_assert_msg(!crypto_luks_size(&p, &err), "%s was taken", bad[i]);
        ck_assert_str_ne(err.msg, "");
        reflect_free(&crypto_create_type, &p);
    }
}
END_TEST

START_TEST(a_wrong_passphrase_opens_nothing)
{
    Crypto *c;

    crypto_free(create(""));
    ck_assert_ptr_null(reopen("two"));
    ck_assert_ptr_null(reopen("nobody"));
    ck_assert_ptr_null(reopen(NULL));
    ck_assert_ptr_nonnull(c = crypto_luks_open(&io, set, NULL, false, NULL));
    ck_assert(!crypto_has_key(c));
    ck_assert_int_lt(crypto_decrypt(c, 0, disk, 512), 0);
    crypto_free(c);
}
END_TEST

START_TEST(passphrases_come_and_go)
{
    Crypto *c = create("");

    ck_assert(amend(c, "state=active,new-secret=two"));
    ck_assert(!amend(c, "state=active,new-secret=two,keyslot=1"));
    ck_assert(amend(c, "state=active,new-secret=two,keyslot=7"));
    crypto_free(c);
    ck_assert_ptr_nonnull(c = reopen("two"));
    ck_assert(amend(c, "state=inactive,old-secret=one"));
    ck_assert_ptr_null(reopen("one"));
    ck_assert(!amend(c, "state=inactive,old-secret=two"));
    ck_assert(amend(c, "state=inactive,keyslot=1"));
    ck_assert(!amend(c, "state=inactive,keyslot=1"));
    ck_assert(!amend(c, "state=inactive,keyslot=7"));
    ck_assert(!amend(c, "state=inactive,keyslot=8"));
    crypto_free(c);
    ck_assert_ptr_nonnull(c = reopen("two"));
    crypto_free(c);
}
END_TEST

START_TEST(a_failed_write_leaves_the_old_slots)
{
    Crypto *c = create("");

    for (writes_left = 0; writes_left < 2;) {
        unsigned n = writes_left;

        ck_assert(!amend(c, "state=active,new-secret=two"));
        writes_left = n + 1;
    }
    crypto_free(c);
    ck_assert_ptr_null(reopen("two"));
    ck_assert_ptr_nonnull(c = reopen("one"));
    crypto_free(c);
}
END_TEST

START_TEST(bad_headers_are_refused)
{
    static const struct {
        unsigned at;
        uint32_t value;
    } bad[] = {
        {0, 0},           {4, 0xbabe0002}, {8, 0x44455300}, {40, 0x65636200},
        {72, 0x6d643600}, {108, 0},        {108, 65},       {108, 0x40000000},
        {164, 0},         {208, 1},        {208 + 40, 1},   {208 + 40, 0xfffffff8},
        {208 + 44, 1},    {208 + 88, 8},   {104, 100},      {208 + 4, 0},
    };
    uint8_t good[592];
    Error err;

    crypto_free(create(""));
    memcpy(good, disk, sizeof good);
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        memcpy(disk, good, sizeof good);
        put_be32(disk + bad[i].at, bad[i].value);
        err.msg[0] = 0;
        ck_assert_msg(!crypto_luks_open(&io, set, "one", false, &err), "header %u was taken", i);
        ck_assert_str_ne(err.msg, "");
    }
    for (unsigned i = 0; i < sizeof good; i++) { /* any byte: no crash */
        memcpy(disk, good, sizeof good);
        disk[i] ^= 0x81;
        crypto_free(crypto_luks_open(&io, set, NULL, false, NULL));
    }
}
END_TEST

START_TEST(the_old_aes_takes_a_short_passphrase)
{
    uint8_t buf[1024] = {0};
    Crypto *c = crypto_aes_open(set, "one", true, NULL);

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(crypto_encrypt(c, 0, buf, sizeof buf), 0);
    ck_assert_int_eq(crypto_decrypt(c, 0, buf, sizeof buf), 0);
    for (unsigned i = 0; i < sizeof buf; i++)
        ck_assert_uint_eq(buf[i], 0);
    crypto_free(c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        xts_agrees_with_the_standard,        digests_are_those_of_their_standards,
        every_digest_serves_for_passphrases, what_does_not_go_together_is_refused,
        a_wrong_passphrase_opens_nothing,    passphrases_come_and_go,
        a_failed_write_leaves_the_old_slots, bad_headers_are_refused,
        the_old_aes_takes_a_short_passphrase};
    TCase *t = tcase_create("crypto");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, every_cipher_decrypts_what_it_encrypted, 0, COUNT_OF(algos));
    for (unsigned i = 0; i < COUNT_OF(tests); i++)
        tcase_add_test(t, tests[i]);
    return unit_run_case("crypto", t);
}
