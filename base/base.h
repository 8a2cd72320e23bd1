/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base - the words every file uses
 *
 * Include first.  Nothing here allocates, locks or fails.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>

typedef uint64_t Gva; /* guest virtual (linear) address */
typedef uint64_t Gpa; /* guest physical address */

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define UNREACHABLE() __builtin_unreachable()
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + ((__typeof__(x))(a)-1), a)
/* Each argument is evaluated once. */
#define MIN(a, b)                                                                                  \
    ({                                                                                             \
        __auto_type min_a_ = (a);                                                                  \
        __auto_type min_b_ = (b);                                                                  \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                         \
    })
#define MAX(a, b)                                                                                  \
    ({                                                                                             \
        __auto_type max_a_ = (a);                                                                  \
        __auto_type max_b_ = (b);                                                                  \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                         \
    })
#define BIT(n) (1ull << (n))
#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* Bits @len (1..64) of @v from bit @at. */
static inline uint64_t bits(uint64_t v, unsigned at, unsigned len)
{
    return v >> at & (~0ull >> (64 - len));
}

static inline uint64_t bits_set(uint64_t v, unsigned at, unsigned len, uint64_t to)
{
    uint64_t mask = (~0ull >> (64 - len)) << at;

    return (v & ~mask) | (to << at & mask);
}

/* Sign-extend the low @bits (1..64) of @v. */
static inline int64_t sext(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

#endif
