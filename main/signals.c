/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signals - SIGINT, SIGTERM and SIGHUP end the machine in an orderly way, with status 0
 *
 * The handler only notes the sender and writes to a pipe that the main loop watches.  Signals are
 * the process's, and so is this state.  If the main loop does not answer, a second signal some
 * seconds later ends the process at once.  Taken even where the parent had them ignored: shells
 * start background commands with SIGINT ignored, and whoever sends one wants the machine to end.
 */
#include "main/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { PATIENCE_S = 3 };
static const int quit_signals[] = {SIGINT, SIGTERM, SIGHUP};

static struct {
    int pipe[2];
    volatile sig_atomic_t number, sender;
    volatile time_t since;
} caught = {.pipe = {-1, -1}};

static void signal_caught(int number, siginfo_t *info, void *context)
{
    struct timespec now;
    int saved = errno;

    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (caught.number && now.tv_sec - caught.since >= PATIENCE_S) {
        signal(number, SIG_DFL);
        raise(number);
    }
    if (!caught.number) {
        caught.sender = info->si_code == SI_USER ? (sig_atomic_t)info->si_pid : 0;
        caught.since = now.tv_sec;
        caught.number = number;
        if (write(caught.pipe[1], "", 1) < 0) {
            /* full: the loop knows already */
        }
    }
    errno = saved;
}

static void process_name(long pid, char *out, size_t size)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
    f = fopen(path, "re");
    out[f ? fread(out, 1, size - 1, f) : 0] = 0;
    if (f)
        fclose(f);
}

static void signal_seen(void *arg, int fd, uint32_t events)
{
    char name[64], byte;

    (void)events;
    if (read(fd, &byte, 1) != 1)
        return;
    if (caught.sender) {
        process_name(caught.sender, name, sizeof name);
        log_error("terminating on signal %d from pid %d (%s)", (int)caught.number,
                  (int)caught.sender, *name ? name : "<unknown process>");
    } else {
        log_error("terminating on signal %d", (int)caught.number);
    }
    machine_request_shutdown(arg, SHUTDOWN_HOST_SIGNAL, 0);
}

bool signals_watch(Machine *m, Error *err)
{
    struct sigaction sa = {.sa_sigaction = signal_caught, .sa_flags = SA_SIGINFO | SA_RESTART};

    if (pipe(caught.pipe) < 0)
        return error_set_errno(err, errno, "pipe");
    for (unsigned i = 0; i < 2; i++) {
        fcntl(caught.pipe[i], F_SETFL, O_NONBLOCK);
        fcntl(caught.pipe[i], F_SETFD, FD_CLOEXEC);
    }
    if (!loop_watch(m->loop, caught.pipe[0], LOOP_READ, signal_seen, m))
        return error_set(err, "could not watch for signals");
    sigfillset(&sa.sa_mask);
    for (unsigned i = 0; i < COUNT_OF(quit_signals); i++)
        sigaction(quit_signals[i], &sa, NULL);
    return true;
}

void signals_unwatch(Machine *m)
{
    if (caught.pipe[0] >= 0)
        loop_watch(m->loop, caught.pipe[0], 0, NULL, NULL);
}
