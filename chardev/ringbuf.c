/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ringbuf - output stays in memory; the oldest gives way */
#include "chardev/ringbuf.h"

#include "base/alloc.h"
#include "chardev/chardev.h"

enum { SIZE_DEFAULT = 65536 };
static const uint64_t size_max = 1ull << 30;

typedef struct RingOptions {
    uint64_t size;
} RingOptions;

typedef struct Ring {
    Chardev c;
    Lock lock; /* of what follows */
    uint8_t *data;
    uint64_t size, put, taken; /* counters; their difference is at most size, a power of two */
} Ring;

static size_t ring_write(Chardev *c, const uint8_t *p, size_t n)
{
    Ring *r = (Ring *)c;

    WITH_LOCK (&r->lock) {
        for (size_t i = 0; i < n; i++)
            r->data[r->put++ & (r->size - 1)] = p[i];
        if (r->put - r->taken > r->size)
            r->taken = r->put - r->size;
    }
    return n;
}

static void ring_close(Chardev *c)
{
    Ring *r = (Ring *)c;

    lock_fini(&r->lock);
    chardev_fini(c);
    xfree(r->data);
    xfree(r);
}

static const ChardevOps ring_ops = {.name = "ringbuf", .write = ring_write, .close = ring_close};

static Chardev *ring_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    uint64_t size = ((const RingOptions *)options)->size;
    Ring *r;
    uint8_t *data;

    if (!size || size & (size - 1) || size > size_max) {
        error_set(err, "size of ringbuf chardev must be power of two (at most 1 GiB)");
        return NULL;
    }
    data = try_alloc(size);
    if (!data) {
        error_set(err, "no memory for a ringbuf of %" PRIu64 " bytes", size);
        return NULL;
    }
    r = xnew(Ring);
    chardev_init(&r->c, &ring_ops, id, host->loop);
    r->c.open = true;
    r->data = data;
    r->size = size;
    lock_init(&r->lock, "ringbuf", RANK_QUEUE);
    return &r->c;
}

static const Field ring_fields[] = {
    PROP_SIZE(RingOptions, size, "size", SIZE_DEFAULT, "bytes it keeps, a power of two"),
};
static STRUCT_TYPE(ring_type, RingOptions, ring_fields);

static ChardevClass ring_class = {
    .name = "ringbuf",
    .alias = "memory",
    .doc = "output is kept in memory (ringbuf-read)",
    .options = &ring_type,
    .open = ring_open,
};
CHARDEV_REGISTER(ring_class)

bool chardev_is_ringbuf(const Chardev *c)
{
    return c->ops == &ring_ops;
}

size_t ringbuf_read(Chardev *c, uint8_t *p, size_t n)
{
    Ring *r = (Ring *)c;
    size_t done = 0;

    WITH_LOCK (&r->lock)
        while (done < n && r->taken < r->put)
            p[done++] = r->data[r->taken++ & (r->size - 1)];
    return done;
}
