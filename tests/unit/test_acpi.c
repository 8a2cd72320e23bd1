/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of hw/firmware/acpi.h and aml.h */
#include "base/bytes.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/aml.h"
#include "tests/unit/unit.h"

enum { AT = 0xe0000 };

static ByteBuf tables;

static const AcpiBoard *with; /* more about the board; NULL: nothing */

static void build(unsigned cpus)
{
    static uint32_t ids[300];
    AcpiBoard b = {
        .apic_ids = ids,
        .n_cpus = cpus,
        .lapic_base = 0xfee00000,
        .ioapic_base = 0xfec00000,
        .hpet_base = 0xfed00000,
        .sci_irq = 9,
        .s5_type = 5,
        .pm_evt = 0x600,
        .pm_cnt = 0x604,
        .pm_timer = 0x608,
        .gpe = 0x620,
        .gpe_size = 8,
        .smi_cmd = 0xb2,
        .reset_port = 0xcf9,
        .reset_value = 6,
        .timer_32bit = true,
        .serial = {{0x3f8, 4}},
    };

    for (unsigned i = 0; i < COUNT_OF(ids); i++)
        ids[i] = i;
    if (with) {
        b.n_present = with->n_present;
        b.n_nodes = with->n_nodes;
        b.cpu_nodes = with->cpu_nodes;
        b.memory = with->memory;
        b.n_memory = with->n_memory;
        b.distances = with->distances;
    }
    bytebuf_free(&tables);
    tables = (ByteBuf){0};
    acpi_build(&tables, &b, AT);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

static const uint8_t *at(uint64_t address)
{
    ck_assert(address >= AT && address < AT + tables.len);
    return tables.p + (address - AT);
}

/* Checks bounds and checksum on the way. */
static const uint8_t *table(const char *signature, unsigned n)
{
    const uint8_t *xsdt = at(get_le64(tables.p + 24)), *t;

    for (uint32_t i = 36; i < get_le32(xsdt + 4); i += 8) {
        t = at(get_le64(xsdt + i));
        ck_assert_uint_le((size_t)(t - tables.p) + get_le32(t + 4), tables.len);
        ck_assert_uint_eq(sum(t, get_le32(t + 4)), 0);
        if (!memcmp(t, signature, 4) && n-- == 0)
            return t;
    }
    ck_abort_msg("no table %s", signature);
    return NULL;
}

START_TEST(root_pointer_and_tables_sum_to_zero)
{
    const uint8_t *rsdt, *xsdt;

    build(2);
    ck_assert_mem_eq(tables.p, "RSD PTR ", 8);
    ck_assert_uint_eq(sum(tables.p, 20), 0);
    ck_assert_uint_eq(sum(tables.p, 36), 0);
    rsdt = at(get_le32(tables.p + 16));
    xsdt = at(get_le64(tables.p + 24));
    ck_assert_uint_eq(sum(rsdt, get_le32(rsdt + 4)), 0);
    ck_assert_uint_eq(sum(xsdt, get_le32(xsdt + 4)), 0);
    ck_assert_uint_eq((get_le32(rsdt + 4) - 36) / 4, 3);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(get_le32(rsdt + 36 + i * 4), get_le64(xsdt + 36 + i * 8));
    table("HPET", 0);
}
END_TEST

START_TEST(the_fadt_points_to_dsdt_and_facs)
{
    const uint8_t *fadt, *dsdt;

    build(1);
    fadt = table("FACP", 0);
    ck_assert_uint_eq(get_le32(fadt + 4), 244);
    ck_assert_mem_eq(at(get_le32(fadt + 36)), "FACS", 4);
    ck_assert_uint_eq(get_le32(fadt + 36) % 64, 0);
    dsdt = at(get_le64(fadt + 140));
    ck_assert_mem_eq(dsdt, "DSDT", 4);
    ck_assert_uint_eq(sum(dsdt, get_le32(dsdt + 4)), 0);
    ck_assert_uint_eq(get_le16(fadt + 109) & 2, 0); /* no 8042 */
}
END_TEST

START_TEST(the_madt_lists_every_processor_and_wide_ids_as_x2apics)
{
    unsigned narrow = 0, wide = 0;
    const uint8_t *madt;

    build(260);
    madt = table("APIC", 0);
    for (uint32_t i = 44; i < get_le32(madt + 4); i += madt[i + 1]) {
        ck_assert_uint_gt(madt[i + 1], 0);
        if (madt[i] == 0)
            ck_assert_uint_eq(madt[i + 3], narrow++);
        else if (madt[i] == 9)
            ck_assert_uint_eq(get_le32(madt + i + 4), 255 + wide++);
    }
    ck_assert_uint_eq(narrow, 255);
    ck_assert_uint_eq(wide, 5);
}
END_TEST

START_TEST(processors_that_are_not_there_are_listed_but_not_enabled)
{
    unsigned enabled = 0, n = 0;
    const uint8_t *madt;

    with = &(AcpiBoard){.n_present = 2};
    build(4);
    madt = table("APIC", 0);
    for (uint32_t i = 44; i < get_le32(madt + 4); i += madt[i + 1])
        if (madt[i] == 0) {
            n++;
            enabled += get_le32(madt + i + 4) & 1;
        }
    with = NULL;
    ck_assert_uint_eq(n, 4);
    ck_assert_uint_eq(enabled, 2);
}
END_TEST

START_TEST(nodes_have_processors_memory_and_distances)
{
    static const uint8_t nodes[260] = {[1] = 1, [258] = 2};
    static const AcpiMemory memory[] = {{0, 0xa0000, 0}, {4 * GIB, 2 * GIB, 2}};
    static const uint8_t distances[] = {10, 20, 30, 20, 10, 40, 30, 40, 10};
    unsigned at_node[3] = {0}, pieces = 0;
    const uint8_t *srat, *slit;

    with = &(AcpiBoard){
        .n_nodes = 3, .cpu_nodes = nodes, .memory = memory, .n_memory = 2, .distances = distances};
    build(260);
    with = NULL;
    srat = table("SRAT", 0);
    for (uint32_t i = 48; i < get_le32(srat + 4); i += srat[i + 1]) {
        const uint8_t *e = srat + i;

        if (e[0] == 1) {
            ck_assert_uint_eq(e[1], 40);
            ck_assert_uint_eq(get_le32(e + 2), memory[pieces].node);
            ck_assert_uint_eq(get_le64(e + 8), memory[pieces].at);
            ck_assert_uint_eq(get_le64(e + 16), memory[pieces].size);
            ck_assert_uint_eq(get_le32(e + 28), 1);
            pieces++;
            continue;
        }
        ck_assert_uint_eq(e[1], e[0] == 0 ? 16 : 24);
        ck_assert_uint_eq(get_le32(e + (e[0] == 0 ? 4 : 12)), 1);
        at_node[e[0] == 0 ? e[2] : get_le32(e + 4)]++;
        if (e[0] == 2 && get_le32(e + 4) == 2)
            ck_assert_uint_eq(get_le32(e + 8), 258);
    }
    ck_assert_uint_eq(pieces, 2);
    ck_assert_uint_eq(at_node[0], 258);
    ck_assert_uint_eq(at_node[1], 1);
    ck_assert_uint_eq(at_node[2], 1);
    slit = table("SLIT", 0);
    ck_assert_uint_eq(get_le64(slit + 36), 3);
    ck_assert_mem_eq(slit + 44, distances, sizeof distances);
}
END_TEST

START_TEST(aml_lengths_and_numbers_are_as_the_grammar_says)
{
    ByteBuf b = {0};
    size_t where = aml_open(&b, AML_SCOPE, "\\_SB");

    aml_close(&b, where);
    ck_assert_mem_eq(b.p, ((uint8_t[]){0x10, 0x88, 0, 0, '\\', '_', 'S', 'B', '_'}), 9);
    b.len = 0;
    aml_int(&b, 0);
    aml_int(&b, 1);
    aml_int(&b, 2);
    aml_int(&b, 0x1234);
    aml_int(&b, 0x12345678);
    ck_assert_mem_eq(b.p, ((uint8_t[]){0, 1, 10, 2, 11, 0x34, 0x12, 12, 0x78, 0x56, 0x34, 0x12}),
                     12);
    b.len = 0;
    aml_eisa_id(&b, "PNP0501");
    ck_assert_mem_eq(b.p, ((uint8_t[]){12, 0x41, 0xd0, 0x05, 0x01}), 5);
    bytebuf_free(&b);
}
END_TEST

UNIT_MAIN("acpi", root_pointer_and_tables_sum_to_zero, the_fadt_points_to_dsdt_and_facs,
          the_madt_lists_every_processor_and_wide_ids_as_x2apics,
          processors_that_are_not_there_are_listed_but_not_enabled,
          nodes_have_processors_memory_and_distances,
          aml_lengths_and_numbers_are_as_the_grammar_says)
