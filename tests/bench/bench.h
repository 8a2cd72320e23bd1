/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench - a machine without a guest, for device tests
 *
 * RAM, clocks that only move by bench_step(), wires that count, a character back end that records;
 * the accelerator is `null`.  Whatever goes wrong in a helper fails the running Check test.
 *
 *     Bench *b = bench_new();
 *     Device *d = bench_device(b, "alarm", "tick-ns", "1000", NULL);
 *     bench_write(d, 0x08, 8, 5);
 *     bench_step(b, 5000);
 *     ck_assert(bench_irq(d)->level);
 *     bench_free(b);
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <check.h>

#include "core/machine.h"
#include "io/chardev.h"

#define BENCH_RAM_SIZE (16 * MIB) /* mapped at 0 */
#define BENCH_MMIO                                                                                 \
    0x80000000ull /* Device.mmio windows, BENCH_MMIO_STEP apart in order of creation */
#define BENCH_MMIO_STEP 0x01000000ull

/* The far end of a line. */
typedef struct BenchWire {
    bool level;
    unsigned rises, falls;
    struct BenchWire *next;
    IrqLine *line;
} BenchWire;

typedef struct Bench {
    Machine *m; /* vclock, host_clock and rt_clock are test clocks that start at 0 */
    Region *ram;
    BenchWire *wires;
    struct BenchChar *chars;
    unsigned n_windows;
} Bench;

Bench *bench_new(void);
void bench_free(Bench *b);

/* Create, set ("prop", "value")..., realize, reset; Device.irq is wired; Device.mmio, if the
 * class has one, is mapped. */
Device *bench_device(Bench *b, const char *cls, ... /* , NULL */);
/* The first step only, and the rest, for tests that set fields or expect errors in between. */
Device *bench_device_new(Bench *b, const char *cls);
void bench_device_up(Bench *b, Device *d);
void bench_reset(Device *d); /* ENTER, HOLD */

/* Registers of Device.mmio; @size 1, 2, 4 or 8. */
uint64_t bench_read(Device *d, uint64_t at, unsigned size);
void bench_write(Device *d, uint64_t at, unsigned size, uint64_t v);

/* Other windows: map them, then access physical memory or I/O ports. */
void bench_map(Bench *b, Region *r, Gpa at);
void bench_map_io(Bench *b, Region *r, unsigned port);
uint64_t bench_mem_read(Bench *b, Gpa at, unsigned size);
void bench_mem_write(Bench *b, Gpa at, unsigned size, uint64_t v);
uint64_t bench_in(Bench *b, unsigned port, unsigned size);
void bench_out(Bench *b, unsigned port, unsigned size, uint64_t v);

BenchWire *bench_wire(Bench *b, IrqLine *l); /* connect; the same wire if it is already */
BenchWire *bench_irq(Device *d);             /* of Device.irq, wired by bench_device */

void bench_step(Bench *b, int64_t ns); /* all three clocks */
void bench_run(Bench *b);              /* serve what was posted to the loop, until it is quiet */

/* State: save one device, load it into another of the same class (another bench or this one). */
void bench_copy_state(Device *from, Device *to);

/* A character back end: what the device wrote, and what it is sent.  Closed by bench_free. */
typedef struct BenchChar {
    Chardev chr;
    StrBuf out;  /* everything the front end wrote */
    size_t room; /* bytes it takes before it is full; SIZE_MAX at first */
    uint8_t in[256];
    size_t in_len;
    struct BenchChar *next;
} BenchChar;
BenchChar *bench_chardev(Bench *b); /* for m->serial[n] before bench_device(), or chardev_attach */
void bench_char_send(BenchChar *c, const char *bytes,
                     size_t n); /* as the outside would; delivered by bench_run() */
void bench_char_event(BenchChar *c, CharEvent e);

#endif
