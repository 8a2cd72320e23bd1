/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open - how names and options become nodes
 *
 * A node is opened from a JSON object as -blockdev has it; a child is an object within, or the name
 * of a node.  Names as people say them ("a.qcow2", "nbd:...", "json:{...}") become such objects
 * first.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/opts.h"
#include "base/opts_json.h"
#include "block/block_priv.h"
#include "block/open.h"

enum { PROBE_SIZE = 2048, CHAIN_MAX = 500 };

/* The images being opened, from the top: a backing file must not be one of them. */
typedef struct Chain {
    const char *filename;
    const struct Chain *up;
    unsigned depth;
} Chain;

static BlockNode *open_options(BlockGraph *g, json_t *options, uint32_t flags, const Chain *up,
                               Error *err);
static BlockNode *open_name(BlockGraph *g, const char *filename, const char *fmt, json_t *options,
                            uint32_t flags, const Chain *up, Error *err);

/* --- generic options --- */

static bool take_flag(json_t *o, const char *key, uint32_t bit, uint32_t *flags, Error *err)
{
    bool on = *flags & bit;

    if (!json_take_bool(o, key, &on, err))
        return false;
    *flags = on ? *flags | bit : *flags & ~bit;
    return true;
}

static bool take_choice(json_t *o, const char *key, const char *const *choices, int *out,
                        Error *err)
{
    AUTO_FREE char *v = json_take_str(o, key);

    for (int i = 0; v && choices[i]; i++)
        if (!strcmp(v, choices[i]) || (!strcmp(choices[i], "unmap") && !strcmp(v, "on") && i == 1 &&
                                       !strcmp(key, "discard"))) {
            *out = i;
            return true;
        }
    return !v || error_set(err, "Invalid parameter '%s': %s", key, v);
}

static bool take_generic(json_t *o, uint32_t *flags, int *detect, Error *err)
{
    static const char *const discard[] = {"ignore", "unmap", "off", "on", NULL};
    static const char *const zeroes[] = {"off", "on", "unmap", NULL};
    json_t *cache = json_take(o, "cache");
    int choice = *flags & NODE_UNMAP ? 1 : 0;
    bool ok = take_flag(o, "read-only", NODE_READ_ONLY, flags, err) &&
              take_flag(o, "auto-read-only", NODE_AUTO_READ_ONLY, flags, err) &&
              take_flag(o, "force-share", NODE_FORCE_SHARE, flags, err) &&
              take_choice(o, "discard", discard, &choice, err) &&
              take_choice(o, "detect-zeroes", zeroes, detect, err);

    *flags = choice & 1 ? *flags | NODE_UNMAP : *flags & ~(uint32_t)NODE_UNMAP;
    if (ok && cache)
        ok = json_is_object(cache)
                 ? take_flag(cache, "direct", NODE_NO_CACHE, flags, err) &&
                       take_flag(cache, "no-flush", NODE_NO_FLUSH, flags, err) &&
                       take_flag(cache, "writeback", 0, flags, err) && json_all_taken(cache, err)
                 : error_set(err, "Invalid parameter type for 'cache', expected: object");
    json_decref(cache);
    if (ok && *flags & NODE_FORCE_SHARE && !(*flags & NODE_READ_ONLY))
        ok = error_set(err, "force-share=on can only be used with read-only images");
    if (ok && *detect == 2 && !(*flags & NODE_UNMAP))
        ok = error_set(err, "setting detect-zeroes to unmap is not allowed without setting discard "
                            "operation to unmap");
    return ok;
}

/* What a child takes over from its parent. */
static uint32_t child_flags(uint32_t flags, const ChildSlot *slot)
{
    uint32_t f = flags & (NODE_READ_ONLY | NODE_FORCE_SHARE | NODE_NO_CACHE | NODE_NO_FLUSH |
                          NODE_NO_IO | NODE_NO_BACKING | NODE_AUTO_READ_ONLY);

    if (slot->role & ROLE_BACKING)
        return (f | NODE_READ_ONLY | (flags & NODE_UNMAP)) & ~(uint32_t)NODE_AUTO_READ_ONLY;
    if (slot->role & ROLE_FILTERED)
        return f | (flags & NODE_UNMAP);
    return f | NODE_UNMAP;
}

/* --- probing --- */

const BlockDriver *block_probe(BlockNode *file, const char *filename, Error *err)
{
    uint8_t head[PROBE_SIZE] = {0};
    size_t n = MIN((uint64_t)file->size, (uint64_t)sizeof head);
    const BlockDriver *best = block_driver_find("raw");
    int score = 0, rc = node_read(file, 0, head, n);

    if (rc) {
        error_set_errno(err, -rc, "Could not read image '%s' for determining its format", filename);
        return NULL;
    }
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));) {
        int s = d->probe ? d->probe(head, n, filename) : 0;

        if (s > score) {
            score = s;
            best = d;
        }
    }
    return best;
}

/* --- children --- */

static BlockNode *open_ref(BlockGraph *g, const char *name, Error *err)
{
    BlockNode *n = node_find(g, name);
    BlockPort *p = n ? NULL : port_find(g, name);

    n = p ? block_port_node(p) : n;
    if (!n)
        error_set(err, "Cannot find device='%s' nor node-name='%s'", name, name);
    return n ? node_ref(n) : NULL;
}

/* A file name without a driver, below a format, is a file: never guessed to be another format. */
static bool name_protocol(json_t *value, Error *err)
{
    AUTO_FREE char *filename =
        json_object_get(value, "driver") ? NULL : json_take_str(value, "filename");
    json_t *o = filename ? block_protocol_options(filename, err) : NULL;

    if (!filename)
        return true;
    if (o)
        json_object_update_missing(value, o);
    json_decref(o);
    return o;
}

/* @value: consumed. */
static bool open_child(BlockNode *n, const ChildSlot *s, json_t *value, const Chain *chain,
                       Error *err)
{
    BlockNode *child;
    bool ok;

    if (json_is_string(value)) {
        child = open_ref(n->graph, json_string_value(value), err);
        json_decref(value);
    } else if (json_is_object(value)) {
        if (n->drv->kind == DRIVER_FORMAT && !(s->role & ROLE_BACKING) &&
            !name_protocol(value, err)) {
            json_decref(value);
            return false;
        }
        child = open_options(n->graph, value, child_flags(n->flags, s), chain, err);
    } else {
        json_decref(value);
        return error_set(err, "Invalid parameter type for '%s', expected: string or object",
                         s->name);
    }
    ok = child && node_set_child(n, s->name, child, err);
    node_unref(child);
    return ok;
}

static bool open_children(BlockNode *n, json_t *o, const Chain *chain, Error *err)
{
    for (const ChildSlot *s = n->drv->children; s && s->name; s++) {
        json_t *v;

        if (s->role & ROLE_BACKING && n->drv->kind == DRIVER_FORMAT)
            continue; /* after open: the image knows its name */
        v = json_take(o, s->name);
        if (v && !json_is_null(v)) {
            if (!open_child(n, s, v, chain, err))
                return false;
        } else if (s->required) {
            json_decref(v);
            return error_set(err, "A block device must be specified for \"%s\"", s->name);
        } else {
            json_decref(v);
        }
    }
    return true;
}

static const ChildSlot *backing_slot(const BlockDriver *d)
{
    for (const ChildSlot *s = d->children; s && s->name; s++)
        if (s->role & ROLE_BACKING)
            return s;
    return NULL;
}

static bool open_backing(BlockNode *n, json_t *value, const Chain *chain, Error *err)
{
    const ChildSlot *s = backing_slot(n->drv);
    AUTO_FREE char *path = NULL;
    BlockNode *b;
    json_t *more = NULL;
    bool ok;

    if (json_is_null(value)) {
        json_decref(value);
        return true;
    }
    if (json_is_string(value) || (json_is_object(value) && json_object_get(value, "driver")))
        return open_child(n, s, value, chain, err);
    more = value; /* an object without driver adds to what the image says */
    if (n->flags & NODE_NO_BACKING || (!n->backing_file && !more)) {
        json_decref(more);
        return true;
    }
    if (!n->backing_file)
        return open_child(n, s, more, chain, err);
    path = block_path_combine(n->filename, n->backing_file);
    b = open_name(n->graph, path, n->backing_format, more, child_flags(n->flags, s), chain, err);
    ok = b && node_set_child(n, s->name, b, err);
    node_unref(b);
    return ok || error_prefix(err, "Could not open backing file: ");
}

/* --- one node --- */

static bool apply_options(BlockNode *n, json_t *o, void **state, Error *err)
{
    const Type *t = n->drv->options;
    const char *key;
    json_t *v;

    json_object_foreach (o, key, v)
        if (!t || !reflect_find(t, key, FIELD_PROP))
            return error_set(err, "Block %s '%s' does not support the option '%s'",
                             n->drv->kind == DRIVER_PROTOCOL ? "protocol" : "format", n->drv->name,
                             key);
    if (!t)
        return true;
    *state = xalloc(t->size);
    reflect_defaults(t, *state, FIELD_PROP);
    return opts_json_apply(t, *state, o, FIELD_PROP, err);
}

static bool check_read_only(BlockNode *n, Error *err)
{
    if (node_is_read_only(n))
        return true;
    for (const BlockChild *c = n->children; c; c = c->next) {
        if (c->role & ROLE_BACKING || !node_is_read_only(c->node))
            continue;
        if (!(n->flags & NODE_AUTO_READ_ONLY))
            return error_set(err, "Block node '%s' is read-only: open the image read-only, too",
                             c->node->name);
        n->flags |= NODE_READ_ONLY;
    }
    return true;
}

static bool open_filled(BlockNode *n, json_t *o, const Chain *up, Error *err)
{
    json_t *backing =
        backing_slot(n->drv) && n->drv->kind == DRIVER_FORMAT ? json_take(o, "backing") : NULL;
    void *state = NULL;
    Chain here = {.up = up, .depth = up ? up->depth + 1 : 0};
    bool ok;

    if (here.depth > CHAIN_MAX) {
        json_decref(backing);
        return error_set(err, "The chain of images is longer than %d", CHAIN_MAX);
    }
    ok = open_children(n, o, up, err) && check_read_only(n, err) &&
         apply_options(n, o, &state, err) && node_update_perm(n, err) &&
         n->drv->open(n, state, err);
    if (ok && !n->filename)
        node_refresh_filename(n);
    here.filename = n->filename;
    for (const Chain *c = up; c && ok; c = c->up)
        if (here.filename && !strcmp(c->filename ? c->filename : "", here.filename))
            ok = error_set(err, "The image '%s' is its own backing file", here.filename);
    if (ok && n->drv->kind == DRIVER_FORMAT && backing_slot(n->drv))
        ok = open_backing(n, json_incref(backing), &here, err);
    json_decref(backing);
    if (state) {
        reflect_free(n->drv->options, state);
        xfree(state);
    }
    return ok && node_update_perm(n, err);
}

static bool name_is_free(BlockGraph *g, const char *name, Error *err)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

    if (!n || name[n] || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", name[0]))
        return error_set(err, "Invalid node-name: '%s'", name);
    if (strlen(name) > 31)
        return error_set(err, "Node name too long: '%s' (at most 31 characters)", name);
    if (node_find(g, name))
        return error_set(err, "Duplicate nodes with node-name='%s'", name);
    if (port_find(g, name))
        return error_set(err, "node-name=%s is conflicting with a device id", name);
    return true;
}

static const BlockDriver *driver_named(const char *name, Error *err)
{
    const BlockDriver *d = block_driver_find(name), *k = NULL;
    const char *names[64], *near;
    unsigned n = 0;

    if (d)
        return d;
    while ((k = block_driver_next(k)) && n < COUNT_OF(names))
        names[n++] = k->name;
    near = nearest_name(name, names, n);
    error_set(err, "Unknown driver '%s'%s%s%s", name, near ? " (did you mean '" : "",
              near ? near : "", near ? "'?)" : "");
    return NULL;
}

/* No "driver": the child's contents decide. */
static const BlockDriver *driver_by_contents(BlockGraph *g, json_t *o, uint32_t flags,
                                             const Chain *up, Error *err)
{
    static const ChildSlot file_slot = {"file", ROLE_DATA | ROLE_META | ROLE_PRIMARY, true};
    json_t *file = json_take(o, "file");
    BlockNode *n = NULL;
    const BlockDriver *d = NULL;

    if (json_is_string(file)) {
        n = open_ref(g, json_string_value(file), err);
        json_decref(file);
    } else if (json_is_object(file)) {
        n = open_options(g, file, child_flags(flags, &file_slot), up, err);
    } else {
        json_decref(file);
        error_set(err, "Must specify either driver or file");
    }
    if (!n)
        return NULL;
    d = block_probe(n, n->filename ? n->filename : n->name, err);
    if (d)
        json_object_set_new(o, "file", json_string(n->name));
    n->refs += d != NULL; /* until the parent has it: see open_options */
    node_unref(n);
    return d;
}

/* Which driver, and its options nested; NULL: the message says why not. */
static json_t *nested(json_t *flat, Error *err)
{
    json_t *o = json_crumple(flat, err);

    json_decref(flat);
    return o;
}

static BlockNode *open_options(BlockGraph *g, json_t *flat, uint32_t flags, const Chain *up,
                               Error *err)
{
    json_t *o = nested(flat, err), *kept = NULL;
    AUTO_FREE char *driver = o ? json_take_str(o, "driver") : NULL;
    AUTO_FREE char *name = o ? json_take_str(o, "node-name") : NULL;
    AUTO_FREE char *filename = NULL;
    const BlockDriver *d = NULL;
    BlockNode *n = NULL, *held = NULL;
    int detect = 0;

    if (!o)
        return NULL;
    d = driver ? driver_named(driver, err) : NULL;
    if (driver && !d)
        goto out;
    if (!d || d->kind == DRIVER_FORMAT)
        filename = json_take_str(o, "filename"); /* "format over the file of that name" */
    if (filename) {
        n = open_name(g, filename, driver, json_incref(o), flags, up, err);
        goto out;
    }
    if (name && !name_is_free(g, name, err))
        goto out;
    kept = json_deep_copy(o);
    if (!take_generic(o, &flags, &detect, err))
        goto out;
    if (!d) {
        d = driver_by_contents(g, o, flags, up, err);
        if (!d)
            goto out;
        held = node_find(g, json_string_value(json_object_get(o, "file")));
        flags |= !strcmp(d->name, "raw") ? NODE_PROBED : 0;
    }
    n = node_new(g, d, name, flags);
    n->options = json_incref(kept);
    n->detect_zeroes = detect;
    if (!open_filled(n, o, up, err)) {
        node_unref(n);
        n = NULL;
    }
out:
    node_unref(held);
    json_decref(kept);
    json_decref(o);
    return n;
}

/* --- names --- */

bool filename_has_protocol(const char *filename)
{
    size_t n = strcspn(filename, ":/");

    return filename[n] == ':' && n > 0;
}

static const BlockDriver *protocol_of(const char *filename, Error *err)
{
    size_t n = strcspn(filename, ":/+");
    struct stat st;

    if (!filename_has_protocol(filename)) {
        bool device = !stat(filename, &st) && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));

        return block_driver_find(device ? "host_device" : "file");
    }
    for (const BlockDriver *d = NULL; (d = block_driver_next(d));) {
        const char *p = d->prefix;

        for (; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) /* "http,https" */
            if (strcspn(p, ",") == n && !strncmp(p, filename, n))
                return d;
    }
    error_set(err, "Unknown protocol '%.*s' in '%s' (a file of that name is ./%s)",
              (int)strcspn(filename, ":"), filename, filename, filename);
    return NULL;
}

/* The options of a protocol node for @filename. */
json_t *block_protocol_options(const char *filename, Error *err)
{
    const BlockDriver *d = protocol_of(filename, err);
    json_t *o = d ? json_object() : NULL;

    if (!d)
        return NULL;
    json_object_set_new(o, "driver", json_string(d->name));
    if (d->parse_filename) {
        if (!d->parse_filename(filename, o, err)) {
            json_decref(o);
            return NULL;
        }
    } else {
        json_object_set_new(o, "filename", json_string(filename));
    }
    return o;
}

static BlockNode *open_json_name(BlockGraph *g, const char *text, const char *fmt, json_t *options,
                                 uint32_t flags, const Chain *up, Error *err)
{
    json_error_t why;
    json_t *o = json_loads_lax(text, JSON_REJECT_DUPLICATES, &why);

    if (!json_is_object(o)) {
        error_set(err, "Could not parse the JSON options: %s", o ? "not an object" : why.text);
        json_decref(o);
        json_decref(options);
        return NULL;
    }
    if (options)
        json_object_update(o, options);
    json_decref(options);
    if (fmt && !json_object_get(o, "driver"))
        json_object_set_new(o, "driver", json_string(fmt));
    return open_options(g, o, flags, up, err);
}

static BlockNode *open_name(BlockGraph *g, const char *filename, const char *fmt, json_t *options,
                            uint32_t flags, const Chain *up, Error *err)
{
    const BlockDriver *d = fmt ? driver_named(fmt, err) : NULL;
    json_t *file, *sub;

    if (fmt && !d) {
        json_decref(options);
        return NULL;
    }
    if (!strncmp(filename, "json:", 5))
        return open_json_name(g, filename + 5, fmt, options, flags, up, err);
    file = block_protocol_options(filename, err);
    if (!file) {
        json_decref(options);
        return NULL;
    }
    if (!options)
        options = json_object();
    if (d && d->kind == DRIVER_PROTOCOL) {
        json_object_set_new(file, "driver", json_string(d->name));
        json_object_update(file, options);
        json_decref(options);
        return open_options(g, file, flags, up, err);
    }
    sub = json_object_get(options, "file");
    if (json_is_object(sub))
        json_object_update(file, sub);
    json_object_set_new(options, "file", file);
    if (d)
        json_object_set_new(options, "driver", json_string(d->name));
    return open_options(g, options, flags, up, err);
}

BlockNode *node_open(BlockGraph *g, json_t *options, uint32_t flags, Error *err)
{
    return open_options(g, options, flags, NULL, err);
}

BlockNode *node_open_image(BlockGraph *g, const char *filename, const char *fmt, json_t *options,
                           uint32_t flags, Error *err)
{
    return open_name(g, filename, fmt, options, flags, NULL, err);
}

char *block_path_combine(const char *base, const char *relative)
{
    const char *slash = base ? strrchr(base, '/') : NULL;

    if (relative[0] == '/' || filename_has_protocol(relative) || !slash ||
        !strncmp(base, "json:", 5))
        return xstrdup(relative);
    return xasprintf("%.*s%s", (int)(slash + 1 - base), base, relative);
}

/* A node whose options say no more than its file's name is called like that. */
void node_refresh_filename(BlockNode *n)
{
    const BlockNode *below = n->file ? n->file : n->children ? n->children->node : NULL;
    bool plain = below && below->filename && n->drv->kind == DRIVER_FORMAT;
    const char *key;
    json_t *o, *v;
    char *text;

    json_object_foreach (n->options, key, v)
        if (n->drv->options && reflect_find(n->drv->options, key, FIELD_PROP))
            plain = false;
    xfree(n->filename);
    if (plain) {
        n->filename = xstrdup(below->filename);
        return;
    }
    o = n->options ? json_deep_copy(n->options) : json_object();
    json_object_set_new(o, "driver", json_string(n->drv->name));
    for (const BlockChild *c = n->children; c; c = c->next)
        if (!(c->role & ROLE_BACKING) && c->node->options) {
            json_t *sub = json_deep_copy(c->node->options);

            json_object_set_new(sub, "driver", json_string(c->node->drv->name));
            json_object_set_new(o, c->name, sub);
        }
    text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    n->filename = xasprintf("json:%s", text ? text : "{}");
    free(text);
    json_decref(o);
}

BlockNode *block_create_file(BlockGraph *g, const char *filename, uint64_t size, json_t *options,
                             Error *err)
{
    const BlockDriver *d = protocol_of(filename, err);
    json_t *o = d ? json_object() : NULL;
    bool ok;

    if (d && !d->create_file) {
        error_set(err, "Driver '%s' cannot create images (format the existing one in place)",
                  d->name);
        json_decref(o);
        return NULL;
    }
    if (!d)
        return NULL;
    if (options)
        json_object_update(o, options);
    json_object_set_new(o, "size", json_integer((json_int_t)size));
    ok = d->create_file(g, filename, o, err);
    json_decref(o);
    if (!ok)
        return NULL;
    return open_name(g, filename, d->name, NULL, NODE_UNMAP, NULL, err);
}
