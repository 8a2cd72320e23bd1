/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8259 - the PC's pair of interrupt controllers, with edge/level control registers
 *
 * Intel 8259A data sheet (231468); ELCR: 82378 SIO data sheet.  The slave's INT is input 2 of the
 * master.
 * Lock: RANK_PIC, taken by the regions' dispatch, inputs and INTA.
 */
#include "hw/irq/i8259.h"

enum { ICW1_IC4 = 1, ICW1_SNGL = 2, ICW1_LTIM = 8, ICW1 = 0x10, OCW3 = 0x08 };
enum { ICW4_AEOI = 2, ICW4_SFNM = 0x10 };
enum { OCW3_RIS = 1, OCW3_RR = 2, OCW3_P = 4, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum { OCW2_ROTATE = 4, OCW2_SPECIFIC = 2, OCW2_EOI = 1 }; /* bits 5-7: R, SL, EOI */
enum { MASTER, SLAVE, CASCADE_PIN = 2, SPURIOUS_PIN = 7 };

typedef struct Pic {
    uint8_t irr, imr, isr;
    uint8_t levels; /* of the pins */
    uint8_t elcr;   /* 1: level-triggered */
    uint8_t icw1, icw2, icw4;
    uint8_t step;   /* of initialization: the ICW expected next at port 1, 0: none */
    uint8_t lowest; /* pin of lowest priority */
    bool rotate_aeoi, special_mask, read_isr, poll;
} Pic;

typedef struct PicPair {
    Device dev;
    Lock lock;
    Region io[3];
    Pic pic[2];
    _Atomic uint64_t rises[16]; /* how often each input did: info irq */
} PicPair;

static const uint8_t elcr_writable[2] = {0xf8, 0xde}; /* IRQ 0, 1, 2, 8 and 13 are edges */

Region *i8259_io(Device *d, unsigned which)
{
    assert(which < 3);
    return &((PicPair *)d)->io[which];
}

/* Rank of a pin now, 0 the most important. */
static unsigned pic_rank(const Pic *p, unsigned pin)
{
    return (pin - p->lowest - 1) & 7;
}

/* Most important pin of a set, -1 if it is empty. */
static int pic_first(const Pic *p, uint8_t pins)
{
    for (unsigned rank = 0; rank < 8; rank++) {
        unsigned pin = (p->lowest + 1 + rank) & 7;

        if (pins >> pin & 1)
            return (int)pin;
    }
    return -1;
}

static bool pic_is_level(const Pic *p, unsigned pin)
{
    return (p->elcr >> pin & 1) || (p->icw1 & ICW1_LTIM);
}

/* The pin whose request gets through mask and service, or -1. */
static int pic_request(const Pic *p, bool is_master)
{
    int pin = pic_first(p, p->irr & ~p->imr);
    uint8_t blocking = p->special_mask ? p->isr & ~p->imr : p->isr;

    if (is_master && (p->icw4 & ICW4_SFNM)) /* the slave may nest in itself */
        blocking &= ~(1 << CASCADE_PIN);
    int serving = pic_first(p, blocking);

    if (pin < 0 || p->step)
        return -1;
    if (serving >= 0 && pic_rank(p, (unsigned)serving) <= pic_rank(p, (unsigned)pin))
        return -1;
    return pin;
}

static void pic_set_pin(Pic *p, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1 << pin);
    bool rises = level && !(p->levels & bit);

    p->levels = level ? p->levels | bit : p->levels & ~bit;
    if (rises || (level && pic_is_level(p, pin)))
        p->irr |= bit;
    else if (!level && pic_is_level(p, pin)) /* edges stay latched: sources may pulse */
        p->irr &= ~bit;
}

static void pair_update(PicPair *s)
{
    pic_set_pin(&s->pic[MASTER], CASCADE_PIN, pic_request(&s->pic[SLAVE], false) >= 0);
    irq_set(&s->dev.irq, pic_request(&s->pic[MASTER], true) >= 0);
}

void i8259_input(void *dev, unsigned n, bool level)
{
    PicPair *s = dev;

    assert(n < 16 && n != CASCADE_PIN);
    WITH_LOCK (&s->lock) {
        s->rises[n] += level && !(s->pic[n / 8].levels >> n % 8 & 1);
        pic_set_pin(&s->pic[n / 8], n % 8, level);
        pair_update(s);
    }
}

static IrqEdge pic_edge(const Pic *p, unsigned pin)
{
    if (p->imr >> pin & 1)
        return EDGE_NOWHERE;
    return p->irr >> pin & 1 ? EDGE_WAITS : EDGE_TAKEN;
}

IrqEdge i8259_edge(void *dev, unsigned n)
{
    PicPair *s = dev;
    IrqEdge e = EDGE_NOWHERE;

    WITH_LOCK (&s->lock)
        if (n < 8 || pic_edge(&s->pic[MASTER], CASCADE_PIN) != EDGE_NOWHERE)
            e = pic_edge(&s->pic[n / 8], n % 8);
    return e;
}

/* INTA for one chip: the pin goes into service. */
static unsigned pic_take(Pic *p, bool is_master)
{
    int pin = pic_request(p, is_master);

    if (pin < 0)
        return SPURIOUS_PIN;
    if (!pic_is_level(p, (unsigned)pin))
        p->irr &= ~(1 << pin);
    if (!(p->icw4 & ICW4_AEOI))
        p->isr |= 1 << pin;
    else if (p->rotate_aeoi)
        p->lowest = (uint8_t)pin;
    return (unsigned)pin;
}

int pic_acknowledge(Device *d)
{
    AS(PicPair, s, d);
    int vector = 0;

    WITH_LOCK (&s->lock) {
        Pic *master = &s->pic[MASTER], *slave = &s->pic[SLAVE];
        bool cascaded = pic_request(master, true) == CASCADE_PIN;
        unsigned pin = pic_take(master, true);

        vector = (master->icw2 & 0xf8) + (int)pin;
        if (cascaded) {
            vector = (slave->icw2 & 0xf8) + (int)pic_take(slave, false);
            pic_set_pin(master, CASCADE_PIN,
                        false); /* INT drops with INTA: the next request is an edge */
        }
        pair_update(s);
    }
    return vector;
}

int pic_acknowledge_fn(void *dev)
{
    return pic_acknowledge(dev);
}

/* ---- command words ---- */

static void pic_write_icw1(Pic *p, uint8_t v)
{
    p->icw1 = v & (ICW1_IC4 | ICW1_SNGL | ICW1_LTIM);
    p->icw4 = 0;
    p->irr = 0; /* the edge sense is cleared: a pin must go low and rise again */
    p->imr = p->isr = 0;
    p->lowest = 7;
    p->rotate_aeoi = p->special_mask = p->read_isr = p->poll = false;
    p->step = 2;
    for (unsigned pin = 0; pin < 8; pin++)
        if (pic_is_level(p, pin))
            p->irr |= p->levels & (1 << pin);
}

static void pic_write_ocw2(Pic *p, uint8_t v)
{
    unsigned command = v >> 5;
    int pin =
        command & OCW2_SPECIFIC ? v & 7 : pic_first(p, p->special_mask ? p->isr & ~p->imr : p->isr);

    if (!(command & OCW2_EOI)) {
        if ((command & OCW2_SPECIFIC) && (command & OCW2_ROTATE))
            p->lowest = v & 7; /* set priority */
        else if (!(command & OCW2_SPECIFIC))
            p->rotate_aeoi = command & OCW2_ROTATE;
        return;
    }
    if (pin < 0)
        return;
    p->isr &= ~(1 << pin);
    if (command & OCW2_ROTATE)
        p->lowest = (uint8_t)pin;
}

static void pic_write_ocw3(Pic *p, uint8_t v)
{
    if (v & OCW3_P)
        p->poll = true;
    else if (v & OCW3_RR)
        p->read_isr = v & OCW3_RIS;
    if (v & OCW3_ESMM)
        p->special_mask = v & OCW3_SMM;
}

/* Port 1: initialization words in order, then the mask. */
static void pic_write_data(Pic *p, uint8_t v)
{
    switch (p->step) {
    case 2:
        p->icw2 = v;
        p->step = !(p->icw1 & ICW1_SNGL) ? 3 : p->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 3: /* where the slave is: wired, as the PC has it */
        p->step = p->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 4:
        p->icw4 = v;
        p->step = 0;
        break;
    default: p->imr = v; break;
    }
}

static uint64_t pair_read(PicPair *s, unsigned which, uint64_t at)
{
    Pic *p = &s->pic[which];

    if (p->poll) { /* the read is an INTA */
        bool any = pic_request(p, which == MASTER) >= 0;
        unsigned pin = pic_take(p, which == MASTER);

        p->poll = false;
        pair_update(s);
        return any ? 0x80 | pin : 0;
    }
    if (at == 1)
        return p->imr;
    return p->read_isr ? p->isr : p->irr;
}

static void pair_write(PicPair *s, unsigned which, uint64_t at, uint8_t v)
{
    Pic *p = &s->pic[which];

    if (at == 1)
        pic_write_data(p, v);
    else if (v & ICW1)
        pic_write_icw1(p, v);
    else if (v & OCW3)
        pic_write_ocw3(p, v);
    else
        pic_write_ocw2(p, v);
    pair_update(s);
}

static uint64_t master_read(void *arg, uint64_t at, unsigned size)
{
    (void)size;
    return pair_read(arg, MASTER, at);
}
static uint64_t slave_read(void *arg, uint64_t at, unsigned size)
{
    (void)size;
    return pair_read(arg, SLAVE, at);
}
static void master_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    (void)size;
    pair_write(arg, MASTER, at, (uint8_t)v);
}
static void slave_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    (void)size;
    pair_write(arg, SLAVE, at, (uint8_t)v);
}

static uint64_t elcr_read(void *arg, uint64_t at, unsigned size)
{
    PicPair *s = arg;

    (void)size;
    return s->pic[at & 1].elcr;
}

static void elcr_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    PicPair *s = arg;
    Pic *p = &s->pic[at & 1];

    (void)size;
    p->elcr = (uint8_t)v & elcr_writable[at & 1];
    p->irr |= p->levels & p->elcr;
    pair_update(s);
}

static const RegionOps pair_ops[3] = {
    {master_read, master_write, 1, 1},
    {slave_read, slave_write, 1, 1},
    {elcr_read, elcr_write, 1, 1},
};

static bool pair_realize(Device *d, Error *err)
{
    AS(PicPair, s, d);
    static const char *const names[3] = {"pic-master", "pic-slave", "elcr"};

    (void)err;
    lock_init(&s->lock, "isa-pic", RANK_PIC);
    for (unsigned i = 0; i < 3; i++)
        region_io(&s->io[i], names[i], 2, &pair_ops[i], s, &s->lock);
    return true;
}

static void pair_unrealize(Device *d)
{
    AS(PicPair, s, d);

    for (unsigned i = 0; i < 3; i++)
        region_fini(&s->io[i]);
    lock_fini(&s->lock);
}

static void pair_reset(Device *d, ResetPhase phase)
{
    AS(PicPair, s, d);

    WITH_LOCK (&s->lock) {
        if (phase == RESET_ENTER) {
            for (unsigned i = 0; i < 2; i++)
                s->pic[i] = (Pic){.levels = s->pic[i].levels, .lowest = 7};
            s->pic[MASTER].levels &= ~(1 << CASCADE_PIN);
        } else {
            pair_update(s);
        }
    }
}

static bool pair_loaded(Device *d, Error *err)
{
    AS(PicPair, s, d);

    for (unsigned i = 0; i < 2; i++)
        if (s->pic[i].lowest > 7 || s->pic[i].step > 4 || s->pic[i].step == 1)
            return error_set(err, "isa-pic: impossible state");
    WITH_LOCK (&s->lock)
        pair_update(s);
    return true;
}

static const Field pic_fields[] = {
    STATE(Pic, irr),      STATE(Pic, imr),    STATE(Pic, isr),         STATE(Pic, levels),
    STATE(Pic, elcr),     STATE(Pic, icw1),   STATE(Pic, icw2),        STATE(Pic, icw4),
    STATE(Pic, step),     STATE(Pic, lowest), STATE(Pic, rotate_aeoi), STATE(Pic, special_mask),
    STATE(Pic, read_isr), STATE(Pic, poll),
};
static STRUCT_TYPE(pic_type, Pic, pic_fields);

static const Field pair_fields[] = {
    STATE_STRUCT_ARRAY(PicPair, pic, &pic_type),
};
static STRUCT_TYPE(pair_type, PicPair, pair_fields);

static const _Atomic uint64_t *pair_interrupts(Device *d, unsigned *n)
{
    *n = 16;
    return ((PicPair *)d)->rises;
}

static DeviceClass isa_pic_class = {
    .name = "isa-pic",
    .parent = "isa-device",
    .doc = "pair of 8259A interrupt controllers",
    .type = &pair_type,
    .realize = pair_realize,
    .unrealize = pair_unrealize,
    .reset = pair_reset,
    .loaded = pair_loaded,
    .interrupts = pair_interrupts,
};
DEVICE_REGISTER(isa_pic_class)
