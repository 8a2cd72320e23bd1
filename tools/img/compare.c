/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare - do two images hold the same?
 *
 * Status: 0 the same, 1 not, 2 an image could not be opened, 3 its map and 4 its data could not be
 * read.
 */
#include <stdio.h>

#include "base/zero.h"
#include "tools/img/img.h"

enum { SAME, DIFFERENT, CANNOT_OPEN, CANNOT_MAP, CANNOT_READ };
enum { PIECE = 1 << 20, SECTOR = 512 };

typedef struct Compare {
    Img *im;
    ImgFile f[2];
    bool strict;
    uint8_t *buf[2];
} Compare;

/* The first byte of the first sector that differs, or size. */
static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t size)
{
    size_t at = 0;

    if (!memcmp(a, b, size))
        return size;
    while (!memcmp(a + at, b + at, MIN((size_t)SECTOR, size - at)))
        at += SECTOR;
    return at;
}

static size_t first_nonzero(const uint8_t *p, size_t size)
{
    size_t at = 0;

    if (is_zero(p, size))
        return size;
    while (is_zero(p + at, MIN((size_t)SECTOR, size - at)))
        at += SECTOR;
    return at;
}

static int read_side(Compare *c, unsigned i, uint64_t at, size_t size)
{
    int rc = block_read(c->f[i].port, at, c->buf[i], size);

    if (!rc)
        return SAME;
    log_error("Error while reading offset %" PRIu64 " of %s: %s", at, c->im->operands[i],
              strerror(-rc));
    return CANNOT_READ;
}

static int differ_at(const Compare *c, uint64_t at)
{
    say(c->im, "Content mismatch at offset %" PRIu64 "!\n", at);
    return DIFFERENT;
}

/* Side @i against zeroes. */
static int check_zeroes(Compare *c, unsigned i, uint64_t at, uint64_t size)
{
    for (uint64_t end = at + size; at < end;) {
        size_t n = MIN(end - at, (uint64_t)PIECE), same;

        if (read_side(c, i, at, n))
            return CANNOT_READ;
        same = first_nonzero(c->buf[i], n);
        if (same < n)
            return differ_at(c, at + same);
        at += n;
    }
    return SAME;
}

static int check_both(Compare *c, uint64_t at, size_t size)
{
    size_t same;

    if (read_side(c, 0, at, size) || read_side(c, 1, at, size))
        return CANNOT_READ;
    same = first_difference(c->buf[0], c->buf[1], size);
    return same < size ? differ_at(c, at + same) : SAME;
}

typedef struct Status {
    uint64_t size;
    bool present, zero, has_offset;
} Status;

static int status(Compare *c, unsigned i, uint64_t at, uint64_t size, Status *s)
{
    BlockNode *owner;
    Extent e;
    int rc = node_status_above(c->f[i].node, NULL, at, size, &e, &owner);

    if (rc) {
        log_error("Sector allocation test failed for %s: %s", c->im->operands[i], strerror(-rc));
        return CANNOT_MAP;
    }
    *s = (Status){.size = e.size,
                  .zero = e.kind == EXTENT_ZERO || e.kind == EXTENT_UNALLOCATED,
                  .present = e.kind != EXTENT_UNALLOCATED,
                  .has_offset = e.child && e.kind != EXTENT_SPECIAL};
    /* The end of the chain reads as zeroes, and nobody has them. */
    if (s->zero && !(e.flags & EXTENT_PREALLOCATED) && !e.child && s->present) {
        rc = node_status(node_skip_filters(owner), at, e.size, &e);
        s->present = !rc && e.kind != EXTENT_UNALLOCATED;
    }
    return SAME;
}

/* What both have. */
static int compare_common(Compare *c, uint64_t size)
{
    Status s[2];
    int rc = SAME;

    for (uint64_t at = 0, n; at < size && !rc; at += n) {
        if ((rc = status(c, 0, at, size - at, &s[0])) || (rc = status(c, 1, at, size - at, &s[1])))
            break;
        n = MIN(s[0].size, s[1].size);
        if (c->strict && (s[0].zero != s[1].zero || s[0].present != s[1].present ||
                          s[0].has_offset != s[1].has_offset)) {
            say(c->im, "Strict mode: Offset %" PRIu64 " block status mismatch!\n", at);
            return DIFFERENT;
        }
        if (s[0].zero != s[1].zero) {
            rc = check_zeroes(c, s[0].zero, at, n);
        } else if (!s[0].zero) {
            n = MIN(n, (uint64_t)PIECE);
            rc = check_both(c, at, n);
        }
        progress_to(&c->im->progress, at + n);
    }
    return rc;
}

/* The larger one must have zeroes beyond the end of the other. */
static int compare_rest(Compare *c, uint64_t from)
{
    unsigned big = block_size(c->f[1].port) > from;
    uint64_t size = block_size(c->f[big].port);
    int rc = SAME;
    Status s;

    say(c->im, "Warning: Image size mismatch!\n");
    for (uint64_t at = from; at < size && !rc; at += s.size) {
        rc = status(c, big, at, size - at, &s);
        if (!rc && !s.zero)
            rc = check_zeroes(c, big, at, s.size);
        progress_to(&c->im->progress, at + s.size);
    }
    return rc;
}

static int compare(Compare *c)
{
    uint64_t a = block_size(c->f[0].port), b = block_size(c->f[1].port);
    int rc;

    if (c->strict && a != b) {
        say(c->im, "Strict mode: Image size mismatch!\n");
        return DIFFERENT;
    }
    progress_begin(&c->im->progress, arg_progress(c->im), MAX(a, b));
    for (unsigned i = 0; i < 2; i++)
        c->buf[i] = xalloc_aligned(4096, PIECE);
    rc = compare_common(c, MIN(a, b));
    if (!rc && a != b)
        rc = compare_rest(c, MIN(a, b));
    for (unsigned i = 0; i < 2; i++)
        xfree(c->buf[i]);
    progress_end(&c->im->progress, !rc);
    if (!rc)
        say(c->im, "Images are identical.\n");
    return rc;
}

int img_cmd_compare(Img *im)
{
    Compare c = {.im = im, .strict = arg_has(im, 's')};
    uint32_t flags = NODE_READ_ONLY | (arg_has(im, 'U') ? NODE_FORCE_SHARE : 0);
    int rc = SAME;

    if (im->n_operands != 2) {
        usage_error(im, "Expecting two image file names");
        return 1;
    }
    if (!arg_cache(im, 'T', "writeback", "source cache", &flags))
        return CANNOT_OPEN;
    for (unsigned i = 0; i < 2 && !rc; i++)
        if (!img_open(im, &c.f[i], im->operands[i], arg_get(im, i ? 'F' : 'f'),
                      arg_has(im, OPT_IMAGE_OPTS), flags))
            rc = CANNOT_OPEN;
    rc = rc ? rc : compare(&c);
    img_close(&c.f[0]);
    img_close(&c.f[1]);
    return rc;
}
