/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of main/options.h */
#include "main/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static Config c;
static Error err;

/* Parse a command line of words separated by blanks. */
static bool parse(const char *line)
{
    char copy[512], program[] = "rhea", *argv[32] = {program}, *save = NULL;
    int n = 1;

    config_free(&c);
    config_init(&c, "/usr/bin/rhea");
    err.msg[0] = 0;
    strncpy(copy, line, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[n++] = w;
    return options_parse(&c, n, argv, &err);
}

#define REFUSED(line, text)                                                                        \
    do {                                                                                           \
        ck_assert(!parse(line));                                                                   \
        ck_assert_str_eq(err.msg, text);                                                           \
    } while (0)

START_TEST(one_and_two_dashes_are_the_same)
{
    ck_assert(parse("--kernel k -append a --no-reboot -nographic"));
    ck_assert_str_eq(c.mc.kernel, "k");
    ck_assert_str_eq(c.mc.append, "a");
    ck_assert(c.mc.no_reboot && c.nographic);
}
END_TEST

START_TEST(memory_sizes_take_suffixes)
{
    static const struct {
        const char *line;
        uint64_t mib;
    } good[] = {
        {"-m 512", 512},
        {"-m 4G", 4096},
        {"-m size=219136k", 214},
        {"-m 1.5G", 1536},
        {"-m size=1G,slots=4", 1024},
    };

    for (unsigned i = 0; i < COUNT_OF(good); i++) {
        ck_assert_msg(parse(good[i].line), "%s", err.msg);
        ck_assert_uint_eq(c.mc.ram_size, good[i].mib * MIB);
    }
    REFUSED("-m lots", "-m lots: 'lots' is not a size");
    ck_assert(!parse("-m 99999999T"));
    ck_assert_ptr_nonnull(strstr(err.msg, "-m 99999999T: "));
    ck_assert(!parse("-m -1"));
    ck_assert(!parse("-m 1G,bogus=1"));
}
END_TEST

START_TEST(missing_topology_is_computed_cores_first)
{
    static const struct {
        const char *line;
        unsigned v[6];
    } good[] = {
        {"-smp 4", {4, 4, 1, 1, 4, 1}},
        {"-smp 2,sockets=4,cores=1,threads=1,maxcpus=4", {2, 4, 4, 1, 1, 1}},
        {"-smp sockets=2,cores=2,threads=2", {8, 8, 2, 1, 2, 2}},
        {"-smp 8,threads=2", {8, 8, 1, 1, 4, 2}},
        {"-smp 8,cores=2", {8, 8, 4, 1, 2, 1}},
        {"-smp cpus=6,maxcpus=12,dies=2", {6, 12, 1, 2, 6, 1}},
        {"-smp 4,sockets=1,cores=2", {4, 4, 1, 1, 2, 2}},
    };

    for (unsigned i = 0; i < COUNT_OF(good); i++) {
        const unsigned *v = good[i].v;

        ck_assert_msg(parse(good[i].line), "%s", err.msg);
        ck_assert_uint_eq(c.mc.cpus, v[0]);
        ck_assert_uint_eq(c.mc.max_cpus, v[1]);
        ck_assert_uint_eq(c.mc.sockets, v[2]);
        ck_assert_uint_eq(c.mc.dies, v[3]);
        ck_assert_uint_eq(c.mc.cores, v[4]);
        ck_assert_uint_eq(c.mc.threads, v[5]);
    }
    REFUSED("-smp 0", "-smp 0: cpus=0 is not a number from 1 to 65536");
    REFUSED("-smp x", "-smp x: cpus=x is not a number from 1 to 65536");
    REFUSED("-smp 3,sockets=2,cores=2",
            "-smp 3,sockets=2,cores=2: Invalid CPU topology: product of the hierarchy "
            "must match maxcpus: sockets (2) * dies (1) * cores (2) * threads (0) != maxcpus (3)");
    REFUSED("-smp 4,maxcpus=2",
            "-smp 4,maxcpus=2: Invalid CPU topology: maxcpus must be equal to or "
            "greater than smp: maxcpus (2) < smp_cpus (4)");
}
END_TEST

START_TEST(machine_and_accelerator_properties)
{
    ck_assert(parse("-M pc,accel=kvm:tcg,usb=off,kernel_irqchip=on,hpet=off"));
    ck_assert_str_eq(c.board, "pc");
    ck_assert_str_eq(c.accels, "kvm:tcg");
    ck_assert_uint_eq(c.board_opts.n, 3); /* the board says which of them it has */
    ck_assert_str_eq(c.board_opts.o[2].key, "hpet");
    ck_assert(parse("-machine pc -machine hpet=off,memory-backend=mem -M kernel=k,append=x"));
    ck_assert_str_eq(c.board, "pc");
    ck_assert_str_eq(c.memory_backend, "mem");
    ck_assert_str_eq(c.mc.kernel, "k");
    ck_assert(parse("-accel tcg,thread=single,tb-size=64,backend=interp"));
    ck_assert_uint_eq(c.mc.tb_size, 64 * MIB);
    ck_assert(c.mc.thread_single && c.mc.backend_interp);
    ck_assert(parse("-enable-kvm -accel tcg"));
    ck_assert_str_eq(c.accels, "kvm:tcg");
    REFUSED("-accel jit,thread=two",
            "-accel jit,thread=two: thread=two is neither multi nor single");
    REFUSED("-accel jit,colour=red",
            "-accel jit,colour=red: there is no property 'colour' (thread, tb-size, backend)");
}
END_TEST

START_TEST(unknown_options_get_a_hint_and_unbuilt_ones_are_named)
{
    REFUSED("-kernle x", "-kernle: invalid option; did you mean -kernel?");
    REFUSED("-xyzzyplugh", "-xyzzyplugh: invalid option");
    REFUSED("-qtest x",
            "-qtest x: the qtest protocol is not supported (-S and QMP control a machine)");
    REFUSED("-m", "-m: requires an argument");
    REFUSED("-uuid 1234", "-uuid 1234: failed to parse UUID string: wrong format "
                          "(xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)");
}
END_TEST

START_TEST(every_option_does_one_thing)
{
    for (const OptionTable *t = option_table_next(NULL); t; t = option_table_next(t))
        for (const Option *o = t->rows; o->name; o++) {
            ck_assert_msg(!!o->apply + !!o->now + !!o->translate + !!o->missing == 1, "%s",
                          o->name);
            ck_assert_msg(!t->heading || (o->doc && *o->doc), "%s", o->name);
            ck_assert_ptr_nonnull(option_find(o->name));
        }
}
END_TEST

START_TEST(older_spellings_mean_what_they_meant)
{
    ck_assert(parse("-enable-kvm -no-acpi -no-hpet -localtime -s -balloon none -clock unix "
                    "-realtime mlock=on"));
    ck_assert_str_eq(c.accels, "kvm");
    ck_assert_uint_eq(c.board_opts.n, 2);
    ck_assert_str_eq(c.board_opts.o[0].key, "acpi");
    ck_assert(!c.mc.rtc_utc);
    ck_assert_uint_eq(c.n_later[STAGE_LATE], 1);
    ck_assert_str_eq(c.later[STAGE_LATE][0].arg, "tcp::1234");
    ck_assert(c.lock_memory);
    ck_assert(parse("-startdate 1970-01-01"));
    ck_assert_int_lt(c.mc.rtc_offset_s, -1000000000);
}
END_TEST

START_TEST(boot_and_actions_are_taken_apart)
{
    ck_assert(parse("-boot order=dc,once=d,menu=on,splash-time=5000,reboot-timeout=-1,strict=on"));
    ck_assert_str_eq(c.mc.boot.order, "dc");
    ck_assert_str_eq(c.mc.boot.once, "d");
    ck_assert(c.mc.boot.menu && c.mc.boot.strict);
    ck_assert_int_eq(c.mc.boot.splash_ms, 5000);
    ck_assert(parse("-boot n"));
    ck_assert_str_eq(c.mc.boot.order, "n");
    REFUSED("-boot xyz", "-boot xyz: Invalid boot device 'x'");
    REFUSED("-boot order=cc", "-boot order=cc: Boot device 'c' was given twice");
    REFUSED("-boot menu=maybe", "-boot menu=maybe: Parameter 'menu' expects 'on' or 'off'");
    REFUSED("-boot foo=1", "-boot foo=1: Invalid parameter 'foo'");
    ck_assert(parse("-action reboot=shutdown,shutdown=pause,panic=none -watchdog-action pause"));
    ck_assert(c.mc.no_reboot && c.mc.no_shutdown);
    ck_assert_int_eq(c.mc.panic_action, PANIC_NONE);
    ck_assert_int_eq(c.mc.watchdog_action, WATCHDOG_PAUSE);
    REFUSED("-action reboot=foo",
            "-action reboot=foo: Parameter 'reboot' does not accept value 'foo'");
    REFUSED("-action foo=bar", "-action foo=bar: Invalid parameter 'foo'");
}
END_TEST

START_TEST(numa_nodes_are_counted)
{
    ck_assert_msg(
        parse(
            "-numa node,memdev=m0,cpus=0-2,cpus=5 -numa node,mem=1G -numa dist,src=0,dst=1,val=30"),
        "%s", err.msg);
    ck_assert_uint_eq(c.mc.n_numa, 2);
    ck_assert_uint_eq(c.mc.numa[0].cpus[0], 0x27);
    ck_assert_str_eq(c.mc.numa[0].memdev, "m0");
    ck_assert_uint_eq(c.mc.numa[1].mem, GIB);
    ck_assert_uint_eq(c.mc.numa[0].distance[1], 30);
    ck_assert(parse("-numa node,nodeid=3")); /* in any order; gaps are seen at the end */
    ck_assert(!parse("-numa node,nodeid=3 -numa node,nodeid=3"));
    ck_assert(!parse("-numa node,cpus=1 -numa node,cpus=1"));
    ck_assert(parse("-numa node -numa cpu,node-id=0,socket-id=1"));
    ck_assert(!parse("-numa cpu,node-id=0,socket-id=1"));
    ck_assert(!parse("-numa node,cpus=3-1"));
    ck_assert(!parse("-numa node,mem=1,memdev=x"));
    ck_assert(!parse("-numa dist,src=0,dst=1,val=30"));
    ck_assert(!parse("-numa bogus"));
}
END_TEST

START_TEST(globals_have_two_forms)
{
    ck_assert(parse("-global a.b=c -global driver=d,property=e,value=f"));
    ck_assert_uint_eq(c.globals.n, 2);
    ck_assert_str_eq(c.globals.s[0], "a.b=c");
    ck_assert_str_eq(c.globals.s[1], "d.e=f");
    REFUSED("-global foo", "-global foo: Invalid parameter 'foo'");
}
END_TEST

START_TEST(set_and_readconfig_change_and_add)
{
    char path[] = "/tmp/test_options.XXXXXX", line[128];
    FILE *f = fdopen(mkstemp(path), "w");

    fprintf(f, "# a comment\n[machine]\n  type = \"pc\"\n[device \"d0\"]\ndriver = \"isa-x\"\n"
               "path = \"a,b\"\n[memory]\nsize = \"64M\"\n");
    fclose(f);
    snprintf(line, sizeof line, "-readconfig %s -set device.d0.irq=5", path);
    ck_assert_msg(parse(line), "%s", err.msg);
    ck_assert_str_eq(c.board, "pc");
    ck_assert_uint_eq(c.mc.ram_size, 64 * MIB);
    ck_assert_uint_eq(c.n_later[STAGE_DEVICE], 1);
    ck_assert_str_eq(c.later[STAGE_DEVICE][0].arg, "id=d0,driver=isa-x,path=a,,b,irq=5");
    REFUSED("-set a.b", "-set a.b: can't parse: \"a.b\"");
    REFUSED("-set device.x.y=1", "-set device.x.y=1: there is no device \"x\" defined");
    REFUSED("-readconfig /nowhere",
            "-readconfig /nowhere: Could not open '/nowhere': No such file or directory");
    unlink(path);
}
END_TEST

START_TEST(devices_and_chardevs_wait_for_their_stage)
{
    ck_assert(parse("-device x,id=a -chardev null,id=c -serial chardev:c -monitor none -object "
                    "secret,id=s,data=x"));
    ck_assert_uint_eq(c.n_later[STAGE_DEVICE], 1);
    ck_assert_uint_eq(c.n_later[STAGE_CHARDEV], 1);
    ck_assert_uint_eq(c.n_later[STAGE_PORT], 1);
    ck_assert_uint_eq(c.n_later[STAGE_MONITOR], 1);
    ck_assert_uint_eq(c.n_later[STAGE_OBJECT], 1);
    ck_assert(c.has_serial && c.has_monitor);
    ck_assert(parse("-serial mon:null"));
    ck_assert(c.has_monitor);
}
END_TEST

START_TEST(names_pick_the_architecture)
{
    static const struct {
        const char *name, *arch;
    } names[] = {
        {"rhea", "x86_64"},
        {"/a/rhea-system-i386", "i386"},
        {"qemu-system-x86_64", "x86_64"},
        {"./qemu-system-aarch64", "aarch64"},
    };

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        config_free(&c);
        config_init(&c, names[i].name);
        ck_assert_str_eq(c.arch, names[i].arch);
    }
}
END_TEST

START_TEST(the_clock_starts_where_it_is_told)
{
    ck_assert(parse("-rtc base=utc,clock=host,driftfix=slew"));
    ck_assert(c.mc.rtc_utc);
    ck_assert_int_eq(c.mc.rtc_offset_s, 0);
    ck_assert(parse("-rtc base=1970-01-01T00:00:10"));
    ck_assert_int_lt(c.mc.rtc_offset_s, -1000000000);
    ck_assert(!parse("-rtc base=yesterday"));
    ck_assert(!parse("-rtc clock=bogus"));
    ck_assert(parse("-rtc clock=vm"));
    ck_assert_uint_eq(c.mc.rtc_clock, RTC_VM);
}
END_TEST

UNIT_MAIN("options", one_and_two_dashes_are_the_same, memory_sizes_take_suffixes,
          missing_topology_is_computed_cores_first, machine_and_accelerator_properties,
          unknown_options_get_a_hint_and_unbuilt_ones_are_named, every_option_does_one_thing,
          older_spellings_mean_what_they_meant, boot_and_actions_are_taken_apart,
          numa_nodes_are_counted, globals_have_two_forms, set_and_readconfig_change_and_add,
          devices_and_chardevs_wait_for_their_stage, names_pick_the_architecture,
          the_clock_starts_where_it_is_told)
