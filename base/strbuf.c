/* SPDX-License-Identifier: GPL-2.0-or-later */
/* strbuf - a growing text; s[len] is the NUL whenever s is not NULL */
#include "base/strbuf.h"

#include <stdio.h>

#include "base/alloc.h"

/* Room for @n more bytes and the NUL. */
static void strbuf_reserve(StrBuf *b, size_t n)
{
    size_t need = b->len + n + 1;

    if (need <= b->cap)
        return;
    b->cap = MAX(need, MAX(b->cap * 2, (size_t)32));
    b->s = xrealloc(b->s, b->cap);
}

void strbuf_addn(StrBuf *b, const char *s, size_t n)
{
    strbuf_reserve(b, n);
    if (n)
        memcpy(b->s + b->len, s, n);
    b->len += n;
    b->s[b->len] = 0;
}

void strbuf_add(StrBuf *b, const char *s)
{
    strbuf_addn(b, s, strlen(s));
}

void strbuf_addf(StrBuf *b, const char *fmt, ...)
{
    va_list ap, again;
    int len;

    strbuf_reserve(b, 0);
    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(b->s + b->len, b->cap - b->len, fmt, ap);
    va_end(ap);
    assert(len >= 0);
    if ((size_t)len >= b->cap - b->len) {
        strbuf_reserve(b, (size_t)len);
        vsnprintf(b->s + b->len, b->cap - b->len, fmt, again);
    }
    va_end(again);
    b->len += (size_t)len;
}

const char *strbuf_str(const StrBuf *b)
{
    return b->s ? b->s : "";
}

char *strbuf_take(StrBuf *b)
{
    char *s = b->s ? b->s : xstrdup("");

    *b = (StrBuf){0};
    return s;
}

void strbuf_free(StrBuf *b)
{
    xfree(b->s);
    *b = (StrBuf){0};
}
