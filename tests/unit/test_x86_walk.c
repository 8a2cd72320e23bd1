/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables: rights, error codes, accessed and dirty bits, sizes, and that the soft TLB
 * agrees. */
#include "tests/unit/x86_unit.h"

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };
enum { VA = 0x40000000, PA = 0x300000 };

typedef struct Case {
    uint64_t bits;           /* of the leaf */
    uint64_t cr0, cr4, efer; /* set beside the usual */
    unsigned mode;
    Access kind;
    int error; /* -1: allowed */
} Case;

static const Case cases[] = {
    {0, 0, 0, 0, 0, ACCESS_READ, 0},
    {0, 0, 0, 0, 1, ACCESS_WRITE, PF_W | PF_U},
    {0, 0, 0, 0, 0, ACCESS_EXEC, PF_I},
    {PG_P, 0, 0, 0, 0, ACCESS_READ, -1},
    {PG_P, 0, 0, 0, 1, ACCESS_READ, PF_P | PF_U},
    {PG_P, 0, 0, 0, 0, ACCESS_WRITE, -1}, /* WP clear */
    {PG_P, CR0_WP, 0, 0, 0, ACCESS_WRITE, PF_P | PF_W},
    {PG_P | PG_U, 0, 0, 0, 1, ACCESS_WRITE, PF_P | PF_W | PF_U},
    {PG_P | PG_U | PG_W, CR0_WP, 0, 0, 1, ACCESS_WRITE, -1},
    {PG_P | PG_NX, 0, 0, 0, 0, ACCESS_EXEC, PF_P | PF_I},
    {PG_P | PG_NX, 0, 0, 0, 0, ACCESS_READ, -1},
    {PG_P | PG_U, 0, CR4_SMEP, 0, 0, ACCESS_EXEC, PF_P | PF_I},
    {PG_P | PG_U, 0, 0, 0, 0, ACCESS_EXEC, -1},
    {PG_P | PG_U, 0, CR4_SMAP, 0, 2, ACCESS_READ, PF_P},
    {PG_P | PG_U, 0, CR4_SMAP, 0, 0, ACCESS_READ, -1}, /* EFLAGS.AC */
    {PG_P | PG_U | PG_W, 0, CR4_SMAP, 0, 2, ACCESS_WRITE, PF_P | PF_W},
    {PG_P | 1ull << 50, 0, 0, 0, 0, ACCESS_READ, PF_P | PF_RSVD},
    {PG_P | PG_U | PG_W | 1ull << 59, 0, CR4_PKE, 0, 1, ACCESS_READ,
     PF_P | PF_U | PF_PK},                                                /* key 1: no access */
    {PG_P | PG_U | PG_W | 2ull << 59, 0, CR4_PKE, 0, 1, ACCESS_READ, -1}, /* key 2: read only */
    {PG_P | PG_U | PG_W | 2ull << 59, 0, CR4_PKE, 0, 1, ACCESS_WRITE, PF_P | PF_W | PF_U | PF_PK},
    {PG_P | PG_U | PG_W | 2ull << 59, 0, CR4_PKE, 0, 0, ACCESS_WRITE,
     -1}, /* supervisor, WP clear */
    {PG_P | PG_U | PG_W | 2ull << 59, CR0_WP, CR4_PKE, 0, 0, ACCESS_WRITE, PF_P | PF_W | PF_PK},
    {PG_P | PG_U | PG_W | 1ull << 59, 0, CR4_PKE, 0, 1, ACCESS_EXEC, -1},
};

START_TEST(every_right_is_checked_and_every_error_bit_is_right)
{
    Unit *u = unit_new("max");
    Walk w;

    unit_long_mode(u);
    u->x->pkru = 1 << 2 | 2 << 4;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        const Case *k = &cases[i];
        bool ok;

        u->x->cr0 = CR0_PE | CR0_PG | k->cr0;
        u->x->cr4 = CR4_PAE | CR4_PGE | k->cr4;
        unit_map(u, VA, PA, k->bits);
        w = (Walk){0};
        ok = x86_arch_64.walk(u->c, VA + 0x123, k->kind, k->mode, &w);
        ck_assert_msg(ok == (k->error < 0), "case %u: ok %d", i, ok);
        if (!ok)
            ck_assert_msg(w.error == (uint64_t)k->error, "case %u: error %#x, not %#x", i,
                          (unsigned)w.error, (unsigned)k->error);
        else
            ck_assert_uint_eq(w.pa, PA + 0x123);
    }
    unit_free(u);
}
END_TEST

START_TEST(sets_accessed_and_dirty_bits_when_due)
{
    Unit *u = unit_new("max");
    Walk w = {0};
    Gpa pte;

    unit_long_mode(u);
    unit_map(u, VA, PA, PG_P | PG_W);
    pte = unit_pte(u, VA, 1);
    ck_assert(x86_arch_64.walk(u->c, VA, ACCESS_READ, 0, &w));
    ck_assert(!w.write && w.read);
    ck_assert_uint_eq(unit_get(u, pte, 8) & (PG_A | PG_D), PG_A);
    ck_assert_uint_eq(unit_get(u, unit_pte(u, VA, 2), 8) & PG_A, PG_A);
    ck_assert(x86_arch_64.walk(u->c, VA, ACCESS_WRITE, 0, &w));
    ck_assert(w.write);
    ck_assert_uint_eq(unit_get(u, pte, 8) & (PG_A | PG_D), PG_A | PG_D);
    unit_free(u);
}
END_TEST

START_TEST(large_pages_cover_2_mib_and_1_gib)
{
    Unit *u = unit_new("max");
    Walk w = {0};

    unit_long_mode(u);
    unit_put(u, unit_pte(u, 0x80000000, 2), 8, 0x200000 | PG_P | PG_W | PG_PS | PG_G);
    ck_assert(x86_arch_64.walk(u->c, 0x80012345, ACCESS_READ, 0, &w));
    ck_assert_uint_eq(w.pa, 0x212345);
    ck_assert_uint_eq(w.size, 2 * MIB);
    ck_assert(w.global);
    unit_put(u, unit_pte(u, 0x8000000000, 3), 8, PG_P | PG_W | PG_PS);
    ck_assert(x86_arch_64.walk(u->c, 0x8000000000 + 0x12345678, ACCESS_READ, 0, &w));
    ck_assert_uint_eq(w.pa, 0x12345678);
    ck_assert_uint_eq(w.size, GIB);
    unit_put(u, unit_pte(u, 0x80000000, 2), 8, 0x202000 | PG_P | PG_W | PG_PS);
    ck_assert(!x86_arch_64.walk(u->c, 0x80012345, ACCESS_READ, 0, &w));
    ck_assert_uint_eq(w.error, PF_P | PF_RSVD);
    unit_free(u);
}
END_TEST

START_TEST(two_level_tables_with_4_mib_pages)
{
    Unit *u = unit_new("max");
    X86Cpu *x = u->x;
    Walk w = {0};

    x->cr3 = 0x1000;
    x->cr4 = CR4_PSE;
    x->cr0 = CR0_PE | CR0_PG | CR0_ET;
    x86_update_all(x);
    unit_put(u, 0x1000, 4, 0x2000 | PG_P | PG_W | PG_U);
    unit_put(u, 0x2000 + 5 * 4, 4, 0x7000 | PG_P | PG_U);
    unit_put(u, 0x1000 + 4, 4, 0x400000 | 3 << 13 | PG_P | PG_W | PG_PS);
    ck_assert(x86_arch_64.walk(u->c, 0x5010, ACCESS_READ, 1, &w));
    ck_assert_uint_eq(w.pa, 0x7010);
    ck_assert(!x86_arch_64.walk(u->c, 0x5010, ACCESS_WRITE, 1, &w));
    ck_assert_uint_eq(w.error, PF_P | PF_W | PF_U);
    ck_assert(x86_arch_64.walk(u->c, 0x412345, ACCESS_READ, 0, &w));
    ck_assert_uint_eq(w.pa, 0x300000000 + 0x412345); /* PSE-36 */
    ck_assert(!x86_arch_64.walk(u->c, 0x800000, ACCESS_EXEC, 0, &w));
    ck_assert_uint_eq(w.error, 0); /* no I bit without NX */
    unit_free(u);
}
END_TEST

START_TEST(non_canonical_addresses_are_general_protection_faults)
{
    Unit *u = unit_new("max");

    unit_long_mode(u);
    ck_assert_int_eq(RAISES(u, mem_load(u->c, 0x800000000000, 8, 0)), EX_GP);
    ck_assert_uint_eq(u->c->exc.error, 0);
    ck_assert_int_eq(RAISES(u, mem_load(u->c, 0xffff800000000000, 8, 0)), EX_PF);
    ck_assert_uint_eq(u->c->exc.addr, 0xffff800000000000);
    unit_free(u);
}
END_TEST

START_TEST(a20_gate_wraps_at_one_mebibyte)
{
    Unit *u = unit_new("max");

    unit_put(u, 0x500, 4, 0x12345678);
    x86_set_a20(u->c, false);
    tlb_flush_all(u->c);
    ck_assert_uint_eq(mem_load(u->c, 0x100500, 4, 0), 0x12345678);
    x86_set_a20(u->c, true);
    tlb_flush_all(u->c);
    ck_assert_uint_eq(mem_load(u->c, 0x100500, 4, 0), 0);
    unit_free(u);
}
END_TEST

UNIT_MAIN("x86 walk", every_right_is_checked_and_every_error_bit_is_right,
          sets_accessed_and_dirty_bits_when_due, large_pages_cover_2_mib_and_1_gib,
          two_level_tables_with_4_mib_pages, non_canonical_addresses_are_general_protection_faults,
          a20_gate_wraps_at_one_mebibyte)
