/* SPDX-License-Identifier: GPL-2.0-or-later */
/* alloc - memory that is there, and memory that may not be */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

static noreturn void alloc_failed(size_t size)
{
    fprintf(stderr, "rhea: out of memory (%zu bytes)\n", size);
    abort();
}

void *xalloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        alloc_failed(size);
    return p;
}

void *xalloc_aligned(size_t align, size_t size)
{
    void *p;

    if (posix_memalign(&p, MAX(align, sizeof(void *)), size ? size : 1))
        alloc_failed(size);
    return memset(p, 0, size);
}

void *xrealloc(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        alloc_failed(size);
    return p;
}

char *xstrdup(const char *s)
{
    size_t size;

    if (!s)
        return NULL;
    size = strlen(s) + 1;
    return memcpy(xalloc(size), s, size);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap, again;
    char *s;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(len >= 0);
    s = xalloc((size_t)len + 1);
    vsnprintf(s, (size_t)len + 1, fmt, again);
    va_end(again);
    return s;
}

void xfree(void *p)
{
    free(p);
}

/* How many try_alloc calls until they fail: 0 never, 1 from the next one on. */
static _Atomic unsigned fault_left;

void fault_alloc(unsigned n)
{
    atomic_store(&fault_left, n);
}

static bool fault_now(void)
{
    unsigned left = atomic_load(&fault_left);

    while (left > 1 && !atomic_compare_exchange_weak(&fault_left, &left, left - 1))
        ;
    return left == 1;
}

void *try_alloc(size_t size)
{
    if (fault_now() || size > PTRDIFF_MAX)
        return NULL;
    return calloc(1, size ? size : 1);
}
