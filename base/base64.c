/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64 - RFC 4648, chapter 4 */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_digit(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

ssize_t base64_decode(uint8_t *p, size_t n)
{
    size_t out = 0, count = 0, pads = 0;
    uint32_t word = 0;

    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit((char)p[i]);

        if (strchr(" \t\r\n", p[i]) && p[i])
            continue;
        if (p[i] == '=')
            pads++;
        else if (digit < 0 || pads)
            return -1;
        word = word << 6 | (digit < 0 ? 0 : (uint32_t)digit);
        if (++count % 4)
            continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            p[out++] = (uint8_t)(word >> shift);
    }
    if (count % 4 || pads > 2 || pads > out)
        return -1;
    return (ssize_t)(out - pads);
}

void base64_encode(const uint8_t *p, size_t n, StrBuf *b)
{
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        char four[5] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63]};

        if (i + 1 >= n)
            four[2] = '=';
        if (i + 2 >= n)
            four[3] = '=';
        strbuf_add(b, four);
    }
}
