/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd_cmds - descriptors that clients send along: getfd, add-fd and their kin (QEMU 7.2,
 * qapi/misc.json) */
#include <unistd.h>

#include "base/alloc.h"
#include "core/fds.h"
#include "monitor/monitor_priv.h"

static int fd_sent(Machine *m, Error *err)
{
    Monitor *mon = command_monitor(m);
    int fd = mon ? chardev_take_fd(mon->chr) : -1;

    if (fd < 0)
        error_set(err, "No file descriptor supplied via SCM_RIGHTS");
    return fd;
}

/* --- by name --- */

typedef struct FdName {
    char *name;
} FdName;
static const Field fd_name_fields[] = {ARG(FdName, name, "fdname", "its name")};
static STRUCT_TYPE(fd_name_type, FdName, fd_name_fields);

COMMAND_FN(getfd)
{
    const char *name = ((FdName *)args)->name;
    int fd = fd_sent(m, err);

    if (fd < 0)
        return false;
    if (*name >= '0' && *name <= '9') {
        close(fd);
        return error_set(err, "Parameter 'fdname' expects a name not starting with a digit");
    }
    fds_put(m, name, fd);
    return true;
}
COMMAND(getfd, .name = "getfd", .args = &fd_name_type, .run = getfd,
        .doc = "Keep the descriptor that came along under a name.")

COMMAND_FN(closefd)
{
    return fds_close(m, ((FdName *)args)->name, err);
}
COMMAND(closefd, .name = "closefd", .args = &fd_name_type, .run = closefd,
        .doc = "Close a descriptor that getfd kept.")

/* --- sets --- */

typedef struct AddFd {
    char *opaque;
    bool has_id;
    int64_t id;
} AddFd;
static const Field add_fd_fields[] = {
    ARG_OPT(AddFd, id, "fdset-id", "the set; a new one if it is not given"),
    ARG_STR_OPT(AddFd, opaque, "opaque", "a text to remember with it"),
};
static STRUCT_TYPE(add_fd_type, AddFd, add_fd_fields);
typedef struct AddedFd {
    int64_t id, fd;
} AddedFd;
static const Field added_fields[] = {
    ARG(AddedFd, id, "fdset-id", "the set"),
    ARG(AddedFd, fd, "fd", "its number here"),
};
static STRUCT_TYPE(added_type, AddedFd, added_fields);

COMMAND_FN(add_fd)
{
    const AddFd *a = args;
    AddedFd *r = ret;
    int fd = fd_sent(m, err);

    if (fd < 0)
        return false;
    if (a->has_id && a->id < 0)
        error_set(err, "Parameter 'fdset-id' expects a non-negative value");
    else
        r->id = fdset_add(m, a->has_id ? a->id : -1, fd, a->opaque, err);
    r->fd = fd;
    if ((a->has_id && a->id < 0) || r->id < 0) {
        close(fd);
        return false;
    }
    return true;
}
COMMAND(add_fd, .name = "add-fd", .args = &add_fd_type, .ret = &added_type, .run = add_fd,
        .doc = "Add the descriptor that came along to a set, for /dev/fdset/N.")

typedef struct RemoveFd {
    int64_t id, fd;
    bool has_fd;
} RemoveFd;
static const Field remove_fields[] = {
    ARG(RemoveFd, id, "fdset-id", "the set"),
    ARG_OPT(RemoveFd, fd, "fd", "one of it; all if it is not given"),
};
static STRUCT_TYPE(remove_type, RemoveFd, remove_fields);

COMMAND_FN(remove_fd)
{
    const RemoveFd *a = args;

    return fdset_remove(m, a->id, a->has_fd ? (int)MIN(MAX(a->fd, (int64_t)0), INT32_MAX) : -1,
                        err);
}
COMMAND(remove_fd, .name = "remove-fd", .args = &remove_type, .run = remove_fd,
        .doc = "Close descriptors of a set.")

typedef struct FdInfo {
    int64_t fd;
    char *opaque;
} FdInfo;
static const Field fd_info_fields[] = {
    ARG(FdInfo, fd, "fd", "its number here"),
    ARG_STR_OPT(FdInfo, opaque, "opaque", "as given"),
};
static STRUCT_TYPE(fd_info_type, FdInfo, fd_info_fields);
static LIST_TYPE(fd_infos_type, &fd_info_type);
typedef struct FdSetInfo {
    int64_t id;
    List fds;
} FdSetInfo;
static const Field set_info_fields[] = {
    ARG(FdSetInfo, id, "fdset-id", "the set"),
    ARG_TYPE(FdSetInfo, fds, "fds", &fd_infos_type, "what is in it"),
};
static STRUCT_TYPE(set_info_type, FdSetInfo, set_info_fields);
static LIST_TYPE(set_infos_type, &set_info_type);

COMMAND_FN(query_fdsets)
{
    for (const FdSet *s = fdset_first(m); s; s = s->next) {
        FdSetInfo *info = list_add(ret, &set_info_type);

        info->id = s->id;
        for (unsigned i = 0; i < s->n; i++)
            *(FdInfo *)list_add(&info->fds, &fd_info_type) =
                (FdInfo){.fd = s->members[i].fd, .opaque = xstrdup(s->members[i].opaque)};
    }
    return true;
}
COMMAND(query_fdsets, .name = "query-fdsets", .ret = &set_infos_type, .run = query_fdsets,
        .doc = "All sets of descriptors.")
