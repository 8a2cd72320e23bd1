/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror_top - the filter above the source of a mirror that copies each write before it is reported
 *
 * Not registered: only the job makes it.  Writes hold their range in the gate of the filter
 * exclusively, so that of two which overlap the same one comes last in the source and in the
 * target.
 */
#include "block/mirror_top.h"

#include "block/open.h"

GateHold mirror_top_range(const BlockNode *top, uint64_t at, uint64_t size)
{
    uint64_t align = ((const MirrorTop *)top->state)->align;

    return (GateHold){
        .at = ALIGN_DOWN(at, align), .end = ALIGN_UP(at + size, align), .exclusive = true};
}

static void write_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;
    const MirrorTop *t = n->state;
    GateHold h = mirror_top_range(n, r->at, r->size);
    int rc;

    gate_take_wait(n->gate, &h);
    rc = node_io(n->file, r->op, r->at, r->iov, r->n_iov, r->size, r->flags);
    t->wrote(t->arg, r->op, r->at, r->size, rc);
    gate_drop(n->gate, &h);
    blockreq_complete(r, rc);
}

static void top_submit(BlockNode *n, BlockReq *r)
{
    if (!op_modifies(r->op) || r->flags & BLOCK_UNCHANGED)
        node_forward(n->file, r, 0);
    else
        blockreq_work(r, write_run);
}

static const ChildSlot top_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {"target", ROLE_DATA | ROLE_ALONE, true},
    {NULL, 0, false},
};

static const BlockDriver top_driver = {
    .name = "mirror_top",
    .doc = "copies each write before it is reported",
    .kind = DRIVER_FILTER,
    .children = top_children,
    .state_size = sizeof(MirrorTop),
    .submit = top_submit,
};

/* Whether others may write to what the filter stands for. */
static bool top_guard(BlockNode *top, bool on, Error *err)
{
    BlockChild *file = top->children;

    file->role = on ? file->role | ROLE_ALONE : file->role & ~(unsigned)ROLE_ALONE;
    return node_update_perm(top, err);
}

BlockNode *mirror_top_insert(BlockNode *source, BlockNode *target, const char *name,
                             const MirrorTop *how, Error *err)
{
    BlockGraph *g = source->graph;
    BlockNode *top;

    if (name && (node_find(g, name) || port_find(g, name))) {
        error_set(err, "Duplicate nodes with node-name='%s'", name);
        return NULL;
    }
    top = node_new(g, &top_driver, name, 0);
    top->size = source->size;
    top->cluster_size = source->cluster_size;
    top->filename = xstrdup(source->filename);
    top->options = json_object();
    *(MirrorTop *)top->state = *how;
    if (node_set_child(top, "file", source, err) && node_set_child(top, "target", target, err) &&
        node_replace(source, top, err)) {
        if (top_guard(top, true, err))
            return top;
        mirror_top_remove(top, source, NULL);
        return NULL;
    }
    node_unref(top);
    return NULL;
}

bool mirror_top_remove(BlockNode *top, BlockNode *source, Error *err)
{
    bool ok;

    top_guard(top, false, NULL);
    ok = node_replace(top, source, err);
    node_unref(top);
    return ok;
}
