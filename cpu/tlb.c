/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tlb - translations of the software MMU: contexts, second level, flushes, watched pages
 *
 * Invariants:
 *  1. cpu->tlb always points to a live context of (space, cpu->mmu_mode); flushes keep that
 *     pointer.
 *  2. A second-level entry is valid iff its sid is that of its space or of the global pages; giving
 *     new numbers flushes in O(1).
 *  3. A write entry exists only for RAM whose page is not watched.  Filler: note the slot in the
 *     page's word, store the entry, full barrier, look at the watch bit again.  Watcher: set the
 *     bit (full barrier), then invalidate the entries in the noted slots.  One of the two sees the
 *     other.
 *  4. Other threads only ever store the invalid tag.
 */
#include "cpu/tlb_priv.h"

#include <sys/mman.h>

#include "base/alloc.h"
#include "core/debug.h"

/* Word of a RAM page: watch bit, number of slots noted (3: many), two slots. */
enum {
    PAGE_WATCHED = 1,
    PAGE_COUNT_SHIFT = 1,
    PAGE_COUNT = 3 << PAGE_COUNT_SHIFT,
    PAGE_MANY = PAGE_COUNT,
    PAGE_SLOT_SHIFT = 4
};

struct TlbPages {
    unsigned users;
    uint32_t n;
    size_t bytes;
    _Atomic uint32_t word[];
};

static inline Tlb *tlb_of(const Cpu *c)
{
    return c->mmu;
}

static inline unsigned slot_of(Gva va)
{
    return va >> TLB_PAGE_BITS & (TLB_SIZE - 1);
}

static inline bool bit_test(const uint64_t *map, unsigned i)
{
    return map[i / 64] >> (i % 64) & 1;
}

static inline void bit_put(uint64_t *map, unsigned i, bool on)
{
    map[i / 64] = (map[i / 64] & ~BIT(i % 64)) | (uint64_t)on << (i % 64);
}

/* No address that indexes the slot matches it. */
static inline uint64_t invalid_tag(unsigned slot)
{
    return slot == TLB_SIZE - 1 ? 0 : ~0ull;
}

static inline void entry_clear(TlbEntry *table, unsigned slot)
{
    __atomic_store_n(&table[slot].tag, invalid_tag(slot), __ATOMIC_RELAXED);
}

/* --- first level --- */

static inline void map_put(TlbMap *m, unsigned slot, bool global)
{
    m->used[slot / 64] |= BIT(slot % 64);
    bit_put(m->global, slot, global);
}

/* Clear the used slots of @table or @code; global ones are kept if @keep_global. */
static void map_clear(TlbMap *m, TlbEntry *table, uint32_t *code, bool keep_global)
{
    for (unsigned w = 0; w < COUNT_OF(m->used); w++) {
        uint64_t keep = keep_global ? m->global[w] : 0;

        for (uint64_t go = m->used[w] & ~keep; go; go &= go - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(go);

            if (table)
                entry_clear(table, slot);
            else
                code[slot] = 0;
        }
        m->used[w] &= keep;
    }
}

static void context_clear_some(TlbContext *x, bool keep_global)
{
    map_clear(&x->rd_map, x->rd, NULL, keep_global);
    map_clear(&x->wr_map, x->wr, NULL, keep_global);
    map_clear(&x->code_map, NULL, x->code_id, keep_global);
    x->nonglobal = false;
    x->used &= keep_global;
}

static void context_clear(TlbContext *x)
{
    context_clear_some(x, false);
}

static void context_clear_nonglobal(TlbContext *x)
{
    if (x->nonglobal)
        context_clear_some(x, true);
}

static void branches_clear(TlbContext *x)
{
    for (unsigned i = 0; i < COUNT_OF(x->branch); i++) {
        x->branch[i].mode = ~0ull; /* no block has it */
        x->branch[i].host = NULL;
    }
}

void tlb_clear_branches(Cpu *c)
{
    Tlb *t = tlb_of(c);

    for (unsigned i = 0; i < t->n_contexts; i++)
        branches_clear(&t->contexts[i]);
}

/* A context to take over for @mode: one with only global entries of that mode, an unused one, or
 * the least recently entered. */
static TlbContext *context_victim(Tlb *t, unsigned mode)
{
    TlbContext *best = NULL;

    for (unsigned i = 0; i < t->n_contexts; i++) {
        TlbContext *x = &t->contexts[i];

        if (x->mode == mode && x->used && !x->nonglobal && (!best || x->stamp > best->stamp))
            best = x;
    }
    if (best)
        return best;
    if (t->n_contexts < TLB_CONTEXTS) {
        TlbContext *x = &t->contexts[t->n_contexts++];

        for (unsigned i = 0; i < TLB_SIZE; i++) {
            entry_clear(x->rd, i);
            entry_clear(x->wr, i);
        }
        branches_clear(x);
        return x;
    }
    for (unsigned i = 0; i < t->n_contexts; i++) {
        TlbContext *x = &t->contexts[i];

        if (!best || x->live < best->live || (x->live == best->live && x->stamp < best->stamp))
            best = x;
    }
    t->stats.evictions += best->live;
    return best;
}

static TlbContext *context_find(Tlb *t, uint64_t space, unsigned mode)
{
    for (unsigned i = 0; i < t->n_contexts; i++) {
        TlbContext *x = &t->contexts[i];

        if (x->space == space && x->mode == mode && x->live)
            return x;
    }
    TlbContext *x = context_victim(t, mode);

    for (unsigned m = 0; m < TLB_MODES; m++) {
        if (t->by_mode[m] == x)
            t->by_mode[m] = NULL;
    }
    if (x->mode == mode)
        context_clear_nonglobal(x);
    else if (x->used)
        context_clear(x);
    x->space = space;
    x->mode = (uint8_t)mode;
    x->live = true;
    return x;
}

void tlb_set_mode(Cpu *c, unsigned mmu_mode)
{
    Tlb *t = tlb_of(c);

    c->mmu_mode = (uint8_t)mmu_mode;
    if (UNLIKELY(!t))
        return;
    if (UNLIKELY(!t->by_mode[mmu_mode])) {
        t->by_mode[mmu_mode] = context_find(t, t->space, mmu_mode);
        t->by_mode[mmu_mode]->stamp = ++t->stamp;
    }
    c->tlb = t->by_mode[mmu_mode];
}

/* --- address spaces --- */

static void l2_clear(Tlb *t)
{
    for (unsigned i = 0; i < L2_SETS; i++) {
        for (unsigned j = 0; j < L2_WAYS; j++)
            t->l2[i][j].key = 0;
    }
}

static uint32_t sid_new(Tlb *t)
{
    if (UNLIKELY(t->last_sid == UINT32_MAX)) { /* numbers start anew: none may be left anywhere */
        l2_clear(t);
        t->space_epoch++;
        t->last_sid = 0;
        t->global_sid = ++t->last_sid;
        t->sid = ++t->last_sid;
    }
    return ++t->last_sid;
}

static SpaceSlot *space_slot(Tlb *t, uint64_t space)
{
    return &t->spaces[((space ^ space >> 12) * 0x9e3779b97f4a7c15ull) >> 56];
}

static uint32_t space_sid(Tlb *t, uint64_t space)
{
    SpaceSlot *s = space_slot(t, space);

    if (s->space != space || s->epoch != t->space_epoch)
        *s = (SpaceSlot){space, sid_new(t), t->space_epoch};
    return s->sid;
}

void tlb_enter(Cpu *c, uint64_t space)
{
    Tlb *t = tlb_of(c);

    if (UNLIKELY(!t))
        return;
    t->stats.switches++;
    if (space != t->space) {
        t->space = space;
        for (unsigned m = 0; m < TLB_MODES; m++)
            t->by_mode[m] = NULL;
    }
    t->sid = space_sid(t, space);
    tlb_set_mode(c, c->mmu_mode);
}

/* --- flushes --- */

static void large_clear(Tlb *t)
{
    if (!t->large_shifts)
        return;
    t->large_shifts = 0;
    for (unsigned i = 0; i < COUNT_OF(t->large); i++)
        t->large[i] = 0;
}

static unsigned large_index(Gva va, unsigned shift)
{
    return (unsigned)(((va >> shift) * 64 + shift) * 0x9e3779b97f4a7c15ull >> 49);
}
static_assert(LARGE_BITS == 1 << (64 - 49), "large_index");

static void new_numbers(Tlb *t)
{
    t->space_epoch++;
    t->sid = space_sid(t, t->space);
}

void tlb_flush_all(Cpu *c)
{
    Tlb *t = tlb_of(c);

    if (UNLIKELY(!t))
        return;
    t->stats.flushes++;
    t->global_sid = sid_new(t);
    new_numbers(t);
    large_clear(t);
    for (unsigned i = 0; i < SECTION_SLOTS; i++)
        t->sections[i].end = t->sections[i].at = 0;
    for (unsigned i = 0; i < t->n_contexts; i++) {
        if (t->contexts[i].used)
            context_clear(&t->contexts[i]);
    }
}

void tlb_flush_nonglobal(Cpu *c)
{
    Tlb *t = tlb_of(c);

    if (UNLIKELY(!t))
        return;
    t->stats.flushes++;
    new_numbers(t);
    for (unsigned m = 0; m < TLB_MODES; m++) {
        if (t->by_mode[m])
            context_clear_nonglobal(t->by_mode[m]);
    }
    for (unsigned i = 0; i < t->n_contexts;
         i++) { /* the others are cleared when they are taken over */
        if (t->contexts[i].nonglobal)
            t->contexts[i].live = false;
    }
}

void tlb_flush_space(Cpu *c, uint64_t space)
{
    Tlb *t = tlb_of(c);

    if (UNLIKELY(!t))
        return;
    SpaceSlot *s = space_slot(t, space);

    t->stats.flushes++;
    if (s->space == space && s->epoch == t->space_epoch)
        s->sid = sid_new(t);
    if (space == t->space)
        t->sid = space_sid(t, space);
    for (unsigned i = 0; i < t->n_contexts; i++) {
        if (t->contexts[i].live && t->contexts[i].space == space)
            context_clear_nonglobal(&t->contexts[i]);
    }
}

static bool in_range(uint64_t page, Gva base, uint64_t size)
{
    return page - base < size;
}

static bool l2_is_of(const Tlb *t, const L2Entry *e, uint32_t sid)
{
    return e->key && (e->sid == sid || e->sid == t->global_sid);
}

static void slot_flush(TlbContext *x, unsigned slot, bool nonglobal, Gva base, uint64_t size)
{
    if ((nonglobal || bit_test(x->rd_map.global, slot)) && in_range(x->rd[slot].tag, base, size))
        entry_clear(x->rd, slot);
    if ((nonglobal || bit_test(x->wr_map.global, slot)) && in_range(x->wr[slot].tag, base, size))
        entry_clear(x->wr, slot);
    if (nonglobal || bit_test(x->code_map.global, slot))
        x->code_id[slot] = 0;
}
static_assert(TLB_CODE_BITS == TLB_BITS, "slot_flush");

/* All parts of a large page. */
static void flush_large(Tlb *t, uint64_t space, uint32_t sid, Gva base, uint64_t size)
{
    for (unsigned i = 0; i < L2_SETS; i++) {
        for (unsigned j = 0; j < L2_WAYS; j++) {
            L2Entry *e = &t->l2[i][j];

            if (in_range(e->key & ~0xfffull, base, size) && l2_is_of(t, e, sid))
                e->key = 0;
        }
    }
    unsigned n = size >> TLB_PAGE_BITS < TLB_SIZE ? (unsigned)(size >> TLB_PAGE_BITS) : TLB_SIZE;

    for (unsigned i = 0; i < t->n_contexts; i++) {
        TlbContext *x = &t->contexts[i];

        for (unsigned k = 0; x->used && k < n; k++)
            slot_flush(x, (slot_of(base) + k) & (TLB_SIZE - 1), x->space == space, base, size);
    }
}

void tlb_flush_page(Cpu *c, uint64_t space, Gva va)
{
    Tlb *t = tlb_of(c);

    if (UNLIKELY(!t))
        return;
    SpaceSlot *s = space_slot(t, space);
    uint32_t sid = s->space == space && s->epoch == t->space_epoch ? s->sid : t->global_sid;
    Gva page = va & ~0xfffull;

    t->stats.flush_pages++;
    for (unsigned j = 0; j < L2_WAYS; j++) {
        L2Entry *e = &t->l2[slot_of(va)][j];

        if ((e->key & ~0xfffull) == page && l2_is_of(t, e, sid))
            e->key = 0;
    }
    for (unsigned i = 0; i < t->n_contexts; i++)
        slot_flush(&t->contexts[i], slot_of(va), t->contexts[i].space == space, page, 4096);
    for (uint64_t shifts = t->large_shifts; UNLIKELY(shifts); shifts &= shifts - 1) {
        unsigned shift = (unsigned)__builtin_ctzll(shifts);

        if (bit_test(t->large, large_index(va, shift)))
            flush_large(t, space, sid, va >> shift << shift, BIT(shift));
    }
}
static_assert(L2_SETS == TLB_SIZE, "slot_of() indexes both levels");

/* --- watched pages --- */

/* NULL: not a RAM page that could be watched, or the vCPUs are gone. */
static inline _Atomic uint32_t *page_word(const TlbPages *p, uint32_t ram_page)
{
    return p && ram_page < p->n ? (_Atomic uint32_t *)&p->word[ram_page] : NULL;
}

bool tlb_page_watched(const Tlb *t, uint32_t ram_page)
{
    _Atomic uint32_t *w = page_word(t->pages, ram_page);

    return w && atomic_load_explicit(w, memory_order_relaxed) & PAGE_WATCHED;
}

bool tlb_page_is_protected(Machine *m, uint32_t ram_page)
{
    const TlbPages *p = m->mmu;
    _Atomic uint32_t *w = page_word(p, ram_page);

    return w && atomic_load(w) & PAGE_WATCHED;
}

/* The word with @slot noted. */
static uint32_t word_note(uint32_t w, unsigned slot)
{
    unsigned n = w >> PAGE_COUNT_SHIFT & 3;

    if (n == 3)
        return w;
    for (unsigned i = 0; i < n; i++) {
        if ((w >> (PAGE_SLOT_SHIFT + i * TLB_BITS) & (TLB_SIZE - 1)) == slot)
            return w;
    }
    w += 1 << PAGE_COUNT_SHIFT;
    return n < 2 ? w | slot << (PAGE_SLOT_SHIFT + n * TLB_BITS) : w;
}

static bool install_write(Tlb *t, TlbContext *x, const L2Entry *e, Gva page, unsigned slot)
{
    _Atomic uint32_t *w = page_word(t->pages, e->ram_page);
    uint32_t old = w ? atomic_load_explicit(w, memory_order_relaxed) : 0;

    while (w && !(old & PAGE_WATCHED) && word_note(old, slot) != old) {
        if (atomic_compare_exchange_weak(w, &old, word_note(old, slot)))
            break;
    }
    if (old & PAGE_WATCHED)
        return false;
    map_put(&x->wr_map, slot, e->global);
    __atomic_store_n(&x->wr_page[slot], e->ram_page, __ATOMIC_RELAXED);
    x->wr[slot].host = e->host;
    __atomic_store_n(&x->wr[slot].tag, page, __ATOMIC_RELAXED);
    if (w && t->smp &&
        atomic_fetch_add(w, 0) &
            PAGE_WATCHED) { /* a read-modify-write: the barrier of invariant 3 */
        entry_clear(x->wr, slot);
        return false;
    }
    return true;
}

bool tlb_install(Cpu *c, const L2Entry *e, Gva va, Access access)
{
    Tlb *t = tlb_of(c);
    TlbContext *x = c->tlb;
    unsigned slot = slot_of(va);
    Gva page = va & ~0xfffull;

    if (UNLIKELY(c->debug != NULL) && debug_watches_page(c->debug, va))
        return access != ACCESS_WRITE;
    t->stats.fills++;
    x->used = true;
    x->nonglobal |= !e->global;
    if (e->rights & RIGHT(ACCESS_READ)) {
        map_put(&x->rd_map, slot, e->global);
        x->rd[slot].host = e->host;
        x->rd[slot].tag = page;
    }
    return access != ACCESS_WRITE || install_write(t, x, e, page, slot);
}

static bool unwrite_slot(Machine *m, uint32_t ram_page, unsigned slot)
{
    bool found = false;

    for (unsigned i = 0; i < m->n_cpus; i++) {
        Tlb *t = m->cpus[i] ? tlb_of(m->cpus[i]) : NULL;

        for (unsigned j = 0; t && j < TLB_CONTEXTS; j++) {
            TlbContext *x = &t->contexts[j];

            if (__atomic_load_n(&x->wr_page[slot], __ATOMIC_RELAXED) == ram_page &&
                __atomic_load_n(&x->wr[slot].tag, __ATOMIC_RELAXED) != invalid_tag(slot)) {
                entry_clear(x->wr, slot);
                found = true;
            }
        }
    }
    return found;
}

bool tlb_protect_page(Machine *m, uint32_t ram_page)
{
    TlbPages *p = m->mmu;
    _Atomic uint32_t *w = page_word(p, ram_page);
    bool found = false;

    if (!w)
        return false;
    uint32_t old = atomic_fetch_or(w, PAGE_WATCHED);
    unsigned n = old >> PAGE_COUNT_SHIFT & 3;

    if (old & PAGE_WATCHED)
        return false;
    if (n == 3) {
        for (unsigned slot = 0; slot < TLB_SIZE; slot++)
            found |= unwrite_slot(m, ram_page, slot);
    } else {
        for (unsigned i = 0; i < n; i++)
            found |=
                unwrite_slot(m, ram_page, old >> (PAGE_SLOT_SHIFT + i * TLB_BITS) & (TLB_SIZE - 1));
    }
    atomic_fetch_and(w, PAGE_WATCHED);
    return found;
}

void tlb_unprotect_page(Machine *m, uint32_t ram_page)
{
    TlbPages *p = m->mmu;
    _Atomic uint32_t *w = page_word(p, ram_page);

    if (w)
        atomic_fetch_and(w, ~(uint32_t)PAGE_WATCHED);
}

/* --- second level and walks --- */

static PhysSection *section_add(Cpu *c, const MemSection *s)
{
    Tlb *t = tlb_of(c);
    PhysSection *p = &t->sections[t->next_section++ % SECTION_SLOTS];

    *p = (PhysSection){.at = s->at,
                       .end = s->at + s->size,
                       .host = s->region->hva + s->region_at,
                       .rom = s->region->kind == REGION_ROM,
                       .ram_page = s->region->ram_at + (uint32_t)(s->region_at >> TLB_PAGE_BITS)};
    return p;
}

const PhysSection *tlb_phys(Cpu *c, Gpa pa)
{
    Tlb *t = tlb_of(c);

    for (unsigned i = 0; i < SECTION_SLOTS; i++) {
        PhysSection *p = &t->sections[i];

        if (pa - p->at < p->end - p->at)
            return p;
    }
    PhysSection *p = NULL;

    epoch_enter();
    const MemSection *s = as_find(c->as, pa);
    if (s && (s->region->kind == REGION_RAM || s->region->kind == REGION_ROM) && s->size < BIT(63))
        p = section_add(c, s);
    epoch_exit();
    return p;
}

/* RAM and ROM only if the whole page is, and is aligned in its region. */
static void l2_target(Cpu *c, L2Entry *e, Gpa page)
{
    const PhysSection *p = tlb_phys(c, page);

    if (p && p->end - page >= 4096 && !((page - p->at + (uintptr_t)p->host) & 0xfff)) {
        e->kind = p->rom ? KIND_ROM : KIND_RAM;
        e->host = (uintptr_t)p->host + (page - p->at);
        e->ram_page = p->ram_page + (uint32_t)((page - p->at) >> TLB_PAGE_BITS);
    } else {
        e->kind = KIND_IO;
        e->host = page;
        e->ram_page = ~0u;
    }
}

static L2Entry *l2_victim(Tlb *t, uint64_t key)
{
    L2Entry *set = t->l2[slot_of(key)];
    L2Entry *free = NULL;

    for (unsigned j = 0; j < L2_WAYS; j++) {
        if (set[j].key == key && (set[j].sid == t->sid || set[j].sid == t->global_sid))
            return &set[j];
        if (!set[j].key)
            free = &set[j];
    }
    return free ? free : &set[t->victim++ % L2_WAYS];
}

static L2Entry *l2_walk(Cpu *c, Gva va, Access access, unsigned mode, Walk *w)
{
    Tlb *t = tlb_of(c);
    uint64_t key = (va & ~0xfffull) | KEY_VALID | mode;

    t->stats.walks++;
    *w = (Walk){0};
    if (!c->arch->walk(c, va, access, mode, w))
        return NULL;
    L2Entry *e = l2_victim(t, key);

    e->key = key;
    e->sid = w->global ? t->global_sid : t->sid;
    e->global = w->global;
    e->rights = (uint8_t)(w->read * RIGHT(ACCESS_READ) | w->write * RIGHT(ACCESS_WRITE) |
                          w->exec * RIGHT(ACCESS_EXEC) | RIGHT(access));
    e->shift = (uint8_t)(63 - __builtin_clzll(w->size | 4096));
    if (e->shift > TLB_PAGE_BITS) {
        unsigned i = large_index(va, e->shift);

        t->large_shifts |= BIT(e->shift);
        t->large[i / 64] |= BIT(i % 64);
    }
    l2_target(c, e, w->pa & ~0xfffull);
    return e;
}

static inline L2Entry *l2_find(Tlb *t, Gva va, Access access, unsigned mode)
{
    L2Entry *set = t->l2[slot_of(va)];
    uint64_t key = (va & ~0xfffull) | KEY_VALID | mode;

    for (unsigned j = 0; j < L2_WAYS; j++) {
        if (set[j].key == key && (set[j].sid == t->sid || set[j].sid == t->global_sid) &&
            set[j].rights & RIGHT(access)) {
            t->stats.l2_hits++;
            return &set[j];
        }
    }
    return NULL;
}

static noreturn void raise_at(Cpu *c, const Exception *e)
{
    if (c->host && c->host->sync_pc)
        c->host->sync_pc(c);
    cpu_raise(c, e);
}

const L2Entry *tlb_resolve(Cpu *c, Gva va, Access access, unsigned mode)
{
    const L2Entry *e = l2_find(tlb_of(c), va, access, mode);
    Exception x = {0};
    Walk w;

    if (LIKELY(e != NULL))
        return e;
    e = l2_walk(c, va, access, mode, &w);
    if (LIKELY(e != NULL))
        return e;
    c->arch->page_fault(c, va, access, mode, w.error, &x);
    raise_at(c, &x);
}

noreturn void mem_align_fault(Cpu *c, Gva va)
{
    Exception x = {0};

    c->arch->align_fault(c, va, &x);
    raise_at(c, &x);
}

/* --- code --- */

/* Instruction bytes of a device or of nothing: no more than the longest instruction needs. */
static const uint8_t *code_from_device(Cpu *c, const L2Entry *e, unsigned off)
{
    Tlb *t = tlb_of(c);
    uint8_t *page = t->code[t->next_code++ % COUNT_OF(t->code)];

    if (c->vec_live)
        c->host->vec_save(c);
    as_read(c->as, e->host + off, page + off, MIN(16u, 4096 - off));
    return page;
}

const uint8_t *tlb_code_page(Cpu *c, Gva linear, uint32_t *ram_page, bool quiet)
{
    Tlb *t = tlb_of(c);
    unsigned slot = slot_of(linear);
    const L2Entry *e = l2_find(t, linear, ACCESS_EXEC, c->mmu_mode);
    Walk w;

    if (!e && quiet)
        e = l2_walk(c, linear, ACCESS_EXEC, c->mmu_mode, &w);
    else if (!e)
        e = tlb_resolve(c, linear, ACCESS_EXEC, c->mmu_mode);
    if (!e)
        return NULL;
    c->tlb->used = true;
    c->tlb->nonglobal |= !e->global;
    c->tlb->code_id[slot] = 0; /* the caller sets it; the bits below are about that */
    map_put(&c->tlb->code_map, slot, e->global);
    *ram_page = page_word(t->pages, e->ram_page) ? e->ram_page : ~0u;
    if (e->kind == KIND_IO)
        return code_from_device(c, e, linear & 0xfff);
    return (const uint8_t *)(uintptr_t)e->host;
}

/* --- life --- */

/* Room for the machine's RAM and as much again for ROMs, video memory and the like. */
static TlbPages *pages_new(const Machine *m, Error *err)
{
    uint64_t n = (m->cfg.ram_size >> TLB_PAGE_BITS) + (GIB >> TLB_PAGE_BITS);

    if (n > UINT32_MAX / 2) {
        error_set(err, "too much memory for the soft MMU");
        return NULL;
    }
    size_t bytes = sizeof(TlbPages) + n * sizeof(_Atomic uint32_t);
    TlbPages *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        error_set(err, "cannot allocate page tables of the soft MMU");
        return NULL;
    }
    p->n = (uint32_t)n;
    p->bytes = bytes;
    return p;
}

bool tlb_init(Cpu *c, Error *err)
{
    Machine *m = c->machine;
    size_t bytes = TLB_CONTEXTS * sizeof(TlbContext);
    TlbContext *contexts =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (contexts == MAP_FAILED)
        return error_set(err, "cannot allocate the soft MMU");
    if (!m->mmu && !(m->mmu = pages_new(m, err))) {
        munmap(contexts, bytes);
        return false;
    }
    Tlb *t = xalloc_aligned(64, sizeof *t);

    t->contexts = contexts;
    t->pages = m->mmu;
    t->pages->users++;
    t->smp = m->n_cpus > 1;
    t->space_epoch = 1;
    t->global_sid = sid_new(t);
    t->sid = space_sid(t, 0);
    c->mmu = t;
    tlb_set_mode(c, c->mmu_mode);
    return true;
}

void tlb_fini(Cpu *c)
{
    Tlb *t = tlb_of(c);

    if (!t)
        return;
    if (--t->pages->users == 0) {
        munmap(t->pages, t->pages->bytes);
        c->machine->mmu = NULL;
    }
    munmap(t->contexts, TLB_CONTEXTS * sizeof(TlbContext));
    xfree(t);
    c->mmu = NULL;
    c->tlb = NULL;
}

const TlbStats *tlb_stats(const Cpu *c)
{
    return &tlb_of(c)->stats;
}
