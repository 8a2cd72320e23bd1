tool-nbd += tools/nbd/main.o tools/nbd/args.o tools/nbd/list.o
