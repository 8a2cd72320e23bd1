obj-y += core/clock.o core/cpu.o core/device.o core/epoch.o core/device_regs.o core/device_state.o core/irq.o
obj-y += core/flatmap.o core/flatten.o core/machine.o core/machine_state.o core/memory.o core/ram.o core/registry.o
obj-y += core/host_time.o
general-regs += core/clock.o core/flatmap.o
general-regs += core/cpu.o
