/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query_cmds - what drives and nodes there are, and how busy (QEMU 7.2, qapi/block-core.json)
 */
#include "base/alloc.h"
#include "block/blockdev_type.h"
#include "block/cmds.h"
#include "block/info.h"
#include "block/throttle.h"

typedef struct CacheInfo {
    bool writeback, direct, no_flush;
} CacheInfo;
static const Field cache_fields[] = {
    ARG(CacheInfo, writeback, "writeback", "writes are done before they are on disk"),
    ARG(CacheInfo, direct, "direct", "past the host's page cache"),
    ARG(CacheInfo, no_flush, "no-flush", "flushes are dropped"),
};
static STRUCT_TYPE(cache_type, CacheInfo, cache_fields);

typedef struct BitmapInfo {
    char *name;
    int64_t count;
    uint32_t granularity;
    bool recording, busy, persistent, has_inconsistent, inconsistent;
} BitmapInfo;
static const Field bitmap_fields[] = {
    ARG_STR_OPT(BitmapInfo, name, "name", "the bitmap"),
    ARG(BitmapInfo, count, "count", "dirty bytes"),
    ARG(BitmapInfo, granularity, "granularity", "bytes a bit stands for"),
    ARG(BitmapInfo, recording, "recording", "it records"),
    ARG(BitmapInfo, busy, "busy", "a job uses it"),
    ARG(BitmapInfo, persistent, "persistent", "kept in the image"),
    ARG_OPT(BitmapInfo, inconsistent, "inconsistent", "of no use: was not stored properly"),
};
static STRUCT_TYPE(bitmap_type, BitmapInfo, bitmap_fields);
static LIST_TYPE(bitmap_list, &bitmap_type);

typedef struct NodeInfo {
    char *file, *node_name, *drv, *backing_file;
    bool ro, encrypted, has_bitmaps;
    int64_t depth, write_threshold;
    uint64_t avg[THROTTLE_BUCKETS], max[THROTTLE_BUCKETS], length[THROTTLE_BUCKETS], iops_size;
    bool has_max[THROTTLE_BUCKETS], has_iops_size;
    char *group;
    uint32_t zeroes;
    ImageInfo image;
    CacheInfo cache;
    List bitmaps;
} NodeInfo;

#define LIMIT(m, i, nm, dc, ...)                                                                   \
    {                                                                                              \
        .name = nm, .type = &type_u64, .doc = dc, .at = offsetof(NodeInfo, m[i]), .count = 1,      \
        .use = FIELD_ARG, __VA_ARGS__                                                              \
    }
#define WITH_MAX(i) .has_at = offsetof(NodeInfo, has_max[i]), .flags = FIELD_OPTIONAL
#define LIMITS(i, nm)                                                                              \
    LIMIT(avg, i, nm, "limit a second, 0: none", .flags = FIELD_REQUIRED),                         \
        LIMIT(max, i, nm "_max", "limit during bursts", WITH_MAX(i)),                              \
        LIMIT(length, i, nm "_max_length", "longest burst in seconds", WITH_MAX(i))
static const Field node_fields[] = {
    ARG(NodeInfo, file, "file", "name of the image"),
    ARG_STR_OPT(NodeInfo, node_name, "node-name", "the node"),
    ARG(NodeInfo, ro, "ro", "read-only"),
    ARG(NodeInfo, drv, "drv", "its driver"),
    ARG_STR_OPT(NodeInfo, backing_file, "backing_file", "name of the backing file"),
    ARG(NodeInfo, depth, "backing_file_depth", "how many are below"),
    ARG(NodeInfo, encrypted, "encrypted", "it is encrypted"),
    ARG_TYPE(NodeInfo, zeroes, "detect_zeroes", &detect_zeroes_type,
             "writes of zeroes are made cheap"),
    LIMITS(THROTTLE_BPS_TOTAL, "bps"),
    LIMITS(THROTTLE_BPS_READ, "bps_rd"),
    LIMITS(THROTTLE_BPS_WRITE, "bps_wr"),
    LIMITS(THROTTLE_IOPS_TOTAL, "iops"),
    LIMITS(THROTTLE_IOPS_READ, "iops_rd"),
    LIMITS(THROTTLE_IOPS_WRITE, "iops_wr"),
    ARG_OPT(NodeInfo, iops_size, "iops_size", "larger requests count as several"),
    ARG_STR_OPT(NodeInfo, group, "group", "drives that share the limits"),
    ARG_TYPE(NodeInfo, image, "image", &image_info_type, "the image"),
    ARG_TYPE(NodeInfo, cache, "cache", &cache_type, "how the host caches"),
    ARG(NodeInfo, write_threshold, "write_threshold", "0: none"),
    ARG_TYPE_OPT(NodeInfo, bitmaps, "dirty-bitmaps", &bitmap_list, "named ones"),
};
static STRUCT_TYPE(node_type, NodeInfo, node_fields);
static LIST_TYPE(node_list, &node_type);
static BOX_TYPE(node_box, &node_type);

static void fill_bitmaps(BlockNode *n, NodeInfo *i)
{
    for (DirtyBitmap *b = NULL; (b = bitmap_next(n, b));) {
        BitmapInfo *o;

        if (!bitmap_name(b))
            continue;
        o = list_add(&i->bitmaps, &bitmap_type);
        *o = (BitmapInfo){.name = xstrdup(bitmap_name(b)),
                          .count = (int64_t)bitmap_count(b),
                          .granularity = bitmap_granularity(b),
                          .recording = bitmap_is_enabled(b),
                          .busy = bitmap_is_busy(b),
                          .persistent = bitmap_is_persistent(b),
                          .has_inconsistent = bitmap_is_inconsistent(b),
                          .inconsistent = bitmap_is_inconsistent(b)};
        i->has_bitmaps = true;
    }
}

static bool fill_node(BlockNode *n, bool chain, bool writethrough, NodeInfo *i, Error *err)
{
    *i = (NodeInfo){.file = xstrdup(n->filename ? n->filename : ""),
                    .node_name = xstrdup(n->name),
                    .drv = xstrdup(n->drv->name),
                    .ro = node_is_read_only(n),
                    .encrypted = n->encrypted,
                    .zeroes = (uint32_t)n->detect_zeroes,
                    .cache = {.writeback = !writethrough,
                              .direct = n->flags & NODE_NO_CACHE,
                              .no_flush = n->flags & NODE_NO_FLUSH}};
    if (n->backing)
        i->backing_file = xstrdup(n->backing->filename);
    for (BlockNode *b = n->backing; b; b = b->backing)
        i->depth++;
    fill_bitmaps(n, i);
    return image_info_fill(n, chain, &i->image, err);
}

static void fill_limits(BlockPort *p, NodeInfo *i)
{
    ThrottleLimits l;

    i->group = xstrdup(block_port_limits(p, &l));
    if (!i->group)
        return;
    for (unsigned b = 0; b < THROTTLE_BUCKETS; b++) {
        i->avg[b] = l.avg[b];
        i->max[b] = l.max[b];
        i->length[b] = l.length[b];
        i->has_max[b] = l.max[b];
    }
    i->iops_size = l.iops_size;
    i->has_iops_size = l.iops_size;
}

/* --- query-named-block-nodes --- */

typedef struct NamedArgs {
    char pad;
    bool has_flat, flat;
} NamedArgs;
static const Field named_fields[] = {
    ARG_OPT(NamedArgs, flat, "flat", "without what is below each"),
};
static const Type named_type = {.name = "QueryNamedBlockNodes",
                                .meta = META_STRUCT,
                                .size = sizeof(NamedArgs),
                                .fields = named_fields,
                                .n_fields = COUNT_OF(named_fields)};

COMMAND_FN(query_named_block_nodes)
{
    const NamedArgs *a = args;

    for (BlockNode *n = NULL; m->graph && (n = node_next(m->graph, n));) {
        NodeInfo *i = list_add(ret, &node_type);

        if (!fill_node(n, !(a->has_flat && a->flat), false, i, err))
            return false;
    }
    return true;
}
COMMAND(query_named_block_nodes, .name = "query-named-block-nodes", .args = &named_type,
        .ret = &node_list, .run = query_named_block_nodes, .doc = "All nodes.")

/* --- query-block --- */

typedef struct DriveInfo {
    char *device, *qdev, *type;
    bool removable, locked, has_tray_open, tray_open;
    NodeInfo *inserted;
} DriveInfo;
static const Field drive_fields[] = {
    ARG(DriveInfo, device, "device", "name of the drive"),
    ARG_STR_OPT(DriveInfo, qdev, "qdev", "the device that uses it"),
    ARG(DriveInfo, type, "type", "always unknown"),
    ARG(DriveInfo, removable, "removable", "the medium can be taken out"),
    ARG(DriveInfo, locked, "locked", "the guest has locked it"),
    ARG_NULL_OPT(DriveInfo, inserted, "inserted", &node_box, "the medium"),
    ARG_OPT(DriveInfo, tray_open, "tray_open", "the tray is out"),
};
static STRUCT_TYPE(drive_type, DriveInfo, drive_fields);
static LIST_TYPE(drive_list, &drive_type);

COMMAND_FN(query_block)
{
    for (BlockPort *p = NULL; m->graph && (p = port_next(m->graph, p));) {
        DriveInfo *i;

        if (!block_port_name(p))
            continue;
        i = list_add(ret, &drive_type);
        *i = (DriveInfo){.device = xstrdup(block_port_name(p)),
                         .type = xstrdup("unknown"),
                         .removable = !block_port_owner(p)};
        if (block_port_node(p)) {
            i->inserted = xnew(NodeInfo);
            if (!fill_node(block_port_node(p), true, false, i->inserted, err))
                return false;
            fill_limits(p, i->inserted);
        }
    }
    return true;
}
COMMAND(query_block, .name = "query-block", .ret = &drive_list, .run = query_block,
        .doc = "All drives and their media.")

/* --- query-blockstats --- */

typedef struct Stats {
    int64_t rd_bytes, wr_bytes, unmap_bytes, rd_ops, wr_ops, flush_ops, unmap_ops, rd_ns, wr_ns,
        flush_ns, unmap_ns, highest, rd_merged, wr_merged, unmap_merged, failed_rd, failed_wr,
        failed_flush, failed_unmap, invalid_rd, invalid_wr, invalid_flush, invalid_unmap;
    bool account_invalid, account_failed;
    List timed;
} Stats;
static LIST_TYPE(timed_list, &type_any);
static const Field stats_fields[] = {
    ARG(Stats, rd_bytes, "rd_bytes", "bytes read"),
    ARG(Stats, wr_bytes, "wr_bytes", "bytes written"),
    ARG(Stats, unmap_bytes, "unmap_bytes", "bytes discarded"),
    ARG(Stats, rd_ops, "rd_operations", "reads"),
    ARG(Stats, wr_ops, "wr_operations", "writes"),
    ARG(Stats, flush_ops, "flush_operations", "flushes"),
    ARG(Stats, unmap_ops, "unmap_operations", "discards"),
    ARG(Stats, rd_ns, "rd_total_time_ns", "time of reads"),
    ARG(Stats, wr_ns, "wr_total_time_ns", "time of writes"),
    ARG(Stats, flush_ns, "flush_total_time_ns", "time of flushes"),
    ARG(Stats, unmap_ns, "unmap_total_time_ns", "time of discards"),
    ARG(Stats, highest, "wr_highest_offset", "end of the last byte written"),
    ARG(Stats, rd_merged, "rd_merged", "reads that were joined: none"),
    ARG(Stats, wr_merged, "wr_merged", "writes that were joined: none"),
    ARG(Stats, unmap_merged, "unmap_merged", "discards that were joined: none"),
    ARG(Stats, failed_rd, "failed_rd_operations", "reads that failed"),
    ARG(Stats, failed_wr, "failed_wr_operations", "writes that failed"),
    ARG(Stats, failed_flush, "failed_flush_operations", "flushes that failed"),
    ARG(Stats, failed_unmap, "failed_unmap_operations", "discards that failed"),
    ARG(Stats, invalid_rd, "invalid_rd_operations", "reads refused by the device"),
    ARG(Stats, invalid_wr, "invalid_wr_operations", "writes refused by the device"),
    ARG(Stats, invalid_flush, "invalid_flush_operations", "flushes refused by the device"),
    ARG(Stats, invalid_unmap, "invalid_unmap_operations", "discards refused by the device"),
    ARG(Stats, account_invalid, "account_invalid", "refused ones count"),
    ARG(Stats, account_failed, "account_failed", "failed ones count"),
    ARG_TYPE(Stats, timed, "timed_stats", &timed_list, "none"),
};
static STRUCT_TYPE(stats_type, Stats, stats_fields);

typedef struct StatsEntry {
    char *device, *node_name, *qdev;
    Stats stats;
    struct StatsEntry *parent, *backing;
} StatsEntry;
static const Type entry_type;
static BOX_TYPE(entry_box, &entry_type);
static const Field entry_fields[] = {
    ARG_STR_OPT(StatsEntry, device, "device", "name of the drive"),
    ARG_STR_OPT(StatsEntry, qdev, "qdev", "the device that uses it"),
    ARG_STR_OPT(StatsEntry, node_name, "node-name", "its node"),
    ARG_TYPE(StatsEntry, stats, "stats", &stats_type, "numbers since the start"),
    ARG_NULL_OPT(StatsEntry, parent, "parent", &entry_box, "of the file"),
    ARG_NULL_OPT(StatsEntry, backing, "backing", &entry_box, "of the backing file"),
};
static const Type entry_type = {.name = "BlockStats",
                                .meta = META_STRUCT,
                                .size = sizeof(StatsEntry),
                                .fields = entry_fields,
                                .n_fields = COUNT_OF(entry_fields)};
static LIST_TYPE(entry_list, &entry_type);

static Stats stats_of(const BlockStats *s)
{
    return (Stats){.rd_bytes = (int64_t)s->bytes[BLOCK_READ],
                   .wr_bytes = (int64_t)(s->bytes[BLOCK_WRITE] + s->bytes[BLOCK_ZERO]),
                   .unmap_bytes = (int64_t)s->bytes[BLOCK_DISCARD],
                   .rd_ops = (int64_t)s->ops[BLOCK_READ],
                   .wr_ops = (int64_t)(s->ops[BLOCK_WRITE] + s->ops[BLOCK_ZERO]),
                   .flush_ops = (int64_t)s->ops[BLOCK_FLUSH],
                   .unmap_ops = (int64_t)s->ops[BLOCK_DISCARD],
                   .rd_ns = (int64_t)s->ns[BLOCK_READ],
                   .wr_ns = (int64_t)(s->ns[BLOCK_WRITE] + s->ns[BLOCK_ZERO]),
                   .flush_ns = (int64_t)s->ns[BLOCK_FLUSH],
                   .unmap_ns = (int64_t)s->ns[BLOCK_DISCARD],
                   .highest = (int64_t)s->highest_write,
                   .failed_rd = (int64_t)s->failed[BLOCK_READ],
                   .failed_wr = (int64_t)(s->failed[BLOCK_WRITE] + s->failed[BLOCK_ZERO]),
                   .failed_flush = (int64_t)s->failed[BLOCK_FLUSH],
                   .failed_unmap = (int64_t)s->failed[BLOCK_DISCARD],
                   .account_invalid = true,
                   .account_failed = true};
}

typedef struct StatsArgs {
    char pad;
    bool has_nodes, nodes;
} StatsArgs;
static const Field stats_arg_fields[] = {
    ARG_OPT(StatsArgs, nodes, "query-nodes", "nodes instead of drives"),
};
static const Type stats_args = {.name = "QueryBlockstats",
                                .meta = META_STRUCT,
                                .size = sizeof(StatsArgs),
                                .fields = stats_arg_fields,
                                .n_fields = COUNT_OF(stats_arg_fields)};

/* What is below; of nodes nothing is counted. */
static void fill_below(StatsEntry *e, const BlockNode *n)
{
    const BlockNode *const below[] = {n->file, n->backing};
    StatsEntry **const at[] = {&e->parent, &e->backing};

    e->node_name = xstrdup(n->name);
    for (unsigned i = 0; i < COUNT_OF(below); i++)
        if (below[i]) {
            *at[i] = xnew(StatsEntry);
            fill_below(*at[i], below[i]);
        }
}

COMMAND_FN(query_blockstats)
{
    const StatsArgs *a = args;

    if (a->has_nodes && a->nodes) {
        for (BlockNode *n = NULL; m->graph && (n = node_next(m->graph, n));)
            fill_below(list_add(ret, &entry_type), n);
        return true;
    }
    for (BlockPort *p = NULL; m->graph && (p = port_next(m->graph, p));) {
        StatsEntry *e;

        if (!block_port_name(p))
            continue;
        e = list_add(ret, &entry_type);
        e->device = xstrdup(block_port_name(p));
        if (block_port_node(p))
            fill_below(e, block_port_node(p));
        e->stats = stats_of(block_port_stats(p));
    }
    return true;
}
COMMAND(query_blockstats, .name = "query-blockstats", .args = &stats_args, .ret = &entry_list,
        .run = query_blockstats, .doc = "How much was read and written.")
