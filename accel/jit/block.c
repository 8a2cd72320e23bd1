/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block - the table of translated blocks: finding, linking, dropping
 *
 * The code that runs finds blocks without a lock: recent[] of its vCPU, then the hash chains, whose
 * members stay readable until the next flush.  All changes are made under jit->lock (jit.h,
 * invariant 4).
 */
#include "accel/jit/jit_priv.h"

#include <sys/mman.h>

#include "base/alloc.h"

typedef struct CodeId {
    Gva page;
    uint64_t cs_base;
    uint32_t ram_page, mode, id; /* id 0: free */
} CodeId;

enum {
    IDS_MIN = 1024,
    IDS_MAX = 1 << 20,
    HASH_BITS = 18,
    CODE_PER_BLOCK = 64 /* host bytes, at least */
};

static inline uint32_t mix(uint64_t v, unsigned bits)
{
    return (uint32_t)(v * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

/* Blocks of a page are near each other: what is translated one after the other shares cache
 * lines. */
static inline unsigned hash_of(const Jit *j, Gva pc, Gva linear, uint32_t mode, uint32_t ram_page)
{
    uint64_t page = (pc - linear) ^ linear >> TLB_PAGE_BITS << 20 ^ (uint64_t)mode << 40 ^ ram_page;

    return (mix(page, j->hash_bits) + (unsigned)(linear & 0xfff) / 4) & ((1u << j->hash_bits) - 1);
}

static inline unsigned recent_of(Gva pc)
{
    return (unsigned)(pc ^ pc >> 12) & (JIT_RECENT - 1);
}

/* --- page ids --- */

static CodeId *id_slot(CodeId *ids, uint32_t cap, Gva page, uint32_t ram_page, uint32_t mode,
                       uint64_t cs_base)
{
    uint32_t i =
        mix(page ^ (uint64_t)ram_page << 20 ^ (uint64_t)mode << 32 ^ cs_base << 7, 32) & (cap - 1);

    while (ids[i].id && !(ids[i].page == page && ids[i].ram_page == ram_page &&
                          ids[i].mode == mode && ids[i].cs_base == cs_base))
        i = (i + 1) & (cap - 1);
    return &ids[i];
}

static void ids_grow(Jit *j)
{
    uint32_t cap = j->ids_cap ? j->ids_cap * 2 : IDS_MIN;
    CodeId *to = xnew_n(CodeId, cap);

    for (uint32_t i = 0; i < j->ids_cap; i++) {
        const CodeId *e = &j->ids[i];

        if (e->id)
            *id_slot(to, cap, e->page, e->ram_page, e->mode, e->cs_base) = *e;
    }
    xfree(j->ids);
    j->ids = to;
    j->ids_cap = cap;
}

uint32_t jit_code_id(Jit *j, Gva linear_page, uint32_t ram_page, uint32_t mode, uint64_t cs_base)
{
    if ((j->n_ids + 1) * 2 > j->ids_cap)
        ids_grow(j);
    CodeId *e = id_slot(j->ids, j->ids_cap, linear_page, ram_page, mode, cs_base);

    if (!e->id) {
        *e = (CodeId){linear_page, cs_base, ram_page, mode, ++j->next_id};
        j->n_ids++;
    }
    return e->id;
}

/* --- where a block's bytes are --- */

typedef struct Span {
    unsigned at, size;
} Span; /* in a page */

static Span block_span(const Block *b, unsigned page)
{
    unsigned at = b->linear & 0xfff, first = MIN((unsigned)b->size, 4096 - at);

    return page == 0 ? (Span){at, first} : (Span){0, b->size - first};
}

static Span peek_span(const Block *b, unsigned i)
{
    if (b->peek[i] == 0xffff)
        return (Span){0, 0};
    return (Span){b->peek[i], MIN((unsigned)JIT_PEEK, 4096u - b->peek[i])};
}

uint64_t block_lines(const Block *b, unsigned page)
{
    Span s = block_span(b, page);
    uint64_t lines = s.size ? lines_of(s.at, s.size) : 0;

    for (unsigned i = 0; page == 0 && i < 2; i++) {
        s = peek_span(b, i);
        if (s.size)
            lines |= lines_of(s.at, s.size);
    }
    return lines;
}

static bool span_hit(Span s, unsigned at, unsigned size)
{
    return s.size && at < s.at + s.size && s.at < at + size;
}

static bool block_is_hit(const Block *b, uint32_t ram_page, unsigned at, unsigned size)
{
    if (b->ram_page[0] == ram_page &&
        (span_hit(block_span(b, 0), at, size) || span_hit(peek_span(b, 0), at, size) ||
         span_hit(peek_span(b, 1), at, size)))
        return true;
    return block_has_two_pages(b) && b->ram_page[1] == ram_page &&
           span_hit(block_span(b, 1), at, size);
}

/* --- page lists --- */

/* The link of @b in the list of @ram_page. */
static Block **page_link(Block *b, uint32_t ram_page)
{
    return &b->page_next[b->ram_page[0] != ram_page];
}

static void page_add(Jit *j, Block *b, uint32_t ram_page)
{
    *page_link(b, ram_page) = j->page_blocks[ram_page];
    j->page_blocks[ram_page] = b;
}

static void page_remove(Jit *j, Block *b, uint32_t ram_page)
{
    Block **p = &j->page_blocks[ram_page];

    while (*p != b)
        p = page_link(*p, ram_page);
    *p = *page_link(b, ram_page);
}

/* Lines of @ram_page that @b holds. */
static uint64_t lines_on(const Block *b, uint32_t ram_page)
{
    uint64_t lines = b->ram_page[0] == ram_page ? block_lines(b, 0) : 0;

    return block_has_two_pages(b) && b->ram_page[1] == ram_page ? lines | block_lines(b, 1) : lines;
}

/* After blocks were dropped: which lines hold code still.  No blocks: writes need not be watched
 * any more. */
static void page_update(Jit *j, uint32_t ram_page)
{
    uint64_t lines = 0;

    for (Block *b = j->page_blocks[ram_page]; b; b = *page_link(b, ram_page))
        lines |= lines_on(b, ram_page);
    atomic_store_explicit(&j->page_lines[ram_page], lines, memory_order_release);
    if (!j->page_blocks[ram_page])
        tlb_unprotect_page(j->m, ram_page);
}

/* --- insertion and look-up --- */

void block_insert(Jit *j, Block *b)
{
    Block *_Atomic *h = &j->hash[hash_of(j, b->pc, b->linear, b->mode, b->ram_page[0])];

    b->hash_next = atomic_load_explicit(h, memory_order_relaxed);
    page_add(j, b, b->ram_page[0]);
    if (b->ram_page[1] != b->ram_page[0])
        page_add(j, b, b->ram_page[1]);
    atomic_store_explicit(h, b, memory_order_release);
}

Block *block_alloc(Jit *j)
{
    if (j->n_blocks == j->max_blocks)
        return NULL;
    for (unsigned i = 0; i < sizeof(Block); i += 64) /* for the next one */
        __builtin_prefetch((const uint8_t *)&j->blocks[j->n_blocks + 1] + i, 1);
    return &j->blocks[j->n_blocks++];
}

void block_take_back(Jit *j, Block *b)
{
    assert(b == &j->blocks[j->n_blocks - 1]);
    j->n_blocks--;
}

Block *block_lookup(Jit *j, const Cpu *c, Gva linear, uint32_t ram_page)
{
    Gva pc = c->r[V_PC];
    uint32_t mode = c->mode, limit = c->code_limit;
    Block *b = atomic_load_explicit(&j->hash[hash_of(j, pc, linear, mode, ram_page)],
                                    memory_order_acquire);

    while (b && !(b->pc == pc && b->linear == linear && b->mode == mode && b->code_limit == limit &&
                  b->ram_page[0] == ram_page && !__atomic_load_n(&b->dead, __ATOMIC_RELAXED)))
        b = __atomic_load_n(&b->hash_next, __ATOMIC_RELAXED);
    return b;
}

/* Is its second page where it was when @b was made? */
static bool second_page_holds(Vcpu *v, const Block *b)
{
    uint32_t ram_page;

    if (!block_has_two_pages(b))
        return true;
    return tlb_code_page(v->cpu, (b->linear & ~0xfffull) + 4096, &ram_page, true) &&
           ram_page == b->ram_page[1];
}

/* Let @b be found quickly under the translations just checked: the place of that. */
static Block *_Atomic *remember(Vcpu *v, const Block *b)
{
    struct TlbContext *x = v->cpu->tlb;

    x->code_id[code_slot(b->linear)] = b->page_id[0];
    if (b->page_id[1])
        x->code_id[code_slot(b->linear + 4096)] = b->page_id[1];
    return &v->recent[recent_of(b->pc)];
}

void block_remember_new(Vcpu *v, Block *b)
{
    atomic_store_explicit(remember(v, b), b, memory_order_release);
}

static void remember_found(Vcpu *v, Block *b)
{
    Block *_Atomic *slot = remember(v, b);

    atomic_store(slot, b);
    if (__atomic_load_n(
            &b->dead,
            __ATOMIC_SEQ_CST)) /* whoever drops it looks at the slot after setting `dead` */
        atomic_store_explicit(slot, NULL, memory_order_relaxed);
}

static Block *find_slow(Vcpu *v, Gva linear)
{
    Cpu *c = v->cpu;
    Jit *j = v->jit;
    bool single = c->one_insn || v->step;
    uint32_t ram_page;
    const uint8_t *code = tlb_code_page(c, linear, &ram_page, false);
    Block *b = ram_page == ~0u || single ? NULL : block_lookup(j, c, linear, ram_page);

    v->stats.lookups++;
    if (b && second_page_holds(v, b)) {
        v->stats.hash_hits++;
        remember_found(v, b);
        return b;
    }
    b = jit_compile(v, linear, code, ram_page);
    if (!b) {
        vcpu_not_alone(v);
        jit_flush_all(j);
        cpu_unwind(
            c, UNWIND_RETRY); /* it waited for others: the machine may have been reset meanwhile */
    }
    return b;
}

Block *jit_find(Vcpu *v)
{
    Cpu *c = v->cpu;
    Gva pc = c->r[V_PC], linear = c->arch->pc_to_linear(c);
    uint32_t mode = c->mode;
    Block *b = atomic_load_explicit(&v->recent[recent_of(pc)], memory_order_acquire);

    if (LIKELY(b && b->pc == pc && b->linear == linear && b->mode == mode &&
               b->code_limit == c->code_limit && block_is_mapped(c->tlb, b)) &&
        !(c->one_insn | v->step))
        return b;
    return find_slow(v, linear);
}

/* --- links --- */

void block_link(Vcpu *v, Link *l, Block *to)
{
    Jit *j = v->jit;
    Block *from = l->from;

    if (from->one_shot || to->one_shot || to->pc != l->pc || to->mode != from->mode ||
        to->cs_base != from->cs_base || to->code_limit != from->code_limit ||
        (l->same_page && to->page_id[0] != from->page_id[0]))
        return;
    WITH_LOCK (&j->lock) {
        if (!l->to && !from->dead && !to->dead) {
            __atomic_store_n(&l->to, to, __ATOMIC_RELAXED);
            l->next_in = to->links_in;
            to->links_in = l;
            j->be->link(l, to);
            v->stats.links++;
        }
    }
}

/* --- dropping --- */

/* It has left the page lists. */
static void block_kill(Jit *j, Block *b)
{
    Block *_Atomic *h = &j->hash[hash_of(j, b->pc, b->linear, b->mode, b->ram_page[0])];
    Block *p = atomic_load_explicit(h, memory_order_relaxed);

    __atomic_store_n(&b->dead, true, __ATOMIC_SEQ_CST);
    if (p == b) {
        atomic_store_explicit(h, b->hash_next, memory_order_release);
    } else {
        while (p->hash_next != b)
            p = p->hash_next;
        __atomic_store_n(&p->hash_next, b->hash_next, __ATOMIC_RELEASE);
    }
    for (Link *l = b->links_in; l; l = l->next_in) {
        j->be->unlink(l);
        __atomic_store_n(&l->to, NULL, __ATOMIC_RELAXED);
    }
    b->links_in = NULL;
    j->be->drop(b);
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        Block *expected = b;

        if (j->vcpus[i])
            atomic_compare_exchange_strong(&j->vcpus[i]->recent[recent_of(b->pc)], &expected, NULL);
    }
    j->total.invalidated++;
}

/* Drop what has code in these bytes.  Returns whether one of them holds the instruction at @pc
 * in @mode. */
static bool drop_hits(Jit *j, uint32_t ram_page, unsigned at, unsigned size, Gva pc, uint32_t mode)
{
    bool pc_is_in = false, any = false;
    Block *b;

    for (Block **p = &j->page_blocks[ram_page]; (b = *p);) {
        if (!block_is_hit(b, ram_page, at, size)) {
            p = page_link(b, ram_page);
            continue;
        }
        uint32_t other = b->ram_page[b->ram_page[0] == ram_page];

        pc_is_in |= b->mode == mode && pc - b->pc < b->size;
        any = true;
        *p = *page_link(b, ram_page);
        if (other != ram_page) {
            page_remove(j, b, other);
            page_update(j, other);
        }
        block_kill(j, b);
    }
    if (any) {
        if (j->page_smc[ram_page] < UINT16_MAX)
            j->page_smc[ram_page]++;
        page_update(j, ram_page);
    }
    return pc_is_in;
}

void jit_invalidate(Jit *j, uint32_t ram_page, unsigned at, unsigned size)
{
    if (ram_page >= j->n_pages || !size ||
        !(atomic_load(&j->page_lines[ram_page]) & lines_of(at, size)))
        return;
    WITH_LOCK (&j->lock)
        drop_hits(j, ram_page, at, size, 0, 0);
}

void block_written(Vcpu *v, uint32_t ram_page, unsigned at, unsigned size)
{
    Cpu *c = v->cpu;
    Gva saved = c->r[V_PC], pc;
    bool running = v->executing && !v->current->one_shot, hit = false;

    vcpu_sync_pc(c);
    pc = c->r[V_PC];
    WITH_LOCK (&v->jit->lock)
        hit = drop_hits(v->jit, ram_page, at, size, pc, c->mode);
    if (running && hit) {
        v->stats.smc_same_block++;
        cpu_unwind(c, UNWIND_STEP);
    }
    c->r[V_PC] = saved; /* a helper may have moved on already */
}

void block_recheck_later(Vcpu *v, uint32_t ram_page, unsigned at, unsigned size)
{
    if (v->n_rechecks < JIT_RECHECKS) {
        v->recheck[v->n_rechecks].ram_page = ram_page;
        v->recheck[v->n_rechecks].at = (uint16_t)at;
        v->recheck[v->n_rechecks].size = (uint16_t)size;
    }
    if (v->n_rechecks <= JIT_RECHECKS) /* one more than there is room for: everything */
        v->n_rechecks++;
    cpu_request(v->cpu, REQ_CODE);
}

void blocks_drop_at(Jit *j, Gva linear)
{
    WITH_LOCK (&j->lock) {
        for (size_t i = 0; i < j->n_blocks; i++) {
            const Block *b = &j->blocks[i];
            Gva page = (linear >> TLB_PAGE_BITS) - (b->linear >> TLB_PAGE_BITS);

            if (!b->dead && !b->one_shot && page <= block_has_two_pages(b) &&
                block_is_hit(b, b->ram_page[page], linear & 0xfff, 1))
                drop_hits(j, b->ram_page[page], linear & 0xfff, 1, 0, 0);
        }
    }
}

static void drop_everything(Jit *j)
{
    for (uint32_t page = 0; page < j->n_pages; page++) {
        if (j->page_blocks[page])
            drop_hits(j, page, 0, 4096, 0, 0);
    }
}

void block_rechecks(Vcpu *v)
{
    WITH_LOCK (&v->jit->lock) {
        if (v->n_rechecks > JIT_RECHECKS)
            drop_everything(v->jit);
        for (unsigned i = 0; i < v->n_rechecks && i < JIT_RECHECKS; i++)
            drop_hits(v->jit, v->recheck[i].ram_page, v->recheck[i].at, v->recheck[i].size, 0, 0);
        v->n_rechecks = 0;
    }
}

/* --- flush --- */

static void block_free(Jit *j, Block *b)
{
    for (unsigned k = 0; !b->one_shot && k < 2; k++) {
        uint32_t page = b->ram_page[k];

        if (j->page_blocks[page]) {
            j->page_blocks[page] = NULL;
            atomic_store(&j->page_lines[page], 0);
            tlb_unprotect_page(j->m, page);
        }
    }
    xfree(b->ops);
}

void blocks_flush(Jit *j)
{
    for (size_t i = 0; i < j->n_blocks; i++)
        block_free(j, &j->blocks[i]);
    j->n_blocks = 0;
    for (unsigned i = 0; i < 1u << j->hash_bits; i++)
        atomic_store_explicit(&j->hash[i], NULL, memory_order_relaxed);
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        Vcpu *v = j->vcpus[i];

        for (unsigned k = 0; v && k < JIT_RECENT; k++)
            atomic_store_explicit(&v->recent[k], NULL, memory_order_relaxed);
        if (v) {
            v->link = NULL;
            v->current = NULL;
            v->n_rechecks = 0;
        }
    }
    if (j->n_ids > IDS_MAX) { /* same pages get new ids then */
        xfree(j->ids);
        j->ids = NULL;
        j->ids_cap = j->n_ids = 0;
    }
    if (j->next_id > UINT32_MAX / 2 && !j->ids_cap) {
        j->next_id = 0;
        for (unsigned i = 0; i < j->n_vcpus; i++) {
            if (j->vcpus[i])
                tlb_flush_all(j->vcpus[i]->cpu);
        }
    }
}

/* --- life --- */

static void *map_zeroed(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

bool blocks_init(Jit *j, Error *err)
{
    uint64_t n = (j->m->cfg.ram_size >> TLB_PAGE_BITS) + (GIB >> TLB_PAGE_BITS); /* as cpu/tlb.c */

    if (n > UINT32_MAX / 2)
        return error_set(err, "too much memory for the translator");
    j->n_pages = (uint32_t)n;
    j->hash_bits = HASH_BITS;
    j->hash = xalloc(sizeof *j->hash << j->hash_bits);
    j->max_blocks =
        (j->m->cfg.tb_size ? MAX(j->m->cfg.tb_size, (size_t)MIB) : 128 * MIB) / CODE_PER_BLOCK;
    j->blocks = map_zeroed(j->max_blocks * sizeof *j->blocks);
    j->page_blocks = map_zeroed(n * sizeof *j->page_blocks);
    j->page_lines = map_zeroed(n * sizeof *j->page_lines);
    j->page_smc = map_zeroed(n * sizeof *j->page_smc);
    if (!j->blocks || !j->page_blocks || !j->page_lines || !j->page_smc) {
        blocks_fini(j);
        return error_set(err, "cannot allocate tables of the translator");
    }
    madvise(j->blocks, j->max_blocks * sizeof *j->blocks,
            MADV_HUGEPAGE); /* may be off on this host: slower, not wrong */
    return true;
}

void blocks_fini(Jit *j)
{
    size_t n = j->n_pages;

    if (j->blocks)
        munmap(j->blocks, j->max_blocks * sizeof *j->blocks);
    j->blocks = NULL;
    if (j->page_blocks)
        munmap(j->page_blocks, n * sizeof *j->page_blocks);
    if (j->page_lines)
        munmap((void *)j->page_lines, n * sizeof *j->page_lines);
    if (j->page_smc)
        munmap(j->page_smc, n * sizeof *j->page_smc);
    j->page_blocks = NULL;
    j->page_lines = NULL;
    j->page_smc = NULL;
    xfree((void *)j->hash);
    j->hash = NULL;
    xfree(j->ids);
    j->ids = NULL;
    j->ids_cap = j->n_ids = 0;
}
