/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot - internal snapshots of an image: list, create, apply, delete
 */
#include <errno.h>
#include <stdio.h>
#include <sys/time.h>

#include "tools/img/img.h"

typedef struct SnapshotAction {
    char letter;
    const char *what; /* "Could not <what> snapshot" */
    bool (*run)(BlockNode *n, const char *name, Error *err);
} SnapshotAction;

static bool create(BlockNode *n, const char *name, Error *err)
{
    SnapshotInfo s = {.name = (char *)name};
    struct timeval now;

    gettimeofday(&now, NULL);
    s.date_s = (uint32_t)now.tv_sec;
    s.date_ns = (uint32_t)now.tv_usec * 1000;
    return n->drv->snapshots->create(n, &s, err);
}

static bool apply(BlockNode *n, const char *name, Error *err)
{
    return n->drv->snapshots->apply(n, name, err);
}

static bool drop(BlockNode *n, const char *name, Error *err)
{
    return n->drv->snapshots->remove(n, name, err);
}

static const SnapshotAction actions[] = {
    {'c', "create", create}, {'a', "apply", apply}, {'d', "delete", drop}};

static bool list(BlockNode *n)
{
    SnapshotInfo *s = NULL;
    unsigned count = 0;
    Error err = {0};
    bool ok = !n->drv->snapshots || n->drv->snapshots->list(n, &s, &count, &err);

    if (!ok)
        log_error("Could not list snapshots: %s", err.msg);
    if (ok && count) {
        puts("Snapshot list:");
        snapshots_show(s, count);
    }
    for (unsigned i = 0; ok && i < count; i++)
        xfree(s[i].name);
    xfree(s);
    return ok;
}

static bool perform(const SnapshotAction *a, BlockNode *n, const char *name)
{
    Error err = {0};

    if (!n->drv->snapshots) {
        log_error("Could not %s snapshot '%s': %d (%s)", a->what, name, -EOPNOTSUPP,
                  "Operation not supported");
        return false;
    }
    if (a->run(n, name, &err))
        return true;
    log_error("Could not %s snapshot '%s': %s", a->what, name, err.msg);
    return false;
}

int img_cmd_snapshot(Img *im)
{
    const SnapshotAction *a = NULL;
    unsigned n = arg_has(im, 'l');
    ImgFile f;
    bool ok;

    for (unsigned i = 0; i < im->n_args; i++)
        for (unsigned k = 0; k < COUNT_OF(actions); k++)
            if (im->args[i].code == actions[k].letter) {
                a = &actions[k];
                n++;
            }
    if (n > 1)
        return usage_error(im, "Cannot mix '-l', '-a', '-c', '-d'");
    if (!img_open_operand(im, &f, a ? NODE_UNMAP : NODE_READ_ONLY))
        return 1;
    ok = a ? perform(a, f.node, arg_get(im, a->letter)) : list(f.node);
    img_close(&f);
    return ok ? 0 : 1;
}
