/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dump_elf - guest memory as an ELF64 core file: notes of the processors, then memory (gABI
 * chapter 5; elf(5)) */
#include <elf.h>

#include "base/alloc.h"
#include "monitor/dump_priv.h"

static bool put_header(Dump *d, unsigned n_segments)
{
    Elf64_Ehdr h = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = d->machine->arch->elf_machine,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof h,
        .e_ehsize = sizeof h,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)n_segments,
    };

    return dump_put(d, &h, sizeof h);
}

static bool put_segment(Dump *d, uint64_t va, uint64_t pa, uint64_t size, uint64_t file_at)
{
    Elf64_Phdr p = {
        .p_type = PT_LOAD,
        .p_offset = file_at,
        .p_vaddr = va,
        .p_paddr = pa,
        .p_filesz = size,
        .p_memsz = size,
    };

    return dump_put(d, &p, sizeof p);
}

static const DumpRange *range_of(const Dump *d, Gpa pa)
{
    const DumpRange *r = d->ranges;

    while (pa - r->at >= r->size)
        r++;
    return r;
}

static bool put_segments(Dump *d)
{
    bool ok = true;

    if (!d->n_maps)
        for (unsigned i = 0; ok && i < d->n_ranges; i++)
            ok = put_segment(d, d->ranges[i].at, d->ranges[i].at, d->ranges[i].size,
                             d->ranges[i].file_at);
    for (unsigned i = 0; ok && i < d->n_maps; i++) {
        const DumpMap *m = &d->maps[i];
        const DumpRange *r = range_of(d, m->pa);

        ok = put_segment(d, m->va, m->pa, m->size, r->file_at + (m->pa - r->at));
    }
    return ok;
}

static bool put_range(Dump *d, const DumpRange *r)
{
    AUTO_FREE uint8_t *buf = xalloc(DUMP_STEP);

    for (uint64_t at = 0; at < r->size; at += DUMP_STEP) {
        size_t step = (size_t)MIN(r->size - at, (uint64_t)DUMP_STEP);

        if (!dump_read(d, r->at + at, buf, step) || !dump_put(d, buf, step))
            return false;
        d->done += step;
    }
    return true;
}

bool dump_write_elf(Dump *d)
{
    unsigned n = 1 + (d->n_maps ? d->n_maps : d->n_ranges);
    uint64_t at = sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr);
    Elf64_Phdr note = {
        .p_type = PT_NOTE, .p_offset = at, .p_filesz = d->notes.len, .p_memsz = d->notes.len};
    bool ok;

    at += d->notes.len;
    for (unsigned i = 0; i < d->n_ranges; i++) {
        d->ranges[i].file_at = at;
        at += d->ranges[i].size;
    }
    ok = put_header(d, n) && dump_put(d, &note, sizeof note) && put_segments(d) &&
         dump_put(d, d->notes.p, d->notes.len);
    for (unsigned i = 0; ok && i < d->n_ranges; i++)
        ok = put_range(d, &d->ranges[i]);
    return ok;
}
