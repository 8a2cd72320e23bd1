/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pm - ACPI fixed hardware: events, sleep, PM timer, one GPE block: class "acpi-pm"
 *
 * d->irq is SCI (level, active high; ISA line 9).  The FADT and \_S5 must say these constants.
 */
#ifndef HW_TIMER_ACPI_PM_H
#define HW_TIMER_ACPI_PM_H

#include "core/device.h"

enum {
    ACPI_PM_BASE = 0x600, /* I/O ports, usual place of acpi_pm_io() */
    ACPI_PM1A_EVT = 0x00, /* offsets: event block, 4 bytes */
    ACPI_PM1A_CNT = 0x04, /* 2 bytes */
    ACPI_PM_TMR = 0x08,   /* 4 bytes */
    ACPI_GPE0 = 0x20,     /* 8 bytes: status 4, enable 4 */
    ACPI_GPE0_LEN = 8,
    ACPI_PM_SIZE = 0x40,
    ACPI_SMI_CMD = 0xb2,    /* port of acpi_pm_smi(), 2 bytes */
    ACPI_CMD_ENABLE = 0xf1, /* values written to it */
    ACPI_CMD_DISABLE = 0xf0,
    ACPI_PM_HZ = 3579545,
};

/* Properties: timer-32bit (on: set TMR_VAL_EXT in the FADT), s5-type (SLP_TYP of \_S5: 0). */
Region *acpi_pm_io(Device *d);
Region *acpi_pm_smi(Device *d);
void acpi_pm_gpe_input(void *dev, unsigned n,
                       bool level);   /* an IrqFn: n < 32; level status bit n of GPE0 */
void acpi_pm_power_button(Device *d); /* press and release; device lock held */

#endif
