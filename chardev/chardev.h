/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev - character back ends by the texts of -serial and -debugcon
 *
 * Threads: chardev_open, chardev_close and everything the front end is told: the loop's thread.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include "io/chardev.h"

/* What back ends may ask of the program they are part of. */
typedef struct ChardevHost {
    Loop *loop;
    void (*quit)(void *arg); /* Ctrl-A x */
    void *arg;
} ChardevHost;

/* "stdio", "mon:stdio", "null", "file:PATH", "pty"; anything else is refused by name.  @id names
 * it to the user. */
Chardev *chardev_open(const char *text, const char *id, const ChardevHost *host, Error *err);
void chardev_stop(
    Chardev *c); /* before the loop is freed: no more input, output still goes; NULL is fine */
void chardev_close(
    Chardev *c); /* stops; writes what is pending, as long as somebody reads it; NULL is fine */

/* --- for back ends, on the loop; each takes the front end's lock --- */
void chardev_init(Chardev *c, const ChardevOps *ops, const char *id, Loop *loop);
void chardev_fini(Chardev *c);
size_t chardev_room(Chardev *c); /* bytes the front end would take */
void chardev_give(Chardev *c, const uint8_t *p, size_t n);
void chardev_tell(Chardev *c, CharEvent e);

Chardev *stdio_open(bool signals, const ChardevHost *host, const char *id, Error *err);
Chardev *file_open(const char *path, const ChardevHost *host, const char *id, Error *err);
Chardev *pty_open(const ChardevHost *host, const char *id, Error *err);
Chardev *null_open(const ChardevHost *host, const char *id);
/* Commands after Ctrl-A in front of @back, which it owns from then on. */
Chardev *mux_open(Chardev *back, const ChardevHost *host, const char *id);

#endif
