/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args - a command's options and what they mean
 *
 * A command names the letters and long options it takes (main.c); all of them mean the same
 * everywhere as far as they can. Later ones win; -o and --object add up.
 */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "base/opts_json.h"
#include "core/object.h"
#include "tools/img/img.h"

static const struct option long_options[] = {
    {"object", required_argument, NULL, OPT_OBJECT},
    {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},
    {"target-image-opts", no_argument, NULL, OPT_TARGET_IMAGE_OPTS},
    {"target-is-zero", no_argument, NULL, OPT_TARGET_IS_ZERO},
    {"bitmaps", no_argument, NULL, OPT_BITMAPS},
    {"skip-broken-bitmaps", no_argument, NULL, OPT_SKIP_BROKEN},
    {"salvage", no_argument, NULL, OPT_SALVAGE},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"backing-chain", no_argument, NULL, OPT_BACKING_CHAIN},
    {"flush-interval", required_argument, NULL, OPT_FLUSH_INTERVAL},
    {"pattern", required_argument, NULL, OPT_PATTERN},
    {"no-drain", no_argument, NULL, OPT_NO_DRAIN},
    {"force", no_argument, NULL, OPT_FORCE},
    {"start-offset", required_argument, NULL, OPT_START_OFFSET},
    {"max-length", required_argument, NULL, OPT_MAX_LENGTH},
    {"size", required_argument, NULL, OPT_SIZE},
    {"preallocation", required_argument, NULL, OPT_PREALLOCATION},
    {"shrink", no_argument, NULL, OPT_SHRINK},
    {"merge", required_argument, NULL, OPT_MERGE},
    {"add", no_argument, NULL, OPT_ADD},
    {"remove", no_argument, NULL, OPT_REMOVE},
    {"clear", no_argument, NULL, OPT_CLEAR},
    {"enable", no_argument, NULL, OPT_ENABLE},
    {"disable", no_argument, NULL, OPT_DISABLE},
    {"progress", optional_argument, NULL, OPT_PROGRESS},
    {"force-share", no_argument, NULL, 'U'},
    {"granularity", required_argument, NULL, 'g'},
    {"source-file", required_argument, NULL, 'b'},
    {"source-format", required_argument, NULL, 'F'},
    {"help", no_argument, NULL, 'h'},
};

int usage_error(const Img *im, const char *fmt, ...)
{
    va_list ap;
    char text[512];

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_error("%s", text);
    fprintf(stderr, "Try '%s --help' for more information\n", im->program);
    return 1;
}

bool say(const Img *im, const char *fmt, ...)
{
    va_list ap;

    if (!im->quiet) {
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
    }
    return true;
}

/* --- parsing --- */

static bool names_has(const char *names, const char *name)
{
    size_t len = strlen(name);

    for (const char *s = names; (s = strstr(s, name)); s += len)
        if ((s == names || s[-1] == ' ') && (s[len] == ' ' || !s[len]))
            return true;
    return false;
}

/* Those of the table that the command takes, ended by zeroes. */
static unsigned longs_of(const ImgCommand *cmd, struct option *out, const char **names)
{
    unsigned n = 0;

    for (unsigned i = 0; i < COUNT_OF(long_options); i++) {
        const struct option *o = &long_options[i];

        if (o->val == 'h' || names_has(cmd->longs, o->name)) {
            names[n] = o->name;
            out[n++] = *o;
        }
    }
    out[n] = (struct option){0};
    return n;
}

static int unknown_option(const Img *im, const char *arg, const char *const *names, unsigned n)
{
    const char *near = NULL;

    if (!strncmp(arg, "--", 2)) {
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
        near = nearest_name(name, names, n);
    }
    if (near)
        return usage_error(im, "unrecognized option '%s'; did you mean '--%s'?", arg, near);
    return usage_error(im, "unrecognized option '%s'", arg);
}

static int args_help(const Img *im, const ImgCommand *cmd)
{
    printf("usage: %s %s %s\n\n'%s --help' explains the parameters.\n", im->program, cmd->name,
           cmd->usage, im->program);
    print_formats();
    return 1; /* status 0 */
}

static bool make_object(Img *im, const char *text)
{
    Error err = {0};

    if (!strcmp(text, "help") || !strcmp(text, "?")) {
        StrBuf b = {0};

        object_help(&b);
        fputs(strbuf_str(&b), stdout);
        strbuf_free(&b);
        exit(0);
    }
    if (!object_new_text(im->objects, text, &err)) {
        log_error("--object %s: %s", text, err.msg);
        return false;
    }
    return true;
}

int args_parse(Img *im, const ImgCommand *cmd, int argc, char **argv)
{
    struct option longs[COUNT_OF(long_options) + 1];
    const char *names[COUNT_OF(long_options)];
    unsigned n = longs_of(cmd, longs, names);
    AUTO_FREE char *letters = xasprintf(":hq%s", cmd->letters);
    const char *last = cmd->run == img_cmd_resize && argc > 1 ? argv[argc - 1] : NULL;
    int c;

    /* A size to shrink by, "-10G", is hidden from getopt. */
    if (last && (last[0] != '-' || !isdigit((unsigned char)last[1])))
        last = NULL;
    argc -= last != NULL;
    im->args = xnew_n(ImgArg, (size_t)argc + 1);
    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == ':')
            return usage_error(im, "missing argument for option '%s'", argv[optind - 1]) + 1;
        if (c == '?')
            return unknown_option(im, argv[optind - 1], names, n) + 1;
        if (c == 'h')
            return args_help(im, cmd);
        im->quiet |= c == 'q';
        im->args[im->n_args++] = (ImgArg){c, optarg};
    }
    for (unsigned i = 0; i < im->n_args; i++)
        if (im->args[i].code == OPT_OBJECT && !make_object(im, im->args[i].value))
            return 2;
    argc += last != NULL;
    im->operands = argv + optind;
    im->n_operands = (unsigned)(argc - optind);
    return 0;
}

/* --- what they mean --- */

static const ImgArg *arg_last(const Img *im, int code)
{
    for (unsigned i = im->n_args; i--;)
        if (im->args[i].code == code)
            return &im->args[i];
    return NULL;
}

bool arg_has(const Img *im, int code)
{
    return arg_last(im, code) != NULL;
}

const char *arg_get(const Img *im, int code)
{
    const ImgArg *a = arg_last(im, code);

    return a ? a->value : NULL;
}

ProgressMode arg_progress(const Img *im)
{
    const char *kind = arg_get(im, OPT_PROGRESS);

    if (im->quiet || !(arg_has(im, 'p') || arg_has(im, OPT_PROGRESS)))
        return PROGRESS_OFF;
    return kind && !strcmp(kind, "json") ? PROGRESS_JSON : PROGRESS_LINE;
}

bool bad_size(const char *what)
{
    log_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
    log_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
    return false;
}

bool arg_size(const Img *im, int code, const char *what, uint64_t *out)
{
    const char *text = arg_get(im, code);

    if (text && (!parse_size(text, 'B', out) || *out > INT64_MAX))
        return bad_size(what);
    return true;
}

bool arg_number(const Img *im, int code, const char *what, uint64_t min, uint64_t max,
                uint64_t *out)
{
    const char *text = arg_get(im, code);

    if (!text || (parse_u64(text, out) && *out >= min && *out <= max))
        return true;
    log_error("Invalid %s specified: '%s' is not a number from %" PRIu64 " to %" PRIu64, what, text,
              min, max);
    return false;
}

bool arg_json_output(const Img *im, bool *json)
{
    const char *text = arg_get(im, OPT_OUTPUT);

    *json = text && !strcmp(text, "json");
    if (text && !*json && strcmp(text, "human") != 0) {
        log_error("--output must be used with human or json as argument.");
        return false;
    }
    return true;
}

bool arg_cache(const Img *im, int code, const char *fallback, const char *what, uint32_t *flags)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } modes[] = {{"none", NODE_NO_CACHE},
                 {"off", NODE_NO_CACHE},
                 {"writeback", 0},
                 {"writethrough", NODE_WRITETHROUGH},
                 {"directsync", NODE_NO_CACHE | NODE_WRITETHROUGH},
                 {"unsafe", NODE_NO_FLUSH}};
    const char *text = arg_get(im, code);
    const char *names[COUNT_OF(modes)];

    for (unsigned i = 0; i < COUNT_OF(modes); i++) {
        names[i] = modes[i].name;
        if (!strcmp(modes[i].name, text ? text : fallback)) {
            *flags |= modes[i].flags;
            return true;
        }
    }
    const char *near = nearest_name(text, names, COUNT_OF(names));
    log_error("Invalid %s option: %s%s%s%s", what, text, near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return false;
}

bool arg_options(const Img *im, json_t **out, bool *help)
{
    StrBuf all = {0};
    Error err = {0};
    json_t *nested;
    bool ok = true;

    *help = false;
    for (unsigned i = 0; i < im->n_args && ok; i++) {
        const char *text = im->args[i].value;

        if (im->args[i].code != 'o')
            continue;
        /* A comma at an end would swallow or become part of the neighbour. */
        ok = *text && *text != ',' && text[strlen(text) - 1] != ',';
        if (!ok)
            log_error("Invalid option list: %s", text);
        strbuf_addf(&all, "%s%s", all.len ? "," : "", text);
    }
    nested = ok ? opts_json_parse(strbuf_str(&all), NULL, KEYVAL_FLAGS, help, &err) : NULL;
    if (ok && !nested)
        log_error("-o %s: %s", strbuf_str(&all), err.msg);
    strbuf_free(&all);
    if (!nested)
        return false;
    *out = json_flatten(nested);
    json_decref(nested);
    return true;
}
