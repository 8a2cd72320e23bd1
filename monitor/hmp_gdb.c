/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_gdb - gdbserver: a stub for gdb while the machine lives (-gdb: main/) */
#include "base/alloc.h"
#include "chardev/chardev.h"
#include "monitor/gdb.h"
#include "monitor/hmp_priv.h"

typedef struct HmpGdb {
    GdbStub *stub;
    Chardev *c;
    char *id;
    Chardevs *set;
} HmpGdb;
static const char gdb_key;

static void gdb_end(void *state)
{
    HmpGdb *g = state;

    gdbstub_free(g->stub);
    chardev_release(g->c);
    if (g->id)
        chardev_remove(g->set, g->id, NULL);
    xfree(g->id);
    *g = (HmpGdb){0};
}

static bool gdb_begin(Machine *m, HmpGdb *g, const char *device, Error *err)
{
    bool listens = !strncmp(device, "tcp:", 4) || !strncmp(device, "unix:", 5);
    AUTO_FREE char *text =
        listens ? xasprintf("%s,server=on,wait=off,nodelay=on", device) : xstrdup(device);
    bool monitor;

    g->set = m->chardevs;
    if (!g->set)
        return error_set(err, "there are no character devices here");
    g->id = chardev_add_compat(g->set, text, "gdb", &monitor, err);
    g->c = g->id ? chardev_claim(g->set, g->id, err) : NULL;
    if (!g->c)
        return false;
    machine_pause(m); /* points are set while nothing runs */
    g->stub = gdbstub_new(m, g->c, err);
    if (g->stub)
        gdbstub_set_monitor(g->stub, hmp_run);
    return g->stub != NULL;
}

void hmp_gdbserver(HmpCall *h)
{
    const char *device = hmp_has(h, "device") ? hmp_str(h, "device") : "tcp::1234";
    HmpGdb *g = control_state(h->m, &gdb_key, sizeof *g, gdb_end);
    bool was_running = h->m->state == RUN_RUNNING;
    Error err = {0};

    gdb_end(g);
    if (!strcmp(device, "none")) {
        hmp_print(h, "Disabled gdbserver\n");
    } else if (gdb_begin(h->m, g, device, &err)) {
        hmp_print(h, "Waiting for gdb connection on device '%s'\n", device);
    } else {
        gdb_end(g);
        hmp_print(h, "Could not open gdbserver on device '%s': %s\n", device, err.msg);
    }
    if (was_running && h->m->state != RUN_RUNNING) /* a stub ends and begins with a pause */
        machine_start(h->m);
}
