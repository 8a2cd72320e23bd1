/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chardev_cmds - character devices by QMP: chardev-add and its kin, ringbuf-read and -write */
#include "base/alloc.h"
#include "base/base64.h"
#include "chardev/backend_type.h"
#include "chardev/chardev.h"
#include "chardev/ringbuf.h"
#include "core/command.h"
#include "core/machine.h"

/* --- chardev-add, chardev-change --- */

typedef struct AddArgs {
    char *id;
    json_t *backend;
} AddArgs;
static const Field add_fields[] = {
    ARG(AddArgs, id, "id", "its name"),
    ARG_TYPE(AddArgs, backend, "backend", &chardev_backend_type, "its kind and options"),
};
static STRUCT_TYPE(add_type, AddArgs, add_fields);

typedef struct AddReturn {
    char *pty;
} AddReturn;
static const Field add_return_fields[] = {
    ARG_STR_OPT(AddReturn, pty, "pty", "the terminal that a pty is"),
};
static STRUCT_TYPE(add_return_type, AddReturn, add_return_fields);

static json_t *add_props(const AddArgs *a)
{
    json_t *j = json_deep_copy(a->backend);

    json_object_set_new(j, "id", json_string(a->id));
    return j;
}

/* What a new pty is called. */
static void fill_return(Machine *m, const char *id, AddReturn *r)
{
    Chardev *c = chardev_back_end(m->chardevs, id, NULL);
    char *text = c && c->ops->describe ? c->ops->describe(c) : NULL;

    if (text && !strncmp(text, "pty:", 4))
        r->pty = xstrdup(text + 4);
    xfree(text);
}

static bool add(Machine *m, void *args, void *ret, Error *err)
{
    AddArgs *a = args;
    json_t *j = add_props(a);
    bool ok = chardev_add_json(m->chardevs, j, err);

    if (ok)
        fill_return(m, a->id, ret);
    json_decref(j);
    return ok;
}
COMMAND(chardev_add, .name = "chardev-add", .args = &add_type, .ret = &add_return_type, .run = add,
        .doc = "Make a character device.")

static bool change(Machine *m, void *args, void *ret, Error *err)
{
    AddArgs *a = args;
    json_t *j = add_props(a);
    bool ok = chardev_change(m->chardevs, j, err);

    if (ok)
        fill_return(m, a->id, ret);
    json_decref(j);
    return ok;
}
COMMAND(chardev_change, .name = "chardev-change", .args = &add_type, .ret = &add_return_type,
        .run = change, .doc = "Give a character device another back end.")

/* --- chardev-remove, chardev-send-break --- */

typedef struct IdArgs {
    char *id;
} IdArgs;
static const Field id_fields[] = {ARG(IdArgs, id, "id", "its name")};
static STRUCT_TYPE(id_type, IdArgs, id_fields);

static bool remove_one(Machine *m, void *args, void *ret, Error *err)
{
    (void)ret;
    return chardev_remove(m->chardevs, ((IdArgs *)args)->id, err);
}
COMMAND(chardev_remove, .name = "chardev-remove", .args = &id_type, .run = remove_one,
        .doc = "Remove a character device that nobody uses.")

static bool send_break(Machine *m, void *args, void *ret, Error *err)
{
    (void)ret;
    return chardev_send_break(m->chardevs, ((IdArgs *)args)->id, err);
}
COMMAND(chardev_send_break, .name = "chardev-send-break", .args = &id_type, .run = send_break,
        .doc = "Send a break to the front end of a character device.")

/* --- questions --- */

typedef struct Info {
    char *label, *filename;
    bool open;
} Info;
static const Field info_fields[] = {
    ARG(Info, label, "label", "its name"),
    ARG(Info, filename, "filename", "where it goes"),
    ARG(Info, open, "frontend-open", "somebody uses it"),
};
static STRUCT_TYPE(info_type, Info, info_fields);
static LIST_TYPE(info_list, &info_type);

static bool query(Machine *m, void *args, void *ret, Error *err)
{
    json_t *list = chardevs_query(m->chardevs), *one;
    size_t i;

    (void)args;
    (void)err;
    json_array_foreach (list, i, one) {
        Info *info = list_add(ret, &info_type);

        info->label = xstrdup(json_string_value(json_object_get(one, "label")));
        info->filename = xstrdup(json_string_value(json_object_get(one, "filename")));
        info->open = json_is_true(json_object_get(one, "frontend-open"));
    }
    json_decref(list);
    return true;
}
COMMAND(query_chardev, .name = "query-chardev", .ret = &info_list, .run = query,
        .flags = COMMAND_PRECONFIG, .doc = "The character devices.")

typedef struct Kind {
    char *name;
} Kind;
static const Field kind_fields[] = {ARG(Kind, name, "name", "as in chardev-add")};
static STRUCT_TYPE(kind_type, Kind, kind_fields);
static LIST_TYPE(kind_list, &kind_type);

static bool query_kinds(Machine *m, void *args, void *ret, Error *err)
{
    (void)m;
    (void)args;
    (void)err;
    for (const ChardevClass *c = chardev_class_next(NULL); c; c = chardev_class_next(c))
        if (!c->missing)
            ((Kind *)list_add(ret, &kind_type))->name = xstrdup(c->name);
    return true;
}
COMMAND(query_chardev_backends, .name = "query-chardev-backends", .ret = &kind_list,
        .run = query_kinds, .flags = COMMAND_PRECONFIG, .doc = "The kinds of character devices.")

/* --- ring buffers --- */

enum { FORMAT_UTF8, FORMAT_BASE64, RINGBUF_READ_MAX = 1 << 20 };
static const char *const format_names[] = {"utf8", "base64", NULL};
static ENUM_TYPE(format_type, DataFormat, format_names);

typedef struct RingArgs {
    char *device, *data;
    uint64_t size;
    bool has_format;
    uint32_t format;
} RingArgs;
static const Field read_fields[] = {
    ARG(RingArgs, device, "device", "the ring buffer"),
    ARG(RingArgs, size, "size", "at most so many bytes"),
    ARG_TYPE_OPT(RingArgs, format, "format", &format_type, "utf8 (default) or base64"),
};
static const Field write_fields[] = {
    ARG(RingArgs, device, "device", "the ring buffer"),
    ARG(RingArgs, data, "data", "what to add to it"),
    ARG_TYPE_OPT(RingArgs, format, "format", &format_type, "utf8 (default) or base64"),
};
static STRUCT_TYPE(read_type, RingArgs, read_fields);
static STRUCT_TYPE(write_type, RingArgs, write_fields);

static Chardev *find_ring(Machine *m, const char *id, Error *err)
{
    Chardev *c = chardev_back_end(m->chardevs, id, NULL);

    if (!c)
        error_set(err, "Device '%s' not found", id);
    else if (!chardev_is_ringbuf(c))
        error_set(err, "%s is not a ringbuf device", id);
    return c && chardev_is_ringbuf(c) ? c : NULL;
}

/* Text with what is not UTF-8 replaced, as JSON wants it; NUL bytes end it. */
static char *utf8_of(const uint8_t *p, size_t n)
{
    StrBuf b = {0};

    for (size_t i = 0; i < n;) {
        size_t len = p[i] < 0x80 ? 1 : p[i] >= 0xf0 ? 4 : p[i] >= 0xe0 ? 3 : p[i] >= 0xc2 ? 2 : 0;
        json_t *good = len && p[i] && i + len <= n ? json_stringn((const char *)p + i, len) : NULL;

        if (good)
            strbuf_addn(&b, (const char *)p + i, len);
        else
            strbuf_add(&b, "\xef\xbf\xbd");
        i += good ? len : 1;
        json_decref(good);
    }
    return b.s ? strbuf_take(&b) : xstrdup("");
}

static bool ring_read(Machine *m, void *args, void *ret, Error *err)
{
    RingArgs *a = args;
    Chardev *c = find_ring(m, a->device, err);
    size_t n = MIN(a->size, (uint64_t)RINGBUF_READ_MAX);
    uint8_t *buf;
    StrBuf b = {0};

    if (!c)
        return false;
    if (!a->size)
        return error_set(err, "size must be greater than zero");
    buf = xalloc(n + 1);
    n = ringbuf_read(c, buf, n);
    if (a->has_format && a->format == FORMAT_BASE64) {
        base64_encode(buf, n, &b);
        *(char **)ret = b.s ? strbuf_take(&b) : xstrdup("");
    } else {
        *(char **)ret = utf8_of(buf, n);
    }
    xfree(buf);
    return true;
}
COMMAND(ringbuf_read, .name = "ringbuf-read", .args = &read_type, .ret = &type_str,
        .run = ring_read, .doc = "Take bytes out of a ring buffer.")

static bool ring_write(Machine *m, void *args, void *ret, Error *err)
{
    RingArgs *a = args;
    Chardev *c = find_ring(m, a->device, err);
    ssize_t n = (ssize_t)strlen(a->data);

    (void)ret;
    if (!c)
        return false;
    if (a->has_format && a->format == FORMAT_BASE64 &&
        (n = base64_decode((uint8_t *)a->data, (size_t)n)) < 0)
        return error_set(err, "Base64 data is not valid");
    chardev_write(c, (uint8_t *)a->data, (size_t)n); /* as if the front end had written it */
    return true;
}
COMMAND(ringbuf_write, .name = "ringbuf-write", .args = &write_type, .run = ring_write,
        .doc = "Add bytes to a ring buffer.")
