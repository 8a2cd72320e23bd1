/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * graph - nodes, their children and their lives
 *
 * Main thread.  What edits links drains the ports above first, so requests see one graph from
 * beginning to end (block.h inv 2).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "block/bitmap.h"
#include "block/block_priv.h"
#include "block/open.h"

/* --- drivers --- */

/* Filled by constructors, sorted when first walked. */
static struct {
    BlockDriver *first;
    bool sorted;
} registry;

void block_driver_register(BlockDriver *d)
{
    d->reg_next = registry.first;
    registry.first = d;
    registry.sorted = false;
}

static void registry_sort(void)
{
    BlockDriver *list = registry.first, *sorted = NULL;

    while (list) {
        BlockDriver *d = list, **at = &sorted;

        list = d->reg_next;
        while (*at && strcmp((*at)->name, d->name) < 0)
            at = &(*at)->reg_next;
        d->reg_next = *at;
        *at = d;
    }
    registry.first = sorted;
    registry.sorted = true;
}

const BlockDriver *block_driver_next(const BlockDriver *d)
{
    if (!registry.sorted)
        registry_sort();
    return d ? d->reg_next : registry.first;
}

const BlockDriver *block_driver_find(const char *name)
{
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));)
        if (!strcmp(d->name, name))
            return d;
    return NULL;
}

/* --- links --- */

bool child_attach(BlockNode *node, BlockNode *parent, BlockPort *port, const char *name,
                  unsigned role, unsigned perm, unsigned shared, BlockChild **out, Error *err)
{
    BlockChild *c = xnew(BlockChild);

    *c = (BlockChild){.name = xstrdup(name),
                      .role = role,
                      .node = node_ref(node),
                      .parent = parent,
                      .port = port,
                      .perm = perm,
                      .shared = shared,
                      .next_parent = node->parents};
    node->parents = c;
    if (!node_update_perm(node, err)) {
        child_detach(c);
        return false;
    }
    *out = c;
    return true;
}

void child_detach(BlockChild *c)
{
    BlockNode *n = c->node;
    BlockChild **at = &n->parents;

    while (*at != c)
        at = &(*at)->next_parent;
    *at = c->next_parent;
    node_update_perm(n, NULL);
    xfree(c->name);
    xfree(c);
    node_unref(n);
}

static void refresh_shortcuts(BlockNode *n)
{
    n->file = n->backing = n->data = NULL;
    for (BlockChild *c = n->children; c; c = c->next) {
        if (c->role & ROLE_PRIMARY || !strcmp(c->name, "file"))
            n->file = c->node;
        if (c->role & ROLE_BACKING)
            n->backing = c->node;
        if (!strcmp(c->name, "data-file"))
            n->data = c->node;
    }
    if (!n->data)
        n->data = n->file;
}

static const ChildSlot *slot_find(const BlockDriver *d, const char *name)
{
    for (const ChildSlot *s = d->children; s && s->name; s++)
        if (!strcmp(s->name, name))
            return s;
    return NULL;
}

static bool reaches(const BlockNode *from, const BlockNode *to)
{
    if (from == to)
        return true;
    for (const BlockChild *c = from->children; c; c = c->next)
        if (reaches(c->node, to))
            return true;
    return false;
}

bool node_set_child(BlockNode *parent, const char *slot, BlockNode *child, Error *err)
{
    const ChildSlot *s = slot_find(parent->drv, slot);
    BlockChild **at = &parent->children, *old, *new = NULL;

    if (!s)
        return error_set(err, "node '%s' (%s) has no child '%s'", parent->name, parent->drv->name,
                         slot);
    if (child && reaches(child, parent))
        return error_set(err, "Making '%s' a child of '%s' would create a cycle", child->name,
                         parent->name);
    while (*at && strcmp((*at)->name, slot))
        at = &(*at)->next;
    old = *at;
    graph_drain_begin(parent->graph, parent);
    if (old)
        *at = old->next;
    if (child) {
        bool ok = child_attach(child, parent, NULL, slot, s->role, 0, PERM_ALL, &new, err);

        if (ok) {
            new->next = *at;
            *at = new;
            refresh_shortcuts(parent);
            ok = node_update_perm(parent, err);
        }
        if (!ok) {
            if (new) {
                *at = new->next;
                child_detach(new);
            }
            if (old) {
                old->next = *at;
                *at = old;
            }
            refresh_shortcuts(parent);
            graph_drain_end(parent->graph, parent);
            return false;
        }
    }
    if (old)
        child_detach(old);
    refresh_shortcuts(parent);
    graph_drain_end(parent->graph, parent);
    return true;
}

static void link_move(BlockChild *c, BlockNode *to)
{
    BlockChild **at = &c->node->parents;

    while (*at != c)
        at = &(*at)->next_parent;
    *at = c->next_parent;
    c->next_parent = to->parents;
    to->parents = c;
    c->node = to;
    if (c->port)
        c->port->node = to;
    else
        refresh_shortcuts(c->parent);
}

bool node_replace(BlockNode *from, BlockNode *to, Error *err)
{
    AUTO_FREE BlockChild **moved = NULL;
    unsigned n = 0;
    bool ok;

    graph_drain_begin(from->graph, NULL);
    node_ref(from);
    for (const BlockChild *c = from->parents; c; c = c->next_parent)
        n++;
    moved = xnew_n(BlockChild *, n + 1);
    n = 0;
    for (BlockChild *c = from->parents, *next; c; c = next) {
        next = c->next_parent;
        if (c->parent && reaches(to, c->parent))
            continue;
        link_move(c, to);
        node_ref(to);
        moved[n++] = c;
    }
    ok = node_update_perm(from, err) && node_update_perm(to, err); /* what has fewer users first */
    for (unsigned i = 0; i < n; i++) {
        if (!ok)
            link_move(moved[i], from);
        node_unref(ok ? from : to);
    }
    if (!ok) {
        node_update_perm(to, NULL);
        node_update_perm(from, NULL);
    }
    node_unref(from);
    graph_drain_end(to->graph, NULL);
    return ok;
}

/* --- nodes --- */

BlockNode *node_new(BlockGraph *g, const BlockDriver *drv, const char *name, uint32_t flags)
{
    BlockNode *n = xnew(BlockNode), **at = &g->nodes;

    n->graph = g;
    n->drv = drv;
    n->name = name ? xstrdup(name) : xasprintf("#block%03u", g->serial++);
    n->flags = flags;
    n->state = drv->state_size ? xalloc(drv->state_size) : NULL;
    n->request_align = 1;
    n->gate = gate_new();
    n->align_gate = gate_new();
    n->refs = 1;
    lock_init(&n->meta, "image metadata", RANK_BLOCK);
    while (*at)
        at = &(*at)->next;
    *at = n;
    return n;
}

BlockNode *node_ref(BlockNode *n)
{
    n->refs++;
    return n;
}

void node_unref(BlockNode *n)
{
    BlockNode **at;

    if (!n || --n->refs)
        return;
    assert(!n->parents);
    n->refs = 1; /* closing may use the node */
    if (n->drv->close)
        n->drv->close(n);
    while (n->children) {
        BlockChild *c = n->children;

        n->children = c->next;
        child_detach(c);
    }
    for (at = &n->graph->nodes; *at != n;)
        at = &(*at)->next;
    *at = n->next;
    bitmaps_free(n);
    gate_free(n->gate);
    gate_free(n->align_gate);
    lock_fini(&n->meta);
    json_decref(n->options);
    xfree(n->name);
    xfree(n->filename);
    xfree(n->backing_file);
    xfree(n->backing_format);
    xfree(n->state);
    xfree(n);
}

BlockNode *node_find(BlockGraph *g, const char *name)
{
    for (BlockNode *n = g->nodes; n; n = n->next)
        if (!strcmp(n->name, name))
            return n;
    return NULL;
}

BlockNode *node_next(BlockGraph *g, BlockNode *n)
{
    return n ? n->next : g->nodes;
}

BlockNode *node_skip_filters(BlockNode *n)
{
    while (n && n->drv->kind == DRIVER_FILTER && n->children)
        n = n->children->node;
    return n;
}

bool node_in_chain(const BlockNode *top, const BlockNode *n)
{
    for (; top; top = top->drv->kind == DRIVER_FILTER && top->children ? top->children->node
                                                                       : top->backing)
        if (top == n)
            return true;
    return false;
}

void node_resized(BlockNode *n)
{
    bitmaps_resize(n, n->size);
    for (BlockChild *c = n->parents; c; c = c->next_parent) {
        if (c->port) {
            if (c->port->resized)
                c->port->resized(c->port->owner);
        } else if (c->parent->drv->kind == DRIVER_FILTER && c->role & ROLE_FILTERED) {
            c->parent->size = n->size;
            node_resized(c->parent);
        }
    }
}

bool node_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    if (node_is_read_only(n))
        return error_set(err, "Image '%s' is read-only", n->filename ? n->filename : n->name);
    if (size > INT64_MAX - (INT64_MAX % 512))
        return error_set(err, "Required too big image size, it must be not greater than %llu",
                         (unsigned long long)(INT64_MAX - (INT64_MAX % 512)));
    if (n->drv->truncate)
        return n->drv->truncate(n, size, p, exact, err) && (node_resized(n), true);
    if (n->drv->kind == DRIVER_FILTER && n->children) {
        if (!node_truncate(n->children->node, size, p, exact, err))
            return false;
        n->size = n->children->node->size;
        return true;
    }
    return error_set(err, "Image format driver '%s' does not support resize", n->drv->name);
}

int64_t node_allocated_size(BlockNode *n)
{
    int64_t sum = 0;

    if (n->drv->allocated_size)
        return n->drv->allocated_size(n);
    if (n->drv->kind == DRIVER_PROTOCOL)
        return -ENOTSUP;
    for (BlockChild *c = n->children; c; c = c->next) {
        int64_t s = c->role & ROLE_BACKING ? 0 : node_allocated_size(c->node);

        if (s < 0)
            return s;
        sum += s;
    }
    return sum;
}

bool node_reopen(BlockNode *n, json_t *options, uint32_t flags, Error *err)
{
    bool writes = !(flags & NODE_READ_ONLY), was_writing = !node_is_read_only(n), ok = true;
    uint32_t was = n->flags;

    graph_drain_begin(n->graph, n);
    if (!writes && was_writing) { /* down: this node first, then what carries it */
        node_flush(n);
        for (const BlockChild *c = n->parents; c && ok; c = c->next_parent)
            if (c->perm & (PERM_WRITE | PERM_RESIZE))
                ok = error_set(err, "Block node '%s' is in use for writing", n->name);
        if (ok && n->drv->reopen)
            ok = n->drv->reopen(n, NULL, flags, err);
        if (ok) {
            n->flags = flags;
            ok = node_update_perm(n, err); /* it needs less of its children from now on */
        }
    }
    for (BlockChild *c = n->children; c && ok; c = c->next) {
        uint32_t f =
            writes ? c->node->flags & ~(uint32_t)NODE_READ_ONLY : c->node->flags | NODE_READ_ONLY;

        if (!(c->role & ROLE_BACKING) && f != c->node->flags && (writes || !c->node->monitor_owned))
            ok = node_reopen(c->node, NULL, f, err);
    }
    if (ok && writes == was_writing && n->drv->reopen)
        ok = n->drv->reopen(n, NULL, flags, err);
    if (ok && writes && !was_writing) {
        n->flags = flags;
        ok = node_update_perm(n, err) && (!n->drv->reopen || n->drv->reopen(n, NULL, flags, err));
    }
    n->flags = ok ? flags : was;
    node_update_perm(n, NULL);
    graph_drain_end(n->graph, n);
    json_decref(options);
    return ok;
}

/* --- the service thread --- */

static void *service_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

Loop *graph_service_loop(BlockGraph *g)
{
    if (g->service)
        return g->service;
    g->service = loop_new(NULL);
    if (g->service && pthread_create(&g->service_thread, NULL, service_main, g->service)) {
        loop_free(g->service);
        g->service = NULL;
    }
    return g->service;
}

/* --- the graph --- */

BlockGraph *graph_new(BlockCtx *ctx, Error *err)
{
    BlockGraph *g = xnew(BlockGraph);

    (void)err;
    g->ctx = ctx;
    g->serial = 1;
    g->workers = workers_new();
    return g;
}

void graph_free(BlockGraph *g)
{
    if (!g)
        return;
    while (g->ports)
        block_port_free(g->ports);
    for (BlockNode *n = g->nodes; n;) {
        BlockNode *owned = n->monitor_owned && !n->parents ? n : NULL;

        n = n->next;
        if (owned) {
            owned->monitor_owned = false;
            node_unref(owned);
            n = g->nodes;
        }
    }
    workers_free(g->workers);
    if (g->service) {
        loop_stop(g->service);
        pthread_join(g->service_thread, NULL);
        loop_free(g->service);
    }
    xfree(g);
}

void graph_set_objects(BlockGraph *g, Objects *o)
{
    g->objects = o;
}

void graph_set_opener(BlockGraph *g,
                      int (*fn)(void *arg, const char *path, int flags, unsigned mode), void *arg)
{
    g->opener = fn;
    g->opener_arg = arg;
}

void graph_set_watcher(BlockGraph *g, void (*fn)(void *arg, BlockNode *n, const BlockCorruption *c),
                       void *arg)
{
    g->watcher = fn;
    g->watcher_arg = arg;
}

void node_corrupted(BlockNode *n, const BlockCorruption *c)
{
    if (n->graph->watcher)
        n->graph->watcher(n->graph->watcher_arg, n, c);
}

int graph_open_path(BlockGraph *g, const char *path, int flags)
{
    int fd = g->opener ? g->opener(g->opener_arg, path, flags, 0) : open(path, flags);

    return g->opener || fd >= 0 ? fd : -errno;
}

Objects *graph_objects(const BlockGraph *g)
{
    return g->objects;
}
