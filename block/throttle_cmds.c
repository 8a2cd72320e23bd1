/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * throttle_cmds - limits of a drive (QEMU 7.2, qapi/block-core.json, BlockIOThrottle)
 */
#include "block/cmds.h"
#include "block/throttle.h"

typedef struct Limits {
    char *device, *id, *group;
    int64_t avg[THROTTLE_BUCKETS], max[THROTTLE_BUCKETS], length[THROTTLE_BUCKETS], iops_size;
    bool has_max[THROTTLE_BUCKETS], has_length[THROTTLE_BUCKETS], has_iops_size;
} Limits;

#define AVG(i, nm)                                                                                 \
    {                                                                                              \
        .name = nm, .type = &type_i64, .doc = "limit a second, 0: none",                           \
        .at = offsetof(Limits, avg[i]), .count = 1, .use = FIELD_ARG, .flags = FIELD_REQUIRED      \
    }
#define MORE(i, m, nm, dc)                                                                         \
    {                                                                                              \
        .name = nm, .type = &type_i64, .doc = dc, .at = offsetof(Limits, m[i]),                    \
        .has_at = offsetof(Limits, has_##m[i]), .count = 1, .use = FIELD_ARG,                      \
        .flags = FIELD_OPTIONAL                                                                    \
    }
#define BUCKET(i, nm)                                                                              \
    AVG(i, nm), MORE(i, max, nm "_max", "limit during bursts"),                                    \
        MORE(i, length, nm "_max_length", "longest burst in seconds")
static const Field fields[] = {
    ARG_STR_OPT(Limits, device, "device", "the drive ..."),
    ARG_STR_OPT(Limits, id, "id", "... or the device that uses it"),
    BUCKET(THROTTLE_BPS_TOTAL, "bps"),
    BUCKET(THROTTLE_BPS_READ, "bps_rd"),
    BUCKET(THROTTLE_BPS_WRITE, "bps_wr"),
    BUCKET(THROTTLE_IOPS_TOTAL, "iops"),
    BUCKET(THROTTLE_IOPS_READ, "iops_rd"),
    BUCKET(THROTTLE_IOPS_WRITE, "iops_wr"),
    ARG_OPT(Limits, iops_size, "iops_size", "larger requests count as several"),
    ARG_STR_OPT(Limits, group, "group", "drives that share the limits"),
};
static const Type limits_type = {.name = "BlockIOThrottle",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Limits),
                                 .fields = fields,
                                 .n_fields = COUNT_OF(fields)};

COMMAND_FN(block_set_io_throttle)
{
    const Limits *a = args;
    BlockPort *p = block_cmd_port(m, a->device, a->id, err);
    ThrottleLimits l = {.iops_size = a->has_iops_size ? (uint64_t)a->iops_size : 0};

    if (!p)
        return false;
    if (!block_port_node(p))
        return error_set(err, "Device '%s' has no medium", block_port_name(p));
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) { /* negative ones are too large */
        l.avg[i] = (uint64_t)a->avg[i];
        l.max[i] = a->has_max[i] ? (uint64_t)a->max[i] : 0;
        l.length[i] = a->has_length[i] ? (uint64_t)a->length[i] : 1;
    }
    return block_port_throttle(p, a->group, &l, err);
}
COMMAND(block_set_io_throttle, .name = "block_set_io_throttle", .args = &limits_type,
        .run = block_set_io_throttle, .doc = "Limit what a drive does in a second.")
