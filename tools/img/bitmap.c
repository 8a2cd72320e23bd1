/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap - dirty bitmaps that live in an image: make, clear, switch, merge, remove
 *
 * The actions are done in the order of the command line; the first that fails ends the command.
 */
#include "block/bitmap.h"

#include <stdio.h>

#include "base/opts.h"
#include "tools/img/img.h"

typedef struct BitmapCmd {
    Img *im;
    ImgFile f, source;
    const char *name;
    uint64_t granularity;
} BitmapCmd;

static DirtyBitmap *find(BlockNode *n, const char *name, unsigned flags, Error *err)
{
    DirtyBitmap *b = bitmap_find(n, name);

    if (!b)
        error_set(err, "Dirty bitmap '%s' not found", name);
    return b && bitmap_check(b, flags, err) ? b : NULL;
}

static bool add(BitmapCmd *c, const char *value, Error *err)
{
    BlockNode *n = c->f.node;
    uint64_t g = c->granularity;
    DirtyBitmap *b;

    (void)value;
    if (g && (g < 512 || g > UINT32_MAX || (g & (g - 1))))
        return error_set(err, "Granularity must be power of 2 and at least 512");
    if (!n->drv->bitmap_ops)
        return error_set(err, "format '%s' cannot store bitmaps; qcow2 can", n->drv->name);
    if (!n->drv->bitmap_ops->can_store(n, c->name, g ? (uint32_t)g : bitmap_default_granularity(n),
                                       err))
        return false;
    b = bitmap_new(n, c->name, (uint32_t)g, err);
    if (b)
        bitmap_set_persistent(b, true);
    return b != NULL;
}

static bool drop(BitmapCmd *c, const char *value, Error *err)
{
    BlockNode *n = c->f.node;
    DirtyBitmap *b = find(n, c->name, BITMAP_BUSY | BITMAP_READ_ONLY, err);

    (void)value;
    if (!b || (bitmap_is_persistent(b) && n->drv->bitmap_ops &&
               !n->drv->bitmap_ops->remove(n, c->name, err)))
        return false;
    bitmap_free(b);
    return true;
}

static bool clear(BitmapCmd *c, const char *value, Error *err)
{
    DirtyBitmap *b = find(c->f.node, c->name, BITMAP_DEFAULT, err);

    (void)value;
    if (b)
        bitmap_clear(b, NULL);
    return b != NULL;
}

static bool enable(BitmapCmd *c, const char *value, Error *err)
{
    DirtyBitmap *b = find(c->f.node, c->name, BITMAP_DEFAULT, err);

    (void)value;
    if (b)
        bitmap_enable(b, true);
    return b != NULL;
}

static bool disable(BitmapCmd *c, const char *value, Error *err)
{
    DirtyBitmap *b = find(c->f.node, c->name, BITMAP_DEFAULT, err);

    (void)value;
    if (b)
        bitmap_enable(b, false);
    return b != NULL;
}

static bool merge(BitmapCmd *c, const char *value, Error *err)
{
    BlockNode *from = c->source.node ? c->source.node : c->f.node;
    DirtyBitmap *to = find(c->f.node, c->name, BITMAP_DEFAULT, err), *b;

    if (!to)
        return false;
    b = find(from, value, BITMAP_ALLOW_RO, err);
    return b && bitmap_merge(to, b, NULL, err);
}

static const struct Action {
    int code;
    const char *name;
    bool (*run)(BitmapCmd *c, const char *value, Error *err);
} actions[] = {
    {OPT_ADD, "add", add},          {OPT_REMOVE, "remove", drop},      {OPT_CLEAR, "clear", clear},
    {OPT_ENABLE, "enable", enable}, {OPT_DISABLE, "disable", disable}, {OPT_MERGE, "merge", merge}};

static const struct Action *action_of(const ImgArg *a)
{
    for (unsigned i = 0; i < COUNT_OF(actions); i++)
        if (actions[i].code == a->code)
            return &actions[i];
    return NULL;
}

static bool check_args(BitmapCmd *c)
{
    const Img *im = c->im;
    const char *why = NULL, *g = arg_get(im, 'g');
    bool adds = arg_has(im, OPT_ADD), merges = arg_has(im, OPT_MERGE);
    unsigned n = 0;

    if (g && (!parse_size(g, 'B', &c->granularity) || !c->granularity))
        return bad_size("granularity");
    for (unsigned i = 0; i < im->n_args; i++)
        n += action_of(&im->args[i]) != NULL;
    if (!n)
        why = "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge";
    else if (g && !adds)
        why = "granularity only supported with --add";
    else if (arg_has(im, 'F') && !arg_has(im, 'b'))
        why = "-F only supported with -b";
    else if (arg_has(im, 'b') && !merges)
        why = "Merge bitmap source file only supported with --merge";
    else if (im->n_operands != 2)
        why = "Expecting filename and bitmap name";
    if (why)
        log_error("%s", why);
    return !why;
}

static bool run(BitmapCmd *c)
{
    const Img *im = c->im;

    for (unsigned i = 0; i < im->n_args; i++) {
        const struct Action *a = action_of(&im->args[i]);
        Error err = {0};

        if (a && !a->run(c, im->args[i].value, &err)) {
            log_error("Operation %s on bitmap %s failed: %s", a->name, c->name, err.msg);
            return false;
        }
    }
    return true;
}

int img_cmd_bitmap(Img *im)
{
    BitmapCmd c = {.im = im};
    bool ok;

    if (!check_args(&c))
        return 1;
    c.name = im->operands[1];
    ok = img_open(im, &c.f, im->operands[0], arg_get(im, 'f'), arg_has(im, OPT_IMAGE_OPTS), 0);
    if (ok && arg_has(im, 'b'))
        ok = img_open(im, &c.source, arg_get(im, 'b'), arg_get(im, 'F'), false,
                      NODE_READ_ONLY | NODE_NO_BACKING); /* which may be what we write to */
    ok = ok && run(&c);
    if (ok && block_flush(c.f.port)) {
        log_error("'%s' could not be flushed to its storage", im->operands[0]);
        ok = false;
    }
    img_close(&c.source);
    img_close(&c.f);
    return ok ? 0 : 1;
}
