/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_create - options parsed, file made and opened, then the format's own part */
#include "block/image_create.h"

#include <errno.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/opts_json.h"

const ChildSlot image_children[] = {
    {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true},
    {0},
};

static bool parse(const Type *t, void *o, const json_t *options, Error *err)
{
    reflect_defaults(t, o, FIELD_PROP);
    return opts_json_apply(t, o, options, FIELD_PROP, err);
}

bool image_create_file(BlockGraph *g, const BlockDriver *d, const char *filename,
                       const json_t *options, ImageFormatFn *fn, Error *err)
{
    AUTO_FREE void *o = xalloc(d->create_options->size);
    BlockNode *file = NULL;
    bool ok = parse(d->create_options, o, options, err) && fn(g, NULL, filename, o, err) &&
              (file = block_create_file(g, filename, 0, NULL, err)) &&
              fn(g, file, filename, o, err);

    if (file)
        node_unref(file);
    reflect_free(d->create_options, o);
    return ok;
}

bool image_create(BlockGraph *g, const BlockDriver *d, json_t *options, ImageFormatFn *fn,
                  Error *err)
{
    AUTO_FREE void *o = xalloc(d->create_options->size);
    AUTO_FREE char *name = json_take_str(options, "file");
    BlockNode *file = node_find(g, name);
    bool ok;

    if (!file)
        return error_set(err, "Cannot find device='%s' nor node-name='%s'", name, name);
    ok = parse(d->create_options, o, options, err) && fn(g, NULL, file->filename, o, err) &&
         node_truncate(file, 0, PREALLOC_OFF, false, err) && fn(g, file, file->filename, o, err);
    reflect_free(d->create_options, o);
    return ok;
}

bool uuid_make(uint8_t *out, Error *err)
{
    if (getrandom(out, 16, 0) != 16)
        return error_set_errno(err, errno, "cannot get random bytes");
    out[6] = (out[6] & 0x0f) | 0x40;
    out[8] = (out[8] & 0x3f) | 0x80;
    return true;
}
