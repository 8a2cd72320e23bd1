/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json_frame - a lexer of JSON that only counts: where values end, what is junk, how big things
 * are */
#include "monitor/json_frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

/* --- text --- */

static void frame_start(JsonFrame *f)
{
    f->len = 0;
    f->state = FRAME_BETWEEN;
    f->braces = f->brackets = 0;
    f->tokens = 0;
    f->bad_word[0] = 0;
    if (f->cap > 65536) { /* one big value does not stay */
        xfree(f->text);
        f->text = NULL;
        f->cap = 0;
    }
}

void json_frame_reset(JsonFrame *f)
{
    xfree(f->text);
    *f = (JsonFrame){0};
}

static void frame_put(JsonFrame *f, char c)
{
    if (f->len + 2 > f->cap) {
        f->cap = MAX(f->cap * 2, (size_t)256);
        f->text = xrealloc(f->text, f->cap);
    }
    f->text[f->len++] = c;
    f->text[f->len] = 0;
}

static void frame_puts(JsonFrame *f, const char *s)
{
    while (*s)
        frame_put(f, *s++);
}

/* Give up what there is of a value. */
static FrameResult frame_fail(JsonFrame *f, FrameState then, Error *err, const char *what, int len,
                              const char *text)
{
    char shown[40];

    snprintf(shown, sizeof shown, "%.*s", len, text);
    error_set(err, what, shown);
    frame_start(f);
    f->state = then;
    return FRAME_ERROR;
}

/* --- words --- */

static bool word_is_number(const char *s)
{
    if (*s == '-')
        s++;
    return *s >= '0' && *s <= '9';
}

/* jansson's integers have 64 bits and a sign: larger ones become text, which unsigned fields
 * take, or reals. */
static void number_plain(JsonFrame *f)
{
    char *s = f->text + f->word_at;
    unsigned long long big;
    char hex[24];

    if (strspn(s + (*s == '-'), "0123456789") != strlen(s + (*s == '-')))
        return;
    errno = 0;
    (void)strtoll(s, NULL, 10);
    if (!errno)
        return;
    errno = 0;
    big = strtoull(s, NULL, 10);
    if (errno || *s == '-') {
        frame_puts(f, ".0");
        return;
    }
    snprintf(hex, sizeof hex, "\"0x%llx\"", big);
    f->len = f->word_at;
    frame_puts(f, hex);
}

static void word_end(JsonFrame *f)
{
    const char *s = f->text + f->word_at;

    f->state = FRAME_BETWEEN;
    if (word_is_number(s))
        number_plain(f);
    else if (strcmp(s, "true") && strcmp(s, "false") && strcmp(s, "null") && !f->bad_word[0])
        snprintf(f->bad_word, sizeof f->bad_word, "%s", s);
}

/* --- bytes --- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '+' || c == '.' || c == '_';
}

static bool is_structural(char c)
{
    return c && strchr("{}[]:,", c);
}

/* The value is complete: if it can be one. */
static FrameResult frame_end(JsonFrame *f, Error *err)
{
    if (f->bad_word[0]) {
        char word[sizeof f->bad_word];

        memcpy(word, f->bad_word, sizeof word);
        return frame_fail(f, FRAME_BETWEEN, err, "JSON parse error, invalid keyword '%s'", 31,
                          word);
    }
    return FRAME_VALUE;
}

static FrameResult take_structural(JsonFrame *f, char c, Error *err)
{
    frame_put(f, c);
    f->braces += (c == '{') - (c == '}');
    f->brackets += (c == '[') - (c == ']');
    if (f->braces + f->brackets > FRAME_DEPTH)
        return frame_fail(f, FRAME_BETWEEN, err, "JSON nesting depth limit exceeded%s", 0, "");
    if (f->braces < 0 || f->brackets < 0 || (!f->braces && !f->brackets))
        return frame_end(f, err);
    return FRAME_MORE;
}

static FrameResult take_between(JsonFrame *f, char c, Error *err)
{
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        return FRAME_MORE;
    if (++f->tokens > FRAME_TOKENS)
        return frame_fail(f, FRAME_BETWEEN, err, "JSON token count limit exceeded%s", 0, "");
    if (is_structural(c))
        return take_structural(f, c, err);
    if (c == '"' || c == '\'') {
        f->quote = c;
        f->state = FRAME_STRING;
        frame_put(f, '"');
        return FRAME_MORE;
    }
    if (!is_word(c))
        return frame_fail(f, FRAME_RECOVER, err, "JSON parse error, stray '%s'", 1, &c);
    f->state = FRAME_WORD;
    if (f->len) /* words are apart, also where a separator is missing */
        frame_put(f, ' ');
    f->word_at = f->len;
    frame_put(f, c);
    return FRAME_MORE;
}

static FrameResult take_string(JsonFrame *f, char c, Error *err)
{
    if ((unsigned char)c < 0x20)
        return frame_fail(f, FRAME_BETWEEN, err, "JSON parse error, unterminated string%s", 0, "");
    if (f->state == FRAME_ESCAPE) {
        f->state = FRAME_STRING;
        if (c != '\'')
            frame_put(f, '\\');
        frame_put(f, c);
    } else if (c == '\\') {
        f->state = FRAME_ESCAPE;
    } else if (c == f->quote) {
        f->state = FRAME_BETWEEN;
        frame_put(f, '"');
        if (!f->braces && !f->brackets)
            return frame_end(f, err);
    } else {
        if (c == '"')
            frame_put(f, '\\');
        frame_put(f, c);
    }
    return FRAME_MORE;
}

size_t json_frame_take(JsonFrame *f, const char *p, size_t n, FrameResult *result, Error *err)
{
    size_t i = 0;

    *result = FRAME_MORE;
    if (f->len && !f->braces && !f->brackets && f->state == FRAME_BETWEEN)
        frame_start(f); /* what the last call gave */
    else if (f->braces < 0 || f->brackets < 0)
        frame_start(f);
    while (i < n && *result == FRAME_MORE) {
        char c = p[i];

        if (f->len >= FRAME_BYTES) {
            *result = frame_fail(f, FRAME_RECOVER, err, "JSON token size limit exceeded%s", 0, "");
        } else if (f->state == FRAME_WORD && is_word(c)) {
            frame_put(f, c);
            i++;
        } else if (f->state == FRAME_WORD) {
            word_end(f);
            if (!f->braces && !f->brackets)
                *result = frame_end(f, err);
        } else if (f->state == FRAME_RECOVER) {
            if (is_structural(c) || (unsigned char)c < 0x20)
                f->state = FRAME_BETWEEN;
            else
                i++;
        } else {
            *result = f->state == FRAME_BETWEEN ? take_between(f, c, err) : take_string(f, c, err);
            i++;
        }
    }
    return i;
}
