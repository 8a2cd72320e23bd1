/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp - the QEMU Machine Protocol over the table of commands (qmp-spec.txt of QEMU 7.2;
 * docs/qmp.md)
 *
 * Input is cut into requests that wait in a queue; one runs at a time, each in a round of the
 * loop of its own, so
 * that many monitors share it fairly.  Requests out of band run as soon as they are read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/run_state.h"
#include "monitor/json_frame.h"
#include "monitor/monitor_priv.h"
#include "monitor/version.h"

enum { QUEUE_MAX = 8 }; /* requests that may wait before reading stops */

typedef struct Request {
    json_t *j; /* NULL: what was read is no JSON, as error says */
    Error error;
    struct Request *next;
} Request;

typedef struct Qmp {
    JsonFrame frame;
    Request *first, **last;
    unsigned n;
    bool negotiated, oob;
    Timer timer; /* the next request is to run */
} Qmp;

/* --- answers --- */

static void qmp_send(Monitor *mon, json_t *j)
{
    char *text = json_dumps(j, JSON_ENSURE_ASCII | (mon->pretty ? JSON_INDENT(4) : 0));
    StrBuf line = {0};

    strbuf_addf(&line, "%s\r\n", text);
    monitor_write(mon, strbuf_str(&line), line.len);
    strbuf_free(&line);
    free(text);
    json_decref(j);
}

static const char *error_class(ErrorClass c)
{
    static const char *const names[] = {
        [ERROR_GENERIC] = "GenericError",
        [ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
    };

    return names[c];
}

/* Takes @result over; NULL: @err.  @request NULL: there is no id. */
static void qmp_answer(Monitor *mon, const json_t *request, json_t *result, const Error *err)
{
    json_t *j = json_object(), *id = json_object_get(request, "id");

    if (result)
        json_object_set_new(j, "return", result);
    if (id)
        json_object_set(j, "id", id);
    if (!result)
        json_object_set_new(
            j, "error", json_pack("{s:s, s:s}", "class", error_class(err->cls), "desc", err->msg));
    qmp_send(mon, j);
}

/* --- requests --- */

/* The command's name; NULL with a message if @j is no request.  @oob: it is one out of band. */
static const char *request_name(const json_t *j, bool oob_allowed, bool *oob, Error *err)
{
    json_t *name = NULL, *value;
    const char *key, *found = NULL;

    if (!json_is_object(j)) {
        error_set(err, "QMP input must be a JSON object");
        return NULL;
    }
    json_object_foreach ((json_t *)j, key, value) {
        bool is_oob = oob_allowed && !strcmp(key, "exec-oob");

        if (is_oob || !strcmp(key, "execute")) {
            if (found)
                error_set(err, "QMP input member '%s' clashes with '%s'", found, key);
            else if (!json_is_string(value))
                error_set(err, "QMP input member '%s' must be a string", key);
            if (found || !json_is_string(value))
                return NULL;
            found = key;
            name = value;
            *oob = is_oob;
        } else if (!strcmp(key, "arguments") && !json_is_object(value)) {
            error_set(err, "QMP input member 'arguments' must be an object");
            return NULL;
        } else if (strcmp(key, "arguments") && strcmp(key, "id")) {
            error_set(err, "QMP input member '%s' is unexpected", key);
            return NULL;
        }
    }
    if (!name)
        error_set(err, "QMP input lacks member 'execute'");
    return json_string_value(name);
}

static json_t *request_run(Monitor *mon, const json_t *j, Error *err)
{
    Qmp *q = mon->session;
    bool oob = false;
    const char *name = request_name(j, q->oob, &oob, err);
    const Command *c = name ? command_find(name) : NULL;
    bool negotiates = name && !strcmp(name, "qmp_capabilities");

    if (!name)
        return NULL;
    if (!q->negotiated && !negotiates)
        error_set_class(err, ERROR_COMMAND_NOT_FOUND,
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
    else if (q->negotiated && negotiates)
        error_set_class(err, ERROR_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete, command ignored");
    else if (!c)
        error_set_class(err, ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", name);
    else if (oob && !(c->flags & COMMAND_OOB))
        error_set(err, "The command %s does not support OOB", name);
    else
        return command_run(mon->machine, mon, c, json_object_get(j, "arguments"), err);
    return NULL;
}

static void request_carry_out(Monitor *mon, Request *r)
{
    json_t *result = r->j ? request_run(mon, r->j, &r->error) : NULL;

    qmp_answer(mon, r->j, result, &r->error);
    json_decref(r->j);
    xfree(r);
}

/* --- the queue --- */

static void queue_poke(Monitor *mon)
{
    Qmp *q = mon->session;

    if (q->first && !monitor_is_full(mon) && !timer_armed(&q->timer))
        timer_at(&q->timer, clock_now(mon->machine->rt_clock));
}

static void queue_run(void *arg)
{
    Monitor *mon = arg;
    Qmp *q = mon->session;
    Request *r = q->first;

    if (!r || monitor_is_full(mon))
        return;
    if (!(q->first = r->next))
        q->last = &q->first;
    request_carry_out(mon, r);
    if (q->n-- == QUEUE_MAX)
        monitor_input_ready(mon);
    queue_poke(mon);
}

static void queue_clear(Qmp *q)
{
    for (Request *r; (r = q->first);) {
        q->first = r->next;
        json_decref(r->j);
        xfree(r);
    }
    q->last = &q->first;
    q->n = 0;
    timer_stop(&q->timer);
}

/* --- what the monitor asks --- */

static void qmp_read(Monitor *mon, FrameResult what, const Error *err)
{
    Qmp *q = mon->session;
    Request *r = xnew(Request);
    json_error_t why;

    if (what == FRAME_ERROR) {
        r->error = *err;
    } else {
        r->j = json_loads(q->frame.text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
        if (!r->j)
            error_set(&r->error, "JSON parse error, %s", why.text);
    }
    if (q->oob && json_object_get(r->j, "exec-oob")) {
        request_carry_out(mon, r);
        return;
    }
    *q->last = r;
    q->last = &r->next;
    q->n++;
    queue_poke(mon);
}

static void qmp_input(Monitor *mon, const char *p, size_t n)
{
    Qmp *q = mon->session;

    while (n && mon->open) {
        FrameResult result;
        Error err = {0};
        size_t taken = json_frame_take(&q->frame, p, n, &result, &err);

        p += taken;
        n -= taken;
        if (result != FRAME_MORE)
            qmp_read(mon, result, &err);
    }
}

static bool qmp_wants(Monitor *mon)
{
    return ((Qmp *)mon->session)->n < QUEUE_MAX;
}

static void qmp_opened(Monitor *mon)
{
    json_t *j =
        json_pack("{s:{s:o, s:[s]}}", "QMP", "version", version_json(), "capabilities", "oob");

    qmp_send(mon, j);
}

static void qmp_closed(Monitor *mon)
{
    Qmp *q = mon->session;

    queue_clear(q);
    json_frame_reset(&q->frame);
    q->negotiated = q->oob = false;
}

static void qmp_event(Monitor *mon, const json_t *event)
{
    if (((Qmp *)mon->session)->negotiated)
        qmp_send(mon, json_incref((json_t *)event));
}

static void qmp_free(Monitor *mon)
{
    qmp_closed(mon);
    xfree(mon->session);
}

static const MonitorOps qmp_ops = {
    .opened = qmp_opened,
    .closed = qmp_closed,
    .wants = qmp_wants,
    .input = qmp_input,
    .event = qmp_event,
    .drained = queue_poke,
    .free = qmp_free,
};

void qmp_session_new(Monitor *mon)
{
    Qmp *q = xnew(Qmp);

    q->last = &q->first;
    timer_init(&q->timer, mon->machine->rt_clock, NULL, queue_run, mon);
    mon->session = q;
    mon->ops = &qmp_ops;
}

/* --- negotiation --- */

static const char *const capability_names[] = {"oob", NULL};
static ENUM_TYPE(capability_type, QMPCapability, capability_names);
static LIST_TYPE(capabilities_type, &capability_type);

typedef struct Negotiate {
    List enable;
    bool has_enable;
} Negotiate;
static const Field negotiate_fields[] = {
    ARG_TYPE_OPT(Negotiate, enable, "enable", &capabilities_type, "what both sides can do"),
};
static STRUCT_TYPE(negotiate_type, Negotiate, negotiate_fields);

static bool qmp_negotiate(Machine *m, void *args, void *ret, Error *err)
{
    const Negotiate *a = args;
    Monitor *mon = command_monitor(m);
    Qmp *q;

    (void)ret;
    if (!mon || mon->ops != &qmp_ops)
        return error_set(err, "there is nobody to negotiate with");
    q = mon->session;
    q->negotiated = true;
    q->oob = a->enable.n > 0;
    return true;
}
COMMAND(
    qmp_capabilities, .name = "qmp_capabilities", .args = &negotiate_type, .run = qmp_negotiate,
    .flags = COMMAND_PRECONFIG,
    .doc = "Begin to give commands; out-of-band execution is the one thing that can be enabled.")
