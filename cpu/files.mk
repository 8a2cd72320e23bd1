# Called by translated code with the guest's vectors live in the host.
obj-y += cpu/tlb.o cpu/mem.o
general-regs += cpu/tlb.o cpu/mem.o
