/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main - from the command line to a running machine and its exit status
 *
 * Errors before the machine runs: one line on standard error, status 1.  Then the status is the
 * guest's (isa-debug-exit) or 0: power-off, -no-reboot's reset, Ctrl-A x, SIGINT, SIGTERM, SIGHUP.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "chardev/chardev.h"
#include "main/options.h"
#include "main/signals.h"

typedef struct Run {
    Config cfg;
    Machine *m;
    Chardev *chardevs[5];
    unsigned n_chardevs;
} Run;

/* --- choosing --- */

static const Accel *pick_accel(const Config *c, Error *err)
{
    AUTO_FREE char *list = xstrdup(c->accels ? c->accels : "jit");
    const Accel *a = NULL;
    char *save = NULL;
    unsigned tried = 0;

    for (char *name = strtok_r(list, ":", &save); name && !a; name = strtok_r(NULL, ":", &save)) {
        a = accel_find(name);
        if (!a) {
            static const char *const missing[] = {"kvm",  "xen",  "hax",  "hvf",
                                                  "whpx", "nvmm", "qtest"};
            bool known = false;

            for (unsigned i = 0; i < COUNT_OF(missing); i++)
                known |= !strcmp(name, missing[i]);
            error_set(err, "-accel %s: %s", name,
                      known ? "this accelerator is not built yet"
                            : "there is no such accelerator (jit)");
        } else if (!a->probe(c->arch, err)) {
            error_prefix(err, "-accel %s: ", name);
            a = NULL;
        } else if (tried) {
            log_warn("%s; using %s", err->msg, name);
        }
        tried++;
    }
    return a;
}

static const Board *pick_board(const Config *c, Error *err)
{
    static const char *const missing[] = {"q35",   "pc-q35", "pc-i440fx", "microvm",
                                          "isapc", "none",   "x-remote",  "virt"};
    const char *name = c->board;
    const Board *b = board_find(name, c->arch);

    if (b && c->mc.max_cpus > b->max_cpus) {
        error_set(err, "-smp %u: board '%s' has at most %u processors", c->mc.max_cpus, b->name,
                  b->max_cpus);
        return NULL;
    }
    if (b)
        return b;
    if (!name) {
        error_set(err, "there is no board for %s yet", c->arch);
        return NULL;
    }
    for (unsigned i = 0; i < COUNT_OF(missing); i++)
        if (!strncmp(name, missing[i], strlen(missing[i]))) {
            error_set(err, "-machine %s: this machine is not built yet (pc is)", name);
            return NULL;
        }
    error_set(
        err, "-machine %s: unsupported machine type (use -machine help to list supported machines)",
        name);
    return NULL;
}

static bool set_board_options(Run *r, Error *err)
{
    for (unsigned i = 0; i < r->cfg.board_opts.n; i++) {
        const Opt *o = &r->cfg.board_opts.o[i];
        const Field *f =
            r->m->board->options ? reflect_find(r->m->board->options, o->key, FIELD_PROP) : NULL;

        if (!f)
            return error_set(err, "-machine %s=%s: board '%s' has no such property", o->key,
                             o->value, r->m->board->name);
        if (!reflect_set(f, r->m->board_state, o->value, err))
            return error_prefix(err, "-machine: ");
    }
    return true;
}

/* --- character devices --- */

static void quit(void *arg)
{
    machine_request_shutdown(arg, SHUTDOWN_HOST_QUIT, 0);
}

static Chardev *open_chardev(Run *r, const char *option, const char *text, const char *id,
                             Error *err)
{
    ChardevHost host = {.loop = r->m->loop, .quit = quit, .arg = r->m};
    Chardev *c = chardev_open(text, id, &host, err);

    if (c)
        r->chardevs[r->n_chardevs++] = c;
    else
        error_prefix(err, "%s %s: ", option, text);
    return c;
}

static bool open_chardevs(Run *r, Error *err)
{
    const Config *c = &r->cfg;
    TextList given = c->serials;
    char *first[] = {c->nographic ? (char[]){"mon:stdio"} : (char[]){"null"}};

    if (!given.n && !c->nodefaults)
        given = (TextList){first, 1};
    for (unsigned i = 0; i < given.n; i++) {
        char id[] = {'s', 'e', 'r', 'i', 'a', 'l', (char)('0' + i), 0};

        if (!strcmp(given.s[i], "none"))
            continue;
        if (!(r->m->serial[i] = open_chardev(r, "-serial", given.s[i], id, err)))
            return false;
    }
    return !c->debugcon ||
           (r->m->debugcon = open_chardev(r, "-debugcon", c->debugcon, "debugcon", err));
}

/* --- devices of -device --- */

static bool set_properties(Device *d, Opts *o, Error *err)
{
    for (unsigned i = 0; i < o->n; i++) {
        const Opt *p = &o->o[i];

        if (p->used)
            continue;
        if (!strcmp(p->key, "chardev"))
            return error_set(err,
                             "chardev=%s: character devices with ids (-chardev) are not built yet",
                             p->value);
        if (!device_set(d, p->key, p->value, err))
            return false;
    }
    return true;
}

static bool add_device(Machine *m, const char *text, Error *err)
{
    Opts o;
    Device *d = NULL;
    const char *driver, *id;
    const DeviceClass *cls;
    bool ok = false;

    if (!opts_parse(&o, text, "driver", err))
        return error_prefix(err, "-device %s: ", text);
    driver = opts_get(&o, "driver");
    id = opts_get(&o, "id");
    cls = device_class_find(driver);
    if (!cls)
        error_set(err, "'%s' is not a valid device model name, or not built yet", driver);
    else if (!cls->user)
        error_set(err, "'%s' is part of the board and cannot be added", driver);
    else if (id && device_by_id(m->root, id))
        error_set(err, "duplicate device ID '%s'", id);
    else
        ok = (d = device_new(m, driver, id, NULL, err)) && set_properties(d, &o, err) &&
             device_realize(d, err);
    if (ok)
        WITH_LOCK (&m->lock) {
            device_reset(d, RESET_ENTER);
            device_reset(d, RESET_HOLD);
        }
    opts_free(&o);
    return ok || error_prefix(err, "-device %s: ", text);
}

/* --- the run --- */

static bool set_up(Run *r, Error *err)
{
    Config *c = &r->cfg;
    const Board *b = pick_board(c, err);
    const Accel *a = b ? pick_accel(c, err) : NULL;

    if (!a)
        return false;
    if (!c->mc.kernel && (c->mc.initrd || c->mc.append))
        return error_set(err, "%s: only allowed with -kernel",
                         c->mc.initrd ? "-initrd" : "-append");
    if (!c->mc.kernel && !c->mc.bios)
        return error_set(
            err, "nothing to start: no firmware is built in yet; give -kernel FILE or -bios FILE");
    c->mc.arch = c->arch;
    r->m = machine_new(b, a, &c->mc, err);
    if (!r->m || !set_board_options(r, err) || !open_chardevs(r, err) || !machine_build(r->m, err))
        return false;
    for (unsigned i = 0; i < c->devices.n; i++)
        if (!add_device(r->m, c->devices.s[i], err))
            return false;
    return true;
}

static void show_stats(Machine *m)
{
    StrBuf b = {0};

    if (!log_on(LOG_STATS) || !m->accel->stats)
        return;
    m->accel->stats(m, &b);
    log_text(strbuf_str(&b));
    strbuf_free(&b);
}

static int run(Run *r)
{
    Error err = {0};
    int status;

    if (!r->cfg.nographic && !r->cfg.display_given)
        log_warn("no display is built yet (-display none says that you know; -nographic: serial "
                 "port on the terminal)");
    if (!signals_watch(r->m, &err)) {
        log_error("%s", err.msg);
        return 1;
    }
    machine_start(r->m);
    status = machine_main_loop(r->m);
    show_stats(r->m);
    return status;
}

static void tear_down(Run *r)
{
    for (unsigned i = 0; i < r->n_chardevs; i++)
        chardev_stop(r->chardevs[i]);
    if (r->m)
        signals_unwatch(r->m);
    machine_free(r->m);
    for (unsigned i = 0; i < r->n_chardevs; i++)
        chardev_close(r->chardevs[i]);
    config_free(&r->cfg);
}

int main(int argc, char **argv)
{
    Run r = {0};
    Error err = {0};
    int status = 1;

    signal(SIGPIPE, SIG_IGN);
    config_init(&r.cfg, argv[0]);
    if (options_parse(&r.cfg, argc, argv, &err)) {
        if (r.cfg.done)
            status = fflush(stdout) == 0 ? 0 : 1;
        else if (log_open(r.cfg.log_file, r.cfg.log_mask, &err) && set_up(&r, &err))
            status = run(&r);
    }
    if (err.msg[0] && status)
        log_error("%s", err.msg);
    tear_down(&r);
    return status;
}
