/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main - from the command line to a running machine and its exit status
 *
 * Errors before the machine runs: one line on standard error, status 1.  Then the status is the
 * guest's (isa-debug-exit) or 0: power-off, -no-reboot's reset, Ctrl-A x, SIGINT, SIGTERM, SIGHUP.
 */
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "main/daemon.h"
#include "main/dry_run.h"
#include "main/setup.h"
#include "main/signals.h"

static void show_stats(Machine *m)
{
    StrBuf b = {0};

    if (!log_on(LOG_STATS) || !m->accel->stats)
        return;
    m->accel->stats(m, &b);
    log_text(strbuf_str(&b));
    strbuf_free(&b);
}

/* Set up and ready; the machine's status, or -1 with @err. */
static int run(Setup *s, Config *c, Error *err)
{
    int status;

    if (!c->nographic && !c->display_given && !c->nodefaults)
        log_warn("no display is built yet (-display none says that you know; -nographic: serial "
                 "port on the terminal)");
    if (!daemon_drop(c, err) || !signals_watch(s->m, err))
        return -1;
    if (daemon_ready(c, err)) {
        if (!c->stopped)
            machine_start(s->m);
        status = machine_main_loop(s->m);
        show_stats(s->m);
    } else {
        status = -1;
    }
    signals_unwatch(s->m);
    return status;
}

static bool prepare(Config *c, Error *err)
{
    return c->dry_run ? dry_process(c, err)
                      : log_open(c->log_file, c->log_mask, err) && daemon_begin(c, err);
}

static int start(Config *c, Error *err)
{
    Setup s = {0};
    int status = -1;

    if (prepare(c, err) && setup_make(&s, c, err)) {
        if (c->dry_run) {
            printf("%s: everything is there to start this machine\n", c->program);
            status = 0;
        } else {
            status = run(&s, c, err);
        }
    }
    if (status <
        0) /* before the monitors are closed: who sees that may end us, or read no further */
        log_error("%s", err->msg);
    setup_free(&s);
    daemon_end();
    return status < 0 ? 1 : status;
}

int main(int argc, char **argv)
{
    Config c;
    Error err = {0};
    int status;
    bool ok;

    signal(SIGPIPE, SIG_IGN);
    config_init(&c, argv[0]);
    log_set_program(c.program);
    ok = options_parse(&c, argc, argv, &err);
    log_set_stamp(c.msg_stamp, c.msg_guest ? c.name : NULL);
    if (ok) {
        if (c.explain && !c.done) {
            options_explain(&c);
            c.done = true;
        }
        status = c.done ? (fflush(stdout) == 0 ? 0 : 1) : start(&c, &err);
    } else {
        log_error("%s", err.msg);
        status = 1;
    }
    config_free(&c);
    return status;
}
