/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every register table of every device class: reset values, reserved bits, and whether what a
 * register holds is saved.  Registers with hooks may do as they like to their bits.
 */
#include "tests/bench/bench.h"

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

static bool is_plain(const Reg *r)
{
    return r->member != REG_NO_MEMBER && !r->read;
}

/* The class brought up on @b; NULL if it needs a board. */
static Device *device_up(Bench *b, const DeviceClass *cls)
{
    Device *d = bench_device_new(b, cls->name);
    Error err;

    if (!cls->n_regs || !device_realize(d, &err))
        return NULL;
    bench_reset(d);
    return d;
}

START_TEST(registers_have_their_reset_values)
{
    const DeviceClass *cls = nth_class(_i);
    Bench *b = bench_new();
    Device *d = device_up(b, cls);

    for (unsigned i = 0; d && i < cls->n_regs; i++) {
        const Reg *r = &cls->regs[i];
        if (is_plain(r))
            ck_assert_msg(device_reg_read(d, r->at, r->size) == r->reset, "%s.%s", cls->name,
                          r->name);
    }
    bench_free(b);
}
END_TEST

START_TEST(reserved_bits_stay)
{
    const DeviceClass *cls = nth_class(_i);
    Bench *b = bench_new();
    Device *d = device_up(b, cls);

    for (unsigned i = 0; d && i < cls->n_regs; i++) {
        const Reg *r = &cls->regs[i];
        if (!is_plain(r) || r->write)
            continue;
        uint64_t before = device_reg_read(d, r->at, r->size);
        for (int ones = 1; ones >= 0; ones--) {
            WITH_LOCK (d->lock)
                device_reg_write(d, r->at, r->size, ones ? UINT64_MAX : 0);
            uint64_t after = device_reg_read(d, r->at, r->size);
            ck_assert_msg(((before ^ after) & ~(r->writable | r->w1c)) == 0, "%s.%s", cls->name,
                          r->name);
            ck_assert_msg((after & r->writable & ~r->w1c) == (ones ? r->writable & ~r->w1c : 0),
                          "%s.%s", cls->name, r->name);
        }
    }
    bench_free(b);
}
END_TEST

static bool is_saved(const Type *t, uint32_t at, uint32_t size)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        const Field *f = &t->fields[i];
        if (f->use & FIELD_STATE && at >= f->at && at + size <= f->at + f->type->size * f->count)
            return true;
    }
    return false;
}

START_TEST(what_registers_hold_is_saved)
{
    const DeviceClass *cls = nth_class(_i);

    for (unsigned i = 0; cls->migrate == MIGRATE_STATE && i < cls->n_regs; i++) {
        const Reg *r = &cls->regs[i];
        ck_assert_msg(r->member == REG_NO_MEMBER || (!r->writable && !r->w1c) ||
                          is_saved(cls->type, r->member, r->size),
                      "%s.%s is not part of the state", cls->name, r->name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("registers");
    TCase *t = tcase_create("registers");
    SRunner *r = srunner_create(s);
    int n = count_classes();

    tcase_add_loop_test(t, registers_have_their_reset_values, 0, n);
    tcase_add_loop_test(t, reserved_bits_stay, 0, n);
    tcase_add_loop_test(t, what_registers_hold_is_saved, 0, n);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
