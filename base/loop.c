/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop - epoll, posted calls and deadlines
 *
 * Invariants:
 *  1. `woken` is set from before the eventfd is written until it was read, which is before the
 *     queue is taken: whoever posts after the taking writes again.
 *  2. An epoll event names a descriptor and the serial number of its watch, never a pointer: events
 *     of a watch that was changed or removed earlier in the same round are dropped.
 *  3. No lock is held while a callback runs.
 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/lock.h"

typedef struct Watch {
    uint32_t events; /* LOOP_*, 0: none */
    uint32_t serial;
    bool plain; /* a file that epoll does not take: always ready */
    LoopFdFn *fn;
    void *arg;
} Watch;

typedef struct Post {
    LoopFn *fn;
    void *arg;
} Post;

typedef struct PostQueue {
    Post *p;
    size_t n, cap;
} PostQueue;

typedef struct Deadlines { /* a supplier of deadlines */
    int64_t (*next)(void *arg);
    void (*fire)(void *arg);
    void *arg;
} Deadlines;

enum { DEADLINES_MAX = 8 };

struct Loop {
    int epoll, event;
    Watch *watches; /* by descriptor */
    int n_watches, n_plain;
    uint32_t serial;

    Lock lock;       /* of `posts` */
    PostQueue posts; /* filled by any thread */
    PostQueue taken; /* being called; the two swap, so a steady loop does not allocate */
    atomic_bool woken, stopped;
    _Atomic uintptr_t owner; /* pthread_self() of the thread that runs it, 0: none yet */
    bool no_pwait2;          /* a kernel older than 5.11 */

    Deadlines timers[DEADLINES_MAX];
    unsigned n_timers;
};

enum { EVENTS_AT_ONCE = 32, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

Loop *loop_new(Error *err)
{
    Loop *l = xnew(Loop);
    struct epoll_event e = {.events = EPOLLIN};

    lock_init(&l->lock, "loop posts", RANK_QUEUE);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e.data.u64 = (uint32_t)l->event; /* serial 0 is no watch's */
    if (l->epoll < 0 || l->event < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->event, &e)) {
        error_set_errno(err, errno, "cannot make an event loop");
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(Loop *l)
{
    if (!l)
        return;
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->event >= 0)
        close(l->event);
    lock_fini(&l->lock);
    xfree(l->watches);
    xfree(l->posts.p);
    xfree(l->taken.p);
    xfree(l);
}

/* --- descriptors --- */

static void watches_grow(Loop *l, int fd)
{
    int n = MAX(fd + 1, l->n_watches * 2);

    if (fd < l->n_watches)
        return;
    l->watches = xrealloc(l->watches, (size_t)n * sizeof(Watch));
    memset(l->watches + l->n_watches, 0, (size_t)(n - l->n_watches) * sizeof(Watch));
    l->n_watches = n;
}

static void watch_clear(Loop *l, Watch *w)
{
    l->n_plain -= w->plain;
    *w = (Watch){0};
}

bool loop_watch(Loop *l, int fd, uint32_t events, LoopFdFn *fn, void *arg)
{
    struct epoll_event e = {0};
    Watch *w;
    bool known, plain = false;

    assert(loop_is_mine(l) && fd >= 0);
    watches_grow(l, fd);
    w = &l->watches[fd];
    known = w->events && !w->plain;
    if (!events) {
        if (known)
            epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, &e); /* fails if closed already: gone as well */
        watch_clear(l, w);
        return true;
    }

    if (++l->serial == 0)
        l->serial = 1;
    e.events = (events & LOOP_READ ? EPOLLIN : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u) |
               (events & LOOP_HUP ? EPOLLRDHUP : 0u);
    e.data.u64 = (uint64_t)l->serial << 32 | (uint32_t)fd;
    if (epoll_ctl(l->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e)) {
        /* A descriptor that was closed while watched, and opened again as another file. */
        int rc = errno == ENOENT ? epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) : -1;

        plain = rc && errno == EPERM;
        if (rc && !plain) {
            watch_clear(l, w);
            return false;
        }
    }
    watch_clear(l, w);
    *w = (Watch){.events = events, .serial = l->serial, .plain = plain, .fn = fn, .arg = arg};
    l->n_plain += plain;
    return true;
}

static void watch_call(Loop *l, int fd, uint32_t serial, uint32_t events)
{
    Watch *w = fd < l->n_watches ? &l->watches[fd] : NULL;

    if (w && w->events && w->serial == serial) /* inv 2 */
        w->fn(w->arg, fd, events & (w->events | LOOP_HUP));
}

static uint32_t events_of(uint32_t e)
{
    uint32_t events = 0;

    if (e & EPOLLIN)
        events |= LOOP_READ;
    if (e & EPOLLOUT)
        events |= LOOP_WRITE;
    if (e & (EPOLLHUP | EPOLLRDHUP | EPOLLERR))
        events |= LOOP_HUP;
    return events;
}

static void loop_dispatch(Loop *l, const struct epoll_event *e, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t fd = (uint32_t)e[i].data.u64, serial = (uint32_t)(e[i].data.u64 >> 32);

        if (serial)
            watch_call(l, (int)fd, serial, events_of(e[i].events));
    }
    for (int fd = 0; l->n_plain && fd < l->n_watches; fd++) {
        Watch *w = &l->watches[fd];

        if (w->plain && w->events & (LOOP_READ | LOOP_WRITE))
            watch_call(l, fd, w->serial, w->events & (LOOP_READ | LOOP_WRITE));
    }
}

/* --- calls from other threads --- */

void loop_wake(Loop *l)
{
    uint64_t one = 1;

    if (!atomic_exchange(&l->woken, true)) { /* inv 1 */
        int saved = errno;
        ssize_t n = write(l->event, &one, sizeof one);

        (void)n; /* full means that a wake-up is pending anyway */
        errno = saved;
    }
}

void loop_post(Loop *l, LoopFn *fn, void *arg)
{
    WITH_LOCK (&l->lock) {
        PostQueue *q = &l->posts;

        if (q->n == q->cap) {
            q->cap = MAX(q->cap * 2, (size_t)16);
            q->p = xrealloc(q->p, q->cap * sizeof(Post));
        }
        q->p[q->n++] = (Post){fn, arg};
    }
    loop_wake(l);
}

void loop_stop(Loop *l)
{
    atomic_store(&l->stopped, true);
    loop_wake(l);
}

static void loop_take_wakes(Loop *l)
{
    uint64_t count;
    ssize_t n = read(l->event, &count, sizeof count);

    (void)n;
    atomic_store(&l->woken, false); /* inv 1 */
}

static void loop_call_posts(Loop *l)
{
    WITH_LOCK (&l->lock) {
        PostQueue q = l->taken;

        l->taken = l->posts;
        l->posts = q;
    }
    for (size_t i = 0; i < l->taken.n; i++)
        l->taken.p[i].fn(l->taken.p[i].arg);
    l->taken.n = 0;
}

/* --- running --- */

void loop_timers(Loop *l, int64_t (*next)(void *arg), void (*fire)(void *arg), void *arg)
{
    unsigned i = 0;

    while (i < l->n_timers && l->timers[i].arg != arg)
        i++;
    if (next) {
        assert(i < DEADLINES_MAX);
        l->timers[i] = (Deadlines){next, fire, arg};
        l->n_timers = MAX(l->n_timers, i + 1);
    } else if (i < l->n_timers) {
        l->timers[i] = l->timers[--l->n_timers];
    }
}

/* The sooner of two waits, where negative is never. */
static int64_t sooner(int64_t a, int64_t b)
{
    if (a < 0)
        return b;
    return b < 0 ? a : MIN(a, b);
}

static int loop_wait(Loop *l, struct epoll_event *e, int64_t ns)
{
    if (!l->no_pwait2) {
        struct timespec t = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
        int n = epoll_pwait2(l->epoll, e, EVENTS_AT_ONCE, ns < 0 ? NULL : &t, NULL);

        if (n >= 0 || errno != ENOSYS)
            return n;
        l->no_pwait2 = true;
    }
    /* Whole milliseconds, rounded up: too early would only mean to come again. */
    return epoll_wait(l->epoll, e, EVENTS_AT_ONCE,
                      ns < 0 ? -1 : (int)MIN((ns + NS_PER_MS - 1) / NS_PER_MS, INT32_MAX));
}

bool loop_step(Loop *l, int64_t max_wait_ns)
{
    struct epoll_event e[EVENTS_AT_ONCE];
    int64_t wait = max_wait_ns;
    int n;

    atomic_store(&l->owner, (uintptr_t)pthread_self());
    if (atomic_load(&l->stopped))
        return false;
    for (unsigned i = 0; i < l->n_timers; i++)
        wait = sooner(wait, l->timers[i].next(l->timers[i].arg));
    if (l->n_plain)
        wait = 0;
    n = loop_wait(l, e, wait);
    for (int i = 0; i < n; i++) {
        if (!(e[i].data.u64 >> 32))
            loop_take_wakes(l);
    }
    loop_call_posts(l);
    loop_dispatch(l, e, n);
    for (unsigned i = 0; i < l->n_timers; i++)
        l->timers[i].fire(l->timers[i].arg);
    return !atomic_load(&l->stopped);
}

void loop_run(Loop *l)
{
    while (loop_step(l, -1))
        ;
    atomic_store(&l->stopped, false);
}

bool loop_is_mine(const Loop *l)
{
    uintptr_t owner = atomic_load(&l->owner);

    return !owner || owner == (uintptr_t)pthread_self();
}
