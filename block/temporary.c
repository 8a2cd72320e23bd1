/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * temporary - an overlay in a file that is gone when we are: -snapshot and its like
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "block/block.h"

static bool make_overlay(BlockGraph *g, const BlockDriver *qcow2, char *path, uint64_t size,
                         Error *err)
{
    int fd = qcow2 && qcow2->create_file ? mkstemp(path) : -1;
    json_t *o;
    bool ok;

    if (fd < 0)
        return error_set_errno(err, qcow2 ? errno : ENOSYS,
                               "Could not create temporary overlay '%s'", path);
    close(fd);
    o = json_pack("{so}", "size", json_sprintf("%" PRIu64, size));
    ok = qcow2->create_file(g, path, o, err);
    json_decref(o);
    if (!ok)
        unlink(path);
    return ok;
}

BlockNode *node_open_temporary(BlockNode *base, Error *err)
{
    const char *dir = getenv("TMPDIR");
    AUTO_FREE char *path = xasprintf("%s/rhea-snapshot.XXXXXX", dir && *dir ? dir : "/var/tmp");
    json_t *o;
    BlockNode *n;

    if (!make_overlay(base->graph, block_driver_find("qcow2"), path, base->size, err))
        return NULL;
    o = json_pack("{ss s{ssss} ss}", "driver", "qcow2", "file", "driver", "file", "filename", path,
                  "backing", base->name);
    n = node_open(base->graph, o, NODE_NO_FLUSH | NODE_UNMAP, err);
    unlink(path);
    return n;
}

BlockNode *node_open_filter(BlockNode *n, const char *driver, Error *err)
{
    BlockNode *f = n ? node_open(n->graph, json_pack("{ssss}", "driver", driver, "file", n->name),
                                 n->flags & NODE_READ_ONLY, err)
                     : NULL;

    node_unref(n);
    return f;
}
