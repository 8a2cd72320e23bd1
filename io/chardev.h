/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev - the contract between character back ends and their front ends (devices, monitors, gdb)
 *
 * A front end claims a back end by its id and gets a Chardev of its own: the back end itself is
 * shared only if it is a multiplexer, where each claim is one channel.
 *
 *     s->front = (CharFront){d->lock, s, my_can_accept, my_accept, my_event};
 *     s->chr = chardev_claim(m->chardevs, id, err);      realize
 *     chardev_attach(s->chr, &s->front);
 *     chardev_write(s->chr, p, n);                       any thread
 *     chardev_release(s->chr);                           unrealize
 *
 * All calls on the back end's loop thread or with the front end's device lock held, as stated.
 * A back end never calls the front end from inside the front end's call (no inline upcalls).
 * Every function takes a NULL Chardev: a front end that is connected to nothing.
 */
#ifndef IO_CHARDEV_H
#define IO_CHARDEV_H

#include "base/base.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/loop.h"

typedef struct Chardev Chardev;
typedef struct Chardevs Chardevs; /* all of one machine or tool, by id */
typedef enum CharEvent {
    CHAR_OPENED,   /* the other end is there; also soon after chardev_attach() if it is already */
    CHAR_CLOSED,   /* it went away; output is dropped until CHAR_OPENED */
    CHAR_BREAK,    /* a serial break */
    CHAR_WRITABLE, /* after a short write: there is room again */
    CHAR_FOCUS,    /* multiplexer: input comes here from now on */
    CHAR_BLUR      /* and no longer */
} CharEvent;

/* The front end; its functions are called on the back end's loop with @lock held. */
typedef struct CharFront {
    Lock *lock;
    void *arg;
    size_t (*can_accept)(void *arg);
    void (*accept)(void *arg, const uint8_t *p, size_t n); /* n <= can_accept() */
    void (*event)(void *arg, CharEvent e);                 /* may be NULL */
} CharFront;

typedef struct ChardevOps {
    const char *name;
    size_t (*write)(Chardev *c, const uint8_t *p,
                    size_t n); /* how many were taken; 0: full, CHAR_WRITABLE follows. Any thread */
    void (*accept_ready)(Chardev *c); /* the front end can take more now. Any thread */
    void (*close)(Chardev *c);
    void (*stop)(Chardev *c);      /* the loop ends: unwatch, post no more; NULL: nothing to do */
    void (*attached)(Chardev *c);  /* c->front was set: tell it CHAR_OPENED from the loop if so */
    void (*release)(Chardev *c);   /* what chardev_claim() gave is given back */
    int (*take_fd)(Chardev *c);    /* the oldest descriptor the peer sent (SCM_RIGHTS), -1: none */
    char *(*describe)(Chardev *c); /* "unix:path,server=on", for query-chardev; caller frees */
    bool on_others; /* it writes to other named ones (hub): its lock comes before theirs */
} ChardevOps;

struct Chardev {
    const ChardevOps *ops;
    char *id;
    Loop *loop;
    const CharFront *front; /* NULL: none; set by chardev_attach */
    bool open;              /* the other end is there; loop thread */
    /* the front end wants CHAR_OPENED, behind a multiplexer, only when input first comes here;
     * set before chardev_attach */
    bool only_in_focus;
};

/* The back end @id, for one front end; the messages are QEMU's.  Main thread. */
Chardev *chardev_claim(Chardevs *set, const char *id, Error *err);
/* Detach, and let others have it.  Loop thread. */
void chardev_release(Chardev *c);

static inline size_t chardev_write(Chardev *c, const uint8_t *p, size_t n)
{
    return c ? c->ops->write(c, p, n) : n;
}
static inline void chardev_accept_ready(Chardev *c)
{
    if (c && c->ops->accept_ready)
        c->ops->accept_ready(c);
}
/* @f NULL: detach.  Loop thread, or before it runs. */
static inline void chardev_attach(Chardev *c, const CharFront *f)
{
    if (c) {
        c->front = f;
        if (f && c->ops->attached)
            c->ops->attached(c);
        if (f)
            chardev_accept_ready(c);
    }
}
static inline int chardev_take_fd(Chardev *c)
{
    return c && c->ops->take_fd ? c->ops->take_fd(c) : -1;
}

#endif
