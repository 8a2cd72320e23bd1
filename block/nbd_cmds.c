/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_cmds - the NBD server in the emulator (QEMU 7.2, qapi/block-export.json)
 */
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/socket_addr_type.h"
#include "block/blockdev_type.h"
#include "block/cmds.h"
#include "block/nbd_server.h"
#include "core/fds.h"
#include "io/secret.h"

/* --- nbd-server-start, -stop --- */

typedef struct Start {
    json_t *addr;
    char *creds, *authz;
    bool has_max;
    uint32_t max;
} Start;
static const Field start_fields[] = {
    ARG_TYPE(Start, addr, "addr", &socket_address_legacy_type, "where to listen"),
    ARG_STR_OPT(Start, creds, "tls-creds", "id of the TLS credentials; none: no TLS"),
    ARG_STR_OPT(Start, authz, "tls-authz", "id of the list of clients that may come"),
    ARG_OPT(Start, max, "max-connections", "clients at a time, 0: any number"),
};
static STRUCT_TYPE(start_type, Start, start_fields);

static int take_fd(void *m, const char *name, Error *err)
{
    return fds_take(m, name, err);
}

COMMAND_FN(nbd_server_start)
{
    const Start *a = args;
    SocketAddr addr;
    NbdServerOptions o = {
        .max_connections = a->has_max ? a->max : 0, .tls_authz = a->authz, .main = m->loop};
    bool ok;
    int fd = -1;

    if (!m->graph)
        return error_set(err, "this machine has no block layer");
    if (m->nbd)
        return error_set(err, "NBD server already running");
    if (a->authz && !a->creds)
        return error_set(err, "TLS authorization needs TLS credentials");
    if (a->creds && !(o.creds = tls_creds_find(m->objects, a->creds, true, err)))
        return false;
    socket_addr_init(&addr);
    ok = socket_addr_from_json(&addr, a->addr, err) &&
         socket_addr_take_fd(&addr, take_fd, m, err) && (fd = socket_listen(&addr, 16, err)) >= 0;
    socket_addr_free(&addr);
    m->nbd = ok ? nbd_server_new(m->graph, &o, err) : NULL;
    tls_creds_unref(o.creds);
    if (m->nbd && nbd_server_listen(m->nbd, fd, err))
        return true;
    nbd_server_free(m->nbd);
    m->nbd = NULL;
    return false;
}
COMMAND(nbd_server_start, .name = "nbd-server-start", .args = &start_type, .run = nbd_server_start,
        .doc = "Listen for NBD clients.")

/* --- exports --- */

typedef struct Gone {
    char *id;
} Gone;
static const Field gone_fields[] = {ARG(Gone, id, "id", "of the export")};
static STRUCT_TYPE(gone_type, Gone, gone_fields);
EVENT(block_export_deleted, .name = "BLOCK_EXPORT_DELETED", .data = &gone_type,
      .doc = "An export ended, and its id is free.")

static const char *export_id(const NbdExport *e)
{
    return nbd_export_id(e) ? nbd_export_id(e) : nbd_export_name(e);
}

typedef struct Export {
    char *type, *id, *node, *name, *description, *device, *bitmap;
    bool has_writable, writable, has_allocation, allocation, has_writethrough, writethrough,
        has_bitmaps;
    List bitmaps;
    char *iothread;
} Export;

static bool add_export(Machine *m, const Export *e, BlockNode *n, Error *err)
{
    AUTO_FREE const char **names = xnew_n(const char *, e->bitmaps.n + 1);
    NbdExportOptions o = {.id = e->id,
                          .name = e->name     ? e->name
                                  : e->device ? e->device
                                              : e->node,
                          .description = e->description,
                          .writable = e->has_writable && e->writable,
                          .allocation_depth = e->has_allocation && e->allocation,
                          .writethrough = e->has_writethrough && e->writethrough,
                          .bitmaps = names};

    if (!m->nbd)
        return error_set(err, "NBD server not running");
    for (unsigned i = 0; i < e->bitmaps.n; i++)
        names[o.n_bitmaps++] = *LIST_AT(char *, &e->bitmaps, i);
    if (e->bitmap)
        names[o.n_bitmaps++] = e->bitmap;
    if (o.writable && node_is_read_only(n))
        return error_set(err, "Cannot export read-only node as writable");
    return nbd_export_new(m->nbd, n, &o, err);
}

static const Field add_fields[] = {
    ARG(Export, device, "device", "the drive or node"),
    ARG_STR_OPT(Export, name, "name", "of the export; the device's if not given"),
    ARG_STR_OPT(Export, description, "description", "for clients that list exports"),
    ARG_OPT(Export, writable, "writable", "clients may write"),
    ARG_STR_OPT(Export, bitmap, "bitmap", "dirty bitmap that clients can query"),
};
static const Type add_type = {.name = "NbdServerAddOptions",
                              .meta = META_STRUCT,
                              .size = sizeof(Export),
                              .fields = add_fields,
                              .n_fields = COUNT_OF(add_fields)};

COMMAND_FN(nbd_server_add)
{
    Export e = *(Export *)args;
    BlockNode *n = block_cmd_node(m, e.device, err);

    e.id = e.name ? e.name : e.device;
    return n && add_export(m, &e, n, err);
}
COMMAND(nbd_server_add, .name = "nbd-server-add", .args = &add_type, .run = nbd_server_add,
        .doc = "Export a node by NBD.")

static NbdExport *find_export(Machine *m, const char *id)
{
    for (NbdExport *e = NULL; m->nbd && (e = nbd_export_next(m->nbd, e));)
        if (nbd_export_id(e) && !strcmp(nbd_export_id(e), id))
            return e;
    return NULL;
}

static const char *const remove_names[] = {"safe", "hard", NULL};
static ENUM_TYPE(remove_mode_type, BlockExportRemoveMode, remove_names);
typedef struct Remove {
    char *id;
    bool has_mode;
    uint32_t mode;
} Remove;
static const Field remove_fields[] = {
    ARG(Remove, id, "name", "of the export"),
    ARG_TYPE_OPT(Remove, mode, "mode", &remove_mode_type,
                 "refuse while there are clients, or hang up"),
};
static STRUCT_TYPE(remove_type, Remove, remove_fields);
static const Field del_fields[] = {
    ARG(Remove, id, "id", "of the export"),
    ARG_TYPE_OPT(Remove, mode, "mode", &remove_mode_type,
                 "refuse while there are clients, or hang up"),
};
static const Type del_type = {.name = "BlockExportDel",
                              .meta = META_STRUCT,
                              .size = sizeof(Remove),
                              .fields = del_fields,
                              .n_fields = COUNT_OF(del_fields)};

static bool end_export(Machine *m, NbdExport *e, bool hard, Error *err)
{
    AUTO_FREE char *id = xstrdup(export_id(e));

    if (!nbd_export_free(e, hard, err))
        return false;
    event_post(m, &event_block_export_deleted, &(Gone){id});
    return true;
}

static bool remove_export(Machine *m, const Remove *r, NbdExport *e, Error *err)
{
    return e ? end_export(m, e, r->has_mode && r->mode, err)
             : error_set(err, "Export '%s' is not found", r->id);
}

COMMAND_FN(nbd_server_remove)
{
    const Remove *r = args;

    return remove_export(m, r, m->nbd ? nbd_export_find(m->nbd, r->id) : NULL, err);
}
COMMAND(nbd_server_remove, .name = "nbd-server-remove", .args = &remove_type,
        .run = nbd_server_remove, .doc = "End an export, by name.")

COMMAND_FN(block_export_del)
{
    const Remove *r = args;

    return remove_export(m, r, find_export(m, r->id), err);
}
COMMAND(block_export_del, .name = "block-export-del", .args = &del_type, .run = block_export_del,
        .doc = "End an export, by id.")

COMMAND_FN(nbd_server_stop)
{
    NbdExport *e;

    if (!m->nbd)
        return error_set(err, "NBD server not running");
    while ((e = nbd_export_next(m->nbd, NULL)))
        end_export(m, e, true, NULL);
    nbd_server_free(m->nbd);
    m->nbd = NULL;
    return true;
}
COMMAND(nbd_server_stop, .name = "nbd-server-stop", .run = nbd_server_stop,
        .doc = "Hang up on all NBD clients and end all exports.")

/* --- block-export-add --- */

static const Field export_base_fields[] = {
    ARG(Export, type, "type", "nbd"),
    ARG(Export, id, "id", "of the export"),
    ARG(Export, node, "node-name", "the node"),
    ARG_OPT(Export, writable, "writable", "clients may write"),
    ARG_OPT(Export, writethrough, "writethrough", "every write is on disk when it is done"),
    ARG_STR_OPT(Export, iothread, "iothread", "not needed: each client has a thread"),
};
static const Type export_base = {.name = "BlockExportBase",
                                 .meta = META_STRUCT,
                                 .size = sizeof(Export),
                                 .fields = export_base_fields,
                                 .n_fields = COUNT_OF(export_base_fields)};
static const Field export_nbd_fields[] = {
    ARG_STR_OPT(Export, name, "name", "for clients; the node's if not given"),
    ARG_STR_OPT(Export, description, "description", "for clients that list exports"),
    ARG_TYPE_OPT(Export, bitmaps, "bitmaps", &type_str_list,
                 "dirty bitmaps that clients can query"),
    ARG_OPT(Export, allocation, "allocation-depth", "clients can query how deep data is"),
};
static const Type export_nbd = {.name = "BlockExportOptionsNbd",
                                .meta = META_STRUCT,
                                .size = sizeof(Export),
                                .fields = export_nbd_fields,
                                .n_fields = COUNT_OF(export_nbd_fields)};

static bool export_variant(unsigned i, Variant *out)
{
    *out = (Variant){"nbd", &export_nbd};
    return !i;
}
static UNION_TYPE(export_type, BlockExportOptions, &export_base, "type", export_variant);

static bool fill_export(Export *e, json_t *o, Error *err)
{
    json_t *nbd = json_object();
    bool ok;

    for (unsigned i = 0; i < COUNT_OF(export_nbd_fields); i++) {
        json_t *v = json_object_get(o, export_nbd_fields[i].name);

        if (v) {
            json_object_set(nbd, export_nbd_fields[i].name, v);
            json_object_del(o, export_nbd_fields[i].name);
        }
    }
    ok = reflect_from_json(&export_base, e, o, FIELD_ARG, err) &&
         reflect_from_json(&export_nbd, e, nbd, FIELD_ARG, err);
    json_decref(nbd);
    return ok;
}

COMMAND_FN(block_export_add)
{
    json_t *o = json_deep_copy(*(json_t **)args);
    Export e = {0};
    BlockNode *n;
    bool ok = fill_export(&e, o, err);

    if (ok && find_export(m, e.id))
        ok = error_set(err, "Block export id '%s' is already in use", e.id);
    n = ok ? block_cmd_node(m, e.node, err) : NULL;
    ok = n && add_export(m, &e, n, err);
    reflect_value_free(&export_base, &e);
    e = (Export){.name = e.name, .description = e.description, .bitmaps = e.bitmaps};
    reflect_value_free(&export_nbd, &e);
    json_decref(o);
    return ok;
}
COMMAND(block_export_add, .name = "block-export-add", .args = &export_type, .run = block_export_add,
        .doc = "Export a node.")

typedef struct ExportInfo {
    char *id, *type, *node;
    bool shutting_down;
} ExportInfo;
static const Field info_fields[] = {
    ARG(ExportInfo, id, "id", "of the export"),
    ARG(ExportInfo, type, "type", "nbd"),
    ARG(ExportInfo, node, "node-name", "the node"),
    ARG(ExportInfo, shutting_down, "shutting-down", "it is about to end"),
};
static STRUCT_TYPE(info_type, ExportInfo, info_fields);
static LIST_TYPE(info_list, &info_type);

COMMAND_FN(query_block_exports)
{
    for (NbdExport *e = NULL; m->nbd && (e = nbd_export_next(m->nbd, e));)
        *(ExportInfo *)list_add(ret, &info_type) =
            (ExportInfo){.id = xstrdup(export_id(e)),
                         .type = xstrdup("nbd"),
                         .node = xstrdup(nbd_export_node(e)->name)};
    return true;
}
COMMAND(query_block_exports, .name = "query-block-exports", .ret = &info_list,
        .run = query_block_exports, .doc = "All exports.")
