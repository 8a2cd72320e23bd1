/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of monitor/gdb.h and core/debug.h: a client's packets, and what they do to a machine, on
 * each back end. */
#include "tests/unit/unit.h"

#include "tests/unit/gdb_unit.h"

enum { MANY = 1 << 16 };

/* --- the client --- */

static void send_packet(Bench *b, const char *text)
{
    StrBuf out = {0};

    gdb_frame(&out, text, strlen(text));
    ck_assert_uint_eq(bench_send(b, out.s, out.len), 0);
    strbuf_free(&out);
}

/* The contents of the next packet; acknowledgements before it are skipped.  Valid until the next
 * call. */
static const char *read_packet(Bench *b)
{
    static GdbParser parser; /* one client at a time */
    GdbInput what;

    parser.state = 0;
    do {
        int c = bench_byte(b);

        ck_assert_msg(c >= 0, "no answer");
        what = gdb_parse(&parser, (uint8_t)c);
        ck_assert(what != GDB_CORRUPT && what != GDB_BAD && what != GDB_NAK);
    } while (what != GDB_PACKET);
    return (const char *)parser.data;
}

static const char *receive(Bench *b)
{
    const char *packet = read_packet(b);

    ck_assert_uint_eq(bench_send(b, "+", 1), 0);
    return packet;
}

static const char *ask(Bench *b, const char *packet)
{
    send_packet(b, packet);
    return receive(b);
}

#define EXPECT(b, packet, reply) ck_assert_str_eq(ask(b, packet), reply)

static bool silent(Bench *b)
{
    struct timespec t = {.tv_nsec = 30 * 1000 * 1000};
    bool empty;

    nanosleep(&t, NULL);
    pthread_mutex_lock(&b->mutex);
    empty = b->got_n == 0;
    pthread_mutex_unlock(&b->mutex);
    return empty;
}

/* Register @n, a little-endian number of up to 64 bits. */
static uint64_t reg(Bench *b, unsigned n)
{
    char packet[16];
    uint64_t v = 0;
    GdbText t;

    snprintf(packet, sizeof packet, "p%x", n);
    t.p = (const uint8_t *)ask(b, packet);
    t.end = t.p + strlen((const char *)t.p);
    for (unsigned i = 0; i < 8 && t.p < t.end; i++) {
        uint8_t byte;

        ck_assert(gdb_hex_byte(&t, &byte));
        v |= (uint64_t)byte << (8 * i);
    }
    return v;
}

static void set_reg(Bench *b, unsigned n, uint64_t v)
{
    StrBuf p = {0};

    strbuf_addf(&p, "P%x=", n);
    gdb_add_hex(&p, &v, 8);
    EXPECT(b, p.s, "OK");
    strbuf_free(&p);
}

enum {
    RAX,
    RBX,
    RCX,
    RDX,
    RSI,
    RDI,
    RBP,
    RSP,
    RIP = 16,
    EFLAGS,
    CS,
    CR0 = 27,
    CR3 = 29,
    XMM0 = 49
};

static uint64_t pc(Bench *b)
{
    return reg(b, RIP);
}

static void step_to(Bench *b, Gva to)
{
    EXPECT(b, "vCont;s:1", "T05thread:01;");
    ck_assert_uint_eq(pc(b), to);
}

static X86Cpu *cpu(Bench *b, unsigned n)
{
    return X86(b->m->cpus[n]);
}

static const uint8_t *ram(Bench *b, Gpa at)
{
    return ((GdbBoard *)b->m->board_state)->ram.hva + at;
}

static uint32_t ram32(Bench *b, Gpa at)
{
    uint32_t v;

    memcpy(&v, ram(b, at), 4);
    return v;
}

#define ON_EACH_BACK_END(name, client, cpus)                                                       \
    START_TEST(name)                                                                               \
    {                                                                                              \
        for (unsigned interp = 0; interp < 2; interp++)                                            \
            bench_free(bench_run(client, cpus, interp, "x86_64"));                                 \
    }                                                                                              \
    END_TEST

/* --- framing --- */

static GdbInput parse(GdbParser *p, const char *text)
{
    GdbInput what = GDB_MORE;

    for (; *text && what == GDB_MORE; text++)
        what = gdb_parse(p, (uint8_t)*text);
    return what;
}

START_TEST(packets_are_taken_apart)
{
    GdbParser *p = xnew(GdbParser);

    ck_assert_int_eq(parse(p, "x+"), GDB_ACK);
    ck_assert_int_eq(parse(p, "-"), GDB_NAK);
    ck_assert_int_eq(parse(p, "\3"), GDB_INTERRUPT);
    ck_assert_int_eq(parse(p, "$OK#9a"), GDB_PACKET);
    ck_assert_str_eq((char *)p->data, "OK");
    ck_assert_int_eq(parse(p, "$OK#9b"), GDB_CORRUPT);
    ck_assert_int_eq(parse(p, "$OK#zz"), GDB_CORRUPT);
    ck_assert_int_eq(parse(p, "$a}\3b#43"), GDB_PACKET); /* an escaped # */
    ck_assert_str_eq((char *)p->data, "a#b");
    xfree(p);
}
END_TEST

START_TEST(what_is_framed_is_parsed_to_the_same)
{
    GdbParser *p = xnew(GdbParser);
    uint8_t all[256];
    StrBuf out = {0};
    GdbInput what = GDB_MORE;

    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    gdb_frame(&out, all, sizeof all);
    for (size_t i = 0; i < out.len; i++) {
        ck_assert_int_eq(what, GDB_MORE);
        what = gdb_parse(p, (uint8_t)out.s[i]);
    }
    ck_assert_int_eq(what, GDB_PACKET);
    ck_assert_uint_eq(p->n, 256);
    ck_assert_mem_eq(p->data, all, 256);
    strbuf_free(&out);
    xfree(p);
}
END_TEST

/* @text with its checksum behind. */
static GdbInput parse_summed(GdbParser *p, const char *text, size_t n)
{
    uint8_t sum = 0;
    char end[4];
    GdbInput what;

    gdb_parse(p, '$');
    for (size_t i = 0; i < n; i++) {
        sum += (uint8_t)text[i];
        ck_assert_int_eq(gdb_parse(p, (uint8_t)text[i]), GDB_MORE);
    }
    snprintf(end, sizeof end, "#%02x", sum);
    gdb_parse(p, (uint8_t)end[0]);
    gdb_parse(p, (uint8_t)end[1]);
    what = gdb_parse(p, (uint8_t)end[2]);
    return what;
}

START_TEST(runs_are_expanded_within_bounds)
{
    GdbParser *p = xnew(GdbParser);
    char *big = xalloc(MANY);

    ck_assert_int_eq(parse_summed(p, "0* ", 3), GDB_PACKET);
    ck_assert_str_eq((char *)p->data, "0000");
    ck_assert_int_eq(parse_summed(p, "a*\"b*!", 6), GDB_PACKET);
    ck_assert_str_eq((char *)p->data, "aaaaaabbbbb");
    ck_assert_int_eq(parse_summed(p, "* ", 2), GDB_BAD); /* of what? */
    ck_assert_int_eq(parse_summed(p, "a*\1", 3), GDB_BAD);
    ck_assert_int_eq(parse_summed(p, "a*", 2), GDB_BAD);
    ck_assert_int_eq(parse_summed(p, "a}", 2), GDB_BAD);
    for (unsigned i = 0; i < MANY; i++)
        big[i] = i % 2 ? '*' : '~';
    ck_assert_int_eq(parse_summed(p, big, MANY), GDB_BAD);
    memset(big, 'x', MANY);
    ck_assert_int_eq(parse_summed(p, big, GDB_PACKET_MAX), GDB_PACKET);
    ck_assert_int_eq(parse_summed(p, big, GDB_PACKET_MAX + 1), GDB_BAD);
    ck_assert_int_eq(parse_summed(p, "OK", 2), GDB_PACKET);
    xfree(big);
    xfree(p);
}
END_TEST

/* --- talking --- */

static void says_what_it_can(Bench *b)
{
    static const char *const without[] = {"vMustReplyEmpty", "qTStatus", "Z5,0,1", "J", "",
                                          "qSymbol::",       "qRcmd,61"};

    ck_assert_ptr_nonnull(strstr(ask(b, "qSupported:multiprocess+;swbreak+"), "PacketSize=4000;"));
    EXPECT(b, "?", "T05thread:p01.01;");
    EXPECT(b, "qSupported:swbreak+;hwbreak+",
           "PacketSize=4000;qXfer:features:read+;vContSupported+;multiprocess+;QStartNoAckMode+;"
           "swbreak+;hwbreak+");
    EXPECT(b, "?", "T05thread:01;");
    EXPECT(b, "qC", "QC01");
    EXPECT(b, "qAttached", "1");
    EXPECT(b, "qfThreadInfo", "m01,02");
    EXPECT(b, "qsThreadInfo", "l");
    EXPECT(b, "qThreadExtraInfo,2", "4350552331205b72756e6e696e675d");
    EXPECT(b, "vCont?", "vCont;c;C;s;S;t");
    EXPECT(b, "T2", "OK");
    EXPECT(b, "!", "OK");
    for (unsigned i = 0; i < COUNT_OF(without); i++)
        EXPECT(b, without[i], "");
    EXPECT(b, "qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4");
    EXPECT(b, "qqemu.sstep", "0x7");
    EXPECT(b, "Qqemu.sstep=5", "OK");
    EXPECT(b, "qqemu.sstep", "0x5");
    EXPECT(b, "qqemu.PhyMemMode", "0");
    EXPECT(b, "Qqemu.PhyMemMode:1", "OK");
    EXPECT(b, "qqemu.PhyMemMode", "1");
}
ON_EACH_BACK_END(the_stub_says_what_it_can, says_what_it_can, 2)

static void is_told_of_mistakes(Bench *b)
{
    static const char *const wrong[] = {
        "m",
        "m0",
        "m0,",
        "m0,x",
        "m10000000000000000,1",
        "M0,2:00",
        "M0,1:000",
        "M0,1:0g",
        "X0,2:a",
        "P0",
        "P0=",
        "P0=00",
        "P999=00",
        "p",
        "p999",
        "G0",
        "Z0",
        "Z0,0",
        "Z2,0,0",
        "Z2,ffffffffffffffff,2",
        "z0,1234,1",
        "Hx1",
        "Hg3",
        "Hgp2.1",
        "T0",
        "T9",
        "vCont;x",
        "vCont;s:9",
        "vContc",
        "cz",
        "Cz",
        "D;2",
        "Qqemu.sstep=8",
        "Qqemu.sstep=",
        "vAttach;2",
        "qThreadExtraInfo,7",
        "m0,4000",
        "qXfer:features:read:target.xml:0",
    };

    ck_assert(ask(b, "qSupported:multiprocess+")[0] == 'P');
    for (unsigned i = 0; i < COUNT_OF(wrong); i++)
        ck_assert_msg(!strcmp(ask(b, wrong[i]), "E22"), "%s", wrong[i]);
    EXPECT(b, "m8000000000,4", "E14");
    EXPECT(b, "M8000000000,1:00", "E14");
    EXPECT(b, "qXfer:features:read:other.xml:0,10", "E00");
    EXPECT(b, "qXfer:features:read:target.xml:999999,10", "E00");
    EXPECT(b, "?", "T05thread:p01.01;");
}
ON_EACH_BACK_END(mistakes_get_an_error, is_told_of_mistakes, 2)

static void repeats_itself(Bench *b)
{
    ck_assert_uint_eq(bench_send(b, "$qC#00", 6), 0);
    ck_assert_int_eq(bench_byte(b), '-');
    EXPECT(b, "qC", "QC01");
    ck_assert_uint_eq(bench_send(b, "-", 1), 0);
    ck_assert_str_eq(receive(b), "QC01");
    EXPECT(b, "QStartNoAckMode", "OK");
    ck_assert_uint_eq(bench_send(b, "$qC#00", 6), 0); /* checksums do not count now */
    ck_assert_int_eq(bench_byte(b), '$');
    ck_assert_int_eq(bench_byte(b), 'Q');
}
ON_EACH_BACK_END(lost_packets_are_asked_for_and_sent_again, repeats_itself, 1)

static size_t description(Bench *b, StrBuf *xml)
{
    unsigned pieces = 0;
    const char *reply;

    do {
        char packet[64];

        snprintf(packet, sizeof packet, "qXfer:features:read:target.xml:%zx,3f0", xml->len);
        reply = ask(b, packet);
        ck_assert(reply[0] == 'm' || reply[0] == 'l');
        strbuf_add(xml, reply + 1);
    } while (reply[0] == 'm' && ++pieces < 100);
    return pieces;
}

static void describes_registers(Bench *b)
{
    StrBuf xml = {0};
    unsigned bytes = 0, regs = 0, bits, number;

    ck_assert_uint_gt(description(b, &xml), 2);
    for (const char *p = xml.s; (p = strstr(p, "<reg name=")); p++) {
        ck_assert_int_eq(sscanf(strstr(p, "bitsize="), "bitsize=\"%u\"", &bits), 1);
        ck_assert_int_eq(sscanf(strstr(p, "regnum="), "regnum=\"%u\"", &number), 1);
        ck_assert_uint_eq(number, regs++);
        bytes += bits / 8;
    }
    ck_assert_uint_eq(strlen(ask(b, "g")), 2 * bytes);
    ck_assert_ptr_nonnull(strstr(xml.s, "org.gnu.gdb.i386.avx"));
    ck_assert_str_eq(xml.s + xml.len - 10, "</target>\n");
    strbuf_free(&xml);
}
ON_EACH_BACK_END(the_description_fits_the_registers, describes_registers, 1)

START_TEST(a_32_bit_processor_has_32_bit_registers)
{
    Bench *b = bench_run(describes_registers, 1, false, "i386");

    bench_free(b);
}
END_TEST

/* --- registers and memory --- */

static void reads_and_writes_registers(Bench *b)
{
    StrBuf all = {0};

    ck_assert_uint_eq(pc(b), AT_LOOP);
    ck_assert_uint_eq(reg(b, CS), 8);
    ck_assert_uint_eq(reg(b, CR3), PAGES);
    set_reg(b, RSI, 0x1122334455667788);
    ck_assert_uint_eq(cpu(b, 0)->cpu.r[R_SI], 0x1122334455667788);
    EXPECT(b, "P11=d50c0000", "OK"); /* eflags */
    ck_assert_uint_eq(reg(b, EFLAGS), 0xcd7);
    ck_assert_uint_eq(x86_flags(cpu(b, 0)), 0xcd7);
    EXPECT(b, "P31=000102030405060708090a0b0c0d0e0f", "OK");
    ck_assert_uint_eq(cpu(b, 0)->cpu.v[0][7], 7);
    strbuf_add(&all, "G");
    strbuf_add(&all, ask(b, "g"));
    memcpy(all.s + 1, "2a00000000000000", 16);
    EXPECT(b, all.s, "OK");
    ck_assert_uint_eq(reg(b, RAX), 42);
    EXPECT(b, "P1b=1100000000000000", "E22"); /* paging off in 64-bit mode */
    EXPECT(b, "P1b=11000180ffffffff", "E22");
    ck_assert_uint_eq(reg(b, CR0), 0x80000011);
    EXPECT(b, "P1b=1100018000000000", "OK"); /* CR0.WP */
    ck_assert_uint_eq(cpu(b, 0)->cr0, 0x80010011);
    EXPECT(b, "P12=10000000", "E22");         /* a selector needs a descriptor */
    EXPECT(b, "P18=0000000000008000", "E22"); /* not canonical */
    EXPECT(b, "P18=0000adde00000000", "OK");
    ck_assert_uint_eq(cpu(b, 0)->cpu.r[16 + SEG_FS], 0xdead0000);
    strbuf_free(&all);
}
ON_EACH_BACK_END(registers_are_read_and_written, reads_and_writes_registers, 1)

static void reads_and_writes_memory(Bench *b)
{
    StrBuf page = {0};

    EXPECT(b, "m1000,4", "48ffc048");
    EXPECT(b, "m40001000,4", "48ffc048"); /* by the tables */
    EXPECT(b, "M40003000,3:010203", "OK");
    EXPECT(b, "m3000,4", "01020300");
    EXPECT(b, "X3001,2:\x7f\x80", "OK");
    EXPECT(b, "X3001,0:", "OK");
    EXPECT(b, "m3000,4", "017f8000");
    EXPECT(b, "m1ffffe,4", "0000"); /* what is there */
    EXPECT(b, "M1ffffe,4:01020304", "E14");
    ck_assert_uint_eq(strlen(ask(b, "m0,1f00")), 2 * 0x1f00);
    EXPECT(b, "Qqemu.PhyMemMode:1", "OK");
    EXPECT(b, "m40001000,4", "E14");
    EXPECT(b, "m300000,2", "0000");
    EXPECT(b, "M300000,2:abcd", "OK");
    ck_assert_uint_eq(ram32(b, 0x300000), 0xcdab);
    strbuf_free(&page);
}
ON_EACH_BACK_END(memory_is_read_and_written_by_virtual_and_physical_addresses,
                 reads_and_writes_memory, 1)

/* --- breakpoints and steps --- */

static void breaks(Bench *b)
{
    ask(b, "qSupported:swbreak+;hwbreak+");
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "Z0,1014,1", "OK");
    for (unsigned i = 1; i < 4; i++) {
        EXPECT(b, "c", "T05thread:01;swbreak:;");
        ck_assert_uint_eq(pc(b), LOOP_INC);
        ck_assert_uint_eq(reg(b, RAX), i);
        ck_assert_uint_eq(reg(b, RDX), i - 1);
        ck_assert_int_eq(b->m->state, RUN_DEBUG);
        EXPECT(b, "m1014,3", "48ffc2");
        EXPECT(b, "c", "T05thread:01;swbreak:;"); /* still there */
        ck_assert_uint_eq(reg(b, RDX), i - 1);
        step_to(b, LOOP_INC + 3);
    }
    EXPECT(b, "z0,1014,1", "OK");
    EXPECT(b, "z0,1014,1", "E22");
    EXPECT(b, "Z1,1003,1", "OK");
    EXPECT(b, "vCont;c", "T05thread:01;hwbreak:;");
    ck_assert_uint_eq(pc(b), AT_LOOP + 3);
    EXPECT(b, "z1,1003,1", "OK");
    EXPECT(b, "Z0,1001,1", "OK"); /* within an instruction: never begun there */
    send_packet(b, "c");
    ck_assert(bench_byte(b) == '+' && silent(b));
    bench_send(b, "\3", 1);
    ck_assert_str_eq(receive(b), "T02thread:01;");
    ck_assert_int_eq(b->m->state, RUN_PAUSED);
    ck_assert_uint_gt(reg(b, RDX), 100);
}
ON_EACH_BACK_END(breakpoints_stop_before_their_instruction_and_leave_memory_alone, breaks, 1)

static void breaks_in_hot_code(Bench *b)
{
    for (unsigned i = 0; i < 3; i++) {
        send_packet(b, "c"); /* blocks are translated, linked, and run again and again */
        ck_assert(bench_byte(b) == '+' && silent(b));
        bench_send(b, "\3", 1);
        receive(b);
        EXPECT(b, "Z0,100d,1", "OK");
        EXPECT(b, "c", "T05thread:01;");
        ck_assert_uint_eq(pc(b), LOOP_LOAD);
        ck_assert_uint_eq(ram32(b, VAR), (uint32_t)reg(b, RAX));
        EXPECT(b, "z0,100d,1", "OK");
    }
    EXPECT(b, "M1014,3:48ffc7", "OK"); /* inc rdi */
    set_reg(b, RDI, 0);
    EXPECT(b, "Z0,1017,1", "OK");
    EXPECT(b, "c", "T05thread:01;");
    ck_assert_uint_eq(reg(b, RDI), 1);
}
ON_EACH_BACK_END(breakpoints_and_new_code_take_effect_in_code_that_has_run, breaks_in_hot_code, 1)

static void steps(Bench *b)
{
    static const Gva path[] = {AT_LOOP + 3, LOOP_STORE, LOOP_LOAD, LOOP_INC, LOOP_INC + 3, AT_LOOP};

    for (unsigned i = 0; i < 2 * COUNT_OF(path); i++)
        step_to(b, path[i % COUNT_OF(path)]);
    ck_assert_uint_eq(reg(b, RAX), 2);
    set_reg(b, RIP, AT_CALL);
    step_to(b, AT_CALL + 10);
    step_to(b, AT_CALL + 5);
    set_reg(b, RIP, AT_INDIRECT); /* its target is known and linked */
    step_to(b, AT_INDIRECT + 5);
    step_to(b, AT_LOOP);
    set_reg(b, RIP, AT_UD);
    step_to(b, AT_UD_HANDLER);
    step_to(b, AT_UD);
    EXPECT(b, "S05", "T05thread:01;");
    ck_assert_uint_eq(pc(b), AT_UD_HANDLER);
    EXPECT(b, "s1003", "T05thread:01;");
    ck_assert_uint_eq(pc(b), LOOP_STORE);
}
ON_EACH_BACK_END(a_step_is_one_instruction, steps, 1)

static void steps_special(Bench *b)
{
    set_reg(b, RIP, AT_STRING);
    set_reg(b, RSI, AT_LOOP);
    set_reg(b, RDI, 0x8000);
    set_reg(b, RCX, 3);
    step_to(b, AT_STRING); /* an element each */
    ck_assert_uint_eq(reg(b, RCX), 2);
    step_to(b, AT_STRING);
    step_to(b, AT_STRING + 2);
    ck_assert_uint_eq(ram32(b, 0x8000), 0xc0ff48);
    step_to(b, AT_STRING + 3); /* halts */
    ck_assert(cpu(b, 0)->cpu.halted);
    step_to(b, AT_STRING + 3); /* and stays so, but the step ends */
    set_reg(b, RIP, AT_STI);
    cpu(b, 0)->cpu.halted = false;
    step_to(b, AT_STI + 1);
    step_to(b, AT_STI + 2);
    set_reg(b, RIP, AT_MOV_SS);
    set_reg(b, RAX, 16);
    step_to(b, AT_MOV_SS + 2);
    step_to(b, AT_MOV_SS + 3);
    send_packet(b, "c");
    ck_assert(bench_byte(b) == '+' && silent(b));
    bench_send(b, "\3", 1);
    receive(b);
    ck_assert_uint_eq(cpu(b, 0)->shadow, 0);
}
ON_EACH_BACK_END(strings_shadows_and_halts_are_stepped, steps_special, 1)

static void masks_interrupts(Bench *b)
{
    int64_t now = clock_now(b->m->vclock);

    cpu_request(&cpu(b, 0)->cpu, REQ_NMI);
    step_to(b, AT_LOOP + 3);
    step_to(b, LOOP_STORE);
    ck_assert_int_eq(clock_now(b->m->vclock), now);
    ck_assert(atomic_load(&cpu(b, 0)->cpu.request) & REQ_NMI);
    EXPECT(b, "Qqemu.sstep=1", "OK");
    step_to(b, AT_NMI_HANDLER + 1);
    ck_assert_int_gt(clock_now(b->m->vclock), now);
    step_to(b, LOOP_STORE);
    EXPECT(b, "Qqemu.sstep=7", "OK");
    cpu_request(&cpu(b, 0)->cpu, REQ_NMI);
    step_to(b, LOOP_LOAD);
    EXPECT(b, "Z0,2500,1", "OK");
    EXPECT(b, "c", "T05thread:01;"); /* what waited comes with the machine's running */
    ck_assert_uint_eq(pc(b), AT_NMI_HANDLER);
    EXPECT(b, "Qqemu.sstep=0", "OK");
    EXPECT(b, "z0,2500,1", "OK");
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "s", "T05thread:01;"); /* disabled: it runs */
    ck_assert_uint_eq(pc(b), LOOP_INC);
}
ON_EACH_BACK_END(steps_hold_interrupts_and_time_back, masks_interrupts, 1)

/* --- watchpoints --- */

static void watches(Bench *b)
{
    EXPECT(b, "Z2,3000,4", "OK");
    for (unsigned i = 1; i < 4; i++) {
        EXPECT(b, "c", "T05thread:01;watch:3000;");
        ck_assert_uint_eq(pc(b), LOOP_LOAD);
        ck_assert_uint_eq(ram32(b, VAR), i);
        ck_assert_uint_eq(reg(b, RAX), i);
    }
    EXPECT(b, "z2,3000,4", "OK");
    EXPECT(b, "Z3,300a,1", "OK"); /* the load is of 3008..300b */
    EXPECT(b, "c", "T05thread:01;rwatch:300a;");
    ck_assert_uint_eq(pc(b), LOOP_INC);
    EXPECT(b, "Z2,3008,8", "OK"); /* never written */
    EXPECT(b, "c", "T05thread:01;rwatch:300a;");
    EXPECT(b, "z3,300a,1", "OK");
    EXPECT(b, "Z4,2fff,2", "OK"); /* across pages */
    EXPECT(b, "c", "T05thread:01;awatch:2fff;");
    ck_assert_uint_eq(pc(b), LOOP_LOAD);
    EXPECT(b, "s", "T05thread:01;");
    ck_assert_uint_eq(pc(b), LOOP_INC);
    EXPECT(b, "z4,2fff,2", "OK");
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "z2,3008,8", "OK");
    EXPECT(b, "s", "T05thread:01;");
    EXPECT(b, "c", "T05thread:01;");
    ck_assert_uint_eq(pc(b), LOOP_INC);
}
ON_EACH_BACK_END(watchpoints_stop_behind_the_access, watches, 1)

static void watches_in_hot_code(Bench *b)
{
    send_packet(b, "c");
    ck_assert(bench_byte(b) == '+' && silent(b));
    bench_send(b, "\3", 1);
    receive(b);
    EXPECT(b, "Z2,3000,1", "OK");
    EXPECT(b, "c", "T05thread:01;watch:3000;");
    ck_assert_uint_eq(pc(b), LOOP_LOAD);
    set_reg(b, RIP, AT_STRING);
    set_reg(b, RSI, AT_LOOP);
    set_reg(b, RDI, VAR - 2);
    set_reg(b, RCX, 5);
    EXPECT(b, "c", "T05thread:01;watch:3000;");
    ck_assert_uint_eq(reg(b, RDI), VAR + 1);
    ck_assert_uint_eq(pc(b), AT_STRING);
    set_reg(b, RIP, AT_CALL); /* helpers and stack accesses */
    set_reg(b, RSP, VAR + 8);
    EXPECT(b, "c", "T05thread:01;watch:3000;");
    ck_assert_uint_eq(pc(b), AT_CALL + 10);
    set_reg(b, RIP, AT_UD); /* delivery of an exception */
    set_reg(b, RSP, VAR + 0x20);
    EXPECT(b, "c", "T05thread:01;watch:3000;");
    ck_assert_uint_eq(pc(b), AT_UD_HANDLER);
}
ON_EACH_BACK_END(watchpoints_take_effect_in_code_that_has_run, watches_in_hot_code, 1)

/* --- several processors --- */

static void runs_threads(Bench *b)
{
    ask(b, "qSupported:multiprocess+;swbreak+");
    EXPECT(b, "Hg2", "OK");
    ck_assert_uint_eq(pc(b), AT_OTHER);
    EXPECT(b, "vCont;s:p1.2", "T05thread:p01.02;");
    ck_assert_uint_eq(pc(b), AT_OTHER + 3);
    EXPECT(b, "Hgp1.1", "OK");
    ck_assert_uint_eq(pc(b), AT_LOOP);
    EXPECT(b, "Z0,2000,1", "OK");
    EXPECT(b, "vCont;c:p1.2", "T05thread:p01.02;swbreak:;");
    ck_assert_uint_eq(cpu(b, 0)->cpu.r[R_AX], 0); /* the other one stood still */
    EXPECT(b, "vCont;s:p1.2;c", "T05thread:p01.02;");
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "vCont;c:p1.1;t:p1.2", "T05thread:p01.01;swbreak:;");
    ck_assert_uint_gt(cpu(b, 0)->cpu.r[R_AX], 0);
    EXPECT(b, "z0,2000,1", "OK");
    EXPECT(b, "z0,1014,1", "OK");
    EXPECT(b, "vCont;t", "OK");
    send_packet(b, "vCont;c");
    ck_assert(bench_byte(b) == '+' && silent(b));
    bench_send(b, "\3", 1);
    ck_assert_uint_eq(strncmp(receive(b), "T02thread:p01.0", 15), 0);
    ck_assert_uint_gt(cpu(b, 1)->cpu.r[R_SI], 100);
}
ON_EACH_BACK_END(threads_run_step_and_stay_on_their_own, runs_threads, 2)

/* Of two hits at once the second is told when its processor goes on. */
static void loses_no_watch(Bench *b)
{
    unsigned seen[2] = {0};

    EXPECT(b, "Hg2", "OK");
    EXPECT(b, "M2000,a:48ffc689342504300000", "OK"); /* inc rsi; mov [3004], esi; */
    EXPECT(b, "M200a,2:ebf4", "OK");                 /* again */
    EXPECT(b, "Z2,3000,8", "OK");
    for (unsigned i = 0; i < 200; i++) {
        const char *reply = ask(b, "vCont;c");

        ck_assert_str_eq(reply + 12, ";watch:3000;");
        seen[reply[11] == '2']++;
        ck_assert_uint_eq(ram32(b, VAR), seen[0] + (cpu(b, 0)->cpu.stop.kind == STOP_WATCH));
        ck_assert_uint_eq(ram32(b, VAR + 4), seen[1] + (cpu(b, 1)->cpu.stop.kind == STOP_WATCH));
    }
    ck_assert_uint_gt(seen[0], 0);
    ck_assert_uint_gt(seen[1], 0);
}
ON_EACH_BACK_END(hits_of_several_processors_are_told_one_by_one, loses_no_watch, 2)

/* --- clients that come and go --- */

static void comes_again(Bench *b)
{
    int64_t now;

    EXPECT(b, "QStartNoAckMode", "OK");
    for (unsigned i = 0; i < 3; i++) {
        bench_event(b, CHAR_CLOSED);
        bench_event(b, CHAR_OPENED);
        pthread_mutex_lock(&b->mutex);
        b->got_n = 0;
        pthread_mutex_unlock(&b->mutex);
        ck_assert_int_ne(b->m->state, RUN_RUNNING);
        EXPECT(b, "?", "T05thread:01;");
        EXPECT(b, "Z0,1014,1", "OK");
        EXPECT(b, "Z2,3000,1", "OK");
        if (i == 1)
            bench_send(b, "$m10", 4); /* in the middle of a packet */
        if (i == 2)
            send_packet(b, "z0,1014,1"), receive(b), send_packet(b, "z2,3000,1"), receive(b),
                send_packet(b, "c");
    }
    ck_assert(bench_byte(b) == '+' && silent(b));
    bench_event(b, CHAR_CLOSED);
    ck_assert_int_eq(b->m->state, RUN_RUNNING); /* went while it ran: it runs on */
    ck_assert_uint_eq(b->m->debug->n_breaks + b->m->debug->n_watches, 0);
    bench_event(b, CHAR_OPENED);
    ck_assert_int_eq(b->m->state, RUN_PAUSED);
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "s", "T05thread:01;");
    now = clock_now(b->m->vclock);
    EXPECT(b, "D", "OK");
    ck_assert(silent(b));
    ck_assert_int_eq(b->m->state, RUN_RUNNING);
    ck_assert_int_gt(clock_now(b->m->vclock), now); /* no longer held by a step */
    bench_event(b, CHAR_CLOSED);
}
ON_EACH_BACK_END(clients_come_and_go_at_any_time, comes_again, 1)

static void quits(Bench *b)
{
    EXPECT(b, "qC", "QC01");
}

START_TEST(the_exit_status_is_told)
{
    Bench *b = bench_run(quits, 1, false, "x86_64");

    gdbstub_free(b->stub);
    b->stub = NULL;
    ck_assert_str_eq(read_packet(b), "W07");
    bench_free(b);
}
END_TEST

static void kills(Bench *b)
{
    send_packet(b, "vKill;1");
    ck_assert_str_eq(read_packet(b), "OK");
}

START_TEST(kill_ends_the_machine)
{
    Bench *b = bench_run(kills, 1, false, "x86_64");

    ck_assert_int_eq(b->m->exit_code, 0);
    ck_assert_int_eq(b->m->cause, SHUTDOWN_HOST_QUIT);
    bench_free(b);
}
END_TEST

static void is_slow(Bench *b)
{
    enum { TIMES = 400 };
    char text[5 * TIMES];
    size_t left;

    b->budget = 100;
    for (unsigned i = 0; i < TIMES; i++)
        memcpy(text + 5 * i, "$g#67", 5);
    left = bench_send(b, text, 5 * TIMES);
    ck_assert(b->blocked);
    for (unsigned i = 0; i < TIMES * 2000 / GDB_PACKET_MAX + 200; i++) {
        pthread_mutex_lock(&b->mutex);
        b->got_n = 0;
        b->budget = GDB_PACKET_MAX;
        pthread_mutex_unlock(&b->mutex);
        bench_event(b, CHAR_WRITABLE);
        if (left)
            left = bench_send(b, text + 5 * TIMES - left, left);
    }
    b->budget = SIZE_MAX;
    bench_event(b, CHAR_WRITABLE);
    pthread_mutex_lock(&b->mutex);
    b->got_n = 0;
    pthread_mutex_unlock(&b->mutex);
    ck_assert_uint_eq(left, 0);
    EXPECT(b, "qC", "QC01");
}
ON_EACH_BACK_END(a_slow_reader_holds_the_stub_back, is_slow, 1)

static void resets(Bench *b)
{
    EXPECT(b, "Z0,1014,1", "OK");
    EXPECT(b, "c", "T05thread:01;");
    send_packet(b, "R00");
    EXPECT(b, "?", "T05thread:01;");
    ck_assert_uint_eq(pc(b), AT_LOOP);
    ck_assert_uint_eq(reg(b, RAX), 0);
    send_packet(b, "z0,1014,1");
    ck_assert_str_eq(receive(b), "OK");
    send_packet(b, "c");
    ck_assert(bench_byte(b) == '+' && silent(b));
    machine_request_reset(b->m); /* by the guest: no reason to stop */
    ck_assert(silent(b));
    bench_send(b, "\3", 1);
    ck_assert_str_eq(receive(b), "T02thread:01;");
}
ON_EACH_BACK_END(resets_are_no_stops, resets, 1)

UNIT_MAIN("gdb", packets_are_taken_apart, what_is_framed_is_parsed_to_the_same,
          runs_are_expanded_within_bounds, the_stub_says_what_it_can, mistakes_get_an_error,
          lost_packets_are_asked_for_and_sent_again, the_description_fits_the_registers,
          a_32_bit_processor_has_32_bit_registers, registers_are_read_and_written,
          memory_is_read_and_written_by_virtual_and_physical_addresses,
          breakpoints_stop_before_their_instruction_and_leave_memory_alone,
          breakpoints_and_new_code_take_effect_in_code_that_has_run, a_step_is_one_instruction,
          strings_shadows_and_halts_are_stepped, steps_hold_interrupts_and_time_back,
          watchpoints_stop_behind_the_access, watchpoints_take_effect_in_code_that_has_run,
          threads_run_step_and_stay_on_their_own, hits_of_several_processors_are_told_one_by_one,
          clients_come_and_go_at_any_time, the_exit_status_is_told, kill_ends_the_machine,
          a_slow_reader_holds_the_stub_back, resets_are_no_stops)
