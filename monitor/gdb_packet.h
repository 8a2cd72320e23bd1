/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb_packet - the outer layer of the GDB protocol: packets, checksums, escapes, run lengths (GDB
 * manual E.1)
 *
 * Knows nothing of what packets mean.  Whatever arrives, memory use is constant.
 */
#ifndef MONITOR_GDB_PACKET_H
#define MONITOR_GDB_PACKET_H

#include "base/base.h"
#include "base/strbuf.h"

enum { GDB_PACKET_MAX = 0x4000 }; /* bytes of contents, also told as PacketSize */

typedef enum GdbInput {
    GDB_MORE,      /* nothing complete yet */
    GDB_PACKET,    /* data[0..n) is one; data[n] is 0 */
    GDB_BAD,       /* one that was too long or not well-formed, with a right checksum */
    GDB_CORRUPT,   /* its checksum is wrong: ask for it again */
    GDB_INTERRUPT, /* byte 3 */
    GDB_ACK,
    GDB_NAK
} GdbInput;

typedef struct GdbParser { /* all zero: waiting for a packet */
    uint8_t state, sum, told;
    bool bad, unchecked; /* unchecked: no-ack mode, checksums do not count */
    size_t n;
    uint8_t data[GDB_PACKET_MAX + 1];
} GdbParser;

GdbInput gdb_parse(GdbParser *p, uint8_t byte);
/* "$contents#sum", with what needs it escaped. */
void gdb_frame(StrBuf *out, const void *contents, size_t n);

/* The contents of a packet, read from the left. */
typedef struct GdbText {
    const uint8_t *p, *end;
} GdbText;

bool gdb_eat(GdbText *t,
             const char *word);        /* false, and nothing is eaten: it does not begin with it */
bool gdb_hex(GdbText *t, uint64_t *v); /* 1 to 16 digits */
bool gdb_hex_byte(GdbText *t, uint8_t *v); /* two digits */
void gdb_add_hex(StrBuf *out, const void *bytes, size_t n);

#endif
