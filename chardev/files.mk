obj-y += chardev/backend_type.o chardev/chardev.o chardev/chardev_cmds.o chardev/port.o chardev/text.o chardev/mux.o chardev/fd.o
obj-y += chardev/file.o chardev/hub.o chardev/pty.o chardev/ringbuf.o chardev/socket.o chardev/stdio.o
obj-y += chardev/udp.o chardev/websocket.o
