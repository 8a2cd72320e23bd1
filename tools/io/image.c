/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image - commands about the open file as a whole
 */
#include <errno.h>
#include <stdio.h>

#include "base/opts_json.h"
#include "tools/output.h"
#include "tools/io/io.h"

/* --- opening --- */

bool io_cache_mode(const char *mode, uint32_t *flags)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } modes[] = {{"none", NODE_NO_CACHE},
                 {"off", NODE_NO_CACHE},
                 {"directsync", NODE_NO_CACHE | NODE_WRITETHROUGH},
                 {"writeback", 0},
                 {"unsafe", NODE_NO_FLUSH},
                 {"writethrough", NODE_WRITETHROUGH}};

    *flags &= ~(uint32_t)(NODE_NO_CACHE | NODE_WRITETHROUGH | NODE_NO_FLUSH);
    for (unsigned i = 0; i < COUNT_OF(modes); i++)
        if (!strcmp(mode, modes[i].name)) {
            *flags |= modes[i].flags;
            return true;
        }
    log_error("Invalid cache option: %s", mode);
    return false;
}

bool io_discard_mode(const char *mode, uint32_t *flags)
{
    bool on = !strcmp(mode, "on") || !strcmp(mode, "unmap");

    if (!on && strcmp(mode, "off") != 0 && strcmp(mode, "ignore") != 0) {
        log_error("Invalid discard option: %s", mode);
        return false;
    }
    *flags = on ? *flags | NODE_UNMAP : *flags & ~(uint32_t)NODE_UNMAP;
    return true;
}

static BlockNode *open_image(Io *io, const IoOpen *o, Error *err)
{
    json_t *options = json_object();
    uint32_t flags = o->snapshot ? o->flags | NODE_READ_ONLY : o->flags;
    const char *text = o->image_opts ? o->filename : o->options;

    if (text) {
        json_decref(options);
        options = opts_json_parse(text, NULL, 0, NULL, err);
        if (!options)
            return NULL;
    }
    if (o->filename && !o->image_opts)
        return node_open_image(io->graph, o->filename, o->fmt, options, flags, err);
    if (o->fmt)
        json_object_set_new(options, "driver", json_string(o->fmt));
    return node_open(io->graph, options, flags, err);
}

static BlockNode *open_node(Io *io, const IoOpen *o, Error *err)
{
    BlockNode *n = open_image(io, o, err), *top;

    if (n && o->snapshot) {
        top = node_open_temporary(n, err);
        node_unref(n);
        n = top;
    }
    return o->copy_on_read ? node_open_filter(n, "copy-on-read", err) : n;
}

bool io_open(Io *io, const IoOpen *o)
{
    unsigned perm = PERM_READ | (o->flags & NODE_READ_ONLY ? 0 : PERM_WRITE | PERM_RESIZE);
    Error err = {0};

    if (io->port) {
        log_error("file open already, try 'help close'");
        return false;
    }
    io->node = open_node(io, o, &err);
    if (io->node)
        io->port = block_port_new(io->graph, NULL, io->node, perm, PERM_ALL, &err);
    if (io->port) {
        guess_warning(io->node);
        return true;
    }
    log_error("can't open%s%s: %s", o->filename ? " device " : "", o->filename ? o->filename : "",
              err.msg);
    if (io->node)
        node_unref(io->node);
    io->node = NULL;
    return false;
}

void io_close(Io *io)
{
    if (!io->port)
        return;
    aio_wait(io);
    block_port_free(io->port);
    node_unref(io->node);
    io->port = NULL;
    io->node = NULL;
}

int io_cmd_open(Io *io, IoArgs *a)
{
    IoOpen o = {.flags = NODE_UNMAP, .options = a->value['o'], .snapshot = a->has['s']};

    o.flags |= (a->has['r'] ? NODE_READ_ONLY : 0u) | (a->has['n'] ? NODE_NO_CACHE : 0u) |
               (a->has['U'] ? NODE_FORCE_SHARE : 0u);
    o.copy_on_read = a->has['C'];
    if ((a->has['t'] && !io_cache_mode(a->value['t'], &o.flags)) ||
        (a->has['d'] && !io_discard_mode(a->value['d'], &o.flags)))
        return -1;
    if (a->n_rest > 1 || (!a->n_rest && !o.options))
        return io_usage(a->cmd);
    o.filename = a->n_rest ? a->rest[0] : NULL;
    return io_open(io, &o) ? 0 : -1;
}

int io_cmd_close(Io *io, IoArgs *a)
{
    (void)a;
    io_close(io);
    return 0;
}

int io_cmd_reopen(Io *io, IoArgs *a)
{
    uint32_t flags = io->node->flags;
    unsigned perm = PERM_READ;
    json_t *options;
    Error err = {0};
    bool ok;

    if (a->has['r'] && a->has['w']) {
        log_error("Only one -r/-w option may be given");
        return -1;
    }
    if (a->n_rest)
        return io_usage(a->cmd);
    if (a->has['c'] && !io_cache_mode(a->value['c'], &flags))
        return -1;
    flags = a->has['r']   ? flags | NODE_READ_ONLY
            : a->has['w'] ? flags & ~(uint32_t)NODE_READ_ONLY
                          : flags;
    options = a->has['o'] ? opts_json_parse(a->value['o'], NULL, 0, NULL, &err) : json_object();
    if (!options) {
        log_error("%s", err.msg);
        return -1;
    }
    aio_wait(io);
    /* Permission to write is given up before, and asked for after, the file changes. */
    perm |= flags & NODE_READ_ONLY ? 0 : PERM_WRITE | PERM_RESIZE;
    ok = (!(flags & NODE_READ_ONLY) || block_port_set_perm(io->port, perm, PERM_ALL, &err)) &&
         node_reopen(io->node, options, flags, &err) &&
         block_port_set_perm(io->port, perm, PERM_ALL, &err);
    if (!ok)
        log_error("%s", err.msg);
    return ok ? 0 : -1;
}

/* --- sizes --- */

int io_cmd_length(Io *io, IoArgs *a)
{
    char text[64];

    (void)a;
    io_size_text(text, sizeof text, (double)block_size(io->port));
    puts(text);
    return 0;
}

int io_cmd_truncate(Io *io, IoArgs *a)
{
    static const char *const modes[] = {"off", "metadata", "falloc", "full"};
    unsigned mode = 0;
    Error err = {0};
    int64_t size;

    while (a->has['m'] && mode < COUNT_OF(modes) && strcmp(a->value['m'], modes[mode]) != 0)
        mode++;
    if (mode == COUNT_OF(modes)) {
        log_error("invalid parameter value: %s", a->value['m']);
        return -1;
    }
    if (a->n_rest != 1)
        return io_usage(a->cmd);
    if (!io_number(a->rest[0], &size))
        return -1;
    if (!node_truncate(io->node, (uint64_t)size, (Preallocation)mode, false, &err)) {
        log_error("%s", err.msg);
        return -1;
    }
    return 0;
}

int io_cmd_info(Io *io, IoArgs *a)
{
    const BlockNode *n = io->node;
    json_t *specific = n->drv->info ? n->drv->info(io->node) : NULL;
    uint64_t end = n->drv->save_vmstate ? block_size(io->port) : 0;
    char text[64];

    (void)a;
    printf("format name: %s\n", n->drv->name);
    io_size_text(text, sizeof text, n->cluster_size);
    printf("cluster size: %s\n", text);
    if (n->cluster_size && n->drv->save_vmstate)
        end = ALIGN_UP(end, n->cluster_size);
    io_size_text(text, sizeof text, (double)end);
    printf("vm state offset: %s\n", text);
    if (specific) {
        puts("Format specific information:");
        json_show_human(json_object_get(specific, "data"), JSON_INDENT_STEP);
        json_decref(specific);
    }
    return 0;
}

/* --- allocation --- */

/* Has the top image itself something at @at?  *size: as far as that is alike. */
static int is_allocated(Io *io, uint64_t at, uint64_t *size, bool *yes)
{
    Extent e;
    int rc = node_status(node_skip_filters(io->node), at, *size, &e);

    if (rc)
        return rc;
    *size = e.size;
    *yes = e.kind != EXTENT_UNALLOCATED && !(e.flags & EXTENT_EOF);
    return 0;
}

int io_cmd_alloc(Io *io, IoArgs *a)
{
    int64_t at, size = 512;
    uint64_t sum = 0, all, end;
    char text[64];

    if (!io_number(a->rest[0], &at) || (a->n_rest == 2 && !io_number(a->rest[1], &size)))
        return -1;
    end = MIN((uint64_t)at + (uint64_t)size, block_size(io->port));
    all = end > (uint64_t)at ? end - (uint64_t)at : 0;
    for (uint64_t i = (uint64_t)at, n; i < end; i += n) {
        bool yes;
        int rc;

        n = end - i;
        rc = is_allocated(io, i, &n, &yes);
        if (rc) {
            printf("is_allocated failed: %s\n", strerror(-rc));
            return -1;
        }
        sum += yes ? n : 0;
    }
    io_size_text(text, sizeof text, (double)at);
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, all, text);
    return 0;
}

static void map_line(uint64_t at, uint64_t size, bool yes)
{
    char from[64], length[64];

    io_size_text(length, sizeof length, (double)size);
    io_size_text(from, sizeof from, (double)at);
    printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", length, size,
           yes ? "   " : "not", from, at);
}

int io_cmd_map(Io *io, IoArgs *a)
{
    uint64_t size = block_size(io->port), start = 0;
    bool was = false;

    (void)a;
    for (uint64_t at = 0, n; at < size; at += n) {
        bool yes;
        int rc;

        n = size - at;
        rc = is_allocated(io, at, &n, &yes);
        if (rc) {
            log_error("Failed to get allocation status: %s", strerror(-rc));
            return -1;
        }
        if (at > start && yes != was) {
            map_line(start, at - start, was);
            start = at;
        }
        was = yes;
    }
    if (size > start)
        map_line(start, size - start, was);
    return 0;
}
