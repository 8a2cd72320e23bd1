/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event - from whoever posts to those who listen, in order, with rate limits
 *
 * Events of other threads wait in a queue for the main loop; those of the main thread are told at
 * once, after what
 * waits.  A limited event is told, and then at most once per period: the last of those that came
 * meanwhile.
 */
#include <time.h>

#include "base/alloc.h"
#include "core/control_priv.h"

enum { PENDING_MAX = 4096, HELD_MAX = 256 };

struct PendingEvent {
    const Event *event;
    json_t *j;
    PendingEvent *next;
};

struct HeldEvent {
    MachineControl *control;
    const Event *event;
    char *key;
    Timer timer;
    json_t *last; /* the one held back, or NULL */
    HeldEvent *next;
};

static json_t *event_json(const Event *e, const void *data)
{
    struct timespec now;
    json_t *j, *stamp = json_object();

    clock_gettime(CLOCK_REALTIME, &now);
    json_object_set_new(stamp, "seconds", json_integer(now.tv_sec));
    json_object_set_new(stamp, "microseconds", json_integer(now.tv_nsec / 1000));
    j = json_object();
    json_object_set_new(j, "timestamp", stamp);
    json_object_set_new(j, "event", json_string(e->name));
    if (e->data)
        json_object_set_new(j, "data", reflect_to_json(e->data, data, FIELD_ARG));
    return j;
}

static void event_tell(MachineControl *c, const json_t *j)
{
    for (EventListener *l = c->listeners, *next; l; l = next) {
        next = l->next;
        l->fn(l->arg, j);
    }
}

/* --- rate limits --- */

static void held_free(HeldEvent *h)
{
    HeldEvent **p = &h->control->held;

    while (*p != h)
        p = &(*p)->next;
    *p = h->next;
    timer_stop(&h->timer);
    json_decref(h->last);
    xfree(h->key);
    xfree(h);
}

static void held_wait(HeldEvent *h)
{
    timer_at(&h->timer, clock_now(h->timer.clock) + (int64_t)h->event->rate_ms * 1000000);
}

static void held_is_due(void *arg)
{
    HeldEvent *h = arg;
    json_t *j = h->last;

    if (!j) {
        held_free(h);
        return;
    }
    h->last = NULL;
    held_wait(h);
    event_tell(h->control, j);
    json_decref(j);
}

static const char *event_key(const Event *e, const json_t *j)
{
    const char *key =
        e->rate_key ? json_string_value(json_object_get(json_object_get(j, "data"), e->rate_key))
                    : NULL;

    return key ? key : "";
}

/* Takes @j over. */
static void event_limit(MachineControl *c, const Event *e, json_t *j)
{
    const char *key = event_key(e, j);
    HeldEvent *h = c->held;
    unsigned n = 0;

    for (; h && !(h->event == e && !strcmp(h->key, key)); h = h->next)
        n++;
    if (h) {
        json_decref(h->last);
        h->last = j;
        return;
    }
    event_tell(c, j);
    if (n < HELD_MAX) {
        h = xnew(HeldEvent);
        *h = (HeldEvent){.control = c, .event = e, .key = xstrdup(key), .next = c->held};
        c->held = h;
        timer_init(&h->timer, c->machine->rt_clock, NULL, held_is_due, h);
        held_wait(h);
    }
    json_decref(j);
}

/* --- the queue --- */

static void events_drain(void *arg)
{
    MachineControl *c = arg;

    for (;;) {
        PendingEvent *p = NULL;

        WITH_LOCK (&c->lock) {
            p = c->first;
            if (p && !(c->first = p->next))
                c->last = &c->first;
            c->n_pending -= p != NULL;
        }
        if (!p)
            return;
        if (p->event->rate_ms) {
            event_limit(c, p->event, p->j);
        } else {
            event_tell(c, p->j);
            json_decref(p->j);
        }
        xfree(p);
    }
}

void event_post(Machine *m, const Event *e, const void *data)
{
    MachineControl *c = m->control;
    bool first = false, taken = false;
    PendingEvent *p;

    if (!c) /* the machine is being freed */
        return;
    p = xnew(PendingEvent);
    *p = (PendingEvent){.event = e, .j = event_json(e, data)};
    WITH_LOCK (&c->lock) {
        taken = c->n_pending < PENDING_MAX;
        if (taken) {
            first = !c->first;
            *c->last = p;
            c->last = &p->next;
            c->n_pending++;
        }
    }
    if (!taken) {
        json_decref(p->j);
        xfree(p);
    }
    if (pthread_equal(c->main, pthread_self()))
        events_drain(c);
    else if (first)
        loop_post(m->loop, events_drain, c);
}

/* --- listeners --- */

void event_listen(Machine *m, EventListener *l)
{
    l->next = m->control->listeners;
    m->control->listeners = l;
}

void event_unlisten(Machine *m, EventListener *l)
{
    EventListener **p = &m->control->listeners;

    while (*p && *p != l)
        p = &(*p)->next;
    if (*p)
        *p = l->next;
}

void control_free_events(MachineControl *c)
{
    events_drain(c);
    while (c->held)
        held_free(c->held);
}
