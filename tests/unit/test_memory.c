/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of core/memory.h: the map against a brute-force model, accesses, epochs under threads. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "core/memory.h"
#include "tests/unit/unit.h"

/* A device that remembers its last access. */
typedef struct Probe {
    Region r;
    uint64_t at, v;
    unsigned size, reads, writes;
    uint64_t sizes[16]; /* of writes: at << 8 | size */
} Probe;

static uint64_t probe_read(void *arg, uint64_t at, unsigned size)
{
    Probe *p = arg;

    p->at = at;
    p->size = size;
    p->reads++;
    return 0x8877665544332211ull + at * 0x0101010101010101ull;
}

static void probe_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Probe *p = arg;

    p->at = at;
    p->v = v;
    p->size = size;
    p->sizes[p->writes++ % COUNT_OF(p->sizes)] = at << 8 | size;
}

static const RegionOps any_ops = {.read = probe_read, .write = probe_write};
static const RegionOps word_ops = {
    .read = probe_read, .write = probe_write, .min_size = 4, .max_size = 4};
static const RegionOps byte_ops = {
    .read = probe_read, .write = probe_write, .min_size = 1, .max_size = 1};

static void probe_init(Probe *p, const RegionOps *ops, uint64_t size)
{
    memset(p, 0, sizeof *p);
    region_io(&p->r, "probe", size, ops, p, NULL);
}

static void ram_init(Region *r, Memory *m, uint64_t size)
{
    Error err;

    ck_assert_msg(region_ram(r, m, "ram", size, false, &err), "%s", err.msg);
}

/* --- what is where --- */

static const Region *region_at(Memory *m, Gpa at, uint64_t *off)
{
    epoch_enter();
    const MemSection *s = as_find(&m->system, at);
    const Region *r = s ? s->region : NULL;
    if (s && off)
        *off = s->region_at + (at - s->at);
    epoch_exit();
    return r;
}

START_TEST(the_higher_priority_wins_and_among_equals_the_last)
{
    Memory *m = memory_new();
    Probe a, b, c;

    probe_init(&a, &any_ops, 0x1000);
    probe_init(&b, &any_ops, 0x1000);
    probe_init(&c, &any_ops, 0x100);
    region_map(&m->system_root, &a.r, 0x1000, 0);
    ck_assert_ptr_eq(region_at(m, 0x1800, NULL), &a.r);
    region_map(&m->system_root, &b.r, 0x1800, 0);
    ck_assert_ptr_eq(region_at(m, 0x17ff, NULL), &a.r);
    ck_assert_ptr_eq(region_at(m, 0x1800, NULL), &b.r);
    region_map(&m->system_root, &c.r, 0x1900, -1);
    ck_assert_ptr_eq(region_at(m, 0x1900, NULL), &b.r);
    region_unmap(&c.r);
    region_map(&m->system_root, &c.r, 0x1900, 1);
    ck_assert_ptr_eq(region_at(m, 0x1900, NULL), &c.r);
    uint64_t off;
    ck_assert_ptr_eq(region_at(m, 0x1a00, &off), &b.r);
    ck_assert_uint_eq(off, 0x200);
    region_enable(&b.r, false);
    ck_assert_ptr_eq(region_at(m, 0x1a00, &off), &a.r);
    ck_assert_ptr_null(region_at(m, 0x2000, NULL));
    memory_free(m);
}
END_TEST

START_TEST(aliases_show_a_window_of_something_else)
{
    Memory *m = memory_new();
    Region ram, low, high, pci, hole;
    Probe bar;

    ram_init(&ram, m, 0x10000);
    region_alias(&low, "low", &ram, 0, 0x8000);
    region_alias(&high, "high", &ram, 0x8000, 0x8000);
    region_map(&m->system_root, &low, 0, 0);
    region_map(&m->system_root, &high, 0x100000000ull, 0);
    uint64_t off;
    ck_assert_ptr_eq(region_at(m, 0x100000010ull, &off), &ram);
    ck_assert_uint_eq(off, 0x8010);
    ck_assert_ptr_null(region_at(m, 0x8000, NULL));

    /* A bus that is seen through a hole; what is mapped there later is seen too. */
    region_container(&pci, "pci", UINT64_MAX);
    region_alias(&hole, "hole", &pci, 0xe0000000, 0x1000000);
    region_map(&m->system_root, &hole, 0xe0000000, 0);
    probe_init(&bar, &any_ops, 0x1000);
    region_map(&pci, &bar.r, 0xe0001000, 0);
    ck_assert_ptr_eq(region_at(m, 0xe0001004, &off), &bar.r);
    ck_assert_uint_eq(off, 4);
    region_unmap(&bar.r);
    ck_assert_ptr_null(region_at(m, 0xe0001004, NULL));
    region_map(&pci, &bar.r, 0xdffff800, 0); /* cut by the hole's edge */
    ck_assert_ptr_null(region_at(m, 0xdfffffff, NULL));
    ck_assert_ptr_eq(region_at(m, 0xe0000000, &off), &bar.r);
    ck_assert_uint_eq(off, 0x800);
    memory_free(m);
}
END_TEST

typedef struct Counter {
    MemListener l;
    unsigned n;
} Counter;

static void count_change(MemListener *l, const FlatMap *now)
{
    ((Counter *)l)->n++;
    ck_assert_ptr_nonnull(now);
}

START_TEST(a_batch_is_published_once_and_no_change_not_at_all)
{
    Memory *m = memory_new();
    Counter c = {.l = {.changed = count_change}};
    Probe a, b;

    as_listen(&m->system, &c.l);
    ck_assert_uint_eq(c.n, 1);
    probe_init(&a, &any_ops, 0x1000);
    probe_init(&b, &any_ops, 0x1000);
    memory_begin(m);
    region_map(&m->system_root, &a.r, 0, 0);
    memory_begin(m);
    region_map(&m->system_root, &b.r, 0, 0);
    memory_commit(m);
    ck_assert_uint_eq(c.n, 1);
    memory_commit(m);
    ck_assert_uint_eq(c.n, 2);
    region_enable(&a.r, false); /* hidden anyway */
    ck_assert_uint_eq(c.n, 2);
    as_unlisten(&m->system, &c.l);
    region_unmap(&b.r);
    ck_assert_uint_eq(c.n, 2);
    memory_free(m);
}
END_TEST

/* --- random trees against a model that asks the tree for every byte --- */

enum { SPACE = 256, REGIONS = 24 };

static Region *model_find(Region *r, int64_t at, uint64_t *off)
{
    if (!r->enabled || at < 0 || at >= (int64_t)(r->size == UINT64_MAX ? SPACE : r->size))
        return NULL;
    for (Region *c = r->children; c; c = c->next) {
        Region *found = model_find(c, at - (int64_t)c->at, off);
        if (found)
            return found;
    }
    if (r->kind == REGION_ALIAS)
        return model_find(r->alias, at + (int64_t)r->alias_at, off);
    *off = (uint64_t)at;
    return r->kind == REGION_CONTAINER ? NULL : r;
}

static void model_check(Memory *m)
{
    for (int at = 0; at < SPACE; at++) {
        uint64_t off = 0, want_off = 0;
        const Region *want = model_find(&m->system_root, at, &want_off);
        const Region *is = region_at(m, (Gpa)at, &off);
        ck_assert_ptr_eq(is, want);
        if (want)
            ck_assert_uint_eq(off, want_off);
    }
}

static uint32_t next_random(uint32_t *s)
{
    *s = *s * 1664525 + 1013904223;
    return *s >> 8;
}

/* Region 0 is the root; aliases show regions of a lower number, parents have one too: no cycles. */
static void random_region(Region *r, Region *all, unsigned i, uint32_t *s)
{
    uint64_t size = 1 + next_random(s) % 120;

    switch (next_random(s) % 3) {
    case 0: region_container(r, "container", size); break;
    case 1: region_io(r, "io", size, &any_ops, NULL, NULL); break;
    default:
        if (i < 2)
            region_io(r, "io", size, &any_ops, NULL, NULL);
        else
            region_alias(r, "alias", &all[1 + next_random(s) % (i - 1)], next_random(s) % 60, size);
    }
}

START_TEST(random_trees_flatten_as_the_model_says)
{
    uint32_t s = 12345;

    for (int round = 0; round < 150; round++) {
        Memory *m = memory_new();
        Region all[REGIONS];
        for (unsigned i = 1; i < REGIONS; i++) {
            random_region(&all[i], all, i, &s);
            Region *parent = &m->system_root;
            /* Only unaliased containers of a higher level: a child of an alias's target is fine
             * as well. */
            unsigned p = next_random(&s) % i;
            if (p && all[p].kind == REGION_CONTAINER && all[i].kind != REGION_ALIAS)
                parent = &all[p];
            region_map(parent, &all[i], next_random(&s) % 200, (int)(next_random(&s) % 4) - 1);
        }
        model_check(m);
        for (int step = 0; step < 20; step++) {
            Region *r = &all[1 + next_random(&s) % (REGIONS - 1)];
            if (next_random(&s) & 1) {
                region_enable(r, !r->enabled);
            } else {
                Region *parent = r->parent;
                region_unmap(r);
                region_map(parent, r, next_random(&s) % 200, (int)(next_random(&s) % 4) - 1);
            }
            model_check(m);
        }
        memory_free(m);
    }
}
END_TEST

/* --- accesses --- */

START_TEST(accesses_are_cut_to_what_the_device_takes)
{
    Memory *m = memory_new();
    Probe any, word, byte;
    uint8_t buf[8];

    probe_init(&any, &any_ops, 0x100);
    probe_init(&word, &word_ops, 0x100);
    probe_init(&byte, &byte_ops, 0x100);
    region_map(&m->system_root, &any.r, 0x1000, 0);
    region_map(&m->system_root, &word.r, 0x2000, 0);
    region_map(&m->system_root, &byte.r, 0x3000, 0);

    put_le64(buf, 0x1122334455667788ull);
    ck_assert_int_eq(as_write(&m->system, 0x1008, buf, 8), MEM_OK);
    ck_assert_uint_eq(any.v, 0x1122334455667788ull);
    ck_assert_uint_eq(any.size, 8);
    as_write(&m->system, 0x1003, buf, 4); /* misaligned: 1, 2, 1 */
    ck_assert_uint_eq(any.writes, 4);
    ck_assert_uint_eq(any.sizes[1], 0x301);
    ck_assert_uint_eq(any.sizes[2], 0x402);
    ck_assert_uint_eq(any.sizes[3], 0x601);

    as_write(&m->system, 0x2008, buf, 8);
    ck_assert_uint_eq(word.writes, 2);
    ck_assert_uint_eq(word.v, 0x11223344);
    as_write(&m->system, 0x2002, buf, 1); /* narrower: the unit around it */
    ck_assert_uint_eq(word.at, 0);
    ck_assert_uint_eq(word.size, 4);
    ck_assert_uint_eq(word.v, 0x880000);
    as_read(&m->system, 0x2002, buf, 2);
    ck_assert_uint_eq(get_le16(buf), 0x4433);
    ck_assert_uint_eq(word.reads, 1);

    as_read(&m->system, 0x3000, buf, 4);
    ck_assert_uint_eq(byte.reads, 4);
    ck_assert_uint_eq(get_le32(buf), 0x14131211);
    memory_free(m);
}
END_TEST

START_TEST(nothing_reads_as_ones_and_says_so)
{
    Memory *m = memory_new();
    Region ram;
    uint8_t buf[16] = {0};

    ram_init(&ram, m, 0x1000);
    region_map(&m->system_root, &ram, 0, 0);
    ck_assert_int_eq(as_read(&m->system, 0xff8, buf, 16), MEM_DECODE);
    ck_assert_uint_eq(get_le64(buf), 0);
    ck_assert_uint_eq(get_le64(buf + 8), UINT64_MAX);
    ck_assert_int_eq(as_write(&m->system, 0x5000, buf, 4), MEM_DECODE);
    ck_assert_int_eq(as_read(&m->system, UINT64_MAX - 3, buf, 8),
                     MEM_DECODE); /* wraps: the rest is RAM at 0 */
    ck_assert_uint_eq(get_le64(buf), 0x00000000ffffffffull);
    memory_free(m);
}
END_TEST

typedef struct Written {
    uint32_t page, n, calls;
} Written;

static void note_written(void *arg, uint32_t page, uint32_t n)
{
    Written *w = arg;

    w->page = page;
    w->n = n;
    w->calls++;
}

START_TEST(rom_is_written_by_loaders_only_and_writes_are_told)
{
    Memory *m = memory_new();
    Region ram, rom;
    Written w = {0};
    uint32_t v = 0x12345678, back = 0;
    Error err;

    ram_init(&ram, m, 0x4000);
    ck_assert(region_rom(&rom, m, "rom", "boot", 4, &err));
    ck_assert_uint_eq(rom.ram_at, ram.ram_at + 4);
    ck_assert_uint_eq(m->ram_pages, 5);
    region_map(&m->system_root, &ram, 0, 0);
    region_map(&m->system_root, &rom, 0x10000, 0);
    memory_on_written(m, note_written, &w);
    ck_assert_int_eq(as_write(&m->system, 0x10000, &v, 4), MEM_OK);
    ck_assert_uint_eq(w.calls, 0);
    as_read(&m->system, 0x10000, &back, 4);
    ck_assert_mem_eq(&back, "boot", 4);
    as_load(&m->system, 0x10000, &v, 4);
    as_read(&m->system, 0x10000, &back, 4);
    ck_assert_uint_eq(back, v);
    ck_assert_uint_eq(w.page, rom.ram_at);
    dma_write(&m->system, 0x1ffe, &v, 4);
    ck_assert_uint_eq(w.page, ram.ram_at + 1);
    ck_assert_uint_eq(w.n, 2);
    ck_assert_ptr_eq(as_ram(&m->system, 0x1000, 0x3000, true), ram.hva + 0x1000);
    ck_assert_ptr_null(as_ram(&m->system, 0x1000, 0x3001, true));
    ck_assert_ptr_null(as_ram(&m->system, 0x10000, 4, true));
    ck_assert_ptr_eq(as_ram(&m->system, 0x10000, 4, false), rom.hva);
    memory_free(m);
}
END_TEST

START_TEST(dma_reaches_ram_not_handlers)
{
    Memory *m = memory_new();
    Probe p;
    uint32_t v = 0;

    probe_init(&p, &any_ops, 0x100);
    region_map(&m->system_root, &p.r, 0x1000, 0);
    ck_assert_int_eq(dma_read(&m->system, 0x1000, &v, 4), MEM_DECODE);
    ck_assert_uint_eq(v, UINT32_MAX);
    ck_assert_int_eq(dma_write(&m->system, 0x1000, &v, 4), MEM_DECODE);
    ck_assert_uint_eq(p.reads + p.writes, 0);
    memory_free(m);
}
END_TEST

START_TEST(ram_that_cannot_be_had_is_an_error_that_names_the_size)
{
    Memory *m = memory_new();
    Region r;
    Error err;

    ck_assert(!region_ram(&r, m, "pc.ram", 1ull << 50, false, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "1073741824 MiB"));
    ck_assert_ptr_nonnull(strstr(err.msg, "-m"));
    ck_assert(!region_ram(&r, m, "pc.ram", 1ull << 50, true, &err));
    ck_assert(!region_ram(&r, m, "pc.ram", UINT64_MAX, false, &err));
    ck_assert(!region_ram(&r, m, "pc.ram", 0, false, &err));
    ck_assert(region_ram(&r, m, "pc.ram", 4 * MIB, true, &err));
    ck_assert_int_ge(r.fd, 0);
    ck_assert_uint_eq((uintptr_t)r.hva & (2 * MIB - 1), 0);
    region_fini(&r);
    region_fini(&r);
    memory_free(m);
}
END_TEST

START_TEST(an_all_zero_region_can_be_finished)
{
    Region r = {0};

    region_fini(&r);
}
END_TEST

/* --- threads --- */

typedef struct Crowd {
    Memory *m;
    Region ram, window;
    Probe fixed;
    Lock lock;
    _Atomic bool done;
    _Atomic unsigned reads;
} Crowd;

/* Epochs of other files are compiled for general registers, without what TSan needs to see order
 * in them. */
__attribute__((no_sanitize("thread"))) static const Region *region_at_quietly(Memory *m, Gpa at)
{
    epoch_enter();
    const MemSection *s = as_find(&m->system, at);
    const Region *r = s ? s->region : NULL;
    epoch_exit();
    return r;
}

static void *crowd_reader(void *arg)
{
    Crowd *c = arg;

    while (!c->done) {
        uint64_t v = 0;
        int rc = as_read(&c->m->system, 0x100000, &v, 8);
        ck_assert(rc == MEM_OK ? v == 0x8877665544332211ull : v == UINT64_MAX);
        as_read(&c->m->system, 0x200000, &v, 8); /* the window: RAM or nothing */
        ck_assert(v == 0 || v == UINT64_MAX);
        ck_assert(region_at_quietly(c->m, 0x1234) == &c->ram);
        atomic_fetch_add(&c->reads, 1);
    }
    return NULL;
}

START_TEST(readers_go_on_while_the_map_changes)
{
    Crowd c = {.m = memory_new()};
    pthread_t th[3];

    lock_init(&c.lock, "device", RANK_DEVICE);
    ram_init(&c.ram, c.m, 0x10000);
    region_map(&c.m->system_root, &c.ram, 0, 0);
    region_alias(&c.window, "window", &c.ram, 0x1000, 0x1000);
    probe_init(&c.fixed, &any_ops, 0x1000);
    c.fixed.r.lock = &c.lock;
    for (unsigned i = 0; i < COUNT_OF(th); i++)
        ck_assert_int_eq(pthread_create(&th[i], NULL, crowd_reader, &c), 0);
    for (unsigned i = 0; i < 300 || c.reads < 1000; i++) {
        memory_begin(c.m);
        region_map(&c.m->system_root, &c.fixed.r, 0x100000, 0);
        memory_commit(c.m);
        region_map(&c.m->system_root, &c.window, 0x200000, 0);
        sched_yield();
        region_unmap(&c.window);
        region_unmap(&c.fixed.r);
        if (i % 16 == 0)
            epoch_wait();
    }
    c.done = true;
    for (unsigned i = 0; i < COUNT_OF(th); i++)
        pthread_join(th[i], NULL);
    memory_free(c.m);
    lock_fini(&c.lock);
}
END_TEST

/* A device that is taken away while others read it: freed memory must not be touched. */
START_TEST(nobody_is_inside_a_region_after_fini)
{
    Crowd c = {.m = memory_new()};
    pthread_t th[2];

    lock_init(&c.lock, "device", RANK_DEVICE);
    ram_init(&c.ram, c.m, 0x10000);
    region_map(&c.m->system_root, &c.ram, 0, 0);
    for (unsigned i = 0; i < COUNT_OF(th); i++)
        ck_assert_int_eq(pthread_create(&th[i], NULL, crowd_reader, &c), 0);
    for (unsigned i = 0; i < 200 || c.reads < 500; i++) {
        Probe *p = xnew(Probe);
        region_io(&p->r, "probe", 0x1000, &any_ops, p, &c.lock);
        region_map(&c.m->system_root, &p->r, 0x100000, 0);
        sched_yield();
        region_fini(&p->r);
        memset(p, 0xee, sizeof *p);
        xfree(p);
    }
    c.done = true;
    for (unsigned i = 0; i < COUNT_OF(th); i++)
        pthread_join(th[i], NULL);
    memory_free(c.m);
    lock_fini(&c.lock);
}
END_TEST

typedef struct Switch {
    Region ctl, target;
    Memory *m;
    unsigned n;
} Switch;

static void switch_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Switch *s = arg;

    (void)at;
    (void)size;
    s->n++;
    region_enable(&s->target, v & 1);
    if (v & 2)
        region_unmap(&s->ctl); /* itself */
}

START_TEST(a_handler_may_change_the_map)
{
    static const RegionOps ops = {.write = switch_write};
    Switch s = {.m = memory_new()};
    uint8_t on[2] = {1, 3};

    region_io(&s.ctl, "ctl", 1, &ops, &s, NULL);
    ram_init(&s.target, s.m, 0x1000);
    s.target.enabled = false;
    region_map(&s.m->system_root, &s.ctl, 0x10, 0);
    region_map(&s.m->system_root, &s.target, 0x1000, 0);
    ck_assert_ptr_null(region_at(s.m, 0x1000, NULL));
    as_write(&s.m->system, 0x10, &on[0], 1);
    ck_assert_ptr_eq(region_at(s.m, 0x1000, NULL), &s.target);
    as_write(&s.m->system, 0x10, &on[1], 1);
    ck_assert_int_eq(as_write(&s.m->system, 0x10, &on[1], 1), MEM_DECODE);
    ck_assert_uint_eq(s.n, 2);
    memory_free(s.m);
}
END_TEST

UNIT_MAIN("memory", the_higher_priority_wins_and_among_equals_the_last,
          aliases_show_a_window_of_something_else,
          a_batch_is_published_once_and_no_change_not_at_all,
          random_trees_flatten_as_the_model_says, accesses_are_cut_to_what_the_device_takes,
          nothing_reads_as_ones_and_says_so, rom_is_written_by_loaders_only_and_writes_are_told,
          dma_reaches_ram_not_handlers, ram_that_cannot_be_had_is_an_error_that_names_the_size,
          an_all_zero_region_can_be_finished, readers_go_on_while_the_map_changes,
          nobody_is_inside_a_region_after_fini, a_handler_may_change_the_map)
