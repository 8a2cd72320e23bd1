/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options - the command line: one table of options, and what they say
 *
 * An option has one entry in option_table: parser, --help and (later) the manual come from it.
 * Handlers fill a Config and touch nothing else, except that `help` arguments print and set
 * Config.done.
 */
#ifndef MAIN_OPTIONS_H
#define MAIN_OPTIONS_H

#include "base/opts.h"
#include "core/machine.h"

typedef struct TextList {
    char **s;
    unsigned n;
} TextList;

typedef struct Config {
    char *program;    /* how we were called, without its folder */
    const char *arch; /* of the guest */
    char *board;      /* -machine's type; NULL: the default */
    Opts board_opts;  /* what -machine gave besides, for the board's own options */
    char *accels;     /* "a:b": the first that works; NULL: jit */
    MachineConfig mc;
    TextList serials; /* -serial, in order; "none" counts as given */
    TextList devices; /* -device */
    char *debugcon, *name, *process_name, *uuid, *log_file;
    uint32_t log_mask;
    bool nographic, display_given, nodefaults, debug_threads;
    bool done; /* something was printed: end with status 0 */
} Config;

typedef struct Option {
    const char *name, *alias; /* without dashes; alias may be NULL */
    const char *arg;          /* what follows it, for the help; NULL: nothing */
    const char *doc;          /* lines; NULL: a heading, whose text is name */
    bool (*apply)(Config *c, const char *arg, Error *err);
} Option;
extern const Option option_table[];  /* ends with name == NULL */
extern const char options_missing[]; /* QEMU's that are not built yet, separated by blanks */
bool option_is_missing(const char *name);

void config_init(Config *c, const char *argv0);
void config_free(Config *c);
/* Everything on the command line; the error's text begins with the option. */
bool options_parse(Config *c, int argc, char **argv, Error *err);
void options_help(const Config *c);

/* What `help` prints. */
void list_boards(const Config *c);
void list_cpus(const Config *c);
void list_accels(void);
void list_devices(void);
bool list_properties(const char *device, Error *err);
void list_log_items(void);

/* Handlers, by subject. */
bool opt_machine(Config *c, const char *arg, Error *err);
bool opt_accel(Config *c, const char *arg, Error *err);
bool opt_enable_kvm(Config *c, const char *arg, Error *err);
bool opt_cpu(Config *c, const char *arg, Error *err);
bool opt_smp(Config *c, const char *arg, Error *err);
bool opt_memory(Config *c, const char *arg, Error *err);
bool opt_rtc(Config *c, const char *arg, Error *err);

void set_text(char **member, const char *to);
void text_add(TextList *l, const char *s);
bool is_help(const char *arg); /* "help" or "?" */

#endif
