/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setup - from a Config to a machine that can be started, and back; setup.h has the order */
#include "main/setup.h"

#include <fcntl.h>

#include "base/alloc.h"
#include "base/log.h"
#include "block/cmds.h"
#include "block/nbd_server.h"
#include "core/fds.h"
#include "core/memory_backend.h"
#include "main/dry_run.h"

/* --- choosing --- */

static bool accel_is_known(const char *name)
{
    static const char *const missing[] = {"kvm", "xen", "hax", "hvf", "whpx", "nvmm", "qtest"};

    for (unsigned i = 0; i < COUNT_OF(missing); i++)
        if (!strcmp(name, missing[i]))
            return true;
    return false;
}

static const Accel *pick_accel(const Config *c, Error *err)
{
    AUTO_FREE char *list = xstrdup(c->accels ? c->accels : "jit");
    const Accel *a = NULL;
    char *save = NULL;
    unsigned tried = 0;

    for (char *name = strtok_r(list, ":", &save); name && !a; name = strtok_r(NULL, ":", &save)) {
        Error why = {0};

        a = accel_find(name);
        if (!a && accel_is_known(name)) {
            error_set(err, "-accel %s: this accelerator is not built yet (-accel jit is)", name);
        } else if (!a) {
            error_set(err, "-accel %s: invalid accelerator %s (jit)", name, name);
        } else if (!a->probe(c->arch, &why)) {
            error_set(err, "-accel %s: %s", name, why.msg);
            a = NULL;
        } else if (tried) {
            log_warn("%s; using %s", err->msg, name);
        }
        tried++;
    }
    if (a)
        err->msg[0] = 0;
    return a;
}

static void machine_refused(const char *name, const char *arch, Error *err)
{
    const char *names[64], *near;
    unsigned n = 0;

    for (const Board *b = board_next(NULL); b && n < COUNT_OF(names); b = board_next(b))
        if (board_has_arch(b, arch))
            names[n++] = b->name;
    near = nearest_name(name, names, n);
    error_set(err,
              "-machine %s: unsupported machine type%s%s%s (use -machine help to list supported "
              "machines)",
              name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static const Board *pick_board(const Config *c, Error *err)
{
    static const char *const missing[] = {"q35",   "pc-q35",   "pc-i440fx", "microvm",
                                          "isapc", "x-remote", "virt"};
    const char *name = c->board;
    const Board *b = board_find(name, c->arch);

    if (b && c->mc.max_cpus > b->max_cpus) {
        error_set(err, "-smp %u: Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u",
                  c->mc.max_cpus, c->mc.max_cpus, b->name, b->max_cpus);
        return NULL;
    }
    if (b)
        return b;
    if (!board_find(NULL, c->arch)) {
        error_set(err, "guests of %s are not built yet (x86_64 and i386 are)", c->arch);
        return NULL;
    }
    for (unsigned i = 0; i < COUNT_OF(missing); i++)
        if (!strncmp(name, missing[i], strlen(missing[i]))) {
            error_set(err, "-machine %s: this machine is not built yet (pc is)", name);
            return NULL;
        }
    machine_refused(name, c->arch, err);
    return NULL;
}

/* --- -machine's properties --- */

/* Those that change nothing here, or nothing that is built: any value, or only this one. */
typedef struct Harmless {
    const char *key, *only;
} Harmless;

static const Harmless harmless[] = {
    {"kernel_irqchip", NULL},
    {"vmport", NULL},
    {"dump-guest-core", NULL},
    {"mem-merge", NULL},
    {"graphics", NULL},
    {"suppress-vmdesc", NULL},
    {"aes-key-wrap", NULL},
    {"dea-key-wrap", NULL},
    {"fd-bootchk", NULL},
    {"smm", "off"},
    {"nvdimm", "off"},
    {"hmat", "off"},
    {"i8042", NULL},
    {"smbus", NULL},
    {"pcspk-audiodev", ""},
    {"usb", "off"},
    {"default-bus-bypass-iommu", NULL},
    {"enforce-config-section", NULL},
};

static const char *nearest_property(const Type *t, const char *key)
{
    const char *names[64] = {"accel", "kernel", "initrd", "append", "firmware", "memory-backend"};
    unsigned n = 6;

    for (unsigned i = 0; t && i < t->n_fields && n < COUNT_OF(names); i++)
        names[n++] = t->fields[i].name;
    for (unsigned i = 0; i < COUNT_OF(harmless) && n < COUNT_OF(names); i++)
        names[n++] = harmless[i].key;
    return nearest_name(key, names, n);
}

static bool board_option(Setup *s, const Opt *o, Error *err)
{
    const char *near;
    const Type *t = s->m->board->options;
    const Field *f = t ? reflect_find(t, o->key, FIELD_PROP) : NULL;

    if (f)
        return reflect_set(f, s->m->board_state, o->value, err) || error_prefix(err, "-machine: ");
    for (unsigned i = 0; i < COUNT_OF(harmless); i++) {
        if (!name_is(harmless[i].key, o->key))
            continue;
        if (!harmless[i].only || !strcmp(harmless[i].only, o->value))
            return true;
        return error_set(
            err, "-machine %s=%s: not built yet for machine '%s' (leave it out, or %s=%s)", o->key,
            o->value, s->m->board->name, o->key, *harmless[i].only ? harmless[i].only : "''");
    }
    near = nearest_property(t, o->key);
    return error_set(err, "-machine %s=%s: Property '%s-machine.%s' not found%s%s%s", o->key,
                     o->value, s->m->board->name, o->key, near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "");
}

/* What the board would silently ignore. */
static bool check_features(const MachineConfig *mc, const Board *b, Error *err)
{
    const struct {
        bool given;
        uint32_t feature;
        const char *option, *what;
    } wants[] = {
        {mc->fw_cfg.n, BOARD_FW_CFG, "fw_cfg", "fw_cfg device"},
        {mc->smbios.n, BOARD_SMBIOS, "smbios", "SMBIOS tables"},
        {mc->dtb, 0, "dtb", "device tree"},
        {mc->acpitable.n, BOARD_ACPI_TABLES, "acpitable", "ACPI tables from files"},
        {mc->option_rom.n, BOARD_OPTION_ROMS, "option-rom", "option ROMs"},
        {mc->n_numa, BOARD_NUMA, "numa", "NUMA"},
        {mc->memory_backend, BOARD_MEMORY_BACKEND, "machine memory-backend", "memory of objects"},
        {mc->mem_path, BOARD_MEMORY_BACKEND, "mem-path", "memory of files"},
    };

    for (unsigned i = 0; i < COUNT_OF(wants); i++)
        if (wants[i].given && !(b->features & wants[i].feature))
            return error_set(err, "-%s: machine '%s' has no %s yet", wants[i].option, b->name,
                             wants[i].what);
    return true;
}

static bool check_config(const Config *c, const Board *b, Error *err)
{
    if (!c->mc.kernel && (c->mc.initrd || c->mc.append))
        return error_set(err, "%s: only allowed with -kernel",
                         c->mc.initrd ? "-initrd" : "-append");
    if (c->nographic && c->daemonize &&
        !c->nodefaults) /* the serial port would be on the terminal */
        return error_set(err, "-nographic cannot be used with -daemonize (-display none can)");
    if (!c->mc.kernel && !c->mc.bios && !(b->features & BOARD_FIRMWARE))
        return error_set(
            err, "nothing to start: no firmware is built in yet; give -kernel FILE or -bios FILE");
    return check_features(&c->mc, b, err);
}

/* --- stages --- */

static bool run_stage(Setup *s, Stage stage, Error *err)
{
    for (unsigned i = 0; i < s->cfg->n_later[stage]; i++) {
        const Later *l = &s->cfg->later[stage][i];

        if (l->fn(s, l->arg, err))
            continue;
        return l->arg ? error_prefix(err, "-%s %s: ", l->option, l->arg)
                      : error_prefix(err, "-%s: ", l->option);
    }
    return true;
}

/* What there is if nothing is said.  With -nographic serial port and monitor share the terminal. */
static bool add_defaults(Config *c, Error *err)
{
    if (c->nodefaults)
        return true;
    if (!c->has_serial)
        return option_apply(c, "serial",
                            c->daemonize     ? "null"
                            : !c->nographic  ? "null"
                            : c->has_monitor ? "stdio"
                                             : "mon:stdio",
                            err);
    if (!c->has_monitor && c->nographic && !c->daemonize)
        return option_apply(c, "monitor", "stdio", err);
    return true;
}

bool setup_monitor(Setup *s, const char *id, MonitorMode mode, bool pretty, Error *err)
{
    Chardev *c;

    if (s->n_monitors == MONITORS_MAX)
        return error_set(err, "more than %d monitors", MONITORS_MAX);
    if (!(c = chardev_claim(s->chardevs, id, err)))
        return false;
    s->monitors[s->n_monitors++] = monitor_new(s->m, c, mode, pretty);
    return true;
}

/* --- Ctrl-A x, Ctrl-A s --- */

static void quit(void *arg)
{
    machine_request_shutdown(((Setup *)arg)->m, SHUTDOWN_HOST_QUIT, 0);
}

static void commit(void *arg)
{
    StrBuf out = {0};

    hmp_run(((Setup *)arg)->m, "commit all", 0, &out);
    strbuf_free(&out);
}

/* --- files of character devices and images: also descriptors that were handed to us --- */

static int open_file(void *arg, const char *path, int flags, unsigned mode)
{
    if (((Setup *)arg)->cfg->dry_run && flags & O_CREAT && strncmp(path, "/dev/", 5))
        return dry_open(path, flags);
    return fds_open(((Setup *)arg)->m, path, flags, mode);
}

static int take_fd(void *arg, const char *name, Error *err)
{
    return fds_take(((Setup *)arg)->m, name, err);
}

/* --- all of it --- */

static bool make_machine(Setup *s, Error *err)
{
    Config *c = s->cfg;
    const Board *b = pick_board(c, err);
    const Accel *a = b ? pick_accel(c, err) : NULL;

    c->mc.arch = c->arch;
    c->mc.memory_backend = c->memory_backend;
    c->mc.globals = (ConfigTexts){c->globals.s, c->globals.n};
    c->mc.data_dirs = (ConfigTexts){c->data_dirs.s, c->data_dirs.n};
    if (c->dry_run && c->mc.mem_path && !dry_mem_path(&c->mc.mem_path, err))
        return false;
    if (!a || !check_config(c, b, err) || !numa_complete(c, err) ||
        !(s->m = machine_new(b, a, &c->mc, err)))
        return false;
    s->m->name = xstrdup(c->name);
    s->m->uuid = xstrdup(c->uuid);
    s->objects = s->m->objects = objects_new();
    s->chardevs = chardevs_new(&(ChardevHost){.loop = s->m->loop,
                                              .quit = quit,
                                              .commit = commit,
                                              .arg = s,
                                              .objects = s->objects,
                                              .escape = c->escape,
                                              .open = open_file,
                                              .take_fd = take_fd,
                                              .dry = c->dry_run});
    s->m->chardevs = s->chardevs;
    s->block_ctx = blockctx_new(s->m->loop, err);
    if (!s->block_ctx)
        return false;
    s->graph = s->m->graph = graph_new(s->block_ctx, err);
    graph_set_objects(s->graph, s->objects);
    graph_set_opener(s->graph, open_file, s);
    block_events_begin(s->m);
    s->jobs = s->m->jobs = jobs_new(s->m, s->m->loop);
    for (unsigned i = 0; i < c->board_opts.n; i++)
        if (!board_option(s, &c->board_opts.o[i], err))
            return false;
    return true;
}

static bool is_driver(const char *name)
{
    for (const DeviceClass *d = device_class_next(NULL); d; d = device_class_next(d))
        if (!strcmp(d->name, name) || (d->alias && !strcmp(d->alias, name)) ||
            (d->parent && !strcmp(d->parent, name)))
            return true;
    return false;
}

/* -global of a driver that there is not: maybe a slip of the pen, maybe a device of QEMU's only. */
static void warn_of_globals(const Config *c)
{
    for (unsigned i = 0; i < c->globals.n; i++) {
        const char *text = c->globals.s[i];
        AUTO_FREE char *driver = xasprintf("%.*s", (int)strcspn(text, "."), text);

        if (!is_driver(driver))
            log_warn("global %.*s has invalid class name", (int)strcspn(text, "="), text);
    }
}

/* Without -m the object that is the RAM says how much there is. */
static bool make_objects(Setup *s, Error *err)
{
    if (!run_stage(s, STAGE_OBJECT, err))
        return false;
    if (s->cfg->memory_backend && !s->cfg->mc.ram_size)
        s->m->cfg.ram_size = memory_backend_size(s->objects, s->cfg->memory_backend);
    return numa_memory(s->m, err);
}

bool setup_make(Setup *s, Config *c, Error *err)
{
    *s = (Setup){.cfg = c};
    if (!make_machine(s, err) || !add_defaults(c, err) || !make_objects(s, err))
        return false;
    for (unsigned stage = STAGE_OBJECT + 1; stage <= STAGE_BOARD; stage++)
        if (!run_stage(s, (Stage)stage, err))
            return false;
    if (!machine_build(s->m, err) || !run_stage(s, STAGE_DEVICE, err) ||
        !run_stage(s, STAGE_LATE, err))
        return false;
    chardevs_set_running(s->chardevs);
    warn_of_globals(c);
    return true;
}

void setup_free(Setup *s)
{
    gdbstub_free(s->gdb);
    for (unsigned i = 0; i < s->n_monitors; i++)
        monitor_free(s->monitors[i]);
    chardevs_stop(s->chardevs);
    jobs_free(s->jobs);
    if (s->m)
        nbd_server_free(s->m->nbd);
    if (s->m)
        machine_pause(s->m);
    graph_free(s->graph);
    blockctx_free(s->block_ctx);
    machine_free(s->m);
    chardevs_free(s->chardevs);
    objects_free(s->objects);
    *s = (Setup){0};
}
