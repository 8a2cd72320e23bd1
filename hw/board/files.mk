obj-y += hw/board/pc.o hw/board/pc_start.o
obj-y += hw/board/none.o
