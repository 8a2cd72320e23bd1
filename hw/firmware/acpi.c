/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi - RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, SRAT, SLIT and a DSDT in AML
 *
 * Document: ACPI 6.4 chapter 5 (table layouts as of revision 4: FADT 4, MADT 3, SRAT 3), IA-PC HPET
 * 1.0a 3.2.4.
 */
#include "hw/firmware/acpi.h"

#include "base/bytes.h"
#include "hw/firmware/aml.h"

enum { RSDP_SIZE = 36, FACS_SIZE = 64, FACS_AT = 64, HEADER_SIZE = 36, FADT_SIZE = 244 };
enum { GAS_MEMORY = 0, GAS_IO = 1 };
enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_NO_SLP_BUTTON = 1 << 5,
    FADT_NO_RTC_WAKE = 1 << 6,
    FADT_TMR_VAL_EXT = 1 << 8,
    FADT_RESET_REG_SUP = 1 << 10,
    BOOT_LEGACY_DEVICES = 1 << 0,
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_MSI = 1 << 3, /* bit 1 clear: no 8042 */
};
enum {
    MADT_PCAT_COMPAT = 1,
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10
};
enum { SRAT_LAPIC = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2, SRAT_ENABLED = 1 };
enum { ACTIVE_HIGH_LEVEL = 0x000d };

static void add_le(ByteBuf *b, unsigned size, uint64_t v)
{
    uint8_t bytes[8];

    put_le(bytes, size, v);
    bytebuf_add(b, bytes, size);
}

static void add_zeros(ByteBuf *b, size_t n)
{
    static const uint8_t zeros[64];

    for (; n > 0; n -= MIN(n, sizeof zeros))
        bytebuf_add(b, zeros, MIN(n, sizeof zeros));
}

static void fix_sum(uint8_t *p, size_t size, size_t at)
{
    uint8_t sum = 0;

    p[at] = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + p[i]);
    p[at] = (uint8_t)-sum;
}

/* Open a table at the next 16-byte boundary; close sets its size and checksum. */
static size_t table_open(ByteBuf *b, const char *signature, uint8_t revision)
{
    size_t at;

    add_zeros(b, ALIGN_UP(b->len, (size_t)16) - b->len);
    at = b->len;
    bytebuf_add(b, signature, 4);
    add_le(b, 4, 0); /* size */
    add_le(b, 1, revision);
    add_le(b, 1, 0); /* checksum */
    bytebuf_add(b, "RHEA  RHEAPC  ", 14);
    add_le(b, 4, 1);
    bytebuf_add(b, "RHEA", 4);
    add_le(b, 4, 1);
    return at;
}

static void table_close(ByteBuf *b, size_t at)
{
    put_le32(b->p + at + 4, (uint32_t)(b->len - at));
    fix_sum(b->p + at, b->len - at, 9);
}

/* --- DSDT --- */

static size_t device_open(ByteBuf *b, const char *name, const char *hid, unsigned uid)
{
    size_t at = aml_open(b, AML_DEVICE, name);

    aml_name(b, "_HID");
    if (strncmp(hid, "ACPI", 4))
        aml_eisa_id(b, hid);
    else
        aml_string(b, hid);
    aml_name(b, "_UID");
    aml_int(b, uid);
    return at;
}

/* A device with ports and one interrupt (irq 0: none; the timer's is spelled 16 and means 0). */
static void add_isa_device(ByteBuf *b, const char *name, const char *hid, unsigned uid,
                           const uint16_t *ports, unsigned irq)
{
    size_t at = device_open(b, name, hid, uid), crs = aml_crs_open(b);

    for (; *ports; ports += 2)
        aml_crs_io(b, ports[0], (uint8_t)ports[1]);
    if (irq)
        aml_crs_irq(b, irq & 15);
    aml_crs_close(b, crs);
    aml_close(b, at);
}

static void add_hpet_device(ByteBuf *b, uint32_t base)
{
    size_t at = device_open(b, "HPET", "PNP0103", 0), crs = aml_crs_open(b);

    aml_crs_memory(b, base, 1024);
    aml_crs_close(b, crs);
    aml_close(b, at);
}

/* Ports that belong to no other device, so that nobody else is given them. */
static void add_board_resources(ByteBuf *b, const AcpiBoard *board)
{
    uint16_t ports[] = {board->pm_evt, 64, board->smi_cmd, 2, board->reset_port, 1, 0x92, 1, 0};

    add_isa_device(b, "MBRS", "PNP0C02", 0, ports, 0);
}

static void add_processors(ByteBuf *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char name[5] = {'C', "0123456789ABCDEF"[i >> 8 & 15], "0123456789ABCDEF"[i >> 4 & 15],
                        "0123456789ABCDEF"[i & 15]};

        aml_close(b, device_open(b, name, "ACPI0007", i));
    }
}

static void add_dsdt(ByteBuf *b, const AcpiBoard *board)
{
    size_t table = table_open(b, "DSDT", 2), at;

    aml_name(b, "\\_S5");
    at = aml_open(b, AML_PACKAGE, NULL);
    aml_byte(b, 4);
    aml_int(b, board->s5_type);
    aml_int(b, board->s5_type);
    aml_int(b, 0);
    aml_int(b, 0);
    aml_close(b, at);

    at = aml_open(b, AML_SCOPE, "\\_SB");
    add_board_resources(b, board);
    add_isa_device(b, "PIC", "PNP0000", 0, (const uint16_t[]){0x20, 2, 0xa0, 2, 0x4d0, 2, 0}, 2);
    add_isa_device(b, "TMR", "PNP0100", 0, (const uint16_t[]){0x40, 4, 0}, 16);
    add_isa_device(b, "SPKR", "PNP0800", 0, (const uint16_t[]){0x61, 1, 0}, 0);
    add_isa_device(b, "RTC", "PNP0B00", 0, (const uint16_t[]){0x70, 2, 0}, 8);
    for (unsigned i = 0; i < COUNT_OF(board->serial); i++) {
        const AcpiSerial *s = &board->serial[i];
        char name[5] = {'C', 'O', 'M', (char)('1' + i)};

        if (s->port)
            add_isa_device(b, name, "PNP0501", i + 1, (const uint16_t[]){s->port, 8, 0}, s->irq);
    }
    if (board->hpet_base)
        add_hpet_device(b, board->hpet_base);
    add_processors(b, board->n_present ? board->n_present : board->n_cpus);
    aml_close(b, at);
    table_close(b, table);
}

/* --- fixed tables --- */

static void put_gas_io(uint8_t *p, uint8_t width, uint8_t access, uint64_t port)
{
    p[0] = GAS_IO;
    p[1] = width;
    p[3] = access;
    put_le64(p + 4, port);
}

static void add_fadt(ByteBuf *b, const AcpiBoard *board, Gpa facs, Gpa dsdt)
{
    size_t at = table_open(b, "FACP", 4);
    uint8_t *p;

    add_zeros(b, FADT_SIZE - HEADER_SIZE);
    p = b->p + at;
    put_le32(p + 36, (uint32_t)facs);
    put_le32(p + 40, (uint32_t)dsdt);
    put_le16(p + 46, board->sci_irq);
    put_le32(p + 48, board->smi_cmd);
    p[52] = board->acpi_enable;
    p[53] = board->acpi_disable;
    put_le32(p + 56, board->pm_evt);
    put_le32(p + 64, board->pm_cnt);
    put_le32(p + 76, board->pm_timer);
    put_le32(p + 80, board->gpe);
    p[88] = 4;
    p[89] = 2;
    p[91] = 4;
    p[92] = board->gpe_size;
    put_le16(p + 96, 0x0fff); /* C2 and C3: none */
    put_le16(p + 98, 0x0fff);
    p[108] = 0x32; /* CMOS index of the century */
    put_le16(p + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI);
    put_le32(p + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLP_BUTTON | FADT_NO_RTC_WAKE |
                          FADT_RESET_REG_SUP | (board->timer_32bit ? FADT_TMR_VAL_EXT : 0));
    put_gas_io(p + 116, 8, 1, board->reset_port);
    p[128] = board->reset_value;
    put_le64(p + 132, facs);
    put_le64(p + 140, dsdt);
    put_gas_io(p + 148, 32, 2, board->pm_evt);
    put_gas_io(p + 172, 16, 2, board->pm_cnt);
    put_gas_io(p + 208, 32, 3, board->pm_timer);
    put_gas_io(p + 220, (uint8_t)(board->gpe_size * 8), 1, board->gpe);
    table_close(b, at);
}

static void add_override(ByteBuf *b, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    add_le(b, 1, MADT_OVERRIDE);
    add_le(b, 1, 10);
    add_le(b, 1, 0); /* ISA */
    add_le(b, 1, irq);
    add_le(b, 4, gsi);
    add_le(b, 2, flags);
}

static void add_madt(ByteBuf *b, const AcpiBoard *board)
{
    size_t at = table_open(b, "APIC", 3);
    bool x2apic = false;

    add_le(b, 4, board->lapic_base);
    add_le(b, 4, MADT_PCAT_COMPAT);
    for (unsigned i = 0; i < board->n_cpus; i++) {
        uint32_t id = board->apic_ids[i];
        bool wide = id >= 255 || i >= 255;

        x2apic |= wide;
        add_le(b, 1, wide ? MADT_X2APIC : MADT_LAPIC);
        add_le(b, 1, wide ? 16 : 8);
        if (wide)
            add_le(b, 2, 0);
        else
            add_le(b, 1, i);
        add_le(b, wide ? 4 : 1, id);
        add_le(b, 4, !board->n_present || i < board->n_present); /* enabled */
        if (wide)
            add_le(b, 4, i);
    }
    add_le(b, 1, MADT_IOAPIC);
    add_le(b, 1, 12);
    add_le(b, 1, board->ioapic_id);
    add_le(b, 1, 0);
    add_le(b, 4, board->ioapic_base);
    add_le(b, 4, 0);
    add_override(b, 0, 2, 0);
    add_override(b, board->sci_irq, board->sci_irq, ACTIVE_HIGH_LEVEL);
    bytebuf_add(b, (const uint8_t[]){MADT_LAPIC_NMI, 6, 0xff, 0, 0, 1}, 6);
    if (x2apic)
        bytebuf_add(
            b, (const uint8_t[]){MADT_X2APIC_NMI, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0},
            12);
    table_close(b, at);
}

static void add_hpet(ByteBuf *b, const AcpiBoard *board)
{
    size_t at = table_open(b, "HPET", 1);

    add_le(b, 4, 0x8086a201); /* as its ID register: three 64-bit timers, legacy replacement */
    add_le(b, 1, GAS_MEMORY);
    add_le(b, 3 - 1, 0);
    add_le(b, 1, 0);
    add_le(b, 8, board->hpet_base);
    add_le(b, 1, 0);
    add_le(b, 2, 0x0080); /* least ticks that are safe in periodic mode */
    add_le(b, 1, 0);
    table_close(b, at);
}

static void add_cpu_affinity(ByteBuf *b, uint32_t apic_id, uint8_t node)
{
    bool wide = apic_id >= 255;

    add_le(b, 1, wide ? SRAT_X2APIC : SRAT_LAPIC);
    add_le(b, 1, wide ? 24 : 16);
    if (wide)
        add_le(b, 2, 0);
    add_le(b, wide ? 4 : 1, node); /* in the short form its low byte */
    add_le(b, wide ? 4 : 1, apic_id);
    add_le(b, 4, SRAT_ENABLED);
    add_le(b, 4, 0); /* short: SAPIC EID and the rest of the node; long: clock domain */
    add_le(b, 4, 0);
}

static void add_srat(ByteBuf *b, const AcpiBoard *board)
{
    size_t at = table_open(b, "SRAT", 3);

    add_le(b, 4, 1);
    add_le(b, 8, 0);
    for (unsigned i = 0; i < board->n_cpus; i++)
        add_cpu_affinity(b, board->apic_ids[i], board->cpu_nodes[i]);
    for (unsigned i = 0; i < board->n_memory; i++) {
        const AcpiMemory *m = &board->memory[i];

        add_le(b, 1, SRAT_MEMORY);
        add_le(b, 1, 40);
        add_le(b, 4, m->node);
        add_le(b, 2, 0);
        add_le(b, 8, m->at);
        add_le(b, 8, m->size);
        add_le(b, 4, 0);
        add_le(b, 4, SRAT_ENABLED);
        add_le(b, 8, 0);
    }
    table_close(b, at);
}

static void add_slit(ByteBuf *b, const AcpiBoard *board)
{
    size_t at = table_open(b, "SLIT", 1);

    add_le(b, 8, board->n_nodes);
    bytebuf_add(b, board->distances, (size_t)board->n_nodes * board->n_nodes);
    table_close(b, at);
}

static size_t add_root(ByteBuf *b, const char *signature, unsigned pointer_size, const Gpa *tables,
                       unsigned n)
{
    size_t at = table_open(b, signature, 1);

    for (unsigned i = 0; i < n; i++)
        add_le(b, pointer_size, tables[i]);
    table_close(b, at);
    return at;
}

static void put_rsdp(uint8_t *p, uint32_t rsdt, uint64_t xsdt)
{
    memcpy(p, "RSD PTR ", 8);
    memcpy(p + 9, "RHEA  ", 6);
    p[15] = 2;
    put_le32(p + 16, rsdt);
    put_le32(p + 20, RSDP_SIZE);
    put_le64(p + 24, xsdt);
    fix_sum(p, 20, 8);
    fix_sum(p, RSDP_SIZE, 32);
}

/* Where the next table will start. */
static Gpa next_table(const ByteBuf *b, Gpa at)
{
    return at + ALIGN_UP(b->len, (size_t)16);
}

void acpi_build(ByteBuf *out, const AcpiBoard *board, Gpa at)
{
    ByteBuf b = {0};
    Gpa tables[5], dsdt;
    unsigned n = 0;
    size_t rsdt, xsdt;

    add_zeros(&b, FACS_AT + FACS_SIZE);
    memcpy(b.p + FACS_AT, "FACS", 4);
    put_le32(b.p + FACS_AT + 4, FACS_SIZE);
    b.p[FACS_AT + 32] = 1; /* version */
    dsdt = next_table(&b, at);
    add_dsdt(&b, board);
    tables[n++] = next_table(&b, at);
    add_fadt(&b, board, at + FACS_AT, dsdt);
    tables[n++] = next_table(&b, at);
    add_madt(&b, board);
    if (board->hpet_base) {
        tables[n++] = next_table(&b, at);
        add_hpet(&b, board);
    }
    if (board->n_nodes) {
        tables[n++] = next_table(&b, at);
        add_srat(&b, board);
    }
    if (board->n_nodes && board->distances) {
        tables[n++] = next_table(&b, at);
        add_slit(&b, board);
    }
    rsdt = add_root(&b, "RSDT", 4, tables, n);
    xsdt = add_root(&b, "XSDT", 8, tables, n);
    put_rsdp(b.p, (uint32_t)(at + rsdt), at + xsdt);
    bytebuf_add(out, b.p, b.len);
    bytebuf_free(&b);
}
