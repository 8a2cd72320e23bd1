/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acpi - the tables that tell an operating system what the board has (ACPI 6.4) */
#ifndef HW_FIRMWARE_ACPI_H
#define HW_FIRMWARE_ACPI_H

#include "base/reflect.h"
#include "core/memory.h"

typedef struct AcpiSerial {
    uint16_t port; /* 0: not there */
    uint8_t irq;
} AcpiSerial;

/* A stretch of memory of a NUMA node. */
typedef struct AcpiMemory {
    Gpa at;
    uint64_t size;
    uint8_t node;
} AcpiMemory;

/* What the tables say; all of it is the board's. */
typedef struct AcpiBoard {
    const uint32_t *apic_ids; /* by processor */
    unsigned n_cpus;
    uint32_t lapic_base, ioapic_base, hpet_base; /* hpet_base 0: none */
    uint8_t ioapic_id, sci_irq, s5_type;
    uint16_t pm_evt, pm_cnt, pm_timer, gpe, smi_cmd; /* ports */
    uint8_t gpe_size, acpi_enable, acpi_disable;
    bool timer_32bit;
    uint16_t reset_port;
    uint8_t reset_value;
    AcpiSerial serial[4];
    unsigned n_present;       /* of n_cpus: there from the start; 0: all */
    unsigned n_nodes;         /* of NUMA; 0: no tables of it */
    const uint8_t *cpu_nodes; /* by processor */
    const AcpiMemory *memory;
    unsigned n_memory;
    const uint8_t *distances; /* n_nodes rows of n_nodes; NULL: not said */
} AcpiBoard;

/* Append all tables to @out, to be placed at @at (a multiple of 64); the RSDP comes first. */
void acpi_build(ByteBuf *out, const AcpiBoard *board, Gpa at);

#endif
