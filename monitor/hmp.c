/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hmp - the human monitor: lines matched against a table of templates, most of which name a QMP
 * command
 *
 * Prompt, messages and layout are those of QEMU 7.2, since programs read them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "core/machine.h"
#include "monitor/expr.h"
#include "monitor/hmp_priv.h"
#include "monitor/line_edit.h"

/* --- output and arguments --- */

void hmp_print(HmpCall *h, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    strbuf_add(h->out, text);
}

const char *hmp_str(const HmpCall *h, const char *name)
{
    const char *s = json_string_value(json_object_get(h->args, name));

    return s ? s : "";
}

int64_t hmp_int(const HmpCall *h, const char *name)
{
    return json_integer_value(json_object_get(h->args, name));
}

bool hmp_has(const HmpCall *h, const char *name)
{
    return json_object_get(h->args, name) != NULL;
}

void hmp_hold(Machine *m)
{
    if (m->state == RUN_RUNNING)
        m->accel->park(m);
}

void hmp_go(Machine *m)
{
    if (m->state == RUN_RUNNING)
        m->accel->run(m);
}

/* --- names --- */

static size_t blanks(const char *s)
{
    return strspn(s, " \t");
}

/* Length of @line's start that is one of @names ("cont|c", "info status"); 0: none. */
static size_t name_match(const char *names, const char *line)
{
    while (*names) {
        size_t n = strcspn(names, "|"), i = 0, at = 0;

        for (; i < n; i++, at++) { /* one blank stands for many */
            if (names[i] == ' ' && blanks(line + at)) {
                at += blanks(line + at) - 1;
                continue;
            }
            if (names[i] != line[at])
                break;
        }
        if (i == n && (!line[at] || line[at] == ' ' || line[at] == '\t' || line[at] == '/'))
            return at;
        names += n + (names[n] == '|');
    }
    return 0;
}

static const HmpCommand *hmp_find(const char *line, size_t *len)
{
    for (const HmpCommand *c = hmp_table; c->name; c++)
        if ((*len = name_match(c->name, line)))
            return c;
    return NULL;
}

static bool word_in(const char *list, const char *word, size_t len)
{
    for (const char *s = list; *s; s += blanks(s)) {
        size_t n = strcspn(s, " ");

        if (n == len && !memcmp(s, word, n))
            return true;
        s += n;
    }
    return false;
}

/* --- arguments --- */

/* One item of HmpCommand.args. */
typedef struct ArgSpec {
    char name[32]; /* the member */
    char flag[8];  /* kind '-': its letter */
    char kind;     /* as there; '-' flag, '/' format */
    bool optional;
    char complete[16];
} ArgSpec;

static bool spec_next(const char **s, ArgSpec *a)
{
    *a = (ArgSpec){0};
    *s += blanks(*s);
    if (!**s)
        return false;
    if (**s == '/' || **s == '-') {
        a->kind = **s;
        a->optional = true;
        if (sscanf(*s + 1, "%7[^ =]=%31[^ ]", a->flag, a->name) == 1)
            snprintf(a->name, sizeof a->name, "%s", a->flag);
    } else {
        const char *kind = strchr(*s, ':') + 1;

        sscanf(*s, "%31[^:]", a->name);
        a->kind = *kind;
        a->optional = kind[1] == '?';
        sscanf(kind + 1 + a->optional, "@%15[^ ]", a->complete);
    }
    *s += strcspn(*s, " ");
    return true;
}

/* A word, perhaps in quotes; NULL: a quote is open. */
static char *take_word(const char **line, Error *err)
{
    StrBuf word = {0};
    const char *s = *line;

    if (*s != '"') {
        size_t n = strcspn(s, " \t");

        *line += n;
        return xasprintf("%.*s", (int)n, s);
    }
    for (s++; *s && *s != '"'; s++) {
        if (*s == '\\' && s[1])
            s++;
        strbuf_addn(&word, s, 1);
    }
    if (!*s) {
        strbuf_free(&word);
        error_set(err, "unterminated string");
        return NULL;
    }
    *line = s + 1;
    return word.s ? strbuf_take(&word) : xstrdup("");
}

static bool take_format(HmpCall *h, const char **line, Error *err)
{
    char *end;

    h->count = strtoull(*line, &end, 10);
    if (end == *line)
        h->count = 1;
    for (; *end && *end != ' ' && *end != '\t'; end++) {
        static const char sizes[] = "bhwg";
        const char *size = strchr(sizes, *end);

        if (size)
            h->size = 1u << (size - sizes);
        else if (strchr("xduoci", *end))
            h->format = *end;
        else
            return error_set(err, "invalid char in format: '%c'", *end);
    }
    *line = end;
    return true;
}

/* "driver,key=value..." as members. */
static bool take_options(HmpCall *h, const char *name, const char *text, Error *err)
{
    Opts o;

    if (!opts_parse(&o, text, name, err))
        return false;
    for (unsigned i = 0; i < o.n; i++)
        json_object_set_new(h->args, o.o[i].key, json_string(o.o[i].value));
    opts_free(&o);
    return true;
}

static bool take_text(HmpCall *h, const ArgSpec *a, const char *word, Error *err)
{
    uint64_t size;
    bool on;

    if (a->kind == 'O')
        return take_options(h, a->name, word, err);
    if (a->kind == 'o') {
        if (!parse_size(word, 'M', &size) || size > INT64_MAX)
            return error_set(err, "invalid size");
        json_object_set_new(h->args, a->name, json_integer((json_int_t)size));
        return true;
    }
    if (a->kind != 'B') {
        json_object_set_new(h->args, a->name, json_string(word));
        return true;
    }
    if (!parse_bool(word, &on))
        return error_set(err, "Expected 'on' or 'off'");
    json_object_set_new(h->args, a->name, json_boolean(on));
    return true;
}

static bool take_arg(HmpCall *h, const HmpCommand *c, const ArgSpec *a, const char **line,
                     Error *err)
{
    AUTO_FREE char *word = NULL;
    int64_t v;

    *line += blanks(*line);
    if (a->kind == '/') {
        if (**line != '/')
            return true;
        ++*line;
        return take_format(h, line, err);
    }
    if (a->kind == '-') {
        size_t n = strlen(a->flag);

        if (**line == '-' && !strncmp(*line + 1, a->flag, n) &&
            (!(*line)[n + 1] || blanks(*line + n + 1))) {
            json_object_set_new(h->args, a->name, json_true());
            *line += n + 1;
        }
        return true;
    }
    if (!**line && a->optional)
        return true;
    if (a->kind == 'i' || a->kind == 'M') {
        if (!expr_parse(*line, line, h->cpu, &v, err))
            return false;
        if (a->kind == 'M' && __builtin_mul_overflow(v, (int64_t)MIB, &v))
            return error_set(err, "integer is for 63-bit values");
        json_object_set_new(h->args, a->name, json_integer(v));
        return true;
    }
    if (!**line)
        return error_set(err, "%.*s: string expected", (int)strcspn(c->name, "|"), c->name);
    if (a->kind == 'S') {
        word = xstrdup(*line);
        *line += strlen(*line);
    } else {
        word = take_word(line, err);
    }
    return word && take_text(h, a, word, err);
}

static bool take_args(HmpCall *h, const HmpCommand *c, const char *line, Error *err)
{
    const char *spec = c->args ? c->args : "";
    ArgSpec a;

    while (spec_next(&spec, &a))
        if (!take_arg(h, c, &a, &line, err))
            return false;
    line += blanks(line);
    return !*line || error_set(err, "%.*s: extraneous characters at the end of line",
                               (int)strcspn(c->name, "|"), c->name);
}

/* --- running --- */

json_t *hmp_ask(HmpCall *h, const char *name, json_t *args)
{
    const Command *command = command_find(name);
    Error err = {0};
    json_t *result = command ? command_run(h->m, h->mon, command, args, &err) : NULL;

    if (!command)
        hmp_print(h, "Error: %s is not built in\n", name);
    else if (!result)
        hmp_print(h, "Error: %s\n", err.msg);
    json_decref(args);
    return result;
}

static void hmp_call_qmp(HmpCall *h, const HmpCommand *c)
{
    json_t *result = hmp_ask(h, c->qmp, json_incref(h->args));

    if (result && c->show)
        c->show(h, result);
    json_decref(result);
}

static void hmp_unknown(HmpCall *h, const char *line)
{
    const char *info = !strncmp(line, "info ", 5) ? line + 5 + blanks(line + 5) : NULL;

    if (word_in(hmp_missing, line, strcspn(line, " \t/")))
        hmp_print(h, "%.*s: this command is not built yet\n", (int)strcspn(line, " \t/"), line);
    else if (info && word_in(hmp_missing_info, info, strcspn(info, " \t")))
        hmp_print(h, "info %.*s: this command is not built yet\n", (int)strcspn(info, " \t"), info);
    else if (info)
        hmp_print(h, "unknown command: '%s'\n", line);
    else
        hmp_print(h, "unknown command: '%.*s'\n", (int)strcspn(line, " \t"), line);
}

static void hmp_carry_out(HmpCall *h, const char *line)
{
    Error err = {0};
    size_t len;
    const HmpCommand *c = hmp_find(line, &len);

    if (!c) {
        hmp_unknown(h, line);
        return;
    }
    if (!take_args(h, c, line + len, &err)) {
        hmp_print(h, "%s\nTry \"help %.*s\" for more information\n", err.msg,
                  (int)strcspn(c->name, "|"), c->name);
        return;
    }
    if (c->qmp)
        hmp_call_qmp(h, c);
    else
        c->run(h);
}

/* As terminals want it. */
static void add_crlf(StrBuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            strbuf_add(out, "\r");
        strbuf_addn(out, text, 1);
    }
}

static void hmp_run_for(Machine *m, Monitor *mon, const char *line, unsigned cpu, StrBuf *out)
{
    StrBuf plain = {0};
    HmpCall h = {.m = m,
                 .mon = mon,
                 .cpu_index = cpu,
                 .cpu = cpu < m->n_cpus ? m->cpus[cpu] : NULL,
                 .out = &plain,
                 .args = json_object(),
                 .count = 1};

    line += blanks(line);
    if (*line && *line != '#')
        hmp_carry_out(&h, line);
    json_decref(h.args);
    add_crlf(out, strbuf_str(&plain));
    strbuf_free(&plain);
}

void hmp_run(Machine *m, const char *line, unsigned cpu, StrBuf *out)
{
    hmp_run_for(m, NULL, line, cpu, out);
}

/* --- help --- */

static void help_line(HmpCall *h, const HmpCommand *c)
{
    hmp_print(h, "%s %s -- %s\n", c->name, c->params ? c->params : "", c->help);
}

void hmp_help(HmpCall *h)
{
    const char *name = hmp_str(h, "name");
    bool all_info = !strcmp(name, "info");
    size_t len;

    for (const HmpCommand *c = hmp_table; c->name; c++) {
        bool is_info = !strncmp(c->name, "info ", 5);

        if (*name && !all_info ? (len = name_match(c->name, name)) && !name[len]
                               : is_info == all_info)
            help_line(h, c);
    }
    if (!*name)
        hmp_print(h, "info subcommand  -- show various information about the system state\n");
}

/* --- completion --- */

static void candidate(StrBuf *out, const char *name, const char *word)
{
    if (!strncmp(name, word, strlen(word)))
        strbuf_addf(out, "%s\n", name);
}

static void complete_name(const char *start, StrBuf *out)
{
    bool info = !strncmp(start, "info ", 5);
    const char *word = info ? start + 5 + blanks(start + 5) : start;

    for (const HmpCommand *c = hmp_table; c->name; c++) {
        AUTO_FREE char *first = xasprintf("%.*s", (int)strcspn(c->name, "|"), c->name);
        bool is_info = !strncmp(first, "info ", 5);

        if (is_info == info)
            candidate(out, info ? first + 5 : first, word);
    }
    if (!info)
        candidate(out, "info", word);
}

typedef struct IdList {
    StrBuf *out;
    const char *word;
} IdList;

static void id_visit(Device *d, void *arg)
{
    const IdList *l = arg;

    if (d->id)
        candidate(l->out, d->id, l->word);
}

static void complete_value(Machine *m, const char *list, const char *word, StrBuf *out)
{
    if (!strcmp(list, "device"))
        device_walk(m->root, id_visit, &(IdList){out, word});
    else if (!strcmp(list, "driver"))
        for (const DeviceClass *d = device_class_next(NULL); d; d = device_class_next(d)) {
            if (d->user)
                candidate(out, d->name, word);
        }
    else if (!strcmp(list, "command"))
        complete_name(word, out);
}

void hmp_complete(Machine *m, const char *start, StrBuf *out)
{
    size_t len;
    const HmpCommand *c;
    const char *spec, *word;
    ArgSpec a = {0};
    bool more;

    start += blanks(start);
    c = hmp_find(start, &len);
    if (!c || !start[len]) {
        complete_name(start, out);
        return;
    }
    spec = c->args ? c->args : "";
    word = start + len;
    do { /* the word and its argument, side by side */
        word += blanks(word);
        more = spec_next(&spec, &a);
        while (more && (a.kind == '/' || (a.kind == '-' && *word != '-')))
            more = spec_next(&spec, &a);
        if (!word[strcspn(word, " \t")])
            break;
        word += strcspn(word, " \t");
    } while (more);
    if (more && a.complete[0])
        complete_value(m, a.complete, word, out);
}

/* --- sessions --- */

static void session_write(Monitor *mon, StrBuf *plain)
{
    StrBuf out = {0};

    add_crlf(&out, strbuf_str(plain));
    monitor_write(mon, strbuf_str(&out), out.len);
    strbuf_free(&out);
    strbuf_free(plain);
}

static void session_complete(void *arg, const char *start, StrBuf *out)
{
    hmp_complete(((Monitor *)arg)->machine, start, out);
}

static void session_prompt(Monitor *mon)
{
    StrBuf out = {0};

    line_edit_start(mon->session, &out);
    session_write(mon, &out);
}

static void hmp_opened(Monitor *mon)
{
    StrBuf out = {0};

    strbuf_add(&out,
               "QEMU 7.2.0 monitor (rhea " RHEA_VERSION ") - type 'help' for more information\n");
    session_write(mon, &out);
    session_prompt(mon);
}

static void hmp_closed(Monitor *mon)
{
    line_edit_fini(mon->session);
    line_edit_init(mon->session, "(qemu) ", session_complete, mon);
}

static bool hmp_wants(UNUSED Monitor *mon)
{
    return true;
}

/* What one piece of input brings goes out in one piece. */
static void hmp_input(Monitor *mon, const char *p, size_t n)
{
    StrBuf out = {0};

    for (size_t i = 0; i < n; i++) {
        StrBuf echo = {0};
        const char *line = line_edit_take(mon->session, p[i], &echo);

        add_crlf(&out, strbuf_str(&echo));
        strbuf_free(&echo);
        if (line) {
            hmp_run_for(mon->machine, mon, line, mon->cpu, &out);
            line_edit_start(mon->session, &out);
        }
    }
    monitor_write(mon, strbuf_str(&out), out.len);
    strbuf_free(&out);
}

static void hmp_free(Monitor *mon)
{
    line_edit_fini(mon->session);
    xfree(mon->session);
}

static const MonitorOps hmp_ops = {
    .opened = hmp_opened,
    .closed = hmp_closed,
    .wants = hmp_wants,
    .input = hmp_input,
    .focus = session_prompt,
    .free = hmp_free,
};

void hmp_session_new(Monitor *mon)
{
    LineEdit *e = xnew(LineEdit);

    line_edit_init(e, "(qemu) ", session_complete, mon);
    mon->session = e;
    mon->ops = &hmp_ops;
}

void hmp_history(HmpCall *h)
{
    const LineEdit *e = h->mon && h->mon->ops == &hmp_ops ? h->mon->session : NULL;

    for (unsigned i = 0; e && i < e->n_history; i++)
        hmp_print(h, "%u: '%s'\n", i, e->history[i]);
}

/* --- human-monitor-command --- */

typedef struct HumanCommand {
    char *line;
    bool has_cpu;
    int64_t cpu;
} HumanCommand;
static const Field human_fields[] = {
    ARG(HumanCommand, line, "command-line", "as typed"),
    ARG_OPT(HumanCommand, cpu, "cpu-index", "the processor it is about"),
};
static STRUCT_TYPE(human_type, HumanCommand, human_fields);

COMMAND_FN(human_monitor_command)
{
    const HumanCommand *a = args;
    StrBuf out = {0};

    if (a->has_cpu && (a->cpu < 0 || a->cpu >= m->n_cpus))
        return error_set(err, "Parameter 'cpu-index' expects a CPU number");
    hmp_run(m, a->line, (unsigned)a->cpu, &out);
    *(char **)ret = out.s ? strbuf_take(&out) : xstrdup("");
    return true;
}
COMMAND(human_monitor_command, .name = "human-monitor-command", .args = &human_type,
        .ret = &type_str, .run = human_monitor_command,
        .doc = "Run a command of the human monitor: its output.")
