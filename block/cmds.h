/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmds - what the files of block commands share */
#ifndef BLOCK_CMDS_H
#define BLOCK_CMDS_H

#include "block/bitmap.h"
#include "block/block.h"
#include "core/command.h"
#include "core/machine.h"

extern const Type new_image_mode_type; /* NewImageMode: 0 existing, 1 absolute-paths */

/* A node by the name of a drive or its own. */
BlockNode *block_cmd_node(Machine *m, const char *name, Error *err);
BlockPort *block_cmd_port(Machine *m, const char *device, const char *id, Error *err);
void block_events_begin(Machine *m); /* what happens in m->graph is told from now on */
DirtyBitmap *block_cmd_bitmap(Machine *m, const char *node, const char *name, BlockNode **on,
                              Error *err);

/* An action of `transaction`, or a command that is one: prepare does it, then commit or abort. */
typedef struct Action Action;
typedef struct ActionClass {
    const char *type;
    const Type *args; /* struct */
    bool (*prepare)(Machine *m, Action *a, Error *err);
    void (*commit)(Action *a);
    void (*abort)(Action *a);
    Field data; /* for the schema: {"type", "data": args} */
    Type wrapped;
    struct ActionClass *next;
} ActionClass;
struct Action {
    const ActionClass *cls;
    void *args;
    struct JobTxn *txn; /* completion-mode=grouped */
    Machine *m;
    BlockNode *node, *other; /* the action's own, with references */
    DirtyBitmap *bitmap;
    BitmapBackup *backup;
    struct Job *job;
    bool flag;
    char *text;
    struct Action *next;
};
void action_register(ActionClass *c);
#define ACTION(var, ...)                                                                           \
    static ActionClass action_##var = {__VA_ARGS__};                                               \
    __attribute__((constructor)) static void action_##var##_register(void)                         \
    {                                                                                              \
        action_register(&action_##var);                                                            \
    }
/* As a command of its own: prepare and commit. */
bool action_run(Machine *m, const ActionClass *c, void *args, Error *err);

#endif
