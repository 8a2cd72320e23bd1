/* SPDX-License-Identifier: GPL-2.0-or-later */
/* websocket - RFC 6455: chapter 4 the handshake, 5 the frames; SHA-1 after RFC 3174 */
#include "chardev/websocket.h"

#include <ctype.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/bytes.h"

enum { OP_CONTINUE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* --- SHA-1, for the handshake's answer only --- */

static uint32_t rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (unsigned i = 0; i < 16; i++)
        w[i] = get_be32(p + 4 * i);
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t next = rotate(a, 5) + f + e + k[i / 20] + w[i];

        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void sha1(const uint8_t *p, size_t n, uint8_t out[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t last[128] = {0};
    size_t whole = n & ~(size_t)63, rest = n - whole, tail = rest < 56 ? 64 : 128;

    for (size_t at = 0; at < whole; at += 64)
        sha1_block(h, p + at);
    memcpy(last, p + whole, rest);
    last[rest] = 0x80;
    put_be64(last + tail - 8, (uint64_t)n * 8);
    for (size_t at = 0; at < tail; at += 64)
        sha1_block(h, last + at);
    for (unsigned i = 0; i < 5; i++)
        put_be32(out + 4 * i, h[i]);
}

/* --- handshake --- */

/* The value of header @name in @request, up to its line's end; NULL: absent. */
static char *header(const char *request, const char *name)
{
    size_t n = strlen(name);

    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        const char *at = line + 2;

        if (strncasecmp(at, name, n) || at[n] != ':')
            continue;
        at += n + 1;
        at += strspn(at, " \t");
        return xasprintf("%.*s", (int)strcspn(at, "\r\n"), at);
    }
    return NULL;
}

static bool handshake(WebSocket *w, StrBuf *reply)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    const char *request = strbuf_str(&w->request);
    AUTO_FREE char *key = header(request, "Sec-WebSocket-Key");
    AUTO_FREE char *upgrade = header(request, "Upgrade");
    AUTO_FREE char *protocol = header(request, "Sec-WebSocket-Protocol");
    AUTO_FREE char *both = key ? xasprintf("%s%s", key, guid) : NULL;
    uint8_t hash[20];

    if (strncmp(request, "GET ", 4) || !key || !upgrade || strcasecmp(upgrade, "websocket")) {
        strbuf_add(reply, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n");
        return false;
    }
    sha1((const uint8_t *)both, strlen(both), hash);
    strbuf_add(reply, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    base64_encode(hash, sizeof hash, reply);
    if (protocol && strstr(protocol, "binary"))
        strbuf_add(reply, "\r\nSec-WebSocket-Protocol: binary");
    strbuf_add(reply, "\r\n\r\n");
    w->open = true;
    return true;
}

/* Bytes of the request taken; -1: refused. */
static ssize_t take_request(WebSocket *w, const uint8_t *p, size_t n, StrBuf *reply)
{
    for (size_t i = 0; i < n; i++) {
        if (!p[i] || w->request.len >= WS_REQUEST_MAX)
            return -1;
        strbuf_addn(&w->request, (const char *)&p[i], 1);
        if (w->request.len >= 4 && !memcmp(w->request.s + w->request.len - 4, "\r\n\r\n", 4))
            return handshake(w, reply) ? (ssize_t)i + 1 : -1;
    }
    return (ssize_t)n;
}

/* --- frames --- */

static void frame(StrBuf *out, unsigned op, const uint8_t *p, size_t n)
{
    uint8_t head[10] = {(uint8_t)(0x80 | op)};
    size_t size = 2;

    if (n < 126) {
        head[1] = (uint8_t)n;
    } else if (n < 65536) {
        head[1] = 126;
        put_be16(head + 2, (uint16_t)n);
        size = 4;
    } else {
        head[1] = 127;
        put_be64(head + 2, n);
        size = 10;
    }
    strbuf_addn(out, (const char *)head, size);
    strbuf_addn(out, (const char *)p, n);
}

void websocket_wrap(const uint8_t *p, size_t n, StrBuf *out)
{
    frame(out, OP_BINARY, p, n);
}

/* How long the header is, as far as it is known. */
static unsigned head_size(const WebSocket *w)
{
    unsigned len;

    if (w->n_head < 2)
        return 2;
    len = w->head[1] & 0x7f;
    return 2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + 4;
}

/* A complete header: is it one that a client may send? */
static bool head_done(WebSocket *w)
{
    unsigned op = w->head[0] & 15, len = w->head[1] & 0x7f;

    if (w->head[0] & 0x70)
        return false; /* an extension nobody agreed to */
    w->left = len == 126 ? get_be16(w->head + 2) : len == 127 ? get_be64(w->head + 2) : len;
    w->mask_at = 0;
    w->in_payload = true;
    w->n_control = 0;
    if (op >= 8)
        return w->left <= sizeof w->control && (w->head[0] & 0x80);
    return op <= OP_BINARY;
}

/* The end of a frame: control frames act. */
static bool frame_done(WebSocket *w, StrBuf *reply)
{
    unsigned op = w->head[0] & 15;

    w->in_payload = false;
    w->n_head = 0;
    if (op == OP_PING)
        frame(reply, OP_PONG, w->control, w->n_control);
    if (op == OP_CLOSE)
        frame(reply, OP_CLOSE, w->control, MIN(w->n_control, 2u));
    w->closed |= op == OP_CLOSE;
    return !w->closed;
}

ssize_t websocket_take(WebSocket *w, const uint8_t *p, size_t n, uint8_t *out, StrBuf *reply)
{
    size_t at = 0, done = 0;

    if (w->closed)
        return -1;
    if (!w->open) {
        ssize_t taken = take_request(w, p, n, reply);

        if (taken < 0)
            return -1;
        at = (size_t)taken;
    }
    while (at < n) {
        if (!w->in_payload) {
            w->head[w->n_head++] = p[at++];
            if (w->n_head == 2 && !(w->head[1] & 0x80)) /* 5.1: clients must mask */
                return -1;
            if (w->n_head < head_size(w))
                continue;
            if (!head_done(w))
                return -1;
        } else {
            uint8_t byte = p[at++] ^ w->head[w->n_head - 4 + w->mask_at++ % 4];

            w->left--;
            if ((w->head[0] & 15) < 8)
                out[done++] = byte;
            else
                w->control[w->n_control++] = byte;
        }
        if (!w->left && !frame_done(w, reply))
            return -1;
    }
    return (ssize_t)done;
}

void websocket_free(WebSocket *w)
{
    strbuf_free(&w->request);
    *w = (WebSocket){0};
}
