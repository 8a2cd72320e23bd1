/* SPDX-License-Identifier: GPL-2.0-or-later */
/* elf - ELF programs as kernels (System V ABI, chapters 4 and 5).  Nothing in the file is believed
 * unchecked. */
#include "base/bytes.h"
#include "hw/firmware/boot.h"

bool elf_is(const BootFile *f)
{
    return f->size >= 52 && !memcmp(f->p, "\177ELF", 4);
}

bool elf_open(Elf *e, const BootFile *f, Error *err)
{
    const uint8_t *p = f->p;

    if (!elf_is(f) || (p[4] != 1 && p[4] != 2) || (p[4] == 2 && f->size < 64))
        return error_set(err, "not an ELF program");
    if (p[5] != 1)
        return error_set(err, "a big-endian ELF program");
    *e = (Elf){.p = p, .size = f->size, .is64 = p[4] == 2, .machine = get_le16(p + 18)};
    if (e->machine != ELF_386 && e->machine != ELF_X86_64)
        return error_set(err, "an ELF program for another architecture (machine %u)", e->machine);
    e->entry = e->is64 ? get_le64(p + 24) : get_le32(p + 24);
    e->ph_at = e->is64 ? get_le64(p + 32) : get_le32(p + 28);
    e->ph_size = get_le16(p + (e->is64 ? 54 : 42));
    e->n_ph = get_le16(p + (e->is64 ? 56 : 44));
    if (e->n_ph == 0 || e->ph_size < (e->is64 ? 56 : 32))
        return error_set(err, "an ELF program without segments");
    if (e->ph_at > f->size || (uint64_t)e->n_ph * e->ph_size > f->size - e->ph_at)
        return error_set(err, "cut short: its program headers end beyond the file");
    return true;
}

bool elf_segment(const Elf *e, unsigned n, ElfSegment *out, Error *err)
{
    const uint8_t *p = e->p + e->ph_at + (size_t)n * e->ph_size;

    out->type = get_le32(p);
    if (e->is64) {
        out->at = get_le64(p + 8);
        out->paddr = get_le64(p + 24);
        out->file_size = get_le64(p + 32);
        out->mem_size = get_le64(p + 40);
        out->align = get_le64(p + 48);
    } else {
        out->at = get_le32(p + 4);
        out->paddr = get_le32(p + 12);
        out->file_size = get_le32(p + 16);
        out->mem_size = get_le32(p + 20);
        out->align = get_le32(p + 28);
    }
    if (out->at > e->size || out->file_size > e->size - out->at)
        return error_set(err, "cut short: segment %u ends beyond the file", n);
    if (out->type == ELF_LOAD && out->mem_size < out->file_size)
        return error_set(err, "segment %u is larger in the file than in memory", n);
    return true;
}

bool elf_load(const Elf *e, BootImage *img, const BootInput *in, Gpa *end, Error *err)
{
    ElfSegment s;

    *end = 0;
    for (unsigned i = 0; i < e->n_ph; i++) {
        if (!elf_segment(e, i, &s, err))
            return false;
        if (s.type != ELF_LOAD || s.mem_size == 0)
            continue;
        if (!boot_add(img, in, s.paddr, (uint8_t *)e->p + s.at, s.file_size,
                      s.mem_size - s.file_size, err))
            return error_prefix(err, "segment %u: ", i);
        *end = MAX(*end, s.paddr + s.mem_size);
    }
    return *end ? true : error_set(err, "an ELF program with nothing to load");
}

/* Notes: name size, description size, type, then both, padded as the segment is (4 or 8). */
static bool note_in(const uint8_t *p, uint64_t size, uint64_t align, const char *name,
                    uint32_t type, uint64_t *value)
{
    while (size >= 12) {
        uint64_t name_size = get_le32(p), desc_size = get_le32(p + 4);
        uint64_t desc_at = ALIGN_UP(12 + name_size, align),
                 next = ALIGN_UP(desc_at + desc_size, align);

        if (desc_at + desc_size > size)
            return false;
        if (get_le32(p + 8) == type && name_size == strlen(name) + 1 &&
            !memcmp(p + 12, name, name_size) && (desc_size == 4 || desc_size == 8)) {
            *value = get_le(p + desc_at, (unsigned)desc_size);
            return true;
        }
        if (next >= size)
            return false;
        p += next;
        size -= next;
    }
    return false;
}

bool elf_note(const Elf *e, const char *name, uint32_t type, uint64_t *value)
{
    ElfSegment s;

    for (unsigned i = 0; i < e->n_ph; i++)
        if (elf_segment(e, i, &s, NULL) && s.type == ELF_NOTE &&
            note_in(e->p + s.at, s.file_size, s.align == 8 ? 8 : 4, name, type, value))
            return true;
    return false;
}
