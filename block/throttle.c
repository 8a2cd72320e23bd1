/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * throttle - limits of requests and bytes a second: the buckets, the object and the filter
 */
#include "block/throttle.h"

#include "base/now.h"
#include "base/opts.h"
#include "block/block_priv.h"

#define LIMIT_MAX 1000000000000000ull
enum { WAIT_AT_MOST_NS = 1000000000 };

typedef struct Bucket {
    double level, burst;
} Bucket;

struct ThrottleGroup {
    Object *object;    /* whose it is, and which is in use by each reference; or ... */
    BlockGraph *graph; /* ... where it is known by its name */
    char *name;
    ThrottleGroup *next;
    Lock lock;
    unsigned refs, lifted;
    ThrottleLimits limits;
    Bucket bucket[THROTTLE_BUCKETS];
    int64_t then;                  /* when the buckets leaked last */
    BlockReq *first[2], **last[2]; /* waiting: reads, writes */
    Loop *loop;                    /* has our timer; NULL: not yet */
};

/* --- the buckets --- */

static const char *const bucket_names[THROTTLE_BUCKETS] = {"bps-total",  "bps-read",  "bps-write",
                                                           "iops-total", "iops-read", "iops-write"};

bool throttle_is_limited(const ThrottleLimits *l)
{
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++)
        if (l->avg[i] || l->max[i])
            return true;
    return false;
}

bool throttle_check(const ThrottleLimits *l, Error *err)
{
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i += 3) {
        if (l->avg[i] && (l->avg[i + 1] || l->avg[i + 2]))
            return error_set(err,
                             "bps/iops/max total values and read/write values cannot be used at "
                             "the same time");
        if (l->max[i] && (l->max[i + 1] || l->max[i + 2]))
            return error_set(err,
                             "bps/iops/max total values and read/write values cannot be used at "
                             "the same time");
    }
    if (l->iops_size && !l->avg[THROTTLE_IOPS_TOTAL] && !l->avg[THROTTLE_IOPS_READ] &&
        !l->avg[THROTTLE_IOPS_WRITE])
        return error_set(err, "iops size requires an iops value to be set");
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        if (l->avg[i] > LIMIT_MAX || l->max[i] > LIMIT_MAX)
            return error_set(err, "bps/iops/max values must be within [0, %llu]", LIMIT_MAX);
        if (l->max[i] && !l->avg[i])
            return error_set(err, "bps_max/iops_max require corresponding bps/iops values");
        if (l->max[i] && l->max[i] < l->avg[i])
            return error_set(err, "bps_max/iops_max cannot be lower than bps/iops");
        if (!l->length[i])
            return error_set(err, "the burst length cannot be 0");
        if (l->length[i] > 1 && !l->max[i])
            return error_set(err, "burst length set without burst rate");
        if (l->max[i] && l->length[i] > LIMIT_MAX / l->max[i])
            return error_set(err, "burst length too high for this burst rate");
    }
    return true;
}

static double leak(double level, double rate, double seconds)
{
    return MAX(level - rate * seconds, 0.0);
}

static void buckets_leak_locked(ThrottleGroup *g)
{
    int64_t now = monotonic_ns();
    double s = (double)(now - g->then) / 1e9;

    g->then = now;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        g->bucket[i].level = leak(g->bucket[i].level, (double)g->limits.avg[i], s);
        g->bucket[i].burst = leak(g->bucket[i].burst, (double)g->limits.max[i], s);
    }
}

/* Seconds until the bucket takes more. */
static double bucket_wait(const ThrottleGroup *g, unsigned i)
{
    double avg = (double)g->limits.avg[i], max = (double)g->limits.max[i], extra;

    if (!g->limits.avg[i])
        return 0;
    if (!g->limits.max[i]) {
        extra = g->bucket[i].level - avg / 10;
        return extra > 0 ? extra / avg : 0;
    }
    extra = g->bucket[i].level - max * (double)g->limits.length[i];
    if (extra > 0)
        return extra / avg;
    extra = g->limits.length[i] > 1 ? g->bucket[i].burst - max / 10 : 0;
    return extra > 0 ? extra / max : 0;
}

static bool is_write(const BlockReq *r)
{
    return op_modifies(r->op);
}

static int64_t wait_locked(ThrottleGroup *g, bool write)
{
    const unsigned of[4] = {THROTTLE_BPS_TOTAL, THROTTLE_IOPS_TOTAL,
                            write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ,
                            write ? THROTTLE_IOPS_WRITE : THROTTLE_IOPS_READ};
    double most = 0;

    buckets_leak_locked(g);
    for (unsigned i = 0; i < 4; i++)
        most = MAX(most, bucket_wait(g, of[i]));
    return g->lifted ? 0 : (int64_t)(most * 1e9);
}

static void account_locked(ThrottleGroup *g, const BlockReq *r)
{
    bool write = is_write(r);
    double ops = 1, bytes = r->op == BLOCK_DISCARD ? 0 : (double)r->size;

    if (g->limits.iops_size && r->size > g->limits.iops_size)
        ops = (double)r->size / (double)g->limits.iops_size;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        unsigned kind = i % 3;

        if (kind == 0 || (kind == 2) == write) {
            g->bucket[i].level += i < 3 ? bytes : ops;
            g->bucket[i].burst += i < 3 ? bytes : ops;
        }
    }
}

/* --- waiting --- */

static int64_t group_next(void *arg)
{
    ThrottleGroup *g = arg;
    int64_t least = -1;

    WITH_LOCK (&g->lock)
        for (unsigned w = 0; w < 2; w++)
            if (g->first[w]) {
                int64_t ns = MIN(wait_locked(g, w), (int64_t)WAIT_AT_MOST_NS);

                least = least < 0 ? ns : MIN(least, ns);
            }
    return least;
}

static BlockReq *group_take(ThrottleGroup *g, unsigned w)
{
    BlockReq *r = NULL;

    WITH_LOCK (&g->lock)
        if (g->first[w] && wait_locked(g, w) <= 0) {
            r = g->first[w];
            g->first[w] = r->next;
            if (!r->next)
                g->last[w] = &g->first[w];
            account_locked(g, r);
        }
    return r;
}

static void group_fire(void *arg)
{
    ThrottleGroup *g = arg;
    BlockReq *r;

    for (unsigned w = 0; w < 2; w++)
        while ((r = group_take(g, w)))
            ctx_push(r->ctx, r); /* r->step goes on */
}

typedef struct Watch {
    ThrottleGroup *g;
    Loop *loop;
    _Atomic int done;
} Watch;

static void watch_on_loop(void *arg)
{
    ThrottleGroup *g = arg;

    loop_timers(g->loop, group_next, group_fire, g);
}

static void unwatch_on_loop(void *arg)
{
    Watch *w = arg;

    loop_timers(w->loop, NULL, NULL, w->g);
    atomic_store(&w->done, 1);
    futex_wake(&w->done);
}

static void pass_waiting(ThrottleGroup *g, BlockReq *r, void (*go)(BlockReq *))
{
    bool write = is_write(r);

    for (;;) {
        int64_t ns = 0;

        WITH_LOCK (&g->lock) {
            ns = g->first[write] ? 1000000 : wait_locked(g, write);
            if (ns <= 0)
                account_locked(g, r);
        }
        if (ns <= 0)
            break;
        ns = MIN(ns, (int64_t)WAIT_AT_MOST_NS / 10);
        nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
    }
    go(r);
}

void throttle_pass(ThrottleGroup *g, BlockGraph *graph, BlockReq *r, void (*go)(BlockReq *))
{
    bool write = is_write(r), passes = false;

    if (r->op == BLOCK_FLUSH || !throttle_is_limited(&g->limits)) {
        go(r);
        return;
    }
    if (!r->ctx) {
        pass_waiting(g, r, go);
        return;
    }
    WITH_LOCK (&g->lock) {
        passes = !g->first[write] && wait_locked(g, write) <= 0;
        if (passes) {
            account_locked(g, r);
        } else {
            r->step = go;
            r->next = NULL;
            *g->last[write] = r;
            g->last[write] = &r->next;
            if (!g->loop) {
                g->loop = graph_service_loop(graph);
                loop_post(g->loop, watch_on_loop, g);
            }
        }
    }
    if (passes)
        go(r);
    else
        loop_wake(g->loop);
}

/* --- groups --- */

void throttle_limits_none(ThrottleLimits *l)
{
    *l = (ThrottleLimits){0};
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++)
        l->length[i] = 1;
}

static ThrottleGroup *group_new(Object *o, const char *name)
{
    ThrottleGroup *g = xnew(ThrottleGroup);

    g->object = o;
    g->name = xstrdup(name);
    g->refs = 1;
    lock_init(&g->lock, "throttle group", RANK_QUEUE);
    g->last[0] = &g->first[0];
    g->last[1] = &g->first[1];
    g->then = monotonic_ns();
    throttle_limits_none(&g->limits);
    return g;
}

ThrottleGroup *throttle_group_ref(ThrottleGroup *g)
{
    g->refs++;
    if (g->object)
        object_use(g->object);
    return g;
}

const char *throttle_group_name(const ThrottleGroup *g)
{
    return g->name;
}

static void group_forget(ThrottleGroup *g)
{
    ThrottleGroup **at = &g->graph->throttles;

    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
}

void throttle_group_unref(ThrottleGroup *g)
{
    if (!g)
        return;
    if (--g->refs) {
        if (g->object)
            object_unuse(g->object);
        return;
    }
    if (g->graph)
        group_forget(g);
    if (g->loop) {
        Watch w = {.g = g, .loop = g->loop};

        loop_post(g->loop, unwatch_on_loop, &w);
        while (!atomic_load(&w.done))
            futex_wait(&w.done, 0);
    }
    lock_fini(&g->lock);
    xfree(g->name);
    xfree(g);
}

void throttle_group_set(ThrottleGroup *g, const ThrottleLimits *l)
{
    WITH_LOCK (&g->lock) {
        g->limits = *l;
        memset(g->bucket, 0, sizeof g->bucket);
    }
    if (g->loop)
        loop_wake(g->loop);
}

void throttle_group_lift(ThrottleGroup *g, bool on)
{
    WITH_LOCK (&g->lock)
        g->lifted += on ? 1 : -1u;
    if (g->loop)
        loop_wake(g->loop);
}

ThrottleLimits throttle_group_get(ThrottleGroup *g)
{
    ThrottleLimits l;

    WITH_LOCK (&g->lock)
        l = g->limits;
    return l;
}

/* --- the object --- */

typedef struct GroupObject {
    Object obj;
    ThrottleGroup *group;
    ThrottleLimits limits;
} GroupObject;

ThrottleGroup *throttle_group_named(BlockGraph *graph, const char *name)
{
    Objects *set = graph_objects(graph);
    Object *o = set ? object_find(set, name, "throttle-group", NULL) : NULL;
    ThrottleGroup *g;

    if (o)
        return throttle_group_ref(((GroupObject *)o)->group);
    for (g = graph->throttles; g; g = g->next)
        if (!strcmp(g->name, name))
            return throttle_group_ref(g);
    g = group_new(NULL, name);
    g->graph = graph;
    g->next = graph->throttles;
    graph->throttles = g;
    return g;
}

static bool number_of(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return json_is_string(v) && parse_size(json_string_value(v), 'B', out);
}

bool throttle_limit_set(ThrottleLimits *l, const char *prefix, const char *name, const json_t *v,
                        Error *err)
{
    uint64_t *at = !strcmp(name, "iops-size") ? &l->iops_size : NULL;

    for (unsigned i = 0; i < THROTTLE_BUCKETS && !at; i++) {
        size_t n = strlen(bucket_names[i]);

        if (strncmp(name, bucket_names[i], n))
            continue;
        at = !name[n]                           ? &l->avg[i]
             : !strcmp(name + n, "-max")        ? &l->max[i]
             : !strcmp(name + n, "-max-length") ? &l->length[i]
                                                : NULL;
    }
    if (!at)
        return false;
    return number_of(v, at) || error_set(err, "Parameter '%s%s' expects a number", prefix, name);
}

/* With the first property, or when there is none. */
static void group_begin(GroupObject *g)
{
    if (g->group)
        return;
    g->group = group_new(&g->obj, g->obj.id);
    throttle_limits_none(&g->limits);
}

static bool group_set(Object *o, const char *name, const json_t *v, Error *err)
{
    GroupObject *g = (GroupObject *)o;
    const char *key;
    json_t *e;

    group_begin(g);
    if (!strncmp(name, "x-", 2))
        return throttle_limit_set(&g->limits, "x-", name + 2, v, err);
    if (strcmp(name, "limits"))
        return false;
    json_object_foreach ((json_t *)(uintptr_t)v, key, e)
        if (!throttle_limit_set(&g->limits, "limits.", key, e, err))
            return err && err->msg[0] ? false
                                      : error_set(err, "Parameter 'limits.%s' is unexpected", key);
    return true;
}

static bool group_complete(Object *o, Error *err)
{
    GroupObject *g = (GroupObject *)o;

    group_begin(g);
    if (!throttle_check(&g->limits, err))
        return false;
    throttle_group_set(g->group, &g->limits);
    return true;
}

static void group_free(Object *o)
{
    ThrottleGroup *g = ((GroupObject *)o)->group;

    if (g)
        g->object = NULL;
    throttle_group_unref(g);
}

static const Type group_type = {
    .name = "ThrottleGroup", .meta = META_STRUCT, .size = sizeof(GroupObject)};
static ObjectClass group_class = {
    .name = "throttle-group",
    .doc = "limits that several drives share: limits.iops-total=, limits.bps-total=, ...",
    .type = &group_type,
    .set = group_set,
    .complete = group_complete,
    .free = group_free,
};
OBJECT_REGISTER(group_class)

/* --- the filter --- */

typedef struct Throttle {
    ThrottleGroup *group;
} Throttle;

typedef struct ThrottleOptions {
    char *group;
} ThrottleOptions;
static const Field throttle_fields[] = {
    PROP_STR(ThrottleOptions, group, "throttle-group", NULL, "id of the throttle-group object"),
};
static STRUCT_TYPE(throttle_options_type, ThrottleOptions, throttle_fields);

static bool throttle_open(BlockNode *n, const void *options, Error *err)
{
    const ThrottleOptions *o = options;
    Throttle *s = n->state;

    if (!o->group)
        return error_set(err, "Please specify a throttle group (throttle-group=ID)");
    if (!graph_objects(n->graph))
        return error_set(err, "Throttle group '%s' does not exist", o->group);
    if (!object_find(graph_objects(n->graph), o->group, "throttle-group", err))
        return false;
    s->group = throttle_group_named(n->graph, o->group);
    n->size = n->file->size;
    n->cluster_size = n->file->cluster_size;
    return true;
}

static void throttle_close(BlockNode *n)
{
    throttle_group_unref(((Throttle *)n->state)->group);
}

static void throttle_go(BlockReq *r)
{
    node_forward(r->node->file, r, 0);
}

static void throttle_submit(BlockNode *n, BlockReq *r)
{
    throttle_pass(((Throttle *)n->state)->group, n->graph, r, throttle_go);
}

static const ChildSlot filter_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};

static BlockDriver throttle_driver = {
    .name = "throttle",
    .doc = "limits requests and bytes a second",
    .kind = DRIVER_FILTER,
    .options = &throttle_options_type,
    .children = filter_children,
    .state_size = sizeof(Throttle),
    .open = throttle_open,
    .close = throttle_close,
    .submit = throttle_submit,
};
BLOCK_DRIVER_REGISTER(throttle_driver)
