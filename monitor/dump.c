/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump - dump-guest-memory, query-dump (QEMU 7.2, qapi/dump.json)
 *
 * The machine stands still while a thread writes; with detach the monitor goes on meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/command.h"
#include "core/fds.h"
#include "monitor/dump_priv.h"

enum { POLL_MS = 100, PIPE_STEP = 4096 };

static const char dump_key;

/* --- for the formats --- */

/* Who reads a pipe may stop reading: never wait where the end of the process would not be
 * noticed. */
static bool dump_room(Dump *d)
{
    struct pollfd p = {.fd = d->fd, .events = POLLOUT};

    while (!d->cancelled && poll(&p, 1, POLL_MS) == 0)
        continue;
    return !d->cancelled || error_set(&d->error, "dump: cancelled");
}

bool dump_put(Dump *d, const void *p, size_t n)
{
    while (n) {
        ssize_t w;

        if (!dump_room(d))
            return false;
        w = write(d->fd, p, d->plain ? n : MIN(n, (size_t)PIPE_STEP));
        if (w < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (w <= 0)
            return error_set_errno(&d->error, errno, "dump: failed to save memory");
        p = (const char *)p + w;
        n -= (size_t)w;
    }
    return true;
}

bool dump_read(Dump *d, Gpa at, void *buf, size_t n)
{
    as_read(&d->machine->mem->system, at, buf, n);
    return !d->cancelled || error_set(&d->error, "dump: cancelled");
}

/* --- what there is --- */

static void ranges_collect(Dump *d, uint64_t begin, uint64_t end)
{
    const FlatMap *map;
    List list = {0};
    static const Type range_size = {
        .name = "range", .meta = META_STRUCT, .size = sizeof(DumpRange)};

    epoch_enter();
    map = atomic_load(&d->machine->mem->system.map);
    for (unsigned i = 0; map && i < map->n; i++) {
        const MemSection *s = &map->s[i];
        uint64_t from = ALIGN_UP(MAX(s->at, begin), (uint64_t)DUMP_PAGE),
                 to = ALIGN_DOWN(MIN(s->at + s->size, end), (uint64_t)DUMP_PAGE);
        DumpRange *last = list.n ? LIST_AT(DumpRange, &list, list.n - 1) : NULL;

        if (s->region->kind == REGION_IO || from >= to)
            continue;
        if (last && last->at + last->size == from)
            last->size += to - from;
        else
            *(DumpRange *)list_add(&list, &range_size) = (DumpRange){.at = from, .size = to - from};
        d->total += to - from;
    }
    epoch_exit();
    d->ranges = list.p;
    d->n_ranges = list.n;
}

typedef struct MapWalk {
    Dump *d;
    List list;
} MapWalk;

/* The part of [pa, pa+size) that is in one range, joined to the last one if it goes on there. */
static void map_add(MapWalk *w, Gva va, Gpa pa, uint64_t size)
{
    static const Type map_size = {.name = "map", .meta = META_STRUCT, .size = sizeof(DumpMap)};
    DumpMap *last = w->list.n ? LIST_AT(DumpMap, &w->list, w->list.n - 1) : NULL;

    if (last && last->va + last->size == va && last->pa + last->size == pa)
        last->size += size;
    else if (w->list.n < DUMP_MAPS_MAX)
        *(DumpMap *)list_add(&w->list, &map_size) = (DumpMap){va, pa, size};
}

static void map_page(void *arg, Gva va, Gpa pa, uint64_t size, uint64_t flags)
{
    MapWalk *w = arg;

    (void)flags;
    for (unsigned i = 0; i < w->d->n_ranges; i++) {
        const DumpRange *r = &w->d->ranges[i];
        uint64_t from = MAX(pa, r->at), to = MIN(pa + size, r->at + r->size);

        if (from < to)
            map_add(w, va + (from - pa), from, to - from);
    }
}

/* Virtual addresses of the first processor that has any. */
static void maps_collect(Dump *d)
{
    MapWalk w = {.d = d};
    const CpuArch *a = d->machine->arch;

    for (unsigned i = 0; i < d->machine->n_cpus && a->mappings && !w.list.n; i++)
        a->mappings(d->machine->cpus[i], map_page, &w);
    d->maps = w.list.p;
    d->n_maps = w.list.n;
}

/* --- its life --- */

static const char *const status_names[] = {"none", "active", "completed", "failed", NULL};
static ENUM_TYPE(status_type, DumpStatus, status_names);
typedef struct DumpInfo {
    uint32_t status;
    int64_t completed, total;
} DumpInfo;
static const Field info_fields[] = {
    ARG_TYPE(DumpInfo, status, "status", &status_type, "of the present or last dump"),
    ARG(DumpInfo, completed, "completed", "bytes of memory written"),
    ARG(DumpInfo, total, "total", "bytes of memory in all"),
};
static STRUCT_TYPE(info_type, DumpInfo, info_fields);
typedef struct DumpDone {
    DumpInfo result;
    char *error;
} DumpDone;
static const Field done_fields[] = {
    ARG_TYPE(DumpDone, result, "result", &info_type, "as query-dump says"),
    ARG_STR_OPT(DumpDone, error, "error", "why it failed"),
};
static STRUCT_TYPE(done_type, DumpDone, done_fields);
EVENT(dump_completed, .name = "DUMP_COMPLETED", .data = &done_type,
      .doc = "A dump of guest memory is complete, or failed.")

static DumpInfo dump_info(Dump *d)
{
    return (DumpInfo){
        .status = d->status, .completed = (int64_t)d->done, .total = (int64_t)d->total};
}

static void dump_release(Dump *d)
{
    if (d->threaded)
        pthread_join(d->thread, NULL);
    d->threaded = false;
    xfree(d->ranges);
    xfree(d->maps);
    bytebuf_free(&d->notes);
    d->ranges = NULL;
    d->maps = NULL;
    d->n_ranges = d->n_maps = 0;
}

static void dump_fini(void *state)
{
    Dump *d = state;

    d->cancelled = true;
    dump_release(d);
}

/* On the main thread, once it is written. */
static void dump_finish(void *arg)
{
    Dump *d = arg;
    DumpDone done;

    dump_release(d);
    d->machine->memory_readers--;
    d->status = d->error.msg[0] ? DUMP_FAILED : DUMP_COMPLETED;
    done = (DumpDone){dump_info(d), d->error.msg[0] ? d->error.msg : NULL};
    event_post(d->machine, &event_dump_completed, &done);
    if (d->resume && d->machine->state == RUN_PAUSED)
        machine_start(d->machine);
}

static void dump_write(Dump *d)
{
    bool ok = d->kdump ? dump_write_kdump(d) : dump_write_elf(d);

    if (close(d->fd) < 0 && ok)
        error_set_errno(&d->error, errno, "dump: failed to save memory");
}

static void *dump_thread(void *arg)
{
    Dump *d = arg;

    dump_write(d);
    loop_post(d->machine->loop, dump_finish, d);
    return NULL;
}

/* --- commands --- */

bool dump_active(Machine *m)
{
    Dump *d = control_state(m, &dump_key, sizeof *d, dump_fini);

    return d->status == DUMP_ACTIVE;
}

static const char *const format_names[] = {"elf", "kdump-zlib", NULL};
static ENUM_TYPE(format_type, DumpGuestMemoryFormat, format_names);
static LIST_TYPE(formats_type, &format_type);

typedef struct DumpArgs {
    char *protocol;
    bool paging, detach, has_detach, has_begin, has_length, has_format;
    int64_t begin, length;
    uint32_t format;
} DumpArgs;
static const Field dump_fields[] = {
    ARG(DumpArgs, paging, "paging", "tell virtual addresses, as the page tables have them"),
    ARG(DumpArgs, protocol, "protocol", "file:PATH or fd:NAME"),
    ARG_OPT(DumpArgs, detach, "detach", "answer at once; DUMP_COMPLETED follows"),
    ARG_OPT(DumpArgs, begin, "begin", "first physical address"),
    ARG_OPT(DumpArgs, length, "length", "bytes from there"),
    ARG_TYPE_OPT(DumpArgs, format, "format", &format_type, "of the file"),
};
static STRUCT_TYPE(dump_type, DumpArgs, dump_fields);

static bool dump_check(Machine *m, Dump *d, const DumpArgs *a, Error *err)
{
    if (!m->arch || !m->arch->elf_machine || !m->n_cpus)
        return error_set(err, "this machine's memory cannot be dumped");
    if (d->status == DUMP_ACTIVE)
        return error_set(err, "Dump in process, please wait.");
    if (a->has_begin != a->has_length)
        return error_set(err, "Parameter '%s' is missing", a->has_begin ? "length" : "begin");
    if (a->format && (a->paging || a->has_begin))
        return error_set(err, "kdump-compressed format doesn't support paging or filter");
    if (a->begin < 0 || a->length < 0)
        return error_set(err, "Parameter '%s' expects a non-negative value",
                         a->begin < 0 ? "begin" : "length");
    return true;
}

static int dump_open(Machine *m, const char *protocol, Error *err)
{
    int fd;

    if (!strncmp(protocol, "fd:", 3))
        return fds_take(m, protocol + 3, err);
    if (strncmp(protocol, "file:", 5)) {
        error_set(err, "Invalid parameter 'protocol'");
        return -1;
    }
    fd = fds_open(m, protocol + 5, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        error_set_errno(err, -fd, "could not open '%s'", protocol + 5);
    return fd;
}

COMMAND_FN(dump_guest_memory)
{
    const DumpArgs *a = args;
    Dump *d = control_state(m, &dump_key, sizeof *d, dump_fini);
    int fd = dump_check(m, d, a, err) ? dump_open(m, a->protocol, err) : -1;
    struct stat st;

    if (fd < 0)
        return false;
    *d = (Dump){.machine = m, .fd = fd, .kdump = a->format, .status = DUMP_ACTIVE};
    d->plain = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    d->resume = m->state == RUN_RUNNING;
    machine_pause(m);
    ranges_collect(d, (uint64_t)a->begin,
                   a->has_length ? (uint64_t)a->begin + (uint64_t)a->length : UINT64_MAX);
    if (a->paging)
        maps_collect(d);
    for (unsigned i = 0; i < m->n_cpus; i++)
        m->arch->core_note(m->cpus[i], &d->notes);
    m->memory_readers++;
    if (a->detach && pthread_create(&d->thread, NULL, dump_thread, d) == 0) {
        d->threaded = true;
        return true;
    }
    dump_write(d);
    dump_finish(d);
    return !d->error.msg[0] || error_set(err, "%s", d->error.msg);
}
COMMAND(dump_guest_memory, .name = "dump-guest-memory", .args = &dump_type,
        .run = dump_guest_memory,
        .doc = "Write the guest's memory to a file that crash and gdb read.")

COMMAND_FN(query_dump)
{
    Dump *d = control_state(m, &dump_key, sizeof *d, dump_fini);

    *(DumpInfo *)ret = dump_info(d);
    return true;
}
COMMAND(query_dump, .name = "query-dump", .ret = &info_type, .run = query_dump,
        .doc = "How far the present or last dump is.")

typedef struct DumpFormats {
    List formats;
} DumpFormats;
static const Field formats_fields[] = {
    ARG_TYPE(DumpFormats, formats, "formats", &formats_type, "of dump-guest-memory")};
static STRUCT_TYPE(formats_struct, DumpFormats, formats_fields);

COMMAND_FN(query_dump_capability)
{
    for (uint32_t i = 0; format_names[i]; i++)
        *(uint32_t *)list_add(&((DumpFormats *)ret)->formats, &format_type) = i;
    return true;
}
COMMAND(query_dump_capability, .name = "query-dump-guest-memory-capability", .ret = &formats_struct,
        .run = query_dump_capability, .doc = "The formats of dump-guest-memory.")
