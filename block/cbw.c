/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cbw - filters "copy-before-write" and "snapshot-access": a frozen view of an image that is in use
 *
 * Invariants
 *  1. A bit set in the bitmap: the cluster is not saved, and `file` still has its old contents.
 *  2. A write to such a cluster goes on only after it was saved; the gate of the filter holds the
 *     cluster exclusively meanwhile, and shared while a write without need to save is below.
 *  3. So a read of the old state takes clusters with bits from `file`, others from `target`.
 */
#include "block/cbw.h"

#include <errno.h>

#include "base/zero.h"
#include "block/block_priv.h"

enum { CBW_CLUSTER = 65536, PIECE = 1 << 20 };
enum { ON_ERROR_BREAK_GUEST_WRITE, ON_ERROR_BREAK_SNAPSHOT };

typedef struct Cbw {
    DirtyBitmap *todo;
    uint32_t cluster, on_error;
    BlockNode *target;
    _Atomic int error; /* the snapshot is broken since */
    bool compress;
} Cbw;

typedef struct CbwOptions {
    uint32_t on_error;
} CbwOptions;

static const char *const on_error_names[] = {"break-guest-write", "break-snapshot", NULL};
static ENUM_TYPE(on_error_type, OnCbwError, on_error_names);
static const Field cbw_fields[] = {
    PROP_ENUM(CbwOptions, on_error, "on-cbw-error", &on_error_type, ON_ERROR_BREAK_GUEST_WRITE,
              "whose operation fails when saving fails"),
};
static STRUCT_TYPE(cbw_options_type, CbwOptions, cbw_fields);

DirtyBitmap *cbw_bitmap(BlockNode *n)
{
    return ((Cbw *)n->state)->todo;
}

int cbw_error(const BlockNode *n)
{
    return ((const Cbw *)n->state)->error;
}

void cbw_set_compress(BlockNode *n, bool on)
{
    ((Cbw *)n->state)->compress = on;
}

static bool cbw_open(BlockNode *n, const void *options, Error *err)
{
    const CbwOptions *o = options;
    Cbw *s = n->state;

    for (BlockChild *c = n->children; c; c = c->next)
        if (!strcmp(c->name, "target"))
            s->target = c->node;
    n->size = n->file->size;
    if (s->target->size < n->size)
        return error_set(err, "The target '%s' is smaller than '%s'", s->target->name,
                         n->file->name);
    s->on_error = o ? o->on_error : 0;
    s->cluster = MAX(s->target->cluster_size, (uint32_t)CBW_CLUSTER);
    s->todo = bitmap_new(n, NULL, s->cluster, err);
    if (!s->todo)
        return false;
    bitmap_enable(s->todo, false); /* ours to set: a guest's write clears */
    bitmap_set(s->todo, 0, n->size);
    return true;
}

static void cbw_close(BlockNode *n)
{
    Cbw *s = n->state;

    if (s->todo)
        bitmap_free(s->todo);
    s->todo = NULL;
}

/* One stretch without bits in between; the gate is held. */
static int save_area(BlockNode *n, uint64_t at, uint64_t size, void *buf, bool *reading)
{
    Cbw *s = n->state;
    struct iovec iov = {buf, size};
    int rc = node_read(n->file, at, buf, size);

    *reading = rc;
    if (rc)
        return rc;
    if (is_zero(buf, size))
        return node_zero(s->target, at, size, BLOCK_MAY_UNMAP);
    return node_io(s->target, BLOCK_WRITE, at, &iov, 1, size, s->compress ? BLOCK_COMPRESS : 0);
}

static int save_held(BlockNode *n, uint64_t at, uint64_t size, bool *reading)
{
    Cbw *s = n->state;
    uint64_t end = MIN(at + size, (uint64_t)n->size), len;
    uint64_t piece =
        s->compress ? s->cluster : MAX(s->cluster, (uint32_t)PIECE); /* whole clusters */
    void *buf = NULL;
    int rc = 0;

    while (!rc && bitmap_next_area(s->todo, at, end, piece, &at, &len)) {
        buf = buf ? buf : xalloc_aligned(4096, piece);
        rc = save_area(n, at, len, buf, reading);
        if (!rc)
            bitmap_reset(s->todo, at, len);
        at += len;
    }
    xfree(buf);
    return rc;
}

static GateHold hold_of(BlockNode *n, uint64_t at, uint64_t size, bool exclusive)
{
    uint64_t c = ((Cbw *)n->state)->cluster;

    return (GateHold){
        .at = ALIGN_DOWN(at, c), .end = ALIGN_UP(at + size, c), .exclusive = exclusive};
}

int cbw_save(BlockNode *n, uint64_t at, uint64_t size, bool *reading)
{
    GateHold h = hold_of(n, at, size, true);
    int rc = cbw_error(n);

    *reading = false;
    if (rc)
        return rc;
    gate_take_wait(n->gate, &h);
    rc = save_held(n, h.at, h.end - h.at, reading);
    gate_drop(n->gate, &h);
    return rc;
}

int cbw_read_old(BlockNode *n, uint64_t at, const struct iovec *iov, int n_iov, uint64_t size)
{
    Cbw *s = n->state;
    AUTO_FREE struct iovec *part = xnew_n(struct iovec, (size_t)n_iov);
    GateHold h = hold_of(n, at, size, false);
    int rc = 0;

    gate_take_wait(n->gate, &h);
    for (uint64_t done = 0; done < size && !rc;) {
        uint64_t from = at + done, turn = at + size;
        bool old = bitmap_get(s->todo, from);
        uint64_t len;

        if (!(old ? bitmap_next_clean(s->todo, from, at + size, &turn)
                  : bitmap_next_dirty(s->todo, from, at + size, &turn)))
            turn = at + size;
        len = turn - from;
        rc = node_io(old ? n->file : s->target, BLOCK_READ, from, part,
                     iov_slice(iov, n_iov, done, len, part), len, 0);
        done += len;
    }
    gate_drop(n->gate, &h);
    return rc ? rc : cbw_error(n);
}

/* --- guest requests --- */

static void write_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;
    Cbw *s = n->state;
    GateHold hold;
    bool reading;
    int rc = cbw_error(n) ? 0 : cbw_save(n, r->at, r->size, &reading);

    if (rc && s->on_error == ON_ERROR_BREAK_SNAPSHOT) {
        atomic_store(&s->error, rc);
        rc = 0;
    }
    if (!rc) {
        hold = hold_of(n, r->at, r->size, false);
        gate_take_wait(n->gate, &hold);
        rc = node_io(n->file, r->op, r->at, r->iov, r->n_iov, r->size, r->flags);
        gate_drop(n->gate, &hold);
    }
    blockreq_complete(r, rc);
}

static void cbw_submit(BlockNode *n, BlockReq *r)
{
    Cbw *s = n->state;
    uint64_t c = s->cluster, at = ALIGN_DOWN(r->at, c), first;

    if (!op_modifies(r->op) || r->flags & BLOCK_UNCHANGED ||
        !bitmap_next_dirty(s->todo, at, MIN(ALIGN_UP(r->at + r->size, c), (uint64_t)n->size),
                           &first))
        node_forward(n->file, r, 0); /* bits never come back: what is saved stays saved */
    else
        blockreq_work(r, write_run);
}

static const ChildSlot cbw_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {"target", ROLE_DATA, true},
    {NULL, 0, false},
};

static BlockDriver cbw_driver = {
    .name = "copy-before-write",
    .doc = "saves what is about to be overwritten",
    .kind = DRIVER_FILTER,
    .options = &cbw_options_type,
    .children = cbw_children,
    .state_size = sizeof(Cbw),
    .open = cbw_open,
    .close = cbw_close,
    .submit = cbw_submit,
};
BLOCK_DRIVER_REGISTER(cbw_driver)

/* --- snapshot-access: the old state as a node --- */

static bool access_open(BlockNode *n, const void *options, Error *err)
{
    (void)options;
    if (strcmp(n->file->drv->name, "copy-before-write"))
        return error_set(err,
                         "snapshot-access needs a copy-before-write node as its file, not '%s'",
                         n->file->drv->name);
    n->flags |= NODE_READ_ONLY;
    n->size = n->file->size;
    return true;
}

static void access_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;

    switch (r->op) {
    case BLOCK_READ:
        blockreq_complete(r, cbw_read_old(n->file, r->at, r->iov, r->n_iov, r->size));
        break;
    case BLOCK_FLUSH: blockreq_complete(r, 0); break;
    default: blockreq_complete(r, -EACCES); break;
    }
}

static void access_submit(BlockNode *n, BlockReq *r)
{
    (void)n;
    blockreq_work(r, access_run);
}

static int access_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    *out = (Extent){.kind = EXTENT_DATA, .at = at, .size = size, .child = n, .child_at = at};
    return 0;
}

static const ChildSlot access_children[] = {
    {"file", ROLE_PRIMARY | ROLE_DATA | ROLE_FILTERED, true},
    {NULL, 0, false},
};

static BlockDriver access_driver = {
    .name = "snapshot-access",
    .doc = "the state that copy-before-write keeps",
    .kind = DRIVER_PROTOCOL,
    .children = access_children,
    .open = access_open,
    .submit = access_submit,
    .status = access_status,
};
BLOCK_DRIVER_REGISTER(access_driver)
