/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * amend - other options for an image that exists
 */
#include <stdio.h>

#include "tools/img/img.h"

static void on_progress(void *arg, uint64_t done, uint64_t all)
{
    Progress *p = arg;

    p->total = all;
    progress_to(p, done);
}

/* What an image that exists can change; NULL: printed. */
static const Type *amend_type(const BlockDriver *d)
{
    const Type *t = d->amend_options ? d->amend_options : d->create_options;

    if (d->amend && t)
        return t;
    log_error("Format driver '%s' does not support option amendment", d->name);
    return NULL;
}

static int help(const char *fmt)
{
    Error err = {0};
    const BlockDriver *d = format_find(fmt, &err);
    AUTO_FREE char *title = xasprintf("Amend options for '%s':", fmt);
    const Type *types[] = {NULL, NULL};

    if (!d) {
        log_error("%s", err.msg);
        return 1;
    }
    types[0] = amend_type(d);
    if (!types[0])
        return 1;
    options_help(title, types);
    return 0;
}

/* Is one of @options for new images only? */
static bool is_for_create(const BlockDriver *d, const Type *t, const json_t *options)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)options, key, value)
        if (d->create_options && reflect_find(d->create_options, key, FIELD_PROP) &&
            !reflect_find(t, key, FIELD_PROP))
            return true;
    return false;
}

static bool amend(Img *im, ImgFile *f, json_t *options)
{
    const BlockDriver *d = f->node->drv;
    const Type *t = amend_type(d);
    Error err = {0};
    bool ok;

    if (!t)
        return false;
    progress_begin(&im->progress, arg_progress(im), 1);
    ok = options_check(t, options, &err);
    if (ok && arg_has(im, OPT_FORCE))
        json_object_set_new(options, "force", json_true());
    ok = ok && d->amend(f->node, options, on_progress, &im->progress, &err);
    progress_end(&im->progress, ok);
    if (!ok)
        log_error("%s%s", err.msg,
                  is_for_create(d, t, options)
                      ? "\nThis option is only supported for image creation"
                      : "");
    return ok && !block_flush(f->port);
}

int img_cmd_amend(Img *im)
{
    uint32_t flags = 0;
    json_t *options = NULL;
    bool want_help, ok;
    ImgFile f = {0};

    if (!arg_has(im, 'o'))
        return usage_error(im, "Must specify options (-o)");
    if (!arg_cache(im, 't', "writeback", "cache", &flags) || !arg_options(im, &options, &want_help))
        return 1;
    if (want_help && arg_has(im, 'f')) {
        json_decref(options);
        return help(arg_get(im, 'f'));
    }
    ok = img_open_operand(im, &f, flags);
    if (ok && want_help)
        ok = !help(f.node->drv->name);
    else if (ok)
        ok = amend(im, &f, options);
    img_close(&f);
    json_decref(options);
    return ok ? 0 : 1;
}
