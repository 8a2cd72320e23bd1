/* SPDX-License-Identifier: GPL-2.0-or-later */
/* not_built - what QEMU has under a name and we do not: words for it, and the way out */
#ifndef MAIN_NOT_BUILT_H
#define MAIN_NOT_BUILT_H

#include "main/options.h"

/* Why there is no such device; NULL: QEMU knows none of that name either. */
const char *device_not_built(const char *driver);
/* False always: @driver is no device here.  A near name is suggested. */
bool device_refused(const char *driver, Error *err);

/* Kinds of which only `none` is there.  True if @value is that; else the text says that @value is
 * not built and @way_out, or that there is no such thing. */
typedef struct NotBuilt {
    const char *key;           /* of the value, for messages */
    const char *const *values; /* that QEMU takes; ends with NULL */
    const char *why;           /* what is missing, and the way out */
} NotBuilt;
bool only_none(const NotBuilt *n, const char *value, Error *err);

/* As value_refused(), with a suggestion out of @names (which end with NULL). */
bool value_refused_near(const char *key, const char *value, const char *const *names, Error *err);

#endif
