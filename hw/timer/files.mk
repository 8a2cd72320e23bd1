obj-y += hw/timer/debt.o hw/timer/i8254.o hw/timer/mc146818.o hw/timer/hpet.o hw/timer/acpi_pm.o
