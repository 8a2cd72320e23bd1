/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main - rhea-img: make, inspect and change disk images without a machine (docs/rhea-img.md)
 *
 * Answers to the name qemu-img too, with its options, output and exit status.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/opts.h"
#include "core/object.h"
#include "tools/img/img.h"

#define COMMON "object image-opts"

const ImgCommand img_commands[] = {
    {"amend", img_cmd_amend, "o:f:t:p", COMMON " force progress",
     "[--object objectdef] [--image-opts] [-p] [-q] [-f fmt] [-t cache] [--force] -o options "
     "filename"},
    {"bench", img_cmd_bench, "c:d:f:ni:o:s:S:t:wU",
     COMMON " flush-interval pattern no-drain force-share",
     "[-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] [-i aio] [-n] [--no-drain] "
     "[-o offset] [--pattern=pattern] [-q] [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] "
     "filename"},
    {"bitmap", img_cmd_bitmap, "b:f:F:g:",
     COMMON " add remove clear enable disable merge granularity source-file source-format",
     "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b source_file "
     "[-F source_fmt]] [-g granularity] [--object objectdef] [--image-opts | -f fmt] filename "
     "bitmap"},
    {"check", img_cmd_check, "f:r:T:U", COMMON " output force-share",
     "[--object objectdef] [--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] "
     "[-T src_cache] [-U] filename"},
    {"commit", img_cmd_commit, "f:t:b:dpr:", COMMON " progress",
     "[--object objectdef] [--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] "
     "[-p] filename"},
    {"compare", img_cmd_compare, "f:F:T:psU", COMMON " force-share progress",
     "[--object objectdef] [--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] "
     "filename1 filename2"},
    {"convert", img_cmd_convert, "f:O:B:CcF:o:l:S:pt:T:nm:WUr:",
     COMMON " target-image-opts target-is-zero bitmaps skip-broken-bitmaps salvage force-share "
            "progress",
     "[--object objectdef] [--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps "
     "[--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] "
     "[-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] "
     "[-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename "
     "[filename2 [...]] output_filename"},
    {"create", img_cmd_create, "F:b:f:o:u", "object",
     "[--object objectdef] [-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] "
     "filename [size]"},
    {"dd", img_cmd_dd, "f:O:U", COMMON " force-share",
     "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] "
     "[isize=input_size] [osize=output_size] if=input of=output"},
    {"info", img_cmd_info, "f:U", COMMON " output backing-chain force-share",
     "[--object objectdef] [--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] "
     "filename"},
    {"map", img_cmd_map, "f:s:l:U", COMMON " output start-offset max-length force-share",
     "[--object objectdef] [--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] "
     "[--output=ofmt] [-U] filename"},
    {"measure", img_cmd_measure, "f:l:o:O:U", COMMON " output size force-share",
     "[--output=ofmt] [-O output_fmt] [-o options] [--size N | [--object objectdef] "
     "[--image-opts] [-f fmt] [-l snapshot_param] filename]"},
    {"rebase", img_cmd_rebase, "f:F:b:upt:T:U", COMMON " force-share progress",
     "[--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] "
     "-b backing_file [-F backing_fmt] filename"},
    {"resize", img_cmd_resize, "f:", COMMON " preallocation shrink",
     "[--object objectdef] [--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] "
     "filename [+ | -]size"},
    {"snapshot", img_cmd_snapshot, "la:c:d:f:U", COMMON " force-share",
     "[--object objectdef] [--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | -d "
     "snapshot] filename"},
    {0}};

static const char parameters[] =
    "\nParameters:\n"
    "  filename        an image: a file, protocol://..., json:{...}; key=value,... with "
    "--image-opts\n"
    "  fmt             its format (-f), guessed if not said; 'raw' should always be said\n"
    "  cache           none, writeback (default), writethrough, directsync, unsafe (default of\n"
    "                  convert); src_cache the same for what is read\n"
    "  size            bytes, or with k, M, G, T, P, E (powers of 1024)\n"
    "  options         key=value,... of the format; '-f fmt -o help' lists them\n"
    "  objectdef       a user-creatable object, most often secret,id=...,file=...\n"
    "  snapshot_param  a snapshot's name or id, or snapshot.id=ID,snapshot.name=NAME\n"
    "  -q              print errors only\n"
    "  -p              show progress; --progress=json: one line of JSON a second\n"
    "  -U              the image may be in use by others; what is read may be inconsistent\n"
    "  -u              create, rebase: do not look at the backing file, trust the user\n"
    "  -n              convert: the target exists; bench: native AIO\n"
    "  -c              convert: compress\n"
    "  -C              convert: let the host copy (reflink, copy offloading) where it can\n"
    "  -S              convert: this many zeroes make a hole (4k; 0: write all)\n"
    "  -m, -W          convert: how many parts at a time (8); write them in any order\n"
    "  --salvage       convert: what cannot be read becomes zeroes\n"
    "  -s              compare: sizes and allocation must agree too\n"
    "  -d              commit: do not empty the image after it\n";

static void print_version(const char *program)
{
    printf("%s version 7.2.0 (rhea %s)\n", program, RHEA_VERSION);
}

static int print_help(const Img *im)
{
    print_version(im->program);
    printf("usage: %s [standard options] command [command options]\nDisk image utility\n\n"
           "    -h, --help     this help\n"
           "    -V, --version  the version\n"
           "    -T, --trace    [[enable=]<pattern>]: show tracepoints\n\nCommands:\n",
           im->program);
    for (const ImgCommand *c = img_commands; c->name; c++)
        printf("  %s %s\n", c->name, c->usage);
    fputs(parameters, stdout);
    print_formats();
    return 0;
}

static const ImgCommand *command_find(const char *name)
{
    for (const ImgCommand *c = img_commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

static int unknown_command(const Img *im, const char *name)
{
    const char *names[COUNT_OF(img_commands)];
    const char *near;
    unsigned n = 0;

    for (const ImgCommand *c = img_commands; c->name; c++)
        names[n++] = c->name;
    near = nearest_name(name, names, n);
    if (near)
        return usage_error(im, "Command not found: %s; did you mean '%s'?", name, near);
    return usage_error(im, "Command not found: %s", name);
}

static int run_command(Img *im, const ImgCommand *cmd, int argc, char **argv)
{
    Error err = {0};
    int rc;

    im->shared = PERM_ALL;
    im->objects = objects_new();
    im->graph = graph_new(NULL, &err);
    if (!im->graph) {
        log_error("%s", err.msg);
        return 1;
    }
    graph_set_objects(im->graph, im->objects);
    rc = args_parse(im, cmd, argc, argv);
    rc = rc ? rc - 1 : cmd->run(im);
    graph_free(im->graph);
    objects_free(im->objects);
    xfree(im->args);
    if (fflush(stdout) || ferror(stdout)) {
        log_error("cannot write standard output; is its device full?");
        rc = rc ? rc : 1;
    }
    return rc;
}

/* Options before the command; false: *rc is the exit status. */
static bool standard_options(Img *im, int *argc, char ***argv, int *rc)
{
    for (; *argc > 0 && (*argv)[0][0] == '-'; ++*argv, --*argc) {
        const char *a = (*argv)[0];
        const char *pattern = !strncmp(a, "--trace=", 8) ? a + 8 : NULL;

        if (!strcmp(a, "-h") || !strcmp(a, "--help")) {
            *rc = print_help(im);
            return false;
        }
        if (!strcmp(a, "-V") || !strcmp(a, "--version")) {
            print_version(im->program);
            *rc = 0;
            return false;
        }
        if ((!strcmp(a, "-T") || !strcmp(a, "--trace")) && *argc > 1) {
            pattern = (*argv)[1];
            ++*argv;
            --*argc;
        }
        if (!pattern) {
            bool incomplete = !strcmp(a, "-T") || !strcmp(a, "--trace");

            *rc = usage_error(
                im, incomplete ? "missing argument for option '%s'" : "unrecognized option '%s'",
                a);
            return false;
        }
        trace_enable(!strncmp(pattern, "enable=", 7) ? pattern + 7 : pattern);
    }
    return true;
}

int main(int argc, char **argv)
{
    Img im = {.program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]};
    const ImgCommand *cmd;
    int rc = 0;

    log_set_program(im.program);
    signal(SIGPIPE, SIG_IGN);
    progress_catch_signal();
    argv++;
    argc--;
    if (!standard_options(&im, &argc, &argv, &rc))
        return rc;
    if (!argc)
        return usage_error(&im, "Not enough arguments");
    cmd = command_find(argv[0]);
    return cmd ? run_command(&im, cmd, argc, argv) : unknown_command(&im, argv[0]);
}
