/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command - the table of commands, and running one the way QMP does */
#include "core/command.h"

#include "base/alloc.h"
#include "core/control_priv.h"

static Command *commands; /* sorted by name; filled by constructors */
static Event *events;
static CommandLineFn *command_line;

void command_register(Command *c)
{
    Command **p = &commands;

    while (*p && strcmp((*p)->name, c->name) < 0)
        p = &(*p)->reg_next;
    assert(!*p || strcmp((*p)->name, c->name) != 0);
    c->reg_next = *p;
    *p = c;
}

const Command *command_find(const char *name)
{
    for (const Command *c = commands; c; c = c->reg_next)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

const Command *command_next(const Command *c)
{
    return c ? c->reg_next : commands;
}

void event_register(Event *e)
{
    Event **p = &events;

    while (*p && strcmp((*p)->name, e->name) < 0)
        p = &(*p)->reg_next;
    assert(!*p || strcmp((*p)->name, e->name) != 0);
    e->reg_next = *p;
    *p = e;
}

const Event *event_next(const Event *e)
{
    return e ? e->reg_next : events;
}

void command_line_register(CommandLineFn *fn)
{
    command_line = fn;
}

CommandLineFn *command_line_describer(void)
{
    return command_line;
}

/* --- running --- */

/* Members of @args that the command does not list. */
static json_t *extra_members(const Command *c, const json_t *args)
{
    json_t *extra = json_object(), *value;
    const char *key;

    json_object_foreach ((json_t *)args, key, value) {
        if (!c->args || !reflect_find(c->args, key, FIELD_ARG))
            json_object_set(extra, key, value);
    }
    return extra;
}

static bool command_fill(const Command *c, void *p, const json_t *args, const json_t *extra,
                         Error *err)
{
    const char *unknown = json_object_iter_key(json_object_iter((json_t *)extra));
    json_t *listed;
    bool ok;

    if (c->args && c->args->meta != META_STRUCT)
        return reflect_value_from_json(c->args, "arguments", p, args, FIELD_ARG, err);
    if (!c->args)
        return !unknown || c->flags & COMMAND_EXTRA_PROPS ||
               error_set(err, "Parameter '%s' is unexpected", unknown);
    reflect_defaults(c->args, p, FIELD_ARG);
    if (!(c->flags & COMMAND_EXTRA_PROPS))
        return reflect_from_json(c->args, p, args, FIELD_ARG, err);
    listed = json_copy((json_t *)args);
    for (void *i = json_object_iter((json_t *)extra); i;
         i = json_object_iter_next((json_t *)extra, i))
        json_object_del(listed, json_object_iter_key(i));
    ok = reflect_from_json(c->args, p, listed, FIELD_ARG, err);
    json_decref(listed);
    return ok;
}

static void *value_new(const Type *t)
{
    return t ? xalloc_aligned(64, MAX(t->size, 8u)) : NULL;
}

static void value_drop(const Type *t, void *p)
{
    if (t)
        reflect_value_free(t, p);
    xfree(p);
}

json_t *command_run(Machine *m, Monitor *mon, const Command *c, const json_t *args, Error *err)
{
    MachineControl *mc = m->control;
    const json_t *outer_extra = mc->extra;
    Monitor *outer_monitor = mc->monitor;
    json_t *none = json_object(), *extra = extra_members(c, args ? args : none), *result = NULL;
    void *a = value_new(c->args), *r = value_new(c->ret);

    mc->extra = extra;
    mc->monitor = mon;
    if (command_fill(c, a, args ? args : none, extra, err) && c->run(m, a, r, err))
        result = c->ret ? reflect_value_to_json(c->ret, r, FIELD_ARG) : json_object();
    mc->extra = outer_extra;
    mc->monitor = outer_monitor;
    value_drop(c->args, a);
    value_drop(c->ret, r);
    json_decref(extra);
    json_decref(none);
    return result;
}

const json_t *command_extra(Machine *m)
{
    return m->control->extra;
}

Monitor *command_monitor(Machine *m)
{
    return m->control->monitor;
}

/* --- what belongs to one machine --- */

struct ControlState {
    const void *key;
    void *p;
    void (*fini)(void *state);
    ControlState *next;
};

void *control_state(Machine *m, const void *key, size_t size, void (*fini)(void *state))
{
    ControlState *s = m->control->states;

    while (s && s->key != key)
        s = s->next;
    if (!s) {
        s = xnew(ControlState);
        *s = (ControlState){key, xalloc_aligned(64, size), fini, m->control->states};
        m->control->states = s;
    }
    return s->p;
}

MachineControl *control_new(Machine *m)
{
    MachineControl *c = xnew(MachineControl);

    c->machine = m;
    c->main = pthread_self();
    c->last = &c->first;
    lock_init(&c->lock, "events", RANK_QUEUE);
    return c;
}

void control_free(MachineControl *c)
{
    if (!c)
        return;
    for (ControlState *s; (s = c->states);) {
        c->states = s->next;
        if (s->fini)
            s->fini(s->p);
        xfree(s->p);
        xfree(s);
    }
    control_free_events(c);
    control_free_fds(c);
    lock_fini(&c->lock);
    xfree(c);
}
