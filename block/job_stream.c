/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job_stream - data of backing files moves up into the image on top
 *
 * The copying is the format engine's (BLOCK_UNCHANGED), so it cannot overtake a guest's write.
 */
#include <errno.h>

#include "base/alloc.h"
#include "block/jobs.h"

typedef struct Stream {
    Job job;
    BlockPort *port;
    BlockNode *top, *base; /* @base is kept alive by the chain or a reference */
    char *backing_name;
} Stream;

static int stream_run(Job *j, Error *err)
{
    Stream *s = (Stream *)j;
    uint64_t size = block_size(s->port);

    (void)err;
    job_set_total(j, size);
    for (uint64_t at = 0; at < size;) {
        uint64_t len = MIN(size - at, (uint64_t)JOB_CHUNK);
        BlockNode *in;
        Extent e;
        int rc = job_status_above(s->port, s->top, s->base, at, len, &e, &in);

        if (!rc) {
            len = MIN(len, e.size);
            if (in != s->top && e.kind != EXTENT_UNALLOCATED) {
                BlockReq r = {.op = BLOCK_WRITE, .flags = BLOCK_UNCHANGED, .at = at, .size = len};

                rc = block_wait(s->port, &r);
            }
        }
        if (rc) {
            rc = job_failed(j, rc, true);
            if (rc)
                return rc;
            continue;
        }
        at += len;
        if (!job_moved(j, len))
            return -ECANCELED;
    }
    return block_flush(s->port);
}

static void stream_finish(Job *j, bool ok)
{
    Stream *s = (Stream *)j;

    block_port_free(s->port);
    s->port = NULL;
    s->top->op_blocker = NULL;
    if (ok)
        job_change_backing(j, s->top, s->base, s->backing_name);
    if (s->base)
        node_unref(s->base);
    node_unref(s->top);
}

static void stream_free(Job *j)
{
    xfree(((Stream *)j)->backing_name);
}

static const JobClass stream_class = {
    .type = "stream",
    .size = sizeof(Stream),
    .is_block = true,
    .run = stream_run,
    .finish = stream_finish,
    .free = stream_free,
};

Job *stream_start(Jobs *set, const BlockJobArgs *a, BlockNode *top, BlockNode *base,
                  const char *backing_name, Error *err)
{
    BlockPort *port;
    Stream *s;

    if (block_op_blocked(top, err))
        return NULL;
    if (base && !node_in_chain(top, base)) {
        error_set(err, "Node '%s' is not a backing image of '%s'", base->name, top->name);
        return NULL;
    }
    port = job_port(top, PERM_READ | PERM_WRITE_UNCHANGED, PERM_ALL & ~(unsigned)PERM_RESIZE, err);
    if (!port)
        return NULL;
    s = (Stream *)block_job_new(set, &stream_class, a, err);
    if (!s) {
        block_port_free(port);
        return NULL;
    }
    s->port = port;
    s->top = node_ref(top);
    s->base = base ? node_ref(base) : NULL;
    s->backing_name = xstrdup(backing_name);
    top->op_blocker = "block device is in use by block job: stream";
    job_start(&s->job);
    return &s->job;
}
