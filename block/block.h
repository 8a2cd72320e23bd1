/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block - image nodes, their drivers and the graph they form
 *
 * A node is an image file (protocol), a format on top of one, or a filter.  Protocols and filters
 * move data themselves: submit().  Formats never do: they say where a range is (map), make room
 * (allocate) and make it visible (link); block/format.c moves the data, gates overlapping requests
 * and calls drivers with the node's metadata lock held, so a driver is plain sequential code.
 *
 * Invariants
 *  1. Whatever has may_block = false returns -EAGAIN, with nothing changed, instead of waiting for
 *     anything; the core then calls again from a worker with may_block = true.
 *  2. A request is in flight at its port from block_submit() to done(); the graph is edited on the
 *     main thread only, while the ports above are drained.  Nodes need no reference per request.
 *  3. A range whose mapping may change is held exclusively in the gate; ranges with data in flight
 *     are held shared.  Waiters are served in order; a first write leaves the gate and comes back
 *     exclusive.
 *  4. Data is written before it is linked; reference counts reach the disk before what refers to
 *     them.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <jansson.h>

#include "base/lock.h"
#include "base/reflect.h"
#include "io/block.h"

typedef struct BlockDriver BlockDriver;
typedef struct DirtyBitmap DirtyBitmap;
typedef struct Objects Objects; /* core/object.h: secrets, TLS credentials, throttle groups */

/* --- where a range is --- */

typedef enum ExtentKind {
    EXTENT_UNALLOCATED, /* as in the backing file, or zeroes without one */
    EXTENT_ZERO,
    EXTENT_DATA,    /* at child_at of child */
    EXTENT_SPECIAL, /* compressed or encrypted: the driver's read() and write() */
} ExtentKind;

enum {                      /* Extent.flags */
       EXTENT_WRITABLE = 1, /* map: DATA or SPECIAL may be overwritten where it is */
       /* allocate: the child reads as zeroes in all of it: no need to write some */
       EXTENT_FRESH = 2,
       EXTENT_EOF = 4, /* beyond the end of a protocol's file */
       EXTENT_COMPRESSED = 8,
       EXTENT_PREALLOCATED = 16, /* ZERO or UNALLOCATED, with room at child_at */
};

typedef struct Extent {
    ExtentKind kind;
    uint32_t flags;
    uint64_t at, size; /* of the node; contains the start of what was asked */
    BlockNode *child;
    uint64_t child_at;
    uint64_t priv[6]; /* from allocate() to link() or cancel(), the driver's */
} Extent;

/* --- nodes --- */

typedef enum ChildRole {
    ROLE_DATA = 1, /* guest data */
    ROLE_META = 2,
    ROLE_FILTERED = 4, /* the one node that a filter stands for */
    ROLE_BACKING = 8,
    ROLE_PRIMARY = 16, /* shown as "file" */
    ROLE_ALONE = 32,   /* nobody else may write it */
} ChildRole;

typedef struct ChildSlot {
    const char *name; /* "file", "backing", "data-file", ... */
    unsigned role;
    bool required;
} ChildSlot;

typedef struct BlockChild {
    char *name;
    unsigned role;
    BlockNode *node;   /* holds a reference */
    BlockNode *parent; /* or ... */
    BlockPort *port;   /* ... the user */
    unsigned perm, shared;
    struct BlockChild *next, *next_parent;
} BlockChild;

enum { /* node_open flags; also BlockNode.flags */
       NODE_READ_ONLY = 1,
       NODE_NO_BACKING = 2,  /* do not open the backing chain */
       NODE_NO_IO = 4,       /* metadata only: locks are not taken */
       NODE_FORCE_SHARE = 8, /* -U: others may write */
       NODE_NO_CACHE = 16,   /* O_DIRECT: cache.direct */
       NODE_NO_FLUSH = 32,   /* cache.no-flush: flushes are dropped */
       NODE_WRITETHROUGH = 64,
       NODE_UNMAP = 128, /* discard=unmap */
       NODE_AUTO_READ_ONLY = 256,
       NODE_CHECK = 512,   /* open for check or repair: tolerate what repair can mend */
       NODE_PROBED = 4096, /* format was guessed: raw refuses writes that would change the guess */
};

/* What a format does just now, for a blkdebug filter right below it (QEMU's BlkdebugEvent). */
typedef enum BlockEvent {
    EVENT_L1_UPDATE,
    EVENT_L1_GROW_ALLOC_TABLE,
    EVENT_L1_GROW_WRITE_TABLE,
    EVENT_L1_GROW_ACTIVATE_TABLE,
    EVENT_L2_LOAD,
    EVENT_L2_UPDATE,
    EVENT_L2_UPDATE_COMPRESSED,
    EVENT_L2_ALLOC_COW_READ,
    EVENT_L2_ALLOC_WRITE,
    EVENT_READ_AIO,
    EVENT_READ_BACKING_AIO,
    EVENT_READ_COMPRESSED,
    EVENT_WRITE_AIO,
    EVENT_WRITE_COMPRESSED,
    EVENT_VMSTATE_LOAD,
    EVENT_VMSTATE_SAVE,
    EVENT_COW_READ,
    EVENT_COW_WRITE,
    EVENT_REFTABLE_LOAD,
    EVENT_REFTABLE_GROW,
    EVENT_REFTABLE_UPDATE,
    EVENT_REFBLOCK_LOAD,
    EVENT_REFBLOCK_UPDATE,
    EVENT_REFBLOCK_UPDATE_PART,
    EVENT_REFBLOCK_ALLOC,
    EVENT_REFBLOCK_ALLOC_HOOKUP,
    EVENT_REFBLOCK_ALLOC_WRITE,
    EVENT_REFBLOCK_ALLOC_WRITE_BLOCKS,
    EVENT_REFBLOCK_ALLOC_WRITE_TABLE,
    EVENT_REFBLOCK_ALLOC_SWITCH_TABLE,
    EVENT_CLUSTER_ALLOC,
    EVENT_CLUSTER_ALLOC_BYTES,
    EVENT_CLUSTER_FREE,
    EVENT_FLUSH_TO_OS,
    EVENT_FLUSH_TO_DISK,
    EVENT_PWRITEV_RMW_HEAD,
    EVENT_PWRITEV_RMW_AFTER_HEAD,
    EVENT_PWRITEV_RMW_TAIL,
    EVENT_PWRITEV_RMW_AFTER_TAIL,
    EVENT_PWRITEV,
    EVENT_PWRITEV_ZERO,
    EVENT_PWRITEV_DONE,
    EVENT_EMPTY_IMAGE_PREPARE,
    EVENT_L1_SHRINK_WRITE_TABLE,
    EVENT_L1_SHRINK_FREE_L2_CLUSTERS,
    EVENT_COR_WRITE,
    EVENT_CLUSTER_ALLOC_SPACE,
    EVENT_NONE,
    BLOCK_EVENTS
} BlockEvent;
typedef struct BlockEvents {
    void (*fire)(BlockNode *n, BlockEvent e); /* may wait until somebody resumes it */
    bool announced; /* the format above tells its events, so requests do not stand for them */
} BlockEvents;

struct BlockNode {
    BlockGraph *graph;
    const BlockDriver *drv;
    char *name;      /* node-name */
    char *filename;  /* as shown and recorded; "json:{...}" if it cannot be said shorter */
    json_t *options; /* as opened, children by name; owned */
    uint32_t flags;
    void *state; /* the driver's, drv->state_size bytes, zeroed */

    _Atomic uint64_t size;             /* virtual size */
    uint32_t request_align;            /* power of two; requests below it are bounced by the core */
    uint32_t zero_align, cluster_size; /* hints; 0: none */
    bool zero_init;                    /* a new image reads as zeroes */
    bool compressed_only;              /* takes only writes with BLOCK_COMPRESS */
    _Atomic bool meta_dirty; /* a flush has something to do here besides flushing the children */
    bool encrypted;

    BlockChild *children;                /* owned */
    BlockNode *file, *backing;           /* shortcuts into children; NULL if absent */
    BlockNode *data;                     /* where DATA extents are: data-file, or file */
    char *backing_file, *backing_format; /* as recorded in the image; owned */

    BlockChild *parents;
    int refs;           /* main thread */
    bool monitor_owned; /* by -blockdev or blockdev-add */
    Lock meta;          /* around map, allocate, link, ... */
    struct Gate *gate;
    /* of requests below request_align: those above it take `gate` besides */
    struct Gate *align_gate;
    DirtyBitmap *bitmaps;
    BlockNode *next;
    int detect_zeroes;      /* off, on, unmap */
    const char *op_blocker; /* why commands must not touch it now; NULL: they may */
    BlockEvents *events;    /* NULL: this is not a blkdebug node */
};

/* --- drivers --- */

typedef enum DriverKind { DRIVER_PROTOCOL, DRIVER_FORMAT, DRIVER_FILTER } DriverKind;
typedef enum Preallocation {
    PREALLOC_OFF,
    PREALLOC_METADATA,
    PREALLOC_FALLOC,
    PREALLOC_FULL
} Preallocation;
extern const Type preallocation_type; /* its names */

typedef struct CheckReport {
    uint64_t corruptions, leaks, check_errors; /* found; after repair: still there */
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    uint64_t image_end_offset;
    bool quiet;       /* do not print each finding */
    bool unsupported; /* out, when check() fails: the format cannot be repaired */
    void (*say)(void *arg, const char *line); /* each finding, without newline; may be NULL */
    void *arg;
} CheckReport;
enum { CHECK_FIX_LEAKS = 1, CHECK_FIX_ERRORS = 2 };

typedef struct SnapshotInfo {
    char id[32], *name; /* name owned by the list */
    uint64_t vm_state_size, disk_size;
    uint32_t date_s, date_ns;
    uint64_t vm_clock_ns, icount; /* icount UINT64_MAX: none */
} SnapshotInfo;

typedef struct SnapshotOps {
    bool (*list)(BlockNode *n, SnapshotInfo **out, unsigned *count, Error *err);
    bool (*create)(BlockNode *n, const SnapshotInfo *s, Error *err);
    bool (*apply)(BlockNode *n, const char *id_or_name, Error *err); /* -a: contents as then */
    bool (*remove)(BlockNode *n, const char *id_or_name, Error *err);
    /* read-only view, until closed */
    bool (*load)(BlockNode *n, const char *id_or_name, Error *err);
} SnapshotOps;

typedef struct BitmapOps { /* bitmaps that live in the image; block/bitmap.h holds them in memory */
    bool (*can_store)(BlockNode *n, const char *name, uint32_t granularity, Error *err);
    bool (*remove)(BlockNode *n, const char *name, Error *err);
} BitmapOps;

struct BlockDriver {
    const char *name, *doc;
    DriverKind kind;
    const Type *options;       /* PROP fields: its own keys of -blockdev; NULL: none */
    const ChildSlot *children; /* ends with a NULL name; NULL: none */
    size_t state_size;
    const char *prefix; /* protocols: "nbd", of nbd:... and nbd://... */

    /* Formats: how likely is this one (0..100)?  Protocols: fill @options from a file name with
     * prefix. */
    int (*probe)(const uint8_t *head, size_t size, const char *filename);
    bool (*parse_filename)(const char *filename, json_t *options, Error *err);

    /* Main thread or a tool's; may block.  The children are open.  Sets n->size and the hints; a
     * format with a backing file sets backing_file and backing_format, and the core opens it.
     * @options: the Type's struct, whose strings the driver may not keep. */
    bool (*open)(BlockNode *n, const void *options, Error *err);
    /* also after a failed open; nothing in flight; writes back what is dirty */
    void (*close)(BlockNode *n);
    bool (*reopen)(BlockNode *n, const void *options, uint32_t flags, Error *err);
    /* Permissions that all users together need and all share: file locks. */
    bool (*set_perm)(BlockNode *n, unsigned perm, unsigned shared, Error *err);

    /* Protocols and filters: ends in blockreq_complete(r, rc), now or later, on any thread.  If
     * r->ctx is NULL the call may block and complete at once. */
    void (*submit)(BlockNode *n, BlockReq *r);

    /* Formats, under n->meta.  Each returns 0 or -errno; -EAGAIN only if !may_block. */
    int (*map)(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out);
    /* Room for [at, at+size) or a first part of it; out->at and size are whole clusters (or
     * subclusters), not yet visible.  The core writes data, and old contents around it, then
     * links or cancels. */
    int (*allocate)(BlockNode *n, uint64_t at, uint64_t size, bool may_block, Extent *out);
    int (*link)(BlockNode *n, Extent *e, bool may_block);
    void (*cancel)(BlockNode *n, Extent *e);
    /* Whole clusters only (the core does the edges); flags: BLOCK_MAY_UNMAP.  -ENOTSUP: write
     * zeroes. */
    int (*zero)(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags);
    int (*discard)(BlockNode *n, uint64_t at, uint64_t size);
    /* metadata to the children, in order, with what barriers it needs between; the core flushes
     * the children after it */
    int (*flush)(BlockNode *n);
    /* SPECIAL extents; without n->meta; workers. @e as map gave it; [at, at+size) lies in it. */
    int (*read)(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size);
    /* Encrypted images: @buf, which the core owns, is made what is to be written at @e->child_at
     * + (at - e->at). */
    int (*encode)(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size);
    /* BLOCK_COMPRESS: one cluster (or the last, short one), gate held; does all of it. */
    int (*write_compressed)(BlockNode *n, uint64_t at, const void *buf, size_t size);

    /* All kinds.  Block status of protocols: DATA, ZERO (+EOF); filters and formats leave it
     * NULL. */
    int (*status)(BlockNode *n, uint64_t at, uint64_t size, Extent *out);
    bool (*truncate)(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err);
    int64_t (*allocated_size)(BlockNode *n); /* bytes on the host; -errno */
    json_t *(*info)(BlockNode *n); /* {"type", "data"}, perhaps also "dirty-flag"; NULL: none */
    /* blockdev-create: "file" is a node name */
    bool (*create)(BlockGraph *g, json_t *options, Error *err);
    /* rhea-img create -f: @filename is made and formatted.  @options: -o keys, all strings.
     * Here and in create() they stay the caller's. */
    bool (*create_file)(BlockGraph *g, const char *filename, json_t *options, Error *err);
    const Type *create_options; /* PROP fields of -o, for help and checks */
    /* @options may have "force": true beside those of amend_options: what loses data is meant
     * so. */
    bool (*amend)(BlockNode *n, json_t *options,
                  void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg, Error *err);
    bool (*check)(BlockNode *n, unsigned fix, CheckReport *rep, Error *err);
    /* record; NULL: none */
    bool (*set_backing)(BlockNode *n, const char *file, const char *format, Error *err);
    /* {"required","fully-allocated"[,"bitmaps"]} */
    json_t *(*measure)(json_t *options, BlockNode *source, Error *err);
    int (*make_empty)(BlockNode *n); /* drop all clusters: after commit */
    const SnapshotOps *snapshots;
    const BitmapOps *bitmap_ops;
    int (*save_vmstate)(BlockNode *n, uint64_t at, const void *buf, size_t size);
    int (*load_vmstate)(BlockNode *n, uint64_t at, void *buf, size_t size);
    /* same protocol; -ENOTSUP */
    int (*copy_range)(BlockNode *from, uint64_t from_at, BlockNode *to, uint64_t to_at,
                      uint64_t size);

    const Type *amend_options; /* PROP fields of amend -o; NULL: as create_options */

    BlockDriver *reg_next;
};

void block_driver_register(BlockDriver *d);
#define BLOCK_DRIVER_REGISTER(d)                                                                   \
    __attribute__((constructor)) static void d##_register(void)                                    \
    {                                                                                              \
        block_driver_register(&d);                                                                 \
    }
const BlockDriver *block_driver_find(const char *name);
const BlockDriver *block_driver_next(const BlockDriver *d); /* sorted by name; NULL starts */

/* --- the graph; main thread, may block --- */

/* @ctx: of the main thread; may be NULL in tools that only wait */
BlockGraph *graph_new(BlockCtx *ctx, Error *err);
void graph_free(BlockGraph *g); /* closes all */
void graph_set_objects(BlockGraph *g, Objects *o);
/* How image files are opened instead of open(2): "/dev/fdset/N" is the machine's.  -errno. */
void graph_set_opener(BlockGraph *g,
                      int (*fn)(void *arg, const char *path, int flags, unsigned mode), void *arg);
int graph_open_path(BlockGraph *g, const char *path, int flags);
/* Who is told that an image turned out to be corrupt.  On any thread, the node's `meta` may be
 * held. */
typedef struct BlockCorruption {
    const char *msg;
    bool has_place, fatal; /* fatal: it cannot be written any more */
    uint64_t offset, size; /* of the access, in the file */
} BlockCorruption;
void graph_set_watcher(BlockGraph *g, void (*fn)(void *arg, BlockNode *n, const BlockCorruption *c),
                       void *arg);
void node_corrupted(BlockNode *n, const BlockCorruption *c);
Objects *graph_objects(const BlockGraph *g);
/* a thread of the block layer's own: network protocols, throttling; started on first use */
Loop *graph_service_loop(BlockGraph *g);

/* @options: as of -blockdev ({"driver":..., "node-name":..., "file": {...} or "name"}),
 * consumed. */
BlockNode *node_open(BlockGraph *g, json_t *options, uint32_t flags, Error *err);
/* By name as people say it: path, nbd:..., json:{...}; format @fmt, or guessed if NULL.
 * @options: further keys, consumed, may be NULL. */
BlockNode *node_open_image(BlockGraph *g, const char *filename, const char *fmt, json_t *options,
                           uint32_t flags, Error *err);
/* An overlay in a file that is gone when we are. */
BlockNode *node_open_temporary(BlockNode *base, Error *err);
/* @n, whose reference it takes, below a filter; NULL stays NULL. */
BlockNode *node_open_filter(BlockNode *n, const char *driver, Error *err);
BlockNode *node_find(BlockGraph *g, const char *name);
BlockNode *node_next(BlockGraph *g, BlockNode *n); /* NULL starts */
BlockPort *port_find(BlockGraph *g, const char *name);
BlockPort *port_next(BlockGraph *g, BlockPort *p);
BlockNode *node_ref(BlockNode *n);
void node_unref(BlockNode *n); /* the last one closes it */
/* Attach @child under @parent in a slot; checks permissions and loops; replaces what was there.
 * NULL detaches. */
bool node_set_child(BlockNode *parent, const char *slot, BlockNode *child, Error *err);
/* All parents of @from (but those inside @to's own tree) go to @to: insertion of filters,
 * pivots. */
bool node_replace(BlockNode *from, BlockNode *to, Error *err);
bool node_reopen(BlockNode *n, json_t *options, uint32_t flags, Error *err);
void node_refresh_filename(BlockNode *n);
BlockNode *node_skip_filters(BlockNode *n);
bool node_in_chain(const BlockNode *top, const BlockNode *n); /* by backing and filters */
/* "a.qcow2" recorded in "/x/b.qcow2" is "/x/a.qcow2"; protocols and absolute names stay.  Caller
 * frees. */
char *block_path_combine(const char *base, const char *relative);
bool filename_has_protocol(const char *filename);

/* No request is in flight at ports above @n (NULL: at any) from begin to end; new ones wait.
 * Main thread. */
void graph_drain_begin(BlockGraph *g, BlockNode *n);
void graph_drain_end(BlockGraph *g, BlockNode *n);
bool graph_flush_all(BlockGraph *g, Error *err);

/* --- for drivers --- */

/* to a child; r->ctx as in the request it serves */
void node_submit(BlockNode *n, BlockReq *r);
void blockreq_complete(BlockReq *r, int result); /* any thread */
/* The request goes to @child as it is, @offset further on. */
void node_forward(BlockNode *child, BlockReq *r, uint64_t offset);
/* A request of the core's own for a part of @r: done() is called at once on the completing
 * thread. Freed by blockreq_free. */
BlockReq *blockreq_child(BlockReq *r, BlockOp op, uint64_t at, uint64_t size,
                         void (*done)(BlockReq *));
void blockreq_free(BlockReq *r);
/* fn() runs on the main thread every @seconds until periodic_stop(), if a loop serves the graph
 * (in tools none does). It must not wait: lock_try(&n->meta). */
typedef struct Periodic {
    BlockNode *n; /* NULL: not started */
    void (*fn)(BlockNode *n);
    int64_t every, due; /* ns */
    struct Periodic *next;
} Periodic;
void periodic_start(Periodic *p, BlockNode *n, unsigned seconds, void (*fn)(BlockNode *n));
void periodic_stop(Periodic *p);
/* On a worker thread, soon.  The pool grows while workers wait. */
void block_work(BlockGraph *g, void (*fn)(void *arg), void *arg);
/* fn(r) there, or at once if the submitter waits; for submit() of filters. */
void blockreq_work(BlockReq *r, void (*fn)(void *r));

/* Waiting; threads that may block.  0 or -errno. */
int node_read(BlockNode *n, uint64_t at, void *buf, size_t size);
int node_write(BlockNode *n, uint64_t at, const void *buf, size_t size);
int node_zero(BlockNode *n, uint64_t at, uint64_t size, uint32_t flags);
int node_discard(BlockNode *n, uint64_t at, uint64_t size);
int node_flush(BlockNode *n);
int node_io(BlockNode *n, BlockOp op, uint64_t at, const struct iovec *iov, int n_iov,
            uint64_t size, uint32_t flags);
bool node_truncate(BlockNode *n, uint64_t size, Preallocation p, bool exact, Error *err);
/* Block status as rhea-img map and NBD show it.  @out->child and child_at: the bottom-most file
 * and offset, if known; kind UNALLOCATED: not in this node (backing decides).  Extent.size is
 * what is alike, at most @size. */
int node_status(BlockNode *n, uint64_t at, uint64_t size, Extent *out);
/* Through the whole chain down to @base (exclusive; NULL: all): who has it? */
int node_status_above(BlockNode *n, BlockNode *base, uint64_t at, uint64_t size, Extent *out,
                      BlockNode **in);
int64_t node_allocated_size(BlockNode *n);

/* For create: makes the protocol file @filename (empty, @size bytes if the protocol needs it)
 * and opens it. */
BlockNode *block_create_file(BlockGraph *g, const char *filename, uint64_t size, json_t *options,
                             Error *err);

/* Formats, on threads that may block; @file: their child. */
static inline void node_event(BlockNode *file, BlockEvent e)
{
    if (file->events)
        file->events->fire(file, e);
}

static inline bool node_is_read_only(const BlockNode *n)
{
    return n->flags & NODE_READ_ONLY;
}

#endif
