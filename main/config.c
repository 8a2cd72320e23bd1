/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config - -readconfig and -set
 *
 * A file has sections [group] or [group "id"] with lines key = "value"; each section is one option
 * of the group's name.  -set group.id.key=value adds to an option that was given before.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "main/options.h"

/* A section being read. */
typedef struct Section {
    char name[64]; /* "": none yet */
    StrBuf text;   /* "id=...,key=value": commas of values doubled */
} Section;

static void add_value(StrBuf *b, const char *key, const char *value)
{
    strbuf_addf(b, "%s%s=", b->len ? "," : "", key);
    for (; *value; value++)
        strbuf_addf(b, *value == ',' ? ",%c" : "%c", *value);
}

static bool section_done(Config *c, Section *s, Error *err)
{
    const char *name = !strcmp(s->name, "memory")      ? "m"
                       : !strcmp(s->name, "smp-opts")  ? "smp"
                       : !strcmp(s->name, "boot-opts") ? "boot"
                                                       : s->name;
    const Option *o;
    Given *g;

    if (!s->name[0])
        return true;
    o = option_find(name);
    if (!o || !o->arg)
        return error_set(err, "There is no option group '%s'", s->name);
    c->given = xrealloc(c->given, (c->n_given + 1) * sizeof *c->given);
    g = &c->given[c->n_given++];
    *g = (Given){o, xstrdup(name), xstrdup(strbuf_str(&s->text))};
    strbuf_free(&s->text);
    s->name[0] = 0;
    return true;
}

/* One line: false with @err. */
static bool take_line(Config *c, Section *s, char *line, Error *err)
{
    char group[64], id[64], key[64], value[1024];
    int n;

    line += strspn(line, " \t");
    n = (int)strcspn(line, "\r\n");
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    line[n] = 0;
    if (!*line || *line == '#')
        return true;
    if (sscanf(line, "[%63[^] \"] \"%63[^\"]\"]", group, id) == 2) {
        if (!section_done(c, s, err))
            return false;
        snprintf(s->name, sizeof s->name, "%s", group);
        add_value(&s->text, "id", id);
        return true;
    }
    if (sscanf(line, "[%63[^] \"]]", group) == 1) {
        if (!section_done(c, s, err))
            return false;
        snprintf(s->name, sizeof s->name, "%s", group);
        return true;
    }
    value[0] = 0;
    if (sscanf(line, "%63[^= \t] = \"%1023[^\"]\"", key, value) < 1 || !strchr(line, '=') ||
        !strchr(line, '"'))
        return error_set(err, "parse error");
    if (!s->name[0])
        return error_set(err, "no group defined");
    add_value(&s->text, key, value);
    return true;
}

bool config_read(Config *c, const char *path, Error *err)
{
    FILE *f = fopen(path, "re");
    Section s = {0};
    char line[2048];
    unsigned number = 0;
    bool ok = true;

    if (!f)
        return error_set_errno(err, errno, "Could not open '%s'", path);
    while (ok && fgets(line, sizeof line, f)) {
        number++;
        ok = take_line(c, &s, line, err) || error_prefix(err, "%s:%u: ", path, number);
    }
    fclose(f);
    ok = ok && section_done(c, &s, err);
    strbuf_free(&s.text);
    return ok;
}

/* Does option text @arg have id=@id? */
static bool has_id(const char *arg, const char *id)
{
    Opts o;
    const char *mine;
    bool found = false;

    if (opts_parse(&o, arg, "first", NULL)) {
        mine = opts_get(&o, "id");
        found = mine && !strcmp(mine, id);
        opts_free(&o);
    }
    return found;
}

bool config_set(Config *c, const char *text, Error *err)
{
    char group[64], id[64], key[64];
    int at = 0;

    if (sscanf(text, "%63[^.].%63[^.].%63[^=]=%n", group, id, key, &at) != 3 || !at)
        return error_set(err, "can't parse: \"%s\"", text);
    for (unsigned i = c->n_given; i-- > 0;) {
        Given *g = &c->given[i];
        StrBuf b = {0};

        if (strcmp(g->option->name, group) || !g->arg || !has_id(g->arg, id))
            continue;
        if (*g->arg == '{')
            return error_set(err, "'%s' was given as JSON; change it there", id);
        strbuf_add(&b, g->arg);
        add_value(&b, key, text + at);
        xfree(g->arg);
        g->arg = strbuf_take(&b);
        return true;
    }
    return error_set(err, "there is no %s \"%s\" defined", group, id);
}
