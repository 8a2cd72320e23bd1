/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image_events - what images tell of themselves while they are in use (QMP events)
 */
#include "block/block_priv.h"
#include "block/cmds.h"

typedef struct Corrupted {
    char *device, *node_name, *msg;
    int64_t offset, size;
    bool has_offset, has_size, fatal;
} Corrupted;
static const Field corrupted_fields[] = {
    ARG(Corrupted, device, "device", "the drive, or empty"),
    ARG_STR_OPT(Corrupted, node_name, "node-name", "the node"),
    ARG(Corrupted, msg, "msg", "what is wrong"),
    ARG_OPT(Corrupted, offset, "offset", "of the access, in the file"),
    ARG_OPT(Corrupted, size, "size", "of the access"),
    ARG(Corrupted, fatal, "fatal", "the image cannot be used for writing any more"),
};
static STRUCT_TYPE(corrupted_type, Corrupted, corrupted_fields);
EVENT(block_image_corrupted, .name = "BLOCK_IMAGE_CORRUPTED", .data = &corrupted_type,
      .doc = "An image turned out to be corrupt.")

static const char *drive_of(const BlockNode *n)
{
    for (const BlockChild *c = n->parents; c; c = c->next_parent)
        if (c->port && block_port_name(c->port))
            return block_port_name(c->port);
    return "";
}

static void on_corrupted(void *arg, BlockNode *n, const BlockCorruption *c)
{
    Corrupted e = {.device = (char *)(uintptr_t)drive_of(n),
                   .node_name = n->name,
                   .msg = (char *)(uintptr_t)c->msg,
                   .offset = (int64_t)c->offset,
                   .size = (int64_t)c->size,
                   .has_offset = c->has_place,
                   .has_size = c->has_place,
                   .fatal = c->fatal};

    event_post(arg, &event_block_image_corrupted, &e);
}

void block_events_begin(Machine *m)
{
    graph_set_watcher(m->graph, on_corrupted, m);
}
