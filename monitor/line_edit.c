/* SPDX-License-Identifier: GPL-2.0-or-later */
/* line_edit - keys and what they do (ECMA-48 sequences, Emacs' control keys), by table */
#include "monitor/line_edit.h"

#include <stdlib.h>

#include "base/alloc.h"

typedef void KeyFn(LineEdit *e, StrBuf *out);

void line_edit_init(LineEdit *e, const char *prompt, LineCompleteFn *complete, void *arg)
{
    *e = (LineEdit){.prompt = prompt, .complete = complete, .arg = arg};
}

void line_edit_fini(LineEdit *e)
{
    for (unsigned i = 0; i < e->n_history; i++)
        xfree(e->history[i]);
    e->n_history = 0;
}

/* --- showing --- */

/* The line anew: back to the prompt, text, what was longer wiped, cursor in place. */
static void show(LineEdit *e, StrBuf *out)
{
    strbuf_addf(out, "\r%s%.*s\033[K", e->prompt, (int)e->len, e->text);
    if (e->cursor < e->len)
        strbuf_addf(out, "\033[%uD", e->len - e->cursor);
}

void line_edit_start(LineEdit *e, StrBuf *out)
{
    e->len = e->cursor = 0;
    e->at_history = e->n_history;
    e->n_escape = 0;
    strbuf_add(out, e->prompt);
}

/* --- changing --- */

static void set_line(LineEdit *e, const char *s)
{
    e->len = (unsigned)MIN(strlen(s), (size_t)LINE_MAX_ - 1);
    memcpy(e->text, s, e->len);
    e->cursor = e->len;
}

static void erase(LineEdit *e, unsigned from, unsigned to)
{
    memmove(e->text + from, e->text + to, e->len - to);
    e->len -= to - from;
    e->cursor = from;
}

static void insert(LineEdit *e, char c, StrBuf *out)
{
    if (e->len >= LINE_MAX_ - 1)
        return;
    memmove(e->text + e->cursor + 1, e->text + e->cursor, e->len - e->cursor);
    e->text[e->cursor++] = c;
    e->len++;
    if (e->cursor == e->len)
        strbuf_addn(out, &c, 1); /* so that plain input makes plain output */
    else
        show(e, out);
}

static void key_home(LineEdit *e, StrBuf *out)
{
    e->cursor = 0;
    show(e, out);
}

static void key_end(LineEdit *e, StrBuf *out)
{
    e->cursor = e->len;
    show(e, out);
}

static void key_left(LineEdit *e, StrBuf *out)
{
    e->cursor -= e->cursor > 0;
    show(e, out);
}

static void key_right(LineEdit *e, StrBuf *out)
{
    e->cursor += e->cursor < e->len;
    show(e, out);
}

static void key_delete(LineEdit *e, StrBuf *out)
{
    if (e->cursor < e->len)
        erase(e, e->cursor, e->cursor + 1);
    show(e, out);
}

static void key_backspace(LineEdit *e, StrBuf *out)
{
    if (e->cursor)
        erase(e, e->cursor - 1, e->cursor);
    show(e, out);
}

static void key_kill(LineEdit *e, StrBuf *out)
{
    e->len = e->cursor;
    show(e, out);
}

static void key_kill_all(LineEdit *e, StrBuf *out)
{
    erase(e, 0, e->cursor);
    show(e, out);
}

static void key_kill_word(LineEdit *e, StrBuf *out)
{
    unsigned from = e->cursor;

    while (from && e->text[from - 1] == ' ')
        from--;
    while (from && e->text[from - 1] != ' ')
        from--;
    erase(e, from, e->cursor);
    show(e, out);
}

static void key_redraw(LineEdit *e, StrBuf *out)
{
    strbuf_add(out, "\033[2J\033[1;1H");
    show(e, out);
}

static void key_cancel(LineEdit *e, StrBuf *out)
{
    strbuf_add(out, "\n");
    line_edit_start(e, out);
}

/* --- history --- */

static void history_add(LineEdit *e, const char *line)
{
    if (!*line || (e->n_history && !strcmp(e->history[e->n_history - 1], line)))
        return;
    if (e->n_history == LINE_HISTORY) {
        xfree(e->history[0]);
        memmove(e->history, e->history + 1, sizeof e->history - sizeof *e->history);
        e->n_history--;
    }
    e->history[e->n_history++] = xstrdup(line);
}

static void history_show(LineEdit *e, StrBuf *out)
{
    set_line(e, e->at_history < e->n_history ? e->history[e->at_history] : "");
    show(e, out);
}

static void key_up(LineEdit *e, StrBuf *out)
{
    e->at_history -= e->at_history > 0;
    history_show(e, out);
}

static void key_down(LineEdit *e, StrBuf *out)
{
    e->at_history += e->at_history < e->n_history;
    history_show(e, out);
}

/* --- completion --- */

/* How far all lines of @list are the same; *n: how many there are. */
static size_t common_length(const char *list, unsigned *n)
{
    size_t common = strcspn(list, "\n");

    *n = 0;
    for (const char *s = list; *s; s += strcspn(s, "\n") + 1) {
        size_t k = 0;

        while (k < common && s[k] == list[k] && s[k] != '\n')
            k++;
        common = k;
        ++*n;
    }
    return common;
}

static void key_complete(LineEdit *e, StrBuf *out)
{
    unsigned word = e->cursor, n, have;
    StrBuf list = {0};
    AUTO_FREE char *start = xasprintf("%.*s", (int)e->cursor, e->text);
    const char *s;
    size_t common;

    while (word && e->text[word - 1] != ' ' && e->text[word - 1] != ',')
        word--;
    have = e->cursor - word;
    e->complete(e->arg, start, &list);
    s = strbuf_str(&list);
    common = common_length(s, &n);
    for (size_t i = have; i < common; i++)
        insert(e, s[i], out);
    if (n == 1 && common) {
        insert(e, ' ', out);
    } else if (n > 1 && common <= have) {
        strbuf_add(out, "\n");
        strbuf_add(out, s);
        show(e, out);
    }
    strbuf_free(&list);
}

/* --- keys --- */

static KeyFn *const control_keys[32] = {
    [1] = key_home,      ['\b'] = key_backspace, ['\t'] = key_complete, [2] = key_left,
    [3] = key_cancel,    [4] = key_delete,       [5] = key_end,         [6] = key_right,
    [11] = key_kill,     [12] = key_redraw,      [14] = key_down,       [16] = key_up,
    [21] = key_kill_all, [23] = key_kill_word,
};

typedef struct EscapeKey {
    const char *sequence; /* after ESC */
    KeyFn *run;
} EscapeKey;
static const EscapeKey escape_keys[] = {
    {"[A", key_up},    {"[B", key_down}, {"[C", key_right}, {"[D", key_left},    {"[H", key_home},
    {"[F", key_end},   {"OA", key_up},   {"OB", key_down},  {"OC", key_right},   {"OD", key_left},
    {"OH", key_home},  {"OF", key_end},  {"[1~", key_home}, {"[3~", key_delete}, {"[4~", key_end},
    {"[7~", key_home}, {"[8~", key_end},
};

static void take_escape(LineEdit *e, char c, StrBuf *out)
{
    bool ends = e->n_escape > 1 && c >= '@' && c <= '~';

    e->escape[e->n_escape++] = c;
    e->escape[e->n_escape] = 0;
    if (!ends && e->n_escape < sizeof e->escape - 1)
        return;
    for (unsigned i = 0; i < COUNT_OF(escape_keys); i++)
        if (!strcmp(escape_keys[i].sequence, e->escape + 1))
            escape_keys[i].run(e, out);
    e->n_escape = 0;
}

static const char *line_done(LineEdit *e, StrBuf *out)
{
    e->text[e->len] = 0;
    strbuf_add(out, "\n");
    history_add(e, e->text);
    return e->text;
}

const char *line_edit_take(LineEdit *e, char c, StrBuf *out)
{
    bool second = c == '\n' && e->after_cr;

    e->after_cr = c == '\r';
    if (e->n_escape) {
        take_escape(e, c, out);
    } else if (c == '\r' || c == '\n') {
        return second ? NULL : line_done(e, out);
    } else if (c == 27) {
        e->escape[e->n_escape++] = c;
    } else if (c == 127) {
        key_backspace(e, out);
    } else if ((unsigned char)c < 32) {
        if (control_keys[(unsigned char)c])
            control_keys[(unsigned char)c](e, out);
    } else {
        insert(e, c, out);
    }
    return NULL;
}
