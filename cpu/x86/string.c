/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * string - MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS with their repeat prefixes (SDM vol 1 7.3.9)
 *
 * Work goes in runs: elements that lie in one page at the source and one at the destination, do not
 * wrap, and are inside the segment's limit.  A run in RAM is one host string instruction or loop;
 * everything else goes element by element through mem_load() and mem_store().
 *
 * Invariants:
 *  1. Registers are updated behind each run, so that a fault leaves them as after the last whole
 *     element.
 *  2. Elements are carried out in the order of the instruction where that can be seen: overlap,
 *     devices.
 *  3. Between runs Cpu.request is looked at; in MODE_STEP one element is done per call.
 */
#include "cpu/ir/ir.h"
#include "cpu/x86/sys_priv.h"

typedef struct Op {
    X86Cpu *x;
    Cpu *c;
    unsigned size, asize, rep, seg, shift; /* shift: log2 of size */
    uint64_t mask;                         /* of index registers and count */
    bool down;
    uint64_t count; /* elements left */
} Op;

static inline Op op_of(Cpu *c, uint64_t k)
{
    Op o = {.x = X86(c),
            .c = c,
            .size = k & 0xff,
            .asize = k >> 8 & 0xff,
            .rep = k >> 16 & 0xff,
            .seg = k >> 24 & 0xff};

    o.shift = (unsigned)__builtin_ctz(o.size);
    o.mask = size_mask(o.asize);
    o.down = c->mode & MODE_DF;
    o.count = o.rep ? c->r[R_CX] & o.mask : 1;
    return o;
}

/* One operand of a run. */
typedef struct Span {
    Gva va;
    uint64_t n;
} Span; /* address of the first element; elements in this run, 0: it straddles pages */

static uint64_t legacy_limit(const Op *o, unsigned seg, uint64_t off)
{
    const X86Seg *s = &o->x->seg[seg];

    if ((s->attr & (ATTR_S | ATTR_CODE | ATTR_DC)) == (ATTR_S | ATTR_DC))
        return 1; /* expand-down: one at a time */
    return o->down ? (off >> o->shift) + 1 : (s->limit - off + 1ull) >> o->shift;
}

/* Must offsets in @seg be checked? */
static inline bool is_checked(const Cpu *c, unsigned seg)
{
    return !(c->mode & (seg == SEG_FS   ? MODE_FLAT_FS
                        : seg == SEG_GS ? MODE_FLAT_GS
                        : seg == SEG_CS ? MODE_FLAT_CS
                                        : MODE_FLAT));
}

static inline Span span_of(const Op *o, unsigned seg, unsigned reg, bool write)
{
    Cpu *c = o->c;
    uint64_t off = c->r[reg] & o->mask, in_page, limit = UINT64_MAX;
    Span s;

    if (LIKELY(x86_is64(o->x))) {
        s.va = seg >= SEG_FS ? off + c->r[16 + seg] : off;
    } else if (is_checked(c, seg)) {
        s.va = hlp_seg_check(c, off, 0, seg | o->size << 8 | (unsigned)write << 16);
        limit = legacy_limit(o, seg, off);
    } else {
        s.va = (uint32_t)(off + c->r[16 + seg]);
    }
    in_page = s.va & 4095;
    if (UNLIKELY(in_page + o->size > 4096))
        s.n = 0;
    else if (o->down)
        s.n = (MIN(in_page, off) >> o->shift) + 1;
    else
        s.n = MIN((4096 - in_page) >> o->shift, ((o->mask - off) >> o->shift) + 1);
    s.n = MIN(s.n, limit);
    return s;
}

/* Host address of the lowest byte of a run of @n elements; NULL: not plain RAM. */
static inline uint8_t *run_host(const Op *o, const Span *s, uint64_t n, Access access)
{
    Cpu *c = o->c;
    Gva low = o->down ? s->va - (n - 1) * o->size : s->va;
    uint8_t *p = x86_probe(access == ACCESS_WRITE ? c->tlb->wr : c->tlb->rd, low, 1);
    unsigned left;

    if (LIKELY(p != NULL))
        return p;
    p = mem_host(c, s->va, access, c->mmu_mode, &left); /* a fault is the first element's */
    return p ? p - (s->va - low) : NULL;
}

static inline void advance(const Op *o, unsigned reg, uint64_t n)
{
    uint64_t by = n * o->size;

    o->c->r[reg] =
        reg_merge(o->c->r[reg], o->down ? o->c->r[reg] - by : o->c->r[reg] + by, o->asize);
}

/* Count @n elements off.  True: leave the helper, *ret is its result. */
static inline bool finish_run(Op *o, uint64_t n, uint64_t *ret)
{
    o->count -= n;
    if (o->rep)
        o->c->r[R_CX] = reg_merge(o->c->r[R_CX], o->count, o->asize);
    if (o->count == 0) {
        *ret = 0;
        return true;
    }
    *ret = 1;
    return (o->c->mode & MODE_STEP) || atomic_load_explicit(&o->c->request, memory_order_relaxed);
}

static inline uint64_t run_length(const Op *o, uint64_t n)
{
    n = MIN(n, o->count);
    return UNLIKELY(o->c->mode & MODE_STEP) && n > 1 ? 1 : n;
}

/* Data breakpoints look at every element: MODE_IOBP implies MODE_STEP. */
static inline void watch(const Op *o, const Span *s, bool write)
{
    if (UNLIKELY(o->c->mode & MODE_IOBP))
        hlp_watch(o->c, s->va, 0, o->size | (unsigned)write << 16);
}

static inline uint64_t element(const uint8_t *p, unsigned size)
{
    return size == 1   ? *p
           : size == 2 ? load_uint16_t(p)
           : size == 4 ? load_uint32_t(p)
                       : load_uint64_t(p);
}

static inline void element_store(uint8_t *p, unsigned size, uint64_t v)
{
    __builtin_memcpy(p, &v, size);
}

static inline uint64_t element_load(const Op *o, Gva va)
{
    return mem_load(o->c, va, o->size, o->c->mmu_mode);
}

/* --- MOVS --- */

static inline void host_movs(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
    switch (size) {
    case 1: __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); break;
    case 2: __asm__ volatile("rep movsw" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); break;
    case 4: __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); break;
    default: __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); break;
    }
}

/* At most 64 bytes that do not overlap. */
static inline void copy_small(uint8_t *d, const uint8_t *s, uint64_t n)
{
    uint64_t at = 0;

    if (n < 8) {
        for (; at < n; at++)
            d[at] = s[at];
        return;
    }
    for (; at + 8 <= n; at += 8)
        store_uint64_t(d + at, load_uint64_t(s + at));
    store_uint64_t(d + n - 8, load_uint64_t(s + n - 8));
}

static void copy_down(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
    while (n-- > 0) {
        uint64_t v = element(s + n * size, size);

        switch (size) {
        case 1: element_store(d + n, 1, v); break;
        case 2: element_store(d + n * 2, 2, v); break;
        case 4: element_store(d + n * 4, 4, v); break;
        default: element_store(d + n * 8, 8, v); break;
        }
        __asm__ volatile("" : : : "memory"); /* the elements may overlap */
    }
}

static inline void copy_run(const Op *o, uint8_t *d, const uint8_t *s, uint64_t n)
{
    uint64_t bytes = n * o->size, distance = (uint64_t)(d > s ? d - s : s - d);

    if (LIKELY(distance >= bytes)) {
        if (bytes <= 64)
            copy_small(d, s, bytes);
        else
            host_movs(d, s, bytes, 1);
    } else if (o->down) {
        copy_down(d, s, n, o->size);
    } else {
        host_movs(d, s, n, o->size);
    }
}

uint64_t hlp_movs(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0, n;

    if (o.count == 0)
        return 0;
    do {
        Span s = span_of(&o, o.seg, R_SI, false), d;
        uint8_t *from = NULL, *to = NULL;

        if (UNLIKELY(is_checked(c, SEG_ES))) /* faults of the source come first */
            mem_probe(c, s.va, o.size, ACCESS_READ, c->mmu_mode);
        d = span_of(&o, SEG_ES, R_DI, true);
        watch(&o, &s, false);
        watch(&o, &d, true);
        n = run_length(&o, MIN(s.n, d.n));
        if (n != 0) {
            from = run_host(&o, &s, n, ACCESS_READ);
            to = from ? run_host(&o, &d, n, ACCESS_WRITE) : NULL;
        }
        if (LIKELY(to != NULL)) {
            copy_run(&o, to, from, n);
        } else {
            mem_store(c, d.va, o.size, element_load(&o, s.va), c->mmu_mode);
            n = 1;
        }
        advance(&o, R_SI, n);
        advance(&o, R_DI, n);
    } while (!finish_run(&o, n, &ret));
    return ret;
}

/* --- STOS --- */

static inline void fill_run(uint8_t *d, uint64_t v, uint64_t n, unsigned size)
{
    uint64_t bytes = n * size, words = bytes / 8, i;

    v = size == 1   ? (v & 0xff) * 0x0101010101010101ull
        : size == 2 ? (v & 0xffff) * 0x0001000100010001ull
        : size == 4 ? (v & 0xffffffff) * 0x0000000100000001ull
                    : v;
    if (words <= 8) {
        for (i = 0; i < words; i++, d += 8)
            store_uint64_t(d, v);
    } else {
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(v) : "memory");
    }
    for (i = 0; i < bytes % 8; i++)
        d[i] = (uint8_t)(v >> 8 * i);
}

uint64_t hlp_stos(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0, n;

    if (o.count == 0)
        return 0;
    do {
        Span d = span_of(&o, SEG_ES, R_DI, true);
        uint8_t *to;

        watch(&o, &d, true);
        n = run_length(&o, d.n);
        to = n ? run_host(&o, &d, n, ACCESS_WRITE) : NULL;
        if (LIKELY(to != NULL)) {
            fill_run(to, c->r[R_AX], n, o.size);
        } else {
            mem_store(c, d.va, o.size, c->r[R_AX] & size_mask(o.size), c->mmu_mode);
            n = 1;
        }
        advance(&o, R_DI, n);
    } while (!finish_run(&o, n, &ret));
    return ret;
}

/* --- LODS --- */

uint64_t hlp_lods(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0, n, v;

    if (o.count == 0)
        return 0;
    do {
        Span s = span_of(&o, o.seg, R_SI, false);
        const uint8_t *from;

        watch(&o, &s, false);
        n = run_length(&o, s.n);
        from = n ? run_host(&o, &s, n, ACCESS_READ) : NULL;
        if (LIKELY(from != NULL)) {
            v = element(o.down ? from : from + (n - 1) * o.size, o.size);
        } else {
            v = element_load(&o, s.va);
            n = 1;
        }
        c->r[R_AX] = reg_merge(c->r[R_AX], v, o.size);
        advance(&o, R_SI, n);
    } while (!finish_run(&o, n, &ret));
    return ret;
}

/* --- SCAS and CMPS --- */

/* Flags of a - b at @size. */
static uint16_t cc_sub(uint64_t a, uint64_t b, unsigned size)
{
    unsigned top = 8 * size - 1;
    uint64_t m = size_mask(size), r = (a - b) & m, f = 0;

    a &= m;
    b &= m;
    f |= (a < b ? FL_CF : 0) | (r == 0 ? FL_ZF : 0) | (r >> top & 1 ? FL_SF : 0) |
         ((a ^ b ^ r) & 0x10 ? FL_AF : 0);
    f |= (((a ^ b) & (a ^ r)) >> top & 1 ? FL_OF : 0) | (__builtin_parity(r & 0xff) ? 0 : FL_PF);
    return x86_cc_from_flags(f);
}

/* How many of @n elements pass before (and with) the one that ends the loop: equal for REPNE,
 * unequal for REPE. */
static uint64_t scan_up(const uint8_t *p, uint64_t v, uint64_t n, unsigned size, bool until_equal)
{
    uint64_t i = 0, pattern = (v & 0xff) * 0x0101010101010101ull;

    if (size == 1) {
        for (; i + 8 <= n; i += 8) {
            uint64_t x = load_uint64_t(p + i) ^ pattern;

            if (until_equal ? (x - 0x0101010101010101ull) & ~x & 0x8080808080808080ull : x)
                break;
        }
    }
    v &= size_mask(size);
    for (; i < n; i++)
        if ((element(p + i * size, size) == v) == until_equal)
            return i + 1;
    return n;
}

static uint64_t scan_down(const uint8_t *low, uint64_t v, uint64_t n, unsigned size,
                          bool until_equal)
{
    v &= size_mask(size);
    for (uint64_t i = 0; i < n; i++)
        if ((element(low + (n - 1 - i) * size, size) == v) == until_equal)
            return i + 1;
    return n;
}

/* Behind a run of a conditional repeat: REPE goes on while equal, REPNE while not. */
static inline bool condition_ends(const Op *o, uint16_t cc)
{
    return o->rep && (cc >> 14 & 1) != (o->rep == 0xf3);
}

uint64_t hlp_scas(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0, n, v;
    uint16_t cc;
    bool done;

    if (o.count == 0)
        return 0;
    do {
        Span d = span_of(&o, SEG_ES, R_DI, false);
        const uint8_t *p;

        watch(&o, &d, false);
        n = run_length(&o, d.n);
        p = n ? run_host(&o, &d, n, ACCESS_READ) : NULL;
        if (LIKELY(p != NULL)) {
            uint64_t all = n;

            if (o.rep)
                n = (o.down ? scan_down : scan_up)(p, c->r[R_AX], n, o.size, o.rep == 0xf2);
            v = element(o.down ? p + (all - n) * o.size : p + (n - 1) * o.size, o.size);
        } else {
            v = element_load(&o, d.va);
            n = 1;
        }
        advance(&o, R_DI, n);
        cc = cc_sub(c->r[R_AX], v, o.size);
        done = finish_run(&o, n, &ret);
        if (condition_ends(&o, cc)) {
            ret = 0;
            done = true;
        }
    } while (!done);
    c->cc = cc; /* not before: a fault restores the flags */
    return ret;
}

/* As scan_*, for two sequences; index of the last element looked at, plus one. */
static uint64_t compare_run(const Op *o, const uint8_t *s, const uint8_t *d, uint64_t n)
{
    bool until_equal = o->rep == 0xf2;
    uint64_t i = 0;

    if (!o->down && !until_equal)
        while (i + (8u >> o->shift) <= n &&
               load_uint64_t(s + i * o->size) == load_uint64_t(d + i * o->size))
            i += 8u >> o->shift;
    for (; i < n; i++) {
        uint64_t at = (o->down ? n - 1 - i : i) * o->size;

        if ((element(s + at, o->size) == element(d + at, o->size)) == until_equal)
            return i + 1;
    }
    return n;
}

uint64_t hlp_cmps(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0, n, v, w;
    uint16_t cc;
    bool done;

    if (o.count == 0)
        return 0;
    do {
        Span s = span_of(&o, o.seg, R_SI, false), d = span_of(&o, SEG_ES, R_DI, false);
        const uint8_t *p = NULL, *q = NULL;

        watch(&o, &s, false);
        watch(&o, &d, false);
        n = run_length(&o, MIN(s.n, d.n));
        if (n != 0) {
            p = run_host(&o, &s, n, ACCESS_READ);
            q = p ? run_host(&o, &d, n, ACCESS_READ) : NULL;
        }
        if (LIKELY(q != NULL)) {
            uint64_t all = n, at;

            if (o.rep)
                n = compare_run(&o, p, q, n);
            at = (o.down ? all - n : n - 1) * o.size;
            v = element(p + at, o.size);
            w = element(q + at, o.size);
        } else {
            v = element_load(&o, s.va);
            w = element_load(&o, d.va);
            n = 1;
        }
        advance(&o, R_SI, n);
        advance(&o, R_DI, n);
        cc = cc_sub(v, w, o.size);
        done = finish_run(&o, n, &ret);
        if (condition_ends(&o, cc)) {
            ret = 0;
            done = true;
        }
    } while (!done);
    c->cc = cc; /* not before: a fault restores the flags */
    return ret;
}

/* --- INS and OUTS --- */

uint64_t hlp_ins(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0;

    if (o.count == 0)
        return 0;
    hlp_io_check(c, c->r[R_DX] & 0xffff, 0, o.size);
    do {
        Span d = span_of(&o, SEG_ES, R_DI, true);

        watch(&o, &d, true);
        mem_probe(c, d.va, o.size, ACCESS_WRITE, c->mmu_mode);
        mem_store(c, d.va, o.size, hlp_in(c, c->r[R_DX] & 0xffff, 0, o.size), c->mmu_mode);
        advance(&o, R_DI, 1);
    } while (!finish_run(&o, 1, &ret));
    return ret;
}

uint64_t hlp_outs(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    Op o = op_of(c, k);
    uint64_t ret = 0;

    if (o.count == 0)
        return 0;
    hlp_io_check(c, c->r[R_DX] & 0xffff, 0, o.size);
    do {
        Span s = span_of(&o, o.seg, R_SI, false);

        watch(&o, &s, false);
        hlp_out(c, c->r[R_DX] & 0xffff, element_load(&o, s.va), o.size);
        advance(&o, R_SI, 1);
    } while (!finish_run(&o, 1, &ret));
    return ret;
}
