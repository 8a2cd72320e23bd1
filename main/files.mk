obj-y += main/main.o main/config.o main/daemon.o main/help.o main/lists.o main/man.o main/options.o main/setup.o main/signals.o
obj-y += main/opt_char.o main/opt_device.o main/opt_machine.o main/opt_numa.o main/opt_missing.o main/opt_old.o main/opt_run.o
obj-y += $(if $(CONFIG_SECCOMP),main/sandbox.o,main/sandbox_none.o)
obj-y += main/dry_run.o main/not_built.o main/opt_audio.o main/opt_block.o main/opt_fd.o
