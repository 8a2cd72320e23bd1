/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_memory - x, xp, print, sum, gva2gpa, i, o (layout: QEMU 7.2) */
#include <stdio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "monitor/guest_memory.h"
#include "monitor/hmp_priv.h"

enum { ITEMS_MAX = 1 << 16, LINE = 16, INSN_MAX = 16, SUM_STEP = 4096 };

/* --- items --- */

static void print_char(HmpCall *h, uint8_t c)
{
    if (c == '\'' || c == '\\')
        hmp_print(h, "'\\%c'", c);
    else if (c >= 32 && c < 127)
        hmp_print(h, "'%c'", c);
    else if (c == '\n' || c == '\r')
        hmp_print(h, "'\\%c'", c == '\n' ? 'n' : 'r');
    else
        hmp_print(h, "'\\x%02x'", c);
}

/* Columns that the widest value takes, by format and power of two of the size. */
static int item_width(char format, unsigned size)
{
    static const uint8_t octal[] = {3, 6, 11, 22}, decimal[] = {3, 5, 10, 20};
    unsigned k = size == 8 ? 3 : size / 2;

    return format == 'o' ? octal[k] : decimal[k];
}

static void print_item(HmpCall *h, char format, unsigned size, uint64_t v)
{
    int width = item_width(format, size);

    switch (format) {
    case 'o': hmp_print(h, "%#*" PRIo64, width, v); break;
    case 'x': hmp_print(h, "0x%0*" PRIx64, (int)size * 2, v); break;
    case 'u': hmp_print(h, "%*" PRIu64, width, v); break;
    case 'd': hmp_print(h, "%*" PRId64, width, sext(v, size * 8)); break;
    default: print_char(h, (uint8_t)v); break;
    }
}

static void dump_items(HmpCall *h, Cpu *v, uint64_t at, uint64_t count)
{
    char format = h->format ? h->format : 'x';
    unsigned size = format == 'c' ? 1
                    : h->size     ? h->size
                                  : 4,
             per_line = format == 'c' || size == 1 ? 8 : LINE / size;

    for (uint64_t i = 0; i < count; i++, at += size) {
        uint8_t bytes[8] = {0};

        if (i % per_line == 0)
            hmp_print(h, "%s%016" PRIx64 ":", i ? "\n" : "", at);
        if (!guest_read(h->m, v, at, bytes, size)) {
            hmp_print(h, " Cannot access memory");
            break;
        }
        hmp_print(h, " ");
        print_item(h, format, size, get_le(bytes, size));
    }
    hmp_print(h, "\n");
}

/* --- instructions --- */

/* The instruction of a disassembler's line "0x1000:  nop". */
static const char *insn_text(StrBuf *line)
{
    const char *s = strbuf_str(line), *colon = strstr(s, ":  ");

    while (line->len && line->s[line->len - 1] == '\n')
        line->s[--line->len] = 0;
    return colon ? colon + 3 : s;
}

static size_t read_code(HmpCall *h, Cpu *v, uint64_t at, uint8_t *code)
{
    size_t n = 0;

    while (n < INSN_MAX && guest_read(h->m, v, at + n, code + n, 1))
        n++;
    return n;
}

static void dump_code(HmpCall *h, Cpu *v, uint64_t at, uint64_t count)
{
    if (!h->cpu || !h->cpu->arch->disasm) {
        hmp_print(h, "there is no processor to read this for\n");
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint8_t code[INSN_MAX];
        StrBuf text = {0};
        size_t have = read_code(h, v, at, code), n;

        if (!have) {
            hmp_print(h, "0x%08" PRIx64 ":  Cannot access memory\n", at);
            return;
        }
        n = h->cpu->arch->disasm(code, have, at, h->cpu->mode, &text);
        hmp_print(h, "0x%08" PRIx64 ":  ", at);
        for (size_t k = 0; k < MAX(n, (size_t)1); k++)
            hmp_print(h, "%02x ", code[k]);
        hmp_print(h, "%*s %s\n", n < 8 ? (int)(8 - n) * 3 : 0, "", insn_text(&text));
        strbuf_free(&text);
        at += MAX(n, (size_t)1);
    }
}

static void dump(HmpCall *h, Cpu *v)
{
    uint64_t at = (uint64_t)hmp_int(h, "addr"), count = MIN(h->count, (uint64_t)ITEMS_MAX);

    hmp_hold(h->m);
    if (h->format == 'i')
        dump_code(h, v, at, count);
    else
        dump_items(h, v, at, count);
    hmp_go(h->m);
}

void hmp_x(HmpCall *h)
{
    if (h->cpu)
        dump(h, h->cpu);
    else
        hmp_print(h, "No CPU\n");
}

void hmp_xp(HmpCall *h)
{
    dump(h, NULL);
}

void hmp_p(HmpCall *h)
{
    uint64_t v = (uint64_t)hmp_int(h, "val");

    switch (h->format) {
    case 'o': hmp_print(h, "%#" PRIo64, v); break;
    case 'x': hmp_print(h, "%#" PRIx64, v); break;
    case 'u': hmp_print(h, "%" PRIu64, v); break;
    case 'c': print_char(h, (uint8_t)v); break;
    default: hmp_print(h, "%" PRId64, (int64_t)v); break;
    }
    hmp_print(h, "\n");
}

/* --- others --- */

/* The BSD checksum. */
void hmp_sum(HmpCall *h)
{
    uint64_t at = (uint64_t)hmp_int(h, "start"), n = (uint64_t)hmp_int(h, "size");
    uint16_t sum = 0;

    if (n > h->m->cfg.ram_size + 4 * GIB) {
        hmp_print(h, "that is more than there is\n");
        return;
    }
    hmp_hold(h->m);
    while (n) {
        uint8_t bytes[SUM_STEP];
        size_t step = (size_t)MIN(n, (uint64_t)SUM_STEP);

        memset(bytes, 0, sizeof bytes);
        guest_read(h->m, NULL, at, bytes, step);
        for (size_t i = 0; i < step; i++)
            sum = (uint16_t)((sum >> 1 | (uint32_t)sum << 15) + bytes[i]);
        at += step;
        n -= step;
    }
    hmp_go(h->m);
    hmp_print(h, "%05d\n", sum);
}

void hmp_gva2gpa(HmpCall *h)
{
    uint64_t va = (uint64_t)hmp_int(h, "addr");
    bool ok;
    Gpa pa;

    if (!h->cpu) {
        hmp_print(h, "No cpu\n");
        return;
    }
    hmp_hold(h->m);
    ok = guest_translate(h->cpu, va, &pa);
    hmp_go(h->m);
    if (ok)
        hmp_print(h, "gpa: %#" PRIx64 "\n", pa);
    else
        hmp_print(h, "Unmapped\n");
}

/* --- I/O ports --- */

void hmp_in(HmpCall *h)
{
    uint16_t port = (uint16_t)hmp_int(h, "addr");
    unsigned size = h->size && h->size < 8 ? h->size : 1;
    uint8_t bytes[8] = {0};

    if (hmp_has(h, "index")) {
        uint8_t index = (uint8_t)hmp_int(h, "index");

        as_write(&h->m->mem->io, port++, &index, 1);
    }
    as_read(&h->m->mem->io, port, bytes, size);
    hmp_print(h, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", "?bw?l"[size], port, (int)size * 2,
              get_le(bytes, size));
}

void hmp_out(HmpCall *h)
{
    unsigned size = h->size && h->size < 8 ? h->size : 1;
    uint8_t bytes[8];

    put_le(bytes, size, (uint64_t)hmp_int(h, "val"));
    as_write(&h->m->mem->io, (uint16_t)hmp_int(h, "addr"), bytes, size);
}
