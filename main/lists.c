/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lists - what `-machine help` and its like print */
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cpu/x86/model.h"
#include "main/not_built.h"

void list_boards(const Config *c)
{
    printf("Supported machines are:\n");
    for (const Board *b = board_next(NULL); b; b = board_next(b)) {
        if (b->arch && !board_has_arch(b, c->arch))
            continue;
        printf("%-20s %s\n", b->name, b->doc);
        if (b->alias)
            printf("%-20s alias of %s\n", b->alias, b->name);
    }
}

void list_cpus(const Config *c)
{
    StrBuf b = {0};

    if (!strcmp(c->arch, "x86_64") || !strcmp(c->arch, "i386"))
        x86_model_help(&b);
    fputs(strbuf_str(&b), stdout);
    strbuf_free(&b);
}

void list_accels(void)
{
    static const char *const names[] = {"jit", "kvm", "null"};

    printf("Accelerators supported in rhea:\n");
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        const Accel *a = accel_find(names[i]);

        if (a && a->alias)
            printf("%s (also called %s)\n", a->name, a->alias);
        else if (a)
            printf("%s\n", a->name);
    }
}

void list_devices(void)
{
    for (const DeviceClass *d = device_class_next(NULL); d; d = device_class_next(d))
        if (d->user)
            printf("name \"%s\", bus %s, desc \"%s\"\n", d->name, d->parent ? d->parent : "none",
                   d->doc);
}

static void print_properties(const Type *t)
{
    for (unsigned i = 0; t && i < t->n_fields; i++) {
        const Field *f = &t->fields[i];

        if (!(f->use & FIELD_PROP))
            continue;
        printf("  %s=<%s>", f->name, f->type->name);
        printf("%*s- %s", MAX(1, 22 - (int)(strlen(f->name) + strlen(f->type->name))), "",
               f->doc ? f->doc : "");
        if (f->type->meta == META_BOOL)
            printf(" (default: %s)", f->def ? "on" : "off");
        else if (f->type->meta == META_UINT || f->type->meta == META_INT)
            printf(" (default: %" PRId64 ")", f->def);
        printf("\n");
    }
}

bool list_properties(const char *device, Error *err)
{
    const DeviceClass *d = device_class_find(device);

    if (!d)
        return device_refused(device, err);
    printf("%s options:\n", d->name);
    print_properties(d->type);
    return true;
}

bool list_board_properties(const Config *c, Error *err)
{
    const Board *b = board_find(c->board, c->arch);

    if (!b)
        return error_set(err, "unsupported machine type (use -machine help to list them)");
    printf("%s options:\n", b->name);
    print_properties(b->options);
    return true;
}

void list_log_items(void)
{
    printf("Log items (comma separated):\n");
    for (const LogItem *i = log_items; i->name; i++)
        printf("%-15s %s\n", i->name, i->doc);
    printf("trace:PATTERN   enable trace events\n");
}
