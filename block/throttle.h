/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * throttle - limits of requests and bytes a second, shared by the members of a group
 *
 * Leaky buckets: a bucket is filled by what passes and leaks at `avg` a second; a request waits
 * while the bucket is above its size.  Six of them: all, reads and writes, in bytes and in
 * requests.
 */
#ifndef BLOCK_THROTTLE_H
#define BLOCK_THROTTLE_H

#include "block/block.h"
#include "core/object.h"

typedef enum ThrottleBucket {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_BUCKETS
} ThrottleBucket;

struct ThrottleLimits {
    uint64_t avg[THROTTLE_BUCKETS], max[THROTTLE_BUCKETS], length[THROTTLE_BUCKETS];
    uint64_t iops_size; /* a larger request counts as several; 0: never */
};

typedef struct ThrottleGroup ThrottleGroup;

bool throttle_check(const ThrottleLimits *l, Error *err);
bool throttle_is_limited(const ThrottleLimits *l);
/* "bps-total", "bps-total-max", "bps-total-max-length", ..., "iops-size"; @prefix: of the name
 * in messages.  False without a message: there is no such limit. */
bool throttle_limit_set(ThrottleLimits *l, const char *prefix, const char *name,
                        const json_t *value, Error *err);
void throttle_limits_none(ThrottleLimits *l);
/* The object "throttle-group" of that name, or the group of those who ask for it; counted. */
ThrottleGroup *throttle_group_named(BlockGraph *g, const char *name);
const char *throttle_group_name(const ThrottleGroup *g);
ThrottleGroup *throttle_group_ref(ThrottleGroup *g);
void throttle_group_unref(ThrottleGroup *g);
void throttle_group_set(ThrottleGroup *g, const ThrottleLimits *l);
ThrottleLimits throttle_group_get(ThrottleGroup *g);
/* nests: while it is lifted everything passes, for draining */
void throttle_group_lift(ThrottleGroup *g, bool on);
/* @go(r) now or later: on the thread of r->ctx, or, if that is NULL, on this thread, which
 * waits. */
void throttle_pass(ThrottleGroup *g, BlockGraph *graph, BlockReq *r, void (*go)(BlockReq *r));

#endif
