/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmdk_desc - descriptors of VMware disks (VMware, "Virtual Disk Format 5.0", chapter "The
 * descriptor file") */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "block/vmdk_priv.h"

enum { PARTS_MAX = 8192 };

bool vmdk_is_descriptor(const uint8_t *head, size_t size)
{
    static const char first[] = "# Disk DescriptorFile";

    return size >= sizeof first && !memcmp(head, first, sizeof first - 1);
}

/* The text between the quotes after "key="; NULL: not this key. */
static char *quoted_value(const char *line, const char *key)
{
    size_t n = strlen(key);
    const char *from, *to;
    char *value;

    if (strncmp(line, key, n))
        return NULL;
    from = line + n + strspn(line + n, " \t");
    if (*from++ != '=')
        return NULL;
    from += strspn(from, " \t");
    if (*from++ != '"' || !(to = strchr(from, '"')))
        return NULL;
    value = xalloc((size_t)(to - from) + 1);
    memcpy(value, from, (size_t)(to - from));
    return value;
}

/* 'RW 20480 SPARSE "name" 0'; false with a message: malformed. */
static bool parse_part(VmdkPart *p, const char *line, Error *err)
{
    char access[16], type[16], *end;
    long long sectors = 0;
    int used = 0;
    const char *rest;

    if (sscanf(line, "%15s %lld %15s%n", access, &sectors, type, &used) != 3 || sectors <= 0 ||
        sectors > INT64_MAX / 512)
        return error_set(err, "Invalid extent line: %.100s", line);
    p->writable = !strcmp(access, "RW");
    p->sectors = (uint64_t)sectors;
    p->type = xstrdup(type);
    if (!strcmp(access, "NOACCESS"))
        return error_set(err, "Extent without access: %.100s", line);
    if (!strcmp(type, "ZERO")) {
        p->kind = VMDK_ZERO;
        return true;
    }
    if (!strcmp(type, "FLAT") || !strcmp(type, "VMFS"))
        p->kind = VMDK_FLAT;
    else if (!strcmp(type, "SPARSE"))
        p->kind = VMDK_SPARSE;
    else
        return error_set(err, "Unsupported extent type '%s'", type);
    rest = line + used + strspn(line + used, " \t");
    if (*rest != '"' || !(end = strchr(rest + 1, '"')) || end == rest + 1)
        return error_set(err, "Invalid extent line: %.100s", line);
    p->file = xalloc((size_t)(end - rest));
    memcpy(p->file, rest + 1, (size_t)(end - rest - 1));
    p->at = p->kind == VMDK_FLAT ? strtoull(end + 1, NULL, 10) : 0;
    if (p->at > INT64_MAX / 512 - p->sectors)
        return error_set(err, "Invalid offset in extent line: %.100s", line);
    return true;
}

static bool is_part(const char *line)
{
    return !strncmp(line, "RW ", 3) || !strncmp(line, "RDONLY ", 7) ||
           !strncmp(line, "NOACCESS ", 9);
}

static bool parse_line(VmdkDesc *d, const char *line, Error *err)
{
    char *v;

    if (is_part(line)) {
        if (d->n_parts == PARTS_MAX)
            return error_set(err, "more than %d extents", PARTS_MAX);
        d->parts = xrealloc(d->parts, (d->n_parts + 1) * sizeof *d->parts);
        d->parts[d->n_parts] = (VmdkPart){0};
        return parse_part(&d->parts[d->n_parts++], line, err);
    }
    if (!strncmp(line, "CID=", 4))
        d->cid = (uint32_t)strtoul(line + 4, NULL, 16);
    else if (!strncmp(line, "parentCID=", 10))
        d->parent_cid = (uint32_t)strtoul(line + 10, NULL, 16);
    else if ((v = quoted_value(line, "createType"))) {
        xfree(d->create_type);
        d->create_type = v;
    } else if ((v = quoted_value(line, "parentFileNameHint"))) {
        xfree(d->parent);
        d->parent = v;
    }
    return true;
}

bool vmdk_desc_parse(VmdkDesc *d, const char *text, Error *err)
{
    bool ok = true;

    d->parent_cid = VMDK_NO_PARENT;
    while (*text && ok) {
        size_t n = strcspn(text, "\r\n");
        AUTO_FREE char *line = xalloc(n + 1);

        memcpy(line, text, n);
        ok = parse_line(d, line, err);
        text += n + strspn(text + n, "\r\n");
    }
    if (ok && !d->create_type)
        ok = error_set(err, "invalid VMDK image descriptor (no createType)");
    return ok;
}

void vmdk_desc_free(VmdkDesc *d)
{
    for (unsigned i = 0; i < d->n_parts; i++) {
        xfree(d->parts[i].file);
        xfree(d->parts[i].type);
    }
    xfree(d->parts);
    xfree(d->create_type);
    xfree(d->parent);
    *d = (VmdkDesc){0};
}

/* A copy of @text with another content id; NULL: it has none. */
char *vmdk_desc_with_cid(const char *text, uint32_t cid)
{
    const char *at = strstr(text, "\nCID=");

    if (!at)
        return NULL;
    at += strlen("\nCID=");
    return xasprintf("%.*s%08x%s", (int)(at - text), text, cid,
                     at + strspn(at, "0123456789abcdefABCDEF"));
}
