/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object_memory - -object memory-backend-ram, memory-backend-file, memory-backend-memfd
 *
 * Maps host memory once, when the object is made; a board or NUMA node uses it as guest RAM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/memory_backend.h"

enum { PAGE = 4096, HUGE = 2 << 20, HUGETLBFS = 0x958458f6, NODES_MAX = 1024 };

static const char *const policy_names[] = {"default", "preferred", "bind", "interleave", NULL};
static ENUM_TYPE(policy_type, HostMemPolicy, policy_names);

typedef struct MemoryObject {
    Object obj;
    HostMemory mem;
    uint64_t size, align, hugetlbsize, offset;
    uint32_t policy, prealloc_threads;
    bool share, prealloc, dump, merge, reserve; /* all kinds */
    bool discard_data, pmem, readonly, hugetlb, seal;
    char *mem_path;
    unsigned long nodes[NODES_MAX / 64];
    bool has_nodes;
    bool used;
} MemoryObject;

/* --- mapping --- */

static bool map_memory(MemoryObject *o, uint64_t align, Error *err)
{
    HostMemory *m = &o->mem;
    uint64_t size = ALIGN_UP(m->size, align > HUGE ? align : PAGE), span = size + align;
    int flags = (o->share ? MAP_SHARED : MAP_PRIVATE) | (m->fd < 0 ? MAP_ANONYMOUS : 0) |
                (o->reserve ? 0 : MAP_NORESERVE);
    int prot = PROT_READ | (o->readonly ? 0 : PROT_WRITE);
    uint8_t *all = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *p;

    if (all == MAP_FAILED)
        return error_set_errno(err, errno, "cannot set up guest memory '%s'", o->obj.id);
    p = (uint8_t *)ALIGN_UP((uintptr_t)all, align);
    if (mmap(p, size, prot, flags | MAP_FIXED, m->fd, (off_t)m->offset) == MAP_FAILED) {
        error_set_errno(err, errno, "cannot set up guest memory '%s'", o->obj.id);
        munmap(all, span);
        return false;
    }
    if (p > all)
        munmap(all, (size_t)(p - all));
    if (all + span > p + size)
        munmap(p + size, (size_t)(all + span - (p + size)));
    m->host = p;
    m->share = o->share;
    m->readonly = o->readonly;
    return true;
}

static bool apply_policy(MemoryObject *o, Error *err)
{
    static const int modes[] = {MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE};

    if (o->has_nodes != (o->policy != 0))
        return error_set(err,
                         o->has_nodes ? "host-nodes must be empty for policy default, or you "
                                        "should explicitly specify a policy other than default"
                                      : "host-nodes must be set for policy %s",
                         policy_names[o->policy]);
    if (o->policy && syscall(SYS_mbind, o->mem.host, o->mem.size, modes[o->policy], o->nodes,
                             (unsigned long)NODES_MAX, MPOL_MF_STRICT | MPOL_MF_MOVE))
        return error_set_errno(err, errno, "cannot bind memory to host NUMA nodes");
    return true;
}

static bool fill(MemoryObject *o, Error *err)
{
    HostMemory *m = &o->mem;

#ifdef MADV_POPULATE_WRITE
    if (madvise(m->host, m->size, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno == ENOMEM || errno == EFAULT || errno == EHWPOISON)
        return error_set_errno(err, errno, "cannot preallocate the memory of '%s'", o->obj.id);
#endif
    (void)err;
    for (uint64_t at = 0; at < m->size; at += PAGE)
        *(volatile uint8_t *)(m->host + at) = m->host[at];
    return true;
}

static bool finish(MemoryObject *o, uint64_t align, Error *err)
{
    if (!map_memory(o, align, err) || !apply_policy(o, err))
        return false;
    madvise(o->mem.host, o->mem.size, o->merge ? MADV_MERGEABLE : MADV_UNMERGEABLE);
    madvise(o->mem.host, o->mem.size, o->dump ? MADV_DODUMP : MADV_DONTDUMP);
    if (o->mem.size >= HUGE)
        madvise(o->mem.host, o->mem.size, MADV_HUGEPAGE);
    o->mem.prealloc = o->prealloc;
    return !o->prealloc || fill(o, err);
}

static bool begin(MemoryObject *o, Error *err)
{
    o->mem.fd = -1;
    o->mem.size = o->size;
    if (!o->size)
        return error_set(err, "can't create backend with size 0");
    return o->size <= INT64_MAX / 4 || error_set(err, "size is more than a host can map");
}

/* --- the three kinds --- */

static bool ram_complete(Object *obj, Error *err)
{
    MemoryObject *o = (MemoryObject *)obj;

    return begin(o, err) && finish(o, HUGE, err);
}

/* A file that exists, one to make, or a nameless one in a folder (hugetlbfs). */
static int open_file(MemoryObject *o, Error *err)
{
    struct stat st;
    int fd;

    if (stat(o->mem_path, &st) == 0 && S_ISDIR(st.st_mode)) {
        char *path = xasprintf("%s/rhea_back_mem.%s.XXXXXX", o->mem_path, o->obj.id);

        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
        xfree(path);
    } else {
        fd = open(o->mem_path, (o->readonly ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0644);
    }
    if (fd < 0)
        error_set_errno(err, errno, "can't open backing store %s for guest RAM", o->mem_path);
    return fd;
}

static bool file_complete(Object *obj, Error *err)
{
    MemoryObject *o = (MemoryObject *)obj;
    struct statfs fs;
    struct stat st;
    uint64_t page = PAGE;

    if (!o->mem_path)
        return error_set(err, "mem-path property not set");
    if (!begin(o, err) || (o->mem.fd = open_file(o, err)) < 0)
        return false;
    if (fstatfs(o->mem.fd, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS)
        page = (uint64_t)fs.f_bsize;
    page = MAX(page, o->align);
    if (page & (page - 1) || o->size % page || o->offset % page)
        return error_set(err, "size 0x%" PRIx64 " and offset of %s must be multiples of 0x%" PRIx64,
                         o->size, o->mem_path, page);
    if (fstat(o->mem.fd, &st) < 0 || (S_ISREG(st.st_mode) && st.st_size == 0 &&
                                      ftruncate(o->mem.fd, (off_t)(o->offset + o->size)) < 0))
        return error_set_errno(err, errno, "cannot size %s", o->mem_path);
    if (S_ISREG(st.st_mode) && st.st_size && (uint64_t)st.st_size < o->offset + o->size)
        return error_set(err,
                         "backing store size 0x%" PRIx64 " does not match 'size' option 0x%" PRIx64,
                         (uint64_t)st.st_size, o->size);
    o->mem.offset = o->offset;
    return finish(o, MAX(page, (uint64_t)HUGE), err);
}

static bool memfd_complete(Object *obj, Error *err)
{
    MemoryObject *o = (MemoryObject *)obj;
    uint64_t page = o->hugetlb ? (o->hugetlbsize ? o->hugetlbsize : HUGE) : PAGE;
    unsigned flags = MFD_CLOEXEC | (o->seal ? MFD_ALLOW_SEALING : 0);

    if (page & (page - 1))
        return error_set(err, "hugetlbsize is not a power of two");
    if (!begin(o, err))
        return false;
    if (o->hugetlb)
        flags |=
            MFD_HUGETLB | (o->hugetlbsize ? (unsigned)__builtin_ctzll(page) << MAP_HUGE_SHIFT : 0);
    o->mem.fd = memfd_create(o->obj.id, flags);
    if (o->mem.fd < 0 || ftruncate(o->mem.fd, (off_t)ALIGN_UP(o->size, page)) < 0)
        return error_set_errno(err, errno, "failed to create memfd");
    if (o->seal && fcntl(o->mem.fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return error_set_errno(err, errno, "failed to seal memfd");
    return finish(o, MAX(page, (uint64_t)HUGE), err);
}

static void memory_object_free(Object *obj)
{
    MemoryObject *o = (MemoryObject *)obj;

    if (o->mem.host) {
        if (o->discard_data)
            madvise(o->mem.host, o->mem.size, MADV_REMOVE);
        munmap(o->mem.host, o->mem.size);
    }
    if (o->mem.fd > 0) /* 0: complete() was never called */
        close(o->mem.fd);
}

/* host-nodes: a list of numbers */
static bool memory_set(Object *obj, const char *name, const json_t *value, Error *err)
{
    MemoryObject *o = (MemoryObject *)obj;
    json_t *one = NULL;
    size_t i;

    if (strcmp(name, "host-nodes"))
        return false;
    if (json_is_array(value)) {
        json_array_foreach (value, i, one) {
            const char *text = json_string_value(one);
            long long node = text ? atoll(text) : json_integer_value(one);

            if (node < 0 || node >= NODES_MAX)
                return error_set(err, "Invalid host-nodes value: '%lld'", node);
            o->nodes[node / 64] |= 1ul << (node % 64);
            o->has_nodes = true;
        }
        return true;
    }
    if (json_is_string(value)) { /* "0-3" or "1" */
        char *end;
        unsigned long first = strtoul(json_string_value(value), &end, 10), last = first;

        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        if (*end || last >= NODES_MAX || first > last)
            return error_set(err, "Invalid host-nodes value: '%s'", json_string_value(value));
        for (; first <= last; first++)
            o->nodes[first / 64] |= 1ul << (first % 64);
        o->has_nodes = true;
        return true;
    }
    return error_set(err, "Invalid parameter type for 'host-nodes', expected: array");
}

#define COMMON_FIELDS(share_default)                                                               \
    PROP_SIZE(MemoryObject, size, "size", 0, "its size"),                                          \
        PROP(MemoryObject, share, "share", share_default, "map it shared"),                        \
        PROP(MemoryObject, prealloc, "prealloc", false, "claim all its pages at once"),            \
        PROP(MemoryObject, prealloc_threads, "prealloc-threads", 1, "accepted; the kernel fills"), \
        PROP(MemoryObject, dump, "dump", true, "part of core dumps"),                              \
        PROP(MemoryObject, merge, "merge", true, "let the kernel merge equal pages"),              \
        PROP(MemoryObject, reserve, "reserve", true, "reserve swap space"),                        \
        PROP_ENUM(MemoryObject, policy, "policy", &policy_type, 0, "host NUMA policy")

static const Field ram_fields[] = {COMMON_FIELDS(false)};
static const Field file_fields[] = {
    COMMON_FIELDS(false),
    PROP_STR(MemoryObject, mem_path, "mem-path", NULL, "file, or folder for a nameless file"),
    PROP_SIZE(MemoryObject, align, "align", 0, "alignment of its address"),
    PROP_SIZE(MemoryObject, offset, "offset", 0, "where in the file it begins"),
    PROP(MemoryObject, discard_data, "discard-data", false, "drop the contents at the end"),
    PROP(MemoryObject, pmem, "pmem", false, "accepted: persistent memory"),
    PROP(MemoryObject, readonly, "readonly", false, "map it read-only"),
};
static const Field memfd_fields[] = {
    COMMON_FIELDS(true),
    PROP(MemoryObject, hugetlb, "hugetlb", false, "huge pages"),
    PROP_SIZE(MemoryObject, hugetlbsize, "hugetlbsize", 0, "size of huge pages"),
    PROP(MemoryObject, seal, "seal", true, "forbid changes of its size"),
};
static STRUCT_TYPE(ram_type, MemoryObject, ram_fields);
static STRUCT_TYPE(file_type, MemoryObject, file_fields);
static STRUCT_TYPE(memfd_type, MemoryObject, memfd_fields);

#define MEMORY_CLASS(var, what, dc)                                                                \
    static ObjectClass var = {                                                                     \
        .name = "memory-backend-" #what,                                                           \
        .parent = "memory-backend",                                                                \
        .doc = dc,                                                                                 \
        .type = &what##_type,                                                                      \
        .set = memory_set,                                                                         \
        .complete = what##_complete,                                                               \
        .free = memory_object_free,                                                                \
    };                                                                                             \
    OBJECT_REGISTER(var)
MEMORY_CLASS(ram_class, ram, "guest RAM of anonymous memory")
MEMORY_CLASS(file_class, file, "guest RAM of a file's pages")
MEMORY_CLASS(memfd_class, memfd, "guest RAM of a nameless file in memory")

const HostMemory *memory_backend_use(Objects *set, const char *id, Error *err)
{
    MemoryObject *o = (MemoryObject *)object_find(set, id, "memory-backend", err);

    if (!o)
        return NULL;
    if (o->used) {
        error_set(err, "memory backend '%s' is used multiple times", id);
        return NULL;
    }
    o->used = true;
    object_use(&o->obj);
    return &o->mem;
}

void memory_backend_unuse(Objects *set, const char *id)
{
    MemoryObject *o = (MemoryObject *)object_find(set, id, "memory-backend", NULL);

    if (o && o->used) {
        o->used = false;
        object_unuse(&o->obj);
    }
}

bool memory_backend_has_node(const Object *o, unsigned node)
{
    return node < NODES_MAX && ((const MemoryObject *)o)->nodes[node / 64] >> node % 64 & 1;
}

uint64_t memory_backend_size(Objects *set, const char *id)
{
    const MemoryObject *o = (const MemoryObject *)object_find(set, id, "memory-backend", NULL);

    return o ? o->mem.size : 0;
}

/* --- all RAM of a machine --- */

/* What -mem-path stands for. */
static bool make_file_backend(Machine *m, const char *id, Error *err)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:b}", "qom-type", "memory-backend-file", "id", id,
                          "mem-path", m->cfg.mem_path, "size", (json_int_t)m->cfg.ram_size,
                          "prealloc", m->cfg.mem_prealloc);
    Object *o = m->objects ? object_new_json(m->objects, j, err) : NULL;

    json_decref(j);
    return o || error_prefix(err, "-mem-path %s: ", m->cfg.mem_path);
}

bool machine_ram(Machine *m, Region *r, const char *name, Error *err)
{
    const char *id = m->cfg.memory_backend;
    const HostMemory *host;

    if (!id && !m->cfg.mem_path)
        return region_ram(r, m->mem, name, m->cfg.ram_size, m->cfg.mem_share, err);
    if (!id) {
        id = "mem-path";
        if (!make_file_backend(m, id, err))
            return false;
    }
    if (!(host = memory_backend_use(m->objects, id, err)))
        return error_prefix(err, "-machine memory-backend=%s: ", id);
    if (host->size != m->cfg.ram_size)
        return error_set(err, "Machine memory size does not match the size of the memory backend");
    return region_ram_host(r, m->mem, name, host->size, host->host, host->fd, err);
}
