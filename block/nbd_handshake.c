/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_handshake - the server's side of option haggling (proto.md, "Option types")
 *
 * On the session's thread, waiting; the stream's `due` ends it.  No option makes the server keep
 * more than one option's data.
 */
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "block/nbd_server_priv.h"

enum {
    OPTION_MAX = 64 << 10, /* more is read and refused */
    OPTIONS_MAX = 1000,    /* of one client */
};

typedef struct Talk {
    NbdServer *server;
    NbdStream *stream;
    Chosen *out;
    bool fixed, no_zeroes;
    uint32_t option, size;
    uint8_t *data;             /* of the option, a NUL behind it */
    NbdExport *context_export; /* contexts were chosen for this one */
} Talk;

typedef enum Next { GO_ON, READY, HANG_UP } Next;

/* --- replies --- */

static bool reply(Talk *t, uint32_t type, const void *data, size_t size)
{
    uint8_t head[20];

    put_be64(head, NBD_OPTION_REPLY_MAGIC);
    put_be32(head + 8, t->option);
    put_be32(head + 12, type);
    put_be32(head + 16, (uint32_t)size);
    return nbd_stream_write(t->stream, head, sizeof head) == 0 &&
           nbd_stream_write(t->stream, data, size) == 0;
}

static Next reply_ack(Talk *t)
{
    return reply(t, NBD_REP_ACK, NULL, 0) ? GO_ON : HANG_UP;
}

static PRINTF_LIKE(3, 4) Next refuse(Talk *t, uint32_t error, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return reply(t, NBD_REP_ERROR | error, text, strlen(text)) ? GO_ON : HANG_UP;
}

/* --- export names --- */

/* A string at @*at of the option's data, which is advanced; NULL: there is none. */
static const char *take_string(const Talk *t, uint32_t *at, uint32_t *size)
{
    if (t->size - *at < 4)
        return NULL;
    *size = get_be32(t->data + *at);
    if (*size > t->size - *at - 4)
        return NULL;
    *at += 4 + *size;
    return (char *)t->data + *at - *size;
}

static char *take_name(const Talk *t, uint32_t *at)
{
    uint32_t size;
    const char *p = take_string(t, at, &size);
    char *name = p && size <= NBD_MAX_STRING && !memchr(p, 0, size) ? xalloc(size + 1) : NULL;

    if (name)
        memcpy(name, p, size);
    return name;
}

static void forget_contexts(Talk *t)
{
    t->out->contexts = 0;
    if (t->context_export)
        export_unuse(t->context_export);
    t->context_export = NULL;
}

static uint32_t session_flags(const Talk *t, const NbdExport *e)
{
    return e->flags | (t->out->structured ? NBD_SEND_DF : 0);
}

/* The export is settled, before the client knows it; contexts count only if they were chosen for
 * it. */
static void settle(Talk *t, NbdExport *e)
{
    uint64_t contexts = t->context_export == e ? t->out->contexts : 0;

    forget_contexts(t);
    t->out->contexts = contexts;
    t->out->export = e;
}

/* After settle(): whether the client could be told. */
static Next settled(Talk *t, bool told)
{
    if (told)
        return READY;
    export_unuse(t->out->export);
    t->out->export = NULL;
    return HANG_UP;
}

static Next option_export_name(Talk *t)
{
    uint8_t answer[10 + 124] = {0};
    AUTO_FREE char *name = NULL;
    NbdExport *e;

    if (t->size > NBD_MAX_STRING)
        return HANG_UP;
    name = xstrdup((char *)t->data);
    if (!(e = export_use(t->server, name)))
        return HANG_UP; /* there is no other answer to this option */
    put_be64(answer, e->size);
    put_be16(answer + 8, (uint16_t)session_flags(t, e));
    settle(t, e);
    return settled(t, nbd_stream_write(t->stream, answer, t->no_zeroes ? 10 : sizeof answer) == 0);
}

static bool send_infos(Talk *t, const NbdExport *e, const uint8_t *wanted, unsigned n)
{
    uint8_t info[2 + NBD_MAX_STRING];
    bool name = false, description = false;

    for (unsigned i = 0; i < n; i++) {
        name |= get_be16(wanted + i * 2) == NBD_INFO_NAME;
        description |= get_be16(wanted + i * 2) == NBD_INFO_DESCRIPTION;
    }
    if (name) {
        put_be16(info, NBD_INFO_NAME);
        memcpy(info + 2, e->name, strlen(e->name));
        if (!reply(t, NBD_REP_INFO, info, 2 + strlen(e->name)))
            return false;
    }
    if (description && e->description) {
        put_be16(info, NBD_INFO_DESCRIPTION);
        memcpy(info + 2, e->description, strlen(e->description));
        if (!reply(t, NBD_REP_INFO, info, 2 + strlen(e->description)))
            return false;
    }
    put_be16(info, NBD_INFO_BLOCK_SIZE);
    put_be32(info + 2, 1);
    put_be32(info + 6, 4096);
    put_be32(info + 10, NBD_MAX_PAYLOAD);
    if (!reply(t, NBD_REP_INFO, info, 14))
        return false;
    put_be16(info, NBD_INFO_EXPORT);
    put_be64(info + 2, e->size);
    put_be16(info + 10, (uint16_t)session_flags(t, e));
    return reply(t, NBD_REP_INFO, info, 12);
}

static Next option_go(Talk *t)
{
    uint32_t at = 0;
    AUTO_FREE char *name = take_name(t, &at);
    unsigned n;
    NbdExport *e;
    bool ok;

    if (!name || t->size - at < 2)
        return refuse(t, NBD_ERR_INVALID, "bad length of an export name");
    n = get_be16(t->data + at);
    if (t->size - at - 2 != n * 2)
        return refuse(t, NBD_ERR_INVALID, "bad number of information requests");
    if (!(e = export_use(t->server, name)))
        return refuse(t, NBD_ERR_UNKNOWN, "export '%.200s' not present", name);
    ok = send_infos(t, e, t->data + at + 2, n);
    if (ok && t->option == NBD_OPT_GO) {
        settle(t, e);
        return settled(t, reply_ack(t) == GO_ON);
    }
    export_unuse(e);
    return ok ? reply_ack(t) : HANG_UP;
}

static Next option_list(Talk *t)
{
    NbdServer *s = t->server;
    char *names[256];
    unsigned n = 0;
    bool ok = true;

    if (t->size)
        return refuse(t, NBD_ERR_INVALID, "LIST takes no data");
    WITH_LOCK (&s->lock) {
        for (const NbdExport *e = s->exports; e && n + 1 < COUNT_OF(names); e = e->next) {
            names[n++] = xstrdup(e->name);
            names[n++] = xstrdup(e->description);
        }
    }
    for (unsigned i = 0; i < n; i += 2) {
        size_t name = strlen(names[i]), text = names[i + 1] ? strlen(names[i + 1]) : 0;
        AUTO_FREE uint8_t *data = xalloc(4 + name + text);

        put_be32(data, (uint32_t)name);
        memcpy(data + 4, names[i], name);
        if (text)
            memcpy(data + 4 + name, names[i + 1], text);
        ok = ok && reply(t, NBD_REP_SERVER, data, 4 + name + text);
        xfree(names[i]);
        xfree(names[i + 1]);
    }
    return ok ? reply_ack(t) : HANG_UP;
}

/* --- metadata contexts --- */

static bool send_context(Talk *t, const NbdExport *e, unsigned context, bool list)
{
    AUTO_FREE char *name = context_name(e, context);
    AUTO_FREE uint8_t *data = xalloc(4 + strlen(name));

    put_be32(data, list ? 0 : context);
    memcpy(data + 4, name, strlen(name));
    return reply(t, NBD_REP_META_CONTEXT, data, 4 + strlen(name));
}

/* The contexts that the option's queries name; false: they are malformed. */
static bool read_queries(const Talk *t, uint32_t at, const NbdExport *e, bool list, uint64_t *found)
{
    uint32_t n = get_be32(t->data + at), size;

    at += 4;
    *found = 0;
    if (list && n == 0)
        for (unsigned i = 0; i < context_count(e); i++)
            *found |= i == CONTEXT_DEPTH && !e->allocation_depth ? 0 : BIT(i);
    for (; n; n--) {
        const char *query = take_string(t, &at, &size);

        if (!query)
            return false;
        *found |= context_match(e, query, size, list);
    }
    return at == t->size;
}

static Next option_contexts(Talk *t)
{
    bool list = t->option == NBD_OPT_LIST_META_CONTEXT, ok = true;
    uint32_t at = 0;
    AUTO_FREE char *name = take_name(t, &at);
    uint64_t found = 0;
    NbdExport *e;

    if (!list)
        forget_contexts(t);
    if (!t->out->structured)
        return refuse(t, NBD_ERR_INVALID, "request option 'structured replies' first");
    if (!name || t->size - at < 4)
        return refuse(t, NBD_ERR_INVALID, "bad length of an export name");
    if (!(e = export_use(t->server, name)))
        return refuse(t, NBD_ERR_UNKNOWN, "export '%.200s' not present", name);
    if (!read_queries(t, at, e, list, &found)) {
        export_unuse(e);
        return refuse(t, NBD_ERR_INVALID, "bad length of a query");
    }
    for (uint64_t left = found; left && ok; left &= left - 1)
        ok = send_context(t, e, (unsigned)__builtin_ctzll(left), list);
    if (list || !found || !ok) {
        export_unuse(e);
    } else {
        t->out->contexts = found;
        t->context_export = e;
    }
    return ok ? reply_ack(t) : HANG_UP;
}

/* --- the rest --- */

static Next option_starttls(Talk *t)
{
    NbdServer *s = t->server;

    if (t->size)
        return refuse(t, NBD_ERR_INVALID, "STARTTLS takes no data");
    if (t->stream->tls)
        return refuse(t, NBD_ERR_INVALID, "TLS already enabled");
    if (!s->o.creds)
        return refuse(t, NBD_ERR_POLICY, "TLS not configured");
    if (reply_ack(t) != GO_ON || !nbd_stream_start_tls(t->stream, s->o.creds, NULL, NULL))
        return HANG_UP;
    /* What was agreed on in the clear does not count any more. */
    forget_contexts(t);
    t->out->structured = false;
    return server_admits(s, tls_peer_name(t->stream->tls)) ? GO_ON : HANG_UP;
}

static Next option_structured(Talk *t)
{
    if (t->size)
        return refuse(t, NBD_ERR_INVALID, "STRUCTURED_REPLY takes no data");
    t->out->structured = true;
    return reply_ack(t);
}

static Next option_handle(Talk *t)
{
    bool need_tls = t->server->o.creds && !t->server->o.tls_optional && !t->stream->tls;

    if (t->option == NBD_OPT_ABORT) {
        reply_ack(t);
        return HANG_UP;
    }
    if (need_tls && t->option != NBD_OPT_STARTTLS)
        return t->option == NBD_OPT_EXPORT_NAME
                   ? HANG_UP
                   : refuse(t, NBD_ERR_TLS_REQD, "Option 0x%x not permitted before TLS", t->option);
    if (!t->fixed && t->option != NBD_OPT_EXPORT_NAME)
        return HANG_UP;
    switch (t->option) {
    case NBD_OPT_EXPORT_NAME: return option_export_name(t);
    case NBD_OPT_LIST: return option_list(t);
    case NBD_OPT_STARTTLS: return option_starttls(t);
    case NBD_OPT_INFO:
    case NBD_OPT_GO: return option_go(t);
    case NBD_OPT_STRUCTURED_REPLY: return option_structured(t);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT: return option_contexts(t);
    default: return refuse(t, NBD_ERR_UNSUP, "Unsupported option 0x%x", t->option);
    }
}

/* Read one option and answer it. */
static Next option_next(Talk *t)
{
    uint8_t head[16];
    Next next = HANG_UP;

    if (nbd_stream_read(t->stream, head, sizeof head) < 0 || get_be64(head) != NBD_OPTION_MAGIC)
        return HANG_UP;
    t->option = get_be32(head + 8);
    t->size = get_be32(head + 12);
    if (t->size > NBD_MAX_PAYLOAD)
        return HANG_UP;
    if (t->size > OPTION_MAX)
        return nbd_stream_skip(t->stream, t->size) == 0
                   ? refuse(t, NBD_ERR_TOO_BIG, "option has %u bytes", t->size)
                   : HANG_UP;
    t->data = xalloc(t->size + 1);
    if (nbd_stream_read(t->stream, t->data, t->size) == 0)
        next = option_handle(t);
    xfree(t->data);
    return next;
}

bool handshake(NbdServer *s, NbdStream *stream, Chosen *out)
{
    Talk t = {.server = s, .stream = stream, .out = out};
    uint8_t hello[18], answer[4];
    Next next = GO_ON;

    put_be64(hello, NBD_MAGIC);
    put_be64(hello + 8, NBD_OPTION_MAGIC);
    put_be16(hello + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    if (nbd_stream_write(stream, hello, sizeof hello) < 0 ||
        nbd_stream_read(stream, answer, sizeof answer) < 0 ||
        get_be32(answer) & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES))
        return false;
    t.fixed = get_be32(answer) & NBD_FIXED_NEWSTYLE;
    t.no_zeroes = get_be32(answer) & NBD_NO_ZEROES;
    for (unsigned i = 0; next == GO_ON && i < OPTIONS_MAX; i++)
        next = option_next(&t);
    if (next != READY)
        forget_contexts(&t);
    return next == READY;
}
