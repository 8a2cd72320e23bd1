obj-y += hw/misc/debug_exit.o hw/misc/reset_port.o
