/* SPDX-License-Identifier: GPL-2.0-or-later */
/* version - what the greeting and query-version say */
#include "monitor/version.h"

enum { QEMU_MAJOR = 7, QEMU_MINOR = 2, QEMU_MICRO = 0 };

json_t *version_json(void)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", QEMU_MICRO, "minor", QEMU_MINOR,
                     "major", QEMU_MAJOR, "package", "rhea-" RHEA_VERSION);
}
