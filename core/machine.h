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
    RUN_INTERNAL_ERROR,
    RUN_DEBUG /* a debugger was told of a stop */
} RunState;
typedef enum ShutdownCause {
    SHUTDOWN_NONE,
    SHUTDOWN_GUEST_OFF,
    SHUTDOWN_GUEST_RESET,
    SHUTDOWN_GUEST_PANIC,
    SHUTDOWN_HOST_SIGNAL,
    SHUTDOWN_HOST_QUIT,
    SHUTDOWN_DEBUG_EXIT,
    SHUTDOWN_ERROR,
    SHUTDOWN_HOST_RESET /* only of resets: management asked */
} ShutdownCause;

typedef struct Board Board;
typedef struct Accel Accel;

typedef enum PanicAction {
    PANIC_SHUTDOWN,
    PANIC_PAUSE,
    PANIC_EXIT_FAILURE,
    PANIC_NONE
} PanicAction;
typedef enum RtcClock { RTC_HOST, RTC_RT, RTC_VM } RtcClock; /* -rtc clock= */
typedef enum WatchdogAction {
    WATCHDOG_RESET,
    WATCHDOG_SHUTDOWN,
    WATCHDOG_POWEROFF,
    WATCHDOG_PAUSE,
    WATCHDOG_DEBUG,
    WATCHDOG_NONE,
    WATCHDOG_INJECT_NMI
} WatchdogAction;

/* Option texts that a board reads by itself; borrowed. */
typedef struct ConfigTexts {
    char *const *s;
    unsigned n;
} ConfigTexts;

typedef struct NumaNode { /* -numa node; processors by index */
    uint64_t mem;         /* bytes; 0: those of memdev */
    const char *memdev;   /* a memory-backend object, NULL: none */
    uint64_t cpus[4];     /* bitmap of up to 256 */
    uint8_t distance[16]; /* to the others, 0: not said (10 to itself, else 20) */
} NumaNode;
enum { NUMA_NODES_MAX = 16 };

/* -boot */
typedef struct BootConfig {
    const char *order, *once; /* letters a to p; NULL: the board's default; borrowed */
    bool menu, strict;
    const char *splash;
    int32_t splash_ms, reboot_ms; /* -1: not said */
} BootConfig;

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
    bool rtc_slew;    /* periodic interrupts that the guest was too late for follow */
    const char *arch; /* of those the board names; NULL: its first */
    /* Boards say by Board.features which of these they honour; the others are refused before
     * they are built. */
    BootConfig boot;
    ConfigTexts fw_cfg, smbios, acpitable, option_rom; /* each as on the command line */
    /* "driver.property=value": defaults of devices, applied by device_new() */
    ConfigTexts globals;
    ConfigTexts data_dirs; /* -L: where to look for firmware first */
    NumaNode numa[NUMA_NODES_MAX];
    unsigned n_numa;
    const char *memory_backend;     /* id of the object that is all RAM, NULL: none; borrowed */
    const char *mem_path;           /* file or folder that backs RAM, NULL: none; borrowed */
    uint64_t max_ram, ram_slots;    /* -m maxmem, slots; 0: none */
    PanicAction panic_action;       /* -action panic= */
    WatchdogAction watchdog_action; /* -watchdog-action, -action watchdog= */
    RtcClock rtc_clock;             /* what the RTC follows, from the time of its start on */
} MachineConfig;

enum { /* Board.features */
       BOARD_FW_CFG = 1 << 0,
       BOARD_SMBIOS = 1 << 1,
       BOARD_ACPI_TABLES = 1 << 2,
       BOARD_OPTION_ROMS = 1 << 3,
       BOARD_NUMA = 1 << 4,
       BOARD_MEMORY_BACKEND = 1 << 5,
       BOARD_HOTPLUG_RAM = 1 << 6,
       BOARD_FIRMWARE = 1 << 7 /* finds its firmware by itself if there is no -bios */
};

/* Machine.requests */
enum { MACHINE_REQ_RESET = 1 << 0, MACHINE_REQ_SHUTDOWN = 1 << 1, MACHINE_REQ_DEBUG = 1 << 2 };

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
    /* set by boards with ISA; for -device */
    void (*isa_connect)(Machine *m, IrqLine *line, unsigned irq);
    struct Objects *objects;        /* -object; borrowed: they outlive the machine */
    struct Chardevs *chardevs;      /* -chardev and its kin; borrowed too */
    struct BlockGraph *graph;       /* images and drives; borrowed */
    struct Jobs *jobs;              /* borrowed */
    struct NbdServer *nbd;          /* NULL: none; main/ frees it */
    _Atomic uint64_t shutdown;      /* asked for: cause << 32 | exit code; the first one counts */
    struct Debug *debug;            /* core/debug.h; NULL: nobody debugs */
    struct MachineControl *control; /* core/command.h: commands, events, descriptors */
    _Atomic ShutdownCause reset_cause; /* of the reset asked for */
    /* set by the board's device, which takes its own lock; NULL: none */
    void (*power_button)(void *arg);
    void *power_button_arg;
    char *name, *uuid;             /* -name guest=, -uuid; owned */
    void (*nmi_button)(void *arg); /* as power_button: a front panel's NMI button; NULL: none */
    void *nmi_button_arg;
    unsigned memory_readers; /* threads that read RAM of a machine that stands still: resets wait */
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
    /* release what build made, after the devices are gone; also after a failed build.  May be
     * NULL */
    void (*fini)(Machine *m);
    uint32_t features; /* BOARD_*: what of MachineConfig it honours */
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
void machine_request_reset(Machine *m); /* by the guest; honours no_reboot: then it is a shutdown */
void machine_request_reset_for(Machine *m, ShutdownCause why);
void machine_request_shutdown(Machine *m, ShutdownCause cause, int exit_code);
/* a processor stands still for the debugger: pause in RUN_DEBUG */
void machine_request_debug(Machine *m);
int machine_main_loop(Machine *m);           /* until shutdown; returns the exit code */
void machine_save(Machine *m, ByteBuf *out); /* all devices and CPUs (not RAM) */
bool machine_load(Machine *m, ByteBuf *in, Error *err);

#endif
