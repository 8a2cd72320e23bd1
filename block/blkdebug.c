/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug - a filter that fails or holds requests by rules (QEMU 7.2, BlockdevOptionsBlkdebug)
 *
 * Events arm the errors, move the state and meet the breakpoints that name them.  A format above
 * that knows of us announces what it does (node_event); under all others a request is a sequence of
 * events by its kind.
 */
#include "block/blkdebug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/opts.h"
#include "block/block_priv.h"
#include "block/open.h"

static const char *const event_names[BLOCK_EVENTS + 1] = {"l1_update",
                                                          "l1_grow_alloc_table",
                                                          "l1_grow_write_table",
                                                          "l1_grow_activate_table",
                                                          "l2_load",
                                                          "l2_update",
                                                          "l2_update_compressed",
                                                          "l2_alloc_cow_read",
                                                          "l2_alloc_write",
                                                          "read_aio",
                                                          "read_backing_aio",
                                                          "read_compressed",
                                                          "write_aio",
                                                          "write_compressed",
                                                          "vmstate_load",
                                                          "vmstate_save",
                                                          "cow_read",
                                                          "cow_write",
                                                          "reftable_load",
                                                          "reftable_grow",
                                                          "reftable_update",
                                                          "refblock_load",
                                                          "refblock_update",
                                                          "refblock_update_part",
                                                          "refblock_alloc",
                                                          "refblock_alloc_hookup",
                                                          "refblock_alloc_write",
                                                          "refblock_alloc_write_blocks",
                                                          "refblock_alloc_write_table",
                                                          "refblock_alloc_switch_table",
                                                          "cluster_alloc",
                                                          "cluster_alloc_bytes",
                                                          "cluster_free",
                                                          "flush_to_os",
                                                          "flush_to_disk",
                                                          "pwritev_rmw_head",
                                                          "pwritev_rmw_after_head",
                                                          "pwritev_rmw_tail",
                                                          "pwritev_rmw_after_tail",
                                                          "pwritev",
                                                          "pwritev_zero",
                                                          "pwritev_done",
                                                          "empty_image_prepare",
                                                          "l1_shrink_write_table",
                                                          "l1_shrink_free_l2_clusters",
                                                          "cor_write",
                                                          "cluster_alloc_space",
                                                          "none",
                                                          NULL};
static const char *const iotype_names[] = {
    "read", "write", "write-zeroes", "discard", "flush", "block-status", NULL};

enum { RULES_MAX = 64, STAGES = 3 };

typedef struct Rule {
    const char *event;    /* of event_names; NULL: free */
    int state, new_state; /* state 0: any; new_state 0: it injects */
    uint32_t iotypes;     /* bits by BlockOp */
    int error;
    int64_t at; /* -1: anywhere */
    bool once, armed;
} Rule;

/* A thread in the middle of a format, until it may go on. */
typedef struct Sleeper {
    _Atomic int go;
} Sleeper;

typedef struct Break {
    char *tag;
    const char *event;
    BlockReq *held;   /* NULL: not met yet, ... */
    Sleeper *sleeper; /* ... or by an announced event */
    unsigned stage;   /* where it goes on */
    struct Break *next;
} Break;

typedef struct Debug {
    Lock lock; /* of all below */
    Rule rule[RULES_MAX];
    Break *breaks;
    int state;
    uint64_t max_transfer;
    bool wants_done; /* something waits for pwritev_done */
    BlockEvents events;
} Debug;

/* --- rules --- */

static const char *name_of(const char *const *names, const char *name, unsigned *index)
{
    for (unsigned i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) {
            if (index)
                *index = i;
            return names[i];
        }
    return NULL;
}

static bool rule_number(const json_t *o, const char *key, int64_t most, int64_t *out, Error *err)
{
    const json_t *v = json_object_get(o, key);
    char *end = NULL;

    if (!v)
        return true;
    if (json_is_string(v)) {
        *out = strtoll(json_string_value(v), &end, 0);
        if (*end || end == json_string_value(v))
            return error_set(err, "Parameter '%s' expects a number, not '%s'", key,
                             json_string_value(v));
    } else if (json_is_integer(v)) {
        *out = json_integer_value(v);
    } else {
        return error_set(err, "Invalid parameter type for '%s', expected: integer", key);
    }
    return (*out >= -1 && *out <= most) ||
           error_set(err, "Invalid value %" PRId64 " for '%s'", *out, key);
}

static bool rule_flag(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    const char *s = json_string_value(v);

    return json_is_true(v) || (s && (!strcmp(s, "on") || !strcmp(s, "true") || !strcmp(s, "1")));
}

static bool rule_add(Debug *s, const json_t *o, bool sets_state, Error *err)
{
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *iotype = json_string_value(json_object_get(o, "iotype"));
    int64_t state = 0, new_state = 0, number = EIO, sector = -1;
    unsigned type = 0;
    Rule *r = s->rule;

    while (r < s->rule + RULES_MAX && r->event)
        r++;
    if (r == s->rule + RULES_MAX)
        return error_set(err, "More than %d rules", RULES_MAX);
    if (!event || !name_of(event_names, event, NULL))
        return error_set(err, event ? "Invalid event name '%s'" : "Missing event name for rule",
                         event);
    if (iotype && !name_of(iotype_names, iotype, &type))
        return error_set(err, "Invalid parameter 'iotype': %s", iotype);
    if (!rule_number(o, "state", INT32_MAX, &state, err) ||
        !rule_number(o, "new_state", INT32_MAX, &new_state, err) ||
        !rule_number(o, "errno", 4095, &number, err) ||
        !rule_number(o, "sector", INT64_MAX / 512, &sector, err))
        return false;
    if (sets_state && new_state <= 0)
        return error_set(err, "Parameter 'new_state' is missing");
    *r = (Rule){.event = name_of(event_names, event, NULL),
                .state = (int)state,
                .new_state = sets_state ? (int)new_state : 0,
                .iotypes = iotype ? 1u << type : (1u << BLOCK_OPS) - 1,
                .error = (int)number,
                .at = sector < 0 ? -1 : sector * 512,
                .once = rule_flag(o, "once")};
    s->wants_done |= r->event == event_names[EVENT_PWRITEV_DONE];
    return true;
}

static bool rules_add(Debug *s, const List *l, bool sets_state, Error *err)
{
    for (unsigned i = 0; i < l->n; i++)
        if (!rule_add(s, *LIST_AT(json_t *, l, i), sets_state, err))
            return false;
    return true;
}

/* --- the configuration file: [inject-error] or [set-state], then key = "value" --- */

static char *trim(char *s)
{
    size_t n;

    s += strspn(s, " \t");
    n = strlen(s);
    while (n && strchr(" \t\r\n", s[n - 1]))
        s[--n] = 0;
    if (n > 1 && s[0] == '"' && s[n - 1] == '"') {
        s[n - 1] = 0;
        s++;
    }
    return s;
}

static bool section_end(Debug *s, json_t **section, bool sets_state, Error *err)
{
    bool ok = !*section || rule_add(s, *section, sets_state, err);

    json_decref(*section);
    *section = NULL;
    return ok;
}

static bool config_read(Debug *s, const char *path, Error *err)
{
    FILE *f = fopen(path, "re");
    json_t *section = NULL;
    bool sets_state = false, ok = true;
    char line[512];

    if (!f)
        return error_set_errno(err, errno, "Could not read blkdebug config file '%s'", path);
    while (ok && fgets(line, sizeof line, f)) {
        char *key = trim(line), *value = strchr(key, '=');

        if (!*key || *key == '#')
            continue;
        if (*key == '[') {
            ok = section_end(s, &section, sets_state, err);
            sets_state = !strcmp(key, "[set-state]");
            if (ok && !sets_state && strcmp(key, "[inject-error]"))
                ok = error_set(err, "%s: unknown section '%s'", path, key);
            section = json_object();
        } else if (!value || !section) {
            ok = error_set(err, "%s: '%s' is not understood", path, key);
        } else {
            *value = 0;
            json_object_set_new(section, trim(key), json_string(trim(value + 1)));
        }
    }
    fclose(f);
    if (ok)
        return section_end(s, &section, sets_state, err);
    json_decref(section);
    return false;
}

/* --- requests --- */

/* Of a request.  The first ones are told by formats that announce theirs; EVENT_L1_UPDATE (0):
 * none. */
static const BlockEvent events_of[BLOCK_OPS][STAGES] = {
    [BLOCK_READ] = {EVENT_READ_AIO},
    [BLOCK_WRITE] = {EVENT_WRITE_AIO, EVENT_NONE, EVENT_PWRITEV},
    [BLOCK_ZERO] = {EVENT_WRITE_AIO, EVENT_NONE, EVENT_PWRITEV_ZERO},
    [BLOCK_FLUSH] = {EVENT_FLUSH_TO_OS, EVENT_FLUSH_TO_DISK},
};
enum { OWN_STAGE = 2 }; /* from here on they are the filter's */

static void event_locked(Debug *s, const char *event)
{
    int state = s->state;
    bool arms = false;

    for (Rule *r = s->rule; r < s->rule + RULES_MAX; r++) {
        if (!r->event || strcmp(r->event, event) || (r->state && r->state != state))
            continue;
        if (r->new_state) {
            s->state = r->new_state;
            continue;
        }
        for (Rule *o = s->rule; !arms && o < s->rule + RULES_MAX; o++)
            o->armed = false; /* the latest event decides which errors there are */
        arms = r->armed = true;
    }
}

static int error_locked(Debug *s, const BlockReq *r)
{
    for (Rule *e = s->rule; e < s->rule + RULES_MAX; e++) {
        bool here = e->at < 0 || ((uint64_t)e->at >= r->at && (uint64_t)e->at < r->at + r->size);

        if (!e->event || !e->armed || !here || !(e->iotypes >> r->op & 1))
            continue;
        if (e->once)
            e->event = NULL;
        return -e->error;
    }
    return 0;
}

static void debug_fire(BlockNode *n, BlockEvent e);

/* By calls that wait: in pieces, and with an event behind. */
static void pieces_run(void *arg)
{
    BlockReq *r = arg;
    BlockNode *n = r->node;
    Debug *s = n->state;
    uint64_t most = s->max_transfer ? s->max_transfer : r->size;
    AUTO_FREE struct iovec *part = xnew_n(struct iovec, (size_t)r->n_iov + 1);
    int rc = 0;

    node_grow(n, r);
    for (uint64_t done = 0; done < r->size && !rc; done += most) {
        uint64_t len = MIN(most, r->size - done);
        int n_iov = r->n_iov ? iov_slice(r->iov, r->n_iov, done, len, part) : 0;

        rc = node_io(n->file, r->op, r->at + done, n_iov ? part : NULL, n_iov, len, r->flags);
    }
    if (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO)
        debug_fire(n, EVENT_PWRITEV_DONE);
    blockreq_complete(r, rc);
}

/* The breakpoint that an event meets. */
static Break *break_met_locked(Debug *s, const char *event)
{
    Break *b = s->breaks;

    while (b && (b->held || b->sleeper || b->event != event))
        b = b->next;
    if (b)
        printf("blkdebug: Suspended request '%s'\n", b->tag);
    return b;
}

static void debug_fire(BlockNode *n, BlockEvent e)
{
    Debug *s = n->state;
    Sleeper here = {0};
    Break *met = NULL;

    WITH_LOCK (&s->lock) {
        event_locked(s, event_names[e]);
        met = break_met_locked(s, event_names[e]);
        if (met)
            met->sleeper = &here;
    }
    if (!met)
        return;
    worker_waits(true);
    while (!atomic_load(&here.go))
        futex_wait(&here.go, 0);
    worker_waits(false);
}

static bool needs_pieces(const Debug *s, const BlockReq *r)
{
    if (s->wants_done && (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO) && r->size)
        return true;
    return s->max_transfer && r->size > s->max_transfer;
}

static void debug_go(BlockNode *n, BlockReq *r, unsigned stage)
{
    Debug *s = n->state;
    Break *met = NULL;
    int rc = 0;

    WITH_LOCK (&s->lock) {
        for (; !met && stage < STAGES; stage++) {
            BlockEvent e = events_of[r->op][stage];

            if (!e || e == EVENT_NONE)
                continue;
            event_locked(s, event_names[e]);
            met = break_met_locked(s, event_names[e]);
        }
        if (met) {
            met->held = r;
            met->stage = stage;
        } else {
            rc = error_locked(s, r);
        }
    }
    if (met)
        return;
    if (rc)
        blockreq_complete(r, rc);
    else if (!needs_pieces(s, r))
        node_forward(n->file, r, 0);
    else if (r->ctx)
        block_work(n->graph, pieces_run, r);
    else
        pieces_run(r);
}

static void debug_submit(BlockNode *n, BlockReq *r)
{
    debug_go(n, r, ((Debug *)n->state)->events.announced ? OWN_STAGE : 0);
}

/* --- breakpoints --- */

static BlockNode *debug_below(BlockNode *n)
{
    while (n && n->drv->submit != debug_submit)
        n = n->file;
    return n;
}

int blkdebug_break(BlockNode *n, const char *event, const char *tag)
{
    const char *known = name_of(event_names, event, NULL);
    Debug *s = (n = debug_below(n)) ? n->state : NULL;
    Break *b;

    if (!s)
        return -ENOTSUP;
    if (!known)
        return -ENOENT;
    b = xnew(Break);
    b->tag = xstrdup(tag);
    b->event = known;
    WITH_LOCK (&s->lock) {
        b->next = s->breaks;
        s->breaks = b;
        s->wants_done |= known == event_names[EVENT_PWRITEV_DONE];
    }
    return 0;
}

/* The first with this tag, out of the list. */
static Break *break_take(Debug *s, const char *tag, bool only_held)
{
    Break *b = NULL;

    WITH_LOCK (&s->lock)
        for (Break **at = &s->breaks; *at && !b; at = b ? at : &(*at)->next)
            if (!strcmp((*at)->tag, tag) && ((*at)->held || (*at)->sleeper || !only_held)) {
                b = *at;
                *at = b->next;
            }
    return b;
}

static int break_end(BlockNode *n, Break *b)
{
    BlockReq *r = b ? b->held : NULL;
    Sleeper *sleeper = b ? b->sleeper : NULL;
    unsigned stage = b ? b->stage : 0;

    if (!b)
        return -ENOENT;
    if (r || sleeper)
        printf("blkdebug: Resuming request '%s'\n", b->tag);
    xfree(b->tag);
    xfree(b);
    if (r)
        debug_go(n, r, stage);
    if (sleeper) {
        atomic_store(&sleeper->go, 1);
        futex_wake(
            &sleeper->go); /* whose stack it was on may be gone, which is fine with futexes */
    }
    return 0;
}

int blkdebug_remove_break(BlockNode *n, const char *tag)
{
    int rc;

    if (!(n = debug_below(n)))
        return -ENOTSUP;
    rc = break_end(n, break_take(n->state, tag, false));
    while (!rc && !break_end(n, break_take(n->state, tag, false)))
        continue;
    return rc;
}

int blkdebug_resume(BlockNode *n, const char *tag)
{
    n = debug_below(n);
    return n ? break_end(n, break_take(n->state, tag, true)) : -ENOTSUP;
}

bool blkdebug_is_suspended(BlockNode *n, const char *tag)
{
    Debug *s = (n = debug_below(n)) ? n->state : NULL;
    bool is = false;

    if (s)
        WITH_LOCK (&s->lock)
            for (const Break *b = s->breaks; b; b = b->next)
                is |= (b->held || b->sleeper) && !strcmp(b->tag, tag);
    return is;
}

/* --- the node --- */

typedef struct DebugOptions {
    char *config;
    uint64_t align, max_transfer;
    List inject, set;
} DebugOptions;
static LIST_TYPE(rule_list, &type_any);
#define PROP_RULES(m, nm, dc)                                                                      \
    {                                                                                              \
        .name = nm, .type = &rule_list, .doc = dc, .at = offsetof(DebugOptions, m), .count = 1,    \
        .use = FIELD_PROP                                                                          \
    }
static const Field debug_fields[] = {
    PROP_STR(DebugOptions, config, "config", NULL, "file with rules"),
    PROP_SIZE(DebugOptions, align, "align", 0, "requests are multiples of it, a power of two"),
    PROP_SIZE(DebugOptions, max_transfer, "max-transfer", 0, "larger requests are cut"),
    PROP_RULES(inject, "inject-error",
               "{event, state, iotype, errno, sector, once}: fail requests"),
    PROP_RULES(set, "set-state", "{event, state, new_state}: go to another state"),
};
static STRUCT_TYPE(debug_options_type, DebugOptions, debug_fields);

/* blkdebug:CONFIG:FILE */
static bool debug_parse(const char *filename, json_t *o, Error *err)
{
    const char *config = filename + strlen("blkdebug:"), *file = strchr(config, ':');
    json_t *image;

    if (!file)
        return error_set(err,
                         "blkdebug requires both config file and image path: blkdebug:CONFIG:FILE");
    image = block_protocol_options(file + 1, err);
    if (!image)
        return false;
    if (file > config)
        json_object_set_new(o, "config", json_stringn(config, (size_t)(file - config)));
    json_object_set_new(o, "image", image);
    return true;
}

static bool debug_open(BlockNode *n, const void *options, Error *err)
{
    const DebugOptions *o = options;
    Debug *s = n->state;

    lock_init(&s->lock, "blkdebug", RANK_QUEUE);
    s->state = 1;
    s->events.fire = debug_fire;
    n->events = &s->events;
    if ((o->config && !config_read(s, o->config, err)) || !rules_add(s, &o->inject, false, err) ||
        !rules_add(s, &o->set, true, err))
        return false;
    if (o->align & (o->align - 1) || o->align > 32 << 20)
        return error_set(err, "Cannot meet constraints with align %" PRIu64, o->align);
    if (o->max_transfer % MAX(o->align, (uint64_t)1))
        return error_set(err, "Cannot meet constraints with max-transfer %" PRIu64,
                         o->max_transfer);
    n->request_align = o->align ? (uint32_t)o->align : 1;
    s->max_transfer = o->max_transfer;
    n->size = n->file->size;
    if (!o->inject.n && !o->set.n && n->file->filename)
        n->filename = xasprintf("blkdebug:%s:%s", o->config ? o->config : "", n->file->filename);
    event_locked(s, "none");
    return true;
}

static void debug_close(BlockNode *n)
{
    Debug *s = n->state;

    while (s->breaks) { /* nothing is in flight, so nothing is held */
        Break *b = s->breaks;

        s->breaks = b->next;
        xfree(b->tag);
        xfree(b);
    }
    lock_fini(&s->lock);
}

static const ChildSlot debug_children[] = {
    {"image", ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};

static BlockDriver debug_driver = {
    .name = "blkdebug",
    .doc = "fails or holds requests by rules, for tests",
    .kind = DRIVER_FILTER,
    .options = &debug_options_type,
    .children = debug_children,
    .state_size = sizeof(Debug),
    .prefix = "blkdebug",
    .parse_filename = debug_parse,
    .open = debug_open,
    .close = debug_close,
    .submit = debug_submit,
};
BLOCK_DRIVER_REGISTER(debug_driver)
