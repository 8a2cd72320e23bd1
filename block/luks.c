/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * luks - images that are one LUKS version 1 volume: a header, then the encrypted disk
 *
 * Sectors are numbered from the start of the payload.  The header's format is block/crypto.c's.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "block/crypto.h"
#include "block/image_create.h"

typedef struct LuksOptions {
    char *key_secret;
} LuksOptions;

static const Field luks_fields[] = {
    PROP_STR(LuksOptions, key_secret, "key-secret", NULL,
             "ID of the secret that provides the encryption key"),
};
static STRUCT_TYPE(luks_type, LuksOptions, luks_fields);

typedef struct LuksCreate {
    uint64_t size;
    CryptoCreate crypto;
} LuksCreate;

static const Field luks_create_fields[] = {
    PROP_SIZE(LuksCreate, size, "size", 0, "Virtual disk size"),
    CRYPTO_CREATE_FIELDS(LuksCreate, crypto, "", CRYPTO_KEY_DOC),
};
static STRUCT_TYPE(luks_create_type, LuksCreate, luks_create_fields);

typedef struct Luks {
    Crypto *crypto;
} Luks;

static Crypto *luks_crypto(const BlockNode *n)
{
    return ((Luks *)n->state)->crypto;
}

/* --- the header's bytes, in the file --- */

static int header_read(void *arg, uint64_t at, void *buf, size_t size)
{
    return node_read(arg, at, buf, size);
}

static int header_write(void *arg, uint64_t at, const void *buf, size_t size)
{
    return node_write(arg, at, buf, size);
}

static CryptoIo header_io(BlockNode *file)
{
    return (CryptoIo){header_read, node_is_read_only(file) ? NULL : header_write, file};
}

/* --- open --- */

static int luks_probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return crypto_luks_probe(head, size) ? 100 : 0;
}

static bool luks_open(BlockNode *n, const void *options, Error *err)
{
    const LuksOptions *o = options;
    Luks *l = n->state;
    CryptoIo io = header_io(n->file);
    uint64_t payload;

    l->crypto = crypto_luks_open(&io, graph_objects(n->graph), o->key_secret,
                                 !(n->flags & NODE_NO_IO), err);
    if (!l->crypto)
        return false;
    payload = crypto_payload_offset(l->crypto);
    if (n->file->size < payload)
        return error_set(err,
                         "The LUKS header says that the payload starts at %" PRIu64
                         ", behind the end of the file",
                         payload);
    n->size = ALIGN_DOWN(n->file->size - payload, (uint64_t)CRYPTO_SECTOR);
    n->request_align = CRYPTO_SECTOR;
    n->encrypted = true;
    return true;
}

static void luks_close(BlockNode *n)
{
    Luks *l = n->state;

    crypto_free(l->crypto);
    l->crypto = NULL;
}

/* --- data --- */

static int luks_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out)
{
    (void)at;
    (void)size;
    (void)may_block;
    *out = (Extent){.kind = EXTENT_SPECIAL,
                    .flags = EXTENT_WRITABLE,
                    .at = 0,
                    .size = n->size,
                    .child = n->file,
                    .child_at = crypto_payload_offset(luks_crypto(n))};
    return 0;
}

static int luks_read(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size)
{
    int rc = node_read(n->file, e->child_at + (at - e->at), buf, size);

    return rc < 0 ? rc : crypto_decrypt(luks_crypto(n), at, buf, size);
}

static int luks_encode(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size)
{
    (void)e;
    return crypto_encrypt(luks_crypto(n), at, buf, size);
}

static bool luks_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    uint64_t payload = crypto_payload_offset(luks_crypto(n));

    if (size > INT64_MAX - payload)
        return error_set(err, "The requested file size is too large");
    if (!node_truncate(n->file, payload + size, p, exact, err))
        return false;
    n->size = size;
    return true;
}

/* --- create, info, amend --- */

static json_t *luks_info(BlockNode *n)
{
    return json_pack("{s:s, s:o}", "type", "luks", "data", crypto_info(luks_crypto(n)));
}

static bool format_file(BlockGraph *g, BlockNode *file, const LuksCreate *o, uint64_t payload,
                        Preallocation p, Error *err)
{
    CryptoIo io = header_io(file);
    Crypto *c;

    if (!node_truncate(file, payload + o->size, p, false, err))
        return false;
    if (!(c = crypto_luks_create(&o->crypto, graph_objects(g), &io, err)))
        return false;
    crypto_free(c);
    return true;
}

/* The size of the header; 0: refused. */
static uint64_t parse_create(const json_t *options, LuksCreate *o, Error *err)
{
    uint64_t payload;

    reflect_defaults(&luks_create_type, o, FIELD_PROP);
    if (!opts_json_apply(&luks_create_type, o, options, FIELD_PROP, err))
        return 0;
    payload = crypto_luks_size(&o->crypto, err);
    if (payload && o->size > INT64_MAX - payload) {
        error_set(err, "The requested file size is too large");
        return 0;
    }
    return payload;
}

static bool luks_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)
{
    LuksCreate o = {0};
    uint64_t payload = parse_create(options, &o, err);
    bool may =
        payload && crypto_secret_check(graph_objects(g), "key-secret", o.crypto.key_secret, err);
    BlockNode *file = may ? block_create_file(g, filename, payload + o.size, NULL, err) : NULL;
    bool ok = file && format_file(g, file, &o, payload, PREALLOC_OFF, err);

    if (file)
        node_unref(file);
    reflect_free(&luks_create_type, &o);
    return ok;
}

/* blockdev-create: {"file", "size", "preallocation", key-secret ...}. */
static bool luks_create(BlockGraph *g, json_t *options, Error *err)
{
    const char *const *names = preallocation_type.names;
    AUTO_FREE char *name = json_take_str(options, "file");
    AUTO_FREE char *prealloc = json_take_str(options, "preallocation");
    BlockNode *file = name ? node_find(g, name) : NULL;
    Preallocation p = PREALLOC_OFF;
    LuksCreate o = {0};
    uint64_t payload;
    bool ok;

    if (!file)
        return error_set(err, "Cannot find device='%s' nor node-name='%s'", name ? name : "",
                         name ? name : "");
    while (prealloc && names[p] && strcmp(names[p], prealloc))
        p++;
    if (!names[p])
        return error_set(err, "Parameter 'preallocation' does not accept value '%s'", prealloc);
    payload = parse_create(options, &o, err);
    ok = payload && format_file(g, file, &o, payload, p, err);
    reflect_free(&luks_create_type, &o);
    return ok;
}

static json_t *luks_measure(json_t *options, BlockNode *source, Error *err)
{
    LuksCreate o = {0};
    uint64_t payload = parse_create(options, &o, err);
    uint64_t size = payload + (source ? (uint64_t)source->size : o.size);

    reflect_free(&luks_create_type, &o);
    return payload ? json_pack("{s:I, s:I}", "required", (json_int_t)size, "fully-allocated",
                               (json_int_t)size)
                   : NULL;
}

static bool luks_amend(BlockNode *n, json_t *options,
                       void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
                       Error *err)
{
    CryptoIo io = header_io(n->file);
    CryptoAmend o = {0};
    bool ok;

    reflect_defaults(&crypto_amend_type, &o, FIELD_PROP);
    o.force = json_is_true(json_object_get(options, "force"));
    json_object_del(options, "force");
    ok = opts_json_apply(&crypto_amend_type, &o, options, FIELD_PROP, err) &&
         crypto_amend(luks_crypto(n), &o, graph_objects(n->graph), &io, err);
    reflect_free(&crypto_amend_type, &o);
    if (ok && progress)
        progress(arg, 1, 1);
    return ok;
}

static BlockDriver luks_driver = {
    .name = "luks",
    .doc = "LUKS version 1 encrypted volume",
    .kind = DRIVER_FORMAT,
    .options = &luks_type,
    .children = image_children,
    .state_size = sizeof(Luks),
    .probe = luks_probe,
    .open = luks_open,
    .close = luks_close,
    .map = luks_map,
    .read = luks_read,
    .encode = luks_encode,
    .truncate = luks_truncate,
    .info = luks_info,
    .create = luks_create,
    .create_file = luks_create_file,
    .create_options = &luks_create_type,
    .amend = luks_amend,
    .amend_options = &crypto_amend_type,
    .measure = luks_measure,
};
BLOCK_DRIVER_REGISTER(luks_driver)
