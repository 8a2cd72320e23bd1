/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring - transfers and flushes through io_uring(7), where the kernel lets us
 *
 * A ring belongs to one thread.  `word` of a request in the ring is its own: 0 the handler, 1
 * spare.
 */
#include "block/block_priv.h"

#ifdef CONFIG_LIBURING

#include <liburing.h>
#include <poll.h>

enum { RING_ENTRIES = 256 };

struct Ring {
    struct io_uring u;
    int event;
    bool event_polled;
    unsigned queued;
};

Ring *ring_new(int event)
{
    Ring *r = xnew(Ring);

    if (io_uring_queue_init(RING_ENTRIES, &r->u, 0)) {
        xfree(r);
        return NULL;
    }
    io_uring_ring_dontfork(&r->u);
    r->event = event;
    return r;
}

void ring_free(Ring *r)
{
    io_uring_queue_exit(&r->u);
    xfree(r);
}

int ring_fd(const Ring *r)
{
    return r->u.ring_fd;
}

bool ring_queue(Ring *r, BlockReq *req, int fd, uint64_t at, void (*done)(BlockReq *, int))
{
    struct io_uring_sqe *s = io_uring_get_sqe(&r->u);

    if (!s) {
        ring_submit(r);
        s = io_uring_get_sqe(&r->u);
    }
    if (!s)
        return false;
    switch (req->op) {
    case BLOCK_READ: io_uring_prep_readv(s, fd, req->iov, (unsigned)req->n_iov, at); break;
    case BLOCK_WRITE: io_uring_prep_writev(s, fd, req->iov, (unsigned)req->n_iov, at); break;
    default: io_uring_prep_fsync(s, fd, IORING_FSYNC_DATASYNC); break;
    }
    req->word[0] = (uintptr_t)done;
    io_uring_sqe_set_data(s, req);
    r->queued++;
    return true;
}

void ring_submit(Ring *r)
{
    while (r->queued) {
        int n = io_uring_submit(&r->u);

        if (n < 0)
            break; /* busy: again before the next sleep */
        r->queued -= MIN(r->queued, (unsigned)n);
        if (!n)
            break;
    }
}

bool ring_has_completed(Ring *r)
{
    return io_uring_cq_ready(&r->u) > 0;
}

unsigned ring_reap(Ring *r)
{
    struct io_uring_cqe *c;
    unsigned n = 0;

    while (io_uring_peek_cqe(&r->u, &c) == 0) {
        BlockReq *req = io_uring_cqe_get_data(c);
        int result = c->res;

        io_uring_cqe_seen(&r->u, c);
        n++;
        if (req)
            ((void (*)(BlockReq *, int))(uintptr_t)req->word[0])(req, result);
        else
            r->event_polled = false;
    }
    return n;
}

void ring_wait(Ring *r)
{
    if (r->event >= 0 && !r->event_polled) {
        struct io_uring_sqe *s = io_uring_get_sqe(&r->u);

        if (s) {
            io_uring_prep_poll_add(s, r->event, POLLIN);
            io_uring_sqe_set_data(s, NULL);
            r->event_polled = true;
        }
    }
    io_uring_submit_and_wait(&r->u, 1);
    r->queued = 0;
}

#else

Ring *ring_new(int event)
{
    (void)event;
    return NULL;
}
void ring_free(Ring *r)
{
    (void)r;
}
int ring_fd(const Ring *r)
{
    (void)r;
    return -1;
}
bool ring_queue(Ring *r, BlockReq *req, int fd, uint64_t at, void (*done)(BlockReq *, int))
{
    (void)r, (void)req, (void)fd, (void)at, (void)done;
    return false;
}
void ring_submit(Ring *r)
{
    (void)r;
}
bool ring_has_completed(Ring *r)
{
    (void)r;
    return false;
}
unsigned ring_reap(Ring *r)
{
    (void)r;
    return 0;
}
void ring_wait(Ring *r)
{
    (void)r;
}

#endif
