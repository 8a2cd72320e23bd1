/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_fd - -add-fd: descriptors that whoever started us opened, as sets that "/dev/fdset/N"
 * names */
#include <fcntl.h>
#include <unistd.h>

#include "core/fds.h"
#include "main/setup.h"

static bool number(Opts *o, const char *key, uint64_t *out, Error *err)
{
    const char *text = opts_get(o, key);

    return (text && parse_u64(text, out) && *out <= INT32_MAX) ||
           error_set(err, "%s option is required and must be non-negative", key);
}

static bool take_fd(Setup *s, int fd, int64_t set, const char *opaque, Error *err)
{
    int flags = fcntl(fd, F_GETFD);

    if (fd <= STDERR_FILENO)
        return error_set(err, "fd cannot be a standard I/O stream");
    if (flags < 0 || flags & FD_CLOEXEC) /* those that we opened have the flag */
        return error_set(err, "fd is not valid or already in use");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fdset_add(s->m, set, fd, opaque, err) >= 0;
}

static bool add_fd(Setup *s, const char *arg, Error *err)
{
    uint64_t fd, set;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    ok = number(&o, "fd", &fd, err) && number(&o, "set", &set, err) &&
         take_fd(s, (int)fd, (int64_t)set, opts_get(&o, "opaque"), err);
    opts_free(&o);
    return ok;
}

OPT(opt_add_fd)
{
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    opts_get(&o, "fd");
    opts_get(&o, "set");
    opts_get(&o, "opaque");
    ok = opts_all_used(&o, err);
    opts_free(&o);
    config_later(c, STAGE_OBJECT, add_fd, "add-fd", arg);
    return ok;
}

static const Option rows[] = {
    {.name = "add-fd",
     .arg = "fd=fd,set=set[,opaque=opaque]",
     .doc = "add the open descriptor 'fd' to set 'set'; /dev/fdset/SET is its file name",
     .apply = opt_add_fd},
    {0},
};
OPTIONS_REGISTER(fds, 70, "Debug/Expert options", rows)
