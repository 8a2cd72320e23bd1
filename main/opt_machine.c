/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_machine - -machine, -accel, -cpu, -smp, -m, -rtc */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "main/options.h"

/* Parameters that change nothing here, or nothing that is built: accepted with any value, or only
 * this one. */
typedef struct Harmless {
    const char *key, *only;
} Harmless;

static const Harmless machine_harmless[] = {
    {"kernel_irqchip", NULL},
    {"vmport", NULL},
    {"dump-guest-core", NULL},
    {"mem-merge", NULL},
    {"graphics", NULL},
    {"suppress-vmdesc", NULL},
    {"aes-key-wrap", NULL},
    {"dea-key-wrap", NULL},
    {"usb", "off"},
    {"smm", "off"},
    {"nvdimm", "off"},
    {"hmat", "off"},
    {"i8042", "off"},
    {"smbus", "off"},
    {"pcspk-audiodev", ""},
    {NULL, NULL},
};
static const Harmless accel_harmless[] = {{"split-wx", NULL}, {NULL, NULL}};

/* 1: take it and forget it.  0: not in the table.  -1: that value is not built. */
static int harmless(const Harmless *table, const Opt *o, Error *err)
{
    for (; table->key; table++) {
        if (!name_is(table->key, o->key))
            continue;
        if (!table->only || !strcmp(table->only, o->value))
            return 1;
        error_set(err, "%s=%s is not built yet", o->key, o->value);
        return -1;
    }
    return 0;
}

bool opt_machine(Config *c, const char *arg, Error *err)
{
    const char *value;
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, "type", err))
        return false;
    if ((value = opts_get(&o, "type"))) {
        if (is_help(value)) {
            list_boards(c);
            c->done = true;
        }
        set_text(&c->board, value);
    }
    if ((value = opts_get(&o, "accel")))
        set_text(&c->accels, value);
    for (unsigned i = 0; i < o.n && ok; i++) {
        int known = o.o[i].used ? 1 : harmless(machine_harmless, &o.o[i], err);

        ok = known >= 0;
        if (known == 0) {
            Opt *mine = xrealloc(c->board_opts.o, (c->board_opts.n + 1) * sizeof *mine);

            c->board_opts.o = mine;
            mine[c->board_opts.n++] =
                (Opt){.key = xstrdup(o.o[i].key), .value = xstrdup(o.o[i].value)};
        }
    }
    opts_free(&o);
    return ok;
}

/* --- accelerators --- */

static bool accel_size(Config *c, const char *value, Error *err)
{
    if (!parse_size(value, 'M', &c->mc.tb_size) || c->mc.tb_size < MIB || c->mc.tb_size > 2 * GIB)
        return error_set(err, "tb-size=%s is not a size of 1 to 2048 (MiB)", value);
    return true;
}

static bool accel_choice(const char *key, const char *value, const char *no, const char *yes,
                         int *out, Error *err)
{
    if (strcmp(value, no) && strcmp(value, yes))
        return error_set(err, "%s=%s is neither %s nor %s", key, value, no, yes);
    *out = !strcmp(value, yes);
    return true;
}

static bool accel_properties(Config *c, Opts *o, Error *err)
{
    const char *size = opts_get(o, "tb-size"), *thread = opts_get(o, "thread"),
               *backend = opts_get(o, "backend");
    int interp = c->mc.backend_interp;

    if (size && !accel_size(c, size, err))
        return false;
    if (thread && !accel_choice("thread", thread, "multi", "single", &c->mc.thread_single, err))
        return false;
    if (backend && !accel_choice("backend", backend, "x64", "interp", &interp, err))
        return false;
    c->mc.backend_interp = interp;
    for (unsigned i = 0; i < o->n; i++) {
        int known = o->o[i].used ? 1 : harmless(accel_harmless, &o->o[i], err);

        if (known == 0)
            return error_set(err, "there is no property '%s' (thread, tb-size, backend)",
                             o->o[i].key);
        if (known < 0)
            return false;
    }
    return true;
}

bool opt_accel(Config *c, const char *arg, Error *err)
{
    const char *name;
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, "accel", err))
        return false;
    name = opts_get(&o, "accel");
    if (name && is_help(name)) {
        list_accels();
        c->done = true;
    } else if (!name) {
        ok = error_set(err, "names no accelerator");
    } else if (!c->accels) {
        set_text(&c->accels, name); /* of several -accel the first that works counts */
    } else {
        AUTO_FREE char *both = xasprintf("%s:%s", c->accels, name);

        set_text(&c->accels, both);
    }
    ok = ok && (c->done || accel_properties(c, &o, err));
    opts_free(&o);
    return ok;
}

bool opt_enable_kvm(Config *c, const char *arg, Error *err)
{
    return opt_accel(c, arg ? arg : "kvm", err);
}

bool opt_cpu(Config *c, const char *arg, Error *err)
{
    (void)err;
    if (is_help(arg)) {
        list_cpus(c);
        c->done = true;
    }
    set_text(&c->mc.cpu_model, arg);
    return true;
}

/* --- processors --- */

enum { SMP_CPUS, SMP_MAX, SMP_SOCKETS, SMP_DIES, SMP_CORES, SMP_THREADS, SMP_CLUSTERS, SMP_KEYS };
static const char *const smp_keys[SMP_KEYS] = {"cpus",  "maxcpus", "sockets", "dies",
                                               "cores", "threads", "clusters"};
enum { SMP_LIMIT = 1 << 16 };

/* What is not given is computed: cores rather than sockets, one of everything else. */
static bool smp_complete(uint64_t *v, Error *err)
{
    uint64_t max, product;

    v[SMP_DIES] += !v[SMP_DIES];
    max = v[SMP_MAX] ? v[SMP_MAX] : v[SMP_CPUS];
    if (!max) {
        v[SMP_SOCKETS] += !v[SMP_SOCKETS];
        v[SMP_CORES] += !v[SMP_CORES];
        v[SMP_THREADS] += !v[SMP_THREADS];
    } else if (!v[SMP_CORES]) {
        v[SMP_SOCKETS] += !v[SMP_SOCKETS];
        v[SMP_THREADS] += !v[SMP_THREADS];
        v[SMP_CORES] = max / (v[SMP_SOCKETS] * v[SMP_DIES] * v[SMP_THREADS]);
    } else if (!v[SMP_SOCKETS]) {
        v[SMP_THREADS] += !v[SMP_THREADS];
        v[SMP_SOCKETS] = max / (v[SMP_DIES] * v[SMP_CORES] * v[SMP_THREADS]);
    } else if (!v[SMP_THREADS]) {
        v[SMP_THREADS] = max / (v[SMP_SOCKETS] * v[SMP_DIES] * v[SMP_CORES]);
    }
    product = v[SMP_SOCKETS] * v[SMP_DIES] * v[SMP_CORES] * v[SMP_THREADS];
    if (!max)
        max = product;
    v[SMP_MAX] = max;
    v[SMP_CPUS] = v[SMP_CPUS] ? v[SMP_CPUS] : max;
    if (product != max)
        return error_set(err,
                         "sockets (%" PRIu64 ") * dies (%" PRIu64 ") * cores (%" PRIu64
                         ") * threads (%" PRIu64 ") is not maxcpus (%" PRIu64 ")",
                         v[SMP_SOCKETS], v[SMP_DIES], v[SMP_CORES], v[SMP_THREADS], max);
    if (v[SMP_CPUS] > max)
        return error_set(err, "maxcpus (%" PRIu64 ") is below cpus (%" PRIu64 ")", max,
                         v[SMP_CPUS]);
    return true;
}

bool opt_smp(Config *c, const char *arg, Error *err)
{
    uint64_t v[SMP_KEYS] = {0};
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, "cpus", err))
        return false;
    for (unsigned i = 0; i < SMP_KEYS && ok; i++) {
        const char *text = opts_get(&o, smp_keys[i]);

        if (text && (!parse_u64(text, &v[i]) || v[i] == 0 || v[i] > SMP_LIMIT))
            ok = error_set(err, "%s=%s is not a number from 1 to %d", smp_keys[i], text, SMP_LIMIT);
    }
    ok = ok && opts_all_used(&o, err);
    opts_free(&o);
    if (ok && v[SMP_CLUSTERS] > 1)
        ok = error_set(err, "clusters are not supported by x86 boards");
    if (!ok || !smp_complete(v, err))
        return false;
    c->mc.cpus = (unsigned)v[SMP_CPUS];
    c->mc.max_cpus = (unsigned)v[SMP_MAX];
    c->mc.sockets = (unsigned)v[SMP_SOCKETS];
    c->mc.dies = (unsigned)v[SMP_DIES];
    c->mc.cores = (unsigned)v[SMP_CORES];
    c->mc.threads = (unsigned)v[SMP_THREADS];
    return true;
}

/* --- memory --- */

bool opt_memory(Config *c, const char *arg, Error *err)
{
    const char *size, *max;
    uint64_t bytes = 0;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, "size", err))
        return false;
    size = opts_get(&o, "size");
    max = opts_get(&o, "maxmem");
    opts_get(&o, "slots");
    ok = opts_all_used(&o, err);
    if (ok && size && !parse_size(size, 'M', &bytes))
        ok = error_set(err, "'%s' is not a size", size);
    if (ok && max)
        ok = error_set(err, "memory that is plugged in later (maxmem) is not built yet");
    if (ok && bytes > INT64_MAX)
        ok = error_set(err, "that is more than any board takes");
    opts_free(&o);
    if (ok && bytes)
        c->mc.ram_size = ALIGN_UP(bytes, (uint64_t)8192);
    return ok;
}

/* --- time --- */

static bool rtc_base(Config *c, const char *base, Error *err)
{
    time_t now = time(NULL), then;
    struct tm tm = {0};
    const char *end;

    c->mc.rtc_utc = strcmp(base, "localtime") != 0;
    c->mc.rtc_offset_s = 0;
    if (!strcmp(base, "utc"))
        return true;
    if (!c->mc.rtc_utc) {
        localtime_r(&now, &tm);
        c->mc.rtc_offset_s = tm.tm_gmtoff;
        return true;
    }
    end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end)
        end = strptime(base, "%Y-%m-%d", &tm);
    if (!end || *end || (then = timegm(&tm)) == (time_t)-1)
        return error_set(err, "base=%s is none of utc, localtime, YYYY-MM-DD[THH:MM:SS]", base);
    c->mc.rtc_offset_s = then - now;
    return true;
}

bool opt_rtc(Config *c, const char *arg, Error *err)
{
    const char *base, *clock, *drift;
    bool ok = true;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    base = opts_get(&o, "base");
    clock = opts_get(&o, "clock");
    drift = opts_get(&o, "driftfix");
    if (base)
        ok = rtc_base(c, base, err);
    if (ok && clock && strcmp(clock, "host"))
        ok = error_set(err, "clock=%s is not built yet (host)", clock);
    if (ok && drift && strcmp(drift, "none") && strcmp(drift, "slew"))
        ok = error_set(err, "driftfix=%s is neither none nor slew", drift);
    ok = ok && opts_all_used(&o, err);
    opts_free(&o);
    return ok;
}
