/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_packet - framing of the GDB protocol, and reading and writing of its hexadecimal numbers */
#include "monitor/gdb_packet.h"

enum { IDLE, CONTENTS, ESCAPED, REPEAT, SUM_HIGH, SUM_LOW };
enum { ESCAPE_XOR = 0x20, REPEAT_BASE = 29, REPEAT_FIRST = ' ', REPEAT_LAST = '~' };

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* --- receiving --- */

static void put(GdbParser *p, uint8_t byte)
{
    if (p->n < GDB_PACKET_MAX)
        p->data[p->n++] = byte;
    else
        p->bad = true;
}

static void repeat(GdbParser *p, uint8_t count)
{
    if (count < REPEAT_FIRST || count > REPEAT_LAST || !p->n) {
        p->bad = true;
        return;
    }
    for (unsigned i = count - REPEAT_BASE; i > 0; i--)
        put(p, p->data[p->n - 1]);
}

static GdbInput idle(GdbParser *p, uint8_t byte)
{
    switch (byte) {
    case '$':
        p->n = p->sum = 0;
        p->bad = false;
        p->state = CONTENTS;
        return GDB_MORE;
    case 3: return GDB_INTERRUPT;
    case '+': return GDB_ACK;
    case '-': return GDB_NAK;
    default: return GDB_MORE;
    }
}

static void contents(GdbParser *p, uint8_t byte)
{
    if (byte == '#') {
        p->bad |= p->state != CONTENTS;
        p->state = SUM_HIGH;
        return;
    }
    p->sum += byte;
    if (p->state == ESCAPED)
        put(p, byte ^ ESCAPE_XOR);
    else if (p->state == REPEAT)
        repeat(p, byte);
    else if (byte != '}' && byte != '*')
        put(p, byte);
    p->state = p->state != CONTENTS ? CONTENTS
               : byte == '}'        ? ESCAPED
               : byte == '*'        ? REPEAT
                                    : CONTENTS;
}

static GdbInput finish(GdbParser *p, uint8_t byte)
{
    int high = digit_of(p->told), low = digit_of(byte);

    p->state = IDLE;
    p->data[p->n] = 0;
    if (!p->unchecked && (high < 0 || low < 0 || p->sum != (high << 4 | low)))
        return GDB_CORRUPT;
    return p->bad ? GDB_BAD : GDB_PACKET;
}

GdbInput gdb_parse(GdbParser *p, uint8_t byte)
{
    switch (p->state) {
    case IDLE: return idle(p, byte);
    case SUM_HIGH:
        p->told = byte;
        p->state = SUM_LOW;
        return GDB_MORE;
    case SUM_LOW: return finish(p, byte);
    default:
        if (byte == '$' && p->state == CONTENTS) { /* the end of the last one was lost */
            p->state = IDLE;
            return idle(p, byte);
        }
        contents(p, byte);
        return GDB_MORE;
    }
}

/* --- sending --- */

static const char digits[] = "0123456789abcdef";

void gdb_frame(StrBuf *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint8_t sum = 0;

    strbuf_add(out, "$");
    for (size_t i = 0; i < n; i++) {
        char two[2] = {'}', (char)(p[i] ^ ESCAPE_XOR)}, one = (char)p[i];
        bool escape = one == '#' || one == '$' || one == '}' || one == '*';

        strbuf_addn(out, escape ? two : &one, escape ? 2 : 1);
        sum += escape ? (uint8_t)two[0] + (uint8_t)two[1] : p[i];
    }
    char end[3] = {'#', digits[sum >> 4], digits[sum & 15]};

    strbuf_addn(out, end, 3);
}

/* --- contents --- */

bool gdb_eat(GdbText *t, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
        return false;
    t->p += n;
    return true;
}

bool gdb_hex(GdbText *t, uint64_t *v)
{
    const uint8_t *start = t->p;

    *v = 0;
    for (int d; t->p < t->end && (d = digit_of(*t->p)) >= 0; t->p++) {
        if (t->p - start == 16)
            return false;
        *v = *v << 4 | (unsigned)d;
    }
    return t->p > start;
}

bool gdb_hex_byte(GdbText *t, uint8_t *v)
{
    int high = t->end - t->p < 2 ? -1 : digit_of(t->p[0]);
    int low = high < 0 ? -1 : digit_of(t->p[1]);

    if (low < 0)
        return false;
    *v = (uint8_t)(high << 4 | low);
    t->p += 2;
    return true;
}

void gdb_add_hex(StrBuf *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < n; i++) {
        char two[2] = {digits[p[i] >> 4], digits[p[i] & 15]};

        strbuf_addn(out, two, 2);
    }
}
