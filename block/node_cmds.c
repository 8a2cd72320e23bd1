/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node_cmds - commands that make, change and remove nodes (QEMU 7.2, qapi/block-core.json)
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "block/blockdev_type.h"
#include "block/cmds.h"
#include "core/job.h"

BlockNode *block_cmd_node(Machine *m, const char *name, Error *err)
{
    BlockNode *n = m->graph ? node_find(m->graph, name) : NULL;
    BlockPort *p = n || !m->graph ? NULL : port_find(m->graph, name);

    n = p ? block_port_node(p) : n;
    if (!n && p)
        error_set(err, "Device '%s' has no medium", name);
    else if (!n)
        error_set_class(err, ERROR_GENERIC, "Cannot find device='%s' nor node-name='%s'", name,
                        name);
    return n;
}

BlockPort *block_cmd_port(Machine *m, const char *device, const char *id, Error *err)
{
    const char *name = id ? id : device;
    BlockPort *p = NULL;

    if (!name || (id && device)) {
        error_set(err, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    p = m->graph ? port_find(m->graph, name) : NULL;
    if (!p)
        error_set_class(err, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
    return p;
}

/* --- blockdev-add, -del, -reopen --- */

COMMAND_FN(blockdev_add)
{
    json_t *o = json_deep_copy(*(json_t **)args);
    BlockNode *n;

    if (!m->graph)
        return error_set(err, "this machine has no block layer");
    if (!json_object_get(o, "node-name")) {
        json_decref(o);
        return error_set(err, "'node-name' must be specified for the root node");
    }
    n = node_open(m->graph, o, 0, err);
    if (!n)
        return false;
    n->monitor_owned = true;
    return true;
}
COMMAND(blockdev_add, .name = "blockdev-add", .args = &blockdev_options_type, .run = blockdev_add,
        .doc = "Open an image or make a filter.")

typedef struct NodeName {
    char *name;
} NodeName;
static const Field node_name_fields[] = {ARG(NodeName, name, "node-name", "the node")};
static STRUCT_TYPE(node_name_type, NodeName, node_name_fields);

COMMAND_FN(blockdev_del)
{
    const char *name = ((NodeName *)args)->name;
    BlockNode *n = m->graph ? node_find(m->graph, name) : NULL;

    if (!n)
        return error_set(err, "Failed to find node with node-name='%s'", name);
    if (n->op_blocker)
        return error_set(err, "Node '%s' is busy: %s", name, n->op_blocker);
    for (const BlockChild *c = n->parents; c; c = c->next_parent)
        if (c->port)
            return error_set(err, "Node %s is in use", name);
    if (!n->monitor_owned)
        return error_set(err, "Node %s is not owned by the monitor", name);
    if (n->refs > 1)
        return error_set(err, "Block device %s is in use", name);
    n->monitor_owned = false;
    node_unref(n);
    return true;
}
COMMAND(blockdev_del, .name = "blockdev-del", .args = &node_name_type, .run = blockdev_del,
        .doc = "Close a node that blockdev-add made and nobody uses.")

typedef struct Reopen {
    List options; /* of json_t * */
} Reopen;
static LIST_TYPE(options_list, &blockdev_options_type);
static const Field reopen_fields[] = {
    ARG_TYPE(Reopen, options, "options", &options_list, "of each node, all of them again"),
};
static STRUCT_TYPE(reopen_type, Reopen, reopen_fields);

static bool reopen_backing(BlockNode *n, const json_t *o, Error *err)
{
    const json_t *b = json_object_get(o, "backing");
    BlockNode *to = NULL;

    if (!b || json_is_object(b))
        return true;
    if (json_is_string(b)) {
        to = node_find(n->graph, json_string_value(b));
        if (!to)
            return error_set(err, "Cannot find device= nor node-name=%s", json_string_value(b));
    }
    return to == n->backing || node_set_child(n, "backing", to, err);
}

static bool reopen_one(Machine *m, json_t *o, Error *err)
{
    const char *name = json_string_value(json_object_get(o, "node-name"));
    const char *driver = json_string_value(json_object_get(o, "driver"));
    BlockNode *n = name && m->graph ? node_find(m->graph, name) : NULL;
    const json_t *ro = json_object_get(o, "read-only");
    uint32_t flags;

    if (!name)
        return error_set(err, "node-name not specified");
    if (!n)
        return error_set(err, "Failed to find node with node-name='%s'", name);
    if (driver && strcmp(driver, n->drv->name))
        return error_set(err, "Cannot change the option 'driver'");
    flags = json_is_true(ro) ? n->flags | NODE_READ_ONLY : n->flags & ~(uint32_t)NODE_READ_ONLY;
    return reopen_backing(n, o, err) && node_reopen(n, json_incref(o), flags, err);
}

COMMAND_FN(blockdev_reopen)
{
    const List *l = &((Reopen *)args)->options;

    for (unsigned i = 0; i < l->n; i++)
        if (!reopen_one(m, *LIST_AT(json_t *, l, i), err))
            return false;
    return true;
}
COMMAND(blockdev_reopen, .name = "blockdev-reopen", .args = &reopen_type, .run = blockdev_reopen,
        .doc = "Change a node's read-only state and backing file.")

/* --- sizes and names --- */

typedef struct Resize {
    char *device, *node_name;
    int64_t size;
} Resize;
static const Field resize_fields[] = {
    ARG_STR_OPT(Resize, device, "device", "the drive ..."),
    ARG_STR_OPT(Resize, node_name, "node-name", "... or the node"),
    ARG(Resize, size, "size", "bytes"),
};
static STRUCT_TYPE(resize_type, Resize, resize_fields);

COMMAND_FN(block_resize)
{
    const Resize *a = args;
    BlockNode *n = block_cmd_node(m, a->node_name ? a->node_name : a->device ? a->device : "", err);
    bool ok;

    if (!n)
        return false;
    if (a->size < 0)
        return error_set(err, "Parameter 'size' expects a >0 size");
    if (n->op_blocker)
        return error_set(err, "Node '%s' is busy: %s", n->name, n->op_blocker);
    graph_drain_begin(m->graph, NULL);
    ok = node_truncate(n, (uint64_t)a->size, PREALLOC_OFF, false, err);
    graph_drain_end(m->graph, NULL);
    return ok;
}
COMMAND(block_resize, .name = "block_resize", .args = &resize_type, .run = block_resize,
        .doc = "Change the size of an image.")

typedef struct ChangeBacking {
    char *device, *image, *backing;
} ChangeBacking;
static const Field change_backing_fields[] = {
    ARG(ChangeBacking, device, "device", "the drive or its top node"),
    ARG(ChangeBacking, image, "image-node-name", "whose record changes"),
    ARG(ChangeBacking, backing, "backing-file", "what it says from now on"),
};
static STRUCT_TYPE(change_backing_type, ChangeBacking, change_backing_fields);

COMMAND_FN(change_backing_file)
{
    const ChangeBacking *a = args;
    BlockNode *top = block_cmd_node(m, a->device, err),
              *n = top ? block_cmd_node(m, a->image, err) : NULL;
    bool was_ro = n && node_is_read_only(n), ok;

    if (!n)
        return false;
    if (!node_in_chain(top, n))
        return error_set(err, "image file not found in chain of '%s'", a->device);
    if (!n->backing)
        return error_set(err,
                         "not allowing backing file change on an image without a backing file");
    if (!n->drv->set_backing)
        return error_set(err, "'%s' has no backing files", n->drv->name);
    if (was_ro && !node_reopen(n, NULL, n->flags & ~(uint32_t)NODE_READ_ONLY, err))
        return false;
    ok = n->drv->set_backing(n, a->backing, n->backing->drv->name, err);
    if (was_ro)
        node_reopen(n, NULL, n->flags | NODE_READ_ONLY, NULL);
    return ok;
}
COMMAND(change_backing_file, .name = "change-backing-file", .args = &change_backing_type,
        .run = change_backing_file, .doc = "Change the backing file's name in an image.")

/* --- blockdev-create: a job --- */

typedef struct Create {
    Job job;
    BlockGraph *g;
    const BlockDriver *drv;
    json_t *options;
    BlockNode *opened[2]; /* nodes of options instead of names */
    bool ok;
} Create;

/* Drivers know nodes by their names. */
static bool create_open(Create *c, Error *err)
{
    static const char *const keys[COUNT_OF(c->opened)] = {"file", "data-file"};

    for (unsigned i = 0; i < COUNT_OF(keys); i++) {
        json_t *o = json_object_get(c->options, keys[i]);

        if (!json_is_object(o))
            continue;
        c->opened[i] = node_open(c->g, json_deep_copy(o), 0, err);
        if (!c->opened[i])
            return false;
        json_object_set_new(c->options, keys[i], json_string(c->opened[i]->name));
    }
    return true;
}

static void create_on_main(void *arg)
{
    Create *c = arg;

    c->ok = create_open(c, &c->job.err) && c->drv->create(c->g, c->options, &c->job.err);
    for (unsigned i = 0; i < COUNT_OF(c->opened); i++)
        node_unref(c->opened[i]);
}

static int create_run(Job *j, Error *err)
{
    Create *c = (Create *)j;

    (void)err;
    job_set_total(j, 1);
    job_on_main(j, create_on_main, c);
    j->done = c->ok;
    return c->ok ? 0 : -EIO;
}

static void create_finish(Job *j, bool ok)
{
    (void)j, (void)ok;
}

static void create_free(Job *j)
{
    json_decref(((Create *)j)->options);
}

static const JobClass create_class = {
    .type = "create",
    .size = sizeof(Create),
    .run = create_run,
    .finish = create_finish,
    .free = create_free,
};

typedef struct CreateArgs {
    char *job_id;
    json_t *options;
} CreateArgs;
static const Field create_arg_fields[] = {
    ARG(CreateArgs, job_id, "job-id", "the job"),
    ARG_TYPE(CreateArgs, options, "options", &blockdev_create_type, "what to make"),
};
static STRUCT_TYPE(create_args_type, CreateArgs, create_arg_fields);

COMMAND_FN(blockdev_create)
{
    const CreateArgs *a = args;
    json_t *options = json_deep_copy(a->options);
    const BlockDriver *d = blockdev_create_driver(options, err);
    Create *c =
        d ? (Create *)job_new(m->jobs, &create_class, a->job_id, NULL, true, false, err) : NULL;

    if (!c) {
        json_decref(options);
        return false;
    }
    c->g = m->graph;
    c->drv = d;
    c->options = options;
    job_start(&c->job);
    return true;
}
COMMAND(blockdev_create, .name = "blockdev-create", .args = &create_args_type,
        .run = blockdev_create, .doc = "Format an image, as a job.")
