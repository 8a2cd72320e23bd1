/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_mem - the guest's memory: packets m, M and X; by linear addresses, or physical ones
 * (qqemu.PhyMemMode) */
#include "monitor/gdb_priv.h"

enum { PAGE = 4096, MOST = (GDB_PACKET_MAX - 16) / 2 };

static bool translate(const GdbStub *s, Gva at, Gpa *pa)
{
    Cpu *c = gdb_cpu(s);

    if (s->physical || !c->arch->debug) {
        *pa = at;
        return true;
    }
    return c->arch->debug->translate(c, at, pa);
}

/* ROM is written too; devices only by physical addresses, and as if the processor did it. */
static bool access_page(GdbStub *s, Gpa pa, uint8_t *buf, size_t n, bool write)
{
    AddressSpace *as = gdb_cpu(s)->as;
    int result;

    cpu_set_current(gdb_cpu(s));
    result = write ? as_load(as, pa, buf, n) : as_read(as, pa, buf, n);
    if (write && s->physical && result != MEM_OK)
        result = as_write(as, pa, buf, n);
    cpu_set_current(NULL);
    return result == MEM_OK;
}

/* How many bytes could be accessed. */
static size_t access_memory(GdbStub *s, Gva at, uint8_t *buf, size_t n, bool write)
{
    size_t done = 0;

    while (done < n) {
        size_t step = MIN(n - done, PAGE - (size_t)((at + done) & (PAGE - 1)));
        Gpa pa;

        if (!translate(s, at + done, &pa) || !access_page(s, pa, buf + done, step, write))
            break;
        done += step;
    }
    return done;
}

static void read_memory(GdbStub *s, Gva at, uint64_t n)
{
    uint8_t buf[MOST];
    StrBuf out = {0};
    size_t done;

    if (n > MOST) {
        gdb_reply(s, GDB_EINVAL);
        return;
    }
    done = access_memory(s, at, buf, n, false);
    gdb_add_hex(&out, buf, done);
    gdb_reply(s, done || !n ? strbuf_str(&out) : GDB_EFAULT);
    strbuf_free(&out);
}

static void write_memory(GdbStub *s, Gva at, uint8_t *buf, size_t n)
{
    gdb_reply(s, access_memory(s, at, buf, n, true) == n ? "OK" : GDB_EFAULT);
}

/* The contents of M: @n bytes, no more. */
static bool hex_bytes(GdbText *t, uint8_t *buf, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!gdb_hex_byte(t, &buf[i]))
            return false;
    return t->p == t->end;
}

bool gdb_mem_packet(GdbStub *s, uint8_t what, GdbText t)
{
    uint8_t buf[GDB_PACKET_MAX];
    uint64_t at, n;

    if (!gdb_hex(&t, &at) || !gdb_eat(&t, ",") || !gdb_hex(&t, &n) ||
        (what == 'm' ? t.p != t.end : !gdb_eat(&t, ":")) || n > sizeof buf) {
        gdb_reply(s, GDB_EINVAL);
    } else if (what == 'm') {
        read_memory(s, at, n);
    } else if (what == 'M' ? !hex_bytes(&t, buf, n) : (uint64_t)(t.end - t.p) != n) {
        gdb_reply(s, GDB_EINVAL);
    } else {
        if (what == 'X')
            memcpy(buf, t.p, n);
        write_memory(s, at, buf, n);
    }
    return true;
}
