obj-y += accel/null/null.o
