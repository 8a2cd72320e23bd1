/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_negotiate - the client's side of the NBD handshake (proto.md, "Protocol phases"): fixed
 * newstyle with GO, older newstyle with EXPORT_NAME, oldstyle
 *
 * The server may be hostile: lengths are checked before anything is read, lists are capped.
 */
#include "block/nbd_negotiate.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"

enum { LIST_MAX = 1024, REPLY_MAX = 64 << 10, CONTEXTS_MAX = 256 };

typedef struct Reply {
    uint32_t type, size;
    uint8_t *data; /* one NUL behind it; the caller frees */
} Reply;

static bool io_failed(Error *err, int rc, const char *what)
{
    if (rc == -ECONNRESET)
        return error_set(err, "Failed to read %s: Unexpected end-of-file before all data were read",
                         what);
    return error_set_errno(err, -rc, "Failed to read %s", what);
}

static bool option_send(NbdStream *s, uint32_t option, const void *data, size_t size, Error *err)
{
    uint8_t head[16];
    int rc;

    put_be64(head, NBD_OPTION_MAGIC);
    put_be32(head + 8, option);
    put_be32(head + 12, (uint32_t)size);
    rc = nbd_stream_write(s, head, sizeof head);
    if (rc == 0 && size)
        rc = nbd_stream_write(s, data, size);
    return rc == 0 || error_set_errno(err, -rc, "Failed to send option request header");
}

static bool reply_read(NbdStream *s, uint32_t option, Reply *r, Error *err)
{
    uint8_t head[20];
    int rc = nbd_stream_read(s, head, sizeof head);

    r->data = NULL;
    if (rc < 0)
        return io_failed(err, rc, "option reply");
    if (get_be64(head) != NBD_OPTION_REPLY_MAGIC)
        return error_set(err, "Unexpected option reply magic");
    if (get_be32(head + 8) != option)
        return error_set(err, "Unexpected option type %u, expected %u", get_be32(head + 8), option);
    r->type = get_be32(head + 12);
    r->size = get_be32(head + 16);
    if (r->size > REPLY_MAX)
        return error_set(err, "option reply of %u bytes is too long", r->size);
    r->data = xalloc(r->size + 1);
    if ((rc = nbd_stream_read(s, r->data, r->size)) == 0)
        return true;
    xfree(r->data);
    r->data = NULL;
    return io_failed(err, rc, "option reply");
}

static bool reply_is_error(const Reply *r)
{
    return r->type & NBD_REP_ERROR;
}

/* What an error reply says, in words. */
static bool reply_refused(const Reply *r, uint32_t option, Error *err)
{
    static const char *const reasons[] = {
        [NBD_ERR_UNSUP] = "Unsupported option",
        [NBD_ERR_POLICY] = "Denied by server",
        [NBD_ERR_INVALID] = "Invalid parameters",
        [NBD_ERR_PLATFORM] = "Server lacks support",
        [NBD_ERR_TLS_REQD] = "Server requires TLS; did you forget a valid tls-creds?",
        [NBD_ERR_UNKNOWN] = "Requested export not available",
        [NBD_ERR_SHUTDOWN] = "Server shutting down",
        [NBD_ERR_BLOCK_SIZE_REQD] = "Server requires INFO_BLOCK_SIZE",
        [NBD_ERR_TOO_BIG] = "Request too big",
    };
    uint32_t code = r->type & ~NBD_REP_ERROR;
    const char *reason = code < COUNT_OF(reasons) ? reasons[code] : NULL;
    char text[160] = "";
    size_t n = 0;

    for (const uint8_t *p = r->data; *p && n < sizeof text - 1; p++)
        text[n++] = *p >= ' ' && *p != 127 ? (char)*p : '?'; /* it goes to a terminal */
    return error_set(err, "%s (option %u)%s%s", reason ? reason : "Unknown error reply", option,
                     n ? "; server reported: " : "", text);
}

/* An option that is answered by ACK or an error.  1: acknowledged, 0: refused, -1: failed. */
static int option_simple(NbdStream *s, uint32_t option, Error *err)
{
    Reply r;
    int rc = -1;

    if (!option_send(s, option, NULL, 0, err) || !reply_read(s, option, &r, err))
        return -1;
    if (r.type == NBD_REP_ACK && r.size == 0)
        rc = 1;
    else if (reply_is_error(&r)) {
        rc = 0;
        reply_refused(&r, option, err);
    } else
        error_set(err, "Unexpected reply type %u to option %u", r.type, option);
    xfree(r.data);
    return rc;
}

static bool start_tls(NbdStream *s, const NbdWant *want, Error *err)
{
    return option_simple(s, NBD_OPT_STARTTLS, err) == 1 &&
           nbd_stream_start_tls(s, want->creds, want->hostname, err);
}

/* --- metadata contexts --- */

static size_t put_string(uint8_t *p, const char *text)
{
    size_t n = strlen(text);

    put_be32(p, (uint32_t)n);
    memcpy(p + 4, text, n);
    return 4 + n;
}

/* LIST or SET_META_CONTEXT of @export with one query, or none if @query is NULL. */
static bool context_send(NbdStream *s, uint32_t option, const char *export, const char *query,
                         Error *err)
{
    AUTO_FREE uint8_t *data = xalloc(12 + strlen(export) + (query ? strlen(query) : 0));
    size_t n = put_string(data, export);

    put_be32(data + n, query ? 1 : 0);
    n += 4;
    if (query)
        n += put_string(data + n, query);
    return option_send(s, option, data, n, err);
}

/* Ask for one context.  A server that does not know it is no failure. */
static bool context_choose(NbdStream *s, const NbdWant *want, NbdInfo *out, Error *err)
{
    Reply r;
    bool more = true, ok = true;

    if (!context_send(s, NBD_OPT_SET_META_CONTEXT, want->export, want->context, err))
        return false;
    while (ok && more) {
        if (!reply_read(s, NBD_OPT_SET_META_CONTEXT, &r, err))
            return false;
        if (r.type == NBD_REP_ACK || reply_is_error(&r)) {
            more = false;
        } else if (r.type != NBD_REP_META_CONTEXT || r.size < 4) {
            ok = error_set(err, "Unexpected reply type %u to option SET_META_CONTEXT", r.type);
        } else if (out->has_context || strcmp((char *)r.data + 4, want->context)) {
            ok = error_set(err, "Server replied with wrong metadata context, expected '%s'",
                           want->context);
        } else {
            out->has_context = true;
            out->context_id = get_be32(r.data);
        }
        xfree(r.data);
    }
    return ok;
}

/* --- choosing an export --- */

static bool info_take(const Reply *r, NbdInfo *out, bool *has_export, char **description,
                      Error *err)
{
    if (r->size < 2)
        return error_set(err, "invalid length for info reply");
    switch (get_be16(r->data)) {
    case NBD_INFO_EXPORT:
        if (r->size != 12)
            return error_set(err, "invalid length for NBD_INFO_EXPORT");
        out->size = get_be64(r->data + 2);
        out->flags = get_be16(r->data + 10);
        *has_export = true;
        return true;
    case NBD_INFO_BLOCK_SIZE:
        if (r->size != 14)
            return error_set(err, "invalid length for NBD_INFO_BLOCK_SIZE");
        out->min_block = get_be32(r->data + 2);
        out->preferred_block = get_be32(r->data + 6);
        out->max_block = get_be32(r->data + 10);
        if (!out->min_block || out->min_block > 65536 || (out->min_block & (out->min_block - 1)))
            return error_set(err, "server minimum block size %u is not a power of two up to 64 KiB",
                             out->min_block);
        if (!out->preferred_block || (out->preferred_block & (out->preferred_block - 1)) ||
            out->preferred_block < out->min_block)
            return error_set(err, "server preferred block size %u is not valid",
                             out->preferred_block);
        if (out->max_block < out->min_block)
            return error_set(err, "server maximum block size %u is below the minimum",
                             out->max_block);
        return true;
    case NBD_INFO_DESCRIPTION:
        if (description && !*description)
            *description = xstrdup((char *)r->data + 2);
        return true;
    default: return true;
    }
}

/* GO or INFO.  1: done, 0: the server does not know the option, -1: failed. */
static int export_go(NbdStream *s, uint32_t option, const char *name, NbdInfo *out,
                     char **description, Error *err)
{
    AUTO_FREE uint8_t *data = xalloc(strlen(name) + 12);
    size_t n = put_string(data, name);
    bool has_export = false;
    int rc = 2; /* goes on */
    Reply r;

    put_be16(data + n, 1);
    put_be16(data + n + 2, NBD_INFO_BLOCK_SIZE);
    if (description) {
        put_be16(data + n, 2);
        put_be16(data + n + 4, NBD_INFO_DESCRIPTION);
    }
    if (!option_send(s, option, data, n + (description ? 6 : 4), err))
        return -1;
    for (unsigned i = 0; rc == 2; i++) {
        if (!reply_read(s, option, &r, err))
            return -1;
        if (r.type == NBD_REP_ACK) {
            rc = has_export ? 1 : -1;
            if (rc < 0)
                error_set(err, "server did not describe the export");
        } else if (r.type == NBD_REP_INFO && i < REPLY_MAX / 64) {
            rc = info_take(&r, out, &has_export, description, err) ? 2 : -1;
        } else if (reply_is_error(&r)) {
            rc = r.type == (NBD_REP_ERROR | NBD_ERR_UNSUP) ? 0 : -1;
            reply_refused(&r, option, err);
        } else {
            error_set(err, "Unexpected reply type %u to option GO", r.type);
            rc = -1;
        }
        xfree(r.data);
    }
    return rc;
}

/* EXPORT_NAME: a server that does not like the name just hangs up. */
static bool export_name(NbdStream *s, const char *name, bool zeroes, NbdInfo *out, Error *err)
{
    uint8_t data[10];
    int rc;

    if (!option_send(s, NBD_OPT_EXPORT_NAME, name, strlen(name), err))
        return false;
    if ((rc = nbd_stream_read(s, data, sizeof data)) < 0)
        return io_failed(err, rc, "export length (is there such an export?)");
    out->size = get_be64(data);
    out->flags = get_be16(data + 8);
    if (zeroes && (rc = nbd_stream_skip(s, 124)) < 0)
        return io_failed(err, rc, "reserved block");
    return true;
}

/* --- hello --- */

typedef enum Style { STYLE_FAILED, STYLE_OLD, STYLE_NEW, STYLE_FIXED } Style;

static Style hello(NbdStream *s, const NbdWant *want, bool *zeroes, Error *err)
{
    uint8_t head[16], word[4];
    uint16_t flags;
    uint32_t answer = 0;
    int rc;

    if ((rc = nbd_stream_read(s, head, sizeof head)) < 0)
        return io_failed(err, rc, "initial magic"), STYLE_FAILED;
    if (get_be64(head) != NBD_MAGIC)
        return error_set(err, "Bad initial magic received: 0x%016" PRIx64, get_be64(head)),
               STYLE_FAILED;
    if (get_be64(head + 8) == NBD_OLDSTYLE_MAGIC) {
        if (want->creds)
            return error_set(err, "Server does not support STARTTLS"), STYLE_FAILED;
        return STYLE_OLD;
    }
    if (get_be64(head + 8) != NBD_OPTION_MAGIC)
        return error_set(err, "Bad server magic received: 0x%016" PRIx64, get_be64(head + 8)),
               STYLE_FAILED;
    if ((rc = nbd_stream_read(s, word, 2)) < 0)
        return io_failed(err, rc, "server flags"), STYLE_FAILED;
    flags = get_be16(word);
    if (flags & NBD_FIXED_NEWSTYLE)
        answer |= NBD_FIXED_NEWSTYLE;
    if (flags & NBD_NO_ZEROES)
        answer |= NBD_NO_ZEROES;
    *zeroes = !(flags & NBD_NO_ZEROES);
    put_be32(word, answer);
    if ((rc = nbd_stream_write(s, word, 4)) < 0)
        return error_set_errno(err, -rc, "Failed to send clientflags field"), STYLE_FAILED;
    if (want->creds && !(flags & NBD_FIXED_NEWSTYLE))
        return error_set(err, "Server does not support STARTTLS"), STYLE_FAILED;
    if (want->creds && !start_tls(s, want, err))
        return STYLE_FAILED;
    return flags & NBD_FIXED_NEWSTYLE ? STYLE_FIXED : STYLE_NEW;
}

static bool oldstyle(NbdStream *s, const NbdWant *want, NbdInfo *out, Error *err)
{
    uint8_t data[12];
    int rc;

    if (*want->export)
        return error_set(err, "Server does not support non-empty export names");
    if ((rc = nbd_stream_read(s, data, sizeof data)) < 0 || (rc = nbd_stream_skip(s, 124)) < 0)
        return io_failed(err, rc, "export length");
    out->size = get_be64(data);
    out->flags = get_be16(data + 10);
    return true;
}

static bool fixed_newstyle(NbdStream *s, const NbdWant *want, bool zeroes, NbdInfo *out, Error *err)
{
    int rc = option_simple(s, NBD_OPT_STRUCTURED_REPLY, err);

    if (rc < 0)
        return false;
    out->structured = rc;
    if (rc && want->context && !context_choose(s, want, out, err))
        return false;
    if ((rc = export_go(s, NBD_OPT_GO, want->export, out, NULL, err)))
        return rc > 0;
    return export_name(s, want->export, zeroes, out, err);
}

bool nbd_negotiate(NbdStream *s, const NbdWant *want, NbdInfo *out, Error *err)
{
    bool zeroes = true, ok = false;

    memset(out, 0, sizeof *out);
    if (strlen(want->export) > NBD_MAX_STRING)
        return error_set(err, "export name is longer than %d bytes", NBD_MAX_STRING);
    switch (hello(s, want, &zeroes, err)) {
    case STYLE_FAILED: return false;
    case STYLE_OLD: ok = oldstyle(s, want, out, err); break;
    case STYLE_NEW: ok = export_name(s, want->export, zeroes, out, err); break;
    case STYLE_FIXED: ok = fixed_newstyle(s, want, zeroes, out, err); break;
    }
    if (!ok)
        return false;
    if (!(out->flags & NBD_HAS_FLAGS))
        out->flags &= NBD_READ_ONLY;
    if (out->size > INT64_MAX)
        return error_set(err, "export size %" PRIu64 " is too large", out->size);
    return true;
}

/* --- list --- */

static bool list_names(NbdStream *s, NbdListed *list, unsigned *n, Error *err)
{
    Reply r;
    bool more = true, ok = true;

    if (!option_send(s, NBD_OPT_LIST, NULL, 0, err))
        return false;
    while (more && ok) {
        if (!reply_read(s, NBD_OPT_LIST, &r, err))
            return false;
        if (r.type == NBD_REP_ACK) {
            more = false;
        } else if (r.type != NBD_REP_SERVER) {
            ok = reply_is_error(&r)
                     ? reply_refused(&r, NBD_OPT_LIST, err)
                     : error_set(err, "Unexpected reply type %u to option LIST", r.type);
        } else {
            uint32_t size = r.size >= 4 ? get_be32(r.data) : UINT32_MAX;

            if (size > NBD_MAX_STRING || size > r.size - 4 || *n == LIST_MAX) {
                ok = error_set(err, "incorrect option name length, or more than %d exports",
                               LIST_MAX);
            } else {
                list[*n].name = xalloc(size + 1);
                memcpy(list[*n].name, r.data + 4, size);
                list[*n].description =
                    r.size - 4 > size ? xstrdup((char *)r.data + 4 + size) : NULL;
                ++*n;
            }
        }
        xfree(r.data);
    }
    return ok;
}

static bool list_contexts(NbdStream *s, NbdListed *l, Error *err)
{
    Reply r;
    bool more = true;

    if (!context_send(s, NBD_OPT_LIST_META_CONTEXT, l->name, NULL, err))
        return false;
    l->contexts = xnew_n(char *, CONTEXTS_MAX);
    for (unsigned i = 0; more && i < 2 * CONTEXTS_MAX; i++) {
        if (!reply_read(s, NBD_OPT_LIST_META_CONTEXT, &r, err))
            return false;
        if (r.type != NBD_REP_META_CONTEXT || r.size < 4)
            more = false;
        else if (l->n_contexts < CONTEXTS_MAX)
            l->contexts[l->n_contexts++] = xstrdup((char *)r.data + 4);
        xfree(r.data);
    }
    return !more || error_set(err, "server names too many metadata contexts");
}

static bool list_details(NbdStream *s, NbdListed *list, unsigned n, bool structured, Error *err)
{
    for (unsigned i = 0; i < n; i++) {
        int rc = export_go(s, NBD_OPT_INFO, list[i].name, &list[i].info, &list[i].description, err);

        if (rc < 0)
            return false;
        list[i].has_info = rc;
        list[i].info.structured = structured;
        if (structured && !list_contexts(s, &list[i], err))
            return false;
    }
    option_send(s, NBD_OPT_ABORT, NULL, 0, NULL);
    return true;
}

bool nbd_negotiate_list(NbdStream *s, const NbdWant *want, NbdListed **out, unsigned *n, Error *err)
{
    NbdListed *list = xnew_n(NbdListed, LIST_MAX);
    bool zeroes, ok = false;
    int rc;

    *n = 0;
    switch (hello(s, want, &zeroes, err)) {
    case STYLE_FAILED: break;
    case STYLE_OLD:
        list[0].name = xstrdup("");
        *n = 1;
        ok = list[0].has_info = oldstyle(s, want, &list[0].info, err);
        break;
    case STYLE_NEW: error_set(err, "Server does not support export lists"); break;
    case STYLE_FIXED:
        rc = option_simple(s, NBD_OPT_STRUCTURED_REPLY, err);
        ok = rc >= 0 && list_names(s, list, n, err) && list_details(s, list, *n, rc, err);
        break;
    }
    *out = list;
    if (!ok) {
        nbd_listed_free(list, *n);
        *out = NULL;
        *n = 0;
    }
    return ok;
}

void nbd_listed_free(NbdListed *l, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (unsigned c = 0; c < l[i].n_contexts; c++)
            xfree(l[i].contexts[c]);
        xfree(l[i].contexts);
        xfree(l[i].name);
        xfree(l[i].description);
    }
    xfree(l);
}
