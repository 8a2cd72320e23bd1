/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of the formats vdi, vpc, vmdk, vhdx and luks: what is written is there, lies are
 * refused */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/block.h"
#include "core/object.h"
#include "tests/unit/unit.h"

enum { DISK = 5 << 20, PLACES = 40, SPOT = 3000 };

static char dir[] = "/tmp/test_image_formats.XXXXXX";
static BlockGraph *g;
static Objects *set;

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/test_image_formats.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    g = graph_new(NULL, NULL);
    set = objects_new();
    ck_assert_ptr_nonnull(object_new_text(set, "secret,id=s,data=pass", NULL));
    graph_set_objects(g, set);
}

static void teardown(void)
{
    AUTO_FREE char *cmd = xasprintf("rm -r '%s'", dir);

    graph_free(g);
    objects_free(set);
    ck_assert_int_eq(system(cmd), 0);
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static void create(const char *fmt, const char *path, const char *options)
{
    Error err = {0};
    json_t *o = json_loads(options, 0, NULL);

    ck_assert_ptr_nonnull(o);
    ck_assert_msg(block_driver_find(fmt)->create_file(g, path, o, &err), "%s: %s", fmt, err.msg);
    json_decref(o);
}

static BlockNode *open_it(const char *fmt, const char *path, uint32_t flags, Error *err)
{
    json_t *o = json_object();

    if (!strcmp(fmt, "luks"))
        json_object_set_new(o, "key-secret", json_string("s"));
    return node_open_image(g, path, fmt, o, flags, err);
}

static void fill(uint8_t *p, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16) | 1;
}

static void compare(BlockNode *n, const uint8_t *expect)
{
    AUTO_FREE uint8_t *back = xalloc(DISK);
    uint64_t at = 0;

    ck_assert_int_eq(node_read(n, 0, back, DISK), 0);
    ck_assert_mem_eq(back, expect, DISK);
    while (at < n->size) { /* what is said to be zeroes is */
        Extent e = {0};

        ck_assert_int_eq(node_status(n, at, n->size - at, &e), 0);
        ck_assert_uint_gt(e.size, 0);
        for (uint64_t i = at;
             e.kind != EXTENT_DATA && e.kind != EXTENT_SPECIAL && i < DISK && i < at + e.size; i++)
            ck_assert_uint_eq(expect[i], 0);
        at += e.size;
    }
}

static const struct {
    const char *fmt, *options;
} kinds[] = {
    {"vdi", "{\"size\": \"5M\"}"},
    {"vdi", "{\"size\": \"5M\", \"static\": \"on\"}"},
    {"vpc", "{\"size\": \"5M\"}"},
    {"vpc", "{\"size\": \"5M\", \"subformat\": \"fixed\"}"},
    {"vpc", "{\"size\": \"5M\", \"force_size\": \"on\"}"},
    {"vmdk", "{\"size\": \"5M\"}"},
    {"vmdk", "{\"size\": \"5M\", \"zeroed_grain\": \"on\"}"},
    {"vmdk", "{\"size\": \"5M\", \"subformat\": \"monolithicFlat\"}"},
    {"vmdk", "{\"size\": \"5M\", \"subformat\": \"twoGbMaxExtentSparse\"}"},
    {"vmdk", "{\"size\": \"2147484160\", \"subformat\": \"twoGbMaxExtentSparse\"}"},
    {"vmdk", "{\"size\": \"2147484160\", \"subformat\": \"twoGbMaxExtentFlat\"}"},
    {"vhdx", "{\"size\": \"5M\", \"block_size\": \"1M\"}"},
    {"vhdx", "{\"size\": \"5M\", \"subformat\": \"fixed\"}"},
    {"luks", "{\"size\": \"5M\", \"key-secret\": \"s\", \"iter-time\": \"1\"}"},
};

START_TEST(a_disk_in_several_files_is_one)
{
    static const char *const subs[] = {"Sparse", "Flat"};
    uint8_t buf[200000], back[200000];

    fill(buf, sizeof buf, 3);
    for (unsigned i = 0; i < 2; i++) {
        AUTO_FREE char *path = path_of("disk.vmdk");
        AUTO_FREE char *options =
            xasprintf("{\"size\": \"5G\", \"subformat\": \"twoGbMaxExtent%s\"}", subs[i]);
        uint64_t at = 2 * GIB - 100000, last = 5 * GIB - sizeof buf;
        BlockNode *n;

        create("vmdk", path, options);
        n = open_it("vmdk", path, 0, NULL);
        ck_assert_ptr_nonnull(n);
        ck_assert_uint_eq(n->size, 5 * GIB);
        ck_assert_int_eq(node_write(n, at, buf, sizeof buf), 0);
        ck_assert_int_eq(node_write(n, last, buf, sizeof buf), 0);
        node_unref(n);
        n = open_it("vmdk", path, NODE_READ_ONLY, NULL);
        ck_assert_int_eq(node_read(n, at, back, sizeof back), 0);
        ck_assert_mem_eq(back, buf, sizeof buf);
        ck_assert_int_eq(node_read(n, last, back, sizeof back), 0);
        ck_assert_mem_eq(back, buf, sizeof buf);
        ck_assert_int_eq(node_read(n, at + GIB, back, sizeof back), 0);
        ck_assert_uint_eq(back[0], 0);
        node_unref(n);
    }
}
END_TEST

/* The id of the contents, as recorded. */
static long long content_id(BlockNode *n)
{
    json_t *info = n->drv->info(n);
    long long id = json_integer_value(json_object_get(json_object_get(info, "data"), "cid"));

    json_decref(info);
    return id;
}

START_TEST(an_overlay_of_a_vmdk_that_was_changed_is_refused)
{
    static const char *const subs[] = {"monolithicSparse", "twoGbMaxExtentSparse"};
    AUTO_FREE char *base = path_of("base.vmdk"), *top = path_of("top.vmdk");

    for (unsigned i = 0; i < 4; i++) {
        AUTO_FREE char *options =
            xasprintf("{\"size\": \"5M\", \"subformat\": \"%s\"}", subs[i % 2]);
        long long before, after;
        char back[5];
        BlockNode *n;

        create("vmdk", base, options);
        n = open_it("vmdk", base, 0, NULL);
        if (i > 1)
            ck_assert_int_eq(node_write(n, 100, "first", 5), 0);
        before = content_id(n);
        node_unref(n);
        create("vmdk", top, "{\"size\": \"5M\", \"backing_file\": \"base.vmdk\"}");
        n = open_it("vmdk", top, NODE_READ_ONLY, NULL);
        ck_assert_int_eq(node_read(n, 100, back, 5), 0);
        node_unref(n);
        n = open_it("vmdk", base, 0, NULL);
        ck_assert(content_id(n) == before);
        ck_assert_int_eq(node_write(n, 100, "again", 5), 0);
        ck_assert_int_eq(node_write(n, 101, "new", 3), 0);
        after = content_id(n);
        ck_assert(after != before);
        node_unref(n);
        n = open_it("vmdk", base, NODE_READ_ONLY, NULL);
        ck_assert(content_id(n) == after);
        ck_assert_int_eq(node_read(n, 100, back, 5), 0);
        ck_assert_mem_eq(back, "anewn", 5);
        node_unref(n);
        n = open_it("vmdk", top, NODE_READ_ONLY, NULL);
        ck_assert_int_eq(node_read(n, 100, back, 5), -EINVAL);
        node_unref(n);
    }
}
END_TEST

START_TEST(what_was_written_is_there_after_opening_again)
{
    AUTO_FREE uint8_t *expect = xalloc(DISK);
    AUTO_FREE char *path = path_of("disk.img");
    Error err = {0};
    BlockNode *n;
    bool luks = !strcmp(kinds[_i].fmt, "luks");
    unsigned dice = 7;

    create(kinds[_i].fmt, path, kinds[_i].options);
    n = open_it(kinds[_i].fmt, path, 0, &err);
    ck_assert_msg(n, "%s", err.msg);
    ck_assert_uint_ge(n->size, DISK);
    if (luks) /* noise until it is written */
        ck_assert_int_eq(node_write(n, 0, expect, DISK), 0);
    for (unsigned i = 0; i < PLACES; i++) {
        uint64_t at = (dice = dice * 1103515245 + 12345) % (DISK - SPOT);

        fill(expect + at, SPOT, i);
        ck_assert_int_eq(node_write(n, at, expect + at, SPOT), 0);
        if (i % 8 == 0) {
            memset(expect + at / 2, 0, SPOT);
            ck_assert_int_eq(node_zero(n, at / 2, SPOT, 0), 0);
        }
        if (i % 16 == 1)
            ck_assert_int_eq(node_flush(n), 0);
    }
    compare(n, expect);
    node_unref(n);
    n = open_it(kinds[_i].fmt, path, NODE_READ_ONLY, &err);
    ck_assert_msg(n, "%s", err.msg);
    compare(n, expect);
    node_unref(n);
}
END_TEST

START_TEST(an_overlay_of_vmdk_shows_its_base)
{
    AUTO_FREE char *base = path_of("base.vmdk"), *top = path_of("top.vmdk");
    uint8_t buf[1000], back[1000];
    BlockNode *n;

    fill(buf, sizeof buf, 1);
    create("vmdk", base, "{\"size\": \"5M\"}");
    n = open_it("vmdk", base, 0, NULL);
    ck_assert_int_eq(node_write(n, 70000, buf, sizeof buf), 0);
    node_unref(n);
    create("vmdk", top, "{\"size\": \"5M\", \"backing_file\": \"base.vmdk\"}");
    n = open_it("vmdk", top, 0, NULL);
    ck_assert_ptr_nonnull(n);
    ck_assert_int_eq(node_read(n, 70000, back, sizeof back), 0);
    ck_assert_mem_eq(buf, back, sizeof buf);
    ck_assert_int_eq(node_write(n, 70010, "new", 3), 0);
    memcpy(buf + 10, "new", 3);
    ck_assert_int_eq(node_read(n, 70000, back, sizeof back), 0);
    ck_assert_mem_eq(buf, back, sizeof buf);
    node_unref(n);
}
END_TEST

START_TEST(compressed_grains_come_back)
{
    AUTO_FREE char *path = path_of("stream.vmdk");
    AUTO_FREE uint8_t *buf = xalloc(65536), *back = xalloc(65536);
    struct iovec iov = {buf, 65536};
    BlockNode *n;

    fill(buf, 1000, 1);
    create("vmdk", path, "{\"size\": \"5M\", \"subformat\": \"streamOptimized\"}");
    n = open_it("vmdk", path, 0, NULL);
    ck_assert(n->compressed_only);
    for (unsigned i = 0; i < 10; i += 3)
        ck_assert_int_eq(node_io(n, BLOCK_WRITE, i * 65536, &iov, 1, 65536, BLOCK_COMPRESS), 0);
    ck_assert_int_lt(node_write(n, 65536, buf, 100), 0);
    node_unref(n);
    n = open_it("vmdk", path, NODE_READ_ONLY, NULL);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_int_eq(node_read(n, i * 65536, back, 65536), 0);
        ck_assert_int_eq(!memcmp(buf, back, 65536), i % 3 == 0);
    }
    node_unref(n);
}
END_TEST

/* One changed field of a fresh image. */
static const struct {
    const char *fmt, *options;
    unsigned at, size;
    uint64_t value; /* as it stands in the file, little-endian */
} lies[] = {
    {"vdi", "{\"size\": \"5M\"}", 0x44, 4, 0x00020001},         /* version */
    {"vdi", "{\"size\": \"5M\"}", 0x4c, 4, 4},                  /* differencing */
    {"vdi", "{\"size\": \"5M\"}", 0x154, 4, 513},               /* unaligned table */
    {"vdi", "{\"size\": \"5M\"}", 0x154, 4, 0x7ffffe00},        /* table outside */
    {"vdi", "{\"size\": \"5M\"}", 0x158, 4, 0},                 /* data over the table */
    {"vdi", "{\"size\": \"5M\"}", 0x170, 8, 1ull << 62},        /* larger than the table */
    {"vdi", "{\"size\": \"5M\"}", 0x178, 4, 512},               /* block size */
    {"vdi", "{\"size\": \"5M\"}", 0x180, 4, 0xfffffff0},        /* number of blocks */
    {"vdi", "{\"size\": \"5M\"}", 0x1b8, 4, 1},                 /* parent */
    {"vdi", "{\"size\": \"5M\"}", 512, 4, 99},                  /* a block that cannot be */
    {"vpc", "{\"size\": \"5M\"}", 48, 8, 1},                    /* checksum does not agree */
    {"vpc", "{\"size\": \"5M\"}", 512, 8, 0},                   /* header magic */
    {"vpc", "{\"size\": \"5M\"}", 512 + 16, 8, 0x11},           /* table outside */
    {"vpc", "{\"size\": \"5M\"}", 512 + 28, 4, 0x01000000},     /* one entry */
    {"vpc", "{\"size\": \"5M\"}", 512 + 28, 4, 0xffffffff},     /* too many */
    {"vpc", "{\"size\": \"5M\"}", 512 + 32, 4, 0x03000000},     /* block size 3 */
    {"vpc", "{\"size\": \"5M\"}", 1536, 4, 0xfffffff0},         /* a block outside */
    {"vmdk", "{\"size\": \"5M\"}", 4, 4, 9},                    /* version */
    {"vmdk", "{\"size\": \"5M\"}", 12, 8, 0},                   /* capacity */
    {"vmdk", "{\"size\": \"5M\"}", 12, 8, 1ull << 60},          /* capacity */
    {"vmdk", "{\"size\": \"5M\"}", 20, 8, 3},                   /* granularity */
    {"vmdk", "{\"size\": \"5M\"}", 28, 8, 1ull << 40},          /* descriptor outside */
    {"vmdk", "{\"size\": \"5M\"}", 36, 8, 1ull << 40},          /* descriptor too large */
    {"vmdk", "{\"size\": \"5M\"}", 44, 4, 0},                   /* no table entries */
    {"vmdk", "{\"size\": \"5M\"}", 44, 4, 1 << 20},             /* too many */
    {"vmdk", "{\"size\": \"5M\"}", 48, 8, 1ull << 50},          /* directory outside */
    {"vmdk", "{\"size\": \"5M\"}", 56, 8, 0},                   /* directory nowhere */
    {"vmdk", "{\"size\": \"5M\"}", 8, 4, 0x10003},              /* compressed, in an unknown way */
    {"vhdx", "{\"size\": \"5M\"}", 0, 4, 0},                    /* signature */
    {"vhdx", "{\"size\": \"5M\"}", 3 << 20, 4, 0},              /* metadata table */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 32, 4, 9},       /* unknown, but required */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 48, 4, 9},       /* an item within the table */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 52, 4, 1 << 30}, /* an item beyond its region */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 65536, 4, 3 << 20},    /* block size */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 65540, 4, 2},          /* a parent */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 65544, 8, 1ull << 40}, /* larger than its table */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 65544, 8, 100},        /* no whole sectors */
    {"vhdx", "{\"size\": \"5M\"}", (3 << 20) + 65568, 4, 520},        /* sector size */
    {"vhdx", "{\"size\": \"5M\"}", 2 << 20, 8, (1ull << 40) + 6},     /* a block beyond the end */
    {"vhdx", "{\"size\": \"5M\"}", 2 << 20, 8, (2 << 20) + 6},        /* a block over the table */
    {"vhdx", "{\"size\": \"5M\"}", 2 << 20, 8, (1 << 20) + 6},        /* a block over the log */
    {"vhdx", "{\"size\": \"5M\"}", 2 << 20, 8, 6},                    /* a block over the headers */
    {"vhdx", "{\"size\": \"5M\"}", 2 << 20, 8, (4 << 20) + 7},        /* partly in a parent */
};

START_TEST(lies_are_refused)
{
    AUTO_FREE char *path = path_of("disk.img");
    Error err = {0};
    BlockNode *n;
    int fd;

    create(lies[_i].fmt, path, lies[_i].options);
    fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, &lies[_i].value, lies[_i].size, lies[_i].at), lies[_i].size);
    close(fd);
    n = open_it(lies[_i].fmt, path, NODE_READ_ONLY, &err);
    ck_assert_msg(!n, "%s with %" PRIu64 " at %u was taken", lies[_i].fmt, lies[_i].value,
                  lies[_i].at);
    ck_assert_str_ne(err.msg, "");
}
END_TEST

START_TEST(vhdx_lives_with_one_header_and_one_region_table)
{
    static const unsigned at[] = {64 << 10, 128 << 10, 192 << 10, 256 << 10};

    for (unsigned bad = 1; bad < 16; bad++) {
        AUTO_FREE char *path = path_of("disk.img");
        Error err = {0};
        BlockNode *n;
        int fd;

        create("vhdx", path, "{\"size\": \"5M\"}");
        fd = open(path, O_RDWR);
        for (unsigned i = 0; i < COUNT_OF(at); i++)
            if (bad & 1u << i)
                ck_assert_int_eq(pwrite(fd, "bad", 3, at[i] + 100), 3);
        close(fd);
        n = open_it("vhdx", path, 0, &err);
        ck_assert_msg(!n == ((bad & 3) == 3 || (bad & 12) == 12), "%x: %s", bad, err.msg);
        if (!n)
            continue;
        ck_assert_int_eq(node_write(n, 70000, "new", 3), 0);
        node_unref(n);
        n = open_it("vhdx", path, 0, &err);
        ck_assert_msg(n, "%x: %s", bad, err.msg);
        node_unref(n);
    }
}
END_TEST

START_TEST(vhdx_tells_by_its_ids_that_it_was_written)
{
    AUTO_FREE char *path = path_of("disk.img");
    uint8_t before[2][80], after[2][80];
    BlockNode *n;
    int fd;

    create("vhdx", path, "{\"size\": \"5M\", \"subformat\": \"fixed\"}");
    fd = open(path, O_RDONLY);
    for (unsigned writes = 0; writes < 2; writes++) {
        for (unsigned i = 0; i < 2; i++)
            ck_assert_int_eq(pread(fd, before[i], 80, (i + 1) * 65536), 80);
        n = open_it("vhdx", path, 0, NULL);
        ck_assert_int_eq(writes ? node_write(n, 5, "new", 3) : node_read(n, 5, after, 3), 0);
        node_unref(n);
        for (unsigned i = 0; i < 2; i++)
            ck_assert_int_eq(pread(fd, after[i], 80, (i + 1) * 65536), 80);
        ck_assert_int_eq(!memcmp(before, after, sizeof before), !writes);
    }
    close(fd);
}
END_TEST

START_TEST(descriptors_of_vmdk_are_checked)
{
    static const char *const bad[] = {
        "version=1\n",
        "createType=\"monolithicFlat\"\n",
        "createType=\"monolithicFlat\"\nRW 0 FLAT \"x\" 0\n",
        "createType=\"monolithicFlat\"\nRW -5 FLAT \"x\" 0\n",
        "createType=\"monolithicFlat\"\nRW 99999999999999999999 FLAT \"x\" 0\n",
        "createType=\"monolithicFlat\"\nRW 8 FLAT \"disk.img\" 36028797018963967\n",
        "createType=\"monolithicFlat\"\nRW 8 FLAT \"none\" 0\n",
        "createType=\"monolithicFlat\"\nRW 8000 FLAT \"disk.img\" 0\n",
        "createType=\"monolithicFlat\"\nRW 8 FLAT disk.img 0\n",
        "createType=\"monolithicFlat\"\nRW 8 FLAT \"\" 0\n",
        "createType=\"x\"\nRW 8 SPARSE \"disk.img\"\n",
        "createType=\"x\"\nRW 8 DEVICE \"disk.img\"\n",
        "createType=\"x\"\nNOACCESS 8 FLAT \"disk.img\" 0\n",
    };
    AUTO_FREE char *path = path_of("disk.img");

    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        FILE *f = fopen(path, "w");
        BlockNode *n;

        fprintf(f, "# Disk DescriptorFile\n%s", bad[i]);
        fclose(f);
        n = open_it("vmdk", path, NODE_READ_ONLY, NULL);
        ck_assert_msg(!n, "descriptor %u was taken", i);
    }
}
END_TEST

START_TEST(sizes_beyond_a_format_are_refused)
{
    static const struct {
        const char *fmt, *size;
    } big[] = {{"vdi", "100T"},
               {"vpc", "3T"},
               {"vmdk", "65T"},
               {"vhdx", "65T"},
               {"luks", "9223372036854775807"}};

    for (unsigned i = 0; i < COUNT_OF(big); i++) {
        AUTO_FREE char *path = path_of("disk.img");
        json_t *o = json_pack("{s:s}", "size", big[i].size);

        if (!strcmp(big[i].fmt, "luks"))
            json_object_set_new(o, "key-secret", json_string("s"));
        ck_assert_msg(!block_driver_find(big[i].fmt)->create_file(g, path, o, NULL), "%s",
                      big[i].fmt);
        json_decref(o);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("image_formats");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, what_was_written_is_there_after_opening_again, 0, COUNT_OF(kinds));
    tcase_add_loop_test(t, lies_are_refused, 0, COUNT_OF(lies));
    tcase_add_test(t, an_overlay_of_vmdk_shows_its_base);
    tcase_add_test(t, an_overlay_of_a_vmdk_that_was_changed_is_refused);
    tcase_add_test(t, a_disk_in_several_files_is_one);
    tcase_add_test(t, compressed_grains_come_back);
    tcase_add_test(t, vhdx_lives_with_one_header_and_one_region_table);
    tcase_add_test(t, vhdx_tells_by_its_ids_that_it_was_written);
    tcase_add_test(t, descriptors_of_vmdk_are_checked);
    tcase_add_test(t, sizes_beyond_a_format_are_refused);
    return unit_run_case("image_formats", t);
}
