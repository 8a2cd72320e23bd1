/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * measure - how much room an image of a size, or with the contents of another one, needs
 */
#include <stdio.h>

#include "tools/img/img.h"

static uint64_t number(const json_t *j, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(j, key));
}

static void show(const json_t *j, bool json)
{
    if (json) {
        json_show(j);
        return;
    }
    printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", number(j, "required"),
           number(j, "fully-allocated"));
    if (json_object_get(j, "bitmaps"))
        printf("bitmaps size: %" PRIu64 "\n", number(j, "bitmaps"));
}

static bool measure(const BlockDriver *d, json_t *options, BlockNode *source, bool json)
{
    Error err = {0};
    json_t *j;

    if (!d->measure) {
        log_error("Block driver '%s' does not support size measurement", d->name);
        return false;
    }
    if (!options_check(d->create_options, options, &err)) {
        log_error("%s", err.msg);
        log_error("Invalid options for file format '%s'", d->name);
        return false;
    }
    if (!(j = d->measure(options, source, &err))) {
        log_error("%s", err.msg);
        return false;
    }
    /* Said whenever both ends could have some. */
    if (source && source->drv->bitmap_ops && d->bitmap_ops && !json_object_get(j, "bitmaps"))
        json_object_set_new(j, "bitmaps", json_integer(0));
    show(j, json);
    json_decref(j);
    return true;
}

static bool load(const Img *im, ImgFile *f)
{
    const char *snapshot = arg_get(im, 'l');
    const SnapshotOps *ops = f->node->drv->snapshots;
    Error err = {0};

    if (!snapshot)
        return true;
    if (!ops || !ops->load)
        error_set(&err, "format '%s' has no internal snapshots", f->node->drv->name);
    else if (ops->load(f->node, snapshot, &err))
        return true;
    log_error("Failed to load snapshot: %s", err.msg);
    return false;
}

int img_cmd_measure(Img *im)
{
    const char *fmt = arg_has(im, 'O') ? arg_get(im, 'O') : "raw";
    uint64_t size = UINT64_MAX;
    json_t *options = NULL;
    const BlockDriver *d;
    Error err = {0};
    ImgFile f = {0};
    bool json, help, ok;

    ok = arg_json_output(im, &json) && arg_size(im, OPT_SIZE, "image size", &size) &&
         arg_options(im, &options, &help);
    if (ok && im->n_operands && size != UINT64_MAX) {
        log_error("--size N cannot be used together with a filename.");
        ok = false;
    } else if (ok && im->n_operands != 1 && size == UINT64_MAX) {
        log_error("Either --size N or one filename must be specified.");
        ok = false;
    }
    d = ok ? format_find(fmt, &err) : NULL;
    if (ok && !d)
        log_error("%s", err.msg);
    ok = d && (!im->n_operands || (img_open_operand(im, &f, NODE_READ_ONLY) && load(im, &f)));
    if (ok && size != UINT64_MAX) {
        AUTO_FREE char *text = xasprintf("%" PRIu64, size);

        json_object_set_new(options, "size", json_string(text));
    }
    ok = ok && measure(d, options, f.node, json);
    img_close(&f);
    json_decref(options);
    return ok ? 0 : 1;
}
