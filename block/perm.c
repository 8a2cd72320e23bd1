/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * perm - who may do what to a node, as its parents ask and share
 *
 * Each link of a parent (node or port) to a node carries what it needs and what it lets the others
 * have.  A change is checked on the node and then carried down; on failure nothing has changed.
 */
#include <stdio.h>

#include "block/block_priv.h"

static const char *const names[] = {"consistent read", "write", "write unchanged", "resize"};

const char *perm_names(unsigned perm, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = 0;
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        if (perm >> i & 1 && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", names[i]);
    return buf;
}

static const char *child_user(const BlockChild *c, char *buf, size_t size)
{
    if (c->port)
        snprintf(buf, size, "block device '%s'", c->port->name ? c->port->name : "");
    else
        snprintf(buf, size, "node '%s'", c->parent->name);
    return buf;
}

static bool conflict(const BlockNode *n, const BlockChild *mine, const BlockChild *other,
                     unsigned denied, Error *err)
{
    char who[96], what[64];

    return error_set(err,
                     "Permission conflict on node '%s': permissions '%s' are required by %s but "
                     "unshared by %s as '%s'",
                     n->name, perm_names(denied, what, sizeof what),
                     child_user(mine, who, sizeof who),
                     other->port ? "a block device" : other->parent->name, other->name);
}

static bool links_agree(const BlockNode *n, Error *err)
{
    for (const BlockChild *a = n->parents; a; a = a->next_parent) {
        if (a->perm & (PERM_WRITE | PERM_RESIZE) && node_is_read_only(n))
            return error_set(err, "Block node is read-only");
        for (const BlockChild *b = n->parents; b; b = b->next_parent)
            if (a != b && a->perm & ~b->shared)
                return conflict(n, a, b, a->perm & ~b->shared, err);
    }
    return true;
}

/* What all parents of @n need together, and what all of them share. */
static void parents_want(const BlockNode *n, unsigned *perm, unsigned *shared)
{
    *perm = 0;
    *shared = PERM_ALL;
    for (const BlockChild *c = n->parents; c; c = c->next_parent) {
        *perm |= c->perm;
        *shared &= c->shared;
    }
}

/* What @n asks of a child in return. */
static void child_wants(const BlockNode *n, const BlockChild *c, unsigned perm, unsigned shared,
                        unsigned *out_perm, unsigned *out_shared)
{
    bool writes = !node_is_read_only(n) && !(n->flags & NODE_NO_IO);

    if (c->role & ROLE_BACKING) {
        /* Somebody below may grow or rewrite what nobody looks at through us. */
        *out_perm = PERM_READ;
        *out_shared = PERM_READ | PERM_WRITE_UNCHANGED;
        if (shared & PERM_WRITE)
            *out_shared |= PERM_WRITE | PERM_RESIZE;
        return;
    }
    *out_perm = perm;
    *out_shared = shared;
    if (c->role & ROLE_META) {
        *out_perm |= n->flags & NODE_NO_IO ? 0 : PERM_READ;
        if (writes)
            *out_perm |= PERM_WRITE | PERM_RESIZE;
        *out_shared = (shared & PERM_WRITE && n->flags & NODE_FORCE_SHARE) || n->flags & NODE_NO_IO
                          ? PERM_ALL
                          : *out_shared & ~(unsigned)(PERM_WRITE | PERM_RESIZE);
    } else if (c->role & ROLE_DATA && !(c->role & ROLE_FILTERED)) {
        if (writes)
            *out_perm |= PERM_WRITE | PERM_RESIZE;
    }
    if (c->role & ROLE_ALONE)
        *out_shared &= ~(unsigned)(PERM_WRITE | PERM_RESIZE);
    if (n->flags & NODE_FORCE_SHARE)
        *out_shared = PERM_ALL;
}

bool node_update_perm(BlockNode *n, Error *err)
{
    unsigned perm, shared;

    if (!links_agree(n, err))
        return false;
    parents_want(n, &perm, &shared);
    if (n->drv->set_perm && !n->drv->set_perm(n, perm, shared, err))
        return false;
    for (BlockChild *c = n->children; c; c = c->next) {
        unsigned p, s;

        child_wants(n, c, perm, shared, &p, &s);
        if ((p != c->perm || s != c->shared) && !child_set_perm(c, p, s, err))
            return false;
    }
    return true;
}

bool child_set_perm(BlockChild *c, unsigned perm, unsigned shared, Error *err)
{
    unsigned was = c->perm, was_shared = c->shared;

    c->perm = perm;
    c->shared = shared;
    if (node_update_perm(c->node, err))
        return true;
    c->perm = was;
    c->shared = was_shared;
    node_update_perm(c->node, NULL);
    return false;
}
