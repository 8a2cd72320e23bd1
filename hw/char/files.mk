obj-y += hw/char/serial16550.o hw/char/debugcon.o
