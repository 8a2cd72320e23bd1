/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_info - registers, page tables, memory map, devices as text (layout: QEMU 7.2 where there is
 * one) */
#include <stdio.h>

#include "base/alloc.h"
#include "core/debug.h"
#include "core/hotplug.h"
#include "monitor/hmp_priv.h"
#include "monitor/qom.h"

/* --- processors --- */

static void show_registers(HmpCall *h, Cpu *c)
{
    StrBuf text = {0};

    hmp_print(h, "\nCPU#%u\n", c->index);
    if (c->arch->dump)
        c->arch->dump(c, &text);
    strbuf_add(h->out, strbuf_str(&text));
    strbuf_free(&text);
}

void hmp_registers(HmpCall *h)
{
    hmp_hold(h->m);
    if (hmp_has(h, "a")) {
        for (unsigned i = 0; i < h->m->n_cpus; i++)
            show_registers(h, h->m->cpus[i]);
    } else if (h->cpu) {
        show_registers(h, h->cpu);
    } else {
        hmp_print(h, "No CPU available\n");
    }
    hmp_go(h->m);
}

/* --- page tables --- */

enum { PTE_W = 2, PTE_U = 4, LINES_MAX = 100000 };

typedef struct PageWalk {
    HmpCall *h;
    unsigned lines;
    Gva start, end; /* info mem: the stretch so far */
    unsigned rights;
} PageWalk;

static bool page_room(PageWalk *w)
{
    if (w->lines++ == LINES_MAX)
        hmp_print(w->h, "(and more)\n");
    return w->lines <= LINES_MAX;
}

static void tlb_page(void *arg, Gva va, Gpa pa, uint64_t size, uint64_t flags)
{
    static const char letters[] = "GPDACTUW"; /* bits 8, 7 ... 1 */
    PageWalk *w = arg;
    char shown[10] = "---------";

    if (!page_room(w))
        return;
    shown[0] = flags >> 63 ? 'X' : '-';
    for (unsigned i = 0; i < 8; i++)
        if (flags & (0x100u >> i) && (letters[i] != 'P' || size > 4096))
            shown[i + 1] = letters[i];
    hmp_print(w->h, "%016" PRIx64 ": %016" PRIx64 " %s\n", va, pa, shown);
}

static void mem_flush(PageWalk *w)
{
    if (w->end != w->start && page_room(w))
        hmp_print(w->h, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", w->start, w->end,
                  w->end - w->start, w->rights & PTE_U ? 'u' : '-', w->rights & PTE_W ? 'w' : '-');
}

static void mem_page(void *arg, Gva va, Gpa pa, uint64_t size, uint64_t flags)
{
    PageWalk *w = arg;
    unsigned rights = flags & (PTE_U | PTE_W);

    (void)pa;
    if (va != w->end || rights != w->rights || w->start == w->end) {
        mem_flush(w);
        w->start = va;
        w->rights = rights;
    }
    w->end = va + size;
}

static void show_pages(HmpCall *h, CpuMappingFn *fn, bool flush)
{
    PageWalk w = {.h = h};

    if (!h->cpu || !h->cpu->arch->mappings) {
        hmp_print(h, "No CPU available\n");
        return;
    }
    hmp_hold(h->m);
    if (!h->cpu->arch->mappings(h->cpu, fn, &w))
        hmp_print(h, "PG disabled\n");
    hmp_go(h->m);
    if (flush)
        mem_flush(&w);
}

void hmp_mem(HmpCall *h)
{
    show_pages(h, mem_page, true);
}

void hmp_tlb(HmpCall *h)
{
    show_pages(h, tlb_page, false);
}

/* --- memory map --- */

static const char *region_kind(const Region *r)
{
    while (r->kind == REGION_ALIAS)
        r = r->alias;
    return r->kind == REGION_RAM ? "ram" : r->kind == REGION_ROM ? "rom" : "i/o";
}

static uint64_t last_of(uint64_t at, uint64_t size)
{
    return size ? at + (size == UINT64_MAX ? size : size - 1) : at;
}

static void show_region(HmpCall *h, const Region *r, uint64_t base, unsigned depth)
{
    uint64_t at = base + r->at;

    hmp_print(h, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", (int)depth * 2, "", at,
              last_of(at, r->size), r->priority, region_kind(r));
    if (r->kind == REGION_ALIAS)
        hmp_print(h, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name, r->alias->name,
                  r->alias_at, last_of(r->alias_at, r->size));
    else
        hmp_print(h, "%s", r->name);
    hmp_print(h, "%s\n", r->enabled ? "" : " [disabled]");
    for (const Region *c = r->children; c; c = c->next)
        show_region(h, c, at, depth + 1);
}

static void show_flat(HmpCall *h, AddressSpace *as)
{
    const FlatMap *map;

    hmp_print(h, "FlatView of address-space: %s\n", as->name);
    epoch_enter();
    map = atomic_load(&as->map);
    for (unsigned i = 0; map && i < map->n; i++) {
        const MemSection *s = &map->s[i];

        hmp_print(h, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", s->at,
                  last_of(s->at, s->size), s->region->priority, region_kind(s->region),
                  s->region->name);
        hmp_print(h, s->region_at ? " @%016" PRIx64 "\n" : "\n", s->region_at);
    }
    epoch_exit();
    hmp_print(h, "\n");
}

void hmp_mtree(HmpCall *h)
{
    for (AddressSpace *as = h->m->mem->spaces; as; as = as->next) {
        if (hmp_has(h, "f")) {
            show_flat(h, as);
            continue;
        }
        hmp_print(h, "address-space: %s\n", as->name);
        WITH_LOCK (&h->m->mem->topology)
            show_region(h, as->root, 0, 1);
        hmp_print(h, "\n");
    }
}

/* Read-only memory that is not an alias. */
static void show_roms(HmpCall *h, const Region *r, uint64_t base)
{
    if (r->kind == REGION_ROM)
        hmp_print(h, "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=rom name=\"%s\"\n", base + r->at,
                  r->size, r->name);
    for (const Region *c = r->children; c; c = c->next)
        show_roms(h, c, base + r->at);
}

void hmp_roms(HmpCall *h)
{
    WITH_LOCK (&h->m->mem->topology)
        show_roms(h, h->m->mem->system.root, 0);
}

/* --- devices --- */

static void show_device(HmpCall *h, const Device *d, unsigned depth)
{
    const Type *t = d->cls->type;

    hmp_print(h, "%*sdev: %s, id \"%s\"\n", (int)depth * 2, "", d->cls->name, d->id ? d->id : "");
    for (unsigned i = 0; t && i < t->n_fields; i++) {
        const Field *f = &t->fields[i];
        AUTO_FREE char *value = f->use & FIELD_PROP ? reflect_get(f, d) : NULL;

        if (value && (f->type->meta == META_STR || f->type->meta == META_LINK))
            hmp_print(h, "%*s%s = \"%s\"\n", (int)depth * 2 + 2, "", f->name, value);
        else if (value)
            hmp_print(h, "%*s%s = %s\n", (int)depth * 2 + 2, "", f->name,
                      f->type->meta != META_BOOL ? value
                      : strcmp(value, "on") == 0 ? "true"
                                                 : "false");
    }
    for (const Device *c = d->children; c; c = c->next)
        show_device(h, c, depth + 1);
}

void hmp_qtree(HmpCall *h)
{
    hmp_print(h, "bus: main-system-bus\n  type System\n");
    for (const Device *d = h->m->root->children; d; d = d->next)
        show_device(h, d, 1);
}

typedef struct TreeWalk {
    HmpCall *h;
    unsigned depth;
} TreeWalk;

static void show_node(void *arg, const char *name, QomNode n)
{
    const TreeWalk *w = arg;
    AUTO_FREE char *type = qom_type(w->h->m, n);

    hmp_print(w->h, "%*s/%s (%s)\n", (int)w->depth * 2, "", name, type);
    qom_children(w->h->m, n, show_node, &(TreeWalk){w->h, w->depth + 1});
}

void hmp_qom_tree(HmpCall *h)
{
    const char *path = hmp_str(h, "path");
    Error err = {0};
    QomNode n;

    if (*path == '/')
        path++;
    if (!*path)
        path = "machine";
    AUTO_FREE char *full = xasprintf("/%s", path);
    if (qom_find(h->m, full, &n, &err))
        show_node(&(TreeWalk){h, 0}, path, n);
    else
        hmp_print(h, "Path '%s' could not be resolved.\n", hmp_str(h, "path"));
}

/* State of the interrupt controllers, register by register. */
static void show_pic(Device *d, void *arg)
{
    static const char *const names[] = {"isa-pic", "ioapic", "apic"};
    HmpCall *h = arg;
    StrBuf text = {0};

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(d->cls->name, names[i]))
            continue;
        AUTO_FREE char *path = device_path(d);
        WITH_LOCK (d->lock)
            reflect_dump(d->cls->type, d, FIELD_STATE, &text);
        hmp_print(h, "%s: %s\n", d->cls->name, path);
        strbuf_add(h->out, strbuf_str(&text));
        strbuf_free(&text);
        return;
    }
}

void hmp_pic(HmpCall *h)
{
    hmp_hold(h->m);
    device_walk(h->m->root, show_pic, h);
    hmp_go(h->m);
}
