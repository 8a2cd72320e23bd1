/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * multiboot - kernels of the Multiboot Specification, version 0.6.96, chapter 3
 *
 * ELF32 programs, and any format by the header's address fields.  Modules come from -initrd.
 * Video mode wishes are not met: the information says that there is no video.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "hw/firmware/boot.h"

enum { HEADER_MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002, SEARCH_SIZE = 8192 };
enum { WANT_ADDRESSES = 1 << 16, KNOWN_DEMANDS = 7, DEMANDS = 0xffff };
enum { HAS_MEM = 1, HAS_CMDLINE = 4, HAS_MODS = 8, HAS_MMAP = 64, HAS_LOADER_NAME = 512 };
enum { INFO_SIZE = 120, MODULE_SIZE = 16, MMAP_SIZE = 24 };

/* Offset of the header, or a negative number. */
static long find_header(const BootFile *f)
{
    size_t end = MIN(f->size, (size_t)SEARCH_SIZE);

    for (size_t at = 0; at + 12 <= end; at += 4) {
        const uint8_t *p = f->p + at;

        if (get_le32(p) == HEADER_MAGIC && get_le32(p) + get_le32(p + 4) + get_le32(p + 8) == 0)
            return (long)at;
    }
    return -1;
}

/* The header tells where to put what (3.1.3). */
static bool load_flat(BootImage *img, const BootInput *in, const BootFile *f, size_t header,
                      Gpa *end, Error *err)
{
    const uint8_t *p = f->p + header;
    uint32_t header_addr, load, load_end, bss_end;
    uint64_t from, size, zero;

    if (header + 32 > f->size)
        return error_set(err, "cut short within its multiboot header");
    header_addr = get_le32(p + 12);
    load = get_le32(p + 16);
    load_end = get_le32(p + 20);
    bss_end = get_le32(p + 24);
    if (load > header_addr || header_addr - load > header)
        return error_set(err, "its multiboot header places the file's start wrongly");
    from = header - (header_addr - load);
    size = load_end ? (uint64_t)load_end - load : f->size - from;
    if ((load_end && load_end < load) || size > f->size - from)
        return error_set(err, "cut short: its multiboot header asks for more than the file has");
    if (bss_end && bss_end < load + size)
        return error_set(err, "its multiboot header ends memory before the file's end");
    zero = bss_end ? bss_end - (load + size) : 0;
    *end = load + size + zero;
    img->entry = get_le32(p + 28);
    return boot_add(img, in, load, f->p + from, size, zero, err);
}

static bool load_elf(BootImage *img, const BootInput *in, const BootFile *f, Gpa *end, Error *err)
{
    Elf e;

    if (!elf_open(&e, f, err))
        return false;
    if (e.is64)
        return error_set(
            err, "a 64-bit ELF program with a multiboot header; multiboot starts 32-bit programs");
    img->entry = e.entry;
    return elf_load(&e, img, in, end, err);
}

static bool add_info(BootImage *img, const BootInput *in, Gpa end, Error *err)
{
    BootModule mods[BOOT_MODULES_MAX];
    Gpa text_at = BOOT_TEXT, mmap_at = BOOT_INFO + INFO_SIZE,
        mods_at = mmap_at + MMAP_SIZE * in->n_map, name_at;
    uint8_t *info =
        xalloc(INFO_SIZE + MMAP_SIZE * COUNT_OF(in->map) + MODULE_SIZE * BOOT_MODULES_MAX);
    AUTO_FREE char *cmdline = xasprintf("%s %s", in->kernel, in->append ? in->append : "");
    int n_mods;

    boot_own(img, info);
    if (!boot_add_text(img, in, &text_at, cmdline, err))
        return false;
    name_at = text_at;
    if (!boot_add_text(img, in, &text_at, "rhea", err))
        return false;
    n_mods = boot_add_modules(img, in, ALIGN_UP(end, (Gpa)4096), &text_at, mods, err);
    if (n_mods < 0)
        return false;
    put_le32(info, HAS_MEM | HAS_CMDLINE | HAS_MODS | HAS_MMAP | HAS_LOADER_NAME);
    put_le32(info + 4, 640);
    put_le32(info + 8, (uint32_t)((in->low_ram - MIB) / KIB));
    put_le32(info + 16, BOOT_TEXT);
    put_le32(info + 20, (uint32_t)n_mods);
    put_le32(info + 24, (uint32_t)mods_at);
    put_le32(info + 44, MMAP_SIZE * in->n_map);
    put_le32(info + 48, (uint32_t)mmap_at);
    put_le32(info + 64, (uint32_t)name_at);
    for (unsigned i = 0; i < in->n_map; i++) {
        uint8_t *m = info + INFO_SIZE + i * MMAP_SIZE;

        put_le32(m, MMAP_SIZE - 4);
        put_le64(m + 4, in->map[i].at);
        put_le64(m + 12, in->map[i].size);
        put_le32(m + 20, in->map[i].type);
    }
    for (int i = 0; i < n_mods; i++) {
        uint8_t *m = info + (mods_at - BOOT_INFO) + i * MODULE_SIZE;

        put_le32(m, (uint32_t)mods[i].at);
        put_le32(m + 4, (uint32_t)(mods[i].at + mods[i].size));
        put_le32(m + 8, (uint32_t)mods[i].text_at);
    }
    img->eax = LOADER_MAGIC;
    img->ebx = BOOT_INFO;
    return boot_add(img, in, BOOT_INFO, info, mods_at - BOOT_INFO + (uint64_t)n_mods * MODULE_SIZE,
                    0, err);
}

BootMatch multiboot_load(BootImage *img, const BootInput *in, const BootFile *f, Error *err)
{
    long header = find_header(f);
    uint32_t flags;
    Gpa end;

    if (header < 0)
        return BOOT_NOT_MINE;
    flags = get_le32(f->p + header + 4);
    if (flags & DEMANDS & ~KNOWN_DEMANDS) {
        error_set(err, "its multiboot header demands features 0x%x that do not exist",
                  flags & DEMANDS & ~KNOWN_DEMANDS);
        return BOOT_FAILED;
    }
    if (!(flags & WANT_ADDRESSES ? load_flat(img, in, f, (size_t)header, &end, err)
                                 : load_elf(img, in, f, &end, err)))
        return BOOT_FAILED;
    return add_info(img, in, end, err) ? BOOT_LOADED : BOOT_FAILED;
}
