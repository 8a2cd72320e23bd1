/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot_cmds - overlays and internal snapshots; transactions (QEMU 7.2, qapi/block-core.json,
 * transaction.json)
 */
#include <errno.h>
#include <time.h>

#include "base/alloc.h"
#include "block/cmds.h"
#include "block/jobs.h"

/* --- actions --- */

static ActionClass *actions;

void action_register(ActionClass *c)
{
    c->data = (Field){.name = "data",
                      .type = c->args,
                      .doc = "arguments",
                      .count = 1,
                      .use = FIELD_ARG,
                      .flags = FIELD_REQUIRED};
    c->wrapped = (Type){.name = c->type,
                        .meta = META_STRUCT,
                        .size = c->args->size,
                        .fields = &c->data,
                        .n_fields = 1};
    c->next = actions;
    actions = c;
}

static void action_free(Action *a)
{
    node_unref(a->node);
    node_unref(a->other);
    bitmap_backup_free(a->backup);
    xfree(a->text);
}

bool action_run(Machine *m, const ActionClass *c, void *args, Error *err)
{
    Action a = {.cls = c, .args = args, .m = m};
    bool ok;

    if (!m->graph)
        return error_set(err, "this machine has no block layer");
    ok = c->prepare(m, &a, err);
    if (ok && c->commit)
        c->commit(&a);
    if (!ok && c->abort)
        c->abort(&a);
    action_free(&a);
    return ok;
}

/* --- blockdev-snapshot --- */

typedef struct Overlay {
    char *node, *overlay;
} Overlay;
static const Field overlay_fields[] = {
    ARG(Overlay, node, "node", "what becomes the backing file"),
    ARG(Overlay, overlay, "overlay", "a node without backing file that takes its place"),
};
static STRUCT_TYPE(overlay_type, Overlay, overlay_fields);

static bool put_on_top(Action *a, BlockNode *node, BlockNode *overlay, Error *err)
{
    if (node->op_blocker)
        return error_set(err, "Node '%s' is busy: %s", node->name, node->op_blocker);
    if (overlay->parents)
        return error_set(err, "The overlay is already in use");
    if (overlay->backing)
        return error_set(err, "The overlay already has a backing image");
    a->node = node_ref(node);
    a->other = node_ref(overlay);
    graph_drain_begin(a->m->graph, NULL);
    a->flag = node_flush(node) >= 0 && node_set_child(overlay, "backing", node, err) &&
              node_replace(node, overlay, err);
    if (!a->flag && overlay->backing)
        node_set_child(overlay, "backing", NULL, NULL);
    graph_drain_end(a->m->graph, NULL);
    return a->flag;
}

static bool snapshot_prepare(Machine *m, Action *a, Error *err)
{
    const Overlay *o = a->args;
    BlockNode *n = block_cmd_node(m, o->node, err),
              *top = n ? block_cmd_node(m, o->overlay, err) : NULL;

    if (!top)
        return false;
    for (const ChildSlot *s = top->drv->children; s && s->name; s++)
        if (s->role & ROLE_BACKING)
            return put_on_top(a, n, top, err);
    return error_set(err, "The overlay does not support backing images");
}

static void snapshot_abort(Action *a)
{
    if (!a->flag)
        return;
    graph_drain_begin(a->m->graph, NULL);
    node_replace(a->other, a->node, NULL);
    node_set_child(a->other, "backing", NULL, NULL);
    graph_drain_end(a->m->graph, NULL);
}

/* A backing file is not written any more; that it could be is no reason to undo the snapshot. */
static void snapshot_commit(Action *a)
{
    BlockNode *n = a->node;

    if (!node_is_read_only(n))
        node_reopen(n, NULL, n->flags | NODE_READ_ONLY, NULL);
}

ACTION(snapshot, .type = "blockdev-snapshot", .args = &overlay_type, .prepare = snapshot_prepare,
       .commit = snapshot_commit, .abort = snapshot_abort)

COMMAND_FN(blockdev_snapshot)
{
    return action_run(m, &action_snapshot, args, err);
}
COMMAND(blockdev_snapshot, .name = "blockdev-snapshot", .args = &overlay_type,
        .run = blockdev_snapshot, .features = "allow-write-only-overlay",
        .doc = "Put an overlay on an image: from now on writes go there.")

/* --- blockdev-snapshot-sync: makes the overlay, too --- */

static const char *const mode_names[] = {"existing", "absolute-paths", NULL};
ENUM_TYPE(new_image_mode_type, NewImageMode, mode_names);
typedef struct SnapshotSync {
    char *device, *node_name, *file, *snap_name, *format;
    bool has_mode;
    uint32_t mode;
} SnapshotSync;
static const Field sync_fields[] = {
    ARG_STR_OPT(SnapshotSync, device, "device", "the drive ..."),
    ARG_STR_OPT(SnapshotSync, node_name, "node-name", "... or the node"),
    ARG(SnapshotSync, file, "snapshot-file", "file of the overlay"),
    ARG_STR_OPT(SnapshotSync, snap_name, "snapshot-node-name", "node name of the overlay"),
    ARG_STR_OPT(SnapshotSync, format, "format", "its format: qcow2"),
    ARG_TYPE_OPT(SnapshotSync, mode, "mode", &new_image_mode_type, "make it, or use what is there"),
};
static STRUCT_TYPE(sync_type, SnapshotSync, sync_fields);

static bool sync_create(BlockGraph *g, const SnapshotSync *s, const BlockDriver *d, BlockNode *n,
                        Error *err)
{
    json_t *o;
    bool ok;

    if (!d->create_file)
        return error_set(err, "Driver '%s' cannot make images", d->name);
    o = json_object();
    json_object_set_new(o, "size", json_sprintf("%" PRIu64, (uint64_t)n->size));
    json_object_set_new(o, "backing_file", json_string(n->filename));
    json_object_set_new(o, "backing_fmt", json_string(n->drv->name));
    ok = d->create_file(g, s->file, o, err);
    json_decref(o);
    return ok;
}

static bool snapshot_sync_prepare(Machine *m, Action *a, Error *err)
{
    const SnapshotSync *s = a->args;
    const char *name = s->node_name ? s->node_name : s->device;
    BlockNode *n = block_cmd_node(m, name ? name : "", err), *top;
    const BlockDriver *d = block_driver_find(s->format ? s->format : "qcow2");
    json_t *o;
    bool ok;

    if (!n)
        return false;
    n = node_skip_filters(n);
    if (!d || d->kind != DRIVER_FORMAT)
        return error_set(err, "Invalid block format '%s'", s->format);
    if ((!s->has_mode || s->mode) && !sync_create(m->graph, s, d, n, err))
        return false;
    o = json_pack("{sn}", "backing");
    if (s->snap_name)
        json_object_set_new(o, "node-name", json_string(s->snap_name));
    top = node_open_image(m->graph, s->file, d->name, o, n->flags & ~(uint32_t)NODE_PROBED, err);
    if (!top)
        return false;
    ok = put_on_top(a, n, top, err);
    node_unref(top);
    return ok;
}

ACTION(snapshot_sync, .type = "blockdev-snapshot-sync", .args = &sync_type,
       .prepare = snapshot_sync_prepare, .commit = snapshot_commit, .abort = snapshot_abort)

COMMAND_FN(blockdev_snapshot_sync)
{
    return action_run(m, &action_snapshot_sync, args, err);
}
COMMAND(blockdev_snapshot_sync, .name = "blockdev-snapshot-sync", .args = &sync_type,
        .run = blockdev_snapshot_sync, .doc = "Make an overlay and put it on an image.")

/* --- internal snapshots --- */

typedef struct Internal {
    char *device, *name, *id;
} Internal;
static const Field internal_fields[] = {
    ARG(Internal, device, "device", "the drive or node"),
    ARG(Internal, name, "name", "name of the snapshot"),
};
static STRUCT_TYPE(internal_type, Internal, internal_fields);
static const Field delete_fields[] = {
    ARG(Internal, device, "device", "the drive or node"),
    ARG_STR_OPT(Internal, id, "id", "the snapshot's id ..."),
    ARG_STR_OPT(Internal, name, "name", "... or its name, or both"),
};
static STRUCT_TYPE(delete_type, Internal, delete_fields);

static BlockNode *snapshot_node(Machine *m, const char *device, Error *err)
{
    BlockNode *n = block_cmd_node(m, device, err);

    n = n ? node_skip_filters(n) : NULL;
    if (n && (!n->drv->snapshots || !n->drv->snapshots->create)) {
        error_set(err,
                  "Block format '%s' used by device '%s' does not support feature 'internal "
                  "snapshots'",
                  n->drv->name, device);
        return NULL;
    }
    if (n && node_is_read_only(n)) {
        error_set(err, "Device '%s' is read only", device);
        return NULL;
    }
    return n;
}

static bool snapshot_exists(BlockNode *n, const char *name, const char *id, SnapshotInfo *out)
{
    SnapshotInfo *list = NULL;
    unsigned count = 0;
    bool found = false;

    n->drv->snapshots->list(n, &list, &count, NULL);
    for (unsigned i = 0; i < count; i++) {
        bool is = (!name || !strcmp(list[i].name, name)) && (!id || !strcmp(list[i].id, id));

        if (is && !found && out) {
            *out = list[i];
            list[i].name = NULL;
        }
        found |= is;
        xfree(list[i].name);
    }
    xfree(list);
    return found;
}

static bool internal_prepare(Machine *m, Action *a, Error *err)
{
    const Internal *i = a->args;
    BlockNode *n = snapshot_node(m, i->device, err);
    struct timespec now;
    SnapshotInfo s = {.name = i->name, .icount = UINT64_MAX};
    bool ok;

    if (!n)
        return false;
    if (!*i->name)
        return error_set(err, "Name is empty");
    if (snapshot_exists(n, i->name, NULL, NULL))
        return error_set(err, "Snapshot with name '%s' already exists on device '%s'", i->name,
                         i->device);
    clock_gettime(CLOCK_REALTIME, &now);
    s.date_s = (uint32_t)now.tv_sec;
    s.date_ns = (uint32_t)now.tv_nsec;
    s.vm_clock_ns = (uint64_t)clock_now(m->vclock);
    graph_drain_begin(m->graph, NULL);
    ok = n->drv->snapshots->create(n, &s, err);
    graph_drain_end(m->graph, NULL);
    if (ok) {
        a->node = node_ref(n);
        a->text = xstrdup(i->name);
    }
    return ok;
}

static void internal_abort(Action *a)
{
    if (a->text)
        a->node->drv->snapshots->remove(a->node, a->text, NULL);
}

ACTION(internal, .type = "blockdev-snapshot-internal-sync", .args = &internal_type,
       .prepare = internal_prepare, .abort = internal_abort)

COMMAND_FN(blockdev_snapshot_internal_sync)
{
    return action_run(m, &action_internal, args, err);
}
COMMAND(blockdev_snapshot_internal_sync, .name = "blockdev-snapshot-internal-sync",
        .args = &internal_type, .run = blockdev_snapshot_internal_sync,
        .doc = "Make a snapshot inside an image.")

typedef struct Deleted {
    char *id, *name;
    int64_t vm_state_size, date_s, date_ns, clock_s, clock_ns;
} Deleted;
static const Field deleted_fields[] = {
    ARG(Deleted, id, "id", "unique snapshot id"),
    ARG(Deleted, name, "name", "its name"),
    ARG(Deleted, vm_state_size, "vm-state-size", "bytes of machine state"),
    ARG(Deleted, date_s, "date-sec", "when it was made: seconds"),
    ARG(Deleted, date_ns, "date-nsec", "and nanoseconds"),
    ARG(Deleted, clock_s, "vm-clock-sec", "the guest's clock then: seconds"),
    ARG(Deleted, clock_ns, "vm-clock-nsec", "and nanoseconds"),
};
static const Type deleted_type = {.name = "SnapshotInfoDeleted",
                                  .meta = META_STRUCT,
                                  .size = sizeof(Deleted),
                                  .fields = deleted_fields,
                                  .n_fields = COUNT_OF(deleted_fields)};

COMMAND_FN(blockdev_snapshot_delete_internal_sync)
{
    const Internal *i = args;
    BlockNode *n = snapshot_node(m, i->device, err);
    SnapshotInfo s = {0};
    bool ok;

    if (!n)
        return false;
    if (!i->id && !i->name)
        return error_set(err, "Name or id must be provided");
    if (!snapshot_exists(n, i->name, i->id, &s))
        return error_set(err, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                         i->id ? i->id : "null", i->name ? i->name : "null", i->device);
    graph_drain_begin(m->graph, NULL);
    ok = n->drv->snapshots->remove(n, s.id, err);
    graph_drain_end(m->graph, NULL);
    *(Deleted *)ret = (Deleted){.id = xstrdup(s.id),
                                .name = s.name,
                                .vm_state_size = (int64_t)s.vm_state_size,
                                .date_s = s.date_s,
                                .date_ns = s.date_ns,
                                .clock_s = (int64_t)(s.vm_clock_ns / 1000000000),
                                .clock_ns = (int64_t)(s.vm_clock_ns % 1000000000)};
    return ok;
}
COMMAND(blockdev_snapshot_delete_internal_sync, .name = "blockdev-snapshot-delete-internal-sync",
        .args = &delete_type, .ret = &deleted_type, .run = blockdev_snapshot_delete_internal_sync,
        .doc = "Remove a snapshot inside an image; what it was.")

/* --- transaction --- */

static const ActionClass *action_find(const char *type)
{
    for (const ActionClass *c = actions; c; c = c->next)
        if (!strcmp(c->type, type))
            return c;
    return NULL;
}

typedef struct ActionBase {
    char *type;
} ActionBase;
static const Field action_base_fields[] = {ARG(ActionBase, type, "type", "what to do")};
static STRUCT_TYPE(action_base, ActionBase, action_base_fields);

static bool action_variant(unsigned i, Variant *out)
{
    const ActionClass *c = actions;

    while (c && i--)
        c = c->next;
    if (c)
        *out = (Variant){c->type, &c->wrapped};
    return c;
}
static UNION_TYPE(action_type, TransactionAction, &action_base, "type", action_variant);
static LIST_TYPE(action_list, &action_type);
static const char *const completion_names[] = {"individual", "grouped", NULL};
static ENUM_TYPE(completion_type, ActionCompletionMode, completion_names);
typedef struct TxnProperties {
    char pad;
    bool has_mode;
    uint32_t mode;
} TxnProperties;
static const Field properties_fields[] = {
    ARG_TYPE_OPT(TxnProperties, mode, "completion-mode", &completion_type, "of the jobs it starts"),
};
static const Type properties_type = {.name = "TransactionProperties",
                                     .meta = META_STRUCT,
                                     .size = sizeof(TxnProperties),
                                     .fields = properties_fields,
                                     .n_fields = COUNT_OF(properties_fields)};
typedef struct Transaction {
    List actions;
    bool has_properties;
    TxnProperties properties;
} Transaction;
static const Field transaction_fields[] = {
    ARG_TYPE(Transaction, actions, "actions", &action_list, "in this order"),
    ARG_TYPE_OPT(Transaction, properties, "properties", &properties_type, "of all together"),
};
static STRUCT_TYPE(transaction_type, Transaction, transaction_fields);

static Action *action_new(Machine *m, const json_t *j, JobTxn *txn, Error *err)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    const ActionClass *c = type ? action_find(type) : NULL;
    const json_t *data = json_object_get(j, "data");
    Action *a;

    if (!c) {
        error_set(err, "Invalid parameter '%s'", type ? type : "type");
        return NULL;
    }
    if (!data) {
        error_set(err, "Parameter 'data' is missing");
        return NULL;
    }
    a = xnew(Action);
    *a = (Action){.cls = c, .args = xalloc(c->args->size), .m = m, .txn = txn};
    if (reflect_from_json(c->args, a->args, data, FIELD_ARG, err))
        return a;
    reflect_value_free(c->args, a->args);
    xfree(a->args);
    xfree(a);
    return NULL;
}

static Action *reversed(Action *a)
{
    Action *list = NULL;

    while (a) {
        Action *next = a->next;

        a->next = list;
        list = a;
        a = next;
    }
    return list;
}

COMMAND_FN(transaction)
{
    const Transaction *t = args;
    bool grouped = t->has_properties && t->properties.has_mode && t->properties.mode;
    JobTxn *txn = grouped ? job_txn_new() : NULL;
    Action *first = NULL;
    bool ok = true;

    if (!m->graph)
        return error_set(err, "this machine has no block layer");
    graph_drain_begin(m->graph, NULL);
    for (unsigned i = 0; i < t->actions.n && ok; i++) {
        Action *a = action_new(m, *LIST_AT(json_t *, &t->actions, i), txn, err);

        ok = a && a->cls->prepare(m, a, err);
        if (a && !ok && a->cls->abort)
            a->cls->abort(a);
        if (a && !ok) {
            action_free(a);
            reflect_value_free(a->cls->args, a->args);
            xfree(a->args);
            xfree(a);
        } else if (a) {
            a->next = first; /* the newest first: undone in reverse */
            first = a;
        }
    }
    first = ok ? reversed(first) : first; /* committed in order, undone in reverse */
    while (first) {
        Action *a = first;

        first = a->next;
        if (ok && a->cls->commit)
            a->cls->commit(a);
        if (!ok && a->cls->abort)
            a->cls->abort(a);
        action_free(a);
        reflect_value_free(a->cls->args, a->args);
        xfree(a->args);
        xfree(a);
    }
    graph_drain_end(m->graph, NULL);
    job_txn_unref(txn);
    return ok;
}
COMMAND(transaction, .name = "transaction", .args = &transaction_type, .run = transaction,
        .doc = "Several block commands at one moment: all or none.")
