/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_server - listeners, exports and the list of clients; nbd_server.h has the contract
 *
 * An own thread with a loop accepts and collects sessions that ended.
 */
#include "block/nbd_server.h"

#include <errno.h>
#include <unistd.h>

#include "block/nbd_server_priv.h"
#include "io/secret.h"

/* --- exports --- */

static NbdExport *export_find(NbdServer *s, const char *name)
{
    NbdExport *e = s->exports;

    while (e && strcmp(e->name, name))
        e = e->next;
    return e;
}

NbdExport *export_use(NbdServer *s, const char *name)
{
    NbdExport *e = NULL;

    WITH_LOCK (&s->lock) {
        e = export_find(s, name);
        if (e && !e->closing)
            e->users++;
        else
            e = NULL;
    }
    return e;
}

void export_unuse(NbdExport *e)
{
    NbdServer *s = e->server;

    WITH_LOCK (&s->lock) {
        e->users--;
        pthread_cond_broadcast(&s->left);
    }
}

NbdExport *nbd_export_find(NbdServer *s, const char *name)
{
    return export_find(s, name); /* only the main thread changes the list */
}
NbdExport *nbd_export_next(NbdServer *s, const NbdExport *e)
{
    return e ? e->next : s->exports;
}
const char *nbd_export_id(const NbdExport *e)
{
    return e->id;
}
const char *nbd_export_name(const NbdExport *e)
{
    return e->name;
}
BlockNode *nbd_export_node(const NbdExport *e)
{
    return block_port_node(e->port);
}

unsigned nbd_export_connections(const NbdExport *e)
{
    unsigned n = 0;

    WITH_LOCK (&e->server->lock)
        n = e->users;
    return n;
}

/* The bitmap @name of the node or of what is behind it. */
static DirtyBitmap *bitmap_of_chain(BlockNode *n, const char *name)
{
    for (; n; n = n->backing) {
        DirtyBitmap *b;

        n = node_skip_filters(n);
        for (BlockNode *f = n; f; f = f->drv->kind == DRIVER_PROTOCOL ? NULL : f->file)
            if ((b = bitmap_find(f, name)))
                return b;
    }
    return NULL;
}

static bool add_bitmap(NbdExport *e, const char *name, Error *err)
{
    DirtyBitmap *b = bitmap_of_chain(block_port_node(e->port), name);

    if (!b)
        return error_set(err, "Bitmap '%s' is not found", name);
    if (!bitmap_check(b, BITMAP_ALLOW_RO, err))
        return false;
    if (e->flags & NBD_READ_ONLY && bitmap_is_enabled(b) && !node_is_read_only(bitmap_node(b)) &&
        bitmap_node(b) == block_port_node(e->port))
        return error_set(err, "Enabled bitmap '%s' incompatible with readonly export", name);
    if (strlen(name) > BITMAP_NAME_MAX || e->n_bitmaps == NBD_BITMAPS_MAX)
        return error_set(err, "too many bitmaps, or the name of one is too long");
    bitmap_set_busy(b, true);
    e->bitmaps[e->n_bitmaps++] = b;
    return true;
}

static void export_destroy(NbdExport *e)
{
    for (unsigned i = 0; i < e->n_bitmaps; i++)
        bitmap_set_busy(e->bitmaps[i], false);
    block_port_free(e->port);
    xfree(e->id);
    xfree(e->name);
    xfree(e->description);
    xfree(e);
}

static bool export_fill(NbdExport *e, BlockNode *n, const NbdExportOptions *o, Error *err)
{
    NbdServer *s = e->server;
    bool writable = o->writable && !node_is_read_only(n);
    unsigned perm = PERM_READ | (writable ? PERM_WRITE : 0u);

    if (!(e->port = block_port_new(s->graph, NULL, n, perm, PERM_ALL, err)))
        return false;
    block_port_set_writethrough(e->port, o->writethrough);
    if (o->offset > n->size || o->size > n->size - o->offset)
        return error_set(err, "Invalid offset %" PRIu64 ": the image has %" PRIu64 " bytes",
                         o->offset, (uint64_t)n->size);
    e->offset = o->offset;
    e->size = o->size ? o->size : n->size - o->offset;
    e->flags = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_SEND_CACHE;
    e->flags |= writable ? NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES | NBD_SEND_FAST_ZERO
                         : (uint32_t)NBD_READ_ONLY;
    if (s->o.max_connections != 1 || !writable)
        e->flags |= NBD_CAN_MULTI_CONN; /* all clients share the node and its caches */
    e->allocation_depth = o->allocation_depth;
    for (unsigned i = 0; i < o->n_bitmaps; i++)
        if (!add_bitmap(e, o->bitmaps[i], err))
            return false;
    return true;
}

NbdExport *nbd_export_new(NbdServer *s, BlockNode *n, const NbdExportOptions *o, Error *err)
{
    NbdExport *e;

    if (strlen(o->name) > NBD_MAX_STRING ||
        (o->description && strlen(o->description) > NBD_MAX_STRING)) {
        error_set(err, "export name or description is longer than %d bytes", NBD_MAX_STRING);
        return NULL;
    }
    if (export_find(s, o->name)) {
        error_set(err, "NBD server already has export named '%s'", o->name);
        return NULL;
    }
    e = xnew(NbdExport);
    e->server = s;
    e->id = xstrdup(o->id);
    e->name = xstrdup(o->name);
    e->description = xstrdup(o->description);
    if (!export_fill(e, n, o, err)) {
        export_destroy(e);
        return NULL;
    }
    WITH_LOCK (&s->lock) {
        NbdExport **p = &s->exports;

        while (*p)
            p = &(*p)->next;
        *p = e;
    }
    return e;
}

/* On clients of @e, and on those that still choose. */
static void hang_up_on(NbdServer *s, const NbdExport *e)
{
    for (Session *c = s->sessions; c; c = *session_link(c))
        if (!e || !session_export(c) || session_export(c) == e)
            session_hang_up(c);
}

static struct timespec soon(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 50000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* A session that is about to settle for the export is told again. */
static void wait_unused(NbdServer *s, NbdExport *e)
{
    while (e->users) {
        struct timespec due = soon();

        hang_up_on(s, e);
        pthread_cond_timedwait(&s->left, &s->lock.m, &due);
    }
}

bool nbd_export_free(NbdExport *e, bool hard, Error *err)
{
    NbdServer *s = e->server;
    bool gone = false;

    WITH_LOCK (&s->lock) {
        if (hard || !e->users) {
            NbdExport **p = &s->exports;

            e->closing = gone = true;
            wait_unused(s, e);
            while (*p != e)
                p = &(*p)->next;
            *p = e->next;
        }
    }
    if (!gone)
        return error_set(err, "export '%s' still in use", e->name);
    export_destroy(e);
    return true;
}

/* --- asking the main thread --- */

typedef struct Question {
    Objects *objects;
    char *authz, *who;
    pthread_mutex_t lock;
    pthread_cond_t done;
    atomic_int refs;
    bool answered, yes;
} Question;

static void question_drop(Question *q)
{
    if (atomic_fetch_sub(&q->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->done);
    xfree(q->authz);
    xfree(q->who);
    xfree(q);
}

static void question_answer(void *arg)
{
    Question *q = arg;
    bool yes = authz_admits(q->objects, q->authz, q->who, NULL);

    pthread_mutex_lock(&q->lock);
    q->answered = true;
    q->yes = yes;
    pthread_cond_signal(&q->done);
    pthread_mutex_unlock(&q->lock);
    question_drop(q);
}

bool server_admits(NbdServer *s, const char *who)
{
    Question *q;
    bool yes;

    if (!s->tls_authz)
        return true;
    q = xnew(Question);
    q->objects = graph_objects(s->graph);
    q->authz = xstrdup(s->tls_authz);
    q->who = xstrdup(who ? who : "");
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->done, NULL);
    atomic_init(&q->refs, 2);
    loop_post(s->o.main, question_answer, q);
    pthread_mutex_lock(&q->lock);
    while (!q->answered && !s->closing) {
        struct timespec due = soon();

        pthread_cond_timedwait(&q->done, &q->lock, &due);
    }
    yes = q->answered && q->yes;
    pthread_mutex_unlock(&q->lock);
    question_drop(q);
    return yes;
}

/* --- clients --- */

typedef struct Change {
    void (*changed)(void *arg, unsigned connections);
    void *arg;
    unsigned n;
} Change;

static void change_tell(void *arg)
{
    Change *c = arg;

    c->changed(c->arg, c->n);
    xfree(c);
}

static void tell_changed(NbdServer *s)
{
    Change *c;

    if (!s->o.main || !s->o.changed)
        return;
    c = xnew(Change);
    *c = (Change){s->o.changed, s->o.arg, s->n_sessions};
    loop_post(s->o.main, change_tell, c);
}

static void listener_ready(void *arg, int fd, uint32_t events);

/* On the accepting thread.  Clients beyond max_connections wait in the listener's queue. */
static void watch_all(void *arg)
{
    NbdServer *s = arg;
    int fds[COUNT_OF(s->listeners)];
    unsigned n = 0;

    WITH_LOCK (&s->lock)
        for (; n < s->n_listeners; n++)
            fds[n] = s->listeners[n];
    while (n)
        loop_watch(s->loop, fds[--n], s->full ? 0 : LOOP_READ, listener_ready, s);
}

static void watch_listeners(NbdServer *s)
{
    bool full = s->o.max_connections && s->n_sessions >= s->o.max_connections;

    if (full == s->full)
        return;
    s->full = full;
    watch_all(s);
}

static void collect(NbdServer *s)
{
    Session **p = &s->sessions;
    bool some = false;

    while (*p) {
        Session *c = *p;

        if (!session_has_ended(c)) {
            p = session_link(c);
            continue;
        }
        WITH_LOCK (&s->lock) {
            *p = *session_link(c);
            s->n_sessions--;
        }
        session_join(c);
        some = true;
    }
    if (some) {
        watch_listeners(s);
        tell_changed(s);
    }
}

static void collect_posted(void *arg)
{
    collect(arg);
}

void server_collect_post(NbdServer *s)
{
    loop_post(s->loop, collect_posted, s);
}

static void listener_ready(void *arg, int fd, uint32_t events)
{
    NbdServer *s = arg;
    int client = s->full ? -1 : socket_accept(fd, NULL);
    Session *c;

    (void)events;
    if (client < 0 || !(c = session_new(s, client)))
        return;
    WITH_LOCK (&s->lock) {
        *session_link(c) = s->sessions;
        s->sessions = c;
        s->n_sessions++;
    }
    watch_listeners(s);
    tell_changed(s);
}

unsigned nbd_server_connections(const NbdServer *s)
{
    unsigned n = 0;

    WITH_LOCK ((Lock *)(uintptr_t)&s->lock)
        n = s->n_sessions;
    return n;
}

/* --- the server --- */

static void *accept_thread(void *arg)
{
    NbdServer *s = arg;

    loop_run(s->loop);
    return NULL;
}

NbdServer *nbd_server_new(BlockGraph *g, const NbdServerOptions *o, Error *err)
{
    NbdServer *s = xnew(NbdServer);

    s->graph = g;
    s->o = *o;
    lock_init(&s->lock, "nbd server", RANK_QUEUE);
    pthread_cond_init(&s->left, NULL);
    s->tls_authz = xstrdup(o->tls_authz);
    s->o.creds = o->creds ? tls_creds_ref(o->creds) : NULL;
    if (o->creds && !tls_creds_is_server(o->creds))
        error_set(err, "Expecting TLS credentials with a server endpoint");
    else if (o->tls_authz && (!o->creds || !o->main))
        error_set(err, "TLS authorization needs TLS credentials");
    else if ((s->loop = loop_new(err)))
        return s;
    nbd_server_free(s);
    return NULL;
}

bool nbd_server_listen(NbdServer *s, int listener, Error *err)
{
    bool room = false;

    WITH_LOCK (&s->lock)
        if ((room = s->n_listeners < COUNT_OF(s->listeners)))
            s->listeners[s->n_listeners++] = listener;
    if (!room) {
        close(listener);
        return error_set(err, "an NBD server takes %zu addresses at most", COUNT_OF(s->listeners));
    }
    loop_post(s->loop, watch_all, s);
    if (!s->running && pthread_create(&s->thread, NULL, accept_thread, s))
        return error_set(err, "cannot start a thread that accepts NBD clients");
    s->running = true;
    return true;
}

void nbd_server_free(NbdServer *s)
{
    if (!s)
        return;
    if (s->running) {
        loop_stop(s->loop);
        pthread_join(s->thread, NULL);
    }
    for (unsigned i = 0; i < s->n_listeners; i++)
        close(s->listeners[i]);
    WITH_LOCK (&s->lock) {
        s->closing = true;
        hang_up_on(s, NULL);
    }
    while (s->sessions) {
        Session *c = s->sessions;

        s->sessions = *session_link(c);
        session_join(c);
    }
    while (s->exports)
        nbd_export_free(s->exports, true, NULL);
    if (s->loop)
        loop_free(s->loop);
    tls_creds_unref(s->o.creds);
    xfree(s->tls_authz);
    pthread_cond_destroy(&s->left);
    lock_fini(&s->lock);
    xfree(s);
}
