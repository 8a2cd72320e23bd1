/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json_frame - cuts a stream of bytes into JSON values, and finds its way again after junk
 *
 * Also makes QEMU's dialect plain: strings in single quotes, \' in strings, integers above 2^63.
 */
#ifndef MONITOR_JSON_FRAME_H
#define MONITOR_JSON_FRAME_H

#include "base/base.h"
#include "base/error.h"

enum { FRAME_BYTES = 4 << 20, FRAME_TOKENS = 512 << 10, FRAME_DEPTH = 1024 };

typedef enum FrameState {
    FRAME_BETWEEN,
    FRAME_WORD, /* number, true, false, null */
    FRAME_STRING,
    FRAME_ESCAPE,  /* after \ in a string */
    FRAME_RECOVER, /* after junk: skip to something structural */
} FrameState;

typedef struct JsonFrame { /* all zero is an empty one */
    char *text;            /* of the value so far, NUL-terminated */
    size_t len, cap;
    FrameState state;
    char quote;           /* FRAME_STRING: which began it */
    size_t word_at;       /* FRAME_WORD: where it began */
    int braces, brackets; /* open ones */
    unsigned tokens;
    char bad_word[32]; /* the first that is no JSON */
} JsonFrame;

typedef enum FrameResult { FRAME_MORE, FRAME_VALUE, FRAME_ERROR } FrameResult;

/* Take of @p until something is complete: VALUE (in f->text, until the next call) or ERROR
 * (@err).  Bytes taken. */
size_t json_frame_take(JsonFrame *f, const char *p, size_t n, FrameResult *result, Error *err);
void json_frame_reset(JsonFrame *f); /* a new stream; frees */

#endif
