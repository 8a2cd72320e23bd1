/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io - what the commands of rhea-io share (docs/rhea-img.md)
 *
 * Commands return 0, or -1 once they have said what went wrong.  Numbers, texts and streams (what a
 * command finds is on standard output) are those of qemu-io, since test suites compare them.
 */
#ifndef TOOLS_IO_IO_H
#define TOOLS_IO_IO_H

#include "base/alloc.h"
#include "base/log.h"
#include "block/block.h"

typedef struct Io {
    const char *program;
    Objects *objects;
    BlockGraph *graph;
    BlockCtx *ctx; /* of this thread, for requests nobody waits for */
    BlockNode *node;
    BlockPort *port; /* NULL: no file is open */
    unsigned in_flight;
    bool misalign; /* -m */
    bool quit;
} Io;

typedef struct IoArgs {
    const struct IoCommand *cmd;
    bool has[128];
    const char *value[128];
    char **rest;
    int n_rest;
} IoArgs;

typedef struct IoCommand {
    const char *name;
    int (*run)(Io *io, IoArgs *a);
    int min_args, max_args; /* words after the name; max -1: any number */
    enum { NEEDS_FILE = 1, NEEDS_WRITE } needs;
    const char *letters; /* for getopt */
    const char *args, *summary, *help;
} IoCommand;

/* --- command.c --- */

extern const IoCommand io_commands[]; /* sorted by name, ends with a NULL one */
int io_command(Io *io, const char *line);
int io_usage(const IoCommand *c);               /* prints the summary; -1 */
bool io_number(const char *text, int64_t *out); /* a size; false: printed */
int io_cmd_help(Io *io, IoArgs *a);

/* --- image.c --- */

typedef struct IoOpen {
    const char *filename, *fmt, *options; /* NULL: none */
    bool image_opts;                      /* filename is key=value text */
    bool snapshot, copy_on_read;
    uint32_t flags;
} IoOpen;
bool io_open(Io *io, const IoOpen *o);
void io_close(Io *io);
bool io_cache_mode(const char *mode, uint32_t *flags); /* false: printed */
bool io_discard_mode(const char *mode, uint32_t *flags);
int io_cmd_open(Io *io, IoArgs *a);
int io_cmd_close(Io *io, IoArgs *a);
int io_cmd_reopen(Io *io, IoArgs *a);
int io_cmd_length(Io *io, IoArgs *a);
int io_cmd_truncate(Io *io, IoArgs *a);
int io_cmd_info(Io *io, IoArgs *a);
int io_cmd_map(Io *io, IoArgs *a);
int io_cmd_alloc(Io *io, IoArgs *a);

/* --- report.c --- */

int64_t io_now(void);                                   /* ns */
void io_size_text(char *out, size_t cap, double bytes); /* "1.5 GiB", "512 bytes" */
void io_dump(const uint8_t *p, uint64_t at, size_t size);
/* "read 512/512 bytes at offset 0" and the line with the speed; @machine: one of numbers (-C). */
void io_report(const char *what, uint64_t at, uint64_t size, unsigned ops, int64_t ns,
               bool machine);

/* --- transfer.c, aio.c --- */

typedef struct IoBuf {
    uint8_t *mem; /* caller frees with io_buf_free */
    uint8_t *p;
    size_t size;
    struct iovec *iov;
    int n_iov;
} IoBuf;
/* Lengths in a->rest[from..]; false: printed. */
bool io_buf_vector(Io *io, IoArgs *a, int from, int pattern, IoBuf *out);
void io_buf_free(IoBuf *b);
bool io_pattern(const IoArgs *a, int fallback, int *out);                /* -P */
bool io_verify(const uint8_t *p, size_t size, int pattern, uint64_t at); /* printed */

int io_cmd_read(Io *io, IoArgs *a);
int io_cmd_readv(Io *io, IoArgs *a);
int io_cmd_write(Io *io, IoArgs *a);
int io_cmd_writev(Io *io, IoArgs *a);
int io_cmd_discard(Io *io, IoArgs *a);
int io_cmd_flush(Io *io, IoArgs *a);
void aio_wait(Io *io); /* until nothing is in flight */
int io_cmd_aio_read(Io *io, IoArgs *a);
int io_cmd_aio_write(Io *io, IoArgs *a);
int io_cmd_aio_flush(Io *io, IoArgs *a);

/* --- debug.c --- */

int io_cmd_break(Io *io, IoArgs *a);
int io_cmd_remove_break(Io *io, IoArgs *a);
int io_cmd_resume(Io *io, IoArgs *a);
int io_cmd_wait_break(Io *io, IoArgs *a);
int io_cmd_abort(Io *io, IoArgs *a);
int io_cmd_sigraise(Io *io, IoArgs *a);
int io_cmd_sleep(Io *io, IoArgs *a);

#endif
