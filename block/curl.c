/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * curl - read-only disks on web and FTP servers, by libcurl
 *
 * Each request is a range request on a worker, with one of a few connections that are kept.  What
 * is read ahead stays in a small cache.  The server is not trusted: it gets no more room than was
 * asked for.
 */
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/log.h"
#include "block/block_priv.h"
#include "io/secret.h"

enum { CACHED_MAX = 8, IDLE_MAX = 8, PIECE_MAX = 4 << 20, READAHEAD_MAX = 16 << 20 };

typedef struct CurlOptions {
    char *url, *cookie, *cookie_secret, *username, *password_secret, *proxy_username,
        *proxy_password_secret;
    uint64_t readahead, timeout;
    bool sslverify;
} CurlOptions;

static const Field curl_fields[] = {
    PROP_STR(CurlOptions, url, "url", NULL, "URL of the image"),
    PROP_SIZE(CurlOptions, readahead, "readahead", 256 << 10, "Readahead size"),
    PROP(CurlOptions, sslverify, "sslverify", true, "Verify SSL certificate"),
    PROP(CurlOptions, timeout, "timeout", 5, "Curl timeout"),
    PROP_STR(CurlOptions, cookie, "cookie", NULL,
             "Pass the cookie or list of cookies with each request"),
    PROP_STR(CurlOptions, cookie_secret, "cookie-secret", NULL,
             "ID of secret used as cookie passed with each request"),
    PROP_STR(CurlOptions, username, "username", NULL, "Username for HTTP auth"),
    PROP_STR(CurlOptions, password_secret, "password-secret", NULL,
             "ID of secret used as password for HTTP auth"),
    PROP_STR(CurlOptions, proxy_username, "proxy-username", NULL, "Username for HTTP proxy auth"),
    PROP_STR(CurlOptions, proxy_password_secret, "proxy-password-secret", NULL,
             "ID of secret used as password for HTTP proxy auth"),
};
static STRUCT_TYPE(curl_type, CurlOptions, curl_fields);

typedef struct Cached {
    uint8_t *p; /* NULL: empty */
    uint64_t at;
    size_t size;
    uint64_t used; /* when, for the choice of what goes */
} Cached;

typedef struct Curl {
    char *url, *cookie, *username, *password, *proxy_username, *proxy_password;
    uint64_t readahead, timeout;
    bool sslverify;
    Lock lock; /* of the rest */
    CURL *idle[IDLE_MAX];
    unsigned n_idle;
    Cached cached[CACHED_MAX];
    uint64_t clock;
} Curl;

/* --- transfers --- */

typedef struct Transfer {
    uint8_t *p;
    size_t room, size;
    bool ranges; /* the server says that it knows them */
} Transfer;

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    Transfer *t = arg;
    size_t len = MIN(size * n, t->room - t->size);

    memcpy(t->p + t->size, p, len);
    t->size += len;
    return len; /* fewer than there are end the transfer */
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
    static const char key[] = "accept-ranges: bytes";
    Transfer *t = arg;

    if (size * n >= sizeof key - 1 && !strncasecmp(p, key, sizeof key - 1))
        t->ranges = true;
    return size * n;
}

static CURL *handle_new(const Curl *c)
{
    CURL *h = curl_easy_init();

    if (!h)
        return NULL;
    curl_easy_setopt(h, CURLOPT_URL, c->url);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(h, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(h, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)c->timeout);
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, (long)c->sslverify);
    curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, c->sslverify ? 2L : 0L);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps");
    curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, take_header);
    if (c->cookie)
        curl_easy_setopt(h, CURLOPT_COOKIE, c->cookie);
    if (c->username)
        curl_easy_setopt(h, CURLOPT_USERNAME, c->username);
    if (c->password)
        curl_easy_setopt(h, CURLOPT_PASSWORD, c->password);
    if (c->proxy_username)
        curl_easy_setopt(h, CURLOPT_PROXYUSERNAME, c->proxy_username);
    if (c->proxy_password)
        curl_easy_setopt(h, CURLOPT_PROXYPASSWORD, c->proxy_password);
    return h;
}

static CURL *handle_take(Curl *c)
{
    CURL *h = NULL;

    WITH_LOCK (&c->lock) {
        if (c->n_idle)
            h = c->idle[--c->n_idle];
    }
    return h ? h : handle_new(c);
}

static void handle_give(Curl *c, CURL *h)
{
    bool kept = false;

    WITH_LOCK (&c->lock) {
        if ((kept = c->n_idle < IDLE_MAX))
            c->idle[c->n_idle++] = h;
    }
    if (!kept)
        curl_easy_cleanup(h);
}

/* Fill @p with [at, at+size) of the file.  0 or -errno. */
static int fetch(Curl *c, uint64_t at, uint8_t *p, size_t size)
{
    Transfer t = {.p = p, .room = size};
    CURL *h = handle_take(c);
    char range[48];
    long code = 0;
    CURLcode rc;

    if (!h)
        return -ENOMEM;
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, at, at + size - 1);
    curl_easy_setopt(h, CURLOPT_RANGE, range);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, &t);
    rc = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &code);
    handle_give(c, h);
    if (rc != CURLE_OK)
        log_warn("curl: %s: %s", c->url, curl_easy_strerror(rc));
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return -ETIMEDOUT;
    /* A server that ignores the range begins with byte 0. */
    if (rc != CURLE_OK || t.size != size || (code == 200 && at))
        return -EIO;
    return 0;
}

/* --- the cache --- */

static bool cache_get(Curl *c, uint64_t at, void *p, size_t size)
{
    bool hit = false;

    WITH_LOCK (&c->lock) {
        for (unsigned i = 0; i < CACHED_MAX && !hit; i++) {
            Cached *e = &c->cached[i];

            if (!e->p || at < e->at || at - e->at > e->size || size > e->size - (at - e->at))
                continue;
            memcpy(p, e->p + (at - e->at), size);
            e->used = ++c->clock;
            hit = true;
        }
    }
    return hit;
}

/* @p becomes the cache's. */
static void cache_put(Curl *c, uint64_t at, uint8_t *p, size_t size)
{
    WITH_LOCK (&c->lock) {
        Cached *oldest = &c->cached[0];

        for (unsigned i = 1; i < CACHED_MAX; i++)
            if (c->cached[i].used < oldest->used)
                oldest = &c->cached[i];
        xfree(oldest->p);
        *oldest = (Cached){p, at, size, ++c->clock};
    }
}

static int read_piece(BlockNode *n, uint64_t at, uint8_t *p, size_t size)
{
    Curl *c = n->state;
    size_t len = MIN(size + c->readahead, n->size - at);
    uint8_t *buf;
    int rc;

    if (cache_get(c, at, p, size))
        return 0;
    if (!(buf = try_alloc(len)))
        return -ENOMEM;
    rc = fetch(c, at, buf, len);
    if (rc < 0) {
        xfree(buf);
        return rc;
    }
    memcpy(p, buf, size);
    cache_put(c, at, buf, len);
    return 0;
}

/* --- requests --- */

static int read_all(BlockNode *n, const BlockReq *r)
{
    size_t room = MIN(r->size, (uint64_t)PIECE_MAX);
    AUTO_FREE uint8_t *buf = try_alloc(room);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t done = 0; done < r->size && rc == 0;) {
        uint64_t at = r->at + done, len = MIN(r->size - done, room);
        uint64_t has = at >= n->size ? 0 : MIN(len, n->size - at);

        if (has)
            rc = read_piece(n, at, buf, has);
        memset(buf + has, 0, len - has);
        iov_scatter(r->iov, r->n_iov, done, buf, len);
        done += len;
    }
    return rc;
}

static void read_work(void *arg)
{
    BlockReq *r = arg;

    blockreq_complete(r, read_all(r->node, r));
}

static void curl_submit(BlockNode *n, BlockReq *r)
{
    if (r->op != BLOCK_READ) {
        blockreq_complete(r, r->op == BLOCK_FLUSH ? 0 : -EPERM);
        return;
    }
    r->node = n;
    if (r->ctx)
        block_work(n->graph, read_work, r);
    else
        read_work(r);
}

/* --- open --- */

static bool copy_secret(BlockNode *n, const char *id, char **out, Error *err)
{
    char *text;

    if (!id)
        return true;
    if (!(text = secret_get_text(graph_objects(n->graph), id, err)))
        return false;
    *out = xstrdup(text);
    secret_free(text, strlen(text));
    return true;
}

static bool take_options(BlockNode *n, Curl *c, const CurlOptions *o, Error *err)
{
    if (!o->url)
        return error_set(err, "curl block driver requires an 'url' option");
    if (strncmp(o->url, n->drv->name, strlen(n->drv->name)) || !strstr(o->url, "://"))
        return error_set(err, "https URLs need driver https, and so on: '%s' is not for driver %s",
                         o->url, n->drv->name);
    if (o->cookie && o->cookie_secret)
        return error_set(err, "curl driver cannot handle both cookie and cookie secret");
    if (o->readahead % 512 || o->readahead > READAHEAD_MAX)
        return error_set(err, "readahead %" PRIu64 " is not a multiple of 512 up to 16 MiB",
                         o->readahead);
    if (o->timeout > 10000)
        return error_set(err, "timeout parameter is too large or negative");
    c->url = xstrdup(o->url);
    c->cookie = xstrdup(o->cookie);
    c->username = xstrdup(o->username);
    c->proxy_username = xstrdup(o->proxy_username);
    c->readahead = o->readahead;
    c->timeout = o->timeout;
    c->sslverify = o->sslverify;
    return copy_secret(n, o->cookie_secret, &c->cookie, err) &&
           copy_secret(n, o->password_secret, &c->password, err) &&
           copy_secret(n, o->proxy_password_secret, &c->proxy_password, err);
}

static bool ask_size(BlockNode *n, Curl *c, Error *err)
{
    Transfer t = {0};
    CURL *h = handle_new(c);
    curl_off_t size = -1;
    CURLcode rc;

    if (!h)
        return error_set(err, "curl library initialization failed");
    curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, &t);
    rc = curl_easy_perform(h);
    if (rc == CURLE_OK)
        rc = curl_easy_getinfo(h, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    curl_easy_cleanup(h);
    if (rc != CURLE_OK)
        return error_set(err, "CURL: Error opening file: %s", curl_easy_strerror(rc));
    if (size < 0)
        return error_set(err, "Server didn't report file size.");
    if (!strncmp(c->url, "http", 4) && !t.ranges)
        return error_set(err, "Server does not support 'range' (byte ranges).");
    n->size = (uint64_t)size;
    return true;
}

static bool curl_open(BlockNode *n, const void *options, Error *err)
{
    Curl *c = n->state;

    lock_init(&c->lock, "curl", RANK_QUEUE);
    if (!take_options(n, c, options, err))
        return false;
    if (!node_is_read_only(n)) {
        if (!(n->flags & NODE_AUTO_READ_ONLY))
            return error_set(err, "curl driver does not support writes: open the image read-only");
        n->flags |= NODE_READ_ONLY;
    }
    if (!ask_size(n, c, err))
        return false;
    n->filename = n->filename ? n->filename : xstrdup(c->url);
    return true;
}

static void curl_close(BlockNode *n)
{
    Curl *c = n->state;

    while (c->n_idle)
        curl_easy_cleanup(c->idle[--c->n_idle]);
    for (unsigned i = 0; i < CACHED_MAX; i++)
        xfree(c->cached[i].p);
    lock_fini(&c->lock);
    xfree(c->url);
    xfree(c->cookie);
    xfree(c->username);
    xfree(c->password);
    xfree(c->proxy_username);
    xfree(c->proxy_password);
    memset(c, 0, sizeof *c);
}

static bool curl_parse_filename(const char *filename, json_t *options, Error *err)
{
    (void)err;
    json_object_set_new(options, "url", json_string(filename));
    return true;
}

#define CURL_DRIVER(scheme, text)                                                                  \
    static BlockDriver scheme##_driver = {                                                         \
        .name = #scheme,                                                                           \
        .doc = text,                                                                               \
        .kind = DRIVER_PROTOCOL,                                                                   \
        .options = &curl_type,                                                                     \
        .state_size = sizeof(Curl),                                                                \
        .prefix = #scheme,                                                                         \
        .parse_filename = curl_parse_filename,                                                     \
        .open = curl_open,                                                                         \
        .close = curl_close,                                                                       \
        .submit = curl_submit,                                                                     \
    };                                                                                             \
    BLOCK_DRIVER_REGISTER(scheme##_driver)

CURL_DRIVER(http, "file on a web server, read-only")
CURL_DRIVER(https, "file on a web server, encrypted connection, read-only")
CURL_DRIVER(ftp, "file on an FTP server, read-only")
CURL_DRIVER(ftps, "file on an FTP server, encrypted connection, read-only")
