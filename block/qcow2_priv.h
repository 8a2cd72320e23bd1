/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_priv - what the files of the qcow2 driver share; docs/qcow2.md explains order and
 * invariants
 *
 * Everything runs under n->meta, except reading and encoding of SPECIAL extents and compression
 * itself. Host offsets are positions in n->file (metadata, compressed data) or n->data (guest
 * data).
 */
#ifndef BLOCK_QCOW2_PRIV_H
#define BLOCK_QCOW2_PRIV_H

#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/block.h"
#include "block/crypto.h"

enum {
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_HEADER_V2 = 72,
    QCOW2_HEADER_V3 = 104,
    QCOW2_HEADER_OURS = 112,
    QCOW2_CLUSTER_BITS_MIN = 9,
    QCOW2_CLUSTER_BITS_MAX = 21,
    QCOW2_L1_MAX = 32 << 20, /* bytes */
    QCOW2_REFTABLE_MAX = 8 << 20,
    QCOW2_SNAPSHOTS_MAX = 65536,
    QCOW2_SNAPSHOT_TABLE_MAX = 64 << 20, /* bytes, as are the next two */
    QCOW2_SNAPSHOT_EXTRA_MAX = 1024,
    QCOW2_BITMAP_DIR_MAX = 65535 * (32 + 1024),
    QCOW2_BITMAPS_MAX = 65535,
    QCOW2_BITMAP_TABLE_MAX = 0x8000000,  /* entries */
    QCOW2_BITMAP_BYTES_MAX = 0x20000000, /* of one bitmap's bits */
    QCOW2_BACKING_MAX = 1023,
    QCOW2_SUBCLUSTERS = 32,
    QCOW2_META_MAX = 8 << 20,         /* clusters of metadata that are protected */
    QCOW2_INACTIVE_L1_MAX = 64 << 20, /* bytes of snapshots' L1 tables that are read for it */
};

enum { /* incompatible, compatible, autoclear features */
       INCOMPAT_DIRTY = 1,
       INCOMPAT_CORRUPT = 2,
       INCOMPAT_DATA_FILE = 4,
       INCOMPAT_COMPRESSION = 8,
       INCOMPAT_EXTENDED_L2 = 16,
       INCOMPAT_KNOWN = 31,
       COMPAT_LAZY = 1,
       AUTOCLEAR_BITMAPS = 1,
       AUTOCLEAR_DATA_RAW = 2,
       AUTOCLEAR_KNOWN = 3
};

enum { CRYPT_NONE, CRYPT_AES, CRYPT_LUKS };
enum { COMPRESSION_ZLIB, COMPRESSION_ZSTD };

#define ENTRY_COPIED BIT(63)
#define ENTRY_COMPRESSED BIT(62)
#define ENTRY_ZERO BIT(0)
#define ENTRY_OFFSET 0x00fffffffffffe00ull
#define L1_RESERVED 0x7f000000000001ffull
#define SUB_ALL_ZERO 0xffffffff00000000ull
#define SUB_ALL_DATA 0x00000000ffffffffull

/* Fields of the header, and what its extensions say. */
typedef struct Qcow2Header {
    uint32_t version, backing_size, cluster_bits, crypt_method, l1_size, rt_clusters, n_snapshots;
    uint64_t backing_at, size, l1_at, rt_at, snapshots_at;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order, header_length;
    uint8_t compression;
    uint32_t n_bitmaps;
    uint64_t bitmap_dir_size, bitmap_dir_at;
    uint64_t crypt_at, crypt_size;
    uint8_t *unknown_fields; /* behind what we know, to be kept */
    uint32_t unknown_fields_size;
    uint8_t *unknown_ext; /* whole extensions, padded */
    uint32_t unknown_ext_size;
    char *data_file, *backing_file, *backing_format;
    char *feature_names; /* of unknown incompatible features */
} Qcow2Header;

typedef struct Qcow2Snapshot {
    uint64_t l1_at, vm_state_size, disk_size, vm_clock_ns, icount;
    uint32_t l1_size, date_s, date_ns;
    uint32_t extra_size; /* of unknown data behind what we know */
    uint8_t *extra;
    char *id, *name;
} Qcow2Snapshot;

/* --- qcow2_cache.c: parts of tables, written back later --- */

typedef struct Qcow2Cache Qcow2Cache;
/* @max entries of @size bytes.  @clean(arg) is called when all is dirty, and must leave
 * something clean. */
Qcow2Cache *cache_new(BlockNode *file, unsigned size, unsigned max, int (*clean)(void *arg),
                      void *arg);
void cache_name_events(Qcow2Cache *c, BlockEvent load, BlockEvent update);
void cache_free(Qcow2Cache *c); /* what is dirty is lost */
/* The @size bytes at @at, valid until the next call for this cache.  0, -EAGAIN (only
 * !may_block), -errno. */
int cache_get(Qcow2Cache *c, uint64_t at, bool may_block, uint8_t **out);
uint8_t *cache_peek(Qcow2Cache *c, uint64_t at); /* NULL: not there */
/* As cache_get, for what is known to be zeroes on disk. */
int cache_get_zero(Qcow2Cache *c, uint64_t at, bool may_block, uint8_t **out);
/* Bring in @count entries from @at in one read, if there is room for them that nobody uses. */
void cache_prefetch(Qcow2Cache *c, uint64_t at, unsigned count);
void cache_dirty(Qcow2Cache *c, uint64_t at);
bool cache_is_dirty(const Qcow2Cache *c);
bool cache_has_spare(const Qcow2Cache *c, unsigned n); /* entries never used yet */
int cache_write(Qcow2Cache *c);                        /* all that is dirty, in order of position */
void cache_forget(Qcow2Cache *c, uint64_t at, uint64_t size); /* also what is dirty */
void cache_trim(Qcow2Cache *c); /* release memory of clean entries not used since the last trim */

/* --- state --- */

typedef struct Qcow2Free {
    uint64_t cluster;
    uint32_t count;
    uint8_t why;
} Qcow2Free;
enum { FREE_SNAPSHOT, FREE_REQUEST, FREE_OTHER, FREE_NEVER_USED };

/* Clusters that hold metadata, by what they hold. */
typedef enum MetaKind {
    META_NONE_,
    META_HEADER,
    META_ACTIVE_L1,
    META_ACTIVE_L2,
    META_REFBLOCK,
    META_REFTABLE,
    META_SNAPSHOTS,
    META_INACTIVE_L1,
    META_BITMAP_DIR,
    META_CRYPT,
    META_INACTIVE_L2,
} MetaKind;
typedef struct MetaSet {
    uint64_t *slot; /* cluster << 4 | kind; 0: empty; power of two of them */
    uint64_t n_slots, used;
} MetaSet;

typedef struct Qcow2 {
    BlockNode *n;
    Qcow2Header h;
    unsigned cluster_bits, cluster_size;
    unsigned l2_bits, entry_size;     /* entries per table: 1 << l2_bits */
    unsigned slice_bytes, slice_bits; /* cached part of an L2 table; entries: 1 << slice_bits */
    unsigned rb_bits;                 /* entries per refcount block: 1 << rb_bits */
    unsigned rb_slice_bytes, rb_slice_bits;
    unsigned sub_bits; /* of a subcluster, or of a cluster without them */
    bool extended, data_raw, has_data_file, broken, dirty_marked, lazy;
    bool marks_due;        /* COPIED flags do not agree with the counts, after a failure */
    unsigned overlap_mask; /* of BIT(MetaKind) */
    bool pass_discard[FREE_NEVER_USED + 1];

    uint64_t *l1;      /* h.l1_size entries */
    uint8_t *l1_dirty; /* one for each 64 entries */
    uint64_t *rt;      /* rt_entries */
    uint8_t *rt_dirty;
    uint32_t rt_entries;
    bool l1_any_dirty, rt_any_dirty;
    Qcow2Cache *l2, *rb;
    bool unstable_file, unstable_data; /* written, not flushed: what refers to it must wait */

    Qcow2Free *frees;
    unsigned n_frees, cap_frees;
    uint64_t free_hint;     /* no cluster below is free */
    uint64_t fresh_from;    /* no cluster from here on was ever written */
    uint64_t compressed_at; /* where the next compressed cluster goes; 0: none begun */
    MetaSet meta;
    uint64_t last_slice; /* to see sequential access */
    Periodic clean;      /* cache-clean-interval */

    Qcow2Snapshot *snapshots;
    bool reading_snapshot; /* opened as one: read-only */
    Crypto *crypto;
} Qcow2;

static inline Qcow2 *qcow2_of(BlockNode *n)
{
    return n->state;
}
static inline uint64_t cluster_of(const Qcow2 *s, uint64_t at)
{
    return at >> s->cluster_bits;
}
static inline uint64_t clusters_for(const Qcow2 *s, uint64_t bytes)
{
    return (bytes >> s->cluster_bits) + !!(bytes & (s->cluster_size - 1));
}
static inline bool is_aligned(const Qcow2 *s, uint64_t at)
{
    return !(at & (s->cluster_size - 1));
}
/* Bytes that one L2 table maps. */
static inline uint64_t l2_covers(const Qcow2 *s)
{
    return (uint64_t)s->cluster_size << s->l2_bits;
}
static inline uint64_t l1_entries_for(const Qcow2 *s, uint64_t size)
{
    unsigned shift = s->cluster_bits + s->l2_bits;

    return (size >> shift) + !!(size & (BIT(shift) - 1));
}

/* --- qcow2_header.c --- */

bool qcow2_header_read(BlockNode *file, Qcow2Header *h, Error *err);
void qcow2_header_free(Qcow2Header *h);
/* The header with extensions and names as they go into the first cluster; *@size: what is used
 * of it. */
bool qcow2_header_build(const Qcow2Header *h, uint8_t *buf, unsigned cluster_size, unsigned *size,
                        Error *err);
int qcow2_header_write(Qcow2 *s); /* and flush; blocks */
/* Write it; if that fails the header is @old again, on disk too (or nothing is written any
 * more). */
int qcow2_header_commit(Qcow2 *s, const Qcow2Header *old);
/* The corrupt bit is set, and nothing is written any more.  -EIO; -EAGAIN if it may not block. */
int qcow2_corrupt(Qcow2 *s, bool may_block, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same: a write of [at, at+size) of the file would have hit @with. */
int qcow2_overlaps(Qcow2 *s, uint64_t at, uint64_t size, const char *with, bool may_block);
/* The dirty bit, before the first change of an image with lazy refcounts. */
int qcow2_mark_dirty(Qcow2 *s, bool may_block);

/* --- qcow2_refcount.c --- */

uint64_t refcount_get_raw(const uint8_t *p, unsigned order, uint64_t i);
void refcount_set_raw(uint8_t *p, unsigned order, uint64_t i, uint64_t v);
static inline uint64_t refcount_max(const Qcow2 *s)
{
    return s->h.refcount_order == 6 ? UINT64_MAX >> 1 : BIT(1u << s->h.refcount_order) - 1;
}
int refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *out);
/* Add to (or take from) the count of each; all or none on error.  Takes at once: see free_later. */
int refcount_add(Qcow2 *s, uint64_t cluster, uint64_t count, int64_t delta);
/* @want clusters in a row, or the first part of it if !exact; counted once.  *@fresh: never
 * written. */
int alloc_clusters(Qcow2 *s, uint64_t want, bool exact, bool may_block, uint64_t *at, uint64_t *got,
                   bool *fresh);
int alloc_bytes(Qcow2 *s, uint64_t size, uint64_t *at); /* for a compressed cluster; blocks */
/* One reference less on each, when what no longer refers to them is on disk. */
void free_later(Qcow2 *s, uint64_t at, uint64_t size, unsigned why);
void free_at_once(Qcow2 *s, uint64_t at, uint64_t size); /* was never referred to */
void free_entry(Qcow2 *s, uint64_t entry, unsigned why); /* what an L2 entry referred to */
bool frees_have_room(const Qcow2 *s, unsigned n);
/* Metadata to disk in order, and what was freed is free. */
int qcow2_writeback(Qcow2 *s);
int clean_refcounts(void *s); /* blocks of counts may be written at any time */
int qcow2_barrier(Qcow2 *s);  /* flush the files if something must be stable */
/* What is metadata is known by cluster, so that nothing else is written over it. */
void meta_rebuild(Qcow2 *s);
void meta_add(Qcow2 *s, uint64_t at, uint64_t size, MetaKind k);
void meta_remove(Qcow2 *s, uint64_t at, uint64_t size);
MetaKind meta_find(const Qcow2 *s, uint64_t at, uint64_t size);
MetaKind meta_overlap(const Qcow2 *s, uint64_t at, uint64_t size); /* as overlap-check says */
int check_overlap(Qcow2 *s, uint64_t at, uint64_t size, bool may_block);
const char *meta_name(MetaKind k);

/* --- qcow2_cluster.c --- */

int qcow2_map(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out);
int qcow2_allocate(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out);
int qcow2_link(BlockNode *n, Extent *e, bool may_block);
void qcow2_cancel(BlockNode *n, Extent *e);
int qcow2_zero(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags);
int qcow2_discard(BlockNode *n, uint64_t at, uint64_t size);
/* @full: as if never written, so that the backing file shows. */
int qcow2_drop(Qcow2 *s, uint64_t at, uint64_t size, bool full);
int qcow2_link_compressed(Qcow2 *s, uint64_t at, uint64_t host, uint64_t size);
int l1_grow(Qcow2 *s, uint64_t entries, bool exact); /* moves the table if needed */
void l1_set(Qcow2 *s, uint64_t i, uint64_t entry);
uint64_t entry_compressed_at(const Qcow2 *s, uint64_t entry, uint64_t *size);
/* Plain reading and writing by the driver itself, beyond the disk's size as well; blocks. */
int qcow2_pread(Qcow2 *s, uint64_t at, void *buf, uint64_t size);
int qcow2_pwrite(Qcow2 *s, uint64_t at, const void *buf, uint64_t size);
/* Host clusters for all of [at, at+size) that have none; read as zeroes.  For preallocation. */
bool qcow2_preallocate(Qcow2 *s, uint64_t at, uint64_t size, Preallocation p, Error *err);
/* A file may end anywhere; what is beyond reads as zeroes. */
int file_read(BlockNode *file, uint64_t at, void *buf, uint64_t size);

/* --- qcow2_compress.c --- */

int qcow2_read(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size);
int qcow2_encode(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size);
int qcow2_write_compressed(BlockNode *n, uint64_t at, const void *buf, size_t size);

/* --- qcow2_snapshot.c --- */

extern const SnapshotOps qcow2_snapshot_ops;
bool snapshots_read(Qcow2 *s, Error *err);
void snapshots_free(Qcow2 *s);
int snapshots_write(Qcow2 *s);
int qcow2_save_vmstate(BlockNode *n, uint64_t at, const void *buf, size_t size);
int qcow2_load_vmstate(BlockNode *n, uint64_t at, void *buf, size_t size);
/* @table: big-endian on disk, host-endian in memory. */
bool l1_table_read(Qcow2 *s, uint64_t at, uint32_t entries, uint64_t **out, Error *err);

/* --- qcow2_check.c --- */

bool qcow2_check(BlockNode *n, unsigned fix, CheckReport *rep, Error *err);
bool qcow2_check_locked(Qcow2 *s, unsigned fix, CheckReport *rep, Error *err);
/* Other reference count widths: all blocks anew. */
bool refcounts_rewrite(Qcow2 *s, unsigned order, Error *err);
int qcow2_mark_active(Qcow2 *s); /* COPIED flags as the counts say; written back later */

/* --- qcow2_bitmap.c --- */

extern const BitmapOps qcow2_bitmap_ops;
bool qcow2_bitmaps_load(Qcow2 *s, Error *err);  /* at open */
bool qcow2_bitmaps_store(Qcow2 *s, Error *err); /* at close and before migration */
json_t *qcow2_bitmaps_info(Qcow2 *s);
bool qcow2_bitmaps_may_resize(Qcow2 *s, Error *err);

/* What the bitmap extension holds, for the check. */
typedef struct StoredBitmap {
    uint64_t table_at;
    uint32_t table_size, flags;
    uint8_t type, granularity_bits;
    uint16_t name_size;
    uint32_t extra_size;
    uint8_t *extra;
    char *name;
} StoredBitmap;
enum { BME_IN_USE = 1, BME_AUTO = 2, BME_EXTRA_COMPATIBLE = 4, BME_KNOWN = 7 };
bool bitmap_dir_read(Qcow2 *s, StoredBitmap **out, uint32_t *count, Error *err);
void bitmap_dir_free(StoredBitmap *b, uint32_t count);
bool bitmap_table_read(Qcow2 *s, const StoredBitmap *b, uint64_t **out, Error *err);

/* --- qcow2_create.c --- */

extern const Type qcow2_create_type, qcow2_amend_type;
bool qcow2_create(BlockGraph *g, json_t *options, Error *err);
bool qcow2_create_file(BlockGraph *g, const char *filename, json_t *options, Error *err);
json_t *qcow2_measure(json_t *options, BlockNode *source, Error *err);
bool qcow2_amend(BlockNode *n, json_t *options,
                 void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg, Error *err);

/* --- qcow2.c --- */

CryptoIo qcow2_crypt_io(Qcow2 *s);
bool qcow2_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err);
bool qcow2_truncate_locked(Qcow2 *s, uint64_t size, Preallocation p, bool exact, Error *err);
static inline void qcow2_changed(Qcow2 *s)
{
    atomic_store_explicit(&s->n->meta_dirty, true, memory_order_relaxed);
}
/* An event for a blkdebug filter below; where that is, nothing is done without waiting. */
static inline void qcow2_event(Qcow2 *s, BlockEvent e)
{
    node_event(s->n->file, e);
}
static inline bool qcow2_is_watched(const Qcow2 *s)
{
    return s->n->file->events;
}
static inline int qcow2_may_write(const Qcow2 *s)
{
    return s->broken ? -EIO : s->n->flags & NODE_READ_ONLY || s->reading_snapshot ? -EPERM : 0;
}

#endif
