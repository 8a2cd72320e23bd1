/* SPDX-License-Identifier: GPL-2.0-or-later */
/* aml - writing ACPI machine language: see aml.h */
#include "hw/firmware/aml.h"

#include "base/bytes.h"

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_EXT = 0x5b
};
enum {
    PKG_LENGTH_SIZE = 3
}; /* lead byte and two more: always this form, so that it can be patched */
enum { RES_IRQ = 0x22, RES_IO = 0x47, RES_END = 0x79, RES_MEMORY32_FIXED = 0x86 };

void aml_byte(ByteBuf *b, uint8_t v)
{
    bytebuf_add(b, &v, 1);
}

static void add_le(ByteBuf *b, unsigned size, uint64_t v)
{
    uint8_t bytes[8];

    put_le(bytes, size, v);
    bytebuf_add(b, bytes, size);
}

/* One name segment of up to four characters, padded by '_', perhaps after a backslash. */
static void add_name(ByteBuf *b, const char *name)
{
    if (*name == '\\')
        aml_byte(b, (uint8_t)*name++);
    assert(strlen(name) <= 4);
    for (unsigned i = 0; i < 4; i++)
        aml_byte(b, *name ? (uint8_t)*name++ : '_');
}

size_t aml_open(ByteBuf *b, AmlBlock kind, const char *name)
{
    static const uint8_t no_length[PKG_LENGTH_SIZE];
    size_t at;

    if (kind > 0xff)
        aml_byte(b, OP_EXT);
    aml_byte(b, (uint8_t)kind);
    at = b->len;
    bytebuf_add(b, no_length, sizeof no_length);
    if (name)
        add_name(b, name);
    return at;
}

void aml_close(ByteBuf *b, size_t at)
{
    size_t n = b->len - at; /* counts itself */

    assert(n < 1 << 20);
    b->p[at] = (uint8_t)((PKG_LENGTH_SIZE - 1) << 6 | (n & 15));
    b->p[at + 1] = (uint8_t)(n >> 4);
    b->p[at + 2] = (uint8_t)(n >> 12);
}

void aml_name(ByteBuf *b, const char *name)
{
    aml_byte(b, OP_NAME);
    add_name(b, name);
}

void aml_int(ByteBuf *b, uint64_t v)
{
    static const uint8_t ops[] = {OP_BYTE, OP_WORD, OP_DWORD, OP_QWORD};
    unsigned log = v <= UINT8_MAX ? 0 : v <= UINT16_MAX ? 1 : v <= UINT32_MAX ? 2 : 3;

    if (v > 1)
        aml_byte(b, ops[log]);
    add_le(b, 1u << log, v); /* 0 and 1 are opcodes of their own */
}

void aml_string(ByteBuf *b, const char *s)
{
    aml_byte(b, OP_STRING);
    bytebuf_add(b, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits, four hex digits; big-endian (ACPI 19.6.36). */
void aml_eisa_id(ByteBuf *b, const char *id)
{
    uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
                 (uint32_t)(id[2] - '@') << 16 | hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
                 hex_digit(id[5]) << 4 | hex_digit(id[6]);

    aml_byte(b, OP_DWORD);
    add_le(b, 4, __builtin_bswap32(v));
}

/* The buffer's size is patched at the end, in its two-byte form. */
size_t aml_crs_open(ByteBuf *b)
{
    size_t at;

    aml_name(b, "_CRS");
    at = aml_open(b, AML_BUFFER, NULL);
    aml_byte(b, OP_WORD);
    add_le(b, 2, 0);
    return at;
}

void aml_crs_io(ByteBuf *b, uint16_t at, uint8_t size)
{
    aml_byte(b, RES_IO);
    aml_byte(b, 1); /* decodes 16 bits */
    add_le(b, 2, at);
    add_le(b, 2, at);
    aml_byte(b, 1);
    aml_byte(b, size);
}

void aml_crs_irq(ByteBuf *b, unsigned irq)
{
    aml_byte(b, RES_IRQ);
    add_le(b, 2, 1u << irq);
}

void aml_crs_memory(ByteBuf *b, uint32_t at, uint32_t size)
{
    aml_byte(b, RES_MEMORY32_FIXED);
    add_le(b, 2, 9);
    aml_byte(b, 1); /* writable */
    add_le(b, 4, at);
    add_le(b, 4, size);
}

void aml_crs_close(ByteBuf *b, size_t at)
{
    size_t data = at + PKG_LENGTH_SIZE + 3;

    aml_byte(b, RES_END);
    aml_byte(b, 0); /* checksum: none */
    put_le16(b->p + data - 2, (uint16_t)(b->len - data));
    aml_close(b, at);
}
