obj-y += hw/board/pc.o hw/board/pc_start.o
