/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options - the command line: tables of options, and what they say
 *
 * Each main/opt_*.c has a table of its own; parser, --help, manual page, completion and
 * query-command-line-options come from them.  Handlers fill a Config and touch nothing else, except
 * that `help` arguments print and set Config.done.  What makes something (a chardev, a drive, a
 * device) is kept by config_later() and done by main/setup.c, stage by stage.
 */
#ifndef MAIN_OPTIONS_H
#define MAIN_OPTIONS_H

#include "base/opts.h"
#include "core/machine.h"

typedef struct TextList {
    char **s;
    unsigned n;
} TextList;

/* What is being set up; main/setup.h. */
typedef struct Setup Setup;
typedef bool LaterFn(Setup *s, const char *arg, Error *err);

/* In this order; within one, in the order of the command line. */
typedef enum Stage {
    STAGE_OBJECT, /* the Machine is there, empty */
    STAGE_CHARDEV,
    STAGE_BLOCK,
    STAGE_NET,
    STAGE_DISPLAY, /* displays, audio */
    STAGE_PORT,    /* serial ports and their kin: what the board connects */
    STAGE_MONITOR,
    STAGE_BOARD, /* last words to the board; it is built after this stage */
    STAGE_DEVICE,
    STAGE_LATE, /* everything is there: gdb, incoming state */
    STAGES
} Stage;

typedef struct Later {
    LaterFn *fn;
    const char *option; /* its name, for messages */
    char *arg;
} Later;

typedef struct Option Option;
typedef struct Given { /* what the command line and files said, in order */
    const Option *option;
    char *name, *arg; /* as it was spelled; arg NULL: none */
} Given;

typedef struct Config {
    char *program;    /* how we were called, without its folder */
    const char *arch; /* of the guest */
    char *board;      /* -machine's type; NULL: the default */
    Opts board_opts;  /* what -machine gave besides, for the board's own options */
    char *accels;     /* "a:b": the first that works; NULL: jit */
    MachineConfig mc;
    Given *given;
    unsigned n_given;
    Later *later[STAGES];
    unsigned n_later[STAGES];
    TextList globals;   /* -global */
    TextList numa_cpus; /* -numa cpu, until -smp is known */
    uint32_t numa_seen; /* nodes, a bitmap */
    char *name, *process_name, *uuid, *log_file;
    uint32_t log_mask;
    bool nographic, display_given, nodefaults, stopped; /* stopped: -S */
    bool has_serial, has_monitor, has_parallel; /* given, so that there are no default ones */
    bool dry_run, explain;
    bool snapshot; /* of -snapshot: drives keep nothing */
    char *pidfile, *runas, *chroot, *sandbox, *memory_backend;
    bool daemonize, lock_memory;
    uint8_t escape; /* -echr */
    bool msg_stamp, msg_guest;
    bool done;          /* something was printed: end with status 0 */
    TextList data_dirs; /* -L */
} Config;

struct Option {
    const char *name, *alias; /* without dashes; alias may be NULL */
    const char *arg;          /* what follows it, for the help; NULL: nothing */
    const char *doc;          /* lines */
    bool (*apply)(Config *c, const char *arg, Error *err);
    const char *now; /* an older spelling: "machine acpi=off", %s for its argument, "" nothing */
    char *(*translate)(const char *arg); /* the same where the argument decides; caller frees */
    const char *missing;                 /* not built: why, or what there is instead */
    uint8_t flags;
};
enum { OPTION_FALLBACK = 1 }; /* counts only if no other table has the name */

typedef struct OptionTable {
    const char *heading; /* of --help; NULL: not shown there */
    unsigned order;      /* of headings */
    const Option *rows;  /* ends with name == NULL */
    struct OptionTable *next;
} OptionTable;
void options_register(OptionTable *t);
/* OPTIONS_REGISTER(block, 30, "Block device options", rows): const Option rows[] = {{.name =
 * ...}, {0}} */
#define OPTIONS_REGISTER(var, ord, head, table)                                                    \
    static OptionTable var##_options = {head, ord, table, NULL};                                   \
    __attribute__((constructor)) static void var##_options_register(void)                          \
    {                                                                                              \
        options_register(&var##_options);                                                          \
    }
const OptionTable *option_table_next(const OptionTable *t); /* NULL starts */
const Option *option_find(const char *name);
/* What an older spelling stands for: "machine acpi=off", "" nothing; caller frees.  NULL: it is
 * none. */
char *option_modern(const Option *o, const char *arg);

void config_init(Config *c, const char *argv0);
void config_free(Config *c);
/* Everything on the command line; the error's text begins with the option. */
bool options_parse(Config *c, int argc, char **argv, Error *err);
/* One more, as if it had been given: "machine", "acpi=off". */
bool option_apply(Config *c, const char *name, const char *arg, Error *err);
void config_later(Config *c, Stage stage, LaterFn *fn, const char *option, const char *arg);

/* Call @row for each option that is there, @heading (may be NULL) once for each group. */
typedef void OptionRowFn(const Option *o, void *arg);
void options_each(void (*heading)(const char *text), OptionRowFn *row, void *arg);
void options_help(const Config *c);
void options_explain(const Config *c); /* the command line in its modern form */
void options_man(void);                /* a manual page, troff */
void options_completion(void);         /* a script for bash, for the tools too */

/* -readconfig and -set. */
bool config_read(Config *c, const char *path, Error *err);
bool config_set(Config *c, const char *text, Error *err); /* group.id.key=value */

/* What `help` prints. */
void list_boards(const Config *c);
void list_cpus(const Config *c);
void list_accels(void);
void list_devices(void);
bool list_properties(const char *device, Error *err);
bool list_board_properties(const Config *c, Error *err); /* of -machine */
void list_log_items(void);

/* --- for handlers --- */

#define OPT(name) static bool name(Config *c, UNUSED const char *arg, UNUSED Error *err)
#define OPT_TEXT(name, member)                                                                     \
    OPT(name)                                                                                      \
    {                                                                                              \
        set_text(&c->member, arg);                                                                 \
        return true;                                                                               \
    }
#define OPT_FLAG(name, member)                                                                     \
    OPT(name)                                                                                      \
    {                                                                                              \
        c->member = true;                                                                          \
        return true;                                                                               \
    }
/* An option that makes something of a kind at a later stage: "kind,key=value" or JSON; `help` lists
 * kinds, `kind,help` what one takes. */
typedef struct OptionMaker {
    const char *option, *implied; /* the key of the kind */
    unsigned flags;               /* KEYVAL_* */
    void (*help)(StrBuf *out);
    bool (*kind_help)(const char *kind, StrBuf *out, Error *err);
    Stage stage;
    LaterFn *make;
} OptionMaker;
bool option_make(Config *c, const OptionMaker *m, const char *arg, Error *err);
void set_text(char **member, const char *to);
void text_add(TextList *l, const char *s);
bool is_help(const char *arg); /* "help" or "?" */
/* Wrong value of a key, in QEMU's words. */
bool value_refused(const char *key, const char *value, Error *err);
/* The index of @value among @names, which end with NULL. */
bool choose(const char *key, const char *value, const char *const *names, unsigned *out,
            Error *err);
bool opts_get_bool(Opts *o, const char *key, bool *out, Error *err); /* absent: unchanged */

#endif
