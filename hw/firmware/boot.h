/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot - kernels started without firmware: bzImage, PVH, multiboot
 *
 * A loader is a pure function: file bytes and a description of the board go in, a BootImage comes
 * out: pieces of memory and the state in which the first processor starts.  The board places the
 * pieces at every reset.  Nothing here knows a processor or a machine.
 */
#ifndef HW_FIRMWARE_BOOT_H
#define HW_FIRMWARE_BOOT_H

#include "base/base.h"
#include "base/error.h"
#include "core/memory.h"

/* Where loaders put their own data, all below the EBDA. */
enum {
    BOOT_GDT = 0x7000,
    BOOT_TSS = 0x7080,
    BOOT_PAGES = 0x9000, /* six pages: 4 GiB identity-mapped for 64-bit entries */
    BOOT_INFO = 0x10000, /* zero page, hvm_start_info or multiboot information */
    BOOT_TEXT = 0x20000, /* command lines */
    BOOT_TEXT_END = 0x80000,
};
/* Selectors of the GDT at BOOT_GDT. */
enum { BOOT_CS64 = 0x08, BOOT_CS32 = 0x10, BOOT_DS = 0x18, BOOT_TR = 0x20, BOOT_GDT_LIMIT = 0x2f };

enum { BOOT_RAM = 1, BOOT_RESERVED = 2, BOOT_ACPI = 3 };
typedef struct BootRange {
    Gpa at;
    uint64_t size;
    uint32_t type;
} BootRange;

typedef struct BootFile {
    uint8_t *p; /* owned */
    size_t size;
} BootFile;

/* Reads a whole file; the text of the error names it. */
typedef bool BootReadFn(const char *path, BootFile *out, Error *err);

typedef struct BootInput {
    const char *kernel, *initrd, *append; /* option texts; initrd and append may be NULL */
    BootReadFn *read;
    BootRange map[8]; /* memory as the guest is told, sorted */
    unsigned n_map;
    uint64_t low_ram; /* end of RAM below 4 GiB */
    Gpa rsdp;         /* 0: no ACPI tables */
    bool entry64;     /* bzImage: use the 64-bit entry */
} BootInput;

typedef struct BootPiece {
    Gpa at;
    uint8_t *p; /* within one of BootImage.owned */
    uint64_t size;
    uint64_t zero; /* bytes to clear after them */
} BootPiece;

typedef struct BootImage {
    BootPiece *piece;
    unsigned n_pieces;
    void **owned;
    unsigned n_owned;
    bool long_mode; /* else 32-bit protected mode without paging */
    uint64_t entry;
    uint32_t eax, ebx, esi;
} BootImage;

bool boot_read_file(const char *path, BootFile *out, Error *err); /* regular files up to 4 GiB */
/* Recognize the kernel and lay it out; on failure the image is empty and the text names file and
 * reason. */
bool boot_load(BootImage *img, const BootInput *in, Error *err);
int boot_place(const BootImage *img, AddressSpace *as); /* MEM_OK or the worst of what happened */
void boot_free(BootImage *img);

/* --- for the loaders --- */
typedef enum BootMatch { BOOT_NOT_MINE, BOOT_LOADED, BOOT_FAILED } BootMatch;
BootMatch linux_load(BootImage *img, const BootInput *in, const BootFile *kernel, Error *err);
BootMatch pvh_load(BootImage *img, const BootInput *in, const BootFile *kernel, Error *err);
BootMatch multiboot_load(BootImage *img, const BootInput *in, const BootFile *kernel, Error *err);

void boot_own(BootImage *img, void *p); /* released with the image */
/* @p stays owned by whoever boot_own() was told of; refused unless all of it is RAM below 4 GiB. */
bool boot_add(BootImage *img, const BootInput *in, Gpa at, uint8_t *p, uint64_t size, uint64_t zero,
              Error *err);
bool boot_add_copy(BootImage *img, const BootInput *in, Gpa at, const void *p, size_t size,
                   Error *err);
/* Highest page-aligned place for @size bytes below @top and not below @floor; 0: none. */
Gpa boot_find_top(const BootInput *in, uint64_t size, Gpa floor, Gpa top);
bool boot_is_ram(const BootInput *in, Gpa at, uint64_t size);

/* -initrd for loaders that take several: "file args,file args", `,,` is a comma. */
typedef struct BootModule {
    Gpa at, text_at;
    uint64_t size;
} BootModule;
enum { BOOT_MODULES_MAX = 64 };
/* Reads and places all modules above @floor, their texts from *@text_at on.  Negative: failed. */
int boot_add_modules(BootImage *img, const BootInput *in, Gpa floor, Gpa *text_at, BootModule *mods,
                     Error *err);
bool boot_add_text(BootImage *img, const BootInput *in, Gpa *text_at, const char *text, Error *err);

/* ELF programs: PT_LOAD segments at their physical addresses. */
typedef struct Elf {
    const uint8_t *p;
    size_t size;
    bool is64;
    uint16_t machine, n_ph, ph_size;
    uint64_t ph_at, entry;
} Elf;
typedef struct ElfSegment {
    uint32_t type;
    uint64_t at, paddr, file_size, mem_size, align;
} ElfSegment;
enum { ELF_LOAD = 1, ELF_NOTE = 4, ELF_386 = 3, ELF_X86_64 = 62 };
bool elf_is(const BootFile *f);
bool elf_open(Elf *e, const BootFile *f, Error *err); /* checks header and table bounds */
bool elf_segment(const Elf *e, unsigned n, ElfSegment *out,
                 Error *err); /* bounds of the file part checked */
bool elf_load(const Elf *e, BootImage *img, const BootInput *in, Gpa *end, Error *err);
bool elf_note(const Elf *e, const char *name, uint32_t type,
              uint64_t *value); /* a number of 4 or 8 bytes */

#endif
