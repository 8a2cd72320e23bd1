/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tlb_priv - what cpu/tlb.c (translations) and cpu/mem.c (accesses) share */
#ifndef CPU_TLB_PRIV_H
#define CPU_TLB_PRIV_H

#include "core/machine.h"
#include "cpu/tlb.h"

enum {
    TLB_CONTEXTS = 16,
    L2_WAYS = 4,
    L2_SETS = 1024,
    SPACE_SLOTS = 256,
    SECTION_SLOTS = 4,
    LARGE_BITS = 32768,
    KEY_VALID = 4, /* in L2Entry.key, beside the mode */
};

enum { KIND_RAM, KIND_ROM, KIND_IO };
#define RIGHT(access) (1u << (access))

/* One 4 KiB page for one space and rights mode (large pages: the parts that were used). */
typedef struct L2Entry {
    uint64_t key;  /* page address | KEY_VALID | mode */
    uint64_t host; /* of the page's first byte; IO: guest-physical address */
    uint32_t sid;  /* valid while this is the space's number, or that of the global pages */
    uint32_t ram_page;
    uint8_t rights; /* RIGHT() */
    uint8_t kind, shift, global;
} L2Entry;

/* Address spaces have short numbers; a flush gives a new one. */
typedef struct SpaceSlot {
    uint64_t space;
    uint32_t sid, epoch; /* in use if epoch is the Tlb's */
} SpaceSlot;

/* A stretch of physical memory that needs no call: RAM or ROM. */
typedef struct PhysSection {
    Gpa at, end; /* end == at: empty */
    uint8_t *host;
    uint32_t ram_page;
    bool rom;
} PhysSection;

/* Part of an operand on one page. */
typedef struct Piece {
    uint8_t *host; /* IO: NULL */
    Gpa pa;
    uint32_t ram_page;
    uint16_t len;
    uint8_t kind;
} Piece;

typedef struct TlbPages TlbPages;

typedef struct Tlb {
    L2Entry l2[L2_SETS][L2_WAYS];
    SpaceSlot spaces[SPACE_SLOTS];
    uint64_t large
        [LARGE_BITS /
         64]; /* filter: (page shift, page number) of large pages seen since the last full flush */
    uint64_t large_shifts;
    TlbContext *contexts; /* TLB_CONTEXTS of them, one mapping; `n_contexts` were ever used */
    unsigned n_contexts;
    TlbContext *by_mode[TLB_MODES]; /* of the current space; NULL: not looked up yet */
    uint64_t space, stamp;
    uint32_t sid, global_sid, last_sid, space_epoch, victim;
    PhysSection sections[SECTION_SLOTS];
    unsigned next_section;
    TlbPages *pages;
    bool smp;
    Piece pending[2]; /* of cpu->bounce, for mem_commit() */
    unsigned n_pending;
    unsigned next_code;
    alignas(64) uint8_t code[2][4096]; /* code that is fetched from devices */
    TlbStats stats;
} Tlb;

/* The translation of @va, with the right for @access; raises the fault if there is none.  Valid
 * until the next call. */
const L2Entry *tlb_resolve(Cpu *c, Gva va, Access access, unsigned mode);
/* Let translated code use it: install first-level entries of the current context.  For
 * ACCESS_WRITE returns whether the page may be written without a call of code_written(). */
bool tlb_install(Cpu *c, const L2Entry *e, Gva va, Access access);
bool tlb_page_watched(const Tlb *t, uint32_t ram_page);
const PhysSection *tlb_phys(Cpu *c, Gpa pa); /* NULL: not RAM or ROM */

#endif
