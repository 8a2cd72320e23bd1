/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev - the contract between character back ends and the devices that use them
 *
 * All calls on the back end's loop thread or with the front end's device lock held, as stated.
 * A back end never calls the front end from inside the front end's call (no inline upcalls).
 */
#ifndef IO_CHARDEV_H
#define IO_CHARDEV_H

#include "base/base.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/loop.h"

typedef struct Chardev Chardev;
typedef enum CharEvent { CHAR_OPENED, CHAR_CLOSED, CHAR_BREAK, CHAR_WRITABLE } CharEvent;

/* The front end; its functions are called on the back end's loop with @lock held. */
typedef struct CharFront {
    Lock *lock;
    void *arg;
    size_t (*can_accept)(void *arg);
    void (*accept)(void *arg, const uint8_t *p, size_t n); /* n <= can_accept() */
    void (*event)(void *arg, CharEvent e);
} CharFront;

typedef struct ChardevOps {
    const char *name;
    size_t (*write)(Chardev *c, const uint8_t *p,
                    size_t n); /* how many were taken; 0: full, CHAR_WRITABLE follows. Any thread */
    void (*accept_ready)(Chardev *c); /* the front end can take more now. Any thread */
    void (*close)(Chardev *c);
    void (*stop)(Chardev *c); /* the loop ends: unwatch, post no more; NULL: nothing to do */
} ChardevOps;

struct Chardev {
    const ChardevOps *ops;
    char *id;
    Loop *loop;
    const CharFront *front; /* NULL: none; set by chardev_attach */
};

static inline size_t chardev_write(Chardev *c, const uint8_t *p, size_t n)
{
    return c ? c->ops->write(c, p, n) : n;
}
static inline void chardev_accept_ready(Chardev *c)
{
    if (c && c->ops->accept_ready)
        c->ops->accept_ready(c);
}
static inline void chardev_attach(Chardev *c, const CharFront *f)
{
    if (c) {
        c->front = f;
        chardev_accept_ready(c);
    }
}

#endif
