/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fds - descriptors that were handed to us, by name and as sets; the messages are QEMU's */
#include "core/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts.h"
#include "core/control_priv.h"

struct NamedFd {
    char *name;
    int fd;
    NamedFd *next;
};

/* --- by name --- */

static NamedFd **named_find(Machine *m, const char *name)
{
    NamedFd **p = &m->control->fds;

    while (*p && strcmp((*p)->name, name))
        p = &(*p)->next;
    return p;
}

/* Forget the entry; its descriptor. */
static int named_drop(NamedFd **p)
{
    NamedFd *n = *p;
    int fd = n->fd;

    *p = n->next;
    xfree(n->name);
    xfree(n);
    return fd;
}

void fds_put(Machine *m, const char *name, int fd)
{
    NamedFd **p = named_find(m, name), *n;

    if (*p)
        close(named_drop(p));
    n = xnew(NamedFd);
    *n = (NamedFd){.name = xstrdup(name), .fd = fd, .next = m->control->fds};
    m->control->fds = n;
}

int fds_take(Machine *m, const char *name, Error *err)
{
    NamedFd **p = named_find(m, name);
    uint64_t number;

    if (*p)
        return named_drop(p);
    if (*name < '0' || *name > '9')
        error_set(err, "File descriptor named '%s' has not been found", name);
    else if (!parse_u64(name, &number) || number > INT32_MAX)
        error_set(err, "Invalid file descriptor number '%s'", name);
    else if (fcntl((int)number, F_GETFD) < 0)
        error_set_errno(err, errno, "file descriptor %s", name);
    else
        return (int)number;
    return -1;
}

bool fds_close(Machine *m, const char *name, Error *err)
{
    NamedFd **p = named_find(m, name);

    if (!*p)
        return error_set(err, "File descriptor named '%s' not found", name);
    close(named_drop(p));
    return true;
}

/* --- sets --- */

static FdSet **set_find(Machine *m, int64_t id)
{
    FdSet **p = &m->control->sets;

    while (*p && (*p)->id < id)
        p = &(*p)->next;
    return p;
}

const FdSet *fdset_first(Machine *m)
{
    return m->control->sets;
}

int64_t fdset_add(Machine *m, int64_t id, int fd, const char *opaque, Error *err)
{
    FdSet **p = set_find(m, MAX(id, (int64_t)0)), *s;

    if (id < -1) {
        error_set(err, "Parameter 'fdset-id' expects a non-negative value");
        return -1;
    }
    if (id == -1) /* the lowest that is free */
        for (id = 0; *p && (*p)->id == id; p = &(*p)->next)
            id++;
    s = *p;
    if (!s || s->id != id) {
        s = xnew(FdSet);
        *s = (FdSet){.id = id, .next = *p};
        *p = s;
    }
    s->members = xrealloc(s->members, (s->n + 1) * sizeof *s->members);
    s->members[s->n++] = (FdSetMember){.fd = fd, .opaque = xstrdup(opaque)};
    return id;
}

static void member_drop(FdSet *s, unsigned i)
{
    close(s->members[i].fd);
    xfree(s->members[i].opaque);
    s->members[i] = s->members[--s->n];
}

static void set_drop(FdSet **p)
{
    FdSet *s = *p;

    while (s->n)
        member_drop(s, s->n - 1);
    *p = s->next;
    xfree(s->members);
    xfree(s);
}

bool fdset_remove(Machine *m, int64_t id, int fd, Error *err)
{
    FdSet **p = set_find(m, id), *s = *p && (*p)->id == id ? *p : NULL;

    for (unsigned i = 0; s && fd >= 0 && i < s->n; i++)
        if (s->members[i].fd == fd) {
            member_drop(s, i);
            if (!s->n)
                set_drop(p);
            return true;
        }
    if (s && fd < 0) {
        set_drop(p);
        return true;
    }
    if (fd >= 0)
        return error_set(err, "File descriptor named 'fdset-id:%" PRId64 ", fd:%d' not found", id,
                         fd);
    return error_set(err, "File descriptor named 'fdset-id:%" PRId64 "' not found", id);
}

/* --- opening --- */

int fds_open(Machine *m, const char *path, int flags, unsigned mode)
{
    static const char prefix[] = "/dev/fdset/";
    uint64_t id;
    const FdSet *s;
    int fd;

    if (strncmp(path, prefix, sizeof prefix - 1)) {
        fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
        return fd < 0 ? -errno : fd;
    }
    if (!parse_u64(path + sizeof prefix - 1, &id) || id > INT64_MAX)
        return -EINVAL;
    s = *set_find(m, (int64_t)id);
    if (!s || s->id != (int64_t)id)
        return -ENOENT;
    for (unsigned i = 0; i < s->n; i++) {
        int has = fcntl(s->members[i].fd, F_GETFL);

        if (has >= 0 && (has & O_ACCMODE) == (flags & O_ACCMODE)) {
            fd = fcntl(s->members[i].fd, F_DUPFD_CLOEXEC, 3);
            return fd < 0 ? -errno : fd;
        }
    }
    return -EACCES;
}

void control_free_fds(MachineControl *c)
{
    while (c->fds)
        close(named_drop(&c->fds));
    while (c->sets)
        set_drop(&c->sets);
}
