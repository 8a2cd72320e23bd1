/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivery of exceptions and interrupts, IRET, double and triple faults, system calls. */
#include "tests/unit/x86_unit.h"

enum { CODE = 0x90000, STACK = 0xa0000, USER_CODE = 0xb0000, USER_STACK = 0xc0000, IST = 0xd0000 };

/* As a run loop does: deliver @e and whatever comes of it. */
static int deliver(Unit *u, Exception e)
{
    volatile int rounds = 0;
    int why = setjmp(u->jb);

    if (why == UNWIND_EXCEPTION)
        e = u->c->exc;
    else if (why)
        return -why;
    if (rounds++ < 5)
        x86_arch_64.take_exception(u->c, &e);
    return rounds;
}

static Unit *unit_long(void)
{
    Unit *u = unit_new("max");

    unit_long_mode(u);
    unit_put(u, UNIT_TSS + 4, 8, STACK);
    unit_put(u, UNIT_TSS + 0x24, 8, IST);
    unit_gate64(u, EX_PF, CODE, 14, 0, 0);
    unit_gate64(u, EX_GP, CODE + 0x100, 15, 0, 0);
    unit_gate64(u, EX_DF, CODE + 0x200, 14, 0, 1);
    unit_gate64(u, EX_BP, CODE + 0x300, 14, 3, 0);
    unit_gate64(u, 0x80, CODE + 0x400, 15, 3, 0);
    unit_gate64(u, 0x30, CODE + 0x500, 14, 0, 0);
    X86_PC(u->c) = USER_CODE;
    u->c->r[R_SP] = USER_STACK + 4;
    x86_set_flags(u->x, EFL_IF | 0x41, ~0ull);
    return u;
}

static void check_user_frame(Unit *u, unsigned error_size, uint64_t error, uint64_t pc)
{
    uint64_t sp = u->c->r[R_SP];

    ck_assert_uint_eq(sp, STACK - 40 - error_size);
    if (error_size)
        ck_assert_uint_eq(unit_get(u, sp, 8), error);
    sp += error_size;
    ck_assert_uint_eq(unit_get(u, sp, 8), pc);
    ck_assert_uint_eq(unit_get(u, sp + 8, 8), UNIT_USER_CS);
    ck_assert_uint_eq(unit_get(u, sp + 24, 8), USER_STACK + 4);
    ck_assert_uint_eq(unit_get(u, sp + 32, 8), UNIT_USER_DS);
    ck_assert_uint_eq(u->x->cpl, 0);
    ck_assert_uint_eq(u->x->seg[SEG_SS].sel, 0);
    ck_assert_uint_eq(u->x->seg[SEG_CS].sel, UNIT_CS);
    ck_assert_uint_eq(u->c->mmu_mode, 0);
    ck_assert_uint_eq(u->c->mode & (MODE_CPL | MODE_SIZE), MODE_64);
}

START_TEST(user_page_fault_switches_stacks_and_iret_comes_back)
{
    for (volatile int warm = 0; warm < 2; warm++) { /* cold: slow path; warm: fast path */
        Unit *u = unit_long();

        for (volatile int i = 0; i <= warm; i++) {
            unit_user(u);
            ck_assert_int_eq(
                deliver(
                    u, (Exception){.vector = EX_PF, .has_error = true, .error = 7, .addr = 0x1234}),
                1);
            check_user_frame(u, 8, 7, USER_CODE);
            ck_assert_uint_eq(unit_get(u, u->c->r[R_SP] + 24, 8), EFL_IF | 0x43 | EFL_RF);
            ck_assert_uint_eq(u->x->cr2, 0x1234);
            ck_assert_uint_eq(x86_flags(u->x), 0x43);
            ck_assert_uint_eq(X86_PC(u->c), CODE);
            u->c->r[R_SP] += 8;
            u->c->cc = x86_cc_from_flags(0);
            ck_assert_int_eq(RAISES(u, hlp_iret(u->c, 0, 0, 8)), -1);
            ck_assert_uint_eq(X86_PC(u->c), USER_CODE);
            ck_assert_uint_eq(u->c->r[R_SP], USER_STACK + 4);
            ck_assert_uint_eq(u->x->cpl, 3);
            ck_assert_uint_eq(u->c->mmu_mode, 1);
            ck_assert_uint_eq(x86_flags(u->x), EFL_IF | 0x43);
        }
        unit_free(u);
    }
}
END_TEST

START_TEST(kernel_fault_aligns_the_stack_and_keeps_ss)
{
    Unit *u = unit_long();

    u->c->r[R_SP] = STACK - 4;
    for (int i = 0; i < 2; i++) {
        u->c->r[R_SP] = STACK - 4;
        X86_PC(u->c) = CODE;
        ck_assert_int_eq(deliver(u, (Exception){.vector = EX_GP, .has_error = true, .error = 0x18}),
                         1);
        ck_assert_uint_eq(u->c->r[R_SP], STACK - 16 - 48);
        ck_assert_uint_eq(unit_get(u, u->c->r[R_SP] + 40, 8), UNIT_DS);
        ck_assert_uint_eq(u->x->seg[SEG_SS].sel, UNIT_DS);
        ck_assert_uint_eq(x86_flags(u->x), EFL_IF | 0x43); /* trap gate */
    }
    unit_free(u);
}
END_TEST

START_TEST(int_n_respects_the_gates_level)
{
    Unit *u = unit_long();

    unit_user(u);
    ck_assert_int_eq(RAISES(u, hlp_int(u->c, 0, 0, EX_PF | 2 << 8)), EX_GP);
    ck_assert_uint_eq(u->c->exc.error, EX_PF * 8 + 2);
    ck_assert_int_eq(u->x->cpl, 3);
    ck_assert_int_eq(RAISES(u, hlp_int(u->c, 0, 0, 0x80 | 2 << 8)), -1);
    check_user_frame(u, 0, 0, USER_CODE + 2);
    ck_assert_uint_eq(X86_PC(u->c), CODE + 0x400);
    unit_free(u);
}
END_TEST

START_TEST(bad_stack_becomes_a_double_fault_on_its_ist)
{
    Unit *u = unit_long();

    unit_put(u, UNIT_TSS + 4, 8, 0x700000000000); /* not mapped */
    unit_user(u);
    ck_assert_int_eq(
        deliver(u, (Exception){.vector = EX_PF, .has_error = true, .error = 4, .addr = 0x1000}), 2);
    ck_assert_uint_eq(X86_PC(u->c), CODE + 0x200);
    ck_assert_uint_eq(u->c->r[R_SP], IST - 48);
    ck_assert_uint_eq(u->x->cr2, 0x700000000000 - 8);
    ck_assert_uint_eq(unit_get(u, IST - 40, 8), USER_CODE);
    unit_free(u);
}
END_TEST

START_TEST(no_double_fault_handler_is_a_shutdown)
{
    Unit *u = unit_long();

    u->x->idt.limit = 0;
    ck_assert_int_eq(deliver(u, (Exception){.vector = EX_GP, .has_error = true}), -UNWIND_HALT);
    ck_assert(u->c->halted);
    ck_assert(!x86_arch_64.irq_pending(u->c));
    unit_free(u);
}
END_TEST

START_TEST(page_fault_during_general_protection_is_not_double)
{
    Unit *u = unit_long();

    u->x->idt.base = UNIT_IDT + 0x800; /* #GP's gate is now all zero: not present type */
    unit_gate64(u, EX_PF + 0x80, CODE + 0x600, 14, 0, 0);
    unit_gate64(u, EX_DF + 0x80, CODE + 0x200, 14, 0, 1);
    ck_assert_int_eq(deliver(u, (Exception){.vector = EX_UD}),
                     3); /* #UD -> #GP -> #DF: benign first, then contributory twice */
    ck_assert_uint_eq(X86_PC(u->c), CODE + 0x200);
    unit_free(u);
}
END_TEST

START_TEST(real_mode_pushes_six_bytes)
{
    Unit *u = unit_new("max");

    unit_put(u, 0x21 * 4, 4, 0x12340056);
    u->c->r[R_SP] = 0x1000;
    X86_PC(u->c) = 0x77;
    x86_set_flags(u->x, EFL_IF | 1, EFL_IF | 1);
    ck_assert_int_eq(RAISES(u, hlp_int(u->c, 0, 0, 0x21 | 2 << 8)), -1);
    ck_assert_uint_eq(u->c->r[R_SP], 0xffa);
    ck_assert_uint_eq(unit_get(u, 0xffa, 2), 0x79);
    ck_assert_uint_eq(unit_get(u, 0xffc, 2), 0xf000);
    ck_assert_uint_eq(unit_get(u, 0xffe, 2), EFL_IF | 3);
    ck_assert_uint_eq(X86_PC(u->c), 0x56);
    ck_assert_uint_eq(x86_seg_base(u->x, SEG_CS), 0x12340);
    ck_assert_int_eq(RAISES(u, hlp_iret(u->c, 0, 0, 2)), -1);
    ck_assert_uint_eq(X86_PC(u->c), 0x79);
    ck_assert_uint_eq(x86_flags(u->x), EFL_IF | 3);
    unit_free(u);
}
END_TEST

/* A local APIC that has one vector to give. */
static int fake_vector;
static int fake_pending(void *a)
{
    (void)a;
    return fake_vector;
}
static int fake_take(void *a)
{
    int v = fake_vector;
    (void)a;
    fake_vector = -1;
    return v;
}
static const X86ApicOps fake_ops = {.pending = fake_pending, .acknowledge = fake_take};

START_TEST(interrupt_waits_for_if)
{
    Unit *u = unit_long();

    fake_vector = 0x30;
    u->x->apic = u;
    u->x->apic_ops = &fake_ops;
    x86_set_flags(u->x, 0, EFL_IF);
    atomic_store(&u->c->request, REQ_IRQ);
    x86_arch_64.serve(u->c);
    ck_assert_uint_eq(atomic_load(&u->c->request), 0);
    ck_assert(!x86_arch_64.irq_pending(u->c));
    hlp_sti(u->c, 0, 0, 0);
    ck_assert_uint_eq(atomic_load(&u->c->request), REQ_IRQ);
    x86_arch_64.serve(u->c); /* in the shadow of STI */
    ck_assert_uint_eq(X86_PC(u->c), USER_CODE);
    hlp_unshadow(u->c, 0, 0, 0);
    ck_assert_uint_eq(atomic_load(&u->c->request), REQ_IRQ);
    ck_assert(x86_arch_64.irq_pending(u->c));
    x86_arch_64.serve(u->c);
    ck_assert_uint_eq(X86_PC(u->c), CODE + 0x500);
    ck_assert_uint_eq(unit_get(u, u->c->r[R_SP] + 16, 8) & EFL_RF, 0);
    ck_assert_int_eq(fake_vector, -1);
    unit_free(u);
}
END_TEST

START_TEST(nmi_is_blocked_until_iret)
{
    Unit *u = unit_long();

    unit_gate64(u, EX_NMI, CODE + 0x700, 14, 0, 0);
    atomic_store(&u->c->request, REQ_NMI);
    x86_arch_64.serve(u->c);
    ck_assert_uint_eq(X86_PC(u->c), CODE + 0x700);
    atomic_store(&u->c->request, REQ_NMI);
    x86_arch_64.serve(u->c);
    ck_assert_uint_eq(atomic_load(&u->c->request), 0);
    ck_assert_int_eq(RAISES(u, hlp_iret(u->c, 0, 0, 8)), -1);
    ck_assert_uint_eq(atomic_load(&u->c->request), REQ_NMI);
    unit_free(u);
}
END_TEST

START_TEST(init_and_sipi_start_a_second_processor)
{
    Unit *u = unit_new("max");

    u->c->index = 1;
    x86_arch_64.reset(u->c);
    ck_assert(u->c->halted && u->x->wait_sipi);
    ck_assert(!x86_arch_64.irq_pending(u->c));
    u->x->sipi_vector = 0x9a;
    atomic_store(&u->c->request, REQ_SIPI);
    ck_assert(x86_arch_64.irq_pending(u->c));
    u->c->halted = false;
    x86_arch_64.serve(u->c);
    ck_assert_uint_eq(x86_arch_64.pc_to_linear(u->c), 0x9a000);
    ck_assert(!u->c->halted);
    unit_free(u);
}
END_TEST

START_TEST(syscall_and_sysret_go_there_and_back)
{
    Unit *u = unit_long();

    u->x->star = (uint64_t)(UNIT_USER32) << 48 | (uint64_t)UNIT_CS << 32;
    u->x->lstar = CODE;
    u->x->sfmask = EFL_IF | EFL_TF | 1;
    unit_user(u);
    ck_assert_int_eq(RAISES(u, hlp_syscall(u->c, 0, 0, 2)), -1);
    ck_assert_uint_eq(u->c->r[R_CX], USER_CODE + 2);
    ck_assert_uint_eq(u->c->r[11], EFL_IF | 0x43);
    ck_assert_uint_eq(x86_flags(u->x), 0x42);
    ck_assert_uint_eq(X86_PC(u->c), CODE);
    ck_assert_uint_eq(u->x->seg[SEG_SS].sel, UNIT_DS);
    ck_assert_uint_eq(u->c->mode & (MODE_CPL | MODE_SIZE), MODE_64);
    ck_assert_int_eq(RAISES(u, hlp_sysret(u->c, 0, 0, 8)), -1);
    ck_assert_uint_eq(X86_PC(u->c), USER_CODE + 2);
    ck_assert_uint_eq(x86_flags(u->x), EFL_IF | 0x43);
    ck_assert_uint_eq(u->x->seg[SEG_CS].sel, UNIT_USER_CS);
    ck_assert_uint_eq(u->x->seg[SEG_SS].sel, UNIT_USER_DS);
    ck_assert_uint_eq(u->c->mmu_mode, 1);
    unit_free(u);
}
END_TEST

START_TEST(single_step_traps_behind_the_next_instruction)
{
    Unit *u = unit_long();

    x86_set_flags(u->x, EFL_TF, EFL_TF); /* as POPF does */
    ck_assert(u->c->mode & MODE_STEP);
    ck_assert_int_eq(RAISES(u, hlp_step(u->c, 0, 0, USER_CODE + 1)), EX_DB);
    ck_assert_uint_eq(u->c->exc.detail & 0xffff, 1 << 14);
    ck_assert_uint_eq(X86_PC(u->c), USER_CODE + 1);
    unit_gate64(u, EX_DB, CODE, 14, 0, 0);
    ck_assert_int_eq(deliver(u, u->c->exc), 1);
    ck_assert(!(u->c->mode & MODE_STEP));
    ck_assert_uint_eq(unit_get(u, u->c->r[R_SP] + 16, 8) & (EFL_TF | EFL_RF), EFL_TF);
    unit_free(u);
}
END_TEST

UNIT_MAIN("x86 exception", user_page_fault_switches_stacks_and_iret_comes_back,
          kernel_fault_aligns_the_stack_and_keeps_ss, int_n_respects_the_gates_level,
          bad_stack_becomes_a_double_fault_on_its_ist, no_double_fault_handler_is_a_shutdown,
          page_fault_during_general_protection_is_not_double, real_mode_pushes_six_bytes,
          interrupt_waits_for_if, nmi_is_blocked_until_iret, init_and_sipi_start_a_second_processor,
          syscall_and_sysret_go_there_and_back, single_step_traps_behind_the_next_instruction)
