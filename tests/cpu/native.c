/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * native - run a program on the host processor
 *
 * The trampoline loads every register, jumps to the program, which is followed by a jump to the
 * exit page, and on from there; no register is needed. A fault comes as a signal on a stack of its
 * own; its handler takes the state from the signal frame. A timer ends what runs for two of its
 * ticks, or for many where that was asked for.  What the assembly shares with C is in static
 * variables: one thread.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tests/cpu/cpu_test.h"

#if !defined(__x86_64__)
#error "the oracle is an x86-64 processor"
#endif

__attribute__((used)) static struct {
    uint64_t r[16];                          /* 0 */
    uint64_t flags;                          /* 128 */
    uint64_t target;                         /* 136 */
    uint64_t host_sp;                        /* 144 */
    uint32_t host_mxcsr, far_target;         /* 152, 156 */
    uint16_t far_selector, ds, es, ss;       /* 160, 162, 164, 166 */
    uint16_t flat;                           /* 168 */
    alignas(64) uint8_t x[XSAVE_BYTES + 64]; /* 192 */
} native_frame __asm__("native_frame");

enum { TICK_US = 20000, TICKS = 1, PATIENT_TICKS = 150, TRAP_NO_STEP = 1 };

static volatile bool running;
static CpuState *fault_state;
static volatile unsigned serial; /* of what is running */
static volatile unsigned patience = TICKS;
static struct {
    void (*late)(void *opaque);
    void *opaque;
} watched;
static struct {
    void (*step)(void *opaque, uint64_t rip, uint64_t flags, uint64_t rcx);
    void *opaque;
    uint64_t from, end;
} tracing;

void native_enter(void);
void native_enter_32(void);
void native_exit(void);
void native_back(void);

/* clang-format off */
__asm__(
    ".text\n"
    ".globl native_enter, native_enter_32, native_exit, native_back\n"
    ".hidden native_enter, native_enter_32, native_exit, native_back\n"
    "native_enter:\n"
    "    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; sub $8, %rsp\n"
    "    mov %rsp, native_frame+144(%rip)\n"
    "    stmxcsr native_frame+152(%rip)\n"
    "    mov $7, %eax; xor %edx, %edx\n"
    "    xrstor64 native_frame+192(%rip)\n"
    "    pushq native_frame+128(%rip); popfq\n"
    "    mov native_frame+0(%rip), %rax;   mov native_frame+8(%rip), %rcx;   mov native_frame+16(%rip), %rdx\n"
    "    mov native_frame+24(%rip), %rbx;  mov native_frame+40(%rip), %rbp;  mov native_frame+48(%rip), %rsi\n"
    "    mov native_frame+56(%rip), %rdi;  mov native_frame+64(%rip), %r8;   mov native_frame+72(%rip), %r9\n"
    "    mov native_frame+80(%rip), %r10;  mov native_frame+88(%rip), %r11;  mov native_frame+96(%rip), %r12\n"
    "    mov native_frame+104(%rip), %r13; mov native_frame+112(%rip), %r14; mov native_frame+120(%rip), %r15\n"
    "    mov native_frame+32(%rip), %rsp\n"
    "    jmp *native_frame+136(%rip)\n"
    "native_enter_32:\n"
    "    mov native_frame+162(%rip), %ds; mov native_frame+164(%rip), %es; mov native_frame+166(%rip), %ss\n"
    "    ljmpl *native_frame+156(%rip)\n"
    "native_exit:\n"
    "    mov %rax, native_frame+0(%rip);   mov %rcx, native_frame+8(%rip);   mov %rdx, native_frame+16(%rip)\n"
    "    mov %rbx, native_frame+24(%rip);  mov %rsp, native_frame+32(%rip);  mov %rbp, native_frame+40(%rip)\n"
    "    mov %rsi, native_frame+48(%rip);  mov %rdi, native_frame+56(%rip);  mov %r8, native_frame+64(%rip)\n"
    "    mov %r9, native_frame+72(%rip);   mov %r10, native_frame+80(%rip);  mov %r11, native_frame+88(%rip)\n"
    "    mov %r12, native_frame+96(%rip);  mov %r13, native_frame+104(%rip); mov %r14, native_frame+112(%rip)\n"
    "    mov %r15, native_frame+120(%rip)\n"
    "    mov native_frame+144(%rip), %rsp\n"
    "    pushfq; popq native_frame+128(%rip)\n"
    "    cld\n"
    "    mov $7, %eax; xor %edx, %edx\n"
    "    xsave64 native_frame+192(%rip)\n"
    "native_back:\n"
    "    mov native_frame+168(%rip), %ds; mov native_frame+168(%rip), %es; mov native_frame+168(%rip), %ss\n"
    "    mov native_frame+144(%rip), %rsp\n"
    "    cld; fninit; vzeroupper; ldmxcsr native_frame+152(%rip)\n"
    "    add $8, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
    "    ret\n");
/* clang-format on */

static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};

/* XSAVE areas leave out components that are in their initial state. */
static void take_xsave(CpuState *out, const uint8_t *x)
{
    uint64_t bv;
    uint16_t fcw = 0x37f;

    memcpy(out->x, x, XSAVE_BYTES);
    memcpy(&bv, x + X_HEADER, 8);
    if (!(bv & 1)) {
        memset(out->x, 0, X_MXCSR);
        memcpy(out->x, &fcw, 2);
        memset(out->x + X_ST, 0, 128);
    }
    if (!(bv & 2)) {
        memset(out->x + X_XMM, 0, 256);
    }
    if (!(bv & 4)) {
        memset(out->x + X_YMMH, 0, 256);
    }
}

static struct sigaction others[65];

/* A single step: of the trampoline, the program, or what is behind it. */
static void on_step(greg_t *g)
{
    uint64_t rip = (uint64_t)g[REG_RIP];

    if (rip >= tracing.from && rip < tracing.end) {
        uint64_t sp = (uint64_t)g[REG_RSP];

        if (*(const uint8_t *)(uintptr_t)rip == 0x9d && sp >= DATA &&
            sp < DATA + DATA_WRITABLE - 8) { /* POPF shall not end it */
            *(uint8_t *)(uintptr_t)(sp + 1) |= EFL_TF >> 8;
        }
        tracing.step(tracing.opaque, rip, (uint64_t)g[REG_EFL], (uint64_t)g[REG_RCX]);
    } else if (rip == tracing.end) {
        g[REG_EFL] &= ~(greg_t)EFL_TF;
    }
}

static uint64_t linear_pc(const greg_t *g)
{
    uint16_t cs = (uint16_t)g[REG_CSGSFS];

    return (uint64_t)g[REG_RIP] + (cs == program_segment(KIND_16, SEG_CS)->sel ? SANDBOX : 0);
}

static void leave(CpuState *s, ucontext_t *u, int vector)
{
    greg_t *g = u->uc_mcontext.gregs;

    for (unsigned i = 0; i < 16; i++) {
        s->r[i] = (uint64_t)g[greg_of[i]];
    }
    s->flags = (uint64_t)g[REG_EFL];
    s->rip = linear_pc(g);
    s->vector = vector;
    s->error = (uint64_t)g[REG_ERR];
    s->addr = (uint64_t)g[REG_CR2];
    take_xsave(s, (const uint8_t *)u->uc_mcontext.fpregs);
    g[REG_RIP] = (greg_t)(uintptr_t)native_back;
    g[REG_CSGSFS] = (greg_t)(((uint64_t)g[REG_CSGSFS] & 0xffffffff0000) | SELECTOR_64 |
                             (uint64_t)SELECTOR_DATA << 48);
    g[REG_EFL] &= ~(greg_t)(EFL_DF | EFL_AC | EFL_TF);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *g = u->uc_mcontext.gregs;

    if (!running) { /* the engine's own, or a crash of ours */
        if (others[sig].sa_flags & SA_SIGINFO) {
            others[sig].sa_sigaction(sig, info, context);
            return;
        }
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    if (tracing.step && g[REG_TRAPNO] == TRAP_NO_STEP) {
        on_step(g);
        return;
    }
    leave(fault_state, u, (int)g[REG_TRAPNO]);
}

static void on_tick(int sig, siginfo_t *info, void *context)
{
    static unsigned last, ticks;

    (void)sig;
    (void)info;
    if (last != serial) {
        last = serial;
        ticks = 0;
        return;
    }
    if (++ticks < patience) {
        return;
    }
    if (running && linear_pc(((ucontext_t *)context)->uc_mcontext.gregs) >> 16 == SANDBOX >> 16) {
        leave(fault_state, context, VECTOR_ENDLESS);
    } else if (watched.late) {
        watched.late(watched.opaque);
    }
}

void native_be_patient(bool yes)
{
    patience = yes ? PATIENT_TICKS : TICKS;
}

void native_watch(void (*late)(void *opaque), void *opaque)
{
    watched.late = NULL;
    watched.opaque = opaque;
    serial++;
    watched.late = late;
}

/* jmp [rip]; the address */
static bool make_exit(void)
{
    uint8_t *at = (uint8_t *)(uintptr_t)EXIT_PAGE;
    uint8_t *page = mmap(at, 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    const uint8_t jump[6] = {0xff, 0x25};
    void (*const back)(void) = native_exit;

    if (page != at) {
        return false;
    }
    memcpy(page, jump, 6);
    memcpy(page + 6, &back, 8);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

bool native_open(Error *err)
{
    static uint8_t stack[65536];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    static const uint8_t signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    const struct itimerval ticks = {{0, TICK_US}, {0, TICK_US}};
    struct sigaction a = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER},
                     tick = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    uint8_t *base = mmap((void *)(uintptr_t)SANDBOX, SANDBOX_PAGES * 4096, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (base != (void *)(uintptr_t)SANDBOX ||
        mprotect((void *)(uintptr_t)DATA, DATA_SIZE, PROT_READ | PROT_WRITE) ||
        mprotect((void *)(uintptr_t)CODE_PAGE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        return error_set(err, "cannot have the sandbox at 0x%x", SANDBOX);
    }
    if (!make_exit()) {
        return error_set(err, "cannot have a page at 0x%x", EXIT_PAGE);
    }
    for (unsigned i = 0; i < DATA_SIZE; i += 8) {
        uint64_t v = mix64(i);

        memcpy((void *)(uintptr_t)(DATA + i), &v, 8);
    }
    mprotect((void *)(uintptr_t)(DATA + DATA_WRITABLE), DATA_SIZE - DATA_WRITABLE, PROT_READ);
    native_frame.flat = SELECTOR_DATA;
    a.sa_sigaction = on_signal;
    sigaltstack(&alternate, NULL);
    for (unsigned i = 0; i < sizeof(signals); i++) {
        sigaction(signals[i], &a, &others[signals[i]]);
    }
    tick.sa_sigaction = on_tick;
    sigfillset(&tick.sa_mask);
    sigaction(SIGPROF, &tick, NULL);
    setitimer(ITIMER_PROF, &ticks, NULL);
    return true;
}

/* Out of a program: JMP, JMP FAR with 32-bit operands; the rest are faults (HLT). */
static void put_exit(const CpuProgram *p, uint8_t jump[EXIT_JUMP])
{
    uint32_t distance = (uint32_t)(EXIT_PAGE - (program_end(p) + 5)), exit = EXIT_PAGE;
    unsigned n = 0;

    memset(jump, 0xf4, EXIT_JUMP);
    if (p->kind >= KIND_16)
        jump[n++] = 0x66;
    jump[n++] = p->kind == KIND_64 ? 0xe9 : 0xea;
    memcpy(jump + n, p->kind == KIND_64 ? &distance : &exit, 4);
    if (p->kind != KIND_64) {
        jump[n + 4] = SELECTOR_64;
        jump[n + 5] = 0;
    }
}

/* Other bytes are HLT, which is a fault. */
void program_image(const CpuProgram *p, uint8_t *image)
{
    uint64_t at = p->at - CODE_PAGE;
    uint8_t jump[EXIT_JUMP];

    put_exit(p, jump);
    memset(image, 0xf4, CODE_SIZE);
    memcpy(image + at, p->code, code_room(p->at, p->len));
    memcpy(image + at + p->len, jump, code_room(program_end(p), sizeof(jump)));
}

static void run(const CpuProgram *p, const CpuState *in, CpuState *out, uint64_t more_flags)
{
    uint8_t *end = (uint8_t *)(uintptr_t)program_end(p), tail[EXIT_JUMP];
    unsigned n_tail = code_room(program_end(p), sizeof(tail));

    program_image(p, (uint8_t *)(uintptr_t)CODE_PAGE);
    memcpy(tail, end, n_tail);
    memcpy((void *)(uintptr_t)DATA, in->data, DATA_WRITABLE);
    memcpy(native_frame.r, in->r, sizeof(in->r));
    native_frame.flags = in->flags | more_flags;
    native_frame.target = p->kind == KIND_64 ? p->at : (uintptr_t)native_enter_32;
    native_frame.far_target = (uint32_t)p->at - program_segment(p->kind, SEG_CS)->base;
    native_frame.far_selector = program_segment(p->kind, SEG_CS)->sel;
    native_frame.ds = program_segment(p->kind, SEG_DS)->sel;
    native_frame.es = program_segment(p->kind, SEG_ES)->sel;
    native_frame.ss = program_segment(p->kind, SEG_SS)->sel;
    memcpy(native_frame.x, in->x, XSAVE_BYTES);
    out->vector = VECTOR_NONE;
    fault_state = out;
    serial++;
    __asm__ volatile("" ::: "memory");
    running = true;
    native_enter();
    running = false;
    __asm__ volatile("" ::: "memory");
    if (out->vector >= 0 && out->rip == program_end(p)) { /* no room for the jump back */
        out->vector = VECTOR_NONE;
    } else if (out->vector == VECTOR_NONE) {
        memcpy(out->r, native_frame.r, sizeof(out->r));
        out->flags = native_frame.flags;
        out->rip = program_end(p);
        take_xsave(out, native_frame.x);
    }
    if (memcmp(tail, end, n_tail)) {
        out->vector = VECTOR_LOST;
    }
    memcpy(out->data, (void *)(uintptr_t)DATA, DATA_SIZE);
    memcpy(out->code, (void *)(uintptr_t)p->at, code_room(p->at, p->len));
}

void native_run(const CpuProgram *p, const CpuState *in, CpuState *out)
{
    run(p, in, out, 0);
}

void native_trace(const CpuProgram *p, const CpuState *in, CpuState *out,
                  void (*step)(void *opaque, uint64_t rip, uint64_t flags, uint64_t rcx),
                  void *opaque)
{
    tracing.step = step;
    tracing.opaque = opaque;
    tracing.from = p->at;
    tracing.end = program_end(p);
    run(p, in, out, EFL_TF);
    tracing.step = NULL;
}
