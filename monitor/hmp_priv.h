/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hmp_priv - the table of human commands and what runs them */
#ifndef MONITOR_HMP_PRIV_H
#define MONITOR_HMP_PRIV_H

#include "monitor/monitor_priv.h"

/* One command being carried out. */
typedef struct HmpCall {
    Machine *m;
    Monitor *mon; /* NULL: human-monitor-command */
    unsigned cpu_index;
    Cpu *cpu; /* NULL: the machine has none */
    StrBuf *out;
    json_t *args; /* by the names of HmpCommand.args */
    /* "/fmt" */
    uint64_t count;
    char format;   /* x d u o c i; 0: not given */
    unsigned size; /* bytes of an item; 0: not given */
} HmpCall;

typedef struct HmpCommand {
    const char *name; /* "cont|c", "info status" */
    /* What follows, separated by blanks: name:kind, "?" behind it if it may be left out, "@list"
     * for completion. Kinds: s word, S rest of the line, i number or expression, M the same in
     * MiB, o size (MiB if it has no suffix), B on or off, O driver,key=value... "/" alone: a
     * format; "-x" alone: a flag called x; "-x=name": the flag x as the member name. */
    const char *args;
    const char *params, *help;
    const char *qmp; /* the command that does it, with args as its arguments; NULL: run */
    void (*show)(HmpCall *h, const json_t *result); /* of qmp; NULL: nothing to show */
    void (*run)(HmpCall *h);
} HmpCommand;
extern const HmpCommand hmp_table[]; /* ends with name NULL */
/* QEMU's that are not built yet, separated by blanks. */
extern const char hmp_missing[], hmp_missing_info[];

void hmp_print(HmpCall *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Members of @h->args: "" or 0 if they were left out. */
const char *hmp_str(const HmpCall *h, const char *name);
int64_t hmp_int(const HmpCall *h, const char *name);
bool hmp_has(const HmpCall *h, const char *name);
/* Members of an answer; "", 0 or false if they are not there. */
const char *hmp_text(const json_t *j, const char *name);
long long hmp_number(const json_t *j, const char *name);
bool hmp_true(const json_t *j, const char *name);
/* What a QMP command answers to @args (taken over); NULL: its error was printed. */
json_t *hmp_ask(HmpCall *h, const char *command, json_t *args);
void hmp_history(HmpCall *h);
void hmp_help(HmpCall *h); /* args "name", optional */

/* Registers and memory stand still between the two, if the machine runs. */
void hmp_hold(Machine *m);
void hmp_go(Machine *m);

/* Handlers, by file. */
void hmp_x(HmpCall *h); /* hmp_memory.c */
void hmp_xp(HmpCall *h);
void hmp_p(HmpCall *h);
void hmp_sum(HmpCall *h);
void hmp_gva2gpa(HmpCall *h);
void hmp_in(HmpCall *h);
void hmp_out(HmpCall *h);
void hmp_gdbserver(HmpCall *h); /* hmp_gdb.c */
void hmp_registers(HmpCall *h); /* hmp_info.c */
void hmp_mtree(HmpCall *h);
void hmp_qtree(HmpCall *h);
void hmp_qom_tree(HmpCall *h);
void hmp_pic(HmpCall *h);
void hmp_roms(HmpCall *h);
void hmp_mem(HmpCall *h);
void hmp_tlb(HmpCall *h);
void hmp_info_block(HmpCall *h); /* hmp_block.c */
void hmp_show_jobs(HmpCall *h, const json_t *r);
void hmp_show_blockstats(HmpCall *h, const json_t *r);
void hmp_show_snapshots(HmpCall *h, const json_t *r);
void hmp_snapshot_blkdev(HmpCall *h);
void hmp_drive_backup(HmpCall *h);
void hmp_drive_mirror(HmpCall *h);
void hmp_nbd_start(HmpCall *h);
void hmp_nbd_remove(HmpCall *h);
void hmp_chardev_add(HmpCall *h); /* hmp_machine.c */
void hmp_chardev_change(HmpCall *h);
void hmp_show_ringbuf(HmpCall *h, const json_t *r);
void hmp_show_memdevs(HmpCall *h, const json_t *r);
void hmp_numa(HmpCall *h);
void hmp_gpa2hva(HmpCall *h);
void hmp_gpa2hpa(HmpCall *h);
void hmp_irq(HmpCall *h);
void hmp_lapic(HmpCall *h);
void hmp_trace(HmpCall *h);
void hmp_trace_events(HmpCall *h);
void hmp_qdm(HmpCall *h);

#endif
