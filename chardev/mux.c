/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mux - commands after Ctrl-A, in front of another back end
 *
 * Input is read and looked through whether the guest takes it or not, so that Ctrl-A x always
 * works; what the guest has not taken waits here.  Input side: loop thread only.  Output passes
 * through.
 */
#include "base/alloc.h"
#include "base/strbuf.h"
#include "chardev/chardev.h"

enum { ESCAPE = 1, QUEUE = 65536 };

typedef struct Mux {
    Chardev c;
    Chardev *back;
    CharFront front; /* of back */
    ChardevHost host;
    bool escaped; /* the last byte was Ctrl-A */
    uint8_t queue[QUEUE];
    uint32_t at, size;
} Mux;

typedef struct MuxCommand {
    char key;
    void (*run)(Mux *m);
    const char *doc;
} MuxCommand;
static const MuxCommand commands[];

static void mux_say(Mux *m, const char *text)
{
    chardev_write(m->back, (const uint8_t *)text, strlen(text));
}

static void mux_help(Mux *m)
{
    StrBuf b = {0};

    strbuf_add(&b, "\r\n");
    for (const MuxCommand *k = commands; k->key; k++)
        strbuf_addf(&b, "C-a %c    %s\r\n", k->key, k->doc);
    strbuf_add(&b, "C-a C-a  sends C-a\r\n");
    mux_say(m, strbuf_str(&b));
    strbuf_free(&b);
}

static void mux_quit(Mux *m)
{
    mux_say(m, "rhea: Terminated\r\n");
    m->host.quit(m->host.arg);
}

static void mux_break(Mux *m)
{
    chardev_tell(&m->c, CHAR_BREAK);
}

static void mux_monitor(Mux *m)
{
    mux_say(m, "\r\nrhea: the monitor is not built yet\r\n");
}

static const MuxCommand commands[] = {
    {'h', mux_help, "print this help"},
    {'x', mux_quit, "exit emulator"},
    {'b', mux_break, "send break"},
    {'c', mux_monitor, "switch between console and monitor (not built yet)"},
    {0},
};

static void mux_put(Mux *m, uint8_t byte)
{
    m->queue[(m->at + m->size++) % QUEUE] = byte;
}

static void mux_command(Mux *m, uint8_t byte)
{
    if (byte == ESCAPE) {
        mux_put(m, byte);
        return;
    }
    for (const MuxCommand *k = commands; k->key; k++)
        if (byte == (uint8_t)k->key)
            k->run(m);
    if (byte == '?')
        mux_help(m);
}

/* Pass on what the guest takes. */
static void mux_push(void *arg)
{
    Mux *m = arg;

    while (m->size) {
        size_t n = MIN(MIN((size_t)m->size, chardev_room(&m->c)), (size_t)(QUEUE - m->at));
        bool was_full = m->size == QUEUE;

        if (!n)
            break;
        chardev_give(&m->c, m->queue + m->at, n);
        m->at = (uint32_t)(m->at + n) % QUEUE;
        m->size -= (uint32_t)n;
        if (was_full)
            chardev_accept_ready(m->back);
    }
}

static size_t mux_can_accept(void *arg)
{
    return QUEUE - ((Mux *)arg)->size;
}

static void mux_accept(void *arg, const uint8_t *p, size_t n)
{
    Mux *m = arg;

    for (size_t i = 0; i < n; i++) {
        bool escaped = m->escaped;

        m->escaped = !escaped && p[i] == ESCAPE;
        if (escaped)
            mux_command(m, p[i]);
        else if (!m->escaped)
            mux_put(m, p[i]);
    }
    mux_push(m);
}

static void mux_event(void *arg, CharEvent e)
{
    chardev_tell(&((Mux *)arg)->c, e);
}

static size_t mux_write(Chardev *c, const uint8_t *p, size_t n)
{
    return chardev_write(((Mux *)c)->back, p, n);
}

static void mux_accept_ready(Chardev *c)
{
    if (c->loop)
        loop_post(c->loop, mux_push, c);
}

static void mux_stop(Chardev *c)
{
    chardev_stop(((Mux *)c)->back);
    c->loop = NULL;
}

static void mux_close(Chardev *c)
{
    Mux *m = (Mux *)c;

    chardev_close(m->back);
    chardev_fini(c);
    xfree(m);
}

static const ChardevOps mux_ops = {
    .name = "mux",
    .write = mux_write,
    .accept_ready = mux_accept_ready,
    .close = mux_close,
    .stop = mux_stop,
};

Chardev *mux_open(Chardev *back, const ChardevHost *host, const char *id)
{
    Mux *m = xnew(Mux);

    chardev_init(&m->c, &mux_ops, id, host->loop);
    m->back = back;
    m->host = *host;
    m->front = (CharFront){
        .arg = m, .can_accept = mux_can_accept, .accept = mux_accept, .event = mux_event};
    chardev_attach(back, &m->front);
    return &m->c;
}
