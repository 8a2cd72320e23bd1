/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub - several character devices as one: output goes to all, input comes from any
 *
 * A member that takes no more holds up nobody for long: what it has not taken waits in its own
 * queue, which drops the oldest when it is full.
 */
#include "base/alloc.h"
#include "base/opts_json.h"
#include "chardev/chardev.h"

enum { MEMBERS_MAX = 4 };

typedef struct HubOptions {
    char *members[MEMBERS_MAX];
} HubOptions;

typedef struct Hub Hub;
typedef struct Member {
    Hub *hub;
    Chardev *c;
    CharFront front;
    size_t behind; /* of the present output, not taken yet */
} Member;

struct Hub {
    Chardev c;
    Member members[MEMBERS_MAX];
    unsigned n;
};

/* What everybody took; those who took more were given it already. */
static size_t hub_write(Chardev *c, const uint8_t *p, size_t n)
{
    Hub *h = (Hub *)c;
    size_t least = n;

    for (unsigned i = 0; i < h->n; i++) {
        Member *m = &h->members[i];
        size_t ahead = MIN(m->behind, n);

        m->behind = ahead + chardev_write(m->c, p + ahead, n - ahead);
        least = MIN(least, m->behind);
    }
    for (unsigned i = 0; i < h->n; i++)
        h->members[i].behind -= least;
    return least;
}

static void hub_accept_ready(Chardev *c)
{
    Hub *h = (Hub *)c;

    for (unsigned i = 0; i < h->n; i++)
        chardev_accept_ready(h->members[i].c);
}

static size_t member_can_accept(void *arg)
{
    return chardev_room(&((Member *)arg)->hub->c);
}

static void member_accept(void *arg, const uint8_t *p, size_t n)
{
    chardev_give(&((Member *)arg)->hub->c, p, n);
}

/* The hub is open as long as one member is. */
static void member_event(void *arg, CharEvent e)
{
    Hub *h = ((Member *)arg)->hub;
    bool open = false;

    for (unsigned i = 0; i < h->n; i++)
        open |= h->members[i].c->open;
    if (e == CHAR_WRITABLE || e == CHAR_BREAK)
        chardev_tell(&h->c, e);
    else if (open != h->c.open)
        chardev_tell(&h->c, open ? CHAR_OPENED : CHAR_CLOSED);
}

static void hub_stop(Chardev *c)
{
    Hub *h = (Hub *)c;

    for (unsigned i = 0; i < h->n; i++)
        chardev_release(h->members[i].c);
    h->n = 0;
    c->loop = NULL;
}

static void hub_close(Chardev *c)
{
    hub_stop(c);
    chardev_fini(c);
    xfree(c);
}

static const ChardevOps hub_ops = {
    .name = "hub",
    .write = hub_write,
    .accept_ready = hub_accept_ready,
    .close = hub_close,
    .stop = hub_stop,
    .on_others = true,
};

static Chardev *hub_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const HubOptions *o = options;
    Hub *h = xnew(Hub);

    chardev_init(&h->c, &hub_ops, id, host->loop);
    for (unsigned i = 0; i < MEMBERS_MAX && o->members[i]; i++) {
        Member *m = &h->members[i];

        m->hub = h;
        m->front = (CharFront){.arg = m,
                               .can_accept = member_can_accept,
                               .accept = member_accept,
                               .event = member_event};
        const Chardev *back = chardev_back_end(host->set, o->members[i], err);

        if (back && back->ops == &hub_ops)
            error_set(err, "hub: '%s' is a hub itself", o->members[i]);
        else if (back)
            m->c = chardev_claim(host->set, o->members[i], err);
        if (!m->c) {
            hub_close(&h->c);
            return NULL;
        }
        h->n++;
    }
    if (!h->n) {
        error_set(err, "hub: chardevs.0=ID names its first member");
        hub_close(&h->c);
        return NULL;
    }
    for (unsigned i = 0; i < h->n; i++)
        chardev_attach(h->members[i].c, &h->members[i].front);
    return &h->c;
}

#define MEMBER(i) PROP_STR(HubOptions, members[i], "chardevs." #i, NULL, "id of a member")
static const Field hub_fields[] = {MEMBER(0), MEMBER(1), MEMBER(2), MEMBER(3)};
static STRUCT_TYPE(hub_type, HubOptions, hub_fields);

static ChardevClass hub_class = {.name = "hub",
                                 .doc = "several character devices as one",
                                 .options = &hub_type,
                                 .open = hub_open};
CHARDEV_REGISTER(hub_class)
