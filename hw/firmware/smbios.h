/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smbios - tables that name the machine to its operating system (DMTF DSP0134 3.0) */
#ifndef HW_FIRMWARE_SMBIOS_H
#define HW_FIRMWARE_SMBIOS_H

#include "base/reflect.h"
#include "core/memory.h"

enum { SMBIOS_ROOM = 0x10000 }; /* of anchor and tables: 0xf0000 to 0xfffff */

typedef struct SmbiosRange {
    Gpa at;
    uint64_t size;
} SmbiosRange;

typedef struct SmbiosBoard {
    const char *const *texts; /* of -smbios, in order */
    unsigned n_texts;
    const char *uuid;                       /* -uuid; NULL: none */
    const char *vendor, *product, *version; /* of the machine, where -smbios does not say */
    const char *bios_vendor, *bios_version, *bios_date; /* NULL: only if -smbios says */
    unsigned sockets, cores, threads;                   /* the latter two of a socket */
    uint32_t cpu_signature, cpu_features;               /* CPUID leaf 1: EAX, EDX */
    uint64_t ram_size;
    SmbiosRange ram[3]; /* where it is */
    unsigned n_ram;
    bool entry64; /* a 64-bit anchor (3.0), else the older one (2.8) */
} SmbiosBoard;

/* One text after -smbios: its fields and its file; the message is without "-smbios". */
bool smbios_check(const char *text, Error *err);
/* Append anchor and tables, to be placed at @at (a multiple of 16 in 0xf0000 to 0xfffff). */
bool smbios_build(ByteBuf *out, const SmbiosBoard *board, Gpa at, Error *err);

#endif
