/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bytes - integers in byte order, at any alignment */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/base.h"

#define BYTES_DEFINE(bits)                                                                         \
    static inline uint##bits##_t get_le##bits(const void *p)                                       \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        __builtin_memcpy(&v, p, sizeof v);                                                         \
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : BYTES_SWAP##bits(v);                \
    }                                                                                              \
    static inline uint##bits##_t get_be##bits(const void *p)                                       \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        __builtin_memcpy(&v, p, sizeof v);                                                         \
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? BYTES_SWAP##bits(v) : v;                \
    }                                                                                              \
    static inline void put_le##bits(void *p, uint##bits##_t v)                                     \
    {                                                                                              \
        v = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : BYTES_SWAP##bits(v);                   \
        __builtin_memcpy(p, &v, sizeof v);                                                         \
    }                                                                                              \
    static inline void put_be##bits(void *p, uint##bits##_t v)                                     \
    {                                                                                              \
        v = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? BYTES_SWAP##bits(v) : v;                   \
        __builtin_memcpy(p, &v, sizeof v);                                                         \
    }
#define BYTES_SWAP16(v) __builtin_bswap16(v)
#define BYTES_SWAP32(v) __builtin_bswap32(v)
#define BYTES_SWAP64(v) __builtin_bswap64(v)
BYTES_DEFINE(16)
BYTES_DEFINE(32)
BYTES_DEFINE(64)

/* @size bytes (1, 2, 4, 8), little-endian. */
static inline uint64_t get_le(const void *p, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)p;
    case 2: return get_le16(p);
    case 4: return get_le32(p);
    default: return get_le64(p);
    }
}

static inline void put_le(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: put_le16(p, (uint16_t)v); break;
    case 4: put_le32(p, (uint32_t)v); break;
    default: put_le64(p, v); break;
    }
}

#endif
