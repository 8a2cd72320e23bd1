/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest_memory - reading for human commands, memsave and pmemsave (QEMU 7.2, qapi/machine.json) */
#include "monitor/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/command.h"
#include "core/debug.h"
#include "core/fds.h"
#include "monitor/hmp_priv.h"

enum { PAGE = 4096 };

bool guest_translate(Cpu *c, Gva va, Gpa *pa)
{
    const DebugArch *a = c->arch->debug;

    return a && a->translate && a->translate(c, va, pa);
}

bool guest_read(Machine *m, Cpu *v, uint64_t at, void *buf, size_t n)
{
    Cpu *before = cpu_current();
    bool ok = true;

    cpu_set_current(v ? v : m->n_cpus ? m->cpus[0] : NULL); /* devices with a face for each */
    while (n && ok) {
        size_t step = MIN(n, (size_t)(PAGE - at % PAGE));
        Gpa pa = at;

        ok = !v || guest_translate(v, at, &pa);
        ok = ok && as_read(v ? v->as : &m->mem->system, pa, buf, step) == MEM_OK;
        buf = (char *)buf + step;
        at += step;
        n -= step;
    }
    cpu_set_current(before);
    return ok;
}

bool guest_save(Machine *m, Cpu *v, uint64_t at, uint64_t n, const char *path, Error *err)
{
    int fd = fds_open(m, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    uint8_t page[PAGE];
    bool ok = true;

    if (fd < 0)
        return error_set_errno(err, -fd, "could not open '%s'", path);
    while (n && ok) {
        size_t step = (size_t)MIN(n, (uint64_t)PAGE - at % PAGE);

        if (!guest_read(m, v, at, page, step))
            ok = error_set(err, "Invalid addr 0x%016" PRIx64 "/size %" PRIu64 " specified", at, n);
        else if (write(fd, page, step) != (ssize_t)step)
            ok = error_set(err, "writing memory to '%s' failed", path);
        at += step;
        n -= step;
    }
    if (close(fd) < 0 && ok)
        ok = error_set_errno(err, errno, "could not write '%s'", path);
    return ok;
}

/* --- memsave, pmemsave --- */

typedef struct MemSave {
    int64_t val, size, cpu;
    char *filename;
    bool has_cpu;
} MemSave;
static const Field memsave_fields[] = {
    ARG(MemSave, val, "val", "first address"),
    ARG(MemSave, size, "size", "bytes"),
    ARG(MemSave, filename, "filename", "where to"),
    ARG_OPT(MemSave, cpu, "cpu-index", "whose addresses: the first processor's"),
};
static STRUCT_TYPE(memsave_type, MemSave, memsave_fields);
static const Field pmemsave_fields[] = {
    ARG(MemSave, val, "val", "first address"),
    ARG(MemSave, size, "size", "bytes"),
    ARG(MemSave, filename, "filename", "where to"),
};
static STRUCT_TYPE(pmemsave_type, MemSave, pmemsave_fields);

static bool save(Machine *m, Cpu *v, const MemSave *a, Error *err)
{
    bool ok;

    if (a->size < 0)
        return error_set(err, "Parameter 'size' expects a non-negative value");
    hmp_hold(m);
    ok = guest_save(m, v, (uint64_t)a->val, (uint64_t)a->size, a->filename, err);
    hmp_go(m);
    return ok;
}

COMMAND_FN(memsave)
{
    const MemSave *a = args;

    if (a->cpu < 0 || a->cpu >= m->n_cpus)
        return error_set(err, "Parameter 'cpu-index' expects a CPU number");
    return save(m, m->cpus[a->cpu], a, err);
}
COMMAND(memsave, .name = "memsave", .args = &memsave_type, .run = memsave,
        .doc = "Write memory, as a processor addresses it, to a file.")

COMMAND_FN(pmemsave)
{
    return save(m, NULL, args, err);
}
COMMAND(pmemsave, .name = "pmemsave", .args = &pmemsave_type, .run = pmemsave,
        .doc = "Write physical memory to a file.")
