/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of -sandbox (main/daemon.h): what the filter denies, tried by processes of their
 * own */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "main/daemon.h"
#include "tests/unit/unit.h"

/* Each returns 0 if it worked, else errno. */
static int try_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid > 0 ? 0 : errno;
}

static int try_exec(void)
{
    char name[] = "/bin/true", *argv[] = {name, NULL};

    execv(name, argv);
    return errno;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static int try_thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, do_nothing, NULL);

    return rc ? rc : pthread_join(t, NULL);
}

static int try_setuid(void)
{
    return setuid(getuid()) ? errno : 0;
}

static int try_priority(void)
{
    return setpriority(PRIO_PROCESS, 0, 5) ? errno : 0;
}

static int try_mount(void)
{
    return mount("none", "/nowhere", "tmpfs", 0, NULL) ? errno : 0;
}

static int try_file(void)
{
    return access("/", R_OK) ? errno : 0;
}

enum { KILLED = -1 };

/* What becomes of @fn in a process with this filter. */
static int tried(const char *sandbox, int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        Error err = {0};

        if (!sandbox_enter(sandbox, &err))
            _exit(255);
        _exit(fn());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        ck_assert_int_eq(WTERMSIG(status), SIGSYS);
        return KILLED;
    }
    ck_assert_int_ne(WEXITSTATUS(status), 255);
    return WEXITSTATUS(status);
}

START_TEST(what_no_emulator_does_is_always_denied)
{
    ck_assert_int_eq(tried("on", try_mount), KILLED);
    ck_assert_int_eq(tried("on", try_file), 0);
    ck_assert_int_eq(tried("on", try_fork), 0);
    ck_assert_int_eq(tried("on", try_setuid), 0);
    ck_assert_int_ne(tried("off", try_mount), KILLED);
}
END_TEST

START_TEST(spawn_denies_processes_but_not_threads)
{
    ck_assert_int_eq(tried("on,spawn=deny", try_fork), KILLED);
    ck_assert_int_eq(tried("on,spawn=deny", try_exec), KILLED);
    ck_assert_int_eq(tried("on,spawn=deny", try_thread), 0);
    ck_assert_int_eq(tried("on,spawn=allow", try_fork), 0);
}
END_TEST

START_TEST(elevateprivileges_denies_other_users)
{
    ck_assert_int_eq(tried("on,elevateprivileges=deny", try_setuid), KILLED);
    ck_assert_int_eq(tried("on,elevateprivileges=allow", try_setuid), 0);
    ck_assert_int_eq(tried("on,elevateprivileges=children", try_setuid), 0);
}
END_TEST

START_TEST(resourcecontrol_denies_priorities)
{
    ck_assert_int_eq(tried("on,resourcecontrol=deny", try_priority), EPERM);
    ck_assert_int_eq(tried("on", try_priority), 0);
}
END_TEST

START_TEST(words_are_checked)
{
    Error err = {0};

    ck_assert(sandbox_check("on,obsolete=allow,spawn=deny", &err));
    ck_assert(!sandbox_check("bogus", &err));
    ck_assert(!sandbox_check("on,spawn=children", &err));
    ck_assert(!sandbox_check("on,foo=deny", &err));
    ck_assert_str_eq(err.msg, "Invalid parameter 'foo'");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_no_emulator_does_is_always_denied, spawn_denies_processes_but_not_threads,
        elevateprivileges_denies_other_users, resourcecontrol_denies_priorities, words_are_checked};

    if (!sandbox_check("on", NULL)) {
        printf("SKIPPED: sandbox: built without libseccomp\n");
        return 0;
    }
    return unit_run("sandbox", tests, COUNT_OF(tests));
}
