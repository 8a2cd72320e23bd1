/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commit - what the images above a base have becomes the base's
 *
 * Each image above the base is opened without its backing file and asked for what it has itself,
 * top first; the base is opened for writing with all that is below it.  So nobody holds the base
 * while it changes.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "tools/img/copy.h"

enum { MAX_LAYERS = 200, COMMIT_THREADS = 4 };

typedef struct Commit {
    Img *im;
    ImgFile layers[MAX_LAYERS]; /* the top first */
    unsigned n;
    Copy copy;
    uint32_t flags;
} Commit;

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return !strcmp(a, b) ||
           (!stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* Open all above @base (NULL: the first backing file), then the base; false: printed. */
static bool open_chain(Commit *c, const char *base)
{
    Img *im = c->im;
    AUTO_FREE char *name = xstrdup(im->operands[0]), *fmt = xstrdup(arg_get(im, 'f'));
    bool image_opts = arg_has(im, OPT_IMAGE_OPTS);
    uint32_t flags = c->flags | NODE_NO_BACKING | NODE_UNMAP;

    for (;;) {
        ImgFile *f = &c->layers[c->n];
        const BlockNode *n;
        char *below;

        if (c->n == MAX_LAYERS) {
            log_error("The backing chain of '%s' has more than %d images", im->operands[0],
                      MAX_LAYERS);
            return false;
        }
        if (!img_open(im, f, name, fmt, image_opts, flags))
            return false;
        c->n++;
        n = node_skip_filters(f->node);
        if (!n->backing_file || !n->backing_file[0]) {
            if (base)
                log_error("Did not find '%s' in the backing chain of '%s'", base, im->operands[0]);
            else
                log_error("Image does not have a backing file");
            return false;
        }
        below = block_path_combine(n->filename, n->backing_file);
        xfree(fmt);
        fmt = xstrdup(n->backing_format);
        if (!base || !strcmp(base, n->backing_file) || same_file(base, below)) {
            bool ok = img_open(im, &c->copy.to, below, fmt, false, c->flags | NODE_UNMAP);

            xfree(below);
            return ok;
        }
        xfree(name);
        name = below;
        image_opts = false;
        flags = NODE_READ_ONLY | NODE_NO_BACKING;
    }
}

/* Who has it?  What nobody has is the base's already. */
static int find_in_layers(Copy *copy, uint64_t at, Piece *p)
{
    Commit *c = copy->owner;
    uint64_t size = copy->size - at;
    Extent e = {0};

    for (unsigned i = 0; i < c->n; i++) {
        BlockNode *n = node_skip_filters(c->layers[i].node);
        int rc;

        if (at >= n->size) { /* a short image above the base hides it */
            e = (Extent){.kind = EXTENT_ZERO, .at = at, .size = size};
            piece_set(p, c->layers[i].port, &e, at, size);
            return 0;
        }
        rc = node_status(n, at, MIN(size, n->size - at), &e);
        if (rc)
            return rc;
        size = e.size;
        if (e.kind != EXTENT_UNALLOCATED) {
            piece_set(p, c->layers[i].port, &e, at, size);
            return 0;
        }
    }
    piece_set(p, NULL, &e, at, size);
    return 0;
}

static bool commit(Commit *c)
{
    Copy *copy = &c->copy;
    BlockNode *top = node_skip_filters(c->layers[0].node);
    Error err = {0};

    copy->size = top->size;
    if (block_size(copy->to.port) < copy->size &&
        !node_truncate(copy->to.node, copy->size, PREALLOC_OFF, false, &err)) {
        print_error(&err, "Could not grow the backing file to the size of the image: ");
        return false;
    }
    return copy_run(copy);
}

static bool empty_top(Commit *c)
{
    BlockNode *top = node_skip_filters(c->layers[0].node);
    int rc = top->drv->make_empty ? top->drv->make_empty(top) : 0;

    if (!rc)
        rc = block_flush(c->layers[0].port);
    if (rc)
        log_error("Could not empty %s: %s; everything is committed", c->im->operands[0],
                  strerror(-rc));
    return !rc;
}

int img_cmd_commit(Img *im)
{
    Commit c = {.im = im, .copy = {.find = find_in_layers, .threads = COMMIT_THREADS}};
    const char *base = arg_get(im, 'b');
    bool ok;

    c.copy.owner = &c;
    c.copy.quiet = im->quiet;
    c.copy.progress = &im->progress;
    c.copy.progress_mode = arg_progress(im);
    if (!arg_size(im, 'r', "rate limit", &c.copy.rate) ||
        !arg_cache(im, 't', "writeback", "cache", &c.flags))
        return 1;
    if (im->n_operands != 1)
        return usage_error(im, "Expecting one image file name");
    ok = open_chain(&c, base) && commit(&c);
    /* Images between the top and the base are not what they were: leave the top to its user. */
    if (ok && !base && !arg_has(im, 'd'))
        ok = empty_top(&c);
    img_close(&c.copy.to);
    for (unsigned i = 0; i < c.n; i++)
        img_close(&c.layers[i]);
    if (ok)
        say(im, "Image committed.\n");
    return ok ? 0 : 1;
}
