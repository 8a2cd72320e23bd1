/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap_cmds - dirty bitmaps (QEMU 7.2, qapi/block-core.json); each is an action of transaction,
 * too
 */
#include "base/alloc.h"
#include "block/cmds.h"

DirtyBitmap *block_cmd_bitmap(Machine *m, const char *node, const char *name, BlockNode **on,
                              Error *err)
{
    BlockNode *n = block_cmd_node(m, node, err);
    DirtyBitmap *b = NULL;

    for (BlockNode *at = n; at && !b;
         at = at->drv->kind == DRIVER_FILTER ? at->children->node : NULL) {
        b = bitmap_find(at, name);
        *on = at;
    }
    if (n && !b)
        error_set(err, "Dirty bitmap '%s' not found", name);
    return b;
}

/* --- add --- */

typedef struct Add {
    char *node, *name;
    bool has_granularity, has_persistent, persistent, has_disabled, disabled;
    uint32_t granularity;
} Add;
static const Field add_fields[] = {
    ARG(Add, node, "node", "the node"),
    ARG(Add, name, "name", "the bitmap's name"),
    ARG_OPT(Add, granularity, "granularity", "bytes a bit stands for"),
    ARG_OPT(Add, persistent, "persistent", "kept in the image when it is closed"),
    ARG_OPT(Add, disabled, "disabled", "does not record yet"),
};
static const Type add_type = {.name = "BlockDirtyBitmapAdd",
                              .meta = META_STRUCT,
                              .size = sizeof(Add),
                              .fields = add_fields,
                              .n_fields = COUNT_OF(add_fields)};

static bool add_prepare(Machine *m, Action *act, Error *err)
{
    const Add *a = act->args;
    BlockNode *n = block_cmd_node(m, a->node, err);
    uint32_t g = a->has_granularity ? a->granularity : 0;

    n = n ? node_skip_filters(n) : NULL;
    if (!n)
        return false;
    if (!*a->name)
        return error_set(err, "Bitmap name cannot be empty");
    if (a->has_granularity && (g < 512 || g & (g - 1)))
        return error_set(err, "Granularity must be power of 2 and at least 512");
    if (bitmap_find(n, a->name))
        return error_set(err, "Bitmap already exists: %s", a->name);
    if (a->has_persistent && a->persistent) {
        if (!n->drv->bitmap_ops)
            return error_set(err, "Cannot store dirty bitmaps in file '%s'", n->filename);
        if (!n->drv->bitmap_ops->can_store(n, a->name, g ? g : bitmap_default_granularity(n), err))
            return false;
    }
    act->bitmap = bitmap_new(n, a->name, g, err);
    if (!act->bitmap)
        return false;
    bitmap_set_persistent(act->bitmap, a->has_persistent && a->persistent);
    bitmap_enable(act->bitmap, !(a->has_disabled && a->disabled));
    if (bitmap_is_persistent(act->bitmap))
        atomic_store(&n->meta_dirty, true);
    return true;
}

static void add_abort(Action *act)
{
    if (act->bitmap)
        bitmap_free(act->bitmap);
}
ACTION(add, .type = "block-dirty-bitmap-add", .args = &add_type, .prepare = add_prepare,
       .abort = add_abort)

COMMAND_FN(bitmap_add)
{
    return action_run(m, &action_add, args, err);
}
COMMAND(block_dirty_bitmap_add, .name = "block-dirty-bitmap-add", .args = &add_type,
        .run = bitmap_add, .doc = "Begin to record which parts of a node are written.")

/* --- remove, clear, enable, disable --- */

typedef struct Name {
    char *node, *name;
} Name;
static const Field name_fields[] = {
    ARG(Name, node, "node", "the node"),
    ARG(Name, name, "name", "the bitmap"),
};
static const Type name_type = {.name = "BlockDirtyBitmap",
                               .meta = META_STRUCT,
                               .size = sizeof(Name),
                               .fields = name_fields,
                               .n_fields = COUNT_OF(name_fields)};

static bool find_one(Machine *m, Action *act, unsigned check, Error *err)
{
    const Name *a = act->args;
    BlockNode *n;

    act->bitmap = block_cmd_bitmap(m, a->node, a->name, &n, err);
    if (!act->bitmap)
        return false;
    if (!bitmap_check(act->bitmap, check, err)) {
        act->bitmap = NULL;
        return false;
    }
    act->node = node_ref(n);
    return true;
}

/* In the image it goes at once; in memory when the transaction is through. */
static bool remove_prepare(Machine *m, Action *act, Error *err)
{
    if (!find_one(m, act, BITMAP_BUSY | BITMAP_READ_ONLY, err))
        return false;
    if (bitmap_is_persistent(act->bitmap) && act->node->drv->bitmap_ops &&
        act->node->drv->bitmap_ops->remove &&
        !act->node->drv->bitmap_ops->remove(act->node, bitmap_name(act->bitmap), err))
        return false;
    bitmap_set_busy(act->bitmap, true); /* no later action may use it */
    act->flag = true;
    return true;
}
static void remove_commit(Action *act)
{
    bitmap_set_busy(act->bitmap, false);
    bitmap_free(act->bitmap);
}
static void remove_abort(Action *act)
{
    if (act->flag)
        bitmap_set_busy(act->bitmap, false);
}
ACTION(remove, .type = "block-dirty-bitmap-remove", .args = &name_type, .prepare = remove_prepare,
       .commit = remove_commit, .abort = remove_abort)

static bool clear_prepare(Machine *m, Action *act, Error *err)
{
    if (!find_one(m, act, BITMAP_DEFAULT, err))
        return false;
    bitmap_clear(act->bitmap, &act->backup);
    return true;
}
static void clear_abort(Action *act)
{
    if (act->backup)
        bitmap_restore(act->bitmap, act->backup);
    act->backup = NULL;
}
ACTION(clear, .type = "block-dirty-bitmap-clear", .args = &name_type, .prepare = clear_prepare,
       .abort = clear_abort)

static bool enable_to(Machine *m, Action *act, bool on, Error *err)
{
    if (!find_one(m, act, BITMAP_ALLOW_RO, err))
        return false;
    act->flag = bitmap_is_enabled(act->bitmap);
    bitmap_enable(act->bitmap, on);
    return true;
}
static bool enable_prepare(Machine *m, Action *act, Error *err)
{
    return enable_to(m, act, true, err);
}
static bool disable_prepare(Machine *m, Action *act, Error *err)
{
    return enable_to(m, act, false, err);
}
static void enable_abort(Action *act)
{
    if (act->bitmap)
        bitmap_enable(act->bitmap, act->flag);
}
ACTION(enable, .type = "block-dirty-bitmap-enable", .args = &name_type, .prepare = enable_prepare,
       .abort = enable_abort)
ACTION(disable, .type = "block-dirty-bitmap-disable", .args = &name_type,
       .prepare = disable_prepare, .abort = enable_abort)

COMMAND_FN(bitmap_remove)
{
    return action_run(m, &action_remove, args, err);
}
COMMAND(block_dirty_bitmap_remove, .name = "block-dirty-bitmap-remove", .args = &name_type,
        .run = bitmap_remove, .doc = "Forget a bitmap, also in the image.")
COMMAND_FN(clear_bitmap)
{
    return action_run(m, &action_clear, args, err);
}
COMMAND(block_dirty_bitmap_clear, .name = "block-dirty-bitmap-clear", .args = &name_type,
        .run = clear_bitmap, .doc = "Nothing has changed, from now on.")
COMMAND_FN(enable_bitmap)
{
    return action_run(m, &action_enable, args, err);
}
COMMAND(block_dirty_bitmap_enable, .name = "block-dirty-bitmap-enable", .args = &name_type,
        .run = enable_bitmap, .doc = "Let a bitmap record.")
COMMAND_FN(disable_bitmap)
{
    return action_run(m, &action_disable, args, err);
}
COMMAND(block_dirty_bitmap_disable, .name = "block-dirty-bitmap-disable", .args = &name_type,
        .run = disable_bitmap, .doc = "Stop a bitmap's recording.")

/* --- merge --- */

static const Type *const source_choices[] = {&type_str, &name_type, NULL};
static ALTERNATE_TYPE(source_type, BlockDirtyBitmapOrStr, source_choices);
static LIST_TYPE(source_list, &source_type);
typedef struct Merge {
    char *node, *target;
    List bitmaps; /* of json_t * */
} Merge;
static const Field merge_fields[] = {
    ARG(Merge, node, "node", "node of the target"),
    ARG(Merge, target, "target", "bitmap that takes the others' bits"),
    ARG_TYPE(Merge, bitmaps, "bitmaps", &source_list, "of the same node, or {node, name}"),
};
static const Type merge_type = {.name = "BlockDirtyBitmapMerge",
                                .meta = META_STRUCT,
                                .size = sizeof(Merge),
                                .fields = merge_fields,
                                .n_fields = COUNT_OF(merge_fields)};

static bool merge_one(Machine *m, Action *act, const json_t *source, Error *err)
{
    const Merge *a = act->args;
    const char *node =
        json_is_string(source) ? a->node : json_string_value(json_object_get(source, "node"));
    const char *name = json_is_string(source) ? json_string_value(source)
                                              : json_string_value(json_object_get(source, "name"));
    BlockNode *n;
    DirtyBitmap *from = node && name ? block_cmd_bitmap(m, node, name, &n, err) : NULL;

    if (!node || !name)
        return error_set(err, "Parameter '%s' is missing", node ? "name" : "node");
    return from && bitmap_merge(act->bitmap, from, act->backup ? NULL : &act->backup, err);
}

static bool merge_prepare(Machine *m, Action *act, Error *err)
{
    const Merge *a = act->args;
    BlockNode *n;

    act->bitmap = block_cmd_bitmap(m, a->node, a->target, &n, err);
    if (!act->bitmap || !bitmap_check(act->bitmap, BITMAP_DEFAULT, err))
        return false;
    for (unsigned i = 0; i < a->bitmaps.n; i++)
        if (!merge_one(m, act, *LIST_AT(json_t *, &a->bitmaps, i), err))
            return false;
    return true;
}
ACTION(merge, .type = "block-dirty-bitmap-merge", .args = &merge_type, .prepare = merge_prepare,
       .abort = clear_abort)

COMMAND_FN(merge_bitmaps)
{
    return action_run(m, &action_merge, args, err);
}
COMMAND(block_dirty_bitmap_merge, .name = "block-dirty-bitmap-merge", .args = &merge_type,
        .run = merge_bitmaps, .doc = "Add the bits of other bitmaps to one.")

/* --- abort: for tests of transactions --- */

static const Type abort_type = {.name = "Abort", .meta = META_STRUCT, .size = 8};
static bool abort_prepare(Machine *m, Action *act, Error *err)
{
    (void)m, (void)act;
    return error_set(err, "Transaction aborted using Abort action");
}
ACTION(abort, .type = "abort", .args = &abort_type, .prepare = abort_prepare)
