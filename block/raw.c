/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw - the bytes of a file are the bytes of the disk, or a window of them is
 */
#include <errno.h>

#include "base/opts_json.h"
#include "block/block_priv.h"
#include "block/open.h"

enum { PROBED_BYTES = 512 };

typedef struct Raw {
    uint64_t offset;
    bool has_size; /* the window does not grow */
} Raw;

typedef struct RawOptions {
    uint64_t offset, size;
} RawOptions;

static const Field raw_fields[] = {
    PROP_SIZE(RawOptions, offset, "offset", 0, "offset in the raw disk where the image starts"),
    PROP_SIZE(RawOptions, size, "size", 0, "virtual disk size; 0: up to the end"),
};
static STRUCT_TYPE(raw_options_type, RawOptions, raw_fields);

static bool raw_open(BlockNode *n, const void *options, Error *err)
{
    const RawOptions *o = options;
    Raw *s = n->state;
    uint64_t whole = n->file->size;

    s->offset = o->offset;
    s->has_size = o->size;
    if (o->offset > whole)
        return error_set(err,
                         "Offset (%" PRIu64 ") cannot be greater than size of the containing "
                         "file (%" PRIu64 ")",
                         o->offset, whole);
    if (o->size > whole - o->offset)
        return error_set(err,
                         "The sum of offset (%" PRIu64 ") and size (%" PRIu64 ") has to be smaller "
                         "or equal to the actual size of the containing file (%" PRIu64 ")",
                         o->offset, o->size, whole);
    if (o->size % 512)
        return error_set(err, "Specified size is not multiple of 512");
    n->size = o->size ? o->size : ALIGN_UP(whole - o->offset, 512u);
    n->request_align = 1; /* the file's own bounces */
    n->zero_align = n->file->zero_align;
    n->zero_init = n->file->zero_init;
    return true;
}

/* A guest could turn a disk that was taken for raw into an image that names another file. */
static bool changes_format(const BlockReq *r)
{
    uint8_t head[PROBED_BYTES] = {0};
    size_t n = MIN(r->size, (uint64_t)sizeof head);

    iov_gather(r->iov, r->n_iov, 0, head, n);
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));)
        if (d->probe && d->probe(head, sizeof head, NULL) > 1)
            return true;
    return false;
}

static void raw_submit(BlockNode *n, BlockReq *r)
{
    Raw *s = n->state;

    if (UNLIKELY(n->flags & NODE_PROBED && r->op == BLOCK_WRITE && r->at < PROBED_BYTES &&
                 changes_format(r))) {
        blockreq_complete(r, -EPERM);
        return;
    }
    if (s->has_size && (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO) && r->at + r->size > n->size) {
        blockreq_complete(r, -ENOSPC);
        return;
    }
    node_forward(n->file, r, s->offset);
}

static int raw_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    Raw *s = n->state;
    int rc = node_status(n->file, at + s->offset, size, out);

    out->at = at;
    return rc;
}

static bool raw_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    Raw *s = n->state;

    if (s->has_size)
        return error_set(err, "Cannot resize fixed-size raw disks");
    if (size > INT64_MAX - s->offset)
        return error_set(err, "Disk size too large for the chosen offset");
    if (!node_truncate(n->file, size + s->offset, p, exact, err))
        return false;
    n->size = size;
    return true;
}

static bool raw_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)
{
    uint64_t size = 0;
    BlockNode *n = NULL;

    if (!filename_has_protocol(filename) || !strncmp(filename, "file:", 5))
        return block_driver_find("file")->create_file(g, filename, options, err);
    if (json_take_size(options, "size", &size, err))
        n = block_create_file(g, filename, size, NULL, err);
    node_unref(n);
    return n;
}

static json_t *raw_measure(json_t *options, BlockNode *source, Error *err)
{
    uint64_t size = source ? (uint64_t)source->size : 0;

    if (!source && !json_take_size(options, "size", &size, err))
        return NULL;
    size = ALIGN_UP(size, 512u);
    return json_pack("{sIsI}", "required", (json_int_t)size, "fully-allocated", (json_int_t)size);
}

static const ChildSlot raw_children[] = {
    {"file", ROLE_DATA | ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};

static BlockDriver raw_driver = {
    .name = "raw",
    .doc = "plain bytes",
    .kind = DRIVER_FORMAT,
    .options = &raw_options_type,
    .children = raw_children,
    .state_size = sizeof(Raw),
    .open = raw_open,
    .submit = raw_submit,
    .status = raw_status,
    .truncate = raw_truncate,
    .create_file = raw_create_file,
    .measure = raw_measure,
};
BLOCK_DRIVER_REGISTER(raw_driver)
