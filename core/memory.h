/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory - the guest's physical address spaces
 *
 * A tree of Regions (container, ram, rom, io, alias) is flattened by priority into a sorted map,
 * published through an epoch: readers never lock.  Regions are embedded in their owners. Changing
 * the tree: topology lock (rank 2), taken inside; any thread that holds at most a device lock.
 */
#ifndef CORE_MEMORY_H
#define CORE_MEMORY_H

#include "base/base.h"
#include "base/error.h"
#include "base/lock.h"

typedef struct Region Region;
typedef struct AddressSpace AddressSpace;
typedef struct Device Device;

enum { MEM_OK = 0, MEM_DECODE = 1 /* nobody there */, MEM_FAULT = 2 /* refused */ };

/* @size is 1, 2, 4 or 8 and within [min, max] below, @at is relative to the region and a
 * multiple of @size: the core splits wider and misaligned accesses (lower addresses first) and
 * takes narrower ones out of a whole unit (a write has zeroes in the other bytes).  Values are
 * little-endian numbers.  Called with the region's lock held. */
typedef struct RegionOps {
    uint64_t (*read)(void *arg, uint64_t at, unsigned size);
    void (*write)(void *arg, uint64_t at, uint64_t v, unsigned size);
    uint8_t min_size, max_size; /* 0: 1 and 8 */
} RegionOps;

typedef enum RegionKind {
    REGION_CONTAINER,
    REGION_RAM,
    REGION_ROM,
    REGION_IO,
    REGION_ALIAS
} RegionKind;

struct Region {
    const char *name;
    RegionKind kind;
    uint64_t size; /* bytes; UINT64_MAX means 2^64 */
    uint64_t at;   /* in the parent */
    int priority;  /* higher wins; among equals the one mapped last */
    bool enabled;
    Lock *lock; /* held around ops; may be NULL */
    const RegionOps *ops;
    void *arg;
    uint8_t *hva; /* RAM and ROM: page-aligned host memory */
    int fd;       /* RAM by memfd, else -1 */
    /* RAM and ROM: page number of the first page among all RAM pages of the process's machine:
     * index of per-page tables */
    uint32_t ram_at;
    Region *alias;     /* ALIAS: what it shows ... */
    uint64_t alias_at; /* ... from where */
    Region *parent, *children, *next;
    struct Memory *mem;
};

/* One stretch of a flattened map. */
typedef struct MemSection {
    Region *region; /* RAM, ROM or IO */
    Gpa at;
    uint64_t size;
    uint64_t region_at; /* where in the region it starts */
} MemSection;

typedef struct FlatMap {
    unsigned n;
    MemSection s[];
} FlatMap;

typedef struct MemListener {
    void (*changed)(struct MemListener *l,
                    const FlatMap *now); /* after publication, topology lock held */
    struct MemListener *next;
} MemListener;

struct AddressSpace {
    const char *name;
    Region *root;
    FlatMap *_Atomic map;
    MemListener *listeners;
    AddressSpace *next;
    struct Memory *mem;
};

/* All memory of one machine. */
typedef struct Memory {
    Lock topology;
    Region system_root, io_root; /* physical memory; x86 I/O ports (64 KiB) */
    AddressSpace system, io;
    AddressSpace *spaces;
    _Atomic uint32_t ram_pages; /* handed out so far: limit of Region.ram_at */
    unsigned batch;
    bool dirty;
    void (*written)(void *arg, uint32_t ram_page, uint32_t n_pages); /* memory_on_written */
    void *written_arg;
    struct RamBlock *blocks; /* host memory: core/ram.c */
} Memory;

Memory *memory_new(void);
void memory_free(Memory *m);
void memory_begin(Memory *m); /* batch changes: one publication at the outermost commit */
void memory_commit(Memory *m);

void region_container(Region *r, const char *name, uint64_t size);
void region_io(Region *r, const char *name, uint64_t size, const RegionOps *ops, void *arg,
               Lock *lock);
/* Zeroed host memory, huge pages advised; @share: memfd.  The region frees it in region_fini(). */
bool region_ram(Region *r, Memory *m, const char *name, uint64_t size, bool share, Error *err);
/* The same over memory of somebody who keeps it until memory_free(): a memory-backend object. */
bool region_ram_host(Region *r, Memory *m, const char *name, uint64_t size, uint8_t *host, int fd,
                     Error *err);
bool region_rom(Region *r, Memory *m, const char *name, const void *data, uint64_t size,
                Error *err); /* guest writes are ignored */
void region_alias(Region *r, const char *name, Region *of, uint64_t at, uint64_t size);
void region_map(Region *parent, Region *r, uint64_t at, int priority);
void region_unmap(Region *r);
void region_enable(Region *r, bool on);
/* Unmap, wait until no access is under way, release memory.  An all-zero Region is fine.  Call
 * without the region's lock; from inside an access (a handler) nothing is waited for. */
void region_fini(Region *r);

void as_init(AddressSpace *as, Memory *m, const char *name, Region *root);
void as_listen(AddressSpace *as, MemListener *l); /* called at once with the present map */
void as_unlisten(AddressSpace *as, MemListener *l);

/* Readers bracket every use of a FlatMap or section pointer (nests; lock-free).
 * These three and as_ram() use general registers only: callable from translated code. */
void epoch_enter(void);
void epoch_exit(void);
const MemSection *as_find(AddressSpace *as, Gpa at); /* NULL: nothing; valid until epoch_exit */
/* Call @fn(@arg) once every reader of now is gone: from this or a later epoch call of some
 * thread, no lock held by us. */
void epoch_retire(void (*fn)(void *arg), void *arg);
void epoch_wait(void); /* returns then; never within an epoch or with a lock that readers take */

/* Any size, across sections.  MEM_OK, or the worst of what happened; unassigned bytes read as
 * 0xff, writes to ROM are ignored. Takes device locks: call with at most none held (vCPU and DMA
 * paths differ: dma_* below). */
int as_read(AddressSpace *as, Gpa at, void *buf, size_t size);
int as_write(AddressSpace *as, Gpa at, const void *buf, size_t size);
/* DMA: RAM only (ban 2); MEM_DECODE and a guest log otherwise. */
int dma_read(AddressSpace *as, Gpa at, void *buf, size_t size);
int dma_write(AddressSpace *as, Gpa at, const void *buf, size_t size);
/* Host address of [at, at+size) if it is one piece of RAM; NULL otherwise.  Within an epoch. */
uint8_t *as_ram(AddressSpace *as, Gpa at, uint64_t size, bool write);
/* Loaders: writes ROM too. */
int as_load(AddressSpace *as, Gpa at, const void *buf, size_t size);

/* Touch every page of RAM there is, so that nothing is missing later. */
void memory_prealloc(Memory *m);

/* Called by every writer of guest RAM that is not translated code, after the write: drops stale
 * translations. */
typedef void MemWrittenFn(void *arg, uint32_t ram_page, uint32_t n_pages);
void memory_on_written(Memory *m, MemWrittenFn *fn, void *arg);

#endif
