/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * img - what the commands of rhea-img share (docs/rhea-img.md)
 *
 * A command gets its parsed arguments and returns the exit status.  Whoever finds a failure prints
 * it, once; functions that return false or NULL without an Error argument have printed it.
 */
#ifndef TOOLS_IMG_IMG_H
#define TOOLS_IMG_IMG_H

#include "base/alloc.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "block/block.h"
#include "tools/output.h"

/* --- progress --- */

typedef enum ProgressMode { PROGRESS_OFF, PROGRESS_LINE, PROGRESS_JSON } ProgressMode;

typedef struct Progress {
    ProgressMode mode;
    uint64_t done, total;
    int64_t start, last; /* ns */
    double shown;        /* per cent */
} Progress;

void progress_catch_signal(void); /* SIGUSR1: say once how far it is, on standard error */
/* One thread at a time. */
void progress_begin(Progress *p, ProgressMode mode, uint64_t total);
void progress_to(Progress *p, uint64_t done);
void progress_end(Progress *p, bool complete);

/* --- arguments --- */

enum { /* codes of options without a letter; others are their letters */
       OPT_OBJECT = 256,
       OPT_IMAGE_OPTS,
       OPT_TARGET_IMAGE_OPTS,
       OPT_TARGET_IS_ZERO,
       OPT_BITMAPS,
       OPT_SKIP_BROKEN,
       OPT_SALVAGE,
       OPT_OUTPUT,
       OPT_BACKING_CHAIN,
       OPT_FLUSH_INTERVAL,
       OPT_PATTERN,
       OPT_NO_DRAIN,
       OPT_FORCE,
       OPT_START_OFFSET,
       OPT_MAX_LENGTH,
       OPT_SIZE,
       OPT_PREALLOCATION,
       OPT_SHRINK,
       OPT_MERGE,
       OPT_ADD,
       OPT_REMOVE,
       OPT_CLEAR,
       OPT_ENABLE,
       OPT_DISABLE,
       OPT_PROGRESS,
};

typedef struct ImgArg {
    int code;
    const char *value; /* NULL: the option takes none */
} ImgArg;

typedef struct Img {
    const char *program; /* as called: rhea-img or qemu-img */
    ImgArg *args;        /* in the order of the command line */
    unsigned n_args;
    char **operands;
    unsigned n_operands;
    bool quiet;      /* -q */
    unsigned shared; /* PERM_*: what others may do to images that are opened now */
    Objects *objects;
    BlockGraph *graph;
    Progress progress;
} Img;

typedef struct ImgCommand {
    const char *name;
    int (*run)(Img *im);
    const char *letters; /* as for getopt */
    const char *longs;   /* names, separated by blanks */
    const char *usage;
} ImgCommand;

extern const ImgCommand img_commands[]; /* ends with a NULL name */

/* 0: go on; else the exit status + 1 (help was shown, or an error). */
int args_parse(Img *im, const ImgCommand *cmd, int argc, char **argv);
bool arg_has(const Img *im, int code);
const char *arg_get(const Img *im, int code); /* the last one; NULL: absent */
ProgressMode arg_progress(const Img *im);     /* -p, --progress=json; off if quiet */
/* A size or number; absent: *out stays. */
bool arg_size(const Img *im, int code, const char *what, uint64_t *out);
bool arg_number(const Img *im, int code, const char *what, uint64_t min, uint64_t max,
                uint64_t *out);
bool arg_json_output(const Img *im, bool *json); /* --output=human|json */
/* NODE_ flags of a cache mode; false: printed. @what: "cache" or "source cache". */
bool arg_cache(const Img *im, int code, const char *fallback, const char *what, uint32_t *flags);
/* All -o joined; help: asked for help. NULL with *help false: none. Caller frees. */
bool arg_options(const Img *im, json_t **out, bool *help);

int usage_error(const Img *im, const char *fmt, ...) PRINTF_LIKE(2, 3); /* returns 1 */
bool say(const Img *im, const char *fmt, ...) PRINTF_LIKE(2, 3); /* on stdout unless quiet; true */
/* Prints what @text must look like; always false. */
bool bad_size(const char *what);

/* --- images --- */

typedef struct ImgFile {
    BlockNode *node;
    BlockPort *port;
} ImgFile;

/* @image_opts: @name is key=value text. Without NODE_READ_ONLY for reading and writing. */
bool img_open(Img *im, ImgFile *out, const char *name, const char *fmt, bool image_opts,
              uint32_t flags);
bool img_open_quiet(Img *im, ImgFile *out, const char *name, const char *fmt, bool image_opts,
                    uint32_t flags, Error *err);
/* The command's one operand, with -f, --image-opts and -U. */
bool img_open_operand(Img *im, ImgFile *out, uint32_t flags);
void img_close(ImgFile *f);
void print_error(const Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3); /* prefix first */

const BlockDriver *format_find(const char *name, Error *err); /* the message suggests a near one */
void print_formats(void);
/* Are all @options in @t or are options of files?  The message suggests a near one. */
bool options_check(const Type *t, const json_t *options, Error *err);
void options_help(const char *title, const Type *const *types);

/* Make an image, with "Formatting ..." on stdout unless quiet.  @options: flat, consumed; size
 * UINT64_MAX: not known yet. */
typedef struct CreateArgs {
    const char *filename, *fmt, *backing, *backing_fmt;
    json_t *options;
    uint64_t size;
    bool unsafe, quiet;
} CreateArgs;
bool create_image(Img *im, CreateArgs *a, Error *err);
bool create_plain(Img *im, const char *filename, const char *fmt, json_t *options, Error *err);

int64_t now_ns(void);

/* --- commands --- */

int img_cmd_amend(Img *im);
int img_cmd_bench(Img *im);
int img_cmd_bitmap(Img *im);
int img_cmd_check(Img *im);
int img_cmd_commit(Img *im);
int img_cmd_compare(Img *im);
int img_cmd_convert(Img *im);
int img_cmd_create(Img *im);
int img_cmd_dd(Img *im);
int img_cmd_info(Img *im);
int img_cmd_map(Img *im);
int img_cmd_measure(Img *im);
int img_cmd_rebase(Img *im);
int img_cmd_resize(Img *im);
int img_cmd_snapshot(Img *im);

#endif
