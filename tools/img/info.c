/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info - rhea-img info: what an image is, and those below it with --backing-chain
 *
 * The description is made as the JSON that QMP calls ImageInfo; the text is made from that.
 */
#include <stdio.h>

#include "block/info.h"
#include "tools/img/img.h"

/* ImageInfo of @n, without what its backing files are; NULL: printed. */
static json_t *node_info(BlockNode *n)
{
    ImageInfo i = {0};
    Error err = {0};
    json_t *j = NULL;

    if (image_info_fill(n, false, &i, &err)) {
        j = reflect_to_json(&image_info_type, &i, FIELD_ARG);
        if (!i.has_dirty) /* always said here */
            json_object_set_new(j, "dirty-flag", json_false());
    } else {
        log_error("%s: %s", n->filename, err.msg);
    }
    reflect_value_free(&image_info_type, &i);
    return j;
}

/* --- text --- */

static const char *text_of(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static void show_snapshots(const json_t *list)
{
    size_t n = json_array_size(list);
    AUTO_FREE SnapshotInfo *s = xnew_n(SnapshotInfo, n);

    for (size_t i = 0; i < n; i++) {
        json_t *j = json_array_get(list, i);
        json_t *icount = json_object_get(j, "icount");

        snprintf(s[i].id, sizeof s[i].id, "%s", text_of(j, "id"));
        s[i].name = (char *)text_of(j, "name");
        s[i].vm_state_size = (uint64_t)json_integer_value(json_object_get(j, "vm-state-size"));
        s[i].date_s = (uint32_t)json_integer_value(json_object_get(j, "date-sec"));
        s[i].vm_clock_ns =
            (uint64_t)json_integer_value(json_object_get(j, "vm-clock-sec")) * 1000000000 +
            (uint64_t)json_integer_value(json_object_get(j, "vm-clock-nsec"));
        s[i].icount = icount ? (uint64_t)json_integer_value(icount) : UINT64_MAX;
    }
    puts("Snapshot list:");
    snapshots_show(s, (unsigned)n);
}

static void show_backing(const json_t *j)
{
    const char *file = text_of(j, "backing-filename");
    const char *full = text_of(j, "full-backing-filename");
    const char *fmt = text_of(j, "backing-filename-format");

    if (!file)
        return;
    printf("backing file: %s", file);
    if (full && strcmp(full, file) != 0)
        printf(" (actual path: %s)", full);
    putchar('\n');
    if (fmt)
        printf("backing file format: %s\n", fmt);
}

static void show_info(const json_t *j)
{
    json_t *actual = json_object_get(j, "actual-size");
    json_t *cluster = json_object_get(j, "cluster-size");
    json_t *snapshots = json_object_get(j, "snapshots");
    json_t *specific = json_object_get(j, "format-specific");
    uint64_t size = (uint64_t)json_integer_value(json_object_get(j, "virtual-size"));
    char text[32], disk[32] = "unavailable";

    size_text(text, sizeof text, size);
    if (actual)
        size_text(disk, sizeof disk, (uint64_t)json_integer_value(actual));
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           text_of(j, "filename"), text_of(j, "format"), text, size, disk);
    if (json_object_get(j, "encrypted"))
        puts("encrypted: yes");
    if (cluster)
        printf("cluster_size: %" JSON_INTEGER_FORMAT "\n", json_integer_value(cluster));
    if (json_is_true(json_object_get(j, "dirty-flag")))
        puts("cleanly shut down: no");
    show_backing(j);
    if (snapshots)
        show_snapshots(snapshots);
    if (specific) {
        puts("Format specific information:");
        json_show_human(json_object_get(specific, "data"), JSON_INDENT_STEP);
    }
}

/* --- the command --- */

/* Metadata is read without locks; but what is in use may change meanwhile, so ask for them once. */
static bool is_free(Img *im, const BlockNode *n, const char *name)
{
    ImgFile f;
    Error err = {0};
    bool ok;

    /* Metadata must not change while it is read; raw images have none. */
    im->shared = n->drv->map ? PERM_READ | PERM_WRITE_UNCHANGED : PERM_ALL;
    while (n->file)
        n = n->file;
    if (strcmp(n->drv->name, "file") != 0)
        return true;
    ok = img_open_quiet(im, &f, n->filename, "file", false, NODE_READ_ONLY, &err);
    if (!ok)
        print_error(&err, "Could not open '%s': ", name);
    img_close(&f);
    return ok;
}

/* Append what is known of @name and, with @chain, of all below; false: printed. */
static bool collect(Img *im, json_t *out, bool chain)
{
    json_t *seen = json_object();
    AUTO_FREE char *name = xstrdup(im->operands[0]), *fmt = xstrdup(arg_get(im, 'f'));
    bool image_opts = arg_has(im, OPT_IMAGE_OPTS), ok = true;
    uint32_t flags = NODE_READ_ONLY | NODE_NO_BACKING | NODE_NO_IO;

    if (arg_has(im, 'U'))
        flags |= NODE_FORCE_SHARE;
    while (name && ok) {
        ImgFile f;
        json_t *j;

        if (json_object_get(seen, name)) {
            log_error("Backing file '%s' creates an infinite loop.", name);
            ok = false;
            break;
        }
        json_object_set_new(seen, name, json_true());
        ok = img_open(im, &f, name, fmt, image_opts, flags);
        if (!ok)
            break;
        ok = arg_has(im, 'U') || is_free(im, f.node, name);
        j = ok ? node_info(f.node) : NULL;
        img_close(&f);
        ok = j != NULL;
        if (!ok)
            break;
        json_array_append_new(out, j);
        xfree(name);
        xfree(fmt);
        name = chain ? xstrdup(text_of(j, "full-backing-filename")) : NULL;
        fmt = xstrdup(text_of(j, "backing-filename-format"));
        image_opts = false;
    }
    json_decref(seen);
    return ok;
}

int img_cmd_info(Img *im)
{
    bool chain = arg_has(im, OPT_BACKING_CHAIN), json, ok;
    json_t *all = json_array();

    ok = arg_json_output(im, &json);
    if (ok && im->n_operands != 1) {
        usage_error(im, "Expecting one image file name");
        ok = false;
    }
    ok = ok && collect(im, all, chain);
    if (ok && json) {
        json_show(chain ? all : json_array_get(all, 0));
    } else if (ok) {
        for (size_t i = 0; i < json_array_size(all); i++) {
            if (i)
                putchar('\n');
            show_info(json_array_get(all, i));
        }
    }
    json_decref(all);
    return ok ? 0 : 1;
}
