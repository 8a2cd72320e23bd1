/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * preallocate - a filter under an image format: the file grows in large steps, and is cut when it
 * closes
 */
#include <errno.h>

#include "block/block_priv.h"

typedef struct Prealloc {
    uint64_t align, step;
    _Atomic uint64_t data_end, file_end;
    Lock lock; /* of growing */
} Prealloc;

typedef struct PreallocOptions {
    uint64_t align, step;
} PreallocOptions;
static const Field prealloc_fields[] = {
    PROP_SIZE(PreallocOptions, align, "prealloc-align", 1 << 20,
              "the file's size is a multiple of it"),
    PROP_SIZE(PreallocOptions, step, "prealloc-size", 128 << 20, "how much to allocate at a time"),
};
static STRUCT_TYPE(prealloc_options_type, PreallocOptions, prealloc_fields);

static bool prealloc_open(BlockNode *n, const void *options, Error *err)
{
    const PreallocOptions *o = options;
    Prealloc *s = n->state;

    lock_init(&s->lock, "preallocate", RANK_BLOCK);
    if (!o->align || o->align % 512)
        return error_set(err,
                         "prealloc-align parameter of preallocate filter is not aligned to 512");
    s->align = o->align;
    s->step = o->step;
    s->data_end = s->file_end = n->file->size;
    n->size = n->file->size;
    return true;
}

static void prealloc_close(BlockNode *n)
{
    Prealloc *s = n->state;

    if (n->file && s->align && !node_is_read_only(n->file) && s->file_end > s->data_end)
        node_truncate(n->file, s->data_end, PREALLOC_OFF, true, NULL);
    lock_fini(&s->lock);
}

static void grow(BlockNode *n, uint64_t end)
{
    Prealloc *s = n->state;

    WITH_LOCK (&s->lock)
        if (end > s->file_end) {
            uint64_t to = ALIGN_UP(end + s->step, s->align);

            if (node_truncate(n->file, to, PREALLOC_FALLOC, false, NULL))
                s->file_end = to;
        }
}

static void prealloc_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;

    grow(n, r->at + r->size);
    blockreq_complete(r, node_io(n->file, r->op, r->at, r->iov, r->n_iov, r->size, r->flags));
}

static void prealloc_submit(BlockNode *n, BlockReq *r)
{
    Prealloc *s = n->state;
    uint64_t end = r->at + r->size, was = s->data_end;

    if (r->op != BLOCK_WRITE && r->op != BLOCK_ZERO) {
        node_forward(n->file, r, 0);
        return;
    }
    while (end > was && !atomic_compare_exchange_weak(&s->data_end, &was, end))
        continue;
    if (end > n->size)
        n->size = end;
    if (end <= s->file_end)
        node_forward(n->file, r, 0);
    else if (r->ctx)
        block_work(n->graph, prealloc_run, r);
    else
        prealloc_run(r);
}

static bool prealloc_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    Prealloc *s = n->state;

    if (!node_truncate(n->file, size, p, exact, err))
        return false;
    s->data_end = s->file_end = size;
    n->size = size;
    return true;
}

static int prealloc_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    return node_status(n->file, at, size, out);
}

static const ChildSlot prealloc_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};

static BlockDriver prealloc_driver = {
    .name = "preallocate",
    .doc = "lets a file grow in large steps",
    .kind = DRIVER_FILTER,
    .options = &prealloc_options_type,
    .children = prealloc_children,
    .state_size = sizeof(Prealloc),
    .open = prealloc_open,
    .close = prealloc_close,
    .submit = prealloc_submit,
    .status = prealloc_status,
    .truncate = prealloc_truncate,
};
BLOCK_DRIVER_REGISTER(prealloc_driver)
