/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_numa - -numa: nodes of memory and processors, and how far apart they are */
#include <stdlib.h>

#include "base/alloc.h"
#include "main/options.h"

enum { NUMA_CPUS_MAX = 256 };

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

/* "0-3" or "2"; the key may come several times. */
static bool node_cpus(NumaNode *n, const Opts *o, Error *err)
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
            n->cpus[first / 64] |= 1ull << (first % 64);
    }
    return true;
}

static bool add_node(Config *c, Opts *o, Error *err)
{
    const char *mem = opts_get(o, "mem"), *memdev = opts_get(o, "memdev");
    unsigned id;
    NumaNode *n;

    opts_get(o, "cpus");
    opts_get(o, "initiator");
    if (!node_number(o, "nodeid", c->mc.n_numa, &id, err) || !opts_all_used(o, err))
        return false;
    if (id > c->mc.n_numa)
        return error_set(err, "nodeid=%u: nodes are given in order, the next is %u", id,
                         c->mc.n_numa);
    if (id < c->mc.n_numa)
        return error_set(err, "Duplicate NUMA nodeid: %u", id);
    if (mem && memdev)
        return error_set(err, "cannot specify both mem= and memdev=");
    n = &c->mc.numa[id];
    if (mem && !parse_size(mem, 'M', &n->mem))
        return error_set(err, "mem=%s is not a size", mem);
    n->memdev = xstrdup(memdev);
    c->mc.n_numa++;
    return node_cpus(n, o, err);
}

static bool add_distance(Config *c, Opts *o, Error *err)
{
    const char *text = opts_get(o, "val");
    unsigned from, to;
    uint64_t v;

    if (!node_number(o, "src", 0, &from, err) || !node_number(o, "dst", 0, &to, err) ||
        !opts_all_used(o, err))
        return false;
    if (from >= c->mc.n_numa || to >= c->mc.n_numa)
        return error_set(err, "Source/Destination NUMA node is missing. Please use '-numa node' "
                              "option to declare it first.");
    if (!text || !parse_u64(text, &v) || v < 10 || v > 255 || (from == to) != (v == 10))
        return error_set(err, "NUMA distance (%s) is invalid: 10 to itself, else 11 to 255",
                         text ? text : "");
    c->mc.numa[from].distance[to] = (uint8_t)v;
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
    else if (type && (!strcmp(type, "cpu") || !strncmp(type, "hmat-", 5)))
        ok = error_set(err, "type '%s' is not built (node and dist are)", type);
    else
        ok = value_refused("type", type ? type : "", err);
    opts_free(&o);
    return ok;
}

static const Option rows[] = {
    {.name = "numa",
     .arg = "node[,mem=size|memdev=id][,cpus=firstcpu[-lastcpu]][,nodeid=node]|dist,src=source,"
            "dst=destination,val=distance",
     .doc = "memory and processors of a NUMA node, or its distance to another",
     .apply = opt_numa},
    {0},
};
OPTIONS_REGISTER(numa, 10, "Machine options", rows)
