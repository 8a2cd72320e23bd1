/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebase - another backing file for an image
 *
 * Safe mode first copies into the image whatever the new backing file would show differently; with
 * -u only the name is changed.
 */
#include <stdio.h>

#include "base/zero.h"
#include "tools/img/img.h"

enum { PIECE = 1 << 20 };

typedef struct Rebase {
    Img *im;
    ImgFile top, old, new; /* nodes may be NULL: nothing below */
    const char *backing, *fmt;
    size_t piece; /* whole clusters: the rest of one would be lost */
    uint8_t *old_buf, *new_buf;
} Rebase;

/* A backing file reads as zeroes beyond its end. */
static int read_backing(const ImgFile *f, uint64_t at, uint8_t *buf, size_t size)
{
    uint64_t end = f->port ? block_size(f->port) : 0;
    size_t have = at < end ? MIN((uint64_t)size, end - at) : 0;

    memset(buf + have, 0, size - have);
    return have ? block_read(f->port, at, buf, have) : 0;
}

static bool fail(const char *doing, uint64_t at, int rc)
{
    log_error("error while %s at byte %" PRIu64 ": %s", doing, at, strerror(-rc));
    return false;
}

/* [at, at+size) is not in the image; what differs goes there, in whole clusters. */
static bool keep_contents(Rebase *r, uint64_t at, size_t size)
{
    size_t grain = MAX(r->top.node->cluster_size, 4096u);
    int rc;

    if ((rc = read_backing(&r->old, at, r->old_buf, size)))
        return fail("reading from old backing file", at, rc);
    if ((rc = read_backing(&r->new, at, r->new_buf, size)))
        return fail("reading from new backing file", at, rc);
    for (size_t n = 0, step; n < size; n += step) {
        bool zero;

        step = MIN(grain - (at + n) % grain, size - n);
        if (!memcmp(r->old_buf + n, r->new_buf + n, step))
            continue;
        zero = is_zero(r->old_buf + n, step);
        rc = zero ? block_zero(r->top.port, at + n, step, 0)
                  : block_write(r->top.port, at + n, r->old_buf + n, step, 0);
        if (rc)
            return fail("writing to COW image", at + n, rc);
    }
    return true;
}

/* Is it zero on both sides, going by their maps?  *size is cut to where that is so. */
static bool both_zero(const Rebase *r, uint64_t at, uint64_t *size)
{
    const ImgFile *side[] = {&r->old, &r->new};

    for (unsigned i = 0; i < 2; i++) {
        BlockNode *owner;
        Extent e;

        if (!side[i]->node || at >= side[i]->node->size)
            continue;
        if (node_status_above(side[i]->node, NULL, at, MIN(*size, side[i]->node->size - at), &e,
                              &owner) ||
            (e.kind != EXTENT_ZERO && e.kind != EXTENT_UNALLOCATED))
            return false;
        *size = MIN(*size, e.size);
    }
    return true;
}

static bool copy_differences(Rebase *r)
{
    uint64_t size = block_size(r->top.port);
    bool ok = true;
    int rc;

    r->piece = MAX((size_t)PIECE, r->top.node->cluster_size);
    r->old_buf = xalloc_aligned(4096, r->piece);
    r->new_buf = xalloc_aligned(4096, r->piece);
    progress_begin(&r->im->progress, arg_progress(r->im), size);
    for (uint64_t at = 0, n; at < size && ok; at += n) {
        Extent e;

        if ((rc = node_status(node_skip_filters(r->top.node), at, size - at, &e))) {
            ok = fail("reading image metadata", at, rc);
            break;
        }
        n = e.size;
        if (e.kind == EXTENT_UNALLOCATED && !both_zero(r, at, &n)) {
            n = MIN(n, r->piece - at % r->piece);
            ok = keep_contents(r, at, n);
        }
        progress_to(&r->im->progress, at + n);
    }
    progress_end(&r->im->progress, ok);
    xfree(r->old_buf);
    xfree(r->new_buf);
    return ok;
}

/* What the image shows now where it has nothing, and what it would show. */
static bool open_backing(Rebase *r, uint32_t flags)
{
    const BlockNode *n = r->top.node;
    AUTO_FREE char *new = NULL, *old = NULL;
    Error err = {0};

    if (n->backing_file && n->backing_file[0]) {
        old = block_path_combine(n->filename, n->backing_file);
        if (!img_open_quiet(r->im, &r->old, old, n->backing_format, false, flags, &err)) {
            print_error(&err, "Could not open old backing file '%s': ", old);
            return false;
        }
    }
    if (r->backing) {
        new = block_path_combine(n->filename, r->backing);
        if (!img_open_quiet(r->im, &r->new, new, r->fmt, false, flags, &err)) {
            print_error(&err, "Could not open new backing file '%s': ", new);
            return false;
        }
    }
    return true;
}

static bool set_backing(Rebase *r)
{
    const BlockDriver *d = r->top.node->drv;
    Error err = {0};

    if (!d->set_backing)
        error_set(&err, "Operation not supported by format '%s'", d->name);
    else if (r->backing && !r->fmt)
        error_set(&err, "backing format must be specified");
    else if (d->set_backing(r->top.node, r->backing, r->fmt, &err))
        return true;
    log_error("Could not change the backing file to '%s': %s", r->backing ? r->backing : "",
              err.msg);
    return false;
}

static bool check_args(Rebase *r)
{
    Error err = {0};

    if (r->im->n_operands != 1) {
        usage_error(r->im, "Expecting one image file name");
        return false;
    }
    if (!arg_has(r->im, 'u') && !arg_has(r->im, 'b')) {
        usage_error(r->im, "Must specify backing file (-b) or use unsafe mode (-u)");
        return false;
    }
    if (r->fmt && !format_find(r->fmt, &err)) {
        log_error("Invalid format name: '%s' (%s)", r->fmt, err.msg);
        return false;
    }
    return true;
}

int img_cmd_rebase(Img *im)
{
    Rebase r = {.im = im, .backing = arg_get(im, 'b'), .fmt = arg_get(im, 'F')};
    uint32_t flags = 0, src_flags = NODE_READ_ONLY | (arg_has(im, 'U') ? NODE_FORCE_SHARE : 0);
    bool ok;

    if (r.backing && !r.backing[0])
        r.backing = NULL;
    if (!arg_cache(im, 't', "writeback", "cache", &flags) ||
        !arg_cache(im, 'T', "writeback", "source cache", &src_flags) || !check_args(&r))
        return 1;
    ok = img_open(im, &r.top, im->operands[0], arg_get(im, 'f'), arg_has(im, OPT_IMAGE_OPTS),
                  flags | NODE_NO_BACKING);
    if (ok && !arg_has(im, 'u'))
        ok = open_backing(&r, src_flags) && copy_differences(&r) && !block_flush(r.top.port);
    ok = ok && set_backing(&r) && !block_flush(r.top.port);
    img_close(&r.new);
    img_close(&r.old);
    img_close(&r.top);
    return ok ? 0 : 1;
}
