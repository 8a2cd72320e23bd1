/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of the kernel loaders: hw/firmware/boot.h */
#include <stdio.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "hw/firmware/boot.h"
#include "tests/unit/unit.h"

/* Files are in memory: by name. */
static struct {
    const char *name;
    uint8_t p[65536];
    size_t size;
} files[4];

static bool read_fake(const char *path, BootFile *out, Error *err)
{
    for (unsigned i = 0; i < COUNT_OF(files); i++)
        if (files[i].name && !strcmp(files[i].name, path)) {
            *out = (BootFile){xalloc(files[i].size + 1), files[i].size};
            memcpy(out->p, files[i].p, files[i].size);
            return true;
        }
    return error_set(err, "could not open '%s'", path);
}

static uint8_t *file(unsigned n, const char *name, size_t size)
{
    files[n].name = name;
    files[n].size = size;
    memset(files[n].p, 0, sizeof files[n].p);
    return files[n].p;
}

static BootInput input(void)
{
    BootInput in = {
        .kernel = "kernel",
        .append = "quiet",
        .read = read_fake,
        .n_map = 3,
        .low_ram = 64 * MIB,
        .rsdp = 0xe0000,
        .map = {{0, 0x9fc00, BOOT_RAM},
                {0xe0000, 0x20000, BOOT_RESERVED},
                {MIB, 63 * MIB, BOOT_RAM}},
    };
    return in;
}

static const BootPiece *piece_at(const BootImage *img, Gpa at)
{
    for (unsigned i = 0; i < img->n_pieces; i++)
        if (img->piece[i].at == at)
            return &img->piece[i];
    ck_abort_msg("no piece at 0x%" PRIx64, at);
    return NULL;
}

static const char *refusal(const BootInput *in)
{
    static Error err;
    BootImage img;

    err.msg[0] = 0;
    ck_assert(!boot_load(&img, in, &err));
    ck_assert_ptr_null(img.piece);
    ck_assert_ptr_null(img.owned);
    return err.msg;
}

/* A bzImage of two setup sectors and 1000 bytes of code. */
static uint8_t *bzimage(void)
{
    uint8_t *p = file(0, "kernel", 2 * 512 + 1000);

    p[0x1f1] = 1;
    put_le16(p + 0x1fe, 0xaa55);
    p[0x200] = 0xeb;
    p[0x201] = 0x66;
    memcpy(p + 0x202, "HdrS", 4);
    put_le16(p + 0x206, 0x20f);
    p[0x211] = 1;
    put_le32(p + 0x214, 0x100000);
    put_le32(p + 0x22c, 0x7fffffff);
    put_le16(p + 0x236, 1);
    put_le32(p + 0x238, 2047);
    put_le64(p + 0x258, 16 * MIB);
    put_le32(p + 0x260, MIB);
    p[1024] = 0xf4;
    return p;
}

START_TEST(a_bzimage_starts_at_its_32_bit_entry_with_a_zero_page)
{
    BootInput in = input();
    const uint8_t *zero_page;
    BootImage img;

    bzimage();
    file(1, "initrd", 5000)[0] = 0x77;
    in.initrd = "initrd";
    ck_assert(boot_load(&img, &in, NULL));
    ck_assert(!img.long_mode);
    ck_assert_uint_eq(img.entry, MIB);
    ck_assert_uint_eq(img.esi, BOOT_INFO);
    ck_assert_uint_eq(piece_at(&img, MIB)->p[0], 0xf4);
    ck_assert_uint_eq(piece_at(&img, MIB)->size, 1000);
    zero_page = piece_at(&img, BOOT_INFO)->p;
    ck_assert_uint_eq(zero_page[0x1e8], 3);
    ck_assert_uint_eq(get_le64(zero_page + 0x2d0 + 40), MIB);
    ck_assert_uint_eq(get_le64(zero_page + 0x2d0 + 48), 63 * MIB);
    ck_assert_uint_eq(get_le64(zero_page + 0x70), 0xe0000);
    ck_assert_uint_eq(get_le32(zero_page + 0x218), 64 * MIB - 8192);
    ck_assert_uint_eq(get_le32(zero_page + 0x21c), 5000);
    ck_assert_uint_eq(piece_at(&img, 64 * MIB - 8192)->p[0], 0x77);
    ck_assert_str_eq((const char *)piece_at(&img, get_le32(zero_page + 0x228))->p, "quiet");
    boot_free(&img);
}
END_TEST

START_TEST(the_64_bit_entry_comes_with_page_tables)
{
    BootInput in = input();
    const uint8_t *t;
    BootImage img;
    uint8_t *p = bzimage();

    in.entry64 = true;
    ck_assert(boot_load(&img, &in, NULL));
    ck_assert(img.long_mode);
    ck_assert_uint_eq(img.entry, MIB + 0x200);
    t = piece_at(&img, BOOT_PAGES)->p;
    ck_assert_uint_eq(get_le64(t + 4096 + 24), (BOOT_PAGES + 5 * 4096) | 3);
    ck_assert_uint_eq(get_le64(t + 5 * 4096 + 511 * 8), (4 * GIB - 2 * MIB) | 0x83);
    boot_free(&img);
    p[0x236] = 0;
    ck_assert_ptr_nonnull(strstr(refusal(&in), "64-bit"));
}
END_TEST

START_TEST(the_initrd_stays_below_the_kernels_limit_and_off_its_work_space)
{
    BootInput in = input();
    BootImage img;
    uint8_t *p = bzimage();

    file(1, "initrd", 4096);
    in.initrd = "initrd";
    put_le32(p + 0x22c, 32 * MIB - 1);
    ck_assert(boot_load(&img, &in, NULL));
    ck_assert_uint_eq(get_le32(piece_at(&img, BOOT_INFO)->p + 0x218), 32 * MIB - 4096);
    boot_free(&img);
    put_le32(p + 0x22c, 17 * MIB + 100);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "-initrd initrd: no room"));
}
END_TEST

START_TEST(bad_bzimages_are_refused_by_name_and_reason)
{
    BootInput in = input();
    uint8_t *p = bzimage();

    files[0].size = 0x210;
    ck_assert_str_eq(refusal(&in), "-kernel kernel: cut short: 528 bytes end within its header");
    files[0].size = 1024;
    ck_assert_ptr_nonnull(strstr(refusal(&in), "cut short: no code"));
    bzimage();
    put_le16(p + 0x206, 0x201);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "2.01 is too old"));
    bzimage();
    p[0x211] = 0;
    ck_assert_ptr_nonnull(strstr(refusal(&in), "zImage"));
    bzimage();
    put_le32(p + 0x260, 60 * MIB);
    ck_assert_str_eq(refusal(&in), "-kernel kernel: needs RAM up to 76 MiB, there are 64");
    bzimage();
    put_le32(p + 0x238, 4);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "-append has 5 characters, this kernel takes 4"));
    bzimage();
    in.initrd = "nowhere";
    ck_assert_str_eq(refusal(&in), "-initrd: could not open 'nowhere'");
    in.kernel = "nothing";
    ck_assert_str_eq(refusal(&in), "-kernel: could not open 'nothing'");
}
END_TEST

/* ELF header, a PT_LOAD (file bytes 256..512 to 2 MiB, 1 KiB in memory), a PT_NOTE (at 512). */
static uint8_t *elf(bool is64, unsigned machine)
{
    uint8_t *p = file(0, "kernel", 1024), *ph = p + (is64 ? 64 : 52);
    unsigned size = is64 ? 56 : 32;

    memcpy(p, "\177ELF", 4);
    p[4] = is64 ? 2 : 1;
    p[5] = p[6] = 1;
    put_le16(p + 16, 2);
    put_le16(p + 18, (uint16_t)machine);
    put_le16(p + (is64 ? 54 : 42), (uint16_t)size);
    put_le16(p + (is64 ? 56 : 44), 2);
    if (is64) {
        put_le64(p + 24, 0x200010);
        put_le64(p + 32, 64);
    } else {
        put_le32(p + 24, 0x200010);
        put_le32(p + 28, 52);
    }
    for (unsigned i = 0; i < 2; i++, ph += size) {
        const uint64_t v[] = {i ? 512 : 256, i ? 0 : 0x200000, i ? 64 : 256, i ? 64 : 1024, 4};
        static const uint8_t at64[] = {8, 24, 32, 40, 48}, at32[] = {4, 12, 16, 20, 28};

        put_le32(ph, i ? 4 : 1);
        for (unsigned n = 0; n < COUNT_OF(v); n++)
            if (is64)
                put_le64(ph + at64[n], v[n]);
            else
                put_le32(ph + at32[n], (uint32_t)v[n]);
    }
    put_le32(p + 512, 4);
    put_le32(p + 516, is64 ? 8 : 4);
    put_le32(p + 520, 18);
    memcpy(p + 524, "Xen", 4);
    put_le32(p + 528, 0x200040);
    p[256] = 0xf4;
    return p;
}

static void check_pvh(bool is64)
{
    BootInput in = input();
    const uint8_t *info;
    BootImage img;
    Error err;

    elf(is64, is64 ? 62 : 3);
    file(1, "m1", 10);
    in.initrd = "m1 with args";
    ck_assert_msg(boot_load(&img, &in, &err), "%s", err.msg);
    ck_assert_uint_eq(img.entry, 0x200040);
    ck_assert_uint_eq(img.ebx, BOOT_INFO);
    ck_assert_uint_eq(piece_at(&img, 0x200000)->size, 256);
    ck_assert_uint_eq(piece_at(&img, 0x200000)->zero, 768);
    info = piece_at(&img, BOOT_INFO)->p;
    ck_assert_uint_eq(get_le32(info), 0x336ec578);
    ck_assert_uint_eq(get_le32(info + 12), 1);
    ck_assert_uint_eq(get_le64(info + 32), 0xe0000);
    ck_assert_uint_eq(get_le32(info + 48), 3);
    ck_assert_str_eq((const char *)piece_at(&img, get_le64(info + 24))->p, "quiet");
    info += get_le64(info + 16) - BOOT_INFO;
    ck_assert_uint_eq(get_le64(info), 64 * MIB - 4096);
    ck_assert_uint_eq(get_le64(info + 8), 10);
    ck_assert_str_eq((const char *)piece_at(&img, get_le64(info + 16))->p, "m1 with args");
    boot_free(&img);
}

START_TEST(elf_kernels_with_a_pvh_note_start_there)
{
    check_pvh(true);
    check_pvh(false);
}
END_TEST

START_TEST(bad_elf_kernels_are_refused_by_reason)
{
    BootInput in = input();
    uint8_t *p = elf(true, 183);

    ck_assert_ptr_nonnull(strstr(refusal(&in), "another architecture (machine 183)"));
    p = elf(true, 62);
    p[520] = 17;
    ck_assert_ptr_nonnull(strstr(refusal(&in), "without a PVH entry note"));
    p = elf(true, 62);
    put_le64(p + 64 + 24, 0xfffffffffffff000);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "not in the guest's RAM"));
    p = elf(true, 62);
    put_le64(p + 64 + 40, UINT64_MAX);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "not in the guest's RAM"));
    p = elf(true, 62);
    put_le64(p + 64 + 32, 2000);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "cut short: segment 0"));
    p = elf(true, 62);
    put_le64(p + 32, UINT64_MAX);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "cut short: its program headers"));
    p = elf(true, 62);
    p[5] = 2;
    ck_assert_ptr_nonnull(strstr(refusal(&in), "big-endian"));
}
END_TEST

static void multiboot_header(uint8_t *p, uint32_t flags)
{
    put_le32(p, 0x1badb002);
    put_le32(p + 4, flags);
    put_le32(p + 8, 0u - 0x1badb002u - flags);
}

START_TEST(multiboot_elf_kernels_get_modules_and_memory_map)
{
    BootInput in = input();
    const uint8_t *info, *mods;
    BootImage img;
    Error err;

    multiboot_header(elf(false, 3) + 600, 3);
    files[0].p[520] = 0; /* no PVH note */
    file(1, "a", 4097)[0] = 1;
    file(2, "b,c", 10)[0] = 2;
    in.initrd = "a one,b,,c two";
    ck_assert_msg(boot_load(&img, &in, &err), "%s", err.msg);
    ck_assert_uint_eq(img.entry, 0x200010);
    ck_assert_uint_eq(img.eax, 0x2badb002);
    info = piece_at(&img, img.ebx)->p;
    ck_assert_uint_eq(get_le32(info), 1 | 4 | 8 | 64 | 512);
    ck_assert_uint_eq(get_le32(info + 8), 63 * 1024);
    ck_assert_str_eq((const char *)piece_at(&img, get_le32(info + 16))->p, "kernel quiet");
    ck_assert_uint_eq(get_le32(info + 20), 2);
    mods = info + get_le32(info + 24) - BOOT_INFO;
    ck_assert_uint_eq(get_le32(mods), 64 * MIB - 8192);
    ck_assert_uint_eq(get_le32(mods + 4), 64 * MIB - 8192 + 4097);
    ck_assert_str_eq((const char *)piece_at(&img, get_le32(mods + 8))->p, "a one");
    ck_assert_uint_eq(get_le32(mods + 16), 64 * MIB - 12288);
    ck_assert_str_eq((const char *)piece_at(&img, get_le32(mods + 24))->p, "b,c two");
    ck_assert_uint_eq(get_le32(info + 44), 72);
    ck_assert_uint_eq(get_le32(info + get_le32(info + 48) - BOOT_INFO), 20);
    boot_free(&img);
}
END_TEST

static uint8_t *flat(uint32_t load, uint32_t load_end, uint32_t bss_end)
{
    uint8_t *p = file(0, "kernel", 2048);

    multiboot_header(p + 64, 1 << 16);
    put_le32(p + 64 + 12, 0x100000 + 64);
    put_le32(p + 64 + 16, load);
    put_le32(p + 64 + 20, load_end);
    put_le32(p + 64 + 24, bss_end);
    put_le32(p + 64 + 28, 0x100100);
    return p;
}

START_TEST(multiboot_flat_kernels_are_placed_by_their_header)
{
    BootInput in = input();
    BootImage img;

    flat(0x100000, 0, 0x101000);
    ck_assert(boot_load(&img, &in, NULL));
    ck_assert_uint_eq(img.entry, 0x100100);
    ck_assert_uint_eq(piece_at(&img, 0x100000)->size, 2048);
    ck_assert_uint_eq(piece_at(&img, 0x100000)->zero, 2048);
    boot_free(&img);
    flat(0x100020, 0x100420, 0);
    ck_assert(boot_load(&img, &in, NULL));
    ck_assert_uint_eq(piece_at(&img, 0x100020)->size, 0x400);
    boot_free(&img);
    flat(0x100000, 0x110000, 0);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "asks for more than the file has"));
    flat(0xf0000, 0, 0);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "places the file's start wrongly"));
    flat(0x100000, 0, 0x100010);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "ends memory before"));
    flat(0x100000, 0, 0xffffffff);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "not in the guest's RAM"));
    multiboot_header(flat(0x100000, 0, 0) + 64, 1 << 16 | 8);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "features 0x8"));
}
END_TEST

START_TEST(what_is_no_kernel_is_named)
{
    BootInput in = input();

    file(0, "kernel", 10);
    ck_assert_str_eq(refusal(&in), "-kernel kernel: too short for a kernel (10 bytes)");
    file(0, "kernel", 0);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "too short"));
    file(0, "kernel", 4096);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "not a kernel"));
    memcpy(file(0, "kernel", 4096) + 56, "ARMd", 4);
    ck_assert_ptr_nonnull(strstr(refusal(&in), "arm64"));
}
END_TEST

/* Any change of one byte, and any cut, either loads or is refused; the sanitizers watch. */
START_TEST(damaged_files_do_no_harm)
{
    BootInput in = input();
    static uint8_t was[1024];

    for (unsigned kind = 0; kind < 3; kind++) {
        for (unsigned at = 0; at < 1024; at++) {
            BootImage img;
            uint8_t *p = kind == 0 ? bzimage() : kind == 1 ? elf(true, 62) : flat(0x100000, 0, 0);

            memcpy(was, p, sizeof was);
            p[at] ^= 0xff;
            if (boot_load(&img, &in, NULL))
                boot_free(&img);
            memcpy(p, was, sizeof was);
            files[0].size = at;
            if (boot_load(&img, &in, NULL))
                boot_free(&img);
        }
    }
}
END_TEST

UNIT_MAIN("loader", a_bzimage_starts_at_its_32_bit_entry_with_a_zero_page,
          the_64_bit_entry_comes_with_page_tables,
          the_initrd_stays_below_the_kernels_limit_and_off_its_work_space,
          bad_bzimages_are_refused_by_name_and_reason, elf_kernels_with_a_pvh_note_start_there,
          bad_elf_kernels_are_refused_by_reason, multiboot_elf_kernels_get_modules_and_memory_map,
          multiboot_flat_kernels_are_placed_by_their_header, what_is_no_kernel_is_named,
          damaged_files_do_no_harm)
