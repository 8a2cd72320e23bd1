/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main - rhea-io: single requests to disk images, for tests (docs/rhea-img.md)
 *
 * Commands come from -c options, else line by line from standard input.  Answers to the name
 * qemu-io too.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/object.h"
#include "tools/io/io.h"

enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS };

static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
                                      {"version", no_argument, NULL, 'V'},
                                      {"cmd", required_argument, NULL, 'c'},
                                      {"format", required_argument, NULL, 'f'},
                                      {"read-only", no_argument, NULL, 'r'},
                                      {"snapshot", no_argument, NULL, 's'},
                                      {"nocache", no_argument, NULL, 'n'},
                                      {"copy-on-read", no_argument, NULL, 'C'},
                                      {"misalign", no_argument, NULL, 'm'},
                                      {"native-aio", no_argument, NULL, 'k'},
                                      {"aio", required_argument, NULL, 'i'},
                                      {"discard", required_argument, NULL, 'd'},
                                      {"cache", required_argument, NULL, 't'},
                                      {"trace", required_argument, NULL, 'T'},
                                      {"force-share", no_argument, NULL, 'U'},
                                      {"object", required_argument, NULL, OPT_OBJECT},
                                      {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},
                                      {0}};

typedef struct Options {
    IoOpen open;
    const char **commands;
    unsigned n_commands;
} Options;

static void usage(const char *program)
{
    printf("Usage: %s [OPTIONS]... [-c STRING]... [file]\n"
           "Disk image exerciser\n\n"
           "  --object OBJECTDEF   define an object such as 'secret'\n"
           "  --image-opts         treat file as option string\n"
           "  -c, --cmd STRING     execute command with its arguments\n"
           "  -f, --format FMT     specifies the block driver to use\n"
           "  -r, --read-only      open read-only\n"
           "  -s, --snapshot       use snapshot file\n"
           "  -n, --nocache        disable host cache, short for -t none\n"
           "  -C, --copy-on-read   enable copy-on-read\n"
           "  -m, --misalign       misalign buffers\n"
           "  -k, --native-aio     accepted; how to do I/O on the host is our own choice\n"
           "  -i, --aio=MODE       likewise (threads, native or io_uring)\n"
           "  -t, --cache=MODE     use the given cache mode for the image\n"
           "  -d, --discard=MODE   use the given discard mode for the image\n"
           "  -T, --trace PATTERN  show tracepoints\n"
           "  -U, --force-share    force shared permissions\n"
           "  -h, --help           display this help and exit\n"
           "  -V, --version        output version information and exit\n\n"
           "See '%s -c help' for information on available commands.\n",
           program, program);
}

static bool aio_mode(const char *mode)
{
    if (!strcmp(mode, "threads") || !strcmp(mode, "native") || !strcmp(mode, "io_uring"))
        return true;
    log_error("Invalid aio option: %s", mode);
    return false;
}

static bool add_object(Io *io, const char *text)
{
    Error err = {0};

    if (object_new_text(io->objects, text, &err))
        return true;
    log_error("--object %s: %s", text, err.msg);
    return false;
}

/* -1: go on; else the exit status. */
static int one_option(Io *io, Options *o, int c)
{
    bool ok = true;

    switch (c) {
    case 'h': usage(io->program); return 0;
    case 'V': printf("%s version 7.2.0 (rhea %s)\n", io->program, RHEA_VERSION); return 0;
    case 'c': o->commands[o->n_commands++] = optarg; break;
    case 'f': o->open.fmt = optarg; break;
    case 'r': o->open.flags |= NODE_READ_ONLY; break;
    case 's': o->open.snapshot = true; break;
    case 'n': o->open.flags |= NODE_NO_CACHE; break;
    case 'C': o->open.copy_on_read = true; break;
    case 'U': o->open.flags |= NODE_FORCE_SHARE; break;
    case 'm': io->misalign = true; break;
    case 'k': break;
    case 'i': ok = aio_mode(optarg); break;
    case 'd': ok = io_discard_mode(optarg, &o->open.flags); break;
    case 't': ok = io_cache_mode(optarg, &o->open.flags); break;
    case 'T': trace_enable(!strncmp(optarg, "enable=", 7) ? optarg + 7 : optarg); break;
    case OPT_OBJECT: ok = add_object(io, optarg); break;
    case OPT_IMAGE_OPTS: o->open.image_opts = true; break;
    default: usage(io->program); return 1;
    }
    return ok ? -1 : 1;
}

static int parse(Io *io, Options *o, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "hVc:d:f:rsnCmki:t:T:U", longs, NULL)) != -1) {
        int rc = one_option(io, o, c);

        if (rc >= 0)
            return rc;
    }
    if (optind < argc - 1) {
        usage(io->program);
        return 1;
    }
    if (o->open.image_opts && o->open.fmt) {
        log_error("--image-opts and -f are mutually exclusive");
        return 1;
    }
    o->open.filename = optind < argc ? argv[optind] : NULL;
    return -1;
}

/* From standard input, to its end or "quit". */
static int read_commands(Io *io)
{
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;

    for (;;) {
        printf("%s> ", io->program);
        fflush(stdout);
        if (io->quit || getline(&line, &cap, stdin) < 0)
            break;
        if (io_command(io, line) < 0)
            rc = -1;
        if (io->quit)
            break;
    }
    free(line);
    return rc;
}

static int run(Io *io, const Options *o)
{
    int rc = 0;

    if (o->open.filename && !io_open(io, &o->open))
        return 1;
    for (unsigned i = 0; i < o->n_commands && !io->quit; i++)
        if (io_command(io, o->commands[i]) < 0)
            rc = -1;
    if (!o->n_commands)
        rc = read_commands(io);
    io_close(io);
    return rc ? 1 : 0;
}

int main(int argc, char **argv)
{
    Io io = {.program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]};
    Options o = {.open.flags = NODE_UNMAP, .commands = xnew_n(const char *, (size_t)argc)};
    Error err = {0};
    int rc;

    log_set_program(io.program);
    io.objects = objects_new();
    io.graph = graph_new(NULL, &err);
    io.ctx = io.graph ? blockctx_new(NULL, &err) : NULL;
    if (!io.ctx) {
        log_error("%s", err.msg);
        return 1;
    }
    graph_set_objects(io.graph, io.objects);
    rc = parse(&io, &o, argc, argv);
    rc = rc >= 0 ? rc : run(&io, &o);
    blockctx_free(io.ctx);
    graph_free(io.graph);
    objects_free(io.objects);
    xfree(o.commands);
    fflush(stdout);
    return rc;
}
