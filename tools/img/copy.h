/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy - all that one or several images hold into another one: the engine of convert */
#ifndef TOOLS_IMG_COPY_H
#define TOOLS_IMG_COPY_H

#include "base/lock.h"
#include "tools/img/img.h"

enum { COPY_PIECE = 1 << 20, COPY_MAX_THREADS = 16 };

typedef struct CopySource {
    ImgFile file;
    uint64_t at, size; /* where it comes in the target */
} CopySource;

typedef enum PieceKind { PIECE_NOTHING, PIECE_ZERO, PIECE_DATA } PieceKind;

typedef struct Piece {
    PieceKind kind;
    uint64_t at, size; /* of the target */
    uint64_t ticket;
    BlockPort *from;  /* has it, at the same offset if there is one source */
    BlockNode *child; /* where a host could copy it from; NULL: not known */
    uint64_t child_at;
} Piece;

typedef struct Copy {
    /* What is at @at: 0 or -errno; called with the lock held.  NULL: as the sources say. */
    int (*find)(struct Copy *c, uint64_t at, Piece *p);
    void *owner;
    CopySource *src;
    unsigned n_src;
    ImgFile to;
    uint64_t size;         /* of all sources */
    bool has_backing;      /* what the source's first layer has not got is left to the target's */
    uint64_t backing_size; /* beyond it a new target with a backing file reads as zeroes */
    bool reads_zero;       /* the target does already, where nothing has been written */
    bool compress, any_order, salvage, offload, quiet;
    uint64_t sparse;   /* so many zeroes are not written; 0: do not look for them */
    bool allocate_all; /* what is known to be zero is written too */
    uint64_t rate;     /* bytes a second; 0: any */
    unsigned threads;
    Progress *progress;
    ProgressMode progress_mode;

    /* copy.c's own, under lock */
    Lock lock;
    pthread_cond_t turned;
    uint64_t at; /* what has been handed out */
    uint64_t tickets, turn;
    uint64_t done;
    bool count_data; /* progress counts data only: it has been measured */
    bool failed;
    int64_t rate_due;
} Copy;

/* Fill a piece for what @e says of @from. */
void piece_set(Piece *p, BlockPort *from, const Extent *e, uint64_t at, uint64_t size);
bool copy_run(Copy *c); /* false: printed */

#endif
