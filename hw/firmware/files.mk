obj-y += hw/firmware/acpi.o hw/firmware/aml.o hw/firmware/boot.o hw/firmware/elf.o hw/firmware/linux.o
obj-y += hw/firmware/multiboot.o hw/firmware/pvh.o hw/firmware/smbios.o
