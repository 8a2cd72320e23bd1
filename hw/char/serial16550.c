/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serial16550 - National PC16550D UART as the PC has it
 *
 * PC16550D data sheet (TL/C/8652), ch. 8 "Registers" and 9 "FIFO mode operation".  Characters go to
 * and come from a Chardev at its own pace; only the receiver's time-out knows the baud rate.
 */
#include "hw/char/serial16550.h"

#include "base/log.h"
#include "core/machine.h"

enum {
    RBR = 0,
    THR = 0,
    IER = 1,
    IIR = 2,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7,
    DLL = 0,
    DLM = 1
};
enum { ERBFI = 1, ETBEI = 2, ELSI = 4, EDSSI = 8 }; /* IER */
enum {
    IIR_MODEM = 0,
    IIR_NONE = 1,
    IIR_THRE = 2,
    IIR_DATA = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 12,
    IIR_FIFO = 0xc0
};
enum { FCR_ENABLE = 1, FCR_RX_RESET = 2, FCR_TX_RESET = 4 };
enum { LCR_STOP2 = 4, LCR_PARITY = 8, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum {
    LSR_DR = 1,
    LSR_OE = 2,
    LSR_FE = 8,
    LSR_BI = 16,
    LSR_THRE = 32,
    LSR_TEMT = 64,
    LSR_FIFO_ERROR = 128,
    LSR_ERRORS = 0x1e
};
enum { DCTS = 1, DDSR = 2, TERI = 4, DDCD = 8, CTS = 16, DSR = 32, RI = 64, DCD = 128 }; /* MSR */

#define FIFO_SIZE 16
#define XTAL_HZ 1843200u

static const uint8_t rx_triggers[4] = {1, 4, 8, 14}; /* FCR bits 6-7 */
static const uint16_t com_ports[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t com_irqs[4] = {4, 3, 4, 3};

typedef struct Fifo {
    uint8_t data[FIFO_SIZE], at, count;
    uint16_t breaks; /* bit n: data[n] is a break */
} Fifo;

typedef struct Serial {
    Device dev;
    Region io;
    Timer timeout;
    Chardev *chr;
    CharFront front;
    int32_t index; /* properties */
    uint32_t iobase, irq_no;
    char *chardev_id;
    bool claimed; /* chr is ours to release */
    Fifo rx, tx;
    uint16_t divisor;
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint8_t errors;      /* LSR bits of errors: read-to-clear */
    bool thre_irq;       /* the transmitter became empty and nobody noticed yet */
    bool timeout_irq;    /* characters wait in the FIFO and nobody fetches them */
    int64_t timeout_due; /* when that will be so, -1: not counting */
} Serial;

unsigned serial_iobase(const Device *d)
{
    return ((const Serial *)d)->iobase;
}
unsigned serial_irq(const Device *d)
{
    return ((const Serial *)d)->irq_no;
}

/* ---- FIFOs; with FCR_ENABLE clear they hold one character ---- */

static unsigned serial_depth(const Serial *s)
{
    return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static void fifo_put(Fifo *f, uint8_t v, bool is_break)
{
    unsigned i = (f->at + f->count++) % FIFO_SIZE;

    f->data[i] = v;
    f->breaks = (uint16_t)bits_set(f->breaks, i, 1, is_break);
}

static uint8_t fifo_get(Fifo *f)
{
    uint8_t v = f->data[f->at];

    f->breaks &= ~(1 << f->at);
    f->at = (f->at + 1) % FIFO_SIZE;
    f->count--;
    return v;
}

/* ---- state to wires and timers ---- */

static bool serial_rx_is_full(const Serial *s)
{
    return s->rx.count >= serial_depth(s);
}

static bool serial_rx_is_due(const Serial *s)
{
    return s->rx.count >= (s->fcr & FCR_ENABLE ? rx_triggers[s->fcr >> 6] : 1);
}

/* The most important interrupt, 8.5 table III. */
static uint8_t serial_iir(const Serial *s)
{
    if ((s->ier & ELSI) && s->errors)
        return IIR_LINE;
    if ((s->ier & ERBFI) && serial_rx_is_due(s))
        return IIR_DATA;
    if ((s->ier & ERBFI) && s->timeout_irq)
        return IIR_TIMEOUT;
    if ((s->ier & ETBEI) && s->thre_irq)
        return IIR_THRE;
    if ((s->ier & EDSSI) && (s->msr & (DCTS | DDSR | TERI | DDCD)))
        return IIR_MODEM;
    return IIR_NONE;
}

static uint8_t serial_lsr(const Serial *s)
{
    bool broken = (s->fcr & FCR_ENABLE) && (s->rx.breaks || (s->errors & ~LSR_OE));

    return (s->rx.count ? LSR_DR : 0) | s->errors | (s->tx.count ? 0 : LSR_THRE | LSR_TEMT) |
           (broken ? LSR_FIFO_ERROR : 0);
}

static void serial_update(Serial *s)
{
    if (s->timeout_due >= 0 && s->timeout.due != s->timeout_due)
        timer_at(&s->timeout, s->timeout_due);
    else if (s->timeout_due < 0 && timer_armed(&s->timeout))
        timer_stop(&s->timeout);
    irq_set(&s->dev.irq, serial_iir(s) != IIR_NONE);
}

/* The errors of a character show when it reaches the top of the FIFO. */
static void serial_rx_reveal(Serial *s)
{
    if (s->rx.count && (s->rx.breaks >> s->rx.at & 1)) {
        s->errors |= LSR_BI | LSR_FE;
        s->rx.breaks &= ~(1 << s->rx.at);
    }
}

/* Four character times without traffic: 9.0 "FIFO interrupt mode operation". */
static void serial_timeout_restart(Serial *s)
{
    unsigned bits =
        1 + 5 + (s->lcr & 3) + (s->lcr & LCR_PARITY ? 1 : 0) + (s->lcr & LCR_STOP2 ? 2 : 1);
    uint64_t divisor = s->divisor ? s->divisor : 1;

    s->timeout_irq = false;
    s->timeout_due = -1;
    if ((s->fcr & FCR_ENABLE) && s->rx.count)
        s->timeout_due =
            clock_now(s->dev.clock) + (int64_t)(4 * bits * 16 * divisor * 1000000000u / XTAL_HZ);
}

static void serial_timeout_fire(void *arg)
{
    Serial *s = arg;

    s->timeout_due = -1;
    s->timeout_irq = s->rx.count > 0;
    serial_update(s);
}

/* ---- data ---- */

static void serial_rx_put(Serial *s, uint8_t v, bool is_break)
{
    if (serial_rx_is_full(s))
        s->errors |= LSR_OE; /* the newcomer is lost */
    else
        fifo_put(&s->rx, v, is_break);
    serial_rx_reveal(s);
}

/* Give the back end what it takes. */
static void serial_tx_drain(Serial *s)
{
    while (s->tx.count) {
        if (chardev_write(s->chr, &s->tx.data[s->tx.at], 1) != 1)
            return;
        fifo_get(&s->tx);
    }
    s->thre_irq = true;
}

static void serial_tx_put(Serial *s, uint8_t v)
{
    s->thre_irq = false;
    if (s->mcr & MCR_LOOP) {
        serial_rx_put(s, v, false);
        serial_timeout_restart(s);
        s->thre_irq = true;
        return;
    }
    if (s->tx.count >= serial_depth(s)) {
        log_guest("isa-serial: THR written while full\n");
        return;
    }
    fifo_put(&s->tx, v, false);
    serial_tx_drain(s);
}

static uint8_t serial_rx_get(Serial *s)
{
    bool was_full = serial_rx_is_full(s);
    uint8_t v = 0;

    if (s->rx.count) {
        v = fifo_get(&s->rx);
        serial_rx_reveal(s);
        serial_timeout_restart(s);
        if (was_full)
            chardev_accept_ready(s->chr);
    }
    return v;
}

/* The far end is always there: a null modem with all lines up. */
static void serial_modem_update(Serial *s)
{
    uint8_t lines = CTS | DSR | DCD, changed;

    if (s->mcr & MCR_LOOP)
        lines = (s->mcr & MCR_RTS ? CTS : 0) | (s->mcr & MCR_DTR ? DSR : 0) |
                (s->mcr & MCR_OUT1 ? RI : 0) | (s->mcr & MCR_OUT2 ? DCD : 0);
    changed = (s->msr ^ lines) & 0xf0;
    s->msr = lines | (s->msr & 0x0f) | (changed & (CTS | DSR | DCD)) >> 4 |
             (changed & s->msr & RI ? TERI : 0);
}

/* ---- registers ---- */

static void serial_write_fcr(Serial *s, uint8_t v)
{
    bool toggled = (s->fcr ^ v) & FCR_ENABLE;

    s->fcr =
        v & FCR_ENABLE ? v & (FCR_ENABLE | 0xc8) : 0; /* 8.6: the rest counts only with bit 0 */
    if (toggled || (v & FCR_RX_RESET)) {
        s->rx = (Fifo){0};
        serial_timeout_restart(s);
        chardev_accept_ready(s->chr);
    }
    if ((toggled || (v & FCR_TX_RESET)) && s->tx.count) {
        s->tx = (Fifo){0};
        s->thre_irq = true;
    }
}

static void serial_write_ier(Serial *s, uint8_t v)
{
    bool thre_enabled = (v & ~s->ier) & ETBEI;

    s->ier = v & 0x0f;
    if (thre_enabled && !s->tx.count)
        s->thre_irq = true; /* enabling it while the transmitter is empty interrupts at once */
}

static void serial_write_mcr(Serial *s, uint8_t v)
{
    bool loop_ended = (s->mcr & ~v) & MCR_LOOP;

    s->mcr = v & 0x1f;
    serial_modem_update(s);
    if (loop_ended)
        chardev_accept_ready(s->chr);
}

static uint64_t serial_read(void *arg, uint64_t at, unsigned size)
{
    Serial *s = arg;
    uint8_t v = 0;

    (void)size;
    if (at == LSR && !s->errors)
        return serial_lsr(s); /* drivers poll it for every character */
    if ((s->lcr & LCR_DLAB) && at <= DLM)
        return at == DLL ? s->divisor & 0xff : s->divisor >> 8;
    switch (at) {
    case RBR: v = serial_rx_get(s); break;
    case IER: return s->ier;
    case IIR:
        v = serial_iir(s);
        if (v == IIR_THRE)
            s->thre_irq = false;
        v |= s->fcr & FCR_ENABLE ? IIR_FIFO : 0;
        break;
    case LCR: return s->lcr;
    case MCR: return s->mcr;
    case LSR:
        v = serial_lsr(s);
        s->errors = 0;
        break;
    case MSR:
        v = s->msr;
        s->msr &= 0xf0;
        break;
    default: return s->scr;
    }
    serial_update(s);
    return v;
}

static void serial_write(void *arg, uint64_t at, uint64_t value, unsigned size)
{
    Serial *s = arg;
    uint8_t v = (uint8_t)value;

    (void)size;
    if ((s->lcr & LCR_DLAB) && at <= DLM) {
        s->divisor = (uint16_t)bits_set(s->divisor, at == DLL ? 0 : 8, 8, v);
        return;
    }
    switch (at) {
    case THR: serial_tx_put(s, v); break;
    case IER: serial_write_ier(s, v); break;
    case FCR: serial_write_fcr(s, v); break;
    case LCR: s->lcr = v; break;
    case MCR: serial_write_mcr(s, v); break;
    case SCR: s->scr = v; break;
    default: break; /* LSR and MSR: 8.4, writing is for factory tests */
    }
    serial_update(s);
}

static DeviceClass isa_serial_class;
static const RegionOps serial_ops = {serial_read, serial_write, 1, 1};

/* ---- back end ---- */

static size_t serial_can_accept(void *arg)
{
    Serial *s = arg;

    if ((s->mcr & MCR_LOOP) || serial_rx_is_full(s)) /* in loopback SIN is off: hold the sender */
        return 0;
    return serial_depth(s) - s->rx.count;
}

static void serial_accept(void *arg, const uint8_t *p, size_t n)
{
    Serial *s = arg;

    for (size_t i = 0; i < n; i++)
        serial_rx_put(s, p[i], false);
    serial_timeout_restart(s);
    serial_update(s);
}

static void serial_event(void *arg, CharEvent e)
{
    Serial *s = arg;

    if (e == CHAR_BREAK && !(s->mcr & MCR_LOOP)) {
        serial_rx_put(s, 0, true);
        serial_timeout_restart(s);
    } else if (e == CHAR_WRITABLE && s->tx.count) {
        serial_tx_drain(s);
    }
    serial_update(s);
}

static void serial_detach(Serial *s)
{
    if (s->claimed)
        chardev_release(s->chr);
    else
        chardev_attach(s->chr, NULL);
    s->claimed = false;
    s->chr = NULL;
}

void serial_set_chardev(Device *d, Chardev *c)
{
    AS(Serial, s, d);

    serial_detach(s);
    s->chr = c;
    s->front = (CharFront){d->lock, s, serial_can_accept, serial_accept, serial_event};
    chardev_attach(c, &s->front);
}

/* ---- device ---- */

static void serial_mark_index(Device *d, void *arg)
{
    if (d->cls == &isa_serial_class && d->realized)
        *(uint32_t *)arg |= 1u << ((Serial *)d)->index;
}

/* The first COM port that is not there yet. */
static int32_t serial_free_index(Machine *m)
{
    uint32_t used = 0;
    int32_t i = 0;

    device_walk(m->root, serial_mark_index, &used);
    while (used >> i & 1)
        i++;
    return i;
}

static bool serial_claim(Serial *s, Error *err)
{
    Machine *m = s->dev.machine;
    Chardev *c = chardev_claim(m->chardevs, s->chardev_id, err);

    if (!c)
        return error_prefix(err, "Property 'isa-serial.chardev': ");
    serial_set_chardev(&s->dev, c);
    s->claimed = true;
    return true;
}

static bool serial_realize(Device *d, Error *err)
{
    AS(Serial, s, d);

    if (s->index < 0)
        s->index = serial_free_index(d->machine);
    if (s->index >= (int32_t)COUNT_OF(com_ports))
        return error_set(err, "Max. supported number of ISA serial ports is 4.");
    if (!s->iobase)
        s->iobase = com_ports[s->index];
    if (!s->irq_no)
        s->irq_no = com_irqs[s->index];
    if (s->iobase > 0xfff8 || s->irq_no > 15)
        return error_set(err, "isa-serial: iobase must be at most 0xfff8 and irq at most 15");
    if (!s->chr && d->machine->isa_connect) /* by -device: the board connects only its own */
        d->machine->isa_connect(d->machine, &d->irq, s->irq_no);
    if (s->chardev_id && !serial_claim(s, err))
        return false;
    timer_init(&s->timeout, d->clock, d->lock, serial_timeout_fire, s);
    region_io(&s->io, "serial", 8, &serial_ops, s, d->lock);
    region_map(&d->machine->mem->io_root, &s->io, s->iobase, 0);
    return true;
}

static void serial_unrealize(Device *d)
{
    AS(Serial, s, d);

    region_fini(&s->io);
    timer_stop(&s->timeout);
    serial_detach(s);
}

static void serial_reset(Device *d, ResetPhase phase)
{
    AS(Serial, s, d);

    if (phase == RESET_ENTER) {
        s->rx = s->tx = (Fifo){0};
        s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->errors = 0;
        s->divisor = 12; /* 9600 baud, as firmware leaves it */
        s->msr = CTS | DSR | DCD;
        s->thre_irq = s->timeout_irq = false;
        s->timeout_due = -1;
    } else {
        serial_update(s);
        chardev_accept_ready(s->chr);
    }
}

static bool serial_loaded(Device *d, Error *err)
{
    AS(Serial, s, d);

    if (s->rx.count > FIFO_SIZE || s->tx.count > FIFO_SIZE || s->rx.at >= FIFO_SIZE ||
        s->tx.at >= FIFO_SIZE)
        return error_set(err, "isa-serial: impossible FIFO state");
    if (s->tx.count)
        serial_tx_drain(s);
    serial_update(s);
    return true;
}

static const Field fifo_fields[] = {
    STATE_ARRAY(Fifo, data),
    STATE(Fifo, at),
    STATE(Fifo, count),
    STATE(Fifo, breaks),
};
static STRUCT_TYPE(fifo_type, Fifo, fifo_fields);

static const Field serial_fields[] = {
    PROP(Serial, index, "index", -1, "0 to 3: COM1 to COM4; -1: the next one"),
    PROP_STR(Serial, chardev_id, "chardev", NULL, "id of the character device it is connected to"),
    PROP(Serial, iobase, "iobase", 0, "first of eight I/O ports; 0: that of the index"),
    PROP(Serial, irq_no, "irq", 0, "ISA interrupt; 0: that of the index"),
    STATE_STRUCT(Serial, rx, &fifo_type),
    STATE_STRUCT(Serial, tx, &fifo_type),
    STATE(Serial, divisor),
    STATE(Serial, ier),
    STATE(Serial, fcr),
    STATE(Serial, lcr),
    STATE(Serial, mcr),
    STATE(Serial, msr),
    STATE(Serial, scr),
    STATE(Serial, errors),
    STATE(Serial, thre_irq),
    STATE(Serial, timeout_irq),
    STATE(Serial, timeout_due),
};
static STRUCT_TYPE(serial_type, Serial, serial_fields);

static DeviceClass isa_serial_class = {
    .name = "isa-serial",
    .parent = "isa-device",
    .doc = "16550A serial port",
    .type = &serial_type,
    .user = true,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset = serial_reset,
    .loaded = serial_loaded,
};
DEVICE_REGISTER(isa_serial_class)
