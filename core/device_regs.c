/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device_regs - the register table at work
 *
 * An access of any width at any place is cut along registers.  Of a register that is written in
 * part the other bytes keep their value (and their write-one-to-clear bits see zeroes).
 * Reserved and read-only bits never change by a write.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "core/device_priv.h"

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

static uint64_t member_get(const Device *d, const Reg *r)
{
    const void *p = (const char *)d + r->member;

    switch (r->size) {
    case 1: return *(const uint8_t *)p;
    case 2: return *(const uint16_t *)p;
    case 4: return *(const uint32_t *)p;
    default: return *(const uint64_t *)p;
    }
}

static void member_set(Device *d, const Reg *r, uint64_t v)
{
    void *p = (char *)d + r->member;

    switch (r->size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: *(uint16_t *)p = (uint16_t)v; break;
    case 4: *(uint32_t *)p = (uint32_t)v; break;
    default: *(uint64_t *)p = v; break;
    }
}

/* --- finding --- */

static const uint16_t *index_build(const DeviceClass *cls)
{
    uint16_t *index = xnew_n(uint16_t, cls->mmio_size);

    assert(cls->n_regs < UINT16_MAX);
    for (unsigned i = 0; i < cls->n_regs; i++) {
        const Reg *r = &cls->regs[i];
        assert(r->size == 1 || r->size == 2 || r->size == 4 || r->size == 8);
        assert(r->at + r->size <= cls->mmio_size);
        for (unsigned b = 0; b < r->size; b++) {
            assert(!index[r->at + b]); /* registers do not overlap */
            index[r->at + b] = (uint16_t)(i + 1);
        }
    }
    return index;
}

/* Built on first use, kept with the class; whoever comes second throws his away. */
static const uint16_t *class_index(const DeviceClass *cls)
{
    const uint16_t *index = atomic_load(&cls->reg_index);

    if (LIKELY(index))
        return index;
    const uint16_t *ours = index_build(cls);
    if (atomic_compare_exchange_strong(&((DeviceClass *)cls)->reg_index, &index, ours))
        return ours;
    xfree((void *)ours);
    return index;
}

static const Reg *reg_find(const DeviceClass *cls, uint64_t at)
{
    uint16_t i = at < cls->mmio_size ? class_index(cls)[at] : 0;

    return i ? &cls->regs[i - 1] : NULL;
}

/* --- one register --- */

static uint64_t reg_read(Device *d, const Reg *r)
{
    if (r->read)
        return r->read(d) & size_mask(r->size);
    return r->member == REG_NO_MEMBER ? r->reset : member_get(d, r);
}

/* Write the bits of @lanes; @v is in place. */
static void reg_write(Device *d, const Reg *r, uint64_t v, uint64_t lanes)
{
    if (r->member == REG_NO_MEMBER) {
        v &= lanes & (r->writable ? r->writable : UINT64_MAX);
    } else {
        uint64_t writable = r->writable & lanes;
        uint64_t now = (member_get(d, r) & ~writable) | (v & writable);
        v = now & ~(v & r->w1c & lanes);
        member_set(d, r, v);
    }
    if (r->write)
        r->write(d, v);
    else if (!r->writable && !r->w1c)
        log_guest("%s: write to read-only register %s\n", d->cls->name, r->name);
}

/* --- an access --- */

/* Up to where @r, or the hole if it is NULL, is covered by an access of @size bytes at @at. */
static unsigned piece_size(const Reg *r, uint64_t at, unsigned size)
{
    return r ? MIN(size, (unsigned)(r->at + r->size - at)) : 1;
}

uint64_t device_reg_read(Device *d, uint64_t at, unsigned size)
{
    uint64_t all = 0;

    for (unsigned done = 0, n; done < size; done += n) {
        const Reg *r = reg_find(d->cls, at + done);
        n = piece_size(r, at + done, size - done);
        if (!r) {
            log_unimp("%s: read at 0x%" PRIx64 ": no register\n", d->cls->name, at + done);
            continue;
        }
        uint64_t v = reg_read(d, r);
        TRACE(reg_read, "%s.%s is 0x%" PRIx64, d->cls->name, r->name, v);
        v >>= (at + done - r->at) * 8;
        all |= (v & size_mask(n)) << done * 8;
    }
    return all;
}

void device_reg_write(Device *d, uint64_t at, unsigned size, uint64_t v)
{
    for (unsigned done = 0, n; done < size; done += n) {
        const Reg *r = reg_find(d->cls, at + done);
        n = piece_size(r, at + done, size - done);
        if (!r) {
            log_unimp("%s: write at 0x%" PRIx64 ": no register\n", d->cls->name, at + done);
            continue;
        }
        unsigned shift = (unsigned)(at + done - r->at) * 8;
        uint64_t lanes = size_mask(n) << shift;
        uint64_t part = (v >> done * 8) << shift & lanes;
        TRACE(reg_write, "%s.%s := 0x%" PRIx64, d->cls->name, r->name, part);
        reg_write(d, r, part, lanes);
    }
}

static uint64_t window_read(void *arg, uint64_t at, unsigned size)
{
    return device_reg_read(arg, at, size);
}

static void window_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    device_reg_write(arg, at, size, v);
}

const RegionOps device_reg_ops = {.read = window_read, .write = window_write};

void device_regs_reset(Device *d)
{
    for (unsigned i = 0; i < d->cls->n_regs; i++) {
        const Reg *r = &d->cls->regs[i];
        if (r->member != REG_NO_MEMBER)
            member_set(d, r, r->reset);
    }
}
