/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * port - named character devices: the set of them, their channels, logs and replacements
 *
 * Invariants:
 *  1. A Chardev that the loop may still be asked to call (posts) is not freed before these calls
 *     are done: whatever is taken out while the loop runs goes to `dying` and is reaped by a later
 *     post.
 *  2. port->lock is held while `back` is called from other threads; nobody is called upwards with
 *     it.
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "base/opts_json.h"
#include "chardev/fd.h"
#include "chardev/port_priv.h"

typedef struct Dying {
    Chardev *c;
    CharPort *port;
    struct Dying *next;
} Dying;

struct Chardevs {
    ChardevHost host;
    CharPort *ports;
    Dying *dying;
    bool stopped;
};

const ChardevHost *port_host(const CharPort *p)
{
    return &p->set->host;
}

/* --- the front end of the back end --- */

static CharChannel *port_focus(const CharPort *p)
{
    return p->focus < p->n_channels ? p->channels[p->focus] : NULL;
}

static size_t port_can_accept(void *arg)
{
    CharPort *p = arg;
    CharChannel *ch = port_focus(p);

    return p->mux ? mux_room(p) : ch ? chardev_room(&ch->c) : 0;
}

static void port_accept(void *arg, const uint8_t *bytes, size_t n)
{
    CharPort *p = arg;

    if (p->mux)
        mux_accept(p, bytes, n);
    else if (port_focus(p))
        chardev_give(&port_focus(p)->c, bytes, n);
}

void channel_tell(CharChannel *ch, CharEvent e)
{
    if (e == CHAR_WRITABLE && !atomic_exchange(&ch->cut, false))
        return;
    if (e == CHAR_OPENED || e == CHAR_CLOSED) {
        bool on = e == CHAR_OPENED;

        ch->c.open = on;
        if (ch->told_open == on || !ch->c.front)
            return;
        if (on && ch->c.only_in_focus && ch->port->mux && ch != port_focus(ch->port))
            return;
        ch->told_open = on;
    }
    chardev_tell(&ch->c, e);
}

static void port_event(void *arg, CharEvent e)
{
    CharPort *p = arg;

    for (unsigned i = 0; i < p->n_channels; i++)
        if (e != CHAR_BREAK || p->channels[i] == port_focus(p))
            channel_tell(p->channels[i], e);
}

static void port_set_back(CharPort *p, Chardev *back)
{
    p->front = (CharFront){
        .arg = p, .can_accept = port_can_accept, .accept = port_accept, .event = port_event};
    WITH_LOCK (&p->lock)
        p->back = back;
    chardev_attach(back, &p->front);
}

/* --- channels --- */

size_t port_write_locked(CharPort *p, const uint8_t *bytes, size_t n)
{
    size_t taken = p->back ? chardev_write(p->back, bytes, n) : n;

    if (p->log >= 0 && taken && write(p->log, bytes, taken) < 0) {
        close(p->log); /* a full disk ends the log, not the guest */
        p->log = -1;
    }
    return taken;
}

static size_t channel_write(Chardev *c, const uint8_t *bytes, size_t n)
{
    CharChannel *ch = (CharChannel *)c;
    CharPort *p = ch->port;
    size_t taken = 0;

    WITH_LOCK (&p->lock) {
        taken = p->mux ? mux_write_locked(p, bytes, n) : port_write_locked(p, bytes, n);
        if (taken < n)
            atomic_store(&ch->cut, true);
    }
    return taken;
}

static void channel_look(void *arg)
{
    CharChannel *ch = arg;

    if (ch->c.loop)
        mux_push(ch);
}

static void channel_accept_ready(Chardev *c)
{
    CharChannel *ch = (CharChannel *)c;

    if (ch->port->mux) {
        if (c->loop)
            loop_post(c->loop, channel_look, ch);
        return;
    }
    WITH_LOCK (&ch->port->lock)
        chardev_accept_ready(ch->port->back);
}

static void channel_opened(void *arg)
{
    CharChannel *ch = arg;

    if (ch->c.open && ch->c.loop)
        channel_tell(ch, CHAR_OPENED);
}

static void channel_attached(Chardev *c)
{
    CharChannel *ch = (CharChannel *)c;

    ch->told_open = false;
    if (c->open && c->loop)
        loop_post(c->loop, channel_opened, ch);
}

static void channel_release(Chardev *c)
{
    CharChannel *ch = (CharChannel *)c;

    c->front = NULL;
    c->only_in_focus = false;
    ch->claimed = false;
    ch->size = 0;
    atomic_store(&ch->cut, false);
}

static int channel_take_fd(Chardev *c)
{
    return chardev_take_fd(((CharChannel *)c)->port->back);
}

static void channel_close(Chardev *c)
{
    CharChannel *ch = (CharChannel *)c;

    chardev_fini(c);
    xfree(ch->queue);
    xfree(ch);
}

static const ChardevOps channel_ops = {
    .name = "channel",
    .write = channel_write,
    .accept_ready = channel_accept_ready,
    .close = channel_close,
    .attached = channel_attached,
    .release = channel_release,
    .take_fd = channel_take_fd,
};

static CharChannel *channel_new(CharPort *p)
{
    CharChannel *ch = xnew(CharChannel);

    chardev_init(&ch->c, &channel_ops, p->id, p->set->host.loop);
    ch->port = p;
    ch->c.open = p->back && p->back->open;
    if (p->mux)
        ch->queue = xalloc(CHANNEL_QUEUE);
    p->channels[p->n_channels++] = ch;
    return ch;
}

/* --- the set --- */

Chardevs *chardevs_new(const ChardevHost *host)
{
    Chardevs *set = xnew(Chardevs);

    set->host = *host;
    set->host.set = set;
    if (!set->host.escape)
        set->host.escape = 1;
    return set;
}

void chardevs_set_running(Chardevs *set)
{
    set->host.running = true;
}

static void port_stop(CharPort *p)
{
    chardev_stop(p->back);
    for (unsigned i = 0; i < p->n_channels; i++)
        p->channels[i]->c.loop = NULL;
}

static void port_free(CharPort *p)
{
    chardev_close(p->back);
    for (unsigned i = 0; i < p->n_channels; i++)
        channel_close(&p->channels[i]->c);
    if (p->log >= 0)
        close(p->log);
    lock_fini(&p->lock);
    xfree(p->id);
    xfree(p);
}

static void reap(void *arg)
{
    Chardevs *set = arg;

    while (set->dying) {
        Dying *d = set->dying;

        set->dying = d->next;
        chardev_close(d->c);
        if (d->port)
            port_free(d->port);
        xfree(d);
    }
}

/* inv 1 */
static void die(Chardevs *set, Chardev *c, CharPort *p)
{
    Dying *d = xnew(Dying);

    *d = (Dying){c, p, set->dying};
    set->dying = d;
    if (!set->stopped)
        loop_post(set->host.loop, reap, set);
}

void chardevs_stop(Chardevs *set)
{
    if (!set || set->stopped)
        return;
    set->stopped = true;
    for (CharPort *p = set->ports; p; p = p->next)
        port_stop(p);
}

void chardevs_free(Chardevs *set)
{
    if (!set)
        return;
    chardevs_stop(set);
    reap(set);
    while (set->ports) {
        CharPort *p = set->ports;

        set->ports = p->next;
        port_free(p);
    }
    xfree(set);
}

static CharPort *port_find(Chardevs *set, const char *id, Error *err)
{
    for (CharPort *p = set ? set->ports : NULL; p; p = p->next)
        if (!strcmp(p->id, id))
            return p;
    error_set(err, "chardev \"%s\" not found", id);
    return NULL;
}

bool chardev_exists(Chardevs *set, const char *id)
{
    return port_find(set, id, NULL) != NULL;
}

Chardev *chardev_back_end(Chardevs *set, const char *id, Error *err)
{
    CharPort *p = port_find(set, id, err);

    return p ? p->back : NULL;
}

Chardev *chardev_claim(Chardevs *set, const char *id, Error *err)
{
    CharPort *p = port_find(set, id, err);

    if (!p)
        return NULL;
    for (unsigned i = 0; i < p->n_channels; i++)
        if (!p->channels[i]->claimed) {
            p->channels[i]->claimed = true;
            return &p->channels[i]->c;
        }
    if (p->n_channels == (p->mux ? CHANNELS_MAX : 1)) {
        error_set(err,
                  p->mux ? "Device '%s' is in use: too many users of a multiplexer"
                         : "Device '%s' is in use",
                  id);
        return NULL;
    }
    CharChannel *ch = channel_new(p);

    ch->claimed = true;
    return &ch->c;
}

void chardev_release(Chardev *c)
{
    if (c && c->ops->release)
        c->ops->release(c);
}

/* --- making --- */

/* Move @from of @j into @j itself. */
static void lift(json_t *j, const char *from)
{
    json_t *inner = json_take(j, from);

    if (json_is_object(inner))
        json_object_update_missing(j, inner);
    json_decref(inner);
}

static void rename_member(json_t *j, const char *from, const char *to)
{
    json_t *v = json_take(j, from);

    if (v)
        json_object_set_new(j, to, v);
}

/* QMP's nested members to the flat ones of -chardev. */
static void flatten_addr(json_t *j, const char *member, const char *host, const char *port)
{
    json_t *given = json_take(j, member), *addr = json_deep_copy(given);
    AUTO_FREE char *type = NULL;

    json_decref(given);
    type = json_take_str(addr, "type");
    lift(addr, "data");
    rename_member(addr, "host", host);
    rename_member(addr, "port", port);
    rename_member(addr, "str", "fd");
    if (type && strcmp(type, "inet") && strcmp(type, "unix") && strcmp(type, "fd"))
        json_object_set_new(j, "addr-type", json_string(type));
    json_object_update_missing(j, addr);
    json_decref(addr);
}

/* A hub's list to the numbered members of -chardev. */
static void flatten_list(json_t *j, const char *member)
{
    json_t *list = json_take(j, member), *e;
    size_t i;

    json_array_foreach (list, i, e) {
        AUTO_FREE char *name = xasprintf("%s.%zu", member, i);

        json_object_set(j, name, e);
    }
    if (list && !json_is_array(list))
        json_object_set(j, member, list);
    json_decref(list);
}

static void flatten_props(json_t *j)
{
    lift(j, "data");
    if (json_is_object(json_object_get(j, "addr")))
        flatten_addr(j, "addr", "host", "port");
    if (json_is_object(json_object_get(j, "remote")))
        flatten_addr(j, "remote", "host", "port");
    if (json_is_object(json_object_get(j, "local")))
        flatten_addr(j, "local", "localaddr", "localport");
    flatten_list(j, "chardevs");
    rename_member(j, "out", "path");
    rename_member(j, "in", "input-path");
    rename_member(j, "device", "path");
}

static void unknown_kind(const char *kind, Error *err)
{
    const char *names[64], *near;
    unsigned n = 0;

    for (const ChardevClass *c = chardev_class_next(NULL); c && n < COUNT_OF(names);
         c = chardev_class_next(c))
        names[n++] = c->name;
    near = nearest_name(kind, names, n);
    error_set(err, "'%s' is not a valid char driver name%s%s%s", kind,
              near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static Chardev *open_back(Chardevs *set, json_t *j, const char *kind, const char *id, Error *err)
{
    const ChardevClass *c = chardev_class_find(kind);
    void *options = NULL;
    Chardev *back = NULL;
    json_t *flat;

    if (!c) {
        unknown_kind(kind, err);
        return NULL;
    }
    if (c->missing) {
        error_set(err, "chardev '%s' is not built: %s", kind, c->missing);
        return NULL;
    }
    if (!c->options) {
        if (!json_all_taken(j, err))
            return NULL;
        return c->open(NULL, id, &set->host, err);
    }
    options = xalloc(c->options->size);
    reflect_defaults(c->options, options, FIELD_PROP);
    flat = json_flatten(j);
    if (opts_json_apply(c->options, options, flat, FIELD_PROP, err))
        back = c->open(options, id, &set->host, err);
    json_decref(flat);
    reflect_free(c->options, options);
    xfree(options);
    return back;
}

static int open_log(const Chardevs *set, const char *path, bool append, Error *err)
{
    int fd = fd_open_path(&set->host, path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC));

    if (fd < 0)
        error_set_errno(err, -fd, "Unable to open logfile %s", path);
    return fd;
}

/* What every kind takes. */
typedef struct PortOptions {
    char *id, *kind, *logfile;
    bool mux, logappend;
} PortOptions;

static bool take_common(json_t *j, PortOptions *o, Error *err)
{
    o->id = json_take_str(j, "id");
    o->kind = json_take_str(j, "backend");
    if (!o->kind)
        o->kind = json_take_str(j, "type");
    o->logfile = json_take_str(j, "logfile");
    if (!o->kind)
        return error_set(err, "chardev: \"%s\" missing backend", o->id ? o->id : "");
    if (!o->id)
        return error_set(err, "chardev: no id specified");
    return json_take_bool(j, "mux", &o->mux, err) &&
           json_take_bool(j, "logappend", &o->logappend, err);
}

static void options_free(PortOptions *o)
{
    xfree(o->id);
    xfree(o->kind);
    xfree(o->logfile);
}

static bool id_is_good(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

    return *id && !id[n] && strspn(id, "0123456789-._") == 0;
}

static bool port_add(Chardevs *set, json_t *j, const PortOptions *o, Error *err)
{
    CharPort *p, **last = &set->ports;
    Chardev *back;
    int log = -1;

    if (!id_is_good(o->id) && strncmp(o->id, "compat_", 7))
        return error_set(err, "Parameter 'id' expects an identifier, not '%s'", o->id);
    if (chardev_exists(set, o->id))
        return error_set(err, "Chardev with id '%s' already exists", o->id);
    if (o->logfile && (log = open_log(set, o->logfile, o->logappend, err)) < 0)
        return false;
    back = open_back(set, j, o->kind, o->id, err);
    if (!back) {
        if (log >= 0)
            close(log);
        return false;
    }
    p = xnew(CharPort);
    p->id = xstrdup(o->id);
    p->set = set;
    p->mux = o->mux;
    p->log = log;
    p->line_start = true;
    lock_init(&p->lock, "chardev", back->ops->on_others ? RANK_CHARDEV - 1 : RANK_CHARDEV);
    while (*last)
        last = &(*last)->next;
    *last = p;
    port_set_back(p, back);
    return true;
}

bool chardev_add_json(Chardevs *set, const json_t *props, Error *err)
{
    json_t *j = json_copy((json_t *)props);
    PortOptions o = {0};
    bool ok;

    flatten_props(j);
    ok = take_common(j, &o, err) && port_add(set, j, &o, err);
    options_free(&o);
    json_decref(j);
    return ok;
}

/* --- changing --- */

static bool is_claimed(const CharPort *p)
{
    for (unsigned i = 0; i < p->n_channels; i++)
        if (p->channels[i]->claimed)
            return true;
    return false;
}

bool chardev_remove(Chardevs *set, const char *id, Error *err)
{
    CharPort *p, **at = &set->ports;

    while (*at && strcmp((*at)->id, id))
        at = &(*at)->next;
    p = *at;
    if (!p)
        return error_set(err, "Chardev '%s' not found", id);
    if (is_claimed(p))
        return error_set(err, "Chardev '%s' is busy", id);
    *at = p->next;
    port_stop(p);
    p->back->front = NULL;
    die(set, NULL, p);
    return true;
}

bool chardev_change(Chardevs *set, const json_t *props, Error *err)
{
    json_t *j = json_copy((json_t *)props);
    PortOptions o = {0};
    CharPort *p = NULL;
    Chardev *back = NULL, *old;
    int log = -1;

    flatten_props(j);
    if (take_common(j, &o, err) && (p = port_find(set, o.id, err))) {
        if (p->mux || o.mux)
            error_set(err, "Mux device hotswap not supported yet");
        else if (!o.logfile || (log = open_log(set, o.logfile, o.logappend, err)) >= 0)
            back = open_back(set, j, o.kind, o.id, err);
    }
    options_free(&o);
    json_decref(j);
    if (!back)
        return false;
    old = p->back;
    if (back->ops->on_others != old->ops->on_others) { /* the rank of p->lock; no loops of hubs */
        chardev_close(back);
        if (log >= 0)
            close(log);
        return error_set(err, "Chardev '%s' cannot become a hub, or cease to be one", p->id);
    }
    chardev_stop(old);
    old->front = NULL;
    if (p->log >= 0)
        close(p->log);
    p->log = log;
    port_event(p, CHAR_CLOSED);
    port_set_back(p, back);
    for (unsigned i = 0; i < p->n_channels; i++) {
        p->channels[i]->c.open = back->open;
        channel_attached(&p->channels[i]->c);
    }
    port_event(p, CHAR_WRITABLE);
    die(set, old, NULL);
    return true;
}

bool chardev_send_break(Chardevs *set, const char *id, Error *err)
{
    CharPort *p = port_find(set, id, err);

    if (p)
        port_event(p, CHAR_BREAK);
    return p != NULL;
}

/* --- showing --- */

json_t *chardevs_query(Chardevs *set)
{
    json_t *list = json_array();

    for (CharPort *p = set ? set->ports : NULL; p; p = p->next) {
        AUTO_FREE char *text = p->back->ops->describe ? p->back->ops->describe(p->back) : NULL;

        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "label", p->id, "filename",
                                              text ? text : p->back->ops->name, "frontend-open",
                                              is_claimed(p)));
    }
    return list;
}
