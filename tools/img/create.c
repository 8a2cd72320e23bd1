/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * create - new images: rhea-img create, and the targets of convert and dd
 *
 * The line "Formatting ..." is read by scripts: its order and defaults are qemu-img's (shown[]).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "tools/img/img.h"

/* --- the line --- */

/* Options in the order they are shown; "=value" is shown if nothing else was said. */
static const struct {
    const char *fmt;
    const char *const *options;
} shown[] = {
    {"qcow2",
     (const char *const[]){"encryption", "encrypt.*", "cluster_size=65536", "extended_l2=off",
                           "preallocation", "compression_type=zlib", "size", "compat",
                           "backing_file", "backing_fmt", "data_file", "data_file_raw",
                           "lazy_refcounts=off", "refcount_bits=16", NULL}},
    {"vmdk", (const char *const[]){"size", "adapter_type", "backing_file", "backing_fmt",
                                   "compat6=off", "hwversion=undefined", "toolsversion",
                                   "subformat", "zeroed_grain", NULL}},
    {"vdi", (const char *const[]){"size", "static=off", NULL}},
    {"vpc", (const char *const[]){"size", "subformat", "force_size", NULL}},
    {"luks", (const char *const[]){"size", "key-secret", "cipher-alg", "cipher-mode", "ivgen-alg",
                                   "ivgen-hash-alg", "hash-alg", "iter-time", NULL}},
    {"vhdx", (const char *const[]){"size", "log_size=1048576", "block_size=0", "subformat",
                                   "block_state_zero", NULL}},
    {"qed", (const char *const[]){"size", "backing_file", "backing_fmt", "cluster_size=65536",
                                  "table_size", NULL}},
    {"parallels", (const char *const[]){"size", "cluster_size=1048576", NULL}},
    {"", (const char *const[]){"size", NULL}},
};

static const char *const *shown_options(const char *fmt)
{
    for (unsigned i = 0;; i++)
        if (!shown[i].fmt[0] || !strcmp(shown[i].fmt, fmt))
            return shown[i].options;
}

static const Field *option_field(const BlockDriver *d, const char *name)
{
    const BlockDriver *file = block_driver_find("file");
    const Field *f = d->create_options ? reflect_find(d->create_options, name, FIELD_PROP) : NULL;

    return f || !file || !file->create_options
               ? f
               : reflect_find(file->create_options, name, FIELD_PROP);
}

/* " key=value": sizes in bytes, booleans as on and off, a comma doubled. */
static void add_option(StrBuf *out, const BlockDriver *d, const char *key, const char *value)
{
    const Field *f = option_field(d, key);
    uint64_t n;
    bool b;

    strbuf_addf(out, " %s=", key);
    if (f && f->type->meta == META_SIZE && parse_size(value, 'B', &n)) {
        strbuf_addf(out, "%" PRIu64, n);
    } else if (f && f->type->meta == META_BOOL && parse_bool(value, &b)) {
        strbuf_add(out, b ? "on" : "off");
    } else {
        for (; *value; value++)
            strbuf_addf(out, "%c%s", *value, *value == ',' ? "," : "");
    }
}

/* Options whose names begin with @prefix ("" for all) that @out has not got yet. */
static void add_others(StrBuf *out, const BlockDriver *d, json_t *left, const char *prefix)
{
    const char *key;
    json_t *v;
    void *next;

    json_object_foreach_safe (left, next, key, v) {
        if (strncmp(key, prefix, strlen(prefix)) != 0)
            continue;
        add_option(out, d, key, json_string_value(v));
        json_object_del(left, key);
    }
}

static void print_formatting(const char *filename, const BlockDriver *d, const json_t *options)
{
    json_t *left = json_copy((json_t *)options);
    StrBuf b = {0};

    for (const char *const *o = shown_options(d->name); *o; o++) {
        size_t len = strcspn(*o, "=*");
        AUTO_FREE char *key = xasprintf("%.*s", (int)len, *o);
        const char *value = json_string_value(json_object_get(left, key));

        if ((*o)[len] == '*') {
            add_others(&b, d, left, key);
            continue;
        }
        if (value || (*o)[len] == '=')
            add_option(&b, d, key, value ? value : *o + len + 1);
        json_object_del(left, key);
    }
    add_others(&b, d, left, "");
    printf("Formatting '%s', fmt=%s%s\n", filename, d->name, strbuf_str(&b));
    fflush(stdout);
    strbuf_free(&b);
    json_decref(left);
}

/* --- making --- */

static const BlockDriver *creating_driver(const char *fmt, Error *err)
{
    const BlockDriver *d = format_find(fmt, err);

    if (d && !d->create_file) {
        error_set(err, "Format driver '%s' does not support image creation", fmt);
        return NULL;
    }
    return d;
}

bool create_plain(Img *im, const char *filename, const char *fmt, json_t *options, Error *err)
{
    const BlockDriver *d = creating_driver(fmt, err);
    bool ok = d && options_check(d->create_options, options, err) &&
              d->create_file(im->graph, filename, options, err);

    json_decref(options);
    return ok;
}

/* The backing file must be there, say its format, and may give the size. */
static bool look_at_backing(Img *im, CreateArgs *a, Error *err)
{
    AUTO_FREE char *full = block_path_combine(a->filename, a->backing);
    Error why = {0};
    ImgFile f;
    bool ok = true;

    if (!img_open_quiet(im, &f, full, a->backing_fmt, false, NODE_READ_ONLY | NODE_NO_IO, &why))
        return error_set(err, "%s\nCould not open backing image.", why.msg);
    if (!a->backing_fmt)
        ok = error_set(err,
                       "Backing file specified without backing format\nDetected format of %s; "
                       "add -F %s if that is right.",
                       f.node->drv->name, f.node->drv->name);
    else if (a->size == UINT64_MAX)
        a->size = atomic_load(&f.node->size);
    img_close(&f);
    return ok;
}

static void set_option(json_t *options, const char *key, const char *value)
{
    if (value)
        json_object_set_new(options, key, json_string(value));
}

/* What -b, -F and the size say, and what -o says, become one. */
static bool merge_backing(const BlockDriver *d, CreateArgs *a, Error *err)
{
    static const char *const keys[] = {"backing_file", "backing_fmt"};
    const char *given[] = {a->backing, a->backing_fmt};

    for (unsigned i = 0; i < COUNT_OF(keys); i++) {
        if (!given[i])
            continue;
        if (!d->create_options || !reflect_find(d->create_options, keys[i], FIELD_PROP))
            return error_set(err, "Backing %s not supported for file format '%s'",
                             i ? "format" : "file", a->fmt);
        set_option(a->options, keys[i], given[i]);
    }
    a->backing = json_string_value(json_object_get(a->options, keys[0]));
    a->backing_fmt = json_string_value(json_object_get(a->options, keys[1]));
    if (a->backing && !a->backing[0])
        a->backing = NULL;
    if (a->backing && !strcmp(a->backing, a->filename))
        return error_set(err, "Error: Trying to create an image with the same filename as the "
                              "backing file");
    return true;
}

/* A protocol with a prefix only makes what bears it; but paths are what all names are otherwise. */
static bool is_protocols_name(const BlockDriver *d, const char *filename)
{
    bool path = d->kind != DRIVER_PROTOCOL || !d->prefix || !strcmp(d->name, "file") ||
                !strcmp(d->name, "host_device");
    size_t len = path ? 0 : strlen(d->prefix);

    return !len || (!strncmp(filename, d->prefix, len) && strchr(":+", filename[len]));
}

static bool create_checked(Img *im, const BlockDriver *d, CreateArgs *a, Error *err)
{
    const char *text = json_string_value(json_object_get(a->options, "size"));
    char size[32];

    if (!is_protocols_name(d, a->filename))
        return error_set(err, "File name string for %s must start with '%s:'", d->name, d->prefix);

    if (!options_check(d->create_options, a->options, err) || !merge_backing(d, a, err))
        return false;
    if (a->backing_fmt && !format_find(a->backing_fmt, err))
        return error_prefix(err, "backing format: ");
    if (a->size != UINT64_MAX && text)
        return error_set(err, "The image size must be specified only once");
    if (text)
        parse_size(text, 'B', &a->size);
    if (a->backing && a->unsafe && !a->backing_fmt)
        return error_set(err, "Backing file specified without backing format");
    if (a->backing && !a->unsafe && !look_at_backing(im, a, err))
        return false;
    if (a->size == UINT64_MAX)
        return error_set(err, "Image creation needs a size parameter");
    snprintf(size, sizeof size, "%" PRIu64, a->size);
    set_option(a->options, "size", size);
    if (!a->quiet)
        print_formatting(a->filename, d, a->options);
    return d->create_file(im->graph, a->filename, a->options, err);
}

bool create_image(Img *im, CreateArgs *a, Error *err)
{
    const BlockDriver *d = creating_driver(a->fmt, err);
    bool ok = d && create_checked(im, d, a, err);

    json_decref(a->options);
    return ok;
}

/* --- the command --- */

/* Of formats that have no options of their own. */
static const Field plain_fields[] = {{.name = "size",
                                      .type = &type_size,
                                      .doc = "Virtual disk size",
                                      .count = 1,
                                      .use = FIELD_PROP}};
static const Type plain_type = {
    .name = "plain", .meta = META_STRUCT, .fields = plain_fields, .n_fields = 1};

static int create_help(const char *fmt, const char *filename)
{
    Error err = {0};
    const BlockDriver *d = creating_driver(fmt, &err);
    const BlockDriver *file = block_driver_find("file");
    AUTO_FREE char *title = NULL;
    const Type *types[3] = {0};
    unsigned n = 0;

    if (!d) {
        log_error("%s", err.msg);
        return 1;
    }
    types[n++] = d->create_options ? d->create_options : &plain_type;
    if (filename && file && file->create_options)
        types[n++] = file->create_options;
    title = filename ? xstrdup("Supported options:") : xasprintf("Supported %s options:", fmt);
    options_help(title, types);
    if (!filename)
        puts("\nThe protocol level may support further options.\n"
             "Specify the target filename to include those options.");
    return 0;
}

static bool take_size(const char *text, uint64_t *out)
{
    char *end;

    if (parse_size(text, 'B', out) && *out <= INT64_MAX)
        return true;
    strtod(text, &end);
    if (!isdigit((unsigned char)*text) || (*end && (!strchr("bkKMGTPE", *end) || end[1])))
        return bad_size("image size");
    log_error("Invalid image size specified. Must be between 0 and %" PRId64 ".", INT64_MAX);
    return false;
}

int img_cmd_create(Img *im)
{
    const char *fmt = arg_has(im, 'f') ? arg_get(im, 'f') : "raw";
    CreateArgs a = {.fmt = fmt, .size = UINT64_MAX, .quiet = im->quiet};
    Error err = {0};
    bool help;

    a.backing = arg_get(im, 'b');
    a.backing_fmt = arg_get(im, 'F');
    a.unsafe = arg_has(im, 'u');
    a.filename = im->n_operands ? im->operands[0] : NULL;
    if (!arg_options(im, &a.options, &help))
        return 1;
    if (help || !a.filename || im->n_operands > 2) {
        json_decref(a.options);
        if (help)
            return create_help(fmt, a.filename);
        return a.filename ? usage_error(im, "Unexpected argument: %s", im->operands[2])
                          : usage_error(im, "Expecting image file name");
    }
    if (im->n_operands == 2 && !take_size(im->operands[1], &a.size)) {
        json_decref(a.options);
        return 1;
    }
    if (create_image(im, &a, &err))
        return 0;
    print_error(&err, "%s: ", a.filename);
    return 1;
}
