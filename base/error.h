/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error - what went wrong, in the caller's own storage
 *
 * For configuration and management calls.  An Error is filled once by whoever fails, and prefixed
 * by those who know more.  `err` may be NULL everywhere.  I/O returns 0 or -errno instead.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/base.h"

/* As QMP reports them. */
typedef enum ErrorClass {
    ERROR_GENERIC,           /* GenericError */
    ERROR_COMMAND_NOT_FOUND, /* CommandNotFound */
    ERROR_DEVICE_NOT_ACTIVE, /* DeviceNotActive */
    ERROR_DEVICE_NOT_FOUND,  /* DeviceNotFound */
    ERROR_KVM_MISSING_CAP,   /* KVMMissingCap */
} ErrorClass;

typedef struct Error {
    ErrorClass cls;
    char msg[252];
} Error;

/* Each sets the text (cut to fit) and returns false, so that `return error_set(...)` is the
 * path. */
bool error_set(Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool error_set_class(Error *err, ErrorClass cls, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool error_set_errno(Error *err, int errnum, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* ": strerror" appended */
bool error_prefix(Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
