/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment registers, modes derived from them, table registers, MSRs and control registers. */
#include "tests/unit/x86_unit.h"

START_TEST(reset_state_is_that_of_the_manual)
{
    Unit *u = unit_new("max");
    X86Cpu *x = u->x;

    ck_assert_uint_eq(x86_arch_64.pc_to_linear(u->c), 0xfffffff0);
    ck_assert_uint_eq(x->cr0, 0x60000010);
    ck_assert_uint_eq(x86_flags(x), 2);
    ck_assert_uint_eq(x->dr[6], 0xffff0ff0);
    ck_assert_uint_eq(x->dr[7], 0x400);
    ck_assert_uint_eq(x->seg[SEG_CS].sel, 0xf000);
    ck_assert_uint_eq(x->idt.limit, 0xffff);
    ck_assert_uint_ne(u->c->r[R_DX], 0);
    ck_assert_uint_eq(u->c->mode & (MODE_SIZE | MODE_PE | MODE_CPL | MODE_FLAT), MODE_16);
    ck_assert(u->c->mode & MODE_IOPL);
    unit_free(u);
}
END_TEST

START_TEST(flat_segments_are_recognised)
{
    Unit *u = unit_new("max");
    X86Cpu *x = u->x;
    const uint64_t gdt[] = {0, SEG_CODE32, SEG_DATA32, 0x00409300000fffffull,
                            0x00cf93000010ffffull};

    memcpy(u->ram.hva + UNIT_GDT, gdt, sizeof(gdt));
    x->gdt.base = UNIT_GDT;
    x->gdt.limit = sizeof(gdt) - 1;
    ck_assert_int_eq(RAISES(u, hlp_write_cr(u->c, 0x60000011, 0, 0)), -1);
    ck_assert_int_eq(RAISES(u, hlp_far_jmp(u->c, 8, 0x1000, 4)), -1);
    ck_assert_uint_eq(u->c->mode & (MODE_SIZE | MODE_PE), MODE_32 | MODE_PE);
    ck_assert(u->c->mode & MODE_FLAT_CS);
    for (volatile unsigned s = SEG_ES; s <= SEG_GS; s++)
        if (s != SEG_CS)
            ck_assert_int_eq(RAISES(u, hlp_mov_seg(u->c, 0x10, 0, s)), -1);
    ck_assert_uint_eq(u->c->mode & (MODE_FLAT | MODE_FLAT_FSGS | MODE_SS32),
                      MODE_FLAT | MODE_FLAT_FSGS | MODE_SS32);
    ck_assert_int_eq(RAISES(u, hlp_mov_seg(u->c, 0x20, 0, SEG_GS)),
                     -1); /* other base, same limit */
    ck_assert_uint_eq(u->c->mode & MODE_FLAT_FSGS, MODE_FLAT_FSGS);
    ck_assert_int_eq(RAISES(u, hlp_mov_seg(u->c, 0, 0, SEG_GS)), -1);
    ck_assert_uint_eq(u->c->mode & MODE_FLAT_FSGS, MODE_FLAT_FS);
    ck_assert_int_eq(RAISES(u, hlp_mov_seg(u->c, 0x18, 0, SEG_DS)), -1);
    ck_assert(!(u->c->mode & MODE_FLAT));
    ck_assert_int_eq(RAISES(u, hlp_mov_seg(u->c, 0x28, 0, SEG_DS)), EX_GP);
    ck_assert_uint_eq(u->c->exc.error, 0x28);
    unit_free(u);
}
END_TEST

START_TEST(smap_has_its_own_rights_mode)
{
    Unit *u = unit_new("max");

    unit_long_mode(u);
    ck_assert_uint_eq(u->c->mmu_mode, 0);
    if (RAISES(u, hlp_write_cr(u->c, u->x->cr4 | CR4_SMAP, 0, 4)) == -1) {
        ck_assert_uint_eq(u->c->mmu_mode, 2);
        hlp_clac(u->c, 0, 0, 1);
        ck_assert_uint_eq(u->c->mmu_mode, 0);
        hlp_clac(u->c, 0, 0, 0);
        ck_assert_uint_eq(u->c->mmu_mode, 2);
        unit_user(u);
        ck_assert_uint_eq(u->c->mmu_mode, 1);
    }
    unit_free(u);
}
END_TEST

static int wrmsr(Unit *u, uint32_t n, uint64_t v)
{
    u->c->r[R_CX] = n;
    u->c->r[R_AX] = (uint32_t)v;
    u->c->r[R_DX] = v >> 32;
    return RAISES(u, hlp_wrmsr(u->c, 0, 0, 0));
}

static uint64_t rdmsr(Unit *u, uint32_t n)
{
    u->c->r[R_CX] = n;
    return RAISES(u, hlp_rdmsr(u->c, 0, 0, 0)) == -1 ? u->c->r[R_AX] | u->c->r[R_DX] << 32 : 0xbad;
}

START_TEST(msrs_keep_what_they_may)
{
    Unit *u = unit_new("max");

    unit_long_mode(u);
    ck_assert_int_eq(wrmsr(u, 0xc0000082, 0xffffffff81000000), -1);
    ck_assert_uint_eq(rdmsr(u, 0xc0000082), 0xffffffff81000000);
    ck_assert_int_eq(wrmsr(u, 0xc0000082, 0x800000000000), EX_GP);
    ck_assert_int_eq(wrmsr(u, 0xc0000101, 0x7fff12345678), -1);
    ck_assert_uint_eq(u->c->r[V_SEG(SEG_GS)], 0x7fff12345678);
    ck_assert_int_eq(wrmsr(u, 0x277, 0x0007010600070106), -1);
    ck_assert_int_eq(wrmsr(u, 0x277, 0x0007010600070206), EX_GP);
    ck_assert_int_eq(wrmsr(u, 0x250, 0x0606060606060606), -1);
    ck_assert_uint_eq(rdmsr(u, 0x250), 0x0606060606060606);
    ck_assert_int_eq(wrmsr(u, 0x26f, 2), EX_GP);
    ck_assert_int_eq(wrmsr(u, 0xc0000080, 0), EX_GP); /* LME while paging */
    ck_assert_int_eq(wrmsr(u, 0x12345678, 0), EX_GP);
    ck_assert_int_eq(wrmsr(u, 0xc0010015, 0x123), -1);
    ck_assert_uint_eq(rdmsr(u, 0xc0010015), 0);
    unit_free(u);
}
END_TEST

START_TEST(tsc_and_its_adjustment_move_together)
{
    Unit *u = unit_new("max");

    ck_assert_int_eq(wrmsr(u, 0x10, 1000000), -1);
    ck_assert_uint_eq(rdmsr(u, 0x10), 1000000);
    ck_assert_uint_eq(rdmsr(u, 0x3b), 1000000);
    ck_assert_int_eq(wrmsr(u, 0x3b, 0), -1);
    ck_assert_uint_eq(rdmsr(u, 0x10), 0);
    unit_free(u);
}
END_TEST

START_TEST(state_survives_saving)
{
    Unit *u = unit_new("max"), *v = unit_new("max");
    ByteBuf b = {0};
    Error err = {0};

    unit_long_mode(u);
    unit_user(u);
    u->c->r[11] = 0x1122334455667788;
    u->c->v[3][17] = 0x42;
    x86_arch_64.pre_save(u->c);
    reflect_save(x86_arch_64.state, u->c, &b);
    ck_assert_msg(reflect_load(x86_arch_64.state, v->c, &b, &err), "%s", err.msg);
    ck_assert(x86_arch_64.loaded(v->c, &err));
    ck_assert_uint_eq(v->c->r[11], 0x1122334455667788);
    ck_assert_uint_eq(v->c->v[3][17], 0x42);
    ck_assert_uint_eq(v->c->mode, u->c->mode);
    ck_assert_uint_eq(v->c->mmu_mode, 1);
    ck_assert_uint_eq(v->x->seg[SEG_TR].base, UNIT_TSS);
    bytebuf_free(&b);
    unit_free(u);
    unit_free(v);
}
END_TEST

UNIT_MAIN("x86 segment", reset_state_is_that_of_the_manual, flat_segments_are_recognised,
          smap_has_its_own_rights_mode, msrs_keep_what_they_may,
          tsc_and_its_adjustment_move_together, state_survives_saving)
