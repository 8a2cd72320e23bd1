/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opt_machine - -machine, -accel, -cpu, -smp, -m, -rtc and the other options that describe the
 * machine */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "hw/firmware/smbios.h"
#include "main/options.h"

static bool opt_machine(Config *c, const char *arg, Error *err)
{
    struct {
        const char *key;
        char **to;
    } texts[] = {{"kernel", &c->mc.kernel},
                 {"initrd", &c->mc.initrd},
                 {"append", &c->mc.append},
                 {"dtb", &c->mc.dtb},
                 {"firmware", &c->mc.bios},
                 {"accel", &c->accels},
                 {"memory-backend", &c->memory_backend}};
    const char *value;
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
    if (opts_get(&o, "help") || opts_get(&o, "?")) {
        opts_free(&o);
        c->done = true;
        return list_board_properties(c, err);
    }
    for (unsigned i = 0; i < COUNT_OF(texts); i++)
        if ((value = opts_get(&o, texts[i].key)))
            set_text(texts[i].to, value);
    for (unsigned i = 0; i < o.n; i++) {
        Opt *mine;

        if (o.o[i].used)
            continue;
        mine = xrealloc(c->board_opts.o, (c->board_opts.n + 1) * sizeof *mine);
        c->board_opts.o = mine;
        mine[c->board_opts.n++] = (Opt){.key = xstrdup(o.o[i].key), .value = xstrdup(o.o[i].value)};
    }
    opts_free(&o);
    return true;
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
    static const char *const ignored[] = {"split-wx",        "kernel-irqchip",  "kvm-shadow-mem",
                                          "dirty-ring-size", "one-insn-per-tb", "notify-vmexit"};
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
        bool known = o->o[i].used;

        for (unsigned k = 0; k < COUNT_OF(ignored); k++)
            known |= name_is(ignored[k], o->o[i].key);
        if (!known)
            return error_set(err, "there is no property '%s' (thread, tb-size, backend)",
                             o->o[i].key);
    }
    return true;
}

static bool opt_accel(Config *c, const char *arg, Error *err)
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

static bool opt_cpu(Config *c, const char *arg, Error *err)
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
                         "Invalid CPU topology: product of the hierarchy must match maxcpus: "
                         "sockets (%" PRIu64 ") * dies (%" PRIu64 ") * cores (%" PRIu64
                         ") * threads (%" PRIu64 ") != maxcpus (%" PRIu64 ")",
                         v[SMP_SOCKETS], v[SMP_DIES], v[SMP_CORES], v[SMP_THREADS], max);
    if (v[SMP_CPUS] > max)
        return error_set(err,
                         "Invalid CPU topology: maxcpus must be equal to or greater than smp: "
                         "maxcpus (%" PRIu64 ") < smp_cpus (%" PRIu64 ")",
                         max, v[SMP_CPUS]);
    return true;
}

static bool opt_smp(Config *c, const char *arg, Error *err)
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

static bool opt_memory(Config *c, const char *arg, Error *err)
{
    const char *size, *max, *slots;
    uint64_t bytes = 0, max_bytes = 0, n_slots = 0;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, "size", err))
        return false;
    size = opts_get(&o, "size");
    max = opts_get(&o, "maxmem");
    slots = opts_get(&o, "slots");
    ok = opts_all_used(&o, err);
    if (ok && size && !parse_size(size, 'M', &bytes))
        ok = error_set(err, "'%s' is not a size", size);
    if (ok && max && !parse_size(max, 'M', &max_bytes))
        ok = error_set(err, "maxmem=%s is not a size", max);
    if (ok && slots && (!parse_u64(slots, &n_slots) || n_slots > 256))
        ok = error_set(err, "slots=%s is not a number of at most 256", slots);
    if (ok && max && bytes && max_bytes < bytes)
        ok = error_set(err,
                       "invalid value of maxmem: maximum memory size (0x%" PRIx64
                       ") must be at least the initial memory size (0x%" PRIx64 ")",
                       max_bytes, bytes);
    if (ok && bytes > INT64_MAX)
        ok = error_set(err, "that is more than any board takes");
    opts_free(&o);
    c->mc.max_ram = max_bytes;
    c->mc.ram_slots = n_slots;
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

    c->mc.rtc_utc = strcmp(base, "localtime") != 0; /* the RTC knows what that means */
    c->mc.rtc_offset_s = 0;
    if (!strcmp(base, "utc") || !c->mc.rtc_utc)
        return true;
    end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end)
        end = strptime(base, "%Y-%m-%d", &tm);
    if (!end || *end || (then = timegm(&tm)) == (time_t)-1)
        return error_set(err,
                         "invalid datetime format '%s'; valid formats: utc, localtime, "
                         "'2006-06-17T16:01:21' or '2006-06-17'",
                         base);
    c->mc.rtc_offset_s = then - now;
    return true;
}

static bool opt_rtc(Config *c, const char *arg, Error *err)
{
    static const char *const clocks[] = {"host", "rt", "vm", NULL};
    static const char *const drifts[] = {"none", "slew", NULL};
    unsigned i = 0, slew = 0;
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
    if (ok && clock)
        ok = choose("clock", clock, clocks, &i, err);
    c->mc.rtc_clock = (RtcClock)i;
    if (ok && drift)
        ok = choose("driftfix", drift, drifts, &slew, err);
    c->mc.rtc_slew = slew;
    ok = ok && opts_all_used(&o, err);
    opts_free(&o);
    return ok;
}

/* --- memory, further --- */

OPT(opt_mem_path)
{
    char *own = xstrdup(arg);

    xfree((void *)(uintptr_t)c->mc.mem_path);
    c->mc.mem_path = own;
    return true;
}

OPT_FLAG(opt_mem_prealloc, mc.mem_prealloc)

OPT(opt_overcommit)
{
    bool pm = false, ok;
    Opts o;

    if (!opts_parse(&o, arg, NULL, err))
        return false;
    ok = opts_get_bool(&o, "mem-lock", &c->lock_memory, err) &&
         opts_get_bool(&o, "cpu-pm", &pm, err) && opts_all_used(&o, err);
    opts_free(&o);
    return ok;
}

/* --- -boot --- */

static bool boot_letters(const char *letters, Error *err)
{
    uint32_t seen = 0;

    for (const char *s = letters; *s; s++) {
        if (*s < 'a' || *s > 'p')
            return error_set(err, "Invalid boot device '%c'", *s);
        if (seen & 1u << (*s - 'a'))
            return error_set(err, "Boot device '%c' was given twice", *s);
        seen |= 1u << (*s - 'a');
    }
    return true;
}

static bool boot_number(Opts *o, const char *key, int32_t *out, Error *err)
{
    const char *text = opts_get(o, key);
    uint64_t v;
    bool minus = text && *text == '-';

    if (!text)
        return true;
    if (!parse_u64(text + minus, &v) || v > 0xffff || (minus && v != 1))
        return error_set(err, "%s=%s is not a number of milliseconds up to 65535, or -1", key,
                         text);
    *out = minus ? -1 : (int32_t)v;
    return true;
}

static void set_borrowed(const char **member, const char *to)
{
    char *own = xstrdup(to);

    xfree((void *)(uintptr_t)*member);
    *member = own;
}

OPT(opt_boot)
{
    BootConfig *b = &c->mc.boot;
    const char *order, *once, *splash;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, "order", err))
        return false;
    order = opts_get(&o, "order");
    once = opts_get(&o, "once");
    splash = opts_get(&o, "splash");
    ok = (!order || boot_letters(order, err)) && (!once || boot_letters(once, err)) &&
         opts_get_bool(&o, "menu", &b->menu, err) && opts_get_bool(&o, "strict", &b->strict, err) &&
         boot_number(&o, "splash-time", &b->splash_ms, err) &&
         boot_number(&o, "reboot-timeout", &b->reboot_ms, err) && opts_all_used(&o, err);
    if (ok && order)
        set_borrowed(&b->order, order);
    if (ok && once)
        set_borrowed(&b->once, once);
    if (ok && splash)
        set_borrowed(&b->splash, splash);
    opts_free(&o);
    return ok;
}

/* --- texts for the board --- */

static void add_text(ConfigTexts *t, const char *text)
{
    TextList l = {(char **)(uintptr_t)t->s, t->n};

    text_add(&l, text);
    *t = (ConfigTexts){l.s, l.n};
}

OPT(opt_fw_cfg)
{
    const char *name, *file, *string, *gen;
    bool ok;
    Opts o;

    if (!opts_parse(&o, arg, "name", err))
        return false;
    name = opts_get(&o, "name");
    file = opts_get(&o, "file");
    string = opts_get(&o, "string");
    gen = opts_get(&o, "gen_id");
    ok = opts_all_used(&o, err);
    if (ok && (!name || !*name || !!file + !!string + !!gen != 1))
        ok = error_set(err, "name, plus exactly one of file, string and gen_id, are needed");
    if (ok && gen)
        ok = error_set(err, "gen_id is not built (file and string are)");
    if (ok && strlen(name) > 55)
        ok = error_set(err, "name too long (max. 55 char)");
    if (ok)
        add_text(&c->mc.fw_cfg, arg);
    opts_free(&o);
    return ok;
}

OPT(opt_smbios)
{
    if (!smbios_check(arg, err))
        return false;
    add_text(&c->mc.smbios, arg);
    return true;
}

OPT(opt_acpitable)
{
    add_text(&c->mc.acpitable, arg);
    return true;
}

OPT(opt_option_rom)
{
    add_text(&c->mc.option_rom, arg);
    return true;
}

OPT_TEXT(opt_kernel, mc.kernel)
OPT_TEXT(opt_initrd, mc.initrd)
OPT_TEXT(opt_append, mc.append)
OPT_TEXT(opt_bios, mc.bios)
OPT_TEXT(opt_dtb, mc.dtb)

OPT(opt_data_dir)
{
    if (is_help(arg)) {
        for (unsigned i = 0; i < c->data_dirs.n; i++)
            printf("%s\n", c->data_dirs.s[i]);
        c->done = true;
    }
    text_add(&c->data_dirs, arg);
    return true;
}

static const Option rows[] = {
    {.name = "machine",
     .alias = "M",
     .arg = "[type=]name[,prop[=value][,...]]",
     .doc = "selects emulated machine ('-machine help' for list)\n"
            "property accel=accel1[:accel2[:...]] selects accelerator (default: jit)\n"
            "acpi=on|off describe the board by ACPI tables (default: on)\n"
            "hpet=on|off high precision event timers (default: on)\n"
            "memory-backend=id object that is the guest's RAM",
     .apply = opt_machine},
    {.name = "cpu",
     .arg = "cpu[,+feature][,-feature][,feature=on|off]",
     .doc = "select CPU ('-cpu help' for list)",
     .apply = opt_cpu},
    {.name = "accel",
     .arg = "[accel=]accelerator[,prop[=value][,...]]",
     .doc = "select accelerator (jit, also called tcg; use 'help' for a list)\n"
            "thread=single|multi one host thread for all processors or for each (default: multi)\n"
            "tb-size=n size of the code cache in MiB\n"
            "backend=x64|interp make host code, or interpret (default: x64)",
     .apply = opt_accel},
    {.name = "smp",
     .arg = "[[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,dies=dies][,cores=cores]"
            "[,threads=threads]",
     .doc = "set the number of initial CPUs to 'n' (default: 1)",
     .apply = opt_smp},
    {.name = "m",
     .arg = "[size=]megs[,slots=n,maxmem=size]",
     .doc = "configure guest RAM",
     .apply = opt_memory},
    {.name = "mem-path",
     .arg = "FILE",
     .doc = "provide backing storage for guest RAM",
     .apply = opt_mem_path},
    {.name = "mem-prealloc", .doc = "preallocate guest memory", .apply = opt_mem_prealloc},
    {.name = "overcommit",
     .arg = "[mem-lock=on|off][,cpu-pm=on|off]",
     .doc = "mem-lock=on keeps all memory in RAM\ncpu-pm=on is accepted and changes nothing",
     .apply = opt_overcommit},
    {.name = "rtc",
     .arg = "[base=utc|localtime|<datetime>][,clock=host|rt|vm][,driftfix=none|slew]",
     .doc = "set the RTC base and clock\nclock=vm stands while the machine does",
     .apply = opt_rtc},
    {.name = "boot",
     .arg = "[order=drives][,once=drives][,menu=on|off][,splash=file][,splash-time=ms]"
            "[,reboot-timeout=ms][,strict=on|off]",
     .doc = "'drives': floppy (a), hard disk (c), CD-ROM (d), network (n)",
     .apply = opt_boot},
    {.name = "fw_cfg",
     .arg = "[name=]<name>,file=<file>|string=<str>",
     .doc = "add named fw_cfg entry with contents from file or string",
     .apply = opt_fw_cfg},
    {.name = "smbios",
     .arg = "file=binary|type=n,field=value[,...]",
     .doc = "add an SMBIOS structure, or set fields of one\n"
            "type=0 vendor, version, date, release=n.n, uefi=on|off\n"
            "type=1 manufacturer, product, version, serial, uuid, sku, family\n"
            "type=2 manufacturer, product, version, serial, asset, location\n"
            "type=3 manufacturer, version, serial, asset, sku\n"
            "type=4 sock_pfx, manufacturer, version, serial, asset, part, max-speed,\n"
            "current-speed, processor-id\n"
            "type=11 value (several), path=file\n"
            "type=17 loc_pfx, bank, manufacturer, serial, asset, part, speed",
     .apply = opt_smbios},
    {.name = "acpitable",
     .arg = "[sig=str][,rev=n][,...]{,data|file}=file1[:file2]...",
     .doc = "add ACPI table",
     .apply = opt_acpitable},
    {.name = "option-rom",
     .arg = "rom",
     .doc = "load a file, rom, into the option ROM space",
     .apply = opt_option_rom},
    {.name = "L",
     .arg = "path",
     .doc = "look for firmware in this directory too",
     .apply = opt_data_dir},
    {0},
};
OPTIONS_REGISTER(machine, 10, "Machine options", rows)

static const Option linux_rows[] = {
    {.name = "kernel",
     .arg = "bzImage",
     .doc = "use 'bzImage' as kernel image (or an ELF file with a PVH note, or a multiboot kernel)",
     .apply = opt_kernel},
    {.name = "append",
     .arg = "cmdline",
     .doc = "use 'cmdline' as kernel command line",
     .apply = opt_append},
    {.name = "initrd",
     .arg = "file",
     .doc = "use 'file' as initial ram disk; multiboot, PVH: \"file args,file args\" are modules",
     .apply = opt_initrd},
    {.name = "dtb", .arg = "file", .doc = "use 'file' as device tree image", .apply = opt_dtb},
    {.name = "bios",
     .arg = "file",
     .doc = "firmware that starts at the reset vector",
     .apply = opt_bios},
    {0},
};
OPTIONS_REGISTER(linux_boot, 60, "Linux/Multiboot boot specific", linux_rows)
