/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_block - drives, images, block jobs and NBD for humans (layout: QEMU 7.2) */
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "monitor/hmp_priv.h"

/* "1.5 MiB" */
static void size_human(char *out, size_t size, uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    unsigned i = 0;

    for (; v >= 1000 && i + 1 < COUNT_OF(units); i++) /* QEMU's: three digits at most */
        v /= 1024;
    snprintf(out, size, "%0.3g %s", v, units[i]);
}

/* --- info block --- */

static void show_throttle(HmpCall *h, const json_t *inserted)
{
    static const char *const names[] = {
        "bps",     "bps_rd",  "bps_wr",   "bps_max",     "bps_rd_max",  "bps_wr_max", "iops",
        "iops_rd", "iops_wr", "iops_max", "iops_rd_max", "iops_wr_max", "iops_size"};
    bool limited = false;

    for (unsigned i = 0; i < COUNT_OF(names); i++)
        limited |= hmp_number(inserted, names[i]) != 0;
    if (!limited)
        return;
    hmp_print(h, "    I/O throttling:  ");
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        hmp_print(h, " %s=%lld", names[i], hmp_number(inserted, names[i]));
    hmp_print(h, " group=%s\n", hmp_text(inserted, "group"));
}

static void show_image(HmpCall *h, const json_t *image)
{
    char size[32], disk[32];

    size_human(size, sizeof size, (uint64_t)hmp_number(image, "virtual-size"));
    size_human(disk, sizeof disk, (uint64_t)hmp_number(image, "actual-size"));
    hmp_print(h, "image: %s\nfile format: %s\nvirtual size: %s (%lld bytes)\n",
              hmp_text(image, "filename"), hmp_text(image, "format"), size,
              hmp_number(image, "virtual-size"));
    if (json_object_get(image, "actual-size"))
        hmp_print(h, "disk size: %s\n", disk);
    if (json_object_get(image, "cluster-size"))
        hmp_print(h, "cluster_size: %lld\n", hmp_number(image, "cluster-size"));
    if (*hmp_text(image, "backing-filename"))
        hmp_print(h, "backing file: %s\n", hmp_text(image, "backing-filename"));
}

static void show_inserted(HmpCall *h, const json_t *i)
{
    const json_t *cache = json_object_get(i, "cache");

    hmp_print(h, "    Cache mode:       %s%s%s\n",
              hmp_true(cache, "writeback") ? "writeback" : "writethrough",
              hmp_true(cache, "direct") ? ", direct" : "",
              hmp_true(cache, "no-flush") ? ", ignore flushes" : "");
    if (*hmp_text(i, "backing_file"))
        hmp_print(h, "    Backing file:     %s (chain depth: %lld)\n", hmp_text(i, "backing_file"),
                  hmp_number(i, "backing_file_depth"));
    if (strcmp(hmp_text(i, "detect_zeroes"), "off"))
        hmp_print(h, "    Detect zeroes:    %s\n", hmp_text(i, "detect_zeroes"));
    show_throttle(h, i);
    if (hmp_has(h, "v")) {
        hmp_print(h, "\nImages:\n");
        for (const json_t *image = json_object_get(i, "image"); image;
             image = json_object_get(image, "backing-image"))
            show_image(h, image);
    }
}

/* @drive NULL: a node by itself.  @i NULL: nothing is inserted. */
static void show_block(HmpCall *h, const json_t *drive, const json_t *i)
{
    const char *device = hmp_text(drive, "device"), *node = hmp_text(i, "node-name");

    hmp_print(h, "%s", *device ? device : drive ? hmp_text(drive, "qdev") : node);
    if (drive && *node)
        hmp_print(h, " (%s)", node);
    if (i)
        hmp_print(h, ": %s (%s%s%s)\n", hmp_text(i, "file"), hmp_text(i, "drv"),
                  hmp_true(i, "ro") ? ", read-only" : "",
                  hmp_true(i, "encrypted") ? ", encrypted" : "");
    else
        hmp_print(h, ": [not inserted]\n");
    if (*hmp_text(drive, "qdev"))
        hmp_print(h, "    Attached to:      %s\n", hmp_text(drive, "qdev"));
    if (hmp_true(drive, "removable"))
        hmp_print(h, "    Removable device: %slocked, tray %s\n",
                  hmp_true(drive, "locked") ? "" : "not ",
                  hmp_true(drive, "tray_open") ? "open" : "closed");
    if (i)
        show_inserted(h, i);
}

void hmp_info_block(HmpCall *h)
{
    bool nodes = hmp_has(h, "n");
    const char *only = hmp_str(h, "device"), *between = "";
    json_t *list = hmp_ask(h, nodes ? "query-named-block-nodes" : "query-block", json_object()), *e;
    size_t k;

    json_array_foreach (list, k, e) {
        if (*only && strcmp(only, hmp_text(e, nodes ? "node-name" : "device")))
            continue;
        hmp_print(h, "%s", between);
        show_block(h, nodes ? NULL : e, nodes ? e : json_object_get(e, "inserted"));
        between = "\n";
    }
    json_decref(list);
}

/* --- info block-jobs, blockstats, snapshots --- */

void hmp_show_jobs(HmpCall *h, const json_t *r)
{
    json_t *j;
    size_t i;

    if (!json_array_size(r))
        hmp_print(h, "No active jobs\n");
    json_array_foreach (r, i, j) {
        if (!strcmp(hmp_text(j, "type"), "stream"))
            hmp_print(h, "Streaming device %s", hmp_text(j, "device"));
        else
            hmp_print(h, "Type %s, device %s", hmp_text(j, "type"), hmp_text(j, "device"));
        hmp_print(h, ": Completed %lld of %lld bytes, speed limit %lld bytes/s\n",
                  hmp_number(j, "offset"), hmp_number(j, "len"), hmp_number(j, "speed"));
    }
}

void hmp_show_blockstats(HmpCall *h, const json_t *r)
{
    static const char *const names[] = {
        "rd_bytes",         "wr_bytes",         "rd_operations",    "wr_operations",
        "flush_operations", "wr_total_time_ns", "rd_total_time_ns", "flush_total_time_ns",
        "rd_merged",        "wr_merged",        "idle_time_ns"};
    json_t *d;
    size_t i;

    json_array_foreach (r, i, d) {
        if (!*hmp_text(d, "device"))
            continue;
        hmp_print(h, "%s:", hmp_text(d, "device"));
        for (unsigned k = 0; k < COUNT_OF(names); k++)
            hmp_print(h, " %s=%lld", names[k], hmp_number(json_object_get(d, "stats"), names[k]));
        hmp_print(h, "\n");
    }
}

static void show_snapshot(HmpCall *h, const json_t *s)
{
    long long clock = hmp_number(s, "vm-clock-sec");
    time_t date = (time_t)hmp_number(s, "date-sec");
    char size[32], day[32];
    struct tm tm;

    size_human(size, sizeof size, (uint64_t)hmp_number(s, "vm-state-size"));
    strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", localtime_r(&date, &tm));
    hmp_print(h, "%-9s %-16s %8s %19s %02lld:%02lld:%02lld.%03lld\n", hmp_text(s, "id"),
              hmp_text(s, "name"), size, day, clock / 3600, clock / 60 % 60, clock % 60,
              hmp_number(s, "vm-clock-nsec") / 1000000);
}

/* None is of a whole machine: savevm is not built. */
void hmp_show_snapshots(HmpCall *h, const json_t *r)
{
    bool any = false;
    json_t *d, *s;
    size_t i, k;

    json_array_foreach (r, i, d) {
        const json_t *inserted = json_object_get(d, "inserted"),
                     *list = json_object_get(json_object_get(inserted, "image"), "snapshots");

        if (!json_array_size(list))
            continue;
        if (!any)
            hmp_print(h, "List of snapshots present on all disks:\nNone\n");
        any = true;
        hmp_print(h, "\nList of partial (non-loadable) snapshots on '%s':\n",
                  hmp_text(d, "device"));
        hmp_print(h, "%-9s %-16s %8s %19s %12s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK");
        json_array_foreach (list, k, s)
            show_snapshot(h, s);
    }
    if (!any)
        hmp_print(h, "There is no snapshot available.\n");
}

/* --- commands whose flags are not members of their own --- */

/* Copy what was given under these names, separated by blanks. */
static json_t *given(HmpCall *h, const char *names)
{
    json_t *a = json_object();

    while (*names) {
        size_t n = strcspn(names, " ");
        AUTO_FREE char *name = xasprintf("%.*s", (int)n, names);

        if (hmp_has(h, name))
            json_object_set(a, name, json_object_get(h->args, name));
        names += n + (names[n] == ' ');
    }
    return a;
}

static void set_mode(HmpCall *h, json_t *a)
{
    json_object_set_new(a, "mode", json_string(hmp_has(h, "n") ? "existing" : "absolute-paths"));
}

void hmp_snapshot_blkdev(HmpCall *h)
{
    json_t *a = given(h, "device snapshot-file format");

    set_mode(h, a);
    json_decref(hmp_ask(h, "blockdev-snapshot-sync", a));
}

static void copy_drive(HmpCall *h, const char *command, json_t *a)
{
    set_mode(h, a);
    json_object_set_new(a, "sync", json_string(hmp_has(h, "f") ? "full" : "top"));
    json_decref(hmp_ask(h, command, a));
}

void hmp_drive_backup(HmpCall *h)
{
    copy_drive(h, "drive-backup", given(h, "device target format compress"));
}

void hmp_drive_mirror(HmpCall *h)
{
    copy_drive(h, "drive-mirror", given(h, "device target format"));
}

void hmp_nbd_remove(HmpCall *h)
{
    json_t *a = given(h, "name");

    json_object_set_new(a, "mode", json_string(hmp_has(h, "f") ? "hard" : "safe"));
    json_decref(hmp_ask(h, "nbd-server-remove", a));
}

/* Every drive that has a medium. */
static bool export_all(HmpCall *h)
{
    json_t *list = hmp_ask(h, "query-block", json_object()), *d;
    bool ok = true;
    size_t i;

    json_array_foreach (list, i, d) {
        const json_t *inserted = json_object_get(d, "inserted");
        json_t *done;

        if (!inserted || !*hmp_text(d, "device") || !ok)
            continue;
        done = hmp_ask(h, "nbd-server-add",
                       json_pack("{s:s, s:b}", "device", hmp_text(d, "device"), "writable",
                                 hmp_has(h, "w") && !hmp_true(inserted, "ro")));
        ok = done;
        json_decref(done);
    }
    json_decref(list);
    return ok;
}

void hmp_nbd_start(HmpCall *h)
{
    const char *text = hmp_str(h, "uri"), *colon = strrchr(text, ':');
    json_t *started;

    if (hmp_has(h, "w") && !hmp_has(h, "a")) {
        hmp_print(h, "Error: -w only valid together with -a\n");
        return;
    }
    if (!colon || !colon[1]) {
        hmp_print(h, "Error: error parsing address '%s'\n", text);
        return;
    }
    started = hmp_ask(h, "nbd-server-start",
                      json_pack("{s:{s:s, s:{s:o, s:s}}}", "addr", "type", "inet", "data", "host",
                                json_stringn(text, (size_t)(colon - text)), "port", colon + 1));
    if (started && hmp_has(h, "a") && !export_all(h))
        json_decref(hmp_ask(h, "nbd-server-stop", json_object()));
    json_decref(started);
}
