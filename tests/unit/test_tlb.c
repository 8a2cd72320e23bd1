/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of cpu/tlb.h against a processor whose page tables are an array: (space, page) -> physical
 * page and rights.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/machine.h"
#include "cpu/tlb.h"
#include "tests/unit/unit.h"

enum {
    SPACES = 4,
    PAGES = 64,
    RAM = 1 << 20,
    ROM_AT = 2 << 20,
    IO_AT = 3 << 20,
    RD = 1,
    WR = 2,
    EX = 4,
    US = 8,
    GL = 16,
    LARGE = 32
};

typedef struct Pte {
    uint32_t page;
    uint8_t rights;
} Pte; /* rights 0: not there */

typedef struct FakeCpu {
    Cpu cpu;
    jmp_buf unwind;
    uint64_t space;
    Pte pte[SPACES][PAGES];
    unsigned walks;
    unsigned written; /* calls of code_written ... */
    uint32_t written_page;
    unsigned written_at, written_size;
} FakeCpu;

#define FAKE(c) ((FakeCpu *)(c))

typedef struct Fake {
    Machine m;
    Region ram, rom, io;
    FakeCpu *f[2];
    Cpu *cpus[2];
    uint64_t io_last, io_at, io_reads;
    unsigned io_size;
} Fake;

/* --- the processor --- */

static bool fake_walk(Cpu *c, Gva va, Access kind, unsigned mode, Walk *w)
{
    FakeCpu *f = FAKE(c);
    uint64_t n = va >> 12;

    f->walks++;
    if (n >= PAGES)
        return false;
    Pte p = f->pte[f->space][n];

    if (!p.rights || (mode == 1 && !(p.rights & US)) || !(p.rights >> kind & 1)) {
        w->error = 7;
        return false;
    }
    *w = (Walk){.pa = (Gpa)p.page << 12 | (va & 0xfff),
                .size = p.rights & LARGE ? 65536 : 4096,
                .read = p.rights & RD,
                .write = p.rights & WR && kind == ACCESS_WRITE,
                .exec = p.rights & EX,
                .global = p.rights & GL};
    return true;
}

static void fake_page_fault(Cpu *c UNUSED, Gva va, Access kind, unsigned mode, uint64_t error,
                            Exception *e)
{
    *e = (Exception){.vector = 14, .addr = va, .error = error, .detail = kind << 4 | mode};
}

static void fake_align_fault(Cpu *c UNUSED, Gva va, Exception *e)
{
    *e = (Exception){.vector = 17, .addr = va};
}

static const CpuArch fake_arch = {.name = "fake",
                                  .walk = fake_walk,
                                  .page_fault = fake_page_fault,
                                  .align_fault = fake_align_fault};

static void fake_code_written(Cpu *c, uint32_t ram_page, unsigned at, unsigned size)
{
    FAKE(c)->written++;
    FAKE(c)->written_page = ram_page;
    FAKE(c)->written_at = at;
    FAKE(c)->written_size = size;
}

static void fake_kick(Cpu *c UNUSED) {}

static const CpuHost fake_host = {.code_written = fake_code_written, .kick = fake_kick};

static uint64_t io_read(void *arg, uint64_t at, unsigned size)
{
    Fake *k = arg;

    k->io_reads++;
    return at + size;
}

static void io_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    Fake *k = arg;

    k->io_last = v;
    k->io_at = at;
    k->io_size = size;
}

static const RegionOps io_ops = {.read = io_read, .write = io_write};

static Fake *fake_new(unsigned n)
{
    Fake *k = xnew(Fake);
    Error err;

    k->m.mem = memory_new();
    k->m.cfg.ram_size = RAM;
    k->m.cpus = k->cpus;
    k->m.n_cpus = n;
    ck_assert(region_ram(&k->ram, k->m.mem, "ram", RAM, false, &err));
    ck_assert(region_rom(&k->rom, k->m.mem, "rom", NULL, 8192, &err));
    region_io(&k->io, "io", 4096, &io_ops, k, NULL);
    region_map(&k->m.mem->system_root, &k->ram, 0, 0);
    region_map(&k->m.mem->system_root, &k->rom, ROM_AT, 0);
    region_map(&k->m.mem->system_root, &k->io, IO_AT, 0);
    for (unsigned i = 0; i < n; i++) {
        FakeCpu *f = xalloc_aligned(64, sizeof *f);

        f->cpu = (Cpu){.arch = &fake_arch,
                       .host = &fake_host,
                       .machine = &k->m,
                       .index = i,
                       .as = &k->m.mem->system,
                       .unwind = &f->unwind};
        for (unsigned s = 0; s < SPACES; s++) {
            for (unsigned p = 0; p < PAGES; p++)
                f->pte[s][p] = (Pte){p, RD | WR | EX | US};
        }
        k->f[i] = f;
        k->cpus[i] = &f->cpu;
        ck_assert_msg(tlb_init(&f->cpu, &err), "%s", err.msg);
    }
    for (unsigned i = 0; i < RAM; i++)
        k->ram.hva[i] = (uint8_t)(i * 7 + i / 4096);
    return k;
}

static void fake_free(Fake *k)
{
    for (unsigned i = 0; i < k->m.n_cpus; i++) {
        tlb_fini(k->cpus[i]);
        xfree(k->f[i]);
    }
    region_fini(&k->io);
    memory_free(k->m.mem);
    xfree(k);
}

/* Run @expr; was there a fault? */
#define FAULTS(f, expr) (_setjmp((f)->unwind) ? true : ((void)(expr), false))

static void enter(FakeCpu *f, uint64_t space)
{
    f->space = space;
    tlb_enter(&f->cpu, space);
}

static uint64_t ram(const Fake *k, uint64_t at, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, k->ram.hva + at, size);
    return v;
}

/* --- tests --- */

START_TEST(loads_and_stores_of_all_sizes_and_alignments_reach_ram)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];

    for (unsigned size = 1; size <= 8; size *= 2) {
        for (uint64_t at = 4096 - 16; at < 4096 + 16; at++) {
            ck_assert_uint_eq(mem_load(c, at, size, 0), ram(k, at, size));
            mem_store(c, at, size, 0x1122334455667788ull + at, 0);
            ck_assert_uint_eq(ram(k, at, size),
                              (0x1122334455667788ull + at) & (~0ull >> (64 - size * 8)));
            ck_assert_uint_eq(mem_load(c, at, size, 1),
                              ram(k, at, size)); /* another mode, from the second level */
        }
    }
    ck_assert_uint_le(k->f[0]->walks, 8);
    fake_free(k);
}
END_TEST

START_TEST(a_walk_is_made_once_for_each_page_and_right)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];

    mem_load(c, 0x1000, 4, 0);
    ck_assert_uint_eq(k->f[0]->walks, 1);
    mem_load(c, 0x1800, 4, 0);
    ck_assert_uint_eq(k->f[0]->walks, 1);
    mem_store(c, 0x1800, 4, 1, 0); /* the dirty bit */
    ck_assert_uint_eq(k->f[0]->walks, 2);
    mem_store(c, 0x1900, 4, 1, 0);
    ck_assert_uint_eq(k->f[0]->walks, 2);
    fake_free(k);
}
END_TEST

START_TEST(faults_tell_address_access_and_mode)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;
    uint64_t before = ram(k, 0x1ff8, 8);
    uint8_t buf[8192] = {0};

    f->pte[0][2] = (Pte){2, RD};
    f->pte[0][3].rights = 0;
    ck_assert(!FAULTS(f, mem_load(c, 0x2000, 4, 0)));
    ck_assert(FAULTS(f, mem_load(c, 0x2010, 4, 1)));
    ck_assert_uint_eq(c->exc.addr, 0x2010);
    ck_assert_uint_eq(c->exc.detail, ACCESS_READ << 4 | 1);
    ck_assert(FAULTS(
        f, mem_store(c, 0x1ffc, 8, ~0ull, 0))); /* second half is read-only: nothing is written */
    ck_assert_uint_eq(c->exc.addr, 0x2000);
    ck_assert_uint_eq(c->exc.detail, ACCESS_WRITE << 4);
    ck_assert_uint_eq(ram(k, 0x1ff8, 8), before);
    ck_assert(FAULTS(f, mem_write(c, 0x1000, buf, 8192, 0)));
    ck_assert_uint_eq(ram(k, 0x1ff8, 8), before);
    ck_assert(FAULTS(f, mem_probe(c, 0x2fff, 2, ACCESS_READ, 0)));
    ck_assert_uint_eq(c->exc.addr, 0x3000);
    ck_assert(FAULTS(f, mem_align_fault(c, 0x123)));
    ck_assert_uint_eq(c->exc.vector, 17);
    fake_free(k);
}
END_TEST

START_TEST(blocks_of_bytes_cross_pages)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];
    uint8_t buf[10000], out[10000];

    k->f[0]->pte[0][2].page = 9; /* not in order */
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)rand();
    mem_write(c, 0x1234, buf, sizeof buf, 0);
    mem_read(c, 0x1234, out, sizeof out, 0);
    ck_assert_mem_eq(buf, out, sizeof buf);
    ck_assert_mem_eq(k->ram.hva + 0x9000, buf + (0x2000 - 0x1234), 4096);
    fake_free(k);
}
END_TEST

START_TEST(rom_is_read_directly_and_not_written)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];
    unsigned left;

    k->f[0]->pte[0][5].page = ROM_AT >> 12;
    k->rom.hva[8] = 0x5a;
    ck_assert_uint_eq(mem_load(c, 0x5008, 1, 0), 0x5a);
    ck_assert_ptr_eq(mem_host(c, 0x5008, ACCESS_READ, 0, &left), k->rom.hva + 8);
    ck_assert_uint_eq(left, 4088);
    mem_store(c, 0x5008, 1, 1, 0);
    ck_assert_uint_eq(k->rom.hva[8], 0x5a);
    ck_assert_ptr_null(mem_host(c, 0x5008, ACCESS_WRITE, 0, &left));
    fake_free(k);
}
END_TEST

START_TEST(devices_are_called_and_plain_stores_do_not_read_them)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];
    uint32_t *p;

    k->f[0]->pte[0][5].page = IO_AT >> 12;
    ck_assert_uint_eq(mem_load(c, 0x5010, 4, 0), 0x14);
    mem_store(c, 0x5020, 2, 0xabcd, 0);
    ck_assert_uint_eq(k->io_last, 0xabcd);
    ck_assert_uint_eq(k->io_at, 0x20);
    ck_assert_uint_eq(k->io_size, 2);
    k->io_reads = 0;
    p = mem_slow(c, 0x5040, 4, ACCESS_WRITE);
    ck_assert_ptr_eq(p, c->bounce);
    *p = 77;
    mem_commit(c);
    ck_assert_uint_eq(k->io_reads, 0);
    ck_assert_uint_eq(k->io_last, 77);
    p = mem_slow(c, 0x5044, 4, MEM_UPDATE);
    ck_assert_uint_eq(*p, 0x48);
    ck_assert_uint_eq(k->io_reads, 1);
    mem_commit(c);
    ck_assert_uint_eq(k->io_last, 0x48);
    fake_free(k);
}
END_TEST

START_TEST(slow_operands_over_two_pages_are_written_back)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];
    uint64_t *p = mem_slow(c, 0x1ffd, 8, MEM_UPDATE);

    k->f[0]->pte[0][2].page = 7;
    tlb_flush_all(c);
    p = mem_slow(c, 0x1ffd, 8, MEM_UPDATE);
    ck_assert_ptr_eq(p, c->bounce);
    *p = 0x0102030405060708ull;
    mem_commit(c);
    ck_assert_uint_eq(ram(k, 0x1ffd, 3), 0x060708);
    ck_assert_uint_eq(ram(k, 0x7000, 5), 0x0102030405ull);
    p = mem_slow(c, 0x1100, 8, ACCESS_WRITE);
    ck_assert_ptr_eq(p, k->ram.hva + 0x1100);
    mem_commit(c); /* nothing to do */
    fake_free(k);
}
END_TEST

START_TEST(spaces_are_kept_apart_and_survive_switches)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];

    for (unsigned s = 0; s < SPACES; s++)
        f->pte[s][1].page = 10 + s;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned s = 0; s < SPACES; s++) {
            enter(f, s);
            ck_assert_uint_eq(mem_load(&f->cpu, 0x1000, 8, 0), ram(k, (10 + s) * 4096, 8));
        }
    }
    ck_assert_uint_eq(f->walks, SPACES);
    fake_free(k);
}
END_TEST

START_TEST(global_pages_survive_a_nonglobal_flush)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;

    for (unsigned s = 0; s < SPACES; s++)
        f->pte[s][1].rights |= GL;
    enter(f, 0);
    mem_load(c, 0x1000, 4, 0);
    mem_load(c, 0x2000, 4, 0);
    f->walks = 0;
    tlb_flush_nonglobal(c);
    enter(f, 1);
    mem_load(c, 0x1000, 4, 0);
    ck_assert_uint_eq(f->walks, 0);
    mem_load(c, 0x2000, 4, 0);
    ck_assert_uint_eq(f->walks, 1);
    f->walks = 0;
    tlb_flush_all(c);
    mem_load(c, 0x1000, 4, 0);
    ck_assert_uint_eq(f->walks, 1);
    /* a page flush reaches global pages in every space */
    f->pte[1][1].page = 20;
    tlb_flush_page(c, 1, 0x1000);
    ck_assert_uint_eq(mem_load(c, 0x1000, 4, 0), ram(k, 20 * 4096, 4));
    fake_free(k);
}
END_TEST

START_TEST(flushing_one_page_of_a_large_one_flushes_all_of_it)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;

    for (unsigned p = 16; p < 32; p++)
        f->pte[0][p] = (Pte){p, RD | WR | LARGE};
    mem_load(c, 0x13000, 4, 0);
    mem_load(c, 0x1f000, 4, 0);
    mem_load(c, 0x20000, 4, 0);
    for (unsigned p = 16; p < 33; p++)
        f->pte[0][p].page = p + 32;
    tlb_flush_page(c, 0, 0x11000);
    ck_assert_uint_eq(mem_load(c, 0x13000, 4, 0), ram(k, (0x13 + 32) * 4096, 4));
    ck_assert_uint_eq(mem_load(c, 0x1f000, 4, 0), ram(k, (0x1f + 32) * 4096, 4));
    ck_assert_uint_eq(mem_load(c, 0x20000, 4, 0), ram(k, 0x20 * 4096, 4)); /* not part of it */
    fake_free(k);
}
END_TEST

START_TEST(a_changed_memory_map_is_seen_after_a_full_flush)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];

    ck_assert_uint_eq(mem_load(c, 0x1000, 8, 0), ram(k, 0x1000, 8));
    region_unmap(&k->io);
    region_map(&k->m.mem->system_root, &k->io, 0x1000, 1);
    tlb_flush_all(c);
    ck_assert_uint_eq(mem_load(c, 0x1000, 4, 0), 4);
    fake_free(k);
}
END_TEST

/* Random accesses, remappings and flushes against what the tables say; a flush is made for each
 * change. */
START_TEST(random_operations_agree_with_the_page_tables)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;

    srand(1);
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned p = 0; p < PAGES; p++) {
            f->pte[s][p] =
                (Pte){(uint32_t)rand() % (RAM >> 12), (uint8_t)(RD | US | (rand() % 4 ? WR : 0))};
            if (p < 8) /* global: the same everywhere */
                f->pte[s][p] = (Pte){p + 3, RD | WR | US | GL};
        }
    }
    for (unsigned i = 0; i < 300000; i++) {
        unsigned what = (unsigned)rand() % 100, p = (unsigned)rand() % PAGES,
                 s = (unsigned)rand() % SPACES;
        uint64_t va = p * 4096 + (uint64_t)rand() % 4089;

        if (what < 60) {
            ck_assert_uint_eq(mem_load(c, va, 8, 0),
                              ram(k, f->pte[f->space][p].page * 4096ull + va % 4096, 8));
        } else if (what < 80) {
            uint64_t v = (uint64_t)rand() * 0x100000001ull;
            bool may = f->pte[f->space][p].rights & WR;

            if (!may)
                ck_assert(i % 16 || FAULTS(f, mem_store(c, va, 8, v, 0)));
            else
                mem_store(c, va, 8, v, 0);
            if (may)
                ck_assert_uint_eq(ram(k, f->pte[f->space][p].page * 4096ull + va % 4096, 8), v);
        } else if (what < 90) {
            enter(f, s);
        } else if (what < 97) {
            f->pte[s][p].page = (uint32_t)rand() % (RAM >> 12);
            for (unsigned o = 0; p < 8 && o < SPACES; o++)
                f->pte[o][p].page = f->pte[s][p].page;
            if (p < 8 || what < 95)
                tlb_flush_page(c, s, va);
            else
                tlb_flush_space(c, s);
        } else if (what == 97) {
            for (unsigned o = 8; o < PAGES; o++)
                f->pte[s][o].page = (uint32_t)rand() % (RAM >> 12);
            tlb_flush_nonglobal(c);
        } else if (what == 98) {
            for (unsigned o = 0; o < SPACES; o++)
                f->pte[o][0].page = (uint32_t)i % (RAM >> 12);
            tlb_flush_all(c);
        } else {
            tlb_set_mode(c, (unsigned)rand() % 2 * 2);
            tlb_set_mode(c, 0);
        }
    }
    fake_free(k);
}
END_TEST

START_TEST(stores_to_watched_pages_are_announced)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;
    unsigned left;

    mem_store(c, 0x3000, 8, 1, 0);
    ck_assert_uint_eq(f->written, 0);
    ck_assert(tlb_protect_page(&k->m, k->ram.ram_at + 3));
    ck_assert(!tlb_protect_page(&k->m, k->ram.ram_at + 3));
    ck_assert(tlb_page_is_protected(&k->m, k->ram.ram_at + 3));
    mem_store(c, 0x3010, 4, 2, 0);
    ck_assert_uint_eq(f->written, 1);
    ck_assert_uint_eq(f->written_page, k->ram.ram_at + 3);
    ck_assert_uint_eq(f->written_at, 0x10);
    ck_assert_uint_eq(f->written_size, 4);
    ck_assert_uint_eq(ram(k, 0x3010, 4), 2);
    ck_assert_ptr_null(mem_host(c, 0x3000, ACCESS_WRITE, 0, &left));
    ck_assert_ptr_nonnull(mem_host(c, 0x3000, ACCESS_READ, 0, &left));
    mem_slow(c, 0x3020, 16, ACCESS_WRITE);
    ck_assert_uint_eq(f->written, 2);
    mem_store(c, 0x2ffc, 8, 2, 0);
    ck_assert_uint_eq(f->written, 3);
    ck_assert_uint_eq(f->written_at, 0);
    ck_assert_uint_eq(f->written_size, 4);
    mem_phys_store(c, 0x3100, 4, 5);
    ck_assert_uint_eq(f->written, 4);
    tlb_unprotect_page(&k->m, k->ram.ram_at + 3);
    mem_store(c, 0x3010, 4, 2, 0);
    ck_assert_uint_eq(f->written, 4);
    fake_free(k);
}
END_TEST

START_TEST(a_page_written_through_many_addresses_can_be_watched)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];

    for (unsigned s = 0; s < SPACES; s++) {
        enter(f, s);
        for (unsigned p = 0; p < 10; p++) {
            f->pte[s][p].page = 33;
            mem_store(&f->cpu, p * 4096, 4, 1, 0);
        }
    }
    ck_assert(tlb_protect_page(&k->m, k->ram.ram_at + 33));
    for (unsigned s = 0; s < SPACES; s++) {
        enter(f, s);
        for (unsigned p = 0; p < 10; p++)
            mem_store(&f->cpu, p * 4096, 4, 1, 0);
    }
    ck_assert_uint_eq(f->written, 10 * SPACES);
    fake_free(k);
}
END_TEST

START_TEST(code_pages_come_with_their_number)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];
    Cpu *c = &f->cpu;
    uint32_t page;

    ck_assert_ptr_eq(tlb_code_page(c, 0x3123, &page, false), k->ram.hva + 0x3000);
    ck_assert_uint_eq(page, k->ram.ram_at + 3);
    f->pte[0][4].rights = RD;
    ck_assert_ptr_null(tlb_code_page(c, 0x4000, &page, true));
    ck_assert(FAULTS(f, tlb_code_page(c, 0x4000, &page, false)));
    ck_assert_uint_eq(c->exc.detail, ACCESS_EXEC << 4);
    f->pte[0][5].page = IO_AT >> 12;
    const uint8_t *p = tlb_code_page(c, 0x5020, &page, false);

    ck_assert_uint_eq(page, ~0u);
    ck_assert_uint_eq(p[0x20], 0x28); /* an 8-byte read at 0x20 */
    fake_free(k);
}
END_TEST

START_TEST(physical_accesses_reach_ram_only)
{
    Fake *k = fake_new(1);
    Cpu *c = k->cpus[0];

    ck_assert_uint_eq(mem_phys_load(c, 0x1008, 8), ram(k, 0x1008, 8));
    ck_assert_uint_eq(mem_phys_load(c, IO_AT, 4), 0xffffffff);
    ck_assert_uint_eq(mem_phys_load(c, 1ull << 50, 8), ~0ull);
    ck_assert(!mem_phys_cas64(c, 0x1008, 0, 1));
    ck_assert(mem_phys_cas64(c, 0x1008, ram(k, 0x1008, 8), 1));
    ck_assert_uint_eq(ram(k, 0x1008, 8), 1);
    ck_assert(mem_phys_cas32(c, 0x1008, 1, 2));
    fake_free(k);
}
END_TEST

START_TEST(addresses_at_both_ends_do_not_match_empty_entries)
{
    Fake *k = fake_new(1);
    FakeCpu *f = k->f[0];

    ck_assert(FAULTS(f, mem_load(&f->cpu, ~0ull - 7, 8, 0)));
    ck_assert(FAULTS(f, mem_store(&f->cpu, ~0ull & ~0xfffull, 8, 0, 0)));
    f->pte[0][0].rights = 0;
    ck_assert(FAULTS(f, mem_load(&f->cpu, 0, 8, 0)));
    ck_assert(FAULTS(f, mem_load(&f->cpu, 0x3ff000, 1, 0)));
    fake_free(k);
}
END_TEST

/* --- two processors: what is written without announcement is written before the watcher goes on
 * --- */

typedef struct Race {
    Fake *k;
    pthread_barrier_t barrier;
    unsigned rounds, bad;
} Race;

static void *race_writer(void *arg)
{
    Race *r = arg;
    FakeCpu *f = r->k->f[1];

    for (unsigned i = 1; i <= r->rounds; i++) {
        pthread_barrier_wait(&r->barrier);
        for (unsigned n = 0; n < 50; n++) {
            uint64_t *p = (uint64_t *)(void *)tlb_fast(f->cpu.tlb->wr, 0x6000, 8);

            if (!p) { /* as the slow path does: announced or not, then the store */
                unsigned before = f->written;

                p = mem_slow(&f->cpu, 0x6000, 8, ACCESS_WRITE);
                if (f->written != before)
                    continue;
            }
            /* unannounced: this page is not watched, or is only just becoming so */
            __atomic_store_n(p, i, __ATOMIC_SEQ_CST);
        }
        pthread_barrier_wait(&r->barrier);
        /* the page is watched now for certain: no fast entry may be left */
        if (tlb_fast(f->cpu.tlb->wr, 0x6000, 8))
            r->bad++;
        pthread_barrier_wait(&r->barrier);
    }
    return NULL;
}

START_TEST(no_fast_entry_survives_protection)
{
    Race r = {.k = fake_new(2), .rounds = 2000};
    pthread_t thread;

    pthread_barrier_init(&r.barrier, NULL, 2);
    pthread_create(&thread, NULL, race_writer, &r);
    for (unsigned i = 0; i < r.rounds; i++) {
        tlb_unprotect_page(&r.k->m, r.k->ram.ram_at + 6);
        pthread_barrier_wait(&r.barrier);
        for (volatile unsigned spin = 0; spin < i % 300; spin++)
            ;
        tlb_protect_page(&r.k->m, r.k->ram.ram_at + 6);
        pthread_barrier_wait(&r.barrier);
        pthread_barrier_wait(&r.barrier);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(r.bad, 0);
    pthread_barrier_destroy(&r.barrier);
    fake_free(r.k);
}
END_TEST

UNIT_MAIN("tlb", loads_and_stores_of_all_sizes_and_alignments_reach_ram,
          a_walk_is_made_once_for_each_page_and_right, faults_tell_address_access_and_mode,
          blocks_of_bytes_cross_pages, rom_is_read_directly_and_not_written,
          devices_are_called_and_plain_stores_do_not_read_them,
          slow_operands_over_two_pages_are_written_back, spaces_are_kept_apart_and_survive_switches,
          global_pages_survive_a_nonglobal_flush,
          flushing_one_page_of_a_large_one_flushes_all_of_it,
          a_changed_memory_map_is_seen_after_a_full_flush,
          random_operations_agree_with_the_page_tables, stores_to_watched_pages_are_announced,
          a_page_written_through_many_addresses_can_be_watched, code_pages_come_with_their_number,
          physical_accesses_reach_ram_only, addresses_at_both_ends_do_not_match_empty_entries,
          no_fast_entry_survives_protection)
