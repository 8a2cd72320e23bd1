/* SPDX-License-Identifier: GPL-2.0-or-later */
/* port_priv - a named character device and its channels: what chardev/port.c and mux.c share */
#ifndef CHARDEV_PORT_PRIV_H
#define CHARDEV_PORT_PRIV_H

#include "chardev/chardev.h"

enum { CHANNELS_MAX = 4, CHANNEL_QUEUE = 65536 };

typedef struct CharPort CharPort;

/* What a front end holds. */
typedef struct CharChannel {
    Chardev c;
    CharPort *port;
    bool claimed, told_open;
    atomic_bool cut; /* a write was cut: CHAR_WRITABLE is owed */
    uint8_t *queue;  /* multiplexer: ring of what was typed and not taken yet */
    uint32_t at, size;
} CharChannel;

struct CharPort {
    char *id;
    Chardevs *set;
    CharPort *next;
    Lock lock;       /* of back and log, for writers of any thread */
    Chardev *back;   /* NULL only while it is replaced */
    CharFront front; /* of back */
    CharChannel *channels[CHANNELS_MAX];
    unsigned n_channels;
    int log; /* -1: none */
    bool stopped;

    bool mux, escaped; /* escaped: the last byte was the escape key */
    unsigned focus;    /* a channel */
    bool stamps, line_start;
    int64_t stamps_since; /* ms */
};

const ChardevHost *port_host(const CharPort *p);
/* Write to back and log, port lock held: bytes taken. */
size_t port_write_locked(CharPort *p, const uint8_t *bytes, size_t n);

void channel_tell(CharChannel *ch, CharEvent e);

/* mux.c */
size_t mux_room(const CharPort *p);
void mux_accept(CharPort *p, const uint8_t *bytes, size_t n);
void mux_push(CharChannel *ch); /* pass on what the front end takes */
size_t mux_write_locked(CharPort *p, const uint8_t *bytes, size_t n);

#endif
