obj-y += main/main.o main/options.o main/opt_machine.o main/lists.o main/signals.o
