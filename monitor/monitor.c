/* SPDX-License-Identifier: GPL-2.0-or-later */
/* monitor - what QMP and human sessions share: the back end, output that waits, clients that come
 * and go */
#include "monitor/monitor.h"

#include "base/alloc.h"
#include "monitor/monitor_priv.h"

/* --- output --- */

static void out_clear(Monitor *mon)
{
    xfree(mon->out);
    mon->out = NULL;
    mon->out_at = mon->out_len = mon->out_cap = 0;
}

static void out_flush(Monitor *mon)
{
    while (mon->out_at < mon->out_len) {
        size_t n = chardev_write(mon->chr, (const uint8_t *)mon->out + mon->out_at,
                                 mon->out_len - mon->out_at);

        if (!n)
            return;
        mon->out_at += n;
    }
    mon->out_at = mon->out_len = 0;
    if (mon->out_cap > IN_STEP)
        out_clear(mon);
}

void monitor_write(Monitor *mon, const char *p, size_t n)
{
    if (!mon->open || !n)
        return;
    if (mon->out_at && mon->out_cap - mon->out_len < n) {
        memmove(mon->out, mon->out + mon->out_at, mon->out_len - mon->out_at);
        mon->out_len -= mon->out_at;
        mon->out_at = 0;
    }
    if (mon->out_cap - mon->out_len < n) {
        mon->out_cap = MAX(mon->out_len + n, mon->out_cap * 2);
        mon->out = xrealloc(mon->out, mon->out_cap);
    }
    memcpy(mon->out + mon->out_len, p, n);
    mon->out_len += n;
    out_flush(mon);
}

/* --- the back end's calls --- */

void monitor_input_ready(Monitor *mon)
{
    chardev_accept_ready(mon->chr);
}

static size_t monitor_can_accept(void *arg)
{
    Monitor *mon = arg;

    return mon->open && !monitor_is_full(mon) && mon->ops->wants(mon) ? IN_STEP : 0;
}

static void monitor_accept(void *arg, const uint8_t *p, size_t n)
{
    Monitor *mon = arg;

    mon->ops->input(mon, (const char *)p, n);
}

static void monitor_closes(Monitor *mon)
{
    if (!mon->open)
        return;
    mon->open = false;
    mon->ops->closed(mon);
    out_clear(mon);
}

static void monitor_event(void *arg, CharEvent e)
{
    Monitor *mon = arg;

    switch (e) {
    case CHAR_OPENED:
        monitor_closes(mon);
        mon->open = true;
        mon->ops->opened(mon);
        monitor_input_ready(mon);
        break;
    case CHAR_CLOSED: monitor_closes(mon); break;
    case CHAR_WRITABLE:
        out_flush(mon);
        if (monitor_is_full(mon))
            break;
        if (mon->ops->drained)
            mon->ops->drained(mon);
        monitor_input_ready(mon);
        break;
    case CHAR_FOCUS:
        if (mon->ops->focus)
            mon->ops->focus(mon);
        break;
    case CHAR_BREAK:
    case CHAR_BLUR: break;
    }
}

static void monitor_hears(void *arg, const json_t *event)
{
    Monitor *mon = arg;

    if (mon->open && monitor_waiting(mon) < OUT_HARD)
        mon->ops->event(mon, event);
}

/* --- life --- */

Monitor *monitor_new(Machine *m, Chardev *c, MonitorMode mode, bool pretty)
{
    Monitor *mon = xnew(Monitor);

    *mon = (Monitor){.machine = m, .chr = c, .pretty = pretty};
    mon->front = (CharFront){
        .arg = mon,
        .can_accept = monitor_can_accept,
        .accept = monitor_accept,
        .event = monitor_event,
    };
    if (mode == MONITOR_CONTROL)
        qmp_session_new(mon);
    else
        hmp_session_new(mon);
    if (mon->ops->event) {
        mon->listener = (EventListener){.fn = monitor_hears, .arg = mon};
        event_listen(m, &mon->listener);
    }
    if (c)
        c->only_in_focus = mode == MONITOR_READLINE;
    chardev_attach(c, &mon->front);
    return mon;
}

void monitor_free(Monitor *mon)
{
    if (!mon)
        return;
    if (mon->ops->event)
        event_unlisten(mon->machine, &mon->listener);
    chardev_attach(mon->chr, NULL);
    monitor_closes(mon);
    mon->ops->free(mon);
    xfree(mon);
}
