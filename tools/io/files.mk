tool-io += tools/io/main.o tools/io/command.o tools/io/report.o tools/io/transfer.o tools/io/aio.o tools/io/image.o tools/io/debug.o
tool-io += tools/output.o
