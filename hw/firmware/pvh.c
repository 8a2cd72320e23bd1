/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvh - ELF kernels with the XEN_ELFNOTE_PHYS32_ENTRY note
 *
 * Documents: Xen docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h (version 1).
 * Starts in 32-bit protected mode without paging, EBX = hvm_start_info.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "hw/firmware/boot.h"

enum { NOTE_PHYS32_ENTRY = 18, START_MAGIC = 0x336ec578 };
enum { START_SIZE = 56, MODULE_SIZE = 32, MAP_SIZE = 24 };

static bool lay_out(BootImage *img, const BootInput *in, const Elf *e, uint64_t entry, Error *err)
{
    BootModule mods[BOOT_MODULES_MAX];
    Gpa end, text_at = BOOT_TEXT, map_at = BOOT_INFO + START_SIZE,
             mods_at = map_at + MAP_SIZE * in->n_map;
    uint8_t *info =
        xalloc(START_SIZE + MAP_SIZE * COUNT_OF(in->map) + MODULE_SIZE * BOOT_MODULES_MAX);
    int n_mods;

    boot_own(img, info);
    if (entry >= 4 * GIB)
        return error_set(err, "its PVH entry 0x%" PRIx64 " is not below 4 GiB", entry);
    if (!elf_load(e, img, in, &end, err) ||
        !boot_add_text(img, in, &text_at, in->append ? in->append : "", err))
        return false;
    n_mods = boot_add_modules(img, in, ALIGN_UP(end, (Gpa)4096), &text_at, mods, err);
    if (n_mods < 0)
        return false;
    put_le32(info, START_MAGIC);
    put_le32(info + 4, 1);
    put_le32(info + 12, (uint32_t)n_mods);
    put_le64(info + 16, n_mods ? mods_at : 0);
    put_le64(info + 24, BOOT_TEXT);
    put_le64(info + 32, in->rsdp);
    put_le64(info + 40, map_at);
    put_le32(info + 48, in->n_map);
    for (unsigned i = 0; i < in->n_map; i++) {
        uint8_t *m = info + (map_at - BOOT_INFO) + i * MAP_SIZE;

        put_le64(m, in->map[i].at);
        put_le64(m + 8, in->map[i].size);
        put_le32(m + 16, in->map[i].type);
    }
    for (int i = 0; i < n_mods; i++) {
        uint8_t *m = info + (mods_at - BOOT_INFO) + i * MODULE_SIZE;

        put_le64(m, mods[i].at);
        put_le64(m + 8, mods[i].size);
        put_le64(m + 16, mods[i].text_at);
    }
    img->entry = entry;
    img->ebx = BOOT_INFO;
    return boot_add(img, in, BOOT_INFO, info, mods_at - BOOT_INFO + (uint64_t)n_mods * MODULE_SIZE,
                    0, err);
}

BootMatch pvh_load(BootImage *img, const BootInput *in, const BootFile *f, Error *err)
{
    uint64_t entry;
    Elf e;

    if (!elf_is(f))
        return BOOT_NOT_MINE;
    if (!elf_open(&e, f, err))
        return BOOT_FAILED;
    if (!elf_note(&e, "Xen", NOTE_PHYS32_ENTRY, &entry))
        return BOOT_NOT_MINE;
    return lay_out(img, in, &e, entry, err) ? BOOT_LOADED : BOOT_FAILED;
}
