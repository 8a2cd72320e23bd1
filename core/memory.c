/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory - the tree of regions, its publication, and accesses
 *
 * Invariants:
 *  1. Parent, child, enabled and priority links change under the topology lock only.
 *  2. AddressSpace.map is never changed once published; the one before it is freed after an epoch.
 *  3. A handler runs within the epoch of the access that reached it: region_fini() returns only
 *     when none is left.
 *  4. Region.mem is set for whatever an address space reaches, so a change below such a region
 *     finds its Memory by walking up.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "core/memory_priv.h"

enum { PAGE_SHIFT = 12 };

/* --- publication --- */

static bool flatmap_equal(const FlatMap *a, const FlatMap *b)
{
    if (!a || a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        const MemSection *x = &a->s[i], *y = &b->s[i];
        if (x->region != y->region || x->at != y->at || x->size != y->size ||
            x->region_at != y->region_at)
            return false;
    }
    return true;
}

static void as_publish_locked(AddressSpace *as)
{
    FlatMap *old = atomic_load(&as->map);
    FlatMap *now = flatten(as);

    if (flatmap_equal(old, now)) {
        xfree(now);
        return;
    }
    atomic_store(&as->map, now);
    if (old)
        epoch_retire(xfree, old);
    for (MemListener *l = as->listeners; l; l = l->next)
        l->changed(l, now);
}

static void memory_publish_locked(Memory *m)
{
    if (m->batch || !m->dirty)
        return;
    m->dirty = false;
    for (AddressSpace *as = m->spaces; as; as = as->next)
        as_publish_locked(as);
}

void memory_begin(Memory *m)
{
    WITH_LOCK (&m->topology)
        m->batch++;
}

void memory_commit(Memory *m)
{
    WITH_LOCK (&m->topology) {
        assert(m->batch > 0);
        m->batch--;
        memory_publish_locked(m);
    }
}

void as_init(AddressSpace *as, Memory *m, const char *name, Region *root)
{
    *as = (AddressSpace){.name = name, .root = root, .mem = m};
    WITH_LOCK (&m->topology) {
        as->next = m->spaces;
        m->spaces = as;
        as_publish_locked(as);
    }
}

void as_listen(AddressSpace *as, MemListener *l)
{
    WITH_LOCK (&as->mem->topology) {
        l->next = as->listeners;
        as->listeners = l;
        l->changed(l, atomic_load(&as->map));
    }
}

void as_unlisten(AddressSpace *as, MemListener *l)
{
    WITH_LOCK (&as->mem->topology) {
        for (MemListener **p = &as->listeners; *p; p = &(*p)->next) {
            if (*p == l) {
                *p = l->next;
                break;
            }
        }
    }
}

Memory *memory_new(void)
{
    Memory *m = xnew(Memory);

    lock_init(&m->topology, "topology", RANK_TOPOLOGY);
    region_container(&m->system_root, "system", UINT64_MAX);
    region_container(&m->io_root, "io", 64 * KIB);
    as_init(&m->system, m, "system", &m->system_root);
    as_init(&m->io, m, "io", &m->io_root);
    return m;
}

void memory_free(Memory *m)
{
    if (!m)
        return;
    epoch_wait();
    for (AddressSpace *as = m->spaces; as; as = as->next)
        xfree(atomic_load(&as->map));
    ram_release_all(m);
    lock_fini(&m->topology);
    xfree(m);
}

void memory_on_written(Memory *m, MemWrittenFn *fn, void *arg)
{
    m->written = fn;
    m->written_arg = arg;
}

/* --- regions --- */

static void region_init(Region *r, RegionKind kind, const char *name, uint64_t size)
{
    *r = (Region){.name = name, .kind = kind, .size = size, .enabled = true, .fd = -1};
}

void region_container(Region *r, const char *name, uint64_t size)
{
    region_init(r, REGION_CONTAINER, name, size);
}

void region_io(Region *r, const char *name, uint64_t size, const RegionOps *ops, void *arg,
               Lock *lock)
{
    region_init(r, REGION_IO, name, size);
    r->ops = ops;
    r->arg = arg;
    r->lock = lock;
}

bool region_ram(Region *r, Memory *m, const char *name, uint64_t size, bool share, Error *err)
{
    region_init(r, REGION_RAM, name, size);
    return ram_attach(r, m, share, err);
}

bool region_ram_host(Region *r, Memory *m, const char *name, uint64_t size, uint8_t *host, int fd,
                     Error *err)
{
    region_init(r, REGION_RAM, name, size);
    return ram_borrow(r, m, host, fd, err);
}

bool region_rom(Region *r, Memory *m, const char *name, const void *data, uint64_t size, Error *err)
{
    region_init(r, REGION_ROM, name, size);
    if (!ram_attach(r, m, false, err))
        return false;
    if (data)
        memcpy(r->hva, data, size);
    return true;
}

void region_alias(Region *r, const char *name, Region *of, uint64_t at, uint64_t size)
{
    region_init(r, REGION_ALIAS, name, size);
    r->alias = of;
    r->alias_at = at;
}

static Memory *region_memory(const Region *r)
{
    for (; r; r = r->parent)
        if (r->mem)
            return r->mem;
    return NULL; /* not part of an address space yet: nobody else sees the tree */
}

static void region_link(Region *parent, Region *r)
{
    Region **p = &parent->children;

    while (*p && (*p)->priority > r->priority)
        p = &(*p)->next;
    r->next = *p;
    *p = r;
    r->parent = parent;
}

static void region_unlink(Region *r)
{
    Region **p = &r->parent->children;

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    r->next = NULL;
    r->parent = NULL;
}

/* Bracket a change at or below @r. */
static Memory *topology_enter(const Region *r)
{
    Memory *m = region_memory(r);

    if (m)
        lock_take(&m->topology);
    return m;
}

static void topology_leave(Memory *m)
{
    if (!m)
        return;
    m->dirty = true;
    memory_publish_locked(m);
    lock_drop(&m->topology);
}

void region_map(Region *parent, Region *r, uint64_t at, int priority)
{
    Memory *m = topology_enter(parent);

    assert(!r->parent && r != parent);
    r->at = at;
    r->priority = priority;
    region_link(parent, r);
    topology_leave(m);
}

void region_unmap(Region *r)
{
    if (!r->parent)
        return;
    Memory *m = topology_enter(r->parent);
    region_unlink(r);
    topology_leave(m);
}

void region_enable(Region *r, bool on)
{
    if (r->enabled == on)
        return;
    Memory *m = topology_enter(r);
    r->enabled = on;
    topology_leave(m);
}

void region_fini(Region *r)
{
    bool was_seen = r->mem != NULL;

    region_unmap(r);
    if (r->children) {
        Memory *m = topology_enter(r);
        while (r->children)
            region_unlink(r->children);
        topology_leave(m);
    }
    if (r->hva)
        ram_detach(r);
    if (was_seen && epoch_thread_.depth == 0)
        epoch_wait(); /* inv 3 */
    r->mem = NULL;
}

/* --- accesses --- */

typedef enum Via { VIA_CPU, VIA_DMA, VIA_LOADER } Via;

/* Small copies are one access each, as on a real bus: another vCPU must not see half a pointer. */
#define COPY_ONE(T, to, from)                                                                      \
    do {                                                                                           \
        T v_;                                                                                      \
        __builtin_memcpy(&v_, from, sizeof v_);                                                    \
        __builtin_memcpy(to, &v_, sizeof v_);                                                      \
    } while (0)

static void ram_copy(void *to, const void *from, size_t n)
{
    switch (n) {
    case 1: COPY_ONE(uint8_t, to, from); break;
    case 2: COPY_ONE(uint16_t, to, from); break;
    case 4: COPY_ONE(uint32_t, to, from); break;
    case 8: COPY_ONE(uint64_t, to, from); break;
    default: memcpy(to, from, n);
    }
}

static void ram_written(const Region *r, uint64_t at, size_t n)
{
    const Memory *m = r->mem;

    if (m->written) {
        uint64_t first = at >> PAGE_SHIFT, last = (at + n - 1) >> PAGE_SHIFT;
        m->written(m->written_arg, r->ram_at + (uint32_t)first, (uint32_t)(last - first + 1));
    }
}

/* The size of the next piece of an access to a device: naturally aligned, not above @max. */
static unsigned io_piece(uint64_t at, size_t n, unsigned max)
{
    unsigned size = max;

    while (size > n || (at & (size - 1)))
        size /= 2;
    return size;
}

/* One piece of @size bytes; devices that want more see the unit around it. */
static void io_one(const Region *r, uint64_t at, uint8_t *buf, unsigned size, bool write)
{
    unsigned unit = MAX(size, r->ops->min_size);
    uint64_t unit_at = ALIGN_DOWN(at, unit);
    unsigned shift = (unsigned)(at - unit_at) * 8;

    if (!write)
        put_le(buf, size, r->ops->read ? r->ops->read(r->arg, unit_at, unit) >> shift : UINT64_MAX);
    else if (r->ops->write)
        r->ops->write(r->arg, unit_at, get_le(buf, size) << shift, unit);
}

static void io_access(const Region *r, uint64_t at, uint8_t *buf, size_t n, bool write)
{
    unsigned max = r->ops->max_size ? r->ops->max_size : 8;

    if (r->lock)
        lock_take(r->lock);
    for (unsigned size; n; at += size, buf += size, n -= size) {
        size = io_piece(at, n, max);
        io_one(r, at, buf, size, write);
    }
    if (r->lock)
        lock_drop(r->lock);
}

static int region_access(const Region *r, uint64_t at, uint8_t *buf, size_t n, bool write, Via via)
{
    if (r->kind == REGION_IO) {
        if (via != VIA_CPU)
            return MEM_DECODE;
        io_access(r, at, buf, n, write);
    } else if (!write) {
        ram_copy(buf, r->hva + at, n);
    } else if (r->kind == REGION_RAM || via == VIA_LOADER) {
        ram_copy(r->hva + at, buf, n);
        ram_written(r, at, n);
    }
    return MEM_OK;
}

static int as_access(AddressSpace *as, Gpa at, uint8_t *buf, size_t size, bool write, Via via)
{
    int worst = MEM_OK;

    epoch_enter_();
    while (size) {
        uint64_t room;
        int rc = MEM_DECODE;
        const MemSection *s =
            flatmap_find_(atomic_load(&as->map), at, &room); /* handlers change it */
        if (s)
            room = s->size - (at - s->at);
        size_t n = (size_t)MIN((uint64_t)size, room);
        if (s)
            rc = region_access(s->region, s->region_at + (at - s->at), buf, n, write, via);
        if (rc != MEM_OK && !write)
            memset(buf, 0xff, n);
        worst = MAX(worst, rc);
        at += n;
        buf += n;
        size -= n;
    }
    epoch_exit_();
    return worst;
}

int as_read(AddressSpace *as, Gpa at, void *buf, size_t size)
{
    return as_access(as, at, buf, size, false, VIA_CPU);
}

int as_write(AddressSpace *as, Gpa at, const void *buf, size_t size)
{
    return as_access(as, at, (uint8_t *)(uintptr_t)buf, size, true, VIA_CPU);
}

int as_load(AddressSpace *as, Gpa at, const void *buf, size_t size)
{
    return as_access(as, at, (uint8_t *)(uintptr_t)buf, size, true, VIA_LOADER);
}

int dma_read(AddressSpace *as, Gpa at, void *buf, size_t size)
{
    int rc = as_access(as, at, buf, size, false, VIA_DMA);

    if (rc != MEM_OK)
        log_guest("%s: DMA read of %zu bytes at 0x%" PRIx64 " leaves RAM\n", as->name, size, at);
    return rc;
}

int dma_write(AddressSpace *as, Gpa at, const void *buf, size_t size)
{
    int rc = as_access(as, at, (uint8_t *)(uintptr_t)buf, size, true, VIA_DMA);

    if (rc != MEM_OK)
        log_guest("%s: DMA write of %zu bytes at 0x%" PRIx64 " leaves RAM\n", as->name, size, at);
    return rc;
}
