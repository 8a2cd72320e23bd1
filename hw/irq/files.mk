obj-y += hw/irq/apic_bus.o hw/irq/i8259.o hw/irq/ioapic.o hw/irq/lapic.o
