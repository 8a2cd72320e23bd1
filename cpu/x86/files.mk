# Every .c of this folder belongs to it.
obj-y += $(patsubst $(SRC)/%.c,%.o,$(wildcard $(SRC)/cpu/x86/*.c))
# Called by translated code with the guest's vectors live in the host.
general-regs += $(patsubst $(SRC)/%.c,%.o,$(wildcard $(foreach f,walk exception segment system msr string task bcd state flags x87 mmx cpuid debug translate_helpers,$(SRC)/cpu/x86/$(f).c)))
