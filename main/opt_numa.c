/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opt_numa - -numa: nodes of memory and processors, and how far apart they are
 *
 * Unlike QEMU 7.2's machine types mem= is taken: the nodes are pieces of one memory then.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/memory_backend.h"
#include "main/setup.h"

enum { NUMA_CPUS_MAX = 256, LOCAL = 10 };

static bool node_number(Opts *o, const char *key, unsigned fallback, unsigned *out, Error *err)
{
    const char *text = opts_get(o, key);
    uint64_t v = fallback;

    if (text && !parse_u64(text, &v))
        return error_set(err, "%s=%s is not a number", key, text);
    if (v >= NUMA_NODES_MAX)
        return error_set(err, "Max number of NUMA nodes reached: %" PRIu64 " (at most %d)", v,
                         NUMA_NODES_MAX);
    *out = (unsigned)v;
    return true;
}

static bool is_node(const Config *c, unsigned id)
{
    return c->numa_seen >> id & 1;
}

static int node_of(const Config *c, unsigned cpu)
{
    for (unsigned n = 0; n < c->mc.n_numa; n++)
        if (c->mc.numa[n].cpus[cpu / 64] >> (cpu % 64) & 1)
            return (int)n;
    return -1;
}

static bool assign_cpu(Config *c, unsigned cpu, unsigned node, Error *err)
{
    int now = node_of(c, cpu);

    if (now >= 0 && now != (int)node)
        return error_set(err, "CPU is already assigned to node-id: %d", now);
    c->mc.numa[node].cpus[cpu / 64] |= 1ull << (cpu % 64);
    return true;
}

/* "0-3" or "2"; the key may come several times. */
static bool node_cpus(Config *c, unsigned node, const Opts *o, Error *err)
{
    for (unsigned i = 0; i < o->n; i++) {
        unsigned long first, last;
        char *end;

        if (strcmp(o->o[i].key, "cpus"))
            continue;
        first = last = strtoul(o->o[i].value, &end, 10);
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        if (*end || end == o->o[i].value || first > last || last >= NUMA_CPUS_MAX)
            return error_set(err, "cpus=%s is not a processor number or a range of them",
                             o->o[i].value);
        for (; first <= last; first++)
            if (!assign_cpu(c, (unsigned)first, node, err))
                return false;
    }
    return true;
}

static bool add_node(Config *c, Opts *o, Error *err)
{
    const char *mem = opts_get(o, "mem"), *memdev = opts_get(o, "memdev");
    unsigned id, next = (unsigned)__builtin_ctz(~c->numa_seen);
    NumaNode *n;

    opts_get(o, "cpus");
    if (opts_get(o, "initiator"))
        return error_set(err, "initiator= is for HMAT, which is not built; leave it out");
    if (!node_number(o, "nodeid", next, &id, err) || !opts_all_used(o, err))
        return false;
    if (is_node(c, id))
        return error_set(err, "Duplicate NUMA nodeid: %u", id);
    if (mem && memdev)
        return error_set(err, "cannot specify both mem= and memdev=");
    n = &c->mc.numa[id];
    if (mem && !parse_size(mem, 'M', &n->mem))
        return error_set(err, "mem=%s is not a size", mem);
    n->memdev = xstrdup(memdev);
    c->numa_seen |= 1u << id;
    c->mc.n_numa = MAX(c->mc.n_numa, id + 1);
    return node_cpus(c, id, o, err);
}

static bool add_distance(Config *c, Opts *o, Error *err)
{
    const char *text = opts_get(o, "val");
    unsigned from, to;
    uint64_t v;

    if (!node_number(o, "src", 0, &from, err) || !node_number(o, "dst", 0, &to, err) ||
        !opts_all_used(o, err))
        return false;
    if (!is_node(c, from) || !is_node(c, to))
        return error_set(err, "Source/Destination NUMA node is missing. Please use '-numa node' "
                              "option to declare it first.");
    if (!text || !parse_u64(text, &v) || v < LOCAL || v > UINT8_MAX || (from == to && v != LOCAL))
        return error_set(err, "NUMA distance (%s) is invalid: 10 to itself, else 10 to 255",
                         text ? text : "");
    c->mc.numa[from].distance[to] = (uint8_t)v;
    return true;
}

/* Looked at when all options are known: -smp says which processors there are. */
static bool add_cpus(Config *c, Opts *o, const char *arg, Error *err)
{
    static const char *const keys[] = {"socket-id", "die-id", "core-id", "thread-id"};
    unsigned node;

    for (unsigned i = 0; i < COUNT_OF(keys); i++)
        opts_get(o, keys[i]);
    if (!opts_get(o, "node-id"))
        return error_set(err, "Missing mandatory node-id property");
    if (!node_number(o, "node-id", 0, &node, err) || !opts_all_used(o, err))
        return false;
    if (!is_node(c, node))
        return error_set(err,
                         "Invalid node-id=%u, NUMA node must be defined with -numa node,"
                         "nodeid=ID before it's used with -numa cpu,node-id=ID",
                         node);
    text_add(&c->numa_cpus, arg);
    return true;
}

OPT(opt_numa)
{
    const char *type;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, "type", err))
        return false;
    type = opts_get(&o, "type");
    if (type && !strcmp(type, "node"))
        ok = add_node(c, &o, err);
    else if (type && !strcmp(type, "dist"))
        ok = add_distance(c, &o, err);
    else if (type && !strcmp(type, "cpu"))
        ok = add_cpus(c, &o, arg, err);
    else if (type && !strncmp(type, "hmat-", 5))
        ok = error_set(err,
                       "'%s' is not built: there is no HMAT; -numa dist says how far nodes "
                       "are apart",
                       type);
    else
        ok = value_refused("type", type ? type : "", err);
    opts_free(&o);
    return ok;
}

/* --- when all options are known --- */

/* Does the place of processor @cpu fit what "-numa cpu" says? */
static bool cpu_fits(const Config *c, unsigned cpu, Opts *o)
{
    const MachineConfig *m = &c->mc;
    const struct {
        const char *key;
        unsigned is;
    } ids[] = {{"socket-id", cpu / m->threads / m->cores / m->dies},
               {"die-id", cpu / m->threads / m->cores % m->dies},
               {"core-id", cpu / m->threads % m->cores},
               {"thread-id", cpu % m->threads}};

    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        const char *text = opts_get(o, ids[i].key);
        uint64_t v;

        if (text && (!parse_u64(text, &v) || v != ids[i].is))
            return false;
    }
    return true;
}

static bool assign_places(Config *c, const char *arg, Error *err)
{
    bool ok, found = false;
    unsigned node;
    Opts o;

    if (!opts_parse(&o, arg, "type", err))
        return false;
    ok = node_number(&o, "node-id", 0, &node, err);
    for (unsigned i = 0; i < c->mc.max_cpus && ok; i++)
        if (cpu_fits(c, i, &o)) {
            ok = assign_cpu(c, i, node, err);
            found = true;
        }
    if (ok && !found)
        ok = error_set(err, "no match found");
    opts_free(&o);
    return ok || error_prefix(err, "-numa %s: ", arg);
}

/* Nobody said where the processors are: by sockets.  Somebody did, but not of all: in node 0. */
static bool assign_the_rest(Config *c, Error *err)
{
    const MachineConfig *m = &c->mc;
    unsigned left = 0, last = 0, limit = MIN(m->max_cpus, (unsigned)NUMA_CPUS_MAX);

    for (unsigned i = m->max_cpus; i < NUMA_CPUS_MAX; i++)
        if (node_of(c, i) >= 0)
            return error_set(err, "-numa: CPU index (%u) should be smaller than maxcpus (%u)", i,
                             m->max_cpus);
    for (unsigned i = 0; i < limit; i++)
        if (node_of(c, i) < 0) {
            left++;
            last = i;
        }
    if (left && left < limit)
        log_warn("%u CPU(s) not present in any NUMA node, such as CPU %u: in node 0 then", left,
                 last);
    for (unsigned i = 0; i < limit; i++) {
        unsigned socket = i / m->threads / m->cores / m->dies;

        if (node_of(c, i) < 0)
            assign_cpu(c, i, left < limit ? 0 : socket % m->n_numa, NULL);
    }
    return true;
}

/* One direction counts for both, unless some pair differs: then all are needed. */
static bool complete_distances(MachineConfig *m, Error *err)
{
    bool any = false, uneven = false;

    for (unsigned i = 0; i < m->n_numa * m->n_numa; i++) {
        uint8_t there = m->numa[i / m->n_numa].distance[i % m->n_numa],
                back = m->numa[i % m->n_numa].distance[i / m->n_numa];

        any |= there;
        uneven |= there && back && there != back;
    }
    for (unsigned i = 0; any && i < m->n_numa * m->n_numa; i++) {
        unsigned from = i / m->n_numa, to = i % m->n_numa;
        uint8_t *there = &m->numa[from].distance[to], back = m->numa[to].distance[from];

        if (from == to)
            *there = LOCAL;
        if (!*there && !back)
            return error_set(err,
                             "-numa: The distance between node %u and %u is missing, at least "
                             "one distance value between each nodes should be provided.",
                             from, to);
        if (!*there && uneven)
            return error_set(err,
                             "-numa: At least one asymmetrical pair of distances is given, "
                             "please provide distances for both directions of all node pairs "
                             "(that from %u to %u is missing).",
                             from, to);
        *there = *there ? *there : back;
    }
    return true;
}

bool numa_complete(Config *c, Error *err)
{
    unsigned missing = (unsigned)__builtin_ctz(~c->numa_seen);

    if (!c->mc.n_numa)
        return true;
    if (missing < c->mc.n_numa)
        return error_set(err, "numa: Node ID missing: %u", missing);
    for (unsigned i = 0; i < c->numa_cpus.n; i++)
        if (!assign_places(c, c->numa_cpus.s[i], err))
            return false;
    return assign_the_rest(c, err) && complete_distances(&c->mc, err);
}

bool numa_memory(Machine *m, Error *err)
{
    MachineConfig *c = &m->cfg;
    uint64_t sum = 0;
    unsigned devices = 0;

    for (unsigned i = 0; i < c->n_numa; i++) {
        NumaNode *n = &c->numa[i];

        if (n->memdev && !(n->mem = memory_backend_size(m->objects, n->memdev)))
            return error_set(err, "-numa node,memdev=%s: there is no memory backend of that id",
                             n->memdev);
        if (n->mem % 4096)
            return error_set(err, "-numa: the memory of node %u is not a multiple of 4 KiB", i);
        devices += n->memdev != NULL;
        sum += n->mem;
    }
    for (unsigned i = 0; i < c->n_numa; i++)
        if (devices && c->numa[i].mem && !c->numa[i].memdev)
            return error_set(err, "-numa: memdev option must be specified for either all or no "
                                  "nodes");
    if (devices && (c->memory_backend || c->mem_path))
        return error_set(err, "'%s' and '-numa memdev' properties are mutually exclusive",
                         c->memory_backend ? "-machine memory-backend" : "-mem-path");
    if (c->n_numa && sum != c->ram_size)
        return error_set(err,
                         "-numa: total memory for NUMA nodes (0x%" PRIx64
                         ") should equal RAM size (0x%" PRIx64 ")",
                         sum, c->ram_size);
    return true;
}

static const Option rows[] = {
    {.name = "numa",
     .arg = "node[,mem=size|memdev=id][,cpus=firstcpu[-lastcpu]][,nodeid=node]|"
            "dist,src=source,dst=destination,val=distance|"
            "cpu,node-id=node[,socket-id=x][,die-id=y][,core-id=z][,thread-id=t]",
     .doc = "memory and processors of a NUMA node, its distance to another,\n"
            "or the node of the processors of a socket, die, core",
     .apply = opt_numa},
    {0},
};
OPTIONS_REGISTER(numa, 10, "Machine options", rows)
