/* SPDX-License-Identifier: GPL-2.0-or-later */
/* strbuf - a growing text */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include "base/base.h"

typedef struct StrBuf { /* all zero is an empty one */
    char *s;            /* NULL or NUL-terminated */
    size_t len, cap;
} StrBuf;

void strbuf_add(StrBuf *b, const char *s);
void strbuf_addn(StrBuf *b, const char *s, size_t n);
void strbuf_addf(StrBuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *strbuf_str(const StrBuf *b); /* "" if empty; valid until the next change */
char *strbuf_take(StrBuf *b);            /* caller frees; b is empty after it */
void strbuf_free(StrBuf *b);

#endif
