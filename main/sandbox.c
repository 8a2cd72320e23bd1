/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox - -sandbox: system calls that the process does not need are refused (seccomp(2))
 *
 * Always denied: what no emulator does (mounting, rebooting, swapping ...).  The groups are QEMU's.
 * A denied call kills the process; those that programs try and live without fail instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>

#include "main/daemon.h"

enum { ALWAYS = 1, OBSOLETE = 2, ELEVATE = 4, SPAWN = 8, RESOURCE = 16 };

typedef struct Rule {
    int call;
    uint8_t groups;
    bool fails; /* with EPERM instead of killing */
} Rule;

static const Rule rules[] = {
    {SCMP_SYS(reboot), ALWAYS, false},
    {SCMP_SYS(swapon), ALWAYS, false},
    {SCMP_SYS(swapoff), ALWAYS, false},
    {SCMP_SYS(syslog), ALWAYS, false},
    {SCMP_SYS(mount), ALWAYS, false},
    {SCMP_SYS(umount), ALWAYS, false},
    {SCMP_SYS(umount2), ALWAYS, false},
    {SCMP_SYS(pivot_root), ALWAYS, false},
    {SCMP_SYS(kexec_load), ALWAYS, false},
    {SCMP_SYS(kexec_file_load), ALWAYS, false},
    {SCMP_SYS(init_module), ALWAYS, false},
    {SCMP_SYS(finit_module), ALWAYS, false},
    {SCMP_SYS(delete_module), ALWAYS, false},
    {SCMP_SYS(afs_syscall), ALWAYS, false},
    {SCMP_SYS(break), ALWAYS, false},
    {SCMP_SYS(ftime), ALWAYS, false},
    {SCMP_SYS(getpmsg), ALWAYS, false},
    {SCMP_SYS(gtty), ALWAYS, false},
    {SCMP_SYS(lock), ALWAYS, false},
    {SCMP_SYS(mpx), ALWAYS, false},
    {SCMP_SYS(prof), ALWAYS, false},
    {SCMP_SYS(profil), ALWAYS, false},
    {SCMP_SYS(putpmsg), ALWAYS, false},
    {SCMP_SYS(security), ALWAYS, false},
    {SCMP_SYS(stty), ALWAYS, false},
    {SCMP_SYS(tuxcall), ALWAYS, false},
    {SCMP_SYS(ulimit), ALWAYS, false},
    {SCMP_SYS(vserver), ALWAYS, false},
    {SCMP_SYS(acct), ALWAYS, false},
    {SCMP_SYS(ptrace), ALWAYS, false},
    {SCMP_SYS(settimeofday), ALWAYS, false},
    {SCMP_SYS(clock_settime), ALWAYS, false},
    {SCMP_SYS(sethostname), ALWAYS, false},
    {SCMP_SYS(readdir), OBSOLETE, false},
    {SCMP_SYS(_sysctl), OBSOLETE, false},
    {SCMP_SYS(bdflush), OBSOLETE, false},
    {SCMP_SYS(create_module), OBSOLETE, false},
    {SCMP_SYS(get_kernel_syms), OBSOLETE, false},
    {SCMP_SYS(query_module), OBSOLETE, false},
    {SCMP_SYS(sgetmask), OBSOLETE, false},
    {SCMP_SYS(ssetmask), OBSOLETE, false},
    {SCMP_SYS(sysfs), OBSOLETE, false},
    {SCMP_SYS(uselib), OBSOLETE, false},
    {SCMP_SYS(ustat), OBSOLETE, false},
    {SCMP_SYS(setuid), ELEVATE, false},
    {SCMP_SYS(setgid), ELEVATE, false},
    {SCMP_SYS(setpgid), ELEVATE, false},
    {SCMP_SYS(setsid), ELEVATE, false},
    {SCMP_SYS(setreuid), ELEVATE, false},
    {SCMP_SYS(setregid), ELEVATE, false},
    {SCMP_SYS(setresuid), ELEVATE, false},
    {SCMP_SYS(setresgid), ELEVATE, false},
    {SCMP_SYS(setfsuid), ELEVATE, false},
    {SCMP_SYS(setfsgid), ELEVATE, false},
    {SCMP_SYS(fork), SPAWN, false},
    {SCMP_SYS(vfork), SPAWN, false},
    {SCMP_SYS(execve), SPAWN, false},
    {SCMP_SYS(execveat), SPAWN, false},
    {SCMP_SYS(setpriority), RESOURCE, true},
    {SCMP_SYS(sched_setparam), RESOURCE, true},
    {SCMP_SYS(sched_setattr), RESOURCE, true},
    {SCMP_SYS(sched_setaffinity), RESOURCE, true},
};

typedef struct Sandbox {
    bool on, only_children; /* elevateprivileges=children */
    uint8_t groups;         /* denied */
} Sandbox;

static bool group(Opts *o, const char *key, uint8_t bit, Sandbox *s, Error *err)
{
    const char *value = opts_get(o, key);

    if (!value)
        return true;
    if (bit == ELEVATE && !strcmp(value, "children")) {
        s->only_children = true;
        return true;
    }
    if (strcmp(value, "allow") && strcmp(value, "deny"))
        return error_set(err, "invalid argument for %s: '%s' is neither allow nor deny", key,
                         value);
    s->groups = (uint8_t)(!strcmp(value, "deny") ? s->groups | bit : s->groups & ~bit);
    return true;
}

static bool parse(const char *text, Sandbox *s, Error *err)
{
    bool ok;
    Opts o;

    *s = (Sandbox){.groups = ALWAYS | OBSOLETE};
    if (!opts_parse(&o, text, "enable", err))
        return false;
    ok = opts_get_bool(&o, "enable", &s->on, err) && group(&o, "obsolete", OBSOLETE, s, err) &&
         group(&o, "elevateprivileges", ELEVATE, s, err) && group(&o, "spawn", SPAWN, s, err) &&
         group(&o, "resourcecontrol", RESOURCE, s, err) && opts_all_used(&o, err);
    opts_free(&o);
    return ok;
}

bool sandbox_check(const char *text, Error *err)
{
    Sandbox s;

    return parse(text, &s, err);
}

/* Threads are made by the same call as processes, told apart by a flag; libc uses clone3 first,
 * whose flags a filter cannot see, and falls back when the kernel does not know it. */
static int deny_processes(scmp_filter_ctx ctx)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));

#ifdef __NR_clone3
    if (!rc)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
#endif
    return rc;
}

/* Every policy but the one that only makes threads yield. */
static int deny_schedulers(scmp_filter_ctx ctx)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(sched_setscheduler), 1,
                            SCMP_A1(SCMP_CMP_NE, SCHED_IDLE, 0));
}

static int add_rules(scmp_filter_ctx ctx, const Sandbox *s)
{
    int rc = 0;

    for (unsigned i = 0; i < COUNT_OF(rules) && !rc; i++) {
        const Rule *r = &rules[i];

        if (r->groups & s->groups)
            rc = seccomp_rule_add(ctx, r->fails ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS,
                                  r->call, 0);
        if (rc == -EDOM) /* not a call of this architecture */
            rc = 0;
    }
    if (!rc && s->groups & SPAWN)
        rc = deny_processes(ctx);
    if (!rc && s->groups & RESOURCE)
        rc = deny_schedulers(ctx);
    return rc;
}

bool sandbox_enter(const char *text, Error *err)
{
    Sandbox s;
    scmp_filter_ctx ctx;
    int rc;

    if (!parse(text, &s, err))
        return false;
    if (!s.on)
        return true;
    if (s.only_children && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(err, errno, "failed to set no_new_privs");
    ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return error_set(err, "failed to initialize seccomp");
    rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc)
        rc = add_rules(ctx, &s);
    if (!rc)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return !rc || error_set_errno(err, -rc, "failed to install seccomp syscall filter");
}
