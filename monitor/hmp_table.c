/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_table - the human commands, and how answers of QMP commands look to humans (QEMU 7.2's
 * hmp-commands) */
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "monitor/hmp_priv.h"
#include "monitor/version.h"

/* --- members of answers --- */

const char *hmp_text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

long long hmp_number(const json_t *j, const char *name)
{
    return json_integer_value(json_object_get(j, name));
}

bool hmp_true(const json_t *j, const char *name)
{
    return json_is_true(json_object_get(j, name));
}

/* --- answers --- */

static void show_status(HmpCall *h, const json_t *r)
{
    const char *status = hmp_text(r, "status");

    hmp_print(h, "VM status: %s", hmp_true(r, "running") ? "running" : "paused");
    if (!hmp_true(r, "running") && strcmp(status, "paused"))
        hmp_print(h, " (%s)", status);
    hmp_print(h, "\n");
}

static void show_version(HmpCall *h, const json_t *r)
{
    const json_t *v = json_object_get(r, "qemu");

    hmp_print(h, "%lld.%lld.%lld%s\n", hmp_number(v, "major"), hmp_number(v, "minor"),
              hmp_number(v, "micro"), hmp_text(r, "package"));
}

static void show_name(HmpCall *h, const json_t *r)
{
    if (json_object_get(r, "name"))
        hmp_print(h, "%s\n", hmp_text(r, "name"));
}

static void show_uuid(HmpCall *h, const json_t *r)
{
    hmp_print(h, "%s\n", hmp_text(r, "UUID"));
}

static void show_kvm(HmpCall *h, const json_t *r)
{
    hmp_print(h, "kvm support: %s\n",
              !hmp_true(r, "present")  ? "not compiled"
              : hmp_true(r, "enabled") ? "enabled"
                                       : "disabled");
}

static void show_cpus(HmpCall *h, const json_t *r)
{
    json_t *c;
    size_t i;

    json_array_foreach (r, i, c)
        hmp_print(h, "%c CPU #%lld: thread_id=%lld\n", i == h->cpu_index ? '*' : ' ',
                  hmp_number(c, "cpu-index"), hmp_number(c, "thread-id"));
}

static void show_hotpluggable(HmpCall *h, const json_t *r)
{
    json_t *c, *value;
    const char *key;
    size_t i;

    hmp_print(h, "Hotpluggable CPUs:\n");
    json_array_foreach (r, i, c) {
        hmp_print(h, "  type: \"%s\"\n  vcpus_count: \"%lld\"\n", hmp_text(c, "type"),
                  hmp_number(c, "vcpus-count"));
        if (json_object_get(c, "qom-path"))
            hmp_print(h, "  qom_path: \"%s\"\n", hmp_text(c, "qom-path"));
        hmp_print(h, "  CPUInstance Properties:\n");
        json_object_foreach (json_object_get(c, "props"), key, value)
            hmp_print(h, "    %s: \"%lld\"\n", key, (long long)json_integer_value(value));
    }
}

static void show_memory_summary(HmpCall *h, const json_t *r)
{
    hmp_print(h, "base memory: %lld\nplugged memory: %lld\n", hmp_number(r, "base-memory"),
              hmp_number(r, "plugged-memory"));
}

static void show_chardevs(HmpCall *h, const json_t *r)
{
    json_t *c;
    size_t i;

    json_array_foreach (r, i, c)
        hmp_print(h, "%s: filename=%s\n", hmp_text(c, "label"), hmp_text(c, "filename"));
}

static void show_iothreads(HmpCall *h, const json_t *r)
{
    json_t *t;
    size_t i;

    json_array_foreach (r, i, t)
        hmp_print(h, "%s:\n  thread_id=%lld\n  poll-max-ns=%lld\n", hmp_text(t, "id"),
                  hmp_number(t, "thread-id"), hmp_number(t, "poll-max-ns"));
}

static void show_text(HmpCall *h, const json_t *r)
{
    const char *s = json_string_value(json_object_get(r, "human-readable-text"));

    strbuf_add(h->out, s ? s : "");
}

static void show_dump(HmpCall *h, const json_t *r)
{
    const char *status = hmp_text(r, "status");
    long long total = hmp_number(r, "total");

    hmp_print(h, "Status: %s\n", status);
    if (!strcmp(status, "active"))
        hmp_print(h, "Finished: %.2f %%\n",
                  total ? 100.0 * (double)hmp_number(r, "completed") / (double)total : 0);
}

static void show_properties(HmpCall *h, const json_t *r)
{
    json_t *p;
    size_t i;

    json_array_foreach (r, i, p)
        hmp_print(h, "%s (%s)\n", hmp_text(p, "name"), hmp_text(p, "type"));
}

static void show_capabilities(HmpCall *h, const json_t *r)
{
    json_t *c;
    size_t i;

    json_array_foreach (r, i, c)
        hmp_print(h, "%s: %s\n", hmp_text(c, "capability"), hmp_true(c, "state") ? "on" : "off");
}

static void show_mice(HmpCall *h, const json_t *r)
{
    if (!json_array_size(r))
        hmp_print(h, "No mouse devices connected\n");
}

static void show_balloon(HmpCall *h, const json_t *r)
{
    hmp_print(h, "balloon: actual=%lld\n", hmp_number(r, "actual") >> 20);
}

/* What has no layout of its own. */
static void show_json(HmpCall *h, const json_t *r)
{
    char *text = json_dumps(r, JSON_INDENT(2) | JSON_ENCODE_ANY);

    strbuf_add(h->out, text ? text : "");
    strbuf_add(h->out, "\n");
    free(text);
}

/* --- commands of their own --- */

static void hmp_cpu(HmpCall *h)
{
    int64_t index = hmp_int(h, "index");

    if (index < 0 || index >= h->m->n_cpus)
        hmp_print(h, "invalid CPU index\n");
    else if (h->mon)
        h->mon->cpu = (unsigned)index;
}

static void hmp_log(HmpCall *h)
{
    const char *items = hmp_str(h, "items");
    uint32_t mask = 0;
    Error err = {0};

    if (!strcmp(items, "none") || log_parse(items, &mask, &err)) {
        log_set_mask(mask);
        return;
    }
    hmp_print(h, "%s\nLog items (comma separated):\nnone            remove all logs\n", err.msg);
    for (const LogItem *i = log_items; i->name; i++)
        hmp_print(h, "%-15s %s\n", i->name, i->doc);
}

static void hmp_logfile(HmpCall *h)
{
    Error err = {0};

    hmp_hold(h->m); /* nobody writes to the old one */
    if (!log_open(hmp_str(h, "filename"), log_mask_, &err))
        hmp_print(h, "Error: %s\n", err.msg);
    hmp_go(h->m);
}

static void hmp_dump(HmpCall *h)
{
    json_t *a = json_object();

    json_object_set_new(a, "paging", json_boolean(hmp_has(h, "p")));
    json_object_set_new(a, "detach", json_boolean(hmp_has(h, "d")));
    json_object_set_new(a, "format", json_string(hmp_has(h, "z") ? "kdump-zlib" : "elf"));
    json_object_set_new(a, "protocol", json_sprintf("file:%s", hmp_str(h, "filename")));
    if (hmp_has(h, "begin")) {
        json_object_set(a, "begin", json_object_get(h->args, "begin"));
        json_object_set_new(a, "length", json_integer(hmp_int(h, "length")));
    }
    json_decref(hmp_ask(h, "dump-guest-memory", a));
}

/* --- the table --- */

const HmpCommand hmp_table[] = {
    {"help|?", "name:S?@command", "[cmd]", "show the help", NULL, NULL, hmp_help},
    {"stop|s", NULL, NULL, "stop emulation", "stop", NULL, NULL},
    {"cont|c", NULL, NULL, "resume emulation", "cont", NULL, NULL},
    {"quit|q", NULL, NULL, "quit the emulator", "quit", NULL, NULL},
    {"system_reset", NULL, NULL, "reset the system", "system_reset", NULL, NULL},
    {"system_powerdown", NULL, NULL, "send system power down event", "system_powerdown", NULL,
     NULL},
    {"system_wakeup", NULL, NULL, "wakeup guest from suspend", "system_wakeup", NULL, NULL},
    {"watchdog_action", "watchdog:s", "[reset|shutdown|poweroff|pause|debug|none]",
     "change watchdog action", "set-action", NULL, NULL},
    {"nmi", NULL, NULL, "inject an NMI", "inject-nmi", NULL, NULL},
    {"cpu", "index:i", "index", "set the default CPU", NULL, NULL, hmp_cpu},

    {"device_add", "driver:O@driver", "driver[,prop=value][,...]",
     "add device, like -device on the command line", "device_add", NULL, NULL},
    {"device_del", "id:s@device", "device", "remove device", "device_del", NULL, NULL},
    {"object_add", "qom-type:O", "[qom-type=]type,id=str[,prop=value][,...]", "create QOM object",
     "object-add", NULL, NULL},
    {"object_del", "id:s", "id", "destroy QOM object", "object-del", NULL, NULL},
    {"qom-list", "path:s", "path", "list QOM properties", "qom-list", show_properties, NULL},
    {"qom-get", "path:s property:s", "path property", "print QOM property", "qom-get", show_json,
     NULL},
    {"qom-set", "path:s property:s value:S", "path property value", "set QOM property", "qom-set",
     NULL, NULL},
    {"chardev-add", "args:S", "args", "add chardev", NULL, NULL, hmp_chardev_add},
    {"chardev-change", "id:s args:S", "id args", "change chardev", NULL, NULL, hmp_chardev_change},
    {"chardev-remove", "id:s", "id", "remove chardev", "chardev-remove", NULL, NULL},
    {"chardev-send-break", "id:s", "id", "send a break on chardev", "chardev-send-break", NULL,
     NULL},
    {"ringbuf_read", "device:s size:i", "device size", "Read from a ring buffer character device",
     "ringbuf-read", hmp_show_ringbuf, NULL},
    {"ringbuf_write", "device:s data:S", "device data", "Write to a ring buffer character device",
     "ringbuf-write", NULL, NULL},
    {"getfd", "fdname:s", "getfd name",
     "receive a file descriptor via SCM rights and assign it a name", "getfd", NULL, NULL},
    {"closefd", "fdname:s", "closefd name",
     "close a file descriptor previously passed via SCM rights", "closefd", NULL, NULL},
    {"balloon", "value:M", "target", "request VM to change its memory allocation (in MB)",
     "balloon", NULL, NULL},

    {"block_job_cancel", "-f=force device:s", "[-f] device",
     "stop an active background block operation (use -f if you want to abort the operation "
     "immediately instead of keep running until data is in sync)",
     "block-job-cancel", NULL, NULL},
    {"block_job_complete", "device:s", "device", "stop an active background block operation",
     "block-job-complete", NULL, NULL},
    {"block_job_pause", "device:s", "device", "pause an active background block operation",
     "block-job-pause", NULL, NULL},
    {"block_job_resume", "device:s", "device", "resume a paused background block operation",
     "block-job-resume", NULL, NULL},
    {"block_job_set_speed", "device:s speed:o", "device speed",
     "set maximum speed for a background block operation", "block-job-set-speed", NULL, NULL},
    {"block_resize", "device:s size:o", "device size", "resize a block image", "block_resize", NULL,
     NULL},
    {"block_set_io_throttle", "device:s bps:i bps_rd:i bps_wr:i iops:i iops_rd:i iops_wr:i",
     "device bps bps_rd bps_wr iops iops_rd iops_wr",
     "change I/O throttle limits for a block drive", "block_set_io_throttle", NULL, NULL},
    {"block_stream", "device:s speed:o? base:s?", "device [speed [base]]",
     "copy data from a backing file into a block device", "block-stream", NULL, NULL},
    {"drive_backup", "-n -f -c=compress device:s target:s format:s?",
     "[-n] [-f] [-c] device target [format]",
     "initiates a point-in-time copy for a device (-n: into an existing image, -f: everything, "
     "not only what is in the top image, -c: compressed)",
     NULL, NULL, hmp_drive_backup},
    {"drive_mirror", "-n -f device:s target:s format:s?", "[-n] [-f] device target [format]",
     "initiates live storage migration for a device (-n: into an existing image, -f: everything, "
     "not only what is in the top image)",
     NULL, NULL, hmp_drive_mirror},
    {"snapshot_blkdev", "-n device:s snapshot-file:s format:s?",
     "[-n] device [new-image-file] [format]",
     "initiates a live snapshot of device (-n: the image found in new-image-file is used)", NULL,
     NULL, hmp_snapshot_blkdev},
    {"snapshot_blkdev_internal", "device:s name:s", "device name",
     "take an internal snapshot of device.", "blockdev-snapshot-internal-sync", NULL, NULL},
    {"snapshot_delete_blkdev_internal", "device:s name:s id:s?", "device name [id]",
     "delete an internal snapshot of device.", "blockdev-snapshot-delete-internal-sync", NULL,
     NULL},
    {"nbd_server_start", "-a -w uri:s", "[-a] [-w] host:port",
     "serve block devices on the given host and port (-a: all that have a medium, -w: writable)",
     NULL, NULL, hmp_nbd_start},
    {"nbd_server_add", "-w=writable device:s name:s?", "[-w] device [name]",
     "export a block device via NBD", "nbd-server-add", NULL, NULL},
    {"nbd_server_remove", "-f name:s", "[-f] name", "remove an export previously exposed via NBD",
     NULL, NULL, hmp_nbd_remove},
    {"nbd_server_stop", NULL, NULL, "stop serving block devices using the NBD protocol",
     "nbd-server-stop", NULL, NULL},

    {"x", "/ addr:i", "/fmt addr", "virtual memory dump starting at 'addr'", NULL, NULL, hmp_x},
    {"xp", "/ addr:i", "/fmt addr", "physical memory dump starting at 'addr'", NULL, NULL, hmp_xp},
    {"print|p", "/ val:i", "/fmt expr", "print expression value (use $reg for CPU register access)",
     NULL, NULL, hmp_p},
    {"i", "/ addr:i index:i?", "/fmt addr", "I/O port read", NULL, NULL, hmp_in},
    {"o", "/ addr:i val:i", "/fmt addr value", "I/O port write", NULL, NULL, hmp_out},
    {"sum", "start:i size:i", "addr size", "compute the checksum of a memory region", NULL, NULL,
     hmp_sum},
    {"gva2gpa", "addr:i", "addr",
     "print the guest physical address corresponding to a guest virtual address", NULL, NULL,
     hmp_gva2gpa},
    {"gpa2hva", "addr:i", "addr",
     "print the host virtual address corresponding to a guest physical address", NULL, NULL,
     hmp_gpa2hva},
    {"gpa2hpa", "addr:i", "addr",
     "print the host physical address corresponding to a guest physical address", NULL, NULL,
     hmp_gpa2hpa},
    {"memsave", "val:i size:i filename:s", "addr size file",
     "save to disk virtual memory dump starting at 'addr' of size 'size'", "memsave", NULL, NULL},
    {"pmemsave", "val:i size:i filename:s", "addr size file",
     "save to disk physical memory dump starting at 'addr' of size 'size'", "pmemsave", NULL, NULL},

    {"dump-guest-memory", "-p -d -z filename:s begin:i? length:i?",
     "[-p] [-d] [-z] filename [begin length]",
     "dump guest memory into file 'filename' (-p: with virtual addresses, -d: detached, -z: "
     "kdump-zlib)",
     NULL, NULL, hmp_dump},
    {"info dump", NULL, NULL, "Display the latest dump status", "query-dump", show_dump, NULL},
    {"log", "items:s", "item1[,...]", "activate logging of the specified items", NULL, NULL,
     hmp_log},
    {"logfile", "filename:s", "filename", "output logs to 'filename'", NULL, NULL, hmp_logfile},
    {"trace-event", "name:s option:B vcpu:i?", "name on|off [vcpu]",
     "changes status of a specific trace event (vcpu: all, whatever it says)", NULL, NULL,
     hmp_trace},

    {"gdbserver", "device:S?", "[device]",
     "start gdbserver on given device (default 'tcp::1234'), stop with 'none'", NULL, NULL,
     hmp_gdbserver},

    {"info status", NULL, NULL, "show the current VM status (running|paused)", "query-status",
     show_status, NULL},
    {"info version", NULL, NULL, "show the version of QEMU", "query-version", show_version, NULL},
    {"info name", NULL, NULL, "show the current VM name", "query-name", show_name, NULL},
    {"info uuid", NULL, NULL, "show the current VM UUID", "query-uuid", show_uuid, NULL},
    {"info kvm", NULL, NULL, "show KVM information", "query-kvm", show_kvm, NULL},
    {"info cpus", NULL, NULL, "show infos for each CPU", "query-cpus-fast", show_cpus, NULL},
    {"info hotpluggable-cpus", NULL, NULL, "show information about hotpluggable CPUs",
     "query-hotpluggable-cpus", show_hotpluggable, NULL},
    {"info memory_size_summary", NULL, NULL,
     "show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes",
     "query-memory-size-summary", show_memory_summary, NULL},
    {"info balloon", NULL, NULL, "show balloon information", "query-balloon", show_balloon, NULL},
    {"info block", "-n -v device:s?", "[-n] [-v] [device]",
     "show info of one block device or all block devices (-n: show named nodes; -v: show details)",
     NULL, NULL, hmp_info_block},
    {"info block-jobs", NULL, NULL, "show progress of ongoing block device operations",
     "query-block-jobs", hmp_show_jobs, NULL},
    {"info blockstats", NULL, NULL, "show block device statistics", "query-blockstats",
     hmp_show_blockstats, NULL},
    {"info snapshots", NULL, NULL, "show the currently saved VM snapshots", "query-block",
     hmp_show_snapshots, NULL},
    {"info memdev", NULL, NULL, "show memory backends", "query-memdev", hmp_show_memdevs, NULL},
    {"info memory-devices", NULL, NULL, "show memory devices", "query-memory-devices", NULL, NULL},
    {"info numa", NULL, NULL, "show NUMA information", NULL, NULL, hmp_numa},
    {"info irq", NULL, NULL, "show the interrupts statistics (if available)", NULL, NULL, hmp_irq},
    {"info lapic", "apic-id:i?", "[apic-id]",
     "show local apic state (apic-id: local apic to read, default is which of current CPU)", NULL,
     NULL, hmp_lapic},
    {"info mice", NULL, NULL, "show which guest mouse is receiving events", "query-mice", show_mice,
     NULL},
    {"info tpm", NULL, NULL, "show the TPM device", "query-tpm", NULL, NULL},
    {"info migrate_capabilities", NULL, NULL, "show current migration capabilities",
     "query-migrate-capabilities", show_capabilities, NULL},
    {"info trace-events", "name:s?", "[name]", "show available trace-events & their state", NULL,
     NULL, hmp_trace_events},
    {"info qdm", NULL, NULL, "show qdev device model list", NULL, NULL, hmp_qdm},
    {"info chardev", NULL, NULL, "show the character devices", "query-chardev", show_chardevs,
     NULL},
    {"info iothreads", NULL, NULL, "show iothreads", "query-iothreads", show_iothreads, NULL},
    {"info jit", NULL, NULL, "show dynamic compiler info", "x-query-jit", show_text, NULL},
    {"info registers", "-a", "[-a]", "show the cpu registers (-a: all)", NULL, NULL, hmp_registers},
    {"info mem", NULL, NULL, "show the active virtual memory mappings", NULL, NULL, hmp_mem},
    {"info tlb", NULL, NULL, "show virtual to physical memory mappings", NULL, NULL, hmp_tlb},
    {"info mtree", "-f", "[-f]", "show memory tree (-f: dump flat view for address spaces)", NULL,
     NULL, hmp_mtree},
    {"info qtree", NULL, NULL, "show device tree", NULL, NULL, hmp_qtree},
    {"info qom-tree", "path:s?", "[path]", "show QOM composition tree", NULL, NULL, hmp_qom_tree},
    {"info pic", NULL, NULL, "show PIC state", NULL, NULL, hmp_pic},
    {"info roms", NULL, NULL, "show roms", NULL, NULL, hmp_roms},
    {"info history", NULL, NULL, "show the command line history", NULL, NULL, hmp_history},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

const char hmp_missing[] =
    "announce_self boot_set calc_dirty_rate cancel_vcpu_dirty_limit change client_migrate_info "
    "commit delvm drive_add drive_del dumpdtb eject exit_preconfig expire_password hostfwd_add "
    "hostfwd_remove loadvm mce migrate migrate_cancel migrate_continue migrate_incoming "
    "migrate_pause migrate_recover migrate_set_capability migrate_set_parameter "
    "migrate_start_postcopy mouse_button mouse_move mouse_set netdev_add netdev_del "
    "pcie_aer_inject_error qemu-io replay_break replay_delete_break replay_seek savevm screendump "
    "sendkey set_link set_password set_vcpu_dirty_limit singlestep stopcapture sync-profile "
    "wavcapture x_colo_lost_heartbeat xen-event-inject xen-event-list";

const char hmp_missing_info[] =
    "capture cmma dirty_rate migrate migrate_parameters network opcount pci profile ramblock rdma "
    "replay rocker rocker-of-dpa-flows rocker-of-dpa-groups rocker-ports sev sgx spice stats "
    "sync-profile usb usbhost usernet vcpu_dirty_limit virtio virtio-queue-element "
    "virtio-queue-status virtio-status virtio-vhost-queue-status vm-generation-id vnc";
