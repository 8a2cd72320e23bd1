/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64 - bytes as text (RFC 4648, chapter 4) */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <sys/types.h>

#include "base/base.h"
#include "base/strbuf.h"

void base64_encode(const uint8_t *p, size_t n, StrBuf *b);
ssize_t base64_decode(uint8_t *p, size_t n); /* in place, blanks skipped: the new size, -1: wrong */

#endif
