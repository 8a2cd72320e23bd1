/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command - what management can ask (commands) and is told (events): two tables that fill
 * themselves
 *
 * Any folder above core declares; monitor/ speaks QMP and HMP over the tables; query-qmp-schema
 * is a walk
 * over them.  docs/add-a-command.md is the recipe.  Guide 3.8.
 */
#ifndef CORE_COMMAND_H
#define CORE_COMMAND_H

#include "base/reflect.h"

typedef struct Machine Machine;
typedef struct Monitor Monitor;

enum {                             /* Command.flags */
       COMMAND_OOB = 1 << 0,       /* may run out of band: touches atomics only, never waits */
       COMMAND_PRECONFIG = 1 << 1, /* also before the machine is built */
       COMMAND_EXTRA_PROPS =
           1 << 2 /* members that args does not list are let through, to command_extra() */
};

/*
 * Thread: main, with no lock held.  @args: a filled args->size struct (NULL without args); @ret:
 * a zeroed
 * ret->size value to fill (NULL without ret).  Both are freed by the caller (reflect_value_free),
 * also on failure.
 * False: @err is the answer.
 */
typedef bool CommandFn(Machine *m, void *args, void *ret, Error *err);

typedef struct Command {
    const char *name;     /* as in QMP */
    const Type *args;     /* a STRUCT_TYPE of ARG fields, or a UNION_TYPE; NULL: takes none */
    const Type *ret;      /* any Type; NULL: returns {} */
    const char *features; /* of the schema, separated by blanks; NULL: none */
    const char *doc;      /* one sentence */
    CommandFn *run;
    uint8_t flags;
    struct Command *reg_next; /* private */
} Command;

/* Head of a command's function, some of whose arguments it may not need. */
#define COMMAND_FN(fn)                                                                             \
    static bool fn(UNUSED Machine *m, UNUSED void *args, UNUSED void *ret, UNUSED Error *err)

void command_register(Command *c);
/* COMMAND(query_status, .name = "query-status", .ret = &status_type, .run = query_status, .doc =
 * "...") */
#define COMMAND(var, ...)                                                                          \
    static Command command_##var = {__VA_ARGS__};                                                  \
    __attribute__((constructor)) static void command_##var##_register(void)                        \
    {                                                                                              \
        command_register(&command_##var);                                                          \
    }
const Command *command_find(const char *name);
const Command *command_next(const Command *c); /* sorted by name; NULL starts */

/*
 * Run @name with @args (an object; NULL: {}), as QMP does: fills, checks, calls, and gives what
 * it returned as JSON,
 * which the caller frees; NULL: @err.  @mon: who asks (NULL: nobody, such as HMP within QMP or a
 * test).
 */
json_t *command_run(Machine *m, Monitor *mon, const Command *c, const json_t *args, Error *err);
/* Inside a command: the members that args does not list (COMMAND_EXTRA_PROPS; borrowed, never
 * NULL), who asks. */
const json_t *command_extra(Machine *m);
Monitor *command_monitor(Machine *m); /* NULL: nobody in particular */

/* --- events --- */

/* Events that come within rate_ms of one that was told are held back; the last of them is told when
 * that time is over.  Those that differ in the member rate_key do not hold back each other. */
typedef struct Event {
    const char *name;       /* as in QMP */
    const Type *data;       /* a STRUCT_TYPE of ARG fields; NULL: none */
    const char *doc;        /* one sentence */
    uint32_t rate_ms;       /* 0: tell all */
    const char *rate_key;   /* NULL: none */
    struct Event *reg_next; /* private */
} Event;

void event_register(Event *e);
/* EVENT(rtc_change, .name = "RTC_CHANGE", .data = &..., .rate_ms = 1000, .doc = "...") defines
 * `Event event_rtc_change`; a header that shares it says `extern Event event_rtc_change;`. */
#define EVENT(var, ...)                                                                            \
    Event event_##var = {__VA_ARGS__};                                                             \
    __attribute__((constructor)) static void event_##var##_register(void)                          \
    {                                                                                              \
        event_register(&event_##var);                                                              \
    }
const Event *event_next(const Event *e); /* sorted by name; NULL starts */

/* Tell all who listen.  @data: the event's struct (borrowed), or NULL.  Any thread, any lock
 * below RANK_QUEUE held, vector registers saved; on the main thread those who listen hear it
 * before this returns, else from the loop. */
void event_post(Machine *m, const Event *e, const void *data);

/* Who listens.  @fn gets {"timestamp", "event", "data"} (borrowed) on the main thread; it must
 * only queue it. */
typedef struct EventListener {
    void (*fn)(void *arg, const json_t *event);
    void *arg;
    struct EventListener *next; /* private */
} EventListener;
void event_listen(Machine *m, EventListener *l); /* main thread */
void event_unlisten(Machine *m, EventListener *l);

/* --- the command line, for query-command-line-options: main/ registers who describes its table
 * --- */

typedef json_t *CommandLineFn(
    void); /* [{"option", "parameters": [{"name", "type", "help"?}]}]; the caller's */
void command_line_register(CommandLineFn *fn); /* from a constructor */
CommandLineFn *command_line_describer(void);   /* NULL: nobody */

/* Memory that belongs to @m and to the one who knows @key: zeroed when it is first asked for;
 * @fini (may be NULL) is called before it is freed with the machine.  Main thread. */
void *control_state(Machine *m, const void *key, size_t size, void (*fini)(void *state));

/* Machine.control: made and freed with the machine (core/machine.c). */
struct MachineControl *control_new(Machine *m);
void control_free(struct MachineControl *c);

#endif
