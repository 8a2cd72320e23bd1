/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pty - a new pseudo terminal that a user connects to
 *
 * While nobody has the other end open, output is dropped; a timer looks for somebody to come.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "chardev/fd.h"

enum { LOOK_NS = 200 * 1000 * 1000 };

typedef struct Pty {
    Chardev *c;
    Loop *loop;
    int fd, timer;
    bool connected;
} Pty;

static void pty_look(void *arg, int timer, uint32_t events)
{
    Pty *p = arg;
    struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
    uint64_t ticks;
    bool on;

    (void)events;
    if (read(timer, &ticks, sizeof ticks) < 0)
        return;
    poll(&pfd, 1, 0);
    on = !(pfd.revents & POLLHUP);
    if (on != p->connected)
        fd_set_connected(p->c, p->connected = on);
}

static void pty_stopped(void *arg)
{
    Pty *p = arg;

    loop_watch(p->loop, p->timer, 0, NULL, NULL);
    close(p->timer);
    xfree(p);
}

/* The other end starts raw: what the guest prints comes out as it is. */
static bool make_raw(const char *path)
{
    struct termios t;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    bool ok = fd >= 0 && tcgetattr(fd, &t) == 0;

    if (ok) {
        cfmakeraw(&t);
        ok = tcsetattr(fd, TCSANOW, &t) == 0;
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

static Chardev *pty_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    struct itimerspec every = {{0, LOOK_NS}, {0, LOOK_NS}};
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    char path[64], shown[80];
    Pty *p;

    (void)options;
    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, path, sizeof path) != 0 ||
        !make_raw(path)) {
        error_set_errno(err, errno, "could not make a pseudo terminal");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    p = xnew(Pty);
    *p = (Pty){.loop = host->loop,
               .fd = fd,
               .timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    p->c = fd_open("pty", fd, fd, host, id, pty_stopped, p);
    fd_set_connected(p->c, false);
    snprintf(shown, sizeof shown, "pty:%s", path);
    fd_describe_as(p->c, shown);
    timerfd_settime(p->timer, 0, &every, NULL);
    loop_watch(host->loop, p->timer, LOOP_READ, pty_look, p);
    printf("char device redirected to %s (label %s)\n", path, id);
    fflush(stdout);
    return p->c;
}

static ChardevClass pty_class = {
    .name = "pty", .doc = "a new pseudo terminal, whose name is printed", .open = pty_open};
CHARDEV_REGISTER(pty_class)

/* --- tty: a serial port or another terminal of the host --- */

typedef struct TtyOptions {
    char *path;
} TtyOptions;

static Chardev *tty_open(const void *options, const char *id, const ChardevHost *host, Error *err)
{
    const TtyOptions *o = options;
    int fd;

    if (!o->path) {
        error_set(err, "chardev: serial/tty: no device path given");
        return NULL;
    }
    fd = open(o->path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || !isatty(fd)) {
        error_set_errno(err, errno, "could not open terminal '%s'", o->path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    make_raw(o->path);
    return fd_open("serial", fd, fd, host, id, NULL, NULL);
}

static const Field tty_fields[] = {
    PROP_STR(TtyOptions, path, "path", NULL, "its device node"),
};
static STRUCT_TYPE(tty_type, TtyOptions, tty_fields);

static ChardevClass tty_class = {
    .name = "serial",
    .alias = "tty",
    .doc = "a serial port of the host, at the speed it is set to",
    .options = &tty_type,
    .open = tty_open,
};
CHARDEV_REGISTER(tty_class)
