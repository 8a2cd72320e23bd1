/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug - commands for tests of what happens between requests
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/blkdebug.h"
#include "tools/io/io.h"

/* --- breakpoints of the blkdebug driver; without it in the chain there are none --- */

static int told(int rc, const char *what)
{
    if (!rc)
        return 0;
    printf("%s: %s\n", what, strerror(-rc));
    return -1;
}

int io_cmd_break(Io *io, IoArgs *a)
{
    return told(blkdebug_break(io->node, a->rest[0], a->rest[1]), "Could not set breakpoint");
}

int io_cmd_remove_break(Io *io, IoArgs *a)
{
    char text[80];

    snprintf(text, sizeof text, "Could not remove breakpoint %.40s", a->rest[0]);
    return told(blkdebug_remove_break(io->node, a->rest[0]), text);
}

int io_cmd_resume(Io *io, IoArgs *a)
{
    return told(blkdebug_resume(io->node, a->rest[0]), "Could not resume request");
}

int io_cmd_wait_break(Io *io, IoArgs *a)
{
    const struct timespec step = {0, 1000000};

    while (!blkdebug_is_suspended(io->node, a->rest[0])) {
        blockctx_poll(io->ctx, false);
        nanosleep(&step, NULL);
    }
    return 0;
}

int io_cmd_abort(Io *io, IoArgs *a)
{
    (void)io;
    (void)a;
    abort();
}

int io_cmd_sigraise(Io *io, IoArgs *a)
{
    int64_t sig;

    (void)io;
    if (!io_number(a->rest[0], &sig))
        return -1;
    if (sig > 64) {
        printf("signal argument '%s' is too large to be a valid signal number\n", a->rest[0]);
        return -1;
    }
    fflush(stdout); /* it may be our end */
    raise((int)sig);
    return 0;
}

int io_cmd_sleep(Io *io, IoArgs *a)
{
    const struct timespec step = {0, 1000000};
    int64_t ms, end;

    if (!io_number(a->rest[0], &ms))
        return -1;
    for (end = io_now() + ms * 1000000; io_now() < end;) {
        blockctx_poll(io->ctx, false);
        nanosleep(&step, NULL);
    }
    return 0;
}
