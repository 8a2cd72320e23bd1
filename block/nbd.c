/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd - disks on NBD servers: the protocol driver, its options and file names (doc/uri.md of the
 * NBD project; "nbd:host:port:exportname=x", "nbd:unix:path:exportname=x")
 *
 * The connection is block/nbd_client.c's.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "base/socket_addr_type.h"
#include "block/block.h"
#include "block/nbd_client.h"
#include "io/secret.h"

typedef struct NbdOptions {
    json_t *server;
    char *host, *port, *path; /* older spellings of server */
    char *export, *tls_creds, *tls_hostname, *dirty_bitmap;
    uint32_t reconnect_delay, open_timeout;
} NbdOptions;

static const Field nbd_fields[] = {
    {.name = "server",
     .type = &socket_address_type,
     .doc = "address of the server: server.type=inet|unix|fd, ...",
     .at = offsetof(NbdOptions, server),
     .count = 1,
     .use = FIELD_PROP},
    PROP_STR(NbdOptions, host, "host", NULL, "TCP host to connect to"),
    PROP_STR(NbdOptions, port, "port", NULL, "TCP port to connect to (default 10809)"),
    PROP_STR(NbdOptions, path, "path", NULL, "Unix socket path to connect to"),
    PROP_STR(NbdOptions, export, "export", NULL, "Name of the NBD export to open"),
    PROP_STR(NbdOptions, tls_creds, "tls-creds", NULL, "ID of the TLS credentials to use"),
    PROP_STR(NbdOptions, tls_hostname, "tls-hostname", NULL,
             "Override hostname for validating TLS x509 certificate"),
    PROP_STR(NbdOptions, dirty_bitmap, "x-dirty-bitmap", NULL,
             "experimental: expose named dirty bitmap in place of block status"),
    PROP(NbdOptions, reconnect_delay, "reconnect-delay", 0,
         "Seconds for which requests wait for a lost connection to come back"),
    PROP(NbdOptions, open_timeout, "open-timeout", 0,
         "Seconds for which opening tries to connect; 0: once"),
};
static STRUCT_TYPE(nbd_type, NbdOptions, nbd_fields);

typedef struct Nbd {
    SocketAddr addr;
    char *export, *context, *hostname, *name;
    TlsCreds *creds;
    NbdClient *client;
} Nbd;

/* --- file names --- */

/* %XX in place; false: bad. */
static bool percent_decode(char *s)
{
    char *to = s;

    for (; *s; s++) {
        char hex[3] = {0};

        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        if (!isxdigit((unsigned char)s[1]) || !isxdigit((unsigned char)s[2]))
            return false;
        memcpy(hex, s + 1, 2);
        *to = (char)strtoul(hex, NULL, 16);
        if (!*to++)
            return false;
        s += 2;
    }
    *to = 0;
    return true;
}

static void set_text(json_t *o, const char *key, const char *value)
{
    json_object_set_new(o, key, json_string(value));
}

static void set_inet(json_t *o, const char *host, const char *port)
{
    json_object_set_new(o, "server",
                        json_pack("{s:s, s:s, s:s}", "type", "inet", "host",
                                  *host ? host : "localhost", "port",
                                  port && *port ? port : "10809"));
}

static void set_unix(json_t *o, const char *path)
{
    json_object_set_new(o, "server", json_pack("{s:s, s:s}", "type", "unix", "path", path));
}

/* "host:port" or "[v6]:port" in place. */
static bool split_host(char *s, char **host, char **port)
{
    char *end;

    *host = s;
    if (*s == '[') {
        ++*host;
        if (!(end = strchr(s, ']')))
            return false;
        *end++ = 0;
        if (*end && *end != ':')
            return false;
    } else {
        end = s + strcspn(s, ":");
    }
    *port = *end ? end + 1 : NULL;
    *end = 0;
    return true;
}

/* nbd[+tcp|+unix]://[host[:port]][/export][?socket=path] */
static bool parse_uri(char *uri, json_t *o, Error *err)
{
    bool is_unix = !strncmp(uri, "nbd+unix:", 9);
    char *authority = strstr(uri, "://") + 3, *query, *path, *host, *port;

    if (!is_unix && strncmp(uri, "nbd:", 4) && strncmp(uri, "nbd+tcp:", 8))
        return error_set(err, "'%s' is not an NBD URI (nbd://, nbd+tcp://, nbd+unix://)", uri);
    if ((query = strchr(authority, '?')))
        *query++ = 0;
    if ((path = strchr(authority, '/')))
        *path++ = 0;
    if (path && !percent_decode(path))
        return error_set(err, "bad %% escape in the export name of an NBD URI");
    if (path && *path)
        set_text(o, "export", path);
    if (is_unix) {
        if (*authority || !query || strncmp(query, "socket=", 7) || !percent_decode(query + 7))
            return error_set(err, "an nbd+unix URI is nbd+unix:///export?socket=path");
        set_unix(o, query + 7);
        return true;
    }
    if (query || !split_host(authority, &host, &port) || !percent_decode(host))
        return error_set(err, "an nbd URI is nbd://host:port/export");
    set_inet(o, host, port);
    return true;
}

static bool nbd_parse_filename(const char *filename, json_t *o, Error *err)
{
    AUTO_FREE char *s = xstrdup(filename);
    char *export, *host, *port;

    if (strstr(s, "://"))
        return parse_uri(s, o, err);
    if (strncmp(s, "nbd:", 4))
        return error_set(err, "File name string for new protocol must start with 'nbd:'");
    if ((export = strstr(s, ":exportname="))) {
        *export = 0;
        export += strlen(":exportname=");
        if (*export)
            set_text(o, "export", export);
    }
    if (!strncmp(s + 4, "unix:", 5)) {
        set_unix(o, s + 9);
        return true;
    }
    if (!split_host(s + 4, &host, &port) || !port || !*port)
        return error_set(err, "'%s': expected nbd:host:port or nbd:unix:path", filename);
    set_inet(o, host, port);
    return true;
}

/* --- open --- */

static bool take_address(Nbd *s, const NbdOptions *o, Error *err)
{
    if (!!o->server + !!o->host + !!o->path != 1)
        return error_set(err, o->server || o->host || o->path
                                  ? "Only one of 'server', 'path' and 'host' may be used"
                                  : "NBD server address missing");
    socket_addr_init(&s->addr);
    if (o->server)
        return socket_addr_from_json(&s->addr, o->server, err);
    s->addr.kind = o->path ? SOCKET_UNIX : SOCKET_INET;
    s->addr.path = xstrdup(o->path);
    s->addr.host = xstrdup(o->host);
    s->addr.port = xstrdup(o->port ? o->port : "10809");
    return true;
}

static bool take_options(BlockNode *n, const NbdOptions *o, Error *err)
{
    Nbd *s = n->state;
    AUTO_FREE char *address = NULL;
    const char *at = o->export ? o->export : "";

    if (!take_address(s, o, err))
        return false;
    s->export = xstrdup(at);
    s->context = xstrdup(o->dirty_bitmap ? o->dirty_bitmap : "base:allocation");
    if (strlen(s->context) > NBD_MAX_STRING)
        return error_set(err, "x-dirty-bitmap is longer than %d bytes", NBD_MAX_STRING);
    if (o->tls_creds &&
        !(s->creds = tls_creds_find(graph_objects(n->graph), o->tls_creds, false, err)))
        return false;
    if (o->tls_hostname && !o->tls_creds)
        return error_set(err, "tls-hostname needs tls-creds");
    s->hostname = xstrdup(o->tls_hostname               ? o->tls_hostname
                          : s->addr.kind == SOCKET_INET ? s->addr.host
                                                        : NULL);
    address = socket_addr_text(&s->addr);
    s->name = s->addr.kind == SOCKET_UNIX
                  ? xasprintf("nbd+unix://%s%s?socket=%s", *at ? "/" : "", at, s->addr.path)
                  : xasprintf("nbd://%s%s%s", address, *at ? "/" : "", at);
    return true;
}

static bool nbd_open(BlockNode *n, const void *options, Error *err)
{
    const NbdOptions *o = options;
    Nbd *s = n->state;
    const NbdInfo *info;

    if (!take_options(n, o, err))
        return false;
    s->client = nbd_client_new(&(NbdClientOptions){.addr = &s->addr,
                                                   .name = s->name,
                                                   .export = s->export,
                                                   .context = s->context,
                                                   .creds = s->creds,
                                                   .hostname = s->hostname,
                                                   .reconnect_delay = o->reconnect_delay,
                                                   .open_timeout = o->open_timeout},
                               err);
    if (!s->client)
        return false;
    info = nbd_client_info(s->client);
    if (info->flags & NBD_READ_ONLY && !node_is_read_only(n)) {
        if (!(n->flags & NODE_AUTO_READ_ONLY))
            return error_set(err, "request on write denied without write permission: the export is "
                                  "read-only");
        n->flags |= NODE_READ_ONLY;
    }
    if (o->dirty_bitmap && !info->has_context)
        return error_set(err, "requested x-dirty-bitmap %s not found", o->dirty_bitmap);
    if (info->min_block && info->size % info->min_block)
        return error_set(err, "export size %" PRIu64 " is not a multiple of minimum block size %u",
                         info->size, info->min_block);
    n->size = info->size;
    n->request_align = info->min_block > 1 ? info->min_block : 1;
    n->filename = n->filename ? n->filename : xstrdup(s->name);
    return true;
}

static void nbd_close(BlockNode *n)
{
    Nbd *s = n->state;

    nbd_client_free(s->client);
    tls_creds_unref(s->creds);
    socket_addr_free(&s->addr);
    xfree(s->export);
    xfree(s->context);
    xfree(s->hostname);
    xfree(s->name);
    memset(s, 0, sizeof *s);
}

/* --- requests --- */

static void nbd_submit(BlockNode *n, BlockReq *r)
{
    nbd_client_submit(((Nbd *)n->state)->client, r);
}

static int nbd_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out)
{
    int rc;

    if (at >= n->size) {
        *out = (Extent){.kind = EXTENT_ZERO, .flags = EXTENT_EOF, .at = at, .size = size};
        return 0;
    }
    rc = nbd_client_status(((Nbd *)n->state)->client, at, MIN(size, n->size - at), out);
    out->child = n;
    return rc;
}

static bool nbd_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err)
{
    if (p != PREALLOC_OFF)
        return error_set(err, "Unsupported preallocation mode for NBD");
    if (size > n->size)
        return error_set(err, "Cannot grow NBD nodes");
    return size == n->size || !exact || error_set(err, "Cannot resize NBD nodes");
}

/* The export is there already; opening it shows whether it is. */
static bool nbd_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err)
{
    (void)g;
    (void)filename;
    (void)options;
    (void)err;
    return true;
}

static BlockDriver nbd_driver = {
    .name = "nbd",
    .doc = "disk on an NBD server",
    .kind = DRIVER_PROTOCOL,
    .options = &nbd_type,
    .state_size = sizeof(Nbd),
    .prefix = "nbd",
    .parse_filename = nbd_parse_filename,
    .open = nbd_open,
    .close = nbd_close,
    .submit = nbd_submit,
    .status = nbd_status,
    .truncate = nbd_truncate,
    .create_file = nbd_create_file,
};
BLOCK_DRIVER_REGISTER(nbd_driver)
