/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ram - host memory behind RAM and ROM regions
 *
 * Blocks are kept in a list of their machine's, so that memory_free() need not look at regions that
 * may be gone.  Each block's pages have numbers of their own: per-page tables are indexed by them.
 */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/memory_priv.h"

enum { PAGE = 4096, HUGE = 2 << 20 };

typedef struct RamBlock {
    struct RamBlock *next;
    uint8_t *hva;
    uint64_t size;
    int fd;
    bool borrowed; /* somebody else's memory */
} RamBlock;

/* @size bytes at a multiple of @align; NULL with errno set. */
static uint8_t *map_aligned(uint64_t size, uint64_t align, int fd)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    uint64_t span = size + align - PAGE;
    uint8_t *span_p =
        mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (span_p == MAP_FAILED)
        return NULL;
    uint8_t *p = (uint8_t *)ALIGN_UP((uintptr_t)span_p, align);
    if (mmap(p, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int saved = errno;
        munmap(span_p, span);
        errno = saved;
        return NULL;
    }
    if (p > span_p)
        munmap(span_p, (size_t)(p - span_p));
    if (span_p + span > p + size)
        munmap(p + size, (size_t)(span_p + span - (p + size)));
    return p;
}

static int block_map(RamBlock *b, const char *name, bool share)
{
    b->fd = -1;
    if (share) {
        b->fd = memfd_create(name, MFD_CLOEXEC);
        if (b->fd < 0 || ftruncate(b->fd, (off_t)b->size) < 0)
            return errno;
    }
    b->hva = map_aligned(b->size, b->size >= HUGE ? HUGE : PAGE, b->fd);
    if (!b->hva)
        return errno;
    if (b->size >= HUGE)
        madvise(b->hva, b->size, MADV_HUGEPAGE); /* may be off on this host: slower, not wrong */
    return 0;
}

static void block_free(void *arg)
{
    RamBlock *b = arg;

    if (b->hva && !b->borrowed)
        munmap(b->hva, b->size);
    if (b->fd >= 0 && !b->borrowed)
        close(b->fd);
    xfree(b);
}

static bool ram_refused(Error *err, const char *name, uint64_t size, int errnum)
{
    return error_set_errno(err, errnum,
                           "cannot get %" PRIu64 " MiB of host memory for '%s' "
                           "(-m sets the size of guest RAM)",
                           (uint64_t)(size / MIB), name);
}

/* May the region have so many pages? */
static bool size_is_good(const Region *r, Memory *m)
{
    return r->size && r->size <= INT64_MAX / 2 &&
           atomic_load(&m->ram_pages) + ALIGN_UP(r->size, (uint64_t)PAGE) / PAGE < UINT32_MAX;
}

static bool block_add(RamBlock *b, Region *r, Memory *m)
{
    uint64_t n_pages = b->size / PAGE;

    WITH_LOCK (&m->topology) {
        r->ram_at = atomic_fetch_add(&m->ram_pages, (uint32_t)n_pages);
        b->next = m->blocks;
        m->blocks = b;
    }
    r->mem = m;
    r->hva = b->hva;
    r->fd = b->fd;
    return true;
}

bool ram_attach(Region *r, Memory *m, bool share, Error *err)
{
    RamBlock *b = xnew(RamBlock);
    int rc;

    b->size = ALIGN_UP(r->size, (uint64_t)PAGE);
    b->fd = -1;
    rc = size_is_good(r, m) ? block_map(b, r->name, share) : ENOMEM;
    if (!rc)
        return block_add(b, r, m);
    block_free(b);
    return ram_refused(err, r->name, r->size, rc);
}

bool ram_borrow(Region *r, Memory *m, uint8_t *host, int fd, Error *err)
{
    RamBlock *b;

    if (!size_is_good(r, m))
        return ram_refused(err, r->name, r->size, ENOMEM);
    b = xnew(RamBlock);
    *b = (RamBlock){
        .hva = host, .size = ALIGN_UP(r->size, (uint64_t)PAGE), .fd = fd, .borrowed = true};
    return block_add(b, r, m);
}

void ram_detach(Region *r)
{
    RamBlock *found = NULL;

    WITH_LOCK (&r->mem->topology)
        for (RamBlock **p = &r->mem->blocks; *p; p = &(*p)->next)
            if ((*p)->hva == r->hva) {
                found = *p;
                *p = found->next;
                break;
            }
    if (found)
        epoch_retire(block_free, found);
    r->hva = NULL;
    r->fd = -1;
}

void memory_prealloc(Memory *m)
{
    WITH_LOCK (&m->topology)
        for (RamBlock *b = m->blocks; b; b = b->next)
            for (uint64_t at = 0; at < b->size; at += PAGE)
                *(volatile uint8_t *)(b->hva + at) = b->hva[at];
}

void ram_release_all(Memory *m)
{
    while (m->blocks) {
        RamBlock *b = m->blocks;
        m->blocks = b->next;
        block_free(b);
    }
}
