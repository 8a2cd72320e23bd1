/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chardev - kinds of back ends, what they share, and the null one */
#include "chardev/chardev.h"

#include "base/alloc.h"

/* --- what back ends share --- */

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

    if (!f)
        return;
    front_lock(f);
    f->accept(f->arg, p, n);
    front_unlock(f);
}

void chardev_tell(Chardev *c, CharEvent e)
{
    const CharFront *f = c->front;

    if (e == CHAR_OPENED || e == CHAR_CLOSED)
        c->open = e == CHAR_OPENED;
    if (!f || !f->event)
        return;
    front_lock(f);
    f->event(f->arg, e);
    front_unlock(f);
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

/* --- kinds --- */

static ChardevClass *classes; /* sorted by name; filled by constructors only */

void chardev_class_register(ChardevClass *c)
{
    ChardevClass **p = &classes;

    while (*p && strcmp((*p)->name, c->name) < 0)
        p = &(*p)->reg_next;
    c->reg_next = *p;
    *p = c;
}

const ChardevClass *chardev_class_find(const char *name)
{
    for (const ChardevClass *c = classes; c; c = c->reg_next)
        if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name)))
            return c;
    return NULL;
}

const ChardevClass *chardev_class_next(const ChardevClass *c)
{
    return c ? c->reg_next : classes;
}

void chardev_help(StrBuf *out)
{
    strbuf_add(out, "Available chardev backend types: \n");
    for (const ChardevClass *c = classes; c; c = c->reg_next)
        if (!c->missing)
            strbuf_addf(out, "  %s\n", c->name);
}

bool chardev_class_help(const char *name, StrBuf *out, Error *err)
{
    const ChardevClass *c = chardev_class_find(name);

    if (!c)
        return error_set(err, "'%s' is not a valid char driver name", name);
    strbuf_addf(out, "%s: %s\n", c->name, c->missing ? c->missing : c->doc);
    for (unsigned i = 0; c->options && i < c->options->n_fields; i++) {
        const Field *f = &c->options->fields[i];
        int pad = 22 - (int)(strlen(f->name) + strlen(f->type->name));

        strbuf_addf(out, "  %s=<%s>%*s - %s\n", f->name, f->type->name, MAX(pad, 0), "",
                    f->doc ? f->doc : "");
    }
    strbuf_add(
        out, "  id=<str>               - its name\n"
             "  mux=<bool>             - share it: up to four users, Ctrl-A c goes on to the next\n"
             "  logfile=<str>          - file that gets all output too\n"
             "  logappend=<bool>       - do not empty that file first\n");
    return true;
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

static Chardev *null_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    Chardev *c = xnew(Chardev);

    (void)options;
    (void)err;
    chardev_init(c, &null_ops, id, host->loop);
    return c;
}

static ChardevClass null_class = {
    .name = "null", .doc = "takes everything, gives nothing", .open = null_open};
CHARDEV_REGISTER(null_class)

/* --- QEMU's kinds that are not built --- */

#define MISSING(var, nm, al, why)                                                                  \
    static ChardevClass var = {.name = nm, .alias = al, .doc = nm, .missing = why};                \
    CHARDEV_REGISTER(var)
MISSING(vc_class, "vc", NULL, "text consoles in the display; use stdio, pty or socket")
MISSING(msmouse_class, "msmouse", NULL, "a serial mouse; use -device usb-tablet or the PS/2 mouse")
MISSING(wctablet_class, "wctablet", NULL, "a Wacom tablet; use -device usb-tablet")
MISSING(braille_class, "braille", NULL, "a Braille display")
MISSING(testdev_class, "testdev", NULL, "QEMU's test device")
MISSING(spicevmc_class, "spicevmc", NULL, "SPICE is not supported; use -vnc")
MISSING(spiceport_class, "spiceport", NULL, "SPICE is not supported; use -vnc")
MISSING(qemu_vdagent_class, "qemu-vdagent", NULL, "the clipboard agent is not supported")
MISSING(parallel_class, "parallel", "parport", "host parallel ports")
MISSING(dbus_class, "dbus", NULL, "D-Bus is not supported; use socket")
MISSING(console_class, "console", NULL, "Windows consoles; use stdio")
