/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every registered device class: poke it at random, save, load into a fresh instance, save again;
 * the two must be equal.  Damaged states must be refused or harmless.  Classes that refuse to be
 * realized without a board are left out, and named with RHEA_TEST_VERBOSE.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "tests/bench/bench.h"

enum { POKES = 400, DAMAGES = 300, WINDOWS_MAX = 8 };
#define SCRATCH 0x90000000ull

typedef struct Subject {
    Bench *b;
    Device *d; /* NULL: not to be had alone */
    Region *windows[WINDOWS_MAX];
    unsigned n_windows;
} Subject;

static const DeviceClass *nth_class(int n)
{
    const DeviceClass *c = device_class_next(NULL);

    while (n-- > 0)
        c = device_class_next(c);
    return c;
}

static int count_classes(void)
{
    int n = 0;

    for (const DeviceClass *c = NULL; (c = device_class_next(c));)
        n++;
    return n;
}

static uint32_t next_random(uint32_t *s)
{
    *s = *s * 1664525 + 1013904223;
    return *s >> 8;
}

static uint64_t random64(uint32_t *s)
{
    return (uint64_t)next_random(s) << 44 ^ (uint64_t)next_random(s) << 22 ^ next_random(s);
}

/* The windows a device keeps within its struct are recognized by what region_io() puts there. */
static void find_windows(Subject *s)
{
    size_t size = s->d->cls->type ? s->d->cls->type->size : sizeof(Device);

    for (size_t at = 0; at + sizeof(Region) <= size && s->n_windows < WINDOWS_MAX; at += 8) {
        Region *r = (Region *)((char *)s->d + at);
        if (r->kind != REGION_IO || r->arg != s->d || !r->ops || !r->size || r->size > 16 * MIB)
            continue;
        s->windows[s->n_windows] = r;
        if (!r->parent)
            bench_map(s->b, r, SCRATCH + s->n_windows * 0x2000000ull);
        s->n_windows++;
    }
}

static Subject subject_new(const DeviceClass *cls)
{
    Subject s = {.b = bench_new()};
    Device *d = bench_device_new(s.b, cls->name);
    Error err = {0};

    s.b->m->serial[0] = &bench_chardev(s.b)->chr;
    bench_wire(s.b, &d->irq);
    if (!device_realize(d, &err)) {
        if (getenv("RHEA_TEST_VERBOSE"))
            printf("%s: not alone: %s\n", cls->name, err.msg);
        return s;
    }
    bench_reset(d);
    s.d = d;
    find_windows(&s);
    if (getenv("RHEA_TEST_VERBOSE"))
        printf("%s: %u windows\n", cls->name, s.n_windows);
    return s;
}

static void poke(Subject *s, uint32_t *seed)
{
    for (int i = 0; i < POKES; i++) {
        if (s->n_windows) {
            const Region *r = s->windows[next_random(seed) % s->n_windows];
            AddressSpace *as =
                r->parent == &s->b->m->mem->io_root ? &s->b->m->mem->io : &s->b->m->mem->system;
            unsigned size = 1u << next_random(seed) % 4;
            uint64_t at = r->at + random64(seed) % r->size;
            uint64_t v = next_random(seed) & 1 ? random64(seed) : next_random(seed) & 0xff;
            if (next_random(seed) & 3)
                as_write(as, at, &v, size);
            else
                as_read(as, at, &v, size);
        }
        if (next_random(seed) % 8 == 0)
            bench_step(s->b, next_random(seed) & 0xfffff);
    }
    bench_run(s->b);
}

START_TEST(state_survives_a_copy)
{
    const DeviceClass *cls = nth_class(_i);
    Error err = {0};

    for (uint32_t seed = 1; seed <= 4; seed++) {
        uint32_t random = seed * 977;
        Subject a = subject_new(cls), b = subject_new(cls);
        ByteBuf first = {0}, second = {0};
        if (a.d && cls->migrate != MIGRATE_NO) {
            poke(&a, &random);
            device_save(a.d, &first);
            bench_step(b.b, clock_now(a.b->m->vclock)); /* as machine_load() does */
            ck_assert_msg(device_load(b.d, &first, &err), "%s: %s", cls->name, err.msg);
            ck_assert_uint_eq(first.at, first.len);
            device_save(b.d, &second);
            ck_assert_msg(first.len == second.len &&
                              (!first.len || memcmp(first.p, second.p, first.len) == 0),
                          "%s: saved again, it differs", cls->name);
        }
        bytebuf_free(&first);
        bytebuf_free(&second);
        bench_free(a.b);
        bench_free(b.b);
    }
}
END_TEST

START_TEST(damaged_state_does_no_harm)
{
    const DeviceClass *cls = nth_class(_i);
    Subject a = subject_new(cls);
    uint32_t seed = 4711;
    ByteBuf good = {0};

    if (a.d && cls->migrate == MIGRATE_STATE) {
        poke(&a, &seed);
        device_save(a.d, &good);
        for (int i = 0; i < DAMAGES; i++) {
            ByteBuf bad = {.p = xalloc(good.len), .len = good.len};
            memcpy(bad.p, good.p, good.len);
            for (unsigned n = 1 + next_random(&seed) % 4; n; n--)
                bad.p[next_random(&seed) % bad.len] = (uint8_t)next_random(&seed);
            Error err;
            if (device_load(a.d, &bad, &err))
                poke(&a, &seed);
            xfree(bad.p);
        }
    }
    bytebuf_free(&good);
    bench_free(a.b);
}
END_TEST

START_TEST(classes_say_how_they_are_saved)
{
    const DeviceClass *cls = nth_class(_i);
    unsigned n = 0;

    for (unsigned i = 0; cls->type && i < cls->type->n_fields; i++)
        n += (cls->type->fields[i].use & FIELD_STATE) != 0;
    ck_assert_msg((n > 0) == (cls->migrate == MIGRATE_STATE) || cls->migrate == MIGRATE_NO,
                  "%s: %u fields of state do not go with its MIGRATE_ kind", cls->name, n);
    ck_assert_msg(cls->doc && cls->doc[0], "%s has no doc", cls->name);
}
END_TEST

START_TEST(classes_that_cannot_be_saved_say_so_when_loaded)
{
    const DeviceClass *cls = nth_class(_i);
    Subject a = subject_new(cls);
    ByteBuf buf = {0};
    Error err;

    if (a.d && cls->migrate != MIGRATE_STATE) {
        device_save(a.d, &buf);
        ck_assert_uint_eq(buf.len > 0, cls->migrate == MIGRATE_NO);
        ck_assert(device_load(a.d, &buf, &err) == (cls->migrate == MIGRATE_NONE_NEEDED));
    }
    bytebuf_free(&buf);
    bench_free(a.b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");
    SRunner *r = srunner_create(s);
    int n = count_classes();

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, classes_say_how_they_are_saved, 0, n);
    tcase_add_loop_test(t, classes_that_cannot_be_saved_say_so_when_loaded, 0, n);
    tcase_add_loop_test(t, state_survives_a_copy, 0, n);
    tcase_add_loop_test(t, damaged_state_does_no_harm, 0, n);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
