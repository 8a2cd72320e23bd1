/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object_rng - -object rng-random, rng-builtin: where virtio-rng takes its bytes from */
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/object.h"
#include "io/entropy.h"

enum { STEP_MAX = 65536 };

typedef struct RngObject {
    Object obj;
    char *filename; /* rng-random */
} RngObject;

static bool random_complete(Object *o, Error *err)
{
    const RngObject *r = (const RngObject *)o;
    int fd = open(r->filename, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "Could not open '%s'", r->filename);
    close(fd);
    return true;
}

static const Field random_fields[] = {
    PROP_STR(RngObject, filename, "filename", "/dev/urandom", "the file to read from")};
static STRUCT_TYPE(random_type, RngObject, random_fields);
static const Type builtin_type = {
    .name = "RngObject", .meta = META_STRUCT, .size = sizeof(RngObject)};

static ObjectClass random_class = {
    .name = "rng-random",
    .parent = "rng-backend",
    .doc = "random bytes of a file",
    .type = &random_type,
    .complete = random_complete,
};
OBJECT_REGISTER(random_class)

static ObjectClass builtin_class = {
    .name = "rng-builtin",
    .parent = "rng-backend",
    .doc = "random bytes of the host's kernel",
    .type = &builtin_type,
};
OBJECT_REGISTER(builtin_class)

/* --- the contract --- */

struct Entropy {
    Loop *loop;
    Object *obj; /* NULL: built in */
    int fd;      /* -1: getrandom() */
    bool watched, closed;
    Lock state;     /* of what follows */
    size_t wanted;  /* 0: nothing asked */
    unsigned posts; /* under way: it is freed after the last */
    Lock *lock;
    EntropyFn *fn;
    void *arg;
};

static void entropy_free(Entropy *e)
{
    lock_fini(&e->state);
    xfree(e);
}

static void entropy_readable(void *arg, int fd, uint32_t events);

static void entropy_watch(Entropy *e, bool on)
{
    if (e->watched != on)
        loop_watch(e->loop, e->fd, on ? LOOP_READ : 0, entropy_readable, e);
    e->watched = on;
}

/* Give what there is.  On the loop. */
static void entropy_serve(Entropy *e)
{
    uint8_t buf[STEP_MAX];
    size_t want = 0;
    Lock *lock = NULL;
    ssize_t n;

    WITH_LOCK (&e->state) {
        want = MIN(e->wanted, sizeof buf);
        lock = e->lock;
    }
    if (e->fd >= 0)
        entropy_watch(e, false);
    if (!want)
        return;
    n = e->fd < 0 ? getrandom(buf, want, 0) : read(e->fd, buf, want);
    if (n <= 0) { /* nothing yet; an end of the file is never followed by more */
        if (e->fd >= 0 && n < 0 && (errno == EAGAIN || errno == EINTR))
            entropy_watch(e, true);
        return;
    }
    if (lock)
        lock_take(lock);
    EntropyFn *fn = NULL;
    WITH_LOCK (&e->state) {
        fn = e->wanted ? e->fn : NULL; /* cancelled meanwhile */
        e->wanted = 0;
    }
    if (fn)
        fn(e->arg, buf, (size_t)n);
    if (lock)
        lock_drop(lock);
}

static void entropy_readable(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    entropy_serve(arg);
}

static void entropy_posted(void *arg)
{
    Entropy *e = arg;
    bool last = false;

    if (!e->closed)
        entropy_serve(e);
    WITH_LOCK (&e->state)
        last = --e->posts == 0 && e->closed;
    if (last)
        entropy_free(e);
}

Entropy *entropy_open(Objects *set, const char *id, Loop *loop, Error *err)
{
    Object *o = id ? object_find(set, id, "rng-backend", err) : NULL;
    Entropy *e;

    if (id && !o)
        return NULL;
    e = xnew(Entropy);
    e->loop = loop;
    e->obj = o;
    e->fd = -1;
    lock_init(&e->state, "entropy", RANK_QUEUE);
    if (o && o->cls == &random_class) {
        e->fd = open(((RngObject *)o)->filename, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (e->fd < 0) {
            error_set_errno(err, errno, "Could not open '%s'", ((RngObject *)o)->filename);
            entropy_free(e);
            return NULL;
        }
    }
    if (o)
        object_use(o);
    return e;
}

void entropy_close(Entropy *e)
{
    bool idle = false;

    if (!e)
        return;
    if (e->fd >= 0) {
        entropy_watch(e, false);
        close(e->fd);
        e->fd = -1;
    }
    if (e->obj)
        object_unuse(e->obj);
    WITH_LOCK (&e->state) {
        e->wanted = 0;
        e->closed = true;
        idle = e->posts == 0;
    }
    if (idle)
        entropy_free(e);
}

bool entropy_request(Entropy *e, size_t n, Lock *lock, EntropyFn *fn, void *arg)
{
    bool taken = false;

    WITH_LOCK (&e->state)
        if (!e->wanted && n) {
            e->wanted = n;
            e->lock = lock;
            e->fn = fn;
            e->arg = arg;
            e->posts++;
            taken = true;
        }
    if (taken)
        loop_post(e->loop, entropy_posted, e);
    return taken;
}

void entropy_cancel(Entropy *e)
{
    WITH_LOCK (&e->state)
        e->wanted = 0;
}
