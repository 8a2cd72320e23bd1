/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stdio - the terminal (or whatever standard input and output are)
 *
 * A terminal is put into raw mode and back: when closed, at exit, and when the process dies by a
 * fatal signal.  There is one terminal, so its state is the process's (static); only one back end
 * may use it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/fd.h"

static struct {
    struct termios before, raw;
    volatile sig_atomic_t is_raw;
    bool used, hooked;
} term;

static void term_restore(void)
{
    if (term.is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &term.before);
    term.is_raw = 0;
}

static void term_fatal(int sig)
{
    term_restore();
    raise(sig); /* SA_RESETHAND: now it kills */
}

/* The shell has put its own mode while we were stopped. */
static void term_continued(int sig)
{
    int saved = errno;

    (void)sig;
    if (term.is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &term.raw);
    errno = saved;
}

static void term_hook(void)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGQUIT};
    struct sigaction now,
        die = {.sa_handler = term_fatal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    struct sigaction cont = {.sa_handler = term_continued, .sa_flags = SA_RESTART};

    if (term.hooked)
        return;
    term.hooked = true;
    atexit(term_restore);
    sigaction(SIGCONT, &cont, NULL);
    for (unsigned i = 0; i < COUNT_OF(fatal); i++)
        if (sigaction(fatal[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
            sigaction(fatal[i], &die, NULL);
}

static void term_raw(bool signals)
{
    /* In the background setting it would stop us. */
    if (tcgetattr(STDIN_FILENO, &term.before) < 0 || tcgetpgrp(STDIN_FILENO) != getpgrp())
        return;
    term_hook();
    term.raw = term.before;
    term.raw.c_iflag &=
        ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    term.raw.c_oflag |= OPOST;
    term.raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        term.raw.c_lflag &= ~(tcflag_t)ISIG;
    term.raw.c_cflag = (term.raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    term.raw.c_cc[VMIN] = 1;
    term.raw.c_cc[VTIME] = 0;
    term.is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &term.raw) == 0;
}

static void stdio_stopped(void *arg)
{
    (void)arg;
    term_restore();
    term.used = false;
}

typedef struct StdioOptions {
    bool signal;
} StdioOptions;

static Chardev *stdio_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const StdioOptions *o = options;
    int in, out;

    if (term.used) {
        error_set(err, "cannot use stdio by multiple character devices");
        return NULL;
    }
    in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3); /* closed ones (<&-) are like /dev/null */
    out = fd_reopen_for_write(STDOUT_FILENO);
    term.used = true;
    if (in >= 0 && isatty(in))
        term_raw(o->signal);
    return fd_open("stdio", in, out, host, id, stdio_stopped, NULL);
}

static const Field stdio_fields[] = {
    PROP(StdioOptions, signal, "signal", true, "Ctrl-C and its like act on us"),
};
static STRUCT_TYPE(stdio_type, StdioOptions, stdio_fields);

static ChardevClass stdio_class = {
    .name = "stdio",
    .doc = "standard input and output",
    .options = &stdio_type,
    .open = stdio_open,
};
CHARDEV_REGISTER(stdio_class)
