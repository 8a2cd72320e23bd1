/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mux - commands after Ctrl-A, in front of a back end that several front ends share
 *
 * Input is read and looked through whether the front end takes it or not, so that Ctrl-A x always
 * works; what was not taken waits in its channel.  Input side: loop thread only.  Output of all
 * channels goes out as it comes.
 */
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "chardev/port_priv.h"

typedef struct MuxCommand {
    char key;
    void (*run)(CharPort *p);
    const char *doc;
} MuxCommand;
static const MuxCommand commands[];

static void mux_say(CharPort *p, const char *text)
{
    WITH_LOCK (&p->lock)
        port_write_locked(p, (const uint8_t *)text, strlen(text));
}

/* How the escape key is called. */
static const char *escape_name(const CharPort *p, char out[4])
{
    uint8_t key = port_host(p)->escape;

    snprintf(out, 4, key < 27 ? "C-%c" : "%c", key < 27 ? 'a' - 1 + key : key);
    return out;
}

static void mux_help(CharPort *p)
{
    StrBuf b = {0};
    char key[4];

    escape_name(p, key);
    strbuf_add(&b, "\r\n");
    for (const MuxCommand *k = commands; k->key; k++)
        strbuf_addf(&b, "%s %c    %s\r\n", key, k->key, k->doc);
    strbuf_addf(&b, "%s %s  sends %s\r\n", key, key, key);
    mux_say(p, strbuf_str(&b));
    strbuf_free(&b);
}

static void mux_quit(CharPort *p)
{
    mux_say(p, "rhea: Terminated\r\n");
    port_host(p)->quit(port_host(p)->arg);
}

static void mux_commit(CharPort *p)
{
    if (port_host(p)->commit)
        port_host(p)->commit(port_host(p)->arg);
    else
        mux_say(p, "\r\nrhea: there is nothing to save\r\n");
}

static void mux_stamps(CharPort *p)
{
    WITH_LOCK (&p->lock) {
        p->stamps = !p->stamps;
        p->stamps_since = -1;
        p->line_start = false;
    }
}

static void mux_break(CharPort *p)
{
    if (p->focus < p->n_channels)
        chardev_tell(&p->channels[p->focus]->c, CHAR_BREAK);
}

/* On to the next channel that has a front end. */
static void mux_switch(CharPort *p)
{
    unsigned next = p->focus;

    do
        next = (next + 1) % MAX(p->n_channels, 1u);
    while (next != p->focus && !p->channels[next]->c.front);
    if (next == p->focus) {
        mux_say(p, "\r\nrhea: there is only one user of this character device\r\n");
        return;
    }
    chardev_tell(&p->channels[p->focus]->c, CHAR_BLUR);
    p->focus = next;
    if (p->channels[next]->c.open && !p->channels[next]->told_open)
        channel_tell(p->channels[next], CHAR_OPENED);
    else
        chardev_tell(&p->channels[next]->c, CHAR_FOCUS);
}

static const MuxCommand commands[] = {
    {'h', mux_help, "print this help"},
    {'x', mux_quit, "exit emulator"},
    {'s', mux_commit, "save disk data back to file (if -snapshot)"},
    {'t', mux_stamps, "toggle console timestamps"},
    {'b', mux_break, "send break (magic sysrq)"},
    {'c', mux_switch, "switch between console and monitor"},
    {0},
};

/* --- input --- */

static void mux_put(CharChannel *ch, uint8_t byte)
{
    if (ch->size < CHANNEL_QUEUE)
        ch->queue[(ch->at + ch->size++) % CHANNEL_QUEUE] = byte;
}

static void mux_command(CharPort *p, CharChannel *ch, uint8_t byte)
{
    if (byte == port_host(p)->escape) {
        mux_put(ch, byte);
        return;
    }
    for (const MuxCommand *k = commands; k->key; k++)
        if (byte == (uint8_t)k->key)
            k->run(p);
    if (byte == '?')
        mux_help(p);
}

void mux_push(CharChannel *ch)
{
    while (ch->size) {
        size_t n =
            MIN(MIN((size_t)ch->size, chardev_room(&ch->c)), (size_t)(CHANNEL_QUEUE - ch->at));
        bool was_full = ch->size == CHANNEL_QUEUE;

        if (!n)
            break;
        chardev_give(&ch->c, ch->queue + ch->at, n);
        ch->at = (uint32_t)(ch->at + n) % CHANNEL_QUEUE;
        ch->size -= (uint32_t)MIN((size_t)ch->size, n); /* a release empties it */
        if (was_full)
            chardev_accept_ready(ch->port->back);
    }
}

/* Commands must get through while nobody listens: then what else is typed is dropped. */
size_t mux_room(const CharPort *p)
{
    const CharChannel *ch = p->focus < p->n_channels ? p->channels[p->focus] : NULL;

    return ch ? CHANNEL_QUEUE - ch->size : 0;
}

void mux_accept(CharPort *p, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CharChannel *ch = p->channels[p->focus];
        bool escaped = p->escaped;

        p->escaped = !escaped && bytes[i] == port_host(p)->escape;
        if (escaped)
            mux_command(p, ch, bytes[i]);
        else if (!p->escaped)
            mux_put(ch, bytes[i]);
    }
    for (unsigned i = 0; i < p->n_channels; i++)
        mux_push(p->channels[i]);
}

/* --- output, with the time in front of each line if wanted --- */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static void write_stamp(CharPort *p)
{
    int64_t now = now_ms(), ms;
    char text[32];

    if (p->stamps_since < 0)
        p->stamps_since = now;
    ms = now - p->stamps_since;
    snprintf(text, sizeof text, "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
             (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
    port_write_locked(p, (const uint8_t *)text, strlen(text));
}

size_t mux_write_locked(CharPort *p, const uint8_t *bytes, size_t n)
{
    size_t done = 0;

    if (!p->stamps)
        return port_write_locked(p, bytes, n);
    while (done < n) {
        const uint8_t *end = memchr(bytes + done, '\n', n - done);
        size_t line = end ? (size_t)(end + 1 - (bytes + done)) : n - done, taken;

        if (p->line_start)
            write_stamp(p);
        p->line_start = false;
        taken = port_write_locked(p, bytes + done, line);
        done += taken;
        if (taken < line)
            break;
        p->line_start = end != NULL;
    }
    return done;
}
