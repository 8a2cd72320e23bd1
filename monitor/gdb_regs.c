/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_regs - registers: their description for the client (GDB manual, appendix G), reading and
 * writing */
#include "monitor/gdb_priv.h"

static unsigned features_of(const Cpu *c, const DebugFeature *out[DEBUG_FEATURES])
{
    return c->arch->debug ? c->arch->debug->features(c, out) : 0;
}

unsigned gdb_regs(const Cpu *c, const DebugReg *out[GDB_REGS])
{
    const DebugFeature *features[DEBUG_FEATURES];
    unsigned n = 0, n_features = features_of(c, features);

    for (unsigned f = 0; f < n_features; f++) {
        for (unsigned i = 0; i < features[f]->n; i++) {
            assert(n < GDB_REGS && features[f]->regs[i].bits / 8 <= DEBUG_REG_BYTES);
            out[n++] = &features[f]->regs[i];
        }
    }
    return n;
}

static void add_reg(StrBuf *out, const DebugReg *r, unsigned number)
{
    strbuf_addf(out, "<reg name=\"%s\" bitsize=\"%u\"", r->name, r->bits);
    if (r->type)
        strbuf_addf(out, " type=\"%s\"", r->type);
    else
        strbuf_addf(out, " type=\"int%u\"", r->bits);
    if (r->group)
        strbuf_addf(out, " group=\"%s\"", r->group);
    strbuf_addf(out, " regnum=\"%u\"/>\n", number);
}

void gdb_regs_xml(const Cpu *c, StrBuf *out)
{
    const DebugFeature *features[DEBUG_FEATURES];
    unsigned n_features = features_of(c, features), number = 0;

    strbuf_add(out, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                    "<target version=\"1.0\">\n");
    if (c->arch->debug)
        strbuf_addf(out, "<architecture>%s</architecture>\n", c->arch->debug->name);
    for (unsigned f = 0; f < n_features; f++) {
        strbuf_addf(out, "<feature name=\"%s\">\n%s\n", features[f]->name,
                    features[f]->types ? features[f]->types : "");
        for (unsigned i = 0; i < features[f]->n; i++)
            add_reg(out, &features[f]->regs[i], number++);
        strbuf_add(out, "</feature>\n");
    }
    strbuf_add(out, "</target>\n");
}

static void add_value(Cpu *c, const DebugReg *r, StrBuf *out)
{
    uint8_t buf[DEBUG_REG_BYTES];

    c->arch->debug->get(c, r, buf);
    gdb_add_hex(out, buf, r->bits / 8);
}

/* False: not enough digits.  *taken: whether the processor accepts the value. */
static bool take_value(Cpu *c, const DebugReg *r, GdbText *t, bool *taken)
{
    uint8_t buf[DEBUG_REG_BYTES];

    for (unsigned i = 0; i < r->bits / 8; i++)
        if (!gdb_hex_byte(t, &buf[i]))
            return false;
    *taken = c->arch->debug->set(c, r, buf);
    return true;
}

static void read_all(GdbStub *s)
{
    const DebugReg *regs[GDB_REGS];
    unsigned n = gdb_regs(gdb_cpu(s), regs);
    StrBuf out = {0};

    for (unsigned i = 0; i < n; i++)
        add_value(gdb_cpu(s), regs[i], &out);
    gdb_reply(s, n ? strbuf_str(&out) : GDB_EINVAL);
    strbuf_free(&out);
}

/* Values that are refused (a selector in protected mode ...) stay what they are. */
static void write_all(GdbStub *s, GdbText t)
{
    const DebugReg *regs[GDB_REGS];
    unsigned n = gdb_regs(gdb_cpu(s), regs);
    bool taken;

    for (unsigned i = 0; i < n && t.p < t.end; i++) {
        if (!take_value(gdb_cpu(s), regs[i], &t, &taken)) {
            gdb_reply(s, GDB_EINVAL);
            return;
        }
    }
    gdb_reply_ok(s, t.p == t.end);
}

bool gdb_regs_packet(GdbStub *s, uint8_t what, GdbText t)
{
    const DebugReg *regs[GDB_REGS];
    unsigned n = gdb_regs(gdb_cpu(s), regs);
    uint64_t number;
    bool taken = false;

    if (what == 'g') {
        read_all(s);
    } else if (what == 'G') {
        write_all(s, t);
    } else if (!gdb_hex(&t, &number) || number >= n) {
        gdb_reply(s, GDB_EINVAL);
    } else if (what == 'p') {
        StrBuf out = {0};

        add_value(gdb_cpu(s), regs[number], &out);
        gdb_reply(s, strbuf_str(&out));
        strbuf_free(&out);
    } else {
        gdb_reply_ok(s, gdb_eat(&t, "=") && take_value(gdb_cpu(s), regs[number], &t, &taken) &&
                            taken && t.p == t.end);
    }
    return true;
}
