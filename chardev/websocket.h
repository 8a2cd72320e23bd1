/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * websocket - the server's end of RFC 6455: the opening handshake, frames in, frames out
 *
 * Pure: bytes in, bytes out, no descriptors.
 */
#ifndef CHARDEV_WEBSOCKET_H
#define CHARDEV_WEBSOCKET_H

#include <sys/types.h>

#include "base/base.h"
#include "base/strbuf.h"

enum { WS_REQUEST_MAX = 4096 };

typedef struct WebSocket { /* all zero: before the handshake */
    bool open;
    StrBuf request;
    uint8_t head[14];
    unsigned n_head; /* of the present frame's header, so far */
    uint64_t left;   /* payload bytes of the present frame still to come */
    uint32_t mask_at;
    bool in_payload, closed;
    uint8_t control[125]; /* payload of a control frame */
    unsigned n_control;
} WebSocket;

/* Take client bytes; payload goes to @out (room for @n), answers (handshake, pong, close) to
 * @reply. Payload bytes, or -1: not a WebSocket client, or it says goodbye; @reply may hold the
 * reason. */
ssize_t websocket_take(WebSocket *w, const uint8_t *p, size_t n, uint8_t *out, StrBuf *reply);
/* One binary frame around @n bytes. */
void websocket_wrap(const uint8_t *p, size_t n, StrBuf *out);
void websocket_free(WebSocket *w);

#endif
