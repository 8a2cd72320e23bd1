/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt_block - -blockdev, -drive and the short names of drives (QEMU 7.2, qemu-options.hx)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "block/block.h"
#include "block/throttle.h"
#include "main/setup.h"

/* --- -blockdev --- */

static bool make_blockdev(Setup *s, const char *arg, Error *err)
{
    json_t *o = opts_json_parse(arg, "driver", 0, NULL, err);
    BlockNode *n;

    if (!o)
        return false;
    if (!json_object_get(o, "node-name")) {
        json_decref(o);
        return error_set(err, "'node-name' must be specified for the root node");
    }
    n = node_open(s->graph, o, 0, err);
    if (n)
        n->monitor_owned = true;
    return n;
}

static void list_drivers(void)
{
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));)
        printf("%-20s %s\n", d->name, d->doc);
}

OPT(opt_blockdev)
{
    if (is_help(arg)) {
        list_drivers();
        c->done = true;
        return true;
    }
    config_later(c, STAGE_BLOCK, make_blockdev, "blockdev", arg);
    return true;
}

/* --- -drive --- */

typedef struct Drive {
    char *file, *id, *format, *interface, *media, *serial, *cache, *werror, *rerror, *aio;
    uint64_t index, bus, unit;
    bool has_index, read_only, snapshot, copy_on_read, writethrough;
    ThrottleLimits limits;
    char *group;
} Drive;

static void drive_free(Drive *d)
{
    char *all[] = {d->file,  d->id,     d->format, d->interface, d->media, d->serial,
                   d->cache, d->werror, d->rerror, d->aio,       d->group};

    for (unsigned i = 0; i < COUNT_OF(all); i++)
        xfree(all[i]);
}

typedef struct CacheMode {
    const char *name;
    bool direct, no_flush, writethrough;
} CacheMode;
static const CacheMode cache_modes[] = {
    {"none", true, false, false},       {"off", true, false, false},
    {"writeback", false, false, false}, {"writethrough", false, false, true},
    {"directsync", true, false, true},  {"unsafe", false, true, false},
};

static bool apply_cache(json_t *o, Drive *d, Error *err)
{
    for (unsigned i = 0; d->cache && i < COUNT_OF(cache_modes); i++) {
        const CacheMode *m = &cache_modes[i];
        json_t *cache;

        if (strcmp(m->name, d->cache))
            continue;
        cache = json_object_get(o, "cache");
        if (!json_is_object(cache)) {
            cache = json_object();
            json_object_set_new(o, "cache", cache);
        }
        if (!json_object_get(cache, "direct"))
            json_object_set_new(cache, "direct", json_boolean(m->direct));
        if (!json_object_get(cache, "no-flush"))
            json_object_set_new(cache, "no-flush", json_boolean(m->no_flush));
        d->writethrough = m->writethrough;
        return true;
    }
    return !d->cache || error_set(err,
                                  "invalid cache option '%s' (none, writeback, writethrough, "
                                  "directsync, unsafe)",
                                  d->cache);
}

static bool one_of(const char *key, const char *value, const char *list, Error *err)
{
    const char *at = value ? strstr(list, value) : NULL;
    size_t n = value ? strlen(value) : 0;

    if (!value || (at && (at == list || at[-1] == ' ') && (!at[n] || at[n] == ' ')))
        return true;
    return error_set(err, "'%s' is not a valid %s (%s)", value, key, list);
}

/* "bps", "iops_rd", ... are "throttling.bps-total", "throttling.iops-read", ... */
static bool rename_limits(json_t *o, json_t *t, Error *err)
{
    static const char *const names[][2] = {
        {"bps", "bps-total"},       {"bps_max", "bps-total-max"},
        {"bps_rd", "bps-read"},     {"bps_rd_max", "bps-read-max"},
        {"bps_wr", "bps-write"},    {"bps_wr_max", "bps-write-max"},
        {"iops", "iops-total"},     {"iops_max", "iops-total-max"},
        {"iops_rd", "iops-read"},   {"iops_rd_max", "iops-read-max"},
        {"iops_wr", "iops-write"},  {"iops_wr_max", "iops-write-max"},
        {"iops_size", "iops-size"}, {"group", "group"},
    };

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        json_t *v = json_take(o, names[i][0]);

        if (v && json_object_get(t, names[i][1])) {
            json_decref(v);
            return error_set(err,
                             "'throttling.%s' and its alias '%s' can't be used at the same time",
                             names[i][1], names[i][0]);
        }
        if (v)
            json_object_set_new(t, names[i][1], v);
    }
    return true;
}

static bool set_limits(ThrottleLimits *l, json_t *t, Error *err)
{
    const char *key;
    json_t *v;

    throttle_limits_none(l);
    json_object_foreach (t, key, v)
        if (!throttle_limit_set(l, "throttling.", key, v, err))
            return err->msg[0] ? false : error_set(err, "Invalid parameter 'throttling.%s'", key);
    return throttle_check(l, err);
}

static bool take_throttle(json_t *o, Drive *d, Error *err)
{
    json_t *t = json_take(o, "throttling");
    bool ok;

    t = t ? t : json_object();
    ok = rename_limits(o, t, err);
    d->group = json_take_str(t, "group");
    ok = ok && set_limits(&d->limits, t, err);
    json_decref(t);
    return ok;
}

static bool drive_take(json_t *o, Drive *d, Error *err)
{
    uint64_t none = UINT64_MAX;

    d->file = json_take_str(o, "file");
    d->id = json_take_str(o, "id");
    d->format = json_take_str(o, "format");
    d->interface = json_take_str(o, "if");
    d->media = json_take_str(o, "media");
    d->serial = json_take_str(o, "serial");
    d->cache = json_is_object(json_object_get(o, "cache")) ? NULL : json_take_str(o, "cache");
    d->werror = json_take_str(o, "werror");
    d->rerror = json_take_str(o, "rerror");
    d->aio = json_take_str(o, "aio");
    d->index = none;
    return json_take_u64(o, "index", &d->index, err) && json_take_u64(o, "bus", &d->bus, err) &&
           json_take_u64(o, "unit", &d->unit, err) &&
           json_take_bool(o, "readonly", &d->read_only, err) &&
           json_take_bool(o, "read-only", &d->read_only, err) &&
           json_take_bool(o, "snapshot", &d->snapshot, err) &&
           json_take_bool(o, "copy-on-read", &d->copy_on_read, err) && take_throttle(o, d, err) &&
           one_of("media", d->media, "disk cdrom", err) &&
           one_of("werror action", d->werror, "ignore report stop enospc", err) &&
           one_of("rerror action", d->rerror, "ignore report stop", err) &&
           one_of("aio mode", d->aio, "threads native io_uring", err) && apply_cache(o, d, err);
}

static BlockNode *drive_open(Setup *s, Drive *d, json_t *o, Error *err)
{
    bool temporary = d->snapshot || s->cfg->snapshot;
    uint32_t flags = d->read_only || temporary ? NODE_READ_ONLY : NODE_AUTO_READ_ONLY;
    BlockNode *n, *top;

    if (d->aio)
        json_object_set_new(o, "file", json_pack("{ss}", "aio", d->aio));
    if (json_object_get(o, "driver") && !d->format)
        d->format = json_take_str(o, "driver");
    n = d->file ? node_open_image(s->graph, d->file, d->format, o, flags, err)
                : node_open(s->graph, o, flags, err);
    if (n && temporary) {
        top = node_open_temporary(n, err);
        node_unref(n);
        n = top;
    }
    return d->copy_on_read ? node_open_filter(n, "copy-on-read", err) : n;
}

static bool board_has_bus(const char *interface)
{
    return !strcmp(interface, "none");
}

static bool drive_make(Setup *s, Drive *d, json_t *o, Error *err)
{
    const char *interface = d->interface ? d->interface : "ide";
    AUTO_FREE char *name = NULL;
    BlockPort *p;
    BlockNode *n = NULL;

    if (!one_of("bus type", interface, "none ide scsi floppy pflash mtd sd virtio xen", err))
        return false;
    if (!board_has_bus(interface))
        return error_set(err,
                         "if=%s: machine '%s' has no %s controller yet (if=none and -blockdev "
                         "open images without one)",
                         interface, s->m->board->name, interface);
    name = d->id ? xstrdup(d->id) : xasprintf("%s%u", interface, s->n_drives);
    s->n_drives++;
    if (port_find(s->graph, name))
        return error_set(err, "Duplicate ID '%s' for drive", name);
    if (d->file || json_object_get(o, "driver") || json_object_get(o, "file")) {
        n = drive_open(s, d, json_incref(o), err);
        if (!n)
            return false;
    } else if (json_object_size(o) > 0) {
        return json_all_taken(o, err);
    }
    p = block_port_new(s->graph, name, n, 0, PERM_ALL, err);
    node_unref(n);
    if (p) {
        block_port_set_writethrough(p, d->writethrough);
        s->drives++;
    }
    return p &&
           (!throttle_is_limited(&d->limits) || block_port_throttle(p, d->group, &d->limits, err));
}

static bool make_drive(Setup *s, const char *arg, Error *err)
{
    json_t *o = opts_json_parse(arg, NULL, KEYVAL_FLAGS, NULL, err);
    Drive d = {0};
    bool ok = o && drive_take(o, &d, err) && drive_make(s, &d, o, err);

    drive_free(&d);
    json_decref(o);
    return ok;
}

OPT(opt_drive)
{
    config_later(c, STAGE_BLOCK, make_drive, "drive", arg);
    return true;
}

/* -hda FILE is -drive file=FILE,index=0: commas in FILE are doubled. */
static bool add_disk(Config *c, const char *file, const char *rest)
{
    StrBuf b = {0};

    strbuf_addf(&b, "file=");
    for (const char *p = file; *p; p++)
        strbuf_addf(&b, *p == ',' ? ",," : "%c", *p);
    strbuf_addf(&b, "%s", rest);
    config_later(c, STAGE_BLOCK, make_drive, "drive", strbuf_str(&b));
    strbuf_free(&b);
    return true;
}

#define DISK(fn, rest)                                                                             \
    OPT(fn)                                                                                        \
    {                                                                                              \
        return add_disk(c, arg, rest);                                                             \
    }
DISK(opt_hda, ",index=0,media=disk")
DISK(opt_hdb, ",index=1,media=disk")
DISK(opt_hdc, ",index=2,media=disk")
DISK(opt_hdd, ",index=3,media=disk")
DISK(opt_cdrom, ",index=2,media=cdrom")
DISK(opt_fda, ",if=floppy,index=0")
DISK(opt_fdb, ",if=floppy,index=1")
DISK(opt_sd, ",if=sd")
DISK(opt_mtdblock, ",if=mtd")
DISK(opt_pflash, ",if=pflash,format=raw")

OPT_FLAG(opt_snapshot, snapshot)

static const Option block_rows[] = {
    {.name = "fda", .alias = NULL, .arg = "file", .doc = "floppy disk 0", .apply = opt_fda},
    {.name = "fdb", .arg = "file", .doc = "floppy disk 1", .apply = opt_fdb},
    {.name = "hda",
     .arg = "file",
     .doc = "hard disk 0; a name without option is this one",
     .apply = opt_hda},
    {.name = "hdb", .arg = "file", .doc = "hard disk 1", .apply = opt_hdb},
    {.name = "hdc", .arg = "file", .doc = "hard disk 2", .apply = opt_hdc},
    {.name = "hdd", .arg = "file", .doc = "hard disk 3", .apply = opt_hdd},
    {.name = "cdrom", .arg = "file", .doc = "CD-ROM", .apply = opt_cdrom},
    {.name = "blockdev",
     .arg = "[driver=]driver,node-name=N,...",
     .doc = "open an image or make a filter; JSON is fine\nhelp: list of drivers",
     .apply = opt_blockdev},
    {.name = "drive",
     .arg = "[file=F][,if=type][,format=F][,id=N]...",
     .doc = "an image and the drive it is in\n"
            "if=none: for a -device with drive=id\n"
            "cache=none|writeback|writethrough|directsync|unsafe, readonly=on, snapshot=on,\n"
            "aio=threads|native|io_uring, discard=unmap, copy-on-read=on,\n"
            "throttling.bps-total=... and the like, throttling.group=G: limits, shared in G",
     .apply = opt_drive},
    {.name = "mtdblock", .arg = "file", .doc = "on-board flash memory", .apply = opt_mtdblock},
    {.name = "sd", .arg = "file", .doc = "SD card", .apply = opt_sd},
    {.name = "pflash", .arg = "file", .doc = "parallel flash", .apply = opt_pflash},
    {.name = "snapshot",
     .doc = "write to temporary files instead of images",
     .apply = opt_snapshot},
    {0},
};
OPTIONS_REGISTER(block, 30, "Block device options", block_rows)
