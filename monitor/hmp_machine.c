/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_machine - character devices, memory, interrupts, trace points and device models for humans
 * (layout: QEMU 7.2) */
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/opts_json.h"
#include "chardev/chardev.h"
#include "core/device.h"
#include "monitor/hmp_priv.h"

/* --- character devices --- */

static json_t *chardev_options(HmpCall *h, Error *err)
{
    return opts_json_parse(hmp_str(h, "args"), "backend", KEYVAL_FLAGS, NULL, err);
}

void hmp_chardev_add(HmpCall *h)
{
    Error err = {0};
    json_t *j = chardev_options(h, &err);

    if (!j || !chardev_add_json(h->m->chardevs, j, &err))
        hmp_print(h, "Error: %s\n", err.msg);
    json_decref(j);
}

void hmp_chardev_change(HmpCall *h)
{
    Error err = {0};
    json_t *j = chardev_options(h, &err);

    if (j && json_object_get(j, "id"))
        error_set(&err, "Unexpected 'id' parameter");
    else if (j && !json_object_set_new(j, "id", json_string(hmp_str(h, "id"))))
        chardev_change(h->m->chardevs, j, &err);
    if (err.msg[0])
        hmp_print(h, "Error: %s\n", err.msg);
    json_decref(j);
}

void hmp_show_ringbuf(HmpCall *h, const json_t *r)
{
    strbuf_add(h->out, json_string_value(r));
    strbuf_add(h->out, "\n");
}

/* --- memory --- */

void hmp_show_memdevs(HmpCall *h, const json_t *r)
{
    static const char *const flags[] = {"merge", "dump", "prealloc", "share", "reserve"};
    json_t *d, *node;
    size_t i, k;

    json_array_foreach (r, i, d) {
        hmp_print(h, "memory backend: %s\n  size:  %lld\n", hmp_text(d, "id"),
                  hmp_number(d, "size"));
        for (k = 0; k < COUNT_OF(flags); k++)
            hmp_print(h, "  %s: %s\n", flags[k], hmp_true(d, flags[k]) ? "true" : "false");
        hmp_print(h, "  policy: %s\n  host nodes: ", hmp_text(d, "policy"));
        json_array_foreach (json_object_get(d, "host-nodes"), k, node)
            hmp_print(h, "%s%lld", k ? ", " : "", (long long)json_integer_value(node));
        hmp_print(h, "\n");
    }
    hmp_print(h, "\n");
}

void hmp_numa(HmpCall *h)
{
    const MachineConfig *c = &h->m->cfg;

    hmp_print(h, "%u nodes\n", c->n_numa);
    for (unsigned i = 0; i < c->n_numa; i++) {
        const NumaNode *n = &c->numa[i];

        hmp_print(h, "node %u cpus:", i);
        for (unsigned k = 0; k < h->m->n_cpus && k < 256; k++)
            if (n->cpus[k / 64] >> k % 64 & 1)
                hmp_print(h, " %u", k);
        hmp_print(h, "\nnode %u size: %llu MB\nnode %u plugged: 0 MB\n", i,
                  (unsigned long long)(n->mem / MIB), i);
    }
}

/* The byte of RAM at @pa; it stays where it is as long as the machine lives. */
static const uint8_t *ram_at(HmpCall *h, Gpa pa, const char **region)
{
    const uint8_t *p = NULL;
    const FlatMap *map;

    epoch_enter();
    map = atomic_load(&h->m->mem->system.map);
    for (unsigned i = 0; map && i < map->n; i++) {
        const MemSection *s = &map->s[i];

        if (pa < s->at || pa - s->at >= s->size || s->region->kind == REGION_IO)
            continue;
        p = s->region->hva + s->region_at + (pa - s->at);
        *region = s->region->name;
    }
    epoch_exit();
    return p;
}

void hmp_gpa2hva(HmpCall *h)
{
    uint64_t pa = (uint64_t)hmp_int(h, "addr");
    const char *region;
    const uint8_t *p = ram_at(h, pa, &region);

    if (p)
        hmp_print(h, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", pa, region,
                  (const void *)p);
    else
        hmp_print(h, "Error: No memory is mapped at address 0x%" PRIx64 "\n", pa);
}

void hmp_gpa2hpa(HmpCall *h)
{
    uint64_t pa = (uint64_t)hmp_int(h, "addr"), entry = 0, page = (uint64_t)getpagesize();
    const char *region;
    const uint8_t *p = ram_at(h, pa, &region);
    int fd = p ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
    bool ok = fd >= 0 && pread(fd, &entry, 8, (off_t)((uintptr_t)p / page * 8)) == 8;

    if (fd >= 0)
        close(fd);
    if (!p)
        hmp_print(h, "Error: No memory is mapped at address 0x%" PRIx64 "\n", pa);
    else if (!ok)
        hmp_print(h, "Error: Cannot read /proc/self/pagemap\n");
    else if (!(entry >> 63))
        hmp_print(h, "Error: Page not present\n");
    else
        hmp_print(h, "Host physical address for 0x%" PRIx64 " (%s) is 0x%" PRIx64 "\n", pa, region,
                  (uint64_t)((entry & ((1ull << 55) - 1)) * page + (uintptr_t)p % page));
}

/* --- interrupts --- */

static void show_counts(Device *d, void *arg)
{
    HmpCall *h = arg;
    const _Atomic uint64_t *counts;
    unsigned n = 0;

    if (!d->cls->interrupts)
        return;
    counts = d->cls->interrupts(d, &n);
    hmp_print(h, "IRQ statistics for %s:\n", d->cls->name);
    for (unsigned i = 0; i < n; i++)
        if (counts[i])
            hmp_print(h, "%2u: %" PRIu64 "\n", i, (uint64_t)counts[i]);
}

void hmp_irq(HmpCall *h)
{
    device_walk(h->m->root, show_counts, h);
}

typedef struct LapicWalk {
    HmpCall *h;
    uint64_t id;
} LapicWalk;

static void show_lapic(Device *d, void *arg)
{
    const LapicWalk *w = arg;
    const Field *id =
        strcmp(d->cls->name, "apic") ? NULL : reflect_find(d->cls->type, "id", FIELD_PROP);
    StrBuf text = {0};

    if (!id || *(const uint32_t *)((const char *)d + id->at) != w->id)
        return;
    hmp_print(w->h, "dumping local APIC state for CPU %" PRIu64 "\n\n", w->id);
    WITH_LOCK (d->lock)
        reflect_dump(d->cls->type, d, FIELD_STATE, &text);
    strbuf_add(w->h->out, strbuf_str(&text));
    strbuf_free(&text);
}

void hmp_lapic(HmpCall *h)
{
    LapicWalk w = {h, hmp_has(h, "apic-id") ? (uint64_t)hmp_int(h, "apic-id") : h->cpu_index};

    hmp_hold(h->m);
    device_walk(h->m->root, show_lapic, &w);
    hmp_go(h->m);
}

/* --- trace points --- */

void hmp_trace(HmpCall *h)
{
    const char *name = hmp_str(h, "name");

    if (!trace_set(name, json_is_true(json_object_get(h->args, "option"))) && !strpbrk(name, "*?["))
        hmp_print(h, "unknown event \"%s\"\n", name);
}

void hmp_trace_events(HmpCall *h)
{
    const char *name = hmp_has(h, "name") ? hmp_str(h, "name") : "*";
    unsigned n = 0;

    for (const TracePoint *t = trace_next(NULL); t; t = trace_next(t))
        if (!fnmatch(name, t->name, 0)) {
            hmp_print(h, "%s : state %d\n", t->name, t->on);
            n++;
        }
    if (!n && !strpbrk(name, "*?["))
        hmp_print(h, "unknown event \"%s\"\n", name);
}

/* --- device models --- */

void hmp_qdm(HmpCall *h)
{
    for (const DeviceClass *c = device_class_next(NULL); c; c = device_class_next(c))
        hmp_print(h, "name \"%s\"%s%s%s%s\n", c->name, c->doc ? ", desc \"" : "",
                  c->doc ? c->doc : "", c->doc ? "\"" : "", c->user ? "" : ", no-user");
}
