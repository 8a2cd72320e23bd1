/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text - character devices as users write them: -chardev's list, and the older
 * "tcp:host:port,server" */
#include <stdio.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "base/socket_addr.h"
#include "chardev/chardev.h"

bool chardev_add_text(Chardevs *set, const char *text, Error *err)
{
    json_t *j = opts_json_parse(text, "backend", KEYVAL_FLAGS, NULL, err);
    bool ok = j && chardev_add_json(set, j, err);

    json_decref(j);
    return ok;
}

/* --- the older form --- */

static json_t *kind_only(const char *kind)
{
    return json_pack("{s:s}", "backend", kind);
}

static json_t *kind_path(const char *kind, const char *path)
{
    return json_pack("{s:s, s:s}", "backend", kind, "path", path);
}

/* What follows the address: ",server,nowait,...". */
static bool add_options(json_t *j, const char *text, Error *err)
{
    json_t *more = opts_json_parse(*text == ',' ? text + 1 : text, NULL, KEYVAL_FLAGS, NULL, err);

    if (more)
        json_object_update(j, more);
    json_decref(more);
    return more != NULL;
}

/* "[v6]:port" or "host:port" up to one of @ends: what follows it; NULL: it is not one. */
static const char *take_host_port(json_t *j, const char *text, const char *host_key,
                                  const char *port_key, const char *ends)
{
    AUTO_FREE char *host = NULL, *port = NULL;
    const char *at;

    if (*text == '[') {
        at = strchr(text, ']');
        if (!at)
            return NULL;
        host = xasprintf("%.*s", (int)(at - text - 1), text + 1);
        at++;
    } else {
        at = text + strcspn(text, ":");
        host = xasprintf("%.*s", (int)(at - text), text);
    }
    if (*at != ':')
        return NULL;
    at++;
    port = xasprintf("%.*s", (int)strcspn(at, ends), at);
    if (!*port)
        return NULL;
    json_object_set_new(j, host_key, json_string(host));
    json_object_set_new(j, port_key, json_string(port));
    return at + strlen(port);
}

static json_t *parse_tcp(const char *text, const char *flag, Error *err)
{
    json_t *j = kind_only("socket");
    const char *rest = take_host_port(j, text, "host", "port", ",");

    if (flag)
        json_object_set_new(j, flag, json_string("on"));
    if (rest && add_options(j, rest, err))
        return j;
    if (!rest)
        error_set(err, "'%s' is not host:port", text);
    json_decref(j);
    return NULL;
}

static json_t *parse_unix(const char *text, Error *err)
{
    AUTO_FREE char *path = xasprintf("%.*s", (int)strcspn(text, ","), text);
    json_t *j = kind_path("socket", path);

    if (add_options(j, text + strlen(path), err))
        return j;
    json_decref(j);
    return NULL;
}

/* host:port[@localhost:localport] */
static json_t *parse_udp(const char *text, Error *err)
{
    json_t *j = kind_only("udp");
    const char *rest = take_host_port(j, text, "host", "port", "@,");

    if (rest && *rest == '@')
        rest = take_host_port(j, rest + 1, "localaddr", "localport", ",");
    if (rest && add_options(j, rest, err))
        return j;
    if (!rest)
        error_set(err, "'%s' is not host:port[@localhost:localport]", text);
    json_decref(j);
    return NULL;
}

/* vc[:WIDTHxHEIGHT] is a kind that chardev_add_json refuses by its name. */
static json_t *parse_kind(const char *text)
{
    static const char *const plain[] = {"null",    "pty",   "msmouse", "wctablet",
                                        "braille", "stdio", "testdev", "vc"};
    static const struct {
        const char *prefix, *kind;
    } paths[] = {{"file:", "file"}, {"pipe:", "pipe"}, {"/dev/parport", "parallel"}};

    for (unsigned i = 0; i < COUNT_OF(plain); i++)
        if (!strcmp(text, plain[i]))
            return kind_only(plain[i]);
    for (unsigned i = 0; i < COUNT_OF(paths); i++)
        if (!strncmp(text, paths[i].prefix, strlen(paths[i].prefix)))
            return kind_path(paths[i].kind,
                             paths[i].prefix[0] == '/' ? text : text + strlen(paths[i].prefix));
    if (!strncmp(text, "vc:", 3))
        return kind_only("vc");
    if (!strncmp(text, "con:", 4))
        return kind_only("console");
    return *text == '/' ? kind_path("serial", text) : NULL;
}

json_t *chardev_parse_compat(const char *text, bool *monitor, Error *err)
{
    static const struct {
        const char *prefix, *flag;
    } tcp[] = {
        {"tcp:", NULL}, {"telnet:", "telnet"}, {"tn3270:", "tn3270"}, {"websocket:", "websocket"}};
    bool mon = !strncmp(text, "mon:", 4);
    json_t *j;

    if (monitor)
        *monitor = mon;
    text += mon ? 4 : 0;
    j = parse_kind(text);
    if (!j && !strncmp(text, "unix:", 5))
        j = parse_unix(text + 5, err);
    else if (!j && !strncmp(text, "udp:", 4))
        j = parse_udp(text + 4, err);
    else
        for (unsigned i = 0; !j && i < COUNT_OF(tcp); i++)
            if (!strncmp(text, tcp[i].prefix, strlen(tcp[i].prefix)))
                j = parse_tcp(text + strlen(tcp[i].prefix), tcp[i].flag, err);
    if (!j) {
        if (err && !err->msg[0])
            error_set(err,
                      "'%s' is not a character device (stdio, pty, null, file:PATH, pipe:PATH, "
                      "unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, udp:HOST:PORT, chardev:ID)",
                      text);
        return NULL;
    }
    if (mon) {
        json_object_set_new(j, "mux", json_true());
        if (!strcmp(text, "stdio")) /* Ctrl-C is the guest's */
            json_object_set_new(j, "signal", json_false());
    }
    return j;
}

char *chardev_add_compat(Chardevs *set, const char *text, const char *id, bool *monitor, Error *err)
{
    json_t *j;
    bool ok;

    if (!strncmp(text, "chardev:", 8)) {
        *monitor = false;
        if (chardev_exists(set, text + 8))
            return xstrdup(text + 8);
        error_set(err, "chardev \"%s\" not found", text + 8);
        return NULL;
    }
    j = chardev_parse_compat(text, monitor, err);
    if (!j)
        return NULL;
    json_object_set_new(j, "id", json_string(id));
    ok = chardev_add_json(set, j, err);
    json_decref(j);
    return ok ? xstrdup(id) : NULL;
}
