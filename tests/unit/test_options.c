/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of main/options.h */
#include "main/options.h"
#include "tests/unit/unit.h"

static Config c;
static Error err;

/* Parse a command line of words separated by blanks. */
static bool parse(const char *line)
{
    char copy[256], program[] = "rhea", *argv[32] = {program}, *save = NULL;
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
    REFUSED("-smp 3,sockets=2,cores=2", "-smp 3,sockets=2,cores=2: sockets (2) * dies (1) * cores "
                                        "(2) * threads (0) is not maxcpus (3)");
    REFUSED("-smp 4,maxcpus=2", "-smp 4,maxcpus=2: maxcpus (2) is below cpus (4)");
}
END_TEST

START_TEST(machine_and_accelerator_properties)
{
    ck_assert(parse("-M pc,accel=kvm:tcg,usb=off,kernel_irqchip=on,hpet=off"));
    ck_assert_str_eq(c.board, "pc");
    ck_assert_str_eq(c.accels, "kvm:tcg");
    ck_assert_uint_eq(c.board_opts.n, 1);
    ck_assert_str_eq(c.board_opts.o[0].key, "hpet");
    ck_assert(parse("-accel tcg,thread=single,tb-size=64,backend=interp"));
    ck_assert_uint_eq(c.mc.tb_size, 64 * MIB);
    ck_assert(c.mc.thread_single && c.mc.backend_interp);
    ck_assert(parse("-enable-kvm -accel tcg"));
    ck_assert_str_eq(c.accels, "kvm:tcg");
    REFUSED("-machine pc,usb=on", "-machine pc,usb=on: usb=on is not built yet");
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
    REFUSED("-S", "-S: this option is not built yet");
    REFUSED("--drive file=x", "-drive: this option is not built yet");
    REFUSED("-m", "-m: requires an argument");
    REFUSED("disk.img", "'disk.img': disk images are not built yet");
    REFUSED("-vga std", "-vga std: not built yet (only 'none')");
    REFUSED("-uuid 1234", "-uuid 1234: not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)");
}
END_TEST

START_TEST(no_option_is_both_built_and_missing)
{
    for (const Option *o = option_table; o->name; o++) {
        ck_assert_msg(!o->doc || (*o->doc && o->apply), "%s", o->name);
        ck_assert_msg(!o->doc || !option_is_missing(o->name), "%s", o->name);
    }
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
    ck_assert(!parse("-rtc clock=vm"));
}
END_TEST

UNIT_MAIN("options", one_and_two_dashes_are_the_same, memory_sizes_take_suffixes,
          missing_topology_is_computed_cores_first, machine_and_accelerator_properties,
          unknown_options_get_a_hint_and_unbuilt_ones_are_named,
          no_option_is_both_built_and_missing, names_pick_the_architecture,
          the_clock_starts_where_it_is_told)
