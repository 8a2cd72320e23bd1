/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command - the table of commands, their words and their help
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "tools/io/io.h"

static int io_cmd_quit(Io *io, IoArgs *a)
{
    (void)a;
    io->quit = true;
    return 0;
}

#define HELP_REPORT                                                                                \
    " -C, -- report statistics in a machine parsable format\n"                                     \
    " -q, -- quiet mode, do not show I/O statistics\n"
#define HELP_READ                                                                                  \
    " -P, -- use a pattern to verify read data\n"                                                  \
    " -v, -- dump buffer to standard output\n" HELP_REPORT
#define HELP_ASYNC                                                                                 \
    " The request is only sent: aio_flush waits for all of them. Its success says nothing about\n" \
    " the outcome, which is printed when the request is done.\n"                                   \
    " -i, -- treat request as invalid, for exercising stats\n"

const IoCommand io_commands[] = {
    {"abort", io_cmd_abort, 0, 0, 0, "", "", "simulate a program crash using abort(3)", NULL},
    {"aio_flush", io_cmd_aio_flush, 0, 0, NEEDS_FILE, "", "",
     "completes all outstanding aio requests", NULL},
    {"aio_read", io_cmd_aio_read, 2, -1, NEEDS_FILE, "CP:iqv",
     "[-Ciqv] [-P pattern] off len [len..]", "asynchronously reads a number of bytes",
     " 'aio_read -v 512 1k 1k' reads 2 kilobytes at 512 into two buffers and dumps "
     "them.\n" HELP_ASYNC HELP_READ},
    {"aio_write", io_cmd_aio_write, 2, -1, NEEDS_WRITE, "CfiP:quz",
     "[-Cfiquz] [-P pattern] off len [len..]", "asynchronously writes a number of bytes",
     " 'aio_write 512 1k 1k' writes 2 kilobytes at 512 from two buffers (0xcd).\n" HELP_ASYNC
     " -P, -- use different pattern to fill file\n"
     " -f, -- use Force Unit Access semantics\n"
     " -z, -- write zeroes; -u: which may deallocate\n" HELP_REPORT},
    {"alloc", io_cmd_alloc, 1, 2, NEEDS_FILE, "", "offset [count]",
     "checks if offset is allocated in the file", NULL},
    {"break", io_cmd_break, 2, 2, NEEDS_FILE, "", "event tag",
     "sets a breakpoint on event and tags the stopped request as tag", NULL},
    {"close", io_cmd_close, 0, 0, NEEDS_FILE, "", "", "close the current open file", NULL},
    {"discard", io_cmd_discard, 2, -1, NEEDS_WRITE, "Cq", "[-Cq] off len",
     "discards a number of bytes at a specified offset",
     " 'discard 512 1k' discards 1 kilobyte at 512.\n" HELP_REPORT},
    {"flush", io_cmd_flush, 0, 0, NEEDS_FILE, "", "", "flush all in-core file state to disk", NULL},
    {"help", io_cmd_help, 0, 1, 0, "", "[command]", "help for one or all commands", NULL},
    {"info", io_cmd_info, 0, 0, NEEDS_FILE, "", "", "prints information about the current file",
     NULL},
    {"length", io_cmd_length, 0, 0, NEEDS_FILE, "", "", "gets the length of the current file",
     NULL},
    {"map", io_cmd_map, 0, 1, NEEDS_FILE, "", "", "prints the allocated areas of a file", NULL},
    {"open", io_cmd_open, 1, -1, 0, "snCro:ki:t:d:U",
     "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]", "open the file specified by path",
     " 'open -n -o driver=raw /tmp/data' opens a raw file read-write, uncached.\n"
     " -r, -- open file read-only\n -s, -- use snapshot file\n -C, -- use copy-on-read\n"
     " -n, -- disable host cache, short for -t none\n -U, -- force shared permissions\n"
     " -k, -i MODE -- how to do I/O on the host (native, threads, io_uring); we choose ourselves\n"
     " -t, -- use the given cache mode for the image\n"
     " -d, -- use the given discard mode for the image\n"
     " -o, -- options to be given to the block driver\n"},
    {"quit", io_cmd_quit, 0, 0, 0, "", "", "exit the program", NULL},
    {"read", io_cmd_read, 2, -1, NEEDS_FILE, "abCl:pP:qs:v",
     "[-abCqv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset",
     " 'read -v 512 1k' dumps 1 kilobyte at 512.\n"
     " -b, -- read from the VM state rather than the virtual disk\n"
     " -l, -- length for pattern verification (only with -P)\n"
     " -s, -- start offset for pattern verification (only with -P)\n"
     " -p, -- ignored for backwards compatibility\n" HELP_READ},
    {"readv", io_cmd_readv, 2, -1, NEEDS_FILE, "CP:qv", "[-Cqv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset",
     " 'readv -v 512 1k 1k' reads 2 kilobytes at 512 into two buffers and dumps them.\n" HELP_READ},
    {"remove_break", io_cmd_remove_break, 1, 1, NEEDS_FILE, "", "tag", "remove a breakpoint by tag",
     NULL},
    {"reopen", io_cmd_reopen, 0, -1, NEEDS_FILE, "c:o:rw", "[(-r|-w)] [-c cache] [-o options]",
     "reopens an image with new options",
     " 'reopen -o lazy-refcounts=on' switches lazy refcounts of a qcow2 image on.\n"
     " -r, -- Reopen the image read-only\n -w, -- Reopen the image read-write\n"
     " -c, -- Change the cache mode to the given value\n"
     " -o, -- Changes block driver options (cf. 'open' command)\n"},
    {"resume", io_cmd_resume, 1, 1, NEEDS_FILE, "", "tag", "resumes the request tagged as tag",
     NULL},
    {"sigraise", io_cmd_sigraise, 1, 1, 0, "", "signal", "raises a signal",
     " 'sigraise 15' raises SIGTERM.\n"},
    {"sleep", io_cmd_sleep, 1, 1, 0, "", "", "waits for the given value in milliseconds", NULL},
    {"truncate", io_cmd_truncate, 1, 3, NEEDS_WRITE, "m:", "[-m prealloc_mode] off",
     "truncates the current file at the given offset", NULL},
    {"wait_break", io_cmd_wait_break, 1, 1, NEEDS_FILE, "", "tag",
     "waits for the suspension of a request", NULL},
    {"write", io_cmd_write, 2, -1, NEEDS_WRITE, "bcCfnpP:qs:uz",
     "[-bcCfnquz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset",
     " 'write 512 1k' writes 1 kilobyte of 0xcd at 512.\n"
     " -b, -- write to the VM state rather than the virtual disk\n"
     " -c, -- write compressed data\n"
     " -f, -- use Force Unit Access semantics\n"
     " -n, -- with -z, don't allow slow fallback\n"
     " -p, -- ignored for backwards compatibility\n"
     " -P, -- use different pattern to fill file\n"
     " -s, -- use a pattern file to fill the write buffer\n"
     " -u, -- with -z, allow unmapping\n"
     " -z, -- write zeroes\n" HELP_REPORT},
    {"writev", io_cmd_writev, 2, -1, NEEDS_WRITE, "CfP:q", "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset",
     " 'writev 512 1k 1k' writes 2 kilobytes of 0xcd at 512 from two buffers.\n"
     " -P, -- use different pattern to fill file\n"
     " -f, -- use Force Unit Access semantics\n" HELP_REPORT},
    {0}};

/* --- help --- */

static void summary(const IoCommand *c)
{
    printf("%s ", c->name);
    if (c->args[0])
        printf("%s ", c->args);
    printf("-- %s\n", c->summary);
}

int io_usage(const IoCommand *c)
{
    summary(c);
    return -1;
}

static const IoCommand *find(const char *name)
{
    static const char *const short_names[][2] = {
        {"r", "read"},   {"w", "write"},   {"q", "quit"},   {"f", "flush"},    {"o", "open"},
        {"c", "close"},  {"i", "info"},    {"l", "length"}, {"t", "truncate"}, {"d", "discard"},
        {"rv", "readv"}, {"wv", "writev"}, {"?", "help"}};

    for (unsigned i = 0; i < COUNT_OF(short_names); i++)
        if (!strcmp(name, short_names[i][0]))
            name = short_names[i][1];
    for (const IoCommand *c = io_commands; c->name; c++)
        if (!strcmp(name, c->name))
            return c;
    return NULL;
}

int io_cmd_help(Io *io, IoArgs *a)
{
    const IoCommand *c;

    (void)io;
    if (!a->n_rest) {
        for (c = io_commands; c->name; c++)
            summary(c);
        puts("\nUse 'help commandname' for extended help.");
        return 0;
    }
    c = find(a->rest[0]);
    if (!c) {
        printf("command %s not found\n", a->rest[0]);
        return -1;
    }
    summary(c);
    if (c->help)
        printf("\n%s\n", c->help);
    return 0;
}

/* --- running one --- */

bool io_number(const char *text, int64_t *out)
{
    uint64_t v;

    if (*text == '-' || !parse_size(text, 'B', &v) || v > INT64_MAX) {
        uint64_t ignored;

        printf("Parsing error: %s -- %s\n",
               *text == '-' && parse_size(text + 1, 'B', &ignored) ? "argument must not be negative"
               : parse_size(text, 'B', &v)
                   ? "argument too large"
                   : "non-numeric argument, or extraneous/unrecognized suffix",
               text);
        return false;
    }
    *out = (int64_t)v;
    return true;
}

static bool count_is_right(const IoCommand *c, int n)
{
    if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args))
        return true;
    if (c->max_args < 0)
        fprintf(stderr, "bad argument count %d to %s, expected at least %d arguments\n", n, c->name,
                c->min_args);
    else if (c->min_args == c->max_args)
        fprintf(stderr, "bad argument count %d to %s, expected %d arguments\n", n, c->name,
                c->min_args);
    else
        fprintf(stderr, "bad argument count %d to %s, expected between %d and %d arguments\n", n,
                c->name, c->min_args, c->max_args);
    return false;
}

static int run(Io *io, const IoCommand *c, int argc, char **argv)
{
    IoArgs a = {.cmd = c};
    int opt;

    if (c->needs && !io->port) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -1;
    }
    if (!count_is_right(c, argc - 1))
        return -1;
    if (c->needs == NEEDS_WRITE && block_is_read_only(io->port)) {
        log_error("Block node is read-only");
        return -1;
    }
    optind = 0; /* also forgets what getopt remembers of the last command */
    opterr = 1;
    while ((opt = getopt(argc, argv, c->letters)) != -1) {
        if (opt == '?')
            return io_usage(c);
        a.has[opt] = true;
        a.value[opt] = optarg;
    }
    a.rest = argv + optind;
    a.n_rest = argc - optind;
    return c->run(io, &a);
}

int io_command(Io *io, const char *line)
{
    AUTO_FREE char *text = xstrdup(line);
    char **argv = xnew_n(char *, strlen(line) / 2 + 2), *save = NULL;
    const IoCommand *c;
    int argc = 0, rc = 0;

    for (char *w = strtok_r(text, " \t\r\n", &save); w; w = strtok_r(NULL, " \t\r\n", &save))
        argv[argc++] = w;
    if (argc && !(c = find(argv[0]))) {
        const char *names[COUNT_OF(io_commands)], *near;
        unsigned n = 0;

        for (c = io_commands; c->name; c++)
            names[n++] = c->name;
        near = nearest_name(argv[0], names, n);
        fprintf(stderr, "command \"%s\" not found%s%s%s\n", argv[0], near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
        rc = -1;
    } else if (argc) {
        rc = run(io, c, argc, argv);
    }
    if (io->port)
        blockctx_poll(io->ctx, false);
    fflush(stdout);
    xfree(argv);
    return rc;
}
