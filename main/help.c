/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help - what the tables of options say: --help, --explain, QMP; main/man.c has the manual page */
#define _GNU_SOURCE
#include <stdio.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "core/command.h"
#include "main/options.h"

enum { HELP_COLUMN = 16 };

void options_each(void (*heading)(const char *text), OptionRowFn *row, void *arg)
{
    const char *last = NULL;

    for (const OptionTable *t = option_table_next(NULL); t; t = option_table_next(t)) {
        if (!t->heading)
            continue;
        if (heading && (!last || strcmp(last, t->heading)))
            heading(t->heading);
        last = t->heading;
        for (const Option *o = t->rows; o->name; o++)
            if (o->doc && option_find(o->name) == o)
                row(o, arg);
    }
}

/* --- --help --- */

static void help_heading(const char *text)
{
    printf("\n%s:\n", text);
}

static void help_row(const Option *o, void *arg)
{
    int n = printf("-%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");

    (void)arg;
    if (o->alias)
        n += printf(" (or -%s)", o->alias);
    if (n >= HELP_COLUMN)
        n = printf("\n") * 0;
    for (const char *s = o->doc; s;) {
        const char *end = strchrnul(s, '\n');

        printf("%*s%.*s\n", HELP_COLUMN - n, "", (int)(end - s), s);
        n = 0;
        s = *end ? end + 1 : NULL;
    }
}

static void print_missing(void)
{
    const char *comma = "";

    for (const OptionTable *t = option_table_next(NULL); t; t = option_table_next(t))
        for (const Option *o = t->rows; o->name; o++)
            if (o->missing && option_find(o->name) == o) {
                printf("%s%s", comma, o->name);
                comma = " ";
            }
}

void options_help(const Config *c)
{
    printf("rhea emulator version %s\nusage: %s [options] [disk_image]\n", RHEA_VERSION,
           c->program);
    options_each(help_heading, help_row, NULL);
    printf("\nNot built yet: ");
    print_missing();
    printf("\n\nDuring emulation with -nographic or -serial mon:stdio, Ctrl-a h lists the keys' "
           "commands.\n");
}

/* --- --explain --- */

/* As a shell takes it. */
static void print_word(const char *s)
{
    if (*s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                           "-_./:,=+@%")]) {
        printf("%s", s);
        return;
    }
    putchar('\'');
    for (; *s; s++)
        printf(*s == '\'' ? "'\\''" : "%c", *s);
    putchar('\'');
}

/* "server,nowait" as "server=on,wait=off", the implied key left implied. */
static char *modern_text(const char *arg)
{
    StrBuf b = {0};
    bool leading = true;

    if (*arg == '{' || !strchr(arg, ','))
        return xstrdup(arg);
    while (*arg) {
        size_t n = 0;

        while (arg[n] && (arg[n] != ',' || arg[n + 1] == ','))
            n += arg[n] == ',' ? 2 : 1;
        bool bare = !memchr(arg, '=', n) && !leading && n > 0, no = bare && !strncmp(arg, "no", 2);

        if (b.len)
            strbuf_add(&b, ",");
        strbuf_addn(&b, arg + (no ? 2 : 0), n - (no ? 2 : 0));
        strbuf_add(&b, bare ? no ? "=off" : "=on" : "");
        leading = false;
        arg += n + (arg[n] == ',');
    }
    return strbuf_take(&b);
}

static bool has_bare_words(const Option *o)
{
    static const char *const names[] = {"serial",  "parallel", "monitor", "qmp",
                                        "chardev", "mon",      "drive",   "netdev",
                                        "gdb",     "debugcon", "device"};

    for (unsigned i = 0; i < COUNT_OF(names); i++)
        if (!strcmp(o->name, names[i]))
            return true;
    return false;
}

static void explain_one(const Given *g)
{
    AUTO_FREE char *modern = option_modern(g->option, g->arg);
    const char *name = g->option->name, *arg = g->arg;
    AUTO_FREE char *text = NULL;
    const Option *o = g->option;

    if (modern && !*modern)
        return;
    if (modern) {
        char *space = strchr(modern, ' ');

        if (space)
            *space = 0;
        name = modern;
        arg = space ? space + 1 : NULL;
        o = option_find(name);
    }
    if (!strcmp(name, "explain"))
        return;
    printf(" \\\n    -%s", name);
    if (!arg)
        return;
    text = o && has_bare_words(o) ? modern_text(arg) : xstrdup(arg);
    putchar(' ');
    print_word(text);
}

/* What changes nothing is told in comments before the line. */
void options_explain(const Config *c)
{
    for (unsigned i = 0; i < c->n_given; i++) {
        AUTO_FREE char *modern = option_modern(c->given[i].option, c->given[i].arg);

        if (modern && !*modern)
            printf("# -%s changes nothing\n", c->given[i].option->name);
    }
    printf("%s", c->program);
    for (unsigned i = 0; i < c->n_given; i++)
        explain_one(&c->given[i]);
    printf("\n");
}

/* --- for query-command-line-options: keys are read out of the synopsis --- */

static bool is_key_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' ||
           ch == '.';
}

static void add_parameters(json_t *list, const char *synopsis)
{
    for (const char *s = synopsis; *s; s++) {
        const char *end = s;

        while (is_key_char(*end))
            end++;
        if (end > s && *end == '=')
            json_array_append_new(
                list, json_pack("{s:o, s:s}", "name", json_stringn(s, (size_t)(end - s)), "type",
                                !strncmp(end, "=on|off", 7) ? "boolean" : "string"));
        s = end > s ? end - 1 : s;
    }
}

static void describe_row(const Option *o, void *arg)
{
    json_t *parameters = json_array();

    if (o->arg)
        add_parameters(parameters, o->arg);
    json_array_append_new(arg,
                          json_pack("{s:s, s:o}", "option", o->name, "parameters", parameters));
}

static json_t *describe(void)
{
    json_t *list = json_array();

    options_each(NULL, describe_row, list);
    return list;
}

__attribute__((constructor)) static void help_register(void)
{
    command_line_register(describe);
}
