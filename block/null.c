/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * null - protocol drivers "null-co" and "null-aio": takes everything, keeps nothing; for benchmarks
 */
#include <time.h>

#include "block/block_priv.h"

typedef struct Null {
    uint64_t latency_ns;
    bool read_zeroes;
} Null;

typedef struct NullOptions {
    uint64_t size, latency_ns;
    bool read_zeroes;
} NullOptions;

static const Field null_fields[] = {
    PROP_SIZE(NullOptions, size, "size", 1 << 30, "size of the device in bytes"),
    PROP(NullOptions, latency_ns, "latency-ns", 0, "time before completion, in nanoseconds"),
    PROP(NullOptions, read_zeroes, "read-zeroes", false, "reads fill the buffer with zeroes"),
};
static STRUCT_TYPE(null_options_type, NullOptions, null_fields);

static bool null_open(BlockNode *n, const void *options, Error *err)
{
    const NullOptions *o = options;
    Null *s = n->state;

    (void)err;
    n->size = o->size;
    s->latency_ns = o->latency_ns;
    s->read_zeroes = o->read_zeroes;
    n->filename = xasprintf("%s://", n->drv->name);
    return true;
}

static void null_run(void *arg)
{
    BlockReq *r = arg;
    const Null *s = r->node->state;
    struct timespec t = {(time_t)(s->latency_ns / 1000000000u),
                         (long)(s->latency_ns % 1000000000u)};

    if (s->latency_ns)
        nanosleep(&t, NULL);
    if (r->op == BLOCK_READ && s->read_zeroes)
        iov_zero(r->iov, r->n_iov, 0, r->size);
    blockreq_complete(r, 0);
}

static void null_submit(BlockNode *n, BlockReq *r)
{
    const Null *s = n->state;

    if (r->ctx && s->latency_ns)
        block_work(n->graph, null_run, r);
    else
        null_run(r);
}

static int null_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    const Null *s = n->state;

    *out = (Extent){.kind = s->read_zeroes ? EXTENT_ZERO : EXTENT_DATA,
                    .at = at,
                    .size = size,
                    .child = n,
                    .child_at = at};
    return 0;
}

static bool null_parse(const char *filename, json_t *options, Error *err)
{
    const char *rest = strstr(filename, "://");

    return (rest && !rest[3]) ||
           error_set(err, "The only allowed filename for this driver is '%s://' ('%s')",
                     json_string_value(json_object_get(options, "driver")), filename);
}

#define NULL_DRIVER(var, nm)                                                                       \
    static BlockDriver var = {                                                                     \
        .name = nm,                                                                                \
        .doc = "takes everything, keeps nothing",                                                  \
        .kind = DRIVER_PROTOCOL,                                                                   \
        .prefix = nm,                                                                              \
        .options = &null_options_type,                                                             \
        .state_size = sizeof(Null),                                                                \
        .open = null_open,                                                                         \
        .submit = null_submit,                                                                     \
        .status = null_status,                                                                     \
        .parse_filename = null_parse,                                                              \
    };                                                                                             \
    BLOCK_DRIVER_REGISTER(var)
NULL_DRIVER(null_co_driver, "null-co")
NULL_DRIVER(null_aio_driver, "null-aio")
