/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine - the life of one guest, from an empty Machine to its exit code
 *
 * Order of things.  Build: processors, the board's devices and RAM, the accelerator, its vCPUs, a
 * reset.  Start: devices, clock, vCPUs.  Pause: vCPUs, clock, devices.  Free: the reverse of build.
 * All of it on the main thread; other threads post requests.
 */
#include "core/machine.h"

#include "base/alloc.h"
#include "base/log.h"
#include "core/command.h"
#include "core/debug.h"
#include "core/run_state.h"

/* --- configuration --- */

static char **config_string(MachineConfig *c, unsigned i)
{
    char **strings[] = {&c->cpu_model, &c->kernel, &c->initrd, &c->append, &c->bios, &c->dtb};

    return i < COUNT_OF(strings) ? strings[i] : NULL;
}

static void config_copy(MachineConfig *to, const MachineConfig *from, const Board *b)
{
    char **s;

    *to = *from;
    for (unsigned i = 0; (s = config_string(to, i)); i++)
        *s = xstrdup(*s);
    if (!to->cpu_model)
        to->cpu_model = xstrdup(b->default_cpu);
    if (!to->ram_size)
        to->ram_size = b->default_ram;
    if (!to->cpus)
        to->cpus = 1;
    to->max_cpus = MAX(to->max_cpus, to->cpus);
}

static void config_free(MachineConfig *c)
{
    char **s;

    for (unsigned i = 0; (s = config_string(c, i)); i++)
        xfree(*s);
}

/* The architecture asked for, or the first of the board's; a board without processors has none. */
static bool machine_find_arch(Machine *m, Error *err)
{
    const char *list = m->board->arch;
    char first[32];

    if (!list)
        return true;
    if (m->cfg.arch && !board_has_arch(m->board, m->cfg.arch))
        return error_set(err, "machine '%s' has no %s processors", m->board->name, m->cfg.arch);
    snprintf(first, sizeof first, "%.*s", (int)strcspn(list, ","), list);
    m->arch = cpu_arch_find(m->cfg.arch ? m->cfg.arch : first);
    if (!m->arch)
        return error_set(err, "%s processors are not built in", m->cfg.arch ? m->cfg.arch : first);
    return true;
}

/* --- life --- */

Machine *machine_new(const Board *b, const Accel *a, const MachineConfig *cfg, Error *err)
{
    Machine *m = xnew(Machine);

    m->board = b;
    m->accel = a;
    lock_init(&m->lock, "machine", RANK_DEVICE);
    config_copy(&m->cfg, cfg, b);
    m->loop = loop_new(err);
    if (!m->loop)
        goto fail;
    if (b->max_cpus && m->cfg.max_cpus > b->max_cpus) {
        error_set(err, "Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u",
                  m->cfg.max_cpus, b->name, b->max_cpus);
        goto fail;
    }
    if (!machine_find_arch(m, err))
        goto fail;
    m->vclock = clock_new(CLOCK_VIRTUAL, m->loop);
    m->host_clock = clock_new(CLOCK_HOST, m->loop);
    m->rt_clock = clock_new(CLOCK_REALTIME_NS, m->loop);
    m->control = control_new(m);
    m->mem = memory_new();
    m->root = device_new(m, "container", NULL, NULL, err);
    if (b->options) {
        m->board_state = xalloc_aligned(64, b->options->size);
        reflect_defaults(b->options, m->board_state, FIELD_PROP);
    }
    return m;
fail:
    machine_free(m);
    return NULL;
}

static bool machine_add_cpus(Machine *m, Error *err)
{
    if (!m->arch)
        return true;
    m->cpus = xnew_n(Cpu *, m->cfg.cpus);
    for (unsigned i = 0; i < m->cfg.cpus; i++) {
        Cpu *c = m->arch->new (m, i, m->cfg.cpu_model, err);
        if (!c)
            return error_prefix(err, "-cpu %s: ", m->cfg.cpu_model);
        c->arch = m->arch;
        c->machine = m;
        c->index = i;
        c->as = c->as ? c->as : &m->mem->system;
        c->io = c->io ? c->io : &m->mem->io;
        m->cpus[m->n_cpus++] = c;
    }
    return true;
}

static bool machine_start_accel(Machine *m, Error *err)
{
    if (!m->accel->start(m, err))
        return false;
    m->accel_started = true;
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (!m->accel->vcpu_create(m->cpus[i], err))
            return error_prefix(err, "vCPU %u: ", i);
        m->n_vcpus++;
    }
    return !m->accel->ready || m->accel->ready(m, err);
}

static void reset_all(Machine *m);
static void machine_halt(Machine *m, RunState why);

bool machine_build(Machine *m, Error *err)
{
    if (m->arch && !m->accel->probe(m->arch->name, err))
        return false;
    if (!machine_add_cpus(m, err) || !m->board->build(m, err))
        return false;
    if (m->cfg.mem_prealloc)
        memory_prealloc(m->mem);
    if (!machine_start_accel(m, err))
        return false;
    reset_all(m);
    return true;
}

void machine_free(Machine *m)
{
    if (!m)
        return;
    machine_halt(m, RUN_PAUSED);
    debug_detach(m);
    control_free(m->control); /* what works for management ends, while there is everything */
    m->control = NULL;
    for (unsigned i = 0; i < m->n_vcpus; i++)
        m->accel->vcpu_destroy(m->cpus[i]);
    if (m->mem)
        memory_begin(m->mem); /* never committed: nobody reads the map or listens any more */
    if (m->accel_started)
        m->accel->stop(m);
    device_free(m->root);
    m->root = NULL;
    if (m->board->fini && m->mem)
        m->board->fini(m);
    for (unsigned i = 0; i < m->n_cpus; i++)
        m->arch->free(m->cpus[i]);
    xfree(m->cpus);
    memory_free(m->mem);
    clock_free(m->vclock);
    clock_free(m->host_clock);
    clock_free(m->rt_clock);
    loop_free(m->loop);
    if (m->board->options && m->board_state)
        reflect_free(m->board->options, m->board_state);
    xfree(m->board_state);
    config_free(&m->cfg);
    xfree(m->name);
    xfree(m->uuid);
    lock_fini(&m->lock);
    xfree(m);
}

/* --- running and standing still --- */

static void device_starts(Device *d, void *arg)
{
    const Machine *m = arg;
    void (*fn)(Device *) = m->started ? d->cls->resume : d->cls->start;

    if (fn && d->realized)
        fn(d);
}

static void device_pauses(Device *d, void *arg)
{
    (void)arg;
    if (d->cls->pause && d->realized)
        d->cls->pause(d);
}

/* It began or ceased to run. */
static void tell_debugger(Machine *m)
{
    if (m->debug)
        m->debug->changed(m->debug->arg);
}

static void go(Machine *m)
{
    device_walk(m->root, device_starts, m);
    m->started = true;
    m->state = RUN_RUNNING;
    if (!m->debug || !m->debug->clock_held)
        clock_start(m->vclock);
    m->accel->run(m);
}

static void stand_still(Machine *m)
{
    m->accel->park(m);
    clock_stop(m->vclock);
    device_walk(m->root, device_pauses, NULL);
    m->state = RUN_PAUSED;
}

static void machine_go(Machine *m)
{
    assert(loop_is_mine(m->loop));
    if (m->state == RUN_RUNNING)
        return;
    go(m);
    tell_debugger(m);
}

void machine_start(Machine *m)
{
    bool was_running = m->state == RUN_RUNNING;

    machine_go(m);
    if (!was_running)
        run_state_tell_resume(m);
}

/* Stand still, without a word to management. */
static void machine_halt(Machine *m, RunState why)
{
    if (m->state != RUN_RUNNING)
        return;
    assert(loop_is_mine(m->loop));
    stand_still(m);
    if (m->debug)
        debug_settle(m);
    m->state = why;
    tell_debugger(m);
}

static void machine_pause_as(Machine *m, RunState why)
{
    bool was_running = m->state == RUN_RUNNING;

    machine_halt(m, why);
    if (was_running)
        run_state_tell_stop(m);
}

void machine_pause(Machine *m)
{
    machine_pause_as(m, RUN_PAUSED);
}

static void reset_all(Machine *m)
{
    WITH_LOCK (&m->lock) {
        device_reset(m->root, RESET_ENTER);
        device_reset(m->root, RESET_HOLD);
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        cpu_request_clear(m->cpus[i], REQ_IRQ | REQ_NMI | REQ_SMI | REQ_INIT | REQ_SIPI);
        m->cpus[i]->late_requests = 0;
        m->arch->reset(m->cpus[i]);
    }
    if (m->board->reset)
        m->board->reset(m);
}

/* What ran runs on; what stood still is as before its first start. */
static void machine_reset_for(Machine *m, ShutdownCause why)
{
    bool was_running = m->state == RUN_RUNNING;

    if (was_running)
        stand_still(m);
    reset_all(m);
    run_state_tell_reset(m, why);
    if (was_running)
        go(m);
    else
        m->state = RUN_PRELAUNCH;
}

void machine_reset(Machine *m)
{
    machine_reset_for(m, SHUTDOWN_GUEST_RESET);
}

/* --- requests --- */

static void machine_request(Machine *m, uint32_t bits)
{
    atomic_fetch_or(&m->requests, bits);
    loop_wake(m->loop);
}

void machine_request_reset_for(Machine *m, ShutdownCause why)
{
    m->reset_cause = why;
    machine_request(m, MACHINE_REQ_RESET);
}

void machine_request_reset(Machine *m)
{
    machine_request_reset_for(m, SHUTDOWN_GUEST_RESET);
}

void machine_request_shutdown(Machine *m, ShutdownCause cause, int exit_code)
{
    uint64_t none = 0;

    assert(cause != SHUTDOWN_NONE);
    atomic_compare_exchange_strong(&m->shutdown, &none,
                                   (uint64_t)cause << 32 | (uint32_t)exit_code);
    machine_request(m, MACHINE_REQ_SHUTDOWN);
}

void machine_request_debug(Machine *m)
{
    machine_request(m, MACHINE_REQ_DEBUG);
}

static bool cause_is_guests(ShutdownCause c)
{
    return c == SHUTDOWN_GUEST_OFF || c == SHUTDOWN_GUEST_RESET || c == SHUTDOWN_GUEST_PANIC;
}

static void machine_shut_down(Machine *m)
{
    uint64_t asked = atomic_load(&m->shutdown);
    ShutdownCause cause = (ShutdownCause)(asked >> 32);
    bool stays = m->cfg.no_shutdown && cause_is_guests(cause),
         was_running = m->state == RUN_RUNNING;

    machine_halt(m, RUN_SHUTDOWN);
    m->state = cause == SHUTDOWN_ERROR ? RUN_INTERNAL_ERROR : RUN_SHUTDOWN;
    run_state_tell_shutdown(m, cause);
    if (stays) {
        if (was_running)
            run_state_tell_stop(m);
        atomic_store(&m->shutdown, 0);
        return;
    }
    m->exit_code = (int)(uint32_t)asked;
    m->cause = cause;
}

/* Shutdown wins over a reset asked for in the same round. */
static void machine_serve(Machine *m)
{
    uint32_t requests = atomic_exchange(&m->requests, 0);

    if (requests & MACHINE_REQ_RESET && m->cfg.no_reboot) {
        machine_request_shutdown(m, m->reset_cause, 0);
        requests |= atomic_exchange(&m->requests, 0);
    }
    if (requests & MACHINE_REQ_RESET && m->memory_readers) {
        requests &= ~(uint32_t)MACHINE_REQ_RESET;
        atomic_fetch_or(&m->requests, MACHINE_REQ_RESET); /* their end wakes the loop */
    }
    if (requests & MACHINE_REQ_SHUTDOWN)
        machine_shut_down(m);
    else if (requests & MACHINE_REQ_RESET)
        machine_reset_for(m, m->reset_cause);
    if (requests & MACHINE_REQ_DEBUG)
        machine_pause_as(m, RUN_DEBUG);
}

int machine_main_loop(Machine *m)
{
    bool goes_on = true;

    machine_serve(m);
    while (goes_on && m->cause == SHUTDOWN_NONE) {
        goes_on = loop_step(m->loop, -1);
        machine_serve(m);
    }
    machine_halt(m, RUN_PAUSED);
    return m->exit_code;
}
