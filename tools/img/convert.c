/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * convert - one or several images into a new one, or with -n into one that exists
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "base/opts_json.h"
#include "block/bitmap.h"
#include "tools/img/copy.h"

typedef struct Convert {
    Img *im;
    Copy copy;
    const char *fmt, *out_fmt; /* NULL with --target-image-opts: as those say */
    const char *backing, *backing_fmt;
    const char *to_name;
    const BlockDriver *drv; /* of the target; NULL: known when it is open */
    json_t *options;        /* -o; consumed by the creation */
    json_t *secrets;        /* of these: what opening the new image needs again; NULL: nothing */
    bool keep_target;       /* -n */
    bool bitmaps, skip_broken;
    uint32_t src_flags, flags;
} Convert;

/* --- arguments --- */

static bool check_combinations(const Convert *v)
{
    const Img *im = v->im;
    const char *why = NULL;

    if (arg_has(im, OPT_TARGET_IMAGE_OPTS) && !v->keep_target)
        why = "--target-image-opts requires use of -n flag";
    else if (v->keep_target && json_object_size(v->options))
        why = "-o has no effect when skipping image creation";
    else if (arg_has(im, OPT_TARGET_IS_ZERO) && !v->keep_target)
        why = "--target-is-zero requires use of -n flag";
    else if (arg_has(im, OPT_TARGET_IS_ZERO) && v->backing)
        why = "Cannot use --target-is-zero when the destination image has a backing file";
    else if (v->skip_broken && !v->bitmaps)
        why = "Use of --skip-broken-bitmaps requires --bitmaps";
    else if (v->copy.offload && v->copy.compress)
        why = "Cannot enable copy offloading when -c is used";
    else if (v->copy.offload && arg_has(im, 'S'))
        why = "Cannot enable copy offloading when -S is used";
    if (why)
        log_error("%s", why);
    return !why;
}

static bool parse_numbers(Convert *v)
{
    const char *m = arg_get(v->im, 'm');
    uint64_t threads = 8;

    v->copy.sparse = 4096;
    if (!arg_size(v->im, 'S', "buffer size for sparse output", &v->copy.sparse) ||
        !arg_size(v->im, 'r', "rate limit", &v->copy.rate))
        return false;
    if (v->copy.sparse % 512) {
        log_error("Invalid buffer size for sparse output: %" PRIu64
                  " is not a multiple of the sector size 512",
                  v->copy.sparse);
        return false;
    }
    if (m && (!parse_u64(m, &threads) || threads < 1 || threads > COPY_MAX_THREADS)) {
        log_error("Invalid number of coroutines. Allowed number of coroutines is between 1 and %d",
                  COPY_MAX_THREADS);
        return false;
    }
    v->copy.threads = (unsigned)threads;
    return true;
}

static bool parse_args(Convert *v, bool *help)
{
    Img *im = v->im;
    Copy *c = &v->copy;
    bool own_target = arg_has(im, OPT_TARGET_IMAGE_OPTS);

    v->fmt = arg_get(im, 'f');
    v->out_fmt = arg_get(im, 'O');
    if (!v->out_fmt && !own_target)
        v->out_fmt = "raw";
    v->backing_fmt = arg_get(im, 'F');
    v->keep_target = arg_has(im, 'n');
    v->bitmaps = arg_has(im, OPT_BITMAPS);
    v->skip_broken = arg_has(im, OPT_SKIP_BROKEN);
    c->compress = arg_has(im, 'c');
    c->offload = arg_has(im, 'C');
    c->any_order = arg_has(im, 'W');
    c->salvage = arg_has(im, OPT_SALVAGE);
    c->quiet = im->quiet;
    c->progress = &im->progress;
    c->progress_mode = arg_progress(im);
    v->src_flags = NODE_READ_ONLY | (arg_has(im, 'U') ? NODE_FORCE_SHARE : 0);
    if (!arg_options(im, &v->options, help))
        return false;
    if (*help)
        return true;
    v->backing = arg_get(im, 'B');
    if (!v->backing)
        v->backing = json_string_value(json_object_get(v->options, "backing_file"));
    if (!parse_numbers(v) || !check_combinations(v) ||
        !arg_cache(im, 'T', "writeback", "source cache", &v->src_flags) ||
        !arg_cache(im, 't', "unsafe", "cache", &v->flags))
        return false;
    c->allocate_all = !c->sparse;
    v->flags |= c->sparse ? NODE_UNMAP : 0;
    if (im->n_operands < 2) {
        log_error("Must specify image file name");
        return false;
    }
    return true;
}

/* --- sources --- */

/* "snapshot.id=ID,snapshot.name=NAME" or either of them alone. */
static bool load_snapshot(BlockNode *n, const char *param)
{
    const BlockDriver *d = n->drv;
    Error err = {0};
    bool ok;

    if (!d->snapshots || !d->snapshots->load) {
        log_error("Failed to load snapshot: Block format '%s' used by device '' does not support "
                  "temporarily loading internal snapshots",
                  d->name);
        return false;
    }
    if (!strncmp(param, "snapshot.", 9)) {
        json_t *o = opts_json_parse(param, NULL, 0, NULL, &err), *s;
        const char *id = NULL;

        s = o ? json_object_get(o, "snapshot") : NULL;
        id = json_string_value(json_object_get(s, "id"));
        if (!id)
            id = json_string_value(json_object_get(s, "name"));
        ok = id ? d->snapshots->load(n, id, &err)
                : o && error_set(&err, "'%s' has neither snapshot.id nor snapshot.name", param);
        json_decref(o);
    } else {
        ok = d->snapshots->load(n, param, &err);
    }
    if (!ok)
        print_error(&err, "Failed to load snapshot: ");
    return ok;
}

static bool open_sources(Convert *v)
{
    Img *im = v->im;
    Copy *c = &v->copy;
    const char *snapshot = arg_get(im, 'l');
    unsigned n = im->n_operands - 1;

    if (v->backing && n > 1 && !v->keep_target) {
        log_error("Having a backing file for the target makes no sense when concatenating "
                  "multiple input images");
        return false;
    }
    c->src = xnew_n(CopySource, n);
    im->shared = PERM_READ | PERM_WRITE_UNCHANGED; /* a copy of what changes is of no use */
    for (; c->n_src < n; c->n_src++) {
        CopySource *s = &c->src[c->n_src];

        if (!img_open(im, &s->file, im->operands[c->n_src], v->fmt, arg_has(im, OPT_IMAGE_OPTS),
                      v->src_flags))
            return false;
        s->at = c->size;
        s->size = block_size(s->file.port);
        c->size += s->size;
    }
    if (snapshot && n > 1) {
        log_error("No support for concatenating multiple snapshot");
        return false;
    }
    if (snapshot) {
        if (!load_snapshot(c->src[0].file.node, snapshot))
            return false;
        c->size = c->src[0].size = block_size(c->src[0].file.port);
    }
    if (v->bitmaps && (n > 1 || !c->src[0].file.node->drv->bitmap_ops)) {
        log_error(n > 1 ? "Copying bitmaps only possible with single source"
                        : "Source lacks bitmap support");
        return false;
    }
    return true;
}

/* --- target --- */

/* "key-secret" of luks, "encrypt.key-secret" of qcow2. */
static void keep_secrets(Convert *v, const json_t *o)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)o, key, value) {
        if (strcmp(key, "key-secret") && strcmp(key, "encrypt.key-secret"))
            continue;
        if (!v->secrets)
            v->secrets =
                json_pack("{s:s, s:{s:s}}", "driver", v->out_fmt, "file", "filename", v->to_name);
        json_object_set(v->secrets, key, value);
    }
}

/* As img_open() takes it. */
static char *target_name(const Convert *v)
{
    char *text = v->secrets ? json_dumps(v->secrets, JSON_COMPACT) : NULL;
    char *name = text ? xasprintf("json:%s", text) : xstrdup(v->to_name);

    free(text);
    return name;
}

static bool make_target(Convert *v)
{
    const char *name = v->to_name;
    json_t *o = v->options;
    const char *prealloc = json_string_value(json_object_get(o, "preallocation"));
    AUTO_FREE char *size = xasprintf("%" PRIu64, v->copy.size);
    Error err = {0};

    if (v->copy.compress && prealloc && strcmp(prealloc, "off") != 0) {
        log_error("Compression and preallocation not supported at the same time");
        return false;
    }
    if (v->copy.compress &&
        (json_object_get(o, "encryption") || json_object_get(o, "encrypt.format"))) {
        log_error("Compression and encryption not supported at the same time");
        return false;
    }
    if (v->backing) {
        if (!v->drv->create_options ||
            !reflect_find(v->drv->create_options, "backing_file", FIELD_PROP)) {
            log_error("Backing file not supported for file format '%s'", v->out_fmt);
            return false;
        }
        if (!v->backing_fmt && !json_object_get(o, "backing_fmt")) {
            log_error("Use of backing file requires explicit backing format");
            return false;
        }
        json_object_set_new(o, "backing_file", json_string(v->backing));
        if (v->backing_fmt)
            json_object_set_new(o, "backing_fmt", json_string(v->backing_fmt));
    }
    if (v->backing_fmt && !v->backing &&
        (!v->drv->create_options ||
         !reflect_find(v->drv->create_options, "backing_fmt", FIELD_PROP))) {
        log_error("Backing file format not supported for file format '%s'", v->out_fmt);
        return false;
    }
    if (!json_object_get(o, "size"))
        json_object_set_new(o, "size", json_string(size));
    v->options = NULL;
    keep_secrets(v, o);
    if (create_plain(v->im, name, v->out_fmt, o, &err))
        return true;
    print_error(&err, "%s: error while converting %s: ", name, v->out_fmt);
    return false;
}

static bool open_target(Convert *v)
{
    Img *im = v->im;
    Copy *c = &v->copy;
    AUTO_FREE char *name = target_name(v);
    BlockNode *n;
    bool ok;

    if (!img_open(im, &c->to, name, v->secrets ? NULL : v->out_fmt,
                  arg_has(im, OPT_TARGET_IMAGE_OPTS), v->flags))
        return false;
    n = c->to.node;
    c->compress |= n->compressed_only;
    ok = block_size(c->to.port) >= c->size;
    if (!ok)
        log_error("output file is smaller than input file");
    else if (c->compress && !(ok = n->drv->write_compressed))
        log_error("Compression not supported for this file format");
    else if (v->bitmaps && !(ok = n->drv->bitmap_ops))
        log_error("Format driver '%s' does not support bitmaps", n->drv->name);
    if (!ok)
        return false;
    c->has_backing = v->backing != NULL;
    c->backing_size = n->backing ? (uint64_t)n->backing->size : c->size;
    c->reads_zero =
        arg_has(im, OPT_TARGET_IS_ZERO) || (!v->keep_target && !n->backing && n->zero_init);
    return true;
}

/* --- bitmaps --- */

static bool copy_bitmap(Convert *v, const DirtyBitmap *from)
{
    BlockNode *to = v->copy.to.node;
    const char *name = bitmap_name(from);
    uint32_t granularity = bitmap_granularity(from);
    Error err = {0};
    DirtyBitmap *b;

    if (bitmap_is_inconsistent(from)) {
        if (v->skip_broken) {
            log_warn("Skipping inconsistent bitmap '%s'", name);
            return true;
        }
        log_error("Cannot copy inconsistent bitmap '%s'; --skip-broken-bitmaps leaves it out, and "
                  "'bitmap --remove' of the source gets rid of it",
                  name);
        return false;
    }
    b = to->drv->bitmap_ops->can_store(to, name, granularity, &err)
            ? bitmap_new(to, name, granularity, &err)
            : NULL;
    if (b) {
        bitmap_set_persistent(b, true);
        bitmap_enable(b, bitmap_is_enabled(from));
    }
    if (b && bitmap_merge(b, from, NULL, &err))
        return true;
    print_error(&err, "Failed to populate bitmap %s: ", name);
    return false;
}

static bool copy_bitmaps(Convert *v)
{
    BlockNode *from = v->copy.src[0].file.node;

    for (DirtyBitmap *b = NULL; (b = bitmap_next(from, b));)
        if (bitmap_is_persistent(b) && !copy_bitmap(v, b))
            return false;
    return true;
}

/* --- the command --- */

static bool convert(Convert *v)
{
    Img *im = v->im;
    Error err = {0};

    v->to_name = im->operands[im->n_operands - 1];
    if (!open_sources(v))
        return false;
    v->drv = v->out_fmt ? format_find(v->out_fmt, &err) : NULL;
    if (v->out_fmt && !v->drv) {
        log_error("%s", err.msg);
        return false;
    }
    if (!v->keep_target) {
        if (v->copy.compress && !v->drv->write_compressed) {
            log_error("Compression not supported for this file format");
            return false;
        }
        if (!make_target(v))
            return false;
    }
    return open_target(v) && copy_run(&v->copy) && (!v->bitmaps || copy_bitmaps(v));
}

int img_cmd_convert(Img *im)
{
    Convert v = {.im = im};
    bool help = false, ok = parse_args(&v, &help);

    if (ok && help) {
        /* The same as "create -o help" of that format. */
        im->args[im->n_args++] = (ImgArg){'f', v.out_fmt};
        im->n_operands = MIN(im->n_operands, 1u);
        json_decref(v.options);
        return img_cmd_create(im);
    }
    ok = ok && convert(&v);
    img_close(&v.copy.to);
    for (unsigned i = 0; i < v.copy.n_src; i++)
        img_close(&v.copy.src[i].file);
    xfree(v.copy.src);
    json_decref(v.options);
    json_decref(v.secrets);
    return ok ? 0 : 1;
}
