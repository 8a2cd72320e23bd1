/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev_type - BlockdevOptions and BlockdevRef of the schema, from the drivers that are linked
 * in
 *
 * A driver's own members are its children and the fields of its options; a Type for each is put
 * together when first asked for, and stays.
 */
#include "block/blockdev_type.h"

#include "base/alloc.h"

static const char *const prealloc_names[] = {"off", "metadata", "falloc", "full", NULL};
ENUM_TYPE(preallocation_type, PreallocMode, prealloc_names);

static const char *const discard_names[] = {"ignore", "unmap", NULL};
static ENUM_TYPE(discard_type, BlockdevDiscardOptions, discard_names);
static const char *const zeroes_names[] = {"off", "on", "unmap", NULL};
ENUM_TYPE(detect_zeroes_type, BlockdevDetectZeroesOptions, zeroes_names);

typedef struct CacheOptions {
    char pad;
    bool has_direct, direct, has_no_flush, no_flush;
} CacheOptions;
static const Field cache_fields[] = {
    ARG_OPT(CacheOptions, direct, "direct", "past the host's page cache"),
    ARG_OPT(CacheOptions, no_flush, "no-flush", "flushes are dropped: data is lost with the host"),
};
static const Type cache_type = {.name = "BlockdevCacheOptions",
                                .meta = META_STRUCT,
                                .size = sizeof(CacheOptions),
                                .fields = cache_fields,
                                .n_fields = COUNT_OF(cache_fields)};

/* Members of the union's C struct exist for their types only: the value stays JSON. */
typedef struct Generic {
    char *driver, *node_name;
    bool has_discard, has_cache, has_read_only, read_only, has_auto, auto_read_only, has_share,
        share, has_zeroes;
    uint32_t discard, zeroes;
    CacheOptions cache;
} Generic;
#define OPTIONAL(m, nm, ty, dc)                                                                    \
    {                                                                                              \
        .name = (nm), .type = (ty), .doc = (dc), .at = offsetof(Generic, m), .count = 1,           \
        .use = FIELD_ARG, .flags = FIELD_OPTIONAL                                                  \
    }
static const Field generic_fields[] = {
    ARG(Generic, driver, "driver", "format, protocol or filter"),
    OPTIONAL(node_name, "node-name", &type_str, "how other commands call it"),
    OPTIONAL(discard, "discard", &discard_type, "what becomes of discards"),
    OPTIONAL(cache, "cache", &cache_type, "how the host caches"),
    OPTIONAL(read_only, "read-only", &type_bool, "never written"),
    OPTIONAL(auto_read_only, "auto-read-only", &type_bool, "read-only if it cannot be written"),
    OPTIONAL(share, "force-share", &type_bool, "others may write; for reading only"),
    OPTIONAL(zeroes, "detect-zeroes", &detect_zeroes_type, "writes of zeroes are made cheap"),
};
static const Type generic_type = {.name = "BlockdevGeneric",
                                  .meta = META_STRUCT,
                                  .size = sizeof(Generic),
                                  .fields = generic_fields,
                                  .n_fields = COUNT_OF(generic_fields)};

typedef struct Built {
    Type type;
    struct Built *next;
    const BlockDriver *drv;
} Built;

/* Made once per driver and kept: what is linked in does not change. */
static Built *_Atomic built;

static const Type *driver_type(const BlockDriver *d)
{
    unsigned n = 0, own = d->options ? d->options->n_fields : 0;
    const ChildSlot *s;
    Field *f;
    Built *b;

    for (b = built; b; b = b->next)
        if (b->drv == d)
            return &b->type;
    for (s = d->children; s && s->name; s++)
        n++;
    f = xnew_n(Field, n + own + 1);
    for (n = 0, s = d->children; s && s->name; s++)
        f[n++] =
            (Field){.name = s->name,
                    .type = s->role & ROLE_BACKING ? &blockdev_ref_null_type : &blockdev_ref_type,
                    .doc = "the node below",
                    .count = 1,
                    .use = FIELD_ARG | FIELD_PROP,
                    .flags = s->required ? FIELD_REQUIRED : FIELD_OPTIONAL};
    for (unsigned i = 0; i < own; i++) {
        f[n] = d->options->fields[i];
        f[n].flags = f[n].flags & FIELD_REQUIRED ? FIELD_REQUIRED : FIELD_OPTIONAL;
        f[n++].use |= FIELD_ARG;
    }
    b = xnew(Built);
    b->drv = d;
    b->type = (Type){.name = xasprintf("BlockdevOptions_%s", d->name),
                     .meta = META_STRUCT,
                     .size = d->options ? d->options->size : 8,
                     .fields = f,
                     .n_fields = n};
    b->next = built;
    built = b;
    return &b->type;
}

const BlockDriver *blockdev_driver(unsigned i)
{
    const BlockDriver *d = block_driver_next(NULL);

    while (d && i--)
        d = block_driver_next(d);
    return d;
}

static bool driver_variant(unsigned i, Variant *out)
{
    const BlockDriver *d = blockdev_driver(i);

    if (d)
        *out = (Variant){d->name, driver_type(d)};
    return d;
}

UNION_TYPE(blockdev_options_type, BlockdevOptions, &generic_type, "driver", driver_variant);
static const Type *const ref_choices[] = {&type_str, &blockdev_options_type, NULL};
static const Type *const ref_null_choices[] = {&type_str, &blockdev_options_type, &type_null, NULL};
ALTERNATE_TYPE(blockdev_ref_type, BlockdevRef, ref_choices);
ALTERNATE_TYPE(blockdev_ref_null_type, BlockdevRefOrNull, ref_null_choices);
