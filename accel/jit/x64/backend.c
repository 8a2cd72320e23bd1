/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * backend - code memory and the Backend table
 *
 * Code memory is one memfd mapped twice, writable and executable (W^X).  Blocks are laid one behind
 * the other and never reused singly: when it is full, everything is flushed.  A dropped block stays
 * as it is, but its entries jump out.
 *
 * Invariants:
 *  1. blocks[] is sorted by host address, so that a host pc finds its block by bisection, also for
 *     dead ones.
 *  2. What other threads may execute is changed only by aligned 4-byte stores: displacements of
 *     jumps, ids at checked entries.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/jit/x64/x64_priv.h"
#include "base/alloc.h"
#include "base/log.h"

/* Guest registers by use in compiled code; the rest live in their homes. */
static const int8_t pin_x86[V_PC] = {
    RAX,
    RCX,
    RDX,
    RBX,
    R12 /* rsp */,
    R11 /* rbp */,
    RSI,
    RDI,
    R8,
    R9,
    -1,
    -1,
    R10 /* r12 */,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
};

enum { ID_AT = 7 }; /* of the id in a checked entry, which starts one byte into the block's code */

static const uint8_t *x64_block_start(const Block *b)
{
    return b->entry_checked - 1;
}

static void probe_host(X64 *x)
{
    unsigned eax, ebx, ecx, edx, lo, hi;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_OSXSAVE && ecx & bit_AVX) {
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        x->avx = (lo & 6) == 6;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        x->bmi2 = ebx >> 8 & 1;
    if (x->avx && __get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx))
        x->xgetbv1 = eax >> 2 & 1;
}

enum { HUGE_PAGE = 2 << 20, TYPICAL_CODE = 448 /* bytes of a block */ };

/* A view of @fd that huge pages fit. */
static void *map_view(int fd, size_t size, int prot)
{
    uint8_t *room = mmap(NULL, size + HUGE_PAGE, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            *at;
    void *view;

    if (room == MAP_FAILED)
        return room;
    at = room + (-(uintptr_t)room & (HUGE_PAGE - 1));
    if (at > room)
        munmap(room, (size_t)(at - room));
    if (at < room + HUGE_PAGE)
        munmap(at + size, (size_t)(room + HUGE_PAGE - at));
    view = mmap(at, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
    if (view == MAP_FAILED)
        munmap(at, size);
    else
        madvise(view, size, MADV_HUGEPAGE); /* may be off on this host: slower, not wrong */
    return view;
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Bring in the pages up to @end: a huge page at a time if the host can, else at least without a
 * fault for each. */
static void make_ready(X64 *x, size_t end)
{
    uint8_t *at = x->w + x->ready;
    size_t n;

    if (end <= x->ready)
        return;
    n = MIN(ALIGN_UP(end, (size_t)HUGE_PAGE), x->size) - x->ready;
    *at = 0xcc;
    if (madvise(at, n, MADV_COLLAPSE) != 0)
        madvise(at, n, MADV_POPULATE_WRITE);
    x->ready += n;
}

static bool map_code(X64 *x, Error *err)
{
    int fd = memfd_create("rhea-code", MFD_CLOEXEC);
    void *w = MAP_FAILED, *xv = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)x->size) == 0) {
        w = map_view(fd, x->size, PROT_READ | PROT_WRITE);
        xv = map_view(fd, x->size, PROT_READ | PROT_EXEC);
    }
    if (fd >= 0)
        close(fd);
    if (w == MAP_FAILED || xv == MAP_FAILED) {
        if (w != MAP_FAILED)
            munmap(w, x->size);
        return error_set(err, "-accel jit,tb-size=%zu: no memory for translated code",
                         x->size >> 20);
    }
    x->w = w;
    x->x = xv;
    x->delta = (intptr_t)((uintptr_t)xv - (uintptr_t)w);
    return true;
}

static bool x64_init(Jit *j, Error *err)
{
    X64 *x = xnew(X64);
    Asm a;

    x->size = ALIGN_UP(j->m->cfg.tb_size ? j->m->cfg.tb_size : 128 * MIB, 4096);
    if (x->size < X64_MIN_CACHE)
        x->size = X64_MIN_CACHE;
    if (x->size > 1 * GIB) /* displacements are 32 bits */
        x->size = 1 * GIB;
    probe_host(x);
    x->pin = pin_x86;
    x->homes = ~0ull;
    for (unsigned i = 0; i < V_PC; i++)
        if (x->pin[i] >= 0) {
            x->pinned[x->n_pinned++] = (uint8_t)i;
            x->homes &= ~BIT(i);
        }
    x->max_blocks = x->size / 48;
    x->blocks = mmap(NULL, x->max_blocks * sizeof(Block *), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (x->blocks == MAP_FAILED || !map_code(x, err) || !x64_signals_init(err)) {
        xfree(x);
        return false;
    }
    make_ready(x, X64_MIN_CACHE);
    a = (Asm){x->w, x->delta};
    x64_make_stubs(x, &a);
    x->base = x->used = ALIGN_UP((size_t)(a.p - x->w), 64);
    if (log_on(LOG_PERFMAP)) {
        AUTO_FREE char *name = xasprintf("/tmp/perf-%d.map", (int)getpid());

        x->perf_map = fopen(name, "w");
        if (x->perf_map) {
            setvbuf(x->perf_map, NULL, _IOLBF, 0);
            fprintf(x->perf_map, "%" PRIxPTR " %zx rhea:stubs\n", (uintptr_t)x->x, x->base);
        }
    }
    j->be_state = x;
    return true;
}

static void x64_fini(Jit *j)
{
    X64 *x = j->be_state;

    if (!x)
        return;
    munmap(x->w, x->size);
    munmap((void *)(uintptr_t)x->x, x->size);
    munmap(x->blocks, x->max_blocks * sizeof(Block *));
    if (x->perf_map)
        fclose(x->perf_map);
    xfree(x);
    j->be_state = NULL;
}

static bool x64_vcpu_init(Vcpu *v, Error *err)
{
    v->stack = mmap(NULL, X64_STACK, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (v->stack == MAP_FAILED) {
        v->stack = NULL;
        return error_set(err, "no memory for a vCPU's stack");
    }
    v->stack_top = v->stack + X64_STACK - 64;
    *(const uint8_t **)(void *)v->stack_top = ((X64 *)v->jit->be_state)->ret_bottom;
    v->cpu->stack_top = v->cpu->host_sp = v->stack_top;
    v->cpu->stack_limit = v->stack + X64_STACK / 2; /* signal handlers and C-less stubs run below */
    return true;
}

static void x64_vcpu_fini(Vcpu *v)
{
    if (v->stack)
        munmap(v->stack, X64_STACK);
}

Block *x64_block_at(const X64 *x, const uint8_t *host)
{
    size_t lo = 0, hi = __atomic_load_n(&x->n_blocks, __ATOMIC_ACQUIRE);

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (x->blocks[mid]->entry_checked <= host)
            lo = mid;
        else
            hi = mid;
    }
    return hi && x->blocks[lo]->entry_checked <= host &&
                   host < x->blocks[lo]->entry_checked + x->blocks[lo]->host_size
               ? x->blocks[lo]
               : NULL;
}

static uint8_t *check_page(Asm *a, Gva linear, uint32_t id)
{
    emit_op(a, 0, 4, 0x81, 7, rm_mem(R15, TLB_AT(code_id) + (int32_t)code_slot(linear) * 4));
    emit32(a, id);
    return emit_jcc(a, CC_NE);
}

enum { HEAD_EXITS = 3 };

/* Entries: the check of the translation (checked entry), then of requests.  Fills the jumps out. */
static void emit_head(Emit *e, uint8_t *out[HEAD_EXITS])
{
    Asm *a = &e->a;
    Block *b = e->b;

    emit8(a, 0x90); /* brings the id to an aligned place (ID_AT) */
    b->entry_checked = asm_here(a);
    out[0] = check_page(a, b->linear, b->page_id[0]);
    out[1] = b->page_id[1] ? check_page(a, b->linear + 4096, b->page_id[1]) : NULL;
    emit_nops(a, -(uintptr_t)a->p & 7);
    b->entry = asm_here(a);
    emit_op(a, 0, 4, 0x83, 7, rm_mem(RBP, CPU_AT(request)));
    emit8(a, 0);
    out[2] = emit_jcc(a, CC_NE);
}

void x64_pc_entry(Emit *e, uint16_t pc, unsigned recipe)
{
    assert(e->n_pcs < X64_MAX_PCS);
    e->pcs[e->n_pcs++] = (PcEntry){(uint32_t)(e->a.p - e->start), pc, (uint16_t)recipe};
}

void x64_emit_op(Emit *e, unsigned i)
{
    const IrOp *o = &e->ir->ops[i];

    if (o->op == IR_INSN) {
        e->insn = e->n_pcs;
        x64_pc_entry(e, (uint16_t)((Gva)o->imm - e->b->pc), 0);
    } else if (ir_ops[o->op].form == FORM_TERM) {
        x64_lower_term(e, o);
    } else {
        x64_lower(e, o);
        x64_exact_after(e, o);
    }
}

static void emit_body(Emit *e)
{
    e->fl_mem = true;
    e->fl_host = e->ungrouped = false;
    e->in_r13 = 0;
    x64_exact_begin(e);
    for (unsigned i = 0; i < e->ir->n; i++) {
        x64_emit_op(e, i);
        if (e->group_ends[i])
            x64_group_end(e, i);
    }
    x64_group_copies(e);
}

static void emit_head_exits(Emit *e, uint8_t *out[HEAD_EXITS])
{
    Asm *a = &e->a;

    asm_patch(out[0], a->p);
    if (out[1])
        asm_patch(out[1], a->p);
    emit_call(a, e->x->head_lookup);
    asm_patch(out[2], a->p);
    emit_call(a, e->x->head_request);
    emit64(a, e->b->pc);
}

static bool x64_compile(Vcpu *v, Block *b, IrBlock *ir)
{
    X64 *x = v->jit->be_state;
    size_t need = (size_t)ir->n * 400 + 4096;
    static _Thread_local Emit emit; /* 200 KiB of scratch: too much for every stack */
    Emit *e = &emit;
    uint8_t *out[HEAD_EXITS];

    if (x->used + need > x->size || x->n_blocks == x->max_blocks ||
        x->n_thunks > X64_MAX_THUNKS - 64)
        return false;
    make_ready(x, x->used + need);
    assert(ir->n <= X64_MAX_OPS);
    e->start = x->w + x->used;
    e->a = (Asm){e->start, x->delta};
    e->x = x;
    e->j = v->jit;
    e->b = b;
    e->ir = ir;
    e->mem = false;
    e->n_slow = e->n_pcs = e->n_links = e->insn = 0;
    x64_plan(e);
    emit_head(e, out);
    emit_body(e);
    x64_slow_paths(e);
    emit_head_exits(e, out);
    x64_link_stubs(e);
    b->host_size = (uint32_t)(e->a.p - e->start) - 1;
    b->be = x;
    while ((uintptr_t)e->a.p & 7)
        emit8(&e->a, 0xcc);
    b->pc_map = asm_here(&e->a);
    x64_exact_table(e);
    x->used = ALIGN_UP((size_t)(e->a.p - x->w), 16);
    assert(x->used <= x->size);
    for (unsigned i = 0; i < TYPICAL_CODE; i += 64) /* for the next one */
        __builtin_prefetch(x->w + x->used + i, 1);
    x->blocks[x->n_blocks] = b;
    __atomic_store_n(&x->n_blocks, x->n_blocks + 1, __ATOMIC_RELEASE);
    if (log_on(LOG_OUT_ASM))
        x64_dump(b);
    if (x->perf_map)
        fprintf(x->perf_map, "%" PRIxPTR " %x guest:%" PRIx64 "\n", (uintptr_t)b->entry_checked,
                b->host_size, b->pc);
    return true;
}

static JitExit x64_enter(Vcpu *v, Block *b)
{
    X64 *x = v->jit->be_state;
    Cpu *c = v->cpu;
    JitExit (*enter)(Cpu *, const uint8_t *) =
        (JitExit(*)(Cpu *, const uint8_t *))(uintptr_t)x->enter;
    JitExit why;

    if (!b->one_shot && !v->jit->nochain && b->mode & CPU_MODE_LINEAR) {
        unsigned slot = x64_branch_slot(b->pc);

        c->tlb->branch[slot].host = b->entry_checked;
        c->tlb->branch[slot].mode = b->mode;
        c->tlb->branch[slot].pc = b->pc;
    }
    if (v->unwound) /* left by unwinding: the helper's return address is still there */
        c->host_sp = (uint8_t *)c->host_sp + 8;
    if ((uint8_t *)c->host_sp < (uint8_t *)c->stack_limit - 64 ||
        (uint8_t *)c->host_sp > v->stack_top)
        c->host_sp = v->stack_top;
    v->unwound = true;
    x64_signals_thread(v);
    why = enter(c, b->entry);
    v->unwound = false;
    if (why == JIT_EXIT_LINK) {
        v->link = (Link *)(uintptr_t)c->ret;
        c->r[V_PC] = v->link->pc;
    }
    return why;
}

/* Point the jump whose displacement is at @disp (writable view) to @to (executable view). */
static void patch(const X64 *x, uint8_t *disp, const uint8_t *to)
{
    __atomic_store_n((int32_t *)(void *)disp, (int32_t)(to - (disp + x->delta + 4)),
                     __ATOMIC_RELEASE);
}

static void x64_link(Link *l, Block *to)
{
    patch(l->from->be, l->patch, l->same_page && !to->page_id[1] ? to->entry : to->entry_checked);
}

static void x64_unlink(Link *l)
{
    const X64 *x = l->from->be;

    patch(x, l->patch, l->stub + x->delta);
}

/* The checked entry compares with an id that no page has from now on; direct links are undone by
 * the caller. */
static void x64_drop(Block *b)
{
    const X64 *x = b->be;
    uint8_t *id = (uint8_t *)(uintptr_t)b->entry_checked - x->delta + ID_AT;

    __atomic_store_n((uint32_t *)(void *)id, UINT32_MAX, __ATOMIC_RELEASE);
}

static void x64_flush(Jit *j)
{
    X64 *x = j->be_state;

    x->used = x->base;
    x->n_blocks = x->n_thunks = 0;
    for (unsigned i = 0; i < j->n_vcpus; i++) {
        Vcpu *v = j->vcpus[i];

        if (!v)
            continue;
        tlb_clear_branches(v->cpu);
        v->cpu->host_sp = v->stack_top; /* return addresses are void */
        v->unwound = false;
    }
}

/* The table's entry for the place where translated code called C, or NULL; *b is its block. */
static const PcEntry *pc_entry(Cpu *c, const Block **block)
{
    Vcpu *v = c->accel;
    const uint8_t *host = *(const uint8_t *const *)c->host_sp - 1; /* within the call */
    const Block *b = x64_block_at(v->jit->be_state, host);
    const PcEntry *e;
    uint32_t at, lo = 0, hi;

    *block = b;
    if (!b)
        return NULL;
    at = (uint32_t)(host - x64_block_start(b));
    __builtin_memcpy(&hi, b->pc_map, 4);
    e = (const PcEntry *)(const void *)(b->pc_map + 8);
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (e[mid].at <= at)
            lo = mid;
        else
            hi = mid;
    }
    return &e[lo];
}

static void follow(Cpu *c, const Block *b, unsigned recipe)
{
    uint32_t n;

    if (recipe == RECIPE_HOST) {
        c->cc = ((Vcpu *)c->accel)->signal_cc;
    } else if (recipe) {
        __builtin_memcpy(&n, b->pc_map, 4);
        x64_recipe_follow(c, (const Recipe *)(const void *)(b->pc_map + 8 + n * sizeof(PcEntry)),
                          recipe);
    }
}

static void x64_sync_pc(Cpu *c)
{
    const Block *b;
    const PcEntry *e = pc_entry(c, &b);

    if (!e)
        return;
    c->r[V_PC] = b->pc + e->pc;
    follow(c, b, e->recipe);
}

void x64_rebuild(Cpu *c)
{
    const Block *b;
    const PcEntry *e = pc_entry(c, &b);

    if (e)
        follow(c, b, e->recipe);
}

static void x64_vec_save(Cpu *c)
{
    Vcpu *v = c->accel;
    X64 *x = v->jit->be_state;

    ((void (*)(Cpu *))(uintptr_t)x->call_c)(c);
}

const Backend backend_x64 = {
    .name = "x64",
    .init = x64_init,
    .fini = x64_fini,
    .vcpu_init = x64_vcpu_init,
    .vcpu_fini = x64_vcpu_fini,
    .compile = x64_compile,
    .enter = x64_enter,
    .link = x64_link,
    .unlink = x64_unlink,
    .drop = x64_drop,
    .flush = x64_flush,
    .sync_pc = x64_sync_pc,
    .vec_save = x64_vec_save,
};
