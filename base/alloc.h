/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc - memory
 *
 * x*: cannot fail (the process aborts); for small sizes of our own choosing; zeroed.
 * try_*: NULL on failure; for sizes that a guest, a file or a client chooses; zeroed.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include "base/base.h"

void *xalloc(size_t size);
void *xalloc_aligned(size_t align, size_t size); /* release with xfree */
void *xrealloc(void *p, size_t size);            /* new bytes are not zeroed */
char *xstrdup(const char *s);                    /* NULL gives NULL */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
void xfree(void *p); /* NULL is fine */
void *try_alloc(size_t size);

#define xnew(T) ((T *)xalloc(sizeof(T)))
#define xnew_n(T, n) ((T *)xalloc(sizeof(T) * (n)))
#define try_new_n(T, n)                                                                            \
    ((T *)((size_t)(n) > SIZE_MAX / sizeof(T) ? NULL : try_alloc(sizeof(T) * (n))))

static inline void auto_free(void *p)
{
    xfree(*(void **)p);
}
#define AUTO_FREE __attribute__((cleanup(auto_free)))

/* Test hook: the n-th try_alloc from now on (1 = next) fails, and all after it; 0 switches it
 * off. */
void fault_alloc(unsigned n);

#endif
