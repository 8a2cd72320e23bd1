/* SPDX-License-Identifier: GPL-2.0-or-later */
/* version - what we say we are: QEMU's version whose interfaces we have, and our own as the
 * package */
#ifndef MONITOR_VERSION_H
#define MONITOR_VERSION_H

#include <jansson.h>

json_t *version_json(void); /* {"qemu": {"micro", "minor", "major"}, "package"}; the caller's */

#endif
