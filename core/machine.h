/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine - owns everything of one guest; two in one process must work
 */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "core/cpu.h"
#include "core/device.h"

typedef enum RunState {
    RUN_PRELAUNCH,
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,
    RUN_INTERNAL_ERROR
} RunState;
typedef enum ShutdownCause {
    SHUTDOWN_NONE,
    SHUTDOWN_GUEST_OFF,
    SHUTDOWN_GUEST_RESET,
    SHUTDOWN_GUEST_PANIC,
    SHUTDOWN_HOST_SIGNAL,
    SHUTDOWN_HOST_QUIT,
    SHUTDOWN_DEBUG_EXIT,
    SHUTDOWN_ERROR
} ShutdownCause;

typedef struct Board Board;
typedef struct Accel Accel;

/* What the command line says of the machine; boards add their own options through Board.options. */
typedef struct MachineConfig {
    uint64_t ram_size;
    unsigned cpus, max_cpus, sockets, dies, cores, threads;
    char *cpu_model; /* -cpu text: model[,features]; NULL: the board's default */
    char *kernel, *initrd, *append, *bios, *dtb;
    bool mem_share, mem_prealloc;
    bool no_reboot, no_shutdown;
    uint64_t tb_size;  /* code cache bytes, 0: default */
    int thread_single; /* 1: one host thread runs all vCPUs; 0: one each */
    bool backend_interp;
    int64_t rtc_offset_s; /* RTC = host wall clock + this */
    bool rtc_utc;
    const char *arch; /* of those the board names; NULL: its first */
} MachineConfig;

enum { MACHINE_REQ_RESET = 1 << 0, MACHINE_REQ_SHUTDOWN = 1 << 1 }; /* Machine.requests */

struct Machine {
    const Board *board;
    void *board_state; /* the board's own struct (its options and devices) */
    const Accel *accel;
    void *accel_state;
    MachineConfig cfg;
    Cpu **cpus;
    unsigned n_cpus;
    Memory *mem;
    Loop *loop;
    Clock *vclock, *host_clock, *rt_clock;
    Lock lock; /* the one device lock of release 1 */
    Device *root;
    _Atomic RunState state;
    ShutdownCause cause;
    int exit_code;             /* of the process, once cause is set */
    _Atomic uint32_t requests; /* MACHINE_REQ_*, served on the main loop */
    struct Chardev *serial[4]; /* back ends of -serial, NULL: none */
    struct Chardev *debugcon;
    void *mmu;                   /* cpu/tlb.c: what the soft TLBs of all vCPUs share */
    const CpuArch *arch;         /* NULL: a board without processors */
    unsigned n_vcpus;            /* of cpus: known to the accelerator */
    bool accel_started, started; /* started: devices were, so that they resume from now on */
    _Atomic uint64_t shutdown;   /* asked for: cause << 32 | exit code; the first one counts */
};

/* Boards: one file each in hw/board. */
struct Board {
    const char *name, *alias, *doc,
        *arch; /* "pc", NULL, "...", "x86_64,i386"; arch NULL: no processors */
    const char *default_cpu;
    unsigned max_cpus;
    uint64_t default_ram;
    const Type
        *options; /* PROP fields of -machine, over board_state; its size is allocated by the core */
    bool (*build)(Machine *m, Error *err);
    void (*reset)(
        Machine *
            m); /* after all devices: put loaded kernels back in place, set start states of vCPUs */
    Board *reg_next;
    bool is_default; /* of its architectures: for board_find(NULL, arch) */
    void (*fini)(
        Machine *
            m); /* release what build made, after the devices are gone; also after a failed build.  May be NULL */
};
void board_register(Board *b);
#define BOARD_REGISTER(b)                                                                          \
    __attribute__((constructor)) static void b##_register(void)                                    \
    {                                                                                              \
        board_register(&b);                                                                        \
    }
const Board *board_find(const char *name,
                        const char *arch); /* NULL name: the arch's default, else its first */
bool board_has_arch(const Board *b, const char *arch);
const Board *board_next(const Board *b);

Machine *machine_new(const Board *b, const Accel *a, const MachineConfig *cfg,
                     Error *err);           /* copies cfg; nothing is built yet */
bool machine_build(Machine *m, Error *err); /* accel, RAM, CPUs, devices; reset once */
void machine_free(Machine *m);
void machine_start(Machine *m); /* to RUNNING: devices, clock, vCPUs */
void machine_pause(
    Machine *m); /* parks all vCPUs, drains; the caller is alone after it. Main thread */
void machine_reset(Machine *m); /* main thread, paused inside */
/* Any thread, any context; carried out on the main loop. */
void machine_request_reset(Machine *m); /* honours no_reboot: then it is a shutdown */
void machine_request_shutdown(Machine *m, ShutdownCause cause, int exit_code);
int machine_main_loop(Machine *m);           /* until shutdown; returns the exit code */
void machine_save(Machine *m, ByteBuf *out); /* all devices and CPUs (not RAM) */
bool machine_load(Machine *m, ByteBuf *in, Error *err);

#endif
