/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon - the process itself; daemon.h has the contract */
#define _GNU_SOURCE
#include "main/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

/* Process-wide, as what it stands for. */
static struct {
    int tell;    /* pipe to the one who waits, -1: nobody */
    int pidfile; /* -1: none; open as long as it is locked */
    char *path;  /* its name, from the root folder: we may go elsewhere */
} process = {-1, -1, NULL};

/* --- going to the background --- */

/* The caller's part: wait for the child's word, end with its verdict. */
static void wait_for_child(int pipe_fd)
{
    uint8_t verdict = 1;
    ssize_t n;

    do
        n = read(pipe_fd, &verdict, 1);
    while (n < 0 && errno == EINTR);
    _exit(n == 1 && verdict == 0 ? 0 : 1);
}

static bool go_to_background(Error *err)
{
    int p[2];
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "-daemonize: cannot make a pipe");
    pid = fork();
    if (pid < 0)
        return error_set_errno(err, errno, "-daemonize: cannot fork");
    if (pid > 0) {
        close(p[1]);
        wait_for_child(p[0]);
    }
    close(p[0]);
    process.tell = p[1];
    setsid();
    pid = fork(); /* not the leader of its session: no terminal can become its own */
    if (pid != 0)
        _exit(pid < 0);
    umask(027);
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    return true;
}

/* --- PID file --- */

static bool write_pidfile(const char *path, Error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno(err, errno, "cannot create PID file: Could not create '%s'", path);
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        error_set_errno(err, errno, "cannot create PID file: Cannot lock pid file '%s'", path);
        close(fd);
        return false;
    }
    process.pidfile = fd;
    process.path = realpath(path, NULL);
    if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)n) != n)
        return error_set_errno(err, errno, "cannot create PID file: Failed to write '%s'", path);
    return true;
}

bool daemon_begin(const Config *c, Error *err)
{
    if (c->process_name)
        prctl(PR_SET_NAME, c->process_name);
    if (c->sandbox && !sandbox_check(c->sandbox, err))
        return error_prefix(err, "-sandbox %s: ", c->sandbox);
    if (c->daemonize && !go_to_background(err))
        return false;
    return !c->pidfile || write_pidfile(c->pidfile, err);
}

void daemon_end(void)
{
    struct stat ours, there;

    if (process.path && fstat(process.pidfile, &ours) == 0 && stat(process.path, &there) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
        unlink(process.path);
    free(process.path);
    process.path = NULL;
}

/* --- another user --- */

typedef struct User {
    uid_t uid;
    gid_t gid;
    const struct passwd *pw; /* NULL: by numbers */
} User;

static bool find_user(const char *text, User *u, Error *err)
{
    unsigned long uid, gid;
    char end;

    u->pw = getpwnam(text);
    if (u->pw) {
        u->uid = u->pw->pw_uid;
        u->gid = u->pw->pw_gid;
        return true;
    }
    if (sscanf(text, "%lu:%lu%c", &uid, &gid, &end) != 2)
        return error_set(err, "User \"%s\" doesn't exist (and is not <uid>:<gid>)", text);
    u->uid = (uid_t)uid;
    u->gid = (gid_t)gid;
    return true;
}

bool daemon_check_user(const char *text, Error *err)
{
    User u;

    return find_user(text, &u, err) || error_prefix(err, "-runas %s: ", text);
}

static bool become(const User *u, Error *err)
{
    if (setgid(u->gid) < 0)
        return error_set_errno(err, errno, "Failed to setgid(%u)", (unsigned)u->gid);
    if ((u->pw ? initgroups(u->pw->pw_name, u->gid) : setgroups(1, &u->gid)) < 0)
        return error_set_errno(err, errno, "Failed to set supplementary groups");
    if (setuid(u->uid) < 0)
        return error_set_errno(err, errno, "Failed to setuid(%u)", (unsigned)u->uid);
    if (u->uid != 0 && setuid(0) != -1)
        return error_set(err, "Dropping privileges failed");
    return true;
}

bool daemon_drop(const Config *c, Error *err)
{
    User u = {0};

    if (c->runas && (!daemon_check_user(c->runas, err) || !find_user(c->runas, &u, err)))
        return false;
    if (c->lock_memory && mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        return error_set_errno(err, errno, "-overcommit mem-lock=on: mlockall");
    if (c->chroot && (chroot(c->chroot) < 0 || chdir("/") < 0))
        return error_set_errno(err, errno, "-chroot %s: chroot failed", c->chroot);
    if (c->runas && !become(&u, err))
        return error_prefix(err, "-runas %s: ", c->runas);
    return !c->sandbox || sandbox_enter(c->sandbox, err) ||
           error_prefix(err, "-sandbox %s: ", c->sandbox);
}

bool daemon_ready(const Config *c, Error *err)
{
    uint8_t well = 0;
    int null;

    if (!c->daemonize)
        return true;
    if (!c->chroot && chdir("/") < 0)
        return error_set_errno(err, errno, "-daemonize: cannot change to /");
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return error_set_errno(err, errno, "-daemonize: /dev/null");
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (c->log_file || !c->log_mask) /* a log to stderr goes on */
        dup2(null, STDERR_FILENO);
    close(null);
    if (write(process.tell, &well, 1) != 1)
        return error_set(err, "-daemonize: nobody waits any more");
    close(process.tell);
    process.tell = -1;
    return true;
}
