/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chardev - opening back ends by name, and the null one */
#include "chardev/chardev.h"

#include "base/alloc.h"

void chardev_init(Chardev *c, const ChardevOps *ops, const char *id, Loop *loop)
{
    *c = (Chardev){.ops = ops, .id = xstrdup(id), .loop = loop};
}

void chardev_fini(Chardev *c)
{
    xfree(c->id);
}

static void front_lock(const CharFront *f)
{
    if (f->lock)
        lock_take(f->lock);
}

static void front_unlock(const CharFront *f)
{
    if (f->lock)
        lock_drop(f->lock);
}

size_t chardev_room(Chardev *c)
{
    const CharFront *f = c->front;
    size_t n;

    if (!f || !f->can_accept)
        return 0;
    front_lock(f);
    n = f->can_accept(f->arg);
    front_unlock(f);
    return n;
}

void chardev_give(Chardev *c, const uint8_t *p, size_t n)
{
    const CharFront *f = c->front;

    front_lock(f);
    f->accept(f->arg, p, n);
    front_unlock(f);
}

void chardev_tell(Chardev *c, CharEvent e)
{
    const CharFront *f = c->front;

    if (!f || !f->event)
        return;
    front_lock(f);
    f->event(f->arg, e);
    front_unlock(f);
}

/* --- null: takes everything, gives nothing --- */

static size_t null_write(Chardev *c, const uint8_t *p, size_t n)
{
    (void)c;
    (void)p;
    return n;
}

static void null_close(Chardev *c)
{
    chardev_fini(c);
    xfree(c);
}

static const ChardevOps null_ops = {.name = "null", .write = null_write, .close = null_close};

Chardev *null_open(const ChardevHost *host, const char *id)
{
    Chardev *c = xnew(Chardev);

    chardev_init(c, &null_ops, id, host->loop);
    return c;
}

/* --- by name --- */

/* QEMU's kinds that are not built yet, as they begin. */
static const char *const missing[] = {
    "unix:",    "tcp:",    "telnet:",  "websocket:", "udp:",    "pipe:", "vc",
    "chardev:", "msmouse", "wctablet", "braille",    "testdev", "gdb",   "/dev/",
    "parport",  "serial",  "spicevmc", "ringbuf",    "con:",
};

Chardev *chardev_open(const char *text, const char *id, const ChardevHost *host, Error *err)
{
    bool mon = !strncmp(text, "mon:", 4);
    const char *kind = mon ? text + 4 : text;
    Chardev *c = NULL;

    if (!strcmp(kind, "stdio"))
        c = stdio_open(!mon, host, id, err); /* under the multiplexer Ctrl-C is the guest's */
    else if (!strcmp(kind, "null"))
        c = null_open(host, id);
    else if (!strncmp(kind, "file:", 5))
        c = file_open(kind + 5, host, id, err);
    else if (!strcmp(kind, "pty"))
        c = pty_open(host, id, err);
    else {
        for (unsigned i = 0; i < COUNT_OF(missing); i++)
            if (!strncmp(kind, missing[i], strlen(missing[i]))) {
                error_set(err, "'%s': this kind of character device is not built yet", kind);
                return NULL;
            }
        error_set(err, "'%s' is not a character device (stdio, mon:stdio, file:PATH, pty, null)",
                  text);
    }
    return c && mon ? mux_open(c, host, id) : c;
}

void chardev_stop(Chardev *c)
{
    if (c && c->ops->stop)
        c->ops->stop(c);
}

void chardev_close(Chardev *c)
{
    if (c)
        c->ops->close(c);
}
