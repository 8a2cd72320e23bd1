obj-y += cpu/ir/ir.o
