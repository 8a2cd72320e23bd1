/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check - is the metadata of an image consistent?  And repair
 *
 * Status: 0 good, 1 could not be checked, 2 corrupt, 3 leaks only, 63 the format has no check.
 */
#include <stdio.h>

#include "tools/img/img.h"

enum { STATUS_ERROR = 1, STATUS_CORRUPT = 2, STATUS_LEAKS = 3, STATUS_UNSUPPORTED = 63 };

static void say_finding(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static void set_count(json_t *j, const char *key, uint64_t value, bool always)
{
    if (value || always)
        json_object_set_new(j, key, json_integer((json_int_t)value));
}

static void show_json(const BlockNode *n, const char *filename, const CheckReport *r)
{
    json_t *j = json_pack("{s:s, s:s}", "filename", filename, "format", n->drv->name);

    set_count(j, "check-errors", r->check_errors, true);
    set_count(j, "image-end-offset", r->image_end_offset, false);
    set_count(j, "corruptions", r->corruptions, false);
    set_count(j, "leaks", r->leaks, false);
    set_count(j, "corruptions-fixed", r->corruptions_fixed, false);
    set_count(j, "leaks-fixed", r->leaks_fixed, false);
    set_count(j, "total-clusters", r->total_clusters, false);
    set_count(j, "allocated-clusters", r->allocated_clusters, false);
    set_count(j, "fragmented-clusters", r->fragmented_clusters, false);
    set_count(j, "compressed-clusters", r->compressed_clusters, false);
    json_show(j);
    json_decref(j);
}

static double per_cent(uint64_t part, uint64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

static void show_human(const CheckReport *r)
{
    if (!r->corruptions && !r->leaks && !r->check_errors)
        puts("No errors were found on the image.");
    if (r->corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\nData may be corrupted, or further "
               "writes to the image may corrupt it.\n",
               r->corruptions);
    if (r->leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\nThis means waste of disk "
               "space, but no harm to data.\n",
               r->leaks);
    if (r->check_errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n", r->check_errors);
    if (r->total_clusters && r->allocated_clusters)
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               per_cent(r->allocated_clusters, r->total_clusters),
               per_cent(r->fragmented_clusters, r->allocated_clusters),
               per_cent(r->compressed_clusters, r->allocated_clusters));
    if (r->image_end_offset)
        printf("Image end offset: %" PRIu64 "\n", r->image_end_offset);
}

static bool run_check(BlockNode *n, unsigned fix, bool quiet, CheckReport *r)
{
    Error err = {0};

    *r = (CheckReport){.quiet = quiet, .say = quiet ? NULL : say_finding};
    if (n->drv->check(n, fix, r, &err))
        return true;
    log_error("Check failed: %s", err.msg);
    return false;
}

static void say_repaired(const Img *im, bool json, const CheckReport *r)
{
    if (!json)
        say(im,
            "The following inconsistencies were found and repaired:\n\n"
            "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
            "Double checking the fixed image now...\n",
            r->leaks_fixed, r->corruptions_fixed);
}

static int check(Img *im, BlockNode *n, unsigned fix, bool json)
{
    bool quiet = im->quiet;
    CheckReport r, again;

    if (!n->drv->check) {
        log_error("This image format does not support checks");
        return STATUS_UNSUPPORTED;
    }
    if (!run_check(n, fix, quiet, &r))
        return r.unsupported ? STATUS_UNSUPPORTED : STATUS_ERROR;
    if (r.corruptions_fixed || r.leaks_fixed) {
        say_repaired(im, json, &r);
        if (!run_check(n, 0, quiet, &again))
            return STATUS_ERROR;
        again.corruptions_fixed = r.corruptions_fixed;
        again.leaks_fixed = r.leaks_fixed;
        r = again;
    }
    if (json)
        show_json(n, im->operands[0], &r);
    else if (!quiet)
        show_human(&r);
    if (r.check_errors)
        return STATUS_ERROR;
    return r.corruptions ? STATUS_CORRUPT : r.leaks ? STATUS_LEAKS : 0;
}

int img_cmd_check(Img *im)
{
    const char *repair = arg_get(im, 'r');
    uint32_t flags = NODE_CHECK;
    unsigned fix = 0;
    ImgFile f;
    bool json;
    int rc;

    if (!arg_json_output(im, &json) || !arg_cache(im, 'T', "writeback", "source cache", &flags))
        return STATUS_ERROR;
    if (repair && !strcmp(repair, "leaks"))
        fix = CHECK_FIX_LEAKS;
    else if (repair && !strcmp(repair, "all"))
        fix = CHECK_FIX_LEAKS | CHECK_FIX_ERRORS;
    else if (repair)
        return usage_error(im, "Unknown option value for -r (expecting 'leaks' or 'all'): %s",
                           repair);
    if (!fix)
        flags |= NODE_READ_ONLY;
    if (!img_open_operand(im, &f, flags))
        return STATUS_ERROR;
    rc = check(im, f.node, fix, json);
    img_close(&f);
    return rc;
}
