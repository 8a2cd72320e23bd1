/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resize - another virtual size, absolute or by how much
 */
#include <stdio.h>

#include "base/opts.h"
#include "tools/img/img.h"

/* "10G", "+10G", "-10G" on top of @now; false: printed. */
static bool new_size(const char *text, uint64_t now, uint64_t *out)
{
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    uint64_t n;

    if (!parse_size(text, 'B', &n)) {
        log_error("Parameter 'size' expects a non-negative number below 2^64");
        fputs("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
              "and exabytes, respectively.\n",
              stderr);
        return false;
    }
    *out = sign == '+' ? now + n : sign == '-' ? now - n : n;
    if ((sign == '-' && n >= now) || !*out || *out > INT64_MAX || (sign == '+' && *out < now)) {
        log_error("New image size must be positive");
        return false;
    }
    return true;
}

static bool parse_preallocation(const Img *im, Preallocation *out)
{
    static const char *const names[] = {"off", "metadata", "falloc", "full"};
    const char *text = arg_get(im, OPT_PREALLOCATION);

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (!text || !strcmp(text, names[i])) {
            *out = (Preallocation)i;
            return true;
        }
    }
    log_error("Invalid preallocation mode '%s'; there are off, metadata, falloc and full", text);
    return false;
}

static bool resize(Img *im, ImgFile *f, Preallocation p)
{
    uint64_t now = block_size(f->port), size;
    Error err = {0};

    if (!new_size(im->operands[1], now, &size))
        return false;
    if (size <= now && p != PREALLOC_OFF) {
        log_error("Preallocation can only be used for growing images");
        return false;
    }
    if (size < now && !arg_has(im, OPT_SHRINK)) {
        log_error("Use the --shrink option to perform a shrink operation.");
        log_warn("Shrinking an image will delete all data beyond the shrunken image's end. Before "
                 "performing such an operation, make sure there is no important data there.");
        return false;
    }
    if (!node_truncate(f->node, size, p, false, &err)) {
        print_error(&err, "%s", "");
        return false;
    }
    if (block_flush(f->port)) {
        log_error("'%s' was resized, but could not be flushed to its storage", im->operands[0]);
        return false;
    }
    return say(im, "Image resized.\n");
}

int img_cmd_resize(Img *im)
{
    Preallocation p;
    ImgFile f;
    bool ok;

    if (im->n_operands != 2)
        return usage_error(im, im->n_operands < 2 ? "Not enough arguments"
                                                  : "Expecting image file name and size");
    if (!parse_preallocation(im, &p) ||
        !img_open(im, &f, im->operands[0], arg_get(im, 'f'), arg_has(im, OPT_IMAGE_OPTS), 0))
        return 1;
    ok = resize(im, &f, p);
    img_close(&f);
    return ok ? 0 : 1;
}
