/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of core/machine.h and core/cpu.h, with a toy architecture and a toy board on accel null. */
#include <pthread.h>

#include "base/alloc.h"
#include "core/machine.h"
#include "tests/unit/unit.h"

/* --- an architecture with one register --- */

typedef struct ToyCpu {
    Cpu cpu;
    uint64_t acc;
    unsigned resets;
} ToyCpu;

static const Field toy_cpu_fields[] = {STATE(ToyCpu, acc)};
static STRUCT_TYPE(toy_cpu_type, ToyCpu, toy_cpu_fields);

static Cpu *toy_new(Machine *m, unsigned n, const char *model, Error *err)
{
    (void)m;
    (void)n;
    if (strcmp(model, "toy") != 0) {
        error_set(err, "unable to find CPU model '%s'", model);
        return NULL;
    }
    return xalloc_aligned(64, sizeof(ToyCpu));
}

static void toy_free(Cpu *c)
{
    xfree(c);
}

static void toy_reset(Cpu *c)
{
    ((ToyCpu *)c)->acc = 100;
    ((ToyCpu *)c)->resets++;
}

static const CpuArch toy_arch = {
    .name = "toy32",
    .state = &toy_cpu_type,
    .cpu_size = sizeof(ToyCpu),
    .new = toy_new,
    .free = toy_free,
    .reset = toy_reset,
};

__attribute__((constructor)) static void toy_register(void)
{
    static const CpuArch *slot;

    cpu_arch_register(&slot, &toy_arch);
}

/* --- a board with an option --- */

typedef struct ToyBoard {
    bool fail;
    Region ram;
    _Atomic unsigned resets;
} ToyBoard;

static const Field toy_options[] = {PROP(ToyBoard, fail, "fail", false, "fail to build")};
static STRUCT_TYPE(toy_board_type, ToyBoard, toy_options);

static bool toy_build(Machine *m, Error *err)
{
    ToyBoard *t = m->board_state;

    if (t->fail)
        return error_set(err, "as you wish");
    if (!region_ram(&t->ram, m->mem, "ram", m->cfg.ram_size, m->cfg.mem_share, err))
        return false;
    region_map(&m->mem->system_root, &t->ram, 0, 0);
    return true;
}

static void toy_board_reset(Machine *m)
{
    ((ToyBoard *)m->board_state)->resets++;
}

static void toy_board_fini(Machine *m)
{
    region_fini(&((ToyBoard *)m->board_state)->ram);
}

static Board toy_board = {
    .name = "toy",
    .alias = "toy-1.0",
    .doc = "for tests",
    .arch = "toy16,toy32",
    .default_cpu = "toy",
    .max_cpus = 4,
    .default_ram = 4 * MIB,
    .options = &toy_board_type,
    .build = toy_build,
    .reset = toy_board_reset,
    .fini = toy_board_fini,
};
BOARD_REGISTER(toy_board)

static Machine *toy_machine(MachineConfig cfg)
{
    Error err;

    cfg.arch = "toy32";
    Machine *m = machine_new(board_find("toy", "toy32"), accel_find("null"), &cfg, &err);
    ck_assert_msg(m != NULL, "%s", err.msg);
    ck_assert_msg(machine_build(m, &err), "%s", err.msg);
    return m;
}

START_TEST(boards_are_found_by_name_alias_and_arch)
{
    ck_assert_ptr_eq(board_find("toy", "toy32"), &toy_board);
    ck_assert_ptr_eq(board_find("toy-1.0", "toy16"), &toy_board);
    ck_assert_ptr_null(board_find("toy", "toy"));
    ck_assert_ptr_eq(board_find(NULL, "toy32"), &toy_board);
    ck_assert_ptr_eq(cpu_arch_find("toy32"), &toy_arch);
    ck_assert_ptr_nonnull(accel_find("qtest"));
    ck_assert_ptr_null(accel_find("warp"));
}
END_TEST

START_TEST(a_machine_is_built_and_reset_once)
{
    Machine *m = toy_machine((MachineConfig){.cpus = 3});
    ToyBoard *t = m->board_state;

    ck_assert_uint_eq(m->n_cpus, 3);
    ck_assert_uint_eq(((ToyCpu *)m->cpus[2])->resets, 1);
    ck_assert_uint_eq(m->cpus[2]->index, 2);
    ck_assert_ptr_eq(m->cpus[2]->as, &m->mem->system);
    ck_assert_uint_eq(t->resets, 1);
    ck_assert_uint_eq(t->ram.size, 4 * MIB);
    ck_assert_int_eq(m->state, RUN_PRELAUNCH);
    machine_free(m);
}
END_TEST

START_TEST(what_cannot_be_is_an_error)
{
    Error err;
    MachineConfig cfg = {.cpus = 5, .arch = "toy32"};
    const Accel *a = accel_find("null");

    ck_assert_ptr_null(machine_new(&toy_board, a, &cfg, &err));
    ck_assert_str_eq(err.msg, "Invalid SMP CPUs 5. The max CPUs supported by machine 'toy' is 4");
    cfg.cpus = 1;
    cfg.arch = "sparc";
    ck_assert_ptr_null(machine_new(&toy_board, a, &cfg, &err));
    cfg.arch = NULL;
    ck_assert_ptr_null(machine_new(&toy_board, a, &cfg, &err)); /* toy16 is not linked in */

    cfg.arch = "toy32";
    Machine *m = machine_new(&toy_board, a, &cfg, &err);
    ((ToyBoard *)m->board_state)->fail = true;
    ck_assert(!machine_build(m, &err));
    ck_assert_str_eq(err.msg, "as you wish");
    machine_free(m);
    cfg.cpu_model = (char[]){"vax"};
    m = machine_new(&toy_board, a, &cfg, &err);
    ck_assert(!machine_build(m, &err));
    machine_free(m);
    cfg.cpu_model = NULL;
    cfg.ram_size = 1ull << 50;
    m = machine_new(&toy_board, a, &cfg, &err);
    ck_assert(!machine_build(m, &err));
    machine_free(m);
}
END_TEST

static void *ask_reset_then_off(void *arg)
{
    Machine *m = arg;
    ToyBoard *t = m->board_state;

    machine_request_reset(m);
    while (t->resets < 2)
        sched_yield();
    machine_request_shutdown(m, SHUTDOWN_DEBUG_EXIT, 35);
    machine_request_shutdown(m, SHUTDOWN_GUEST_OFF, 1); /* too late */
    return NULL;
}

START_TEST(requests_of_other_threads_are_served_on_the_loop)
{
    Machine *m = toy_machine((MachineConfig){0});
    pthread_t th;

    machine_start(m);
    ck_assert_int_eq(pthread_create(&th, NULL, ask_reset_then_off, m), 0);
    ck_assert_int_eq(machine_main_loop(m), 35);
    pthread_join(th, NULL);
    ck_assert_int_eq(m->cause, SHUTDOWN_DEBUG_EXIT);
    ck_assert_int_eq(m->state, RUN_SHUTDOWN);
    machine_free(m);
}
END_TEST

START_TEST(no_reboot_makes_a_reset_an_exit)
{
    Machine *m = toy_machine((MachineConfig){.no_reboot = true});

    machine_start(m);
    machine_request_reset(m);
    ck_assert_int_eq(machine_main_loop(m), 0);
    ck_assert_int_eq(m->cause, SHUTDOWN_GUEST_RESET);
    ck_assert_uint_eq(((ToyBoard *)m->board_state)->resets, 1);
    machine_free(m);
}
END_TEST

static void look_then_quit(void *arg)
{
    Machine *m = arg;

    ck_assert_int_eq(m->state, RUN_SHUTDOWN);
    machine_request_shutdown(m, SHUTDOWN_HOST_QUIT, 3);
}

START_TEST(no_shutdown_keeps_the_loop_after_power_off)
{
    Machine *m = toy_machine((MachineConfig){.no_shutdown = true});
    Timer t;

    machine_start(m);
    machine_request_shutdown(m, SHUTDOWN_GUEST_OFF, 0);
    timer_init(&t, m->rt_clock, NULL, look_then_quit, m);
    timer_at(&t, clock_now(m->rt_clock) + 20000000);
    ck_assert_int_eq(machine_main_loop(m), 3);
    machine_free(m);
}
END_TEST

START_TEST(two_machines_live_in_one_process)
{
    Machine *a = toy_machine((MachineConfig){0}), *b = toy_machine((MachineConfig){.cpus = 2});
    uint32_t v = 0x11111111, w = 0x22222222, back;

    machine_start(a);
    machine_start(b);
    as_write(&a->mem->system, 0x100, &v, 4);
    as_write(&b->mem->system, 0x100, &w, 4);
    machine_pause(a);
    ck_assert_int_eq(b->state, RUN_RUNNING);
    as_read(&a->mem->system, 0x100, &back, 4);
    ck_assert_uint_eq(back, v);
    machine_free(a);
    as_read(&b->mem->system, 0x100, &back, 4);
    ck_assert_uint_eq(back, w);
    machine_free(b);
}
END_TEST

START_TEST(a_machine_is_saved_and_loaded)
{
    Machine *a = toy_machine((MachineConfig){.cpus = 2}),
            *b = toy_machine((MachineConfig){.cpus = 2});
    Machine *c = toy_machine((MachineConfig){.cpus = 1});
    ByteBuf buf = {0};
    Error err;

    clock_set(a->vclock, 777);
    ((ToyCpu *)a->cpus[1])->acc = 4242;
    machine_save(a, &buf);
    for (size_t n = 0; n < buf.len; n++) {
        ByteBuf part = {.p = buf.p, .len = n};
        ck_assert(!machine_load(b, &part, &err));
    }
    ByteBuf whole = {.p = buf.p, .len = buf.len};
    ck_assert_msg(machine_load(b, &whole, &err), "%s", err.msg);
    ck_assert_int_eq(clock_now(b->vclock), 777);
    ck_assert_uint_eq(((ToyCpu *)b->cpus[1])->acc, 4242);
    whole.at = 0;
    ck_assert(!machine_load(c, &whole, &err));
    ck_assert_str_eq(err.msg, "the state has 2 processors, this machine 1");
    bytebuf_free(&buf);
    machine_free(a);
    machine_free(b);
    machine_free(c);
}
END_TEST

/* --- unwinding --- */

static noreturn void raise_fourteen(Cpu *c)
{
    cpu_raise(c, &(Exception){.vector = 14, .has_error = true, .error = 2, .addr = 0x1000});
}

START_TEST(unwinding_gives_the_reason_and_keeps_vector_registers)
{
    ToyCpu *t = xalloc_aligned(64, sizeof *t);
    jmp_buf there;
    uint64_t after = 0;

    t->cpu.unwind = &there;
    int why = _setjmp(there);
    if (why == UNWIND_NONE) {
        uint64_t before = 0x123456789abcdef0ull;
        __asm__ volatile("movq %0, %%xmm11" : : "r"(before) : "xmm11");
        raise_fourteen(&t->cpu);
    }
    __asm__ volatile("movq %%xmm11, %0" : "=r"(after));
    ck_assert_int_eq(why, UNWIND_EXCEPTION);
    ck_assert_uint_eq(t->cpu.exc.vector, 14);
    ck_assert_uint_eq(t->cpu.exc.addr, 0x1000);
    ck_assert_uint_eq(after, 0x123456789abcdef0ull);
    xfree(t);
}
END_TEST

START_TEST(requests_are_bits)
{
    ToyCpu *t = xalloc_aligned(64, sizeof *t);

    cpu_request(&t->cpu, REQ_IRQ);
    cpu_request(&t->cpu, REQ_EXIT);
    cpu_request_clear(&t->cpu, REQ_IRQ);
    ck_assert_uint_eq(t->cpu.request, REQ_EXIT);
    xfree(t);
}
END_TEST

UNIT_MAIN("machine", boards_are_found_by_name_alias_and_arch, a_machine_is_built_and_reset_once,
          what_cannot_be_is_an_error, requests_of_other_threads_are_served_on_the_loop,
          no_reboot_makes_a_reset_an_exit, no_shutdown_keeps_the_loop_after_power_off,
          two_machines_live_in_one_process, a_machine_is_saved_and_loaded,
          unwinding_gives_the_reason_and_keeps_vector_registers, requests_are_bits)
