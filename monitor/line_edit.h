/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * line_edit - one line at a time on a terminal in raw mode: cursor keys, history, completion
 *
 * Knows nothing of the monitor: bytes go in, echo goes out, complete lines come back.
 */
#ifndef MONITOR_LINE_EDIT_H
#define MONITOR_LINE_EDIT_H

#include "base/strbuf.h"

enum { LINE_MAX_ = 4096, LINE_HISTORY = 64 };

/* Candidates for the word that ends at the cursor; @start: the line up to it.  Adds "candidate\n"
 * for each. */
typedef void LineCompleteFn(void *arg, const char *start, StrBuf *out);

typedef struct LineEdit {
    const char *prompt;
    char text[LINE_MAX_];
    unsigned len, cursor;
    char *history[LINE_HISTORY]; /* oldest first */
    unsigned n_history, at_history;
    char escape[8]; /* a key's sequence so far */
    unsigned n_escape;
    bool after_cr;
    LineCompleteFn *complete;
    void *arg;
} LineEdit;

void line_edit_init(LineEdit *e, const char *prompt, LineCompleteFn *complete, void *arg);
void line_edit_fini(LineEdit *e);
void line_edit_start(LineEdit *e, StrBuf *out); /* show the prompt and an empty line */
/* One byte; the echo goes to @out.  The line, when it is complete (valid until the next call);
 * else NULL. */
const char *line_edit_take(LineEdit *e, char c, StrBuf *out);

#endif
