/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem - guest memory as helpers and the slow paths of translated code reach it
 *
 * An operand is at most two pieces, one on each page.  All pieces are resolved (and stores to
 * watched pages announced) before the first has an effect.  General registers only; devices are
 * called after the guest's vectors were saved.
 */
#include "cpu/tlb_priv.h"

#include "base/log.h"
#include "core/debug.h"

static inline Tlb *tlb_of(const Cpu *c)
{
    return c->mmu;
}

/* Both of any length and alignment; libc's may use vector registers. */
static void copy_bytes(void *to, const void *from, size_t n)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
#else
    uint8_t *d = to;
    const uint8_t *s = from;

    while (n--)
        *d++ = *s++;
#endif
}

static inline uint64_t load_host(const void *p, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)p;
    case 2: {
        uint16_t v;
        __builtin_memcpy(&v, p, 2);
        return v;
    }
    case 4: {
        uint32_t v;
        __builtin_memcpy(&v, p, 4);
        return v;
    }
    default: {
        uint64_t v;
        __builtin_memcpy(&v, p, 8);
        return v;
    }
    }
}

static inline void store_host(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: __builtin_memcpy(p, &v, 2); break;
    case 4: __builtin_memcpy(p, &v, 4); break;
    default: __builtin_memcpy(p, &v, 8); break;
    }
}

static inline void watch(Cpu *c, Gva va, unsigned size, Access access)
{
    if (UNLIKELY(c->debug != NULL))
        debug_access(c, va, size, access);
}

/* --- pieces --- */

static void announce(Cpu *c, uint32_t ram_page, unsigned at, unsigned size)
{
    if (UNLIKELY(tlb_page_watched(tlb_of(c), ram_page)) && c->host && c->host->code_written)
        c->host->code_written(c, ram_page, at, size);
}

static Piece piece_of(const L2Entry *e, Gva va, unsigned len)
{
    unsigned off = va & 0xfff;
    bool io = e->kind == KIND_IO;

    return (Piece){.host = io ? NULL : (uint8_t *)(uintptr_t)e->host + off,
                   .pa = io ? e->host + off : 0,
                   .ram_page = e->ram_page,
                   .len = (uint16_t)len,
                   .kind = e->kind};
}

/* Resolve [va, va+size), size <= 4096, into pieces; stores are announced. */
static unsigned pieces_of(Cpu *c, Gva va, unsigned size, Access access, unsigned mode, Piece p[2])
{
    unsigned first = MIN(size, 4096 - (unsigned)(va & 0xfff)), n = 1;

    p[0] = piece_of(tlb_resolve(c, va, access, mode), va, first);
    if (first < size) {
        p[1] = piece_of(tlb_resolve(c, va + first, access, mode), va + first, size - first);
        n = 2;
    }
    watch(c, va, size, access);
    for (unsigned i = 0; access == ACCESS_WRITE && i < n; i++) {
        if (p[i].kind == KIND_RAM)
            announce(c, p[i].ram_page, (uintptr_t)p[i].host & 0xfff, p[i].len);
    }
    return n;
}

/* The device may have changed the memory map: what was translated before is void at once. */
static void after_device(Cpu *c)
{
    if (UNLIKELY(atomic_load_explicit(&c->request, memory_order_relaxed) & REQ_TLB)) {
        cpu_request_clear(c, REQ_TLB);
        tlb_flush_all(c);
    }
}

static void before_device(Cpu *c)
{
    tlb_of(c)->stats.mmio++;
    if (c->vec_live)
        c->host->vec_save(c);
}

static void piece_read(Cpu *c, const Piece *p, void *to)
{
    if (p->host) {
        copy_bytes(to, p->host, p->len);
        return;
    }
    before_device(c);
    as_read(c->as, p->pa, to, p->len);
    after_device(c);
}

static void piece_write(Cpu *c, const Piece *p, const void *from)
{
    if (p->kind == KIND_RAM) {
        copy_bytes(p->host, from, p->len);
    } else if (p->kind == KIND_IO) {
        before_device(c);
        as_write(c->as, p->pa, from, p->len);
        after_device(c);
    } else if (log_on(LOG_GUEST_ERROR)) {
        before_device(c); /* as much a call out */
        log_guest("cpu %u: store to ROM at offset 0x%x of a page\n", c->index,
                  (unsigned)((uintptr_t)p->host & 0xfff));
    }
}

/* --- loads and stores of helpers --- */

static uint64_t load_slow(Cpu *c, Gva va, unsigned size, unsigned mode)
{
    Piece p[2];
    uint64_t v = 0;

    tlb_of(c)->stats.slow++;
    if (LIKELY((va & 0xfff) + size <= 4096)) {
        const L2Entry *e = tlb_resolve(c, va, ACCESS_READ, mode);

        if (LIKELY(e->kind != KIND_IO)) {
            watch(c, va, size, ACCESS_READ);
            if (mode == c->mmu_mode)
                tlb_install(c, e, va, ACCESS_READ);
            return load_host((const void *)(uintptr_t)(e->host + (va & 0xfff)), size);
        }
    }
    unsigned n = pieces_of(c, va, size, ACCESS_READ, mode, p), at = 0;

    for (unsigned i = 0; i < n; at += p[i++].len)
        piece_read(c, &p[i], (uint8_t *)&v + at);
    return v;
}

uint64_t mem_load(Cpu *c, Gva va, unsigned size, unsigned mmu_mode)
{
    const void *p = LIKELY(mmu_mode == c->mmu_mode) ? tlb_fast(c->tlb->rd, va, size) : NULL;

    return LIKELY(p != NULL) ? load_host(p, size) : load_slow(c, va, size, mmu_mode);
}

static void store_slow(Cpu *c, Gva va, unsigned size, uint64_t v, unsigned mode)
{
    Piece p[2];

    tlb_of(c)->stats.slow++;
    if (LIKELY((va & 0xfff) + size <= 4096)) {
        const L2Entry *e = tlb_resolve(c, va, ACCESS_WRITE, mode);

        if (LIKELY(e->kind == KIND_RAM)) {
            void *host = (void *)(uintptr_t)(e->host + (va & 0xfff));

            watch(c, va, size, ACCESS_WRITE);
            if (mode != c->mmu_mode || !tlb_install(c, e, va, ACCESS_WRITE))
                announce(c, e->ram_page, va & 0xfff, size);
            store_host(host, size, v);
            return;
        }
    }
    unsigned n = pieces_of(c, va, size, ACCESS_WRITE, mode, p), at = 0;

    for (unsigned i = 0; i < n; at += p[i++].len)
        piece_write(c, &p[i], (uint8_t *)&v + at);
}

void mem_store(Cpu *c, Gva va, unsigned size, uint64_t v, unsigned mmu_mode)
{
    void *p = LIKELY(mmu_mode == c->mmu_mode) ? tlb_fast(c->tlb->wr, va, size) : NULL;

    if (LIKELY(p != NULL))
        store_host(p, size, v);
    else
        store_slow(c, va, size, v, mmu_mode);
}

void mem_read(Cpu *c, Gva va, void *buf, size_t n, unsigned mmu_mode)
{
    uint8_t *to = buf;

    while (n) {
        unsigned len = (unsigned)MIN(n, 4096 - (va & 0xfff));
        Piece p[2];

        pieces_of(c, va, len, ACCESS_READ, mmu_mode, p);
        piece_read(c, p, to);
        to += len;
        va += len;
        n -= len;
    }
}

void mem_write(Cpu *c, Gva va, const void *buf, size_t n, unsigned mmu_mode)
{
    const uint8_t *from = buf;
    Piece p[2];

    if (n <= 4096) {
        if (!n)
            return;
        unsigned pieces = pieces_of(c, va, (unsigned)n, ACCESS_WRITE, mmu_mode, p);

        for (unsigned i = 0; i < pieces; from += p[i++].len)
            piece_write(c, &p[i], from);
        return;
    }
    mem_probe(c, va, n, ACCESS_WRITE, mmu_mode);
    for (size_t at = 0; at < n; at += p[0].len) {
        unsigned len = (unsigned)MIN(n - at, 4096 - ((va + at) & 0xfff));

        pieces_of(c, va + at, len, ACCESS_WRITE, mmu_mode, p);
        piece_write(c, p, from + at);
    }
}

void mem_probe(Cpu *c, Gva va, size_t n, Access access, unsigned mmu_mode)
{
    for (size_t at = 0; at < n; at += 4096 - ((va + at) & 0xfff))
        tlb_resolve(c, va + at, access, mmu_mode);
}

uint8_t *mem_host(Cpu *c, Gva va, Access access, unsigned mmu_mode, unsigned *left)
{
    bool current = mmu_mode == c->mmu_mode;
    uint8_t *p = NULL;

    *left = 4096 - (unsigned)(va & 0xfff);
    if (current && access != ACCESS_EXEC)
        p = tlb_fast(access == ACCESS_READ ? c->tlb->rd : c->tlb->wr, va, 1);
    if (LIKELY(p != NULL))
        return p;
    const L2Entry *e = tlb_resolve(c, va, access, mmu_mode);

    if (e->kind == KIND_IO || (e->kind == KIND_ROM && access == ACCESS_WRITE))
        return NULL;
    if (UNLIKELY(c->debug != NULL) && debug_watches_page(c->debug, va))
        return NULL;
    if (access == ACCESS_WRITE &&
        (current ? !tlb_install(c, e, va, access) : tlb_page_watched(tlb_of(c), e->ram_page)))
        return NULL;
    if (access == ACCESS_READ && current)
        tlb_install(c, e, va, access);
    return (uint8_t *)(uintptr_t)(e->host + (va & 0xfff));
}

/* --- slow path of translated code --- */

static void *slow_bounce(Cpu *c, Gva va, unsigned size, unsigned access)
{
    Tlb *t = tlb_of(c);
    Piece p[2];

    if (access == MEM_LOCKED && c->host && c->host->alone)
        c->host->alone(c);

    unsigned n = pieces_of(c, va, size, access == ACCESS_READ ? ACCESS_READ : ACCESS_WRITE,
                           c->mmu_mode, p),
             at = 0;

    for (unsigned i = 0; i < n; at += p[i++].len) {
        if (p[i].host || access != ACCESS_WRITE)
            piece_read(c, &p[i], c->bounce + at);
        t->pending[i] = p[i];
    }
    t->n_pending = access == ACCESS_READ ? 0 : n;
    return c->bounce;
}

void *mem_slow(Cpu *c, Gva va, unsigned size, unsigned access)
{
    Tlb *t = tlb_of(c);
    Access rights = access == ACCESS_READ ? ACCESS_READ : ACCESS_WRITE;

    t->stats.slow++;
    t->n_pending = 0;
    if (UNLIKELY((va & 0xfff) + size > 4096))
        return slow_bounce(c, va, size, access);
    const L2Entry *e = tlb_resolve(c, va, rights, c->mmu_mode);
    void *host = (void *)(uintptr_t)(e->host + (va & 0xfff));

    if (UNLIKELY(e->kind != KIND_RAM) && (e->kind == KIND_IO || rights == ACCESS_WRITE))
        return slow_bounce(c, va, size, access);
    watch(c, va, size, rights);
    if (access != rights) /* reads too */
        watch(c, va, size, ACCESS_READ);
    if (!tlb_install(c, e, va, rights))
        announce(c, e->ram_page, va & 0xfff, size);
    return host;
}

void mem_commit(Cpu *c)
{
    Tlb *t = tlb_of(c);
    unsigned n = t->n_pending, at = 0;

    t->n_pending = 0;
    for (unsigned i = 0; i < n; at += t->pending[i++].len)
        piece_write(c, &t->pending[i], c->bounce + at);
}

/* --- physical --- */

/* Host address of [pa, pa+size) in RAM (ROM too if not @write), or NULL. */
static uint8_t *phys_host(Cpu *c, Gpa pa, unsigned size, bool write)
{
    const PhysSection *p = tlb_phys(c, pa);

    if (UNLIKELY(!p || p->end - pa < size || (write && p->rom)))
        return NULL;
    if (write)
        announce(c, p->ram_page + (uint32_t)((pa - p->at) >> TLB_PAGE_BITS), pa & 0xfff, size);
    return p->host + (pa - p->at);
}

uint64_t mem_phys_load(Cpu *c, Gpa pa, unsigned size)
{
    const uint8_t *p = phys_host(c, pa, size, false);

    return LIKELY(p != NULL) ? load_host(p, size) : ~0ull >> (64 - size * 8);
}

void mem_phys_store(Cpu *c, Gpa pa, unsigned size, uint64_t v)
{
    uint8_t *p = phys_host(c, pa, size, true);

    if (p)
        store_host(p, size, v);
}

bool mem_phys_cas64(Cpu *c, Gpa pa, uint64_t old, uint64_t new_v)
{
    uint64_t *p = (uint64_t *)(void *)phys_host(c, pa, 8, true);

    return p &&
           __atomic_compare_exchange_n(p, &old, new_v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool mem_phys_cas32(Cpu *c, Gpa pa, uint32_t old, uint32_t new_v)
{
    uint32_t *p = (uint32_t *)(void *)phys_host(c, pa, 4, true);

    return p &&
           __atomic_compare_exchange_n(p, &old, new_v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
