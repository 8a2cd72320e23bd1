/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options - finding options in the tables, and carrying them out; options.h has the contract */
#include "main/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/opts_json.h"
#include "base/strbuf.h"

void set_text(char **member, const char *to)
{
    char *old = *member;

    *member = xstrdup(to);
    xfree(old);
}

void text_add(TextList *l, const char *s)
{
    l->s = xrealloc(l->s, (l->n + 1) * sizeof *l->s);
    l->s[l->n++] = xstrdup(s);
}

static void text_free(TextList *l)
{
    for (unsigned i = 0; i < l->n; i++)
        xfree(l->s[i]);
    xfree(l->s);
    *l = (TextList){0};
}

bool is_help(const char *arg)
{
    return !strcmp(arg, "help") || !strcmp(arg, "?");
}

bool value_refused(const char *key, const char *value, Error *err)
{
    return error_set(err, "Parameter '%s' does not accept value '%s'", key, value);
}

bool choose(const char *key, const char *value, const char *const *names, unsigned *out, Error *err)
{
    for (unsigned i = 0; names[i]; i++)
        if (!strcmp(names[i], value)) {
            *out = i;
            return true;
        }
    return value_refused(key, value, err);
}

bool opts_get_bool(Opts *o, const char *key, bool *out, Error *err)
{
    const char *text = opts_get(o, key);

    return !text || parse_bool(text, out) ||
           error_set(err, "Parameter '%s' expects 'on' or 'off'", key);
}

/* --- tables --- */

static OptionTable *tables; /* sorted by order; filled by constructors only */

void options_register(OptionTable *t)
{
    OptionTable **p = &tables;

    while (*p && (*p)->order <= t->order)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
}

const OptionTable *option_table_next(const OptionTable *t)
{
    return t ? t->next : tables;
}

const Option *option_find(const char *name)
{
    const Option *fallback = NULL;

    for (const OptionTable *t = tables; t; t = t->next)
        for (const Option *o = t->rows; o->name; o++) {
            if (strcmp(o->name, name) && (!o->alias || strcmp(o->alias, name)))
                continue;
            if (!(o->flags & OPTION_FALLBACK))
                return o;
            fallback = o;
        }
    return fallback;
}

static bool unknown_option(const char *name, Error *err)
{
    const char *names[512], *near;
    unsigned n = 0;

    for (const OptionTable *t = tables; t; t = t->next)
        for (const Option *o = t->rows; o->name && n < COUNT_OF(names); o++)
            if (!o->missing)
                names[n++] = o->name;
    near = nearest_name(name, names, n);
    if (near)
        return error_set(err, "-%s: invalid option; did you mean -%s?", name, near);
    return error_set(err, "-%s: invalid option", name);
}

/* --- carrying out --- */

void config_later(Config *c, Stage stage, LaterFn *fn, const char *option, const char *arg)
{
    Later *l = xrealloc(c->later[stage], (c->n_later[stage] + 1) * sizeof *l);

    c->later[stage] = l;
    l[c->n_later[stage]++] = (Later){fn, option, xstrdup(arg)};
}

char *option_modern(const Option *o, const char *arg)
{
    const char *at = o->now ? strstr(o->now, "%s") : NULL;

    if (o->translate)
        return o->translate(arg);
    return at ? xasprintf("%.*s%s%s", (int)(at - o->now), o->now, arg ? arg : "", at + 2)
              : xstrdup(o->now);
}

/* "machine acpi=off": as if that had been given. */
static bool apply_modern(Config *c, char *text, Error *err)
{
    char *space = strchr(text, ' ');

    if (space)
        *space = 0;
    return !*text || option_apply(c, text, space ? space + 1 : NULL, err);
}

static bool apply(Config *c, const Option *o, const char *arg, Error *err)
{
    AUTO_FREE char *modern = option_modern(o, arg);

    if (o->missing && arg && is_help(arg)) { /* a list of nothing */
        printf("%s\n", o->missing);
        c->done = true;
        return true;
    }
    if (o->missing)
        return error_set(err, "%s", o->missing);
    if (modern)
        return apply_modern(c, modern, err);
    return o->apply(c, arg, err);
}

bool option_apply(Config *c, const char *name, const char *arg, Error *err)
{
    const Option *o = option_find(name);

    return o ? apply(c, o, arg, err) : unknown_option(name, err);
}

static void given_add(Config *c, const Option *o, const char *name, const char *arg)
{
    c->given = xrealloc(c->given, (c->n_given + 1) * sizeof *c->given);
    c->given[c->n_given++] = (Given){o, xstrdup(name), xstrdup(arg)};
}

/* A word that is no option: a disk image. */
static void take_image(Config *c, const char *path)
{
    given_add(c, option_find("hda"), "hda", path);
}

static bool take_option(Config *c, const char *name, const char *arg, Error *err)
{
    if (!strcmp(name, "readconfig")) /* its contents take its place, so that -set finds them */
        return config_read(c, arg, err) || error_prefix(err, "-readconfig %s: ", arg);
    if (!strcmp(name, "set"))
        return config_set(c, arg, err) || error_prefix(err, "-set %s: ", arg);
    given_add(c, option_find(name), name, arg);
    return true;
}

/* First everything is taken down, then carried out: -set may change what came before. */
static bool take_down(Config *c, int argc, char **argv, Error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *arg = NULL;
        const Option *o;

        if (*name != '-' || !name[1]) {
            take_image(c, name);
            continue;
        }
        name += name[1] == '-' ? 2 : 1;
        o = option_find(name);
        if (!o)
            return unknown_option(name, err);
        if (o->arg && i + 1 == argc)
            return error_set(err, "-%s: requires an argument", name);
        if (o->arg)
            arg = argv[++i];
        if (!take_option(c, name, arg, err))
            return false;
    }
    return true;
}

bool options_parse(Config *c, int argc, char **argv, Error *err)
{
    if (!take_down(c, argc, argv, err))
        return false;
    for (unsigned i = 0; i < c->n_given && !c->done; i++) {
        const Given *g = &c->given[i];

        if (!apply(c, g->option, g->arg, err))
            return g->arg ? error_prefix(err, "-%s %s: ", g->name, g->arg)
                          : error_prefix(err, "-%s: ", g->name);
    }
    return true;
}

bool option_make(Config *c, const OptionMaker *m, const char *arg, Error *err)
{
    StrBuf b = {0};
    bool help = is_help(arg), ok = true;
    json_t *j = help ? NULL : opts_json_parse(arg, m->implied, m->flags, &help, err);
    const char *kind = json_string_value(json_object_get(j, m->implied));

    if (is_help(arg))
        m->help(&b);
    else if (!j)
        ok = false;
    else if (help)
        ok = m->kind_help(kind ? kind : "", &b, err);
    else
        config_later(c, m->stage, m->make, m->option, arg);
    if (help && ok) {
        fputs(strbuf_str(&b), stdout);
        c->done = true;
    }
    json_decref(j);
    strbuf_free(&b);
    return ok;
}

/* --- config --- */

void config_init(Config *c, const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *dash;

    *c = (Config){.program = xstrdup(slash ? slash + 1 : argv0 ? argv0 : "rhea"), .arch = "x86_64"};
    c->mc.rtc_utc = true;
    c->mc.cpus = c->mc.max_cpus = c->mc.sockets = c->mc.dies = c->mc.cores = c->mc.threads = 1;
    c->mc.boot.splash_ms = c->mc.boot.reboot_ms = -1;
    dash = strstr(c->program, "-system-");
    if (dash)
        c->arch = strcmp(dash + 8, "i386") ? dash + 8 : "i386";
}

static void free_borrowed(MachineConfig *mc)
{
    TextList lists[] = {{(char **)(uintptr_t)mc->fw_cfg.s, mc->fw_cfg.n},
                        {(char **)(uintptr_t)mc->smbios.s, mc->smbios.n},
                        {(char **)(uintptr_t)mc->acpitable.s, mc->acpitable.n},
                        {(char **)(uintptr_t)mc->option_rom.s, mc->option_rom.n}};
    const char *texts[] = {mc->boot.order, mc->boot.once, mc->boot.splash, mc->mem_path};

    for (unsigned i = 0; i < COUNT_OF(lists); i++)
        text_free(&lists[i]);
    for (unsigned i = 0; i < COUNT_OF(texts); i++)
        xfree((void *)(uintptr_t)texts[i]);
    for (unsigned i = 0; i < mc->n_numa; i++)
        xfree((void *)(uintptr_t)mc->numa[i].memdev);
}

void config_free(Config *c)
{
    char *texts[] = {c->program,      c->board,     c->accels,    c->name,
                     c->process_name, c->uuid,      c->log_file,  c->pidfile,
                     c->runas,        c->chroot,    c->sandbox,   c->memory_backend,
                     c->mc.cpu_model, c->mc.kernel, c->mc.initrd, c->mc.append,
                     c->mc.bios,      c->mc.dtb};

    for (unsigned i = 0; i < COUNT_OF(texts); i++)
        xfree(texts[i]);
    for (unsigned s = 0; s < STAGES; s++) {
        for (unsigned i = 0; i < c->n_later[s]; i++)
            xfree(c->later[s][i].arg);
        xfree(c->later[s]);
    }
    for (unsigned i = 0; i < c->n_given; i++) {
        xfree(c->given[i].name);
        xfree(c->given[i].arg);
    }
    xfree(c->given);
    free_borrowed(&c->mc);
    text_free(&c->globals);
    text_free(&c->numa_cpus);
    text_free(&c->data_dirs);
    opts_free(&c->board_opts);
    *c = (Config){0};
}
