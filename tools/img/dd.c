/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dd - a part of an image into a new one, in the words of dd(1)
 */
#include <limits.h>
#include <stdio.h>

#include "base/opts.h"
#include "tools/img/img.h"

typedef struct Dd {
    Img *im;
    const char *in, *out;
    uint64_t bs, count, skip, isize, osize; /* count, sizes UINT64_MAX: not said */
    ImgFile from, to;
} Dd;

static bool parse_operand(Dd *d, const char *arg)
{
    struct {
        const char *name;
        uint64_t *size;
        const char **text;
    } words[] = {{"bs", &d->bs, NULL},      {"count", &d->count, NULL}, {"if", NULL, &d->in},
                 {"of", NULL, &d->out},     {"skip", &d->skip, NULL},   {"isize", &d->isize, NULL},
                 {"osize", &d->osize, NULL}};
    const char *names[COUNT_OF(words)], *equals = strchr(arg, '='), *near;
    size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
    AUTO_FREE char *name = xasprintf("%.*s", (int)len, arg);

    for (unsigned i = 0; i < COUNT_OF(words); i++) {
        names[i] = words[i].name;
        if (!equals || strcmp(name, words[i].name) != 0)
            continue;
        if (words[i].text)
            *words[i].text = equals + 1;
        else if (!parse_size(equals + 1, 'B', words[i].size) || *words[i].size > INT64_MAX)
            return bad_size(name);
        return true;
    }
    near = nearest_name(name, names, COUNT_OF(names));
    if (near)
        log_error("unrecognized operand %s; did you mean '%s='?", arg, near);
    else
        log_error("unrecognized operand %s", arg);
    return false;
}

static bool parse(Dd *d)
{
    for (unsigned i = 0; i < d->im->n_operands; i++)
        if (!parse_operand(d, d->im->operands[i]))
            return false;
    if (d->bs < 1 || d->bs > INT_MAX) {
        log_error("Invalid bs specified. Must be between 1 and %d.", INT_MAX);
        return false;
    }
    if (!d->in || !d->out) {
        log_error("Must specify both input and output files");
        return false;
    }
    return true;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t r;

    return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

/* Where to begin, and how much there is to copy. */
static void find_range(const Dd *d, uint64_t *at, uint64_t *size)
{
    uint64_t have = MIN(block_size(d->from.port), d->isize);

    *size = have;
    if (d->count != UINT64_MAX)
        *size = MIN(*size, times(d->count, d->bs));
    *at = times(d->skip, d->bs);
    if (*at > have) {
        log_error("%s: cannot skip to specified offset", d->in);
        *at = have;
    }
    *size = d->count != UINT64_MAX ? MIN(*size, have - *at) : have - *at;
}

static bool copy(Dd *d, uint64_t at, uint64_t size)
{
    /* Blocks are the user's unit of counting; moving them in larger pieces is the same. */
    size_t piece = MAX(d->bs, 1u << 20);
    uint8_t *buf = try_alloc(piece);
    int rc = 0;

    if (!buf) {
        log_error("bs=%" PRIu64 ": there is not so much memory", d->bs);
        return false;
    }
    for (uint64_t n = 0, step; n < size; n += step) {
        step = MIN((uint64_t)piece, size - n);
        if ((rc = block_read(d->from.port, at + n, buf, step))) {
            log_error("error while reading from input image file: %s", strerror(-rc));
            break;
        }
        if ((rc = block_write(d->to.port, n, buf, step, 0))) {
            log_error("error while writing to output image file: %s", strerror(-rc));
            break;
        }
    }
    xfree(buf);
    if (!rc && (rc = block_flush(d->to.port)))
        log_error("error while flushing output image file: %s", strerror(-rc));
    return !rc;
}

static bool run(Dd *d)
{
    Img *im = d->im;
    const char *fmt = arg_has(im, 'O') ? arg_get(im, 'O') : "raw";
    uint32_t flags = NODE_READ_ONLY | (arg_has(im, 'U') ? NODE_FORCE_SHARE : 0);
    json_t *options = json_object();
    uint64_t at, size;
    Error err = {0};

    if (!img_open(im, &d->from, d->in, arg_get(im, 'f'), arg_has(im, OPT_IMAGE_OPTS), flags)) {
        json_decref(options);
        return false;
    }
    find_range(d, &at, &size);
    AUTO_FREE char *text = xasprintf("%" PRIu64, d->osize != UINT64_MAX ? d->osize : size);
    json_object_set_new(options, "size", json_string(text));
    if (!create_plain(im, d->out, fmt, options, &err)) {
        print_error(&err, "%s: error while creating output image of type '%s': ", d->out, fmt);
        return false;
    }
    if (!img_open(im, &d->to, d->out, fmt, false, 0))
        return false;
    return copy(d, at, MIN(size, block_size(d->to.port)));
}

int img_cmd_dd(Img *im)
{
    Dd d = {.im = im, .bs = 512, .count = UINT64_MAX, .isize = UINT64_MAX, .osize = UINT64_MAX};
    bool ok = parse(&d) && run(&d);

    img_close(&d.to);
    img_close(&d.from);
    return ok ? 0 : 1;
}
