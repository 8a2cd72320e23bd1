/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of hw/firmware/smbios.h */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "hw/firmware/smbios.h"
#include "tests/unit/unit.h"

enum { AT = 0xf0000 };

static Error err;
static ByteBuf tables;
static SmbiosBoard board;

static void defaults(void)
{
    bytebuf_free(&tables);
    tables = (ByteBuf){0};
    board = (SmbiosBoard){.vendor = "Vendor",
                          .product = "Product",
                          .version = "1",
                          .sockets = 2,
                          .cores = 2,
                          .threads = 1,
                          .ram_size = 20 * GIB,
                          .ram = {{0, 3 * GIB}, {4 * GIB, 17 * GIB}},
                          .n_ram = 2};
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* The n-th structure of @type; NULL: none.  Checks that all of them lie in the table. */
static const uint8_t *structure(unsigned type, unsigned n)
{
    const uint8_t *p = tables.p + 32, *end = tables.p + tables.len, *found = NULL;

    while (p < end) {
        const uint8_t *s = p + p[1];

        if (p[0] == type && n-- == 0)
            found = p;
        while (s + 1 < end && (s[0] || s[1]))
            s++;
        ck_assert(s + 2 <= end);
        if (p[0] == 127)
            ck_assert(s + 2 == end);
        p = s + 2;
    }
    return found;
}

static const char *string(const uint8_t *p, unsigned at)
{
    const char *s = (const char *)p + p[1];

    for (unsigned n = p[at]; n > 1; n--)
        s += strlen(s) + 1;
    return p[at] ? s : "";
}

static void build(const char *const *texts, unsigned n)
{
    board.texts = texts;
    board.n_texts = n;
    if (!smbios_build(&tables, &board, AT, &err))
        ck_abort_msg("%s", err.msg);
}

START_TEST(both_anchors_sum_to_zero_and_point_to_the_tables)
{
    defaults();
    build(NULL, 0);
    ck_assert_mem_eq(tables.p, "_SM_", 4);
    ck_assert_uint_eq(sum(tables.p, tables.p[5]), 0);
    ck_assert_mem_eq(tables.p + 16, "_DMI_", 5);
    ck_assert_uint_eq(sum(tables.p + 16, 15), 0);
    ck_assert_uint_eq(get_le32(tables.p + 24), AT + 32);
    ck_assert_uint_eq(get_le16(tables.p + 22), tables.len - 32);
    defaults();
    board.entry64 = true;
    build(NULL, 0);
    ck_assert_mem_eq(tables.p, "_SM3_", 5);
    ck_assert_uint_eq(sum(tables.p, tables.p[6]), 0);
    ck_assert_uint_eq(get_le64(tables.p + 16), AT + 32);
    ck_assert_uint_eq(get_le32(tables.p + 12), tables.len - 32);
}
END_TEST

START_TEST(the_anchor_counts_structures_and_knows_the_largest)
{
    unsigned n = 0, largest = 0;
    const uint8_t *p = NULL;

    defaults();
    build(NULL, 0);
    for (p = tables.p + 32; p < tables.p + tables.len; n++) {
        const uint8_t *s = p + p[1];

        while (s[0] || s[1])
            s++;
        largest = MAX(largest, (unsigned)(s + 2 - p));
        p = s + 2;
    }
    ck_assert_uint_eq(get_le16(tables.p + 28), n);
    ck_assert_uint_eq(get_le16(tables.p + 8), largest);
}
END_TEST

START_TEST(fields_come_from_options_and_else_from_the_board)
{
    const char *texts[] = {"type=1,serial=S", "type=1,product=Mine,serial=T", "type=11,value=a",
                           "type=11,value=b,,c",
                           "type=4,max-speed=1234,processor-id=0x1122334455667788"};
    const uint8_t *p;

    defaults();
    board.uuid = "00112233-4455-6677-8899-aabbccddeeff";
    build(texts, COUNT_OF(texts));
    p = structure(1, 0);
    ck_assert_str_eq(string(p, 4), "Vendor");
    ck_assert_str_eq(string(p, 5), "Mine");
    ck_assert_str_eq(string(p, 7), "T");
    ck_assert_uint_eq(get_le32(p + 8), 0x00112233); /* little-endian in the table */
    ck_assert_uint_eq(get_le16(p + 12), 0x4455);
    ck_assert_uint_eq(p[16], 0x88);
    ck_assert_uint_eq(p[23], 0xff);
    p = structure(11, 0);
    ck_assert_uint_eq(p[4], 2);
    ck_assert_str_eq((const char *)p + 5, "a");
    ck_assert_str_eq((const char *)p + 7, "b,c");
    p = structure(4, 1);
    ck_assert_str_eq(string(p, 4), "CPU 1");
    ck_assert_uint_eq(get_le16(p + 20), 1234);
    ck_assert_uint_eq(get_le64(p + 8), 0x1122334455667788);
    ck_assert_ptr_null(structure(4, 2));
    ck_assert_ptr_null(structure(0, 0)); /* only if -smbios asks for it */
    ck_assert_ptr_null(structure(2, 0));
}
END_TEST

START_TEST(a_uuid_of_type_1_is_stronger_than_that_of_the_machine)
{
    const char *texts[] = {"type=1,uuid=ffffffff-0000-0000-0000-000000000000"};

    defaults();
    board.uuid = "00112233-4455-6677-8899-aabbccddeeff";
    build(texts, 1);
    ck_assert_uint_eq(get_le32(structure(1, 0) + 8), 0xffffffff);
}
END_TEST

START_TEST(memory_is_told_in_modules_of_16_gib)
{
    const uint8_t *p;

    defaults();
    build(NULL, 0);
    ck_assert_uint_eq(get_le16(structure(16, 0) + 13), 2);
    ck_assert_uint_eq(get_le32(structure(16, 0) + 7), 20 * MIB); /* KiB */
    ck_assert_uint_eq(get_le16(structure(17, 0) + 12), 16384);
    ck_assert_uint_eq(get_le16(structure(17, 1) + 12), 4096);
    p = structure(19, 1);
    ck_assert_uint_eq(get_le32(p + 4), 4 * MIB);
    ck_assert_uint_eq(get_le32(p + 8), 21 * MIB - 1);
    defaults();
    board.ram_size = 8192 * GIB;
    board.ram[1] = (SmbiosRange){4 * GIB, 8189 * GIB};
    build(NULL, 0);
    ck_assert_uint_eq(get_le32(structure(16, 0) + 7), 0x80000000);
    ck_assert_uint_eq(get_le64(structure(16, 0) + 15), 8192 * GIB);
    ck_assert_uint_eq(get_le32(structure(19, 1) + 4), UINT32_MAX);
    ck_assert_uint_eq(get_le64(structure(19, 1) + 15), 4 * GIB);
}
END_TEST

START_TEST(what_is_wrong_is_refused)
{
    static const char *const texts[] = {"x=1",
                                        "type=99",
                                        "type=1,x=1",
                                        "type=1,uuid=00112233-4455-6677-8899-aabbccddeef",
                                        "type=1,uuid=00112233-4455-6677-8899-aabbccddeeffa",
                                        "type=0,release=1.2.3",
                                        "type=0,release=256.1",
                                        "type=17,speed=65536",
                                        "file=/nowhere",
                                        "file=/nowhere,type=1",
                                        ""};

    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        err = (Error){0};
        ck_assert_msg(!smbios_check(texts[i], &err), "%s", texts[i]);
        ck_assert_str_ne(err.msg, "");
    }
}
END_TEST

START_TEST(more_than_64_kib_are_refused_and_more_strings_than_255_cut)
{
    AUTO_FREE char *text = xasprintf("type=11,value=%0*d", 40000, 0);
    const char *texts[] = {text, text}, *many[300];

    defaults();
    board.texts = texts;
    board.n_texts = 2;
    ck_assert(!smbios_build(&tables, &board, AT, &err));
    for (unsigned i = 0; i < COUNT_OF(many); i++)
        many[i] = "type=11,value=v";
    defaults();
    build(many, COUNT_OF(many));
    ck_assert_uint_eq(structure(11, 0)[4], 255);
}
END_TEST

/* Any bytes in a file: refused, or a table that still hangs together. */
START_TEST(files_of_any_bytes_never_break_the_table)
{
    char path[] = "/tmp/rhea-smbios.XXXXXX";
    int fd = mkstemp(path);
    AUTO_FREE char *text = xasprintf("file=%s", path);
    unsigned taken = 0;

    ck_assert_int_ge(fd, 0);
    srandom(1);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t bytes[24];
        unsigned n = (unsigned)random() % sizeof bytes;
        const char *texts[] = {text};

        for (unsigned k = 0; k < n; k++)
            bytes[k] = (uint8_t)(random() % 2 ? 0 : random());
        bytes[1] = (uint8_t)(random() % 8 ? random() % 8 : bytes[1]);
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(pwrite(fd, bytes, n, 0), (ssize_t)n);
        defaults();
        board.texts = texts;
        board.n_texts = 1;
        err = (Error){0};
        if (!smbios_build(&tables, &board, AT, &err))
            continue;
        taken++;
        ck_assert_ptr_nonnull(structure(127, 0));
        ck_assert_ptr_nonnull(structure(bytes[0], 0));
    }
    close(fd);
    unlink(path);
    ck_assert_uint_gt(taken, 2);
}
END_TEST

UNIT_MAIN("smbios", both_anchors_sum_to_zero_and_point_to_the_tables,
          the_anchor_counts_structures_and_knows_the_largest,
          fields_come_from_options_and_else_from_the_board,
          a_uuid_of_type_1_is_stronger_than_that_of_the_machine,
          memory_is_told_in_modules_of_16_gib, what_is_wrong_is_refused,
          more_than_64_kib_are_refused_and_more_strings_than_255_cut,
          files_of_any_bytes_never_break_the_table)
