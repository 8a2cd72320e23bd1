/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help - what the tables of options say: --help, a manual page, completions, --explain, QMP */
#define _GNU_SOURCE
#include <stdio.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "core/command.h"
#include "main/options.h"

enum { HELP_COLUMN = 16 };

/* Call fn for each option that is there, headings told once. */
typedef void RowFn(const Option *o, void *arg);
static void each_row(void (*heading)(const char *text), RowFn *row, void *arg)
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
    each_row(help_heading, help_row, NULL);
    printf("\nNot built yet: ");
    print_missing();
    printf("\n\nDuring emulation with -nographic or -serial mon:stdio, Ctrl-a h lists the keys' "
           "commands.\n");
}

/* --- manual page --- */

static void man_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '-' || *s == '\\')
            putchar('\\');
        putchar(*s);
        if (*s == '\n')
            printf(".br\n");
    }
}

static void man_heading(const char *text)
{
    printf(".SS %s\n", text);
}

static void man_row(const Option *o, void *arg)
{
    (void)arg;
    printf(".TP\n\\fB\\-");
    man_text(o->name);
    printf("\\fR");
    if (o->arg) {
        printf(" \\fI");
        man_text(o->arg);
        printf("\\fR");
    }
    printf("\n");
    man_text(o->doc);
    printf("\n");
}

void options_man(const Config *c)
{
    (void)c;
    printf(".TH RHEA 1 \"\" \"rhea %s\"\n.SH NAME\nrhea \\- machine emulator\n"
           ".SH SYNOPSIS\n.B rhea\n[\\fIoptions\\fR] [\\fIdisk_image\\fR]\n.SH OPTIONS\n",
           RHEA_VERSION);
    each_row(man_heading, man_row, NULL);
    printf(".SS Older spellings\n");
    for (const OptionTable *t = option_table_next(NULL); t; t = option_table_next(t))
        for (const Option *o = t->rows; o->name; o++)
            if (o->now && !o->doc) {
                printf(".TP\n\\fB\\-");
                man_text(o->name);
                printf("\\fR%s\n%s", o->arg ? " \\fIarg\\fR" : "",
                       *o->now ? "\\-" : "changes nothing");
                man_text(o->now);
                printf("\n");
            }
    printf(".SH EXIT STATUS\n0 after power-off or quit, 1 after an error before the machine ran, "
           "else what the guest gave to isa-debug-exit.\n");
}

/* --- completion --- */

static void completion_row(const Option *o, void *arg)
{
    (void)arg;
    printf(" -%s", o->name);
}

void options_completion(const Config *c)
{
    printf(
        "_rhea()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
        "    case $prev in\n"
        "    -machine | -M) COMPREPLY=($(compgen -W \"$($1 -M help | awk 'NR > 1 { print $1 }')\""
        " -- \"$cur\")); return ;;\n"
        "    -device) COMPREPLY=($(compgen -W \"$($1 -device help | sed -n 's/^name \"\\([^\"]*\\)"
        "\".*/\\1/p')\" -- \"$cur\")); return ;;\n"
        "    esac\n    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W \"");
    each_row(NULL, completion_row, NULL);
    printf("\" -- \"$cur\"))\n    else\n        COMPREPLY=($(compgen -f -- \"$cur\"))\n    fi\n}\n"
           "complete -o filenames -F _rhea %s rhea rhea-system-x86_64\n",
           c->program);
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
    const Option *o = g->option;
    const char *rest;

    if (o->now) {
        size_t n = strcspn(o->now, " ");

        if (!*o->now) {
            printf(" \\\n    # -%s changes nothing", o->name);
            return;
        }
        printf(" \\\n    -%.*s", (int)n, o->now);
        rest = o->now[n] ? o->now + n + 1 : NULL;
        if (rest) {
            const char *at = strstr(rest, "%s");
            AUTO_FREE char *text =
                at ? xasprintf("%.*s%s%s", (int)(at - rest), rest, g->arg ? g->arg : "", at + 2)
                   : xstrdup(rest);

            putchar(' ');
            print_word(text);
        }
        return;
    }
    if (!strcmp(o->name, "explain"))
        return;
    printf(" \\\n    -%s", o->name);
    if (g->arg) {
        AUTO_FREE char *text = has_bare_words(o) ? modern_text(g->arg) : xstrdup(g->arg);

        putchar(' ');
        print_word(text);
    }
}

void options_explain(const Config *c)
{
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

    each_row(NULL, describe_row, list);
    return list;
}

__attribute__((constructor)) static void help_register(void)
{
    command_line_register(describe);
}
