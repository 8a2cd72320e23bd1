/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * common - opening images and looking up formats for every command
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "base/opts_json.h"
#include "tools/img/img.h"

void print_error(const Error *err, const char *fmt, ...)
{
    va_list ap;
    char prefix[4200];

    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    log_error("%s%s", prefix, err->msg);
}

/* --- opening --- */

/* --image-opts that do not say the format: it is guessed. */
static BlockNode *open_guessed(Img *im, json_t *options, uint32_t flags, Error *err)
{
    json_t *file = json_object_get(options, "file");
    AUTO_FREE char *name = NULL;
    char *text;

    if (json_is_object(file) && !json_object_get(file, "driver"))
        json_object_set_new(file, "driver", json_string("file"));
    text = json_dumps(options, JSON_COMPACT);
    name = xasprintf("json:%s", text);
    free(text);
    json_decref(options);
    return node_open_image(im->graph, name, NULL, NULL, flags, err);
}

static BlockNode *open_node(Img *im, const char *name, const char *fmt, bool image_opts,
                            uint32_t flags, Error *err)
{
    json_t *options;

    if (!image_opts)
        return node_open_image(im->graph, name, fmt, NULL, flags, err);
    options = opts_json_parse(name, NULL, 0, NULL, err);
    if (options && !json_object_get(options, "driver") && json_object_get(options, "file"))
        return open_guessed(im, options, flags, err);
    return options ? node_open(im->graph, options, flags, err) : NULL;
}

bool img_open_quiet(Img *im, ImgFile *out, const char *name, const char *fmt, bool image_opts,
                    uint32_t flags, Error *err)
{
    unsigned perm = flags & NODE_NO_IO ? 0 : PERM_READ;

    *out = (ImgFile){0};
    if (image_opts && fmt)
        return error_set(err, "--image-opts and --format are mutually exclusive");
    if (flags & NODE_FORCE_SHARE && !(flags & NODE_READ_ONLY))
        return error_set(err, "force-share=on can only be used with read-only images");
    if (!(flags & (NODE_NO_IO | NODE_READ_ONLY)))
        perm |= PERM_WRITE | PERM_RESIZE;
    out->node = open_node(im, name, fmt, image_opts, flags, err);
    if (!out->node)
        return false;
    out->port = block_port_new(im->graph, NULL, out->node, perm, im->shared, err);
    if (!out->port)
        img_close(out);
    else
        guess_warning(out->node);
    return out->port != NULL;
}

bool img_open(Img *im, ImgFile *out, const char *name, const char *fmt, bool image_opts,
              uint32_t flags)
{
    Error err = {0};

    if (image_opts && fmt) {
        log_error("--image-opts and --format are mutually exclusive");
        return false;
    }
    if (img_open_quiet(im, out, name, fmt, image_opts, flags, &err))
        return true;
    print_error(&err, "Could not open '%s': ", name);
    return false;
}

bool img_open_operand(Img *im, ImgFile *out, uint32_t flags)
{
    *out = (ImgFile){0};
    if (im->n_operands != 1) {
        usage_error(im, "Expecting one image file name");
        return false;
    }
    if (arg_has(im, 'U'))
        flags |= NODE_FORCE_SHARE;
    return img_open(im, out, im->operands[0], arg_get(im, 'f'), arg_has(im, OPT_IMAGE_OPTS), flags);
}

void img_close(ImgFile *f)
{
    if (f->port)
        block_port_free(f->port);
    if (f->node)
        node_unref(f->node);
    *f = (ImgFile){0};
}

/* --- formats --- */

enum { MAX_FORMATS = 128 };

const BlockDriver *format_find(const char *name, Error *err)
{
    const BlockDriver *d = block_driver_find(name);
    const char *names[MAX_FORMATS], *near;
    unsigned n = 0;

    if (d)
        return d;
    for (const BlockDriver *i = NULL; (i = block_driver_next(i)) && n < MAX_FORMATS;)
        names[n++] = i->name;
    near = nearest_name(name, names, n);
    if (near)
        error_set(err, "Unknown file format '%s'; did you mean '%s'?", name, near);
    else
        error_set(err, "Unknown file format '%s'", name);
    return NULL;
}

void print_formats(void)
{
    printf("\nSupported formats:");
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));)
        printf(" %s", d->name);
    putchar('\n');
}

static bool unknown_key(const Type *t, const char *key, Error *err)
{
    const char *names[MAX_FORMATS], *near;
    unsigned n = 0;

    for (unsigned i = 0; t && i < t->n_fields && n < MAX_FORMATS; i++)
        names[n++] = t->fields[i].name;
    near = nearest_name(key, names, n);
    if (near)
        return error_set(err, "Invalid parameter '%s'; did you mean '%s'?", key, near);
    return error_set(err, "Invalid parameter '%s'", key);
}

static bool check_value(const Field *f, const char *text, Error *err)
{
    uint64_t size;
    char *end;
    bool on;

    switch (f->type->meta) {
    case META_BOOL:
        return parse_bool(text, &on) ||
               error_set(err, "Parameter '%s' expects 'on' or 'off'", f->name);
    case META_SIZE:
        return parse_size(text, 'B', &size) ||
               error_set(err,
                         "Parameter '%s' expects a non-negative number below 2^64\n"
                         "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta-\nand exabytes, respectively.",
                         f->name);
    case META_UINT:
    case META_INT:
        strtoull(text, &end, 0);
        return (*text && !*end) || error_set(err, "Parameter '%s' expects a number", f->name);
    default: return true;
    }
}

bool options_check(const Type *t, const json_t *options, Error *err)
{
    const BlockDriver *file = block_driver_find("file");
    const Type *protocol = file ? file->create_options : NULL;
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)options, key, value) {
        const Field *f = t ? reflect_find(t, key, FIELD_PROP) : NULL;

        f = f || !protocol ? f : reflect_find(protocol, key, FIELD_PROP);
        if (!f)
            return unknown_key(t, key, err);
        if (json_is_string(value) && !check_value(f, json_string_value(value), err))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const Field *const *)a)->name, (*(const Field *const *)b)->name);
}

static const char *kind_text(const Field *f)
{
    switch (f->type->meta) {
    case META_BOOL: return "bool (on/off)";
    case META_SIZE: return "size";
    case META_UINT:
    case META_INT: return "num";
    default: return "str";
    }
}

void options_help(const char *title, const Type *const *types)
{
    const Field *all[MAX_FORMATS];
    unsigned n = 0;

    puts(title);
    for (; *types; types++)
        for (unsigned i = 0; i < (*types)->n_fields; i++) {
            const Field *f = &(*types)->fields[i];
            bool twice = false;

            for (unsigned k = 0; k < n; k++)
                twice |= !strcmp(all[k]->name, f->name);
            if (!twice && n < MAX_FORMATS && f->use & FIELD_PROP)
                all[n++] = f;
        }
    qsort(all, n, sizeof all[0], by_name);
    for (unsigned i = 0; i < n; i++) {
        char left[80];

        snprintf(left, sizeof left, "%s=<%s>", all[i]->name, kind_text(all[i]));
        printf("  %-22s - %s\n", left, all[i]->doc ? all[i]->doc : "");
    }
}
