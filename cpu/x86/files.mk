# Every .c of this folder belongs to it.
obj-y += $(patsubst %.c,%.o,$(wildcard cpu/x86/*.c))
# Called by translated code with the guest's vectors live in the host.
general-regs += $(patsubst %.c,%.o,$(wildcard $(foreach f,walk exception segment system msr string task bcd state flags x87 mmx cpuid translate_helpers,cpu/x86/$(f).c)))
