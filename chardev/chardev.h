/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev - character devices by id: -chardev, the texts of -serial and its kin, chardev-add
 *
 * A named character device is a port: it owns a back end (which chardev-change replaces), hands out
 * channels to front ends (chardev_claim; one, or four if it is a multiplexer), and keeps a log.
 * Threads: everything here on the loop's thread, but for the writing that io/chardev.h allows.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include "base/reflect.h"
#include "io/chardev.h"

struct Objects;

/* What back ends may ask of the program they are part of. */
typedef struct ChardevHost {
    Loop *loop;
    void (*quit)(void *arg);   /* Ctrl-A x */
    void (*commit)(void *arg); /* Ctrl-A s; NULL: there is nothing to commit */
    void *arg;
    struct Objects *objects; /* TLS credentials; may be NULL */
    Chardevs *set;           /* of which the new one becomes a member; may be NULL */
    uint8_t escape;          /* of multiplexers (-echr); 0: Ctrl-A */
    bool running;            /* the loop serves a machine: nothing may wait */
    int (*open)(void *arg, const char *path, int flags, unsigned mode); /* -errno; NULL: open() */
    int (*take_fd)(void *arg, const char *name, Error *err); /* of getfd; NULL: there are none */
    /* only try: sockets get no names of their own in the file system, nobody is waited for */
    bool dry;
} ChardevHost;

/* A kind of back end: one file each. */
typedef struct ChardevClass ChardevClass;
struct ChardevClass {
    const char *name, *alias; /* -chardev NAME; alias may be NULL */
    const char *doc;
    const Type *options; /* a struct of PROP fields; NULL: takes none */
    const char *missing; /* not built: why, or what instead; NULL: it is */
    /* @options: filled.  The back end, or NULL. */
    Chardev *(*open)(const void *options, const char *id, const ChardevHost *host, Error *err);
    ChardevClass *reg_next;
};
void chardev_class_register(ChardevClass *c);
#define CHARDEV_REGISTER(c)                                                                        \
    __attribute__((constructor)) static void c##_register(void)                                    \
    {                                                                                              \
        chardev_class_register(&c);                                                                \
    }
const ChardevClass *chardev_class_find(const char *name);
const ChardevClass *chardev_class_next(const ChardevClass *c); /* sorted by name; NULL starts */
void chardev_help(StrBuf *out);                                /* -chardev help */
bool chardev_class_help(const char *name, StrBuf *out, Error *err);

/* --- the set --- */

Chardevs *chardevs_new(const ChardevHost *host);
void chardevs_set_running(Chardevs *set); /* from now on nothing may wait for a peer */
void chardevs_stop(Chardevs *set); /* before the loop is freed: no more input, output still goes */
void chardevs_free(Chardevs *set); /* stops; writes what is pending; NULL is fine */

/* {"id", "backend": kind, "mux", "logfile", "logappend", option...}, options flat or QMP's nested
 * ones (addr, data). */
bool chardev_add_json(Chardevs *set, const json_t *props, Error *err);
bool chardev_add_text(Chardevs *set, const char *text, Error *err); /* as after -chardev */
/* As after -serial; makes @id, or takes what "chardev:ID" names.  The id to claim (caller frees);
 * *monitor: "mon:" was there, so a monitor shall claim it too. */
char *chardev_add_compat(Chardevs *set, const char *text, const char *id, bool *monitor,
                         Error *err);
/* The same as a description only; *monitor may be NULL. */
json_t *chardev_parse_compat(const char *text, bool *monitor, Error *err);
bool chardev_remove(Chardevs *set, const char *id, Error *err);
bool chardev_change(Chardevs *set, const json_t *props,
                    Error *err); /* the same id, another back end */
bool chardev_send_break(Chardevs *set, const char *id, Error *err);
/* The back end of @id, for commands that concern one kind. */
Chardev *chardev_back_end(Chardevs *set, const char *id, Error *err);
/* {label, filename, frontend-open} of all, oldest first. */
json_t *chardevs_query(Chardevs *set);
bool chardev_exists(Chardevs *set, const char *id);

/* --- for back ends, on the loop; each takes the front end's lock --- */

void chardev_init(Chardev *c, const ChardevOps *ops, const char *id, Loop *loop);
void chardev_fini(Chardev *c);
size_t chardev_room(Chardev *c); /* bytes the front end would take */
void chardev_give(Chardev *c, const uint8_t *p, size_t n);
void chardev_tell(Chardev *c, CharEvent e); /* keeps c->open up to date */
void chardev_stop(Chardev *c);              /* NULL is fine */
void chardev_close(Chardev *c);             /* NULL is fine */

#endif
