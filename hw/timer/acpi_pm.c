/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pm - ACPI fixed hardware: events, sleep control, PM timer, one general-purpose event block
 *
 * ACPI specification 6.4, 4.8 "ACPI register model".  The SMI command port stands for the firmware
 * that switches ACPI mode on and off.
 */
#include "hw/timer/acpi_pm.h"

#include "base/log.h"
#include "core/machine.h"

enum {
    TMR_STS = 1 << 0,
    PWRBTN_STS = 1 << 8,
    WAK_STS = 1 << 15,
    PM1_STATUS = 0x8731,
    PM1_ENABLE = 0x0721
};
enum { SCI_EN = 1, SLP_TYP_AT = 10, SLP_EN = 1 << 13, PM1_CONTROL = 0x1c03 };

#define GPE_COUNT 32

typedef struct AcpiPm {
    Device dev;
    Region smi;
    Timer timer;      /* TMR_STS: the top bit of the PM timer changes */
    bool timer_32bit; /* property */
    uint32_t s5_type; /* property */
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint32_t gpe0_sts, gpe0_en;
    uint32_t gpe_levels; /* of the inputs */
    uint8_t smi_cmd, smi_sts;
    int64_t tmr_seen; /* toggles of the timer's top bit that TMR_STS knows of */
} AcpiPm;

Region *acpi_pm_io(Device *d)
{
    return &d->mmio;
}
Region *acpi_pm_smi(Device *d)
{
    return &((AcpiPm *)d)->smi;
}

static int64_t pm_ticks(const AcpiPm *s)
{
    return (int64_t)((unsigned __int128)(uint64_t)clock_now(s->dev.clock) * ACPI_PM_HZ /
                     1000000000u);
}

static unsigned pm_toggle_bit(const AcpiPm *s)
{
    return s->timer_32bit ? 31 : 23;
}

/* TMR_STS rises with every change of the counter's top bit: 4.8.3.3. */
static void pm_timer_sync(AcpiPm *s)
{
    int64_t toggles = pm_ticks(s) >> pm_toggle_bit(s);

    if (toggles != s->tmr_seen)
        s->pm1_sts |= TMR_STS;
    s->tmr_seen = toggles;
}

static void pm_update(AcpiPm *s)
{
    bool event = (s->pm1_sts & s->pm1_en & PM1_ENABLE) || (s->gpe0_sts & s->gpe0_en);

    irq_set(&s->dev.irq, event && (s->pm1_cnt & SCI_EN));
    if (s->pm1_en & ~s->pm1_sts & TMR_STS) {
        unsigned __int128 tick = (unsigned __int128)(s->tmr_seen + 1) << pm_toggle_bit(s);

        timer_at(&s->timer, (int64_t)((tick * 1000000000u + ACPI_PM_HZ - 1) / ACPI_PM_HZ));
    } else {
        timer_stop(&s->timer);
    }
}

static void pm_timer_fire(void *arg)
{
    AcpiPm *s = arg;

    pm_timer_sync(s);
    pm_update(s);
}

void acpi_pm_power_button(Device *d)
{
    AS(AcpiPm, s, d);

    s->pm1_sts |= PWRBTN_STS;
    pm_update(s);
}

/* Status of a level event stays set while its input is high. */
void acpi_pm_gpe_input(void *dev, unsigned n, bool level)
{
    AcpiPm *s = dev;

    assert(n < GPE_COUNT);
    s->gpe_levels = (uint32_t)bits_set(s->gpe_levels, n, 1, level);
    s->gpe0_sts |= s->gpe_levels;
    pm_update(s);
}

/* ---- registers ---- */

static uint64_t pm1_sts_read(Device *d)
{
    AS(AcpiPm, s, d);

    pm_timer_sync(s);
    return s->pm1_sts;
}

static void pm1_event_written(Device *d, uint64_t v)
{
    AS(AcpiPm, s, d);

    (void)v;
    pm_timer_sync(s);
    pm_update(s);
}

static uint64_t pm1_cnt_read(Device *d)
{
    return ((AcpiPm *)d)->pm1_cnt & ~SLP_EN; /* write-only bit */
}

static void pm1_cnt_written(Device *d, uint64_t v)
{
    AS(AcpiPm, s, d);
    unsigned type = bits(v, SLP_TYP_AT, 3);

    s->pm1_cnt &= ~SLP_EN;
    if ((v & SLP_EN) && type == s->s5_type)
        machine_request_shutdown(d->machine, SHUTDOWN_GUEST_OFF, 0);
    else if (v & SLP_EN)
        log_unimp("acpi-pm: sleep type %u: only soft off is there\n", type);
    pm_update(s);
}

static uint64_t pm_tmr_read(Device *d)
{
    AS(AcpiPm, s, d);

    return (uint64_t)pm_ticks(s) & (s->timer_32bit ? 0xffffffff : 0xffffff);
}

static void gpe_written(Device *d, uint64_t v)
{
    AS(AcpiPm, s, d);

    (void)v;
    s->gpe0_sts |= s->gpe_levels;
    pm_update(s);
}

static const Reg acpi_pm_regs[] = {
    REG_RO(AcpiPm, "PM1_STS", ACPI_PM1A_EVT, pm1_sts, .w1c = PM1_STATUS, .read = pm1_sts_read,
           .write = pm1_event_written),
    REG_RW(AcpiPm, "PM1_EN", ACPI_PM1A_EVT + 2, pm1_en, PM1_ENABLE, .write = pm1_event_written),
    REG_RW(AcpiPm, "PM1_CNT", ACPI_PM1A_CNT, pm1_cnt, PM1_CONTROL | SLP_EN, .read = pm1_cnt_read,
           .write = pm1_cnt_written),
    REG_FN("PM_TMR", ACPI_PM_TMR, 4, .read = pm_tmr_read),
    REG_RO(AcpiPm, "GPE0_STS", ACPI_GPE0, gpe0_sts, .w1c = UINT32_MAX, .write = gpe_written),
    REG_RW(AcpiPm, "GPE0_EN", ACPI_GPE0 + ACPI_GPE0_LEN / 2, gpe0_en, UINT32_MAX,
           .write = gpe_written),
};

static uint64_t smi_read(void *arg, uint64_t at, unsigned size)
{
    AcpiPm *s = arg;

    (void)size;
    return at ? s->smi_sts : s->smi_cmd;
}

static void smi_write(void *arg, uint64_t at, uint64_t v, unsigned size)
{
    AcpiPm *s = arg;

    (void)size;
    if (at) {
        s->smi_sts = (uint8_t)v;
        return;
    }
    s->smi_cmd = (uint8_t)v;
    if (v == ACPI_CMD_ENABLE)
        s->pm1_cnt |= SCI_EN;
    else if (v == ACPI_CMD_DISABLE)
        s->pm1_cnt &= ~SCI_EN;
    pm_update(s);
}

static const RegionOps smi_ops = {smi_read, smi_write, 1, 1};

/* ---- device ---- */

static void acpi_pm_pressed(void *arg)
{
    Device *d = arg;

    WITH_LOCK (d->lock)
        acpi_pm_power_button(d);
}

static bool acpi_pm_realize(Device *d, Error *err)
{
    AS(AcpiPm, s, d);

    if (s->s5_type > 7)
        return error_set(err, "acpi-pm: s5-type must be 0 to 7");
    timer_init(&s->timer, d->clock, d->lock, pm_timer_fire, s);
    region_io(&s->smi, "smi-command", 2, &smi_ops, s, d->lock);
    d->machine->power_button = acpi_pm_pressed;
    d->machine->power_button_arg = d;
    return true;
}

static void acpi_pm_unrealize(Device *d)
{
    AS(AcpiPm, s, d);

    d->machine->power_button = NULL;
    region_fini(&s->smi);
    timer_stop(&s->timer);
}

static void acpi_pm_reset(Device *d, ResetPhase phase)
{
    AS(AcpiPm, s, d);

    if (phase == RESET_ENTER) { /* the core has cleared the registers */
        s->smi_cmd = s->smi_sts = 0;
        s->tmr_seen = pm_ticks(s) >> pm_toggle_bit(s);
    } else {
        s->gpe0_sts |= s->gpe_levels;
        pm_update(s);
    }
}

static bool acpi_pm_loaded(Device *d, Error *err)
{
    AS(AcpiPm, s, d);

    if (s->tmr_seen < 0 || s->tmr_seen > INT64_MAX >> 32)
        return error_set(err, "acpi-pm: impossible timer state");
    pm_update(s);
    return true;
}

static const Field acpi_pm_fields[] = {
    PROP(AcpiPm, timer_32bit, "timer-32bit", true, "the PM timer has 32 bits (off: 24)"),
    PROP(AcpiPm, s5_type, "s5-type", 0, "SLP_TYP value of soft off"),
    STATE(AcpiPm, pm1_sts),
    STATE(AcpiPm, pm1_en),
    STATE(AcpiPm, pm1_cnt),
    STATE(AcpiPm, gpe0_sts),
    STATE(AcpiPm, gpe0_en),
    STATE(AcpiPm, gpe_levels),
    STATE(AcpiPm, smi_cmd),
    STATE(AcpiPm, smi_sts),
    STATE(AcpiPm, tmr_seen),
};
static STRUCT_TYPE(acpi_pm_type, AcpiPm, acpi_pm_fields);

static DeviceClass acpi_pm_class = {
    .name = "acpi-pm",
    .parent = "sys-device",
    .doc = "ACPI fixed hardware",
    .type = &acpi_pm_type,
    .regs = acpi_pm_regs,
    .n_regs = COUNT_OF(acpi_pm_regs),
    .mmio_size = ACPI_PM_SIZE,
    .realize = acpi_pm_realize,
    .unrealize = acpi_pm_unrealize,
    .reset = acpi_pm_reset,
    .loaded = acpi_pm_loaded,
};
DEVICE_REGISTER(acpi_pm_class)
