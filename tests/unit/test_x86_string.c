/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions against a byte-wise model: sizes, directions, overlaps, address sizes,
 * faults, requests. */
#include "tests/unit/x86_unit.h"

enum { AT = 0x100000, SPAN = 0x4000 };

static uint64_t word(unsigned size, unsigned asize, unsigned rep)
{
    return size | asize << 8 | rep << 16 | (uint64_t)SEG_DS << 24;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void model_movs(uint8_t *p, uint32_t from, uint32_t to, unsigned n, unsigned size, bool down)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t v = 0;

        memcpy(&v, p + from, size);
        memcpy(p + to, &v, size);
        from = down ? from - size : from + size;
        to = down ? to - size : to + size;
    }
}

START_TEST(movs_is_element_by_element)
{
    Unit *u = unit_new("max");
    uint8_t *ram, *want = xalloc(SPAN);
    uint32_t seed = 1;

    unit_long_mode(u);
    ram = u->ram.hva + AT;
    for (unsigned round = 0; round < 3000; round++) {
        unsigned size = 1u << next(&seed) % 4, n = next(&seed) % (round % 2 ? 20 : 600);
        bool down = next(&seed) & 1;
        uint32_t from = 0x1800 + next(&seed) % 64,
                 to = (round % 3 ? from + next(&seed) % 40 - 20 : 0x1800 + next(&seed) % 0x800);

        if (n * size > 0x1000)
            n = 0x1000 / size;
        for (unsigned i = 0; i < SPAN; i++)
            want[i] = ram[i] = (uint8_t)next(&seed);
        model_movs(want, from, to, n, size, down);
        hlp_cld(u->c, 0, 0, down);
        u->c->r[R_SI] = AT + from;
        u->c->r[R_DI] = AT + to;
        u->c->r[R_CX] = n;
        ck_assert_uint_eq(hlp_movs(u->c, 0, 0, word(size, 8, 0xf3)), 0);
        ck_assert_msg(memcmp(ram, want, SPAN) == 0,
                      "round %u: size %u n %u down %d from %#x to %#x", round, size, n, down, from,
                      to);
        ck_assert_uint_eq(u->c->r[R_CX], 0);
        ck_assert_uint_eq(u->c->r[R_DI],
                          AT + to + (uint64_t)(int64_t)(down ? -(int)(n * size) : (int)(n * size)));
    }
    xfree(want);
    unit_free(u);
}
END_TEST

START_TEST(stos_fills_exactly)
{
    Unit *u = unit_new("max");
    uint8_t *ram, *want = xalloc(SPAN);
    uint32_t seed = 7;

    unit_long_mode(u);
    ram = u->ram.hva + AT;
    for (unsigned round = 0; round < 2000; round++) {
        unsigned size = 1u << next(&seed) % 4, n = next(&seed) % 300;
        bool down = next(&seed) & 1;
        uint32_t to = 0x1800 + next(&seed) % 0x900;

        memset(ram, 0xee, SPAN);
        memset(want, 0xee, SPAN);
        u->c->r[R_AX] = (uint64_t)next(&seed) << 40 | (uint64_t)next(&seed) << 20 | next(&seed);
        for (unsigned i = 0; i < n; i++)
            memcpy(want + to + (down ? -(int)(i * size) : (int)(i * size)), &u->c->r[R_AX], size);
        hlp_cld(u->c, 0, 0, down);
        u->c->r[R_DI] = AT + to;
        u->c->r[R_CX] = n;
        ck_assert_uint_eq(hlp_stos(u->c, 0, 0, word(size, 8, 0xf3)), 0);
        ck_assert_msg(memcmp(ram, want, SPAN) == 0, "round %u: size %u n %u down %d to %#x", round,
                      size, n, down, to);
    }
    xfree(want);
    unit_free(u);
}
END_TEST

START_TEST(a_request_ends_the_helper_between_pages)
{
    Unit *u = unit_new("max");

    unit_long_mode(u);
    u->c->r[R_DI] = AT + 0x800;
    u->c->r[R_CX] = 0x2000;
    atomic_store(&u->c->request, REQ_IRQ);
    ck_assert_int_eq(RAISES(u, u->k = hlp_stos(u->c, 0, 0, word(1, 8, 0xf3))), -1);
    ck_assert_uint_eq(u->k, 1);
    ck_assert_uint_eq(u->c->r[R_DI], AT + 0x1000);
    ck_assert_uint_eq(u->c->r[R_CX], 0x1800);
    unit_free(u);
}
END_TEST

START_TEST(real_mode_offsets_wrap_and_straddling_the_limit_faults)
{
    Unit *u = unit_new("max");

    u->c->r[R_DI] = 0xfffe;
    u->c->r[R_CX] = 4;
    u->c->r[R_AX] = 0x55;
    ck_assert_int_eq(RAISES(u, hlp_stos(u->c, 0, 0, word(1, 2, 0xf3))), -1);
    ck_assert_uint_eq(u->c->r[R_DI], 2);
    ck_assert_uint_eq(unit_get(u, 0xfffe, 2), 0x5555);
    ck_assert_uint_eq(unit_get(u, 0, 2), 0x5555);
    ck_assert_uint_eq(unit_get(u, 0x10000, 1), 0);
    u->c->r[R_DI] = 0xfffd;
    u->c->r[R_CX] = 4;
    ck_assert_int_eq(RAISES(u, hlp_stos(u->c, 0, 0, word(2, 2, 0xf3))), EX_GP);
    ck_assert_uint_eq(u->c->r[R_DI], 0xffff);
    ck_assert_uint_eq(u->c->r[R_CX], 3);
    unit_free(u);
}
END_TEST

UNIT_MAIN("x86 string", movs_is_element_by_element, stos_fills_exactly,
          a_request_ends_the_helper_between_pages,
          real_mode_offsets_wrap_and_straddling_the_limit_faults)
