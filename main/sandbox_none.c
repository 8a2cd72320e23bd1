/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox_none - -sandbox in a build without libseccomp: only "off" is there */
#include "main/daemon.h"

bool sandbox_check(const char *text, Error *err)
{
    return !strcmp(text, "off") ||
           error_set(err, "the sandbox is not built in (./configure --enable-seccomp)");
}

bool sandbox_enter(const char *text, Error *err)
{
    return sandbox_check(text, err);
}
