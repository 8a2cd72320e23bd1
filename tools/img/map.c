/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map - which file of a chain has which part, and where in it
 */
#include <stdio.h>

#include "tools/img/img.h"

typedef struct MapEntry {
    uint64_t start, length;
    unsigned depth;
    bool present, zero, data;
    bool has_offset;
    uint64_t offset;
    const BlockNode *file;
} MapEntry;

/* What is at @at, as far as it is alike: 0 or -errno. */
static int map_entry(BlockNode *n, uint64_t at, uint64_t size, MapEntry *out)
{
    unsigned depth = 0;
    BlockNode *below;
    Extent e;

    for (n = node_skip_filters(n);; n = node_skip_filters(below), depth++) {
        int rc = node_status(n, at, size, &e);

        if (rc)
            return rc;
        below = n->backing;
        size = e.size;
        if (e.kind != EXTENT_UNALLOCATED || !below || at >= below->size)
            break;
        size = MIN(size, below->size - at);
    }
    *out = (MapEntry){.start = at, .length = size, .depth = depth};
    out->present = e.kind != EXTENT_UNALLOCATED;
    out->data = e.kind == EXTENT_DATA || e.kind == EXTENT_SPECIAL;
    out->zero = !out->data;
    if (e.child && e.kind != EXTENT_SPECIAL && e.kind != EXTENT_UNALLOCATED) {
        out->has_offset = true;
        out->offset = e.child_at;
        out->file = e.child;
    }
    return 0;
}

static bool mergeable(const MapEntry *a, const MapEntry *b)
{
    return a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
           a->data == b->data && a->has_offset == b->has_offset && a->file == b->file &&
           (!a->has_offset || a->offset + a->length == b->offset);
}

/* False: it cannot be said in text. */
static bool show_human(const MapEntry *e)
{
    if (e->data && !e->has_offset) {
        log_error("File contains external, encrypted or compressed clusters.");
        return false;
    }
    if (e->data)
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start, e->length, e->offset,
               e->file->filename);
    return true;
}

static void show_json(const MapEntry *e, bool last)
{
#define TRUTH(b) ((b) ? "true" : "false")
    printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, "
           "\"zero\": %s, \"data\": %s",
           e->start, e->length, e->depth, TRUTH(e->present), TRUTH(e->zero), TRUTH(e->data));
    if (e->has_offset)
        printf(", \"offset\": %" PRIu64, e->offset);
    fputs(last ? "}" : "},\n", stdout);
}

static bool show_map(BlockNode *n, uint64_t at, uint64_t end, bool json)
{
    MapEntry now = {0}, next;

    if (json)
        putchar('[');
    else
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    for (; at < end; at += next.length) {
        int rc = map_entry(n, at, end - at, &next);

        if (rc) {
            log_error("Failed to read image metadata: %s", strerror(-rc));
            return false;
        }
        if (now.length && mergeable(&now, &next)) {
            now.length += next.length;
            continue;
        }
        if (now.length && json)
            show_json(&now, false);
        else if (now.length && !show_human(&now))
            return false;
        now = next;
    }
    if (now.length && json)
        show_json(&now, true);
    else if (now.length && !show_human(&now))
        return false;
    if (json)
        puts("]");
    return true;
}

int img_cmd_map(Img *im)
{
    uint64_t start = 0, length = INT64_MAX, size;
    ImgFile f;
    bool json, ok;

    if (!arg_json_output(im, &json) || !arg_size(im, 's', "start offset", &start) ||
        !arg_size(im, OPT_START_OFFSET, "start offset", &start) ||
        !arg_size(im, 'l', "max length", &length) ||
        !arg_size(im, OPT_MAX_LENGTH, "max length", &length) ||
        !img_open_operand(im, &f, NODE_READ_ONLY))
        return 1;
    size = block_size(f.port);
    ok = show_map(f.node, start, start < size ? start + MIN(length, size - start) : 0, json);
    img_close(&f);
    return ok ? 0 : 1;
}
