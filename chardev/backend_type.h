/* SPDX-License-Identifier: GPL-2.0-or-later */
/* backend_type - what chardev-add takes, as QMP describes it; it stays JSON for chardev_add_json() */
#ifndef CHARDEV_BACKEND_TYPE_H
#define CHARDEV_BACKEND_TYPE_H

#include "base/reflect.h"

extern const Type
    chardev_backend_type; /* {"type": kind, "data": {...}} of the kinds that are built */

#endif
