obj-y += chardev/chardev.o chardev/fd.o chardev/file.o chardev/mux.o chardev/pty.o chardev/stdio.o
