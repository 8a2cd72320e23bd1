/* SPDX-License-Identifier: GPL-2.0-or-later */
/* error - filling and prefixing an Error; arguments may point into the Error itself */
#include "base/error.h"

#include <stdio.h>

static bool error_vset(Error *err, ErrorClass cls, const char *fmt, va_list ap)
{
    char text[sizeof err->msg];

    if (!err)
        return false;
    vsnprintf(text, sizeof text, fmt, ap);
    memcpy(err->msg, text, sizeof text);
    err->cls = cls;
    return false;
}

bool error_set(Error *err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vset(err, ERROR_GENERIC, fmt, ap);
    va_end(ap);
    return false;
}

bool error_set_class(Error *err, ErrorClass cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vset(err, cls, fmt, ap);
    va_end(ap);
    return false;
}

bool error_set_errno(Error *err, int errnum, const char *fmt, ...)
{
    char reason[96] = "";
    size_t len;
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    error_vset(err, ERROR_GENERIC, fmt, ap);
    va_end(ap);
    if (strerror_r(errnum, reason, sizeof reason))
        snprintf(reason, sizeof reason, "error %d", errnum);
    len = strlen(err->msg);
    snprintf(err->msg + len, sizeof err->msg - len, ": %s", reason);
    return false;
}

bool error_prefix(Error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    int len;
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len >= 0 && (size_t)len < sizeof text)
        snprintf(text + len, sizeof text - (size_t)len, "%s", err->msg);
    memcpy(err->msg, text, sizeof text);
    return false;
}
