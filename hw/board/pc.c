/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc - a bare PC: processors, memory and the devices of a PC/AT's board with APICs and ACPI
 *
 *   0           640 KiB   RAM
 *   a0000        128 KiB  nothing (a video card's)
 *   c0000        256 KiB  RAM; e0000: ACPI tables, f0000: SMBIOS, or the last 128 KiB of the firmware (ROM)
 *   100000                RAM up to 3 GiB (3.5 GiB if all of it fits), the rest from 4 GiB on
 *   fec00000              I/O APIC             fed00000  HPET
 *   fee00000              local APICs, MSI     4 GiB - n firmware (ROM)
 *
 * There is no PCI bus yet.  A kernel given by -kernel is started directly: no firmware runs.
 */
#include <stdio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "core/machine.h"
#include "core/memory_backend.h"
#include "cpu/x86/model.h"
#include "cpu/x86/x86.h"
#include "hw/board/pc_start.h"
#include "hw/char/debugcon.h"
#include "hw/char/serial16550.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/boot.h"
#include "hw/firmware/smbios.h"
#include "hw/irq/apic_bus.h"
#include "hw/irq/i8259.h"
#include "hw/irq/ioapic.h"
#include "hw/irq/lapic.h"
#include "hw/misc/reset_port.h"
#include "hw/timer/acpi_pm.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"

enum {
    LOW_RAM_END = 0xa0000,
    EBDA = 0x9fc00,
    SHADOW = 0xc0000,
    TABLES = 0xe0000,
    SMBIOS = 0xf0000,
    HIGH_RAM = 0x100000
};
enum {
    IRQ_TIMER = 0,
    IRQ_RTC = 8,
    IRQ_SCI = 9,
    ISA_IRQS = 16,
    GSI_TIMER = 2,
    HPET_FIRST_PIN = 16,
    SHARED_COMS = 2
};
enum {
    MAX_CPUS = 255,
    APIC_ID_MAX = 254,
    ROM_ALIAS_MAX = 0x20000,
    ROM_GRAIN = 0x10000,
    ROM_MAX = 0x1000000
};
static const uint64_t hole_start = 3 * GIB, hole_start_max = 3 * GIB + GIB / 2, ram_min = 2 * MIB,
                      ram_max = 512 * GIB;

typedef struct Pc {
    bool acpi, hpet, entry64;        /* options */
    uint32_t smbios_entry;           /* too: 32, 64 */
    Region node_ram[NUMA_NODES_MAX]; /* of -numa memdev=: parts of ram, one behind the other */
    Region ram, low, shadow, high, above_4g, rom, rom_alias;
    uint64_t low_end;                  /* of RAM below 4 GiB */
    unsigned com_or_used[SHARED_COMS]; /* inputs of com_or */
    Device *bus, *pic, *ioapic, *hpet_dev, *pm, *rtc, *com[4];
    IrqSplit isa[ISA_IRQS];
    IrqOr com_or[SHARED_COMS]; /* COM1 and COM3, COM2 and COM4 */
    BootImage boot;
} Pc;

/* --- memory --- */

static void map_ram(Machine *m, Region *r, const char *name, uint64_t at, uint64_t from,
                    uint64_t size)
{
    region_alias(r, name, &((Pc *)m->board_state)->ram, from, size);
    region_map(&m->mem->system_root, r, at, 0);
}

/* As -m says it: the largest unit in which it is a whole number. */
static bool bad_ram(uint64_t size, Error *err)
{
    static const char units[] = "BKMGT";
    unsigned unit = 0;

    for (; unit < 4 && size % KIB == 0; size /= KIB)
        unit++;
    return error_prefix(err, "-m %" PRIu64 "%c: ", size, units[unit]);
}

static bool has_node_ram(const Machine *m)
{
    for (unsigned i = 0; i < m->cfg.n_numa; i++)
        if (m->cfg.numa[i].memdev)
            return true;
    return false;
}

/* All RAM: one piece, or the objects of the NUMA nodes in their order. */
static bool make_ram(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    uint64_t at = 0;

    if (!has_node_ram(m))
        return machine_ram(m, &pc->ram, "pc.ram", err);
    region_container(&pc->ram, "pc.ram", m->cfg.ram_size);
    for (unsigned i = 0; i < m->cfg.n_numa; i++) {
        const char *id = m->cfg.numa[i].memdev;
        const HostMemory *host = id ? memory_backend_use(m->objects, id, err) : NULL;

        if (!id)
            continue;
        if (!host ||
            !region_ram_host(&pc->node_ram[i], m->mem, id, host->size, host->host, host->fd, err))
            return error_prefix(err, "-numa node,memdev=%s: ", id);
        region_map(&pc->ram, &pc->node_ram[i], at, 0);
        at += host->size;
    }
    return true;
}

static bool build_ram(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    uint64_t size = m->cfg.ram_size;

    if (size < ram_min || size > ram_max) {
        error_set(err, "board 'pc' takes %" PRIu64 "M to %" PRIu64 "G", ram_min / (1 << 20),
                  ram_max / (1 << 30));
        return bad_ram(size, err);
    }
    pc->low_end = size <= hole_start_max ? size : hole_start;
    if (!make_ram(m, err))
        return has_node_ram(m) ? false : bad_ram(size, err);
    map_ram(m, &pc->low, "ram-low", 0, 0, LOW_RAM_END);
    map_ram(m, &pc->shadow, "ram-shadow", SHADOW, SHADOW, HIGH_RAM - SHADOW);
    map_ram(m, &pc->high, "ram-high", HIGH_RAM, HIGH_RAM, pc->low_end - HIGH_RAM);
    if (size > pc->low_end)
        map_ram(m, &pc->above_4g, "ram-above-4g", 4 * GIB, pc->low_end, size - pc->low_end);
    return true;
}

static bool build_rom(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    BootFile f;
    uint64_t alias;
    bool ok;

    if (!m->cfg.bios)
        return true;
    if (!boot_read_file(m->cfg.bios, &f, err))
        return error_prefix(err, "-bios: ");
    if (f.size == 0 || f.size % ROM_GRAIN || f.size > ROM_MAX) {
        xfree(f.p);
        return error_set(err, "-bios %s: its size %zu is not a multiple of 64 KiB up to 16 MiB",
                         m->cfg.bios, f.size);
    }
    ok = region_rom(&pc->rom, m->mem, "pc.bios", f.p, f.size, err);
    xfree(f.p);
    if (!ok)
        return error_prefix(err, "-bios %s: ", m->cfg.bios);
    alias = MIN(pc->rom.size, (uint64_t)ROM_ALIAS_MAX);
    region_alias(&pc->rom_alias, "isa-bios", &pc->rom, pc->rom.size - alias, alias);
    region_map(&m->mem->system_root, &pc->rom_alias, HIGH_RAM - alias, 1);
    region_map(&m->mem->system_root, &pc->rom, 4 * GIB - pc->rom.size, 1);
    return true;
}

/* --- devices --- */

static void map_io(Machine *m, Region *r, uint64_t port)
{
    region_map(&m->mem->io_root, r, port, 0);
}

static void map_mem(Machine *m, Region *r, uint64_t at)
{
    region_map(&m->mem->system_root, r, at, 1);
}

static Device *add_device(Machine *m, const char *cls, Error *err)
{
    Device *d = device_new(m, cls, NULL, NULL, err);

    if (!d || !device_realize(d, err)) {
        error_prefix(err, "%s: ", cls);
        return NULL;
    }
    return d;
}

/* ISA line @n: the PIC and the I/O APIC both have it. */
static void connect_isa(Pc *pc, IrqLine *line, unsigned n)
{
    irq_connect_edge(line, irq_split_input, irq_split_edge, &pc->isa[n], 0);
}

static bool build_apics(Machine *m, Error *err)
{
    Pc *pc = m->board_state;

    if (!(pc->bus = add_device(m, "apic-bus", err)))
        return false;
    map_mem(m, apic_bus_mmio(pc->bus), APIC_BUS_BASE);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Device *d = device_new(m, "apic", NULL, pc->bus, err);
        char id[16];

        if (!d)
            return false;
        snprintf(id, sizeof id, "%u", x86_apic_id(&m->cfg, i));
        lapic_connect(d, pc->bus, m->cpus[i]);
        if (!device_set(d, "id", id, err) || !device_realize(d, err))
            return error_prefix(err, "apic: ");
    }
    if (!(pc->ioapic = device_new(m, "ioapic", NULL, pc->bus, err)))
        return false;
    ioapic_connect(pc->ioapic, pc->bus);
    if (!device_realize(pc->ioapic, err))
        return error_prefix(err, "ioapic: ");
    map_mem(m, ioapic_mmio(pc->ioapic), IOAPIC_BASE);
    return true;
}

static bool build_pic(Machine *m, Error *err)
{
    Pc *pc = m->board_state;

    if (!(pc->pic = add_device(m, "isa-pic", err)))
        return false;
    map_io(m, i8259_io(pc->pic, I8259_MASTER), 0x20);
    map_io(m, i8259_io(pc->pic, I8259_SLAVE), 0xa0);
    map_io(m, i8259_io(pc->pic, I8259_ELCR), 0x4d0);
    irq_connect(&pc->pic->irq, apic_bus_lint_input, pc->bus, 0);
    apic_bus_set_extint(pc->bus, pic_acknowledge_fn, pc->pic);
    for (unsigned n = 0; n < ISA_IRQS; n++) {
        irq_connect_edge(&pc->isa[n].out[0], i8259_input, i8259_edge, pc->pic, n);
        irq_connect_edge(&pc->isa[n].out[1], ioapic_input, ioapic_edge, pc->ioapic,
                         n == IRQ_TIMER ? GSI_TIMER : n);
    }
    pc->isa[GSI_TIMER] = (IrqSplit){0}; /* the PIC's cascade; its I/O APIC pin is the timer's */
    return true;
}

static bool build_hpet(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    char pins[16];

    if (!pc->hpet)
        return true;
    if (!(pc->hpet_dev = device_new(m, "hpet", NULL, NULL, err)))
        return false;
    snprintf(pins, sizeof pins, "0x%x", 0xffu << HPET_FIRST_PIN); /* those that no ISA line uses */
    if (!device_set(pc->hpet_dev, "intcap", pins, err) || !device_realize(pc->hpet_dev, err))
        return error_prefix(err, "hpet: ");
    map_mem(m, hpet_mmio(pc->hpet_dev), HPET_BASE);
    for (unsigned n = HPET_FIRST_PIN; n < IOAPIC_PINS; n++)
        irq_connect_edge(hpet_line(pc->hpet_dev, n), ioapic_input, ioapic_edge, pc->ioapic, n);
    connect_isa(pc, hpet_line(pc->hpet_dev, HPET_IRQ0), IRQ_TIMER);
    connect_isa(pc, hpet_line(pc->hpet_dev, HPET_IRQ8), IRQ_RTC);
    return true;
}

/* PIT and RTC reach their ISA lines through the HPET, which can take them over. */
static void connect_timer(Pc *pc, IrqLine *line, unsigned isa)
{
    if (pc->hpet_dev)
        irq_connect_edge(line, hpet_legacy_input, hpet_legacy_edge, pc->hpet_dev,
                         isa == IRQ_TIMER ? 0 : 1);
    else
        connect_isa(pc, line, isa);
}

static bool build_timers(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    Device *pit;

    if (!build_hpet(m, err) || !(pit = add_device(m, "isa-pit", err)) ||
        !(pc->rtc = add_device(m, "mc146818rtc", err)) || !(pc->pm = add_device(m, "acpi-pm", err)))
        return false;
    map_io(m, pit_io(pit), 0x40);
    map_io(m, pit_port61(pit), 0x61);
    map_io(m, rtc_io(pc->rtc), 0x70);
    map_io(m, acpi_pm_io(pc->pm), ACPI_PM_BASE);
    map_io(m, acpi_pm_smi(pc->pm), ACPI_SMI_CMD);
    connect_timer(pc, &pit->irq, IRQ_TIMER);
    connect_timer(pc, &pc->rtc->irq, IRQ_RTC);
    connect_isa(pc, &pc->pm->irq, IRQ_SCI);
    return true;
}

static void pc_a20_input(void *machine, unsigned n, bool level)
{
    Machine *m = machine;

    (void)n;
    for (unsigned i = 0; i < m->n_cpus; i++)
        x86_set_a20(m->cpus[i], level);
}

/* A line of a device that the user added; serial ports share theirs. */
static void pc_isa_connect(Machine *m, IrqLine *line, unsigned irq)
{
    Pc *pc = m->board_state;
    unsigned k = irq == 4 ? 0 : 1;

    if (irq != 3 && irq != 4) {
        connect_isa(pc, line, irq);
        return;
    }
    irq_connect(line, irq_or_input, &pc->com_or[k], pc->com_or_used[k]++);
    connect_isa(pc, &pc->com_or[k].out, irq);
}

static bool build_serial(Machine *m, Error *err)
{
    Pc *pc = m->board_state;

    for (unsigned i = 0; i < COUNT_OF(pc->com); i++) {
        char index[2] = {(char)('0' + i)};
        Device *d;

        if (!m->serial[i])
            continue;
        if (!(d = pc->com[i] = device_new(m, "isa-serial", NULL, NULL, err)))
            return false;
        serial_set_chardev(d, m->serial[i]);
        if (!device_set(d, "index", index, err) || !device_realize(d, err))
            return error_prefix(err, "-serial: ");
        pc_isa_connect(m, &d->irq, serial_irq(d));
    }
    return true;
}

static bool build_ports(Machine *m, Error *err)
{
    Device *reset = add_device(m, "reset-port", err), *d;

    if (!reset)
        return false;
    map_io(m, reset_port_cf9(reset), 0xcf9);
    map_io(m, reset_port_92(reset), 0x92);
    irq_connect(&reset->irq, pc_a20_input, m, 0);
    if (!m->debugcon)
        return true;
    if (!(d = device_new(m, "isa-debugcon", NULL, NULL, err)))
        return false;
    debugcon_set_chardev(d, m->debugcon);
    return device_realize(d, err) || error_prefix(err, "-debugcon: ");
}

/* What firmware reads from CMOS: memory sizes and the number of processors. */
static void set_cmos(Machine *m)
{
    Pc *pc = m->board_state;
    uint64_t ext_k = MIN((pc->low_end - HIGH_RAM) / KIB, 0xfc00u);
    uint64_t above_16m = pc->low_end > 16 * MIB ? (pc->low_end - 16 * MIB) / 65536 : 0;
    uint64_t above_4g = (m->cfg.ram_size - pc->low_end) / 65536;
    const struct {
        uint8_t at, size;
        uint64_t v;
    } words[] = {
        {0x15, 2, 640},
        {0x17, 2, ext_k},
        {0x30, 2, ext_k},
        {0x34, 2, above_16m},
        {0x5b, 3, above_4g},
        {0x5f, 1, m->n_cpus - 1},
        {0x14, 1, 0x02 /* coprocessor */},
    };

    for (unsigned i = 0; i < COUNT_OF(words); i++)
        for (unsigned n = 0; n < words[i].size; n++)
            rtc_set_cmos(pc->rtc, words[i].at + n, (uint8_t)(words[i].v >> n * 8));
}

/* --- kernels --- */

static void add_range(BootInput *in, Gpa at, uint64_t end, uint32_t type)
{
    if (end > at)
        in->map[in->n_map++] = (BootRange){at, end - at, type};
}

static void describe_memory(Machine *m, BootInput *in)
{
    Pc *pc = m->board_state;

    add_range(in, 0, EBDA, BOOT_RAM);
    add_range(in, EBDA, LOW_RAM_END, BOOT_RESERVED);
    add_range(in, TABLES, HIGH_RAM, BOOT_RESERVED); /* SMBIOS too */
    add_range(in, HIGH_RAM, pc->low_end, BOOT_RAM);
    add_range(in, 4 * GIB, 4 * GIB + m->cfg.ram_size - pc->low_end, BOOT_RAM);
    in->low_ram = pc->low_end;
}

/* Tables become pieces of the kernel's image: all are placed anew at every reset. */
static bool add_tables(Machine *m, Gpa at, uint64_t room_size, ByteBuf *tables, Error *err)
{
    Pc *pc = m->board_state;
    BootInput room = {.map = {{at, room_size, BOOT_RAM}}, .n_map = 1};
    bool ok = boot_add_copy(&pc->boot, &room, at, tables->p, tables->len, err);

    bytebuf_free(tables);
    return ok;
}

/* What NUMA nodes have, in the guest's addresses. */
enum { RAM_PIECES = 3, AFFINITIES_MAX = NUMA_NODES_MAX + RAM_PIECES };
typedef struct Affinity {
    uint8_t cpu_nodes[MAX_CPUS];
    AcpiMemory memory[AFFINITIES_MAX];
    unsigned n_memory;
    uint8_t distances[NUMA_NODES_MAX * NUMA_NODES_MAX];
} Affinity;

/* Bytes @from to @to of RAM: where the guest sees them. */
static void add_node_memory(const Pc *pc, Affinity *a, uint8_t node, uint64_t from, uint64_t to)
{
    const struct {
        uint64_t from, to;
        Gpa at;
    } pieces[RAM_PIECES] = {
        {0, LOW_RAM_END, 0}, {HIGH_RAM, pc->low_end, HIGH_RAM}, {pc->low_end, UINT64_MAX, 4 * GIB}};

    for (unsigned i = 0; i < COUNT_OF(pieces); i++) {
        uint64_t lo = MAX(from, pieces[i].from), hi = MIN(to, pieces[i].to);

        if (lo < hi && a->n_memory < COUNT_OF(a->memory))
            a->memory[a->n_memory++] =
                (AcpiMemory){pieces[i].at + lo - pieces[i].from, hi - lo, node};
    }
}

static void describe_nodes(Machine *m, Affinity *a, AcpiBoard *b)
{
    const MachineConfig *c = &m->cfg;
    uint64_t at = 0;

    for (unsigned n = 0; n < c->n_numa; n++) {
        add_node_memory(m->board_state, a, (uint8_t)n, at, at + c->numa[n].mem);
        at += c->numa[n].mem;
        for (unsigned i = 0; i < b->n_cpus; i++)
            if (c->numa[n].cpus[i / 64] >> (i % 64) & 1)
                a->cpu_nodes[i] = (uint8_t)n;
        for (unsigned to = 0; to < c->n_numa; to++)
            a->distances[n * c->n_numa + to] = c->numa[n].distance[to];
    }
    b->n_nodes = c->n_numa;
    b->cpu_nodes = a->cpu_nodes;
    b->memory = a->memory;
    b->n_memory = a->n_memory;
    b->distances = c->numa[0].distance[0] ? a->distances : NULL; /* a node's to itself: 10 */
}

static bool add_acpi(Machine *m, BootInput *in, Error *err)
{
    Pc *pc = m->board_state;
    uint32_t ids[MAX_CPUS];
    Affinity affinity = {0};
    AcpiBoard b = {
        .apic_ids = ids,
        .n_cpus = m->cfg.max_cpus,
        .n_present = m->n_cpus,
        .lapic_base = APIC_BUS_BASE,
        .ioapic_base = IOAPIC_BASE,
        .hpet_base = pc->hpet ? HPET_BASE : 0,
        .sci_irq = IRQ_SCI,
        .pm_evt = ACPI_PM_BASE + ACPI_PM1A_EVT,
        .pm_cnt = ACPI_PM_BASE + ACPI_PM1A_CNT,
        .pm_timer = ACPI_PM_BASE + ACPI_PM_TMR,
        .gpe = ACPI_PM_BASE + ACPI_GPE0,
        .gpe_size = ACPI_GPE0_LEN,
        .smi_cmd = ACPI_SMI_CMD,
        .acpi_enable = ACPI_CMD_ENABLE,
        .acpi_disable = ACPI_CMD_DISABLE,
        .timer_32bit = true,
        .reset_port = 0xcf9,
        .reset_value = 6,
    };
    ByteBuf tables = {0};

    for (unsigned i = 0; i < m->cfg.max_cpus; i++)
        ids[i] = x86_apic_id(&m->cfg, i);
    if (m->cfg.n_numa)
        describe_nodes(m, &affinity, &b);
    for (unsigned i = 0; i < COUNT_OF(pc->com); i++)
        if (pc->com[i])
            b.serial[i] =
                (AcpiSerial){(uint16_t)serial_iobase(pc->com[i]), (uint8_t)serial_irq(pc->com[i])};
    acpi_build(&tables, &b, TABLES);
    in->rsdp = TABLES;
    return add_tables(m, TABLES, SMBIOS - TABLES, &tables, err);
}

static bool add_smbios(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    uint64_t above = m->cfg.ram_size - pc->low_end;
    uint32_t cpuid[4];
    SmbiosBoard b = {
        .texts = (const char *const *)m->cfg.smbios.s,
        .n_texts = m->cfg.smbios.n,
        .uuid = m->uuid,
        .vendor = "QEMU", /* what guests know to be a virtual machine */
        .product = "Standard PC",
        .version = m->board->name,
        .bios_vendor = "rhea", /* which does what firmware would, for -kernel */
        .bios_version = RHEA_VERSION,
        .bios_date = "01/01/2026",
        .sockets = m->cfg.sockets,
        .cores = m->cfg.cores * m->cfg.dies,
        .threads = m->cfg.threads,
        .ram_size = m->cfg.ram_size,
        .ram = {{0, pc->low_end}, {4 * GIB, above}},
        .n_ram = above ? 2 : 1,
        .entry64 = pc->smbios_entry == 64,
    };
    ByteBuf tables = {0};

    x86_cpuid(X86(m->cpus[0]), 1, 0, cpuid);
    b.cpu_signature = cpuid[0];
    b.cpu_features = cpuid[3];
    return smbios_build(&tables, &b, SMBIOS, err) &&
           add_tables(m, SMBIOS, SMBIOS_ROOM, &tables, err);
}

static bool load_kernel(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    BootInput in = {
        .kernel = m->cfg.kernel,
        .initrd = m->cfg.initrd,
        .append = m->cfg.append,
        .read = boot_read_file,
        .entry64 = pc->entry64,
        .rsdp = pc->acpi ? TABLES : 0,
    };

    if (!m->cfg.kernel && m->cfg.smbios.n)
        return error_set(err,
                         "-smbios: firmware of -bios does not get these tables yet (-kernel does)");
    if (m->cfg.n_numa && (!m->cfg.kernel || !pc->acpi))
        log_warn("-numa: the guest is told of its nodes only with -kernel and ACPI tables");
    if (!m->cfg.kernel)
        return true;
    if (m->cfg.bios)
        return error_set(
            err,
            "-bios and -kernel together: firmware that starts a given kernel is not built yet");
    describe_memory(m, &in);
    return boot_load(&pc->boot, &in, err) && (!pc->acpi || add_acpi(m, &in, err)) &&
           add_smbios(m, err);
}

/* --- the board --- */

static bool check_options(Machine *m, Error *err)
{
    Pc *pc = m->board_state;
    uint32_t last = x86_apic_id(&m->cfg, m->cfg.max_cpus - 1);

    if (pc->smbios_entry != 32 && pc->smbios_entry != 64)
        return error_set(err, "-machine smbios-entry-point-type=%u: it is 32 or 64",
                         pc->smbios_entry);
    return last <= APIC_ID_MAX ||
           error_set(err,
                     "-smp: the APIC ids of these sockets, dies, cores and threads reach %u, and "
                     "board 'pc' takes %d; numbers that are powers of two leave no gaps",
                     last, APIC_ID_MAX);
}

static bool pc_build(Machine *m, Error *err)
{
    bool ok;

    if (!check_options(m, err))
        return false;
    m->isa_connect = pc_isa_connect;
    memory_begin(m->mem);
    ok = build_ram(m, err) && build_rom(m, err) && build_apics(m, err) && build_pic(m, err) &&
         build_timers(m, err) && build_ports(m, err) && build_serial(m, err);
    memory_commit(m->mem);
    if (!ok || !load_kernel(m, err))
        return false;
    set_cmos(m);
    return true;
}

/* What kernels started without firmware still look for in the BIOS data area: serial ports at
 * 0x400, the segment of the extended area at 0x40e, equipment at 0x410, KiB of conventional
 * memory at 0x413. */
static void place_bios_data(Machine *m)
{
    static const uint16_t com_ports[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    uint8_t area[0x15] = {0}, extended = 1; /* KiB */
    unsigned coms = 0;

    for (unsigned i = 0; i < COUNT_OF(com_ports); i++)
        if (m->serial[i])
            put_le16(area + 2 * coms++, com_ports[i]);
    put_le16(area + 0x0e, EBDA >> 4);
    put_le16(area + 0x10, (uint16_t)(coms << 9 | 1 << 1)); /* coprocessor */
    put_le16(area + 0x13, EBDA >> 10);
    as_load(&m->mem->system, 0x400, area, sizeof area);
    as_load(&m->mem->system, EBDA, &extended, 1);
}

static void pc_reset(Machine *m)
{
    Pc *pc = m->board_state;

    if (m->cfg.kernel) {
        place_bios_data(m);
        boot_place(&pc->boot, &m->mem->system);
        pc_start_kernel(m->cpus[0], &pc->boot);
    }
}

static void pc_fini(Machine *m)
{
    Pc *pc = m->board_state;
    Region *const regions[] = {&pc->low,       &pc->shadow, &pc->high, &pc->above_4g,
                               &pc->rom_alias, &pc->rom,    &pc->ram};

    for (unsigned i = 0; i < COUNT_OF(regions); i++)
        region_fini(regions[i]);
    for (unsigned i = 0; i < NUMA_NODES_MAX; i++)
        region_fini(&pc->node_ram[i]);
    boot_free(&pc->boot);
}

static const Field pc_fields[] = {
    PROP(Pc, acpi, "acpi", true, "describe the board by ACPI tables"),
    PROP(Pc, hpet, "hpet", true, "high precision event timers"),
    PROP(Pc, smbios_entry, "smbios-entry-point-type", 32, "anchor of the SMBIOS tables: 32 or 64"),
    PROP(Pc, entry64, "x-entry64", false, "start a bzImage by its 64-bit entry"),
};
static STRUCT_TYPE(pc_type, Pc, pc_fields);

/* One board for each name of the processor's two architectures. */
#define PC_BOARD(var, ar, cpu)                                                                     \
    static Board var = {                                                                           \
        .name = "pc",                                                                              \
        .doc = "bare PC: APICs, timers, serial ports, ACPI; no PCI bus yet (default)",             \
        .arch = ar,                                                                                \
        .is_default = true,                                                                        \
        .default_cpu = cpu,                                                                        \
        .max_cpus = MAX_CPUS,                                                                      \
        .default_ram = 128 * MIB,                                                                  \
        .options = &pc_type,                                                                       \
        .features = BOARD_MEMORY_BACKEND | BOARD_NUMA | BOARD_SMBIOS,                              \
        .build = pc_build,                                                                         \
        .reset = pc_reset,                                                                         \
        .fini = pc_fini,                                                                           \
    };                                                                                             \
    BOARD_REGISTER(var)
PC_BOARD(pc_board_64, "x86_64", "qemu64")
PC_BOARD(pc_board_32, "i386", "qemu32")
